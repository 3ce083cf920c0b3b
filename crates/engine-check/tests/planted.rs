//! Planted errors are found, and named at the very instruction.

mod fixture;

use engine_check::{Check, Options};
use engine_core::{Exit, Vcpu};
use engine_jit::Jit;
use fixture::programs::{DATA, FADD, PLAIN, XOR};
use fixture::{DEVICE, Faulty, Fixture, RAM, change};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use isa_riscv::Mode;
use std::ops::Range;

/// Short, so that errors fall anywhere in a leg and in a round.
const OPTIONS: Options = Options { seed: 5, leg: 300, legs: 8, whole: 20_000 };

/// Runs the program with an error behind instruction `at`; gives the report.
fn planted(at: u64, error: impl Fn(&mut Jit) + Send + 'static) -> String {
    let fixture = Fixture::new(PLAIN);
    let mut check = fixture.check(OPTIONS, |jit| Faulty::new(jit, at, error));
    let exit = check.run(100_000);
    let Exit::Broken(report) = exit else { panic!("nothing was found: {exit:?}") };
    assert_eq!(check.run(1), Exit::Broken(report.clone()), "it runs no more");
    report
}

/// Whether the report blames the instruction that is number `at`.
#[track_caller]
fn blames(report: &str, at: u64) {
    let headline = format!("after {} instructions, at pc 0x8000", at - 1);
    assert!(report.contains(&headline), "no {headline:?} in\n{report}");
}

/// Whether a line of the report has these words.
#[track_caller]
fn has_line(report: &str, words: &[&str]) {
    let found = report.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == words);
    assert!(found, "no line {words:?} in\n{report}");
}

#[test]
fn a_register() {
    for at in [1, 2, 777, 12_345, 60_001] {
        let report = planted(at, |jit| change(jit, |hart| hart.x[27] ^= 0x40));
        blames(&report, at);
        has_line(&report, &["s11", "0x0", "0x0", "0x40"]);
    }
}

#[test]
fn a_floating_point_register_a_csr_and_the_mode() {
    let report = planted(5000, |jit| change(jit, |hart| hart.f[31] = 3));
    blames(&report, 5000);
    has_line(&report, &["ft11", "0x0", "0x0", "0x3"]);
    let report = planted(5000, |jit| change(jit, |hart| hart.csr.mscratch = 9));
    blames(&report, 5000);
    has_line(&report, &["mscratch", "0x0", "0x0", "0x9"]);
    let report = planted(5000, |jit| change(jit, |hart| hart.mode = Mode::U));
    blames(&report, 5000);
    has_line(&report, &["mode", "M", "M", "U"]);
}

#[test]
fn memory() {
    for at in [9, 31_007] {
        let report = planted(at, |jit| {
            let ram = &jit.interp().cpu().ram;
            ram.copy_in(0x8_0008, &[0x55]).unwrap();
        });
        blames(&report, at);
        has_line(&report, &["0x80080008", "0x0", "0x55"]);
    }
}

#[test]
fn the_count_of_retired_instructions() {
    let report = planted(4321, |jit| jit.interp_mut().cpu_mut().retired += 1);
    blames(&report, 4321);
    has_line(&report, &["retired", "4320", "4321", "4322"]);
}

#[test]
fn a_wrong_trap() {
    let report = planted(999, |jit| {
        change(jit, |hart| {
            hart.csr.mcause = 5;
            hart.csr.mepc = hart.pc;
            hart.pc = hart.csr.mtvec;
        });
    });
    blames(&report, 999);
    has_line(&report, &["mcause", "0x0", "0x0", "0x5"]);
}

#[test]
fn an_access_to_a_device_that_only_one_does() {
    let report = planted(2222, |jit| assert!(jit.interp().cpu().bus.read(DEVICE, 4).is_ok()));
    blames(&report, 2222);
    assert!(
        report.contains("the translator reads 4 bytes at 0x10000000; the interpreter does not"),
        "{report}"
    );
}

/// What comes of a mistake in emitted code. It is made wherever the translator makes that code, so that each piece that is
/// translated again has it too.
fn meddled(program: &[u32], threshold: u32, meddle: fn(&mut [u8])) -> String {
    let fixture = Fixture::new(program);
    let options = engine_jit::Options { threshold, meddle: Some(meddle), ..Default::default() };
    let mut check = Check::new(fixture.config(), OPTIONS, |config| Jit::new(config, options)).unwrap();
    match check.run(1_000_000) {
        Exit::Broken(report) => report,
        exit => panic!("nothing was found: {exit:?}"),
    }
}

/// Where the instructions are that `concerns` is true of.
fn places(code: &[u8], concerns: fn(&Instruction) -> bool) -> Vec<Range<usize>> {
    let decoded = Decoder::with_ip(64, code, 0, DecoderOptions::NONE).into_iter().filter(concerns);
    decoded.map(|insn| insn.ip() as usize..insn.next_ip() as usize).collect()
}

/// XOR of a register with something else becomes OR, where `concerns` is true of it.
fn or_for_xor(code: &mut [u8], concerns: fn(&Instruction) -> bool) {
    for range in places(code, |i| i.mnemonic() == Mnemonic::Xor && i.op0_kind() == OpKind::Register) {
        let insn = Decoder::new(64, &code[range.clone()], DecoderOptions::NONE).decode();
        if concerns(&insn) {
            let opcode = range.start + usize::from((0x40..0x50).contains(&code[range.start]));
            code[opcode] ^= 0x33 ^ 0x0b;
        }
    }
}

fn two_registers(i: &Instruction) -> bool {
    i.op1_kind() == OpKind::Register && i.op0_register() != i.op1_register()
}

fn or_for_xor_anywhere(code: &mut [u8]) {
    or_for_xor(code, |i| i.op1_kind() == OpKind::Memory || two_registers(i));
}

/// Only in regions do both operands stay in registers.
fn or_for_xor_in_regions(code: &mut [u8]) {
    or_for_xor(code, two_registers);
}

/// Sums of doubles become differences.
fn difference_for_sum(code: &mut [u8]) {
    for range in places(code, |i| i.mnemonic() == Mnemonic::Vaddsd) {
        let opcode = range.start + if code[range.start] == 0xc4 { 3 } else { 2 };
        assert_eq!(code[opcode], 0x58);
        code[opcode] = 0x5c;
    }
}

/// What is meant for 0x7a8 from somewhere goes to the page behind it.
fn another_page(code: &mut [u8]) {
    let concerns = |i: &Instruction| i.memory_displacement64() == 0x7a8;
    for range in places(code, concerns) {
        let bytes = &mut code[range];
        let at = bytes.windows(4).position(|w| w == 0x7a8u32.to_le_bytes()).unwrap();
        bytes[at + 1] = 0x17;
    }
}

#[test]
fn a_mistake_in_emitted_code_is_named_at_its_instruction() {
    for threshold in [0, 16] {
        for (meddle, (pc, code), register) in
            [(or_for_xor_anywhere as fn(&mut [u8]), XOR, "a0"), (difference_for_sum, FADD, "fa1")]
        {
            let report = meddled(PLAIN, threshold, meddle);
            println!("{report}\n");
            assert!(report.contains(&format!("at pc {pc:#x} in M-mode: {code}\n")), "{report}");
            assert!(report.contains(&format!("> {pc:#018x}  {code}\n")), "{report}");
            assert!(report.lines().any(|line| line.split_whitespace().next() == Some(register)), "{report}");
            assert!(report.contains("whenever it translates this instruction"), "{report}");
        }
    }
}

#[test]
fn a_mistake_in_regions_alone_is_found_and_shown_with_what_led_there() {
    let report = meddled(PLAIN, 0, or_for_xor_in_regions);
    println!("{report}");
    let (pc, code) = XOR;
    assert!(report.contains("it comes only with the code as it had been translated"), "{report}");
    assert!(report.contains(&format!("{pc:#018x}  {code}\n")), "{report}");
    assert!(report.lines().any(|line| line.split_whitespace().next() == Some("a0")), "{report}");
    assert!(report.lines().filter(|line| line.contains(" 0x0000000080000")).count() > 60, "{report}");
}

#[test]
fn a_store_that_goes_to_another_page_is_missed_in_the_one_and_found_in_the_other() {
    let program = [
        0x0008_0417, // auipc s0,0x80
        0x0000_0013, // addi zero,zero,0
        0x0012_8293, // addi t0,t0,1
        0x7a54_3423, // sd t0,1960(s0)
        0xff9f_f06f, // jal zero,-8
    ];
    let report = meddled(&program, 0, another_page);
    assert!(report.contains("at pc 0x8000000c in M-mode: sd t0, 1960(s0)"), "{report}");
    has_line(&report, &["0x800807a8", "0x1", "0x0"]);
    has_line(&report, &["0x800817a8", "0x0", "0x1"]);
}

#[test]
fn a_store_that_leaves_no_trace_is_found_in_the_end() {
    let fixture = Fixture::new(PLAIN);
    let mut check = fixture.check(OPTIONS, |jit| {
        // As a store to a page that was remembered too long: the dirty log knows nothing of it.
        Faulty::new(jit, 9000, |jit| jit.interp().cpu().ram.store(DATA - RAM, 0x77u8).unwrap())
    });
    let exit = check.run(100_000);
    let Exit::Broken(report) = exit else { panic!("{exit:?}") };
    assert!(report.contains("left no trace"), "{report}");
    has_line(&report, &[&format!("{DATA:#x}"), "0x0", "0x77"]);
}

#[test]
fn the_report_shows_what_was_run() {
    let report = planted(8, |jit| change(jit, |hart| hart.x[27] = 1));
    print!("{report}");
    assert!(
        report.starts_with("the translator and the interpreter differ\nafter 7 instructions, at pc "),
        "{report}"
    );
    let code: Vec<&str> = report.lines().filter(|line| line.contains(" 0x00000000800000")).collect();
    assert!(code.len() > 8, "{report}");
    assert_eq!(code.iter().filter(|line| line.starts_with("  > ")).count(), 1, "{report}");
    assert!(report.ends_with(" instructions"), "{report}");
}
