//! A program that does everything at once: no difference is found, and lock-step changes nothing.

mod fixture;

use engine_check::Options;
use engine_core::Vcpu;
use engine_interp::Interp;
use fixture::Fixture;
use fixture::programs::SYSTEM;

const LENGTH: u64 = 1_000_000;

#[test]
fn a_program_with_interrupts_page_tables_and_code_that_changes_itself() {
    let alone = Fixture::new(SYSTEM);
    let mut interp = Interp::new(alone.config());
    assert_eq!(alone.run(&mut interp, LENGTH), None);
    let x = interp.state().x;
    // What it is meant to do it has done: faults, interrupts, calls, device accesses.
    assert!(x[25] > 100 && x[26] > 100 && x[27] > 100 && alone.reads() > 10, "{x:?}");
    for (seed, leg, legs) in [(1, 5000, 8), (2, 64, 64), (3, 3, 2)] {
        let options = Options { seed, leg, legs, whole: 100_000 };
        let fixture = Fixture::new(SYSTEM);
        let mut check = fixture.check(options, |jit| jit);
        assert_eq!(fixture.run(&mut check, LENGTH), None);
        check.park();
        assert_eq!(check.broken(), None);
        assert_eq!(check.retired(), LENGTH);
        assert_eq!(check.state(), interp.state(), "seed {seed}");
        assert!(fixture.memory() == alone.memory(), "memory, seed {seed}");
        assert_eq!(fixture.reads(), alone.reads(), "seed {seed}");
    }
}

#[test]
fn a_budget_is_exact_and_state_given_from_outside_reaches_both() {
    let fixture = Fixture::new(SYSTEM);
    let mut check = fixture.check(Options::default(), |jit| jit);
    for n in [1, 2, 30, 1000, 4097] {
        assert_eq!(fixture.run(&mut check, n), None);
        assert_eq!(check.retired(), n);
        check.with_state(&mut |hart| hart.x[31] = n);
        // As firmware writes to a guest's memory.
        fixture.bus.ram().copy_in(0xf_0000, &n.to_le_bytes()).unwrap();
    }
    assert_eq!(fixture.run(&mut check, 50_000), None);
    check.park();
    assert_eq!(check.broken(), None);
}
