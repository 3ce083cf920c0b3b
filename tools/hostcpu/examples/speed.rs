//! Prints nanoseconds a run, by kind of instruction: `cargo run --release -p hostcpu --example speed`.

use hostcpu::{CODE, DATA, DATA_BYTES, Oracle, RAX, Regs};
use std::hint::black_box;
use std::time::Instant;

/// The best of some rounds, in nanoseconds a call.
fn measure(name: &str, calls: u32, mut f: impl FnMut(u32)) {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        for n in 0..calls {
            f(n);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    println!("{name:50} {best:8.1} ns");
}

fn run(oracle: &mut Oracle, code: &[u8], rip: u64, rax: u64) {
    let mut regs = Regs { rip, ..Regs::default() };
    if let Some(register) = regs.gpr.get_mut(RAX) {
        *register = rax;
    }
    if let Err(refused) = black_box(oracle.run(code, &mut regs)) {
        println!("refused: {refused}");
    }
    black_box(&regs);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut oracle = Oracle::new()?;
    let o = &mut oracle;
    let end = DATA + DATA_BYTES as u64;
    let adds: Vec<[u8; 3]> = (0..64).map(|n| [0x48, 0x01, 0xc0 | n]).collect();
    let add = |n: u32| adds.get(n as usize % 64).map_or(&[0x90][..], |code| code);
    let around = |n: u32| CODE + u64::from(n % 16_000) * 64;
    const MANY: u32 = 200_000;
    const FEW: u32 = 20_000;

    measure("straight: the same instruction again", MANY, |n| run(o, add(1), CODE, n.into()));
    measure("straight: another one in the same place", MANY, |n| run(o, add(n), CODE, n.into()));
    measure("straight: another one, places 64 bytes apart", MANY, |n| run(o, add(n), around(n), n.into()));
    measure("straight: load from the data", MANY, |_| run(o, &[0x48, 0x8b, 0x00], CODE, DATA));
    let mut batch = Vec::new();
    measure("straight: loaded 64 at a time, then run", MANY, |n| {
        match o.load(add(n), around(n)) {
            Ok(loaded) => batch.push(loaded),
            Err(refused) => println!("refused: {refused}"),
        }
        if n % 64 == 63 {
            for loaded in batch.drain(..) {
                black_box(o.go(&loaded, &mut Regs::default()));
            }
        }
    });
    measure("to load: decoding and storing", MANY, |n| {
        black_box(o.load(add(n), around(n)).is_ok());
    });
    measure("branch: jz, taken or not", MANY, |_| run(o, &[0x74, 0x20], CODE, 0));
    measure("branch: jmp into the code, the same place", MANY, |_| run(o, &[0xff, 0xe0], CODE, CODE + 64));
    measure("branch: jmp into the code, other places", FEW, |n| {
        run(o, &[0xff, 0xe0], CODE, around(n) + 64);
    });
    measure("branch: jmp out of the code", FEW, |_| run(o, &[0xff, 0xe0], CODE, end));
    measure("branch: jmp to itself", FEW / 10, |_| run(o, &[0xeb, 0xfe], CODE, 0));
    measure("fault: ud2", FEW, |_| run(o, &[0x0f, 0x0b], CODE, 0));
    measure("fault: division by zero", FEW, |_| run(o, &[0x48, 0xf7, 0xf1], CODE, 0));
    measure("fault: page fault", FEW, |_| run(o, &[0x48, 0x8b, 0x00], CODE, end));
    measure("fault: not canonical", FEW, |_| run(o, &[0x48, 0x8b, 0x00], CODE, 1 << 63));
    measure("lock add across two lines", FEW / 10, |_| run(o, &[0xf0, 0x48, 0x01, 0x00], CODE, DATA + 61));
    measure("cpuid", FEW / 10, |_| run(o, &[0x0f, 0xa2], CODE, 0));
    measure("restore", MANY, |_| o.restore());
    measure("changed", MANY, |_| {
        black_box(o.changed());
    });
    Ok(())
}
