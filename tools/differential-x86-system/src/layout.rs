//! Where everything lies in the guest's memory.

pub const PML4: u64 = 0x1000;
pub const PDPT: u64 = 0x2000;
pub const PD: u64 = 0x3000;
pub const PT: u64 = 0x4000;
pub const GDT: u64 = 0x5000;
pub const GDT_LIMIT: u64 = 0xff;
pub const IDT: u64 = 0x6000;
pub const TSS: u64 = 0x7000;
/// Gates and tables end here: what is restored before each case.
pub const TABLES_END: u64 = 0x8000;
/// The entry of vector `n` is at `HANDLERS + 32 * n`.
pub const HANDLERS: u64 = 0x8000;
pub const DRIVER: u64 = 0xb000;
/// The next case's number, and how many there are.
pub const NEXT: u64 = 0xbff0;
pub const COUNT: u64 = 0xbff8;
pub const STACK: u64 = 0xcf00;
pub const INNER_STACK: u64 = 0xdf00;
pub const IST1: u64 = 0xef00;
pub const USER_STACK: u64 = 0xff00;
/// What a case leaves, which goes out at port E9H.
pub const RECORD: u64 = 0x1_0000;
/// A page whose entry a case may change, and the same memory.
pub const PAGE: u64 = 0x1_1000;
/// A copy of the tables.
pub const PRISTINE: u64 = 0x1_2000;
/// Case `n` is at `CASES + CASE_SIZE * n`.
pub const CASES: u64 = 0x2_0000;
pub const CASE_SIZE: u64 = 0x100;
/// What of low memory the ROM holds a copy of.
pub const IMAGE: u64 = 0x8_0000;
/// The ROM: the copy, then the code that starts it.
pub const ROM: u64 = 0x9_0000;
pub const MOST_CASES: u64 = (IMAGE - CASES) / CASE_SIZE;

pub const KERNEL_CODE: u16 = 0x08;
pub const KERNEL_DATA: u16 = 0x10;
pub const USER_CODE32: u16 = 0x1b;
pub const USER_DATA: u16 = 0x23;
pub const USER_CODE: u16 = 0x2b;
pub const CODE32: u16 = 0x30;
pub const TASK: u16 = 0x38;
/// The first descriptor that cases draw.
pub const RANDOM: u16 = 0x48;
/// Ends a case; its gate is open to all.
pub const DONE: u8 = 0x21;
/// Gates that cases draw: 30H to 37H.
pub const GATES: u8 = 0x30;
