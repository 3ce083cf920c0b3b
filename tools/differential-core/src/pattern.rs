//! Patterns for `--rows`.

/// Whether `name` matches `pattern`, in which `*` stands for anything.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).any(|i| tail.is_char_boundary(i) && matches(rest, &tail[i..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("fma*", "fmadd.d", true),
            ("fma*", "fma", true),
            ("*", "", true),
            ("*.d", "fmadd.d", true),
            ("f*.*", "fmadd.d", true),
            ("f*.w", "fmadd.d", false),
            ("add", "addi", false),
            ("add", "add", true),
            ("add*", "ad", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
