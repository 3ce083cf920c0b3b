//! The hidden verb `hostel serve-folder`: the process that serves a shared folder, started by a virtual machine.

use crate::status;
use anyhow::Context;
use std::os::fd::AsFd;

/// Serves the folder that standard output is, to who holds the other end of the socket that standard input is.
pub fn serve(words: &[String]) -> anyhow::Result<u8> {
    let (protocol, options) = host_share::of_words(words).context("`serve-folder` is not for people")?;
    let link = std::io::stdin().as_fd().try_clone_to_owned()?;
    let folder = std::io::stdout().as_fd().try_clone_to_owned()?;
    host_share::helper::serve(&link, folder, protocol, options)?;
    Ok(status::SUCCESS)
}
