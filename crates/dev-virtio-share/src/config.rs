//! What the devices say of themselves: features, queues and configuration space.

use dev_virtio::{Identity, feature};
use host_share::Protocol;

/// Most bytes of a tag: virtio-fs's field (section 5.11.4); the same for 9P, so that a tag is one whatever carries it.
pub const MOST_TAG: usize = 36;
/// Descriptors of each queue. Linux asks for no more pages at once than a queue has descriptors, less four.
pub const QUEUE_SIZE: u16 = 128;
/// Most request queues.
const MOST_QUEUES: u16 = 16;
/// VIRTIO_9P_F_MOUNT_TAG: the configuration space has a tag.
const MOUNT_TAG: u64 = 1;

/// What the device is whose folder the guest knows as `tag`, of which [`MOST_TAG`] bytes count, in a machine of so many processors.
///
/// The file system device has a queue for each processor, behind the one for what must not wait (section 5.11.2). It does not
/// offer VIRTIO_FS_F_NOTIFICATION: the server never speaks first.
pub fn identity(protocol: Protocol, tag: &str, processors: u32) -> Identity {
    let tag = tag.as_bytes().get(..MOST_TAG).unwrap_or(tag.as_bytes());
    let common = feature::USUAL | feature::RING_PACKED;
    match protocol {
        Protocol::Fuse => {
            let count = u16::try_from(processors).unwrap_or(MOST_QUEUES).clamp(1, MOST_QUEUES);
            let mut config = tag.to_vec();
            config.resize(MOST_TAG, 0);
            config.extend(u32::from(count).to_le_bytes());
            let queues = vec![QUEUE_SIZE; 1 + usize::from(count)];
            Identity { id: 26, features: common, queues, config, writable: Vec::new() }
        }
        Protocol::Nine => {
            let mut config = (tag.len() as u16).to_le_bytes().to_vec();
            config.extend(tag);
            let queues = vec![QUEUE_SIZE];
            Identity { id: 9, features: common | MOUNT_TAG, queues, config, writable: Vec::new() }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_tag_stands_where_the_driver_looks() {
        let fs = identity(Protocol::Fuse, "share", 2);
        assert_eq!((fs.id, fs.queues.len(), fs.config.len()), (26, 3, 40));
        assert_eq!(&fs.config[..7], b"share\0\0");
        assert_eq!(fs.config[36..], 2u32.to_le_bytes());
        let nine = identity(Protocol::Nine, "share", 2);
        assert_eq!((nine.id, nine.queues.len()), (9, 1));
        assert_eq!(nine.config, b"\x05\0share");
        assert!(nine.features & 1 != 0 && fs.features & 1 == 0, "notifications are not offered");
    }

    #[test]
    fn what_is_too_much_is_cut() {
        let long = "t".repeat(40);
        assert_eq!(identity(Protocol::Fuse, &long, 0).config[30..40], *b"tttttt\x01\0\0\0");
        assert_eq!(identity(Protocol::Fuse, &long, 4096).queues.len(), 17);
        assert_eq!(identity(Protocol::Nine, &long, 1).config.len(), 2 + 36);
    }
}
