//! The fuzz entry: any bytes, played as calls of a machine with several harts.

use crate::fake::{Fake, RAM, RAM_SIZE, ROM};
use crate::{After, EXTENSIONS, HartState, Parked, Sbi, extension};
use isa_riscv::{Features, Hart, Mode};

const HARTS: u32 = 5;

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A number of up to 8 bytes; one byte says which kind.
    fn number(&mut self) -> u64 {
        let kind = self.byte().unwrap_or(0);
        let small = u64::from(kind >> 4);
        let mut bytes = |count: u32| (0..count).fold(0, |v, _| v << 8 | u64::from(self.byte().unwrap_or(0)));
        match kind & 15 {
            0..=3 => small,
            4 => bytes(1),
            5 => bytes(2),
            6 => bytes(4),
            7 => bytes(8),
            8 => u64::MAX - small,
            9 => RAM + bytes(2),
            10 => RAM + RAM_SIZE - small,
            11 => ROM + bytes(1),
            12 => 1 << bytes(1).min(63),
            13 => 0x8000_0000 | small,
            14 => 0xf_0000 | small,
            _ => u64::MAX << bytes(1).min(63),
        }
    }
}

/// Plays `bytes`.
///
/// # Panics
/// If a call breaks its rules: it keeps all registers but `a0` (and `a1`, if it is not legacy), and
/// the hart goes on behind the `ecall`, takes an exception there, retries, or stops.
pub fn fuzz(bytes: &[u8]) {
    let mut cursor = Cursor(bytes);
    let sbi = Sbi::new(HARTS);
    sbi.power_on(0, RAM, 0);
    let features = if cursor.byte().unwrap_or(0) & 1 == 0 { Features::FULL } else { Features::RV64GC };
    let mut harts: Vec<Hart> = (0..HARTS).map(|id| Hart::new(id.into(), &features)).collect();
    let mut fake = Fake::default();
    while let Some(op) = cursor.byte() {
        let id = u32::from(op) % HARTS;
        let Some(hart) = harts.get_mut(id as usize) else { continue };
        if op >> 6 == 3 {
            fake.room = cursor.number().min(1 << 20) as usize;
            fake.input.extend(cursor.number().to_le_bytes());
            fake.ipi_on_its_way = op & 1 != 0;
        }
        let before = sbi.state(id);
        let parked = sbi.resume(hart, op & 32 != 0);
        assert_eq!(parked == Parked::Run, sbi.state(id) == Some(HartState::Started), "{before:?}");
        if parked == Parked::Run {
            step(&sbi, hart, &mut fake, &mut cursor);
        }
        let others = (0..HARTS).map(|id| sbi.state(id));
        if others.into_iter().all(|state| state == Some(HartState::Stopped)) {
            sbi.power_on(0, RAM, 0);
        }
    }
    let saved = sbi.save();
    let other = Sbi::new(HARTS);
    assert_eq!(other.load(&saved), Ok(()));
    assert_eq!(other.save(), saved);
}

/// One call, and the rules.
fn step(sbi: &Sbi, hart: &mut Hart, fake: &mut Fake, cursor: &mut Cursor<'_>) {
    assert_eq!(hart.mode, Mode::S);
    for register in hart.x.iter_mut().skip(10).take(6) {
        *register = cursor.number();
    }
    let select = cursor.byte().unwrap_or(0);
    let row = EXTENSIONS.get(usize::from(select) % (EXTENSIONS.len() + 1));
    let eid = row.map_or_else(|| cursor.number(), |row| row.eid);
    for (number, value) in [(16, cursor.number()), (17, eid)] {
        if let Some(register) = hart.x.get_mut(number) {
            *register = value;
        }
    }
    if select & 0x80 != 0 {
        // A page table may lie anywhere.
        hart.csr.satp = (8 << 60) | ((RAM >> 12) + u64::from(select & 31));
    }
    let before = hart.clone();
    fake.fences.clear();
    fake.ipis.clear();
    fake.output.clear();
    let after = sbi.call(hart, fake);
    let trapped = hart.pc != before.pc.wrapping_add(4);
    let legacy = extension(eid).is_some_and(|row| row.legacy);
    for (number, (new, old)) in hart.x.iter().zip(&before.x).enumerate() {
        let may = after != After::Retry && (number == 10 || number == 11 && !legacy);
        assert!(new == old || may, "x{number} changed by {row:?}");
    }
    match after {
        After::Retry => assert_eq!(*hart, before),
        After::Continue if trapped => {
            assert!(legacy);
            assert_eq!((hart.csr.sepc, hart.pc), (before.pc, before.csr.stvec & !3));
        }
        _ => assert!(!trapped),
    }
    assert!(fake.output.len() <= 1 << 16);
    assert!(fake.fences.len() + fake.ipis.len() <= 1);
    assert_eq!(fake.ram.len() as u64, RAM_SIZE);
    hart.mode = Mode::S;
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_bytes_keep_the_rules() {
        for round in 1..=300u64 {
            let mut seed = round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                (seed >> 32) as u8
            })
            .take(1500)
            .collect();
            super::fuzz(&bytes);
        }
    }
}
