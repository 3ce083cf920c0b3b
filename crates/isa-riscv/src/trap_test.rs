//! Trap entry and return, interrupts, and privileged instructions against the manual.

use crate::csr_fields::{irq, mstatus};
use crate::priv_ops::*;
use crate::test_env::TestEnv;
use crate::{Exception, Features, Hart, Interrupt, Mode, Trap, pending_interrupt, take_trap, wakes};

fn hart(mode: Mode) -> Hart {
    let mut hart = Hart::new(0, &Features::FULL);
    hart.mode = mode;
    hart.csr.mtvec = 0x1000;
    hart.csr.stvec = 0x2000;
    hart
}

/// "Privilege and Global Interrupt-Enable Stack": MPIE and MPP take MIE and the mode.
#[test]
fn trap_into_m_mode() {
    for (mode, mie) in [(Mode::U, 0), (Mode::S, mstatus::MIE), (Mode::M, mstatus::MIE)] {
        let mut hart = hart(mode);
        hart.csr.mstatus |= mie | mstatus::SIE;
        let pc = take_trap(&mut hart, Exception::IllegalInsn, 0x80, 0x1234);
        assert_eq!((pc, hart.pc, hart.mode), (0x1000, 0x1000, Mode::M));
        let csr = &hart.csr;
        assert_eq!((csr.mepc, csr.mcause, csr.mtval), (0x80, 2, 0x1234));
        assert_eq!(csr.mpp(), mode);
        assert_eq!(csr.mstatus & mstatus::MPIE != 0, mie != 0);
        assert_eq!(csr.mstatus & (mstatus::MIE | mstatus::SIE), mstatus::SIE);
        assert_eq!((csr.sepc, csr.scause), (0, 0));
    }
}

/// "Machine Trap Delegation": to S-mode from S and U, never from M-mode.
#[test]
fn delegated_trap() {
    for (mode, to) in [(Mode::U, Mode::S), (Mode::S, Mode::S), (Mode::M, Mode::M)] {
        let mut hart = hart(mode);
        hart.csr.medeleg = 1 << 13;
        hart.csr.mstatus |= mstatus::SIE | mstatus::MIE;
        take_trap(&mut hart, Exception::LoadPage, 0x80, 0x99);
        assert_eq!(hart.mode, to);
        let csr = &hart.csr;
        if to == Mode::S {
            assert_eq!((csr.sepc, csr.scause, csr.stval), (0x80, 13, 0x99));
            assert_eq!(csr.mstatus & mstatus::SPP != 0, mode == Mode::S);
            let enables = csr.mstatus & (mstatus::SIE | mstatus::SPIE | mstatus::MIE);
            assert_eq!(enables, mstatus::SPIE | mstatus::MIE);
            assert_eq!(hart.pc, 0x2000);
        } else {
            assert_eq!((csr.mcause, csr.sepc), (13, 0));
        }
    }
}

/// "mtvec", MODE Vectored: interrupts to BASE + 4 * cause, exceptions to BASE.
#[test]
fn vectored() {
    let mut m = hart(Mode::M);
    m.csr.mtvec = 0x1001;
    assert_eq!(take_trap(&mut m, Interrupt::MachineTimer, 0, 0), 0x101c);
    assert_eq!(m.csr.mcause, 1 << 63 | 7);
    assert_eq!(take_trap(&mut m, Exception::Breakpoint, 0, 0), 0x1000);
    let mut s = hart(Mode::U);
    s.csr.stvec = 0x2001;
    s.csr.mideleg = irq::SEI;
    assert_eq!(take_trap(&mut s, Interrupt::SupervisorExternal, 0, 0), 0x2024);
}

/// "Multiple simultaneous interrupts destined for M-mode are handled in decreasing priority order:
/// MEI, MSI, MTI, SEI, SSI, STI".
#[test]
fn priority() {
    use Interrupt::*;
    let mut hart = hart(Mode::M);
    hart.csr.mie = irq::ALL;
    hart.csr.mstatus |= mstatus::MIE;
    hart.csr.mip = irq::SSI | irq::STI;
    let mut lines = irq::MEI | irq::MSI | irq::MTI | irq::SEI;
    for (bit, expected) in [
        (irq::MEI, MachineExternal),
        (irq::MSI, MachineSoftware),
        (irq::MTI, MachineTimer),
        (irq::SEI, SupervisorExternal),
        (irq::SSI, SupervisorSoftware),
        (irq::STI, SupervisorTimer),
    ] {
        assert_eq!(pending_interrupt(&hart, lines, 0), Some(expected));
        lines &= !bit;
        hart.csr.mip &= !bit;
    }
    assert_eq!(pending_interrupt(&hart, lines, 0), None);
    // An interrupt for M-mode goes before any for S-mode.
    let mut hart = self::hart(Mode::U);
    hart.csr.mie = irq::ALL;
    hart.csr.mideleg = irq::SEI;
    hart.csr.mip = irq::SEI | irq::STI;
    assert_eq!(pending_interrupt(&hart, 0, 0), Some(SupervisorTimer));
}

/// Global enables: xIE counts in mode x; lower modes always take x's interrupts, higher never.
#[test]
fn global_enables() {
    for (mode, mie, sie, m_taken, s_taken) in [
        (Mode::M, false, true, false, false),
        (Mode::M, true, true, true, false),
        (Mode::S, false, false, true, false),
        (Mode::S, false, true, true, true),
        (Mode::U, false, false, true, true),
    ] {
        let mut hart = hart(mode);
        hart.csr.mie = irq::ALL;
        hart.csr.mideleg = irq::SSI;
        hart.csr.mstatus |= if mie { mstatus::MIE } else { 0 };
        hart.csr.mstatus |= if sie { mstatus::SIE } else { 0 };
        assert_eq!(pending_interrupt(&hart, irq::MSI, 0).is_some(), m_taken);
        hart.csr.mip = irq::SSI;
        assert_eq!(pending_interrupt(&hart, 0, 0).is_some(), s_taken);
        assert!(wakes(&hart, 0, 0));
        hart.csr.mie = 0;
        assert_eq!(pending_interrupt(&hart, irq::MSI, 0), None);
        assert!(!wakes(&hart, 0, 0));
    }
}

/// "Trap-Return Instructions": MIE from MPIE, mode from MPP, MPIE 1, MPP U; MPRV cleared if the new
/// mode is not M.
#[test]
fn mret_unstacks() {
    for (mpp, mode, mprv) in [(0, Mode::U, false), (1, Mode::S, false), (3, Mode::M, true)] {
        let mut env = TestEnv::new();
        env.set("mepc", 0x444);
        env.set("mstatus", mpp << 11 | mstatus::MPRV | mstatus::MPIE);
        assert_eq!(mret(&mut env), Ok(()));
        assert_eq!((env.hart.mode, env.jumped), (mode, Some(0x444)));
        let status = env.hart.csr.mstatus;
        assert_eq!(status & mstatus::MPRV != 0, mprv);
        let stack = mstatus::MIE | mstatus::MPIE | mstatus::MPP;
        assert_eq!(status & stack, mstatus::MIE | mstatus::MPIE);
    }
    let mut env = TestEnv::new();
    env.hart.mode = Mode::S;
    assert_eq!(mret(&mut env), Err(Trap::illegal()));
}

/// `sret`: likewise with SIE, SPIE, SPP; illegal in U-mode, and in S-mode with TSR.
#[test]
fn sret_unstacks() {
    for (mode, tsr, legal) in
        [(Mode::U, false, false), (Mode::S, false, true), (Mode::S, true, false), (Mode::M, true, true)]
    {
        let mut env = TestEnv::new();
        let tsr = if tsr { mstatus::TSR } else { 0 };
        env.set("mstatus", tsr | mstatus::SPP | mstatus::SPIE | mstatus::MPRV);
        env.set("sepc", 0x888);
        env.hart.mode = mode;
        assert_eq!(sret(&mut env).is_ok(), legal);
        if legal {
            assert_eq!((env.hart.mode, env.jumped), (Mode::S, Some(0x888)));
            let fields = mstatus::SIE | mstatus::SPIE | mstatus::SPP | mstatus::MPRV;
            let status = env.hart.csr.mstatus & fields;
            assert_eq!(status, mstatus::SIE | mstatus::SPIE);
        }
    }
}

/// `wfi`: TW traps S-mode; U-mode always; any enabled pending interrupt ends it.
#[test]
fn wfi_rules() {
    for (mode, tw, legal) in
        [(Mode::M, true, true), (Mode::S, false, true), (Mode::S, true, false), (Mode::U, false, false)]
    {
        let mut env = TestEnv::new();
        env.set("mstatus", if tw { mstatus::TW } else { 0 });
        env.hart.mode = mode;
        assert_eq!(wfi(&mut env).is_ok(), legal);
        assert_eq!(env.waited, legal);
        env.waited = false;
        env.hart.csr.mie = irq::STI;
        env.hart.csr.mip = irq::STI;
        let _ = wfi(&mut env);
        assert!(!env.waited);
    }
}

/// Fences: `sfence.vma` and `sinval.vma` heed TVM in S-mode, the Svinval fences do not; none is for
/// U-mode. Environment calls name the mode; a breakpoint's value is its address.
#[test]
fn fences_and_calls() {
    for (mode, tvm, vma, inval, call) in [
        (Mode::M, true, true, true, Exception::EcallM),
        (Mode::S, false, true, true, Exception::EcallS),
        (Mode::S, true, false, true, Exception::EcallS),
        (Mode::U, false, false, false, Exception::EcallU),
    ] {
        let mut env = TestEnv::new();
        env.set("mstatus", if tvm { mstatus::TVM } else { 0 });
        env.hart.mode = mode;
        assert_eq!(sfence_vma(&mut env, None, None).is_ok(), vma);
        assert_eq!(sinval_vma(&mut env, Some(1), Some(2)).is_ok(), vma);
        assert_eq!(sfence_inval(&env).is_ok(), inval);
        assert_eq!(ecall(&env), Trap::new(call, 0));
        env.hart.pc = 0x66;
        assert_eq!(ebreak(&env), Trap::new(Exception::Breakpoint, 0x66));
    }
}

/// "CMO": menvcfg governs S-mode, menvcfg and senvcfg U-mode, nothing M-mode.
#[test]
fn cache_block_enables() {
    for (menvcfg, senvcfg, mode, legal) in [
        (0, 0, Mode::M, true),
        (0, 0xf0, Mode::S, false),
        (0xf0, 0, Mode::S, true),
        (0xf0, 0, Mode::U, false),
        (0, 0xf0, Mode::U, false),
        (0xf0, 0xf0, Mode::U, true),
    ] {
        let mut env = TestEnv::new();
        env.set("menvcfg", menvcfg);
        env.set("senvcfg", senvcfg);
        env.hart.mode = mode;
        assert_eq!(cbo_zero(&mut env, 0).is_ok(), legal);
        assert_eq!(cbo_clean(&mut env, 0).is_ok(), legal);
        assert_eq!(cbo_inval(&mut env, 0).is_ok(), legal);
    }
}

/// MPRV: loads and stores as in MPP, fetches never ("Memory Privilege in mstatus Register").
#[test]
fn data_mode() {
    let mut hart = hart(Mode::M);
    hart.csr.mstatus |= 1 << mstatus::MPP_SHIFT;
    assert_eq!(hart.data_mode(), Mode::M);
    hart.csr.mstatus |= mstatus::MPRV;
    assert_eq!(hart.data_mode(), Mode::S);
    use crate::{AccessKind, WalkContext};
    assert_eq!(WalkContext::of(&hart, AccessKind::Fetch).mode, Mode::M);
    assert_eq!(WalkContext::of(&hart, AccessKind::Load).mode, Mode::S);
}
