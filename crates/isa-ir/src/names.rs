//! Words of the text form for enumerations: one list each, used in both directions.

use isa_core::{AmoOp, Bin, Flag, FlagKind, Order, Un, Width};

macro_rules! names {
    ($(#[$doc:meta])* $Enum:ident, $to:ident, $from:ident { $($Variant:ident $name:literal)* }) => {
        $(#[$doc])*
        pub(crate) const fn $to(v: $Enum) -> &'static str {
            match v { $($Enum::$Variant => $name,)* }
        }

        /// The other way.
        pub(crate) fn $from(name: &str) -> Option<$Enum> {
            match name { $($name => Some($Enum::$Variant),)* _ => None }
        }
    };
}

names! {
    /// The word for an operation on two values.
    Bin, bin_name, bin_named {
        Add "add" Sub "sub" Mul "mul" MulHighS "mul_high_s" MulHighU "mul_high_u" MulHighSU "mul_high_su"
        DivS "div_s" DivU "div_u" RemS "rem_s" RemU "rem_u" And "and" Or "or" Xor "xor" Shl "shl"
        ShrU "shr_u" ShrS "shr_s" RotR "rotr" Eq "eq" Ne "ne" LtS "lt_s" LtU "lt_u" GeS "ge_s" GeU "ge_u"
        ClMul "clmul" ClMulHigh "clmul_high"
    }
}

names! {
    /// The word for an operation on one value.
    Un, un_name, un_named {
        Not "not" Sext8 "sext8" Sext16 "sext16" Sext32 "sext32" Zext8 "zext8" Zext16 "zext16"
        Zext32 "zext32" Clz "clz" Ctz "ctz" Popcount "popcount" ByteSwap "byte_swap"
        OrCombine "or_combine" BitReverse "bit_reverse"
    }
}

names! {
    /// The word for a width.
    Width, width_name, width_named { B1 "b1" B2 "b2" B4 "b4" B8 "b8" }
}

names! {
    /// The word for an ordering.
    Order, order_name, order_named {
        Plain "plain" Acquire "acquire" Release "release" Both "both" Tso "tso"
    }
}

names! {
    /// The word for an atomic operation.
    AmoOp, amo_name, amo_named {
        Swap "swap" Add "add" Xor "xor" And "and" Or "or" Min "min" Max "max" MinU "min_u" MaxU "max_u"
        SubFrom "sub_from"
    }
}

names! {
    /// The word for what leaves flags.
    FlagKind, kind_name, kind_named { Bits "bits" Add "add" Sub "sub" Logic "logic" Inc "inc" Dec "dec" Shl "shl" Shr "shr"
        Sar "sar" Result "result" }
}

names! {
    /// The word for a flag.
    Flag, flag_name, flag_named {
        Carry "carry" Parity "parity" Adjust "adjust" Zero "zero" Sign "sign" Overflow "overflow"
    }
}
