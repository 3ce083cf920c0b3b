//! The host's end of a port.

use dev_core::{Doorbell, HostWork};
use dev_virtio::{Broken, Chain};
use fabric_bus::Dma;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of either direction that wait before no more are taken.
pub const MOST_WAITING: usize = 64 << 10;

/// What a port is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A console. What it sends is kept for whoever comes to read it.
    Console,
    /// A stream that programs open by its name. Without anybody at its other end, what is sent is lost.
    Named(String),
}

/// How large a terminal is, in characters; 0 for what is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Characters of a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A port, for who sits at its other end on the host. Clones are the same one.
#[derive(Clone)]
pub struct Port(Arc<Inner>);

struct Inner {
    role: Role,
    state: Mutex<State>,
    /// Has the device be served.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    /// The driver takes input.
    takes: bool,
    /// The host was told that there is no room for all that it had.
    turned_away: bool,
    /// The device waits for room.
    held_up: bool,
    /// Somebody is there.
    connected: bool,
    size: Size,
    bell: Option<Doorbell>,
}

impl Port {
    /// One that nobody is connected to yet. `wake` has the device be served soon.
    pub fn new(role: Role, wake: impl Fn() + Send + Sync + 'static) -> Port {
        Port(Arc::new(Inner { role, state: Mutex::default(), wake: Box::new(wake) }))
    }

    /// What it is for.
    pub fn role(&self) -> &Role {
        &self.0.role
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the driver bytes; returns how many were taken, from the front. Of a driver that has not opened the port, none.
    pub fn feed(&self, bytes: &[u8]) -> usize {
        let taken = self.with(|state| {
            let room = if state.takes { MOST_WAITING.saturating_sub(state.incoming.len()) } else { 0 };
            let taken = room.min(bytes.len());
            state.incoming.extend(bytes.iter().take(taken));
            state.turned_away |= taken < bytes.len();
            taken
        });
        if taken > 0 {
            (self.0.wake)();
        }
        taken
    }

    /// Appends to `into` what the driver has sent.
    pub fn drain(&self, into: &mut Vec<u8>) {
        let waits = self.with(|state| {
            into.extend(state.outgoing.drain(..));
            std::mem::take(&mut state.held_up)
        });
        if waits {
            (self.0.wake)();
        }
    }

    /// Has `bell` rung whenever there may be something to drain or room to feed.
    pub fn connect(&self, bell: Doorbell) {
        self.with(|state| state.bell = Some(bell));
    }

    /// Somebody came to its other end, or went.
    pub fn set_connected(&self, connected: bool) {
        let changed = self.with(|state| std::mem::replace(&mut state.connected, connected) != connected);
        if changed {
            (self.0.wake)();
        }
    }

    /// The terminal at its other end has this size.
    pub fn set_size(&self, size: Size) {
        let changed = self.with(|state| std::mem::replace(&mut state.size, size) != size);
        if changed {
            (self.0.wake)();
        }
    }

    /// Sends bytes as if the driver had; returns how many found room.
    pub fn print(&self, bytes: &[u8]) -> usize {
        let (taken, bell) = self.with(|state| {
            let room = MOST_WAITING.saturating_sub(state.outgoing.len()).min(bytes.len());
            state.outgoing.extend(bytes.iter().take(room));
            (room, state.bell.clone().filter(|_| room > 0))
        });
        if let Some(bell) = bell {
            bell(HostWork { fetch: true, room: false });
        }
        taken
    }

    /// Takes a byte of input as if the driver had.
    pub fn take(&self) -> Option<u8> {
        self.with(|state| state.incoming.pop_front())
    }

    /// Whether somebody is at its other end.
    pub(crate) fn is_connected(&self) -> bool {
        self.with(|state| state.connected)
    }

    pub(crate) fn size(&self) -> Size {
        self.with(|state| state.size)
    }

    /// The driver takes input from now on, or no more.
    pub(crate) fn set_takes(&self, takes: bool) {
        self.with(|state| state.takes = takes);
        self.ring(false);
    }

    /// The driver is gone: what has come for it is nobody's.
    pub(crate) fn forget(&self) {
        self.with(|state| state.incoming.clear());
        self.ring(false);
    }

    /// Tells the host of output, if there is any, and of room if it was turned away and there is some now.
    pub(crate) fn ring(&self, output: bool) {
        let (bell, work) = self.with(|state| {
            let room = state.turned_away && state.takes && state.incoming.len() < MOST_WAITING;
            state.turned_away &= !room;
            (state.bell.clone(), HostWork { fetch: output, room })
        });
        if let Some(bell) = bell.filter(|_| work.fetch || work.room) {
            bell(work);
        }
    }

    /// Whether more bytes than that wait in either direction: never.
    pub(crate) fn has_more_than(&self, most: usize) -> bool {
        self.with(|state| state.incoming.len() > most || state.outgoing.len() > most)
    }

    /// Whether anything has come for the driver.
    pub(crate) fn has_input(&self) -> bool {
        self.with(|state| !state.incoming.is_empty())
    }

    /// Whether there is room for output; if not, the device is served again once there is.
    pub(crate) fn has_room(&self) -> bool {
        self.with(|state| {
            state.held_up = state.outgoing.len() >= MOST_WAITING;
            !state.held_up
        })
    }

    /// Puts what has come for the driver into its buffer, as much as finds room. Gives the number of bytes.
    pub(crate) fn fill(&self, dma: &Dma, chain: &Chain) -> Result<usize, Broken> {
        self.with(|state| {
            let (first, second) = state.incoming.as_slices();
            let mut written = chain.write(dma, 0, first)?;
            if written == first.len() {
                written += chain.write(dma, written as u64, second)?;
            }
            state.incoming.drain(..written.min(state.incoming.len()));
            Ok(written)
        })
    }

    /// Takes what is in the driver's buffer from byte `at` on, up to [`MOST_WAITING`] bytes. Gives the number of bytes.
    pub(crate) fn absorb(&self, dma: &Dma, chain: &Chain, at: u64) -> Result<u64, Broken> {
        let left = usize::try_from(chain.readable_len().saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(MOST_WAITING)];
        let read = chain.read(dma, at, &mut bytes)?;
        self.with(|state| state.outgoing.extend(bytes.iter().take(read)));
        Ok(read as u64)
    }
}
