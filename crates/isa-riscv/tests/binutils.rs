//! The disassembler against GNU binutils: two readings of the same encodings.

use isa_riscv::disasm::{disassemble, length};
use isa_riscv::random::{random_insn, rows};
use isa_riscv::rows::Row;
use std::process::Command;

const OBJDUMP: &str = "riscv64-linux-gnu-objdump";
const PER_ROW: usize = 256;

/// What objdump shall believe that the code is made for: all extensions of the tables. Those that
/// older versions do not know come last and in a file of their own, or they would know none.
const ARCH: &str = "rv64i2p1_m2p0_a2p1_f2p2_d2p2_c2p0_zicbom1p0_zicbop1p0_zicboz1p0_zicsr2p0_zifencei2p0_zfh1p0_\
                    zba1p0_zbb1p0_zbc1p0_zbs1p0_svinval1p0";
const NEWER_ARCH: &str = "rv64i2p1_zicond1p0";

/// A relocatable ELF file that holds `code` and says that it is for `arch` (RISC-V ELF psABI,
/// "Attributes"). It has no symbols, so that addresses are printed as numbers.
fn elf(code: &[u8], arch: &str) -> Vec<u8> {
    let file_attributes = [&[5u8][..], arch.as_bytes(), &[0]].concat();
    let sized = |head: &[u8], body: &[u8]| {
        let length = (head.len() + 4 + body.len()) as u32;
        [head, &length.to_le_bytes(), body].concat()
    };
    let vendor = [b"riscv\0", &sized(&[1], &file_attributes)[..]].concat();
    let attributes = [b"A", &sized(&[], &vendor)[..]].concat();
    let names = b"\0.text\0.riscv.attributes\0.shstrtab\0";
    // Name, type, flags, contents.
    let sections: [(u32, u32, u64, &[u8]); 3] =
        [(1, 1, 6, code), (7, 0x7000_0003, 0, &attributes), (25, 3, 0, names)];
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend([1u8, 0, 243, 0, 1, 0, 0, 0]);
    file.extend([0u8; 16]);
    let table = 64 + sections.iter().map(|s| s.3.len() as u64).sum::<u64>();
    file.extend(table.to_le_bytes());
    file.extend([5u8, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 4, 0, 3, 0]);
    let mut headers = vec![0u8; 64];
    for (name, kind, flags, bytes) in sections {
        headers.extend(name.to_le_bytes());
        headers.extend(kind.to_le_bytes());
        for field in [flags, 0, file.len() as u64, bytes.len() as u64, 0, 1, 0] {
            headers.extend(field.to_le_bytes());
        }
        file.extend(bytes);
    }
    file.extend(headers);
    file
}

/// Objdump's text for each of `words`, which lie one after the other from address 0.
fn objdump(words: &[u32], arch: &str) -> Vec<String> {
    let code: Vec<u8> =
        words.iter().flat_map(|w| w.to_le_bytes().into_iter().take(length(*w) as usize)).collect();
    let path = std::env::temp_dir().join(format!("isa-riscv-{}-{}.o", std::process::id(), arch.len()));
    std::fs::write(&path, elf(&code, arch)).expect("a temporary file");
    let output =
        Command::new(OBJDUMP).args(["-d", "-z", "-M", "no-aliases"]).arg(&path).output().expect("objdump");
    std::fs::remove_file(&path).expect("a temporary file");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().filter_map(|l| l.trim_start().split_once(":\t"));
    // Address, bytes, mnemonic, operands.
    lines.map(|(_, rest)| rest.split('\t').skip(1).collect::<Vec<_>>().join(" ")).collect()
}

/// Mnemonic and operands without what differs in style: spaces, number bases, comments, symbols.
fn tokens(text: &str) -> Vec<String> {
    let text = text.split(['#', '<']).next().unwrap_or("");
    let number = |t: &str| {
        let (negative, digits) = t.strip_prefix('-').map_or((false, t), |rest| (true, rest));
        let v = match digits.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => digits.parse().ok()?,
        };
        Some(if negative { v.wrapping_neg() } else { v })
    };
    let words = text.split([' ', ',', '(', ')', '\t']).filter(|t| !t.is_empty());
    words.map(|t| number(t).map_or(t.to_string(), |v| format!("{v:#x}"))).collect()
}

/// Why binutils says something else, if there is a reason. `old` is whether it knows no Zicond.
fn explained(row: &Row, word: u32, ours: &[String], theirs: &[String], old: bool) -> Option<&'static str> {
    let unknown = theirs.first().is_some_and(|t| t == ".4byte");
    let field = |name: &str| row.fields.iter().find(|f| f.name == name).map_or(0, |f| f.get(word));
    match row.name {
        "czero.eqz" | "czero.nez" if old && unknown => Some("binutils before 2.41 does not know Zicond"),
        // Manual: "implementations shall ignore" fm, rd and rs1; binutils wants zeroes.
        "fence" if unknown && (field("fm"), field("rd"), field("rs1")) != (0, 0, 0) => {
            Some("reserved fields of fence")
        }
        "fence.tso" if unknown && (field("rd"), field("rs1")) != (0, 0) => Some("reserved fields of fence"),
        "fence.i" if unknown && (field("imm_i"), field("rd"), field("rs1")) != (0, 0, 0) => {
            Some("reserved fields of fence")
        }
        "pause" if theirs == ["fence", "w", "unknown"] => Some("pause counts as an alias of fence"),
        "c.nop" if *theirs == ["c.addi", "zero", ours.get(1)?] => Some("c.nop counts as an alias of c.addi"),
        "c.slli" | "c.srli" | "c.srai" if field("c_shamt") == 0 => {
            let name = format!("{}64", row.name);
            (*theirs == [name, ours.get(1)?.clone()]).then_some("shifts by 0, hints, are named as on RV128")
        }
        // Manual: the result is exact, but rm is "treated as usual"; binutils wants rne and leaves it out.
        "fcvt.d.w" | "fcvt.d.wu" | "fcvt.d.s" | "fcvt.d.h" | "fcvt.s.h" => match field("rm") {
            0 => {
                (ours.strip_suffix(&["rne".to_string()]) == Some(theirs)).then_some("rm of exact conversions")
            }
            _ => unknown.then_some("rm of exact conversions"),
        },
        "csrrw" | "csrrs" | "csrrc" | "csrrwi" | "csrrsi" | "csrrci" => {
            // All but the CSR agree, which we give by number.
            let mut renamed = ours.to_vec();
            let (at, number) = (2, format!("{:#x}", field("csr")));
            let nameless = renamed.get(at) == Some(&number);
            renamed.splice(at..=at, theirs.get(at).cloned());
            (nameless && renamed == theirs).then_some("CSRs that we have no name for")
        }
        _ => None,
    }
}

/// A random instance of `row`. Every second one has zeroes in rounding mode and hidden fields, which
/// random ones almost never have and objdump wants of some rows.
fn instance(row: &Row, number: usize, rng: &mut impl FnMut() -> u64) -> u32 {
    let word = random_insn(row, rng);
    let plain = |name: &str| name != "rm" && row.asm.contains(&format!("{{{name}}}"));
    let cleared = row.fields.iter().filter(|f| !plain(f.name)).fold(word, |w, f| w & !f.mask());
    if number.is_multiple_of(2) && row.matches(cleared) { cleared } else { word }
}

#[test]
fn objdump_reads_every_row_as_we_do() {
    let Ok(version) = Command::new(OBJDUMP).arg("--version").output() else {
        println!("SKIPPED: no {OBJDUMP} on PATH (Debian: binutils-riscv64-linux-gnu)");
        return;
    };
    let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or("").to_string();
    println!("{version}");
    let numbers: Vec<u32> =
        version.rsplit(' ').next().unwrap_or("").split('.').filter_map(|n| n.parse().ok()).collect();
    let old = numbers < vec![2, 41];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut rng = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut wrong = Vec::new();
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    for (arch, newer) in [(ARCH, false), (NEWER_ARCH, true)] {
        let mine = rows().filter(|r| (r.extension == "Zicond") == newer);
        let words: Vec<(&Row, u32)> = mine
            .flat_map(|r| (0..PER_ROW).map(move |n| (r, n)))
            .map(|(r, n)| (r, instance(r, n, &mut rng)))
            .collect();
        let theirs = objdump(&words.iter().map(|w| w.1).collect::<Vec<_>>(), arch);
        assert_eq!(theirs.len(), words.len(), "objdump's lines");
        let mut pc = 0;
        for ((row, word), theirs) in words.into_iter().zip(theirs) {
            let ours = disassemble(word, pc);
            pc += u64::from(length(word));
            let (a, b) = (tokens(&ours), tokens(&theirs));
            if a == b {
                continue;
            }
            match explained(row, word, &a, &b, old) {
                Some(reason) => *reasons.entry(reason).or_default() += 1,
                None => wrong.push(format!("{} {word:#010x}: ours '{ours}', theirs '{theirs}'", row.name)),
            }
        }
    }
    for (reason, count) in &reasons {
        println!("{count} words differ: {reason}");
    }
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} words differ:\n{shown}", wrong.len());
}
