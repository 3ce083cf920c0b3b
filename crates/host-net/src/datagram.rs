//! Flows of datagrams: UDP, and ICMP echo. Each has a socket of the host's that hears only the flow's other end; one
//! that belongs to a published port uses that port's socket.

use crate::core::{Core, Link};
use crate::core::{pseudo, sum};
use crate::frame::{DATA_VALID, NEEDS_CSUM, Packet, Vnet, protocol};
use crate::host::Host;
use crate::icmp::Why;
use crate::tcp::Key;
use rustix::io::Errno;
use smoltcp::wire::UdpPacket;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a flow lives without a datagram (RFC 4787 §4.3 recommends five minutes, and at least two).
pub const IDLE: Duration = Duration::from_secs(120);
/// The same for questions to a name server and for echo requests.
pub const SHORT_IDLE: Duration = Duration::from_secs(30);
/// Time without an answer after which another name server is asked.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Datagrams that are read at an event before others get their turn.
const BURST: usize = 64;

/// Pieces that a datagram may be cut into, each of which is a system call; Linux makes no more (UDP_MAX_SEGMENTS).
const MOST_PIECES: usize = 128;

/// The second half of a quoted UDP header: of an empty datagram without a checksum.
const QUOTED: u32 = 8 << 16;

/// How the host's side is reached.
#[derive(Debug)]
pub enum Way<S> {
    /// A socket of the flow's own.
    Socket(S),
    /// A published port's, and whom it talks to.
    Published(u32, SocketAddr),
}

/// A UDP flow.
#[derive(Debug)]
pub struct Datagrams<S> {
    /// Its ends, as the guest sees them.
    pub key: Key,
    /// The host's side.
    pub way: Way<S>,
    /// When it was last used.
    pub heard: Duration,
    /// The name server that it asks.
    pub server: Option<SocketAddr>,
    /// Since when that has not answered.
    pub asked: Option<Duration>,
}

/// A UDP datagram from the guest.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Whose.
    pub key: Key,
    /// What it carries.
    pub payload: &'a [u8],
    /// Length of the datagrams that it is to be cut into.
    pub piece: Option<usize>,
}

impl<'a> Datagram<'a> {
    /// The datagram in `packet`; `None` if it is none, its checksum is wrong, or it is to be cut too small.
    pub fn parse(packet: &Packet<'a>, vnet: Vnet) -> Option<Datagram<'a>> {
        let udp = UdpPacket::new_checked(packet.payload).ok()?;
        let (trusted, length) = (vnet.flags & (NEEDS_CSUM | DATA_VALID) != 0, usize::from(udp.len()));
        // IPv4 may do without a checksum (RFC 768), IPv6 may not (RFC 8200 §8.1).
        let without = udp.checksum() == 0 && packet.source.is_ipv4();
        if !trusted && !without {
            let begun = pseudo(packet.source, packet.destination, protocol::UDP, length);
            if sum(&[&begun.to_be_bytes(), packet.payload.get(..length)?]) != 0xffff {
                return None;
            }
        }
        let cut = vnet.gso_type == crate::frame::GSO_UDP_L4 && vnet.gso_size > 0;
        if cut && udp.payload().len() > MOST_PIECES * usize::from(vnet.gso_size) {
            return None;
        }
        Some(Datagram {
            key: Key {
                guest: SocketAddr::new(packet.source, udp.src_port()),
                remote: SocketAddr::new(packet.destination, udp.dst_port()),
            },
            payload: udp.payload(),
            piece: cut.then_some(usize::from(vnet.gso_size)),
        })
    }
}

impl<S> Datagrams<S> {
    /// Whether the name server that it asks has had its time, so that another should be asked.
    pub fn is_unanswered(&self, now: Duration) -> bool {
        self.asked.is_some_and(|since| now >= since + PATIENCE)
    }

    /// Whether nobody has used it for long.
    pub fn is_idle(&self, now: Duration) -> bool {
        now >= self.heard + if self.server.is_some() { SHORT_IDLE } else { IDLE }
    }

    /// Sends what the guest sends.
    ///
    /// # Errors
    /// What the guest is to be told.
    pub fn send<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        datagram: &Datagram<'_>,
    ) -> Result<(), Why> {
        self.heard = core.now;
        if self.server.is_some() && self.asked.is_none() {
            self.asked = Some(core.now);
        }
        let whole = datagram.payload;
        let pieces = whole.chunks(datagram.piece.unwrap_or(usize::MAX).min(whole.len()).max(1));
        let empty: &[&[u8]] = if whole.is_empty() { &[&[]] } else { &[] };
        for piece in pieces.chain(empty.iter().copied()) {
            let mut result = self.send_once(core, piece);
            // What the peer said to an earlier one is told now (udp(7)); this one was not sent.
            if result == Err(Errno::CONNREFUSED) {
                core.send_flow_unreachable(&self.key, protocol::UDP, QUOTED, Why::Port);
                result = self.send_once(core, piece);
            }
            match result {
                Ok(()) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::CONNREFUSED | Errno::MSGSIZE) => {}
                Err(error) => return Err(Why::of(error)),
            }
        }
        Ok(())
    }

    fn send_once<H: Host<Socket = S>, L: Link>(
        &self,
        core: &mut Core<H, L>,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        match &self.way {
            Way::Socket(socket) => core.host.send(socket, &[IoSlice::new(bytes)]).map(drop),
            Way::Published(listener, to) => core.host.send_to(*listener, bytes, *to),
        }
    }

    /// Takes what the host's socket has; `false` if the flow is of no use any more.
    pub fn event<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, scratch: &mut [u8]) -> bool {
        let Way::Socket(socket) = &self.way else { return true };
        for _ in 0..BURST {
            match core.host.receive(socket, &mut [IoSliceMut::new(scratch)]) {
                Ok(length) => {
                    self.heard = core.now;
                    self.asked = None;
                    let payload = scratch.get(..length).unwrap_or_default();
                    core.send_datagram(self.key.remote, self.key.guest, payload);
                }
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    let why = Why::of(error);
                    core.send_flow_unreachable(&self.key, protocol::UDP, QUOTED, why);
                    if let Some(server) = self.server {
                        core.resolvers.failed(server);
                        return false;
                    }
                    return why == Why::Port;
                }
            }
        }
        true
    }
}

/// Both ends of a flow of echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EchoKey {
    /// The guest.
    pub guest: IpAddr,
    /// Whom it asks.
    pub remote: IpAddr,
    /// By which it knows its answers.
    pub identifier: u16,
}

/// A flow of echo requests and replies.
#[derive(Debug)]
pub struct Echo<S> {
    /// Its ends.
    pub key: EchoKey,
    /// The host's socket.
    pub socket: S,
    /// When it was last used.
    pub heard: Duration,
}

/// ICMP types: echo request and reply.
pub fn echo_types(v4: bool) -> (u8, u8) {
    if v4 { (8, 0) } else { (128, 129) }
}

impl<S> Echo<S> {
    /// Asks what the guest asks. The host's kernel puts in its own identifier and checksum.
    pub fn send<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, message: &[u8]) {
        self.heard = core.now;
        // A request may get lost.
        let _ = core.host.send(&self.socket, &[IoSlice::new(message)]);
    }

    /// Takes the answers; `false` if there will be none.
    pub fn event<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, scratch: &mut [u8]) -> bool {
        let (_, reply) = echo_types(self.key.remote.is_ipv4());
        for _ in 0..BURST {
            match core.host.receive(&self.socket, &mut [IoSliceMut::new(scratch)]) {
                Ok(length) => {
                    self.heard = core.now;
                    let Some((&[kind, code, _, _, _, _, s0, s1], rest)) =
                        scratch.get(..length).and_then(|message| message.split_first_chunk::<8>())
                    else {
                        continue;
                    };
                    if kind == reply {
                        let [i0, i1] = self.key.identifier.to_be_bytes();
                        let head = [kind, code, 0, 0, i0, i1, s0, s1];
                        core.send_icmp(self.key.remote, self.key.guest, 64, head, rest);
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::GSO_UDP_L4;

    #[test]
    fn a_datagram_is_not_cut_into_more_pieces_than_linux_cuts() {
        let mut payload = vec![0; 8 + 1280];
        payload[4..6].copy_from_slice(&1288u16.to_be_bytes());
        let packet = Packet {
            source: IpAddr::from([10, 0, 2, 15]),
            destination: IpAddr::from([203, 0, 113, 1]),
            protocol: protocol::UDP,
            hops: 64,
            payload: &payload,
            whole: &[],
            piece: None,
        };
        let piece = |gso_type, gso_size| {
            let vnet = Vnet { flags: NEEDS_CSUM, gso_type, gso_size, ..Vnet::default() };
            Datagram::parse(&packet, vnet).map(|datagram| datagram.piece)
        };
        assert_eq!(piece(GSO_UDP_L4, 10), Some(Some(10)));
        assert_eq!(piece(GSO_UDP_L4, 9), None);
        assert_eq!(piece(GSO_UDP_L4, 1), None);
        assert_eq!(piece(0, 1), Some(None));
    }
}
