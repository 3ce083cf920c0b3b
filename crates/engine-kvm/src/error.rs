//! Why KVM cannot be used.

use std::io;

/// What went wrong, and in which request.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// There is no KVM, or this user may not use it.
    #[error("cannot open /dev/kvm: {0}; --engine interp does not need it")]
    Open(io::Error),
    /// A host of another kind.
    #[error("KVM runs x86-64 guests on x86-64 Linux hosts only; use --engine interp")]
    Absent,
    /// A KVM that lacks what the engine needs.
    #[error("this host's KVM lacks {0}; use --engine interp")]
    Lacks(&'static str),
    /// A request failed.
    #[error("KVM refuses {what}: {source}")]
    Refused {
        /// The request.
        what: &'static str,
        /// What the host said.
        source: io::Error,
    },
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl KvmError {
    /// A request failed.
    pub(crate) fn refused(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
        move |error| KvmError::Refused { what, source: error.into() }
    }
}
