//! Plugging a board's devices into slots, wires and the bus.

use crate::console::{ConsolePort, Joined};
use crate::control::{Control, End};
use crate::machine::BuildError;
use crate::spec::{Bios, ClockKind, Spec};
use dev_core::{Device, Doorbell, Plugged, Slot};
use dev_flash::Flash;
use dev_irq::{Aclint, Plic};
use dev_sifive::{Ccache, Gpio, Otp, Prci};
use dev_time::{Finisher, GoldfishRtc, Htif};
use dev_uart::{Ns16550, Ns16550Config, SifivePace, SifiveUart};
use fabric_bus::{Bus, BusBuilder, BusFault};
use fabric_clock::Timers;
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::{PendingWord, Sink, Wire};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_board::board::{Board, DeviceKind, Placed, Target};

/// The devices of a machine, plugged in.
pub(crate) struct Devices {
    pub bus: Arc<Bus>,
    pub slots: Vec<(&'static str, Arc<dyn Plugged>)>,
    /// What there is to talk to the guest, in the order of the board's devices; HTIF is joined to the first.
    pub consoles: Vec<Arc<dyn ConsolePort>>,
    pub finisher: Option<Arc<Slot<Finisher>>>,
    pub htif: Option<Arc<Slot<Htif>>>,
    pub gpio: Option<Arc<Slot<Gpio>>>,
    /// What MTIME shows beyond the ticks of guest time, for the harts' `time`.
    pub mtime_offset: Arc<AtomicU64>,
}

/// Eight bytes of a device, mapped by themselves.
struct Word {
    device: Arc<dyn fabric_bus::Target>,
    /// Where they are in the device.
    at: u64,
}

impl fabric_bus::Target for Word {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.device.read(self.at + offset, size)
    }
    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        self.device.write(self.at + offset, size, value)
    }
    fn update(&self, offset: u64, size: u8, change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
        self.device.update(self.at + offset, size, change)
    }
}

/// What devices are plugged into.
struct Plugging<'a> {
    board: &'a Board,
    control: &'a Arc<Control>,
    timers: &'a Arc<Timers>,
    sinks: HashMap<&'static str, Arc<dyn Sink>>,
    uarts: HashMap<&'static str, Arc<dyn ConsolePort>>,
    builder: BusBuilder,
    devices: Devices,
}

impl Devices {
    /// Makes RAM, bus and every device of the board.
    ///
    /// # Errors
    /// What the host says about memory, or a board that contradicts itself.
    pub fn new(spec: &Spec, control: &Arc<Control>, timers: &Arc<Timers>) -> Result<Devices, BuildError> {
        let board = &spec.board;
        let rom: u64 = board
            .devices
            .iter()
            .filter(|d| d.kind == DeviceKind::BootRom)
            .map(|d| d.size.next_multiple_of(PAGE))
            .sum();
        let memory = board.memory();
        let total = memory.checked_add(rom).ok_or(BuildError::Memory { bytes: memory, source: None })?;
        let ram = GuestRam::new(total).map_err(|e| BuildError::Memory { bytes: memory, source: Some(e) })?;
        let ram = Arc::new(ram);
        let mut builder = BusBuilder::new(Arc::clone(&ram));
        builder.ram("ram", board.ram.start, memory, 0, true)?;
        let bus = Arc::new(BusBuilder::new(ram).build());
        let devices = Devices {
            bus,
            slots: Vec::new(),
            consoles: Vec::new(),
            finisher: None,
            htif: None,
            gpio: None,
            mtime_offset: Arc::default(),
        };
        let uarts = HashMap::new();
        let mut plugging =
            Plugging { board, control, timers, sinks: HashMap::new(), uarts, builder, devices };
        let mut rom_at = memory;
        // A device is plugged in after everything its outputs drive.
        for index in board.wire_order()?.into_iter().rev() {
            if let Some(placed) = board.devices.get(index) {
                plugging.plug(placed, spec, &mut rom_at)?;
            }
        }
        let Plugging { builder, mut devices, mut uarts, .. } = plugging;
        devices.consoles = board.uarts().filter_map(|uart| uarts.remove(uart.name)).collect();
        if let Some(htif) = &devices.htif {
            match devices.consoles.first_mut() {
                Some(uart) => *uart = Arc::new(Joined::new(Arc::clone(uart), Arc::clone(htif))),
                None => devices.consoles.push(Arc::clone(htif) as _),
            }
        }
        devices.bus = Arc::new(builder.build());
        Ok(devices)
    }
}

impl Plugging<'_> {
    fn wires(&self, placed: &Placed) -> Vec<Option<Wire>> {
        let wire = |target: &Target| match *target {
            Target::Input { device, input } => {
                self.sinks.get(device).map(|sink| Wire::new(Arc::clone(sink), input))
            }
            Target::Hart { hart, interrupt } => self.control.ports.get(hart as usize).map(|port| {
                let sink: Arc<dyn Sink> = Arc::clone(&port.pending) as _;
                Wire::new(sink, interrupt as u32)
            }),
        };
        placed.outputs.iter().map(wire).collect()
    }

    /// Plugs a device in and maps it.
    fn add<D: Device>(&mut self, placed: &Placed, device: D) -> Result<Arc<Slot<D>>, BuildError> {
        let slot = Slot::new(device, self.wires(placed), self.timers);
        let target = Arc::clone(&slot) as Arc<dyn fabric_bus::Target>;
        match placed.kind {
            // What lies between the two words is the program's memory like any other.
            DeviceKind::Htif { words, in_ram: true } => {
                for at in [words.tohost, words.fromhost] {
                    let word = Word { device: Arc::clone(&target), at: at - placed.base };
                    self.builder.overlay(placed.name, at, 8, Arc::new(word))?;
                }
            }
            _ => self.builder.device(placed.name, placed.base, placed.size, target)?,
        }
        self.sinks.insert(placed.name, Arc::clone(&slot) as _);
        self.devices.slots.push((placed.name, Arc::clone(&slot) as _));
        Ok(slot)
    }

    /// A bell that makes the machine's owner look around.
    fn notice(&self) -> Doorbell {
        let control = Arc::clone(self.control);
        Arc::new(move |_| control.notice())
    }

    /// A bell that tells the harts of a changed MTIME: `time` is a view of it, and what they wait for may
    /// have come.
    fn shifts_time(&self, clint: &Arc<Slot<Aclint>>) -> Doorbell {
        let (clint, offset) = (Arc::downgrade(clint), Arc::clone(&self.devices.mtime_offset));
        let control = Arc::clone(self.control);
        Arc::new(move |_| {
            let Some(clint) = clint.upgrade() else { return };
            offset.store(clint.with(|d, _| d.take_offset()), Ordering::Release);
            control.ports.iter().for_each(|port| port.pending.raise(PendingWord::KICK));
        })
    }

    /// A SiFive UART. By a real clock its characters take no time, as the guest's instructions take longer than the
    /// chip's. Where the VMM is the firmware, it has turned on the UART that it uses.
    fn sifive_uart(&mut self, placed: &Placed, spec: &Spec, clock_hz: u32) -> Result<(), BuildError> {
        let pace = match spec.clock {
            ClockKind::Real => SifivePace::None,
            ClockKind::Virtual => SifivePace::Line(clock_hz),
        };
        let slot = self.add(placed, SifiveUart::new(pace))?;
        let first = self.board.uarts().next().is_some_and(|uart| uart.name == placed.name);
        if first && matches!(spec.bios, Bios::BuiltIn) {
            slot.with(|d, now| d.turn_on(clock_hz, now));
        }
        self.uarts.insert(placed.name, slot);
        Ok(())
    }

    fn plug(&mut self, placed: &Placed, spec: &Spec, rom_at: &mut u64) -> Result<(), BuildError> {
        let hz = u64::from(self.board.timebase_hz);
        match placed.kind {
            DeviceKind::BootRom => {
                let size = placed.size.next_multiple_of(PAGE);
                self.builder.ram(placed.name, placed.base, size, *rom_at, false)?;
                *rom_at += size;
            }
            DeviceKind::TestFinisher => {
                let slot = self.add(placed, Finisher::new())?;
                slot.connect(self.notice());
                self.devices.finisher = Some(slot);
            }
            DeviceKind::GoldfishRtc => {
                self.add(placed, GoldfishRtc::new(spec.wall_start_ns))?;
            }
            DeviceKind::CfiFlash { banks } => {
                self.add(placed, Flash::new(banks as usize))?;
            }
            DeviceKind::Clint => {
                let slot = self.add(placed, Aclint::new(self.board.cpus as usize, hz))?;
                slot.connect(self.shifts_time(&slot));
            }
            DeviceKind::Plic { sources, contexts, .. } => {
                self.add(placed, Plic::new(sources as usize, contexts as usize))?;
            }
            DeviceKind::Ns16550 { clock_hz, reg_shift } => {
                let config = Ns16550Config { clock_hz, reg_shift: reg_shift as u8 };
                let slot = self.add(placed, Ns16550::new(config))?;
                self.uarts.insert(placed.name, slot);
            }
            DeviceKind::SifiveUart { clock_hz } => self.sifive_uart(placed, spec, clock_hz)?,
            DeviceKind::Fu540Cache => {
                self.add(placed, Ccache::new())?;
            }
            // The boot ROM stands in for the loader that sets the clocks.
            DeviceKind::Fu540Prci { .. } => {
                self.add(placed, Prci::booted())?;
            }
            DeviceKind::SifiveGpio { restart_pin } => {
                let slot = self.add(placed, Gpio::new(restart_pin))?;
                slot.connect(self.notice());
                self.devices.gpio = Some(slot);
            }
            DeviceKind::Fu540Otp { serial } => {
                self.add(placed, Otp::new(serial))?;
            }
            DeviceKind::Htif { words, .. } => {
                let device = Htif::new(words.tohost - placed.base, words.fromhost - placed.base);
                let slot = self.add(placed, device)?;
                slot.connect(self.notice());
                self.devices.htif = Some(slot);
            }
        }
        Ok(())
    }
}

impl Devices {
    /// How a device says the machine shall end, if one does.
    pub fn wanted_end(&self) -> Option<End> {
        use dev_time::Outcome;
        if let Some(outcome) = self.finisher.as_ref().and_then(|f| f.with(|d, _| d.outcome())) {
            return Some(match outcome {
                Outcome::Exit(code) => End::Exit(u64::from(code)),
                Outcome::Reset => End::Reset,
            });
        }
        if self.gpio.as_ref().is_some_and(|gpio| gpio.with(|d, _| d.restart())) {
            return Some(End::Reset);
        }
        let request = self.htif.as_ref().and_then(|h| h.with(|d, _| d.request()))?;
        match request {
            dev_time::Request::Exit(code) => Some(End::Exit(code)),
            dev_time::Request::Syscall(at) => {
                self.syscall(at);
                None
            }
        }
    }

    /// A system call proxied through HTIF: `write` goes to the console's stream, the rest is refused
    /// (`-ENOSYS`), as it would reach the host's files.
    fn syscall(&self, at: u64) {
        const WRITE: u64 = 64;
        const ENOSYS: u64 = 38;
        const LONGEST: u64 = 64 * 1024;
        let word = |i: u64| self.bus.read(at.wrapping_add(8 * i), 8).unwrap_or(0);
        const EFAULT: u64 = 14;
        let result = if word(0) == WRITE {
            let mut text = vec![0; word(3).min(LONGEST) as usize];
            let from = self.bus.ram_range(word(2), text.len().max(1) as u64, false);
            match from.and_then(|offset| self.bus.ram().copy_out(offset, &mut text)) {
                None => EFAULT.wrapping_neg(),
                Some(()) => self.htif.as_ref().map_or(0, |htif| htif.with(|d, _| d.print(&text) as u64)),
            }
        } else {
            ENOSYS.wrapping_neg()
        };
        let _ = self.bus.write(at, 8, result);
        if let Some(htif) = &self.htif {
            htif.with(|d, _| d.answer());
        }
    }
}
