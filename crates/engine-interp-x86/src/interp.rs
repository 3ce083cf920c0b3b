//! The engine: the run loop around the blocks.

use crate::blocks::{Blocks, Span};
use crate::cpu::Cpu;
use crate::handlers::Flow;
use engine_core::{Exit, TimeSource, Vcpu};
use engine_mmu::{Contexts, Key, PageFilter, Table};
use fabric_bus::Bus;
use fabric_wire::local::{Event as LocalEvent, apic_base, line};
use fabric_wire::{LocalController, PendingWord};
use isa_core::Width;
use isa_x86::{Activity, Event, Fault, Mode, Shadow, State, dr6, event, rflags, seg, vector};
use std::sync::Arc;

/// Instructions between two looks at a real clock: 50 to 100 microseconds at 100 to 200 million a second.
const LOOK: u64 = 10_000;
/// Bits of the pending word that the run loop always looks at.
const REQUESTS: u64 = PendingWord::KICK | PendingWord::WORK;
/// Those and the events that come whatever the processor's flags say.
pub(crate) const ALWAYS: u64 = REQUESTS | 1 << line::INIT | 1 << line::SIPI;

/// What an interpreter is made of.
pub struct Config {
    /// Initial state.
    pub state: State,
    /// Guest-physical memory. Where nothing answers, all ones are read and writes go nowhere.
    pub memory: Arc<Bus>,
    /// The 64 KiB of ports.
    pub ports: Arc<Bus>,
    /// The local APIC; it drives the bits of [`fabric_wire::local::line`] in `pending`.
    pub local: Arc<dyn LocalController>,
    /// Time.
    pub time: TimeSource,
    /// Interrupt lines and requests.
    pub pending: Arc<PendingWord>,
}

/// One processor, interpreted.
pub struct Interp {
    pub(crate) cpu: Cpu,
    blocks: Blocks,
}

impl Interp {
    /// A CPU in the state given. Its time-stamp counter has the frequency of [`State::identity`].
    pub fn new(config: Config) -> Self {
        let mut contexts = Contexts::default();
        let none = contexts.get(Key { space: 0, mode: 0 }).0;
        let ram = Arc::clone(config.memory.ram());
        let pages = ram.size().div_ceil(1 << 18) as usize;
        let mut cpu = Cpu {
            state: config.state,
            ram,
            read: Table::default(),
            write: Table::default(),
            fetch: Table::default(),
            data: none,
            code: none,
            keys: None,
            block_rip: 0,
            position: 0,
            next_rip: 0,
            leave: false,
            again: false,
            mode: Mode::Bits16,
            stack_width: Width::B2,
            cs_base: 0,
            unused_bits: 16,
            user: false,
            align_check: false,
            retired: 0,
            stop_at: 0,
            interest: 0,
            fault: Fault::ud(),
            code_pages: vec![0; pages].into_boxed_slice(),
            code_stores: Vec::new(),
            code_filter: PageFilter::default(),
            contexts_reused: false,
            events: 0,
            apic_page: 1,
            bus: config.memory,
            ports: config.ports,
            local: config.local,
            contexts,
            time: config.time,
            pending: config.pending,
        };
        cpu.find_apic_page();
        cpu.enter_context();
        Interp { cpu, blocks: Blocks::default() }
    }

    /// Runs blocks until the next look around.
    fn run_blocks(&mut self) -> Option<Exit> {
        while self.cpu.retired < self.cpu.stop_at && self.cpu.pending.load() & self.cpu.interest == 0 {
            // Not behind the block: the delivery of an event stores too.
            if !self.cpu.code_stores.is_empty() {
                self.drop_stored();
            }
            let rip = self.cpu.state.rip;
            let la = self.cpu.cs_base.wrapping_add(rip);
            let la = if self.cpu.mode == Mode::Bits64 { la } else { la & 0xffff_ffff };
            let built = match self.blocks.find(self.cpu.code, la) {
                Some(span) => Ok(span),
                None => self.blocks.build(&mut self.cpu, rip, la),
            };
            if self.cpu.retired >= self.cpu.stop_at {
                return None; // something asked for a look around meanwhile
            }
            let ran = match built {
                Ok(span) => run_block(&mut self.cpu, &self.blocks, rip, span),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = ran
                && let Some(exit) = self.fault(fault)
            {
                return Some(exit);
            }
        }
        None
    }

    /// Ends the blocks that were stored to.
    #[cold]
    fn drop_stored(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.cpu.code_stores) {
            if self.blocks.store(offset, bytes) {
                let page = offset >> 12;
                if let Some(word) = self.cpu.code_pages.get_mut((page >> 6) as usize) {
                    *word &= !(1 << (page & 63));
                }
            }
        }
    }

    /// Raises `fault` at the present instruction; counts as one retired.
    #[cold]
    fn fault(&mut self, fault: Fault) -> Option<Exit> {
        let cpu = &mut self.cpu;
        let rip = cpu.state.rip;
        cpu.position = 0;
        let done = event::raise(cpu, fault, rip);
        self.delivered(done, rip)
    }

    /// An event has been delivered, or has shut the processor down.
    fn delivered(&mut self, done: Result<(), Fault>, rip: u64) -> Option<Exit> {
        let cpu = &mut self.cpu;
        cpu.events += 1;
        cpu.retired += 1;
        match done {
            Ok(()) => {
                cpu.state.rip = cpu.next_rip;
                None
            }
            Err(fault) => {
                cpu.state.activity = Activity::Shutdown;
                let value = fault.address.unwrap_or(fault.error.unwrap_or(0).into());
                Some(Exit::Shutdown(Some(engine_core::Fault { pc: rip, cause: fault.vector.into(), value })))
            }
        }
    }

    /// Delivers an event that came between two instructions.
    fn accept(&mut self, event: Event) -> Option<Exit> {
        let rip = self.cpu.state.rip;
        self.cpu.position = 0;
        let done = event::accept(&mut self.cpu, event, rip);
        self.delivered(done, rip)
    }

    /// Runs one instruction on its own: in an interrupt shadow, or with TF set.
    fn step(&mut self) -> Option<Exit> {
        let cpu = &mut self.cpu;
        let shadow = std::mem::take(&mut cpu.state.shadow);
        let (traced, level) = (cpu.state.system_flags & rflags::TF != 0, cpu.state.cpl());
        let (retired, events) = (cpu.retired, cpu.events);
        cpu.stop_at = retired + 1;
        let exit = self.run_blocks();
        let cpu = &mut self.cpu;
        if cpu.retired == retired && cpu.events == events {
            cpu.state.shadow = shadow; // a request came first
            return exit;
        }
        let state = &mut cpu.state;
        // A transfer inwards that clears TF (`int n`, `syscall` by its mask) has no trap behind it.
        let entered = state.cpl() < level && state.system_flags & rflags::TF == 0;
        let trap = traced && cpu.events == events && state.shadow != Shadow::MovSs && !entered;
        if trap && exit.is_none() {
            state.dr6 |= dr6::BS;
            state.event = Some(Event::Exception { vector: vector::DB, error: None });
        }
        exit
    }

    /// Time, requests, events: everything that can make the CPU do something else than go on.
    fn look(&mut self, end: u64) -> Option<Exit> {
        let cpu = &mut self.cpu;
        cpu.position = 0;
        cpu.time.catch_up(cpu.retired);
        if cpu.pending.load() & REQUESTS != 0 {
            return Some(Exit::Kick);
        }
        self.take_local_events();
        if let Some(exit) = self.idle() {
            return Some(exit);
        }
        if self.cpu.retired >= end {
            return Some(Exit::Budget);
        }
        if let Some(exit) = self.deliver_one() {
            return Some(exit);
        }
        let cpu = &mut self.cpu;
        if cpu.state.activity != Activity::Running {
            // What was to wake it came to nothing, or it was an INIT.
            return self.idle().or(Some(Exit::Idle { until: None, wake: self.cpu.interest }));
        }
        if std::mem::take(&mut cpu.contexts_reused) {
            self.blocks.forget_virtual();
        }
        cpu.note_interrupts();
        let ahead = cpu.time.insns_until(cpu.retired, None).unwrap_or(LOOK).max(1);
        cpu.stop_at = end.min(cpu.retired.saturating_add(ahead));
        None
    }

    /// INIT and start-up IPIs.
    fn take_local_events(&mut self) {
        while self.cpu.pending.load() & (1 << line::INIT | 1 << line::SIPI) != 0 {
            let Some(event) = self.cpu.local.take_event() else { return };
            self.local_event(event);
        }
    }

    /// What the local controller has told: an NMI is left in `State::event`.
    fn local_event(&mut self, event: LocalEvent) {
        let cpu = &mut self.cpu;
        match event {
            LocalEvent::Init => {
                cpu.state.init();
                if cpu.local.apic_base() & apic_base::BSP == 0 {
                    cpu.state.activity = Activity::WaitForSipi;
                }
                cpu.flush_all();
            }
            LocalEvent::Sipi(vector) => {
                if cpu.state.activity == Activity::WaitForSipi {
                    cpu.state.start_up(vector);
                    cpu.enter_context();
                }
            }
            LocalEvent::Nmi => cpu.state.event = cpu.state.event.or(Some(Event::Nmi)),
        }
    }

    /// Whether the processor waits, and for what.
    fn idle(&mut self) -> Option<Exit> {
        let cpu = &mut self.cpu;
        match cpu.state.activity {
            Activity::Running => None,
            Activity::Shutdown => Some(Exit::Shutdown(None)),
            Activity::WaitForSipi => Some(Exit::Idle { until: None, wake: ALWAYS }),
            Activity::Halted => {
                cpu.note_interrupts();
                if cpu.state.event.is_some() || cpu.pending.load() & cpu.interest != 0 {
                    return None;
                }
                Some(Exit::Idle { until: None, wake: cpu.interest })
            }
        }
    }

    /// Delivers the event that comes first, if there is one.
    fn deliver_one(&mut self) -> Option<Exit> {
        let word = self.cpu.pending.load();
        let state = &self.cpu.state;
        if state.event.is_none()
            && state.takes_nmis()
            && word & 1 << line::NMI != 0
            && let Some(event) = self.cpu.local.take_event()
        {
            self.local_event(event);
        }
        let cpu = &mut self.cpu;
        let state = &mut cpu.state;
        if let Some(event) = state.event.take() {
            state.activity = Activity::Running;
            return self.accept(event);
        }
        if state.takes_interrupts()
            && word & 1 << line::INTR != 0
            && let Some(vector) = cpu.local.acknowledge()
        {
            cpu.state.activity = Activity::Running;
            return self.accept(Event::Interrupt { vector });
        }
        None
    }
}

/// Runs one block, or as much of it as `stop_at` and the limit of CS leave room for.
///
/// # Errors
/// The fault of the instruction at `State::rip`.
#[inline(always)]
fn run_block(cpu: &mut Cpu, blocks: &Blocks, rip: u64, span: Span) -> Result<(), Fault> {
    let room = cpu.stop_at - cpu.retired;
    let (mut len, mut bytes) = (span.len, u64::from(span.bytes));
    let beyond =
        cpu.mode != Mode::Bits64 && rip.wrapping_add(bytes - 1) > u64::from(cpu.state.segment(seg::CS).limit);
    if u64::from(len) > room || beyond {
        (len, bytes) = part(cpu, blocks, rip, span, room)?;
    }
    let ops = span.start as usize..(span.start + len) as usize;
    let Some((first, rest)) = blocks.ops.get(ops).and_then(<[_]>::split_first) else { return Ok(()) };
    cpu.block_rip = rip;
    cpu.next_rip = rip.wrapping_add(bytes);
    cpu.leave = false;
    match (first.run)(cpu, first, rest) {
        Flow::End => {
            cpu.retired += u64::from(len);
            cpu.state.rip = cpu.next_rip;
        }
        Flow::Left => left(cpu, len),
        Flow::Faulted => {
            cpu.retired += cpu.position >> 32;
            cpu.state.rip = cpu.rip_now();
            cpu.position = 0;
            return Err(cpu.fault);
        }
    }
    cpu.position = 0;
    Ok(())
}

/// The op at `Cpu::position` of a run of `len` is done, and the run is left behind it.
fn left(cpu: &mut Cpu, len: u32) {
    let index = cpu.position >> 32;
    cpu.state.rip = if std::mem::take(&mut cpu.again) {
        cpu.rip_now()
    } else if index + 1 == u64::from(len) {
        cpu.next_rip
    } else {
        cpu.rip_behind()
    };
    cpu.retired += index + 1;
}

/// How many ops and bytes of a block may run.
///
/// # Errors
/// #GP(0) if the first op is beyond the limit of CS.
#[cold]
fn part(cpu: &Cpu, blocks: &Blocks, rip: u64, span: Span, room: u64) -> Result<(u32, u64), Fault> {
    let limit = match cpu.mode {
        Mode::Bits64 => u64::MAX,
        _ => u64::from(cpu.state.segment(seg::CS).limit),
    };
    let ops = blocks.ops.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default();
    let fits = |end: u64| limit == u64::MAX || rip.wrapping_add(end - 1) <= limit;
    let (mut len, mut bytes) = (0, 0);
    for op in ops.iter().take(room.min(u64::from(span.len)) as usize) {
        if !fits(op.end()) {
            break;
        }
        (len, bytes) = (len + 1, op.end());
    }
    if len == 0 { Err(Fault::gp(0)) } else { Ok((len, bytes)) }
}

impl Vcpu for Interp {
    type State = State;

    fn run(&mut self, budget: u64) -> Exit {
        let end = self.cpu.retired.saturating_add(budget);
        loop {
            if let Some(exit) = self.look(end) {
                return exit;
            }
            // An event that was delivered may have used the budget up.
            let alone = self.cpu.alone() && self.cpu.retired < end;
            let exit = if alone { self.step() } else { self.run_blocks() };
            if let Some(exit) = exit {
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

    fn state(&self) -> &State {
        &self.cpu.state
    }

    fn with_state(&mut self, f: &mut dyn FnMut(&mut State)) {
        f(&mut self.cpu.state);
        self.cpu.find_apic_page();
        self.cpu.flush_all();
    }

    fn flush_translations(&mut self, va: Option<u64>, _asid: Option<u16>) {
        match va {
            Some(va) => self.cpu.flush_page(va),
            None => self.cpu.flush(true),
        }
    }

    fn flush_code(&mut self) {
        self.cpu.renew_code();
    }

    fn flush_pages(&mut self) {
        self.cpu.flush_all();
    }
}
