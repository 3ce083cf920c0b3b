//! What two states have not in common, register by register.

use engine_interp::Mark;
use isa_riscv::Csrs;
use isa_riscv::disasm::{F_NAMES, X_NAMES};

/// A register, or something else, that the engines do not agree about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub name: String,
    pub before: String,
    pub interpreter: String,
    pub translator: String,
}

/// Whether two runs stand at the same place in the same state.
pub(crate) fn same(a: &Mark, b: &Mark) -> bool {
    a.hart == b.hart && a.retired == b.retired && a.reservation == b.reservation && a.waiting == b.waiting
}

/// What differs between the interpreter's and the translator's state, and what it was `before`.
pub(crate) fn differences(before: &Mark, interpreter: &Mark, translator: &Mark) -> Vec<Difference> {
    let all = fields(before).into_iter().zip(fields(interpreter)).zip(fields(translator));
    let differing = all.filter(|((_, (_, one)), (_, other))| one != other);
    let differences = differing.map(|(((name, before), (_, interpreter)), (_, translator))| Difference {
        name,
        before,
        interpreter,
        translator,
    });
    differences.collect()
}

/// All of a state, by name: as many and in the same order for every hart of the same features.
fn fields(mark: &Mark) -> Vec<(String, String)> {
    let Mark { hart, retired, reservation, waiting, .. } = mark;
    let mut all = vec![
        ("retired".to_owned(), retired.to_string()),
        ("pc".to_owned(), format!("{:#x}", hart.pc)),
        ("mode".to_owned(), format!("{:?}", hart.mode)),
    ];
    let registers = X_NAMES.iter().zip(&hart.x).chain(F_NAMES.iter().zip(&hart.f));
    all.extend(registers.map(|(name, value)| ((*name).to_owned(), format!("{value:#x}"))));
    all.extend(csrs(&hart.csr));
    let reservation = match reservation.bytes {
        0 => "none".to_owned(),
        _ => format!("{:#x} at {:#x}", reservation.value, reservation.place),
    };
    all.push(("reservation".to_owned(), reservation));
    all.push(("in wfi".to_owned(), waiting.to_string()));
    all
}

/// All control and status registers. They are taken from their debug form, so that none can be forgotten here.
fn csrs(csrs: &Csrs) -> Vec<(String, String)> {
    let text = format!("{csrs:#x?}");
    let mut path: Vec<(String, u32)> = Vec::new();
    let mut all = Vec::new();
    for line in text.lines().skip(1) {
        let line = line.trim().trim_end_matches(',');
        if line.starts_with(['}', ']', ')']) {
            path.pop();
            continue;
        }
        // An element of a list has no name but its number.
        let (name, value) = line.split_once(": ").map_or((None, line), |(name, value)| (Some(name), value));
        let number = path.last_mut().map_or(0, |(_, count)| {
            *count += 1;
            *count - 1
        });
        let name = name.map_or_else(|| number.to_string(), str::to_owned);
        if value.ends_with(['{', '[', '(']) {
            path.push((name, 0));
            continue;
        }
        let full = path.iter().map(|(name, _)| name.as_str()).chain([name.as_str()]);
        all.push((full.collect::<Vec<_>>().join("."), value.to_owned()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use isa_riscv::{Features, Hart};

    #[test]
    fn control_and_status_registers_have_their_names() {
        let mut hart = Hart::new(0, &Features::FULL);
        hart.csr.stval = 0x1234;
        let all = csrs(&hart.csr);
        assert!(all.contains(&("stval".into(), "0x1234".into())), "{all:?}");
        assert!(
            all.iter().any(|(name, _)| name == "mstatus")
                && all.iter().any(|(name, _)| name.starts_with("pmp."))
        );
        let names: std::collections::BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), all.len(), "each has a name of its own");
    }
}
