//! A program in the making: its functions and what they consist of.

use crate::assembler::Assembler;
use crate::layout::{BASE, DATA, LEFT, RANDOM_PAGES, STACK, WINDOW};
use crate::op::{Function, Op, Program};
use crate::plain::plain;
use crate::random::{Random, Values};
use crate::registers::{LEVELS, Registers};
use crate::spaces::{is_slot, spaces};

/// Who a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Engines of one machine that count instructions: everything, with interrupts at any instruction, time, devices.
    Engines,
    /// Another emulator: nothing that depends on time or that it is known to do otherwise.
    Elsewhere,
}

impl Profile {
    /// Whether time, devices and what others do otherwise are there.
    pub fn free(self) -> bool {
        self == Profile::Engines
    }
}

/// Bytes of code that a program may have, with what functions and gaps add.
const MOST_CODE: u64 = 0xa000;

/// A program in the making.
pub(crate) struct Draft<'a> {
    /// Where choices come from.
    pub random: &'a mut Random,
    /// What there is of it.
    pub program: Program,
    /// Instructions that are patched.
    pub slots: usize,
    /// Bytes of code that may still be made.
    pub room: u64,
    /// Pieces at the end of a page that may still be made.
    pub page_ends: u32,
    /// How likely each kind of piece is, out of the sum.
    pub weights: Vec<u64>,
    /// The function being made, and how many there will be.
    pub function: usize,
    /// How many functions there will be.
    pub count: usize,
}

/// A maker of a piece, and how often it is asked, out of the sum of all.
type Kind = (u64, fn(&mut Draft<'_>, usize) -> Option<Op>);

/// The kinds of pieces.
const KINDS: &[Kind] = &[
    (30, |d, _| Some(Op::Code(d.computation()))),
    (26, |d, _| Some(Op::Code(d.access()))),
    (5, |d, _| Some(Op::Code(d.atomic()))),
    (2, |d, _| Some(Op::Code(d.block()))),
    (4, |d, _| {
        let (code, data) = d.beside();
        Some(Op::Beside { code, data })
    }),
    (9, |d, level| d.a_loop(level)),
    (10, |d, level| d.a_branch(level)),
    (3, |d, level| d.a_table(level)),
    (8, |d, _| d.a_call()),
    (2, |d, _| (d.function > 0).then_some(Op::Again)),
    (3, |d, _| Some(d.slot())),
    (3, |d, _| d.patch()),
    (3, |d, _| Some(d.go())),
    (3, |d, _| Some(d.middle())),
    (2, |d, _| d.page_end()),
    (2, |d, _| Some(d.a_return())),
    (7, |d, _| Some(Op::Code(d.csr()))),
    (4, |d, _| Some(Op::Code(d.status()))),
    (3, |d, _| Some(Op::Code(d.trap()))),
    (4, |d, _| Some(Op::Code(d.table_edit()))),
    (2, |d, _| Some(Op::Code(d.as_another_mode()))),
    (2, |d, _| Some(Op::Code(d.fence()))),
    (2, |d, _| d.program.profile.free().then(|| Op::Code(d.device()))),
    (1, |d, _| d.program.profile.free().then(|| Op::Code(d.protection()))),
    (1, |d, _| Some(Op::Code(d.software_interrupt()))),
];

/// Program `number` of `seed`, for the slot at `slot`.
///
/// # Panics
/// If there is no slot.
pub fn generate(seed: u64, number: u64, profile: Profile, slot: u64) -> Program {
    assert!(is_slot(slot), "{slot:#x} is not the start of a slot");
    let mut random = Random::new(seed, number);
    let program = start(&mut random, (seed, number), profile, slot);
    // Some programs do little of most kinds and much of a few.
    let calm = random.one_in(2);
    let weights = KINDS.iter().map(|(weight, _)| match random.below(6) {
        0 if !calm => weight * 6,
        1 | 2 if !calm => 0,
        _ => *weight,
    });
    let weights: Vec<u64> = weights.collect();
    let count = 1 + random.below(8) as usize;
    let room = 0x400 + random.below(MOST_CODE - 0x400);
    let mut draft =
        Draft { random: &mut random, program, slots: 0, room, page_ends: 3, weights, function: 0, count };
    draft.functions();
    draft.program
}

fn start(random: &mut Random, name: (u64, u64), profile: Profile, slot: u64) -> Program {
    let registers = Registers::new(random);
    let spaces = spaces(random, slot, profile.free());
    let fuel = match random.below(8) {
        // Others are slower at what programs do most: traps and fences.
        _ if !profile.free() => 20 + random.below(200),
        0 => 2000 + random.below(6000),
        1 | 2 => 400 + random.below(1600),
        _ => 20 + random.below(380),
    };
    let mut x = [0; 32];
    x.iter_mut().skip(1).for_each(|x| *x = random.integer());
    x[2] = slot + DATA + STACK;
    x[registers.base as usize] = slot + DATA + BASE;
    x[registers.linear as usize] = slot;
    x[registers.fuel as usize] = fuel;
    x[registers.busy as usize] = 0;
    let format = random.pick(&['h', 's', 'd']);
    let f = std::array::from_fn(|_| random.float(format));
    let mut data: Vec<u8> = (0..RANDOM_PAGES * 512).flat_map(|_| random.integer().to_le_bytes()).collect();
    data.resize(WINDOW as usize, 0);
    let csrs = crate::draft_system::csrs(random, profile);
    let chance = random.bits() | 1;
    debug_assert!(LEFT.is_multiple_of(4096));
    Program { name, profile, slot, registers, fuel, spaces, functions: Vec::new(), x, f, csrs, data, chance }
}

impl Draft<'_> {
    fn functions(&mut self) {
        let each = self.room / self.count as u64;
        for function in 0..self.count {
            self.function = function;
            self.room = each;
            let mut body = self.body(0);
            if function == 0 {
                // What starts in M-mode goes on elsewhere, mostly.
                if !self.random.one_in(4) {
                    body.insert(0, self.switch());
                }
                body = vec![Op::Loop { level: 0, count: 1 + self.random.below(12), body }];
            }
            let later = function + 1..self.count;
            let tail = (!later.is_empty() && function > 0 && self.random.one_in(4))
                .then(|| later.start + self.random.below(later.len() as u64) as usize);
            let gap = if function > 0 && self.random.one_in(3) { self.random.below(600) & !1 } else { 0 };
            self.program.functions.push(Function { body, tail, gap });
        }
    }

    /// A list of pieces, in loops down to `level`.
    pub(crate) fn body(&mut self, level: usize) -> Vec<Op> {
        let mut ops = Vec::new();
        let most = if level == 0 { 40 } else { 2 + self.random.below(10) };
        while (ops.len() as u64) < most && self.room > 64 {
            if let Some(op) = self.piece(level) {
                let own =
                    op.most_bytes() - op.bodies().into_iter().flatten().map(Op::most_bytes).sum::<u64>();
                self.room = self.room.saturating_sub(own);
                ops.push(op);
            }
        }
        ops
    }

    fn piece(&mut self, level: usize) -> Option<Op> {
        let mut at = self.random.below(self.weights.iter().sum::<u64>().max(1));
        for (weight, (_, make)) in self.weights.iter().zip(KINDS) {
            if at < *weight {
                return make(self, level);
            }
            at -= weight;
        }
        Some(Op::Code(self.computation()))
    }

    /// A few instructions that only compute.
    pub(crate) fn computation(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        for _ in 0..1 + self.random.below(6) {
            if self.random.one_in(8) {
                let (rd, value) = (self.program.registers.free(self.random), self.random.integer());
                code.li(rd, value);
            } else {
                code.raw(plain(self.random, &self.program.registers));
            }
        }
        code.finish()
    }

    fn a_loop(&mut self, level: usize) -> Option<Op> {
        // Function 0 has a loop around all of it.
        let level = if self.function == 0 { level + 1 } else { level };
        if level >= LEVELS {
            return None;
        }
        let body = self.body(level + 1);
        let count = match self.random.below(4) {
            0 => 1,
            1 => 2 + self.random.below(6),
            2 => 10 + self.random.below(60),
            _ => 100 + self.random.below(400),
        };
        Some(Op::Loop { level, count, body })
    }
}
