//! What can be asked for: items by key, some of them files by name in a directory, which is an item, too.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys of items (specification, "Selector (Control) Register" and "Configuration Items"; those that it does not list are
/// in Linux's `include/uapi/linux/qemu_fw_cfg.h`, or what EDK2 and U-Boot call them).
pub mod key {
    /// "QEMU": four characters.
    pub const SIGNATURE: u16 = 0x00;
    /// Features: 32 bits, little-endian, as all numbers but the directory's.
    pub const ID: u16 = 0x01;
    /// The machine's UUID: 16 bytes.
    pub const UUID: u16 = 0x02;
    /// Bytes of RAM: 64 bits.
    pub const RAM_SIZE: u16 = 0x03;
    /// Number of processors: 16 bits.
    pub const NB_CPUS: u16 = 0x05;
    /// Bytes of the kernel: 32 bits.
    pub const KERNEL_SIZE: u16 = 0x08;
    /// Bytes of the initial RAM disk: 32 bits.
    pub const INITRD_SIZE: u16 = 0x0b;
    /// Most processors there can be: 16 bits.
    pub const MAX_CPUS: u16 = 0x0f;
    /// The kernel.
    pub const KERNEL_DATA: u16 = 0x11;
    /// The initial RAM disk.
    pub const INITRD_DATA: u16 = 0x12;
    /// Bytes of the kernel's command line with its terminator: 32 bits.
    pub const CMDLINE_SIZE: u16 = 0x14;
    /// The kernel's command line, terminated.
    pub const CMDLINE_DATA: u16 = 0x15;
    /// The directory: how many files there are, then their entries, big-endian.
    pub const FILE_DIR: u16 = 0x19;
    /// Files have the keys from here on.
    pub const FILE_FIRST: u16 = 0x20;
}

/// Bits of the item `ID`: the registers for selecting and reading, and those for DMA.
const TRADITIONAL: u32 = 1 << 0;
const DMA: u32 = 1 << 1;

/// Bytes of a directory entry's name, terminator included.
const NAME: usize = 56;

/// All items of a machine.
#[derive(Clone, Debug)]
pub struct Items {
    by_key: BTreeMap<u16, Arc<[u8]>>,
    /// The files' names, by their order.
    names: Vec<String>,
}

impl Default for Items {
    /// The items that are always there.
    fn default() -> Self {
        let items = Items { by_key: BTreeMap::new(), names: Vec::new() };
        items.with(key::SIGNATURE, *b"QEMU").with(key::ID, (TRADITIONAL | DMA).to_le_bytes()).directory()
    }
}

impl Items {
    /// The same with an item, in place of the one of that key if there is one.
    #[must_use]
    pub fn with(mut self, key: u16, bytes: impl Into<Arc<[u8]>>) -> Items {
        self.by_key.insert(key, bytes.into());
        self
    }

    /// The same with a further file. Names are ASCII of at most 55 characters; what is longer is cut.
    #[must_use]
    pub fn with_file(mut self, name: &str, bytes: impl Into<Arc<[u8]>>) -> Items {
        let key = key::FILE_FIRST.saturating_add(self.names.len() as u16);
        self.names.push(name.to_owned());
        self.with(key, bytes).directory()
    }

    /// Writes the directory anew.
    fn directory(self) -> Items {
        let mut bytes = (self.names.len() as u32).to_be_bytes().to_vec();
        for (key, name) in (key::FILE_FIRST..).zip(&self.names) {
            let len = self.get(key).map_or(0, <[u8]>::len);
            bytes.extend((len as u32).to_be_bytes());
            bytes.extend(key.to_be_bytes());
            bytes.extend([0; 2]);
            let name = name.bytes().take(NAME - 1).chain(std::iter::repeat(0)).take(NAME);
            bytes.extend(name);
        }
        self.with(key::FILE_DIR, bytes)
    }

    /// The bytes of an item.
    pub fn get(&self, key: u16) -> Option<&[u8]> {
        self.by_key.get(&key).map(|bytes| &**bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_and_the_features_are_always_there() {
        let items = Items::default();
        assert_eq!(items.get(key::SIGNATURE), Some(&b"QEMU"[..]));
        assert_eq!(items.get(key::ID), Some(&[3, 0, 0, 0][..]));
        assert_eq!(items.get(key::FILE_DIR), Some(&[0; 4][..]));
        assert_eq!(items.get(key::RAM_SIZE), None);
    }

    #[test]
    fn files_are_in_the_directory_and_have_keys() {
        let long = "n".repeat(80);
        let items = Items::default().with_file("etc/a", *b"12345").with_file(&long, [9; 300]);
        assert_eq!((items.get(0x20), items.get(0x21)), (Some(&b"12345"[..]), Some(&[9; 300][..])));
        let directory = items.get(key::FILE_DIR).unwrap();
        assert_eq!(directory.len(), 4 + 2 * 64);
        assert_eq!(directory[..12], [0, 0, 0, 2, 0, 0, 0, 5, 0, 0x20, 0, 0]);
        assert_eq!(directory[12..18], *b"etc/a\0");
        assert_eq!(directory[68..76], [0, 0, 1, 0x2c, 0, 0x21, 0, 0]);
        assert_eq!(directory[76..], [vec![b'n'; 55], vec![0]].concat());
    }
}
