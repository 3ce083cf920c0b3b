//! Instructions that are branched over: how they are built, what the evaluator and the passes make of them.

use isa_core::{AmoOp, Bin, Machine, Order, Un, Width};
use isa_ir::{
    Block, Builder, Class, Evaluator, Going, Holds, Isa, Limits, Outcome, Passes, Target, Value, parse,
    verify,
};

/// Eight registers.
static ISA: Isa = Isa {
    classes: &[Class { name: "a", count: 8, holds: Holds::I64 }],
    effects: |_| None,
    operation_name: |_| String::new(),
};

const COMPARISONS: [Bin; 6] = [Bin::Eq, Bin::Ne, Bin::LtS, Bin::GeS, Bin::LtU, Bin::GeU];
/// The instructions of [`built`], and their bytes.
const INSNS: u64 = 4;
const BYTES: u64 = 14;

/// A register file that counts instructions.
#[derive(Clone, Debug, Default, PartialEq)]
struct File {
    a: [u64; 8],
    begun: u64,
    skipped: Vec<u32>,
}

impl Target for File {
    type Stop = ();
    fn begin(&mut self, _: u64, _: u8) {
        self.begun += 1;
    }
    fn skip(&mut self, insns: u32) {
        self.skipped.push(insns);
    }
    fn get(&mut self, _: u8, index: u8) -> u64 {
        self.a[usize::from(index)]
    }
    fn set(&mut self, _: u8, index: u8, v: u64) {
        self.a[usize::from(index)] = v;
    }
    fn load(&mut self, _: u64, _: Width, _: Order) -> Result<u64, ()> {
        Err(())
    }
    fn store(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<(), ()> {
        Err(())
    }
    fn amo(&mut self, _: AmoOp, _: u64, _: Width, _: u64, _: Order) -> Result<u64, ()> {
        Err(())
    }
    fn load_reserved(&mut self, _: u64, _: Width, _: Order) -> Result<u64, ()> {
        Err(())
    }
    fn store_conditional(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<u64, ()> {
        Err(())
    }
    fn fence(&mut self, _: Order) {}
    fn call(&mut self, _: u32, _: [u64; 4]) -> Result<u64, ()> {
        Err(())
    }
}

/// Begins an instruction that branches if `condition` of a0 and a1 says so.
fn branch(b: &mut Builder, condition: impl Fn(&mut Builder, Value, Value) -> Value) -> Value {
    b.insn(4).unwrap();
    let (x, y) = (b.get(0, 0), b.get(0, 1));
    let taken = condition(b, x, y);
    let target = b.imm(0x1000);
    b.jump_if(taken, target).unwrap();
    taken
}

/// A branch over two instructions, which change a0, one of its operands, and then a2, and one that follows and reads both.
fn built(op: Bin) -> Block {
    let mut b = Builder::new(&ISA, Limits::default());
    branch(&mut b, |b, x, y| b.bin(op, x, y));
    assert!(b.skip(2), "{op:?}");
    assert_eq!(b.going(), Going::On);
    b.insn(4).unwrap();
    let x = b.get(0, 0);
    let sum = b.add_imm(x, 5);
    b.set(0, 0, sum);
    b.insn(2).unwrap();
    let (x, y) = (b.get(0, 0), b.get(0, 2));
    let sum = b.bin(Bin::Add, x, y);
    b.set(0, 2, sum);
    b.skipped();
    b.insn(4).unwrap();
    let (x, y) = (b.get(0, 0), b.get(0, 2));
    let product = b.bin(Bin::Mul, x, y);
    b.set(0, 3, product);
    let block = b.finish().unwrap();
    assert_eq!(verify(&block, &Limits::default()), Ok(()));
    block
}

#[test]
fn what_is_branched_over_becomes_choices() {
    let text = "insn 0 4\n%1 = get a0\n%2 = get a1\n%3 = lt_u %1, %2\n%4 = const 0x1000\nskip %3, 2\n\
        insn 4 4\n%7 = get a0\n%8 = const 0x5\n%9 = add %7, %8\n\
        %10 = get a0\n%11 = select %3, %10, %9\nset a0, %11\n\
        insn 8 2\n%14 = get a0\n%15 = get a2\n%16 = add %14, %15\n\
        %17 = get a2\n%18 = select %3, %17, %16\nset a2, %18\n\
        insn 10 4\n%21 = get a0\n%22 = get a2\n%23 = mul %21, %22\nset a3, %23\nnext 14\n";
    let block = built(Bin::LtU);
    assert_eq!(block.to_string(), text);
    assert_eq!(parse(text, &ISA, &Limits::default()), Ok(block));
}

/// Registers keep what they have, and the instructions are reported, if and only if the branch is taken: also behind the
/// passes, and of the text that is read back.
#[test]
fn both_ways_give_what_a_branch_gives() {
    let values = [0, 1, 7, u64::MAX, i64::MIN as u64];
    for op in COMPARISONS {
        let block = built(op);
        let read = parse(&block.to_string(), &ISA, &Limits::default()).unwrap();
        let mut smaller = built(op);
        Passes::default().run(&mut smaller);
        assert_eq!(verify(&smaller, &Limits::default()), Ok(()));
        assert!(smaller.nodes().len() < block.nodes().len(), "{op:?}");
        let mut ways = [0, 0];
        for (x, y) in values.into_iter().flat_map(|x| values.map(|y| (x, y))) {
            let before = File { a: [x, y, 11, 13, 17, 19, 23, 29], ..File::default() };
            let taken = op.apply(x, y) != 0;
            let mut after = File { begun: INSNS, ..before.clone() };
            if taken {
                after.skipped.push(2);
            } else {
                after.a[0] = x.wrapping_add(5);
                after.a[2] = after.a[0].wrapping_add(11);
            }
            after.a[3] = after.a[0].wrapping_mul(after.a[2]);
            for block in [&block, &read, &smaller] {
                let mut file = before.clone();
                let outcome = Evaluator::default().eval(block, 0x100, &mut file);
                assert_eq!(outcome, Ok(Outcome::Next(0x100 + BYTES)));
                assert_eq!(file, after, "{op:?} {x:#x} {y:#x}\n{block}");
            }
            ways[usize::from(taken)] += 1;
        }
        assert!(ways[0] > 0 && ways[1] > 0, "{op:?} {ways:?}");
    }
}

/// Of a condition that is known nothing is left but that instructions do not count.
#[test]
fn passes_keep_what_does_not_count() {
    for (k, skipped) in [(0, vec![]), (1, vec![3])] {
        let text = format!(
            "insn 0 4\n%1 = const {k:#x}\n%2 = eq %1, %1\n%3 = and %2, %1\nskip %3, 3\n\
            insn 4 4\n%6 = get a0\n%7 = get a1\n%8 = select %3, %6, %7\nset a0, %8\nnext 8"
        );
        let mut block = parse(&text, &ISA, &Limits::default()).unwrap();
        Passes::default().run(&mut block);
        assert_eq!(verify(&block, &Limits::default()), Ok(()));
        assert!(!block.to_string().contains("select"), "{block}");
        let mut file = File { a: [2; 8], ..File::default() };
        file.a[1] = 3;
        assert_eq!(Evaluator::default().eval(&block, 0, &mut file), Ok(Outcome::Next(8)));
        assert_eq!((file.skipped, file.a[0]), (skipped, if k == 0 { 3 } else { 2 }), "{block}");
    }
}

/// The instructions behind those that are branched over, and a block built later, write their registers as ever.
#[test]
fn what_follows_is_not_branched_over() {
    let mut b = Builder::new(&ISA, Limits::default());
    let plain = |b: &mut Builder| {
        b.insn(4).unwrap();
        let k = b.imm(1);
        b.set(0, 4, k);
    };
    plain(&mut b);
    let text = b.finish().unwrap().to_string();
    assert!(!text.contains("select"), "{text}");
    // One that is given up in the middle, and one that is finished there.
    for given_up in [false, true] {
        let old = b.finish().unwrap();
        branch(&mut b, |b, x, y| b.bin(Bin::Eq, x, y));
        assert!(b.skip(1));
        if given_up {
            b.recycle(old);
        } else {
            plain(&mut b);
            let block = b.finish().unwrap().to_string();
            assert!(block.contains("select"), "{block}");
        }
        plain(&mut b);
        assert_eq!(b.finish().unwrap().to_string(), text, "{given_up}");
    }
}

/// Then nothing is done: the branch leaves the block as it would have.
#[test]
fn what_is_no_branch_by_a_comparison_is_refused() {
    type Condition = fn(&mut Builder, Value, Value) -> Value;
    let conditions: [Condition; 6] = [
        |_, x, _| x,
        |b, _, _| b.imm(1),
        |b, x, y| b.bin(Bin::And, x, y),
        |b, x, y| b.bin(Bin::Sub, x, y),
        |b, x, _| b.un(Un::Not, x),
        |b, x, y| b.select(x, x, y),
    ];
    for condition in conditions {
        let blocks = [false, true].map(|ask| {
            let mut b = Builder::new(&ISA, Limits::default());
            let taken = branch(&mut b, condition);
            if ask {
                assert!(!b.skip(1));
                assert!(matches!(b.going(), Going::If(v, _) if v == taken));
            }
            b.insn(4).unwrap();
            let k = b.imm(7);
            b.set(0, 5, k);
            b.finish().unwrap().to_string()
        });
        assert_eq!(blocks[0], blocks[1]);
        assert!(blocks[1].contains("exit_if") && !blocks[1].contains("skip"), "{}", blocks[1]);
    }
    let mut b = Builder::new(&ISA, Limits::default());
    b.insn(4).unwrap();
    assert!(!b.skip(1), "nothing is branched over by what goes on");
    let target = b.get(0, 0);
    b.jump(target).unwrap();
    assert!(!b.skip(1) && b.going() == Going::To(target), "a jump is no branch");
    let text = "insn 0 4\n%1 = get a0\njump %1\n";
    assert_eq!(b.finish().unwrap().to_string(), text);
}
