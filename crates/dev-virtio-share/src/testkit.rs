//! A guest with a shared folder, and a server in the same process that can be made to fail.

use crate::carrier::{Carrier, Patience};
use crate::config::identity;
use crate::server::Server;
use dev_virtio::When;
use dev_virtio::test_driver::{Ring, Rules};
use dev_virtio::testkit::{Guest, RAM, SIZE};
use fabric_bus::BusBuilder;
use fabric_ram::GuestRam;
use host_share::{FuseServer, NineServer, Options, Protocol};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support_hostmap::Pieces;

enum Speaks {
    Fuse(FuseServer),
    Nine(NineServer),
}

/// What the process that serves does, done here.
pub struct Local {
    speaks: Speaks,
    next: AtomicU64,
    replies: Mutex<VecDeque<(u64, Vec<u8>)>>,
    /// How many more requests there is room for.
    pub room: AtomicUsize,
    /// Requests are taken and not answered.
    pub silent: AtomicBool,
    pub gone: AtomicBool,
    pub seen: Mutex<Vec<Vec<u8>>>,
    descriptor: Arc<OwnedFd>,
}

impl Local {
    /// Answers what was kept back, the last one first.
    pub fn speak(&self) {
        self.silent.store(false, Ordering::SeqCst);
        let kept = std::mem::take(&mut *self.replies.lock().unwrap());
        *self.replies.lock().unwrap() = kept.into_iter().rev().collect();
    }

    /// Has a reply come that nobody asked for.
    pub fn say(&self, token: u64, reply: &[u8]) {
        self.replies.lock().unwrap().push_back((token, reply.to_vec()));
    }
}

impl Server for Local {
    fn token(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    fn send(&self, token: u64, request: &Pieces) -> io::Result<()> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.room.load(Ordering::SeqCst) == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room.fetch_sub(1, Ordering::SeqCst);
        let (request, mut reply) = (request.to_vec(), Vec::new());
        match &self.speaks {
            Speaks::Fuse(server) => server.handle(&request, &mut reply),
            Speaks::Nine(server) => server.handle(&request, &mut reply),
        }
        self.seen.lock().unwrap().push(request);
        self.replies.lock().unwrap().push_back((token, reply));
        Ok(())
    }

    fn receive(&self, reply: &mut Vec<u8>) -> io::Result<Option<u64>> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.silent.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let Some((token, bytes)) = self.replies.lock().unwrap().pop_front() else { return Ok(None) };
        *reply = bytes;
        Ok(Some(token))
    }

    fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.descriptor)
    }

    fn wait(&self, _room: bool, longest: Duration) {
        std::thread::sleep(longest.min(Duration::from_millis(1)));
    }
}

pub struct Machine {
    pub guest: Guest,
    pub server: Arc<Local>,
    pub complaints: Arc<Mutex<Vec<String>>>,
    protocol: Protocol,
}

pub const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };

impl Machine {
    pub fn new(folder: &Path, protocol: Protocol, at_once: bool) -> Machine {
        Machine::attended(folder, protocol, at_once, When::AtOnce)
    }

    pub fn attended(folder: &Path, protocol: Protocol, at_once: bool, when: When) -> Machine {
        let root = File::open(folder).unwrap().into();
        let speaks = match protocol {
            Protocol::Fuse => Speaks::Fuse(FuseServer::new(root, Options::default()).unwrap()),
            Protocol::Nine => Speaks::Nine(NineServer::new(root, Options::default()).unwrap()),
        };
        let server = Arc::new(Local {
            speaks,
            next: AtomicU64::new(0),
            replies: Mutex::default(),
            room: AtomicUsize::new(usize::MAX),
            silent: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            seen: Mutex::default(),
            descriptor: Arc::new(File::open("/dev/null").unwrap().into()),
        });
        let identity = identity(protocol, "share", 1);
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&complaints);
        let trouble = Box::new(move |text: &str| log.lock().unwrap().push(text.to_owned()));
        let patience = Patience { at_once, longest: Duration::from_millis(200) };
        let queues = identity.queues.len();
        let carrier = Carrier::new(Arc::clone(&server), protocol, queues, patience, trouble);
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(SIZE).unwrap()));
        builder.ram("ram", RAM, SIZE, 0, true).unwrap();
        let guest = Guest::attended(Arc::new(builder.build()), identity, Box::new(carrier), when);
        Machine { guest, server, complaints, protocol }
    }

    /// A machine with a driver, which holds the last queue.
    pub fn driven(folder: &Path, protocol: Protocol, at_once: bool) -> (Machine, Ring) {
        let machine = Machine::new(folder, protocol, at_once);
        let ring = machine.start(PLAIN);
        (machine, ring)
    }

    pub fn start(&self, rules: Rules) -> Ring {
        let queues = if self.protocol == Protocol::Fuse { 2 } else { 1 };
        self.guest.start(rules, queues).pop().unwrap()
    }

    /// Asks, and gives what came back once the device has looked again: bytes written, and those.
    pub fn ask(&self, ring: &mut Ring, readable: &[&[u8]], writable: &[usize]) -> Option<(u32, Vec<u8>)> {
        let id = self.guest.send(ring, readable, writable);
        self.guest.attendant.attend();
        let (came, written, bytes) = ring.collect().pop()?;
        assert_eq!(came, id);
        Some((written, bytes))
    }
}

/// A FUSE request.
pub fn fuse(opcode: u32, unique: u64, node: u64, body: &[u8]) -> Vec<u8> {
    let length = (40 + body.len() as u32).to_le_bytes();
    let numbers = [unique.to_le_bytes(), node.to_le_bytes(), [0; 8], [0; 8]].concat();
    [&length[..], &opcode.to_le_bytes(), &numbers, body].concat()
}

/// A 9P message.
pub fn nine(kind: u8, tag: u16, body: &[u8]) -> Vec<u8> {
    [&(7 + body.len() as u32).to_le_bytes()[..], &[kind], &tag.to_le_bytes(), body].concat()
}
