//! What programs do: instructions by mode, traps, and which rows are executed.

use crate::compare::{LONGEST, machine};
use crate::engines::Engine;
use crate::machine::{End, instruction};
use anyhow::Result;
use fabric_bus::Bus;
use isa_riscv::disasm::row_of;
use isa_riscv::{Hart, Mode, ROWS};
use random_programs::layout::{RANDOM_PAGES, RUNTIME, SERVICE, SLOT, STACK, TABLE_PAGES, TABLES, WINDOW};
use random_programs::pte::{A, D};
use random_programs::{Program, image};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A page-table entry that has lost A and D to an instruction of the program, until something sets them again.
#[derive(Default)]
struct Marks {
    lost: Option<(u64, u64)>,
}

impl Marks {
    /// Looks at an instruction that has run, `row` of the program in `slot` or none of it; `from` is the first operand's
    /// value before it. True if it is an access that has set the marks again.
    fn look(&mut self, bus: &Bus, slot: u64, row: &str, from: u64) -> bool {
        let entry = |at| bus.read(at, 8).unwrap_or(0);
        let at = slot + (from & (SLOT - 1));
        let tables = slot + TABLES..slot + TABLES + TABLE_PAGES * 4096;
        if row == "amoand.d" && tables.contains(&at) {
            self.lost = Some((at, entry(at))).filter(|(_, entry)| entry & (A | D) == 0);
        } else if let Some((own, old)) = self.lost
            && entry(own) != old
        {
            self.lost = None;
            return !row.is_empty() && at != own && entry(own) & !(A | D) == old;
        }
        false
    }
}

/// Counts over programs.
#[derive(Default)]
pub struct Coverage {
    programs: u64,
    /// Programs that came to their end.
    pub done: u64,
    retired: u64,
    /// Instructions in U, S, M; those of the runtime; those under translation.
    modes: [u64; 3],
    runtime: u64,
    translated: u64,
    rows: BTreeMap<&'static str, u64>,
    /// Traps by the mode they go to and come from, and cause.
    traps: BTreeMap<(char, char, u64), u64>,
    ends: BTreeMap<String, u64>,
    /// How often an access set marks of a page-table entry that the program had taken away.
    pub marks: u64,
    /// Programs that did what none may do.
    pub astray: u64,
}

fn letter(mode: Mode) -> char {
    match mode {
        Mode::U => 'U',
        Mode::S => 'S',
        Mode::M => 'M',
    }
}

/// The trap on the way from one state to the next: to where, from where, cause.
fn trap(before: &Hart, after: &Hart) -> Option<(char, char, u64)> {
    // The trap itself is no instruction: the handler's first one is.
    let trap = match after.pc & (WINDOW - 1) {
        0x504 => Some(('M', letter(before.mode), after.csr.mcause)),
        0xd04 => Some(('S', letter(before.mode), after.csr.scause)),
        _ => None,
    };
    trap.filter(|_| before.pc & (WINDOW - 1) >= RUNTIME || after.pc.wrapping_sub(before.pc) != 4)
}

/// What an instruction of the program did that none of it may do.
fn astray(image: &[u8], before: &Hart, after: &Hart, trapped: bool) -> Option<&'static str> {
    let code = image.get((before.pc & (WINDOW - 1)) as usize..)?;
    if code.iter().take(64).all(|byte| *byte == 0) {
        return Some("runs off");
    }
    // Below its pages are others' data, and then code.
    if !(RANDOM_PAGES * 4096..=STACK).contains(&(after.x[2] & (WINDOW - 1))) {
        return Some("leaves its stack");
    }
    let runtime = after.pc & (WINDOW - 1) < RUNTIME;
    (runtime && !trapped && after.pc != SERVICE).then_some("jumps into the runtime")
}

impl Coverage {
    /// Runs `program`, one instruction after the other.
    ///
    /// # Errors
    /// If the host gives no memory.
    pub fn add(&mut self, engine: Engine, program: &Program) -> Result<()> {
        let Some(image) = image(program, None) else { return Ok(()) };
        let mut machine = machine(engine, program, &image)?;
        let mut marks = Marks::default();
        self.programs += 1;
        for stop in 1..=LONGEST {
            let before = machine.cpu.state().clone();
            let word = instruction(before.pc, |at| machine.bus.read(program.slot + at, 2).unwrap_or(0));
            machine.run_to(stop);
            let after = machine.cpu.state();
            self.retired += 1;
            self.modes[(before.mode as usize).min(2)] += 1;
            self.runtime += u64::from(before.pc & (WINDOW - 1) < RUNTIME);
            self.translated += u64::from(before.mode != Mode::M && before.csr.satp >> 60 != 0);
            let (row, own) = (row_of(word), before.pc & (WINDOW - 1) >= RUNTIME);
            let first = row.and_then(|row| row.fields.iter().find(|field| field.name == "rs1"));
            let from = first.map_or(0, |field| before.x[field.get(word) as usize]);
            let name = row.filter(|_| own).map_or("", |row| row.name);
            self.marks += u64::from(marks.look(&machine.bus, program.slot, name, from));
            let trap = trap(&before, after);
            if own && let Some(what) = astray(&image, &before, after, trap.is_some()) {
                println!("{:?} {what} at {stop}: {:#x}", program.name, before.pc);
                self.astray += 1;
                return Ok(());
            }
            match trap {
                Some(trap) => *self.traps.entry(trap).or_default() += 1,
                None => *self.rows.entry(row.map_or("none", |row| row.name)).or_default() += 1,
            }
            match machine.end() {
                End::Stop => {}
                End::Done => {
                    self.done += 1;
                    return Ok(());
                }
                End::Other(why) => {
                    *self.ends.entry(why.clone()).or_default() += 1;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A table.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let percent = |n: u64| 100.0 * n as f64 / self.retired.max(1) as f64;
        let _ = writeln!(
            text,
            "{} programs, {} to their end, {} instructions",
            self.programs, self.done, self.retired
        );
        let _ = writeln!(
            text,
            "U {:.1} %, S {:.1} %, M {:.1} %; {:.1} % in the runtime, {:.1} % translated",
            percent(self.modes[0]),
            percent(self.modes[1]),
            percent(self.modes[2]),
            percent(self.runtime),
            percent(self.translated)
        );
        for ((to, from, cause), count) in &self.traps {
            let kind = if cause >> 63 == 1 { "interrupt" } else { "exception" };
            let _ = writeln!(text, "{kind} {} from {from} to {to}: {count}", cause & 63);
        }
        for (why, count) in &self.ends {
            let _ = writeln!(text, "{count} ended otherwise: {why}");
        }
        let _ = writeln!(text, "{} page-table entries marked again by accesses", self.marks);
        let missing: Vec<&str> = ROWS.iter().map(|r| r.name).filter(|n| !self.rows.contains_key(n)).collect();
        let _ = writeln!(
            text,
            "{} of {} rows executed; not: {}",
            ROWS.len() - missing.len(),
            ROWS.len(),
            missing.join(" ")
        );
        text
    }
}
