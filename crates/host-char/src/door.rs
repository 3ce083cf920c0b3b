//! A door: how somebody who has let a user in hands them on to a console.

use crate::bell::Event;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Where users of a console are handed in, one at a time. Clones are the same door.
///
/// Who is in holds nobody up: output that they do not read in time is dropped, oldest first, as if they were not there.
#[derive(Clone, Debug)]
pub struct Door(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) event: Event,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody is in, or about to be.
    taken: bool,
    next: Option<OwnedFd>,
}

impl Door {
    /// One that nobody has come through.
    ///
    /// # Errors
    /// If the host gives no more descriptors.
    pub fn new() -> io::Result<Door> {
        Ok(Door(Arc::new(Inner { event: Event::new()?, state: Mutex::default() })))
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reserves the door: false if somebody is in.
    pub fn reserve(&self) -> bool {
        self.with(|state| !std::mem::replace(&mut state.taken, true))
    }

    /// Lets in who has reserved it, by their socket, which must not block.
    pub fn enter(&self, user: OwnedFd) {
        self.with(|state| state.next = Some(user));
        self.0.event.ring();
    }

    /// They are gone.
    pub fn leave(&self) {
        self.with(|state| *state = State::default());
    }

    /// Who waits to be let in.
    pub(crate) fn next(&self) -> Option<OwnedFd> {
        self.0.event.clear();
        self.with(|state| state.next.take())
    }
}
