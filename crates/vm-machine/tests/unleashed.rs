//! Small bare-metal programs on the `sifive_u` board: harts that differ, a UART that takes its time, a second console.

use std::sync::Arc;
use vm_board::board::Config;
use vm_board::sifive_u::{sifive_u, u54_isa};
use vm_machine::{Bios, BuildError, ClockKind, ConsolePort, End, Engine, Final, Machine, Program, Spec};

fn spec(words: &[u32], cpus: u32, clock: ClockKind, bios: Bios) -> Spec {
    let (isa, mmu) = u54_isa().unwrap();
    let board = sifive_u(&Config { isa, mmu, ..Config::new(cpus, 16 << 20) }).unwrap();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Spec {
        board,
        bios,
        kernel: Some(Program { name: "program".into(), bytes: bytes.into() }),
        initrd: None,
        append: None,
        clock,
        wall_start_ns: 1,
        rng_seed: vec![0; 32],
        budget: None,
        engine: Engine::Interp,
        trace: None,
        perf_map: false,
        virtio: Vec::new(),
        virtio_pci: Vec::new(),
        sd: None,
        ethernet: None,
        note: None,
        flash: Vec::new(),
        tsc_hz: None,
    }
}

fn machine(words: &[u32], cpus: u32, clock: ClockKind, bios: Bios) -> Result<Machine, BuildError> {
    Machine::build(spec(words, cpus, clock, bios))
}

fn run(machine: Machine) -> Final {
    machine.run_in_slices(u64::MAX).unwrap()
}

/// Every hart stores `misa` and how many of two CSRs, `satp` and `time`, it does not have; hart 1 waits for harts 0 and
/// 2 and ends the machine.
const HARTS: &[u32] = &[
    0xf140_22f3, // csrrs t0,mhartid,zero
    0x0000_0417, // auipc s0,0x0
    0x0000_14b7, // lui s1,0x1
    0x0084_84b3, // add s1,s1,s0
    0x0042_9313, // slli t1,t0,0x4
    0x0064_8933, // add s2,s1,t1
    0x0000_0397, // auipc t2,0x0
    0x0403_8393, // addi t2,t2,64
    0x3053_9073, // csrrw zero,mtvec,t2
    0x0000_0593, // addi a1,zero,0
    0x3010_2e73, // csrrs t3,misa,zero
    0x1800_2ef3, // csrrs t4,satp,zero
    0xc010_2f73, // csrrs t5,time,zero
    0x00b9_3423, // sd a1,8(s2)
    0x01c9_3023, // sd t3,0(s2)
    0x0010_0313, // addi t1,zero,1
    0x0262_9e63, // bne t0,t1,7c
    0x0004_be03, // ld t3,0(s1)
    0x0204_be83, // ld t4,32(s1)
    0xfe0e_0ce3, // beq t3,zero,44
    0xfe0e_8ae3, // beq t4,zero,44
    0x0180_006f, // jal zero,6c
    0x0015_8593, // addi a1,a1,1
    0x3410_2ff3, // csrrs t6,mepc,zero
    0x004f_8f93, // addi t6,t6,4
    0x341f_9073, // csrrw zero,mepc,t6
    0x3020_0073, // mret
    0x0010_02b7, // lui t0,0x100
    0x0000_5337, // lui t1,0x5
    0x5553_031b, // addiw t1,t1,1365
    0x0062_a023, // sw t1,0(t0)
    0x1050_0073, // wfi
    0xffdf_f06f, // jal zero,7c
];

#[test]
fn the_monitor_has_no_s_mode_and_no_hart_has_time() {
    let last = run(machine(HARTS, 2, ClockKind::Real, Bios::None).unwrap());
    assert_eq!(last.end, End::Exit(0));
    let word = |at: u64| {
        let mut bytes = [0; 8];
        last.memory(0x8000_1004 + at, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    };
    let letters = |text: &str| text.bytes().fold(2 << 62, |misa: u64, letter| misa | 1 << (letter - b'a'));
    assert_eq!((word(0), word(8)), (letters("acimu"), 2), "E51");
    for hart in [1, 2] {
        assert_eq!((word(16 * hart), word(16 * hart + 8)), (letters("acdfimsu"), 1), "U54");
    }
}

/// In hart 1: sends nine characters through UART 1 at 115200 baud, notes whether its FIFO is full, and counts microseconds until
/// the FIFO is empty; then ends the machine.
const NINE: &[u32] = &[
    0xf140_22f3, // csrrs t0,mhartid,zero
    0x0010_0313, // addi t1,zero,1
    0x0662_9463, // bne t0,t1,70
    0x1001_1437, // lui s0,0x10011
    0x0200_c4b7, // lui s1,0x200c
    0xff84_849b, // addiw s1,s1,-8
    0x0000_12b7, // lui t0,0x1
    0x0f32_829b, // addiw t0,t0,243
    0x0054_2c23, // sw t0,24(s0)
    0x0001_02b7, // lui t0,0x10
    0x0012_829b, // addiw t0,t0,1
    0x0054_2423, // sw t0,8(s0)
    0x0610_0293, // addi t0,zero,97
    0x06a0_0313, // addi t1,zero,106
    0x0054_2023, // sw t0,0(s0)
    0x0012_8293, // addi t0,t0,1
    0xfe62_9ce3, // bne t0,t1,38
    0x0004_2583, // lw a1,0(s0)
    0x0004_b503, // ld a0,0(s1)
    0x0144_2283, // lw t0,20(s0)
    0xfe02_8ee3, // beq t0,zero,4c
    0x0004_b303, // ld t1,0(s1)
    0x40a3_0533, // sub a0,t1,a0
    0x0010_02b7, // lui t0,0x100
    0x0000_5337, // lui t1,0x5
    0x5553_031b, // addiw t1,t1,1365
    0x0062_a023, // sw t1,0(t0)
    0x0000_006f, // jal zero,6c
    0x1050_0073, // wfi
    0xffdf_f06f, // jal zero,70
];

fn said(console: &Arc<dyn ConsolePort>) -> Vec<u8> {
    let mut bytes = Vec::new();
    console.drain(&mut bytes);
    bytes
}

#[test]
fn by_a_virtual_clock_characters_take_their_time_and_the_monitor_is_held() {
    let nine = machine(NINE, 1, ClockKind::Virtual, Bios::None).unwrap();
    let consoles = nine.consoles().to_vec();
    let last = run(nine);
    assert_eq!((last.end, last.harts.len()), (End::Exit(0), 1));
    let hart = &last.harts[0].state;
    assert_eq!((hart.hartid, hart.x[11] as u32), (1, 1 << 31), "full");
    // Eight characters of ten bits, each of 4340 cycles of 499,999,995 Hz: 694.4 us.
    assert!((693..=696).contains(&hart.x[10]), "{} us", hart.x[10]);
    assert_eq!((said(&consoles[0]), said(&consoles[1])), (Vec::new(), b"abcdefghi".to_vec()));
    // The kernel's second hart would not run.
    assert!(matches!(
        machine(NINE, 2, ClockKind::Virtual, Bios::None).map(|_| ()),
        Err(BuildError::VirtualHarts)
    ));
}

/// Up to exactly so many instructions, long after the last character; a machine that powers off runs on a little.
const BUDGET: u64 = 2_000_000;

#[test]
fn by_a_virtual_clock_slices_change_nothing() {
    // All but the end, in place of which hart 1 waits where it is.
    let mut words: Vec<u32> = NINE.iter().copied().take_while(|&word| word != 0x0010_02b7).collect();
    words.push(0x0000_006f);
    let state = |slice| {
        let mut spec = spec(&words, 1, ClockKind::Virtual, Bios::None);
        spec.budget = Some(BUDGET);
        let last = Machine::build(spec).unwrap().run_in_slices(slice).unwrap();
        assert_eq!(last.end, End::Budget);
        last.harts.into_iter().next().unwrap()
    };
    let whole = state(u64::MAX);
    assert!((693..=696).contains(&whole.state.x[10]), "{} us", whole.state.x[10]);
    for slice in [7, 1000, 12345] {
        assert_eq!(state(slice), whole, "slices of {slice}");
    }
}

#[test]
fn by_a_real_clock_characters_take_no_time() {
    let nine = machine(NINE, 1, ClockKind::Real, Bios::None).unwrap();
    let consoles = nine.consoles().to_vec();
    let last = run(nine);
    let hart = last.harts.iter().find(|hart| hart.state.hartid == 1).unwrap();
    assert_eq!((last.end, hart.state.x[11]), (End::Exit(0), 0), "never full");
    assert_eq!(said(&consoles[1]), b"abcdefghi");
}

/// Drives pin 10 high, then low.
const RESTART: &[u32] = &[
    0x1006_02b7, // lui t0,0x10060
    0x4000_0313, // addi t1,zero,1024
    0x0062_a623, // sw t1,12(t0)
    0x0062_a423, // sw t1,8(t0)
    0x0002_a623, // sw zero,12(t0)
    0x0000_006f, // jal zero,14
];

#[test]
fn pin_10_restarts_the_machine() {
    assert_eq!(run(machine(RESTART, 1, ClockKind::Real, Bios::None).unwrap()).end, End::Reset);
}

/// Under the built-in SBI: starts hart 0, asks for its state and for that of hart 1, reads `time`, powers off.
const UNDER_SBI: &[u32] = &[
    0x0005_0413, // addi s0,a0,0
    0x0000_0813, // addi a6,zero,0
    0x0000_0513, // addi a0,zero,0
    0x0000_0613, // addi a2,zero,0
    0x0048_58b7, // lui a7,0x485
    0x34d8_889b, // addiw a7,a7,845
    0x0000_0597, // auipc a1,0x0
    0x0000_0073, // ecall
    0x0005_0493, // addi s1,a0,0
    0x0020_0813, // addi a6,zero,2
    0x0000_0513, // addi a0,zero,0
    0x0000_0073, // ecall
    0x0005_0913, // addi s2,a0,0
    0x0020_0813, // addi a6,zero,2
    0x0010_0513, // addi a0,zero,1
    0x0000_0073, // ecall
    0x0005_8993, // addi s3,a1,0
    0xc010_2a73, // csrrs s4,time,zero
    0x5352_58b7, // lui a7,0x53525
    0x3548_889b, // addiw a7,a7,852
    0x0000_0813, // addi a6,zero,0
    0x0000_0513, // addi a0,zero,0
    0x0000_0593, // addi a1,zero,0
    0x0000_0073, // ecall
    0x0000_006f, // jal zero,60
];

#[test]
fn for_the_built_in_sbi_the_monitor_does_not_exist() {
    let last = run(machine(UNDER_SBI, 1, ClockKind::Real, Bios::BuiltIn).unwrap());
    assert_eq!(last.end, End::Exit(0));
    let hart = last.harts.iter().find(|hart| hart.state.hartid == 1).unwrap();
    let [boot_hart, start, status, own, time] = [8, 9, 18, 19, 20].map(|register| hart.state.x[register]);
    let invalid_parameter = -3_i64 as u64;
    assert_eq!((boot_hart, start, status), (1, invalid_parameter, invalid_parameter));
    assert_eq!(own, 0, "started");
    assert!(time < 10_000_000, "{time}: microseconds since the start");
}
