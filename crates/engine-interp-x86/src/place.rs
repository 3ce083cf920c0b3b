//! Where a linear address leads: translation, and what answers at the physical address.

use crate::cpu::Cpu;
use engine_mmu::PAGE_MASK;
use fabric_bus::Page;
use isa_core::Width;
use isa_x86::walk::{PageMemory, Paging, walk};
use isa_x86::{Access, Fault, cr4};

/// A translated access.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// RAM (for stores: writable RAM) at this offset of the arena.
    Ram(u64),
    /// Something else at this physical address.
    Other(u64),
}

impl Place {
    /// The place `bytes` further on in the same page.
    pub fn further(self, bytes: u64) -> Place {
        match self {
            Place::Ram(offset) => Place::Ram(offset + bytes),
            Place::Other(address) => Place::Other(address + bytes),
        }
    }
}

/// Reads a word of the arena, at any address.
pub(crate) fn ram_read(cpu: &Cpu, offset: u64, width: Width) -> u64 {
    let mut bytes = [0; 8];
    let done = cpu.ram.load_sized(offset, width as u8);
    done.unwrap_or_else(|| {
        let used = bytes.split_at_mut(width as usize).0;
        let _ = cpu.ram.copy_out(offset, used);
        u64::from_le_bytes(bytes)
    })
}

impl Cpu {
    /// Whether code was decoded from the page at `offset` of the arena.
    #[inline]
    pub fn is_code(&self, offset: u64) -> bool {
        let page = offset >> 12;
        self.code_pages.get((page >> 6) as usize).is_some_and(|word| word >> (page & 63) & 1 != 0)
    }

    /// Notes that code was decoded from the page at `offset` of the arena: stores there take the slow way now.
    pub fn set_code(&mut self, offset: u64) {
        if !self.is_code(offset) {
            let page = offset >> 12;
            if let Some(word) = self.code_pages.get_mut((page >> 6) as usize) {
                *word |= 1 << (page & 63);
            }
            self.write.clear();
        }
    }

    /// `bytes` bytes at `offset` of the arena, inside a page, were stored to the slow way.
    pub fn stored(&mut self, offset: u64, bytes: u64) {
        self.ram.dirty().mark(offset);
        if self.is_code(offset) {
            self.code_stores.push((offset, bytes));
            self.leave = true;
        }
    }

    /// Writes a word of the arena, at any address inside a page.
    pub fn ram_write(&mut self, offset: u64, width: Width, v: u64) {
        let done = self.ram.store_sized(offset, width as u8, v);
        if done.is_none() {
            let bytes = v.to_le_bytes();
            let _ = self.ram.copy_in(offset, bytes.split_at(width as usize).0);
        }
        self.stored(offset, width.bytes());
    }

    /// Whether an access is one of the kind that the context of loads and stores is for.
    #[inline(always)]
    pub fn is_plain(&self, access: Access) -> bool {
        let smap = self.state.cr4 & cr4::SMAP != 0;
        access.user == self.user && !(access.implicit && smap)
    }

    /// Translates an access of `size` bytes that does not cross a page; remembers the page if it is RAM.
    ///
    /// # Errors
    /// #PF; #GP(0) for an address that is not canonical.
    pub fn translate(&mut self, la: u64, size: u64, access: Access) -> Result<Place, Fault> {
        if !self.state.canonical(la) {
            return Err(Fault::gp(0));
        }
        let paging = Paging::of(&self.state);
        let found = walk(&mut Tables { cpu: self }, &paging, la, access)?;
        let address = found.pa;
        if address & !PAGE_MASK == self.apic_page {
            return Ok(Place::Other(address));
        }
        let (offset, whole) = match self.bus.page(address) {
            Page::Ram { writable: false, .. } if access.write => return Ok(Place::Other(address)),
            Page::Ram { offset, .. } => (offset | address & PAGE_MASK, true),
            Page::Mixed => match self.bus.ram_range(address, size, access.write) {
                Some(offset) => (offset, false),
                None => return Ok(Place::Other(address)),
            },
            Page::Nothing => return Ok(Place::Other(address)),
        };
        if access.write {
            self.ram.dirty().mark(offset);
        }
        if found.page_bits > 12 && found.page_bits < 64 {
            self.contexts.note_large(la, 1 << found.page_bits);
        }
        if whole && self.is_plain(access) {
            if access.fetch {
                self.fetch.fill(self.code, la, offset);
            } else if !access.write {
                self.read.fill(self.data, la, offset);
            } else if !self.is_code(offset) {
                self.write.fill(self.data, la, offset);
            }
        }
        Ok(Place::Ram(offset))
    }

    /// Reads at a place, inside a page.
    pub fn read_place(&mut self, place: Place, width: Width) -> u64 {
        match place {
            Place::Ram(offset) => ram_read(self, offset, width),
            Place::Other(address) if address & (width.bytes() - 1) != 0 => {
                // Devices are asked for aligned words only.
                (0..width.bytes()).fold(0, |v, n| v | self.device_read(address + n, Width::B1) << (8 * n))
            }
            Place::Other(address) => self.device_read(address, width),
        }
    }

    /// Writes at a place, inside a page.
    pub fn write_place(&mut self, place: Place, width: Width, v: u64) {
        match place {
            Place::Ram(offset) => self.ram_write(offset, width, v),
            Place::Other(address) if address & (width.bytes() - 1) != 0 => {
                for n in 0..width.bytes() {
                    self.device_write(address + n, Width::B1, v >> (8 * n));
                }
            }
            Place::Other(address) => self.device_write(address, width, v),
        }
    }

    /// Where nobody answers, all ones are read, and writes go nowhere.
    fn device_read(&mut self, address: u64, width: Width) -> u64 {
        self.before_device();
        if address & !PAGE_MASK == self.apic_page {
            return self.local.read(address & PAGE_MASK, width as u8) & width.mask();
        }
        self.bus.read(address, width as u8).unwrap_or(u64::MAX) & width.mask()
    }

    fn device_write(&mut self, address: u64, width: Width, v: u64) {
        self.before_device();
        let v = v & width.mask();
        if address & !PAGE_MASK == self.apic_page {
            self.local.write(address & PAGE_MASK, width as u8, v);
        } else {
            let _ = self.bus.write(address, width as u8, v);
        }
    }
}

/// Page tables as a walk of this processor sees them.
struct Tables<'a> {
    cpu: &'a mut Cpu,
}

impl PageMemory for Tables<'_> {
    fn read(&mut self, pa: u64, width: Width) -> u64 {
        match self.cpu.bus.ram_range(pa, width.bytes(), false) {
            Some(offset) => ram_read(self.cpu, offset, width),
            None => self.cpu.bus.read(pa, width as u8).unwrap_or(u64::MAX) & width.mask(),
        }
    }

    fn compare_exchange(&mut self, pa: u64, width: Width, old: u64, new: u64) -> bool {
        let Some(offset) = self.cpu.bus.ram_range(pa, width.bytes(), true) else { return true };
        let ram = &self.cpu.ram;
        let done = match width {
            Width::B4 => ram.compare_exchange(offset, old as u32, new as u32).is_none_or(|r| r.is_ok()),
            _ => ram.compare_exchange(offset, old, new).is_none_or(|r| r.is_ok()),
        };
        self.cpu.stored(offset, width.bytes());
        done
    }
}
