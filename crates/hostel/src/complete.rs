//! What a shell can complete: `hostel completions` prints a script by which the shell asks the program itself.
//!
//! The words are the declaration's ([`Command`]); the functions here say what the values of options may be. They are
//! asked while somebody types, so they only look, fail to nothing and take no time.

use crate::choice::{Clock, Machine};
use crate::command::Command;
use crate::command_docs::CompletionsOptions;
use crate::engine::Engine;
use crate::isa::InstructionSet;
use crate::virtio_bus::VirtioBus;
use crate::{named, say, status};
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::Shells;
use host_guest::{Home, Name};
use std::ffi::OsStr;
use std::path::Path;

/// The environment variable by which a shell asks; its value is the shell's name.
const VARIABLE: &str = "HOSTEL_COMPLETE";
/// The program, as the scripts know it.
const PROGRAM: &str = "hostel";

/// What `--disk` takes behind the file's name.
const DISK: &[&str] = &[
    "ro",
    "overlay",
    "format=raw",
    "format=qcow2",
    "cache=writeback",
    "cache=none",
    "bus=mmio",
    "bus=pci",
    "backing=",
];
/// What `--share` takes behind the folder's name.
const SHARE: &[&str] = &["ro", "9p", "cache=auto", "cache=always", "cache=none", "owner="];
/// What `--net user` takes; more, which few need, is in `docs/network.md`.
const USER: &[&str] = &["host=allow", "mtu=", "hostname=", "dns=", "mac="];
/// What `--net tap=NAME` takes.
const TAP: &[&str] = &["queues=", "mtu=", "mac="];
/// What the translator takes.
const TRANSLATOR: &[&str] = &["threshold=", "tier=1", "tier=2"];
/// What KVM takes.
const KVM: &[&str] = &["irqchip=kernel", "irqchip=user"];

/// Answers if it is a shell that asks what can follow; false for an ordinary start.
///
/// # Errors
/// If there is no such shell.
pub fn answer_shell() -> clap::error::Result<bool> {
    let shell = CompleteEnv::with_factory(command).var(VARIABLE).bin(PROGRAM);
    shell.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref())
}

/// The declaration, with candidates for what other crates declare.
fn command() -> clap::Command {
    let engines = |arg: clap::Arg| arg.add(ArgValueCompleter::new(engine));
    let peers = |arg: clap::Arg| arg.add(ArgValueCompleter::new(peer));
    Command::command()
        .mut_subcommand("bench", |bench| bench.mut_arg("engine", engines).mut_arg("against", peers))
}

/// Prints the script for a shell.
///
/// # Errors
/// If there is no such shell, and as [`say::answer`].
pub fn completions(options: &CompletionsOptions) -> anyhow::Result<u8> {
    let shells = Shells::builtins();
    let shell = shells.completer(&options.shell).context("no such shell")?;
    // As it was called: a path that holds wherever the shell goes.
    let program = std::env::args().next().unwrap_or_else(|| PROGRAM.to_owned());
    let program = match Path::new(&program).components().count() {
        0 | 1 => program,
        _ => std::path::absolute(program)?.to_string_lossy().into_owned(),
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, &program, &mut script)?;
    say::answer(&String::from_utf8_lossy(&script))?;
    Ok(status::SUCCESS)
}

/// Candidates by their names.
fn all<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<CompletionCandidate> {
    values.into_iter().map(|value| CompletionCandidate::new(value.to_string())).collect()
}

/// Those that begin with what was typed.
fn beginning(current: &OsStr, mut candidates: Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let typed = current.as_encoded_bytes();
    candidates.retain(|candidate| candidate.get_value().as_encoded_bytes().starts_with(typed));
    candidates
}

/// Files and folders.
fn paths(current: &OsStr) -> Vec<CompletionCandidate> {
    PathCompleter::file().complete(current)
}

/// Words, and then files.
fn words_or_paths(current: &OsStr, words: &[&str]) -> Vec<CompletionCandidate> {
    let mut found = beginning(current, all(words));
    found.extend(paths(current));
    found
}

/// A value with options behind commas: `first` where there is no comma yet, or else one of `options` that is not given.
fn with_options(
    current: &OsStr,
    first: impl FnOnce(&OsStr) -> Vec<CompletionCandidate>,
    options: impl FnOnce(&str) -> &'static [&'static str],
) -> Vec<CompletionCandidate> {
    let Some((before, _)) = current.to_str().and_then(|text| text.rsplit_once(',')) else {
        return first(current);
    };
    let key = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let mut parts = before.split(',');
    let options = options(parts.next().unwrap_or_default());
    let given: Vec<String> = parts.map(key).collect();
    let left = options.iter().filter(|option| !given.contains(&key(option)));
    beginning(current, all(left.map(|option| format!("{before},{option}"))))
}

/// For `--engine`.
pub fn engine(current: &OsStr) -> Vec<CompletionCandidate> {
    let options = |name: &str| match name {
        "jit" | "check" => TRANSLATOR,
        "kvm" => KVM,
        _ => &[],
    };
    // What has options of its own is offered without them at first.
    let names = Engine::all().map(|engine| engine.to_string()).into_iter().filter(|name| !name.contains(','));
    with_options(current, |current| beginning(current, all(names)), options)
}

/// For `--against`.
fn peer(current: &OsStr) -> Vec<CompletionCandidate> {
    words_or_paths(current, &["qemu"])
}

/// For `--machine`.
pub fn machines() -> Vec<CompletionCandidate> {
    all(Machine::ALL)
}

/// For `--cpu`: the usual ones, of many.
pub fn cpus() -> Vec<CompletionCandidate> {
    all(["max", "rv64gc_sv39"])
}

/// For `--bios`.
pub fn bios(current: &OsStr) -> Vec<CompletionCandidate> {
    words_or_paths(current, &["builtin", "none"])
}

/// For `--clock`.
pub fn clocks() -> Vec<CompletionCandidate> {
    all(Clock::ALL)
}

/// For `--console`.
pub fn consoles() -> Vec<CompletionCandidate> {
    all(["stdio", "none", "pty", "unix="])
}

/// For `--disk` and `--pflash`.
pub fn disk(current: &OsStr) -> Vec<CompletionCandidate> {
    with_options(current, paths, |_| DISK)
}

/// For `--share`.
pub fn share(current: &OsStr) -> Vec<CompletionCandidate> {
    with_options(current, |current| PathCompleter::dir().complete(current), |_| SHARE)
}

/// For `--virtio`.
pub fn buses() -> Vec<CompletionCandidate> {
    all(VirtioBus::ALL)
}

/// For `--balloon`.
pub fn balloons() -> Vec<CompletionCandidate> {
    all(["none"])
}

/// For `--net`.
pub fn net(current: &OsStr) -> Vec<CompletionCandidate> {
    let options = |kind: &str| if kind == "user" { USER } else { TAP };
    with_options(current, |current| beginning(current, all(["user", "none", "tap="])), options)
}

/// For disk images' formats.
pub fn formats() -> Vec<CompletionCandidate> {
    all(["qcow2", "raw"])
}

/// For `hostel isa`.
pub fn instruction_sets() -> Vec<CompletionCandidate> {
    all(InstructionSet::ALL)
}

/// For `hostel man`: verbs, and those of `hostel image`.
pub fn verbs() -> Vec<CompletionCandidate> {
    let root = Command::command();
    let inner = root.get_subcommands().flat_map(clap::Command::get_subcommands);
    let shown = root.get_subcommands().chain(inner).filter(|verb| !verb.is_hide_set());
    shown.map(|verb| CompletionCandidate::new(verb.get_name()).help(verb.get_about().cloned())).collect()
}

fn images_that(wanted: impl Fn(&host_image::ImageName) -> bool) -> Vec<CompletionCandidate> {
    let images = host_image::IMAGES.iter().filter(|image| wanted(image));
    images.map(|image| CompletionCandidate::new(image.name).help(Some(image.about.into()))).collect()
}

/// For the verbs of `hostel image` that take an image of the cache.
pub fn images() -> Vec<CompletionCandidate> {
    images_that(|_| true)
}

/// For `hostel image info`.
pub fn image_or_file(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = beginning(current, images());
    found.extend(paths(current));
    found
}

/// For `hostel run`: a guest, or a machine description.
pub fn machine_or_guest(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = beginning(current, images_that(|image| image.boots));
    let description = |path: &Path| path.extension().is_some_and(|extension| extension == "toml");
    found.extend(PathCompleter::file().filter(description).complete(current));
    found
}

fn guests_that(wanted: impl Fn(&Home, &Name) -> bool) -> Vec<CompletionCandidate> {
    let Ok(home) = Home::open() else { return Vec::new() };
    let names = home.list().unwrap_or_default().into_iter().filter(|name| wanted(&home, name));
    let made_from = |name: &Name| Some(named::origin(&home, name)).filter(|image| !image.is_empty());
    let candidate =
        |name: Name| CompletionCandidate::new(name.as_str()).help(made_from(&name).map(Into::into));
    names.map(candidate).collect()
}

fn runs(home: &Home, name: &Name) -> bool {
    matches!(home.holder(name), Ok(Some(_)))
}

/// For `--name`.
pub fn guests() -> Vec<CompletionCandidate> {
    guests_that(|_, _| true)
}

/// For `hostel attach` and `stop`.
pub fn running() -> Vec<CompletionCandidate> {
    guests_that(runs)
}

/// For `hostel remove`.
pub fn stopped() -> Vec<CompletionCandidate> {
    guests_that(|home, name| !runs(home, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn texts(candidates: Vec<CompletionCandidate>) -> Vec<String> {
        candidates.into_iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    /// Whether `hostel run` takes a value of an option.
    fn taken(option: &str, value: &str) -> bool {
        Command::try_parse_from(["hostel", "run", option, value]).is_ok()
    }

    #[test]
    fn what_is_offered_is_taken() {
        let mut all = vec![
            ("--machine", texts(machines())),
            ("--cpu", texts(cpus())),
            ("--clock", texts(clocks())),
            ("--console", texts(consoles())),
            ("--virtio", texts(buses())),
            ("--balloon", texts(balloons())),
            ("--net", texts(net(OsStr::new("")))),
            ("--engine", texts(engine(OsStr::new("")))),
        ];
        for name in ["jit,", "check,", "kvm,"] {
            all.push(("--engine", texts(engine(OsStr::new(name)))));
        }
        all.push(("--disk", texts(disk(OsStr::new("d,")))));
        all.push(("--share", texts(share(OsStr::new("d,")))));
        all.push(("--net", texts(net(OsStr::new("user,")))));
        all.push(("--net", texts(net(OsStr::new("tap=t,")))));
        for (option, values) in all {
            assert!(!values.is_empty(), "{option}");
            for value in values {
                // What ends in `=` wants a value of the user's.
                let finish = ["", "1", "1280", "/dev/null", "1:1", "1.1.1.1", "52:54:00:12:34:56"];
                let finish = finish.iter().filter(|end| end.is_empty() != value.ends_with('='));
                let one = finish.map(|end| format!("{value}{end}")).any(|value| taken(option, &value));
                assert!(one, "{option} {value}");
            }
        }
    }

    #[test]
    fn options_behind_a_comma_are_offered_once() {
        let offered = |text: &str| texts(disk(OsStr::new(text)));
        assert_eq!(offered("a,b"), ["a,bus=mmio", "a,bus=pci", "a,backing="]);
        assert_eq!(offered("a,bus=pci,b"), ["a,bus=pci,backing="]);
        assert_eq!(texts(engine(OsStr::new("interp,"))), [""; 0]);
        assert_eq!(texts(engine(OsStr::new("jit,tier=1,"))), ["jit,tier=1,threshold="]);
        assert_eq!(texts(engine(OsStr::new("k"))), ["kvm"]);
    }
}
