//! What the device says of itself: features and configuration space (sections 5.10.3 and 5.10.4).

use dev_virtio::{Identity, feature};

/// The lowest context id that a guest can have: 0 and 1 mean others, and 2 is the host (section 5.10.4).
pub const FIRST_CID: u32 = 3;
/// The host's context id.
pub(crate) const HOST_CID: u64 = 2;

/// Descriptors of the queues for packets.
const QUEUE: u16 = 128;
/// Of that for events, of which there are none.
const EVENTS: u16 = 16;

/// The queues (section 5.10.2).
pub(crate) const RECEIVE: usize = 0;
pub(crate) const TRANSMIT: usize = 1;

/// Feature bits (section 5.10.3).
pub(crate) mod bit {
    /// VIRTIO_VSOCK_F_STREAM.
    pub const STREAM: u64 = 1;
    /// VIRTIO_VSOCK_F_SEQPACKET.
    pub const SEQPACKET: u64 = 1 << 1;
}

/// The device of the guest with this context id.
pub fn identity(cid: u32) -> Identity {
    Identity {
        id: 19,
        features: feature::USUAL | feature::RING_PACKED | bit::STREAM | bit::SEQPACKET,
        queues: vec![QUEUE, QUEUE, EVENTS],
        config: u64::from(cid).to_le_bytes().to_vec(),
        writable: Vec::new(),
    }
}
