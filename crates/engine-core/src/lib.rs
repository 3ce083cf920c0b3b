//! The contract of an engine: what a machine may ask of whatever executes its instructions.
//!
//! An engine runs one virtual CPU on one host thread. It knows no device and no board; it reaches
//! them through the bus. Interpreter, translator and KVM all answer to [`Vcpu`], so that a machine
//! can be moved from one to another at any instruction boundary.
#![forbid(unsafe_code)]

mod time;

pub use time::TimeSource;

use fabric_clock::Nanos;
use fabric_wire::PendingWord;
use std::sync::Arc;

/// Why [`Vcpu::run`] returned. The CPU is between two instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The budget is used up: exactly so many instructions were retired (or trapped) since the call.
    Budget,
    /// [`PendingWord::KICK`] or [`PendingWord::WORK`] was raised; the bit is still up.
    Kick,
    /// The guest waits for an interrupt.
    Idle {
        /// Guest time of the CPU's own next timer interrupt, if one is armed.
        until: Option<Nanos>,
        /// Bits of the pending word that end the wait.
        wake: u64,
    },
    /// The guest called the firmware that the VMM stands in for ([`Hosted::set_firmware`]).
    Firmware(FirmwareCall),
    /// The guest can make no progress: taking the trap leads to the same trap again.
    Wedged {
        /// The trap that it began with: `last`, or what led to it with no instruction between.
        first: Fault,
        /// The trap that is taken again and again.
        last: Fault,
    },
    /// The CPU has shut down and needs a reset (x86: a triple fault), with the fault that began it where the engine
    /// knows it.
    Shutdown(Option<Fault>),
    /// The engine cannot go on: the host's fault or ours, not the guest's.
    Broken(String),
}

/// A trap as it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Address of the instruction that trapped.
    pub pc: u64,
    /// Cause number as the instruction set gives it.
    pub cause: u64,
    /// The trap's value (an address or instruction bits).
    pub value: u64,
}

/// What the built-in firmware is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareCall {
    /// A hypercall by the supervisor (RISC-V: `ecall` from S-mode). The program counter still
    /// stands on it.
    Call,
    /// A trap that the guest has not delegated to itself.
    Trap {
        /// Cause number.
        cause: u64,
        /// The trap's value.
        value: u64,
    },
}

/// Who owns the most privileged mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Firmware {
    /// The guest: its own code runs there.
    #[default]
    Guest,
    /// The VMM: traps into it leave [`Vcpu::run`] as [`Exit::Firmware`].
    BuiltIn,
}

/// One virtual CPU.
pub trait Vcpu: Send {
    /// All architectural state, in the instruction set's own form.
    type State;

    /// Runs until something in [`Exit`] happens, at most `budget` instructions where the engine counts them
    /// ([`Vcpu::counts`]).
    fn run(&mut self, budget: u64) -> Exit;

    /// Whether the engine counts instructions: budgets are exact, and a run can be repeated. Hardware does not: there a
    /// run ends by a kick, and [`Vcpu::retired`] stays 0.
    fn counts(&self) -> bool {
        true
    }

    /// Instructions retired since the CPU was made.
    fn retired(&self) -> u64;

    /// The word that others raise to interrupt or kick this CPU.
    fn pending(&self) -> &Arc<PendingWord>;

    /// Finishes an access that an exit left half done and brings the state home, so that [`Vcpu::state`] shows it.
    /// Engines whose exits are all between instructions and whose state is their own have nothing to do.
    fn park(&mut self) {}

    /// Why the CPU's state is not to be relied on, if an engine that checks itself has found that out, at the latest by
    /// [`Vcpu::park`].
    fn broken(&self) -> Option<&str> {
        None
    }

    /// Architectural state, while the CPU is not running: as of the last [`Vcpu::park`], where there is something to do
    /// for that.
    fn state(&self) -> &Self::State;

    /// Gives the state to `f` to change; whatever the engine had derived from it is made anew.
    fn with_state(&mut self, f: &mut dyn FnMut(&mut Self::State));

    /// Drops cached translations of guest-virtual addresses (all, or of `va`; of all address
    /// spaces, or of `asid`).
    fn flush_translations(&mut self, va: Option<u64>, asid: Option<u16>);

    /// Makes every store so far visible to instruction fetches (of this CPU).
    fn flush_code(&mut self);

    /// Drops everything remembered about guest-physical pages: the map, protections or the dirty
    /// log have changed.
    fn flush_pages(&mut self);
}

/// A virtual CPU whose most privileged mode the VMM may take the place of.
pub trait Hosted: Vcpu {
    /// Says who owns the most privileged mode.
    fn set_firmware(&mut self, firmware: Firmware);

    /// Gives the state to `f` as firmware has it while it answers a call: `f` may change registers,
    /// program counter, mode, interrupt and timer state, but nothing that cached translations of the
    /// present address space depend on. Cheaper than [`Vcpu::with_state`].
    fn answer(&mut self, f: &mut dyn FnMut(&mut Self::State));
}
