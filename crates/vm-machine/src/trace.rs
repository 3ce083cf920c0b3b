//! A record of what a guest does to its devices: every access that reaches one over the bus.

use fabric_bus::{BusFault, Target};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// One access to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// The device's name on the board.
    pub device: &'static str,
    /// Offset in the device.
    pub offset: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// A store.
    pub write: bool,
    /// What was read or written; `None` if the device has no such register.
    pub value: Option<u64>,
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeviceAccess { device, offset, size, write, value } = *self;
        write!(f, "{device}+{offset:#x} {} {size} ", if write { "write" } else { "read" })?;
        match value {
            Some(value) => write!(f, "{value:#x}"),
            None => f.write_str("refused"),
        }
    }
}

/// Takes the accesses as they happen. Must not call back into the machine.
pub trait Trace: Send + Sync {
    /// The guest has done this.
    fn access(&self, access: DeviceAccess);
}

/// Keeps all of them.
#[derive(Debug, Default)]
pub struct Recorded(Mutex<Vec<DeviceAccess>>);

impl Recorded {
    /// Everything since the last call.
    pub fn take(&self) -> Vec<DeviceAccess> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Trace for Recorded {
    fn access(&self, access: DeviceAccess) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    }
}

/// A device behind its observer.
pub(crate) struct Traced {
    pub device: &'static str,
    /// Offset of the target's first byte in the device.
    pub offset: u64,
    pub target: Arc<dyn Target>,
    pub trace: Arc<dyn Trace>,
}

impl Traced {
    fn note(&self, offset: u64, size: u8, write: bool, value: Option<u64>) {
        let offset = self.offset.wrapping_add(offset);
        self.trace.access(DeviceAccess { device: self.device, offset, size, write, value });
    }
}

impl Target for Traced {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        let result = self.target.read(offset, size);
        self.note(offset, size, false, result.ok());
        result
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        let result = self.target.write(offset, size, value);
        self.note(offset, size, true, result.ok().map(|()| value));
        result
    }

    fn update(&self, offset: u64, size: u8, change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
        let result = self.target.update(offset, size, change);
        self.note(offset, size, false, result.ok());
        self.note(offset, size, true, result.ok().map(change));
        result
    }
}
