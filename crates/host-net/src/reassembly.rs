//! Fragments of the guest's packets put together (RFC 791 §3.2, RFC 8200 §4.5), within fixed memory.
//!
//! No two fragments may overlap: what does is an attack, and the whole datagram goes (RFC 5722 for IPv6; IPv4 is treated
//! alike). TCP never needs this, and UDP rarely: so there is little room, and the oldest gives way.

use crate::frame::{Packet, Piece};
use std::net::IpAddr;
use std::time::Duration;

/// Datagrams at a time.
const MOST: usize = 16;
/// Bytes of a datagram.
const LONGEST: usize = 65_535;
/// Fragments of a datagram; more than that are smaller than any link makes them.
const PIECES: usize = 128;
/// How long the missing ones are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all fragments of a datagram have in common.
type Key = (IpAddr, IpAddr, u8, u32);

#[derive(Debug)]
struct Partial {
    key: Key,
    begun: Duration,
    bytes: Vec<u8>,
    /// Beginning and end of each fragment, in order.
    pieces: Vec<(usize, usize)>,
    /// Length of the whole, once its last fragment has come.
    length: Option<usize>,
}

impl Partial {
    /// Adds a fragment; `None` if it cannot belong there.
    fn add(&mut self, piece: Piece, data: &[u8]) -> Option<()> {
        let end = piece.offset + data.len();
        let inner = piece.more && !data.len().is_multiple_of(8);
        let beyond = self.length.is_some_and(|length| end > length || !piece.more);
        if data.is_empty() || inner || beyond || end > LONGEST || self.pieces.len() >= PIECES {
            return None;
        }
        let at = self.pieces.partition_point(|&(from, _)| from < piece.offset);
        let before = at.checked_sub(1).and_then(|n| self.pieces.get(n));
        if before.is_some_and(|&(_, to)| to > piece.offset)
            || self.pieces.get(at).is_some_and(|&(from, _)| from < end)
        {
            return None;
        }
        if !piece.more {
            self.length = Some(end);
            if self.pieces.last().is_some_and(|&(_, to)| to > end) {
                return None;
            }
        }
        self.pieces.insert(at, (piece.offset, end));
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(piece.offset..end)?.copy_from_slice(data);
        Some(())
    }

    /// Fragments do not overlap, so that the whole is there if the lengths say so.
    fn is_whole(&self) -> bool {
        let have: usize = self.pieces.iter().map(|(from, to)| to - from).sum();
        self.length == Some(have)
    }
}

/// The datagrams that wait for fragments.
#[derive(Debug, Default)]
pub struct Reassembly {
    partial: Vec<Partial>,
}

impl Reassembly {
    /// Adds a fragment; returns what the whole carries once it is there.
    pub fn add(&mut self, packet: &Packet<'_>, piece: Piece, now: Duration) -> Option<Vec<u8>> {
        let key = (packet.source, packet.destination, packet.protocol, piece.identification);
        let at = match self.partial.iter().position(|partial| partial.key == key) {
            Some(at) => at,
            None => {
                if self.partial.len() >= MOST {
                    self.partial.remove(0);
                }
                let partial =
                    Partial { key, begun: now, bytes: Vec::new(), pieces: Vec::new(), length: None };
                self.partial.push(partial);
                self.partial.len() - 1
            }
        };
        let partial = self.partial.get_mut(at)?;
        let fits = partial.add(piece, packet.payload).is_some();
        if fits && !partial.is_whole() {
            return None;
        }
        let partial = self.partial.remove(at);
        fits.then_some(partial.bytes)
    }

    /// Forgets what was waited for in vain.
    pub fn expire(&mut self, now: Duration) {
        self.partial.retain(|partial| now < partial.begun + PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Adds fragments (offset, length, more) of the bytes 0, 1, 2, …; what comes out after the last.
    fn after(pieces: &[(usize, usize, bool)]) -> Option<Vec<u8>> {
        let mut reassembly = Reassembly::default();
        let all: Vec<u8> = (0..70_000usize).map(|n| n as u8).collect();
        let mut out = None;
        for &(offset, length, more) in pieces {
            let (source, destination) = ("10.0.2.15".parse().unwrap(), "203.0.113.1".parse().unwrap());
            let payload = &all[offset..offset + length];
            let piece = Piece { identification: 7, offset, more };
            let packet = Packet {
                source,
                destination,
                protocol: 17,
                hops: 64,
                payload,
                whole: payload,
                piece: Some(piece),
            };
            out = reassembly.add(&packet, piece, Duration::ZERO);
        }
        out
    }

    #[test]
    fn pieces_in_any_order_make_the_whole() {
        let whole: Vec<u8> = (0..20).collect();
        assert_eq!(after(&[(0, 8, true), (8, 8, true), (16, 4, false)]), Some(whole.clone()));
        assert_eq!(after(&[(16, 4, false), (8, 8, true), (0, 8, true)]), Some(whole));
        assert_eq!(after(&[(0, 8, true), (16, 4, false)]), None);
    }

    #[test]
    fn attack_with_fragments_that_overlap() {
        assert_eq!(after(&[(0, 16, true), (8, 8, true), (16, 4, false)]), None);
        assert_eq!(after(&[(8, 8, true), (0, 16, true), (16, 4, false)]), None);
        assert_eq!(after(&[(8, 8, true), (0, 16, false)]), None);
        // The same one twice is an overlap too.
        assert_eq!(after(&[(0, 8, true), (0, 8, true), (8, 4, false)]), None);
    }

    #[test]
    fn attack_with_fragments_that_are_too_long_or_end_twice() {
        assert_eq!(after(&[(0, 8, true), (65_528, 100, false)]), None, "the ping of death");
        assert_eq!(after(&[(16, 4, false), (24, 8, true)]), None);
        assert_eq!(after(&[(16, 4, false), (8, 4, false)]), None);
        assert_eq!(after(&[(0, 5, true)]), None);
        assert_eq!(after(&[(0, 0, false)]), None);
    }

    #[test]
    fn attack_with_datagrams_that_never_end() {
        let mut reassembly = Reassembly::default();
        for identification in 0..1000 {
            let payload = [0; 64];
            let piece = Piece { identification, offset: 60_000, more: true };
            let packet = Packet {
                source: "10.0.2.15".parse().unwrap(),
                destination: "203.0.113.1".parse().unwrap(),
                protocol: 17,
                hops: 64,
                payload: &payload,
                whole: &payload,
                piece: Some(piece),
            };
            reassembly.add(&packet, piece, Duration::ZERO);
        }
        assert_eq!(reassembly.partial.len(), MOST);
        reassembly.expire(PATIENCE);
        assert!(reassembly.partial.is_empty());
    }

    proptest! {
        #[test]
        fn no_fragments_make_more_than_a_packet(pieces in prop::collection::vec((0usize..8192, 0usize..2000, any::<bool>()), 1..30)) {
            let pieces: Vec<_> = pieces.into_iter().map(|(at, length, more)| (at * 8 % 66_000, length, more)).collect();
            if let Some(whole) = after(&pieces) {
                prop_assert!(whole.len() <= LONGEST);
                prop_assert!(whole.iter().enumerate().all(|(n, &byte)| byte == n as u8));
            }
        }
    }
}
