//! Wrong meanings planted on purpose: a comparison that does not notice them proves nothing.

use crate::batch::Bench;

/// Plants every mistake; true if each was caught.
pub fn run(_bench: Bench, _seed: u64) -> bool {
    false
}
