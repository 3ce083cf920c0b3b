//! How a program starts and ends: every register and CSR gets a value, and every last value is left in memory.

use crate::assembler::{Assembler, number};
use crate::layout::{CLINT, CONTEXTS, CURRENT, FINISHER, LEFT, LEFT_CSRS, RUNTIME, STATE, record};
use crate::op::Program;
use isa_riscv::csr_fields::mstatus;

/// CSRs that start with 0, whatever was before.
const ZERO: [&str; 12] = [
    "mie",
    "mip",
    "satp",
    "mcountinhibit",
    "mepc",
    "mcause",
    "mtval",
    "sepc",
    "scause",
    "stval",
    "pmpaddr1",
    "fcsr",
];

/// The start: from M-mode, with anything in the registers.
pub fn start(a: &mut Assembler, program: &Program, handler: u64) {
    let set = |a: &mut Assembler, name: &str, value: u64| {
        a.li(31, value);
        a.csrrw(0, name, 31);
    };
    set(a, "mstatus", mstatus::FS);
    ZERO.iter().for_each(|name| a.csrrw(0, name, 0));
    a.op("sfence.vma", &[]);
    a.op("fence.i", &[]);
    // Entry 0 covers nothing, entry 1 all; the latter comes into force at once, for M-mode needs no entry.
    set(a, "pmpaddr0", 0);
    set(a, "pmpaddr1", (1 << 54) - 1);
    set(a, "pmpcfg0", 0x1f00);
    set(a, "mtvec", handler);
    let state = program.slot + STATE;
    set(a, "mscratch", state);
    a.li(31, state);
    a.li(30, state + CONTEXTS);
    a.sd(30, CURRENT as i64, 31);
    for (name, field) in [("satp", record::SATP), ("stvec", record::STVEC), ("sscratch", record::SSCRATCH)] {
        a.ld(29, field as i64, 30);
        a.csrrw(0, name, 29);
    }
    a.li(31, CLINT);
    a.op("sw", &[("rs1", 31)]);
    a.li(31, CLINT + 0x4000);
    a.li(30, if program.profile.free() { 300 + (program.chance >> 8) % 3000 } else { u64::MAX });
    a.sd(30, 0, 31);
    a.li(31, program.slot + LEFT);
    for i in 0..32 {
        a.op("fld", &[("fd", i), ("rs1", 31), ("imm_i", 256 + 8 * i)]);
    }
    // Interrupts are on with the last one.
    for (name, value) in program.csrs.iter().filter(|(name, _)| *name != "mstatus") {
        a.li(30, *value);
        a.csrrw(0, name, 30);
    }
    let status = program.csrs.iter().find(|(name, _)| *name == "mstatus").map_or(0, |(_, value)| *value);
    a.li(30, status & !mstatus::MIE);
    a.csrrw(0, "mstatus", 30);
    for i in 1..32 {
        if i != 31 {
            a.ld(i, 8 * i, 31);
        }
    }
    a.ld(31, 8 * 31, 31);
    if status & mstatus::MIE != 0 {
        a.op("csrrsi", &[("csr", 0x300), ("zimm", 8)]);
    }
    let distance = (program.slot + RUNTIME) as i64 - a.here() as i64;
    a.op("jal", &[("rd", 0), ("imm_j", distance)]);
}

/// The end: in the handler, all registers as the program left them but x31, which `mscratch` has.
pub fn exit(a: &mut Assembler, program: &Program, next: Option<u64>) {
    a.li(31, program.slot + LEFT);
    for i in 0..31 {
        a.sd(i, 8 * i, 31);
    }
    a.csrr(1, "mscratch");
    a.sd(1, 8 * 31, 31);
    a.csrr(1, "mstatus");
    a.sd(1, 512, 31);
    a.li(2, mstatus::FS);
    a.op("csrrs", &[("csr", number("mstatus")), ("rs1", 2)]);
    for i in 0..32 {
        a.op("fsd", &[("fs2", i), ("rs1", 31), ("imm_s", 256 + 8 * i)]);
    }
    for (i, name) in LEFT_CSRS.into_iter().enumerate().skip(1) {
        a.csrr(1, name);
        a.sd(1, 512 + 8 * i as i64, 31);
    }
    if let Some(next) = next {
        a.li(1, next);
        a.opi("jalr", 0, 1, 0);
    }
    a.li(1, FINISHER);
    a.li(2, 0x5555);
    a.op("sw", &[("rs1", 1), ("rs2", 2)]);
    let here = a.mark();
    a.jal(0, here);
}
