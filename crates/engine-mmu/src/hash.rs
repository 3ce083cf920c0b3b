//! A hash map by addresses: the block caches look up a place in memory at each new piece of code.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are a few integers.
pub type AddressMap<K, V> = HashMap<K, V, BuildHasherDefault<AddressHasher>>;

/// Multiplicative hash of a few integers: keys are addresses, not chosen by an adversary to collide
/// beyond what slows down the guest that chose them.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    /// Addresses of code differ in few bits, at even distances; hash tables take the low and the top bits of a hash.
    #[test]
    fn neighbours_land_apart() {
        #[derive(Hash)]
        struct Key<T>(u64, T);
        fn hash(key: impl Hash) -> u64 {
            BuildHasherDefault::<AddressHasher>::default().hash_one(key)
        }
        let keys: [fn(u64) -> u64; 2] = [
            |n| hash(Key(0x4000_0000 + 16 * n, n & 1 != 0)),
            |n| hash(Key(0x4000_0000 + 16 * n, 0x3_0000 | (n & 1) as u32)),
        ];
        for key in keys {
            let all = |from: fn(u64) -> u64| (0..4096).map(|n| from(key(n))).collect::<HashSet<_>>().len();
            assert_eq!(all(|hash| hash), 4096);
            assert!(all(|hash| hash & 0xffff) > 3000, "{}", all(|hash| hash & 0xffff));
            assert!(all(|hash| hash >> 57) > 120, "{}", all(|hash| hash >> 57));
        }
    }
}
