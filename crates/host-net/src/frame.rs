//! What is in a guest's frame: the virtio-net header, Ethernet, and the IP packet, checked once.
//!
//! Sources: virtio 1.2 §5.1.6 (header), RFC 791, RFC 8200 (extension headers, §4).

use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet};
use std::net::IpAddr;

/// Bytes of the word that begins each message between the VMM and its helper.
pub const WORD: usize = 4;
/// Bytes of `virtio_net_hdr_v1`.
pub const VNET: usize = 12;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// The longest frame with its virtio-net header: an IPv6 packet whose length field is at its limit.
pub const LONGEST_FRAME: usize = VNET + ETHERNET + 40 + 65_535;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum is only begun.
pub const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_F_DATA_VALID`: the checksum has been checked.
pub const DATA_VALID: u8 = 2;
/// `VIRTIO_NET_HDR_GSO_TCPV4`.
pub const GSO_TCPV4: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_TCPV6`.
pub const GSO_TCPV6: u8 = 4;
/// `VIRTIO_NET_HDR_GSO_UDP_L4`.
pub const GSO_UDP_L4: u8 = 5;

/// IP protocol numbers.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// The fragment header of IPv6.
    pub const FRAGMENT: u8 = 44;
}

/// The fields of `virtio_net_hdr_v1` that mean something here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vnet {
    /// `NEEDS_CSUM`, `DATA_VALID`.
    pub flags: u8,
    /// What the frame is to be cut into, without the ECN bit.
    pub gso_type: u8,
    /// Bytes of headers that each piece has.
    pub header: u16,
    /// Bytes of payload that a piece has.
    pub gso_size: u16,
    /// Where the checksum begins to sum, from the Ethernet header on.
    pub sum_start: u16,
    /// Where it is put, from there on.
    pub sum_offset: u16,
}

impl Vnet {
    /// The header at the front of `frame`, and what follows it.
    pub fn parse(frame: &[u8]) -> Option<(Vnet, &[u8])> {
        let (h, rest) = frame.split_first_chunk::<VNET>()?;
        let word = |low: u8, high: u8| u16::from_le_bytes([low, high]);
        let [flags, gso, l0, l1, g0, g1, s0, s1, o0, o1, _, _] = *h;
        let vnet = Vnet {
            flags,
            gso_type: gso & !0x80,
            header: word(l0, l1),
            gso_size: word(g0, g1),
            sum_start: word(s0, s1),
            sum_offset: word(o0, o1),
        };
        Some((vnet, rest))
    }

    /// Its bytes; one buffer.
    pub fn bytes(&self) -> [u8; VNET] {
        let [l0, l1] = self.header.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.sum_start.to_le_bytes();
        let [o0, o1] = self.sum_offset.to_le_bytes();
        [self.flags, self.gso_type, l0, l1, g0, g1, s0, s1, o0, o1, 1, 0]
    }
}

/// An Ethernet frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the guest wants done to it.
    pub vnet: Vnet,
    /// Who sent it.
    pub source: EthernetAddress,
    /// What it carries.
    pub kind: EthernetProtocol,
    /// What follows the Ethernet header.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame in a message's bytes; `None` if it is none, or one with a sender that cannot be.
    pub fn parse(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (vnet, rest) = Vnet::parse(bytes)?;
        let frame = EthernetFrame::new_checked(rest).ok()?;
        let source = frame.src_addr();
        if !source.is_unicast() || source.0 == [0; 6] {
            return None;
        }
        Some(Frame { vnet, source, kind: frame.ethertype(), payload: frame.payload() })
    }
}

/// A piece of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which datagram.
    pub identification: u32,
    /// Where it belongs, in bytes.
    pub offset: usize,
    /// Whether others follow.
    pub more: bool,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Who sent it, so it says.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// What it carries: a number of [`protocol`], or another.
    pub protocol: u8,
    /// Routers it may still pass.
    pub hops: u8,
    /// What it carries.
    pub payload: &'a [u8],
    /// All of it, for ICMP to quote.
    pub whole: &'a [u8],
    /// Set if it is a fragment.
    pub piece: Option<Piece>,
}

impl<'a> Packet<'a> {
    /// The packet in an Ethernet frame's payload of type IPv4.
    pub fn v4(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let packet = Ipv4Packet::new_checked(bytes).ok()?;
        if packet.version() != 4 || packet.header_len() < 20 || !packet.verify_checksum() {
            return None;
        }
        let (more, offset) = (packet.more_frags(), usize::from(packet.frag_offset()));
        let piece = Piece { identification: u32::from(packet.ident()), offset, more };
        Some(Packet {
            source: IpAddr::V4(packet.src_addr()),
            destination: IpAddr::V4(packet.dst_addr()),
            protocol: packet.next_header().into(),
            hops: packet.hop_limit(),
            payload: packet.payload(),
            whole: bytes.get(..usize::from(packet.total_len()))?,
            piece: (more || offset > 0).then_some(piece),
        })
    }

    /// The packet in an Ethernet frame's payload of type IPv6.
    pub fn v6(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let packet = Ipv6Packet::new_checked(bytes).ok()?;
        if packet.version() != 6 {
            return None;
        }
        let mut protocol: u8 = packet.next_header().into();
        let mut payload = packet.payload();
        let mut piece = None;
        // Hop-by-hop and destination options; a routing header with segments left would make this a router for the
        // guest's choice of path (RFC 5095), so that no such packet is taken. Eight headers are more than anybody has.
        for _ in 0..8 {
            match protocol {
                0 | 60 => {
                    let (&[next, length], _) = payload.split_first_chunk::<2>()?;
                    payload = payload.get((usize::from(length) + 1) * 8..)?;
                    protocol = next;
                }
                protocol::FRAGMENT if piece.is_none() => {
                    let (&[next, _, o0, o1, i0, i1, i2, i3], rest) = payload.split_first_chunk::<8>()?;
                    let offset = u16::from_be_bytes([o0, o1]);
                    let identification = u32::from_be_bytes([i0, i1, i2, i3]);
                    let found =
                        Piece { identification, offset: usize::from(offset & !7), more: offset & 1 != 0 };
                    // An atomic fragment is a whole packet (RFC 6946).
                    piece = (found.more || found.offset > 0).then_some(found);
                    (payload, protocol) = (rest, next);
                    if piece.is_some() {
                        break;
                    }
                }
                _ => break,
            }
        }
        Some(Packet {
            source: IpAddr::V6(packet.src_addr()),
            destination: IpAddr::V6(packet.dst_addr()),
            protocol,
            hops: packet.hop_limit(),
            payload,
            whole: bytes.get(..packet.total_len())?,
            piece,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtio_header_is_read_as_it_is_written() {
        let vnet = Vnet { flags: 1, gso_type: 4, header: 74, gso_size: 1440, sum_start: 54, sum_offset: 16 };
        let mut bytes = vnet.bytes().to_vec();
        assert_eq!(bytes, [1, 4, 74, 0, 0xa0, 5, 54, 0, 16, 0, 1, 0]);
        bytes.push(7);
        assert_eq!(Vnet::parse(&bytes), Some((vnet, &[7][..])));
        assert_eq!(Vnet::parse(&bytes[..11]), None);
    }

    #[test]
    fn a_chain_of_extension_headers_ends() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
        bytes.extend([0; 32]);
        // Hop-by-hop, destination options, UDP.
        bytes.extend([60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let packet = Packet::v6(&bytes).unwrap();
        assert_eq!((packet.protocol, packet.payload), (17, &[1, 2, 3, 4, 5, 6, 7, 8][..]));
        // A length that leads out of the packet.
        bytes[41] = 200;
        assert!(Packet::v6(&bytes).is_none());
    }

    #[test]
    fn frames_that_cannot_be_are_none() {
        let mut bytes = vec![0; VNET + ETHERNET];
        assert!(Frame::parse(&bytes).is_none(), "a sender of zeroes");
        bytes[VNET + 6] = 2;
        assert!(Frame::parse(&bytes).is_some());
        bytes[VNET + 6] = 1;
        assert!(Frame::parse(&bytes).is_none(), "a multicast sender");
        assert!(Frame::parse(&bytes[..VNET + 13]).is_none());
    }
}
