//! The driver's side of a virtqueue, for tests: written from sections 2.7 and 2.8 by themselves, not from the device's side.

use crate::feature;
use crate::testkit::{BUFFERS, RAM, area};
use fabric_bus::Bus;
use std::sync::Arc;

/// What was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub packed: bool,
    pub events: bool,
    pub indirect: bool,
}

impl Rules {
    pub fn all() -> impl Iterator<Item = Rules> {
        (0..8).map(|n| Rules { packed: n & 1 != 0, events: n & 2 != 0, indirect: n & 4 != 0 })
    }

    pub fn features(self) -> u64 {
        let when = |yes, feature| if yes { feature } else { 0 };
        feature::VERSION_1
            | when(self.packed, feature::RING_PACKED)
            | when(self.events, feature::EVENT_IDX)
            | when(self.indirect, feature::INDIRECT_DESC)
    }
}

/// A request that the device has.
#[derive(Clone, Debug)]
struct Lent {
    id: u16,
    /// Descriptors of the ring that it takes.
    heads: Vec<u16>,
    writable: Vec<(u64, usize)>,
}

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Bytes of one buffer, of one request's buffers, of one request's table.
const ROOM: u64 = 1024;
const REQUEST: u64 = 8 * ROOM;
const TABLE: u64 = 16 * 8;

/// A queue as its driver has it.
pub struct Ring {
    bus: Arc<Bus>,
    pub rules: Rules,
    pub number: u64,
    pub size: u16,
    lent: Vec<Lent>,
    /// Free descriptors of a split queue; free ids of a packed one.
    free: Vec<u16>,
    available: u16,
    available_wrap: bool,
    used: u16,
    used_wrap: bool,
    /// Where `available` was when the device was last rung for, or not.
    asked: u16,
    /// Descriptors made available since then in a packed ring.
    new: u16,
}

impl Ring {
    pub fn new(bus: Arc<Bus>, rules: Rules, number: u64, size: u16) -> Ring {
        let (available, used, asked) = (0, 0, 0);
        let (available_wrap, used_wrap) = (true, true);
        let free = (0..size).rev().collect();
        let lent = Vec::new();
        Ring {
            bus,
            rules,
            number,
            size,
            lent,
            free,
            available,
            available_wrap,
            used,
            used_wrap,
            asked,
            new: 0,
        }
    }

    fn base(&self) -> u64 {
        area(self.number)
    }

    fn store16(&self, at: u64, value: u16) {
        self.bus.ram().store(at - RAM, value).unwrap();
    }

    fn load16(&self, at: u64) -> u16 {
        self.bus.ram().load(at - RAM).unwrap()
    }

    fn load32(&self, at: u64) -> u32 {
        self.bus.ram().load(at - RAM).unwrap()
    }

    /// Requests that the device has.
    pub fn outstanding(&self) -> usize {
        self.lent.len()
    }

    /// Whether a request of so many buffers finds room.
    pub fn has_room(&self, buffers: usize) -> bool {
        let taken: usize = self.lent.iter().map(|lent| lent.heads.len()).sum();
        let needed = if self.rules.indirect { 1 } else { buffers };
        taken + needed <= usize::from(self.size)
    }

    fn descriptor(&self, at: u64, buffer: (u64, usize), c: u16, d: u16) {
        let ram = self.bus.ram();
        ram.store(at - RAM, buffer.0).unwrap();
        ram.store(at - RAM + 8, buffer.1 as u32).unwrap();
        let (flags, other) = if self.rules.packed { (14, 12) } else { (12, 14) };
        ram.store(at - RAM + other, d).unwrap();
        ram.store(at - RAM + flags, c).unwrap();
    }

    /// Makes a request available. Buffers are of [`ROOM`] bytes at most, and eight at most.
    pub fn add(&mut self, readable: &[&[u8]], writable: &[usize]) -> u16 {
        assert!(self.has_room(readable.len() + writable.len()));
        let id = *self.free.last().unwrap();
        let room = BUFFERS + (self.number * 16 + u64::from(id)) * REQUEST;
        let mut buffers = Vec::new();
        for bytes in readable {
            let at = room + buffers.len() as u64 * ROOM;
            self.bus.ram().copy_in(at - RAM, bytes).unwrap();
            buffers.push((at, bytes.len(), 0));
        }
        for &len in writable {
            let at = room + buffers.len() as u64 * ROOM;
            self.bus.ram().fill(at - RAM, ROOM, 0).unwrap();
            buffers.push((at, len, WRITE));
        }
        let writable = buffers.iter().filter(|b| b.2 == WRITE).map(|b| (b.0, b.1)).collect();
        if self.rules.indirect {
            let table = self.base() + 0xc000 + u64::from(id) * TABLE;
            let last = buffers.len() - 1;
            for (n, &(at, len, flags)) in buffers.iter().enumerate() {
                let next = if n == last || self.rules.packed { 0 } else { NEXT };
                let place = table + 16 * n as u64;
                self.descriptor(place, (at, len), flags | next, if next != 0 { n as u16 + 1 } else { 0 });
            }
            buffers = vec![(table, 16 * (last + 1), INDIRECT)];
        }
        let heads = if self.rules.packed { self.add_packed(id, &buffers) } else { self.add_split(&buffers) };
        let packed = self.rules.packed;
        self.free.retain(|n| if packed { *n != id } else { !heads.contains(n) });
        self.lent.push(Lent { id, heads, writable });
        id
    }

    fn add_split(&mut self, buffers: &[(u64, usize, u16)]) -> Vec<u16> {
        let heads: Vec<u16> = self.free.iter().rev().take(buffers.len()).copied().collect();
        for (n, &(at, len, flags)) in buffers.iter().enumerate() {
            let next = heads.get(n + 1).copied();
            let place = self.base() + 16 * u64::from(heads[n]);
            let more = if next.is_some() { NEXT } else { 0 };
            self.descriptor(place, (at, len), flags | more, next.unwrap_or(0xdead));
        }
        let ring = self.base() + 0x4000;
        self.store16(ring + 4 + 2 * u64::from(self.available % self.size), heads[0]);
        self.available = self.available.wrapping_add(1);
        self.store16(ring + 2, self.available);
        heads
    }

    /// Descriptors in the order of the ring, the first one's flags last.
    fn add_packed(&mut self, id: u16, buffers: &[(u64, usize, u16)]) -> Vec<u16> {
        let mut places = Vec::new();
        for (n, &(at, len, flags)) in buffers.iter().enumerate() {
            let more = if n + 1 < buffers.len() { NEXT } else { 0 };
            let owner = if self.available_wrap { 1 << 7 } else { 1 << 15 };
            places.push((self.available, (at, len), flags | more | owner));
            self.available += 1;
            if self.available == self.size {
                (self.available, self.available_wrap) = (0, !self.available_wrap);
            }
        }
        for &(place, buffer, flags) in places.iter().rev() {
            self.descriptor(self.base() + 16 * u64::from(place), buffer, flags, id);
        }
        self.new += places.len() as u16;
        places.iter().map(|place| place.0).collect()
    }

    /// Whether the device wants to be rung for what was added since this was last asked.
    pub fn rings(&mut self) -> bool {
        let device = self.base() + 0x8000;
        let new = std::mem::take(&mut self.new);
        if !self.rules.packed {
            let old = std::mem::replace(&mut self.asked, self.available);
            if self.rules.events {
                let event = self.load16(device + 4 + 8 * u64::from(self.size));
                return self.available.wrapping_sub(event).wrapping_sub(1) < self.available.wrapping_sub(old);
            }
            return self.load16(device) & 1 == 0;
        }
        let (at, flags) = (self.load16(device), self.load16(device + 2));
        match flags & 3 {
            0 => true,
            1 => false,
            _ => {
                // Places since the ring began, as if it never went round.
                let here =
                    i32::from(self.available) + if self.available_wrap { 0 } else { i32::from(self.size) };
                let event = i32::from(at & 0x7fff) + if at >> 15 != 0 { 0 } else { i32::from(self.size) };
                let back = (here - event).rem_euclid(2 * i32::from(self.size));
                0 < back && back <= i32::from(new)
            }
        }
    }

    /// Asks for an interrupt with the next request that comes back, or for none.
    pub fn want_interrupts(&self, yes: bool) {
        let driver = self.base() + 0x4000;
        match (self.rules.packed, self.rules.events) {
            (false, false) => self.store16(driver, u16::from(!yes)),
            (false, true) => {
                let event = if yes { self.used } else { self.used.wrapping_add(0x8000) };
                self.store16(driver + 4 + 2 * u64::from(self.size), event);
            }
            (true, events) => {
                self.store16(driver, self.used | if self.used_wrap { 1 << 15 } else { 0 });
                self.store16(
                    driver + 2,
                    if !yes {
                        1
                    } else if events {
                        2
                    } else {
                        0
                    },
                );
            }
        }
    }

    /// Takes what came back: the id, bytes written, all of the buffers that could be.
    pub fn collect(&mut self) -> Vec<(u16, u32, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((id, written)) = if self.rules.packed { self.next_packed() } else { self.next_split() }
        {
            let at = self.lent.iter().position(|lent| lent.id == id).expect("a request that the device has");
            let lent = self.lent.remove(at);
            if self.rules.packed {
                self.used += lent.heads.len() as u16;
                if self.used >= self.size {
                    (self.used, self.used_wrap) = (self.used - self.size, !self.used_wrap);
                }
                self.free.push(id);
            } else {
                self.free.extend(lent.heads.iter().rev());
            }
            let mut bytes = Vec::new();
            for (at, len) in lent.writable {
                let mut part = vec![0; len];
                self.bus.ram().copy_out(at - RAM, &mut part).unwrap();
                bytes.extend(part);
            }
            all.push((id, written, bytes));
        }
        all
    }

    fn next_split(&mut self) -> Option<(u16, u32)> {
        let ring = self.base() + 0x8000;
        if self.load16(ring + 2) == self.used {
            return None;
        }
        let entry = ring + 4 + 8 * u64::from(self.used % self.size);
        self.used = self.used.wrapping_add(1);
        Some((self.load32(entry) as u16, self.load32(entry + 4)))
    }

    fn next_packed(&mut self) -> Option<(u16, u32)> {
        let place = self.base() + 16 * u64::from(self.used);
        let flags = self.load16(place + 14);
        let (avail, used) = (flags >> 7 & 1 != 0, flags >> 15 != 0);
        if avail != used || used != self.used_wrap {
            return None;
        }
        let written = if flags & WRITE != 0 { self.load32(place + 8) } else { 0 };
        Some((self.load16(place + 12), written))
    }
}
