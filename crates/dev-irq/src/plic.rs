//! PLIC: the platform-level interrupt controller, with level-sensitive gateways.
//!
//! Source: RISC-V Platform-Level Interrupt Controller Specification 1.0.0; chapters are cited below.
//! Priorities and thresholds have three bits (levels 1 to 7), as WARL fields.
//!
//! Registers are 32 bits wide and "accessed atomically with LW and SW" (Memory Map), so other sizes
//! are refused, a doubleword across two registers too. Reserved places, sources and contexts that are
//! not there read as zero and ignore writes.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address ("Memory Map"). `Enable` counts words: 32 for each context.
    pub enum Reg {
        0x00_0000 Priority[1024; 4] RW { priority: 2..0 }
        0x00_1000 Pending[32; 4] RO {}
        0x00_2000 Enable[507904; 4] RW {}
        0x20_0000 Threshold[15872; 0x1000] RW { threshold: 2..0 }
        0x20_0004 Claim[15872; 0x1000] RW { id: 31..0 }
    }
}

/// Bytes of the whole memory map.
const WINDOW: u64 = 0x400_0000;
/// Words of enable bits of one context.
const ENABLE_WORDS: u64 = 32;
/// Most interrupt sources; the first is number 1.
pub const MAX_SOURCES: usize = 1023;
/// Most contexts.
pub const MAX_CONTEXTS: usize = 15872;

// ---- state ----

/// One interrupt target.
#[derive(Clone, Debug, PartialEq)]
struct Context {
    /// Enable bits, one word for 32 sources.
    enable: Vec<u32>,
    threshold: u8,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    /// By source; number 0 is not one.
    priority: Vec<u8>,
    /// Levels at the inputs.
    level: Vec<u32>,
    /// IP bits.
    pending: Vec<u32>,
    /// Sources claimed and not completed: their gateways are closed.
    claimed: Vec<u32>,
    contexts: Vec<Context>,
}

impl State {
    fn new(sources: usize, contexts: usize) -> Self {
        let words = vec![0; sources / 32 + 1];
        State {
            priority: vec![0; sources + 1],
            level: words.clone(),
            pending: words.clone(),
            claimed: words.clone(),
            contexts: vec![Context { enable: words, threshold: 0 }; contexts],
        }
    }

    fn is_source(&self, id: usize) -> bool {
        id != 0 && id < self.priority.len()
    }

    /// The bits of word `word` that are sources.
    fn sources(&self, word: usize) -> u32 {
        let first = word.saturating_mul(32);
        let count = self.priority.len().saturating_sub(first).min(32);
        let all = u32::MAX.checked_shr(32 - count as u32).unwrap_or(0);
        if word == 0 { all & !1 } else { all }
    }

    /// The pending interrupt of highest priority that is enabled for `context`: its priority and
    /// identifier. Of equals, the lowest identifier ("Interrupt Identifiers"); priority 0 never
    /// interrupts ("Interrupt Priorities").
    fn best(&self, context: &Context) -> Option<(u8, usize)> {
        let mut best: Option<(u8, usize)> = None;
        for (word, (pending, enable)) in self.pending.iter().zip(&context.enable).enumerate() {
            let mut candidates = pending & enable;
            while candidates != 0 {
                let id = word * 32 + candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                let priority = self.priority.get(id).copied().unwrap_or(0);
                if priority > best.map_or(0, |b| b.0) {
                    best = Some((priority, id));
                }
            }
        }
        best
    }

    /// EIP ("Interrupt Notifications", "Priority Thresholds").
    fn notifies(&self, context: &Context) -> bool {
        self.best(context).is_some_and(|(priority, _)| priority > context.threshold)
    }

    /// Claim ("Interrupt Claim Process"): not subject to the threshold.
    fn claim(&mut self, context: usize) -> u64 {
        let best = self.contexts.get(context).and_then(|c| self.best(c));
        let Some((_, id)) = best else { return 0 };
        set(&mut self.pending, id, false);
        set(&mut self.claimed, id, true);
        id as u64
    }

    /// Completion ("Interrupt Completion"): ignored unless the source is enabled for the context. A
    /// level that is still high is a new request ("Interrupt Gateways").
    fn complete(&mut self, context: usize, id: u64) {
        let id = usize::try_from(id).unwrap_or(0);
        if self.is_source(id) && self.contexts.get(context).is_some_and(|c| get(&c.enable, id)) {
            set(&mut self.claimed, id, false);
            self.request(id);
        }
    }

    /// The gateway of `id` forwards a request if its input is high and none is under way. Once
    /// forwarded, a request is not taken back when the level falls.
    fn request(&mut self, id: usize) {
        if get(&self.level, id) && !get(&self.claimed, id) {
            set(&mut self.pending, id, true);
        }
    }
}

fn get(words: &[u32], bit: usize) -> bool {
    words.get(bit / 32).is_some_and(|w| w >> (bit % 32) & 1 != 0)
}

fn set(words: &mut [u32], bit: usize, high: bool) {
    if let Some(word) = words.get_mut(bit / 32) {
        *word = *word & !(1 << (bit % 32)) | u32::from(high) << (bit % 32);
    }
}

/// The controller. Input `n` is source `n`, from 1; output `c` is the notification of context `c`.
/// What a context is, the board says (commonly M and S mode of each hart in turn).
#[derive(Debug)]
pub struct Plic {
    state: State,
}

// ---- host side ----

impl Plic {
    /// With sources 1 to `sources` (at most [`MAX_SOURCES`]) and `contexts` contexts (at most
    /// [`MAX_CONTEXTS`]).
    pub fn new(sources: usize, contexts: usize) -> Self {
        Plic { state: State::new(sources.min(MAX_SOURCES), contexts.min(MAX_CONTEXTS)) }
    }
}

fn access(offset: u64, size: u8) -> Result<Option<(Reg, usize)>, NoRegister> {
    if size != 4 || offset >= WINDOW || !offset.is_multiple_of(4) {
        return Err(NoRegister);
    }
    Ok(match Reg::nearest(offset) {
        Some((register, index, 0)) => Some((register, index as usize)),
        _ => None,
    })
}

impl Device for Plic {
    const NAME: &'static str = "plic";
    const VERSION: u32 = 1;
    type Saved = saved::PlicV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        let Some((register, index)) = access(offset, size)? else { return Ok(0) };
        let s = &mut self.state;
        let value = match register {
            Reg::Priority => s.priority.get(index).map(|&p| u64::from(p)),
            Reg::Pending => s.pending.get(index).map(|&w| u64::from(w)),
            Reg::Enable => {
                let (context, word) = (index / ENABLE_WORDS as usize, index % ENABLE_WORDS as usize);
                s.contexts.get(context).and_then(|c| c.enable.get(word)).map(|&w| u64::from(w))
            }
            Reg::Threshold => s.contexts.get(index).map(|c| u64::from(c.threshold)),
            Reg::Claim => Some(s.claim(index)),
        };
        Ok(value.unwrap_or(0))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let Some((register, index)) = access(offset, size)? else { return Ok(()) };
        let s = &mut self.state;
        match register {
            Reg::Priority if s.is_source(index) => {
                if let Some(priority) = s.priority.get_mut(index) {
                    *priority = Priority::priority(value) as u8;
                }
            }
            Reg::Enable => {
                let (context, word) = (index / ENABLE_WORDS as usize, index % ENABLE_WORDS as usize);
                let sources = s.sources(word);
                let context = s.contexts.get_mut(context);
                if let Some(bits) = context.and_then(|c| c.enable.get_mut(word)) {
                    *bits = value as u32 & sources;
                }
            }
            Reg::Threshold => {
                if let Some(context) = s.contexts.get_mut(index) {
                    context.threshold = Threshold::threshold(value) as u8;
                }
            }
            Reg::Claim => s.complete(index, Claim::id(value)),
            Reg::Priority | Reg::Pending => {}
        }
        Ok(())
    }

    fn lines(&self, word: usize, _now: Nanos) -> u64 {
        let s = &self.state;
        if s.pending.iter().all(|&w| w == 0) {
            return 0;
        }
        let contexts = s.contexts.iter().skip(word.saturating_mul(64)).take(64);
        contexts.enumerate().fold(0, |levels, (n, c)| levels | u64::from(s.notifies(c)) << n)
    }

    fn outputs(&self) -> usize {
        self.state.contexts.len()
    }

    fn input(&mut self, input: u32, high: bool) {
        let id = input as usize;
        if self.state.is_source(id) {
            set(&mut self.state.level, id, high);
            self.state.request(id);
        }
    }

    fn reset(&mut self, _now: Nanos) {
        // The levels are driven from outside, and a high one is a request at once.
        let sources = self.state.priority.len().saturating_sub(1);
        let level = std::mem::take(&mut self.state.level);
        let pending = level.clone();
        self.state = State { level, pending, ..State::new(sources, self.state.contexts.len()) };
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: Self::NAME };
        self.state = saved::into_state(saved, &self.state).ok_or(damaged)?;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{Context, Priority, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order. Bits are 32 sources a word.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct PlicV1 {
        /// By source.
        pub priority: Vec<u8>,
        /// Levels at the inputs.
        pub level: Vec<u32>,
        /// IP bits.
        pub pending: Vec<u32>,
        /// Claimed and not completed.
        pub claimed: Vec<u32>,
        /// Each context's enable bits and threshold.
        pub contexts: Vec<(Vec<u32>, u8)>,
    }

    pub(super) fn from_state(state: &State) -> PlicV1 {
        let State { priority, level, pending, claimed, contexts } = state;
        PlicV1 {
            priority: priority.clone(),
            level: level.clone(),
            pending: pending.clone(),
            claimed: claimed.clone(),
            contexts: contexts
                .iter()
                .map(|Context { enable, threshold }| (enable.clone(), *threshold))
                .collect(),
        }
    }

    /// `None` if a PLIC of the shape of `like` could not be in such a state.
    pub(super) fn into_state(saved: PlicV1, like: &State) -> Option<State> {
        let PlicV1 { priority, level, pending, claimed, contexts } = saved;
        let bits = |words: &[u32]| {
            words.len() == like.level.len()
                && words.iter().enumerate().all(|(n, word)| word & !like.sources(n) == 0)
        };
        let levels = |p: u8| u64::from(p) & !Priority::FIELDS == 0;
        let shape = priority.len() == like.priority.len() && contexts.len() == like.contexts.len();
        let values = priority.iter().all(|&p| levels(p))
            && priority.first() == Some(&0)
            && bits(&level)
            && bits(&pending)
            && bits(&claimed)
            && contexts.iter().all(|(enable, threshold)| bits(enable) && levels(*threshold));
        // A gateway is idle only while its input is low, and busy for one reason at a time.
        let gateways = level
            .iter()
            .zip(pending.iter().zip(&claimed))
            .all(|(level, (pending, claimed))| level & !(pending | claimed) == 0 && pending & claimed == 0);
        (shape && values && gateways).then(|| State {
            priority,
            level,
            pending,
            claimed,
            contexts: contexts.into_iter().map(|(enable, threshold)| Context { enable, threshold }).collect(),
        })
    }
}

#[cfg(test)]
#[path = "plic_test.rs"]
mod tests;
