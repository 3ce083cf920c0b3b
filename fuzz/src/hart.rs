//! Targets `hart` and `jit`: a hart that runs any bytes as code. `hart` runs it on the interpreter, once at a stretch and once in
//! pieces; `jit` on the interpreter and on the translator. Both must end in the same state: engines promise exact
//! instruction counts.

use crate::input::Input;
use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp::{Config, Interp};
use engine_jit::{Jit, Options};
use fabric_bus::BusBuilder;
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::PendingWord;
use isa_riscv::{Features, Hart};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const RAM: u64 = 0x8000_0000;
const SIZE: u64 = 16 * PAGE;
/// Instructions for each run.
const BUDGET: u64 = 400;

/// One arena for each of the two runs, made once; a run begins with it zeroed.
fn arenas() -> Option<&'static Mutex<[Arc<GuestRam>; 2]>> {
    static ARENAS: OnceLock<Option<Mutex<[Arc<GuestRam>; 2]>>> = OnceLock::new();
    let new = || GuestRam::new(SIZE).ok().map(Arc::new);
    ARENAS.get_or_init(|| Some(Mutex::new([new()?, new()?]))).as_ref()
}

/// The target: eight bytes of set-up, then code.
pub fn fuzz(data: &[u8]) {
    let Some(arenas) = arenas() else { return };
    let [whole, pieces] = &*arenas.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((set_up, code)) = data.split_first_chunk::<8>() else { return };
    let one = run(whole, set_up, code, BUDGET);
    let step = u64::from(set_up[0] >> 4) * 7 + 1;
    let other = run(pieces, set_up, code, step);
    assert!(one == other, "in pieces of {step}:\n{other:?}\nat a stretch:\n{one:?}");
    let (mut a, mut b) = (vec![0; SIZE as usize], vec![0; SIZE as usize]);
    let _ = (whole.copy_out(0, &mut a), pieces.copy_out(0, &mut b));
    assert!(a == b, "memory differs in pieces of {step}");
}

/// Instructions for each of the two engines.
const LONG: u64 = 4000;
/// Bytes of host code: little, so that the cache is made quickly, and full now and then.
const CACHE: usize = 256 << 10;

/// The target of two engines: as [`fuzz`], the pieces are what both run at a time. Code is in memory that cannot be written, and
/// what can be written cannot be executed: when changed code is seen without a fence, each engine may decide for itself.
pub fn jit(data: &[u8]) {
    if Jit::missing().is_some() {
        return;
    }
    let Some(arenas) = arenas() else { return };
    let [one, other] = &*arenas.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((set_up, code)) = data.split_first_chunk::<8>() else { return };
    // No step that no block fits into.
    let step = u64::from(set_up[0] >> 4) * 70 + 70;
    let step = if step > 700 { LONG } else { step };
    let options = Options { threshold: u32::from(set_up[2] & 3), cache: CACHE, ..Options::default() };
    let Ok(mut translator) = Jit::new(split(one, set_up, code), options) else { return };
    let mut interpreter = Interp::new(split(other, set_up, code));
    let mut used = 0;
    while used < LONG {
        let now = step.min(LONG - used);
        let (exit, expected) = (translator.run(now), interpreter.run(now));
        assert!(exit == expected, "the translator: {exit:?}, the interpreter: {expected:?}");
        let (a, b) = (translator.state(), interpreter.state());
        assert!(a == b, "the translator:\n{a:?}\nthe interpreter:\n{b:?}");
        assert_eq!(translator.retired(), interpreter.retired());
        if exit != Exit::Budget {
            break;
        }
        used += now;
    }
    let (mut a, mut b) = (vec![0; SIZE as usize], vec![0; SIZE as usize]);
    let _ = (one.copy_out(0, &mut a), other.copy_out(0, &mut b));
    assert!(a == b, "memory differs");
}

/// Runs `code` from the start of `ram`, `step` instructions at a time, and returns the state and count
/// at the end: of the budget, or where the hart would wait or wedge.
fn run(ram: &Arc<GuestRam>, set_up: &[u8; 8], code: &[u8], step: u64) -> (Hart, u64) {
    let mut cpu = Interp::new(config(ram, set_up, code));
    let mut used = 0;
    while used < BUDGET {
        let now = step.min(BUDGET - used);
        if cpu.run(now) != Exit::Budget {
            break;
        }
        used += now;
    }
    (cpu.state().clone(), cpu.retired())
}

/// The same as [`config`], but the first half of memory is for code and the second for data, whatever the guest does: by the
/// address map, and by locked PMP entries (Privileged Architecture, "Locking and Privilege Mode").
fn split(ram: &Arc<GuestRam>, set_up: &[u8; 8], code: &[u8]) -> Config {
    const HALF: u64 = SIZE / 2;
    let code = code.get(..code.len().min(HALF as usize)).unwrap_or_default();
    let mut config = config(ram, set_up, code);
    let mut builder = BusBuilder::new(Arc::clone(ram));
    let mapped = builder.ram("code", RAM, HALF, 0, false);
    assert_eq!(mapped.and_then(|()| builder.ram("data", RAM + HALF, HALF, HALF, true)), Ok(()));
    config.bus = Arc::new(builder.build());
    let pmp = &mut config.hart.csr.pmp;
    pmp.set_addr(0, (RAM + HALF) >> 2 | (HALF / 8 - 1));
    pmp.set_addr(1, u64::MAX >> 10);
    // Both NAPOT and locked: data may be read and written, the rest all.
    pmp.set_cfg_register(0, 0x9f9b);
    for register in config.hart.x.iter_mut().filter(|x| **x >> 31 == 1) {
        *register |= HALF;
    }
    config
}

/// A hart whose memory is `ram`, zeroed but for `code` at its start.
fn config(ram: &Arc<GuestRam>, set_up: &[u8; 8], code: &[u8]) -> Config {
    let _ = ram.fill(0, SIZE, 0);
    let _ = ram.copy_in(0, code.get(..code.len().min(SIZE as usize)).unwrap_or_default());
    let mut builder = BusBuilder::new(Arc::clone(ram));
    let mapped = builder.ram("ram", RAM, SIZE, 0, true);
    assert_eq!(mapped, Ok(()));
    let features = if set_up[0] & 1 == 0 { Features::FULL } else { Features::RV64GC };
    let mut hart = Hart::new(0, &features);
    hart.pc = RAM;
    hart.csr.mtvec = RAM + u64::from(set_up[1]) * 4;
    let mut input = Input::new(set_up);
    for (n, register) in hart.x.iter_mut().enumerate().skip(1) {
        // Some point into RAM, so that loads and stores have somewhere to go.
        let byte = u64::from(input.u8().unwrap_or(n as u8));
        *register = if n % 3 == 0 { byte.wrapping_sub(128) } else { RAM + byte * 257 };
    }
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    Config {
        hart,
        bus: Arc::new(builder.build()),
        time: TimeSource::new(timers, 10_000_000),
        pending: Arc::new(PendingWord::new()),
    }
}
