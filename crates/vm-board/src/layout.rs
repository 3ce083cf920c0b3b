//! Where in memory the boot files go.
//!
//! | piece | place |
//! |---|---|
//! | firmware | start of memory, or its own addresses |
//! | kernel | next multiple of 2 MiB, at least its `text_offset` into memory, or its own addresses |
//! | devicetree | as high as possible below 3 GiB, 2 MiB aligned where there is room |
//! | initial RAM disk | half of memory behind the kernel, at most 512 MiB; else right behind it |
//!
//! The devicetree stays below 3 GiB because first stages that run with 32-bit addresses read it there; a kernel wants
//! 2 MiB because it maps itself with such pages (Linux, `Documentation/arch/riscv/boot.rst`, "Kernel location").

use crate::size::{Argument, GIB, KIB, MIB, Size};
use std::ops::Range;
use support_image::kernel::Kernel;
use thiserror::Error;

/// Alignment of kernels, in bytes.
pub const KERNEL_ALIGN: u64 = 2 * MIB;
/// Bytes kept free behind the devicetree: OpenSBI and U-Boot add nodes to it in place.
pub const FDT_GROWTH: u64 = 16 * KIB;

const SMALL_ALIGN: u64 = 4 * KIB;
const FDT_TOP: u64 = 3 * GIB;
const INITRD_GAP: u64 = 512 * MIB;
/// Where the search for enough memory gives up.
const MOST_SUGGESTED: u64 = 1 << 40;

/// A program, by what it needs of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// It runs anywhere.
    Floating {
        /// Bytes of memory, including what is not in the file.
        len: u64,
        /// Least distance from the start of memory.
        text_offset: u64,
        /// Distance of its first instruction from its first byte.
        entry: u64,
        /// Address it was linked at; its segments' addresses count from there.
        linked_at: u64,
    },
    /// It runs at its own addresses only.
    Fixed {
        /// Physical addresses of its segments.
        segments: Vec<Range<u64>>,
        /// Physical address of its first instruction.
        entry: u64,
    },
}

impl Payload {
    /// What a file of `file_len` bytes needs.
    pub fn of(kernel: &Kernel, file_len: u64) -> Payload {
        let (text_offset, len) = match kernel {
            Kernel::Elf(elf) if elf.position_independent() => {
                let extent = elf.extent();
                return Payload::Floating {
                    len: extent.end.saturating_sub(extent.start),
                    text_offset: 0,
                    entry: elf.entry_paddr().wrapping_sub(extent.start),
                    linked_at: extent.start,
                };
            }
            Kernel::Elf(elf) => {
                let segments = elf.segments().iter().map(|segment| segment.extent()).collect();
                return Payload::Fixed { segments, entry: elf.entry_paddr() };
            }
            Kernel::Image(image) => (image.text_offset, image.memory_len(file_len)),
            Kernel::Flat => (0, file_len),
        };
        Payload::Floating { len, text_offset, entry: 0, linked_at: 0 }
    }
}

/// What runs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// Nothing: the kernel itself, in machine mode.
    None,
    /// An SBI implementation outside the guest's memory; the kernel's place is where a loaded firmware would leave it.
    Builtin,
    /// A loaded one, such as OpenSBI.
    Loaded(Payload),
}

/// What is to be placed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Physical addresses of the memory.
    pub ram: Range<u64>,
    /// What runs first.
    pub firmware: Firmware,
    /// The kernel, or a boot loader in its place.
    pub kernel: Option<Payload>,
    /// Bytes of the initial RAM disk.
    pub initrd: Option<u64>,
    /// Bytes of the devicetree.
    pub fdt: u64,
}

/// A program's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Physical addresses from its first to its last byte.
    pub extent: Range<u64>,
    /// Physical address of its first instruction.
    pub entry: u64,
    /// What to add, wrapping, to the physical addresses of an ELF file's segments.
    pub bias: u64,
}

/// Where everything goes; no two pieces overlap and all lie in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The loaded firmware.
    pub firmware: Option<Placement>,
    /// The kernel.
    pub kernel: Option<Placement>,
    /// The initial RAM disk.
    pub initrd: Option<Range<u64>>,
    /// The devicetree, without the room to grow behind it.
    pub fdt: Range<u64>,
}

/// Why the files cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// A piece is larger than what is free.
    #[error("the {what} ({len}) does not fit{beside} in {memory} of memory{advice}", beside = beside(*.len, *.memory), len = Size(*.len), memory = Size(*.memory), advice = advice(*.enough))]
    DoesNotFit {
        /// Which piece.
        what: &'static str,
        /// Its bytes.
        len: u64,
        /// Bytes of memory.
        memory: u64,
        /// An amount of memory in which everything fits, where there is one.
        enough: Option<u64>,
    },
    /// A program's own addresses are not memory.
    #[error("the {what} is linked to run at {:#x}..{:#x}, but memory is at {:#x}..{:#x}{advice}", .at.start, .at.end, .ram.start, .ram.end, advice = advice(*.enough))]
    OutsideMemory {
        /// Which piece.
        what: &'static str,
        /// Addresses of the segment.
        at: Range<u64>,
        /// Addresses of the memory.
        ram: Range<u64>,
        /// An amount of memory in which everything fits, where there is one.
        enough: Option<u64>,
    },
    /// Two programs want the same addresses.
    #[error("the kernel, linked to run at {:#x}..{:#x}, would overwrite the firmware at {:#x}..{:#x}; link it behind the firmware, or start it without one (--bios none)", .kernel.start, .kernel.end, .firmware.start, .firmware.end)]
    Overlap {
        /// Addresses of the kernel's segment.
        kernel: Range<u64>,
        /// Addresses of the firmware.
        firmware: Range<u64>,
    },
    /// A file without bytes.
    #[error("the {0} is empty")]
    Empty(&'static str),
}

/// What takes the room, where the piece alone would have fitted.
fn beside(len: u64, memory: u64) -> &'static str {
    if len > memory { "" } else { " beside the other boot files" }
}

fn advice(enough: Option<u64>) -> String {
    enough.map_or_else(String::new, |bytes| format!("; try --memory {}", Argument(bytes)))
}

/// Places every piece, or says why it cannot be done and how much memory would do.
pub fn place(request: &Request) -> Result<Layout, LayoutError> {
    let error = match attempt(request) {
        Ok(layout) => return Ok(layout),
        Err(error) => error,
    };
    let memory = request.ram.end.saturating_sub(request.ram.start);
    let larger = |bytes: &u64| {
        let end = request.ram.start.saturating_add(*bytes);
        attempt(&Request { ram: request.ram.start..end, ..request.clone() }).is_ok()
    };
    let sizes = (20..).map(|power| 1_u64 << power).take_while(|&bytes| bytes <= MOST_SUGGESTED);
    let found = sizes.filter(|&bytes| bytes > memory).find(larger);
    Err(match error {
        LayoutError::DoesNotFit { what, len, memory, .. } => {
            LayoutError::DoesNotFit { what, len, memory, enough: found }
        }
        LayoutError::OutsideMemory { what, at, ram, .. } => {
            LayoutError::OutsideMemory { what, at, ram, enough: found }
        }
        other => other,
    })
}

fn attempt(request: &Request) -> Result<Layout, LayoutError> {
    let mut memory = Memory { ram: request.ram.clone(), taken: Vec::new() };
    let (firmware, behind) = match &request.firmware {
        Firmware::None => (None, memory.ram.start),
        Firmware::Builtin => (None, memory.ram.start.saturating_add(KERNEL_ALIGN)),
        Firmware::Loaded(payload) => {
            let placed = memory.program("firmware", payload, memory.ram.start)?;
            let behind = placed.extent.end;
            (Some(placed), behind)
        }
    };
    let kernel = match &request.kernel {
        None => None,
        Some(payload) => {
            forbid_overlap(payload, firmware.as_ref())?;
            Some(memory.program("kernel", payload, behind)?)
        }
    };
    let fdt = memory.fdt(request.fdt)?;
    let initrd = match request.initrd {
        None => None,
        Some(len) => {
            let anchor = kernel.as_ref().map_or(behind, |kernel| kernel.extent.start);
            Some(memory.initrd(len, anchor)?)
        }
    };
    Ok(Layout { firmware, kernel, initrd, fdt })
}

fn forbid_overlap(kernel: &Payload, firmware: Option<&Placement>) -> Result<(), LayoutError> {
    let (Payload::Fixed { segments, .. }, Some(firmware)) = (kernel, firmware) else {
        return Ok(());
    };
    match segments.iter().find(|segment| overlap(segment, &firmware.extent)) {
        None => Ok(()),
        Some(segment) => {
            Err(LayoutError::Overlap { kernel: segment.clone(), firmware: firmware.extent.clone() })
        }
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Memory, and what of it is taken: ranges in order, none touching the next.
struct Memory {
    ram: Range<u64>,
    taken: Vec<Range<u64>>,
}

impl Memory {
    fn program(
        &mut self,
        what: &'static str,
        payload: &Payload,
        behind: u64,
    ) -> Result<Placement, LayoutError> {
        match payload {
            Payload::Fixed { segments, entry } => {
                for at in segments {
                    if at.start < self.ram.start || at.end > self.ram.end {
                        let (at, ram) = (at.clone(), self.ram.clone());
                        return Err(LayoutError::OutsideMemory { what, at, ram, enough: None });
                    }
                }
                self.take(segments.iter().cloned());
                let start = segments.iter().map(|at| at.start).min().unwrap_or(*entry);
                let end = segments.iter().map(|at| at.end).max().unwrap_or(*entry);
                Ok(Placement { extent: start..end, entry: *entry, bias: 0 })
            }
            Payload::Floating { len, text_offset, entry, linked_at } => {
                if *len == 0 {
                    return Err(LayoutError::Empty(what));
                }
                let from = behind.max(self.ram.start.saturating_add(*text_offset));
                let extent =
                    self.lowest(from, *len, KERNEL_ALIGN).ok_or_else(|| self.does_not_fit(what, *len))?;
                self.take([extent.clone()]);
                let start = extent.start;
                Ok(Placement {
                    extent,
                    entry: start.wrapping_add(*entry),
                    bias: start.wrapping_sub(*linked_at),
                })
            }
        }
    }

    fn fdt(&mut self, len: u64) -> Result<Range<u64>, LayoutError> {
        let what = "devicetree";
        if len == 0 {
            return Err(LayoutError::Empty(what));
        }
        let top = if self.ram.start < FDT_TOP { self.ram.end.min(FDT_TOP) } else { self.ram.end };
        let room = len.saturating_add(FDT_GROWTH);
        let place = self.highest(top, room, KERNEL_ALIGN).or_else(|| self.highest(top, room, SMALL_ALIGN));
        let place = place.ok_or_else(|| self.does_not_fit(what, len))?;
        self.take([place.clone()]);
        Ok(place.start..place.start + len)
    }

    fn initrd(&mut self, len: u64, anchor: u64) -> Result<Range<u64>, LayoutError> {
        let what = "initrd";
        if len == 0 {
            return Err(LayoutError::Empty(what));
        }
        let half = (self.ram.end - self.ram.start) / 2;
        let preferred = anchor.saturating_add(half.min(INITRD_GAP));
        let place = self
            .lowest(preferred, len, SMALL_ALIGN)
            .or_else(|| self.lowest(anchor, len, SMALL_ALIGN))
            .ok_or_else(|| self.does_not_fit(what, len))?;
        self.take([place.clone()]);
        Ok(place)
    }

    fn does_not_fit(&self, what: &'static str, len: u64) -> LayoutError {
        let memory = self.ram.end - self.ram.start;
        LayoutError::DoesNotFit { what, len, memory, enough: None }
    }

    /// Takes ranges, keeping what is taken sorted and apart: a file may come with very many segments.
    fn take(&mut self, ranges: impl IntoIterator<Item = Range<u64>>) {
        self.taken.extend(ranges);
        self.taken.sort_by_key(|range| range.start);
        self.taken.dedup_by(|next, kept| {
            let joined = next.start <= kept.end;
            if joined {
                kept.end = kept.end.max(next.end);
            }
            joined
        });
    }

    /// The lowest free place from `from` on.
    fn lowest(&self, from: u64, len: u64, align: u64) -> Option<Range<u64>> {
        let mut start = from.checked_next_multiple_of(align)?;
        for taken in &self.taken {
            if overlap(taken, &(start..start.checked_add(len)?)) {
                start = taken.end.checked_next_multiple_of(align)?;
            }
        }
        let end = start.checked_add(len)?;
        (end <= self.ram.end).then_some(start..end)
    }

    /// The highest free place that ends at `top` at most.
    fn highest(&self, top: u64, len: u64, align: u64) -> Option<Range<u64>> {
        let below = |end: u64| {
            let start = end.checked_sub(len)?;
            Some(start - start % align)
        };
        let mut start = below(top)?;
        for taken in self.taken.iter().rev() {
            if overlap(taken, &(start..start + len)) {
                start = below(taken.start)?;
            }
        }
        (start >= self.ram.start).then_some(start..start + len)
    }
}
