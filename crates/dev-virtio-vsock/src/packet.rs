//! Packets (section 5.10.6): a header and, with some, bytes of a connection.

use crate::config::HOST_CID;
use host_vsock::Kind;

/// Bytes of `struct virtio_vsock_hdr`.
pub(crate) const HEADER: usize = 44;

/// Operations.
pub(crate) mod op {
    pub const REQUEST: u16 = 1;
    pub const RESPONSE: u16 = 2;
    pub const RST: u16 = 3;
    pub const SHUTDOWN: u16 = 4;
    pub const RW: u16 = 5;
    pub const CREDIT_UPDATE: u16 = 6;
    pub const CREDIT_REQUEST: u16 = 7;
}

/// Flags of SHUTDOWN.
pub(crate) const SHUTDOWN_RECEIVE: u32 = 1;
pub(crate) const SHUTDOWN_SEND: u32 = 2;
/// Flag of RW: the message ends with this packet (VIRTIO_VSOCK_SEQ_EOM).
pub(crate) const END_OF_MESSAGE: u32 = 1;

/// Types.
const STREAM: u16 = 1;
const SEQPACKET: u16 = 2;

/// A header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub src_cid: u64,
    pub dst_cid: u64,
    pub src_port: u32,
    pub dst_port: u32,
    pub len: u32,
    pub kind: u16,
    pub op: u16,
    pub flags: u32,
    pub buf_alloc: u32,
    pub fwd_cnt: u32,
}

/// What a connection is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub guest: u32,
    pub host: u32,
    pub kind: Kind,
}

/// The number of a type.
fn type_of(kind: Kind) -> u16 {
    match kind {
        Kind::Stream => STREAM,
        Kind::SeqPacket => SEQPACKET,
    }
}

/// The next `N` bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    match bytes.split_first_chunk() {
        Some((head, rest)) => {
            *bytes = rest;
            *head
        }
        None => [0; N],
    }
}

impl Header {
    pub fn parse(bytes: &[u8; HEADER]) -> Header {
        let mut rest = bytes.as_slice();
        Header {
            src_cid: u64::from_le_bytes(take(&mut rest)),
            dst_cid: u64::from_le_bytes(take(&mut rest)),
            src_port: u32::from_le_bytes(take(&mut rest)),
            dst_port: u32::from_le_bytes(take(&mut rest)),
            len: u32::from_le_bytes(take(&mut rest)),
            kind: u16::from_le_bytes(take(&mut rest)),
            op: u16::from_le_bytes(take(&mut rest)),
            flags: u32::from_le_bytes(take(&mut rest)),
            buf_alloc: u32::from_le_bytes(take(&mut rest)),
            fwd_cnt: u32::from_le_bytes(take(&mut rest)),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(self.src_cid.to_le_bytes());
        bytes.extend(self.dst_cid.to_le_bytes());
        for word in [self.src_port, self.dst_port, self.len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.op.to_le_bytes());
        for word in [self.flags, self.buf_alloc, self.fwd_cnt] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    /// What the packet is about, if it comes from the guest; none if that is no connection to the host's.
    pub fn key(&self) -> Option<Key> {
        let kind = match self.kind {
            STREAM => Kind::Stream,
            SEQPACKET => Kind::SeqPacket,
            _ => return None,
        };
        (self.dst_cid == HOST_CID).then_some(Key { guest: self.src_port, host: self.dst_port, kind })
    }

    /// That there is no such connection: the answer to this packet of the guest's, whatever it is.
    pub fn refusal(&self) -> Header {
        Header {
            src_cid: self.dst_cid,
            dst_cid: self.src_cid,
            src_port: self.dst_port,
            dst_port: self.src_port,
            kind: self.kind,
            op: op::RST,
            ..Header::default()
        }
    }
}

impl Key {
    /// A packet to the guest of this context id, as far as it is known yet.
    pub fn header(&self, cid: u64, op: u16) -> Header {
        Header {
            src_cid: HOST_CID,
            dst_cid: cid,
            src_port: self.host,
            dst_port: self.guest,
            kind: type_of(self.kind),
            op,
            ..Header::default()
        }
    }
}
