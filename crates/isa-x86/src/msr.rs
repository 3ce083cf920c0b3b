//! Model-specific registers (SDM volume 4, "Model-Specific Registers"). Any number not here is #GP(0).

use crate::{Change, Env, Fault, State, cr0, efer, seg};

/// Numbers.
pub mod number {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const TSC: u32 = 0x10;
    pub const PLATFORM_ID: u32 = 0x17;
    pub const APIC_BASE: u32 = 0x1b;
    pub const FEATURE_CONTROL: u32 = 0x3a;
    pub const BIOS_UPDT_TRIG: u32 = 0x79;
    pub const BIOS_SIGN_ID: u32 = 0x8b;
    pub const PLATFORM_INFO: u32 = 0xce;
    pub const MTRRCAP: u32 = 0xfe;
    pub const ARCH_CAPABILITIES: u32 = 0x10a;
    pub const MISC_FEATURES_ENABLES: u32 = 0x140;
    pub const SYSENTER_CS: u32 = 0x174;
    pub const SYSENTER_ESP: u32 = 0x175;
    pub const SYSENTER_EIP: u32 = 0x176;
    pub const MCG_CAP: u32 = 0x179;
    pub const MCG_STATUS: u32 = 0x17a;
    pub const MISC_ENABLE: u32 = 0x1a0;
    pub const MTRR_PHYSBASE0: u32 = 0x200;
    pub const MTRR_FIX64K: u32 = 0x250;
    pub const MTRR_FIX16K: u32 = 0x258;
    pub const MTRR_FIX4K: u32 = 0x268;
    pub const PAT: u32 = 0x277;
    pub const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub const TSC_DEADLINE: u32 = 0x6e0;
    pub const EFER: u32 = 0xc000_0080;
    pub const STAR: u32 = 0xc000_0081;
    pub const LSTAR: u32 = 0xc000_0082;
    pub const CSTAR: u32 = 0xc000_0083;
    pub const FMASK: u32 = 0xc000_0084;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
}

use number as n;

/// IA32_ARCH_CAPABILITIES: nothing here executes speculatively, so that none of the faults named there exist: RDCL_NO,
/// SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO,
/// GDS_NO, RFDS_NO.
const CAPABILITIES: u64 = 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 1 << 13
    | 1 << 14
    | 1 << 15
    | 1 << 20
    | 1 << 24
    | 1 << 26
    | 1 << 27;

/// IA32_MTRRCAP: eight variable ranges, fixed ranges, write-combining.
const MTRRCAP: u64 = 8 | 1 << 8 | 1 << 10;
/// IA32_MISC_ENABLE bits that can be written: fast strings, thermal monitor, enhanced SpeedStep, limit of CPUID, XD
/// disable; the last two are stored without effect.
const MISC_ENABLE: u64 = 1 | 1 << 3 | 1 << 16 | 1 << 22 | 1 << 34;
/// IA32_BIOS_SIGN_ID: the revision of the microcode, in the upper half; a high one, so that nobody asks for newer.
const MICROCODE: u64 = 0xffff_fffe << 32;

/// The variable MTRR (0 to 15: base and mask alternating) with this number.
fn variable(msr: u32) -> Option<usize> {
    let index = msr.checked_sub(n::MTRR_PHYSBASE0)?;
    (index < 16).then_some(index as usize)
}

/// The fixed MTRR (0 to 10) with this number.
fn fixed(msr: u32) -> Option<usize> {
    Some(match msr {
        n::MTRR_FIX64K => 0,
        0x258..=0x259 => (msr - n::MTRR_FIX16K) as usize + 1,
        0x268..=0x26f => (msr - n::MTRR_FIX4K) as usize + 3,
        _ => return None,
    })
}

/// Reads MSR `msr`.
///
/// # Errors
/// #GP(0) if there is none.
pub(crate) fn read<E: Env>(env: &mut E, msr: u32) -> Result<u64, Fault> {
    let state = env.state_ref();
    let msrs = &state.msrs;
    Ok(match msr {
        n::TSC => {
            let offset = msrs.tsc_offset;
            env.tsc().wrapping_add(offset)
        }
        n::BIOS_SIGN_ID => MICROCODE,
        // The ratio of the TSC to 100 MHz in bits 15:8 is what software reads here.
        n::PLATFORM_INFO => (state.identity.tsc_hz / 100_000_000).min(0xff) << 8,
        n::MTRRCAP => MTRRCAP,
        n::ARCH_CAPABILITIES => CAPABILITIES,
        n::PLATFORM_ID | n::MISC_FEATURES_ENABLES | n::MCG_CAP | n::MCG_STATUS => 0,
        // Locked: no VMX, no SGX.
        n::FEATURE_CONTROL => 1,
        n::SYSENTER_CS => msrs.sysenter_cs,
        n::SYSENTER_ESP => msrs.sysenter_esp,
        n::SYSENTER_EIP => msrs.sysenter_eip,
        n::MISC_ENABLE => msrs.misc_enable,
        n::PAT => msrs.pat,
        n::MTRR_DEF_TYPE => msrs.mtrr_def_type,
        n::EFER => msrs.efer,
        n::STAR => msrs.star,
        n::LSTAR => msrs.lstar,
        n::CSTAR => msrs.cstar,
        n::FMASK => msrs.fmask,
        n::FS_BASE => state.segment(seg::FS).base,
        n::GS_BASE => state.segment(seg::GS).base,
        n::KERNEL_GS_BASE => msrs.kernel_gs_base,
        n::TSC_AUX => msrs.tsc_aux,
        _ => match (variable(msr), fixed(msr)) {
            (Some(index), _) => msrs.mtrr_variable.get(index).copied().unwrap_or(0),
            (_, Some(index)) => msrs.mtrr_fixed.get(index).copied().unwrap_or(0),
            _ => return env.outer_msr(msr).ok_or(Fault::gp(0)),
        },
    })
}

/// The memory types that MTRRs may name: UC, WC, WT, WP, WB.
const fn memory_type(value: u64) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}

/// Whether all eight bytes of `value` satisfy `which`.
fn all_bytes(value: u64, which: fn(u64) -> bool) -> bool {
    value.to_le_bytes().into_iter().all(|byte| which(byte.into()))
}

/// Writes MSR `msr`.
///
/// # Errors
/// #GP(0) if there is none, or not with this value.
pub(crate) fn write<E: Env>(env: &mut E, msr: u32, value: u64) -> Result<(), Fault> {
    let refused = Err(Fault::gp(0));
    let address = matches!(
        msr,
        n::SYSENTER_ESP | n::SYSENTER_EIP | n::LSTAR | n::CSTAR | n::FS_BASE | n::GS_BASE | n::KERNEL_GS_BASE
    );
    if address && !env.state_ref().canonical(value) {
        return refused;
    }
    match msr {
        n::TSC => {
            let now = env.tsc();
            env.set_tsc_offset(value.wrapping_sub(now));
        }
        n::EFER => return write_efer(env, value),
        n::FS_BASE | n::GS_BASE => {
            let register = if msr == n::FS_BASE { seg::FS } else { seg::GS };
            env.state().segment_mut(register).base = value;
            env.changed(Change::Context);
        }
        // A microcode update would be loaded; the revision is cleared before it is read.
        n::BIOS_UPDT_TRIG | n::BIOS_SIGN_ID => {}
        n::MCG_STATUS | n::MISC_FEATURES_ENABLES if value == 0 => {}
        _ => {
            if let Some(done) = store(env.state(), msr, value) {
                return if done { Ok(()) } else { refused };
            }
            return env.set_outer_msr(msr, value).ok_or(Fault::gp(0));
        }
    }
    Ok(())
}

/// Writes an MSR that is only stored. `None` if it is none of them; whether the value is allowed.
fn store(state: &mut State, msr: u32, value: u64) -> Option<bool> {
    let physical = (1u64 << crate::walk::PHYSICAL_BITS) - 1;
    let msrs = &mut state.msrs;
    let (slot, allowed) = match msr {
        n::SYSENTER_CS => (&mut msrs.sysenter_cs, value >> 32 == 0),
        n::SYSENTER_ESP => (&mut msrs.sysenter_esp, true),
        n::SYSENTER_EIP => (&mut msrs.sysenter_eip, true),
        n::STAR => (&mut msrs.star, true),
        n::LSTAR => (&mut msrs.lstar, true),
        n::CSTAR => (&mut msrs.cstar, true),
        n::FMASK => (&mut msrs.fmask, value >> 32 == 0),
        n::KERNEL_GS_BASE => (&mut msrs.kernel_gs_base, true),
        n::TSC_AUX => (&mut msrs.tsc_aux, value >> 32 == 0),
        n::MISC_ENABLE => (&mut msrs.misc_enable, value & !MISC_ENABLE == 0),
        n::PAT => (&mut msrs.pat, all_bytes(value, |byte| memory_type(byte) || byte == 7)),
        n::MTRR_DEF_TYPE => (&mut msrs.mtrr_def_type, value & !0xcff == 0 && memory_type(value & 0xff)),
        _ => match (variable(msr), fixed(msr)) {
            (Some(index), _) => {
                let bits = if index % 2 == 0 { 0xff } else { 0x800 };
                let allowed =
                    value & !(physical & !0xfff | bits) == 0 && (index % 2 == 1 || memory_type(value & 0xff));
                (msrs.mtrr_variable.get_mut(index)?, allowed)
            }
            (_, Some(index)) => (msrs.mtrr_fixed.get_mut(index)?, all_bytes(value, memory_type)),
            _ => return None,
        },
    };
    if allowed {
        *slot = value;
    }
    Some(allowed)
}

fn write_efer<E: Env>(env: &mut E, value: u64) -> Result<(), Fault> {
    const BITS: u64 = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    let state = env.state();
    let old = state.msrs.efer;
    let paging = state.cr0 & cr0::PG != 0;
    if value & !BITS != 0 || paging && (value ^ old) & efer::LME != 0 {
        return Err(Fault::gp(0));
    }
    // LMA is read-only.
    state.msrs.efer = value & !efer::LMA | old & efer::LMA;
    if (value ^ old) & efer::NXE != 0 {
        env.changed(Change::FlushAll { global: true });
    }
    env.changed(Change::Context);
    Ok(())
}
