//! Disks as the outside world has them: files and block devices, behind one trait.
//!
//! A [`Disk`] is what a guest's disk controller talks to: sectors that are read into, and written from, ranges of a
//! mapping ([`support_hostmap::Pieces`]). Below it is a [`Medium`], a file's bytes; what a disk looks like in a file is
//! a format's business (raw: byte for byte). It knows no descriptors, rings, devices or guests, and trusts neither an image's contents nor
//! the requests.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod copy;
mod disk;
#[cfg(any(test, feature = "testkit"))]
pub mod fuzz;
mod guard;
mod host_file;
mod medium;
#[cfg(any(test, feature = "testkit"))]
mod memory;
mod open;
mod qcow2;
mod qcow2_check;
mod qcow2_commit;
mod qcow2_counts;
mod qcow2_create;
mod qcow2_header;
mod qcow2_meta;
mod qcow2_packed;
mod qcow2_refs;
mod qcow2_repair;
mod qcow2_resize;
mod qcow2_snapshots;
mod qcow2_tables;
mod qcow2_write;
mod queue;
mod raw;
mod throttle;

pub use copy::copy;
pub use disk::{Disk, DiskError, Plan, SECTOR, Span};
pub use guard::{Access, Guard, GuardError};
pub use host_file::{Cache, HostFile};
pub use medium::Medium;
#[cfg(any(test, feature = "testkit"))]
pub use memory::Memory;
pub use open::{Backing, Format, OpenError, OpenOptions, Opened, UnknownFormat, backing_path, open, probe};
pub use qcow2::{Qcow2, Qcow2Error};
pub use qcow2_check::{Problem, Report, check};
pub use qcow2_create::NewQcow2;
pub use qcow2_header::{Compression, Geometry, Header, HeaderError};
pub use qcow2_repair::{Repair, repair};
pub use queue::{DiskQueue, Done, Kind, QueueOptions, Request};
pub use raw::Raw;
pub use throttle::{Limits, Throttle};
