//! The engine: the run loop around translated code.

use crate::cache::{Cache, Known, Place, Site};
use crate::jumps::Jumps;
use crate::layout::layout;
use crate::operations::modes;
use crate::perf_map::PerfMap;
use crate::places::Places;
use crate::region::Tiers;
use engine_core::{Exit, Firmware, Hosted, Vcpu};
use engine_emit::{Emitter, Layout, Leave};
use engine_interp::{Config, Cpu, Interp};
use engine_mmu::PAGE_MASK;
use fabric_wire::PendingWord;
use isa_ir::{Builder, Limits};
use isa_riscv::{AccessKind, Hart};
use std::io;
use std::sync::Arc;

/// How eagerly code is translated.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often code runs in the interpreter first, at most 255 times.
    pub threshold: u32,
    /// The tiers there are.
    pub tiers: Tiers,
    /// Harts of the machine.
    pub harts: u64,
    /// Bytes of host code that the cache holds.
    pub cache: usize,
    /// Changes the code of each block before it is put into the cache. It is there to plant mistakes, which tests must find.
    pub meddle: Option<fn(&mut [u8])>,
    /// Where code is named for `perf`.
    pub perf_map: Option<&'static PerfMap>,
}

impl Default for Options {
    fn default() -> Self {
        let (tiers, cache) = (Tiers::default(), crate::cache::cache_size(1));
        Options { threshold: 16, tiers, harts: 1, cache, meddle: None, perf_map: None }
    }
}

/// The most instructions that translated code runs before requests are looked for: with a virtual clock and no timer nothing
/// else would end a loop.
const STRETCH: u64 = 1 << 16;
/// Counters of how often code was run; a power of two.
const HEATS: usize = 1 << 16;

/// What translates, and what was translated.
pub(crate) struct Translator {
    pub cache: Cache,
    pub jumps: Jumps,
    pub builder: Builder,
    /// For a look at single instructions.
    pub trial: Builder,
    pub emitter: Emitter,
    pub places: Places,
    /// Budgets that ran out.
    pub turns: u32,
    /// Regions made.
    pub regions: u64,
    /// Branches in them that became choices.
    pub joined: u64,
    /// Calls by a register that they go into.
    pub entered: u64,
    /// Instructions retired in translated code.
    translated: u64,
    /// [`fabric_ram::Watch::writes`] at the last fence.
    pub writes: u64,
    /// Some page's stores may go unnoticed: because not all harts have heard that it is watched, or it counts as written
    /// always.
    pub unsettled: bool,
    heat: Box<[u8]>,
    /// The number of the last `fence.i` that was looked after.
    fence: u64,
    /// [`fabric_ram::Watch::epoch`] when stores were last forgotten.
    epoch: u64,
    pub options: Options,
    /// The most instructions in a block.
    pub longest: usize,
}

/// What a translator has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Regions made.
    pub regions: u64,
    /// Branches over a few instructions that became choices in a region.
    pub joined: u64,
    /// Calls by a register of which a region goes on into what the register led to when the region was made.
    pub entered: u64,
    /// How often the code cache was emptied.
    pub emptied: u64,
    /// Instructions that were retired in translated code; the others were interpreted.
    pub translated: u64,
}

/// One hart, translated.
pub struct Jit {
    interp: Interp,
    translator: Translator,
}

impl Jit {
    /// Why this host cannot run translated code, if it cannot.
    pub fn missing() -> Option<&'static str> {
        #[cfg(target_arch = "x86_64")]
        {
            let has = [
                (std::is_x86_feature_detected!("avx2"), "AVX2"),
                (std::is_x86_feature_detected!("bmi1"), "BMI1"),
                (std::is_x86_feature_detected!("bmi2"), "BMI2"),
                (std::is_x86_feature_detected!("fma"), "FMA"),
                (std::is_x86_feature_detected!("lzcnt"), "LZCNT"),
                (std::is_x86_feature_detected!("pclmulqdq"), "PCLMULQDQ"),
                (std::is_x86_feature_detected!("popcnt"), "POPCNT"),
            ];
            has.into_iter().find(|(has, _)| !has).map(|(_, name)| name)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Some("an x86-64 processor")
        }
    }

    /// A CPU in the state given.
    ///
    /// # Errors
    /// What the host says to the mappings of the code cache; that it cannot run translated code ([`Jit::missing`]).
    pub fn new(config: Config, options: Options) -> io::Result<Jit> {
        if let Some(missing) = Jit::missing() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("this host lacks {missing}")));
        }
        let layout = Layout { one_hart: options.harts == 1, ..layout() };
        let cache = Cache::new(&layout, options.cache)?;
        if let Some(map) = options.perf_map {
            map.name(cache.address(0), cache.shared_size(), format_args!("hostel_shared"));
        }
        let emitter = Emitter::new(layout, cache.shared);
        let jumps = Jumps::new()?;
        let translator = Translator {
            cache,
            jumps,
            builder: Builder::new(&isa_riscv::lift::ISA, Limits::default()),
            trial: Builder::new(&isa_riscv::lift::ISA, Limits::default()),
            emitter,
            places: Places::default(),
            turns: 0,
            regions: 0,
            joined: 0,
            entered: 0,
            translated: 0,
            writes: 0,
            unsettled: false,
            heat: vec![0; HEATS].into_boxed_slice(),
            fence: 1,
            epoch: 0,
            options,
            longest: crate::translate::LONGEST,
        };
        let mut interp = Interp::new(config);
        let cpu = interp.cpu_mut();
        cpu.native.emits = true;
        cpu.native.jumps = translator.jumps.address();
        if let Some((base, size, offset)) = cpu.bus.main_ram().filter(|(_, size, _)| *size > 8) {
            let arena = cpu.ram.map().address().as_ptr() as u64;
            let native = &mut cpu.native;
            (native.linear_base, native.linear_limit) = (base, size - 8);
            native.linear_host = arena + offset;
        }
        cpu.contexts.flush(|_| true);
        cpu.enter_context();
        Ok(Jit { interp, translator })
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        let Translator { regions, joined, entered, translated, cache, .. } = &self.translator;
        Counts {
            regions: *regions,
            joined: *joined,
            entered: *entered,
            emptied: cache.emptied,
            translated: *translated,
        }
    }

    /// The interpreter that runs what is rare.
    pub fn interp(&self) -> &Interp {
        &self.interp
    }

    /// The interpreter that runs what is rare, to change.
    pub fn interp_mut(&mut self) -> &mut Interp {
        &mut self.interp
    }

    /// Forgets all translations. From now on code is translated when it first runs, in blocks of at most `longest`
    /// instructions: to find out which instruction of a block is translated wrongly.
    pub fn translate_anew(&mut self, longest: usize) {
        let translator = &mut self.translator;
        translator.longest = longest.clamp(1, crate::translate::LONGEST);
        translator.options.threshold = 0;
        translator.empty();
    }

    /// Runs code until the next look around.
    fn run_code(&mut self) -> Option<Exit> {
        if let Some(exit) = self.interp.run_rest() {
            return Some(exit);
        }
        // Without C a jump's target must be checked, which translated code does not.
        let plain = self.interp.cpu().unaligned != 0;
        while self.interp.ready() {
            let exit = if plain { self.interp.block() } else { self.turn() };
            if exit.is_some() {
                return exit;
            }
        }
        None
    }

    /// Runs what is at the program counter.
    fn turn(&mut self) -> Option<Exit> {
        let cpu = self.interp.cpu_mut();
        cpu.note_floats();
        self.translator.catch_up(cpu);
        let Some(mut host) = self.translator.find(cpu) else { return self.interp.block() };
        loop {
            let reason = self.enter(host);
            let cpu = self.interp.cpu_mut();
            match reason {
                0 => return None,
                // The code before the instruction may have used up the budget.
                1 if cpu.retired >= cpu.stop_at => return None,
                1 => {
                    let exit = self.interp.step();
                    self.interp.cpu_mut().note_floats();
                    return exit;
                }
                2 => {
                    let longest = crate::translate::LONGEST as u64;
                    // Any block fits into so much: this one no longer holds, and what led here must be looked up.
                    if cpu.native.budget >= longest as i64 {
                        self.translator.jumps.forget(cpu);
                        return None;
                    }
                    self.translator.sample(cpu);
                    // There may be more to run than a stretch.
                    let room = self.interp.cpu().stop_at.saturating_sub(self.interp.cpu().retired);
                    return if room == 0 || room >= longest { None } else { self.interp.block() };
                }
                3 => return cpu.native.exit.take(),
                // A page is not fetched from, which sets its A bit, before it is time for that.
                _ if cpu.retired >= cpu.stop_at => return None,
                link => match self.translator.link(cpu, link - Leave::Link as u32) {
                    Some(next) => host = next,
                    None => return None,
                },
            }
        }
    }

    /// Enters translated code; gives the reason why it left.
    fn enter(&mut self, host: u64) -> u32 {
        let cpu = self.interp.cpu_mut();
        let room = (cpu.stop_at - cpu.retired).min(STRETCH) as i64;
        cpu.native.end = cpu.retired.wrapping_add(room as u64);
        cpu.native.budget = room;
        cpu.native.mxcsr = mxcsr(cpu.hart.csr.frm);
        cpu.note_dirty();
        let address = self.translator.cache.enter;
        cpu.native.translator = std::ptr::from_mut(&mut self.translator) as usize;
        // SAFETY: the address is that of the shared code's entry, which is a function of this type; the memory lives as
        // long as the cache does.
        let enter: unsafe extern "C" fn(*mut Cpu, u64) -> u32 =
            unsafe { std::mem::transmute(address as *const ()) };
        // SAFETY: `host` is the entry of a block in the same cache, emitted for the layout of `Cpu`. It accesses the
        // processor's state, and guest RAM at addresses that entries of the TLB give; both outlive the call.
        let reason = unsafe { enter(std::ptr::from_mut(cpu), host) };
        let before = cpu.native.end - room as u64;
        cpu.retired = cpu.native.end.wrapping_sub(cpu.native.budget as u64);
        self.translator.translated += cpu.retired.saturating_sub(before);
        let flags = fflags(cpu.native.mxcsr);
        if flags != 0 {
            cpu.hart.csr.fflags |= flags;
            cpu.hart.csr.set_fp_dirty();
        }
        reason
    }
}

/// Where code at `pc` is, as an offset in the RAM arena. A fault is the interpreter's to take, and a page of which only parts
/// may be executed is its to run.
fn fetched(cpu: &mut Cpu, pc: u64) -> Option<u64> {
    if let Some(arena) = cpu.fetch.find(cpu.code, pc) {
        return Some(arena);
    }
    let place = cpu.translate(pc, 2, AccessKind::Fetch).ok()?;
    place.ram.filter(|_| place.whole)
}

/// The same if it is remembered: nothing is fetched.
fn remembered(cpu: &mut Cpu, pc: u64) -> Option<u64> {
    cpu.fetch.find(cpu.code, pc)
}

/// The place of the code at the program counter, if all of its page may be executed. `find` says where code is.
fn place(cpu: &mut Cpu, find: fn(&mut Cpu, u64) -> Option<u64>) -> Option<Place> {
    let pc = cpu.hart.pc;
    let arena = find(cpu, pc)?;
    let mut second = None;
    if pc & PAGE_MASK == PAGE_MASK - 1 && cpu.ram.load::<u16>(arena)? & 3 == 3 {
        second = Some(find(cpu, pc.wrapping_add(2))?);
    }
    Place::new(arena, second, modes(cpu))
}

/// MXCSR for a rounding mode: all exceptions masked, no flag up.
pub(crate) fn mxcsr(frm: u8) -> u32 {
    // RC is to nearest, down, up, towards zero; `frm` to nearest, towards zero, down, up.
    let rounding = match frm {
        1 => 3,
        2 => 1,
        3 => 2,
        _ => 0,
    };
    0x1f80 | rounding << 13
}

/// The flags in MXCSR (IE 0, DE 1, ZE 2, OE 3, UE 4, PE 5) as `fflags` has them (NX 0, UF 1, OF 2, DZ 3, NV 4).
pub(crate) fn fflags(mxcsr: u32) -> u8 {
    let bit = |from: u32, to: u32| (mxcsr >> from & 1) << to;
    (bit(0, 4) | bit(2, 3) | bit(3, 2) | bit(4, 1) | bit(5, 0)) as u8
}

impl Translator {
    /// The host's code for the program counter, if there is any; translates what has run often enough.
    pub fn find(&mut self, cpu: &mut Cpu) -> Option<u64> {
        if let Some(host) = self.jumps.get(cpu) {
            return Some(host);
        }
        let indirect = self.block(cpu)?.indirect()?;
        let host = self.cache.address(indirect);
        self.jumps.insert(cpu, host);
        Some(host)
    }

    /// Looks after the `fence.i` that were run since this was last asked for.
    pub fn catch_up(&mut self, cpu: &mut Cpu) {
        if cpu.code_fence != self.fence {
            self.fence = cpu.code_fence;
            self.fence(cpu);
        }
    }

    /// The number of the block at the program counter, if it has been translated and its page is remembered: nothing is
    /// fetched.
    pub fn known(&mut self, cpu: &mut Cpu) -> Option<u32> {
        let place = place(cpu, remembered)?;
        self.cache.by_place.get(&place).map(|known| known.number)
    }

    /// The block at the program counter; translates what has run often enough.
    fn block(&mut self, cpu: &mut Cpu) -> Option<Known> {
        let place = place(cpu, fetched)?;
        if let Some(&known) = self.cache.by_place.get(&place) {
            return Some(known);
        }
        let at = (place.arena >> 1 ^ place.arena >> 17 ^ u64::from(place.modes) << 3) as usize & (HEATS - 1);
        let heat = self.heat.get_mut(at)?;
        if u32::from(*heat) < self.options.threshold {
            *heat = heat.saturating_add(1);
            return None;
        }
        self.translate(cpu, place)?;
        self.cache.by_place.get(&place).copied()
    }

    /// Links `site` to the block at the program counter; gives where to enter that.
    fn link(&mut self, cpu: &mut Cpu, site: u32) -> Option<u64> {
        let emptied = self.cache.emptied;
        let Site { at, of, words, within } = *self.cache.sites.get(site as usize)?;
        if let Some(words) = words {
            let host = self.find(cpu)?;
            if self.cache.emptied == emptied {
                let for_which = (cpu.hart.pc, cpu.code.number());
                match within {
                    None => self.cache.link_far(at, words, for_which, host),
                    Some(member) if self.known(cpu) == Some(member) => {
                        self.cache.link_within(words, for_which)
                    }
                    Some(_) => {}
                }
            }
            return Some(host);
        }
        let Known { number, .. } = self.block(cpu)?;
        let host = self.find(cpu)?;
        if self.cache.emptied != emptied {
            // The link went with its block.
            return Some(host);
        }
        let target = self.cache.blocks.get(number as usize)?.link;
        self.cache.patch(at, target);
        self.force(cpu, number);
        self.force(cpu, of);
        Some(host)
    }

    /// Forgets pages to store to if one of them is watched since.
    fn settle(&mut self, cpu: &mut Cpu) {
        let ram = Arc::clone(&cpu.ram);
        let watch = ram.watch();
        loop {
            let epoch = watch.epoch();
            if epoch != self.epoch {
                if self.options.harts > 1 {
                    cpu.write.clear();
                }
                self.epoch = epoch;
            }
            watch.acknowledge(cpu.hart.hartid, Some(epoch));
            if watch.epoch() == epoch {
                return;
            }
        }
    }
}

impl Vcpu for Jit {
    type State = Hart;

    fn run(&mut self, budget: u64) -> Exit {
        let end = self.interp.cpu().retired.saturating_add(budget);
        let exit = loop {
            self.translator.settle(self.interp.cpu_mut());
            if let Some(exit) = self.interp.look(end) {
                break exit;
            }
            if let Some(exit) = self.run_code() {
                break exit;
            }
        };
        let cpu = self.interp.cpu();
        cpu.ram.watch().acknowledge(cpu.hart.hartid, None);
        exit
    }

    fn retired(&self) -> u64 {
        self.interp.retired()
    }

    fn pending(&self) -> &Arc<PendingWord> {
        self.interp.pending()
    }

    fn state(&self) -> &Hart {
        self.interp.state()
    }

    fn with_state(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        self.interp.with_state(f);
    }

    fn flush_translations(&mut self, va: Option<u64>, asid: Option<u16>) {
        self.interp.flush_translations(va, asid);
    }

    fn flush_code(&mut self) {
        self.interp.flush_code();
    }

    fn flush_pages(&mut self) {
        self.interp.flush_pages();
    }
}

impl Hosted for Jit {
    fn set_firmware(&mut self, firmware: Firmware) {
        self.interp.set_firmware(firmware);
    }

    fn answer(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        self.interp.answer(f);
    }
}
