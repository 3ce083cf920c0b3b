//! What the firmware asks of the machine that it serves.

use crate::HartSet;
use isa_riscv::AccessKind;

/// A range of virtual addresses: whole pages of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The first address, a multiple of 4096.
    pub start: u64,
    /// Bytes, a positive multiple of 4096.
    pub size: u64,
}

/// A fence that harts execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// `fence.i`.
    Code,
    /// `sfence.vma`.
    Vma {
        /// Pages whose translations are forgotten; all if `None`.
        pages: Option<Pages>,
        /// The address space concerned; all if `None`.
        asid: Option<u16>,
    },
}

/// Nothing answers at these physical addresses, or not to such an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// Why the console did not take or give bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleError {
    /// The guest may not use it.
    Denied,
    /// The host reports an I/O error.
    Io,
}

/// The machine, as the firmware sees it during a call by one of its harts.
pub trait Platform {
    /// Whether all of the `size` bytes at `start` are memory that S-mode may access so. Takes a time
    /// that does not depend on `size`. The range may reach beyond 2^64: then the answer is no.
    fn has_memory(&self, start: u64, size: u64, access: AccessKind) -> bool;

    /// Copies guest-physical memory out.
    ///
    /// # Errors
    /// [`NoMemory`]; `bytes` may have changed.
    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), NoMemory>;

    /// Copies bytes into guest-physical memory.
    ///
    /// # Errors
    /// [`NoMemory`]; some bytes may have been written.
    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), NoMemory>;

    /// Makes the supervisor software interrupt of each hart pending (`mip.SSIP`); the calling hart may
    /// be among them.
    fn send_ipi(&mut self, harts: &HartSet);

    /// Withdraws an interrupt that [`Platform::send_ipi`] sent to the calling hart and that has not yet
    /// reached its `mip`; whether there was one.
    fn clear_ipi(&mut self) -> bool;

    /// Has each hart execute `fence`; returns when none can execute another instruction before it has
    /// done so. The calling hart may be among them: its own fence must be done before it goes on.
    /// While this waits for others it must let others' fences for the calling hart complete.
    fn remote_fence(&mut self, harts: &HartSet, fence: Fence);

    /// `hart` has left STOPPED: its thread must ask [`Sbi::resume`](crate::Sbi::resume) again.
    fn wake(&mut self, hart: u32);

    /// Offers bytes to the console; returns how many it took, from the front. Never waits. A machine
    /// without a console takes all and drops them.
    ///
    /// # Errors
    /// [`ConsoleError`]; no byte was taken.
    fn console_write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError>;

    /// Takes bytes that have come to the console; returns how many, 0 if there are none. Never waits.
    ///
    /// # Errors
    /// [`ConsoleError`]; no byte was given.
    fn console_read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError>;

    /// Instructions that the calling hart has retired, as [`isa_riscv::Env::retired`] counts them.
    fn retired(&self) -> u64;
}
