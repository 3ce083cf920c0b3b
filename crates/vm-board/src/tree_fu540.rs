//! The devicetree nodes of SiFive's FU540.
//!
//! Sources: Linux devicetree bindings `clock/sifive/fu540-prci.yaml`, `cache/sifive,ccache0.yaml`,
//! `gpio/sifive,gpio.yaml`, `spi/spi-sifive.yaml`, `mmc/mmc-spi-slot.yaml`, `net/cdns,macb.yaml`, `power/reset/gpio-restart.yaml`; U-Boot, `doc/device-tree-bindings/misc`
//! (`sifive-otp.txt`).

use crate::board::{Board, DeviceKind, Placed};
use support_image::fdt::Node;

/// What the clock controller's binding calls TLCLK, the clock of the peripherals (`FU540_PRCI_CLK_TLCLK` of
/// `sifive-fu540-prci.h`).
const CLK_TLCLK: u32 = 3;
/// The clock of the Ethernet subsystem (`FU540_PRCI_CLK_GEMGXLPLL`).
const CLK_GEMGXLPLL: u32 = 2;
/// Words of 32 fuses.
const FUSES: u32 = 0x1000;
/// `GPIO_ACTIVE_LOW` (`gpio/gpio.h`).
const ACTIVE_LOW: u32 = 1;
/// The fastest that the slot's lines are clocked, in Hz.
const SD_HZ: u32 = 20_000_000;
/// The slot's voltage, in mV.
const SD_MILLIVOLTS: u32 = 3300;

impl Board {
    /// The clock controller.
    pub(crate) fn prci(&self) -> Option<&Placed> {
        self.devices.iter().find(|device| matches!(device.kind, DeviceKind::Fu540Prci { .. }))
    }

    /// Adds the clock of a peripheral: the clock controller's, or one of its own.
    pub(crate) fn sifive_clock(&self, node: Node, device: &Placed) -> Node {
        match self.prci() {
            Some(prci) => node.cells("clocks", &[self.phandle(prci.name), CLK_TLCLK]),
            None => node.cells("clocks", &[self.phandle(device.name)]),
        }
    }

    /// Adds what a device of the FU540 has besides registers and interrupts.
    pub(crate) fn fu540_properties(&self, node: Node, device: &Placed) -> Node {
        let phandle = self.phandle(device.name);
        match device.kind {
            DeviceKind::Fu540Cache => node
                .cells("phandle", &[phandle])
                .cells("cache-block-size", &[64])
                .cells("cache-level", &[2])
                .cells("cache-sets", &[1024])
                .cells("cache-size", &[2 << 20])
                .flag("cache-unified"),
            DeviceKind::Fu540Prci { .. } => node
                .cells("phandle", &[phandle])
                .cells("clocks", &[self.crystal(0), self.crystal(1)])
                .cells("#clock-cells", &[1]),
            DeviceKind::SifiveGpio { .. } => self
                .sifive_clock(node.cells("phandle", &[phandle]), device)
                .flag("gpio-controller")
                .cells("#gpio-cells", &[2])
                .flag("interrupt-controller")
                .cells("#address-cells", &[0])
                .cells("#interrupt-cells", &[2]),
            DeviceKind::Fu540Gem { mac } => self.gem(node, device, mac),
            DeviceKind::SifiveSpi { slot, .. } => {
                let node =
                    self.sifive_clock(node, device).cells("#address-cells", &[1]).cells("#size-cells", &[0]);
                if slot { node.with(sd_slot()) } else { node.string("status", "disabled") }
            }
            DeviceKind::Fu540Otp { .. } => node.cells("fuse-count", &[FUSES]),
            _ => node,
        }
    }

    /// The network card, and its PHY at address 0.
    fn gem(&self, node: Node, device: &Placed, mac: Option<[u8; 6]>) -> Node {
        let phy = self.phandle(device.name);
        let node = match self.prci().map(|prci| self.phandle(prci.name)) {
            Some(prci) => node
                .strings("clock-names", &["pclk", "hclk"])
                .cells("clocks", &[prci, CLK_GEMGXLPLL, prci, CLK_GEMGXLPLL]),
            None => node,
        };
        let node = node
            .string("phy-mode", "gmii")
            .cells("phy-handle", &[phy])
            .cells("#address-cells", &[1])
            .cells("#size-cells", &[0])
            .with(Node::new("ethernet-phy@0").cells("phandle", &[phy]).cells("reg", &[0]));
        match mac {
            Some(mac) => node.bytes("local-mac-address", &mac),
            None => node.string("status", "disabled"),
        }
    }

    /// Nodes beside the bus that such a device brings with it.
    pub(crate) fn fu540_root_nodes(&self, device: &Placed) -> Vec<Node> {
        match device.kind {
            DeviceKind::Fu540Prci { hfclk_hz, rtcclk_hz } => {
                let crystal = |number, name: &str, hz| {
                    Node::new(name)
                        .cells("phandle", &[self.crystal(number)])
                        .cells("#clock-cells", &[0])
                        .string("compatible", "fixed-clock")
                        .cells("clock-frequency", &[hz])
                        .string("clock-output-names", name)
                };
                vec![crystal(0, "hfclk", hfclk_hz), crystal(1, "rtcclk", rtcclk_hz)]
            }
            DeviceKind::SifiveGpio { restart_pin } => vec![
                Node::new("gpio-restart")
                    .string("compatible", "gpio-restart")
                    .cells("gpios", &[self.phandle(device.name), restart_pin, ACTIVE_LOW]),
            ],
            _ => Vec::new(),
        }
    }

    /// The phandle of a crystal: behind those of the devices.
    fn crystal(&self, number: u32) -> u32 {
        self.phandle("") + number
    }
}

/// The slot for an SD card, which cannot tell whether there is one, nor whether it is locked.
fn sd_slot() -> Node {
    Node::new("mmc@0")
        .string("compatible", "mmc-spi-slot")
        .cells("reg", &[0])
        .cells("spi-max-frequency", &[SD_HZ])
        .cells("voltage-ranges", &[SD_MILLIVOLTS, SD_MILLIVOLTS])
        .flag("disable-wp")
}
