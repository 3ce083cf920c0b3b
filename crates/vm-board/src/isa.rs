//! The instruction set that a board's harts have, as one list of extension names, and the two properties that
//! announce it in a devicetree.
//!
//! Sources: RISC-V Unprivileged ISA, appendix "ISA Extension Naming Conventions" (names and canonical order); Linux
//! devicetree bindings `riscv/extensions.yaml` (`riscv,isa`, `riscv,isa-base`, `riscv,isa-extensions`) and
//! `riscv/cpus.yaml` (`mmu-type`).

use std::fmt;
use thiserror::Error;

/// What the hart implements when nobody asks for less: RV64GC, the bit-manipulation, cache-block, conditional and
/// half-precision extensions, and the supervisor extensions that Linux uses.
pub const DEFAULT_EXTENSIONS: &[&str] = &[
    "i", "m", "a", "f", "d", "c", "zicbom", "zicbop", "zicboz", "zicntr", "zicond", "zicsr", "zifencei",
    "zihpm", "zfh", "zfhmin", "zba", "zbb", "zbc", "zbs", "sstc", "svadu", "svinval", "svnapot", "svpbmt",
];

/// Single-letter extensions in canonical order, after the base.
const LETTERS: &str = "mafdqcbvph";
/// The order of categories among Z extensions, which the letter after the Z names.
const CATEGORIES: &str = "imafdqlcbkjtvph";
/// Prefixes of the remaining groups, in canonical order.
const PREFIXES: [&str; 6] = ["su", "ss", "sv", "sh", "sm", "x"];
/// What "g" stands for.
const GENERAL: &[&str] = &["i", "m", "a", "f", "d", "zicsr", "zifencei"];

/// Why a list of extensions is not an instruction set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsaError {
    /// The string does not start with the base.
    #[error("the instruction set {0:?} does not start with \"rv64\"; try rv64gc")]
    NotRv64(String),
    /// The base extension is absent.
    #[error("an instruction set needs the base extension \"i\"")]
    NoBase,
    /// A name that the naming conventions do not allow.
    #[error("{0:?} is not the name of an extension; names are lower case, such as \"c\" or \"zba\"")]
    BadName(String),
    /// The same name twice.
    #[error("the extension {0:?} is listed twice")]
    Duplicate(String),
}

/// A set of extension names in canonical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isa {
    extensions: Vec<String>,
}

impl Default for Isa {
    /// [`DEFAULT_EXTENSIONS`].
    fn default() -> Isa {
        Isa { extensions: DEFAULT_EXTENSIONS.iter().map(|&name| name.to_owned()).collect() }
    }
}

impl Isa {
    /// The set of the given names, in any order, "i" among them.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<Isa, IsaError> {
        let mut extensions: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            let name = name.as_ref();
            if rank(name).is_none() {
                return Err(IsaError::BadName(name.to_owned()));
            }
            if extensions.iter().any(|known| known == name) {
                return Err(IsaError::Duplicate(name.to_owned()));
            }
            extensions.push(name.to_owned());
        }
        if !extensions.iter().any(|name| name == "i") {
            return Err(IsaError::NoBase);
        }
        extensions.sort_by(|a, b| rank(a).cmp(&rank(b)));
        Ok(Isa { extensions })
    }

    /// Reads an ISA string such as `rv64gc_zba_zbb`; "g" stands for what the manual says it does.
    pub fn parse(text: &str) -> Result<Isa, IsaError> {
        let rest = text.strip_prefix("rv64").ok_or_else(|| IsaError::NotRv64(text.to_owned()))?;
        let mut names: Vec<String> = Vec::new();
        for (index, part) in rest.split('_').enumerate() {
            // Single letters may stand together in the first part; elsewhere a part is one name.
            if index == 0 {
                names.extend(part.chars().map(String::from));
            } else {
                names.push(part.to_owned());
            }
        }
        if let Some(at) = names.iter().position(|name| name == "g") {
            names.remove(at);
            names.extend(GENERAL.iter().map(|&name| name.to_owned()));
        }
        Isa::new(&names)
    }

    /// The names in canonical order: the value of `riscv,isa-extensions`.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// True where the set has that extension.
    pub fn has(&self, name: &str) -> bool {
        self.extensions.iter().any(|known| known == name)
    }
}

impl fmt::Display for Isa {
    /// The canonical ISA string: the value of `riscv,isa`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rv64")?;
        for name in &self.extensions {
            if name.len() > 1 {
                f.write_str("_")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Where a name comes in canonical order, or `None` for one that the conventions do not allow.
fn rank(name: &str) -> Option<(usize, usize, &str)> {
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return None;
    }
    match name {
        "i" => return Some((0, 0, name)),
        _ if name.len() == 1 => return LETTERS.find(name).map(|at| (1, at, name)),
        _ => {}
    }
    if let Some(rest) = name.strip_prefix('z') {
        // A letter that names no category comes after those that do.
        let category = rest.chars().next().and_then(|letter| CATEGORIES.find(letter));
        return Some((2, category.unwrap_or(CATEGORIES.len()), name));
    }
    let group = PREFIXES.iter().position(|prefix| name.len() > prefix.len() && name.starts_with(prefix))?;
    Some((3 + group, 0, name))
}

/// The widest address translation that the harts offer; each includes the narrower ones (Privileged ISA, "Supervisor
/// Address Translation and Protection (satp) Register").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mmu {
    /// No translation.
    Bare,
    /// 39-bit virtual addresses.
    Sv39,
    /// 48-bit virtual addresses.
    Sv48,
    /// 57-bit virtual addresses.
    #[default]
    Sv57,
}

impl Mmu {
    /// The value of `mmu-type`.
    pub fn property(self) -> &'static str {
        match self {
            Mmu::Bare => "riscv,none",
            Mmu::Sv39 => "riscv,sv39",
            Mmu::Sv48 => "riscv,sv48",
            Mmu::Sv57 => "riscv,sv57",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, canonical: &str) {
        assert_eq!(Isa::parse(input).expect(input).to_string(), canonical);
    }

    #[test]
    fn names_come_out_in_the_manuals_order() {
        check("rv64imafdc", "rv64imafdc");
        check("rv64ivcdfam", "rv64imafdcv");
        check("rv64gc", "rv64imafdc_zicsr_zifencei");
        check("rv64i_ztso_zifencei_zicsr", "rv64i_zicsr_zifencei_ztso");
        check(
            "rv64i_xargle_smaia_shtvala_svinval_sstc_supm_zba",
            "rv64i_zba_supm_sstc_svinval_shtvala_smaia_xargle",
        );
        check("rv64ih_zkr_zbb_zfh_zacas_zmmul", "rv64ih_zmmul_zacas_zfh_zbb_zkr");
    }

    #[test]
    fn the_default_list_is_already_canonical() {
        assert_eq!(Isa::new(DEFAULT_EXTENSIONS), Ok(Isa::default()));
        assert_eq!(
            Isa::default().to_string(),
            "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihpm_zfh_zfhmin_\
             zba_zbb_zbc_zbs_sstc_svadu_svinval_svnapot_svpbmt"
        );
    }

    #[test]
    fn what_is_no_instruction_set_is_refused() {
        assert_eq!(Isa::parse("rv32i"), Err(IsaError::NotRv64("rv32i".into())));
        assert_eq!(Isa::parse("rv64"), Err(IsaError::NoBase));
        assert_eq!(Isa::parse("rv64mac"), Err(IsaError::NoBase));
        assert_eq!(Isa::parse("rv64imm"), Err(IsaError::Duplicate("m".into())));
        assert_eq!(Isa::parse("rv64i_"), Err(IsaError::BadName(String::new())));
        assert_eq!(Isa::parse("rv64iM"), Err(IsaError::BadName("M".into())));
        assert_eq!(Isa::parse("rv64i_sv"), Err(IsaError::BadName("sv".into())));
        assert_eq!(Isa::parse("rv64i_zb a"), Err(IsaError::BadName("zb a".into())));
        assert_eq!(Isa::parse("rv64iy"), Err(IsaError::BadName("y".into())));
    }
}
