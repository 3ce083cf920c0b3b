//! Images that somebody made to do harm: they cost no time out of proportion, and no table is lost.

use host_disk::{Disk, DiskError, Header, Medium, Memory, NewQcow2, Qcow2, Repair, check, repair};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support_hostmap::Pieces;

const CLUSTER: u64 = 4096;
const COPIED: u64 = 1 << 63;

fn of(byte: u8, len: usize) -> Pieces {
    let pieces = Pieces::scratch(len).unwrap();
    pieces.fill(0, len, byte).unwrap();
    pieces
}

fn open(medium: &Arc<Memory>) -> Qcow2 {
    Qcow2::open(medium.clone(), Header::read(&**medium).unwrap(), None, false).unwrap()
}

fn put(medium: &Memory, at: u64, value: u64) {
    medium.write_bytes(at, &value.to_be_bytes()).unwrap();
}

fn be(medium: &Memory, at: u64) -> u64 {
    let mut bytes = [0; 8];
    medium.read_bytes(at, &mut bytes).unwrap();
    u64::from_be_bytes(bytes)
}

/// An image of 1 MiB with something in its first cluster.
fn image() -> Arc<Memory> {
    let medium = Arc::new(Memory::new(&[]));
    NewQcow2 { cluster: CLUSTER, ..NewQcow2::new(1 << 20) }.create(&*medium).unwrap();
    let disk = open(&medium);
    disk.write(0, &of(7, CLUSTER as usize)).unwrap();
    disk.close().unwrap();
    medium
}

/// Makes an image have so many snapshots, all with the same L1 table; where their table is.
fn snapshots(medium: &Memory, count: u32, l1: u64, entries: u32) -> u64 {
    let cluster = 1 << u64::from(Header::read(medium).unwrap().geometry.cluster_bits);
    let at = medium.len().unwrap().next_multiple_of(cluster);
    let mut table = Vec::new();
    for _ in 0..count {
        table.extend(l1.to_be_bytes());
        table.extend(entries.to_be_bytes());
        table.extend([0; 28]);
    }
    medium.write_bytes(at, &table).unwrap();
    medium.set_len((at + table.len() as u64).next_multiple_of(cluster)).unwrap();
    medium.write_bytes(60, &count.to_be_bytes()).unwrap();
    put(medium, 64, at);
    at
}

#[test]
fn attack_a_huge_disk_makes_each_write_look_at_all_of_it() {
    let medium = Arc::new(Memory::new(&[]));
    let size = 2 << 50;
    NewQcow2::new(size).create(&*medium).unwrap();
    let disk = open(&medium);
    let begin = Instant::now();
    for n in 0..200 {
        disk.write(n * (3 << 30) + 1000, &of(1, 512)).unwrap();
    }
    // The whole disk, of which 200 clusters have something.
    let (mut at, mut steps) = (0, 0);
    while at < size {
        at += disk.span(at).unwrap().len;
        steps += 1;
    }
    assert_eq!(at, size);
    assert!(steps < 10_000, "{steps}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn attack_many_snapshots_name_one_large_table() {
    let medium = Memory::new(&[]);
    NewQcow2 { cluster: 512, ..NewQcow2::new(1 << 20) }.create(&medium).unwrap();
    let l1 = medium.len().unwrap();
    medium.set_len(l1 + (32 << 20)).unwrap();
    snapshots(&medium, 65536, l1, 4 << 20);
    let begin = Instant::now();
    let report = check(&medium, &Header::read(&medium).unwrap()).unwrap();
    assert!(report.corruptions > 65536, "no cluster of the table has a refcount");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn attack_large_tables_of_different_length() {
    let medium = Memory::new(&[]);
    NewQcow2 { cluster: 512, ..NewQcow2::new(1 << 20) }.create(&medium).unwrap();
    let l1 = medium.len().unwrap();
    medium.set_len(l1 + (32 << 20)).unwrap();
    let at = snapshots(&medium, 1000, l1, 4 << 20);
    for n in 0..1000_u32 {
        medium.write_bytes(at + u64::from(n) * 40 + 8, &((4 << 20) - n).to_be_bytes()).unwrap();
    }
    let result = check(&medium, &Header::read(&medium).unwrap());
    assert!(matches!(result, Err(DiskError::Unsupported(_))));
}

#[test]
fn attack_a_repair_of_a_snapshots_table_would_destroy_the_header() {
    let medium = image();
    let active = Header::read(&*medium).unwrap().l1_offset;
    for l1 in [0, active] {
        let medium = Memory::new(&medium.bytes(u64::MAX));
        let before = medium.bytes(112);
        snapshots(&medium, 2, l1, 64);
        let header = Header::read(&medium).unwrap();
        let report = repair(&medium, &header, Repair::All).unwrap();
        assert!(report.corruptions > 0, "{report:?}");
        assert_eq!(medium.bytes(60), before[..60]);
        host_disk::fuzz::repaired(&medium.bytes(u64::MAX));
        // Nor is it written.
        let error = Qcow2::open(Arc::new(medium), header, None, false).unwrap_err();
        assert!(error.to_string().contains("snapshot"), "{error}");
    }
}

#[test]
fn attack_a_discard_frees_a_table() {
    let medium = image();
    let header = Header::read(&*medium).unwrap();
    let l1 = medium.len().unwrap();
    let mut table = vec![0; CLUSTER as usize];
    medium.read_bytes(header.l1_offset, &mut table).unwrap();
    medium.write_bytes(l1, &table).unwrap();
    // Two clusters of snapshot table.
    let snapshots = snapshots(&medium, 200, l1, 1);
    let report = repair(&*medium, &Header::read(&*medium).unwrap(), Repair::All).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let l2 = be(&medium, header.l1_offset) & !COPIED;
    let block = be(&medium, header.reftable_offset);
    let tables = [header.l1_offset, header.reftable_offset, block, l2, snapshots, snapshots + CLUSTER, l1];
    for offset in tables {
        let medium = Arc::new(Memory::new(&medium.bytes(u64::MAX)));
        // The snapshots' one stays as it is, as the disk has its own copy first.
        put(&medium, l2 + 8, offset | COPIED);
        let disk = open(&medium);
        disk.discard(CLUSTER, CLUSTER).unwrap();
        disk.flush().unwrap();
        for n in 1..200 {
            disk.write(n * CLUSTER, &of(9, CLUSTER as usize)).unwrap();
        }
        disk.close().unwrap();
        let mut now = vec![0; CLUSTER as usize];
        if offset == snapshots || offset == snapshots + CLUSTER || offset == l1 {
            let before = medium.bytes(u64::MAX)[offset as usize..][..40].to_vec();
            medium.read_bytes(offset, &mut now).unwrap();
            assert!(now.starts_with(&before) && now[..40] != [9; 40], "{offset:#x}");
        }
        let disk = open(&medium);
        let into = of(0, CLUSTER as usize);
        disk.read(0, &into).unwrap();
        assert_eq!(into.to_vec(), [7; CLUSTER as usize], "{offset:#x}");
    }
}
