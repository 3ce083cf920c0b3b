//! Builds the guests with Debian's compilers, into the cache.

use crate::catalog::{Kind, Program};
use crate::options::Form;
use crate::sources;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a program is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An image for M-mode.
    Bare,
    /// An image for S-mode with Sv39.
    Sv39,
    /// A static Linux program for riscv64.
    Linux,
    /// A static Linux program for this host.
    Native,
}

impl Target {
    /// The target of the guest of a form.
    pub fn of(form: Form) -> Target {
        match form {
            Form::Bare | Form::Machine => Target::Bare,
            Form::Sv39 => Target::Sv39,
            Form::Linux => Target::Linux,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Target::Bare => "bare",
            Target::Sv39 => "sv39",
            Target::Linux => "linux",
            Target::Native => "native",
        }
    }
}

const CROSS: &str = "riscv64-linux-gnu-gcc";
const NATIVE: &str = "cc";
/// On both sides the same. Vectors are left out, as RV64GC has none; so is what turns a loop into a call of a library,
/// and what fuses a multiplication with an addition where the source does not.
const COMMON: &[&str] = &[
    "-O2",
    "-std=gnu17",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-tree-vectorize",
    "-fno-tree-loop-distribute-patterns",
    "-ffp-contract=off",
    "-fno-math-errno",
];
const RISCV: &[&str] = &["-march=rv64gc", "-mabi=lp64d"];
const STATIC: &[&str] = &["-static", "-pthread"];
/// The least of programs, to see whether any can be built.
const TRIAL: &str = "trial.c";
const METAL: &[&str] = &[
    "-mcmodel=medany",
    "-fno-pic",
    "-no-pie",
    "-nostdlib",
    "-static",
    "-Wl,--build-id=none",
    "-Wl,--no-warn-rwx-segments",
    "-T",
    "link.ld",
    "start.S",
    "board.c",
];

/// The compilers, and where what they make is kept.
pub struct Compiler {
    folder: PathBuf,
    native: bool,
}

impl Compiler {
    /// Looks for the compilers and lays the sources out in a folder below `cache`, which is another one for other
    /// sources, flags or compilers.
    ///
    /// # Errors
    /// If there is no cross compiler, or the cache cannot be written.
    pub fn find(cache: &Path, note: fn(&str)) -> Result<Compiler> {
        let Some(cross_version) = version(CROSS) else {
            bail!(
                "there is no {CROSS}, which builds the guests: apt install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"
            );
        };
        let native_version = version(NATIVE);
        if native_version.is_none() {
            note("there is no C compiler for this host, so nothing runs natively: apt install gcc libc6-dev");
        }
        let native = native_version.is_some();
        let mut hash = Hash::default();
        for text in [&cross_version, &native_version.unwrap_or_default()] {
            hash.add(text);
        }
        COMMON.iter().chain(RISCV).chain(METAL).for_each(|flag| hash.add(flag));
        for (name, text) in sources::FILES {
            hash.add(name);
            hash.add(text);
        }
        let folder = cache.join(format!("{:016x}", hash.0));
        if !folder.exists() {
            remove_old(cache);
        }
        let mut compiler = Compiler { folder, native };
        compiler.lay_out().with_context(|| format!("cannot write to {}", cache.display()))?;
        if native && let Err(why) = compiler.try_native() {
            note(&format!("nothing runs natively: {why:#}"));
            compiler.native = false;
        }
        Ok(compiler)
    }

    /// Whether programs of this host can be linked as its programs are: a compiler may be there without the C library.
    fn try_native(&self) -> Result<()> {
        let path = self.path(TRIAL, Target::Native, false);
        if path.exists() {
            return Ok(());
        }
        let mut command = self.command(NATIVE);
        command.args(STATIC).arg(TRIAL);
        finish(command, &path)
    }

    fn lay_out(&self) -> std::io::Result<()> {
        for folder in ["sources", "bare", "sv39", "linux", "native"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        for (name, text) in sources::FILES {
            write_whole(&self.folder.join("sources").join(name), text.as_bytes())?;
        }
        write_whole(
            &self.folder.join("sources").join(TRIAL),
            b"#include <pthread.h>\nint main(void) { return 0; }\n",
        )
    }

    /// Whether programs can be built for this host.
    pub fn native(&self) -> bool {
        self.native
    }

    /// Where a program is once it is built.
    pub fn path(&self, name: &str, target: Target, check: bool) -> PathBuf {
        let least = if check { ".least" } else { "" };
        self.folder.join(target.folder()).join(format!("{name}{least}"))
    }

    /// Builds what is not there yet, as many at a time as there are processors. With `check`, a program does as little
    /// work as it can.
    ///
    /// # Errors
    /// What a compiler complained of.
    pub fn build(&self, programs: &[&Program], target: Target, check: bool) -> Result<()> {
        let missing: Vec<_> =
            programs.iter().filter(|p| !self.path(p.name, target, check).exists()).collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(program) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.compile(program.name, &parts(program), target, check)?;
            }
            Ok(())
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(missing.len())).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(_) => bail!("a compiler's thread panicked"),
            })
        })
    }

    /// Builds an image for M-mode from one assembly source alone, and gives its path.
    ///
    /// # Errors
    /// What the compiler complained of.
    pub fn assemble(&self, source: &str, defined: &[&str]) -> Result<PathBuf> {
        let name = [&[source], defined].concat().join("-");
        let path = self.path(&name, Target::Bare, false);
        if path.exists() {
            return Ok(path);
        }
        let mut command = self.command(CROSS);
        command.args(RISCV).args([
            "-nostdlib",
            "-static",
            "-Wl,--build-id=none",
            "-Wl,--no-warn-rwx-segments",
        ]);
        command.args(["-T", "link.ld", source]).args(defined.iter().map(|word| format!("-D{word}")));
        finish(command, &path)?;
        Ok(path)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.join("sources")).stdin(Stdio::null());
        command
    }

    fn compile(&self, name: &str, sources: &[String], target: Target, check: bool) -> Result<()> {
        let mut command = self.command(if target == Target::Native { NATIVE } else { CROSS });
        command.args(COMMON);
        match target {
            Target::Bare => {
                command.args(RISCV).args(METAL);
            }
            Target::Sv39 => {
                command.args(RISCV).args(METAL).arg("-DSV39");
            }
            Target::Linux => {
                command.args(RISCV).args(STATIC).arg("linux.c");
            }
            Target::Native => {
                command.args(STATIC).arg("linux.c").args(fused());
            }
        }
        if check {
            command.arg("-DROUNDS=1");
        }
        command.arg("main.c").args(sources).args(["-lgcc"]);
        finish(command, &self.path(name, target, check)).with_context(|| format!("cannot build {name}"))
    }
}

/// The sources of a program besides its form's.
fn parts(program: &Program) -> Vec<String> {
    match program.kind {
        Kind::Operation => {
            vec![format!("-DOP_{}", program.name), "micro.c".to_owned(), "micro.S".to_owned()]
        }
        Kind::Kernel | Kind::Float | Kind::Parallel | Kind::Python => vec![format!("{}.c", program.name)],
    }
}

/// x86-64 without this would call a function for each fused multiply-add.
fn fused() -> Option<&'static str> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags"))?;
    flags.split_whitespace().any(|flag| flag == "fma").then_some("-mfma")
}

/// Runs a compiler whose result shall be at `path`, whole or not at all.
fn finish(mut command: Command, path: &Path) -> Result<()> {
    let partial = partial(path);
    command.arg("-o").arg(&partial);
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        if complaint.contains("pthread.h") || complaint.contains("-lc") {
            bail!(
                "there is no C library to build programs with: apt install libc6-dev-riscv64-cross libc6-dev"
            );
        }
        let first = complaint.lines().find(|line| line.contains("error")).unwrap_or("it did not say why");
        bail!("{}: {first}", command.get_program().display());
    }
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

/// What is to be at `path` once it is whole.
fn partial(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.partial", std::process::id()))
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = partial(path);
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path)
}

/// Removes the folders of other sources that nobody has built in for a day. Those of a Hostel that is measured next to
/// this one stay.
fn remove_old(cache: &Path) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let built = entry.path().join("bare").metadata().and_then(|metadata| metadata.modified());
        if built.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > DAY)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What a compiler calls itself; `None` if it is not there.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// FNV-1a, 64 bits: to tell sources apart, not to keep secrets.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_other_folder() {
        let hash = |texts: &[&str]| {
            let mut hash = Hash::default();
            texts.iter().for_each(|text| hash.add(text));
            hash.0
        };
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["ab", ""]));
    }

    #[test]
    fn only_what_is_old_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let folder = |name: &str, age: u64| {
            let bare = cache.path().join(name).join("bare");
            fs::create_dir_all(&bare).unwrap();
            let time = std::time::SystemTime::now() - Duration::from_secs(age * 60 * 60);
            fs::File::open(&bare).unwrap().set_modified(time).unwrap();
        };
        folder("old", 25);
        folder("new", 23);
        fs::create_dir(cache.path().join("other")).unwrap();
        remove_old(cache.path());
        let left = |name: &str| cache.path().join(name).exists();
        assert!(!left("old") && left("new") && left("other"));
        remove_old(&cache.path().join("nothing"));
    }

    #[test]
    fn a_result_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut fails = Command::new("sh");
        fails.args(["-c", "echo x.c: error: no >&2; exit 1", "sh"]);
        assert_eq!(finish(fails, &path).unwrap_err().to_string(), "sh: x.c: error: no");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut works = Command::new("sh");
        works.args(["-c", "echo made >$2", "sh"]);
        finish(works, &path).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "made\n");
    }
}
