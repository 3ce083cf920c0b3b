//! What all protocols of the user network share: configuration, time, the way to the guest, and emitting IP packets.

use crate::config::Config;
use crate::frame::{NEEDS_CSUM, Vnet, protocol};
use crate::host::Host;
use crate::port::Offloads;
use crate::resolver::Resolvers;
use crate::ring::Pool;
use smoltcp::wire::{EthernetAddress, checksum};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The way to the guest.
pub trait Link {
    /// Sends one message, whole; `false` if there is no room now, and then an event comes when there is.
    fn transmit(&mut self, parts: &[IoSlice<'_>]) -> bool;
}

/// What a TCP flow may be waiting for, besides its sockets.
#[derive(Debug, Default)]
pub struct Waiting {
    /// For room on the link to the guest.
    pub link: VecDeque<u32>,
    /// For memory of the pool.
    pub memory: VecDeque<u32>,
    /// For the end of a burst of frames, to acknowledge them together.
    pub acks: Vec<u32>,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Core<H, L> {
    /// Addresses and limits.
    pub config: Config,
    /// Sockets.
    pub host: H,
    /// The guest.
    pub link: L,
    /// Memory of TCP flows.
    pub pool: Pool,
    /// Time since the network was started.
    pub now: Duration,
    /// The guest's address on the link, once it is known.
    pub guest: Option<EthernetAddress>,
    /// What the guest takes.
    pub offloads: Offloads,
    /// The host's name servers.
    pub resolvers: Resolvers,
    /// A flow's timer may run.
    pub armed: bool,
    /// Who waits for what.
    pub waiting: Waiting,
    /// Identification of the next fragmented packet.
    pub identification: u32,
}

/// The link-layer address of the gateway (and of the name server): locally administered, made from its IPv4 address.
pub fn gateway_address(config: &Config) -> EthernetAddress {
    let [a, b, c, d] = config.gateway().octets();
    EthernetAddress([0x52, 0x55, a, b, c, d])
}

/// The gateway's link-local address, as which it advertises itself (RFC 4861 §6.1.2).
pub const GATEWAY_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// Headers, put together on the stack. Longest: word, virtio, Ethernet, IPv6, fragment header, TCP with options.
pub struct Head {
    bytes: [u8; 160],
    length: usize,
}

impl Head {
    /// Begins a frame: a message's first word, and the virtio-net and Ethernet headers.
    pub fn new(vnet: Vnet, to: EthernetAddress, from: EthernetAddress, kind: u16) -> Head {
        let mut head = Head { bytes: [0; 160], length: 0 };
        head.put(&crate::message::FRAME.to_le_bytes());
        head.put(&vnet.bytes());
        head.put(&to.0);
        head.put(&from.0);
        head.put(&kind.to_be_bytes());
        head
    }

    /// Appends.
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    /// What was put.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The one's complement sum of `parts` one after the other, not yet complemented (RFC 1071).
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u32;
    let mut odd = false;
    for part in parts {
        let own = checksum::data(part);
        total += u32::from(if odd { own.swap_bytes() } else { own });
        odd ^= part.len() % 2 == 1;
    }
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    // The loop has just made it fit.
    total as u16
}

/// The sum of the pseudo header of a transport (RFC 9293 §3.1, RFC 8200 §8.1).
pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u16 {
    let [_, _, l0, l1] = (length as u32).to_be_bytes();
    let rest = [0, protocol, l0, l1];
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) => sum(&[&s.octets(), &d.octets(), &rest]),
        (IpAddr::V6(s), IpAddr::V6(d)) => sum(&[&s.octets(), &d.octets(), &rest]),
        _ => 0,
    }
}

/// What an IP header says, besides the length.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// From.
    pub source: IpAddr,
    /// To; of the same family.
    pub destination: IpAddr,
    /// What it carries.
    pub protocol: u8,
    /// Hop limit.
    pub hops: u8,
}

impl Ip {
    /// An ordinary packet.
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8) -> Ip {
        Ip { source, destination, protocol, hops: 64 }
    }

    /// Appends an IPv4 header: `flags` is the word with the flags and the fragment's offset.
    fn put(&self, head: &mut Head, length: usize, identification: u16, flags: u16) {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let [l0, l1] = ((20 + length) as u16).to_be_bytes();
                let [i0, i1] = identification.to_be_bytes();
                let [f0, f1] = flags.to_be_bytes();
                let mut fixed = [0x45, 0, l0, l1, i0, i1, f0, f1, self.hops, self.protocol, 0, 0];
                let check = !sum(&[&fixed, &source.octets(), &destination.octets()]);
                let [.., c0, c1] = &mut fixed;
                [*c0, *c1] = check.to_be_bytes();
                head.put(&fixed);
                head.put(&source.octets());
                head.put(&destination.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let [l0, l1] = (length as u16).to_be_bytes();
                head.put(&[0x60, 0, 0, 0, l0, l1, self.protocol, self.hops]);
                head.put(&source.octets());
                head.put(&destination.octets());
            }
            _ => {}
        }
    }

    /// Bytes of the header.
    pub fn header(&self) -> usize {
        if self.source.is_ipv4() { 20 } else { 40 }
    }

    fn ethertype(&self) -> u16 {
        if self.source.is_ipv4() { 0x0800 } else { 0x86dd }
    }
}

/// At most `length` bytes of `part` from `offset` on.
fn window(part: &[u8], offset: usize, length: usize) -> &[u8] {
    let from = offset.min(part.len());
    part.get(from..(from + length).min(part.len())).unwrap_or_default()
}

const DO_NOT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

impl<H: Host, L: Link> Core<H, L> {
    /// The link-layer address that a packet to `destination` goes to; `None` as long as the guest is not known.
    fn next_hop(&self, destination: IpAddr) -> Option<EthernetAddress> {
        match destination {
            IpAddr::V4(v4) if v4.is_broadcast() => Some(EthernetAddress::BROADCAST),
            IpAddr::V6(v6) if v6.is_multicast() => {
                let [.., a, b, c, d] = v6.octets();
                Some(EthernetAddress([0x33, 0x33, a, b, c, d]))
            }
            _ => self.guest,
        }
    }

    /// Sends one IP packet that needs no cutting here; `false` if the link has no room for it.
    pub fn send_ip(&mut self, vnet: Vnet, ip: Ip, transport: &[u8], payload: [&[u8]; 2]) -> bool {
        let Some(to) = self.next_hop(ip.destination) else { return true };
        let [a, b] = payload;
        let mut head = Head::new(vnet, to, gateway_address(&self.config), ip.ethertype());
        ip.put(&mut head, transport.len() + a.len() + b.len(), 0, DO_NOT_FRAGMENT);
        head.put(transport);
        self.link.transmit(&[IoSlice::new(head.bytes()), IoSlice::new(a), IoSlice::new(b)])
    }

    /// Sends a packet of any length, in fragments if need be. What finds no room on the link is lost, as on any.
    pub fn send_whole(&mut self, ip: Ip, transport: &[u8], payload: &[u8]) {
        let length = transport.len() + payload.len();
        if ip.header() + length <= usize::from(self.config.mtu) {
            self.send_ip(Vnet::default(), ip, transport, [payload, &[]]);
            return;
        }
        let Some(to) = self.next_hop(ip.destination) else { return };
        self.identification = self.identification.wrapping_add(1);
        let extra = if ip.source.is_ipv4() { 0 } else { 8 };
        let step = (usize::from(self.config.mtu) - ip.header() - extra) & !7;
        let mut offset = 0;
        while offset < length {
            let now = step.min(length - offset);
            let more = offset + now < length;
            let mut head = Head::new(Vnet::default(), to, gateway_address(&self.config), ip.ethertype());
            self.put_fragment(&mut head, ip, offset, now, more);
            let t = window(transport, offset, now);
            let p = match offset.checked_sub(transport.len()) {
                Some(into) => window(payload, into, now),
                None => window(payload, 0, now - t.len()),
            };
            if !self.link.transmit(&[IoSlice::new(head.bytes()), IoSlice::new(t), IoSlice::new(p)]) {
                return;
            }
            offset += now;
        }
    }

    fn put_fragment(&self, head: &mut Head, ip: Ip, offset: usize, length: usize, more: bool) {
        if ip.source.is_ipv4() {
            let flags = if more { MORE_FRAGMENTS } else { 0 } | (offset / 8) as u16;
            ip.put(head, length, self.identification as u16, flags);
        } else {
            Ip { protocol: protocol::FRAGMENT, ..ip }.put(head, length + 8, 0, 0);
            let [o0, o1] = (offset as u16 | u16::from(more)).to_be_bytes();
            head.put(&[ip.protocol, 0, o0, o1]);
            head.put(&self.identification.to_be_bytes());
        }
    }

    /// Sends a UDP datagram to the guest.
    pub fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let ip = Ip::new(from.ip(), to.ip(), protocol::UDP);
        let length = 8 + payload.len();
        let Ok(short) = u16::try_from(length) else { return };
        let ([s0, s1], [d0, d1]) = (from.port().to_be_bytes(), to.port().to_be_bytes());
        let [l0, l1] = short.to_be_bytes();
        let mut header = [s0, s1, d0, d1, l0, l1, 0, 0];
        let begun = pseudo(ip.source, ip.destination, protocol::UDP, length);
        let partial = self.offloads.checksum && ip.header() + length <= usize::from(self.config.mtu);
        let check = if partial {
            begun
        } else {
            // A checksum of 0 would mean that there is none (RFC 768).
            match !sum(&[&begun.to_be_bytes(), &header, payload]) {
                0 => 0xffff,
                other => other,
            }
        };
        let [.., c0, c1] = &mut header;
        [*c0, *c1] = check.to_be_bytes();
        if partial {
            let sum_start = (14 + ip.header()) as u16;
            let vnet = Vnet { flags: NEEDS_CSUM, sum_start, sum_offset: 6, ..Vnet::default() };
            self.send_ip(vnet, ip, &header, [payload, &[]]);
        } else {
            self.send_whole(ip, &header, payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_odd_length_sum_as_one() {
        let bytes: Vec<u8> = (0..=255).collect();
        let whole = sum(&[&bytes]);
        for cut in [0, 1, 7, 128, 255, 256] {
            let (a, b) = bytes.split_at(cut);
            let (c, d) = b.split_at(b.len() / 3);
            assert_eq!(sum(&[a, c, d]), whole, "cut at {cut}");
        }
    }
}
