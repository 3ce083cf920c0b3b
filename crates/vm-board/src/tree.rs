//! The devicetree of a board, generated from its rows.
//!
//! Sources: Devicetree Specification v0.4, chapter 3 (root, aliases, memory, chosen, cpus); Linux devicetree bindings
//! `riscv/cpus.yaml`, `interrupt-controller/riscv,cpu-intc.yaml`, `interrupt-controller/sifive,plic-1.0.0.yaml`,
//! `timer/sifive,clint.yaml`, `serial/8250.yaml`, `serial/sifive-serial.yaml`, `rtc/google,goldfish-rtc.yaml`,
//! `virtio/mmio.yaml`, `firmware/qemu,fw-cfg-mmio.yaml`, `pci/host-generic-pci.yaml` (`pcie.rs`), `power/reset/syscon-poweroff.yaml`, `cpu/cpu-topology.txt`;
//! Spike's `riscv/dts.cc` for `ucb,htif0`.

use crate::board::{Board, DeviceKind, Placed, Target};
use std::ops::Range;
use support_image::fdt::{FdtError, Node, Tree};
use thiserror::Error;

/// What the machine's builder tells the guest besides the board itself.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// The kernel's command line.
    pub bootargs: Option<String>,
    /// Physical addresses of the initial RAM disk.
    pub initrd: Option<Range<u64>>,
    /// Bytes that seed the kernel's random numbers; the caller draws them, so that a run can be repeated.
    pub rng_seed: Vec<u8>,
    /// The hart that starts.
    pub boot_hart: u32,
}

/// Why a devicetree cannot be made.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TreeError {
    /// The command line contains the terminator of strings.
    #[error("the kernel's command line contains a NUL character; remove it from --append")]
    BootargsNul,
    /// The boot hart does not exist, or is not one for operating systems.
    #[error("hart {0} cannot start the machine: there is none of that number with S-mode")]
    NoBootHart(u32),
    /// The flattened form cannot be written.
    #[error(transparent)]
    Write(#[from] FdtError),
}

// What to write to the test finisher to end with success and to reset: SiFive's `test` device, FINISHER_PASS and
// FINISHER_RESET.
const FINISHER_PASS: u32 = 0x5555;
const FINISHER_RESET: u32 = 0x7777;

/// Cache blocks are 64 bytes for every cache-block operation.
const CACHE_BLOCK: u32 = 64;

impl Board {
    /// The flattened devicetree. Its length depends on the lengths in `chosen`, not on the addresses.
    pub fn fdt(&self, chosen: &Chosen) -> Result<Vec<u8>, TreeError> {
        Ok(self.tree(chosen)?.to_blob()?)
    }

    /// The devicetree as nodes.
    pub fn tree(&self, chosen: &Chosen) -> Result<Tree, TreeError> {
        if chosen.boot_hart >= self.cpus || !self.core(chosen.boot_hart).supervisor {
            return Err(TreeError::NoBootHart(chosen.boot_hart));
        }
        let mut root = Node::new("")
            .cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .strings("compatible", self.compatible)
            .string("model", self.model)
            .with(self.chosen(chosen)?)
            .with_all(self.aliases())
            .with(
                Node::new(format!("memory@{:x}", self.ram.start))
                    .string("device_type", "memory")
                    .cells64("reg", &[self.ram.start, self.memory()]),
            )
            .with(self.cpus_node());
        let mut soc = Node::new("soc")
            .cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .string("compatible", "simple-bus")
            .flag("ranges");
        for device in &self.devices {
            // These stand beside the bus, as in the tree that QEMU makes.
            if matches!(device.kind, DeviceKind::CfiFlash { .. } | DeviceKind::FwCfg) {
                root = root.with_all(self.device_node(device));
            } else {
                soc = soc.with_all(self.device_node(device));
            }
            root = root.with_all(self.root_nodes(device));
        }
        Ok(Tree { root: root.with(soc), reservations: Vec::new(), boot_cpu: chosen.boot_hart })
    }

    fn chosen(&self, chosen: &Chosen) -> Result<Node, TreeError> {
        let mut node = Node::new("chosen");
        if let Some(uart) = self.uarts().next() {
            node = node.string("stdout-path", &format!("/soc/{}", node_name(uart)));
        }
        if let Some(bootargs) = &chosen.bootargs {
            if bootargs.contains('\0') {
                return Err(TreeError::BootargsNul);
            }
            node = node.string("bootargs", bootargs);
        }
        if let Some(initrd) = &chosen.initrd {
            node = node
                .cells64("linux,initrd-start", &[initrd.start])
                .cells64("linux,initrd-end", &[initrd.end]);
        }
        if !chosen.rng_seed.is_empty() {
            node = node.bytes("rng-seed", &chosen.rng_seed);
        }
        Ok(node)
    }

    fn aliases(&self) -> Option<Node> {
        let mut uarts = self.uarts().enumerate().peekable();
        uarts.peek()?;
        let alias = |node: Node, (number, uart): (usize, &Placed)| {
            node.string(&format!("serial{number}"), &format!("/soc/{}", node_name(uart)))
        };
        Some(uarts.fold(Node::new("aliases"), alias))
    }

    fn cpus_node(&self) -> Node {
        let cores = (0..self.cpus)
            .map(|hart| Node::new(format!("core{hart}")).cells("cpu", &[self.cpu_phandle(hart)]));
        Node::new("cpus")
            .cells("#address-cells", &[1])
            .cells("#size-cells", &[0])
            .cells("timebase-frequency", &[self.timebase_hz])
            .with_all((0..self.cpus).map(|hart| self.cpu_node(hart)))
            .with(Node::new("cpu-map").with(Node::new("cluster0").with_all(cores)))
    }

    fn cpu_node(&self, hart: u32) -> Node {
        let core = self.core(hart);
        let mut node = Node::new(format!("cpu@{hart:x}"))
            .cells("phandle", &[self.cpu_phandle(hart)])
            .string("device_type", "cpu")
            .cells("reg", &[hart])
            .string("status", if core.supervisor { "okay" } else { "disabled" })
            .strings("compatible", core.compatible)
            .string("riscv,isa", &core.isa.to_string())
            .string("riscv,isa-base", "rv64i")
            .strings("riscv,isa-extensions", core.isa.extensions());
        if core.supervisor {
            node = node.string("mmu-type", core.mmu.property());
        }
        for (extension, property) in [
            ("zicbom", "riscv,cbom-block-size"),
            ("zicbop", "riscv,cbop-block-size"),
            ("zicboz", "riscv,cboz-block-size"),
        ] {
            if core.isa.has(extension) {
                node = node.cells(property, &[CACHE_BLOCK]);
            }
        }
        for (property, value) in core.caches {
            node = node.cells(property, &[*value]);
        }
        if core.split_tlb {
            node = node.flag("tlb-split");
        }
        if let Some(cache) = self.devices.iter().find(|device| device.kind == DeviceKind::Fu540Cache) {
            node = node.cells("next-level-cache", &[self.phandle(cache.name)]);
        }
        node.with(
            Node::new("interrupt-controller")
                .cells("#address-cells", &[0])
                .cells("#interrupt-cells", &[1])
                .flag("interrupt-controller")
                .string("compatible", "riscv,cpu-intc")
                .cells("phandle", &[self.intc_phandle(hart)]),
        )
    }

    /// The node of a device on the bus, for those that have one.
    fn device_node(&self, device: &Placed) -> Option<Node> {
        let node = Node::new(node_name(device));
        let compatible: &[&str] = match device.kind {
            DeviceKind::BootRom | DeviceKind::Htif { .. } => return None,
            // A PC has no devicetree.
            DeviceKind::I8259
            | DeviceKind::IoApic
            | DeviceKind::LocalApic { .. }
            | DeviceKind::I8254
            | DeviceKind::Cmos
            | DeviceKind::I8042
            | DeviceKind::DebugExit
            | DeviceKind::PowerControl
            | DeviceKind::ResetControl => return None,
            DeviceKind::TestFinisher => &["sifive,test1", "sifive,test0", "syscon"],
            DeviceKind::CfiFlash { .. } => &["cfi-flash"],
            DeviceKind::FwCfg => &["qemu,fw-cfg-mmio"],
            DeviceKind::GoldfishRtc => &["google,goldfish-rtc"],
            DeviceKind::VirtioMmio { .. } => &["virtio,mmio"],
            DeviceKind::Clint => &["sifive,clint0", "riscv,clint0"],
            DeviceKind::Plic { .. } => &["sifive,plic-1.0.0", "riscv,plic0"],
            DeviceKind::Ns16550 { .. } => &["ns16550a"],
            DeviceKind::SifiveUart { .. } => &["sifive,uart0"],
            DeviceKind::Fu540Cache => &["sifive,fu540-c000-ccache", "cache"],
            DeviceKind::Fu540Prci { .. } => &["sifive,fu540-c000-prci"],
            DeviceKind::SifiveGpio { .. } => &["sifive,gpio0"],
            DeviceKind::Fu540Gem { .. } => &["sifive,fu540-c000-gem"],
            DeviceKind::SifiveSpi { .. } => &["sifive,spi0"],
            DeviceKind::Fu540Otp { .. } => &["sifive,fu540-c000-otp"],
            DeviceKind::PcieHost { .. } => return Some(self.pcie_node(node, device)),
        };
        let compatible = if device.compatible.is_empty() { compatible } else { device.compatible };
        let node = node.strings("compatible", compatible).cells64("reg", &reg(device));
        let node = self.interrupts(node, device);
        Some(match device.kind {
            DeviceKind::TestFinisher => node.cells("phandle", &[self.phandle(device.name)]),
            DeviceKind::Plic { sources, .. } => node
                .cells("phandle", &[self.phandle(device.name)])
                .cells("riscv,ndev", &[sources])
                .flag("interrupt-controller")
                .cells("#address-cells", &[0])
                .cells("#interrupt-cells", &[1]),
            DeviceKind::Ns16550 { clock_hz, reg_shift } => {
                let node = node.cells("clock-frequency", &[clock_hz]);
                if reg_shift == 0 { node } else { node.cells("reg-shift", &[reg_shift]) }
            }
            DeviceKind::CfiFlash { .. } => node.cells("bank-width", &[4]),
            DeviceKind::FwCfg => node.flag("dma-coherent"),
            DeviceKind::SifiveUart { .. } => self.sifive_clock(node, device),
            _ => self.fu540_properties(node, device),
        })
    }

    /// Adds the properties that say where a device's outputs lead.
    fn interrupts(&self, node: Node, device: &Placed) -> Node {
        let inputs = device.outputs.iter().map(|target| match target {
            Target::Input { device, input } => Some((*device, *input)),
            Target::Hart { .. } | Target::Processor { .. } | Target::Isa(_) => None,
        });
        let inputs: Option<Vec<_>> = inputs.collect();
        if let Some([(controller, first), rest @ ..]) = inputs.as_deref()
            && rest.iter().all(|(other, _)| other == controller)
        {
            let numbers: Vec<u32> =
                [*first].into_iter().chain(rest.iter().map(|(_, input)| *input)).collect();
            let parent = self.phandle(controller);
            return node.cells("interrupt-parent", &[parent]).cells("interrupts", &numbers);
        }
        let mut extended = Vec::with_capacity(2 * device.outputs.len());
        for target in &device.outputs {
            match *target {
                Target::Hart { hart, interrupt } => {
                    extended.extend([self.intc_phandle(hart), interrupt as u32]);
                }
                Target::Input { device, input } => extended.extend([self.phandle(device), input]),
                Target::Processor { .. } | Target::Isa(_) => {}
            }
        }
        if extended.is_empty() { node } else { node.cells("interrupts-extended", &extended) }
    }

    /// Nodes beside the bus that a device brings with it.
    fn root_nodes(&self, device: &Placed) -> Vec<Node> {
        match device.kind {
            DeviceKind::TestFinisher => {
                let syscon = |name: &str, value| {
                    Node::new(name)
                        .string("compatible", &format!("syscon-{name}"))
                        .cells("regmap", &[self.phandle(device.name)])
                        .cells("offset", &[0])
                        .cells("value", &[value])
                };
                vec![syscon("poweroff", FINISHER_PASS), syscon("reboot", FINISHER_RESET)]
            }
            DeviceKind::SifiveUart { clock_hz } if self.prci().is_none() => vec![
                Node::new("uart-clock")
                    .string("compatible", "fixed-clock")
                    .cells("#clock-cells", &[0])
                    .cells("clock-frequency", &[clock_hz])
                    .cells("phandle", &[self.phandle(device.name)]),
            ],
            DeviceKind::Fu540Prci { .. } | DeviceKind::SifiveGpio { .. } => self.fu540_root_nodes(device),
            // Without an address the words are found by the program's own symbols.
            DeviceKind::Htif { in_ram: true, .. } => {
                vec![Node::new("htif").string("compatible", "ucb,htif0")]
            }
            DeviceKind::Htif { in_ram: false, .. } => vec![
                Node::new(format!("htif@{:x}", device.base))
                    .string("compatible", "ucb,htif0")
                    .cells64("reg", &[device.base, device.size]),
            ],
            _ => Vec::new(),
        }
    }

    // Phandles: interrupt controllers of harts from 1 on, then harts, then devices in their order.
    fn intc_phandle(&self, hart: u32) -> u32 {
        1 + hart
    }

    fn cpu_phandle(&self, hart: u32) -> u32 {
        1 + self.cpus + hart
    }

    pub(crate) fn phandle(&self, device: &str) -> u32 {
        let index = self.devices.iter().position(|other| other.name == device).unwrap_or(self.devices.len());
        1 + 2 * self.cpus + index as u32
    }
}

/// Addresses and sizes: one pair, but for flash, which has one for each bank (`mtd/mtd-physmap.yaml`).
fn reg(device: &Placed) -> Vec<u64> {
    if let DeviceKind::Fu540Gem { .. } = device.kind {
        let more = device.more.iter().map(|window| (window.base, window.size));
        return [(device.base, device.size)]
            .into_iter()
            .chain(more)
            .flat_map(|(at, len)| [at, len])
            .collect();
    }
    let parts = match device.kind {
        DeviceKind::CfiFlash { banks } => u64::from(banks.max(1)),
        _ => 1,
    };
    let size = device.size / parts;
    (0..parts).flat_map(|part| [device.base + part * size, size]).collect()
}

/// The generic name (Devicetree Specification, 2.2.2) with the unit address.
fn node_name(device: &Placed) -> String {
    let name = match device.kind {
        DeviceKind::BootRom => "rom",
        DeviceKind::TestFinisher => "test",
        DeviceKind::CfiFlash { .. } => "flash",
        DeviceKind::FwCfg => "fw-cfg",
        DeviceKind::GoldfishRtc => "rtc",
        DeviceKind::VirtioMmio { .. } => "virtio_mmio",
        DeviceKind::Clint => "clint",
        DeviceKind::Plic { .. } => "plic",
        DeviceKind::Ns16550 { .. } | DeviceKind::SifiveUart { .. } => "serial",
        DeviceKind::Htif { .. } => "htif",
        DeviceKind::Fu540Cache => "cache-controller",
        DeviceKind::Fu540Prci { .. } => "clock-controller",
        DeviceKind::SifiveGpio { .. } => "gpio",
        DeviceKind::Fu540Gem { .. } => "ethernet",
        DeviceKind::SifiveSpi { .. } => "spi",
        DeviceKind::Fu540Otp { .. } => "otp",
        DeviceKind::PcieHost { .. } => "pci",
        _ => device.name,
    };
    format!("{name}@{:x}", device.base)
}
