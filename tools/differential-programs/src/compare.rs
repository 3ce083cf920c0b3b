//! Two engines run a program to the same stops; where they differ is found to the instruction.

use crate::engines::Engine;
use crate::machine::{End, Machine, State};
use anyhow::Result;
use differential_core::Random;
use random_programs::layout::{RAM, SLOT};
use random_programs::{Profile, Program, image};

/// Slots that programs of a run lie in, so that their addresses differ.
pub const PLACES: u64 = 4;
/// No program needs so many instructions; if one does, the rest of it is not looked at.
pub const LONGEST: u64 = 3_000_000;

/// The most instructions from one stop to the next.
const FARTHEST: u64 = 100_000;

/// The stops of a comparison, which are a function of the program's name.
#[derive(Clone, Debug)]
pub struct Stops {
    /// Where states are compared.
    both: Vec<u64>,
    /// Where only the second engine stops, too.
    second: Vec<u64>,
}

impl Stops {
    /// Random stops, 1 to 100,000 instructions apart.
    pub fn new(program: &Program) -> Stops {
        let mut random = Random::new(program.name.0 ^ 0x5707, program.name.1);
        let mut draw = || {
            let (mut stops, mut at) = (Vec::new(), 0);
            // As often ten instructions apart as ten thousand.
            while at < LONGEST {
                let most = 1 << random.below(18);
                at += 1 + random.below(most).min(FARTHEST - 1);
                stops.push(at);
            }
            stops
        };
        // The second engine is cut up more than the first, which may be the same.
        Stops { both: draw(), second: draw() }
    }
}

/// What a comparison found.
pub enum Outcome {
    /// The same all along; how many instructions it was, and whether the program came to its end.
    Same {
        /// Instructions.
        retired: u64,
        /// It ended.
        done: bool,
    },
    /// A difference at a stop, and the stop before, where there was none.
    Differs {
        /// Where all was well.
        good: u64,
        /// Where it was not.
        bad: u64,
    },
    /// The same, but neither ended nor stopped where it should: why.
    Broken(String),
    /// The program's code does not fit.
    TooLarge,
}

/// A comparison of two engines.
#[derive(Clone, Copy)]
pub struct Pair {
    /// The one that is trusted.
    pub first: Engine,
    /// The other.
    pub second: Engine,
}

/// Size of RAM for the programs that engines are compared by.
pub const fn ram() -> u64 {
    PLACES * SLOT
}

/// The machine that `program` is made for, with nothing but that, which is `image`.
///
/// # Errors
/// If the host gives no memory, or does not have the engine.
pub fn machine(engine: Engine, program: &Program, image: &[u8]) -> Result<Machine> {
    let size = match program.profile {
        Profile::Engines => ram(),
        Profile::Elsewhere => crate::elsewhere::SIZE,
    };
    Machine::new(engine, size, &[(program.slot - RAM, image)], program.slot)
}

impl Pair {
    fn machines(&self, program: &Program, image: &[u8]) -> Result<(Machine, Machine)> {
        Ok((machine(self.first, program, image)?, machine(self.second, program, image)?))
    }

    /// Compares at every stop.
    ///
    /// # Errors
    /// If the host gives no memory, or does not have an engine.
    pub fn compare(&self, program: &Program, stops: &Stops) -> Result<Outcome> {
        let Some(image) = image(program, None) else { return Ok(Outcome::TooLarge) };
        let (mut a, mut b) = self.machines(program, &image)?;
        let (mut good, mut more) = (0, stops.second.iter().copied().peekable());
        for &stop in &stops.both {
            a.run_to(stop);
            while let Some(cut) = more.next_if(|cut| *cut < stop) {
                b.run_to(cut);
            }
            b.run_to(stop);
            let (x, y) = (a.state(), b.state());
            if x != y {
                return Ok(Outcome::Differs { good, bad: stop });
            }
            match x.end {
                End::Stop => good = stop,
                End::Done => return Ok(Outcome::Same { retired: x.retired, done: true }),
                End::Other(why) => return Ok(Outcome::Broken(why)),
            }
        }
        Ok(Outcome::Same { retired: good, done: false })
    }

    /// The states after `at` instructions, reached by the same stops.
    ///
    /// # Errors
    /// If the host gives no memory, or does not have an engine.
    pub fn states(&self, program: &Program, stops: &Stops, at: u64) -> Result<Option<(State, State)>> {
        let Some(image) = image(program, None) else { return Ok(None) };
        let (mut a, mut b) = self.machines(program, &image)?;
        stops.both.iter().filter(|stop| **stop < at).for_each(|stop| a.run_to(*stop));
        a.run_to(at);
        let mut all: Vec<u64> = stops.both.iter().chain(&stops.second).copied().filter(|s| *s < at).collect();
        all.sort_unstable();
        all.into_iter().for_each(|stop| b.run_to(stop));
        b.run_to(at);
        Ok(Some((a.state(), b.state())))
    }

    /// The first instruction count after which the states differ, between `good` and `bad`.
    ///
    /// # Errors
    /// If the host gives no memory, or does not have an engine.
    pub fn first_difference(&self, program: &Program, stops: &Stops, good: u64, bad: u64) -> Result<u64> {
        let (mut good, mut bad) = (good, bad);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match self.states(program, stops, middle)? {
                Some((a, b)) if a == b => good = middle,
                _ => bad = middle,
            }
        }
        Ok(bad)
    }
}
