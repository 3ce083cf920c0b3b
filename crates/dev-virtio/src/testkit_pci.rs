//! A guest for tests whose device is on PCI, and a driver that finds everything through configuration space, as section 4.1 has
//! it.

use crate::test_driver::{Ring, Rules};
use crate::testkit::{
    ACKNOWLEDGE, AREA, DRIVER, DRIVER_OK, Echo, FEATURES_OK, Level, NEEDS_RESET, QUEUE_SIZE, RAM, SIZE, Seen,
    area,
};
use crate::{Attendant, Attended, Backend, Broken, Identity, Pci, When};
use dev_pci::{ComplexBuilder, FunctionId, FunctionSlot, PciFunction, Placement, RootComplex, Space};
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::{Message, MessageSink, Wire};
use std::sync::{Arc, Mutex};

/// Where the function is: device 4 of bus 0.
const ECAM: u64 = 4 << 15;
/// Where the driver puts the BARs, and where the window of memory begins.
pub const WINDOW: u64 = 0x4000_0000;
pub const VECTORS_AT: u64 = WINDOW + 0x1_0000;
pub const BAR_AT: u64 = WINDOW + 0x2_0000;

/// Bits of the command register.
pub const MEMORY: u64 = 2;
pub const MASTER: u64 = 4;
pub const NO_PIN: u64 = 1 << 10;

/// Types of structure.
pub const COMMON: u8 = 1;
pub const NOTIFY: u8 = 2;
pub const ISR: u8 = 3;
pub const DEVICE: u8 = 4;
pub const PCI_CFG: u8 = 5;

/// Fields of the common configuration: offset and bytes.
pub type Field = (u64, u8);
pub const DEVICE_FEATURE_SELECT: Field = (0x00, 4);
pub const DEVICE_FEATURE: Field = (0x04, 4);
pub const DRIVER_FEATURE_SELECT: Field = (0x08, 4);
pub const DRIVER_FEATURE: Field = (0x0c, 4);
pub const CONFIG_VECTOR: Field = (0x10, 2);
pub const NUM_QUEUES: Field = (0x12, 2);
pub const STATUS: Field = (0x14, 1);
pub const GENERATION: Field = (0x15, 1);
pub const QUEUE_SELECT: Field = (0x16, 2);
pub const QUEUE_SIZE_FIELD: Field = (0x18, 2);
pub const QUEUE_VECTOR: Field = (0x1a, 2);
pub const QUEUE_ENABLE: Field = (0x1c, 2);
pub const NOTIFY_OFF: Field = (0x1e, 2);
pub const QUEUE_DESC: u64 = 0x20;
pub const QUEUE_DRIVER: u64 = 0x28;
pub const QUEUE_DEVICE: u64 = 0x30;
pub const QUEUE_RESET: Field = (0x3a, 2);

/// A structure: where its capability is, its BAR, where it is there and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    pub kind: u8,
    pub at: u64,
    pub bar: u8,
    pub offset: u64,
    pub length: u64,
}

#[derive(Default)]
pub struct Messages(pub Mutex<Vec<(u64, u32)>>);

impl MessageSink for Messages {
    fn deliver(&self, message: Message) {
        assert_eq!(message.requester, 4 << 3);
        self.0.lock().unwrap().push((message.address, message.data));
    }
}

/// A machine of one device on PCI.
pub struct Card {
    pub bus: Arc<Bus>,
    pub slot: FunctionSlot<Pci>,
    pub attendant: Arc<Attendant<PciFunction<Pci>>>,
    pub complex: Arc<RootComplex>,
    pub id: FunctionId,
    pub ecam: Arc<dyn Target>,
    pub memory: Arc<dyn Target>,
    line: Arc<Level>,
    pub messages: Arc<Messages>,
    pub complaints: Arc<Mutex<Vec<Broken>>>,
    pub structures: Vec<Structure>,
}

impl Card {
    /// With the BARs in place, decoding on, and bus mastering.
    pub fn new(identity: Identity, backend: Box<dyn Backend>, when: When) -> Card {
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(SIZE).unwrap()));
        builder.ram("ram", RAM, SIZE, 0, true).unwrap();
        Card::on(Arc::new(builder.build()), identity, backend, when)
    }

    /// The same on memory that is there.
    pub fn on(bus: Arc<Bus>, identity: Identity, backend: Box<dyn Backend>, when: When) -> Card {
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let line = Arc::new(Level::default());
        // Pin A of device 4 comes out on the first line.
        let wires = [Some(Wire::new(Arc::clone(&line) as _, 0)), None, None, None];
        let mut builder = ComplexBuilder::new(wires);
        let placement = Placement { devfn: 4 << 3, ..Placement::default() };
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&complaints);
        let dma = Dma::new(Arc::clone(&bus), 4 << 3);
        let mut attendant = None;
        let plugged = builder.plug_behind(None, &placement, Pci::new(identity), &timers, |slot| {
            let complain = move |broken| log.lock().unwrap().push(broken);
            let made = Attendant::new(Arc::clone(slot), dma, backend, complain);
            attendant = Some(Arc::clone(&made));
            Arc::new(Attended::new(Arc::clone(slot), made, when))
        });
        let (id, slot) = plugged.unwrap();
        let messages = Arc::new(Messages::default());
        slot.send_to(Arc::clone(&messages) as _);
        let complex = builder.build();
        let (ecam, memory) = (complex.ecam(), complex.window(Space::Memory, WINDOW));
        let (attendant, structures) = (attendant.unwrap(), Vec::new());
        let mut card =
            Card { bus, slot, attendant, complex, id, ecam, memory, line, messages, complaints, structures };
        card.structures = card.find_structures();
        card.place();
        card
    }

    pub fn echo_when(when: When) -> (Card, Arc<Mutex<Seen>>) {
        let seen = Arc::new(Mutex::new(Seen::default()));
        (Card::new(Echo::identity(), Box::new(Echo::new(&seen)), when), seen)
    }

    pub fn echo() -> (Card, Arc<Mutex<Seen>>) {
        Card::echo_when(When::AtOnce)
    }

    /// Puts the BARs into their places and turns the function on.
    pub fn place(&self) {
        for (at, value) in [(0x14, VECTORS_AT), (0x20, BAR_AT), (0x24, 0), (4, MEMORY | MASTER)] {
            self.configure(at, 4, value);
        }
    }

    pub fn config(&self, at: u64, size: u8) -> u64 {
        self.ecam.read(ECAM + at, size).unwrap()
    }

    pub fn configure(&self, at: u64, size: u8, value: u64) {
        self.ecam.write(ECAM + at, size, value).unwrap();
    }

    pub fn command(&self, value: u64) {
        self.configure(4, 2, value);
    }

    /// The places of all capabilities, with their identifiers.
    pub fn capabilities(&self) -> Vec<(u64, u8)> {
        let mut all = Vec::new();
        let mut at = self.config(0x34, 1);
        while at != 0 {
            all.push((at, self.config(at, 1) as u8));
            at = self.config(at + 1, 1);
        }
        all
    }

    fn find_structures(&self) -> Vec<Structure> {
        let vendor = self.capabilities().into_iter().filter(|(_, id)| *id == 9);
        let structure = |(at, _)| Structure {
            kind: self.config(at + 3, 1) as u8,
            at,
            bar: self.config(at + 4, 1) as u8,
            offset: self.config(at + 8, 4),
            length: self.config(at + 12, 4),
        };
        vendor.map(structure).collect()
    }

    pub fn structure(&self, kind: u8) -> Structure {
        *self.structures.iter().find(|structure| structure.kind == kind).unwrap()
    }

    /// Where the capability with this identifier is.
    pub fn capability(&self, id: u8) -> u64 {
        self.capabilities().into_iter().find(|(_, other)| *other == id).unwrap().0
    }

    /// The address of a byte of a structure.
    pub fn address(&self, kind: u8, offset: u64) -> u64 {
        let structure = self.structure(kind);
        assert!(offset < structure.length, "{offset:#x} is not in {structure:?}");
        let register = 0x10 + 4 * u64::from(structure.bar);
        let base = self.config(register, 4) & !15 | self.config(register + 4, 4) << 32;
        base + structure.offset + offset
    }

    pub fn load(&self, address: u64, size: u8) -> u64 {
        self.memory.read(address - WINDOW, size).unwrap()
    }

    pub fn store(&self, address: u64, size: u8, value: u64) {
        self.memory.write(address - WINDOW, size, value).unwrap();
    }

    pub fn read(&self, (offset, size): Field) -> u64 {
        self.load(self.address(COMMON, offset), size)
    }

    pub fn write(&self, (offset, size): Field, value: u64) {
        self.store(self.address(COMMON, offset), size, value);
    }

    /// Reads the interrupt status, which acknowledges it.
    pub fn isr(&self) -> u64 {
        self.load(self.address(ISR, 0), 1)
    }

    pub fn notify(&self, queue: u64) {
        self.write(QUEUE_SELECT, queue);
        let step = self.config(self.structure(NOTIFY).at + 16, 4);
        let at = self.address(NOTIFY, self.read(NOTIFY_OFF) * step);
        self.store(at, 2, queue);
    }

    pub fn line(&self) -> bool {
        self.line.is_high()
    }

    /// What the interrupt status bit in configuration space says.
    pub fn interrupt_status(&self) -> bool {
        self.config(6, 2) & 8 != 0
    }

    pub fn poke(&self, at: u64, bytes: &[u8]) {
        self.bus.ram().copy_in(at - RAM, bytes).unwrap();
    }

    /// Offers and takes features; what the status is then.
    pub fn negotiate(&self, features: u64) -> u64 {
        self.write(STATUS, 0);
        assert_eq!(self.read(STATUS), 0, "a reset is not done");
        self.write(STATUS, ACKNOWLEDGE);
        self.write(STATUS, ACKNOWLEDGE | DRIVER);
        for half in 0..2 {
            self.write(DRIVER_FEATURE_SELECT, half);
            self.write(DRIVER_FEATURE, features >> (32 * half) & 0xffff_ffff);
            assert_eq!(self.read(DRIVER_FEATURE), features >> (32 * half) & 0xffff_ffff);
        }
        self.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        self.read(STATUS)
    }

    /// Sets queue `n` up in its area, in which there is nothing.
    pub fn set_queue(&self, n: u64, rules: Rules) -> Ring {
        let at = area(n);
        self.poke(at, &[0; AREA as usize]);
        self.write(QUEUE_SELECT, n);
        let size = QUEUE_SIZE.min(self.read(QUEUE_SIZE_FIELD) as u16);
        self.write(QUEUE_SIZE_FIELD, size.into());
        for (field, at) in [(QUEUE_DESC, at), (QUEUE_DRIVER, at + 0x4000), (QUEUE_DEVICE, at + 0x8000)] {
            self.write((field, 4), at & 0xffff_ffff);
            self.write((field + 4, 4), at >> 32);
            assert_eq!(self.read((field, 8)), at);
        }
        self.write(QUEUE_ENABLE, 1);
        assert_eq!(self.read(QUEUE_ENABLE), 1);
        Ring::new(Arc::clone(&self.bus), rules, n, size)
    }

    pub fn drive(&self) {
        self.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// All that a driver does before its first request, with features besides those of the rules.
    pub fn start_with(&self, features: u64, rules: Rules, queues: u64) -> Vec<Ring> {
        let status = self.negotiate(rules.features() | features);
        assert_eq!(status, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        let rings = (0..queues).map(|n| self.set_queue(n, rules)).collect();
        self.drive();
        rings
    }

    pub fn start(&self, rules: Rules, queues: u64) -> Vec<Ring> {
        self.start_with(0, rules, queues)
    }

    /// Hands a request over and rings if the device wants it.
    pub fn send(&self, ring: &mut Ring, readable: &[&[u8]], writable: &[usize]) -> u16 {
        let id = ring.add(readable, writable);
        if ring.rings() {
            self.notify(ring.number);
        }
        id
    }

    /// That an [`Echo`] works behind a reset, over a pin.
    pub fn works(&self) {
        for rules in Rules::all() {
            let mut rings = self.start(rules, 3);
            assert!(!self.line());
            for ring in &mut rings {
                let id = self.send(ring, &[b"to", b"and"], &[1, 5]);
                assert_eq!(ring.collect(), [(id, 5, b"dnaot\0".to_vec())], "{rules:?}");
            }
            assert!(self.line() && self.interrupt_status());
            assert_eq!((self.isr(), self.isr()), (1, 0), "reading acknowledges");
            assert!(!self.line() && !self.interrupt_status());
            assert_eq!(self.read(STATUS) & NEEDS_RESET, 0);
        }
        self.write(STATUS, 0);
    }
}
