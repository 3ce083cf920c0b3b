//! Where in a machine description a value was written, for complaints about it that come up only later.

use std::collections::BTreeMap;
use toml::de::DeTable;

/// The keys of a file whose values the machine has, and where they are. None without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Of the values: `FILE:LINE:COLUMN`.
    places: BTreeMap<String, String>,
}

impl Origin {
    /// The values in `text`, which is valid and was read from the file called `name`.
    pub fn of(name: &str, text: &str) -> Origin {
        let table = DeTable::parse(text);
        let entries = table.iter().flat_map(|table| table.get_ref().iter());
        let places = entries.map(|(key, value)| {
            let (line, column) = position(text, value.span().start);
            (key.get_ref().to_string(), format!("{name}:{line}:{column}"))
        });
        Origin { places: places.collect() }
    }

    /// The value of `key` came from elsewhere after all.
    pub fn forget(&mut self, key: &str) {
        self.places.remove(key);
    }

    /// `error` with the place of the first of `keys` whose value came from the file.
    pub fn blame(&self, keys: &[&str], error: impl Into<anyhow::Error>) -> anyhow::Error {
        let error = error.into();
        match keys.iter().find_map(|key| self.places.get(*key)) {
            Some(place) => anyhow::anyhow!("{place}: {error:#}"),
            None => error,
        }
    }
}

/// Line and column, from 1, of the byte at `at`.
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}
