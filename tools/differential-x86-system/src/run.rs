//! Runs an image on QEMU and on the interpreter; what each says at port E9H.

use anyhow::{Context, Result};
use engine_core::{Exit, TimeSource, Vcpu};
use engine_interp_x86::{Config, Interp};
use fabric_bus::{Bus, BusBuilder, BusFault, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::GuestRam;
use fabric_wire::local::{Event, GeneralProtection};
use fabric_wire::{LapicState, LocalController, PendingWord};
use isa_x86::State;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Runs `rom` on QEMU.
pub fn qemu(rom: &[u8]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let (file, out) = (folder.path().join("rom"), folder.path().join("out"));
    std::fs::write(&file, rom)?;
    let status = Command::new("qemu-system-x86_64")
        .args(["-M", "pc,accel=tcg", "-cpu", "Skylake-Client", "-m", "16", "-display", "none", "-no-reboot"])
        .args(["-nodefaults", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
        .arg("-bios")
        .arg(&file)
        .arg("-debugcon")
        .arg(format!("file:{}", out.display()))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("qemu-system-x86_64 (10 or newer) is needed")?;
    let _ = status;
    Ok(std::fs::read(&out)?)
}

struct Console(Mutex<Vec<u8>>, Arc<PendingWord>);
impl Target for Console {
    fn read(&self, offset: u64, _: u8) -> Result<u64, BusFault> {
        if offset == 0xe9 { Ok(0xe9) } else { Err(BusFault) }
    }
    fn write(&self, offset: u64, _: u8, value: u64) -> Result<(), BusFault> {
        match offset {
            0xe9 => self.0.lock().unwrap_or_else(|e| e.into_inner()).push(value as u8),
            0xf4 => self.1.raise(PendingWord::KICK),
            _ => {}
        }
        Ok(())
    }
}

struct Silent;
impl LocalController for Silent {
    fn read(&self, _: u64, _: u8) -> u64 {
        0
    }
    fn write(&self, _: u64, _: u8, _: u64) {}
    fn read_msr(&self, _: u32) -> Result<u64, GeneralProtection> {
        Err(GeneralProtection)
    }
    fn write_msr(&self, _: u32, _: u64) -> Result<(), GeneralProtection> {
        Err(GeneralProtection)
    }
    fn acknowledge(&self) -> Option<u8> {
        None
    }
    fn take_event(&self) -> Option<Event> {
        None
    }
    fn cr8(&self) -> u8 {
        0
    }
    fn set_cr8(&self, _: u8) {}
    fn apic_base(&self) -> u64 {
        0xfee0_0900
    }
    fn set_apic_base(&self, _: u64) -> Result<(), GeneralProtection> {
        Ok(())
    }
    fn tsc_deadline(&self) -> u64 {
        0
    }
    fn set_tsc_deadline(&self, _: u64) {}
    fn set_tsc_offset(&self, _: u64) {}
    fn state(&self) -> LapicState {
        LapicState {
            registers: [0; 64],
            apic_base: self.apic_base(),
            tsc_deadline: 0,
            tsc_offset: 0,
            timer_expiry: None,
            errors: 0,
            lint: [false; 2],
            nmi: false,
            init: false,
            sipi: None,
        }
    }
    fn set_state(&self, _: &LapicState) -> Result<(), GeneralProtection> {
        Err(GeneralProtection)
    }
}

fn memory(rom: &[u8]) -> Result<Bus> {
    let (size, rom_size) = (16u64 << 20, rom.len() as u64);
    let ram = Arc::new(GuestRam::new(size + rom_size)?);
    ram.copy_in(size, rom).context("the ROM fits")?;
    let mut memory = BusBuilder::new(ram);
    memory.ram("low", 0, 0xf_0000, 0, true)?;
    memory.ram("alias", 0xf_0000, 0x1_0000, size + rom_size - 0x1_0000, false)?;
    memory.ram("high", 0x10_0000, size - 0x10_0000, 0x10_0000, true)?;
    memory.ram("rom", 0x1_0000_0000 - rom_size, rom_size, size, false)?;
    Ok(memory.build())
}

/// Runs `rom` on the interpreter.
pub fn interp(rom: &[u8]) -> Result<(Vec<u8>, Exit, State)> {
    let pending = Arc::new(PendingWord::new());
    let console = Arc::new(Console(Mutex::default(), Arc::clone(&pending)));
    let mut ports = BusBuilder::new(Arc::new(GuestRam::new(4096)?));
    ports.device("ports", 0, 0x1_0000, Arc::clone(&console) as Arc<dyn Target>)?;
    let mut cpu = Interp::new(Config {
        state: State::reset(),
        memory: Arc::new(memory(rom)?),
        ports: Arc::new(ports.build()),
        local: Arc::new(Silent),
        time: TimeSource::new(Timers::new(Arc::new(Clock::virtual_())), 1_000_000_000),
        pending,
    });
    let exit = cpu.run(500_000_000);
    let said = std::mem::take(&mut *console.0.lock().unwrap_or_else(|e| e.into_inner()));
    Ok((said, exit, cpu.state().clone()))
}
