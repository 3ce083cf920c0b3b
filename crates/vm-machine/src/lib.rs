//! One machine: built from a board and files, run to its end.
//!
//! It plugs a board's devices into slots and a bus, loads what is to be run, gives every hart an
//! engine and a host thread, and waits for the guest to end. It knows no command line, no terminal
//! and no package: files come as bytes, the console is a port that somebody else pumps.
#![forbid(unsafe_code)]

mod console;
mod control;
mod devices;
mod features;
mod firmware;
mod hart;
mod harts;
mod idle;
mod kernel_chips;
mod load;
mod machine;
mod plug;
mod plug_firmware;
mod plug_gem;
mod plug_pc;
mod plug_pci;
mod plug_spi;
mod plug_virtio;
mod snapshot;
mod spec;
mod trace;
mod wedge;
mod x86;
mod x86_start;

pub use console::ConsolePort;
pub use control::End;
pub use dev_virtio_console::MOST_PORTS;
pub use dev_virtio_vsock::FIRST_CID;
pub use engine_core::Fault;
pub use engine_kvm::{Irqchip, KvmError, Offer as KvmOffer, probe as kvm_offers};
pub use hart::FinalHart;
pub use load::LoadError;
pub use machine::{BuildError, Final, Machine, Stopper};
pub use plug_virtio::PowerButton;
pub use snapshot::{ResumeError, Snapshot, SnapshotError};
pub use spec::{Bios, ClockKind, Engine, JitOptions, Note, Program, RandomSource, Spec, Virtio};
pub use trace::{DeviceAccess, Recorded, Trace};
pub use x86::FinalProcessor;
pub use x86_start::StartError;
