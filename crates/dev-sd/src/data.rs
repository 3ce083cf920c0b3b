//! Blocks of data (section 7.3.3): tokens, checksums, and what the card does while the storage is at work.

use crate::BLOCK;
use crate::card::{Card, SILENCE};
use crate::command::mishap;
use crate::crc::crc16;
use crate::job::Job;

/// Start of a block, and of a block of many that are written (section 7.3.3.2).
const START: u8 = 0xfe;
const START_MANY: u8 = 0xfc;
/// No more blocks are written.
const STOP: u8 = 0xfd;
/// Data response (section 7.3.3.1): what became of a block that was written.
const ACCEPTED: u8 = 0x05;
const BAD_CRC: u8 = 0x0b;
const NOT_WRITTEN: u8 = 0x0d;
/// Data error tokens (section 7.3.3.3).
const READ_ERROR: u8 = 0x01;
const OUT_OF_RANGE: u8 = 0x08;
/// The line while the card programs.
const BUSY: u8 = 0;
/// Blocks read in one go from the storage for a read of many.
pub(crate) const AHEAD: u64 = 32;

/// What a card is at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// It waits for a command.
    Rest,
    /// It sends blocks.
    Reading {
        /// Number of the block behind what is in `ready` or has been asked for.
        next: u64,
        /// Until it is told to stop; else one.
        many: bool,
        /// What has been read and not been sent, whole blocks.
        ready: Vec<u8>,
        /// How many of those bytes are sent.
        sent: usize,
    },
    /// It has sent all that there is, or could not, and waits for CMD12.
    ReadEnd,
    /// It waits for the start of a block, or for the word that there is none.
    Writing {
        /// Number of the next block.
        next: u64,
        /// There may be more than one.
        many: bool,
    },
    /// A block comes.
    Taking {
        /// Its number.
        next: u64,
        /// There may be more behind it.
        many: bool,
        /// What has come, checksum and all.
        bytes: Vec<u8>,
    },
    /// A block has come, and its data response is due.
    Answering {
        /// Its number.
        next: u64,
        /// There may be more behind it.
        many: bool,
        /// How that was; none while the storage is at it.
        outcome: Option<bool>,
    },
    /// It programs or erases, and is ready behind that.
    Busy,
    /// It programs a block, behind which others may come.
    BusyBetween {
        /// The number of the one behind it.
        next: u64,
    },
}

impl Card {
    /// Whether a byte that looks like the beginning of a command is one: not while it programs, and not in a block.
    pub(crate) fn listens(&self) -> bool {
        match &self.state.phase {
            Phase::Rest | Phase::Reading { .. } | Phase::ReadEnd | Phase::Writing { .. } => true,
            Phase::Taking { .. } | Phase::Answering { .. } | Phase::Busy | Phase::BusyBetween { .. } => false,
        }
    }

    /// What it sends with the next eight clocks.
    pub(crate) fn next(&mut self) -> u8 {
        if let Some(byte) = self.state.out.pop_front() {
            return byte;
        }
        let (byte, phase) = match &mut self.state.phase {
            Phase::Busy | Phase::BusyBetween { .. } => return BUSY,
            Phase::Reading { ready, .. } if !ready.is_empty() => return self.send_block(),
            Phase::Answering { outcome, next, many } => {
                // A write that is going on is taken to go well; if it does not, the next block is told, or CMD13.
                let response = if *outcome == Some(false) { NOT_WRITTEN } else { ACCEPTED };
                let following = next.saturating_add(1);
                let phase = match (outcome.is_none(), *many) {
                    (true, true) => Phase::BusyBetween { next: following },
                    (true, false) => Phase::Busy,
                    (false, true) => Phase::Writing { next: following, many: true },
                    (false, false) => Phase::Rest,
                };
                (response, phase)
            }
            _ => return SILENCE,
        };
        self.state.phase = phase;
        byte
    }

    /// Begins to send a block that is ready; gives the byte before it.
    fn send_block(&mut self) -> u8 {
        let Phase::Reading { next, many, ready, sent } = &mut self.state.phase else { return SILENCE };
        let block = ready.get(*sent..sent.saturating_add(BLOCK)).unwrap_or_default().to_vec();
        *sent += BLOCK;
        let (over, from, many) = (*sent >= ready.len(), *next, *many);
        self.send(&block);
        if over {
            self.state.phase = Phase::Rest;
            if many {
                self.read_from(from, true);
            }
        }
        SILENCE
    }

    /// Sends a block of data, whatever it is.
    pub(crate) fn send(&mut self, data: &[u8]) {
        self.state.out.push_back(START);
        self.state.out.extend(data);
        self.state.out.extend(crc16(data).to_be_bytes());
    }

    /// Asks for the blocks from number `next` on, to be sent.
    pub(crate) fn read_from(&mut self, next: u64, many: bool) {
        let left = self.identity.blocks().saturating_sub(next);
        if left == 0 {
            self.state.mishaps |= mishap::OUT_OF_RANGE;
            self.state.phase = Phase::ReadEnd;
            self.state.out.push_back(OUT_OF_RANGE);
            return;
        }
        let count = if many { left.min(AHEAD) } else { 1 };
        let bytes = count * BLOCK as u64;
        self.state.phase = Phase::Reading { next: next + count, many, ready: Vec::new(), sent: 0 };
        self.ask(Job::Read { at: next * BLOCK as u64, len: bytes as u32 });
    }

    /// A byte that is no command's.
    pub(crate) fn take_data(&mut self, byte: u8) {
        // A block may follow the response to the command, not come before it.
        let waits = self.state.out.is_empty();
        match &mut self.state.phase {
            Phase::Writing { next, many } if waits => {
                let (next, many) = (*next, *many);
                match byte {
                    START if !many => self.state.phase = Phase::Taking { next, many, bytes: Vec::new() },
                    START_MANY if many => self.state.phase = Phase::Taking { next, many, bytes: Vec::new() },
                    STOP if many => self.settle(),
                    _ => {}
                }
            }
            Phase::Taking { next, many, bytes } => {
                bytes.push(byte);
                if bytes.len() == BLOCK + 2 {
                    let (next, many, bytes) = (*next, *many, std::mem::take(bytes));
                    self.taken(next, many, bytes);
                }
            }
            _ => {}
        }
    }

    /// Ends a write of many: what was written is on stable storage when the card is ready.
    pub(crate) fn settle(&mut self) {
        // One byte until the line says that the card is busy (section 7.5.3, N_BR).
        self.state.out.push_back(SILENCE);
        self.state.phase = Phase::Busy;
        self.ask(Job::Flush);
    }

    /// A whole block has come.
    fn taken(&mut self, next: u64, many: bool, mut bytes: Vec<u8>) {
        let sum = bytes.split_off(BLOCK);
        if self.state.crc && crc16(&bytes).to_be_bytes().as_slice() != sum {
            self.refuse(next, many, BAD_CRC);
        } else if self.identity.read_only() {
            self.state.mishaps |= mishap::WRITE_PROTECT;
            self.refuse(next, many, NOT_WRITTEN);
        } else if next >= self.identity.blocks() {
            self.state.mishaps |= mishap::OUT_OF_RANGE;
            self.refuse(next, many, NOT_WRITTEN);
        } else if self.state.spoiled {
            // An earlier block of these was accepted, and could not be written.
            self.refuse(next, many, NOT_WRITTEN);
        } else {
            self.state.phase = Phase::Answering { next, many, outcome: None };
            self.ask(Job::Write { at: next * BLOCK as u64, bytes, through: !many });
        }
    }

    /// Says what was wrong with a block; the host is to stop then, or tries it again.
    fn refuse(&mut self, next: u64, many: bool, response: u8) {
        self.state.out.push_back(response);
        self.state.phase = if many { Phase::Writing { next, many } } else { Phase::Rest };
    }

    /// The storage has done its work, or could not.
    pub(crate) fn job_done(&mut self, job: &Job, done: Option<Vec<u8>>) {
        let well = done.is_some();
        if !well {
            self.state.mishaps |= mishap::ERROR;
            self.state.spoiled = true;
        }
        if let (Job::Write { .. }, true) = (job, well) {
            self.state.written = self.state.written.saturating_add(1);
        }
        match &mut self.state.phase {
            Phase::Reading { ready, sent, .. } => match (job, done) {
                (Job::Read { len, .. }, Some(bytes)) if bytes.len() == *len as usize => {
                    (*ready, *sent) = (bytes, 0);
                }
                _ => {
                    self.state.mishaps |= mishap::ERROR;
                    self.state.out.push_back(READ_ERROR);
                    self.state.phase = Phase::ReadEnd;
                }
            },
            Phase::Answering { outcome, .. } => *outcome = Some(well),
            Phase::Busy => self.state.phase = Phase::Rest,
            Phase::BusyBetween { next } => self.state.phase = Phase::Writing { next: *next, many: true },
            Phase::Rest | Phase::ReadEnd | Phase::Writing { .. } | Phase::Taking { .. } => {}
        }
    }
}
