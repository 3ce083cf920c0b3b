//! The transport over PCI (section 4.1), without what drivers from before version 1.0 need.
//!
//! A function has two BARs. BAR 1 has the MSI-X vectors: one for changes of the configuration and one for each queue. BAR 4 has
//! all structures of virtio, a page for each, so that none of them lies where another is cached or mapped: the common
//! configuration, the interrupt status, the device's configuration, and the notifications, in which each queue has a doubleword
//! of its own. It is not prefetchable, as reading the interrupt status clears it.

use crate::common::{Common, NO_VECTOR, State, Transport, Vectors};
use crate::feature;
use crate::identity::Identity;
use crate::pci_registers::{Common as Reg, read_common};
use dev_core::{NoRegister, RestoreError};
use dev_pci::{
    Bar, BarKind, Description, Front, MsixPlace, PciDevice, PciFunction, Pin, SUBSYSTEM, SUBSYSTEM_VENDOR,
    VendorCapability,
};
use fabric_clock::Nanos;

/// Virtio's vendor, and what a device ID is besides the device type (section 4.1.2).
const VENDOR: u16 = 0x1af4;
const DEVICE: u16 = 0x1040;
/// Of a device that is not one from before version 1.0 as well (section 4.1.2.1).
const REVISION: u8 = 1;

/// The BAR of the vectors: bytes, and where the pending bits are.
const VECTORS_BAR: u8 = 1;
const VECTORS_SIZE: u64 = 0x1000;
const PENDING: u32 = 0x800;
/// The BAR of the structures: bytes, and where each begins.
const BAR: u8 = 4;
const SIZE: u64 = 0x4000;
const COMMON: u64 = 0;
const ISR: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
/// `notify_off_multiplier`: bytes of notifications for each queue.
const NOTIFY_STEP: u64 = 4;

/// Types of structure (section 4.1.4).
mod cfg_type {
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const ISR: u8 = 3;
    pub const DEVICE: u8 = 4;
    pub const PCI: u8 = 5;
}
/// Fields of a capability, from its fourth byte on: where a body begins.
const CAP_BAR: usize = 1;
const CAP_OFFSET: usize = 5;
const CAP_LENGTH: usize = 9;
const CAP_DATA: usize = 13;

/// A virtio device as a PCI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pci {
    common: Common,
    /// Vectors that messages are due for, a bit each. Never left over: the function takes them after each change.
    due: u128,
}

impl Pci {
    /// One that is as `identity` says, and whose queues can be reset.
    pub fn new(mut identity: Identity) -> Self {
        identity.features |= feature::RING_RESET;
        let mut common = Common::new(identity);
        common.set_reaches_memory(false);
        Pci { common, due: 0 }
    }

    /// How many vectors there are.
    fn vectors(&self) -> u16 {
        self.common.identity().queues.len() as u16 + 1
    }

    fn send(&mut self, vector: Option<u16>) {
        self.due |= vector.and_then(|vector| 1u128.checked_shl(vector.into())).unwrap_or(0);
    }

    /// What vector a driver has chosen: none, if it is none of ours (section 4.1.5.1.2.1).
    fn chosen(&self, vector: u64) -> u16 {
        u16::try_from(vector).ok().filter(|vector| *vector < self.vectors()).unwrap_or(NO_VECTOR)
    }

    fn selected(&self) -> usize {
        usize::from(self.common.state.queue_select)
    }

    /// What a register of the common configuration reads as.
    pub(crate) fn register(&self, register: Reg) -> u64 {
        let common = &self.common;
        let (setup, _) = common.queue().unzip();
        match register {
            Reg::DeviceFeatureSelect => u64::from(common.state.device_features_select),
            Reg::DeviceFeature => u64::from(common.device_features()),
            Reg::DriverFeatureSelect => u64::from(common.state.driver_features_select),
            Reg::DriverFeature => u64::from(common.driver_features()),
            Reg::ConfigMsixVector => u64::from(common.vectors.config),
            Reg::NumQueues => common.identity().queues.len() as u64,
            Reg::DeviceStatus => u64::from(common.status()),
            Reg::ConfigGeneration => u64::from(common.state.generation & 0xff),
            Reg::QueueSelect => u64::from(common.state.queue_select),
            Reg::QueueSize => setup.map_or(0, |setup| u64::from(setup.size)),
            Reg::QueueMsixVector => {
                u64::from(common.vectors.queues.get(self.selected()).copied().unwrap_or(NO_VECTOR))
            }
            Reg::QueueEnable => setup.map_or(0, |setup| u64::from(setup.ready)),
            Reg::QueueNotifyOff => setup.map_or(0, |_| u64::from(common.state.queue_select)),
            Reg::QueueDescLow => setup.map_or(0, |setup| setup.descriptors & 0xffff_ffff),
            Reg::QueueDescHigh => setup.map_or(0, |setup| setup.descriptors >> 32),
            Reg::QueueDriverLow => setup.map_or(0, |setup| setup.driver & 0xffff_ffff),
            Reg::QueueDriverHigh => setup.map_or(0, |setup| setup.driver >> 32),
            Reg::QueueDeviceLow => setup.map_or(0, |setup| setup.device & 0xffff_ffff),
            Reg::QueueDeviceHigh => setup.map_or(0, |setup| setup.device >> 32),
            // VIRTIO_F_NOTIF_CONFIG_DATA is not offered.
            Reg::QueueNotifyData => 0,
            Reg::QueueReset => u64::from(common.queue_resets()),
        }
    }

    fn set_register(&mut self, register: Reg, value: u64) {
        let low = |word: u64| word & !0xffff_ffff | value & 0xffff_ffff;
        let high = |word: u64| word & 0xffff_ffff | value << 32;
        let (vector, selected) = (self.chosen(value), self.selected());
        let common = &mut self.common;
        match register {
            Reg::DeviceFeatureSelect => common.state.device_features_select = value as u32,
            Reg::DriverFeatureSelect => common.state.driver_features_select = value as u32,
            Reg::DriverFeature => common.set_driver_features(value as u32),
            Reg::ConfigMsixVector => common.vectors.config = vector,
            Reg::DeviceStatus => common.set_status(value as u8),
            Reg::QueueSelect => common.state.queue_select = value as u16,
            Reg::QueueSize => common.set_queue(|queue| queue.size = value as u16),
            Reg::QueueMsixVector => {
                if let Some(of_queue) = common.vectors.queues.get_mut(selected) {
                    *of_queue = vector;
                }
            }
            // A driver writes nothing else (section 4.1.4.3.2).
            Reg::QueueEnable if value == 1 => common.enable_queue(),
            Reg::QueueReset if value == 1 => common.reset_queue(),
            Reg::QueueDescLow => common.set_queue(|queue| queue.descriptors = low(queue.descriptors)),
            Reg::QueueDescHigh => common.set_queue(|queue| queue.descriptors = high(queue.descriptors)),
            Reg::QueueDriverLow => common.set_queue(|queue| queue.driver = low(queue.driver)),
            Reg::QueueDriverHigh => common.set_queue(|queue| queue.driver = high(queue.driver)),
            Reg::QueueDeviceLow => common.set_queue(|queue| queue.device = low(queue.device)),
            Reg::QueueDeviceHigh => common.set_queue(|queue| queue.device = high(queue.device)),
            _ => {}
        }
    }

    /// Writes to the common configuration. A field is written as a whole, one of 64 bits also by halves (section 4.1.3.1); what
    /// a driver must not do is nothing.
    fn write_common(&mut self, offset: u64, size: u8, value: u64) {
        match (Reg::at(offset), size) {
            (Some(register), 8) if register.is_low() => {
                self.set_register(register, value & 0xffff_ffff);
                if let Some(upper) = Reg::at(offset + 4) {
                    self.set_register(upper, value >> 32);
                }
            }
            (Some(register), size) if u64::from(size) == register.width() => {
                self.set_register(register, value);
            }
            _ => {}
        }
    }

    /// Reads in BAR 4. What is between the structures reads as 0.
    fn read(&mut self, offset: u64, size: u8) -> u64 {
        match offset {
            COMMON..ISR => read_common(offset, size, |register| self.register(register)),
            // Whoever reads it acknowledges (section 4.1.4.5).
            ISR => u64::from(std::mem::take(&mut self.common.state.interrupt)),
            CONFIG..NOTIFY => self.common.read_config(offset - CONFIG, size),
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64) {
        match offset {
            COMMON..ISR => self.write_common(offset, size, value),
            CONFIG..NOTIFY => self.common.write_config(offset - CONFIG, size, value),
            // The place says which queue, so that the value need not be looked at.
            NOTIFY..SIZE if offset.is_multiple_of(NOTIFY_STEP) => {
                self.common.ring(((offset - NOTIFY) / NOTIFY_STEP) as u32);
            }
            _ => {}
        }
    }

    fn structure(kind: u8, offset: u64, length: u64) -> VendorCapability {
        let mut body = vec![kind, BAR, 0, 0, 0];
        body.extend((offset as u32).to_le_bytes());
        body.extend((length as u32).to_le_bytes());
        VendorCapability { body, ..VendorCapability::default() }
    }

    /// The capabilities of virtio. That of the device's configuration is there if there is any (section 4.1.4.6).
    fn structures(&self) -> Vec<VendorCapability> {
        let Identity { queues, config, .. } = self.common.identity();
        let mut notify = Pci::structure(cfg_type::NOTIFY, NOTIFY, NOTIFY_STEP * queues.len().max(1) as u64);
        notify.body.extend((NOTIFY_STEP as u32).to_le_bytes());
        let mut all =
            vec![Pci::structure(cfg_type::COMMON, COMMON, Reg::END), Pci::structure(cfg_type::ISR, ISR, 1)];
        if !config.is_empty() {
            all.push(Pci::structure(cfg_type::DEVICE, CONFIG, config.len() as u64));
        }
        all.extend([notify, window()]);
        all
    }
}

/// The capability that is a way to the BARs for those who have not mapped them: which BAR, where and how many bytes are written
/// to it, and its last doubleword is what is there (section 4.1.4.9).
fn window() -> VendorCapability {
    let mut body = vec![0; CAP_DATA + 4];
    let mut writable = body.clone();
    if let Some(kind) = body.first_mut() {
        *kind = cfg_type::PCI;
    }
    for (at, byte) in writable.iter_mut().enumerate() {
        *byte = if at == CAP_BAR || at >= CAP_OFFSET { 0xff } else { 0 };
    }
    VendorCapability { body, writable, window: Some(CAP_DATA as u8) }
}

/// Where such an access goes in BAR 4, how many bytes of it, and what the driver has written there last; nowhere, if a driver
/// must not say so.
fn through(body: &[u8]) -> Option<(u64, u8, u32)> {
    let word = |at: usize| Some(u32::from_le_bytes(*body.get(at..)?.first_chunk()?));
    let (offset, length) = (word(CAP_OFFSET)?, word(CAP_LENGTH)?);
    let sound = matches!(length, 1 | 2 | 4) && offset.is_multiple_of(length) && u64::from(offset) < SIZE;
    let here = body.get(CAP_BAR) == Some(&BAR);
    (sound && here).then_some((offset.into(), length as u8, word(CAP_DATA)?))
}

/// The class of a type of device: base class, sub-class and interface.
fn class(id: u32) -> u32 {
    match id {
        // Network: Ethernet.
        1 => 0x02_0000,
        // Mass storage: SCSI, which systems look for disks under.
        2 | 8 => 0x01_0000,
        // Communication: other.
        3 | 19 => 0x07_8000,
        // Mass storage: other.
        26 => 0x01_8000,
        // Unclassified.
        _ => 0x00_ff00,
    }
}

impl Transport for PciFunction<Pci> {
    fn common(&mut self) -> &mut Common {
        &mut self.device_mut().common
    }

    fn signal(&mut self, queue: usize) {
        let device = self.device_mut();
        device.send(device.common.vectors.queues.get(queue).copied());
    }

    fn signal_config(&mut self) {
        let device = self.device_mut();
        device.send(Some(device.common.vectors.config));
    }
}

impl PciDevice for Pci {
    const NAME: &'static str = "virtio-pci";
    const VERSION: u32 = 1;
    type Saved = saved::PciV1;

    fn description(&self) -> Description {
        let id = self.common.identity().id;
        Description {
            identity: dev_pci::Identity {
                vendor: VENDOR,
                device: DEVICE + id as u16,
                revision: REVISION,
                class: class(id),
                subsystem_vendor: SUBSYSTEM_VENDOR,
                subsystem: SUBSYSTEM,
            },
            pin: Some(Pin::A),
            bars: vec![
                Bar {
                    number: VECTORS_BAR,
                    kind: BarKind::Memory32 { prefetchable: false },
                    size: VECTORS_SIZE,
                },
                Bar { number: BAR, kind: BarKind::Memory64 { prefetchable: false }, size: SIZE },
            ],
            msix: Some(MsixPlace { vectors: self.vectors(), bar: VECTORS_BAR, table: 0, pending: PENDING }),
            vendor: self.structures(),
            ..Description::default()
        }
    }

    fn bar_read(&mut self, bar: u8, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        // In the other there is nothing but the vectors, which are the function's.
        Ok(if bar == BAR { self.read(offset, size) } else { 0 })
    }

    fn bar_write(&mut self, bar: u8, offset: u64, size: u8, value: u64, _: Nanos) -> Result<(), NoRegister> {
        if bar == BAR {
            self.write(offset, size, value);
        }
        Ok(())
    }

    /// Reads all that the driver has asked for, of which this access may show a part. Behind that is what was written last.
    fn window_read(&mut self, _: usize, body: &[u8], offset: u8, _size: u8, _now: Nanos) -> u32 {
        let Some((at, length, data)) = through(body) else { return 0 };
        let value = self.read(at, length) as u32;
        let kept = u32::MAX.checked_shl(8 * u32::from(length)).unwrap_or(0);
        (value | data & kept) >> (8 * u32::from(offset & 3))
    }

    fn window_write(&mut self, _: usize, body: &[u8], _offset: u8, _size: u8, _value: u32, _now: Nanos) {
        if let Some((at, length, data)) = through(body) {
            let kept = u32::MAX.checked_shl(8 * u32::from(length)).unwrap_or(0);
            self.write(at, length, u64::from(data & !kept));
        }
    }

    fn interrupt(&self, _now: Nanos) -> bool {
        self.common.state.interrupt != 0
    }

    fn take_vector(&mut self) -> Option<u16> {
        let vector = (self.due != 0).then(|| self.due.trailing_zeros())?;
        self.due &= self.due - 1;
        Some(vector as u16)
    }

    fn bus_master(&mut self, enabled: bool) {
        self.common.set_reaches_memory(enabled);
    }

    fn sends_messages(&mut self, sends: bool) {
        self.common.messages = sends;
    }

    fn wants_host(&self) -> bool {
        self.common.has_news()
    }

    fn reset(&mut self, _now: Nanos) {
        self.common.power_on();
        self.common.set_reaches_memory(false);
        (self.common.messages, self.due) = (false, 0);
    }

    fn save(&self) -> saved::PciV1 {
        let (state, config) = self.common.save();
        saved::PciV1 { state, config, vectors: self.common.vectors.clone() }
    }

    fn restore(&mut self, saved: saved::PciV1) -> Result<(), RestoreError> {
        let saved::PciV1 { state, config, vectors } = saved;
        let sound = |vector: &u16| *vector == NO_VECTOR || *vector < self.vectors();
        let fits = vectors.queues.len() == self.common.identity().queues.len()
            && vectors.queues.iter().chain([&vectors.config]).all(sound);
        if !(fits && self.common.restore(state, config)) {
            return Err(RestoreError::Damaged { device: Self::NAME });
        }
        (self.common.vectors, self.due) = (vectors, 0);
        Ok(())
    }
}

impl Front for crate::Attended<PciFunction<Pci>> {
    fn changed(&self) {
        self.look();
    }
}

mod saved {
    use super::{State, Vectors};
    use serde::{Deserialize, Serialize};

    /// Version 1 of the saved state.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct PciV1 {
        /// What the driver has negotiated and set up.
        pub state: State,
        /// The configuration space.
        pub config: Vec<u8>,
        /// Which messages it wants.
        pub vectors: Vectors,
    }
}
