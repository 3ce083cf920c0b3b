//! What a transport keeps, whichever it is: identity, negotiation, the set-up of queues, what is new.

use crate::feature;
use crate::identity::{Answer, Identity};
use crate::news::{News, Written};
use crate::queue::{Position, Setup};
use dev_core::Device;
use serde::{Deserialize, Serialize};

/// Bits of the device status (section 2.1).
pub mod status {
    /// FEATURES_OK: the features are agreed on.
    pub const FEATURES_OK: u8 = 8;
    /// DRIVER_OK: the driver drives.
    pub const DRIVER_OK: u8 = 4;
    /// DEVICE_NEEDS_RESET: the device cannot go on.
    pub const NEEDS_RESET: u8 = 64;
}

/// The interrupt status (sections 4.1.4.5 and 4.2.2): a buffer was given back.
const ISR_QUEUE: u8 = 1;
/// The configuration has changed.
const ISR_CONFIG: u8 = 2;
/// No vector: an event that sends no message (section 4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;
/// Most queues that a device can have: what fits into one word of bits.
pub const MAX_QUEUES: usize = 64;
/// Most accesses to the configuration space that are kept for whoever attends.
const MOST_WRITES: usize = 256;

/// A device of registers behind which there is a [`Common`].
pub trait Transport: Device {
    /// It.
    fn common(&mut self) -> &mut Common;
    /// What a signal of that queue does besides setting the interrupt status.
    fn signal(&mut self, queue: usize);
    /// The same for a change of the configuration.
    fn signal_config(&mut self);
}

/// The state of a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    identity: Identity,
    pub(crate) state: State,
    config: Vec<u8>,
    answer: Option<Answer>,
    rung: u64,
    wrote: bool,
    writes: Vec<Written>,
    /// Whether the attendant has heard of the start.
    told: bool,
    /// Whether it has heard of one that it may go on from: also while it is stopped.
    heard: bool,
    /// Whether the attendant is to forget what it has heard: the machine was reset, or another state came.
    forget: bool,
    /// Queues that the driver takes back, and that the attendant may be at work on.
    closing: u64,
    /// Those of them that are then as after a reset (section 2.6.1).
    resetting_queues: u64,
    /// Queues that the driver has handed over again, of which the attendant has not heard.
    opened: u64,
    /// The device may reach memory: always, unless a transport can forbid it.
    pub(crate) reaches_memory: bool,
    /// A queue's interrupts are messages, which the interrupt status does not show (section 4.1.4.5.1).
    pub(crate) messages: bool,
    /// Which message tells of a change of the configuration, and which of what queue.
    pub(crate) vectors: Vectors,
}

/// Which messages tell of what, where a transport has messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vectors {
    pub config: u16,
    pub queues: Vec<u16>,
}

impl Vectors {
    fn none(queues: usize) -> Vectors {
        Vectors { config: NO_VECTOR, queues: vec![NO_VECTOR; queues] }
    }
}

/// What of it is saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub status: u8,
    pub device_features_select: u32,
    pub driver_features_select: u32,
    pub driver_features: u64,
    pub queue_select: u16,
    pub queues: Vec<(Setup, Position)>,
    pub generation: u32,
    pub interrupt: u8,
    /// A reset was asked for and is not done.
    pub resetting: bool,
}

impl Common {
    /// As after power-on.
    pub fn new(mut identity: Identity) -> Self {
        identity.queues.truncate(MAX_QUEUES);
        let config = identity.config.clone();
        let vectors = Vectors::none(identity.queues.len());
        let mut common = Common {
            identity,
            state: State::default(),
            config,
            answer: None,
            rung: 0,
            wrote: false,
            writes: Vec::new(),
            told: false,
            heard: false,
            forget: false,
            closing: 0,
            resetting_queues: 0,
            opened: 0,
            reaches_memory: true,
            messages: false,
            vectors,
        };
        common.clear();
        common
    }

    /// The same with a configuration space that answers.
    pub fn answering(mut self, answer: Option<Answer>) -> Self {
        self.answer = answer;
        self
    }

    fn clear(&mut self) {
        let queue = |&size: &u16| (Setup { size, ..Setup::default() }, Position::default());
        let queues = self.identity.queues.iter().map(queue).collect();
        // The generation goes on, so that no driver mistakes one configuration for another.
        let generation = self.state.generation;
        self.state = State { queues, generation, ..State::default() };
        self.vectors = Vectors::none(self.identity.queues.len());
        self.forget_news();
    }

    fn forget_news(&mut self) {
        self.forget |= self.heard;
        (self.rung, self.wrote, self.told) = (0, false, false);
        self.writes.clear();
        (self.closing, self.resetting_queues, self.opened) = (0, 0, 0);
    }

    /// Whether a feature is agreed on.
    fn has(&self, feature: u64) -> bool {
        self.state.status & status::FEATURES_OK != 0 && self.state.driver_features & feature != 0
    }

    /// Back to power-on.
    pub fn power_on(&mut self) {
        self.config.clone_from(&self.identity.config);
        self.clear();
    }

    /// What it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the driver drives, by its own word.
    pub fn live(&self) -> bool {
        self.state.status & status::DRIVER_OK != 0 && !self.state.resetting
    }

    /// The status as the driver reads it.
    pub fn status(&self) -> u8 {
        self.state.status
    }

    /// The driver writes the status.
    pub fn set_status(&mut self, value: u8) {
        let state = &mut self.state;
        if value == 0 {
            // Whoever is at work on the queues must have stopped before the driver may believe that.
            if state.status & status::DRIVER_OK != 0 || state.resetting {
                state.resetting = true;
            } else {
                self.clear();
            }
            return;
        }
        if state.resetting {
            return;
        }
        let mut value = value & !status::NEEDS_RESET | state.status & status::NEEDS_RESET;
        if value & status::FEATURES_OK != 0 && state.status & status::FEATURES_OK == 0 {
            let agreed = state.driver_features & !self.identity.features == 0
                && state.driver_features & feature::VERSION_1 != 0;
            if !agreed {
                value &= !status::FEATURES_OK;
            }
        }
        // Nobody drives a device on whose features they have not agreed (section 3.1.1).
        if value & status::FEATURES_OK == 0 {
            value &= !status::DRIVER_OK;
        }
        // What a driver has said it cannot take back but by a reset (section 2.1.1).
        state.status |= value;
    }

    /// The offered features that are selected.
    pub fn device_features(&self) -> u32 {
        match self.state.device_features_select {
            0 => self.identity.features as u32,
            1 => (self.identity.features >> 32) as u32,
            _ => 0,
        }
    }

    /// The selected features as the driver has taken them.
    pub fn driver_features(&self) -> u32 {
        match self.state.driver_features_select {
            0 => self.state.driver_features as u32,
            1 => (self.state.driver_features >> 32) as u32,
            _ => 0,
        }
    }

    /// The driver takes those of the selected features.
    pub fn set_driver_features(&mut self, value: u32) {
        let state = &mut self.state;
        if state.status & status::FEATURES_OK != 0 {
            return;
        }
        let (features, value) = (state.driver_features, u64::from(value));
        match state.driver_features_select {
            0 => state.driver_features = features & !0xffff_ffff | value,
            1 => state.driver_features = features & 0xffff_ffff | value << 32,
            // A bit that nobody can offer is one too many.
            _ if value != 0 => state.driver_features |= !self.identity.features,
            _ => {}
        }
    }

    /// The selected queue as set up, and the most that it can hold.
    pub fn queue(&self) -> Option<(&Setup, u16)> {
        let at = usize::from(self.state.queue_select);
        Some((&self.state.queues.get(at)?.0, *self.identity.queues.get(at)?))
    }

    /// Sets the selected queue up, unless the device may be using it.
    pub fn set_queue(&mut self, f: impl FnOnce(&mut Setup)) {
        let at = usize::from(self.state.queue_select);
        let most = self.identity.queues.get(at).copied().unwrap_or_default();
        if let Some((setup, _)) = self.state.queues.get_mut(at)
            && !setup.ready
        {
            f(setup);
            setup.size = setup.size.min(most);
        }
    }

    /// The driver lets the device use the selected queue, or takes it back. Once it drives, it can only take back (section
    /// 4.2.2.2), and waits until the device has let go.
    pub fn queue_ready(&mut self, ready: bool) {
        let at = usize::from(self.state.queue_select);
        let settled = self.state.status & status::DRIVER_OK != 0;
        match self.state.queues.get_mut(at) {
            Some((setup, position)) if !settled => {
                (setup.ready, *position) = (ready, Position::default());
            }
            Some((setup, _)) if setup.ready && !ready => self.closing |= 1 << at,
            _ => {}
        }
    }

    /// The driver lets the device use the selected queue, over a transport on which it takes queues back by resetting them
    /// only, after which it can hand them over again (sections 2.6.1 and 4.1.4.3).
    pub fn enable_queue(&mut self) {
        if self.state.status & status::DRIVER_OK == 0 {
            return self.queue_ready(true);
        }
        let at = usize::from(self.state.queue_select);
        let again = self.has(feature::RING_RESET) && !self.state.resetting;
        if let Some((setup, position)) = self.state.queues.get_mut(at)
            && again
            && !setup.ready
        {
            (setup.ready, *position) = (true, Position::default());
            self.opened |= u64::from(self.told) << at;
        }
    }

    /// The driver resets the selected queue, and waits until the device has let go.
    pub fn reset_queue(&mut self) {
        let at = usize::from(self.state.queue_select);
        let Some((setup, _)) = self.state.queues.get(at) else { return };
        if !self.has(feature::RING_RESET) || self.state.resetting {
            return;
        }
        if self.live() && setup.ready {
            self.closing |= 1 << at;
            self.resetting_queues |= 1 << at;
        } else {
            self.clear_queue(at);
        }
    }

    /// Whether the reset of the selected queue is not done.
    pub fn queue_resets(&self) -> bool {
        let at = u32::from(self.state.queue_select);
        self.resetting_queues.checked_shr(at).unwrap_or(0) & 1 != 0
    }

    fn clear_queue(&mut self, at: usize) {
        let size = self.identity.queues.get(at).copied().unwrap_or_default();
        if let Some(queue) = self.state.queues.get_mut(at) {
            *queue = (Setup { size, ..Setup::default() }, Position::default());
        }
        if let Some(vector) = self.vectors.queues.get_mut(at) {
            *vector = NO_VECTOR;
        }
        self.opened &= !(1 << at);
    }

    /// The device may reach memory, or no longer.
    pub fn set_reaches_memory(&mut self, reaches: bool) {
        self.reaches_memory = reaches;
    }

    /// The driver rings for a queue.
    pub fn ring(&mut self, queue: u32) {
        if (queue as usize) < self.state.queues.len() {
            self.rung |= 1 << queue;
        }
    }

    /// Reads the configuration space, little-endian; nothing behind its end.
    pub fn read_config(&self, offset: u64, size: u8) -> u64 {
        let byte = |n: u64| {
            let at = usize::try_from(offset.checked_add(n)?).ok()?;
            self.config.get(at).map(|&byte| u64::from(byte) << (8 * n))
        };
        (0..u64::from(size)).filter_map(byte).sum()
    }

    /// The driver writes to it.
    pub fn write_config(&mut self, offset: u64, size: u8, value: u64) {
        let mut written: Option<Written> = None;
        for n in 0..u64::from(size) {
            let at = offset.checked_add(n).and_then(|at| usize::try_from(at).ok());
            let Some(at) = at else { break };
            let mask = self.identity.writable.get(at).copied().unwrap_or_default();
            if let Some(byte) = self.config.get_mut(at).filter(|_| mask != 0) {
                *byte = *byte & !mask | (value >> (8 * n)) as u8 & mask;
                written.get_or_insert(Written { offset: at, bytes: Vec::new() }).bytes.push(*byte);
            }
        }
        self.wrote |= written.is_some();
        let room = MOST_WRITES.saturating_sub(self.writes.len());
        self.writes.extend(written.into_iter().take(room));
        if let Some(Answer(answer)) = self.answer {
            answer(&mut self.config);
        }
    }

    /// The device itself changes the configuration; true if the driver is to be told.
    pub fn change_config(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.config.get_mut(offset..offset.saturating_add(bytes.len())) else {
            return false;
        };
        place.copy_from_slice(bytes);
        self.state.generation = self.state.generation.wrapping_add(1);
        self.raise(ISR_CONFIG)
    }

    fn raise(&mut self, bit: u8) -> bool {
        if self.live() && !(self.messages && bit == ISR_QUEUE) {
            self.state.interrupt |= bit;
        }
        self.live()
    }

    /// Something was given back on a queue; true if the driver is there to be told.
    pub fn raise_queue(&mut self) -> bool {
        self.raise(ISR_QUEUE)
    }

    /// The device cannot go on; true if the driver is there to be told.
    pub fn needs_reset(&mut self) -> bool {
        if !self.live() {
            return false;
        }
        self.state.status |= status::NEEDS_RESET;
        self.raise(ISR_CONFIG)
    }

    /// Whether the attendant is to hear of a start. What has asked for a reset does not start before that.
    fn begins(&self) -> bool {
        self.live() && !self.told && self.reaches_memory && self.state.status & status::NEEDS_RESET == 0
    }

    /// Whether it is to hear that it has no memory any more.
    fn pauses(&self) -> bool {
        self.told && !self.reaches_memory
    }

    /// Whether there are any [`News`].
    pub fn has_news(&self) -> bool {
        let begun = self.begins();
        let busy = self.live() && (self.rung | self.closing | self.opened) != 0;
        self.forget || self.state.resetting || begun || self.wrote || busy || self.pauses()
    }

    /// Whether the driver waits for whoever takes them.
    pub fn urgent(&self) -> bool {
        self.forget || self.state.resetting || self.pauses() || (self.live() && self.closing != 0)
    }

    /// Takes them.
    pub fn news(&mut self) -> News {
        let reset = self.state.resetting || std::mem::take(&mut self.forget);
        self.heard &= !reset;
        let mut news = News { reset, paused: self.pauses(), ..News::default() };
        if std::mem::take(&mut self.wrote) {
            news.config = Some(self.config.clone());
            news.writes = std::mem::take(&mut self.writes);
        }
        if self.live() {
            (news.rung, news.closed) = (std::mem::take(&mut self.rung), self.closing);
            let opened = std::mem::take(&mut self.opened);
            let all = self.state.queues.iter().enumerate().filter(|(at, _)| opened >> at & 1 != 0);
            news.opened = all.map(|(at, (setup, _))| (at, *setup)).collect();
        }
        if self.begins() {
            (self.told, self.heard) = (true, true);
            news.config = Some(self.config.clone());
            news.started = Some((self.state.driver_features, self.state.queues.clone()));
        }
        news
    }

    /// The attendant has stopped, and is to hear of the start again.
    pub fn forget(&mut self) {
        self.told = false;
    }

    /// Nothing touches the driver's memory any more: the reset that it asked for is done.
    pub fn reset_done(&mut self) {
        if self.state.resetting {
            self.clear();
            self.forget = false;
        }
    }

    /// Nothing touches these queues any more: the driver has them back.
    pub fn close_done(&mut self, closed: u64) {
        for (at, (setup, _)) in self.state.queues.iter_mut().enumerate() {
            setup.ready &= closed >> at & 1 == 0;
        }
        let reset = closed & self.resetting_queues;
        (0..MAX_QUEUES).filter(|at| reset >> at & 1 != 0).for_each(|at| self.clear_queue(at));
        self.closing &= !closed;
        self.resetting_queues &= !closed;
    }

    /// The device has come this far in a queue.
    pub fn came_to(&mut self, queue: usize, to: Position) {
        if let Some((_, position)) = self.state.queues.get_mut(queue).filter(|_| self.told) {
            *position = to;
        }
    }

    /// Its state and its configuration, to be saved.
    pub fn save(&self) -> (State, Vec<u8>) {
        (self.state.clone(), self.config.clone())
    }

    /// Takes them back; false if no device of this identity is in that state. The attendant starts anew.
    pub fn restore(&mut self, state: State, config: Vec<u8>) -> bool {
        let State { queues, driver_features, status, resetting, interrupt, .. } = &state;
        let sizes = queues.iter().zip(&self.identity.queues).all(|((setup, _), most)| setup.size <= *most);
        let agreed = status & status::FEATURES_OK == 0 || driver_features & !self.identity.features == 0;
        let driven = status & status::DRIVER_OK == 0 || status & status::FEATURES_OK != 0;
        let sound = queues.len() == self.identity.queues.len()
            && config.len() == self.config.len()
            && *interrupt <= ISR_QUEUE | ISR_CONFIG
            && (!resetting || status & status::DRIVER_OK != 0);
        if !(sizes && agreed && driven && sound) {
            return false;
        }
        (self.state, self.config) = (state, config);
        // Whoever rang then has been lost: the attendant looks at every queue when it starts.
        self.forget_news();
        true
    }
}
