//! The device at work.

use dev_virtio::{Backend, Broken, Chain, Desk, Identity, feature, ranges};
use fabric_ram::GuestRam;
use std::io;
use std::ops::Range;

/// VIRTIO_BALLOON_F_DEFLATE_ON_OOM: the driver takes pages out before it runs out of memory.
pub(crate) const DEFLATE_ON_OOM: u64 = 1 << 2;
/// VIRTIO_BALLOON_F_REPORTING: the driver says which pages are free.
pub(crate) const REPORTING: u64 = 1 << 5;
/// Bytes of a page of the balloon (section 5.5.6).
const PAGE: u64 = 4096;
/// Bytes of a page's number.
const NUMBER: usize = 4;
/// Pages into the balloon.
pub(crate) const INFLATE: usize = 0;
/// Pages out of it.
pub(crate) const DEFLATE: usize = 1;
/// Queues that there can be. Behind the first two come statistics, hints and reports, of which there are only reports: in the
/// specification at their own number, in drivers and other devices at the next that is free, so that all of the rest are.
pub(crate) const QUEUES: usize = 5;
/// Descriptors of a queue; Linux wants 32 at least to report.
const QUEUE_SIZE: u16 = 128;
/// Most numbers of one request that are looked at; Linux gives 256. What is behind stays the guest's.
pub(crate) const MOST: usize = 1024;

/// Told when the host does not take pages back.
type Trouble = Box<dyn Fn(&io::Error) + Send>;

/// What the device is, with so many bytes that the driver is to put into the balloon at its start.
pub fn identity(bytes: u64) -> Identity {
    let pages = u32::try_from(bytes / PAGE).unwrap_or(u32::MAX);
    // struct virtio_balloon_config (section 5.5.4): num_pages, which the driver reads, and actual, which it writes.
    let config = [pages.to_le_bytes(), [0; 4]].concat();
    let writable = vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let features = feature::USUAL | feature::RING_PACKED | DEFLATE_ON_OOM | REPORTING;
    Identity { id: 5, features, queues: vec![QUEUE_SIZE; QUEUES], config, writable }
}

/// The memory balloon.
pub struct Balloon {
    trouble: Trouble,
    /// Whether it was told, of this driver.
    told: bool,
}

impl Balloon {
    /// One; `trouble` is told, once for a driver, if the host does not take pages back. Then they stay the guest's.
    pub fn new(trouble: impl Fn(&io::Error) + Send + 'static) -> Self {
        Balloon { trouble: Box::new(trouble), told: false }
    }

    fn release(&mut self, ram: &GuestRam, range: Range<u64>) {
        if let Err(error) = ram.release(range)
            && !std::mem::replace(&mut self.told, true)
        {
            (self.trouble)(&error);
        }
    }

    /// Takes the pages whose numbers are in a request.
    fn inflate(&mut self, desk: &Desk<'_>, chain: &Chain) -> Result<(), Broken> {
        let mut bytes = [0; MOST * NUMBER];
        let read = chain.read(desk.dma, 0, &mut bytes)?;
        let (numbers, _) = bytes.get(..read).unwrap_or_default().as_chunks::<NUMBER>();
        let mut numbers: Vec<u32> = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        // Neighbours go together: a system call takes longer than a page.
        for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            let (start, ram) = (run.first().map_or(0, |&first| u64::from(first) * PAGE), desk.dma.ram());
            desk.dma.ranges(start, run.len() * PAGE as usize, true, |range| self.release(ram, range))?;
        }
        Ok(())
    }

    /// Takes the pages that a request consists of.
    fn report(&mut self, desk: &Desk<'_>, chain: &Chain) -> Result<(), Broken> {
        for range in ranges(desk.dma, chain.writable.iter().copied(), true)? {
            self.release(desk.dma.ram(), range);
        }
        Ok(())
    }
}

impl Backend for Balloon {
    fn start(&mut self, _features: u64) {
        self.told = false;
    }

    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        // Memory changes hands slowly, and a hart has better things to do.
        desk.leave_rest();
        for queue in 0..QUEUES {
            desk.drain(queue, |desk, chain| {
                match queue {
                    INFLATE => self.inflate(desk, &chain)?,
                    // What comes out is memory again when it is touched.
                    DEFLATE => {}
                    _ => self.report(desk, &chain)?,
                }
                desk.push(queue, &chain, 0)
            })?;
        }
        Ok(())
    }
}
