//! Names of guests.

use std::fmt;
use std::str::FromStr;

/// Most letters of a name: as many as a label of a host name may have (RFC 1035, section 2.3.4), which it becomes.
const LONGEST: usize = 63;

/// A guest's name: letters, digits and hyphens, of which the first and last are no hyphens. It is a file's name as it stands, and
/// a host's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// What is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name for a guest; use up to 63 letters of a to z, digits and hyphens, such as work or test-2"
)]
pub struct BadName(pub String);

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Name, BadName> {
        let letters =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let edges = text.starts_with('-') || text.ends_with('-');
        if text.is_empty() || text.len() > LONGEST || !letters || edges {
            // What is shown of it does not fill a screen.
            return Err(BadName(text.chars().take(2 * LONGEST).collect()));
        }
        Ok(Name(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        for good in ["work", "a", "0", "test-2", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn attack_names_that_lead_elsewhere() {
        let long = "x".repeat(64);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "../x",
            "/etc/passwd",
            "a\0",
            "-x",
            "x-",
            ".x",
            "a b",
            "A",
            "ä",
            "a\n",
            "a_b",
            "a.toml",
            "\u{202e}x",
            &long,
        ] {
            assert_eq!(bad.parse::<Name>(), Err(BadName(bad.to_owned())), "{bad:?}");
        }
        let huge = "y".repeat(1 << 20);
        assert!(huge.parse::<Name>().unwrap_err().to_string().len() < 300);
    }
}
