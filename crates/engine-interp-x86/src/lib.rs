//! The x86-64 interpreter behind [`engine_core::Vcpu`].
//!
//! Code is decoded once into blocks of ops; an op is a handler and a decoded instruction; a handler runs the meaning of
//! its instruction on the CPU and then the next op. Loads and stores go through a software TLB to the RAM arena.
//!
//! **What counts.** [`engine_core::Vcpu::retired`] counts instructions; an exception or interrupt delivered counts as
//! one too, so that a processor that faults for ever uses its budget up and its time passes. A repeated string
//! instruction counts one for each 4096 elements begun, because it is left there to look around, and is
//! begun again.
//!
//! **Self-modifying code is exact.** Pages from which code was decoded are not in the TLB for stores: a store there takes
//! the slow way, ends the blocks it touches, and leaves the block being run. Stores by others (DMA, other processors) are
//! seen wherever code is looked up by physical address, as every block compares itself with memory then: in a new or
//! flushed mapping (`mov cr3`, `invlpg`), after an instruction that serializes by itself (`cpuid`, `serialize`, `wbinvd`,
//! `invd`), and after [`engine_core::Vcpu::flush_code`]. What is changed by others while it stays mapped where it has run
//! is not seen by `iret`, though that serializes too.
#![forbid(unsafe_code)]

mod access;
mod blocks;
mod build;
mod context;
mod cpu;
mod environment;
#[cfg(test)]
mod environment_test;
mod handlers;
mod interp;
mod machine;
mod place;

#[cfg(test)]
extern crate self as engine_interp_x86;
/// The tests' machine, which names this crate as they do.
#[cfg(test)]
#[path = "../tests/fixture/mod.rs"]
mod fixture;

pub use interp::{Config, Interp};
