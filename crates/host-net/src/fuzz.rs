//! Fuzz entry: any bytes, played as a guest, a host and a clock on a user network, which must keep its limits and send
//! nothing but well-formed frames.

use crate::config::Config;
use crate::core::Link;
use crate::frame::{Frame, NEEDS_CSUM, Packet, WORD, protocol};
use crate::host::{Host, Token};
use crate::port::Offloads;
use crate::resolver::Resolvers;
use crate::stack::Stack;
use crate::tcp::Ready;
use crate::tcp_input::Segment;
use rustix::io::Errno;
use smoltcp::wire::TcpPacket;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const FLOWS: u32 = 4;
const DATAGRAMS: u32 = 3;
/// Room for three rings.
const MEMORY: u64 = 3 * crate::ring::RING as u64;

/// A host whose answers are the fuzzer's.
#[derive(Default)]
struct World {
    /// Answers to come: what a call does.
    script: Vec<u8>,
}

impl World {
    fn next(&mut self) -> u8 {
        self.script.pop().unwrap_or(0)
    }

    /// A length up to `most`, or an error.
    fn length(&mut self, most: usize) -> Result<usize, Errno> {
        match self.next() {
            0 => Err(Errno::AGAIN),
            1 => Err(Errno::CONNRESET),
            2 => Err(Errno::CONNREFUSED),
            3 => Ok(0),
            4 => Ok(most),
            n => Ok(most.min(usize::from(n) * 97)),
        }
    }

    fn socket(&mut self) -> Result<(), Errno> {
        match self.next() {
            1 => Err(Errno::NETUNREACH),
            2 => Err(Errno::CONNREFUSED),
            3 => Err(Errno::MFILE),
            _ => Ok(()),
        }
    }
}

impl Host for World {
    type Socket = ();

    fn is_own(&mut self, _: IpAddr) -> bool {
        self.next() == 1
    }

    fn connect_tcp(&mut self, _: SocketAddr, _: Token) -> Result<(), Errno> {
        self.socket()
    }

    fn error(&mut self, (): &()) -> Option<Errno> {
        match self.next() {
            1 => Some(Errno::CONNREFUSED),
            2 => Some(Errno::HOSTUNREACH),
            _ => None,
        }
    }

    fn connect_udp(&mut self, _: SocketAddr, _: Token) -> Result<(), Errno> {
        self.socket()
    }

    fn connect_echo(&mut self, _: IpAddr, _: Token) -> Result<(), Errno> {
        self.socket()
    }

    fn receive(&mut self, (): &(), into: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        let room = into.iter().map(|part| part.len()).sum();
        self.length(room)
    }

    fn send(&mut self, (): &(), parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let most = parts.iter().map(|part| part.len()).sum();
        self.length(most)
    }

    fn finish(&mut self, (): &()) {}

    fn abort(&mut self, (): ()) {}

    fn accept(&mut self, _: u32, _: Token) -> Result<((), SocketAddr), Errno> {
        let port = match self.next() {
            0 => return Err(Errno::AGAIN),
            1 => return Err(Errno::MFILE),
            n => u16::from(n),
        };
        Ok(((), SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)))
    }

    fn receive_from(&mut self, _: u32, into: &mut [u8]) -> Result<(usize, SocketAddr), Errno> {
        let length = self.length(into.len())?;
        Ok((length, SocketAddr::new(IpAddr::from([127, 0, 0, 1]), u16::from(self.next()))))
    }

    fn send_to(&mut self, _: u32, bytes: &[u8], _: SocketAddr) -> Result<(), Errno> {
        self.length(bytes.len()).map(drop)
    }
}

/// The guest's end, which looks at everything.
#[derive(Default)]
struct Watcher {
    full: bool,
    offloads: Offloads,
    /// The last segment's numbers: next expected by the network, next to come from it.
    numbers: (u32, u32),
}

impl Link for Watcher {
    fn transmit(&mut self, parts: &[IoSlice<'_>]) -> bool {
        if self.full {
            return false;
        }
        let message = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
        let frame = Frame::parse(message.get(WORD..).unwrap_or_default());
        let Some(frame) = frame else { panic!("no frame: {message:02x?}") };
        let packet = match u16::from(frame.kind) {
            0x0806 => return true,
            0x0800 => Packet::v4(frame.payload),
            _ => Packet::v6(frame.payload),
        };
        let Some(packet) = packet else { panic!("no packet: {message:02x?}") };
        let partial = frame.vnet.flags & NEEDS_CSUM != 0;
        assert!(!partial || self.offloads.checksum, "a checksum that the guest does not take");
        assert!(frame.vnet.gso_type == 0 || self.offloads.tso4 || self.offloads.tso6, "a frame to be cut");
        assert!(frame.vnet.gso_type != 0 || frame.payload.len() <= 1500, "longer than the link takes");
        if packet.protocol == protocol::TCP {
            let segment = Segment::parse(&packet, frame.vnet);
            let Some(segment) = segment else { panic!("no segment: {message:02x?}") };
            let next = segment.sequence.wrapping_add(segment.length());
            self.numbers = (segment.acknowledged, next);
        }
        true
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// A segment that fits what the network last said, but for what the fuzzer changes.
fn segment(input: &mut Input<'_>, numbers: (u32, u32)) -> Vec<u8> {
    let (port, flags, v6) = (u16::from(input.byte() % 6), input.byte(), input.byte() & 1 != 0);
    let sequence = numbers.0.wrapping_add(i32::from(input.word() as i16) as u32);
    let acknowledged = numbers.1.wrapping_add(i32::from(input.word() as i16) as u32);
    let (window, length) = (input.word(), usize::from(input.word()) % 40_000);
    let mut tcp = vec![0u8; 20 + length];
    let mut packet = TcpPacket::new_unchecked(&mut tcp);
    packet.set_src_port(1000 + port);
    packet.set_dst_port(if port == 5 { 53 } else { 80 });
    packet.set_seq_number(smoltcp::wire::TcpSeqNumber(sequence as i32));
    packet.set_ack_number(smoltcp::wire::TcpSeqNumber(acknowledged as i32));
    packet.set_header_len(20);
    packet.set_syn(flags & 2 != 0);
    packet.set_ack(flags & 16 != 0);
    packet.set_fin(flags & 1 != 0);
    packet.set_rst(flags & 12 == 12);
    packet.set_window_len(window);
    let near = port == 5;
    let (s4, d4) = ([10, 0, 2, 15], if near { [10, 0, 2, 3] } else { [203, 0, 113, 1] });
    let mut frame = vec![NEEDS_CSUM, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    frame.extend([0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0, 0, 1]);
    if v6 {
        let [l0, l1] = (tcp.len() as u16).to_be_bytes();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, l0, l1, 6, 64]);
        frame.extend(std::net::Ipv6Addr::new(0xfd48, 0x6f73, 0x7465, 0x6c, 0, 0, 0, 0x15).octets());
        frame.extend(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
    } else {
        let [l0, l1] = (20 + tcp.len() as u16).to_be_bytes();
        let mut fixed = [0x45, 0, l0, l1, 0, 0, 0x40, 0, 64, 6, 0, 0];
        let check = !crate::core::sum(&[&fixed, &s4, &d4]);
        let [.., c0, c1] = &mut fixed;
        [*c0, *c1] = check.to_be_bytes();
        frame.extend([8, 0]);
        frame.extend(fixed);
        frame.extend(s4);
        frame.extend(d4);
    }
    frame.extend(tcp);
    frame
}

/// A datagram or an echo request, with checksums made right.
fn datagram(input: &mut Input<'_>) -> Vec<u8> {
    let (what, port, length) = (input.byte(), input.byte(), usize::from(input.byte()) * 8);
    let data = input.bytes(length);
    let (source, destination) = ([10, 0, 2, 15], [203, 0, 113, what & 1]);
    let mut frame = vec![NEEDS_CSUM, if what & 2 != 0 { 5 } else { 0 }, 0, 0, 16, 0, 0, 0, 0, 0, 1, 0];
    frame.extend([0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0, 0, 1, 8, 0]);
    let mut head = vec![0x10, port, 0, if what & 4 != 0 { 53 } else { 80 }];
    head.extend((8 + data.len() as u16).to_be_bytes());
    head.extend([0, 0]);
    head.extend(data);
    let [l0, l1] = (20 + head.len() as u16).to_be_bytes();
    let [f0, f1] = if what & 8 != 0 { (u16::from(port) | 0x2000).to_be_bytes() } else { [0, 0] };
    let mut fixed = [0x45, 0, l0, l1, 0, 7, f0, f1, if what & 16 != 0 { 1 } else { 64 }, 17, 0, 0];
    let check = !crate::core::sum(&[&fixed, &source, &destination]);
    let [.., c0, c1] = &mut fixed;
    [*c0, *c1] = check.to_be_bytes();
    frame.extend(fixed);
    frame.extend(source);
    frame.extend(destination);
    frame.extend(head);
    frame
}

fn config() -> Config {
    let publish = ["1:22", "2:53/udp"].into_iter().filter_map(|text| text.parse().ok()).collect();
    Config { flows: FLOWS, datagrams: DATAGRAMS, memory: MEMORY, publish, ..Config::default() }
}

fn step(stack: &mut Stack<World, Watcher>, input: &mut Input<'_>, now: &mut Duration) {
    match input.byte() % 10 {
        0 => {
            let length = usize::from(input.byte());
            let frame = input.bytes(length);
            stack.input(frame);
        }
        1..=3 => {
            let frame = segment(input, stack.link().numbers);
            stack.input(&frame);
        }
        4 => {
            let frame = datagram(input);
            stack.input(&frame);
        }
        5 => {
            let (place, bits) = (u32::from(input.byte()), input.byte());
            let generation = u32::from(bits >> 5);
            let token = match bits & 3 {
                0 => Token::Tcp(place % (FLOWS + 1), generation),
                1 => Token::Udp(place % (DATAGRAMS + 1), generation),
                2 => Token::Echo(place, generation),
                _ => Token::Listener(place % 3),
            };
            stack.event(token, Ready { readable: true, writable: bits & 4 != 0, hung_up: bits & 8 != 0 });
        }
        6 => {
            *now += Duration::from_millis(u64::from(input.word()));
            stack.tick(*now);
        }
        7 => {
            stack.link().full ^= true;
            if !stack.link().full {
                stack.link_ready();
            }
        }
        8 => {
            let length = usize::from(input.byte() % 32);
            stack.host().script = input.bytes(length).to_vec();
        }
        _ => {
            let mut offloads = Offloads::from_bits(u32::from(input.byte()));
            offloads.tso4 |= offloads.tso6;
            stack.link().offloads = offloads;
            stack.set_offloads(offloads);
        }
    }
    stack.end_of_burst();
}

/// Plays `bytes`.
pub fn network(bytes: &[u8]) {
    let server = SocketAddr::new(IpAddr::from([192, 0, 2, 53]), 53);
    let resolvers = Resolvers::new(vec![server]);
    let mut stack = Stack::new(config(), World::default(), Watcher::default(), resolvers);
    let mut input = Input(bytes);
    let mut now = Duration::ZERO;
    while !input.0.is_empty() {
        step(&mut stack, &mut input, &mut now);
        let [tcp, udp, echo, buffers] = stack.load();
        assert!(tcp <= FLOWS as usize && udp <= DATAGRAMS as usize && echo <= DATAGRAMS as usize);
        assert!(buffers <= 3, "more memory than there is");
        let waiting = &stack.core.waiting;
        assert!(waiting.link.len() <= tcp && waiting.memory.len() <= tcp, "who waits is there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::VNET;
    use proptest::prelude::*;
    use smoltcp::wire::IpAddress;

    #[test]
    fn a_connection_can_be_made_and_talked_to() {
        // SYN from port 1000; the host's socket becomes writable; the guest acknowledges and sends.
        let mut stack = Stack::new(config(), World::default(), Watcher::default(), Resolvers::default());
        stack.input(&segment(&mut Input(&[0, 2, 0, 0, 0, 0, 0, 0, 32, 0, 0]), (100, 0)));
        assert_eq!(stack.load()[0], 1);
        stack.event(Token::Tcp(0, 0), Ready { writable: true, ..Ready::default() });
        assert_eq!(stack.link().numbers.0, 101, "SYN is acknowledged");
        let numbers = stack.link().numbers;
        stack.host().script = vec![4];
        stack.input(&segment(&mut Input(&[0, 16, 0, 0, 0, 0, 0, 0, 32, 10, 0]), numbers));
        stack.end_of_burst();
        assert_eq!(stack.link().numbers.0, 111, "ten bytes are acknowledged");
        // What the host has comes as segments with right checksums.
        stack.host().script = vec![0, 200];
        stack.event(Token::Tcp(0, 0), Ready { readable: true, ..Ready::default() });
        let sent = stack.link().numbers.1.wrapping_sub(numbers.1);
        assert!(sent > 1000, "{sent} bytes for the guest");
    }

    #[test]
    fn who_is_gone_waits_for_nothing() {
        let mut stack = Stack::new(config(), World::default(), Watcher::default(), Resolvers::default());
        let syn = [0, 2, 0, 0, 0, 0, 0, 0, 32, 0, 0];
        stack.link().full = true;
        for round in 0..100 {
            stack.input(&segment(&mut Input(&syn), (100, 0)));
            stack.event(Token::Tcp(0, round), Ready { writable: true, ..Ready::default() });
            // Another SYN is to be acknowledged, which the link has no room for; then a reset.
            stack.input(&segment(&mut Input(&syn), (200, 0)));
            assert!(stack.wants_link());
            stack.input(&segment(&mut Input(&[0, 12, 0, 0, 0, 0, 0, 0, 32, 0, 0]), (101, 0)));
            assert_eq!((stack.load()[0], stack.core.waiting.link.len()), (0, 0), "round {round}");
        }
    }

    #[test]
    fn a_connection_that_could_not_be_taken_is_taken_later() {
        let mut stack = Stack::new(config(), World::default(), Watcher::default(), Resolvers::default());
        for _ in 0..2 {
            stack.host().script = vec![1];
            stack.event(Token::Listener(0), Ready { readable: true, ..Ready::default() });
            assert_eq!((stack.load()[0], stack.late.as_slice()), (0, &[0][..]));
        }
        stack.host().script = vec![0, 7];
        stack.tick(Duration::from_secs(1));
        assert_eq!((stack.load()[0], stack.late.as_slice()), (1, &[][..]));
    }

    #[test]
    fn the_watcher_sees_a_wrong_checksum() {
        let mut frame = vec![0; WORD];
        frame.extend(segment(&mut Input(&[0, 2]), (0, 0)));
        // Begun only, which the guest has not agreed to.
        let seen = std::panic::catch_unwind(|| Watcher::default().transmit(&[IoSlice::new(&frame)]));
        assert!(seen.is_err());
        if let Some(flags) = frame.get_mut(WORD) {
            *flags = 0;
        }
        let seen = std::panic::catch_unwind(|| Watcher::default().transmit(&[IoSlice::new(&frame)]));
        assert!(seen.is_err(), "no checksum at all");
        let at = WORD + VNET + 14 + 20;
        let (source, destination): (IpAddr, IpAddr) = ([10, 0, 2, 15].into(), [203, 0, 113, 1].into());
        let (source, destination) = (IpAddress::from(source), IpAddress::from(destination));
        TcpPacket::new_unchecked(frame.get_mut(at..).unwrap_or_default())
            .fill_checksum(&source, &destination);
        assert!(Watcher::default().transmit(&[IoSlice::new(&frame)]), "smoltcp's is right");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn noise_keeps_the_limits(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            network(&bytes);
        }
    }
}
