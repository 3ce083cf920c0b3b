//! One bare-metal case: the state it starts in, and its slots.

use crate::assembler::{Assembler, word};
use crate::random::Random;
use crate::system_runtime::{
    ARENA, ARENAS, CLINT, CODES, CONSTANTS, END, LOG, LOG_AT, LOG_END, META, METAS, MTIMECMP, PLIC_CONTEXT,
    PLIC_ENABLE, S_COMMON, S_VECTOR, SLOTS, UART_SOURCE, look_again,
};
use crate::system_start::{Draft, TEMPORARY};
use crate::system_tables::DATA_PAGE;
use isa_riscv::ROWS;
use isa_riscv::csr_table;
use isa_riscv::rows::{Kind, flag};

/// What a slot tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// An access to the CSR with this number.
    Csr(u16),
    /// A load, store, atomic or cache-block instruction.
    Access,
    /// A jump.
    Jump,
    /// A change of mode.
    Return,
    /// An instruction that traps, or may.
    Trap,
    /// `wfi`
    Wait,
    /// A change to a page table, and a fence.
    Fence,
}

/// Sixteen bytes of program.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What it tries.
    pub what: Try,
    /// Its instructions.
    pub words: Vec<u32>,
}

/// MSIP, MTIP, MEIP and SEIP as the CLINT and the PLIC drive them.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Lines {
    pub msip: bool,
    pub mtip: bool,
    pub meip: bool,
    pub seip: bool,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// CSRs and their values at the start.
    pub csrs: Vec<(&'static str, u64)>,
    /// x1 to x27 at the start.
    pub x: [u64; 28],
    /// The slots.
    pub slots: Vec<Slot>,
    /// Tables and data.
    pub arena: Vec<u8>,
    /// `mstatus` at the start, and the address where the slots are run.
    pub mstatus: u64,
    /// Which address.
    pub pc: u64,
    /// How the handler in S-mode calls M-mode.
    pub escape: u32,
    /// The interrupt lines that are up.
    pub lines: Lines,
}

/// Address of a case's code page.
pub fn code_at(index: usize) -> u64 {
    CODES + index as u64 * 4096
}

/// Address of a case's meta page.
pub fn meta_at(index: usize) -> u64 {
    METAS + index as u64 * META
}

/// Address of a case's arena.
pub fn arena_at(index: usize) -> u64 {
    ARENAS + index as u64 * ARENA
}

impl Case {
    /// A random case, which will be number `index` of an image for a hart with or without C; the last
    /// one of an image may lock PMP entries.
    pub fn new(random: &mut Random, index: usize, last: bool, compressed: bool) -> Case {
        let mut draft = Draft::new(random, index, last, compressed);
        draft.start();
        draft.slots();
        draft.case
    }

    /// A case in place number `index` in which nothing has been chosen.
    pub fn empty(index: usize) -> Case {
        Case {
            csrs: Vec::new(),
            x: [0; 28],
            slots: Vec::new(),
            arena: Vec::new(),
            mstatus: 0,
            pc: code_at(index) + SLOTS,
            escape: word("ecall", &[]),
            lines: Lines::default(),
        }
    }

    /// The first value that a CSR is given; 0 if it is left as it is.
    pub fn first(&self, csr: &str) -> u64 {
        self.csrs.iter().find(|(name, _)| *name == csr).map_or(0, |(_, value)| *value)
    }

    /// Whether its page tables have this entry.
    pub fn has_pte(&self, pte: u64) -> bool {
        self.arena.chunks(8).take(DATA_PAGE as usize * 512).any(|bytes| bytes == pte.to_le_bytes())
    }

    /// The case's code page, for the place number `index`.
    pub fn code(&self, index: usize) -> Vec<u8> {
        let base = code_at(index);
        let mut a = Assembler::new(base);
        let mut constant = CONSTANTS;
        let mut next = || {
            constant += 8;
            constant - 8
        };
        a.opi("addi", 30, 5, 0);
        for (csr, _) in &self.csrs {
            a.ld(6, next(), 30);
            a.csrrw(0, csr, 6);
        }
        a.li(6, CLINT);
        a.li(7, u64::from(self.lines.msip));
        a.op("sw", &[("rs2", 7), ("rs1", 6)]);
        if self.lines.mtip {
            a.li(6, MTIMECMP);
            a.sd(0, 0, 6);
        }
        a.li(6, PLIC_ENABLE);
        for (up, context) in [(self.lines.meip, 0), (self.lines.seip, PLIC_CONTEXT)] {
            a.li(7, u64::from(up) << UART_SOURCE);
            a.op("sw", &[("rs2", 7), ("rs1", 6), ("imm_s", context)]);
        }
        look_again(&mut a);
        a.ld(6, next(), 30);
        a.csrrw(0, "mepc", 6);
        for i in 1..28 {
            a.ld(i, next(), 30);
        }
        a.ld(TEMPORARY, next(), 30);
        a.csrrw(0, "mstatus", TEMPORARY);
        a.op("mret", &[]);
        a.pad_to(SLOTS as usize);
        for slot in &self.slots {
            let end = a.bytes.len() + 16;
            slot.words.iter().for_each(|w| a.raw(*w));
            while a.bytes.len() < end {
                a.raw(if end - a.bytes.len() == 2 { word("c.nop", &[]) } else { word("addi", &[]) });
            }
        }
        let (common, ending) = (a.label(), a.label());
        a.jal(0, ending);
        a.pad_to(S_VECTOR as usize);
        for _ in 0..16 {
            a.jal(TEMPORARY, common);
        }
        a.pad_to(S_COMMON as usize);
        a.bind(common);
        a.bytes.extend(self.escape.to_le_bytes());
        a.op("sret", &[]);
        a.pad_to(END as usize);
        a.bind(ending);
        a.bytes.extend(self.escape.to_le_bytes());
        a.pad_to(4096);
        a.finish()
    }

    /// The case's meta page.
    pub fn meta(&self, index: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for v in [code_at(index), 0, meta_at(index) + LOG, meta_at(index) + META, 0, 0, 0, 0] {
            bytes.extend(v.to_le_bytes());
        }
        debug_assert_eq!((LOG_AT, LOG_END, CONSTANTS), (16, 24, 64));
        let constants = self.csrs.iter().map(|c| c.1).chain([self.pc]);
        let constants = constants.chain(self.x[1..].iter().copied()).chain([self.mstatus]);
        constants.for_each(|v| bytes.extend(v.to_le_bytes()));
        bytes
    }
}

/// The CSR's name, or its number.
pub fn csr_text(number: u16) -> String {
    csr_table::csr_name(number).map_or_else(|| format!("{number:#x}"), str::to_string)
}

/// Rows that a bare-metal comparison must reach: those that user programs cannot execute.
pub fn rows() -> impl Iterator<Item = &'static isa_riscv::rows::Row> {
    ROWS.iter().filter(|row| {
        row.flags & flag::PRIVILEGED != 0
            || row.fields.iter().any(|f| f.kind == Kind::Csr)
            || matches!(row.name, "ecall" | "ebreak" | "c.ebreak")
    })
}
