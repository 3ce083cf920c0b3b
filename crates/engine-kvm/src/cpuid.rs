//! What `cpuid` tells the guest: the model of `isa-x86`, so that a machine may move between engines, less what this
//! host lacks.

use crate::{Irqchip, KvmError, Vm};
use isa_x86::{State, cpuid};
use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};

/// Leaves that depend on the sub-leaf, with how many of those there are.
const SUBLEAVES: [(u32, u32); 3] = [(4, 4), (7, 1), (0xb, 2)];
/// Bits of leaf 1 ECX that want a local APIC with MSRs: x2APIC, TSC deadline.
const APIC_MSRS: u32 = 1 << 21 | 1 << 24;
/// Bits of leaf 1 ECX that software sets: OSXSAVE and the hypervisor bit.
const NOT_THE_HOSTS: u32 = 1 << 27 | 1 << 31;

pub(crate) fn model(vm: &Vm, state: &State) -> Result<CpuId, KvmError> {
    let host = vm.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
    let host = host.map_err(KvmError::refused("its list of processor features"))?;
    let of_host = |function: u32| host.as_slice().iter().find(|e| e.function == function && e.index == 0);
    let mut entries = Vec::new();
    let last = cpuid::leaf(state, 0, 0).eax;
    let last_extended = cpuid::leaf(state, 0x8000_0000, 0).eax;
    let leaves = (0..=last).chain([0x4000_0000]).chain(0x8000_0000..=last_extended);
    for function in leaves {
        let count = SUBLEAVES.iter().find(|(leaf, _)| *leaf == function).map(|(_, count)| *count);
        for index in 0..count.unwrap_or(1) {
            let cpuid::Leaf { mut eax, mut ebx, mut ecx, mut edx } = cpuid::leaf(state, function, index);
            let host = of_host(function);
            match function {
                1 => {
                    ecx &= host.map_or(0, |e| e.ecx) | APIC_MSRS | NOT_THE_HOSTS;
                    edx &= host.map_or(0, |e| e.edx);
                    if vm.irqchip() == Irqchip::User {
                        ecx &= !APIC_MSRS;
                    }
                }
                7 => (ebx, ecx, edx) = host.map_or((0, 0, 0), |e| (ebx & e.ebx, ecx & e.ecx, edx & e.edx)),
                0x8000_0001 => (ecx, edx) = host.map_or((0, 0), |e| (ecx & e.ecx, edx & e.edx)),
                0x8000_0008 => eax = host.map_or(eax, |e| narrower(eax, e.eax)),
                _ => {}
            }
            let flags = if count.is_some() { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } else { 0 };
            entries.push(kvm_cpuid_entry2 { function, index, flags, eax, ebx, ecx, edx, padding: [0; 3] });
        }
    }
    CpuId::from_entries(&entries).map_err(|_| KvmError::Lacks("room for the list of processor features"))
}

/// The widths of physical and linear addresses that both have.
fn narrower(model: u32, host: u32) -> u32 {
    (model & 0xff).min(host & 0xff) | (model >> 8 & 0xff).min(host >> 8 & 0xff) << 8
}
