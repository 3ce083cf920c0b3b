//! The messages between the VMM and its user network: one packet of a `SOCK_SEQPACKET` socket each. The first word, in
//! little-endian order, says what follows.

/// A frame, `virtio_net_hdr_v1` first; both ways.
pub const FRAME: u32 = 0;
/// To the network: the guest's offloads, a word ([`crate::Offloads::bits`]).
pub const OFFLOADS: u32 = 1;
/// To the VMM: the network runs; the addresses of the published ports as text, one a line.
pub const READY: u32 = 2;
/// To the VMM: the network could not be set up; why, as text.
pub const FAILED: u32 = 3;

/// To the network: the host's `/etc/resolv.conf` has changed to this text.
pub const RESOLVERS: u32 = 4;

/// The kind of a message and what follows it.
pub fn split(message: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = message.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*word), rest))
}
