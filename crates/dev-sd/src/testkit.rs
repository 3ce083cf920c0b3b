//! A host and a storage for tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::crc::{crc7, crc16};
use crate::{BLOCK, Card, Identity, Job, Wanted};

/// Bytes of a card of tests.
pub const SIZE: usize = 1 << 20;
/// Its blocks.
pub const BLOCKS: u32 = (SIZE / BLOCK) as u32;

/// A card, who clocks it, and its storage.
pub struct Host {
    pub card: Card,
    pub disk: Vec<u8>,
    /// Nobody does jobs.
    pub stalled: bool,
    /// All jobs fail.
    pub broken: bool,
    /// Flushes that were asked for, and how often something was written behind the last one.
    pub flushes: usize,
    pub unflushed: usize,
}

impl Host {
    pub fn new() -> Host {
        Host::of(false)
    }

    pub fn of(read_only: bool) -> Host {
        let identity = Identity::new(SIZE as u64, read_only).unwrap();
        let disk = (0..SIZE).map(|at| (at / BLOCK * 7 + at % 251) as u8).collect();
        let card = Card::new(identity);
        Host { card, disk, stalled: false, broken: false, flushes: 0, unflushed: 0 }
    }

    /// In the state that a driver brings it to.
    pub fn ready(read_only: bool) -> Host {
        let mut host = Host::of(read_only);
        assert_eq!(host.r1(0, 0), 1);
        assert_eq!(host.command(8, 0x1aa), [1, 0, 0, 1, 0xaa]);
        assert_eq!(host.r1(55, 0), 1);
        assert_eq!(host.r1(41, 1 << 30), 0);
        host
    }

    pub fn exchange(&mut self, byte: u8) -> u8 {
        let sent = self.card.exchange(byte);
        if !self.stalled {
            self.work();
        }
        sent
    }

    /// Does what there is to do.
    pub fn work(&mut self) {
        while let Some(wanted) = self.card.take_job() {
            self.finish(&wanted);
        }
    }

    /// Does this.
    pub fn finish(&mut self, Wanted { number, job }: &Wanted) {
        let done = match job {
            _ if self.broken => None,
            Job::Read { at, len } => Some(self.disk[*at as usize..][..*len as usize].to_vec()),
            Job::Write { at, bytes, through } => {
                self.disk[*at as usize..][..bytes.len()].copy_from_slice(bytes);
                self.unflushed = if *through { 0 } else { self.unflushed + 1 };
                self.flushes += usize::from(*through);
                Some(Vec::new())
            }
            Job::Flush => {
                (self.flushes, self.unflushed) = (self.flushes + 1, 0);
                Some(Vec::new())
            }
            Job::Erase { at, len } => {
                self.disk[*at as usize..][..*len as usize].fill(0);
                Some(Vec::new())
            }
        };
        self.card.finish(*number, done);
    }

    /// Six bytes with their checksum.
    pub fn send(&mut self, number: u8, argument: u32) {
        let [a, b, c, d] = argument.to_be_bytes();
        let frame = [0x40 | number, a, b, c, d];
        frame.into_iter().chain([crc7(&frame)]).for_each(|byte| _ = self.exchange(byte));
    }

    /// A command, and its response as far as it is known at once.
    pub fn command(&mut self, number: u8, argument: u32) -> Vec<u8> {
        self.send(number, argument);
        assert_eq!(self.exchange(0xff), 0xff, "a response comes at once");
        let len = match number {
            8 | 58 => 5,
            13 => 2,
            _ => 1,
        };
        (0..len).map(|_| self.exchange(0xff)).collect()
    }

    /// R1 alone.
    pub fn r1(&mut self, number: u8, argument: u32) -> u8 {
        self.command(number, argument)[0]
    }

    pub fn app(&mut self, number: u8, argument: u32) -> Vec<u8> {
        assert_eq!(self.r1(55, 0), 0);
        self.command(number, argument)
    }

    /// The next block that comes, or the token in its place.
    pub fn data(&mut self, len: usize) -> Result<Vec<u8>, u8> {
        for _ in 0..20 {
            match self.exchange(0xff) {
                0xff => {}
                0xfe => {
                    let bytes: Vec<u8> = (0..len).map(|_| self.exchange(0xff)).collect();
                    let sum = [self.exchange(0xff), self.exchange(0xff)];
                    assert_eq!(crc16(&bytes).to_be_bytes(), sum);
                    return Ok(bytes);
                }
                token => return Err(token),
            }
        }
        Err(0xff)
    }

    /// Sends a block behind `token`; gives the data response.
    pub fn write(&mut self, token: u8, block: &[u8]) -> u8 {
        self.exchange(0xff);
        self.exchange(token);
        block.iter().chain(&crc16(block).to_be_bytes()).for_each(|&byte| _ = self.exchange(byte));
        self.exchange(0xff)
    }

    /// Clocks that go by until the line is high.
    pub fn busy(&mut self) -> usize {
        (0..10_000).take_while(|_| self.exchange(0xff) != 0xff).count()
    }

    pub fn block(&self, number: u32) -> &[u8] {
        &self.disk[number as usize * BLOCK..][..BLOCK]
    }
}
