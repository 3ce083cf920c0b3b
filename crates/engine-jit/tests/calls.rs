//! Loops that call by a register: regions go into the function that the register leads to when they are made, and must notice
//! when it leads elsewhere, or the function is another one.

mod pair;

use engine_core::{Exit, Vcpu};
use engine_jit::{Options, Tiers};
use fabric_ram::PAGE;
use isa_riscv::{Features, Hart};
use pair::asm::*;
use pair::*;

/// The page of the caller.
const HERE: u64 = RAM + 3 * PAGE;
/// So many addresses of functions are called in turns.
const TURNS: u64 = 64;
/// A call goes to so many bytes before the address, and the instruction says how many.
const BEFORE: i32 = 24;
/// Counts.
const S5: u32 = 21;

/// How the function is called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    /// `c.jalr t2`
    Short,
    /// `jalr ra, 0(t2)`
    Long,
    /// `jalr ra, -24(t2)`, of an address that is 24 more.
    Before,
    /// `jalr ra, 0(ra)`: where it goes is in the link register, where a region mostly finds what the last call came back to.
    Same,
    /// `jalr t0, 0(t2)`: the other link register.
    Other,
}

const CALLS: [Call; 5] = [Call::Short, Call::Long, Call::Before, Call::Same, Call::Other];

impl Call {
    /// The call, with what has to be done first, all of 8 bytes.
    fn words(self) -> Vec<u32> {
        // c.nop; c.jalr t2
        const SHORT: [u32; 3] = [0x13, 1, 0x9382];
        match self {
            Call::Short => SHORT.to_vec(),
            Call::Long => vec![0x13, jalr(RA, T2, 0)],
            Call::Before => vec![0x13, jalr(RA, T2, -BEFORE)],
            Call::Same => vec![addi(RA, T2, 0), jalr(RA, RA, 0)],
            Call::Other => vec![0x13, jalr(T0, T2, 0)],
        }
    }
}

/// A function that adds to a1, and half of the time to a2. It returns by either link register.
fn function(call: Call, n: i32) -> Vec<u32> {
    let back = if call == Call::Other { jalr(0, T0, 0) } else { RET };
    vec![
        addi(A1, A1, n),
        andi(A4, S0, 16),
        branch(n as u32 & 1, A4, 0, 8),
        addi(A2, A2, 3 * n),
        add(A3, A3, A2),
        back,
    ]
}

/// A loop that calls what memory says at s0, then what it says behind that, round and round.
fn caller(call: Call) -> Vec<u32> {
    let mut code = vec![andi(T1, S0, 8 * TURNS as i32 - 1), add(T1, T1, S1), load(3, T2, T1, 0)];
    code.extend(call.words());
    code.extend([addi(S0, S0, 8), add(A5, A5, A1), jal(0, -28)]);
    code
}

/// A pair with the caller, functions at these places, and memory that says when which is called.
fn build(options: Options, call: Call, places: &[u64], mut turn: impl FnMut(u64) -> usize) -> Option<Pair> {
    let mut pair = Pair::new(options)?;
    pair.code(HANDLER, &handler(&[]));
    pair.put(HERE, &bytes(&caller(call)));
    for (n, at) in (1..).zip(places) {
        pair.code(*at, &function(call, n));
    }
    let more = if call == Call::Before { BEFORE as u64 } else { 0 };
    let addresses: Vec<u8> = (0..TURNS).flat_map(|n| (places[turn(n)] + more).to_le_bytes()).collect();
    pair.put(DATA, &addresses);
    let mut hart = Hart::new(0, &Features::FULL);
    (hart.pc, hart.csr.mtvec, hart.x[S1 as usize]) = (HERE, HANDLER, DATA);
    pair.set(&hart);
    Some(pair)
}

/// In slices of every size. All functions must have been called.
fn run(pair: &mut Pair, what: &str) {
    let mut random = Random::new(seed(95));
    for _ in 0..40 {
        let n = 1 + random.below(500);
        assert_eq!(pair.run(n), Ok(Exit::Budget), "{what}");
    }
    pair.assert_translated();
    assert!(pair.jit.cpu.counts().regions > 0, "{what}");
}

fn some_options() -> [Options; 4] {
    let warm = Options { threshold: 2, ..Options::default() };
    [eager(), second(), warm, Options { cache: 0, ..second() }]
}

/// Functions of the caller's page in turns, at random, and one for long before another.
#[test]
fn functions_of_the_same_page() {
    let places = [HERE + 0x400, HERE + 0x802, HERE + 0xfe8];
    for options in some_options() {
        for call in CALLS {
            for kind in 0..4 {
                let mut random = Random::new(seed(96));
                let turn = |n: u64| match kind {
                    0 => n as usize % 2,
                    1 => n as usize % 3,
                    2 => random.below(3) as usize,
                    _ => n as usize / 31,
                };
                let Some(mut pair) = build(options, call, &places, turn) else { return };
                run(&mut pair, &format!("{call:?} {kind} {options:?}"));
                let counts = pair.jit.cpu.counts();
                assert!(counts.entered > 0, "{call:?} {kind} {counts:?}");
                assert!(counts.joined > 0 || call == Call::Same, "{call:?} {kind} {counts:?}");
            }
        }
    }
}

/// One of the caller's page and one at the same place of the next page, so that the place does not tell which one it is; or
/// two of the next page, where nothing is to be gone into.
#[test]
fn functions_of_other_pages() {
    let places = [HERE + 0x400, HERE + PAGE + 0x400, HERE + PAGE];
    for options in some_options() {
        for call in CALLS {
            for others in [false, true] {
                let turn = |n: u64| n as usize % 2 + usize::from(others);
                let Some(mut pair) = build(options, call, &places, turn) else { return };
                run(&mut pair, &format!("{call:?} {others} {options:?}"));
                let counts = pair.jit.cpu.counts();
                // A region that is not made at once may find another page's function in the register.
                if call != Call::Same && (others || options.tiers == Tiers::Second) {
                    assert_eq!(counts.entered > 0, !others, "{call:?} {counts:?}");
                }
            }
        }
    }
}

/// The loop itself rewrites the function now and then: what it does, what it branches over, and that it returns.
#[test]
fn a_function_that_is_rewritten() {
    let function = HERE + 0x400;
    for options in some_options() {
        for call in [Call::Short, Call::Long, Call::Same] {
            // An instruction of the function, and the bits in which it differs from what is there in turns with it: what is
            // added; the same of what is branched over; a register; the branch's condition; whether there is a branch.
            for (at, word, flip) in [
                (0, addi(A1, A1, 1), 1 << 20),
                (12, addi(A2, A2, 5), 1 << 20),
                (16, add(A3, A3, A2), 3 << 20),
                (8, branch(1, A4, 0, 8), 1 << 12),
                (8, branch(1, A4, 0, 8), branch(1, A4, 0, 8) ^ addi(A2, A2, 1)),
            ] {
                let Some(mut pair) = build(options, call, &[function], |_| 0) else { return };
                let mut code = vec![andi(T1, S0, 0x1f8), branch(1, T1, 0, 20)];
                code.extend([store(2, S2, S3, 0), xor(S2, S2, S4), FENCE_I, addi(S5, S5, 1)]);
                code.extend(caller(call));
                code.pop();
                code.push(jal(0, -(bytes(&code).len() as i32)));
                pair.put(HERE, &bytes(&code));
                let mut hart = Hart::new(0, &Features::FULL);
                (hart.pc, hart.csr.mtvec, hart.x[S1 as usize]) = (HERE, HANDLER, DATA);
                hart.x[S2 as usize] = word.into();
                hart.x[S3 as usize] = function + at;
                hart.x[S4 as usize] = flip.into();
                pair.set(&hart);
                run(&mut pair, &format!("{call:?} {at} {options:?}"));
                let state = pair.jit.cpu.state();
                assert!(state.x[S5 as usize] > 8, "{state:x?}");
                assert!(pair.jit.cpu.counts().entered > 0, "{call:?} {at} {:?}", pair.jit.cpu.counts());
            }
        }
    }
}
