//! Bytes to [`Insn`]: the decoder library's rows in our terms.

use crate::insn::{Insn, Mem, Operand, Prefixes, Reg};
use crate::rows::Meaning;
use crate::{Mode, seg};
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};
use isa_core::Width;

/// The most bytes of an instruction (SDM volume 2, "Instruction Format").
pub const LONGEST: usize = 15;

/// Why there is no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// It goes on behind the bytes given.
    Short,
    /// It is longer than 15 bytes: #GP(0).
    TooLong,
    /// No instruction, or none that the processor has: #UD.
    Invalid,
}

/// Decodes the instruction that begins `bytes` (of which at most 15 count).
///
/// # Errors
/// See [`Undecoded`].
pub fn decode(bytes: &[u8], mode: Mode) -> Result<(Meaning, Insn), Undecoded> {
    let bitness = match mode {
        Mode::Bits16 => 16,
        Mode::Bits32 => 32,
        Mode::Bits64 => 64,
    };
    let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut decoder = Decoder::with_ip(bitness, bytes, 0, DecoderOptions::NONE);
    let insn = decoder.decode();
    if insn.is_invalid() {
        return Err(match decoder.last_error() {
            iced_x86::DecoderError::NoMoreBytes if bytes.len() < LONGEST => Undecoded::Short,
            iced_x86::DecoderError::NoMoreBytes => Undecoded::TooLong,
            _ => Undecoded::Invalid,
        });
    }
    let meaning = Meaning::of(insn.code()).ok_or(Undecoded::Invalid)?;
    translate(&insn, mode).map(|insn| (meaning, insn)).ok_or(Undecoded::Invalid)
}

fn width_of(bytes: usize) -> Width {
    match bytes {
        1 => Width::B1,
        2 => Width::B2,
        4 => Width::B4,
        _ => Width::B8,
    }
}

/// The number of a general register, whatever its width.
fn general(register: Register) -> Option<Reg> {
    if !register.is_gpr() {
        return None;
    }
    let high = matches!(register, Register::AH | Register::CH | Register::DH | Register::BH);
    let n = register.full_register().number() as u8;
    Some(Reg { n, high })
}

fn memory(insn: &Instruction, mode: Mode) -> Mem {
    let address_size = |register: Register| (register != Register::None).then(|| width_of(register.size()));
    let base = insn.memory_base();
    let rip = base.is_ip();
    let address = address_size(base).or(address_size(insn.memory_index())).unwrap_or_else(|| {
        match insn.memory_displ_size() {
            0 => address_width(insn, mode),
            size => width_of(size as usize),
        }
    });
    let displacement = match rip {
        true => insn.memory_displacement64().wrapping_sub(insn.len() as u64),
        false => insn.memory_displacement64(),
    };
    let number = |register: Register| general(register).map_or(Mem::NONE, |r| r.n);
    Mem {
        segment: segment(insn.memory_segment()).unwrap_or(seg::DS),
        base: if rip { Mem::RIP } else { number(base) },
        index: number(insn.memory_index()),
        scale: insn.memory_index_scale().trailing_zeros() as u8,
        address,
        displacement: address.sign_extend(displacement) as i64,
    }
}

fn segment(register: Register) -> Option<u8> {
    register.is_segment_register().then(|| register.number() as u8)
}

/// The address size of an instruction without a memory operand that shows it: the default of the mode, or the other one
/// with prefix 67.
fn address_width(insn: &Instruction, mode: Mode) -> Width {
    match insn.code().op_code().address_size() {
        16 => Width::B2,
        32 => Width::B4,
        64 => Width::B8,
        _ => match mode {
            Mode::Bits16 => Width::B2,
            Mode::Bits32 => Width::B4,
            Mode::Bits64 => Width::B8,
        },
    }
}

/// The operand size: of the first operand, else what the row says, else the mode's default.
fn operand_width(insn: &Instruction, mode: Mode) -> Width {
    match insn.op_kind(0) {
        OpKind::Register if insn.op0_register().is_gpr() => return width_of(insn.op0_register().size()),
        OpKind::Memory
        | OpKind::MemorySegSI
        | OpKind::MemorySegESI
        | OpKind::MemorySegRSI
        | OpKind::MemorySegDI
        | OpKind::MemorySegEDI
        | OpKind::MemorySegRDI
        | OpKind::MemoryESDI
        | OpKind::MemoryESEDI
        | OpKind::MemoryESRDI
            if insn.memory_size().size() != 0 =>
        {
            return width_of(insn.memory_size().size());
        }
        _ => {}
    }
    match insn.code().op_code().operand_size() {
        16 => Width::B2,
        32 => Width::B4,
        64 => Width::B8,
        _ => match mode {
            Mode::Bits16 => Width::B2,
            Mode::Bits32 => Width::B4,
            Mode::Bits64 => Width::B8,
        },
    }
}

/// In our terms. `None` for operands that no integer instruction has.
fn translate(insn: &Instruction, mode: Mode) -> Option<Insn> {
    let mut out = Insn {
        code: insn.code(),
        operands: [Operand::None; 4],
        mem: memory(insn, mode),
        imm: 0,
        imm2: 0,
        width: operand_width(insn, mode),
        address: address_width(insn, mode),
        prefixes: Prefixes {
            lock: insn.has_lock_prefix(),
            rep: insn.has_rep_prefix(),
            repne: insn.has_repne_prefix(),
        },
        length: insn.len() as u8,
    };
    for (n, slot) in (0..insn.op_count()).zip(&mut out.operands) {
        *slot = match insn.op_kind(n) {
            OpKind::Register => register(insn.op_register(n))?,
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                out.imm = insn.near_branch_target().wrapping_sub(insn.len() as u64);
                Operand::Imm
            }
            OpKind::FarBranch16 => {
                (out.imm, out.imm2) = (insn.far_branch16().into(), insn.far_branch_selector());
                Operand::Imm
            }
            OpKind::FarBranch32 => {
                (out.imm, out.imm2) = (insn.far_branch32().into(), insn.far_branch_selector());
                Operand::Imm
            }
            OpKind::Immediate8_2nd => {
                out.imm2 = insn.immediate8_2nd().into();
                Operand::Imm2
            }
            OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64 => {
                out.imm = insn.immediate(n);
                Operand::Imm
            }
            _ => Operand::Mem,
        };
    }
    Some(out)
}

fn register(register: Register) -> Option<Operand> {
    if let Some(segment) = segment(register) {
        return Some(Operand::Segment(segment));
    }
    if register.is_cr() {
        return Some(Operand::Control(register.number() as u8));
    }
    if register.is_dr() {
        return Some(Operand::Debug(register.number() as u8));
    }
    general(register).map(Operand::Reg)
}
