//! Which fault an access takes, and the address it names (Privileged Architecture, "Machine Trap Value
//! Register"; Unprivileged ISA, "Cache Management Operations").

use engine_core::{Exit, Firmware, FirmwareCall, Hosted, TimeSource, Vcpu};
use engine_interp::{Config, Interp};
use fabric_bus::BusBuilder;
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::PendingWord;
use isa_riscv::{Features, Hart, Mode};
use std::sync::Arc;

const BASE: u64 = 0x8000_0000;

/// The trap that `word` takes in U-mode with `a0` in x10: cause and value. One page of memory is there.
fn trap(word: u32, a0: u64) -> (u64, u64) {
    let ram = Arc::new(GuestRam::new(PAGE).unwrap());
    ram.store(0, word).unwrap();
    // ebreak: there was no trap.
    ram.store(4, 0x0010_0073u32).unwrap();
    let mut builder = BusBuilder::new(ram);
    builder.ram("ram", BASE, PAGE, 0, true).unwrap();
    let mut hart = Hart::new(0, &Features::FULL);
    (hart.pc, hart.mode, hart.x[10]) = (BASE, Mode::U, a0);
    hart.csr.menvcfg |= 0xf0;
    hart.csr.senvcfg = 0xf0;
    hart.csr.pmp.set_addr(0, u64::MAX);
    hart.csr.pmp.set_cfg_register(0, 0x1f);
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let mut cpu = Interp::new(Config {
        hart,
        bus: Arc::new(builder.build()),
        time: TimeSource::new(timers, 10_000_000),
        pending: Arc::new(PendingWord::new()),
    });
    cpu.set_firmware(Firmware::BuiltIn);
    match cpu.run(100) {
        Exit::Firmware(FirmwareCall::Trap { cause, value }) => (cause, value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_misaligned_access_names_the_portion_that_faults() {
    // lw a0, 0(a0); sd a0, 0(a0)
    assert_eq!(trap(0x0005_2503, BASE + 0xffe), (5, BASE + 0x1000));
    assert_eq!(trap(0x00a5_3023, BASE + 0xffd), (7, BASE + 0x1000));
    assert_eq!(trap(0x0005_2503, BASE - 2), (5, BASE - 2));
}

#[test]
fn managing_a_block_where_nothing_is_faults_as_a_store() {
    for cbo in [0x0005_200f, 0x0015_200f, 0x0025_200f] {
        assert_eq!(trap(cbo, BASE + 0x1044), (7, BASE + 0x1044));
        assert_eq!(trap(cbo, BASE + 0xfff), (3, BASE + 4));
    }
}
