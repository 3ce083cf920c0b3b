//! binary16 against a model which computes with exact fractions and rounds by the words of the standard, with tininess
//! detected before and after rounding; square roots of the other formats by exact squares.

mod operands;

use isa_float::{
    BF16, F16, F32, F64, Flags, Format, InvalidInteger, Policy, RiscV, Round, Tininess, canonical_nan,
    is_nan, soft,
};
use operands::Generator;

/// RISC-V's policy, but for tininess.
#[derive(Clone, Copy)]
struct TinyBefore;

impl Policy for TinyBefore {
    const TININESS: Tininess = Tininess::BeforeRounding;
    const DEFAULT_NAN_NEGATIVE: bool = false;
    const PROPAGATES_NAN: bool = false;
    const INVALID_PRODUCT_PLUS_NAN: bool = true;
    const INVALID_INTEGER: InvalidInteger = InvalidInteger::Saturate;
}

/// An exact number: ± numerator / denominator × 2^-shift.
#[derive(Clone, Copy, Debug)]
struct Exact {
    negative: bool,
    numerator: u128,
    denominator: u128,
    shift: i32,
}

/// The numerator of a finite binary16 number over 2^24.
fn f16_integer(bits: u64) -> i128 {
    let (exponent, fraction) = (bits >> 10 & 0x1f, (bits & 0x3ff) as i128);
    let magnitude = if exponent == 0 { fraction } else { (fraction | 0x400) << (exponent - 1) };
    if bits & 0x8000 != 0 { -magnitude } else { magnitude }
}

/// The number divided by 2^quantum, rounded to an integer; and whether that is exact.
fn round_at(value: Exact, quantum: i32, mode: Round) -> (u128, bool) {
    let places = -value.shift - quantum;
    let (numerator, denominator) = if places >= 0 {
        (value.numerator << places, value.denominator)
    } else {
        (value.numerator, value.denominator << -places)
    };
    let (floor, rest) = (numerator / denominator, numerator % denominator);
    let up = match mode {
        Round::NearestEven => 2 * rest > denominator || (2 * rest == denominator && floor % 2 == 1),
        Round::TowardZero => false,
        Round::Down => value.negative && rest != 0,
        Round::Up => !value.negative && rest != 0,
        Round::NearestMaxMagnitude => 2 * rest >= denominator,
    };
    (floor + u128::from(up), rest == 0)
}

/// The largest e with 2^e not above a number other than zero.
fn exponent(value: Exact) -> i32 {
    // Not above 2^e if the number over 2^e, cut to an integer, is at least one.
    (-64..64)
        .rev()
        .find(|&e| round_at(Exact { negative: false, ..value }, e, Round::TowardZero).0 >= 1)
        .unwrap()
}

/// A number other than zero in binary16: 11 bits of precision, normal numbers from 2^-14 to below 2^16.
fn to_f16(value: Exact, tininess: Tininess, mode: Round) -> (u64, Flags) {
    let sign = u64::from(value.negative) << 15;
    let unbounded_quantum = exponent(value) - 10;
    let (unbounded, exact) = round_at(value, unbounded_quantum, mode);
    let below = |significand: u128, quantum: i32, power: i32| match power - quantum {
        places if places < 0 => false,
        places => significand < 1 << places,
    };
    if !below(unbounded, unbounded_quantum, 16) {
        let infinite = match mode {
            Round::NearestEven | Round::NearestMaxMagnitude => true,
            Round::TowardZero => false,
            Round::Down => value.negative,
            Round::Up => !value.negative,
        };
        return (sign | if infinite { 0x7c00 } else { 0x7bff }, Flags::OVERFLOW | Flags::INEXACT);
    }
    if !below(unbounded, unbounded_quantum, -14) && exponent(value) >= -14 {
        let flags = if exact { Flags::NONE } else { Flags::INEXACT };
        let carried = unbounded == 2048;
        let (significand, quantum) =
            if carried { (1024, unbounded_quantum + 1) } else { (unbounded, unbounded_quantum) };
        return (sign | ((quantum + 25) as u64) << 10 | (significand as u64 - 1024), flags);
    }
    let (significand, exact) = round_at(value, -24, mode);
    let tiny = match tininess {
        Tininess::BeforeRounding => exponent(value) < -14,
        Tininess::AfterRounding => below(unbounded, unbounded_quantum, -14),
    };
    let flags = match (exact, tiny) {
        (true, _) => Flags::NONE,
        (false, false) => Flags::INEXACT,
        (false, true) => Flags::INEXACT | Flags::UNDERFLOW,
    };
    (sign | significand as u64, flags)
}

fn check(name: &str, exact: Exact, mode: Round, operation: [&dyn Fn(&mut Flags) -> u64; 2]) {
    for (tininess, operation) in
        [Tininess::AfterRounding, Tininess::BeforeRounding].into_iter().zip(operation)
    {
        let mut flags = Flags::NONE;
        let bits = operation(&mut flags);
        assert_eq!((bits, flags), to_f16(exact, tininess, mode), "{name} {exact:?} {mode:?} {tininess:?}");
    }
}

/// Operands of all classes but infinities and NaNs.
fn finite(generator: &mut Generator) -> u64 {
    loop {
        let bits = generator.operand(5, 10);
        if bits & 0x7c00 != 0x7c00 {
            return bits;
        }
    }
}

fn ratio(numerator: i128, denominator: i128, shift: i32) -> Exact {
    Exact {
        negative: (numerator < 0) != (denominator < 0),
        numerator: numerator.unsigned_abs(),
        denominator: denominator.unsigned_abs(),
        shift,
    }
}

#[test]
fn arithmetic_f16() {
    let mut generator = Generator::new(31);
    for _ in 0..60_000 {
        let [a, b, c] = [0; 3].map(|_| finite(&mut generator));
        let [x, y, z] = [a, b, c].map(f16_integer);
        for m in Round::ALL {
            if x + y != 0 {
                let sum = ratio(x + y, 1, 24);
                check(
                    "add",
                    sum,
                    m,
                    [&|f| soft::add::<F16, RiscV>(a, b, m, f), &|f| soft::add::<F16, TinyBefore>(a, b, m, f)],
                );
            }
            if x * y != 0 {
                let product = ratio(x * y, 1, 48);
                check(
                    "mul",
                    product,
                    m,
                    [&|f| soft::mul::<F16, RiscV>(a, b, m, f), &|f| soft::mul::<F16, TinyBefore>(a, b, m, f)],
                );
                let quotient = ratio(x, y, 0);
                check(
                    "div",
                    quotient,
                    m,
                    [&|f| soft::div::<F16, RiscV>(a, b, m, f), &|f| soft::div::<F16, TinyBefore>(a, b, m, f)],
                );
            }
            if x * y + (z << 24) != 0 {
                let fused = ratio(x * y + (z << 24), 1, 48);
                check(
                    "fma",
                    fused,
                    m,
                    [&|f| soft::fma::<F16, RiscV>(a, b, c, m, f), &|f| {
                        soft::fma::<F16, TinyBefore>(a, b, c, m, f)
                    }],
                );
            }
        }
    }
}

/// All pairs around the smallest normal number: one factor from its binade and below, the other near one.
#[test]
fn products_at_the_edge_of_the_normals_f16() {
    for a in 0x0380..0x0480_u64 {
        for b in 0x3b80..0x3c80_u64 {
            let product = ratio(f16_integer(a) * f16_integer(b), 1, 48);
            for m in Round::ALL {
                check(
                    "mul",
                    product,
                    m,
                    [&|f| soft::mul::<F16, RiscV>(a, b, m, f), &|f| soft::mul::<F16, TinyBefore>(a, b, m, f)],
                );
            }
        }
    }
}

/// A root lies between two halves of units in the last place as its square lies between their squares, which are
/// integers at the right scale.
#[test]
fn sqrt_f16_exhaustively() {
    for a in 0..=0xffff_u64 {
        for mode in Round::ALL {
            let mut flags = Flags::NONE;
            let root = soft::sqrt::<F16, RiscV>(a, mode, &mut flags);
            let wanted = if is_nan::<F16>(a) {
                let signaling = a & 0x200 == 0;
                (0x7e00, if signaling { Flags::INVALID } else { Flags::NONE })
            } else if a & 0x7fff == 0 || a == 0x7c00 {
                (a, Flags::NONE)
            } else if a & 0x8000 != 0 {
                (0x7e00, Flags::INVALID)
            } else {
                // 2^50 × root, cut to an integer, doubled, and one more if cut: between the same multiples of the halves.
                let square = f16_integer(a).unsigned_abs() << 76;
                let root = square.isqrt();
                let sticky = u128::from(root * root != square);
                let exact =
                    Exact { negative: false, numerator: 2 * root + sticky, denominator: 1, shift: 51 };
                to_f16(exact, Tininess::AfterRounding, mode)
            };
            assert_eq!((root, flags), wanted, "sqrt {a:#x} {mode:?}");
        }
    }
}

/// Checks a root of a positive normal number by integers: with significands of `F`, s² × 2^(2e) against the number.
fn check_root<F: Format<Bits = u64>>(a: u64, root: u64, inexact: bool, mode: Round) {
    let parts = |bits: u64| {
        let exponent = (bits >> F::FRACTION_BITS) as i32;
        let significand = bits & ((1 << F::FRACTION_BITS) - 1);
        match exponent {
            0 => (u128::from(significand), 1 - F::BIAS - F::FRACTION_BITS as i32),
            _ => (
                u128::from(significand | 1 << F::FRACTION_BITS),
                exponent - F::BIAS - F::FRACTION_BITS as i32,
            ),
        }
    };
    let ((number, number_exponent), (root, root_exponent)) = (parts(a), parts(root));
    // Four times the number in units of the square of the root's last place: halves are integers.
    let places = number_exponent - 2 * root_exponent + 2;
    let number = number << places;
    let square = |twice_root: u128| twice_root * twice_root;
    let context = format!("sqrt {a:#x} {mode:?}");
    assert_eq!(square(2 * root) != number, inexact, "{context}");
    match mode {
        Round::TowardZero | Round::Down => {
            assert!(square(2 * root) <= number && number < square(2 * root + 2), "{context}");
        }
        Round::Up => assert!(square(2 * root - 2) < number && number <= square(2 * root), "{context}"),
        // A root of a number of the same precision is never in the middle of two.
        Round::NearestEven | Round::NearestMaxMagnitude => {
            assert!(square(2 * root - 1) < number && number < square(2 * root + 1), "{context}");
        }
    }
}

fn roots<F: Format<Bits = u64>>(count: u32, seed: u64) {
    let mut generator = Generator::new(seed);
    for _ in 0..count {
        let mut a = generator.operand(F::EXPONENT_BITS, F::FRACTION_BITS);
        if generator.below(3) == 0 {
            // Squares of short numbers, and their neighbours.
            let square = isa_float::mul::<F, RiscV>(a, a, Round::NearestEven, &mut Flags::default());
            a = (square + generator.below(3)).saturating_sub(1);
        }
        for mode in Round::ALL {
            let (mut flags, mut assisted_flags, mut sticky) = (Flags::NONE, Flags::NONE, Flags::INEXACT);
            let root = soft::sqrt::<F, RiscV>(a, mode, &mut flags);
            let assisted = isa_float::sqrt::<F, RiscV>(a, mode, &mut assisted_flags);
            assert_eq!((assisted, assisted_flags), (root, flags), "sqrt {a:#x} {mode:?}");
            let assisted = isa_float::sqrt::<F, RiscV>(a, mode, &mut sticky);
            assert_eq!((assisted, sticky), (root, flags | Flags::INEXACT), "sqrt {a:#x} {mode:?}");
            let (sign, infinity) = (1 << (F::EXPONENT_BITS + F::FRACTION_BITS), F::infinity());
            if is_nan::<F>(a) {
                assert_eq!(root, canonical_nan::<F>());
                assert_eq!(flags == Flags::INVALID, isa_float::is_signaling_nan::<F>(a));
            } else if a & !sign == 0 || a == infinity {
                assert_eq!((root, flags), (a, Flags::NONE));
            } else if a & sign != 0 {
                assert_eq!((root, flags), (canonical_nan::<F>(), Flags::INVALID));
            } else {
                assert!(flags == Flags::NONE || flags == Flags::INEXACT);
                check_root::<F>(a, root, flags == Flags::INEXACT, mode);
            }
        }
    }
}

#[test]
fn sqrt_by_squares() {
    roots::<BF16>(60_000, 32);
    roots::<F32>(60_000, 33);
    roots::<F64>(60_000, 34);
}

/// The host-assisted forms against the soft ones, where exactness is hard to tell: sparse operands, with the nearest-even mode
/// that the host has.
fn assisted<F: Format<Bits = u64>>(count: u32, seed: u64) {
    let mut generator = Generator::new(seed);
    let mode = Round::NearestEven;
    type Operation = fn(u64, u64, Round, &mut Flags) -> u64;
    let pairs: [(Operation, Operation); 4] = [
        (isa_float::add::<F, RiscV>, soft::add::<F, RiscV>),
        (isa_float::sub::<F, RiscV>, soft::sub::<F, RiscV>),
        (isa_float::mul::<F, RiscV>, soft::mul::<F, RiscV>),
        (isa_float::div::<F, RiscV>, soft::div::<F, RiscV>),
    ];
    for _ in 0..count {
        let [a, b, c] = [0; 3].map(|_| generator.operand(F::EXPONENT_BITS, F::FRACTION_BITS));
        // Besides the operands as they are: an exact, or nearly exact, multiple of the second.
        let multiple = soft::mul::<F, RiscV>(a, b, mode, &mut Flags::default());
        for (x, y) in [(a, b), (multiple, b)] {
            for (fast, slow) in pairs {
                for before in [Flags::NONE, Flags::INEXACT] {
                    let (mut fast_flags, mut slow_flags) = (before, before);
                    assert_eq!(
                        fast(x, y, mode, &mut fast_flags),
                        slow(x, y, mode, &mut slow_flags),
                        "{x:#x} {y:#x}"
                    );
                    assert_eq!(fast_flags, slow_flags, "{x:#x} {y:#x}");
                }
            }
        }
        for before in [Flags::NONE, Flags::INEXACT] {
            for addend in [c, multiple ^ F::sign_mask()] {
                let (mut fast_flags, mut slow_flags) = (before, before);
                let fast = isa_float::fma::<F, RiscV>(a, b, addend, mode, &mut fast_flags);
                let slow = soft::fma::<F, RiscV>(a, b, addend, mode, &mut slow_flags);
                assert_eq!((fast, fast_flags), (slow, slow_flags), "fma {a:#x} {b:#x} {addend:#x}");
            }
        }
    }
}

#[test]
fn host_assisted_agrees_with_soft() {
    assisted::<F32>(400_000, 35);
    assisted::<F64>(400_000, 36);
}
