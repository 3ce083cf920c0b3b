//! `cargo xtask conformance DIR`: official bare-metal test programs, built elsewhere, on the `spike` board.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What one program may take; the longest takes a second.
const LIMIT: Duration = Duration::from_secs(30);

const HELP: &str =
    "Runs every ELF file of a folder on the spike board and lists those that do not exit with 0

Usage: cargo xtask conformance DIR [PATTERN]

DIR holds programs that report through HTIF (tohost), such as the ISA tests of riscv-tests, built
outside this tree. With PATTERN, only files whose name contains it.

Example:
  cargo xtask conformance ../riscv-tests/isa rv64ui-p-";

/// The verb.
///
/// # Errors
/// An unreadable folder, no program in it, or a program that fails.
pub fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (dir, pattern) = match arguments {
        [a] if a == "--help" || a == "-h" => {
            println!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        [dir] => (dir, ""),
        [dir, pattern] => (dir, pattern.as_str()),
        _ => bail!("usage: cargo xtask conformance DIR [PATTERN]"),
    };
    let status = Command::new("cargo").args(["build", "--quiet", "--release", "-p", "hostel"]).status()?;
    if !status.success() {
        bail!("hostel does not build");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let hostel = root.join("target/release/hostel");
    let programs = programs(Path::new(dir), pattern)?;
    let mut failed = 0;
    for program in &programs {
        if let Err(why) = passes(&hostel, program) {
            failed += 1;
            println!("FAILED {}: {why}", program.display());
        }
    }
    println!("{} passed, {failed} failed", programs.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The ELF files of `dir` whose name contains `pattern`, by name.
fn programs(dir: &Path, pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let named = path.file_name().is_some_and(|n| n.to_string_lossy().contains(pattern));
        if named && path.is_file() && std::fs::read(&path)?.starts_with(b"\x7fELF") {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        bail!(
            "{}: no ELF file there{}",
            dir.display(),
            if pattern.is_empty() { "" } else { " of that name" }
        );
    }
    Ok(found)
}

/// Runs one program.
fn passes(hostel: &Path, program: &Path) -> Result<(), String> {
    let mut child = Command::new(hostel)
        .args(["run", "--machine", "spike", "--bios", "none", "--kernel"])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    match wait(&mut child)? {
        Some(0) => Ok(()),
        Some(code) => Err(format!("exit status {code}")),
        None => Err("killed by a signal".into()),
    }
}

fn wait(child: &mut Child) -> Result<Option<i32>, String> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok(status.code());
        }
        if start.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no end after {} s", LIMIT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
