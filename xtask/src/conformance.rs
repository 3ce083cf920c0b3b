//! `cargo xtask conformance`: official bare-metal test programs, built elsewhere, on the `spike` board.
//!
//! They report through HTIF: what they write to `tohost` becomes the exit status, and 0 is a pass.

use crate::boot;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that names the folder if the command line does not.
const FOLDER: &str = "HOSTEL_RISCV_TESTS";
/// What to do without a folder.
pub const ADVICE: &str = "set HOSTEL_RISCV_TESTS to a folder of built ISA tests";

/// How many programs run at a time.
const THREADS: usize = 2;
/// How many lines a failed guest's story has.
const LINES: usize = 8;

/// Runs official test programs on the spike board and tells which do not exit with 0
#[derive(clap::Parser)]
#[command(
    after_help = "The programs are bare-metal ELF files that report through HTIF (tohost), such as the\n\
    ISA tests of riscv-tests. They are built outside of this tree; docs/testing.md says how.\n\n\
    Examples:\n  \
    cargo xtask conformance ../riscv-tests/isa                 every program there\n  \
    cargo xtask conformance ../riscv-tests/isa rv64ui-p-       those with rv64ui-p- in their name\n  \
    cargo xtask conformance ../riscv-tests/isa -- --cpus 4     with more arguments for `hostel run`"
)]
struct Options {
    /// A folder of built programs (default: what the environment variable HOSTEL_RISCV_TESTS names)
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Only programs with this in their name
    #[arg(value_name = "PATTERN", default_value = "", hide_default_value = true)]
    pattern: String,
    /// What runs them, as for `hostel run` (default: its default)
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Most seconds that one program may take
    #[arg(long, value_name = "N", default_value_t = 60)]
    patience: u64,
    /// Name the programs that pass, too
    #[arg(long)]
    all: bool,
    /// More arguments for `hostel run`
    #[arg(last = true, value_name = "ARGUMENT")]
    more: Vec<String>,
}

/// How the programs are run.
struct Suite {
    hostel: PathBuf,
    more: Vec<String>,
    patience: Duration,
}

/// The verb.
///
/// # Errors
/// If no folder is named, it holds no such program, or Hostel does not build.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let options: Options = crate::parse("conformance", arguments);
    let folder = options.folder.or_else(folder).with_context(|| format!("no DIR; {ADVICE}"))?;
    let programs = programs(&folder, &options.pattern)?;
    let engine = options.engine.into_iter().flat_map(|engine| ["--engine".to_owned(), engine]);
    let suite = Suite {
        hostel: boot::hostel()?,
        more: engine.chain(options.more).collect(),
        patience: Duration::from_secs(options.patience),
    };
    let failed = suite.run(&programs, options.all);
    println!("{} passed, {failed} failed", programs.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the environment names; nothing if it is empty.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// The ELF files of `folder` whose name contains `pattern`, by name.
fn programs(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().contains(pattern));
        if named && path.is_file() && is_elf(&path)? {
            found.push(path);
        }
    }
    found.sort();
    let named = if pattern.is_empty() { String::new() } else { format!(" with {pattern} in its name") };
    if found.is_empty() {
        bail!("{}: no ELF file{named} there", folder.display());
    }
    Ok(found)
}

fn is_elf(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"\x7fELF")
}

impl Suite {
    /// Runs all, tells of those that fail; how many do.
    fn run(&self, programs: &[PathBuf], all: bool) -> usize {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let end = self.one(program);
                        // Held while printing, so that stories do not mix.
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        let name = program.file_name().unwrap_or_default().display();
                        match end {
                            Ok(()) if all => println!("ok      {name}"),
                            Ok(()) => {}
                            Err(why) => {
                                *failed += 1;
                                println!("FAILED  {name}: {why:#}");
                            }
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one; an error says how it ended and what it said last.
    fn one(&self, program: &Path) -> Result<()> {
        let mut said = tempfile::tempfile().context("no place for the guest's output")?;
        let mut child = Command::new(&self.hostel)
            .args(["run", "--machine", "spike", "--bios", "none"])
            .args(&self.more)
            .arg("--kernel")
            .arg(program)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.hostel.display()))?;
        let end = match wait(&mut child, self.patience)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => status.to_string(),
            None => format!("no end after {} s", self.patience.as_secs()),
        };
        let mut output = Vec::new();
        said.seek(SeekFrom::Start(0))?;
        said.read_to_end(&mut output)?;
        Err(anyhow!("{end}{}", last_lines(&String::from_utf8_lossy(&output))))
    }
}

/// Waits for the end, which is forced when patience runs out: then there is no status.
fn wait(child: &mut Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The end of what a guest said, each line on a line of its own, indented.
fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|line| format!("\n        | {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_programs_of_that_name_run() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b-1", "\x7fELF."), ("a-1", "\x7fELF"), ("a-2", "\x7fELF"), ("a-1.dump", "x")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("c-1")).unwrap();
        let names = |pattern: &str| -> Vec<String> {
            let found = programs(folder.path(), pattern).unwrap();
            found.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(""), ["a-1", "a-2", "b-1"]);
        assert_eq!(names("-1"), ["a-1", "b-1"]);
        assert!(programs(folder.path(), "dump").is_err());
        assert!(programs(&folder.path().join("none"), "").is_err());
    }

    #[test]
    fn failures_are_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("hostel");
        // Stands for the binary: says two lines and ends with the number that the program is named.
        let text = "#!/bin/sh\nfor last; do :; done\necho one; echo; echo two >&2; exit ${last##*/}\n";
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let suite = Suite { hostel: script, more: vec![], patience: Duration::from_secs(10) };
        assert!(suite.one(Path::new("/x/0")).is_ok());
        let why = suite.one(Path::new("/x/3")).unwrap_err().to_string();
        assert_eq!(why, "exit status: 3\n        | one\n        | two");
        assert_eq!(suite.run(&["/x/0".into(), "/x/3".into(), "/x/4".into()], false), 2);
    }

    #[test]
    fn patience_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(wait(&mut child, Duration::from_millis(10)).unwrap().is_none());
    }

    #[test]
    fn the_end_of_much_output_is_shown() {
        let text: String = (0..100).map(|n| format!("line {n}\r\n")).collect();
        let last = last_lines(&text);
        assert_eq!(last.matches('|').count(), LINES);
        assert!(last.ends_with("\n        | line 99"), "{last}");
        assert_eq!(last_lines("\n \n"), "");
    }
}
