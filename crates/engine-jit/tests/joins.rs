//! Random loops with branches over a few instructions, which regions make choices of: all that they compute, and how many
//! instructions they retire, whichever way they go.

mod pair;

use engine_jit::{Counts, Options, Tiers};
use isa_riscv::Features;
use isa_riscv::random::rows;
use isa_riscv::rows::{Row, flag};
use pair::asm::*;
use pair::programs::any_plain;
use pair::*;

/// Registers that no random instruction writes: the first is how far the loop is, the second where data is, and x1 has the
/// link that [`any_plain`] keeps.
const FAR: u32 = S0;
const BASE: u32 = S1;

/// Rows that compute, of 32 bits.
fn computing() -> Vec<&'static Row> {
    const OF: [&str; 6] = ["I", "M", "Zba", "Zbb", "Zbs", "Zicond"];
    let rows = rows().filter(|row| OF.contains(&row.extension) && row.length == 32);
    rows.filter(|row| row.flags & (flag::ENDS | flag::LOAD | flag::STORE) == 0).collect()
}

/// A register that has random data, or x0, or one that random instructions left something in. Many have no home in a
/// register of the host.
fn any_register(random: &mut Random) -> u32 {
    match random.below(8) {
        0 => 0,
        1 => random.below(32) as u32,
        2 => 10 + random.below(6) as u32,
        _ => LOADED[random.below(LOADED.len() as u64) as usize],
    }
}

/// Registers that get new data each time.
const LOADED: [u32; 6] = [10, 11, 13, 20, 25, 30];

/// A compressed instruction that computes: `c.addi`, `c.li`, `c.slli`, `c.mv`, `c.add` of any register that it may write,
/// others of a2 to a5.
fn compressed(random: &mut Random) -> u32 {
    let any = |random: &mut Random| match any_register(random) {
        0 | 1 | FAR | BASE => 20,
        r => r,
    };
    let (rd, rs, k) = (any(random), any(random), random.below(31) as u32);
    // x10 to x15 in three bits.
    let (few, other) = (2 + random.below(6) as u32, 2 + random.below(6) as u32);
    let imm = (random.below(2) as u32) << 12 | k << 2;
    match random.below(8) {
        0 => 0x0001 | imm | rd << 7,
        1 => 0x4001 | imm | rd << 7,
        2 => 0x0002 | (k + 1) << 2 | rd << 7,
        3 => 0x8002 | rd << 7 | rs << 2,
        4 => 0x9002 | rd << 7 | rs << 2,
        // c.andi; c.srai
        5 => 0x8801 | imm | few << 7,
        6 => 0x8401 | (k + 1) << 2 | few << 7,
        // c.sub, c.xor, c.or, c.and; c.subw, c.addw
        _ => {
            let which = random.one_of(&[0x8c01, 0x8c21, 0x8c41, 0x8c61, 0x9c01, 0x9c21]);
            which | few << 7 | other << 2
        }
    }
}

/// An instruction that computes. Some write x0, and some what was compared.
fn computation(random: &mut Random, rows: &[&Row], compared: &[u32]) -> u32 {
    if random.below(2) == 0 {
        return compressed(random);
    }
    let row = random.one_of(rows);
    let word = any_plain(random, row);
    let rd = match random.below(8) {
        0 => 0,
        1 | 2 => random.one_of(compared),
        _ => return word,
    };
    let kept = matches!(rd, 1 | FAR | BASE);
    if kept { word } else { word & !(31 << 7) | rd << 7 }
}

/// What a branch goes over.
fn over(random: &mut Random, rows: &[&Row], compared: &[u32]) -> Vec<u32> {
    let kind = random.below(12);
    let insns = match kind {
        // More than become a choice.
        0 | 1 => 4 + random.below(3),
        _ => 1 + random.below(3),
    };
    let mut words: Vec<u32> = (0..insns).map(|_| computation(random, rows, compared)).collect();
    // A load, which is done only if it is come to: some fault.
    if kind == 2 {
        let at = random.below(insns) as usize;
        let base = if random.below(8) == 0 { any_register(random) } else { BASE };
        words[at] = load(random.below(4) as u32, any_kept(random), base, random.below(2000) as i32);
    }
    words
}

/// A register to load into.
fn any_kept(random: &mut Random) -> u32 {
    random.one_of(&LOADED)
}

/// What a branch asks.
#[derive(Clone, Copy)]
enum Question {
    /// `c.beqz` or `c.bnez` of x8 and so many more.
    Short(u32, u32),
    /// A condition of two registers.
    Long(u32, [u32; 2]),
}

impl Question {
    fn any(random: &mut Random) -> Question {
        if random.below(4) == 0 {
            let few = if random.below(8) == 0 { random.below(8) } else { 2 + random.below(2) } as u32;
            return Question::Short(random.one_of(&[0xc001, 0xe001]), few);
        }
        let compared = [any_register(random), any_register(random)];
        Question::Long(random.one_of(&[0, 1, 4, 5, 6, 7]), compared)
    }

    fn compared(self) -> [u32; 2] {
        match self {
            Question::Short(_, few) => [few + 8; 2],
            Question::Long(_, compared) => compared,
        }
    }

    /// The branch over `words`.
    fn over(self, words: &[u32]) -> u32 {
        match self {
            Question::Short(word, few) => {
                let d = length(words) as u32 + 2;
                word | few << 7 | (d >> 3 & 3) << 10 | (d >> 1 & 3) << 3 | (d >> 5 & 1) << 2
            }
            Question::Long(condition, [a, b]) => branch(condition, a, b, length(words) + 4),
        }
    }
}

fn length(words: &[u32]) -> i32 {
    bytes(words).len() as i32
}

/// Loads new data; then branches over a few instructions; then goes back. Seldom a branch leaves to the end of the loop.
fn program(random: &mut Random, rows: &[&Row]) -> Vec<u32> {
    let mut words = vec![addi(FAR, FAR, 8), andi(T2, FAR, 0x7f8), add(T2, T2, BASE)];
    for r in LOADED {
        words.push(load(3, r, T2, 8 * random.below(200) as i32));
    }
    let mut leave = Vec::new();
    for _ in 0..2 + random.below(6) {
        for _ in 0..random.below(3) {
            words.push(computation(random, rows, &LOADED));
        }
        let question = Question::any(random);
        let behind = over(random, rows, &question.compared());
        words.push(question.over(&behind));
        words.extend(behind);
        if random.below(6) == 0 {
            leave.push(words.len());
            words.push(0x13);
        }
    }
    let end = words.len();
    for at in leave {
        words[at] = branch(0, any_kept(random), any_kept(random), length(&words[at..end]));
    }
    if random.below(2) == 0 {
        let back = -length(&words);
        words.push(branch(1, BASE, 0, back));
    }
    let back = -length(&words);
    words.push(jal(0, back));
    words
}

/// Random data of which half is equal to other data.
fn data(random: &mut Random) -> Vec<u8> {
    let mut one = || match random.below(8) {
        0..4 => random.below(3),
        4 => u64::MAX,
        _ => random.integer(),
    };
    (0..DATA_SIZE / 8).flat_map(|_| one().to_le_bytes()).collect()
}

fn check(options: Options, first: u64, programs: u64, runs: u64) -> Option<Counts> {
    let mut pair = Pair::new(options)?;
    let mut random = Random::new(first);
    let rows = computing();
    pair.code(HANDLER, &handler(&[]));
    for number in 0..programs {
        let data = data(&mut random);
        pair.put(DATA, &data);
        let words = program(&mut random, &rows);
        // In one page.
        let at = RAM + 0x1000 * (1 + random.below(30)) + 2 * random.below(0x600);
        pair.put(at, &bytes(&words));
        let mut hart = random.hart(&Features::FULL, at);
        (hart.x[1], hart.x[FAR as usize], hart.x[BASE as usize], hart.x[28]) = (at, 0, DATA, at);
        pair.set(&hart);
        for _ in 0..runs {
            let n = 1 + random.below(600);
            let result = pair.run(n);
            assert!(
                result.is_ok(),
                "program {number}, at {at:#x}: {}{}\n{hart:x?}",
                result.unwrap_err(),
                listing(&words)
            );
        }
    }
    pair.assert_translated();
    Some(pair.jit.cpu.counts())
}

#[test]
fn choices_in_the_second_tier() {
    let programs = count(150);
    let Some(counts) = check(second(), seed(91), programs, 16) else { return };
    assert!(counts.regions > programs && counts.joined > 4 * programs, "{counts:?}");
}

#[test]
fn choices_in_hot_loops() {
    let programs = count(100);
    let options = Options { threshold: 2, ..Options::default() };
    let Some(counts) = check(options, seed(92), programs, 30) else { return };
    assert!(counts.regions > programs / 2 && counts.joined > programs, "{counts:?}");
}

/// Blocks are what they were.
#[test]
fn no_choices_in_the_first_tier() {
    let options = Options { tiers: Tiers::First, ..eager() };
    let Some(counts) = check(options, seed(93), count(30), 16) else { return };
    assert_eq!((counts.regions, counts.joined), (0, 0), "{counts:?}");
}

/// A loop with one branch over `words`, taken every other time; how often that became a choice.
fn joined(words: &[u32]) -> Option<u64> {
    let mut pair = Pair::regions()?;
    pair.code(HANDLER, &handler(&[]));
    let mut code = vec![addi(A0, A0, 1), andi(A1, A0, 1), branch(0, A1, 0, length(words) + 4)];
    code.extend(words);
    code.push(add(A3, A3, A2));
    code.push(jal(0, -length(&code)));
    pair.put(RAM, &bytes(&code));
    let mut hart = isa_riscv::Hart::new(0, &Features::FULL);
    (hart.pc, hart.csr.mtvec, hart.x[BASE as usize]) = (RAM, HANDLER, DATA);
    pair.set(&hart);
    for n in [1, 2, 3, 4, 5, 6, 7, 100, 1000, 1001, 1002, 1003, 1004] {
        assert!(pair.run(n).is_ok(), "{}", listing(&code));
    }
    assert!(pair.jit.cpu.counts().regions > 0);
    Some(pair.jit.cpu.counts().joined)
}

/// What becomes a choice, and what does not.
#[test]
fn what_becomes_a_choice() {
    // c.addi a2, 1
    const SHORT: u32 = 0x0605;
    let word = addi(A2, A2, 3);
    let choices = [vec![word], vec![word; 2], vec![SHORT], vec![SHORT; 4], vec![SHORT, word, SHORT]];
    for words in choices {
        let Some(joined) = joined(&words) else { return };
        assert!(joined > 0, "{}", listing(&words));
    }
    let others = [
        vec![word; 3],
        vec![SHORT; 5],
        vec![load(3, A2, BASE, 0)],
        vec![word, store(3, A2, BASE, 0)],
        vec![csrr(A2, 0x340)],
        vec![FENCE_I],
        vec![jal(0, 4)],
        vec![branch(1, A2, 0, 4), word],
    ];
    for words in others {
        assert_eq!(joined(&words), Some(0), "{}", listing(&words));
    }
}

/// A branch that always or never goes over an instruction; jumps from elsewhere lead to that and to the one behind it.
#[test]
fn a_choice_whose_answer_is_known() {
    for condition in [0, 1] {
        let Some(mut pair) = Pair::regions() else { return };
        let code = [
            branch(condition, 0, 0, 8),
            addi(A2, A2, 1),
            add(A3, A3, A2),
            addi(A0, A0, 1),
            andi(A1, A0, 3),
            branch(0, A1, 0, -16),
            addi(A4, A1, -1),
            branch(0, A4, 0, -20),
            jal(0, -32),
        ];
        pair.code(RAM, &code);
        let mut hart = isa_riscv::Hart::new(0, &Features::FULL);
        (hart.pc, hart.csr.mtvec) = (RAM, HANDLER);
        pair.set(&hart);
        for n in [1, 2, 3, 50, 51, 52, 53, 1000, 1001, 1002] {
            assert!(pair.run(n).is_ok(), "condition {condition}, after {n}");
        }
        assert!(pair.jit.cpu.counts().joined > 0, "{condition}");
    }
}
