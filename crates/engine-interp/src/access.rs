//! Loads, stores and atomics: the remembered page if there is one, else the long way.

use crate::cpu::{Cpu, Reservation, Stop};
use crate::translate::access_fault;
use fabric_bus::Page;
use fabric_ram::Word;
use isa_core::{AmoOp, Width};
use isa_riscv::{AccessKind, Exception, Trap};

impl Cpu {
    /// A load of up to eight bytes, zero-extended.
    #[inline(always)]
    pub fn load_fast(&mut self, va: u64, width: Width) -> Result<u64, Stop> {
        if let Some(offset) = self.read.find(self.data, va)
            && let Some(value) = self.ram.load_sized(offset, width as u8)
        {
            return Ok(value);
        }
        self.load_slow(va, width)
    }

    /// A store of up to eight bytes.
    #[inline(always)]
    pub fn store_fast(&mut self, va: u64, width: Width, v: u64) -> Result<(), Stop> {
        if let Some(offset) = self.write.find(self.data, va)
            && self.ram.store_sized(offset, width as u8, v).is_some()
        {
            return Ok(());
        }
        self.store_slow(va, width, v)
    }

    #[cold]
    #[inline(never)]
    fn load_slow(&mut self, va: u64, width: Width) -> Result<u64, Stop> {
        if va & (width.bytes() - 1) != 0 {
            return self.load_misaligned(va, width);
        }
        let place = self.translate(va, width.bytes(), AccessKind::Load)?;
        let value = match place.ram {
            Some(offset) => self.ram.load_sized(offset, width as u8),
            None => {
                // A read may lower a line or move a deadline too: look before the next instruction.
                self.must_be_alone()?;
                self.sync_clock();
                self.look_around();
                self.bus.read(place.address, width as u8).ok()
            }
        };
        Ok(value.ok_or_else(|| access_fault(AccessKind::Load, va))?)
    }

    #[cold]
    #[inline(never)]
    fn store_slow(&mut self, va: u64, width: Width, v: u64) -> Result<(), Stop> {
        if va & (width.bytes() - 1) != 0 {
            return self.store_misaligned(va, width, v);
        }
        let place = self.translate(va, width.bytes(), AccessKind::Store)?;
        match place.ram {
            Some(offset) => {
                self.ram
                    .store_sized(offset, width as u8, v)
                    .ok_or_else(|| access_fault(AccessKind::Store, va))?;
                self.ram.watch().touch(offset);
                Ok(())
            }
            None => {
                self.must_be_alone()?;
                self.sync_clock();
                let done = self.bus.write(place.address, width as u8, v);
                done.map_err(|_| access_fault(AccessKind::Store, va))?;
                // A device may have raised a line, moved a deadline or stopped the machine: look
                // before the next instruction, so that it happens at the same place in every run.
                self.look_around();
                Err(Stop::Leave)
            }
        }
    }

    /// The bytes of a misaligned access, each translated: all of them before any is touched. A fault
    /// names the first byte of the part that faults ("stval": the portion of the access).
    fn each_byte(&mut self, va: u64, width: Width, kind: AccessKind) -> Result<[u64; 8], Stop> {
        let mut offsets = [0; 8];
        let mut part = None;
        for (i, slot) in (0u64..width.bytes()).zip(&mut offsets) {
            let at = va.wrapping_add(i);
            if i == 0 || at & engine_mmu::PAGE_MASK == 0 {
                let left = engine_mmu::PAGE_MASK + 1 - (at & engine_mmu::PAGE_MASK);
                let place = self.translate(at, left.min(width.bytes() - i), kind)?;
                // Devices take no misaligned accesses (PMA: misaligned access faults on I/O). The trap
                // names the portion of the access that faults (Machine Trap Value Register).
                part = Some(place.ram.ok_or_else(|| access_fault(kind, at))?.wrapping_sub(at));
            }
            *slot = part.unwrap_or(0).wrapping_add(at);
        }
        Ok(offsets)
    }

    fn load_misaligned(&mut self, va: u64, width: Width) -> Result<u64, Stop> {
        let offsets = match self.each_byte(va, width, AccessKind::Load) {
            Ok(offsets) => offsets,
            Err(stop) => return self.load_program(va, width)?.ok_or(stop),
        };
        let mut value = 0;
        for (i, offset) in (0u64..width.bytes()).zip(offsets) {
            value |= u64::from(self.ram.load::<u8>(offset).unwrap_or(0)) << (8 * i);
        }
        Ok(value)
    }

    /// The bytes of a misaligned load from a device that holds a program: flash memory takes such loads as ROM does, and
    /// EDK2 makes them before it has moved to RAM. `None` if a byte is not in such a device.
    fn load_program(&mut self, va: u64, width: Width) -> Result<Option<u64>, Stop> {
        let mut addresses = [0; 8];
        for (i, address) in (0u64..width.bytes()).zip(&mut addresses) {
            match self.translate(va.wrapping_add(i), 1, AccessKind::Load) {
                Ok(place) if place.ram.is_none() && self.bus.fetchable(place.address, 1) => {
                    *address = place.address;
                }
                _ => return Ok(None),
            }
        }
        self.must_be_alone()?;
        self.sync_clock();
        self.look_around();
        let mut value = 0;
        for (i, address) in (0u64..width.bytes()).zip(addresses) {
            let byte = self.bus.read(address, 1).map_err(|_| access_fault(AccessKind::Load, va))?;
            value |= byte << (8 * i);
        }
        Ok(Some(value))
    }

    fn store_misaligned(&mut self, va: u64, width: Width, v: u64) -> Result<(), Stop> {
        let offsets = self.each_byte(va, width, AccessKind::Store)?;
        for (i, offset) in (0u64..width.bytes()).zip(offsets) {
            let _ = self.ram.store(offset, (v >> (8 * i)) as u8);
            self.ram.watch().touch(offset);
        }
        Ok(())
    }

    /// Where an atomic access's word is: at an offset of the arena, or else at an address of the bus.
    fn atomic_place(&mut self, va: u64, width: Width, kind: AccessKind) -> Result<Result<u64, u64>, Stop> {
        if va & (width.bytes() - 1) != 0 {
            let cause = match kind {
                AccessKind::Store => Exception::StoreMisaligned,
                _ => Exception::LoadMisaligned,
            };
            return Err(Trap { cause, tval: va }.into());
        }
        let found = match kind {
            AccessKind::Store => self.write.find(self.data, va),
            _ => self.read.find(self.data, va),
        };
        if let Some(offset) = found {
            return Ok(Ok(offset));
        }
        let place = self.translate(va, width.bytes(), kind)?;
        Ok(place.ram.ok_or(place.address))
    }

    /// The arena offset of the word of an `lr` or `sc`, which only main memory supports (PMA).
    fn reservable(&mut self, va: u64, width: Width, kind: AccessKind) -> Result<u64, Stop> {
        Ok(self.atomic_place(va, width, kind)?.map_err(|_| access_fault(kind, va))?)
    }

    /// An atomic read-modify-write; gives the old word, sign-extended.
    pub fn atomic(&mut self, op: AmoOp, va: u64, width: Width, v: u64) -> Result<u64, Stop> {
        let fault = || access_fault(AccessKind::Store, va);
        let offset = match self.atomic_place(va, width, AccessKind::Store)? {
            Ok(offset) => offset,
            Err(address) => {
                self.must_be_alone()?;
                self.sync_clock();
                self.look_around();
                // What exceeds the word is dropped by the device; the operation sees it extended.
                let change = |old| op.apply(width.sign_extend(old), width.sign_extend(v));
                let old = self.bus.update(address, width as u8, &change).map_err(|_| fault())?;
                return Ok(width.sign_extend(old));
            }
        };
        let old = match width {
            Width::B4 => {
                let v = v as i32 as u64;
                let apply = |old: u32| op.apply(old as i32 as u64, v) as u32;
                self.ram.fetch_update(offset, apply).ok_or_else(fault)? as i32 as u64
            }
            _ => self.ram.fetch_update(offset, |old: u64| op.apply(old, v)).ok_or_else(fault)?,
        };
        self.ram.watch().touch(offset);
        Ok(old)
    }

    /// `lr`.
    pub fn reserve(&mut self, va: u64, width: Width) -> Result<u64, Stop> {
        let offset = self.reservable(va, width, AccessKind::Load)?;
        let value =
            self.ram.load_sized(offset, width as u8).ok_or_else(|| access_fault(AccessKind::Load, va))?;
        self.reservation = Reservation { place: self.place_of(offset), value, bytes: width.bytes() };
        Ok(width.sign_extend(value))
    }

    /// Where an arena offset is in the host's memory.
    fn place_of(&self, offset: u64) -> u64 {
        (self.ram.map().address().as_ptr() as u64).wrapping_add(offset)
    }

    /// `sc`: stores if the word reserved still holds what `lr` saw. Gives 0 if stored.
    pub fn conditional(&mut self, va: u64, width: Width, v: u64) -> Result<u64, Stop> {
        let offset = self.reservable(va, width, AccessKind::Store)?;
        let held = std::mem::take(&mut self.reservation);
        if held.bytes != width.bytes() || held.place != self.place_of(offset) {
            return Ok(1);
        }
        let stored = match width {
            Width::B4 => swap(self, offset, held.value as u32, v as u32),
            _ => swap(self, offset, held.value, v),
        };
        self.ram.watch().touch(offset);
        Ok(u64::from(!stored))
    }

    /// Whatever touches a device runs alone, so that what the device makes of it comes before the next instruction in
    /// every engine.
    fn must_be_alone(&self) -> Result<(), Stop> {
        if self.alone { Ok(()) } else { Err(Stop::Alone) }
    }

    /// Brings a virtual clock up to this instruction, before a device looks at it.
    fn sync_clock(&mut self) {
        let _ = self.time.now(self.retired_now());
    }

    /// Zeroes the 64-byte block that holds `va`.
    pub fn zero(&mut self, va: u64) -> Result<(), Trap> {
        let base = va & !(BLOCK - 1);
        // The fault names the address the instruction gave.
        let renamed = |t: Trap| Trap { tval: va, ..t };
        let place = self.translate(base, BLOCK, AccessKind::Store).map_err(renamed)?;
        let offset = place.ram.ok_or_else(|| access_fault(AccessKind::Store, va))?;
        for i in 0..BLOCK / 8 {
            let _ = self.ram.store(offset + 8 * i, 0u64);
        }
        self.ram.watch().touch(offset);
        Ok(())
    }

    /// Checks that the 64-byte block that holds `va` may be loaded from or stored to. Whatever may be
    /// stored to may be loaded from, in a PTE as in a PMP entry, so that loads decide ("Cache Management
    /// Operations", page-fault and access-fault exceptions).
    pub fn manage(&mut self, va: u64) -> Result<(), Trap> {
        let as_store = |t: Trap| match t.cause {
            Exception::LoadPage => Trap { cause: Exception::StorePage, tval: va },
            _ => access_fault(AccessKind::Store, va),
        };
        let place = self.translate(va & !(BLOCK - 1), BLOCK, AccessKind::Load).map_err(as_store)?;
        if place.ram.is_none() && self.bus.page(place.address) == Page::Nothing {
            return Err(access_fault(AccessKind::Store, va));
        }
        Ok(())
    }
}

/// Size of a cache block (Zicbom, Zicboz).
const BLOCK: u64 = 64;

fn swap<T: Word>(cpu: &Cpu, offset: u64, old: T, new: T) -> bool {
    matches!(cpu.ram.compare_exchange(offset, old, new), Some(Ok(_)))
}
