//! The requests of `/dev/net/tun` that a tap device needs: the crate's only `unsafe`.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl, opcode};

/// `TUNSETIFF`, `TUNSETOFFLOAD` and `TUNSETVNETHDRSZ` (`if_tun.h`).
const SET_INTERFACE: Opcode = opcode::write::<i32>(b'T', 202);
const SET_OFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);
const SET_HEADER_SIZE: Opcode = opcode::write::<i32>(b'T', 216);

/// `IFF_TAP`, `IFF_NO_PI`, `IFF_VNET_HDR`: whole frames, a virtio-net header and nothing else before them.
const TAP: u16 = 0x0002 | 0x1000 | 0x4000;
/// `IFF_MULTI_QUEUE`: one queue of several.
const SEVERAL: u16 = 0x0100;

/// `struct ifreq` with the member `ifr_flags`.
#[repr(C)]
pub struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    // The union's other members are longer: 24 bytes on every 64-bit Linux.
    rest: [u8; 22],
}

impl InterfaceRequest {
    /// For the tap device of this name, at most 15 bytes; for one of several queues, if so.
    pub fn tap(name: &str, several: bool) -> Self {
        let flags = if several { TAP | SEVERAL } else { TAP };
        let mut request = InterfaceRequest { name: [0; 16], flags, rest: [0; 22] };
        for (place, byte) in request.name.iter_mut().take(15).zip(name.bytes()) {
            *place = byte;
        }
        request
    }
}

/// Joins a file of `/dev/net/tun` to its device.
///
/// # Errors
/// If the kernel does not.
pub fn attach(fd: impl AsFd, request: &InterfaceRequest) -> Result<(), Errno> {
    let mut copy = InterfaceRequest { name: request.name, flags: request.flags, rest: request.rest };
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, whose size and layout this type has (40 bytes, the
    // name first); it is ours alone and lives until the call returns.
    unsafe { ioctl(fd, Updater::<SET_INTERFACE, InterfaceRequest>::new(&mut copy)) }
}

/// Sets the length of the header before each frame.
///
/// # Errors
/// If the kernel does not know such a length.
pub fn set_header_size(fd: impl AsFd, bytes: i32) -> Result<(), Errno> {
    // SAFETY: TUNSETVNETHDRSZ reads one `int`.
    unsafe { ioctl(fd, Setter::<SET_HEADER_SIZE, i32>::new(bytes)) }
}

/// Says what the reader takes (`TUN_F_*`).
///
/// # Errors
/// If the kernel does not know one of them.
pub fn set_offloads(fd: impl AsFd, bits: u32) -> Result<(), Errno> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value, and reads and writes no memory.
    unsafe { ioctl(fd, IntegerSetter::<SET_OFFLOAD>::new_usize(bits as usize)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_layout_of_the_kernels() {
        assert_eq!(size_of::<InterfaceRequest>(), 40);
        assert_eq!(std::mem::offset_of!(InterfaceRequest, flags), 16);
        // As `strace` shows them.
        assert_eq!(SET_INTERFACE, 0x4004_54ca);
        assert_eq!(SET_OFFLOAD, 0x4004_54d0);
        assert_eq!(SET_HEADER_SIZE, 0x4004_54d8);
    }
}
