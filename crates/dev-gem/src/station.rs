//! Who moves frames between the rings and a port of the host's.
//!
//! A guest's frame is sent by the hart that says so, as far as nobody else is at work and there are not many; all else is done
//! by a thread of the card's. A frame that finds no buffer waits for one, where hardware loses it: the card looks again when
//! the driver enables interrupts, and after a millisecond.

use crate::checksum::make;
use crate::gem::Gem;
use crate::receive::{Placed, judge, place, whole};
use crate::transmit::{gather, give_back};
use dev_core::{Device, Slot};
use fabric_bus::{BusFault, Dma, Target};
use host_net::{LONGEST_FRAME, NetPort, Offloads, SendError, VNET};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Frames moved in each direction before others have their turn.
const BURST: usize = 64;
/// Frames that are on their way back by a loop.
const MOST_LOOPED: usize = 64;
/// An Ethernet header.
const HEADER: usize = 14;

/// What to wait for besides the driver: until frames come, and until they can be sent.
pub type Waits = (bool, bool);

struct Work {
    /// A frame as the port gives it.
    buffer: Vec<u8>,
    /// Frames that have come and not been received, without what the port has in front of them.
    kept: VecDeque<Vec<u8>>,
    /// The port takes no more frames now.
    full: bool,
    /// What somebody was last told to wait for.
    told: Waits,
}

/// The card's way to the network.
pub struct Station {
    slot: Arc<Slot<Gem>>,
    dma: Dma,
    port: Arc<dyn NetPort>,
    fd: Arc<OwnedFd>,
    work: Mutex<Work>,
}

impl Station {
    /// Joins the card in `slot`, which reaches memory by `dma`, to `port`.
    ///
    /// # Errors
    /// If the host gives no descriptor.
    pub fn new(slot: Arc<Slot<Gem>>, dma: Dma, port: Arc<dyn NetPort>) -> io::Result<Arc<Station>> {
        let fd = Arc::new(port.descriptor().try_clone_to_owned()?);
        // The driver gets whole frames with whole checksums.
        port.set_offloads(Offloads::default());
        slot.with(|gem, _| gem.set_cable(port.is_up()));
        let work =
            Work { buffer: vec![0; LONGEST_FRAME], kept: VecDeque::new(), full: false, told: (false, false) };
        Ok(Arc::new(Station { slot, dma, port, fd, work: Mutex::new(work) }))
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what there is to do; true if there may be more.
    pub fn attend(&self) -> bool {
        self.attend_to(&mut self.work())
    }

    fn attend_to(&self, work: &mut Work) -> bool {
        let up = self.port.is_up();
        self.slot.with(|gem, _| {
            gem.take_news();
            gem.set_cable(up);
        });
        work.full = false;
        let sent = (0..BURST).take_while(|_| self.send(work)).count();
        let received = (0..BURST).take_while(|_| self.receive(work)).count();
        sent == BURST || received == BURST
    }

    /// Sends a frame; false if there is none, or it cannot be.
    fn send(&self, work: &mut Work) -> bool {
        let Some(plan) = self.slot.with(|gem, _| gem.transmit_plan()) else { return false };
        let epoch = plan.ring.epoch;
        let mut frame = match gather(&self.dma, &plan.ring) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.slot.with(|gem, _| gem.sent_all(&plan));
                return false;
            }
            Err(_) => {
                self.slot.with(|gem, _| gem.transmit_broken(epoch));
                return false;
            }
        };
        let len = frame.bytes.len() - VNET;
        // What has no header is lost, as it would be further on.
        let whole = len >= HEADER;
        let on_wire = match frame.checked {
            // The network takes frames without it.
            true => {
                frame.bytes.truncate(VNET + len.saturating_sub(4));
                len
            }
            false => {
                let padded = len.max(crate::receive::SHORTEST);
                frame.bytes.resize(VNET + padded, 0);
                if plan.checksums {
                    make(frame.bytes.get_mut(VNET..).unwrap_or_default());
                }
                padded + 4
            }
        };
        if whole && plan.loops {
            if work.kept.len() < MOST_LOOPED {
                work.kept.push_back(frame.bytes.get(VNET..).unwrap_or_default().to_vec());
            }
        } else if whole && self.port.send(&frame.bytes) == Err(SendError::Full) {
            // It is gathered again when there is room.
            work.full = true;
            return false;
        }
        let to = frame.bytes.get(VNET..VNET + 6).unwrap_or_default();
        let given = give_back(&self.dma, &frame);
        self.slot.with(|gem, _| match given {
            Ok(()) => gem.sent(epoch, frame.next, to, on_wire),
            Err(_) => gem.transmit_broken(epoch),
        });
        true
    }

    /// Receives a frame; false if there is none, or it has to wait.
    fn receive(&self, work: &mut Work) -> bool {
        let Some(plan) = self.slot.with(|gem, _| gem.receive_plan()) else { return false };
        if work.kept.is_empty() {
            let Some(len) = self.port.receive(&mut work.buffer) else { return false };
            // What is not there is no frame.
            let frame = work.buffer.get(VNET..len).unwrap_or_default().to_vec();
            work.kept.push_back(frame);
        }
        let Some(frame) = work.kept.front() else { return false };
        let bits = match judge(&plan, frame) {
            Ok(bits) => bits,
            Err(why) => {
                self.slot.with(|gem, _| gem.lost(why));
                work.kept.pop_front();
                return true;
            }
        };
        let bytes = whole(frame, plan.strip);
        let placed = place(&self.dma, &plan, &bytes, bits);
        let to = frame.get(..6).unwrap_or_default();
        let len = bytes.len() + if plan.strip { 4 } else { 0 };
        self.slot.with(|gem, now| match placed {
            Ok(Placed::There(next)) => gem.received(plan.ring.epoch, next, to, len),
            Ok(Placed::NoBuffer) => gem.no_buffer(now),
            Err(_) => gem.receive_broken(),
        });
        if placed != Ok(Placed::NoBuffer) {
            work.kept.pop_front();
        }
        placed != Ok(Placed::NoBuffer)
    }

    fn wanted(&self, work: &Work) -> Waits {
        if !self.port.is_up() {
            return (false, false);
        }
        let takes = self.slot.with(|gem, _| gem.receive_plan().is_some() && !gem.is_starved());
        (takes && work.kept.is_empty(), work.full)
    }

    /// The port's descriptor, and what to wait for.
    pub fn waits(&self) -> (Arc<OwnedFd>, Waits) {
        let mut work = self.work();
        work.told = self.wanted(&work);
        (Arc::clone(&self.fd), work.told)
    }

    /// The machine stands still: frames that wait are lost.
    pub fn quiesce(&self) {
        self.work().kept.clear();
    }
}

/// The card's window: what an access starts is done at once, if nobody is at work.
pub struct Front {
    station: Arc<Station>,
    /// Wakes the card's thread.
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Front {
    /// The window of a station's card; `ring` wakes the thread that attends.
    pub fn new(station: Arc<Station>, ring: impl Fn() + Send + Sync + 'static) -> Front {
        Front { station, ring: Box::new(ring) }
    }
}

impl Target for Front {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.station.slot.read(offset, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        let (done, news) = self.station.slot.with(|gem, now| {
            let done = Device::write(gem, offset, size, value, now).map_err(|_| BusFault);
            (done, gem.take_news())
        });
        if news {
            let mut work = match self.station.work.try_lock() {
                Ok(work) => work,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    (self.ring)();
                    return done;
                }
            };
            let more = self.station.attend_to(&mut work);
            if more || self.station.wanted(&work) != work.told {
                (self.ring)();
            }
        }
        done
    }
}
