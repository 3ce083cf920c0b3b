//! What a file is: Linux Images and their faults, and the message for each kind of file given by mistake.

mod sample;

use sample::{linux_image, pe, set16, set32, set64};
use support_image::kernel::Kernel;
use support_image::linux::LinuxImage;

fn check_error(file: &[u8], message: &str) {
    assert_eq!(Kernel::parse(file).expect_err("the file is refused").to_string(), message);
}

fn padded(start: &[u8]) -> Vec<u8> {
    let mut file = start.to_vec();
    file.resize(0x400, 0);
    file
}

#[test]
fn an_image_states_offset_and_size() {
    let file = linux_image();
    let Kernel::Image(image) = Kernel::parse(&file).unwrap() else { panic!("it is an Image") };
    assert_eq!((image.text_offset, image.image_size), (0x20_0000, 0x100_0000));
    assert_eq!(image.memory_len(file.len() as u64), 0x100_0000);
    let pe = image.pe.unwrap();
    assert_eq!(
        (pe.machine, pe.sections[0].name.as_str(), pe.sections[0].raw_offset),
        (0x5064, ".text", 0x200)
    );
}

#[test]
fn an_image_without_efi_stub_has_no_section_table() {
    let mut file = linux_image();
    file[..2].copy_from_slice(b"\x6f\x00"); // a jump instead of "MZ"
    set32(&mut file, 0x3c, 0);
    assert_eq!(LinuxImage::parse(&file).unwrap().pe, None);
}

#[test]
fn a_cut_image_shows_in_the_section_table() {
    let file = linux_image();
    check_error(
        &file[..0x3ff],
        "this Linux Image is damaged: this file is truncated: its section .text would end at byte 1024, \
         but the file has 1023 bytes; fetch it again",
    );
    for len in 0x40..0x400 {
        assert!(LinuxImage::parse(&file[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn other_images_are_named() {
    let mut file = linux_image();
    set64(&mut file, 0x18, 1);
    check_error(&file, "this is a big-endian Linux Image, a little-endian one is needed");
    let mut file = linux_image();
    set16(&mut file, 0x44, 0x5032);
    check_error(&file, "this Linux Image's PE header is for machine 0x5032, riscv64 (0x5064) is needed");
    let mut file = pe(0xaa64);
    file[0x38..0x3c].copy_from_slice(b"ARM\x64");
    check_error(&file, "this is an arm64 Linux Image, a riscv64 kernel is needed");
    let mut file = pe(0x8664);
    set16(&mut file, 0x1fe, 0xaa55);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    check_error(&file, "this is an x86 Linux bzImage, a riscv64 kernel is needed");
}

#[test]
fn compressed_files_say_by_what() {
    let cases: [(&[u8], &str); 7] = [
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh9", "bzip2"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"\x5d\0\0\0\x04\xff", "lzma"),
        (b"MZ\0\0zimg", "EFI-zboot"),
    ];
    for (start, name) in cases {
        check_error(&padded(start), &format!("this is {name}-compressed; unpack it first"));
    }
}

#[test]
fn files_of_another_purpose_say_where_they_belong() {
    check_error(b"", "this file is empty; name another one");
    check_error(b"#!/bin/sh\necho hello\n", "this is a text file, not a program for a machine");
    check_error(&padded(b"\xd0\x0d\xfe\xed"), "this is a devicetree blob or FIT image, not a kernel");
    check_error(
        &padded(b"070701"),
        "this is a cpio archive (an initramfs is given with --initrd), not a kernel",
    );
    check_error(
        &padded(b"QFI\xfb"),
        "this is a qcow2 disk image (a disk is given with --disk), not a kernel",
    );
    check_error(&pe(0x5064), "this is an EFI application; it needs UEFI firmware to start it");
    check_error(&pe(0x8664), "this is an x86-64 EFI or Windows program, a riscv64 kernel is needed");
}

#[test]
fn unknown_binary_is_flat_code() {
    // lui sp, 0x80010; wfi; j .-4
    let code = [0x37, 0x01, 0x01, 0x80, 0x73, 0x00, 0x50, 0x10, 0x6f, 0xf0, 0xdf, 0xff];
    assert!(matches!(Kernel::parse(&code), Ok(Kernel::Flat)));
}
