//! Runs a ROM on QEMU and on the interpreter; what each says at port E9H.

use crate::layout;
use crate::record::SIZE;
use anyhow::{Context, Result, ensure};
use differential_core::Peer;
use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp_x86::{Config, Interp};
use fabric_bus::{Bus, BusBuilder, BusFault, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::PendingWord;
use fabric_wire::testkit::Silent;
use isa_x86::State;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";
/// The Debian package that has it.
pub const PACKAGE: &str = "qemu-system-x86";
/// The longest that QEMU may run on a ROM that takes less than a second.
const LIMIT: Duration = Duration::from_secs(60);
/// What QEMU ends with when the driver writes 1 to its exit device: twice that, plus one.
const DONE: Option<i32> = Some(3);
/// Where RAM ends and the ROM's copy begins.
const RAM: u64 = 16 << 20;
/// More instructions than the interpreter needs for a ROM, some ten million.
const BUDGET: u64 = 500_000_000;

/// Runs `rom`, which has so many cases, on QEMU; gives their records.
///
/// # Errors
/// If it does not get to the end.
pub fn qemu(rom: &[u8], cases: usize) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let (file, out) = (folder.path().join("rom"), folder.path().join("out"));
    std::fs::write(&file, rom)?;
    let console = format!("file:{}", out.display());
    let arguments = [
        "-M",
        "pc,accel=tcg",
        "-cpu",
        "Skylake-Client",
        "-m",
        "16",
        "-display",
        "none",
        "-no-reboot",
        "-nodefaults",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-debugcon",
        &console,
        "-bios",
    ];
    let output = Peer::start(QEMU, &arguments, Some(&file))?.finish(LIMIT)?;
    let said = std::fs::read(&out).unwrap_or_default();
    let done = said.len() / SIZE;
    ensure!(output.code == DONE, "QEMU did {done} cases of {cases}: {}", output.end);
    ensure!(said.len() == cases * SIZE, "QEMU did {done} cases of {cases} ({} bytes)", said.len());
    Ok(said)
}

struct Console(Mutex<Vec<u8>>, Arc<PendingWord>);

impl Console {
    fn said<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Target for Console {
    fn read(&self, offset: u64, _: u8) -> Result<u64, BusFault> {
        if offset == 0xe9 { Ok(0xe9) } else { Err(BusFault) }
    }
    fn write(&self, offset: u64, _: u8, value: u64) -> Result<(), BusFault> {
        match offset {
            0xe9 => self.said(|said| said.push(value as u8)),
            0xf4 => self.1.raise(PendingWord::KICK),
            _ => {}
        }
        Ok(())
    }
}

fn memory(rom: &[u8], ram: Arc<GuestRam>) -> Result<Bus> {
    let rom_size = rom.len() as u64;
    ram.copy_in(RAM, rom).context("the ROM fits")?;
    let mut memory = BusBuilder::new(ram);
    memory.ram("low", 0, 0xf_0000, 0, true)?;
    memory.ram("alias", 0xf_0000, 0x1_0000, RAM + rom_size - 0x1_0000, false)?;
    memory.ram("high", 0x10_0000, RAM - 0x10_0000, 0x10_0000, true)?;
    memory.ram("rom", 0x1_0000_0000 - rom_size, rom_size, RAM, false)?;
    Ok(memory.build())
}

/// Changes the state, and memory, behind a step that began as told and at one of a case's instructions, as if that were
/// done wrong.
pub type Meddler<'a> = &'a dyn Fn(&State, &mut State, &GuestRam);

/// The interpreter with a ROM.
pub struct Ours {
    cpu: Interp,
    ram: Arc<GuestRam>,
    console: Arc<Console>,
}

impl Ours {
    /// At the reset vector.
    ///
    /// # Errors
    /// If the host gives no memory.
    pub fn new(rom: &[u8]) -> Result<Ours> {
        let pending = Arc::new(PendingWord::new());
        let console = Arc::new(Console(Mutex::default(), Arc::clone(&pending)));
        let mut ports = BusBuilder::new(Arc::new(GuestRam::new(4096)?));
        ports.device("ports", 0, 0x1_0000, Arc::clone(&console) as Arc<dyn Target>)?;
        let ram = Arc::new(GuestRam::new(RAM + rom.len() as u64)?);
        let cpu = Interp::new(Config {
            state: State::reset(),
            memory: Arc::new(memory(rom, Arc::clone(&ram))?),
            ports: Arc::new(ports.build()),
            local: Arc::new(Silent),
            time: TimeSource::new(Timers::new(Arc::new(Clock::virtual_())), 1_000_000_000),
            pending,
        });
        Ok(Ours { cpu, ram, console })
    }

    /// Runs to the end: of the cases, if all is well. Gives the records, and why there are no more if some lack.
    pub fn run(mut self, cases: usize) -> (Vec<u8>, Option<String>) {
        let exit = self.cpu.run(BUDGET);
        let said = self.console.said(std::mem::take);
        let done = said.len() / SIZE;
        let well = exit == Exit::Kick && said.len() == cases * SIZE;
        let state = self.cpu.state();
        let lack = (!well)
            .then(|| format!("we did {done} cases of {cases} ({} bytes): {exit:x?} {state:x?}", said.len()));
        (said, lack)
    }

    /// Runs to the end of case `n` with a mistake, one instruction at a time in the cases; gives its record, unless it
    /// does not get there.
    pub fn step_to(&mut self, n: usize, meddler: Meddler<'_>) -> Option<Vec<u8>> {
        let end = (n + 1) * SIZE;
        // A case takes some ten thousand steps, nearly all of them the driver's.
        for _ in 0..1_000_000 {
            if self.console.said(|said| said.len()) >= end {
                return self.console.said(|said| said.get(end - SIZE..end).map(<[u8]>::to_vec));
            }
            let before = (layout::CASES..layout::IMAGE)
                .contains(&self.cpu.state().rip)
                .then(|| self.cpu.state().clone());
            if self.cpu.run(1) != Exit::Budget {
                return None;
            }
            if let Some(before) = before {
                let ram = &self.ram;
                self.cpu.with_state(&mut |after| meddler(&before, after, ram));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rom::Rom;

    #[test]
    fn a_side_that_stops_early_is_told() {
        let rom = Rom::new(1).unwrap();
        let cases = rom.cases.len();
        let (records, lack) = Ours::new(&rom.bytes).unwrap().run(cases);
        assert_eq!((records.len(), lack), (cases * SIZE, None));
        // As if there were one more: the driver ends before it.
        let (_, lack) = Ours::new(&rom.bytes).unwrap().run(cases + 1);
        assert!(lack.unwrap().contains("did 1536 cases of 1537"));
        // Code that halts.
        let mut halts = rom.bytes.clone();
        halts[layout::DRIVER as usize] = 0xf4;
        let (records, lack) = Ours::new(&halts).unwrap().run(cases);
        assert!(records.is_empty() && lack.unwrap().contains("did 0 cases of 1536 (0 bytes): Idle"));
        if differential_core::missing(QEMU, PACKAGE).is_some() {
            eprintln!("skipped: no QEMU");
            return;
        }
        assert_eq!(qemu(&rom.bytes, cases).unwrap().len(), cases * SIZE);
        assert!(qemu(&rom.bytes, cases + 1).is_err());
    }
}
