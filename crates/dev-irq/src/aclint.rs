//! ACLINT in the layout of the SiFive CLINT: one MSWI and one MTIMER device side by side.
//!
//! Sources: RISC-V Advanced Core Local Interruptor Specification 1.0, chapters "Machine-level Timer
//! Device (MTIMER)" and "Machine-level Software Interrupt Device (MSWI)", and its section "Backward
//! Compatibility With SiFive CLINT" for the offsets; RISC-V Privileged ISA, "Machine Timer (mtime and
//! mtimecmp) Registers" for accesses by halves.
//!
//! The third ACLINT device, SSWI, is not here: the drafts disagree (a level ORed into `mip.SSIP`, or
//! a pulse that sets it), and a pulse is no function of state; harts without AIA get supervisor IPIs
//! from SBI.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address of the CLINT layout.
    pub enum Reg {
        0x0000 Msip[4095; 4] RW { msip: 0..0 }
        0x4000 Mtimecmp[4095; 8] RW {}
        0xbff8 Mtime RW {}
    }
}

/// Bytes the two devices occupy.
const WINDOW: u64 = 0xc000;
/// Most harts one device serves.
pub const MAX_HARTS: usize = 4095;

// ---- state ----

#[derive(Clone, Copy, Debug, PartialEq)]
struct Hart {
    msip: bool,
    mtimecmp: u64,
}

impl Hart {
    /// After reset (MSWI and MTIMER chapters). MTIMECMP is "in unknown state" then: here as late as
    /// can be, so that no timer interrupt is pending before software asks for one.
    const RESET: Hart = Hart { msip: false, mtimecmp: u64::MAX };
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    harts: Vec<Hart>,
    /// MTIME less the ticks of guest time, wrapping.
    offset: u64,
}

/// The interruptor. Output `2 * h` is MSIP of hart `h`, output `2 * h + 1` its MTIP.
#[derive(Debug)]
pub struct Aclint {
    hz: u64,
    state: State,
    /// The offset has changed and nobody has fetched it yet.
    shifted: bool,
}

impl Aclint {
    /// For `harts` harts (at most [`MAX_HARTS`]), with a time base of `hz` ticks a second.
    pub fn new(harts: usize, hz: u64) -> Self {
        let harts = vec![Hart::RESET; harts.min(MAX_HARTS)];
        Aclint { hz: hz.max(1), state: State { harts, offset: 0 }, shifted: false }
    }

    /// Ticks of the time base since guest time began.
    fn ticks(&self, now: Nanos) -> u64 {
        (u128::from(now) * u128::from(self.hz) / 1_000_000_000) as u64
    }

    /// The first guest time at which there have been `ticks`; `None` if never.
    fn time_of(&self, ticks: u128) -> Option<Nanos> {
        let nanos = (ticks * 1_000_000_000).div_ceil(u128::from(self.hz));
        u64::try_from(nanos).ok()
    }
}

// ---- host side ----

impl Aclint {
    /// MTIME, which the `time` CSR shows too.
    pub fn mtime(&self, now: Nanos) -> u64 {
        self.ticks(now).wrapping_add(self.state.offset)
    }

    /// What a guest's writes and resets have made MTIME differ from the ticks of guest time, for
    /// whoever computes `time` without this device. Add it, wrapping. The device rings for it to be
    /// fetched when it changes.
    pub fn take_offset(&mut self) -> u64 {
        self.shifted = false;
        self.state.offset
    }

    fn shift(&mut self, offset: u64) {
        self.shifted |= offset != self.state.offset;
        self.state.offset = offset;
    }
}

/// The `size` bytes at `byte` of a 64-bit register.
fn part(register: u64, byte: u64, size: u8) -> Result<u64, NoRegister> {
    match (byte, size) {
        (0, 8) => Ok(register),
        (0, 4) => Ok(register & 0xffff_ffff),
        (4, 4) => Ok(register >> 32),
        _ => Err(NoRegister),
    }
}

/// A 64-bit register after a write of `size` bytes at `byte`.
fn merge(register: u64, byte: u64, size: u8, value: u64) -> Result<u64, NoRegister> {
    match (byte, size) {
        (0, 8) => Ok(value),
        (0, 4) => Ok(register & !0xffff_ffff | value & 0xffff_ffff),
        (4, 4) => Ok(register & 0xffff_ffff | value << 32),
        _ => Err(NoRegister),
    }
}

impl Device for Aclint {
    const NAME: &'static str = "aclint";
    const VERSION: u32 = 1;
    type Saved = saved::AclintV1;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        if !matches!(size, 4 | 8) || offset >= WINDOW {
            return Err(NoRegister);
        }
        match Reg::nearest(offset) {
            Some((Reg::Mtime, _, byte)) => part(self.mtime(now), byte, size),
            // Harts that are not there and reserved places read as zero.
            Some((Reg::Mtimecmp, hart, byte)) => {
                part(self.state.harts.get(hart as usize).map_or(0, |h| h.mtimecmp), byte, size)
            }
            Some((Reg::Msip, hart, 0)) if size == 4 => {
                Ok(self.state.harts.get(hart as usize).map_or(0, |h| u64::from(h.msip)))
            }
            Some((Reg::Msip, ..)) => Err(NoRegister),
            None => Ok(0),
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        if !matches!(size, 4 | 8) || offset >= WINDOW {
            return Err(NoRegister);
        }
        match Reg::nearest(offset) {
            Some((Reg::Mtime, _, byte)) => {
                let mtime = merge(self.mtime(now), byte, size, value)?;
                self.shift(mtime.wrapping_sub(self.ticks(now)));
            }
            Some((Reg::Mtimecmp, hart, byte)) => {
                let old = self.state.harts.get(hart as usize).map_or(0, |h| h.mtimecmp);
                let new = merge(old, byte, size, value)?;
                if let Some(hart) = self.state.harts.get_mut(hart as usize) {
                    hart.mtimecmp = new;
                }
            }
            Some((Reg::Msip, hart, 0)) if size == 4 => {
                if let Some(hart) = self.state.harts.get_mut(hart as usize) {
                    hart.msip = Msip::msip(value) != 0;
                }
            }
            Some((Reg::Msip, ..)) => return Err(NoRegister),
            None => {}
        }
        Ok(())
    }

    fn lines(&self, word: usize, now: Nanos) -> u64 {
        let mtime = self.mtime(now);
        let harts = self.state.harts.iter().skip(word.saturating_mul(32)).take(32);
        harts.enumerate().fold(0, |levels, (n, hart)| {
            let timer = mtime >= hart.mtimecmp;
            levels | u64::from(hart.msip) << (2 * n) | u64::from(timer) << (2 * n + 1)
        })
    }

    fn outputs(&self) -> usize {
        2 * self.state.harts.len()
    }

    fn deadline(&self, now: Nanos) -> Option<Nanos> {
        let (ticks, mtime) = (self.ticks(now), self.mtime(now));
        let later = self.state.harts.iter().map(|h| h.mtimecmp).filter(|&at| at > mtime).min();
        // What is pending ends when MTIME wraps to zero.
        let until = later.map_or((1 << 64) - u128::from(mtime), |at| u128::from(at - mtime));
        self.time_of(u128::from(ticks) + until)
    }

    fn wants_host(&self) -> bool {
        self.shifted
    }

    fn reset(&mut self, now: Nanos) {
        self.state.harts.fill(Hart::RESET);
        self.shift(self.ticks(now).wrapping_neg());
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let state = saved::into_state(saved);
        if state.harts.len() != self.state.harts.len() {
            return Err(RestoreError::Damaged { device: Self::NAME });
        }
        self.shift(state.offset);
        self.state = state;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{Hart, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct AclintV1 {
        /// Each hart's MSIP and MTIMECMP.
        pub harts: Vec<(bool, u64)>,
        /// MTIME less the ticks of guest time, wrapping.
        pub offset: u64,
    }

    pub(super) fn from_state(state: &State) -> AclintV1 {
        let State { harts, offset } = state;
        let harts = harts.iter().map(|Hart { msip, mtimecmp }| (*msip, *mtimecmp)).collect();
        AclintV1 { harts, offset: *offset }
    }

    pub(super) fn into_state(saved: AclintV1) -> State {
        let AclintV1 { harts, offset } = saved;
        let harts = harts.into_iter().map(|(msip, mtimecmp)| Hart { msip, mtimecmp }).collect();
        State { harts, offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTIME: u64 = 0xbff8;

    fn two_harts() -> Aclint {
        Aclint::new(2, 10_000_000)
    }

    #[test]
    fn msip_is_one_writable_bit_a_hart() {
        let mut d = two_harts();
        d.write(4, 4, 0xffff_ffff, 0).unwrap();
        assert_eq!(d.read(4, 4, 0), Ok(1));
        assert_eq!(d.lines(0, 0), 0b0100);
        d.write(4, 4, 0xffff_fffe, 0).unwrap();
        assert_eq!(d.lines(0, 0), 0);
    }

    #[test]
    fn mtime_counts_ticks_of_the_time_base() {
        let mut d = two_harts();
        assert_eq!(d.read(MTIME, 8, 0), Ok(0));
        assert_eq!(d.read(MTIME, 8, 99), Ok(0));
        assert_eq!(d.read(MTIME, 8, 100), Ok(1));
        assert_eq!(d.read(MTIME, 8, 1_000_000_000), Ok(10_000_000));
        let mut slow = Aclint::new(1, 32_768);
        assert_eq!(slow.read(MTIME, 8, 2_000_000_000), Ok(65_536));
    }

    #[test]
    fn mtime_is_writable_whole_and_by_halves() {
        let mut d = two_harts();
        d.write(MTIME, 8, 0x1_ffff_fff0, 1000).unwrap();
        assert_eq!(d.read(MTIME, 8, 1000), Ok(0x1_ffff_fff0));
        assert_eq!(d.read(MTIME, 8, 3000), Ok(0x2_0000_0004));
        assert_eq!(d.read(MTIME, 4, 3000), Ok(4));
        assert_eq!(d.read(MTIME + 4, 4, 3000), Ok(2));
        d.write(MTIME + 4, 4, 7, 3000).unwrap();
        assert_eq!(d.read(MTIME, 8, 3000), Ok(0x7_0000_0004));
        assert_eq!(d.take_offset(), 0x7_0000_0004 - 30);
    }

    #[test]
    fn a_timer_interrupt_is_pending_while_mtime_is_not_below_mtimecmp() {
        let mut d = two_harts();
        assert_eq!(d.lines(0, 1 << 40), 0);
        d.write(0x4008, 8, 50, 0).unwrap();
        assert_eq!(d.deadline(0), Some(5000));
        assert_eq!(d.lines(0, 4999), 0);
        assert_eq!(d.lines(0, 5000), 0b1000);
        d.write(0x4008, 8, 51, 5000).unwrap();
        assert_eq!(d.lines(0, 5000), 0);
        d.write(0x400c, 4, 1, 5000).unwrap();
        assert_eq!(d.read(0x4008, 8, 5000), Ok(0x1_0000_0033));
        assert_eq!(d.read(0x400c, 4, 5000), Ok(1));
    }

    #[test]
    fn the_deadline_is_the_earliest_that_has_not_come() {
        let mut d = two_harts();
        d.write(0x4000, 8, 10, 0).unwrap();
        d.write(0x4008, 8, 20, 0).unwrap();
        assert_eq!(d.deadline(0), Some(1000));
        assert_eq!(d.deadline(999), Some(1000));
        assert_eq!(d.deadline(1000), Some(2000));
        // Three ticks of a third of a microsecond each, rounded up to the nanosecond.
        let mut odd = Aclint::new(1, 3_000_000);
        odd.write(0x4000, 8, 1, 0).unwrap();
        assert_eq!(odd.deadline(0), Some(334));
        assert_eq!((odd.lines(0, 333), odd.lines(0, 334)), (0, 2));
    }

    #[test]
    fn mtime_wraps_and_takes_pending_interrupts_away() {
        let mut d = two_harts();
        d.write(0x4000, 8, 1, 0).unwrap();
        d.write(0x4008, 8, 0, 0).unwrap();
        d.write(MTIME, 8, u64::MAX - 1, 0).unwrap();
        assert_eq!(d.lines(0, 0), 0b1010);
        assert_eq!(d.deadline(0), Some(200));
        assert_eq!(d.lines(0, 200), 0b1000);
    }

    #[test]
    fn reset_clears_mtime_and_msip() {
        let mut d = two_harts();
        d.write(0, 4, 1, 0).unwrap();
        d.write(0x4000, 8, 0, 0).unwrap();
        d.reset(123_456);
        assert_eq!(d.read(MTIME, 8, 123_456), Ok(0));
        assert_eq!(d.lines(0, 123_456), 0);
    }

    #[test]
    fn harts_that_are_not_there_read_as_zero_and_odd_accesses_are_refused() {
        let mut d = two_harts();
        for offset in [8, 0x3ff8, 0x3ffc, 0x4010, 0xbff0] {
            d.write(offset, 4, 1, 0).unwrap();
            assert_eq!(d.read(offset, 4, 0), Ok(0), "{offset:#x}");
        }
        for (offset, size) in [(0, 1), (0, 2), (0, 8), (0x4000, 2), (0xc000, 4), (u64::MAX - 7, 8)] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister), "{offset:#x}");
            assert_eq!(d.write(offset, size, 1, 0), Err(NoRegister), "{offset:#x}");
        }
        assert_eq!(d.save(), two_harts().save());
    }

    #[test]
    fn thousands_of_harts_have_their_own_lines() {
        let mut d = Aclint::new(MAX_HARTS, 10_000_000);
        d.write(4 * 4094, 4, 1, 0).unwrap();
        assert_eq!(d.outputs(), 8190);
        assert_eq!(d.lines(8188 / 64, 0), 1 << (8188 % 64));
        assert!((0..127).all(|word| d.lines(word, 0) == 0));
    }

    #[test]
    fn the_state_of_another_number_of_harts_is_refused() {
        assert!(two_harts().restore(Aclint::new(3, 1).save()).is_err());
    }
}
