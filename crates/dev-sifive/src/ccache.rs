//! The L2 cache controller of SiFive's FU540-C000, as far as its drivers ask.
//!
//! Sources: SiFive FU540-C000 Manual, chapter "Level 2 Cache Controller"; Linux,
//! `drivers/cache/sifive_ccache.c` and `drivers/edac/sifive_edac.c`, for what a driver expects.
//!
//! There is no cache: memory is coherent, so flushing has nothing to do and masks of ways are only kept.
//! An error that is injected is found and corrected at once, by an access that nobody else notices: the
//! count goes up, the address is that of the block flushed last, and the interrupt is pending until the
//! count is read. Errors that cannot be corrected do not happen.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address (register map).
    pub enum Reg {
        0x000 Config RO { banks: 7..0, ways: 15..8, lg_sets: 23..16, lg_block_bytes: 31..24 }
        0x008 WayEnable RW { way: 7..0 }
        0x040 EccInjectError RW { bit: 7..0, target: 16..16 }
        0x100 DirFixAddr RO {}
        0x108 DirFixCount RO {}
        0x120 DirFailAddr RO {}
        0x128 DirFailCount RO {}
        0x140 DataFixAddr RO {}
        0x148 DataFixCount RO {}
        0x160 DataFailAddr RO {}
        0x168 DataFailCount RO {}
        0x200 Flush64 WO {}
        0x240 Flush32 WO {}
        0x800 WayMask[18; 8] RW {}
    }
}

/// Bytes of the block; what has no register reads as zero.
const WINDOW: u64 = 0x1000;
/// 4 banks of 16 ways of 2^9 sets of blocks of 2^6 bytes: 2 MiB.
const CONFIG: u64 = 4 | 16 << 8 | 9 << 16 | 6 << 24;
/// The highest way.
const LAST_WAY: u8 = 15;
/// Masters that have a mask of ways.
const MASTERS: usize = 18;
/// A mask of all ways.
const ALL_WAYS: u16 = 0xffff;

// ---- state ----

/// Errors of one of the two arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Errors {
    /// Corrected so far.
    fixed: u32,
    /// Block of the last one.
    address: u64,
    /// Nobody has read the count since.
    pending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    way_enable: u8,
    inject: u32,
    directory: Errors,
    data: Errors,
    /// The block flushed last.
    flushed: u64,
    masks: [u16; MASTERS],
}

impl State {
    /// As the first-stage boot loader leaves it: all ways enabled, none of them memory.
    const BOOTED: State = State {
        way_enable: LAST_WAY,
        inject: 0,
        directory: Errors { fixed: 0, address: 0, pending: false },
        data: Errors { fixed: 0, address: 0, pending: false },
        flushed: 0,
        masks: [ALL_WAYS; MASTERS],
    };

    fn inject(&mut self, value: u64) {
        self.inject = (value & EccInjectError::FIELDS) as u32;
        let flushed = self.flushed;
        let array = if EccInjectError::target(value) == 0 { &mut self.data } else { &mut self.directory };
        array.fixed = array.fixed.wrapping_add(1);
        (array.address, array.pending) = (flushed, true);
    }
}

/// The controller. Outputs 0, 1 and 2 are DirError, DataError and DataFail.
#[derive(Debug)]
pub struct Ccache {
    state: State,
}

// ---- host side ----

impl Ccache {
    /// A controller as the first-stage boot loader leaves it.
    pub fn new() -> Self {
        Ccache { state: State::BOOTED }
    }
}

impl Default for Ccache {
    fn default() -> Self {
        Ccache::new()
    }
}

/// The `size` bytes at `byte` of a register of eight bytes.
fn part(register: u64, byte: u64, size: u8) -> u64 {
    let shifted = register >> (8 * byte);
    if size == 8 { shifted } else { shifted & ((1 << (8 * size)) - 1) }
}

impl Device for Ccache {
    const NAME: &'static str = "fu540-ccache";
    const VERSION: u32 = 1;
    type Saved = saved::CcacheV1;

    /// Registers are read whole or in parts that lie in one of eight bytes.
    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if offset >= WINDOW || !offset.is_multiple_of(u64::from(size)) {
            return Err(NoRegister);
        }
        let (word, byte) = (offset & !7, offset & 7);
        let s = &mut self.state;
        let value = match Reg::nearest(word).filter(|(.., byte)| *byte == 0) {
            Some((Reg::Config, ..)) => CONFIG,
            Some((Reg::WayEnable, ..)) => s.way_enable.into(),
            Some((Reg::EccInjectError, ..)) => s.inject.into(),
            Some((Reg::DirFixAddr, ..)) => s.directory.address,
            Some((Reg::DataFixAddr, ..)) => s.data.address,
            Some((Reg::DirFixCount, ..)) => count(&mut s.directory, byte),
            Some((Reg::DataFixCount, ..)) => count(&mut s.data, byte),
            Some((Reg::WayMask, master, _)) => s.masks.get(master as usize).map_or(0, |&mask| mask.into()),
            _ => 0,
        };
        Ok(part(value, byte, size))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if offset >= WINDOW || !offset.is_multiple_of(u64::from(size)) {
            return Err(NoRegister);
        }
        let s = &mut self.state;
        match Reg::nearest(offset).filter(|(.., byte)| *byte == 0) {
            // Ways cannot be disabled until reset ("Way Enable Register").
            Some((Reg::WayEnable, ..)) => {
                s.way_enable = s.way_enable.max((value & 0xff).min(u64::from(LAST_WAY)) as u8);
            }
            Some((Reg::EccInjectError, ..)) if size >= 4 => s.inject(value),
            Some((Reg::Flush64, ..)) if size == 8 => s.flushed = block(value),
            // Bits 35:4 of the address.
            Some((Reg::Flush32, ..)) if size == 4 => s.flushed = block(value << 4),
            Some((Reg::WayMask, master, _)) if size >= 4 => {
                if let Some(mask) = s.masks.get_mut(master as usize) {
                    *mask = value as u16;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.directory.pending) | u64::from(self.state.data.pending) << 1
    }

    fn outputs(&self) -> usize {
        3
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = State::BOOTED;
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        self.state = saved::into_state(saved).ok_or(RestoreError::Damaged { device: Self::NAME })?;
        Ok(())
    }
}

/// A count as it reads, which ends the interrupt; its upper half is nothing.
fn count(errors: &mut Errors, byte: u64) -> u64 {
    errors.pending &= byte >= 4;
    errors.fixed.into()
}

/// The address of the block that `address` is in.
fn block(address: u64) -> u64 {
    address & !63
}

/// Saved state.
pub mod saved {
    use super::{EccInjectError, Errors, LAST_WAY, MASTERS, State, block};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct CcacheV1 {
        /// The highest way enabled.
        pub way_enable: u8,
        /// The error injected last, as it was written.
        pub inject: u32,
        /// Errors corrected in the directory and in the data: how many, where the last, interrupt pending.
        pub errors: [(u32, u64, bool); 2],
        /// The block flushed last.
        pub flushed: u64,
        /// Each master's mask of ways.
        pub masks: Vec<u16>,
    }

    pub(super) fn from_state(state: &State) -> CcacheV1 {
        let State { way_enable, inject, directory, data, flushed, masks } = *state;
        let errors = [directory, data].map(|Errors { fixed, address, pending }| (fixed, address, pending));
        CcacheV1 { way_enable, inject, errors, flushed, masks: masks.to_vec() }
    }

    /// `None` if the controller could not be in such a state.
    pub(super) fn into_state(saved: CcacheV1) -> Option<State> {
        let CcacheV1 { way_enable, inject, errors, flushed, masks } = saved;
        let masks: [u16; MASTERS] = masks.try_into().ok()?;
        let blocks = errors.iter().all(|(_, address, _)| block(*address) == *address);
        let [directory, data] = errors.map(|(fixed, address, pending)| Errors { fixed, address, pending });
        let fits = way_enable <= LAST_WAY
            && u64::from(inject) & !EccInjectError::FIELDS == 0
            && block(flushed) == flushed;
        (fits && blocks).then_some(State { way_enable, inject, directory, data, flushed, masks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(d: &mut Ccache, offset: u64) -> u64 {
        d.read(offset, 4, 0).unwrap()
    }

    /// As Linux prints it: 4 banks, 16 ways, sets per bank 512, bytes per block 64.
    #[test]
    fn the_configuration_is_two_mebibytes() {
        let config = r(&mut Ccache::new(), 0);
        assert_eq!((Config::banks(config), Config::ways(config)), (4, 16));
        let bytes = (4 * 16) << (Config::lg_sets(config) + Config::lg_block_bytes(config));
        assert_eq!(bytes, 2 << 20);
    }

    #[test]
    fn ways_are_enabled_and_stay_so() {
        let mut d = Ccache::new();
        assert_eq!(r(&mut d, 8), 15);
        for value in [0, 3, 200] {
            d.write(8, 1, value, 0).unwrap();
            assert_eq!(r(&mut d, 8), 15);
        }
        let mut reset = saved::from_state(&State::BOOTED);
        reset.way_enable = 0;
        d.restore(reset).unwrap();
        d.write(8, 4, 3, 0).unwrap();
        d.write(8, 4, 1, 0).unwrap();
        assert_eq!(r(&mut d, 8), 3);
        d.write(8, 4, 200, 0).unwrap();
        assert_eq!(r(&mut d, 8), 15, "there is no higher one");
    }

    #[test]
    fn an_injected_error_is_counted_and_interrupts_until_the_count_is_read() {
        let mut d = Ccache::new();
        d.write(0x200, 8, 0x8000_1234, 0).unwrap();
        // A bit of the data.
        d.write(0x40, 4, 5, 0).unwrap();
        assert_eq!(d.lines(0, 0), 0b010);
        assert_eq!((r(&mut d, 0x140), r(&mut d, 0x144)), (0x8000_1200, 0));
        assert_eq!(d.lines(0, 0), 0b010);
        assert_eq!((r(&mut d, 0x148), d.lines(0, 0)), (1, 0));
        // A bit of the directory; the other block's address in its 32-bit form.
        d.write(0x240, 4, 0x0_9000_0040 >> 4, 0).unwrap();
        d.write(0x40, 4, 0x1_0003, 0).unwrap();
        assert_eq!((d.lines(0, 0), r(&mut d, 0x100)), (0b001, 0x9000_0040));
        assert_eq!((r(&mut d, 0x108), d.lines(0, 0), r(&mut d, 0x40)), (1, 0, 0x1_0003));
        assert_eq!((r(&mut d, 0x128), r(&mut d, 0x168)), (0, 0), "none is beyond repair");
    }

    #[test]
    fn masks_of_ways_are_kept() {
        let mut d = Ccache::new();
        assert_eq!(d.read(0x800 + 8 * 17, 8, 0), Ok(0xffff));
        d.write(0x808, 8, 0xf0, 0).unwrap();
        assert_eq!((d.read(0x808, 8, 0), d.read(0x800, 8, 0)), (Ok(0xf0), Ok(0xffff)));
        assert_eq!(d.read(0x800 + 8 * 18, 8, 0), Ok(0), "there is no such master");
    }

    #[test]
    fn parts_must_not_straddle() {
        let mut d = Ccache::new();
        assert_eq!((d.read(1, 1, 0), d.read(2, 2, 0)), (Ok(16), Ok(0x0609)));
        assert_eq!((d.read(2, 4, 0), d.read(0x1000, 4, 0)), (Err(NoRegister), Err(NoRegister)));
        assert_eq!(d.write(4, 8, 0, 0), Err(NoRegister));
    }
}
