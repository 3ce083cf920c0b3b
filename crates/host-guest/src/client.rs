//! A client's end of a control socket.

use crate::control::short_path;
use crate::request::{LONGEST, Tail, answer};
use crate::{GuestError, Home, Name, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a keeper may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether who was connected to has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// They have closed the connection, or are gone.
    Yes,
    /// Not within that time.
    NotYet,
}

/// Asks who runs a guest, and gives their words and the connection, behind the answer.
///
/// # Errors
/// [`GuestError::Absent`], [`GuestError::NotRunning`], [`GuestError::Silent`] or [`GuestError::Refused`].
pub fn ask(home: &Home, name: &Name, request: Request) -> Result<(String, UnixStream), GuestError> {
    if !home.has(name) {
        return Err(GuestError::Absent(name.clone()));
    }
    // A socket says nothing: it stays behind when its owner is killed.
    if home.holder(name)?.is_none() {
        return Err(GuestError::NotRunning(name.clone()));
    }
    let silent = |error: io::Error| GuestError::Silent { name: name.clone(), why: error.to_string() };
    let mut stream = (|| {
        let (_folder, path) = short_path(&home.folder(name))?;
        UnixStream::connect(path)
    })()
    .map_err(silent)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.write_all(request.line().as_bytes()).map_err(silent)?;
    let mut said = Vec::new();
    let end = Instant::now() + PATIENCE;
    // Byte by byte: what is behind the line is not ours.
    while Instant::now() < end {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Err(silent(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => said.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(silent(error)),
        }
        match answer(&said) {
            Tail::Open if said.len() < LONGEST => {}
            Tail::Whole(Ok(words)) => return Ok((words, stream)),
            Tail::Whole(Err(words)) => return Err(GuestError::Refused(words)),
            Tail::Open | Tail::Wrong => return Err(silent(io::ErrorKind::InvalidData.into())),
        }
    }
    Err(silent(io::ErrorKind::TimedOut.into()))
}

/// Waits until the other end is closed, and no longer than `patience`.
pub fn ended(stream: &UnixStream, patience: Duration) -> Ended {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ended::NotYet,
            Ok(_) => return Ended::Yes,
            Err(_) if left.is_zero() => return Ended::NotYet,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
