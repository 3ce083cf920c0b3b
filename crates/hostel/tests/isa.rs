//! `hostel isa`, and the page that shows what it prints.

mod guest;

use guest::Files;
use std::path::Path;

fn printed(arguments: &[&str]) -> String {
    let files = Files::new();
    let assert = files.hostel(arguments).assert().code(0).stderr_eq("");
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn the_page_shows_what_is_printed() {
    const PROMPT: &str = "```console\n$ hostel isa\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/virtualizability.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find(PROMPT).expect("the page has the table") + PROMPT.len();
    let end = start + text[start..].find("```").expect("a block that ends");
    let fresh = format!("{}{}{}", &text[..start], printed(&["isa"]), &text[end..]);
    if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
        std::fs::write(path, fresh).unwrap();
    } else {
        assert_eq!(text, fresh, "SNAPSHOTS=overwrite cargo test -p hostel --test isa writes the page anew");
    }
}

#[test]
fn popf_violates_and_riscv_has_nothing_that_does() {
    let x86 = printed(&["isa", "x86-64"]);
    let line = |name: &str| x86.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_default();
    assert!(line("popf").contains("VIOLATION"), "{}", line("popf"));
    assert!(line("hlt").contains("privileged"), "{}", line("hlt"));
    assert_eq!(line("add"), "", "innocuous ones are shown only with --all");
    let riscv = printed(&["isa", "riscv64", "--all"]);
    assert!(riscv.starts_with("riscv64: ") && riscv.contains("violations 0\n"), "{riscv}");
    assert!(riscv.contains("\nadd              innocuous\n"), "{riscv}");
}

#[test]
fn other_instruction_sets_are_refused_with_a_list() {
    let files = Files::new();
    let assert = files.hostel(&["isa", "arm"]).assert().code(125);
    let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(error.contains("riscv64, x86-64"), "{error}");
}
