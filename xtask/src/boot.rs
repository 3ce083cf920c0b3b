//! `cargo xtask boot`: starts guests with the release binary and talks to them over a terminal.
//!
//! The tests are in `boot_tests.rs`, a few lines each.

use crate::boot_images::{Images, Where};
use crate::boot_tests::{Setup, TESTS, Test};
use crate::guest::Guest;
use crate::process;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Boots guests with the release binary and talks to them
#[derive(clap::Parser)]
#[command(after_help = "Examples:\n  \
    cargo xtask boot                   a sample: what CI runs\n  \
    cargo xtask boot --all             every test\n  \
    cargo xtask boot u-boot --show     the tests with u-boot in their name, and what the guests said\n  \
    cargo xtask boot --all --engine jit,threshold=0\n  \
    cargo xtask boot --list            which tests there are\n\n\
    A test whose guest cannot be fetched is skipped, and that is said.")]
struct Options {
    /// Run the tests with one of these in their name (default: a sample)
    #[arg(value_name = "NAME", conflicts_with = "all")]
    names: Vec<String>,
    /// Run every test
    #[arg(long)]
    all: bool,
    /// Say which tests there are and do nothing
    #[arg(long)]
    list: bool,
    /// Show what the guests said
    #[arg(long)]
    show: bool,
    /// What runs RISC-V guests, as for `hostel run` (default: its default)
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Most seconds to wait for one answer
    #[arg(long, value_name = "N", default_value_t = 120)]
    patience: u64,
    #[command(flatten)]
    images: Where,
}

/// How one test went.
enum Outcome {
    Passed,
    Skipped(&'static str),
    Failed(anyhow::Error),
}

/// A program that a test lacks, for which it is skipped.
#[derive(Debug)]
pub struct NoTool(pub &'static str);

impl std::fmt::Display for NoTool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no {}", self.0)
    }
}

impl std::error::Error for NoTool {}

/// The verb.
///
/// # Errors
/// If the binary cannot be built, or no test has such a name.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let options: Options = crate::parse("boot", arguments);
    let named = |test: &Test| options.names.iter().any(|name| test.name.contains(name.as_str()));
    let wanted = |test: &&Test| options.all || named(test) || options.names.is_empty() && test.sample;
    if options.list {
        for test in TESTS {
            println!("{:<24}{}{}", test.name, test.about, if test.sample { "  (sample)" } else { "" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let tests: Vec<&Test> = TESTS.iter().filter(wanted).collect();
    if tests.is_empty() {
        bail!("no test has such a name; --list says which there are");
    }
    let hostel = hostel()?;
    let images = Images::get(&hostel, &options.images)?;
    let patience = Duration::from_secs(options.patience);
    let setup = Setup { hostel, images, patience, show: options.show, engine: options.engine };
    let (mut failed, mut skipped) = (0, 0);
    for test in tests {
        let start = Instant::now();
        let outcome = one(test, &setup);
        let time = format!("{:6.1} s", start.elapsed().as_secs_f64());
        match outcome {
            Outcome::Passed => println!("{:<24}ok      {time}", test.name),
            Outcome::Skipped(file) => {
                skipped += 1;
                println!("{:<24}skipped, there is no {file}", test.name);
            }
            Outcome::Failed(error) => {
                failed += 1;
                println!("{:<24}FAILED  {time}\n{error:#}\n", test.name);
            }
        }
    }
    for why in setup.images.missing.iter().filter(|_| skipped > 0) {
        println!("not fetched: {why}");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(test: &Test, setup: &Setup) -> Outcome {
    if let Some(file) = test.needs.iter().find(|file| setup.images.file(file).is_none()) {
        return Outcome::Skipped(file);
    }
    match (test.run)(setup) {
        Ok(()) => Outcome::Passed,
        Err(error) => match error.downcast_ref::<NoTool>() {
            Some(NoTool(tool)) => Outcome::Skipped(tool),
            None => Outcome::Failed(error),
        },
    }
}

/// Builds the release binary; gives its path.
///
/// # Errors
/// If it does not build.
pub fn hostel() -> Result<PathBuf> {
    let built = process::run(&mut process::cargo(&["build", "--release", "--package", "hostel"]), false)?;
    if !built.ok {
        bail!("hostel does not build:\n{}", built.output);
    }
    Ok(process::target_folder().join("release/hostel"))
}

impl Setup {
    /// A file that the test said it needs.
    ///
    /// # Errors
    /// If the test did not.
    pub fn file(&self, name: &str) -> Result<&Path> {
        self.images.file(name).with_context(|| format!("this test does not say that it needs {name}"))
    }

    /// Starts `hostel run` with these arguments and waits for the prompt. An argument `@NAME` is the
    /// file of that name.
    ///
    /// # Errors
    /// If no prompt comes in time.
    pub fn boots(&self, prompt: &'static str, arguments: &[&str]) -> Result<Guest> {
        let mut guest = self.starts(prompt, arguments)?;
        guest.prompts()?;
        Ok(guest)
    }

    /// Starts `hostel run` with these arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn starts(&self, prompt: &'static str, arguments: &[&str]) -> Result<Guest> {
        let mut command = Command::new(&self.hostel);
        command.arg("run");
        let riscv = !arguments.contains(&"microvm");
        if let Some(engine) = self.engine.as_ref().filter(|_| riscv) {
            command.arg("--engine").arg(engine);
        }
        for argument in arguments {
            match argument.strip_prefix('@') {
                Some(name) => command.arg(self.file(name)?),
                None => command.arg(argument),
            };
        }
        let mut guest = Guest::start(command, prompt, self.patience)?;
        guest.show = self.show;
        Ok(guest)
    }
}
