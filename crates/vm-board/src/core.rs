//! Models of hart: what distinguishes one processor core from another.

use crate::isa::{Isa, Mmu};

/// A model of hart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// The devicetree's `compatible`, the most specific first.
    pub compatible: &'static [&'static str],
    /// The instruction set.
    pub isa: Isa,
    /// The widest address translation.
    pub mmu: Mmu,
    /// Whether it has S-mode. One without is for firmware: the devicetree calls it disabled.
    pub supervisor: bool,
    /// Whether the CSR `time` is there, where `isa` has Zicntr; else firmware stands in.
    pub time_csr: bool,
    /// Address-space identifier bits of `satp`.
    pub asid_bits: u8,
    /// PMP entries.
    pub pmp_entries: u8,
    /// Its caches and TLBs, as properties of the devicetree.
    pub caches: &'static [(&'static str, u32)],
    /// Whether its TLBs for instructions and data are two; only said where `caches` are.
    pub split_tlb: bool,
}

impl Core {
    /// A hart of no particular make: with S-mode and as much of everything as there can be.
    pub fn new(isa: Isa, mmu: Mmu) -> Core {
        Core {
            compatible: &["riscv"],
            isa,
            mmu,
            supervisor: true,
            time_csr: true,
            asid_bits: 16,
            pmp_entries: 16,
            caches: &[],
            split_tlb: false,
        }
    }
}
