//! The card: bytes in and out (section 7.2, "SPI Bus Protocol").

use crate::data::Phase;
use crate::identity::Identity;
use crate::job::{Job, Wanted};
use crate::saved::{self, CardV1};
use dev_core::RestoreError;
use std::collections::VecDeque;

/// What a line reads that nobody drives: it is pulled up.
pub(crate) const SILENCE: u8 = 0xff;
/// Bytes of a command (section 7.3.1.1).
const FRAME: usize = 6;

/// Where an erase begins and ends: the numbers of its first and its last block.
pub(crate) type Erase = (Option<u32>, Option<u32>);

/// Work for the storage.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// What the card waits for, if it does.
    pub job: Option<Job>,
    /// Its number.
    pub number: u64,
    /// Whether somebody is at it.
    pub taken: bool,
}

/// All that changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// It has been told to be in SPI mode (section 7.2.1).
    pub spi: bool,
    /// It has not been initialized: `in_idle_state` of its answers.
    pub idle: bool,
    /// The host has asked for its voltage (CMD8), and so knows high capacity.
    pub knows_version_2: bool,
    /// Checksums are checked (CMD59).
    pub crc: bool,
    /// The next command is application-specific (CMD55).
    pub app: bool,
    /// 50 MHz (CMD6).
    pub high_speed: bool,
    /// As much of a command as has come.
    pub frame: Vec<u8>,
    /// What it sends next.
    pub out: VecDeque<u8>,
    /// What it is at.
    pub phase: Phase,
    /// What has gone wrong, for the next CMD13: the second byte of R2.
    pub mishaps: u8,
    /// A block of the write that is going on was accepted, and could not be written.
    pub spoiled: bool,
    /// What CMD32 and CMD33 have said.
    pub erase: Erase,
    /// Blocks that the last write has written (ACMD22).
    pub written: u32,
    pub work: Work,
}

impl State {
    fn new() -> State {
        State {
            spi: false,
            idle: true,
            knows_version_2: false,
            crc: false,
            app: false,
            high_speed: false,
            frame: Vec::new(),
            out: VecDeque::new(),
            phase: Phase::Rest,
            mishaps: 0,
            spoiled: false,
            erase: (None, None),
            written: 0,
            work: Work::default(),
        }
    }
}

/// An SD memory card of high or extended capacity.
#[derive(Debug)]
pub struct Card {
    pub(crate) identity: Identity,
    pub(crate) state: State,
}

impl Card {
    /// A card as it is when it gets its power.
    pub fn new(identity: Identity) -> Card {
        Card { identity, state: State::new() }
    }

    /// What it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Eight clocks while it is selected: what it takes from the host, and what it sends at the same time.
    pub fn exchange(&mut self, taken: u8) -> u8 {
        let sent = self.next();
        self.take(taken);
        sent
    }

    /// Its chip select goes high: what of a command has come is none. All else stays as it is, and a card that programs
    /// goes on with it (section 7.2.4).
    pub fn deselect(&mut self) {
        self.state.frame.clear();
    }

    /// Power off and on. What its storage was asked for last may still be done.
    pub fn power_cycle(&mut self) {
        let number = self.state.work.number;
        self.state = State::new();
        // The end of what somebody is at is not taken for that of a later job.
        self.state.work.number = number;
    }

    /// CMD0: all but what it was asked for is as at power-on, and it is in SPI mode.
    pub(crate) fn go_idle(&mut self) {
        self.power_cycle();
        self.state.spi = true;
    }

    fn take(&mut self, byte: u8) {
        let starts = byte & 0xc0 == 0x40;
        if !self.state.frame.is_empty() || starts && self.listens() {
            self.state.frame.push(byte);
            if let Ok(frame) = <[u8; FRAME]>::try_from(self.state.frame.as_slice()) {
                self.state.frame.clear();
                self.command(frame);
            }
            return;
        }
        self.take_data(byte);
    }

    /// Asks the storage for something.
    pub(crate) fn ask(&mut self, job: Job) {
        let work = &mut self.state.work;
        work.number = work.number.wrapping_add(1);
        (work.job, work.taken) = (Some(job), false);
    }

    /// Whether there is a job that nobody is at.
    pub fn wants(&self) -> bool {
        self.state.work.job.is_some() && !self.state.work.taken
    }

    /// Takes the job there is, to be ended with [`Card::finish`].
    pub fn take_job(&mut self) -> Option<Wanted> {
        let work = &mut self.state.work;
        if work.taken {
            return None;
        }
        let job = work.job.clone()?;
        work.taken = true;
        Some(Wanted { number: work.number, job })
    }

    /// The end of job `number`: `Some` if it was done, with the bytes that it has read. A job that the card does not wait
    /// for any more has no effect.
    pub fn finish(&mut self, number: u64, done: Option<Vec<u8>>) {
        let work = &mut self.state.work;
        if !work.taken || work.number != number {
            return;
        }
        work.taken = false;
        if let Some(job) = work.job.take() {
            self.job_done(&job, done);
        }
    }

    /// Its state, for a snapshot. A job that somebody is at will be wanted again: doing it twice does no harm.
    pub fn save(&self) -> CardV1 {
        saved::from_state(&self.state)
    }

    /// Takes a state back.
    ///
    /// # Errors
    /// If no card of this capacity could be in it.
    pub fn restore(&mut self, state: CardV1) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: "sd-card" };
        self.state = saved::into_state(state, &self.identity).ok_or(damaged)?;
        Ok(())
    }
}
