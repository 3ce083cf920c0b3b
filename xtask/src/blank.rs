//! Rust source with comments and the insides of literals blanked out, so that rules about code look
//! at code only.
//!
//! Line breaks and columns (in bytes) stay where they were.

/// What the scanner is inside of.
enum At {
    Code,
    Line,
    /// Block comment, nested this deep.
    Block(usize),
    Text,
    /// Raw string that ends in this many hashes.
    Raw(usize),
}

/// `source` with every byte of comments and literal contents replaced by a blank.
pub fn blanked(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = At::Code;
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let rest = bytes.get(i..).unwrap_or_default();
        let step = match at {
            At::Code => code(rest, out.last().copied(), &mut at),
            At::Line => {
                if byte == b'\n' {
                    at = At::Code;
                }
                Step::blank(1)
            }
            At::Block(depth) => block(rest, depth, &mut at),
            At::Text => match byte {
                b'\\' => Step::blank(2),
                b'"' => {
                    at = At::Code;
                    Step::keep(1)
                }
                _ => Step::blank(1),
            },
            At::Raw(hashes) => {
                let end = byte == b'"'
                    && rest.iter().skip(1).take(hashes).filter(|b| **b == b'#').count() == hashes;
                if end {
                    at = At::Code;
                }
                if end { Step::keep(1 + hashes) } else { Step::blank(1) }
            }
        };
        for &b in rest.iter().take(step.len) {
            out.push(if step.keep || b == b'\n' { b } else { b' ' });
        }
        i += step.len;
    }
    // Only whole literals and comments were blanked, byte by byte, so this never replaces anything.
    String::from_utf8_lossy(&out).into_owned()
}

struct Step {
    keep: bool,
    len: usize,
}

impl Step {
    fn keep(len: usize) -> Self {
        Step { keep: true, len }
    }
    fn blank(len: usize) -> Self {
        Step { keep: false, len }
    }
}

fn code(rest: &[u8], before: Option<u8>, at: &mut At) -> Step {
    let word_before = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match rest {
        [b'/', b'/', ..] => {
            *at = At::Line;
            Step::blank(2)
        }
        [b'/', b'*', ..] => {
            *at = At::Block(1);
            Step::blank(2)
        }
        [b'"', ..] => {
            *at = At::Text;
            Step::keep(1)
        }
        [b'r', ..] | [b'b' | b'c', b'r', ..] if !word_before => {
            let prefix = if rest.first() == Some(&b'r') { 1 } else { 2 };
            let hashes = rest.iter().skip(prefix).take_while(|b| **b == b'#').count();
            if rest.get(prefix + hashes) == Some(&b'"') {
                *at = At::Raw(hashes);
                Step::keep(prefix + hashes + 1)
            } else {
                Step::keep(1)
            }
        }
        [b'\'', ..] => Step { keep: character(rest) == 1, len: character(rest) },
        _ => Step::keep(1),
    }
}

/// Length of the character literal that `rest` begins with; 1 for the quote of a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest.get(1) {
        Some(b'\\') => rest.iter().skip(3).position(|b| *b == b'\'').map_or(1, |n| n + 4),
        // One character of one to four bytes, then a quote; anything else is a lifetime.
        Some(_) => (2..=5)
            .find(|&n| rest.get(n) == Some(&b'\''))
            .filter(|&n| {
                std::str::from_utf8(rest.get(1..n).unwrap_or_default()).is_ok_and(|s| s.chars().count() == 1)
            })
            .map_or(1, |n| n + 1),
        None => 1,
    }
}

fn block(rest: &[u8], depth: usize, at: &mut At) -> Step {
    match rest {
        [b'*', b'/', ..] => {
            *at = if depth == 1 { At::Code } else { At::Block(depth - 1) };
            Step::blank(2)
        }
        [b'/', b'*', ..] => {
            *at = At::Block(depth + 1);
            Step::blank(2)
        }
        _ => Step::blank(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_go_and_code_stays() {
        for (source, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("a\"b") + x"#, r#"f("    ") + x"#),
            (r##"r#"a"b"# + x"##, r##"r#"   "# + x"##),
            ("br\"a\\\" x", "br\"  \" x"),
            ("'\"' 'a T '\\'' '{' '\\u{7b}'", "    'a T                  "),
            ("'é' x", "     x"),
            ("for\"x\"", "for\" \""),
        ] {
            assert_eq!(blanked(source), expected, "{source}");
        }
    }

    #[test]
    fn what_never_ends_is_no_trouble() {
        for source in ["\"abc", "/* abc", "r#\"abc", "'", "'\\", "'\\x", "b", "\"\\"] {
            assert_eq!(blanked(source).len(), source.len(), "{source}");
        }
    }
}
