//! Fuzz entries: a driver that does anything, and a server of which replies of any kind come.

use crate::carrier::{Carrier, Patience};
use crate::config::identity;
use crate::server::Server;
use host_share::Protocol;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support_hostmap::Pieces;

/// A server by the book of a script: a byte for each request.
struct Scripted {
    state: Mutex<State>,
    descriptor: Arc<OwnedFd>,
}

#[derive(Default)]
struct State {
    script: VecDeque<u8>,
    next: u64,
    replies: VecDeque<(u64, Vec<u8>)>,
    gone: bool,
}

impl Scripted {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server for Scripted {
    fn token(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next
    }

    fn send(&self, token: u64, request: &Pieces) -> io::Result<()> {
        let mut state = self.state();
        let bytes = request.to_vec();
        match state.script.pop_front().unwrap_or(4) {
            // No room: there is at the next try.
            0 => return Err(io::ErrorKind::WouldBlock.into()),
            // The end.
            1 => state.gone = true,
            // Of a driver before this one.
            2 => state.replies.extend([(u64::MAX - token, bytes.clone()), (token, bytes)]),
            // Never answered.
            3 => {}
            n => state.replies.push_front((token, bytes.repeat(usize::from(n) / 8))),
        }
        match state.gone {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }

    fn receive(&self, reply: &mut Vec<u8>) -> io::Result<Option<u64>> {
        let mut state = self.state();
        let Some((token, bytes)) = state.replies.pop_front() else {
            return if state.gone { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
        };
        *reply = bytes;
        Ok(Some(token))
    }

    fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.descriptor)
    }

    fn wait(&self, _room: bool, _longest: Duration) {}
}

/// Plays `bytes`: the length of the script, the script, and the driver ([`dev_virtio::fuzz::device`]).
fn play(bytes: &[u8], protocol: Protocol) {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let (script, driver) = rest.split_at(usize::from(length & 31).min(rest.len()));
    let Ok(file) = File::open("/dev/null") else { return };
    let state = State { script: script.iter().copied().collect(), ..State::default() };
    let server = Arc::new(Scripted { state: Mutex::new(state), descriptor: Arc::new(file.into()) });
    let identity = identity(protocol, "tag", 2);
    let patience = Patience { at_once: length & 32 != 0, longest: Duration::ZERO };
    let carrier = Carrier::new(server, protocol, identity.queues.len(), patience, Box::new(|_| ()));
    dev_virtio::fuzz::device(driver, identity, Box::new(carrier));
}

/// The file system device.
pub fn fs(bytes: &[u8]) {
    play(bytes, Protocol::Fuse);
}

/// The 9P transport.
pub fn nine(bytes: &[u8]) {
    play(bytes, Protocol::Nine);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use dev_core::chipset::noise;

    #[test]
    fn drivers_and_servers_of_any_bytes() {
        for round in 1..=2000 {
            // Most are small numbers, so that rings and descriptors meet.
            let small = |two: &[u8]| if two[0] & 3 == 0 { two[1] } else { two[1] & 15 };
            let bytes: Vec<u8> = noise(round, 1200).chunks_exact(2).map(small).collect();
            super::fs(&bytes);
            super::nine(&bytes);
        }
    }
}
