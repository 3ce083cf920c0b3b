//! How a hart enters S-mode, and what M-mode firmware would have set up for it.

use crate::emulate;
use isa_riscv::csr_fields::{MEDELEG, counter, envcfg, irq, mstatus};
use isa_riscv::{Exception, Extension, Hart, Mode};

const A0: usize = 10;
const A1: usize = 11;

/// A PMP entry of type NAPOT with read, write and execute permission ("Physical Memory Protection").
const PMP_NAPOT_RWX: u64 = 3 << 3 | 7;

/// Makes `hart`'s state that of a hart which M-mode firmware has initialized and which enters S-mode
/// at `start_addr`: `satp` and `sstatus.SIE` are 0, `a0` is the hart ID and `a1` `opaque` (SBI
/// specification, table "HSM Hart Start Register State"; Linux, `Documentation/arch/riscv/boot.rst`).
///
/// The state left open there: every exception and interrupt that S-mode can take is delegated to it,
/// but for its own `ecall`; one PMP entry gives S-mode and U-mode all of the physical address space;
/// every counter, cache-block instruction, memory type and `stimecmp` that the hart has is enabled.
/// Hardware updates of A and D are on only for a hart that has Svadu and not Svade (profile RVA23,
/// section "Svade"); the floating-point unit is in its initial state, for programs that expect
/// firmware to have turned it on. The rest is as after reset.
pub fn boot(hart: &mut Hart, start_addr: u64, opaque: u64) {
    hart.reset();
    let features = hart.features;
    let counters = u64::from(features.counter_mask);
    let csr = &mut hart.csr;
    csr.medeleg = MEDELEG & !(1 << Exception::EcallS as u64);
    if emulate::wanted(&features) {
        csr.medeleg &= !(1 << Exception::IllegalInsn as u64);
    }
    csr.mideleg = irq::S_LEVEL;
    csr.mcounteren = counters;
    csr.scounteren = counters & (counter::CY | counter::TM | counter::IR);
    if features.has(Extension::Zicbom) {
        csr.menvcfg |= envcfg::CBIE | envcfg::CBCFE;
    }
    if features.has(Extension::Zicboz) {
        csr.menvcfg |= envcfg::CBZE;
    }
    // Reset has set PBMTE and ADUE as they have to be.
    if features.has(Extension::F) {
        csr.mstatus |= FS_INITIAL;
    }
    csr.stimecmp = u64::MAX;
    csr.pmp.set_addr(0, u64::MAX);
    csr.pmp.set_cfg_register(0, PMP_NAPOT_RWX);
    own_timer(hart);
    enter(hart, start_addr, opaque);
}

/// `mstatus.FS` = Initial.
const FS_INITIAL: u64 = 1 << 13;

/// Lets `stimecmp` drive `mip.STIP`, by which `sbi_set_timer` works, also on a hart without Sstc, whose
/// guest can reach neither register. [`boot`] does so; **a saved hart forgets it**, so whoever loads one
/// calls this after.
pub fn own_timer(hart: &mut Hart) {
    hart.csr.menvcfg |= envcfg::STCE;
}

/// Enters S-mode at `address` without translation and interrupts; all other state stays.
pub(crate) fn enter(hart: &mut Hart, address: u64, opaque: u64) {
    hart.mode = Mode::S;
    hart.pc = address;
    hart.csr.satp = 0;
    hart.csr.mstatus &= !mstatus::SIE;
    let hartid = hart.hartid;
    set_x(hart, A0, hartid);
    set_x(hart, A1, opaque);
}

/// Hands an exception that has come to the firmware on to S-mode, as if it had been delegated: `hart.pc`
/// is the address of the instruction that trapped (Privileged Architecture, "Supervisor-Level ISA").
pub fn redirect_trap(hart: &mut Hart, cause: u64, tval: u64) {
    let csr = &mut hart.csr;
    csr.sepc = hart.pc;
    csr.scause = cause;
    csr.stval = tval;
    let old = csr.mstatus;
    csr.mstatus &= !(mstatus::SIE | mstatus::SPIE | mstatus::SPP);
    if old & mstatus::SIE != 0 {
        csr.mstatus |= mstatus::SPIE;
    }
    if hart.mode != Mode::U {
        csr.mstatus |= mstatus::SPP;
    }
    hart.mode = Mode::S;
    // Exceptions go to the base also if interrupts are vectored.
    hart.pc = csr.stvec & !3;
}

pub(crate) fn set_x(hart: &mut Hart, register: usize, value: u64) {
    if let Some(x) = hart.x.get_mut(register) {
        *x = value;
    }
}

pub(crate) fn x(hart: &Hart, register: usize) -> u64 {
    hart.x.get(register).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isa_riscv::{AccessKind, Features, Interrupt, PageVerdict, Trap, pending_interrupt, take_trap};

    fn booted(features: &Features) -> Hart {
        let mut hart = Hart::new(3, features);
        hart.x[5] = 1;
        hart.csr.satp = 8 << 60 | 1;
        hart.csr.mstatus |= mstatus::SIE;
        boot(&mut hart, 0x8020_0000, 0xfd70_0000);
        hart
    }

    #[test]
    fn registers_are_those_of_the_boot_protocol() {
        let hart = booted(&Features::FULL);
        assert_eq!((hart.mode, hart.pc), (Mode::S, 0x8020_0000));
        assert_eq!((hart.x[10], hart.x[11]), (3, 0xfd70_0000));
        assert_eq!((hart.csr.satp, hart.csr.mstatus & mstatus::SIE), (0, 0));
        assert_eq!(hart.hartid, 3);
    }

    #[test]
    fn every_exception_but_the_own_ecall_goes_to_s_mode() {
        use Exception::*;
        let to_s = [
            InsnMisaligned,
            InsnAccess,
            IllegalInsn,
            Breakpoint,
            LoadMisaligned,
            LoadAccess,
            StoreMisaligned,
            StoreAccess,
            EcallU,
            InsnPage,
            LoadPage,
            StorePage,
        ];
        for exception in to_s {
            let mut hart = booted(&Features::FULL);
            hart.csr.stvec = 0x8000_1000;
            take_trap(&mut hart, exception, 4, 0);
            assert_eq!((hart.mode, hart.pc), (Mode::S, 0x8000_1000), "{exception:?}");
        }
        assert_eq!(booted(&Features::FULL).csr.medeleg >> 9 & 1, 0);
    }

    #[test]
    fn the_three_supervisor_interrupts_are_taken_in_s_mode() {
        let mut hart = booted(&Features::FULL);
        hart.csr.mie = irq::ALL;
        hart.csr.mstatus |= mstatus::SIE;
        assert_eq!(hart.csr.mideleg, irq::S_LEVEL);
        assert_eq!(pending_interrupt(&hart, irq::SEI, 0), Some(Interrupt::SupervisorExternal));
    }

    #[test]
    fn pmp_lets_s_and_u_mode_access_everything() {
        for entries in [1, 16, 64] {
            let hart = booted(&Features { pmp_entries: entries, ..Features::FULL });
            for kind in [AccessKind::Fetch, AccessKind::Load, AccessKind::Store] {
                for mode in [Mode::S, Mode::U] {
                    let verdict = hart.csr.pmp.region_verdict(0, 1 << 56, kind, mode);
                    assert_eq!(verdict, PageVerdict::All);
                }
            }
        }
    }

    #[test]
    fn no_timer_interrupt_is_pending_with_and_without_sstc() {
        for features in [Features::FULL, Features::RV64GC] {
            let mut hart = booted(&features);
            assert_eq!(hart.csr.pending(0, u64::MAX - 1), 0);
            hart.csr.stimecmp = 100;
            assert_eq!((hart.csr.pending(0, 99), hart.csr.pending(0, 100)), (0, irq::STI));
        }
    }

    #[test]
    fn optional_state_is_enabled_as_far_as_the_hart_has_it() {
        let full = booted(&Features::FULL).csr;
        assert_eq!(full.menvcfg & envcfg::ADUE, 0, "Svade and Svadu: Svade");
        let on = envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE | envcfg::PBMTE | envcfg::STCE;
        assert_eq!(full.menvcfg, on);
        assert_eq!((full.mcounteren & 7, full.scounteren & 7), (7, 7));
        assert!(full.fp_on());
        let small = booted(&Features::RV64GC).csr;
        assert_eq!(small.menvcfg, envcfg::STCE);
        let svadu =
            Features { extensions: Features::FULL.extensions.without(Extension::Svade), ..Features::FULL };
        assert_ne!(booted(&svadu).csr.menvcfg & envcfg::ADUE, 0);
    }

    #[test]
    fn a_redirected_trap_is_a_delegated_one() {
        for (cause, mode) in [
            (Exception::IllegalInsn, Mode::U),
            (Exception::IllegalInsn, Mode::S),
            (Exception::LoadPage, Mode::S),
            (Exception::StoreAccess, Mode::U),
        ] {
            for sie in [0, mstatus::SIE] {
                let mut hart = booted(&Features::FULL);
                hart.mode = mode;
                hart.csr.mstatus |= sie;
                hart.csr.stvec = 0x8000_4001;
                let mut delegated = hart.clone();
                let trap = Trap::new(cause, 0x1234);
                let pc = hart.pc;
                take_trap(&mut delegated, trap.cause, pc, trap.tval);
                redirect_trap(&mut hart, cause as u64, 0x1234);
                assert_eq!(hart, delegated);
            }
        }
    }
}
