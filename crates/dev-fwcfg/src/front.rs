//! What stands between the bus and the device: a write that makes a request has it served before it is done.

use crate::FwCfg;
use dev_core::{Device, Slot};
use fabric_bus::{BusFault, Dma, Target};
use std::sync::Arc;

/// The device's slot with its way to memory.
pub struct Front {
    slot: Arc<Slot<FwCfg>>,
    dma: Dma,
}

impl Front {
    /// Has requests served with the memory that `dma` reaches.
    pub fn new(slot: Arc<Slot<FwCfg>>, dma: Dma) -> Front {
        Front { slot, dma }
    }
}

impl Target for Front {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.slot.read(offset, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        self.slot.with(|device, now| {
            device.write(offset, size, value, now).map_err(|_| BusFault)?;
            device.serve(&self.dma);
            Ok(())
        })
    }
}
