//! The configuration space of one function: 4 KiB of bytes, each bit with what software can do to it.
//!
//! Source: PCI Express Base Specification, 7.2 (4 KiB for each function, byte enables, so that accesses of one, two and
//! four bytes inside a doubleword are all legal), 7.4 (types of field).

use crate::fields::{Access, Bits, Register};

/// Bytes of configuration space.
pub(crate) const SIZE: u64 = 4096;

/// Bytes of one kind.
type Bytes = Box<[u8; SIZE as usize]>;

/// A configuration space.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSpace {
    now: Bytes,
    reset: Bytes,
    /// Bits that software writes.
    writable: Bytes,
    /// Bits that software clears by writing a one.
    clearable: Bytes,
    /// Bits that the function alone changes.
    status: Bytes,
}

fn zeroes() -> Bytes {
    Box::new([0; SIZE as usize])
}

/// Replaces the bits of `mask` in the (up to four) bytes from `at` on.
fn put(bytes: &mut Bytes, at: u16, mask: u32, value: u32) {
    let bits = mask.to_le_bytes().into_iter().zip(value.to_le_bytes());
    for (byte, (mask, value)) in bytes.iter_mut().skip(usize::from(at)).zip(bits) {
        *byte = *byte & !mask | value & mask;
    }
}

fn get(bytes: &Bytes, at: u16) -> u32 {
    let four = bytes.iter().skip(usize::from(at)).take(4).enumerate();
    four.fold(0, |word, (n, byte)| word | u32::from(*byte) << (8 * n))
}

impl ConfigSpace {
    /// All of it reserved.
    pub fn new() -> Self {
        let [now, reset, writable, clearable, status] = std::array::from_fn(|_| zeroes());
        ConfigSpace { now, reset, writable, clearable, status }
    }

    /// Adds a table at `at`.
    pub fn add(&mut self, at: u16, table: &[Register]) {
        for register in table {
            for field in register.fields {
                let bits = Bits { offset: at + register.offset, high: field.high, low: field.low };
                match field.access {
                    Access::RO => {}
                    Access::RW => put(&mut self.writable, bits.offset, bits.mask(), u32::MAX),
                    Access::RW1C => put(&mut self.clearable, bits.offset, bits.mask(), u32::MAX),
                    Access::Status => put(&mut self.status, bits.offset, bits.mask(), u32::MAX),
                }
                self.preset(bits, field.reset);
            }
        }
    }

    /// Gives a field its value after reset, and now.
    pub fn preset(&mut self, bits: Bits, value: u32) {
        put(&mut self.reset, bits.offset, bits.mask(), value << bits.low);
        self.set(bits, value);
    }

    /// Makes bits of a field writable.
    pub fn make_writable(&mut self, bits: Bits, writable: u32) {
        put(&mut self.writable, bits.offset, bits.mask() & writable << bits.low, u32::MAX);
    }

    /// A field.
    pub fn get(&self, bits: Bits) -> u32 {
        (get(&self.now, bits.offset) & bits.mask()) >> bits.low
    }

    /// Whether a field of one bit is set.
    pub fn is_set(&self, bits: Bits) -> bool {
        self.get(bits) != 0
    }

    /// Changes a field, as the function does, whatever software can do to it.
    pub fn set(&mut self, bits: Bits, value: u32) {
        put(&mut self.now, bits.offset, bits.mask(), value << bits.low);
    }

    /// Reads up to four bytes.
    pub fn read(&self, at: u16, size: u8) -> u32 {
        get(&self.now, at) & lanes(size)
    }

    /// Writes up to four bytes, as software does.
    pub fn write(&mut self, at: u16, size: u8, value: u32) {
        let enabled = lanes(size);
        let cleared = get(&self.clearable, at) & value & enabled;
        put(&mut self.now, at, cleared, 0);
        put(&mut self.now, at, get(&self.writable, at) & enabled, value);
    }

    /// Back to the values after reset.
    pub fn reset(&mut self) {
        self.now.clone_from(&self.reset);
    }

    /// The doublewords that are not as after reset: offset and value.
    pub fn changes(&self) -> Vec<(u16, u32)> {
        let words = (0..SIZE as u16).step_by(4).map(|at| (at, get(&self.now, at)));
        words.filter(|&(at, word)| word != get(&self.reset, at)).collect()
    }

    /// The space as [`ConfigSpace::changes`] has told it; `None` if it cannot be in that state.
    pub fn changed(&self, changes: &[(u16, u32)]) -> Option<ConfigSpace> {
        let mut space = self.clone();
        space.reset();
        for &(at, word) in changes {
            let free = get(&self.writable, at) | get(&self.clearable, at) | get(&self.status, at);
            if u64::from(at) >= SIZE || at % 4 != 0 || (word ^ get(&self.reset, at)) & !free != 0 {
                return None;
            }
            put(&mut space.now, at, u32::MAX, word);
        }
        Some(space)
    }
}

/// The bits that an access of `size` bytes reaches.
pub(crate) fn lanes(size: u8) -> u32 {
    match size {
        1 => 0xff,
        2 => 0xffff,
        3 => 0xff_ffff,
        _ => u32::MAX,
    }
}
