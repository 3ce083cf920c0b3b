//! Hart states and their transitions (SBI specification, "Hart State Management Extension").

use crate::SbiError;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An HSM state, with its state ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HartState {
    /// Executing.
    Started = 0,
    /// Not executing below M-mode.
    Stopped = 1,
    /// Another hart has asked it to start.
    StartPending = 2,
    /// It has asked to stop, and its thread has not yet taken note.
    StopPending = 3,
    /// Waiting for an interrupt.
    Suspended = 4,
    /// It has asked to be suspended, and its thread has not yet taken note.
    SuspendPending = 5,
    /// An interrupt has ended the suspension.
    ResumePending = 6,
}

impl HartState {
    /// The state with this ID.
    pub const fn from_id(id: u8) -> Option<HartState> {
        Some(match id {
            0 => HartState::Started,
            1 => HartState::Stopped,
            2 => HartState::StartPending,
            3 => HartState::StopPending,
            4 => HartState::Suspended,
            5 => HartState::SuspendPending,
            6 => HartState::ResumePending,
            _ => return None,
        })
    }

    /// Whether the hart belongs to supervisor software: it gets interrupts and fences. A hart that is
    /// stopped or not yet started has nothing cached and no interrupt to miss.
    pub const fn available(self) -> bool {
        !matches!(self, HartState::Stopped | HartState::StartPending | HartState::StopPending)
    }

    /// Whether an interrupt sent now is one that the hart will see: also one that is about to start,
    /// which `sbi_hart_start` has said to be supervisor software's.
    pub const fn interruptible(self) -> bool {
        self.available() || matches!(self, HartState::StartPending)
    }
}

/// Where a hart enters S-mode, and what it finds in `a1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Physical address.
    pub address: u64,
    /// The caller's parameter.
    pub opaque: u64,
}

/// What a parked hart is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Execute on as it is.
    Run,
    /// Enter S-mode with all its state made anew.
    Boot(Entry),
    /// Enter S-mode after a suspension that kept nothing.
    Enter(Entry),
    /// Wait until another hart starts it.
    Stopped,
    /// Wait for an interrupt.
    Suspended,
}

/// The state of one hart. Transitions happen under the lock; the state can be read without.
#[derive(Debug)]
pub(crate) struct Hsm {
    state: AtomicU8,
    /// Where to go on when the hart is started or resumed; `None` if it goes on where it was.
    entry: Mutex<Option<Entry>>,
}

impl Hsm {
    pub fn new(state: HartState, entry: Option<Entry>) -> Hsm {
        Hsm { state: AtomicU8::new(state as u8), entry: Mutex::new(entry) }
    }

    pub fn state(&self) -> HartState {
        // Only `set` stores.
        HartState::from_id(self.state.load(Ordering::SeqCst)).unwrap_or(HartState::Stopped)
    }

    /// State and entry at one moment, for a snapshot.
    pub fn both(&self) -> (HartState, Option<Entry>) {
        let entry = self.lock();
        (self.state(), *entry)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Entry>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: HartState) {
        self.state.store(state as u8, Ordering::SeqCst);
    }

    /// Puts the hart into `state`, whatever it was in.
    pub fn force(&self, state: HartState, entry: Option<Entry>) {
        let mut guard = self.lock();
        *guard = entry;
        self.set(state);
    }

    /// Another hart starts this one.
    pub fn start(&self, entry: Entry) -> Result<(), SbiError> {
        let mut guard = self.lock();
        match self.state() {
            HartState::Stopped => {}
            // On its way to be stopped, but not there.
            HartState::StopPending => return Err(SbiError::Failed),
            _ => return Err(SbiError::AlreadyAvailable),
        }
        *guard = Some(entry);
        self.set(HartState::StartPending);
        Ok(())
    }

    /// The hart stops itself.
    pub fn stop(&self) -> Result<(), SbiError> {
        self.depart(HartState::StopPending, None)
    }

    /// The hart suspends itself, to go on at `entry` or, if that is `None`, where it is.
    pub fn suspend(&self, entry: Option<Entry>) -> Result<(), SbiError> {
        self.depart(HartState::SuspendPending, entry)
    }

    fn depart(&self, state: HartState, entry: Option<Entry>) -> Result<(), SbiError> {
        let mut guard = self.lock();
        if self.state() != HartState::Started {
            return Err(SbiError::Failed);
        }
        *guard = entry;
        self.set(state);
        Ok(())
    }

    /// The hart's thread, which executes no guest instruction now, asks what to do. `interrupt` says
    /// whether the hart has an interrupt that ends a suspension.
    pub fn step(&self, interrupt: bool) -> Step {
        let mut entry = self.lock();
        match self.state() {
            HartState::Started => return Step::Run,
            HartState::StopPending => self.set(HartState::Stopped),
            HartState::SuspendPending => self.set(HartState::Suspended),
            _ => {}
        }
        match self.state() {
            HartState::Stopped => Step::Stopped,
            HartState::Suspended if !interrupt => Step::Suspended,
            HartState::Suspended | HartState::ResumePending => {
                self.set(HartState::ResumePending);
                entry.take().map_or(Step::Run, Step::Enter)
            }
            _ => Step::Boot(entry.take().unwrap_or_default()),
        }
    }

    /// The hart's thread has done what [`Hsm::step`] told it to and goes on.
    pub fn started(&self) {
        let _guard = self.lock();
        self.set(HartState::Started);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HartState::*;

    const ENTRY: Entry = Entry { address: 0x8020_0000, opaque: 7 };

    #[test]
    fn the_states_have_the_ids_of_the_table() {
        let states = [Started, Stopped, StartPending, StopPending, Suspended, SuspendPending, ResumePending];
        for (id, state) in (0..).zip(states) {
            assert_eq!((state as u8, HartState::from_id(id)), (id, Some(state)));
        }
        assert_eq!(HartState::from_id(7), None);
    }

    #[test]
    fn start_and_stop_pass_the_pending_states() {
        let hsm = Hsm::new(Stopped, None);
        assert_eq!(hsm.step(true), Step::Stopped);
        assert_eq!(hsm.start(ENTRY), Ok(()));
        assert_eq!(hsm.state(), StartPending);
        assert_eq!(hsm.start(ENTRY), Err(SbiError::AlreadyAvailable));
        assert_eq!(hsm.step(false), Step::Boot(ENTRY));
        hsm.started();
        assert_eq!((hsm.state(), hsm.step(false)), (Started, Step::Run));
        assert_eq!(hsm.start(ENTRY), Err(SbiError::AlreadyAvailable));
        assert_eq!(hsm.stop(), Ok(()));
        assert_eq!(hsm.state(), StopPending);
        assert_eq!(hsm.start(ENTRY), Err(SbiError::Failed));
        assert_eq!(hsm.step(true), Step::Stopped);
        assert_eq!(hsm.state(), Stopped);
    }

    #[test]
    fn only_an_interrupt_ends_a_suspension() {
        let hsm = Hsm::new(Started, None);
        hsm.suspend(Some(ENTRY)).unwrap();
        assert_eq!(hsm.state(), SuspendPending);
        assert_eq!(hsm.step(false), Step::Suspended);
        assert_eq!(hsm.state(), Suspended);
        assert_eq!(hsm.start(ENTRY), Err(SbiError::AlreadyAvailable));
        assert_eq!(hsm.step(true), Step::Enter(ENTRY));
        assert_eq!(hsm.state(), ResumePending);
        hsm.started();
        hsm.suspend(None).unwrap();
        assert_eq!(hsm.step(true), Step::Run);
    }

    #[test]
    fn of_many_that_start_a_hart_at_once_one_succeeds_and_its_entry_counts() {
        for _ in 0..200 {
            let hsm = Hsm::new(Stopped, None);
            let results: Vec<_> = std::thread::scope(|scope| {
                let start = |n| {
                    let hsm = &hsm;
                    scope.spawn(move || hsm.start(Entry { address: n, opaque: n }).map(|()| n))
                };
                let threads: Vec<_> = (1..=3).map(start).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            let winners: Vec<u64> = results.iter().filter_map(|r| r.ok()).collect();
            assert_eq!(winners.len(), 1, "{results:?}");
            assert_eq!(hsm.step(false), Step::Boot(Entry { address: winners[0], opaque: winners[0] }));
        }
    }
}
