//! `hostel run --detach`: a guest in the background, which is this program again, as a process of its own.
//!
//! Until the guest runs, that process is at the terminal: it shows progress and errors, and as long as it fetches something,
//! Ctrl-C ends it. Then it says so to the one that waits, and leaves the terminal for a session and a log file of its own.

use crate::command::RunOptions;
use crate::named::{LOG, Named};
use crate::{say, status};
use anyhow::Context;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

/// What the guest's process says once it runs.
const READY: &[u8] = b"ready\n";

/// Starts the process and waits until the guest runs.
///
/// # Errors
/// If there is none; what goes wrong in it, it says itself.
pub fn start(options: &RunOptions) -> anyhow::Result<u8> {
    let mut arguments = std::env::args_os().skip(2);
    let mut command = Command::new("/proc/self/exe");
    command.args(["run", "--in-background"]).args(&mut arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.context("cannot start a process for the guest")?;
    let mut said = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        let most = READY.len() as u64;
        out.by_ref().take(most).read_to_end(&mut said).context("cannot hear of the guest")?;
    }
    if said == READY {
        if let Some(name) = &options.name {
            let pid = child.id();
            say::answer(&format!("{name} runs as process {pid}; `hostel attach {name}` is its console\n"))?;
        }
        return Ok(status::SUCCESS);
    }
    let ended = child.wait().context("cannot wait for the guest's process")?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(status::HOSTEL))
}

/// Begins a session of its own: what is started from here on, such as the processes that serve folders, is not ended with the
/// terminal either.
///
/// # Errors
/// If the host refuses.
pub fn session() -> anyhow::Result<()> {
    rustix::process::setsid().map(|_| ()).map_err(io::Error::from).context("cannot leave the terminal")
}

/// Leaves the terminal: the guest runs.
///
/// # Errors
/// If the log cannot be written.
pub fn leave(named: &Named) -> anyhow::Result<()> {
    let path = named.folder().join(LOG);
    let log = File::options().create(true).write(true).truncate(true).mode(0o600).open(&path);
    let log = log.with_context(|| format!("cannot write {}", path.display()))?;
    let nothing = File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    // Who waits may be gone: then nobody is told.
    let _ = io::stdout().write_all(READY).and_then(|()| io::stdout().flush());
    let done = rustix::stdio::dup2_stderr(log.as_fd()).and(rustix::stdio::dup2_stdout(nothing.as_fd()));
    done.map_err(io::Error::from).context("cannot leave the terminal")
}
