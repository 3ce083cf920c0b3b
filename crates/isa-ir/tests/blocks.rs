//! The verifier, the parser, the passes and the bounds, on blocks written as text.

use isa_core::{AmoOp, Bin, Machine, Order, Width};
use isa_ir::{
    Block, Builder, Class, Effects, Evaluator, Fault, Going, Holds, Isa, Limits, Outcome, ParseError, Parts,
    Passes, Reason, Stop, Target, parse, verify,
};

/// An instruction set for these tests. Operation 1 reads class `a` and memory; 2 writes class `a`; 3
/// traps if its first argument is not 0.
static ISA: Isa = Isa {
    classes: &[
        Class { name: "a", count: 4, holds: Holds::I64 },
        Class { name: "b", count: 2, holds: Holds::I64 },
        Class { name: "flags", count: 1, holds: Holds::Flags },
        Class { name: "v", count: 4, holds: Holds::Vector(8) },
    ],
    effects: |id| match id {
        1 => Some(Effects::new(Parts::class(0).and(Parts::MEMORY), Parts::NONE, false)),
        2 => Some(Effects::new(Parts::NONE, Parts::class(0), false)),
        3 => Some(Effects::new(Parts::NONE, Parts::NONE, true)),
        _ => None,
    },
    operation_name: |id| {
        ["none", "looks", "writes", "may_trap"].get(id as usize).unwrap_or(&"none").to_string()
    },
};

fn block(text: &str) -> Result<Block, ParseError> {
    parse(text, &ISA, &Limits::default())
}

/// The block that the passes make of `text` must be `expected`.
fn passes(text: &str, expected: &str) {
    let mut got = block(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Passes::default().run(&mut got);
    assert_eq!(verify(&got, &Limits::default()), Ok(()));
    let expected = block(expected).unwrap_or_else(|error| panic!("{error}\n{expected}"));
    assert_eq!(got.to_string(), expected.to_string());
}

#[test]
fn known_values_are_computed() {
    passes(
        "insn 0 4
        %1 = const 0x7
        %2 = const 0x5
        %3 = add %1, %2
        %4 = sext8 %3
        %5 = get a1
        %6 = const 0x0
        %7 = add %5, %6
        %8 = select %6, %4, %7
        %9 = xor %8, %8
        %10 = flags add b1 %1, %2, %6
        %11 = flag parity %10
        set a0, %4
        set a2, %8
        set a3, %9
        set b0, %11
        next 4",
        "insn 0 4
        %1 = const 0xc
        %2 = get a1
        %3 = const 0x0
        %4 = const 0x1
        set a0, %1
        set a2, %2
        set a3, %3
        set b0, %4
        next 4",
    );
}

#[test]
fn registers_are_read_and_written_once() {
    passes(
        "insn 0 4
        %1 = get a1
        %2 = get b1
        %3 = add %1, %2
        set a1, %3
        insn 4 4
        %6 = get a1
        %7 = add %6, %6
        set a1, %7
        %9 = get b1
        set b1, %9
        next 8",
        "insn 0 4
        %1 = get a1
        %2 = get b1
        %3 = add %1, %2
        insn 4 4
        %5 = add %3, %3
        set a1, %5
        next 8",
    );
}

/// A load may fault, an exit may be taken, and an operation may look: all see what was written before.
#[test]
fn who_may_look_sees_every_register() {
    for looker in
        ["%5 = load b8 plain %1", "exit_if %2, %1", "%5 = call 0x1 looks", "%5 = call 0x3 may_trap %1"]
    {
        let text = format!(
            "insn 0 4
            %1 = get a1
            %2 = get a2
            set a1, %2
            insn 4 4
            {looker}
            set a1, %1
            next 8"
        );
        passes(&text, &text);
    }
    // Of what an operation has written, nothing is known; but nobody saw what was there before.
    passes(
        "insn 0 4
        %1 = get a1
        %2 = get b1
        set a1, %2
        set b1, %1
        %5 = call 0x2 writes
        %6 = get a1
        set b1, %6
        set b0, %2
        next 4",
        "insn 0 4
        %1 = get b1
        set a1, %1
        %3 = call 0x2 writes
        %4 = get a1
        set b1, %4
        set b0, %1
        next 4",
    );
}

#[test]
fn faults_are_found() {
    let cases = [
        ("next 0", Fault::NoInsn),
        ("insn 0 4", Fault::NoEnd),
        ("insn 0 4\nnext 4\nnext 4", Fault::BehindEnd(2)),
        ("insn 0 4\n%1 = add %1, %1\nnext 4", Fault::NotDefined(1)),
        ("insn 0 4\n%1 = add %2, %2\n%2 = const 0\nnext 4", Fault::NotDefined(1)),
        ("insn 0 4\n%1 = not %0\nnext 4", Fault::WrongType(1)),
        ("insn 0 4\n%1 = get flags0\n%2 = not %1\nnext 4", Fault::WrongType(2)),
        ("insn 0 4\n%1 = get flags0\nset a0, %1\nnext 4", Fault::WrongType(2)),
        ("insn 0 4\n%1 = const 0\nset flags0, %1\nnext 4", Fault::WrongType(2)),
        ("insn 0 4\n%1 = get a4\nnext 4", Fault::NoRegister(1)),
        ("insn 0 4\n%1 = get_vector v3, 16\nnext 4", Fault::NoRegister(1)),
        ("insn 0 4\n%1 = get_vector a0, 8\nnext 4", Fault::NoRegister(1)),
        ("insn 0 4\n%1 = get_vector v0, 8\n%2 = lanes div_u b1x8 %1, %1\nnext 4", Fault::BadShape(2)),
        ("insn 0 4\n%1 = get_vector v0, 8\n%2 = lanes add b1x4 %1, %1\nnext 4", Fault::WrongType(2)),
        ("insn 0 4\n%1 = const 1\n%2 = range 2000 %1, %1\nnext 4", Fault::BadShape(2)),
        ("insn 0 4\nskip %1, 1\nnext 4", Fault::NotDefined(1)),
        ("insn 0 4\n%1 = get flags0\nskip %1, 1\nnext 4", Fault::WrongType(2)),
        ("insn 0 4\n%1 = const 1\nskip %1, 1\n%3 = not %2\nnext 4", Fault::WrongType(3)),
    ];
    for (text, fault) in cases {
        let lines = text.lines().count();
        assert_eq!(block(text), Err(ParseError { line: lines, reason: Reason::Malformed(fault) }), "{text}");
    }
}

#[test]
fn texts_that_are_none() {
    let cases = [
        ("insn 0 4\nfrobnicate", 2, Reason::UnknownNode),
        ("insn 0", 1, Reason::Missing),
        ("insn 0 x", 1, Reason::BadWord),
        ("insn 0 4 4", 1, Reason::TooMuch),
        ("insn 0 4\n%2 = const 0", 2, Reason::BadResult),
        ("insn 0 4\nconst 0", 2, Reason::BadResult),
        ("%0 = insn 0 4", 1, Reason::BadResult),
        ("insn 0 4\n%1 = call 0x9 none", 2, Reason::BadWord),
        ("insn 0 4\n%1 = call 0x1 writes", 2, Reason::BadWord),
        ("insn 0 4\n%1 = get x0", 2, Reason::BadWord),
        ("insn 0 4\n%1 = const 0\nskip %1", 3, Reason::Missing),
        ("insn 0 4\n%1 = const 0\nskip %1, -1", 3, Reason::BadWord),
        ("insn 0 4\n%1 = const 0\n%2 = skip %1, 1", 3, Reason::BadResult),
    ];
    for (text, line, reason) in cases {
        assert_eq!(block(text), Err(ParseError { line, reason }), "{text}");
    }
    assert!(block("insn 0 4 ; begins\n\nnext 4").is_ok(), "comments and empty lines");
}

/// Every kind of node, there and back.
#[test]
fn the_text_form_reads_back() {
    let text = "\
insn 0 4
%1 = const 0xffffffffffffffff
%2 = pc -8
%3 = mul_high_su %1, %2
%4 = bit_reverse %3
%5 = select %1, %2, %3
%6 = get a3
set b1, %6
%8 = get_vector v2, 16
set_vector v0, %8
%10 = flags sub b4 %1, %2, %3
%11 = flag overflow %10
set flags0, %10
%13 = range 2 %1, %2
%14 = lanes mul b2x8 %8, %8
%15 = lanes sub b1x16 %8, %14, %13, %8
%16 = load b2 tso %1
store b8 release %1, %2
%18 = amo min_u b4 both %1, %2
%19 = load_reserved b8 acquire %1
%20 = store_conditional b8 plain %1, %2
fence both
%22 = call 0x1 looks %1, %2, %3
nop
skip %1, 3
exit_if %1, %2
insn 4 2
trap 7 %1
";
    let block = block(text).expect("well formed");
    assert_eq!(block.to_string(), text);
}

/// A target on which everything works and memory is a number.
struct Numbers(u64);

impl Target for Numbers {
    type Stop = ();
    fn begin(&mut self, _: u64, _: u8) {}
    fn get(&mut self, class: u8, index: u8) -> u64 {
        self.0 ^ u64::from(class) << 8 ^ u64::from(index)
    }
    fn set(&mut self, _: u8, _: u8, v: u64) {
        self.0 = self.0.rotate_left(7) ^ v;
    }
    fn load(&mut self, va: u64, _: Width, _: Order) -> Result<u64, ()> {
        Ok(va ^ self.0)
    }
    fn store(&mut self, va: u64, _: Width, v: u64, _: Order) -> Result<(), ()> {
        self.0 ^= va ^ v;
        Ok(())
    }
    fn amo(&mut self, op: AmoOp, va: u64, _: Width, v: u64, _: Order) -> Result<u64, ()> {
        self.0 = op.apply(self.0 ^ va, v);
        Ok(va)
    }
    fn load_reserved(&mut self, va: u64, _: Width, _: Order) -> Result<u64, ()> {
        Ok(va)
    }
    fn store_conditional(&mut self, va: u64, _: Width, _: u64, _: Order) -> Result<u64, ()> {
        Ok(va & 1)
    }
    fn fence(&mut self, _: Order) {}
    fn call(&mut self, id: u32, args: [u64; 4]) -> Result<u64, ()> {
        if id == 3 && args[0] != 0 { Err(()) } else { Ok(args[3]) }
    }
}

/// Texts made of pieces of good ones: whatever parses, verifies, runs, and survives the passes.
#[test]
fn hostile_texts_do_no_harm() {
    let good = include_str!("blocks.rs");
    let words: Vec<&str> = good.split_whitespace().filter(|w| w.len() < 20 && w.is_ascii()).collect();
    let lines: Vec<&str> =
        good.lines().map(str::trim).filter(|l| l.starts_with('%') || l.contains(" %")).collect();
    let mut state = 9u64;
    let mut below = |n: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    };
    let mut ran = 0;
    for _ in 0..20_000 {
        let mut text = String::from("insn 0 4\n%1 = const 0x5\n%2 = get_vector v0, 16\n%3 = get flags0\n");
        for at in 4..4 + below(8) {
            let line = lines[below(lines.len())];
            let body = line.split_once("= ").map_or(line, |(_, body)| body);
            let mut parts: Vec<String> = body.split(' ').map(str::to_string).collect();
            if below(2) == 0 {
                let place = below(parts.len());
                parts[place] = match below(4) {
                    0 => words[below(words.len())].to_string(),
                    _ => format!("%{},", below(at)),
                };
            }
            let result = if line.contains('=') { format!("%{at} = ") } else { String::new() };
            text += &format!("{result}{}\n", parts.join(" "));
        }
        text += "next 4";
        if let Ok(mut block) = block(&text) {
            ran += 1;
            let _ = Evaluator::default().eval(&block, 0, &mut Numbers(1));
            Passes::default().run(&mut block);
            assert_eq!(verify(&block, &Limits::default()), Ok(()), "{text}");
            let _ = Evaluator::default().eval(&block, 0, &mut Numbers(1));
        }
    }
    assert!(ran > 500, "{ran} of 20000 were blocks");
}

#[test]
fn a_block_stays_within_its_limits() {
    let limits = Limits { nodes: 200, pool: 100, vector_bytes: 64 };
    let mut builder = Builder::new(&ISA, limits);
    let mut begun = 0;
    while builder.insn(4).is_ok() {
        begun += 1;
        let a = builder.get(0, 1);
        let a = builder.add_imm(a, 1);
        builder.set(0, 1, a);
    }
    assert_eq!((builder.insn(4), builder.length()), (Err(Stop::Full), 4 * begun));
    let block = builder.finish().expect("within its limits");
    assert_eq!(verify(&block, &limits), Ok(()));
    assert!(begun >= 20 && block.nodes().len() <= 200);
    let outcome = Evaluator::default().eval(&block, 0x100, &mut Numbers(0));
    assert_eq!(outcome, Ok(Outcome::Next(0x100 + u64::from(4 * begun))));
    // An instruction that is larger than any: the block is refused, and no larger for it.
    builder.recycle(block);
    builder.insn(4).expect("room");
    for _ in 0..10_000 {
        let k = builder.imm(1);
        builder.operation(1, Effects::new(Parts::NONE, Parts::NONE, false), &[k; 4]);
    }
    assert_eq!(builder.finish(), Err(Stop::Full));
    builder.insn(4).expect("room");
    for _ in 0..9 {
        builder.get_vector(3, 0, 8);
    }
    assert_eq!(builder.finish(), Err(Stop::Full));
    // Text is held to them too.
    let long = "nop\n".repeat(1000);
    let error = parse(&long, &ISA, &limits).expect_err("too long");
    assert_eq!(error, ParseError { line: 201, reason: Reason::Malformed(Fault::TooLarge) });
}

/// A jump is asked for before the link register is written, and done behind it; nothing follows.
#[test]
fn a_jump_is_done_when_its_instruction_is() {
    let mut builder = Builder::new(&ISA, Limits::default());
    builder.insn(4).expect("room");
    let target = builder.get(0, 1);
    builder.jump(target).expect("a builder takes any target");
    let link = builder.next_pc();
    builder.set(0, 0, link);
    assert_eq!(builder.insn(4), Err(Stop::Ended));
    let text = "insn 0 4\n%1 = get a1\n%2 = pc 4\nset a0, %2\njump %1\n";
    assert_eq!(builder.finish().expect("room").to_string(), text);
}

/// The seam for planted errors reaches lanes as well as plain operations.
#[test]
fn a_target_may_compute_wrongly() {
    struct Wrong;
    impl Target for Wrong {
        type Stop = ();
        fn begin(&mut self, _: u64, _: u8) {}
        fn get(&mut self, _: u8, _: u8) -> u64 {
            0b1100
        }
        fn set(&mut self, _: u8, _: u8, v: u64) {
            assert_eq!(v, 0b1100);
        }
        fn get_vector(&mut self, _: u8, _: u8, out: &mut [u8]) {
            out.fill(0b1100);
        }
        fn set_vector(&mut self, _: u8, _: u8, v: &[u8]) {
            assert_eq!(v, [0b1100; 8]);
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
        fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
            if op == Bin::Xor { a | b } else { op.apply(a, b) }
        }
    }
    let block = block(
        "insn 0 4
        %1 = get a0
        %2 = xor %1, %1
        set a0, %2
        %4 = get_vector v0, 8
        %5 = lanes xor b1x8 %4, %4
        set_vector v0, %5
        next 4",
    );
    assert_eq!(Evaluator::default().eval(&block.expect("a block"), 0, &mut Wrong), Ok(Outcome::Next(4)));
}

/// A block may go on wherever its caller knows that control goes, and leaves where it does not.
#[test]
fn a_block_goes_on_elsewhere() {
    let mut b = Builder::new(&ISA, Limits::default());
    b.begin_at(100);
    b.insn(4).unwrap();
    assert_eq!(b.going(), Going::On);
    let (x, y) = (b.get(0, 0), b.get(0, 1));
    let less = b.bin(Bin::LtS, x, y);
    let target = b.imm(1);
    b.jump_if(less, target).unwrap();
    assert_eq!(b.going(), Going::If(less, target));
    // To where it branches: out if it does not.
    b.follow_branch(20);
    b.insn(2).unwrap();
    let known = b.pc();
    b.jump(known).unwrap();
    assert_eq!(b.going(), Going::To(known));
    b.follow(60);
    b.insn(4).unwrap();
    let somewhere = b.get(0, 2);
    b.jump(somewhere).unwrap();
    b.follow_guess(200);
    b.insn(4).unwrap();
    b.jump(somewhere).unwrap();
    b.retarget(300);
    let block = b.finish().unwrap();
    assert_eq!(verify(&block, &Limits::default()), Ok(()));
    let text = "insn 100 4\n%1 = get a0\n%2 = get a1\n%3 = lt_s %1, %2\n%4 = const 0x1\n\
        %5 = ge_s %1, %2\n%6 = pc 104\nexit_if %5, %6\n\
        insn 20 2\n%9 = pc 20\n\
        insn 60 4\n%11 = get a2\n%12 = pc 200\n%13 = ne %11, %12\nexit_if %13, %11\n\
        insn 200 4\n%16 = pc 300\njump %16\n";
    assert_eq!(block.to_string(), text);
}
