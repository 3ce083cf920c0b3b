//! A 16550A on a PCI card: eight I/O ports and one pin.
//!
//! Sources: PCI Code and ID Assignment Specification, 1.8 (class 07h, sub-class 00h, interface 02h: a 16550-compatible
//! controller); QEMU, `docs/specs/pci-serial.txt` and `docs/specs/pci-ids.rst` (the identifiers, and what the ports are, so
//! that systems have a driver for it).

use crate::{Ns16550, Ns16550Config};
use dev_core::{Device, NoRegister, RestoreError};
use dev_pci::{
    Bar, BarKind, Description, Identity, PciDevice, Pin, SUBSYSTEM, SUBSYSTEM_VENDOR, VENDOR as GENERIC,
};
use fabric_clock::Nanos;

const DEVICE: u16 = 0x0002;
const CLASS: u32 = 0x07_0002;
const PORTS: u64 = 8;
/// A PC's UART clock, in Hz: 115200 baud times 16.
const CLOCK_HZ: u32 = 1_843_200;

/// The card.
pub struct PciSerial {
    uart: Ns16550,
}

impl Default for PciSerial {
    fn default() -> Self {
        PciSerial::new()
    }
}

impl PciSerial {
    /// A card after power-on.
    pub fn new() -> Self {
        PciSerial { uart: Ns16550::new(Ns16550Config { clock_hz: CLOCK_HZ, reg_shift: 0 }) }
    }

    /// Its UART, for the host's side.
    pub fn uart(&mut self) -> &mut Ns16550 {
        &mut self.uart
    }
}

impl PciDevice for PciSerial {
    const NAME: &'static str = "pci-serial";
    const VERSION: u32 = Ns16550::VERSION;
    type Saved = <Ns16550 as Device>::Saved;

    fn description(&self) -> Description {
        Description {
            identity: Identity {
                vendor: GENERIC,
                device: DEVICE,
                revision: 1,
                class: CLASS,
                subsystem_vendor: SUBSYSTEM_VENDOR,
                subsystem: SUBSYSTEM,
            },
            pin: Some(Pin::A),
            bars: vec![Bar { number: 0, kind: BarKind::Io, size: PORTS }],
            ..Description::default()
        }
    }

    fn bar_read(&mut self, _bar: u8, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        self.uart.read(offset, size, now)
    }

    fn bar_write(
        &mut self,
        _bar: u8,
        offset: u64,
        size: u8,
        value: u64,
        now: Nanos,
    ) -> Result<(), NoRegister> {
        self.uart.write(offset, size, value, now)
    }

    fn interrupt(&self, now: Nanos) -> bool {
        self.uart.lines(0, now) != 0
    }

    fn deadline(&self, now: Nanos) -> Option<Nanos> {
        self.uart.deadline(now)
    }

    fn tick(&mut self, now: Nanos) {
        self.uart.tick(now);
    }

    fn wants_host(&self) -> bool {
        self.uart.wants_host()
    }

    fn takes_more(&self) -> bool {
        self.uart.takes_more()
    }

    fn reset(&mut self, now: Nanos) {
        self.uart.reset(now);
    }

    fn save(&self) -> Self::Saved {
        self.uart.save()
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        self.uart.restore(saved)
    }
}
