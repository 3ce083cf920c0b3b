//! Bits and masks of the CSRs (Privileged Architecture, chapters "Machine-Level ISA" and
//! "Supervisor-Level ISA").

/// Fields of `mstatus`; `sstatus` shows a part of them.
pub mod mstatus {
    /// Interrupts on in S-mode.
    pub const SIE: u64 = 1 << 1;
    /// Interrupts on in M-mode.
    pub const MIE: u64 = 1 << 3;
    /// SIE before the trap into S-mode.
    pub const SPIE: u64 = 1 << 5;
    /// MIE before the trap into M-mode.
    pub const MPIE: u64 = 1 << 7;
    /// Mode before the trap into S-mode.
    pub const SPP: u64 = 1 << 8;
    /// Mode before the trap into M-mode: a field of two bits.
    pub const MPP: u64 = 3 << MPP_SHIFT;
    /// Where MPP begins.
    pub const MPP_SHIFT: u32 = 11;
    /// Floating-point unit: 0 off, 1 initial, 2 clean, 3 dirty.
    pub const FS: u64 = 3 << 13;
    /// Loads and stores as in mode MPP.
    pub const MPRV: u64 = 1 << 17;
    /// S-mode may load from and store to user pages.
    pub const SUM: u64 = 1 << 18;
    /// Loads may read executable pages.
    pub const MXR: u64 = 1 << 19;
    /// `satp`, `sfence.vma`, `sinval.vma` trap in S-mode.
    pub const TVM: u64 = 1 << 20;
    /// `wfi` traps in modes below M.
    pub const TW: u64 = 1 << 21;
    /// `sret` traps in S-mode.
    pub const TSR: u64 = 1 << 22;
    /// XLEN of U-mode: read-only 2, 64 bits.
    pub const UXL: u64 = 2 << 32;
    /// XLEN of S-mode: read-only 2, 64 bits.
    pub const SXL: u64 = 2 << 34;
    /// FS is dirty. Computed on reads, never stored.
    pub const SD: u64 = 1 << 63;

    /// All that software can write, MPP (which takes no value 2) included.
    pub const WRITABLE: u64 = SIE | MIE | SPIE | MPIE | SPP | MPP | FS | MPRV | SUM | MXR | TVM | TW | TSR;
    /// Fields that mean nothing without S-mode.
    pub const S_ONLY: u64 = SIE | SPIE | SPP | SUM | MXR | TVM | TSR | SXL;
    /// What `sstatus` writes.
    pub const S_WRITABLE: u64 = SIE | SPIE | SPP | FS | SUM | MXR;
    /// What `sstatus` shows.
    pub const S_VISIBLE: u64 = S_WRITABLE | UXL | SD;
}

/// Interrupts as bits of `mip`, `mie`, `mideleg`.
pub mod irq {
    /// Supervisor software.
    pub const SSI: u64 = 1 << 1;
    /// Machine software.
    pub const MSI: u64 = 1 << 3;
    /// Supervisor timer.
    pub const STI: u64 = 1 << 5;
    /// Machine timer.
    pub const MTI: u64 = 1 << 7;
    /// Supervisor external.
    pub const SEI: u64 = 1 << 9;
    /// Machine external.
    pub const MEI: u64 = 1 << 11;

    /// What can be delegated, and what software can set in `mip` (STI only without Sstc).
    pub const S_LEVEL: u64 = SSI | STI | SEI;
    /// What goes to M-mode only.
    pub const M_LEVEL: u64 = MSI | MTI | MEI;
    /// What exists.
    pub const ALL: u64 = S_LEVEL | M_LEVEL;
    /// What comes from outside the hart.
    pub const LINES: u64 = MSI | MTI | SEI | MEI;

    /// The interrupts of S-mode, on a hart that has it.
    pub const fn s_level(supervisor: bool) -> u64 {
        if supervisor { S_LEVEL } else { 0 }
    }
}

/// Fields of `menvcfg` and `senvcfg`.
pub mod envcfg {
    /// Fences order I/O as memory.
    pub const FIOM: u64 = 1;
    /// `cbo.inval`: 0 illegal, 1 flushes, 3 invalidates; 2 is reserved.
    pub const CBIE: u64 = 3 << 4;
    /// `cbo.clean` and `cbo.flush` are legal.
    pub const CBCFE: u64 = 1 << 6;
    /// `cbo.zero` is legal.
    pub const CBZE: u64 = 1 << 7;
    /// Hardware updates A and D (`menvcfg`).
    pub const ADUE: u64 = 1 << 61;
    /// PBMT bits of a leaf PTE mean something (`menvcfg`).
    pub const PBMTE: u64 = 1 << 62;
    /// `stimecmp` is enabled (`menvcfg`).
    pub const STCE: u64 = 1 << 63;
}

/// Bits of `mcounteren`, `scounteren`, `mcountinhibit`.
pub mod counter {
    /// `cycle`.
    pub const CY: u64 = 1 << 0;
    /// `time`.
    pub const TM: u64 = 1 << 1;
    /// `instret`.
    pub const IR: u64 = 1 << 2;
}

/// Exceptions that can be delegated: all but the environment call from M-mode.
pub const MEDELEG: u64 = 0xb3ff;
