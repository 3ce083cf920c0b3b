//! The hidden verb `hostel serve-network`: the process behind a virtual machine's user network, which starts it.

use crate::status;
use anyhow::Context;
use host_net::ServeError;
use std::io;
use std::os::fd::AsFd;

/// Serves the network until the machine at the other end of standard input is gone.
///
/// # Errors
/// If this is no socket of a machine's, or the host fails the network. What keeps it from starting, the machine is told,
/// and says.
pub fn serve(config: &str) -> anyhow::Result<u8> {
    let config = config.parse().with_context(|| format!("`{}` is not for people", host_net::VERB))?;
    let socket = io::stdin().as_fd().try_clone_to_owned().context("no socket on standard input")?;
    match host_net::serve(socket, config) {
        Ok(()) => Ok(status::SUCCESS),
        Err(error @ ServeError::Host(_)) => Err(error.into()),
        Err(_) => Ok(status::HOSTEL),
    }
}
