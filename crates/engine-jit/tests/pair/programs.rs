//! Random programs that go round.

use super::asm::{branch, jal};
use super::{Random, asm};
use isa_riscv::random::rows;
use isa_riscv::rows::{Row, flag};

/// Rows that go on to the next instruction.
pub fn plain() -> Vec<&'static Row> {
    const OF: [&str; 11] = ["I", "M", "F", "D", "Zba", "Zbb", "Zbs", "Zicond", "A", "Zaamo", "Zbc"];
    let rows = rows().filter(|row| OF.contains(&row.extension) && row.length == 32);
    rows.filter(|row| row.flags & flag::ENDS == 0).collect()
}

/// A conditional branch over `distance` bytes.
pub fn any_branch(random: &mut Random, distance: i32) -> u32 {
    let (rs1, rs2) = (random.below(32) as u32, random.below(32) as u32);
    let condition = random.one_of(&[0u32, 1, 4, 5, 6, 7]);
    branch(condition, rs1, rs2, distance)
}

/// An instruction that goes on to the next one. x8 and x9 hold addresses of data, and x1 of code, and stay so: what a store
/// to code does without a fence is not defined.
pub fn any_plain(random: &mut Random, row: &Row) -> u32 {
    let mut word = random.insn(row);
    if row.flags & (flag::LOAD | flag::STORE) != 0 {
        word = word & !(31 << 15) | (8 + random.below(2) as u32) << 15;
    }
    if matches!(word >> 7 & 31, 1 | 8 | 9) {
        word ^= 16 << 7;
    }
    word
}

/// Instructions that begin a block's successors.
pub fn program(random: &mut Random, rows: &[&Row]) -> Vec<u32> {
    let blocks: Vec<usize> = (0..2 + random.below(8)).map(|_| 1 + random.below(7) as usize).collect();
    let starts: Vec<i32> =
        blocks.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + 4 * (*n as i32 + 2)))).collect();
    let mut words = Vec::new();
    for &n in &blocks {
        for _ in 0..n {
            let row = random.one_of(rows);
            words.push(any_plain(random, row));
        }
        let at = |words: &[u32]| 4 * words.len() as i32;
        let to = random.one_of(&starts);
        words.push(any_branch(random, to - at(&words)));
        let to = random.one_of(&starts);
        words.push(match random.below(8) {
            0 => jal(1, to - at(&words)),
            1 => asm::RET,
            _ => jal(0, to - at(&words)),
        });
    }
    words
}
