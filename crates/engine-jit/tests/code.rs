//! Translated code that comes and goes: requests reach a loop, code changes, the cache is full.

mod pair;

use engine_core::{Exit, Vcpu};
use engine_jit::{Jit, Options};
use fabric_wire::PendingWord;
use isa_riscv::Features;
use pair::*;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const LOOP: u32 = 0x6f;

/// With a virtual clock and no timer, nothing but a look at the requests ends a loop.
#[test]
fn a_request_reaches_a_loop() {
    if Jit::missing().is_some() {
        return;
    }
    let around = surroundings(&Features::FULL);
    around.bus.ram().store(0, LOOP).unwrap();
    let pending = Arc::clone(&around.pending);
    let (tell, told) = channel();
    let config = around.config;
    std::thread::spawn(move || {
        let mut jit = Jit::new(config, eager()).unwrap();
        tell.send(Exit::Budget).unwrap();
        let _ = tell.send(jit.run(u64::MAX));
    });
    assert_eq!(told.recv().unwrap(), Exit::Budget);
    std::thread::sleep(Duration::from_millis(20));
    pending.raise(PendingWord::KICK);
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(Exit::Kick));
}

const FENCE_I: u32 = 0x100f;
const RET: u32 = 0x8067;
const A0: usize = 10;
const A1: usize = 11;
const T0: usize = 5;

fn addi(rd: usize, rs1: usize, imm: i32) -> u32 {
    (imm as u32) << 20 | (rs1 as u32) << 15 | (rd as u32) << 7 | 0x13
}

fn add(rd: usize, rs1: usize, rs2: usize) -> u32 {
    (rs2 as u32) << 20 | (rs1 as u32) << 15 | (rd as u32) << 7 | 0x33
}

fn sw(rs2: usize, rs1: usize) -> u32 {
    (rs2 as u32) << 20 | (rs1 as u32) << 15 | 2 << 12 | 0x23
}

fn jalr(rd: usize, rs1: usize) -> u32 {
    (rs1 as u32) << 15 | (rd as u32) << 7 | 0x67
}

/// `jal rd` to a place `distance` bytes on, not far.
fn jal(rd: usize, distance: i32) -> u32 {
    let d = distance as u32;
    (d >> 20 & 1) << 31
        | (d >> 1 & 0x3ff) << 21
        | (d >> 11 & 1) << 20
        | (d >> 12 & 0xff) << 12
        | (rd as u32) << 7
        | 0x6f
}

/// A program that again and again changes a function, fences and calls it: in its own page by a direct jump, in another
/// one by an indirect jump. After many changes the page is no longer watched; nothing may be missed for that.
#[test]
fn changed_code_is_seen_after_a_fence() {
    for (function, direct) in [(RAM + 0x400, true), (RAM + 0x400, false), (RAM + 0x3000, false)] {
        for options in
            [eager(), second(), Options { threshold: 3, ..eager() }, Options { cache: 0, ..eager() }]
        {
            let Some(mut pair) = Pair::new(options) else { return };
            let call = if direct { jal(1, (function - RAM) as i32 - 16) } else { jalr(1, A0) };
            // t0 is the word to store: addi a1, zero, n; t1 is what it grows by; t2 the sum.
            let code = [sw(T0, A0), add(T0, T0, 6), FENCE_I, addi(0, 0, 0), call, add(7, 7, A1), jal(0, -24)];
            pair.code(RAM, &code);
            pair.code(function, &[addi(A1, 0, 0), RET]);
            let mut hart = isa_riscv::Hart::new(0, &Features::FULL);
            (hart.pc, hart.csr.mtvec) = (RAM, HANDLER);
            (hart.x[A0], hart.x[T0], hart.x[6]) = (function, addi(A1, 0, 1).into(), 1 << 20);
            pair.set(&hart);
            for step in [1, 2, 7, 100, 1000, 5000] {
                let result = pair.run(step);
                assert_eq!(result, Ok(Exit::Budget), "{function:#x} {direct} after {step}");
            }
            assert!(pair.jit.cpu.state().x[7] > 100_000, "{:x?}", pair.jit.cpu.state());
        }
    }
}

/// What one hart changes, another sees after its own fence; the two run in turn.
#[test]
fn code_that_another_hart_changes_is_seen_after_ones_own_fence() {
    if Jit::missing().is_some() {
        return;
    }
    let function = RAM + 0x1000;
    let around = surroundings(&Features::FULL);
    let bus = Arc::clone(&around.bus);
    let both = Options { harts: 2, ..eager() };
    let mut config = surroundings(&Features::FULL).config;
    (config.bus, config.hart.hartid) = (Arc::clone(&bus), 1);
    let (mut caller, mut writer) = (Jit::new(around.config, both).unwrap(), Jit::new(config, both).unwrap());
    // The caller calls; the writer stores, or calls too, so that both have code of the page.
    for (at, words) in [(0, [jalr(1, A0), jal(0, -4)]), (0x800, [sw(T0, A0), jal(0, -4)])] {
        for (i, word) in (0..).zip(words) {
            bus.ram().store(at + 4 * i, word).unwrap();
        }
    }
    bus.ram().store(function - RAM, addi(A1, 0, 0)).unwrap();
    bus.ram().store(function - RAM + 4, RET).unwrap();
    caller.with_state(&mut |hart| hart.x[A0] = function);
    for n in 1..1000 {
        writer.with_state(&mut |hart| {
            (hart.pc, hart.x[A0]) = (RAM + 0x800, function);
            hart.x[T0] = addi(A1, 0, n).into();
        });
        assert_eq!(writer.run(2), Exit::Budget);
        if n % 3 == 0 {
            writer.with_state(&mut |hart| hart.pc = RAM);
            writer.flush_code();
            assert_eq!(writer.run(8), Exit::Budget);
            assert_eq!(writer.state().x[A1], n as u64);
        }
        caller.flush_code();
        assert_eq!(caller.run(8), Exit::Budget);
        assert_eq!(caller.state().x[A1], n as u64);
    }
}

/// The same at the same time: the other hart is told to fence, and once it has done so, calls give the new value.
#[test]
fn a_remote_fence_reaches_a_running_hart() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
    if Jit::missing().is_some() {
        return;
    }
    let (function, data) = (RAM + 0x1000, 0x8000);
    let around = surroundings(&Features::FULL);
    let (bus, pending) = (Arc::clone(&around.bus), Arc::clone(&around.pending));
    let both = Options { harts: 2, ..eager() };
    let mut config = surroundings(&Features::FULL).config;
    (config.bus, config.hart.hartid) = (Arc::clone(&bus), 1);
    let sd = |rs2: u32, imm: u32| rs2 << 20 | 9 << 15 | 3 << 12 | imm << 7 | 0x23;
    // a1 = function(); store a1 and how often
    let code = [jalr(1, A0), sd(11, 0), addi(18, 18, 1), sd(18, 8), jal(0, -16)];
    for (i, word) in (0..).zip(code) {
        bus.ram().store(4 * i, word).unwrap();
    }
    bus.ram().store(0x800, sw(T0, A0)).unwrap();
    bus.ram().store(0x804, LOOP).unwrap();
    bus.ram().store(function - RAM, addi(A1, 0, 0)).unwrap();
    bus.ram().store(function - RAM + 4, RET).unwrap();
    let (fenced, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (fenced_there, end_there, pending_there) =
        (Arc::clone(&fenced), Arc::clone(&end), Arc::clone(&pending));
    let other = around.config;
    let thread = std::thread::spawn(move || {
        let mut caller = Jit::new(other, both).unwrap();
        caller.with_state(&mut |hart| (hart.x[A0], hart.x[9]) = (function, RAM + data));
        while !end_there.load(SeqCst) {
            let _ = caller.run(u64::MAX);
            pending_there.lower(PendingWord::KICK);
            caller.flush_code();
            fenced_there.fetch_add(1, SeqCst);
        }
    });
    let mut writer = Jit::new(config, both).unwrap();
    for n in 1..2000 {
        writer.with_state(&mut |hart| {
            (hart.pc, hart.x[A0], hart.x[T0]) = (RAM + 0x800, function, addi(A1, 0, n).into());
        });
        assert_eq!(writer.run(2), Exit::Budget);
        let before = fenced.load(SeqCst);
        pending.raise(PendingWord::KICK);
        while fenced.load(SeqCst) == before {
            std::hint::spin_loop();
        }
        let count = || bus.ram().load::<u64>(data + 8).unwrap();
        let then = count();
        while count() < then + 2 {
            std::hint::spin_loop();
        }
        assert_eq!(bus.ram().load::<u64>(data), Some(n as u64));
    }
    end.store(true, SeqCst);
    pending.raise(PendingWord::KICK);
    thread.join().unwrap();
}

/// Many small blocks that go to one another, more than a small cache holds: it is emptied in the middle of all, also while
/// a jump is being linked.
#[test]
fn a_full_cache_is_emptied() {
    let Some(mut pair) = Pair::new(Options { cache: 0, ..eager() }) else { return };
    let mut random = Random::new(seed(5));
    // In each group of 64 blocks one goes to the one seven further on; the last of them to the next group.
    let mut words = vec![0; 0x4000 / 4];
    for group in 0..16 {
        for block in 0..64 {
            let at = group * 256 + block * 4;
            let next = match (block, group) {
                (57, 15) => 0,
                (57, _) => (group + 1) * 1024,
                _ => group * 1024 + (block + 7) % 64 * 16,
            };
            words[at] = addi(A1, A1, random.below(2000) as i32);
            words[at + 1] = add(7, 7, A1);
            words[at + 2] = jal(0, next as i32 - (4 * at as i32 + 8));
        }
    }
    pair.code(RAM + 0x1000, &words);
    let mut hart = isa_riscv::Hart::new(0, &Features::FULL);
    (hart.pc, hart.csr.mtvec) = (RAM + 0x1000, HANDLER);
    pair.set(&hart);
    for _ in 0..count(200) {
        let n = 1 + random.below(3000);
        assert_eq!(pair.run(n), Ok(Exit::Budget));
    }
    assert!(pair.jit.cpu.counts().emptied > 10);
}

/// A link to a block that is gone, while the jump table still leads to where it was, and the cache is full: it is emptied,
/// and the first link there has the number of the one that was to be made.
#[test]
fn a_cache_is_emptied_by_a_link_to_what_is_gone() {
    const TARGET: u64 = RAM + 0x40;
    const FILLING: u64 = RAM + 0x1000;
    let run = |filling: u64| {
        let mut pair = Pair::new(Options { cache: 0, ..eager() })?;
        let mut hart = isa_riscv::Hart::new(0, &Features::FULL);
        (hart.pc, hart.csr.mtvec) = (RAM, HANDLER);
        (hart.x[A1], hart.x[12], hart.x[13], hart.x[14]) = (1, TARGET, FILLING, RAM);
        // beq a0, a1, to the target; or an indirect jump there. Then to the filling, which comes back with a0 = a1.
        pair.code(RAM, &[0x04b5_0063, jalr(0, 12)]);
        pair.code(TARGET, &[addi(7, 7, 1), jalr(0, 13)]);
        let mut code = vec![FENCE_I];
        code.extend(vec![jal(0, 4); filling as usize]);
        code.extend([addi(A0, A0, 1), jalr(0, 14)]);
        pair.code(FILLING, &code);
        pair.set(&hart);
        pair.run(4).unwrap();
        pair.code(TARGET, &[addi(7, 7, 1), jal(0, 0x100)]);
        pair.code(TARGET + 0x104, &[LOOP]);
        let mut emptied_after = |n: u64| {
            assert_eq!(pair.run(n), Ok(Exit::Budget), "{filling}");
            pair.jit.cpu.counts().emptied
        };
        Some([emptied_after(filling + 3), emptied_after(100)])
    };
    // The most that do not empty it: by halves.
    let mut filling = 0;
    for step in (0..12).rev().map(|n| 1 << n) {
        let Some([before, _]) = run(filling + step) else { return };
        filling += if before == 0 { step } else { 0 };
    }
    assert_eq!(run(filling), Some([0, 1]), "{filling}");
}
