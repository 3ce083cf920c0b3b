//! Packed virtqueues (section 2.8): one ring of descriptors, which go round in it.

use crate::chain::{Chain, DESCRIPTOR, Descriptor, Form, INDIRECT, NEXT, WRITE};
use crate::queue::{Position, Setup, event_passed};
use crate::{Broken, feature};
use fabric_bus::Dma;
use std::sync::atomic::{Ordering, fence};

/// VIRTQ_DESC_F_AVAIL and VIRTQ_DESC_F_USED.
const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;
/// RING_EVENT_FLAGS_DISABLE and RING_EVENT_FLAGS_DESC; enabled is 0 (section 2.8.14).
const EVENTS_OFF: u16 = 1;
const EVENTS_AT: u16 = 2;
/// The wrap counter in an event's offset.
const WRAP: u16 = 1 << 15;

/// A packed virtqueue.
#[derive(Clone, Debug)]
pub struct Packed {
    setup: Setup,
    events: bool,
    indirect: bool,
    available: u16,
    available_wrap: bool,
    used: u16,
    used_wrap: bool,
    /// `used` when the driver was last told; `None` once the ring has gone round since.
    told: Option<u16>,
    /// Whether anything was given back since.
    news: bool,
}

impl Packed {
    pub(crate) fn new(setup: &Setup, features: u64, position: Position) -> Result<Packed, Broken> {
        if setup.size == 0 || setup.size > 1 << 15 {
            return Err(Broken("a size that no packed virtqueue has"));
        }
        let aligned = setup.descriptors.is_multiple_of(16)
            && setup.driver.is_multiple_of(4)
            && setup.device.is_multiple_of(4);
        let within =
            [setup.descriptors, setup.driver, setup.device].iter().all(|&at| at <= u64::MAX - (1 << 20));
        if !aligned || !within {
            return Err(Broken("a virtqueue at an address where none can be"));
        }
        let Position { available, used, available_wrap, used_wrap } = position;
        if available >= setup.size || used >= setup.size {
            return Err(Broken("a position behind the virtqueue's end"));
        }
        let has = |bit| features & bit != 0;
        Ok(Packed {
            setup: *setup,
            events: has(feature::EVENT_IDX),
            indirect: has(feature::INDIRECT_DESC),
            available,
            available_wrap,
            used,
            used_wrap,
            told: Some(used),
            news: false,
        })
    }

    pub(crate) fn size(&self) -> u16 {
        self.setup.size
    }

    fn descriptor(&self, at: u16) -> u64 {
        self.setup.descriptors + DESCRIPTOR * u64::from(at)
    }

    /// Whether the next descriptor is the device's: its two flags differ, and the one is as the wrap counter.
    fn waiting(&self, dma: &Dma) -> Result<bool, Broken> {
        let flags: u16 = dma.load(self.descriptor(self.available) + 14)?;
        let (avail, used) = (flags & AVAIL != 0, flags & USED != 0);
        Ok(avail == self.available_wrap && used != self.available_wrap)
    }

    /// `at` and its wrap counter moved on by `by` places, at most the size.
    fn moved(&self, at: u16, wrap: bool, by: u16) -> (u16, bool) {
        let (to, size) = (u32::from(at) + u32::from(by), u32::from(self.setup.size));
        if to >= size { ((to - size) as u16, !wrap) } else { (to as u16, wrap) }
    }

    /// Descriptors of the requests that were taken and not given back; more than the size where no positions are so.
    fn under_way(&self) -> u16 {
        let round = if self.available_wrap == self.used_wrap { 0 } else { self.setup.size };
        // A position is less than the size, and that is 2^15 at most.
        (self.available + round).wrapping_sub(self.used)
    }

    pub(crate) fn pop(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        if !self.waiting(dma)? {
            return Ok(None);
        }
        // The flags come before what they speak of.
        fence(Ordering::Acquire);
        let mut chain = Chain::default();
        let (mut at, mut wrap) = (self.available, self.available_wrap);
        for count in 1..=self.setup.size {
            let descriptor = Descriptor::read(dma, self.descriptor(at), Form::Packed)?;
            (at, wrap) = self.moved(at, wrap, 1);
            if descriptor.flags & INDIRECT != 0 {
                chain.add_table(dma, &descriptor, Form::Packed, self.indirect)?;
            } else {
                chain.add(&descriptor)?;
            }
            if descriptor.flags & NEXT == 0 {
                let under_way = self.under_way();
                if under_way > self.setup.size || count > self.setup.size - under_way {
                    return Err(Broken("more requests than the virtqueue holds"));
                }
                // The last one has the buffer's id (section 2.8.5).
                (chain.id, chain.count) = (descriptor.next, count);
                (self.available, self.available_wrap) = (at, wrap);
                return Ok(Some(chain));
            }
        }
        Err(Broken("a chain that never ends"))
    }

    pub(crate) fn put_back(&mut self, chain: &Chain) {
        let (at, size) = (self.available, self.setup.size);
        (self.available, self.available_wrap) = match at.checked_sub(chain.count) {
            Some(before) => (before, self.available_wrap),
            // A chain has as many descriptors as the ring at most.
            None => ((at + size).wrapping_sub(chain.count), !self.available_wrap),
        };
    }

    pub(crate) fn push_all(&mut self, dma: &Dma, all: &[(&Chain, u32)]) -> Result<(), Broken> {
        // The driver looks at one place after the other, so that the first one's flags, written last, show it all of them.
        let mut first = None;
        for (chain, written) in all {
            let place = self.descriptor(self.used);
            let mut flags = if *written > 0 { WRITE } else { 0 };
            if self.used_wrap {
                flags |= AVAIL | USED;
            }
            dma.store(place + 8, *written)?;
            dma.store(place + 12, chain.id)?;
            match first {
                None => first = Some((place, flags)),
                Some(_) => {
                    fence(Ordering::Release);
                    dma.store(place + 14, flags)?;
                }
            }
            let wrap = self.used_wrap;
            (self.used, self.used_wrap) = self.moved(self.used, self.used_wrap, chain.count);
            self.news = true;
            if self.used_wrap != wrap {
                self.told = None;
            }
        }
        if let Some((place, flags)) = first {
            fence(Ordering::Release);
            dma.store(place + 14, flags)?;
        }
        Ok(())
    }

    pub(crate) fn signal_due(&mut self, dma: &Dma) -> Result<bool, Broken> {
        if !std::mem::take(&mut self.news) {
            return Ok(false);
        }
        let old = self.told.replace(self.used);
        fence(Ordering::SeqCst);
        let event: u32 = dma.load(self.setup.driver)?;
        let (offset, flags) = (event as u16, (event >> 16) as u16);
        Ok(match (flags & 3, old) {
            (EVENTS_OFF, _) => false,
            // Once the ring has gone round, distances in it say nothing: better once too often.
            (EVENTS_AT, Some(old)) if self.events => {
                let mut at = offset & !WRAP;
                if (offset & WRAP != 0) != self.used_wrap {
                    at = at.wrapping_sub(self.setup.size);
                }
                event_passed(at, self.used, old)
            }
            _ => true,
        })
    }

    pub(crate) fn sleep(&mut self, dma: &Dma) -> Result<bool, Broken> {
        let event = if self.events {
            let wrap = if self.available_wrap { WRAP } else { 0 };
            u32::from(EVENTS_AT) << 16 | u32::from(self.available | wrap)
        } else {
            0
        };
        dma.store(self.setup.device, event)?;
        fence(Ordering::SeqCst);
        self.waiting(dma)
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            available: self.available,
            used: self.used,
            available_wrap: self.available_wrap,
            used_wrap: self.used_wrap,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// From every place of a ring, with as many descriptors under way as it holds.
    #[test]
    fn what_is_under_way_is_known_everywhere() {
        let every = (1..=9).flat_map(|size| (0..size).map(move |used| (size, used)));
        let (largest, last) = (1 << 15, (1 << 15) - 1);
        for (size, used) in every.chain([(largest, 0), (largest, 1), (largest, last), (last, last - 1)]) {
            for used_wrap in [false, true] {
                let setup = Setup { size, ready: true, ..Setup::default() };
                let at = Position { available: used, used, available_wrap: used_wrap, used_wrap };
                let mut ring = Packed::new(&setup, 0, at).unwrap();
                for count in 0..=size {
                    (ring.available, ring.available_wrap) = ring.moved(used, used_wrap, count);
                    assert_eq!(ring.under_way(), count, "{size} from {used}");
                }
            }
        }
    }

    /// Positions that a saved state may claim: what is given back is never before what was taken.
    #[test]
    fn positions_that_cannot_be_are_more_than_a_ring_holds() {
        for (size, available, used, same) in [(8, 3, 4, true), (8, 4, 3, false), (1 << 15, 0, 0x7fff, true)] {
            let setup = Setup { size, ready: true, ..Setup::default() };
            let at = Position { available, used, available_wrap: same, used_wrap: true };
            assert!(Packed::new(&setup, 0, at).unwrap().under_way() > size);
        }
    }
}
