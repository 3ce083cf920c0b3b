//! Configuration registers as tables in the specifications' words: what a table says, and the macro that declares one.
//!
//! This is not `dev_core::registers!`, because here each field has its own access and value after reset, registers are
//! one, two or four bytes wide, and a table is put at any offset (capabilities have no fixed place).

/// What software can do to a field (PCI Express Base Specification, 7.4 "Configuration Register Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read-only: the value is fixed when the function is made (`RO` and `HwInit`).
    RO,
    /// Read-write.
    RW,
    /// Read-only status, write-1-to-clear: the function sets it.
    RW1C,
    /// Read-only for software; the function changes it.
    Status,
}

/// A field of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, as in the specification.
    pub name: &'static str,
    /// Highest bit.
    pub high: u32,
    /// Lowest bit.
    pub low: u32,
    /// What software can do to it.
    pub access: Access,
    /// Value after reset; what depends on the device is preset when the function is made.
    pub reset: u32,
}

/// A register: one row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Offset in bytes from where the table is put.
    pub offset: u16,
    /// Bytes: 1, 2 or 4.
    pub width: u8,
    /// Name, as in the specification.
    pub name: &'static str,
    /// Fields; what none claims is reserved: it reads as zero and ignores writes.
    pub fields: &'static [Field],
}

/// Where a field is: bits from the byte at `offset` on, which begins a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Offset of the register in bytes.
    pub offset: u16,
    /// Highest bit.
    pub high: u32,
    /// Lowest bit.
    pub low: u32,
}

impl Bits {
    /// The same field of a table that is put at `base`.
    pub const fn at(self, base: u16) -> Bits {
        Bits { offset: self.offset + base, ..self }
    }

    /// The bits in the register.
    pub const fn mask(self) -> u32 {
        (u32::MAX >> (31 - (self.high - self.low))) << self.low
    }
}

/// Declares tables of configuration registers. Each row also makes a module of the register's name with a [`Bits`] for
/// each field and `WHOLE` for all of the register.
macro_rules! config_registers {
    (@or $default:expr) => { $default };
    (@or $default:expr, $value:expr) => { $value };
    ($(#[$m:meta])* $vis:vis const $TABLE:ident = {
        $( $(#[$rm:meta])* $off:literal $width:literal $Reg:ident
            { $($f:ident: $hi:literal..$lo:literal $acc:ident $(= $reset:literal)?),* $(,)? } )*
    }) => {
        $(#[$m])*
        $vis const $TABLE: &[$crate::fields::Register] = &[ $( $crate::fields::Register {
            offset: $off,
            width: $width,
            name: stringify!($Reg),
            fields: &[ $( $crate::fields::Field {
                name: stringify!($f),
                high: $hi,
                low: $lo,
                access: $crate::fields::Access::$acc,
                reset: config_registers!(@or 0 $(, $reset)?),
            } ),* ],
        } ),* ];
        $(
            $(#[$rm])*
            #[doc = concat!("Offset ", stringify!($off), ", ", stringify!($width), " bytes.")]
            #[allow(non_snake_case, non_upper_case_globals, dead_code, reason = "spelled as in the specification; not every field is looked at")]
            $vis mod $Reg {
                use $crate::fields::Bits;
                /// All of the register.
                pub const WHOLE: Bits = Bits { offset: $off, high: 8 * $width - 1, low: 0 };
                $(
                    #[doc = concat!("Bits ", stringify!($hi), " to ", stringify!($lo), ", ", stringify!($acc))]
                    pub const $f: Bits = Bits { offset: $off, high: $hi, low: $lo };
                )*
            }
        )*
    };
}
pub(crate) use config_registers;
