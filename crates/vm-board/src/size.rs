//! Byte counts as people write them.

use std::fmt;

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;

const UNITS: [(u64, &str, &str); 4] =
    [(1 << 40, "TiB", "T"), (GIB, "GiB", "G"), (MIB, "MiB", "M"), (KIB, "KiB", "K")];

/// A number of bytes that prints in the largest unit in which it is at least one: exactly where it is whole, else
/// with one decimal place, rounded up so that a size never looks as if it fitted where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size(bytes) = *self;
        let tenths = |unit: u64| (u128::from(bytes) * 10).div_ceil(u128::from(unit));
        // Once it is rounded, in the unit below: nobody writes 1024.0 KiB.
        match UNITS.iter().find(|(unit, ..)| tenths(unit / KIB) >= 10 * u128::from(KIB)) {
            None if bytes == 1 => f.write_str("1 byte"),
            None => write!(f, "{bytes} bytes"),
            Some((unit, name, _)) if bytes % unit == 0 => write!(f, "{} {name}", bytes / unit),
            Some((unit, name, _)) => write!(f, "{}.{} {name}", tenths(*unit) / 10, tenths(*unit) % 10),
        }
    }
}

/// A number of bytes in the form that `--memory` takes, such as `512M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument(pub u64);

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Argument(bytes) = *self;
        match UNITS.iter().find(|(unit, ..)| bytes != 0 && bytes % unit == 0) {
            None => write!(f, "{bytes}"),
            Some((unit, _, suffix)) => write!(f, "{}{suffix}", bytes / unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_as_people_write_them() {
        let print = |bytes| Size(bytes).to_string();
        assert_eq!(print(0), "0 bytes");
        assert_eq!(print(1), "1 byte");
        assert_eq!(print(3), "3 bytes");
        assert_eq!(print(KIB), "1 KiB");
        assert_eq!(print(300 * MIB), "300 MiB");
        assert_eq!(print(2 * GIB), "2 GiB");
        assert_eq!(print(KIB - 1), "1023 bytes");
        assert_eq!(print(1023 * KIB), "1023 KiB");
        assert_eq!(print(MIB - 1), "1.0 MiB");
        assert_eq!(print(MIB - KIB / 8), "1023.9 KiB");
        assert_eq!(print(128 * MIB + 1), "128.1 MiB");
        assert_eq!(print(1536 * KIB), "1.5 MiB");
        assert_eq!(print(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn arguments_are_exact() {
        assert_eq!(Argument(512 * MIB).to_string(), "512M");
        assert_eq!(Argument(GIB).to_string(), "1G");
        assert_eq!(Argument(1536 * MIB).to_string(), "1536M");
        assert_eq!(Argument(4097).to_string(), "4097");
    }
}
