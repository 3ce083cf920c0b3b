//! Fuzz entry: any driver on the console's queues, and any user at its ports.

use crate::config::{bit, identity};
use crate::port::{MOST_WAITING, Port, Role, Size};
use crate::{Console, control};
use dev_virtio::fuzz_driver::{Driver, RAM, memory, number};
use dev_virtio::{Mmio, feature};
use fabric_bus::Target;
use fabric_ram::PAGE;

/// Ports, of which one is not there, and the queues of these.
const PORTS: usize = 4;
const QUEUES: u64 = 2 * PORTS as u64 + 2;
/// Where buffers are, behind a page for each queue.
const BUFFERS: u64 = RAM + QUEUES * PAGE;

fn ports() -> Vec<Option<Port>> {
    let port = |role| Some(Port::new(role, || ()));
    vec![port(Role::Console), None, port(Role::Named("a".into())), port(Role::Console)]
}

/// What the driver and the host do, step by step.
pub fn console(bytes: &[u8]) {
    let Some(bus) = memory(QUEUES + 4) else { return };
    let ports = ports();
    let device = Mmio::new(identity(PORTS));
    let driver = Driver::new(bus, device, Box::new(Console::new(ports.clone())));
    let mut bytes = bytes;
    let features = number::<1>(&mut bytes) & (bit::SIZE | bit::MULTIPORT | bit::EMERG_WRITE);
    let features = features | feature::VERSION_1 | feature::EVENT_IDX;
    driver.start(features, QUEUES);
    while !bytes.is_empty() {
        step(&driver, &ports, features, &mut bytes);
        for port in ports.iter().flatten() {
            assert!(!port.has_more_than(2 * MOST_WAITING), "bytes without end wait");
        }
    }
    driver.attendant.quiesce();
    let fed = |port: &Port| port.feed(b"x");
    assert!(ports.iter().flatten().all(|port| fed(port) == 0), "a device that stands still takes input");
}

fn step(driver: &Driver, ports: &[Option<Port>], features: u64, bytes: &mut &[u8]) {
    let (kind, which) = (number::<1>(bytes), number::<1>(bytes));
    let port = ports.get(which as usize % PORTS).and_then(Option::as_ref);
    let queue = which % QUEUES;
    match kind % 12 {
        // A message as it should be, nearly.
        0 | 1 => {
            let message = [which & 7, 0, 0, 0, number::<1>(bytes) & 7, 0, number::<1>(bytes) & 3, 0];
            let message = message.map(|byte| byte as u8);
            let _ = driver.bus.ram().copy_in(QUEUES * PAGE, &message);
            driver.give(3, BUFFERS, control::HEAD as u64, 0);
            driver.write(0x50, 3);
        }
        2..=4 => {
            let (page, len) = (number::<1>(bytes) % 5, number::<2>(bytes) % 0x1800);
            let flags = if queue.is_multiple_of(2) { 2 } else { 0 };
            driver.give(queue, BUFFERS + page * PAGE, len, flags);
            driver.write(0x50, queue);
        }
        // A request of any form.
        5 => {
            let (at, len, flags) = (number::<4>(bytes), number::<4>(bytes), number::<1>(bytes));
            driver.give(queue, at, len, flags);
            driver.write(0x50, queue);
        }
        6 => {
            let len = number::<2>(bytes) as usize;
            port.map(|port| port.feed(&vec![7; len]));
            driver.attendant.attend_all();
        }
        7 => {
            if let Some(port) = port {
                port.drain(&mut Vec::new());
            }
            driver.attendant.attend_all();
        }
        8 => {
            let (columns, rows) = (number::<1>(bytes) as u16, number::<1>(bytes) as u16);
            if let Some(port) = port {
                port.set_connected(columns & 1 != 0);
                port.set_size(Size { columns, rows });
            }
            driver.attendant.attend_all();
        }
        9 => {
            let (size, value) = (1 << (kind >> 6), number::<4>(bytes));
            let _ = driver.window.write(0x100 + (which & 15), size, value);
        }
        10 => driver.attendant.quiesce(),
        _ if which & 3 == 0 => driver.start(features, QUEUES),
        _ => {
            let _ = driver.window.write((which * 4) & 0xff, 4, number::<4>(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use dev_core::chipset::noise;

    #[test]
    fn drivers_of_any_kind() {
        for round in 1..=300 {
            super::console(&noise(round, 1500));
        }
    }

    /// That steps reach what they are for.
    #[test]
    fn a_driver_that_knows_how() {
        // All features, the device is ready, a message buffer, port 0 known and open, a buffer for input, input, output, drained.
        let steps: &[&[u8]] = &[
            &[7],
            &[0, 0, 0, 1],
            &[2, 2, 0, 0, 64],
            &[0, 0, 3, 1],
            &[0, 0, 6, 1],
            &[2, 0, 1, 0, 64],
            &[6, 0, 0, 9],
            &[2, 1, 2, 0, 64],
            &[7, 0],
        ];
        super::console(&steps.concat());
    }
}
