//! The instructions of the assembler that have to do with vector registers and floating point.

use crate::asm::{Asm, at_rbp};
use crate::reg::{Reg, Xmm};
use dynasmrt::{DynasmApi, dynasm};

/// Floating-point arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sse {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `sqrt(b)`
    Sqrt,
    /// The smaller; `b` if they are unordered or zeroes.
    Min,
    /// The larger; `b` if they are unordered or zeroes.
    Max,
    /// `b`, which is of the other format.
    Convert,
    /// `d = (a * d) + b`, the product negated, the addend negated.
    Fma(bool, bool),
}

impl Asm {
    /// `vmovsd d, [rbp + m]`
    pub fn load_f(&mut self, d: Xmm, m: i32) {
        at_rbp!(self, m, |m| { vmovsd Rx(d.0), QWORD [BYTE rbp + m] } { vmovsd Rx(d.0), QWORD [DWORD rbp + m] });
    }

    /// `vmovsd [rbp + m], s`
    pub fn save_f(&mut self, m: i32, s: Xmm) {
        at_rbp!(self, m, |m| { vmovsd QWORD [BYTE rbp + m], Rx(s.0) } { vmovsd QWORD [DWORD rbp + m], Rx(s.0) });
    }

    /// `vmovapd d, s`, nothing if they are the same.
    pub fn mov_f(&mut self, d: Xmm, s: Xmm) {
        if d != s {
            dynasm!(self.ops ; .arch x64 ; vmovapd Rx(d.0), Rx(s.0));
        }
    }

    /// `vmovq d, s`: bits of a general register.
    pub fn to_f(&mut self, d: Xmm, s: Reg) {
        dynasm!(self.ops ; .arch x64 ; vmovq Rx(d.0), Rq(s.0));
    }

    /// `vmovq d, s`: bits to a general register.
    pub fn from_f(&mut self, d: Reg, s: Xmm) {
        dynasm!(self.ops ; .arch x64 ; vmovq Rq(d.0), Rx(s.0));
    }

    /// `vpextrq d, s, 1`: the high half to a general register.
    pub fn high_from_f(&mut self, d: Reg, s: Xmm) {
        dynasm!(self.ops ; .arch x64 ; vpextrq Rq(d.0), Rx(s.0), 1);
    }

    /// `vpclmulqdq d, d, s, 0`: the product of the low halves without carries.
    pub fn carry_less_mul(&mut self, d: Xmm, s: Xmm) {
        dynasm!(self.ops ; .arch x64 ; vpclmulqdq Rx(d.0), Rx(d.0), Rx(s.0), 0);
    }

    /// Bytes of `d` become all ones where they are 0, else 0; `zero` becomes 0.
    pub fn zero_bytes(&mut self, d: Xmm, zero: Xmm) {
        dynasm!(self.ops ; .arch x64 ; vpxor Rx(zero.0), Rx(zero.0), Rx(zero.0) ; vpcmpeqb Rx(d.0), Rx(d.0), Rx(zero.0));
    }

    /// `vmovsd d, [a + b]`
    pub fn load_sum_f(&mut self, d: Xmm, a: Reg, b: Reg) {
        dynasm!(self.ops ; .arch x64 ; vmovsd Rx(d.0), QWORD [Rq(a.0) + Rq(b.0)]);
    }

    /// `vmovsd [a + b], s`, or the low half only.
    pub fn save_sum_f(&mut self, double: bool, a: Reg, b: Reg, s: Xmm) {
        if double {
            dynasm!(self.ops ; .arch x64 ; vmovsd QWORD [Rq(a.0) + Rq(b.0)], Rx(s.0));
        } else {
            dynasm!(self.ops ; .arch x64 ; vmovss DWORD [Rq(a.0) + Rq(b.0)], Rx(s.0));
        }
    }

    /// `vpcmpeqd d, d, d`: all ones.
    pub fn ones(&mut self, d: Xmm) {
        dynasm!(self.ops ; .arch x64 ; vpcmpeqd Rx(d.0), Rx(d.0), Rx(d.0));
    }

    /// Floating-point arithmetic: `d = a op b`, the bits above a single from `a`.
    pub fn float(&mut self, op: Sse, double: bool, d: Xmm, a: Xmm, b: Xmm) {
        macro_rules! pick {
            ($d:tt, $s:tt) => {
                if double {
                    dynasm!(self.ops ; .arch x64 ; $d Rx(d.0), Rx(a.0), Rx(b.0))
                } else {
                    dynasm!(self.ops ; .arch x64 ; $s Rx(d.0), Rx(a.0), Rx(b.0))
                }
            };
        }
        match op {
            Sse::Add => pick!(vaddsd, vaddss),
            Sse::Sub => pick!(vsubsd, vsubss),
            Sse::Mul => pick!(vmulsd, vmulss),
            Sse::Div => pick!(vdivsd, vdivss),
            Sse::Sqrt => pick!(vsqrtsd, vsqrtss),
            Sse::Min => pick!(vminsd, vminss),
            Sse::Max => pick!(vmaxsd, vmaxss),
            Sse::Convert => pick!(vcvtss2sd, vcvtsd2ss),
            Sse::Fma(false, false) => pick!(vfmadd213sd, vfmadd213ss),
            Sse::Fma(false, true) => pick!(vfmsub213sd, vfmsub213ss),
            Sse::Fma(true, false) => pick!(vfnmadd213sd, vfnmadd213ss),
            Sse::Fma(true, true) => pick!(vfnmsub213sd, vfnmsub213ss),
        }
    }

    /// Compares, quietly or not.
    pub fn compare_f(&mut self, quiet: bool, double: bool, a: Xmm, b: Xmm) {
        match (quiet, double) {
            (true, true) => dynasm!(self.ops ; .arch x64 ; vucomisd Rx(a.0), Rx(b.0)),
            (true, false) => dynasm!(self.ops ; .arch x64 ; vucomiss Rx(a.0), Rx(b.0)),
            (false, true) => dynasm!(self.ops ; .arch x64 ; vcomisd Rx(a.0), Rx(b.0)),
            (false, false) => dynasm!(self.ops ; .arch x64 ; vcomiss Rx(a.0), Rx(b.0)),
        }
    }

    /// `vpextrd d32, s, 1`: what is above a single.
    pub fn box_of(&mut self, d: Reg, s: Xmm) {
        dynasm!(self.ops ; .arch x64 ; vpextrd Rd(d.0), Rx(s.0), 1);
    }

    /// An integer of 32 or 64 bits to a number: the bits above a single from `a`.
    pub fn from_int(&mut self, wide: bool, double: bool, d: Xmm, a: Xmm, s: Reg) {
        match (wide, double) {
            (true, true) => dynasm!(self.ops ; .arch x64 ; vcvtsi2sd Rx(d.0), Rx(a.0), Rq(s.0)),
            (true, false) => dynasm!(self.ops ; .arch x64 ; vcvtsi2ss Rx(d.0), Rx(a.0), Rq(s.0)),
            (false, true) => dynasm!(self.ops ; .arch x64 ; vcvtsi2sd Rx(d.0), Rx(a.0), Rd(s.0)),
            (false, false) => dynasm!(self.ops ; .arch x64 ; vcvtsi2ss Rx(d.0), Rx(a.0), Rd(s.0)),
        }
    }

    /// A number to an integer of 32 or 64 bits, towards zero or as MXCSR says.
    pub fn to_int(&mut self, wide: bool, double: bool, truncate: bool, d: Reg, s: Xmm) {
        match (wide, double, truncate) {
            (true, true, true) => dynasm!(self.ops ; .arch x64 ; vcvttsd2si Rq(d.0), Rx(s.0)),
            (true, false, true) => dynasm!(self.ops ; .arch x64 ; vcvttss2si Rq(d.0), Rx(s.0)),
            (false, true, true) => dynasm!(self.ops ; .arch x64 ; vcvttsd2si Rd(d.0), Rx(s.0)),
            (false, false, true) => dynasm!(self.ops ; .arch x64 ; vcvttss2si Rd(d.0), Rx(s.0)),
            (true, true, false) => dynasm!(self.ops ; .arch x64 ; vcvtsd2si Rq(d.0), Rx(s.0)),
            (true, false, false) => dynasm!(self.ops ; .arch x64 ; vcvtss2si Rq(d.0), Rx(s.0)),
            (false, true, false) => dynasm!(self.ops ; .arch x64 ; vcvtsd2si Rd(d.0), Rx(s.0)),
            (false, false, false) => dynasm!(self.ops ; .arch x64 ; vcvtss2si Rd(d.0), Rx(s.0)),
        }
    }

    /// `vandpd d, a, b` or `vorpd`.
    pub fn logic_f(&mut self, and: bool, d: Xmm, a: Xmm, b: Xmm) {
        if and {
            dynasm!(self.ops ; .arch x64 ; vandpd Rx(d.0), Rx(a.0), Rx(b.0));
        } else {
            dynasm!(self.ops ; .arch x64 ; vorpd Rx(d.0), Rx(a.0), Rx(b.0));
        }
    }

    /// `vmovsd [rsp + k], s`
    pub fn save_stack_f(&mut self, k: i32, s: Xmm) {
        dynasm!(self.ops ; .arch x64 ; vmovsd QWORD [rsp + k], Rx(s.0));
    }

    /// `vmovsd d, [rsp + k]`
    pub fn load_stack_f(&mut self, d: Xmm, k: i32) {
        dynasm!(self.ops ; .arch x64 ; vmovsd Rx(d.0), QWORD [rsp + k]);
    }

    /// `vmovsd d, [a + k]`
    pub fn load_at_f(&mut self, d: Xmm, a: Reg, k: i32) {
        match i8::try_from(k) {
            Ok(k) => dynasm!(self.ops ; .arch x64 ; vmovsd Rx(d.0), QWORD [BYTE Rq(a.0) + k]),
            Err(_) => dynasm!(self.ops ; .arch x64 ; vmovsd Rx(d.0), QWORD [DWORD Rq(a.0) + k]),
        }
    }

    /// `vmovsd [a + k], s`, or the low half only.
    pub fn save_at_f(&mut self, double: bool, a: Reg, k: i32, s: Xmm) {
        if double {
            dynasm!(self.ops ; .arch x64 ; vmovsd QWORD [Rq(a.0) + k], Rx(s.0));
        } else {
            dynasm!(self.ops ; .arch x64 ; vmovss DWORD [Rq(a.0) + k], Rx(s.0));
        }
    }

    /// `ldmxcsr [rbp + m]`
    pub fn load_mxcsr(&mut self, m: i32) {
        dynasm!(self.ops ; .arch x64 ; ldmxcsr [DWORD rbp + m]);
    }

    /// `stmxcsr [rbp + m]`
    pub fn save_mxcsr(&mut self, m: i32) {
        dynasm!(self.ops ; .arch x64 ; stmxcsr [DWORD rbp + m]);
    }

    /// Whether `d` is the least integer: the overflow flag says so.
    pub fn test_least(&mut self, wide: bool, d: Reg) {
        if wide {
            dynasm!(self.ops ; .arch x64 ; cmp Rq(d.0), BYTE 1);
        } else {
            dynasm!(self.ops ; .arch x64 ; cmp Rd(d.0), BYTE 1);
        }
    }
}
