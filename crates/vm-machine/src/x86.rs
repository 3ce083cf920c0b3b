//! An x86 processor's thread: runs its engine and does what the engine cannot.

use crate::control::{Control, End};
use crate::idle;
use crate::machine::{BuildError, Machine};
use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp_x86::{Config, Interp};
use engine_kvm::{Irqchip, KvmCpu, KvmError};
use fabric_clock::{Nanos, Timers};
use fabric_wire::LapicState;
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

/// A processor's engine.
pub(crate) trait Processor: Vcpu<State = State> {
    /// The local APIC, if the kernel has it.
    fn kernel_lapic(&self) -> Option<Result<LapicState, KvmError>> {
        None
    }
}

impl Processor for Interp {}

impl Processor for KvmCpu {
    fn kernel_lapic(&self) -> Option<Result<LapicState, KvmError>> {
        (self.irqchip() == Irqchip::Kernel).then(|| self.lapic())
    }
}

pub(crate) type Cpu = dyn Processor;

/// What a processor's thread leaves.
pub(crate) struct Left {
    pub processor: FinalProcessor,
    pub cpu: Box<Cpu>,
    /// The kernel's local APIC when it stopped, and when that was.
    pub lapic: Option<(Nanos, Result<LapicState, KvmError>)>,
}

impl Machine {
    /// Makes processor 0, which starts in `state`. In a machine that goes on from a snapshot, the kernel's interrupt
    /// controllers do, too.
    pub(crate) fn processor(&self, state: State, goes_on: bool) -> Result<Box<Cpu>, BuildError> {
        let port = self.control.ports.first().ok_or(BuildError::NoLocalApic)?;
        let local = self.devices.locals.first().cloned();
        let (memory, ports) = (Arc::clone(&self.devices.bus), Arc::clone(&self.devices.ports));
        let pending = Arc::clone(&port.pending);
        let cpu: Box<Cpu> = match (&self.devices.kvm, local) {
            (Some(vm), local) => {
                let clock = Arc::clone(self.timers.clock());
                let (own, vm) = (vm, Arc::clone(vm));
                let config = engine_kvm::Config { id: 0, state, vm, memory, ports, local, clock, pending };
                let mut cpu = KvmCpu::new(config)?;
                if own.irqchip() == Irqchip::Kernel {
                    self.devices.stand_ins.give_lapic(&mut cpu, 0)?;
                    if goes_on {
                        self.devices.stand_ins.give(own)?;
                    }
                }
                Box::new(cpu)
            }
            (None, Some(local)) => {
                let time = TimeSource::new(Arc::clone(&self.timers), NANOS);
                Box::new(Interp::new(Config { state, memory, ports, local, time, pending }))
            }
            (None, None) => return Err(BuildError::NoLocalApic),
        };
        if self.spec.budget.is_some() && !cpu.counts() {
            return Err(BuildError::UncountedBudget);
        }
        Ok(cpu)
    }

    /// Gives the processor its thread.
    pub(crate) fn spawn_processor(
        &self,
        cpu: Box<Cpu>,
        slice: u64,
    ) -> Result<JoinHandle<Option<Left>>, BuildError> {
        let runner = Runner {
            id: 0,
            control: Arc::clone(&self.control),
            timers: Arc::clone(&self.timers),
            budget: self.spec.budget,
            slice: slice.max(1),
        };
        let thread = std::thread::Builder::new().name("cpu0".into()).spawn(move || runner.run(cpu));
        thread.map_err(BuildError::Thread)
    }
}

impl Runner {
    /// Runs the processor until the machine ends and gives its state. A panic ends the machine, not just the thread;
    /// nothing is known of the state then.
    pub fn run(self, mut cpu: Box<Cpu>) -> Option<Left> {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.steps(&mut *cpu)));
        if result.is_err() {
            let why = format!("the thread of processor {} panicked", self.id);
            self.control.finish(End::Broken(why));
            return None;
        }
        cpu.park();
        let lapic = cpu.kernel_lapic().map(|lapic| (self.timers.clock().now(), lapic));
        Some(Left {
            processor: FinalProcessor { state: cpu.state().clone(), retired: cpu.retired() },
            cpu,
            lapic,
        })
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
                    self.control.finish(End::Failed(format!("processor {}: {why}", self.id)));
                }
                Exit::Firmware(_) | Exit::Wedged { .. } => {
                    let why = format!("the engine of processor {} has left as only harts do", self.id);
                    self.control.finish(End::Broken(why));
                }
            }
        }
    }
}
