//! What a model of a PCI device says and does; everything that all functions have in common is [`crate::PciFunction`]'s.

use crate::bar::Bar;
use dev_core::{NoRegister, RestoreError};
use fabric_clock::Nanos;
use serde::{Serialize, de::DeserializeOwned};

/// Who a function is (PCI Local Bus Specification 3.0, 6.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Class code: base class, sub-class, programming interface, from the highest byte down.
    pub class: u32,
    /// Subsystem Vendor ID (type 0 only).
    pub subsystem_vendor: u16,
    /// Subsystem ID (type 0 only).
    pub subsystem: u16,
}

/// A pin for interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// INTA
    A = 1,
    /// INTB
    B = 2,
    /// INTC
    C = 3,
    /// INTD
    D = 4,
}

/// Where MSI-X vectors are: in one BAR, which the device need not know more of. Both parts lie in pages where the device
/// has nothing else (7.7.2 recommends it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixPlace {
    /// How many vectors, 1 to 2048.
    pub vectors: u16,
    /// The BAR.
    pub bar: u8,
    /// Offset of the table, a multiple of 8.
    pub table: u32,
    /// Offset of the pending bits, a multiple of 8.
    pub pending: u32,
}

/// A vendor-specific capability (PCI Local Bus Specification 3.0, appendix H).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VendorCapability {
    /// What follows the length byte, that is from the structure's fourth byte on.
    pub body: Vec<u8>,
    /// The writable bits of the body; bytes that are left out are read-only.
    pub writable: Vec<u8>,
    /// Bytes of the body (a range that is a doubleword in configuration space) whose accesses are
    /// [`PciDevice::window_read`] and [`PciDevice::window_write`] instead.
    pub window: Option<u8>,
}

/// What kind of header a function has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// Type 0: a device.
    #[default]
    Device,
    /// Type 1: a root port, the bridge to what is plugged into it.
    RootPort {
        /// Number of the slot as people see it, 0 to 8191.
        slot: u16,
    },
}

/// All that does not change of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Who it is.
    pub identity: Identity,
    /// Its header.
    pub header: Header,
    /// Its pin, if it interrupts.
    pub pin: Option<Pin>,
    /// Its BARs.
    pub bars: Vec<Bar>,
    /// MSI vectors: 0 for no MSI, else 1, 2, 4, 8, 16 or 32.
    pub msi_vectors: u8,
    /// MSI-X vectors.
    pub msix: Option<MsixPlace>,
    /// Vendor-specific capabilities, first to last.
    pub vendor: Vec<VendorCapability>,
    /// Without the capabilities of PCI Express and power management: a host bridge.
    pub plain: bool,
}

/// A model of a PCI device.
///
/// Like any model it knows nobody. Its interrupt is both a level, [`PciDevice::interrupt`], for functions whose driver uses
/// INTx, and vectors, [`PciDevice::take_vector`], for MSI and MSI-X; what the driver has not chosen is dropped.
pub trait PciDevice: Send + 'static {
    /// Device type as it appears in saved state and in inspection.
    const NAME: &'static str;
    /// Version of [`PciDevice::Saved`], below 65536.
    const VERSION: u32;
    /// Saved form of the device alone.
    type Saved: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug;

    /// What does not change. The same at every call.
    fn description(&self) -> Description;

    /// Reads `size` bytes (1, 2, 4 or 8; naturally aligned) at `offset` of BAR `bar`, all inside it.
    ///
    /// # Errors
    /// [`NoRegister`] if no register answers there: an unsupported request, which reads as all ones.
    fn bar_read(&mut self, _bar: u8, _offset: u64, _size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        Err(NoRegister)
    }

    /// Writes as [`PciDevice::bar_read`] reads.
    ///
    /// # Errors
    /// [`NoRegister`] if no register answers there.
    fn bar_write(
        &mut self,
        _bar: u8,
        _offset: u64,
        _size: u8,
        _value: u64,
        _now: Nanos,
    ) -> Result<(), NoRegister> {
        Err(NoRegister)
    }

    /// Reads in the window of vendor-specific capability `capability`, whose body now is `body`, `offset` bytes from the
    /// window's first.
    fn window_read(&mut self, _capability: usize, _body: &[u8], _offset: u8, _size: u8, _now: Nanos) -> u32 {
        0
    }

    /// Writes as [`PciDevice::window_read`] reads.
    fn window_write(
        &mut self,
        _capability: usize,
        _body: &[u8],
        _offset: u8,
        _size: u8,
        _value: u32,
        _now: Nanos,
    ) {
    }

    /// Whether it wants attention: the level of its pin, before the function's controls.
    fn interrupt(&self, _now: Nanos) -> bool {
        false
    }

    /// The next vector to send a message for, taken. Finitely many after any change.
    fn take_vector(&mut self) -> Option<u16> {
        None
    }

    /// Whether it may access memory from now on: bus mastering is enabled here and in every bridge above. False after
    /// reset.
    fn bus_master(&mut self, _enabled: bool) {}

    /// Whether its interrupts are messages from now on, as the driver has enabled MSI or MSI-X. False after reset. Only for
    /// devices whose registers depend on it (virtio's ISR status).
    fn sends_messages(&mut self, _sends: bool) {}

    /// As [`dev_core::Device::deadline`].
    fn deadline(&self, _now: Nanos) -> Option<Nanos> {
        None
    }

    /// As [`dev_core::Device::tick`].
    fn tick(&mut self, _now: Nanos) {}

    /// As [`dev_core::Device::wants_host`].
    fn wants_host(&self) -> bool {
        false
    }

    /// As [`dev_core::Device::takes_more`].
    fn takes_more(&self) -> bool {
        false
    }

    /// Back to the state after power-on: at a reset of the machine, of the bus or of the function.
    fn reset(&mut self, _now: Nanos) {}

    /// The state, for a snapshot.
    fn save(&self) -> Self::Saved;

    /// Takes a state back.
    ///
    /// # Errors
    /// [`RestoreError::Damaged`] if the values are none that a device could be in.
    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError>;
}
