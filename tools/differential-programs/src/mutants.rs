//! Engines with a planted mistake, each of which the comparison must find.

use crate::compare::ram;
use crate::engines::{Cpu, Engine, INTERP, Kind};
use crate::machine::instruction;
use anyhow::Result;
use engine_core::{Exit, Firmware, Hosted, Vcpu};
use engine_interp::Config;
use fabric_bus::Bus;
use fabric_wire::PendingWord;
use isa_riscv::disasm::{length, row_of};
use isa_riscv::rows::Row;
use isa_riscv::{Hart, Mode};
use random_programs::layout::{RAM, SLOT};
use std::sync::Arc;

/// A step: the hart before and after it, the instruction, memory.
pub struct Step<'a> {
    before: &'a Hart,
    after: &'a mut Hart,
    word: u32,
    row: Option<&'static Row>,
    bus: &'a Bus,
    /// Memory at the address of a store, before it.
    old: Option<(u64, u64)>,
}

/// A mistake.
#[derive(Clone, Copy)]
pub enum Mistake {
    /// None.
    None,
    /// Behind an instruction; it says whether it changed the hart.
    Step(fn(&mut Step<'_>) -> bool),
    /// One instruction too many is counted once something has trapped.
    Count,
}

/// An engine with a mistake.
pub struct Mutant {
    /// Its name.
    name: &'static str,
    /// What is wrong.
    pub about: &'static str,
    mistake: Mistake,
}

impl Mutant {
    /// The engine.
    pub const fn engine(&self) -> Engine {
        Engine { name: self.name, kind: Kind::Stepping(self.mistake) }
    }
}

/// The interpreter one instruction at a time, perhaps with a mistake.
pub struct Stepping {
    cpu: Cpu,
    bus: Arc<Bus>,
    mistake: Mistake,
}

impl Stepping {
    /// The engine.
    ///
    /// # Errors
    /// If the host cannot run the interpreter.
    pub fn boxed(config: Config, mistake: Mistake) -> Result<Cpu> {
        let bus = Arc::clone(&config.bus);
        Ok(Box::new(Stepping { cpu: INTERP.hart(config)?, bus, mistake }))
    }

    /// The instruction at the program counter, wherever in the code that is mapped.
    fn word(&self, hart: &Hart) -> u32 {
        // In the handler of M-mode, `mscratch` is the program's; but there addresses are physical.
        let physical = (RAM..RAM + ram()).contains(&hart.pc);
        let slot = if physical { hart.pc } else { hart.csr.mscratch } & !(SLOT - 1);
        instruction(hart.pc, |at| self.bus.read(slot + at, 2).unwrap_or(0))
    }

    fn step(&mut self) -> Exit {
        let Mistake::Step(mistake) = self.mistake else { return self.cpu.run(1) };
        let before = self.cpu.state().clone();
        let word = self.word(&before);
        let row = row_of(word);
        let old = row.and_then(|row| {
            let field = |name: &str| row.fields.iter().find(|f| f.name == name).map(|f| f.get(word));
            let at = before.x[field("rs1")? as usize].wrapping_add(field("imm_s")? as u64);
            let physical = before.data_mode() == Mode::M && at >= RAM;
            Some((at, self.bus.read(at, 8).ok().filter(|_| physical)?))
        });
        let exit = self.cpu.run(1);
        if exit == Exit::Budget {
            let mut after = self.cpu.state().clone();
            let mut step = Step { before: &before, after: &mut after, word, row, bus: &self.bus, old };
            if mistake(&mut step) {
                self.cpu.with_state(&mut |hart| hart.clone_from(&after));
            }
        }
        exit
    }
}

impl Vcpu for Stepping {
    type State = Hart;

    fn run(&mut self, budget: u64) -> Exit {
        let end = self.cpu.retired().saturating_add(budget);
        while self.cpu.retired() < end {
            match self.step() {
                Exit::Budget => {}
                other => return other,
            }
        }
        Exit::Budget
    }

    fn retired(&self) -> u64 {
        let trapped = matches!(self.mistake, Mistake::Count) && self.cpu.state().csr.mcause != 0;
        self.cpu.retired() + u64::from(trapped)
    }

    fn pending(&self) -> &Arc<PendingWord> {
        self.cpu.pending()
    }

    fn state(&self) -> &Hart {
        self.cpu.state()
    }

    fn with_state(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        self.cpu.with_state(f);
    }

    fn flush_translations(&mut self, va: Option<u64>, asid: Option<u16>) {
        self.cpu.flush_translations(va, asid);
    }

    fn flush_code(&mut self) {
        self.cpu.flush_code();
    }

    fn flush_pages(&mut self) {
        self.cpu.flush_pages();
    }
}

impl Hosted for Stepping {
    fn set_firmware(&mut self, firmware: Firmware) {
        self.cpu.set_firmware(firmware);
    }

    fn answer(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        self.cpu.answer(f);
    }
}

impl Step<'_> {
    fn is(&self, names: &[&str]) -> bool {
        self.row.is_some_and(|row| names.contains(&row.name))
    }

    /// The instruction did what it does, and the next one is behind it.
    fn done(&self) -> bool {
        self.after.pc == self.before.pc.wrapping_add(u64::from(length(self.word)))
            && self.after.mode == self.before.mode
    }

    fn rd(&mut self) -> Option<&mut u64> {
        let field = self.row?.fields.iter().find(|f| matches!(f.name, "rd" | "c_rd" | "c_rs1p"))?;
        let rd = field.get(self.word) as usize;
        if rd == 0 { None } else { self.after.x.get_mut(rd) }
    }
}

/// The mutants.
pub const ALL: &[Mutant] = &[
    Mutant {
        name: "corrupt",
        about: "c.xor and xor spoil bit 17 of a result that is 0",
        mistake: Mistake::Step(|step| {
            let hit = step.is(&["c.xor", "xor"]) && step.done();
            match step.rd() {
                Some(rd) if hit && *rd == 0 => {
                    *rd = 1 << 17;
                    true
                }
                _ => false,
            }
        }),
    },
    Mutant {
        name: "drop",
        about: "sd stores nothing in M-mode, at one of 512 places",
        mistake: Mistake::Step(|step| {
            let hit = step.is(&["sd"]) && step.done();
            if let Some((at, old)) = step.old.filter(|(at, _)| hit && at & 0xfff == 0xe8) {
                // Nobody sees it in the hart.
                let _ = step.bus.write(at, 8, old);
            }
            false
        }),
    },
    Mutant {
        name: "tval",
        about: "mtval of a fault at the end of a page is that of the access, not of the part that faults",
        mistake: Mistake::Step(|step| {
            let csr = &mut step.after.csr;
            let hit =
                step.before.csr.mepc != csr.mepc && matches!(csr.mcause, 13 | 15) && csr.mtval & 0xfff == 0;
            if hit {
                csr.mtval -= 1;
            }
            hit
        }),
    },
    Mutant {
        name: "inexact",
        about: "fdiv.s and fdiv.d do not say that they are inexact",
        mistake: Mistake::Step(|step| {
            let hit =
                step.is(&["fdiv.s", "fdiv.d"]) && step.after.csr.fflags & !step.before.csr.fflags & 1 != 0;
            if hit {
                step.after.csr.fflags &= !1;
            }
            hit
        }),
    },
    Mutant {
        name: "mode",
        about: "an interrupt in U-mode leaves MPP as if it came from S-mode",
        mistake: Mistake::Step(|step| {
            let hit = step.before.mode == Mode::U
                && step.after.mode == Mode::M
                && step.after.csr.mcause >> 63 == 1
                && step.after.csr.mstatus & 3 << 11 == 0;
            if hit {
                step.after.csr.mstatus |= 1 << 11;
            }
            hit
        }),
    },
    Mutant {
        name: "branch",
        about: "bgeu of equal operands below 0 does not jump",
        mistake: Mistake::Step(|step| {
            let field = |name: &str| step.row.and_then(|r| r.fields.iter().find(|f| f.name == name));
            let operand = |name: &str| field(name).map_or(0, |f| step.before.x[f.get(step.word) as usize]);
            let hit = step.is(&["bgeu"]) && operand("rs1") == operand("rs2") && operand("rs1") >> 63 == 1;
            if hit {
                step.after.pc = step.before.pc + 4;
            }
            hit
        }),
    },
    Mutant {
        name: "miscount",
        about: "one instruction too many is counted after a trap",
        mistake: Mistake::Count,
    },
];

/// What is like them but for the mistake: it must not differ, or they prove nothing.
pub const CONTROL: Mutant =
    Mutant { name: "control", about: "nothing is wrong", mistake: Mistake::Step(|_| false) };
