//! ICMP: errors that the guest is told, and echo replies (RFC 792, RFC 4443).

use crate::core::{Core, GATEWAY_LINK_LOCAL, Ip, Link, pseudo, sum};
use crate::frame::protocol;
use crate::host::Host;
use crate::tcp::Key;
use rustix::io::Errno;
use std::net::IpAddr;

/// Why a packet was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody listens there.
    Port,
    /// No route.
    Network,
    /// No such host.
    Host,
    /// Not allowed.
    Prohibited,
    /// Too many hops.
    Hops,
}

impl Why {
    /// What the host's error means for the guest.
    pub fn of(error: Errno) -> Why {
        match error {
            Errno::CONNREFUSED => Why::Port,
            Errno::NETUNREACH | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL => Why::Network,
            Errno::ACCESS | Errno::PERM => Why::Prohibited,
            _ => Why::Host,
        }
    }

    fn type_and_code(self, v4: bool) -> [u8; 2] {
        match (self, v4) {
            (Why::Port, true) => [3, 3],
            (Why::Network, true) => [3, 0],
            (Why::Host, true) => [3, 1],
            (Why::Prohibited, true) => [3, 13],
            (Why::Hops, true) => [11, 0],
            (Why::Port, false) => [1, 4],
            (Why::Network, false) => [1, 0],
            (Why::Host, false) => [1, 3],
            (Why::Prohibited, false) => [1, 1],
            (Why::Hops, false) => [3, 0],
        }
    }
}

/// Most of the packet that an error quotes: what keeps it below 576 bytes (RFC 1812 §4.3.2.3).
const QUOTE: usize = 520;

impl<H: Host, L: Link> Core<H, L> {
    /// Sends an ICMP or ICMPv6 message: `head` is its first bytes with a checksum of zero, `rest` the others.
    pub fn send_icmp(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        hops: u8,
        mut head: [u8; 8],
        rest: &[u8],
    ) {
        let v4 = source.is_ipv4();
        let number = if v4 { protocol::ICMP } else { protocol::ICMPV6 };
        // Only ICMPv6 has a pseudo header.
        let begun = if v4 { 0 } else { pseudo(source, destination, number, 8 + rest.len()) };
        let check = !sum(&[&begun.to_be_bytes(), &head, rest]);
        let [_, _, c0, c1, ..] = &mut head;
        [*c0, *c1] = check.to_be_bytes();
        self.send_whole(Ip { hops, ..Ip::new(source, destination, number) }, &head, rest);
    }

    /// Tells the guest why `packet`, an IP packet of its own, was not delivered.
    pub fn send_unreachable(&mut self, packet: &[u8], source: IpAddr, destination: IpAddr, why: Why) {
        let v4 = source.is_ipv4();
        let gateway = match source {
            IpAddr::V4(_) => IpAddr::V4(self.config.gateway()),
            IpAddr::V6(_) => IpAddr::V6(self.config.gateway6().unwrap_or(GATEWAY_LINK_LOCAL)),
        };
        // Only the destination itself knows about its ports.
        let from = if why == Why::Port { destination } else { gateway };
        let [kind, code] = why.type_and_code(v4);
        let quote = packet.get(..packet.len().min(QUOTE)).unwrap_or_default();
        self.send_icmp(from, source, 64, [kind, code, 0, 0, 0, 0, 0, 0], quote);
    }

    /// The same for a flow whose packet is long gone: a header as it may have been, with the first eight bytes of the
    /// transport's, by which the guest finds its socket.
    pub fn send_flow_unreachable(&mut self, key: &Key, number: u8, last: u32, why: Why) {
        let ([s0, s1], [d0, d1]) = (key.guest.port().to_be_bytes(), key.remote.port().to_be_bytes());
        let [l0, l1, l2, l3] = last.to_be_bytes();
        let transport = [s0, s1, d0, d1, l0, l1, l2, l3];
        let (source, destination) = (key.guest.ip(), key.remote.ip());
        match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                let mut packet = [0u8; 28];
                let mut fixed = [0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, number, 0, 0];
                let check = !sum(&[&fixed, &s.octets(), &d.octets()]);
                let [.., c0, c1] = &mut fixed;
                [*c0, *c1] = check.to_be_bytes();
                let bytes = fixed.into_iter().chain(s.octets()).chain(d.octets()).chain(transport);
                packet.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
                self.send_unreachable(&packet, source, destination, why);
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let mut packet = [0u8; 48];
                let fixed = [0x60, 0, 0, 0, 0, 8, number, 64];
                let bytes = fixed.into_iter().chain(s.octets()).chain(d.octets()).chain(transport);
                packet.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
                self.send_unreachable(&packet, source, destination, why);
            }
            _ => {}
        }
    }
}
