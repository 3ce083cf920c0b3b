//! The same random instructions interpreted, and lifted and run by the IR's evaluator, before and after the passes: one
//! meaning, three ways.

use crate::bytes::Template;
use crate::case::Case;
use crate::machine;
use crate::random::Random;
use hostcpu::CODE;
use isa_core::{AmoOp, Bin, LazyFlags, Machine, Order, Width};
use isa_ir::{Block, Builder, Evaluator, Limits, Outcome, Target};
use isa_x86::testkit::TestMachine;
use isa_x86::{Fault, Meaning, Mode, Op, State, lift, ops, rflags};

/// Cases of each row, unless `HOSTEL_CASES` says another number.
const CASES: usize = 100;

/// The machine as the evaluator sees it.
struct Lifted {
    machine: TestMachine,
    /// Computes exclusive or wrong.
    planted: bool,
}

impl Target for Lifted {
    type Stop = Fault;

    fn begin(&mut self, pc: u64, length: u8) {
        self.machine.state.rip = pc;
        self.machine.begin(length);
    }
    fn get(&mut self, class: u8, index: u8) -> u64 {
        match class {
            lift::DF => u64::from(self.machine.state.system_flags & rflags::DF != 0),
            _ => self.machine.state.gpr[usize::from(index)],
        }
    }
    fn set(&mut self, class: u8, index: u8, v: u64) {
        let state = &mut self.machine.state;
        match class {
            lift::DF if v != 0 => state.system_flags |= rflags::DF,
            lift::DF => state.system_flags &= !rflags::DF,
            _ => state.gpr[usize::from(index)] = v,
        }
    }
    fn get_flags(&mut self, _: u8, _: u8) -> LazyFlags {
        self.machine.state.status
    }
    fn set_flags(&mut self, _: u8, _: u8, flags: LazyFlags) {
        self.machine.state.status = flags;
    }
    fn load(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Fault> {
        Machine::load(&mut self.machine, va, width, order)
    }
    fn store(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<(), Fault> {
        Machine::store(&mut self.machine, va, width, v, order)
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, order: Order) -> Result<u64, Fault> {
        Machine::amo(&mut self.machine, op, va, width, v, order)
    }
    fn load_reserved(&mut self, _: u64, _: Width, _: Order) -> Result<u64, Fault> {
        unreachable!("x86 has no reservations")
    }
    fn store_conditional(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<u64, Fault> {
        unreachable!("x86 has no reservations")
    }
    fn fence(&mut self, _: Order) {}
    fn call(&mut self, id: u32, args: [u64; 4]) -> Result<u64, Fault> {
        let op = Op::from_number(id).expect("the lifter numbers what it calls");
        ops::run(&mut self.machine, op, args)
    }
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        if self.planted && op == Bin::Xor { a | b } else { op.apply(a, b) }
    }
}

impl Lifted {
    /// Runs a block of one instruction as [`TestMachine::run`] does.
    fn run(&mut self, block: &Block, evaluator: &mut Evaluator) -> Result<(), Fault> {
        let pc = self.machine.state.rip;
        loop {
            match evaluator.eval(block, pc, self)? {
                Outcome::Jump(target) => self.machine.state.rip = target,
                Outcome::Next(_) if self.machine.takes_again() => continue,
                Outcome::Next(next) => self.machine.state.rip = next,
                Outcome::Trap { code, arg } => {
                    assert_ne!(code, lift::INTERPRET, "a user-level instruction");
                    let error = (code >> 8 != 0).then_some(arg as u32);
                    return Err(Fault { vector: code as u8, error, address: None });
                }
            }
            return Ok(());
        }
    }
}

fn same(a: &State, b: &State) -> bool {
    a.gpr == b.gpr && a.rip == b.rip && a.rflags() == b.rflags()
}

/// Puts a case's registers and bytes into a machine.
fn start(m: &mut TestMachine, case: &Case) {
    (m.state.gpr, m.state.rip, m.slice) = (case.regs.gpr, case.regs.rip, case.slice);
    m.state.set_rflags(case.regs.rflags & hostcpu::SETTABLE | 0x202);
    if let Some((at, value)) = case.poke {
        m.data[at..at + 16].copy_from_slice(&value.to_le_bytes());
    }
}

/// The rows, whatever the host has.
fn templates() -> Vec<Template> {
    crate::rows::of_user_code().map(Template::new).collect()
}

/// Runs random cases of each row three ways; how many differed.
fn differences(templates: &[Template], cases: usize, planted: bool) -> (usize, usize) {
    let mut builder = Builder::new(&lift::ISA, Limits::default());
    let mut evaluator = Evaluator::default();
    let (mut ours, mut theirs) = (machine(), Lifted { machine: machine(), planted });
    let (mut ran, mut differ) = (0, 0);
    for (n, template) in templates.iter().enumerate() {
        let mut random = Random::new(3, n as u64);
        for _ in 0..cases {
            let Some(case) = Case::new(&mut random, template, CODE).filter(|case| !case.refused) else {
                continue;
            };
            let lifted = lift::lift(&mut builder, &case.encoded.bytes[..15], Mode::Bits64, Width::B8);
            assert_eq!(lifted.map(|(length, _)| usize::from(length)), Ok(case.encoded.len));
            let mut block = builder.finish().expect("one instruction fits");
            isa_ir::verify(&block, &Limits::default()).unwrap_or_else(|why| panic!("{why}\n{block}"));
            for passes in [false, true] {
                if passes {
                    isa_ir::Passes::default().run(&mut block);
                    isa_ir::verify(&block, &Limits::default()).unwrap_or_else(|why| panic!("{why}\n{block}"));
                }
                for word in ours.data.chunks_exact_mut(8).step_by(3) {
                    word.copy_from_slice(&random.bits().to_le_bytes());
                }
                theirs.machine.data.copy_from_slice(&ours.data);
                start(&mut ours, &case);
                start(&mut theirs.machine, &case);
                let (meaning, insn) = &case.encoded.insn;
                let (a, b) = (ours.run(*meaning, insn), theirs.run(&block, &mut evaluator));
                ran += 1;
                let agree =
                    a == b && same(&ours.state, &theirs.machine.state) && ours.data == theirs.machine.data;
                if !agree {
                    differ += 1;
                    assert!(planted, "{insn:x?}\n{a:x?} {b:x?}\n{block}");
                    theirs.machine.data.copy_from_slice(&ours.data);
                }
            }
        }
    }
    (ran, differ)
}

#[test]
fn every_row_means_the_same_lifted() {
    let cases = std::env::var("HOSTEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let templates = templates();
    let (ran, _) = differences(&templates, cases, false);
    assert!(ran > templates.len() * cases, "{ran} of {} rows", templates.len());
}

#[test]
fn a_wrong_operation_is_noticed() {
    let rows = |meaning| {
        let own = move |t: &Template| Meaning::of(t.row.code) == Some(meaning);
        templates().into_iter().filter(own).collect::<Vec<_>>()
    };
    assert_ne!(differences(&rows(Meaning::Xor), 20, true).1, 0);
    assert_eq!(differences(&rows(Meaning::Or), 20, true).1, 0);
}
