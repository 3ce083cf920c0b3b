//! Small bare-metal programs on the `virt` board: what only a whole machine can get wrong.

use vm_board::board::{Board, Config};
use vm_board::virt::virt;
use vm_machine::{Bios, ClockKind, End, Engine, Fault, Final, JitOptions, Machine, Program, Spec};

/// The engines there are for RISC-V on this host: the interpreter first.
fn engines() -> Vec<Engine> {
    let jit = [0, 16].map(|threshold| Engine::Jit(JitOptions { threshold, ..JitOptions::default() }));
    let there = if engine_jit::Jit::missing().is_none() { &jit[..] } else { &[] };
    [&[Engine::Interp], there].concat()
}

fn run(engine: Engine, words: &[u32], cpus: u32, clock: ClockKind) -> Final {
    let board: Board = virt(&Config::new(cpus, 16 << 20)).unwrap();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let spec = Spec {
        board,
        bios: Bios::None,
        kernel: Some(Program { name: "program".into(), bytes: bytes.into() }),
        initrd: None,
        append: None,
        clock,
        wall_start_ns: 1,
        rng_seed: vec![0; 32],
        budget: None,
        engine,
        trace: None,
        perf_map: false,
        virtio: Vec::new(),
        virtio_pci: Vec::new(),
        sd: None,
        ethernet: None,
        note: None,
        flash: Vec::new(),
        tsc_hz: None,
    };
    Machine::build(spec).unwrap().run_in_slices(u64::MAX).unwrap()
}

/// Sets MTIME to 1 << 44, reads `time` and MTIME, ends.
const SET_MTIME: &[u32] = &[
    0x0200_c2b7, // lui t0,0x200c
    0xff82_829b, // addiw t0,t0,-8
    0x0010_031b, // addiw t1,zero,1
    0x02c3_1313, // slli t1,t1,0x2c
    0x0062_b023, // sd t1,0(t0)
    0xc010_2573, // csrrs a0,time,zero
    0x0002_b583, // ld a1,0(t0)
    0x0010_02b7, // lui t0,0x100
    0x0000_5337, // lui t1,0x5
    0x5553_031b, // addiw t1,t1,1365
    0x0062_a023, // sw t1,0(t0)
    0x0000_006f, // jal zero,2c
];

#[test]
fn time_is_a_view_of_mtime() {
    // Unprivileged ISA, "Zicntr"; Privileged Architecture, "Machine Timer Registers".
    for engine in engines() {
        let last = run(engine, SET_MTIME, 1, ClockKind::Virtual);
        let x = last.harts[0].state.x;
        assert_eq!(last.end, End::Exit(0));
        assert_eq!((x[10] >> 20, x[11] >> 20), (1 << 24, 1 << 24));
        assert!(x[11] - x[10] < 10, "{} {} {engine:?}", x[10], x[11]);
    }
}

/// Hart 1 faults on the page of its own `stvec` until hart 0, 100 ms later, maps it; then it sets a word
/// for which hart 0 waits.
const FREED: &[u32] = &[
    0xf140_22f3, // csrrs t0,mhartid,zero
    0x0000_0417, // auipc s0,0x0
    0x0000_14b7, // lui s1,0x1
    0x0084_84b3, // add s1,s1,s0
    0x0402_9063, // bne t0,zero,80000050
    0xc010_2373, // csrrs t1,time,zero
    0x000f_43b7, // lui t2,0xf4
    0x0073_0333, // add t1,t1,t2
    0xc010_2e73, // csrrs t3,time,zero
    0xfe6e_6ee3, // bltu t3,t1,80000020
    0x2000_0eb7, // lui t4,0x20000
    0x0cfe_8e9b, // addiw t4,t4,207
    0x01d4_b223, // sd t4,4(s1)
    0x3fc4_a283, // lw t0,1020(s1)
    0xfe02_8ee3, // beq t0,zero,80000034
    0x0010_02b7, // lui t0,0x100
    0x0000_5337, // lui t1,0x5
    0x5553_031b, // addiw t1,t1,1365
    0x0062_a023, // sw t1,0(t0)
    0x0000_006f, // jal zero,8000004c
    0xfff0_0293, // addi t0,zero,-1
    0x3b02_9073, // csrrw zero,pmpaddr0,t0
    0x01f0_0293, // addi t0,zero,31
    0x3a02_9073, // csrrw zero,pmpcfg0,t0
    0x0000_b2b7, // lui t0,0xb
    0x3022_9073, // csrrw zero,medeleg,t0
    0x2000_02b7, // lui t0,0x20000
    0x0cf2_829b, // addiw t0,t0,207
    0x0054_b623, // sd t0,12(s1)
    0x0080_0293, // addi t0,zero,8
    0x03c2_9293, // slli t0,t0,0x3c
    0x00c4_d313, // srli t1,s1,0xc
    0x0062_e2b3, // or t0,t0,t1
    0x1802_9073, // csrrw zero,satp,t0
    0x0000_0297, // auipc t0,0x0
    0x03c2_8293, // addi t0,t0,60
    0x0222_9293, // slli t0,t0,0x22
    0x0222_d293, // srli t0,t0,0x22
    0x4000_0337, // lui t1,0x40000
    0x0062_82b3, // add t0,t0,t1
    0x1052_9073, // csrrw zero,stvec,t0
    0x0000_12b7, // lui t0,0x1
    0x8002_829b, // addiw t0,t0,-2048
    0x3002_9073, // csrrw zero,mstatus,t0
    0x0000_0297, // auipc t0,0x0
    0x0102_8293, // addi t0,t0,16
    0x3412_9073, // csrrw zero,mepc,t0
    0x3020_0073, // mret
    0x0000_2283, // lw t0,0(zero)
    0x0010_0293, // addi t0,zero,1
    0x3e54_ae23, // sw t0,1020(s1)
    0x0000_006f, // jal zero,800000cc
];

#[test]
fn a_hart_that_another_one_frees_is_not_wedged() {
    for engine in engines() {
        assert_eq!(run(engine, FREED, 2, ClockKind::Real).end, End::Exit(0), "{engine:?}");
    }
}

/// A load from nowhere, whose trap goes nowhere.
const NOWHERE: &[u32] = &[
    0x0000_3003, // ld zero,0(zero)
];

#[test]
fn harts_that_all_trap_for_ever_end_the_machine() {
    for (engine, cpus) in engines().into_iter().flat_map(|engine| [(engine, 1), (engine, 2)]) {
        let end = run(engine, NOWHERE, cpus, ClockKind::Real).end;
        assert!(
            matches!(
                end,
                End::Wedged { first: Fault { cause: 5, .. }, last: Fault { pc: 0, cause: 1, value: 0 }, .. }
            ),
            "{end:?}"
        );
    }
}
