//! 16550A UART.
//!
//! Source: National Semiconductor (now Texas Instruments) PC16550D "Universal Asynchronous
//! Receiver/Transmitter with FIFOs", June 1995, chapter 8 "Registers"; chapters are cited below.
//!
//! Transmission takes no guest time: a character goes through the transmitter FIFO to the outgoing
//! buffer at once, so a polling console is never slow. Only when that buffer is full do characters
//! stay in the FIFO, with THRE and TEMT low, until the host side drains. So the delay of THRE by one
//! character (8.10, transmitter, 2) is never seen. Character format and divisor set nothing but the
//! character time of the receiver timeout; data is not cut to the word length, because bare-metal
//! programs that never write LCR are many.
//! The INTR pin is not gated by OUT2: that gate is on PC boards, not in the chip.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;
use std::collections::VecDeque;

// ---- registers ----

registers! {
    /// Registers that are read with DLAB = 0 (Table II). Those that can be written are written here
    /// too, but for offsets 0 and 2, see [`WriteReg`].
    pub enum Reg {
        0 Rbr RO { data: 7..0 }
        1 Ier RW { erbfi: 0..0, etbei: 1..1, elsi: 2..2, edssi: 3..3 }
        2 Iir RO { none_pending: 0..0, id: 3..1, fifos: 7..6 }
        3 Lcr RW { wls: 1..0, stb: 2..2, pen: 3..3, eps: 4..4, stick: 5..5, set_break: 6..6, dlab: 7..7 }
        4 Mcr RW { dtr: 0..0, rts: 1..1, out1: 2..2, out2: 3..3, loopback: 4..4 }
        5 Lsr RO { dr: 0..0, oe: 1..1, pe: 2..2, fe: 3..3, bi: 4..4, thre: 5..5, temt: 6..6, fifo_error: 7..7 }
        6 Msr RO { dcts: 0..0, ddsr: 1..1, teri: 2..2, ddcd: 3..3, cts: 4..4, dsr: 5..5, ri: 6..6, dcd: 7..7 }
        7 Scr RW { data: 7..0 }
    }
}
registers! {
    /// Registers that are only written, with DLAB = 0 (for FCR, any DLAB).
    pub enum WriteReg {
        0 Thr WO { data: 7..0 }
        2 Fcr WO { enable: 0..0, rcvr_reset: 1..1, xmit_reset: 2..2, dma: 3..3, trigger: 7..6 }
    }
}
registers! {
    /// The divisor latch: what offsets 0 and 1 are with DLAB = 1.
    pub enum Latch {
        0 Dll RW { data: 7..0 }
        1 Dlm RW { data: 7..0 }
    }
}

/// Characters each FIFO holds.
const DEPTH: usize = 16;
/// Characters that wait for the host side.
const OUTGOING: usize = 64 * 1024;
/// LSR bits that a character brings with it.
const CHARACTER_ERRORS: u8 = (Lsr::mask::pe | Lsr::mask::fe | Lsr::mask::bi) as u8;
/// MSR bits that are the levels of the modem inputs.
const MODEM: u8 = (Msr::mask::cts | Msr::mask::dsr | Msr::mask::ri | Msr::mask::dcd) as u8;
/// IIR interrupt identifications, bits 3 to 0 (8.5, Table IV), highest priority first.
mod id {
    pub const LINE_STATUS: u8 = 0b0110;
    pub const DATA_AVAILABLE: u8 = 0b0100;
    pub const TIMEOUT: u8 = 0b1100;
    pub const THR_EMPTY: u8 = 0b0010;
    pub const MODEM_STATUS: u8 = 0b0000;
    pub const NONE: u8 = 0b0001;
}

// ---- state ----

/// How the board uses the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Frequency at XIN, Hz.
    pub clock_hz: u32,
    /// Register `n` is at offset `n << reg_shift` (0 or 2; with 2, 4-byte accesses work too).
    pub reg_shift: u8,
}

impl Default for Config {
    /// Byte-wide registers and a clock of 3.6864 MHz.
    fn default() -> Self {
        Config { clock_hz: 3_686_400, reg_shift: 0 }
    }
}

/// A received character and the LSR error bits that came with it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Received {
    byte: u8,
    errors: u8,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    rx: VecDeque<Received>,
    tx: VecDeque<u8>,
    out: Vec<u8>,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    divisor: u16,
    /// LSR bits OE, PE, FE, BI that have come up and were not read yet.
    errors: u8,
    /// The transmitter has become empty (or its interrupt was just enabled) and nobody was told.
    thr_empty: bool,
    /// Levels at the modem input pins, as MSR bits 7 to 4.
    modem: u8,
    /// MSR bits 3 to 0.
    deltas: u8,
    /// When the receiver times out if no character comes and none is read.
    timeout: Nanos,
}

impl State {
    /// Master reset (chapter 8, Table I). That leaves SCR and the divisor alone; here they get one value.
    fn reset() -> Self {
        State {
            rx: VecDeque::with_capacity(DEPTH),
            tx: VecDeque::with_capacity(DEPTH),
            out: Vec::new(),
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            divisor: 12,
            errors: 0,
            thr_empty: false,
            modem: (Msr::mask::cts | Msr::mask::dsr | Msr::mask::dcd) as u8,
            deltas: 0,
            timeout: 0,
        }
    }

    fn fifos(&self) -> bool {
        has(self.fcr, Fcr::mask::enable)
    }

    fn looped(&self) -> bool {
        has(self.mcr, Mcr::mask::loopback)
    }

    fn depth(&self) -> usize {
        if self.fifos() { DEPTH } else { 1 }
    }

    /// Receiver trigger level (8.4): 1, 4, 8 or 14 characters.
    fn trigger(&self) -> usize {
        match Fcr::trigger(u64::from(self.fcr)) {
            _ if !self.fifos() => 1,
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }

    /// Four character times (8.10, receiver timeout, A): start bit, data, parity and stop bits, each
    /// 16 × divisor periods of the clock.
    fn four_characters(&self, clock_hz: u32) -> Nanos {
        let lcr = u64::from(self.lcr);
        let data = 5 + Lcr::wls(lcr);
        let half_stop_bits = match (Lcr::stb(lcr), data) {
            (0, _) => 2,
            (_, 5) => 3,
            _ => 4,
        };
        let half_bits = 2 * (1 + data + Lcr::pen(lcr)) + half_stop_bits;
        let periods = 4 * half_bits * 8 * u64::from(self.divisor.max(1));
        periods * 1_000_000_000 / u64::from(clock_hz.max(1))
    }

    fn timed_out(&self, now: Nanos) -> bool {
        self.fifos() && !self.rx.is_empty() && now >= self.timeout
    }

    /// A character arrives. A full FIFO keeps what it has and loses the new one; without FIFOs the
    /// new one replaces the old one (8.3, bit 1).
    fn receive(&mut self, character: Received, clock_hz: u32, now: Nanos) {
        if !self.timed_out(now) {
            self.timeout = now.saturating_add(self.four_characters(clock_hz));
        }
        if self.rx.len() >= self.depth() {
            self.errors |= Lsr::mask::oe as u8;
            if self.fifos() {
                return;
            }
            self.rx.clear();
        }
        self.rx.push_back(character);
        self.reveal();
    }

    /// Errors show when their character is at the top of the FIFO (8.3, bits 2 to 4).
    fn reveal(&mut self) {
        if let Some(top) = self.rx.front_mut() {
            self.errors |= std::mem::take(&mut top.errors);
        }
    }

    /// Moves characters from the transmitter on, as far as the other end takes them.
    fn transmit(&mut self, clock_hz: u32, now: Nanos) {
        if self.tx.is_empty() {
            return;
        }
        if self.looped() {
            while let Some(byte) = self.tx.pop_front() {
                self.receive(Received { byte, errors: 0 }, clock_hz, now);
            }
            self.thr_empty = true;
        } else {
            self.send();
        }
    }

    /// Moves characters from the transmitter to the outgoing buffer, as far as there is room.
    fn send(&mut self) {
        let n = self.tx.len().min(OUTGOING.saturating_sub(self.out.len()));
        self.out.extend(self.tx.drain(..n));
        self.thr_empty |= n > 0 && self.tx.is_empty();
    }

    /// The pending interrupt of highest priority, as IIR bits 3 to 0 (8.5).
    fn interrupt(&self, now: Nanos) -> u8 {
        if has(self.ier, Ier::mask::elsi) && self.errors != 0 {
            return id::LINE_STATUS;
        }
        if has(self.ier, Ier::mask::erbfi) {
            if self.rx.len() >= self.trigger() {
                return id::DATA_AVAILABLE;
            }
            if self.timed_out(now) {
                return id::TIMEOUT;
            }
        }
        if has(self.ier, Ier::mask::etbei) && self.thr_empty {
            return id::THR_EMPTY;
        }
        if has(self.ier, Ier::mask::edssi) && self.deltas != 0 {
            return id::MODEM_STATUS;
        }
        id::NONE
    }

    fn lsr(&self) -> u8 {
        let broken = self.errors & CHARACTER_ERRORS != 0 || self.rx.iter().any(|c| c.errors != 0);
        let mut lsr = u64::from(self.errors);
        if !self.rx.is_empty() {
            lsr |= Lsr::mask::dr;
        }
        if self.tx.is_empty() {
            lsr |= Lsr::mask::thre | Lsr::mask::temt;
        }
        if self.fifos() && broken {
            lsr |= Lsr::mask::fifo_error;
        }
        lsr as u8
    }

    /// Modem inputs as MSR bits 7 to 4: the pins or, in loopback, the MCR outputs (8.7, bit 4).
    fn modem_inputs(&self) -> u8 {
        if !self.looped() {
            return self.modem & MODEM;
        }
        let mcr = u64::from(self.mcr);
        (Mcr::dtr(mcr) << 5 | Mcr::rts(mcr) << 4 | Mcr::out1(mcr) << 6 | Mcr::out2(mcr) << 7) as u8
    }

    /// Changes what the modem inputs come from, and notes what changed (8.8, bits 0 to 3).
    fn change_modem(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.modem_inputs();
        change(self);
        let after = self.modem_inputs();
        let changed = (before ^ after) & !(Msr::mask::ri as u8);
        let ring_ended = before & !after & Msr::mask::ri as u8;
        self.deltas |= (changed | ring_ended) >> 4;
    }

    fn write_fcr(&mut self, value: u8) {
        let was = self.fifos();
        if has(value, Fcr::mask::enable) {
            // The reset bits clear themselves.
            let kept = Fcr::mask::enable | Fcr::mask::dma | Fcr::mask::trigger;
            self.fcr = value & kept as u8;
        } else {
            // The other bits are programmed only together with bit 0.
            self.fcr &= !(Fcr::mask::enable as u8);
        }
        let switched = was != self.fifos();
        if switched || self.fifos() && has(value, Fcr::mask::rcvr_reset) {
            self.rx.clear();
        }
        if switched || self.fifos() && has(value, Fcr::mask::xmit_reset) {
            // "The first transmitter interrupt after changing FCR0 will be immediate" (8.10).
            self.thr_empty |= switched || !self.tx.is_empty();
            self.tx.clear();
        }
    }

    fn write_ier(&mut self, value: u8) {
        let value = value & Ier::FIELDS as u8;
        let enabled = value & !self.ier;
        self.ier = value;
        if has(enabled, Ier::mask::etbei) && self.tx.is_empty() {
            self.thr_empty = true;
        }
    }

    fn read_rbr(&mut self, clock_hz: u32, now: Nanos) -> u8 {
        let top = self.rx.pop_front().map_or(0, |c| c.byte);
        self.reveal();
        self.timeout = now.saturating_add(self.four_characters(clock_hz));
        top
    }

    fn write_thr(&mut self, byte: u8) {
        self.thr_empty = false;
        if self.tx.len() >= self.depth() {
            if self.fifos() {
                return;
            }
            self.tx.clear();
        }
        self.tx.push_back(byte);
    }
}

fn has(register: u8, mask: u64) -> bool {
    u64::from(register) & mask != 0
}

/// The UART.
#[derive(Debug)]
pub struct Ns16550 {
    config: Config,
    state: State,
    /// The host side had more characters than fitted. Not the guest's business, so not saved.
    refused: bool,
}

impl Ns16550 {
    /// A UART after power-on, with CTS, DSR and DCD on.
    pub fn new(config: Config) -> Self {
        Ns16550 { config, state: State::reset(), refused: false }
    }

    fn register(&self, offset: u64, size: u8) -> Result<u64, NoRegister> {
        let shift = u32::from(self.config.reg_shift.min(2));
        // The chip has eight data lines. What is wider than its place on the bus still reaches the one
        // register at its address, as on QEMU's board: bare-metal programs count on it.
        if !matches!(size, 1 | 2 | 4 | 8) || offset & ((1 << shift) - 1) != 0 {
            return Err(NoRegister);
        }
        Ok(offset >> shift)
    }
}

// ---- host side ----

impl Ns16550 {
    /// How many characters [`Ns16550::feed`] would take now. None in loopback: the receiver is not
    /// connected to the line then, and the line's other end waits.
    pub fn room(&self) -> usize {
        if self.state.looped() { 0 } else { self.state.depth().saturating_sub(self.state.rx.len()) }
    }

    /// Gives the receiver characters from the line; returns how many it took.
    pub fn feed(&mut self, bytes: &[u8], now: Nanos) -> usize {
        let n = self.room().min(bytes.len());
        for &byte in bytes.iter().take(n) {
            self.state.receive(Received { byte, errors: 0 }, self.config.clock_hz, now);
        }
        self.refused = n < bytes.len();
        n
    }

    /// A break on the line: one zero character without a stop bit (8.3, bits 3 and 4).
    pub fn send_break(&mut self, now: Nanos) {
        if !self.state.looped() {
            let errors = (Lsr::mask::bi | Lsr::mask::fe) as u8;
            self.state.receive(Received { byte: 0, errors }, self.config.clock_hz, now);
        }
    }

    /// Appends to `into` what the guest has sent.
    pub fn drain(&mut self, into: &mut Vec<u8>) {
        while !self.state.out.is_empty() {
            into.append(&mut self.state.out);
            self.state.send();
        }
    }

    /// Puts text on the line as if the guest had sent it (firmware that shares the UART does so);
    /// returns how much found room.
    pub fn print(&mut self, text: &[u8]) -> usize {
        let n = text.len().min(OUTGOING.saturating_sub(self.state.out.len()));
        self.state.out.extend(text.iter().take(n));
        n
    }

    /// Takes a received character as if the guest had read RBR.
    pub fn take(&mut self, now: Nanos) -> Option<u8> {
        let ready = !self.state.rx.is_empty();
        ready.then(|| self.state.read_rbr(self.config.clock_hz, now))
    }

    /// Sets the levels of the modem inputs: CTS, DSR, RI, DCD as in MSR bits 4 to 7.
    pub fn set_modem(&mut self, levels: u8) {
        self.state.change_modem(|s| s.modem = levels & MODEM);
    }

    /// The modem outputs DTR, RTS, OUT1, OUT2 as in MCR bits 0 to 3; all off in loopback (8.7).
    pub fn modem_outputs(&self) -> u8 {
        if self.state.looped() { 0 } else { self.state.mcr & 0xf }
    }

    /// Whether the guest holds the line in a break (8.1, bit 6).
    pub fn sends_break(&self) -> bool {
        has(self.state.lcr, Lcr::mask::set_break) && !self.state.looped()
    }
}

impl Device for Ns16550 {
    const NAME: &'static str = "ns16550";
    const VERSION: u32 = 1;
    type Saved = saved::Ns16550V1;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        let offset = self.register(offset, size)?;
        let clock_hz = self.config.clock_hz;
        let s = &mut self.state;
        let latch = if has(s.lcr, Lcr::mask::dlab) { Latch::at(offset) } else { None };
        let [dll, dlm] = s.divisor.to_le_bytes();
        let value = match (latch, Reg::at(offset).ok_or(NoRegister)?) {
            (Some(Latch::Dll), _) => dll,
            (Some(Latch::Dlm), _) => dlm,
            (None, Reg::Rbr) => s.read_rbr(clock_hz, now),
            (None, Reg::Ier) => s.ier,
            (None, Reg::Iir) => {
                let pending = s.interrupt(now);
                if pending == id::THR_EMPTY {
                    s.thr_empty = false;
                }
                pending | if s.fifos() { Iir::mask::fifos as u8 } else { 0 }
            }
            (None, Reg::Lcr) => s.lcr,
            (None, Reg::Mcr) => s.mcr,
            (None, Reg::Lsr) => {
                let lsr = s.lsr();
                s.errors = 0;
                lsr
            }
            (None, Reg::Msr) => s.modem_inputs() | std::mem::take(&mut s.deltas),
            (None, Reg::Scr) => s.scr,
        };
        Ok(u64::from(value))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        let offset = self.register(offset, size)?;
        let clock_hz = self.config.clock_hz;
        let s = &mut self.state;
        let byte = value as u8;
        let [dll, dlm] = s.divisor.to_le_bytes();
        if has(s.lcr, Lcr::mask::dlab)
            && let Some(latch) = Latch::at(offset)
        {
            s.divisor = match latch {
                Latch::Dll => u16::from_le_bytes([byte, dlm]),
                Latch::Dlm => u16::from_le_bytes([dll, byte]),
            };
            return Ok(());
        }
        match (WriteReg::at(offset), Reg::at(offset).ok_or(NoRegister)?) {
            (Some(WriteReg::Thr), _) => {
                s.write_thr(byte);
                s.transmit(clock_hz, now);
            }
            (Some(WriteReg::Fcr), _) => s.write_fcr(byte),
            (None, Reg::Ier) => s.write_ier(byte),
            (None, Reg::Lcr) => s.lcr = byte,
            (None, Reg::Mcr) => {
                s.change_modem(|s| s.mcr = byte & Mcr::FIELDS as u8);
                s.transmit(clock_hz, now);
            }
            (None, Reg::Scr) => s.scr = byte,
            // Writing LSR and MSR is for factory testing only (8.3, 8.8).
            (None, Reg::Lsr | Reg::Msr | Reg::Rbr | Reg::Iir) => {}
        }
        Ok(())
    }

    fn lines(&self, _word: usize, now: Nanos) -> u64 {
        u64::from(self.state.interrupt(now) != id::NONE)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn deadline(&self, now: Nanos) -> Option<Nanos> {
        let s = &self.state;
        let waits = s.fifos() && !s.rx.is_empty() && has(s.ier, Ier::mask::erbfi);
        (waits && s.timeout > now).then_some(s.timeout)
    }

    fn wants_host(&self) -> bool {
        !self.state.out.is_empty()
    }

    fn takes_more(&self) -> bool {
        // Half a FIFO at least, so that the host side is not woken for every character.
        self.refused && self.room() * 2 >= self.state.depth()
    }

    fn reset(&mut self, _now: Nanos) {
        // What was sent has left the chip, and the modem inputs are driven from outside.
        let out = std::mem::take(&mut self.state.out);
        self.state = State { out, modem: self.state.modem, ..State::reset() };
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
    use super::{CHARACTER_ERRORS, DEPTH, Fcr, Ier, Lsr, MODEM, Mcr, OUTGOING, Received, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(missing_docs, reason = "the fields are those of the state")]
    pub struct Ns16550V1 {
        /// Receiver FIFO: byte, LSR error bits.
        pub rx: Vec<(u8, u8)>,
        pub tx: Vec<u8>,
        /// Sent and not yet fetched by the host side.
        pub out: Vec<u8>,
        pub ier: u8,
        pub fcr: u8,
        pub lcr: u8,
        pub mcr: u8,
        pub scr: u8,
        pub divisor: u16,
        pub errors: u8,
        pub thr_empty: bool,
        pub modem: u8,
        pub deltas: u8,
        /// Guest time, nanoseconds.
        pub timeout: u64,
    }

    pub(super) fn from_state(state: &State) -> Ns16550V1 {
        let State {
            rx,
            tx,
            out,
            ier,
            fcr,
            lcr,
            mcr,
            scr,
            divisor,
            errors,
            thr_empty,
            modem,
            deltas,
            timeout,
        } = state;
        Ns16550V1 {
            rx: rx.iter().map(|c| (c.byte, c.errors)).collect(),
            tx: tx.iter().copied().collect(),
            out: out.clone(),
            ier: *ier,
            fcr: *fcr,
            lcr: *lcr,
            mcr: *mcr,
            scr: *scr,
            divisor: *divisor,
            errors: *errors,
            thr_empty: *thr_empty,
            modem: *modem,
            deltas: *deltas,
            timeout: *timeout,
        }
    }

    /// `None` if the chip could not be in such a state.
    pub(super) fn into_state(saved: Ns16550V1) -> Option<State> {
        let Ns16550V1 {
            rx,
            tx,
            out,
            ier,
            fcr,
            lcr,
            mcr,
            scr,
            divisor,
            errors,
            thr_empty,
            modem,
            deltas,
            timeout,
        } = saved;
        let depth = if fcr & Fcr::mask::enable as u8 != 0 { DEPTH } else { 1 };
        let fits = rx.len() <= depth && tx.len() <= depth && out.len() <= OUTGOING;
        let foreign = ier & !(Ier::FIELDS as u8)
            | fcr & (Fcr::mask::rcvr_reset | Fcr::mask::xmit_reset | 0x30) as u8
            | mcr & !(Mcr::FIELDS as u8)
            | errors & !(CHARACTER_ERRORS | Lsr::mask::oe as u8)
            | rx.iter().fold(0, |all, c| all | c.1) & !CHARACTER_ERRORS
            | rx.first().map_or(0, |top| top.1)
            | modem & !MODEM
            | deltas & 0xf0;
        (fits && foreign == 0).then(|| State {
            rx: rx.into_iter().map(|(byte, errors)| Received { byte, errors }).collect(),
            tx: tx.into(),
            out,
            ier,
            fcr,
            lcr,
            mcr,
            scr,
            divisor,
            errors,
            thr_empty,
            modem,
            deltas,
            timeout,
        })
    }
}

#[cfg(test)]
#[path = "ns16550_test.rs"]
mod tests;
