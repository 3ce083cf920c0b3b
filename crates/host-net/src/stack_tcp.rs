//! The user network's TCP flows: how they begin, get their turn and end.

use crate::core::Link;
use crate::frame::{Packet, Vnet, protocol};
use crate::host::{Host, Token};
use crate::icmp::Why;
use crate::policy::Verdict;
use crate::stack::{Stack, is_for_many};
use crate::tcp::{Fate, Flow, Key, Ready, State};
use crate::tcp_input::Segment;
use crate::tcp_output::own_mss;
use rustix::io::Errno;
use std::hash::BuildHasher;
use std::net::SocketAddr;

impl<H: Host, L: Link> Stack<H, L> {
    pub(crate) fn tcp_input(&mut self, packet: &Packet<'_>, vnet: Vnet) {
        let Some(segment) = Segment::parse(packet, vnet) else { return };
        if let Some(place) = self.tcp.find(&segment.key)
            && let Some(flow) = self.tcp.at(place)
        {
            let fate = flow.input(&mut self.core, &segment);
            self.settle(place, fate);
            if fate != Fate::Again {
                return;
            }
        }
        if segment.syn && !segment.ack && !segment.rst {
            self.tcp_open(packet, &segment);
        } else {
            self.tcp_unknown(&segment);
        }
    }

    /// Answers a segment that belongs to no connection (RFC 9293 §3.10.7.1).
    fn tcp_unknown(&mut self, segment: &Segment<'_>) {
        if segment.rst || is_for_many(segment.key.remote.ip()) {
            return;
        }
        let number = if segment.ack { segment.acknowledged } else { 0 };
        let mut flow: Flow<H::Socket> = Flow::new(segment.key, State::Open, number, self.core.now);
        flow.rcv_nxt = segment.sequence.wrapping_add(segment.length());
        flow.send_reset(&mut self.core);
    }

    fn tcp_open(&mut self, packet: &Packet<'_>, segment: &Segment<'_>) {
        let to = match self.judge(segment.key.remote) {
            Verdict::To(to) => to,
            Verdict::Resolver => match self.core.resolvers.current() {
                Some(server) => server,
                None => return self.tcp_unknown(segment),
            },
            Verdict::Gateway => return self.tcp_unknown(segment),
            Verdict::Refused => {
                let (source, destination) = (packet.source, packet.destination);
                return self.core.send_unreachable(packet.whole, source, destination, Why::Prohibited);
            }
            Verdict::Dropped => return,
        };
        self.tcp_evict();
        // A guest that has all flows it may have tries again, as after any lost SYN.
        let Some((place, generation)) = self.tcp.next() else { return };
        match self.core.host.connect_tcp(to, Token::Tcp(place, generation)) {
            Ok(socket) => {
                let mut flow = self.tcp_flow(segment.key, State::Connecting, place);
                flow.learn(segment, own_mss(self.core.config.mtu, segment.key.guest.is_ipv4()));
                flow.socket = Some(socket);
                self.tcp.insert(segment.key, flow);
            }
            Err(error) => {
                self.tcp_failed(&segment.key, segment.sequence, segment.sequence.wrapping_add(1), error)
            }
        }
    }

    fn tcp_flow(&self, key: Key, state: State, place: u32) -> Flow<H::Socket> {
        // RFC 6528: a clock of about four microseconds, and a secret function of both ends.
        let clock = (self.core.now.as_micros() / 4) as u32;
        let initial = clock.wrapping_add(self.secret.hash_one(key) as u32);
        Flow { place, ..Flow::new(key, state, initial, self.core.now) }
    }

    /// Makes room in a full table: a connection that has ended on both sides can be forgotten.
    fn tcp_evict(&mut self) {
        if !self.tcp.is_full() {
            return;
        }
        let over = self.tcp.iter().find(|(_, f)| f.state == State::TimeWait).map(|(place, _)| place);
        if let Some(place) = over {
            self.settle(place, Fate::Gone);
        }
    }

    /// Tells the guest why there is no connection: "refused" by a reset, all else by ICMP.
    fn tcp_failed(&mut self, key: &Key, sequence: u32, expected: u32, error: Errno) {
        match Why::of(error) {
            Why::Port => {
                let mut flow: Flow<H::Socket> = Flow::new(*key, State::Open, 0, self.core.now);
                flow.rcv_nxt = expected;
                flow.send_reset(&mut self.core);
            }
            why => self.core.send_flow_unreachable(key, protocol::TCP, sequence, why),
        }
    }

    /// Does what has become of a flow.
    fn settle(&mut self, place: u32, fate: Fate) {
        if fate == Fate::Keep {
            return;
        }
        let Some(flow) = self.tcp.at(place) else { return };
        flow.release(&mut self.core, false);
        let (key, expected) = (flow.key, flow.rcv_nxt);
        self.tcp.remove(place, &key);
        if let Fate::Failed(error) = fate {
            self.tcp_failed(&key, expected.wrapping_sub(1), expected, error);
        }
    }

    pub(crate) fn tcp_event(&mut self, place: u32, generation: u32, ready: Ready) {
        if let Some(flow) = self.tcp.at_generation(place, generation) {
            let fate = flow.event(&mut self.core, ready);
            self.settle(place, fate);
        }
    }

    /// Takes connections to a published port.
    pub(crate) fn tcp_accept(&mut self, listener: u32) {
        let Some(port) = self.core.config.publish.get(listener as usize).map(|p| p.guest) else { return };
        loop {
            self.tcp_evict();
            // With no flow left, the host's peers wait in the listener's queue, until the next tick.
            let Some((place, generation)) = self.tcp.next() else { return self.accept_later(listener) };
            match self.core.host.accept(listener, Token::Tcp(place, generation)) {
                Ok((socket, peer)) => self.tcp_published(place, socket, peer, port),
                Err(Errno::AGAIN) => return,
                // Such as no files left: there may be more in the queue, of which no other event will tell.
                Err(_) => return self.accept_later(listener),
            }
        }
    }

    fn accept_later(&mut self, listener: u32) {
        if !self.late.contains(&listener) {
            self.late.push(listener);
        }
    }

    fn tcp_published(&mut self, place: u32, socket: H::Socket, peer: SocketAddr, port: u16) {
        let key = self.published_key(peer, port);
        if self.tcp.find(&key).is_some() {
            return self.core.host.abort(socket);
        }
        let mut flow = self.tcp_flow(key, State::SynSent, place);
        flow.socket = Some(socket);
        if self.core.guest.is_none() {
            self.core.ask_for_guest();
        }
        flow.send_syn(&mut self.core);
        self.tcp.insert(key, flow);
    }

    /// A burst of frames is over: what was to be acknowledged is.
    pub fn end_of_burst(&mut self) {
        while let Some(place) = self.core.waiting.acks.pop() {
            if let Some(flow) = self.tcp.at(place) {
                flow.in_acks = false;
                if flow.ack_due {
                    flow.send_ack(&mut self.core);
                }
            }
        }
        self.serve_waiting();
    }

    /// The link has room again.
    pub fn link_ready(&mut self) {
        for _ in 0..self.core.waiting.link.len() {
            let Some(place) = self.core.waiting.link.pop_front() else { break };
            if let Some(flow) = self.tcp.at(place) {
                flow.in_link = false;
                let fate = flow.resume(&mut self.core);
                let full = flow.in_link;
                self.settle(place, fate);
                if full {
                    break;
                }
            }
        }
    }

    /// Whether a flow waits for room on the link.
    pub fn wants_link(&self) -> bool {
        !self.core.waiting.link.is_empty()
    }

    /// Gives memory that has become free to those that wait for it, in the order in which they came.
    fn serve_waiting(&mut self) {
        for _ in 0..self.core.waiting.memory.len() {
            if !self.core.pool.has_room() {
                return;
            }
            let Some(place) = self.core.waiting.memory.pop_front() else { return };
            if let Some(flow) = self.tcp.at(place) {
                flow.in_memory = false;
                let fate = flow.pump(&mut self.core);
                self.settle(place, fate);
            }
        }
    }

    pub(crate) fn tcp_tick(&mut self) {
        self.core.armed = self.tcp.iter().any(|(_, flow)| flow.deadline.is_some());
        for place in 0..self.tcp.places() {
            if let Some(flow) = self.tcp.at(place) {
                let unknown = self.core.guest.is_none() && flow.state == State::SynSent;
                let fate = flow.tick(&mut self.core);
                self.settle(place, fate);
                if unknown {
                    self.core.ask_for_guest();
                }
            }
        }
        self.serve_waiting();
        for listener in std::mem::take(&mut self.late) {
            self.tcp_accept(listener);
        }
    }
}
