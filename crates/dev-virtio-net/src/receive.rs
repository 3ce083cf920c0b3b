//! What the driver is sent (section 5.1.6.3 and 5.1.6.4).
//!
//! How long a frame is, a port tells only with the frame. So one is taken straight into buffers only if they hold the longest; a
//! driver whose buffers do not gets its frames by way of memory of the device's own.

use crate::filter::{Filter, HEAD, Verdict};
use dev_virtio::{Broken, Chain, Desk, ranges};
use host_net::{LONGEST_FRAME, NetPort, VNET};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use support_hostmap::Pieces;

/// Frames taken from a port before others have their turn.
const BURST: usize = 64;
/// Most ranges for one frame: what one system call takes, with some left for the port.
const MOST_RANGES: usize = 1000;
/// Where in the virtio-net header the number of buffers is.
const NUM_BUFFERS: usize = 10;
/// Ethernet header and VLAN tag.
const ETHERNET: usize = 18;

/// Where frames come from.
pub(crate) struct Inlet {
    pub port: Arc<dyn NetPort>,
    /// The port's descriptor, to be waited for.
    pub fd: Arc<OwnedFd>,
    /// Memory for a frame that finds no buffers at once.
    aside: Pieces,
    /// Bytes of the frame in it.
    kept: Option<usize>,
}

impl Inlet {
    /// Of this port.
    ///
    /// # Errors
    /// If the host has no descriptor or no memory for it.
    pub fn new(port: Arc<dyn NetPort>) -> io::Result<Inlet> {
        let fd = Arc::new(port.descriptor().try_clone_to_owned()?);
        Ok(Inlet { port, fd, aside: Pieces::scratch(LONGEST_FRAME)?, kept: None })
    }

    /// Forgets what came before.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Gives away what has come while nobody listened.
    pub fn drain(&mut self) {
        self.kept = None;
        for _ in 0..crate::backend::MOST_STALE {
            if self.port.receive_into(&self.aside).is_none() {
                return;
            }
        }
    }
}

/// How frames are given.
pub(crate) struct Manner {
    /// A frame may take several buffers (VIRTIO_NET_F_MRG_RXBUF).
    pub mergeable: bool,
    /// Bytes that the longest frame has.
    pub longest: usize,
}

impl Manner {
    /// Of a driver that takes this, from a port of this MTU.
    pub fn new(mergeable: bool, filter: &Filter, mtu: u16) -> Manner {
        let whole =
            filter.offloads.tso4 || filter.offloads.tso6 || filter.offloads.uso4 || filter.offloads.uso6;
        let longest = if mergeable || whole { LONGEST_FRAME } else { VNET + ETHERNET + usize::from(mtu) };
        Manner { mergeable, longest }
    }
}

/// Buffers that the driver has given for one descriptor chain.
#[derive(Debug)]
struct Held {
    chain: Chain,
    places: Vec<Range<u64>>,
    len: usize,
}

/// A receive queue.
#[derive(Debug)]
pub(crate) struct Receiver {
    queue: usize,
    held: VecDeque<Held>,
    /// Bytes and ranges of what is held.
    room: usize,
    ranges: usize,
    /// A frame may be waiting for buffers.
    pub starved: bool,
}

impl Receiver {
    /// Of the queue of this number.
    pub fn new(queue: usize) -> Self {
        Receiver { queue, held: VecDeque::new(), room: 0, ranges: 0, starved: false }
    }

    /// Its queue.
    pub fn queue(&self) -> usize {
        self.queue
    }

    /// Gives the driver what comes from `inlet`.
    pub fn work(
        &mut self,
        desk: &mut Desk<'_>,
        inlet: &mut Inlet,
        manner: &Manner,
        filter: &Filter,
    ) -> Result<(), Broken> {
        self.starved = false;
        if !desk.has(self.queue) {
            self.starved = true;
            return Ok(());
        }
        for _ in 0..BURST {
            if !self.step(desk, inlet, manner, filter)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes one frame on its way; false if there is none, or no buffers for it.
    fn step(
        &mut self,
        desk: &mut Desk<'_>,
        inlet: &mut Inlet,
        manner: &Manner,
        filter: &Filter,
    ) -> Result<bool, Broken> {
        let kept = inlet.kept.and_then(|len| inlet.aside.slice(0..len));
        if let Some(frame) = kept {
            let done = self.place(desk, &frame, manner, filter)?;
            if done {
                inlet.kept = None;
            }
            self.starved = !done;
            return Ok(done);
        }
        self.fill(desk, manner, manner.longest)?;
        if self.held.is_empty() {
            self.starved = true;
            return Ok(false);
        }
        if self.room(manner) < manner.longest || self.ranges > MOST_RANGES {
            inlet.kept = inlet.port.receive_into(&inlet.aside);
            return Ok(inlet.kept.is_some());
        }
        let into = self.target(desk, manner, manner.longest)?;
        let Some(len) = inlet.port.receive_into(&into) else { return Ok(false) };
        self.deliver(desk, &into, len.min(into.len()), filter)?;
        Ok(true)
    }

    /// Bytes that the next frame finds room for.
    fn room(&self, manner: &Manner) -> usize {
        if manner.mergeable { self.room } else { self.held.front().map_or(0, |held| held.len) }
    }

    /// Takes buffers from the queue, until a frame of `len` bytes finds room, or there are no more.
    fn fill(&mut self, desk: &mut Desk<'_>, manner: &Manner, len: usize) -> Result<(), Broken> {
        loop {
            let enough = if manner.mergeable { self.room >= len } else { !self.held.is_empty() };
            if enough {
                return Ok(());
            }
            if let Some(chain) = desk.pop(self.queue)? {
                let places = ranges(desk.dma, chain.writable.iter().copied(), true)?;
                // A chain has 4 GiB at most.
                let len = usize::try_from(chain.writable_len()).unwrap_or(usize::MAX);
                self.room = self.room.saturating_add(len);
                self.ranges += places.len();
                self.held.push_back(Held { chain, places, len });
            } else if !desk.sleep(self.queue)? {
                return Ok(());
            }
        }
    }

    /// The first buffers of what is held, `len` bytes or more of them, or all.
    fn target(&self, desk: &Desk<'_>, manner: &Manner, len: usize) -> Result<Pieces, Broken> {
        let mut left = len;
        let most = if manner.mergeable { usize::MAX } else { 1 };
        let held = self.held.iter().take(most).take_while(|held| {
            let wanted = left > 0;
            left = left.saturating_sub(held.len);
            wanted
        });
        let places = held.flat_map(|held| held.places.iter());
        // An arena is no larger than what can be addressed, and the places lie in it.
        let places = places.map(|place| place.start as usize..place.end as usize);
        Pieces::new(desk.dma.ram().map(), places).ok_or(Broken("memory that is not there"))
    }

    /// Gives the driver a frame that is kept; false if it has to wait.
    fn place(
        &mut self,
        desk: &mut Desk<'_>,
        frame: &Pieces,
        manner: &Manner,
        filter: &Filter,
    ) -> Result<bool, Broken> {
        self.fill(desk, manner, frame.len())?;
        if self.room(manner) >= frame.len() {
            let into = self.target(desk, manner, frame.len())?;
            into.copy_in(0, &frame.to_vec()).ok_or(Broken("memory that is not there"))?;
            self.deliver(desk, &into, frame.len(), filter)?;
            return Ok(true);
        }
        if manner.mergeable {
            // A driver that has nothing more to give than what is held never takes this frame.
            return Ok(self.held.len() >= desk.size(self.queue));
        }
        // Nor does one whose buffer is too small, which it gets back.
        let Some(held) = self.held.pop_front() else { return Ok(false) };
        self.let_go(&held);
        desk.push(self.queue, &held.chain, 0)?;
        Ok(true)
    }

    fn let_go(&mut self, held: &Held) {
        self.room = self.room.saturating_sub(held.len);
        self.ranges = self.ranges.saturating_sub(held.places.len());
    }

    /// Gives the driver a frame that lies in its buffers; one that it does not want leaves them as they are.
    fn deliver(
        &mut self,
        desk: &mut Desk<'_>,
        frame: &Pieces,
        len: usize,
        filter: &Filter,
    ) -> Result<(), Broken> {
        let mut head = [0; HEAD];
        let whole = len >= HEAD && frame.copy_out(0, &mut head).is_some();
        let verdict = if whole { filter.judge(&head) } else { Verdict::Dropped };
        let mut left = len;
        let mut count = 0;
        for held in &self.held {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(held.len);
            count += 1;
        }
        if verdict != Verdict::Dropped {
            // What is not inside cannot be written, and then it is no frame.
            let _ = frame.copy_in(NUM_BUFFERS, &u16::to_le_bytes(count as u16));
            if verdict == Verdict::Plain {
                let _ = frame.copy_in(0, &[0]);
            }
        }
        self.mark(desk, len);
        if verdict == Verdict::Dropped {
            return Ok(());
        }
        let mut left = len;
        let mut given: Vec<Held> = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(held) = self.held.pop_front() else { break };
            self.let_go(&held);
            given.push(held);
        }
        let part = |held| {
            let Held { chain, len, .. }: &Held = held;
            let written = left.min(*len);
            left -= written;
            // A frame is far shorter than 4 GiB.
            (chain, written as u32)
        };
        let all: Vec<(&Chain, u32)> = given.iter().map(part).collect();
        desk.push_all(self.queue, &all)
    }

    /// Takes note of what was written to memory.
    fn mark(&self, desk: &Desk<'_>, len: usize) {
        let mut left = len as u64;
        for place in self.held.iter().flat_map(|held| held.places.iter()) {
            if left == 0 {
                return;
            }
            let part = left.min(place.end - place.start);
            desk.dma.ram().written_range(place.start, part);
            left -= part;
        }
    }

    /// Lets what was not used be as if it had not been taken.
    pub fn put_back(&mut self, desk: &mut Desk<'_>) {
        while let Some(held) = self.held.pop_back() {
            desk.put_back(self.queue, &held.chain);
        }
        self.forget();
    }

    /// Forgets it.
    pub fn forget(&mut self) {
        *self = Receiver::new(self.queue);
    }
}
