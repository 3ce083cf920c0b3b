//! Requests for DMA, as drivers make them and as an attacker would.

use crate::items::key;
use crate::{Front, FwCfg, Items};
use dev_core::Slot;
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use std::sync::Arc;

const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 1024 * PAGE;
/// Where requests are put.
const AT: u64 = BASE + 0x1000;
/// Where what is read goes.
const INTO: u64 = BASE + 0x2000;
const KERNEL: [u8; 5000] = [0x5a; 5000];
const READ: u32 = 2;
const SKIP: u32 = 4;
const SELECT: u32 = 8;
const WRITE: u32 = 16;

struct Bench {
    front: Front,
    bus: Arc<Bus>,
}

impl Bench {
    fn new() -> Bench {
        let mut b = BusBuilder::new(Arc::new(GuestRam::new(SIZE).unwrap()));
        b.ram("ram", BASE, SIZE, 0, true).unwrap();
        let bus = Arc::new(b.build());
        bus.ram().fill(0, SIZE, 0xee).unwrap();
        let items = Items::default().with(key::KERNEL_DATA, KERNEL);
        let slot = Slot::new(FwCfg::new(items), Vec::new(), &Timers::new(Arc::new(Clock::virtual_())));
        Bench { front: Front::new(slot, Dma::new(Arc::clone(&bus), 0)), bus }
    }

    /// Puts a request at `at` and rings for it; gives its control word then.
    fn asks_at(&self, at: u64, control: u32, length: u32, address: u64) -> Option<u32> {
        let request = [&control.to_be_bytes()[..], &length.to_be_bytes(), &address.to_be_bytes()].concat();
        let place = self.bus.ram_range(at, 16, true);
        if let Some(place) = place {
            self.bus.ram().copy_in(place, &request).unwrap();
        }
        self.front.write(0x10, 4, u64::from(((at >> 32) as u32).swap_bytes())).unwrap();
        self.front.write(0x14, 4, u64::from((at as u32).swap_bytes())).unwrap();
        let mut answer = [0; 4];
        self.bus.ram().copy_out(place?, &mut answer)?;
        Some(u32::from_be_bytes(answer))
    }

    fn asks(&self, control: u32, length: u32, address: u64) -> Option<u32> {
        self.asks_at(AT, control, length, address)
    }

    fn memory(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bus.ram().copy_out(at - BASE, &mut bytes).unwrap();
        bytes
    }

    fn untouched(&self, at: u64, len: usize) -> bool {
        self.memory(at, len).iter().all(|&byte| byte == 0xee)
    }
}

fn of(key: u16, what: u32) -> u32 {
    u32::from(key) << 16 | SELECT | what
}

#[test]
fn an_item_is_read_skipped_and_read_on() {
    let b = Bench::new();
    assert_eq!(b.asks(of(key::SIGNATURE, READ), 2, INTO), Some(0));
    assert_eq!(b.asks(SKIP, 1, 0), Some(0));
    assert_eq!(b.asks(READ, 4, INTO + 2), Some(0));
    assert_eq!(b.memory(INTO, 7), *b"QEU\0\0\0\xee", "zeroes behind the end");
    assert_eq!(b.front.read(0, 1), Ok(0), "the byte register goes on where the request ended");
    assert_eq!(b.asks(of(key::KERNEL_DATA, 0), 0, 0), Some(0));
    assert_eq!(b.front.read(0, 2), Ok(0x5a5a));
    assert_eq!(b.asks(READ, 4998, INTO), Some(0));
    assert_eq!(b.memory(INTO, 4998), KERNEL[..4998]);
}

#[test]
fn one_write_of_64_bits_rings_too() {
    let b = Bench::new();
    let request = [&of(key::SIGNATURE, READ).to_be_bytes()[..], &4u32.to_be_bytes(), &INTO.to_be_bytes()];
    b.bus.ram().copy_in(AT - BASE, &request.concat()).unwrap();
    b.front.write(0x10, 8, AT.swap_bytes()).unwrap();
    assert_eq!(b.memory(INTO, 4), *b"QEMU");
}

#[test]
fn attack_lengths_that_overflow() {
    let b = Bench::new();
    for address in [u64::MAX, u64::MAX - 3, BASE + SIZE - 3, 0, BASE - 1] {
        assert_eq!(b.asks(of(key::SIGNATURE, READ), 4, address), Some(1), "{address:#x}");
    }
    assert!(b.untouched(BASE + SIZE - 3, 3), "all or nothing");
    // Gigabytes of zeroes, and skips that add up to more than 2^64 would.
    assert_eq!(b.asks(of(key::SIGNATURE, READ), u32::MAX, BASE), Some(1));
    assert!(b.untouched(BASE, 0x1000));
    for _ in 0..5 {
        assert_eq!(b.asks(SKIP, u32::MAX, 0), Some(0));
    }
    assert_eq!(b.front.read(0, 8), Ok(0));
    assert_eq!(b.asks(of(key::SIGNATURE, READ), 0, u64::MAX), Some(0), "no byte is no access");
}

#[test]
fn attack_padding_has_an_end() {
    let b = Bench::new();
    let most = 1 << 20;
    assert_eq!(b.asks(of(key::SIGNATURE, READ), most + 4, INTO), Some(0));
    assert_eq!(b.memory(INTO + u64::from(most), 6), [0, 0, 0, 0, 0xee, 0xee]);
    assert_eq!(b.asks(of(key::SIGNATURE, READ), most + 5, INTO), Some(1));
}

#[test]
fn attack_requests_outside_memory() {
    let b = Bench::new();
    for at in [0, BASE - 8, BASE + SIZE, u64::MAX, u64::MAX - 15] {
        assert_eq!(b.asks_at(at, of(key::SIGNATURE, READ), 4, INTO), None);
    }
    // The first half is memory: it is told, as far as it is there.
    assert_eq!(b.asks_at(BASE + SIZE - 8, READ, 0, 0), None);
    assert_eq!(b.memory(BASE + SIZE - 8, 8), [0, 0, 0, 1, 0xee, 0xee, 0xee, 0xee]);
    assert!(b.untouched(INTO, 16));
}

#[test]
fn attack_wild_control_words() {
    let b = Bench::new();
    for bit in 0..16 {
        let control = 1 << bit;
        let answer = b.asks(control, 4, INTO);
        assert_eq!(answer, Some(u32::from(control == WRITE)), "{control:#x}");
    }
    // Of all at once, reading goes first; the key is none.
    assert_eq!(b.asks(u32::MAX, 4, INTO), Some(0));
    assert_eq!(b.memory(INTO, 4), [0; 4]);
    for key in [0x4000, 0x8000, 0xc000, 0x7fff] {
        assert!(b.asks(of(key, READ), 4, INTO).is_some());
    }
}

#[test]
fn attack_requests_that_overwrite_themselves() {
    let b = Bench::new();
    // What is read lands on the request, whose control word then is the answer.
    assert_eq!(b.asks(of(key::KERNEL_DATA, READ), 16, AT), Some(0));
    assert_eq!(b.memory(AT, 16), [vec![0; 4], vec![0x5a; 12]].concat());
    // A chain does not exist: what lies behind a request is none.
    assert_eq!(b.asks(of(key::KERNEL_DATA, READ), 64, AT - 32), Some(0));
    assert_eq!(b.memory(AT + 4, 12), [0x5a; 12]);
}

#[test]
fn attack_items_cannot_be_written() {
    let b = Bench::new();
    assert_eq!(b.asks(of(key::SIGNATURE, WRITE), 4, INTO), Some(1));
    assert_eq!(b.asks(of(key::SIGNATURE | 0x4000, WRITE | SKIP), 4, INTO), Some(1));
    b.front.write(8, 2, 0).unwrap();
    b.front.write(0, 8, u64::MAX).unwrap();
    assert_eq!(b.front.read(0, 4), Ok(u64::from(u32::from_le_bytes(*b"QEMU"))));
}
