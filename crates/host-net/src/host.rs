//! What a user network needs of the host: sockets. A trait, so that the fuzzer may be the world, and its one real form.

use crate::config::{Publish, Transport};
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketFlags, SocketType,
    ipproto, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What an event is about, as it goes through epoll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// The VMM's socket.
    Link,
    /// A TCP flow: place and generation.
    Tcp(u32, u32),
    /// A UDP flow.
    Udp(u32, u32),
    /// An ICMP echo flow.
    Echo(u32, u32),
    /// A published port.
    Listener(u32),
}

impl Token {
    /// As a number: kind, generation, place.
    pub fn number(self) -> u64 {
        let (kind, place, generation) = match self {
            Token::Link => (0, 0, 0),
            Token::Tcp(place, generation) => (1, place, generation),
            Token::Udp(place, generation) => (2, place, generation),
            Token::Echo(place, generation) => (3, place, generation),
            Token::Listener(place) => (4, place, 0),
        };
        kind << 61 | u64::from(generation & GENERATIONS) << 32 | u64::from(place)
    }

    /// From a number that [`Token::number`] made.
    pub fn from_number(number: u64) -> Token {
        let place = (number & u64::from(u32::MAX)) as u32;
        let generation = (number >> 32) as u32 & GENERATIONS;
        match number >> 61 {
            1 => Token::Tcp(place, generation),
            2 => Token::Udp(place, generation),
            3 => Token::Echo(place, generation),
            4 => Token::Listener(place),
            _ => Token::Link,
        }
    }
}

/// The bits of a generation that a token keeps.
pub const GENERATIONS: u32 = 0x1fff_ffff;

/// The sockets of a world. Nothing waits; what would is `Errno::AGAIN`, and an event comes when it is otherwise.
pub trait Host {
    /// A socket.
    type Socket;

    /// Whether an address is one of the host's own.
    fn is_own(&mut self, address: IpAddr) -> bool;
    /// Begins a TCP connection; an event tells the end of it.
    fn connect_tcp(&mut self, to: SocketAddr, token: Token) -> Result<Self::Socket, Errno>;
    /// Why a connection that ended did.
    fn error(&mut self, socket: &Self::Socket) -> Option<Errno>;
    /// A UDP socket for this peer only.
    fn connect_udp(&mut self, to: SocketAddr, token: Token) -> Result<Self::Socket, Errno>;
    /// A socket for echo requests to this peer only (Linux's "ping sockets", icmp(7)).
    fn connect_echo(&mut self, to: IpAddr, token: Token) -> Result<Self::Socket, Errno>;
    /// Takes bytes, or a datagram.
    fn receive(&mut self, socket: &Self::Socket, into: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;
    /// Gives bytes, or a datagram.
    fn send(&mut self, socket: &Self::Socket, parts: &[IoSlice<'_>]) -> Result<usize, Errno>;
    /// No more bytes will be sent.
    fn finish(&mut self, socket: &Self::Socket);
    /// Ends a connection at once, with a reset.
    fn abort(&mut self, socket: Self::Socket);
    /// The next connection to a published port, and who made it.
    fn accept(&mut self, listener: u32, token: Token) -> Result<(Self::Socket, SocketAddr), Errno>;
    /// The next datagram for a published port, and whose it is.
    fn receive_from(&mut self, listener: u32, into: &mut [u8]) -> Result<(usize, SocketAddr), Errno>;
    /// Sends a datagram from a published port.
    fn send_to(&mut self, listener: u32, bytes: &[u8], to: SocketAddr) -> Result<(), Errno>;
}

/// The host's kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Where events come from.
    pub epoll: OwnedFd,
    listeners: Vec<OwnedFd>,
    nonlocal: bool,
}

/// Flags of every socket. (rustix's are no constants of their own kind.)
fn flags() -> SocketFlags {
    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn standard(address: Option<SocketAddrAny>) -> Result<SocketAddr, Errno> {
    let address = address.ok_or(Errno::INVAL)?;
    let mut address = SocketAddr::try_from(address).map_err(|_| Errno::INVAL)?;
    address.set_ip(address.ip().to_canonical());
    Ok(address)
}

impl Kernel {
    /// A kernel with no sockets yet.
    ///
    /// # Errors
    /// If there is no epoll to be had.
    pub fn new() -> Result<Self, Errno> {
        // With this set, binding says nothing about whose an address is.
        let file = std::fs::read("/proc/sys/net/ipv4/ip_nonlocal_bind").unwrap_or_default();
        let nonlocal = file.first().is_some_and(|&c| c != b'0');
        Ok(Kernel { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, listeners: Vec::new(), nonlocal })
    }

    /// Watches `fd` for `token`.
    ///
    /// # Errors
    /// If the host has no room for that.
    pub fn watch(&self, fd: impl AsFd, token: Token, events: epoll::EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token.number()), events)
    }

    /// Changes what `fd` is watched for.
    ///
    /// # Errors
    /// If it was not watched.
    pub fn watch_for(&self, fd: impl AsFd, token: Token, events: epoll::EventFlags) -> Result<(), Errno> {
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token.number()), events)
    }

    fn watch_edges(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        use epoll::EventFlags as E;
        self.watch(fd, token, E::IN | E::OUT | E::RDHUP | E::ET)
    }

    /// Listens for a published port; returns the address that it got.
    ///
    /// # Errors
    /// If the host does not allow it, or somebody listens there.
    pub fn listen(&mut self, publish: &Publish) -> Result<SocketAddr, Errno> {
        let kind = if publish.transport == Transport::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
        let socket = net::socket_with(family(publish.bind.ip()), kind, flags(), None)?;
        if publish.bind.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        if publish.transport == Transport::Tcp {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        net::bind(&socket, &publish.bind)?;
        if publish.transport == Transport::Tcp {
            net::listen(&socket, 128)?;
        }
        let place = u32::try_from(self.listeners.len()).map_err(|_| Errno::NFILE)?;
        // Connections may have to wait for a free flow, which is no reason to be woken again and again.
        let edge = if publish.transport == Transport::Tcp {
            epoll::EventFlags::ET
        } else {
            epoll::EventFlags::empty()
        };
        self.watch(&socket, Token::Listener(place), epoll::EventFlags::IN | edge)?;
        let address = standard(Some(net::getsockname(&socket)?))?;
        self.listeners.push(socket);
        Ok(address)
    }

    fn listener(&self, place: u32) -> Result<&OwnedFd, Errno> {
        self.listeners.get(place as usize).ok_or(Errno::BADF)
    }
}

impl Host for Kernel {
    type Socket = OwnedFd;

    /// An address is the host's if a socket can be bound to it, which also holds for secondary addresses, whole routed
    /// ranges and broadcast addresses. If the host lets anybody bind anything, what is left is that only from an own
    /// address anything can be sent, and that by IPv6 a packet to an own address would come from it.
    fn is_own(&mut self, address: IpAddr) -> bool {
        let Ok(socket) = net::socket_with(family(address), SocketType::DGRAM, flags(), None) else {
            return true;
        };
        if !self.nonlocal || address.is_ipv4() {
            return match net::bind(&socket, &SocketAddr::new(address, 0)) {
                Ok(()) => {
                    !self.nonlocal
                        || net::connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 9))).is_ok()
                }
                Err(error) => error != Errno::ADDRNOTAVAIL,
            };
        }
        // To itself, an own IPv6 address is the one that is preferred (RFC 6724 §5, rule 1).
        if net::connect(&socket, &SocketAddr::new(address, 9)).is_err() {
            return false;
        }
        standard(net::getsockname(&socket).ok()).is_ok_and(|own| own.ip() == address)
    }

    fn connect_tcp(&mut self, to: SocketAddr, token: Token) -> Result<OwnedFd, Errno> {
        let socket = net::socket_with(family(to.ip()), SocketType::STREAM, flags(), Some(ipproto::TCP))?;
        // The guest has done what Nagle's algorithm is for.
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        match net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        self.watch_edges(&socket, token)?;
        Ok(socket)
    }

    fn error(&mut self, socket: &OwnedFd) -> Option<Errno> {
        match sockopt::socket_error(socket) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error),
        }
    }

    fn connect_udp(&mut self, to: SocketAddr, token: Token) -> Result<OwnedFd, Errno> {
        let socket = net::socket_with(family(to.ip()), SocketType::DGRAM, flags(), Some(ipproto::UDP))?;
        net::connect(&socket, &to)?;
        self.watch(&socket, token, epoll::EventFlags::IN)?;
        Ok(socket)
    }

    fn connect_echo(&mut self, to: IpAddr, token: Token) -> Result<OwnedFd, Errno> {
        let protocol = if to.is_ipv4() { ipproto::ICMP } else { ipproto::ICMPV6 };
        let socket = net::socket_with(family(to), SocketType::DGRAM, flags(), Some(protocol))?;
        net::connect(&socket, &SocketAddr::new(to, 0))?;
        self.watch(&socket, token, epoll::EventFlags::IN)?;
        Ok(socket)
    }

    fn receive(&mut self, socket: &OwnedFd, into: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        rustix::io::readv(socket, into)
    }

    fn send(&mut self, socket: &OwnedFd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
    }

    fn finish(&mut self, socket: &OwnedFd) {
        // It fails only if the connection has ended already, which an event tells.
        let _ = net::shutdown(socket, net::Shutdown::Write);
    }

    fn abort(&mut self, socket: OwnedFd) {
        let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    }

    fn accept(&mut self, listener: u32, token: Token) -> Result<(OwnedFd, SocketAddr), Errno> {
        let (socket, peer) = net::acceptfrom_with(self.listener(listener)?, flags())?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        self.watch_edges(&socket, token)?;
        Ok((socket, standard(peer)?))
    }

    fn receive_from(&mut self, listener: u32, into: &mut [u8]) -> Result<(usize, SocketAddr), Errno> {
        let (length, _, peer) = net::recvfrom(self.listener(listener)?, into, RecvFlags::empty())?;
        Ok((length, standard(peer)?))
    }

    fn send_to(&mut self, listener: u32, bytes: &[u8], to: SocketAddr) -> Result<(), Errno> {
        net::sendto(self.listener(listener)?, bytes, SendFlags::NOSIGNAL, &to).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_numbers_and_back() {
        for token in [
            Token::Link,
            Token::Tcp(7, 9),
            Token::Udp(u32::MAX, GENERATIONS),
            Token::Echo(1, 2),
            Token::Listener(3),
        ] {
            assert_eq!(Token::from_number(token.number()), token);
        }
    }

    #[test]
    fn the_hosts_addresses_are_its_own() {
        let mut kernel = Kernel::new().unwrap();
        // The second: as where `net.ipv4.ip_nonlocal_bind` is set.
        for nonlocal in [kernel.nonlocal, true] {
            kernel.nonlocal = nonlocal;
            assert!(kernel.is_own("127.0.0.1".parse().unwrap()));
            assert!(kernel.is_own("127.1.2.3".parse().unwrap()), "not the one that it would answer from");
            assert!(!kernel.is_own("203.0.113.77".parse().unwrap()));
        }
    }
}
