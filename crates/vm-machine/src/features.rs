//! From a board's list of extension names to what a hart implements.

use isa_riscv::{EXTENSIONS, Extensions, Features, SatpMode};
use vm_board::isa::{Isa, Mmu};

/// The features of a hart with `isa` and `mmu`, or the first extension that no hart implements.
///
/// # Errors
/// The name of an extension that Hostel does not have.
pub(crate) fn features(isa: &Isa, mmu: Mmu) -> Result<Features, String> {
    let mut extensions = Extensions::NONE;
    for name in isa.extensions() {
        if name == "i" || name == "zfhmin" {
            // The base is always there; Zfhmin is a part of Zfh.
            continue;
        }
        let known = EXTENSIONS.iter().find(|(_, n)| n.eq_ignore_ascii_case(name));
        extensions = extensions.with(known.ok_or_else(|| name.clone())?.0);
    }
    let satp_mode = match mmu {
        Mmu::Bare => SatpMode::Bare,
        Mmu::Sv39 => SatpMode::Sv39,
        Mmu::Sv48 => SatpMode::Sv48,
        Mmu::Sv57 => SatpMode::Sv57,
    };
    Ok(Features { extensions, satp_mode, ..Features::FULL })
}
