//! Split virtqueues (section 2.7): a table of descriptors, a ring of heads each way.

use crate::chain::{Chain, DESCRIPTOR, Descriptor, Form, INDIRECT, NEXT};
use crate::queue::{Position, Setup, event_passed};
use crate::{Broken, feature};
use fabric_bus::Dma;
use std::sync::atomic::{Ordering, fence};

/// VIRTQ_AVAIL_F_NO_INTERRUPT: the driver wants no interrupts.
const NO_INTERRUPT: u16 = 1;
/// VIRTQ_USED_F_NO_NOTIFY: the device wants not to be rung.
const NO_NOTIFY: u16 = 1;

/// A split virtqueue. Indices run freely; a ring's place is an index modulo the size.
#[derive(Clone, Debug)]
pub struct Split {
    setup: Setup,
    events: bool,
    indirect: bool,
    available: u16,
    used: u16,
    /// `used` when the driver was last told.
    told: u16,
}

impl Split {
    pub(crate) fn new(setup: &Setup, features: u64, position: Position) -> Result<Split, Broken> {
        if !setup.size.is_power_of_two() || setup.size > 1 << 15 {
            return Err(Broken("a size that no split virtqueue has"));
        }
        // Section 2.7: what each area is aligned to.
        let aligned = setup.descriptors.is_multiple_of(16)
            && setup.driver.is_multiple_of(2)
            && setup.device.is_multiple_of(4);
        // No area reaches around the end of the address space, so that sums below cannot overflow.
        let within =
            [setup.descriptors, setup.driver, setup.device].iter().all(|&at| at <= u64::MAX - (1 << 20));
        if !aligned || !within {
            return Err(Broken("a virtqueue at an address where none can be"));
        }
        let has = |bit| features & bit != 0;
        let Position { available, used, .. } = position;
        let (events, indirect) = (has(feature::EVENT_IDX), has(feature::INDIRECT_DESC));
        Ok(Split { setup: *setup, events, indirect, available, used, told: used })
    }

    pub(crate) fn size(&self) -> u16 {
        self.setup.size
    }

    fn place(&self, index: u16) -> u64 {
        u64::from(index & (self.setup.size - 1))
    }

    /// How many requests wait.
    fn waiting(&self, dma: &Dma) -> Result<u16, Broken> {
        let index: u16 = dma.load(self.setup.driver + 2)?;
        let waiting = index.wrapping_sub(self.available);
        if waiting > self.setup.size {
            return Err(Broken("more requests than the virtqueue holds"));
        }
        Ok(waiting)
    }

    pub(crate) fn pop(&mut self, dma: &Dma) -> Result<Option<Chain>, Broken> {
        if self.waiting(dma)? == 0 {
            return Ok(None);
        }
        // Each request under way keeps at least one descriptor.
        if self.available.wrapping_sub(self.used) >= self.setup.size {
            return Err(Broken("more requests than the virtqueue holds"));
        }
        // The index comes before what it speaks of.
        fence(Ordering::Acquire);
        let head: u16 = dma.load(self.setup.driver + 4 + 2 * self.place(self.available))?;
        let chain = self.chain(dma, head)?;
        self.available = self.available.wrapping_add(1);
        Ok(Some(chain))
    }

    fn chain(&self, dma: &Dma, head: u16) -> Result<Chain, Broken> {
        let mut chain = Chain { id: head, count: 1, ..Chain::default() };
        let mut at = head;
        for _ in 0..self.setup.size {
            if at >= self.setup.size {
                return Err(Broken("a descriptor behind the table"));
            }
            let place = self.setup.descriptors + DESCRIPTOR * u64::from(at);
            let descriptor = Descriptor::read(dma, place, Form::Split)?;
            if descriptor.flags & INDIRECT != 0 {
                chain.add_table(dma, &descriptor, Form::Split, self.indirect)?;
                return Ok(chain);
            }
            chain.add(&descriptor)?;
            if descriptor.flags & NEXT == 0 {
                return Ok(chain);
            }
            at = descriptor.next;
        }
        Err(Broken("a chain that never ends"))
    }

    pub(crate) fn put_back(&mut self, _chain: &Chain) {
        self.available = self.available.wrapping_sub(1);
    }

    pub(crate) fn push_all(&mut self, dma: &Dma, all: &[(&Chain, u32)]) -> Result<(), Broken> {
        for (chain, written) in all {
            let place = self.setup.device + 4 + 8 * self.place(self.used);
            dma.store(place, u32::from(chain.id))?;
            dma.store(place + 4, *written)?;
            self.used = self.used.wrapping_add(1);
        }
        // The entries come before the index that speaks of them, and all that was written to the buffers before both.
        fence(Ordering::Release);
        dma.store(self.setup.device + 2, self.used)?;
        Ok(())
    }

    pub(crate) fn signal_due(&mut self, dma: &Dma) -> Result<bool, Broken> {
        let old = std::mem::replace(&mut self.told, self.used);
        if old == self.used {
            return Ok(false);
        }
        // The driver must see the index before the device looks what the driver wants: it does the reverse.
        fence(Ordering::SeqCst);
        if self.events {
            let event: u16 = dma.load(self.setup.driver + 4 + 2 * u64::from(self.setup.size))?;
            return Ok(event_passed(event, self.used, old));
        }
        let flags: u16 = dma.load(self.setup.driver)?;
        Ok(flags & NO_INTERRUPT == 0)
    }

    pub(crate) fn sleep(&mut self, dma: &Dma) -> Result<bool, Broken> {
        if self.events {
            dma.store(self.setup.device + 4 + 8 * u64::from(self.setup.size), self.available)?;
        } else {
            let flags: u16 = dma.load(self.setup.device)?;
            if flags & NO_NOTIFY != 0 {
                dma.store(self.setup.device, flags & !NO_NOTIFY)?;
            }
        }
        fence(Ordering::SeqCst);
        Ok(self.waiting(dma)? != 0)
    }

    pub(crate) fn position(&self) -> Position {
        Position { available: self.available, used: self.used, ..Position::default() }
    }
}
