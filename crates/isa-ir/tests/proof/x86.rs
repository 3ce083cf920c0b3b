//! As `isa-x86` would have it: a machine with x86 registers and flags, the meaning of `adc`, and the two
//! machines that it runs on.

use isa_core::{AmoOp, Bin, Flag, FlagKind, LazyFlags, Machine, Order, Un, Width};
use isa_ir::{Builder, Class, Holds, Isa, Stop, Target, Value};

/// What an x86 instruction may ask beyond [`Machine`].
pub trait X86Machine: Machine {
    /// All 64 bits of general register `r`.
    fn r(&mut self, r: u8) -> Self::V;
    /// Writes all 64 bits of general register `r`.
    fn set_r(&mut self, r: u8, v: Self::V);
    /// One status flag, 0 or 1.
    fn flag(&mut self, flag: Flag) -> Self::V;
    /// All status flags are now those of this operation. Whether anybody computes them is the machine's
    /// business.
    fn set_flags(&mut self, kind: FlagKind, width: Width, operands: [Self::V; 3]);
}

/// A general register as an operand; `high` for AH, CH, DH, BH.
#[derive(Clone, Copy, Debug)]
pub struct Reg {
    pub r: u8,
    pub high: bool,
}

/// `[base + index * 2^scale + displacement]`
#[derive(Clone, Copy, Debug)]
pub struct Mem {
    pub base: u8,
    pub index: Option<(u8, u8)>,
    pub displacement: i32,
}

/// What ModRM.rm names.
#[derive(Clone, Copy, Debug)]
pub enum RegMem {
    Reg(Reg),
    Mem(Mem),
}

/// Operands of `adc r/m, r`.
#[derive(Clone, Copy, Debug)]
pub struct Adc {
    pub width: Width,
    pub to: RegMem,
    pub from: Reg,
    /// The LOCK prefix; only with a memory operand.
    pub lock: bool,
}

fn low<M: Machine>(m: &mut M, width: Width, v: M::V) -> M::V {
    match width {
        Width::B8 => v,
        _ => m.bin_imm(Bin::And, v, width.mask()),
    }
}

fn read<M: X86Machine>(m: &mut M, width: Width, reg: Reg) -> M::V {
    let v = m.r(reg.r);
    let v = if reg.high { m.bin_imm(Bin::ShrU, v, 8) } else { v };
    low(m, width, v)
}

/// Writes a register: 32 bits clear the rest, 8 and 16 keep it (SDM volume 1, "General-Purpose Registers
/// in 64-Bit Mode"). `v` has no bits above the width.
fn write<M: X86Machine>(m: &mut M, width: Width, reg: Reg, v: M::V) {
    let v = match width {
        Width::B4 | Width::B8 => v,
        _ => {
            let shift = if reg.high { 8 } else { 0 };
            let old = m.r(reg.r);
            let kept = m.bin_imm(Bin::And, old, !(width.mask() << shift));
            let v = m.bin_imm(Bin::Shl, v, shift);
            m.bin(Bin::Or, kept, v)
        }
    };
    m.set_r(reg.r, v);
}

fn address<M: X86Machine>(m: &mut M, mem: Mem) -> M::V {
    let base = m.r(mem.base);
    let sum = match mem.index {
        Some((r, scale)) => {
            let index = m.r(r);
            let index = m.bin_imm(Bin::Shl, index, scale.into());
            m.bin(Bin::Add, base, index)
        }
        None => base,
    };
    m.add_imm(sum, mem.displacement.into())
}

/// `to = to + from + CF`, and all six flags (SDM volume 2, "ADC").
///
/// The locked form is an atomic addition of `from + CF`, whose old word gives the flags: one meaning,
/// another way to memory.
pub fn adc<M: X86Machine>(m: &mut M, i: Adc) -> Result<(), M::Stop> {
    let (b, carry) = (read(m, i.width, i.from), m.flag(Flag::Carry));
    let addend = m.bin(Bin::Add, b, carry);
    let a = match i.to {
        RegMem::Reg(reg) => {
            let a = read(m, i.width, reg);
            let sum = m.bin(Bin::Add, a, addend);
            let sum = low(m, i.width, sum);
            write(m, i.width, reg, sum);
            a
        }
        RegMem::Mem(mem) if i.lock => {
            let va = address(m, mem);
            let old = m.amo(AmoOp::Add, va, i.width, addend, Order::Both)?;
            low(m, i.width, old)
        }
        RegMem::Mem(mem) => {
            let va = address(m, mem);
            let a = m.load(va, i.width, Order::Tso)?;
            let sum = m.bin(Bin::Add, a, addend);
            m.store(va, i.width, sum, Order::Tso)?;
            a
        }
    };
    m.set_flags(FlagKind::Add, i.width, [a, b, carry]);
    Ok(())
}

pub const R: u8 = 0;
pub const FLAGS: u8 = 1;

pub static ISA: Isa = Isa {
    classes: &[
        Class { name: "r", count: 16, holds: Holds::I64 },
        Class { name: "flags", count: 1, holds: Holds::Flags },
    ],
    effects: |_| None,
    operation_name: |_| String::new(),
};

/// The IR form.
impl X86Machine for Builder {
    fn r(&mut self, r: u8) -> Value {
        self.get(R, r)
    }
    fn set_r(&mut self, r: u8, v: Value) {
        self.set(R, r, v);
    }
    fn flag(&mut self, flag: Flag) -> Value {
        let flags = self.get(FLAGS, 0);
        Builder::flag(self, flag, flags)
    }
    fn set_flags(&mut self, kind: FlagKind, width: Width, operands: [Value; 3]) {
        let flags = self.flags(kind, width, operands);
        self.set(FLAGS, 0, flags);
    }
}

/// What the IR's builder stops with: nothing here does.
pub type Lifted = Result<(), Stop>;

/// A page fault at this address; the bool says for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault(pub u64, pub bool);

pub const BASE: u64 = 0x40_0000;

/// The interpreter form: registers, lazy flags, and memory of which a part is read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X86 {
    pub r: [u64; 16],
    pub flags: LazyFlags,
    pub memory: Vec<u8>,
    /// From this offset on, memory cannot be written.
    pub read_only: usize,
}

impl X86 {
    fn place(&self, va: u64, width: Width, write: bool) -> Result<std::ops::Range<usize>, PageFault> {
        let fault = PageFault(va, write);
        let at = usize::try_from(va.wrapping_sub(BASE)).map_err(|_| fault)?;
        let range = at..at.checked_add(width.bytes() as usize).ok_or(fault)?;
        let end = if write { self.read_only } else { self.memory.len() };
        if range.end <= end { Ok(range) } else { Err(fault) }
    }
}

impl Machine for X86 {
    type V = u64;
    type Stop = PageFault;

    fn imm(&mut self, k: u64) -> u64 {
        k
    }
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        op.apply(a, b)
    }
    fn un(&mut self, op: Un, a: u64) -> u64 {
        op.apply(a)
    }
    fn select(&mut self, c: u64, a: u64, b: u64) -> u64 {
        if c != 0 { a } else { b }
    }
    fn pc(&mut self) -> u64 {
        unreachable!("adc does not ask for rip")
    }
    fn next_pc(&mut self) -> u64 {
        unreachable!("adc does not ask for rip")
    }
    fn jump(&mut self, _: u64) -> Result<(), PageFault> {
        unreachable!("adc does not jump")
    }
    fn jump_if(&mut self, _: u64, _: u64) -> Result<(), PageFault> {
        unreachable!("adc does not jump")
    }
    fn load(&mut self, va: u64, width: Width, _: Order) -> Result<u64, PageFault> {
        let place = self.place(va, width, false)?;
        Ok(self.memory[place].iter().rev().fold(0, |v, &b| v << 8 | u64::from(b)))
    }
    fn store(&mut self, va: u64, width: Width, v: u64, _: Order) -> Result<(), PageFault> {
        let place = self.place(va, width, true)?;
        self.memory[place].copy_from_slice(&v.to_le_bytes()[..width.bytes() as usize]);
        Ok(())
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, order: Order) -> Result<u64, PageFault> {
        self.place(va, width, true)?;
        let old = width.sign_extend(Machine::load(self, va, width, order)?);
        Machine::store(self, va, width, op.apply(old, v), order)?;
        Ok(old)
    }
    fn load_reserved(&mut self, _: u64, _: Width, _: Order) -> Result<u64, PageFault> {
        unreachable!("x86 has no reservations")
    }
    fn store_conditional(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<u64, PageFault> {
        unreachable!("x86 has no reservations")
    }
    fn fence(&mut self, _: Order) {}
}

impl X86Machine for X86 {
    fn r(&mut self, r: u8) -> u64 {
        self.r[usize::from(r)]
    }
    fn set_r(&mut self, r: u8, v: u64) {
        self.r[usize::from(r)] = v;
    }
    fn flag(&mut self, flag: Flag) -> u64 {
        self.flags.flag(flag).into()
    }
    fn set_flags(&mut self, kind: FlagKind, width: Width, [a, b, c]: [u64; 3]) {
        self.flags = LazyFlags { kind, width, a, b, c };
    }
}

/// The same state, run by the IR's evaluator.
pub struct IrX86 {
    pub x86: X86,
    /// How often flags were written.
    pub flag_writes: u32,
    /// The instruction that runs.
    pub pc: u64,
}

impl Target for IrX86 {
    type Stop = PageFault;

    fn begin(&mut self, pc: u64, _: u8) {
        self.pc = pc;
    }
    fn get(&mut self, _: u8, index: u8) -> u64 {
        self.x86.r(index)
    }
    fn set(&mut self, _: u8, index: u8, v: u64) {
        self.x86.set_r(index, v);
    }
    fn get_flags(&mut self, _: u8, _: u8) -> LazyFlags {
        self.x86.flags
    }
    fn set_flags(&mut self, _: u8, _: u8, flags: LazyFlags) {
        self.x86.flags = flags;
        self.flag_writes += 1;
    }
    fn load(&mut self, va: u64, width: Width, order: Order) -> Result<u64, PageFault> {
        Machine::load(&mut self.x86, va, width, order)
    }
    fn store(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<(), PageFault> {
        Machine::store(&mut self.x86, va, width, v, order)
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, order: Order) -> Result<u64, PageFault> {
        Machine::amo(&mut self.x86, op, va, width, v, order)
    }
    fn load_reserved(&mut self, _: u64, _: Width, _: Order) -> Result<u64, PageFault> {
        unreachable!("x86 has no reservations")
    }
    fn store_conditional(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<u64, PageFault> {
        unreachable!("x86 has no reservations")
    }
    fn fence(&mut self, _: Order) {}
    fn call(&mut self, _: u32, _: [u64; 4]) -> Result<u64, PageFault> {
        unreachable!("there are no operations")
    }
}
