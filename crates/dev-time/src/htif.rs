//! HTIF: the Berkeley host-target interface of bare-metal test programs, `tohost` and `fromhost`.
//!
//! Source: RISC-V ISA simulator (Spike), `fesvr/` (what the host side does), and the environments and
//! benchmarks of riscv-tests (what the target side expects). A command in `tohost` is device (bits 63
//! to 56), command (55 to 48), payload (47 to 0); the host takes it by writing zero, and a response of
//! the same form appears in `fromhost` as soon as the target has zeroed that.
//!
//! - Device 0, command 0, odd payload: exit with code `payload >> 1`. It stands until reset.
//! - Device 0, command 0, even payload: a proxied system call, whose number, arguments and result are
//!   eight words of guest memory at that address. Memory is not a device's business: the machine asks
//!   [`Htif::request`], does it, and answers with [`Htif::answer`].
//! - Device 1, command 0: read a character of the console; the response is `0x100 | character`, when
//!   there is one. Command 1: write one; no response.
//! - Anything else, device enumeration (command 255) too, is taken without effect.
//!
//! In a word-sized program the halves are written low first, so a command is taken when the high half
//! is written, or at once if all eight bytes are. At most one response waits; until the target has
//! fetched it, the next command stays in `tohost`.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// The two registers; where they are, the program's symbols `tohost` and `fromhost` say.
    pub enum Reg {
        0 ToHost RW { payload: 47..0, command: 55..48, device: 63..56 }
        8 FromHost RW { payload: 47..0, command: 55..48, device: 63..56 }
    }
}

const CONSOLE: u64 = 1;
/// The response to `getchar` without its character.
const GOT_CHARACTER: u64 = CONSOLE << 56 | 0x100;
/// Characters that wait for the host side; a `putchar` that finds no room stays in `tohost`.
const OUTGOING: usize = 64 * 1024;

// ---- state ----

/// What the guest asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// End with this exit code.
    Exit(u64),
    /// Do the system call described by eight 64-bit words at this guest-physical address: number and
    /// up to seven arguments; the result replaces the first word. Then [`Htif::answer`].
    Syscall(u64),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    tohost: u64,
    fromhost: u64,
    /// Only the low half of a command is written yet.
    half: bool,
    /// A response that waits for `fromhost` to be zero.
    response: Option<u64>,
    /// `getchar` waits for a character.
    getchar: bool,
    request: Option<Request>,
    out: Vec<u8>,
}

impl State {
    /// Does whatever can be done now.
    fn advance(&mut self) {
        if self.fromhost == 0 {
            self.fromhost = self.response.take().unwrap_or(0);
        }
        let busy = self.half || self.response.is_some() || self.request.is_some();
        if self.tohost == 0 || busy {
            return;
        }
        let command = self.tohost;
        match (ToHost::device(command), ToHost::command(command), ToHost::payload(command)) {
            (0, 0, payload) if payload & 1 != 0 => self.request = Some(Request::Exit(payload >> 1)),
            (0, 0, payload) => self.request = Some(Request::Syscall(payload)),
            (CONSOLE, 0, _) if self.getchar => return,
            (CONSOLE, 0, _) => self.getchar = true,
            (CONSOLE, 1, _) if self.out.len() >= OUTGOING => return,
            (CONSOLE, 1, payload) => self.out.push(payload as u8),
            _ => {}
        }
        self.tohost = 0;
    }

    /// Whether a `getchar` can be answered.
    fn reads(&self) -> bool {
        self.getchar && self.response.is_none()
    }
}

/// The interface.
#[derive(Debug)]
pub struct Htif {
    tohost_at: u64,
    fromhost_at: u64,
    state: State,
    /// The host side had a character that nobody asked for. Not the guest's business, so not saved.
    refused: bool,
}

impl Htif {
    /// With the registers at these offsets (multiples of 8) from where the device is mapped.
    pub fn new(tohost_at: u64, fromhost_at: u64) -> Self {
        Htif { tohost_at, fromhost_at, state: State::default(), refused: false }
    }

    /// The register at `offset`, and whether it is its high half.
    fn register(&self, offset: u64, size: u8) -> Result<(Reg, bool), NoRegister> {
        for (at, register) in [(self.tohost_at, Reg::ToHost), (self.fromhost_at, Reg::FromHost)] {
            match (offset.wrapping_sub(at), size) {
                (0, 4 | 8) => return Ok((register, false)),
                (4, 4) => return Ok((register, true)),
                _ => {}
            }
        }
        Err(NoRegister)
    }
}

// ---- host side ----

impl Htif {
    /// What the guest asks of the machine, until it is answered or the device reset.
    pub fn request(&self) -> Option<Request> {
        self.state.request
    }

    /// The system call of [`Request::Syscall`] is done and its result is in memory. An exit stands.
    pub fn answer(&mut self) {
        if let Some(Request::Syscall(_)) = self.state.request {
            self.state.request = None;
            self.state.response = Some(1);
            self.state.advance();
        }
    }

    /// Puts text on the console, as a proxied `write` asks for; returns how much found room.
    pub fn print(&mut self, text: &[u8]) -> usize {
        let n = text.len().min(OUTGOING.saturating_sub(self.state.out.len()));
        self.state.out.extend(text.iter().take(n));
        n
    }

    /// How many characters [`Htif::feed`] would take now: one for a waiting `getchar`.
    pub fn room(&self) -> usize {
        usize::from(self.state.reads())
    }

    /// Gives characters to the console; returns how many were taken.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for &byte in bytes {
            if !self.state.reads() {
                break;
            }
            self.state.getchar = false;
            self.state.response = Some(GOT_CHARACTER | u64::from(byte));
            self.state.advance();
            taken += 1;
        }
        self.refused = taken < bytes.len();
        taken
    }

    /// Has the device ring when the guest next asks for a character; not if it is asking already.
    pub fn ring_when_asked(&mut self) {
        self.refused = !self.state.reads();
    }

    /// Appends to `into` what the guest has written.
    pub fn drain(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.state.out);
        self.state.advance();
        into.append(&mut self.state.out);
    }
}

impl Device for Htif {
    const NAME: &'static str = "htif";
    const VERSION: u32 = 1;
    // The two words are memory to the program, and the host side only looks at them now and then.
    const ATOMICS: bool = true;
    type Saved = saved::HtifV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        let (register, high) = self.register(offset, size)?;
        let value = match register {
            Reg::ToHost => self.state.tohost,
            Reg::FromHost => self.state.fromhost,
        };
        Ok(match (high, size) {
            (true, _) => value >> 32,
            (false, 4) => value & 0xffff_ffff,
            (false, _) => value,
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let (register, high) = self.register(offset, size)?;
        let s = &mut self.state;
        let target = match register {
            Reg::ToHost => &mut s.tohost,
            Reg::FromHost => &mut s.fromhost,
        };
        *target = match (high, size) {
            (true, _) => *target & 0xffff_ffff | value << 32,
            (false, 4) => *target & !0xffff_ffff | value & 0xffff_ffff,
            (false, _) => value,
        };
        if register == Reg::ToHost {
            s.half = size == 4 && !high;
        }
        s.advance();
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn wants_host(&self) -> bool {
        self.state.request.is_some() || !self.state.out.is_empty()
    }

    fn takes_more(&self) -> bool {
        self.refused && self.state.reads()
    }

    fn reset(&mut self, _now: Nanos) {
        let out = std::mem::take(&mut self.state.out);
        self.state = State { out, ..State::default() };
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
    use super::{OUTGOING, Request, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields and variants are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct HtifV1 {
        /// Register.
        pub tohost: u64,
        /// Register.
        pub fromhost: u64,
        /// Only the low half of a command is written yet.
        pub half: bool,
        /// A response that waits for `fromhost` to be zero.
        pub response: Option<u64>,
        /// `getchar` waits for a character.
        pub getchar: bool,
        /// What the machine is asked.
        pub request: RequestV1,
        /// Written and not yet fetched by the host side.
        pub out: Vec<u8>,
    }

    /// A request.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum RequestV1 {
        /// None.
        None,
        /// Exit with this code.
        Exit(u64),
        /// A system call described at this guest-physical address.
        Syscall(u64),
    }

    pub(super) fn from_state(state: &State) -> HtifV1 {
        let State { tohost, fromhost, half, response, getchar, request, out } = state;
        let request = match request {
            None => RequestV1::None,
            Some(Request::Exit(code)) => RequestV1::Exit(*code),
            Some(Request::Syscall(address)) => RequestV1::Syscall(*address),
        };
        HtifV1 {
            tohost: *tohost,
            fromhost: *fromhost,
            half: *half,
            response: *response,
            getchar: *getchar,
            request,
            out: out.clone(),
        }
    }

    /// `None` if more is waiting than ever could.
    pub(super) fn into_state(saved: HtifV1) -> Option<State> {
        let HtifV1 { tohost, fromhost, half, response, getchar, request, out } = saved;
        let request = match request {
            RequestV1::None => None,
            RequestV1::Exit(code) => Some(Request::Exit(code)),
            RequestV1::Syscall(address) => Some(Request::Syscall(address)),
        };
        (out.len() <= OUTGOING).then_some(State { tohost, fromhost, half, response, getchar, request, out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOHOST: u64 = 0;
    const FROMHOST: u64 = 0x40;

    fn htif() -> Htif {
        Htif::new(TOHOST, FROMHOST)
    }

    fn command(d: &mut Htif, device: u64, command: u64, payload: u64) {
        d.write(TOHOST, 8, device << 56 | command << 48 | payload, 0).unwrap();
    }

    fn sent(d: &mut Htif) -> Vec<u8> {
        let mut bytes = Vec::new();
        d.drain(&mut bytes);
        bytes
    }

    #[test]
    fn an_odd_payload_is_an_exit_that_stands() {
        let mut d = htif();
        d.write(TOHOST, 8, 1, 0).unwrap();
        assert_eq!(d.request(), Some(Request::Exit(0)));
        d.answer();
        d.write(TOHOST, 8, 7, 0).unwrap();
        assert_eq!(d.request(), Some(Request::Exit(0)));
        d.reset(0);
        d.write(TOHOST, 8, 1337 << 1 | 1, 0).unwrap();
        assert_eq!(d.request(), Some(Request::Exit(1337)));
    }

    #[test]
    fn a_command_by_halves_is_taken_with_its_high_half() {
        let mut d = htif();
        d.write(TOHOST, 4, 5, 0).unwrap();
        assert_eq!(d.request(), None);
        d.write(TOHOST + 4, 4, 0, 0).unwrap();
        assert_eq!(d.request(), Some(Request::Exit(2)));
        let mut d = htif();
        d.write(TOHOST, 4, u64::from(b'h'), 0).unwrap();
        d.write(TOHOST + 4, 4, 0x0101_0000, 0).unwrap();
        assert_eq!(sent(&mut d), b"h");
    }

    #[test]
    fn putchar_is_taken_at_once() {
        let mut d = htif();
        for byte in *b"hello" {
            command(&mut d, 1, 1, u64::from(byte));
            assert_eq!(d.read(TOHOST, 8, 0), Ok(0));
        }
        assert_eq!(sent(&mut d), b"hello");
        assert_eq!(d.read(FROMHOST, 8, 0), Ok(0));
    }

    #[test]
    fn getchar_is_answered_when_there_is_a_character() {
        let mut d = htif();
        assert_eq!(d.feed(b"ab"), 0, "nobody asked");
        command(&mut d, 1, 0, 0);
        assert_eq!(d.read(TOHOST, 8, 0), Ok(0));
        assert!(d.takes_more());
        assert_eq!(d.feed(b"ab"), 1);
        assert_eq!(d.read(FROMHOST, 8, 0), Ok(0x0100_0000_0000_0161));
        assert_eq!(d.read(FROMHOST + 4, 4, 0), Ok(0x0100_0000));
        command(&mut d, 1, 0, 0);
        assert_eq!(d.feed(b"b"), 1);
        assert_eq!(d.read(FROMHOST, 4, 0), Ok(0x161), "the target has not fetched the first yet");
        d.write(FROMHOST, 8, 0, 0).unwrap();
        assert_eq!(d.read(FROMHOST, 4, 0), Ok(0x162));
    }

    #[test]
    fn a_system_call_is_the_machines_to_do() {
        let mut d = htif();
        command(&mut d, 0, 0, 0x8000_1000);
        assert_eq!(d.request(), Some(Request::Syscall(0x8000_1000)));
        assert!(d.wants_host());
        assert_eq!(d.read(FROMHOST, 8, 0), Ok(0));
        d.answer();
        assert_eq!(d.request(), None);
        assert_eq!(d.read(FROMHOST, 8, 0), Ok(1));
        d.answer();
        d.write(FROMHOST, 8, 0, 0).unwrap();
        assert_eq!(d.read(FROMHOST, 8, 0), Ok(0));
    }

    #[test]
    fn unknown_commands_are_taken_without_effect() {
        let mut d = htif();
        let fresh = d.save();
        for (device, number) in [(0, 1), (1, 0xff), (2, 0), (0xff, 0xff)] {
            command(&mut d, device, number, 0x1234);
            assert_eq!(d.save(), fresh);
        }
    }

    #[test]
    fn a_host_that_does_not_drain_holds_putchar() {
        let mut d = htif();
        for _ in 0..=OUTGOING {
            command(&mut d, 1, 1, 0x2e);
        }
        assert_ne!(d.read(TOHOST, 8, 0), Ok(0));
        assert_eq!(sent(&mut d).len(), OUTGOING + 1);
        assert_eq!(d.read(TOHOST, 8, 0), Ok(0));
    }

    #[test]
    fn only_the_two_registers_are_answered() {
        let mut d = htif();
        for (offset, size) in [(0, 1), (0, 2), (8, 4), (8, 8), (0x38, 8), (0x48, 4), (u64::MAX - 7, 8)] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister));
            assert_eq!(d.write(offset, size, 1, 0), Err(NoRegister));
        }
    }
}
