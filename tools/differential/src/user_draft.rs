//! A user-level case in the making: instances of rows, the registers and addresses that they need.

use crate::assembler::{access, row, with_field, word};
use crate::random::{Random, Values};
use crate::user_case::{Case, NO_SYSCALL, Piece, SCRATCH_BYTES, Value, traps};
use crate::user_image::SCRATCH;
use isa_riscv::disasm::{length, row_of};
use isa_riscv::random::random_insn;
use isa_riscv::rows::{Field, Kind, Row};
use isa_riscv::{decode16, decode32};

/// A case in the making.
pub struct Draft<'a> {
    /// Where choices come from.
    pub random: &'a mut Random,
    /// What there is of it.
    pub case: Case,
    record: u64,
    /// Registers that are no longer free to be made the base of an access.
    used: u32,
    set: u32,
    working: Vec<u8>,
    format: char,
    /// Nothing behind the last piece will run.
    pub over: bool,
}

fn is_atomic(row: &Row) -> bool {
    row.name.starts_with("amo") || row.name.starts_with("lr.") || row.name.starts_with("sc.")
}

/// The least and the greatest value of a field.
pub fn range(field: &Field) -> (i64, i64) {
    let bits: u32 = field.parts.iter().map(|&(_, n)| u32::from(n)).sum();
    let (low, high) = if field.signed {
        (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1)
    } else {
        (0, (1i64 << bits) - 1)
    };
    ((low << field.shift) + i64::from(field.plus), (high << field.shift) + i64::from(field.plus))
}

impl<'a> Draft<'a> {
    /// A case in which nothing has been chosen.
    pub fn new(random: &'a mut Random, record: u64, reserved: u8) -> Draft<'a> {
        let mut registers: Vec<u8> = (1..32).collect();
        random.shuffle(&mut registers);
        let working = registers[..10].to_vec();
        let format = random.pick(&['h', 's', 'd']);
        let scratch = (0..SCRATCH_BYTES).map(|_| random.bits() as u8).collect();
        let case = Case { pieces: Vec::new(), x: [Value::Plain(0); 32], f: [0; 32], fcsr: 0, scratch };
        Draft { random, case, record, used: 1 | 1 << reserved, set: 1, working, format, over: false }
    }

    /// Gives every register its value.
    pub fn finish(mut self) -> Case {
        for i in 1..32 {
            if self.set >> i & 1 == 0 {
                let same = self.random.below(32) as usize;
                let value = match self.case.x[same] {
                    Value::Plain(v) if self.random.one_in(6) => v,
                    _ => self.random.integer(),
                };
                self.case.x[i] = Value::Plain(value);
            }
        }
        for i in 0..32 {
            let value = self.random.float(self.format);
            self.case.f[i] = match self.random.below(6) {
                // Close to another register: sums cancel, comparisons are tight.
                0 if i > 0 => {
                    let other = self.case.f[self.random.below(i as u64) as usize];
                    other ^ self.random.pick(&[0, 1, 2, 1 << 15, 1 << 31, 1 << 63, 1 << 10, 1 << 23, 1 << 52])
                }
                _ => value,
            };
        }
        let mode = if self.random.one_in(16) { 5 + self.random.below(3) } else { self.random.below(5) };
        self.case.fcsr = mode << 5 | self.random.bits() & 0x1f;
        self.case
    }

    /// Adds an instance of `row`; false if there is no register for it.
    pub fn add(&mut self, row: &'static Row) -> bool {
        if row.fields.iter().any(|f| f.kind == Kind::Rel) {
            self.branch(row)
        } else if matches!(row.name, "jalr" | "c.jr" | "c.jalr") {
            self.indirect(row)
        } else if row.name == "ecall" {
            self.system_call(row)
        } else if let Some((base, offset)) = access(row) {
            self.memory(row, base, offset)
        } else {
            self.plain(row)
        }
    }

    fn push(&mut self, words: &[u32], subjects: &[usize]) {
        let mut piece = Piece::default();
        for (i, word) in words.iter().enumerate() {
            if subjects.contains(&i) {
                piece.subjects.push(piece.bytes.len());
            }
            piece.bytes.extend(&word.to_le_bytes()[..length(*word) as usize]);
        }
        self.case.pieces.push(piece);
    }

    /// Adds an instance of `row` with nothing around it; false if there is none.
    pub fn plain(&mut self, row: &'static Row) -> bool {
        let Some(word) = self.instance(row, &[]) else { return false };
        self.touch(row, word);
        self.push(&[word], &[0]);
        self.over |= traps(row);
        true
    }

    /// Takes note of the registers that an instruction names.
    fn touch(&mut self, row: &Row, word: u32) {
        for field in row.fields.iter().filter(|f| f.kind == Kind::X) {
            self.used |= 1 << field.get(word);
        }
        match row.name {
            "c.addi16sp" | "c.addi4spn" => self.used |= 1 << 2,
            "c.jalr" => self.used |= 1 << 1,
            _ => {}
        }
    }

    /// An instance of `row` with these fields; the other ones are random.
    fn instance(&mut self, row: &'static Row, fixed: &[(&str, i64)]) -> Option<u32> {
        for _ in 0..64 {
            let start = { random_insn(row, &mut || self.random.bits()) };
            let mut word = start;
            let mut before = None;
            for field in row.fields {
                let value = match fixed.iter().find(|(name, _)| *name == field.name) {
                    Some((_, value)) => Some(*value),
                    None => self.operand(field, before),
                };
                if field.kind == Kind::X {
                    before = value.or(before);
                }
                if let Some(value) = value {
                    word = word & !field.mask() | field.put(value).unwrap_or(start & field.mask());
                }
            }
            let kept =
                fixed.iter().all(|(n, v)| row.fields.iter().any(|f| f.name == *n && f.get(word) == *v));
            if kept && row_of(word).is_some_and(|found| found.name == row.name) {
                return Some(word);
            }
        }
        None
    }

    /// A value for a field; `None` to leave it as it is.
    fn operand(&mut self, field: &Field, before: Option<i64>) -> Option<i64> {
        match field.kind {
            Kind::X if self.random.one_in(16) => Some(0),
            Kind::X => match before {
                Some(before) if self.random.one_in(6) => Some(before),
                _ => Some(i64::from(self.random.pick(&self.working))),
            },
            Kind::I32 if self.random.one_in(3) => {
                let (low, high) = range(field);
                Some(self.random.pick(&[low, high, 0, -1 << field.shift, 1 << field.shift]))
            }
            Kind::U8 if self.random.one_in(4) => {
                let (low, high) = range(field);
                Some(self.random.pick(&[low, high]))
            }
            Kind::Rm if self.random.one_in(24) => Some(5 + self.random.below(2) as i64),
            Kind::Rm => Some(self.random.pick(&[0, 1, 2, 3, 4, 7, 7, 7])),
            Kind::Csr => Some(self.csr()),
            _ => None,
        }
    }

    /// A CSR number: mostly one that user mode has; never a counter, whose value nobody can predict.
    fn csr(&mut self) -> i64 {
        if !self.random.one_in(12) {
            return self.random.pick(&[1, 2, 3]);
        }
        let number = self.random.below(4096) as i64;
        if (0xc00..0xca0).contains(&number) { 3 } else { number }
    }

    /// A register that `field` can name and that is free, made to hold `value`.
    fn base(&mut self, field: Option<&'static Field>) -> Option<i64> {
        let Some(field) = field else { return (self.used >> 2 & 1 == 0).then_some(2) };
        let free: Vec<i64> = (1..32).filter(|r| self.used >> r & 1 == 0 && field.put(*r).is_some()).collect();
        let spare: Vec<i64> = free.iter().copied().filter(|r| !self.working.contains(&(*r as u8))).collect();
        match (spare.is_empty(), free.is_empty()) {
            (false, _) => Some(self.random.pick(&spare)),
            (_, false) => Some(self.random.pick(&free)),
            _ => None,
        }
    }

    fn set(&mut self, register: i64, value: Value) {
        self.case.x[register as usize] = value;
        self.used |= 1 << register;
        self.set |= 1 << register;
    }

    fn memory(
        &mut self,
        row: &'static Row,
        field: Option<&'static Field>,
        offset: Option<&'static Field>,
    ) -> bool {
        let Some(mut base) = self.base(field) else { return false };
        if row.name.starts_with("lr.") && !self.random.one_in(8) {
            return self.pair(row, base);
        }
        // Nothing is mapped around address 0.
        let zero = field.is_some_and(|f| f.put(0).is_some()) && self.random.one_in(64);
        if zero {
            base = 0;
        }
        let mut fixed: Vec<(&str, i64)> = field.iter().map(|f| (f.name, base)).collect();
        let others =
            row.fields.iter().filter(|f| f.kind == Kind::X && field.is_none_or(|g| g.name != f.name));
        fixed.extend(others.filter(|_| self.random.one_in(8)).map(|f| (f.name, base)));
        let Some(word) = self.instance(row, &fixed) else { return false };
        let value = self.address(is_atomic(row), offset.map_or(0, |f| f.get(word)));
        self.touch(row, word);
        if !zero {
            self.set(base, value);
        }
        // A store-conditional that must fault is the last instruction: QEMU lets it fail instead.
        let proper = !zero && matches!(value, Value::Record(at) if at % 8 == 0);
        self.over |= row.name.starts_with("sc.") && !proper;
        self.push(&[word], &[0]);
        true
    }

    /// `lr`, something harmless, and usually the `sc` that belongs to it.
    fn pair(&mut self, lr: &'static Row, base: i64) -> bool {
        let conditional = row(if lr.name == "lr.w" { "sc.w" } else { "sc.d" });
        let fixed = [("rs1", base)];
        let (first, second) = (self.instance(lr, &fixed), self.instance(conditional, &fixed));
        let (Some(mut first), Some(second)) = (first, second) else { return false };
        // The pair needs its base twice.
        if with_field(lr, 0, "rd", base).is_some_and(|rd| first & 0xf80 == rd & 0xf80) {
            first &= !0xf80;
        }
        let value = self.address(true, 0);
        self.touch(lr, first);
        self.touch(conditional, second);
        self.set(base, value);
        if self.random.one_in(4) {
            self.push(&[first], &[0]);
        } else {
            let between = word("addi", &[("rd", 0), ("rs1", 0), ("imm_i", 0)]);
            self.push(&[first, between, second], &[0, 2]);
        }
        true
    }

    /// What a base register must hold for an access at `offset` from it.
    fn address(&mut self, atomic: bool, offset: i64) -> Value {
        let aligned = if atomic { !self.random.one_in(24) } else { self.random.one_in(2) };
        let grain = if aligned { 7u64 } else { 0 };
        match self.random.below(48) {
            0 => {
                let wild = self.random.pick(&[
                    0u64,
                    0x7f8,
                    0x8000_0000_0000_0000,
                    0xffff_ffff_ffff_f000,
                    0x1234_5678_9abc_def8,
                ]);
                let at = wild + (self.random.below(2048) & if atomic { !7 } else { !grain });
                Value::Plain(at.wrapping_sub(offset as u64))
            }
            1 => {
                let at = 4096 - self.random.below(24) as i64;
                Value::Edge((at & if atomic { !7 } else { !(grain as i64) }) - offset)
            }
            2 => Value::Code { piece: 0, plus: (if atomic { 8 } else { 0 }) - offset },
            _ => {
                let mut at = self.random.below(SCRATCH_BYTES - 7);
                // Where the scratch area crosses a page, so shall the access.
                let page = (self.record + SCRATCH).next_multiple_of(4096) - (self.record + SCRATCH);
                if (8..SCRATCH_BYTES - 8).contains(&page) && !atomic && self.random.one_in(2) {
                    at = page - self.random.below(8);
                }
                Value::Record((SCRATCH + (at & !grain)) as i64 - offset)
            }
        }
    }

    /// A filler that a jump may skip.
    fn filler(&mut self) -> u32 {
        let register = i64::from(self.random.pick(&self.working));
        self.used |= 1 << register;
        word("addi", &[("rd", register), ("rs1", register), ("imm_i", 1)])
    }

    fn branch(&mut self, row: &'static Row) -> bool {
        let field = row.fields.iter().find(|f| f.kind == Kind::Rel).expect("a distance");
        let bytes = i64::from(row.length) / 8;
        let (low, high) = range(field);
        if high > 1 << 16 && self.random.one_in(16) {
            // Out of the code: nothing is mapped there.
            let far = self.random.pick(&[low, high]);
            let Some(word) = self.instance(row, &[(field.name, far)]) else { return false };
            self.touch(row, word);
            self.push(&[word], &[0]);
            self.over = true;
            return true;
        }
        let far = self.random.one_in(if high > 2048 { 64 } else { 16 }) && high < 1 << 16;
        let jump = |distance: i64| word("jal", &[("rd", 0), ("imm_j", distance)]);
        let nop = word("c.nop", &[("c_imm", 0)]);
        if self.random.one_in(2) {
            let distance = if far { high } else { bytes + 4 };
            let Some(word) = self.instance(row, &[(field.name, distance)]) else { return false };
            self.touch(row, word);
            let mut words = vec![word];
            if far {
                words.push(jump(distance - bytes));
                words.resize(2 + (distance - bytes - 4) as usize / 2, nop);
            } else {
                words.push(self.filler());
            }
            self.push(&words, &[0]);
        } else {
            let distance = if far { low } else { -4 };
            let Some(word) = self.instance(row, &[(field.name, distance)]) else { return false };
            self.touch(row, word);
            let pad = (-distance - 4) as usize / 2;
            let mut words = vec![jump(4 - distance), jump(bytes - distance)];
            words.resize(2 + pad, nop);
            words.push(word);
            self.push(&words, &[2 + pad]);
        }
        true
    }

    fn indirect(&mut self, row: &'static Row) -> bool {
        let field = row.fields.iter().find(|f| f.name.ends_with("rs1"));
        let Some(base) = self.base(field.copied()) else { return false };
        let Some(field) = field else { return false };
        let zero = field.put(0).is_some() && self.random.one_in(64);
        let base = if zero { 0 } else { base };
        let mut fixed = vec![(field.name, base)];
        if row.fields.iter().any(|f| f.name == "rd") && self.random.one_in(8) {
            fixed.push(("rd", base));
        }
        let Some(word) = self.instance(row, &fixed) else { return false };
        self.touch(row, word);
        let offset = row.fields.iter().find(|f| f.kind == Kind::I32).map_or(0, |f| f.get(word));
        let landing = i64::from(row.length) / 8 + 4 + self.random.below(2) as i64;
        let wild = self.random.below(24);
        let value = match wild {
            0 => Value::Plain(0x100u64.wrapping_sub(offset as u64)),
            // The landing is in memory that holds no code.
            1 => Value::Record(SCRATCH as i64 - offset),
            _ => Value::Code { piece: self.case.pieces.len(), plus: landing - offset },
        };
        self.over |= wild < 2 || zero;
        if !zero {
            self.set(base, value);
        }
        let filler = self.filler();
        self.push(&[word, filler], &[0]);
        true
    }

    fn system_call(&mut self, row: &'static Row) -> bool {
        if self.used >> 17 & 1 != 0 {
            return false;
        }
        let number = NO_SYSCALL + self.random.below(64);
        self.set(17, Value::Plain(number));
        self.used |= 1 << 10;
        self.push(&[row.bits], &[0]);
        true
    }

    /// A word that is no instruction: random, or an instruction with a few bits wrong.
    pub fn illegal(&mut self, rows: &[&'static Row]) {
        for _ in 0..64 {
            let word = match self.random.below(4) {
                0 => self.random.bits() as u32 | 3,
                1 => u32::from(self.random.bits() as u16),
                _ => {
                    let row = self.random.pick(rows);
                    let mut word = random_insn(row, &mut || self.random.bits());
                    for _ in 0..1 + self.random.below(3) {
                        word ^= 1 << self.random.below(u64::from(row.length));
                    }
                    word
                }
            };
            let decodes = if length(word) == 2 { decode16(word as u16) } else { decode32(word) };
            // Longer encodings are reserved; what an implementation fetches of them is its own affair.
            if decodes.is_none() && word & 0x1f != 0x1f {
                self.push(&[word], &[]);
                self.over = true;
                return;
            }
        }
    }
}
