//! The boards' devicetrees: as whole texts, and line by line against those of QEMU's machines of the same names.
//!
//! `SNAPSHOTS=overwrite cargo test -p vm-board` rewrites the texts.

use snapbox::{assert_data_eq, file};
use std::collections::BTreeSet;
use support_image::fdt::Tree;
use vm_board::board::{Board, Config, HtifWords, Serial};
use vm_board::tree::{Chosen, TreeError};
use vm_board::{sifive_u::sifive_u, spike::spike, virt::virt};

const MIB: u64 = 1 << 20;

/// The text of the blob, read back.
fn dts(board: &Board, chosen: &Chosen) -> String {
    Tree::parse(&board.fdt(chosen).unwrap()).unwrap().to_dts()
}

fn full_chosen() -> Chosen {
    Chosen {
        bootargs: Some("console=ttyS0 root=\"/dev/vda\"".into()),
        initrd: Some(0x8820_0000..0x8838_ade4),
        rng_seed: (0..32).collect(),
        boot_hart: 1,
    }
}

#[test]
fn the_virt_boards_tree() {
    let board = virt(&Config::new(2, 256 * MIB)).unwrap();
    assert_data_eq!(dts(&board, &full_chosen()), file!["golden/virt.dts"].raw());
}

#[test]
fn the_virt_boards_tree_with_sifives_uart() {
    let board = virt(&Config { serial: Serial::Sifive, ..Config::new(1, 256 * MIB) }).unwrap();
    assert_data_eq!(dts(&board, &Chosen::default()), file!["golden/virt-sifive-uart.dts"].raw());
}

#[test]
fn the_spike_boards_tree_with_words_in_memory() {
    let htif = Some(HtifWords { tohost: 0x8000_1000, fromhost: 0x8000_1040 });
    let board = spike(&Config { htif, ..Config::new(1, 256 * MIB) }).unwrap();
    assert_data_eq!(dts(&board, &Chosen::default()), file!["golden/spike.dts"].raw());
}

fn unleashed(cpus: u32, memory: u64) -> Board {
    let (isa, mmu) = vm_board::sifive_u::u54_isa().unwrap();
    sifive_u(&Config { isa, mmu, ..Config::new(cpus, memory) }).unwrap()
}

#[test]
fn the_sifive_u_boards_tree() {
    let chosen = Chosen { bootargs: Some("console=ttySIF0".into()), ..full_chosen() };
    assert_data_eq!(dts(&unleashed(2, 256 * MIB), &chosen), file!["golden/sifive_u.dts"].raw());
}

/// Lines with the number of the hart they are about removed, so that harts count once.
fn merged<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let merge = |line: &str| match line.strip_prefix("/cpus/cpu@") {
        Some(rest) => format!("/cpus/cpu@N{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line.to_owned(),
    };
    lines.map(merge).collect()
}

/// Compares our lines with QEMU's; `explained` has every difference, each paragraph with its reason.
fn check_against_qemu(board: &Board, qemu: &str, explained: &str) {
    let chosen = Chosen { boot_hart: board.boot_hart(), ..Chosen::default() };
    let ours = board.tree(&chosen).unwrap().to_lines();
    let ours = merged(ours.iter().map(String::as_str));
    let qemus = merged(qemu.lines().filter(|line| !line.starts_with('#')));
    let missing = qemus.difference(&ours).map(|line| format!("- {line}"));
    let added = ours.difference(&qemus).map(|line| format!("+ {line}"));
    let found: BTreeSet<String> = missing.chain(added).collect();

    let mut known = BTreeSet::new();
    for paragraph in explained.split("\n\n").skip(1) {
        assert!(paragraph.starts_with("# "), "no reason is given for:\n{paragraph}");
        known.extend(paragraph.lines().skip(1).map(str::to_owned));
    }
    let unexplained: Vec<_> = found.difference(&known).collect();
    let outdated: Vec<_> = known.difference(&found).collect();
    assert!(unexplained.is_empty(), "differences without a reason: {unexplained:#?}");
    assert!(outdated.is_empty(), "reasons without a difference: {outdated:#?}");
}

#[test]
fn virt_differs_from_qemus_only_where_a_reason_is_given() {
    check_against_qemu(
        &virt(&Config::new(4, 2048 * MIB)).unwrap(),
        include_str!("golden/qemu-virt.txt"),
        include_str!("golden/virt-differences.txt"),
    );
}

#[test]
fn spike_differs_from_qemus_only_where_a_reason_is_given() {
    check_against_qemu(
        &spike(&Config::new(4, 2048 * MIB)).unwrap(),
        include_str!("golden/qemu-spike.txt"),
        include_str!("golden/spike-differences.txt"),
    );
}

#[test]
fn sifive_u_differs_from_qemus_only_where_a_reason_is_given() {
    check_against_qemu(
        &unleashed(4, 2048 * MIB),
        include_str!("golden/qemu-sifive_u.txt"),
        include_str!("golden/sifive_u-differences.txt"),
    );
}

#[test]
fn the_largest_board_has_a_tree() {
    let board = virt(&Config::new(512, 2048 * MIB)).unwrap();
    let tree = Tree::parse(&board.fdt(&Chosen::default()).unwrap()).unwrap();
    assert!(tree.node("/cpus/cpu@1ff/interrupt-controller").is_some());
    // Two contexts each, two cells each.
    let plic = tree.node("/soc/plic@c000000").unwrap();
    assert_eq!(plic.property_cells("interrupts-extended").unwrap().len(), 512 * 2 * 2);
}

#[test]
fn the_length_does_not_depend_on_addresses() {
    let board = virt(&Config::new(2, 256 * MIB)).unwrap();
    let len = |initrd| board.fdt(&Chosen { initrd: Some(initrd), ..full_chosen() }).unwrap().len();
    assert_eq!(len(0..1), len(0xffff_ffff_0000_0000..u64::MAX));
}

#[test]
fn what_no_tree_can_say_is_refused() {
    let board = virt(&Config::new(2, 256 * MIB)).unwrap();
    let bootargs = Chosen { bootargs: Some("a\0b".into()), ..Chosen::default() };
    assert_eq!(board.fdt(&bootargs), Err(TreeError::BootargsNul));
    let hart = Chosen { boot_hart: 2, ..Chosen::default() };
    assert_eq!(board.fdt(&hart), Err(TreeError::NoBootHart(2)));
    let monitor = Chosen { boot_hart: 0, ..Chosen::default() };
    assert_eq!(unleashed(1, 256 * MIB).fdt(&monitor), Err(TreeError::NoBootHart(0)), "the E51 has no S-mode");
}
