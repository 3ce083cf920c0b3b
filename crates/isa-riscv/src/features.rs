//! What one hart has: extensions and the sizes that the specification leaves open.

/// An extension that changes what a hart does or which CSRs it has.
///
/// The names are those of the ISA string; the numbers are bits of [`Extensions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Extension {
    M,
    A,
    F,
    D,
    C,
    /// The name for Zba, Zbb and Zbs together: only sets `misa.B`.
    B,
    Zicsr,
    Zifencei,
    Zicntr,
    Zihpm,
    Zba,
    Zbb,
    Zbc,
    Zbs,
    Zicbom,
    Zicboz,
    Zicbop,
    Zicond,
    Zfh,
    Svade,
    Svadu,
    Svnapot,
    Svpbmt,
    Svinval,
    Sstc,
}

use Extension as X;

/// Every [`Extension`] with its name in an ISA string, in the order in which such a string lists them
/// (unprivileged manual, "ISA Extension Naming Conventions").
pub const EXTENSIONS: [(Extension, &str); 25] = [
    (X::M, "m"),
    (X::A, "a"),
    (X::F, "f"),
    (X::D, "d"),
    (X::C, "c"),
    (X::B, "b"),
    (X::Zicbom, "zicbom"),
    (X::Zicbop, "zicbop"),
    (X::Zicboz, "zicboz"),
    (X::Zicntr, "zicntr"),
    (X::Zicond, "zicond"),
    (X::Zicsr, "zicsr"),
    (X::Zifencei, "zifencei"),
    (X::Zihpm, "zihpm"),
    (X::Zfh, "zfh"),
    (X::Zba, "zba"),
    (X::Zbb, "zbb"),
    (X::Zbc, "zbc"),
    (X::Zbs, "zbs"),
    (X::Sstc, "sstc"),
    (X::Svade, "svade"),
    (X::Svadu, "svadu"),
    (X::Svinval, "svinval"),
    (X::Svnapot, "svnapot"),
    (X::Svpbmt, "svpbmt"),
];

/// A set of [`Extension`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Extensions(u64);

impl Extensions {
    /// No extension: RV64I with M, S and U mode.
    pub const NONE: Extensions = Extensions(0);

    /// This set and `extension`.
    #[must_use]
    pub const fn with(self, extension: Extension) -> Extensions {
        Extensions(self.0 | 1 << extension as u8)
    }

    /// This set less `extension`.
    #[must_use]
    pub const fn without(self, extension: Extension) -> Extensions {
        Extensions(self.0 & !(1 << extension as u8))
    }

    /// Whether `extension` is in the set.
    #[inline(always)]
    pub const fn has(self, extension: Extension) -> bool {
        self.0 >> extension as u8 & 1 != 0
    }

    /// The members, in the order of [`EXTENSIONS`], with their names.
    pub fn iter(self) -> impl Iterator<Item = (Extension, &'static str)> {
        EXTENSIONS.into_iter().filter(move |&(extension, _)| self.has(extension))
    }
}

/// The largest translation mode that `satp.MODE` takes; every smaller one is there too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SatpMode {
    /// No translation.
    Bare = 0,
    /// Three levels, 39-bit virtual addresses.
    Sv39 = 8,
    /// Four levels, 48-bit virtual addresses.
    Sv48 = 9,
    /// Five levels, 57-bit virtual addresses.
    Sv57 = 10,
}

/// What a hart has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    /// Extensions. All harts have I, M-mode and U-mode.
    pub extensions: Extensions,
    /// S-mode is there. Without it neither are its CSRs, its instructions, delegation and translation.
    pub supervisor: bool,
    /// The CSR `time` is there, on a hart with Zicntr. A hart without it leaves Zicntr's reads of `time` to
    /// firmware, which looks at `mtime` (Privileged Architecture, "Hardware Performance Monitor").
    pub time_csr: bool,
    /// The largest `satp.MODE`.
    pub satp_mode: SatpMode,
    /// Address-space identifier bits of `satp` (0 to 16; more counts as 16).
    pub asid_bits: u8,
    /// PMP entries that exist (0 to 64; more counts as 64).
    pub pmp_entries: u8,
    /// PMP entries whose CSRs can be accessed; those without an entry are read-only 0. Accesses to
    /// the CSRs above are illegal instructions.
    pub pmp_csrs: u8,
    /// Bits that are writable in `mcounteren` and `scounteren`, and, but for bit 1, in
    /// `mcountinhibit`.
    pub counter_mask: u32,
    /// `mvendorid`.
    pub mvendorid: u32,
    /// `marchid`.
    pub marchid: u64,
    /// `mimpid`.
    pub mimpid: u64,
}

impl Features {
    /// All that this crate implements.
    pub const FULL: Features = Features {
        extensions: {
            let mut set = Extensions::NONE;
            let mut bit = 0;
            while bit < EXTENSIONS.len() {
                set.0 |= 1 << bit;
                bit += 1;
            }
            // QEMU's `rv64` does not set misa.B, and the manual allows that.
            set.without(X::B)
        },
        supervisor: true,
        time_csr: true,
        satp_mode: SatpMode::Sv57,
        asid_bits: 16,
        pmp_entries: 16,
        pmp_csrs: 64,
        counter_mask: 0x7_ffff,
        mvendorid: 0,
        marchid: 0,
        mimpid: 0,
    };

    /// RV64GC with Sv39, 16 PMP entries and no later privileged extension.
    pub const RV64GC: Features = Features {
        extensions: Extensions::NONE
            .with(X::M)
            .with(X::A)
            .with(X::F)
            .with(X::D)
            .with(X::C)
            .with(X::Zicsr)
            .with(X::Zifencei)
            .with(X::Zicntr)
            .with(X::Zihpm)
            .with(X::Svade),
        satp_mode: SatpMode::Sv39,
        ..Features::FULL
    };

    /// Whether the hart has `extension`.
    #[inline(always)]
    pub const fn has(&self, extension: Extension) -> bool {
        self.extensions.has(extension)
    }

    /// The first extension whose requirement is missing, with that requirement.
    pub fn missing(&self) -> Option<(Extension, Extension)> {
        const NEEDS: [(Extension, Extension); 11] = [
            (X::F, X::Zicsr),
            (X::D, X::F),
            (X::Zfh, X::F),
            (X::Zicntr, X::Zicsr),
            (X::Zihpm, X::Zicntr),
            (X::B, X::Zba),
            (X::B, X::Zbb),
            (X::B, X::Zbs),
            (X::Sstc, X::Zicsr),
            (X::Svadu, X::Zicsr),
            (X::Svpbmt, X::Zicsr),
        ];
        NEEDS.into_iter().find(|&(extension, need)| self.has(extension) && !self.has(need))
    }

    /// `misa`: MXL 2 (64-bit) and a bit for each single-letter extension, S if it is there, and U (Privileged
    /// Architecture, "Machine ISA (misa) Register"). Read-only here.
    pub const fn misa(&self) -> u64 {
        const LETTERS: [(Extension, u8); 6] =
            [(X::A, b'a'), (X::B, b'b'), (X::C, b'c'), (X::D, b'd'), (X::F, b'f'), (X::M, b'm')];
        let mut misa = 2 << 62 | 1 << (b'i' - b'a') | 1 << (b'u' - b'a');
        if self.supervisor {
            misa |= 1 << (b's' - b'a');
        }
        let mut rest: &[(Extension, u8)] = &LETTERS;
        while let [(extension, letter), tail @ ..] = rest {
            if self.has(*extension) {
                misa |= 1 << (*letter - b'a');
            }
            rest = tail;
        }
        misa
    }
}

impl Default for Features {
    fn default() -> Self {
        Features::FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misa_has_mxl_2_and_the_letters_acdfimsu() {
        assert_eq!(Features::FULL.misa(), 0x8000_0000_0014_112d);
        let no_fp =
            Features { extensions: Features::FULL.extensions.without(X::F).without(X::D), ..Features::FULL };
        assert_eq!(no_fp.misa(), 0x8000_0000_0014_1105);
        let no_s = Features { supervisor: false, ..Features::FULL };
        assert_eq!(no_s.misa(), 0x8000_0000_0010_112d);
    }

    #[test]
    fn d_needs_f() {
        assert_eq!(Features::FULL.missing(), None);
        let odd = Features {
            extensions: Features::FULL.extensions.without(X::F).without(X::Zfh),
            ..Features::FULL
        };
        assert_eq!(odd.missing(), Some((X::D, X::F)));
    }

    #[test]
    fn every_extension_is_listed_once() {
        let mut all = Extensions::NONE;
        for (extension, _) in EXTENSIONS {
            assert!(!all.has(extension));
            all = all.with(extension);
        }
        assert_eq!(all.iter().count(), EXTENSIONS.len());
        assert_eq!(all.without(X::B), Features::FULL.extensions);
    }
}
