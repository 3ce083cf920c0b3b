//! How long lifting takes: nanoseconds for each guest instruction, and how many nodes come out.
//!
//! `cargo run --release -p isa-riscv --example lift_speed`

use isa_ir::{Builder, Limits, Passes};
use isa_riscv::lift::{ISA, lift};
use isa_riscv::{Features, Legal};
use std::hint::black_box;
use std::time::Instant;

/// Three small functions as GCC 12 compiles them for rv64gc with -O2: sifting down a heap, a CRC, a dot
/// product.
const CODE: [u32; 67] = [
    0x00159793, 0x0785, 0x06c7f363, 0x00359893, 0x01150733, 0x00073303, 0xa035, 0x0006be03, 0x05c87063,
    0x00159793, 0x8872, 0x8736, 0x0785, 0x011506b3, 0x03037f63, 0x0106b023, 0x00673023, 0x00359893,
    0x02c7f763, 0x0585, 0x00459713, 0x00e506b3, 0x00379713, 0x972a, 0x0586, 0x00073803, 0xfcc5e0e3, 0x85be,
    0x00159793, 0x0785, 0x011506b3, 0xfd0365e3, 0x8082, 0xcd8d, 0xedb88637, 0x95aa, 0x577d, 0x32060613,
    0x00054783, 0x46a1, 0x0505, 0x8f3d, 0x00177793, 0x40f007bb, 0x0017571b, 0x8ff1, 0x8fb9, 0x36fd,
    0x0007871b, 0xf6ed, 0xfcb51fe3, 0xfff74513, 0x8082, 0x4501, 0x8082, 0xf2000553, 0xce09, 0x060e,
    0x00c507b3, 0x2118, 0x219c, 0x0521, 0x05a1, 0x52f77543, 0xfef51ae3, 0x8082, 0x8082,
];

const ROUNDS: u32 = 20_000;

/// Lifts all of the code once, block by block. Returns blocks and nodes.
fn round(builder: &mut Builder, legal: &Legal, passes: Option<&mut Passes>) -> (u32, usize) {
    let (mut passes, mut blocks, mut nodes) = (passes, 0, 0);
    let mut rest = &CODE[..];
    while !rest.is_empty() {
        while let Some((word, behind)) = rest.split_first() {
            rest = behind;
            if lift(builder, black_box(*word), legal, true).is_ok_and(|ends| ends) {
                break;
            }
        }
        let mut block = builder.finish().expect("blocks are short");
        if let Some(passes) = &mut passes {
            passes.run(&mut block);
        }
        blocks += 1;
        nodes += black_box(&block).nodes().len();
        builder.recycle(block);
    }
    (blocks, nodes)
}

fn main() {
    let mut builder = Builder::new(&ISA, Limits::default());
    let mut passes = Passes::default();
    let legal = Legal::of(&Features::FULL);
    for with_passes in [false, true] {
        let mut best = f64::MAX;
        let mut counts = (0, 0);
        for _ in 0..5 {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                counts = round(&mut builder, &legal, with_passes.then_some(&mut passes));
            }
            let each = start.elapsed().as_nanos() as f64 / f64::from(ROUNDS) / CODE.len() as f64;
            best = best.min(each);
        }
        let (blocks, nodes) = counts;
        println!(
            "{}: {best:.1} ns an instruction; {} instructions in {blocks} blocks, {nodes} nodes",
            if with_passes { "lifted, with passes" } else { "lifted" },
            CODE.len(),
        );
    }
}
