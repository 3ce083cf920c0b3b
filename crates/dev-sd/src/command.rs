//! Commands and their responses (section 7.3).

use crate::BLOCK;
use crate::card::{Card, Erase, SILENCE};
use crate::crc::crc7;
use crate::data::Phase;
use crate::identity::Identity;
use crate::job::Job;

/// Bits of R1 (section 7.3.2.1).
mod r1 {
    pub const IDLE: u8 = 1;
    pub const ERASE_RESET: u8 = 1 << 1;
    pub const ILLEGAL: u8 = 1 << 2;
    pub const BAD_CRC: u8 = 1 << 3;
    pub const ERASE_SEQUENCE: u8 = 1 << 4;
    pub const PARAMETER: u8 = 1 << 6;
}

/// Bits of the second byte of R2 (section 7.3.2.3).
pub(crate) mod mishap {
    /// Something that has no bit of its own.
    pub const ERROR: u8 = 1 << 2;
    /// A write to what is write-protected.
    pub const WRITE_PROTECT: u8 = 1 << 5;
    /// No blocks that can be erased.
    pub const ERASE_PARAMETER: u8 = 1 << 6;
    /// A block that the card does not have.
    pub const OUT_OF_RANGE: u8 = 1 << 7;
}

/// HCS of ACMD41's argument: the host knows high capacity.
const HCS: u32 = 1 << 30;
/// Longest block length that CMD16 may set, though it has no effect on a high capacity card.
const LONGEST: u32 = BLOCK as u32;
/// 2.7 V to 3.6 V, of CMD8.
const VOLTAGE: u8 = 1;
/// Commands that an erase sequence is not broken off by.
const OF_ERASE: [u8; 4] = [13, 32, 33, 38];

/// What follows the first byte of a response.
enum Answer {
    /// Nothing.
    R1,
    /// These bytes.
    Rest(Vec<u8>),
    /// These bytes, and then a block of data.
    Data(Vec<u8>, Vec<u8>),
    /// Nothing, as the command was wrong so.
    Wrong(u8),
}

impl Card {
    /// Six bytes have come that are a command.
    pub(crate) fn command(&mut self, frame: [u8; 6]) {
        let [first, a, b, c, d, sum] = frame;
        let (number, argument) = (first & 0x3f, u32::from_be_bytes([a, b, c, d]));
        let sound = crc7(&[first, a, b, c, d]) == sum;
        if !self.state.spi {
            // In SD mode, whose answers are on another line.
            if number == 0 && sound {
                self.go_idle();
                self.respond(0, &[]);
            }
            return;
        }
        self.state.out.clear();
        // These two are checked always (section 7.2.2).
        if !sound && (self.state.crc || number == 0 || number == 8) {
            self.respond(r1::BAD_CRC, &[]);
            return;
        }
        let app = std::mem::take(&mut self.state.app);
        let mut wrong = 0;
        if self.state.erase != (None, None) && !OF_ERASE.contains(&number) && !(app && number == 13) {
            self.state.erase = (None, None);
            wrong = r1::ERASE_RESET;
        }
        if number == 12 {
            self.stop(wrong);
            return;
        }
        if matches!(self.state.phase, Phase::Reading { .. } | Phase::ReadEnd) {
            // It was given up by a host that did not say so.
            self.forget_read();
        }
        let answer = match (number, app) {
            _ if !allowed(number, app, self.state.idle) => Answer::Wrong(r1::ILLEGAL),
            // A write of many ends by its token, or by CMD0.
            (1..=12 | 14.., _) if matches!(self.state.phase, Phase::Writing { .. }) => {
                Answer::Wrong(r1::ILLEGAL)
            }
            (_, true) => self.application(number, argument),
            (_, false) => self.basic(number, argument),
        };
        match answer {
            Answer::R1 => self.respond(wrong, &[]),
            Answer::Rest(bytes) => self.respond(wrong, &bytes),
            Answer::Wrong(bits) => self.respond(wrong | bits, &[]),
            Answer::Data(bytes, block) => {
                self.respond(wrong, &bytes);
                self.state.out.push_back(SILENCE);
                self.send(&block);
            }
        }
    }

    /// Sends a response: one byte of waiting (N_CR), R1, and what follows it.
    fn respond(&mut self, wrong: u8, rest: &[u8]) {
        let idle = if self.state.idle { r1::IDLE } else { 0 };
        self.state.out.extend([SILENCE, idle | wrong]);
        self.state.out.extend(rest);
    }

    /// What was being read is of no interest any more.
    fn forget_read(&mut self) {
        self.state.phase = Phase::Rest;
        self.state.work.job = None;
    }

    /// CMD12. One byte goes before the response that means nothing (section 7.5.2.2).
    fn stop(&mut self, wrong: u8) {
        match self.state.phase {
            Phase::Reading { .. } | Phase::ReadEnd => {
                self.forget_read();
                self.respond(wrong, &[SILENCE]);
            }
            Phase::Writing { many: true, .. } => {
                self.respond(wrong, &[]);
                self.settle();
            }
            Phase::Writing { many: false, .. } => {
                self.state.phase = Phase::Rest;
                self.respond(wrong, &[]);
            }
            _ => self.respond(wrong | r1::ILLEGAL, &[]),
        }
    }

    fn basic(&mut self, number: u8, argument: u32) -> Answer {
        match number {
            0 => {
                self.go_idle();
                Answer::R1
            }
            1 => {
                self.initialize(true);
                Answer::R1
            }
            6 => {
                let (status, speed) = Identity::switch(argument, self.state.high_speed);
                self.state.high_speed = speed.unwrap_or(self.state.high_speed);
                Answer::Data(Vec::new(), status.to_vec())
            }
            8 => {
                let [_, _, voltage, pattern] = argument.to_be_bytes();
                self.state.knows_version_2 = true;
                let accepted = if voltage & 0xf == VOLTAGE { VOLTAGE } else { 0 };
                Answer::Rest(vec![0, 0, accepted, pattern])
            }
            9 => Answer::Data(Vec::new(), self.identity.csd(self.state.high_speed).to_vec()),
            10 => Answer::Data(Vec::new(), Identity::cid().to_vec()),
            13 => Answer::Rest(vec![std::mem::take(&mut self.state.mishaps)]),
            16 if argument == 0 || argument > LONGEST => Answer::Wrong(r1::PARAMETER),
            16 => Answer::R1,
            17 | 18 | 24 | 25 | 32 | 33 if u64::from(argument) >= self.identity.blocks() => {
                Answer::Wrong(r1::PARAMETER)
            }
            17 | 18 => {
                self.read_from(u64::from(argument), number == 18);
                Answer::R1
            }
            24 | 25 => {
                self.state.phase = Phase::Writing { next: u64::from(argument), many: number == 25 };
                (self.state.written, self.state.spoiled) = (0, false);
                Answer::R1
            }
            32 => self.erase_bound(|erase| erase.0 = Some(argument)),
            33 => self.erase_bound(|erase| erase.1 = Some(argument)),
            38 => self.erase(),
            55 => {
                self.state.app = true;
                Answer::R1
            }
            58 => Answer::Rest(Identity::ocr(self.state.idle).to_be_bytes().to_vec()),
            59 => {
                self.state.crc = argument & 1 != 0;
                Answer::R1
            }
            _ => Answer::Wrong(r1::ILLEGAL),
        }
    }

    fn application(&mut self, number: u8, argument: u32) -> Answer {
        match number {
            13 => Answer::Data(vec![std::mem::take(&mut self.state.mishaps)], Identity::status().to_vec()),
            22 => Answer::Data(Vec::new(), self.state.written.to_be_bytes().to_vec()),
            // What it says is known when the blocks come.
            23 => Answer::R1,
            41 => {
                self.initialize(argument & HCS != 0 && self.state.knows_version_2);
                Answer::R1
            }
            // There is no pull-up to switch.
            42 => Answer::R1,
            51 => Answer::Data(Vec::new(), Identity::scr().to_vec()),
            // What is no application command is the plain one (section 4.3.9.1).
            _ => self.basic(number, argument),
        }
    }

    /// The host wants it to get ready; a host that does not know high capacity waits for ever (section 7.2.1).
    fn initialize(&mut self, known: bool) {
        self.state.idle &= !known;
    }

    fn erase_bound(&mut self, set: impl FnOnce(&mut Erase)) -> Answer {
        set(&mut self.state.erase);
        Answer::R1
    }

    fn erase(&mut self) -> Answer {
        let (first, last) = match std::mem::take(&mut self.state.erase) {
            (Some(first), Some(last)) => (u64::from(first), u64::from(last)),
            _ => return Answer::Wrong(r1::ERASE_SEQUENCE),
        };
        if last < first {
            self.state.mishaps |= mishap::ERASE_PARAMETER;
            return Answer::Wrong(r1::PARAMETER);
        }
        if self.identity.read_only() {
            self.state.mishaps |= mishap::WRITE_PROTECT;
            return Answer::R1;
        }
        self.state.phase = Phase::Busy;
        self.ask(Job::Erase { at: first * BLOCK as u64, len: (last - first + 1) * BLOCK as u64 });
        Answer::R1
    }
}

/// Whether there is such a command in such a state: before it is ready, a card knows few (section 7.2.1).
fn allowed(number: u8, app: bool, idle: bool) -> bool {
    !idle || matches!((number, app), (0 | 1 | 8 | 55 | 58 | 59, _) | (41, true))
}
