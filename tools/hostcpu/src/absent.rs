//! The oracle on hosts that have none.

use crate::{Outcome, Refused, Regs, Signal, Unavailable};
use std::convert::Infallible;
use std::ops::Range;

/// There is none on this host.
#[derive(Clone, Copy, Debug)]
pub struct Loaded(Infallible);

impl Loaded {
    /// Not to be had.
    pub fn stepped(self) -> Loaded {
        match self.0 {}
    }
}

/// There is none on this host.
pub struct Oracle(Infallible);

impl Oracle {
    /// Fails.
    ///
    /// # Errors
    /// Always, with [`Unavailable::Host`].
    pub fn new() -> Result<Oracle, Unavailable> {
        Err(Unavailable::Host)
    }

    /// Not to be had.
    pub fn data(&mut self) -> &mut [u8] {
        match self.0 {}
    }

    /// Not to be had.
    pub fn remember(&mut self) {
        match self.0 {}
    }

    /// Not to be had.
    pub fn restore(&mut self) {
        match self.0 {}
    }

    /// Not to be had.
    pub fn changed(&mut self) -> Option<Range<usize>> {
        match self.0 {}
    }

    /// Not to be had.
    ///
    /// # Errors
    /// None.
    pub fn run(&mut self, _code: &[u8], _regs: &mut Regs) -> Result<Outcome, Refused> {
        match self.0 {}
    }

    /// Not to be had.
    ///
    /// # Errors
    /// None.
    pub fn load(&mut self, _code: &[u8], _rip: u64) -> Result<Loaded, Refused> {
        match self.0 {}
    }

    /// Not to be had.
    pub fn go(&mut self, loaded: &Loaded, _regs: &mut Regs) -> Outcome {
        match loaded.0 {}
    }

    /// Not to be had.
    pub fn signal(&self) -> Option<Signal> {
        match self.0 {}
    }
}
