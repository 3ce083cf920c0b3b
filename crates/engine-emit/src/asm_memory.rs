//! The instructions of the assembler whose operand is in memory at a register and a distance, or at the sum of two registers.

use crate::asm::Asm;
use crate::reg::Reg;
use dynasmrt::{DynasmApi, dynasm};

/// The prefix, the REX prefix without the registers' bits, and the lowest bit of the opcode of a store of `1 << log` bytes.
fn width(log: u32) -> (Option<u8>, u8, u8) {
    match log {
        0 => (None, 0x40, 0),
        1 => (Some(0x66), 0x40, 1),
        2 => (None, 0x40, 1),
        _ => (None, 0x48, 1),
    }
}

impl Asm {
    /// `lea d, [s + k]`
    pub fn lea(&mut self, d: Reg, s: Reg, k: i32) {
        self.near(None, 0x48, &[0x8d], d.0, s, k);
    }

    /// `cmp d, [base + k]`
    pub fn cmp_at(&mut self, d: Reg, base: Reg, k: i8) {
        self.near(None, 0x48, &[0x3b], d.0, base, k.into());
    }

    /// `jmp [base + k]`
    pub fn jmp_at(&mut self, base: Reg, k: i8) {
        self.near(None, 0x40, &[0xff], 4, base, k.into());
    }

    /// Loads `1 << log` bytes at `a + b`, extended.
    pub fn load_sum(&mut self, signed: bool, log: u32, d: Reg, a: Reg, b: Reg) {
        match (signed, log) {
            (_, 3) => dynasm!(self.ops ; .arch x64 ; mov Rq(d.0), [Rq(a.0) + Rq(b.0)]),
            (true, 0) => dynasm!(self.ops ; .arch x64 ; movsx Rq(d.0), BYTE [Rq(a.0) + Rq(b.0)]),
            (true, 1) => dynasm!(self.ops ; .arch x64 ; movsx Rq(d.0), WORD [Rq(a.0) + Rq(b.0)]),
            (true, _) => dynasm!(self.ops ; .arch x64 ; movsxd Rq(d.0), DWORD [Rq(a.0) + Rq(b.0)]),
            (false, 0) => dynasm!(self.ops ; .arch x64 ; movzx Rd(d.0), BYTE [Rq(a.0) + Rq(b.0)]),
            (false, 1) => dynasm!(self.ops ; .arch x64 ; movzx Rd(d.0), WORD [Rq(a.0) + Rq(b.0)]),
            (false, _) => dynasm!(self.ops ; .arch x64 ; mov Rd(d.0), [Rq(a.0) + Rq(b.0)]),
        }
    }

    /// Stores the low `1 << log` bytes of `s` at `a + b`.
    pub fn save_sum(&mut self, log: u32, a: Reg, b: Reg, s: Reg) {
        match log {
            0 => dynasm!(self.ops ; .arch x64 ; mov [Rq(a.0) + Rq(b.0)], Rb(s.0)),
            1 => dynasm!(self.ops ; .arch x64 ; mov [Rq(a.0) + Rq(b.0)], Rw(s.0)),
            2 => dynasm!(self.ops ; .arch x64 ; mov [Rq(a.0) + Rq(b.0)], Rd(s.0)),
            _ => dynasm!(self.ops ; .arch x64 ; mov [Rq(a.0) + Rq(b.0)], Rq(s.0)),
        }
    }

    /// Stores a constant of `1 << log` bytes at `a + b`.
    pub fn save_sum_imm(&mut self, log: u32, a: Reg, b: Reg, k: i32) {
        match log {
            0 => dynasm!(self.ops ; .arch x64 ; mov BYTE [Rq(a.0) + Rq(b.0)], BYTE k as i8),
            1 => dynasm!(self.ops ; .arch x64 ; mov WORD [Rq(a.0) + Rq(b.0)], WORD k as i16),
            2 => dynasm!(self.ops ; .arch x64 ; mov DWORD [Rq(a.0) + Rq(b.0)], DWORD k),
            _ => dynasm!(self.ops ; .arch x64 ; mov QWORD [Rq(a.0) + Rq(b.0)], DWORD k),
        }
    }

    /// Loads `1 << log` bytes at `a + k`, extended.
    pub fn load_at(&mut self, signed: bool, log: u32, d: Reg, a: Reg, k: i32) {
        let (rex, opcode): (u8, &[u8]) = match (signed, log) {
            (_, 3) => (0x48, &[0x8b]),
            (true, 0) => (0x48, &[0x0f, 0xbe]),
            (true, 1) => (0x48, &[0x0f, 0xbf]),
            (true, _) => (0x48, &[0x63]),
            (false, 0) => (0x40, &[0x0f, 0xb6]),
            (false, 1) => (0x40, &[0x0f, 0xb7]),
            (false, _) => (0x40, &[0x8b]),
        };
        self.near(None, rex, opcode, d.0, a, k);
    }

    /// Stores the low `1 << log` bytes of `s` at `a + k`.
    pub fn save_at(&mut self, log: u32, a: Reg, k: i32, s: Reg) {
        let (prefix, rex, opcode) = width(log);
        self.near(prefix, rex, &[opcode | 0x88], s.0, a, k);
    }

    /// Stores a constant of `1 << log` bytes at `a + k`.
    pub fn save_at_imm(&mut self, log: u32, a: Reg, k: i32, c: i32) {
        let (prefix, rex, opcode) = width(log);
        self.near(prefix, rex, &[opcode | 0xc6], 0, a, k);
        self.ops.ops.extend(c.to_le_bytes().get(..4.min(1 << log)).unwrap_or_default());
    }

    /// An instruction with a register (or a part of the opcode) and `[base + k]`: its prefix, its REX prefix without the
    /// registers' bits (0x40 if it needs none), its opcode (SDM Volume 2, "Instruction Format"). In the shortest form.
    fn near(&mut self, prefix: Option<u8>, rex: u8, opcode: &[u8], r: u8, base: Reg, k: i32) {
        self.ops.ops.extend(prefix);
        // Without a REX prefix, the low bytes of registers 4 to 7 could not be named.
        self.ops.ops.push(rex | (r >> 3 & 1) << 2 | base.0 >> 3 & 1);
        self.ops.ops.extend(opcode);
        let short = i8::try_from(k);
        // With rbp or r13 as base there is no form without a distance; with rsp or r12 the base is in a SIB byte.
        let form = match short {
            Ok(0) if base.0 & 7 != 5 => 0,
            Ok(_) => 0x40,
            Err(_) => 0x80,
        };
        self.ops.ops.push(form | (r & 7) << 3 | base.0 & 7);
        if base.0 & 7 == 4 {
            self.ops.ops.push(0x24);
        }
        match short {
            Ok(_) if form == 0 => {}
            Ok(k) => self.ops.ops.push(k as u8),
            Err(_) => self.ops.ops.extend(k.to_le_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAX: Reg = Reg(0);
    const RSI: Reg = Reg(6);
    const R9: Reg = Reg(9);
    const R12: Reg = Reg(12);
    const R13: Reg = Reg(13);

    fn bytes(emit: impl FnOnce(&mut Asm)) -> Vec<u8> {
        let mut asm = Asm::default();
        emit(&mut asm);
        asm.bytes().to_vec()
    }

    /// As an assembler has them, but for the REX prefixes of 0x40, which change nothing where they are not needed.
    #[test]
    fn encodings_are_those_of_the_manual() {
        let load = |a, k| bytes(|asm| asm.load_at(false, 3, RAX, a, k));
        assert_eq!(load(RSI, 0), [0x48, 0x8b, 0x06]);
        assert_eq!(load(RSI, -128), [0x48, 0x8b, 0x46, 0x80]);
        assert_eq!(load(RSI, 128), [0x48, 0x8b, 0x86, 0x80, 0, 0, 0]);
        assert_eq!(load(R12, 0), [0x49, 0x8b, 0x04, 0x24]);
        assert_eq!(load(R12, 127), [0x49, 0x8b, 0x44, 0x24, 0x7f]);
        assert_eq!(load(R12, -129), [0x49, 0x8b, 0x84, 0x24, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(load(R13, 0), [0x49, 0x8b, 0x45, 0]);
        assert_eq!(bytes(|asm| asm.lea(R13, R9, 1)), [0x4d, 0x8d, 0x69, 1]);
        assert_eq!(bytes(|asm| asm.load_at(true, 0, R9, RSI, 2)), [0x4c, 0x0f, 0xbe, 0x4e, 2]);
        assert_eq!(bytes(|asm| asm.load_at(true, 1, RAX, R9, 2)), [0x49, 0x0f, 0xbf, 0x41, 2]);
        assert_eq!(bytes(|asm| asm.load_at(true, 2, RAX, R9, 2)), [0x49, 0x63, 0x41, 2]);
        assert_eq!(bytes(|asm| asm.load_at(false, 0, RAX, RSI, 2)), [0x40, 0x0f, 0xb6, 0x46, 2]);
        assert_eq!(bytes(|asm| asm.load_at(false, 1, R9, RSI, 2)), [0x44, 0x0f, 0xb7, 0x4e, 2]);
        assert_eq!(bytes(|asm| asm.load_at(false, 2, R9, RSI, 2)), [0x44, 0x8b, 0x4e, 2]);
        // sil, not dh.
        assert_eq!(bytes(|asm| asm.save_at(0, RAX, 0, RSI)), [0x40, 0x88, 0x30]);
        assert_eq!(bytes(|asm| asm.save_at(1, RAX, 0, R9)), [0x66, 0x44, 0x89, 0x08]);
        assert_eq!(bytes(|asm| asm.save_at(2, R13, 4, RSI)), [0x41, 0x89, 0x75, 4]);
        assert_eq!(bytes(|asm| asm.save_at(3, R12, 4, R9)), [0x4d, 0x89, 0x4c, 0x24, 4]);
        assert_eq!(bytes(|asm| asm.save_at_imm(0, RSI, 1, -1)), [0x40, 0xc6, 0x46, 1, 0xff]);
        assert_eq!(bytes(|asm| asm.save_at_imm(1, RSI, 1, 2)), [0x66, 0x40, 0xc7, 0x46, 1, 2, 0]);
        assert_eq!(bytes(|asm| asm.save_at_imm(2, R12, 0, 2)), [0x41, 0xc7, 0x04, 0x24, 2, 0, 0, 0]);
        assert_eq!(bytes(|asm| asm.save_at_imm(3, R9, 0, -2)), [0x49, 0xc7, 0x01, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(bytes(|asm| asm.cmp_at(RAX, R13, 0)), [0x49, 0x3b, 0x45, 0]);
        assert_eq!(bytes(|asm| asm.jmp_at(R9, 16)), [0x41, 0xff, 0x61, 16]);
    }
}
