//! The KVM engine: the contract of `engine-core` on `/dev/kvm`, for x86-64 guests on x86-64 hosts.
//!
//! The host's processor executes the guest; what is left is the virtual machine ([`Vm`]: guest memory, the interrupt
//! controller if the kernel has it, event descriptors, the dirty log), the state of a processor in the instruction set's
//! own form, its exits, and the kick that brings it back. It knows no device and no board: port and memory accesses go
//! to the two buses, the local APIC is a port of `fabric-wire` unless the kernel has it.
//!
//! On other hosts the same names are there, and say that KVM is not (`absent.rs`).
//!
//! An island of `unsafe`: guest memory is handed to the kernel, and each processor shares a structure with it.

mod chips;
mod config;
mod error;
mod offer;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod absent;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cpu;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cpuid;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod exit;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod fpu;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod inject;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod irqchip;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kick;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod lapic;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod msrs;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod outside;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod probe;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod regs;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod trial;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod vm;

pub use chips::{IOAPIC_PINS, Ioapic, Irqchip, Pic};
pub use config::{Config, Space};
pub use error::KvmError;
pub use offer::Offer;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub use absent::{KvmCpu, Vm, probe, tsc_hz};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use cpu::KvmCpu;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use probe::{probe, tsc_hz};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use trial::{Kernel, Trial, trial};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use vm::Vm;
