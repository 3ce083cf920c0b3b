//! MSI and MSI-X: where vectors point, which are masked, which wait.
//!
//! Source: PCI Express Base Specification, 6.1.4 (what is sent when; masked vectors wait in pending bits), 7.7.1, 7.7.2.

use crate::bar::Bar;
use crate::capabilities::{
    MsiAddress, MsiAddressUpper, MsiControl, MsiData, MsiMask, MsiPending, MsixControl,
};
use crate::device::MsixPlace;
use crate::space::ConfigSpace;

/// Bytes of an entry of the MSI-X table.
const ENTRY: u64 = 16;
/// In an entry's fourth word: the vector is masked.
const MASKED: u32 = 1;
/// An entry after reset.
const RESET: [u32; 4] = [0, 0, 0, MASKED];

impl MsixPlace {
    fn table_bytes(&self) -> u64 {
        u64::from(self.vectors) * ENTRY
    }

    fn pending_bytes(&self) -> u64 {
        u64::from(self.vectors.div_ceil(64)) * 8
    }

    /// Whether all of it lies in `bar`, and apart.
    pub(crate) fn is_sound(&self, bar: &Bar) -> bool {
        let (table, pending) = (u64::from(self.table), u64::from(self.pending));
        let (table_end, pending_end) = (table + self.table_bytes(), pending + self.pending_bytes());
        (1..=2048).contains(&self.vectors)
            && !matches!(bar.kind, crate::bar::BarKind::Io)
            && table.is_multiple_of(8)
            && pending.is_multiple_of(8)
            && table_end.max(pending_end) <= bar.size
            && (table_end <= pending || pending_end <= table)
    }
}

/// The MSI-X table and the pending bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Msix {
    pub place: MsixPlace,
    pub table: Vec<[u32; 4]>,
    pub pending: Vec<u64>,
}

/// What an access to a BAR meets.
enum Spot {
    /// Byte of the table.
    Table(u64),
    /// Byte of the pending bits.
    Pending(u64),
}

impl Msix {
    /// All masked, none pending.
    pub fn new(place: MsixPlace) -> Msix {
        let vectors = usize::from(place.vectors);
        Msix { place, table: vec![RESET; vectors], pending: vec![0; vectors.div_ceil(64)] }
    }

    /// Back to that.
    pub fn reset(&mut self) {
        self.table.fill(RESET);
        self.pending.fill(0);
    }

    fn spot(&self, bar: u8, offset: u64) -> Option<Spot> {
        if bar != self.place.bar {
            return None;
        }
        let within = |from: u32, bytes: u64| offset.checked_sub(from.into()).filter(|at| *at < bytes);
        let table = within(self.place.table, self.place.table_bytes()).map(Spot::Table);
        table.or_else(|| within(self.place.pending, self.place.pending_bytes()).map(Spot::Pending))
    }

    /// Reads, if that is of the table or the pending bits. The specification leaves accesses of bytes and words undefined;
    /// here they are parts of the doubleword.
    pub fn read(&self, bar: u8, offset: u64, size: u8) -> Option<u64> {
        let word = |at: u64| match self.spot(bar, at & !3)? {
            Spot::Table(at) => self.table.get((at / ENTRY) as usize)?.get((at % ENTRY / 4) as usize).copied(),
            Spot::Pending(at) => {
                self.pending.get((at / 8) as usize).map(|word| (word >> (8 * (at & 4))) as u32)
            }
        };
        let low = word(offset)?;
        if size == 8 {
            return Some(u64::from(low) | u64::from(word(offset + 4).unwrap_or(u32::MAX)) << 32);
        }
        Some(u64::from(low >> (8 * (offset & 3)) & crate::space::lanes(size)))
    }

    /// Writes, if that is to the table or the pending bits, which ignore it.
    pub fn write(&mut self, bar: u8, offset: u64, size: u8, value: u64) -> Option<()> {
        self.spot(bar, offset & !3)?;
        if size == 8 {
            self.write_word(bar, offset, u32::MAX, value as u32);
            self.write_word(bar, offset + 4, u32::MAX, (value >> 32) as u32);
        } else {
            let shift = 8 * (offset & 3);
            self.write_word(bar, offset & !3, crate::space::lanes(size) << shift, (value as u32) << shift);
        }
        Some(())
    }

    fn write_word(&mut self, bar: u8, offset: u64, mask: u32, value: u32) {
        let Some(Spot::Table(at)) = self.spot(bar, offset) else { return };
        let entry = self.table.get_mut((at / ENTRY) as usize);
        let number = (at % ENTRY / 4) as usize;
        // Reserved: the low bits of the address, and all of the vector control but the mask.
        let kept = match number {
            0 => !3,
            3 => MASKED,
            _ => u32::MAX,
        };
        if let Some(word) = entry.and_then(|entry| entry.get_mut(number)) {
            *word = *word & !mask | value & mask & kept;
        }
    }

    /// Has vector `vector` wait.
    pub fn raise(&mut self, vector: u16) {
        if vector < self.place.vectors
            && let Some(word) = self.pending.get_mut(usize::from(vector / 64))
        {
            *word |= 1 << (vector % 64);
        }
    }

    /// The address and data of a vector that waits and is not masked, which then waits no longer.
    pub fn take(&mut self) -> Option<(u64, u32)> {
        for (n, waiting) in self.pending.iter_mut().enumerate() {
            let mut left = *waiting;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                if let Some([low, high, data, control]) = self.table.get(64 * n + bit as usize)
                    && control & MASKED == 0
                {
                    *waiting &= !(1 << bit);
                    return Some((u64::from(*high) << 32 | u64::from(*low), *data));
                }
            }
        }
        None
    }

    /// Whether a table and pending bits can be this function's.
    pub fn fits(&self, table: &[[u32; 4]], pending: &[u64]) -> bool {
        let sound = |entry: &[u32; 4]| {
            entry.first().is_some_and(|a| a & 3 == 0) && entry.last().is_some_and(|c| c & !MASKED == 0)
        };
        let last = pending.last().copied().unwrap_or(0);
        let used = u32::from((self.place.vectors - 1) % 64) + 1;
        table.len() == self.table.len()
            && table.iter().all(sound)
            && pending.len() == self.pending.len()
            && last.checked_shr(used).unwrap_or(0) == 0
    }
}

/// Has MSI vector `vector` of the capability at `at` wait. More vectors than the driver allows share the last.
pub(crate) fn raise_msi(space: &mut ConfigSpace, at: u16, vector: u16) {
    let allowed = 1u16 << msi_vectors_log2(space, at);
    let bit = 1u32 << vector.min(allowed - 1);
    let pending = space.get(MsiPending::pending.at(at));
    space.set(MsiPending::pending.at(at), pending | bit);
}

/// How many vectors the driver allows, at most as many as there are.
fn msi_vectors_log2(space: &ConfigSpace, at: u16) -> u32 {
    let capable = space.get(MsiControl::multiple_message_capable.at(at));
    space.get(MsiControl::multiple_message_enable.at(at)).min(capable)
}

/// The address and data of an MSI vector that waits and is not masked, which then waits no longer.
pub(crate) fn take_msi(space: &mut ConfigSpace, at: u16) -> Option<(u64, u32)> {
    let pending = space.get(MsiPending::pending.at(at));
    let free = pending & !space.get(MsiMask::mask.at(at));
    let vector = (free != 0).then(|| free.trailing_zeros())?;
    space.set(MsiPending::pending.at(at), pending & !(1 << vector));
    let low = space.get(MsiAddress::WHOLE.at(at));
    let high = space.get(MsiAddressUpper::address.at(at));
    let varying = (1u32 << msi_vectors_log2(space, at)) - 1;
    let data = space.get(MsiData::data.at(at)) & !varying | vector & varying;
    Some((u64::from(high) << 32 | u64::from(low), data))
}

/// Whether the driver has chosen MSI.
pub(crate) fn msi_enabled(space: &ConfigSpace, at: Option<u16>) -> bool {
    at.is_some_and(|at| space.is_set(MsiControl::enable.at(at)))
}

/// Whether the driver has chosen MSI-X.
pub(crate) fn msix_enabled(space: &ConfigSpace, at: Option<u16>) -> bool {
    at.is_some_and(|at| space.is_set(MsixControl::enable.at(at)))
}

/// Whether all vectors of MSI-X are masked.
pub(crate) fn msix_masked(space: &ConfigSpace, at: Option<u16>) -> bool {
    at.is_some_and(|at| space.is_set(MsixControl::function_mask.at(at)))
}
