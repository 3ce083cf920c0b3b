//! x86 kernels: bzImage headers, PVH notes, and what each corrupt one gets; the zero page and PVH's start info byte by
//! byte. Offsets are those of Linux's boot.rst and zero-page.rst, and of Xen's start_info.h.

mod sample;

use sample::{bzimage, note, pe, set16, set32, set64, x86_elf};
use support_image::boot_params::{BootParams, TooManyRanges};
use support_image::bzimage::{BzImage, BzImageError};
use support_image::elf::{EM_X86_64, Elf};
use support_image::elf_note::{NoteError, NoteSegment, Notes};
use support_image::memory_map::{MemoryKind, MemoryRange};
use support_image::pvh::StartInfo;
use support_image::x86_kernel::X86Kernel;

const P_OFFSET: usize = 64 + 56 + 8;
const P_FILESZ: usize = 64 + 56 + 32;
const P_ALIGN: usize = 64 + 56 + 48;

fn check_bad(change: impl FnOnce(&mut Vec<u8>), message: &str) {
    let mut file = bzimage();
    change(&mut file);
    assert_eq!(BzImage::parse(&file).expect_err("the file is bad").to_string(), message);
}

#[test]
fn a_good_header() {
    let file = bzimage();
    let image = BzImage::parse(&file).unwrap();
    assert_eq!((image.header.clone(), image.code.clone()), (0x1f1..0x26c, 0x600..0xa00));
    assert_eq!((image.preferred, image.init_size, image.alignment), (0x100_0000, 0x300_0000, 0x20_0000));
    assert_eq!((image.cmdline_max, image.initrd_max, image.relocatable), (2047, 0x7fff_ffff, true));
    assert!(image.has_64_bit_entry());
    assert_eq!((image.memory_len(), image.code(&file)[0]), (0x300_0000, 0x90));
    assert!(matches!(X86Kernel::parse(&file), Ok(X86Kernel::BzImage(i)) if i == image));
}

#[test]
fn setup_sects_of_0_means_4_and_old_headers_have_no_xloadflags() {
    let mut file = bzimage();
    file[0x1f1] = 0;
    file.resize(0xa00 + 0x400, 0);
    set16(&mut file, 0x206, 0x020b);
    let image = BzImage::parse(&file).unwrap();
    assert_eq!((image.code.clone(), image.has_64_bit_entry()), (0xa00..0xe00, false));
}

#[test]
fn every_fault_of_a_header_is_named() {
    check_bad(|f| f[0x1fe] = 0, "this is not an x86 Linux bzImage");
    check_bad(|f| f[0x202] = b'h', "this is not an x86 Linux bzImage");
    check_bad(
        |f| set16(f, 0x206, 0x0209),
        "this kernel speaks version 2.09 of the boot protocol, 2.10 is needed",
    );
    check_bad(|f| f[0x201] = 0x61, "this bzImage is damaged: its setup header ends at 0x263");
    check_bad(|f| f[0x211] = 0, "this is a zImage that is loaded low, a bzImage is needed");
    check_bad(
        |f| set32(f, 0x1f4, u32::MAX),
        "this bzImage is truncated: its protected-mode code would end at byte 68719478256, but the file has 2560 bytes; \
         fetch or build it again",
    );
    for alignment in [0, 3, u32::MAX] {
        check_bad(
            |f| set32(f, 0x230, alignment),
            "this bzImage is damaged: its kernel_alignment is no power of two",
        );
    }
    check_bad(|f| set32(f, 0x260, 0), "this bzImage is damaged: its init_size is 0");
    check_bad(
        |f| set64(f, 0x258, u64::MAX - 0x2ff_ffff),
        "this bzImage is damaged: its pref_address is at the end of the address space",
    );
    check_bad(
        |f| {
            set32(f, 0x1f4, 0);
            f.truncate(0x7ff);
        },
        "this bzImage is damaged: its protected-mode code is too short to have an entry point",
    );
}

#[test]
fn the_longest_and_the_shortest_header() {
    let mut file = bzimage();
    file[0x1f1] = 1;
    file[0x201] = 0xff;
    assert_eq!(BzImage::parse(&file).unwrap().header, 0x1f1..0x301);
    file[0x201] = 0x62;
    assert_eq!(BzImage::parse(&file).unwrap().header, 0x1f1..0x264);
}

#[test]
fn a_cut_bzimage_is_an_error_wherever_it_was_cut() {
    let file = bzimage();
    for len in 0..file.len() {
        let error = BzImage::parse(&file[..len]).expect_err("a cut file is an error");
        let cut = matches!(error, BzImageError::Truncated { .. });
        assert_eq!(cut, len >= 0x206, "cut at {len}: {error}");
    }
}

#[test]
fn the_pvh_entry_is_a_note_of_xen() {
    let other = note(b"GNU\0", 3, &[1, 2, 3, 4, 5]);
    let wide = note(b"Xen\0", 18, &0x100_0200_u64.to_le_bytes());
    let file = x86_elf(&[other.clone(), wide.clone()].concat());
    assert_eq!(Elf::parse_for(&file, EM_X86_64).unwrap().pvh_entry(), Ok(Some(0x100_0200)));
    assert!(matches!(X86Kernel::parse(&file), Ok(X86Kernel::Pvh { entry: 0x100_0200, .. })));
    let narrow = note(b"Xen\0", 18, &0x40_0000_u32.to_le_bytes());
    let file = x86_elf(&[narrow, other.clone(), wide].concat());
    assert_eq!(Elf::parse_for(&file, EM_X86_64).unwrap().pvh_entry(), Ok(Some(0x40_0000)), "the first one");
    for none in [other, note(b"Xen\0", 17, &[0; 8]), note(b"xen\0", 18, &[0; 8]), vec![]] {
        let file = x86_elf(&none);
        assert_eq!(Elf::parse_for(&file, EM_X86_64).unwrap().pvh_entry(), Ok(None));
        assert!(matches!(X86Kernel::parse(&file), Ok(X86Kernel::Elf(_))));
    }
}

#[test]
fn notes_padded_to_eight_bytes() {
    // As in .note.gnu.property: the description begins at 16, the next note at a multiple of 8.
    let mut first = note(b"GNU\0", 5, &[7; 12]);
    first.resize(32, 0);
    let file = [first, note(b"Xen\0", 18, &0x1234_u32.to_le_bytes())].concat();
    let segment = NoteSegment { offset: 0, size: file.len() as u64, align: 8 };
    let notes: Vec<_> = Notes::new(&file, &segment).unwrap().map(Result::unwrap).collect();
    assert_eq!((notes.len(), notes[0].description, notes[1].name), (2, &[7; 12][..], &b"Xen"[..]));
    assert_eq!(notes[1].description, 0x1234_u32.to_le_bytes());
}

#[test]
fn corrupt_notes_are_errors() {
    let good = note(b"Xen\0", 18, &0x100_0200_u64.to_le_bytes());
    let entry = |file: &[u8]| Elf::parse_for(file, EM_X86_64).unwrap().pvh_entry();
    let start = x86_elf(&good).windows(good.len()).position(|w| w == good).unwrap();
    for (at, value) in [(0, u32::MAX), (0, 13), (4, u32::MAX), (4, 9)] {
        let mut file = x86_elf(&good);
        set32(&mut file, start + at, value);
        assert_eq!(entry(&file), Err(NoteError::PastSegment(start as u64)), "{at} {value}");
    }
    assert_eq!(entry(&x86_elf(&good[..11])), Err(NoteError::PastSegment(start as u64)));
    let mut file = x86_elf(&good);
    set64(&mut file, P_OFFSET, u64::MAX);
    assert!(matches!(entry(&file), Err(NoteError::Truncated { needed: u64::MAX, .. })));
    let mut file = x86_elf(&good);
    set64(&mut file, P_FILESZ, 1 << 40);
    assert!(matches!(entry(&file), Err(NoteError::Truncated { .. })));
    let mut file = x86_elf(&good);
    set64(&mut file, P_ALIGN, u64::MAX);
    assert_eq!(entry(&file), Ok(Some(0x100_0200)), "an odd alignment is four");
    assert_eq!(entry(&x86_elf(&note(b"Xen\0", 18, &[1; 6]))), Err(NoteError::EntrySize(6)));
    assert_eq!(entry(&x86_elf(&note(b"Xen\0", 18, &[]))), Err(NoteError::EntrySize(0)));
    let high = note(b"Xen\0", 18, &(1u64 << 32).to_le_bytes());
    assert_eq!(entry(&x86_elf(&high)), Err(NoteError::EntryHigh(1 << 32)));
    assert!(X86Kernel::parse(&x86_elf(&high)).is_err());
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let message = |file: &[u8]| X86Kernel::parse(file).expect_err("no kernel").to_string();
    assert_eq!(message(b""), "this file is empty; name another one");
    assert_eq!(message(b"hello\n"), "this is a text file, not a program for a machine");
    assert_eq!(message(b"\x1f\x8b\x08\0"), "this is gzip-compressed; unpack it first");
    assert_eq!(message(&sample::linux_image()), "this is a riscv64 Linux Image, an x86-64 kernel is needed");
    assert_eq!(
        message(b"QFI\xfb\0\0\0\x03"),
        "this is a qcow2 disk image (a disk is given with --disk), not a kernel"
    );
    assert_eq!(message(&pe(0x8664)), "this is an EFI application; it needs UEFI firmware to start it");
    assert_eq!(message(&pe(0x5064)), "this is a riscv64 EFI program, an x86-64 kernel is needed");
    assert_eq!(
        message(&pe(0xaa64)[..0x60]),
        "this is an arm64 EFI or Windows program, an x86-64 kernel is needed"
    );
    assert_eq!(message(&[0; 64]), "this is neither a bzImage nor an ELF executable");
    assert_eq!(message(&sample::elf(0, &[], &[])), "this is a riscv ELF, an x86-64 one is needed");
}

fn memory() -> Vec<MemoryRange> {
    vec![
        MemoryRange { start: 0, size: 0x9_fc00, kind: MemoryKind::Ram },
        MemoryRange { start: 0xfec0_0000, size: 0x1000, kind: MemoryKind::Reserved },
        MemoryRange { start: 1 << 32, size: 1 << 30, kind: MemoryKind::Ram },
    ]
}

#[test]
fn the_zero_page() {
    let file = bzimage();
    let image = BzImage::parse(&file).unwrap();
    let params = BootParams {
        cmdline: 0x1_0002_0000,
        initrd: Some((0x2_3456_7000, 0x1_0000_0001)),
        rsdp: 0xe_0000,
        memory: memory(),
    };
    let page = params.encode(&image, &file).unwrap();
    let word = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
    assert_eq!(&page[0x202..0x210], &file[0x202..0x210], "the setup header is the kernel's");
    assert_eq!(&page[0x230..0x26c], &file[0x230..0x26c]);
    assert_eq!((page[0x1f0], page[0x26c], page[0x1ef]), (0, 0, 0), "and only that");
    assert_eq!((page[0x210], &page[0x1fa..0x1fc]), (0xff, &[0xff, 0xff][..]));
    assert_eq!((word(0x228), word(0xc8)), (0x2_0000, 1));
    assert_eq!((word(0x218), word(0xc0), word(0x21c), word(0xc4)), (0x3456_7000, 2, 1, 1));
    assert_eq!((word(0x70), word(0x74)), (0xe_0000, 0));
    assert_eq!(page[0x1e8], 3);
    assert_eq!((word(0x2d0 + 8), word(0x2d0 + 16)), (0x9_fc00, 1));
    assert_eq!((word(0x2e4), word(0x2e4 + 16)), (0xfec0_0000, 2));
    assert_eq!((word(0x2f8), word(0x2fc), word(0x2f8 + 8), word(0x2f8 + 16)), (0, 1, 1 << 30, 1));
    assert_eq!(word(0x30c), 0);
    let many = BootParams { memory: vec![memory()[0]; 129], ..params.clone() };
    assert_eq!(many.encode(&image, &file), Err(TooManyRanges(129)));
    let full = BootParams { memory: vec![memory()[0]; 128], ..params };
    assert_eq!(full.encode(&image, &file).unwrap()[0x1e8], 128);
}

#[test]
fn start_info() {
    let info =
        StartInfo { cmdline: 0x3000, initrd: Some((0x80_0000, 0x1234)), rsdp: 0xe_0000, memory: memory() };
    let bytes = info.encode(0x2000);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((word(0), word(4), word(8), word(12)), (0x336e_c578, 1, 0, 1));
    assert_eq!((long(16), long(24), long(32), long(40)), (0x2038, 0x3000, 0xe_0000, 0x2058));
    assert_eq!((word(48), word(52)), (3, 0));
    assert_eq!((long(0x38), long(0x40), long(0x48), long(0x50)), (0x80_0000, 0x1234, 0, 0));
    assert_eq!(
        (long(0x58 + 24), long(0x58 + 32), word(0x58 + 40), word(0x58 + 44)),
        (0xfec0_0000, 0x1000, 2, 0)
    );
    assert_eq!(bytes.len(), 56 + 32 + 72);
    let bare = StartInfo::default().encode(0x2000);
    assert_eq!((bare.len(), bare[12]), (56, 0));
    assert_eq!(bare[16..24], [0; 8]);
}
