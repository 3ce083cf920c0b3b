//! CSR access: who may, what a read shows, what a write leaves (Zicsr; Privileged Architecture).
//!
//! Where the manual leaves a choice, `docs/fidelity.md` names the one taken here.

use crate::csr_fields::{MEDELEG, counter, envcfg, irq, mstatus};
use crate::csr_table::{Csr, Row, find};
use crate::{Change, Csrs, Env, Extension, Features, Hart, Mode, Trap};

/// What an instruction does to a CSR.
///
/// No CSR has a read side effect, so `csrrw` with `rd=x0` is `Write` like any other. `csrrs` and
/// `csrrc` with `rs1=x0` (or an immediate of 0) are `Read`: the register number counts, not its
/// value ("Zicsr", CSR instructions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrAction {
    /// Only reads.
    Read,
    /// Replaces the value.
    Write(u64),
    /// Sets these bits.
    Set(u64),
    /// Clears these bits.
    Clear(u64),
}

/// Performs `action` on the CSR with `number` as the hart's mode allows; returns the value before.
///
/// # Errors
/// [`Trap::illegal`], and nothing has changed.
#[inline]
pub fn access<E: Env>(env: &mut E, number: u16, action: CsrAction) -> Result<u64, Trap> {
    let row = permitted(env.hart_ref(), number, action != CsrAction::Read)?;
    let old = value(env, row.csr);
    // In read-modify-write, SEIP is the bit that software wrote, not the external line ("Machine
    // Interrupt (mip and mie) Registers").
    let base = if row.csr == Csr::Mip { old & !irq::SEI | env.hart_ref().csr.mip & irq::SEI } else { old };
    match action {
        CsrAction::Read => {}
        // Changes nothing, so the floating-point state need not become dirty.
        CsrAction::Set(0) | CsrAction::Clear(0) if matches!(row.csr, Csr::Fflags | Csr::Frm | Csr::Fcsr) => {}
        CsrAction::Write(v) => set_value(env, row.csr, v),
        CsrAction::Set(bits) => set_value(env, row.csr, base | bits),
        CsrAction::Clear(bits) => set_value(env, row.csr, base & !bits),
    }
    Ok(old)
}

/// Reads the CSR with `number` as the hart's mode allows.
///
/// # Errors
/// [`Trap::illegal`].
pub fn read<E: Env>(env: &mut E, number: u16) -> Result<u64, Trap> {
    access(env, number, CsrAction::Read)
}

/// Reads the CSR with `number` whatever the mode, for inspection; `None` if the hart has none.
pub fn inspect<E: Env>(env: &mut E, number: u16) -> Option<u64> {
    let row = find(number).filter(|row| row.exists(&env.hart_ref().features))?;
    Some(value(env, row.csr))
}

/// The CSR, if `hart` may access it now.
fn permitted(hart: &Hart, number: u16, write: bool) -> Result<&'static Row, Trap> {
    let row = find(number).ok_or(Trap::illegal())?;
    if hart.mode < row.least_mode()
        || write && row.read_only()
        || !row.exists(&hart.features)
        || !enabled(hart, row.csr)
    {
        return Err(Trap::illegal());
    }
    Ok(row)
}

/// Whether another CSR keeps `hart` from accessing `csr` in its mode.
#[inline]
fn enabled(hart: &Hart, csr: Csr) -> bool {
    let csrs = &hart.csr;
    match csr {
        Csr::Fflags | Csr::Frm | Csr::Fcsr => csrs.mstatus & mstatus::FS != 0,
        Csr::Satp => hart.mode != Mode::S || csrs.mstatus & mstatus::TVM == 0,
        Csr::Stimecmp => {
            hart.mode == Mode::M || csrs.mcounteren & counter::TM != 0 && csrs.menvcfg & envcfg::STCE != 0
        }
        Csr::Cycle => counter_enabled(hart, counter::CY),
        Csr::Time => counter_enabled(hart, counter::TM),
        Csr::Instret => counter_enabled(hart, counter::IR),
        Csr::Hpmcounter(n) => counter_enabled(hart, 1 << (n & 31)),
        _ => true,
    }
}

fn counter_enabled(hart: &Hart, bit: u64) -> bool {
    let csrs = &hart.csr;
    match hart.mode {
        Mode::M => true,
        Mode::S => csrs.mcounteren & bit != 0,
        // Without S-mode there is no scounteren to ask.
        Mode::U => csrs.mcounteren & bit != 0 && (csrs.scounteren & bit != 0 || !hart.features.supervisor),
    }
}

/// All pending interrupts as `mip` shows them.
pub fn mip<E: Env>(env: &mut E) -> u64 {
    let lines = env.lines();
    let time = if env.hart_ref().csr.stce() { env.time() } else { 0 };
    env.hart_ref().csr.pending(lines, time)
}

/// What a read of `csr` shows.
fn value<E: Env>(env: &mut E, csr: Csr) -> u64 {
    match csr {
        Csr::Cycle | Csr::Mcycle => {
            let retired = env.retired();
            return env.hart_ref().csr.mcycle(retired);
        }
        Csr::Instret | Csr::Minstret => {
            let retired = env.retired();
            return env.hart_ref().csr.minstret(retired);
        }
        Csr::Time => return env.time(),
        Csr::Mip => return mip(env),
        Csr::Sip => return mip(env) & env.hart_ref().csr.mideleg,
        _ => {}
    }
    let hart = env.hart_ref();
    let c = &hart.csr;
    match csr {
        Csr::Fflags => u64::from(c.fflags),
        Csr::Frm => u64::from(c.frm),
        Csr::Fcsr => u64::from(c.frm) << 5 | u64::from(c.fflags),
        Csr::Sstatus => c.mstatus_with_sd() & mstatus::S_VISIBLE,
        Csr::Sie => c.mie & c.mideleg,
        Csr::Stvec => c.stvec,
        Csr::Scounteren => c.scounteren,
        Csr::Senvcfg => c.senvcfg,
        Csr::Sscratch => c.sscratch,
        Csr::Sepc => c.sepc,
        Csr::Scause => c.scause,
        Csr::Stval => c.stval,
        Csr::Stimecmp => c.stimecmp,
        Csr::Satp => c.satp,
        Csr::Mvendorid => u64::from(hart.features.mvendorid),
        Csr::Marchid => hart.features.marchid,
        Csr::Mimpid => hart.features.mimpid,
        Csr::Mhartid => hart.hartid,
        Csr::Mstatus => c.mstatus_with_sd(),
        Csr::Misa => hart.features.misa(),
        Csr::Medeleg => c.medeleg,
        Csr::Mideleg => c.mideleg,
        Csr::Mie => c.mie,
        Csr::Mtvec => c.mtvec,
        Csr::Mcounteren => c.mcounteren,
        Csr::Menvcfg => c.menvcfg,
        Csr::Mcountinhibit => c.mcountinhibit,
        Csr::Mscratch => c.mscratch,
        Csr::Mepc => c.mepc,
        Csr::Mcause => c.mcause,
        Csr::Mtval => c.mtval,
        Csr::Pmpcfg(register) => c.pmp.cfg_register(register),
        Csr::Pmpaddr(entry) => c.pmp.addr(entry),
        // One trigger register set, with no trigger in it: tinfo's bit 0 says that type 0 is all
        // there is (Debug specification, "Trigger Module Registers").
        Csr::Tinfo => 1,
        Csr::Mconfigptr
        | Csr::Hpmcounter(_)
        | Csr::Mhpmcounter(_)
        | Csr::Mhpmevent(_)
        | Csr::Tselect
        | Csr::Tdata1
        | Csr::Tdata2
        | Csr::Tdata3 => 0,
        // Answered above.
        Csr::Cycle | Csr::Mcycle | Csr::Instret | Csr::Minstret | Csr::Time | Csr::Mip | Csr::Sip => 0,
    }
}

/// Writes `v` to `csr`, as far as it takes it.
fn set_value<E: Env>(env: &mut E, csr: Csr, v: u64) {
    let features = env.hart_ref().features;
    match csr {
        Csr::Fflags | Csr::Frm | Csr::Fcsr => set_float(env.hart(), csr, v),
        Csr::Sstatus => set_mstatus(env, v, mstatus::S_WRITABLE),
        Csr::Mstatus => set_mstatus(env, v, mstatus::WRITABLE),
        Csr::Sie | Csr::Mie | Csr::Sip | Csr::Mip | Csr::Mideleg => {
            set_interrupt_csr(&mut env.hart().csr, &features, csr, v);
            env.changed(Change::Interrupts);
        }
        Csr::Satp => {
            let c = &mut env.hart().csr;
            if let Some(satp) = legal_satp(&features, v)
                && satp != c.satp
            {
                c.satp = satp;
                env.changed(Change::Translation);
            }
        }
        Csr::Menvcfg => set_menvcfg(env, v),
        Csr::Senvcfg => {
            let c = &mut env.hart().csr;
            c.senvcfg = legal_envcfg(c.senvcfg, v, senvcfg_writable(&features));
        }
        Csr::Stimecmp => {
            env.hart().csr.stimecmp = v;
            env.changed(Change::Timer);
            env.changed(Change::Interrupts);
        }
        Csr::Mcycle => {
            let retired = env.retired().wrapping_add(1);
            env.hart().csr.set_mcycle(v, retired);
        }
        Csr::Minstret => {
            let retired = env.retired().wrapping_add(1);
            env.hart().csr.set_minstret(v, retired);
        }
        Csr::Mcountinhibit => {
            let retired = env.retired().wrapping_add(1);
            let inhibit = v & u64::from(features.counter_mask) & !counter::TM;
            env.hart().csr.set_mcountinhibit(inhibit, retired);
        }
        Csr::Pmpcfg(register) => {
            if env.hart().csr.pmp.set_cfg_register(register, v) {
                env.changed(Change::Pmp);
            }
        }
        Csr::Pmpaddr(entry) => {
            if env.hart().csr.pmp.set_addr(entry, v) {
                env.changed(Change::Pmp);
            }
        }
        _ => set_plain(&mut env.hart().csr, &features, csr, v),
    }
}

/// Writes a CSR that nobody caches anything about.
fn set_plain(c: &mut Csrs, features: &Features, csr: Csr, v: u64) {
    match csr {
        Csr::Stvec => c.stvec = legal_tvec(c.stvec, v),
        Csr::Mtvec => c.mtvec = legal_tvec(c.mtvec, v),
        Csr::Scounteren => c.scounteren = v & u64::from(features.counter_mask),
        Csr::Mcounteren => c.mcounteren = v & u64::from(features.counter_mask),
        Csr::Sscratch => c.sscratch = v,
        Csr::Mscratch => c.mscratch = v,
        Csr::Sepc => c.sepc = v & epc_writable(features),
        Csr::Mepc => c.mepc = v & epc_writable(features),
        Csr::Scause => c.scause = v,
        Csr::Mcause => c.mcause = v,
        Csr::Stval => c.stval = v,
        Csr::Mtval => c.mtval = v,
        Csr::Medeleg => c.medeleg = v & MEDELEG,
        // The rest has no writable bit, or was handled by the caller.
        _ => {}
    }
}

/// `fflags`, `frm`, `fcsr`: every write makes the floating-point state dirty ("Extension Context
/// Status in mstatus Register").
fn set_float(hart: &mut Hart, csr: Csr, v: u64) {
    let c = &mut hart.csr;
    if csr != Csr::Frm {
        c.fflags = v as u8 & 0x1f;
    }
    match csr {
        Csr::Frm => c.frm = v as u8 & 7,
        Csr::Fcsr => c.frm = (v >> 5) as u8 & 7,
        _ => {}
    }
    c.mstatus |= mstatus::FS;
}

/// `mstatus` with the bits of `mask` taken from `v`.
fn set_mstatus<E: Env>(env: &mut E, v: u64, mask: u64) {
    let features = env.hart_ref().features;
    let c = &mut env.hart().csr;
    let old = c.mstatus;
    let new = legal_mstatus(&features, old, old & !mask | v & mask);
    c.mstatus = new;
    let diff = old ^ new;
    if diff & (mstatus::MPRV | mstatus::MPP | mstatus::SUM | mstatus::MXR) != 0 {
        env.changed(Change::Translation);
    }
    if diff & (mstatus::SIE | mstatus::MIE) != 0 {
        env.changed(Change::Interrupts);
    }
    if diff & mstatus::FS != 0 {
        env.changed(Change::Legality);
    }
}

/// `new` as `mstatus` holds it: MPP 2 is no mode and leaves MPP as in `old`; FS is 0 without F; SXL
/// and UXL are 2. Without S-mode its fields are 0 and its number in MPP is no mode either.
pub(crate) fn legal_mstatus(features: &Features, old: u64, new: u64) -> u64 {
    let mut new = new & mstatus::WRITABLE | mstatus::SXL | mstatus::UXL;
    let mpp = (new & mstatus::MPP) >> mstatus::MPP_SHIFT;
    if mpp == 2 || mpp == Mode::S as u64 && !features.supervisor {
        new = new & !mstatus::MPP | old & mstatus::MPP;
    }
    if !features.has(Extension::F) {
        new &= !mstatus::FS;
    }
    if !features.supervisor {
        new &= !mstatus::S_ONLY;
    }
    new
}

/// `xtvec`: modes 2 and 3 are reserved, and such a write changes nothing.
pub(crate) fn legal_tvec(old: u64, new: u64) -> u64 {
    if new & 3 < 2 { new } else { old }
}

/// Bits of `xepc` that can be 1: IALIGN is 16 with C, else 32.
pub(crate) fn epc_writable(features: &Features) -> u64 {
    if features.has(Extension::C) { !1 } else { !3 }
}

/// `satp` as it holds `new`; `None` if the mode is not there, for then the write has no effect at all
/// ("Supervisor Address Translation and Protection (satp) Register").
pub(crate) fn legal_satp(features: &Features, new: u64) -> Option<u64> {
    let mode = (new >> 60) as u8;
    let supported = mode == 0 || (8..=features.satp_mode as u8).contains(&mode);
    let asid = (1u64 << features.asid_bits.min(16)) - 1;
    supported.then_some(new & (0xf << 60 | asid << 44 | ((1 << 44) - 1)))
}

fn senvcfg_writable(features: &Features) -> u64 {
    let mut mask = envcfg::FIOM;
    if features.has(Extension::Zicbom) {
        mask |= envcfg::CBIE | envcfg::CBCFE;
    }
    if features.has(Extension::Zicboz) {
        mask |= envcfg::CBZE;
    }
    mask
}

/// The bits for translation and the supervisor's timer are nothing without a supervisor, whatever extensions are named.
fn menvcfg_writable(features: &Features) -> u64 {
    let mut mask = senvcfg_writable(features);
    for (extension, bit) in [
        (Extension::Svadu, envcfg::ADUE),
        (Extension::Svpbmt, envcfg::PBMTE),
        (Extension::Sstc, envcfg::STCE),
    ] {
        if features.supervisor && features.has(extension) {
            mask |= bit;
        }
    }
    mask
}

/// `new` as `xenvcfg` holds it; CBIE 2 is reserved and leaves CBIE as in `old`.
fn legal_envcfg(old: u64, new: u64, writable: u64) -> u64 {
    let new = new & writable;
    if new & envcfg::CBIE == 2 << 4 { new & !envcfg::CBIE | old & envcfg::CBIE } else { new }
}

/// `menvcfg` and `senvcfg` as `features` let them hold these values.
pub(crate) fn legal_envcfgs(features: &Features, menvcfg: u64, senvcfg: u64) -> (u64, u64) {
    (
        legal_envcfg(0, menvcfg, menvcfg_writable(features)),
        legal_envcfg(0, senvcfg, senvcfg_writable(features)),
    )
}

fn set_menvcfg<E: Env>(env: &mut E, v: u64) {
    let features = env.hart_ref().features;
    let c = &mut env.hart().csr;
    let old = c.menvcfg;
    c.menvcfg = legal_envcfg(old, v, menvcfg_writable(&features));
    let diff = old ^ c.menvcfg;
    if diff & (envcfg::ADUE | envcfg::PBMTE) != 0 {
        env.changed(Change::Translation);
    }
    if diff & envcfg::STCE != 0 {
        env.changed(Change::Timer);
        env.changed(Change::Interrupts);
    }
}

/// `mie`, `mip`, `mideleg` and what `sie` and `sip` show of them.
fn set_interrupt_csr(c: &mut Csrs, features: &Features, csr: Csr, v: u64) {
    let levels = irq::s_level(features.supervisor);
    let merge = |old: u64, mask: u64| old & !mask | v & mask;
    match csr {
        Csr::Mie => c.mie = v & (irq::M_LEVEL | levels),
        Csr::Sie => c.mie = merge(c.mie, c.mideleg),
        Csr::Mideleg => c.mideleg = v & levels,
        Csr::Mip => {
            // With Sstc on, STIP is read-only and follows stimecmp.
            let timer = if c.stce() { irq::STI } else { 0 };
            c.mip = merge(c.mip, levels & !timer);
        }
        // Of sip only SSIP can be written ("Supervisor Interrupt (sip and sie) Registers").
        Csr::Sip => c.mip = merge(c.mip, irq::SSI & c.mideleg),
        _ => {}
    }
}
