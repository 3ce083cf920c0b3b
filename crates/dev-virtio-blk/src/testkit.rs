//! A disk that tells what is asked of it, and a guest with it.

use crate::{Blk, identity};
use dev_virtio::test_driver::{Ring, Rules};
use dev_virtio::testkit::Guest;
use host_disk::{Disk, DiskError, Memory, Raw};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use support_hostmap::Pieces;

/// Sectors of the disk.
pub const SECTORS: u64 = 64;

/// A disk in memory.
#[derive(Debug)]
pub struct Probe {
    inner: Raw,
    pub read_only: bool,
    pub calls: Mutex<Vec<String>>,
    pub fails: AtomicBool,
    /// Reads wait as long as it is shut.
    pub shut: Mutex<bool>,
    opened: Condvar,
}

impl Probe {
    pub fn new(read_only: bool) -> Arc<Probe> {
        let bytes: Vec<u8> = (0..SECTORS * 512).map(|at| (at / 512 * 3 + at % 512) as u8).collect();
        let inner = Raw::new(Arc::new(Memory::new(&bytes)), false).unwrap();
        let (calls, fails, shut) = (Mutex::default(), AtomicBool::new(false), Mutex::new(false));
        Arc::new(Probe { inner, read_only, calls, fails, shut, opened: Condvar::new() })
    }

    fn note(&self, call: String) -> Result<(), DiskError> {
        self.calls.lock().unwrap().push(call);
        match self.fails.load(Ordering::SeqCst) {
            true => Err(std::io::Error::other("it is broken").into()),
            false => Ok(()),
        }
    }

    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    pub fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let pieces = Pieces::scratch(len).unwrap();
        self.inner.read(at, &pieces).unwrap();
        let mut bytes = vec![0; len];
        pieces.copy_out(0, &mut bytes).unwrap();
        bytes
    }
}

impl Disk for Probe {
    fn size(&self) -> u64 {
        self.inner.size()
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        drop(self.opened.wait_while(self.shut.lock().unwrap(), |shut| *shut).unwrap());
        self.note(format!("read {at} {}", into.len()))?;
        self.inner.read(at, into)
    }
    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        self.note(format!("write {at} {}", from.len()))?;
        self.inner.write(at, from)
    }
    fn flush(&self) -> Result<(), DiskError> {
        self.note("flush".to_owned())
    }
    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError> {
        self.note(format!("discard {at} {len}"))
    }
    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError> {
        self.note(format!("zero {at} {len} {may_unmap}"))?;
        self.inner.write_zeroes(at, len, may_unmap)
    }
    fn resize(&self, _size: u64) -> Result<(), DiskError> {
        Err(DiskError::Unsupported("no"))
    }
}

/// A guest with a block device, and the disk behind it.
pub struct Machine {
    pub guest: Guest,
    pub disk: Arc<Probe>,
}

pub const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };

impl Machine {
    pub fn new(queued: bool, disk: Arc<Probe>) -> Machine {
        let identity = identity(&*disk, 2);
        let (shared, queues): (Arc<dyn Disk>, _) = (Arc::clone(&disk) as _, identity.queues.len());
        let blk = match queued {
            true => Blk::queued(shared, "the name", queues, Box::new(|_| ()), || ()).unwrap(),
            false => Blk::straight(shared, "the name", queues, Box::new(|_| ())),
        };
        Machine { guest: Guest::new(identity, Box::new(blk)), disk }
    }

    /// Both ways to work.
    pub fn both() -> [Machine; 2] {
        [false, true].map(|queued| Machine::new(queued, Probe::new(false)))
    }

    /// A request; what comes back: bytes written, data, status.
    pub fn ask(&self, ring: &mut Ring, readable: &[&[u8]], writable: &[usize]) -> (u32, Vec<u8>, Option<u8>) {
        let id = self.guest.send(ring, readable, writable);
        self.wait(ring, id)
    }

    /// Waits for the only request.
    pub fn wait(&self, ring: &mut Ring, id: u16) -> (u32, Vec<u8>, Option<u8>) {
        let late = Instant::now() + Duration::from_secs(20);
        loop {
            self.guest.attendant.attend();
            if let Some((came, written, mut bytes)) = ring.collect().pop() {
                assert_eq!(came, id);
                let status = bytes.pop();
                return (written, bytes, status);
            }
            assert!(Instant::now() < late, "it does not come back");
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

pub fn header(kind: u32, sector: u64) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
}

pub fn trim(sector: u64, count: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &count.to_le_bytes(), &flags.to_le_bytes()].concat()
}
