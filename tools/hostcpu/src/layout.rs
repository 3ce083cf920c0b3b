//! Where the windows are, and what their pages allow.
//!
//! ```text
//! RESERVED.start    0x1_0000_0000   unmapped
//! DATA              0x2_0000_0000   page 0: read, write
//!                                   page 1: read, write
//! READ_ONLY                         page 2: read
//!                                   unmapped
//! CODE              0x2_3000_0000   256 pages: read, write, execute
//!                                   unmapped
//! EXITS             0x2_A800_0000   read (the oracle's)
//!                                   unmapped
//! RESERVED.end     0x20_0000_0000
//! ```
//!
//! Unmapped is 2 GiB and more before and behind [`DATA`], but for [`CODE`], which 32-bit displacements
//! reach from there and back, and for one page. The sum of an address in a window and up to eight times another
//! (base, index and scale) is unmapped too, and so is what a bit test reaches from one by another.

use std::ops::Range;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Addresses where nothing but the windows is mapped.
pub const RESERVED: Range<u64> = 0x1_0000_0000..0x20_0000_0000;

/// First byte of the data.
pub const DATA: u64 = 0x2_0000_0000;

/// Bytes of the data that an instruction may write.
pub const WRITABLE_BYTES: usize = 2 * PAGE;

/// First byte of the page of the data that an instruction may only read.
pub const READ_ONLY: u64 = DATA + WRITABLE_BYTES as u64;

/// Bytes of the data, with the page that may only be read.
pub const DATA_BYTES: usize = WRITABLE_BYTES + PAGE;

/// First byte of the code. An instruction may stand anywhere in the window, across two pages too. Its
/// end may be cut off by the window's, which is a page fault of the fetch.
///
/// What else stands here is the oracle's: do not let an instruction read or write the window. Branches
/// may go anywhere in it, and outside.
pub const CODE: u64 = 0x2_3000_0000;

/// Bytes of the code: so many that a place is out of the processor's first cache when it is its turn again.
pub const CODE_BYTES: usize = 256 * PAGE;

/// A page with the addresses that the jumps behind instructions go to. They are not in the code: a line
/// that is read as data and fetched and written is slow.
pub const EXITS: u64 = 0x2_a800_0000;
