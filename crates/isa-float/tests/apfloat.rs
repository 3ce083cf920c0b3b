//! Every operation in every rounding mode against `rustc_apfloat`, value and flags, with the RISC-V policy.
//!
//! What that crate does not tell is decided here from the specification:
//!
//! - Flags and result where an operand is a NaN: RISC-V's rules.
//! - Underflow where the result is rounded up to the smallest normal number. That crate calls it normal, but tininess after
//!   rounding (754 section 7.5) is of the result rounded with an unbounded exponent.
//! - Overflow where the result is rounded to the largest finite number. That crate calls it inexact, but overflow
//!   (754 section 7.4) is of the result rounded with an unbounded exponent too.
//!
//! In the latter two cases the test repeats the operation on operands scaled away from the edge.

mod operands;

use isa_float::{BF16, F16, F32, F64, Flags, Format, Negate, RiscV, Round};
use operands::Generator;
use rustc_apfloat::ieee::{BFloat, Double, Half, Quad, Single};
use rustc_apfloat::{Float, FloatConvert, Round as ApRound, Status, StatusAnd};

fn ap_round(mode: Round) -> ApRound {
    match mode {
        Round::NearestEven => ApRound::NearestTiesToEven,
        Round::TowardZero => ApRound::TowardZero,
        Round::Down => ApRound::TowardNegative,
        Round::Up => ApRound::TowardPositive,
        Round::NearestMaxMagnitude => ApRound::NearestTiesToAway,
    }
}

fn ap_flags(status: Status) -> Flags {
    let mut flags = Flags::NONE;
    for (bit, flag) in [
        (Status::INVALID_OP, Flags::INVALID),
        (Status::DIV_BY_ZERO, Flags::DIVIDE_BY_ZERO),
        (Status::OVERFLOW, Flags::OVERFLOW),
        (Status::UNDERFLOW, Flags::UNDERFLOW),
        (Status::INEXACT, Flags::INEXACT),
    ] {
        if status.contains(bit) {
            flags.raise(flag);
        }
    }
    flags
}

/// The power of two which takes a result from the lower edge of the normal numbers to the middle of the exponents.
fn raise<F: Format>() -> i32 {
    F::BIAS - 4
}

/// The power of two which takes a result from the upper edge of the finite numbers below it.
const LOWER: i32 = -3;

/// Scales exactly; or, if the number is too small for that, to the smallest number of its sign, which is the same in a
/// sum near the upper edge.
fn scaled_addend<A: Float>(x: A, by: i32) -> A {
    let scaled = x.scalbn(by);
    if scaled.scalbn(-by) == x { scaled } else { A::SMALLEST.copy_sign(x) }
}

/// What is expected: `result`, but for NaNs, and for the edges of the normal numbers. `scaled` gives the same operation with
/// a result larger by a power of two.
fn expected<F: Format<Bits = u64>, A: Float>(
    result: StatusAnd<A>,
    scaled: impl Fn(i32) -> A,
) -> (u64, Flags) {
    let mut flags = ap_flags(result.status);
    let value = result.value;
    if value.is_nan() {
        return (isa_float::canonical_nan::<F>(), flags);
    }
    let smallest_normal = A::from_bits(1 << F::FRACTION_BITS);
    if flags == Flags::INEXACT && value.abs() == smallest_normal {
        let by = raise::<F>();
        if scaled(by).abs() < smallest_normal.scalbn(by) {
            flags.raise(Flags::UNDERFLOW);
        }
    }
    if flags == Flags::INEXACT
        && value.abs() == A::largest()
        && scaled(LOWER).abs() > A::largest().scalbn(LOWER)
    {
        flags.raise(Flags::OVERFLOW);
    }
    (value.to_bits() as u64, flags)
}

/// Expected result with a NaN operand (RISC-V "F", "NaN Generation and Propagation", 754 section 7.2 a).
fn expected_nan<F: Format<Bits = u64>>(operands: &[u64]) -> (u64, Flags) {
    let signaling = operands.iter().any(|&bits| isa_float::is_signaling_nan::<F>(bits));
    (isa_float::canonical_nan::<F>(), if signaling { Flags::INVALID } else { Flags::NONE })
}

/// A number near `of` in value: a few units in the last place away, or another exponent or bit; and any sign.
fn relative<F: Format<Bits = u64>>(generator: &mut Generator, of: u64) -> u64 {
    let sign = F::sign_mask();
    let magnitude = of & (sign - 1);
    let magnitude = match generator.below(3) {
        0 => magnitude.wrapping_add(generator.below(7)).wrapping_sub(3),
        1 => magnitude ^ (generator.below(4) << F::FRACTION_BITS),
        _ => magnitude ^ (1 << generator.below(u64::from(F::FRACTION_BITS))),
    };
    (generator.next() & sign) | (magnitude & (sign - 1))
}

type Binary = fn(u64, u64, Round, &mut Flags) -> u64;
type Oracle<A> = fn(A, A, ApRound) -> StatusAnd<A>;

/// Runs with flags clear, then with inexact set already, and both must agree: returns value and flags raised.
fn run(name: &str, operation: impl Fn(&mut Flags) -> u64) -> (u64, Flags) {
    let mut flags = Flags::NONE;
    let value = operation(&mut flags);
    let mut sticky = Flags::INEXACT;
    let again = operation(&mut sticky);
    assert_eq!((again, sticky), (value, flags | Flags::INEXACT), "{name} with inexact set");
    (value, flags)
}

fn binary<F: Format<Bits = u64>, A: Float>(count: u32, seed: u64) {
    let cases: [(&str, [Binary; 2], Oracle<A>); 4] = [
        ("add", [isa_float::add::<F, RiscV>, isa_float::soft::add::<F, RiscV>], A::add_r),
        ("sub", [isa_float::sub::<F, RiscV>, isa_float::soft::sub::<F, RiscV>], A::sub_r),
        ("mul", [isa_float::mul::<F, RiscV>, isa_float::soft::mul::<F, RiscV>], A::mul_r),
        ("div", [isa_float::div::<F, RiscV>, isa_float::soft::div::<F, RiscV>], A::div_r),
    ];
    let mut generator = Generator::new(seed);
    for _ in 0..count {
        let a = generator.operand(F::EXPONENT_BITS, F::FRACTION_BITS);
        let b = if generator.below(4) == 0 {
            relative::<F>(&mut generator, a)
        } else {
            generator.operand(F::EXPONENT_BITS, F::FRACTION_BITS)
        };
        let (ap_a, ap_b) = (A::from_bits(u128::from(a)), A::from_bits(u128::from(b)));
        for mode in Round::ALL {
            for (name, [assisted, soft], oracle) in cases {
                let round = ap_round(mode);
                let wanted = if ap_a.is_nan() || ap_b.is_nan() {
                    expected_nan::<F>(&[a, b])
                } else {
                    expected::<F, A>(oracle(ap_a, ap_b, round), |by| {
                        scaled_binary(name, ap_a, ap_b, by, round)
                    })
                };
                let context = format!("{name} {a:#x} {b:#x} {mode:?}");
                assert_eq!(run(&context, |flags| assisted(a, b, mode, flags)), wanted, "{context}");
                assert_eq!(run(&context, |flags| soft(a, b, mode, flags)), wanted, "soft {context}");
            }
        }
    }
}

/// The operation with a result 2^by times as large, by exact scaling of operands.
fn scaled_binary<A: Float>(name: &str, a: A, b: A, by: i32, round: ApRound) -> A {
    match name {
        "add" => scaled_addend(a, by).add_r(scaled_addend(b, by), round).value,
        "sub" => scaled_addend(a, by).sub_r(scaled_addend(b, by), round).value,
        "mul" if (a.abs() < b.abs()) == (by > 0) => a.scalbn(by).mul_r(b, round).value,
        "mul" => a.mul_r(b.scalbn(by), round).value,
        // A small dividend can be raised and a large one lowered; otherwise the divisor is not near one.
        "div" if (a.ilogb() < 0) == (by > 0) => a.scalbn(by).div_r(b, round).value,
        _ => a.div_r(b.scalbn(-by), round).value,
    }
}

fn fused<F: Format<Bits = u64>, A: Float>(count: u32, seed: u64) {
    let mut generator = Generator::new(seed);
    for _ in 0..count {
        let mut operand = || generator.operand(F::EXPONENT_BITS, F::FRACTION_BITS);
        let (a, b, mut c) = (operand(), operand(), operand());
        // Often an addend which cancels most of the product.
        if generator.below(3) == 0 {
            let product = isa_float::soft::mul::<F, RiscV>(a, b, Round::NearestEven, &mut Flags::default());
            c = relative::<F>(&mut generator, product);
        }
        let [ap_a, ap_b, ap_c] = [a, b, c].map(|bits| A::from_bits(u128::from(bits)));
        let choice = generator.next();
        let negate = Negate { product: choice & 1 != 0, addend: choice & 2 != 0 };
        let ap_a = if negate.product { -ap_a } else { ap_a };
        let ap_c = if negate.addend { -ap_c } else { ap_c };
        for mode in Round::ALL {
            let round = ap_round(mode);
            let wanted = if [ap_a, ap_b, ap_c].iter().any(|x| x.is_nan()) {
                let (nan, mut flags) = expected_nan::<F>(&[a, b, c]);
                if (ap_a.is_infinite() && ap_b.is_zero()) || (ap_a.is_zero() && ap_b.is_infinite()) {
                    flags.raise(Flags::INVALID);
                }
                (nan, flags)
            } else {
                expected::<F, A>(ap_a.mul_add_r(ap_b, ap_c, round), |by| {
                    let a_scales = (ap_a.abs() < ap_b.abs()) == (by > 0);
                    let (scales, stays) = if a_scales { (ap_a, ap_b) } else { (ap_b, ap_a) };
                    scales.scalbn(by).mul_add_r(stays, scaled_addend(ap_c, by), round).value
                })
            };
            let context = format!("fma {a:#x} {b:#x} {c:#x} {negate:?} {mode:?}");
            let assisted =
                |flags: &mut Flags| isa_float::fma_negated::<F, RiscV>(a, b, c, negate, mode, flags);
            let soft =
                |flags: &mut Flags| isa_float::soft::fma_negated::<F, RiscV>(a, b, c, negate, mode, flags);
            assert_eq!(run(&context, assisted), wanted, "{context}");
            assert_eq!(run(&context, soft), wanted, "soft {context}");
        }
    }
}

fn narrowing<F: Format<Bits = u64>, G: Format<Bits = u64>, A: Float + FloatConvert<B>, B: Float>(
    operands: impl Iterator<Item = u64>,
) {
    for a in operands {
        let ap = A::from_bits(u128::from(a));
        for mode in Round::ALL {
            let round = ap_round(mode);
            let wanted = if ap.is_nan() {
                (isa_float::canonical_nan::<G>(), expected_nan::<F>(&[a]).1)
            } else {
                expected::<G, B>(ap.convert_r(round, &mut false), |by| {
                    ap.scalbn(by).convert_r(round, &mut false).value
                })
            };
            let mut flags = Flags::NONE;
            let value = isa_float::convert::<F, G, RiscV>(a, mode, &mut flags);
            assert_eq!((value, flags), wanted, "convert {a:#x} {mode:?}");
        }
    }
}

fn integers<F: Format<Bits = u64>, A: Float>(operands: impl Iterator<Item = u64>) {
    for a in operands {
        let ap = A::from_bits(u128::from(a));
        for mode in Round::ALL {
            let round = ap_round(mode);
            let wanted = |width: usize, signed: bool| {
                let mut exact = false;
                let (value, status) = if signed {
                    let result = ap.to_i128_r(width, round, &mut exact);
                    (result.value as u64, result.status)
                } else {
                    let result = ap.to_u128_r(width, round, &mut exact);
                    (result.value as u64, result.status)
                };
                let flags = ap_flags(status);
                // RISC-V gives the largest integer for a NaN, apfloat zero.
                let largest = u64::MAX >> (64 - width) >> u32::from(signed);
                (if ap.is_nan() { largest } else { value }, flags)
            };
            let got = |operation: &dyn Fn(&mut Flags) -> u64| {
                let mut flags = Flags::NONE;
                (operation(&mut flags), flags)
            };
            let context = format!("{a:#x} {mode:?}");
            let i32 = got(&|flags| isa_float::to_i32::<F, RiscV>(a, mode, flags) as u64);
            let u32 = got(&|flags| u64::from(isa_float::to_u32::<F, RiscV>(a, mode, flags)));
            let i64 = got(&|flags| isa_float::to_i64::<F, RiscV>(a, mode, flags) as u64);
            let u64 = got(&|flags| isa_float::to_u64::<F, RiscV>(a, mode, flags));
            assert_eq!(i32, wanted(32, true), "to_i32 {context}");
            assert_eq!(u32, wanted(32, false), "to_u32 {context}");
            assert_eq!(i64, wanted(64, true), "to_i64 {context}");
            assert_eq!(u64, wanted(64, false), "to_u64 {context}");
            if !ap.is_nan() {
                let result = ap.round_to_integral(round);
                let integral = result.value.to_bits() as u64;
                let quiet = got(&|flags| isa_float::round_to_integral::<F, RiscV>(a, mode, flags));
                assert_eq!(quiet, (integral, Flags::NONE), "round_to_integral {context}");
                let exact = got(&|flags| isa_float::round_to_integral_exact::<F, RiscV>(a, mode, flags));
                let inexact = if integral == a { Flags::NONE } else { Flags::INEXACT };
                assert_eq!(exact, (integral, inexact), "round_to_integral_exact {context}");
            }
        }
    }
}

fn from_integers<F: Format<Bits = u64>, A: Float>(count: u32, seed: u64)
where
    Quad: FloatConvert<A>,
{
    let mut generator = Generator::new(seed);
    for _ in 0..count {
        let shift = generator.below(64);
        let value = match generator.below(3) {
            0 => generator.next() >> shift,
            1 => (1_u64 << shift).wrapping_add(generator.below(5)).wrapping_sub(2),
            _ => (u64::MAX >> shift) ^ (1 << generator.below(64)),
        };
        let value = if generator.below(2) == 0 { value } else { value.wrapping_neg() };
        for mode in Round::ALL {
            let wanted = |value: i128| {
                expected::<F, A>(A::from_i128_r(value, ap_round(mode)), |by| {
                    Quad::from_i128(value).value.scalbn(by).convert_r(ap_round(mode), &mut false).value
                })
            };
            let got = |operation: &dyn Fn(&mut Flags) -> u64| {
                let mut flags = Flags::NONE;
                (operation(&mut flags), flags)
            };
            let (low, context) = (value as u32, format!("{value:#x} {mode:?}"));
            let i32 = got(&|flags| isa_float::from_i32::<F, RiscV>(low as i32, mode, flags));
            let u32 = got(&|flags| isa_float::from_u32::<F, RiscV>(low, mode, flags));
            let i64 = got(&|flags| isa_float::from_i64::<F, RiscV>(value as i64, mode, flags));
            let u64 = got(&|flags| isa_float::from_u64::<F, RiscV>(value, mode, flags));
            assert_eq!(i32, wanted(i128::from(low as i32)), "from_i32 {context}");
            assert_eq!(u32, wanted(i128::from(low)), "from_u32 {context}");
            assert_eq!(i64, wanted(i128::from(value as i64)), "from_i64 {context}");
            assert_eq!(u64, wanted(i128::from(value)), "from_u64 {context}");
        }
    }
}

fn some<F: Format>(count: usize, seed: u64) -> impl Iterator<Item = u64> {
    let mut generator = Generator::new(seed);
    std::iter::repeat_with(move || generator.operand(F::EXPONENT_BITS, F::FRACTION_BITS)).take(count)
}

/// Every encoding of a 16-bit format.
fn all() -> impl Iterator<Item = u64> {
    0..=0xffff
}

const BINARY: u32 = 60_000;

#[test]
fn binary_f16() {
    binary::<F16, Half>(BINARY, 1);
}

#[test]
fn binary_bf16() {
    binary::<BF16, BFloat>(BINARY, 2);
}

#[test]
fn binary_f32() {
    binary::<F32, Single>(BINARY, 3);
}

#[test]
fn binary_f64() {
    binary::<F64, Double>(BINARY, 4);
}

#[test]
fn fused_f16() {
    fused::<F16, Half>(BINARY, 5);
}

#[test]
fn fused_bf16() {
    fused::<BF16, BFloat>(BINARY, 6);
}

#[test]
fn fused_f32() {
    fused::<F32, Single>(BINARY, 7);
}

#[test]
fn fused_f64() {
    fused::<F64, Double>(BINARY, 8);
}

#[test]
fn convert_from_16_bits_exhaustively() {
    narrowing::<F16, BF16, Half, BFloat>(all());
    narrowing::<F16, F32, Half, Single>(all());
    narrowing::<F16, F64, Half, Double>(all());
    narrowing::<BF16, F16, BFloat, Half>(all());
    narrowing::<BF16, F32, BFloat, Single>(all());
    narrowing::<BF16, F64, BFloat, Double>(all());
}

#[test]
fn convert_wide() {
    narrowing::<F32, F16, Single, Half>(some::<F32>(60_000, 9));
    narrowing::<F32, BF16, Single, BFloat>(some::<F32>(60_000, 10));
    narrowing::<F32, F64, Single, Double>(some::<F32>(60_000, 11));
    narrowing::<F64, F16, Double, Half>(some::<F64>(60_000, 12));
    narrowing::<F64, BF16, Double, BFloat>(some::<F64>(60_000, 13));
    narrowing::<F64, F32, Double, Single>(some::<F64>(60_000, 14));
}

/// Numbers of the wide format which lie next to those of the narrow one, and next to the middles between them.
#[test]
fn convert_near_ties() {
    let mut generator = Generator::new(15);
    let near = std::iter::repeat_with(move || {
        let narrow = generator.operand(F32::EXPONENT_BITS, F32::FRACTION_BITS);
        let wide = isa_float::convert::<F32, F64, RiscV>(narrow, Round::NearestEven, &mut Flags::default());
        let half = 1_u64 << (F64::FRACTION_BITS - F32::FRACTION_BITS - 1);
        (wide ^ (half * generator.below(2))).wrapping_add(generator.below(3)).wrapping_sub(1)
    });
    narrowing::<F64, F32, Double, Single>(near.take(60_000));
}

#[test]
fn integers_from_16_bits_exhaustively() {
    integers::<F16, Half>(all());
    integers::<BF16, BFloat>(all());
}

#[test]
fn integers_f32() {
    integers::<F32, Single>(some::<F32>(100_000, 16));
}

#[test]
fn integers_f64() {
    integers::<F64, Double>(some::<F64>(100_000, 17));
}

#[test]
fn from_integers_all_formats() {
    from_integers::<F16, Half>(50_000, 18);
    from_integers::<BF16, BFloat>(50_000, 19);
    from_integers::<F32, Single>(50_000, 20);
    from_integers::<F64, Double>(50_000, 21);
}
