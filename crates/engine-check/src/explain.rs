//! From "they differ after this leg" to "this instruction".
//!
//! Both engines go back to the start of the round, where they were the same, and run again with the same answers of devices.
//! First with the code as it had been translated, for fewer and fewer instructions: that finds a count at which they differ
//! and before which they do not. It may be late, because translated code runs in whole blocks, and because a
//! difference may have come and gone before. So then they walk, instruction by instruction, each translated by itself; that
//! finds the very first that is wrong by itself. Where none is, the last instructions before the count are translated once
//! more, first one of them, then two, until the difference shows; and that piece is made shorter from behind.

use crate::compare::{Difference, differences};
use crate::memory::Word;
use crate::pair::{Ats, Pair, Round};
use crate::side::Checked;
use crate::tape::{Access, Stray};
use crate::trail::{Trail, trail};
use engine_core::Exit;
use engine_interp::Mark;

/// The most instructions before a difference that are looked at.
const WINDOW: u64 = 64;

/// Instructions before the one to blame that are shown, where that one is certain.
const SHOWN: u64 = 8;

/// What there was when a difference was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub real: Mark,
    pub shadow: Mark,
    pub exits: Option<(Exit, Exit)>,
    pub real_stray: Option<Stray>,
    pub shadow_stray: Option<Stray>,
    /// What the translator asked of a device, and the interpreter did not.
    pub missed: Option<Access>,
    pub words: Vec<Word>,
}

impl Found {
    /// Both as they stand.
    pub fn now<E: Checked>(pair: &Pair<E>, round: &Round) -> Found {
        let more = pair.real.accesses().1 > pair.shadow.accesses().1;
        let missed = pair.shadow.desk.tape().missing().filter(|_| more);
        Found {
            real: pair.real.mark(),
            shadow: pair.shadow.mark(),
            exits: pair.parted.clone(),
            real_stray: pair.real.desk.tape().stray,
            shadow_stray: pair.shadow.desk.tape().stray,
            missed,
            words: round.before.differences(&pair.real.ram, &pair.shadow.ram),
        }
    }

    /// What differs in the states, and what that was in `before`.
    pub fn differences(&self, before: &Mark) -> Vec<Difference> {
        differences(before, &self.shadow, &self.real)
    }
}

/// How the difference can be brought about again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The instruction, when a piece of this many instructions is translated that ends with it.
    Piece(u64),
    /// Only with the code as it was translated when the difference was found: it may be some instructions back.
    AsTranslated,
    /// Before another instruction is retired.
    Unretired,
    /// Not at all: it does not come again.
    Lost,
}

/// The first difference, and what led to it.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    pub blame: Blame,
    /// The state before the instruction.
    pub before: Mark,
    pub found: Found,
    pub trail: Trail,
}

/// Finds the instruction behind what was `found` at the end of `round`.
pub(crate) fn explain<E: Checked>(pair: &mut Pair<E>, round: &mut Round, found: Found) -> Explanation {
    let last = found.real.retired.max(found.shadow.retired);
    // As long as the code is as it had been translated.
    let first = first_difference(pair, round, last);
    let as_translated = Found::now(pair, round);
    let again = first.is_some() || pair.differ_at(round, u64::MAX);
    if let Some(end) = walk(pair, round, last) {
        let found = Found::now(pair, round);
        return blame(pair, round, end, Blame::Piece(1), found);
    }
    let Some(first) = first else {
        let why = if again { Blame::Unretired } else { Blame::Lost };
        return blame(pair, round, last.saturating_add(1), why, found);
    };
    match piece(pair, round, first) {
        Some((from, end)) => {
            differs_in_piece(pair, round, from, end);
            let found = Found::now(pair, round);
            blame(pair, round, end, Blame::Piece(end - from), found)
        }
        None => blame(pair, round, first, Blame::AsTranslated, as_translated),
    }
}

/// The explanation that blames what is done when `end` instructions come to be retired.
fn blame<E: Checked>(
    pair: &mut Pair<E>,
    round: &mut Round,
    end: u64,
    blame: Blame,
    found: Found,
) -> Explanation {
    pair.restore_at(round, end - 1);
    let before = pair.shadow.mark();
    let shown = if blame == Blame::AsTranslated { WINDOW } else { SHOWN };
    let trail = trail(pair, round, end, shown);
    Explanation { blame, before, found, trail }
}

/// The first count of instructions at which the engines differ, up to `last`, if each instruction is translated by itself and
/// both stop behind it.
fn walk<E: Checked>(pair: &mut Pair<E>, round: &mut Round, last: u64) -> Option<u64> {
    pair.real.cpu.translate_anew(1);
    pair.restore(round);
    let mut at = Ats::default();
    (round.start.retired + 1..=last).find(|&count| pair.play(round, &mut at, count))
}

/// The first count of instructions at which the engines differ, up to `last`; both stand there then.
fn first_difference<E: Checked>(pair: &mut Pair<E>, round: &mut Round, last: u64) -> Option<u64> {
    let (mut same, mut differ) = (round.start.retired, last);
    if same >= last || !pair.differ_at(round, last) {
        return None;
    }
    while differ - same > 1 {
        let middle = same + (differ - same) / 2;
        if pair.differ_at(round, middle) {
            differ = middle;
        } else {
            same = middle;
        }
    }
    pair.differ_at(round, differ).then_some(differ)
}

/// The shortest piece of code before `end` that shows a difference when it is translated by itself: the count of
/// instructions at its start, and the first count in it at which the engines differ.
fn piece<E: Checked>(pair: &mut Pair<E>, round: &mut Round, end: u64) -> Option<(u64, u64)> {
    let earliest = end.saturating_sub(WINDOW).max(round.start.retired);
    let from = (earliest..end).rev().find(|&from| differs_in_piece(pair, round, from, end))?;
    let end = (from + 1..=end).find(|&end| differs_in_piece(pair, round, from, end))?;
    Some((from, end))
}

/// Whether the engines differ after the instructions from count `from` to `end`, translated as one block.
fn differs_in_piece<E: Checked>(pair: &mut Pair<E>, round: &mut Round, from: u64, end: u64) -> bool {
    let longest = usize::try_from(end - from).unwrap_or(usize::MAX);
    pair.real.cpu.translate_anew(longest);
    let mut at = pair.restore_at(round, from);
    pair.play(round, &mut at, end)
}
