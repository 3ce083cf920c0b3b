//! The kernel's interrupt controllers of a whole machine, as plain values.
//!
//! Source: Linux, arch/x86/include/uapi/asm/kvm.h, `struct kvm_pic_state` and `struct kvm_ioapic_state`; `tests/interrupts.rs`
//! programs the chips and reads them back.

/// Who has 8259s, I/O APIC and local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irqchip {
    /// The kernel.
    Kernel,
    /// Our device models; the engine injects what they say.
    User,
}

/// One of the kernel's two 8259As.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pic {
    /// Levels at the inputs. Input 2 of the master, the cascade, is always low: the kernel pulses it.
    pub lines: u8,
    /// Interrupt request register: latched edges, and levels.
    pub irr: u8,
    /// Interrupt mask register.
    pub imr: u8,
    /// In-service register.
    pub isr: u8,
    /// The input of highest priority.
    pub highest: u8,
    /// Vector of input 0.
    pub base: u8,
    /// Reads give the in-service register.
    pub read_isr: bool,
    /// The next read is a poll.
    pub poll: bool,
    /// Special mask mode.
    pub special_mask: bool,
    /// What a write with A0 = 1 is: 0 OCW1, 1 ICW2, 2 ICW3, 3 ICW4.
    pub expect: u8,
    /// Automatic end of interrupt.
    pub auto_eoi: bool,
    /// Rotation with it.
    pub rotate: bool,
    /// Special fully nested mode.
    pub nested: bool,
    /// ICW1 said that ICW4 comes.
    pub ic4: bool,
    /// Edge/level control register: 1 for level-triggered.
    pub level: u8,
}

/// Inputs of the kernel's I/O APIC.
pub const IOAPIC_PINS: usize = 24;

/// The kernel's I/O APIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ioapic {
    /// The register that is selected.
    pub select: u32,
    /// Its number: what bits 27 to 24 of the identification register are.
    pub id: u8,
    /// Inputs that are high; of edge-triggered ones, those whose edge has not been sent.
    pub irr: u32,
    /// Redirection entries.
    pub entries: [u64; IOAPIC_PINS],
}
