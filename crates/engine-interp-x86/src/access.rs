//! Loads, stores and atomics: the remembered page if there is one, else the long way.

use crate::cpu::{Cpu, Stopped};
use crate::place::{Place, ram_read};
use engine_mmu::PAGE_MASK;
use isa_core::{AmoOp, Width};
use isa_x86::{Access, Fault, vector};

/// Whether the bytes of an access lie in two pages.
#[inline(always)]
fn crosses(la: u64, bytes: u64) -> bool {
    (la & PAGE_MASK) + bytes > PAGE_MASK + 1
}

impl Cpu {
    /// A load or store of data by the instruction being run.
    #[inline(always)]
    pub fn data_access(&self, write: bool) -> Access {
        Access { write, fetch: false, user: self.user, implicit: false }
    }

    /// The arena offset of `la`, if its page is remembered for loads or (`write`) for stores of the instruction being run.
    #[inline(always)]
    pub fn remembered(&self, la: u64, write: bool) -> Option<u64> {
        if write { self.write.find(self.data, la) } else { self.read.find(self.data, la) }
    }

    /// A load by the instruction being run, zero-extended. With `write` it is of bytes that are about to be written.
    #[inline(always)]
    pub fn load_fast(&mut self, la: u64, width: Width, write: bool) -> Result<u64, Stopped> {
        if let Some(offset) = self.remembered(la, write)
            && let Some(value) = self.ram.load_sized(offset, width as u8)
        {
            return Ok(value);
        }
        let access = self.data_access(write);
        self.load_slow(la, width, access).map_err(|fault| self.stop(fault))
    }

    /// A store by the instruction being run.
    #[inline(always)]
    pub fn store_fast(&mut self, la: u64, width: Width, v: u64) -> Result<(), Stopped> {
        if let Some(offset) = self.remembered(la, true)
            && self.ram.store_sized(offset, width as u8, v).is_some()
        {
            return Ok(());
        }
        let access = self.data_access(true);
        self.store_slow(la, width, v, access).map_err(|fault| self.stop(fault))
    }

    /// SDM volume 3, "Alignment Check Exception": user accesses with AM and AC set.
    fn check_alignment(&self, la: u64, width: Width, access: Access) -> Result<(), Fault> {
        let refused = self.align_check && access.user && la & (width.bytes() - 1) != 0;
        if refused { Err(Fault::coded(vector::AC, 0)) } else { Ok(()) }
    }

    /// A load of any kind. With `write` it is one of bytes that are about to be written, and faults as a write.
    #[inline(never)]
    pub fn load_slow(&mut self, la: u64, width: Width, access: Access) -> Result<u64, Fault> {
        let bytes = width.bytes();
        self.check_alignment(la, width, access)?;
        if !crosses(la, bytes) {
            if self.is_plain(access)
                && let Some(offset) = self.remembered(la, access.write)
            {
                return Ok(ram_read(self, offset, width));
            }
            let place = self.translate(la, bytes, access)?;
            return Ok(self.read_place(place, width));
        }
        let (places, first) = self.two_places(la, bytes, access)?;
        let [low, high] = places;
        Ok((0..bytes).fold(0, |v, n| {
            let place = if n < first { low.further(n) } else { high.further(n - first) };
            v | self.read_place(place, Width::B1) << (8 * n)
        }))
    }

    /// A store of any kind.
    #[inline(never)]
    pub fn store_slow(&mut self, la: u64, width: Width, v: u64, access: Access) -> Result<(), Fault> {
        let bytes = width.bytes();
        self.check_alignment(la, width, access)?;
        if !crosses(la, bytes) {
            if self.is_plain(access)
                && let Some(offset) = self.remembered(la, true)
            {
                self.ram_write(offset, width, v);
                return Ok(());
            }
            let place = self.translate(la, bytes, access)?;
            self.write_place(place, width, v);
            return Ok(());
        }
        let (places, first) = self.two_places(la, bytes, access)?;
        let [low, high] = places;
        for n in 0..bytes {
            let place = if n < first { low.further(n) } else { high.further(n - first) };
            self.write_place(place, Width::B1, v >> (8 * n) & 0xff);
        }
        Ok(())
    }

    /// Both parts of an access that crosses a page, checked in order; and the bytes in the first.
    fn two_places(&mut self, la: u64, bytes: u64, access: Access) -> Result<([Place; 2], u64), Fault> {
        let first = PAGE_MASK + 1 - (la & PAGE_MASK);
        let mut second = la.wrapping_add(first);
        if self.mode != isa_x86::Mode::Bits64 && !self.state.long_mode() {
            second &= 0xffff_ffff;
        }
        let low = self.translate(la, first, access)?;
        let high = self.translate(second, bytes - first, access)?;
        Ok(([low, high], first))
    }

    /// Checks an access of any size without touching memory.
    pub fn probe_range(&mut self, la: u64, bytes: u64, access: Access) -> Result<(), Fault> {
        let mut at = la;
        let mut left = bytes.max(1);
        loop {
            let here = left.min(PAGE_MASK + 1 - (at & PAGE_MASK));
            self.translate(at, here, access)?;
            left -= here;
            if left == 0 {
                return Ok(());
            }
            at = at.wrapping_add(here);
        }
    }

    /// Where a read-modify-write goes in the arena, if it can be atomic: one aligned word of RAM.
    fn atomic_place(&mut self, la: u64, width: Width) -> Result<Option<u64>, Fault> {
        let access = self.data_access(true);
        self.check_alignment(la, width, access)?;
        if la & (width.bytes() - 1) != 0 {
            return Ok(None);
        }
        if let Some(offset) = self.remembered(la, true) {
            return Ok(Some(offset));
        }
        match self.translate(la, width.bytes(), access)? {
            Place::Ram(offset) => {
                self.stored(offset, width.bytes());
                Ok(Some(offset))
            }
            Place::Other(_) => Ok(None),
        }
    }

    /// A locked read-modify-write; gives the old word, sign-extended. In one step on aligned words of RAM; a split lock
    /// is not atomic to other processors, and a device sees a read and a write.
    pub fn atomic(&mut self, op: AmoOp, la: u64, width: Width, v: u64) -> Result<u64, Fault> {
        let apply = |old: u64| op.apply(width.sign_extend(old), width.sign_extend(v)) & width.mask();
        let Some(offset) = self.atomic_place(la, width)? else {
            let access = self.data_access(true);
            let old = self.load_slow(la, width, access)?;
            self.store_slow(la, width, apply(old), access)?;
            return Ok(width.sign_extend(old));
        };
        let old = match width {
            Width::B1 => self.ram.fetch_update(offset, |old: u8| apply(old.into()) as u8).map(u64::from),
            Width::B2 => self.ram.fetch_update(offset, |old: u16| apply(old.into()) as u16).map(u64::from),
            Width::B4 => self.ram.fetch_update(offset, |old: u32| apply(old.into()) as u32).map(u64::from),
            Width::B8 => self.ram.fetch_update(offset, apply),
        };
        Ok(width.sign_extend(old.unwrap_or(0)))
    }

    /// `cmpxchg`; gives what was there, zero-extended. Atomic as [`Cpu::atomic`] is.
    pub fn exchange_if(&mut self, la: u64, width: Width, expected: u64, new: u64) -> Result<u64, Fault> {
        fn either<T>(done: Option<Result<T, T>>) -> u64
        where
            u64: From<T>,
        {
            done.map_or(0, |done| done.map_or_else(u64::from, u64::from))
        }
        let Some(offset) = self.atomic_place(la, width)? else {
            let access = self.data_access(true);
            let old = self.load_slow(la, width, access)?;
            let v = if old == expected & width.mask() { new } else { old };
            self.store_slow(la, width, v, access)?;
            return Ok(old);
        };
        let ram = &self.ram;
        Ok(match width {
            Width::B1 => either(ram.compare_exchange(offset, expected as u8, new as u8)),
            Width::B2 => either(ram.compare_exchange(offset, expected as u16, new as u16)),
            Width::B4 => either(ram.compare_exchange(offset, expected as u32, new as u32)),
            Width::B8 => either(ram.compare_exchange(offset, expected, new)),
        })
    }

    /// `cmpxchg16b` at an aligned address: two words, not in one step to other processors (so `cpuid` does not offer it
    /// where there are any).
    pub fn exchange_if_16(
        &mut self,
        la: u64,
        expected: u128,
        new: u128,
        access: Access,
    ) -> Result<u128, Fault> {
        let low = self.load_slow(la, Width::B8, access)?;
        let high = self.load_slow(la.wrapping_add(8), Width::B8, access)?;
        let old = u128::from(high) << 64 | u128::from(low);
        let v = if old == expected { new } else { old };
        self.store_slow(la, Width::B8, v as u64, access)?;
        self.store_slow(la.wrapping_add(8), Width::B8, (v >> 64) as u64, access)?;
        Ok(old)
    }
}
