//! Runs a user-level program in Hostel, in U-mode on bare memory.

use crate::engine;
use crate::user_image::{
    CODE, CODE_LIMIT, CURRENT, DATA, EDGE, EDGE_BYTES, EXIT, Image, RECORD, SIGBUS, SIGILL, SIGNAL,
    SIGNAL_ADDRESS, SIGNAL_PC, SIGSEGV, SIGTRAP, TAIL_AT, record_at,
};
use anyhow::{Context, Result, bail};
use engine_core::{Exit, Firmware, FirmwareCall, Hosted, TimeSource};
use engine_interp::Config;
use fabric_bus::{Bus, BusBuilder};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use isa_riscv::csr_fields::envcfg;
use isa_riscv::{Features, Hart, Mode};
use std::sync::Arc;

/// Something that meddles with the hart after every instruction: state before, state after, the
/// instruction's bits. It says whether it changed anything.
pub type Meddler<'a> = &'a mut dyn FnMut(&Hart, &mut Hart, u32) -> bool;

/// What a program left.
pub struct Outcome {
    /// The records.
    pub records: Vec<u8>,
    /// The page at [`EDGE`].
    pub edge: Vec<u8>,
}

/// Instructions that no program needs.
const BUDGET: u64 = 1 << 32;
/// Steps that no program needs of those that are meddled with.
const STEPS: u64 = 1 << 20;
/// What the code's PMP entry covers: more than [`CODE_LIMIT`], a power of two.
const CODE_MEGABYTE: u64 = 1 << 20;
const ENOSYS: i64 = 38;

struct Process {
    cpu: Box<dyn Hosted<State = Hart>>,
    bus: Arc<Bus>,
}

/// Runs `image`; with a meddler, one instruction at a time.
///
/// # Errors
/// If the program does not end as it should, or the host gives no memory.
pub fn run(image: &Image, meddler: Option<Meddler<'_>>) -> Result<Outcome> {
    let mut process = Process::new(image)?;
    match meddler {
        None => while !process.go(BUDGET)? {},
        Some(meddler) => process.step(meddler)?,
    }
    let records = process.read(record_at(image.first), image.output_bytes()).context("the records")?;
    let edge = process.read(EDGE, EDGE_BYTES as usize).context("the edge page")?;
    Ok(Outcome { records, edge })
}

impl Process {
    fn new(image: &Image) -> Result<Process> {
        let code = CODE_LIMIT.next_multiple_of(0x1_0000) as u64;
        let data = (image.data.len() as u64).next_multiple_of(4096);
        let ram = Arc::new(GuestRam::new(code + data + EDGE_BYTES)?);
        let mut builder = BusBuilder::new(Arc::clone(&ram));
        let code_size = (image.code.len() as u64).next_multiple_of(4096);
        builder.ram("code", CODE, code_size, 0, false)?;
        builder.ram("data", DATA, data, code, true)?;
        builder.ram("edge", EDGE, EDGE_BYTES, code + data, true)?;
        for (offset, bytes) in [(0, &image.code), (code, &image.data), (code + data, &image.edge)] {
            ram.copy_in(offset, bytes).context("the image is larger than its memory")?;
        }
        let bus = Arc::new(builder.build());
        let mut hart = Hart::new(0, &Features::FULL);
        hart.pc = CODE;
        hart.mode = Mode::U;
        hart.csr.set_fp_dirty();
        // Linux lets programs manage and zero cache blocks.
        hart.csr.menvcfg |= envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE;
        hart.csr.senvcfg = hart.csr.menvcfg;
        // Code may be read and executed, everything else read and written.
        hart.csr.pmp.set_addr(0, CODE >> 2 | (CODE_MEGABYTE / 8 - 1));
        hart.csr.pmp.set_addr(1, u64::MAX);
        hart.csr.pmp.set_cfg_register(0, 0x1b1d);
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let time = TimeSource::new(timers, 10_000_000);
        let pending = Arc::new(PendingWord::new());
        let mut cpu = engine::hart(Config { hart, bus: Arc::clone(&bus), time, pending })?;
        cpu.set_firmware(Firmware::BuiltIn);
        Ok(Process { cpu, bus })
    }

    fn read(&self, address: u64, bytes: usize) -> Option<Vec<u8>> {
        let offset = self.bus.backing(address, bytes as u64)?;
        let mut to = vec![0; bytes];
        self.bus.ram().copy_out(offset, &mut to)?;
        Some(to)
    }

    /// Runs until something happens, and deals with it; true at the program's end.
    fn go(&mut self, budget: u64) -> Result<bool> {
        match self.cpu.run(budget) {
            Exit::Budget if budget < BUDGET => Ok(false),
            Exit::Firmware(FirmwareCall::Trap { cause: 8, .. }) => Ok(self.system_call()),
            Exit::Firmware(FirmwareCall::Trap { cause, value }) => {
                let signal = match cause {
                    1 | 5 | 7 | 12 | 13 | 15 => SIGSEGV,
                    2 => SIGILL,
                    3 => SIGTRAP,
                    4 | 6 => SIGBUS,
                    _ => bail!("cause {cause} at {:#x}", self.cpu.state().pc),
                };
                self.signal(signal, value)?;
                Ok(false)
            }
            other => bail!("{other:?} at {:#x}", self.cpu.state().pc),
        }
    }

    fn system_call(&mut self) -> bool {
        let number = self.cpu.state().x[17];
        self.cpu.with_state(&mut |hart| {
            // What the shared code needs succeeds; of the rest there is nothing.
            hart.x[10] = if number < 1024 { 0 } else { -ENOSYS as u64 };
            hart.pc += 4;
        });
        number == EXIT
    }

    /// What the program's signal handler does.
    fn signal(&mut self, signal: u64, value: u64) -> Result<()> {
        let pc = self.cpu.state().pc;
        let record = self.bus.read(CURRENT, 8).unwrap_or(0);
        let valid = record >= record_at(0) && (record - record_at(0)).is_multiple_of(RECORD);
        let tail = self.bus.read(record + TAIL_AT, 8);
        let (true, Ok(tail)) = (valid, tail) else {
            bail!("signal {signal} at {pc:#x} outside of any case (value {value:#x})");
        };
        let address = if signal == SIGSEGV || signal == SIGBUS { value } else { pc };
        for (at, v) in [(SIGNAL, signal), (SIGNAL_ADDRESS, address), (SIGNAL_PC, pc)] {
            self.bus.write(record + at, 8, v).map_err(|_| anyhow::anyhow!("no record at {record:#x}"))?;
        }
        self.cpu.with_state(&mut |hart| hart.pc = tail);
        Ok(())
    }

    fn step(&mut self, meddler: Meddler<'_>) -> Result<()> {
        for _ in 0..STEPS {
            let before = self.cpu.state().clone();
            let low = self.bus.read(before.pc, 2).unwrap_or(0) as u32;
            let high = self.bus.read(before.pc.wrapping_add(2), 2).unwrap_or(0) as u32;
            let word = if low & 3 == 3 { low | high << 16 } else { low };
            if self.go(1)? {
                return Ok(());
            }
            let mut after = self.cpu.state().clone();
            if meddler(&before, &mut after, word) {
                self.cpu.with_state(&mut |hart| hart.clone_from(&after));
            }
        }
        bail!("it goes on and on")
    }
}
