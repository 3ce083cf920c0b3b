//! The firmware under a real engine: a guest of two harts (`guest.s`) that uses it for everything.

use engine_core::{Exit, Firmware, FirmwareCall, Hosted, TimeSource, Vcpu};
use engine_interp::{Config, Interp};
use fabric_bus::{Bus, BusBuilder};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use isa_riscv::csr_fields::irq;
use isa_riscv::{AccessKind, Features, Hart, wakes};
use std::sync::Arc;
use vm_sbi::{After, ConsoleError, Fence, HartSet, NoMemory, Parked, Platform, ResetKind, Sbi};

const GUEST: &[u8] = include_bytes!("guest.bin");
const RAM: u64 = 0x8020_0000;
const RAM_SIZE: u64 = 0x4000;
const TIMEBASE: u64 = 10_000_000;

/// What a hart's call sees of the machine. All harts run on one thread, in turn.
struct View<'a> {
    bus: &'a Bus,
    pending: &'a [Arc<PendingWord>],
    hart: usize,
    retired: u64,
    fences: &'a mut Vec<(u32, Fence)>,
    output: &'a mut Vec<u8>,
}

impl Platform for View<'_> {
    fn has_memory(&self, start: u64, size: u64, access: AccessKind) -> bool {
        self.bus.ram_range(start, size, access == AccessKind::Store).is_some()
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), NoMemory> {
        let offset = self.bus.ram_range(address, bytes.len() as u64, false).ok_or(NoMemory)?;
        self.bus.ram().copy_out(offset, bytes).ok_or(NoMemory)
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), NoMemory> {
        let offset = self.bus.ram_range(address, bytes.len() as u64, true).ok_or(NoMemory)?;
        self.bus.ram().copy_in(offset, bytes).ok_or(NoMemory)
    }

    fn send_ipi(&mut self, harts: &HartSet) {
        harts.iter().for_each(|hart| self.pending[hart as usize].raise(irq::SSI));
    }

    fn clear_ipi(&mut self) -> bool {
        self.pending[self.hart].lower(irq::SSI) != 0
    }

    fn remote_fence(&mut self, harts: &HartSet, fence: Fence) {
        // Nobody runs before the caller has seen to these.
        self.fences.extend(harts.iter().map(|hart| (hart, fence)));
    }

    fn wake(&mut self, _hart: u32) {}

    fn console_write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn console_read(&mut self, _bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        Ok(0)
    }

    fn retired(&self) -> u64 {
        self.retired
    }
}

/// How the guest ended, what it wrote, and its memory.
struct Ended {
    after: After,
    output: Vec<u8>,
    fences: Vec<(u32, Fence)>,
    bus: Arc<Bus>,
}

fn run(features: Features) -> Ended {
    let ram = Arc::new(GuestRam::new(RAM_SIZE).unwrap());
    ram.copy_in(0, GUEST).unwrap();
    let mut builder = BusBuilder::new(ram);
    builder.ram("ram", RAM, RAM_SIZE, 0, true).unwrap();
    let bus = Arc::new(builder.build());
    let timers = Timers::new(Arc::new(Clock::real()));
    let pending: Vec<_> = (0..2).map(|_| Arc::new(PendingWord::new())).collect();
    let mut cpus: Vec<Interp> = (0..2)
        .map(|id| {
            let mut cpu = Interp::new(Config {
                hart: Hart::new(id, &features),
                bus: Arc::clone(&bus),
                time: TimeSource::new(Arc::clone(&timers), TIMEBASE),
                pending: Arc::clone(&pending[id as usize]),
            });
            cpu.set_firmware(Firmware::BuiltIn);
            cpu
        })
        .collect();
    let sbi = Sbi::new(2);
    sbi.power_on(0, RAM, 0);
    let (mut output, mut all_fences) = (Vec::new(), Vec::new());
    let mut parked = [true; 2];
    let time = TimeSource::new(Arc::clone(&timers), TIMEBASE);
    for _ in 0..1_000_000 {
        for id in 0..2 {
            if parked[id] {
                let posted = pending[id].lower(irq::SSI);
                cpus[id].with_state(&mut |hart| {
                    hart.csr.mip |= posted;
                    let interrupt = wakes(hart, 0, time.ticks(0));
                    parked[id] = sbi.resume(hart, interrupt) != Parked::Run;
                });
                if parked[id] {
                    continue;
                }
                cpus[id].flush_code();
            }
            let exit = cpus[id].run(5_000);
            let Exit::Firmware(call) = exit else {
                assert!(!matches!(exit, Exit::Wedged { .. }), "{exit:?}");
                continue;
            };
            assert_eq!(call, FirmwareCall::Call);
            let retired = cpus[id].retired();
            let mut after = After::Continue;
            let mut fences = Vec::new();
            cpus[id].with_state(&mut |hart| {
                let (bus, pending) = (&*bus, &*pending);
                let (fences, output) = (&mut fences, &mut output);
                let mut view = View { bus, pending, hart: id, retired, fences, output };
                after = sbi.call(hart, &mut view);
            });
            for &(hart, fence) in &fences {
                let cpu = &mut cpus[hart as usize];
                match fence {
                    Fence::Code => cpu.flush_code(),
                    Fence::Vma { asid, .. } => cpu.flush_translations(None, asid),
                }
            }
            all_fences.extend(fences);
            match after {
                After::Continue => {}
                After::Stop | After::Suspend { .. } => parked[id] = true,
                After::Retry => unreachable!("this console takes everything"),
                After::Reset { .. } => return Ended { after, output, fences: all_fences, bus },
            }
        }
    }
    let places: Vec<u64> = cpus.iter().map(|cpu| cpu.state().pc).collect();
    panic!("the guest does not come to its end: {places:x?}");
}

#[test]
fn a_guest_of_two_harts_lives_on_the_firmware_with_and_without_sstc() {
    for features in [Features::FULL, Features::RV64GC] {
        let ended = run(features);
        assert!(matches!(ended.after, After::Reset { kind: ResetKind::Shutdown, .. }));
        assert_eq!(ended.output, b"ok\n");
        assert_eq!(ended.fences, [(0, Fence::Code)]);
        let word = |offset| ended.bus.read(RAM + 0x1000 + offset, 8).unwrap();
        // Hart 1's parameter; supervisor timer interrupt on hart 0; supervisor software on hart 1.
        assert_eq!([word(0), word(8), word(16)], [0x55, 1 << 63 | 5, 1 << 63 | 1]);
    }
}
