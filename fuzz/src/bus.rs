//! Target `bus`: address maps of any shape, then accesses by processors and devices, compared with a
//! model that looks at every byte by itself.

use crate::input::Input;
use fabric_bus::{Bus, BusBuilder, BusFault, Dma, DmaError, Page, Remap, Target};
use fabric_ram::{GuestRam, PAGE};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Pages of the arena.
const PAGES: u64 = 4;

/// A region as the model sees it.
#[derive(Clone, Copy)]
struct Region {
    base: u64,
    last: u64,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Ram { offset: u64, writable: bool },
    Device,
    Overlay,
}

/// A device that answers with the offset.
struct Echo;

impl Target for Echo {
    fn read(&self, offset: u64, _size: u8) -> Result<u64, BusFault> {
        Ok(offset)
    }

    fn write(&self, _offset: u64, _size: u8, _value: u64) -> Result<(), BusFault> {
        Ok(())
    }
}

/// An IOMMU that swaps pairs of pages and refuses every fourth page.
struct Swap;

impl Remap for Swap {
    fn translate(&self, _requester: u32, iova: u64, _write: bool) -> Result<(u64, u64), DmaError> {
        if iova / PAGE % 4 == 3 { Err(DmaError::Refused) } else { Ok((iova ^ PAGE, PAGE - iova % PAGE)) }
    }
}

struct Model {
    regions: Vec<Region>,
    arena: Vec<u8>,
}

impl Model {
    /// What answers at `address`: overlays are on top.
    fn at(&self, address: u64) -> Option<Region> {
        let covers = |r: &&Region| r.base <= address && address <= r.last;
        let overlay = self.regions.iter().filter(|r| r.what == What::Overlay).find(covers);
        overlay.or_else(|| self.regions.iter().filter(|r| r.what != What::Overlay).find(covers)).copied()
    }

    /// The arena byte that DMA at `address` reaches.
    fn byte(&self, address: u64, write: bool) -> Option<usize> {
        match self.at(address)? {
            Region { base, what: What::Ram { offset, writable }, .. } if writable || !write => {
                Some((offset + (address - base)) as usize)
            }
            _ => None,
        }
    }
}

/// The arena, made once: a system call for every input would halve their number. It begins each
/// input as if new.
fn arena() -> Option<&'static Mutex<Arc<GuestRam>>> {
    static ARENA: OnceLock<Option<Mutex<Arc<GuestRam>>>> = OnceLock::new();
    ARENA.get_or_init(|| Some(Mutex::new(Arc::new(GuestRam::new(PAGES * PAGE).ok()?)))).as_ref()
}

/// The target.
pub fn fuzz(data: &[u8]) {
    let Some(arena) = arena() else { return };
    let ram = arena.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = ram.fill(0, PAGES * PAGE, 0);
    ram.dirty().take();
    let mut input = Input::new(data);
    let Some((bus, mut model)) = map(&mut input, Arc::clone(&ram)) else { return };
    let bus = Arc::new(bus);
    while operation(&mut input, &bus, &mut model).is_some() {}
    let mut arena = vec![0; model.arena.len()];
    assert_eq!(bus.ram().copy_out(0, &mut arena), Some(()));
    assert!(arena == model.arena, "the arena is not what was written");
    let dirty = bus.ram().dirty().take();
    for (page, bytes) in model.arena.chunks(PAGE as usize).enumerate() {
        let written = *bytes != [0; PAGE as usize];
        assert!(!written || dirty.contains(&(page as u64)), "page {page} was written and is not in the log");
    }
}

/// An address near the bottom, in the middle, or at the very top of the address space.
fn address(input: &mut Input<'_>, place: u8) -> Option<u64> {
    let windows = [0, 0x8000_0000, u64::MAX - 0xffff];
    Some(windows.get(usize::from(place) % windows.len())? + u64::from(input.u16()?))
}

fn map(input: &mut Input<'_>, ram: Arc<GuestRam>) -> Option<(Bus, Model)> {
    let mut builder = BusBuilder::new(ram);
    let mut regions = Vec::new();
    for _ in 0..input.u8()? % 8 {
        let kind = input.u8()?;
        let mut base = address(input, kind >> 4)?;
        let mut size = u64::from(input.u16()?);
        let what = match kind % 4 {
            0 | 1 => {
                (base, size) = (base & !(PAGE - 1), size % (PAGES + 1) * PAGE);
                What::Ram { offset: u64::from(kind >> 2) % PAGES * PAGE, writable: kind % 4 == 0 }
            }
            2 => What::Device,
            _ => What::Overlay,
        };
        let done = match what {
            What::Ram { offset, writable } => builder.ram("ram", base, size, offset, writable),
            What::Device => builder.device("device", base, size, Arc::new(Echo)),
            What::Overlay => builder.overlay("overlay", base, size, Arc::new(Echo)),
        };
        let last = size.checked_sub(1).and_then(|s| base.checked_add(s));
        let overlay = |w: What| w == What::Overlay;
        let free = |last: u64| {
            !regions
                .iter()
                .any(|r: &Region| overlay(r.what) == overlay(what) && r.base <= last && base <= r.last)
        };
        let fits = !matches!(what, What::Ram { offset, .. } if offset + size > PAGES * PAGE);
        assert_eq!(done.is_ok(), fits && last.is_some_and(free), "{base:#x} + {size:#x}");
        if let (Ok(()), Some(last)) = (done, last) {
            regions.push(Region { base, last, what });
        }
    }
    Some((builder.build(), Model { regions, arena: vec![0; (PAGES * PAGE) as usize] }))
}

fn operation(input: &mut Input<'_>, bus: &Arc<Bus>, model: &mut Model) -> Option<()> {
    let op = input.u8()?;
    let at = address(input, op >> 4)?;
    match op % 8 {
        0..=3 => access(input, bus, model, at, 1 << (op % 4))?,
        4 => {
            let same = |a: u64| {
                matches!(
                    (model.at(a), bus.page(a)),
                    (Some(Region { what: What::Ram { .. }, .. }), Page::Ram { .. })
                        | (_, Page::Mixed)
                        | (None, Page::Nothing)
                )
            };
            assert!(same(at), "page of {at:#x}: {:?}", bus.page(at));
        }
        _ => dma(input, bus, model, at, op)?,
    }
    Some(())
}

/// A processor's access, naturally aligned.
fn access(input: &mut Input<'_>, bus: &Bus, model: &mut Model, at: u64, size: u8) -> Option<()> {
    let at = at & !(u64::from(size) - 1);
    let value = u64::from(input.u16()?).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let whole = model.at(at).filter(|r| at + (u64::from(size) - 1) <= r.last);
    let bytes = value.to_le_bytes();
    let cut = bytes.iter().take(usize::from(size));
    match whole {
        None => {
            assert_eq!(bus.read(at, size), Err(BusFault));
            assert_eq!(bus.write(at, size, value), Err(BusFault));
        }
        Some(Region { base, what: What::Ram { offset, writable }, .. }) => {
            let place = (offset + (at - base)) as usize;
            assert_eq!(bus.write(at, size, value).is_ok(), writable);
            let mut expected = 0;
            for (n, byte) in cut.enumerate() {
                let cell = model.arena.get_mut(place + n)?;
                if writable {
                    *cell = *byte;
                }
                expected |= u64::from(*cell) << (8 * n);
            }
            assert_eq!(bus.read(at, size), Ok(expected));
        }
        Some(region) => assert_eq!(bus.read(at, size), Ok(at - region.base)),
    }
    Some(())
}

/// A device's access of any length, behind an IOMMU or not.
fn dma(input: &mut Input<'_>, bus: &Arc<Bus>, model: &mut Model, at: u64, op: u8) -> Option<()> {
    let length = u64::from(input.u16()? % 600);
    let remapped = op & 8 != 0;
    let handle = Dma::new(Arc::clone(bus), 1);
    let handle = if remapped { handle.behind(Arc::new(Swap)) } else { handle };
    let write = op % 8 == 5;
    let mut cells = Vec::new();
    for n in 0..length {
        let iova = at.checked_add(n);
        let address = iova
            .and_then(|a| if !remapped { Some(a) } else { Swap.translate(1, a, write).ok().map(|t| t.0) });
        cells.push(address.and_then(|a| model.byte(a, write)));
    }
    let mut bytes = vec![input.u8()?; length as usize];
    let done = if write { handle.write(at, &bytes) } else { handle.read(at, &mut bytes) };
    // All that is reachable may still be refused where it lies in two regions; never the other way.
    assert!(
        done.is_err() || cells.iter().all(Option::is_some),
        "{at:#x} + {length:#x}: reached what is no RAM"
    );
    for (cell, byte) in cells.into_iter().zip(bytes) {
        // A write that fails part of the way has written the pieces before: take over what is there.
        let Some(place) = cell else { break };
        let cell = model.arena.get_mut(place)?;
        if write && done.is_ok() {
            *cell = byte;
        } else if write {
            *cell = bus.ram().load::<u8>(place as u64)?;
        } else if done.is_ok() {
            assert_eq!(byte, *cell, "DMA at {at:#x} read something else");
        }
    }
    Some(())
}
