//! A guest with a socket device, and a driver that speaks section 5.10 by itself.

use crate::config::{bit, identity};
use crate::packet::{HEADER, Header};
use crate::stage::{Shared, Stage, lock};
use crate::{BUFFER, Vsock};
use dev_virtio::test_driver::{Ring, Rules};
use dev_virtio::testkit::{AREA, Guest, QUEUE_SIZE, RAM, area};
use fabric_bus::BusBuilder;
use fabric_ram::GuestRam;
use std::sync::Arc;

pub const PLAIN: Rules = Rules { packed: false, events: false, indirect: false };
pub const CID: u32 = 5;
const MEMORY: u64 = 2 << 20;
/// Bytes behind the header in each of the driver's buffers.
pub const ROOM: usize = 1000;

pub struct Machine {
    pub guest: Guest,
    pub stage: Arc<Stage>,
}

impl Machine {
    pub fn new() -> Machine {
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(MEMORY).unwrap()));
        builder.ram("ram", RAM, MEMORY, 0, true).unwrap();
        let stage = Stage::new().unwrap();
        let vsock = Vsock::new(CID, Arc::clone(&stage) as _);
        let guest = Guest::on(Arc::new(builder.build()), identity(CID), Box::new(vsock));
        Machine { guest, stage }
    }

    /// One with a driver, which takes message connections too.
    pub fn driven() -> (Machine, Vec<Ring>) {
        let machine = Machine::new();
        let mut rings = machine.start(PLAIN, bit::SEQPACKET);
        machine.listen(&mut rings);
        (machine, rings)
    }

    pub fn start(&self, rules: Rules, features: u64) -> Vec<Ring> {
        assert_eq!(self.guest.negotiate(rules.features() | features) & 8, 8, "{rules:?}");
        let ring = |n| {
            self.guest.poke(area(n), &[0; AREA as usize]);
            self.guest.set_queue(n, QUEUE_SIZE);
            Ring::new(Arc::clone(&self.guest.bus), rules, n, QUEUE_SIZE)
        };
        let rings = (0..3).map(ring).collect();
        self.guest.drive();
        rings
    }

    /// Buffers for packets, all there can be.
    pub fn listen(&self, rings: &mut [Ring]) {
        while rings[0].has_room(2) {
            self.guest.send(&mut rings[0], &[], &[HEADER, ROOM]);
        }
    }

    pub fn send(&self, rings: &mut [Ring], header: Header, payload: &[u8]) {
        let mut parts = vec![header.bytes()];
        parts.extend(payload.chunks(1024).map(<[u8]>::to_vec));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        self.guest.send(&mut rings[1], &parts, &[]);
        rings[1].collect();
    }

    /// A packet of the right form: its answers.
    pub fn says(&self, rings: &mut [Ring], header: Header, payload: &[u8]) -> Vec<(Header, Vec<u8>)> {
        self.send(rings, Header { len: payload.len() as u32, ..header }, payload);
        self.heard(rings)
    }

    /// What has come since this was last asked.
    pub fn heard(&self, rings: &mut [Ring]) -> Vec<(Header, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            self.guest.attendant.attend_all();
            let came = rings[0].collect();
            if came.is_empty() {
                return all;
            }
            self.listen(rings);
            for (_, written, bytes) in came {
                let header = Header::parse(bytes.first_chunk().unwrap());
                let payload = bytes[HEADER..written as usize].to_vec();
                assert_eq!(header.len as usize, payload.len());
                assert_eq!(header.dst_cid, u64::from(CID));
                all.push((header, payload));
            }
        }
    }

    /// A connection from a port of the guest's to one of the host's, whose user's end this is.
    pub fn connected(&self, rings: &mut [Ring], guest: u32, host: u32) -> Shared {
        let answers = self.says(rings, from(guest, host, 1), &[]);
        assert_eq!(answers.iter().map(|(header, _)| header.op).collect::<Vec<_>>(), [2]);
        Arc::clone(&self.stage.taken.lock().unwrap().last().unwrap().1)
    }
}

/// A packet from the guest of this operation, by its number, with plenty of room for what comes back.
pub fn from(guest: u32, host: u32, op: u16) -> Header {
    Header {
        src_cid: u64::from(CID),
        dst_cid: 2,
        src_port: guest,
        dst_port: host,
        kind: 1,
        op,
        buf_alloc: BUFFER,
        ..Header::default()
    }
}

/// What the user of that end has heard, joined.
pub fn heard_of(end: &Shared) -> Vec<u8> {
    std::mem::take(&mut lock(end).heard).concat()
}

/// Operations of packets, and their flags.
pub fn ops(all: &[(Header, Vec<u8>)]) -> Vec<(u16, u32)> {
    all.iter().map(|(header, _)| (header.op, header.flags)).collect()
}
