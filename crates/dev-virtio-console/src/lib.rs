//! The virtio console: consoles and named ports, each a stream of bytes in both directions.
//!
//! The host's end of a port is a [`Port`], which keeps a bounded number of bytes in each direction and knows neither queues nor
//! files; the device ([`Console`]) moves them between there and the driver's buffers. What the driver has to be told of ports
//! (that they are there, their names, who is connected, how large a terminal is) follows from their state whenever it has room
//! for a message: nothing that a driver asks for makes a list grow.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.3.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod backend;
mod config;
mod control;
#[doc(hidden)]
pub mod fuzz;
mod port;
mod seat;

#[cfg(test)]
mod attack_test;
#[cfg(test)]
mod console_test;
#[cfg(test)]
mod testkit;

pub use backend::Console;
pub use config::{MOST_PORTS, identity};
pub use port::{MOST_WAITING, Port, Role, Size};
