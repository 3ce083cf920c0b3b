//! A disk that is no faster than it may be.

use crate::disk::{Disk, DiskError, Span, locked};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support_hostmap::Pieces;

/// How fast a disk may be. What is 0 is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a second.
    pub bytes: u64,
    /// Bytes that may go at once after a time without; 0: those of a tenth of a second.
    pub bytes_burst: u64,
    /// Requests a second.
    pub operations: u64,
    /// Requests that may go at once after a time without; 0: those of a tenth of a second.
    pub operations_burst: u64,
}

/// A bucket that fills at a rate up to a level. Who takes more than is in it leaves a debt, and waits until it is paid: so a request
/// larger than the bucket is possible too.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    most: f64,
    level: f64,
    last: Instant,
}

impl Bucket {
    fn new(rate: u64, burst: u64, now: Instant) -> Option<Bucket> {
        let most = if burst == 0 { (rate / 10).max(1) } else { burst } as f64;
        (rate > 0).then_some(Bucket { rate: rate as f64, most, level: most, last: now })
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.most);
        self.last = now;
    }

    /// Takes `amount`; how long to wait for it.
    fn take(&mut self, amount: f64, now: Instant) -> Duration {
        self.fill(now);
        self.level -= amount;
        // A debt of hours would be a mistake of somebody's; an hour is long enough to find out.
        Duration::from_secs_f64((-self.level / self.rate).clamp(0.0, 3600.0))
    }
}

/// A disk with limits.
#[derive(Debug)]
pub struct Throttle {
    disk: Arc<dyn Disk>,
    bytes: Option<Mutex<Bucket>>,
    operations: Option<Mutex<Bucket>>,
}

impl Throttle {
    /// Limits a disk. What is flushed or discarded counts as a request, of no bytes.
    pub fn new(disk: Arc<dyn Disk>, limits: Limits) -> Self {
        let now = Instant::now();
        let bucket = |rate, burst| Bucket::new(rate, burst, now).map(Mutex::new);
        Throttle {
            disk,
            bytes: bucket(limits.bytes, limits.bytes_burst),
            operations: bucket(limits.operations, limits.operations_burst),
        }
    }

    fn buckets(&self, len: usize) -> impl Iterator<Item = (&Mutex<Bucket>, f64)> {
        let bytes = self.bytes.iter().map(move |bucket| (bucket, len as f64));
        bytes.chain(self.operations.iter().map(|bucket| (bucket, 1.0)))
    }

    fn wait(&self, len: usize) {
        let now = Instant::now();
        let wait = self.buckets(len).map(|(bucket, amount)| locked(bucket).take(amount, now)).max();
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            std::thread::sleep(wait);
        }
    }

    /// Does without waiting what needs none now.
    fn attempt<T>(&self, len: usize, f: impl FnOnce() -> Option<T>) -> Option<T> {
        let now = Instant::now();
        let ready = self.buckets(len).all(|(bucket, amount)| {
            let mut bucket = locked(bucket);
            bucket.fill(now);
            bucket.level >= amount.min(bucket.most)
        });
        let result = ready.then(f).flatten()?;
        self.buckets(len).for_each(|(bucket, amount)| {
            locked(bucket).take(amount, now);
        });
        Some(result)
    }
}

impl Disk for Throttle {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_only(&self) -> bool {
        self.disk.read_only()
    }

    fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        self.wait(into.len());
        self.disk.read(at, into)
    }

    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        self.wait(from.len());
        self.disk.write(at, from)
    }

    fn try_read(&self, at: u64, into: &Pieces) -> Option<Result<(), DiskError>> {
        self.attempt(into.len(), || self.disk.try_read(at, into))
    }

    fn try_write(&self, at: u64, from: &Pieces) -> Option<Result<(), DiskError>> {
        self.attempt(from.len(), || self.disk.try_write(at, from))
    }

    fn flush(&self) -> Result<(), DiskError> {
        self.wait(0);
        self.disk.flush()
    }

    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError> {
        self.wait(0);
        self.disk.discard(at, len)
    }

    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError> {
        self.wait(0);
        self.disk.write_zeroes(at, len, may_unmap)
    }

    fn resize(&self, size: u64) -> Result<(), DiskError> {
        self.disk.resize(size)
    }

    fn span(&self, at: u64) -> Result<Span, DiskError> {
        self.disk.span(at)
    }

    fn close(&self) -> Result<(), DiskError> {
        self.disk.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, Raw};

    fn disk(limits: Limits) -> Throttle {
        let raw = Raw::new(Arc::new(Memory::new(&[1; 65536])), false).unwrap();
        Throttle::new(Arc::new(raw), limits)
    }

    #[test]
    fn a_bucket_lends_and_wants_it_back() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(100, 50, begin).unwrap();
        assert_eq!(bucket.take(50.0, begin), Duration::ZERO);
        assert_eq!(bucket.take(100.0, begin), Duration::from_secs(1));
        assert_eq!(bucket.take(100.0, begin + Duration::from_secs(1)), Duration::from_secs(1));
        // It never holds more than the burst.
        assert_eq!(bucket.take(150.0, begin + Duration::from_secs(1000)), Duration::from_secs(1));
        assert!(Bucket::new(0, 9, begin).is_none());
    }

    #[test]
    fn more_than_the_burst_takes_its_time() {
        let disk = disk(Limits { bytes: 100_000, bytes_burst: 10_000, ..Limits::default() });
        let into = Pieces::scratch(5000).unwrap();
        let begin = Instant::now();
        (0..6).for_each(|_| disk.read(0, &into).unwrap());
        // 30,000 bytes, of which 10,000 at once.
        assert!(begin.elapsed() >= Duration::from_millis(195), "{:?}", begin.elapsed());
        assert!(disk.try_read(0, &into).is_none(), "nothing is left for who must not wait");
        assert!(disk.plan(false, 0, 512).is_none(), "no way around it");
    }

    #[test]
    fn requests_are_counted_however_small() {
        let disk = disk(Limits { operations: 50, operations_burst: 1, ..Limits::default() });
        let into = Pieces::scratch(1).unwrap();
        let begin = Instant::now();
        (0..6).for_each(|_| disk.read(0, &into).unwrap());
        assert!(begin.elapsed() >= Duration::from_millis(95), "{:?}", begin.elapsed());
    }
}
