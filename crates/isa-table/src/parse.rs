//! Reading `.isa` text.

use crate::model::{Constraint, Expansion, FLAGS, Field, Kind, Part, Row, Table};
use crate::{Refusal, check};

/// State while reading: where we are and what the next row inherits.
struct Reader<'a> {
    file: &'a str,
    line: usize,
    table: &'a mut Table,
    extension: Option<String>,
    doc: Option<String>,
}

impl Table {
    /// Parses and checks files, given as (name, text), in order: later files may use fields of
    /// earlier ones.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(files: &[(&str, &str)]) -> Result<Table, Refusal> {
        let mut table = Table::default();
        for (file, text) in files {
            let mut reader = Reader { file, line: 0, table: &mut table, extension: None, doc: None };
            for (number, line) in text.lines().enumerate() {
                reader.line = number + 1;
                reader.line(line)?;
            }
            if reader.doc.is_some() {
                return Err(reader.refuse("a documentation line without a row"));
            }
        }
        check::check(&table)?;
        Ok(table)
    }
}

/// A number: decimal or 0x….
fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Reader<'_> {
    fn refuse(&self, why: impl Into<String>) -> Refusal {
        Refusal { file: self.file.to_string(), line: self.line, why: why.into() }
    }

    fn line(&mut self, line: &str) -> Result<(), Refusal> {
        let line = line.trim_end();
        if let Some(doc) = line.strip_prefix("## ") {
            if self.doc.replace(doc.trim().to_string()).is_some() {
                return Err(self.refuse("two documentation lines in a row"));
            }
            return Ok(());
        }
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("field ") {
            return self.field(rest);
        }
        if let Some(rest) = line.strip_prefix("extension ") {
            let (name, cite) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
            let cite = cite.trim().trim_matches('"');
            if cite.is_empty() {
                return Err(self.refuse(format!("extension {name}: no citation")));
            }
            self.table.extensions.push((name.to_string(), cite.to_string()));
            self.extension = Some(name.to_string());
            return Ok(());
        }
        self.row(line)
    }

    fn field(&mut self, text: &str) -> Result<(), Refusal> {
        let text = text.split('#').next().unwrap_or("");
        let (head, bits) = text.split_once('=').ok_or_else(|| self.refuse("field without '='"))?;
        let (name, kind) = head.split_once(':').ok_or_else(|| self.refuse("field without a kind"))?;
        let (name, kind) = (name.trim(), kind.trim());
        let kind = Kind::ALL.iter().find(|k| k.0 == kind);
        let kind = kind.ok_or_else(|| self.refuse(format!("field {name}: unknown kind")))?.1;
        if self.table.field(name).is_some() {
            return Err(self.refuse(format!("field {name} is defined twice")));
        }
        let mut field = Field { name: name.into(), kind, parts: vec![], signed: false, shift: 0, plus: 0 };
        for word in bits.split_whitespace() {
            let bad = || self.refuse(format!("field {name}: cannot read '{word}'"));
            if let Some(shift) = word.strip_prefix("<<") {
                field.shift = shift.parse().map_err(|_| bad())?;
            } else if let Some(plus) = word.strip_prefix('+') {
                field.plus = plus.parse().map_err(|_| bad())?;
            } else {
                let word = match word.strip_prefix('s') {
                    Some(rest) if field.parts.is_empty() => {
                        field.signed = true;
                        rest
                    }
                    _ => word,
                };
                let (lsb, len) = word.split_once('+').ok_or_else(bad)?;
                let part =
                    Part { lsb: lsb.parse().map_err(|_| bad())?, len: len.parse().map_err(|_| bad())? };
                if part.len == 0 || part.lsb + part.len > 32 {
                    return Err(bad());
                }
                field.parts.push(part);
            }
        }
        if field.parts.is_empty() || field.mask().count_ones() != field.bits() {
            return Err(self.refuse(format!("field {name}: no bits, or a bit used twice")));
        }
        self.table.fields.push(field);
        Ok(())
    }

    fn row(&mut self, line: &str) -> Result<(), Refusal> {
        let mut columns = line.splitn(3, '|');
        let head = columns.next().unwrap_or("");
        let asm = columns.next().ok_or_else(|| self.refuse("a row without an assembly column"))?.trim();
        let attributes = columns.next().unwrap_or("");
        let mut words = head.split_whitespace();
        let name = words.next().unwrap_or("").to_string();
        let picture: String = words.collect();
        let length = picture.len() as u32;
        if length != 32 && length != 16 {
            return Err(self.refuse(format!("{name}: the picture has {length} bits, not 32 or 16")));
        }
        let (mut mask, mut bits) = (0u32, 0u32);
        for c in picture.chars() {
            (mask, bits) = match c {
                '0' => (mask << 1 | 1, bits << 1),
                '1' => (mask << 1 | 1, bits << 1 | 1),
                '.' => (mask << 1, bits << 1),
                c => return Err(self.refuse(format!("{name}: '{c}' in the picture"))),
            };
        }
        let doc = self.doc.take().ok_or_else(|| self.refuse(format!("{name}: no documentation line")))?;
        let extension = self.extension.clone();
        let extension = extension.ok_or_else(|| self.refuse(format!("{name}: no extension")))?;
        if self.table.row(&name).is_some() {
            return Err(self.refuse(format!("{name} is defined twice")));
        }
        let at = (self.file.to_string(), self.line);
        let mut row = Row {
            name,
            extension,
            doc,
            length,
            mask,
            bits,
            asm: asm.to_string(),
            at,
            fields: vec![],
            constraints: vec![],
            within: None,
            flags: vec![],
            expansion: None,
        };
        for piece in asm.split('{').skip(1) {
            let field = piece.split('}').next().unwrap_or("");
            row.fields.push(field.trim_start_matches([',', '.']).to_string());
        }
        self.attributes(&mut row, attributes)?;
        self.table.rows.push(row);
        Ok(())
    }

    fn attributes(&self, row: &mut Row, text: &str) -> Result<(), Refusal> {
        let (plain, expansion) = match text.split_once(" = ") {
            Some((plain, expansion)) => (plain, Some(expansion)),
            None => (text, None),
        };
        let mut words = plain.split_whitespace();
        while let Some(word) = words.next() {
            let mut operand = || words.next().ok_or_else(|| self.refuse(format!("'{word}' of what?")));
            match word {
                "within" => row.within = Some(operand()?.to_string()),
                "hidden" => row.fields.push(operand()?.to_string()),
                "where" => {
                    let text = operand()?;
                    let (field, value) =
                        text.split_once("!=").ok_or_else(|| self.refuse(format!("cannot read '{text}'")))?;
                    let not = number(value).ok_or_else(|| self.refuse(format!("cannot read '{value}'")))?;
                    row.constraints.push(Constraint { field: field.to_string(), not });
                }
                flag if FLAGS.iter().any(|f| f.0 == flag) => row.flags.push(flag.to_string()),
                other => return Err(self.refuse(format!("{}: unknown attribute '{other}'", row.name))),
            }
        }
        if let Some(text) = expansion {
            let mut words = text.split_whitespace();
            let base = words.next().ok_or_else(|| self.refuse("'=' of what?"))?.to_string();
            let mut args = Vec::new();
            for word in words {
                let bad = || self.refuse(format!("{}: cannot read '{word}'", row.name));
                let (to, from) = word.split_once('=').ok_or_else(bad)?;
                let from = match from.strip_prefix('#') {
                    Some(constant) => Err(number(constant).ok_or_else(bad)?),
                    None => Ok(from.to_string()),
                };
                args.push((to.to_string(), from));
            }
            row.expansion = Some(Expansion { row: base, args });
        }
        Ok(())
    }
}
