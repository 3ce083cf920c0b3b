//! What a host's KVM offers of what the engine can use.

use std::fmt;

/// What there is of what the engine can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Version of the interface; 12 since Linux 2.6.22.
    pub version: i32,
    /// An interrupt controller in the kernel: 8259s, I/O APIC, local APICs.
    pub irqchip: bool,
    /// Interrupts raised by event descriptors.
    pub irqfd: bool,
    /// Accesses that signal event descriptors without leaving the kernel.
    pub ioeventfd: bool,
    /// Read-only memory.
    pub read_only: bool,
    /// A flag that keeps KVM_RUN from entering the guest.
    pub immediate_exit: bool,
    /// The exception, interrupt and NMI state can be moved.
    pub events: bool,
    /// The debug registers can be moved.
    pub debug_registers: bool,
    /// The whole floating-point state can be moved.
    pub xsave: bool,
    /// The extended control registers can be moved.
    pub xcrs: bool,
    /// The kernel says how fast the guest's time-stamp counter runs.
    pub tsc_khz: bool,
    /// Most processors of a machine.
    pub processors: usize,
}

impl Offer {
    /// What the engine cannot do without, if it is not there.
    pub fn lacks(&self) -> Option<&'static str> {
        let needed = [
            (self.version == 12, "version 12 of the interface"),
            (self.immediate_exit, "immediate exits (Linux 4.13)"),
            (self.events, "access to pending events"),
            (self.xsave, "access to the whole floating-point state (Linux 2.6.36)"),
            (self.read_only, "read-only memory"),
        ];
        needed.into_iter().find(|(there, _)| !there).map(|(_, what)| what)
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.irqchip, "interrupt controller"),
            (self.irqfd, "irqfd"),
            (self.ioeventfd, "ioeventfd"),
            (self.debug_registers, "debug registers"),
        ];
        write!(f, "version {}", self.version)?;
        for (there, what) in parts {
            write!(f, ", {}{what}", if there { "" } else { "no " })?;
        }
        Ok(())
    }
}
