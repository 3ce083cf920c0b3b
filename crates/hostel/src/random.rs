//! Where a machine's random bytes come from.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use vm_machine::RandomSource;

/// The host's, which never run out.
#[derive(Debug)]
pub struct Host(File);

impl Host {
    /// Finds them.
    ///
    /// # Errors
    /// If the host does not let them be had.
    pub fn open() -> io::Result<Host> {
        File::open("/dev/urandom").map(Host)
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// If the host does not let them be had.
    pub fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(bytes)
    }

    /// As a machine takes them.
    pub fn source(mut self) -> RandomSource {
        Arc::new(Mutex::new(move |bytes: &mut [u8]| self.fill(bytes).map_or(0, |()| bytes.len())))
    }
}

/// Bytes that are the same in every run with that seed: for machines whose runs are to be repeatable, and no secret.
pub fn repeatable(seed: &[u8]) -> RandomSource {
    let mut state = seed.iter().fold(0, |hash, &byte| step(hash ^ u64::from(byte)));
    let mut words = std::iter::repeat_with(move || {
        state = u64::wrapping_add(state, 0x9e37_79b9_7f4a_7c15);
        step(state)
    });
    Arc::new(Mutex::new(move |bytes: &mut [u8]| {
        for (part, word) in bytes.chunks_mut(8).zip(&mut words) {
            part.iter_mut().zip(word.to_le_bytes()).for_each(|(byte, random)| *byte = random);
        }
        bytes.len()
    }))
}

/// SplitMix64's finalizer (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn step(z: u64) -> u64 {
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(source: &RandomSource, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        assert_eq!(source.lock().unwrap()(&mut bytes), count);
        bytes
    }

    #[test]
    fn a_seed_tells_the_bytes() {
        let (one, two) = (repeatable(&[1; 32]), repeatable(&[1; 32]));
        let first = take(&one, 100);
        assert_eq!(first, take(&two, 100));
        assert_ne!(first, take(&one, 100));
        assert_ne!(first, take(&repeatable(&[2; 32]), 100));
        assert!(first.iter().collect::<std::collections::BTreeSet<_>>().len() > 50);
    }

    #[test]
    fn the_hosts_bytes_differ() {
        let source = Host::open().unwrap().source();
        assert_ne!(take(&source, 32), take(&source, 32));
    }
}
