//! The network card against QEMU's, access by access.

use dev_gem::testkit::{Guest, RAM};

fn number(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

#[test]
fn the_card_differs_from_qemus_only_where_a_reason_is_given() {
    let guest = Guest::new().unwrap();
    let mut found: Vec<String> = Vec::new();
    let mut section = "";
    for line in include_str!("golden/qemu-gem.txt").lines().skip(2) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut differs = |what: &str, theirs: &str, ours: u32| {
            if u64::from(ours) != number(theirs) {
                found.push(format!("{section}: {what} {theirs}, ours {ours:#x}"));
            }
        };
        match words.as_slice() {
            ["write", offset, value, _] => guest.set(number(offset), number(value) as u32),
            ["store", offset, value] => guest.words(RAM + number(offset), &[number(value) as u32]),
            ["read", offset, value, name] => {
                differs(&format!("{name} ({offset})"), value, guest.get(number(offset)));
            }
            ["load", offset, value] => {
                differs(&format!("memory at {offset}"), value, guest.word(RAM + number(offset)));
            }
            _ => panic!("{line}"),
        }
    }
    let mut known = Vec::new();
    for paragraph in include_str!("golden/gem-differences.txt").split("\n\n").skip(1) {
        assert!(paragraph.starts_with("# "), "no reason is given for:\n{paragraph}");
        known.extend(paragraph.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    found.sort();
    found.dedup();
    known.sort();
    assert!(found == known, "not the differences that are known:\n{}", found.join("\n"));
}
