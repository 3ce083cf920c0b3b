//! Performance counters (SBI specification, "Performance Monitoring Unit Extension").
//!
//! Counters 0 and 2 are `cycle` and `instret`, as their CSRs are numbered; 1 would be `time`, which is
//! none. Firmware counters follow. A hardware counter runs unless `mcountinhibit` stops it; both run
//! after reset, for software that reads them without asking, and count as free until an event is mapped
//! to them.

use crate::error::{Answer, SbiError};
use crate::events::{Events, FirmwareEvent};
use crate::firmware::{Args, PerHart};
use crate::harts::bits;
use crate::table::Function;
use crate::{Platform, Sbi};
use isa_riscv::csr_fields::counter;
use isa_riscv::{AccessKind, Extension, Hart};

/// Firmware counters of a hart.
pub(crate) const FIRMWARE_COUNTERS: usize = 16;
/// The first of them.
const FIRST_FIRMWARE: u64 = 3;
/// One more than the last counter.
const COUNTERS: u64 = FIRST_FIRMWARE + FIRMWARE_COUNTERS as u64;

/// Width less one of a hardware counter, in `counter_info[17:12]`.
const WIDTH: u64 = 63 << 12;
/// `counter_info.type`: firmware.
const TYPE_FIRMWARE: u64 = 1 << 63;
/// Number of the CSR `cycle`, from which the hardware counters count.
const CSR_CYCLE: u64 = 0xc00;

const CFG_SKIP_MATCH: u64 = 1 << 0;
const CFG_CLEAR_VALUE: u64 = 1 << 1;
const CFG_AUTO_START: u64 = 1 << 2;
/// With the filter hints in bits 7:3, which are ignored.
const CFG_FLAGS: u64 = 0xff;
const START_SET_INIT_VALUE: u64 = 1 << 0;
const START_INIT_SNAPSHOT: u64 = 1 << 1;
const STOP_RESET: u64 = 1 << 0;
const STOP_TAKE_SNAPSHOT: u64 = 1 << 1;

/// The most entries that one `sbi_pmu_event_get_info` looks at: the call must end soon.
const MOST_EVENTS: u64 = 4096;
/// Bytes of such an entry.
const EVENT_ENTRY: u64 = 16;

/// An event that some counter can monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// `SBI_PMU_HW_CPU_CYCLES`.
    Cycles,
    /// `SBI_PMU_HW_INSTRUCTIONS`.
    Instructions,
    Firmware(FirmwareEvent),
}

impl Event {
    /// The event with `event_idx` and `event_data`. The data is unused for all of them, and other values
    /// than 0 are reserved.
    fn find(index: u64, data: u64) -> Option<Event> {
        if data != 0 {
            return None;
        }
        match (index >> 16, index as u16) {
            (0, 1) => Some(Event::Cycles),
            (0, 2) => Some(Event::Instructions),
            (0xf, code) => FirmwareEvent::from_code(code).map(Event::Firmware),
            _ => None,
        }
    }
}

/// A counter by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Cycle,
    Instret,
    /// By its place among the firmware counters.
    Firmware(usize),
}

impl Counter {
    /// Counter `index` of `hart`.
    fn find(hart: &Hart, index: u64) -> Result<Counter, SbiError> {
        let hardware = |bit: u64| {
            hart.features.has(Extension::Zicntr) && u64::from(hart.features.counter_mask) & bit != 0
        };
        match index {
            0 if hardware(counter::CY) => Ok(Counter::Cycle),
            2 if hardware(counter::IR) => Ok(Counter::Instret),
            FIRST_FIRMWARE..COUNTERS => Ok(Counter::Firmware((index - FIRST_FIRMWARE) as usize)),
            _ => Err(SbiError::InvalidParam),
        }
    }

    fn index(self) -> u64 {
        match self {
            Counter::Cycle => 0,
            Counter::Instret => 2,
            Counter::Firmware(n) => FIRST_FIRMWARE + n as u64,
        }
    }

    fn can_monitor(self, event: Event) -> bool {
        matches!(
            (self, event),
            (Counter::Cycle, Event::Cycles)
                | (Counter::Instret, Event::Instructions)
                | (Counter::Firmware(_), Event::Firmware(_))
        )
    }
}

/// The counters that `base` and `mask` name, in ascending order.
///
/// # Errors
/// [`SbiError::InvalidParam`] if one does not exist.
fn counters(hart: &Hart, base: u64, mask: u64) -> Result<Vec<Counter>, SbiError> {
    let counter = |bit| {
        let index = base.checked_add(u64::from(bit)).ok_or(SbiError::InvalidParam)?;
        Counter::find(hart, index)
    };
    bits(mask).map(counter).collect()
}

/// A firmware counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FirmwareCounter {
    pub event: Option<FirmwareEvent>,
    pub running: bool,
    /// Its value; while it runs, less the event's total.
    pub value: u64,
}

impl FirmwareCounter {
    fn total(&self, events: &Events) -> u64 {
        self.event.map_or(0, |event| events.get(event))
    }

    fn value(&self, events: &Events) -> u64 {
        if self.running { self.value.wrapping_add(self.total(events)) } else { self.value }
    }

    fn set(&mut self, events: &Events, event: Option<FirmwareEvent>, running: bool, value: u64) {
        *self = FirmwareCounter { event, running, value: 0 };
        self.value = if running { value.wrapping_sub(self.total(events)) } else { value };
    }
}

/// What the firmware keeps of a hart's counters, besides the CSRs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Whether the event is mapped to counter 0.
    pub cycle: bool,
    /// Whether the event is mapped to counter 2.
    pub instret: bool,
    pub firmware: [FirmwareCounter; FIRMWARE_COUNTERS],
}

/// A hart's counters during a call of it.
struct Pmu<'a> {
    hart: &'a mut Hart,
    retired: u64,
    events: &'a Events,
    counters: &'a mut Counters,
}

impl Pmu<'_> {
    fn firmware(&self, n: usize) -> FirmwareCounter {
        self.counters.firmware.get(n).copied().unwrap_or_default()
    }

    fn mapped(&self, counter: Counter) -> bool {
        match counter {
            Counter::Cycle => self.counters.cycle,
            Counter::Instret => self.counters.instret,
            Counter::Firmware(n) => self.firmware(n).event.is_some(),
        }
    }

    fn running(&self, counter: Counter) -> bool {
        let inhibit = self.hart.csr.mcountinhibit;
        match counter {
            Counter::Cycle => inhibit & counter::CY == 0,
            Counter::Instret => inhibit & counter::IR == 0,
            Counter::Firmware(n) => self.firmware(n).running,
        }
    }

    fn run(&mut self, counter: Counter, on: bool) {
        let bit = match counter {
            Counter::Cycle => counter::CY,
            Counter::Instret => counter::IR,
            Counter::Firmware(n) => {
                if let Some(fw) = self.counters.firmware.get_mut(n) {
                    let value = fw.value(self.events);
                    fw.set(self.events, fw.event, on, value);
                }
                return;
            }
        };
        let inhibit = self.hart.csr.mcountinhibit;
        let inhibit = if on { inhibit & !bit } else { inhibit | bit };
        self.hart.csr.set_mcountinhibit(inhibit, self.retired);
    }

    fn set_value(&mut self, counter: Counter, value: u64) {
        match counter {
            Counter::Cycle => self.hart.csr.set_mcycle(value, self.retired),
            Counter::Instret => self.hart.csr.set_minstret(value, self.retired),
            Counter::Firmware(n) => {
                if let Some(fw) = self.counters.firmware.get_mut(n) {
                    fw.set(self.events, fw.event, fw.running, value);
                }
            }
        }
    }

    /// Maps `event` to `counter`, or nothing.
    fn map(&mut self, counter: Counter, event: Option<Event>) {
        match counter {
            Counter::Cycle => self.counters.cycle = event.is_some(),
            Counter::Instret => self.counters.instret = event.is_some(),
            Counter::Firmware(n) => {
                let event = match event {
                    Some(Event::Firmware(event)) => Some(event),
                    _ => None,
                };
                if let Some(fw) = self.counters.firmware.get_mut(n) {
                    let value = fw.value(self.events);
                    fw.set(self.events, event, false, value);
                }
            }
        }
    }

    fn config_matching(&mut self, [base, mask, flags, index, data, _]: Args) -> Answer {
        let set = counters(self.hart, base, mask)?;
        if flags & !CFG_FLAGS != 0 {
            return Err(SbiError::InvalidParam);
        }
        let event = Event::find(index, data).ok_or(SbiError::NotSupported)?;
        // A counter that has an event belongs to whoever configured it, also while it does not run,
        // until it is stopped with SBI_PMU_STOP_FLAG_RESET.
        let free = |&counter: &Counter| !self.mapped(counter) && counter.can_monitor(event);
        let found = if flags & CFG_SKIP_MATCH != 0 {
            set.first().copied().filter(|counter| counter.can_monitor(event))
        } else {
            set.into_iter().find(free)
        };
        let counter = found.ok_or(SbiError::NotSupported)?;
        self.map(counter, Some(event));
        if flags & CFG_CLEAR_VALUE != 0 {
            self.set_value(counter, 0);
        }
        self.run(counter, flags & CFG_AUTO_START != 0);
        Ok(counter.index())
    }

    fn start(&mut self, [base, mask, flags, initial, ..]: Args) -> Answer {
        let set = counters(self.hart, base, mask)?;
        if flags & !(START_SET_INIT_VALUE | START_INIT_SNAPSHOT) != 0 {
            return Err(SbiError::InvalidParam);
        }
        if flags & START_INIT_SNAPSHOT != 0 {
            return Err(SbiError::NoShmem);
        }
        // A firmware counter without an event has nothing to count.
        let idle = |&counter: &Counter| matches!(counter, Counter::Firmware(_)) && !self.mapped(counter);
        if set.iter().any(idle) {
            return Err(SbiError::InvalidParam);
        }
        let mut answer = Ok(0);
        for counter in set {
            if self.running(counter) {
                // The others of the set are started all the same.
                answer = Err(SbiError::AlreadyStarted);
                continue;
            }
            if flags & START_SET_INIT_VALUE != 0 {
                self.set_value(counter, initial);
            }
            self.run(counter, true);
        }
        answer
    }

    fn stop(&mut self, [base, mask, flags, ..]: Args) -> Answer {
        let set = counters(self.hart, base, mask)?;
        if flags & !(STOP_RESET | STOP_TAKE_SNAPSHOT) != 0 {
            return Err(SbiError::InvalidParam);
        }
        if flags & STOP_TAKE_SNAPSHOT != 0 {
            return Err(SbiError::NoShmem);
        }
        let mut answer = Ok(0);
        for counter in set {
            if !self.running(counter) {
                // The others of the set are stopped all the same.
                answer = Err(SbiError::AlreadyStopped);
            }
            self.run(counter, false);
            if flags & STOP_RESET != 0 {
                self.map(counter, None);
            }
        }
        answer
    }

    fn firmware_value(&self, index: u64) -> Answer {
        match Counter::find(self.hart, index)? {
            Counter::Firmware(n) => Ok(self.firmware(n).value(self.events)),
            _ => Err(SbiError::InvalidParam),
        }
    }
}

impl Sbi {
    pub(crate) fn pmu<P: Platform>(
        &self,
        function: Function,
        hart: &mut Hart,
        platform: &mut P,
        args: Args,
    ) -> Answer {
        let PerHart { events, .. } = self.own(hart)?;
        let mut counters = self.own(hart)?.counters();
        let retired = platform.retired();
        let mut pmu = Pmu { hart, retired, events, counters: &mut counters };
        let [a0, a1, a2, a3, ..] = args;
        match function {
            // "The logical counter ids are not contiguous": software asks for each number below this.
            Function::PmuNumCounters => Ok(COUNTERS),
            Function::PmuCounterInfo => Ok(match Counter::find(pmu.hart, a0)? {
                Counter::Firmware(_) => TYPE_FIRMWARE,
                hardware => WIDTH | (CSR_CYCLE + hardware.index()),
            }),
            Function::PmuConfigMatching => pmu.config_matching(args),
            Function::PmuStart => pmu.start(args),
            Function::PmuStop => pmu.stop(args),
            Function::PmuFwRead => pmu.firmware_value(a0),
            // The upper half on RV32, 0 elsewhere.
            Function::PmuFwReadHi => pmu.firmware_value(a0).map(|_| 0),
            Function::PmuEventInfo => event_info(pmu.hart, platform, (a0, a1), a2, a3),
            _ => Err(SbiError::NotSupported),
        }
    }
}

/// `sbi_pmu_event_get_info`: all entries are read and checked before the first answer is written, and
/// of each entry only its output word is.
fn event_info<P: Platform>(
    hart: &Hart,
    platform: &mut P,
    address: (u64, u64),
    entries: u64,
    flags: u64,
) -> Answer {
    let (low, high) = address;
    if flags != 0 || !low.is_multiple_of(EVENT_ENTRY) {
        return Err(SbiError::InvalidParam);
    }
    let size = entries.checked_mul(EVENT_ENTRY).ok_or(SbiError::InvalidAddress)?;
    let all = [AccessKind::Load, AccessKind::Store];
    let accessible = high == 0 && all.iter().all(|&access| platform.has_memory(low, size, access));
    if size != 0 && !accessible {
        return Err(SbiError::InvalidAddress);
    }
    if entries > MOST_EVENTS {
        return Err(SbiError::Failed);
    }
    let mut bytes = vec![0; size as usize];
    platform.read_memory(low, &mut bytes).map_err(|_| SbiError::Failed)?;
    let (chunks, _) = bytes.as_chunks::<{ EVENT_ENTRY as usize }>();
    let words = chunks.iter().map(|chunk| u128::from_le_bytes(*chunk));
    if words.clone().any(|entry| entry as u32 >> 20 != 0) {
        return Err(SbiError::InvalidParam);
    }
    for (entry, place) in words.zip((low..).step_by(EVENT_ENTRY as usize)) {
        let (index, data) = (u64::from(entry as u32), (entry >> 64) as u64);
        let supported = Event::find(index, data).is_some_and(|event| any_counter(hart, event));
        let output = u32::from(supported).to_le_bytes();
        platform.write_memory(place + 4, &output).map_err(|_| SbiError::Failed)?;
    }
    Ok(0)
}

/// Whether `hart` has a counter for `event`.
fn any_counter(hart: &Hart, event: Event) -> bool {
    let counters = (0..COUNTERS).filter_map(|index| Counter::find(hart, index).ok());
    counters.into_iter().any(|counter| counter.can_monitor(event))
}
