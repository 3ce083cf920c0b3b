//! The differences from QEMU 10 that are known of bare-metal images.
//!
//! An entry looks at the first trap in which the sides differ, with the instruction that was its
//! reason; what comes after it in the same case may differ in any way. Cases in which entries apply
//! are made seldom, so that little is lost.

use crate::explained::{Explained, Right};
use crate::system::{Event, Item, Seen};
use crate::system_case::{Try, arena_at};
use crate::system_runtime::{RAM, RAM_BYTES};
use crate::system_tables::{DATA_PAGE, OUTSIDE};
use isa_riscv::disasm::row_of;
use isa_riscv::{AccessKind, Mode, Pmp};

/// A bare-metal entry: what it covers.
pub type Entry = (Explained, fn(&Seen<'_>) -> bool);

const W: u64 = 4;
const A: u64 = 0x40;
const D: u64 = 0x80;
const A_AND_D: u64 = A | D;
/// Rows that manage a cache block.
const CBO_MANAGEMENT: [&str; 3] = ["cbo.clean", "cbo.flush", "cbo.inval"];

/// Both sides' first trap that differs, if both have one, and the name of the row that Hostel's is at.
fn both(seen: &Seen<'_>) -> Option<(Event, Event, &'static str)> {
    let (Some(ours), Some(theirs)) = seen.first()? else { return None };
    Some((ours, theirs, row_at(seen, &ours)))
}

/// The row that a trap was taken at.
fn row_at(seen: &Seen<'_>, event: &Event) -> &'static str {
    seen.word_at(event).and_then(row_of).map_or("", |row| row.name)
}

/// The first trap that differs is one of Hostel's at one of these rows, and QEMU has none there.
fn only_ours(seen: &Seen<'_>, is_row: impl Fn(&str) -> bool, causes: &[u64]) -> Option<Event> {
    let (Some(ours), theirs) = seen.first()? else { return None };
    let alone = theirs.is_none_or(|theirs| theirs.pc != ours.pc);
    (alone && causes.contains(&ours.cause) && is_row(row_at(seen, &ours))).then_some(ours)
}

/// The two traps are the same but for their values.
fn only_value(ours: &Event, theirs: &Event) -> bool {
    Event { value: theirs.value, ..*ours } == *theirs
}

/// Entries of page tables that only QEMU gave A or D: their offsets in the arena.
fn marked(seen: &Seen<'_>) -> Vec<u64> {
    let grown = |ours: u64, theirs: u64| theirs & !A_AND_D == ours & !A_AND_D && ours & !theirs == 0;
    let entries = seen.items.iter().filter_map(|(item, ours, theirs)| match item {
        Item::Memory(at) if *at < DATA_PAGE * 4096 && grown(*ours, *theirs) => Some(*at),
        _ => None,
    });
    entries.collect()
}

/// The entry that covers one word of memory, which must be part of a page table, with A or D set by
/// one side only.
fn mark(seen: &Seen<'_>, &(item, ours, theirs): &(Item, u64, u64)) -> Option<&'static str> {
    let Item::Memory(at) = item else { return None };
    let differ = ours ^ theirs;
    if at >= DATA_PAGE * 4096 || differ & !A_AND_D != 0 || ours & differ != 0 && theirs & differ != 0 {
        return None;
    }
    let (writable, by_us) = (ours & W != 0, ours & differ != 0);
    let amo = has_row(seen, |row| row.starts_with("amo"));
    if by_us {
        let lone_sc = seen.case.slots.iter().any(|slot| {
            let named = |start: &str| {
                slot.words.iter().any(|w| row_of(*w).is_some_and(|r| r.name.starts_with(start)))
            };
            named("sc.") && !named("lr.")
        });
        // Where PMP forbids the AMO after all, QEMU has set only A.
        return match differ {
            D if amo && writable => Some("amo-loads-first"),
            _ => lone_sc.then_some("sc-to-memory-that-faults"),
        };
    }
    if ours >> 63 == 1 && ours >> 10 & 0xf != 8 {
        return Some("a-and-d-in-a-reserved-pte");
    }
    if write_protected(seen, at) {
        return Some("a-and-d-ignore-pmp");
    }
    match differ {
        A if amo && !writable => Some("amo-loads-first"),
        D if has_row(seen, |row| CBO_MANAGEMENT.contains(&row)) => Some("cbo-sets-d"),
        _ => None,
    }
}

/// Nothing differs but entries of page tables, all of them are covered, and the first one by the entry
/// `name`.
fn only_marks(seen: &Seen<'_>, name: &str) -> bool {
    let mut marks = seen.items.iter().map(|item| mark(seen, item));
    seen.items.first().is_some_and(|item| mark(seen, item) == Some(name)) && marks.all(|mark| mark.is_some())
}

/// PMP keeps S-mode from storing to an entry of the case's tables, as far as the case's start tells.
fn write_protected(seen: &Seen<'_>, at: u64) -> bool {
    let mut pmp = Pmp::new(16);
    for entry in 0..16u8 {
        pmp.set_addr(entry, seen.case.first(&format!("pmpaddr{entry}")));
    }
    pmp.set_cfg_register(0, seen.case.first("pmpcfg0"));
    pmp.set_cfg_register(2, seen.case.first("pmpcfg2"));
    let changed = seen.case.slots.iter().any(|slot| matches!(slot.what, Try::Csr(0x3a0..=0x3bf)));
    changed || !pmp.check(arena_at(seen.place) + at, 8, AccessKind::Store, Mode::S)
}

/// Whether the trap is an access fault.
fn access_fault(event: Option<Event>) -> bool {
    event.is_some_and(|event| matches!(event.cause, 1 | 5 | 7))
}

/// Whether a slot makes a range that ends at 0 of a PMP entry from 8 on.
fn range_to_0(seen: &Seen<'_>) -> bool {
    let made = |word: u32| {
        let rs1 = row_of(word).and_then(|row| row.fields.iter().find(|f| f.name == "rs1"));
        let value = rs1.and_then(|f| seen.case.x.get(f.get(word) as usize)).copied().unwrap_or(0);
        let bytes = value.to_le_bytes().into_iter().enumerate();
        bytes
            .into_iter()
            .any(|(i, byte)| byte >> 3 & 3 == 1 && seen.case.first(&format!("pmpaddr{}", 8 + i)) == 0)
    };
    let slots = seen.case.slots.iter().filter(|slot| slot.what == Try::Csr(0x3a2));
    slots.flat_map(|slot| &slot.words).any(|word| made(*word))
}

/// Whether some slot is of this row.
fn has_row(seen: &Seen<'_>, is_row: impl Fn(&str) -> bool) -> bool {
    let mut words = seen.case.slots.iter().flat_map(|slot| &slot.words);
    words.any(|word| row_of(*word).is_some_and(|row| is_row(row.name)))
}

/// Known differences of bare-metal images.
pub const SYSTEM: &[Entry] = &[
    (
        Explained {
            name: "stale-mtval",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Machine Trap Value Register\": on an illegal instruction, \
                        mtval is 0 or the instruction's bits",
        },
        |seen| {
            both(seen).is_some_and(|(ours, theirs, row)| {
                (row == "mret" || row.starts_with("cbo."))
                    && ours.cause == 2
                    && Some(ours.value) == seen.word_at(&ours).map(u64::from)
                    && only_value(&ours, &theirs)
            })
        },
    ),
    (
        Explained {
            name: "interrupt-order",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Machine Interrupt (mip and mie) Registers\": simultaneous \
                        interrupts are handled in the order MEI, MSI, MTI, SEI, SSI, STI",
        },
        // QEMU: by lowest number.
        |seen| {
            const ORDER: [u64; 6] = [11, 3, 7, 9, 1, 5];
            let place = |cause: u64| ORDER.iter().position(|&number| 1 << 63 | number == cause);
            both(seen).is_some_and(|(ours, theirs, _)| {
                let (a, b) = (place(ours.cause), place(theirs.cause));
                (ours.to_s, ours.pc) == (theirs.to_s, theirs.pc)
                    && a.is_some()
                    && b.is_some_and(|b| a.is_some_and(|a| a < b))
                    && theirs.cause < ours.cause
            })
        },
    ),
    (
        Explained {
            name: "svinval-in-u-mode",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Svinval\"",
        },
        |seen| {
            let is_row = |row: &str| matches!(row, "sfence.w.inval" | "sfence.inval.ir");
            only_ours(seen, is_row, &[2]).is_some_and(|ours| ours.from() == 0)
        },
    ),
    (
        Explained {
            name: "misaligned-amo-is-a-load",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Machine Cause Register\": 6, store/AMO address misaligned",
        },
        |seen| {
            both(seen).is_some_and(|(ours, theirs, row)| {
                row.starts_with("amo")
                    && (ours.cause, theirs.cause) == (6, 4)
                    && (ours.pc, ours.value) == (theirs.pc, theirs.value)
            })
        },
    ),
    (
        Explained {
            name: "misaligned-sc-without-reservation",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"Zalrsc\": if the address is not naturally aligned, an exception \
                        will be generated",
        },
        |seen| only_ours(seen, |row| row.starts_with("sc."), &[6]).is_some(),
    ),
    (
        Explained {
            name: "sc-to-memory-that-faults",
            right: Right::Both,
            paragraph: "Unprivileged ISA, \"Zalrsc\": whether a failing sc accesses memory is not said",
        },
        // Hostel translates, too, which sets A and D.
        |seen| {
            only_ours(seen, |row| row.starts_with("sc."), &[7, 15]).is_some()
                || only_marks(seen, "sc-to-memory-that-faults")
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
            both(seen).is_some_and(|(ours, theirs, row)| {
                row.starts_with("cbo.")
                    && matches!(ours.cause, 7 | 15)
                    && theirs.value == ours.value & !63
                    && only_value(&ours, &theirs)
            })
        },
    ),
    (
        Explained {
            name: "cbo-to-nowhere",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"CMOs\": where neither a load nor a store may access the block, a \
                        store/AMO access fault is raised",
        },
        |seen| {
            let is_row = |row: &str| CBO_MANAGEMENT.contains(&row);
            let nowhere = |value: u64| !(RAM..RAM + RAM_BYTES).contains(&value);
            only_ours(seen, is_row, &[7]).is_some_and(|ours| ours.from() == 3 && nowhere(ours.value))
        },
    ),
    (
        Explained {
            name: "cbo-fault-kind",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"CMOs\": a store page fault if address translation does not permit any \
                        access, a store access fault otherwise",
        },
        // The page may be read, but PMP forbids it.
        |seen| {
            both(seen).is_some_and(|(ours, theirs, row)| {
                CBO_MANAGEMENT.contains(&row)
                    && (ours.cause, theirs.cause) == (7, 15)
                    && (ours.pc, ours.value & !63) == (theirs.pc, theirs.value & !63)
            })
        },
    ),
    (
        Explained {
            name: "cbo-sets-d",
            right: Right::Hostel,
            paragraph: "Unprivileged ISA, \"CMOs\": a cache-block management instruction does not check the dirty \
                        bit and neither raises an exception nor sets the bit",
        },
        // QEMU tries a store where PMP forbids the load. A is set on both sides.
        |seen| only_marks(seen, "cbo-sets-d"),
    ),
    (
        Explained {
            name: "page-table-outside-memory",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Virtual Address Translation Process\", step 2: if accessing pte \
                        violates a PMA or PMP check, raise an access-fault exception",
        },
        |seen| {
            let pages = [(1, 12), (5, 13), (7, 15)];
            seen.case.has_pte(OUTSIDE)
                && both(seen).is_some_and(|(ours, theirs, row)| {
                    // What QEMU says of the address of a cache block is another entry.
                    let low = if row.starts_with("cbo.") { 63 } else { 0 };
                    pages.contains(&(ours.cause, theirs.cause))
                        && (ours.pc, ours.value & !low) == (theirs.pc, theirs.value & !low)
                })
        },
    ),
    (
        Explained {
            name: "no-triggers",
            right: Right::Both,
            paragraph: "Debug Specification, \"Trigger Module Registers\": without Sdtrig they need not be there",
        },
        |seen| {
            let Some((_, Some(theirs))) = seen.first() else { return false };
            let csr = seen.word_at(&theirs).map(|word| word >> 20);
            theirs.cause == 2
                && matches!(csr, Some(0x7a0..=0x7a4))
                && row_at(seen, &theirs).starts_with("csr")
        },
    ),
    (
        Explained {
            name: "a-and-d-in-a-reserved-pte",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Svnapot\": reserved encodings raise a page fault, before A and \
                        D are set",
        },
        |seen| only_marks(seen, "a-and-d-in-a-reserved-pte"),
    ),
    (
        Explained {
            name: "a-and-d-ignore-pmp",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Physical Memory Protection\": PMP checks also apply to \
                        page-table accesses, whose effective privilege mode is S",
        },
        |seen| {
            let marked = marked(seen);
            let fault = seen.first().is_some_and(|(ours, _)| access_fault(ours)) && !marked.is_empty();
            fault && marked.iter().all(|at| write_protected(seen, *at))
                || only_marks(seen, "a-and-d-ignore-pmp")
        },
    ),
    (
        Explained {
            name: "amo-loads-first",
            right: Right::Both,
            paragraph: "Privileged Architecture, \"Addressing and Memory Protection\": if a trap occurs, A and D may be \
                        set although the access is not made",
        },
        // QEMU translates for the load, with its checks, before it looks whether the page may be written.
        |seen| {
            only_marks(seen, "amo-loads-first")
                || both(seen).is_some_and(|(ours, theirs, row)| {
                    row.starts_with("amo")
                        && (ours.cause, theirs.cause) == (15, 7)
                        && (ours.pc, ours.value) == (theirs.pc, theirs.value)
                })
        },
    ),
    (
        Explained {
            name: "tor-up-to-0",
            right: Right::Hostel,
            paragraph: "Privileged Architecture, \"Address Matching\": if pmpaddr of the entry before is not less, the \
                        entry matches no addresses",
        },
        // To QEMU, the entry matches all of memory.
        |seen| {
            let fault = |(ours, theirs)| access_fault(ours) || access_fault(theirs);
            range_to_0(seen) && seen.first().is_some_and(fault)
        },
    ),
];

/// The entry that covers a bare-metal difference.
pub fn explain(seen: &Seen<'_>) -> Option<&'static Explained> {
    SYSTEM.iter().find(|(_, covers)| covers(seen)).map(|(entry, _)| entry)
}
