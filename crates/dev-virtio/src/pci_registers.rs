//! The registers of the common configuration structure (section 4.1.4.3), which are of many widths.

use dev_core::registers;

registers! {
    /// Section 4.1.4.3, `struct virtio_pci_common_cfg`. Fields of 64 bits are two registers here.
    pub(crate) enum Common {
        0x00 DeviceFeatureSelect RW {}
        0x04 DeviceFeature RO {}
        0x08 DriverFeatureSelect RW {}
        0x0c DriverFeature RW {}
        0x10 ConfigMsixVector RW {}
        0x12 NumQueues RO {}
        0x14 DeviceStatus RW {}
        0x15 ConfigGeneration RO {}
        0x16 QueueSelect RW {}
        0x18 QueueSize RW {}
        0x1a QueueMsixVector RW {}
        0x1c QueueEnable RW {}
        0x1e QueueNotifyOff RO {}
        0x20 QueueDescLow RW {}
        0x24 QueueDescHigh RW {}
        0x28 QueueDriverLow RW {}
        0x2c QueueDriverHigh RW {}
        0x30 QueueDeviceLow RW {}
        0x34 QueueDeviceHigh RW {}
        0x38 QueueNotifyData RO {}
        0x3a QueueReset RW {}
    }
}

impl Common {
    /// Bytes of the structure.
    pub const END: u64 = 0x3c;

    /// Bytes of a register: as many as there are up to the next, as there are no gaps.
    pub fn width(self) -> u64 {
        let offset = self as u64;
        let next = Common::ALL.iter().map(|row| row.offset).find(|next| *next > offset);
        next.unwrap_or(Common::END) - offset
    }

    /// Whether it is the lower half of a field of 64 bits.
    pub fn is_low(self) -> bool {
        matches!(self, Common::QueueDescLow | Common::QueueDriverLow | Common::QueueDeviceLow)
    }
}

/// Reads any part of the structure, of whose registers `value` gives the values; nothing behind its end.
pub(crate) fn read_common(offset: u64, size: u8, value: impl Fn(Common) -> u64) -> u64 {
    let mut read = 0;
    for row in Common::ALL {
        let Some(register) = Common::at(row.offset) else { continue };
        let end = row.offset + register.width();
        if end <= offset || row.offset >= offset + u64::from(size) {
            continue;
        }
        let value = value(register);
        read |= match row.offset.checked_sub(offset) {
            Some(later) => value << (8 * later),
            None => value >> (8 * (offset - row.offset)),
        };
    }
    read & u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_as_wide_as_the_structure_has_them() {
        let wide = |width| Common::ALL.iter().filter(move |r| Common::at(r.offset).unwrap().width() == width);
        let names: Vec<_> = wide(1).map(|row| row.name).collect();
        assert_eq!(names, ["DeviceStatus", "ConfigGeneration"]);
        assert_eq!((wide(2).count(), wide(4).count()), (9, 10));
    }

    #[test]
    fn any_part_of_the_structure_is_read() {
        // Each byte is its offset.
        let value = |register: Common| {
            let all = (0..register.width()).map(|n| (register as u64 + n) << (8 * n));
            all.sum()
        };
        for offset in 0..0x48 {
            for size in [1, 2, 4, 8] {
                let byte = |n: u64| if offset + n < Common::END { (offset + n) << (8 * n) } else { 0 };
                let expected: u64 = (0..u64::from(size)).map(byte).sum();
                assert_eq!(read_common(offset, size, value), expected, "{size} bytes at {offset:#x}");
            }
        }
    }
}
