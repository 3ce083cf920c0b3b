//! Timer, interrupts between harts, and remote fences (SBI specification, chapters "Timer Extension",
//! "IPI Extension", "RFENCE Extension").

use crate::error::Answer;
use crate::events::FirmwareEvent as Event;
use crate::{Fence, HartSet, HartState, Pages, Platform, Sbi, SbiError};
use isa_riscv::Hart;

const PAGE: u64 = 4096;

impl Sbi {
    /// `sbi_set_timer`: `stimecmp` drives STIP, which thereby falls if `ticks` is in the future.
    pub(crate) fn set_timer(&self, hart: &mut Hart, ticks: u64) -> u64 {
        hart.csr.stimecmp = ticks;
        if let Ok(own) = self.own(hart) {
            own.events.count(Event::SetTimer, 1);
        }
        0
    }

    pub(crate) fn send_ipi<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        mask: u64,
        base: u64,
    ) -> Answer {
        let harts = HartSet::of_mask(mask, base, &self.served)?;
        self.post_ipi(hart, platform, &harts);
        Ok(0)
    }

    pub(crate) fn post_ipi<P: Platform>(&self, hart: &Hart, platform: &mut P, harts: &HartSet) {
        let harts = self.those(harts, HartState::interruptible);
        self.tally(hart, &harts, Event::IpiSent, Event::IpiReceived);
        if !harts.is_empty() {
            platform.send_ipi(&harts);
        }
    }

    pub(crate) fn fence_i<P: Platform>(&self, hart: &Hart, platform: &mut P, mask: u64, base: u64) -> Answer {
        let harts = HartSet::of_mask(mask, base, &self.served)?;
        self.post_fence(hart, platform, &harts, Fence::Code);
        Ok(0)
    }

    /// `mask` is `hart_mask` and its base; `range` is start and size.
    pub(crate) fn sfence_vma<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        mask: (u64, u64),
        range: (u64, u64),
        asid: Option<u64>,
    ) -> Answer {
        let harts = HartSet::of_mask(mask.0, mask.1, &self.served)?;
        let asid = asid.map(|asid| implemented_asid(hart, asid)).transpose()?;
        self.fence_range(hart, platform, &harts, range, asid)?;
        Ok(0)
    }

    pub(crate) fn fence_range<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        harts: &HartSet,
        range: (u64, u64),
        asid: Option<u16>,
    ) -> Result<(), SbiError> {
        if let Some(pages) = pages(range.0, range.1)? {
            self.post_fence(hart, platform, harts, Fence::Vma { pages, asid });
        }
        Ok(())
    }

    pub(crate) fn post_fence<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        harts: &HartSet,
        fence: Fence,
    ) {
        let harts = self.those(harts, HartState::available);
        let (sent, received) = match fence {
            Fence::Code => (Event::FenceISent, Event::FenceIReceived),
            Fence::Vma { asid: None, .. } => (Event::SfenceVmaSent, Event::SfenceVmaReceived),
            Fence::Vma { asid: Some(_), .. } => (Event::SfenceVmaAsidSent, Event::SfenceVmaAsidReceived),
        };
        self.tally(hart, &harts, sent, received);
        if !harts.is_empty() {
            platform.remote_fence(&harts, fence);
        }
    }

    /// Counts what was sent "to other hart"s and what they received "from other hart".
    fn tally(&self, hart: &Hart, harts: &HartSet, sent: Event, received: Event) {
        let others = harts.iter().filter(|&other| u64::from(other) != hart.hartid);
        let mut times = 0;
        for other in others.filter_map(|other| self.harts.get(other as usize)) {
            other.events.count(received, 1);
            times += 1;
        }
        if let Ok(own) = self.own(hart) {
            own.events.count(sent, times);
        }
    }
}

/// `asid` if harts implement so many bits ("RFENCE Remote SFENCE.VMA with ASID Errors").
pub(crate) fn implemented_asid(hart: &Hart, asid: u64) -> Result<u16, SbiError> {
    let bits = u32::from(hart.features.asid_bits.min(16));
    u16::try_from(asid).ok().filter(|&asid| u32::from(asid) >> bits == 0).ok_or(SbiError::InvalidParam)
}

/// The pages of a range: `None` if it is empty, `Some(None)` for the whole address space.
///
/// # Errors
/// [`SbiError::InvalidAddress`] if the range reaches beyond 2^64.
fn pages(start: u64, size: u64) -> Result<Option<Option<Pages>>, SbiError> {
    if (start, size) == (0, 0) || size == u64::MAX {
        return Ok(Some(None));
    }
    if size == 0 {
        return Ok(None);
    }
    let last = start.checked_add(size - 1).ok_or(SbiError::InvalidAddress)?;
    let (first, last) = (start & !(PAGE - 1), last | (PAGE - 1));
    // All 2^64 bytes are no range that `size` can hold.
    let size = (last - first).checked_add(1);
    Ok(Some(size.map(|size| Pages { start: first, size })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, size: u64) -> Result<Option<Option<Pages>>, SbiError> {
        Ok(Some(Some(Pages { start, size })))
    }

    #[test]
    fn two_ranges_mean_the_entire_address_space() {
        assert_eq!(pages(0, 0), Ok(Some(None)));
        assert_eq!(pages(0, u64::MAX), Ok(Some(None)));
        assert_eq!(pages(0x1234_5000, u64::MAX), Ok(Some(None)));
    }

    #[test]
    fn a_range_covers_every_page_that_it_touches() {
        assert_eq!(pages(0x1000, 0x1000), range(0x1000, 0x1000));
        assert_eq!(pages(0x1fff, 2), range(0x1000, 0x2000));
        assert_eq!(pages(0x1001, 1), range(0x1000, 0x1000));
        assert_eq!(pages(0xffff_ffff_ffff_f000, 0x1000), range(0xffff_ffff_ffff_f000, 0x1000));
        assert_eq!(pages(1, u64::MAX - 1), Ok(Some(None)));
    }

    #[test]
    fn an_empty_range_is_no_fence_and_one_beyond_2_to_the_64_is_not_valid() {
        assert_eq!(pages(0x1000, 0), Ok(None));
        assert_eq!(pages(0xffff_ffff_ffff_f000, 0x1001), Err(SbiError::InvalidAddress));
    }
}
