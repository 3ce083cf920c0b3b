//! `fence.i`: which blocks no longer are what memory holds.
//!
//! Only pages that were written since their blocks were last found equal to memory are looked at ([`fabric_ram::Watch`]):
//! none, as a rule. A page whose stores may still go unnoticed, because another hart has not heard yet that it is watched,
//! is looked at each time until it has.

use crate::cache::Page;
use crate::jit::Translator;
use engine_interp::Cpu;

impl Translator {
    /// Makes every store so far visible to fetches.
    pub fn fence(&mut self, cpu: &mut Cpu) {
        let writes = cpu.ram.watch().writes();
        if writes == Some(self.writes) && !self.unsettled {
            return;
        }
        self.unsettled = writes.is_none();
        self.writes = writes.unwrap_or(self.writes);
        let mut pages = std::mem::take(&mut self.cache.pages);
        pages.retain(|&page, about| self.renew(cpu, page, about));
        self.cache.pages = pages;
    }

    /// Looks at one page, if it must be; false if no block is left in it.
    fn renew(&mut self, cpu: &mut Cpu, page: u64, about: &mut Page) -> bool {
        let ram = std::sync::Arc::clone(&cpu.ram);
        let watch = ram.watch();
        let version = watch.version(page);
        let settled = self.options.harts == 1 || watch.settled(about.epoch, self.options.harts);
        if version.is_some() && version == about.version && about.settled {
            return true;
        }
        self.unsettled |= !settled || version.is_none();
        about.settled = settled;
        about.version = version;
        about.blocks.retain(|&number| {
            // It may have been killed for a region that it began.
            let holds = self.cache.holds(number);
            let Some(block) = self.cache.blocks.get(number as usize).filter(|_| holds) else { return false };
            let same =
                (0..).zip(&block.code).all(|(n, &h)| ram.load::<u16>(block.place.halfword(n)) == Some(h));
            if !same {
                self.cache.kill(number);
            }
            same
        });
        if about.blocks.is_empty() {
            watch.remove(page);
            return false;
        }
        if version == Some(0) {
            // Another hart has no block left there and stopped watching.
            watch.add(page);
            (about.version, about.epoch, about.settled) = (watch.version(page), watch.epoch(), false);
            self.unsettled = true;
            cpu.write.forget_offset(page);
        }
        true
    }
}
