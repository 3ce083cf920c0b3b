//! A device that has everything, for tests and fuzzing: ports, memory of both kinds, MSI, MSI-X, virtio's five capabilities.

use crate::bar::{Bar, BarKind};
use crate::device::{Description, Identity, MsixPlace, PciDevice, Pin, VendorCapability};
use dev_core::{NoRegister, RestoreError};
use fabric_clock::Nanos;

/// Four registers of 32 bits in BAR 4 and in the ports of BAR 0. The pin is high while the first is not zero; a write to
/// the second sends that vector; the third resets to this.
const THIRD: u32 = 0x1234_5678;
const REGISTERS: [u32; 4] = [0, 0, THIRD, 0];
/// Where the capability that is a window has its offset, from the body's first byte on.
const WINDOW_OFFSET: usize = 5;
/// Where its data are.
pub(crate) const WINDOW: u8 = 13;

/// The device.
#[derive(Debug, Default)]
pub struct Specimen {
    registers: [u32; 4],
    vectors: Vec<u16>,
    /// What [`PciDevice::bus_master`] has said last.
    pub master: bool,
    /// What [`PciDevice::sends_messages`] has said last.
    pub messages: bool,
}

impl Specimen {
    /// After reset.
    pub fn new() -> Specimen {
        Specimen { registers: REGISTERS, ..Specimen::default() }
    }

    /// Interrupts, or no longer.
    pub fn raise(&mut self, level: bool) {
        self.registers = [u32::from(level), self.registers[1], self.registers[2], self.registers[3]];
    }

    fn register(&mut self, offset: u64, size: u8) -> Result<&mut u32, NoRegister> {
        if size != 4 || !offset.is_multiple_of(4) {
            return Err(NoRegister);
        }
        self.registers.get_mut((offset / 4) as usize).ok_or(NoRegister)
    }
}

/// The body of one of virtio's capabilities (Virtual I/O Device 1.2, 4.1.4).
fn virtio(kind: u8, length: u8) -> VendorCapability {
    let mut body = vec![kind, 4];
    body.resize(usize::from(length) - 3, 0);
    VendorCapability { body, ..VendorCapability::default() }
}

impl PciDevice for Specimen {
    const NAME: &'static str = "specimen";
    const VERSION: u32 = 3;
    type Saved = [u32; 4];

    fn description(&self) -> Description {
        let identity = Identity {
            vendor: 0x1af4,
            device: 0x1041,
            revision: 1,
            class: 0x02_0000,
            subsystem_vendor: 0x1af4,
            subsystem: 0x1100,
        };
        let mut window = virtio(5, 20);
        window.writable = [[0, 0xff, 0, 0, 0].as_slice(), &[0xff; 12]].concat();
        window.window = Some(WINDOW);
        Description {
            identity,
            pin: Some(Pin::A),
            bars: vec![
                Bar { number: 0, kind: BarKind::Io, size: 32 },
                Bar { number: 1, kind: BarKind::Memory32 { prefetchable: false }, size: 0x2000 },
                Bar { number: 4, kind: BarKind::Memory64 { prefetchable: true }, size: 0x4000 },
            ],
            msi_vectors: 4,
            msix: Some(MsixPlace { vectors: 65, bar: 1, table: 0, pending: 0x1000 }),
            vendor: vec![virtio(1, 16), virtio(2, 20), virtio(3, 16), virtio(4, 16), window],
            ..Description::default()
        }
    }

    fn bar_read(&mut self, _bar: u8, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        self.register(offset, size).map(|register| u64::from(*register))
    }

    fn bar_write(&mut self, _: u8, offset: u64, size: u8, value: u64, _: Nanos) -> Result<(), NoRegister> {
        *self.register(offset, size)? = value as u32;
        if offset == 4 {
            self.vectors.push(value as u16);
        }
        Ok(())
    }

    fn window_read(&mut self, _: usize, body: &[u8], offset: u8, size: u8, now: Nanos) -> u32 {
        let at = u64::from(body.get(WINDOW_OFFSET).copied().unwrap_or(0));
        self.bar_read(4, at + u64::from(offset), size, now).unwrap_or(0) as u32
    }

    fn window_write(&mut self, _: usize, body: &[u8], offset: u8, size: u8, value: u32, now: Nanos) {
        let at = u64::from(body.get(WINDOW_OFFSET).copied().unwrap_or(0));
        let _ = self.bar_write(4, at + u64::from(offset), size, value.into(), now);
    }

    fn interrupt(&self, _now: Nanos) -> bool {
        let [level, ..] = self.registers;
        level != 0
    }

    fn take_vector(&mut self) -> Option<u16> {
        self.vectors.pop()
    }

    fn bus_master(&mut self, enabled: bool) {
        self.master = enabled;
    }

    fn sends_messages(&mut self, sends: bool) {
        self.messages = sends;
    }

    fn reset(&mut self, _now: Nanos) {
        *self = Specimen::new();
    }

    fn save(&self) -> [u32; 4] {
        self.registers
    }

    fn restore(&mut self, saved: [u32; 4]) -> Result<(), RestoreError> {
        *self = Specimen { registers: saved, ..Specimen::default() };
        Ok(())
    }
}
