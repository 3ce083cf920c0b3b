//! Machine code of a program, and the contents of its slot.

use crate::assembler::{Assembler, Label, number, word};
use crate::layout::{
    CONTEXT, CONTEXTS, DATA, LEFT, RANDOM, RUNTIME, SCRATCH, SERVICE, SLOT, STATE, TABLES, WINDOW, record,
};
use crate::op::{Function, How, Op, Program};
use crate::registers::LEVELS;
use crate::runtime::runtime;
use isa_riscv::csr_fields::mstatus;

/// The farthest that a conditional branch is trusted to go.
const NEAR: u64 = 3500;
/// Bytes that a function takes from the stack.
const FRAME: i64 = SCRATCH as i64 + 48;
/// Where in them it keeps how often it may call itself.
const SAVED_DEPTH: i64 = SCRATCH as i64 + 8;

/// Code in the making.
struct Emit<'a> {
    a: Assembler,
    program: &'a Program,
    functions: Vec<Label>,
    /// Where instructions are patched; `None` for those that are not there any more.
    slots: Vec<Option<Label>>,
    /// The function being made.
    current: usize,
}

/// The slot of `program` as it is at the start; when it is done, it jumps to `next`, or ends the machine. `None` if its
/// code does not fit.
pub fn image(program: &Program, next: Option<u64>) -> Option<Vec<u8>> {
    let code = code(program)?;
    let mut slot = runtime(program, next);
    slot.resize(RUNTIME as usize, 0);
    slot.extend(code);
    slot.resize(SLOT as usize, 0);
    let mut put = |at: u64, bytes: &[u8]| slot[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    put(DATA, &program.data);
    put(TABLES, &program.spaces.tables);
    let mut put = |at: u64, value: u64| put(at, &value.to_le_bytes());
    put(STATE + RANDOM, program.chance);
    for (context, at) in program.spaces.contexts.iter().zip((STATE + CONTEXTS..).step_by(CONTEXT as usize)) {
        put(at + record::SATP, context.satp);
        put(at + record::MPP, context.mode << 11);
        put(at + record::CODE, context.code);
        put(at + record::DATA, context.data);
        put(at + record::PTE, if context.pte == 0 { 0 } else { program.slot + context.pte });
        put(at + record::STVEC, context.s_code + crate::runtime::S_HANDLER);
        put(at + record::LINEAR, context.linear);
        put(at + record::SSCRATCH, context.s_linear);
    }
    for (i, (x, f)) in program.x.iter().zip(&program.f).enumerate() {
        put(LEFT + 8 * i as u64, *x);
        put(LEFT + 256 + 8 * i as u64, *f);
    }
    Some(slot)
}

/// Everything behind the runtime.
fn code(program: &Program) -> Option<Vec<u8>> {
    let mut a = Assembler::new(program.slot + RUNTIME);
    let functions = program.functions.iter().map(|_| a.label()).collect();
    let mut emit = Emit { a, program, functions, slots: Vec::new(), current: 0 };
    for function in &program.functions {
        emit.find_slots(&function.body);
    }
    for (number, function) in program.functions.iter().enumerate() {
        emit.current = number;
        emit.function(number, function);
    }
    let code = emit.a.finish();
    (code.len() as u64 <= WINDOW - RUNTIME).then_some(code)
}

impl Emit<'_> {
    fn find_slots(&mut self, ops: &[Op]) {
        for op in ops {
            if let Op::Slot { number, .. } = op {
                let label = self.a.label();
                self.slots.resize(self.slots.len().max(number + 1), None);
                self.slots[*number] = Some(label);
            }
            op.bodies().into_iter().for_each(|body| self.find_slots(body));
        }
    }

    fn saved(&self) -> Vec<i64> {
        let registers = &self.program.registers;
        let mut saved = vec![1, registers.depth];
        saved.extend(&registers.counters[..LEVELS]);
        saved
    }

    fn function(&mut self, number: usize, function: &Function) {
        let gap = self.a.bytes.len() + function.gap as usize;
        self.a.pad_to(gap);
        self.a.bind(self.functions[number]);
        if number == 0 {
            self.ops(&function.body);
            self.a.li(1, SERVICE);
            self.a.opi("jalr", 0, 1, 0);
            return;
        }
        let (out, fuel) = (self.a.label(), self.program.registers.fuel);
        self.a.opi("addi", 2, 2, -FRAME);
        for (i, register) in self.saved().into_iter().enumerate() {
            self.a.sd(register, SCRATCH as i64 + 8 * i as i64, 2);
        }
        self.a.opi("addi", fuel, fuel, -1);
        let go_on = self.a.label();
        self.a.branch("bge", fuel, 0, go_on);
        self.a.jal(0, out);
        self.a.bind(go_on);
        self.ops(&function.body);
        self.a.bind(out);
        for (i, register) in self.saved().into_iter().enumerate() {
            self.a.ld(register, SCRATCH as i64 + 8 * i as i64, 2);
        }
        self.a.opi("addi", 2, 2, FRAME);
        match function.tail {
            Some(to) if to < self.functions.len() => self.a.jal(0, self.functions[to]),
            _ if number.is_multiple_of(2) => self.a.op("c.jr", &[("c_rs1", 1)]),
            _ => self.a.opi("jalr", 0, 1, 0),
        }
    }

    fn ops(&mut self, ops: &[Op]) {
        ops.iter().for_each(|op| self.op(op));
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::Code(code) => self.a.bytes.extend(code),
            Op::Loop { level, count, body } => self.a_loop(*level, *count, body),
            Op::If { branch, operands, then, other } => self.a_branch(branch, *operands, then, other),
            Op::Table { index, cases } => self.table(*index, cases),
            Op::Call { to, how, depth } => self.call(*to, *how, *depth),
            Op::Again => {
                let (skip, depth) = (self.a.label(), self.program.registers.depth);
                self.a.opi("addi", depth, depth, -1);
                self.a.branch("bge", 0, depth, skip);
                self.a.jal(1, self.functions[self.current]);
                self.a.bind(skip);
            }
            Op::Slot { number, words } => {
                if let Some(label) = self.slots[*number] {
                    self.a.bind(label);
                }
                words.iter().for_each(|word| self.a.bytes.extend(word.to_le_bytes()));
            }
            Op::Patch { number, word, halves } => self.patch(*number, *word, *halves),
            Op::Go { high } => self.go(*high),
            Op::Middle { operands, outer } => {
                let middle = self.a.label();
                self.a.branch("bltu", operands.0, operands.1, middle);
                let bytes = outer.to_le_bytes();
                self.a.bytes.extend(&bytes[..2]);
                self.a.bind(middle);
                self.a.bytes.extend(&bytes[2..]);
            }
            Op::Beside { code, data } => {
                let (over, beside) = (self.a.label(), self.a.label());
                self.a.address_of(self.program.registers.address[0], beside);
                self.a.bytes.extend(code);
                self.a.to("c.j", &[], "c_jump", over);
                self.a.bind(beside);
                self.a.bytes.extend(data);
                self.a.bind(over);
            }
            Op::PageEnd { back, code } => {
                let start = self.a.label();
                self.a.jal(0, start);
                let end = (self.a.here() + back).next_multiple_of(4096);
                let pad = (end - back - self.a.here()) as usize;
                self.a.pad_to(self.a.bytes.len() + pad);
                self.a.bind(start);
                self.a.bytes.extend(code);
            }
            Op::Return { supervisor, user } => self.a_return(*supervisor, *user),
        }
    }

    fn a_loop(&mut self, level: usize, count: u64, body: &[Op]) {
        let (counter, fuel) = (self.program.registers.counters[level], self.program.registers.fuel);
        let out = self.a.label();
        self.a.li(counter, count);
        let top = self.a.mark();
        self.ops(body);
        self.a.opi("addi", fuel, fuel, -1);
        let far = body.iter().map(Op::most_bytes).sum::<u64>() > NEAR;
        self.a.branch("blt", fuel, 0, out);
        self.a.opi("addi", counter, counter, -1);
        if far {
            self.a.branch("beq", counter, 0, out);
            self.a.jal(0, top);
        } else {
            self.a.branch("bne", counter, 0, top);
        }
        self.a.bind(out);
    }

    fn a_branch(&mut self, name: &'static str, (rs1, rs2): (i64, i64), then: &[Op], other: &[Op]) {
        let (not, end) = (self.a.label(), self.a.label());
        if name.starts_with("c.") {
            self.a.to(name, &[("c_rs1p", rs1)], "c_branch", not);
        } else if then.iter().map(Op::most_bytes).sum::<u64>() > NEAR {
            let near = self.a.label();
            self.a.branch(name, rs1, rs2, near);
            let over = self.a.label();
            self.a.jal(0, over);
            self.a.bind(near);
            self.a.jal(0, not);
            self.a.bind(over);
        } else {
            self.a.branch(name, rs1, rs2, not);
        }
        self.ops(then);
        if !other.is_empty() {
            self.a.jal(0, end);
        }
        self.a.bind(not);
        self.ops(other);
        self.a.bind(end);
    }

    fn table(&mut self, index: i64, cases: &[Vec<Op>]) {
        let [t0, t1, t2] = self.program.registers.address;
        let (table, end) = (self.a.label(), self.a.label());
        self.a.opi("andi", t0, index, 3);
        self.a.address_of(t1, table);
        self.a.op("sh2add", &[("rd", t0), ("rs1", t0), ("rs2", t1)]);
        // Where code cannot be read, the load is stepped over: then it is the first case.
        self.a.opi("addi", t2, 0, 16);
        self.a.opi("lw", t2, t0, 0);
        self.a.op("add", &[("rd", t2), ("rs1", t2), ("rs2", t1)]);
        self.a.opi("jalr", 0, t2, 0);
        let labels: Vec<Label> = (0..4).map(|_| self.a.label()).collect();
        self.a.bind(table);
        labels.iter().for_each(|label| self.a.distance(*label, table));
        for (i, label) in labels.into_iter().enumerate() {
            self.a.bind(label);
            if let Some(case) = cases.get(i) {
                self.ops(case);
            }
            self.a.jal(0, end);
        }
        self.a.bind(end);
    }

    fn call(&mut self, to: usize, how: How, depth: u64) {
        let Some(&function) = self.functions.get(to) else { return };
        let t = self.program.registers.address[2];
        self.a.li(self.program.registers.depth, depth);
        match how {
            How::Direct => self.a.jal(1, function),
            How::Indirect => {
                self.a.address_of(t, function);
                if depth.is_multiple_of(2) {
                    self.a.opi("jalr", 1, t, 0);
                } else {
                    self.a.op("c.jalr", &[("c_rs1", t)]);
                }
            }
            How::Elsewhere => {
                let back = self.a.label();
                self.a.address_of(1, back);
                self.a.address_of(t, function);
                self.a.opi("jalr", 0, t, 0);
                // What a return to the usual place would meet.
                self.a.raw(0);
                self.a.bind(back);
            }
        }
        // Its own depth again: else it would call itself anew after each call, until the stack has run into the code.
        if self.current > 0 {
            self.a.ld(self.program.registers.depth, SAVED_DEPTH, 2);
        }
    }

    fn patch(&mut self, number: usize, patch: u32, halves: bool) {
        let Some(Some(label)) = self.slots.get(number).copied() else { return };
        let [t0, t1, _] = self.program.registers.address;
        let busy = self.program.registers.busy;
        self.a.opi("addi", busy, 0, 1);
        self.a.address_of(t0, label);
        self.a.li(t1, i64::from(patch as i32) as u64);
        if halves {
            self.a.raw(word("sh", &[("rs1", t0), ("rs2", t1)]));
            self.a.op("srli", &[("rd", t1), ("rs1", t1), ("shamt", 16)]);
            self.a.raw(word("sh", &[("rs1", t0), ("rs2", t1), ("imm_s", 2)]));
        } else {
            self.a.raw(word("sw", &[("rs1", t0), ("rs2", t1)]));
        }
        self.a.op("fence.i", &[]);
        self.a.opi("addi", busy, 0, 0);
    }

    /// Jumps to what follows by its place in the window and other high bits.
    fn go(&mut self, high: u64) {
        let [t0, t1, _] = self.program.registers.address;
        let next = self.a.label();
        self.a.address_of(t0, next);
        self.a.op("slli", &[("rd", t0), ("rs1", t0), ("shamt", 48)]);
        self.a.op("srli", &[("rd", t0), ("rs1", t0), ("shamt", 48)]);
        self.a.li(t1, high);
        self.a.op("add", &[("rd", t0), ("rs1", t0), ("rs2", t1)]);
        self.a.opi("jalr", 0, t0, 0);
        self.a.bind(next);
    }

    /// Only if what it returns to is still there: a trap in between has left its own address, to which it would return
    /// again and again. Nor may the context be another by then, which would go on with one's code and the other's stack.
    fn a_return(&mut self, supervisor: bool, user: bool) {
        let [t0, t1, t2] = self.program.registers.address;
        let busy = self.program.registers.busy;
        let next = self.a.label();
        let (epc, status, mode, name) = if supervisor {
            ("sepc", "sstatus", mstatus::SPP, "sret")
        } else {
            ("mepc", "mstatus", mstatus::MPP, "mret")
        };
        let (interrupts, before) =
            if supervisor { (mstatus::SIE, mstatus::SPIE) } else { (mstatus::MIE, mstatus::MPIE) };
        let status = ("csr", number(status));
        self.a.opi("addi", busy, 0, 1);
        self.a.op("csrrci", &[status, ("zimm", interrupts as i64)]);
        self.a.address_of(t0, next);
        self.a.csrrw(0, epc, t0);
        self.a.li(t1, mode);
        self.a.op(if user { "csrrc" } else { "csrrs" }, &[status, ("rs1", t1)]);
        self.a.li(t1, before);
        self.a.op("csrrs", &[status, ("rs1", t1)]);
        self.a.opi("addi", t2, 0, 0);
        self.a.csrr(t2, epc);
        self.a.branch("bne", t0, t2, next);
        self.a.op(name, &[]);
        self.a.bind(next);
        self.a.opi("addi", busy, 0, 0);
    }
}
