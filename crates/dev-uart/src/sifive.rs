//! SiFive UART, as in the FU540-C000.
//!
//! Source: SiFive FU540-C000 Manual v1p5, chapter 13 "Universal Asynchronous Receiver/Transmitter";
//! sections are cited below. Where it is silent (the value of `ip` between its two conditions) the
//! bits are the plain comparison, as in SiFive's published RTL (sifive-blocks, `UART.scala`).
//!
//! Transmission takes no guest time: with the transmitter on, a character goes through the FIFO to
//! the outgoing buffer at once, and stays in the FIFO only while that buffer is full. `div` and
//! `nstop` are kept and have no effect: timing by the divisor is not modelled yet.

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
/// Characters that wait for the host side.
const OUTGOING: usize = 64 * 1024;

// ---- state ----

#[derive(Clone, Debug, PartialEq)]
struct State {
    tx: VecDeque<u8>,
    rx: VecDeque<u8>,
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

    /// Moves characters to the outgoing buffer, if the transmitter is on (13.6) and as far as there
    /// is room.
    fn send(&mut self) {
        if TxCtrl::txen(u64::from(self.txctrl)) != 0 {
            let n = self.tx.len().min(OUTGOING.saturating_sub(self.out.len()));
            self.out.extend(self.tx.drain(..n));
        }
    }
}

/// The UART.
#[derive(Debug)]
pub struct SifiveUart {
    state: State,
    /// The host side had more characters than fitted. Not the guest's business, so not saved.
    refused: bool,
}

impl Default for SifiveUart {
    fn default() -> Self {
        SifiveUart { state: State::reset(), refused: false }
    }
}

// ---- host side ----

impl SifiveUart {
    /// A UART after reset.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many characters [`SifiveUart::feed`] would take now. None while the receiver is off: it
    /// ignores the line then (13.7), and the line's other end waits.
    pub fn room(&self) -> usize {
        let on = RxCtrl::rxen(u64::from(self.state.rxctrl)) != 0;
        if on { DEPTH.saturating_sub(self.state.rx.len()) } else { 0 }
    }

    /// Gives the receiver characters from the line; returns how many it took.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let n = self.room().min(bytes.len());
        self.state.rx.extend(bytes.iter().take(n));
        self.refused = n < bytes.len();
        n
    }

    /// Puts text on the line as if the guest had sent it (firmware that shares the UART does so);
    /// returns how much found room.
    pub fn print(&mut self, text: &[u8]) -> usize {
        let n = text.len().min(OUTGOING.saturating_sub(self.state.out.len()));
        self.state.out.extend(text.iter().take(n));
        n
    }

    /// Takes a received character as if the guest had read it.
    pub fn take(&mut self) -> Option<u8> {
        self.state.rx.pop_front()
    }

    /// Appends to `into` what the guest has sent.
    pub fn drain(&mut self, into: &mut Vec<u8>) {
        while !self.state.out.is_empty() {
            into.append(&mut self.state.out);
            self.state.send();
        }
    }
}

impl Device for SifiveUart {
    const NAME: &'static str = "sifive-uart";
    const VERSION: u32 = 1;
    type Saved = saved::SifiveUartV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if size != 4 {
            return Err(NoRegister);
        }
        let s = &mut self.state;
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

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if size != 4 {
            return Err(NoRegister);
        }
        let s = &mut self.state;
        match Reg::at(offset).ok_or(NoRegister)? {
            Reg::TxData if s.tx.len() < DEPTH => s.tx.push_back(TxData::data(value) as u8),
            Reg::TxCtrl => s.txctrl = (value & TxCtrl::FIELDS) as u32,
            Reg::RxCtrl => s.rxctrl = (value & RxCtrl::FIELDS) as u32,
            Reg::Ie => s.ie = (value & Ie::FIELDS) as u32,
            Reg::Div => s.div = (value & Div::FIELDS) as u32,
            // A full FIFO ignores writes (13.4), rxdata does always (13.5), ip is read-only (13.8).
            Reg::TxData | Reg::RxData | Reg::Ip => {}
        }
        s.send();
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.ip() & u64::from(self.state.ie) != 0)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn wants_host(&self) -> bool {
        !self.state.out.is_empty()
    }

    fn takes_more(&self) -> bool {
        // Half a FIFO at least, so that the host side is not woken for every character.
        self.refused && self.room() * 2 >= DEPTH
    }

    fn reset(&mut self, _now: Nanos) {
        // What was sent has left the chip.
        let out = std::mem::take(&mut self.state.out);
        self.state = State { out, ..State::reset() };
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
    use super::{DEPTH, Div, Ie, OUTGOING, RxCtrl, State, TxCtrl};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(missing_docs, reason = "the fields are those of the state")]
    pub struct SifiveUartV1 {
        pub tx: Vec<u8>,
        pub rx: Vec<u8>,
        /// Sent and not yet fetched by the host side.
        pub out: Vec<u8>,
        pub txctrl: u32,
        pub rxctrl: u32,
        pub ie: u32,
        pub div: u32,
    }

    pub(super) fn from_state(state: &State) -> SifiveUartV1 {
        let State { tx, rx, out, txctrl, rxctrl, ie, div } = state;
        SifiveUartV1 {
            tx: tx.iter().copied().collect(),
            rx: rx.iter().copied().collect(),
            out: out.clone(),
            txctrl: *txctrl,
            rxctrl: *rxctrl,
            ie: *ie,
            div: *div,
        }
    }

    /// `None` if the chip could not be in such a state.
    pub(super) fn into_state(saved: SifiveUartV1) -> Option<State> {
        let SifiveUartV1 { tx, rx, out, txctrl, rxctrl, ie, div } = saved;
        let fits = tx.len() <= DEPTH && rx.len() <= DEPTH && out.len() <= OUTGOING;
        let foreign = u64::from(txctrl) & !TxCtrl::FIELDS
            | u64::from(rxctrl) & !RxCtrl::FIELDS
            | u64::from(ie) & !Ie::FIELDS
            | u64::from(div) & !Div::FIELDS;
        (fits && foreign == 0).then(|| State { tx: tx.into(), rx: rx.into(), out, txctrl, rxctrl, ie, div })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(d: &mut SifiveUart, register: Reg) -> u64 {
        d.read(register as u64, 4, 0).unwrap()
    }

    fn w(d: &mut SifiveUart, register: Reg, value: u64) {
        d.write(register as u64, 4, value, 0).unwrap();
    }

    fn sent(d: &mut SifiveUart) -> Vec<u8> {
        let mut bytes = Vec::new();
        d.drain(&mut bytes);
        bytes
    }

    #[test]
    fn after_reset_all_is_off_and_the_divisor_is_for_115200_baud() {
        let mut d = SifiveUart::new();
        for register in [Reg::TxData, Reg::TxCtrl, Reg::RxCtrl, Reg::Ie, Reg::Ip] {
            assert_eq!(r(&mut d, register), 0, "{register:?}");
        }
        assert_eq!(r(&mut d, Reg::RxData), 1 << 31);
        assert_eq!(r(&mut d, Reg::Div), 289);
        assert_eq!(d.feed(b"x"), 0, "the receiver is off");
    }

    #[test]
    fn only_fields_are_kept() {
        let mut d = SifiveUart::new();
        for register in [Reg::TxCtrl, Reg::RxCtrl, Reg::Ie, Reg::Ip, Reg::Div] {
            w(&mut d, register, 0xffff_ffff);
        }
        assert_eq!(r(&mut d, Reg::TxCtrl), 0x7_0003);
        assert_eq!(r(&mut d, Reg::RxCtrl), 0x7_0001);
        assert_eq!(r(&mut d, Reg::Ie), 3);
        assert_eq!(r(&mut d, Reg::Div), 0xf_ffff);
    }

    #[test]
    fn the_transmitter_holds_eight_while_off_and_ignores_more() {
        let mut d = SifiveUart::new();
        for n in 0..8 {
            assert_eq!(r(&mut d, Reg::TxData), 0);
            w(&mut d, Reg::TxData, 0x100 + n);
        }
        assert_eq!(r(&mut d, Reg::TxData), 1 << 31);
        w(&mut d, Reg::TxData, 99);
        assert!(sent(&mut d).is_empty());
        w(&mut d, Reg::TxCtrl, 1);
        assert_eq!(sent(&mut d), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(r(&mut d, Reg::TxData), 0);
    }

    #[test]
    fn a_host_that_does_not_drain_holds_the_transmitter() {
        let mut d = SifiveUart::new();
        w(&mut d, Reg::TxCtrl, 1);
        for _ in 0..OUTGOING {
            w(&mut d, Reg::TxData, 1);
        }
        for _ in 0..DEPTH {
            assert_eq!(r(&mut d, Reg::TxData), 0);
            w(&mut d, Reg::TxData, 2);
        }
        assert_eq!(r(&mut d, Reg::TxData), 1 << 31);
        assert_eq!(sent(&mut d).len(), OUTGOING + DEPTH);
        assert_eq!(r(&mut d, Reg::TxData), 0);
    }

    #[test]
    fn the_receiver_gives_characters_in_order_and_then_empty() {
        let mut d = SifiveUart::new();
        w(&mut d, Reg::RxCtrl, 1);
        assert_eq!(d.feed(b"0123456789"), 8);
        assert!(!d.takes_more());
        for byte in *b"01234567" {
            assert_eq!(r(&mut d, Reg::RxData), u64::from(byte));
        }
        assert_eq!(r(&mut d, Reg::RxData), 1 << 31);
        assert!(d.takes_more());
        w(&mut d, Reg::RxData, 5);
        assert_eq!(r(&mut d, Reg::RxData), 1 << 31, "writes are ignored");
    }

    #[test]
    fn the_receive_watermark_is_strictly_exceeded() {
        let mut d = SifiveUart::new();
        w(&mut d, Reg::RxCtrl, 3 << 16 | 1);
        w(&mut d, Reg::Ie, 2);
        d.feed(b"abc");
        assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (0, 0));
        d.feed(b"d");
        assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (2, 1));
        r(&mut d, Reg::RxData);
        assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (0, 0));
    }

    #[test]
    fn the_transmit_watermark_is_strictly_undercut_and_needs_its_enable() {
        let mut d = SifiveUart::new();
        w(&mut d, Reg::TxCtrl, 2 << 16);
        assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (1, 0));
        w(&mut d, Reg::Ie, 1);
        w(&mut d, Reg::TxData, 1);
        assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (1, 1));
        w(&mut d, Reg::TxData, 2);
        assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (0, 0));
        w(&mut d, Reg::TxCtrl, 2 << 16 | 1);
        assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (1, 1));
    }

    #[test]
    fn only_words_at_registers_are_answered() {
        let mut d = SifiveUart::new();
        for offset in 0..0x40 {
            let known = Reg::ALL.iter().any(|row| row.offset == offset);
            assert_eq!(d.read(offset, 4, 0).is_ok(), known, "{offset:#x}");
            for size in [1, 2, 8] {
                assert_eq!(d.read(offset, size, 0), Err(NoRegister));
                assert_eq!(d.write(offset, size, 0, 0), Err(NoRegister));
            }
        }
    }
}
