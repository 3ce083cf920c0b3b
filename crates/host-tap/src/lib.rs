//! A tap device of the host's as a guest's network: a [`NetPort`] on `/dev/net/tun`.
//!
//! The kernel does what the user network does in a process of its own: it takes frames of 64 KiB with checksums that are
//! only begun, and gives such as the guest takes. It knows no network card, no bridge and no address: making the device,
//! giving it to a user and joining it to a network is the administrator's (`ip tuntap add NAME mode tap user USER
//! vnet_hdr`).
//!
//! Island of `unsafe`: the requests of `/dev/net/tun` (Linux, `Documentation/networking/tuntap.rst` and
//! `include/uapi/linux/if_tun.h`) have no safe form anywhere.

mod request;

use host_net::{NetPort, Offloads, SendError, VNET};
use request::InterfaceRequest;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use support_hostmap::{Pieces, read_frame, write_frame};

/// `TUN_F_*`: what the reader of a tap device takes.
mod takes {
    pub const CSUM: u32 = 1;
    pub const TSO4: u32 = 2;
    pub const TSO6: u32 = 4;
    pub const USO4: u32 = 0x20;
    pub const USO6: u32 = 0x40;
    /// What every kernel knows.
    pub const OLD: u32 = CSUM | TSO4 | TSO6;
}

/// A tap device that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// No such thing on this host, or not for this user.
    #[error("cannot open /dev/net/tun: {0}; is the module tun loaded, and may you write there?")]
    Device(Errno),
    /// A name has at most 15 bytes, and some characters mean something.
    #[error("{0:?} is no name of a network device: 1 to 15 bytes without slash, space or %")]
    Name(String),
    /// The device is not there, is another's, or is in use.
    #[error(
        "cannot use the tap device {name}: {error}; make it with \
         `ip tuntap add {name} mode tap user $USER vnet_hdr{}` as root, and bring it up",
        if *several { " multi_queue" } else { "" }
    )]
    Attach {
        /// Which.
        name: String,
        /// Why not.
        error: Errno,
        /// Whether it is to have several queues.
        several: bool,
    },
    /// A kernel without virtio-net headers of 12 bytes.
    #[error("the host's tap devices are too old for Hostel: {0}")]
    Old(Errno),
}

/// A tap device.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    mtu: u16,
    /// Whether the kernel cuts UDP, and gives it whole (Linux 6.2).
    uso: bool,
    down: AtomicBool,
}

impl Tap {
    /// Attaches to the tap device of this name. With the right to do so (`CAP_NET_ADMIN`), one that does not exist is
    /// made, and goes when this is dropped. `mtu` is what the guest is told.
    ///
    /// # Errors
    /// If the host has no such device for this user.
    pub fn open(name: &str, mtu: u16) -> Result<Tap, TapError> {
        Tap::attach(name, mtu, false)
    }

    /// The same by several queues, among which the kernel spreads what the guest is sent. A device that was made has to be
    /// one for several (`ip tuntap add … multi_queue`).
    ///
    /// # Errors
    /// As for [`Tap::open`].
    pub fn open_queues(name: &str, mtu: u16, queues: usize) -> Result<Vec<Tap>, TapError> {
        (0..queues).map(|_| Tap::attach(name, mtu, queues > 1)).collect()
    }

    fn attach(name: &str, mtu: u16, several: bool) -> Result<Tap, TapError> {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"/%:".contains(c);
        if name.is_empty() || name.len() > 15 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(TapError::Name(name.to_owned()));
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = open("/dev/net/tun", flags, Mode::empty()).map_err(TapError::Device)?;
        request::attach(&fd, &InterfaceRequest::tap(name, several)).map_err(|error| TapError::Attach {
            name: name.to_owned(),
            error,
            several,
        })?;
        request::set_header_size(&fd, VNET as i32).map_err(TapError::Old)?;
        let uso = request::set_offloads(&fd, takes::OLD | takes::USO4 | takes::USO6).is_ok();
        let tap = Tap { fd, mtu, uso, down: AtomicBool::new(false) };
        tap.set_offloads(Offloads::default());
        Ok(tap)
    }

    fn sent(&self, result: Result<usize, Errno>) -> Result<(), SendError> {
        match result {
            // What the kernel does not take for a frame is the guest's mistake, and lost; so is what comes too early.
            Ok(_) | Err(Errno::INVAL | Errno::IO | Errno::MSGSIZE) => Ok(()),
            Err(error) => Err(self.fail(error, SendError::Down, SendError::Full)),
        }
    }

    fn came(&self, result: Result<usize, Errno>) -> Option<usize> {
        match result {
            Ok(length) => Some(length),
            Err(error) => self.fail(error, None, None),
        }
    }

    fn fail<T>(&self, error: Errno, down: T, full: T) -> T {
        match error {
            // Without an address, or not up: like a cable that is not plugged in, frames get lost (EIO).
            Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::IO => full,
            _ => {
                self.down.store(true, Ordering::Relaxed);
                down
            }
        }
    }
}

/// Of an error that is the kernel's.
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl NetPort for Tap {
    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        self.sent(rustix::io::write(&self.fd, frame))
    }

    fn send_from(&self, frame: &Pieces) -> Result<(), SendError> {
        self.sent(write_frame(&self.fd, frame).map_err(errno))
    }

    fn receive(&self, into: &mut [u8]) -> Option<usize> {
        self.came(rustix::io::read(&self.fd, into))
    }

    fn receive_into(&self, into: &Pieces) -> Option<usize> {
        self.came(read_frame(&self.fd, into).map_err(errno))
    }

    fn supports(&self) -> Offloads {
        Offloads { uso4: self.uso, uso6: self.uso, ..Offloads::ALL }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn set_offloads(&self, offloads: Offloads) {
        let mut bits = 0;
        if offloads.checksum {
            let all = [
                (true, takes::CSUM),
                (offloads.tso4, takes::TSO4),
                (offloads.tso6, takes::TSO6),
                (offloads.uso4, takes::USO4),
                (offloads.uso6, takes::USO6),
            ];
            bits = all.iter().filter(|(on, _)| *on).fold(0, |bits, (_, bit)| bits | bit);
        }
        // A kernel before 6.2 does not know USO, and one that refuses all gives plain frames.
        let without = bits & !(takes::USO4 | takes::USO6);
        let _ = request::set_offloads(&self.fd, bits)
            .or_else(|_| request::set_offloads(&self.fd, without))
            .or_else(|_| request::set_offloads(&self.fd, 0));
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn is_up(&self) -> bool {
        !self.down.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused_before_anything_is_opened() {
        for name in ["", "a/b", "sixteen-bytes-xx", "tap%d", "a b", "..", "a:1"] {
            assert!(matches!(Tap::open(name, 1500), Err(TapError::Name(_))), "{name}");
        }
    }

    /// Runs `ip`; whether it could.
    fn ip(words: &str) -> bool {
        std::process::Command::new("ip").args(words.split(' ')).status().is_ok_and(|status| status.success())
    }

    #[test]
    fn frames_go_to_the_kernel_and_back() {
        let name = format!("hostel{}", std::process::id() % 1_000_000);
        let tap = match Tap::open(&name, 1500) {
            Ok(tap) => tap,
            Err(error) => {
                println!("SKIPPED: {error}");
                return;
            }
        };
        // An address for documentation (RFC 5737), on a device that goes with this test.
        if !ip(&format!("addr add 198.51.100.1/30 dev {name}")) || !ip(&format!("link set {name} up")) {
            println!("SKIPPED: no `ip`");
            return;
        }
        tap.set_offloads(Offloads::from_bits(31));
        let mut frame = vec![0; VNET];
        frame.extend([0xff; 6]);
        frame.extend([0x52, 0x54, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend([0x52, 0x54, 0, 0, 0, 1, 198, 51, 100, 2, 0, 0, 0, 0, 0, 0, 198, 51, 100, 1]);
        let mut answered = false;
        let mut bytes = vec![0; host_net::LONGEST_FRAME];
        for _ in 0..500 {
            tap.send(&frame).unwrap();
            while let Some(length) = tap.receive(&mut bytes) {
                let arp = bytes.get(VNET + 12..length).unwrap_or_default();
                // A reply from that address.
                answered |= arp.starts_with(&[8, 6])
                    && arp.get(9) == Some(&2)
                    && arp.get(16..20) == Some(&[198, 51, 100, 1]);
            }
            if answered {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(answered && tap.is_up());
        drop(tap);
        assert!(
            !std::path::Path::new(&format!("/sys/class/net/{name}")).exists(),
            "it goes when it is closed"
        );
    }
}
