//! Both engines, and a round of legs that began with both in the same state.

use crate::compare::same;
use crate::memory::Before;
use crate::side::{At, Checked, Leg, Side};
use engine_core::Exit;
use engine_interp::{Interp, Mark};

/// The engine that is checked, on the machine's memory and devices, and the interpreter beside it.
pub(crate) struct Pair<E> {
    pub real: Side<E>,
    pub shadow: Side<Interp>,
    /// How the last run of each ended (the checked engine's first), where not in the same way.
    pub parted: Option<(Exit, Exit)>,
}

/// How far each has come in the legs of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ats {
    pub real: At,
    pub shadow: At,
}

/// What has been run since both were last known to be the same, memory included.
pub(crate) struct Round {
    pub start: Mark,
    pub legs: Vec<Leg>,
    pub before: Before,
}

impl Round {
    /// Guest time at its start.
    pub fn now(&self) -> u64 {
        self.legs.first().map_or(0, |leg| leg.now)
    }
}

impl<E: Checked> Pair<E> {
    /// Keeps what the pages held that the real engine has written since this was last asked. Nobody else has yet.
    pub fn keep_real(&mut self, before: &mut Before) {
        let early = std::mem::take(&mut self.real.desk.tape().pages);
        let pages = early.into_iter().chain(self.real.ram.dirty().take());
        pages.for_each(|page| before.keep(page, &self.shadow.ram));
    }

    /// The same for the shadow: what the real engine has written is kept already.
    pub fn keep_shadow(&mut self, before: &mut Before) {
        self.shadow.ram.dirty().take().into_iter().for_each(|page| before.keep(page, &self.real.ram));
    }

    /// Whether the states differ, memory aside.
    pub fn states_differ(&self) -> bool {
        let (strayed, done) = self.real.accesses();
        let (other_strayed, other_done) = self.shadow.accesses();
        strayed
            || other_strayed
            || done != other_done
            || self.parted.is_some()
            || !same(&self.real.mark(), &self.shadow.mark())
    }

    /// Whether anything differs.
    pub fn differ(&self, before: &Before) -> bool {
        self.states_differ() || before.differ(&self.real.ram, &self.shadow.ram)
    }

    /// Takes both back to the start of `round`.
    pub fn restore(&mut self, round: &Round) {
        round.before.restore(&self.real.ram);
        round.before.restore(&self.shadow.ram);
        let first = round.legs.first();
        self.real.rewind(&round.start, first, At::default(), round.now());
        self.shadow.rewind(&round.start, first, At::default(), round.now());
    }

    /// Runs both on from `at` until `until` instructions are retired; whether anything differs then.
    pub fn play(&mut self, round: &mut Round, at: &mut Ats, until: u64) -> bool {
        let real = self.real.play(&round.legs, &mut at.real, until);
        self.keep_real(&mut round.before);
        let shadow = self.shadow.play(&round.legs, &mut at.shadow, until);
        self.keep_shadow(&mut round.before);
        self.parted = real.zip(shadow).filter(|(real, shadow)| real != shadow);
        self.differ(&round.before)
    }

    /// Runs both from the start of `round` until `until` instructions are retired; whether anything differs then.
    pub fn differ_at(&mut self, round: &mut Round, until: u64) -> bool {
        self.restore(round);
        self.play(round, &mut Ats::default(), until)
    }

    /// Takes the interpreter from the start of `round` to where `from` instructions are retired, and the other engine to the
    /// same place. Gives where in the legs that is.
    pub fn restore_at(&mut self, round: &mut Round, from: u64) -> Ats {
        self.restore(round);
        let mut at = At::default();
        self.shadow.play(&round.legs, &mut at, from);
        self.keep_shadow(&mut round.before);
        round.before.transfer(&self.shadow.ram, &self.real.ram);
        let (mark, now, leg) = (self.shadow.mark(), self.shadow.now(), round.legs.get(at.leg));
        self.real.rewind(&mark, leg, at, now);
        self.shadow.rewind(&mark, leg, at, now);
        Ats { real: at, shadow: at }
    }
}
