//! Contexts: what the processor's state means for translation, decoding and interrupts, kept ready for use.

use crate::cpu::Cpu;
use crate::interp::ALWAYS;
use engine_mmu::{Context, Key};
use fabric_wire::local::line;
use isa_x86::{Mode, Shadow, cr0, cr4, efer, rflags, seg};

/// Bits of a context's key.
mod bit {
    pub const USER: u32 = 1 << 0;
    pub const AC: u32 = 1 << 1;
    pub const WP: u32 = 1 << 2;
    pub const SMEP: u32 = 1 << 3;
    pub const SMAP: u32 = 1 << 4;
    pub const NXE: u32 = 1 << 5;
    pub const PAGING: u32 = 1 << 6;
    pub const LMA: u32 = 1 << 7;
    /// For fetches.
    pub const CODE: u32 = 1 << 8;
    /// The size of code, two bits.
    pub const MODE: u32 = 1 << 9;
}

/// The bits of CR3 that are not part of an address space's name without PCIDs.
const CR3_ATTRIBUTES: u64 = 0xfff;

/// Set in the name of every translated address space, as 0 stands for physical addresses and CR3 may be 0. CR3 does not
/// have this bit.
const TRANSLATED: u64 = 1 << 63;

impl Cpu {
    /// The address space: CR3 with the PCID, if there are any.
    fn space(&self) -> u64 {
        let state = &self.state;
        match (state.cr0 & cr0::PG != 0, state.cr4 & cr4::PCIDE != 0) {
            (false, _) => 0,
            (true, true) => TRANSLATED | state.cr3,
            (true, false) => TRANSLATED | state.cr3 & !CR3_ATTRIBUTES,
        }
    }

    /// Finds everything that is derived from the state, after anything that it depends on may have changed.
    pub fn enter_context(&mut self) {
        let state = &self.state;
        self.mode = state.mode();
        self.stack_width = state.stack_width();
        self.user = state.cpl() == 3;
        self.cs_base = if self.mode == Mode::Bits64 { 0 } else { state.segment(seg::CS).base };
        self.unused_bits = if state.cr4 & cr4::LA57 != 0 { 7 } else { 16 };
        let ac = state.system_flags & rflags::AC != 0;
        self.align_check = ac && self.user && state.cr0 & cr0::AM != 0;
        let smap = state.cr4 & cr4::SMAP != 0;
        let parts = [
            (self.user, bit::USER),
            (ac && smap, bit::AC),
            (state.cr0 & cr0::WP != 0, bit::WP),
            (state.cr4 & cr4::SMEP != 0, bit::SMEP),
            (smap, bit::SMAP),
            (state.msrs.efer & efer::NXE != 0, bit::NXE),
            (state.cr0 & cr0::PG != 0, bit::PAGING),
            (state.long_mode(), bit::LMA),
        ];
        let mode = parts.into_iter().fold(0, |all, (on, bit)| if on { all | bit } else { all });
        let space = self.space();
        let size = match self.mode {
            Mode::Bits16 => 0,
            Mode::Bits32 => bit::MODE,
            Mode::Bits64 => 2 * bit::MODE,
        };
        let data = Key { space, mode };
        let code = Key { space, mode: mode & !bit::AC | bit::CODE | size };
        if self.keys == Some((data, code)) {
            return;
        }
        self.keys = Some((data, code));
        self.data = self.context(data);
        let (code, reused) = self.contexts.get(code);
        self.code = code;
        if reused {
            self.numbers_start_again();
            // Its number went with all the others.
            self.data = self.context(data);
        }
    }

    fn context(&mut self, key: Key) -> Context {
        let (context, reused) = self.contexts.get(key);
        if reused {
            self.numbers_start_again();
        }
        context
    }

    /// Forgets whatever is tagged with a context number. The block table is out of reach here: the
    /// run loop clears it before it looks up another block.
    fn numbers_start_again(&mut self) {
        self.read.clear();
        self.write.clear();
        self.fetch.clear();
        self.contexts_reused = true;
        self.look_around();
    }

    /// Works out which pending bits would interrupt the processor now; looks around if one is up, or if the next
    /// instruction is to be run on its own.
    pub fn note_interrupts(&mut self) {
        let state = &self.state;
        let mut interest = ALWAYS;
        if state.takes_nmis() {
            interest |= 1 << line::NMI;
        }
        if state.takes_interrupts() {
            interest |= 1 << line::INTR;
        }
        self.interest = interest;
        if self.alone() || self.pending.load() & interest != 0 {
            self.look_around();
        }
    }

    /// Whether the next instruction is to be run on its own.
    pub fn alone(&self) -> bool {
        self.state.shadow != Shadow::None || self.state.system_flags & rflags::TF != 0
    }

    /// Ends the contexts whose keys satisfy `which`.
    fn end_contexts(&mut self, which: impl Fn(Key) -> bool) {
        self.contexts.flush(which);
        self.keys = None;
        self.enter_context();
    }

    /// Forgets translations of the present address space, or of all.
    pub fn flush(&mut self, global: bool) {
        let (space, pcids) = (self.space(), self.state.cr4 & cr4::PCIDE != 0);
        self.end_contexts(|key| {
            let same = if pcids { (key.space ^ space) & CR3_ATTRIBUTES == 0 } else { key.space == space };
            key.mode & bit::PAGING != 0 && (global || same)
        });
    }

    /// Forgets the translation of the page of `la`, in all address spaces: it may be global.
    pub fn flush_page(&mut self, la: u64) {
        if self.contexts.maybe_large(la) {
            return self.flush(true);
        }
        for context in self.contexts.matching(|key| key.mode & bit::PAGING != 0) {
            self.read.forget(context, la);
            self.write.forget(context, la);
            self.fetch.forget(context, la);
        }
        if self.code_filter.contains(la) {
            self.renew_code();
        }
    }

    /// Makes every block be looked up by physical address again, and be compared with memory there.
    pub fn renew_code(&mut self) {
        self.code_filter.clear();
        self.end_contexts(|key| key.mode & bit::CODE != 0);
    }

    /// Forgets everything remembered about translations and physical pages.
    pub fn flush_all(&mut self) {
        self.end_contexts(|_| true);
    }

    /// Asks the local controller where its page is.
    pub fn find_apic_page(&mut self) {
        use fabric_wire::local::apic_base::{ENABLE, X2APIC};
        let base = self.local.apic_base();
        let there = base & ENABLE != 0 && base & X2APIC == 0;
        let page = if there { base & 0x000f_ffff_ffff_f000 } else { 1 };
        if page != self.apic_page {
            self.apic_page = page;
            self.flush_all();
        }
    }
}
