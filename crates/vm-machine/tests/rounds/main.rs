//! One guest, several ways: interpreted, on KVM with either interrupt controller, and moved between them.

mod guest;

use guest::{Printed, SUMS, image, run, spec};
use std::sync::Arc;
use std::time::Duration;
use vm_machine::{DeviceAccess, End, Engine, Irqchip, Machine, Recorded, kvm_offers};

/// What the debug exit makes of 0x2a.
const PASSED: End = End::Exit(0x55);
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the guest; gives what it printed and did.
fn whole(rounds: u32, engine: Engine) -> Option<(String, Vec<DeviceAccess>)> {
    let image = image()?;
    let (trace, printed) = (Arc::new(Recorded::default()), Printed::default());
    let machine = Machine::build(spec(&image, rounds, engine, &trace)).unwrap();
    let last = run(machine, &printed, LIMIT);
    assert_eq!(last.end, PASSED, "{}\n{:#x?}", printed.text(), last.processors);
    Some((printed.text(), trace.take()))
}

fn expected(rounds: usize) -> String {
    let lines = SUMS[..rounds].iter().enumerate().map(|(n, sum)| format!("round {n:04x} sum {sum}\r\n"));
    format!("rounds: long mode\r\n{}rounds: done\r\n", lines.collect::<String>())
}

#[test]
fn the_interpreter_computes_what_qemu_does() {
    let Some((text, trace)) = whole(3, Engine::Interp) else { return };
    assert_eq!(text, expected(3));
    assert!(trace.len() > 250, "{}", trace.len());
}

/// Whether this host's KVM can take part; says why not.
fn kvm() -> bool {
    match kvm_offers() {
        Ok(offer) if offer.lacks().is_none() => true,
        Ok(offer) => {
            eprintln!("skipped: KVM lacks {}", offer.lacks().unwrap_or_default());
            false
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            false
        }
    }
}

/// Accesses to the devices that both machines have.
fn shared(trace: Vec<DeviceAccess>) -> Vec<DeviceAccess> {
    trace.into_iter().filter(|access| !matches!(access.device, "pic" | "ioapic")).collect()
}

#[test]
fn kvm_does_what_the_interpreter_does() {
    if !kvm() {
        return;
    }
    let Some((text, trace)) = whole(3, Engine::Interp) else { return };
    let (kvm_text, kvm_trace) = whole(3, Engine::Kvm(Irqchip::User)).unwrap();
    assert_eq!(kvm_text, text);
    same(&kvm_trace, &trace);
}

#[test]
fn kvm_with_the_kernels_interrupt_controller_does_too() {
    if !kvm() {
        return;
    }
    if !kvm_offers().unwrap().irqchip {
        eprintln!("skipped: this host's KVM has no interrupt controller");
        return;
    }
    let Some((text, trace)) = whole(3, Engine::Interp) else { return };
    let (kvm_text, kvm_trace) = whole(3, Engine::Kvm(Irqchip::Kernel)).unwrap();
    assert_eq!(kvm_text, text);
    // The 8259s are the kernel's there, and nobody sees what is done to them.
    same(&shared(kvm_trace), &shared(trace));
}

fn same(a: &[DeviceAccess], b: &[DeviceAccess]) {
    if let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) {
        panic!("access {at}: {} and {}", a[at], b[at]);
    }
    assert_eq!(a.len(), b.len());
}

/// Runs the guest in legs, each on another engine than the one before, which ends at a random point. Gives what the whole
/// run printed and did, and how often it moved.
fn in_legs(rounds: u32, seed: u64, engines: &[Engine]) -> Option<(String, Vec<DeviceAccess>, u32)> {
    let image = image()?;
    let (trace, printed) = (Arc::new(Recorded::default()), Printed::default());
    let mut random = seed;
    let mut below = |limit: u64| {
        // An xorshift generator (Marsaglia, 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % limit
    };
    let (mut moves, mut snapshot) = (0, None);
    loop {
        let engine = engines[moves as usize % engines.len()];
        let mut spec = spec(&image, rounds, engine, &trace);
        let limit = match engine {
            Engine::Interp | Engine::Jit(_) | Engine::Check(_) => {
                spec.budget = Some(1 + below(60_000));
                LIMIT
            }
            Engine::Kvm(_) => Duration::from_micros(below(12_000)),
        };
        // The same on both engines, so that a time-stamp counter would run on as it did.
        spec.tsc_hz = Some(1_000_000_000);
        let machine = match &snapshot {
            None => Machine::build(spec).unwrap(),
            Some(snapshot) => Machine::resume(spec, snapshot).unwrap(),
        };
        let last = run(machine, &printed, limit);
        match last.end {
            End::Budget | End::Stopped => snapshot = Some(last.snapshot().unwrap()),
            end => {
                assert_eq!(end, PASSED, "after {moves} moves: {}\n{:#x?}", printed.text(), last.processors);
                return Some((printed.text(), trace.take(), moves));
            }
        }
        moves += 1;
    }
}

#[test]
fn it_can_be_put_aside_at_any_instruction() {
    let Some((text, trace)) = whole(4, Engine::Interp) else { return };
    let (legs_text, legs_trace, moves) = in_legs(4, 7, &[Engine::Interp]).unwrap();
    assert_eq!(legs_text, text);
    same(&legs_trace, &trace);
    assert!(moves > 10, "{moves}");
}

#[test]
fn it_moves_between_the_interpreter_and_kvm_a_hundred_times() {
    if !kvm() {
        return;
    }
    let Some((text, trace)) = whole(24, Engine::Interp) else { return };
    let engines = [Engine::Interp, Engine::Kvm(Irqchip::User)];
    let (legs_text, legs_trace, moves) = in_legs(24, seed(), &engines).unwrap();
    assert_eq!(legs_text, text);
    same(&legs_trace, &trace);
    eprintln!("{moves} moves");
    assert!(moves >= 100, "{moves}");
}

#[test]
fn it_moves_among_three_engines() {
    if !kvm() {
        return;
    }
    if !kvm_offers().unwrap().irqchip {
        eprintln!("skipped: this host's KVM has no interrupt controller");
        return;
    }
    let Some((text, trace)) = whole(24, Engine::Interp) else { return };
    let (user, kernel) = (Engine::Kvm(Irqchip::User), Engine::Kvm(Irqchip::Kernel));
    // Each follows each.
    let engines = [Engine::Interp, kernel, user, kernel, Engine::Interp, user];
    let (legs_text, legs_trace, moves) = in_legs(24, 0x0dd0_5eed_0dd0_5eed, &engines).unwrap();
    assert_eq!(legs_text, text);
    same(&shared(legs_trace), &shared(trace));
    eprintln!("{moves} moves");
    assert!(moves >= 100, "{moves}");
}

/// Where the random numbers start: fixed, unless `HOSTEL_SEED` is set.
fn seed() -> u64 {
    let given = std::env::var("HOSTEL_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    given.filter(|&seed| seed != 0).unwrap_or(0x1234_5678_9abc_def1)
}

#[test]
fn a_budget_needs_an_engine_that_counts() {
    if !kvm() {
        return;
    }
    let Some(image) = image() else { return };
    let mut spec = spec(&image, 1, Engine::Kvm(Irqchip::User), &Arc::default());
    spec.budget = Some(1000);
    let error = Machine::build(spec).err().expect("KVM does not count").to_string();
    assert!(error.contains("budget"), "{error}");
}
