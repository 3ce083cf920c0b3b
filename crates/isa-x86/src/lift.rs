//! Lifting: the meanings run on an IR builder.
//!
//! The size of code and of the stack are constants of the block, so they belong to its key, as do CS's limit and base
//! where they matter. Instructions of the system architecture are left to the interpreter ([`INTERPRET`]).

use crate::ops::{Effects, Parts};
use crate::{Fault, Meaning, MemoryOp, Mode, Op, Undecoded, X86Machine, decode, execute};
use isa_core::{AmoOp, Bin, Flag, FlagKind, Machine, Order, Un, Width};
use isa_ir::{Builder, Class, Holds, Isa, Stop, Value};

/// Class of the general registers.
pub const R: u8 = 0;
/// Class of one register: the status flags.
pub const FLAGS: u8 = 1;
/// Class of one register: DF, 0 or 1.
pub const DF: u8 = 2;

/// Code of the trap that says: run this instruction in the interpreter. Other codes are those of [`trap_code`].
pub const INTERPRET: u32 = 1 << 16;

/// The code of a trap that raises this exception: its vector, and 0x100 if it has an error code, which the trap reports.
pub const fn trap_code(fault: Fault) -> u32 {
    fault.vector as u32 | (fault.error.is_some() as u32) << 8
}

/// What the IR must know of x86.
pub static ISA: Isa = Isa {
    classes: &[
        Class { name: "r", count: 16, holds: Holds::I64 },
        Class { name: "flags", count: 1, holds: Holds::Flags },
        Class { name: "df", count: 1, holds: Holds::I64 },
    ],
    effects: |number| Op::from_number(number).map(|op| effects(op.effects())),
    operation_name: |number| Op::from_number(number).map_or_else(String::new, name),
};

/// An operation's name in the IR's text form.
fn name(op: Op) -> String {
    let letters = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '.' };
    let text: String = format!("{op:?}").chars().filter(|c| *c != ' ').map(letters).collect();
    text.split('.').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// Effects in the IR's terms.
fn effects(declared: Effects) -> isa_ir::Effects {
    isa_ir::Effects::new(parts(declared.reads), parts(declared.writes), declared.faults)
}

fn parts(parts: Parts) -> isa_ir::Parts {
    use isa_ir::Parts as Ir;
    [
        (Parts::REGISTERS, Ir::class(R)),
        (Parts::STATUS, Ir::class(FLAGS)),
        (Parts::MEMORY, Ir::MEMORY),
        (Parts::SYSTEM, Ir::own(0).and(Ir::class(DF))),
        (Parts::CONTROL, Ir::CONTROL),
    ]
    .into_iter()
    .filter(|(ours, _)| parts.contains(*ours))
    .fold(Ir::NONE, |all, (_, theirs)| all.and(theirs))
}

/// The nodes that the longest meaning takes: `enter` with 31 levels.
const LONGEST_MEANING: u32 = 2048;

/// Appends the instruction that begins `bytes`, in code and on a stack of these sizes. Gives its length, and whether the
/// block must end behind it.
///
/// # Errors
/// [`Stop::Full`] or [`Stop::Ended`]: this instruction begins another block.
pub fn lift(builder: &mut Builder, bytes: &[u8], mode: Mode, stack: Width) -> Result<(u8, bool), Stop> {
    if builder.length() > 0 && !builder.has_room(LONGEST_MEANING) {
        return Err(Stop::Full);
    }
    let (meaning, insn) = match decode(bytes, mode) {
        Ok(decoded) => decoded,
        Err(why) => {
            builder.insn(1)?;
            let fault = if why == Undecoded::TooLong { Fault::gp(0) } else { Fault::ud() };
            let arg = builder.imm(0);
            // What goes on behind the bytes given has to be fetched, which the interpreter can.
            builder.trap(if why == Undecoded::Short { INTERPRET } else { trap_code(fault) }, arg);
            return Ok((1, true));
        }
    };
    builder.insn(insn.length)?;
    let mut lifter = Lifter { builder, mode, stack };
    match execute(&mut lifter, meaning, &insn) {
        Ok(()) => Ok((insn.length, insn.ends_block() || repeats(meaning))),
        Err(Stop::Ended) => Ok((insn.length, true)),
        Err(Stop::Full) => Err(Stop::Full),
    }
}

/// Whether the instruction may ask to be run again.
fn repeats(meaning: Meaning) -> bool {
    (Meaning::Movsb..=Meaning::Stosq).contains(&meaning)
}

/// A builder that knows what is constant in its block.
struct Lifter<'a> {
    builder: &'a mut Builder,
    mode: Mode,
    stack: Width,
}

impl Lifter<'_> {
    fn memory(&mut self, op: MemoryOp, args: [Value; 4]) -> Result<Value, Stop> {
        self.call(Op::Memory(op), args)
    }

    /// All six flags at their places.
    fn bits(&mut self, flags: Value) -> Value {
        let none = self.imm(0);
        Flag::ALL.into_iter().fold(none, |bits, flag| {
            let v = self.builder.flag(flag, flags);
            let v = self.bin_imm(Bin::Shl, v, flag as u64);
            self.bin(Bin::Or, bits, v)
        })
    }
}

impl Machine for Lifter<'_> {
    type V = Value;
    type Stop = Stop;

    fn imm(&mut self, k: u64) -> Value {
        self.builder.imm(k)
    }
    fn bin(&mut self, op: Bin, a: Value, b: Value) -> Value {
        self.builder.bin(op, a, b)
    }
    fn un(&mut self, op: Un, a: Value) -> Value {
        self.builder.un(op, a)
    }
    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.builder.select(c, a, b)
    }
    fn pc(&mut self) -> Value {
        self.builder.pc()
    }
    fn next_pc(&mut self) -> Value {
        self.builder.next_pc()
    }
    fn jump(&mut self, target: Value) -> Result<(), Stop> {
        let one = self.imm(1);
        self.memory(MemoryOp::CheckTarget, [one, target, one, one])?;
        self.builder.jump(target)
    }
    fn jump_if(&mut self, taken: Value, target: Value) -> Result<(), Stop> {
        self.memory(MemoryOp::CheckTarget, [taken, target, taken, taken])?;
        self.builder.jump_if(taken, target)
    }
    fn load(&mut self, va: Value, width: Width, order: Order) -> Result<Value, Stop> {
        self.builder.load(va, width, order)
    }
    fn store(&mut self, va: Value, width: Width, v: Value, order: Order) -> Result<(), Stop> {
        self.builder.store(va, width, v, order)
    }
    fn amo(&mut self, op: AmoOp, va: Value, width: Width, v: Value, order: Order) -> Result<Value, Stop> {
        self.builder.amo(op, va, width, v, order)
    }
    fn load_reserved(&mut self, va: Value, width: Width, order: Order) -> Result<Value, Stop> {
        self.builder.load_reserved(va, width, order)
    }
    fn store_conditional(&mut self, va: Value, width: Width, v: Value, order: Order) -> Result<Value, Stop> {
        self.builder.store_conditional(va, width, v, order)
    }
    fn fence(&mut self, order: Order) {
        self.builder.fence(order);
    }
}

impl X86Machine for Lifter<'_> {
    fn r(&mut self, r: u8) -> Value {
        self.builder.get(R, r)
    }
    fn set_r(&mut self, r: u8, v: Value) {
        self.builder.set(R, r, v);
    }
    fn flag(&mut self, flag: Flag) -> Value {
        let flags = self.builder.get(FLAGS, 0);
        self.builder.flag(flag, flags)
    }
    fn status(&mut self) -> Value {
        let flags = self.builder.get(FLAGS, 0);
        self.bits(flags)
    }
    fn set_flags(&mut self, kind: FlagKind, width: Width, operands: [Value; 3]) {
        let flags = self.builder.flags(kind, width, operands);
        self.builder.set(FLAGS, 0, flags);
    }
    /// `select` takes numbers, so both sides' flags are computed.
    fn set_flags_if(&mut self, condition: Value, kind: FlagKind, width: Width, operands: [Value; 3]) {
        let new = self.builder.flags(kind, width, operands);
        let (new, old, zero) = (self.bits(new), self.status(), self.imm(0));
        let bits = self.select(condition, new, old);
        self.set_flags(FlagKind::Bits, Width::B8, [bits, zero, zero]);
    }
    fn direction(&mut self) -> Value {
        self.builder.get(DF, 0)
    }
    fn set_direction(&mut self, v: Value) {
        self.builder.set(DF, 0, v);
    }
    fn mode(&mut self) -> Mode {
        self.mode
    }
    fn stack_width(&mut self) -> Width {
        self.stack
    }
    fn linear(&mut self, segment: u8, offset: Value, width: Width, write: bool) -> Result<Value, Stop> {
        self.memory(MemoryOp::Linear { segment, width, write }, [offset; 4])
    }
    fn load_for_update(&mut self, va: Value, width: Width) -> Result<Value, Stop> {
        self.memory(MemoryOp::LoadForUpdate(width), [va; 4])
    }
    fn compare_exchange(
        &mut self,
        va: Value,
        width: Width,
        expected: Value,
        new: Value,
    ) -> Result<Value, Stop> {
        self.memory(MemoryOp::CompareExchange(width), [va, expected, new, new])
    }
    fn fault(&mut self, fault: Fault) -> Stop {
        let error = self.imm(fault.error.unwrap_or(0).into());
        self.builder.trap(trap_code(fault), error)
    }
    fn fault_if(&mut self, condition: Value, fault: Fault) -> Result<(), Stop> {
        let (vector, coded) = (self.imm(fault.vector.into()), self.imm(fault.error.is_some().into()));
        let error = self.imm(fault.error.unwrap_or(0).into());
        self.memory(MemoryOp::FaultIf, [condition, vector, coded, error])?;
        Ok(())
    }
    fn call(&mut self, op: Op, args: [Value; 4]) -> Result<Value, Stop> {
        match op.number() {
            Some(number) => Ok(self.builder.operation(number, effects(op.effects()), &args)),
            None => {
                let none = self.imm(0);
                Err(self.builder.trap(INTERPRET, none))
            }
        }
    }
}
