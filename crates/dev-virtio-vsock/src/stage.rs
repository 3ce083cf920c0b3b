//! A host that is played, for tests and fuzzing: what is written to it can be looked at, and what it says is put in by hand.

use host_vsock::{Call, Host, Kind, Stream};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An end of a connection, as its user has it.
#[derive(Default)]
pub(crate) struct End {
    /// What the user has sent.
    pub said: VecDeque<Vec<u8>>,
    /// They send no more.
    pub ended: bool,
    /// What came for them; as it came.
    pub heard: Vec<Vec<u8>>,
    /// How many bytes they still take.
    pub takes: usize,
    /// They hear no more.
    pub closed: bool,
    /// They are gone without a word.
    pub gone: bool,
}

/// The same for both sides.
pub(crate) type Shared = Arc<Mutex<End>>;

pub(crate) fn lock(end: &Shared) -> MutexGuard<'_, End> {
    end.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Played {
    end: Shared,
    kind: Kind,
    descriptor: Arc<OwnedFd>,
}

impl Drop for Played {
    fn drop(&mut self) {
        lock(&self.end).gone = true;
    }
}

impl Stream for Played {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut end = lock(&self.end);
        let Some(mut said) = end.said.pop_front() else {
            return if end.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        };
        let len = said.len();
        let part = len.min(into.len());
        for (to, from) in into.iter_mut().zip(&said) {
            *to = *from;
        }
        if part < len && self.kind == Kind::Stream {
            said.drain(..part);
            end.said.push_front(said);
            return Ok(part);
        }
        Ok(len)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut end = lock(&self.end);
        if end.gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let len = bytes.len().min(end.takes);
        if len < bytes.len() && (self.kind == Kind::SeqPacket || len == 0) {
            return Err(ErrorKind::WouldBlock.into());
        }
        end.takes -= len;
        end.heard.push(bytes.iter().take(len).copied().collect());
        Ok(len)
    }

    fn close_writing(&mut self) {
        lock(&self.end).closed = true;
    }

    fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.descriptor)
    }
}

/// The played host. The guest may connect to even ports.
pub(crate) struct Stage {
    descriptor: Arc<OwnedFd>,
    calls: Mutex<VecDeque<(u32, Shared)>>,
    /// Ends of the connections that the guest has asked for.
    pub taken: Mutex<Vec<(u32, Shared)>>,
}

impl Stage {
    pub fn new() -> io::Result<Arc<Stage>> {
        let descriptor = Arc::new(File::open("/dev/null")?.into());
        Ok(Arc::new(Stage { descriptor, calls: Mutex::default(), taken: Mutex::default() }))
    }

    fn played(&self, kind: Kind) -> (Shared, Box<dyn Stream>) {
        let end = Arc::new(Mutex::new(End { takes: usize::MAX, ..End::default() }));
        let played = Played { end: Arc::clone(&end), kind, descriptor: Arc::clone(&self.descriptor) };
        (end, Box::new(played))
    }

    /// Somebody calls the guest.
    pub fn call(&self, port: u32) -> Shared {
        let end = Shared::default();
        lock(&end).takes = usize::MAX;
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push_back((port, Arc::clone(&end)));
        end
    }
}

impl Host for Stage {
    fn accept(&self) -> Option<Call> {
        let (port, end) = self.calls.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        let stream = Box::new(Played { end, kind: Kind::Stream, descriptor: Arc::clone(&self.descriptor) });
        Some(Call { port, stream })
    }

    fn descriptors(&self) -> Vec<Arc<OwnedFd>> {
        vec![Arc::clone(&self.descriptor)]
    }

    fn connect(&self, port: u32, kind: Kind) -> io::Result<Box<dyn Stream>> {
        if !port.is_multiple_of(2) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (end, stream) = self.played(kind);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // No more than a device ever has at a time.
        if taken.len() < 4096 {
            taken.push((port, end));
        }
        Ok(stream)
    }

    fn forget(&self) {}
}
