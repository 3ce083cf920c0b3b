//! A machine: built, run to its end, built anew for a reset.

use crate::console::ConsolePort;
use crate::control::{Control, End};
use crate::devices::Devices;
use crate::features::features;
use crate::firmware::BuiltIn;
use crate::hart::{self, FinalHart};
use crate::load::{LoadError, load, plan};
use crate::spec::{Bios, ClockKind, Spec};
use engine_core::{Firmware, Hosted, TimeSource};
use engine_interp::{Config, Interp};
use fabric_bus::{Bus, MapError};
use fabric_clock::{Clock, Timers};
use isa_riscv::Hart;
use std::io;
use std::sync::Arc;
use vm_board::check::BoardError;
use vm_board::plan::Plan;
use vm_sbi::Sbi;

/// Why a machine cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The host does not give the memory.
    #[error("cannot get {bytes} bytes of memory for the guest{}", source.as_ref().map_or(String::new(), |e| format!(": {e}")))]
    Memory {
        /// How much was asked for.
        bytes: u64,
        /// What the host said.
        source: Option<io::Error>,
    },
    /// The host does not give a thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The board contradicts itself.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The address map contradicts itself.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The files cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An extension that no hart has.
    #[error("no hart implements the extension {0:?}")]
    Extension(String),
    /// A virtual clock follows one hart.
    #[error("a virtual clock follows the instructions of one hart: use --cpus 1, or --clock real")]
    VirtualHarts,
}

/// One machine, ready to run.
pub struct Machine {
    spec: Spec,
    control: Arc<Control>,
    timers: Arc<Timers>,
    devices: Devices,
    plan: Plan,
}

/// A machine that has run to its end, as it stands then.
pub struct Final {
    /// How it ended.
    pub end: End,
    /// The harts that have executed, by number.
    pub harts: Vec<FinalHart>,
    bus: Arc<Bus>,
}

impl Final {
    /// Copies RAM (or ROM) from `address` on to `into`; `None` if it is not all there.
    pub fn memory(&self, address: u64, into: &mut [u8]) -> Option<()> {
        let offset = self.bus.backing(address, into.len() as u64)?;
        self.bus.ram().copy_out(offset, into)
    }
}

/// Stops a machine from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Control>);

impl Stopper {
    /// Ends the machine as [`End::Stopped`], if it has not ended.
    pub fn stop(&self) {
        self.0.finish(End::Stopped);
    }
}

impl Machine {
    /// Builds the machine and loads its files.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(spec: Spec) -> Result<Machine, BuildError> {
        if spec.clock == ClockKind::Virtual && spec.board.application_harts().count() != 1 {
            return Err(BuildError::VirtualHarts);
        }
        for core in spec.board.monitors.iter().chain([&spec.board.core]) {
            features(core).map_err(BuildError::Extension)?;
        }
        let plan = plan(&spec)?;
        let clock = match spec.clock {
            ClockKind::Real => Clock::real(),
            ClockKind::Virtual => Clock::virtual_(),
        };
        let timers = Timers::new(Arc::new(clock));
        let control = Control::new(spec.board.cpus);
        let devices = Devices::new(&spec, &control, &timers)?;
        load(&devices.bus, &spec, &plan)?;
        Ok(Machine { spec, control, timers, devices, plan })
    }

    /// The consoles that the board has, the first being the one that firmware and kernel use by themselves.
    pub fn consoles(&self) -> &[Arc<dyn ConsolePort>] {
        &self.devices.consoles
    }

    /// The first console, if the board has one.
    pub fn console(&self) -> Option<Arc<dyn ConsolePort>> {
        self.devices.consoles.first().cloned()
    }

    /// A handle that stops the machine.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.control))
    }

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

    /// Runs until the machine ends, in threads of its own.
    ///
    /// # Errors
    /// If the host gives no threads.
    pub fn run(self) -> Result<End, BuildError> {
        Ok(self.run_in_slices(u64::MAX)?.end)
    }

    /// Runs as [`Machine::run`] does and hands over the state at the end. Every engine is left and
    /// entered again after at most `slice` instructions (at least one), of which the guest must not
    /// notice anything: with a virtual clock the state at the end does not depend on `slice`.
    ///
    /// # Errors
    /// If the host gives no threads.
    pub fn run_in_slices(self, slice: u64) -> Result<Final, BuildError> {
        let mut threads = Vec::new();
        let boot_hart = self.spec.board.boot_hart();
        let timer = match self.spec.clock {
            ClockKind::Real => Some(self.timers.spawn().map_err(BuildError::Thread)?),
            ClockKind::Virtual => None,
        };
        let built_in = matches!(self.spec.bios, Bios::BuiltIn).then(|| {
            let served = self.spec.board.application_harts().collect();
            let sbi = Sbi::serving(self.spec.board.cpus, served);
            sbi.power_on(boot_hart, self.plan.handover.start, self.plan.handover.fdt);
            Arc::new(sbi)
        });
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
            let body = move || {
                let mut cpu = Interp::new(config);
                cpu.set_firmware(firmware);
                runner.run(Box::new(cpu))
            };
            let thread = std::thread::Builder::new().name(format!("hart{id}")).spawn(body);
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.control.finish(End::Stopped);
                    self.timers.close();
                    return Err(BuildError::Thread(error));
                }
            }
        }
        let end = self.control.wait(|| {
            if let Some(end) = self.devices.wanted_end() {
                self.control.finish(end);
            }
        });
        self.timers.close();
        // A hart's thread gives its state unless it panicked, and then the end says so.
        let harts = threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect();
        if let Some(timer) = timer {
            let _ = timer.join();
        }
        self.devices.consoles.iter().for_each(|console| console.finish());
        Ok(Final { end, harts, bus: self.devices.bus })
    }
}
