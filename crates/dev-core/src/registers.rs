//! `registers!`: a datasheet's register map as a table, and what a row of it says.

/// One field of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, as in the datasheet.
    pub name: &'static str,
    /// Highest bit.
    pub high: u32,
    /// Lowest bit.
    pub low: u32,
}

/// One row of a register map, for inspection and for fuzz dictionaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Offset of the (first) register from the base address.
    pub offset: u64,
    /// Name, as in the datasheet.
    pub name: &'static str,
    /// `RO`, `WO` or `RW`.
    pub access: &'static str,
    /// How many there are.
    pub count: u64,
    /// Bytes from one to the next.
    pub stride: u64,
    /// Fields; empty if the register is one number.
    pub fields: &'static [Field],
}

/// Declares a register map: offsets, names, access and fields in the datasheet's words.
///
/// A row `0x4000 Name[count; stride] RW {}` is an array of registers. Each row also makes a module
/// of the register's name: a function per field that extracts it, `FIELDS` with all their bits, and
/// `mask` with each one's.
///
/// ```
/// dev_core::registers! {
///     /// Offsets from the base address.
///     pub enum Reg {
///         0x00 TxData RW { data: 7..0, full: 31..31 }
///         0x08 TxCtrl RW { enable: 0..0, watermark: 18..16 }
///         0x100 Compare[4; 8] RW {}
///     }
/// }
/// assert_eq!(Reg::at(8), Some(Reg::TxCtrl));
/// assert_eq!(TxCtrl::watermark(0x5_0000), 5);
/// assert_eq!(TxCtrl::FIELDS, 0x7_0001);
/// assert_eq!(TxData::mask::full, 0x8000_0000);
/// assert_eq!(Reg::nearest(0x11c), Some((Reg::Compare, 3, 4)));
/// assert_eq!(Reg::ALL[2].count, 4);
/// ```
#[macro_export]
macro_rules! registers {
    (@or $default:expr) => { $default };
    (@or $default:expr, $value:expr) => { $value };
    ($(#[$m:meta])* $vis:vis enum $Name:ident {
        $( $(#[$rm:meta])* $off:literal $Reg:ident $([$count:literal; $stride:literal])? $acc:ident
            { $($f:ident: $hi:literal..$lo:literal),* $(,)? } )*
    }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $Name { $( $(#[$rm])* #[doc = concat!("Offset ", stringify!($off), ", ", stringify!($acc))] $Reg = $off ),* }
        #[allow(dead_code, reason = "a device uses `at` or `nearest`, and inspection uses `ALL`")]
        impl $Name {
            /// Every row of the map.
            pub const ALL: &'static [$crate::Register] = &[ $( $crate::Register {
                offset: $off,
                name: stringify!($Reg),
                access: stringify!($acc),
                count: $crate::registers!(@or 1 $(, $count)?),
                stride: $crate::registers!(@or u64::MAX $(, $stride)?),
                fields: &[ $( $crate::Field { name: stringify!($f), high: $hi, low: $lo } ),* ],
            } ),* ];
            /// The register (or first of an array) at exactly this offset.
            pub fn at(offset: u64) -> Option<Self> {
                match offset { $( $off => Some(Self::$Reg), )* _ => None }
            }
            /// The register that starts nearest at or before `offset`: which row, which one of an
            /// array, and how many bytes before `offset` it starts. The caller knows how wide it is.
            pub fn nearest(offset: u64) -> Option<(Self, u64, u64)> {
                let mut best: Option<(Self, u64, u64)> = None;
                $( if let Some(distance) = offset.checked_sub($off) {
                    let stride: u64 = $crate::registers!(@or u64::MAX $(, $stride)?);
                    let count: u64 = $crate::registers!(@or 1 $(, $count)?);
                    let (index, byte) = (distance / stride, distance % stride);
                    if index < count && best.is_none_or(|(_, _, b)| byte < b) {
                        best = Some((Self::$Reg, index, byte));
                    }
                } )*
                best
            }
        }
        $(
            #[doc = concat!("Fields of ", stringify!($Reg))]
            #[allow(non_snake_case, dead_code, reason = "spelled as in the datasheet; not every device looks at every field")]
            $vis mod $Reg {
                /// All bits that a field claims.
                pub const FIELDS: u64 = 0 $( | mask::$f )*;
                /// The bits of each field.
                pub mod mask {
                    $(
                        #[doc = concat!("Bits ", stringify!($hi), " to ", stringify!($lo))]
                        #[allow(non_upper_case_globals, reason = "fields are spelled as in the datasheet")]
                        pub const $f: u64 = (u64::MAX >> (63 - ($hi - $lo))) << $lo;
                    )*
                }
                $(
                    #[doc = concat!("Bits ", stringify!($hi), " to ", stringify!($lo))]
                    pub fn $f(word: u64) -> u64 { (word & mask::$f) >> $lo }
                )*
            }
        )*
    };
}
