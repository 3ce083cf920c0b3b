//! Messages about ports, in both directions (section 5.3.6.2).

use crate::port::Size;

/// Bytes of `struct virtio_console_control`.
pub(crate) const HEAD: usize = 8;

/// What a message is about.
pub(crate) mod event {
    /// The driver is there, or has failed.
    pub const DEVICE_READY: u16 = 0;
    /// There is such a port.
    pub const DEVICE_ADD: u16 = 1;
    /// The driver knows the port, or has failed to.
    pub const PORT_READY: u16 = 3;
    /// The port is a console.
    pub const CONSOLE_PORT: u16 = 4;
    /// The console has this size.
    pub const RESIZE: u16 = 5;
    /// Somebody has opened the port, or closed it.
    pub const PORT_OPEN: u16 = 6;
    /// The port has this name.
    pub const PORT_NAME: u16 = 7;
}

/// A message from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub port: usize,
    pub event: u16,
    pub value: u16,
}

/// The message in these bytes.
pub(crate) fn heard([a, b, c, d, e, f, g, h]: [u8; HEAD]) -> Heard {
    Heard {
        // A number that does not fit is that of no port.
        port: usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX),
        event: u16::from_le_bytes([e, f]),
        value: u16::from_le_bytes([g, h]),
    }
}

/// A message to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Add,
    Console,
    Name(String),
    Open(bool),
    Resize(Size),
}

impl Message {
    /// Its bytes, if it is about this port.
    pub fn bytes(&self, port: usize) -> Vec<u8> {
        let (event, value) = match self {
            Message::Add => (event::DEVICE_ADD, 1),
            Message::Console => (event::CONSOLE_PORT, 1),
            Message::Name(_) => (event::PORT_NAME, 1),
            Message::Open(open) => (event::PORT_OPEN, u16::from(*open)),
            Message::Resize(_) => (event::RESIZE, 0),
        };
        // Ports are few.
        let mut bytes = (port as u32).to_le_bytes().to_vec();
        bytes.extend(event.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        match self {
            Message::Name(name) => bytes.extend(name.bytes()),
            // Columns first. Linux read the rows first (drivers/char/virtio_console.c, `VIRTIO_CONSOLE_RESIZE`) until it was
            // brought in line with the specification in 2025; Debian's 6.12.117 does as that says.
            Message::Resize(size) => {
                bytes.extend(size.columns.to_le_bytes());
                bytes.extend(size.rows.to_le_bytes());
            }
            Message::Add | Message::Console | Message::Open(_) => {}
        }
        bytes
    }
}
