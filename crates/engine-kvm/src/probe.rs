//! What the host's KVM offers, found out at run time.

use crate::{KvmError, Offer};
use kvm_ioctls::{Cap, Kvm};

/// Asks `/dev/kvm`.
///
/// # Errors
/// If it cannot be opened.
pub fn probe() -> Result<Offer, KvmError> {
    let kvm = Kvm::new().map_err(|error| KvmError::Open(error.into()))?;
    Ok(of(&kvm))
}

pub(crate) fn of(kvm: &Kvm) -> Offer {
    Offer {
        version: kvm.get_api_version(),
        irqchip: kvm.check_extension(Cap::Irqchip),
        irqfd: kvm.check_extension(Cap::Irqfd),
        ioeventfd: kvm.check_extension(Cap::Ioeventfd),
        read_only: kvm.check_extension(Cap::ReadonlyMem),
        immediate_exit: kvm.check_extension(Cap::ImmediateExit),
        events: kvm.check_extension(Cap::VcpuEvents),
        debug_registers: kvm.check_extension(Cap::Debugregs),
        xsave: kvm.check_extension(Cap::Xsave),
        xcrs: kvm.check_extension(Cap::Xcrs),
        tsc_khz: kvm.check_extension(Cap::GetTscKhz),
        processors: kvm.get_max_vcpus(),
    }
}

/// Frequency of a guest's time-stamp counter on this host, in Hz, if the kernel says.
///
/// # Errors
/// If there is no KVM, or it gives no machine to ask.
pub fn tsc_hz() -> Result<Option<u64>, KvmError> {
    let kvm = Kvm::new().map_err(|error| KvmError::Open(error.into()))?;
    let vm = kvm.create_vm().map_err(KvmError::refused("a new machine"))?;
    let cpu = vm.create_vcpu(0).map_err(KvmError::refused("a processor"))?;
    Ok(cpu.get_tsc_khz().ok().filter(|&khz| khz > 0).map(|khz| u64::from(khz) * 1000))
}
