//! Values of the soft forms against the arithmetic of the host, to nearest even.

mod operands;

use isa_float::{F32, F64, Flags, RiscV, Round, canonical_nan, convert, soft};
use operands::Generator;

const MODE: Round = Round::NearestEven;

macro_rules! against_host {
    ($name:ident, $format:ty, $float:ty, $bits:ty, $exponent:expr, $fraction:expr, $seed:expr) => {
        #[test]
        fn $name() {
            let mut generator = Generator::new($seed);
            let same = |name: &str, got: u64, host: $float| {
                let wanted =
                    if host.is_nan() { canonical_nan::<$format>() } else { u64::from(host.to_bits()) };
                assert_eq!(got, wanted, "{name}");
            };
            for _ in 0..300_000 {
                let [a, b, c] = [0; 3].map(|_| generator.operand($exponent, $fraction));
                let [x, y, z] = [a, b, c].map(|bits| <$float>::from_bits(bits as $bits));
                let context = format!("{a:#x} {b:#x} {c:#x}");
                let flags = &mut Flags::default();
                same(&context, soft::add::<$format, RiscV>(a, b, MODE, flags), x + y);
                same(&context, soft::sub::<$format, RiscV>(a, b, MODE, flags), x - y);
                same(&context, soft::mul::<$format, RiscV>(a, b, MODE, flags), x * y);
                same(&context, soft::div::<$format, RiscV>(a, b, MODE, flags), x / y);
                same(&context, soft::sqrt::<$format, RiscV>(a, MODE, flags), x.sqrt());
                same(&context, soft::fma::<$format, RiscV>(a, b, c, MODE, flags), x.mul_add(y, z));
                // Rust's casts of numbers to integers saturate, and are towards zero.
                if !x.is_nan() {
                    let mode = Round::TowardZero;
                    assert_eq!(isa_float::to_i32::<$format, RiscV>(a, mode, flags), x as i32, "{context}");
                    assert_eq!(isa_float::to_u32::<$format, RiscV>(a, mode, flags), x as u32, "{context}");
                    assert_eq!(isa_float::to_i64::<$format, RiscV>(a, mode, flags), x as i64, "{context}");
                    assert_eq!(isa_float::to_u64::<$format, RiscV>(a, mode, flags), x as u64, "{context}");
                }
                let integer = generator.next() >> generator.below(64);
                let signed = integer as i64;
                same(&context, isa_float::from_i64::<$format, RiscV>(signed, MODE, flags), signed as $float);
                same(
                    &context,
                    isa_float::from_u64::<$format, RiscV>(integer, MODE, flags),
                    integer as $float,
                );
                assert_eq!(isa_float::eq::<$format>(a, b, flags), x == y, "{context}");
                assert_eq!(isa_float::lt::<$format>(a, b, flags), x < y, "{context}");
                assert_eq!(isa_float::le::<$format>(a, b, flags), x <= y, "{context}");
                assert_eq!(isa_float::lt_quiet::<$format>(a, b, flags), x < y, "{context}");
                assert_eq!(isa_float::le_quiet::<$format>(a, b, flags), x <= y, "{context}");
                assert_eq!(isa_float::compare_quiet::<$format>(a, b, flags), x.partial_cmp(&y), "{context}");
                assert_eq!(isa_float::is_nan::<$format>(a), x.is_nan(), "{context}");
            }
        }
    };
}

against_host!(single, F32, f32, u32, 8, 23, 41);
against_host!(double, F64, f64, u64, 11, 52, 42);

#[test]
fn conversions() {
    let mut generator = Generator::new(43);
    for _ in 0..300_000 {
        let flags = &mut Flags::default();
        let wide = generator.operand(11, 52);
        if !f64::from_bits(wide).is_nan() {
            let host = (f64::from_bits(wide) as f32).to_bits();
            assert_eq!(convert::<F64, F32, RiscV>(wide, MODE, flags), u64::from(host), "{wide:#x}");
        }
        let narrow = generator.operand(8, 23);
        if !f32::from_bits(narrow as u32).is_nan() {
            let host = f64::from(f32::from_bits(narrow as u32)).to_bits();
            assert_eq!(convert::<F32, F64, RiscV>(narrow, MODE, flags), host, "{narrow:#x}");
        }
    }
}
