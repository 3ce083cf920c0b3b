//! The flags that the manual leaves undefined after an instruction (SDM volume 2, each under its mnemonic, "Flags
//! Affected"): they are not compared.

use isa_core::Width;
use isa_x86::{Insn, Meaning, Operand, rflags};

use rflags::{AF, CF, OF, PF, SF, ZF};

/// Which status flags are undefined after `insn`, which began with these general registers.
pub fn flags(meaning: Meaning, insn: &Insn, before: &[u64; 16]) -> u64 {
    use Meaning as M;
    let c = count(insn, before);
    let size = 8 * insn.width.bytes();
    match meaning {
        M::And | M::Or | M::Xor | M::Test => AF,
        M::Shl | M::Sal | M::Shr | M::Sar => match c {
            0 => 0,
            1 => AF,
            c if c >= size && meaning != M::Sar => AF | OF | CF,
            _ => AF | OF,
        },
        M::Rol | M::Ror | M::Rcl | M::Rcr => {
            if c <= 1 {
                0
            } else {
                OF
            }
        }
        M::Shld | M::Shrd => match c {
            0 => 0,
            1 => AF,
            c if c > size => rflags::STATUS,
            _ => AF | OF,
        },
        M::Mul | M::Imul => SF | ZF | AF | PF,
        M::Div | M::Idiv => rflags::STATUS,
        M::Bt | M::Bts | M::Btr | M::Btc => OF | SF | AF | PF,
        M::Bsf | M::Bsr => CF | OF | SF | AF | PF,
        M::Tzcnt | M::Lzcnt => OF | SF | AF | PF,
        M::Andn | M::Blsi | M::Blsmsk | M::Blsr | M::Bzhi => AF | PF,
        M::Bextr => SF | AF | PF,
        _ => 0,
    }
}

/// The masked count of a shift or rotation: an immediate, or CL.
pub fn count(insn: &Insn, before: &[u64; 16]) -> u64 {
    let by = insn.operands.iter().rev().find(|operand| **operand != Operand::None);
    let count = if by == Some(&Operand::Imm) { insn.imm } else { before[1] };
    count & if insn.width == Width::B8 { 63 } else { 31 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Template;
    use crate::random::Random;
    use iced_x86::{Decoder, DecoderOptions, RflagsBits};

    /// The decoder library has the manual's flags in a table of its own.
    #[test]
    fn the_decoder_says_the_same() {
        let places = [
            (RflagsBits::OF, OF),
            (RflagsBits::SF, SF),
            (RflagsBits::ZF, ZF),
            (RflagsBits::AF, AF),
            (RflagsBits::CF, CF),
            (RflagsBits::PF, PF),
        ];
        let mut random = Random::new(1, 0);
        let (mut rows, mut differ) = (0, Vec::new());
        for row in crate::rows::of_user_code() {
            let Some(encoded) = Template::new(row).instruction(&mut random) else { continue };
            let (meaning, insn) = encoded.insn;
            use Meaning as M;
            // It knows the count only if it is an immediate, and does not look at the width.
            if matches!(
                meaning,
                M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
            ) {
                continue;
            }
            let theirs =
                Decoder::with_ip(64, &encoded.bytes, 0, DecoderOptions::NONE).decode().rflags_undefined();
            let theirs = places.iter().filter(|(bit, _)| theirs & bit != 0).fold(0, |v, (_, flag)| v | flag);
            rows += 1;
            if theirs != flags(meaning, &insn, &[0; 16]) {
                differ.push((meaning, theirs, flags(meaning, &insn, &[0; 16])));
            }
        }
        differ.dedup();
        assert!(rows > 500 && differ.is_empty(), "{rows} {differ:x?}");
    }
}
