//! What programs do: instructions by mode, traps, and which rows are executed.

use crate::compare::{LONGEST, machine};
use crate::engines::Engine;
use crate::machine::{End, instruction};
use anyhow::Result;
use isa_riscv::disasm::row_of;
use isa_riscv::{Mode, ROWS};
use random_programs::layout::{SERVICE, WINDOW};
use random_programs::{Program, image};
use std::collections::BTreeMap;
use std::fmt::Write;

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
}

fn letter(mode: Mode) -> char {
    match mode {
        Mode::U => 'U',
        Mode::S => 'S',
        Mode::M => 'M',
    }
}

impl Coverage {
    /// Runs `program`, one instruction after the other.
    ///
    /// # Errors
    /// If the host gives no memory.
    pub fn add(&mut self, engine: Engine, program: &Program) -> Result<()> {
        let Some(image) = image(program, None) else { return Ok(()) };
        let mut machine = machine(engine, program, &image)?;
        self.programs += 1;
        for stop in 1..=LONGEST {
            let before = machine.cpu.state().clone();
            let word = instruction(before.pc, |at| machine.bus.read(program.slot + at, 2).unwrap_or(0));
            machine.run_to(stop);
            let after = machine.cpu.state();
            self.retired += 1;
            self.modes[(before.mode as usize).min(2)] += 1;
            self.runtime += u64::from(before.pc & (WINDOW - 1) < 0x1000);
            self.translated += u64::from(before.mode != Mode::M && before.csr.satp >> 60 != 0);
            // The trap itself is no instruction: the handler's first one is.
            let trap = match after.pc & (WINDOW - 1) {
                0x504 => Some(('M', letter(before.mode), after.csr.mcause)),
                0xd04 => Some(('S', letter(before.mode), after.csr.scause)),
                _ => None,
            };
            let trap =
                trap.filter(|_| before.pc & (WINDOW - 1) >= 0x1000 || after.pc.wrapping_sub(before.pc) != 4);
            let jumped = before.pc & (WINDOW - 1) >= 0x1000 && after.pc & (WINDOW - 1) < 0x1000;
            let empty = image[(before.pc & (WINDOW - 1)) as usize..].iter().take(64).all(|b| *b == 0);
            if empty {
                println!("{:?} runs off at {stop}: {:#x}", program.name, before.pc);
                return Ok(());
            }
            if jumped && trap.is_none() && after.pc != SERVICE {
                println!(
                    "{:?} jumps into the runtime at {stop}: {:#x} {:#x} ",
                    program.name, before.pc, after.pc
                );
                return Ok(());
            }
            match trap {
                Some(trap) => *self.traps.entry(trap).or_default() += 1,
                None => *self.rows.entry(row_of(word).map_or("none", |row| row.name)).or_default() += 1,
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
