//! What the specification says of the legacy functions.

use crate::call_test::{Bench, PC, SUCCESS};
use crate::fake::RAM;
use crate::*;
use isa_riscv::Mode;
use isa_riscv::csr_fields::{irq, mstatus};

/// A call by hart 0 that returns: `a0`. The function ID and `a1` are no part of it.
fn legacy(bench: &mut Bench, eid: u64, args: &[u64]) -> i64 {
    let a1 = args.get(1).copied().unwrap_or(0xa1a1);
    bench.harts[0].x[11] = a1;
    assert_eq!(bench.after(0, eid, 0xdead, args), After::Continue);
    assert_eq!((bench.harts[0].pc, bench.harts[0].x[11]), (PC + 4, a1));
    bench.harts[0].x[10] as i64
}

fn mask(bench: &mut Bench, address: u64, words: &[u64]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.fake.bytes(address, bytes.len()).copy_from_slice(&bytes);
}

#[test]
fn set_timer_is_that_of_the_timer_extension() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(legacy(&mut bench, 0, &[500]), SUCCESS);
    let csr = &bench.harts[0].csr;
    assert_eq!((csr.pending(0, 499), csr.pending(0, 500)), (0, irq::STI));
}

#[test]
fn putchar_blocks_and_getchar_does_not() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(legacy(&mut bench, 1, &[0x1_0058]), SUCCESS);
    assert_eq!(bench.fake.output, b"X");
    bench.fake.room = 0;
    assert_eq!(bench.after(0, 1, 0, &[0x59]), After::Retry);
    assert_eq!((bench.harts[0].pc, bench.harts[0].x[10]), (PC, 0x59));
    assert_eq!(legacy(&mut bench, 2, &[]), -1);
    bench.fake.input.extend([0xff, 0x7f]);
    assert_eq!(legacy(&mut bench, 2, &[]), 0xff);
    assert_eq!(legacy(&mut bench, 2, &[]), 0x7f);
}

#[test]
fn clear_ipi_says_whether_one_was_pending() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(legacy(&mut bench, 3, &[]), 0);
    bench.harts[0].csr.mip |= irq::SSI;
    assert!(legacy(&mut bench, 3, &[]) > 0);
    assert_eq!(bench.harts[0].csr.mip & irq::SSI, 0);
    bench.fake.ipi_on_its_way = true;
    assert!(legacy(&mut bench, 3, &[]) > 0);
    assert_eq!(legacy(&mut bench, 3, &[]), 0);
}

#[test]
fn harts_are_a_bit_vector_in_memory() {
    let mut bench = Bench::new(3, 3);
    let at = RAM + 0x800;
    mask(&mut bench, at, &[0b110]);
    assert_eq!(legacy(&mut bench, 4, &[at]), SUCCESS);
    assert_eq!(legacy(&mut bench, 5, &[at]), SUCCESS);
    assert_eq!(legacy(&mut bench, 6, &[at, 0x1000, 0x1000]), SUCCESS);
    assert_eq!(legacy(&mut bench, 7, &[at, 0, u64::MAX, 5]), SUCCESS);
    assert_eq!(bench.fake.ipis, [vec![1, 2]]);
    let pages = Some(Pages { start: 0x1000, size: 0x1000 });
    let expected = [Fence::Code, Fence::Vma { pages, asid: None }, Fence::Vma { pages: None, asid: Some(5) }];
    assert_eq!(bench.fake.fences, expected.map(|fence| (vec![1, 2], fence)));
    assert!(legacy(&mut bench, 7, &[at, 0, 0, 1 << 20]) < 0, "no such address space");
    assert_eq!(legacy(&mut bench, 4, &[0]), SUCCESS);
    assert_eq!(bench.fake.ipis[1], [0, 1, 2]);
}

#[test]
fn the_bit_vector_is_as_long_as_there_are_harts() {
    let mut bench = Bench::new(130, 130);
    let at = RAM + 0x803;
    mask(&mut bench, at, &[1, 1 << 63, u64::MAX, u64::MAX]);
    assert_eq!(legacy(&mut bench, 4, &[at]), SUCCESS);
    assert_eq!(bench.fake.ipis, [vec![0, 127, 128, 129]]);
}

/// An Sv39 table in which virtual pages 0x40000000 and 0x40001000 are physical pages RAM + 0x8000 and
/// RAM + 0x4000, the second for users.
fn paged(bench: &mut Bench) {
    let (v_r_a, user) = (0x43, 0x10);
    mask(bench, RAM + 0x1000 + 8, &[(RAM + 0x2000) >> 12 << 10 | 1]);
    mask(bench, RAM + 0x2000, &[(RAM + 0x3000) >> 12 << 10 | 1]);
    mask(
        bench,
        RAM + 0x3000,
        &[(RAM + 0x8000) >> 12 << 10 | v_r_a, (RAM + 0x4000) >> 12 << 10 | v_r_a | user],
    );
    bench.harts[0].csr.satp = 8 << 60 | (RAM + 0x1000) >> 12;
}

#[test]
fn the_pointer_is_virtual_and_may_cross_pages() {
    let mut bench = Bench::new(40, 40);
    paged(&mut bench);
    bench.harts[0].csr.mstatus |= mstatus::SUM;
    mask(&mut bench, RAM + 0x8ff8, &[0x1234_5678_0000_0000]);
    bench.fake.bytes(RAM + 0x8ffc, 4).copy_from_slice(&[0b10, 0, 0, 0]);
    bench.fake.bytes(RAM + 0x4000, 4).copy_from_slice(&[0b100, 0, 0, 0]);
    assert_eq!(legacy(&mut bench, 4, &[0x4000_0ffc]), SUCCESS);
    assert_eq!(bench.fake.ipis, [vec![1, 34]]);
}

#[test]
fn a_fault_of_the_access_is_taken_by_s_mode_at_the_ecall() {
    let mut bench = Bench::new(2, 2);
    paged(&mut bench);
    bench.harts[0].csr.stvec = RAM + 0x600;
    // Not mapped; a user page without SUM; the second half on such a page.
    for (pointer, tval) in
        [(0x4000_2000, 0x4000_2000), (0x4000_1010, 0x4000_1010), (0x4000_0ffe, 0x4000_1000)]
    {
        assert_eq!(bench.after(0, 4, 0, &[pointer]), After::Continue);
        let hart = &bench.harts[0];
        assert_eq!((hart.mode, hart.pc), (Mode::S, RAM + 0x600));
        assert_eq!((hart.csr.sepc, hart.csr.scause, hart.csr.stval), (PC, 13, tval));
        assert_eq!(hart.x[10], pointer, "the ecall can be repeated");
    }
    bench.harts[0].csr.satp = 0;
    assert_eq!(bench.after(0, 5, 0, &[0x10]), After::Continue);
    let csr = &bench.harts[0].csr;
    assert_eq!((csr.sepc, csr.scause, csr.stval), (PC, 5, 0x10));
    assert!(bench.fake.ipis.is_empty() && bench.fake.fences.is_empty());
}

#[test]
fn shutdown_does_not_return() {
    let after = Bench::new(1, 1).after(0, 8, 0, &[]);
    assert_eq!(after, After::Reset { kind: ResetKind::Shutdown, reason: ResetReason::None });
}
