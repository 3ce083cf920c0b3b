//! What a driver asks for (section 5.2.6): a header, data one way or the other, a byte for the status.

use crate::config::{MOST_RANGES, MOST_SECTORS};
use dev_virtio::{Broken, Chain, cut, ranges};
use fabric_bus::Dma;
use host_disk::{Disk, SECTOR};
use std::ops::Range;
use support_hostmap::Pieces;

/// The status byte.
pub(crate) mod status {
    pub const OK: u8 = 0;
    pub const IOERR: u8 = 1;
    pub const UNSUPP: u8 = 2;
}

/// Types of requests.
mod kind {
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const GET_ID: u32 = 8;
    pub const DISCARD: u32 = 11;
    pub const WRITE_ZEROES: u32 = 13;
}

/// Bytes of a header, and of a range to discard.
const HEADER: usize = 16;

/// A range to discard or to make zeroes of, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trim {
    pub at: u64,
    pub len: u64,
    pub may_unmap: bool,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Into `places` of the arena, which are `pieces`.
    Read {
        at: u64,
        pieces: Pieces,
        places: Vec<Range<u64>>,
    },
    Write {
        at: u64,
        pieces: Pieces,
    },
    Flush,
    Discard(Vec<Trim>),
    WriteZeroes(Vec<Trim>),
    /// The disk's name.
    Id,
}

/// Reads a request; the inner error is the status that it ends with.
pub(crate) fn parse(chain: &Chain, dma: &Dma, disk: &dyn Disk) -> Result<Result<Ask, u8>, Broken> {
    let mut header = [0; HEADER];
    if chain.read(dma, 0, &mut header)? != HEADER || chain.writable_len() == 0 {
        return Ok(Err(status::IOERR));
    }
    let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
    let (kind, sector) = (u32::from_le_bytes([k0, k1, k2, k3]), u64::from_le_bytes(sector));
    let to_write = chain.readable_len() - HEADER as u64;
    Ok(match kind {
        kind::IN => {
            let Some(at) = transfer(sector, chain.writable_len() - 1, disk) else {
                return Ok(Err(status::IOERR));
            };
            let places = ranges(dma, cut(&chain.writable, 0, chain.writable_len() - 1), true)?;
            Ok(Ask::Read { at, pieces: pieces(dma, &places)?, places })
        }
        kind::OUT => {
            let at = transfer(sector, to_write, disk).filter(|_| !disk.read_only());
            let Some(at) = at else { return Ok(Err(status::IOERR)) };
            let places = ranges(dma, cut(&chain.readable, HEADER as u64, to_write), false)?;
            Ok(Ask::Write { at, pieces: pieces(dma, &places)? })
        }
        kind::FLUSH => Ok(Ask::Flush),
        kind::GET_ID => Ok(Ask::Id),
        kind::DISCARD => trims(chain, dma, disk, false)?.map(Ask::Discard),
        kind::WRITE_ZEROES => trims(chain, dma, disk, true)?.map(Ask::WriteZeroes),
        _ => Err(status::UNSUPP),
    })
}

fn pieces(dma: &Dma, places: &[Range<u64>]) -> Result<Pieces, Broken> {
    // An arena is no larger than what can be addressed, and the places lie in it.
    let places = places.iter().map(|place| place.start as usize..place.end as usize);
    Pieces::new(dma.ram().map(), places).ok_or(Broken("memory that is not there"))
}

/// Where on the disk so many bytes from that sector on are, if they are whole sectors of it.
fn transfer(sector: u64, len: u64, disk: &dyn Disk) -> Option<u64> {
    let at = sector.checked_mul(SECTOR)?;
    let within = at.checked_add(len)? <= disk.size();
    (within && len.is_multiple_of(SECTOR)).then_some(at)
}

fn trims(chain: &Chain, dma: &Dma, disk: &dyn Disk, zeroes: bool) -> Result<Result<Vec<Trim>, u8>, Broken> {
    let len = chain.readable_len() - HEADER as u64;
    if disk.read_only() || len == 0 || !len.is_multiple_of(16) || len > 16 * u64::from(MOST_RANGES) {
        return Ok(Err(status::IOERR));
    }
    let mut all = Vec::new();
    for at in (HEADER as u64..HEADER as u64 + len).step_by(16) {
        let mut bytes = [0; 16];
        chain.read(dma, at, &mut bytes)?;
        let [sector @ .., n0, n1, n2, n3, f0, f1, f2, f3] = bytes;
        let (count, flags) = (u32::from_le_bytes([n0, n1, n2, n3]), u32::from_le_bytes([f0, f1, f2, f3]));
        // Only write zeroes has a flag: that space may be given back (section 5.2.6.2).
        if flags & !u32::from(zeroes) != 0 {
            return Ok(Err(status::UNSUPP));
        }
        let len = u64::from(count) * SECTOR;
        match transfer(u64::from_le_bytes(sector), len, disk).filter(|_| count <= MOST_SECTORS) {
            Some(at) => all.push(Trim { at, len, may_unmap: flags & 1 != 0 }),
            None => return Ok(Err(status::IOERR)),
        }
    }
    Ok(Ok(all))
}
