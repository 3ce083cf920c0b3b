//! A decoded instruction: which row, and its operands, independent of where it stands.

use iced_x86::{Code, FlowControl};
use isa_core::Width;

/// A general register as an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reg {
    /// Its number, 0 to 15.
    pub n: u8,
    /// AH, CH, DH, BH: bits 15:8 of register `n`.
    pub high: bool,
}

/// A memory operand: `segment:[base + index * scale + displacement]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mem {
    /// The segment register, overrides applied.
    pub segment: u8,
    /// Base register, [`Mem::NONE`] or [`Mem::RIP`]: the address behind the instruction.
    pub base: u8,
    /// Index register or [`Mem::NONE`].
    pub index: u8,
    /// log2 of what multiplies the index.
    pub scale: u8,
    /// Address size: the sum is truncated to it.
    pub address: Width,
    /// Sign-extended.
    pub displacement: i64,
}

impl Mem {
    /// No register.
    pub const NONE: u8 = 0xff;
    /// The address of the next instruction, as base.
    pub const RIP: u8 = 0xfe;
}

/// An operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// There is none.
    None,
    /// A general register.
    Reg(Reg),
    /// The memory operand, [`Insn::mem`].
    Mem,
    /// The immediate, [`Insn::imm`].
    Imm,
    /// The second immediate, [`Insn::imm2`].
    Imm2,
    /// A segment register.
    Segment(u8),
    /// A control register.
    Control(u8),
    /// A debug register.
    Debug(u8),
}

/// Prefixes that change what an instruction does and are not in its operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prefixes {
    /// LOCK
    pub lock: bool,
    /// REP, REPE
    pub rep: bool,
    /// REPNE
    pub repne: bool,
}

/// A decoded instruction. Relative targets and RIP-relative addresses are kept as distances from the address behind it,
/// so that it may stand anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Insn {
    /// The row of the decoder's table.
    pub code: Code,
    /// Operands in the manual's order: destination first.
    pub operands: [Operand; 4],
    /// The memory operand, if one of the operands is [`Operand::Mem`].
    pub mem: Mem,
    /// The immediate, sign- or zero-extended as the row says; for relative jumps the distance; for far pointers the
    /// offset.
    pub imm: u64,
    /// The second immediate: nesting level of `enter`, selector of a far pointer.
    pub imm2: u16,
    /// Operand size: of the first operand, where operands differ.
    pub width: Width,
    /// Width of the second operand, where it differs (`movzx`, `crc32`).
    pub source: Width,
    /// Address size, also of implicit operands (string instructions, `loop`).
    pub address: Width,
    /// Prefixes.
    pub prefixes: Prefixes,
    /// Length in bytes, 1 to 15.
    pub length: u8,
}

impl Insn {
    /// Whether something else than the next instruction may follow it: no block goes on behind it.
    pub fn ends_block(&self) -> bool {
        self.code.flow_control() != FlowControl::Next
    }
}
