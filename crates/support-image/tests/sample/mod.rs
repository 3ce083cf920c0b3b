//! Small files of each format, built field by field from the specifications.
#![allow(dead_code, reason = "each test program uses some of it")]

/// One loadable segment to write.
pub struct Program<'a> {
    pub vaddr: u64,
    pub paddr: u64,
    pub contents: &'a [u8],
    pub memsz: u64,
}

pub fn set16(file: &mut [u8], offset: usize, value: u16) {
    file[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
}

pub fn set32(file: &mut [u8], offset: usize, value: u32) {
    file[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

pub fn set64(file: &mut [u8], offset: usize, value: u64) {
    file[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

/// A riscv64 executable: header, program headers, contents, symbols, strings, section headers, in this order.
pub fn elf(entry: u64, segments: &[Program], symbols: &[(&str, u64)]) -> Vec<u8> {
    let mut file = vec![0; 64 + 56 * segments.len()];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    set16(&mut file, 16, 2); // e_type = ET_EXEC
    set16(&mut file, 18, 243); // e_machine = EM_RISCV
    set32(&mut file, 20, 1); // e_version
    set64(&mut file, 24, entry);
    set64(&mut file, 32, 64); // e_phoff
    set16(&mut file, 52, 64); // e_ehsize
    set16(&mut file, 54, 56); // e_phentsize
    set16(&mut file, 56, segments.len() as u16);
    set16(&mut file, 58, 64); // e_shentsize
    for (index, segment) in segments.iter().enumerate() {
        let at = 64 + 56 * index;
        let offset = file.len() as u64;
        set32(&mut file, at, 1); // p_type = PT_LOAD
        set32(&mut file, at + 4, 7); // p_flags
        set64(&mut file, at + 8, offset);
        set64(&mut file, at + 16, segment.vaddr);
        set64(&mut file, at + 24, segment.paddr);
        set64(&mut file, at + 32, segment.contents.len() as u64);
        set64(&mut file, at + 40, segment.memsz);
        file.extend(segment.contents);
    }
    let (symtab, mut strings) = (file.len(), vec![0]);
    file.extend([0; 24]);
    for (name, value) in symbols {
        let mut entry = [0; 24];
        set32(&mut entry, 0, strings.len() as u32);
        set16(&mut entry, 6, 1); // st_shndx: any defined section
        set64(&mut entry, 8, *value);
        file.extend(entry);
        strings.extend(name.as_bytes());
        strings.push(0);
    }
    let strtab = file.len();
    file.extend(&strings);
    let table = file.len() as u64;
    set64(&mut file, 40, table); // e_shoff
    set16(&mut file, 60, 3); // e_shnum
    file.extend(section(0, 0, 0, 0, 0));
    file.extend(section(2, symtab, strtab - symtab, 2, 24)); // SHT_SYMTAB, names in section 2
    file.extend(section(3, strtab, strings.len(), 0, 0)); // SHT_STRTAB
    file
}

fn section(kind: u32, offset: usize, size: usize, link: u32, entry_len: u64) -> [u8; 64] {
    let mut header = [0; 64];
    set32(&mut header, 4, kind);
    set64(&mut header, 24, offset as u64);
    set64(&mut header, 32, size as u64);
    set32(&mut header, 40, link);
    set64(&mut header, 56, entry_len);
    header
}

/// A PE file: `MZ`, a COFF header for `machine` at 0x40, one section of 0x200 bytes at 0x200.
pub fn pe(machine: u16) -> Vec<u8> {
    let mut file = vec![0; 0x400];
    file[..2].copy_from_slice(b"MZ");
    set32(&mut file, 0x3c, 0x40);
    file[0x40..0x44].copy_from_slice(b"PE\0\0");
    set16(&mut file, 0x44, machine);
    set16(&mut file, 0x46, 1); // NumberOfSections
    set16(&mut file, 0x54, 0x70); // SizeOfOptionalHeader
    let row = 0x58 + 0x70;
    file[row..row + 5].copy_from_slice(b".text");
    set32(&mut file, row + 8, 0x1000); // VirtualSize
    set32(&mut file, row + 12, 0x1000); // VirtualAddress
    set32(&mut file, row + 16, 0x200); // SizeOfRawData
    set32(&mut file, row + 20, 0x200); // PointerToRawData
    file
}

/// A riscv64 Linux Image with an EFI stub; its `image_size` of 16 MiB exceeds the file, as a real one's does.
pub fn linux_image() -> Vec<u8> {
    let mut file = pe(0x5064);
    set64(&mut file, 0x08, 0x20_0000);
    set64(&mut file, 0x10, 0x100_0000);
    set32(&mut file, 0x20, 2);
    file[0x30..0x38].copy_from_slice(b"RISCV\0\0\0");
    file[0x38..0x3c].copy_from_slice(b"RSC\x05");
    file
}

/// A bzImage of protocol 2.15: two sectors of real-mode code, 0x400 bytes of protected-mode code.
pub fn bzimage() -> Vec<u8> {
    let mut file = vec![0; 0x600 + 0x400];
    file[0x1f1] = 2; // setup_sects
    set32(&mut file, 0x1f4, 0x40); // syssize
    set16(&mut file, 0x1fe, 0xaa55);
    file[0x200..0x206].copy_from_slice(b"\xeb\x6aHdrS");
    set16(&mut file, 0x206, 0x020f);
    file[0x211] = 1; // loadflags: LOADED_HIGH
    set32(&mut file, 0x22c, 0x7fff_ffff); // initrd_addr_max
    set32(&mut file, 0x230, 0x20_0000); // kernel_alignment
    file[0x234] = 1; // relocatable_kernel
    set16(&mut file, 0x236, 0x3f); // xloadflags
    set32(&mut file, 0x238, 2047); // cmdline_size
    set64(&mut file, 0x258, 0x100_0000); // pref_address
    set32(&mut file, 0x260, 0x300_0000); // init_size
    file[0x600..].fill(0x90);
    file
}

/// A note, padded to four bytes.
pub fn note(name: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [name.len() as u32, description.len() as u32, kind] {
        out.extend(field.to_le_bytes());
    }
    for part in [name, description] {
        out.extend(part);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// An x86-64 executable of one loadable segment, with `notes` in a `PT_NOTE` segment, which is program header 1.
pub fn x86_elf(notes: &[u8]) -> Vec<u8> {
    let code =
        Program { vaddr: 0xffff_ffff_8100_0000, paddr: 0x100_0000, contents: &[0xf4; 16], memsz: 0x1000 };
    let notes = Program { vaddr: 0, paddr: 0, contents: notes, memsz: notes.len() as u64 };
    let mut file = elf(0x100_0000, &[code, notes], &[]);
    set16(&mut file, 18, 62); // e_machine = EM_X86_64
    set32(&mut file, 64 + 56, 4); // p_type = PT_NOTE
    set64(&mut file, 64 + 56 + 48, 4); // p_align
    file
}
