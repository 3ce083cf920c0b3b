//! The lists of exceptions, `xtask/allowed-*.txt`: one line each, words first, the reason after `#`.
//!
//! An exception without a reason, or one that nothing needs any more, is itself an error, so that the
//! lists stay short.

use crate::tidy::Finding;
use crate::tree::Tree;
use std::cell::Cell;

/// One line of a list.
pub struct Entry<'t> {
    /// Line number, from 1.
    pub line: usize,
    /// What stands before the `#`.
    pub words: Vec<&'t str>,
    used: Cell<bool>,
}

/// A list of exceptions; empty if the tree has no such file.
pub struct List<'t> {
    path: &'static str,
    /// Its entries, in order.
    pub entries: Vec<Entry<'t>>,
}

impl<'t> List<'t> {
    /// Reads the list at `path`, whose lines have `words` words each.
    pub fn read(tree: &'t Tree, path: &'static str, words: usize, found: &mut Vec<Finding>) -> Self {
        let mut entries = Vec::new();
        for (n, text) in tree.file(path).map_or("", |f| f.text.as_str()).lines().enumerate() {
            let (before, reason) = text.split_once('#').unwrap_or((text, ""));
            let before: Vec<&str> = before.split_whitespace().collect();
            if before.is_empty() {
                continue;
            }
            if before.len() != words || reason.trim().len() < 8 {
                let message = format!("expected {words} words, then `#` and the reason");
                found.push(Finding::error(format!("{path}:{}", n + 1), "list", message));
                continue;
            }
            entries.push(Entry { line: n + 1, words: before, used: Cell::new(false) });
        }
        List { path, entries }
    }

    /// The first entry that `wanted` says yes to; it counts as needed from then on.
    pub fn find(&self, wanted: impl Fn(&[&str]) -> bool) -> Option<&Entry<'t>> {
        let entry = self.entries.iter().find(|e| wanted(&e.words))?;
        entry.used.set(true);
        Some(entry)
    }

    /// Where an entry is.
    pub fn place(&self, entry: &Entry<'_>) -> String {
        format!("{}:{}", self.path, entry.line)
    }

    /// Complains of entries that nothing needed.
    pub fn complain_of_unused(&self, found: &mut Vec<Finding>) {
        for entry in self.entries.iter().filter(|e| !e.used.get()) {
            let message = format!("nothing needs `{}` any more; remove the line", entry.words.join(" "));
            found.push(Finding::error(self.place(entry), "list", message));
        }
    }
}
