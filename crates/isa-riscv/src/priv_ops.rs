//! Privileged instructions: CSR access, trap return, waiting, fences, cache blocks.

use crate::csr::{CsrAction, access, mip};
use crate::csr_fields::{envcfg, mstatus};
use crate::{Change, Env, Exception, Mode, Trap};

/// `csrrw`, `csrrwi`: writes `value`, returns the value before.
///
/// # Errors
/// Illegal instruction.
pub fn csrrw<E: Env>(env: &mut E, number: u16, value: u64) -> Result<u64, Trap> {
    access(env, number, CsrAction::Write(value))
}

/// `csrrs`, `csrrsi`: sets `bits`, returns the value before. `writes` is false if `rs1` is `x0` or the
/// immediate 0.
///
/// # Errors
/// Illegal instruction.
pub fn csrrs<E: Env>(env: &mut E, number: u16, bits: u64, writes: bool) -> Result<u64, Trap> {
    let set = CsrAction::Set(bits);
    access(env, number, if writes { set } else { CsrAction::Read })
}

/// `csrrc`, `csrrci`: clears `bits`, returns the value before. `writes` as for [`csrrs`].
///
/// # Errors
/// Illegal instruction.
pub fn csrrc<E: Env>(env: &mut E, number: u16, bits: u64, writes: bool) -> Result<u64, Trap> {
    let clear = CsrAction::Clear(bits);
    access(env, number, if writes { clear } else { CsrAction::Read })
}

/// `ecall`: the trap for the mode ("Environment Call and Breakpoint").
pub fn ecall<E: Env>(env: &E) -> Trap {
    let cause = match env.hart_ref().mode {
        Mode::U => Exception::EcallU,
        Mode::S => Exception::EcallS,
        Mode::M => Exception::EcallM,
    };
    Trap::new(cause, 0)
}

/// `ebreak`, `c.ebreak`: the breakpoint trap, with the instruction's address as its value.
pub fn ebreak<E: Env>(env: &E) -> Trap {
    Trap::new(Exception::Breakpoint, env.insn_pc())
}

/// `mret` ("Trap-Return Instructions").
///
/// # Errors
/// Illegal instruction outside M-mode.
pub fn mret<E: Env>(env: &mut E) -> Result<(), Trap> {
    let hart = env.hart();
    if hart.mode != Mode::M {
        return Err(Trap::illegal());
    }
    let old = hart.csr.mstatus;
    let mut new = old & !(mstatus::MIE | mstatus::MPP) | mstatus::MPIE;
    if old & mstatus::MPIE != 0 {
        new |= mstatus::MIE;
    }
    hart.mode = hart.csr.mpp();
    if hart.mode != Mode::M {
        new &= !mstatus::MPRV;
    }
    hart.csr.mstatus = new;
    let pc = hart.csr.mepc;
    returned(env, pc);
    Ok(())
}

/// `sret` ("Trap-Return Instructions"; `mstatus.TSR`).
///
/// # Errors
/// Illegal instruction in U-mode, and in S-mode while TSR is set.
pub fn sret<E: Env>(env: &mut E) -> Result<(), Trap> {
    let hart = env.hart();
    let old = hart.csr.mstatus;
    if hart.mode == Mode::U || hart.mode == Mode::S && old & mstatus::TSR != 0 {
        return Err(Trap::illegal());
    }
    let mut new = old & !(mstatus::SIE | mstatus::SPP | mstatus::MPRV) | mstatus::SPIE;
    if old & mstatus::SPIE != 0 {
        new |= mstatus::SIE;
    }
    hart.mode = if old & mstatus::SPP != 0 { Mode::S } else { Mode::U };
    hart.csr.mstatus = new;
    let pc = hart.csr.sepc;
    returned(env, pc);
    Ok(())
}

fn returned<E: Env>(env: &mut E, pc: u64) {
    env.changed(Change::Translation);
    env.changed(Change::Interrupts);
    env.jump_to(pc);
}

/// `wfi` ("Wait for Interrupt"; `mstatus.TW`): sleeps unless an enabled interrupt is pending.
///
/// # Errors
/// Illegal instruction in S-mode while TW is set: the bounded time that the manual allows before the trap
/// is 0 here. In U-mode the same on a hart without S-mode, and always on one with it.
pub fn wfi<E: Env>(env: &mut E) -> Result<(), Trap> {
    let hart = env.hart_ref();
    match hart.mode {
        Mode::U if hart.features.supervisor => return Err(Trap::illegal()),
        Mode::S | Mode::U if hart.csr.mstatus & mstatus::TW != 0 => return Err(Trap::illegal()),
        _ => {}
    }
    if mip(env) & env.hart_ref().csr.mie == 0 {
        env.wait_for_interrupt();
    }
    Ok(())
}

/// `sfence.vma` ("Supervisor Memory-Management Fence Instruction"): `va` is `None` if `rs1` is `x0`,
/// `asid` if `rs2` is.
///
/// # Errors
/// Illegal instruction in U-mode, and in S-mode while TVM is set.
pub fn sfence_vma<E: Env>(env: &mut E, va: Option<u64>, asid: Option<u64>) -> Result<(), Trap> {
    let hart = env.hart_ref();
    match hart.mode {
        Mode::U => return Err(Trap::illegal()),
        Mode::S if hart.csr.mstatus & mstatus::TVM != 0 => return Err(Trap::illegal()),
        _ => {}
    }
    // Bits of rs2 above the implemented ASID are ignored.
    let bits = (1u64 << hart.features.asid_bits.min(16)) - 1;
    let asid = asid.map(|asid| (asid & bits) as u16);
    env.changed(Change::FenceVma { va, asid });
    Ok(())
}

/// `sinval.vma` ("Svinval"): as `sfence.vma`, whose ordering the two fences around it add.
///
/// # Errors
/// Those of [`sfence_vma`].
pub fn sinval_vma<E: Env>(env: &mut E, va: Option<u64>, asid: Option<u64>) -> Result<(), Trap> {
    sfence_vma(env, va, asid)
}

/// `sfence.w.inval` and `sfence.inval.ir` ("Svinval"): nothing to do, as [`sinval_vma`] orders all.
///
/// # Errors
/// Illegal instruction in U-mode; TVM does not matter.
pub fn sfence_inval<E: Env>(env: &E) -> Result<(), Trap> {
    if env.hart_ref().mode == Mode::U {
        return Err(Trap::illegal());
    }
    Ok(())
}

/// Whether `field` of `menvcfg`, and in U-mode of `senvcfg` too, is not 0 ("CMO", control of CBO
/// execution).
fn cbo_enabled<E: Env>(env: &E, field: u64) -> bool {
    let hart = env.hart_ref();
    let (menvcfg, senvcfg) = (hart.csr.menvcfg, hart.csr.senvcfg);
    match hart.mode {
        Mode::M => true,
        Mode::S => menvcfg & field != 0,
        Mode::U => menvcfg & field != 0 && (senvcfg & field != 0 || !hart.features.supervisor),
    }
}

/// `cbo.zero`.
///
/// # Errors
/// Illegal instruction if CBZE forbids it; the store's fault.
pub fn cbo_zero<E: Env>(env: &mut E, va: u64) -> Result<(), Trap> {
    if !cbo_enabled(env, envcfg::CBZE) {
        return Err(Trap::illegal());
    }
    env.zero_block(va)
}

/// `cbo.clean` and `cbo.flush`.
///
/// # Errors
/// Illegal instruction if CBCFE forbids it; the access's fault.
pub fn cbo_clean<E: Env>(env: &mut E, va: u64) -> Result<(), Trap> {
    if !cbo_enabled(env, envcfg::CBCFE) {
        return Err(Trap::illegal());
    }
    env.manage_block(va)
}

/// `cbo.inval`. Memory is coherent, so it does not matter whether CBIE makes it a flush.
///
/// # Errors
/// Illegal instruction if CBIE forbids it; the access's fault.
pub fn cbo_inval<E: Env>(env: &mut E, va: u64) -> Result<(), Trap> {
    if !cbo_enabled(env, envcfg::CBIE) {
        return Err(Trap::illegal());
    }
    env.manage_block(va)
}
