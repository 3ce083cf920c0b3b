//! The instructions that the emitter uses, each in its shortest form, over the assembler library.

use crate::reg::Reg;
use dynasmrt::{DynasmApi, SimpleAssembler, dynasm};

/// Condition codes as in the encodings of `jcc`, `setcc` and `cmovcc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum Cc {
    O = 0,
    No = 1,
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    S = 8,
    Ns = 9,
    P = 10,
    Np = 11,
    L = 12,
    Ge = 13,
}

impl Cc {
    /// The opposite condition.
    pub const fn not(self) -> Cc {
        match self {
            Cc::O => Cc::No,
            Cc::No => Cc::O,
            Cc::B => Cc::Ae,
            Cc::Ae => Cc::B,
            Cc::E => Cc::Ne,
            Cc::Ne => Cc::E,
            Cc::Be => Cc::A,
            Cc::A => Cc::Be,
            Cc::S => Cc::Ns,
            Cc::Ns => Cc::S,
            Cc::P => Cc::Np,
            Cc::Np => Cc::P,
            Cc::L => Cc::Ge,
            Cc::Ge => Cc::L,
        }
    }
}

/// Two-operand arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum Alu {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Cmp,
}

/// A second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rmi {
    /// A register.
    R(Reg),
    /// Memory at this distance from rbp.
    M(i32),
    /// A sign-extended constant.
    I(i32),
}

/// Shifts with a constant count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum Shift {
    Shl,
    Shr,
    Sar,
}

/// A place in the code that refers to another: a rel32 that begins here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch(pub usize);

/// An assembler that collects the bytes of one unit of code.
pub struct Asm {
    pub(crate) ops: SimpleAssembler,
    /// From where on the code goes elsewhere, and how far.
    apart: Option<(usize, i64)>,
}

impl Default for Asm {
    fn default() -> Self {
        Asm { ops: SimpleAssembler::new(), apart: None }
    }
}

/// One instruction with a place in memory at a distance from rbp, in its short form if it has one.
macro_rules! at_rbp {
    ($self:ident, $disp:expr, |$d:ident| $short:tt $long:tt) => {
        match i8::try_from($disp) {
            Ok($d) => at_rbp!(@ $self $short),
            Err(_) => {
                let $d: i32 = $disp;
                at_rbp!(@ $self $long)
            }
        }
    };
    (@ $self:ident { $($code:tt)* }) => { dynasm!($self.ops ; .arch x64 ; $($code)*) };
}

pub(crate) use at_rbp;

macro_rules! alu {
    ($self:ident, $name:tt, $d:ident, $b:ident) => {
        match $b {
            Rmi::R(r) => dynasm!($self.ops ; .arch x64 ; $name Rq($d.0), Rq(r.0)),
            Rmi::M(m) => at_rbp!($self, m, |m| { $name Rq($d.0), [BYTE rbp + m] } { $name Rq($d.0), [DWORD rbp + m] }),
            Rmi::I(k) => match i8::try_from(k) {
                Ok(k) => dynasm!($self.ops ; .arch x64 ; $name Rq($d.0), BYTE k as _),
                Err(_) => dynasm!($self.ops ; .arch x64 ; $name Rq($d.0), DWORD k as _),
            },
        }
    };
}

impl Asm {
    /// Forgets the code.
    pub fn clear(&mut self) {
        self.ops.ops.clear();
        self.apart = None;
    }

    /// From here on the code goes elsewhere: to `at`, a distance from where the unit begins.
    pub fn go_elsewhere(&mut self, at: i64) {
        let here = self.len();
        self.apart = Some((here, at - here as i64));
    }

    /// How far the code at `at` bytes will be from where the unit begins.
    pub fn distance(&self, at: usize) -> i64 {
        at as i64 + self.apart.filter(|(from, _)| at >= *from).map_or(0, |(_, by)| by)
    }

    /// The code up to where it goes elsewhere, and the code from there on.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        let code = self.bytes();
        self.apart.and_then(|(from, _)| code.split_at_checked(from)).unwrap_or((code, &[]))
    }

    /// The code so far.
    pub fn bytes(&self) -> &[u8] {
        &self.ops.ops
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.ops.ops.len()
    }

    /// Makes the rel32 at `patch` point to `target`, a place in the code.
    pub fn patch(&mut self, patch: Patch, target: usize) {
        self.patch_out(patch, self.distance(target));
    }

    /// Makes the rel32 at `patch` point to what is so far from where the unit begins.
    pub fn patch_out(&mut self, patch: Patch, target: i64) {
        let distance = (target - (self.distance(patch.0) + 4)) as i32;
        if let Some(bytes) = self.ops.ops.get_mut(patch.0..patch.0 + 4) {
            bytes.copy_from_slice(&distance.to_le_bytes());
        }
    }

    fn rel32(&mut self) -> Patch {
        let at = self.ops.ops.len();
        self.ops.ops.extend([0; 4]);
        Patch(at)
    }

    /// `jcc` to somewhere that is patched in.
    pub fn jcc(&mut self, cc: Cc) -> Patch {
        self.ops.ops.extend([0x0f, 0x80 | cc as u8]);
        self.rel32()
    }

    /// `jmp`, likewise.
    pub fn jmp(&mut self) -> Patch {
        self.ops.push(0xe9);
        self.rel32()
    }

    /// `call`, likewise.
    pub fn call(&mut self) -> Patch {
        self.ops.push(0xe8);
        self.rel32()
    }

    /// `jmp` over at most 127 bytes.
    pub fn jcc_short(&mut self, cc: Cc) -> usize {
        self.ops.ops.extend([0x70 | cc as u8, 0]);
        self.ops.ops.len()
    }

    /// The same without a condition.
    pub fn jmp_short(&mut self) -> usize {
        self.ops.ops.extend([0xeb, 0]);
        self.ops.ops.len()
    }

    /// Ends a short jump here; `after` is what [`Asm::jcc_short`] gave.
    pub fn land(&mut self, after: usize) {
        let distance = self.ops.ops.len() - after;
        debug_assert!(distance < 128);
        if let Some(byte) = after.checked_sub(1).and_then(|at| self.ops.ops.get_mut(at)) {
            *byte = distance as u8;
        }
    }

    /// `mov d, s`, nothing if they are the same.
    pub fn mov(&mut self, d: Reg, s: Reg) {
        if d != s {
            dynasm!(self.ops ; .arch x64 ; mov Rq(d.0), Rq(s.0));
        }
    }

    /// `lea d, [a + 2 * b]`
    pub fn lea_twice(&mut self, d: Reg, a: Reg, b: Reg) {
        dynasm!(self.ops ; .arch x64 ; lea Rq(d.0), [Rq(a.0) + 2 * Rq(b.0)]);
    }

    /// `mov d32, s32`
    pub fn mov32(&mut self, d: Reg, s: Reg) {
        dynasm!(self.ops ; .arch x64 ; mov Rd(d.0), Rd(s.0));
    }

    /// A constant, in the shortest way that leaves the flags alone.
    pub fn mov_imm(&mut self, d: Reg, k: u64) {
        if let Ok(k) = u32::try_from(k) {
            dynasm!(self.ops ; .arch x64 ; mov Rd(d.0), DWORD k as i32);
        } else if let Ok(k) = i32::try_from(k as i64) {
            dynasm!(self.ops ; .arch x64 ; mov Rq(d.0), DWORD k);
        } else {
            dynasm!(self.ops ; .arch x64 ; mov Rq(d.0), QWORD k as i64);
        }
    }

    /// `mov d, [rbp + m]`
    pub fn load(&mut self, d: Reg, m: i32) {
        at_rbp!(self, m, |m| { mov Rq(d.0), [BYTE rbp + m] } { mov Rq(d.0), [DWORD rbp + m] });
    }

    /// `mov [rbp + m], s`
    pub fn save(&mut self, m: i32, s: Reg) {
        at_rbp!(self, m, |m| { mov [BYTE rbp + m], Rq(s.0) } { mov [DWORD rbp + m], Rq(s.0) });
    }

    /// `mov qword [rbp + m], k`
    pub fn save_imm(&mut self, m: i32, k: i32) {
        at_rbp!(self, m, |m| { mov QWORD [BYTE rbp + m], DWORD k } { mov QWORD [DWORD rbp + m], DWORD k });
    }

    /// Two-operand arithmetic: `d = d op b`.
    pub fn alu(&mut self, op: Alu, d: Reg, b: Rmi) {
        match op {
            Alu::Add => alu!(self, add, d, b),
            Alu::Sub => alu!(self, sub, d, b),
            Alu::And => alu!(self, and, d, b),
            Alu::Or => alu!(self, or, d, b),
            Alu::Xor => alu!(self, xor, d, b),
            Alu::Cmp => alu!(self, cmp, d, b),
        }
    }

    /// `cmp qword [rbp + m], k` or a register.
    pub fn cmp_mem(&mut self, m: i32, b: Rmi) {
        match b {
            Rmi::R(r) => {
                at_rbp!(self, m, |m| { cmp [BYTE rbp + m], Rq(r.0) } { cmp [DWORD rbp + m], Rq(r.0) })
            }
            Rmi::I(k) => {
                at_rbp!(self, m, |m| { cmp QWORD [BYTE rbp + m], DWORD k } { cmp QWORD [DWORD rbp + m], DWORD k })
            }
            Rmi::M(_) => {}
        }
    }

    /// `and d32, k`
    pub fn and32(&mut self, d: Reg, k: i32) {
        match d.0 {
            1 => dynasm!(self.ops ; .arch x64 ; and ecx, DWORD k),
            _ => dynasm!(self.ops ; .arch x64 ; and Rd(d.0), DWORD k),
        }
    }

    /// `test d, d`
    pub fn test(&mut self, d: Reg) {
        dynasm!(self.ops ; .arch x64 ; test Rq(d.0), Rq(d.0));
    }

    /// `lea d, [a + b]`
    pub fn lea_sum(&mut self, d: Reg, a: Reg, b: Reg) {
        dynasm!(self.ops ; .arch x64 ; lea Rq(d.0), [Rq(a.0) + Rq(b.0)]);
    }

    /// `not d`
    pub fn not(&mut self, d: Reg) {
        dynasm!(self.ops ; .arch x64 ; not Rq(d.0));
    }

    /// `neg d`
    pub fn neg(&mut self, d: Reg) {
        dynasm!(self.ops ; .arch x64 ; neg Rq(d.0));
    }

    /// A shift by a constant.
    pub fn shift(&mut self, op: Shift, d: Reg, k: u8) {
        let k = k as i8;
        match op {
            Shift::Shl => dynasm!(self.ops ; .arch x64 ; shl Rq(d.0), k),
            Shift::Shr => dynasm!(self.ops ; .arch x64 ; shr Rq(d.0), k),
            Shift::Sar => dynasm!(self.ops ; .arch x64 ; sar Rq(d.0), k),
        }
    }

    /// `shl d32, k`
    pub fn shl32(&mut self, d: Reg, k: u8) {
        dynasm!(self.ops ; .arch x64 ; shl Rd(d.0), k as i8);
    }

    /// A shift by a register, modulo 64 (BMI2).
    pub fn shiftx(&mut self, op: Shift, d: Reg, s: Reg, count: Reg) {
        match op {
            Shift::Shl => dynasm!(self.ops ; .arch x64 ; shlx Rq(d.0), Rq(s.0), Rq(count.0)),
            Shift::Shr => dynasm!(self.ops ; .arch x64 ; shrx Rq(d.0), Rq(s.0), Rq(count.0)),
            Shift::Sar => dynasm!(self.ops ; .arch x64 ; sarx Rq(d.0), Rq(s.0), Rq(count.0)),
        }
    }

    /// `rorx d, s, k` (BMI2).
    pub fn rorx(&mut self, d: Reg, s: Reg, k: u8) {
        dynasm!(self.ops ; .arch x64 ; rorx Rq(d.0), Rq(s.0), k as i8);
    }

    /// `rorx d32, s32, k` (BMI2).
    pub fn rorx32(&mut self, d: Reg, s: Reg, k: u8) {
        dynasm!(self.ops ; .arch x64 ; rorx Rd(d.0), Rd(s.0), k as i8);
    }

    /// `ror d, cl`
    pub fn ror_cl(&mut self, d: Reg) {
        dynasm!(self.ops ; .arch x64 ; ror Rq(d.0), cl);
    }

    /// `imul d, b`
    pub fn imul(&mut self, d: Reg, b: Rmi) {
        match b {
            Rmi::R(r) => dynasm!(self.ops ; .arch x64 ; imul Rq(d.0), Rq(r.0)),
            Rmi::M(m) => {
                at_rbp!(self, m, |m| { imul Rq(d.0), [BYTE rbp + m] } { imul Rq(d.0), [DWORD rbp + m] })
            }
            Rmi::I(k) => dynasm!(self.ops ; .arch x64 ; imul Rq(d.0), Rq(d.0), DWORD k),
        }
    }

    /// `rdx:rax = rax * s`, signed or not.
    pub fn wide_mul(&mut self, signed: bool, s: Reg) {
        if signed {
            dynasm!(self.ops ; .arch x64 ; imul Rq(s.0));
        } else {
            dynasm!(self.ops ; .arch x64 ; mul Rq(s.0));
        }
    }

    /// `rax, rdx = rax / s, rax % s`, signed or not.
    pub fn div(&mut self, signed: bool, s: Reg) {
        if signed {
            dynasm!(self.ops ; .arch x64 ; cqo ; idiv Rq(s.0));
        } else {
            dynasm!(self.ops ; .arch x64 ; xor edx, edx ; div Rq(s.0));
        }
    }

    /// Extends the low `8 << log` bits of `s`, with sign or zeroes.
    pub fn extend(&mut self, signed: bool, log: u32, d: Reg, s: Reg) {
        match (signed, log) {
            (true, 0) => dynasm!(self.ops ; .arch x64 ; movsx Rq(d.0), Rb(s.0)),
            (true, 1) => dynasm!(self.ops ; .arch x64 ; movsx Rq(d.0), Rw(s.0)),
            (true, _) => dynasm!(self.ops ; .arch x64 ; movsxd Rq(d.0), Rd(s.0)),
            (false, 0) => dynasm!(self.ops ; .arch x64 ; movzx Rd(d.0), Rb(s.0)),
            (false, 1) => dynasm!(self.ops ; .arch x64 ; movzx Rd(d.0), Rw(s.0)),
            (false, _) => self.mov32(d, s),
        }
    }

    /// Leading zeroes (LZCNT), trailing zeroes (BMI1), bits set.
    pub fn count(&mut self, what: isa_core::Un, d: Reg, s: Reg) {
        match what {
            isa_core::Un::Clz => dynasm!(self.ops ; .arch x64 ; lzcnt Rq(d.0), Rq(s.0)),
            isa_core::Un::Ctz => dynasm!(self.ops ; .arch x64 ; tzcnt Rq(d.0), Rq(s.0)),
            _ => dynasm!(self.ops ; .arch x64 ; popcnt Rq(d.0), Rq(s.0)),
        }
    }

    /// `bswap d`
    pub fn bswap(&mut self, d: Reg) {
        dynasm!(self.ops ; .arch x64 ; bswap Rq(d.0));
    }

    /// `setcc d8`, then zero-extended.
    pub fn set(&mut self, cc: Cc, d: Reg) {
        self.ops.ops.extend([0x40 | d.0 >> 3, 0x0f, 0x90 | cc as u8, 0xc0 | d.0 & 7]);
        dynasm!(self.ops ; .arch x64 ; movzx Rd(d.0), Rb(d.0));
    }

    /// `cmovcc d, s`
    pub fn cmov(&mut self, cc: Cc, d: Reg, s: Reg) {
        let rex = 0x48 | (d.0 >> 3) << 2 | s.0 >> 3;
        self.ops.ops.extend([rex, 0x0f, 0x40 | cc as u8, 0xc0 | (d.0 & 7) << 3 | s.0 & 7]);
    }

    /// `cmp tag, [rbp + index + m]`
    pub fn cmp_entry(&mut self, tag: Reg, index: Reg, m: i32) {
        dynasm!(self.ops ; .arch x64 ; cmp Rq(tag.0), [DWORD rbp + Rq(index.0) + m]);
    }

    /// `mov d, [rbp + index + m]`
    pub fn load_entry(&mut self, d: Reg, index: Reg, m: i32) {
        dynasm!(self.ops ; .arch x64 ; mov Rq(d.0), [DWORD rbp + Rq(index.0) + m]);
    }

    /// `cmp d, [rip + ...]`: a word of the code, whose place is patched in.
    pub fn cmp_code(&mut self, d: Reg) -> Patch {
        self.ops.ops.extend([0x48 | (d.0 >> 3) << 2, 0x3b, (d.0 & 7) << 3 | 5]);
        self.rel32()
    }

    /// `mov d, [rip + ...]`, likewise.
    pub fn load_code(&mut self, d: Reg) -> Patch {
        self.ops.ops.extend([0x48 | (d.0 >> 3) << 2, 0x8b, (d.0 & 7) << 3 | 5]);
        self.rel32()
    }

    /// So many words that are 0; gives where they are, in line with what the code is in line with.
    pub fn words(&mut self, n: usize) -> usize {
        let here = self.distance(self.len());
        let words = self.len() + here.wrapping_neg().rem_euclid(8) as usize;
        self.ops.ops.resize(words + 8 * n, 0);
        words
    }

    /// `inc qword [rbp + m]`
    pub fn count_up(&mut self, m: i32) {
        dynasm!(self.ops ; .arch x64 ; inc QWORD [DWORD rbp + m]);
    }

    /// `lea rsp, [rsp + k]`
    pub fn move_stack(&mut self, k: i32) {
        dynasm!(self.ops ; .arch x64 ; lea rsp, [rsp + k]);
    }

    /// `test dword [rbp + m], k`
    pub fn test_mem32(&mut self, m: i32, k: i32) {
        dynasm!(self.ops ; .arch x64 ; test DWORD [DWORD rbp + m], DWORD k);
    }

    /// `or dword [rbp + m], k`
    pub fn or_mem32(&mut self, m: i32, k: i32) {
        dynasm!(self.ops ; .arch x64 ; or DWORD [DWORD rbp + m], DWORD k);
    }

    /// `xadd [a], s`, locked if other harts must see it as one.
    pub fn exchange_add(&mut self, locked: bool, wide: bool, a: Reg, s: Reg) {
        match (locked, wide) {
            (true, true) => dynasm!(self.ops ; .arch x64 ; lock xadd [Rq(a.0)], Rq(s.0)),
            (true, false) => dynasm!(self.ops ; .arch x64 ; lock xadd [Rq(a.0)], Rd(s.0)),
            (false, true) => dynasm!(self.ops ; .arch x64 ; xadd [Rq(a.0)], Rq(s.0)),
            (false, false) => dynasm!(self.ops ; .arch x64 ; xadd [Rq(a.0)], Rd(s.0)),
        }
    }

    /// `xchg [a], s`, which is always locked.
    pub fn exchange(&mut self, wide: bool, a: Reg, s: Reg) {
        if wide {
            dynasm!(self.ops ; .arch x64 ; xchg [Rq(a.0)], Rq(s.0));
        } else {
            dynasm!(self.ops ; .arch x64 ; xchg [Rq(a.0)], Rd(s.0));
        }
    }

    /// `cmpxchg [a], s`: compares with rax; locked if other harts must see it as one.
    pub fn compare_exchange(&mut self, locked: bool, wide: bool, a: Reg, s: Reg) {
        match (locked, wide) {
            (true, true) => dynasm!(self.ops ; .arch x64 ; lock cmpxchg [Rq(a.0)], Rq(s.0)),
            (true, false) => dynasm!(self.ops ; .arch x64 ; lock cmpxchg [Rq(a.0)], Rd(s.0)),
            (false, true) => dynasm!(self.ops ; .arch x64 ; cmpxchg [Rq(a.0)], Rq(s.0)),
            (false, false) => dynasm!(self.ops ; .arch x64 ; cmpxchg [Rq(a.0)], Rd(s.0)),
        }
    }

    /// `mfence`
    pub fn mfence(&mut self) {
        dynasm!(self.ops ; .arch x64 ; mfence);
    }

    /// `push s`
    pub fn push(&mut self, s: Reg) {
        dynasm!(self.ops ; .arch x64 ; push Rq(s.0));
    }

    /// `pop d`
    pub fn pop(&mut self, d: Reg) {
        dynasm!(self.ops ; .arch x64 ; pop Rq(d.0));
    }

    /// `call s`
    pub fn call_reg(&mut self, s: Reg) {
        dynasm!(self.ops ; .arch x64 ; call Rq(s.0));
    }

    /// `jmp s`
    pub fn jmp_reg(&mut self, s: Reg) {
        dynasm!(self.ops ; .arch x64 ; jmp Rq(s.0));
    }

    /// `ret`
    pub fn ret(&mut self) {
        dynasm!(self.ops ; .arch x64 ; ret);
    }

    /// `cmp d32, k`
    pub fn cmp32(&mut self, d: Reg, k: i8) {
        dynasm!(self.ops ; .arch x64 ; cmp Rd(d.0), BYTE k as _);
    }
}
