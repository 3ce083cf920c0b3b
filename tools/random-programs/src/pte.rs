//! Bits of a page-table entry (Privileged Architecture, "Addressing and Memory Protection").

/// Valid.
pub const V: u64 = 1;
/// Readable.
pub const R: u64 = 2;
/// Writable.
pub const W: u64 = 4;
/// Executable.
pub const X: u64 = 8;
/// For user mode.
pub const U: u64 = 16;
/// In every address space.
pub const G: u64 = 32;
/// Accessed.
pub const A: u64 = 64;
/// Dirty.
pub const D: u64 = 128;
