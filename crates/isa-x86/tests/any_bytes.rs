//! Whatever bytes a guest has, in whatever mode: they are an instruction or not, its meaning ends, and nothing panics. (This
//! is built with checks for overflow.)

use isa_x86::testkit::TestMachine;
use isa_x86::{LONGEST, Meaning, Mode, decode, seg};
use std::collections::BTreeSet;

const BASE: u64 = 0x1_0000;
/// Tries in each mode, unless `HOSTEL_CASES` says another number.
const TRIES: u64 = 200_000;

/// xorshift64*
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Often near an edge, or in the data.
    fn value(&mut self) -> u64 {
        let bits = self.bits();
        match bits & 7 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (bits >> 58),
            3 => i64::MIN as u64,
            4 | 5 => BASE + (bits >> 8) % 0x3000,
            _ => bits >> (bits >> 58),
        }
    }

    fn code(&mut self) -> [u8; LONGEST] {
        let mut code = [0; LONGEST];
        let random = [self.bits(), self.bits()].map(u64::to_le_bytes).concat();
        code.iter_mut().zip(random).for_each(|(to, from)| *to = from);
        let start: &[u8] = match self.bits() % 12 {
            0 => &[0x0f],
            1 => &[0x66],
            2 => &[0x48],
            3 => &[0x67],
            4 => &[0xf3],
            5 => &[0xf0],
            6 => &[0x0f, 0x38],
            7 => &[0x48, 0x0f],
            8 => &[0xc4],
            9 => &[0x66, 0x0f],
            _ => &[],
        };
        code.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
        code
    }
}

#[test]
fn nothing_panics() {
    let tries = std::env::var("HOSTEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(TRIES);
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut met = BTreeSet::new();
    let (mut done, mut faults) = (0u64, 0u64);
    for mode in [Mode::Bits16, Mode::Bits32, Mode::Bits64] {
        let fresh = TestMachine::new(mode, BASE, 0x3000, 0x2000).state;
        let mut m = TestMachine::new(mode, BASE, 0x3000, 0x2000);
        // A string of 2^64 elements is for an engine to interrupt; here it faults before.
        for _ in 0..tries {
            m.state = fresh.clone();
            m.state.gpr = std::array::from_fn(|_| random.value());
            m.state.rip = random.value();
            m.state.set_rflags(random.bits() & 0x24_4ed5);
            if mode != Mode::Bits64 {
                m.state.segment_mut((random.bits() % 6) as u8).limit = random.value() as u32;
                m.state.segment_mut(seg::SS).big = random.bits() & 1 != 0;
                m.state.rip &= 0xffff_ffff;
                m.state.gpr.iter_mut().for_each(|r| *r &= 0xffff_ffff);
            }
            let Ok((meaning, insn)) = decode(&random.code(), mode) else { continue };
            // A user's, and now and then the system's.
            if random.bits() & 3 == 0 {
                m.state.segment_mut(seg::SS).dpl = 0;
            }
            met.insert(meaning);
            match m.run(meaning, &insn) {
                Ok(()) => done += 1,
                Err(_) => faults += 1,
            }
        }
    }
    let missing: Vec<Meaning> = Meaning::ALL.iter().copied().filter(|m| !met.contains(m)).collect();
    assert!(done > tries / 2 && faults > tries / 4, "{done} done, {faults} faults of {tries}");
    assert!(met.len() > Meaning::ALL.len() * 3 / 4, "never met: {missing:?}");
}
