//! One of the two engines, with the memory, the interrupt lines and the time that are its own.

use crate::tape::{Answered, Desk};
use engine_core::{Exit, Hosted};
use engine_interp::{Interp, Mark};
use engine_jit::Jit;
use fabric_clock::Nanos;
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use isa_riscv::Hart;
use std::sync::Arc;

/// An engine that can be checked: one with an interpreter to fall back on, which holds its state.
pub trait Checked: Hosted<State = Hart> {
    /// That interpreter.
    fn interp(&self) -> &Interp;

    /// That interpreter, to change.
    fn interp_mut(&mut self) -> &mut Interp;

    /// Forgets what was translated; translates from now on whatever runs, in blocks of at most `longest` instructions.
    fn translate_anew(&mut self, longest: usize);
}

impl Checked for Jit {
    fn interp(&self) -> &Interp {
        Jit::interp(self)
    }

    fn interp_mut(&mut self) -> &mut Interp {
        Jit::interp_mut(self)
    }

    fn translate_anew(&mut self, longest: usize) {
        Jit::translate_anew(self, longest);
    }
}

impl Checked for Interp {
    fn interp(&self) -> &Interp {
        self
    }

    fn interp_mut(&mut self) -> &mut Interp {
        self
    }

    fn translate_anew(&mut self, _longest: usize) {}
}

/// A run between two looks at the machine: what both engines are given, and what devices answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leg {
    /// Instructions retired at its start.
    pub start: u64,
    pub budget: u64,
    /// Interrupt lines, and a posted software interrupt.
    pub lines: u64,
    /// Guest time at the start, and what the counter shows beyond it.
    pub now: Nanos,
    pub offset: u64,
    pub accesses: Vec<Answered>,
}

/// How far a side has come in the legs of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct At {
    /// Which leg.
    pub leg: usize,
    /// Whether it has begun.
    pub begun: bool,
    /// Accesses to devices done in it.
    pub done: usize,
}

/// One engine.
pub(crate) struct Side<E> {
    pub cpu: E,
    pub desk: Arc<Desk>,
    pub ram: Arc<GuestRam>,
}

impl<E: Checked> Side<E> {
    pub fn mark(&self) -> Mark {
        self.cpu.interp().mark()
    }

    /// Whether it has asked a device what the other did not, and how many accesses of the leg it has done.
    pub fn accesses(&self) -> (bool, usize) {
        let tape = self.desk.tape();
        (tape.stray.is_some(), tape.done)
    }

    /// Guest time as it sees it.
    pub fn now(&self) -> Nanos {
        self.cpu.interp().cpu().time.clock().now()
    }

    /// Lets nothing that was written before this moment pass for known: each page is marked anew when it is next written.
    pub fn forget_stores(&mut self) {
        self.cpu.interp_mut().cpu_mut().write.clear();
    }

    /// Gives it what a leg begins with.
    pub fn begin(&mut self, leg: &Leg) {
        self.set_lines(leg.lines);
        self.cpu.interp().cpu().time.follow(leg.now, leg.offset);
    }

    fn set_lines(&mut self, lines: u64) {
        self.desk.word.lower(!lines);
        self.desk.word.raise(lines);
    }

    /// Runs on in a leg that has begun.
    pub fn go(&mut self, budget: u64) -> Exit {
        let exit = self.cpu.run(budget);
        self.desk.word.lower(PendingWord::KICK);
        exit
    }

    /// Goes to `mark` in the middle of `leg`, or at its beginning: time is `now` there.
    pub fn rewind(&mut self, mark: &Mark, leg: Option<&Leg>, at: At, now: Nanos) {
        let interp = self.cpu.interp_mut();
        let offset = leg.map_or(0, |leg| leg.offset);
        let time = interp.cpu().time.apart(now, offset);
        interp.rewind(mark, time);
        // What software has posted is seen when a leg begins, and seen once.
        self.set_lines(leg.filter(|_| at.begun).map_or(0, |leg| leg.lines & !POSTED));
        self.load(leg.filter(|_| at.begun), at.done);
    }

    /// Has the tape answer for `leg`, of which `done` accesses are done.
    pub fn load(&mut self, leg: Option<&Leg>, done: usize) {
        let mut tape = self.desk.tape();
        tape.accesses = leg.map(|leg| leg.accesses.clone()).unwrap_or_default();
        (tape.done, tape.live, tape.stray) = (done, false, None);
    }

    /// Runs from `at` in `legs` on until `until` instructions are retired, or to the end.
    pub fn play(&mut self, legs: &[Leg], at: &mut At, until: u64) -> Option<Exit> {
        let mut last = None;
        while let Some(leg) = legs.get(at.leg).filter(|_| self.cpu.retired() < until) {
            if !at.begun {
                self.load(Some(leg), 0);
                self.begin(leg);
                at.begun = true;
            }
            let left = (leg.start + leg.budget).saturating_sub(self.cpu.retired());
            let budget = left.min(until - self.cpu.retired());
            let exit = self.go(budget);
            let (stray, done) = self.accesses();
            at.done = done;
            let cut = exit == Exit::Budget && budget < left;
            last = Some(exit);
            if stray || cut {
                break;
            }
            *at = At { leg: at.leg + 1, ..At::default() };
        }
        last
    }
}

/// The bit of a pending word that posts a supervisor software interrupt.
pub(crate) const POSTED: u64 = 1 << 1;
