//! SiFive UART, as in the FU540-C000.
//!
//! Source: SiFive FU540-C000 Manual v1p5, chapter 13 "Universal Asynchronous Receiver/Transmitter";
//! sections are cited below. Where it is silent (the value of `ip` between its two conditions, the
//! shift register behind the transmit FIFO) this is as SiFive's published RTL (sifive-blocks,
//! `UART.scala`, `UARTTx.scala`, `UARTRx.scala`).
//!
//! How long a character takes is the machine's choice ([`Pace`]). At the line's pace it is on the line
//! for 10 or 11 bit times of `div + 1` cycles, in both directions. Without, it is gone or there at once.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;
use std::collections::VecDeque;

// ---- registers ----

registers! {
    /// Offsets from the base address (13.3).
    pub enum Reg {
        0x00 TxData RW { data: 7..0, full: 31..31 }
        0x04 RxData RO { data: 7..0, empty: 31..31 }
        0x08 TxCtrl RW { txen: 0..0, nstop: 1..1, txcnt: 18..16 }
        0x0c RxCtrl RW { rxen: 0..0, rxcnt: 18..16 }
        0x10 Ie RW { txwm: 0..0, rxwm: 1..1 }
        0x14 Ip RO { txwm: 0..0, rxwm: 1..1 }
        0x18 Div RW { div: 19..0 }
    }
}

/// Characters each FIFO holds (13.2).
const DEPTH: usize = 8;
/// `div` after reset (13.2, `div_init`).
const DIV_INIT: u32 = 289;
/// Start bit, data bits and the first stop bit of a character (13.1: 8-N-1).
const BITS: u64 = 10;
/// Characters that wait for the host side.
const OUTGOING: usize = 64 * 1024;
/// A baud rate that everybody knows.
const BAUD: u32 = 115_200;

/// How long a character is on the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// No time.
    #[default]
    None,
    /// As many bit times as it has bits, each of `div + 1` cycles of an input clock of so many Hz (13.9).
    Line(u32),
}

// ---- state ----

/// A character on its way out, and when its last stop bit ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shifting {
    byte: u8,
    until: Nanos,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    tx: VecDeque<u8>,
    rx: VecDeque<u8>,
    /// The transmitter's shift register.
    shifting: Option<Shifting>,
    /// What the line's other end is sending, as it has been told that there is room; and when the first
    /// of it has arrived, while the receiver listens.
    arriving: VecDeque<u8>,
    arrives: Option<Nanos>,
    out: Vec<u8>,
    txctrl: u32,
    rxctrl: u32,
    ie: u32,
    div: u32,
}

impl State {
    fn reset() -> Self {
        State {
            tx: VecDeque::with_capacity(DEPTH),
            rx: VecDeque::with_capacity(DEPTH),
            shifting: None,
            arriving: VecDeque::new(),
            arrives: None,
            out: Vec::new(),
            txctrl: 0,
            rxctrl: 0,
            ie: 0,
            div: DIV_INIT,
        }
    }

    /// Pending interrupts (13.8): fewer characters to send than the watermark, more received than it.
    fn ip(&self) -> u64 {
        let mut ip = 0;
        if (self.tx.len() as u64) < TxCtrl::txcnt(u64::from(self.txctrl)) {
            ip |= Ip::mask::txwm;
        }
        if self.rx.len() as u64 > RxCtrl::rxcnt(u64::from(self.rxctrl)) {
            ip |= Ip::mask::rxwm;
        }
        ip
    }

    fn transmits(&self) -> bool {
        TxCtrl::txen(u64::from(self.txctrl)) != 0
    }

    fn listens(&self) -> bool {
        RxCtrl::rxen(u64::from(self.rxctrl)) != 0
    }

    /// How long a character is on the line; 0 where that takes no time. The other end sends as many stop
    /// bits as this one.
    fn frame(&self, pace: Pace) -> Nanos {
        let Pace::Line(hz) = pace else { return 0 };
        let cycles = (BITS + TxCtrl::nstop(u64::from(self.txctrl))) * (u64::from(self.div) + 1);
        // At most 11 times 2^20 cycles, so no overflow.
        (cycles * 1_000_000_000).div_ceil(u64::from(hz.max(1))).max(1)
    }

    fn room_outside(&self) -> bool {
        self.out.len() < OUTGOING
    }

    /// Does all that has happened on the line until `now`.
    fn advance(&mut self, pace: Pace, now: Nanos) {
        self.send(pace, now);
        self.receive(pace, now);
    }

    /// Moves characters out: from the FIFO to the shift register while the transmitter is on (13.6), from
    /// there to the outgoing buffer when their time is over and as far as there is room.
    fn send(&mut self, pace: Pace, now: Nanos) {
        let frame = self.frame(pace);
        // When the shift register became free; the next character follows without a pause.
        let mut free = now;
        while self.room_outside() {
            match self.shifting {
                Some(Shifting { until, .. }) if until > now => return,
                Some(Shifting { byte, until }) => {
                    self.out.push(byte);
                    (self.shifting, free) = (None, until);
                }
                None if !self.transmits() => return,
                None => {
                    let Some(byte) = self.tx.pop_front() else { return };
                    if frame == 0 {
                        self.out.push(byte);
                    } else {
                        self.shifting = Some(Shifting { byte, until: free.saturating_add(frame) });
                    }
                }
            }
        }
    }

    /// Takes what has arrived by `now`. While the receiver is off the other end waits (13.7: it would be
    /// ignored).
    fn receive(&mut self, pace: Pace, now: Nanos) {
        if !self.listens() {
            self.arrives = None;
            return;
        }
        let frame = self.frame(pace);
        let mut at = self.arrives.take().unwrap_or(now.saturating_add(frame));
        while at <= now {
            let Some(byte) = self.arriving.pop_front() else { return };
            self.rx.push_back(byte);
            at = at.saturating_add(frame);
        }
        self.arrives = (!self.arriving.is_empty()).then_some(at);
    }
}

/// The UART.
#[derive(Debug)]
pub struct SifiveUart {
    pace: Pace,
    state: State,
    /// The host side had more characters than fitted. Not the guest's business, so not saved.
    refused: bool,
}

impl Default for SifiveUart {
    fn default() -> Self {
        SifiveUart::new(Pace::None)
    }
}

// ---- host side ----

impl SifiveUart {
    /// A UART after reset.
    pub fn new(pace: Pace) -> Self {
        SifiveUart { pace, state: State::reset(), refused: false }
    }

    /// Turns both directions on at 115200 baud of an input clock of `clock_hz`, as firmware does that
    /// uses the UART.
    pub fn turn_on(&mut self, clock_hz: u32, now: Nanos) {
        let s = &mut self.state;
        s.txctrl |= TxCtrl::mask::txen as u32;
        s.rxctrl |= RxCtrl::mask::rxen as u32;
        s.div = clock_hz.div_ceil(BAUD).saturating_sub(1).min(Div::FIELDS as u32);
        s.advance(self.pace, now);
    }

    /// How many characters [`SifiveUart::feed`] would take now. None while the receiver is off: it
    /// ignores the line then (13.7), and the line's other end waits.
    pub fn room(&self) -> usize {
        let s = &self.state;
        if s.listens() { DEPTH.saturating_sub(s.rx.len() + s.arriving.len()) } else { 0 }
    }

    /// Has the line's other end send characters, as many as the FIFO has room for, one after the other;
    /// returns how many it takes. None of these can be lost.
    pub fn feed(&mut self, bytes: &[u8], now: Nanos) -> usize {
        self.state.advance(self.pace, now);
        let n = self.room().min(bytes.len());
        self.state.arriving.extend(bytes.iter().take(n));
        self.refused = n < bytes.len();
        self.state.receive(self.pace, now);
        n
    }

    /// A character arrives whose sender did not ask whether there is room. The receiver drops it if its
    /// FIFO is full, and ignores it while it is off (13.5, 13.7).
    pub fn arrive(&mut self, byte: u8, now: Nanos) {
        let s = &mut self.state;
        s.advance(self.pace, now);
        // Room that was promised to others is theirs.
        if s.listens() && s.rx.len() + s.arriving.len() < DEPTH {
            s.rx.push_back(byte);
        }
    }

    /// A break on the line: with no detector for it (13.1), and as stop bits are not checked, the receiver
    /// takes it for a character of zeros.
    pub fn send_break(&mut self, now: Nanos) {
        self.arrive(0, now);
    }

    /// Puts text on the line as if the guest had sent it (firmware that shares the UART does so);
    /// returns how much found room.
    pub fn print(&mut self, text: &[u8]) -> usize {
        let n = text.len().min(OUTGOING.saturating_sub(self.state.out.len()));
        self.state.out.extend(text.iter().take(n));
        n
    }

    /// Takes a received character as if the guest had read it.
    pub fn take(&mut self, now: Nanos) -> Option<u8> {
        self.state.advance(self.pace, now);
        self.state.rx.pop_front()
    }

    /// The machine ends: what the guest has given the transmitter goes out, as the power does not fail at once.
    pub fn finish(&mut self) {
        let s = &mut self.state;
        let last = s.shifting.take().map(|shifting| shifting.byte);
        let waiting = s.tx.drain(..).filter(|_| TxCtrl::txen(u64::from(s.txctrl)) != 0);
        s.out.extend(last.into_iter().chain(waiting).take(OUTGOING.saturating_sub(s.out.len())));
    }

    /// Appends to `into` what the guest has sent.
    pub fn drain(&mut self, into: &mut Vec<u8>, now: Nanos) {
        self.state.send(self.pace, now);
        while !self.state.out.is_empty() {
            into.append(&mut self.state.out);
            self.state.send(self.pace, now);
        }
    }
}

impl Device for SifiveUart {
    const NAME: &'static str = "sifive-uart";
    const VERSION: u32 = 2;
    type Saved = saved::SifiveUartV2;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        if size != 4 {
            return Err(NoRegister);
        }
        let s = &mut self.state;
        s.advance(self.pace, now);
        Ok(match Reg::at(offset).ok_or(NoRegister)? {
            Reg::TxData if s.tx.len() >= DEPTH => TxData::mask::full,
            Reg::TxData => 0,
            Reg::RxData => s.rx.pop_front().map_or(RxData::mask::empty, u64::from),
            Reg::TxCtrl => u64::from(s.txctrl),
            Reg::RxCtrl => u64::from(s.rxctrl),
            Reg::Ie => u64::from(s.ie),
            Reg::Ip => s.ip(),
            Reg::Div => u64::from(s.div),
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        if size != 4 {
            return Err(NoRegister);
        }
        let s = &mut self.state;
        s.advance(self.pace, now);
        match Reg::at(offset).ok_or(NoRegister)? {
            Reg::TxData if s.tx.len() < DEPTH => s.tx.push_back(TxData::data(value) as u8),
            Reg::TxCtrl => s.txctrl = (value & TxCtrl::FIELDS) as u32,
            Reg::RxCtrl => s.rxctrl = (value & RxCtrl::FIELDS) as u32,
            Reg::Ie => s.ie = (value & Ie::FIELDS) as u32,
            Reg::Div => s.div = (value & Div::FIELDS) as u32,
            // A full FIFO ignores writes (13.4), rxdata does always (13.5), ip is read-only (13.8).
            Reg::TxData | Reg::RxData | Reg::Ip => {}
        }
        s.advance(self.pace, now);
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.ip() & u64::from(self.state.ie) != 0)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn deadline(&self, _now: Nanos) -> Option<Nanos> {
        let s = &self.state;
        // A full outgoing buffer holds the transmitter until it is fetched.
        let sent = s.shifting.filter(|_| s.room_outside()).map(|shifting| shifting.until);
        [sent, s.arrives].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Nanos) {
        self.state.advance(self.pace, now);
    }

    fn wants_host(&self) -> bool {
        !self.state.out.is_empty()
    }

    fn takes_more(&self) -> bool {
        // Half a FIFO at least, so that the host side is not woken for every character.
        self.refused && self.room() * 2 >= DEPTH
    }

    fn reset(&mut self, _now: Nanos) {
        // What was sent has left the chip; what the other end has begun to send it sends again.
        let old = std::mem::replace(&mut self.state, State::reset());
        (self.state.out, self.state.arriving) = (old.out, old.arriving);
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        self.state = saved::into_state(saved).ok_or(RestoreError::Damaged { device: Self::NAME })?;
        self.refused = true;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{DEPTH, Div, Ie, OUTGOING, RxCtrl, Shifting, State, TxCtrl};
    use serde::{Deserialize, Serialize};

    /// Version 2; fields are numbered by their order. Version 1 had nothing that takes time.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(missing_docs, reason = "the fields are those of the state")]
    pub struct SifiveUartV2 {
        pub tx: Vec<u8>,
        pub rx: Vec<u8>,
        /// The character being sent, and the guest time at which it is.
        pub shifting: Option<(u8, u64)>,
        /// What the other end is sending, and the guest time at which the first of it is received.
        pub arriving: Vec<u8>,
        pub arrives: Option<u64>,
        /// Sent and not yet fetched by the host side.
        pub out: Vec<u8>,
        pub txctrl: u32,
        pub rxctrl: u32,
        pub ie: u32,
        pub div: u32,
    }

    pub(super) fn from_state(state: &State) -> SifiveUartV2 {
        let State { tx, rx, shifting, arriving, arrives, out, txctrl, rxctrl, ie, div } = state;
        SifiveUartV2 {
            tx: tx.iter().copied().collect(),
            rx: rx.iter().copied().collect(),
            shifting: shifting.map(|Shifting { byte, until }| (byte, until)),
            arriving: arriving.iter().copied().collect(),
            arrives: *arrives,
            out: out.clone(),
            txctrl: *txctrl,
            rxctrl: *rxctrl,
            ie: *ie,
            div: *div,
        }
    }

    /// `None` if the chip could not be in such a state.
    pub(super) fn into_state(saved: SifiveUartV2) -> Option<State> {
        let SifiveUartV2 { tx, rx, shifting, arriving, arrives, out, txctrl, rxctrl, ie, div } = saved;
        let fits = tx.len() <= DEPTH && rx.len() + arriving.len() <= DEPTH && out.len() <= OUTGOING;
        let foreign = u64::from(txctrl) & !TxCtrl::FIELDS
            | u64::from(rxctrl) & !RxCtrl::FIELDS
            | u64::from(ie) & !Ie::FIELDS
            | u64::from(div) & !Div::FIELDS;
        let listens = RxCtrl::rxen(u64::from(rxctrl)) != 0;
        let timed = arrives.is_some() == (listens && !arriving.is_empty());
        let shifting = shifting.map(|(byte, until)| Shifting { byte, until });
        (fits && foreign == 0 && timed).then(|| State {
            tx: tx.into(),
            rx: rx.into(),
            shifting,
            arriving: arriving.into(),
            arrives,
            out,
            txctrl,
            rxctrl,
            ie,
            div,
        })
    }
}

#[cfg(test)]
#[path = "sifive_test.rs"]
mod tests;
