//! A guest with a console, and a driver that says what section 5.3.6.2 has it say.

use crate::config::{CONTROL_RECEIVE, CONTROL_TRANSMIT, bit, identity};
use crate::{Console, Port, Role};
use dev_core::HostWork;
use dev_virtio::test_driver::{Ring, Rules};
use dev_virtio::testkit::{AREA, Guest, QUEUE_SIZE, RAM, area, reg};
use fabric_bus::BusBuilder;
use fabric_ram::GuestRam;
use std::sync::{Arc, Mutex};

pub const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };
pub const ALL: u64 = bit::SIZE | bit::MULTIPORT | bit::EMERG_WRITE;
const MEMORY: u64 = 4 << 20;

/// Events by their numbers in the specification.
pub const DEVICE_READY: u16 = 0;
pub const PORT_READY: u16 = 3;
pub const PORT_OPEN: u16 = 6;

pub struct Machine {
    pub guest: Guest,
    pub ports: Vec<Port>,
    /// What the host was rung for, by port.
    pub bells: Arc<Mutex<Vec<(usize, HostWork)>>>,
    pub woken: Arc<Mutex<usize>>,
}

/// A console and a port of this name.
pub fn two() -> Machine {
    Machine::new(&[Some(Role::Console), Some(Role::Named("org.test.0".into()))])
}

impl Machine {
    pub fn new(roles: &[Option<Role>]) -> Machine {
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(MEMORY).unwrap()));
        builder.ram("ram", RAM, MEMORY, 0, true).unwrap();
        let woken = Arc::new(Mutex::new(0));
        let bells: Arc<Mutex<Vec<(usize, HostWork)>>> = Arc::default();
        let mut ports = Vec::new();
        let mut seat = |role: &Option<Role>| {
            let woken = Arc::clone(&woken);
            let port = Port::new(role.clone()?, move || *woken.lock().unwrap() += 1);
            let (number, log) = (ports.len(), Arc::clone(&bells));
            port.connect(Arc::new(move |work| log.lock().unwrap().push((number, work))));
            ports.push(port.clone());
            Some(port)
        };
        let seats: Vec<_> = roles.iter().map(&mut seat).collect();
        let console = Console::new(seats);
        let guest = Guest::on(Arc::new(builder.build()), identity(roles.len()), Box::new(console));
        Machine { guest, ports, bells, woken }
    }

    /// Starts so many queues, with buffers for messages if there are control queues.
    pub fn start(&self, rules: Rules, features: u64, queues: u64) -> Vec<Ring> {
        assert_eq!(self.guest.negotiate(rules.features() | features) & 8, 8, "{rules:?}");
        let ring = |n| {
            self.guest.poke(area(n), &[0; AREA as usize]);
            self.guest.set_queue(n, QUEUE_SIZE);
            Ring::new(Arc::clone(&self.guest.bus), rules, n, QUEUE_SIZE)
        };
        let mut rings: Vec<Ring> = (0..queues).map(ring).collect();
        self.guest.drive();
        if let Some(control) = rings.get_mut(CONTROL_RECEIVE) {
            self.listen(control);
        }
        rings
    }

    /// Buffers for messages, all there can be.
    pub fn listen(&self, control: &mut Ring) {
        while control.has_room(1) {
            self.guest.send(control, &[], &[64]);
        }
    }

    pub fn attend(&self) {
        self.guest.attendant.attend_all();
    }

    pub fn say(&self, rings: &mut [Ring], port: u32, event: u16, value: u16) {
        let message = message(port, event, value);
        self.guest.send(&mut rings[CONTROL_TRANSMIT], &[&message], &[]);
        assert_eq!(rings[CONTROL_TRANSMIT].collect().len(), 1, "a message that was not taken");
    }

    /// What the device has said since this was last asked: port, event, value, the rest.
    pub fn heard(&self, rings: &mut [Ring]) -> Vec<(u32, u16, u16, Vec<u8>)> {
        self.attend();
        let control = &mut rings[CONTROL_RECEIVE];
        let all = control.collect();
        self.listen(control);
        let parse = |(_, written, bytes): (u16, u32, Vec<u8>)| {
            let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            let port = u32::from(half(0)) | u32::from(half(2)) << 16;
            (port, half(4), half(6), bytes[8..written as usize].to_vec())
        };
        all.into_iter().map(parse).collect()
    }

    /// A driver that knows all ports and has opened them.
    pub fn opened(&self, rules: Rules) -> Vec<Ring> {
        let mut rings = self.start(rules, ALL, 2 * self.ports.len() as u64 + 2);
        self.say(&mut rings, 0, DEVICE_READY, 1);
        for port in 0..self.ports.len() as u32 {
            self.say(&mut rings, port, PORT_READY, 1);
            self.say(&mut rings, port, PORT_OPEN, 1);
        }
        self.heard(&mut rings);
        rings
    }

    /// What has come out of a port.
    pub fn drained(&self, port: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.ports[port].drain(&mut bytes);
        bytes
    }

    pub fn emergency(&self, size: u8, value: u64) {
        self.guest.window().write(reg::CONFIG + 8, size, value).unwrap();
    }
}

pub fn message(port: u32, event: u16, value: u16) -> [u8; 8] {
    let ([a, b, c, d], [e, f], [g, h]) = (port.to_le_bytes(), event.to_le_bytes(), value.to_le_bytes());
    [a, b, c, d, e, f, g, h]
}

/// What was written of those requests, joined.
pub fn bytes_of(all: Vec<(u16, u32, Vec<u8>)>) -> Vec<u8> {
    all.into_iter().flat_map(|(_, written, bytes)| bytes[..written as usize].to_vec()).collect()
}
