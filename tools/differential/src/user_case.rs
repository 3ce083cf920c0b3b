//! One user-level case: registers, memory, and a few random instructions of the tables.
//!
//! A case is made of pieces that do not depend on each other's length, so that a failing case can be
//! shrunk by emptying pieces. A register that is the base of an access is used for nothing before, so
//! that its address is known when the case is made.

use crate::random::Random;
use crate::user_draft::Draft;
use isa_riscv::disasm::length;
use isa_riscv::rows::{Row, flag};
use std::collections::VecDeque;

/// Bytes of memory that belong to a case.
pub const SCRATCH_BYTES: u64 = 256;
/// A system call that no Linux has; more follow it.
pub const NO_SYSCALL: u64 = 0x7fff_ff00;

/// What a register holds when the case begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Plain(u64),
    /// An address relative to the case's record.
    Record(i64),
    /// An address relative to the page behind which nothing is mapped.
    Edge(i64),
    /// An address relative to a piece of the case's code.
    Code {
        /// Which piece.
        piece: usize,
        /// Bytes from its start.
        plus: i64,
    },
}

/// An instruction under test, with what stands around it.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// Code.
    pub bytes: Vec<u8>,
    /// Where the instructions under test are in it.
    pub subjects: Vec<usize>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Code.
    pub pieces: Vec<Piece>,
    /// Integer registers.
    pub x: [Value; 32],
    /// Floating-point registers.
    pub f: [u64; 32],
    /// `fcsr`.
    pub fcsr: u64,
    /// Memory.
    pub scratch: Vec<u8>,
}

/// The instruction at the start of `bytes`.
pub fn first_word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    let n = bytes.len().min(4);
    word[..n].copy_from_slice(&bytes[..n]);
    let word = u32::from_le_bytes(word);
    if length(word) == 2 { word & 0xffff } else { word }
}

/// Whether the row only traps in user mode, or always.
pub fn traps(row: &Row) -> bool {
    row.flags & flag::PRIVILEGED != 0 || matches!(row.name, "ebreak" | "c.ebreak")
}

/// Makes cases: all rows in turn, in random order.
pub struct Cases {
    rows: Vec<&'static Row>,
    queue: VecDeque<&'static Row>,
    last: VecDeque<&'static Row>,
}

impl Cases {
    /// Cases of these rows.
    pub fn new(rows: Vec<&'static Row>) -> Cases {
        Cases { rows, queue: VecDeque::new(), last: VecDeque::new() }
    }

    fn refill(&mut self, random: &mut Random) {
        let mut rows = self.rows.clone();
        random.shuffle(&mut rows);
        for row in rows {
            if traps(row) { self.last.push_back(row) } else { self.queue.push_back(row) }
        }
    }

    /// The next case, whose record will lie at `record`; `reserved` holds an address of code when it
    /// begins, and what it holds in the end is not seen.
    pub fn next(&mut self, random: &mut Random, record: u64, reserved: u8) -> Case {
        let mut draft = Draft::new(random, record, reserved);
        let wanted = 5 + draft.random.below(6) as usize;
        for _ in 0..3 * wanted {
            if self.queue.is_empty() && (self.last.is_empty() || draft.case.pieces.is_empty()) {
                self.refill(draft.random);
            }
            let Some(row) = self.queue.pop_front() else { break };
            if !draft.add(row) {
                // It found no register: another case will have one.
                let at = (draft.random.below(8) as usize).min(self.queue.len());
                self.queue.insert(at, row);
            }
            if draft.case.pieces.len() >= wanted || draft.over {
                break;
            }
        }
        if !draft.over {
            match self.last.pop_front() {
                Some(row) => {
                    draft.plain(row);
                }
                None if draft.random.one_in(3) => draft.illegal(&self.rows),
                None => {}
            }
        }
        draft.finish()
    }
}
