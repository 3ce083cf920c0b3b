//! The address map and its dispatch.

use crate::{BusFault, Target};
use fabric_ram::{GuestRam, PAGE};
use std::fmt;
use std::sync::Arc;

/// What lies at a place.
#[derive(Clone)]
enum Region {
    /// RAM (or ROM, if not writable) at this offset of the arena.
    Ram { offset: u64, writable: bool },
    Device {
        target: Arc<dyn Target>,
        /// Where in the arena the instructions are that can be fetched from it.
        code: Option<u64>,
    },
}

#[derive(Clone)]
struct Mapped {
    base: u64,
    /// Last byte, so that a region may end at the top of the address space.
    last: u64,
    name: String,
    region: Region,
}

/// What one guest-physical page holds, for an engine that wants to remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// All of it is RAM (or ROM): the page starts at `offset` of the arena.
    Ram {
        /// Offset of the page's first byte in the arena.
        offset: u64,
        /// False for ROM.
        writable: bool,
    },
    /// Something else answers in (part of) this page: every access goes through the bus.
    Mixed,
    /// Nothing answers anywhere in this page.
    Nothing,
}

/// A stretch of RAM or ROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Guest-physical address of its first byte.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// Offset of its first byte in the arena.
    pub offset: u64,
    /// False for ROM.
    pub writable: bool,
}

/// A map entry that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Zero bytes, or past the end of the address space.
    Size {
        /// Name of the region.
        name: String,
    },
    /// Two regions claim an address.
    Overlap {
        /// Name of the region.
        name: String,
        /// Name of the one already there.
        other: String,
    },
    /// RAM outside the arena, or not in whole pages.
    Arena {
        /// Name of the region.
        name: String,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::Size { name } => write!(f, "{name}: empty, or past the end of the address space"),
            MapError::Overlap { name, other } => write!(f, "{name} overlaps {other}"),
            MapError::Arena { name } => write!(f, "{name}: not whole pages inside the RAM arena"),
        }
    }
}

impl std::error::Error for MapError {}

/// Collects the regions of a [`Bus`].
pub struct BusBuilder {
    ram: Arc<GuestRam>,
    regions: Vec<Mapped>,
    overlays: Vec<Mapped>,
}

impl BusBuilder {
    /// An empty address space over `ram`.
    pub fn new(ram: Arc<GuestRam>) -> Self {
        BusBuilder { ram, regions: Vec::new(), overlays: Vec::new() }
    }

    /// Maps `size` bytes of the arena from `offset` at `base`, as RAM or (not `writable`) ROM.
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn ram(
        &mut self,
        name: &str,
        base: u64,
        size: u64,
        offset: u64,
        writable: bool,
    ) -> Result<(), MapError> {
        let fits = offset.checked_add(size).is_some_and(|end| end <= self.ram.size());
        if !fits || !(base | size | offset).is_multiple_of(PAGE) {
            return Err(MapError::Arena { name: name.into() });
        }
        let entry = mapped(name, base, size, Region::Ram { offset, writable })?;
        insert(&mut self.regions, entry)
    }

    /// Maps a device.
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn device(
        &mut self,
        name: &str,
        base: u64,
        size: u64,
        target: Arc<dyn Target>,
    ) -> Result<(), MapError> {
        insert(&mut self.regions, mapped(name, base, size, Region::Device { target, code: None })?)
    }

    /// Maps a device that holds a program, such as flash memory: loads and stores reach the device, and instructions are
    /// fetched from the arena from `offset` on, where whoever maps it puts the same bytes.
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn program_device(
        &mut self,
        name: &str,
        base: u64,
        size: u64,
        offset: u64,
        target: Arc<dyn Target>,
    ) -> Result<(), MapError> {
        let fits = offset.checked_add(size).is_some_and(|end| end <= self.ram.size());
        if !fits || !(base | size | offset).is_multiple_of(PAGE) {
            return Err(MapError::Arena { name: name.into() });
        }
        let code = Some(offset);
        insert(&mut self.regions, mapped(name, base, size, Region::Device { target, code })?)
    }

    /// Maps a device on top of whatever else is there (two overlays may not overlap).
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn overlay(
        &mut self,
        name: &str,
        base: u64,
        size: u64,
        target: Arc<dyn Target>,
    ) -> Result<(), MapError> {
        insert(&mut self.overlays, mapped(name, base, size, Region::Device { target, code: None })?)
    }

    /// The finished address space.
    pub fn build(self) -> Bus {
        let nothing = Main { base: 0, size: 0, offset: 0 };
        let mut bus = Bus { main: nothing, ram: self.ram, regions: self.regions, overlays: self.overlays };
        let largest = bus.bare().into_iter().filter(|block| block.writable).max_by_key(|block| block.size);
        if let Some(Block { base, size, offset, .. }) = largest {
            bus.main = Main { base, size, offset };
        }
        bus
    }
}

fn mapped(name: &str, base: u64, size: u64, region: Region) -> Result<Mapped, MapError> {
    let last = size.checked_sub(1).and_then(|s| base.checked_add(s));
    let last = last.ok_or_else(|| MapError::Size { name: name.into() })?;
    Ok(Mapped { base, last, name: name.into(), region })
}

fn insert(list: &mut Vec<Mapped>, new: Mapped) -> Result<(), MapError> {
    let at = list.partition_point(|m| m.base < new.base);
    let before = at.checked_sub(1).and_then(|i| list.get(i)).filter(|m| m.last >= new.base);
    let after = list.get(at).filter(|m| m.base <= new.last);
    if let Some(other) = before.or(after) {
        return Err(MapError::Overlap { name: new.name, other: other.name.clone() });
    }
    list.insert(at, new);
    Ok(())
}

fn find(list: &[Mapped], address: u64) -> Option<&Mapped> {
    let at = list.partition_point(|m| m.base <= address).checked_sub(1)?;
    list.get(at).filter(|m| address <= m.last)
}

/// The longest stretch of whole pages of writable RAM with nothing over it: nearly every question is about this, and gets
/// its answer without a search.
#[derive(Clone, Copy)]
struct Main {
    base: u64,
    size: u64,
    offset: u64,
}

/// One address space: guest-physical memory of a machine.
pub struct Bus {
    main: Main,
    ram: Arc<GuestRam>,
    regions: Vec<Mapped>,
    overlays: Vec<Mapped>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for m in self.overlays.iter().chain(&self.regions) {
            writeln!(f, "{:#014x}..={:#014x} {}", m.base, m.last, m.name)?;
        }
        Ok(())
    }
}

impl Bus {
    /// The arena behind the RAM and ROM regions.
    pub fn ram(&self) -> &Arc<GuestRam> {
        &self.ram
    }

    /// The same map over another arena of the same layout, with what `front` makes of each device and its first address in
    /// the device's place.
    pub fn over(
        &self,
        ram: Arc<GuestRam>,
        mut front: impl FnMut(u64, &Arc<dyn Target>) -> Arc<dyn Target>,
    ) -> Bus {
        let mut renew = |list: &[Mapped]| -> Vec<Mapped> {
            let renewed = list.iter().map(|m| match &m.region {
                Region::Ram { .. } => m.clone(),
                Region::Device { target, code } => {
                    let region = Region::Device { target: front(m.base, target), code: *code };
                    Mapped { region, ..m.clone() }
                }
            });
            renewed.collect()
        };
        Bus { main: self.main, ram, regions: renew(&self.regions), overlays: renew(&self.overlays) }
    }

    /// All RAM and ROM, lowest address first.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.regions.iter().filter_map(|m| match m.region {
            Region::Ram { offset, writable } => {
                Some(Block { base: m.base, size: m.last - m.base + 1, offset, writable })
            }
            Region::Device { .. } => None,
        })
    }

    /// The stretches of whole pages where nothing but RAM or ROM answers, lowest address first: what
    /// [`Bus::blocks`] gives without the pages that an overlay touches. An engine whose processor
    /// reaches memory by itself maps these, and has every other access come by here.
    pub fn bare(&self) -> Vec<Block> {
        let mut found = Vec::new();
        for block in self.blocks() {
            let last = block.base + (block.size - 1);
            let part = |base: u64, size: u64| Block {
                base,
                size,
                offset: block.offset + (base - block.base),
                writable: block.writable,
            };
            let mut next = Some(block.base);
            for over in self.overlays.iter().filter(|o| o.base <= last && o.last >= block.base) {
                let Some(start) = next else { break };
                let hole = (over.base & !(PAGE - 1)).max(start);
                if hole > start {
                    found.push(part(start, hole - start));
                }
                next = (over.last | (PAGE - 1)).checked_add(1).map(|n| n.max(start)).filter(|n| *n <= last);
            }
            if let Some(start) = next {
                found.push(part(start, last - start + 1));
            }
        }
        found
    }

    /// What the page that holds `address` is.
    #[inline]
    pub fn page(&self, address: u64) -> Page {
        let at = (address & !(PAGE - 1)).wrapping_sub(self.main.base);
        if at < self.main.size {
            return Page::Ram { offset: self.main.offset + at, writable: true };
        }
        self.find_page(address)
    }

    fn find_page(&self, address: u64) -> Page {
        let base = address & !(PAGE - 1);
        let last = base | (PAGE - 1);
        let touches = |m: &&Mapped| m.base <= last && m.last >= base;
        if self.overlays.iter().any(|m| touches(&m)) {
            return Page::Mixed;
        }
        match find(&self.regions, base) {
            Some(Mapped { base: start, region: Region::Ram { offset, writable }, .. }) => {
                Page::Ram { offset: offset + (base - start), writable: *writable }
            }
            Some(_) => Page::Mixed,
            None if self.regions.iter().any(|m| touches(&m)) => Page::Mixed,
            None => Page::Nothing,
        }
    }

    /// What the page that holds `address` is to who fetches instructions: as [`Bus::page`], but a device that holds a
    /// program ([`BusBuilder::program_device`]) is ROM.
    #[inline]
    pub fn code_page(&self, address: u64) -> Page {
        match self.page(address) {
            Page::Mixed => self.program_page(address).unwrap_or(Page::Mixed),
            page => page,
        }
    }

    /// Whether instructions can be fetched from the `len` bytes at `address`, which lie in one page.
    pub fn fetchable(&self, address: u64, len: u64) -> bool {
        self.ram_range(address, len, false).is_some() || self.program_page(address).is_some()
    }

    fn program_page(&self, address: u64) -> Option<Page> {
        let base = address & !(PAGE - 1);
        let m = find(&self.regions, base)?;
        let Region::Device { code: Some(offset), .. } = m.region else { return None };
        let covered = self.overlays.iter().any(|o| o.base <= (base | (PAGE - 1)) && o.last >= base);
        (!covered).then(|| Page::Ram { offset: offset + (base - m.base), writable: false })
    }

    fn region(&self, address: u64, size: u8) -> Result<&Mapped, BusFault> {
        let over = if self.overlays.is_empty() { None } else { find(&self.overlays, address) };
        let m = over.or_else(|| find(&self.regions, address)).ok_or(BusFault)?;
        let end = address.checked_add(u64::from(size) - 1).ok_or(BusFault)?;
        if end > m.last { Err(BusFault) } else { Ok(m) }
    }

    /// The longest stretch of writable memory that no device lies over: its address, size and offset in the arena.
    pub fn main_ram(&self) -> Option<(u64, u64, u64)> {
        let Main { base, size, offset } = self.main;
        (size > 0).then_some((base, size, offset))
    }

    /// Reads `size` bytes (1, 2, 4 or 8, naturally aligned), zero-extended.
    ///
    /// # Errors
    /// [`BusFault`] where nothing answers.
    pub fn read(&self, address: u64, size: u8) -> Result<u64, BusFault> {
        debug_assert!(matches!(size, 1 | 2 | 4 | 8));
        let m = self.region(address, size)?;
        match &m.region {
            Region::Device { target, .. } => target.read(address - m.base, size),
            Region::Ram { offset, .. } => {
                let at = offset + (address - m.base);
                self.ram.load_sized(at, size).ok_or(BusFault)
            }
        }
    }

    /// Writes the low `size` bytes (1, 2, 4 or 8, naturally aligned) of `value`.
    ///
    /// # Errors
    /// [`BusFault`] where nothing answers, and on ROM.
    pub fn write(&self, address: u64, size: u8, value: u64) -> Result<(), BusFault> {
        debug_assert!(matches!(size, 1 | 2 | 4 | 8));
        let m = self.region(address, size)?;
        match &m.region {
            Region::Device { target, .. } => target.write(address - m.base, size, value),
            Region::Ram { writable: false, .. } => Err(BusFault),
            Region::Ram { offset, .. } => {
                let at = offset + (address - m.base);
                self.ram.store_sized(at, size, value).ok_or(BusFault)?;
                // Marked after the store: a log taken in between would miss it.
                self.ram.written(at);
                Ok(())
            }
        }
    }

    /// Atomically replaces the `size` bytes (4 or 8, naturally aligned) at `address` by `change` of
    /// them; gives what was there. For devices: RAM is the engines' business.
    ///
    /// # Errors
    /// [`BusFault`] where no device answers that supports it.
    pub fn update(&self, address: u64, size: u8, change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
        let m = self.region(address, size)?;
        match &m.region {
            Region::Device { target, .. } => target.update(address - m.base, size, change),
            Region::Ram { .. } => Err(BusFault),
        }
    }

    /// The arena offset of `len` bytes of RAM (not ROM when `write`) at `address`, if they lie in
    /// one region and nothing overlays them.
    #[inline]
    pub fn ram_range(&self, address: u64, len: u64, write: bool) -> Option<u64> {
        let at = address.wrapping_sub(self.main.base);
        if at < self.main.size && len != 0 && len <= self.main.size - at {
            return Some(self.main.offset + at);
        }
        self.find_ram_range(address, len, write)
    }

    fn find_ram_range(&self, address: u64, len: u64, write: bool) -> Option<u64> {
        let last = address.checked_add(len.checked_sub(1)?)?;
        if self.overlays.iter().any(|o| o.base <= last && o.last >= address) {
            return None;
        }
        match find(&self.regions, address)? {
            Mapped { region: Region::Ram { writable: false, .. }, .. } if write => None,
            _ => self.backing(address, len),
        }
    }

    /// The arena offset of `len` bytes of RAM or ROM at `address`, also where a device overlays
    /// them: what a loader fills.
    pub fn backing(&self, address: u64, len: u64) -> Option<u64> {
        let m = find(&self.regions, address)?;
        let last = address.checked_add(len.checked_sub(1)?)?;
        match m.region {
            Region::Ram { offset, .. } if last <= m.last => Some(offset + (address - m.base)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Echo(Mutex<Vec<(u64, u8, u64)>>);
    impl Target for Echo {
        fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
            Ok(offset << 8 | u64::from(size))
        }
        fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
            self.0.lock().unwrap().push((offset, size, value));
            Ok(())
        }
    }

    fn bus() -> (Bus, Arc<Echo>) {
        let ram = Arc::new(GuestRam::new(4 * PAGE).unwrap());
        let echo = Arc::new(Echo::default());
        let mut b = BusBuilder::new(ram);
        b.ram("rom", 0x1000, PAGE, 3 * PAGE, false).unwrap();
        b.ram("ram", 0x8000_0000, 3 * PAGE, 0, true).unwrap();
        b.device("echo", 0x1000_0000, 0x100, Arc::clone(&echo) as Arc<dyn Target>).unwrap();
        b.overlay("spot", 0x8000_1008, 8, Arc::clone(&echo) as Arc<dyn Target>).unwrap();
        (b.build(), echo)
    }

    #[test]
    fn each_address_reaches_its_region() {
        let (bus, echo) = bus();
        bus.write(0x8000_0010, 4, 0x1234_5678).unwrap();
        assert_eq!(bus.read(0x8000_0010, 8), Ok(0x1234_5678));
        assert_eq!(bus.read(0x1000_0004, 4), Ok(0x404));
        bus.write(0x1000_00ff, 1, 7).unwrap();
        assert_eq!(*echo.0.lock().unwrap(), vec![(0xff, 1, 7)]);
        assert_eq!(bus.read(0x1000_00ff, 2), Err(BusFault));
        assert_eq!(bus.read(0x9000_0000, 1), Err(BusFault));
        assert_eq!(bus.read(u64::MAX, 8), Err(BusFault));
        assert_eq!(bus.write(0x1000, 4, 1), Err(BusFault));
        assert_eq!(bus.read(0x1000, 4), Ok(0));
        // Neither RAM nor a device that knows nothing of it.
        assert_eq!(bus.update(0x8000_0010, 4, &|v| v), Err(BusFault));
        assert_eq!(bus.update(0x1000_0004, 4, &|v| v), Err(BusFault));
    }

    #[test]
    fn a_map_over_another_arena_has_fronts_for_devices() {
        let (bus, echo) = bus();
        let other = Arc::new(GuestRam::new(4 * PAGE).unwrap());
        let mut seen = Vec::new();
        let front = Arc::new(Echo::default());
        let over = bus.over(Arc::clone(&other), |base, target| {
            seen.push((base, target.read(0, 4)));
            Arc::clone(&front) as Arc<dyn Target>
        });
        assert_eq!(seen, [(0x1000_0000, Ok(4)), (0x8000_1008, Ok(4))]);
        over.write(0x1000_0004, 4, 7).unwrap();
        over.write(0x8000_1008, 4, 8).unwrap();
        assert_eq!(*front.0.lock().unwrap(), [(4, 4, 7), (0, 4, 8)]);
        over.write(0x8000_0000, 8, 9).unwrap();
        assert_eq!((other.load::<u64>(0), bus.read(0x8000_0000, 8)), (Some(9), Ok(0)));
        assert_eq!(over.write(0x1000, 4, 1), Err(BusFault));
        assert!(echo.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_program_is_fetched_from_the_arena_and_read_from_its_device() {
        let echo = Arc::new(Echo::default());
        let target = || Arc::clone(&echo) as Arc<dyn Target>;
        let mut b = BusBuilder::new(Arc::new(GuestRam::new(4 * PAGE).unwrap()));
        b.program_device("flash", 0x2000_0000, 3 * PAGE, PAGE, target()).unwrap();
        b.overlay("spot", 0x2000_2008, 8, target()).unwrap();
        let outside = b.program_device("more", 0x3000_0000, 4 * PAGE, PAGE, target());
        assert_eq!(outside, Err(MapError::Arena { name: "more".into() }));
        let crooked = b.program_device("more", 0x3000_0010, PAGE, PAGE, target());
        assert_eq!(crooked, Err(MapError::Arena { name: "more".into() }));
        let bus = b.build();
        assert_eq!(bus.page(0x2000_0000), Page::Mixed);
        assert_eq!(bus.code_page(0x2000_1004), Page::Ram { offset: 2 * PAGE, writable: false });
        assert_eq!(bus.code_page(0x2000_2000), Page::Mixed, "an overlay is no program");
        assert_eq!(bus.code_page(0x2000_3000), Page::Nothing);
        assert_eq!(
            [0x1ffe, 0x2000, 0x3000].map(|at| bus.fetchable(0x2000_0000 + at, 2)),
            [true, false, false]
        );
        assert_eq!(bus.read(0x2000_0004, 4), Ok(0x404));
        bus.write(0x2000_0000, 4, 7).unwrap();
        assert_eq!(*echo.0.lock().unwrap(), [(0, 4, 7)]);
        // No DMA, and no loader by mistake.
        assert_eq!((bus.ram_range(0x2000_0000, 4, false), bus.backing(0x2000_0000, 4)), (None, None));
        let over = bus.over(Arc::clone(bus.ram()), |_, target| Arc::clone(target));
        assert_eq!(over.code_page(0x2000_0000), Page::Ram { offset: PAGE, writable: false });
    }

    #[test]
    fn an_overlay_makes_its_page_mixed_and_leaves_the_rest_ram() {
        let (bus, _) = bus();
        assert_eq!(bus.page(0x8000_0fff), Page::Ram { offset: 0, writable: true });
        assert_eq!(bus.page(0x8000_1000), Page::Mixed);
        assert_eq!(bus.page(0x1fff), Page::Ram { offset: 3 * PAGE, writable: false });
        assert_eq!(bus.page(0x2000), Page::Nothing);
        assert_eq!(bus.page(0x1000_0000), Page::Mixed);
        assert_eq!(bus.read(0x8000_1008, 8), Ok(8));
        bus.write(0x8000_1000, 8, 5).unwrap();
        assert_eq!(bus.read(0x8000_1000, 8), Ok(5));
        assert_eq!(bus.ram_range(0x8000_1000, 16, true), None);
        assert_eq!(bus.backing(0x8000_1000, 16), Some(PAGE));
        assert_eq!(bus.ram_range(0x8000_2000, PAGE, true), Some(2 * PAGE));
        assert_eq!(bus.ram_range(0x1000, 4, true), None);
    }

    #[test]
    fn bare_memory_is_what_page_calls_ram() {
        let (bus, echo) = bus();
        let rom = Block { base: 0x1000, size: PAGE, offset: 3 * PAGE, writable: false };
        let low = Block { base: 0x8000_0000, size: PAGE, offset: 0, writable: true };
        let high = Block { base: 0x8000_2000, size: PAGE, offset: 2 * PAGE, writable: true };
        assert_eq!(bus.bare(), vec![rom, low, high]);
        // Overlays across both ends, two in one page, and one on no memory at all.
        let mut b = BusBuilder::new(Arc::new(GuestRam::new(8 * PAGE).unwrap()));
        b.ram("ram", 0x4000, 8 * PAGE, 0, true).unwrap();
        for (base, size) in [(0x3ff0, 0x20), (0x6000, 8), (0x6ffc, 4), (0x7000, 1), (0xbfff, 2), (0xf000, 1)]
        {
            b.overlay("over", base, size, Arc::clone(&echo) as Arc<dyn Target>).unwrap();
        }
        let bus = b.build();
        let is_ram = |at: u64| matches!(bus.page(at), Page::Ram { .. });
        let bare = bus.bare();
        for at in (0..0x10).map(|n| n * PAGE) {
            let found = bare.iter().find(|b| (b.base..b.base + b.size).contains(&at));
            assert_eq!(found.is_some(), is_ram(at), "{at:#x}");
            if let Some(block) = found {
                let page = Page::Ram { offset: block.offset + (at - block.base), writable: true };
                assert_eq!(bus.page(at), page);
            }
        }
        assert_eq!(bare.len(), 2);
    }

    /// The stretch that is looked at first gives the answers that a search gives.
    #[test]
    fn main_memory_is_found_as_by_a_search() {
        let (with_overlay, echo) = bus();
        assert_eq!((with_overlay.main.base, with_overlay.main.size), (0x8000_2000, PAGE));
        let mut b = BusBuilder::new(Arc::new(GuestRam::new(8 * PAGE).unwrap()));
        b.ram("rom", 0x1000, 4 * PAGE, 4 * PAGE, false).unwrap();
        b.ram("ram", 0x8000_0000, 3 * PAGE, PAGE, true).unwrap();
        b.ram("more", 0x8000_3000, PAGE, 0, true).unwrap();
        b.device("echo", 0x8000_4000, 0x100, echo).unwrap();
        let plain = b.build();
        assert_eq!((plain.main.base, plain.main.size, plain.main.offset), (0x8000_0000, 3 * PAGE, PAGE));
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(PAGE).unwrap()));
        builder.ram("rom", 0, PAGE, 0, false).unwrap();
        let none = builder.build();
        assert_eq!(none.main.size, 0);
        for bus in [with_overlay, plain, none] {
            let near = |at: u64| (0..12).map(move |n| at.wrapping_add(n * 0x800).wrapping_sub(0x1000));
            for at in [0, 0x1000, 0x8000_0000, 0u64.wrapping_sub(0x1000)].into_iter().flat_map(near) {
                assert_eq!(bus.page(at), bus.find_page(at), "{at:#x}");
                for (len, write) in
                    [(0, false), (8, false), (8, true), (0x800, true), (0x801, true), (u64::MAX, true)]
                {
                    let found = bus.ram_range(at, len, write);
                    assert_eq!(found, bus.find_ram_range(at, len, write), "{at:#x} {len:#x}");
                }
            }
        }
    }

    #[test]
    fn overlaps_and_nonsense_are_refused() {
        let ram = Arc::new(GuestRam::new(PAGE).unwrap());
        let mut b = BusBuilder::new(ram);
        b.ram("a", 0x1000, PAGE, 0, true).unwrap();
        assert_eq!(
            b.ram("b", 0x1000, PAGE, 0, true),
            Err(MapError::Overlap { name: "b".into(), other: "a".into() })
        );
        assert_eq!(b.ram("c", 0x2000, 2 * PAGE, 0, true), Err(MapError::Arena { name: "c".into() }));
        let echo: Arc<dyn Target> = Arc::new(Echo::default());
        assert!(b.device("d", 0x1fff, 1, Arc::clone(&echo)).is_err());
        assert!(b.device("e", 0x800, 0x801, Arc::clone(&echo)).is_err());
        assert!(b.device("f", u64::MAX, 2, Arc::clone(&echo)).is_err());
        assert!(b.device("g", 0, 0, Arc::clone(&echo)).is_err());
        assert!(b.device("h", u64::MAX, 1, echo).is_ok());
    }
}
