//! Random operations on a file through the device and its rings, against a model in memory and against what the host has, in
//! the way of fsx (the "file system exerciser"). For two seconds, or as many as `HOSTEL_SHARE_SECONDS` says.

use crate::testkit::{Machine, fuse};
use dev_virtio::test_driver::{Ring, Rules};
use host_share::{Protocol, opcode};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest that the file gets, in bytes.
const LONGEST: usize = 60_000;
/// The most of a transfer: what the driver's buffers take.
const MOST: usize = 4000;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most as u64) as usize
    }
}

struct Exercise {
    machine: Machine,
    ring: Ring,
    file: PathBuf,
    node: u64,
    handle: u64,
    model: Vec<u8>,
    random: Random,
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Exercise {
    fn new(folder: &std::path::Path, rules: Rules, seed: u64) -> Exercise {
        let machine = Machine::new(folder, Protocol::Fuse, seed & 1 != 0);
        let ring = machine.start(rules);
        let file = folder.join(format!("file{seed}"));
        std::fs::write(&file, "").unwrap();
        let (model, random) = (Vec::new(), Random(seed));
        let mut exercise = Exercise { machine, ring, file, node: 0, handle: 0, model, random };
        let entry = exercise.ask(opcode::LOOKUP, 1, format!("file{seed}\0").as_bytes(), 128);
        exercise.node = number(&entry, 0);
        let opened = exercise.ask(opcode::OPEN, exercise.node, &words(&[2]), 16);
        exercise.handle = number(&opened, 0);
        exercise
    }

    /// Asks by pieces of random sizes, and gives what is behind the reply's header.
    fn ask(&mut self, opcode: u32, node: u64, body: &[u8], room: usize) -> Vec<u8> {
        let request = fuse(opcode, 5, node, body);
        let (mut rest, mut pieces) = (&request[..], Vec::new());
        while !rest.is_empty() {
            let most = if pieces.len() < 2 { 1 + self.random.below(1000) } else { 1000 };
            let (piece, more) = rest.split_at(most.min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        // Eight buffers at most, those of the request among them.
        let mut writable = vec![16];
        (0..room).step_by(1000).for_each(|at| writable.push(1000.min(room - at)));
        let (written, reply) = self.machine.ask(&mut self.ring, &pieces, &writable).unwrap();
        assert_eq!(number(&reply, 0), u64::from(written), "length, and no error");
        reply[16..written as usize].to_vec()
    }

    fn range(&mut self) -> (usize, usize) {
        let most = [1, 10, 512, MOST][self.random.below(4)];
        let length = 1 + self.random.below(most);
        (self.random.below(LONGEST - length), length)
    }

    fn step(&mut self) {
        let (at, length) = self.range();
        match self.random.below(10) {
            0..4 => {
                let data: Vec<u8> = (0..length).map(|_| self.random.below(256) as u8).collect();
                let mut body = words(&[self.handle, at as u64, length as u64, 0, 0]);
                body.extend(&data);
                let done = self.ask(opcode::WRITE, self.node, &body, 8);
                assert_eq!(done[..4], (length as u32).to_le_bytes());
                self.model.resize(self.model.len().max(at + length), 0);
                self.model[at..at + length].copy_from_slice(&data);
            }
            4..8 => {
                let body = words(&[self.handle, at as u64, length as u64, 0, 0]);
                let data = self.ask(opcode::READ, self.node, &body, length);
                let end = (at + length).min(self.model.len());
                assert_eq!(data, self.model[at.min(end)..end], "{at} {length}");
            }
            8 => {
                // FATTR_SIZE.
                let body = words(&[8, 0, at as u64, 0, 0, 0, 0, 0, 0, 0, 0]);
                self.ask(opcode::SETATTR, self.node, &body, 104);
                self.model.resize(at, 0);
            }
            _ => {
                let attributes = self.ask(opcode::GETATTR, self.node, &words(&[0, 0]), 104);
                assert_eq!(number(&attributes, 16 + 8), self.model.len() as u64);
                assert_eq!(std::fs::read(&self.file).unwrap(), self.model, "what the host has");
            }
        }
    }
}

#[test]
fn random_operations_do_to_a_file_what_they_do_to_the_model() {
    let seconds = std::env::var("HOSTEL_SHARE_SECONDS").map_or(2, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (began, mut seed, mut steps) = (Instant::now(), 1, 0u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        for rules in Rules::all() {
            let mut exercise = Exercise::new(folder.path(), rules, seed);
            (0..200).for_each(|_| exercise.step());
            std::fs::remove_file(&exercise.file).unwrap();
            (seed, steps) = (seed + 1, steps + 200);
        }
    }
    println!("{steps} operations");
    assert!(steps >= 1600);
}
