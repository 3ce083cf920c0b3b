//! What a driver has done, for whoever attends to it.

use crate::queue::{Position, Setup};

/// What the driver has done since this was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// It wants a reset, and waits for [`crate::Common::reset_done`]; or it is not the driver any more that was served so far.
    pub reset: bool,
    /// The device may not reach memory from now on, until it is told of a start again.
    pub paused: bool,
    /// A bit for each queue that it takes back, waiting for [`crate::Common::close_done`].
    pub closed: u64,
    /// It is ready: the features, and each queue with where the device goes on in it.
    pub started: Option<(u64, Vec<(Setup, Position)>)>,
    /// Queues that it hands over behind that, having taken them back before.
    pub opened: Vec<(usize, Setup)>,
    /// A bit for each queue that it rang for.
    pub rung: u64,
    /// It is ready, or wrote to the configuration space: as that is now.
    pub config: Option<Vec<u8>>,
    /// What it wrote there, in order. Of a driver that writes faster than anybody attends to it, the first of it.
    pub writes: Vec<Written>,
}

/// What a driver wrote to the configuration space in one access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where the first of the bytes that it may write is.
    pub offset: usize,
    /// Those that lie together.
    pub bytes: Vec<u8>,
}
