//! Local APIC: xAPIC register page, x2APIC MSRs, IA32_APIC_BASE, IA32_TSC_DEADLINE.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), volume 3A, chapter
//! "Advanced Programmable Interrupt Controller (APIC)"; its sections are cited here, in
//! `lapic_state.rs` and in `lapic_timer.rs`.
//!
//! Only its processor reaches the registers, so they are on no bus: `LocalApic` is the way to them.

use crate::apic_bus::{BROADCAST, Delivery, Interrupt, widen};
use crate::lapic_saved;
use crate::lapic_state::{
    Config, Esr, Icr, IcrHigh, LVT_WRITABLE, Ldr, MASKED, Outgoing, Reg, SelfIpi, State, Svr, VERSION, lvt,
};
use dev_core::{Device, NoRegister, RestoreError};
use fabric_clock::Nanos;
use fabric_wire::LapicState;
use fabric_wire::local::{Event, GeneralProtection, apic_base, line};

/// The APIC. Inputs 0 and 1 are the pins LINT0 and LINT1; outputs 0 to 3 are the lines of
/// [`fabric_wire::local::line`], to be wired to the processor's pending word bit for bit.
#[derive(Debug)]
pub struct Lapic {
    config: Config,
    state: State,
}

/// What an acknowledge of the processor finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// Nothing may be delivered.
    Nothing,
    /// This vector, now in service.
    Vector(u8),
    /// The 8259 has to be asked, after the APIC's lock is released.
    External,
}

// ---- processor and machine side ----

impl Lapic {
    /// As after power-on.
    pub fn new(config: Config) -> Self {
        Lapic { config, state: State::new(&config) }
    }

    /// Virtual wire mode, as firmware leaves it: enabled, LINT0 passes the 8259 on (the bootstrap
    /// processor's only), LINT1 is NMI (MultiProcessor Specification 1.4, 3.6.2.2 "Virtual Wire Mode").
    pub fn virtual_wire(&mut self) {
        self.state.svr = 0x1ff;
        let lint0 = if self.config.bsp { 0x700 } else { MASKED };
        for (entry, value) in self.state.lvt.iter_mut().skip(lvt::LINT0).zip([lint0, 0x400]) {
            *entry = value;
        }
    }

    /// Whether `interrupt` is for this APIC.
    pub fn is_destination(&self, interrupt: &Interrupt) -> bool {
        self.state.is_destination(interrupt, &self.config)
    }

    /// Takes an interrupt message.
    pub fn accept(&mut self, interrupt: &Interrupt, now: Nanos) {
        self.settle(now);
        self.state.accept(interrupt);
    }

    /// Enabled by IA32_APIC_BASE and by software.
    pub fn enabled(&self) -> bool {
        self.state.enabled()
    }

    /// Processor priority.
    pub fn ppr(&self) -> u8 {
        self.state.ppr()
    }

    /// Takes what may be delivered. An 8259 goes first: ExtINT passes the priorities by.
    pub fn acknowledge(&mut self, now: Nanos) -> Acknowledged {
        self.settle(now);
        if self.state.external() {
            return Acknowledged::External;
        }
        let Some(vector) = self.state.deliverable() else { return Acknowledged::Nothing };
        self.state.irr.set(vector, false);
        self.state.isr.set(vector, true);
        Acknowledged::Vector(vector)
    }

    /// Takes an event.
    pub fn take_event(&mut self, now: Nanos) -> Option<Event> {
        self.settle(now);
        self.state.take_event(&self.config)
    }

    /// TPR, of which CR8 is bits 7:4.
    pub fn tpr(&self) -> u8 {
        self.state.tpr
    }

    /// Sets TPR.
    pub fn set_tpr(&mut self, value: u8) {
        self.state.tpr = value;
    }

    /// IA32_APIC_BASE.
    pub fn apic_base(&self) -> u64 {
        self.state.base
    }

    /// Sets IA32_APIC_BASE ("x2APIC State Transitions").
    ///
    /// # Errors
    /// #GP for reserved bits and forbidden transitions.
    pub fn set_apic_base(&mut self, value: u64, now: Nanos) -> Result<(), GeneralProtection> {
        self.settle(now);
        let legal = lapic_saved::base_is_legal(value, &self.config);
        let mode = |base: u64| (base & apic_base::ENABLE != 0, base & apic_base::X2APIC != 0);
        let (before, after) = (mode(self.state.base), mode(value));
        // x2APIC mode is entered from xAPIC mode, and left only by disabling.
        if !legal || matches!((before, after), ((false, _), (true, true)) | ((true, true), (true, false))) {
            return Err(GeneralProtection);
        }
        self.state.base = value;
        if before.0 && !after.0 {
            self.state.reset_registers(&self.config);
        } else if before != after && after.1 {
            // The destination moves from bits 31:24 to a register of its own.
            self.state.icr_high = IcrHigh::destination(u64::from(self.state.icr_high)) as u32;
        }
        Ok(())
    }

    /// IA32_TSC_DEADLINE.
    pub fn tsc_deadline(&mut self, now: Nanos) -> u64 {
        self.settle(now);
        self.state.tsc_deadline
    }

    /// Sets IA32_TSC_DEADLINE; ignored outside that mode.
    pub fn set_tsc_deadline(&mut self, value: u64, now: Nanos) {
        self.settle(now);
        if self.state.tsc_mode() {
            self.state.tsc_deadline = value;
        }
        self.settle(now);
    }

    /// Sets what the processor's TSC is ahead of the machine's.
    pub fn set_tsc_offset(&mut self, offset: u64, now: Nanos) {
        self.settle(now);
        self.state.tsc_offset = offset;
        self.settle(now);
    }

    /// The state at `now`.
    pub fn export(&mut self, now: Nanos) -> LapicState {
        self.settle(now);
        let mut exported = lapic_saved::export(&self.state, &self.config);
        if let Some(count) = exported.registers.get_mut(Reg::CurrentCount as usize / 16) {
            *count = self.state.current_count(&self.config, now);
        }
        exported
    }

    /// Takes a state at `now`; without an expiry, the current count says how far the timer is.
    ///
    /// # Errors
    /// #GP for a state that no APIC of this configuration could be in.
    pub fn import(&mut self, from: &LapicState, now: Nanos) -> Result<(), GeneralProtection> {
        self.state = lapic_saved::import(from, &self.config).ok_or(GeneralProtection)?;
        let count = from.registers.get(Reg::CurrentCount as usize / 16).copied().unwrap_or(0);
        if from.timer_expiry.is_none() && count != 0 && !self.state.tsc_mode() {
            self.state.start_count(count.min(self.state.initial), &self.config, now);
        }
        self.settle(now);
        Ok(())
    }

    fn settle(&mut self, now: Nanos) {
        self.state.settle_timer(&self.config, now);
    }
}

// ---- registers ----

impl Lapic {
    /// Reads a register by its offset; `None` where there is none.
    fn load(&mut self, offset: u64, now: Nanos) -> Option<u32> {
        let (register, index, 0) = Reg::nearest(offset)? else { return None };
        let s = &self.state;
        let word = |vectors: &crate::lapic_state::Vectors| vectors.0.get(index as usize).copied();
        let entry = |n: usize| s.lvt.get(n).copied();
        match register {
            Reg::Id if s.x2apic() => Some(self.config.id),
            Reg::Id => Some(self.config.id << 24),
            Reg::Version => Some(VERSION),
            Reg::Tpr => Some(u32::from(s.tpr)),
            // "Not supported in Pentium 4 and later processors."
            Reg::Apr => (!s.x2apic()).then_some(0),
            Reg::Ppr => Some(u32::from(s.ppr())),
            Reg::Eoi | Reg::SelfIpi => None,
            Reg::Ldr if s.x2apic() => Some(State::logical_x2apic_id(&self.config)),
            Reg::Ldr => Some(u32::from(s.ldr) << 24),
            Reg::Dfr => (!s.x2apic()).then_some(u32::from(s.model) << 28 | 0x0fff_ffff),
            Reg::Svr => Some(s.svr),
            Reg::Isr => word(&s.isr),
            Reg::Tmr => word(&s.tmr),
            Reg::Irr => word(&s.irr),
            Reg::Esr => Some(s.esr),
            Reg::Icr => Some(s.icr),
            Reg::IcrHigh => (!s.x2apic()).then_some(s.icr_high),
            Reg::LvtTimer => entry(lvt::TIMER),
            Reg::LvtThermal => entry(1),
            Reg::LvtCounters => entry(2),
            Reg::LvtLint => entry(lvt::LINT0 + index as usize),
            Reg::LvtError => entry(lvt::ERROR),
            Reg::InitialCount => Some(s.initial),
            Reg::CurrentCount => Some(s.current_count(&self.config, now)),
            Reg::Divide => Some(s.divide),
        }
    }

    /// Writes a register of the page; what has to be sent on is returned. `Err` if there is none.
    fn store(&mut self, offset: u64, value: u32, now: Nanos) -> Result<Option<Outgoing>, NoRegister> {
        let word = u64::from(value);
        let (register, index, 0) = Reg::nearest(offset).ok_or(NoRegister)? else { return Err(NoRegister) };
        let s = &mut self.state;
        match register {
            Reg::Tpr => s.tpr = value as u8,
            Reg::Eoi => return Ok(s.end_of_interrupt().map(Outgoing::Eoi)),
            Reg::Ldr => s.ldr = Ldr::logical(word) as u8,
            Reg::Dfr => s.model = crate::lapic_state::Dfr::model(word) as u8,
            Reg::Svr => self.write_svr(value),
            // A write makes the errors since the last one readable.
            Reg::Esr => s.esr = std::mem::take(&mut s.errors),
            Reg::Icr => return Ok(self.write_icr(value)),
            Reg::IcrHigh => s.icr_high = value & IcrHigh::FIELDS as u32,
            Reg::LvtTimer => self.write_lvt(lvt::TIMER, value),
            Reg::LvtThermal => self.write_lvt(1, value),
            Reg::LvtCounters => self.write_lvt(2, value),
            Reg::LvtLint => self.write_lvt(lvt::LINT0 + index as usize, value),
            Reg::LvtError => self.write_lvt(lvt::ERROR, value),
            Reg::InitialCount => s.write_initial(value, &self.config, now),
            Reg::Divide => s.write_divide(value, &self.config, now),
            // What can only be read ignores writes; the ID "is read-only on newer processors".
            Reg::Id | Reg::Version | Reg::Apr | Reg::Ppr | Reg::Isr | Reg::Tmr | Reg::Irr => {}
            Reg::CurrentCount => {}
            Reg::SelfIpi => return Err(NoRegister),
        }
        Ok(None)
    }

    /// Writes SVR. Disabling by software masks every local interrupt ("Local APIC State After It Has
    /// Been Software Disabled").
    fn write_svr(&mut self, value: u32) {
        self.state.svr = value & Svr::FIELDS as u32;
        if Svr::enable(u64::from(value)) == 0 {
            self.state.lvt.iter_mut().for_each(|entry| *entry |= MASKED);
        }
    }

    fn write_lvt(&mut self, n: usize, value: u32) {
        let writable = LVT_WRITABLE.get(n).copied().unwrap_or(0) as u32;
        let forced = if Svr::enable(u64::from(self.state.svr)) == 0 { MASKED } else { 0 };
        let kept = self.state.entry(n) as u32 & !writable;
        let value = value & writable | forced | kept;
        if n == lvt::TIMER {
            self.state.write_timer_entry(value);
        } else if let Some(entry) = self.state.lvt.get_mut(n) {
            *entry = value;
        }
        self.state.level_lint0();
    }

    /// Writes ICR's low half, which sends ("Interrupt Command Register (ICR)").
    fn write_icr(&mut self, value: u32) -> Option<Outgoing> {
        let word = u64::from(value);
        self.state.icr = value & Icr::FIELDS as u32;
        let destination = if self.state.x2apic() {
            self.state.icr_high
        } else {
            widen(IcrHigh::destination(u64::from(self.state.icr_high)))
        };
        let vector = Icr::vector(word) as u8;
        let delivery = match Delivery::from_bits(Icr::delivery(word))? {
            // Neither can be sent; there is no system management mode.
            Delivery::ExtInt | Delivery::Smi => return None,
            // INIT level de-assert means nothing to processors since the Pentium 4.
            Delivery::Init if Icr::level(word) != 0 && Icr::assert(word) == 0 => return None,
            other => other,
        };
        let vectored = matches!(delivery, Delivery::Fixed | Delivery::LowestPriority);
        if vectored && vector < 16 {
            self.state.error(Esr::mask::send_illegal);
            return None;
        }
        // IPIs are edge-triggered whatever the bit says.
        let to = |destination, logical| Interrupt { destination, logical, delivery, vector, level: false };
        match Icr::shorthand(word) {
            0 => {
                let interrupt = to(destination, Icr::logical(word) != 0);
                Some(Outgoing::Ipi { interrupt, all_but_self: false })
            }
            1 if delivery == Delivery::Fixed => {
                self.state.request(vector, false);
                None
            }
            1 => None,
            other => Some(Outgoing::Ipi { interrupt: to(BROADCAST, false), all_but_self: other == 3 }),
        }
    }

    /// Reads the register page.
    pub fn read_page(&mut self, offset: u64, size: u8, now: Nanos) -> u64 {
        self.settle(now);
        let mask = u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)));
        if !self.state.present() || self.state.x2apic() {
            return mask;
        }
        // Registers are words at multiples of 16; what is between is reserved and reads as zero.
        let (at, byte) = (offset & !15, offset & 15);
        if byte >= 4 {
            return 0;
        }
        let Some(word) = self.load(at, now) else {
            if !matches!(Reg::at(at), Some(Reg::Eoi)) {
                self.state.error(Esr::mask::illegal_register);
            }
            return 0;
        };
        u64::from(word) >> (8 * byte) & mask
    }

    /// Writes the register page. Only aligned words are writes of registers ("must be accessed with
    /// 32-bit loads and stores"); others change nothing.
    pub fn write_page(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Option<Outgoing> {
        self.settle(now);
        if !self.state.present() || self.state.x2apic() || size != 4 || !offset.is_multiple_of(16) {
            return None;
        }
        let outgoing = self.store(offset, value as u32, now).unwrap_or_else(|NoRegister| {
            self.state.error(Esr::mask::illegal_register);
            None
        });
        self.settle(now);
        outgoing
    }

    /// Reads an x2APIC MSR ("x2APIC Register Address Space").
    ///
    /// # Errors
    /// #GP.
    pub fn read_msr(&mut self, msr: u32, now: Nanos) -> Result<u64, GeneralProtection> {
        self.settle(now);
        let offset = self.msr_offset(msr)?;
        let low = u64::from(self.load(offset, now).ok_or(GeneralProtection)?);
        let high = if offset == Reg::Icr as u64 { u64::from(self.state.icr_high) } else { 0 };
        Ok(high << 32 | low)
    }

    /// Writes an x2APIC MSR.
    ///
    /// # Errors
    /// #GP.
    pub fn write_msr(
        &mut self,
        msr: u32,
        value: u64,
        now: Nanos,
    ) -> Result<Option<Outgoing>, GeneralProtection> {
        self.settle(now);
        let offset = self.msr_offset(msr)?;
        let (register, _, 0) = Reg::nearest(offset).ok_or(GeneralProtection)? else {
            return Err(GeneralProtection);
        };
        let writable = match register {
            Reg::Tpr => 0xff,
            Reg::Eoi | Reg::Esr => 0,
            Reg::Svr => Svr::FIELDS,
            Reg::Icr => Icr::FIELDS | u64::from(u32::MAX) << 32,
            Reg::LvtTimer | Reg::LvtThermal | Reg::LvtCounters | Reg::LvtLint | Reg::LvtError => {
                let n = (offset - Reg::LvtTimer as u64) / 16;
                // Read-only bits may be written back.
                LVT_WRITABLE.get(n as usize).copied().unwrap_or(0) | 1 << 12 | 1 << 14
            }
            Reg::InitialCount => u64::from(u32::MAX),
            Reg::Divide => crate::lapic_state::Divide::FIELDS,
            Reg::SelfIpi => SelfIpi::FIELDS,
            _ => return Err(GeneralProtection),
        };
        if value & !writable != 0 {
            return Err(GeneralProtection);
        }
        if register == Reg::SelfIpi {
            if value < 16 {
                self.state.error(Esr::mask::send_illegal);
            } else {
                self.state.request(value as u8, false);
            }
            return Ok(None);
        }
        if register == Reg::Icr {
            self.state.icr_high = (value >> 32) as u32;
        }
        let outgoing = self.store(offset, value as u32, now).map_err(|NoRegister| GeneralProtection);
        self.settle(now);
        outgoing
    }

    fn msr_offset(&self, msr: u32) -> Result<u64, GeneralProtection> {
        let number = msr.checked_sub(0x800).filter(|&n| n < 0x100).ok_or(GeneralProtection)?;
        if self.state.present() && self.state.x2apic() {
            Ok(u64::from(number) * 16)
        } else {
            Err(GeneralProtection)
        }
    }
}

impl Device for Lapic {
    const NAME: &'static str = "lapic";
    const VERSION: u32 = 1;
    type Saved = lapic_saved::LapicV1;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        if offset < 0x1000 { Ok(self.read_page(offset, size, now)) } else { Err(NoRegister) }
    }

    /// A write by a tool, not by the processor: what it would send goes nowhere.
    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        if offset >= 0x1000 {
            return Err(NoRegister);
        }
        self.write_page(offset, size, value, now);
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        let s = &self.state;
        let intr = s.external() || s.deliverable().is_some();
        u64::from(intr) << line::INTR
            | u64::from(s.nmi) << line::NMI
            | u64::from(s.init) << line::INIT
            | u64::from(s.sipi.is_some()) << line::SIPI
    }

    fn outputs(&self) -> usize {
        4
    }

    fn deadline(&self, _now: Nanos) -> Option<Nanos> {
        self.state.timer_deadline(&self.config)
    }

    fn tick(&mut self, now: Nanos) {
        self.settle(now);
    }

    fn input(&mut self, input: u32, high: bool) {
        if input < 2 {
            self.state.set_lint(input as usize, high);
        }
    }

    fn reset(&mut self, _now: Nanos) {
        // The levels are driven from outside.
        self.state = State { lint: self.state.lint, ..State::new(&self.config) };
    }

    fn save(&self) -> Self::Saved {
        lapic_saved::LapicV1::from_state(&lapic_saved::export(&self.state, &self.config))
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: Self::NAME };
        let state = saved.into_state().and_then(|s| lapic_saved::import(&s, &self.config));
        self.state = state.ok_or(damaged)?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "lapic_test.rs"]
mod tests;
