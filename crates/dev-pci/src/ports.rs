//! The functions that are part of the fabric itself: the host bridge and root ports. All that is special about them is in
//! their headers and capabilities, so that the models have no state.
//!
//! Sources: PCI Express Base Specification, 1.3.1 (root complex); QEMU, `docs/specs/pci-ids.rst` (the vendor's identifiers
//! of functions that stand for no product, under which they are known to systems).

use crate::device::{Description, Header, Identity, PciDevice, Pin};
use dev_core::RestoreError;

/// Vendor of the generic functions.
pub const VENDOR: u16 = 0x1b36;
const HOST_BRIDGE: u16 = 0x0008;
const ROOT_PORT: u16 = 0x000c;
const CLASS_HOST_BRIDGE: u32 = 0x06_0000;
const CLASS_BRIDGE: u32 = 0x06_0400;

/// The host bridge: what systems expect to find as the first function.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostBridge;

impl PciDevice for HostBridge {
    const NAME: &'static str = "pcie-host-bridge";
    const VERSION: u32 = 1;
    type Saved = ();

    fn description(&self) -> Description {
        let identity = Identity {
            vendor: VENDOR,
            device: HOST_BRIDGE,
            class: CLASS_HOST_BRIDGE,
            subsystem_vendor: SUBSYSTEM_VENDOR,
            subsystem: SUBSYSTEM,
            ..Identity::default()
        };
        Description { identity, plain: true, ..Description::default() }
    }

    fn save(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// The subsystem of generic functions.
pub const SUBSYSTEM_VENDOR: u16 = 0x1af4;
/// See [`SUBSYSTEM_VENDOR`].
pub const SUBSYSTEM: u16 = 0x1100;

/// A root port. It interrupts for nothing yet: no power management event, error or hot-plug reaches it.
#[derive(Clone, Copy, Debug)]
pub struct RootPort {
    /// Number of its slot as people see it, 0 to 8191.
    pub slot: u16,
}

impl PciDevice for RootPort {
    const NAME: &'static str = "pcie-root-port";
    const VERSION: u32 = 1;
    type Saved = ();

    fn description(&self) -> Description {
        let identity =
            Identity { vendor: VENDOR, device: ROOT_PORT, class: CLASS_BRIDGE, ..Identity::default() };
        let header = Header::RootPort { slot: self.slot };
        Description { identity, header, pin: Some(Pin::A), msi_vectors: 1, ..Description::default() }
    }

    fn save(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), RestoreError> {
        Ok(())
    }
}
