//! One bank: two 28F128J3 in 16-bit mode that take every command together.
//!
//! Source: Intel "3 Volt StrataFlash Memory 28F128J3", chapters "Command definitions", "Status register",
//! "Write to buffer", "Block lock". Programming and erasing are done when the command is: the datasheet
//! gives times at most, and no least. Suspending then finds nothing to suspend.
//!
//! The bus puts narrow data on all its lanes, so that a command of 8 or 16 bits reaches both chips, while
//! data is programmed only where it was written. QEMU's board does the same, and U-Boot, which tries
//! narrow accesses first, relies on it.

use crate::array::Array;
use crate::query::{BLOCK_BYTES, BUFFER_WORDS, identifier, query};

/// Bits of the status register.
mod status {
    pub const READY: u8 = 1 << 7;
    pub const ERASE_ERROR: u8 = 1 << 5;
    pub const PROGRAM_ERROR: u8 = 1 << 4;
    pub const LOCKED: u8 = 1 << 1;
    /// What a command that is none after its setup raises.
    pub const SEQUENCE: u8 = ERASE_ERROR | PROGRAM_ERROR;
}

/// What reads give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Array,
    Status,
    Identifier,
    Query,
}

/// A write: offset in the bank, bytes, value.
pub(crate) type Write = (u32, u8, u64);

/// What the next write is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expect {
    /// A command.
    #[default]
    Command,
    /// The word to program.
    Word,
    /// The confirmation of an erasure.
    EraseConfirm,
    /// How many words follow, less one.
    Count,
    /// Words for the buffer: how many are left, and those that came; then the confirmation.
    Buffer { left: u16, words: Vec<Write> },
    /// What to do with lock bits.
    Lock,
    /// The configuration of a pin that is connected to nothing.
    Configuration,
}

/// One bank, but for its bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bank {
    pub mode: Mode,
    pub expect: Expect,
    pub status: u8,
    /// A bit for each block: neither programmed nor erased. Outlives a reset, as the bits do.
    pub locks: u128,
    /// The pin that protects the whole chip: nothing is programmed or erased.
    pub protected: bool,
}

impl Default for Bank {
    fn default() -> Self {
        let (mode, expect) = (Mode::Array, Expect::Command);
        Bank { mode, expect, status: status::READY, locks: 0, protected: false }
    }
}

/// The bit of a block in the lock bits.
fn block_bit(at: u32) -> u128 {
    1 << (u64::from(at) / BLOCK_BYTES % 128)
}

impl Bank {
    /// The signal RP#: bits and locks stay.
    pub fn reset(&mut self) {
        *self = Bank { locks: self.locks, protected: self.protected, ..Bank::default() };
    }

    /// What was last programmed or erased did not come to stay.
    pub fn failed(&mut self) {
        self.status |= status::SEQUENCE;
    }

    fn locked(&self, at: u32) -> bool {
        self.protected || self.locks & block_bit(at) != 0
    }

    /// A read; the bank's bits start at `base` of the array.
    pub fn read(&self, array: &Array, base: u64, at: u32, size: u8) -> u64 {
        let word = |at: u32| u64::from(at) / 4;
        // Each chip has its half of the 32-bit word, and says the same in its low byte.
        let both = |answer: &dyn Fn(u32) -> u8| {
            let bytes =
                (0..u32::from(size)).map(|i| if (at + i).is_multiple_of(2) { answer(at + i) } else { 0 });
            bytes.enumerate().fold(0, |value, (i, byte)| value | u64::from(byte) << (8 * i))
        };
        match self.mode {
            Mode::Array => array.read(base + u64::from(at), size),
            Mode::Status => both(&|_| self.status),
            Mode::Identifier => both(&|at| identifier(word(at), self.locked(at))),
            Mode::Query => both(&|at| query(word(at), self.locked(at))),
        }
    }

    /// A write.
    pub fn write(&mut self, array: &mut Array, base: u64, write: Write) {
        let (at, _, value) = write;
        match std::mem::take(&mut self.expect) {
            Expect::Command => self.command(value),
            Expect::Word => self.program(array, base, &[write]),
            Expect::EraseConfirm => self.erase(array, base, at, value),
            Expect::Count if (value & 0xffff) < u64::from(BUFFER_WORDS) => {
                self.expect = Expect::Buffer { left: value as u16 + 1, words: Vec::new() };
            }
            Expect::Count => self.status |= status::SEQUENCE,
            Expect::Buffer { left: 0, words } => {
                // All words lie in the buffers' length from the first one's address on.
                let length = 4 * u32::from(BUFFER_WORDS);
                let first = words.first().map_or(0, |w| w.0);
                let near = words.iter().all(|w| w.0 >= first && w.0 - first < length);
                if value & 0xff == 0xd0 && near {
                    self.program(array, base, &words);
                } else {
                    self.status |= status::SEQUENCE;
                }
            }
            Expect::Buffer { left, mut words } => {
                words.push(write);
                self.expect = Expect::Buffer { left: left - 1, words };
            }
            Expect::Lock => match value & 0xff {
                0x01 => self.locks |= block_bit(at),
                0xd0 => self.locks = 0,
                _ => self.status |= status::SEQUENCE,
            },
            Expect::Configuration => {}
        }
    }

    /// Only the low byte of a chip's half carries commands.
    fn command(&mut self, value: u64) {
        self.mode = match value & 0xff {
            0x70 => Mode::Status,
            0x90 => Mode::Identifier,
            0x98 => Mode::Query,
            0x50 => {
                self.status = status::READY;
                self.mode
            }
            0x40 | 0x10 => self.expecting(Expect::Word),
            0x20 => self.expecting(Expect::EraseConfirm),
            // The extended status register has one bit, "buffer free", in the place of READY.
            0xe8 => self.expecting(Expect::Count),
            0x60 => self.expecting(Expect::Lock),
            0xb8 => self.expecting(Expect::Configuration),
            // Suspend and resume, with nothing under way.
            0xb0 | 0xd0 => Mode::Status,
            // 0xff, and what is reserved.
            _ => Mode::Array,
        };
    }

    fn expecting(&mut self, what: Expect) -> Mode {
        self.expect = what;
        Mode::Status
    }

    fn program(&mut self, array: &mut Array, base: u64, words: &[Write]) {
        if words.iter().any(|&(at, ..)| self.locked(at)) {
            self.status |= status::PROGRAM_ERROR | status::LOCKED;
            return;
        }
        for &(at, size, value) in words {
            array.program(base + u64::from(at), size, value);
        }
    }

    fn erase(&mut self, array: &mut Array, base: u64, at: u32, confirm: u64) {
        if confirm & 0xff != 0xd0 {
            self.status |= status::SEQUENCE;
        } else if self.locked(at) {
            self.status |= status::ERASE_ERROR | status::LOCKED;
        } else {
            let block = u64::from(at) / BLOCK_BYTES * BLOCK_BYTES;
            array.erase(base + block, BLOCK_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bank with its bits.
    #[derive(Default)]
    struct Bench(Bank, Array);

    const BASE: u64 = 0x200_0000;
    const BLOCK: u32 = BLOCK_BYTES as u32;

    impl Bench {
        /// Writes to both chips at once.
        fn write(&mut self, writes: &[(u32, u16)]) {
            for &(at, value) in writes {
                self.0.write(&mut self.1, BASE, (at, 4, u64::from(value) * 0x1_0001));
            }
        }
        fn read(&self, at: u32) -> u64 {
            self.0.read(&self.1, BASE, at, 4)
        }
    }

    #[test]
    fn after_reset_it_reads_its_array() {
        assert_eq!(Bench::default().read(8), 0xffff_ffff);
    }

    #[test]
    fn a_word_is_programmed_and_the_status_read() {
        let mut b = Bench::default();
        b.write(&[(0, 0x40), (8, 0x1234)]);
        assert_eq!(b.read(0), 0x80_0080);
        b.write(&[(0, 0xff)]);
        assert_eq!((b.read(8), b.read(12)), (0x1234_1234, 0xffff_ffff));
        b.write(&[(0, 0x10), (8, 0xf0f0), (0, 0xff)]);
        assert_eq!(b.read(8), 0x1030_1030, "ones do not come back, and that is no error");
        assert_eq!(b.0.status, 0x80);
    }

    #[test]
    fn narrow_commands_reach_both_chips_and_narrow_data_its_place() {
        let mut b = Bench::default();
        b.0.write(&mut b.1, BASE, (0x154, 2, 0x98));
        assert_eq!((b.read(0x40), b.0.read(&b.1, BASE, 0x42, 2)), (0x51_0051, 0x51), "Q, twice");
        assert_eq!((b.0.read(&b.1, BASE, 0x44, 1), b.0.read(&b.1, BASE, 0x45, 1)), (0x52, 0));
        b.0.write(&mut b.1, BASE, (0, 1, 0x40));
        b.0.write(&mut b.1, BASE, (0x102, 2, 0x5678));
        b.0.write(&mut b.1, BASE, (0, 1, 0xff));
        assert_eq!(b.read(0x100), 0x5678_ffff);
    }

    #[test]
    fn a_block_is_erased_and_its_neighbour_is_not() {
        let mut b = Bench::default();
        b.write(&[(0, 0x40), (BLOCK - 4, 0), (0, 0x40), (BLOCK, 0)]);
        b.write(&[(8, 0x20), (8, 0xd0)]);
        assert_eq!(b.read(0), 0x80_0080);
        b.write(&[(0, 0xff)]);
        assert_eq!((b.read(BLOCK - 4), b.read(BLOCK)), (0xffff_ffff, 0));
    }

    #[test]
    fn an_erasure_that_is_not_confirmed_is_a_sequence_error() {
        let mut b = Bench::default();
        b.write(&[(0, 0x40), (0, 0), (0, 0x20), (0, 0xff)]);
        assert_eq!(b.read(0), 0xb0_00b0);
        b.write(&[(0, 0x50), (0, 0x70)]);
        assert_eq!(b.read(0), 0x80_0080, "cleared");
        b.write(&[(0, 0xff)]);
        assert_eq!(b.read(0), 0, "and nothing was erased");
    }

    #[test]
    fn the_buffer_is_written_whole_after_confirmation() {
        let mut b = Bench::default();
        b.write(&[(0x40, 0xe8)]);
        assert_eq!(b.read(0), 0x80_0080, "XSR: the buffer is free");
        b.write(&[(0x40, 2), (0x44, 1), (0x40, 2), (0x48, 3)]);
        assert_eq!(b.1.pages().count(), 0);
        b.write(&[(0x40, 0xd0), (0, 0xff)]);
        assert_eq!(b.0.status, 0xb0, "0x40 lies before the first address");
        b.write(&[(0, 0x50), (0x40, 0xe8), (0x40, 2), (0x40, 1), (0x48, 2), (0x44, 3), (0x40, 0xd0)]);
        b.write(&[(0, 0xff)]);
        assert_eq!([0x40, 0x44, 0x48].map(|at| b.read(at) & 0xffff), [1, 3, 2]);
        b.write(&[(0, 0xe8), (0, BUFFER_WORDS)]);
        assert_eq!(b.0.status, 0xb0, "a count beyond the buffer");
    }

    #[test]
    fn locked_blocks_keep_their_bits() {
        let mut b = Bench::default();
        b.write(&[(BLOCK + 12, 0x60), (BLOCK + 12, 0x01), (0, 0x90)]);
        assert_eq!((b.read(8), b.read(BLOCK + 8)), (0, 0x1_0001));
        b.write(&[(0, 0x40), (BLOCK, 0)]);
        assert_eq!(b.read(0), 0x92_0092);
        b.write(&[(0, 0x50), (BLOCK, 0x20), (BLOCK, 0xd0)]);
        assert_eq!(b.read(0), 0xa2_00a2);
        b.0.reset();
        assert_eq!((b.0.mode, b.0.status, b.0.locks), (Mode::Array, 0x80, 2));
        b.write(&[(0, 0x60), (0, 0xd0), (0, 0x40), (BLOCK, 0), (0, 0xff)]);
        assert_eq!(b.read(BLOCK), 0);
    }

    #[test]
    fn a_protected_chip_keeps_its_bits() {
        let mut b = Bench::default();
        b.1.load(u64::from(BLOCK), &[1, 2, 3, 4]);
        b.0.protected = true;
        b.write(&[(0, 0x40), (8, 0), (0, 0x60), (0, 0xd0)]);
        assert_eq!((b.read(8), b.0.status), (0x92_0092, 0x92), "not to be unlocked");
        b.write(&[(0, 0x50), (0, 0x20), (0, 0xd0)]);
        assert_eq!(b.read(8), 0xa2_00a2);
        b.write(&[(0, 0x50), (0, 0xe8), (0, 0), (0, 0), (0, 0xd0)]);
        assert_eq!(b.0.status, 0x92);
        b.0.reset();
        assert!(b.0.protected && b.1.take_changes().is_empty());
    }

    #[test]
    fn suspend_resume_and_configuration_change_nothing() {
        let mut b = Bench::default();
        b.write(&[(0, 0xb0), (0, 0xd0), (0, 0xb8), (0, 0x40)]);
        assert_eq!((b.read(0), &b.0.expect), (0x80_0080, &Expect::Command));
    }
}
