//! Model-specific registers, to and from KVM's form.

use crate::KvmError;
use isa_x86::State;
use isa_x86::msr::number as n;
use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

/// Numbers of the fixed-range MTRRs, in the order of `Msrs::mtrr_fixed`.
const FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

/// Every plain MSR: its number and where it is kept.
fn each(msrs: &mut isa_x86::Msrs, mut f: impl FnMut(u32, &mut u64)) {
    let isa_x86::Msrs {
        // In the system registers.
        efer: _,
        star,
        lstar,
        cstar,
        fmask,
        kernel_gs_base,
        sysenter_cs,
        sysenter_esp,
        sysenter_eip,
        pat,
        tsc_aux,
        // Moved as the counter's value, see `tsc`.
        tsc_offset: _,
        misc_enable,
        mtrr_def_type,
        mtrr_variable,
        mtrr_fixed,
    } = msrs;
    f(n::STAR, star);
    f(n::LSTAR, lstar);
    f(n::CSTAR, cstar);
    f(n::FMASK, fmask);
    f(n::KERNEL_GS_BASE, kernel_gs_base);
    f(n::SYSENTER_CS, sysenter_cs);
    f(n::SYSENTER_ESP, sysenter_esp);
    f(n::SYSENTER_EIP, sysenter_eip);
    f(n::PAT, pat);
    f(n::TSC_AUX, tsc_aux);
    f(n::MISC_ENABLE, misc_enable);
    f(n::MTRR_DEF_TYPE, mtrr_def_type);
    for (number, msr) in (n::MTRR_PHYSBASE0..).zip(mtrr_variable) {
        f(number, msr);
    }
    for (number, msr) in FIXED.into_iter().zip(mtrr_fixed) {
        f(number, msr);
    }
}

fn one(index: u32, data: u64) -> Result<Msrs, KvmError> {
    let entry = kvm_msr_entry { index, data, reserved: 0 };
    Msrs::from_entries(&[entry]).map_err(|_| KvmError::Lacks("a list of one MSR"))
}

/// Gives KVM the MSRs. One that it does not know is left out, if it is 0: no guest of such a host has it.
pub(crate) fn put(vcpu: &VcpuFd, state: &State) -> Result<(), KvmError> {
    let (mut result, mut msrs) = (Ok(()), state.msrs.clone());
    each(&mut msrs, |number, value| {
        // One by one: a list stops at the first that is refused.
        let set = one(number, *value).and_then(|list| {
            let done = vcpu.set_msrs(&list).map_err(KvmError::refused("an MSR's value"))?;
            if done == 1 || *value == 0 || optional(number) {
                Ok(())
            } else {
                Err(KvmError::Lacks(name(number)))
            }
        });
        if result.is_ok() {
            result = set;
        }
    });
    result
}

/// MSRs without effect on KVM's guests beyond their being read back.
fn optional(number: u32) -> bool {
    (0x200..0x300).contains(&number) && number != n::PAT || number == n::MISC_ENABLE
}

fn name(number: u32) -> &'static str {
    match number {
        n::STAR | n::LSTAR | n::CSTAR | n::FMASK => "the MSRs of syscall",
        n::SYSENTER_CS | n::SYSENTER_EIP | n::SYSENTER_ESP => "the MSRs of sysenter",
        n::KERNEL_GS_BASE => "IA32_KERNEL_GS_BASE",
        n::PAT => "IA32_PAT",
        _ => "an MSR that the guest uses",
    }
}

/// Takes the MSRs from KVM. What it does not know stays as it is.
pub(crate) fn take(vcpu: &VcpuFd, state: &mut State) -> Result<(), KvmError> {
    let mut result = Ok(());
    each(&mut state.msrs, |number, value| {
        let found = one(number, 0).and_then(|mut list| {
            let count = vcpu.get_msrs(&mut list).map_err(KvmError::refused("an MSR's value"))?;
            Ok(list.as_slice().first().filter(|_| count == 1).map(|entry| entry.data))
        });
        match found {
            Ok(Some(data)) => *value = data,
            Ok(None) => {}
            Err(error) => result = Err(error),
        }
    });
    result
}

fn get(vcpu: &VcpuFd, number: u32, what: &'static str) -> Result<u64, KvmError> {
    let mut list = one(number, 0)?;
    vcpu.get_msrs(&mut list).map_err(KvmError::refused(what))?;
    Ok(list.as_slice().first().map_or(0, |entry| entry.data))
}

fn set(vcpu: &VcpuFd, number: u32, value: u64, what: &'static str) -> Result<(), KvmError> {
    vcpu.set_msrs(&one(number, value)?).map_err(KvmError::refused(what)).map(|_| ())
}

/// The guest's time-stamp counter now.
pub(crate) fn tsc(vcpu: &VcpuFd) -> Result<u64, KvmError> {
    get(vcpu, n::TSC, "the time-stamp counter")
}

/// Sets the guest's time-stamp counter.
pub(crate) fn set_tsc(vcpu: &VcpuFd, value: u64) -> Result<(), KvmError> {
    set(vcpu, n::TSC, value, "the time-stamp counter")
}

/// IA32_TSC_DEADLINE of the kernel's local APIC.
pub(crate) fn tsc_deadline(vcpu: &VcpuFd) -> Result<u64, KvmError> {
    get(vcpu, n::TSC_DEADLINE, "the deadline of the local APIC")
}

/// Sets it.
pub(crate) fn set_tsc_deadline(vcpu: &VcpuFd, value: u64) -> Result<(), KvmError> {
    set(vcpu, n::TSC_DEADLINE, value, "the deadline of the local APIC")
}
