//! What the device says of itself: features and configuration space (sections 5.3.3 and 5.3.4).

use crate::port::Size;
use dev_virtio::{Identity, feature};

/// Most ports of a device: two queues for each and two for control, of the 64 that a device can have.
pub const MOST_PORTS: usize = 31;
/// Descriptors of each port's queues: Linux fills those for input with pages.
const PORT_QUEUE: u16 = 64;
/// Descriptors of the control queues.
const CONTROL_QUEUE: u16 = 32;

/// Where in the configuration space the size of port 0 is: columns, then rows.
pub(crate) const SIZE: usize = 0;
/// Where `emerg_wr` is.
pub(crate) const EMERG_WR: usize = 8;

/// Feature bits (section 5.3.3).
pub(crate) mod bit {
    /// VIRTIO_CONSOLE_F_SIZE.
    pub const SIZE: u64 = 1;
    /// VIRTIO_CONSOLE_F_MULTIPORT.
    pub const MULTIPORT: u64 = 1 << 1;
    /// VIRTIO_CONSOLE_F_EMERG_WRITE.
    pub const EMERG_WRITE: u64 = 1 << 2;
}

/// The control queues (section 5.3.2).
pub(crate) const CONTROL_RECEIVE: usize = 2;
pub(crate) const CONTROL_TRANSMIT: usize = 3;

/// The receive queue of a port; its transmit queue is the next one.
pub(crate) fn receive_queue(port: usize) -> usize {
    if port == 0 { 0 } else { 2 * port + 2 }
}

/// The device whose ports have numbers below `ports`, up to [`MOST_PORTS`] of them.
pub fn identity(ports: usize) -> Identity {
    let ports = ports.clamp(1, MOST_PORTS);
    let mut queues = vec![PORT_QUEUE; 2 * ports + 2];
    for control in [CONTROL_RECEIVE, CONTROL_TRANSMIT] {
        if let Some(size) = queues.get_mut(control) {
            *size = CONTROL_QUEUE;
        }
    }
    let mut config = vec![0; 4];
    config.extend((ports as u32).to_le_bytes());
    config.extend([0; 4]);
    let writable = [[0; EMERG_WR].as_slice(), &[0xff; 4]].concat();
    let features = feature::USUAL | feature::RING_PACKED | bit::SIZE | bit::MULTIPORT | bit::EMERG_WRITE;
    Identity { id: 3, features, queues, config, writable }
}

/// The size of port 0 as the configuration space has it.
pub(crate) fn size_of(config: &[u8]) -> Size {
    match config.first_chunk() {
        Some(&[a, b, c, d]) => Size { columns: u16::from_le_bytes([a, b]), rows: u16::from_le_bytes([c, d]) },
        None => Size::default(),
    }
}

/// The same the other way.
pub(crate) fn size_bytes(size: Size) -> [u8; 4] {
    let ([a, b], [c, d]) = (size.columns.to_le_bytes(), size.rows.to_le_bytes());
    [a, b, c, d]
}
