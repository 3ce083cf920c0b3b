//! The device: banks, one behind the other, as on QEMU's `virt` board ("bank-width = <4>", 32 MiB each).

use crate::array::Array;
use crate::bank::Bank;
use crate::query::BANK_BYTES;
use dev_core::{Device, NoRegister, RestoreError};
use fabric_clock::Nanos;

/// The flash.
#[derive(Debug)]
pub struct Flash {
    banks: Vec<Bank>,
    array: Array,
}

impl Flash {
    /// Erased flash of so many banks.
    pub fn new(banks: usize) -> Self {
        Flash { banks: vec![Bank::default(); banks], array: Array::default() }
    }

    /// Gives a bank the bytes that it begins with, the rest being erased; `protected`: for good.
    pub fn load(&mut self, bank: usize, bytes: &[u8], protected: bool) {
        if let Some(own) = self.banks.get_mut(bank) {
            own.protected = protected;
            let room = bytes.len().min(BANK_BYTES as usize);
            self.array.load(bank as u64 * BANK_BYTES, bytes.get(..room).unwrap_or_default());
        }
    }

    /// What was programmed or erased since this was last asked: bank, offset in it, bytes; whole pages of 4096 bytes, and
    /// such as follow each other in one run.
    pub fn take_changes(&mut self) -> Vec<(usize, u64, Vec<u8>)> {
        let runs = self.array.take_changes().into_iter().flat_map(|(at, bytes)| {
            let (bank, base, offset) = place(at);
            // A run may go on in the next bank.
            let own = bytes.len().min((base + BANK_BYTES - at) as usize);
            let (first, rest) = bytes.split_at(own);
            let next = (!rest.is_empty()).then(|| (bank + 1, 0, rest.to_vec()));
            std::iter::once((bank, u64::from(offset), first.to_vec())).chain(next)
        });
        runs.collect()
    }

    /// What was last programmed or erased in a bank could not be kept: its status register says that it failed.
    pub fn failed(&mut self, bank: usize) {
        if let Some(bank) = self.banks.get_mut(bank) {
            bank.failed();
        }
    }

    fn bytes(&self) -> u64 {
        self.banks.len() as u64 * BANK_BYTES
    }
}

/// The bank's number, its place in the array, the offset in it.
fn place(offset: u64) -> (usize, u64, u32) {
    let (bank, at) = (offset / BANK_BYTES, offset % BANK_BYTES);
    (bank as usize, bank * BANK_BYTES, at as u32)
}

impl Device for Flash {
    const NAME: &'static str = "cfi-flash";
    const VERSION: u32 = 1;
    type Saved = saved::FlashV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        let (bank, base, at) = place(offset);
        self.banks.get(bank).map(|b| b.read(&self.array, base, at, size)).ok_or(NoRegister)
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        // The bus is 32 bits wide: what is wider comes in two parts.
        for part in (0..size).step_by(4) {
            let (bank, base, at) = place(offset + u64::from(part));
            let bank = self.banks.get_mut(bank).ok_or(NoRegister)?;
            let value = (value >> (8 * part)) & 0xffff_ffff;
            bank.write(&mut self.array, base, (at, size.min(4), value));
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn reset(&mut self, _now: Nanos) {
        self.banks.iter_mut().for_each(Bank::reset);
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(self)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: Self::NAME };
        let mut restored = saved::into_state(saved, self.banks.len(), self.bytes()).ok_or(damaged)?;
        restored.array.replaces(&self.array);
        // A pin, not state.
        restored.banks.iter_mut().zip(&self.banks).for_each(|(new, old)| new.protected = old.protected);
        *self = restored;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{Array, Bank, Flash};
    use crate::bank::{Expect, Mode, Write};
    use crate::query::{BANK_BYTES, BUFFER_WORDS};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct FlashV1 {
        /// The banks.
        pub banks: Vec<BankV1>,
        /// Pages of 4096 bytes that were programmed since they were erased, by number.
        pub pages: Vec<(u32, Vec<u8>)>,
    }

    /// One bank.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct BankV1 {
        /// What reads give.
        pub mode: ModeV1,
        /// What the next write is.
        pub expect: ExpectV1,
        /// The status register.
        pub status: u8,
        /// Lock bits, block 0 lowest.
        pub locks: u128,
    }

    /// What reads give.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(missing_docs, reason = "the datasheet's words")]
    pub enum ModeV1 {
        Array,
        Status,
        Identifier,
        Query,
    }

    /// What the next write is.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(missing_docs, reason = "the datasheet's words")]
    pub enum ExpectV1 {
        Command,
        Word,
        EraseConfirm,
        Count,
        /// Words that are still to come, and those that came: offset in the bank, bytes, value.
        Buffer {
            left: u16,
            words: Vec<(u32, u8, u64)>,
        },
        Lock,
        Configuration,
    }

    pub(super) fn from_state(state: &Flash) -> FlashV1 {
        let Flash { banks, array } = state;
        let banks = banks.iter().map(|bank| {
            let Bank { mode, expect, status, locks, protected: _ } = bank.clone();
            let mode = match mode {
                Mode::Array => ModeV1::Array,
                Mode::Status => ModeV1::Status,
                Mode::Identifier => ModeV1::Identifier,
                Mode::Query => ModeV1::Query,
            };
            let expect = match expect {
                Expect::Command => ExpectV1::Command,
                Expect::Word => ExpectV1::Word,
                Expect::EraseConfirm => ExpectV1::EraseConfirm,
                Expect::Count => ExpectV1::Count,
                Expect::Buffer { left, words } => ExpectV1::Buffer { left, words },
                Expect::Lock => ExpectV1::Lock,
                Expect::Configuration => ExpectV1::Configuration,
            };
            BankV1 { mode, expect, status, locks }
        });
        FlashV1 { banks: banks.collect(), pages: array.pages().map(|(n, page)| (n, page.to_vec())).collect() }
    }

    pub(super) fn into_state(saved: FlashV1, count: usize, bytes: u64) -> Option<Flash> {
        let FlashV1 { banks, pages } = saved;
        let array = Array::with_pages(&pages, bytes)?;
        let banks = banks.into_iter().map(bank).collect::<Option<Vec<_>>>()?;
        (banks.len() == count).then_some(Flash { banks, array })
    }

    fn bank(saved: BankV1) -> Option<Bank> {
        let BankV1 { mode, expect, status, locks } = saved;
        let mode = match mode {
            ModeV1::Array => Mode::Array,
            ModeV1::Status => Mode::Status,
            ModeV1::Identifier => Mode::Identifier,
            ModeV1::Query => Mode::Query,
        };
        let expect = match expect {
            ExpectV1::Command => Expect::Command,
            ExpectV1::Word => Expect::Word,
            ExpectV1::EraseConfirm => Expect::EraseConfirm,
            ExpectV1::Count => Expect::Count,
            ExpectV1::Buffer { left, words } => {
                let fits = usize::from(left) + words.len() <= usize::from(BUFFER_WORDS);
                (fits && words.iter().all(possible)).then_some(Expect::Buffer { left, words })?
            }
            ExpectV1::Lock => Expect::Lock,
            ExpectV1::Configuration => Expect::Configuration,
        };
        Some(Bank { mode, expect, status, locks, protected: false })
    }

    /// Whether a write can have come over the bus.
    fn possible(&(at, size, value): &Write) -> bool {
        let aligned = matches!(size, 1 | 2 | 4) && at % u32::from(size) == 0;
        aligned && u64::from(at) < BANK_BYTES && value <= 0xffff_ffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(f: &mut Flash, offset: u64, size: u8, value: u64) {
        f.write(offset, size, value, 0).unwrap();
    }

    fn read(f: &mut Flash, offset: u64, size: u8) -> u64 {
        f.read(offset, size, 0).unwrap()
    }

    #[test]
    fn a_command_reaches_one_bank() {
        let mut f = Flash::new(2);
        write(&mut f, 0x154, 4, 0x0098_0098);
        assert_eq!(read(&mut f, 0x40, 8), 0x0052_0052_0051_0051);
        assert_eq!(read(&mut f, BANK_BYTES + 0x40, 4), 0xffff_ffff, "the other bank reads its array");
    }

    #[test]
    fn the_second_bank_has_bits_of_its_own() {
        let mut f = Flash::new(2);
        write(&mut f, BANK_BYTES, 4, 0x0040_0040);
        write(&mut f, BANK_BYTES + 8, 4, 0x1234_5678);
        write(&mut f, BANK_BYTES, 4, 0x00ff_00ff);
        assert_eq!((read(&mut f, BANK_BYTES + 8, 4), read(&mut f, 8, 4)), (0x1234_5678, 0xffff_ffff));
        f.reset(0);
        assert_eq!(read(&mut f, BANK_BYTES + 8, 4), 0x1234_5678, "a reset loses nothing");
    }

    #[test]
    fn eight_bytes_are_two_writes() {
        let mut f = Flash::new(1);
        write(&mut f, 0, 8, 0x1234_5678_0040_0040);
        write(&mut f, 0, 4, 0x00ff_00ff);
        assert_eq!(read(&mut f, 0, 8), 0x1234_5678_ffff_ffff);
    }

    #[test]
    fn changes_are_told_by_bank() {
        let mut f = Flash::new(2);
        f.load(0, &[vec![0xaa; 4096], vec![0xff; BANK_BYTES as usize]].concat(), true);
        f.load(1, &[0x55; 8], false);
        assert_eq!((read(&mut f, 0, 4), read(&mut f, BANK_BYTES, 4)), (0xaaaa_aaaa, 0x5555_5555));
        assert_eq!(read(&mut f, BANK_BYTES + 8, 4), 0xffff_ffff, "no more of the first than fits");
        for bank in [0, BANK_BYTES] {
            write(&mut f, bank, 4, 0x0040_0040);
            write(&mut f, bank + 4, 4, 0);
        }
        let changes = f.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(
            (changes[0].0, changes[0].1, &changes[0].2[..9]),
            (1, 0, &[0x55, 0x55, 0x55, 0x55, 0, 0, 0, 0, 0xff][..])
        );
        assert_eq!(read(&mut f, BANK_BYTES, 4), 0x80_0080);
        f.failed(1);
        assert_eq!(read(&mut f, BANK_BYTES, 4), 0xb0_00b0);
        let saved = f.save();
        f.restore(saved).unwrap();
        assert_eq!(f.take_changes().len(), 2, "what was taken back may be other than what is kept");
        write(&mut f, 0, 4, 0x0040_0040);
        write(&mut f, 4, 4, 0);
        assert!(f.take_changes().is_empty(), "protected still");
    }

    #[test]
    fn a_run_of_changes_ends_at_the_banks_end() {
        let mut f = Flash::new(2);
        for at in [BANK_BYTES - 4, BANK_BYTES] {
            write(&mut f, at / BANK_BYTES * BANK_BYTES, 4, 0x0040_0040);
            write(&mut f, at, 4, 0);
        }
        let told: Vec<_> =
            f.take_changes().into_iter().map(|(bank, at, run)| (bank, at, run.len())).collect();
        assert_eq!(told, [(0, BANK_BYTES - 4096, 4096), (1, 0, 4096)]);
    }

    #[test]
    fn there_is_nothing_behind_the_end() {
        let mut f = Flash::new(1);
        assert_eq!(f.read(BANK_BYTES, 4, 0), Err(NoRegister));
        assert_eq!(f.write(BANK_BYTES, 4, 0, 0), Err(NoRegister));
    }

    #[test]
    fn hostile_saved_state_is_refused() {
        let mut f = Flash::new(1);
        let good = f.save();
        let with = |change: fn(&mut saved::FlashV1)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad
        };
        let buffer = |left, words| saved::ExpectV1::Buffer { left, words };
        for bad in [
            with(|s| s.banks.clear()),
            with(|s| s.pages.push((u32::MAX, vec![0; 4096]))),
            with(|s| s.pages.push((0, vec![0; 1]))),
        ] {
            assert!(f.restore(bad).is_err());
        }
        for expect in [buffer(257, vec![]), buffer(0, vec![(u32::MAX, 1, 0)]), buffer(0, vec![(2, 4, 0)])] {
            let mut bad = good.clone();
            bad.banks[0].expect = expect;
            assert!(f.restore(bad).is_err());
        }
        assert!(f.restore(good).is_ok());
    }
}
