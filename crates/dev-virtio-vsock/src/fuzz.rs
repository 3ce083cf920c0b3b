//! Fuzz entry: any driver on the socket device's queues, and anybody on its host.

use crate::backend::{MOST_CONNECTIONS, Vsock};
use crate::config::{HOST_CID, bit, identity};
use crate::packet::{HEADER, Header};
use crate::stage::{Shared, Stage, lock};
use dev_virtio::fuzz_driver::{Driver, RAM, memory, number};
use dev_virtio::{Mmio, feature};
use fabric_bus::Target;
use fabric_ram::PAGE;
use std::sync::{Arc, PoisonError};

const CID: u32 = 3;
const QUEUES: u64 = 3;
/// Where packets from the driver are, and behind that its buffers for others.
const PACKET: u64 = QUEUES * PAGE;
const BUFFERS: u64 = RAM + PACKET + 2 * PAGE;

/// What the driver and the host do, step by step.
pub fn vsock(bytes: &[u8]) {
    let (Some(bus), Ok(stage)) = (memory(QUEUES + 6), Stage::new()) else { return };
    let device = Vsock::new(CID, Arc::clone(&stage) as _);
    let driver = Driver::new(bus, Mmio::new(identity(CID)), Box::new(device));
    let mut bytes = bytes;
    let features =
        feature::VERSION_1 | feature::EVENT_IDX | bit::STREAM | number::<1>(&mut bytes) & bit::SEQPACKET;
    driver.start(features, QUEUES);
    let mut calls = Vec::new();
    while !bytes.is_empty() {
        step(&driver, &stage, &mut calls, features, &mut bytes);
        let taken = stage.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = taken.iter().map(|(_, end)| end).chain(&calls).filter(|end| !lock(end).gone).count();
        assert!(alive <= MOST_CONNECTIONS + calls.len(), "{alive} connections");
    }
    driver.attendant.quiesce();
}

/// A packet from bytes: addresses that are in use now and then, and numbers of every size.
fn packet(bytes: &mut &[u8]) -> Header {
    let mut small = || number::<1>(bytes);
    let (ports, kind, op, flags) = (small(), small(), small(), small());
    let wild = |n: u64| if n & 0x80 == 0 { n & 0x7f } else { 1 << (n & 0x1f) };
    let callers = if ports & 0x80 == 0 { 0 } else { 1 << 30 };
    let (len, room, taken) = (wild(small()), wild(small()), wild(small()));
    Header {
        src_cid: u64::from(CID) + u64::from(kind & 0x80 != 0),
        dst_cid: HOST_CID + u64::from(kind & 0x40 != 0),
        src_port: ports as u32 & 3,
        dst_port: callers + (ports as u32 >> 2 & 3),
        len: len as u32,
        kind: if kind & 0x3c == 0x3c { kind as u16 } else { 1 + (kind & 1) as u16 },
        op: if op & 0xf0 == 0xf0 { op as u16 } else { op as u16 & 7 },
        flags: flags as u32,
        buf_alloc: (room << (flags >> 4)) as u32,
        fwd_cnt: taken as u32,
    }
}

fn step(driver: &Driver, stage: &Stage, calls: &mut Vec<Shared>, features: u64, bytes: &mut &[u8]) {
    let (kind, which) = (number::<1>(bytes), number::<1>(bytes));
    let end = || {
        let taken = stage.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Shared> = taken.iter().map(|(_, end)| end).chain(&*calls).cloned().collect();
        let at = which as usize % all.len().max(1);
        all.get(at).cloned()
    };
    match kind % 12 {
        0..=3 => {
            let header = packet(bytes);
            let _ = driver.bus.ram().copy_in(PACKET, &header.bytes());
            // Mostly with as many bytes as it says.
            let more = if which & 7 == 0 { which >> 3 } else { u64::from(header.len.min(PAGE as u32)) };
            driver.give(1, RAM + PACKET, HEADER as u64 + more, 0);
            driver.write(0x50, 1);
        }
        4 | 5 => {
            driver.give(0, BUFFERS + (which & 1) * PAGE, HEADER as u64 + number::<2>(bytes) % PAGE, 2);
            driver.write(0x50, 0);
        }
        6 => {
            let (at, len, flags) = (number::<4>(bytes), number::<4>(bytes), number::<1>(bytes));
            driver.give(which % QUEUES, at, len, flags);
            driver.write(0x50, which % QUEUES);
        }
        7 => {
            if calls.len() < 512 {
                calls.push(stage.call(which as u32 & 7));
            }
            driver.attendant.attend_all();
        }
        8 => {
            if let Some(end) = end() {
                let len = number::<2>(bytes) as usize % 0x3000;
                lock(&end).said.push_back(vec![5; len + 1]);
            }
            driver.attendant.attend_all();
        }
        9 => {
            if let Some(end) = end() {
                let mut end = lock(&end);
                end.takes = number::<2>(bytes) as usize;
                end.ended |= which & 0x80 != 0;
                end.heard.clear();
            }
            driver.attendant.attend_all();
        }
        10 if which & 3 == 0 => driver.start(features, QUEUES),
        10 => driver.attendant.quiesce(),
        _ => {
            let _ = driver.window.write((which * 4) & 0xfc, 4, number::<4>(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn drivers_of_any_kind() {
        for round in 1..=300 {
            super::vsock(&noise(round, 1500));
        }
    }
}
