//! The user network's process: one thread, one epoll, no file opened once the first frame is read.

use crate::config::Config;
use crate::core::Link;
use crate::frame::{LONGEST_FRAME, WORD};
use crate::host::{Kernel, Token};
use crate::port::Offloads;
use crate::resolver::Resolvers;
use crate::stack::Stack;
use crate::tcp::Ready;
use crate::{filter, message};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// Frames that are read before sockets get their turn.
const BURST: usize = 64;
/// Descriptors besides flows and published ports.
const OTHER_FILES: u64 = 32;

/// A user network that cannot be set up, or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A published port is not to be had.
    #[error("cannot publish {publish}: {error}{hint}")]
    Publish {
        /// Which.
        publish: String,
        /// Why not.
        error: Errno,
        /// What to do about it.
        hint: &'static str,
    },
    /// The process may not have enough files.
    #[error("the user network may open only {0} files; raise the limit (ulimit -n)")]
    Files(u64),
    /// What makes an administrator's process one was not given up.
    #[error("the user network cannot give up its capabilities: {0}")]
    Capabilities(Errno),
    /// The filter was not taken.
    #[error("the user network cannot confine itself: {0}")]
    Filter(seccompiler::Error),
    /// Anything else.
    #[error("the user network cannot go on: {0}")]
    Host(#[from] Errno),
}

/// The socket to the VMM.
struct Socket {
    fd: OwnedFd,
}

impl Link for Socket {
    fn transmit(&mut self, parts: &[IoSlice<'_>]) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // Whether the VMM is gone, the next read says; until then, what is sent is lost.
        !matches!(
            sendmsg(&self.fd, parts, &mut SendAncillaryBuffer::default(), flags),
            Err(Errno::AGAIN | Errno::NOBUFS)
        )
    }
}

/// Runs a user network for the VMM at the other end of `socket` until that is closed.
///
/// # Errors
/// If it cannot be set up (the other end is told), or the host fails it.
pub fn serve(socket: OwnedFd, config: Config) -> Result<(), ServeError> {
    let mut link = Socket { fd: socket };
    match prepare(&link, config) {
        Ok((config, kernel, resolvers, ready)) => {
            link.transmit(&[IoSlice::new(&message::READY.to_le_bytes()), IoSlice::new(ready.as_bytes())]);
            run(Stack::new(config, kernel, link, resolvers))
        }
        Err(error) => {
            let text = error.to_string();
            link.transmit(&[IoSlice::new(&message::FAILED.to_le_bytes()), IoSlice::new(text.as_bytes())]);
            Err(error)
        }
    }
}

/// Opens all that will ever be opened, then gives up the right to open more.
fn prepare(link: &Socket, mut config: Config) -> Result<(Config, Kernel, Resolvers, String), ServeError> {
    allow_files(&mut config)?;
    let mut kernel = Kernel::new()?;
    let mut addresses = String::new();
    for publish in &config.publish {
        let address = kernel.listen(publish).map_err(|error| ServeError::Publish {
            publish: publish.to_string(),
            error,
            hint: match error {
                Errno::ADDRINUSE => "; choose another port of the host",
                Errno::ACCESS => "; choose a port from 1024 on",
                Errno::ADDRNOTAVAIL => "; the host has no such address",
                _ => "",
            },
        })?;
        addresses.push_str(&format!("{address}\n"));
    }
    kernel.watch(&link.fd, Token::Link, EventFlags::IN)?;
    let resolvers = if config.dns.is_empty() {
        Resolvers::of_text(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    } else {
        Resolvers::new(config.dns.clone())
    };
    drop_capabilities().map_err(ServeError::Capabilities)?;
    filter::confine().map_err(ServeError::Filter)?;
    Ok((config, kernel, resolvers, addresses))
}

/// What an administrator's process may do besides is no longer needed once the published ports are open.
fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// Asks for as many files as all flows need, and allows as many flows as there are files.
fn allow_files(config: &mut Config) -> Result<(), ServeError> {
    let listeners = config.publish.len() as u64;
    let wanted = u64::from(config.flows) + u64::from(config.datagrams) * 2 + listeners + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let now = limit.current.unwrap_or(u64::MAX);
    if now < wanted {
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted.min(most)), maximum: limit.maximum });
    }
    let have = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if have < listeners + OTHER_FILES + 8 {
        return Err(ServeError::Files(have));
    }
    if have < wanted {
        // Half for TCP, a quarter each for the others.
        let quarter = u32::try_from((have - listeners - OTHER_FILES) / 4).unwrap_or(u32::MAX);
        config.flows = config.flows.min(quarter * 2);
        config.datagrams = config.datagrams.min(quarter);
    }
    Ok(())
}

fn run(mut stack: Stack<Kernel, Socket>) -> Result<(), ServeError> {
    let begin = Instant::now();
    let mut events = Vec::with_capacity(256);
    let mut frame = vec![0u8; WORD + LONGEST_FRAME + 1];
    let mut watched = EventFlags::IN;
    loop {
        events.clear();
        let patience = timespec(stack.patience());
        match epoll::wait(&stack.host().epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        stack.tick(begin.elapsed());
        let mut link = EventFlags::empty();
        for event in &events {
            let (token, flags) = (Token::from_number(event.data.u64()), event.flags);
            if token == Token::Link {
                link |= flags;
            } else {
                stack.event(token, ready(flags));
            }
        }
        if link.contains(EventFlags::OUT) {
            stack.link_ready();
        }
        if link.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
            && !take(&mut stack, &mut frame)
        {
            return Ok(());
        }
        stack.end_of_burst();
        let wanted = if stack.wants_link() { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        if wanted != watched {
            watched = wanted;
            let (kernel, link) = stack.host_and_link();
            kernel.watch_for(&link.fd, Token::Link, wanted)?;
        }
    }
}

/// Takes the VMM's messages; `false` once it is gone.
fn take(stack: &mut Stack<Kernel, Socket>, buffer: &mut [u8]) -> bool {
    for _ in 0..BURST {
        let length = match recv(&stack.link().fd, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return false,
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return true,
            Err(Errno::INTR) => continue,
            Err(_) => return false,
        };
        match message::split(buffer.get(..length).unwrap_or_default()) {
            Some((message::FRAME, frame)) => stack.input(frame),
            Some((message::OFFLOADS, bytes)) => {
                if let Some((word, _)) = bytes.split_first_chunk() {
                    stack.set_offloads(Offloads::from_bits(u32::from_le_bytes(*word)));
                }
            }
            Some((message::RESOLVERS, text)) => {
                stack.set_resolvers(Resolvers::of_text(&String::from_utf8_lossy(text)));
            }
            _ => {}
        }
    }
    true
}

fn ready(flags: EventFlags) -> Ready {
    let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
    Ready {
        readable: failed || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
        writable: failed || flags.contains(EventFlags::OUT),
        hung_up: failed || flags.contains(EventFlags::RDHUP),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}
