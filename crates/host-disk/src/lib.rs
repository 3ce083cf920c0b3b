//! Disks as the outside world has them: files and block devices, behind one trait.
//!
//! A [`Disk`] is what a guest's disk controller talks to: sectors that are read into, and written from, ranges of a
//! mapping ([`support_hostmap::Pieces`]). Below it is a [`Medium`], a file's bytes; what a disk looks like in a file is
//! a format's business (raw: byte for byte). It knows no descriptors, rings, devices or guests, and trusts neither an image's contents nor
//! the requests.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod disk;
mod guard;
mod host_file;
mod medium;
mod raw;

pub use disk::{Disk, DiskError, Plan, SECTOR, Span};
pub use guard::{Access, Guard, GuardError};
pub use host_file::{Cache, HostFile};
pub use medium::Medium;
pub use raw::Raw;
