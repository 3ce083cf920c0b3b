//! Who serves a folder, as the devices see it.

use host_share::ShareLink;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use support_hostmap::Pieces;

/// Who answers requests: each one once, in any order, by the token that came with it.
pub trait Server: Send + Sync {
    /// A token that no request to this server had yet.
    fn token(&self) -> u64;

    /// Takes a request, which lies in guest memory. Does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room for it now: the descriptor can be written when there is. `InvalidInput` if it is longer,
    /// or in more ranges, than any request may be. Any other: there is no server any more.
    fn send(&self, token: u64, request: &Pieces) -> io::Result<()>;

    /// Gives a reply, if there is one: its token; its bytes, which may be none, are in `reply`.
    ///
    /// # Errors
    /// There is no server any more.
    fn receive(&self, reply: &mut Vec<u8>) -> io::Result<Option<u64>>;

    /// Can be read when there is a reply, or no server any more.
    fn descriptor(&self) -> Arc<OwnedFd>;

    /// Waits so long at most until there is a reply, or, if `room` is wanted, room for a request. May return early.
    fn wait(&self, room: bool, longest: Duration);
}

impl Server for ShareLink {
    fn token(&self) -> u64 {
        ShareLink::token(self)
    }

    fn send(&self, token: u64, request: &Pieces) -> io::Result<()> {
        self.send_mapped(token, request)
    }

    fn receive(&self, reply: &mut Vec<u8>) -> io::Result<Option<u64>> {
        ShareLink::receive(self, reply)
    }

    fn descriptor(&self) -> Arc<OwnedFd> {
        ShareLink::descriptor(self)
    }

    fn wait(&self, room: bool, longest: Duration) {
        ShareLink::wait(self, room, longest);
    }
}
