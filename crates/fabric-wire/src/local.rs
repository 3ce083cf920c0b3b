//! The port between an x86 processor and its local APIC.
//!
//! The engine asks, a device model (or KVM in the kernel) answers; neither sees the other. Sources:
//! Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A, chapter "Advanced
//! Programmable Interrupt Controller (APIC)", cited below as SDM with the section's name.

use std::fmt;

/// Bits of a processor's [`PendingWord`](crate::PendingWord) that its local APIC drives, as levels.
pub mod line {
    /// A vector may be delivered now, or an 8259 waits for its INTA cycle: what
    /// [`LocalController::acknowledge`](super::LocalController::acknowledge) takes. RFLAGS.IF is the
    /// processor's own affair.
    pub const INTR: u32 = 0;
    /// [`LocalController::take_event`](super::LocalController::take_event) has an NMI.
    pub const NMI: u32 = 1;
    /// The same, an INIT.
    pub const INIT: u32 = 2;
    /// The same, a start-up IPI.
    pub const SIPI: u32 = 3;
    /// The bits of all events.
    pub const EVENTS: u64 = 1 << NMI | 1 << INIT | 1 << SIPI;
}

/// Bits of IA32_APIC_BASE (SDM, "Local APIC Status and Location").
pub mod apic_base {
    /// This is the bootstrap processor.
    pub const BSP: u64 = 1 << 8;
    /// x2APIC mode, with [`ENABLE`].
    pub const X2APIC: u64 = 1 << 10;
    /// The APIC is there at all.
    pub const ENABLE: u64 = 1 << 11;
    /// Where the register page lies after reset.
    pub const DEFAULT_ADDRESS: u64 = 0xfee0_0000;
}

/// The access is one that raises #GP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneralProtection;

impl fmt::Display for GeneralProtection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("general protection")
    }
}

impl std::error::Error for GeneralProtection {}

/// What a local APIC tells its processor besides vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Reset to the state after INIT; the APIC has reset itself when this is taken.
    Init,
    /// Start at `vector << 12` in real mode, if waiting for that.
    Sipi(u8),
    /// Non-maskable interrupt.
    Nmi,
}

/// A local APIC as its processor sees it. All methods may be called from any thread; registers,
/// MSRs and [`LocalController::acknowledge`] are meant for the thread of the processor.
pub trait LocalController: Send + Sync {
    /// Reads the xAPIC register page, `offset` < 4096. `size` bytes (1, 2, 4, 8), zero-extended.
    /// While the page is not there (APIC disabled or in x2APIC mode), all ones.
    fn read(&self, offset: u64, size: u8) -> u64;
    /// Writes the xAPIC register page; without effect while the page is not there.
    fn write(&self, offset: u64, size: u8, value: u64);

    /// Reads the x2APIC MSR `msr`, 0x800 to 0x8ff.
    ///
    /// # Errors
    /// #GP outside x2APIC mode, and for registers that cannot be read.
    fn read_msr(&self, msr: u32) -> Result<u64, GeneralProtection>;
    /// Writes the x2APIC MSR `msr`, 0x800 to 0x8ff.
    ///
    /// # Errors
    /// #GP outside x2APIC mode, for registers that cannot be written and for reserved bits.
    fn write_msr(&self, msr: u32, value: u64) -> Result<(), GeneralProtection>;

    /// The vector to deliver now, taken: it moves from IRR to ISR, or comes from an INTA cycle to the
    /// 8259 (ExtINT), which may turn out spurious there. `None` if nothing may be delivered.
    fn acknowledge(&self) -> Option<u8>;
    /// The next event, taken: INIT before SIPI before NMI.
    fn take_event(&self) -> Option<Event>;

    /// CR8: the class of the task priority, 0 to 15.
    fn cr8(&self) -> u8;
    /// Sets CR8; bits above 3:0 are ignored (the processor has raised #GP for them).
    fn set_cr8(&self, value: u8);

    /// IA32_APIC_BASE.
    fn apic_base(&self) -> u64;
    /// Sets IA32_APIC_BASE.
    ///
    /// # Errors
    /// #GP for reserved bits and for transitions that the architecture forbids (SDM, "x2APIC State
    /// Transitions").
    fn set_apic_base(&self, value: u64) -> Result<(), GeneralProtection>;

    /// IA32_TSC_DEADLINE in ticks of the processor's TSC: 0 unless armed in TSC-deadline mode.
    fn tsc_deadline(&self) -> u64;
    /// Arms (or with 0 disarms) the timer in TSC-deadline mode; ignored in the others.
    fn set_tsc_deadline(&self, value: u64);
    /// Says what the processor's TSC adds (wrapping) to guest time × TSC frequency. The engine tells
    /// this after it changes (IA32_TSC, IA32_TSC_ADJUST); an armed deadline moves along.
    fn set_tsc_offset(&self, offset: u64);

    /// The whole state, for a snapshot.
    fn state(&self) -> LapicState;
    /// Takes a state back.
    ///
    /// # Errors
    /// #GP if the values are none that a local APIC could be in.
    fn set_state(&self, state: &LapicState) -> Result<(), GeneralProtection>;
}

/// The state of a local APIC, whoever implements it. A plain value; `dev-irq` has its encoded,
/// versioned form. The default is all zero, which is no state after reset: it is there to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LapicState {
    /// The registers at offsets 0, 0x10 … 0x3f0 as a guest reads them; at 0x390 the current count.
    pub registers: [u32; 64],
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// IA32_TSC_DEADLINE.
    pub tsc_deadline: u64,
    /// What the processor's TSC is ahead of the machine's; also a part of the processor's state.
    pub tsc_offset: u64,
    /// Guest time in nanoseconds at which the one-shot or periodic count next reaches 0. With `None`
    /// the current count says how far it is (as in the page that KVM gives).
    pub timer_expiry: Option<u64>,
    /// Errors since the last write to the error status register.
    pub errors: u32,
    /// Levels at the pins LINT0 and LINT1.
    pub lint: [bool; 2],
    /// An NMI is pending.
    pub nmi: bool,
    /// An INIT is pending.
    pub init: bool,
    /// A start-up IPI with this vector is pending.
    pub sipi: Option<u8>,
}

impl Default for LapicState {
    fn default() -> Self {
        LapicState {
            registers: [0; 64],
            apic_base: 0,
            tsc_deadline: 0,
            tsc_offset: 0,
            timer_expiry: None,
            errors: 0,
            lint: [false; 2],
            nmi: false,
            init: false,
            sipi: None,
        }
    }
}

impl LapicState {
    /// The registers as the first KiB of the register page: the layout of KVM's `kvm_lapic_state`.
    pub fn to_page(&self) -> [u8; 1024] {
        let mut page = [0; 1024];
        for (row, register) in page.chunks_exact_mut(16).zip(&self.registers) {
            for (byte, value) in row.iter_mut().zip(register.to_le_bytes()) {
                *byte = value;
            }
        }
        page
    }

    /// The registers out of the first KiB of a register page.
    pub fn registers_of(page: &[u8; 1024]) -> [u32; 64] {
        let mut registers = [0; 64];
        for (register, row) in registers.iter_mut().zip(page.chunks_exact(16)) {
            *register = row.iter().take(4).rev().fold(0, |v, &b| v << 8 | u32::from(b));
        }
        registers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_lies_in_the_first_four_of_its_sixteen_bytes() {
        let mut registers = [0; 64];
        registers[2] = 0x0403_0201;
        registers[63] = 0x8000_0000;
        let apic_base = apic_base::DEFAULT_ADDRESS | apic_base::ENABLE;
        let state = LapicState { registers, apic_base, ..LapicState::default() };
        let page = state.to_page();
        assert_eq!(page[0x20..0x25], [1, 2, 3, 4, 0]);
        assert_eq!(page[0x3f0..0x3f4], [0, 0, 0, 0x80]);
        assert_eq!(page.iter().filter(|&&b| b != 0).count(), 5);
        assert_eq!(LapicState::registers_of(&page), registers);
    }
}
