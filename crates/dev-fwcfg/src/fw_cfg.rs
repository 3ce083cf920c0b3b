//! The device: a selector, a byte stream of the selected item, and requests for DMA.
//!
//! Source: specification, "Register Locations", "Data Register" (bytes in their order whatever the access's width) and
//! "DMA Interface". All numbers that the guest gives are big-endian.

use crate::items::{Items, key};
use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_bus::Dma;
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address, as on ARM's and RISC-V's boards.
    pub enum Reg {
        0x00 Data RO {}
        0x08 Selector WO {}
        0x10 DmaAddressHigh RW {}
        0x14 DmaAddressLow RW {}
    }
}

/// What the register of the DMA address reads as.
const DMA_SIGNATURE: &[u8; 8] = b"QEMU CFG";
/// Bit of the selector that asks to write an item, which makes no difference to which it is.
const WRITE_CHANNEL: u16 = 1 << 14;

/// Bits of a request's control word; its upper half is a key.
mod control {
    pub const ERROR: u32 = 1 << 0;
    pub const READ: u32 = 1 << 1;
    pub const SKIP: u32 = 1 << 2;
    pub const SELECT: u32 = 1 << 3;
    pub const WRITE: u32 = 1 << 4;
}

/// Bytes of a request: control word, length, address.
const REQUEST: usize = 16;
/// How many bytes behind an item's end one request may ask for. They read as zeroes, and a driver that knows an item's size
/// asks for none; without an end, a request could keep the device busy with gigabytes of them.
const MOST_PADDING: u64 = 1 << 20;
/// Zeroes are written so many at a time.
const ZEROES: [u8; 4096] = [0; 4096];

// ---- state ----

/// The device.
#[derive(Clone, Debug)]
pub struct FwCfg {
    items: Items,
    key: u16,
    /// The next byte of the item.
    offset: u64,
    dma_high: u32,
    /// Address of a request that is to be served.
    request: Option<u64>,
}

/// A request for DMA.
struct Request {
    control: u32,
    length: u64,
    address: u64,
}

impl Request {
    fn parse(bytes: &[u8; REQUEST]) -> Request {
        let whole = u128::from_be_bytes(*bytes);
        Request {
            control: (whole >> 96) as u32,
            length: (whole >> 64) as u64 & 0xffff_ffff,
            address: whole as u64,
        }
    }
}

/// A request that was not done; its control word says so.
struct Refused;

impl FwCfg {
    /// A device with these items.
    pub fn new(items: Items) -> Self {
        FwCfg { items, key: key::SIGNATURE, offset: 0, dma_high: 0, request: None }
    }

    fn select(&mut self, key: u16) {
        self.key = key & !WRITE_CHANNEL;
        self.offset = 0;
    }

    /// What is left of the selected item; nothing if there is none.
    fn rest(&self) -> &[u8] {
        let item = self.items.get(self.key).unwrap_or_default();
        item.get(self.offset as usize..).unwrap_or_default()
    }

    /// The next bytes of the item in the order of memory, with zeroes behind its end.
    fn stream(&mut self, size: u8) -> u64 {
        let rest = self.rest();
        let taken = rest.len().min(usize::from(size));
        let value = rest.iter().take(taken).rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        self.offset += taken as u64;
        value
    }

    /// Serves the request that was made, if there is one, with the memory that `dma` reaches.
    pub fn serve(&mut self, dma: &Dma) {
        let Some(at) = self.request.take() else { return };
        let mut bytes = [0; REQUEST];
        let done = match dma.read(at, &mut bytes) {
            Ok(()) => self.transfer(&Request::parse(&bytes), dma),
            Err(_) => Err(Refused),
        };
        let result = if done.is_ok() { 0 } else { control::ERROR };
        // Where there is no memory, there is nobody to be told.
        let _ = dma.write(at, &result.to_be_bytes());
    }

    fn transfer(&mut self, request: &Request, dma: &Dma) -> Result<(), Refused> {
        let Request { control, length, address } = *request;
        if control & control::SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        if control & control::READ != 0 {
            self.read_to(address, length, dma)
        } else if control & control::WRITE != 0 {
            Err(Refused)
        } else {
            if control & control::SKIP != 0 {
                self.offset += length.min(self.rest().len() as u64);
            }
            Ok(())
        }
    }

    /// Writes the next `length` bytes of the item to memory: all of them or none.
    fn read_to(&mut self, address: u64, length: u64, dma: &Dma) -> Result<(), Refused> {
        let rest = self.rest();
        let own = length.min(rest.len() as u64);
        if length - own > MOST_PADDING {
            return Err(Refused);
        }
        let refused = |_| Refused;
        dma.ranges(address, length as usize, true, |_| ()).map_err(refused)?;
        dma.write(address, rest.get(..own as usize).unwrap_or_default()).map_err(refused)?;
        let mut done = own;
        while done < length {
            let now = (length - done).min(ZEROES.len() as u64);
            let zeroes = ZEROES.get(..now as usize).unwrap_or_default();
            dma.write(address + done, zeroes).map_err(refused)?;
            done += now;
        }
        self.offset += own;
        Ok(())
    }
}

impl Device for FwCfg {
    const NAME: &'static str = "fw-cfg";
    const VERSION: u32 = 1;
    type Saved = saved::FwCfgV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        match offset {
            0 => Ok(self.stream(size)),
            0x10..0x18 => {
                let from = (offset - 0x10) as usize;
                let bytes = DMA_SIGNATURE.get(from..from + usize::from(size)).ok_or(NoRegister)?;
                Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
            }
            _ => Err(NoRegister),
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        match (offset, size) {
            // Items cannot be written by this register any more (specification, "Data Register").
            (0, _) => {}
            (8, 2) => self.select((value as u16).swap_bytes()),
            (0x10, 4) => self.dma_high = (value as u32).swap_bytes(),
            (0x14, 4) => {
                let low = (value as u32).swap_bytes();
                self.request = Some(u64::from(self.dma_high) << 32 | u64::from(low));
                self.dma_high = 0;
            }
            (0x10, 8) => {
                self.request = Some(value.swap_bytes());
                self.dma_high = 0;
            }
            _ => return Err(NoRegister),
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn reset(&mut self, _now: Nanos) {
        *self = FwCfg::new(self.items.clone());
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(self)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        saved::into_state(saved, self);
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::FwCfg;
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order. The items are the machine's.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct FwCfgV1 {
        /// Key of the selected item.
        pub key: u16,
        /// The next byte of it.
        pub offset: u64,
        /// The upper half of a DMA address whose lower half is to come.
        pub dma_high: u32,
        /// Address of a request that is to be served.
        pub request: Option<u64>,
    }

    pub(super) fn from_state(state: &FwCfg) -> FwCfgV1 {
        let FwCfg { items: _, key, offset, dma_high, request } = *state;
        FwCfgV1 { key, offset, dma_high, request }
    }

    pub(super) fn into_state(saved: FwCfgV1, state: &mut FwCfg) {
        let FwCfgV1 { key, offset, dma_high, request } = saved;
        (state.key, state.dma_high, state.request) = (key, dma_high, request);
        // An item may be shorter here than where the state comes from.
        let len = state.items.get(key).map_or(0, |item| item.len() as u64);
        state.offset = offset.min(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> FwCfg {
        FwCfg::new(Items::default().with(key::RAM_SIZE, 0x1_2345_6789_u64.to_le_bytes()))
    }

    fn select(d: &mut FwCfg, key: u16) {
        d.write(8, 2, u64::from(key.swap_bytes()), 0).unwrap();
    }

    #[test]
    fn bytes_come_in_their_order_whatever_the_width() {
        let mut d = device();
        assert_eq!(d.read(0, 4, 0), Ok(u64::from(u32::from_le_bytes(*b"QEMU"))), "selected by power-on");
        select(&mut d, key::RAM_SIZE);
        assert_eq!(d.read(0, 8, 0), Ok(0x1_2345_6789));
        select(&mut d, key::RAM_SIZE);
        let widths = [1, 2, 4, 2].map(|size| d.read(0, size, 0).unwrap());
        assert_eq!(widths, [0x89, 0x4567, 0x123, 0], "a byte is left, and a zero behind it");
        assert_eq!(d.read(0, 8, 0), Ok(0));
    }

    #[test]
    fn what_there_is_not_reads_as_zeroes() {
        let mut d = device();
        for key in [0x1234, 0x8000, 0xffff, key::KERNEL_DATA] {
            select(&mut d, key);
            assert_eq!(d.read(0, 4, 0), Ok(0));
        }
        select(&mut d, key::SIGNATURE | WRITE_CHANNEL);
        assert_eq!(d.read(0, 1, 0), Ok(u64::from(b'Q')));
    }

    #[test]
    fn registers_take_the_widths_of_the_specification() {
        let mut d = device();
        assert_eq!(d.read(0x10, 8, 0), Ok(u64::from_le_bytes(*b"QEMU CFG")));
        assert_eq!(d.read(0x14, 4, 0), Ok(u64::from(u32::from_le_bytes(*b" CFG"))));
        for (offset, size) in [(8, 2), (1, 1), (0x18, 4), (4, 4)] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister), "{offset:#x}");
        }
        for (offset, size) in [(8, 1), (8, 4), (0x10, 2), (0x14, 8), (4, 4), (0x18, 4)] {
            assert_eq!(d.write(offset, size, 0, 0), Err(NoRegister), "{offset:#x}");
        }
        assert_eq!(d.write(0, 4, 0, 0), Ok(()), "and nothing comes of it");
        assert_eq!(d.read(0, 1, 0), Ok(u64::from(b'Q')));
    }

    #[test]
    fn a_reset_keeps_the_items_and_nothing_else() {
        let mut d = device();
        select(&mut d, key::RAM_SIZE);
        d.write(0x10, 8, 1, 0).unwrap();
        d.reset(0);
        assert_eq!(d.save(), device().save());
        assert_eq!(d.items.get(key::RAM_SIZE), device().items.get(key::RAM_SIZE));
    }

    #[test]
    fn state_of_a_machine_with_longer_items_is_taken() {
        let mut d = device();
        d.restore(saved::FwCfgV1 { key: key::SIGNATURE, offset: u64::MAX, dma_high: 0, request: None })
            .unwrap();
        assert_eq!((d.read(0, 8, 0), d.save().offset), (Ok(0), 4));
    }
}
