//! From coverage points to what they mean: which belong to functions of our own crates, and which of
//! those were never reached.

use anyhow::{Context, Result};
use object::{Object, ObjectSymbol, SymbolKind};
use std::collections::BTreeMap;

/// What a corpus reaches in the crates of this tree that the target's binary holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Reached {
    /// Edges reached, and all.
    pub edges: (usize, usize),
    /// Functions entered, and all.
    pub functions: (usize, usize),
    /// Names of those never entered.
    pub unreached: Vec<String>,
}

/// Sorts `points` (lines `OFFSET 0|1`, hexadecimal) by the function of `binary` they lie in.
///
/// # Errors
/// If the binary has no symbols or a line is something else.
pub fn reached(binary: &[u8], points: &str) -> Result<Reached> {
    let image = object::File::parse(binary).context("the fuzz binary is no ELF file")?;
    let mut functions = BTreeMap::new();
    for symbol in image.symbols().filter(|s| s.kind() == SymbolKind::Text) {
        functions.insert(symbol.address(), symbol.name().unwrap_or_default());
    }
    let mut ours: BTreeMap<u64, (String, usize, usize)> = BTreeMap::new();
    for line in points.lines() {
        let (offset, hit) = line.split_once(' ').context("a coverage line has no blank")?;
        let address = u64::from_str_radix(offset, 16).context("a coverage line has no address")?;
        let Some((start, name)) = functions.range(..=address).next_back() else { continue };
        if !is_ours(name) {
            continue;
        }
        let entry = ours.entry(*start).or_insert_with(|| (demangled(name), 0, 0));
        entry.1 += usize::from(hit == "1");
        entry.2 += 1;
    }
    let edges = ours.values().fold((0, 0), |sum, f| (sum.0 + f.1, sum.1 + f.2));
    let mut unreached: Vec<String> = ours.values().filter(|f| f.1 == 0).map(|f| f.0.clone()).collect();
    unreached.sort();
    Ok(Reached { edges, functions: (ours.len() - unreached.len(), ours.len()), unreached })
}

/// Whether a function is one of `crates/`: what comes with the toolchain or from elsewhere, and the
/// fuzz crate itself, do not count.
fn is_ours(mangled: &str) -> bool {
    krate(mangled).is_some_and(|name| {
        let layers = ["support", "isa", "fabric", "host", "engine", "dev", "vm", "user", "app"];
        name.split_once('_').is_some_and(|(layer, _)| layers.contains(&layer))
    })
}

/// The crate that a function was written in: the first crate root in its mangled name (RFC 2603,
/// `C s <disambiguator> _ <length> <name>`), since a path begins at its crate.
fn krate(mangled: &str) -> Option<&str> {
    let path = mangled.strip_prefix("_R")?;
    let from = path.find("Cs").and_then(|at| path.get(at + 2..))?;
    let (_, from) = from.split_once('_')?;
    let digits = from.bytes().take_while(u8::is_ascii_digit).count();
    let length: usize = from.get(..digits)?.parse().ok()?;
    from.get(digits..)?.get(..length)
}

fn demangled(mangled: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(mangled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_the_crate_they_were_written_in() {
        // Names as rustc 1.95 makes them: a method, a generic of the core library over our type, a
        // method of a trait of ours, a symbol of C.
        let method = "_RNvMs_NtCs4fqI2P2rA04_10fabric_bus3dmaNtB4_3Dma4read";
        assert_eq!(krate(method), Some("fabric_bus"));
        assert!(is_ours(method) && demangled(method).ends_with("dma::Dma>::read"), "{}", demangled(method));
        assert!(!is_ours("_RINvNtCs9ltgdHTiPiY_4core3ptr13drop_in_placeNtCs4fqI2P2rA04_10fabric_bus3BusE"));
        assert!(!is_ours("_RNvCs1234_11hostel_fuzz3bus"));
        assert!(!is_ours("main"));
    }

    #[test]
    fn a_binary_without_points_reaches_nothing() {
        let me = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let nothing = Reached { edges: (0, 0), functions: (0, 0), unreached: Vec::new() };
        assert_eq!(reached(&me, "").unwrap(), nothing);
        assert!(reached(&me, "nonsense").is_err());
        assert!(reached(b"no ELF", "").is_err());
    }
}
