//! The `Machine` trait.

use crate::{AmoOp, Bin, Order, Un, Width};

/// Whatever runs an instruction's meaning: a hart, whose values are numbers, or an IR builder, whose
/// values are nodes.
///
/// A meaning reads registers, then touches memory, then writes registers: nothing is committed
/// before the last `?`. Control flow inside a meaning may depend on operands (register numbers,
/// immediates), never on values: those go through [`Machine::select`] and [`Machine::jump_if`].
pub trait Machine {
    /// A 64-bit value.
    type V: Copy;
    /// Why a meaning stopped early: a trap.
    type Stop;

    /// A constant.
    fn imm(&mut self, k: u64) -> Self::V;
    /// `op(a, b)`
    fn bin(&mut self, op: Bin, a: Self::V, b: Self::V) -> Self::V;
    /// `op(a)`
    fn un(&mut self, op: Un, a: Self::V) -> Self::V;
    /// `a` if `c` is not 0, else `b`.
    fn select(&mut self, c: Self::V, a: Self::V, b: Self::V) -> Self::V;

    /// Address of this instruction.
    fn pc(&mut self) -> Self::V;
    /// Address of the instruction after this one in memory.
    fn next_pc(&mut self) -> Self::V;
    /// Goes on at `target` when the meaning is done. Only register writes may follow: the link register
    /// is written after the last possible fault, which this is.
    ///
    /// # Errors
    /// A trap, where the target is one the instruction set does not allow.
    fn jump(&mut self, target: Self::V) -> Result<(), Self::Stop>;
    /// Goes on at `target` if `taken` is not 0, else after this instruction, when the meaning is done.
    ///
    /// # Errors
    /// As [`Machine::jump`], only if taken.
    fn jump_if(&mut self, taken: Self::V, target: Self::V) -> Result<(), Self::Stop>;

    /// Loads `width` bytes at virtual address `va`, zero-extended.
    ///
    /// # Errors
    /// The access's fault.
    fn load(&mut self, va: Self::V, width: Width, order: Order) -> Result<Self::V, Self::Stop>;
    /// Stores the low `width` bytes of `v` at virtual address `va`.
    ///
    /// # Errors
    /// The access's fault.
    fn store(&mut self, va: Self::V, width: Width, v: Self::V, order: Order) -> Result<(), Self::Stop>;
    /// Replaces the word at `va` by `op` of it and `v`, in one step; gives the old word, sign-extended.
    ///
    /// # Errors
    /// The access's fault.
    fn amo(
        &mut self,
        op: AmoOp,
        va: Self::V,
        width: Width,
        v: Self::V,
        order: Order,
    ) -> Result<Self::V, Self::Stop>;
    /// Loads the word at `va`, sign-extended, and reserves it.
    ///
    /// # Errors
    /// The access's fault.
    fn load_reserved(&mut self, va: Self::V, width: Width, order: Order) -> Result<Self::V, Self::Stop>;
    /// Stores `v` at `va` if the reservation holds; gives 0 if stored, 1 if not. Ends the reservation.
    ///
    /// # Errors
    /// The access's fault.
    fn store_conditional(
        &mut self,
        va: Self::V,
        width: Width,
        v: Self::V,
        order: Order,
    ) -> Result<Self::V, Self::Stop>;
    /// Orders the accesses before against those after.
    fn fence(&mut self, order: Order);

    /// `a + k`
    #[inline(always)]
    fn add_imm(&mut self, a: Self::V, k: i64) -> Self::V {
        let k = self.imm(k as u64);
        self.bin(Bin::Add, a, k)
    }
    /// `op(a, k)`
    #[inline(always)]
    fn bin_imm(&mut self, op: Bin, a: Self::V, k: u64) -> Self::V {
        let k = self.imm(k);
        self.bin(op, a, k)
    }
}
