//! Starting an x86 machine without firmware: what goes where in memory, and the state in which the kernel is entered.
//!
//! Sources: Linux, Documentation/arch/x86/boot.rst ("32-bit Boot Protocol", "64-bit Boot Protocol"); Xen,
//! docs/misc/pvh.pandoc ("x86/HVM direct boot ABI"); MultiProcessor Specification 1.4 for the table that says which
//! interrupt controllers there are.

use crate::load::{LoadError, put};
use crate::spec::{Program, Spec};
use fabric_bus::Bus;
use isa_x86::{Identity, Segment, State, TableRegister, cr0, cr4, efer, seg};
use support_image::boot_params::BootParams;
use support_image::bzimage::{BzImage, ENTRY_64};
use support_image::elf::Elf;
use support_image::memory_map::{MemoryKind, MemoryRange};
use support_image::mp_table::MpTable;
use support_image::pvh::StartInfo;
use support_image::x86_kernel::{X86Kernel, X86KernelError};
use vm_board::size::Size;

/// Where things of ours lie below 640 KiB.
const GDT: u64 = 0x1000;
const START_INFO: u64 = 0x6000;
const ZERO_PAGE: u64 = 0x7000;
const PML4: u64 = 0x9000;
const COMMAND_LINE: u64 = 0x2_0000;
/// Room for the command line, its final zero included.
const COMMAND_LINE_ROOM: u64 = 0x1_0000;
/// The first byte that is not free below 1 MiB.
const LOW_END: u64 = 0x9_fc00;
/// Where the MP table lies: in what is a PC's BIOS.
const MP_TABLE: u64 = 0xf_0000;
/// IA32_MTRR_DEF_TYPE: E, FE, type 6.
const MTRR_ON_WRITE_BACK: u64 = 0xc06;
const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// The boot GDT: null, null, flat code (`__BOOT_CS`), flat data (`__BOOT_DS`), a busy TSS.
const BOOT_GDT_32: [u64; 5] = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067];
const BOOT_GDT_64: [u64; 5] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067];
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;
const BOOT_TSS: u16 = 0x20;

/// Why an x86 machine cannot be started so.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No kernel.
    #[error("there is nothing to run: give a kernel with --kernel")]
    NothingToRun,
    /// The kernel's file is not what it should be.
    #[error("{name}: {source}")]
    Kernel {
        /// Its name.
        name: String,
        /// What is wrong.
        source: X86KernelError,
    },
    /// An ELF executable that does not say how it is entered.
    #[error(
        "{0}: this executable has no PVH entry point (a note XEN_ELFNOTE_PHYS32_ENTRY); give a bzImage, or link the note in"
    )]
    NoEntry(String),
    /// Memory ends too early.
    #[error("the {what} does not fit into {} of memory; give more with --memory", Size(*memory))]
    NoRoom {
        /// Which piece.
        what: &'static str,
        /// Bytes there are.
        memory: u64,
    },
    /// A segment where the start-up structures are.
    #[error("the kernel has a segment at {0:#x}; below 1 MiB is no room for it")]
    TooLow(u64),
    /// The kernel does not take so long a command line.
    #[error("the command line has {0} bytes; this kernel takes at most {1}")]
    LongCommandLine(u64, u64),
}

/// Which processor number `cpu` of a machine is.
pub(crate) fn identity(spec: &Spec, cpu: u32) -> Identity {
    let usual = Identity::default();
    let tsc_hz = spec.tsc_hz.unwrap_or(usual.tsc_hz);
    Identity { apic_id: cpu, processors: spec.board.cpus, tsc_hz, ..usual }
}

/// Loads everything and gives the state in which processor 0 starts.
pub(crate) fn start(bus: &Bus, spec: &Spec) -> Result<State, LoadError> {
    let program = spec.kernel.as_ref().ok_or(StartError::NothingToRun)?;
    let kernel = X86Kernel::parse(&program.bytes)
        .map_err(|source| StartError::Kernel { name: program.name.clone(), source })?;
    let memory = spec.board.memory();
    if memory < 2 * MIB {
        return Err(StartError::NoRoom { what: "kernel", memory }.into());
    }
    put(bus, "MP table", MP_TABLE, &mp_table(spec))?;
    match kernel {
        X86Kernel::BzImage(image) => start_bzimage(bus, spec, program, &image),
        X86Kernel::Pvh { elf, entry } => start_pvh(bus, spec, &elf, entry),
        X86Kernel::Elf(_) => Err(StartError::NoEntry(program.name.clone()).into()),
    }
}

/// The interrupt controllers and how the ISA interrupts reach them.
fn mp_table(spec: &Spec) -> Vec<u8> {
    let mut product = [b' '; 12];
    for (to, from) in product.iter_mut().zip(spec.board.name.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    let table = MpTable {
        oem: *b"HOSTEL  ",
        product,
        // No board has more than the ids that a byte holds.
        processors: u8::try_from(spec.board.cpus).unwrap_or(u8::MAX),
        ioapic: 0xfec0_0000,
        local_apic: 0xfee0_0000,
        // Of the ISA interrupts 2 is the cascade of the 8259s.
        isa: (0..16)
            .filter(|&irq| irq != 2)
            .map(|irq| (irq as u8, crate::plug_pc::ioapic_pin(irq) as u8))
            .collect(),
    };
    table.encode(MP_TABLE)
}

/// What memory is free, for the kernel.
fn memory_map(memory: u64) -> Vec<MemoryRange> {
    let range = |start, end, kind| MemoryRange { start, size: end - start, kind };
    vec![
        range(0, LOW_END, MemoryKind::Ram),
        range(LOW_END, 0xa_0000, MemoryKind::Reserved),
        range(MP_TABLE, MIB, MemoryKind::Reserved),
        range(MIB, memory, MemoryKind::Ram),
    ]
}

/// Puts the command line in its place; at most `limit` bytes of it.
fn put_command_line(bus: &Bus, spec: &Spec, limit: u64) -> Result<(), LoadError> {
    let mut text = spec.append.clone().unwrap_or_default().into_bytes();
    let limit = limit.min(COMMAND_LINE_ROOM - 1);
    if text.len() as u64 > limit {
        return Err(StartError::LongCommandLine(text.len() as u64, limit).into());
    }
    text.push(0);
    put(bus, "command line", COMMAND_LINE, &text)
}

/// Puts the initial RAM disk as high as it may be, behind `low`.
fn put_initrd(bus: &Bus, spec: &Spec, low: u64, max: u64) -> Result<Option<(u64, u64)>, LoadError> {
    let Some(initrd) = &spec.initrd else { return Ok(None) };
    let (memory, size) = (spec.board.memory(), initrd.bytes.len() as u64);
    let top = memory.min(max.saturating_add(1));
    let start = top.checked_sub(size).map(|start| start & !(PAGE - 1)).filter(|&start| start >= low);
    let start = start.ok_or(StartError::NoRoom { what: "initrd", memory })?;
    put(bus, "initrd", start, &initrd.bytes)?;
    Ok(Some((start, size)))
}

fn start_bzimage(bus: &Bus, spec: &Spec, program: &Program, image: &BzImage) -> Result<State, LoadError> {
    let memory = spec.board.memory();
    // Where it wants to be, which needs no relocation; else the first place that it may be moved to.
    let places = [image.preferred, MIB.next_multiple_of(u64::from(image.alignment).max(1))];
    let fits =
        |&start: &u64| start >= MIB && start.checked_add(image.memory_len()).is_some_and(|end| end <= memory);
    let count = if image.relocatable { 2 } else { 1 };
    let base = places.into_iter().take(count).find(fits);
    let base = base.ok_or(StartError::NoRoom { what: "kernel", memory })?;
    put(bus, "kernel", base, image.code(&program.bytes))?;
    put_command_line(bus, spec, image.cmdline_max.into())?;
    let initrd = put_initrd(bus, spec, base + image.memory_len(), image.initrd_max.into())?;
    let params = BootParams { cmdline: COMMAND_LINE, initrd, rsdp: 0, memory: memory_map(memory) };
    let page = params.encode(image, &program.bytes);
    let page = page.map_err(|_| StartError::NoRoom { what: "memory map", memory })?;
    put(bus, "zero page", ZERO_PAGE, &page)?;
    let mut state = if image.has_64_bit_entry() {
        put_page_tables(bus)?;
        let mut state = long_mode(spec, bus)?;
        state.rip = base + ENTRY_64;
        state
    } else {
        let mut state = protected_mode(spec, bus)?;
        state.rip = base;
        state
    };
    if let Some(rsi) = state.gpr.get_mut(6) {
        *rsi = ZERO_PAGE;
    }
    Ok(state)
}

fn start_pvh(bus: &Bus, spec: &Spec, elf: &Elf<'_>, entry: u32) -> Result<State, LoadError> {
    let memory = spec.board.memory();
    let mut end = MIB;
    for segment in elf.segments().iter().filter(|segment| segment.memsz > 0) {
        if segment.paddr < MIB {
            return Err(StartError::TooLow(segment.paddr).into());
        }
        put(bus, "kernel", segment.paddr, elf.contents(segment))?;
        end = end.max(segment.paddr.saturating_add(segment.memsz));
    }
    if end > memory {
        return Err(StartError::NoRoom { what: "kernel", memory }.into());
    }
    put_command_line(bus, spec, u64::MAX)?;
    let initrd = put_initrd(bus, spec, end, u32::MAX.into())?;
    let info = StartInfo { cmdline: COMMAND_LINE, initrd, rsdp: 0, memory: memory_map(memory) };
    put(bus, "start info", START_INFO, &info.encode(START_INFO))?;
    let mut state = protected_mode(spec, bus)?;
    state.rip = entry.into();
    if let Some(rbx) = state.gpr.get_mut(3) {
        *rbx = START_INFO;
    }
    Ok(state)
}

/// The first 4 GiB mapped to themselves in pages of 2 MiB.
fn put_page_tables(bus: &Bus) -> Result<(), LoadError> {
    const TABLE: u64 = 0x003; // present, writable
    const LARGE: u64 = 0x083; // and a page itself
    let pdpt = PML4 + PAGE;
    let directory = |n: u64| pdpt + PAGE * (n + 1);
    let entry = |at: u64, value: u64| put(bus, "page table", at, &value.to_le_bytes());
    entry(PML4, pdpt | TABLE)?;
    for n in 0..4 {
        entry(pdpt + 8 * n, directory(n) | TABLE)?;
        let pages: Vec<u8> = (0..512u64).flat_map(|i| ((n * 512 + i) << 21 | LARGE).to_le_bytes()).collect();
        put(bus, "page table", directory(n), &pages)?;
    }
    Ok(())
}

fn flat(selector: u16, kind: u8, long: bool) -> Segment {
    Segment { selector, base: 0, limit: u32::MAX, kind, big: !long, long, granular: true, ..Segment::real(0) }
}

/// 32-bit protected mode without paging, interrupts off, flat segments.
fn protected_mode(spec: &Spec, bus: &Bus) -> Result<State, LoadError> {
    entered(spec, bus, &BOOT_GDT_32, false)
}

/// 64-bit mode with the first 4 GiB mapped to themselves.
fn long_mode(spec: &Spec, bus: &Bus) -> Result<State, LoadError> {
    let mut state = entered(spec, bus, &BOOT_GDT_64, true)?;
    state.cr0 |= cr0::PG;
    state.cr3 = PML4;
    state.cr4 = cr4::PAE;
    state.msrs.efer = efer::LME | efer::LMA;
    Ok(state)
}

fn entered(spec: &Spec, bus: &Bus, gdt: &[u64], long: bool) -> Result<State, LoadError> {
    let bytes: Vec<u8> = gdt.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    put(bus, "GDT", GDT, &bytes)?;
    let mut state = State { identity: identity(spec, 0), ..State::reset() };
    state.gpr = [0; 16];
    // As firmware leaves it: memory is write-back, variable and fixed ranges count (SDM volume 3, "IA32_MTRR_DEF_TYPE MSR").
    state.msrs.mtrr_def_type = MTRR_ON_WRITE_BACK;
    state.cr0 = cr0::ET | cr0::PE;
    state.segments = [flat(BOOT_DS, 3, false); 6];
    *state.segment_mut(seg::CS) = flat(BOOT_CS, 0xb, long);
    state.tr = Segment { selector: BOOT_TSS, limit: 0x67, kind: 0xb, s: false, ..Segment::real(0) };
    state.gdtr = TableRegister { base: GDT, limit: bytes.len() as u16 - 1 };
    state.idtr = TableRegister { base: 0, limit: 0 };
    Ok(state)
}
