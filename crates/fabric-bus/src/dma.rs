//! Device memory access: a handle per device, with room for an IOMMU between it and RAM.

use crate::Bus;
use fabric_ram::{GuestRam, Word};
use fabric_wire::{Message, MessageSink};
use std::ops::Range;
use std::sync::Arc;

/// Why a device's access was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaError {
    /// The remapper refused; it has recorded its fault.
    Refused,
    /// No RAM there. Device registers are no target of DMA: a write to another device is a new
    /// journey, posted by the caller.
    NotRam,
}

/// What an IOMMU does with a device's access: I/O virtual address to guest-physical address.
pub trait Remap: Send + Sync {
    /// Translates `iova` for `requester`. Returns the guest-physical address and how many bytes from
    /// there on the translation holds.
    ///
    /// # Errors
    /// [`DmaError::Refused`] if the access is not allowed.
    fn translate(&self, requester: u32, iova: u64, write: bool) -> Result<(u64, u64), DmaError>;
}

/// A device's way to memory.
#[derive(Clone)]
pub struct Dma {
    bus: Arc<Bus>,
    requester: u32,
    remap: Option<Arc<dyn Remap>>,
    /// The window whose 32-bit writes are messages: first address, size, and who takes them.
    messages: Option<(u64, u64, Arc<dyn MessageSink>)>,
}

impl Dma {
    /// Direct access to the RAM of `bus` as `requester`.
    pub fn new(bus: Arc<Bus>, requester: u32) -> Self {
        Dma { bus, requester, remap: None, messages: None }
    }

    /// The same, behind an IOMMU.
    pub fn behind(mut self, remap: Arc<dyn Remap>) -> Self {
        self.remap = Some(remap);
        self
    }

    /// The same, with a window where aligned 32-bit writes are interrupt messages.
    pub fn with_messages(mut self, base: u64, size: u64, sink: Arc<dyn MessageSink>) -> Self {
        self.messages = Some((base, size, sink));
        self
    }

    fn pieces(
        &self,
        iova: u64,
        len: usize,
        write: bool,
        mut f: impl FnMut(u64, std::ops::Range<usize>) -> Option<()>,
    ) -> Result<(), DmaError> {
        let mut done = 0usize;
        while done < len {
            let at = iova.checked_add(done as u64).ok_or(DmaError::NotRam)?;
            let left = (len - done) as u64;
            let (address, run) = match &self.remap {
                None => (at, left),
                Some(remap) => remap.translate(self.requester, at, write)?,
            };
            let run = run.min(left).max(1);
            let offset = self.bus.ram_range(address, run, write).ok_or(DmaError::NotRam)?;
            f(offset, done..done + run as usize).ok_or(DmaError::NotRam)?;
            done += run as usize;
        }
        Ok(())
    }

    /// The memory that [`Dma::ranges`] speaks of.
    pub fn ram(&self) -> &Arc<GuestRam> {
        self.bus.ram()
    }

    /// Where in the RAM arena an access of `len` bytes goes, in order, for transfers that the host does by itself. Whoever
    /// lets it write there calls [`GuestRam::written_range`] behind it.
    ///
    /// # Errors
    /// See [`DmaError`].
    pub fn ranges(
        &self,
        iova: u64,
        len: usize,
        write: bool,
        mut take: impl FnMut(Range<u64>),
    ) -> Result<(), DmaError> {
        self.pieces(iova, len, write, |offset, range| {
            take(offset..offset + range.len() as u64);
            Some(())
        })
    }

    /// Loads a naturally aligned word in one access; what else it is ordered with, the caller says with a fence.
    ///
    /// # Errors
    /// See [`DmaError`]; a misaligned word is no RAM.
    pub fn load<T: Word>(&self, iova: u64) -> Result<T, DmaError> {
        let mut word = None;
        self.pieces(iova, size_of::<T>(), false, |offset, _| {
            word = self.bus.ram().load(offset);
            word.map(drop)
        })?;
        word.ok_or(DmaError::NotRam)
    }

    /// Stores a naturally aligned word in one access, as [`Dma::load`] loads it.
    ///
    /// # Errors
    /// See [`DmaError`]; a misaligned word is no RAM.
    pub fn store<T: Word>(&self, iova: u64, value: T) -> Result<(), DmaError> {
        let ram = self.bus.ram();
        self.pieces(iova, size_of::<T>(), true, |offset, _| {
            ram.store(offset, value)?;
            ram.written(offset);
            Some(())
        })
    }

    /// Reads guest memory into `bytes`.
    ///
    /// # Errors
    /// See [`DmaError`]; bytes before the failing piece have been read.
    pub fn read(&self, iova: u64, bytes: &mut [u8]) -> Result<(), DmaError> {
        let ram = self.bus.ram();
        let len = bytes.len();
        self.pieces(iova, len, false, |offset, range| ram.copy_out(offset, bytes.get_mut(range)?))
    }

    /// Writes `bytes` to guest memory, or delivers them as a message.
    ///
    /// # Errors
    /// See [`DmaError`]; bytes before the failing piece have been written.
    pub fn write(&self, iova: u64, bytes: &[u8]) -> Result<(), DmaError> {
        if let (Some((base, size, sink)), Ok(data)) = (&self.messages, <[u8; 4]>::try_from(bytes))
            && iova.wrapping_sub(*base) < *size
            && iova.is_multiple_of(4)
        {
            let data = u32::from_le_bytes(data);
            sink.deliver(Message { address: iova, data, requester: self.requester });
            return Ok(());
        }
        let ram = self.bus.ram();
        self.pieces(iova, bytes.len(), true, |offset, range| ram.copy_in(offset, bytes.get(range)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BusBuilder;
    use fabric_ram::{GuestRam, PAGE};
    use std::sync::Mutex;

    fn bus() -> Arc<Bus> {
        let mut b = BusBuilder::new(Arc::new(GuestRam::new(2 * PAGE).unwrap()));
        b.ram("ram", 0x8000_0000, 2 * PAGE, 0, true).unwrap();
        Arc::new(b.build())
    }

    /// Swaps the two pages, refuses everything else, and forbids writes to the second.
    struct Swap;
    impl Remap for Swap {
        fn translate(&self, requester: u32, iova: u64, write: bool) -> Result<(u64, u64), DmaError> {
            if requester != 9 || iova >= 2 * PAGE || (write && iova >= PAGE) {
                return Err(DmaError::Refused);
            }
            Ok((0x8000_0000 + (iova ^ PAGE), PAGE - iova % PAGE))
        }
    }

    #[test]
    fn an_access_that_crosses_translations_is_split() {
        let bus = bus();
        bus.ram().copy_in(0, b"zw").unwrap();
        bus.ram().copy_in(2 * PAGE - 2, b"xy").unwrap();
        let dma = Dma::new(Arc::clone(&bus), 9).behind(Arc::new(Swap));
        let mut four = [0; 4];
        dma.read(PAGE - 2, &mut four).unwrap();
        assert_eq!(&four, b"xyzw");
        assert_eq!(dma.write(PAGE, b"a"), Err(DmaError::Refused));
        assert_eq!(Dma::new(bus, 8).behind(Arc::new(Swap)).read(0, &mut four), Err(DmaError::Refused));
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        let dma = Dma::new(bus(), 0);
        assert_eq!(dma.read(0x8000_0000 + 2 * PAGE - 1, &mut [0; 2]), Err(DmaError::NotRam));
        assert_eq!(dma.write(u64::MAX, &[0; 2]), Err(DmaError::NotRam));
    }

    #[test]
    fn words_are_one_access_and_mark_their_page() {
        let bus = bus();
        let dma = Dma::new(Arc::clone(&bus), 0);
        bus.ram().dirty().take();
        dma.store(0x8000_0000 + PAGE + 8, 0x1234_5678u32).unwrap();
        assert_eq!(dma.load::<u16>(0x8000_0000 + PAGE + 10), Ok(0x1234));
        assert_eq!(bus.ram().dirty().take(), [1]);
        assert_eq!(dma.load::<u16>(0x8000_0001), Err(DmaError::NotRam));
        assert_eq!(dma.load::<u64>(0x8000_0000 + 2 * PAGE - 4), Err(DmaError::NotRam));
        assert_eq!(dma.store(0x7fff_fff8, 0u64), Err(DmaError::NotRam));
    }

    #[test]
    fn ranges_say_where_in_the_arena() {
        let dma = Dma::new(bus(), 9).behind(Arc::new(Swap));
        let mut ranges = Vec::new();
        dma.ranges(PAGE - 16, 32, false, |range| ranges.push(range)).unwrap();
        assert_eq!(ranges, [2 * PAGE - 16..2 * PAGE, 0..16]);
        assert_eq!(dma.ranges(PAGE - 16, 32, true, |_| ()), Err(DmaError::Refused));
    }

    #[test]
    fn a_write_to_the_window_is_a_message() {
        #[derive(Default)]
        struct Box(Mutex<Vec<Message>>);
        impl MessageSink for Box {
            fn deliver(&self, message: Message) {
                self.0.lock().unwrap().push(message);
            }
        }
        let sink = Arc::new(Box::default());
        let dma = Dma::new(bus(), 3).with_messages(0x2800_0000, 0x1000, Arc::clone(&sink) as _);
        dma.write(0x2800_0010, &7u32.to_le_bytes()).unwrap();
        assert_eq!(*sink.0.lock().unwrap(), vec![Message { address: 0x2800_0010, data: 7, requester: 3 }]);
        assert_eq!(dma.write(0x2800_0010, &[1, 2]), Err(DmaError::NotRam));
    }
}
