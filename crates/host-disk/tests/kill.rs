//! A process that writes an image is killed at random moments: the image opens, is sound, and has what was flushed.

use host_disk::{Disk, Format, Header, HostFile, NewQcow2, OpenOptions, check, open};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support_hostmap::Pieces;

const SIZE: u64 = 64 << 20;
const BLOCK: u64 = 4096;
/// Rounds between flushes.
const FLUSH: u64 = 6;

/// SplitMix64's mixing function (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn mixed(n: u64) -> u64 {
    let z = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The block that a round writes: half of them in a small part, so that some are written again.
fn block(round: u64) -> u64 {
    let random = mixed(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    random >> 8 & if random & 1 == 0 { 63 } else { SIZE / BLOCK - 1 }
}

/// Writes until it is killed: each round its number to its block. It says which rounds are flushed.
fn write_for_ever(path: &Path, from: u64) -> ! {
    let options = OpenOptions { format: Some(Format::Qcow2), ..OpenOptions::default() };
    let disk = open(path, &options).unwrap().disk;
    let pieces = Pieces::scratch(BLOCK as usize).unwrap();
    let mut out = std::io::stdout();
    let mut round = from;
    loop {
        let bytes: Vec<u8> = round.to_le_bytes().repeat(BLOCK as usize / 8);
        pieces.copy_in(0, &bytes).unwrap();
        let at = block(round) * BLOCK;
        if disk.try_write(at, &pieces).is_none_or(|result| result.is_err()) {
            disk.write(at, &pieces).unwrap();
        }
        if round.is_multiple_of(FLUSH) {
            disk.flush().unwrap();
            writeln!(out, "flushed {round}").unwrap();
            out.flush().unwrap();
        }
        round += 1;
    }
}

/// Every sector has the number of a round that wrote its block, and that of the newest one in `newest` or a later one.
fn verify(disk: &dyn Disk, newest: &BTreeMap<u64, u64>, what: &str) {
    let pieces = Pieces::scratch(BLOCK as usize).unwrap();
    for n in 0..SIZE / BLOCK {
        disk.read(n * BLOCK, &pieces).unwrap();
        let flushed = newest.get(&n).copied().unwrap_or(0);
        for word in pieces.to_vec().as_chunks::<8>().0 {
            let found = u64::from_le_bytes(*word);
            assert!(found >= flushed, "{what}: block {n} has {found}, and {flushed} was flushed");
            assert!(found == 0 || block(found) == n, "{what}: block {n} has {found} of another one");
        }
    }
}

#[test]
fn a_killed_writer_leaves_a_sound_image_with_what_was_flushed() {
    let wanted = "HOSTEL_TEST_WRITES";
    if let (Some(path), Ok(from)) = (std::env::var_os(wanted), std::env::var("HOSTEL_TEST_FROM")) {
        write_for_ever(Path::new(&path), from.parse().unwrap());
    }
    let kills: u64 = std::env::var("HOSTEL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let (mut flushed, mut unclosed, mut image) = (0, 0, folder.path().join("0.qcow2"));
    // The newest flushed round of each block.
    let mut newest = BTreeMap::new();
    for kill in 0..kills {
        if kill % 10 == 0 {
            image = folder.path().join(format!("{kill}.qcow2"));
            let cluster = [4096, 65536, 512][kill as usize / 10 % 3];
            let new = NewQcow2 { cluster, ..NewQcow2::new(SIZE) };
            new.create(&HostFile::create(&image).unwrap()).unwrap();
            (flushed, newest) = (0, BTreeMap::new());
        }
        // What follows begins behind what the last one may have written.
        let from = flushed + FLUSH;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_killed_writer", "--nocapture"])
            .env(wanted, &image)
            .env("HOSTEL_TEST_FROM", from.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let rounds =
                lines.map_while(Result::ok).filter_map(|line| line.split("flushed ").nth(1)?.parse().ok());
            rounds.last()
        });
        std::thread::sleep(Duration::from_millis(20 + mixed(kill) % 60));
        child.kill().unwrap();
        child.wait().unwrap();
        flushed = reader.join().unwrap().unwrap_or(flushed);
        let what = format!("kill {kill}");
        let file = HostFile::open(&image, false, host_disk::Cache::Writeback).unwrap();
        let header = Header::read(&file).unwrap();
        unclosed += header.incompatible & 1;
        let report = check(&file, &header).unwrap();
        assert_eq!(report.corruptions, 0, "{what}: {report:?}");
        let options = OpenOptions { format: Some(Format::Qcow2), ..OpenOptions::default() };
        let disk = open(&image, &options).unwrap().disk;
        assert!(check(&file, &Header::read(&file).unwrap()).unwrap().is_clean(), "{what}");
        newest.extend((from..=flushed).map(|round| (block(round), round)));
        verify(&*disk, &newest, &what);
        disk.close().unwrap();
    }
    assert!(unclosed > 0, "no process was killed while it wrote");
}
