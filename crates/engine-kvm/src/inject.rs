//! Interrupts into a guest whose interrupt controllers are our device models.
//!
//! KVM takes one vector at a time, and only while the guest takes interrupts; where it does not, a window is asked for
//! (Linux, Documentation/virt/kvm/api.rst, "KVM_INTERRUPT", `request_interrupt_window`).

use crate::KvmError;
use fabric_wire::local::{Event, LocalController, line};
use kvm_bindings::kvm_interrupt;
use kvm_ioctls::VcpuFd;
use std::os::fd::AsRawFd;

/// `KVM_INTERRUPT`: _IOW(KVMIO, 0x86, struct kvm_interrupt).
const KVM_INTERRUPT: libc::c_ulong = 0x4004_ae86;

/// Hands an interrupt or NMI that may be delivered now to KVM, or asks for a window. `word` is the pending word. Gives
/// whether there will be something for the guest.
pub(crate) fn inject(fd: &mut VcpuFd, local: &dyn LocalController, word: u64) -> Result<bool, KvmError> {
    let nmi = word & 1 << line::NMI != 0 && local.take_event() == Some(Event::Nmi);
    if nmi {
        // KVM holds it back while NMIs are blocked.
        fd.nmi().map_err(KvmError::refused("an NMI"))?;
    }
    let waiting = word & 1 << line::INTR != 0;
    let run = fd.get_kvm_run();
    let ready = run.ready_for_interrupt_injection != 0 && run.if_flag != 0;
    run.request_interrupt_window = (waiting && !ready).into();
    if !waiting || !ready {
        return Ok(nmi || waiting && run.if_flag != 0);
    }
    let Some(vector) = local.acknowledge() else { return Ok(nmi) };
    let interrupt = kvm_interrupt { irq: vector.into() };
    // SAFETY: the descriptor is a processor's, the structure is what the request wants, and is only read.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), KVM_INTERRUPT, &raw const interrupt) };
    if done != 0 {
        let source = std::io::Error::last_os_error();
        return Err(KvmError::Refused { what: "an interrupt", source });
    }
    fd.get_kvm_run().ready_for_interrupt_injection = 0;
    Ok(true)
}
