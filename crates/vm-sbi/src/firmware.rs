//! The firmware: what it keeps for each hart, and the way in and out of a call.

use crate::boot::{boot, enter, set_x, x};
use crate::error::{Answer, SbiError};
use crate::events::Events;
use crate::hsm::{Entry, HartState, Hsm, Step};
use crate::pmu::Counters;
use crate::system::{ResetKind, ResetReason};
use crate::table::{Function, extension};
use crate::{HartSet, MAX_HARTS, Platform, SPEC_VERSION};
use isa_riscv::{AccessKind, Extension, Hart};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What `sbi_get_impl_id` answers: "HSTL". The specification has assigned no number to Hostel; its
/// numbers count up from 0, so that this one will not be met for a long time.
pub const IMPLEMENTATION_ID: u64 = 0x4853_544c;

/// What `sbi_get_impl_version` answers: major in bits 31:16, minor in bits 15:8, patch in bits 7:0.
const IMPLEMENTATION_VERSION: u64 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
    | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
    | number(env!("CARGO_PKG_VERSION_PATCH"));

/// What the machine does after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Goes on executing the hart.
    Continue,
    /// The console takes no byte now: nothing has changed and the hart still stands on its `ecall`.
    /// The machine may wait a little for the console before it executes the hart again; interrupts
    /// may come in between.
    Retry,
    /// The hart has stopped itself: its thread asks [`Sbi::resume`].
    Stop,
    /// The hart waits for an interrupt, as in `wfi`: its thread asks [`Sbi::resume`].
    Suspend {
        /// The whole system sleeps (`sbi_system_suspend`); all other harts are stopped.
        system: bool,
    },
    /// The guest wants the system reset; the hart executes no further instruction before.
    Reset {
        /// What kind.
        kind: ResetKind,
        /// Why.
        reason: ResetReason,
    },
}

/// What a hart's thread does whose hart is not executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// Executes the hart, after dropping everything that the engine has cached for it: translations
    /// and decoded code.
    Run,
    /// Waits for [`Platform::wake`] and asks again.
    Stopped,
    /// Waits for an interrupt (see [`Sbi::resume`]) and asks again.
    Suspended,
}

/// The arguments of a call: `a0` to `a5`.
pub(crate) type Args = [u64; 6];

/// How a function ends.
pub(crate) enum Outcome {
    /// With an error code in `a0` and a value in `a1`.
    Return(Answer),
    /// With a value in `a0` only (legacy).
    Legacy(u64),
    /// With an exception at the `ecall` (legacy); the registers are set already.
    Trapped,
    /// Without return.
    Gone(After),
    /// Successfully, in a hart that then waits for an interrupt.
    Suspended,
    /// Not yet.
    Retry,
}

/// The firmware of one machine. One is shared by the threads of all its harts.
#[derive(Debug)]
pub struct Sbi {
    pub(crate) harts: Vec<PerHart>,
    /// Those that supervisor software has.
    pub(crate) served: HartSet,
}

/// What the firmware keeps for a hart.
#[derive(Debug)]
pub(crate) struct PerHart {
    pub hsm: Hsm,
    pub events: Events,
    /// Only the hart's own calls (and snapshots) lock it.
    counters: Mutex<Counters>,
}

impl PerHart {
    pub fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sbi {
    /// The firmware of a machine with harts 0 to `harts - 1`, all stopped. More than [`MAX_HARTS`] do
    /// not exist for it.
    pub fn new(harts: u32) -> Sbi {
        Sbi::serving(harts, HartSet::first(harts))
    }

    /// The same, where only the harts in `served` have S-mode. For supervisor software the others do not
    /// exist; they stay stopped.
    pub fn serving(harts: u32, served: HartSet) -> Sbi {
        let hart = |_| PerHart {
            hsm: Hsm::new(HartState::Stopped, None),
            events: Events::default(),
            counters: Mutex::default(),
        };
        Sbi { harts: (0..harts.min(MAX_HARTS)).map(hart).collect(), served }
    }

    /// Power-on or reset: `hart` will enter S-mode at `start_addr` with `opaque` (the devicetree's
    /// address) in `a1`, when its thread asks [`Sbi::resume`]; all others are stopped, and no counter is
    /// configured. No hart may be executing.
    pub fn power_on(&self, hart: u32, start_addr: u64, opaque: u64) {
        for (id, per_hart) in (0u32..).zip(&self.harts) {
            let entry = (id == hart).then_some(Entry { address: start_addr, opaque });
            let state = if id == hart { HartState::StartPending } else { HartState::Stopped };
            per_hart.hsm.force(state, entry);
            *per_hart.counters() = Counters::default();
        }
    }

    /// How many harts there are.
    pub fn count(&self) -> u32 {
        self.harts.len() as u32
    }

    /// The state of `hart`; `None` if there is no such hart.
    pub fn state(&self, hart: u32) -> Option<HartState> {
        self.harts.get(hart as usize).map(|per_hart| per_hart.hsm.state())
    }

    /// What the thread of `hart`, which is not executing, does next. It asks when the machine starts,
    /// after [`After::Stop`] and [`After::Suspend`], and whenever it was woken.
    ///
    /// `interrupt` says whether the hart has an interrupt that would end a `wfi`
    /// ([`isa_riscv::wakes`]), among them one that [`Platform::send_ipi`] has sent. It counts only while
    /// the hart is suspended.
    pub fn resume(&self, hart: &mut Hart, interrupt: bool) -> Parked {
        let Some(per_hart) = self.harts.get(hart.hartid as usize) else {
            return Parked::Stopped;
        };
        match per_hart.hsm.step(interrupt) {
            Step::Stopped => return Parked::Stopped,
            Step::Suspended => return Parked::Suspended,
            Step::Run => {}
            Step::Boot(Entry { address, opaque }) => {
                boot(hart, address, opaque);
                *per_hart.counters() = Counters::default();
            }
            Step::Enter(Entry { address, opaque }) => enter(hart, address, opaque),
        }
        per_hart.hsm.started();
        Parked::Run
    }

    /// Answers the `ecall` from S-mode that `hart.pc` stands on: reads `a7`, `a6` and the arguments,
    /// writes `a0` and `a1`, and moves `pc` behind it, except as [`After`] says.
    ///
    /// A legacy call with a bad address ends as the specification says: the hart takes the exception,
    /// with `sepc` at the `ecall`.
    pub fn call<P: Platform>(&self, hart: &mut Hart, platform: &mut P) -> After {
        let args: Args = std::array::from_fn(|i| x(hart, 10 + i));
        let (fid, eid) = (x(hart, 16), x(hart, 17));
        let function = extension(eid).and_then(|row| row.function(fid)).and_then(|row| row.function);
        let outcome = match function {
            Some(function) => self.perform(function, hart, args, platform),
            None => Outcome::Return(Err(SbiError::NotSupported)),
        };
        let after = match outcome {
            Outcome::Return(answer) => {
                set_x(hart, 10, answer.map_or_else(SbiError::code, |_| 0));
                // After an error a1 is unspecified; 0 tells the guest nothing.
                set_x(hart, 11, answer.unwrap_or(0));
                After::Continue
            }
            Outcome::Legacy(value) => {
                set_x(hart, 10, value);
                After::Continue
            }
            Outcome::Suspended => {
                set_x(hart, 10, 0);
                set_x(hart, 11, 0);
                After::Suspend { system: false }
            }
            Outcome::Trapped => return After::Continue,
            Outcome::Retry => return After::Retry,
            Outcome::Gone(after) => after,
        };
        hart.pc = hart.pc.wrapping_add(4);
        after
    }

    fn perform<P: Platform>(
        &self,
        function: Function,
        hart: &mut Hart,
        args: Args,
        platform: &mut P,
    ) -> Outcome {
        use Function as F;
        let [a0, a1, a2, a3, a4, _] = args;
        Outcome::Return(match function {
            F::SpecVersion => Ok(SPEC_VERSION.bits()),
            F::ImplId => Ok(IMPLEMENTATION_ID),
            F::ImplVersion => Ok(IMPLEMENTATION_VERSION),
            F::ProbeExtension => Ok(extension(a0).is_some_and(|row| row.implemented()).into()),
            F::Mvendorid => Ok(hart.features.mvendorid.into()),
            F::Marchid => Ok(hart.features.marchid),
            F::Mimpid => Ok(hart.features.mimpid),
            F::SetTimer => Ok(self.set_timer(hart, a0)),
            F::SendIpi => self.send_ipi(hart, platform, a0, a1),
            F::FenceI => self.fence_i(hart, platform, a0, a1),
            F::SfenceVma => self.sfence_vma(hart, platform, (a0, a1), (a2, a3), None),
            F::SfenceVmaAsid => self.sfence_vma(hart, platform, (a0, a1), (a2, a3), Some(a4)),
            F::HartStart => self.hart_start(hart, platform, a0, a1, a2),
            F::HartStatus => self.hart_status(a0),
            F::HartStop => return self.hart_stop(hart, platform),
            F::HartSuspend => return self.hart_suspend(hart, platform, a0, a1, a2),
            F::SystemSuspend => return self.system_suspend(hart, platform, a0, a1, a2),
            F::SystemReset => return crate::system::reset(a0, a1),
            F::ConsoleWrite => crate::console::write(platform, a0, a1, a2),
            F::ConsoleRead => crate::console::read(platform, a0, a1, a2),
            F::ConsoleWriteByte => return crate::console::write_byte(platform, a0),
            F::PmuNumCounters
            | F::PmuCounterInfo
            | F::PmuConfigMatching
            | F::PmuStart
            | F::PmuStop
            | F::PmuFwRead
            | F::PmuFwReadHi
            | F::PmuEventInfo => self.pmu(function, hart, platform, args),
            F::LegacySetTimer
            | F::LegacyPutchar
            | F::LegacyGetchar
            | F::LegacyClearIpi
            | F::LegacySendIpi
            | F::LegacyFenceI
            | F::LegacySfenceVma
            | F::LegacySfenceVmaAsid
            | F::LegacyShutdown => return self.legacy(function, hart, platform, args),
        })
    }

    /// The hart that calls. There always is one: the machine makes as many harts as it said.
    pub(crate) fn own(&self, hart: &Hart) -> Result<&PerHart, SbiError> {
        self.harts.get(hart.hartid as usize).ok_or(SbiError::Failed)
    }

    /// Those of `harts` in a state that `which` names.
    pub(crate) fn those(&self, harts: &HartSet, which: fn(HartState) -> bool) -> HartSet {
        harts.iter().filter(|&hart| self.state(hart).is_some_and(which)).collect()
    }
}

/// Whether a hart like `hart` can fetch instructions from `address` with translation off ("Hart start",
/// table "HSM Hart Start Errors").
pub(crate) fn can_enter<P: Platform>(hart: &Hart, platform: &P, address: u64) -> Result<(), SbiError> {
    let align = if hart.features.has(Extension::C) { 2 } else { 4 };
    let good = address.is_multiple_of(align) && platform.has_memory(address, align, AccessKind::Fetch);
    good.then_some(()).ok_or(SbiError::InvalidAddress)
}

const fn number(digits: &str) -> u64 {
    let mut rest = digits.as_bytes();
    let mut value = 0;
    while let [digit, tail @ ..] = rest {
        value = value * 10 + (*digit - b'0') as u64;
        rest = tail;
    }
    value
}
