//! The root complex from outside: configuration cycles, bridges, windows, lines, resets, states.

use crate::complex::{ComplexBuilder, FunctionId, RootComplex};
use crate::decode::Space;
use crate::function::PciFunction;
use crate::layout::Placement;
use crate::ports::{HostBridge, RootPort};
use crate::specimen::Specimen;
use dev_core::{Plugged, Slot};
use fabric_clock::{Clock, Timers};
use fabric_wire::{Message, MessageSink, Sink, Wire};
use std::sync::{Arc, Mutex};

/// A host bridge; port A at 01.0 with a device in it; port B at 02.0 with port C in it, and a device in that.
struct Machine {
    complex: Arc<RootComplex>,
    ids: Vec<FunctionId>,
    near: Arc<Slot<PciFunction<Specimen>>>,
    far: Arc<Slot<PciFunction<Specimen>>>,
    lines: Arc<Mutex<[bool; 4]>>,
}

struct Lines(Arc<Mutex<[bool; 4]>>);

impl Sink for Lines {
    fn set(&self, input: u32, high: bool) {
        self.0.lock().unwrap()[input as usize] = high;
    }
}

fn machine() -> Machine {
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let lines = Arc::new(Mutex::new([false; 4]));
    let sink: Arc<dyn Sink> = Arc::new(Lines(Arc::clone(&lines)));
    let mut builder =
        ComplexBuilder::new(std::array::from_fn(|n| Some(Wire::new(Arc::clone(&sink), n as u32))));
    let root = |devfn| Placement { devfn, occupied: true, ..Placement::default() };
    let below = Placement { below_port: true, occupied: true, ..Placement::default() };
    let (host, _) = builder.plug(None, &root(0), HostBridge, &timers).unwrap();
    let (a, _) = builder.plug(None, &root(8), RootPort { slot: 1 }, &timers).unwrap();
    let (b, _) = builder.plug(None, &root(16), RootPort { slot: 2 }, &timers).unwrap();
    let (c, _) = builder.plug(Some(b), &below, RootPort { slot: 3 }, &timers).unwrap();
    let (d, near) = builder.plug(Some(a), &below, Specimen::new(), &timers).unwrap();
    let beyond = Placement { devfn: 0x0b, ..below };
    let (e, far) = builder.plug(Some(c), &beyond, Specimen::new(), &timers).unwrap();
    Machine { complex: builder.build(), ids: vec![host, a, b, c, d, e], near, far, lines }
}

impl Machine {
    fn config(&self, bus: u64, devfn: u64, at: u64, size: u8) -> u64 {
        self.complex.ecam().read(bus << 20 | devfn << 12 | at, size).unwrap()
    }

    fn set(&self, bus: u64, devfn: u64, at: u64, size: u8, value: u64) {
        self.complex.ecam().write(bus << 20 | devfn << 12 | at, size, value).unwrap();
    }

    /// Gives a bridge its bus numbers.
    fn number(&self, bus: u64, devfn: u64, secondary: u64, subordinate: u64) {
        self.set(bus, devfn, 0x18, 4, bus | secondary << 8 | subordinate << 16);
    }

    /// Opens a bridge's memory window, from and to multiples of 1 MiB.
    fn open(&self, bus: u64, devfn: u64, from: u64, to: u64) {
        self.set(bus, devfn, 0x20, 4, from >> 16 & 0xfff0 | (to >> 16 & 0xfff0) << 16);
        self.set(bus, devfn, 4, 2, 7);
    }

    fn memory(&self, address: u64, size: u8) -> u64 {
        self.complex.window(Space::Memory, 0x4000_0000).read(address - 0x4000_0000, size).unwrap()
    }

    fn id(&self, n: usize) -> Arc<dyn Plugged> {
        self.complex.plugged(self.ids[n]).unwrap()
    }

    /// All buses numbered and both devices at their places.
    fn enumerate(&self) {
        self.number(0, 8, 1, 1);
        self.number(0, 16, 2, 3);
        self.number(2, 0, 3, 3);
        self.open(0, 8, 0x4000_0000, 0x400f_ffff);
        self.open(0, 16, 0x4010_0000, 0x402f_ffff);
        self.open(2, 0, 0x4020_0000, 0x402f_ffff);
        // Functions beyond the eighth, below port C: express capability at 0x48, Device Control 2.
        self.set(2, 0, 0x48 + 0x28, 2, 0x20);
        for (bus, devfn, address) in [(1, 0, 0x4000_0000), (3, 0x0b, 0x4020_0000)] {
            self.set(bus, devfn, 0x20, 4, address);
            self.set(bus, devfn, 4, 2, 6);
        }
    }
}

const THIRD: u64 = 0x1234_5678;

#[test]
fn nobody_answers_with_ones() {
    let m = machine();
    assert_eq!(m.config(0, 0, 0, 4), 0x0008_1b36);
    assert_eq!(m.config(0, 0, 0, 8), 0x0008_1b36);
    for (bus, devfn) in [(0, 1), (0, 0xff), (1, 0), (255, 0)] {
        assert_eq!(m.config(bus, devfn, 0, 4), 0xffff_ffff);
        assert_eq!(m.config(bus, devfn, 2, 1), 0xff);
        assert_eq!(m.config(bus, devfn, 0, 8), u64::MAX);
        m.set(bus, devfn, 4, 4, 7);
    }
    assert_eq!((m.memory(0x4000_0000, 4), m.memory(0x4000_0000, 8)), (0xffff_ffff, u64::MAX));
    m.complex.window(Space::Io, 0).write(0, 1, 0).unwrap();
    assert_eq!(m.complex.window(Space::Io, 0).read(8, 2), Ok(0xffff));
}

#[test]
fn cycles_go_by_bus_numbers() {
    let m = machine();
    assert_eq!(m.config(1, 0, 0, 4), 0xffff_ffff, "no bus has a number yet");
    m.enumerate();
    assert_eq!(m.config(1, 0, 0, 4), 0x1041_1af4);
    assert_eq!(m.config(2, 0, 0, 4), 0x000c_1b36);
    assert_eq!(m.config(3, 0x0b, 0, 4), 0x1041_1af4);
    // Without ARI forwarding there is device 0 only.
    m.set(2, 0, 0x70, 2, 0);
    assert_eq!(m.config(3, 0x0b, 0, 4), 0xffff_ffff);
    m.set(2, 0, 0x70, 2, 0x20);
    assert_eq!((m.near.with(|f, _| f.requester()), m.far.with(|f, _| f.requester())), (0x100, 0x30b));
    // Other numbers, and the first of two bridges that claim one.
    m.number(0, 8, 0x80, 0xff);
    assert_eq!((m.config(1, 0, 0, 4), m.config(0x80, 0, 0, 4)), (0xffff_ffff, 0x1041_1af4));
    m.number(0, 16, 0x80, 0x80);
    assert_eq!(m.config(0x80, 0, 0, 4), 0x1041_1af4);
    m.number(0, 8, 9, 9);
    assert_eq!(m.config(0x80, 0, 0, 4), 0x000c_1b36);
}

/// Bridges that lead to themselves, to each other, backwards.
#[test]
fn loops_of_bus_numbers_end() {
    let m = machine();
    m.enumerate();
    for (b, c) in [
        ((2, 255), (2, 255)),
        ((3, 3), (3, 3)),
        ((2, 255), (0, 255)),
        ((0, 255), (0, 0)),
        ((200, 100), (100, 200)),
    ] {
        m.number(0, 16, b.0, b.1);
        m.number(b.0, 0, c.0, c.1);
        for bus in 0..256 {
            for devfn in [0, 8, 16] {
                let id = m.config(bus, devfn, 0, 4);
                assert!([0xffff_ffff, 0x0008_1b36, 0x000c_1b36, 0x1041_1af4].contains(&id), "{id:#x}");
            }
        }
        // Back to where C can be reached.
        m.number(0, 16, 2, 3);
        m.number(2, 0, 3, 3);
        assert_eq!(m.config(3, 0x0b, 0, 4), 0x1041_1af4);
    }
}

#[test]
fn memory_goes_through_open_windows_only() {
    let m = machine();
    m.enumerate();
    let both = |m: &Machine| (m.memory(0x4000_0008, 4), m.memory(0x4020_0008, 4));
    const NONE: u64 = 0xffff_ffff;
    assert_eq!(both(&m), (THIRD, THIRD));
    m.complex.window(Space::Memory, 0).write(0x4020_0008, 4, 5).unwrap();
    assert_eq!(m.memory(0x4020_0008, 4), 5);
    m.complex.window(Space::Memory, 0).write(0x4020_0008, 4, THIRD).unwrap();
    m.set(0, 16, 4, 2, 4);
    assert_eq!(both(&m), (THIRD, NONE), "memory is off in the outer bridge");
    m.set(0, 16, 4, 2, 7);
    m.open(2, 0, 0x4030_0000, 0x402f_ffff);
    assert_eq!(both(&m), (THIRD, NONE), "the inner window is empty");
    // The prefetchable window will do as well.
    m.set(2, 0, 0x24, 4, 0x4020_4020);
    assert_eq!(both(&m), (THIRD, THIRD));
    // Both at one address: the first in the tree has it, and the other again when that moves away.
    m.set(1, 0, 0x20, 4, 0x4020_0000);
    m.open(0, 8, 0x4000_0000, 0x402f_ffff);
    m.complex.window(Space::Memory, 0).write(0x4020_0008, 4, 9).unwrap();
    assert_eq!(m.near.with(|f, now| dev_core::Device::read(f, (5 << 40) + 8, 4, now)), Ok(9));
    m.set(1, 0, 4, 2, 0);
    assert_eq!(m.memory(0x4020_0008, 4), THIRD);
}

#[test]
fn ports_go_through_the_io_window() {
    let m = machine();
    m.enumerate();
    let ports = m.complex.window(Space::Io, 0);
    m.set(1, 0, 0x10, 4, 0x1100);
    m.set(1, 0, 4, 2, 1);
    m.set(0, 8, 0x1c, 2, 0x1010);
    assert_eq!(ports.read(0x1108, 4), Ok(THIRD));
    m.set(0, 8, 0x3e, 2, 4);
    assert_eq!(ports.read(0x1108, 4), Ok(0xffff_ffff), "ISA enable keeps it out");
    m.set(1, 0, 0x10, 4, 0x1400);
    assert_eq!(ports.read(0x1408, 4), Ok(THIRD), "but not the first 256 of each 1024");
    m.set(0, 8, 4, 2, 6);
    assert_eq!(ports.read(0x1408, 4), Ok(0xffff_ffff));
}

#[test]
fn pins_come_out_turned() {
    let m = machine();
    m.near.with(|f, _| f.device_mut().raise(true));
    assert_eq!(*m.lines.lock().unwrap(), [false, true, false, false], "device 0 in port 1");
    // Whatever is below a port is device 0 there, function 0x0b too; port B is device 2.
    m.far.with(|f, _| f.device_mut().raise(true));
    assert_eq!(*m.lines.lock().unwrap(), [false, true, true, false]);
    m.id(4).reset();
    assert_eq!(*m.lines.lock().unwrap(), [false, false, true, false]);
}

#[test]
fn a_port_resets_what_is_below() {
    let m = machine();
    m.enumerate();
    m.far.with(|f, _| f.device_mut().raise(true));
    m.set(0, 16, 0x3e, 2, 0x40);
    assert_eq!(*m.lines.lock().unwrap(), [false; 4]);
    assert_eq!(m.config(2, 0, 0, 4), 0xffff_ffff, "held in reset");
    m.set(0, 16, 0x3e, 2, 0);
    assert_eq!(m.config(2, 0, 0x18, 4), 0, "port C has no numbers any more");
    assert_eq!((m.memory(0x4020_0008, 4), m.memory(0x4000_0008, 4)), (0xffff_ffff, THIRD));
}

#[test]
fn a_sleeping_port_passes_nothing() {
    let m = machine();
    m.enumerate();
    m.set(0, 8, 0x44, 2, 3);
    assert_eq!((m.config(1, 0, 0, 4), m.memory(0x4000_0008, 4)), (0xffff_ffff, 0xffff_ffff));
    assert!(!m.near.with(|f, _| f.device().master));
    m.set(0, 8, 0x44, 2, 0);
    assert_eq!((m.config(1, 0, 0, 4), m.memory(0x4000_0008, 4)), (0x1041_1af4, THIRD));
    assert!(m.near.with(|f, _| f.device().master));
}

#[test]
fn messages_have_the_bus_they_come_from() {
    struct Box(Mutex<Vec<Message>>);
    impl MessageSink for Box {
        fn deliver(&self, message: Message) {
            self.0.lock().unwrap().push(message);
        }
    }
    let m = machine();
    m.enumerate();
    let sink = Arc::new(Box(Mutex::default()));
    m.far.send_to(Arc::clone(&sink) as _);
    // MSI-X at the capability's place behind power management, express and MSI.
    m.set(3, 0x0b, 0x9c + 2, 2, 0x8000);
    m.set(3, 0x0b, 0x14, 4, 0x4021_0000);
    let memory = m.complex.window(Space::Memory, 0x4000_0000);
    for (at, value) in [(0x21_0000, 0x2800_0000), (0x21_0008, 33), (0x21_000c, 0)] {
        memory.write(at, 4, value).unwrap();
    }
    memory.write(0x20_0004, 4, 0).unwrap();
    let expected = Message { address: 0x2800_0000, data: 33, requester: 0x30b };
    assert_eq!(*sink.0.lock().unwrap(), [expected]);
    // A bridge above that is no bus master keeps it, and lets it go later.
    m.set(0, 16, 4, 2, 3);
    memory.write(0x20_0004, 4, 0).unwrap();
    assert_eq!(sink.0.lock().unwrap().len(), 1);
    m.set(0, 16, 4, 2, 7);
    assert_eq!(sink.0.lock().unwrap().len(), 2);
}

#[test]
fn a_restored_machine_has_the_same_routes() {
    let m = machine();
    m.enumerate();
    m.far.with(|f, _| f.device_mut().raise(true));
    let saved: Vec<Vec<u8>> = (0..6).map(|n| m.id(n).save()).collect();
    let other = machine();
    // In either order, as nothing depends on it.
    for n in [5, 4, 0, 1, 3, 2] {
        other.id(n).restore(&saved[n]).unwrap();
    }
    assert_eq!((other.memory(0x4000_0008, 4), other.memory(0x4020_0008, 4)), (THIRD, THIRD));
    assert_eq!(*other.lines.lock().unwrap(), [false, false, true, false]);
    assert!(other.far.with(|f, _| f.device().master));
    assert_eq!((0..6).map(|n| other.id(n).save()).collect::<Vec<_>>(), saved);
    // Back to the beginning, one by one.
    (0..6).for_each(|n| other.id(n).reset());
    assert_eq!((other.config(1, 0, 0, 4), other.memory(0x4000_0008, 4)), (0xffff_ffff, 0xffff_ffff));
    assert!(other.id(1).restore(&saved[4]).is_err());
}

#[test]
fn what_cannot_be_plugged_in_is_refused() {
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let mut builder = ComplexBuilder::new([const { None }; 4]);
    let placement = Placement { devfn: 0x1a, ..Placement::default() };
    let (host, _) = builder.plug(None, &placement, HostBridge, &timers).unwrap();
    let error = builder.plug(None, &placement, HostBridge, &timers).err().unwrap();
    assert_eq!(error.to_string(), "two PCI functions at 03.2 of one bus");
    let error = builder.plug(Some(host), &placement, HostBridge, &timers).err().unwrap();
    assert_eq!(error.to_string(), "a PCI function is below something that is no port");
}
