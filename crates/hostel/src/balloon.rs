//! The memory balloon: how much of a guest's memory it is to give back at its start.

use crate::choice::{ChoiceError, Memory};
use crate::text::from_text;
use std::fmt;
use std::str::FromStr;

/// What was said of the balloon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balloon {
    /// That there is none.
    None,
    /// How many bytes the guest is to put into it; 0 for none, while free pages are reported all the same.
    Bytes(u64),
}

impl Balloon {
    /// Bytes that the guest is to put into it.
    pub fn bytes(self) -> u64 {
        match self {
            Balloon::None => 0,
            Balloon::Bytes(bytes) => bytes,
        }
    }
}

impl FromStr for Balloon {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        if text == "none" {
            return Ok(Balloon::None);
        }
        text.parse().map(|Memory(bytes)| Balloon::Bytes(bytes))
    }
}

impl fmt::Display for Balloon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Balloon::None => f.write_str("none"),
            Balloon::Bytes(bytes) => Memory(*bytes).fmt(f),
        }
    }
}

from_text! {
    Balloon: "\"none\" or an amount of memory, such as \"512M\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints_it_reads() {
        for (text, balloon) in
            [("none", Balloon::None), ("0", Balloon::Bytes(0)), ("512M", Balloon::Bytes(512 << 20))]
        {
            assert_eq!((text.parse(), balloon.to_string()), (Ok(balloon), text.to_owned()));
        }
        assert!("some".parse::<Balloon>().is_err() && "-1".parse::<Balloon>().is_err());
    }
}
