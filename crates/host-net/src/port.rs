//! What a network card talks to: frames out, frames in, and what they may look like.

use std::fmt;
use std::os::fd::BorrowedFd;
use support_hostmap::Pieces;

/// What the guest takes besides whole frames with whole checksums (virtio 1.2 §5.1.3: `VIRTIO_NET_F_GUEST_*`). What it
/// may send is not negotiated here: a port takes all that it [`NetPort::supports`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums that are only begun (`GUEST_CSUM`). Without it, none of the others.
    pub checksum: bool,
    /// TCP over IPv4 that is still to be cut (`GUEST_TSO4`).
    pub tso4: bool,
    /// TCP over IPv6 (`GUEST_TSO6`).
    pub tso6: bool,
    /// UDP over IPv4 (`GUEST_USO4`).
    pub uso4: bool,
    /// UDP over IPv6 (`GUEST_USO6`).
    pub uso6: bool,
}

impl Offloads {
    /// All there are.
    pub const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, uso4: true, uso6: true };

    /// As a word.
    pub fn bits(self) -> u32 {
        let all = [self.checksum, self.tso4, self.tso6, self.uso4, self.uso6];
        all.into_iter().rev().fold(0, |bits, on| bits << 1 | u32::from(on))
    }

    /// From a word; bits that mean nothing are ignored.
    pub fn from_bits(bits: u32) -> Self {
        let has = |n: u32| bits >> n & 1 != 0;
        Offloads { checksum: has(0), tso4: has(1), tso6: has(2), uso4: has(3), uso6: has(4) }
    }
}

/// A frame that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no room now; the descriptor becomes writable when there is.
    Full,
    /// The other end is gone, for good.
    Down,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full => "the network takes no more frames now",
            SendError::Down => "the network is gone",
        })
    }
}

impl std::error::Error for SendError {}

/// Where a network card's frames go to and come from. Every frame has its `virtio_net_hdr_v1` (12 bytes, little-endian)
/// in front, and nothing waits but [`NetPort::set_offloads`]. May be used by several threads at once, such as one a
/// direction.
pub trait NetPort: Send + Sync {
    /// Sends a frame.
    ///
    /// # Errors
    /// If it was not sent; it may be tried again later.
    fn send(&self, frame: &[u8]) -> Result<(), SendError>;

    /// The same with a frame that lies in ranges of a mapping, such as a guest's memory.
    ///
    /// # Errors
    /// As for [`NetPort::send`].
    fn send_from(&self, frame: &Pieces) -> Result<(), SendError>;

    /// Takes a frame into `into`, which must have room for [`crate::LONGEST_FRAME`] if the guest takes frames that are
    /// still to be cut, and else for header, Ethernet header and MTU. Returns its length, or `None` if there is none now.
    fn receive(&self, into: &mut [u8]) -> Option<usize>;

    /// The same into ranges of a mapping.
    fn receive_into(&self, into: &Pieces) -> Option<usize>;

    /// Readable when there is a frame (or the other end is gone), writable when one can be sent.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// What it can do of that, and of the same the other way.
    fn supports(&self) -> Offloads;

    /// Says what the guest takes; to be called when that is negotiated, and with the default at a reset. May wait until the
    /// other end has taken frames that were sent before.
    fn set_offloads(&self, offloads: Offloads);

    /// Bytes of the longest IP packet that is not to be cut (`VIRTIO_NET_F_MTU`).
    fn mtu(&self) -> u16;

    /// Whether there is another end (`VIRTIO_NET_S_LINK_UP`).
    fn is_up(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_are_bits_and_back() {
        for bits in 0..32 {
            assert_eq!(Offloads::from_bits(bits).bits(), bits);
        }
        assert_eq!(Offloads { checksum: true, ..Offloads::default() }.bits(), 1);
        assert_eq!(Offloads { uso6: true, ..Offloads::default() }.bits(), 16);
    }
}
