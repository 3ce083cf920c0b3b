//! No bytes make a reader panic or hang: random ones, and good files with bytes changed, cut or repeated.

mod sample;

use proptest::prelude::*;
use sample::{Program, bzimage, elf, linux_image, note, pe, x86_elf};
use support_image::elf::Elf;
use support_image::exercise;
use support_image::fdt::{Node, Tree};

fn good_files() -> Vec<Vec<u8>> {
    let segment = Program { vaddr: 0x8000_0000, paddr: 0x8000_0000, contents: &[0x13; 64], memsz: 0x2000 };
    let leaf = Node::new("uart@0").cells("reg", &[1, 2]).string("compatible", "ns16550a");
    let tree = Tree { root: Node::new("").flag("a").with(leaf.clone()).with(leaf), ..Tree::default() };
    vec![
        elf(0x8000_0000, &[segment], &[("tohost", 0x8000_1000)]),
        linux_image(),
        pe(0x5064),
        tree.to_blob().unwrap(),
        bzimage(),
        x86_elf(&[note(b"GNU\0", 3, &[1; 5]), note(b"Xen\0", 18, &[0; 8])].concat()),
    ]
}

/// One change to a file.
#[derive(Clone, Debug)]
enum Change {
    Byte(prop::sample::Index, u8),
    Word(prop::sample::Index, u64),
    Cut(prop::sample::Index),
    Move(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let extreme = prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(u64::from(u32::MAX)), 0..0x500_u64];
    prop_oneof![
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        4 => (any::<prop::sample::Index>(), extreme).prop_map(|(at, to)| Change::Word(at, to)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(from, to)| Change::Move(from, to)),
    ]
}

fn apply(file: &mut Vec<u8>, change: Change) {
    if file.is_empty() {
        return;
    }
    let len = file.len();
    match change {
        Change::Byte(at, to) => file[at.index(len)] = to,
        Change::Word(at, to) => {
            let at = at.index(len);
            let end = len.min(at + 8);
            file[at..end].copy_from_slice(&to.to_le_bytes()[..end - at]);
        }
        Change::Cut(at) => file.truncate(at.index(len)),
        Change::Move(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let count = 64.min(len - from.max(to));
            file.copy_within(from..from + count, to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn changed_files_never_panic(
        which in 0..6_usize,
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let mut file = good_files().swap_remove(which);
        for change in changes {
            apply(&mut file, change);
        }
        exercise(&file);
    }

    #[test]
    fn random_bytes_behind_a_magic_number_never_panic(
        which in 0..6_usize,
        keep in 0..80_usize,
        tail in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let mut file = good_files().swap_remove(which);
        file.truncate(keep);
        file.extend(tail);
        exercise(&file);
    }
}

#[test]
fn every_byte_of_every_good_file_may_take_extreme_values() {
    for good in good_files() {
        exercise(&good);
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut file = good.clone();
                file[at] = value;
                exercise(&file);
            }
        }
    }
}

/// Many symbols that all point at one name without an end must not cost their product.
#[test]
fn symbols_that_share_an_endless_name_are_cheap() {
    let name = "x".repeat(1 << 20);
    let symbols = [(name.as_str(), 0)];
    let segment = Program { vaddr: 0, paddr: 0, contents: &[], memsz: 8 };
    let mut file = elf(0, &[segment], &symbols);
    let table = file.len() - 3 * 64 + 64;
    // The symbol table covers the long name as well: 43 thousand entries, all of whose names are looked at.
    let (start, len) = (64 + 56, file.len() - 3 * 64 - (64 + 56));
    sample::set64(&mut file, table + 24, start as u64);
    sample::set64(&mut file, table + 32, (len / 24 * 24) as u64);
    assert!(Elf::parse(&file).is_ok(), "the file is otherwise good");
    let begin = std::time::Instant::now();
    exercise(&file);
    assert!(begin.elapsed().as_secs() < 2, "took {:?}", begin.elapsed());
}
