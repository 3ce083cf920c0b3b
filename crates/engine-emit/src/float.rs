//! Floating-point operations on the host's unit (Unprivileged ISA, chapters "F" and "D").
//!
//! MXCSR holds the guest's rounding mode and collects its flags while emitted code runs. What the host does differently
//! goes to a call of the operation: other rounding modes than `frm`'s, fused operations that give no number (the product
//! of infinity and zero is invalid even where the addend is a quiet NaN), conversions out of range, singles that are not
//! boxed. A NaN that arithmetic gives is replaced by the canonical one; its flags are right already. Both sides detect
//! tininess after rounding.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::asm_float::Sse;
use crate::emit::{Cold, Emitter, To};
use crate::reg::{RAX, Xmm};
use crate::system::{Access, Register};
use crate::value::{F, Loc};
use isa_ir::Value;

/// What the emitter does about a named operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Leaves it to the interpreter.
    Interpret,
    /// Calls it as a floating-point operation.
    Call,
    /// Calls it as any other, which may go on elsewhere.
    System {
        /// It depends on the state of floating point, or changes it.
        status: bool,
    },
    /// Accesses a register in memory.
    Register(Access, Register),
    /// Clears bits of a register: in memory if they are all among these, else by a call that may change the state of
    /// floating point.
    Toggle(Register, u64),
    /// Emits it, of `[a, b, c, rounding mode]`; `double` is the format of the result, or of the operands where the result is
    /// an integer.
    Float {
        /// What to compute.
        op: Float,
        /// Double precision, else single.
        double: bool,
    },
}

/// A floating-point operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// Addition, subtraction, multiplication, division.
    Arithmetic(Sse),
    /// Square root.
    Sqrt,
    /// Fused: the product negated, the addend negated.
    Fused(bool, bool),
    /// The smaller, or the larger.
    MinMax(bool),
    /// Equal.
    Eq,
    /// Less, or less or equal.
    Less(bool),
    /// From an integer: 64 bits, signed.
    FromInt(bool, bool),
    /// To a signed integer: 64 bits.
    ToInt(bool),
    /// From the other format.
    Convert,
}

/// The rounding mode towards zero, and the one that `frm` has.
const RTZ: u64 = 1;
const DYNAMIC: u64 = 7;

impl Emitter {
    pub(crate) fn get(&mut self, class: u8, index: u8, at: Value) {
        let kept = self.values.kept(class, index);
        self.values.set(at, kept.map_or(Loc::Guest(class, index), Loc::Temp));
        self.know_register(class, index, at);
        if class == F && self.boxed_registers >> index & 1 != 0 {
            self.set_boxed(at);
        }
    }

    /// Notes whether a register comes to hold a boxed single.
    pub(crate) fn note_box(&mut self, class: u8, index: u8, v: Value) {
        if class == F {
            let boxed = match self.values.at(v) {
                Loc::Const(k) => k >> 32 == 0xffff_ffff,
                _ => self.boxed.get(v.index()).copied().unwrap_or(false),
            };
            self.boxed_registers = self.boxed_registers & !(1 << index) | u32::from(boxed) << index;
        }
    }

    /// Makes the floating-point state dirty, if it is not known to be.
    pub(crate) fn make_dirty(&mut self) {
        if !std::mem::replace(&mut self.dirty, true) {
            self.asm.test_mem32(self.layout.dirty, 1);
            let from = self.asm.jcc(Cc::E);
            let back = self.asm.len();
            self.cold.push(Cold::Dirty { from, back });
        }
    }

    pub(crate) fn set_boxed(&mut self, v: Value) {
        if let Some(boxed) = self.boxed.get_mut(v.index()) {
            *boxed = true;
        }
    }

    pub(crate) fn operation(&mut self, args: &[Value], id: u32, at: Value) {
        let &[a, b, c, rm] = args else { return };
        self.place().clear_temps(true);
        let done = match ((self.operations)(id, self.modes), self.values.at(rm)) {
            (Operation::Float { op, double }, Loc::Const(rm)) => {
                self.float(op, double, id, [a, b, c], rm, at)
            }
            _ => false,
        };
        if !done {
            self.call_operation(args, id, at);
        }
        args.iter().for_each(|&v| self.values.used(v));
    }

    fn call_operation(&mut self, args: &[Value], id: u32, at: Value) {
        self.place().clear_temps(true);
        for (n, &arg) in (0..).zip(args) {
            let m = self.layout.args + 8 * n;
            let mut p = self.place();
            match p.values.at(arg) {
                Loc::Const(k) if i32::try_from(k as i64).is_ok() => p.asm.save_imm(m, k as i32),
                Loc::Guest(class, index) if p.home_f(class, index).is_some() => {
                    let r = p.reg_f(arg);
                    p.asm.save_f(m, r);
                }
                _ => {
                    p.fetch(RAX, arg);
                    p.asm.save(m, RAX);
                }
            }
        }
        let info = self.info(0);
        let from = self.call(id, info);
        self.cold.push(Cold::Failed { from });
        self.result(at);
    }

    /// Emits `op`; false if it must be called.
    fn float(&mut self, op: Float, double: bool, id: u32, abc: [Value; 3], rm: u64, at: Value) -> bool {
        let frm = u64::from(self.modes.frm);
        let dynamic = frm < 4 && (rm == DYNAMIC || rm == frm);
        let exact = rm <= 4 || rm == DYNAMIC && frm <= 4;
        match op {
            Float::Arithmetic(sse) if dynamic => self.arithmetic(sse, double, id, abc, rm, at),
            Float::Sqrt if dynamic => {
                self.arithmetic(Sse::Sqrt, double, id, [abc[0], abc[0], abc[0]], rm, at)
            }
            Float::Fused(product, addend) if dynamic => {
                self.fused(Sse::Fma(product, addend), double, id, abc, rm, at);
            }
            Float::MinMax(max) => self.min_max(max, double, id, abc, rm, at),
            Float::Eq => self.equal(double, id, abc, rm, at),
            Float::Less(or_equal) => self.less(or_equal, double, id, abc, rm, at),
            Float::FromInt(wide, signed) if dynamic || exact && double && !wide => {
                self.int_to_float(wide, signed, double, abc[0], at);
            }
            Float::ToInt(wide) if dynamic || rm == RTZ => {
                self.float_to_int(wide, double, id, abc[0], rm, at);
            }
            Float::Convert if if double { exact } else { dynamic } => {
                self.convert(double, id, abc[0], rm, at)
            }
            _ => return false,
        }
        true
    }

    /// The operands in vector registers. If they must be boxed singles and may not be, jumps that are taken then. Whatever
    /// has to move for the result must have done so before.
    fn numbers<const N: usize>(&mut self, double: bool, values: [Value; N]) -> ([Xmm; N], Vec<Patch>) {
        let registers = values.map(|v| self.place().reg_f(v));
        let mut slow = Vec::new();
        if !double {
            for (v, r) in values.into_iter().zip(registers) {
                if !self.boxed.get(v.index()).copied().unwrap_or(false) {
                    let t = self.place().temp();
                    self.asm.box_of(t, r);
                    self.asm.cmp32(t, -1);
                    slow.push(self.asm.jcc(Cc::Ne));
                    self.values.unpin_temp(t);
                }
            }
        }
        (registers, slow)
    }

    fn slow(&mut self, from: Vec<Patch>, id: u32, args: [Option<Xmm>; 3], rm: u64, to: To) {
        let (back, info) = (self.asm.len(), self.info(0));
        for from in from {
            self.cold.push(Cold::Call { from, back, id, info, args, rm, to });
        }
    }

    /// Replaces a NaN in `d` by the canonical one.
    fn canonical(&mut self, double: bool, d: Xmm) {
        self.asm.compare_f(true, double, d, d);
        let from = self.asm.jcc(Cc::P);
        let back = self.asm.len();
        let bits = if double { 0x7ff8 << 48 } else { 0xffff_ffff_7fc0_0000 };
        self.cold.push(Cold::Nan { from, back, d, bits });
    }

    fn finish(&mut self, double: bool, at: Value) {
        if !double {
            self.set_boxed(at);
        }
    }

    fn arithmetic(&mut self, sse: Sse, double: bool, id: u32, [a, b, _]: [Value; 3], rm: u64, at: Value) {
        let d = self.dest_f(at, &[a, b]);
        let ([x, y], slow) = self.numbers(double, [a, b]);
        self.asm.float(sse, double, d, x, y);
        self.canonical(double, d);
        self.slow(slow, id, [Some(x), Some(y), None], rm, To::Float(d));
        self.finish(double, at);
    }

    fn fused(&mut self, sse: Sse, double: bool, id: u32, [a, b, c]: [Value; 3], rm: u64, at: Value) {
        let d = self.dest_f(at, &[a, b, c]);
        let ([x, y, z], mut slow) = self.numbers(double, [a, b, c]);
        // The operands stay for the slow way, so the product is made elsewhere where the result's place holds one.
        let t = if [x, y, z].contains(&d) { self.place().temp_f() } else { d };
        self.asm.mov_f(t, x);
        self.asm.float(sse, double, t, y, z);
        self.asm.compare_f(true, double, t, t);
        slow.push(self.asm.jcc(Cc::P));
        self.asm.mov_f(d, t);
        self.slow(slow, id, [Some(x), Some(y), Some(z)], rm, To::Float(d));
        self.finish(double, at);
    }

    fn min_max(&mut self, max: bool, double: bool, id: u32, [a, b, _]: [Value; 3], rm: u64, at: Value) {
        let d = self.dest_f(at, &[a, b]);
        let ([x, y], mut slow) = self.numbers(double, [a, b]);
        self.asm.compare_f(true, double, x, y);
        slow.push(self.asm.jcc(Cc::P));
        let equal = self.asm.jcc_short(Cc::E);
        self.asm.float(if max { Sse::Max } else { Sse::Min }, double, d, x, y);
        let done = self.asm.jmp_short();
        self.asm.land(equal);
        // Equal: the same bits, or zeroes of different sign.
        self.asm.logic_f(max, d, x, y);
        self.asm.land(done);
        self.slow(slow, id, [Some(x), Some(y), None], rm, To::Float(d));
        self.finish(double, at);
    }

    fn equal(&mut self, double: bool, id: u32, [a, b, _]: [Value; 3], rm: u64, at: Value) {
        let d = self.dest(at, &[]);
        let ([x, y], slow) = self.numbers(double, [a, b]);
        let t = self.place().temp();
        self.asm.compare_f(true, double, x, y);
        self.asm.set(Cc::E, d);
        self.asm.set(Cc::Np, t);
        self.asm.alu(Alu::And, d, Rmi::R(t));
        self.slow(slow, id, [Some(x), Some(y), None], rm, To::Reg(d, false, 3));
    }

    fn less(&mut self, or_equal: bool, double: bool, id: u32, [a, b, _]: [Value; 3], rm: u64, at: Value) {
        let d = self.dest(at, &[]);
        let ([x, y], slow) = self.numbers(double, [a, b]);
        self.asm.compare_f(false, double, y, x);
        self.asm.set(if or_equal { Cc::Ae } else { Cc::A }, d);
        self.slow(slow, id, [Some(x), Some(y), None], rm, To::Reg(d, false, 3));
    }

    fn int_to_float(&mut self, wide: bool, signed: bool, double: bool, a: Value, at: Value) {
        let d = self.dest_f(at, &[a]);
        let mut p = self.place();
        let mut s = p.reg(a);
        if !wide && !signed {
            let t = p.temp();
            p.asm.mov32(t, s);
            s = t;
        }
        // Ones for the box of a single; for a double only to depend on nothing old.
        self.asm.ones(d);
        self.asm.from_int(wide || !signed, double, d, d, s);
        self.finish(double, at);
    }

    fn float_to_int(&mut self, wide: bool, double: bool, id: u32, a: Value, rm: u64, at: Value) {
        let d = self.dest(at, &[]);
        let ([x], mut slow) = self.numbers(double, [a]);
        self.asm.to_int(wide, double, rm == RTZ, d, x);
        self.asm.test_least(wide, d);
        slow.push(self.asm.jcc(Cc::O));
        if !wide {
            self.asm.extend(true, 2, d, d);
        }
        self.slow(slow, id, [Some(x), None, None], rm, To::Reg(d, false, 3));
    }

    fn convert(&mut self, double: bool, id: u32, a: Value, rm: u64, at: Value) {
        let d = self.dest_f(at, &[a]);
        let ([x], slow) = self.numbers(!double, [a]);
        let t = self.place().temp_f();
        self.asm.ones(t);
        self.asm.float(Sse::Convert, double, t, t, x);
        self.asm.mov_f(d, t);
        self.canonical(double, d);
        self.slow(slow, id, [Some(x), None, None], rm, To::Float(d));
        self.finish(double, at);
    }
}
