//! `cargo xtask differential`: builds the comparison of an instruction set and hands it the arguments.

use crate::process;
use anyhow::{Context, Result, bail};
use std::process::{Command, ExitCode};

/// Instruction sets, and the package that compares each with somebody else's.
const PACKAGES: &[(&str, &str)] = &[
    ("riscv", "differential"),
    ("programs", "differential-programs"),
    ("x86", "differential-x86"),
    ("x86-system", "differential-x86-system"),
];

/// Takes `--isa NAME` out of the arguments; gives the package (RISC-V's, if there is none) and the rest.
///
/// # Errors
/// If there is no such instruction set.
fn package(arguments: &[String]) -> Result<(&'static str, Vec<String>)> {
    let mut rest = arguments.to_vec();
    let mut name = String::from("riscv");
    if let Some(at) = rest.iter().position(|argument| argument == "--isa" || argument.starts_with("--isa=")) {
        let argument = rest.remove(at);
        name = match argument.strip_prefix("--isa=") {
            Some(name) => name.into(),
            None if at < rest.len() => rest.remove(at),
            None => bail!("--isa needs a name: riscv, programs, x86 or x86-system"),
        };
    }
    match PACKAGES.iter().find(|(isa, _)| *isa == name) {
        Some((_, package)) => Ok((package, rest)),
        None => bail!("there is no comparison for `{name}`: --isa riscv, programs, x86 or x86-system"),
    }
}

/// Runs the comparison with these arguments, `--help` among them; its exit status is ours.
///
/// # Errors
/// If it cannot be built or started, or there is none for the instruction set.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let (package, arguments) = package(arguments)?;
    let mut build = process::cargo(&["build", "--release", "--quiet", "-p", package]);
    if !build.status().context("cannot start cargo")?.success() {
        bail!("{package} does not build");
    }
    let program = process::target_folder().join("release").join(package);
    let status = Command::new(&program)
        .args(&arguments)
        .current_dir(crate::tree::root())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    // A signal gives no code.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(arguments: &[&str]) -> Result<(&'static str, Vec<String>)> {
        package(&arguments.iter().map(|argument| (*argument).to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn the_instruction_set_is_taken_out() -> Result<()> {
        assert_eq!(split(&["--sample"])?, ("differential", vec!["--sample".into()]));
        assert_eq!(split(&["--isa", "x86", "--sample"])?, ("differential-x86", vec!["--sample".into()]));
        assert_eq!(split(&["--sample", "--isa=x86"])?, ("differential-x86", vec!["--sample".into()]));
        assert!(split(&["--isa"]).is_err() && split(&["--isa", "arm"]).is_err());
        Ok(())
    }
}
