//! `docs/command-line.md` shows what `--help` prints, of every verb.

mod guest;

use guest::Files;
use std::path::Path;

/// What a command prints.
fn output(files: &Files, arguments: &[&str]) -> String {
    let assert = files.hostel(arguments).assert().code(0).stderr_eq("");
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// The verbs in a help text.
fn verbs(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Every verb, the program itself first.
fn all(files: &Files) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut next = 0;
    while let Some(verb) = all.get(next).cloned() {
        let arguments: Vec<&str> = verb.iter().map(String::as_str).chain(["--help"]).collect();
        for word in verbs(&output(files, &arguments)) {
            all.push([&verb[..], &[word]].concat());
        }
        next += 1;
    }
    all
}

#[test]
fn the_reference_shows_the_help_of_every_verb() {
    const PROMPT: &str = "```console\n$ hostel";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/command-line.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let files = Files::new();
    let mut verbs = all(&files);
    assert!(verbs.len() > 5, "{verbs:?}");
    let mut fresh = String::new();
    let mut rest = text.as_str();
    let mut shown: Vec<Vec<String>> = Vec::new();
    while let Some(at) = rest.find(PROMPT) {
        let (command, _) = rest[at + PROMPT.len()..].split_once('\n').unwrap();
        let end = at + rest[at..].find("\n```\n").expect("a block that ends");
        let arguments: Vec<&str> = command.split_whitespace().collect();
        fresh += &format!("{}{PROMPT}{command}\n{}", &rest[..at], output(&files, &arguments).trim_end());
        shown.push(arguments.iter().filter(|word| **word != "--help").map(ToString::to_string).collect());
        rest = &rest[end..];
    }
    fresh += rest;
    shown.sort();
    verbs.sort();
    assert_eq!(shown, verbs, "docs/command-line.md shows other verbs than there are");
    if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
        std::fs::write(path, fresh).unwrap();
    } else {
        snapbox::assert_data_eq!(text, snapbox::Data::text(fresh).raw());
    }
}

#[test]
fn every_verb_has_examples() {
    let files = Files::new();
    for verb in all(&files) {
        let arguments: Vec<&str> = verb.iter().map(String::as_str).chain(["--help"]).collect();
        let help = output(&files, &arguments);
        assert!(help.contains("\nExamples:\n  hostel "), "{verb:?}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{verb:?}");
    }
}

#[test]
fn without_a_verb_there_is_help() {
    let files = Files::new();
    assert_eq!(output(&files, &[]), output(&files, &["--help"]));
    assert_eq!(output(&files, &["image"]), output(&files, &["image", "--help"]));
    assert_eq!(output(&files, &["help"]), output(&files, &["--help"]));
    assert_eq!(output(&files, &["help", "run"]), output(&files, &["run", "--help"]));
    assert_eq!(output(&files, &["help", "image", "get"]), output(&files, &["image", "get", "--help"]));
    assert!(output(&files, &["--version"]).starts_with("hostel 0."));
}
