//! Differences that are right: where processors do more than the manual says, and we do not follow.

use crate::case::{Case, is_string};
use crate::compare::Sides;
use crate::explained_amd;
use hostcpu::{CODE, CODE_BYTES, Outcome, RCX, RDI, RSI};
use isa_core::Width;
use isa_x86::{Fault, Meaning};

/// Name and reason of each.
pub const ALL: &[(&str, &str)] = &[
    ("enter", "what `enter` pushes before its frame turns out not to fit is not taken back by processors"),
    (
        "cmpxchg16b",
        "`cmpxchg16b` of an address in SS that is neither aligned nor canonical: either exception is right",
    ),
    (
        "rep-32",
        "`rep movs` and `rep stos` with 32-bit addresses clear the upper halves of their registers even if no element \
         is moved",
    ),
    ("window", "the instruction hit the oracle's own code"),
];

/// Which entry explains the difference, if one does.
pub fn explain(case: &Case, sides: &Sides) -> Option<&'static str> {
    let (meaning, insn) = &case.encoded.insn;
    let both_fault = sides.outcomes_agree() && sides.ours.is_err();
    let same_registers = sides.regs == sides.host_regs;
    if *meaning == Meaning::Enter && both_fault && same_registers {
        return Some("enter");
    }
    let vectors = (sides.ours.err().map(|fault| fault.vector), sides.host);
    if *meaning == Meaning::Cmpxchg16b && matches!(vectors, (Some(12), Outcome::Fault { vector: 13, .. })) {
        return Some("cmpxchg16b");
    }
    let nothing_moved = sides.outcomes_agree() && (sides.ours.is_err() || sides.before.gpr[RCX] as u32 == 0);
    if is_string(*meaning) && insn.address == Width::B4 && nothing_moved && sides.memory.is_none() {
        let mut mine = sides.regs.clone();
        for n in [RCX, RSI, RDI] {
            mine.gpr[n] &= 0xffff_ffff;
        }
        let others = |n: usize| ![RCX, RSI, RDI].contains(&n);
        let kept = (0..16).filter(|&n| others(n)).all(|n| sides.regs.gpr[n] == sides.host_regs.gpr[n]);
        let halves = [RCX, RSI, RDI]
            .iter()
            .all(|&n| [mine.gpr[n], sides.regs.gpr[n]].contains(&sides.host_regs.gpr[n]));
        if kept && halves && mine.rip == sides.host_regs.rip && mine.rflags == sides.host_regs.rflags {
            return Some("rep-32");
        }
    }
    let window = CODE..CODE + CODE_BYTES as u64;
    match sides.ours {
        Err(Fault { address: Some(address), .. }) if window.contains(&address) => Some("window"),
        _ => explained_amd::explain(case, sides),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list in the docs has the same names.
    #[test]
    fn the_docs_have_the_list() {
        let text = include_str!("../../../docs/fidelity.md");
        let section = text.split("\n## ").find(|s| s.starts_with("Differences from processors, x86-64"));
        let rows = section
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let (mut there, mut here): (Vec<&str>, Vec<&str>) =
            (rows.collect(), ALL.iter().chain(explained_amd::ALL).map(|(n, _)| *n).collect());
        there.sort_unstable();
        here.sort_unstable();
        assert_eq!(there, here);
    }
}
