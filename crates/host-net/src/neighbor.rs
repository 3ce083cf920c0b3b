//! ARP (RFC 826), neighbour discovery and router advertisements (RFC 4861, RFC 4862, RFC 8106): how the guest finds the
//! gateway, and the gateway the guest.

use crate::core::{Core, GATEWAY_LINK_LOCAL, Head, Ip, Link, gateway_address, pseudo, sum};
use crate::frame::{Frame, Packet, Vnet, protocol};
use crate::host::Host;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Duration as Span;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags,
    NdiscPrefixInfoFlags, NdiscPrefixInformation, NdiscRepr, NdiscRouterFlags,
};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Seconds that a guest may use this router without hearing of it again; advertisements come far more often.
const ROUTER_LIFETIME: u64 = 9000;
/// Seconds that an address of the prefix is valid, and preferred.
const PREFIX_LIFETIME: (u64, u64) = (86_400, 14_400);

impl<H: Host, L: Link> Core<H, L> {
    /// Answers who asks for the gateway or the name server.
    pub fn arp(&mut self, frame: &Frame<'_>) {
        let Ok(packet) = ArpPacket::new_checked(frame.payload) else { return };
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr: wanted,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            return;
        };
        // An address that is not the guest's to have is not answered, but a probe (RFC 5227) is.
        let probe = source_protocol_addr == Ipv4Addr::UNSPECIFIED;
        if !(probe || self.config.may_be_guest(IpAddr::V4(source_protocol_addr)))
            || source_hardware_addr != frame.source
        {
            return;
        }
        self.guest = Some(frame.source);
        let known = wanted == self.config.gateway() || wanted == self.config.name_server();
        if operation == ArpOperation::Request && known {
            self.send_arp(ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: gateway_address(&self.config),
                source_protocol_addr: wanted,
                target_hardware_addr: frame.source,
                target_protocol_addr: source_protocol_addr,
            });
        }
    }

    /// Asks who has the guest's address: a connection to a published port may come before the guest has said a word.
    pub fn ask_for_guest(&mut self) {
        self.send_arp(ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: gateway_address(&self.config),
            source_protocol_addr: self.config.gateway(),
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: self.config.guest(),
        });
    }

    fn send_arp(&mut self, what: ArpRepr) {
        let ArpRepr::EthernetIpv4 { operation, target_hardware_addr, .. } = what else { return };
        let to = if operation == ArpOperation::Request {
            EthernetAddress::BROADCAST
        } else {
            target_hardware_addr
        };
        let mut bytes = [0u8; 28];
        what.emit(&mut ArpPacket::new_unchecked(&mut bytes));
        let head = Head::new(Vnet::default(), to, gateway_address(&self.config), 0x0806);
        self.link.transmit(&[IoSlice::new(head.bytes()), IoSlice::new(&bytes)]);
    }

    /// Takes a message of neighbour discovery.
    pub fn neighbor(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) else {
            return;
        };
        // From this link only (RFC 4861 §6.1.1, §7.1.1).
        let fine = source.is_unspecified()
            || source.is_unicast_link_local()
            || self.config.may_be_guest(packet.source);
        if packet.hops != 255 || !fine || self.config.network6.is_none() || source == GATEWAY_LINK_LOCAL {
            return;
        }
        let Ok(icmp) = Icmpv6Packet::new_checked(packet.payload) else { return };
        let parsed = Icmpv6Repr::parse(&source, &destination, &icmp, &ChecksumCapabilities::default());
        let Ok(Icmpv6Repr::Ndisc(message)) = parsed else { return };
        match message {
            NdiscRepr::RouterSolicit { .. } => {
                self.guest = Some(frame.source);
                self.advertise_router();
            }
            NdiscRepr::NeighborSolicit { target_addr, .. } => {
                self.guest = Some(frame.source);
                let ours = Some(target_addr) == self.config.gateway6()
                    || Some(target_addr) == self.config.name_server6()
                    || target_addr == GATEWAY_LINK_LOCAL;
                if ours {
                    self.advertise_neighbor(target_addr, source);
                }
            }
            _ => {}
        }
    }

    fn advertise_neighbor(&mut self, address: Ipv6Addr, asker: Ipv6Addr) {
        // Who asks without an address is looking for a duplicate and hears it with all others (RFC 4861 §7.2.4).
        let duplicate = asker.is_unspecified();
        let flags = NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::OVERRIDE;
        let message = NdiscRepr::NeighborAdvert {
            flags: if duplicate { flags } else { flags | NdiscNeighborFlags::SOLICITED },
            target_addr: address,
            lladdr: Some(gateway_address(&self.config).into()),
        };
        self.send_ndisc(message, address, if duplicate { ALL_NODES } else { asker }, &[]);
    }

    /// Says to all that this is the router, and what the prefix and the name server are.
    pub fn advertise_router(&mut self) {
        let (Some(prefix), Some(server)) = (self.config.network6, self.config.name_server6()) else { return };
        let (valid, preferred) = PREFIX_LIFETIME;
        let message = NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: Span::from_secs(ROUTER_LIFETIME),
            reachable_time: Span::from_secs(0),
            retrans_time: Span::from_secs(0),
            lladdr: Some(gateway_address(&self.config).into()),
            mtu: Some(u32::from(self.config.mtu)),
            prefix_info: Some(NdiscPrefixInformation {
                prefix_len: 64,
                flags: NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF,
                valid_lifetime: Span::from_secs(valid),
                preferred_lifetime: Span::from_secs(preferred),
                prefix,
            }),
        };
        // The recursive name server option (RFC 8106 §5.1): type 25, three times eight bytes, lifetime, address.
        let mut option = [0u8; 24];
        let lifetime = (ROUTER_LIFETIME as u32).to_be_bytes();
        let bytes = [25u8, 3, 0, 0].into_iter().chain(lifetime).chain(server.octets());
        option.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        self.send_ndisc(message, GATEWAY_LINK_LOCAL, ALL_NODES, &option);
    }

    fn send_ndisc(&mut self, message: NdiscRepr<'_>, source: Ipv6Addr, destination: Ipv6Addr, more: &[u8]) {
        let message = Icmpv6Repr::Ndisc(message);
        let mut bytes = [0u8; 128];
        let Some(bytes) = bytes.get_mut(..message.buffer_len()) else { return };
        let caps = ChecksumCapabilities::ignored();
        message.emit(&source, &destination, &mut Icmpv6Packet::new_unchecked(&mut *bytes), &caps);
        let (source, destination) = (IpAddr::V6(source), IpAddr::V6(destination));
        let begun = pseudo(source, destination, protocol::ICMPV6, bytes.len() + more.len());
        if let Some(place) = bytes.get_mut(2..4) {
            place.fill(0);
        }
        let check = !sum(&[&begun.to_be_bytes(), bytes, more]);
        if let Some(place) = bytes.get_mut(2..4) {
            place.copy_from_slice(&check.to_be_bytes());
        }
        let ip = Ip { hops: 255, ..Ip::new(source, destination, protocol::ICMPV6) };
        self.send_ip(Vnet::default(), ip, &[], [bytes, more]);
    }
}
