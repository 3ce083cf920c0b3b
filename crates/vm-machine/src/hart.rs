//! A hart's thread: runs its engine and does what the engine cannot.

use crate::control::{Control, End, Port, Request};
use crate::firmware::{BuiltIn, Call, POST_SSIP};
use crate::idle;
use crate::wedge::Wedge;
use engine_core::{Exit, FirmwareCall, Hosted, TimeSource};
use fabric_clock::Timers;
use fabric_wire::PendingWord;
use isa_riscv::{Exception, Hart, wakes};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm_sbi::{After, Parked, ResetKind, ResetReason};

/// What a hart's thread works with.
pub(crate) struct Runner {
    pub id: u32,
    pub control: Arc<Control>,
    pub timers: Arc<Timers>,
    /// The counter `time`.
    pub time: TimeSource,
    /// The firmware, if the VMM is it.
    pub firmware: Option<BuiltIn>,
    pub budget: Option<u64>,
    /// Most instructions that the engine is given at a time.
    pub slice: u64,
}

/// A hart of a machine that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalHart {
    /// Its architectural state.
    pub state: Hart,
    /// Instructions it has retired.
    pub retired: u64,
    /// Why that is not to be relied on, if its engine knows.
    pub broken: Option<String>,
}

/// Pages beyond which a range is flushed whole.
const MANY_PAGES: u64 = 64;
/// How long a hart waits for a full console before it asks again.
const CONSOLE_WAIT: Duration = Duration::from_millis(1);

type Cpu = dyn Hosted<State = Hart>;

impl Runner {
    /// Runs the hart until the machine ends and gives its state. A panic ends the machine, not just
    /// the thread; nothing is known of the state then.
    pub fn run(self, mut cpu: Box<Cpu>) -> Option<FinalHart> {
        let control = Arc::clone(&self.control);
        let id = self.id;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.steps(&mut *cpu)));
        if result.is_err() {
            control.finish(End::Broken(format!("the thread of hart {id} panicked")));
            return None;
        }
        cpu.park();
        let broken = cpu.broken().map(|why| format!("hart {id}: {why}"));
        Some(FinalHart { state: cpu.state().clone(), retired: cpu.retired(), broken })
    }

    fn steps(&self, cpu: &mut Cpu) {
        let Some(port) = self.control.ports.get(self.id as usize) else { return };
        if !self.parked(cpu, port) {
            return;
        }
        let mut wedge = Wedge::default();
        let mut left = self.budget.unwrap_or(u64::MAX);
        loop {
            for request in port.enter() {
                apply(cpu, request);
            }
            if self.control.ended() {
                return;
            }
            let before = cpu.retired();
            let exit = cpu.run(left.min(self.slice));
            port.leave();
            if self.budget.is_some() {
                left = left.saturating_sub(cpu.retired() - before);
            }
            match exit {
                Exit::Kick => {}
                Exit::Budget if left == 0 => self.control.finish(End::Budget),
                Exit::Budget => {}
                Exit::Idle { until, wake } => idle::sleep(&self.timers, &port.pending, until, wake),
                Exit::Firmware(call) => {
                    if !self.firmware(cpu, port, call) {
                        return;
                    }
                }
                Exit::Wedged { first, last } => {
                    port.wedged();
                    if !wedge.hopeless(&self.control.ports, self.id, cpu.retired()) {
                        continue;
                    }
                    self.control.finish(End::Wedged { hart: self.id, first, last });
                }
                Exit::Shutdown(_) => {
                    self.control
                        .finish(End::Broken(format!("hart {} has shut down, which harts cannot", self.id)));
                }
                Exit::Broken(why) => {
                    self.control.finish(End::Failed(format!("hart {}: {why}", self.id)));
                }
            }
        }
    }

    /// Answers a call of the guest's, or a trap that nobody else takes. False once the hart is to run
    /// no more.
    fn firmware(&self, cpu: &mut Cpu, port: &Port, call: FirmwareCall) -> bool {
        let Some(built_in) = &self.firmware else { return false };
        match call {
            FirmwareCall::Trap { cause, value } => {
                let (time, retired) = (self.time.ticks_now(), cpu.retired());
                cpu.answer(&mut |hart| {
                    let illegal = cause == Exception::IllegalInsn as u64;
                    if !(illegal && vm_sbi::emulate_counter(hart, value, time, retired)) {
                        vm_sbi::redirect_trap(hart, cause, value);
                    }
                });
                true
            }
            FirmwareCall::Call => {
                let mut platform = Call { built_in, hart: self.id, retired: cpu.retired() };
                let mut after = After::Continue;
                cpu.answer(&mut |hart| after = built_in.sbi.call(hart, &mut platform));
                match after {
                    After::Continue => true,
                    After::Retry => {
                        let bits = PendingWord::KICK | PendingWord::WORK;
                        port.pending.park(Some(Instant::now() + CONSOLE_WAIT), |word| word & bits != 0);
                        true
                    }
                    After::Stop | After::Suspend { .. } => self.parked(cpu, port),
                    After::Reset { kind, reason } => {
                        self.control.finish(match kind {
                            ResetKind::Shutdown => End::Exit(u64::from(reason != ResetReason::None)),
                            ResetKind::ColdReboot | ResetKind::WarmReboot => End::Reset,
                        });
                        false
                    }
                }
            }
        }
    }

    /// Waits, as the built-in firmware says, until the hart is to run; at once without one. False if
    /// the machine has ended.
    fn parked(&self, cpu: &mut Cpu, port: &Port) -> bool {
        let Some(built_in) = &self.firmware else { return true };
        let asked = PendingWord::KICK | PendingWord::WORK;
        loop {
            // What others ask of a hart that is not running needs no doing: it starts with everything
            // dropped.
            drop(port.enter());
            port.leave();
            if self.control.ended() {
                return false;
            }
            let ticks = self.time.ticks_now();
            let interrupt = wakes(cpu.state(), port.pending.load() & PendingWord::LINES, ticks);
            let mut next = Parked::Stopped;
            cpu.with_state(&mut |hart| next = built_in.sbi.resume(hart, interrupt));
            match next {
                Parked::Run => {
                    cpu.flush_code();
                    return true;
                }
                Parked::Stopped => {
                    port.pending.park(None, |word| word & asked != 0);
                }
                Parked::Suspended => {
                    // An interrupt that another hart posts is one like any other: what `sie` masks does
                    // not end the suspension.
                    if port.pending.lower(POST_SSIP) & POST_SSIP != 0 {
                        cpu.with_state(&mut |hart| hart.csr.mip |= POST_SSIP);
                        continue;
                    }
                    let csr = &cpu.state().csr;
                    let timer = csr.next_timer().filter(|_| csr.mie & 1 << 5 != 0);
                    let until = timer.and_then(|at| self.time.at_tick(ticks, at));
                    let lines = csr.mie & PendingWord::LINES | POST_SSIP;
                    idle::sleep(&self.timers, &port.pending, until, lines | asked);
                }
            }
        }
    }
}

/// Does what somebody asked of this hart.
fn apply(cpu: &mut Cpu, request: Request) {
    match request {
        Request::FenceCode => cpu.flush_code(),
        Request::FenceVma { range: None, asid } => cpu.flush_translations(None, asid),
        Request::FenceVma { range: Some((start, size)), asid } => {
            let pages = size.div_ceil(4096);
            if pages > MANY_PAGES {
                cpu.flush_translations(None, asid);
            } else {
                for page in 0..pages {
                    cpu.flush_translations(Some(start.wrapping_add(page * 4096)), asid);
                }
            }
        }
    }
}
