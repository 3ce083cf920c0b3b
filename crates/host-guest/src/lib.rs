//! Guests that have a name: their folders, who runs them, and how others reach whoever does.
//!
//! A guest is a folder ([`Home`]). Who runs it holds a lock on a file ([`Held`]), which the kernel takes back however the process
//! ends: no number of a process that is long gone, no socket left behind, can be mistaken for somebody. Beside the guest's files
//! there is a socket ([`Control`]), which takes one line from each client ([`Request`]) and answers with one.
//!
//! What it deliberately does not know: machines, consoles, disks, and what is in the files of a guest's folder.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod client;
mod control;
#[doc(hidden)]
pub mod fuzz;
mod home;
mod lock;
mod name;
mod request;

#[cfg(test)]
mod control_test;
#[cfg(test)]
mod home_test;

pub use client::{Ended, ask, ended};
pub use control::{Control, Reply};
pub use home::{Home, MACHINE};
pub use lock::{Held, Holder};
pub use name::{BadName, Name};
pub use request::{LONGEST, Request, Tail};

use std::io;
use std::path::{Path, PathBuf};

/// What keeps a guest from being had.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The environment does not say where.
    #[error(
        "there is no folder for guests: neither XDG_DATA_HOME nor HOME is an absolute path; set one of them"
    )]
    NoHome,
    /// There is none of that name.
    #[error("there is no guest {0}; `hostel list` shows those there are")]
    Absent(Name),
    /// Somebody has it.
    #[error("the guest {name} is in use{}", holder.as_ref().map_or_else(String::new, |by| format!(" by process {}", by.pid)))]
    InUse {
        /// Its name.
        name: Name,
        /// Who has it, if that is known.
        holder: Option<Holder>,
    },
    /// Nobody runs it.
    #[error("the guest {0} is not running; `hostel run --name {0}` starts it")]
    NotRunning(Name),
    /// Who runs it does not answer.
    #[error("who runs the guest {name} does not answer ({why})")]
    Silent {
        /// Its name.
        name: Name,
        /// What became of it.
        why: String,
    },
    /// The guest's keeper refuses.
    #[error("{0}")]
    Refused(String),
    /// The host does not let us.
    #[error("cannot {what} {path}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl GuestError {
    /// What makes one of an error of the host's.
    pub(crate) fn host<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> GuestError {
        let path = path.to_owned();
        move |source| GuestError::Host { what, path, source: source.into() }
    }
}
