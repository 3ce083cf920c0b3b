//! A guest's network without root: a NAT whose other side is ordinary sockets of the host.
//!
//! A network card sees a [`NetPort`]: frames with a virtio-net header, out and in. Behind it is either a tap device of
//! the host's (crate `host-tap`) or a [`UserNet`]: a process of its own, confined by a filter of system calls, that
//! [`serve`]s the guest's frames. It knows no device, no ring of descriptors and no machine.
//!
//! What a guest may reach is decided in one place (`policy.rs`), what it may use up in another ([`Config`]: flows,
//! datagrams, memory). `docs/network.md` says what a guest sees.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod config;
mod core;
mod datagram;
mod dhcp;
mod filter;
mod frame;
pub mod fuzz;
mod host;
mod icmp;
mod message;
mod neighbor;
mod policy;
mod port;
mod reassembly;
mod resolver;
mod ring;
mod serve;
mod stack;
mod stack_tcp;
mod table;
mod tcp;
mod tcp_input;
mod tcp_output;
mod user;

pub use config::{Config, ConfigError, Publish, Transport};
pub use frame::{LONGEST_FRAME, VNET, Vnet};
pub use port::{NetPort, Offloads, SendError};
pub use serve::{ServeError, serve};
pub use user::{SpawnError, UserNet, VERB, pair};
