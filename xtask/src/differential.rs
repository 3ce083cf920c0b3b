//! `cargo xtask differential`: builds `tools/differential` and hands it the arguments.

use crate::process;
use anyhow::{Context, Result, bail};
use std::process::{Command, ExitCode};

/// Runs the comparison with QEMU with these arguments, `--help` among them; its exit status is ours.
///
/// # Errors
/// If it cannot be built or started.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let mut build = process::cargo(&["build", "--release", "--quiet", "-p", "differential"]);
    if !build.status().context("cannot start cargo")?.success() {
        bail!("differential does not build");
    }
    let program = process::target_folder().join("release/differential");
    let status = Command::new(&program)
        .args(arguments)
        .current_dir(crate::tree::root())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    // A signal gives no code.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
