//! A guest for tests: memory, a device behind registers, and a driver that knows how to set it up.

use crate::test_driver::{Ring, Rules};
use crate::{Attendant, Attended, Backend, Broken, Desk, Identity, Mmio, When, feature};
use dev_core::Slot;
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::{Sink, Wire};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Where memory begins, and how much there is.
pub const RAM: u64 = 0x8000_0000;
pub const SIZE: u64 = 1 << 20;
/// What a queue's areas and tables have for themselves.
pub const AREA: u64 = 0x1_0000;
/// Descriptors of a queue, and buffers behind all queues.
pub const QUEUE_SIZE: u16 = 16;
pub const BUFFERS: u64 = RAM + 0x8_0000;

/// Registers.
pub mod reg {
    pub const MAGIC: u64 = 0x000;
    pub const DEVICE_ID: u64 = 0x008;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_SIZE_MAX: u64 = 0x034;
    pub const QUEUE_SIZE: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC: u64 = 0x080;
    pub const QUEUE_DRIVER: u64 = 0x090;
    pub const QUEUE_DEVICE: u64 = 0x0a0;
    pub const GENERATION: u64 = 0x0fc;
    pub const CONFIG: u64 = 0x100;
}

/// Status as a driver writes it, step by step.
pub const ACKNOWLEDGE: u64 = 1;
pub const DRIVER: u64 = 2;
pub const DRIVER_OK: u64 = 4;
pub const FEATURES_OK: u64 = 8;
pub const NEEDS_RESET: u64 = 64;

#[derive(Default)]
pub struct Level(AtomicBool);

impl Level {
    pub fn is_high(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Sink for Level {
    fn set(&self, _input: u32, high: bool) {
        self.0.store(high, Ordering::SeqCst);
    }
}

/// What a backend under test has seen and is told to do.
#[derive(Debug, Default)]
pub struct Seen {
    pub features: Vec<u64>,
    pub configs: Vec<Vec<u8>>,
    pub rung: Vec<u64>,
    pub served: usize,
    pub stops: usize,
    pub resets: usize,
    /// Writes to the configuration.
    pub writes: Vec<(usize, Vec<u8>)>,
    /// Requests are taken and kept.
    pub hold: bool,
    /// To be written to the configuration when it next serves.
    pub change: Option<Vec<u8>>,
}

impl Seen {
    pub fn resets_and_starts(&self) -> (usize, usize) {
        (self.resets, self.features.len())
    }
}

/// Gives back what it reads, backwards, from every queue.
pub struct Echo {
    pub seen: Arc<Mutex<Seen>>,
    held: Vec<(usize, crate::Chain)>,
}

impl Echo {
    pub fn new(seen: &Arc<Mutex<Seen>>) -> Echo {
        Echo { seen: Arc::clone(seen), held: Vec::new() }
    }

    pub fn identity() -> Identity {
        let features = feature::USUAL | feature::RING_PACKED;
        let (queues, config) = (vec![QUEUE_SIZE, QUEUE_SIZE, 4], vec![1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let writable = vec![0, 0xff, 0x0f];
        Identity { id: 42, features, queues, config, writable }
    }

    fn answer(&mut self, desk: &mut Desk<'_>, queue: usize, chain: &crate::Chain) -> Result<(), Broken> {
        let mut bytes = vec![0; usize::try_from(chain.readable_len()).unwrap()];
        assert_eq!(chain.read(desk.dma, 0, &mut bytes)?, bytes.len());
        bytes.reverse();
        let written = chain.write(desk.dma, 0, &bytes)?;
        self.seen.lock().unwrap().served += 1;
        desk.push(queue, chain, written as u32)
    }
}

impl Backend for Echo {
    fn start(&mut self, features: u64) {
        self.seen.lock().unwrap().features.push(features);
    }

    fn configured(&mut self, config: &[u8]) {
        self.seen.lock().unwrap().configs.push(config.to_vec());
    }

    fn serve(&mut self, desk: &mut Desk<'_>, rung: u64) -> Result<(), Broken> {
        let (hold, change) = {
            let mut seen = self.seen.lock().unwrap();
            seen.rung.push(rung);
            (seen.hold, seen.change.take())
        };
        if let Some(bytes) = change {
            desk.change_config(3, &bytes);
        }
        for queue in 0..3 {
            desk.drain(queue, |desk, chain| {
                if hold {
                    self.held.push((queue, chain));
                    return Ok(());
                }
                self.answer(desk, queue, &chain)
            })?;
        }
        if !hold {
            self.finish(desk)?;
        }
        Ok(())
    }

    fn finish(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        for (queue, chain) in std::mem::take(&mut self.held) {
            self.answer(desk, queue, &chain)?;
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.held.clear();
        self.seen.lock().unwrap().stops += 1;
    }

    fn reset(&mut self) {
        self.seen.lock().unwrap().resets += 1;
    }

    fn wrote(&mut self, offset: usize, bytes: &[u8]) {
        self.seen.lock().unwrap().writes.push((offset, bytes.to_vec()));
    }
}

/// A machine of one device.
pub struct Guest {
    pub bus: Arc<Bus>,
    pub slot: Arc<Slot<Mmio>>,
    pub attendant: Arc<Attendant<Mmio>>,
    window: Attended<Mmio>,
    line: Arc<Level>,
    pub complaints: Arc<Mutex<Vec<Broken>>>,
}

impl Guest {
    pub fn new(identity: Identity, backend: Box<dyn Backend>) -> Guest {
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(SIZE).unwrap()));
        builder.ram("ram", RAM, SIZE, 0, true).unwrap();
        Guest::on(Arc::new(builder.build()), identity, backend)
    }

    /// The same on memory that is there.
    pub fn on(bus: Arc<Bus>, identity: Identity, backend: Box<dyn Backend>) -> Guest {
        Guest::attended(bus, identity, backend, When::AtOnce)
    }

    /// The same, attended to as it says.
    pub fn attended(bus: Arc<Bus>, identity: Identity, backend: Box<dyn Backend>, when: When) -> Guest {
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let line = Arc::new(Level::default());
        let wire = Wire::new(Arc::clone(&line) as _, 0);
        let slot = Slot::new(Mmio::new(identity), vec![Some(wire)], &timers);
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&complaints);
        let dma = Dma::new(Arc::clone(&bus), 0);
        let complain = move |broken| log.lock().unwrap().push(broken);
        let attendant = Attendant::new(Arc::clone(&slot), dma, backend, complain);
        let window = Attended::new(Arc::clone(&slot), Arc::clone(&attendant), when);
        Guest { bus, slot, attendant, window, line, complaints }
    }

    pub fn echo() -> (Guest, Arc<Mutex<Seen>>) {
        let seen = Arc::new(Mutex::new(Seen::default()));
        (Guest::new(Echo::identity(), Box::new(Echo::new(&seen))), seen)
    }

    pub fn read(&self, offset: u64) -> u64 {
        self.window.read(offset, 4).unwrap()
    }

    pub fn write(&self, offset: u64, value: u64) {
        self.window.write(offset, 4, value).unwrap();
    }

    /// The window, for accesses of other widths.
    pub fn window(&self) -> &dyn Target {
        &self.window
    }

    pub fn line(&self) -> bool {
        self.line.is_high()
    }

    pub fn poke(&self, at: u64, bytes: &[u8]) {
        self.bus.ram().copy_in(at - RAM, bytes).unwrap();
    }

    pub fn peek(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bus.ram().copy_out(at - RAM, &mut bytes).unwrap();
        bytes
    }

    pub fn set_address(&self, low: u64, at: u64) {
        self.write(low, at & 0xffff_ffff);
        self.write(low + 4, at >> 32);
    }

    /// Offers and takes features; what the status is then.
    pub fn negotiate(&self, features: u64) -> u64 {
        self.write(reg::STATUS, 0);
        self.write(reg::STATUS, ACKNOWLEDGE);
        self.write(reg::STATUS, ACKNOWLEDGE | DRIVER);
        for half in 0..2 {
            self.write(reg::DRIVER_FEATURES_SEL, half);
            self.write(reg::DRIVER_FEATURES, features >> (32 * half) & 0xffff_ffff);
        }
        self.write(reg::STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        self.read(reg::STATUS)
    }

    /// Sets queue `n` up in its area.
    pub fn set_queue(&self, n: u64, size: u16) {
        let area = area(n);
        self.write(reg::QUEUE_SEL, n);
        self.write(reg::QUEUE_SIZE, u64::from(size));
        self.set_address(reg::QUEUE_DESC, area);
        self.set_address(reg::QUEUE_DRIVER, area + 0x4000);
        self.set_address(reg::QUEUE_DEVICE, area + 0x8000);
        self.write(reg::QUEUE_READY, 1);
    }

    pub fn drive(&self) {
        self.write(reg::STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// Does all that a driver does before its first request, by these rules, for `queues` queues; gives their rings.
    pub fn start(&self, rules: Rules, queues: u64) -> Vec<Ring> {
        assert_eq!(self.negotiate(rules.features()), ACKNOWLEDGE | DRIVER | FEATURES_OK);
        let ring = |n| {
            self.write(reg::QUEUE_SEL, n);
            let size = QUEUE_SIZE.min(self.read(reg::QUEUE_SIZE_MAX) as u16);
            self.poke(area(n), &[0; AREA as usize]);
            self.set_queue(n, size);
            Ring::new(Arc::clone(&self.bus), rules, n, size)
        };
        let rings = (0..queues).map(ring).collect();
        self.drive();
        rings
    }

    /// Hands a request over and rings if the device wants it.
    pub fn send(&self, ring: &mut Ring, readable: &[&[u8]], writable: &[usize]) -> u16 {
        let id = ring.add(readable, writable);
        if ring.rings() {
            self.write(reg::QUEUE_NOTIFY, ring.number);
        }
        id
    }

    /// Whether the device waits for a reset, having said so.
    pub fn waits(&self) -> bool {
        let status = self.read(reg::STATUS) & NEEDS_RESET != 0;
        assert_eq!(status, self.line() && self.read(reg::INTERRUPT_STATUS) & 2 != 0);
        status
    }

    /// That the device gave up for this reason and works again behind a reset.
    pub fn broke_for(&self, why: &str) {
        assert!(self.waits(), "the device goes on");
        let complaints = std::mem::take(&mut *self.complaints.lock().unwrap());
        assert_eq!(complaints, [Broken(static_text(why))]);
        // It does nothing until then, and complains no more.
        self.write(reg::QUEUE_NOTIFY, 0);
        assert!(self.complaints.lock().unwrap().is_empty() && self.waits());
        self.works();
    }

    /// That an [`Echo`] works behind a reset.
    pub fn works(&self) {
        for rules in Rules::all() {
            let mut rings = self.start(rules, 3);
            assert!(!self.line());
            for ring in &mut rings {
                let id = self.send(ring, &[b"to", b"and"], &[1, 5]);
                assert_eq!(ring.collect(), [(id, 5, b"dnaot\0".to_vec())], "{rules:?}");
            }
            assert!(self.line() && !self.waits());
        }
        self.write(reg::STATUS, 0);
    }
}

/// What is equal to it wherever it lives.
fn static_text(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// Where a queue's areas are.
pub fn area(n: u64) -> u64 {
    RAM + n * AREA
}
