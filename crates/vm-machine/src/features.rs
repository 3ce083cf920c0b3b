//! From a board's model of hart to what a hart implements.

use isa_riscv::{EXTENSIONS, Extensions, Features, SatpMode};
use vm_board::core::Core;
use vm_board::isa::Mmu;

/// The features of a hart of that model.
///
/// # Errors
/// The name of an extension that Hostel does not have.
pub(crate) fn features(core: &Core) -> Result<Features, String> {
    let mut extensions = Extensions::NONE;
    for name in core.isa.extensions() {
        if name == "i" || name == "zfhmin" {
            // The base is always there; Zfhmin is a part of Zfh.
            continue;
        }
        let known = EXTENSIONS.iter().find(|(_, n)| n.eq_ignore_ascii_case(name));
        extensions = extensions.with(known.ok_or_else(|| name.clone())?.0);
    }
    let satp_mode = match core.mmu {
        Mmu::Bare => SatpMode::Bare,
        Mmu::Sv39 => SatpMode::Sv39,
        Mmu::Sv48 => SatpMode::Sv48,
        Mmu::Sv57 => SatpMode::Sv57,
    };
    let Core { supervisor, time_csr, asid_bits, pmp_entries, .. } = *core;
    let own = Features { supervisor, time_csr, asid_bits, pmp_entries, ..Features::FULL };
    Ok(Features { extensions, satp_mode, ..own })
}
