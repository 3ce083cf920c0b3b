//! Prints nanoseconds for each operation: `cargo run --release -p isa-float --example timing`.
//!
//! "chain" feeds each result into the next operation (latency), "stream" does not (throughput). "clear" starts each
//! operation with no flag set and "sticky" with inexact set, as most code has after a while.

use std::hint::black_box;
use std::time::Instant;

use isa_float::{F16, F32, F64, Flags, Format, RiscV, Round, soft};

const COUNT: usize = 1 << 12;
const REPEATS: usize = 400;

type Operation = fn(u64, u64, u64, Round, &mut Flags) -> u64;

/// Numbers between 1 and 2 with full significands.
fn operands<F: Format<Bits = u64>>() -> Vec<u64> {
    let one = (F::BIAS as u64) << F::FRACTION_BITS;
    let mask = (1 << F::FRACTION_BITS) - 1;
    (1..=COUNT as u64).map(|i| one | (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7 & mask)).collect()
}

/// The best of all repeats, in nanoseconds for one operation.
fn time(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e9 / COUNT as f64
}

fn measure(name: &str, values: &[u64], operation: impl Fn(u64, u64, u64, Round, &mut Flags) -> u64 + Copy) {
    let mut columns = Vec::new();
    for (mode, before) in [
        (Round::NearestEven, Flags::NONE),
        (Round::NearestEven, Flags::INEXACT),
        (Round::TowardZero, Flags::NONE),
    ] {
        let mode = black_box(mode);
        columns.push(time(|| {
            let mut accumulated = Flags::NONE;
            for three in values.windows(3) {
                let mut flags = before;
                black_box(operation(three[0], three[1], three[2], mode, &mut flags));
                accumulated |= flags;
            }
            black_box(accumulated);
        }));
        columns.push(time(|| {
            let mut accumulated = Flags::NONE;
            let mut value = values[0];
            for two in values.windows(2) {
                let mut flags = before;
                // The second operand depends on the last result, but stays in range.
                value = operation(two[0], two[1] ^ (value & 1), two[0] ^ (value & 2), mode, &mut flags);
                accumulated |= flags;
            }
            black_box((value, accumulated));
        }));
    }
    let columns: String = columns.iter().map(|ns| format!("{ns:9.2}")).collect();
    println!("{name:<16}{columns}");
}

fn format<F: Format<Bits = u64>>(name: &str) {
    let values = operands::<F>();
    let operations: [(&str, Operation); 12] = [
        ("add", |a, b, _, m, f| isa_float::add::<F, RiscV>(a, b, m, f)),
        ("add soft", |a, b, _, m, f| soft::add::<F, RiscV>(a, b, m, f)),
        ("sub soft", |a, b, _, m, f| soft::sub::<F, RiscV>(a, b, m, f)),
        ("mul", |a, b, _, m, f| isa_float::mul::<F, RiscV>(a, b, m, f)),
        ("mul soft", |a, b, _, m, f| soft::mul::<F, RiscV>(a, b, m, f)),
        ("div", |a, b, _, m, f| isa_float::div::<F, RiscV>(a, b, m, f)),
        ("div soft", |a, b, _, m, f| soft::div::<F, RiscV>(a, b, m, f)),
        ("sqrt", |a, b, _, m, f| isa_float::sqrt::<F, RiscV>(a ^ (b & 1), m, f)),
        ("sqrt soft", |a, b, _, m, f| soft::sqrt::<F, RiscV>(a ^ (b & 1), m, f)),
        ("fma", |a, b, c, m, f| isa_float::fma::<F, RiscV>(a, b, c, m, f)),
        ("fma soft", |a, b, c, m, f| soft::fma::<F, RiscV>(a, b, c, m, f)),
        ("lt", |a, b, _, _, f| u64::from(isa_float::lt::<F>(a, b, f))),
    ];
    for (operation, function) in operations {
        measure(&format!("{name} {operation}"), &values, function);
    }
    measure(&format!("{name} min"), &values, |a, b, _, _, f| isa_float::min::<F, RiscV>(a, b, f));
    measure(&format!("{name} to_i64"), &values, |a, b, _, m, f| {
        isa_float::to_i64::<F, RiscV>(a ^ (b & 1), m, f) as u64
    });
    measure(&format!("{name} from_i64"), &values, |a, b, _, m, f| {
        isa_float::from_i64::<F, RiscV>((a ^ (b & 1)) as i64, m, f)
    });
}

fn main() {
    println!("{:<16}{:>18}{:>18}{:>18}", "ns", "RNE clear", "RNE sticky", "RTZ");
    println!("{:<16}{}", "", "   stream    chain".repeat(3));
    format::<F16>("f16");
    format::<F32>("f32");
    format::<F64>("f64");
    let values = operands::<F64>();
    measure("f64 -> f32", &values, |a, b, _, m, f| isa_float::convert::<F64, F32, RiscV>(a ^ (b & 1), m, f));
    let values = operands::<F32>();
    measure("f32 -> f64", &values, |a, b, _, m, f| isa_float::convert::<F32, F64, RiscV>(a ^ (b & 1), m, f));
}
