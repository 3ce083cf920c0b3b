//! Decodes an instruction to tell how it must be run, or that it must not.

use crate::{CODE_LIMIT, Refused};
use iced_x86::{Code, CpuidFeature, Decoder, DecoderError, DecoderOptions, FlowControl, Instruction};
use iced_x86::{Mnemonic, OpKind, Register};

/// How an instruction is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes on behind itself or faults; it has so many bytes.
    Straight(usize),
    /// It may also go on elsewhere.
    Branch(usize, To),
    /// It may go on anywhere, or the decoder does not know it.
    Unknown,
}

/// Where a branch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Here.
    Address(u64),
    /// To what is in the register with this number.
    Register(usize),
    /// To what is in memory.
    Memory {
        /// Numbers of registers.
        base: Option<usize>,
        /// A number of a register, and what it is multiplied by.
        index: Option<(usize, u64)>,
        /// Added to both.
        offset: u64,
        /// The bits of the sum that are the address.
        mask: u64,
    },
}

/// How the instruction at the beginning of `code`, which will stand at `rip`, is to be run.
///
/// # Errors
/// If it must not be.
pub fn kind(code: &[u8], rip: u64) -> Result<Kind, Refused> {
    if code.is_empty() || code.len() > CODE_LIMIT {
        return Err(Refused::Length);
    }
    let mut decoder = Decoder::with_ip(64, code, rip, DecoderOptions::NONE);
    let insn = decoder.decode();
    if insn.is_invalid() {
        // There may be one, only not all of it.
        let more = decoder.last_error() == DecoderError::NoMoreBytes && {
            let mut padded = [0; CODE_LIMIT];
            padded.iter_mut().zip(code).for_each(|(to, from)| *to = *from);
            !Decoder::with_ip(64, &padded, rip, DecoderOptions::NONE).decode().is_invalid()
        };
        return if more { Err(Refused::Incomplete) } else { Ok(Kind::Unknown) };
    }
    permit(&insn)?;
    Ok(match insn.flow_control() {
        FlowControl::Next | FlowControl::Interrupt | FlowControl::Exception => Kind::Straight(insn.len()),
        _ => to(&insn).map_or(Kind::Unknown, |to| Kind::Branch(insn.len(), to)),
    })
}

/// Where a branch goes, if that is easily told.
fn to(insn: &Instruction) -> Option<To> {
    match insn.code() {
        Code::Retnq | Code::Retnq_imm16 => {
            return Some(To::Memory { base: Some(crate::RSP), index: None, offset: 0, mask: u64::MAX });
        }
        Code::Jmp_rm64 | Code::Call_rm64 => {}
        // 32-bit and 16-bit forms are another matter on processors of another make.
        _ if insn.op_kind(0) == OpKind::NearBranch64 => return Some(To::Address(insn.near_branch64())),
        _ => return None,
    }
    if insn.op_kind(0) == OpKind::Register {
        return number(insn.op0_register()).map(To::Register);
    }
    if matches!(insn.memory_segment(), Register::FS | Register::GS) {
        return None;
    }
    let (base, index) = (insn.memory_base(), insn.memory_index());
    let narrow =
        base.size() == 4 || index.size() == 4 || insn.memory_displ_size() == 4 && base == Register::EIP;
    let mask = if narrow { u64::from(u32::MAX) } else { u64::MAX };
    // The displacement of RIP-relative operands is the address.
    let relative = matches!(base, Register::None | Register::RIP | Register::EIP);
    let base = if relative { None } else { Some(number(base)?) };
    let scale = u64::from(insn.memory_index_scale());
    let index = if index == Register::None { None } else { Some((number(index)?, scale)) };
    Some(To::Memory { base, index, offset: insn.memory_displacement64(), mask })
}

/// The number of a general register of 32 or 64 bits.
fn number(register: Register) -> Option<usize> {
    (register.is_gpr32() || register.is_gpr64()).then(|| register.number())
}

fn permit(insn: &Instruction) -> Result<(), Refused> {
    match insn.mnemonic() {
        Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Sysret | Mnemonic::Sysretq => {
            return Err(Refused::Kernel);
        }
        // Linux's gate for 32-bit system calls.
        Mnemonic::Int if insn.immediate8() == 0x80 => return Err(Refused::Kernel),
        // Under UMIP, the kernel makes up their results (Linux, arch/x86/kernel/umip.c).
        Mnemonic::Sgdt | Mnemonic::Sidt | Mnemonic::Sldt | Mnemonic::Smsw | Mnemonic::Str => {
            return Err(Refused::Kernel);
        }
        Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lss | Mnemonic::Lfs | Mnemonic::Lgs => {
            return Err(Refused::Segment);
        }
        Mnemonic::Wrfsbase | Mnemonic::Wrgsbase => return Err(Refused::Segment),
        // Calls of the hypervisor, which need not ask for the privilege level.
        Mnemonic::Vmcall | Mnemonic::Vmmcall | Mnemonic::Vmgexit | Mnemonic::Tdcall => {
            return Err(Refused::Kernel);
        }
        Mnemonic::Retf | Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => return Err(Refused::Segment),
        Mnemonic::Mov | Mnemonic::Pop if insn.op0_register().is_segment_register() => {
            return Err(Refused::Segment);
        }
        // The rest of what calls for SSE but names no vector is fences and prefetches.
        Mnemonic::Ldmxcsr | Mnemonic::Stmxcsr => return Err(Refused::State),
        // Waits for a fault of the x87, which is never pending here.
        Mnemonic::Wait => return Ok(()),
        _ => {}
    }
    if insn.is_jmp_far() || insn.is_call_far() || insn.is_jmp_far_indirect() || insn.is_call_far_indirect() {
        return Err(Refused::Segment);
    }
    if insn.segment_prefix() == Register::FS && (0..insn.op_count()).any(|n| memory(insn.op_kind(n))) {
        return Err(Refused::Segment);
    }
    if !features(insn.code()) || !registers(insn) {
        return Err(Refused::State);
    }
    Ok(())
}

/// Whether an operand is in memory, by an address that a segment prefix bears on.
fn memory(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Memory
            | OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemorySegDI
            | OpKind::MemorySegEDI
            | OpKind::MemorySegRDI
    )
}

/// Whether an instruction belongs to the parts of the instruction set that know only general registers,
/// flags and memory, or that are privileged and so fault.
fn features(code: Code) -> bool {
    use CpuidFeature as F;
    code.cpuid_features().iter().all(|feature| {
        matches!(
            feature,
            F::INTEL8086
                | F::INTEL186
                | F::INTEL286
                | F::INTEL386
                | F::INTEL486
                | F::X64
                | F::CPUID
                | F::MSR
                | F::TSC
                | F::RDPMC
                | F::RDTSCP
                | F::RDPID
                | F::RDRAND
                | F::RDSEED
                | F::CMOV
                | F::CX8
                | F::CMPXCHG16B
                | F::MULTIBYTENOP
                | F::PAUSE
                | F::PREFETCHW
                | F::PREFETCHWT1
                | F::PREFETCHITI
                | F::SSE
                | F::SSE2
                | F::SSE4_2
                | F::POPCNT
                | F::LZCNT
                | F::BMI1
                | F::BMI2
                | F::TBM
                | F::ADX
                | F::MOVBE
                | F::MOVDIRI
                | F::MOVDIR64B
                | F::CLFSH
                | F::CLFLUSHOPT
                | F::CLWB
                | F::CLDEMOTE
                | F::CMPCCXADD
                | F::SERIALIZE
                | F::SMAP
                | F::INVPCID
                | F::CET_IBT
        )
    })
}

/// Whether the operands that are registers are ones that [`crate::Regs`] has, that are only read, or
/// whose use is privileged.
fn registers(insn: &Instruction) -> bool {
    (0..insn.op_count()).filter(|&n| insn.op_kind(n) == OpKind::Register).all(|n| {
        let register = insn.op_register(n);
        register.is_gpr()
            || register.is_segment_register()
            || register.is_cr()
            || register.is_dr()
            || register.is_tr()
    })
}
