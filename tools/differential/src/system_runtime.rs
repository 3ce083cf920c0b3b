//! The M-mode program around bare-metal cases: it resets the CSRs, runs the cases one after the other,
//! notes every trap, and writes down what a case leaves.
//!
//! A case's program is a page of slots of 16 bytes. After a trap it goes on with the next slot. A trap
//! that is delegated enters a handler in S-mode at the end of the page, which calls M-mode (in a way
//! that is not delegated) to have the trap noted, and returns. The last slot ends the case; so does a
//! full log.

use crate::assembler::Assembler;
use isa_riscv::csr_table::TABLE;

/// Where RAM begins.
pub const RAM: u64 = 0x8000_0000;
/// Bytes of RAM.
pub const RAM_BYTES: u64 = 64 << 20;
/// Where `mtvec` points.
pub const HANDLER: u64 = RAM + 0x1000;
/// The pages of the cases' code.
pub const CODES: u64 = RAM + 0x10_0000;
/// Two pages for every case: constants and what is left in the end; the log.
pub const METAS: u64 = RAM + 0x20_0000;
/// Bytes of those.
pub const META: u64 = 0x2000;
/// Bytes from [`RAM`] that the program around the cases needs: PMP entry 0 grants them.
pub const GRANTED: u64 = 0x40_0000;
/// 64 KiB of page tables and data for every case.
pub const ARENAS: u64 = RAM + 0x100_0000;
/// Bytes of one.
pub const ARENA: u64 = 0x1_0000;
/// The most cases of an image.
pub const CASES: usize = 256;
/// How far above a case's code page it is mapped again, for U-mode.
pub const ALIAS: u64 = 0x40_0000;
/// Writing 0x5555 here ends the machine (SiFive test finisher).
pub const FINISHER: u64 = 0x10_0000;
/// The core-local interruptor.
pub const CLINT: u64 = 0x200_0000;
/// The platform-level interrupt controller, as on the `virt` board.
pub const PLIC: u64 = 0xc00_0000;
/// Its sources.
pub const PLIC_SOURCES: usize = 95;
/// Enable bits of context 0 (M-mode), and how far on those of context 1 (S-mode) are.
pub const PLIC_ENABLE: u64 = PLIC + 0x2000;
/// See [`PLIC_ENABLE`].
pub const PLIC_CONTEXT: i64 = 0x80;
/// The UART: its transmitter is always empty, so that it always interrupts.
pub const UART: u64 = 0x1000_0000;
/// Its source number.
pub const UART_SOURCE: u32 = 10;
/// `mtimecmp` of hart 0.
pub const MTIMECMP: u64 = CLINT + 0x4000;

/// In a code page: the first slot.
pub const SLOTS: u64 = 0x400;
/// `stvec`.
pub const S_VECTOR: u64 = 0xe00;
/// What all entries of the vector jump to.
pub const S_COMMON: u64 = 0xe40;
/// The end of the case.
pub const END: u64 = 0xff0;

/// In a meta page: address of the code page.
pub const CODE_AT: i64 = 0;
/// Where the next trap is noted.
pub const LOG_AT: i64 = 16;
/// Where the log is full.
pub const LOG_END: i64 = 24;
/// Constants of the case.
pub const CONSTANTS: i64 = 64;
/// The integer registers that the case leaves.
pub const LEFT_X: u64 = 0x800;
/// The CSRs that it leaves, in the order of [`left_csrs`].
pub const LEFT_CSRS: u64 = 0x900;
/// The log: records of eight words.
pub const LOG: u64 = 0x1000;
/// Bytes of a record.
pub const LOG_RECORD: u64 = 64;
/// What the words of a record are.
pub const LOG_WORDS: [&str; 8] = ["mcause", "mepc", "mtval", "mstatus", "vector", "scause", "sepc", "stval"];

/// From [`HANDLER`]: the program's own memory, behind the handler's code.
const SAVED: i64 = 1920;
/// From [`HANDLER`]: pointer to the meta page of the case being run.
pub const CURRENT: i64 = SAVED;
const LAST: i64 = SAVED + 8;
const MSTATUS: i64 = SAVED + 16;
const X5: i64 = SAVED + 24;
const X30: i64 = X5 + 32;

/// CSRs that are written down at the end of a case: all that do not count by themselves. `sip` in
/// M-mode is a matter of its own (docs/fidelity.md); `mip` and `mideleg` say as much.
pub fn left_csrs() -> Vec<(&'static str, u16)> {
    let skipped = |n: u16| {
        n == 0x144
            || matches!(n, 0x323..=0x33f | 0x3a4..=0x3af | 0x3c0..=0x3ef | 0x7a0..=0x7ff | 0xb00..=0xbff | 0xc00..=0xcff)
            || matches!(n, 0xf11..=0xfff)
    };
    TABLE.iter().filter(|row| !skipped(row.number)).map(|row| (row.name, row.number)).collect()
}

/// The program, from [`RAM`], for the cases in the places from `first` to before `end`.
pub fn runtime(first: usize, end: usize) -> Vec<u8> {
    let mut a = Assembler::new(RAM);
    a.li(31, 1 << 17);
    a.li(29, HANDLER);
    a.csrrw(0, "mtvec", 29);
    a.li(5, METAS + META * end as u64);
    a.sd(5, LAST, 29);
    a.li(5, METAS + META * first as u64);
    a.sd(5, CURRENT, 29);
    // The UART's "transmitter holding register empty" (IER bit 1), at priority 1.
    a.li(6, UART);
    a.li(7, 2);
    a.op("sb", &[("rs2", 7), ("rs1", 6), ("imm_s", 1)]);
    a.li(6, PLIC);
    a.li(7, 1);
    a.op("sw", &[("rs2", 7), ("rs1", 6), ("imm_s", 4 * i64::from(UART_SOURCE))]);
    let (next, done) = (a.mark(), a.label());
    a.ld(5, CURRENT, 29);
    a.ld(6, LAST, 29);
    a.branch("beq", 5, 6, done);
    reset(&mut a);
    a.ld(6, CODE_AT, 5);
    a.opi("jalr", 0, 6, 0);
    a.bind(done);
    a.li(6, FINISHER);
    a.li(7, 0x5555);
    a.op("sw", &[("rs2", 7), ("rs1", 6), ("imm_s", 0)]);
    let forever = a.mark();
    a.jal(0, forever);
    a.pad_to((HANDLER - RAM) as usize);
    handler(&mut a, next);
    a.pad_to((HANDLER - RAM) as usize + SAVED as usize);
    a.finish()
}

/// Writes the PLIC's thresholds. QEMU's does not look at its enable bits before.
pub fn look_again(a: &mut Assembler) {
    for context in 0..2 {
        a.li(7, PLIC + 0x20_0000 + 0x1000 * context);
        a.op("sw", &[("rs1", 7)]);
    }
}

/// The same CSRs for every case. Nothing but x5 (the case's meta page) need be kept.
fn reset(a: &mut Assembler) {
    a.csrrw(0, "mtvec", 29);
    a.li(6, 0x6000);
    a.csrrw(0, "mstatus", 6);
    let zero = [
        "menvcfg",
        "senvcfg",
        "mie",
        "mip",
        "medeleg",
        "mideleg",
        "satp",
        "mcounteren",
        "scounteren",
        "mcountinhibit",
        "stvec",
        "sscratch",
        "sepc",
        "scause",
        "stval",
        "mscratch",
        "mepc",
        "mcause",
        "mtval",
        "fcsr",
        "pmpcfg0",
        "pmpcfg2",
    ];
    for csr in zero {
        a.csrrw(0, csr, 0);
    }
    for i in 0..16 {
        a.op("csrrw", &[("csr", 0x3b0 + i)]);
    }
    a.li(6, u64::MAX);
    a.csrrw(0, "stimecmp", 6);
    a.li(7, CLINT);
    a.op("sw", &[("rs1", 7)]);
    a.li(7, MTIMECMP);
    a.sd(6, 0, 7);
    a.li(7, PLIC_ENABLE);
    a.op("sw", &[("rs1", 7)]);
    a.op("sw", &[("rs1", 7), ("imm_s", PLIC_CONTEXT)]);
    look_again(a);
    // No reservation and no floating-point number is left from the case before.
    a.op("sc.w", &[("rs1", 5)]);
    for i in 0..32 {
        a.op("fmv.d.x", &[("fd", i)]);
    }
    a.op("sfence.vma", &[]);
    a.op("fence.i", &[]);
}

fn handler(a: &mut Assembler, next: crate::assembler::Label) {
    let common = a.label();
    for _ in 0..16 {
        a.jal(30, common);
    }
    a.bind(common);
    // Loads and stores are M-mode's from here on: x31 is MPRV's bit.
    a.op("csrrc", &[("rd", 31), ("csr", 0x300), ("rs1", 31)]);
    a.sd(31, MSTATUS, 29);
    for i in 0..4 {
        a.sd(5 + i, X5 + 8 * i, 29);
    }
    let (out, end, inside, fix, interrupt) = (a.label(), a.label(), a.label(), a.label(), a.label());
    note(a, end);
    a.csrr(8, "mepc");
    a.csrr(7, "mcause");
    a.branch("blt", 7, 0, interrupt);
    // In the S-mode handler: its trap is done with.
    a.jal(30, inside);
    let not_s = a.label();
    a.branch("bne", 6, 0, not_s);
    a.op("slli", &[("rd", 6), ("rs1", 8), ("shamt", 52)]);
    a.op("srli", &[("rd", 6), ("rs1", 6), ("shamt", 52)]);
    a.li(7, END);
    a.branch("bgeu", 6, 7, end);
    a.li(7, S_VECTOR);
    a.branch("bltu", 6, 7, not_s);
    a.csrr(8, "sepc");
    a.csrr(7, "scause");
    let exception = a.label();
    let back = a.label();
    a.branch("bge", 7, 0, exception);
    // An interrupt is over when nothing is enabled.
    a.csrrw(0, "mie", 0);
    a.jal(0, back);
    a.bind(exception);
    a.jal(30, fix);
    a.op("slli", &[("rd", 6), ("rs1", 8), ("shamt", 52)]);
    a.op("srli", &[("rd", 6), ("rs1", 6), ("shamt", 52)]);
    a.li(7, END);
    a.branch("bgeu", 6, 7, end);
    a.csrrw(0, "sepc", 8);
    a.bind(back);
    a.ld(8, CODE_AT, 5);
    a.li(7, S_COMMON + 4);
    a.op("add", &[("rd", 8), ("rs1", 8), ("rs2", 7)]);
    a.csrrw(0, "mepc", 8);
    a.jal(0, out);
    a.bind(interrupt);
    a.csrrw(0, "mie", 0);
    a.jal(0, out);
    a.bind(not_s);
    a.jal(30, fix);
    a.csrrw(0, "mepc", 8);
    a.bind(out);
    for i in 0..4 {
        a.ld(5 + i, X5 + 8 * i, 29);
    }
    a.op("lui", &[("rd", 31), ("imm_u", 1 << 17)]);
    a.op("mret", &[]);
    // x6: 0 if x8 is in the code page or its alias. It also needs x7.
    a.bind(inside);
    a.ld(6, CODE_AT, 5);
    a.op("xor", &[("rd", 6), ("rs1", 6), ("rs2", 8)]);
    a.op("lui", &[("rd", 7), ("imm_u", i64::from(!(ALIAS as i32) & !0xfff))]);
    a.op("and", &[("rd", 6), ("rs1", 6), ("rs2", 7)]);
    a.opi("jalr", 0, 30, 0);
    resume(a, fix, inside);
    leave(a, end, next);
}

/// Notes the trap; x5 is the case's meta page from here on.
fn note(a: &mut Assembler, end: crate::assembler::Label) {
    a.ld(5, CURRENT, 29);
    a.ld(6, LOG_AT, 5);
    for (i, csr) in ["mcause", "mepc", "mtval", "", "", "scause", "sepc", "stval"].into_iter().enumerate() {
        match i {
            3 => a.ld(7, MSTATUS, 29),
            4 => a.opi("addi", 7, 30, 0),
            _ => a.csrr(7, csr),
        }
        a.sd(7, 8 * i as i64, 6);
    }
    a.opi("addi", 6, 6, LOG_RECORD as i64);
    a.sd(6, LOG_AT, 5);
    a.ld(7, LOG_END, 5);
    a.branch("bgeu", 6, 7, end);
}

/// x8: where to go on after a trap at x8. Outside of the page, the way back is in x1.
fn resume(a: &mut Assembler, fix: crate::assembler::Label, inside: crate::assembler::Label) {
    let (good, again) = (a.label(), a.label());
    a.bind(fix);
    a.sd(30, X30, 29);
    a.jal(30, inside);
    a.branch("beq", 6, 0, good);
    a.opi("addi", 8, 1, -4);
    a.jal(30, inside);
    a.branch("beq", 6, 0, good);
    a.ld(8, CODE_AT, 5);
    a.li(7, END - 16);
    a.op("add", &[("rd", 8), ("rs1", 8), ("rs2", 7)]);
    a.bind(good);
    a.opi("andi", 8, 8, -16);
    a.opi("addi", 8, 8, 16);
    // Never past the end of the page.
    a.op("slli", &[("rd", 7), ("rs1", 8), ("shamt", 52)]);
    a.branch("bne", 7, 0, again);
    a.opi("addi", 8, 8, -16);
    a.bind(again);
    a.ld(30, X30, 29);
    a.opi("jalr", 0, 30, 0);
}

/// Writes down what the case leaves, and goes on to the next.
fn leave(a: &mut Assembler, end: crate::assembler::Label, next: crate::assembler::Label) {
    a.bind(end);
    // Too far for an offset, so in two steps.
    a.opi("addi", 6, 5, 0x7f0);
    a.opi("addi", 6, 6, LEFT_X as i64 - 0x7f0);
    for i in 1..28 {
        match i {
            5..=8 => a.ld(7, X5 + 8 * (i - 5), 29),
            _ => a.opi("addi", 7, i, 0),
        }
        a.sd(7, 8 * i, 6);
    }
    // What shows FS comes first, for reading the floating-point CSRs takes FS on.
    let shows_status = |name: &str| matches!(name, "mstatus" | "sstatus");
    let list: Vec<_> = left_csrs().into_iter().enumerate().collect();
    let (status, others): (Vec<_>, Vec<_>) = list.into_iter().partition(|(_, (name, _))| shows_status(name));
    let note = |a: &mut Assembler, i: usize, number: u16| {
        a.op("csrrs", &[("rd", 7), ("csr", i64::from(number)), ("rs1", 0)]);
        a.sd(7, (LEFT_CSRS - LEFT_X) as i64 + 8 * i as i64, 6);
    };
    status.into_iter().for_each(|(i, (_, number))| note(a, i, number));
    a.op("lui", &[("rd", 7), ("imm_u", 0x6000)]);
    a.op("csrrs", &[("rd", 0), ("csr", 0x300), ("rs1", 7)]);
    others.into_iter().for_each(|(i, (_, number))| note(a, i, number));
    a.op("lui", &[("rd", 6), ("imm_u", META as i64)]);
    a.op("add", &[("rd", 5), ("rs1", 5), ("rs2", 6)]);
    a.sd(5, CURRENT, 29);
    a.op("lui", &[("rd", 31), ("imm_u", 1 << 17)]);
    a.jal(0, next);
}
