//! One TCP flow: a connection of the guest's that ends here, joined to a connection of the host's (a split proxy).
//!
//! Towards the guest this is TCP by RFC 9293, with window scaling (RFC 7323), fast retransmission (RFC 6582) and
//! go-back-N after a time-out, but no congestion control: the link is a socket to the VMM, which blocks instead of
//! losing. What the guest sends is acknowledged once the host's kernel has taken it or it is in the flow's ring; the
//! window is what the ring still takes. What the host sends is read into a ring only as far as that has room, and
//! stays there until the guest has acknowledged it. So neither side can make the other's data pile up.
//!
//! [`crate::tcp_input`] is what a segment does, [`crate::tcp_output`] what is sent.

use crate::core::{Core, Link};
use crate::host::Host;
use crate::ring::Ring;
use rustix::io::Errno;
use std::net::SocketAddr;
use std::time::Duration;

/// Both ends of a flow, as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The guest's end.
    pub guest: SocketAddr,
    /// The other.
    pub remote: SocketAddr,
}

/// Where a flow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The guest has sent SYN; the host is connecting, and the guest hears nothing before that has come to an end.
    Connecting,
    /// SYN and ACK are sent to the guest.
    SynReceived,
    /// The host has accepted a connection to a published port; SYN is sent to the guest.
    SynSent,
    /// Data flows, at least one way.
    Open,
    /// Both ends have closed, this one first; the guest's FIN may come again.
    TimeWait,
}

/// Whether a flow goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    /// It does.
    Keep,
    /// It is to be removed.
    Gone,
    /// It is to be removed, and the segment begins a new one.
    Again,
    /// It is to be removed, and the guest is to hear why there is no connection.
    Failed(Errno),
}

/// First retransmission time-out. RFC 6298 wants a second where nothing is known; this link is known.
pub const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
/// Longest.
pub const LAST_TIMEOUT: Duration = Duration::from_secs(10);
/// Retransmissions without an answer after which a connection is given up, about a minute and a half.
pub const RETRIES: u8 = 12;
/// The same while it is being set up, about twelve seconds.
pub const SYN_RETRIES: u8 = 6;
/// How long a flow stays in TIME-WAIT. Nothing on this link is older than that.
pub const TIME_WAIT: Duration = Duration::from_secs(10);
/// Silence after which the guest is asked whether it is still there (RFC 9293 §3.8.4).
pub const KEEPALIVE: Duration = Duration::from_secs(7200);
/// Time between such questions, and how many of them.
pub const KEEPALIVE_STEP: Duration = Duration::from_secs(75);
/// How many of them.
pub const KEEPALIVE_TIMES: u32 = 9;
/// The window scale that is offered: a whole ring in sixteen bits.
pub const SCALE: u8 = 4;

/// A flow.
#[derive(Debug)]
pub struct Flow<S> {
    /// Its ends.
    pub key: Key,
    /// Its place in the table.
    pub place: u32,
    /// The host's connection.
    pub socket: Option<S>,
    /// Where it stands.
    pub state: State,
    /// Next byte expected from the guest (RCV.NXT).
    pub rcv_nxt: u32,
    /// The right edge of the window that the guest was told.
    pub edge: u32,
    /// What the guest sent and the host has not taken.
    pub up: Ring,
    /// What came out of order and lies in `up` beyond its end: first number and the one after the last, in order.
    pub later: Vec<(u32, u32)>,
    /// The guest's FIN has come.
    pub guest_fin: bool,
    /// The host was told.
    pub shut: bool,
    /// First byte that the guest has not acknowledged (SND.UNA); the ring `down` begins with it.
    pub snd_una: u32,
    /// Next byte to send (SND.NXT).
    pub snd_nxt: u32,
    /// The end of all that was ever sent.
    pub snd_max: u32,
    /// The guest's window, scaled.
    pub snd_wnd: u32,
    /// The segment that last changed it (SND.WL1, SND.WL2).
    pub wl: (u32, u32),
    /// The guest's window scale; `None` if neither side scales.
    pub scale: Option<u8>,
    /// The longest segment's data that the guest takes.
    pub mss: u16,
    /// What the host sent and the guest has not acknowledged.
    pub down: Ring,
    /// The host has sent all it ever will.
    pub host_eof: bool,
    /// FIN is sent to the guest.
    pub fin_sent: bool,
    /// And acknowledged.
    pub fin_acked: bool,
    /// It was sent before the guest's came.
    pub closed_first: bool,
    /// The host's socket may have something.
    pub readable: bool,
    /// It has, or soon, an end of file.
    pub hung_up: bool,
    /// It may take something.
    pub writable: bool,
    /// Acknowledgements that acknowledged nothing new.
    pub duplicates: u8,
    /// What was sent when a loss was found; until it is acknowledged, each step is answered by a retransmission.
    pub recover: Option<u32>,
    /// Retransmission time-out now.
    pub timeout: Duration,
    /// When it ends.
    pub deadline: Option<Duration>,
    /// Retransmissions without an answer.
    pub retries: u8,
    /// When the guest was last heard of.
    pub heard: Duration,
    /// Questions since.
    pub probes: u32,
    /// The guest is to get an acknowledgement.
    pub ack_due: bool,
    /// It waits in the queue of that name.
    pub in_acks: bool,
    /// It waits in the queue of that name.
    pub in_link: bool,
    /// It waits in the queue of that name.
    pub in_memory: bool,
}

/// Whether `a` comes before `b` in sequence space (RFC 9293 §3.4).
pub fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl<S> Flow<S> {
    /// A flow that has neither sent nor received anything.
    pub fn new(key: Key, state: State, initial: u32, now: Duration) -> Self {
        Flow {
            key,
            place: 0,
            socket: None,
            state,
            rcv_nxt: 0,
            edge: 0,
            up: Ring::default(),
            later: Vec::new(),
            guest_fin: false,
            shut: false,
            snd_una: initial,
            snd_nxt: initial,
            snd_max: initial,
            snd_wnd: 0,
            wl: (0, 0),
            scale: None,
            mss: 536,
            down: Ring::default(),
            host_eof: false,
            fin_sent: false,
            fin_acked: false,
            closed_first: false,
            readable: false,
            hung_up: false,
            writable: false,
            duplicates: 0,
            recover: None,
            timeout: FIRST_TIMEOUT,
            deadline: None,
            retries: 0,
            heard: now,
            probes: 0,
            ack_due: false,
            in_acks: false,
            in_link: false,
            in_memory: false,
        }
    }

    /// Bytes sent and not acknowledged.
    pub fn in_flight(&self) -> u32 {
        self.snd_nxt.wrapping_sub(self.snd_una)
    }

    /// Gives memory, socket and places in queues back; `reset` also tells the host's peer that this is no orderly end.
    pub fn release<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, reset: bool) {
        if std::mem::take(&mut self.in_link) {
            core.waiting.link.retain(|&place| place != self.place);
        }
        if std::mem::take(&mut self.in_memory) {
            core.waiting.memory.retain(|&place| place != self.place);
        }
        self.up.clear(&mut core.pool);
        self.down.clear(&mut core.pool);
        if let Some(socket) = self.socket.take()
            && reset
        {
            core.host.abort(socket);
        }
    }

    /// What the host's socket has become ready for.
    pub fn event<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>, ready: Ready) -> Fate {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.hung_up |= ready.hung_up;
        match self.state {
            State::Connecting => self.connected(core),
            State::SynReceived | State::SynSent | State::TimeWait => Fate::Keep,
            State::Open => match self.flush(core) {
                Fate::Keep => self.pump(core),
                gone => gone,
            },
        }
    }

    /// The host's connection is made, or not.
    fn connected<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        let Some(socket) = &self.socket else { return Fate::Gone };
        if let Some(error) = core.host.error(socket) {
            self.release(core, true);
            return Fate::Failed(error);
        }
        if !self.writable {
            return Fate::Keep;
        }
        self.state = State::SynReceived;
        self.send_syn(core);
        Fate::Keep
    }

    /// Writes what waits for the host.
    pub fn flush<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        while !self.up.is_empty() && self.writable {
            let Some(socket) = &self.socket else { break };
            let [a, b] = self.up.parts(0, self.up.len());
            let parts = [std::io::IoSlice::new(a), std::io::IoSlice::new(b)];
            match core.host.send(socket, &parts) {
                Ok(count) => {
                    self.writable = count == a.len() + b.len();
                    self.up.consume(count, &mut core.pool);
                }
                Err(Errno::AGAIN) => self.writable = false,
                Err(Errno::INTR) => {}
                Err(_) => return self.reset(core),
            }
        }
        // A window that was nearly closed and is now half open is worth telling (RFC 9293 §3.8.6.2.2).
        let told = self.edge.wrapping_sub(self.rcv_nxt) as usize;
        let scale = if self.scale.is_some() { SCALE } else { 0 };
        let full = usize::from(self.window(false)) << scale;
        if told <= full / 2 && self.up.room() >= crate::ring::RING / 2 && !self.guest_fin {
            self.owe_ack(core);
        }
        self.finish_up(core);
        Fate::Keep
    }

    /// Tells the host that the guest has sent all, once the host has all of it.
    pub fn finish_up<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) {
        if self.guest_fin && !self.shut && self.up.is_empty() {
            self.shut = true;
            if let Some(socket) = &self.socket {
                core.host.finish(socket);
            }
        }
    }

    /// Ends the flow with a reset on both sides.
    pub fn reset<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        self.send_reset(core);
        self.release(core, true);
        Fate::Gone
    }

    /// Whether all is said on both sides.
    pub fn finished<H: Host<Socket = S>, L: Link>(&mut self, core: &mut Core<H, L>) -> Fate {
        if self.state != State::Open || !(self.shut && self.fin_acked) {
            return Fate::Keep;
        }
        self.release(core, false);
        if !self.closed_first {
            return Fate::Gone;
        }
        self.state = State::TimeWait;
        if self.ack_due {
            self.owe_ack(core);
        }
        core.armed = true;
        self.deadline = Some(core.now + TIME_WAIT);
        Fate::Keep
    }
}

/// What a socket has become ready for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready {
    /// There is something to receive, or an error.
    pub readable: bool,
    /// Something can be sent, or an error.
    pub writable: bool,
    /// The peer has finished, or an error.
    pub hung_up: bool,
}
