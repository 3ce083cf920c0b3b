//! What a TCP segment from the guest does to its flow (RFC 9293 §3.10.7, RFC 5961).

use crate::core::{Core, Link, pseudo, sum};
use crate::frame::{DATA_VALID, NEEDS_CSUM, Packet, Vnet, protocol};
use crate::host::Host;
use crate::tcp::{Fate, Flow, Key, State, before};
use rustix::io::Errno;
use smoltcp::wire::{TcpOption, TcpPacket};
use std::io::IoSlice;
use std::net::SocketAddr;

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Whose.
    pub key: Key,
    /// Number of its first byte.
    pub sequence: u32,
    /// Number of the byte that its sender expects; counts if `ack` is set.
    pub acknowledged: u32,
    /// Begins a connection.
    pub syn: bool,
    /// `acknowledged` counts.
    pub ack: bool,
    /// Ends the sender's stream.
    pub fin: bool,
    /// Ends the connection.
    pub rst: bool,
    /// The window, not scaled.
    pub window: u16,
    /// The longest segment, if a SYN says it.
    pub mss: Option<u16>,
    /// The window scale, if a SYN says it.
    pub scale: Option<u8>,
    /// Data.
    pub data: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The segment in `packet`; `None` if it is none, or its checksum is wrong.
    pub fn parse(packet: &Packet<'a>, vnet: Vnet) -> Option<Segment<'a>> {
        let tcp = TcpPacket::new_checked(packet.payload).ok()?;
        // What was only begun cannot have been spoilt: there is no wire.
        if vnet.flags & (NEEDS_CSUM | DATA_VALID) == 0 {
            let begun = pseudo(packet.source, packet.destination, protocol::TCP, packet.payload.len());
            if sum(&[&begun.to_be_bytes(), packet.payload]) != 0xffff {
                return None;
            }
        }
        if tcp.src_port() == 0 || tcp.dst_port() == 0 {
            return None;
        }
        let mut segment = Segment {
            key: Key {
                guest: SocketAddr::new(packet.source, tcp.src_port()),
                remote: SocketAddr::new(packet.destination, tcp.dst_port()),
            },
            sequence: tcp.seq_number().0 as u32,
            acknowledged: tcp.ack_number().0 as u32,
            syn: tcp.syn(),
            ack: tcp.ack(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            window: tcp.window_len(),
            mss: None,
            scale: None,
            data: tcp.payload(),
        };
        if segment.syn {
            segment.read_options(tcp.options())?;
        }
        Some(segment)
    }

    fn read_options(&mut self, mut options: &[u8]) -> Option<()> {
        while !options.is_empty() {
            let (rest, option) = TcpOption::parse(options).ok()?;
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(mss) => self.mss = Some(mss),
                // More than 14 counts as 14 (RFC 7323 §2.3).
                TcpOption::WindowScale(scale) => self.scale = Some(scale.min(14)),
                _ => {}
            }
            options = rest;
        }
        Some(())
    }

    /// Sequence numbers it takes.
    pub fn length(&self) -> u32 {
        self.data.len() as u32 + u32::from(self.syn) + u32::from(self.fin)
    }
}

/// Ranges that are kept out of order.
const MOST_LATER: usize = 32;
/// Segments shorter than this are not made, whatever a guest asks for: they would be a lever on the host's time.
const LEAST_MSS: u16 = 88;

impl<S> Flow<S> {
    /// Takes over what the guest's SYN says.
    pub fn learn(&mut self, segment: &Segment<'_>, most: u16) {
        let default = if self.key.guest.is_ipv4() { 536 } else { 1220 };
        self.mss = segment.mss.unwrap_or(default).clamp(LEAST_MSS, most);
        self.scale = segment.scale;
        self.rcv_nxt = segment.sequence.wrapping_add(1);
        self.edge = self.rcv_nxt;
        self.snd_wnd = u32::from(segment.window);
        self.wl = (segment.sequence, segment.acknowledged);
    }

    /// Takes a segment.
    pub fn input<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        segment: &Segment<'_>,
    ) -> Fate {
        self.heard = core.now;
        self.probes = 0;
        match self.state {
            State::Connecting if segment.rst => {
                self.release(core, true);
                Fate::Gone
            }
            State::Connecting => Fate::Keep,
            State::SynSent => self.answered(core, segment),
            State::TimeWait => self.lingering(core, segment),
            State::SynReceived | State::Open => self.synchronized(core, segment),
        }
    }

    /// What answers the SYN of a published port's connection.
    fn answered<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        segment: &Segment<'_>,
    ) -> Fate {
        if !segment.ack || segment.acknowledged != self.snd_nxt {
            return Fate::Keep;
        }
        if segment.rst {
            self.release(core, true);
            return Fate::Gone;
        }
        if segment.syn {
            let most = crate::tcp_output::own_mss(core.config.mtu, self.key.guest.is_ipv4());
            self.learn(segment, most);
            return self.open(core, segment);
        }
        Fate::Keep
    }

    /// Our SYN is acknowledged: data may flow.
    fn open<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, segment: &Segment<'_>) -> Fate {
        let scale = if segment.syn { 0 } else { self.scale.unwrap_or(0) };
        self.state = State::Open;
        self.snd_una = segment.acknowledged;
        self.snd_wnd = u32::from(segment.window) << scale;
        self.progress(core);
        if segment.syn {
            self.send_ack(core);
            return self.pump(core);
        }
        Fate::Keep
    }

    fn lingering<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        segment: &Segment<'_>,
    ) -> Fate {
        if segment.rst {
            return Fate::Gone;
        }
        if segment.syn && before(self.rcv_nxt, segment.sequence.wrapping_add(1)) {
            return Fate::Again;
        }
        if segment.length() > 0 {
            self.send_ack(core);
        }
        Fate::Keep
    }

    fn synchronized<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        segment: &Segment<'_>,
    ) -> Fate {
        if segment.rst {
            return self.reset_by_guest(core, segment);
        }
        if segment.syn {
            if self.state == State::SynReceived && segment.sequence.wrapping_add(1) == self.rcv_nxt {
                self.send_syn(core);
            } else {
                self.send_ack(core);
            }
            return Fate::Keep;
        }
        if !segment.ack {
            return Fate::Keep;
        }
        if self.state == State::SynReceived {
            if segment.acknowledged != self.snd_nxt {
                return Fate::Keep;
            }
            if self.open(core, segment) != Fate::Keep {
                return Fate::Gone;
            }
        } else if !self.acknowledge(core, segment) {
            return Fate::Keep;
        }
        // What is empty and ahead follows something that was lost; to answer it would make two stacks answer each other.
        if segment.length() > 0 || before(segment.sequence, self.rcv_nxt) {
            match self.take(core, segment) {
                Ok(()) => {}
                Err(_) => return self.reset(core),
            }
        }
        match self.flush(core) {
            Fate::Keep => self.pump(core),
            gone => gone,
        }
    }

    /// A reset counts if it has exactly the number expected; one that only might be right is questioned (RFC 5961 §3).
    fn reset_by_guest<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        segment: &Segment<'_>,
    ) -> Fate {
        if segment.sequence == self.rcv_nxt {
            self.release(core, true);
            return Fate::Gone;
        }
        if !before(segment.sequence, self.rcv_nxt) && before(segment.sequence, self.edge) {
            self.owe_ack(core);
        }
        Fate::Keep
    }

    /// Takes acknowledgement and window; `false` if it acknowledges what was never sent.
    fn acknowledge<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        segment: &Segment<'_>,
    ) -> bool {
        let acknowledged = segment.acknowledged;
        if before(self.snd_max, acknowledged) {
            self.owe_ack(core);
            return false;
        }
        if before(acknowledged, self.snd_una) {
            return true;
        }
        let window = u32::from(segment.window) << self.scale.unwrap_or(0);
        if acknowledged != self.snd_una {
            self.advance(core, acknowledged);
        } else if segment.length() == 0 && window == self.snd_wnd && self.snd_una != self.snd_max {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == 3 && self.recover.is_none() && window > 0 {
                self.recover = Some(self.snd_max);
                self.retransmit(core);
            }
        }
        if window == 0 || self.snd_wnd == 0 {
            self.retries = 0;
        }
        let (sequence, last) = self.wl;
        if before(sequence, segment.sequence) || sequence == segment.sequence && !before(acknowledged, last) {
            if self.snd_wnd == 0 && window > 0 {
                self.timeout = crate::tcp::FIRST_TIMEOUT;
                self.start_timer(core);
            }
            self.snd_wnd = window;
            self.wl = (segment.sequence, acknowledged);
        }
        true
    }

    /// Everything before `acknowledged` has arrived.
    fn advance<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, acknowledged: u32) {
        let count = acknowledged.wrapping_sub(self.snd_una) as usize;
        if count > self.down.len() {
            (self.fin_sent, self.fin_acked) = (true, true);
        }
        self.down.consume(count, &mut core.pool);
        self.snd_una = acknowledged;
        if before(self.snd_nxt, acknowledged) {
            self.snd_nxt = acknowledged;
        }
        self.duplicates = 0;
        self.progress(core);
        match self.recover {
            Some(end) if before(acknowledged, end) => self.retransmit(core),
            _ => self.recover = None,
        }
    }

    /// Takes data and FIN.
    fn take<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        segment: &Segment<'_>,
    ) -> Result<(), Errno> {
        let skip = self.rcv_nxt.wrapping_sub(segment.sequence);
        let ahead = before(self.rcv_nxt, segment.sequence);
        if ahead || skip > segment.length() || self.guest_fin {
            if ahead && !self.guest_fin {
                self.keep_for_later(core, segment);
            }
            // Out of order, old, or after the end: say at once what is expected, each time (RFC 5681 §4.2).
            self.send_ack(core);
            return Ok(());
        }
        let data = segment.data.get(skip as usize..).unwrap_or_default();
        let open = self.edge.wrapping_sub(self.rcv_nxt) as usize;
        let data = data.get(..data.len().min(open)).unwrap_or_default();
        if self.later.is_empty() {
            let taken = self.deliver(core, data)?;
            self.rcv_nxt = self.rcv_nxt.wrapping_add(taken as u32);
        } else {
            let taken = self.up.push(data);
            self.rcv_nxt = self.rcv_nxt.wrapping_add(taken as u32);
            self.join_later(core);
        }
        let end = segment.sequence.wrapping_add(segment.data.len() as u32);
        if segment.fin && self.rcv_nxt == end {
            self.guest_fin = true;
            self.rcv_nxt = self.rcv_nxt.wrapping_add(1);
        }
        self.owe_ack(core);
        Ok(())
    }

    /// Keeps data that came before what precedes it, if it is in the window and there is memory.
    fn keep_for_later<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, segment: &Segment<'_>) {
        let (from, to) = (segment.sequence, segment.sequence.wrapping_add(segment.data.len() as u32));
        let at = self.later.partition_point(|&(first, _)| before(first, from));
        // Whole segments only, and not many of them: a guest that loses more sends more again.
        let beyond = before(self.edge, to) || self.later.len() >= MOST_LATER;
        if from == to || beyond || !self.up.prepare(&mut core.pool) {
            return;
        }
        let ahead = from.wrapping_sub(self.rcv_nxt) as usize;
        if self.up.place(ahead, segment.data) {
            self.later.insert(at, (from, to));
            self.merge_later();
        } else if self.later.is_empty() {
            self.up.let_go(&mut core.pool);
        }
    }

    /// Makes one of ranges that touch.
    fn merge_later(&mut self) {
        self.later.dedup_by(|next, range| {
            let touches = !before(range.1, next.0);
            if touches && before(range.1, next.1) {
                range.1 = next.1;
            }
            touches
        });
    }

    /// Takes what was kept and is now next.
    fn join_later<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        while let Some(&(from, to)) = self.later.first()
            && !before(self.rcv_nxt, from)
        {
            if before(self.rcv_nxt, to) {
                self.up.extend(to.wrapping_sub(self.rcv_nxt) as usize);
                self.rcv_nxt = to;
            }
            self.later.remove(0);
        }
        if self.later.is_empty() {
            self.up.let_go(&mut core.pool);
        }
    }

    /// Hands data to the host, straight if it takes it, else through the ring; how much was taken.
    fn deliver<H: Host<Socket = S>, L: Link>(
        &mut self,
        core: &mut Core<H, L>,
        data: &[u8],
    ) -> Result<usize, Errno> {
        let mut rest = data;
        if self.up.is_empty() && self.writable && !data.is_empty() {
            let Some(socket) = &self.socket else { return Ok(0) };
            match core.host.send(socket, &[IoSlice::new(data)]) {
                Ok(count) => rest = data.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error),
            }
            self.writable = rest.is_empty();
        }
        if !rest.is_empty() && self.up.prepare(&mut core.pool) {
            let stored = self.up.push(rest);
            rest = rest.get(stored..).unwrap_or_default();
        }
        Ok(data.len() - rest.len())
    }
}
