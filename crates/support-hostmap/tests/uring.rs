//! io_uring and the plain calls do the same with a file, whatever is asked of them.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use support_hostmap::{MemoryMap, Operation, Pieces, Uring, read_at, write_at};

/// A ring, or a word on why there is none: hosts without are normal.
fn ring(entries: u32) -> Option<Uring> {
    Uring::new(entries).inspect_err(|error| eprintln!("SKIPPED: no io_uring on this host: {error}")).ok()
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn file(len: usize) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    file.write_all(&bytes).unwrap();
    Arc::new(file)
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).unwrap();
    bytes
}

/// Pushes one operation and waits for its end.
fn one(ring: &Uring, file: &Arc<File>, operation: &Operation) -> std::io::Result<usize> {
    assert!(ring.push(file, operation, 42));
    ring.submit().unwrap();
    let mut ends = Vec::new();
    while ends.is_empty() {
        ring.wait().unwrap();
        ring.reap(&mut ends);
    }
    let end = ends.pop().unwrap();
    assert!(ends.is_empty() && end.token == 42 && ring.in_flight() == 0);
    end.result
}

#[test]
fn both_ways_do_the_same() {
    let Some(ring) = ring(8) else { return };
    let (plain, queued) = (file(50_000), file(50_000));
    let maps = [Arc::new(MemoryMap::new(65536).unwrap()), Arc::new(MemoryMap::new(65536).unwrap())];
    let mut state = 7;
    for round in 0..2000 {
        let offset = next(&mut state) % 60_000;
        let count = next(&mut state) % 5;
        let ranges: Vec<_> = (0..count)
            .map(|n| {
                // Apart from each other, so that what is read does not depend on the order.
                let start = (n * 13_000 + next(&mut state) % 1000) as usize;
                start..start + (next(&mut state) % 12_000) as usize
            })
            .collect();
        let [a, b] = [0, 1].map(|n| Pieces::new(&maps[n], ranges.clone()).unwrap());
        let (expected, found) = if next(&mut state).is_multiple_of(2) {
            (read_at(&plain, offset, &a, false), one(&ring, &queued, &Operation::Read(offset, b.clone())))
        } else {
            (write_at(&plain, offset, &a, false), one(&ring, &queued, &Operation::Write(offset, b.clone())))
        };
        assert_eq!(expected.unwrap(), found.unwrap(), "round {round}");
        assert_eq!(a.to_vec(), b.to_vec(), "round {round}");
    }
    assert_eq!(one(&ring, &queued, &Operation::Sync).unwrap(), 0);
    assert_eq!(contents(&plain), contents(&queued));
}

#[test]
fn many_ranges_are_cut_where_a_call_would_cut_them() {
    let Some(ring) = ring(8) else { return };
    let file = file(10_000);
    let map = Arc::new(MemoryMap::new(65536).unwrap());
    let pieces = Pieces::new(&map, (0..3000).map(|n| n * 4..n * 4 + 1)).unwrap();
    assert_eq!(one(&ring, &file, &Operation::Read(0, pieces.clone())).unwrap(), 1024);
    assert_eq!(pieces.to_vec()[1023..1025], [(1023 % 251) as u8, 0]);
}

#[test]
fn errors_come_back_as_such() {
    let Some(ring) = ring(8) else { return };
    let folder = Arc::new(File::open("/").unwrap());
    let map = Arc::new(MemoryMap::new(4096).unwrap());
    let pieces = Pieces::one(&map, 0..512).unwrap();
    let error = one(&ring, &folder, &Operation::Read(0, pieces)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
}

#[test]
fn no_more_is_taken_than_was_promised_and_all_of_it_ends() {
    let Some(ring) = ring(4) else { return };
    let file = file(100_000);
    let map = Arc::new(MemoryMap::new(65536).unwrap());
    let mut ends = Vec::new();
    let (mut token, mut refused) = (0, false);
    while token < 1000 {
        let at = (token % 16) as usize * 4096;
        let pieces = Pieces::one(&map, at..at + 4096).unwrap();
        if ring.push(&file, &Operation::Read(token * 7, pieces), token) {
            token += 1;
        } else {
            refused = true;
            ring.submit().unwrap();
            ring.wait().unwrap();
            ring.reap(&mut ends);
        }
    }
    ring.submit().unwrap();
    while ring.in_flight() > 0 {
        ring.wait().unwrap();
        ring.reap(&mut ends);
    }
    assert!(refused);
    let mut tokens: Vec<u64> = ends.iter().map(|end| end.token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..1000).collect::<Vec<_>>());
    assert!(ends.iter().all(|end| matches!(end.result, Ok(4096))));
}

#[test]
fn a_ring_that_ends_waits_for_what_it_began() {
    let Some(ring) = ring(8) else { return };
    // A read that nobody answers: the pipe stays open and empty.
    let (read, write) = std::io::pipe().unwrap();
    let read = Arc::new(File::from(std::os::fd::OwnedFd::from(read)));
    let map = Arc::new(MemoryMap::new(4096).unwrap());
    assert!(ring.push(&read, &Operation::Read(0, Pieces::one(&map, 0..4).unwrap()), 1));
    assert!(ring.push(&file(10), &Operation::Read(0, Pieces::one(&map, 8..12).unwrap()), 2));
    ring.submit().unwrap();
    assert!(Arc::strong_count(&map) > 1);
    drop(ring);
    assert_eq!(Arc::strong_count(&map), 1);
    assert_eq!(Arc::strong_count(&read), 1);
    drop(write);
}

#[test]
fn a_waiting_thread_can_be_woken() {
    let Some(ring) = ring(8) else { return };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ring.wait());
        ring.wake();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn what_the_kernel_has_not_seen_is_given_back() {
    let Some(ring) = ring(8) else { return };
    let file = file(100_000);
    let map = Arc::new(MemoryMap::new(4096).unwrap());
    let read = |token| ring.push(&file, &Operation::Read(0, Pieces::one(&map, 0..512).unwrap()), token);
    // Some that were seen, so that the queue does not begin at its beginning.
    assert!((0..6).all(read));
    ring.submit().unwrap();
    let mut ends = Vec::new();
    while ends.len() < 3 {
        ring.wait().unwrap();
        ring.reap(&mut ends);
    }
    assert!(read(10) && read(11));
    assert_eq!(ring.close(), [10, 11]);
    assert!(!read(12) && ring.close().is_empty());
    ring.submit().unwrap();
    while ring.in_flight() > 0 {
        ring.wait().unwrap();
        ring.reap(&mut ends);
    }
    let mut tokens: Vec<u64> = ends.iter().map(|end| end.token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [0, 1, 2, 3, 4, 5]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ring.wait());
        ring.wake();
        waiting.join().unwrap().unwrap();
    });
    drop(ring);
    assert_eq!(Arc::strong_count(&map), 1);
}
