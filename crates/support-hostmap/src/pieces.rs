//! Ranges of a mapping, in order: what a file is read into and written from.

use crate::MemoryMap;
use std::ops::Range;
use std::sync::Arc;

/// A range of the mapping; it was checked when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start: usize,
    len: usize,
}

/// One range needs no allocation, and most requests have one.
#[derive(Clone, Debug)]
enum List {
    One([Piece; 1]),
    Many(Vec<Piece>),
}

/// Ranges of one mapping, in order, which together are one run of bytes. They keep the mapping alive.
///
/// No reference into the mapping is ever formed: others, a guest among them, may read and write it at any time. What
/// is copied while they do is whatever mix of bytes was there.
#[derive(Clone, Debug)]
pub struct Pieces {
    map: Arc<MemoryMap>,
    list: List,
    len: usize,
}

impl Pieces {
    /// The bytes `range` of `map`; `None` if it does not lie inside.
    pub fn one(map: &Arc<MemoryMap>, range: Range<usize>) -> Option<Self> {
        let piece = checked(map, range)?;
        Some(Pieces { map: Arc::clone(map), list: List::One([piece]), len: piece.len })
    }

    /// Several ranges, in order; `None` if one does not lie inside, or if their sum is more than can be addressed. Empty
    /// ranges are left out, and such as follow each other in the mapping are joined.
    pub fn new(map: &Arc<MemoryMap>, ranges: impl IntoIterator<Item = Range<usize>>) -> Option<Self> {
        let mut list: Vec<Piece> = Vec::new();
        let mut len = 0_usize;
        for range in ranges {
            let piece = checked(map, range)?;
            len = len.checked_add(piece.len)?;
            match list.last_mut() {
                _ if piece.len == 0 => {}
                Some(last) if last.start + last.len == piece.start => last.len += piece.len,
                _ => list.push(piece),
            }
        }
        let list = match list.as_slice() {
            [] => List::One([Piece { start: 0, len: 0 }]),
            [one] => List::One([*one]),
            _ => List::Many(list),
        };
        Some(Pieces { map: Arc::clone(map), list, len })
    }

    /// A mapping of its own of `len` zero bytes.
    ///
    /// # Errors
    /// What the host says: too little memory.
    pub fn scratch(len: usize) -> std::io::Result<Self> {
        let map = Arc::new(MemoryMap::new(len.max(1))?);
        Ok(Pieces { map, list: List::One([Piece { start: 0, len }]), len })
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many ranges there are.
    pub fn count(&self) -> usize {
        self.pieces().len()
    }

    /// The bytes `range` of these bytes; `None` if there are not so many.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len {
            return None;
        }
        if let List::One([piece]) = &self.list {
            let (start, len) = (piece.start + range.start, range.end - range.start);
            return Some(Pieces { map: Arc::clone(&self.map), list: List::One([Piece { start, len }]), len });
        }
        let parts = self.parts(range.start).map(|piece| piece.start..piece.start + piece.len);
        let mut left = range.end - range.start;
        let parts = parts.map_while(|part| {
            let take = left.min(part.len());
            left -= take;
            (take > 0).then_some(part.start..part.start + take)
        });
        Pieces::new(&self.map, parts)
    }

    /// Whether the address and the length of each range are multiples of `align` (a power of two), as `O_DIRECT` wants.
    pub fn is_aligned(&self, align: usize) -> bool {
        let base = self.map.address().as_ptr() as usize;
        let mask = align.wrapping_sub(1);
        self.pieces().iter().all(|piece| (base.wrapping_add(piece.start) | piece.len) & mask == 0)
    }

    /// Copies `bytes` in, from offset `at` on; `None` if they do not fit.
    #[must_use]
    pub fn copy_in(&self, at: usize, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes;
        self.each(at, bytes.len(), |to, len| {
            let (now, later) = rest.split_at(len);
            rest = later;
            // SAFETY: `each` gives a range inside the mapping, which no Rust-owned slice overlaps; others may access it
            // meanwhile, and plain bytes have no invalid values.
            unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), to, len) };
        })
    }

    /// Copies bytes out, from offset `at` on; `None` if there are not so many.
    #[must_use]
    pub fn copy_out(&self, at: usize, bytes: &mut [u8]) -> Option<()> {
        let mut done = 0;
        let total = bytes.len();
        let target = bytes.as_mut_ptr();
        self.each(at, total, |from, len| {
            // SAFETY: as in `copy_in`; `done + len` is at most the length of `bytes`, as `each` gives `total` bytes.
            unsafe { std::ptr::copy_nonoverlapping(from, target.add(done), len) };
            done += len;
        })
    }

    /// Sets `len` bytes from offset `at` on to `byte`; `None` if there are not so many.
    #[must_use]
    pub fn fill(&self, at: usize, len: usize, byte: u8) -> Option<()> {
        // SAFETY: as in `copy_in`.
        self.each(at, len, |to, len| unsafe { std::ptr::write_bytes(to, byte, len) })
    }

    /// All bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        let _ = self.copy_out(0, &mut bytes);
        bytes
    }

    fn pieces(&self) -> &[Piece] {
        match &self.list {
            List::One(one) => one,
            List::Many(many) => many,
        }
    }

    /// The ranges from offset `skip` on.
    fn parts(&self, skip: usize) -> impl Iterator<Item = Piece> {
        let mut skip = skip;
        self.pieces().iter().filter_map(move |piece| {
            let cut = skip.min(piece.len);
            skip -= cut;
            let len = piece.len - cut;
            (len > 0).then_some(Piece { start: piece.start + cut, len })
        })
    }

    /// Calls `f` with address and length of each range that makes up `len` bytes from `at` on; `None`, and no call, if
    /// there are not so many.
    fn each(&self, at: usize, len: usize, mut f: impl FnMut(*mut u8, usize)) -> Option<()> {
        if at.checked_add(len)? > self.len {
            return None;
        }
        let mut left = len;
        for piece in self.parts(at) {
            let take = left.min(piece.len);
            if take == 0 {
                break;
            }
            // SAFETY: the piece was checked to lie inside the mapping.
            f(unsafe { self.map.address().as_ptr().add(piece.start) }, take);
            left -= take;
        }
        Some(())
    }

    /// The first `most` ranges from offset `skip` on, as the kernel takes them.
    pub(crate) fn vectors(&self, skip: usize, most: usize) -> Vec<libc::iovec> {
        let vector = |piece: Piece| libc::iovec {
            // SAFETY: the piece was checked to lie inside the mapping.
            iov_base: unsafe { self.map.address().as_ptr().add(piece.start) }.cast(),
            iov_len: piece.len,
        };
        self.parts(skip).take(most).map(vector).collect()
    }

    /// Address and length, if there is one range only.
    pub(crate) fn single(&self) -> Option<(*mut u8, usize)> {
        match self.pieces() {
            // SAFETY: the piece was checked to lie inside the mapping.
            [piece] => Some((unsafe { self.map.address().as_ptr().add(piece.start) }, piece.len)),
            _ => None,
        }
    }
}

fn checked(map: &MemoryMap, range: Range<usize>) -> Option<Piece> {
    let inside = range.start <= range.end && range.end <= map.len();
    inside.then_some(Piece { start: range.start, len: range.end.saturating_sub(range.start) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Arc<MemoryMap> {
        Arc::new(MemoryMap::new(8192).unwrap())
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "such a range is what is tested")]
    fn a_range_outside_is_refused() {
        let map = map();
        assert!(Pieces::one(&map, 8000..8192).is_some());
        for range in [8000..8193, 8193..8193, 7..6, 0..usize::MAX, usize::MAX..usize::MAX] {
            assert!(Pieces::one(&map, range.clone()).is_none(), "{range:?}");
            assert!(Pieces::new(&map, [0..1, range]).is_none());
        }
    }

    #[test]
    fn bytes_go_through_ranges_in_their_order() {
        let map = map();
        let pieces = Pieces::new(&map, [100..103, 50..50, 10..12, 12..14]).unwrap();
        assert_eq!((pieces.len(), pieces.count()), (7, 2));
        pieces.copy_in(0, b"abcdefg").unwrap();
        assert_eq!(Pieces::one(&map, 10..14).unwrap().to_vec(), b"defg");
        assert_eq!(Pieces::one(&map, 100..103).unwrap().to_vec(), b"abc");
        pieces.fill(2, 3, b'-').unwrap();
        assert_eq!(pieces.to_vec(), b"ab---fg");
        assert!(pieces.copy_in(5, b"xyz").is_none() && pieces.copy_in(usize::MAX, b"x").is_none());
        assert!(pieces.fill(7, 1, 0).is_none() && pieces.fill(7, 0, 0).is_some());
        assert_eq!(pieces.to_vec(), b"ab---fg", "what does not fit writes nothing");
    }

    #[test]
    fn a_slice_is_the_same_bytes() {
        let map = map();
        let pieces = Pieces::new(&map, [100..103, 10..14, 4000..4005]).unwrap();
        pieces.copy_in(0, b"abcdefghijkl").unwrap();
        for start in 0..=12 {
            for end in start..=12 {
                assert_eq!(pieces.slice(start..end).unwrap().to_vec(), b"abcdefghijkl"[start..end]);
            }
        }
        assert!(pieces.slice(0..13).is_none() && pieces.slice(13..13).is_none());
    }

    #[test]
    fn alignment_counts_address_and_length_of_each_range() {
        let map = map();
        assert!(Pieces::new(&map, [0..512, 1024..1536]).unwrap().is_aligned(512));
        assert!(!Pieces::new(&map, [0..512, 1024..1535]).unwrap().is_aligned(512));
        assert!(!Pieces::one(&map, 8..520).unwrap().is_aligned(512));
    }
}
