//! How many bytes either side may send (section 5.10.6.3): counts that wrap around, and the room that each side says it has.

/// Credit of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Credit {
    /// Bytes sent to the driver, and what it says of its buffer and of what it has taken out.
    sent: u32,
    peer_room: u32,
    peer_taken: u32,
    /// Bytes that have come from the driver, those that the host has taken, and how many of these the driver was told of.
    came: u32,
    taken: u32,
    told: u32,
}

impl Credit {
    /// The driver says how it is: in every packet.
    pub fn hear(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        (self.peer_room, self.peer_taken) = (buf_alloc, fwd_cnt);
    }

    /// Bytes that the driver has room for. One that has taken more than was sent has lied, and then there is none.
    pub fn room(&self) -> u32 {
        self.peer_room.saturating_sub(self.sent.wrapping_sub(self.peer_taken))
    }

    /// So many were sent.
    pub fn send(&mut self, len: u32) {
        self.sent = self.sent.wrapping_add(len);
    }

    /// So many have come; false if that is more than a buffer of `most` has room for.
    pub fn receive(&mut self, len: u32, most: u32) -> bool {
        let waiting = self.came.wrapping_sub(self.taken);
        self.came = self.came.wrapping_add(len);
        waiting.checked_add(len).is_some_and(|waiting| waiting <= most)
    }

    /// The host has taken so many of them.
    pub fn take(&mut self, len: usize) {
        // No more than a buffer holds.
        self.taken = self.taken.wrapping_add(len as u32);
    }

    /// What the driver has not been told of that.
    pub fn untold(&self) -> u32 {
        self.taken.wrapping_sub(self.told)
    }

    /// What it is told in a packet: `fwd_cnt`.
    pub fn tell(&mut self) -> u32 {
        self.told = self.taken;
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_round() {
        let mut credit = Credit { sent: u32::MAX - 9, peer_taken: u32::MAX - 9, ..Credit::default() };
        credit.hear(100, u32::MAX - 9);
        assert_eq!(credit.room(), 100);
        credit.send(60);
        assert_eq!(credit.room(), 40);
        credit.hear(100, 20);
        assert_eq!(credit.room(), 70);
        let mut credit = Credit { came: u32::MAX, taken: u32::MAX, told: u32::MAX, ..Credit::default() };
        assert!(credit.receive(100, 100) && !credit.receive(1, 100));
        credit.take(101);
        assert_eq!((credit.untold(), credit.tell(), credit.untold()), (101, 100, 0));
    }

    #[test]
    fn lies_give_no_room() {
        let mut credit = Credit::default();
        credit.send(10);
        for (room, taken) in [(100, 11), (5, 0), (0, 10), (u32::MAX - 1, 11)] {
            credit.hear(room, taken);
            assert_eq!(credit.room(), 0, "{room} {taken}");
        }
        assert!(!credit.receive(u32::MAX, u32::MAX - 1));
    }
}
