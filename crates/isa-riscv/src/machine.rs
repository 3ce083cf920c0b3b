//! What a RISC-V instruction may ask beyond [`isa_core::Machine`]: registers and named operations.

use crate::Op;
use isa_core::Machine;

/// A machine with RISC-V registers.
pub trait RiscvMachine: Machine {
    /// Integer register `r` (0 to 31); register 0 reads as 0.
    fn x(&mut self, r: u8) -> Self::V;
    /// Writes integer register `r`; register 0 ignores it.
    fn set_x(&mut self, r: u8, v: Self::V);
    /// Floating-point register `r`, all 64 bits as they are (NaN-boxes included).
    fn f(&mut self, r: u8) -> Self::V;
    /// Writes all 64 bits of floating-point register `r` and makes `mstatus.FS` dirty.
    fn set_f(&mut self, r: u8, v: Self::V);
    /// Runs a named operation: one definition, [`crate::ops::run`], which interpreter and evaluator
    /// call and an engine may also emit inline. Its effects are declared by [`Op::effects`].
    ///
    /// # Errors
    /// The trap that the operation takes.
    fn call(&mut self, op: Op, args: [Self::V; 4]) -> Result<Self::V, Self::Stop>;
}
