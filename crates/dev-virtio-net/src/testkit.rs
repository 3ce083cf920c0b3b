//! A network that the test plays, and a guest with a card in it.

use crate::{Net, identity};
use dev_virtio::Watched;
use dev_virtio::test_driver::{Ring, Rules};
use dev_virtio::testkit::{Guest, QUEUE_SIZE, area};
use host_net::{LONGEST_FRAME, NetPort, Offloads, SendError, VNET};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use support_hostmap::Pieces;

pub const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
pub const PLAIN: Rules = Rules { packed: false, events: false, indirect: true };

/// The other side.
pub struct Wire {
    pub sent: Mutex<Vec<Vec<u8>>>,
    pub coming: Mutex<VecDeque<Vec<u8>>>,
    pub agreed: Mutex<Vec<Offloads>>,
    pub full: AtomicBool,
    pub up: AtomicBool,
    socket: UnixDatagram,
}

impl Wire {
    pub fn new() -> Arc<Wire> {
        Arc::new(Wire {
            sent: Mutex::default(),
            coming: Mutex::default(),
            agreed: Mutex::default(),
            full: AtomicBool::new(false),
            up: AtomicBool::new(true),
            socket: UnixDatagram::unbound().unwrap(),
        })
    }

    pub fn comes(&self, frame: &[u8]) {
        self.coming.lock().unwrap().push_back(frame.to_vec());
    }

    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl NetPort for Wire {
    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        match (self.up.load(Ordering::SeqCst), self.full.load(Ordering::SeqCst)) {
            (false, _) => Err(SendError::Down),
            (_, true) => Err(SendError::Full),
            _ => {
                assert!(frame.len() >= VNET + 14 && frame.len() <= LONGEST_FRAME);
                self.sent.lock().unwrap().push(frame.to_vec());
                Ok(())
            }
        }
    }
    fn send_from(&self, frame: &Pieces) -> Result<(), SendError> {
        self.send(&frame.to_vec())
    }
    fn receive(&self, into: &mut [u8]) -> Option<usize> {
        let frame = self.coming.lock().unwrap().pop_front()?;
        let len = frame.len().min(into.len());
        into[..len].copy_from_slice(&frame[..len]);
        Some(len)
    }
    fn receive_into(&self, into: &Pieces) -> Option<usize> {
        let mut bytes = vec![0; into.len()];
        let len = self.receive(&mut bytes)?;
        into.copy_in(0, &bytes[..len]).unwrap();
        Some(len)
    }
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
    fn supports(&self) -> Offloads {
        Offloads::ALL
    }
    fn set_offloads(&self, offloads: Offloads) {
        self.agreed.lock().unwrap().push(offloads);
    }
    fn mtu(&self) -> u16 {
        1500
    }
    fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }
}

pub struct Machine {
    pub guest: Guest,
    pub wires: Vec<Arc<Wire>>,
}

impl Machine {
    pub fn new(pairs: usize) -> Machine {
        let wires: Vec<Arc<Wire>> = (0..pairs).map(|_| Wire::new()).collect();
        Machine::on(None, wires)
    }

    /// On another one's memory, as after a move.
    pub fn on(other: Option<&Machine>, wires: Vec<Arc<Wire>>) -> Machine {
        let ports: Vec<Arc<dyn NetPort>> = wires.iter().map(|wire| Arc::clone(wire) as _).collect();
        let identity = identity(MAC, &*ports[0], ports.len());
        let net = Box::new(Net::new(&ports).unwrap());
        let guest = match other {
            None => Guest::new(identity, net),
            Some(other) => Guest::on(Arc::clone(&other.guest.bus), identity, net),
        };
        Machine { guest, wires }
    }

    /// Starts so many queues with these features.
    pub fn start(&self, rules: Rules, features: u64, queues: u64) -> Vec<Ring> {
        let status = self.guest.negotiate(rules.features() | features);
        assert_eq!(status & 8, 8, "{rules:?} {features:#x}");
        let ring = |n| {
            self.guest.poke(area(n), &[0; dev_virtio::testkit::AREA as usize]);
            self.guest.set_queue(n, QUEUE_SIZE);
            Ring::new(Arc::clone(&self.guest.bus), rules, n, QUEUE_SIZE)
        };
        let rings = (0..queues).map(ring).collect();
        self.guest.drive();
        rings
    }

    /// What a command to the control queue is answered.
    pub fn command(&self, ring: &mut Ring, class: u8, command: u8, data: &[u8]) -> u8 {
        self.guest.send(ring, &[&[class, command], data], &[1]);
        let (_, written, bytes) = ring.collect().pop().unwrap();
        assert_eq!(written, 1);
        bytes[0]
    }

    pub fn watched(&self) -> Vec<(bool, bool)> {
        let of = |watched: &Watched| (watched.read, watched.write);
        self.guest.attendant.watched().iter().map(of).collect()
    }
}

/// A frame of so many bytes behind its header, for `to`.
pub fn frame(flags: u8, gso: u8, to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = vec![flags, gso, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    frame.extend(to);
    frame.extend((0..len.saturating_sub(6)).map(|n| (n * 7 + n / 256) as u8));
    frame
}
