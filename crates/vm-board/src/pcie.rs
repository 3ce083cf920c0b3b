//! PCI Express on a board: which functions are there, what is checked of them, and the devicetree's node.
//!
//! Sources: Linux devicetree bindings, `pci/host-generic-pci.yaml`; PCI Bus Binding to IEEE Std 1275-1994, 2.1, 2.2.1.1
//! (addresses of three cells) and 2.2.3 (`ranges`); Devicetree Specification v0.4, 2.4.3 (`interrupt-map`).

use crate::board::{Board, PciKind, PciPlaced, Placed, Target};
use support_image::fdt::Node;

/// Most serial cards: Debian's kernel has four lines of the 8250 kind, one of which is the board's.
pub const MAX_SERIAL_CARDS: u32 = 3;

/// Names of cards and of the ports that they are in.
const CARDS: [(&str, &str); MAX_SERIAL_CARDS as usize] =
    [("serial-card1", "port1"), ("serial-card2", "port2"), ("serial-card3", "port3")];

/// Names of the places for virtio devices. They are on the root bus, where also systems look that know no bridges.
const VIRTIO: [&str; MAX_VIRTIO_CARDS as usize] = [
    "virtio-pci0",
    "virtio-pci1",
    "virtio-pci2",
    "virtio-pci3",
    "virtio-pci4",
    "virtio-pci5",
    "virtio-pci6",
    "virtio-pci7",
    "virtio-pci8",
    "virtio-pci9",
    "virtio-pci10",
    "virtio-pci11",
    "virtio-pci12",
    "virtio-pci13",
    "virtio-pci14",
    "virtio-pci15",
    "virtio-pci16",
    "virtio-pci17",
    "virtio-pci18",
    "virtio-pci19",
    "virtio-pci20",
    "virtio-pci21",
    "virtio-pci22",
    "virtio-pci23",
    "virtio-pci24",
    "virtio-pci25",
    "virtio-pci26",
    "virtio-pci27",
];

/// Most virtio devices on PCI: what device numbers there are behind those of the host bridge and of the serial cards' ports.
pub const MAX_VIRTIO_CARDS: u32 = 31 - MAX_SERIAL_CARDS;

/// The device number of the first virtio device, that of the others following: the same whatever else there is.
const FIRST_VIRTIO: u8 = 1 + MAX_SERIAL_CARDS as u8;

/// The usual functions: a host bridge, a root port with a card in it for each further serial line, and virtio devices.
pub(crate) fn functions(serial_cards: u32, virtio_cards: u32) -> Vec<PciPlaced> {
    let mut functions = vec![PciPlaced::on_root("pci-host", PciKind::HostBridge, 0, 0)];
    for (n, (card, port)) in (1..=serial_cards as u8).zip(CARDS) {
        functions.push(PciPlaced::on_root(port, PciKind::RootPort { slot: n.into() }, n, 0));
        functions.push(PciPlaced::below(card, PciKind::Serial, port));
    }
    for (place, name) in (0..virtio_cards).zip(VIRTIO) {
        let device = FIRST_VIRTIO + place as u8;
        functions.push(PciPlaced::on_root(name, PciKind::Virtio { place }, device, 0));
    }
    functions
}

/// Bytes of ECAM window for each bus.
const ECAM_BUS: u64 = 1 << 20;
/// Buses of a PCI domain.
const BUSES: u64 = 256;

/// What is wrong with a root complex, if anything.
pub(crate) fn problem(host: &Placed, functions: &[PciPlaced]) -> Option<&'static str> {
    let alike = |a: &PciPlaced, b: &PciPlaced| {
        a.name == b.name || (a.port, a.device, a.function) == (b.port, b.device, b.function)
    };
    if !host.size.is_multiple_of(ECAM_BUS) || host.size > BUSES * ECAM_BUS {
        return Some("an ECAM window has 1 MiB for each of at most 256 buses");
    }
    if !matches!(host.outputs.len(), 0 | 4) {
        return Some("a root complex has four outputs, or none that is connected");
    }
    for (n, function) in functions.iter().enumerate() {
        let earlier = functions.get(..n).unwrap_or_default();
        let is_port = |name| {
            earlier.iter().any(|other| other.name == name && matches!(other.kind, PciKind::RootPort { .. }))
        };
        if function.device > 31 || function.function > 7 {
            return Some("a PCI function has a device number below 32 and a function number below 8");
        }
        if matches!(function.kind, PciKind::RootPort { slot } if slot > 0x1fff) {
            return Some("slots have numbers below 8192");
        }
        if function.port.is_some_and(|port| !is_port(port)) {
            return Some("a PCI function is below a port that does not come before it");
        }
        if earlier.iter().any(|other| alike(function, other)) {
            return Some("two PCI functions have one name or one place");
        }
    }
    None
}

/// What the first cell of an address says: I/O, memory below 4 GiB, memory above (2.2.1.1, field "ss").
const IO: u32 = 0x100_0000;
const MEMORY_32: u32 = 0x200_0000;
const MEMORY_64: u32 = 0x300_0000;

/// Device numbers after which the swizzle repeats, and pins.
const TURN: u32 = 4;

fn halves(value: u64) -> [u32; 2] {
    [(value >> 32) as u32, value as u32]
}

impl Board {
    /// The node of a root complex.
    pub(crate) fn pcie_node(&self, node: Node, host: &Placed) -> Node {
        let buses = (host.size / ECAM_BUS) as u32;
        let node = node
            .string("compatible", "pci-host-ecam-generic")
            .string("device_type", "pci")
            .cells64("reg", &[host.base, host.size])
            .cells("#address-cells", &[3])
            .cells("#size-cells", &[2])
            .cells("#interrupt-cells", &[1])
            .cells("linux,pci-domain", &[0])
            .cells("bus-range", &[0, buses.saturating_sub(1)])
            .flag("dma-coherent")
            .cells("ranges", &ranges(host));
        let map = self.interrupt_map(host);
        if map.is_empty() {
            return node;
        }
        // Device numbers modulo four, and the pin.
        node.cells("interrupt-map", &map).cells("interrupt-map-mask", &[(TURN - 1) << 11, 0, 0, 7])
    }

    /// For each device number and pin, the output that it comes out on.
    fn interrupt_map(&self, host: &Placed) -> Vec<u32> {
        let mut map = Vec::new();
        for device in 0..TURN {
            for pin in 0..TURN {
                let output = host.outputs.get(((device + pin) % TURN) as usize);
                if let Some(Target::Input { device: controller, input }) = output {
                    map.extend([device << 11, 0, 0, pin + 1, self.phandle(controller), *input]);
                }
            }
        }
        map
    }
}

fn ranges(host: &Placed) -> Vec<u32> {
    let mut cells = Vec::new();
    for (n, window) in host.more.iter().enumerate() {
        let space = match n {
            0 => IO,
            _ if window.offset >> 32 == 0 => MEMORY_32,
            _ => MEMORY_64,
        };
        cells.push(space);
        cells.extend([window.offset, window.base, window.size].into_iter().flat_map(halves));
    }
    cells
}
