//! Translation and protection: what is remembered, and what must not be.

mod fixture;

use engine_core::{Hosted, Vcpu};
use fixture::*;
use isa_riscv::Mode;

/// `fence.i` makes every block compare itself with memory, also when the numbers of contexts start
/// again with it.
#[test]
fn no_block_outlives_a_fence_i_however_many_there_are() {
    for fences in 4088..4100 {
        let mut f = Fixture::running(&[]);
        for round in 1..4 {
            f.code(RAM, &[addi(10, 0, round)]);
            (0..fences).for_each(|_| f.cpu.flush_code());
            f.cpu.answer(&mut |hart| hart.pc = RAM);
            f.run(1);
            assert_eq!(f.hart().x[10], round as u64, "{fences} fences");
        }
    }
}

/// `sfence.vma` with an address drops the translation of that page, whenever it was made.
#[test]
fn no_translation_outlives_its_fence_however_many_contexts_there_were() {
    let (virt, one, two) = (0x5000, RAM + 0xb_0000, RAM + 0xb_1000);
    // ld a0; change the PTE; sfence.vma; ld a1, all after a fence.i
    let program = [FENCE_I, load(3, 10, 5), store(3, 6, 7), sfence_vma(5, 0), load(3, 11, 5)];
    for fences in 4080..4100 {
        let mut f = Fixture::running(&program);
        let pte = f.translate(virt, one);
        f.put(one, 111);
        f.put(two, 222);
        f.set(|hart| {
            hart.x[5] = virt;
            hart.x[6] = two >> 12 << 10 | 0xcf;
            hart.x[7] = pte;
        });
        (0..fences).for_each(|_| f.cpu.flush_code());
        f.run(5);
        assert_eq!((f.hart().x[10], f.hart().x[11]), (111, 222), "{fences} fences");
    }
}

/// PMP has a grain of four bytes: what follows an allowed instruction in its page may be forbidden
/// ("Physical Memory Protection"), and M-mode having run it changes nothing.
#[test]
fn pmp_stops_a_fetch_in_the_middle_of_a_page() {
    let mut f = Fixture::running(&[NOP; 8]);
    f.run(8);
    f.set(|hart| {
        hart.pc = RAM;
        hart.mode = Mode::S;
        // Top of range: the first eight bytes, executable.
        hart.csr.pmp.set_addr(0, (RAM + 8) >> 2);
        hart.csr.pmp.set_cfg_register(0, 0x0c);
    });
    f.run(3);
    assert_eq!(f.trap(), (1, RAM + 8, RAM + 8));
    assert_eq!(f.hart().csr.minstret(f.cpu.retired()), 8 + 3);
}

/// `mtval` is the address of the part of the instruction that could not be fetched ("mtval").
#[test]
fn pmp_stops_the_second_half_of_an_instruction() {
    let mut f = Fixture::running(&[]);
    // c.nop, then a nop of four bytes at 2.
    f.code(RAM, &[0x0013_0001, 0]);
    f.set(|hart| {
        hart.mode = Mode::S;
        hart.csr.pmp.set_addr(0, (RAM + 4) >> 2);
        hart.csr.pmp.set_cfg_register(0, 0x0c);
    });
    f.run(2);
    assert_eq!(f.trap(), (1, RAM + 2, RAM + 4));
}

/// The same for loads and stores: all bytes are checked, nothing is stored, and `mtval` names the part
/// that faulted.
#[test]
fn a_misaligned_access_is_checked_to_its_last_byte() {
    let data = RAM + 0xb_0000;
    for (insn, cause) in [(load(3, 10, 5), 5), (store(3, 6, 5), 7)] {
        let mut f = Fixture::running(&[insn]);
        f.set(|hart| {
            hart.mode = Mode::S;
            hart.x[5] = data - 4;
            hart.x[6] = u64::MAX;
            hart.csr.pmp.set_addr(0, data >> 2);
            hart.csr.pmp.set_cfg_register(0, 0x0f);
        });
        f.run(1);
        assert_eq!(f.trap(), (cause, RAM, data));
        f.set(|hart| {
            (hart.mode, hart.pc, hart.x[5]) = (Mode::S, RAM, data - 1);
            hart.csr.pmp.set_addr(0, (data + 4) >> 2);
        });
        f.run(1);
        assert_eq!(f.trap(), (cause, RAM, data), "the part in the second page");
        assert_eq!((f.get(data - 8), f.get(data)), (0, 0));
    }
}

#[test]
fn a_page_fault_of_the_second_page_names_it_and_stores_nothing() {
    let mut f = Fixture::running(&[store(3, 6, 5)]);
    f.translate(0x5000, RAM + 0xb_0000);
    f.set(|hart| {
        hart.x[5] = 0x5ffd;
        hart.x[6] = u64::MAX;
    });
    f.run(1);
    assert_eq!(f.trap(), (15, RAM, 0x6000));
    assert_eq!(f.get(RAM + 0xb_0ff8), 0);
}

#[test]
fn memory_around_a_device_in_its_page_is_memory() {
    let mut f = Fixture::running(&[amoadd_d(10, 5, 6), load(3, 11, 7), amoadd_d(12, 8, 6)]);
    f.put(MIXED, 40);
    f.put(MIXED + 8, 0x0807_0605_0403_0201);
    f.set(|hart| {
        (hart.x[5], hart.x[6], hart.x[7], hart.x[8]) = (MIXED, 2, MIXED + 9, MIXED + 0x800);
    });
    f.run(3);
    assert_eq!((f.hart().x[10], f.get(MIXED)), (40, 42));
    assert_eq!(f.hart().x[11], 0x08_0706_0504_0302);
    // An AMO on a device is a store/AMO access fault.
    assert_eq!(f.trap(), (7, RAM + 8, MIXED + 0x800));
}
