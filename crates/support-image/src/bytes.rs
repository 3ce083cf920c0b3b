//! Bounds-checked reads of fixed-endian integers from a byte slice.

/// The `N` bytes at `offset`, or `None` where the slice ends before them.
pub fn array<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// Little-endian 16-bit value at `offset`.
pub fn le16(data: &[u8], offset: usize) -> Option<u16> {
    array(data, offset).map(u16::from_le_bytes)
}

/// Little-endian 32-bit value at `offset`.
pub fn le32(data: &[u8], offset: usize) -> Option<u32> {
    array(data, offset).map(u32::from_le_bytes)
}

/// Little-endian 64-bit value at `offset`.
pub fn le64(data: &[u8], offset: usize) -> Option<u64> {
    array(data, offset).map(u64::from_le_bytes)
}

/// Big-endian 32-bit value at `offset`.
pub fn be32(data: &[u8], offset: usize) -> Option<u32> {
    array(data, offset).map(u32::from_be_bytes)
}

/// Big-endian 64-bit value at `offset`.
pub fn be64(data: &[u8], offset: usize) -> Option<u64> {
    array(data, offset).map(u64::from_be_bytes)
}
