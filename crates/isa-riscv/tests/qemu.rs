//! The meanings against QEMU: one program of random instructions, run by `qemu-riscv64` and by the test
//! machine, which must leave the same registers, flags and memory after every one of them.
//!
//! Each instruction has a record: its inputs, which its outputs overwrite, and memory of its own.

use isa_riscv::disasm::{disassemble, length};
use isa_riscv::random::{random_insn, rows};
use isa_riscv::rows::{Kind, Row, flag};
use isa_riscv::testkit::TestMachine;
use isa_riscv::{Exception, Features, ROWS};
use std::process::Command;

const QEMU: &str = "qemu-riscv64";
const PER_ROW: usize = 48;

const CODE: u64 = 0x10_0000;
/// Registers x10 to x15 and f10 to f15, `fcsr`, `sp`; then memory around the pointer.
const RECORD: u64 = 704;
const POINTER: u64 = 192;
const FCSR: i64 = 96;
const SP: i64 = 104;

/// Rows that cannot stand in such a program, besides the privileged and sensitive ones. The conformance lines have them all.
const LEFT_OUT: [&str; 10] =
    ["jalr", "c.jr", "c.jalr", "ecall", "ebreak", "c.ebreak", "lr.w", "lr.d", "sc.w", "sc.d"];

/// Pseudo-random numbers (xorshift64*), the same on every run.
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

    /// An integer that is often near an edge.
    fn integer(&mut self) -> u64 {
        let near = self.below(5).wrapping_sub(2);
        match self.below(5) {
            0 => near,
            1 => (1u64 << self.below(64)).wrapping_add(near),
            2 => (self.next() as u32 as i32) as u64,
            3 => self.next() >> self.below(64),
            _ => self.next(),
        }
    }

    /// Bits of a number with `e` exponent and `f` fraction bits, often special or near an edge.
    fn number(&mut self, e: u64, f: u64) -> u64 {
        let (ones, bias) = ((1 << e) - 1, (1 << (e - 1)) - 1);
        let exponent = match self.below(6) {
            0 => [0, 1, ones - 1, ones][self.below(4) as usize],
            1 | 2 => bias + self.below(5) - 2,
            3 => bias + [f, f - 1, f + 1, 15, 31, 63][self.below(6) as usize],
            _ => self.below(ones),
        };
        let fraction = match self.below(4) {
            0 => 0,
            1 => (1 << f) - 1,
            2 => 1 << self.below(f),
            _ => self.next() & ((1 << f) - 1),
        };
        self.below(2) << (e + f) | exponent.min(ones) << f | fraction
    }

    /// A floating-point register: mostly boxed numbers.
    fn float(&mut self, row: &Row) -> u64 {
        let format = row.name.rsplit('.').next().unwrap_or("");
        let format = if self.below(8) == 0 { "any" } else { format };
        match format {
            "h" => self.number(5, 10) | u64::MAX << 16,
            "s" => self.number(8, 23) | u64::MAX << 32,
            "d" => self.number(11, 52),
            _ => match self.below(4) {
                0 => self.number(5, 10) | u64::MAX << 16,
                1 => self.number(8, 23) | u64::MAX << 32,
                2 => self.number(11, 52),
                _ => self.next(),
            },
        }
    }
}

/// The instruction `name` with these fields.
fn assemble(name: &str, fields: &[(&str, i64)]) -> u32 {
    let row = ROWS.iter().find(|row| row.name == name).expect(name);
    row.fields.iter().fold(row.bits, |word, field| {
        let value = fields.iter().find(|(name, _)| *name == field.name).map_or(0, |(_, value)| *value);
        word | field.put(value).expect(field.name)
    })
}

/// Whether the row's `field` is the address of an access.
fn is_pointer(row: &Row, field: &str) -> bool {
    row.asm.contains(&format!("({{{field}}})"))
}

/// An instance of `row` that keeps to x10 to x15, f10 to f15 and the memory of its record.
fn instance(row: &Row, random: &mut Random) -> u32 {
    loop {
        let mut word = random_insn(row, &mut || random.next());
        for field in row.fields {
            let value = match (field.name, field.kind) {
                // The base of an access, and the two ways to skip one instruction.
                (name, Kind::X) if is_pointer(row, name) => 9,
                (_, Kind::Rel) => i64::from(row.length) / 8 + 4,
                (name, Kind::X) if name.ends_with('p') || random.below(8) != 0 => 10 + random.below(6) as i64,
                (_, Kind::X) => 0,
                (_, Kind::F) => 10 + random.below(6) as i64,
                (_, Kind::I32) if row.asm.contains('(') && !row.name.starts_with("c.") => {
                    random.below(256) as i64 - 64
                }
                (_, Kind::Rm) => [0, 1, 2, 3, 4, 7, 7, 7][random.below(8) as usize],
                _ => continue,
            };
            word = word & !field.mask() | field.put(value).unwrap_or(word & field.mask());
        }
        if row.matches(word) {
            return word;
        }
    }
}

/// The code that loads an instruction's inputs, the instruction, and the code that stores its outputs.
fn piece(word: u32) -> Vec<u32> {
    let mut code = vec![
        assemble("addi", &[("rd", 9), ("rs1", 31), ("imm_i", POINTER as i64)]),
        assemble("addi", &[("rd", 2), ("rs1", 9), ("imm_i", 0)]),
        assemble("ld", &[("rd", 30), ("rs1", 31), ("imm_i", FCSR)]),
        assemble("csrrw", &[("rd", 0), ("rs1", 30), ("csr", 3)]),
    ];
    for i in 0..6 {
        code.push(assemble("ld", &[("rd", 10 + i), ("rs1", 31), ("imm_i", 8 * i)]));
        code.push(assemble("fld", &[("fd", 10 + i), ("rs1", 31), ("imm_i", 48 + 8 * i)]));
    }
    code.push(word);
    // What a branch may skip.
    code.push(assemble("addi", &[("rd", 10), ("rs1", 10), ("imm_i", 1)]));
    code.push(assemble("csrrs", &[("rd", 30), ("rs1", 0), ("csr", 3)]));
    code.push(assemble("sd", &[("rs2", 30), ("rs1", 31), ("imm_s", FCSR)]));
    code.push(assemble("sd", &[("rs2", 2), ("rs1", 31), ("imm_s", SP)]));
    for i in 0..6 {
        code.push(assemble("sd", &[("rs2", 10 + i), ("rs1", 31), ("imm_s", 8 * i)]));
        code.push(assemble("fsd", &[("fs2", 10 + i), ("rs1", 31), ("imm_s", 48 + 8 * i)]));
    }
    code.push(assemble("addi", &[("rd", 31), ("rs1", 31), ("imm_i", RECORD as i64)]));
    code
}

/// The program: its code, its records, where they are, and each record's instruction with its address.
struct Program {
    image: Vec<u8>,
    data: u64,
    tests: Vec<(&'static Row, u32, u64)>,
}

fn program() -> Program {
    let mut random = Random(0x5eed);
    let usable = |row: &&Row| {
        let excluded = flag::PRIVILEGED | flag::SENSITIVE;
        row.flags & excluded == 0 && !LEFT_OUT.contains(&row.name)
    };
    // The first instruction loads the data's address, which is known last.
    let (mut code, mut records, mut tests) = (vec![0; 4], Vec::new(), Vec::new());
    let push = |code: &mut Vec<u8>, word: u32| code.extend(&word.to_le_bytes()[..length(word) as usize]);
    for row in rows().filter(usable) {
        for _ in 0..PER_ROW {
            let word = instance(row, &mut random);
            for (i, part) in piece(word).into_iter().enumerate() {
                if i == 16 {
                    tests.push((row, word, CODE + code.len() as u64));
                }
                push(&mut code, part);
            }
            let mut record = Vec::new();
            record.extend((0..6).flat_map(|_| random.integer().to_le_bytes()));
            record.extend((0..6).flat_map(|_| random.float(row).to_le_bytes()));
            record.extend((random.below(5) << 5 | random.below(32)).to_le_bytes());
            record.resize_with(RECORD as usize, || random.next() as u8);
            records.extend(record);
        }
    }
    let size = records.len().next_multiple_of(4096);
    records.resize(size, 0);
    let end = code.len() + 28;
    let data = CODE + end.next_multiple_of(4096) as u64;
    code.splice(..4, assemble("lui", &[("rd", 31), ("imm_u", data as i64)]).to_le_bytes());
    let ending = [
        // write(1, data, size), then exit(0).
        assemble("addi", &[("rd", 10), ("imm_i", 1)]),
        assemble("lui", &[("rd", 11), ("imm_u", data as i64)]),
        assemble("lui", &[("rd", 12), ("imm_u", size as i64)]),
        assemble("addi", &[("rd", 17), ("imm_i", 64)]),
        assemble("ecall", &[]),
        assemble("addi", &[("rd", 10)]),
        assemble("addi", &[("rd", 17), ("imm_i", 93)]),
        assemble("ecall", &[]),
    ];
    ending.into_iter().for_each(|word| push(&mut code, word));
    code.resize((data - CODE) as usize, 0);
    Program { image: [code, records].concat(), data, tests }
}

/// An executable ELF file: one segment, at [`CODE`].
fn executable(image: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2u8, 0, 243, 0, 1, 0, 0, 0]);
    for field in [CODE, 64, 0] {
        file.extend(field.to_le_bytes());
    }
    // Flags: RVC, double-precision ABI.
    file.extend([5u8, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1u8, 0, 0, 0, 7, 0, 0, 0]);
    for field in [4096, CODE, CODE, image.len() as u64, image.len() as u64, 4096] {
        file.extend(field.to_le_bytes());
    }
    file.resize(4096, 0);
    file.extend(image);
    file
}

/// Runs the program on the test machine and gives its records.
fn ours(program: &Program) -> Vec<u8> {
    let mut m = TestMachine::new(&Features::FULL, CODE, program.image.len());
    m.memory.copy_from_slice(&program.image);
    m.hart.csr.set_fp_dirty();
    let stop = loop {
        if let Err(trap) = m.step() {
            break trap;
        }
    };
    assert_eq!(stop.cause, Exception::EcallM, "{stop:?} at {:#x}", m.hart.pc);
    m.slice(program.data, program.image.len() as u64 - (program.data - CODE)).expect("the records").to_vec()
}

#[test]
fn qemu_runs_every_row_as_we_do() {
    if Command::new(QEMU).arg("--version").output().is_err() {
        println!("SKIPPED: no {QEMU} on PATH (Debian: qemu-user, 10 or later)");
        return;
    }
    let program = program();
    let path = std::env::temp_dir().join(format!("isa-riscv-{}.elf", std::process::id()));
    std::fs::write(&path, executable(&program.image)).expect("a temporary file");
    let mut mode = std::fs::metadata(&path).expect("the file").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    std::fs::set_permissions(&path, mode).expect("permissions");
    let output = Command::new(QEMU).args(["-cpu", "max"]).arg(&path).output().expect("qemu");
    std::fs::remove_file(&path).expect("a temporary file");
    assert!(output.status.success(), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    let (theirs, ours) = (output.stdout, ours(&program));
    assert_eq!(theirs.len(), ours.len(), "bytes of records");
    let mut wrong = Vec::new();
    let record = RECORD as usize;
    for (i, (row, word, pc)) in program.tests.iter().enumerate() {
        let range = i * record..(i + 1) * record;
        let (a, b) = (&ours[range.clone()], &theirs[range.clone()]);
        let start = (program.data - CODE) as usize;
        let inputs = &program.image[start + range.start..start + range.end];
        if let Some(at) = (0..record).step_by(8).find(|at| a[*at..at + 8] != b[*at..at + 8]) {
            let get = |bytes: &[u8]| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
            let x: Vec<u64> = inputs[..SP as usize]
                .chunks(8)
                .map(|c| c.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b)))
                .collect();
            wrong.push(format!(
                "{} '{}': at {at}: ours {:#x}, theirs {:#x}; inputs {x:x?}",
                row.name,
                disassemble(*word, *pc),
                get(a),
                get(b)
            ));
        }
    }
    println!("{} instructions of {} rows", program.tests.len(), program.tests.len() / PER_ROW);
    let shown = wrong.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} instructions differ:\n{shown}", wrong.len());
}
