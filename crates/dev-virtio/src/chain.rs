//! Descriptor chains: the buffers that a driver hands over together.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, sections 2.7.5 (descriptor table), 2.7.5.3 (indirect descriptors), 2.8.5 to
//! 2.8.8 (the same of packed virtqueues).

use crate::Broken;
use fabric_bus::{Dma, DmaError};
use std::ops::Range;

/// The chain goes on: VIRTQ_DESC_F_NEXT.
pub(crate) const NEXT: u16 = 1;
/// The device writes the buffer: VIRTQ_DESC_F_WRITE.
pub(crate) const WRITE: u16 = 2;
/// The buffer is a table of descriptors: VIRTQ_DESC_F_INDIRECT.
pub(crate) const INDIRECT: u16 = 4;
/// Bytes of a descriptor.
pub(crate) const DESCRIPTOR: u64 = 16;
/// Most descriptors of an indirect table: what Linux and other devices agree on. No driver makes longer ones.
const LONGEST_TABLE: u32 = 1024;
/// Most bytes of a chain (section 2.7.5.2: 2^32).
const MOST_BYTES: u64 = 1 << 32;

/// A piece of the driver's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Address as the device sees it.
    pub at: u64,
    /// Bytes.
    pub len: u32,
}

/// One descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub at: u64,
    pub len: u32,
    pub flags: u16,
    /// The next one, of a split virtqueue's; the buffer's id, of a packed one's.
    pub next: u16,
}

/// The order of the last two words differs between the two kinds of virtqueues.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Split,
    Packed,
}

impl Descriptor {
    pub fn read(dma: &Dma, at: u64, form: Form) -> Result<Descriptor, Broken> {
        let mut bytes = [0; DESCRIPTOR as usize];
        dma.read(at, &mut bytes)?;
        let [a @ .., b0, b1, b2, b3, c0, c1, d0, d1] = bytes;
        let (c, d) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([d0, d1]));
        let (flags, next) = if form == Form::Split { (c, d) } else { (d, c) };
        Ok(Descriptor { at: u64::from_le_bytes(a), len: u32::from_le_bytes([b0, b1, b2, b3]), flags, next })
    }
}

/// The buffers of a request: what the device reads, then what it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// What the driver knows it by.
    pub(crate) id: u16,
    /// Descriptors that it takes of a packed ring.
    pub(crate) count: u16,
    /// What the device reads, in order.
    pub readable: Vec<Span>,
    /// What it writes, in order.
    pub writable: Vec<Span>,
    pub(crate) bytes: u64,
}

impl Chain {
    /// Adds the buffer of a descriptor that is not indirect.
    pub(crate) fn add(&mut self, descriptor: &Descriptor) -> Result<(), Broken> {
        self.bytes += u64::from(descriptor.len);
        if self.bytes > MOST_BYTES {
            return Err(Broken("a chain of more than 4 GiB"));
        }
        let span = Span { at: descriptor.at, len: descriptor.len };
        match (descriptor.flags & WRITE != 0, self.writable.is_empty()) {
            (true, _) => self.writable.push(span),
            (false, true) => self.readable.push(span),
            (false, false) => return Err(Broken("a buffer to read behind one to write")),
        }
        Ok(())
    }

    /// Adds the buffers of an indirect descriptor's table.
    pub(crate) fn add_table(
        &mut self,
        dma: &Dma,
        table: &Descriptor,
        form: Form,
        allowed: bool,
    ) -> Result<(), Broken> {
        if !allowed {
            return Err(Broken("an indirect descriptor that was not negotiated"));
        }
        if table.flags & NEXT != 0 {
            return Err(Broken("an indirect descriptor that goes on"));
        }
        if table.len == 0 || !table.len.is_multiple_of(DESCRIPTOR as u32) {
            return Err(Broken("an indirect table that is no whole number of descriptors"));
        }
        let count = table.len / DESCRIPTOR as u32;
        if count > LONGEST_TABLE {
            return Err(Broken("an indirect table of more than 1024 descriptors"));
        }
        let mut at = 0;
        for _ in 0..count {
            let place = table.at.checked_add(u64::from(at) * DESCRIPTOR).ok_or(DmaError::NotRam)?;
            let descriptor = Descriptor::read(dma, place, form)?;
            if descriptor.flags & INDIRECT != 0 {
                return Err(Broken("an indirect descriptor in an indirect table"));
            }
            self.add(&descriptor)?;
            at = match form {
                Form::Packed => at + 1,
                Form::Split if descriptor.flags & NEXT == 0 => return Ok(()),
                Form::Split => u32::from(descriptor.next),
            };
            if form == Form::Split && at >= count {
                return Err(Broken("an indirect descriptor behind its table"));
            }
        }
        if form == Form::Split { Err(Broken("a chain that never ends")) } else { Ok(()) }
    }

    /// Bytes that the device reads.
    pub fn readable_len(&self) -> u64 {
        self.readable.iter().map(|span| u64::from(span.len)).sum()
    }

    /// Bytes that it may write.
    pub fn writable_len(&self) -> u64 {
        self.writable.iter().map(|span| u64::from(span.len)).sum()
    }

    /// Reads `bytes` from byte `at` of what the device reads on. Gives how many there were.
    ///
    /// # Errors
    /// [`Broken`] if the driver's memory is none.
    pub fn read(&self, dma: &Dma, at: u64, bytes: &mut [u8]) -> Result<usize, Broken> {
        let mut done = 0;
        for span in cut(&self.readable, at, bytes.len() as u64) {
            let part = bytes.get_mut(done..done + span.len as usize).ok_or(Broken("a chain that changed"))?;
            dma.read(span.at, part)?;
            done += part.len();
        }
        Ok(done)
    }

    /// Writes `bytes` to byte `at` of what the device writes. Gives how many had room.
    ///
    /// # Errors
    /// [`Broken`] if the driver's memory is none.
    pub fn write(&self, dma: &Dma, at: u64, bytes: &[u8]) -> Result<usize, Broken> {
        let mut done = 0;
        for span in cut(&self.writable, at, bytes.len() as u64) {
            let part = bytes.get(done..done + span.len as usize).ok_or(Broken("a chain that changed"))?;
            dma.write(span.at, part)?;
            done += part.len();
        }
        Ok(done)
    }
}

/// Up to `len` bytes of `spans` from byte `at` on.
pub fn cut(spans: &[Span], at: u64, len: u64) -> impl Iterator<Item = Span> {
    let (mut skip, mut left) = (at, len);
    spans.iter().filter_map(move |span| {
        let before = skip.min(u64::from(span.len));
        skip -= before;
        let part = (u64::from(span.len) - before).min(left);
        left -= part;
        // A span that wraps around is no memory wherever it begins.
        (part > 0).then(|| Span { at: span.at.wrapping_add(before), len: part as u32 })
    })
}

/// Where in the RAM arena the bytes of `spans` are, neighbours joined.
///
/// # Errors
/// [`Broken`] if the driver's memory is none.
pub fn ranges(dma: &Dma, spans: impl Iterator<Item = Span>, write: bool) -> Result<Vec<Range<u64>>, Broken> {
    let mut all: Vec<Range<u64>> = Vec::new();
    for span in spans {
        dma.ranges(span.at, span.len as usize, write, |range| match all.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => all.push(range),
        })?;
    }
    Ok(all)
}
