//! The process that serves a folder, and how it gives up everything else before it reads the first request:
//!
//! 1. capabilities, if it has any, but those by which an administrator's process works on others' files;
//! 2. by Landlock, all files but those beneath the folder;
//! 3. by its filter ([`crate::filter`]), all system calls that serving does not need, sockets and signals to others among
//!    them. (Newer versions of Landlock refuse TCP and signals as well.)
//!
//! Then it says that it is ready, and several threads take requests from the socket, whichever is free. It ends when
//! nobody holds the other end any more.

use crate::filter;
use crate::fuse::{FuseServer, LONGEST_REPLY, LONGEST_REQUEST};
use crate::link::{Protocol, READY, receive};
use crate::nine::NineServer;
use crate::options::{Limits, Options};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use support_hostmap::landlock::{self, Access};

/// How many requests are worked on at once.
const THREADS: usize = 4;

/// The most descriptors that it will use, however many the host allows.
const DESCRIPTORS: u64 = 262_144;

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The folder cannot be used.
    #[error("cannot serve the folder: {0}; is /proc mounted?")]
    Folder(io::Error),
    /// The process cannot be confined.
    #[error("cannot give up rights by {what}: {source}")]
    Confine {
        /// What by.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The host has no threads left.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// The other side has hung up already.
    #[error("cannot say that the folder is served: {0}")]
    Link(io::Error),
}

/// A server of one of the protocols.
#[derive(Debug)]
enum Server {
    Fuse(FuseServer),
    Nine(NineServer),
}

impl Server {
    fn handle(&self, request: &[u8], reply: &mut Vec<u8>) {
        match self {
            Server::Fuse(server) => server.handle(request, reply),
            Server::Nine(server) => server.handle(request, reply),
        }
    }
}

/// Serves the folder `root` to who holds the other end of `link`. Returns when nobody does.
///
/// # Errors
/// If the process cannot be prepared and confined; then no request has been read.
pub fn serve(link: &OwnedFd, root: OwnedFd, protocol: Protocol, options: Options) -> Result<(), HelperError> {
    // Modes are what the guest says; its own kernel has taken its process's mask off.
    rustix::process::umask(Mode::empty());
    let options = Options { limits: Limits::for_descriptors(raise_descriptors()), ..options };
    // A write past the limit of file sizes is to fail, not to end the process.
    signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .map_err(|source| HelperError::Confine { what: "handling SIGXFSZ", source })?;
    drop_capabilities().map_err(|errno| HelperError::Confine { what: "capset", source: errno.into() })?;
    let seen = root.try_clone().map_err(HelperError::Folder)?;
    let server = match protocol {
        Protocol::Fuse => FuseServer::new(root, options).map(Server::Fuse),
        Protocol::Nine => NineServer::new(root, options).map(Server::Nine),
    };
    let server = server.map_err(|errno| HelperError::Folder(errno.into()))?;
    let landlock = confine_files(&seen, options.read_only)?;
    drop(seen);

    // 9P's flushing wants order.
    let threads = if protocol == Protocol::Nine { 1 } else { THREADS };
    std::thread::scope(|scope| {
        let (up, all_up) = mpsc::channel();
        let mut gates = Vec::new();
        for _ in 0..threads {
            let (gate, opened) = mpsc::channel();
            let (up, server) = (up.clone(), &server);
            let worker = move || {
                let _ = up.send(());
                // Of a gate that is gone, not opened, comes an error.
                if opened.recv().is_ok() {
                    work(link.as_fd(), server);
                }
            };
            std::thread::Builder::new().spawn_scoped(scope, worker).map_err(HelperError::Threads)?;
            gates.push(gate);
        }
        // To come up, a thread needs calls that the filter has not.
        all_up.iter().take(threads).for_each(drop);
        confine_calls()?;
        say_ready(link.as_fd(), landlock)?;
        for gate in &gates {
            let _ = gate.send(());
        }
        Ok(())
    })
}

/// Takes as many descriptors as the host allows; returns how many.
fn raise_descriptors() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    let wanted = Rlimit { current: Some(most), maximum: limit.maximum };
    let has = match rustix::process::setrlimit(Resource::Nofile, wanted) {
        Ok(()) => most,
        Err(_) => limit.current.unwrap_or(most),
    };
    usize::try_from(has).unwrap_or(usize::MAX)
}

fn drop_capabilities() -> Result<(), Errno> {
    let mut sets = rustix::thread::capabilities(None)?;
    let kept = CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    sets.effective &= kept;
    sets.permitted &= kept;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets)
}

fn confine_files(root: &OwnedFd, read_only: bool) -> Result<Option<u32>, HelperError> {
    let confine = |source| HelperError::Confine { what: "Landlock", source };
    rustix::thread::set_no_new_privs(true).map_err(|errno| confine(errno.into()))?;
    let access = if read_only { Access::READ } else { Access::WRITE };
    landlock::confine_thread(&[(root.as_fd(), access)]).map_err(confine)
}

fn confine_calls() -> Result<(), HelperError> {
    let confine = |error| HelperError::Confine { what: "seccomp", source: io::Error::other(error) };
    let program = filter::program(std::process::id()).map_err(|error| confine(error.to_string()))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| confine(error.to_string()))
}

fn say_ready(link: BorrowedFd<'_>, landlock: Option<u32>) -> Result<(), HelperError> {
    send(link, READY, &landlock.unwrap_or(0).to_le_bytes()).map_err(|errno| HelperError::Link(errno.into()))
}

fn send(link: BorrowedFd<'_>, token: u64, reply: &[u8]) -> Result<(), Errno> {
    let token = token.to_le_bytes();
    let pieces = [IoSlice::new(&token), IoSlice::new(reply)];
    rustix::net::sendmsg(link, &pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL).map(drop)
}

/// Answers requests until the other side hangs up.
fn work(link: BorrowedFd<'_>, server: &Server) {
    let mut request = vec![0; LONGEST_REQUEST];
    let mut reply = Vec::with_capacity(LONGEST_REPLY);
    loop {
        let (token, length) = match receive(link, &mut request, RecvFlags::empty()) {
            Ok(Some(received)) => received,
            Err(Errno::INTR | Errno::PROTO) => continue,
            Ok(None) | Err(_) => return,
        };
        let request = request.get(..length).unwrap_or_default();
        // A request that is never answered would leave its guest waiting: better that all of them fail.
        if catch_unwind(AssertUnwindSafe(|| server.handle(request, &mut reply))).is_err() {
            std::process::exit(1);
        }
        loop {
            match send(link, token, &reply) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the process that is confined, which runs the same test.
    const CONFINED: &str = "HOST_SHARE_TEST_CONFINED";

    #[test]
    fn the_filter_lets_memory_be_freed_without_landlock() {
        if std::env::var_os(CONFINED).is_some() {
            rustix::thread::set_no_new_privs(true).unwrap();
            confine_calls().unwrap();
            // As glibc does.
            let read = std::fs::read("/proc/sys/vm/overcommit_memory");
            std::process::exit(if read.is_ok() { 42 } else { 1 });
        }
        let confined = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper::tests::the_filter_lets_memory_be_freed_without_landlock"])
            .env(CONFINED, "")
            .status()
            .unwrap();
        assert_eq!(confined.code(), Some(42), "{confined}");
    }
}
