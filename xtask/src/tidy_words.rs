//! Rule: no words that mean something on one machine only: paths of a workplace, and hosts other than
//! those of published documentation (`xtask/allowed-hosts.txt`).
//!
//! No mirror or registry is named here either: what is not on the list is refused.

use crate::tidy::Finding;
use crate::tidy_lists::List;
use crate::tree::{File, Tree};

const LIST: &str = "xtask/allowed-hosts.txt";

/// Folders of a workplace. (In halves, so that this file is not found.)
const PLACES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Endings that make three words with dots between them a host, in prose and scripts.
const ENDINGS: [&str; 6] = ["org", "com", "net", "io", "dev", "cn"];

/// Looks at every line of every text file.
pub fn check(tree: &Tree, found: &mut Vec<Finding>) {
    let list = List::read(tree, LIST, 1, found);
    for file in tree.files.iter().filter(|f| f.path != LIST) {
        for (n, line) in file.text.lines().enumerate() {
            let place = || format!("{}:{}", file.path, n + 1);
            for word in PLACES.iter().filter(|word| names_place(line, word)) {
                found.push(Finding::error(place(), "word", format!("`{word}` is a path of one machine")));
            }
            for host in hosts(file, line) {
                if list.find(|words| words == [host]).is_none() {
                    let message = format!("`{host}` is not in {LIST}");
                    found.push(Finding::error(place(), "host", message));
                }
            }
        }
    }
    list.complain_of_unused(found);
}

/// Whether `line` has `word` at the beginning of a path (`net/work/` is none).
fn names_place(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|s| s.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}".contains(c))
    })
}

/// The hosts a line names: after `://` anywhere; bare ones only outside Rust, where `a.b.com` may be
/// a field.
fn hosts<'l>(file: &File, line: &'l str) -> Vec<&'l str> {
    let word =
        |text: &'l str| text.split(|c: char| !(c.is_alphanumeric() || ".-".contains(c))).next().unwrap_or("");
    let mut all: Vec<&str> = Vec::new();
    for scheme in ["http://", "https://", "ftp://"] {
        for (at, _) in line.match_indices(scheme) {
            let rest = line.get(at + scheme.len()..).unwrap_or_default();
            // What stands before an `@` is no host.
            let authority = rest.split(['/', ' ', '"', '`', ')', '>']).next().unwrap_or_default();
            all.push(word(authority.rsplit('@').next().unwrap_or_default()));
        }
    }
    if !file.path.ends_with(".rs") {
        for text in line.split(|c: char| !(c.is_alphanumeric() || ".-".contains(c))) {
            let text = text.trim_matches(['.', '-']);
            let ending = text.rsplit('.').next().unwrap_or_default();
            if text.matches('.').count() >= 2 && ENDINGS.contains(&ending) {
                all.push(text);
            }
        }
    }
    all.retain(|host| is_foreign(host));
    all.sort_unstable();
    all.dedup();
    all
}

/// Names that resolve somewhere else: not a placeholder, this machine, or an address.
fn is_foreign(host: &str) -> bool {
    let reserved = ["example", "invalid", "test", "localhost"]; // RFC 2606
    let example = ["example.com", "example.org", "example.net"];
    let ending = host.rsplit('.').next().unwrap_or_default();
    host.contains('.')
        && !reserved.contains(&ending)
        && !example.iter().any(|e| host == *e || host.ends_with(&format!(".{e}")))
        && !host.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use crate::tidy::samples::{accepted, refused};

    /// A sentence with a host in it, put together here so that no rule finds it in this file.
    fn sentence(scheme: &str, host: &str) -> String {
        format!("Fetched from {scheme}{host}/pool.\n")
    }

    #[test]
    fn hosts_are_those_of_documentation() {
        let host = ["mirror", "somewhere", "org"].join(".");
        let url = sentence("https:/\u{2f}", &host);
        refused(&[("docs/a.md", &url)], "host", "docs/a.md:1", "not in");
        refused(&[("docs/a.md", &sentence("", &host))], "host", "docs/a.md:1", "not in");
        refused(&[(".ci/run", &sentence("http:/\u{2f}user:word@", &host))], "host", ".ci/run:1", &host);
        accepted(&[("docs/a.md", &url), ("xtask/allowed-hosts.txt", &format!("{host} # a manual\n"))]);
        let list = "xtask/allowed-hosts.txt";
        refused(&[(list, &format!("{host} # a manual\n"))], "list", list, "nothing needs");
    }

    #[test]
    fn placeholders_and_addresses_are_nobodys() {
        for host in ["HOST:1", "localhost:80", "127.0.0.1:5", "10.0.2.2", "www.example.org", "mirror.invalid"]
        {
            accepted(&[("docs/a.md", &sentence("http:/\u{2f}", host))]);
        }
        accepted(&[("docs/a.md", "the fields a.b.c and version 1.2.3\n")]);
    }

    #[test]
    fn paths_of_a_workplace_are_refused() {
        for word in super::PLACES {
            refused(&[("docs/a.md", &format!("see {word}x\n"))], "word", "docs/a.md:1", word);
            refused(&[("docs/a.md", &format!("see `{word}x`\n"))], "word", "docs/a.md:1", word);
            accepted(&[("docs/a.md", &format!("see net{word}x and ${{HOME}}{word}x\n"))]);
        }
    }
}
