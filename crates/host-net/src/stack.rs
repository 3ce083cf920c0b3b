//! The user network: frames of the guest in, frames to the guest out, and sockets of the host in between. Knows no
//! system call: the host is a [`Host`], the guest a [`Link`].

use crate::config::{Config, Transport};
use crate::core::{Core, Link, Waiting};
use crate::datagram::{Datagram, Datagrams, Echo, EchoKey, Way, echo_types};
use crate::frame::{Frame, Packet, protocol};
use crate::host::{Host, Token};
use crate::icmp::Why;
use crate::policy::{Verdict, judge};
use crate::port::Offloads;
use crate::reassembly::Reassembly;
use crate::resolver::Resolvers;
use crate::ring::Pool;
use crate::table::Table;
use crate::tcp::{Flow, Key, Ready};
use smoltcp::wire::EthernetProtocol;
use std::hash::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time between two looks at timers that run.
const TICK: Duration = Duration::from_millis(50);
/// The same when none runs: idle flows.
const SLOW_TICK: Duration = Duration::from_secs(1);
/// Time between router advertisements that nobody asked for (RFC 4861 §6.2.1 allows 4 to 1800 seconds).
const ADVERTISE: Duration = Duration::from_secs(300);

/// Whether an address is that of several hosts, which no error is ever sent about (RFC 1122 §3.2.2).
pub(crate) fn is_for_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

/// See the head of this file.
pub struct Stack<H: Host, L> {
    pub(crate) core: Core<H, L>,
    pub(crate) tcp: Table<Key, Flow<H::Socket>>,
    pub(crate) udp: Table<Key, Datagrams<H::Socket>>,
    pub(crate) echo: Table<EchoKey, Echo<H::Socket>>,
    pub(crate) pieces: Reassembly,
    /// Room for one datagram.
    scratch: Vec<u8>,
    /// The secret behind initial sequence numbers (RFC 6528).
    pub(crate) secret: RandomState,
    /// Published ports with connections that could not be taken.
    pub(crate) late: Vec<u32>,
    ticked: Duration,
    advertised: Duration,
}

impl<H: Host, L: Link> Stack<H, L> {
    /// A network without flows.
    pub fn new(config: Config, host: H, link: L, resolvers: Resolvers) -> Self {
        Stack {
            tcp: Table::new(config.flows),
            udp: Table::new(config.datagrams),
            echo: Table::new(config.datagrams.min(64)),
            pieces: Reassembly::default(),
            scratch: vec![0; 65_536],
            secret: RandomState::new(),
            late: Vec::new(),
            ticked: Duration::ZERO,
            advertised: Duration::ZERO,
            core: Core {
                pool: Pool::new(usize::try_from(config.memory).unwrap_or(usize::MAX)),
                config,
                host,
                link,
                now: Duration::ZERO,
                guest: None,
                offloads: Offloads::default(),
                resolvers,
                armed: false,
                waiting: Waiting::default(),
                identification: 0,
            },
        }
    }

    /// The host.
    pub fn host(&mut self) -> &mut H {
        &mut self.core.host
    }

    /// The link.
    pub fn link(&mut self) -> &mut L {
        &mut self.core.link
    }

    /// Both.
    pub fn host_and_link(&mut self) -> (&mut H, &mut L) {
        (&mut self.core.host, &mut self.core.link)
    }

    /// TCP, UDP and echo flows that there are, and buffers that they have.
    pub fn load(&self) -> [usize; 4] {
        [self.tcp.len(), self.udp.len(), self.echo.len(), self.core.pool.given()]
    }

    /// The guest's driver has negotiated this.
    pub fn set_offloads(&mut self, offloads: Offloads) {
        self.core.offloads = offloads;
    }

    /// The host's name servers have changed.
    pub fn set_resolvers(&mut self, resolvers: Resolvers) {
        if self.core.config.dns.is_empty() {
            self.core.resolvers = resolvers;
        }
    }

    /// Takes a frame of the guest's, its virtio-net header first.
    pub fn input(&mut self, bytes: &[u8]) {
        let Some(frame) = Frame::parse(bytes) else { return };
        let packet = match frame.kind {
            EthernetProtocol::Arp => return self.core.arp(&frame),
            EthernetProtocol::Ipv4 => Packet::v4(frame.payload),
            EthernetProtocol::Ipv6 if self.core.config.network6.is_some() => Packet::v6(frame.payload),
            _ => None,
        };
        let Some(packet) = packet else { return };
        let Some(piece) = packet.piece else { return self.packet(&frame, &packet) };
        if !self.core.config.may_be_guest(packet.source) {
            return;
        }
        if let Some(whole) = self.pieces.add(&packet, piece, self.core.now) {
            let packet = Packet { payload: &whole, piece: None, ..packet };
            self.packet(&frame, &packet);
        }
    }

    fn packet(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        if packet.protocol == protocol::ICMPV6
            && packet.payload.first().is_some_and(|kind| (133..=137).contains(kind))
        {
            return self.core.neighbor(frame, packet);
        }
        if self.is_for_dhcp(packet) {
            if let Some(datagram) = Datagram::parse(packet, frame.vnet) {
                self.core.dhcp(frame, datagram.payload);
            }
            return;
        }
        // Whatever claims to be from elsewhere is not forwarded (RFC 2827).
        let local = matches!(packet.source, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let neighbor = local && packet.protocol == protocol::ICMPV6;
        if !(neighbor || self.core.config.may_be_guest(packet.source)) {
            return;
        }
        self.core.guest = Some(frame.source);
        if packet.hops <= 1 && !self.is_near(packet.destination) && !is_for_many(packet.destination) {
            let (source, destination) = (packet.source, packet.destination);
            return self.core.send_unreachable(packet.whole, source, destination, Why::Hops);
        }
        match packet.protocol {
            protocol::TCP => self.tcp_input(packet, frame.vnet),
            protocol::UDP => {
                if let Some(datagram) = Datagram::parse(packet, frame.vnet) {
                    self.udp_input(packet, &datagram);
                }
            }
            protocol::ICMP if packet.source.is_ipv4() => self.echo_input(packet),
            protocol::ICMPV6 if packet.source.is_ipv6() => self.echo_input(packet),
            _ => {}
        }
    }

    /// Whether a packet is for the DHCP server: to its port on all hosts or the gateway, from a guest with an address or
    /// without.
    fn is_for_dhcp(&self, packet: &Packet<'_>) -> bool {
        let (IpAddr::V4(source), IpAddr::V4(to)) = (packet.source, packet.destination) else { return false };
        let fine = source.is_unspecified() || self.core.config.may_be_guest(packet.source);
        fine && packet.protocol == protocol::UDP
            && (to.is_broadcast() || to == self.core.config.gateway())
            && packet.payload.get(2..4) == Some(&crate::dhcp::SERVER.to_be_bytes())
    }

    /// Whether an address is the gateway's or the name server's.
    fn is_near(&self, address: IpAddr) -> bool {
        let config = &self.core.config;
        match address {
            IpAddr::V4(v4) => v4 == config.gateway() || v4 == config.name_server(),
            IpAddr::V6(v6) => {
                [config.gateway6(), config.name_server6(), Some(crate::core::GATEWAY_LINK_LOCAL)]
                    .contains(&Some(v6))
            }
        }
    }

    /// Where a packet may go.
    pub(crate) fn judge(&mut self, destination: SocketAddr) -> Verdict {
        let Core { config, host, .. } = &mut self.core;
        judge(config, destination, |ip| host.is_own(ip))
    }

    fn udp_input(&mut self, packet: &Packet<'_>, datagram: &Datagram<'_>) {
        let key = datagram.key;
        let mut place = self.udp.find(&key);
        if let Some(found) = place
            && let Some(flow) = self.udp.at(found)
            && flow.is_unanswered(self.core.now)
        {
            if let Some(server) = flow.server {
                self.core.resolvers.failed(server);
            }
            self.udp.remove(found, &key);
            place = None;
        }
        let place = match place {
            Some(place) => Ok(place),
            None => self.udp_flow(key),
        };
        let result = match place {
            Ok(place) => match self.udp.at(place) {
                Some(flow) => flow.send(&mut self.core, datagram),
                None => Ok(()),
            },
            Err(why) => why.map_or(Ok(()), Err),
        };
        if let Err(why) = result {
            self.core.send_unreachable(packet.whole, packet.source, packet.destination, why);
        }
    }

    /// A new flow; else why not, if the guest is to hear of it.
    fn udp_flow(&mut self, key: Key) -> Result<u32, Option<Why>> {
        let (to, server) = match self.judge(key.remote) {
            Verdict::To(to) => (to, None),
            Verdict::Resolver => {
                let server = self.core.resolvers.current().ok_or(Some(Why::Port))?;
                (server, Some(server))
            }
            Verdict::Gateway => return Err(Some(Why::Port)),
            Verdict::Refused => return Err(Some(Why::Prohibited)),
            Verdict::Dropped => return Err(None),
        };
        let (place, generation) = self.udp_place().ok_or(None)?;
        match self.core.host.connect_udp(to, Token::Udp(place, generation)) {
            Ok(socket) => {
                let way = Way::Socket(socket);
                self.udp.insert(key, Datagrams { key, way, heard: self.core.now, server, asked: None });
                Ok(place)
            }
            Err(error) => Err(Some(Why::of(error))),
        }
    }

    /// Room for a UDP flow: if there is none, the one that was silent for longest goes.
    fn udp_place(&mut self) -> Option<(u32, u32)> {
        if self.udp.is_full() {
            let oldest =
                self.udp.iter().min_by_key(|(_, flow)| flow.heard).map(|(place, flow)| (place, flow.key));
            let (place, key) = oldest?;
            self.udp.remove(place, &key);
        }
        self.udp.next()
    }

    fn echo_input(&mut self, packet: &Packet<'_>) {
        let v4 = packet.source.is_ipv4();
        let (request, reply) = echo_types(v4);
        let Some((&[kind, 0, _, _, i0, i1, s0, s1], rest)) = packet.payload.split_first_chunk::<8>() else {
            return;
        };
        let number = if v4 { protocol::ICMP } else { protocol::ICMPV6 };
        let begun = if v4 {
            0
        } else {
            crate::core::pseudo(packet.source, packet.destination, number, packet.payload.len())
        };
        if kind != request || crate::core::sum(&[&begun.to_be_bytes(), packet.payload]) != 0xffff {
            return;
        }
        if self.is_near(packet.destination) {
            let head = [reply, 0, 0, 0, i0, i1, s0, s1];
            return self.core.send_icmp(packet.destination, packet.source, 64, head, rest);
        }
        let key = EchoKey {
            guest: packet.source,
            remote: packet.destination,
            identifier: u16::from_be_bytes([i0, i1]),
        };
        let place = match self.echo.find(&key) {
            Some(place) => place,
            None => match self.judge(SocketAddr::new(packet.destination, 7)) {
                Verdict::To(to) => match self.echo_flow(key, to.ip()) {
                    Some(place) => place,
                    None => return,
                },
                Verdict::Refused => {
                    let (source, destination) = (packet.source, packet.destination);
                    return self.core.send_unreachable(packet.whole, source, destination, Why::Prohibited);
                }
                _ => return,
            },
        };
        if let Some(flow) = self.echo.at(place) {
            flow.send(&mut self.core, packet.payload);
        }
    }

    fn echo_flow(&mut self, key: EchoKey, to: IpAddr) -> Option<u32> {
        if self.echo.is_full() {
            let (place, oldest) =
                self.echo.iter().min_by_key(|(_, f)| f.heard).map(|(place, f)| (place, f.key))?;
            self.echo.remove(place, &oldest);
        }
        let (place, generation) = self.echo.next()?;
        let socket = self.core.host.connect_echo(to, Token::Echo(place, generation)).ok()?;
        self.echo.insert(key, Echo { key, socket, heard: self.core.now });
        Some(place)
    }

    /// A socket is ready.
    pub fn event(&mut self, token: Token, ready: Ready) {
        match token {
            Token::Tcp(place, generation) => self.tcp_event(place, generation, ready),
            Token::Udp(place, generation) => {
                if let Some(flow) = self.udp.at_generation(place, generation)
                    && !flow.event(&mut self.core, &mut self.scratch)
                {
                    let key = flow.key;
                    self.udp.remove(place, &key);
                }
            }
            Token::Echo(place, generation) => {
                if let Some(flow) = self.echo.at_generation(place, generation)
                    && !flow.event(&mut self.core, &mut self.scratch)
                {
                    let key = flow.key;
                    self.echo.remove(place, &key);
                }
            }
            Token::Listener(number) => {
                match self.core.config.publish.get(number as usize).map(|p| p.transport) {
                    Some(Transport::Tcp) => self.tcp_accept(number),
                    Some(Transport::Udp) => self.udp_published(number),
                    None => {}
                }
            }
            Token::Link => {}
        }
    }

    /// Datagrams for a published port.
    fn udp_published(&mut self, listener: u32) {
        for _ in 0..64 {
            let Ok((length, peer)) = self.core.host.receive_from(listener, &mut self.scratch) else { return };
            let Some(port) = self.core.config.publish.get(listener as usize).map(|p| p.guest) else { return };
            let key = self.published_key(peer, port);
            if self.core.guest.is_none() {
                self.core.ask_for_guest();
            }
            if let Some(place) = self.udp.find(&key) {
                let Some(flow) = self.udp.at(place) else { continue };
                // Of two that the guest cannot tell apart, the second would have its answers go to the first.
                if matches!(flow.way, Way::Published(l, p) if (l, p) != (listener, peer)) {
                    continue;
                }
                flow.heard = self.core.now;
            } else if self.udp_place().is_some() {
                let way = Way::Published(listener, peer);
                self.udp.insert(key, Datagrams { key, way, heard: self.core.now, server: None, asked: None });
            }
            let payload = self.scratch.get(..length).unwrap_or_default();
            self.core.send_datagram(key.remote, key.guest, payload);
        }
    }

    /// The ends of a flow from the host to a published port, as the guest is to see them: who connects from the host
    /// itself, or by IPv6, or from an address that the guest would look for on its own link, is the gateway.
    pub(crate) fn published_key(&self, peer: SocketAddr, port: u16) -> Key {
        let config = &self.core.config;
        let remote = match peer.ip() {
            IpAddr::V4(v4) if !v4.is_loopback() && !config.is_inside(peer.ip()) => peer.ip(),
            _ => IpAddr::V4(config.gateway()),
        };
        let guest = SocketAddr::new(IpAddr::V4(config.guest()), port);
        Key { guest, remote: SocketAddr::new(remote, peer.port()) }
    }

    /// Looks at timers. To be called with the time before anything else at an event, and when [`Stack::patience`] ends.
    pub fn tick(&mut self, now: Duration) {
        self.core.now = now;
        if now < self.ticked + TICK {
            return;
        }
        self.ticked = now;
        self.tcp_tick();
        self.pieces.expire(now);
        for place in 0..self.udp.places() {
            if let Some(flow) = self.udp.at(place)
                && flow.is_idle(now)
            {
                let (key, server) = (flow.key, flow.server.filter(|_| flow.asked.is_some()));
                self.udp.remove(place, &key);
                if let Some(server) = server {
                    self.core.resolvers.failed(server);
                }
            }
        }
        for place in 0..self.echo.places() {
            if let Some(flow) = self.echo.at(place)
                && now >= flow.heard + crate::datagram::SHORT_IDLE
            {
                let key = flow.key;
                self.echo.remove(place, &key);
            }
        }
        if self.core.guest.is_some() && now >= self.advertised + ADVERTISE {
            self.advertised = now;
            self.core.advertise_router();
        }
    }

    /// How long nothing needs to be done if nothing happens.
    pub fn patience(&self) -> Duration {
        if self.core.armed { TICK } else { SLOW_TICK }
    }
}
