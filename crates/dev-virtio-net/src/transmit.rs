//! What the driver sends.

use dev_virtio::{Broken, Chain, Desk, ranges};
use fabric_bus::Dma;
use host_net::{LONGEST_FRAME, NetPort, SendError, VNET};
use support_hostmap::Pieces;

/// Bytes sent in one go by who has other things to do, before the rest is left to the device's own thread.
const EAGER: usize = 256 << 10;
/// Bytes of an Ethernet header: a frame has one, and the virtio-net header.
const SHORTEST: u64 = VNET as u64 + 14;

/// A transmit queue.
#[derive(Debug)]
pub(crate) struct Transmitter {
    queue: usize,
    /// What the port had no room for: nothing is taken from the queue before this is sent.
    waiting: Option<(Chain, Pieces)>,
}

impl Transmitter {
    /// Of the queue of this number.
    pub fn new(queue: usize) -> Self {
        Transmitter { queue, waiting: None }
    }

    /// Whether it waits for the port to have room.
    pub fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Sends what there is.
    pub fn work(&mut self, desk: &mut Desk<'_>, port: &dyn NetPort) -> Result<(), Broken> {
        if let Some((chain, frame)) = self.waiting.take()
            && !self.send(desk, port, chain, frame)?
        {
            return Ok(());
        }
        let mut sent = 0;
        loop {
            while let Some(chain) = desk.pop(self.queue)? {
                let len = chain.readable_len();
                // What is no frame, or a longer one than any, is lost, as it would be further on.
                if len < SHORTEST || len > LONGEST_FRAME as u64 {
                    desk.push(self.queue, &chain, 0)?;
                    continue;
                }
                let frame = frame(desk.dma, &chain)?;
                sent += frame.len();
                if !self.send(desk, port, chain, frame)? {
                    return Ok(());
                }
                if sent >= EAGER {
                    desk.leave_rest();
                }
            }
            if !desk.sleep(self.queue)? {
                return Ok(());
            }
        }
    }

    /// Sends a frame and gives it back; false if it is to be tried again later.
    fn send(
        &mut self,
        desk: &mut Desk<'_>,
        port: &dyn NetPort,
        chain: Chain,
        frame: Pieces,
    ) -> Result<bool, Broken> {
        match port.send_from(&frame) {
            Err(SendError::Full) => {
                self.waiting = Some((chain, frame));
                Ok(false)
            }
            // Without a cable, frames are lost.
            Ok(()) | Err(SendError::Down) => desk.push(self.queue, &chain, 0).map(|()| true),
        }
    }

    /// Lets what was not sent be as if it had not been taken.
    pub fn put_back(&mut self, desk: &mut Desk<'_>) {
        if let Some((chain, _)) = self.waiting.take() {
            desk.put_back(self.queue, &chain);
        }
    }

    /// Forgets it.
    pub fn forget(&mut self) {
        self.waiting = None;
    }
}

fn frame(dma: &Dma, chain: &Chain) -> Result<Pieces, Broken> {
    let places = ranges(dma, chain.readable.iter().copied(), false)?;
    // An arena is no larger than what can be addressed, and the places lie in it.
    let places = places.iter().map(|place| place.start as usize..place.end as usize);
    Pieces::new(dma.ram().map(), places).ok_or(Broken("memory that is not there"))
}
