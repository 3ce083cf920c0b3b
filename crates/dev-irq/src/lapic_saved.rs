//! A local APIC's state in three forms: what runs, the value that engines share, and its encoding.

use crate::lapic_state::{
    Config, Divide, Esr, Icr, IcrHigh, LVT_WRITABLE, LvtLint, MASKED, Reg, State, Svr, VERSION, Vectors, lvt,
};
use fabric_wire::LapicState;
use fabric_wire::local::apic_base;
use serde::{Deserialize, Serialize};

/// Version 1 of the encoded form; fields are numbered by their order. See [`LapicState`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LapicV1 {
    /// The 64 registers at multiples of 16.
    pub registers: Vec<u32>,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// IA32_TSC_DEADLINE.
    pub tsc_deadline: u64,
    /// What the processor's TSC is ahead of the machine's.
    pub tsc_offset: u64,
    /// When the count reaches 0.
    pub timer_expiry: Option<u64>,
    /// Errors since the last write to ESR.
    pub errors: u32,
    /// Levels at LINT0 and LINT1.
    pub lint: [bool; 2],
    /// NMI pending.
    pub nmi: bool,
    /// INIT pending.
    pub init: bool,
    /// Start-up pending.
    pub sipi: Option<u8>,
}

impl LapicV1 {
    /// Encodes a state, of whichever implementation.
    pub fn from_state(state: &LapicState) -> Self {
        let LapicState { registers, apic_base, tsc_deadline, tsc_offset, .. } = *state;
        let LapicState { timer_expiry, errors, lint, nmi, init, sipi, .. } = *state;
        LapicV1 {
            registers: registers.to_vec(),
            apic_base,
            tsc_deadline,
            tsc_offset,
            timer_expiry,
            errors,
            lint,
            nmi,
            init,
            sipi,
        }
    }

    /// Decodes; `None` without exactly 64 registers.
    pub fn into_state(self) -> Option<LapicState> {
        let LapicV1 {
            registers,
            apic_base,
            tsc_deadline,
            tsc_offset,
            timer_expiry,
            errors,
            lint,
            nmi,
            init,
            sipi,
        } = self;
        let registers = registers.try_into().ok()?;
        Some(LapicState {
            registers,
            apic_base,
            tsc_deadline,
            tsc_offset,
            timer_expiry,
            errors,
            lint,
            nmi,
            init,
            sipi,
        })
    }
}

/// Whether IA32_APIC_BASE may hold `value`: no reserved bit, and x2APIC mode only when enabled.
pub fn base_is_legal(value: u64, config: &Config) -> bool {
    let address = u64::MAX.checked_shl(config.physical_bits).unwrap_or(0);
    let flags = apic_base::BSP | apic_base::X2APIC | apic_base::ENABLE;
    value & (address | 0xfff & !flags) == 0
        && (value & apic_base::ENABLE != 0 || value & apic_base::X2APIC == 0)
}

/// The value that engines share; the current count, which depends on the time, is 0 in it.
pub fn export(state: &State, config: &Config) -> LapicState {
    let State { base, tpr, ldr, model, svr, isr, tmr, irr, esr, errors, .. } = *state;
    let State { icr, icr_high, lvt, initial, divide, expiry, tsc_deadline, tsc_offset, .. } = *state;
    let State { lint, nmi, init, sipi, .. } = *state;
    let x2apic = state.x2apic();
    let mut registers = [0; 64];
    let mut put = |at: Reg, index: usize, value: u32| {
        if let Some(register) = registers.get_mut(at as usize / 16 + index) {
            *register = value;
        }
    };
    put(Reg::Id, 0, if x2apic { config.id } else { config.id << 24 });
    put(Reg::Version, 0, VERSION);
    put(Reg::Tpr, 0, u32::from(tpr));
    put(Reg::Ppr, 0, u32::from(state.ppr()));
    put(Reg::Ldr, 0, if x2apic { State::logical_x2apic_id(config) } else { u32::from(ldr) << 24 });
    put(Reg::Dfr, 0, u32::from(model) << 28 | 0x0fff_ffff);
    put(Reg::Svr, 0, svr);
    for (at, vectors) in [(Reg::Isr, isr), (Reg::Tmr, tmr), (Reg::Irr, irr)] {
        vectors.0.iter().enumerate().for_each(|(n, &word)| put(at, n, word));
    }
    put(Reg::Esr, 0, esr);
    put(Reg::Icr, 0, icr);
    put(Reg::IcrHigh, 0, icr_high);
    lvt.iter().enumerate().for_each(|(n, &entry)| put(Reg::LvtTimer, n, entry));
    put(Reg::InitialCount, 0, initial);
    put(Reg::Divide, 0, divide);
    LapicState {
        registers,
        apic_base: base,
        tsc_deadline,
        tsc_offset,
        timer_expiry: expiry,
        errors,
        lint,
        nmi,
        init,
        sipi,
    }
}

/// `None` if no APIC of this configuration could be in such a state. What follows from the rest (PPR,
/// version, current count) is not looked at.
pub fn import(from: &LapicState, config: &Config) -> Option<State> {
    let LapicState { registers, apic_base, tsc_deadline, tsc_offset, .. } = *from;
    let LapicState { timer_expiry, errors, lint, nmi, init, sipi, .. } = *from;
    let get = |at: Reg, index: usize| registers.get(at as usize / 16 + index).copied().unwrap_or(0);
    let vectors = |at| Vectors(std::array::from_fn(|n| get(at, n)));
    let x2apic = apic_base & apic_base::X2APIC != 0;
    let ldr = get(Reg::Ldr, 0);
    let mut state = State {
        base: apic_base,
        tpr: u8::try_from(get(Reg::Tpr, 0)).ok()?,
        // In x2APIC mode the register is derived, and what it was before is gone.
        ldr: if x2apic { 0 } else { (ldr >> 24) as u8 },
        model: (get(Reg::Dfr, 0) >> 28) as u8,
        svr: get(Reg::Svr, 0),
        isr: vectors(Reg::Isr),
        tmr: vectors(Reg::Tmr),
        irr: vectors(Reg::Irr),
        esr: get(Reg::Esr, 0),
        errors,
        // Delivery status and reserved bits may be there.
        icr: get(Reg::Icr, 0) & Icr::FIELDS as u32,
        icr_high: get(Reg::IcrHigh, 0),
        lvt: std::array::from_fn(|n| get(Reg::LvtTimer, n) & !(1 << 12)),
        initial: get(Reg::InitialCount, 0),
        divide: get(Reg::Divide, 0),
        expiry: timer_expiry,
        tsc_deadline,
        tsc_offset,
        lint,
        nmi,
        init,
        sipi,
    };
    // Other implementations keep an initial count that means nothing in this mode.
    if state.tsc_mode() {
        state.initial = 0;
    }
    let id = if x2apic { config.id } else { config.id << 24 };
    let good = get(Reg::Id, 0) == id && base_is_legal(apic_base, config) && registers_are_legal(&state);
    good.then_some(state)
}

fn registers_are_legal(state: &State) -> bool {
    let only = |value: u32, mask: u64| u64::from(value) & !mask == 0;
    let no_low = |v: &Vectors| v.0.first().is_some_and(|w| w & 0xffff == 0);
    let enabled = Svr::enable(u64::from(state.svr)) != 0;
    let entries = state.lvt.iter().zip(LVT_WRITABLE).enumerate().all(|(n, (&entry, writable))| {
        let extra = if n == lvt::LINT0 { LvtLint::mask::remote_irr } else { 0 };
        only(entry, writable | extra) && (enabled || entry & MASKED != 0)
    });
    let timer = if state.tsc_mode() {
        state.expiry.is_none() && state.initial == 0
    } else {
        state.tsc_deadline == 0 && (state.initial != 0 || state.expiry.is_none())
    };
    entries
        && timer
        && only(state.svr, Svr::FIELDS)
        && only(state.esr | state.errors, Esr::FIELDS)
        && only(state.divide, Divide::FIELDS)
        && (state.x2apic() || only(state.icr_high, IcrHigh::FIELDS))
        && [&state.isr, &state.tmr, &state.irr].into_iter().all(no_low)
}
