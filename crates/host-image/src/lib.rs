//! Guest images: fetched from the user's Debian mirror, unpacked without root, kept in a cache.
//!
//! What this crate knows: which packages an image is made of ([`IMAGES`]), how to have `apt` fetch and
//! verify them with a private configuration, how to pick single files out of a `.deb`, how to write an
//! initramfs, and how to keep the result on disk so that the second start costs a few `stat` calls.
//!
//! What it deliberately does not know: machines, boards, consoles, kernel formats, command lines. It also
//! verifies no signature itself. Every byte that it unpacks was checked by `apt` against the signed
//! `InRelease` file with the host's own Debian keyring; this crate only makes sure that apt was not told
//! to be lenient, and that the release which was verified is the one that was asked for.
//!
//! An image may have a root disk, which is finished in a machine; who runs that is given from outside ([`Runner`]).
//!
//! Known gaps: images can be made only where apt and dpkg are, which is Debian and its relatives; no kernel
//! module goes into the initramfs of the default guest, so that it has no disk, no network card and no RISC-V IOMMU; an
//! interrupted download begins anew; of two mirrors that apt is configured with, the second is never tried.
//!
//! ```no_run
//! use host_image::{Bars, DEFAULT_GUEST, Options, Store};
//! let store = Store::open(None)?;
//! let image = store.get(DEFAULT_GUEST, &Options::default(), &mut Bars::new())?;
//! println!("{:?} {:?}", image.kernel(), image.initrd());
//! # Ok::<(), host_image::Error>(())
//! ```
#![forbid(unsafe_code)]

mod apt;
mod build;
mod catalog;
pub mod child;
mod closure;
mod control;
mod cpio;
mod database;
mod deb;
mod debian;
mod disk;
mod error;
mod initramfs;
mod manifest;
mod mirror;
mod modules;
mod network;
mod overlay;
mod progress;
mod release;
mod rootfs;
mod runner;
mod store;

pub use apt::archive_keys;
pub use catalog::{Architecture, DEFAULT_GUEST, IMAGES, ImageName, Loader, SUITE, loader};
pub use cpio::Newc;
pub use error::Error;
pub use initramfs::write_initramfs;
pub use manifest::{ArchiveRecord, FileRecord, Manifest, PackageRecord, Role, rfc3339};
pub use mirror::Mirror;
pub use progress::{Bars, Progress, Silent, leave_bars};
pub use runner::{Drive, Job, NoRunner, Program, Runner};
pub use store::{Image, ImageInfo, Options, State, Store};
