//! RISC-V harts: engines and threads for those that execute.

use crate::features::features;
use crate::firmware::BuiltIn;
use crate::hart::{self, FinalHart};
use crate::machine::{BuildError, Machine};
use crate::spec::{Bios, ClockKind, Engine, JitOptions};
use engine_check::Check;
use engine_core::{Firmware, Hosted, TimeSource};
use engine_interp::{Config, Interp};
use engine_jit::{Jit, PerfMap};
use isa_riscv::Hart;
use std::sync::Arc;
use std::thread::JoinHandle;
use vm_board::plan::Plan;
use vm_sbi::Sbi;

impl Machine {
    /// The harts that execute. A virtual clock follows one hart, so harts for firmware are held in reset then.
    fn running_harts(&self) -> Vec<u32> {
        let board = &self.spec.board;
        match self.spec.clock {
            ClockKind::Real => (0..board.cpus).collect(),
            ClockKind::Virtual => board.application_harts().collect(),
        }
    }

    fn hart(&self, id: u32) -> Result<Hart, BuildError> {
        let features = features(self.spec.board.core(id)).map_err(BuildError::Extension)?;
        let mut hart = Hart::new(u64::from(id), &features);
        hart.pc = self.spec.board.reset_pc;
        Ok(hart)
    }

    /// Gives every hart that executes its engine and thread.
    pub(crate) fn spawn_harts(
        &self,
        plan: &Plan,
        slice: u64,
    ) -> Result<Vec<JoinHandle<Option<FinalHart>>>, BuildError> {
        let boot_hart = self.spec.board.boot_hart();
        let built_in = matches!(self.spec.bios, Bios::BuiltIn).then(|| {
            let served = self.spec.board.application_harts().collect();
            let sbi = Sbi::serving(self.spec.board.cpus, served);
            sbi.power_on(boot_hart, plan.handover.start, plan.handover.fdt);
            Arc::new(sbi)
        });
        let mut threads = Vec::new();
        for id in self.running_harts() {
            let time = TimeSource::new(Arc::clone(&self.timers), u64::from(self.spec.board.timebase_hz))
                .shifted_by(Arc::clone(&self.devices.mtime_offset));
            let Some(port) = self.control.ports.get(id as usize) else { break };
            let config = Config {
                hart: self.hart(id)?,
                bus: Arc::clone(&self.devices.bus),
                time: time.clone(),
                pending: Arc::clone(&port.pending),
            };
            let firmware = match self.spec.bios {
                Bios::BuiltIn => Firmware::BuiltIn,
                _ => Firmware::Guest,
            };
            let runner = hart::Runner {
                id,
                control: Arc::clone(&self.control),
                timers: Arc::clone(&self.timers),
                time,
                firmware: built_in.as_ref().map(|sbi| BuiltIn {
                    sbi: Arc::clone(sbi),
                    control: Arc::clone(&self.control),
                    bus: Arc::clone(&self.devices.bus),
                    console: self.console(),
                }),
                budget: self.spec.budget.filter(|_| id == boot_hart),
                slice: slice.max(1),
            };
            let mut cpu: Box<dyn Hosted<State = Hart>> = match self.spec.engine {
                Engine::Jit(JitOptions { threshold, tiers }) => {
                    let (threshold, harts) = (u32::from(threshold), u64::from(self.spec.board.cpus));
                    let perf_map = self.spec.perf_map.then(PerfMap::of_process).transpose();
                    let perf_map = perf_map.map_err(BuildError::PerfMap)?;
                    let (usual, cache) = (engine_jit::Options::default(), engine_jit::cache_size(harts));
                    let options = engine_jit::Options { threshold, tiers, harts, cache, perf_map, ..usual };
                    Box::new(Jit::new(config, options).map_err(BuildError::CodeCache)?)
                }
                Engine::Check(JitOptions { threshold, tiers }) => {
                    let threshold = u32::from(threshold);
                    let options = engine_jit::Options { threshold, tiers, ..engine_jit::Options::default() };
                    let check = Check::new(config, Default::default(), |config| Jit::new(config, options));
                    Box::new(check.map_err(BuildError::CodeCache)?)
                }
                _ => Box::new(Interp::new(config)),
            };
            cpu.set_firmware(firmware);
            let body = move || runner.run(cpu);
            let thread = std::thread::Builder::new().name(format!("hart{id}")).spawn(body);
            threads.push(thread.map_err(BuildError::Thread)?);
        }
        Ok(threads)
    }
}
