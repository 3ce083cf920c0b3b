//! Saved state of a card.

use crate::BLOCK;
use crate::card::{State, Work};
use crate::data::{AHEAD, Phase};
use crate::identity::Identity;
use crate::job::Job;
use serde::{Deserialize, Serialize};

/// Bytes of the longest response, and a block behind it.
const MOST_OUT: usize = 16 + BLOCK;

/// Version 1; fields are numbered by their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardV1 {
    /// In SPI mode, idle, knows version 2, checks checksums, behind CMD55, high speed, an accepted block was not written.
    pub flags: [bool; 7],
    /// As much of a command as has come.
    pub frame: Vec<u8>,
    /// What it sends next.
    pub out: Vec<u8>,
    /// Which phase, its block number, whether there are many.
    pub phase: (u8, u64, bool),
    /// The phase's bytes, and how many of them are sent.
    pub bytes: (Vec<u8>, u32),
    /// How a block was written that is to be answered.
    pub outcome: Option<bool>,
    /// For the next CMD13.
    pub mishaps: u8,
    /// First and last block to be erased.
    pub erase: (Option<u32>, Option<u32>),
    /// Blocks written.
    pub written: u32,
    /// What the storage is to do, and the number of that.
    pub job: (Option<Job>, u64),
}

pub(crate) fn from_state(state: &State) -> CardV1 {
    let State {
        spi,
        idle,
        knows_version_2,
        crc,
        app,
        high_speed,
        frame,
        out,
        phase,
        mishaps,
        spoiled,
        erase,
        written,
        work,
    } = state;
    let Work { job, number, taken: _ } = work;
    let nothing = (Vec::new(), 0);
    let (phase, bytes, outcome) = match phase {
        Phase::Rest => ((0, 0, false), nothing, None),
        Phase::Reading { next, many, ready, sent } => {
            ((1, *next, *many), (ready.clone(), *sent as u32), None)
        }
        Phase::ReadEnd => ((2, 0, false), nothing, None),
        Phase::Writing { next, many } => ((3, *next, *many), nothing, None),
        Phase::Taking { next, many, bytes } => ((4, *next, *many), (bytes.clone(), 0), None),
        Phase::Answering { next, many, outcome } => ((5, *next, *many), nothing, *outcome),
        Phase::Busy => ((6, 0, false), nothing, None),
        Phase::BusyBetween { next } => ((7, *next, false), nothing, None),
    };
    CardV1 {
        flags: [*spi, *idle, *knows_version_2, *crc, *app, *high_speed, *spoiled],
        frame: frame.clone(),
        out: out.iter().copied().collect(),
        phase,
        bytes,
        outcome,
        mishaps: *mishaps,
        erase: *erase,
        written: *written,
        job: (job.clone(), *number),
    }
}

/// `None` if no card of that capacity could be in such a state.
pub(crate) fn into_state(saved: CardV1, identity: &Identity) -> Option<State> {
    let CardV1 { flags, frame, out, phase, bytes, outcome, mishaps, erase, written, job } = saved;
    let [spi, idle, knows_version_2, crc, app, high_speed, spoiled] = flags;
    let blocks = identity.blocks();
    let (kind, next, many) = phase;
    let (bytes, sent) = (bytes.0, bytes.1 as usize);
    let inside = |block: Option<u32>| block.is_none_or(|block| u64::from(block) < blocks);
    let sound = frame.len() < 6
        && frame.first().is_none_or(|byte| byte & 0xc0 == 0x40)
        && out.len() <= MOST_OUT
        && inside(erase.0)
        && inside(erase.1)
        && next <= blocks.saturating_add(1)
        && job.0.as_ref().is_none_or(|job| possible(job, identity));
    let whole = bytes.len().is_multiple_of(BLOCK) && bytes.len() as u64 <= AHEAD * BLOCK as u64;
    let waits = |wanted: fn(&Job) -> bool| job.0.as_ref().is_some_and(wanted);
    let writes = || waits(|job| !matches!(job, Job::Read { .. }));
    let phase = match kind {
        0 => Phase::Rest,
        // Something is ready, or the storage is to bring it.
        1 if whole
            && (bytes.is_empty() && sent == 0 && waits(|job| matches!(job, Job::Read { .. }))
                || sent < bytes.len() && sent.is_multiple_of(BLOCK)) =>
        {
            Phase::Reading { next, many, ready: bytes, sent }
        }
        2 => Phase::ReadEnd,
        3 => Phase::Writing { next, many },
        4 if bytes.len() < BLOCK + 2 => Phase::Taking { next, many, bytes },
        5 if outcome.is_some() || writes() => Phase::Answering { next, many, outcome },
        6 if writes() => Phase::Busy,
        7 if writes() => Phase::BusyBetween { next },
        _ => return None,
    };
    let work = Work { job: job.0, number: job.1, taken: false };
    sound.then(|| State {
        spi,
        idle,
        knows_version_2,
        crc,
        app,
        high_speed,
        frame,
        out: out.into(),
        phase,
        mishaps,
        spoiled,
        erase,
        written,
        work,
    })
}

/// Whether a card can have asked for it.
fn possible(job: &Job, identity: &Identity) -> bool {
    let inside = |at: u64, len: u64| {
        let end = at.checked_add(len);
        at.is_multiple_of(BLOCK as u64)
            && len.is_multiple_of(BLOCK as u64)
            && len > 0
            && end.is_some_and(|end| end / BLOCK as u64 <= identity.blocks())
    };
    match job {
        Job::Read { at, len } => inside(*at, u64::from(*len)) && u64::from(*len) <= AHEAD * BLOCK as u64,
        Job::Write { at, bytes, .. } => {
            inside(*at, bytes.len() as u64) && bytes.len() == BLOCK && !identity.read_only()
        }
        Job::Flush => true,
        Job::Erase { at, len } => inside(*at, *len) && !identity.read_only(),
    }
}
