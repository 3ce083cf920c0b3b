//! A DHCP server with one lease (RFC 2131, RFC 2132).

use crate::core::{Core, Ip, Link, pseudo, sum};
use crate::frame::{Frame, protocol};
use crate::host::Host;
use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};
use std::net::{IpAddr, Ipv4Addr};

/// The server's port.
pub const SERVER: u16 = 67;
/// The client's.
const CLIENT: u16 = 68;

/// What a client says.
struct Asked {
    kind: DhcpMessageType,
    transaction: u32,
    hardware: EthernetAddress,
    /// The address that it has.
    has: Ipv4Addr,
    /// That it wants.
    wants: Option<Ipv4Addr>,
    /// The server that it has chosen.
    server: Option<Ipv4Addr>,
    broadcast: bool,
    /// Who it is, to be repeated (RFC 6842).
    identifier: Vec<u8>,
}

impl Asked {
    fn parse(bytes: &[u8]) -> Option<Asked> {
        let packet = DhcpPacket::new_checked(bytes).ok()?;
        if packet.magic_number() != 0x6382_5363 || packet.hardware_len() != 6 {
            return None;
        }
        let mut kind = None;
        let (mut wants, mut server, mut identifier) = (None, None, Vec::new());
        let address = |data: &[u8]| <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
        for option in packet.options() {
            match (option.kind, option.data) {
                (53, &[value]) => kind = Some(DhcpMessageType::from(value)),
                (50, data) => wants = address(data),
                (54, data) => server = address(data),
                (61, data) => identifier = data.to_vec(),
                _ => {}
            }
        }
        Some(Asked {
            kind: kind?,
            transaction: packet.transaction_id(),
            hardware: packet.client_hardware_address(),
            has: packet.client_ip(),
            wants,
            server,
            broadcast: packet.flags().contains(smoltcp::wire::DhcpFlags::BROADCAST),
            identifier,
        })
    }
}

impl<H: Host, L: Link> Core<H, L> {
    /// Takes the payload of a datagram to the server's port.
    pub fn dhcp(&mut self, frame: &Frame<'_>, payload: &[u8]) {
        let Some(asked) = Asked::parse(payload) else { return };
        if asked.hardware != frame.source {
            return;
        }
        self.guest = Some(frame.source);
        let own = self.config.guest();
        match asked.kind {
            DhcpMessageType::Discover => self.answer(&asked, DhcpMessageType::Offer, own),
            DhcpMessageType::Request => {
                // A client that has chosen another server is not ours (RFC 2131 §4.3.2).
                if asked.server.is_some_and(|server| server != self.config.gateway()) {
                    return;
                }
                let named = asked.wants.unwrap_or(asked.has);
                let kind = if named == own { DhcpMessageType::Ack } else { DhcpMessageType::Nak };
                self.answer(&asked, kind, own);
            }
            DhcpMessageType::Inform => self.answer(&asked, DhcpMessageType::Ack, Ipv4Addr::UNSPECIFIED),
            _ => {}
        }
    }

    fn answer(&mut self, asked: &Asked, kind: DhcpMessageType, address: Ipv4Addr) {
        let config = self.config.clone();
        let (refused, lease) = (kind == DhcpMessageType::Nak, !address.is_unspecified());
        let mtu = config.mtu.to_be_bytes();
        let broadcast = Ipv4Addr::from(u32::from(config.network) | !u32::from(config.mask())).octets();
        let mut more = Vec::new();
        if !asked.identifier.is_empty() && asked.identifier.len() <= 255 {
            more.push(DhcpOption { kind: 61, data: &asked.identifier });
        }
        if !refused {
            more.push(DhcpOption { kind: 26, data: &mtu });
            more.push(DhcpOption { kind: 28, data: &broadcast });
            if !config.hostname.is_empty() {
                more.push(DhcpOption { kind: 12, data: config.hostname.as_bytes() });
            }
        }
        let mut message = DhcpRepr {
            message_type: kind,
            transaction_id: asked.transaction,
            secs: 0,
            client_hardware_address: asked.hardware,
            client_ip: if lease { Ipv4Addr::UNSPECIFIED } else { asked.has },
            your_ip: if refused { Ipv4Addr::UNSPECIFIED } else { address },
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: (!refused).then(|| config.gateway()),
            subnet_mask: (!refused).then(|| config.mask()),
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: asked.broadcast,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(config.gateway()),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: (lease && !refused).then_some(config.lease),
            renew_duration: None,
            rebind_duration: None,
            additional_options: &more,
        };
        if !refused {
            let list = message.dns_servers.insert(Default::default());
            // There is room for more than one.
            let _ = list.push(config.name_server());
        }
        // Who has an address already is answered there; else nobody knows it yet, and NAK goes to all (§4.1).
        let to = match asked.has {
            has if has == config.guest() && !refused => has,
            _ if asked.broadcast || refused || !lease => Ipv4Addr::BROADCAST,
            _ => address,
        };
        self.send_dhcp(&message, to);
    }

    fn send_dhcp(&mut self, message: &DhcpRepr<'_>, to: Ipv4Addr) {
        let mut bytes = vec![0u8; message.buffer_len().max(300)];
        if message.emit(&mut DhcpPacket::new_unchecked(&mut *bytes)).is_err() {
            return;
        }
        let (source, destination) = (IpAddr::V4(self.config.gateway()), IpAddr::V4(to));
        let length = 8 + bytes.len();
        let [l0, l1] = (length as u16).to_be_bytes();
        let ([s0, s1], [d0, d1]) = (SERVER.to_be_bytes(), CLIENT.to_be_bytes());
        let mut header = [s0, s1, d0, d1, l0, l1, 0, 0];
        let begun = pseudo(source, destination, protocol::UDP, length);
        let check = !sum(&[&begun.to_be_bytes(), &header, &bytes]);
        let [.., c0, c1] = &mut header;
        [*c0, *c1] = check.to_be_bytes();
        self.send_whole(Ip::new(source, destination, protocol::UDP), &header, &bytes);
    }
}
