//! One ROM: its cases, and the bytes that run them.

use crate::cases;
use crate::drawn::{Drawn, Random};
use crate::layout::{CASE_SIZE, CASES, MOST_CASES};
use crate::program::{self, Image};
use anyhow::Result;

/// A case.
pub struct Case {
    /// Its kind's name.
    pub kind: &'static str,
    /// Its code.
    pub code: Vec<u8>,
}

/// Cases, what they draw from, and the ROM that runs them.
pub struct Rom {
    /// What it was drawn from.
    pub seed: u64,
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// The global descriptor table from [`crate::layout::RANDOM`] on.
    pub descriptors: Vec<u64>,
    /// The interrupt table from [`crate::layout::GATES`] on.
    pub gates: Vec<[u64; 2]>,
    /// What is at the top of the address space.
    pub bytes: Vec<u8>,
}

impl Rom {
    /// The ROM of `seed`, full of cases.
    ///
    /// # Errors
    /// If a case cannot be assembled or is too long.
    pub fn new(seed: u64) -> Result<Rom> {
        let mut r = Random::new(seed, 0);
        let mut descriptors: Vec<u64> = (0..23).map(|_| r.descriptor()).collect();
        // The upper halves of those of 16 bytes are 0; QEMU does not check what must be 0 in them.
        for n in 1..descriptors.len() {
            if matches!(descriptors[n - 1] >> 40 & 0x1f, 2 | 9 | 0xb | 0xc) {
                descriptors[n] = 0;
            }
        }
        // A call gate there has no upper half. What comes first then, #GP for that or #NP, the manual does not say.
        if let Some(last) = descriptors.last_mut().filter(|last| **last >> 40 & 0x1f == 0xc) {
            *last = 0;
        }
        let gates: Vec<[u64; 2]> = (0..8).map(|_| r.gate()).collect();
        let mut list = Vec::new();
        for n in 0..MOST_CASES {
            let (kind, code) = cases::case(&mut r, CASES + CASE_SIZE * n)?;
            list.push(Case { kind, code });
        }
        let codes: Vec<&[u8]> = list.iter().map(|case| &*case.code).collect();
        let bytes = program::rom(&Image::new(&codes, &descriptors, &gates)?)?;
        Ok(Rom { seed, cases: list, descriptors, gates, bytes })
    }
}
