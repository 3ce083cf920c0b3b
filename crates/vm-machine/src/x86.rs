//! An x86 processor's thread: runs its engine and does what the engine cannot.

use crate::control::{Control, End};
use crate::idle;
use crate::machine::{BuildError, Machine};
use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp_x86::{Config, Interp};
use engine_kvm::KvmCpu;
use fabric_clock::Timers;
use isa_x86::State;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Ticks of the interpreter's time source a second: as fine as guest time is.
const NANOS: u64 = 1_000_000_000;

/// What a processor's thread works with.
pub(crate) struct Runner {
    pub id: u32,
    pub control: Arc<Control>,
    pub timers: Arc<Timers>,
    pub budget: Option<u64>,
    /// Most instructions that the engine is given at a time.
    pub slice: u64,
}

/// A processor of a machine that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalProcessor {
    /// Its architectural state.
    pub state: State,
    /// Instructions it has retired, where the engine counts them.
    pub retired: u64,
}

type Cpu = dyn Vcpu<State = State>;

impl Machine {
    /// Gives the processor, which starts in `state`, its engine and thread.
    pub(crate) fn spawn_processors(
        &self,
        state: State,
        slice: u64,
    ) -> Result<Vec<JoinHandle<Option<FinalProcessor>>>, BuildError> {
        let Some(port) = self.control.ports.first() else { return Ok(Vec::new()) };
        let runner = Runner {
            id: 0,
            control: Arc::clone(&self.control),
            timers: Arc::clone(&self.timers),
            budget: self.spec.budget,
            slice: slice.max(1),
        };
        let local = self.devices.locals.first().cloned();
        let (memory, ports) = (Arc::clone(&self.devices.bus), Arc::clone(&self.devices.ports));
        let pending = Arc::clone(&port.pending);
        let cpu: Box<Cpu> = match (&self.devices.kvm, local) {
            (Some(vm), local) => {
                let (vm, clock) = (Arc::clone(vm), Arc::clone(self.timers.clock()));
                let config = engine_kvm::Config { id: 0, state, vm, memory, ports, local, clock, pending };
                Box::new(KvmCpu::new(config)?)
            }
            (None, Some(local)) => {
                let time = TimeSource::new(Arc::clone(&self.timers), NANOS);
                Box::new(Interp::new(Config { state, memory, ports, local, time, pending }))
            }
            (None, None) => return Err(BuildError::NoLocalApic),
        };
        let thread = std::thread::Builder::new().name("cpu0".into()).spawn(move || runner.run(cpu));
        Ok(vec![thread.map_err(BuildError::Thread)?])
    }
}

impl Runner {
    /// Runs the processor until the machine ends and gives its state. A panic ends the machine, not just the thread;
    /// nothing is known of the state then.
    pub fn run(self, mut cpu: Box<Cpu>) -> Option<FinalProcessor> {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.steps(&mut *cpu)));
        if result.is_err() {
            let why = format!("the thread of processor {} panicked", self.id);
            self.control.finish(End::Broken(why));
            return None;
        }
        cpu.park();
        Some(FinalProcessor { state: cpu.state().clone(), retired: cpu.retired() })
    }

    fn steps(&self, cpu: &mut Cpu) {
        let Some(port) = self.control.ports.get(self.id as usize) else { return };
        let mut left = self.budget.unwrap_or(u64::MAX);
        loop {
            // Nobody asks anything of an x86 processor but to look whether the machine has ended.
            drop(port.enter());
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
                Exit::Shutdown(fault) => self.control.finish(End::Shutdown { cpu: self.id, fault }),
                Exit::Broken(why) => {
                    self.control.finish(End::Broken(format!("the engine of processor {}: {why}", self.id)));
                }
                Exit::Firmware(_) | Exit::Wedged { .. } => {
                    let why = format!("the engine of processor {} has left as only harts do", self.id);
                    self.control.finish(End::Broken(why));
                }
            }
        }
    }
}
