//! With a virtual clock a run is a function of the machine and its input: the same run again, or cut into other
//! slices, ends in the same state, at exactly the instruction asked for.

use engine_jit::Tiers;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vm_board::board::{Board, Config, HtifWords, Serial};
use vm_board::virt::virt;
use vm_machine::{Bios, ClockKind, End, Engine, Final, JitOptions, Machine, Program, Spec};

/// A program for M-mode that uses what could disturb a run. It hashes numbers into a buffer, now and then sends a
/// character, reads `time` or waits for an interrupt; the timer (mtimecmp) interrupts it at intervals of its own
/// making, the UART (through the PLIC) after each character. `s6` folds where and when (mepc, mcause, minstret)
/// every interrupt came, `a0` and `s11` count the timer's and the UART's.
const PROGRAM: &[u32] = &[
    0x00000297, // auipc t0,0x0
    0x0d028293, // addi t0,t0,208
    0x30529073, // csrrw zero,mtvec,t0
    0x0c000437, // lui s0,0xc000
    0x00100e13, // addi t3,zero,1
    0x03c42423, // sw t3,40(s0)
    0x0c0024b7, // lui s1,0xc002
    0x40000e13, // addi t3,zero,1024
    0x01c4a023, // sw t3,0(s1)
    0x0c2004b7, // lui s1,0xc200
    0x0004a023, // sw zero,0(s1)
    0x10000937, // lui s2,0x10000
    0x00200e13, // addi t3,zero,2
    0x01c900a3, // sb t3,1(s2)
    0x020049b7, // lui s3,0x2004
    0x0200ca37, // lui s4,0x200c
    0xff8a0a1b, // addiw s4,s4,-8
    0x000a3e03, // ld t3,0(s4)
    0x003e0e13, // addi t3,t3,3
    0x01c9b023, // sd t3,0(s3)
    0x00001e37, // lui t3,0x1
    0x880e0e1b, // addiw t3,t3,-1920
    0x304e1073, // csrrw zero,mie,t3
    0x00100a93, // addi s5,zero,1
    0x00000b13, // addi s6,zero,0
    0x01f00c13, // addi s8,zero,31
    0x41c65cb7, // lui s9,0x41c65
    0xe6dc8c9b, // addiw s9,s9,-403
    0x00000d17, // auipc s10,0x0
    0x0c0d0d13, // addi s10,s10,192
    0x30046073, // csrrsi zero,mstatus,8
    // loop:
    0x039a8ab3, // mul s5,s5,s9
    0x40fa8a93, // addi s5,s5,1039
    0x014ade13, // srli t3,s5,0x14
    0x7f8e7e13, // andi t3,t3,2040
    0x01ae0e33, // add t3,t3,s10
    0x000e3e83, // ld t4,0(t3)
    0x015e8eb3, // add t4,t4,s5
    0x01de3023, // sd t4,0(t3)
    0x021ade13, // srli t3,s5,0x21
    0x01fe7e93, // andi t4,t3,31
    0x000e9e63, // bne t4,zero,+0xc0
    0x3c0e7e93, // andi t4,t3,960
    0x006ede93, // srli t4,t4,0x6
    0x061e8e93, // addi t4,t4,97
    0x01d90023, // sb t4,0(s2)
    0xc0102ef3, // csrrs t4,time,zero
    0x01db8bb3, // add s7,s7,t4
    0x7e0e7e93, // andi t4,t3,2016
    0xfa0e9ce3, // bne t4,zero,+0x7c
    0x10500073, // wfi
    0xfb1ff06f, // jal zero,+0x7c
    // handler:
    0x038b0b33, // mul s6,s6,s8
    0x341022f3, // csrrs t0,mepc,zero
    0x005b0b33, // add s6,s6,t0
    0x34202373, // csrrs t1,mcause,zero
    0x006b0b33, // add s6,s6,t1
    0x038b0b33, // mul s6,s6,s8
    0xb02022f3, // csrrs t0,minstret,zero
    0x005b0b33, // add s6,s6,t0
    0x00f37313, // andi t1,t1,15
    0x00700393, // addi t2,zero,7
    0x00730c63, // beq t1,t2,+0x110
    0x0044a303, // lw t1,4(s1)
    0x00294383, // lbu t2,2(s2)
    0x0064a223, // sw t1,4(s1)
    0x001d8d93, // addi s11,s11,1
    0x30200073, // mret
    // timer:
    0x000a3283, // ld t0,0(s4)
    0x00fb7313, // andi t1,s6,15
    0x00130313, // addi t1,t1,1
    0x006282b3, // add t0,t0,t1
    0x0059b023, // sd t0,0(s3)
    0x00150513, // addi a0,a0,1
    0x30200073, // mret
];

const BUFFER: u64 = 0x8000_0000 + 4 * PROGRAM.len() as u64;

fn board(memory: u64) -> Board {
    let htif: Option<HtifWords> = None;
    let config = Config {
        cpus: 1,
        memory,
        isa: Default::default(),
        mmu: Default::default(),
        serial: Serial::default(),
        htif,
        serial_cards: 0,
        virtio_cards: 0,
        ethernet: None,
    };
    virt(&config).unwrap()
}

/// The engines there are for RISC-V on this host: the interpreter first.
fn engines() -> Vec<Engine> {
    let usual = JitOptions::default();
    let all = JitOptions { threshold: 0, ..usual };
    let [first, second] = [Tiers::First, Tiers::Second].map(|tiers| JitOptions { tiers, ..all });
    let jit = [all, usual, first, second].into_iter().flat_map(|it| [Engine::Jit(it), Engine::Check(it)]);
    let jit: Vec<Engine> = jit.collect();
    let there = if engine_jit::Jit::missing().is_none() { &jit[..] } else { &[] };
    [&[Engine::Interp], there].concat()
}

fn bare_metal(engine: Engine, budget: u64) -> Spec {
    let bytes: Vec<u8> = PROGRAM.iter().flat_map(|word| word.to_le_bytes()).collect();
    Spec {
        board: board(16 << 20),
        bios: Bios::None,
        kernel: Some(Program { name: "program".into(), bytes: bytes.into() }),
        initrd: None,
        append: None,
        clock: ClockKind::Virtual,
        wall_start_ns: 1,
        rng_seed: vec![0; 32],
        budget: Some(budget),
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
    }
}

/// Runs it; gives the final state and what came out of the console.
fn run(spec: Spec, slice: u64) -> (Final, Vec<u8>) {
    let machine = Machine::build(spec).unwrap();
    let console = machine.console().unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The other end of the line keeps up, as a terminal would.
        let other_end = scope.spawn(|| {
            let mut sent = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                console.drain(&mut sent);
                std::thread::sleep(Duration::from_millis(1));
            }
            console.drain(&mut sent);
            sent
        });
        let run = machine.run_in_slices(slice);
        ended.store(true, Ordering::SeqCst);
        (run.unwrap(), other_end.join().unwrap())
    })
}

/// Every byte of RAM from `start` on.
fn memory(run: &Final, start: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    run.memory(start, &mut bytes).unwrap();
    bytes
}

fn assert_same(a: &(Final, Vec<u8>), b: &(Final, Vec<u8>), ram: usize, what: &str) {
    assert_eq!(a.0.end, b.0.end, "{what}");
    assert_eq!(a.0.harts, b.0.harts, "{what}");
    assert!(a.1 == b.1, "{what}: what the console sent differs");
    assert!(memory(&a.0, 0x8000_0000, ram) == memory(&b.0, 0x8000_0000, ram), "{what}: memory differs");
}

#[test]
fn a_budget_ends_the_run_at_exactly_that_instruction() {
    for engine in engines() {
        for budget in [1, 2, 3, 31, 1000, 99_991, 99_992, 99_993] {
            let (run, _) = run(bare_metal(engine, budget), u64::MAX);
            assert_eq!(run.end, End::Budget);
            assert_eq!(run.harts.len(), 1);
            assert_eq!(run.harts[0].retired, budget, "{engine:?}");
        }
    }
}

#[test]
fn a_longer_run_goes_through_the_end_of_a_shorter_one() {
    // One instruction more is one instruction: the program counter moves to what the shorter run stood before.
    for engine in engines() {
        let [first, second] = [4, 5].map(|budget| run(bare_metal(engine, budget), u64::MAX).0);
        assert_eq!(second.harts[0].state.pc, first.harts[0].state.pc + 4);
    }
}

#[test]
fn the_same_run_again_ends_in_the_same_state_on_any_engine() {
    let a = run(bare_metal(Engine::Interp, 300_000), u64::MAX);
    for engine in engines() {
        let b = run(bare_metal(engine, 300_000), u64::MAX);
        assert_same(&a, &b, 16 << 20, &format!("again, {engine:?}"));
    }
    // The run did what it is meant to show.
    let x = a.0.harts[0].state.x;
    assert!(x[10] > 100, "timer interrupts: {}", x[10]);
    assert!(x[27] > 100, "UART interrupts: {}", x[27]);
    assert!(a.1.len() > 100, "characters: {}", a.1.len());
    assert_ne!(memory(&a.0, BUFFER, 2048), vec![0; 2048]);
}

#[test]
fn slices_change_nothing() {
    let whole = run(bare_metal(Engine::Interp, 300_000), u64::MAX);
    for engine in engines() {
        for slice in [1, 2, 7, 1000, 65_537] {
            let cut = run(bare_metal(engine, 300_000), slice);
            assert_same(&whole, &cut, 16 << 20, &format!("slices of {slice}, {engine:?}"));
        }
    }
}

/// The default guest, where it is in the cache.
#[test]
fn linux_runs_the_same_twice_and_in_slices() {
    let cached = host_image::Store::open(None).and_then(|store| store.get_cached("debian-busybox"));
    let Ok(image) = cached else {
        eprintln!("skipped: the guest image is not cached; `hostel image get debian-busybox` fetches it");
        return;
    };
    let read = |path: Option<std::path::PathBuf>| {
        let path = path.unwrap();
        let bytes: Arc<[u8]> = std::fs::read(&path).unwrap().into();
        Some(Program { name: path.display().to_string(), bytes })
    };
    let (kernel, initrd) = (read(image.kernel()), read(image.initrd()));
    let spec = |engine| Spec {
        board: board(128 << 20),
        bios: Bios::BuiltIn,
        kernel: kernel.clone(),
        initrd: initrd.clone(),
        append: Some("earlycon=sbi console=ttyS0".into()),
        clock: ClockKind::Virtual,
        wall_start_ns: 1_767_225_600_000_000_000,
        rng_seed: vec![0; 32],
        budget: Some(LINUX),
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
    let whole = run(spec(Engine::Interp), u64::MAX);
    assert_eq!((&whole.0.end, whole.0.harts[0].retired), (&End::Budget, LINUX));
    assert!(String::from_utf8_lossy(&whole.1).contains("Linux version"));
    for engine in engines() {
        assert_same(&whole, &run(spec(engine), u64::MAX), 128 << 20, &format!("again, {engine:?}"));
        assert_same(&whole, &run(spec(engine), 10_007), 128 << 20, &format!("slices of 10007, {engine:?}"));
    }
}

/// Instructions of Linux: far enough for its first lines, interrupts and page tables.
const LINUX: u64 = 20_000_000;
