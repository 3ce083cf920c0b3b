//! `hostel completions`: what bash offers with its script, and `hostel man`: pages that `man` formats without a warning.

mod guest;

use guest::{Files, OFF, flat};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Loads the script as `~/.bashrc` would, and asks the function that it registered as bash's own Tab does.
const ASK: &str = r#"
source <("$HOSTEL" completions bash) || exit 9
[[ "$(complete -p hostel)" =~ -F\ ([^ ]+)\ hostel$ ]] || exit 8
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
"${BASH_REMATCH[1]}" hostel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" || exit 7
printf '%s\n' "${COMPREPLY[@]}"
"#;

fn run(files: &Files, program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    let hostel = snapbox::cmd::cargo_bin!("hostel");
    command.args(arguments).current_dir(files.path()).env("HOSTEL", hostel);
    command.env("XDG_DATA_HOME", files.path().join("data"));
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no `{program}` here");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// What bash offers where these words stand, the last of which is being typed; `None` without bash.
#[track_caller]
fn offered(files: &Files, words: &[&str]) -> Option<Vec<String>> {
    let output = run(files, "bash", &[&["-c", ASK, "bash", "hostel"], words].concat())?;
    assert!(output.status.success(), "{words:?}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// A guest's folder as `host-guest` has it, of a guest that does not run.
fn named(files: &Files, name: &str) {
    files.add(&format!("data/hostel/guests/{name}/machine.toml"), "");
}

#[test]
fn bash_offers_verbs_options_and_values() {
    let files = Files::new();
    files.add("k.img", flat(OFF));
    files.add("vm.toml", "");
    files.add("folder/vm.toml", "");
    named(&files, "work");
    named(&files, "play");
    for (words, wanted) in [
        (&["im"][..], &["image"][..]),
        (&["run", "--machi"], &["--machine"]),
        (&["run", "--machine", ""], &["virt", "spike", "sifive_u", "microvm"]),
        (&["run", "--engine", "j"], &["jit"]),
        (&["run", "--engine", "jit,tier"], &["jit,tier=1", "jit,tier=2"]),
        (&["run", "--disk", "k"], &["k.img"]),
        (&["run", "--disk", "k.img,o"], &["k.img,overlay"]),
        (&["run", "--share", "f"], &["folder/"]),
        (&["run", "debian-b"], &["debian-busybox"]),
        (&["run", "v"], &["vm.toml"]),
        (&["run", "--name", ""], &["play", "work"]),
        (&["remove", "w"], &["work"]),
        (&["image", "conv"], &["convert"]),
        (&["image", "get", "u-"], &["u-boot"]),
        (&["image", "create", "--format", ""], &["qcow2", "raw"]),
        (&["bench", "--form", "s"], &["sv39"]),
        (&["completions", "b"], &["bash"]),
        (&["man", "run", "--o"], &["--out"]),
        (&["no-such-verb", "--x"], &[""]),
    ] {
        let Some(offered) = offered(&files, words) else { return };
        assert_eq!(offered, wanted, "{words:?}");
    }
    // Nothing runs, so there is nothing to attach to.
    let attach = offered(&files, &["attach", ""]).unwrap();
    assert!(!attach.contains(&"work".to_owned()), "{attach:?}");
    // What only other processes start is no word of a user's.
    let verbs = offered(&files, &[""]).unwrap();
    assert!(
        verbs.contains(&"run".to_owned()) && !verbs.iter().any(|verb| verb.starts_with("serve")),
        "{verbs:?}"
    );
}

#[test]
fn every_shell_has_a_script() {
    let files = Files::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let assert = files.hostel(&["completions", shell]).assert().code(0).stderr_eq("");
        let script = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        assert!(script.contains("HOSTEL_COMPLETE") && script.contains("hostel"), "{script}");
        // Each that is here at least reads it.
        let path = files.add(shell, &script);
        if matches!(shell, "bash" | "fish" | "zsh")
            && let Some(output) = run(&files, shell, &["-n", path.to_str().unwrap()])
        {
            assert!(output.status.success(), "{output:?}");
        }
    }
    files.hostel(&["completions", "csh"]).assert().code(125).stdout_eq("").stderr_eq(snapbox::str![[r#"
hostel: invalid value 'csh' for '<SHELL>'; [possible values: bash, elvish, fish, powershell, zsh]; tip: a similar value exists: 'zsh'; see `hostel completions --help`

"#]]);
    let asked = files.hostel(&["--", "hostel", ""]).env("HOSTEL_COMPLETE", "csh");
    asked.assert().code(125).stdout_eq("").stderr_eq(snapbox::str![[r#"
hostel: unknown shell `csh`, expected one of `bash`, `elvish`, `fish`, `powershell`, `zsh`; see `hostel --help`

"#]]);
}

/// The pages in a folder.
fn pages(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn there_is_a_page_for_every_verb_and_man_finds_no_fault() {
    let files = Files::new();
    let folder = files.path().join("man1");
    fs::create_dir(&folder).unwrap();
    files.hostel(&["man", "--out", "man1"]).assert().code(0).stdout_eq("").stderr_eq("");
    let names = pages(&folder);
    for wanted in ["hostel.1", "hostel-run.1", "hostel-image.1", "hostel-image-get.1", "hostel-man.1"] {
        assert!(names.iter().any(|name| name == wanted), "{wanted}: {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("serve") || name.contains("help")), "{names:?}");
    let run_page = files.hostel(&["man", "run"]).assert().code(0).stderr_eq("").get_output().stdout.clone();
    assert_eq!(run_page, fs::read(folder.join("hostel-run.1")).unwrap());
    for name in &names {
        let path = folder.join(name);
        let arguments = ["--warnings", "-E", "UTF-8", "-Tutf8", "-P", "cat", "-l", path.to_str().unwrap()];
        let Some(output) = run(&files, "man", &arguments) else { return };
        assert!(output.status.success(), "{name}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Print help") && text.contains(name.trim_end_matches(".1")), "{name}: {text}");
    }
}

#[test]
fn a_page_that_there_is_not_is_refused() {
    let files = Files::new();
    for words in ["nothing", "help", "run nothing", "serve-network"] {
        let arguments: Vec<&str> = ["man"].into_iter().chain(words.split(' ')).collect();
        let said = files.hostel(&arguments).assert().code(125).stdout_eq("");
        let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
        assert_eq!(said, format!("hostel: there is no verb \"{words}\"; see `hostel --help`\n"));
    }
    files.hostel(&["man", "--out", "none"]).assert().code(125).stdout_eq("").stderr_eq(snapbox::str![[r#"
hostel: cannot write none/hostel.1: No such file or directory (os error 2)

"#]]);
    files.hostel(&["man", "run", "--out", "."]).assert().code(125);
}
