//! The engine: legs, rounds and what they are compared by.

use crate::explain::{Found, explain};
use crate::memory::{Before, Ever, copy_page, words_that_differ};
use crate::pair::{Pair, Round};
use crate::report::report;
use crate::side::{Checked, Leg, POSTED, Side};
use crate::tape::{Clocks, Desk, Front, Live};
use engine_core::{Exit, Firmware, Hosted, TimeSource, Vcpu};
use engine_interp::{Config, Interp};
use fabric_bus::{Bus, Target};
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use isa_riscv::Hart;
use std::io;
use std::sync::Arc;

/// How much is run between two comparisons.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Start of the random numbers that lengths are drawn from.
    pub seed: u64,
    /// The most instructions between two comparisons of the states.
    pub leg: u64,
    /// The most legs between two comparisons of the pages written.
    pub legs: u64,
    /// Instructions between two comparisons of every page that was ever written.
    pub whole: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { seed: 1, leg: 5000, legs: 8, whole: 1 << 27 }
    }
}

/// A processor that is run twice.
pub struct Check<E> {
    pair: Pair<E>,
    round: Round,
    bus: Arc<Bus>,
    time: TimeSource,
    pending: Arc<PendingWord>,
    options: Options,
    random: u64,
    ever: Ever,
    /// When everything is compared next.
    whole_at: u64,
    /// What is wrong: nothing runs any more then.
    report: Option<String>,
}

/// Why a round is over: what the caller is told, or that the engines differ.
enum Over {
    Exit(Exit),
    Differ,
}

impl<E: Checked> Check<E> {
    /// A processor of the machine, run by what `engine` makes, beside an interpreter. Needs a virtual clock.
    ///
    /// # Errors
    /// What `engine` says, and what the host says to as much memory again.
    pub fn new(
        config: Config,
        options: Options,
        engine: impl FnOnce(Config) -> io::Result<E>,
    ) -> io::Result<Check<E>> {
        let Config { hart, bus, time, pending } = config;
        let ram = Arc::clone(bus.ram());
        let other = Arc::new(GuestRam::new(ram.size())?);
        let apart = || time.apart(time.clock().now(), time.offset());
        let (own, beside) = (apart(), apart());
        let live = |target: &Arc<dyn Target>| {
            let clocks = Clocks { machine: Arc::clone(time.clock()), own: Arc::clone(own.clock()) };
            Some(Live { target: Arc::clone(target), clocks })
        };
        let (desk, fronts) = fronts(&bus, &ram, &live);
        let config =
            Config { hart: hart.clone(), bus: fronts, time: own.clone(), pending: Arc::clone(&desk.word) };
        let mut real = Side { cpu: engine(config)?, desk, ram };
        let (desk, fronts) = fronts_without(&bus, &other);
        let config = Config { hart, bus: fronts, time: beside, pending: Arc::clone(&desk.word) };
        let mut shadow = Side { cpu: Interp::new(config), desk, ram: other };
        real.cpu.interp_mut().cpu_mut().impatient = true;
        shadow.cpu.cpu_mut().impatient = true;
        let round = Round { start: shadow.mark(), legs: Vec::new(), before: Before::default() };
        let (ever, random) = (Ever::new(&real.ram), options.seed);
        let pair = Pair { real, shadow, parted: None };
        let whole_at = options.whole;
        Ok(Check { pair, round, bus, time, pending, options, random, ever, whole_at, report: None })
    }

    /// A random number from 1 to `most`; small ones come as often as large ones.
    fn draw(&mut self, most: u64) -> u64 {
        // xorshift64* (Vigna).
        let mut x = self.random.max(1);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        let number = x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        let bits = u64::BITS - most.max(1).leading_zeros();
        let most = most.min(1u64.checked_shl(number as u32 % (bits + 1)).unwrap_or(most));
        1 + (number >> 8) % most.max(1)
    }

    /// Both stand at the same place with the same memory but for what the machine has written since.
    fn begin(&mut self) {
        for page in self.pair.real.ram.dirty().take() {
            copy_page(page, &self.pair.real.ram, &self.pair.shadow.ram);
            self.ever.add(page);
        }
        self.pair.shadow.ram.dirty().take();
        self.pair.real.forget_stores();
        self.pair.shadow.forget_stores();
        self.round.start = self.pair.shadow.mark();
        self.round.legs.clear();
        self.round.before.clear();
    }

    /// One round, which ends at count `end` at the latest.
    fn round(&mut self, end: u64) -> Option<Exit> {
        self.begin();
        let legs = self.draw(self.options.legs);
        let mut over = None;
        for _ in 0..legs {
            over = self.leg(end);
            if over.is_some() {
                break;
            }
        }
        // What only the interpreter has written counts as well.
        self.pair.keep_shadow(&mut self.round.before);
        if self.round.before.differ(&self.pair.real.ram, &self.pair.shadow.ram) {
            over = Some(Over::Differ);
        }
        for page in self.round.before.pages() {
            self.ever.add(page);
        }
        match over {
            None => None,
            Some(Over::Exit(exit)) => Some(exit),
            Some(Over::Differ) => Some(self.differ()),
        }
    }

    /// One leg: both run for as many instructions, and are compared.
    fn leg(&mut self, end: u64) -> Option<Over> {
        let retired = self.pair.real.cpu.retired();
        self.time.catch_up(retired);
        let word = self.pending.load();
        if word & (PendingWord::KICK | PendingWord::WORK) != 0 {
            return Some(Over::Exit(Exit::Kick));
        }
        let lines = word & PendingWord::LINES & !POSTED | self.pending.lower(POSTED);
        let deadline = self.time.insns_until(retired, None).unwrap_or(u64::MAX).max(1);
        let budget = self.draw(self.options.leg).min(deadline).min(end.saturating_sub(retired));
        let (now, offset) = (self.time.now(retired), self.time.offset());
        let leg = Leg { start: retired, budget, lines, now, offset, accesses: Vec::new() };
        let exit = self.both(leg);
        let freed = matches!(exit, Exit::Wedged { .. }) && self.pair.shadow.cpu.cpu().can_be_freed();
        if self.pair.states_differ() {
            return Some(Over::Differ);
        }
        match exit {
            Exit::Kick => None,
            Exit::Budget if self.pair.real.cpu.retired() < end => None,
            Exit::Wedged { .. } if freed => None,
            exit => Some(Over::Exit(exit)),
        }
    }

    /// Has both run `leg`; gives how that ended.
    fn both(&mut self, leg: Leg) -> Exit {
        let Pair { real, .. } = &mut self.pair;
        real.load(None, 0);
        real.desk.tape().live = true;
        real.begin(&leg);
        let exit = real.go(leg.budget);
        self.time.clock().advance_to(real.now());
        let accesses = std::mem::take(&mut real.desk.tape().accesses);
        real.desk.tape().live = false;
        self.pair.keep_real(&mut self.round.before);
        let leg = Leg { accesses, ..leg };
        let Pair { shadow, .. } = &mut self.pair;
        shadow.load(Some(&leg), 0);
        shadow.begin(&leg);
        let other = shadow.go(leg.budget);
        self.round.legs.push(leg);
        self.pair.parted = (exit != other).then(|| (exit.clone(), other));
        exit
    }

    /// The engines differ: finds out where and says so.
    fn differ(&mut self) -> Exit {
        let found = Found::now(&self.pair, &self.round);
        let compared = self.round.start.retired;
        let explanation = explain(&mut self.pair, &mut self.round, found);
        self.broken(report(&explanation, &self.bus, compared))
    }

    fn broken(&mut self, report: String) -> Exit {
        self.report = Some(report.clone());
        Exit::Broken(report)
    }

    /// Compares every page that was ever written: a store that left no trace shows only here.
    fn compare_all(&mut self) -> Option<Exit> {
        let (real, shadow) = (&self.pair.real.ram, &self.pair.shadow.ram);
        let page = self.ever.pages().find(|&page| !words_that_differ(page, real, shadow).is_empty())?;
        let words = words_that_differ(page, real, shadow);
        let retired = self.pair.real.cpu.retired();
        let text = crate::report::untraced(&words, &self.bus, retired);
        Some(self.broken(text))
    }
}

/// A desk, and the map of `bus` with fronts in place of its devices, which ask what `live` gives.
fn fronts(
    bus: &Bus,
    ram: &Arc<GuestRam>,
    live: &dyn Fn(&Arc<dyn Target>) -> Option<Live>,
) -> (Arc<Desk>, Arc<Bus>) {
    let desk = Arc::new(Desk::default());
    let fronts = bus.over(Arc::clone(ram), |base, target| -> Arc<dyn Target> {
        Arc::new(Front { base, desk: Arc::clone(&desk), ram: Arc::clone(ram), device: live(target) })
    });
    (desk, Arc::new(fronts))
}

/// The same with fronts that ask nobody.
fn fronts_without(bus: &Bus, ram: &Arc<GuestRam>) -> (Arc<Desk>, Arc<Bus>) {
    fronts(bus, ram, &|_| None)
}

impl<E: Checked> Vcpu for Check<E> {
    type State = Hart;

    fn run(&mut self, budget: u64) -> Exit {
        if let Some(report) = &self.report {
            return Exit::Broken(report.clone());
        }
        let end = self.retired().saturating_add(budget);
        loop {
            let exit = self.round(end);
            if self.report.is_none() && self.retired() >= self.whole_at {
                self.whole_at = self.retired() + self.options.whole;
                if let Some(broken) = self.compare_all() {
                    return broken;
                }
            }
            if let Some(exit) = exit {
                return exit;
            }
        }
    }

    fn retired(&self) -> u64 {
        self.pair.real.cpu.retired()
    }

    fn pending(&self) -> &Arc<PendingWord> {
        &self.pending
    }

    fn park(&mut self) {
        if self.report.is_none() {
            self.compare_all();
        }
    }

    fn broken(&self) -> Option<&str> {
        self.report.as_deref()
    }

    fn state(&self) -> &Hart {
        self.pair.real.cpu.state()
    }

    fn with_state(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        self.pair.real.cpu.with_state(f);
        let hart = self.pair.real.cpu.state().clone();
        self.pair.shadow.cpu.with_state(&mut |other| other.clone_from(&hart));
    }

    fn flush_translations(&mut self, va: Option<u64>, asid: Option<u16>) {
        self.pair.real.cpu.flush_translations(va, asid);
        self.pair.shadow.cpu.flush_translations(va, asid);
    }

    fn flush_code(&mut self) {
        self.pair.real.cpu.flush_code();
        self.pair.shadow.cpu.flush_code();
    }

    fn flush_pages(&mut self) {
        self.pair.real.cpu.flush_pages();
        self.pair.shadow.cpu.flush_pages();
    }
}

impl<E: Checked> Hosted for Check<E> {
    fn set_firmware(&mut self, firmware: Firmware) {
        self.pair.real.cpu.set_firmware(firmware);
        self.pair.shadow.cpu.set_firmware(firmware);
    }

    fn answer(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        self.pair.real.cpu.answer(f);
        let hart = self.pair.real.cpu.state().clone();
        self.pair.shadow.cpu.answer(&mut |other| other.clone_from(&hart));
    }
}
