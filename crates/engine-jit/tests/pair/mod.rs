//! The translator and the interpreter side by side: two harts with a memory of their own and a device, brought into the same
//! random states, run for the same number of instructions and compared.

#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

pub mod asm;
pub mod programs;
mod random;
pub mod sv39;

use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp::{Config, Interp};
use engine_jit::{Jit, Options, Tiers};
use fabric_bus::{Bus, BusBuilder, BusFault, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::PendingWord;
use isa_riscv::{Features, Hart};
pub use random::{Random, count, seed};
use std::sync::{Arc, Mutex};

/// Where RAM begins.
pub const RAM: u64 = 0x8000_0000;
pub const SIZE: u64 = 64 * PAGE;
/// Where a page of device begins.
pub const DEVICE: u64 = 0x1000_0000;
/// Pages that random accesses go to, from this address on.
pub const DATA: u64 = RAM + 32 * PAGE;
/// How many bytes.
pub const DATA_SIZE: u64 = 3 * PAGE;
/// The trap handler: a loop.
pub const HANDLER: u64 = RAM + SIZE - PAGE;

/// A device that answers with how often it was asked, and remembers all that it was asked.
#[derive(Default)]
pub struct Log(Mutex<Vec<(u64, u8, Option<u64>)>>);

impl Target for Log {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        let mut log = self.0.lock().unwrap();
        log.push((offset, size, None));
        Ok((log.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) & (u64::MAX >> (64 - 8 * u32::from(size))))
    }
    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        self.0.lock().unwrap().push((offset, size, Some(value)));
        Ok(())
    }
}

/// One machine.
pub struct Side<C> {
    pub cpu: C,
    pub bus: Arc<Bus>,
    pub log: Arc<Log>,
    pub pending: Arc<PendingWord>,
}

/// What surrounds a hart.
pub struct Surroundings {
    pub config: Config,
    pub bus: Arc<Bus>,
    pub log: Arc<Log>,
    pub pending: Arc<PendingWord>,
}

/// Memory, a device and a hart at the start of RAM, in M-mode.
pub fn surroundings(features: &Features) -> Surroundings {
    let mut builder = BusBuilder::new(Arc::new(GuestRam::new(SIZE).unwrap()));
    let log = Arc::new(Log::default());
    builder.ram("ram", RAM, SIZE, 0, true).unwrap();
    builder.device("log", DEVICE, PAGE, Arc::clone(&log) as _).unwrap();
    let bus = Arc::new(builder.build());
    let pending = Arc::new(PendingWord::new());
    let mut hart = Hart::new(0, features);
    (hart.pc, hart.csr.mtvec) = (RAM, HANDLER);
    let time = TimeSource::new(Timers::new(Arc::new(Clock::virtual_())), 10_000_000);
    let config = Config { hart, bus: Arc::clone(&bus), time, pending: Arc::clone(&pending) };
    // j .
    bus.ram().store(HANDLER - RAM, 0x6fu32).unwrap();
    Surroundings { config, bus, log, pending }
}

/// Both machines.
pub struct Pair {
    pub jit: Side<Jit>,
    pub interp: Side<Interp>,
}

impl Pair {
    /// `None`, and a line that says so, where the host cannot run translated code.
    pub fn new(options: Options) -> Option<Pair> {
        Pair::with(&Features::FULL, options)
    }

    /// The same for a hart with these features.
    pub fn with(features: &Features, options: Options) -> Option<Pair> {
        if let Some(missing) = Jit::missing() {
            println!("skipped: this host lacks {missing}");
            return None;
        }
        let [one, other] = [surroundings(features), surroundings(features)];
        let cpu = Jit::new(one.config, options).unwrap();
        let jit = Side { cpu, bus: one.bus, log: one.log, pending: one.pending };
        let cpu = Interp::new(other.config);
        let interp = Side { cpu, bus: other.bus, log: other.log, pending: other.pending };
        Some(Pair { jit, interp })
    }

    /// Everything translated at once.
    pub fn eager() -> Option<Pair> {
        Pair::new(eager())
    }

    /// The same, all of it in the second tier.
    pub fn regions() -> Option<Pair> {
        Pair::new(second())
    }

    /// Puts bytes into both memories.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        for bus in [&self.jit.bus, &self.interp.bus] {
            bus.ram().copy_in(at - RAM, bytes).unwrap();
        }
    }

    /// Puts instructions of 32 bits into both memories.
    pub fn code(&mut self, at: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(at, &bytes);
    }

    /// The same for a case that runs exactly these. What follows is no instruction: a block would else go on into whatever
    /// was there before, and the budget of a block that is longer than the budget is the interpreter's.
    pub fn case(&mut self, at: u64, words: &[u32]) {
        let mut code = bytes(words);
        code.extend([0; 2]);
        self.put(at, &code);
    }

    /// Brings both harts into this state. Their fetches see all stores so far.
    pub fn set(&mut self, hart: &Hart) {
        let cpus: [&mut dyn Vcpu<State = Hart>; 2] = [&mut self.jit.cpu, &mut self.interp.cpu];
        for cpu in cpus {
            cpu.with_state(&mut |it| it.clone_from(hart));
            cpu.flush_code();
        }
    }

    /// Runs both for `n` instructions; says in what they then differ.
    pub fn run(&mut self, n: u64) -> Result<Exit, String> {
        let exits = [self.jit.cpu.run(n), self.interp.cpu.run(n)];
        let [exit, other] = exits;
        if exit != other {
            return Err(format!("the translator ended with {exit:x?}, the interpreter with {other:x?}"));
        }
        self.differ().map_or(Ok(exit), Err)
    }

    /// The same with an interpreter that walks the page tables for each instruction.
    pub fn run_forgetful(&mut self, n: u64) -> Result<Exit, String> {
        let exit = self.jit.cpu.run(n);
        let cpu = &mut self.interp.cpu;
        let mut steps = (0..n).map(|_| {
            cpu.flush_pages();
            cpu.run(1)
        });
        let other = steps.find(|exit| *exit != Exit::Budget).unwrap_or(Exit::Budget);
        if exit != other {
            return Err(format!("the translator ended with {exit:x?}, the interpreter with {other:x?}"));
        }
        self.differ().map_or(Ok(exit), Err)
    }

    /// Panics unless most instructions ran in translated code: a comparison of the interpreter with itself finds nothing.
    pub fn assert_translated(&self) {
        let (translated, all) = (self.jit.cpu.counts().translated, self.jit.cpu.retired());
        assert!(translated > all / 2, "only {translated} of {all} instructions ran in translated code");
    }

    /// In what they differ.
    pub fn differ(&self) -> Option<String> {
        let (jit, interp) = (self.jit.cpu.state(), self.interp.cpu.state());
        let counts = [self.jit.cpu.retired(), self.interp.cpu.retired()];
        if counts[0] != counts[1] {
            return Some(format!("retired {} and {}", counts[0], counts[1]));
        }
        if jit != interp {
            return Some(state_difference(jit, interp));
        }
        let (mut a, mut b) = (vec![0; SIZE as usize], vec![0; SIZE as usize]);
        self.jit.bus.ram().copy_out(0, &mut a).unwrap();
        self.interp.bus.ram().copy_out(0, &mut b).unwrap();
        if let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) {
            return Some(format!("memory at {:#x}: {:#x} and {:#x}", RAM + at as u64, a[at], b[at]));
        }
        let (mut a, mut b) = (self.jit.log.0.lock().unwrap(), self.interp.log.0.lock().unwrap());
        if *a != *b {
            return Some(format!("the device was asked {a:x?} and {b:x?}"));
        }
        a.clear();
        b.clear();
        None
    }
}

/// Everything translated at once.
pub fn eager() -> Options {
    Options { threshold: 0, ..Options::default() }
}

/// The same, all of it in the second tier.
pub fn second() -> Options {
    Options { tiers: Tiers::Second, ..eager() }
}

fn state_difference(jit: &Hart, interp: &Hart) -> String {
    let mut text = String::from("translator against interpreter:");
    if jit.pc != interp.pc {
        text += &format!(" pc {:#x} {:#x}", jit.pc, interp.pc);
    }
    for r in 0..32 {
        if jit.x[r] != interp.x[r] {
            text += &format!(" x{r} {:#x} {:#x}", jit.x[r], interp.x[r]);
        }
        if jit.f[r] != interp.f[r] {
            text += &format!(" f{r} {:#x} {:#x}", jit.f[r], interp.f[r]);
        }
    }
    if jit.csr != interp.csr {
        text += &format!("\n{:x?}\n{:x?}", jit.csr, interp.csr);
    }
    text
}

/// The instructions of a case, for a message.
pub fn listing(words: &[u32]) -> String {
    let text = |word: &u32| {
        let row = isa_riscv::disasm::row_of(*word).map_or("?", |row| row.name);
        format!("\n  {word:08x} {row}")
    };
    words.iter().map(text).collect()
}

/// The bytes of instructions, each of its length.
pub fn bytes(words: &[u32]) -> Vec<u8> {
    let of = |word: &u32| {
        let length = isa_riscv::disasm::length(*word);
        word.to_le_bytes().into_iter().take(length as usize)
    };
    words.iter().flat_map(of).collect()
}
