//! User-level cases as one Linux program, which both sides run.
//!
//! Every case has a record: its registers and memory, which it overwrites with what it leaves. Code that
//! all cases share loads the registers, jumps to the case, stores the registers and goes on. Signal
//! handlers note the signal in the record and resume at the end of the case.

use crate::assembler::{Assembler, Label, word};
use crate::elf::{Segment, executable};
use crate::random::Random;
use crate::user_case::{Case, SCRATCH_BYTES, Value};

/// Where code begins. Nothing is mapped a megabyte below, nor behind the code.
pub const CODE: u64 = 0x1000_0000;
/// The most code: what `jal` reaches.
pub const CODE_LIMIT: usize = 0xf_0000;
/// Where data begin: a header, then the records.
pub const DATA: u64 = 0x2000_0000;
/// Where the records begin.
pub const RECORDS: u64 = DATA + HEADER;
const HEADER: u64 = 0x8000;
/// A page behind which nothing is mapped.
pub const EDGE: u64 = 0x3000_0000;
/// Bytes of that page.
pub const EDGE_BYTES: u64 = 4096;

/// In a record: the floating-point registers, behind the integer registers.
pub const FLOATS: u64 = 256;
/// `fcsr`.
pub const FCSR: u64 = 512;
const CODE_AT: u64 = 520;
/// Where the case ends.
pub const TAIL_AT: u64 = 528;
/// The signal that ended the case, or 0.
pub const SIGNAL: u64 = 536;
/// `si_addr` of the signal.
pub const SIGNAL_ADDRESS: u64 = 544;
/// Where the signal hit.
pub const SIGNAL_PC: u64 = 552;
/// The case's memory.
pub const SCRATCH: u64 = 576;
/// Bytes of a record: no divisor of a page, so that some case's memory crosses each page.
pub const RECORD: u64 = SCRATCH + SCRATCH_BYTES;

/// In the header: the current record, the end of the records.
pub const CURRENT: u64 = DATA;
const END: i64 = 8;
const SIGACTION: i64 = 16;
const STACK_T: i64 = 48;
const SIGNAL_STACK: u64 = 0x1000;

/// Linux's numbers (the generic table of system calls; asm-generic/signal.h).
pub const SIGILL: u64 = 4;
/// Trace or breakpoint trap.
pub const SIGTRAP: u64 = 5;
/// Bus error.
pub const SIGBUS: u64 = 7;
/// Segmentation violation.
pub const SIGSEGV: u64 = 11;
/// `exit_group`.
pub const EXIT: u64 = 94;
const WRITE: u64 = 64;
const SIGALTSTACK: u64 = 132;
const RT_SIGACTION: u64 = 134;
const RT_SIGRETURN: u64 = 139;
/// SA_SIGINFO, SA_ONSTACK, SA_NODEFER.
const FLAGS: u64 = 4 | 0x0800_0000 | 0x4000_0000;

/// A program of cases.
pub struct Image {
    /// Code, from [`CODE`].
    pub code: Vec<u8>,
    /// Data, from [`DATA`].
    pub data: Vec<u8>,
    /// The page at [`EDGE`].
    pub edge: Vec<u8>,
    /// Index of the first record that is used.
    pub first: usize,
    /// Address of every piece of every case.
    pub pieces: Vec<Vec<u64>>,
    /// The register that the shared code needs.
    pub reserved: u8,
}

/// Address of record `index`.
pub fn record_at(index: usize) -> u64 {
    RECORDS + index as u64 * RECORD
}

impl Image {
    /// The program of `cases`, whose records begin with that number `first`; as many as fit, which
    /// [`Image::pieces`] tells.
    pub fn new(cases: &[Case], first: usize, reserved: u8) -> Image {
        let mut a = Assembler::new(CODE);
        let prologue = a.label();
        let handler = a.label();
        start(&mut a, handler, prologue, first, reserved);
        let epilogue = shared(&mut a, prologue, first, reserved);
        signal_handler(&mut a, handler);
        let mut image =
            Image { code: Vec::new(), data: Vec::new(), edge: edge(), first, pieces: Vec::new(), reserved };
        image.data.resize((HEADER + first as u64 * RECORD) as usize, 0);
        for (i, case) in cases.iter().enumerate() {
            let room = case.pieces.iter().map(|p| p.bytes.len()).sum::<usize>() + 32;
            if a.bytes.len() + room > CODE_LIMIT {
                break;
            }
            let record = record_at(first + i);
            let entry = a.here();
            let mut pieces = Vec::new();
            for piece in &case.pieces {
                pieces.push(a.here());
                a.bytes.extend(&piece.bytes);
            }
            let tail = a.here();
            a.jal(i64::from(reserved), epilogue);
            while !a.bytes.len().is_multiple_of(8) {
                a.bytes.push(0);
            }
            a.bytes.extend(record.to_le_bytes());
            image.data.extend(record_bytes(case, record, &pieces, entry, tail));
            image.pieces.push(pieces);
        }
        image.code = a.finish();
        let end = record_at(first + image.pieces.len());
        image.set_header(END, end);
        image.set_header(SIGACTION, 0);
        image.set_header(SIGACTION + 8, FLAGS);
        image.set_header(STACK_T, DATA + SIGNAL_STACK);
        image.set_header(STACK_T + 16, HEADER - SIGNAL_STACK);
        image
    }

    fn set_header(&mut self, at: i64, value: u64) {
        self.data[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// The program as a file.
    pub fn executable(&self) -> Vec<u8> {
        executable(
            CODE,
            &[
                Segment { address: CODE, code: true, bytes: &self.code },
                Segment { address: DATA, code: false, bytes: &self.data },
                Segment { address: EDGE, code: false, bytes: &self.edge },
            ],
        )
    }

    /// Bytes of records that the program writes out.
    pub fn output_bytes(&self) -> usize {
        self.pieces.len() * RECORD as usize
    }
}

fn edge() -> Vec<u8> {
    let mut random = Random::new(0xed6e, 0);
    (0..EDGE_BYTES).map(|_| random.bits() as u8).collect()
}

fn record_bytes(case: &Case, record: u64, pieces: &[u64], entry: u64, tail: u64) -> Vec<u8> {
    let value = |v: &Value| match *v {
        Value::Plain(v) => v,
        Value::Record(offset) => record.wrapping_add(offset as u64),
        Value::Edge(offset) => EDGE.wrapping_add(offset as u64),
        Value::Code { piece, plus } => pieces.get(piece).copied().unwrap_or(entry).wrapping_add(plus as u64),
    };
    let mut bytes: Vec<u8> = case.x.iter().flat_map(|v| value(v).to_le_bytes()).collect();
    bytes.extend(case.f.iter().flat_map(|v| v.to_le_bytes()));
    for v in [case.fcsr, entry, tail, 0, 0, 0, 0] {
        bytes.extend(v.to_le_bytes());
    }
    bytes.resize(SCRATCH as usize, 0);
    bytes.extend(&case.scratch);
    bytes
}

/// Signal set-up; then the first case.
fn start(a: &mut Assembler, handler: Label, prologue: Label, first: usize, reserved: u8) {
    a.li(8, DATA);
    a.address_of(9, handler);
    a.sd(9, SIGACTION, 8);
    for signal in [SIGILL, SIGTRAP, SIGBUS, SIGSEGV] {
        a.li(10, signal);
        a.opi("addi", 11, 8, SIGACTION);
        a.li(12, 0);
        a.li(13, 8);
        a.li(17, RT_SIGACTION);
        a.op("ecall", &[]);
    }
    a.opi("addi", 10, 8, STACK_T);
    a.li(11, 0);
    a.li(17, SIGALTSTACK);
    a.op("ecall", &[]);
    a.li(i64::from(reserved), record_at(first));
    a.jal(0, prologue);
}

/// The code before and behind every case. Gives the place to jump and link to behind a case.
fn shared(a: &mut Assembler, prologue: Label, first: usize, reserved: u8) -> Label {
    let r = i64::from(reserved);
    let t = if r == 5 { 6 } else { 5 };
    let others: Vec<i64> = (1..32).filter(|&x| x != r).collect();
    a.bind(prologue);
    a.li(t, CURRENT);
    a.sd(r, 0, t);
    // No reservation is left from the case before.
    a.op("sc.w", &[("rd", 0), ("rs1", r), ("rs2", 0)]);
    a.ld(t, FCSR as i64, r);
    a.csrrw(0, "fcsr", t);
    for i in 0..32 {
        a.op("fld", &[("fd", i), ("rs1", r), ("imm_i", FLOATS as i64 + 8 * i)]);
    }
    for &i in &others {
        a.ld(i, 8 * i, r);
    }
    a.ld(r, CODE_AT as i64, r);
    a.opi("jalr", 0, r, 0);
    let epilogue = a.mark();
    a.opi("addi", r, r, 7);
    a.opi("andi", r, r, -8);
    a.ld(r, 0, r);
    for &i in &others {
        a.sd(i, 8 * i, r);
    }
    for i in 0..32 {
        a.op("fsd", &[("fs2", i), ("rs1", r), ("imm_s", FLOATS as i64 + 8 * i)]);
    }
    a.csrr(t, "fcsr");
    a.sd(t, FCSR as i64, r);
    a.li(t, DATA);
    a.ld(t, END, t);
    a.opi("addi", r, r, RECORD as i64);
    a.branch("bne", r, t, prologue);
    for (from, end) in [(record_at(first), true), (EDGE, false)] {
        a.li(11, from);
        a.li(12, EDGE_BYTES);
        if end {
            a.li(12, DATA);
            a.ld(12, END, 12);
            a.op("sub", &[("rd", 12), ("rs1", 12), ("rs2", 11)]);
        }
        a.li(10, 1);
        a.li(17, WRITE);
        a.op("ecall", &[]);
    }
    a.li(10, 0);
    a.li(17, EXIT);
    a.op("ecall", &[]);
    epilogue
}

/// Notes the signal in the current record and makes the case end. It runs on the signal's own stack;
/// returning restores every register. `ucontext` has `pc` at 176, `siginfo` its address at 16.
fn signal_handler(a: &mut Assembler, handler: Label) {
    a.bind(handler);
    a.li(5, CURRENT);
    a.ld(5, 0, 5);
    a.sd(10, SIGNAL as i64, 5);
    a.ld(6, 16, 11);
    a.sd(6, SIGNAL_ADDRESS as i64, 5);
    a.ld(6, 176, 12);
    a.sd(6, SIGNAL_PC as i64, 5);
    a.ld(6, TAIL_AT as i64, 5);
    a.sd(6, 176, 12);
    a.li(17, RT_SIGRETURN);
    a.raw(word("ecall", &[]));
}
