//! What is known of values without computing them: word instructions extend what is extended already.

use crate::emit::Emitter;
use crate::value::{Loc, X};
use isa_core::{Bin, Un};
use isa_ir::Value;

/// The value is its low word, sign-extended.
pub(crate) const SIGNED: u8 = 1;
/// The high word is 0.
pub(crate) const LOW: u8 = 2;
/// Both.
pub(crate) const SMALL: u8 = SIGNED | LOW;

/// Facts about the values of a block, and about what registers hold.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    values: Vec<u8>,
    registers: [u8; 32],
}

impl Facts {
    pub fn begin(&mut self, nodes: usize) {
        self.values.clear();
        self.values.resize(nodes, 0);
        self.registers = [0; 32];
    }
}

/// What is known of a constant.
fn constant(k: u64) -> u8 {
    let signed = if k as i32 as u64 == k { SIGNED } else { 0 };
    signed | if k >> 32 == 0 { LOW } else { 0 }
}

impl Emitter {
    pub(crate) fn facts(&self, v: Value) -> u8 {
        match self.values.at(v) {
            Loc::Const(k) => constant(k),
            _ => self.facts.values.get(v.index()).copied().unwrap_or(0),
        }
    }

    pub(crate) fn know(&mut self, v: Value, facts: u8) {
        if let Some(known) = self.facts.values.get_mut(v.index()) {
            *known |= facts;
        }
    }

    /// A register is read.
    pub(crate) fn know_register(&mut self, class: u8, index: u8, v: Value) {
        if class == X {
            let facts = self.facts.registers.get(usize::from(index)).copied().unwrap_or(0);
            self.know(v, facts);
        }
    }

    /// A register is written.
    pub(crate) fn note_register(&mut self, class: u8, index: u8, v: Value) {
        let facts = self.facts(v);
        if class == X
            && let Some(known) = self.facts.registers.get_mut(usize::from(index))
        {
            *known = facts;
        }
    }

    pub(crate) fn know_bin(&mut self, op: Bin, a: Value, b: Value, at: Value) {
        let (x, y) = (self.facts(a), self.facts(b));
        let count = match self.values.at(b) {
            Loc::Const(k) => k & 63,
            _ => 0,
        };
        let facts = match op {
            Bin::Eq | Bin::Ne | Bin::LtS | Bin::LtU | Bin::GeS | Bin::GeU => SMALL,
            Bin::And if x == SMALL || y == SMALL => SMALL,
            Bin::And | Bin::Or | Bin::Xor => x & y | if op == Bin::And { (x | y) & LOW } else { 0 },
            Bin::ShrU if count > 32 || count > 0 && x & LOW != 0 => SMALL,
            Bin::ShrU if count == 32 => LOW,
            Bin::ShrS => x & SIGNED | if x == SMALL { LOW } else { 0 },
            _ => 0,
        };
        self.know(at, facts);
    }

    pub(crate) fn know_un(&mut self, op: Un, a: Value, at: Value) {
        let facts = match op {
            // A small value stays what it is; of one that is narrower still the sign may come in.
            Un::Sext32 => SIGNED | if self.facts(a) == SMALL { LOW } else { 0 },
            Un::Sext8 | Un::Sext16 => SIGNED,
            Un::Zext8 | Un::Zext16 | Un::Clz | Un::Ctz | Un::Popcount => SMALL,
            Un::Zext32 => LOW | if self.facts(a) == SMALL { SIGNED } else { 0 },
            _ => 0,
        };
        self.know(at, facts);
    }

    /// Whether `op` gives what `a` is anyway.
    pub(crate) fn idle(&self, op: Un, a: Value) -> bool {
        match op {
            Un::Sext32 => self.facts(a) & SIGNED != 0,
            Un::Zext32 => self.facts(a) & LOW != 0,
            _ => false,
        }
    }
}
