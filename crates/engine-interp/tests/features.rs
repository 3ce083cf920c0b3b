//! Harts with fewer extensions: what is not there is illegal, and without C jumps need four-byte targets
//! (Unprivileged ISA, "Control Transfer Instructions": instruction-address-misaligned).

mod fixture;

use fabric_clock::Clock;
use fixture::{Fixture, NOP, RAM, addi};
use isa_riscv::{Extension, Features};

fn without(extension: Extension, program: &[u32]) -> Fixture {
    let extensions = Features::FULL.extensions.without(extension);
    let fixture = Fixture::new(&Features { extensions, ..Features::FULL }, Clock::virtual_());
    fixture.code(RAM, program);
    fixture
}

const JAL_6: u32 = 0x0060_00ef; // jal ra, +6
const BEQ_6: u32 = 0x0000_0363; // beq x0, x0, +6
const BNE_6: u32 = 0x0000_1363; // bne x0, x0, +6
const JALR: u32 = 0x0002_80e7; // jalr ra, 0(t0)

#[test]
fn without_c_the_jump_itself_takes_the_trap_and_links_nothing() {
    for jump in [JAL_6, BEQ_6] {
        let mut f = without(Extension::C, &[NOP, jump]);
        f.run(1);
        f.run(1);
        assert_eq!((f.trap(), f.hart().x[1]), ((0, RAM + 4, RAM + 10), 0), "{jump:#x}");
    }
    // jalr clears bit 0 of the target, not bit 1.
    let mut f = without(Extension::C, &[addi(5, 5, 3), JALR]);
    f.set(|hart| hart.x[5] = RAM + 8);
    f.run(2);
    assert_eq!((f.trap(), f.hart().x[1]), ((0, RAM + 4, RAM + 10), 0));
}

#[test]
fn without_c_a_branch_that_is_not_taken_does_not_trap() {
    let mut f = without(Extension::C, &[BNE_6, NOP]);
    f.run(2);
    assert_eq!(f.hart().pc, RAM + 8);
}

#[test]
fn with_c_the_same_jumps_are_fine() {
    let mut f = Fixture::running(&[JAL_6]);
    f.run(1);
    assert_eq!((f.hart().pc, f.hart().x[1]), (RAM + 6, RAM + 4));
}

#[test]
fn what_the_hart_has_not_is_illegal() {
    // mul a0, a1, a2; c.nop
    for (extension, word) in [(Extension::M, 0x02c5_8533), (Extension::C, 0x0001)] {
        let mut f = without(extension, &[word]);
        f.run(1);
        assert_eq!(f.trap(), (2, RAM, u64::from(word)));
    }
}
