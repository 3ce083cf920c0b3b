//! Single facts from the specifications, above all those which random operands miss.

use std::cmp::Ordering;

use isa_float::{
    BF16, F16, F32, F64, Flags, Format, Negate, RiscV, Round, X86, add, canonical_nan, classify,
    compare_quiet, compare_signaling, convert, default_nan, div, eq, fma, fma_negated, from_i64, from_u32,
    from_u64, le, le_quiet, lt, lt_quiet, max, min, mul, round_to_integral, round_to_integral_exact, soft,
    sqrt, sub, to_i32, to_i64, to_u32, to_u64,
};

const NONE: Flags = Flags::NONE;
const NX: Flags = Flags::INEXACT;
const UF: Flags = Flags::UNDERFLOW;
const OF: Flags = Flags::OVERFLOW;
const DZ: Flags = Flags::DIVIDE_BY_ZERO;
const NV: Flags = Flags::INVALID;
const RNE: Round = Round::NearestEven;
const RTZ: Round = Round::TowardZero;
const RDN: Round = Round::Down;
const RUP: Round = Round::Up;
const RMM: Round = Round::NearestMaxMagnitude;

fn d(value: f64) -> u64 {
    value.to_bits()
}

fn s(value: f32) -> u64 {
    u64::from(value.to_bits())
}

const INFINITY: u64 = 0x7ff0_0000_0000_0000;
const QUIET: u64 = 0x7ff8_0000_0000_0000;
const SIGNALING: u64 = 0x7ff0_0000_0000_0001;
const SIGN: u64 = 1 << 63;

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(operation: impl FnOnce(&mut Flags) -> T, wanted: T, raised: Flags) {
    let mut flags = Flags::NONE;
    let got = operation(&mut flags);
    assert_eq!((got, flags), (wanted, raised));
}

/// RISC-V "F": rounding mode and accrued exception encodings.
#[test]
fn encodings_of_modes_and_flags() {
    for (frm, mode) in (0..).zip([RNE, RTZ, RDN, RUP, RMM]) {
        assert_eq!(Round::from_frm(frm), Some(mode));
        assert_eq!(mode as u8, frm);
    }
    assert!((5..=u8::MAX).all(|frm| Round::from_frm(frm).is_none()));
    assert_eq!([NV, DZ, OF, UF, NX].map(Flags::bits), [16, 8, 4, 2, 1]);
    assert_eq!(Flags::from_bits_truncate(0xff), NV | DZ | OF | UF | NX);
}

#[test]
fn flags_accumulate_and_are_never_cleared() {
    let mut flags = NV;
    assert_eq!(add::<F64, RiscV>(d(1.0), d(2.0), RNE, &mut flags), d(3.0));
    assert_eq!(flags, NV);
    let _ = div::<F64, RiscV>(d(1.0), d(3.0), RNE, &mut flags);
    let _ = div::<F64, RiscV>(d(1.0), d(0.0), RNE, &mut flags);
    assert_eq!(flags, NV | NX | DZ);
}

/// RISC-V "F", Zfh: canonical NaNs; bfloat16 as binary32.
#[test]
fn canonical_nans() {
    assert_eq!(canonical_nan::<F16>(), 0x7e00);
    assert_eq!(canonical_nan::<BF16>(), 0x7fc0);
    assert_eq!(canonical_nan::<F32>(), 0x7fc0_0000);
    assert_eq!(canonical_nan::<F64>(), 0x7ff8_0000_0000_0000);
    assert_eq!(default_nan::<F32, RiscV>(), 0x7fc0_0000);
    // Intel SDM volume 1, "QNaN Floating-Point Indefinite".
    assert_eq!(default_nan::<F32, X86>(), 0xffc0_0000);
}

/// RISC-V "F": "must set the invalid operation exception flag when the multiplicands are ∞ and zero, even when the addend is
/// a quiet NaN". Not so on x86 (Intel SDM volume 1, fused multiply-add).
#[test]
fn fma_of_infinity_zero_and_quiet_nan() {
    for (a, b) in [(INFINITY, 0), (0, INFINITY), (INFINITY | SIGN, 0), (SIGN, INFINITY)] {
        for mode in Round::ALL {
            check(|f| fma::<F64, RiscV>(a, b, QUIET | 5, mode, f), QUIET, NV);
            check(|f| fma::<F64, X86>(a, b, QUIET | 5, mode, f), QUIET | 5, NONE);
            check(|f| fma::<F64, X86>(a, b, SIGNALING, mode, f), QUIET | 1, NV);
            check(|f| fma::<F64, RiscV>(a, b, d(1.0), mode, f), QUIET, NV);
            check(|f| fma::<F64, X86>(a, b, d(1.0), mode, f), QUIET | SIGN, NV);
        }
    }
    check(|f| fma::<F32, RiscV>(0x7f80_0000, 0, 0x7fc0_0000, RNE, f), 0x7fc0_0000, NV);
    check(|f| fma::<F16, RiscV>(0x7c00, 0x8000, 0x7e00, RNE, f), 0x7e00, NV);
}

#[test]
fn fma_rounds_once() {
    let one_ulp = d(1.0) + 1;
    // (1 + u)² - (1 + 2u) = u², which a rounded product loses.
    check(|f| fma::<F64, RiscV>(one_ulp, one_ulp, (d(1.0) + 2) | SIGN, RNE, f), d(2f64.powi(-104)), NONE);
    // An exact zero keeps the sign of its terms, else it is +0, but -0 when rounding down (754 section 6.3).
    for mode in Round::ALL {
        let zero = if mode == RDN { SIGN } else { 0 };
        check(|f| fma::<F64, RiscV>(d(3.0), d(2.0), d(-6.0), mode, f), zero, NONE);
        check(|f| fma::<F64, RiscV>(d(0.0), d(2.0), d(-0.0), mode, f), zero, NONE);
        check(|f| fma::<F64, RiscV>(d(-0.0), d(2.0), d(-0.0), mode, f), SIGN, NONE);
    }
    // A product which underflows to nothing but a sticky bit.
    let tiny = 1;
    check(|f| fma::<F64, RiscV>(tiny, tiny, d(1.0), RUP, f), d(1.0) + 1, NX);
    check(|f| fma::<F64, RiscV>(tiny, tiny | SIGN, d(1.0), RTZ, f), d(1.0) - 1, NX);
    check(|f| fma::<F64, RiscV>(tiny, tiny, 0, RNE, f), 0, NX | UF);
}

/// RISC-V "F": fmsub, fnmsub and fnmadd; the zero of fnmsub(a, b, c) is that of c - a×b.
#[test]
fn negated_terms_of_fma() {
    let run = |product, addend| {
        fma_negated::<F64, RiscV>(
            d(3.0),
            d(5.0),
            d(2.0),
            Negate { product, addend },
            RNE,
            &mut Flags::default(),
        )
    };
    assert_eq!(
        [run(false, false), run(false, true), run(true, false), run(true, true)],
        [d(17.0), d(13.0), d(-13.0), d(-17.0)]
    );
    let both = Negate { product: true, addend: true };
    check(|f| fma_negated::<F64, RiscV>(d(1.0), d(0.0), d(0.0), both, RNE, f), SIGN, NONE);
    // A NaN is not negated.
    check(|f| fma_negated::<F64, X86>(QUIET | 1, d(0.0), d(0.0), both, RNE, f), QUIET | 1, NONE);
    check(|f| fma_negated::<F64, X86>(d(0.0), d(0.0), QUIET | 2, both, RNE, f), QUIET | 2, NONE);
}

/// 754 section 7.5 with tininess after rounding: what counts is the result rounded with an unbounded exponent. With
/// m the smallest normal number and u = 2^-53, all of these are delivered as m or the number below it.
#[test]
fn underflow_at_the_edge_of_the_normals() {
    let m = 0x0010_0000_0000_0000;
    let half = d(0.5);
    // (1 - u) m, a number of 53 bits when the exponent is unbounded: tiny although rounded up to m.
    let factor = d(1.0) - 1;
    check(|f| mul::<F64, RiscV>(m, factor, RNE, f), m, NX | UF);
    check(|f| mul::<F64, RiscV>(m, factor, RMM, f), m, NX | UF);
    check(|f| mul::<F64, RiscV>(m, factor, RUP, f), m, NX | UF);
    check(|f| mul::<F64, RiscV>(m, factor, RDN, f), m - 1, NX | UF);
    check(|f| mul::<F64, RiscV>(m, factor, RTZ, f), m - 1, NX | UF);
    let (p, q) = (d(1.0 - 2f64.powi(-27)), d(1.0 + 2f64.powi(-27)));
    let a = mul::<F64, RiscV>(p, m, RNE, &mut Flags::default());
    assert_eq!(a, m - (1 << 25), "(1 - 2^-27) m, a subnormal number");
    // (1 - 2^-27)(1 + 2^-27) m = (1 - 2^-54) m, the middle between (1 - u) m and m: nearest modes and up give m.
    check(|f| mul::<F64, RiscV>(a, q, RNE, f), m, NX);
    check(|f| mul::<F64, RiscV>(a, q, RMM, f), m, NX);
    check(|f| mul::<F64, RiscV>(a, q, RUP, f), m, NX);
    check(|f| mul::<F64, RiscV>(a, q, RDN, f), m - 1, NX | UF);
    check(|f| mul::<F64, RiscV>(a | SIGN, q, RDN, f), m | SIGN, NX);
    check(|f| mul::<F64, RiscV>(a | SIGN, q, RUP, f), (m - 1) | SIGN, NX | UF);
    // Tiny but exact: no underflow.
    check(|f| mul::<F64, RiscV>(m, half, RNE, f), m / 2, NONE);
    // The smallest number halved.
    check(|f| mul::<F64, RiscV>(1, half, RNE, f), 0, NX | UF);
    check(|f| mul::<F64, RiscV>(1, half, RMM, f), 1, NX | UF);
    check(|f| mul::<F64, RiscV>(1, half, RUP, f), 1, NX | UF);
    check(|f| mul::<F64, RiscV>(1 | SIGN, half, RUP, f), SIGN, NX | UF);
    // The same by conversion: 2^-126 (1 - 2^-25) is a middle in binary32.
    check(
        |f| convert::<F64, F32, RiscV>(d(2f64.powi(-126) * (1.0 - 2f64.powi(-25))), RNE, f),
        0x0080_0000,
        NX,
    );
    check(
        |f| convert::<F64, F32, RiscV>(d(2f64.powi(-126) * (1.0 - 2f64.powi(-24))), RNE, f),
        0x0080_0000,
        NX | UF,
    );
}

/// 754 section 7.4.
#[test]
fn overflow_by_rounding_mode() {
    let largest = INFINITY - 1;
    for (mode, positive, negative) in [
        (RNE, INFINITY, INFINITY),
        (RTZ, largest, largest),
        (RDN, largest, INFINITY),
        (RUP, INFINITY, largest),
        (RMM, INFINITY, INFINITY),
    ] {
        check(|f| add::<F64, RiscV>(largest, largest, mode, f), positive, OF | NX);
        check(|f| sub::<F64, RiscV>(largest | SIGN, largest, mode, f), negative | SIGN, OF | NX);
        check(|f| mul::<F64, RiscV>(largest | SIGN, d(2.0), mode, f), negative | SIGN, OF | NX);
    }
    // Less than half a unit above the largest number rounds to it without overflow.
    let quarter_ulp = d(2f64.powi(969));
    check(|f| add::<F64, RiscV>(largest, quarter_ulp, RNE, f), largest, NX);
    check(|f| add::<F64, RiscV>(largest, quarter_ulp, RUP, f), INFINITY, OF | NX);
    check(|f| add::<F64, RiscV>(largest, d(2f64.powi(970)), RNE, f), INFINITY, OF | NX);
    check(|f| from_u64::<F16, RiscV>(65519, RNE, f), 0x7bff, NX);
    check(|f| from_u64::<F16, RiscV>(65520, RNE, f), 0x7c00, OF | NX);
    check(|f| from_u32::<F16, RiscV>(u32::MAX, RTZ, f), 0x7bff, OF | NX);
}

#[test]
fn invalid_operations_and_division_by_zero() {
    let minus_infinity = INFINITY | SIGN;
    check(|f| add::<F64, RiscV>(INFINITY, minus_infinity, RNE, f), QUIET, NV);
    check(|f| sub::<F64, RiscV>(INFINITY, INFINITY, RNE, f), QUIET, NV);
    check(|f| sub::<F64, RiscV>(INFINITY, minus_infinity, RNE, f), INFINITY, NONE);
    check(|f| mul::<F64, RiscV>(INFINITY, d(0.0), RNE, f), QUIET, NV);
    check(|f| div::<F64, RiscV>(INFINITY, minus_infinity, RNE, f), QUIET, NV);
    check(|f| div::<F64, RiscV>(d(0.0), d(-0.0), RNE, f), QUIET, NV);
    check(|f| div::<F64, RiscV>(d(1.0), d(-0.0), RNE, f), minus_infinity, DZ);
    check(|f| div::<F64, RiscV>(INFINITY, d(-0.0), RNE, f), minus_infinity, NONE);
    check(|f| div::<F64, RiscV>(d(1.0), minus_infinity, RNE, f), SIGN, NONE);
    check(|f| sqrt::<F64, RiscV>(d(-1.0), RNE, f), QUIET, NV);
    check(|f| sqrt::<F64, RiscV>(minus_infinity, RNE, f), QUIET, NV);
    check(|f| sqrt::<F64, RiscV>(SIGN, RDN, f), SIGN, NONE);
    check(|f| fma::<F64, RiscV>(INFINITY, d(1.0), minus_infinity, RNE, f), QUIET, NV);
    check(|f| fma::<F64, RiscV>(d(1.0), d(1.0), minus_infinity, RNE, f), minus_infinity, NONE);
    check(|f| add::<F64, RiscV>(SIGNALING, d(1.0), RNE, f), QUIET, NV);
    check(|f| add::<F64, RiscV>(QUIET | SIGN | 7, d(1.0), RNE, f), QUIET, NONE);
    check(|f| sqrt::<F64, RiscV>(QUIET | SIGN | 7, RNE, f), QUIET, NONE);
}

/// RISC-V "F" 2.2: minimumNumber and maximumNumber of IEEE 754-2019.
#[test]
fn minimum_and_maximum() {
    for (a, b) in [(d(-0.0), d(0.0)), (d(0.0), d(-0.0))] {
        check(|f| min::<F64, RiscV>(a, b, f), d(-0.0), NONE);
        check(|f| max::<F64, RiscV>(a, b, f), d(0.0), NONE);
    }
    check(|f| min::<F64, RiscV>(d(-2.0), d(-1.0), f), d(-2.0), NONE);
    check(|f| max::<F64, RiscV>(d(-2.0), d(-1.0), f), d(-1.0), NONE);
    check(|f| min::<F64, RiscV>(d(-2.0), INFINITY | SIGN, f), INFINITY | SIGN, NONE);
    for (nan, raised) in [(QUIET | SIGN | 3, NONE), (SIGNALING, NV)] {
        for (a, b) in [(nan, d(1.0)), (d(1.0), nan)] {
            check(|f| min::<F64, RiscV>(a, b, f), d(1.0), raised);
            check(|f| max::<F64, RiscV>(a, b, f), d(1.0), raised);
        }
        check(|f| min::<F64, RiscV>(nan, QUIET | SIGN, f), QUIET, raised);
        check(|f| max::<F64, RiscV>(QUIET | SIGN, nan, f), QUIET, raised);
    }
    // Bits above a binary32 number are not part of it.
    check(|f| min::<F32, RiscV>(!0 << 32 | s(1.0), s(2.0), f), s(1.0), NONE);
}

#[test]
fn comparisons() {
    type Compare = fn(u64, u64, &mut Flags) -> bool;
    let quiet: [Compare; 3] = [eq::<F64>, lt_quiet::<F64>, le_quiet::<F64>];
    let signaling: [Compare; 2] = [lt::<F64>, le::<F64>];
    for (a, b) in [(QUIET, d(1.0)), (d(1.0), QUIET), (QUIET, QUIET)] {
        quiet.iter().for_each(|compare| check(|f| compare(a, b, f), false, NONE));
        signaling.iter().for_each(|compare| check(|f| compare(a, b, f), false, NV));
        check(|f| compare_quiet::<F64>(a, b, f), None, NONE);
        check(|f| compare_signaling::<F64>(a, b, f), None, NV);
    }
    for (a, b) in [(SIGNALING, d(1.0)), (QUIET, SIGNALING)] {
        quiet.iter().for_each(|compare| check(|f| compare(a, b, f), false, NV));
        signaling.iter().for_each(|compare| check(|f| compare(a, b, f), false, NV));
        check(|f| compare_quiet::<F64>(a, b, f), None, NV);
    }
    for (a, b, order) in [
        (d(-0.0), d(0.0), Ordering::Equal),
        (d(0.0), d(-0.0), Ordering::Equal),
        (d(-1.0), d(-2.0), Ordering::Greater),
        (d(-1.0), d(1.0), Ordering::Less),
        (INFINITY | SIGN, INFINITY, Ordering::Less),
        (d(3.0), d(3.0), Ordering::Equal),
    ] {
        check(|f| compare_signaling::<F64>(a, b, f), Some(order), NONE);
        check(|f| eq::<F64>(a, b, f), order.is_eq(), NONE);
        check(|f| lt::<F64>(a, b, f), order.is_lt(), NONE);
        check(|f| le::<F64>(a, b, f), order.is_le(), NONE);
        check(|f| lt_quiet::<F64>(a, b, f), order.is_lt(), NONE);
        check(|f| le_quiet::<F64>(a, b, f), order.is_le(), NONE);
    }
}

/// RISC-V "F": format of result of fclass; every binary16 number falls in one range of encodings.
#[test]
fn classes() {
    for bits in 0..=0xffff_u64 {
        let wanted = match bits {
            0xfc00 => 0,
            0x8400..0xfc00 => 1,
            0x8001..0x8400 => 2,
            0x8000 => 3,
            0 => 4,
            1..0x0400 => 5,
            0x0400..0x7c00 => 6,
            0x7c00 => 7,
            0x7c01..0x7e00 | 0xfc01..0xfe00 => 8,
            _ => 9,
        };
        assert_eq!(classify::<F16>(bits), 1 << wanted, "{bits:#x}");
    }
    assert_eq!(classify::<F64>(SIGNALING), 1 << 8);
    assert_eq!(classify::<F32>(0xff80_0000), 1);
    assert_eq!(classify::<F64>(d(f64::MIN_POSITIVE)), 1 << 6);
    assert_eq!(classify::<F64>(d(f64::MIN_POSITIVE) - 1), 1 << 5);
}

/// RISC-V "F": domains of float-to-integer conversions and behavior for invalid inputs.
#[test]
fn integers_at_their_limits() {
    let (two_31, two_32, two_63, two_64) = (2f64.powi(31), 2f64.powi(32), 2f64.powi(63), 2f64.powi(64));
    for (mode, last_w, rounds_w) in [
        // 2^31 - 1/2 and whether it rounds to 2^31 - 1.
        (RNE, two_31 - 0.5, false),
        (RTZ, two_31 - 0.5, true),
        (RDN, two_31 - 0.5, true),
        (RUP, two_31 - 0.5, false),
        (RMM, two_31 - 0.5, false),
        (RNE, two_31 - 0.75, true),
        (RUP, two_31 - 0.75, false),
        (RMM, two_31 - 0.75, true),
    ] {
        check(|f| to_i32::<F64, RiscV>(d(last_w), mode, f), i32::MAX, if rounds_w { NX } else { NV });
    }
    for (mode, raised) in [(RNE, NX), (RTZ, NX), (RDN, NV), (RUP, NX), (RMM, NV)] {
        check(|f| to_i32::<F64, RiscV>(d(-two_31 - 0.5), mode, f), i32::MIN, raised);
    }
    for mode in Round::ALL {
        check(|f| to_i32::<F64, RiscV>(d(-two_31), mode, f), i32::MIN, NONE);
        check(|f| to_u32::<F64, RiscV>(d(two_32 - 1.0), mode, f), u32::MAX, NONE);
        check(|f| to_u32::<F64, RiscV>(d(two_32), mode, f), u32::MAX, NV);
        check(|f| to_i64::<F64, RiscV>(d(two_63) - 1, mode, f), i64::MAX - 1023, NONE);
        check(|f| to_i64::<F64, RiscV>(d(two_63), mode, f), i64::MAX, NV);
        check(|f| to_i64::<F64, RiscV>(d(-two_63), mode, f), i64::MIN, NONE);
        check(|f| to_i64::<F64, RiscV>(d(-two_63) + 1, mode, f), i64::MIN, NV);
        check(|f| to_u64::<F64, RiscV>(d(two_64) - 1, mode, f), u64::MAX - 2047, NONE);
        check(|f| to_u64::<F64, RiscV>(d(two_64), mode, f), u64::MAX, NV);
        check(|f| to_u64::<F64, RiscV>(d(-1.0), mode, f), 0, NV);
        for nan in [QUIET, QUIET | SIGN, SIGNALING, SIGNALING | SIGN, INFINITY] {
            check(|f| to_i32::<F64, RiscV>(nan, mode, f), i32::MAX, NV);
            check(|f| to_u32::<F64, RiscV>(nan, mode, f), u32::MAX, NV);
            check(|f| to_i64::<F64, RiscV>(nan, mode, f), i64::MAX, NV);
            check(|f| to_u64::<F64, RiscV>(nan, mode, f), u64::MAX, NV);
        }
        check(|f| to_i32::<F64, RiscV>(INFINITY | SIGN, mode, f), i32::MIN, NV);
        check(|f| to_u32::<F64, RiscV>(INFINITY | SIGN, mode, f), 0, NV);
        check(|f| to_i64::<F64, RiscV>(INFINITY | SIGN, mode, f), i64::MIN, NV);
        check(|f| to_u64::<F64, RiscV>(INFINITY | SIGN, mode, f), 0, NV);
    }
    // Intel SDM volume 2, CVTTSD2SI and VCVTTSD2USI: the indefinite integer for all of these.
    check(|f| to_i32::<F64, X86>(d(two_31), RTZ, f), i32::MIN, NV);
    check(|f| to_i64::<F64, X86>(QUIET, RTZ, f), i64::MIN, NV);
    check(|f| to_u32::<F64, X86>(d(-1.0), RTZ, f), u32::MAX, NV);
}

/// RISC-V "F": a negative number is valid for an unsigned format if it rounds to zero.
#[test]
fn negative_fractions_to_unsigned() {
    for (value, rne, rtz, rdn, rup, rmm) in [
        (-0.25, NX, NX, NV, NX, NX),
        (-0.5, NX, NX, NV, NX, NV),
        (-0.75, NV, NX, NV, NX, NV),
        (-1.0, NV, NV, NV, NV, NV),
    ] {
        for (mode, raised) in Round::ALL.into_iter().zip([rne, rtz, rdn, rup, rmm]) {
            check(|f| to_u32::<F64, RiscV>(d(value), mode, f), 0, raised);
            check(|f| to_u64::<F64, RiscV>(d(value), mode, f), 0, raised);
            check(|f| to_u32::<F32, RiscV>(s(value as f32), mode, f), 0, raised);
        }
    }
    check(|f| to_u32::<F64, RiscV>(d(-0.0), RDN, f), 0, NONE);
}

#[test]
fn ties() {
    let table = [
        // value, to even, towards zero, down, up, to the larger magnitude
        (0.5, [0, 0, 0, 1, 1]),
        (1.5, [2, 1, 1, 2, 2]),
        (2.5, [2, 2, 2, 3, 3]),
        (-0.5, [0, 0, -1, 0, -1]),
        (-1.5, [-2, -1, -2, -1, -2]),
        (-2.5, [-2, -2, -3, -2, -3]),
        (0.25, [0, 0, 0, 1, 0]),
        (-2.75, [-3, -2, -3, -2, -3]),
    ];
    for (value, wanted) in table {
        for (mode, wanted) in Round::ALL.into_iter().zip(wanted) {
            check(|f| to_i32::<F64, RiscV>(d(value), mode, f), wanted, NX);
            check(|f| to_i64::<F32, RiscV>(s(value as f32), mode, f), i64::from(wanted), NX);
            let integral = d(f64::from(wanted).copysign(value));
            check(|f| round_to_integral::<F64, RiscV>(d(value), mode, f), integral, NONE);
            check(|f| round_to_integral_exact::<F64, RiscV>(d(value), mode, f), integral, NX);
        }
    }
    // Arithmetic: one and half a unit in the last place is in the middle between an even and an odd number.
    let one = d(1.0);
    let half_ulp = d(2f64.powi(-53));
    for (mode, even, odd) in [(RNE, 0, 2), (RTZ, 0, 1), (RDN, 0, 1), (RUP, 1, 2), (RMM, 1, 2)] {
        check(|f| add::<F64, RiscV>(one, half_ulp, mode, f), one + even, NX);
        check(|f| add::<F64, RiscV>(one + 1, half_ulp, mode, f), one + odd, NX);
    }
    check(|f| sub::<F64, RiscV>(one | SIGN, half_ulp, RMM, f), (one + 1) | SIGN, NX);
    check(|f| from_i64::<F64, RiscV>((1 << 53) + 1, RNE, f), d(2f64.powi(53)), NX);
    check(|f| from_i64::<F64, RiscV>((1 << 53) + 1, RMM, f), d(2f64.powi(53)) + 1, NX);
    check(|f| from_i64::<F64, RiscV>(-(1 << 53) - 1, RDN, f), (d(2f64.powi(53)) + 1) | SIGN, NX);
    check(|f| from_i64::<F64, RiscV>(i64::MIN, RNE, f), d(-(2f64.powi(63))), NONE);
}

/// 754 section 6.3.
#[test]
fn signs_of_zero_sums() {
    for mode in Round::ALL {
        let zero = if mode == RDN { SIGN } else { 0 };
        check(|f| sub::<F64, RiscV>(d(1.5), d(1.5), mode, f), zero, NONE);
        check(|f| add::<F64, RiscV>(d(0.0), d(-0.0), mode, f), zero, NONE);
        check(|f| sub::<F64, RiscV>(d(0.0), d(0.0), mode, f), zero, NONE);
        check(|f| add::<F64, RiscV>(d(-0.0), d(-0.0), mode, f), SIGN, NONE);
        check(|f| sub::<F64, RiscV>(d(-0.0), d(0.0), mode, f), SIGN, NONE);
    }
}

/// Intel SDM volume 1, "Operating on SNaNs and QNaNs", SSE: the first operand if it is a NaN, else the second, quieted.
#[test]
fn x86_propagates_nans() {
    check(|f| add::<F64, X86>(QUIET | 1, QUIET | SIGN | 2, RNE, f), QUIET | 1, NONE);
    check(|f| add::<F64, X86>(QUIET | SIGN | 2, SIGNALING | 4, RNE, f), QUIET | SIGN | 2, NV);
    check(|f| mul::<F64, X86>(SIGNALING | 4, QUIET | 2, RNE, f), QUIET | 5, NV);
    check(|f| sub::<F64, X86>(d(1.0), QUIET | 2, RNE, f), QUIET | 2, NONE);
    check(|f| div::<F64, X86>(d(1.0), SIGNALING, RNE, f), QUIET | 1, NV);
    check(|f| sqrt::<F64, X86>(SIGNALING | SIGN, RNE, f), QUIET | SIGN | 1, NV);
    check(|f| sqrt::<F64, X86>(d(-1.0), RNE, f), QUIET | SIGN, NV);
    check(|f| fma::<F64, X86>(d(1.0), QUIET | 2, QUIET | 3, RNE, f), QUIET | 2, NONE);
    // A conversion keeps the upper bits of the payload.
    check(|f| convert::<F64, F32, X86>(0xfff4_0000_2000_0001, RNE, f), 0xffe0_0001, NV);
    check(|f| convert::<F32, F64, X86>(0x7fa0_0001, RNE, f), 0x7ffc_0000_2000_0000, NV);
    check(|f| convert::<F64, F32, RiscV>(0xfff4_0000_2000_0001, RNE, f), 0x7fc0_0000, NV);
    check(|f| round_to_integral::<F64, X86>(SIGNALING, RNE, f), QUIET | 1, NV);
}

/// Values are the low bits of their word.
#[test]
fn bits_above_a_format_are_ignored_and_cleared() {
    let dirt = !0_u64 << 32;
    type Binary = fn(u64, u64, Round, &mut Flags) -> u64;
    let operations: [(Binary, f32); 8] = [
        (add::<F32, RiscV>, 5.5),
        (soft::add::<F32, RiscV>, 5.5),
        (sub::<F32, RiscV>, 1.5),
        (soft::sub::<F32, RiscV>, 1.5),
        (mul::<F32, RiscV>, 7.0),
        (soft::mul::<F32, RiscV>, 7.0),
        (div::<F32, RiscV>, 1.75),
        (soft::div::<F32, RiscV>, 1.75),
    ];
    for (operation, wanted) in operations {
        check(|f| operation(dirt | s(3.5), dirt | s(2.0), RNE, f), s(wanted), NONE);
        // A number and a zero take the same road as the soft forms.
        let zero = operation(dirt | s(0.0), dirt | s(2.0), RTZ, &mut Flags::default());
        assert_eq!(zero >> 32, 0);
    }
    check(|f| sqrt::<F32, RiscV>(dirt | s(4.0), RNE, f), s(2.0), NONE);
    check(|f| fma::<F32, RiscV>(dirt | s(4.0), dirt | s(2.0), dirt | s(1.0), RNE, f), s(9.0), NONE);
    check(|f| convert::<F32, F64, RiscV>(dirt | s(4.0), RNE, f), d(4.0), NONE);
    check(|f| to_i32::<F32, RiscV>(dirt | s(4.0), RNE, f), 4, NONE);
    check(|f| eq::<F32>(dirt | s(4.0), s(4.0), f), true, NONE);
    assert_eq!(classify::<F32>(dirt | s(4.0)), 1 << 6);
    assert_eq!(F32::split(dirt | s(4.0)), (false, s(4.0)));
}
