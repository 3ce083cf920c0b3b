//! The proof on hard instructions that are not in the product yet: x86 `adc` with its lazy flags, and
//! RISC-V `vadd.vv` with mask, tail and `vstart`. Each is one meaning, run on numbers and through the IR
//! before and after the passes, and checked against a computation of the test's own.

mod vector;
mod vector_test;
mod x86;
mod x86_test;

/// Pseudo-random numbers (xorshift64*), the same on every run.
pub struct Random(pub u64);

impl Random {
    /// 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.word() >> 16) % n
    }
}
