//! What the device says of itself: features and configuration space (sections 5.1.3 and 5.1.4).

use dev_virtio::{Identity, feature};
use host_net::{NetPort, Offloads};

/// Descriptors of each queue for frames.
pub const QUEUE_SIZE: u16 = 256;
/// Descriptors of the control queue.
const CONTROL_SIZE: u16 = 64;
/// Most pairs of queues.
pub const MOST_PAIRS: usize = 16;

/// Where in the configuration space the link-layer address is, and the status.
pub(crate) const MAC: usize = 0;
pub(crate) const STATUS: usize = 6;
/// VIRTIO_NET_S_LINK_UP.
pub(crate) const LINK_UP: u8 = 1;

/// Feature bits (section 5.1.3).
pub(crate) mod bit {
    pub const CSUM: u64 = 1;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const GUEST_TSO6: u64 = 1 << 8;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const HOST_TSO6: u64 = 1 << 12;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
    pub const CTRL_VQ: u64 = 1 << 17;
    pub const CTRL_RX: u64 = 1 << 18;
    pub const CTRL_RX_EXTRA: u64 = 1 << 20;
    pub const MQ: u64 = 1 << 22;
    pub const CTRL_MAC_ADDR: u64 = 1 << 23;
    pub const GUEST_USO4: u64 = 1 << 54;
    pub const GUEST_USO6: u64 = 1 << 55;
    pub const HOST_USO: u64 = 1 << 56;
}

/// The device of this link-layer address on `ports`, each of which gets a pair of queues, up to [`MOST_PAIRS`].
pub fn identity(mac: [u8; 6], port: &dyn NetPort, pairs: usize) -> Identity {
    let pairs = pairs.clamp(1, MOST_PAIRS);
    let mut queues = vec![QUEUE_SIZE; 2 * pairs];
    queues.push(CONTROL_SIZE);
    let mut config = mac.to_vec();
    config.extend([LINK_UP, 0]);
    config.extend((pairs as u16).to_le_bytes());
    config.extend(port.mtu().to_le_bytes());
    let features = feature::USUAL | feature::RING_PACKED | features(port.supports(), pairs > 1);
    Identity { id: 1, features, queues, config, writable: Vec::new() }
}

fn features(port: Offloads, several: bool) -> u64 {
    let when = |on: bool, bits: u64| if on { bits } else { 0 };
    let both = |on: bool, bits: u64| when(on && port.checksum, bits);
    bit::MTU
        | bit::MAC
        | bit::MRG_RXBUF
        | bit::STATUS
        | bit::CTRL_VQ
        | bit::CTRL_RX
        | bit::CTRL_RX_EXTRA
        | bit::CTRL_MAC_ADDR
        | when(several, bit::MQ)
        | both(true, bit::CSUM | bit::GUEST_CSUM)
        | both(port.tso4, bit::HOST_TSO4 | bit::GUEST_TSO4)
        | both(port.tso6, bit::HOST_TSO6 | bit::GUEST_TSO6)
        | both(port.uso4, bit::GUEST_USO4)
        | both(port.uso6, bit::GUEST_USO6)
        | both(port.uso4 && port.uso6, bit::HOST_USO)
}

/// What a driver that has taken these features takes of frames.
pub(crate) fn offloads(features: u64) -> Offloads {
    let checksum = features & bit::GUEST_CSUM != 0;
    // None of the others without the first (section 5.1.3.1).
    let has = |bit: u64| checksum && features & bit != 0;
    Offloads {
        checksum,
        tso4: has(bit::GUEST_TSO4),
        tso6: has(bit::GUEST_TSO6),
        uso4: has(bit::GUEST_USO4),
        uso6: has(bit::GUEST_USO6),
    }
}
