//! The KVM engine: the contract of `engine-core` on `/dev/kvm`, for x86-64 guests on x86-64 hosts.
//!
//! The host's processor executes the guest; what is left is the virtual machine ([`Vm`]: guest memory, the interrupt
//! controller if the kernel has it, event descriptors, the dirty log), the state of a processor in the instruction set's
//! own form, its exits, and the kick that brings it back. It knows no device and no board: port and memory accesses go
//! to the two buses, the local APIC is a port of `fabric-wire` unless the kernel has it.
//!
//! An island of `unsafe`: guest memory is handed to the kernel, and each processor shares a structure with it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod cpu;
mod cpuid;
mod error;
mod exit;
mod fpu;
mod inject;
mod kick;
mod msrs;
mod probe;
mod regs;
mod trial;
mod vm;

pub use cpu::{Config, KvmCpu};
pub use error::KvmError;
pub use probe::{Offer, probe, tsc_hz};
pub use trial::{Kernel, Trial, trial};
pub use vm::{Irqchip, Vm};
