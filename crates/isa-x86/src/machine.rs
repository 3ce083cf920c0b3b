//! What an x86 instruction may ask beyond [`isa_core::Machine`].

use crate::{Fault, Mode, Op};
use isa_core::{Bin, Condition, Flag, FlagKind, Machine, Width};

/// A machine with x86 registers. Values are 64 bits wide; `load` and `store` of [`Machine`] take linear addresses.
///
/// [`Machine::jump`] and [`Machine::jump_if`] take the offset in CS, which is already truncated to the operand size, and
/// check it: #GP(0) where it is not canonical (64-bit mode) or beyond the limit of CS (elsewhere). One store precedes a
/// jump that may be refused: that of `call`, of which processors do not take back the push either.
///
/// Faults of [`Machine::amo`] are those of a write, also where the word cannot be read. Loads of bytes that are about
/// to be written are [`X86Machine::load_for_update`]s.
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
    /// Whether a condition holds, 0 or 1.
    #[inline]
    fn condition(&mut self, condition: Condition) -> Self::V {
        let less = |m: &mut Self| {
            let (sign, overflow) = (m.flag(Flag::Sign), m.flag(Flag::Overflow));
            m.bin(Bin::Xor, sign, overflow)
        };
        let plain = match condition {
            Condition::Overflow | Condition::NoOverflow => self.flag(Flag::Overflow),
            Condition::Below | Condition::AboveOrEqual => self.flag(Flag::Carry),
            Condition::Equal | Condition::NotEqual => self.flag(Flag::Zero),
            Condition::BelowOrEqual | Condition::Above => {
                let (carry, zero) = (self.flag(Flag::Carry), self.flag(Flag::Zero));
                self.bin(Bin::Or, carry, zero)
            }
            Condition::Sign | Condition::NoSign => self.flag(Flag::Sign),
            Condition::Parity | Condition::NoParity => self.flag(Flag::Parity),
            Condition::Less | Condition::GreaterOrEqual => less(self),
            Condition::LessOrEqual | Condition::Greater => {
                let (less, zero) = (less(self), self.flag(Flag::Zero));
                self.bin(Bin::Or, less, zero)
            }
        };
        if condition.negated() { self.bin_imm(Bin::Xor, plain, 1) } else { plain }
    }
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

    /// Loads `width` bytes at linear address `va`, zero-extended, that the instruction is going to write: where they may
    /// not be written, it faults as a write does (SDM volume 3, "Page-Fault Error Code": W/R tells the access that the
    /// instruction needs).
    ///
    /// # Errors
    /// The fault of a write.
    fn load_for_update(&mut self, va: Self::V, width: Width) -> Result<Self::V, Self::Stop>;

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
