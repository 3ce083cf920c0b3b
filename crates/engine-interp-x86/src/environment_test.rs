//! What operations are answered, asked directly: no instruction of the interpreter's reaches these.

use crate::fixture::*;
use isa_core::Width;
use isa_x86::{Access, Env, Fault, MemoryOp, Op, ops};

/// A load of bytes that are about to be written is refused where they cannot be, also if the page is remembered for
/// loads.
#[test]
fn a_load_for_an_update_needs_the_right_to_write() {
    let mut m = long_machine();
    m.put_word(READ_ONLY, 0x1122);
    let cpu = &mut m.cpu.cpu;
    let (load, update) = (Access::data(0, false), Access::data(0, true));
    assert_eq!(Env::read(cpu, READ_ONLY, Width::B8, load), Ok(0x1122));
    assert!(cpu.remembered(READ_ONLY, false).is_some());
    let refused = Err(Fault::page(3, READ_ONLY));
    assert_eq!(Env::read(cpu, READ_ONLY, Width::B8, update), refused);
    let op = Op::Memory(MemoryOp::LoadForUpdate(Width::B8));
    assert_eq!(ops::run(cpu, op, [READ_ONLY, 0, 0, 0]), refused);
    assert_eq!(ops::run(cpu, op, [CODE, 0, 0, 0]), Ok(0));
}
