//! Synchronous traps: who takes them, and whether they lead anywhere.

use crate::cpu::Cpu;
use engine_core::{Exit, Fault, Firmware, FirmwareCall};
use isa_riscv::{Exception, Mode, Trap, take_trap};

/// Traps without a retired instruction between them, after which the guest counts as wedged.
const WEDGED: u32 = 10_000;
/// Interrupts that come from elsewhere than harts: all but MSI.
const INTERVENING: u64 = 0xaaa & !(1 << 3);

/// Traps between which no instruction is retired.
#[derive(Clone, Copy, Debug)]
pub struct Traps {
    /// Instructions retired at the first of them.
    retired: u64,
    first: Fault,
    /// How many came after it.
    futile: u32,
}

impl Default for Traps {
    fn default() -> Self {
        Traps { retired: u64::MAX, first: Fault { pc: 0, cause: 0, value: 0 }, futile: 0 }
    }
}

impl Traps {
    /// Takes note of a trap after `retired` instructions: after too many the guest is wedged.
    #[inline]
    fn note(&mut self, retired: u64, fault: Fault) -> Option<Exit> {
        if self.retired != retired {
            *self = Traps { retired, first: fault, futile: 0 };
            return None;
        }
        self.futile += 1;
        if self.futile <= WEDGED {
            return None;
        }
        self.futile = 0;
        Some(Exit::Wedged { first: self.first, last: fault })
    }

    /// An interrupt was taken: things may go differently now.
    pub(crate) fn interrupted(&mut self) {
        self.futile = 0;
    }

    /// Whether the last trap came with no instruction retired since the one before. A run loop must look for requests and
    /// interrupts then, because the instruction count does not make it do so.
    pub fn futile(&self) -> bool {
        self.futile != 0
    }
}

impl Cpu {
    /// Takes a synchronous trap at the current instruction, before which [`Cpu::retired`] are retired. Gives why the run must
    /// end, if it must.
    pub fn trap(&mut self, trap: Trap) -> Option<Exit> {
        let pc = self.pc_now();
        self.position = 0;
        let hart = &mut self.hart;
        hart.pc = pc;
        let (before, cause) = (hart.mode, trap.cause as u64);
        let delegated = before != Mode::M && hart.csr.medeleg >> cause & 1 != 0;
        let firmware = self.firmware == Firmware::BuiltIn && !delegated;
        if firmware {
            // The firmware may look at the clock: at the same count the same time.
            let _ = self.time.now(self.retired);
            if trap.cause == Exception::EcallS {
                return Some(Exit::Firmware(FirmwareCall::Call));
            }
        }
        let wedged = self.traps.note(self.retired, Fault { pc, cause, value: trap.tval });
        if firmware {
            return wedged.or(Some(Exit::Firmware(FirmwareCall::Trap { cause, value: trap.tval })));
        }
        let hart = &mut self.hart;
        hart.pc = take_trap(hart, trap.cause, pc, trap.tval);
        self.enter_context();
        // Below M-mode nothing holds back an interrupt that M-mode has kept for itself.
        let csr = &self.hart.csr;
        let lasting = before == Mode::M || csr.mie & !csr.mideleg & INTERVENING == 0;
        wedged.filter(|_| lasting || self.impatient)
    }

    /// Whether an interrupt that M-mode has kept for itself could end the hart's futile traps.
    pub fn can_be_freed(&self) -> bool {
        let csr = &self.hart.csr;
        self.hart.mode != Mode::M && csr.mie & !csr.mideleg & INTERVENING != 0
    }
}
