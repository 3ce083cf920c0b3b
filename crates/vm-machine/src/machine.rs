//! A machine: built, run to its end, built anew for a reset.

use crate::console::ConsolePort;
use crate::control::{Control, End};
use crate::devices::Devices;
use crate::features::features;
use crate::hart::FinalHart;
use crate::load::{LoadError, load, plan};
use crate::plug_firmware::check_flash;
use crate::plug_gem::check_ethernet;
use crate::plug_pc::on_kvm;
use crate::plug_spi::check_slot;
use crate::plug_virtio::{PowerButton, check_places, quiesce, spawn};
use crate::spec::{ClockKind, Engine, Spec};
use crate::x86::{Cpu, FinalProcessor, Left};
use crate::x86_start;
use dev_pci::PlugError;
use engine_kvm::KvmError;
use fabric_bus::MapError;
use fabric_clock::{Clock, Nanos, Timers};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use vm_board::board::Processor;
use vm_board::check::BoardError;
use vm_board::plan::Plan;

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
    /// PCI functions contradict each other.
    #[error(transparent)]
    Plug(#[from] PlugError),
    /// The files cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An extension that no hart has.
    #[error("no hart implements the extension {0:?}")]
    Extension(String),
    /// A board whose processors have no local APIC.
    #[error("the board has no local APIC for its processor")]
    NoLocalApic,
    /// KVM refuses, or is not there.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// KVM runs what the host is.
    #[error("KVM on this host runs x86-64 machines only, such as --machine microvm; use --engine interp")]
    OtherProcessor,
    /// The translator knows one instruction set.
    #[error("the translator is for RISC-V boards; use --engine interp")]
    NotTranslated,
    /// The translator's code needs more than this host's processor has.
    #[error("translated code needs {0}, which this host lacks; use --engine interp")]
    NoTranslator(&'static str),
    /// The host does not give memory for code.
    #[error("cannot get memory for translated code: {0}; use --engine interp")]
    CodeCache(io::Error),
    /// The host does not give the file for `perf`.
    #[error("cannot name translated code in a file in /tmp: {0}; leave --perf-map out")]
    PerfMap(io::Error),
    /// Hardware does not count instructions.
    #[error("a virtual clock counts instructions, which KVM does not; use --engine interp, or --clock real")]
    VirtualHardware,
    /// A budget on an engine that does not count.
    #[error("a budget counts instructions, which KVM does not; use the interpreter")]
    UncountedBudget,
    /// A check compares instruction by instruction.
    #[error("two engines can be compared only where time counts instructions; use --clock virtual")]
    CheckedClock,
    /// More virtio devices than places.
    #[error(
        "{} has no room for {wanted} virtio devices {}, {}", board, at,
        match places { 0 => "or for any".to_owned(), places => format!("only for {places}") }
    )]
    VirtioPlaces {
        /// The board.
        board: &'static str,
        /// Which of its places.
        at: &'static str,
        /// How many it has room for.
        places: usize,
        /// How many there are.
        wanted: usize,
    },
    /// A network to which the board has nothing to join.
    #[error("{0} has no network card of its own")]
    NoEthernet(&'static str),
    /// An SD card without a slot.
    #[error("{0} has no slot for an SD card")]
    NoSlot(&'static str),
    /// A disk that can be no SD card.
    #[error("the disk can be no SD card: {0}")]
    SdSize(#[from] dev_sd::SizeError),
    /// A network card that is joined to nothing.
    #[error("a network card has no port to be joined to")]
    NoPort,
    /// Frames come when they come.
    #[error(
        "with a virtual clock there is no {0}, to which what comes comes at the host's times: leave it out"
    )]
    OutsideAndVirtualClock(&'static str),
    /// More files for flash memory than banks.
    #[error("{board} has {banks} banks of flash memory, not {wanted}")]
    FlashBanks {
        /// The board.
        board: &'static str,
        /// How many it has.
        banks: u32,
        /// How many there are.
        wanted: usize,
    },
    /// A flash bank's contents that cannot be.
    #[error("flash bank {bank}: {problem}")]
    FlashSize {
        /// Its number, from 0 on.
        bank: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A flash bank's contents that cannot be read.
    #[error("flash bank {bank}: {source}")]
    FlashRead {
        /// Its number, from 0 on.
        bank: usize,
        /// Why.
        source: host_disk::DiskError,
    },
    /// A virtual clock follows one hart.
    #[error("a virtual clock follows the instructions of one hart: use --cpus 1, or --clock real")]
    VirtualHarts,
}

/// One machine, ready to run.
pub struct Machine {
    pub(crate) spec: Spec,
    pub(crate) control: Arc<Control>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) devices: Devices,
    /// Where its processors start.
    pub(crate) start: Option<Start>,
}

/// Where processors start.
pub(crate) enum Start {
    /// RISC-V harts: what is where in memory.
    Riscv(Box<Plan>),
    /// x86: processor 0, in its state.
    X86(Box<Cpu>),
}

/// A machine that has run to its end, as it stands then.
pub struct Final {
    /// How it ended.
    pub end: End,
    /// The harts that have executed, by number.
    pub harts: Vec<FinalHart>,
    /// Its x86 processors, by number.
    pub processors: Vec<FinalProcessor>,
    /// Their engines, and the local APICs that the kernel has, as each stopped.
    pub(crate) left: Vec<Left>,
    /// How many instructions two engines were compared over, if they were.
    pub compared: Option<u64>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) devices: Devices,
}

impl Final {
    /// Copies RAM (or ROM) from `address` on to `into`; `None` if it is not all there.
    pub fn memory(&self, address: u64, into: &mut [u8]) -> Option<()> {
        let bus = &self.devices.bus;
        bus.ram().copy_out(bus.backing(address, into.len() as u64)?, into)
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
        let mut machine = Machine::empty(spec, 0)?;
        machine.start = Some(match machine.spec.board.processor {
            Processor::Riscv => {
                let plan = plan(&machine.spec)?;
                load(&machine.devices.bus, &machine.spec, &plan)?;
                Start::Riscv(Box::new(plan))
            }
            Processor::X86 => {
                let state = x86_start::start(&machine.devices.bus, &machine.spec)?;
                Start::X86(machine.processor(state, false)?)
            }
        });
        Ok(machine)
    }

    /// A machine with nothing in its memory, whose guest time is `now` until it runs.
    pub(crate) fn empty(mut spec: Spec, now: Nanos) -> Result<Machine, BuildError> {
        let board = &spec.board;
        match (spec.clock, spec.engine) {
            (ClockKind::Virtual, Engine::Kvm(_)) => return Err(BuildError::VirtualHardware),
            (ClockKind::Virtual, _) if board.application_harts().count() != 1 => {
                return Err(BuildError::VirtualHarts);
            }
            (_, Engine::Jit(_) | Engine::Check(_)) if board.processor != Processor::Riscv => {
                return Err(BuildError::NotTranslated);
            }
            (ClockKind::Real, Engine::Check(_)) => return Err(BuildError::CheckedClock),
            (_, Engine::Jit(_) | Engine::Check(_)) => {
                if let Some(missing) = engine_jit::Jit::missing() {
                    return Err(BuildError::NoTranslator(missing));
                }
            }
            (_, Engine::Kvm(_)) if board.processor != Processor::X86 => {
                return Err(BuildError::OtherProcessor);
            }
            _ => {}
        }
        if board.processor == Processor::Riscv {
            for core in board.monitors.iter().chain([&board.core]) {
                features(core).map_err(BuildError::Extension)?;
            }
        }
        if on_kvm(&spec) && spec.tsc_hz.is_none() {
            // The guest's counter is the host's.
            spec.tsc_hz = engine_kvm::tsc_hz()?;
        }
        check_places(&spec)?;
        check_slot(&spec)?;
        check_ethernet(&spec)?;
        check_flash(&spec.board, &spec.flash)?;
        let clock = match spec.clock {
            ClockKind::Real => Clock::real_stopped_at(now),
            ClockKind::Virtual => Clock::virtual_from(now),
        };
        let timers = Timers::new(Arc::new(clock));
        let control = Control::new(spec.board.cpus);
        let devices = Devices::new(&spec, &control, &timers)?;
        Ok(Machine { spec, control, timers, devices, start: None })
    }

    /// The consoles that the board has, the first being the one that firmware and kernel use by themselves.
    pub fn consoles(&self) -> &[Arc<dyn ConsolePort>] {
        &self.devices.consoles
    }

    /// The first console, if the board has one.
    pub fn console(&self) -> Option<Arc<dyn ConsolePort>> {
        self.devices.consoles.first().cloned()
    }

    /// The ports of its virtio console: its consoles, then its named ports ([`crate::Virtio::Console`]).
    pub fn virtio_ports(&self) -> &[Arc<dyn ConsolePort>] {
        &self.devices.virtio_ports
    }

    /// A handle that stops the machine.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.control))
    }

    /// Its power button, if there is one ([`crate::Virtio::PowerButton`]), and guest time is not a function of the instruction
    /// count: what is pressed from outside would come at another instruction in every run.
    pub fn power_button(&self) -> Option<PowerButton> {
        self.devices.button.clone()
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
    pub fn run_in_slices(mut self, slice: u64) -> Result<Final, BuildError> {
        self.timers.clock().resume();
        // With a virtual clock, the hart does all I/O at once.
        let io = match self.spec.clock {
            ClockKind::Real => spawn(&self.devices.virtio, &self.control).map_err(BuildError::Thread)?,
            ClockKind::Virtual => Vec::new(),
        };
        let timer = match self.spec.clock {
            ClockKind::Real => Some(self.timers.spawn().map_err(BuildError::Thread)?),
            ClockKind::Virtual => None,
        };
        let threads = match self.start.take() {
            Some(Start::Riscv(plan)) => self.spawn_harts(&plan, slice).map(Threads::Harts),
            Some(Start::X86(cpu)) => {
                self.spawn_processor(cpu, slice).map(|thread| Threads::Processors(vec![thread]))
            }
            None => Ok(Threads::Harts(Vec::new())),
        };
        let threads = threads.inspect_err(|_| {
            self.control.finish(End::Stopped);
            self.timers.close();
        })?;
        let end = self.control.wait(|| {
            if let Some(end) = self.devices.wanted_end() {
                self.control.finish(end);
            }
        });
        self.timers.close();
        // A thread gives its processor's state unless it panicked, and then the end says so.
        let (harts, left) = match threads {
            Threads::Harts(threads) => (joined(threads), Vec::new()),
            Threads::Processors(threads) => (Vec::new(), joined(threads)),
        };
        let broken = harts.iter().find_map(|hart| hart.broken.clone());
        let end = broken.map_or(end, End::Failed);
        if let Some(timer) = timer {
            let _ = timer.join();
        }
        // Harts have stopped: nobody rings any more.
        drop(io);
        quiesce(&self.devices.virtio);
        self.devices.consoles.iter().for_each(|console| console.finish());
        self.timers.clock().pause();
        let processors = left.iter().map(|left| left.processor.clone()).collect();
        let checked = matches!(self.spec.engine, Engine::Check(_));
        let compared = harts.first().filter(|_| checked).map(|hart| hart.retired);
        Ok(Final { end, harts, processors, left, compared, timers: self.timers, devices: self.devices })
    }
}

/// The threads of a machine's processors.
enum Threads {
    Harts(Vec<JoinHandle<Option<FinalHart>>>),
    Processors(Vec<JoinHandle<Option<Left>>>),
}

fn joined<T>(threads: Vec<JoinHandle<Option<T>>>) -> Vec<T> {
    threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
}
