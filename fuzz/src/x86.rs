//! Target `x86`: a processor of the x86-64 interpreter that runs any bytes as code, in real, protected or 64-bit mode,
//! once at a stretch and once in pieces. Both must end in the same state: the engine promises exact counts.

use crate::input::Input;
use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp_x86::{Config, Interp};
use fabric_bus::BusBuilder;
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::PendingWord;
use fabric_wire::testkit::Silent;
use isa_x86::{Segment, State, TableRegister, cr0, cr4, efer};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const SIZE: u64 = 32 * PAGE;
/// Instructions for each run.
const BUDGET: u64 = 400;
/// Where tables and code lie; all is mapped one to one.
const PML4: u64 = 0x1000;
const GDT: u64 = 0x4000;
const IDT: u64 = 0x5000;
const TSS: u64 = 0x6000;
const CODE: u64 = 0x8000;

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
    assert!(one == other, "in pieces of {step}:\n{other:x?}\nat a stretch:\n{one:x?}");
    let (mut a, mut b) = (vec![0; SIZE as usize], vec![0; SIZE as usize]);
    let _ = (whole.copy_out(0, &mut a), pieces.copy_out(0, &mut b));
    assert!(a == b, "memory differs in pieces of {step}");
}

fn flat(selector: u16, kind: u8, dpl: u8, long: bool, big: bool) -> Segment {
    Segment { limit: u32::MAX, kind, dpl, long, big, granular: true, base: 0, ..Segment::real(selector) }
}

/// A descriptor: base 0, limit 4 GiB.
fn descriptor(kind: u64, dpl: u64, flags: u64) -> u64 {
    0xffff | (kind | 1 << 4 | dpl << 5 | 1 << 7) << 40 | (0xf | flags << 4) << 48
}

/// Page tables, descriptors and gates; the handlers are bytes of the code.
fn tables(ram: &GuestRam, long: bool, set_up: &[u8; 8]) {
    let put = |at: u64, v: u64| {
        let _ = ram.copy_in(at, &v.to_le_bytes());
    };
    put(PML4, 0x2007);
    put(0x2000, 0x3007);
    put(0x3000, 0x7007);
    // One page in eight is absent, read-only, the supervisor's or not executable.
    for n in 0..SIZE / PAGE {
        let odd = if n % 8 == 7 { [0, 5, 3, 7 | 1 << 63][n as usize / 8 % 4] } else { 7 };
        put(0x7000 + 8 * n, if odd == 0 { 0 } else { n << 12 | odd });
    }
    let tss = 0x67 | TSS << 16 | 0x8b << 40;
    let entries = [
        0,
        descriptor(0xb, 0, if long { 0xa } else { 0xc }),
        descriptor(3, 0, 0xc),
        descriptor(0xb, 3, 0xc),
        descriptor(3, 3, 0xc),
        descriptor(0xb, 3, 0xa),
        tss,
        0,
        // A call gate and 16-bit code.
        CODE & 0xffff | 8 << 16 | 0xec << 40,
        0,
        descriptor(0xb, 0, 0),
    ];
    (0..).zip(entries).for_each(|(n, entry)| put(GDT + 8 * n, entry));
    let size = if long { 16 } else { 8 };
    for n in 0..PAGE / size {
        let offset = CODE + ((n * u64::from(set_up[2])) & 0xff);
        let kind = if n % 3 == 0 { 0xf } else { 0xe };
        put(IDT + size * n, offset & 0xffff | 8 << 16 | (kind | 0xe0) << 40);
        if long {
            put(IDT + 16 * n + 8, 0);
        }
    }
    put(TSS + 4, 0xe000 | if long { 0 } else { 0x10 << 32 });
}

fn state(set_up: &[u8; 8]) -> State {
    let mut s = State::reset();
    let user = set_up[0] & 4 != 0;
    let dpl = if user { 3 } else { 0 };
    let data = if user { 0x23 } else { 0x10 };
    s.rip = CODE;
    (s.gdtr, s.idtr) = (TableRegister { base: GDT, limit: 0x57 }, TableRegister { base: IDT, limit: 0xfff });
    s.tr = Segment { kind: 0xb, s: false, base: TSS, limit: 0x67, ..Segment::real(0x30) };
    match set_up[0] & 3 {
        0 => {
            s.segments = [Segment::real(0); 6];
            s.idtr = TableRegister { base: IDT, limit: 0x3ff };
        }
        1 => {
            s.cr0 = cr0::PE | cr0::ET;
            s.segments = [flat(data, 3, dpl, false, true); 6];
            s.segments[1] = flat(if user { 0x1b } else { 8 }, 0xb, dpl, false, true);
        }
        _ => {
            s.cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::WP;
            s.cr4 = cr4::PAE | cr4::OSFXSR | cr4::FSGSBASE;
            s.cr3 = PML4;
            s.msrs.efer = efer::LME | efer::LMA | efer::NXE | efer::SCE;
            s.segments = [flat(data, 3, dpl, false, true); 6];
            s.segments[1] = flat(if user { 0x2b } else { 8 }, 0xb, dpl, true, false);
        }
    }
    s.set_rflags(2 | u64::from(set_up[1]) << 8 & 0x4d00 | u64::from(set_up[1]) & 0xd5);
    s
}

/// Runs `code`, `step` instructions at a time, and returns the state and count at the end: of the budget, or where the
/// processor would wait or shut down.
fn run(ram: &Arc<GuestRam>, set_up: &[u8; 8], code: &[u8], step: u64) -> (State, u64) {
    let _ = ram.fill(0, SIZE, 0);
    tables(ram, set_up[0] & 3 >= 2, set_up);
    let _ = ram.copy_in(CODE, code.get(..code.len().min(0x6000)).unwrap_or_default());
    let mut builder = BusBuilder::new(Arc::clone(ram));
    let mapped = builder.ram("ram", 0, SIZE, 0, true);
    assert_eq!(mapped, Ok(()));
    let mut state = state(set_up);
    let mut input = Input::new(set_up);
    for (n, register) in state.gpr.iter_mut().enumerate() {
        // Some point into RAM, so that loads and stores have somewhere to go.
        let byte = u64::from(input.u8().unwrap_or(n as u8));
        *register = if n % 3 == 2 { byte.wrapping_sub(128) } else { 0x8000 + byte * 257 };
    }
    state.gpr[4] = 0xd000;
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let memory = Arc::new(builder.build());
    let mut cpu = Interp::new(Config {
        state,
        ports: Arc::new(BusBuilder::new(Arc::clone(ram)).build()),
        memory,
        local: Arc::new(Silent),
        time: TimeSource::new(timers, 1_000_000_000),
        pending: Arc::new(PendingWord::new()),
    });
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
