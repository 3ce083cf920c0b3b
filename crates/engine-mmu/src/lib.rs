//! The software TLB: remembered answers of the page-table walk, for every engine with its own MMU.
//!
//! It knows no instruction set: a context is an opaque key (privilege, address space, and whatever
//! else changes what an access may do), an entry says "in this context, this page, for this kind of
//! access, is RAM at this offset". Everything else (device pages, pages with mixed protection) is
//! never remembered and takes the slow way each time.
//!
//! Contexts are numbers in the tag of an entry, so a change of context costs no flush, and a flush
//! is a new number: O(1).
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod contexts;
mod filter;
mod hash;
mod regions;
mod shared;
mod table;

pub use contexts::{Context, Contexts, Key, Pages};
pub use filter::PageFilter;
pub use hash::{AddressHasher, AddressMap};
pub use regions::Regions;
pub use shared::{Mapping, SHARED, Shared, Standing};
pub use table::{ENTRIES, Entry, Table};

/// Bits of an address inside a page.
pub const PAGE_MASK: u64 = 0xfff;
