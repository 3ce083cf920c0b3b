//! The local APIC's state: registers, priorities, acceptance and local interrupts.
//!
//! Source: SDM volume 3A, chapter "Advanced Programmable Interrupt Controller (APIC)"; its sections
//! are cited below.

use crate::apic_bus::{BROADCAST, Delivery, Interrupt};
use dev_core::registers;
use fabric_clock::Nanos;
use fabric_wire::local::{Event, apic_base};

registers! {
    /// Offsets in the register page ("Local APIC Register Address Map"). The MSR of the x2APIC
    /// register is 0x800 + offset / 16.
    pub enum Reg {
        0x020 Id RO { id: 31..24 }
        0x030 Version RO { version: 7..0, max_lvt: 23..16, eoi_suppression: 24..24 }
        0x080 Tpr RW { priority: 7..0 }
        0x090 Apr RO { priority: 7..0 }
        0x0a0 Ppr RO { priority: 7..0 }
        0x0b0 Eoi WO {}
        0x0d0 Ldr RW { logical: 31..24 }
        0x0e0 Dfr RW { model: 31..28 }
        0x0f0 Svr RW { vector: 7..0, enable: 8..8, focus: 9..9, suppress_eoi: 12..12 }
        0x100 Isr[8; 16] RO {}
        0x180 Tmr[8; 16] RO {}
        0x200 Irr[8; 16] RO {}
        0x280 Esr RW { send_illegal: 5..5, receive_illegal: 6..6, illegal_register: 7..7 }
        0x300 Icr RW { vector: 7..0, delivery: 10..8, logical: 11..11, assert: 14..14, level: 15..15, shorthand: 19..18 }
        0x310 IcrHigh RW { destination: 31..24 }
        0x320 LvtTimer RW { vector: 7..0, mask: 16..16, mode: 18..17 }
        0x330 LvtThermal RW { vector: 7..0, delivery: 10..8, mask: 16..16 }
        0x340 LvtCounters RW { vector: 7..0, delivery: 10..8, mask: 16..16 }
        0x350 LvtLint[2; 16] RW { vector: 7..0, delivery: 10..8, polarity: 13..13, remote_irr: 14..14, level: 15..15, mask: 16..16 }
        0x370 LvtError RW { vector: 7..0, mask: 16..16 }
        0x380 InitialCount RW {}
        0x390 CurrentCount RO {}
        0x3e0 Divide RW { low: 1..0, high: 3..3 }
        0x3f0 SelfIpi WO { vector: 7..0 }
    }
}

/// Numbers of the LVT entries, in the order of their registers.
pub mod lvt {
    /// Timer.
    pub const TIMER: usize = 0;
    /// The pin LINT0; LINT1 follows.
    pub const LINT0: usize = 3;
    /// Internal errors.
    pub const ERROR: usize = 5;
    /// How many there are.
    pub const COUNT: usize = 6;
}

/// Bits of each LVT entry that can be written.
pub const LVT_WRITABLE: [u64; lvt::COUNT] = [
    LvtTimer::FIELDS,
    LvtThermal::FIELDS,
    LvtCounters::FIELDS,
    LvtLint::FIELDS & !LvtLint::mask::remote_irr,
    LvtLint::FIELDS & !LvtLint::mask::remote_irr,
    LvtError::FIELDS,
];

/// The mask bit, in the same place of each entry.
pub const MASKED: u32 = LvtTimer::mask::mask as u32;
/// An integrated APIC with six LVT entries that can suppress EOI broadcasts.
pub const VERSION: u32 = 0x14 | 5 << 16 | 1 << 24;

/// How the machine uses the APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Initial APIC ID; the ID in xAPIC mode is its low byte.
    pub id: u32,
    /// The bootstrap processor's.
    pub bsp: bool,
    /// What the timer divides, Hz.
    pub timer_hz: u64,
    /// Frequency of the TSC, Hz.
    pub tsc_hz: u64,
    /// Width of physical addresses, bits.
    pub physical_bits: u32,
}

impl Default for Config {
    /// The bootstrap processor, number 0, both clocks at 1 GHz, 46 bits.
    fn default() -> Self {
        Config { id: 0, bsp: true, timer_hz: 1_000_000_000, tsc_hz: 1_000_000_000, physical_bits: 46 }
    }
}

/// 256 bits, one a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vectors(pub [u32; 8]);

impl Vectors {
    /// Whether `vector` is in the set.
    pub fn has(&self, vector: u8) -> bool {
        self.0.get(usize::from(vector / 32)).is_some_and(|w| w >> (vector % 32) & 1 != 0)
    }

    /// Puts `vector` in or takes it out.
    pub fn set(&mut self, vector: u8, high: bool) {
        if let Some(word) = self.0.get_mut(usize::from(vector / 32)) {
            *word = *word & !(1 << (vector % 32)) | u32::from(high) << (vector % 32);
        }
    }

    /// The highest vector in the set: the one of highest priority.
    pub fn highest(&self) -> Option<u8> {
        let (n, word) = self.0.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
        Some(n as u8 * 32 + 31 - word.leading_zeros() as u8)
    }
}

/// What the processor's side must send on, after the APIC's lock is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// An IPI; `all_but_self` leaves the sender out.
    Ipi {
        /// The message.
        interrupt: Interrupt,
        /// Shorthand "all excluding self".
        all_but_self: bool,
    },
    /// The end of a level-triggered interrupt, for the I/O APICs.
    Eoi(u8),
}

/// The registers and what is not seen of the APIC.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub base: u64,
    pub tpr: u8,
    pub ldr: u8,
    /// DFR's model: 15 flat, 0 cluster; other values match nobody.
    pub model: u8,
    pub svr: u32,
    pub isr: Vectors,
    pub tmr: Vectors,
    pub irr: Vectors,
    pub esr: u32,
    /// Errors since the last write to ESR.
    pub errors: u32,
    pub icr: u32,
    /// ICR's destination: bits 31:24 in xAPIC mode, all 32 in x2APIC mode.
    pub icr_high: u32,
    pub lvt: [u32; lvt::COUNT],
    pub initial: u32,
    pub divide: u32,
    /// When the one-shot or periodic count next reaches 0.
    pub expiry: Option<Nanos>,
    pub tsc_deadline: u64,
    pub tsc_offset: u64,
    /// Levels at the pins.
    pub lint: [bool; 2],
    pub nmi: bool,
    pub init: bool,
    pub sipi: Option<u8>,
}

impl State {
    /// After power-on ("Local APIC State After Power-Up or Reset").
    pub fn new(config: &Config) -> Self {
        let bsp = if config.bsp { apic_base::BSP } else { 0 };
        State {
            base: apic_base::DEFAULT_ADDRESS | apic_base::ENABLE | bsp,
            tpr: 0,
            ldr: 0,
            model: 15,
            svr: 0xff,
            isr: Vectors::default(),
            tmr: Vectors::default(),
            irr: Vectors::default(),
            esr: 0,
            errors: 0,
            icr: 0,
            icr_high: 0,
            lvt: [MASKED; lvt::COUNT],
            initial: 0,
            divide: 0,
            expiry: None,
            tsc_deadline: 0,
            tsc_offset: 0,
            lint: [false; 2],
            nmi: false,
            init: false,
            sipi: None,
        }
    }

    /// The registers as after power-on; IA32_APIC_BASE, pins and what waits for the processor stay.
    pub fn reset_registers(&mut self, config: &Config) {
        let State { base, lint, nmi, init, sipi, tsc_offset, .. } = *self;
        *self = State { base, lint, nmi, init, sipi, tsc_offset, ..State::new(config) };
    }

    /// IA32_APIC_BASE enables the APIC.
    pub fn present(&self) -> bool {
        self.base & apic_base::ENABLE != 0
    }

    /// In x2APIC mode.
    pub fn x2apic(&self) -> bool {
        self.base & apic_base::X2APIC != 0
    }

    /// Present, and enabled by software in SVR.
    pub fn enabled(&self) -> bool {
        self.present() && Svr::enable(u64::from(self.svr)) != 0
    }

    /// Entry `n` of the LVT; masked if there is none.
    pub fn entry(&self, n: usize) -> u64 {
        u64::from(self.lvt.get(n).copied().unwrap_or(MASKED))
    }

    /// PPR ("Task and Processor Priorities").
    pub fn ppr(&self) -> u8 {
        let served = self.isr.highest().unwrap_or(0) & 0xf0;
        if self.tpr & 0xf0 >= served { self.tpr } else { served }
    }

    /// The vector that may be delivered now.
    pub fn deliverable(&self) -> Option<u8> {
        let vector = self.irr.highest().filter(|_| self.present())?;
        (vector & 0xf0 > self.ppr() & 0xf0).then_some(vector)
    }

    /// Whether an 8259 at LINT0 asks for INTA cycles: through an entry in ExtINT mode or, with the
    /// APIC disabled, directly.
    pub fn external(&self) -> bool {
        let entry = self.entry(lvt::LINT0);
        let through = LvtLint::mask(entry) == 0 && LvtLint::delivery(entry) == 7 && self.lint_active(0);
        if self.present() { through } else { self.lint.first() == Some(&true) }
    }

    /// Whether a pin is asserted. Wires carry assertion, not voltage: the polarity bit is only stored.
    fn lint_active(&self, pin: usize) -> bool {
        self.lint.get(pin) == Some(&true)
    }

    /// Logical x2APIC ID ("Deriving Logical x2APIC ID from the Local x2APIC ID").
    pub fn logical_x2apic_id(config: &Config) -> u32 {
        (config.id >> 4) << 16 | 1 << (config.id & 15)
    }

    /// Whether `interrupt` is for this APIC ("Determining IPI Destination").
    pub fn is_destination(&self, interrupt: &Interrupt, config: &Config) -> bool {
        let to = interrupt.destination;
        if !self.present() || to == BROADCAST {
            return self.present();
        }
        match (interrupt.logical, self.x2apic()) {
            (false, true) => to == config.id,
            (false, false) => to == config.id & 0xff,
            (true, true) => {
                let own = Self::logical_x2apic_id(config);
                to >> 16 == own >> 16 && to & own & 0xffff != 0
            }
            (true, false) if to > 0xff => false,
            (true, false) => match self.model {
                15 => to & u32::from(self.ldr) != 0,
                0 => {
                    let cluster = to >> 4;
                    (cluster == u32::from(self.ldr >> 4) || cluster == 15)
                        && to & u32::from(self.ldr) & 15 != 0
                }
                _ => false,
            },
        }
    }

    /// Takes an interrupt message that is for this APIC.
    pub fn accept(&mut self, interrupt: &Interrupt) {
        match interrupt.delivery {
            Delivery::Fixed | Delivery::LowestPriority => self.request(interrupt.vector, interrupt.level),
            Delivery::Nmi => self.nmi = true,
            Delivery::Init => {
                self.init = true;
                self.sipi = None;
            }
            Delivery::Startup => self.sipi = Some(interrupt.vector),
            // There is no system management mode; an 8259 is wired to LINT0, not to an I/O APIC.
            Delivery::Smi | Delivery::ExtInt => {}
        }
    }

    /// A vector is requested ("Interrupt Acceptance for Fixed Interrupts"). Vectors below 16 are
    /// errors; a disabled APIC takes none.
    pub fn request(&mut self, vector: u8, level: bool) {
        if !self.enabled() {
            return;
        }
        if vector < 16 {
            self.error(Esr::mask::receive_illegal);
        } else {
            self.irr.set(vector, true);
            self.tmr.set(vector, level);
        }
    }

    /// Notes an error, and interrupts for it ("Error Handling").
    pub fn error(&mut self, bit: u64) {
        let before = self.errors;
        self.errors |= bit as u32;
        let entry = self.entry(lvt::ERROR);
        if before & bit as u32 == 0 && LvtError::mask(entry) == 0 {
            self.request(LvtError::vector(entry) as u8, false);
        }
    }

    /// Drives pin `pin`.
    pub fn set_lint(&mut self, pin: usize, high: bool) {
        let before = self.lint_active(pin);
        if let Some(level) = self.lint.get_mut(pin) {
            *level = high;
        }
        if !self.present() {
            // Without the APIC, LINT1 is the pin NMI.
            self.nmi |= pin == 1 && high && !before;
            return;
        }
        let entry = self.entry(lvt::LINT0 + pin);
        if LvtLint::mask(entry) != 0 {
            return;
        }
        let rises = self.lint_active(pin) && !before;
        match Delivery::from_bits(LvtLint::delivery(entry)) {
            Some(Delivery::Fixed) if pin == 0 && LvtLint::level(entry) != 0 => self.level_lint0(),
            Some(Delivery::Fixed) if rises => self.request(LvtLint::vector(entry) as u8, false),
            Some(Delivery::Nmi) => self.nmi |= rises,
            Some(Delivery::Init) => self.init |= rises,
            _ => {}
        }
    }

    /// A level-triggered fixed interrupt at LINT0 is requested while the pin is active and its
    /// remote IRR is clear; LINT1 is always edge-triggered ("Local Vector Table").
    pub fn level_lint0(&mut self) {
        let entry = self.entry(lvt::LINT0);
        let asks = self.enabled()
            && LvtLint::mask(entry) == 0
            && LvtLint::delivery(entry) == 0
            && LvtLint::level(entry) != 0
            && LvtLint::remote_irr(entry) == 0
            && self.lint_active(0);
        if asks {
            self.request(LvtLint::vector(entry) as u8, true);
            if let Some(entry) = self.lvt.get_mut(lvt::LINT0) {
                *entry |= LvtLint::mask::remote_irr as u32;
            }
        }
    }

    /// The highest vector in service ends ("Signaling Interrupt Servicing Completion"); gives it if
    /// the I/O APICs must hear of it.
    pub fn end_of_interrupt(&mut self) -> Option<u8> {
        let vector = self.isr.highest()?;
        self.isr.set(vector, false);
        let level = self.tmr.has(vector);
        let entry = self.entry(lvt::LINT0);
        if level && LvtLint::remote_irr(entry) != 0 && LvtLint::vector(entry) == u64::from(vector) {
            if let Some(entry) = self.lvt.get_mut(lvt::LINT0) {
                *entry &= !(LvtLint::mask::remote_irr as u32);
            }
            self.level_lint0();
        }
        (level && Svr::suppress_eoi(u64::from(self.svr)) == 0).then_some(vector)
    }

    /// What waits for the processor besides vectors: INIT, then start-up, then NMI.
    pub fn take_event(&mut self, config: &Config) -> Option<Event> {
        if std::mem::take(&mut self.init) {
            self.reset_registers(config);
            return Some(Event::Init);
        }
        if let Some(vector) = self.sipi.take() {
            return Some(Event::Sipi(vector));
        }
        std::mem::take(&mut self.nmi).then_some(Event::Nmi)
    }
}
