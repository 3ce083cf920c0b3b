//! Which instructions a hart has: the rows of its extensions.
//!
//! What an extension would define is reserved on a hart without it ("Reserved" encodings, Unprivileged
//! ISA, "ISA Extension Naming Conventions" and "RISC-V ISA Overview"): here, as in QEMU, illegal.

use crate::rows::Row;
use crate::{Extension, Features, Insn, ROWS, decode16, decode32};

/// The rows that a hart has.
#[derive(Clone, Debug)]
pub struct Legal {
    rows: [bool; Insn::COUNT],
    compressed: bool,
}

/// The extensions that a row needs beside I and the privileged modes; `None` if it names one that
/// [`Extension`] does not know.
fn needs(row: &Row) -> Option<Vec<Extension>> {
    use Extension as X;
    Some(match row.extension {
        // Prefetches are hints: without Zicbop they are the `ori` into x0 that they are carved out of.
        // The privileged modes cannot do without Zicsr (Privileged Architecture, "Introduction").
        "I" | "M-mode" | "S-mode" | "Zicsr" | "Zicbop" => Vec::new(),
        "Zalrsc" | "Zaamo" => vec![X::A],
        // The full form of a row says whether it also needs F or D.
        "Zca" | "Zcd" => vec![X::C],
        // "Zfh": conversions to and from double precision need D.
        "Zfh" if row.name.contains(".d") => vec![X::Zfh, X::D],
        name => vec![crate::features::EXTENSIONS.iter().find(|e| e.1.eq_ignore_ascii_case(name))?.0],
    })
}

impl Legal {
    /// The rows of a hart with these features.
    pub fn of(features: &Features) -> Legal {
        let mut rows = [false; Insn::COUNT];
        for (legal, row) in rows.iter_mut().zip(ROWS) {
            let mode = features.supervisor || !matches!(row.extension, "S-mode" | "Svinval");
            *legal = mode
                && needs(row).is_some_and(|all| all.into_iter().all(|extension| features.has(extension)));
        }
        Legal { rows, compressed: features.has(Extension::C) }
    }

    fn has(&self, insn: &Insn) -> bool {
        self.rows.get(insn.index()).copied().unwrap_or(false)
    }

    /// The instruction that a 16-bit `word` encodes on the hart.
    pub fn decode16(&self, word: u16) -> Option<Insn> {
        decode16(word).filter(|insn| self.compressed && self.has(insn))
    }

    /// The instruction that a 32-bit `word` encodes on the hart.
    pub fn decode32(&self, word: u32) -> Option<Insn> {
        decode32(word).filter(|insn| self.has(insn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(extensions: &[Extension]) -> Legal {
        let extensions = extensions.iter().fold(crate::Extensions::NONE, |set, e| set.with(*e));
        Legal::of(&Features { extensions, ..Features::FULL })
    }

    #[test]
    fn every_row_needs_extensions_that_exist_and_a_full_hart_has_them() {
        let full = Legal::of(&Features::FULL);
        assert!(ROWS.iter().all(|row| needs(row).is_some()));
        assert!(full.compressed && full.rows.iter().all(|&legal| legal));
    }

    #[test]
    fn without_its_extension_a_row_is_illegal() {
        use Extension as X;
        let bare = with(&[]);
        for (word, extension) in [
            (0x02c5_8533, X::M), // mul a0, a1, a2
            (0x00c5_a52f, X::A), // amoadd.w a0, a2, (a1)
            (0x1005_a52f, X::A), // lr.w a0, (a1)
            (0x0000_100f, X::Zifencei),
            (0x20c5_a533, X::Zba),     // sh1add a0, a1, a2
            (0x40c5_f533, X::Zbb),     // andn a0, a1, a2
            (0x28c5_9533, X::Zbs),     // bset a0, a1, a2
            (0x0ac5_9533, X::Zbc),     // clmul a0, a1, a2
            (0x0ec5_d533, X::Zicond),  // czero.eqz a0, a1, a2
            (0x0045_200f, X::Zicboz),  // cbo.zero (a0)
            (0x0015_200f, X::Zicbom),  // cbo.clean (a0)
            (0x1800_0073, X::Svinval), // sfence.w.inval
            (0x00c5_f553, X::F),       // fadd.s fa0, fa1, fa2
            (0x02c5_f553, X::D),       // fadd.d fa0, fa1, fa2
            (0x04c5_f553, X::Zfh),     // fadd.h fa0, fa1, fa2
        ] {
            assert!(decode32(word).is_some(), "{word:#x}");
            assert_eq!(bare.decode32(word), None, "{word:#x}");
            assert_eq!(with(&[extension]).decode32(word), decode32(word), "{word:#x}");
        }
        // addi a0, a1, 1; mret; csrr a0, mstatus; prefetch.r 0(a0)
        for word in [0x0015_8513, 0x3020_0073, 0x3000_2573, 0x0015_6013] {
            assert!(bare.decode32(word).is_some(), "{word:#x}");
        }
    }

    #[test]
    fn supervisor_instructions_need_s_mode() {
        let machine_only = Legal::of(&Features { supervisor: false, ..Features::FULL });
        // sret; sfence.vma; sinval.vma x0, x0
        for word in [0x1020_0073, 0x1200_0073, 0x1600_0073] {
            assert!(decode32(word).is_some(), "{word:#x}");
            assert_eq!(machine_only.decode32(word), None, "{word:#x}");
        }
        // mret; wfi
        assert!(machine_only.decode32(0x3020_0073).is_some() && machine_only.decode32(0x1050_0073).is_some());
    }

    #[test]
    fn compressed_rows_need_c_and_what_their_full_form_needs() {
        use Extension as X;
        let (add, load_double) = (0x9532, 0x2188); // c.add a0, a2; c.fld fa0, 0(a1)
        assert_eq!(with(&[X::M]).decode16(add), None);
        assert!(with(&[X::C]).decode16(add).is_some());
        assert_eq!(with(&[X::C, X::F]).decode16(load_double), None);
        assert!(with(&[X::C, X::F, X::D]).decode16(load_double).is_some());
    }

    #[test]
    fn conversions_between_half_and_double_need_both() {
        use Extension as X;
        let to_double = 0x4225_8553; // fcvt.d.h fa0, fa1
        assert!(decode32(to_double).is_some());
        assert_eq!(with(&[X::F, X::Zfh]).decode32(to_double), None);
        assert!(with(&[X::F, X::D, X::Zfh]).decode32(to_double).is_some());
    }
}
