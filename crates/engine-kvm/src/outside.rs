//! What lies outside the guest's RAM: devices in memory, the local APIC's page, I/O ports.

use crate::Space;
use fabric_bus::Bus;
use fabric_wire::LocalController;
use fabric_wire::local::apic_base;
use std::sync::Arc;

/// Where a processor's accesses go that its engine does not do itself.
pub(crate) struct Outside {
    pub memory: Arc<Bus>,
    pub ports: Arc<Bus>,
    /// The local APIC, if the kernel has none.
    pub local: Option<Arc<dyn LocalController>>,
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |v, &byte| v << 8 | u64::from(byte))
}

fn answer(buffer: &mut [u8], value: u64) {
    for (to, from) in buffer.iter_mut().zip(value.to_le_bytes()) {
        *to = from;
    }
}

impl Outside {
    /// Answers reads of a port, one for each element of `size` bytes.
    pub fn port_in(&self, port: u16, size: u8, buffer: &mut [u8]) {
        for element in buffer.chunks_mut(size.max(1).into()) {
            answer(element, read(Space::Ports, &self.ports, port.into(), size));
        }
    }

    /// Does writes to a port.
    pub fn port_out(&self, port: u16, size: u8, data: &[u8]) {
        for element in data.chunks(size.max(1).into()) {
            write(Space::Ports, &self.ports, port.into(), size, number(element));
        }
    }

    /// Answers a read of memory that is no RAM.
    pub fn read(&self, address: u64, buffer: &mut [u8]) {
        let size = buffer.len() as u8;
        let value = match self.local_page(address) {
            Some((local, offset)) => local.read(offset, size),
            None => read(Space::Memory, &self.memory, address, size),
        };
        answer(buffer, value);
    }

    /// Does a write there.
    pub fn write(&self, address: u64, data: &[u8]) {
        let (size, value) = (data.len() as u8, number(data));
        match self.local_page(address) {
            Some((local, offset)) => local.write(offset, size, value),
            None => write(Space::Memory, &self.memory, address, size, value),
        }
    }

    /// The local APIC and the offset in its page, if `address` is there.
    fn local_page(&self, address: u64) -> Option<(&Arc<dyn LocalController>, u64)> {
        let local = self.local.as_ref()?;
        let base = local.apic_base();
        let here = base & apic_base::ENABLE != 0 && address & !0xfff == base & !0xfff;
        here.then_some((local, address & 0xfff))
    }
}

/// Whether the bus takes the access as it is. I/O ports need no alignment; what memory lacks of it, KVM has not mended.
fn whole(space: Space, address: u64, size: u8) -> bool {
    matches!(size, 1 | 2 | 4 | 8) && (space == Space::Ports || address.is_multiple_of(size.into()))
}

/// Reads a device; nothing there gives all ones, as on a PC.
fn read(space: Space, bus: &Bus, address: u64, size: u8) -> u64 {
    if whole(space, address, size) {
        return bus.read(address, size).unwrap_or(u64::MAX >> (64 - 8 * u32::from(size)));
    }
    let byte = |i| bus.read(address.wrapping_add(i), 1).unwrap_or(0xff) & 0xff;
    (0..u64::from(size.min(8))).fold(0, |v, i| v | byte(i) << (8 * i))
}

/// Writes a device; nothing there ignores it.
fn write(space: Space, bus: &Bus, address: u64, size: u8, value: u64) {
    if whole(space, address, size) {
        let _ = bus.write(address, size, value);
        return;
    }
    for i in 0..u64::from(size.min(8)) {
        let _ = bus.write(address.wrapping_add(i), 1, value >> (8 * i) & 0xff);
    }
}
