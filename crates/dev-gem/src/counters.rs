//! Statistics: 45 registers that a read clears, and that stay at their largest value.

/// How many there are.
pub const COUNT: usize = 45;

/// Numbers of those that count here, from offset 0x100 on, four bytes each.
mod number {
    pub const TX_OCTETS: usize = 0;
    pub const TX_FRAMES: usize = 2;
    pub const TX_BROADCAST: usize = 3;
    pub const TX_MULTICAST: usize = 4;
    pub const TX_SIZES: usize = 6;
    pub const RX_OCTETS: usize = 20;
    pub const RX_FRAMES: usize = 22;
    pub const RX_BROADCAST: usize = 23;
    pub const RX_MULTICAST: usize = 24;
    pub const RX_SIZES: usize = 26;
    pub const RX_OVERSIZE: usize = 34;
    pub const RX_LENGTH: usize = 37;
    pub const RX_RESOURCE: usize = 40;
    pub const RX_IP: usize = 42;
    pub const RX_TCP: usize = 43;
    pub const RX_UDP: usize = 44;
}

/// What became of a frame that was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It was not for this station.
    Filtered,
    /// Longer than any that may come.
    Oversize,
    /// Shorter than its length field says.
    Length,
    /// Wrong checksums: of IP, TCP, UDP.
    Ip,
    /// That of TCP.
    Tcp,
    /// That of UDP.
    Udp,
}

/// The counters.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters(pub [u32; COUNT]);

impl Counters {
    /// Nothing has been counted.
    pub const NEW: Counters = Counters([0; COUNT]);

    fn add(&mut self, number: usize, count: u32) {
        if let Some(counter) = self.0.get_mut(number) {
            *counter = counter.saturating_add(count);
        }
    }

    /// 48 bits in two registers.
    fn add_octets(&mut self, number: usize, count: usize) {
        let (low, high) = (self.get(number), self.get(number + 1));
        let sum = (u64::from(high) << 32 | u64::from(low)).saturating_add(count as u64).min((1 << 48) - 1);
        for (at, value) in [(number, sum as u32), (number + 1, (sum >> 32) as u32)] {
            if let Some(counter) = self.0.get_mut(at) {
                *counter = value;
            }
        }
    }

    fn get(&self, number: usize) -> u32 {
        self.0.get(number).copied().unwrap_or(0)
    }

    /// Reads and clears a counter.
    pub fn take(&mut self, number: usize) -> u32 {
        self.0.get_mut(number).map_or(0, std::mem::take)
    }

    /// A test's value for it.
    pub fn set(&mut self, number: usize, value: u32) {
        if let Some(counter) = self.0.get_mut(number) {
            *counter = value;
        }
    }

    /// One more of each (inc_all_stats_regs).
    pub fn increment(&mut self) {
        (0..COUNT).for_each(|number| self.add(number, 1));
    }

    /// `destination` of a frame of `len` bytes, checksum and all, that was sent.
    pub fn sent(&mut self, destination: &[u8], len: usize) {
        self.add_octets(number::TX_OCTETS, len);
        self.add(number::TX_FRAMES, 1);
        self.kind(destination, number::TX_BROADCAST, number::TX_MULTICAST);
        self.add(number::TX_SIZES + size_class(len), 1);
    }

    /// The same of one that was received.
    pub fn received(&mut self, destination: &[u8], len: usize) {
        self.add_octets(number::RX_OCTETS, len);
        self.add(number::RX_FRAMES, 1);
        self.kind(destination, number::RX_BROADCAST, number::RX_MULTICAST);
        self.add(number::RX_SIZES + size_class(len), 1);
    }

    fn kind(&mut self, destination: &[u8], broadcast: usize, multicast: usize) {
        if destination == [0xff; 6] {
            self.add(broadcast, 1);
        } else if destination.first().is_some_and(|first| first & 1 != 0) {
            self.add(multicast, 1);
        }
    }

    /// A frame that was not received.
    pub fn lost(&mut self, why: Lost) {
        let number = match why {
            Lost::Filtered => return,
            Lost::Oversize => number::RX_OVERSIZE,
            Lost::Length => number::RX_LENGTH,
            Lost::Ip => number::RX_IP,
            Lost::Tcp => number::RX_TCP,
            Lost::Udp => number::RX_UDP,
        };
        self.add(number, 1);
    }

    /// One for which there was no buffer.
    pub fn no_buffer(&mut self) {
        self.add(number::RX_RESOURCE, 1);
    }
}

/// Which of the seven counters by size.
fn size_class(len: usize) -> usize {
    [64, 127, 255, 511, 1023, 1518].iter().take_while(|most| len > **most).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_octets_are_counted_and_a_read_clears() {
        let mut counters = Counters::NEW;
        for len in [64, 65, 127, 128, 1518, 1519] {
            counters.sent(&[0xff; 6], len);
        }
        let classes: Vec<u32> = (6..13).map(|number| counters.take(number)).collect();
        assert_eq!(classes, [1, 2, 1, 0, 0, 1, 1]);
        assert_eq!((counters.take(0), counters.take(0), counters.take(3)), (3421, 0, 6));
        counters.set(2, u32::MAX);
        counters.set(0, u32::MAX);
        counters.sent(&[1; 6], 1);
        assert_eq!([0, 1, 2, 4].map(|number| counters.take(number)), [0, 1, u32::MAX, 1]);
    }
}
