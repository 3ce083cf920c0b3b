//! Privileged operations, traps and atomics, at random, against the interpreter: after each slice of any length both must
//! have come to the same state.

mod pair;

use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp::{Config, Interp};
use engine_jit::{Jit, Options, Tiers};
use fabric_bus::{Bus, BusBuilder};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use isa_riscv::{Features, Hart};
use pair::{Random, count, seed};
use std::sync::Arc;

const RAM: u64 = 0x8000_0000;
const SIZE: u64 = 1 << 20;
const DATA: u64 = RAM + 0x8_0000;
const M_HANDLER: u64 = RAM + 0xe_0000;
const S_HANDLER: u64 = RAM + 0xe_0800;

/// A register that programs use.
fn register(random: &mut Random) -> u32 {
    random.one_of(&[0, 5, 6, 7, 10, 11, 12, 13, 14, 15, 28, 29])
}

/// What both engines run on: a machine each.
fn config(program: &[u32], random: &mut Random) -> [Config; 2] {
    let mut hart = Hart::new(0, &Features::FULL);
    hart.pc = RAM;
    (hart.csr.mtvec, hart.csr.stvec) = (M_HANDLER, S_HANDLER);
    (hart.csr.mepc, hart.csr.sepc) = (RAM, RAM + 64);
    hart.csr.pmp.set_addr(0, u64::MAX >> 10);
    hart.csr.pmp.set_cfg_register(0, 0x1f);
    for r in 5..32 {
        hart.x[r] = match random.below(4) {
            0 => random.next(),
            1 => random.below(0x1000),
            2 => 1 << random.below(64),
            _ => DATA + random.below(0x4000) / 8 * 8,
        };
    }
    // Addresses that are always right, one that is misaligned for eight bytes, and one where nothing is. Stores go to
    // these, so that code stays as it is.
    (hart.x[16], hart.x[17], hart.x[18], hart.x[30]) = (DATA, DATA + 0x1000, DATA + 4, 0x1000);
    [0, 1].map(|_| {
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(SIZE).unwrap()));
        builder.ram("ram", RAM, SIZE, 0, true).unwrap();
        let bus = Arc::new(builder.build());
        put(&bus, RAM, program);
        // csrr x31, epc; addi x31, x31, 4; csrw epc, x31; return
        put(&bus, M_HANDLER, &[0x3410_2ff3, 0x004f_8f93, 0x341f_9073, 0x3020_0073]);
        put(&bus, S_HANDLER, &[0x1410_2ff3, 0x004f_8f93, 0x141f_9073, 0x1020_0073]);
        let time = TimeSource::new(Timers::new(Arc::new(Clock::virtual_())), 10_000_000);
        Config { hart: hart.clone(), bus, time, pending: Arc::new(PendingWord::new()) }
    })
}

fn put(bus: &Bus, at: u64, program: &[u32]) {
    for (n, word) in (0..).zip(program) {
        bus.ram().copy_in(at - RAM + 4 * n, &word.to_le_bytes()).unwrap();
    }
}

const CSRS: [u32; 34] = [
    0x300, 0x300, 0x300, 0x100, 0x100, 0x304, 0x344, 0x302, 0x303, 0x340, 0x342, 0x343, 0x140, 0x142, 0x143,
    0x104, 0x144, 0x180, 0x001, 0x002, 0x003, 0xc00, 0xc01, 0xc02, 0xb00, 0x14d, 0x30a, 0x306, 0x106, 0xf14,
    0x301, 0x341, 0x141, 0x305,
];
/// Those that may be written without losing the program for good.
const WRITABLE: usize = 29;

fn instruction(random: &mut Random) -> u32 {
    let (rd, rs1, rs2) = (register(random), register(random), register(random));
    let pointer = random.one_of(&[16, 17, 16, 17, 16, 17, 18, 30]);
    let any = random.one_of(&[16, 17, 16, 17, 16, 17, 16, rs1]);
    let width = random.one_of(&[2, 3]);
    match random.below(20) {
        0..=5 => {
            let csr = random.one_of(&CSRS[..WRITABLE]);
            let how = random.one_of(&[1, 2, 3, 5, 6, 7, 6, 7]);
            let operand = if how > 4 { random.one_of(&[0, 1, 2, 8, 2, 8, 31]) } else { rs1 };
            csr << 20 | operand << 15 | how << 12 | rd << 7 | 0x73
        }
        6 | 7 => random.one_of(&CSRS) << 20 | 2 << 12 | rd << 7 | 0x73,
        // ecall, ebreak, mret, sret, no instruction
        8 => random.one_of(&[0x73, 0x0010_0073, 0x3020_0073, 0x1020_0073, 0x0b]),
        // fence.i, sfence.vma, pause
        9 => random.one_of(&[0x100f, 0x1200_0073, 9 << 25 | rs2 << 20 | rs1 << 15 | 0x73, 0x0100_000f]),
        10..=12 => {
            let op = random.one_of(&[0, 1, 4, 8, 12, 16, 20, 24, 28]);
            op << 27 | rs2 << 20 | pointer << 15 | width << 12 | rd << 7 | 0x2f
        }
        // lr, sc
        13 => 2 << 27 | any << 15 | width << 12 | rd << 7 | 0x2f,
        14 => 3 << 27 | rs2 << 20 | pointer << 15 | width << 12 | rd << 7 | 0x2f,
        // ld, sd
        15 => any << 15 | 3 << 12 | rd << 7 | 0x03,
        16 => rs2 << 20 | pointer << 15 | 3 << 12 | 0x23,
        // fadd.d, fmv.d.x, fcvt.l.d, feq.d
        17 => random.one_of(&[
            0x0220_f0d3,
            0xf200_0053 | rs1 << 15,
            0xc220_f053 | rd << 7,
            0xa210_a053 | rd << 7,
        ]),
        // add, sub
        _ => random.one_of(&[0, 1 << 30]) | rs2 << 20 | rs1 << 15 | rd << 7 | 0x33,
    }
}

fn compare(seed: u64) -> (u64, u64) {
    let random = &mut Random::new(seed);
    let length = 20 + random.below(200) as u32;
    let mut program: Vec<u32> = (0..length).map(|_| instruction(random)).collect();
    // jal x0, back to the start
    let back = (4 * length).wrapping_neg();
    program.push(
        (back >> 20 & 1) << 31
            | (back >> 1 & 0x3ff) << 21
            | (back >> 11 & 1) << 20
            | (back >> 12 & 0xff) << 12
            | 0x6f,
    );
    let [one, other] = config(&program, random);
    let buses = [Arc::clone(&one.bus), Arc::clone(&other.bus)];
    let mut interp = Interp::new(one);
    let tiers = random.one_of(&[Tiers::Both, Tiers::First, Tiers::Second]);
    let (threshold, harts) = (random.below(3) as u32, 1 + random.below(2));
    let options = Options { threshold, tiers, harts, ..Options::default() };
    let mut jit = Jit::new(other, options).unwrap();
    for slice in 0..60 {
        let budget = random.one_of(&[1, 2, 3, 7, 50, 1000]);
        let exits = [interp.run(budget), jit.run(budget)];
        assert_eq!(exits[0], exits[1], "seed {seed} slice {slice}");
        assert_eq!(interp.retired(), jit.retired(), "seed {seed} slice {slice}");
        assert_eq!(interp.state(), jit.state(), "seed {seed} slice {slice}");
        if exits[0] != Exit::Budget {
            break;
        }
    }
    let memory = buses.map(|bus| {
        let mut bytes = vec![0; SIZE as usize];
        bus.ram().copy_out(0, &mut bytes).unwrap();
        bytes
    });
    assert!(memory[0] == memory[1], "seed {seed}: memory differs");
    (jit.counts().translated, jit.retired())
}

#[test]
fn whatever_is_done_in_the_code_cache_is_what_the_interpreter_does() {
    if let Some(missing) = Jit::missing() {
        println!("skipped: this host lacks {missing}");
        return;
    }
    let first = seed(1);
    let counts = (first..first + count(400)).map(compare);
    let (translated, all) = counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    assert!(translated > all / 2, "only {translated} of {all} instructions ran in translated code");
}

/// A loop that may access a user's page in one part of it only.
#[test]
fn what_sum_allowed_is_not_allowed_behind_it() {
    if let Some(missing) = Jit::missing() {
        println!("skipped: this host lacks {missing}");
        return;
    }
    const ROOT: u64 = RAM + 0x4_0000;
    let program = [
        0x1002_a073u32, // csrs sstatus, x5
        0x0005_3583,    // ld x11, 0(x10)
        0x0085_3603,    // ld x12, 8(x10)
        0x1002_b073,    // csrc sstatus, x5
        0x0005_3683,    // ld x13, 0(x10)
        0x0085_3703,    // ld x14, 8(x10)
        0x00d3_0333,    // add x6, x6, x13
        0xfe5f_f06f,    // jal x0, back to the start
    ];
    let configs = config(&program, &mut Random::new(1)).map(|mut config| {
        // 1 GiB of the kernel's, executable, and the same of the user's: V, R, W, A, D, and X or U.
        let ram = config.bus.ram();
        let kernel: u64 = RAM >> 12 << 10 | 0xcf;
        let user: u64 = RAM >> 12 << 10 | 0xd7;
        ram.copy_in(ROOT - RAM + 16, &kernel.to_le_bytes()).unwrap();
        ram.copy_in(ROOT - RAM + 8, &user.to_le_bytes()).unwrap();
        ram.copy_in(DATA - RAM, &[7; 16]).unwrap();
        let hart = &mut config.hart;
        hart.mode = isa_riscv::Mode::S;
        hart.csr.satp = 8 << 60 | ROOT >> 12;
        (hart.x[5], hart.x[6], hart.x[13]) = (1 << 18, 0, 0);
        hart.x[10] = DATA - RAM + 0x4000_0000;
        config
    });
    let [one, other] = configs;
    let mut interp = Interp::new(one);
    let mut jit = Jit::new(other, Options { threshold: 0, ..Options::default() }).unwrap();
    for _ in 0..400 {
        assert_eq!(interp.run(97), jit.run(97));
        assert_eq!(interp.state(), jit.state());
    }
    let x = jit.state().x;
    assert_eq!((x[11], x[12], x[13], x[6]), (0x0707_0707_0707_0707, 0x0707_0707_0707_0707, 0, 0));
    assert!(jit.counts().regions > 0, "{:?}", jit.counts());
}
