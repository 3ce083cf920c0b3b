//! What a processor left the guest for, out of KVM's form.

use kvm_ioctls::{VcpuExit, VcpuFd};

/// An exit. Buffers are where the kernel takes its answer from when the processor runs again.
pub(crate) enum Left {
    /// Reads from a port: fill the buffer, in elements of `size` bytes.
    In { port: u16, size: u8, buffer: *mut [u8] },
    /// Writes to a port.
    Out { port: u16, size: u8, data: Vec<u8> },
    /// Reads from guest-physical memory that is none: fill the buffer.
    Read { address: u64, buffer: *mut [u8] },
    /// Writes there.
    Write { address: u64, data: Vec<u8> },
    /// `hlt`, where the kernel has no interrupt controller.
    Halted,
    /// An interrupt could be injected now.
    Window,
    /// CR8 was lowered.
    TaskPriority,
    /// A signal came, or the flag for an immediate exit was up.
    Interrupted,
    /// A triple fault.
    Shutdown,
    /// The kernel cannot go on.
    Failed(String),
}

/// Runs the guest until it leaves.
pub(crate) fn run(fd: &mut VcpuFd) -> Left {
    let left = match fd.run() {
        Ok(VcpuExit::IoIn(port, buffer)) => Left::In { port, size: 0, buffer },
        Ok(VcpuExit::IoOut(port, data)) => Left::Out { port, size: 0, data: data.to_vec() },
        Ok(VcpuExit::MmioRead(address, buffer)) => Left::Read { address, buffer },
        Ok(VcpuExit::MmioWrite(address, data)) => Left::Write { address, data: data.to_vec() },
        Ok(VcpuExit::Hlt) => Left::Halted,
        Ok(VcpuExit::IrqWindowOpen) => Left::Window,
        Ok(VcpuExit::SetTpr) => Left::TaskPriority,
        Ok(VcpuExit::Shutdown) => Left::Shutdown,
        Ok(VcpuExit::Intr) => Left::Interrupted,
        Ok(VcpuExit::InternalError) => Left::Failed(internal(fd)),
        Ok(VcpuExit::FailEntry(reason, _)) => {
            Left::Failed(format!("the processor refuses to enter the guest (reason {reason:#x})"))
        }
        Ok(other) => Left::Failed(format!("an exit that was not asked for: {other:?}")),
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Left::Interrupted,
        Err(error) => Left::Failed(format!("KVM_RUN: {error}")),
    };
    match left {
        Left::In { port, buffer, .. } => Left::In { port, size: io_size(fd), buffer },
        Left::Out { port, data, .. } => Left::Out { port, size: io_size(fd), data },
        other => other,
    }
}

/// Bytes of one access of the port exit that has just happened.
fn io_size(fd: &mut VcpuFd) -> u8 {
    // SAFETY: the exit was KVM_EXIT_IO, so that this is the member of the union that the kernel has filled; it is plain
    // numbers in any case.
    let size = unsafe { fd.get_kvm_run().__bindgen_anon_1.io.size };
    if matches!(size, 1 | 2 | 4) { size } else { 1 }
}

/// What went wrong inside KVM, in words.
fn internal(fd: &mut VcpuFd) -> String {
    // SAFETY: as in `io_size`, for KVM_EXIT_INTERNAL_ERROR.
    let suberror = unsafe { fd.get_kvm_run().__bindgen_anon_1.internal.suberror };
    let at = fd.get_regs().map(|regs| format!(" at rip {:#x}", regs.rip)).unwrap_or_default();
    match suberror {
        kvm_bindings::KVM_INTERNAL_ERROR_EMULATION => {
            format!("this host's KVM cannot emulate the instruction{at}; try --engine interp")
        }
        number => format!("KVM reports internal error {number}{at}"),
    }
}
