//! Machine code from the rows: instructions by name and fields, labels, constants.

use isa_riscv::disasm::length;
use isa_riscv::rows::{Field, Kind, Row};
use isa_riscv::{ROWS, csr_number};

/// The row called `name`.
///
/// # Panics
/// If there is none: names are written in this program.
pub fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

/// The instruction `name` with these fields; those not given are 0.
///
/// # Panics
/// If a field cannot hold its value.
pub fn word(name: &str, fields: &[(&str, i64)]) -> u32 {
    let row = row(name);
    assert!(fields.iter().all(|(f, _)| row.fields.iter().any(|g| g.name == *f)), "{name}: {fields:?}");
    row.fields.iter().fold(row.bits, |word, field| {
        let value = fields.iter().find(|(f, _)| *f == field.name).map_or(0, |(_, value)| *value);
        word | field.put(value).unwrap_or_else(|| panic!("{name}: {} cannot be {value}", field.name))
    })
}

/// `word` with `field` of `row` replaced by `value`, if it can hold that.
pub fn with_field(row: &Row, word: u32, field: &str, value: i64) -> Option<u32> {
    let field = row.fields.iter().find(|f| f.name == field)?;
    Some(word & !field.mask() | field.put(value)?)
}

/// What the address of an access is made of, by the row's assembler text: the base register, if that is a field, and the
/// offset, if it has one. `None` if the row accesses nothing.
pub fn access(row: &Row) -> Option<(Option<&'static Field>, Option<&'static Field>)> {
    let open = row.asm.find('(')?;
    let inside = row.asm[open + 1..].split(')').next()?;
    let base = row.fields.iter().find(|f| inside == format!("{{{}}}", f.name)).copied();
    let before = &row.asm[..open];
    let offset =
        row.fields.iter().find(|f| f.kind == Kind::I32 && before.ends_with(&format!("{{{}}}", f.name)));
    Some((base, offset.copied()))
}

/// A place in the code.
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

/// Code in the making.
#[derive(Debug, Default)]
pub struct Assembler {
    base: u64,
    /// The code so far.
    pub bytes: Vec<u8>,
    labels: Vec<Option<u64>>,
    /// Offset of an instruction, its name, the field that a label's distance goes to, the label.
    open: Vec<(usize, &'static str, &'static str, Label)>,
    /// Offsets of `auipc`, `addi` pairs that give the address of a label.
    pairs: Vec<(usize, Label)>,
    /// Offsets of words that hold the distance of a label from another.
    distances: Vec<(usize, Label, Label)>,
}

impl Assembler {
    /// Code that will lie at `base`.
    pub fn new(base: u64) -> Assembler {
        Assembler { base, ..Assembler::default() }
    }

    /// Address of what comes next.
    pub fn here(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// A label to be bound later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Binds `label` to what comes next.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.here());
    }

    /// A label for what comes next.
    pub fn mark(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Address of a bound label.
    pub fn address(&self, label: Label) -> u64 {
        self.labels[label.0].expect("a bound label")
    }

    /// An instruction word.
    pub fn raw(&mut self, word: u32) {
        self.bytes.extend(&word.to_le_bytes()[..length(word) as usize]);
    }

    /// An instruction.
    pub fn op(&mut self, name: &str, fields: &[(&str, i64)]) {
        self.raw(word(name, fields));
    }

    /// `name rd, rs1, imm` for rows with these three.
    pub fn opi(&mut self, name: &str, rd: i64, rs1: i64, imm: i64) {
        self.op(name, &[("rd", rd), ("rs1", rs1), ("imm_i", imm)]);
    }

    /// `ld rd, offset(rs1)`
    pub fn ld(&mut self, rd: i64, offset: i64, rs1: i64) {
        self.opi("ld", rd, rs1, offset);
    }

    /// `sd rs2, offset(rs1)`
    pub fn sd(&mut self, rs2: i64, offset: i64, rs1: i64) {
        self.op("sd", &[("rs2", rs2), ("rs1", rs1), ("imm_s", offset)]);
    }

    /// `csrrw rd, csr, rs1`
    pub fn csrrw(&mut self, rd: i64, csr: &str, rs1: i64) {
        self.op("csrrw", &[("rd", rd), ("csr", number(csr)), ("rs1", rs1)]);
    }

    /// `csrrs rd, csr, x0`
    pub fn csrr(&mut self, rd: i64, csr: &str) {
        self.op("csrrs", &[("rd", rd), ("csr", number(csr)), ("rs1", 0)]);
    }

    /// An instruction whose `field` is the distance to `label`.
    pub fn to(&mut self, name: &'static str, fields: &[(&str, i64)], field: &'static str, label: Label) {
        self.open.push((self.bytes.len(), name, field, label));
        self.op(name, fields);
    }

    /// The address of `label`, which lies within 2 GiB.
    pub fn address_of(&mut self, rd: i64, label: Label) {
        self.pairs.push((self.bytes.len(), label));
        self.op("auipc", &[("rd", rd)]);
        self.opi("addi", rd, rd, 0);
    }

    /// A word of data: the distance of `label` from `from`.
    pub fn distance(&mut self, label: Label, from: Label) {
        self.distances.push((self.bytes.len(), label, from));
        self.bytes.extend([0; 4]);
    }

    /// `jal rd, label`
    pub fn jal(&mut self, rd: i64, label: Label) {
        self.to("jal", &[("rd", rd)], "imm_j", label);
    }

    /// A conditional branch.
    pub fn branch(&mut self, name: &'static str, rs1: i64, rs2: i64, label: Label) {
        self.to(name, &[("rs1", rs1), ("rs2", rs2)], "imm_b", label);
    }

    /// Loads a constant.
    pub fn li(&mut self, rd: i64, value: u64) {
        let signed = value as i64;
        if (-2048..2048).contains(&signed) {
            self.opi("addi", rd, 0, signed);
        } else if signed == i64::from(signed as i32) {
            let low = signed << 52 >> 52;
            let high = (signed - low) as i32;
            self.op("lui", &[("rd", rd), ("imm_u", i64::from(high))]);
            if low != 0 {
                self.opi("addiw", rd, rd, low);
            }
        } else {
            let low = signed << 52 >> 52;
            self.li(rd, (signed.wrapping_sub(low) >> 12) as u64);
            self.op("slli", &[("rd", rd), ("rs1", rd), ("shamt", 12)]);
            self.opi("addi", rd, rd, low);
        }
    }

    /// Fills with zeroes (illegal instructions) up to `offset`.
    pub fn pad_to(&mut self, offset: usize) {
        assert!(self.bytes.len() <= offset, "{} bytes where {offset} fit", self.bytes.len());
        self.bytes.resize(offset, 0);
    }

    /// The code, with all labels resolved.
    pub fn finish(mut self) -> Vec<u8> {
        for (at, label) in std::mem::take(&mut self.pairs) {
            let distance = self.address(label).wrapping_sub(self.base + at as u64) as i64;
            let low = distance << 52 >> 52;
            self.patch(at, "auipc", "imm_u", distance - low);
            self.patch(at + 4, "addi", "imm_i", low);
        }
        for (at, label, from) in std::mem::take(&mut self.distances) {
            let distance = self.address(label).wrapping_sub(self.address(from)) as u32;
            self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        for (at, name, field, label) in std::mem::take(&mut self.open) {
            let distance = self.address(label).wrapping_sub(self.base + at as u64) as i64;
            self.patch(at, name, field, distance);
        }
        self.bytes
    }

    fn patch(&mut self, at: usize, name: &str, field: &str, value: i64) {
        let old = u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("four bytes"));
        let new = with_field(row(name), old, field, value);
        let new = new.unwrap_or_else(|| panic!("{name}: {field} cannot be {value:#x}"));
        self.bytes[at..at + 4].copy_from_slice(&new.to_le_bytes());
    }
}

/// The number of a CSR named in this program.
pub fn number(csr: &str) -> i64 {
    i64::from(csr_number(csr).unwrap_or_else(|| panic!("no CSR {csr}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use isa_riscv::Features;
    use isa_riscv::testkit::TestMachine;

    #[test]
    fn constants_arrive() {
        let values =
            [0, 1, 0x800, !0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff_8000_0000, 0x1234_5678_9abc_def0];
        for value in values {
            let mut a = Assembler::new(0);
            a.li(5, value);
            let code = a.finish();
            let mut m = TestMachine::new(&Features::FULL, 0, code.len());
            m.memory.copy_from_slice(&code);
            while (m.hart.pc as usize) < code.len() {
                m.step().unwrap();
            }
            assert_eq!(m.hart.x[5], value, "{value:#x}");
        }
    }

    #[test]
    fn labels_resolve_both_ways() {
        let mut a = Assembler::new(0x1000);
        let (back, ahead) = (a.mark(), a.label());
        a.jal(0, ahead);
        a.branch("beq", 0, 0, back);
        a.bind(ahead);
        a.jal(0, back);
        assert_eq!(a.finish(), [0x6f, 0, 0x80, 0, 0xe3, 0x0e, 0, 0xfe, 0x6f, 0xf0, 0x9f, 0xff]);
    }
}
