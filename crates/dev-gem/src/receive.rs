//! Frames that the driver is sent.

use crate::checksum::{Checked, check, frame_check};
use crate::counters::Lost;
use crate::gem::ReceivePlan;
use crate::ring::{Descriptor, MOST_PIECES, write};
use fabric_bus::{Dma, DmaError};

/// Bits of a receive descriptor's first word.
mod bit {
    pub const USED: u32 = 1;
    pub const WRAP: u32 = 1 << 1;
    pub const ADDRESS: u32 = !3;
}

/// Bits of its second.
mod status {
    pub const LENGTH: u32 = 0x3fff;
    pub const START: u32 = 1 << 14;
    pub const END: u32 = 1 << 15;
    pub const CHECKED: u32 = 22;
}

/// Bytes that a frame has at least, without its check sequence.
pub const SHORTEST: usize = 60;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is in buffers, behind which the descriptor with this low half of its address is next.
    There(u32),
    /// There are not enough buffers.
    NoBuffer,
}

/// Whether a frame is received: with what bits of its status.
///
/// # Errors
/// Why it is not.
pub fn judge(plan: &ReceivePlan, frame: &[u8]) -> Result<u32, Lost> {
    let Some((to, _)) = frame.split_first_chunk::<6>() else { return Err(Lost::Length) };
    let Some(&[high, low]) = frame.get(12..14) else { return Err(Lost::Length) };
    let kind = u16::from_be_bytes([high, low]);
    let why = plan.filter.judge(to)?;
    let tag = if kind == 0x8100 { 4 } else { 0 };
    if frame.len() + 4 > plan.longest + tag {
        return Err(Lost::Oversize);
    }
    if plan.lengths && kind < 0x600 && frame.len() < 14 + usize::from(kind) {
        return Err(Lost::Length);
    }
    let checked = if plan.checksums { check(frame)? } else { Checked::Nothing };
    let code = match checked {
        Checked::Nothing => 0,
        Checked::Ip => 1,
        Checked::Tcp => 2,
        Checked::Udp => 3,
    };
    Ok(why | code << status::CHECKED)
}

/// What is put into memory of a frame: padded, with its check sequence unless the driver wants none.
pub fn whole(frame: &[u8], strip: bool) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes.resize(bytes.len().max(SHORTEST), 0);
    if !strip {
        let sum = frame_check(&bytes);
        bytes.extend(sum);
    }
    bytes
}

/// Puts a frame into buffers.
///
/// # Errors
/// If a ring or a buffer is in no memory, or the whole ring is too small for the frame.
pub fn place(dma: &Dma, plan: &ReceivePlan, bytes: &[u8], bits: u32) -> Result<Placed, DmaError> {
    let ring = &plan.ring;
    let room = |number: usize| plan.buffer.saturating_sub(if number == 0 { plan.offset } else { 0 });
    if room(0) == 0 {
        return Err(DmaError::NotRam);
    }
    // All of them are looked at before the first is changed.
    let mut taken: Vec<(Descriptor, usize)> = Vec::new();
    let (mut at, mut left) = (ring.at, bytes.len());
    while left > 0 {
        let again = taken.first().is_some_and(|(first, _)| first.at == ring.address(at));
        if again || taken.len() == MOST_PIECES {
            return Err(DmaError::NotRam);
        }
        let descriptor = ring.read(dma, at, 0)?;
        let [address, _] = descriptor.words;
        if address & bit::USED != 0 {
            return Ok(Placed::NoBuffer);
        }
        let part = left.min(room(taken.len()));
        left -= part;
        taken.push((descriptor, part));
        at = ring.behind(at, address & bit::WRAP != 0);
    }
    let mut from = 0;
    for (number, (descriptor, part)) in taken.iter().enumerate() {
        let [low, _] = descriptor.words;
        let address = u64::from(descriptor.high) << 32 | u64::from(low & bit::ADDRESS);
        let offset = if number == 0 { plan.offset as u64 } else { 0 };
        let part = bytes.get(from..from + part).unwrap_or_default();
        dma.write(address.checked_add(offset).ok_or(DmaError::NotRam)?, part)?;
        from += part.len();
    }
    // The first one last: who sees it sees all.
    for (number, (descriptor, _)) in taken.iter().enumerate().rev() {
        let start = if number == 0 { status::START } else { 0 };
        let last = number + 1 == taken.len();
        let end = if last { status::END | bytes.len() as u32 & status::LENGTH } else { 0 };
        let [low, _] = descriptor.words;
        write(dma, descriptor, 1, bits | start | end)?;
        write(dma, descriptor, 0, low | bit::USED)?;
    }
    Ok(Placed::There(at))
}
