//! What the device says of itself: the configuration space of section 5.8.4.

use dev_virtio::{Identity, feature};

/// What the driver can ask for (section 5.8.4, `virtio_input_config_select`).
mod select {
    /// The device's name.
    pub const ID_NAME: u8 = 0x01;
    /// Its serial number.
    pub const ID_SERIAL: u8 = 0x02;
    /// Bus, vendor, product and version.
    pub const ID_DEVIDS: u8 = 0x03;
    /// The codes of a type of events, by `subsel`.
    pub const EV_BITS: u8 = 0x11;
}

/// Type of events: keys and buttons (`EV_KEY`).
pub(crate) const EV_KEY: u8 = 1;
/// The power button (`KEY_POWER`).
pub(crate) const KEY_POWER: u16 = 116;

/// Descriptors of each queue: as many buffers as Linux's driver keeps.
pub(crate) const QUEUE_SIZE: u16 = 64;

/// Where in the space `size` is, behind `select` and `subsel`, and after five reserved bytes the answer.
const SIZE: usize = 2;
const ANSWER: usize = 8;
/// Most bytes of an answer.
const MOST: usize = 128;

const NAME: &[u8] = b"Hostel power button";
const SERIAL: &[u8] = b"power0";
/// `BUS_VIRTUAL`, then numbers that nobody else has given away: there is no list of them for virtual devices.
const IDS: [u16; 4] = [0x06, 0x4853, 1, 1];

/// What it is: an event queue and a status queue.
pub fn identity() -> Identity {
    // Only `select` and `subsel` are the driver's.
    let (config, writable) = (vec![0; ANSWER + MOST], vec![0xff, 0xff]);
    Identity {
        id: 18,
        features: feature::USUAL | feature::RING_PACKED,
        queues: vec![QUEUE_SIZE; 2],
        config,
        writable,
    }
}

/// The answer to what the driver has selected, in place. What there is nothing of has the size 0.
pub fn answer(config: &mut [u8]) {
    let (select, subsel) = match config {
        [select, subsel, ..] => (*select, *subsel),
        _ => return,
    };
    let bytes = said(select, subsel);
    if let Some(size) = config.get_mut(SIZE) {
        *size = bytes.len() as u8;
    }
    for (at, byte) in config.iter_mut().skip(ANSWER).enumerate() {
        *byte = bytes.get(at).copied().unwrap_or(0);
    }
}

fn said(select: u8, subsel: u8) -> Vec<u8> {
    match (select, subsel) {
        (select::ID_NAME, 0) => NAME.to_vec(),
        (select::ID_SERIAL, 0) => SERIAL.to_vec(),
        (select::ID_DEVIDS, 0) => IDS.into_iter().flat_map(u16::to_le_bytes).collect(),
        (select::EV_BITS, EV_KEY) => {
            let mut bits = vec![0; usize::from(KEY_POWER / 8)];
            bits.push(1 << (KEY_POWER % 8));
            bits
        }
        _ => Vec::new(),
    }
}

const _: () = assert!(NAME.len() <= MOST && (KEY_POWER as usize) < 8 * MOST);
