//! A queue of requests does what the disk would have done, on every kind of disk and by every way.

use host_disk::{
    Cache, Disk, DiskError, DiskQueue, HostFile, Kind, NewQcow2, Qcow2, QueueOptions, Raw, Request,
};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use support_hostmap::{MemoryMap, Pieces};

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const SIZE: u64 = 4 << 20;
const SLOTS: u64 = 16;

fn raw() -> Arc<dyn Disk> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SIZE).unwrap();
    Arc::new(Raw::new(Arc::new(HostFile::new(file, true, Cache::Writeback).unwrap()), false).unwrap())
}

fn qcow2() -> Arc<dyn Disk> {
    let medium = Arc::new(HostFile::new(tempfile::tempfile().unwrap(), true, Cache::Writeback).unwrap());
    let header = NewQcow2 { cluster: 4096, ..NewQcow2::new(SIZE) }.create(&*medium).unwrap();
    Arc::new(Qcow2::open(medium, header, None, false).unwrap())
}

/// A disk that never does anything at once, so that the long ways are taken.
#[derive(Debug)]
struct Reluctant(Arc<dyn Disk>);

impl Disk for Reluctant {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_only(&self) -> bool {
        self.0.read_only()
    }
    fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        self.0.read(at, into)
    }
    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        self.0.write(at, from)
    }
    fn plan(&self, write: bool, at: u64, len: u64) -> Option<host_disk::Plan> {
        self.0.plan(write, at, len)
    }
    fn flush(&self) -> Result<(), DiskError> {
        self.0.flush()
    }
    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError> {
        self.0.discard(at, len)
    }
    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError> {
        self.0.write_zeroes(at, len, may_unmap)
    }
    fn resize(&self, size: u64) -> Result<(), DiskError> {
        self.0.resize(size)
    }
}

fn queue(disk: Arc<dyn Disk>, ring: u32) -> (DiskQueue, Receiver<()>) {
    let (send, receive) = channel();
    let send = Mutex::new(send);
    let bell = Arc::new(move || {
        let _ = send.lock().unwrap().send(());
    });
    (DiskQueue::new(disk, QueueOptions { threads: 3, ring }, bell).unwrap(), receive)
}

/// Requests of which at most `SLOTS` are under way, each in a part of the disk and of memory that no other one touches.
fn run(disk: Arc<dyn Disk>, ring: u32, seed: u64) {
    let (queue, bell) = queue(disk, ring);
    let map = Arc::new(MemoryMap::new(1 << 20).unwrap());
    let mut state = seed;
    let mut model = vec![0_u8; SIZE as usize];
    // What each slot's read should find.
    let mut expected: Vec<Option<(Pieces, Vec<u8>)>> = vec![None; SLOTS as usize];
    let mut free: Vec<u64> = (0..SLOTS).collect();
    let part = SIZE / SLOTS;
    for round in 0..1500 {
        let mut ends = Vec::new();
        while let Some(slot) = free.pop() {
            let at = slot * part + next(&mut state) % (part / 2);
            let len = (1 + next(&mut state) % 60_000) as usize;
            let begin = (slot << 16) as usize;
            let half = begin + len / 2;
            // In two ranges, the later one first.
            let pieces = Pieces::new(&map, [half..begin + len, begin..half]).unwrap();
            let range = at as usize..at as usize + len;
            let kind = match next(&mut state) % 8 {
                0 => Kind::Flush,
                1 => {
                    model[range].fill(0);
                    Kind::WriteZeroes { at, len: len as u64, may_unmap: round % 2 == 0 }
                }
                2..5 => {
                    let bytes: Vec<u8> = (0..len).map(|n| (n as u64 + round) as u8).collect();
                    pieces.copy_in(0, &bytes).unwrap();
                    model[range].copy_from_slice(&bytes);
                    Kind::Write(at, pieces)
                }
                _ => {
                    expected[slot as usize] = Some((pieces.clone(), model[range].to_vec()));
                    Kind::Read(at, pieces)
                }
            };
            ends.extend(queue.submit(Request { kind, token: slot }));
        }
        queue.kick();
        if ends.is_empty() {
            bell.recv_timeout(std::time::Duration::from_secs(20)).expect("the bell rings");
        }
        queue.take(&mut ends);
        for end in ends {
            end.result.unwrap();
            if let Some((pieces, bytes)) = expected[end.token as usize].take() {
                assert!(pieces.to_vec() == bytes, "round {round}");
            }
            free.push(end.token);
        }
    }
    let disk = Arc::clone(queue.disk());
    drop(queue);
    let all = Pieces::scratch(SIZE as usize).unwrap();
    disk.read(0, &all).unwrap();
    assert!(all.to_vec() == model);
}

#[test]
fn requests_do_what_they_say_by_every_way() {
    for (seed, ring) in [(1, 0), (2, 8), (3, 128)] {
        run(raw(), ring, seed);
        run(qcow2(), ring, seed);
        run(Arc::new(Reluctant(raw())), ring, seed);
        run(Arc::new(Reluctant(qcow2())), ring, seed);
    }
}

#[test]
fn errors_come_back_with_their_requests() {
    for ring in [0, 8] {
        let (queue, bell) = queue(Arc::new(Reluctant(raw())), ring);
        let pieces = Pieces::scratch(512).unwrap();
        let kinds =
            [Kind::Read(SIZE, pieces.clone()), Kind::Write(u64::MAX, pieces), Kind::Discard(SIZE - 1, 2)];
        for (token, kind) in kinds.into_iter().enumerate() {
            assert!(queue.submit(Request { kind, token: token as u64 }).is_none());
        }
        queue.kick();
        let mut ends = Vec::new();
        while ends.len() < 3 {
            bell.recv().unwrap();
            queue.take(&mut ends);
        }
        assert!(ends.iter().all(|end| matches!(end.result, Err(DiskError::OutOfRange { .. }))));
        assert_eq!(queue.pending(), 0);
    }
}

/// A disk with an error in its program: it never gets through reads.
#[derive(Debug)]
struct Faulty(Arc<dyn Disk>);

impl Disk for Faulty {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_only(&self) -> bool {
        self.0.read_only()
    }
    fn read(&self, at: u64, _: &Pieces) -> Result<(), DiskError> {
        panic!("a read at {at}, as this test wants it")
    }
    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        self.0.write(at, from)
    }
    fn flush(&self) -> Result<(), DiskError> {
        self.0.flush()
    }
    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError> {
        self.0.discard(at, len)
    }
    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError> {
        self.0.write_zeroes(at, len, may_unmap)
    }
    fn resize(&self, size: u64) -> Result<(), DiskError> {
        self.0.resize(size)
    }
}

/// More often than there are threads.
#[test]
fn a_panic_is_an_error_of_that_request() {
    const SOON: std::time::Duration = std::time::Duration::from_secs(20);
    let (queue, bell) = queue(Arc::new(Faulty(raw())), 0);
    let mut ends = Vec::new();
    for token in 0..8 {
        let kind = if token < 7 { Kind::Read(0, Pieces::scratch(512).unwrap()) } else { Kind::Flush };
        assert!(queue.submit(Request { kind, token }).is_none());
        bell.recv_timeout(SOON).expect("an end");
        queue.take(&mut ends);
    }
    for (token, end) in ends.iter().enumerate() {
        assert_eq!((end.token, matches!(end.result, Err(DiskError::Io(_)))), (token as u64, token < 7));
    }
    assert_eq!((ends.len(), queue.pending()), (8, 0));
}

#[test]
fn a_queue_that_ends_has_done_everything() {
    for ring in [0, 64] {
        let disk = raw();
        let (queue, _bell) = queue(Arc::new(Reluctant(Arc::clone(&disk))), ring);
        for n in 0..500 {
            let pieces = Pieces::scratch(512).unwrap();
            pieces.fill(0, 512, n as u8 | 1).unwrap();
            assert!(queue.submit(Request { kind: Kind::Write(n * 512, pieces), token: n }).is_none());
        }
        drop(queue);
        let all = Pieces::scratch(500 * 512).unwrap();
        disk.read(0, &all).unwrap();
        assert!(all.to_vec().iter().enumerate().all(|(n, byte)| *byte == (n / 512) as u8 | 1));
    }
}
