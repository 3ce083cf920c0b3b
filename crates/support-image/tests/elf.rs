//! ELF executables: what a good one gives, and which message each bad one gets. Field offsets are those of the
//! System V ABI, figures 4-3 (header), 4-8 (section header), 4-16 (symbol) and 5-1 (program header), 64-bit forms.

mod sample;

use sample::{Program, elf, set16, set32, set64};
use support_image::elf::{Elf, ElfError};

const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const E_PHNUM: usize = 56;
const E_SHOFF: usize = 40;
const P_MEMSZ: usize = 64 + 40;
const P_PADDR: usize = 64 + 24;
const P_OFFSET: usize = 64 + 8;

fn good() -> Vec<u8> {
    let segments = [
        Program {
            vaddr: 0xffff_ffff_8000_0000,
            paddr: 0x8020_0000,
            contents: b"code and data",
            memsz: 0x1000,
        },
        Program { vaddr: 0x8030_0000, paddr: 0x8030_0000, contents: b"", memsz: 0x40 },
    ];
    let symbols =
        [("tohost", 0x8030_0000), ("fromhost", 0x8030_0008), ("begin_signature", 0x8030_0010), ("end", 1)];
    elf(0xffff_ffff_8000_0004, &segments, &symbols)
}

fn check_error(change: impl FnOnce(&mut Vec<u8>), message: &str) {
    let mut file = good();
    change(&mut file);
    assert_eq!(Elf::parse(&file).expect_err("the file is bad").to_string(), message);
}

#[test]
fn segments_are_given_by_physical_address_with_their_bytes() {
    let file = good();
    let elf = Elf::parse(&file).unwrap();
    let [code, bss] = elf.segments() else { panic!("two segments were written") };
    assert_eq!((code.extent(), elf.contents(code)), (0x8020_0000..0x8020_1000, &b"code and data"[..]));
    assert_eq!((bss.extent(), elf.contents(bss)), (0x8030_0000..0x8030_0040, &b""[..]));
    assert_eq!(elf.extent(), 0x8020_0000..0x8030_0040);
}

#[test]
fn the_entry_moves_with_its_segment_from_virtual_to_physical() {
    let file = good();
    let elf = Elf::parse(&file).unwrap();
    assert_eq!(elf.entry(), 0xffff_ffff_8000_0004);
    assert_eq!(elf.entry_paddr(), 0x8020_0004);
}

#[test]
fn symbols_are_found_by_their_whole_name() {
    let file = good();
    let elf = Elf::parse(&file).unwrap();
    assert_eq!(elf.symbol("tohost").unwrap().address, 0x8030_0000);
    assert_eq!(elf.symbol("fromhost").unwrap().address, 0x8030_0008);
    assert_eq!(elf.symbol("begin_signature").unwrap().address, 0x8030_0010);
    assert_eq!(elf.symbol("begin_sig"), None);
    assert_eq!(elf.symbol("end_signature"), None);
}

#[test]
fn a_stripped_file_has_no_symbols_but_runs() {
    let mut file = good();
    set64(&mut file, E_SHOFF, 0);
    set16(&mut file, 60, 0);
    let elf = Elf::parse(&file).unwrap();
    assert_eq!(elf.symbol("tohost"), None);
    assert_eq!(elf.segments().len(), 2);
}

#[test]
fn a_file_reads_the_same_at_any_alignment() {
    let mut shifted = vec![0];
    shifted.extend(good());
    assert_eq!(Elf::parse(&shifted[1..]).unwrap().segments().len(), 2);
}

#[test]
fn segments_may_overlap() {
    let piece = |paddr| Program { vaddr: paddr, paddr, contents: b"12345678", memsz: 8 };
    let file = elf(0x8000_0000, &[piece(0x8000_0000), piece(0x8000_0004)], &[]);
    assert_eq!(Elf::parse(&file).unwrap().segments().len(), 2);
}

#[test]
fn a_dyn_file_is_position_independent() {
    let mut file = good();
    assert!(!Elf::parse(&file).unwrap().position_independent());
    set16(&mut file, E_TYPE, 3);
    assert!(Elf::parse(&file).unwrap().position_independent());
}

#[test]
fn another_format_is_no_elf() {
    check_error(|file| file[0] = 0, "this is not an ELF file");
}

#[test]
fn class_and_byte_order_are_named() {
    check_error(|file| file[4] = 1, "this is a 32-bit ELF, a 64-bit one is needed");
    check_error(
        |file| {
            file[5] = 2;
            file[E_MACHINE..E_MACHINE + 2].copy_from_slice(&243_u16.to_be_bytes());
        },
        "this is a big-endian ELF, a little-endian one is needed",
    );
}

#[test]
fn another_machine_is_named_even_where_its_class_differs_too() {
    check_error(|file| set16(file, E_MACHINE, 62), "this is an x86-64 ELF, a riscv64 one is needed");
    check_error(|file| set16(file, E_MACHINE, 183), "this is an aarch64 ELF, a riscv64 one is needed");
    check_error(|file| set16(file, E_MACHINE, 43), "this is a sparc64 ELF, a riscv64 one is needed");
    check_error(
        |file| set16(file, E_MACHINE, 999),
        "this is an unknown machine's (e_machine 999) ELF, a riscv64 one is needed",
    );
    check_error(
        |file| {
            file[4] = 1;
            set16(file, E_MACHINE, 3);
        },
        "this is an i386 ELF, a riscv64 one is needed",
    );
}

#[test]
fn an_object_file_is_not_executable() {
    check_error(
        |file| set16(file, E_TYPE, 1),
        "this ELF is a relocatable object file, not an executable; link it first",
    );
}

#[test]
fn no_segment_is_an_error() {
    let message = "this ELF has no loadable segment, so there is nothing to run in it";
    check_error(|file| set16(file, E_PHNUM, 0), message);
    let note = |file: &mut Vec<u8>| {
        set32(file, 64, 4);
        set32(file, 64 + 56, 4);
    };
    check_error(note, message);
}

#[test]
fn a_cut_file_is_truncated_wherever_it_was_cut() {
    let file = good();
    for len in 4..file.len() {
        let error = Elf::parse(&file[..len]).expect_err("a cut file is an error");
        assert!(matches!(error, ElfError::Truncated { .. }), "cut at {len}: {error}");
    }
}

#[test]
fn segments_that_contradict_themselves_are_errors() {
    check_error(
        |file| set64(file, P_MEMSZ, 3),
        "this ELF is malformed: loadable segment 0 is larger in the file than in memory",
    );
    check_error(
        |file| set64(file, P_PADDR, u64::MAX - 8),
        "this ELF is malformed: loadable segment 0 reaches past the end of the address space",
    );
    let mut file = good();
    set64(&mut file, P_OFFSET, u64::MAX - 2);
    assert!(matches!(Elf::parse(&file), Err(ElfError::Truncated { what: "loadable segment", .. })));
}

#[test]
fn headers_before_the_first_section_are_no_part_of_the_program() {
    // Headers at 0x7fff_f000 with the file's first bytes, the one section at 0x8000_0000.
    let with = |symbols: &[(&str, u64)], kind: u16| {
        let program = Program { vaddr: 0x7fff_f000, paddr: 0x7fff_f000, contents: b"", memsz: 0x1004 };
        let mut file = elf(0x8000_0000, &[program], symbols);
        let sections = u64::from_le_bytes(file[E_SHOFF..E_SHOFF + 8].try_into().unwrap()) as usize;
        let (start, table) = (file.len(), file[sections..].to_vec());
        file.extend(table);
        let mut text = [0; 64];
        set64(&mut text, 8, 2); // sh_flags = SHF_ALLOC
        set64(&mut text, 16, 0x8000_0000); // sh_addr
        set64(&mut text, 32, 4); // sh_size
        file.extend(text);
        file.resize(0x1004, 0);
        set64(&mut file, E_SHOFF, start as u64);
        set16(&mut file, 60, 4); // e_shnum
        set16(&mut file, E_TYPE, kind);
        set64(&mut file, P_OFFSET, 0);
        set64(&mut file, 64 + 32, 0x1004); // p_filesz
        file
    };
    let start = |file: &[u8]| {
        let elf = Elf::parse(file).unwrap();
        (elf.extent(), elf.contents(&elf.segments()[0]).len(), elf.entry_paddr())
    };
    assert_eq!(start(&with(&[], 2)), (0x8000_0000..0x8000_0004, 4, 0x8000_0000));
    let whole = (0x7fff_f000..0x8000_0004, 0x1004, 0x8000_0000);
    assert_eq!(start(&with(&[("__ehdr_start", 0x7fff_f000)], 2)), whole, "the program reads them");
    assert_eq!(start(&with(&[], 3)), whole, "it may relocate itself by them");
}
