//! The instructions that led to a difference, as the interpreter runs them.

use crate::pair::{Pair, Round};
use crate::side::{At, Checked, Side};
use engine_interp::{Interp, Mark};
use fabric_ram::PAGE;
use isa_riscv::disasm::length;
use isa_riscv::{AccessKind, Mode, disassemble};

/// Instructions behind it.
const BEHIND: usize = 4;
/// Traps and instructions that are looked at for the last one.
const STEPS: usize = 8;

/// An instruction at its address.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub pc: u64,
    pub mode: Mode,
    pub text: String,
    /// It traps, or an interrupt comes in its place.
    pub event: Option<&'static str>,
}

/// What was run, and what comes next in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    pub before: Vec<Place>,
    /// What the interpreter does to retire the last instruction: traps before it, if any, and the state behind each.
    pub last: Vec<(Place, Mark)>,
    pub behind: Vec<Place>,
}

/// What leads from the start of `round` to `end` retired instructions: the last one, and at most `before` before it.
pub(crate) fn trail<E: Checked>(pair: &mut Pair<E>, round: &mut Round, end: u64, before: u64) -> Trail {
    let mut trail = Trail::default();
    pair.restore(round);
    let side = &mut pair.shadow;
    let mut at = At::default();
    let last = end.saturating_sub(1);
    let from = last.saturating_sub(before).max(round.start.retired);
    side.play(&round.legs, &mut at, from);
    for count in from..last {
        let place = here(&mut side.cpu);
        trail.before.push(place);
        side.play(&round.legs, &mut at, count + 1);
    }
    let before = here(&mut side.cpu);
    trail.last = steps(side, round, at, end);
    let blamed = trail.last.last().map_or(&before, |(place, _)| place).pc;
    trail.behind = behind(&mut side.cpu, blamed);
    pair.keep_shadow(&mut round.before);
    trail
}

/// Runs step by step until `end` instructions are retired.
fn steps(side: &mut Side<Interp>, round: &Round, at: At, end: u64) -> Vec<(Place, Mark)> {
    let mut steps = Vec::new();
    if let Some(leg) = round.legs.get(at.leg).filter(|_| !at.begun) {
        side.load(Some(leg), 0);
        side.begin(leg);
    }
    while side.cpu.mark().retired < end && steps.len() < STEPS {
        let place = here(&mut side.cpu);
        let exit = side.cpu.look(end);
        if exit.is_none() && side.cpu.mark().hart.pc != place.pc {
            let place = Place { event: Some("an interrupt comes before"), ..place };
            steps.push((place, side.cpu.mark()));
            continue;
        }
        let retired = side.cpu.mark().retired;
        let exit = exit.or_else(|| side.cpu.step());
        let event = (side.cpu.mark().retired == retired).then_some("traps");
        steps.push((Place { event, ..place }, side.cpu.mark()));
        if exit.is_some() {
            break;
        }
    }
    steps
}

/// The instruction at the program counter.
fn here(interp: &mut Interp) -> Place {
    let pc = interp.cpu().hart.pc;
    place(interp, pc)
}

fn place(interp: &mut Interp, pc: u64) -> Place {
    let mode = interp.cpu().hart.mode;
    let text = word(interp, pc).map_or("(not in memory)".to_owned(), |word| disassemble(word, pc));
    Place { pc, mode, text, event: None }
}

/// The instruction at `pc` as a fetch would find it.
fn word(interp: &mut Interp, pc: u64) -> Option<u32> {
    let low = halfword(interp, pc)?;
    if length(low) == 2 {
        return Some(low);
    }
    Some(low | halfword(interp, pc.wrapping_add(2))? << 16)
}

fn halfword(interp: &mut Interp, va: u64) -> Option<u32> {
    let cpu = interp.cpu_mut();
    let place = cpu.translate(va, 2, AccessKind::Fetch).ok()?;
    cpu.ram.load::<u16>(place.ram?).map(u32::from)
}

/// The instructions behind the one at `pc`, in the same page.
fn behind(interp: &mut Interp, pc: u64) -> Vec<Place> {
    let mut places = Vec::new();
    let mut next = pc;
    while places.len() < BEHIND {
        let Some(word) = word(interp, next) else { break };
        next = next.wrapping_add(u64::from(length(word)));
        if next / PAGE != pc / PAGE {
            break;
        }
        places.push(place(interp, next));
    }
    places
}
