//! What makes a table wrong although every line of it can be read.

use crate::Refusal;
use crate::model::{Row, Table};

fn refuse(row: &Row, why: String) -> Refusal {
    Refusal { file: row.at.0.clone(), line: row.at.1, why: format!("{}: {why}", row.name) }
}

pub(crate) fn check(table: &Table) -> Result<(), Refusal> {
    for row in &table.rows {
        fields(table, row)?;
        relations(table, row)?;
    }
    for (i, a) in table.rows.iter().enumerate() {
        for b in table.rows.iter().take(i) {
            overlap(table, a, b)?;
        }
    }
    Ok(())
}

/// Every free bit is claimed by an operand, no fixed bit is, and no bit twice.
fn fields(table: &Table, row: &Row) -> Result<(), Refusal> {
    let all = u32::MAX >> (32 - row.length);
    let mut claimed = 0u32;
    let mut seen: Vec<&str> = Vec::new();
    for name in &row.fields {
        if seen.contains(&name.as_str()) {
            continue;
        }
        seen.push(name);
        let field = table.field(name).ok_or_else(|| refuse(row, format!("no field '{name}'")))?;
        if field.mask() & row.mask != 0 {
            return Err(refuse(
                row,
                format!("field {name} lies on fixed bits {:#x}", field.mask() & row.mask),
            ));
        }
        if field.mask() & !all != 0 || field.mask() & claimed != 0 {
            return Err(refuse(row, format!("field {name} lies outside the word or on another field")));
        }
        claimed |= field.mask();
    }
    if claimed | row.mask != all {
        return Err(refuse(row, format!("no operand claims the bits {:#010x}", all & !(claimed | row.mask))));
    }
    for c in &row.constraints {
        let known = row.fields.contains(&c.field).then(|| table.field(&c.field)).flatten();
        let field =
            known.ok_or_else(|| refuse(row, format!("'where' names {}, not a field of it", c.field)))?;
        if field.raw_of(c.not).is_none() {
            return Err(refuse(row, format!("{} can never be {}", c.field, c.not)));
        }
    }
    if row.length == 16 && row.bits & row.mask & 3 == 3 && row.mask & 3 == 3 {
        return Err(refuse(row, "a 16-bit row whose low bits say 32".into()));
    }
    Ok(())
}

/// `within` and `=` name rows that fit.
fn relations(table: &Table, row: &Row) -> Result<(), Refusal> {
    if let Some(outer) = &row.within {
        let outer = table.row(outer).ok_or_else(|| refuse(row, format!("within '{outer}': no such row")))?;
        let inside = outer.length == row.length
            && outer.mask & !row.mask == 0
            && (outer.bits ^ row.bits) & outer.mask == 0
            && outer.mask != row.mask;
        if !inside {
            return Err(refuse(row, format!("is not within {}", outer.name)));
        }
    }
    match &row.expansion {
        None if row.length == 16 => {
            return Err(refuse(row, "a 16-bit row must say which row it expands to".into()));
        }
        Some(_) if row.length == 32 => return Err(refuse(row, "only a 16-bit row expands".into())),
        _ => {}
    }
    let Some(expansion) = &row.expansion else { return Ok(()) };
    let base = table.row(&expansion.row).filter(|b| b.length == 32);
    let base =
        base.ok_or_else(|| refuse(row, format!("expands to '{}': no such 32-bit row", expansion.row)))?;
    for field in &base.fields {
        if !expansion.args.iter().any(|(to, _)| to == field) {
            return Err(refuse(row, format!("gives {}'s {field} no value", base.name)));
        }
    }
    for (to, from) in &expansion.args {
        if !base.fields.contains(to) {
            return Err(refuse(row, format!("{} has no field {to}", base.name)));
        }
        if let Ok(from) = from
            && !row.fields.contains(from)
        {
            return Err(refuse(row, format!("has no field {from} to give")));
        }
    }
    Ok(())
}

/// Two rows share a word, and neither is carved out of the other.
fn overlap(table: &Table, a: &Row, b: &Row) -> Result<(), Refusal> {
    let nested = a.within.as_ref() == Some(&b.name) || b.within.as_ref() == Some(&a.name);
    if a.length != b.length || nested || a.mask & b.mask & (a.bits ^ b.bits) != 0 {
        return Ok(());
    }
    let (mask, bits) = (a.mask | b.mask, a.bits | b.bits);
    // A constraint separates the rows if the other row fixes all of its field to the excluded value.
    for constraint in a.constraints.iter().chain(&b.constraints) {
        let Some(field) = table.field(&constraint.field) else { continue };
        let Some(raw) = field.raw_of(constraint.not) else { continue };
        if field.mask() & mask == field.mask() && bits & field.mask() == field.place(raw) {
            return Ok(());
        }
    }
    Err(refuse(a, format!("overlaps {} ({}:{})", b.name, b.at.0, b.at.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "field rd : x = 7+5\nfield rs1 : x = 15+5\nfield imm : i32 = s20+12\nfield c4 : i32 = 2+5\n\
                          field c7 : x = 7+5\nextension I \"here\"\n";
    const ADDI: &str =
        "## rd = rs1 + imm\naddi ............ ..... 000 ..... 0010011 | {rd}, {rs1}, {imm} |\n";

    fn why(rows: &str) -> String {
        match Table::parse(&[("t.isa", &format!("{FIELDS}{rows}"))]) {
            Ok(t) => format!("{} rows", t.rows.len()),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn a_good_table_is_taken() {
        assert_eq!(why(ADDI), "1 rows");
    }

    #[test]
    fn overlap_is_refused() {
        let other = "## x\nnop 000000000000 00000 000 00000 0010011 | |\n";
        assert_eq!(why(&format!("{ADDI}{other}")), "t.isa:10: nop: overlaps addi (t.isa:8)");
        let carved = "## x\nnop 000000000000 00000 000 00000 0010011 | | within addi\n";
        assert_eq!(why(&format!("{ADDI}{carved}")), "2 rows");
        assert!(
            why(&format!("{ADDI}{carved}{}", carved.replace("nop", "hint"))).contains("hint: overlaps nop")
        );
    }

    #[test]
    fn a_constraint_can_separate_two_rows() {
        let mv = "## x\nc.mv 1000 ..... ..... 10 | {c7}, {c4} | where c4!=0 = addi rd=c7 rs1=#0 imm=c4\n";
        let jr = "## x\nc.jr 1000 ..... 00000 10 | {c7} | = addi rd=#0 rs1=c7 imm=#0\n";
        assert_eq!(why(&format!("{ADDI}{mv}{jr}")), "3 rows");
        let loose = mv.replace("where c4!=0 ", "");
        assert!(why(&format!("{ADDI}{loose}{jr}")).contains("c.jr: overlaps c.mv"));
    }

    #[test]
    fn unclaimed_and_doubly_claimed_bits_are_refused() {
        assert!(
            why("## x\na ............ ..... 000 ..... 0010011 | {rd}, {imm} |\n")
                .contains("no operand claims the bits 0x000f8000")
        );
        assert!(
            why("## x\na 000000000000 ..... 000 ..... 0010011 | {rd}, {rs1}, {imm} |\n")
                .contains("fixed bits")
        );
        assert!(
            why("## x\na ............ ..... 000 ..... 0010011 | {rd}, {rs1}, {im} |\n")
                .contains("no field 'im'")
        );
    }

    #[test]
    fn pictures_docs_and_names_are_checked() {
        assert!(why("## x\na ............ ..... 000 ..... 001001 | {rd} |\n").contains("31 bits"));
        assert!(why(ADDI.strip_prefix("## rd = rs1 + imm\n").unwrap()).contains("no documentation"));
        assert!(why(&format!("{ADDI}{ADDI}")).contains("defined twice"));
        assert!(why("## x\n").contains("without a row"));
        assert!(why("## x\na 00000000000000000000000000000002 | |\n").contains("'2' in the picture"));
        assert!(why(&ADDI.replace("{imm} |", "{imm} | fast")).contains("unknown attribute 'fast'"));
        assert!(why("field rd : x = 7+5\n").contains("field rd is defined twice"));
        assert!(why("field q : x = 7+5 9+1\n").contains("bit used twice"));
        assert!(why("field q : w = 7+5\n").contains("unknown kind"));
        assert!(why("field q : x = 30+5\n").contains("cannot read"));
    }

    #[test]
    fn expansions_must_fit_their_base_row() {
        let c = |tail: &str| why(&format!("{ADDI}## x\nc.x 1000 ..... ..... 10 | {{c7}}, {{c4}} |{tail}\n"));
        assert!(c("").contains("must say which row"));
        assert!(c(" = subi rd=c7").contains("no such 32-bit row"));
        assert!(c(" = addi rd=c7 rs1=c7").contains("gives addi's imm no value"));
        assert!(c(" = addi rd=c7 rs1=c7 imm=rd").contains("has no field rd to give"));
        assert!(c(" = addi rd=c7 rs1=c7 imm=c4 q=c4").contains("addi has no field q"));
        assert!(
            why(&format!("{ADDI}## x\nb 000000000000 00000 001 00000 0010011 | | within addi\n"))
                .contains("is not within")
        );
    }
}
