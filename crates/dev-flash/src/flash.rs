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
        *self = saved::into_state(saved, self.banks.len(), self.bytes()).ok_or(damaged)?;
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
            let Bank { mode, expect, status, locks } = bank.clone();
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
        Some(Bank { mode, expect, status, locks })
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
        for expect in [buffer(17, vec![]), buffer(0, vec![(u32::MAX, 1, 0)]), buffer(0, vec![(2, 4, 0)])] {
            let mut bad = good.clone();
            bad.banks[0].expect = expect;
            assert!(f.restore(bad).is_err());
        }
        assert!(f.restore(good).is_ok());
    }
}
