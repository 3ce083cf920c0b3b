//! The runtime of a program: the trap handlers, at fixed places in its first page.
//!
//! The handler in M-mode notes each trap in a log and then
//!
//! - on a fetch that faults: ends the program or switches to another context, if the address asks for that; ends it, too,
//!   if the place in the code is the start's or this handler's, where a program that has gone astray must not go on; goes
//!   on at the same place as the context maps it; or, if that is what faulted, in M-mode, which can fetch it all;
//! - on a page fault in the data, every other time: permits everything in the page's table and tries again;
//! - on an illegal instruction while the floating-point unit is off: turns it on and tries again;
//! - on an interrupt: silences what raised it; the timer's may switch context;
//! - otherwise steps over the instruction.
//!
//! The one in S-mode steps over instructions and silences interrupts.

use crate::assembler::{Assembler, Label, number, word};
use crate::layout::{
    CLINT, CONTEXT, CONTEXTS, CURRENT, EXIT, LOG, LOG_AT, LOG_BYTES, RANDOM, RUNTIME, S_HASH, SAVED, SERVICE,
    STATE, TRAPS, record,
};
use crate::op::Program;
use crate::pte::{A, D, R, V, W};
use crate::runtime_start::{exit, start};
use isa_riscv::csr_fields::{irq, mstatus};

/// Where the handler in M-mode is, in the code.
const M_HANDLER: u64 = 0x500;
/// Where the one in S-mode is.
pub const S_HANDLER: u64 = 0xd00;

/// The runtime's code.
pub fn runtime(program: &Program, next: Option<u64>) -> Vec<u8> {
    let mut a = Assembler::new(program.slot);
    start(&mut a, program, program.slot + M_HANDLER);
    a.pad_to(M_HANDLER as usize);
    Handler::new(&mut a, program).all(next);
    a.pad_to(S_HANDLER as usize);
    s_handler(&mut a, program);
    a.pad_to(RUNTIME as usize);
    a.finish()
}

/// The handler in M-mode: x31 points to its state, x27 is the cause, x28 the address of the trap.
struct Handler<'a> {
    a: &'a mut Assembler,
    program: &'a Program,
    out: Label,
    step: Label,
    switch: Label,
    alias: Label,
}

impl<'a> Handler<'a> {
    fn new(a: &'a mut Assembler, program: &'a Program) -> Handler<'a> {
        let [out, step, switch, alias] = [(); 4].map(|()| a.label());
        Handler { a, program, out, step, switch, alias }
    }

    fn all(mut self, next: Option<u64>) {
        self.a.csrrw(31, "mscratch", 31);
        for i in 0..4 {
            self.a.sd(27 + i, SAVED as i64 + 8 * i, 31);
        }
        self.log();
        let [interrupt, fetch, illegal, page] = [(); 4].map(|()| self.a.label());
        self.a.branch("blt", 27, 0, interrupt);
        for (cause, label) in [(12, fetch), (1, fetch), (2, illegal), (13, page), (15, page)] {
            self.a.opi("addi", 29, 27, -cause);
            self.a.branch("beq", 29, 0, label);
        }
        self.a.bind(self.step);
        self.step();
        self.a.bind(self.out);
        self.leave();
        self.a.op("mret", &[]);
        self.a.bind(fetch);
        self.fetch(next);
        self.a.bind(illegal);
        self.illegal();
        self.a.bind(page);
        self.page();
        self.a.bind(interrupt);
        self.interrupt();
    }

    fn leave(&mut self) {
        for i in 0..4 {
            self.a.ld(27 + i, SAVED as i64 + 8 * i, 31);
        }
        self.a.csrrw(31, "mscratch", 31);
    }

    fn log(&mut self) {
        let log = LOG as i64;
        let a = &mut *self.a;
        a.ld(29, LOG_AT as i64, 31);
        a.op("add", &[("rd", 30), ("rs1", 29), ("rs2", 31)]);
        a.opi("addi", 29, 29, 32);
        a.opi("andi", 29, 29, LOG_BYTES as i64 - 1);
        a.sd(29, LOG_AT as i64, 31);
        a.ld(29, TRAPS as i64, 31);
        a.opi("addi", 29, 29, 1);
        a.sd(29, TRAPS as i64, 31);
        a.csrr(29, "mstatus");
        a.sd(29, log + 24, 30);
        a.csrr(27, "mcause");
        a.sd(27, log, 30);
        a.csrr(28, "mepc");
        a.sd(28, log + 8, 30);
        a.csrr(29, "mtval");
        if !self.program.profile.free() {
            // Others' values are stale for some illegal instructions (2), and for a breakpoint (3) the address at which
            // that code was met first, wherever it is mapped besides.
            let other = a.label();
            a.opi("andi", 27, 27, -2);
            a.opi("addi", 27, 27, -2);
            a.branch("bne", 27, 0, other);
            a.opi("addi", 29, 0, 0);
            a.bind(other);
            a.csrr(27, "mcause");
        }
        a.sd(29, log + 16, 30);
    }

    /// Goes on behind the instruction at x28, by its length where the code really is.
    fn step(&mut self) {
        let a = &mut *self.a;
        low_bits(a, 29, 28);
        a.li(30, self.program.slot);
        a.op("add", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        step_by(a, 29, 28);
        a.csrrw(0, "mepc", 28);
    }

    /// A service, the right address for the same place, or M-mode; the end, if the place is none of the program's.
    fn fetch(&mut self, next: Option<u64>) {
        let count = self.program.spaces.contexts.len() as i64;
        let (switch, alias) = (self.switch, self.alias);
        let a = &mut *self.a;
        let end = a.label();
        low_bits(a, 27, 28);
        a.li(30, S_HANDLER);
        a.branch("bltu", 27, 30, end);
        a.op("srli", &[("rd", 29), ("rs1", 28), ("shamt", 16)]);
        a.li(30, SERVICE >> 16);
        a.op("sub", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        a.opi("sltiu", 30, 29, count + 1);
        a.branch("beq", 30, 0, alias);
        a.opi("addi", 29, 29, -(EXIT as i64) - 1);
        a.branch("bge", 29, 0, switch);
        a.bind(end);
        self.leave();
        exit(self.a, self.program, next);
        self.a.bind(switch);
        self.enter_context();
        let a = &mut *self.a;
        a.bind(alias);
        a.ld(29, CURRENT as i64, 31);
        a.ld(30, record::CODE as i64, 29);
        a.op("add", &[("rd", 27), ("rs1", 27), ("rs2", 30)]);
        a.opi("addi", 29, 0, 0);
        a.branch("beq", 27, 28, switch);
        a.csrrw(0, "mepc", 27);
        a.jal(0, self.out);
    }

    /// Switches to the context with number x29, at the same place in the code.
    fn enter_context(&mut self) {
        let (a, registers) = (&mut *self.a, &self.program.registers);
        let csr = |name| ("csr", number(name));
        a.op("slli", &[("rd", 29), ("rs1", 29), ("shamt", i64::from(CONTEXT.trailing_zeros()))]);
        a.op("add", &[("rd", 29), ("rs1", 29), ("rs2", 31)]);
        a.opi("addi", 29, 29, CONTEXTS as i64);
        a.sd(29, CURRENT as i64, 31);
        a.li(30, mstatus::MPRV | mstatus::MPP);
        a.op("csrrc", &[csr("mstatus"), ("rs1", 30)]);
        a.ld(30, record::MPP as i64, 29);
        a.op("csrrs", &[csr("mstatus"), ("rs1", 30)]);
        for (name, field) in
            [("satp", record::SATP), ("stvec", record::STVEC), ("sscratch", record::SSCRATCH)]
        {
            a.ld(30, field as i64, 29);
            a.csrrw(0, name, 30);
        }
        if self.program.spaces.flush {
            a.op("sfence.vma", &[]);
        }
        a.ld(30, record::DATA as i64, 29);
        low_bits(a, 2, 2);
        a.op("add", &[("rd", 2), ("rs1", 2), ("rs2", 30)]);
        a.li(27, crate::layout::BASE);
        a.op("add", &[("rd", registers.base), ("rs1", 27), ("rs2", 30)]);
        a.ld(registers.linear, record::LINEAR as i64, 29);
        a.ld(30, record::CODE as i64, 29);
        low_bits(a, 28, 28);
        a.op("add", &[("rd", 28), ("rs1", 28), ("rs2", 30)]);
        a.csrrw(0, "mepc", 28);
        a.jal(0, self.out);
    }

    fn illegal(&mut self) {
        let (a, csr) = (&mut *self.a, ("csr", number("mstatus")));
        let on = a.label();
        a.csrr(29, "mstatus");
        a.li(30, mstatus::FS);
        a.op("and", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        a.branch("bne", 29, 0, on);
        a.op("csrrs", &[csr, ("rs1", 30)]);
        a.jal(0, self.out);
        a.bind(on);
        // It may have been a fence that somebody waits for.
        a.branch("beq", self.program.registers.busy, 0, self.step);
        a.op("sfence.vma", &[]);
        a.op("fence.i", &[]);
        a.jal(0, self.step);
    }

    fn page(&mut self) {
        let (a, step) = (&mut *self.a, self.step);
        a.csrr(29, "mtval");
        a.ld(27, CURRENT as i64, 31);
        a.ld(30, record::DATA as i64, 27);
        a.op("xor", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        a.op("srli", &[("rd", 30), ("rs1", 29), ("shamt", 16)]);
        a.branch("bne", 30, 0, step);
        a.ld(30, record::PTE as i64, 27);
        a.branch("beq", 30, 0, step);
        a.op("srli", &[("rd", 29), ("rs1", 29), ("shamt", 12)]);
        a.op("sh3add", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        a.ld(27, TRAPS as i64, 31);
        a.opi("andi", 27, 27, 1);
        a.branch("beq", 27, 0, step);
        a.ld(27, 0, 29);
        a.opi("ori", 30, 27, (V | R | W | A | D) as i64);
        a.branch("beq", 27, 30, step);
        a.sd(30, 0, 29);
        a.csrr(29, "mtval");
        a.op("sfence.vma", &[("rs1", 29)]);
        a.jal(0, self.out);
    }

    fn interrupt(&mut self) {
        let a = &mut *self.a;
        a.opi("andi", 27, 27, 63);
        let [timer, software, s_timer, s_software, external] = [(); 5].map(|()| a.label());
        for (number, label) in [(7, timer), (3, software), (5, s_timer), (1, s_software), (9, external)] {
            a.opi("addi", 29, 27, -number);
            a.branch("beq", 29, 0, label);
        }
        a.jal(0, self.out);
        a.bind(software);
        a.li(30, CLINT);
        a.raw(word("sw", &[("rs1", 30)]));
        a.jal(0, self.out);
        for (label, bits) in [(s_software, irq::SSI), (external, irq::SEI)] {
            a.bind(label);
            a.opi("addi", 30, 0, bits as i64);
            a.op("csrrc", &[("csr", number("mip")), ("rs1", 30)]);
            a.jal(0, self.out);
        }
        a.bind(s_timer);
        a.csrr(29, "time");
        a.li(30, 3000 + self.program.chance % 16000);
        a.op("add", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        a.csrrw(0, "stimecmp", 29);
        a.jal(0, self.out);
        a.bind(timer);
        self.timer();
    }

    /// The next time is random; now and then another context is next.
    fn timer(&mut self) {
        let count = self.program.spaces.contexts.len() as i64;
        let mask = [0x7ff, 0xfff, 0x3fff, 0xffff][(self.program.chance >> 4) as usize % 4];
        let (a, out) = (&mut *self.a, self.out);
        a.ld(29, RANDOM as i64, 31);
        for (name, by) in [("slli", 13), ("srli", 7), ("slli", 17)] {
            a.op(name, &[("rd", 30), ("rs1", 29), ("shamt", by)]);
            a.op("xor", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        }
        a.sd(29, RANDOM as i64, 31);
        a.li(30, mask);
        a.op("and", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        a.csrr(30, "time");
        a.op("add", &[("rd", 29), ("rs1", 29), ("rs2", 30)]);
        a.opi("addi", 29, 29, 400);
        a.li(30, CLINT + 0x4000);
        a.sd(29, 0, 30);
        // Not in the handler of S-mode, and not where a fence is due.
        a.branch("bne", self.program.registers.busy, 0, out);
        low_bits(a, 30, 28);
        a.op("srli", &[("rd", 30), ("rs1", 30), ("shamt", 12)]);
        a.branch("beq", 30, 0, out);
        a.ld(29, RANDOM as i64, 31);
        a.op("srli", &[("rd", 29), ("rs1", 29), ("shamt", 40)]);
        a.opi("andi", 29, 29, 15);
        a.opi("slti", 30, 29, count);
        a.branch("beq", 30, 0, out);
        a.jal(0, self.switch);
    }
}

/// The place in its window.
fn low_bits(a: &mut Assembler, rd: i64, rs: i64) {
    a.op("slli", &[("rd", rd), ("rs1", rs), ("shamt", 48)]);
    a.op("srli", &[("rd", rd), ("rs1", rd), ("shamt", 48)]);
}

/// Adds to `pc` the length of the instruction that `code` points to, which is overwritten.
fn step_by(a: &mut Assembler, code: i64, pc: i64) {
    let short = a.label();
    a.opi("lhu", code, code, 0);
    a.opi("andi", code, code, 3);
    a.opi("addi", code, code, -3);
    a.opi("addi", pc, pc, 2);
    a.branch("bne", code, 0, short);
    a.opi("addi", pc, pc, 2);
    a.bind(short);
}

/// The handler in S-mode, which has three registers of its own.
fn s_handler(a: &mut Assembler, program: &Program) {
    let [interrupt, timer, not_illegal] = [(); 3].map(|()| a.label());
    a.csrr(28, "scause");
    a.branch("blt", 28, 0, interrupt);
    a.csrr(29, "sepc");
    low_bits(a, 28, 29);
    a.csrr(30, "sscratch");
    a.op("add", &[("rd", 28), ("rs1", 28), ("rs2", 30)]);
    step_by(a, 28, 29);
    a.csrrw(0, "sepc", 29);
    a.li(28, STATE + S_HASH);
    a.op("add", &[("rd", 30), ("rs1", 30), ("rs2", 28)]);
    a.ld(28, 0, 30);
    a.op("sh1add", &[("rd", 28), ("rs1", 28), ("rs2", 28)]);
    a.op("add", &[("rd", 28), ("rs1", 28), ("rs2", 29)]);
    a.sd(28, 0, 30);
    a.csrr(29, "scause");
    a.opi("addi", 29, 29, -2);
    a.branch("bne", 29, 0, not_illegal);
    // It may have been a fence that somebody waits for.
    let end = a.label();
    a.branch("beq", program.registers.busy, 0, end);
    a.op("sfence.vma", &[]);
    a.bind(end);
    a.op("sret", &[]);
    a.bind(not_illegal);
    let end = a.label();
    if !program.profile.free() {
        // A breakpoint: as above.
        a.opi("addi", 29, 29, -1);
        a.branch("beq", 29, 0, end);
    }
    a.csrr(29, "stval");
    a.op("xor", &[("rd", 28), ("rs1", 28), ("rs2", 29)]);
    a.sd(28, 0, 30);
    a.bind(end);
    a.op("sret", &[]);
    a.bind(interrupt);
    a.opi("andi", 28, 28, 15);
    a.opi("addi", 28, 28, -5);
    a.branch("beq", 28, 0, timer);
    a.op("csrrci", &[("csr", number("sip")), ("zimm", 2)]);
    a.op("sret", &[]);
    a.bind(timer);
    a.csrr(28, "time");
    a.li(29, 700 + program.chance % 8000);
    a.op("add", &[("rd", 28), ("rs1", 28), ("rs2", 29)]);
    a.csrrw(0, "stimecmp", 28);
    a.op("sret", &[]);
}
