//! Batches: fresh data, some dozens of cases loaded side by side, then run one after the other.

use crate::bytes::Template;
use crate::case::Case;
use crate::compare::{Meddler, Sides};
use crate::random::Random;
use hostcpu::{CODE, CODE_BYTES, Loaded, Oracle};
use isa_x86::testkit::TestMachine;

/// Cases of a batch.
pub const CASES: u64 = 64;
/// Bytes from the place of one case to that of the next.
const APART: u64 = 64;

/// Both sides, and the rows that are compared.
pub struct Bench {
    /// The host.
    pub oracle: Oracle,
    /// Ours.
    pub machine: TestMachine,
    /// The rows.
    pub templates: Vec<Template>,
}

/// What has been seen of a row.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Cases.
    pub cases: u64,
    /// Of these, exceptions.
    pub faults: u64,
    /// Instructions that the oracle does not run.
    pub refused: u64,
    /// Undefined flags that differed.
    pub undefined: u64,
}

impl Bench {
    /// Runs batch `number` of `seed`. `each` gets every case with its sides and the number of its row; it says whether to
    /// go on.
    pub fn run(
        &mut self,
        seed: u64,
        number: u64,
        seen: &mut [Seen],
        meddler: Option<Meddler<'_>>,
        mut each: impl FnMut(&Case, &Sides, usize) -> bool,
    ) {
        let mut random = Random::new(seed, number);
        self.fill(&mut random);
        let cases = self.load(&mut random, number, seen);
        for (row, case, loaded) in &cases {
            let sides = Sides::run(case, loaded, &mut self.oracle, &mut self.machine, meddler);
            let seen = &mut seen[*row];
            seen.cases += 1;
            seen.faults += u64::from(sides.ours.is_err());
            seen.undefined |= sides.undefined_differences();
            let go_on = each(case, &sides, *row);
            if sides.memory.is_some() {
                self.machine.data.copy_from_slice(self.oracle.data());
            }
            if !go_on {
                return;
            }
        }
    }

    /// Fresh data on both sides: random, with runs of one byte for what compares strings.
    fn fill(&mut self, random: &mut Random) {
        for chunk in self.machine.data.chunks_exact_mut(64) {
            if random.one_in(4) {
                chunk.fill(random.bits() as u8);
            } else {
                for word in chunk.chunks_exact_mut(8) {
                    word.copy_from_slice(&random.bits().to_le_bytes());
                }
            }
        }
        self.oracle.data().copy_from_slice(&self.machine.data);
    }

    fn load(&mut self, random: &mut Random, number: u64, seen: &mut [Seen]) -> Vec<(usize, Case, Loaded)> {
        let mut cases = Vec::with_capacity(CASES as usize);
        let places = CODE_BYTES as u64 / APART - 2;
        for n in 0..CASES {
            let row = ((number * CASES + n) % self.templates.len() as u64) as usize;
            let rip = CODE + (number * CASES + n) % places * APART + random.below(32);
            // What is refused is so for its operands or prefixes.
            for _ in 0..20 {
                let Some(case) = Case::new(random, &self.templates[row], rip) else { break };
                match self.oracle.load(case.code(), rip) {
                    Ok(loaded) => {
                        cases.push((row, case, loaded));
                        break;
                    }
                    Err(_) => seen[row].refused += 1,
                }
            }
        }
        cases
    }
}
