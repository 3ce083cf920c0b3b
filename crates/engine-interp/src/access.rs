//! Loads, stores and atomics: the remembered page if there is one, else the long way.

use crate::cpu::{Cpu, Reservation, Stop};
use fabric_bus::Page;
use fabric_ram::Word;
use isa_core::{AmoOp, Width};
use isa_riscv::{AccessFault, AccessKind, Exception, Mode, PageVerdict, PteMemory, Trap, WalkContext, walk};

/// A translated access.
pub struct Place {
    /// Guest-physical address.
    pub address: u64,
    /// Offset in the arena, if RAM answers (for stores: writable RAM).
    pub ram: Option<u64>,
    /// Whether the same holds for all of the page: one permission, and nothing but RAM.
    pub whole: bool,
}

/// The access fault of each kind of access.
fn access_fault(kind: AccessKind, va: u64) -> Trap {
    let cause = match kind {
        AccessKind::Fetch => Exception::InsnAccess,
        AccessKind::Load => Exception::LoadAccess,
        AccessKind::Store => Exception::StoreAccess,
    };
    Trap { cause, tval: va }
}

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
        let offsets = self.each_byte(va, width, AccessKind::Load)?;
        let mut value = 0;
        for (i, offset) in (0u64..width.bytes()).zip(offsets) {
            value |= u64::from(self.ram.load::<u8>(offset).unwrap_or(0)) << (8 * i);
        }
        Ok(value)
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

    /// Translates and checks an access that does not cross a page; remembers the page if it is RAM
    /// and the answer holds for all of it.
    pub fn translate(&mut self, va: u64, size: u64, kind: AccessKind) -> Result<Place, Trap> {
        let walk_context = WalkContext::of(&self.hart, kind);
        let found = walk(&mut Tables { cpu: self }, &walk_context, va, kind)
            .map_err(|fault| Trap { cause: fault.exception(kind), tval: va })?;
        let (address, mode) = (found.pa, walk_context.mode);
        let pmp = &self.hart.csr.pmp;
        if !pmp.check(address, size, kind, mode) {
            return Err(access_fault(kind, va));
        }
        let write = kind == AccessKind::Store;
        let (ram, all_ram) = match self.bus.page(address) {
            Page::Ram { writable: false, .. } if write => (None, true),
            Page::Ram { offset, .. } => (Some(offset | address & engine_mmu::PAGE_MASK), true),
            Page::Mixed => (self.bus.ram_range(address, size, write), false),
            Page::Nothing => (None, true),
        };
        let page = address & !engine_mmu::PAGE_MASK;
        let whole = all_ram && pmp.page_verdict(page, kind, mode) == PageVerdict::All;
        let Some(offset) = ram else { return Ok(Place { address, ram, whole }) };
        if write {
            self.ram.dirty().mark(offset);
        }
        if found.page_bits > 12 && found.page_bits < 64 {
            self.contexts.note_large(va, 1 << found.page_bits);
        }
        if whole && !(write && self.ram.watch().holds(offset)) {
            let context = if kind == AccessKind::Fetch { self.code } else { self.data };
            let table = match kind {
                AccessKind::Fetch => &mut self.fetch,
                AccessKind::Load => &mut self.read,
                AccessKind::Store => &mut self.write,
            };
            table.fill(context, va, offset);
        }
        Ok(Place { address, ram, whole })
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

/// Page-table memory as a walk of this hart sees it.
struct Tables<'a> {
    cpu: &'a Cpu,
}

impl Tables<'_> {
    fn offset(&self, pa: u64, kind: AccessKind) -> Result<u64, AccessFault> {
        if !self.cpu.hart.csr.pmp.check(pa, 8, kind, Mode::S) {
            return Err(AccessFault);
        }
        self.cpu.bus.ram_range(pa, 8, kind == AccessKind::Store).ok_or(AccessFault)
    }
}

impl PteMemory for Tables<'_> {
    fn read_pte(&mut self, pa: u64) -> Result<u64, AccessFault> {
        let offset = self.offset(pa, AccessKind::Load)?;
        self.cpu.ram.load::<u64>(offset).ok_or(AccessFault)
    }

    fn compare_exchange_pte(&mut self, pa: u64, old: u64, new: u64) -> Result<bool, AccessFault> {
        let offset = self.offset(pa, AccessKind::Store)?;
        let done = self.cpu.ram.compare_exchange(offset, old, new).ok_or(AccessFault)?.is_ok();
        self.cpu.ram.written(offset);
        Ok(done)
    }
}
