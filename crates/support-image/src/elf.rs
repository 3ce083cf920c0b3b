//! ELF64 little-endian executables for RISC-V and x86-64: entry, loadable segments, symbols, notes.
//!
//! Sources: System V ABI, chapters 4 and 5 (ELF header, program header, symbol table); RISC-V ELF psABI, "ELF Object
//! Files" (`EM_RISCV` = 243). The records are decoded by the `object` crate; what is here is the checking.

use crate::elf_note::{NoteError, NoteSegment, pvh_entry};
use object::LittleEndian;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, FileHeader64, PT_LOAD, PT_NOTE, SHF_ALLOC, SHT_SYMTAB, SectionHeader64, Sym64,
};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use std::ops::Range;
use thiserror::Error;

/// The magic number every ELF file starts with.
pub const MAGIC: &[u8] = b"\x7fELF";

/// `e_machine` of RISC-V (psABI, "ELF Object Files").
pub const EM_RISCV: u16 = 243;
/// `e_machine` of x86-64 (AMD64 psABI, "ELF Header").
pub const EM_X86_64: u16 = 62;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

type Header = FileHeader64<LittleEndian>;

/// Why a file is not an executable that a machine could be started from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ElfError {
    /// The magic number is absent.
    #[error("this is not an ELF file")]
    NotElf,
    /// `EI_CLASS` is not 64-bit.
    #[error("this is a 32-bit ELF, a 64-bit one is needed")]
    NotClass64,
    /// `EI_DATA` is not little-endian.
    #[error("this is a big-endian ELF, a little-endian one is needed")]
    NotLittleEndian,
    /// `e_machine` names another processor.
    #[error("this is {} ELF, {} one is needed", with_article(*.found), wanted(*.needed))]
    OtherMachine {
        /// What it is.
        found: u16,
        /// What it had to be.
        needed: u16,
    },
    /// `e_type` is neither `ET_EXEC` nor `ET_DYN`: an object file or a core dump.
    #[error("this ELF is {}, not an executable; link it first", type_name(*.0))]
    NotExecutable(u16),
    /// There is no `PT_LOAD` segment with a size.
    #[error("this ELF has no loadable segment, so there is nothing to run in it")]
    NoLoadableSegment,
    /// The headers speak of bytes past the end of the file.
    #[error(
        "this ELF is truncated: its {what} would end at byte {needed}, but the file has {actual} bytes; \
         fetch or build it again"
    )]
    Truncated {
        /// Which piece is missing.
        what: &'static str,
        /// Length in bytes that the file would need.
        needed: u64,
        /// Length in bytes that it has.
        actual: u64,
    },
    /// A segment's fields contradict each other.
    #[error("this ELF is malformed: loadable segment {index} {problem}")]
    BadSegment {
        /// Number of the program header.
        index: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another structure is inconsistent.
    #[error("this ELF is malformed: its {0} cannot be read")]
    Malformed(&'static str),
}

/// One `PT_LOAD` segment. Its file range lies in the file and `paddr + memsz` does not wrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address of the first byte (`p_paddr`).
    pub paddr: u64,
    /// Virtual address of the first byte (`p_vaddr`).
    pub vaddr: u64,
    /// Bytes in memory; what exceeds the file's part is zero.
    pub memsz: u64,
    /// Where in the file its contents lie.
    pub file: Range<usize>,
}

impl Segment {
    /// Physical addresses that the segment occupies.
    pub fn extent(&self) -> Range<u64> {
        self.paddr..self.paddr.saturating_add(self.memsz)
    }
}

/// A symbol's value and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Address (`st_value`).
    pub address: u64,
    /// Size in bytes (`st_size`), 0 where unknown.
    pub size: u64,
}

/// A checked executable, borrowing the file's bytes.
#[derive(Debug)]
pub struct Elf<'data> {
    data: &'data [u8],
    entry: u64,
    position_independent: bool,
    segments: Vec<Segment>,
    notes: Vec<NoteSegment>,
    symbols: Symbols<'data>,
}

/// The symbol table and its string table. Names are compared in place: searching each name's end first would let a
/// file of many symbols that share one endless name take quadratic time.
#[derive(Debug, Default)]
struct Symbols<'data> {
    entries: &'data [Sym64<LittleEndian>],
    strings: &'data [u8],
}

impl<'data> Elf<'data> {
    /// Reads and checks an executable for RISC-V.
    pub fn parse(data: &'data [u8]) -> Result<Self, ElfError> {
        Self::parse_for(data, EM_RISCV)
    }

    /// Reads and checks an executable for the processor `machine`, an `e_machine` value.
    pub fn parse_for(data: &'data [u8], machine: u16) -> Result<Self, ElfError> {
        let header = identify(data, machine)?;
        let endian = LittleEndian;
        let mut segments = segments(header, data)?;
        let symbols = symbols(header, data)?;
        let position_independent = header.e_type(endian).0 == ET_DYN;
        if !position_independent && symbols.find(HEADER_SYMBOL).is_none() {
            leave_headers_out(&mut segments, header, data);
        }
        let notes = note_segments(header, data)?;
        Ok(Elf { data, entry: header.e_entry(endian), position_independent, segments, notes, symbols })
    }

    /// The physical address at which a PVH boot loader enters the program in 32-bit mode, if it has such an entry.
    ///
    /// # Errors
    /// [`NoteError`]: the notes, which nothing else looks at, cannot be read.
    pub fn pvh_entry(&self) -> Result<Option<u32>, NoteError> {
        pvh_entry(self.data, &self.notes)
    }

    /// Address of the first instruction as the file states it (`e_entry`, a virtual address).
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The physical address the entry is loaded at: `e_entry` moved by the segment it lies in. Equal to
    /// [`Elf::entry`] for programs linked at the addresses they run at.
    pub fn entry_paddr(&self) -> u64 {
        self.segments
            .iter()
            .find_map(|segment| {
                let into = self.entry.checked_sub(segment.vaddr)?;
                if into < segment.memsz { segment.paddr.checked_add(into) } else { None }
            })
            .unwrap_or(self.entry)
    }

    /// True for `ET_DYN`: the program relocates itself and runs wherever its segments are placed, as long as their
    /// distances are kept. OpenSBI's ELF files are such programs, linked at address 0.
    pub fn position_independent(&self) -> bool {
        self.position_independent
    }

    /// Loadable segments in file order; they may overlap, and later ones win.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The bytes of a segment that come from the file; at most `memsz` of them.
    pub fn contents(&self, segment: &Segment) -> &'data [u8] {
        self.data.get(segment.file.clone()).unwrap_or_default()
    }

    /// Lowest and highest physical address of all segments.
    pub fn extent(&self) -> Range<u64> {
        let start = self.segments.iter().map(|s| s.paddr).min().unwrap_or(0);
        let end = self.segments.iter().map(|s| s.extent().end).max().unwrap_or(0);
        start..end
    }

    /// Looks a defined symbol up by name, for instance `tohost`, `fromhost`, `begin_signature` or `end_signature`.
    /// A stripped file has none.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.find(name)
    }
}

impl Symbols<'_> {
    fn find(&self, name: &str) -> Option<Symbol> {
        let named = |symbol: &&Sym64<LittleEndian>| {
            let rest = self.strings.get(symbol.st_name(LittleEndian) as usize..);
            let end = rest.and_then(|rest| rest.strip_prefix(name.as_bytes()));
            end.is_some_and(|end| end.first() == Some(&0)) && !symbol.is_undefined(LittleEndian)
        };
        self.entries.iter().find(named).map(|symbol| Symbol {
            address: symbol.st_value(LittleEndian),
            size: symbol.st_size(LittleEndian),
        })
    }
}

/// What linkers define for a program that reads its own headers.
const HEADER_SYMBOL: &str = "__ehdr_start";

/// Takes the file's headers off a segment that begins with them. Linkers put them, and padding, before
/// the first section: a program linked to run from the start of memory would begin a page before it.
fn leave_headers_out(segments: &mut [Segment], header: &Header, data: &[u8]) {
    let endian = LittleEndian;
    let Ok(sections) = header.section_headers(endian, data) else { return };
    let loaded = |s: &&SectionHeader64<LittleEndian>| {
        s.sh_flags(endian).0 & SHF_ALLOC.0 != 0 && s.sh_size(endian) != 0
    };
    for segment in segments.iter_mut().filter(|segment| segment.file.start == 0) {
        let inside = |s: &&SectionHeader64<LittleEndian>| {
            s.sh_addr(endian).checked_sub(segment.vaddr).is_some_and(|into| into < segment.memsz)
        };
        let first = sections.iter().filter(loaded).filter(inside).map(|s| s.sh_addr(endian)).min();
        let Some(skip) = first.map(|first| first - segment.vaddr) else { continue };
        if skip < segment.file.end as u64 {
            segment.file.start = skip as usize;
            segment.paddr += skip;
            segment.vaddr += skip;
            segment.memsz -= skip;
        }
    }
}

/// Checks magic, class, byte order, machine and type, in that order, so that the message names the first real reason.
fn identify(data: &[u8], needed: u16) -> Result<&Header, ElfError> {
    if !data.starts_with(MAGIC) {
        return Err(ElfError::NotElf);
    }
    let truncated = ElfError::Truncated { what: "header", needed: 64, actual: data.len() as u64 };
    let (Some(&class), Some(&order)) = (data.get(4), data.get(5)) else {
        return Err(truncated);
    };
    let read16 = |offset| {
        let field = crate::bytes::array(data, offset)?;
        Some(if order == 2 { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
    };
    // The machine says more than class and byte order do, where it is another one.
    if let Some(machine) = read16(18)
        && machine != needed
    {
        return Err(ElfError::OtherMachine { found: machine, needed });
    }
    if class != ELFCLASS64.0 {
        return Err(ElfError::NotClass64);
    }
    if order != ELFDATA2LSB.0 {
        return Err(ElfError::NotLittleEndian);
    }
    if data.len() < size_of::<Header>() {
        return Err(truncated);
    }
    let header = Header::parse(data).map_err(|_| ElfError::Malformed("header"))?;
    match header.e_type(LittleEndian).0 {
        ET_EXEC | ET_DYN => Ok(header),
        other => Err(ElfError::NotExecutable(other)),
    }
}

fn segments(header: &Header, data: &[u8]) -> Result<Vec<Segment>, ElfError> {
    let endian = LittleEndian;
    let actual = data.len() as u64;
    if header.e_phnum(endian) != 0 {
        let table = u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian));
        let needed = header.e_phoff(endian).saturating_add(table);
        if needed > actual {
            return Err(ElfError::Truncated { what: "program headers", needed, actual });
        }
    }
    let headers = header.program_headers(endian, data).map_err(|_| ElfError::Malformed("program headers"))?;
    let mut segments = Vec::new();
    for (index, program) in headers.iter().enumerate() {
        if program.p_type(endian) != PT_LOAD || program.p_memsz(endian) == 0 {
            continue;
        }
        let (offset, filesz) = (program.p_offset(endian), program.p_filesz(endian));
        let (paddr, memsz) = (program.p_paddr(endian), program.p_memsz(endian));
        if filesz > memsz {
            return Err(ElfError::BadSegment { index, problem: "is larger in the file than in memory" });
        }
        if paddr.checked_add(memsz).is_none() {
            return Err(ElfError::BadSegment { index, problem: "reaches past the end of the address space" });
        }
        let needed = if filesz == 0 { 0 } else { offset.saturating_add(filesz) };
        if needed > actual {
            return Err(ElfError::Truncated { what: "loadable segment", needed, actual });
        }
        let file = if filesz == 0 { 0..0 } else { offset as usize..needed as usize };
        segments.push(Segment { paddr, vaddr: program.p_vaddr(endian), memsz, file });
    }
    if segments.is_empty() { Err(ElfError::NoLoadableSegment) } else { Ok(segments) }
}

/// The `PT_NOTE` segments; whether they lie in the file is looked at when somebody wants them.
fn note_segments(header: &Header, data: &[u8]) -> Result<Vec<NoteSegment>, ElfError> {
    let endian = LittleEndian;
    let headers = header.program_headers(endian, data).map_err(|_| ElfError::Malformed("program headers"))?;
    let notes = headers.iter().filter(|program| program.p_type(endian) == PT_NOTE);
    Ok(notes
        .map(|program| NoteSegment {
            offset: program.p_offset(endian),
            size: program.p_filesz(endian),
            align: program.p_align(endian),
        })
        .collect())
}

fn symbols<'data>(header: &Header, data: &'data [u8]) -> Result<Symbols<'data>, ElfError> {
    let endian = LittleEndian;
    let actual = data.len() as u64;
    if header.e_shoff(endian) != 0 {
        let table = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
        let needed = header.e_shoff(endian).saturating_add(table);
        if needed > actual {
            return Err(ElfError::Truncated { what: "section headers", needed, actual });
        }
    }
    let sections =
        header.section_headers(endian, data).map_err(|_| ElfError::Malformed("section headers"))?;
    let Some(table) = sections.iter().find(|s| s.sh_type(endian) == SHT_SYMTAB) else {
        return Ok(Symbols::default());
    };
    let malformed = ElfError::Malformed("symbol table");
    let strings = sections.get(table.sh_link(endian) as usize).ok_or(malformed.clone())?;
    for (section, what) in [(table, "symbol table"), (strings, "string table")] {
        let needed = section.sh_offset(endian).saturating_add(section.sh_size(endian));
        if needed > actual {
            return Err(ElfError::Truncated { what, needed, actual });
        }
    }
    Ok(Symbols {
        entries: table.data_as_array(endian, data).map_err(|_| malformed.clone())?,
        strings: strings.data(endian, data).map_err(|_| malformed)?,
    })
}

/// The processor that an `e_machine` value stands for, as people call it.
pub fn machine_name(machine: u16) -> Option<&'static str> {
    Some(match machine {
        2 => "SPARC",
        3 => "i386",
        4 => "m68k",
        8 => "MIPS",
        20 => "PowerPC",
        21 => "ppc64",
        22 => "s390x",
        40 => "ARM",
        42 => "SuperH",
        43 => "sparc64",
        50 => "IA-64",
        62 => "x86-64",
        183 => "aarch64",
        EM_RISCV => "riscv",
        247 => "BPF",
        258 => "LoongArch",
        _ => return None,
    })
}

/// The processor that was needed, with its article.
fn wanted(machine: u16) -> String {
    if machine == EM_RISCV { "a riscv64".into() } else { with_article(machine) }
}

fn with_article(machine: u16) -> String {
    match machine_name(machine) {
        // Letters that are spoken with a vowel first: i386, m68k, s390x, x86-64, aarch64, ARM, SPARC is not.
        Some(name) if name.starts_with(['i', 'I', 'm', 's', 'x', 'a', 'A']) && name != "sparc64" => {
            format!("an {name}")
        }
        Some("MIPS") => "a MIPS".into(),
        Some(name) => format!("a {name}"),
        None => format!("an unknown machine's (e_machine {machine})"),
    }
}

fn type_name(kind: u16) -> &'static str {
    match kind {
        1 => "a relocatable object file",
        4 => "a core dump",
        _ => "of an unknown type",
    }
}
