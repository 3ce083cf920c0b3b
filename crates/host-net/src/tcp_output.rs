//! What a TCP flow sends to the guest, and when it sends it again.

use crate::core::{Core, Ip, Link, pseudo, sum};
use crate::frame::{GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, Vnet, protocol};
use crate::host::Host;
use crate::ring::RING;
use crate::tcp::{
    FIRST_TIMEOUT, Fate, Flow, KEEPALIVE, KEEPALIVE_STEP, KEEPALIVE_TIMES, LAST_TIMEOUT, RETRIES, SCALE,
    SYN_RETRIES, State, before,
};
use rustix::io::Errno;

/// Flags of a TCP header (RFC 9293 §3.1).
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Begins a connection.
    pub const SYN: u8 = 2;
    /// Ends it at once.
    pub const RST: u8 = 4;
    /// Hand it to the reader.
    pub const PSH: u8 = 8;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
}

/// Most that one read of a socket takes: two of the largest frames, so that they are still in a cache when sent.
const READ: usize = 128 * 1024;

/// What is in a header besides the flow's own numbers.
#[derive(Clone, Copy)]
struct Segment {
    sequence: u32,
    flags: u8,
    /// Offset and length in the ring `down`.
    data: (usize, usize),
}

impl<S> Flow<S> {
    /// The longest data of one frame.
    fn longest<H: Host<Socket = S>, L: Link>(&self, core: &Core<H, L>) -> usize {
        let mss = usize::from(self.mss);
        let tso = if self.key.guest.is_ipv4() { core.offloads.tso4 } else { core.offloads.tso6 };
        // As many whole segments as an IP packet's length field holds with its headers.
        if tso && core.offloads.checksum { ((65_535 - 60) / mss).max(1) * mss } else { mss }
    }

    /// The window, as the header says it.
    pub fn window(&self, syn: bool) -> u16 {
        let room = self.up.room().min(RING);
        let scaled = if syn || self.scale.is_none() { room } else { room >> SCALE };
        u16::try_from(scaled).unwrap_or(u16::MAX)
    }

    fn emit<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, segment: Segment) -> bool {
        let Segment { sequence, flags, data: (offset, length) } = segment;
        let syn = flags & flag::SYN != 0;
        let mut header = [0u8; 28];
        let size = if syn { self.put_options(core, &mut header) } else { 20 };
        let window = self.window(syn);
        let acknowledged = if flags & flag::ACK != 0 { self.rcv_nxt } else { 0 };
        let fields: [&[u8]; 6] = [
            &self.key.remote.port().to_be_bytes(),
            &self.key.guest.port().to_be_bytes(),
            &sequence.to_be_bytes(),
            &acknowledged.to_be_bytes(),
            &[(size as u8 / 4) << 4, flags],
            &window.to_be_bytes(),
        ];
        for (place, byte) in header.iter_mut().zip(fields.into_iter().flatten()) {
            *place = *byte;
        }
        let (header, _) = header.split_at_mut(size);
        let data = self.down.parts(offset, length);
        let ip = Ip::new(self.key.remote.ip(), self.key.guest.ip(), protocol::TCP);
        let begun = pseudo(ip.source, ip.destination, protocol::TCP, size + length);
        let mut vnet = Vnet::default();
        let check = if core.offloads.checksum {
            let start = 14 + ip.header();
            vnet = Vnet { flags: NEEDS_CSUM, sum_start: start as u16, sum_offset: 16, ..vnet };
            if length > usize::from(self.mss) {
                let gso_type = if self.key.guest.is_ipv4() { GSO_TCPV4 } else { GSO_TCPV6 };
                vnet = Vnet { gso_type, gso_size: self.mss, header: (start + size) as u16, ..vnet };
            }
            begun
        } else {
            !sum(&[&begun.to_be_bytes(), header, data[0], data[1]])
        };
        if let Some(place) = header.get_mut(16..18) {
            place.copy_from_slice(&check.to_be_bytes());
        }
        let sent = core.send_ip(vnet, ip, header, data);
        if sent && flags & flag::ACK != 0 {
            let shift = if syn || self.scale.is_none() { 0 } else { SCALE };
            self.edge = self.rcv_nxt.wrapping_add(u32::from(window) << shift);
            self.ack_due = false;
        }
        sent
    }

    /// The options of a SYN: longest segment, and the window scale if both sides have it.
    fn put_options<H: Host<Socket = S>, L: Link>(&self, core: &Core<H, L>, header: &mut [u8; 28]) -> usize {
        let [m0, m1] = own_mss(core.config.mtu, self.key.guest.is_ipv4()).to_be_bytes();
        let options = [2, 4, m0, m1, 1, 3, 3, SCALE];
        for (place, byte) in header.iter_mut().skip(20).zip(options) {
            *place = byte;
        }
        if self.state == State::SynSent || self.scale.is_some() { 28 } else { 24 }
    }

    /// Sends SYN, with ACK if the guest's has come.
    pub fn send_syn<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        let flags = if self.state == State::SynSent { flag::SYN } else { flag::SYN | flag::ACK };
        // If the link is full, the time-out sends it.
        self.emit(core, Segment { sequence: self.snd_una, flags, data: (0, 0) });
        self.snd_nxt = self.snd_una.wrapping_add(1);
        self.snd_max = self.snd_nxt;
        self.arm(core);
    }

    /// Sends RST. If the link is full, the guest hears it when it next sends something.
    pub fn send_reset<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        self.emit(core, Segment { sequence: self.snd_nxt, flags: flag::RST | flag::ACK, data: (0, 0) });
    }

    /// Sends an acknowledgement now, or as soon as the link has room.
    pub fn send_ack<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        let segment = Segment { sequence: self.snd_nxt, flags: flag::ACK, data: (0, 0) };
        if !self.emit(core, segment) {
            self.ack_due = true;
            self.wait_for_link(core);
        }
    }

    /// An acknowledgement is to be sent at the end of this burst of frames.
    pub fn owe_ack<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        self.ack_due = true;
        if !self.in_acks {
            self.in_acks = true;
            core.waiting.acks.push(self.place);
        }
    }

    fn wait_for_link<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        if !self.in_link {
            self.in_link = true;
            core.waiting.link.push_back(self.place);
        }
    }

    /// Starts the retransmission timer if it does not run.
    fn arm<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        if self.deadline.is_none() {
            self.start_timer(core);
        }
    }

    /// Starts the retransmission timer anew.
    pub fn start_timer<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        core.armed = true;
        self.deadline = Some(core.now + self.timeout);
    }

    /// Moves what the host has for the guest, as far as windows, memory and link allow.
    pub fn pump<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        if self.state != State::Open {
            return Fate::Keep;
        }
        loop {
            let filled = match self.fill(core) {
                Ok(filled) => filled,
                Err(_) => return self.reset(core),
            };
            let sent = self.send_new(core);
            if !sent && !filled || self.in_link {
                break;
            }
        }
        self.send_fin(core);
        self.finished(core)
    }

    /// Reads from the host's socket once; whether there was anything.
    fn fill<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Result<bool, Errno> {
        let most = self.down.room().min(READ);
        let Some(socket) = &self.socket else { return Ok(false) };
        if !self.readable || self.host_eof || most == 0 {
            return Ok(false);
        }
        if !self.down.prepare(&mut core.pool) {
            if !self.in_memory {
                self.in_memory = true;
                core.waiting.memory.push_back(self.place);
            }
            return Ok(false);
        }
        let host = &mut core.host;
        let result = self.down.fill(most, |parts| host.receive(socket, parts));
        let count = match result {
            Ok(0) => {
                self.host_eof = true;
                0
            }
            Ok(count) => {
                // A short read has emptied the socket; whatever comes later is a new event (epoll(7)).
                self.readable = count == most || self.hung_up;
                count
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                0
            }
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error),
        };
        if self.down.is_empty() {
            self.down.clear(&mut core.pool);
        }
        Ok(count > 0)
    }

    /// Sends one frame of what was never sent; whether it did.
    fn send_new<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> bool {
        let flight = self.in_flight();
        let unsent = self.down.len().saturating_sub(flight as usize);
        let window = self.snd_wnd.saturating_sub(flight) as usize;
        let count = unsent.min(window).min(self.longest(core));
        if count == 0 {
            if unsent > 0 {
                self.arm(core);
            }
            return false;
        }
        // Silly window avoidance (RFC 9293 §3.8.6.2.1): a small piece only if it is the last, or nothing is on its way.
        if count < unsent && count < usize::from(self.mss) && flight > 0 {
            return false;
        }
        let flags = if count == unsent { flag::ACK | flag::PSH } else { flag::ACK };
        if !self.emit(core, Segment { sequence: self.snd_nxt, flags, data: (flight as usize, count) }) {
            self.wait_for_link(core);
            return false;
        }
        self.snd_nxt = self.snd_nxt.wrapping_add(count as u32);
        self.note_sent();
        self.arm(core);
        true
    }

    fn note_sent(&mut self) {
        if before(self.snd_max, self.snd_nxt) {
            self.snd_max = self.snd_nxt;
        }
    }

    /// Sends FIN once the host has finished and everything before is sent.
    fn send_fin<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        if !self.host_eof || self.fin_sent || self.in_flight() as usize != self.down.len() {
            return;
        }
        if !self.emit(core, Segment { sequence: self.snd_nxt, flags: flag::ACK | flag::FIN, data: (0, 0) }) {
            self.wait_for_link(core);
            return;
        }
        self.fin_sent = true;
        self.closed_first |= !self.guest_fin;
        self.snd_nxt = self.snd_nxt.wrapping_add(1);
        self.note_sent();
        self.arm(core);
    }

    /// Sends the first thing again that was not acknowledged.
    pub fn retransmit<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        let length = self.down.len().min(self.in_flight() as usize).min(self.longest(core));
        let fin = length == 0 && self.fin_sent && !self.fin_acked;
        if length > 0 || fin {
            let flags = if fin { flag::ACK | flag::FIN } else { flag::ACK | flag::PSH };
            self.emit(core, Segment { sequence: self.snd_una, flags, data: (0, length) });
        }
        self.start_timer(core);
    }

    /// The link has room again.
    pub fn resume<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        if self.ack_due {
            self.send_ack(core);
            if self.in_link {
                return Fate::Keep;
            }
        }
        self.pump(core)
    }

    /// Looks at the flow's timers.
    pub fn tick<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        if self.deadline.is_some_and(|at| at <= core.now) {
            return self.expired(core);
        }
        if self.state == State::Open && core.now >= self.heard + KEEPALIVE + KEEPALIVE_STEP * self.probes {
            if self.probes >= KEEPALIVE_TIMES {
                return self.reset(core);
            }
            self.probes += 1;
            let sequence = self.snd_una.wrapping_sub(1);
            self.emit(core, Segment { sequence, flags: flag::ACK, data: (0, 0) });
        }
        Fate::Keep
    }

    fn expired<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        self.deadline = None;
        let closed = self.state == State::Open && self.snd_wnd == 0 && !self.down.is_empty();
        let most = if self.state == State::Open { RETRIES } else { SYN_RETRIES };
        match self.state {
            State::TimeWait => return Fate::Gone,
            State::Connecting => return Fate::Keep,
            // A guest may keep its window closed for as long as it likes, as long as it answers (§3.8.6.1).
            _ if self.retries >= most => return self.reset(core),
            _ => self.retries += 1,
        }
        self.timeout = (self.timeout * 2).min(LAST_TIMEOUT);
        match self.state {
            State::SynReceived | State::SynSent => self.send_syn(core),
            _ if closed => {
                self.emit(core, Segment { sequence: self.snd_una, flags: flag::ACK, data: (0, 1) });
                let end = self.snd_una.wrapping_add(1);
                if before(self.snd_max, end) {
                    self.snd_max = end;
                }
                self.arm(core);
            }
            _ => {
                // Go back: everything that was not acknowledged counts as never sent.
                self.snd_nxt = self.snd_una;
                self.fin_sent = false;
                (self.duplicates, self.recover) = (0, None);
                return self.pump(core);
            }
        }
        Fate::Keep
    }

    /// The guest has acknowledged something, or answered: time begins anew.
    pub fn progress<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        self.timeout = FIRST_TIMEOUT;
        self.retries = 0;
        self.deadline = None;
        if self.snd_una != self.snd_max {
            self.start_timer(core);
        }
    }
}

/// The longest data of a segment that the guest may send.
pub fn own_mss(mtu: u16, v4: bool) -> u16 {
    mtu - if v4 { 40 } else { 60 }
}
