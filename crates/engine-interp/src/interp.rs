//! The engine: the run loop around the blocks.

use crate::blocks::{Blocks, Span};
use crate::context::Entered;
use crate::cpu::{Cpu, Reservation, Stop};
use crate::handlers::Flow;
use crate::mark::Mark;
use crate::native::Native;
use crate::trap::Traps;
use engine_core::{Exit, Firmware, Hosted, TimeSource, Vcpu};
use engine_mmu::{Context, Contexts, Key, Regions, Table};
use fabric_bus::Bus;
use fabric_wire::PendingWord;
use isa_riscv::{Exception, Extension, Hart, Legal, PmpStretch, pending_interrupt, take_trap, wakes};
use std::sync::Arc;

/// Instructions between two looks at a real clock: some 50 microseconds.
const LOOK: u64 = 10_000;
/// The same for an engine that emits code: some 20 microseconds.
const LOOK_EMITTED: u64 = 1 << 15;
/// Bit of the pending word that posts a supervisor software interrupt: `mip.SSIP` is writable by
/// the guest, so the line only sets it (ACLINT, chapter SSWI).
const POST_SSIP: u64 = 1 << 1;
/// Bits of the pending word that the run loop always looks at.
pub(crate) const REQUESTS: u64 = PendingWord::KICK | PendingWord::WORK | POST_SSIP;

/// What an interpreter is made of.
pub struct Config {
    /// Initial state.
    pub hart: Hart,
    /// Guest-physical memory.
    pub bus: Arc<Bus>,
    /// Time.
    pub time: TimeSource,
    /// Interrupt lines and requests.
    pub pending: Arc<PendingWord>,
}

/// One hart, interpreted.
pub struct Interp {
    cpu: Box<Cpu>,
    blocks: Blocks,
    rest: Option<Rest>,
}

/// The rest of a block that the instruction budget cut off. It is gone on with as it was decoded:
/// where code was changed without `fence.i`, a run in slices then does what a run at a stretch does.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Where the block starts, and the block.
    block_pc: u64,
    span: Span,
    /// Ops of it that ran.
    done: u32,
    /// It is the rest only as long as these are the hart's.
    pc: u64,
    context: Context,
    fence: u64,
}

impl Interp {
    /// What instructions see.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// What instructions see, to change.
    pub fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.cpu
    }

    /// A CPU in the state given.
    pub fn new(config: Config) -> Self {
        let mut contexts = Contexts::default();
        let none = contexts.get(Key { space: 0, mode: 0 }).0;
        let features = config.hart.features;
        let ram = config.bus.ram();
        let arena = ram.map().address().as_ptr() as u64;
        let mut cpu = Box::new(Cpu {
            hart: config.hart,
            ram: Arc::clone(ram),
            read: Table::biased(arena),
            write: Table::biased(arena),
            fetch: Table::biased(arena),
            data: none,
            code: none,
            code_shared: false,
            regions: Regions::default(),
            stretch: PmpStretch::NONE,
            code_floats: 0,
            linear: false,
            block_pc: 0,
            position: 0,
            next_pc: 0,
            retired: 0,
            stop_at: 0,
            interest: 0,
            stop: Stop::Leave,
            alone: false,
            reservation: Reservation::default(),
            fenced_at: 0,
            looked_upto: 0,
            legal: Legal::of(&features),
            unaligned: if features.has(Extension::C) { 0 } else { 2 },
            code_fence: 1,
            waiting: false,
            timer_fired: false,
            firmware: Firmware::Guest,
            traps: Traps::default(),
            impatient: false,
            bus: config.bus,
            contexts,
            entered: Entered::default(),
            time: config.time,
            pending: config.pending,
            native: Native::default(),
        });
        cpu.enter_context();
        Interp { cpu, blocks: Blocks::default(), rest: None }
    }

    /// Where the run stands.
    pub fn mark(&self) -> Mark {
        self.cpu.mark()
    }

    /// Goes back (or forth) to where a run stood, at the time given: memory is the caller's to bring there first. Nothing
    /// is remembered of pages; code is compared with memory before it runs again.
    pub fn rewind(&mut self, mark: &Mark, time: TimeSource) {
        self.rest = None;
        self.cpu.rewind(mark, time);
    }

    /// Runs blocks until the next look around.
    fn run_blocks(&mut self) -> Option<Exit> {
        if let Some(exit) = self.run_rest() {
            return Some(exit);
        }
        while self.ready() {
            if let Some(exit) = self.block() {
                return Some(exit);
            }
        }
        None
    }

    /// Whether the hart need not look around.
    #[inline(always)]
    pub fn ready(&self) -> bool {
        self.cpu.retired < self.cpu.stop_at && self.cpu.pending.load() & self.cpu.interest == 0
    }

    /// Runs the block at the program counter, as much of it as `Cpu::stop_at` leaves room for.
    #[inline(always)]
    pub fn block(&mut self) -> Option<Exit> {
        let pc = self.cpu.hart.pc;
        let span = match self.blocks.find(self.cpu.code, pc, self.cpu.code_fence) {
            Some(span) => span,
            None => match self.blocks.build(&mut self.cpu, pc) {
                Ok(span) => span,
                Err(fault) => {
                    self.cpu.block_pc = pc;
                    return self.cpu.trap(fault);
                }
            },
        };
        let ran = run_block(&mut self.cpu, &self.blocks, pc, span, 0);
        self.ended(pc, span, ran)
    }

    /// What comes after a run of a block's ops.
    #[inline(always)]
    fn ended(&mut self, pc: u64, span: Span, ran: Ran) -> Option<Exit> {
        match ran {
            Ran::Whole => None,
            Ran::Upto(done) => {
                self.keep_rest(pc, span, done);
                None
            }
            Ran::Stopped => self.stopped(pc, span),
        }
    }

    /// Runs the one instruction at the program counter.
    pub fn step(&mut self) -> Option<Exit> {
        let exit = self.by_itself(|interp| interp.block());
        self.rest = None;
        exit
    }

    /// Has `run` run one instruction, which may touch devices.
    fn by_itself(&mut self, run: impl FnOnce(&mut Self) -> Option<Exit>) -> Option<Exit> {
        let stop_at = std::mem::replace(&mut self.cpu.stop_at, self.cpu.retired + 1);
        self.cpu.alone = true;
        let exit = run(self);
        self.cpu.alone = false;
        // 0 is a wish to look around, which stays.
        if self.cpu.stop_at != 0 {
            self.cpu.stop_at = stop_at;
        }
        exit
    }

    /// Goes on with the rest of a block, if there is one and the hart is still there.
    pub fn run_rest(&mut self) -> Option<Exit> {
        let Rest { block_pc, span, done, pc, context, fence } = self.rest.take()?;
        let cpu = &mut self.cpu;
        let there = pc == cpu.hart.pc && context.number() == cpu.code.number() && fence == cpu.code_fence;
        if !there || cpu.retired >= cpu.stop_at {
            return None;
        }
        let ran = run_block(cpu, &self.blocks, block_pc, span, done);
        self.ended(block_pc, span, ran)
    }

    #[cold]
    fn keep_rest(&mut self, block_pc: u64, span: Span, done: u32) {
        let (pc, context, fence) = (self.cpu.hart.pc, self.cpu.code, self.cpu.code_fence);
        self.rest = Some(Rest { block_pc, span, done, pc, context, fence });
    }

    /// The op at `Cpu::position` of `span` stopped.
    #[inline(never)]
    fn stopped(&mut self, block_pc: u64, span: Span) -> Option<Exit> {
        let index = self.cpu.position >> 16;
        self.cpu.retired += u64::from(index);
        match self.cpu.stop {
            Stop::Leave => {
                let op = self.blocks.ops.get((span.start + index) as usize);
                let bytes = op.map_or(0, |op| u64::from(op.bytes));
                self.cpu.hart.pc = self.cpu.pc_now().wrapping_add(bytes);
                self.cpu.retired += 1;
                self.cpu.position = 0;
                None
            }
            Stop::Alone => {
                self.cpu.hart.pc = self.cpu.pc_now();
                self.cpu.position = 0;
                let exit = self.by_itself(|interp| {
                    let ran = run_block(&mut interp.cpu, &interp.blocks, block_pc, span, index);
                    interp.ended(block_pc, span, ran)
                });
                if self.cpu.stop_at != 0 {
                    // It found memory after all, which another hart has mapped there: other blocks come before the next
                    // look, which the rest of this one may not outlive.
                    self.rest = None;
                }
                exit
            }
            Stop::Trap(mut trap) => {
                self.cpu.position &= 0xffff;
                if trap.cause == Exception::IllegalInsn && trap.tval == 0 {
                    trap.tval = self.bits_at(span);
                }
                self.cpu.trap(trap)
            }
        }
    }

    /// The bits of the instruction at `Cpu::position` of `span`.
    fn bits_at(&self, span: Span) -> u64 {
        let code = self.blocks.code_of(span);
        let at = (self.cpu.position & 0xffff) as usize / 2;
        let low = code.get(at).map_or(0, |&h| u64::from(h));
        match code.get(at + 1) {
            Some(&high) if low & 3 == 3 => low | u64::from(high) << 16,
            _ => low,
        }
    }

    /// Time, requests, interrupts: everything that can make the CPU do something else than go on.
    pub fn look(&mut self, end: u64) -> Option<Exit> {
        let cpu = &mut self.cpu;
        cpu.position = 0;
        cpu.time.catch_up(cpu.retired);
        let word = cpu.pending.load();
        if word & POST_SSIP != 0 {
            cpu.pending.lower(POST_SSIP);
            cpu.hart.csr.mip |= POST_SSIP;
        }
        if word & (PendingWord::KICK | PendingWord::WORK) != 0 {
            return Some(Exit::Kick);
        }
        let ticks = cpu.time.ticks(cpu.retired);
        let lines = word & crate::context::LINES;
        if cpu.waiting {
            if !wakes(&cpu.hart, lines, ticks) {
                let wake = cpu.hart.csr.mie & PendingWord::LINES | REQUESTS;
                return Some(Exit::Idle { until: cpu.own_timer(ticks), wake });
            }
            cpu.waiting = false;
        }
        if cpu.retired >= end {
            return Some(Exit::Budget);
        }
        if let Some(interrupt) = pending_interrupt(&cpu.hart, lines, ticks) {
            cpu.traps.interrupted();
            let pc = cpu.hart.pc;
            cpu.hart.pc = take_trap(&mut cpu.hart, interrupt, pc, 0);
            cpu.enter_context();
        }
        cpu.timer_fired = cpu.hart.csr.next_timer().is_some_and(|at| ticks >= at);
        cpu.note_interrupts();
        let timer = cpu.own_timer(ticks);
        let look = if cpu.native.emits { LOOK_EMITTED } else { LOOK };
        let ahead = cpu.time.insns_until(cpu.retired, timer).unwrap_or(look).max(1);
        cpu.stop_at = end.min(cpu.retired.saturating_add(ahead));
        None
    }
}

/// How much of a block ran.
enum Ran {
    /// All that was left of it.
    Whole,
    /// So many of its ops: `stop_at` left no room for more.
    Upto(u32),
    /// One of its ops stopped.
    Stopped,
}

/// Runs one block from op `done` on, or as much of it as `stop_at` leaves room for.
#[inline(always)]
fn run_block(cpu: &mut Cpu, blocks: &Blocks, pc: u64, span: Span, done: u32) -> Ran {
    let room = cpu.stop_at - cpu.retired;
    let (mut len, mut bytes) = (span.len, span.bytes);
    if u64::from(len - done) > room {
        len = done + room as u32;
        bytes = blocks.ops.get((span.start + len) as usize).map_or(0, |op| op.position & 0xffff);
    }
    let ops = (span.start + done) as usize..(span.start + len) as usize;
    let Some((first, rest)) = blocks.ops.get(ops).and_then(<[_]>::split_first) else {
        return Ran::Whole;
    };
    cpu.block_pc = pc;
    cpu.next_pc = pc.wrapping_add(u64::from(bytes));
    // Ops count from the start of the block, wherever in it we begin.
    cpu.retired -= u64::from(done);
    if (first.run)(cpu, first, rest) == Flow::Stopped {
        return Ran::Stopped;
    }
    cpu.retired += u64::from(len);
    cpu.position = 0;
    cpu.hart.pc = cpu.next_pc;
    if len == span.len { Ran::Whole } else { Ran::Upto(len) }
}

impl Vcpu for Interp {
    type State = Hart;

    fn run(&mut self, budget: u64) -> Exit {
        let end = self.cpu.retired.saturating_add(budget);
        loop {
            if let Some(exit) = self.look(end) {
                return exit;
            }
            if let Some(exit) = self.run_blocks() {
                return exit;
            }
        }
    }

    fn retired(&self) -> u64 {
        self.cpu.retired
    }

    fn pending(&self) -> &Arc<PendingWord> {
        &self.cpu.pending
    }

    fn state(&self) -> &Hart {
        &self.cpu.hart
    }

    fn with_state(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        f(&mut self.cpu.hart);
        self.cpu.reservation = Reservation::default();
        self.cpu.forget_translations();
    }

    fn flush_translations(&mut self, va: Option<u64>, asid: Option<u16>) {
        self.cpu.fence_vma(va, asid);
    }

    fn flush_code(&mut self) {
        self.cpu.fence_code();
    }

    fn flush_pages(&mut self) {
        self.cpu.forget_translations();
    }
}

impl Hosted for Interp {
    fn set_firmware(&mut self, firmware: Firmware) {
        self.cpu.firmware = firmware;
    }

    fn answer(&mut self, f: &mut dyn FnMut(&mut Hart)) {
        f(&mut self.cpu.hart);
        self.cpu.enter_context();
    }
}
