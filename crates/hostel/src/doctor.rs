//! `hostel doctor`: what this host offers, and what Hostel can use of it.

use crate::{say, status};
use fabric_ram::GuestRam;
use host_image::{DEFAULT_GUEST, Mirror, State, Store, archive_keys};
use rustix::fs::{Access, access};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use vm_board::size::{GIB, Size};

/// The exit status where something is missing that `hostel run` needs. It is a finding, not a failure.
const MISSING: u8 = 1;

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// There, and used.
    Ok,
    /// Not there, and `hostel run` needs it.
    Missing,
    /// Worth knowing; nothing fails for it.
    Note,
}

/// What was found, in the order in which it is shown.
#[derive(Default)]
struct Findings(Vec<(Verdict, &'static str, String)>);

impl Findings {
    fn say(&mut self, verdict: Verdict, what: &'static str, text: impl Into<String>) {
        self.0.push((verdict, what, text.into()));
    }

    /// What is there is OK; why it is not, is `otherwise`.
    fn result<E: ToString>(&mut self, what: &'static str, result: Result<String, E>, otherwise: Verdict) {
        match result {
            Ok(text) => self.say(Verdict::Ok, what, text),
            Err(error) => self.say(otherwise, what, error.to_string()),
        }
    }
}

/// Looks at everything, says what there is and gives the exit status.
///
/// # Errors
/// If standard output takes nothing.
pub fn doctor() -> anyhow::Result<u8> {
    let mut findings = Findings::default();
    processor(&mut findings);
    memory(&mut findings);
    translator(&mut findings);
    kvm(&mut findings);
    images(&mut findings);
    terminal(&mut findings);
    tools(&mut findings);
    let mut text = String::new();
    for (verdict, what, found) in &findings.0 {
        let verdict = match verdict {
            Verdict::Ok => "OK",
            Verdict::Missing => "missing",
            Verdict::Note => "note",
        };
        let _ = writeln!(text, "{verdict:8} {what:20} {}", say::one_line(found));
    }
    say::answer(&text)?;
    let missing = findings.0.iter().any(|(verdict, ..)| *verdict == Verdict::Missing);
    Ok(if missing { MISSING } else { status::SUCCESS })
}

fn processor(findings: &mut Findings) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name").unwrap_or("processor");
    findings.say(Verdict::Ok, "processor", format!("{model}, {}", std::env::consts::ARCH));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    findings.say(Verdict::Ok, "cores", format!("{cores}; each hart of a guest wants one"));
}

/// The value of the first line `key : value`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.into_iter().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

fn memory(findings: &mut Findings) {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key| {
        let kib = field(&info, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
        kib.checked_mul(1024)
    };
    match (bytes("MemTotal"), bytes("MemAvailable")) {
        (Some(total), Some(free)) => {
            let text =
                format!("{}, {} available; a guest gets pages as it touches them", Size(total), Size(free));
            let verdict = if free < GIB { Verdict::Note } else { Verdict::Ok };
            findings.say(verdict, "memory", text);
        }
        _ => findings.say(Verdict::Note, "memory", "/proc/meminfo says nothing"),
    }
    let made = GuestRam::new(GIB).map(|_| "guest memory can be made".to_owned());
    findings.result(
        "mappings",
        made.map_err(|error| format!("guest memory cannot be made: {error}")),
        Verdict::Missing,
    );
}

fn translator(findings: &mut Findings) {
    let (verdict, text) = match engine_jit::trial() {
        Ok(()) => (Verdict::Ok, "runs translated code; RISC-V guests use it by default".to_owned()),
        Err(error) => (Verdict::Note, format!("cannot be used: {error}; RISC-V guests are interpreted")),
    };
    findings.say(verdict, "translator", text);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn kvm(findings: &mut Findings) {
    let offer = match engine_kvm::probe() {
        Ok(offer) => offer,
        Err(error) => return findings.say(Verdict::Note, "/dev/kvm", error.to_string()),
    };
    match offer.lacks() {
        Some(what) => {
            findings.say(Verdict::Note, "/dev/kvm", format!("lacks {what}; --engine kvm cannot be used"))
        }
        None => findings.say(Verdict::Ok, "/dev/kvm", offer.to_string()),
    }
    let (verdict, text) = match engine_kvm::trial() {
        Ok(trial) if trial.runs_systems() => (Verdict::Ok, trial.to_string()),
        Ok(trial) => (Verdict::Note, format!("{trial}; --engine kvm runs small guests only, and slowly")),
        Err(error) => (Verdict::Note, format!("a trial guest does not run: {error}")),
    };
    findings.say(verdict, "guests on KVM", text);
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn kvm(findings: &mut Findings) {
    findings.say(Verdict::Note, "/dev/kvm", "used on x86-64 hosts only");
}

/// The cache of images, and what fetching needs: all of it, unless the default guest is there already.
fn images(findings: &mut Findings) {
    let store = match Store::open(None) {
        Ok(store) => store,
        Err(error) => return findings.say(Verdict::Missing, "image cache", error.to_string()),
    };
    let images = store.list();
    let unreadable = images.as_ref().err().map(ToString::to_string);
    let images = images.unwrap_or_default();
    let states = images.iter().map(|image| {
        let state = match image.state {
            State::Absent => "not fetched",
            State::Cached(_) => "in the cache",
            State::Damaged(_) => "damaged",
        };
        format!("{} {state}", image.name)
    });
    let states = states.collect::<Vec<_>>().join(", ");
    let there =
        images.iter().any(|image| image.name == DEFAULT_GUEST && matches!(image.state, State::Cached(_)));
    let otherwise = if there { Verdict::Note } else { Verdict::Missing };
    let directory = store.directory();
    let cache = match (unreadable, writable(directory)) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(format!("{}: {states}", directory.display())),
        (None, Err(error)) => Err(format!(
            "{} cannot be written ({error}); set XDG_CACHE_HOME to a directory that can ({states})",
            directory.display()
        )),
    };
    findings.result("image cache", cache, otherwise);
    for (program, package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg")] {
        let path = find(program).map(|path| path.display().to_string());
        findings.result(program, path.ok_or_else(|| absent(package)), otherwise);
    }
    findings.result("Debian mirror", Mirror::default().url(), otherwise);
    findings.result("Debian's keys", archive_keys().map(|path| path.display().to_string()), otherwise);
}

/// Whether something can be made in `directory`, or where it itself is to be made. It is tried: what `access` says
/// of /proc, or of a network's disk, is not what happens.
fn writable(directory: &Path) -> std::io::Result<()> {
    let existing = directory.ancestors().find(|path| path.exists());
    let trial = existing.unwrap_or(directory).join(format!(".hostel-doctor-{}", std::process::id()));
    std::fs::create_dir(&trial)?;
    std::fs::remove_dir(&trial)
}

fn terminal(findings: &mut Findings) {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let text = "standard input is none; a console there has no keys to quit with";
        return findings.say(Verdict::Note, "terminal", text);
    }
    let size = rustix::termios::tcgetwinsize(&stdin);
    let size = size.map_or_else(|_| "of unknown size".to_owned(), |s| format!("{} x {}", s.ws_col, s.ws_row));
    findings.say(Verdict::Ok, "terminal", size);
}

/// What developers of Hostel compare with and build test programs with; no user needs it.
fn tools(findings: &mut Findings) {
    const TOOLS: [(&str, &str); 4] = [
        ("qemu-system-riscv64", "qemu-system-riscv (Debian 12: qemu-system-misc)"),
        ("qemu-riscv64", "qemu-user"),
        ("riscv64-linux-gnu-as", "binutils-riscv64-linux-gnu"),
        ("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu"),
    ];
    for (program, package) in TOOLS {
        match find(program) {
            Some(path) => findings.say(Verdict::Ok, program, format!("{}, for developers", path.display())),
            None => findings.say(Verdict::Note, program, format!("for developers only: {}", absent(package))),
        }
    }
}

fn absent(package: &str) -> String {
    format!("not found; the package {package} has it")
}

/// Where a program is, as the shell would find it.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(program));
    places.find(|place| place.is_file() && access(place, Access::EXEC_OK).is_ok())
}
