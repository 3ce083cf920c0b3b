//! The test machine as what the IR evaluator runs blocks on.

use isa_core::{AmoOp, Bin, Machine, Order, Width};
use isa_ir::{Block, Builder, Evaluator, Limits, Outcome, Passes, Target, verify};
use isa_riscv::disasm::length;
use isa_riscv::lift::{F, FS, X, lift};
use isa_riscv::rows::{Row, flag};
use isa_riscv::testkit::TestMachine;
use isa_riscv::{Exception, Features, Legal, Op, ROWS, RiscvMachine, Trap, decode16, decode32};

/// An access: address, width, ordering.
pub type Access = (u64, Width, Order);

/// Registers, memory and operations are those of a test machine.
pub struct IrMachine {
    pub m: TestMachine,
    /// A planted error: instead of the first operation, the second is computed.
    pub wrong: Option<(Bin, Bin)>,
    /// What has been accessed, and how.
    pub log: Vec<Access>,
    begun: bool,
}

impl IrMachine {
    pub fn new(m: TestMachine) -> IrMachine {
        IrMachine { m, wrong: None, log: Vec::new(), begun: false }
    }

    /// Runs `block` as the interpreter would run its instructions: a trap leaves the program counter
    /// at the instruction that takes it.
    pub fn run(&mut self, block: &Block) -> Result<(), Trap> {
        let pc = self.m.hart.pc;
        let outcome = Evaluator::default().eval(block, pc, self);
        let next = match outcome? {
            Outcome::Jump(pc) => pc,
            Outcome::Next(pc) => self.m.target.unwrap_or(pc),
            Outcome::Trap { code, arg } => {
                assert_eq!(code, Exception::IllegalInsn as u32);
                return Err(Trap::new(Exception::IllegalInsn, arg));
            }
        };
        self.m.hart.pc = next;
        self.m.retired += 1;
        Ok(())
    }
}

impl Target for IrMachine {
    type Stop = Trap;

    fn begin(&mut self, pc: u64, length: u8) {
        self.m.retired += u64::from(std::mem::replace(&mut self.begun, true));
        self.m.begin_at(pc, length.into());
    }
    fn get(&mut self, class: u8, index: u8) -> u64 {
        match class {
            X => self.m.hart.x[usize::from(index)],
            F => self.m.hart.f[usize::from(index)],
            _ => panic!("class {class} is not read"),
        }
    }
    fn set(&mut self, class: u8, index: u8, v: u64) {
        match class {
            X => self.m.hart.x[usize::from(index)] = v,
            F => self.m.hart.f[usize::from(index)] = v,
            FS if v == 1 => self.m.hart.csr.set_fp_dirty(),
            _ => panic!("class {class} is not written"),
        }
    }
    fn load(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Trap> {
        self.log.push((va, width, order));
        Machine::load(&mut self.m, va, width, order)
    }
    fn store(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<(), Trap> {
        self.log.push((va, width, order));
        Machine::store(&mut self.m, va, width, v, order)
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, order: Order) -> Result<u64, Trap> {
        self.log.push((va, width, order));
        Machine::amo(&mut self.m, op, va, width, v, order)
    }
    fn load_reserved(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Trap> {
        self.log.push((va, width, order));
        Machine::load_reserved(&mut self.m, va, width, order)
    }
    fn store_conditional(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<u64, Trap> {
        self.log.push((va, width, order));
        Machine::store_conditional(&mut self.m, va, width, v, order)
    }
    fn fence(&mut self, order: Order) {
        Machine::fence(&mut self.m, order);
    }
    fn call(&mut self, id: u32, args: [u64; 4]) -> Result<u64, Trap> {
        self.m.call(Op::from_number(id).expect("an operation"), args)
    }
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        match self.wrong {
            Some((from, to)) if op == from => to.apply(a, b),
            _ => op.apply(a, b),
        }
    }
}

/// Behind these a block may go on: they leave it only if taken.
const CONDITIONAL: [&str; 6] = ["beq", "bne", "blt", "bge", "bltu", "bgeu"];

/// The row of what `word` means: a compressed one's full form.
pub fn full_row(word: u32) -> Option<&'static Row> {
    let insn = if length(word) == 2 { decode16(word as u16) } else { decode32(word) };
    insn.and_then(|insn| ROWS.get(insn.index()))
}

/// Whether nothing of a block comes behind `word`.
pub fn ends(word: u32) -> bool {
    full_row(word).is_none_or(|row| row.flags & flag::ENDS != 0 && !CONDITIONAL.contains(&row.name))
}

/// The words' block as lifted, and after the passes. Both are verified, and so is that their text reads
/// back as themselves.
pub fn blocks(words: &[u32], fp_on: bool) -> [Block; 2] {
    let limits = Limits::default();
    let mut builder = Builder::new(&isa_riscv::lift::ISA, limits);
    let legal = Legal::of(&Features::FULL);
    for &word in words {
        let ends = lift(&mut builder, word, &legal, fp_on).expect("room");
        if ends && !full_row(word).is_some_and(|row| CONDITIONAL.contains(&row.name)) {
            break;
        }
    }
    let lifted = builder.finish().expect("room");
    let mut passed = lifted.clone();
    Passes::default().run(&mut passed);
    for block in [&lifted, &passed] {
        verify(block, &limits).unwrap_or_else(|fault| panic!("{fault}\n{block}"));
    }
    assert!(passed.nodes().len() <= lifted.nodes().len());
    [lifted, passed]
}

/// The bits of an illegal instruction, as the engine puts them where an operation left 0.
pub fn with_bits(result: Result<(), Trap>, words: &[u32], code: u64, pc: u64) -> Result<(), Trap> {
    result.map_err(|trap| {
        if trap != Trap::illegal() {
            return trap;
        }
        let mut at = code;
        let word = words.iter().find(|&&word| {
            let here = at == pc;
            at += u64::from(length(word));
            here
        });
        Trap::new(trap.cause, u64::from(*word.expect("the word at pc")))
    })
}
