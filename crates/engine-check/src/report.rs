//! The report of a difference, for people.

use crate::compare::Difference;
use crate::explain::{Blame, Explanation};
use crate::memory::Word;
use crate::tape::Stray;
use crate::trail::Place;
use engine_core::Exit;
use engine_interp::Mark;
use fabric_bus::Bus;
use std::fmt::Write;

/// Words of memory that are named.
const WORDS: usize = 16;

/// The report, in lines.
pub(crate) fn report(explanation: &Explanation, bus: &Bus, compared: u64) -> String {
    let mut text = String::from("the translator and the interpreter differ\n");
    let last = culprit(explanation);
    let _ = writeln!(text, "{}\n", headline(explanation, last));
    let trail = &explanation.trail;
    let (before, after) = trail.last.split_at(last.min(trail.last.len()));
    for place in trail.before.iter().chain(before.iter().map(|(place, _)| place)) {
        line(&mut text, ' ', place);
    }
    if let Some((place, _)) = after.first() {
        line(&mut text, '>', place);
    }
    trail.behind.iter().for_each(|place| line(&mut text, ' ', place));
    text.push('\n');
    let found = &explanation.found;
    table(&mut text, &found.differences(&explanation.before));
    words(&mut text, &found.words, bus);
    strays(&mut text, found.real_stray, "translator", "interpreter");
    strays(&mut text, found.shadow_stray, "interpreter", "translator");
    if let Some(did) = found.missed {
        let _ = writeln!(text, "  the translator {did}; the interpreter does not come to a device\n");
    }
    exits(&mut text, found.exits.as_ref());
    let _ = write!(text, "{}\ncompared: {compared} instructions", how(explanation.blame));
    text
}

/// Which of the last steps is to blame: the last one, if the traps before it were the same in both.
fn culprit(explanation: &Explanation) -> usize {
    let steps = &explanation.trail.last;
    let traps = |mark: &Mark| {
        let csr = &mark.hart.csr;
        (csr.scause, csr.sepc, csr.stval, csr.mcause, csr.mepc, csr.mtval)
    };
    let last = steps.len().saturating_sub(1);
    let trapped = last.checked_sub(1).and_then(|n| steps.get(n));
    match trapped {
        Some((_, mark)) if traps(mark) != traps(&explanation.found.real) => 0,
        _ => last,
    }
}

fn headline(explanation: &Explanation, last: usize) -> String {
    let retired = explanation.before.retired;
    let place = explanation.trail.last.get(last).map(|(place, _)| place);
    let Some(place) = place else {
        return format!("after {retired} instructions, at pc {:#x}", explanation.before.hart.pc);
    };
    format!(
        "after {retired} instructions, at pc {:#x} in {:?}-mode: {}",
        place.pc,
        place.mode,
        place.text.replace('\t', " ")
    )
}

fn line(text: &mut String, mark: char, place: &Place) {
    let event = place.event.map(|event| format!("    ({event})")).unwrap_or_default();
    let code = place.text.replace('\t', " ");
    let _ = writeln!(text, "  {mark} {:#018x}  {code}{event}", place.pc);
}

fn table(text: &mut String, differences: &[Difference]) {
    if differences.is_empty() {
        return;
    }
    let mut row = |name: &str, before: &str, interpreter: &str, translator: &str| {
        let _ = writeln!(text, "  {name:<14}{before:<20}{interpreter:<20}{translator}");
    };
    row("", "before", "interpreter", "translator");
    for d in differences {
        row(&d.name, &d.before, &d.interpreter, &d.translator);
    }
    text.push('\n');
}

fn words(text: &mut String, words: &[Word], bus: &Bus) {
    if words.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {:<34}{:<20}translator", "memory", "interpreter");
    for word in words.iter().take(WORDS) {
        let block = bus.blocks().find(|b| (b.offset..b.offset + b.size).contains(&word.offset));
        let address = block.map_or(word.offset, |b| b.base + (word.offset - b.offset));
        let _ = writeln!(text, "  {address:<#34x}{:<#20x}{:#x}", word.shadow, word.real);
    }
    if words.len() > WORDS {
        let _ = writeln!(text, "  and {} more words", words.len() - WORDS);
    }
    text.push('\n');
}

fn strays(text: &mut String, stray: Option<Stray>, who: &str, whom: &str) {
    let Some(Stray { did, other }) = stray else { return };
    let other = other.map_or("does not come to a device".to_owned(), |other| other.to_string());
    let _ = writeln!(text, "  the {who} {did}; the {whom} {other}\n");
}

fn exits(text: &mut String, exits: Option<&(Exit, Exit)>) {
    if let Some((real, shadow)) = exits {
        let _ = writeln!(text, "  the interpreter leaves with {shadow:?}; the translator with {real:?}\n");
    }
}

fn how(blame: Blame) -> String {
    match blame {
        Blame::Piece(1) => "the translator does so whenever it translates this instruction".to_owned(),
        Blame::Piece(n) => format!("the translator does so when it translates the {n} instructions up to this one together"),
        Blame::AsTranslated => "it comes only with the code as it had been translated: the instruction to blame may be one \
                                of those before"
            .to_owned(),
        Blame::Unretired => "it comes before another instruction is retired".to_owned(),
        Blame::Lost => "it did not come again when the same instructions were run once more: what was remembered of memory \
                        or of code may have been wrong, or the guest ran code that it had changed without fence.i; the \
                        instruction is only the last one of the run"
            .to_owned(),
    }
}

/// Memory differs that neither engine was seen to write.
pub(crate) fn untraced(found: &[Word], bus: &Bus, retired: u64) -> String {
    let mut text = format!(
        "the translator and the interpreter differ\nin memory, after {retired} instructions at the latest: a store was made \
         that left no trace in the dirty log\n\n"
    );
    words(&mut text, found, bus);
    text.trim_end().to_owned()
}
