//! Wide accesses to devices whose registers are bytes.

use crate::NoRegister;

/// A read of `size` bytes as one of each byte in turn, lowest offset first: what the bridge to a bus
/// of eight bits makes of it.
///
/// # Errors
/// [`NoRegister`] if any of them has no register; the ones before it have been read.
pub fn read_bytes(
    offset: u64,
    size: u8,
    mut read: impl FnMut(u64) -> Result<u8, NoRegister>,
) -> Result<u64, NoRegister> {
    (0..u64::from(size)).try_fold(0, |value, n| {
        let byte = read(offset.checked_add(n).ok_or(NoRegister)?)?;
        Ok(value | u64::from(byte) << (8 * n))
    })
}

/// A write of `size` bytes as one of each byte in turn, lowest offset first.
///
/// # Errors
/// [`NoRegister`] if any of them has no register; the ones before it have been written.
pub fn write_bytes(
    offset: u64,
    size: u8,
    value: u64,
    mut write: impl FnMut(u64, u8) -> Result<(), NoRegister>,
) -> Result<(), NoRegister> {
    (0..u64::from(size)).try_for_each(|n| {
        let at = offset.checked_add(n).ok_or(NoRegister)?;
        write(at, (value >> (8 * n)) as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_access_is_its_bytes_from_the_lowest_offset_on() {
        let mut seen = Vec::new();
        write_bytes(2, 4, 0x4433_2211, |at, byte| {
            seen.push((at, byte));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(2, 0x11), (3, 0x22), (4, 0x33), (5, 0x44)]);
        assert_eq!(read_bytes(2, 2, |at| Ok(at as u8)), Ok(0x0302));
        let one = |at| if at == 0 { Ok(7) } else { Err(NoRegister) };
        assert_eq!(read_bytes(0, 1, one), Ok(7));
        assert_eq!(read_bytes(0, 2, one), Err(NoRegister));
        assert_eq!(read_bytes(u64::MAX, 2, |_| Ok(0)), Err(NoRegister));
    }
}
