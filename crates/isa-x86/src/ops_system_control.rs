//! Control and debug registers, translations, the system flags (SDM volume 3, "Control Registers", "Debug Registers",
//! "Invalidation of TLBs and Paging-Structure Caches"; volume 2, each instruction).

use crate::iret::loaded_flags;
use crate::ops_system::privileged;
use crate::stack::Stack;
use crate::walk::PHYSICAL_BITS;
use crate::{Change, Env, Fault, Mode, Shadow, State, cr0, cr4, dr6, dr7, efer, rflags, seg, vector};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlOp {
    /// `hlt`
    Halt,
    /// Nothing, at CPL 0 only: what a privileged instruction checks before it touches memory.
    Privileged,
    /// Reads control register `n`.
    Read(u8),
    /// Writes `[value]` to control register `n`.
    Write(u8),
    /// Reads debug register `n`.
    ReadDebug(u8),
    /// Writes `[value]` to debug register `n`.
    WriteDebug(u8),
    /// `smsw`: CR0.
    StoreStatusWord,
    /// `lmsw`: bits 3:0 of `[value]` to CR0; PE cannot be cleared.
    LoadStatusWord,
    /// `clts`
    ClearTaskSwitched,
    /// `invlpg` of `[segment, offset]`.
    InvalidatePage,
    /// `invpcid`: type, linear address of the descriptor.
    InvalidatePcid,
    /// `invd`, `wbinvd`: there are no caches to see.
    Caches,
    /// `serialize`
    Serialize,
    /// `clac`, `stac`: RFLAGS.AC becomes this.
    AlignmentCheck(bool),
    /// `cli`, `sti`: IF becomes this.
    Interrupts(bool),
    /// `pushf` of so many bytes.
    PushFlags(Width),
    /// `popf` of so many bytes.
    PopFlags(Width),
}

/// Bits of CR0 that exist.
const CR0_BITS: u64 = cr0::PE
    | cr0::MP
    | cr0::EM
    | cr0::TS
    | cr0::ET
    | cr0::NE
    | cr0::WP
    | cr0::AM
    | cr0::NW
    | cr0::CD
    | cr0::PG;

/// Bits of CR4 that exist; CPUID names the same features.
const CR4_BITS: u64 = cr4::TSD
    | cr4::DE
    | cr4::PSE
    | cr4::PAE
    | cr4::MCE
    | cr4::PGE
    | cr4::PCE
    | cr4::OSFXSR
    | cr4::OSXMMEXCPT
    | cr4::UMIP
    | cr4::FSGSBASE
    | cr4::PCIDE
    | cr4::SMEP
    | cr4::SMAP;

/// Bits of CR4 that end all translations when they change.
const CR4_FLUSHES: u64 = cr4::PSE | cr4::PAE | cr4::PGE | cr4::LA57 | cr4::PCIDE | cr4::SMEP | cr4::SMAP;

/// Runs one.
///
/// # Errors
/// #GP(0), #UD, #DB (general detect).
pub fn run<E: Env>(env: &mut E, op: ControlOp, [a, b, ..]: [u64; 4]) -> Result<u64, Fault> {
    match op {
        ControlOp::Halt => {
            privileged(env)?;
            env.halt();
        }
        ControlOp::Privileged => privileged(env)?,
        ControlOp::Read(n) => return read(env, n),
        ControlOp::Write(n) => write(env, n, a)?,
        ControlOp::ReadDebug(n) => return read_debug(env, n),
        ControlOp::WriteDebug(n) => write_debug(env, n, a)?,
        ControlOp::StoreStatusWord => {
            no_umip(env)?;
            return Ok(env.state_ref().cr0);
        }
        ControlOp::LoadStatusWord => {
            privileged(env)?;
            let old = env.state_ref().cr0;
            write_cr0(env, old & !0xe | a & 0xf | old & cr0::PE)?;
        }
        ControlOp::ClearTaskSwitched => {
            privileged(env)?;
            env.state().cr0 &= !cr0::TS;
        }
        ControlOp::InvalidatePage => {
            privileged(env)?;
            let state = env.state_ref();
            let la = match state.mode() {
                Mode::Bits64 if a < u64::from(seg::FS) => b,
                Mode::Bits64 => state.segment(a as u8).base.wrapping_add(b),
                _ => state.segment(a as u8).base.wrapping_add(b) & 0xffff_ffff,
            };
            // What is not canonical has no translation.
            if state.canonical(la) {
                env.changed(Change::FlushPage(la));
            }
        }
        ControlOp::InvalidatePcid => invalidate_pcid(env, a, b)?,
        ControlOp::Caches => {
            privileged(env)?;
            env.changed(Change::Serialize);
        }
        ControlOp::Serialize => env.changed(Change::Serialize),
        ControlOp::AlignmentCheck(set) => {
            if env.state_ref().cpl() != 0 {
                return Err(Fault::ud());
            }
            let flags = &mut env.state().system_flags;
            *flags = *flags & !rflags::AC | if set { rflags::AC } else { 0 };
            env.changed(Change::Context);
        }
        ControlOp::Interrupts(set) => interrupts(env, set)?,
        ControlOp::PushFlags(width) => {
            let flags = env.state_ref().rflags() & !(rflags::RF | rflags::VM);
            let mut stack = Stack::current(env.state_ref());
            stack.push(env, width, flags)?;
            stack.commit(env.state());
        }
        ControlOp::PopFlags(width) => {
            let mut stack = Stack::current(env.state_ref());
            let value = stack.pop(env, width)?;
            let flags = loaded_flags(env.state_ref(), value, width);
            stack.commit(env.state());
            env.state().set_rflags(flags);
            env.changed(Change::Context);
            env.changed(Change::Interrupts);
        }
    }
    Ok(0)
}

/// What UMIP keeps from user code (SDM volume 3, "CR4.UMIP").
///
/// # Errors
/// #GP(0)
pub(crate) fn no_umip<E: Env>(env: &E) -> Result<(), Fault> {
    let state = env.state_ref();
    if state.cr4 & cr4::UMIP != 0 && state.cpl() != 0 { Err(Fault::gp(0)) } else { Ok(()) }
}

fn interrupts<E: Env>(env: &mut E, set: bool) -> Result<(), Fault> {
    let state = env.state();
    if !state.within_iopl() {
        return Err(Fault::gp(0));
    }
    if set && state.system_flags & rflags::IF == 0 {
        state.shadow = Shadow::Sti;
    }
    state.system_flags = state.system_flags & !rflags::IF | if set { rflags::IF } else { 0 };
    env.changed(Change::Interrupts);
    Ok(())
}

fn read<E: Env>(env: &mut E, n: u8) -> Result<u64, Fault> {
    if !matches!(n, 0 | 2 | 3 | 4 | 8) {
        return Err(Fault::ud());
    }
    privileged(env)?;
    let state = env.state_ref();
    Ok(match n {
        0 => state.cr0,
        2 => state.cr2,
        3 => state.cr3,
        4 => state.cr4,
        _ => env.cr8(),
    })
}

fn write<E: Env>(env: &mut E, n: u8, value: u64) -> Result<(), Fault> {
    if !matches!(n, 0 | 2 | 3 | 4 | 8) {
        return Err(Fault::ud());
    }
    privileged(env)?;
    match n {
        0 => write_cr0(env, value),
        2 => {
            env.state().cr2 = value;
            Ok(())
        }
        3 => write_cr3(env, value),
        4 => write_cr4(env, value),
        _ if value > 15 => Err(Fault::gp(0)),
        _ => {
            env.set_cr8(value);
            env.changed(Change::Interrupts);
            Ok(())
        }
    }
}

fn write_cr0<E: Env>(env: &mut E, value: u64) -> Result<(), Fault> {
    let state = env.state_ref();
    let (old, lme) = (state.cr0, state.msrs.efer & efer::LME != 0);
    let on = |bit| value & bit != 0;
    let long_code = state.segment(seg::CS).long;
    let enable = on(cr0::PG) && old & cr0::PG == 0;
    let disable = !on(cr0::PG) && old & cr0::PG != 0;
    let refused = value >> 32 != 0
        || on(cr0::PG) && !on(cr0::PE)
        || on(cr0::NW) && !on(cr0::CD)
        || enable && lme && (state.cr4 & cr4::PAE == 0 || long_code)
        || disable && (state.mode() == Mode::Bits64 || state.cr4 & cr4::PCIDE != 0);
    if refused {
        return Err(Fault::gp(0));
    }
    let new = value & CR0_BITS | cr0::ET;
    let state = env.state();
    state.cr0 = new;
    if on(cr0::PG) && lme {
        state.msrs.efer |= efer::LMA;
    } else {
        state.msrs.efer &= !efer::LMA;
    }
    if (old ^ new) & (cr0::PG | cr0::PE | cr0::WP) != 0 {
        env.changed(Change::FlushAll { global: true });
    }
    env.changed(Change::Context);
    Ok(())
}

fn write_cr3<E: Env>(env: &mut E, value: u64) -> Result<(), Fault> {
    let state = env.state();
    let mut new = value;
    let mut keep = false;
    if state.cr4 & cr4::PCIDE != 0 {
        keep = value >> 63 != 0;
        new &= !(1 << 63);
    }
    if new >> PHYSICAL_BITS != 0 {
        return Err(Fault::gp(0));
    }
    state.cr3 = new;
    if !keep {
        env.changed(Change::FlushAll { global: false });
    }
    env.changed(Change::Context);
    Ok(())
}

fn write_cr4<E: Env>(env: &mut E, value: u64) -> Result<(), Fault> {
    let state = env.state_ref();
    let old = state.cr4;
    let long = state.long_mode();
    let on = |bit| value & bit != 0 && old & bit == 0;
    let la57 = if state.identity.la57 { cr4::LA57 } else { 0 };
    let refused = value & !(CR4_BITS | la57) != 0
        || long && value & cr4::PAE == 0
        || long && (value ^ old) & cr4::LA57 != 0
        || on(cr4::PCIDE) && (!long || state.cr3 & 0xfff != 0);
    if refused {
        return Err(Fault::gp(0));
    }
    env.state().cr4 = value;
    if (old ^ value) & CR4_FLUSHES != 0 {
        env.changed(Change::FlushAll { global: true });
    }
    env.changed(Change::Context);
    Ok(())
}

fn invalidate_pcid<E: Env>(env: &mut E, kind: u64, at: u64) -> Result<(), Fault> {
    privileged(env)?;
    let access = crate::Access::data(0, false);
    let pcid = env.read(at, Width::B8, access)?;
    let la = env.read(at.wrapping_add(8), Width::B8, access)?;
    let state = env.state_ref();
    let no_pcid = state.cr4 & cr4::PCIDE == 0 && pcid != 0;
    let refused = kind > 3 || kind <= 1 && (pcid >> 12 != 0 || no_pcid) || kind == 0 && !state.canonical(la);
    if refused {
        return Err(Fault::gp(0));
    }
    // Any of the four may end more translations than it must.
    env.changed(match kind {
        0 => Change::FlushPage(la),
        _ => Change::FlushAll { global: true },
    });
    Ok(())
}

/// The number of a debug register that may be accessed now: 4 and 5 are 6 and 7 without CR4.DE.
fn debug_register<E: Env>(env: &mut E, n: u8) -> Result<u8, Fault> {
    let state = env.state_ref();
    let n = match n {
        4 | 5 if state.cr4 & cr4::DE != 0 => return Err(Fault::ud()),
        4 | 5 => n + 2,
        8.. => return Err(Fault::ud()),
        _ => n,
    };
    privileged(env)?;
    if env.state_ref().dr7 & dr7::GD != 0 {
        env.state().dr6 |= dr6::BD;
        return Err(Fault::plain(vector::DB));
    }
    Ok(n)
}

fn read_debug<E: Env>(env: &mut E, n: u8) -> Result<u64, Fault> {
    let n = debug_register(env, n)?;
    let state = env.state_ref();
    Ok(match n {
        6 => state.dr6,
        7 => state.dr7,
        n => state.dr.get(usize::from(n)).copied().unwrap_or(0),
    })
}

fn write_debug<E: Env>(env: &mut E, n: u8, value: u64) -> Result<(), Fault> {
    let n = debug_register(env, n)?;
    let state: &mut State = env.state();
    if n >= 6 && value >> 32 != 0 {
        return Err(Fault::gp(0));
    }
    match n {
        6 => state.dr6 = value & dr6::WRITABLE | dr6::ONES,
        7 => state.dr7 = value & dr7::WRITABLE | dr7::ONES,
        n => {
            if let Some(register) = state.dr.get_mut(usize::from(n)) {
                *register = value;
            }
        }
    }
    env.changed(Change::Interrupts);
    Ok(())
}
