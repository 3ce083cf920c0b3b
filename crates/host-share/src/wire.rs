//! Little-endian messages, read and written value by value: FUSE's (a little-endian guest's) and 9P's.

use rustix::io::Errno;

/// The rest of a request. What is not there is `EINVAL`.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of a request.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    /// The next so many bytes.
    ///
    /// # Errors
    /// `EINVAL` if there are fewer.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// The next byte.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub fn u8(&mut self) -> Result<u8, Errno> {
        self.array().map(u8::from_le_bytes)
    }

    /// The next two bytes.
    ///
    /// # Errors
    /// `EINVAL` if there are fewer.
    pub fn u16(&mut self) -> Result<u16, Errno> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes.
    ///
    /// # Errors
    /// `EINVAL` if there are fewer.
    pub fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    ///
    /// # Errors
    /// `EINVAL` if there are fewer.
    pub fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes up to a zero byte, which is passed over.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub fn text(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Errno::INVAL)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// Bytes behind a length of two.
    ///
    /// # Errors
    /// `EINVAL` if there are fewer.
    pub fn counted(&mut self) -> Result<&'a [u8], Errno> {
        let count = self.u16()?;
        self.bytes(count.into())
    }
}

/// A reply that is being written.
pub trait Output {
    /// Appends one byte.
    fn u8(&mut self, value: u8);
    /// Appends two bytes.
    fn u16(&mut self, value: u16);
    /// Appends four bytes.
    fn u32(&mut self, value: u32);
    /// Appends eight bytes.
    fn u64(&mut self, value: u64);
    /// Appends as they are.
    fn bytes(&mut self, bytes: &[u8]);
    /// Overwrites four bytes at `offset`, which have been written.
    fn set_u32(&mut self, offset: usize, value: u32);
}

impl Output for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn set_u32(&mut self, offset: usize, value: u32) {
        if let Some(place) = self.get_mut(offset..offset.saturating_add(4)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}
