//! `cargo xtask gen`: the tables of an instruction set to its generated source.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Instruction-set crates with tables.
const CRATES: &[&str] = &["isa-riscv"];

/// The verb: `cargo xtask gen [--check]`.
///
/// # Errors
/// See [`run`].
pub fn verb(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let check = match arguments {
        [] => false,
        [a] if a == "--check" => true,
        [a] if a == "--help" || a == "-h" => {
            println!(
                "Usage: cargo xtask gen [--check]\n\nWrites generated.rs from tables/*.isa; with --check only says whether it is fresh."
            );
            return Ok(ExitCode::SUCCESS);
        }
        _ => anyhow::bail!("usage: cargo xtask gen [--check]"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    run(root, check).map_err(anyhow::Error::msg)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes every generated file, or with `check` only says which are stale.
///
/// # Errors
/// A refused table, a stale file (with `check`), or what the system says.
pub fn run(root: &Path, check: bool) -> Result<(), String> {
    for name in CRATES {
        let dir = root.join("crates").join(name);
        let source = generate(&dir.join("tables"))?;
        let path = dir.join("src/generated.rs");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        if old == source {
            println!("{name}: generated.rs is fresh");
        } else if check {
            return Err(format!("{}: stale; run `cargo xtask gen`", path.display()));
        } else {
            std::fs::write(&path, source).map_err(|e| format!("{}: {e}", path.display()))?;
            println!("{name}: wrote generated.rs");
        }
    }
    Ok(())
}

/// The generated source for a folder of tables: `fields.isa` first, then the others by name.
fn generate(tables: &Path) -> Result<String, String> {
    let entries = std::fs::read_dir(tables).map_err(|e| format!("{}: {e}", tables.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "isa"));
    paths.sort_by_key(|p| (p.file_name().is_none_or(|n| n != "fields.isa"), p.clone()));
    let mut files = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let table = isa_table::Table::parse(&files).map_err(|refusal| refusal.to_string())?;
    format(&isa_table::emit(&table))
}

/// `rustfmt` with the tree's settings.
fn format(source: &str) -> Result<String, String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config", "max_width=110,use_small_heuristics=Max"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("rustfmt: {e}"))?;
    let mut stdin = child.stdin.take().ok_or("rustfmt: no input")?;
    let text = source.to_string();
    let feeder = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|e| format!("rustfmt: {e}"))?;
    let fed = feeder.join().is_ok_and(|r| r.is_ok());
    if !fed || !output.status.success() {
        return Err("rustfmt refused the generated source".into());
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}
