//! The rows: which mnemonics have a meaning, and their Popek-Goldberg attributes.
//!
//! A row is one entry of the decoder's table (an `iced_x86::Code`: mnemonic with operand forms and encoding). Rows of
//! one mnemonic share one meaning.

use iced_x86::{Code, CpuidFeature, Mnemonic};

/// Calls macro `$go` with all pairs `(Mnemonic, meaning)`.
#[macro_export]
macro_rules! for_each_meaning {
    ($go:ident) => {
        $go! {
            // integer and logic
            (Add, add)
            // system
            (Hlt, hlt)
        }
    };
}

macro_rules! meanings {
    ($( ($Mnemonic:ident, $meaning:ident) )*) => {
        /// A mnemonic that has a meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the names are the manual's")]
        pub enum Meaning { $( $Mnemonic, )* }

        impl Meaning {
            /// All of them.
            pub const ALL: &[Meaning] = &[ $( Meaning::$Mnemonic, )* ];

            /// The meaning of a mnemonic, if it has one.
            pub fn of_mnemonic(mnemonic: Mnemonic) -> Option<Meaning> {
                match mnemonic {
                    $( Mnemonic::$Mnemonic => Some(Meaning::$Mnemonic), )*
                    _ => None,
                }
            }
        }

        /// Runs the meaning of `insn`.
        ///
        /// # Errors
        /// Why it stopped.
        pub fn execute<M: $crate::X86Machine>(m: &mut M, meaning: Meaning, insn: &$crate::Insn) -> $crate::sem::Done<M> {
            match meaning { $( Meaning::$Mnemonic => $crate::sem::$meaning(m, insn), )* }
        }
    };
}

for_each_meaning!(meanings);

impl Meaning {
    /// The meaning of a row: none where it needs a feature that the processor does not have (SSE, AVX, and so on; some
    /// of their mnemonics are also those of integer instructions).
    pub fn of(code: Code) -> Option<Meaning> {
        let has = code.cpuid_features().iter().all(|feature| FEATURES.contains(feature));
        Meaning::of_mnemonic(code.mnemonic()).filter(|_| has)
    }
}

/// What the processor has, in the decoder's terms.
pub const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
];
