//! Which frames are received ("MAC Filtering").

use crate::counters::Lost;

/// What the driver wants to receive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All.
    pub all: bool,
    /// No broadcasts.
    pub no_broadcast: bool,
    /// Multicast and unicast addresses by their hash.
    pub multicast_hash: bool,
    /// The same of unicast addresses.
    pub unicast_hash: bool,
    /// Hashes that are wanted.
    pub hashes: u64,
    /// Addresses that are wanted.
    pub addresses: [Option<[u8; 6]>; 4],
}

/// Bits of a receive descriptor that say why a frame was received.
mod why {
    pub const BROADCAST: u32 = 1 << 31;
    pub const MULTICAST_HASH: u32 = 1 << 30;
    pub const UNICAST_HASH: u32 = 1 << 29;
    pub const ADDRESS: u32 = 1 << 27;
    /// Number of the address, from here on.
    pub const WHICH: u32 = 25;
}

/// Which of 64 an address is: bit n is the sum of bits n, n + 6, … of the address, the first sent bit being bit 0.
fn hash(address: &[u8; 6]) -> u32 {
    let bits = address.iter().rev().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    (0..8).fold(0, |hash, at| hash ^ (bits >> (6 * at) & 0x3f) as u32)
}

impl Filter {
    /// The bits of the descriptor of a frame to this address.
    ///
    /// # Errors
    /// [`Lost::Filtered`] if it is not wanted.
    pub fn judge(&self, to: &[u8; 6]) -> Result<u32, Lost> {
        let [first, ..] = to;
        let hashed = self.hashes >> hash(to) & 1 != 0;
        if *to == [0xff; 6] {
            return match self.no_broadcast && !self.all {
                true => Err(Lost::Filtered),
                false => Ok(why::BROADCAST),
            };
        }
        if let Some(number) = self.addresses.iter().position(|address| *address == Some(*to)) {
            return Ok(why::ADDRESS | (number as u32) << why::WHICH);
        }
        match first & 1 != 0 {
            true if self.multicast_hash && hashed => Ok(why::MULTICAST_HASH),
            false if self.unicast_hash && hashed => Ok(why::UNICAST_HASH),
            _ if self.all => Ok(0),
            _ => Err(Lost::Filtered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_manuals() {
        // UG1085: each bit is the exclusive or of every sixth bit of the address.
        assert_eq!(hash(&[1, 0, 0, 0, 0, 0]), 1);
        assert_eq!(hash(&[0x40, 0, 0, 0, 0, 0]), 1);
        assert_eq!(hash(&[0, 0x10, 0, 0, 0, 0x80]), 1 ^ 1 << 5);
        assert_eq!(hash(&[0xff; 6]), 0);
    }

    #[test]
    fn what_is_not_wanted_is_filtered() {
        let mut filter =
            Filter { addresses: [None, Some([2, 0, 0, 0, 0, 1]), None, None], ..Filter::default() };
        assert_eq!(filter.judge(&[2, 0, 0, 0, 0, 1]), Ok(1 << 27 | 1 << 25));
        assert_eq!(filter.judge(&[0xff; 6]), Ok(1 << 31));
        for to in [[2, 0, 0, 0, 0, 2], [1, 0, 0x5e, 0, 0, 1]] {
            assert_eq!(filter.judge(&to), Err(Lost::Filtered));
        }
        filter.hashes = u64::MAX;
        filter.multicast_hash = true;
        assert_eq!(filter.judge(&[1, 0, 0x5e, 0, 0, 1]), Ok(1 << 30));
        assert_eq!(filter.judge(&[2, 0, 0, 0, 0, 2]), Err(Lost::Filtered));
        (filter.no_broadcast, filter.unicast_hash) = (true, true);
        assert_eq!(filter.judge(&[2, 0, 0, 0, 0, 2]), Ok(1 << 29));
        assert_eq!(filter.judge(&[0xff; 6]), Err(Lost::Filtered));
        (filter.all, filter.hashes) = (true, 0);
        assert_eq!((filter.judge(&[0xff; 6]), filter.judge(&[4; 6])), (Ok(1 << 31), Ok(0)));
    }
}
