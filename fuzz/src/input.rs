//! A fuzzer's bytes, taken one value at a time.

/// What is left of an input.
pub struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    /// All of `data`.
    pub fn new(data: &'d [u8]) -> Self {
        Input(data)
    }

    /// The next byte, if there is one.
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next two bytes, little-endian, if there are two.
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }
}
