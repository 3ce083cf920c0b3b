//! The differences from QEMU 10 that are known, each with the paragraph that decides who is right.
//!
//! `docs/fidelity.md` has the same list in its section "Differences from QEMU 10". A difference that no
//! entry covers fails the comparison.

use crate::explained_system::SYSTEM;
use crate::user::Seen;
use crate::user_image::{FLOATS, SCRATCH, SIGBUS, SIGILL, SIGNAL, SIGNAL_ADDRESS, SIGNAL_PC, SIGSEGV};
use isa_riscv::disasm::row_of;

/// Who follows the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Hostel does.
    Hostel,
    /// Both do: the manual leaves it open.
    Both,
}

/// One known difference.
pub struct Explained {
    /// Its name in the documentation.
    pub name: &'static str,
    /// Who is right.
    pub right: Right,
    /// The paragraph that says so.
    pub paragraph: &'static str,
}

/// A user-level entry: what it covers.
type UserEntry = (Explained, fn(&Seen<'_>) -> bool);

/// Known differences of user-level programs.
pub const USER: &[UserEntry] = &[
    (
        Explained {
            name: "svinval-in-u-mode",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Svinval\"",
        },
        |seen| {
            matches!(ended_at(seen), "sfence.w.inval" | "sfence.inval.ir")
                && seen.words(SIGNAL) == (SIGILL, 0)
        },
    ),
    (
        Explained {
            name: "misaligned-sc-without-reservation",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"Zalrsc\": if the address is not naturally aligned, an exception \
                        will be generated",
        },
        |seen| ended_at(seen).starts_with("sc.") && seen.words(SIGNAL) == (SIGBUS, 0),
    ),
    (
        Explained {
            name: "sc-to-memory-that-faults",
            right: Right::Both,
            paragraph: "Unprivileged ISA, \"Zalrsc\": whether a failing sc accesses memory is not said",
        },
        |seen| ended_at(seen).starts_with("sc.") && seen.words(SIGNAL) == (SIGSEGV, 0),
    ),
    (
        Explained {
            name: "sc.w-after-lr.d",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"Zalrsc\": if the sc fails, the instruction does not write to memory",
        },
        // QEMU stores the word and says that it has not.
        |seen| {
            let has = |name| seen.rows().any(|row| row == name);
            has("lr.d") && has("sc.w") && matches!(seen.offsets()[..], [at] if at >= SCRATCH)
        },
    ),
    (
        Explained {
            name: "sc-after-a-system-call",
            right: Right::Both,
            paragraph: "Unprivileged ISA, \"Zalrsc\": an sc may fail if there is more than a simple sequence between it \
                        and the lr; here, a trap ends the reservation",
        },
        |seen| {
            let has = |name: &str| seen.rows().any(|row| row.starts_with(name));
            let failed = seen.offsets().iter().any(|at| *at < FLOATS && seen.words(*at) == (1, 0));
            has("lr.") && has("ecall") && has("sc.") && failed
        },
    ),
    (
        Explained {
            name: "vector-whole-register-loads",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"V\": without it, its encodings are reserved",
        },
        |seen| {
            let word = seen.instruction_at(seen.words(SIGNAL_PC).0).unwrap_or(0);
            matches!(word & 0x1ff0_007f, 0x0280_0007 | 0x0280_0027) && seen.words(SIGNAL).0 == SIGILL
        },
    ),
    (
        Explained {
            name: "cbo-fault-address",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"CMOs\": on faults, the faulting virtual address is considered to be \
                        the value in rs1, rather than the base address of the cache block",
        },
        |seen| {
            let (ours, theirs) = seen.words(SIGNAL_ADDRESS);
            seen.offsets() == [SIGNAL_ADDRESS]
                && ended_at(seen).starts_with("cbo.")
                && theirs == if (ours << 16) as i64 >> 16 == ours as i64 { ours & !63 } else { theirs }
        },
    ),
    (
        Explained {
            name: "si-addr-beyond-the-host",
            right: Right::Hostel,
            paragraph: "Linux: si_addr of SIGSEGV is the address of the fault",
        },
        |seen| {
            let (ours, theirs) = seen.words(SIGNAL_ADDRESS);
            seen.offsets() == [SIGNAL_ADDRESS] && theirs == 0 && (ours << 16) as i64 >> 16 != ours as i64
        },
    ),
];

/// The row at which Hostel says that the case ended.
fn ended_at(seen: &Seen<'_>) -> &'static str {
    let word = seen.instruction_at(seen.words(SIGNAL_PC).0);
    word.and_then(row_of).map_or("", |row| row.name)
}

/// The entry that covers a user-level difference.
pub fn user(seen: &Seen<'_>) -> Option<&'static Explained> {
    USER.iter().find(|(_, covers)| covers(seen)).map(|(entry, _)| entry)
}

/// Who is right about the differences of that name, and by which paragraph.
pub fn reason(name: &str) -> String {
    let mut all = USER.iter().map(|(entry, _)| entry).chain(SYSTEM.iter().map(|(entry, _)| entry));
    let Some(entry) = all.find(|entry| entry.name == name) else { return String::new() };
    let who = match entry.right {
        Right::Hostel => "Hostel follows",
        Right::Both => "left open by",
    };
    format!("{who} {}", entry.paragraph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_documentation_has_the_same_list() {
        let text = include_str!("../../../docs/fidelity.md");
        let section = text.split("\n## Differences from QEMU 10\n").nth(1).expect("the section");
        let lines = section.split("\n## ").next().unwrap_or_default().lines();
        let row = |line: &'static str| -> Option<(&str, &str)> {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, rest.rsplit(" | ").nth(1)?))
        };
        let documented: BTreeSet<_> = lines.filter_map(row).collect();
        let entries = USER.iter().map(|(entry, _)| entry).chain(SYSTEM.iter().map(|(entry, _)| entry));
        let right = |entry: &Explained| if entry.right == Right::Hostel { "Hostel" } else { "Both" };
        assert_eq!(documented, entries.map(|entry| (entry.name, right(entry))).collect());
    }
}
