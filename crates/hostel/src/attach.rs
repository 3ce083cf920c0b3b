//! `hostel attach`: the console of a guest in the background.

use crate::command_guest::AttachOptions;
use crate::{say, status};
use anyhow::Context;
use host_char::terminal::{self, RawMode};
use host_char::{Command, Escape, Key};
use host_guest::{Home, Name, Request, ask};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// What `Ctrl-A h` shows.
const HELP: &str = "\r\n\
    Ctrl-A h    this help\r\n\
    Ctrl-A d    detach: the guest goes on (so does Ctrl-A x)\r\n\
    Ctrl-A p    press the power button\r\n\
    Ctrl-A b    send a break\r\n\
    Ctrl-A a    send Ctrl-A (so does Ctrl-A Ctrl-A)\r\n";
/// Bytes read at a time.
const READ: usize = 16 * 1024;
/// Typed bytes that wait for the guest's keeper before reading stops.
const TYPED: usize = 64 * 1024;

/// Attaches, until the guest ends or the user leaves.
///
/// # Errors
/// If there is no such guest in the background, or somebody is attached.
pub fn attach(options: &AttachOptions) -> anyhow::Result<u8> {
    let (home, name) = (Home::open()?, &options.name);
    let (_, stream) = ask(&home, name, Request::Attach)?;
    stream.set_nonblocking(true).context("cannot use the console's socket")?;
    terminal::watch_signals(|_| false).context("cannot watch for signals")?;
    let raw = RawMode::enter(io::stdin()).context("cannot use the terminal")?;
    if raw.is_some() && terminal::is_raw() {
        say::note(&format!("attached to {name}; Ctrl-A d detaches, Ctrl-A h lists the keys"));
    }
    let escape = raw.is_some().then(Escape::new);
    let mut session =
        Session { home, name: name.clone(), stream, escape, typed: VecDeque::new(), open: true };
    let left = session.run();
    drop(raw);
    let shown = io::stderr().is_terminal();
    match left? {
        Left::Detached if shown => say::note(&format!("detached from {name}, which goes on")),
        Left::Ended if shown => say::note(&format!("the guest {name} has ended")),
        Left::Detached | Left::Ended => {}
    }
    Ok(status::SUCCESS)
}

/// How it came to an end.
enum Left {
    Detached,
    Ended,
}

struct Session {
    home: Home,
    name: Name,
    stream: UnixStream,
    /// Looked for where a person types.
    escape: Option<Escape>,
    typed: VecDeque<u8>,
    /// Whether standard input may have more.
    open: bool,
}

impl Session {
    fn run(&mut self) -> anyhow::Result<Left> {
        let stdin = io::stdin();
        let mut buffer = vec![0; READ];
        loop {
            let reads = self.open && self.typed.len() < TYPED;
            let out = if self.typed.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let input = if reads { PollFlags::IN } else { PollFlags::empty() };
            let mut fds = vec![PollFd::new(&self.stream, PollFlags::IN | out)];
            // A terminal that is gone would be told of for ever.
            if reads {
                fds.push(PollFd::new(&stdin, input));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error)).context("cannot wait for the console"),
            }
            let happened = |n: usize| fds.get(n).is_some_and(|fd| !fd.revents().is_empty());
            let (line, keys) = (happened(0), happened(1));
            if line && !self.show(&mut buffer)? {
                return Ok(Left::Ended);
            }
            if keys && self.take(&mut buffer)? {
                return Ok(Left::Detached);
            }
            self.send();
        }
    }

    /// Shows what the guest has written; false if it has ended.
    fn show(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        match rustix::io::read(&self.stream, &mut *buffer) {
            Ok(0) => Ok(false),
            Ok(n) => {
                let mut out = io::stdout().lock();
                let written = out.write_all(buffer.get(..n).unwrap_or_default()).and_then(|()| out.flush());
                written.context("cannot write the console's output").map(|()| true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Takes what was typed; true if that says to leave.
    fn take(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        let n = match rustix::io::read(io::stdin(), &mut *buffer) {
            Ok(n) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            // The terminal is gone.
            Err(_) if self.escape.is_some() => return Ok(true),
            Err(_) => 0,
        };
        if n == 0 {
            self.open = false;
        }
        for &byte in buffer.get(..n).unwrap_or_default() {
            let Some(escape) = &mut self.escape else {
                self.typed.push_back(byte);
                continue;
            };
            match escape.feed(byte) {
                Key::Byte(byte) => self.typed.push_back(byte),
                Key::Command(Command::Detach | Command::Quit) => return Ok(true),
                Key::Command(Command::Help) => say::answer(HELP)?,
                Key::Command(Command::Power) => self.want(Request::Stop),
                Key::Command(Command::Break) => self.want(Request::Break),
                Key::Command(Command::Monitor) | Key::Prefix | Key::Unknown(_) => {}
            }
        }
        Ok(false)
    }

    /// Asks for something beside the console.
    fn want(&self, request: Request) {
        if let Err(error) = ask(&self.home, &self.name, request) {
            say::note(&error.to_string());
        }
    }

    /// Sends what was typed, as far as it is taken.
    fn send(&mut self) {
        while !self.typed.is_empty() {
            let (part, _) = self.typed.as_slices();
            match rustix::io::write(&self.stream, part) {
                Ok(n) => drop(self.typed.drain(..n)),
                // What becomes of the guest, reading tells.
                Err(_) => break,
            }
        }
        if !self.open && self.typed.is_empty() {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}
