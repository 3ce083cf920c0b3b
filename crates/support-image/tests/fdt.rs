//! Devicetrees: what is written is read back, text is as the specification's chapter 6 writes it, and a blob whose
//! offsets lie is refused.

use proptest::prelude::*;
use support_image::fdt::{FdtError, Node, Reservation, Tree};

fn sample() -> Tree {
    let serial = Node::new("serial@10000000")
        .cells("interrupts", &[10])
        .cells64("reg", &[0x1000_0000, 0x100])
        .string("compatible", "ns16550a");
    let root = Node::new("")
        .cells("#address-cells", &[2])
        .strings("compatible", &["riscv-virtio", "say \"hi\""])
        .with(Node::new("soc").flag("ranges").bytes("odd", &[1, 2, 0xff]).with(serial));
    Tree { root, reservations: vec![Reservation { address: 0x8000_0000, size: 0x4_0000 }], boot_cpu: 3 }
}

const SAMPLE_DTS: &str = r#"/dts-v1/;

/memreserve/ 0x80000000 0x40000;
/ {
	#address-cells = <0x2>;
	compatible = "riscv-virtio", "say \"hi\"";
	soc {
		ranges;
		odd = [01 02 ff];
		serial@10000000 {
			interrupts = <0xa>;
			reg = <0x0 0x10000000 0x0 0x100>;
			compatible = "ns16550a";
		};
	};
};
"#;

#[test]
fn a_written_tree_reads_back_and_prints() {
    let blob = sample().to_blob().unwrap();
    let read = Tree::parse(&blob).unwrap();
    assert_eq!(read, sample());
    assert_eq!(read.to_dts(), SAMPLE_DTS);
}

#[test]
fn lines_show_references_as_paths() {
    let plic = Node::new("plic").cells("phandle", &[7]).flag("interrupt-controller");
    let user = Node::new("uart").cells("interrupt-parent", &[7]).cells("interrupts", &[7]);
    let timer = Node::new("timer").cells("interrupts-extended", &[7, 7, 9, 1]);
    let root = Node::new("").cells("a", &[1]).with(plic).with(user).with(timer).with(Node::new("empty"));
    let tree = Tree { root, ..Tree::default() };
    let expected = [
        "/ a = <0x1>",
        "/plic interrupt-controller",
        "/uart interrupt-parent = <&/plic>",
        "/uart interrupts = <0x7>",
        "/timer interrupts-extended = <&/plic 0x7 0x9 0x1>",
        "/empty",
    ];
    assert_eq!(tree.to_lines(), expected);
}

#[test]
fn nodes_are_found_by_path() {
    let tree = sample();
    let serial = tree.node("/soc/serial@10000000").unwrap();
    assert_eq!(serial.property_string("compatible"), Some("ns16550a"));
    assert_eq!(serial.property_cells("reg"), Some(vec![0, 0x1000_0000, 0, 0x100]));
    assert!(tree.node("/soc/serial@1").is_none());
    assert_eq!(tree.node("/").unwrap(), &tree.root);
}

/// Header fields by their offset (Devicetree Specification, 5.2).
fn patched(offset: usize, value: u32) -> Vec<u8> {
    let mut blob = sample().to_blob().unwrap();
    blob[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
    blob
}

#[test]
fn a_header_that_lies_is_refused() {
    assert_eq!(Tree::parse(b""), Err(FdtError::NotFdt));
    assert_eq!(Tree::parse(&patched(0, 1)), Err(FdtError::NotFdt));
    assert_eq!(Tree::parse(&patched(4, u32::MAX)), Err(FdtError::OutOfBounds("total size")));
    assert_eq!(Tree::parse(&patched(4, 8)), Err(FdtError::OutOfBounds("total size")));
    assert_eq!(Tree::parse(&patched(8, u32::MAX)), Err(FdtError::OutOfBounds("structure block")));
    assert_eq!(Tree::parse(&patched(12, u32::MAX)), Err(FdtError::OutOfBounds("strings block")));
    assert_eq!(Tree::parse(&patched(16, u32::MAX)), Err(FdtError::OutOfBounds("memory reservation block")));
    assert_eq!(Tree::parse(&patched(32, u32::MAX)), Err(FdtError::OutOfBounds("strings block")));
    assert_eq!(Tree::parse(&patched(36, u32::MAX)), Err(FdtError::OutOfBounds("structure block")));
    assert_eq!(Tree::parse(&patched(20, 3)), Err(FdtError::Version { version: 3, compatible: 16 }));
    assert_eq!(Tree::parse(&patched(24, 18)), Err(FdtError::Version { version: 17, compatible: 18 }));
}

#[test]
fn a_cut_blob_is_refused_at_every_length() {
    let blob = sample().to_blob().unwrap();
    for len in 0..blob.len() {
        assert!(Tree::parse(&blob[..len]).is_err(), "cut at {len}");
    }
}

/// A blob around a hand-made structure block, with one property name in the strings block.
fn blob_around(structure: &[u32]) -> Vec<u8> {
    let structure: Vec<u8> = structure.iter().flat_map(|word| word.to_be_bytes()).collect();
    let (reservations, strings) = ([0_u8; 16], b"reg\0");
    let struct_at = 40 + 16;
    let strings_at = struct_at + structure.len() as u32;
    let total = strings_at + strings.len() as u32;
    let header = [0xd00d_feed, total, struct_at, strings_at, 40, 17, 16, 0, 4, structure.len() as u32];
    let header = header.iter().flat_map(|word: &u32| word.to_be_bytes());
    header.chain(reservations).chain(structure).chain(*strings).collect()
}

#[test]
fn the_structure_blocks_grammar_is_kept() {
    let check = |structure: &[u32], problem: &str| {
        let error = Tree::parse(&blob_around(structure)).expect_err("the block is bad").to_string();
        assert!(error.ends_with(problem), "{error}");
    };
    assert!(Tree::parse(&blob_around(&[4, 1, 0, 4, 2, 9])).is_ok(), "no-operations are skipped");
    check(&[9], "it does not start with a node");
    check(&[1, 0, 2], "it ends early");
    check(&[1, 0, 2, 1, 0, 2, 9], "something follows the root node");
    check(&[1, 0, 1, 0, 2, 3, 0, 0, 2, 9], "a property follows a child node");
    check(&[1, 0, 7, 2, 9], "a token is unknown or out of place");
    check(&[1, 0, 3, 1000, 0, 2, 9], "a property's value runs past the end");
    check(&[1, 0, 3, 0, 1000, 2, 9], "a property's name is not a short printable string");
    check(&[1, 0x0102_0300, 2, 9], "a node's name is not a short printable string");
    let deep: Vec<u32> = [1, 0x6100_0000].repeat(100_000);
    check(&deep, "nodes nest deeper than 64");
}

#[test]
fn a_tree_that_no_blob_can_hold_is_refused() {
    let bad_name = Tree { root: Node::new("").with(Node::new("a b")), ..Tree::default() };
    assert!(matches!(bad_name.to_blob(), Err(FdtError::Write(_))));
    let mut deep = Node::new("leaf");
    for _ in 0..70 {
        deep = Node::new("n").with(deep);
    }
    assert!(matches!(Tree { root: deep, ..Tree::default() }.to_blob(), Err(FdtError::Write(_))));
}

fn any_node() -> impl Strategy<Value = Node> {
    let name = "[a-z][a-z0-9-]{0,20}(@[0-9a-f]{1,8})?";
    let property = ("[a-z,#-]{1,31}", proptest::collection::vec(any::<u8>(), 0..40));
    let properties = proptest::collection::vec(property, 0..5);
    let leaf = (name, properties).prop_map(|(name, properties)| {
        properties.into_iter().fold(Node::new(name), |node, (name, value)| node.bytes(&name, &value))
    });
    leaf.clone().prop_recursive(5, 40, 5, move |inner| {
        (leaf.clone(), proptest::collection::vec(inner, 0..5))
            .prop_map(|(node, children)| node.with_all(children))
    })
}

proptest! {
    #[test]
    fn any_tree_survives_the_round_trip(
        children in proptest::collection::vec(any_node(), 0..4),
        boot_cpu: u32,
    ) {
        let tree = Tree { root: Node::new("").with_all(children), reservations: Vec::new(), boot_cpu };
        prop_assert_eq!(Tree::parse(&tree.to_blob().unwrap()).unwrap(), tree);
    }
}
