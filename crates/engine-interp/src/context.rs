//! Contexts: what the hart's status means for translation and for interrupts, kept ready for use.

use crate::cpu::Cpu;
use crate::interp::REQUESTS;
use engine_mmu::{Context, Key, Pages, SHARED};
use fabric_clock::Nanos;
use isa_riscv::{AccessKind, Hart, Mode, WalkContext, csr_fields::mstatus, enabled_interrupts};

/// Bits of the pending word that are interrupt lines of a hart: MSIP, MTIP, SEIP, MEIP.
pub(crate) const LINES: u64 = 1 << 3 | 1 << 7 | 1 << 9 | 1 << 11;

/// A bit of a context's key: it is for fetches.
const CODE: u32 = 1 << 8;
/// Floating-point instructions are legal.
pub const FP: u32 = 1 << 9;
/// Loads need no table.
pub const LINEAR: u32 = 1 << 14;
/// Where the rounding mode begins.
pub const FRM: u32 = 11;

/// Instructions since the last fence of a whole address space, for each page of code, from which on it pays to look where that
/// is: it takes as long as some 20.
const LOOK_PAYS: u64 = 128;

/// Contexts by what of the hart's status they depend on: those that were entered last, so that traps and returns need not
/// search.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    lately: [Pair; 16],
}

/// The contexts of loads and stores and of fetches.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    satp: u64,
    status: u64,
    /// The stamp of all contexts when they were found; they are in force as long as it is the same.
    stamp: u64,
    /// They, whether loads need no table, and whether that of fetches is one of several address spaces.
    contexts: Option<(Context, Context, bool, bool)>,
}

impl Entered {
    #[inline]
    fn slot(&mut self, satp: u64, status: u64) -> &mut Pair {
        let hash = (satp ^ status.rotate_left(20)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        #[allow(clippy::indexing_slicing, reason = "four bits")]
        &mut self.lately[hash as usize & 15]
    }
}

/// What of the hart's status its contexts depend on, beside `satp`.
#[inline]
fn status(hart: &Hart) -> u64 {
    let mut mask = mstatus::SUM | mstatus::MXR | mstatus::FS | mstatus::MPRV;
    if hart.csr.mstatus & mstatus::MPRV != 0 {
        mask |= mstatus::MPP;
    }
    hart.csr.mstatus & mask | u64::from(hart.csr.frm) << 40 | (hart.mode as u64) << 48
}

impl Cpu {
    /// Where addresses of `mode` are translated: 0 if they are physical.
    pub fn space_of(&self, mode: Mode) -> u64 {
        if mode == Mode::M { 0 } else { self.hart.csr.satp }
    }

    /// Finds the contexts and the interrupts of interest for the hart's state, after anything that
    /// may have changed them.
    pub fn enter_context(&mut self) {
        let (satp, status) = (self.hart.csr.satp, status(&self.hart));
        let stamp = self.contexts.stamp();
        let pair = *self.entered.slot(satp, status);
        if pair.satp == satp
            && pair.status == status
            && pair.stamp == stamp
            && let Some((data, code, linear, shared)) = pair.contexts
        {
            (self.data, self.code, self.linear, self.code_shared) = (data, code, linear, shared);
            self.code_floats = self.floats();
            self.note_interrupts();
            return;
        }
        self.find_contexts();
        let stamp = self.contexts.stamp();
        let contexts = Some((self.data, self.code, self.linear, self.code_shared));
        *self.entered.slot(satp, status) = Pair { satp, status, stamp, contexts };
        self.note_interrupts();
    }

    fn find_contexts(&mut self) {
        let csr = &self.hart.csr;
        let mode = self.hart.data_mode();
        let permissions = csr.mstatus & (mstatus::SUM | mstatus::MXR);
        let data = Key { space: self.space_of(mode), mode: mode as u32 | permissions as u32 };
        self.linear = self.may_load_linearly(data.space);
        let space = self.space_of(self.hart.mode);
        self.code_shared = self.shares(space);
        let space = if self.code_shared { SHARED } else { space };
        let code = Key { space, mode: self.hart.mode as u32 | CODE | self.floats() };
        self.code_floats = self.floats();
        self.data = self.context(data);
        let (code, reused) = self.contexts.get(code);
        self.code = code;
        if reused {
            self.tags_start_again();
            // Its number went with all the others.
            self.data = self.context(data);
        }
    }

    /// What the meaning of code depends on, beside the privilege mode: which floating-point instructions are legal, and for
    /// emitted code what rounds how, and whether loads need a table.
    pub fn floats(&self) -> u32 {
        let csr = &self.hart.csr;
        let fs = csr.mstatus & mstatus::FS;
        let fp = if fs != 0 { FP } else { 0 };
        if !self.native.emits {
            return fp;
        }
        let linear = if self.linear { LINEAR } else { 0 };
        let frm = if fs != 0 { u32::from(csr.frm) << FRM } else { 0 };
        linear | fp | frm
    }

    /// Whether loads of the whole of [`crate::Native::linear_base`] are allowed, where addresses are physical.
    fn may_load_linearly(&self, space: u64) -> bool {
        let native = &self.native;
        native.linear_limit != 0
            && space >> 60 == 0
            && self.hart.csr.pmp.check(
                native.linear_base,
                native.linear_limit + 8,
                AccessKind::Load,
                self.hart.data_mode(),
            )
    }

    /// Finds the context anew if the floating-point state has changed since: arithmetic makes it dirty without a word.
    #[inline]
    pub fn note_floats(&mut self) {
        if self.floats() != self.code_floats {
            self.enter_context();
        }
    }

    /// Takes note for emitted code whether FS is dirty already.
    pub fn note_dirty(&mut self) {
        self.native.dirty = u32::from(self.hart.csr.mstatus & mstatus::FS == mstatus::FS);
    }

    fn context(&mut self, key: Key) -> Context {
        let (context, reused) = self.contexts.get(key);
        if reused {
            self.tags_start_again();
        }
        context
    }

    /// Forgets whatever has a context's tag.
    fn tags_start_again(&mut self) {
        self.read.clear();
        self.write.clear();
        self.fetch.clear();
        self.regions.clear();
    }

    /// Whether floating-point instructions are legal.
    pub fn fp_on(&self) -> bool {
        self.hart.csr.mstatus & mstatus::FS != 0
    }

    /// Works out which pending bits would interrupt the hart now; looks around if one is up.
    pub fn note_interrupts(&mut self) {
        let enabled = enabled_interrupts(&self.hart);
        self.interest = enabled & LINES | REQUESTS;
        // What the timer said at the last look is as good as a new look at the clock, and cheaper.
        let time = if self.timer_fired { u64::MAX } else { 0 };
        if self.hart.csr.pending(self.pending.load() & LINES, time) & enabled != 0 {
            self.look_around();
        }
    }

    /// Guest time at which the hart's own timer will fire, if it is armed and has not yet.
    pub fn own_timer(&self, ticks: u64) -> Option<Nanos> {
        self.time.at_tick(ticks, self.hart.csr.next_timer()?)
    }

    /// `sfence.vma`: forgets translations of `va` (all) under `asid` (any).
    pub fn fence_vma(&mut self, va: Option<u64>, asid: Option<u16>) {
        let of = |space: u64| asid.is_none_or(|a| space >> 44 & 0xffff == u64::from(a));
        let concerns = |key: Key| key.space != 0 && key.space != SHARED && of(key.space);
        match va {
            Some(va) if !self.contexts.maybe_large(va) => {
                for context in self.contexts.matching(concerns) {
                    self.read.forget(context, va);
                    self.write.forget(context, va);
                    self.fetch.forget(context, va);
                    self.regions.forget(context, va);
                }
                let code = |key: Key| key.mode & CODE != 0 && concerns(key);
                let shared = self.contexts.shared().covers(va);
                if shared {
                    self.contexts.share_anew();
                }
                if self.contexts.flush_relying(va, code) || shared {
                    self.enter_context();
                }
            }
            _ => {
                let unmoved = self.unmoved(concerns);
                self.contexts.flush(|key| concerns(key) && !unmoved.contains(&key));
                self.contexts.shared_mut().doubt(of);
                self.enter_context();
            }
        }
    }

    /// The contexts of code, of those that are to be forgotten, of which a look at the page tables shows that all is where it
    /// was: what was found by them need not be found again. Kernels fence whole address spaces for a few pages of data.
    fn unmoved(&mut self, concerns: impl Fn(Key) -> bool) -> Vec<Key> {
        let now = self.retired_now();
        let since = now.wrapping_sub(std::mem::replace(&mut self.fenced_at, now));
        let satp = self.hart.csr.satp;
        // What another address space looks like may be known from its page tables only while it is in force.
        let here = |key: Key| key.space == satp && key.mode & CODE != 0 && concerns(key);
        let pages: usize = self.contexts.relied_on(here).map(|(_, pages)| pages.len()).sum();
        if pages == 0 || since < LOOK_PAYS * pages as u64 {
            return Vec::new();
        }
        // Where walks ended may be other tables now.
        self.regions.clear();
        let still_there = |&(key, pages): &(Key, &Pages)| {
            let mode = Mode::from_bits(u64::from(key.mode & 3));
            let context = WalkContext::of(&self.hart, AccessKind::Fetch);
            mode.is_some_and(|mode| self.is_still_there(&WalkContext { mode, ..context }, pages))
        };
        self.contexts.relied_on(here).filter(still_there).map(|(key, _)| key).collect()
    }

    /// `fence.i`: blocks must compare themselves with memory before they run again. A block that is looked up by
    /// virtual address is found only if it has done so since.
    pub fn fence_code(&mut self) {
        self.code_fence += 1;
    }
}
