//! Bytes on their way between a guest and a host's socket: a ring per flow and direction, out of one bounded pool.
//!
//! A ring has memory only while it has bytes. What all rings have together never exceeds the pool's size, whatever a
//! guest does. A flow that gets none waits: what its peer sends stays with the host's kernel until that closes the
//! window, and what the guest sends and the host does not take at once is not acknowledged, so that it comes again.

use std::io::IoSliceMut;

/// Bytes that a ring can hold, and with that the largest window that a guest is offered.
pub const RING: usize = 512 * 1024;
/// Unused buffers that are kept for the next flow instead of being given back to the host.
const KEPT: usize = 16;

/// The memory of all rings.
#[derive(Debug)]
pub struct Pool {
    free: Vec<Box<[u8]>>,
    given: usize,
    most: usize,
}

impl Pool {
    /// A pool that gives out at most `bytes`, at least one buffer.
    pub fn new(bytes: usize) -> Self {
        Pool { free: Vec::new(), given: 0, most: (bytes / RING).max(1) }
    }

    /// Buffers that rings have now.
    pub fn given(&self) -> usize {
        self.given
    }

    /// Whether a ring without memory could have some now.
    pub fn has_room(&self) -> bool {
        self.given < self.most
    }

    fn take(&mut self) -> Option<Box<[u8]>> {
        if self.given >= self.most {
            return None;
        }
        self.given += 1;
        // Fresh zeroed memory is mapped, not written: a flow that needs a page touches a page.
        Some(self.free.pop().unwrap_or_else(|| vec![0; RING].into_boxed_slice()))
    }

    fn give(&mut self, buffer: Box<[u8]>) {
        self.given -= 1;
        if self.free.len() < KEPT {
            self.free.push(buffer);
        }
    }
}

/// A queue of bytes of at most [`RING`].
#[derive(Debug, Default)]
pub struct Ring {
    buffer: Option<Box<[u8]>>,
    head: usize,
    length: usize,
    /// There are bytes beyond the end ([`Ring::place`]): the memory stays even if the ring is empty.
    held: bool,
}

impl Ring {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes it could take, had it memory.
    pub fn room(&self) -> usize {
        RING - self.length
    }

    /// Sees to it that the ring has memory; `false` if the pool has none left.
    pub fn prepare(&mut self, pool: &mut Pool) -> bool {
        if self.buffer.is_none() {
            self.buffer = pool.take();
            self.head = 0;
        }
        self.buffer.is_some()
    }

    /// Lets `fill` write up to `most` bytes behind the last one; it returns how many it wrote.
    pub fn fill<E>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut [IoSliceMut<'_>]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let most = most.min(self.room());
        let start = (self.head + self.length) % RING;
        let Some(buffer) = self.buffer.as_deref_mut() else { return fill(&mut []) };
        let (front, back) = buffer.split_at_mut(start);
        let first = most.min(back.len());
        let parts = (back.get_mut(..first), front.get_mut(..most - first));
        let (Some(a), Some(b)) = parts else { return fill(&mut []) };
        let written = fill(&mut [IoSliceMut::new(a), IoSliceMut::new(b)])?.min(most);
        self.length += written;
        Ok(written)
    }

    /// Appends what fits of `bytes`; returns how many did.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let filled = self.fill::<()>(bytes.len(), |parts| {
            let mut rest = bytes;
            for part in parts {
                let (now, later) = rest.split_at(part.len().min(rest.len()));
                if let Some(place) = part.get_mut(..now.len()) {
                    place.copy_from_slice(now);
                }
                rest = later;
            }
            Ok(bytes.len() - rest.len())
        });
        filled.unwrap_or(0)
    }

    /// Writes bytes that are not part of the queue yet, `ahead` of its end; `false` if there is no room for them.
    pub fn place(&mut self, ahead: usize, bytes: &[u8]) -> bool {
        let Some(buffer) = self.buffer.as_deref_mut() else { return false };
        if ahead + bytes.len() > RING - self.length {
            return false;
        }
        let start = (self.head + self.length + ahead) % RING;
        let (first, second) = bytes.split_at(bytes.len().min(RING - start));
        for (at, part) in [(start, first), (0, second)] {
            if let Some(place) = buffer.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
        }
        self.held = true;
        true
    }

    /// Makes `count` bytes that were placed at the end part of the queue.
    pub fn extend(&mut self, count: usize) {
        self.length += count.min(self.room());
    }

    /// Nothing is placed any more.
    pub fn let_go(&mut self, pool: &mut Pool) {
        self.held = false;
        if self.length == 0 {
            self.clear(pool);
        }
    }

    /// At most `length` bytes from `offset` on, in two parts.
    pub fn parts(&self, offset: usize, length: usize) -> [&[u8]; 2] {
        let offset = offset.min(self.length);
        let length = length.min(self.length - offset);
        let start = (self.head + offset) % RING;
        let buffer = self.buffer.as_deref().unwrap_or_default();
        let first = length.min(RING - start);
        [
            buffer.get(start..start + first).unwrap_or_default(),
            buffer.get(..length - first).unwrap_or_default(),
        ]
    }

    /// Drops `count` bytes from the front; an empty ring gives its memory back.
    pub fn consume(&mut self, count: usize, pool: &mut Pool) {
        let count = count.min(self.length);
        self.length -= count;
        self.head = (self.head + count) % RING;
        if self.length == 0 && !self.held {
            self.clear(pool);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.held = false;
        self.length = 0;
        self.head = 0;
        if let Some(buffer) = self.buffer.take() {
            pool.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pool_gives_no_more_than_it_has() {
        let mut pool = Pool::new(2 * RING);
        let mut rings: Vec<Ring> = (0..3).map(|_| Ring::default()).collect();
        let got: Vec<bool> = rings.iter_mut().map(|r| r.prepare(&mut pool)).collect();
        assert_eq!(got, [true, true, false]);
        assert_eq!(rings[2].push(b"x"), 0);
        rings[0].clear(&mut pool);
        assert!(rings[2].prepare(&mut pool));
        assert_eq!(pool.given(), 2);
    }

    #[test]
    fn what_is_placed_ahead_becomes_part_of_the_queue() {
        let mut pool = Pool::new(RING);
        let mut ring = Ring::default();
        assert!(!ring.place(0, b"x"), "without memory");
        assert!(ring.prepare(&mut pool));
        // So far on that what follows wraps.
        ring.push(&vec![0; RING - 2]);
        ring.place(0, b"");
        ring.consume(RING - 2, &mut pool);
        assert!(ring.place(3, b"def"));
        assert!(ring.is_empty() && pool.given() == 1, "the memory stays");
        assert!(!ring.place(RING - 2, b"xyz"), "beyond the ring's size");
        assert_eq!(ring.push(b"abc"), 3);
        ring.extend(3);
        let [a, b] = ring.parts(0, 6);
        assert_eq!([a, b].concat(), b"abcdef");
        ring.let_go(&mut pool);
        ring.consume(6, &mut pool);
        assert_eq!(pool.given(), 0);
    }

    proptest! {
        /// A ring is a queue of bytes: the same as the standard library's, wherever it wraps.
        #[test]
        fn a_ring_is_a_queue(steps in prop::collection::vec((0..RING, 0..RING), 1..40)) {
            let mut pool = Pool::new(RING);
            let mut ring = Ring::default();
            let mut model = std::collections::VecDeque::new();
            let mut next = 0u8;
            for (push, consume) in steps {
                let bytes: Vec<u8> = (0..push).map(|n| next.wrapping_add((n % 251) as u8)).collect();
                next = next.wrapping_add(17);
                prop_assert!(ring.prepare(&mut pool));
                let taken = ring.push(&bytes);
                prop_assert_eq!(taken, push.min(RING - model.len()));
                model.extend(&bytes[..taken]);
                let [a, b] = ring.parts(consume / 2, RING);
                prop_assert!(a.iter().chain(b).eq(model.iter().skip(consume / 2)));
                ring.consume(consume, &mut pool);
                model.drain(..consume.min(model.len()));
                prop_assert_eq!(ring.len(), model.len());
            }
        }
    }
}
