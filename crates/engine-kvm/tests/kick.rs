//! The kick is never lost, whatever the guest does; and it is quick.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod fixture;

use engine_core::{Exit, Vcpu};
use engine_kvm::Irqchip;
use fabric_wire::PendingWord;
use fixture::{CODE, Machine, guest, long_machine, there};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

guest!(spins, "64", "1: jmp 1b");
guest!(writes, "64", "1: out 0x10, al", "jmp 1b");
guest!(sleeps, "64", "cli", "1: hlt", "jmp 1b");

/// Kicks so many times, at random moments, each only after the one before has been seen. Gives the longest and the
/// median time from kick to exit.
fn stress(mut m: Machine, kicks: u64) -> (Duration, Duration) {
    let (pending, seen) = (Arc::clone(&m.pending), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&seen);
    let kicker = std::thread::spawn(move || {
        let (mut random, mut times) = (0x9e37_79b9_7f4a_7c15u64, Vec::new());
        for kick in 1..=kicks {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Mostly while it is just about to enter the guest.
            let wait = Duration::from_nanos(random % if random >> 60 == 0 { 300_000 } else { 20_000 });
            let start = Instant::now();
            while start.elapsed() < wait {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            pending.raise(PendingWord::KICK);
            while count.load(Ordering::SeqCst) < kick {
                assert!(start.elapsed() < Duration::from_secs(5), "kick {kick} is lost");
                std::thread::yield_now();
            }
            times.push(start.elapsed());
        }
        times.sort();
        (times[times.len() - 1], times[times.len() / 2])
    });
    for _ in 0..kicks {
        assert_eq!(m.cpu.run(u64::MAX), Exit::Kick);
        m.pending.lower(PendingWord::KICK);
        m.ports.seen.lock().unwrap().clear();
        seen.fetch_add(1, Ordering::SeqCst);
    }
    kicker.join().unwrap()
}

fn check(what: &str, irqchip: Irqchip, code: &[u8], kicks: u64) {
    if !there(irqchip) {
        return;
    }
    let (longest, median) = stress(long_machine(irqchip, &[(CODE, code)]), kicks);
    eprintln!("{what}: {kicks} kicks, {median:?} the median, {longest:?} the longest");
    // Microseconds on a host that has nothing else to do; the rest is for those that have.
    assert!(median < Duration::from_millis(50), "{median:?}");
}

#[test]
fn out_of_a_loop() {
    check("loop", Irqchip::User, spins::bytes(), 10_000);
}

#[test]
fn out_of_a_loop_of_exits() {
    check("exits", Irqchip::User, writes::bytes(), 2_000);
}

#[test]
fn out_of_the_kernels_halt() {
    check("halted in the kernel", Irqchip::Kernel, sleeps::bytes(), 10_000);
}

#[test]
fn by_a_thread_that_has_all_signals_blocked() {
    if !there(Irqchip::Kernel) {
        return;
    }
    let blocked = std::thread::spawn(|| {
        // SAFETY: fills a set of its own and sets this thread's mask.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        }
        stress(long_machine(Irqchip::Kernel, &[(CODE, sleeps::bytes())]), 100)
    });
    blocked.join().unwrap();
}
