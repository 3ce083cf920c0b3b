//! Who is measured, and by what command line.

use crate::options::{BenchOptions, Form};
use anyhow::{Result, bail};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What runs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The host's own processor.
    Native,
    /// A Hostel.
    Hostel {
        /// Its binary.
        program: PathBuf,
        /// Its `--engine`, if one was named.
        engine: Option<String>,
        /// Whether it is the one that is measured, and not a peer.
        ours: bool,
    },
    /// QEMU's machine.
    Qemu,
    /// QEMU's emulation of one Linux process.
    QemuUser,
}

/// Somebody who is measured.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// What tables call it.
    pub name: String,
    /// What it is.
    pub what: What,
}

/// The system emulator.
const QEMU: &str = "qemu-system-riscv64";
/// The user-mode emulator. Its default processor has Ztso, which makes it several times slower; it is run as rv64,
/// where it is fastest.
const QEMU_USER: &str = "qemu-riscv64";
/// The oldest QEMU that counts.
const QEMU_LEAST: u32 = 10;

/// A machine to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine<'a> {
    /// Harts.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory: u64,
    /// A firmware file, or none at all.
    pub firmware: Firmware<'a>,
    /// The kernel, or a bare-metal image.
    pub kernel: Option<&'a Path>,
    /// The initial RAM disk.
    pub initrd: Option<&'a Path>,
    /// The kernel's command line.
    pub append: &'a str,
}

/// What runs first.
#[derive(Clone, Copy, Debug, Default)]
pub enum Firmware<'a> {
    /// Nothing: the kernel is entered in M-mode.
    #[default]
    None,
    /// What the contestant has; where it has none, this file.
    Own(&'a Path),
    /// This file.
    File(&'a Path),
}

impl Contestant {
    /// Whether it runs machines, and not only programs.
    pub fn runs_machines(&self) -> bool {
        matches!(self.what, What::Hostel { .. } | What::Qemu)
    }

    /// Whether it is the Hostel that is measured, with one engine or another.
    pub fn ours(&self) -> bool {
        matches!(self.what, What::Hostel { ours: true, .. })
    }

    /// Whether this, which is ours, is compared with `other`: not with itself, and with another Hostel only on the same
    /// engine.
    pub fn compares_with(&self, other: &Contestant) -> bool {
        match (&self.what, &other.what) {
            (What::Hostel { engine, .. }, What::Hostel { engine: its, ours, .. }) => !ours && engine == its,
            _ => true,
        }
    }

    /// Whether it has part in this form.
    pub fn takes_part(&self, form: Form) -> bool {
        match self.what {
            What::Hostel { .. } | What::Qemu => true,
            What::Native => form != Form::Machine,
            What::QemuUser => form == Form::Linux,
        }
    }

    /// The command that runs this machine; `None` if it runs none.
    pub fn machine(&self, machine: Machine<'_>) -> Option<Command> {
        match &self.what {
            What::Hostel { program, engine, .. } => Some(hostel(program, engine.as_deref(), machine)),
            What::Qemu => Some(qemu(machine)),
            What::Native | What::QemuUser => None,
        }
    }

    /// The command that runs a Linux program: `native` or `riscv`, whichever it can run.
    pub fn program(&self, native: &Path, riscv: &Path) -> Option<Command> {
        match self.what {
            What::Native => Some(Command::new(native)),
            What::QemuUser => {
                let mut command = Command::new(QEMU_USER);
                command.args(["-cpu", "rv64"]).arg(riscv);
                Some(command)
            }
            What::Hostel { .. } | What::Qemu => None,
        }
    }
}

fn hostel(program: &Path, engine: Option<&str>, machine: Machine<'_>) -> Command {
    let mut command = Command::new(program);
    command.args(["run", "--machine", "virt", "--cpus", &machine.cpus.to_string()]);
    command.args(["--memory", &format!("{}M", machine.memory)]);
    if let Some(engine) = engine {
        command.args(["--engine", engine]);
    }
    match machine.firmware {
        Firmware::None => {
            command.args(["--bios", "none"]);
        }
        Firmware::Own(_) => {}
        Firmware::File(file) => {
            command.arg("--bios").arg(file);
        }
    }
    for (option, file) in [("--kernel", machine.kernel), ("--initrd", machine.initrd)] {
        command.args(file.map(|_| option)).args(file);
    }
    if !machine.append.is_empty() {
        command.args(["--append", machine.append]);
    }
    command
}

fn qemu(machine: Machine<'_>) -> Command {
    let mut command = Command::new(QEMU);
    let memory = format!("{}M", machine.memory);
    command.args(["-M", "virt", "-smp", &machine.cpus.to_string(), "-m", &memory]);
    command.args(["-nographic", "-net", "none"]);
    match machine.firmware {
        Firmware::None => {
            command.args(["-bios", "none"]);
        }
        Firmware::Own(file) | Firmware::File(file) => {
            command.arg("-bios").arg(file);
        }
    }
    for (option, file) in [("-kernel", machine.kernel), ("-initrd", machine.initrd)] {
        command.args(file.map(|_| option)).args(file);
    }
    if !machine.append.is_empty() {
        command.args(["-append", machine.append]);
    }
    command
}

/// A Hostel with each of the engines, or with its own choice of one.
fn hostels<'a>(
    name: &'a str,
    program: &'a Path,
    engines: &'a [String],
    ours: bool,
) -> impl Iterator<Item = Contestant> + 'a {
    let one = move |name: String, engine: Option<&String>| {
        let what = What::Hostel { program: program.to_owned(), engine: engine.cloned(), ours };
        Contestant { name, what }
    };
    let many = if engines.len() > 1 { engines } else { &[] };
    let single = many.is_empty().then(|| one(name.to_owned(), engines.first()));
    single.into_iter().chain(many.iter().map(move |engine| one(format!("{name}-{engine}"), Some(engine))))
}

/// Everybody, in the order in which they run.
///
/// # Errors
/// If one that was asked for is not there, or two would have the same name.
pub fn all(options: &BenchOptions, program: PathBuf, note: fn(&str)) -> Result<Vec<Contestant>> {
    let mut all = vec![Contestant { name: "native".to_owned(), what: What::Native }];
    all.extend(hostels("hostel", &program, &options.engine, true));
    for peer in &options.against {
        if peer == "qemu" {
            qemu_or_why(QEMU, "qemu-system-riscv")?;
            all.push(Contestant { name: "qemu".to_owned(), what: What::Qemu });
            match qemu_or_why(QEMU_USER, "qemu-user") {
                Ok(()) => all.push(Contestant { name: "qemu-user".to_owned(), what: What::QemuUser }),
                Err(why) => note(&format!("{why}; left out")),
            }
        } else if Path::new(peer).is_file() {
            let program = std::path::absolute(peer)?;
            let name = program.file_name().map_or_else(|| peer.clone(), |n| n.display().to_string());
            let name = if name.starts_with("hostel") { format!("other-{name}") } else { name };
            all.extend(hostels(&name, &program, &options.engine, false));
        } else {
            bail!("there is no file {peer}; --against takes qemu or the path of a hostel");
        }
    }
    let mut names = HashSet::new();
    if let Some(twice) = all.iter().find(|contestant| !names.insert(&contestant.name)) {
        bail!(
            "two would be called {}; name each once, and give another binary a file name of its own",
            twice.name
        );
    }
    Ok(all)
}

/// Whether this QEMU is there and new enough.
fn qemu_or_why(program: &str, package: &str) -> Result<()> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match major(&text) {
        None => bail!("there is no {program}: apt install {package} (on bookworm from bookworm-backports)"),
        Some(found) if found < QEMU_LEAST => bail!(
            "{program} is of version {found}, and {QEMU_LEAST} or newer counts: apt install {package} (on bookworm from bookworm-backports)"
        ),
        Some(_) => Ok(()),
    }
}

/// The major version, out of what `--version` says.
fn major(text: &str) -> Option<u32> {
    let rest = text.lines().next()?.split_once("version ")?.1;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let words: Vec<_> = command.get_args().map(|word| word.display().to_string()).collect();
        words.join(" ")
    }

    #[test]
    fn both_are_given_the_same_machine() {
        let machine = Machine {
            cpus: 2,
            memory: 128,
            firmware: Firmware::None,
            kernel: Some(Path::new("k.elf")),
            ..Machine::default()
        };
        assert_eq!(
            words(&hostel(Path::new("h"), Some("interp"), machine)),
            "run --machine virt --cpus 2 --memory 128M --engine interp --bios none --kernel k.elf"
        );
        assert_eq!(
            words(&qemu(machine)),
            "-M virt -smp 2 -m 128M -nographic -net none -bios none -kernel k.elf"
        );
        let machine = Machine {
            firmware: Firmware::Own(Path::new("fw")),
            initrd: Some(Path::new("i")),
            append: "a b",
            ..machine
        };
        let line = words(&hostel(Path::new("h"), None, machine));
        assert!(line.ends_with("--memory 128M --kernel k.elf --initrd i --append a b"), "{line}");
        assert!(words(&qemu(machine)).ends_with("-bios fw -kernel k.elf -initrd i -append a b"));
    }

    #[test]
    fn the_version_is_read() {
        assert_eq!(major("QEMU emulator version 10.0.2 (Debian 1:10.0.2)\n"), Some(10));
        assert_eq!(major("qemu-riscv64 version 7.2.15"), Some(7));
        assert_eq!(major(""), None);
    }

    #[test]
    fn a_peer_is_compared_on_the_same_engine_and_names_are_unique() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            path.display().to_string()
        };
        let (before, hostel) = (file("before"), file("hostel"));
        let with = |engines: &[&str], peers: &[&String]| {
            let engine = engines.iter().map(ToString::to_string).collect();
            let against = peers.iter().map(ToString::to_string).collect();
            all(&BenchOptions { engine, against, ..BenchOptions::default() }, "h".into(), |_| ())
        };
        let two = with(&["a", "b"], &[&before]).unwrap();
        let names: Vec<&str> = two.iter().map(|contestant| &*contestant.name).collect();
        assert_eq!(names, ["native", "hostel-a", "hostel-b", "before-a", "before-b"]);
        let of_a: Vec<bool> = two.iter().map(|other| two[1].compares_with(other)).collect();
        assert_eq!(of_a, [true, false, false, true, false]);
        assert_eq!(with(&[], &[&hostel]).unwrap()[2].name, "other-hostel");
        for twice in [with(&["a", "a"], &[]), with(&[], &[&before, &before])] {
            assert!(twice.unwrap_err().to_string().starts_with("two would be called "));
        }
    }

    #[test]
    fn contestants_run_in_a_fixed_order() {
        let engine = vec!["a".to_owned(), "b".to_owned()];
        let options = BenchOptions { engine, ..BenchOptions::default() };
        let names: Vec<_> = all(&options, "h".into(), |_| ())
            .unwrap()
            .into_iter()
            .map(|contestant| contestant.name)
            .collect();
        assert_eq!(names, ["native", "hostel-a", "hostel-b"]);
        let options = BenchOptions { against: vec!["nobody".into()], ..BenchOptions::default() };
        assert!(all(&options, "h".into(), |_| ()).unwrap_err().to_string().contains("no file nobody"));
    }
}
