//! A shared folder: what of the host's files a guest may see, and the servers that show it.
//!
//! [`FuseServer`] and [`NineServer`] are functions from the bytes of a request to those of a reply, over one folder. They
//! know neither queues nor guest memory; virtio-fs and virtio-9p carry the bytes (`dev-virtio-share`). What it
//! may reach is decided in [`folder`] (one step down, no links, no way out), what the guest may name in [`nodes`]. It runs
//! in a process of its own ([`helper`]), which before it reads the first request has given up everything but the folder; the
//! virtual machine's side of that is [`Share`].
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod attributes;
mod files;
mod filter;
mod folder;
mod fuse;
mod fuse_files;
mod fuse_names;
pub mod fuzz;
mod handles;
pub mod helper;
mod link;
mod listing;
mod name;
mod nine;
mod nine_operations;
mod nodes;
mod options;
mod tree;
mod wire;
mod xattrs;

pub use files::MOST;

pub use fuse::{FuseServer, HEADER_IN, HEADER_OUT, LONGEST_REPLY, LONGEST_REQUEST, opcode};
pub use link::{Protocol, Share, ShareError, ShareLink, VERB, of_words};
pub use nine::{LONGEST_MESSAGE, NineServer, message};
pub use options::{Cache, Limits, Options, Owner};
pub use tree::{Counts, Tree};
