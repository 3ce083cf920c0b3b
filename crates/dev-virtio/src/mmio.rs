//! The transport over memory-mapped registers (section 4.2), its second version.

use crate::common::{Common, State, Transport};
use crate::identity::{Answer, Identity};
use crate::queue::Setup;
use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

registers! {
    /// Section 4.2.2, table 4.1.
    pub enum Reg {
        0x000 MagicValue RO {}
        0x004 Version RO {}
        0x008 DeviceId RO {}
        0x00c VendorId RO {}
        0x010 DeviceFeatures RO {}
        0x014 DeviceFeaturesSel WO {}
        0x020 DriverFeatures WO {}
        0x024 DriverFeaturesSel WO {}
        0x030 QueueSel WO { queue: 15..0 }
        0x034 QueueSizeMax RO {}
        0x038 QueueSize WO { size: 15..0 }
        0x044 QueueReady RW { ready: 0..0 }
        0x050 QueueNotify WO {}
        0x060 InterruptStatus RO { used: 0..0, config: 1..1 }
        0x064 InterruptAck WO { used: 0..0, config: 1..1 }
        0x070 Status RW { status: 7..0 }
        0x080 QueueDescLow WO {}
        0x084 QueueDescHigh WO {}
        0x090 QueueDriverLow WO {}
        0x094 QueueDriverHigh WO {}
        0x0a0 QueueDeviceLow WO {}
        0x0a4 QueueDeviceHigh WO {}
        0x0ac ShmSel WO {}
        0x0b0 ShmLenLow RO {}
        0x0b4 ShmLenHigh RO {}
        0x0b8 ShmBaseLow RO {}
        0x0bc ShmBaseHigh RO {}
        0x0c0 QueueReset RW {}
        0x0fc ConfigGeneration RO {}
    }
}

/// "virt".
const MAGIC: u64 = 0x7472_6976;
const VERSION: u64 = 2;
/// Whose device it is: free to choose; a driver only shows it. "HSTL", as the magic value is written.
const VENDOR: u64 = 0x4c54_5348;
/// Where the configuration space begins.
const CONFIG: u64 = 0x100;
/// Bytes of the window.
const WINDOW: u64 = 0x1000;

/// A virtio device, or the place for one, over memory-mapped registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mmio {
    common: Common,
}

impl Mmio {
    /// One that is as `identity` says.
    pub fn new(identity: Identity) -> Self {
        Mmio { common: Common::new(identity) }
    }

    /// The same with a configuration space that answers.
    pub fn answering(mut self, answer: Option<Answer>) -> Self {
        self.common = self.common.answering(answer);
        self
    }

    fn register(&self, register: Reg) -> u64 {
        let common = &self.common;
        match register {
            Reg::MagicValue => MAGIC,
            Reg::Version => VERSION,
            Reg::DeviceId => u64::from(common.identity().id),
            Reg::VendorId => VENDOR,
            Reg::DeviceFeatures => u64::from(common.device_features()),
            Reg::QueueSizeMax => common.queue().map_or(0, |(_, most)| u64::from(most)),
            Reg::QueueReady => common.queue().map_or(0, |(setup, _)| u64::from(setup.ready)),
            Reg::InterruptStatus => u64::from(common.state.interrupt),
            Reg::Status => u64::from(common.status()),
            Reg::ConfigGeneration => u64::from(common.state.generation),
            // A region that is not there has this length and base (section 4.2.2).
            Reg::ShmLenLow | Reg::ShmLenHigh | Reg::ShmBaseLow | Reg::ShmBaseHigh => 0xffff_ffff,
            _ => 0,
        }
    }

    fn set_register(&mut self, register: Reg, value: u32) {
        let common = &mut self.common;
        let low = |word: u64| word & !0xffff_ffff | u64::from(value);
        let high = |word: u64| word & 0xffff_ffff | u64::from(value) << 32;
        match register {
            Reg::DeviceFeaturesSel => common.state.device_features_select = value,
            Reg::DriverFeaturesSel => common.state.driver_features_select = value,
            Reg::DriverFeatures => common.set_driver_features(value),
            // More than 16 bits name no queue; nor does the last number.
            Reg::QueueSel => common.state.queue_select = u16::try_from(value).unwrap_or(u16::MAX),
            Reg::QueueSize => common.set_queue(|q: &mut Setup| q.size = u16::try_from(value).unwrap_or(0)),
            Reg::QueueReady => common.queue_ready(value & 1 != 0),
            Reg::QueueNotify => common.ring(value),
            Reg::InterruptAck => common.state.interrupt &= !(value as u8),
            Reg::Status => common.set_status(value as u8),
            Reg::QueueDescLow => common.set_queue(|q| q.descriptors = low(q.descriptors)),
            Reg::QueueDescHigh => common.set_queue(|q| q.descriptors = high(q.descriptors)),
            Reg::QueueDriverLow => common.set_queue(|q| q.driver = low(q.driver)),
            Reg::QueueDriverHigh => common.set_queue(|q| q.driver = high(q.driver)),
            Reg::QueueDeviceLow => common.set_queue(|q| q.device = low(q.device)),
            Reg::QueueDeviceHigh => common.set_queue(|q| q.device = high(q.device)),
            _ => {}
        }
    }
}

impl Transport for Mmio {
    fn common(&mut self) -> &mut Common {
        &mut self.common
    }

    // The line follows the interrupt status.
    fn signal(&mut self, _queue: usize) {}

    fn signal_config(&mut self) {}
}

impl Device for Mmio {
    const NAME: &'static str = "virtio-mmio";
    const VERSION: u32 = 1;
    type Saved = saved::MmioV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        match offset {
            CONFIG..WINDOW => Ok(self.common.read_config(offset - CONFIG, size)),
            _ if size == 4 && offset < CONFIG => {
                Ok(Reg::at(offset).map_or(0, |register| self.register(register)))
            }
            _ => Err(NoRegister),
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        match offset {
            CONFIG..WINDOW => self.common.write_config(offset - CONFIG, size, value),
            _ if size == 4 && offset < CONFIG => {
                if let Some(register) = Reg::at(offset) {
                    self.set_register(register, value as u32);
                }
            }
            _ => return Err(NoRegister),
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.common.state.interrupt != 0)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn wants_host(&self) -> bool {
        self.common.has_news()
    }

    fn reset(&mut self, _now: Nanos) {
        self.common.power_on();
    }

    fn save(&self) -> saved::MmioV1 {
        let (state, config) = self.common.save();
        saved::MmioV1 { state, config }
    }

    fn restore(&mut self, saved: saved::MmioV1) -> Result<(), RestoreError> {
        let saved::MmioV1 { state, config } = saved;
        if self.common.restore(state, config) {
            Ok(())
        } else {
            Err(RestoreError::Damaged { device: Self::NAME })
        }
    }
}

mod saved {
    use super::State;
    use serde::{Deserialize, Serialize};

    /// Version 1 of the saved state.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct MmioV1 {
        /// What the driver has negotiated and set up.
        pub state: State,
        /// The configuration space.
        pub config: Vec<u8>,
    }
}
