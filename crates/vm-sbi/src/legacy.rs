//! The legacy functions (SBI specification, "Legacy Extensions").

use crate::boot::redirect_trap;
use crate::fence::implemented_asid;
use crate::firmware::{Args, Outcome};
use crate::harts::bits;
use crate::system::{ResetKind, ResetReason};
use crate::table::Function;
use crate::{After, Fence, HartSet, Platform, Sbi, SbiError};
use isa_riscv::csr_fields::irq;
use isa_riscv::{AccessFault, AccessKind, Exception, Hart, PteMemory, Trap, WalkContext, walk};

impl Sbi {
    /// A legacy function: it answers in `a0` alone.
    pub(crate) fn legacy<P: Platform>(
        &self,
        function: Function,
        hart: &mut Hart,
        platform: &mut P,
        args: Args,
    ) -> Outcome {
        use Function as F;
        let [a0, a1, a2, a3, ..] = args;
        match function {
            F::LegacySetTimer => Outcome::Legacy(self.set_timer(hart, a0)),
            F::LegacyPutchar => putchar(platform, a0 as u8),
            F::LegacyGetchar => Outcome::Legacy(getchar(platform)),
            F::LegacyClearIpi => {
                let sent = platform.clear_ipi();
                let pending = sent | (hart.csr.mip & irq::SSI != 0);
                hart.csr.mip &= !irq::SSI;
                Outcome::Legacy(pending.into())
            }
            F::LegacyShutdown => {
                Outcome::Gone(After::Reset { kind: ResetKind::Shutdown, reason: ResetReason::None })
            }
            _ => match self.pointed_harts(hart, platform, a0) {
                Ok(harts) => self.to_harts(function, hart, platform, &harts, (a1, a2), a3),
                Err(trap) => {
                    redirect_trap(hart, trap.cause as u64, trap.tval);
                    Outcome::Trapped
                }
            },
        }
    }

    fn to_harts<P: Platform>(
        &self,
        function: Function,
        hart: &Hart,
        platform: &mut P,
        harts: &HartSet,
        range: (u64, u64),
        asid: u64,
    ) -> Outcome {
        let result = match function {
            Function::LegacySendIpi => {
                self.post_ipi(hart, platform, harts);
                Ok(())
            }
            Function::LegacyFenceI => {
                self.post_fence(hart, platform, harts, Fence::Code);
                Ok(())
            }
            Function::LegacySfenceVma => self.fence_range(hart, platform, harts, range, None),
            _ => implemented_asid(hart, asid)
                .and_then(|asid| self.fence_range(hart, platform, harts, range, Some(asid))),
        };
        Outcome::Legacy(result.map_or_else(SbiError::code, |()| 0))
    }

    /// The harts of the bit vector at virtual address `pointer`, as long as there are harts, rounded up
    /// to words; bits past the last hart are padding. A null pointer means all harts: the text does not
    /// say so, but firmware has always taken it thus.
    fn pointed_harts<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        pointer: u64,
    ) -> Result<HartSet, Trap> {
        if pointer == 0 {
            return Ok(self.served);
        }
        let mut harts = HartSet::EMPTY;
        for first in (0..self.count()).step_by(64) {
            let word = load(hart, platform, pointer.wrapping_add(u64::from(first / 8)))?;
            bits(word)
                .map(|bit| first + bit)
                .filter(|&id| self.served.contains(id))
                .for_each(|id| harts.insert(id));
        }
        Ok(harts)
    }
}

fn putchar<P: Platform>(platform: &mut P, byte: u8) -> Outcome {
    match platform.console_write(&[byte]) {
        Ok(0) => Outcome::Retry,
        Ok(_) => Outcome::Legacy(0),
        Err(error) => Outcome::Legacy(SbiError::from(error).code()),
    }
}

fn getchar<P: Platform>(platform: &mut P) -> u64 {
    let mut byte = [0];
    match platform.console_read(&mut byte) {
        Ok(1..) => u64::from(u8::from_le_bytes(byte)),
        _ => SbiError::Failed.code(),
    }
}

/// Physical memory as the page-table walk wants it. It only looks: with Svadu this access does not set A
/// (docs/sbi.md, "Known gaps").
struct Tables<'a, P>(&'a mut P);

impl<P: Platform> PteMemory for Tables<'_, P> {
    fn read_pte(&mut self, pa: u64) -> Result<u64, AccessFault> {
        let mut bytes = [0; 8];
        self.0.read_memory(pa, &mut bytes).map_err(|_| AccessFault)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn compare_exchange_pte(&mut self, _pa: u64, _old: u64, _new: u64) -> Result<bool, AccessFault> {
        Ok(true)
    }
}

/// Loads 8 bytes at virtual address `va` as the hart itself could; not necessarily aligned, and perhaps
/// across two pages.
fn load<P: Platform>(hart: &Hart, platform: &mut P, va: u64) -> Result<u64, Trap> {
    let context = WalkContext::of(hart, AccessKind::Load);
    let mut bytes = [0; 8];
    let in_page = (4096 - (va & 4095)).min(8) as usize;
    let (first, second) = bytes.split_at_mut(in_page);
    for (va, part) in [(va, first), (va.wrapping_add(in_page as u64), second)] {
        if part.is_empty() {
            continue;
        }
        let found = walk(&mut Tables(platform), &context, va, AccessKind::Load)
            .map_err(|fault| Trap::new(fault.exception(AccessKind::Load), va))?;
        platform.read_memory(found.pa, part).map_err(|_| Trap::new(Exception::LoadAccess, va))?;
    }
    Ok(u64::from_le_bytes(bytes))
}
