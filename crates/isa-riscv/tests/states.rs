//! Random instructions and operations on random states: what traps changes nothing, and an operation
//! changes and depends on no more than its declared effects.

use isa_core::Width;
use isa_riscv::csr::{self, CsrAction};
use isa_riscv::csr_fields::mstatus;
use isa_riscv::ops::{self, BlockOp, CsrOp, Fmt, FpOp, Op, Parts};
use isa_riscv::random::{random_insn, rows};
use isa_riscv::testkit::TestMachine;
use isa_riscv::{Features, Mode, csr_name};

const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 0x1000;

/// A generator of pseudo-random numbers (xorshift64*), the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }

    /// A register value: an address in or near memory, something small, special or arbitrary.
    fn value(&mut self) -> u64 {
        const SPECIAL: [u64; 8] = [
            0,
            1,
            u64::MAX,
            1 << 63,
            0x7ff0 << 48,
            0xffff_ffff_7f80_0001,
            0xffff_ffff_3f80_0000,
            0x8000_0000,
        ];
        match self.below(4) {
            0 => BASE + self.below(SIZE + 64),
            1 => (BASE + self.below(SIZE)) & !63,
            2 => SPECIAL[self.below(8) as usize],
            _ => self.next(),
        }
    }

    /// A machine in any state that software can reach, as far as instructions look at it.
    fn machine(&mut self) -> TestMachine {
        let mut m = TestMachine::new(&Features::FULL, BASE, SIZE as usize);
        for name in
            ["mstatus", "mie", "mip", "menvcfg", "senvcfg", "mcounteren", "scounteren", "mepc", "sepc"]
        {
            let number = isa_riscv::csr_number(name).expect(name);
            let v = self.next();
            csr::access(&mut m, number, CsrAction::Write(v)).expect(name);
        }
        m.hart.csr.fflags = self.below(32) as u8;
        m.hart.csr.frm = self.below(8) as u8;
        m.hart.x.iter_mut().skip(1).for_each(|x| *x = self.value());
        m.hart.f.iter_mut().for_each(|f| *f = self.value());
        m.hart.mode = [Mode::U, Mode::S, Mode::M][self.below(3) as usize];
        if self.below(2) == 0 {
            m.reservation = Some((BASE + 8 * self.below(SIZE / 8), Width::B8));
        }
        m.memory.iter_mut().for_each(|byte| *byte = self.next() as u8);
        m.changes.clear();
        m
    }
}

#[test]
fn an_instruction_that_traps_has_changed_nothing() {
    let mut random = Random(1);
    let (mut ran, mut trapped) = (0, 0);
    for row in rows() {
        for _ in 0..100 {
            let mut m = random.machine();
            let word = random_insn(row, &mut || random.next());
            m.write(BASE, Width::B4, u64::from(word)).expect("memory");
            let mut before = m.clone();
            match m.step() {
                Ok(()) => ran += 1,
                Err(trap) => {
                    trapped += 1;
                    // What the machine notes about the current instruction is no state.
                    let (changes, fences) = (m.changes.clone(), m.fences.clone());
                    assert!(changes.is_empty() && fences.is_empty(), "{} {word:#010x} {trap:?}", row.name);
                    before.begin();
                    m.begin();
                    // A store conditional may lose its reservation at any time.
                    before.reservation = m.reservation;
                    assert!(m == before, "{} {word:#010x} {trap:?}", row.name);
                }
            }
            assert_eq!(m.hart.x[0], 0, "{} {word:#010x}", row.name);
        }
    }
    println!("{ran} ran, {trapped} trapped");
    assert!(ran > 10_000 && trapped > 2_000, "too few of one kind: {ran} ran, {trapped} trapped");
}

/// Every kind of operation, with every CSR that has a name.
fn operations() -> Vec<Op> {
    let mut all = vec![
        Op::FenceI,
        Op::Ecall,
        Op::Ebreak,
        Op::Mret,
        Op::Sret,
        Op::Wfi,
        Op::SfenceVma,
        Op::SinvalVma,
        Op::SfenceWInval,
        Op::SfenceInvalIr,
    ];
    all.extend([BlockOp::Inval, BlockOp::Clean, BlockOp::Flush, BlockOp::Zero].map(Op::Block));
    for number in (0..0x1000).filter(|n| csr_name(*n).is_some()) {
        all.extend([CsrOp::Read, CsrOp::Write, CsrOp::Set, CsrOp::Clear].map(|op| Op::Csr(op, number)));
    }
    let fp = [
        FpOp::Add,
        FpOp::Sub,
        FpOp::Mul,
        FpOp::Div,
        FpOp::Sqrt,
        FpOp::MulAdd,
        FpOp::MulSub,
        FpOp::NegMulAdd,
        FpOp::NegMulSub,
        FpOp::Min,
        FpOp::Max,
        FpOp::Eq,
        FpOp::Lt,
        FpOp::Le,
        FpOp::Class,
        FpOp::ToI32,
        FpOp::ToU32,
        FpOp::ToI64,
        FpOp::ToU64,
        FpOp::FromI32,
        FpOp::FromU32,
        FpOp::FromI64,
        FpOp::FromU64,
        FpOp::From(Fmt::H),
        FpOp::From(Fmt::S),
        FpOp::From(Fmt::D),
    ];
    for fmt in [Fmt::H, Fmt::S, Fmt::D] {
        all.extend(fp.map(|op| Op::Fp(op, fmt)));
    }
    all
}

/// Makes the parts of `m` that are in `parts` those of `from`.
fn copy(m: &mut TestMachine, from: &TestMachine, parts: Parts) {
    let (fs, frm, fflags) = (m.hart.csr.mstatus & mstatus::FS, m.hart.csr.frm, m.hart.csr.fflags);
    if parts.contains(Parts::SYSTEM) {
        m.hart.csr = from.hart.csr.clone();
        m.hart.mode = from.hart.mode;
        m.changes.clone_from(&from.changes);
        (m.hart.csr.frm, m.hart.csr.fflags) = (frm, fflags);
        m.hart.csr.mstatus = m.hart.csr.mstatus & !mstatus::FS | fs;
    }
    if parts.contains(Parts::FLAGS) {
        m.hart.csr.fflags = from.hart.csr.fflags;
        m.hart.csr.mstatus = m.hart.csr.mstatus & !mstatus::FS | from.hart.csr.mstatus & mstatus::FS;
    }
    if parts.contains(Parts::ROUNDING) {
        m.hart.csr.frm = from.hart.csr.frm;
    }
    if parts.contains(Parts::MEMORY) {
        m.memory.clone_from(&from.memory);
    }
    if parts.contains(Parts::CONTROL) {
        (m.hart.pc, m.target, m.waiting) = (from.hart.pc, from.target, from.waiting);
    }
}

/// Everything that `parts` has not.
fn others(parts: Parts) -> Vec<Parts> {
    let all = [Parts::FLAGS, Parts::ROUNDING, Parts::MEMORY, Parts::SYSTEM, Parts::CONTROL];
    all.into_iter().filter(|part| !parts.contains(*part)).collect()
}

#[test]
fn operations_keep_to_their_declared_effects() {
    let mut random = Random(2);
    for op in operations() {
        let effects = op.effects();
        for _ in 0..40 {
            let mut m = random.machine();
            let args = [random.value(), random.value(), random.value(), random.below(8)];
            let before = m.clone();
            let result = ops::run(&mut m, op, args);
            assert!(effects.traps || result.is_ok(), "{op:?} {args:x?} gave {result:?}");
            // Nothing but the declared parts has changed.
            let mut undone = m.clone();
            for part in [Parts::FLAGS, Parts::ROUNDING, Parts::MEMORY, Parts::SYSTEM, Parts::CONTROL] {
                if effects.writes.contains(part) && result.is_ok() {
                    copy(&mut undone, &before, part);
                }
            }
            // `fence.i` only says that it was there.
            undone.changes.clear();
            assert!(undone == before, "{op:?} {args:x?} changed more than {effects:?}");
            // Nothing but the declared parts counted.
            let (mut again, other) = (before.clone(), random.machine());
            for part in others(effects.reads) {
                copy(&mut again, &other, part);
            }
            let repeated = ops::run(&mut again, op, args);
            assert_eq!(repeated, result, "{op:?} {args:x?} depends on more than {effects:?}");
        }
    }
}
