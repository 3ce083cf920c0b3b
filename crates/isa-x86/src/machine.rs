//! What an x86 instruction may ask beyond [`isa_core::Machine`].

use crate::{Fault, Mode, Op};
use isa_core::{Flag, FlagKind, Machine, Width};

/// A machine with x86 registers. Values are 64 bits wide; `load` and `store` of [`Machine`] take linear addresses.
pub trait X86Machine: Machine {
    /// All 64 bits of general register `r` (0 to 15).
    fn r(&mut self, r: u8) -> Self::V;
    /// Writes all 64 bits of general register `r`.
    fn set_r(&mut self, r: u8, v: Self::V);

    /// One status flag, 0 or 1.
    fn flag(&mut self, flag: Flag) -> Self::V;
    /// All six status flags at their places in RFLAGS; the other bits are 0.
    fn status(&mut self) -> Self::V;
    /// The status flags are now those of this operation. Whether anybody computes them is the machine's business.
    fn set_flags(&mut self, kind: FlagKind, width: Width, operands: [Self::V; 3]);
    /// The same if `condition` is not 0; otherwise they stay as they are (shifts by a count of 0).
    fn set_flags_if(&mut self, condition: Self::V, kind: FlagKind, width: Width, operands: [Self::V; 3]);
    /// DF: 0 or 1.
    fn direction(&mut self) -> Self::V;
    /// Sets DF to 0 or 1.
    fn set_direction(&mut self, v: Self::V);

    /// The size of code: a constant of the block.
    fn mode(&mut self) -> Mode;
    /// Whether the stack pointer is RSP (64-bit mode), ESP or SP (by SS.B): a constant of the block.
    fn stack_width(&mut self) -> Width;
    /// The linear address of `width` bytes at `offset` of segment `segment`, checked: canonical in 64-bit mode, within
    /// the limit and of an allowing type elsewhere.
    ///
    /// # Errors
    /// #GP(0), or #SS(0) for SS.
    fn linear(
        &mut self,
        segment: u8,
        offset: Self::V,
        width: Width,
        write: bool,
    ) -> Result<Self::V, Self::Stop>;

    /// Compares the `width` bytes at linear address `va` with `expected` and stores `new` if they are equal, in one
    /// step; gives what was there, zero-extended. Needs write permission in either case.
    ///
    /// # Errors
    /// The access's fault.
    fn compare_exchange(
        &mut self,
        va: Self::V,
        width: Width,
        expected: Self::V,
        new: Self::V,
    ) -> Result<Self::V, Self::Stop>;

    /// The instruction raises this exception, always. Gives what its meaning stops with.
    fn fault(&mut self, fault: Fault) -> Self::Stop;
    /// The instruction raises this exception if `condition` is not 0.
    ///
    /// # Errors
    /// The exception.
    fn fault_if(&mut self, condition: Self::V, fault: Fault) -> Result<(), Self::Stop>;

    /// Runs a named operation: one definition, [`crate::ops::run`], which interpreter and evaluator call and an engine may
    /// also emit inline. Its effects are declared by [`Op::effects`].
    ///
    /// # Errors
    /// The fault that the operation raises.
    fn call(&mut self, op: Op, args: [Self::V; 4]) -> Result<Self::V, Self::Stop>;
}
