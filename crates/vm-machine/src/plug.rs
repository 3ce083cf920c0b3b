//! Plugging a board's devices into slots, wires and the buses: the one place where kinds become types.

use crate::console::ConsolePort;
use crate::control::Control;
use crate::devices::Devices;
use crate::machine::BuildError;
use crate::plug_pc::Pc;
use crate::spec::{Bios, ClockKind, Spec};
use crate::trace::{Trace, Traced};
use dev_core::{Device, Doorbell, Slot};
use dev_irq::{Aclint, Plic};
use dev_sifive::{Ccache, Gpio, Otp, Prci, SpiConfig};
use dev_time::{Finisher, GoldfishRtc, Htif, Outcome};
use dev_uart::{Ns16550, Ns16550Config, SifivePace, SifiveUart};
use fabric_bus::{Bus, BusBuilder};
use fabric_clock::Timers;
use fabric_ram::PAGE;
use fabric_wire::{PendingWord, Sink, Wire};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vm_board::board::{Board, DeviceKind, Placed, Space, Target, Window};

/// What devices are plugged into.
pub(crate) struct Plugging<'a> {
    pub board: &'a Board,
    pub control: &'a Arc<Control>,
    pub timers: &'a Arc<Timers>,
    pub sinks: HashMap<&'static str, Arc<dyn Sink>>,
    pub uarts: HashMap<&'static str, Arc<dyn ConsolePort>>,
    pub trace: Option<Arc<dyn Trace>>,
    /// What devices reach by themselves: memory, and no other device.
    pub memory: Arc<Bus>,
    pub builder: BusBuilder,
    pub ports: BusBuilder,
    pub pc: Pc,
    pub devices: Devices,
}

impl Plugging<'_> {
    pub(crate) fn wires(&self, placed: &Placed) -> Vec<Option<Wire>> {
        let wire = |target: &Target| match *target {
            Target::Input { device, input } => {
                self.sinks.get(device).map(|sink| Wire::new(Arc::clone(sink), input))
            }
            Target::Processor { cpu, line } => self.control.ports.get(cpu as usize).map(|port| {
                let sink: Arc<dyn Sink> = Arc::clone(&port.pending) as _;
                Wire::new(sink, line)
            }),
            Target::Isa(irq) => Some(self.isa_wire(irq)),
            Target::Hart { hart, interrupt } => self.control.ports.get(hart as usize).map(|port| {
                let sink: Arc<dyn Sink> = Arc::clone(&port.pending) as _;
                Wire::new(sink, interrupt as u32)
            }),
        };
        placed.outputs.iter().map(wire).collect()
    }

    /// What is mapped: the target from its offset `offset` on, behind the observer if there is one.
    pub(crate) fn window(
        &self,
        device: &'static str,
        target: &Arc<dyn fabric_bus::Target>,
        offset: u64,
    ) -> Arc<dyn fabric_bus::Target> {
        let target = Arc::clone(target);
        let target = match offset {
            0 => target,
            _ => Arc::new(fabric_bus::Window::new(target, offset)),
        };
        self.observed(device, offset, target)
    }

    /// A target of which its first byte is `offset` of `device`, behind the observer if there is one.
    pub(crate) fn observed(
        &self,
        device: &'static str,
        offset: u64,
        target: Arc<dyn fabric_bus::Target>,
    ) -> Arc<dyn fabric_bus::Target> {
        match &self.trace {
            None => target,
            Some(trace) => Arc::new(Traced { device, offset, target, trace: Arc::clone(trace) }),
        }
    }

    /// Plugs a device in and maps it.
    pub(crate) fn add<D: Device>(&mut self, placed: &Placed, device: D) -> Result<Arc<Slot<D>>, BuildError> {
        self.add_behind(placed, device, |slot| Arc::clone(slot) as _)
    }

    /// The same with what stands between the bus and the device.
    pub(crate) fn add_behind<D: Device>(
        &mut self,
        placed: &Placed,
        device: D,
        front: impl FnOnce(&Arc<Slot<D>>) -> Arc<dyn fabric_bus::Target>,
    ) -> Result<Arc<Slot<D>>, BuildError> {
        let slot = Slot::new(device, self.wires(placed), self.timers);
        let front = front(&slot);
        self.add_slot(placed, &slot, front)?;
        Ok(slot)
    }

    /// Maps a device that is in its slot already, behind `front`.
    pub(crate) fn add_slot<D: Device>(
        &mut self,
        placed: &Placed,
        slot: &Arc<Slot<D>>,
        front: Arc<dyn fabric_bus::Target>,
    ) -> Result<(), BuildError> {
        match placed.kind {
            // What lies between the two words is the program's memory like any other.
            DeviceKind::Htif { words, in_ram: true } => {
                for at in [words.tohost, words.fromhost] {
                    let window = self.window(placed.name, &front, at - placed.base);
                    self.builder.overlay(placed.name, at, 8, window)?;
                }
            }
            _ => {
                let first = Window { base: placed.base, size: placed.size, offset: 0 };
                for part in std::iter::once(first).chain(placed.more.iter().copied()).filter(|w| w.size > 0) {
                    let window = self.window(placed.name, &front, part.offset);
                    let space = match placed.space {
                        Space::Memory => &mut self.builder,
                        Space::Ports => &mut self.ports,
                    };
                    space.device(placed.name, part.base, part.size, window)?;
                }
            }
        }
        self.know(placed, slot);
        Ok(())
    }

    /// Keeps a device that is mapped, or will be.
    pub(crate) fn know<D: Device>(&mut self, placed: &Placed, slot: &Arc<Slot<D>>) {
        self.sinks.insert(placed.name, Arc::clone(slot) as _);
        self.devices.slots.push((placed.name, Arc::clone(slot) as _));
    }

    /// Keeps a device that is somewhere else: it has its place among the others when they are saved, and no other.
    pub(crate) fn stand_in<D: Device>(&mut self, placed: &Placed, device: D) -> Arc<Slot<D>> {
        let slot = Slot::new(device, Vec::new(), self.timers);
        self.devices.slots.push((placed.name, Arc::clone(&slot) as _));
        slot
    }

    /// A bell that makes the machine's owner look around.
    pub(crate) fn notice(&self) -> Doorbell {
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

    pub fn plug(&mut self, placed: &Placed, spec: &Spec, rom_at: &mut u64) -> Result<(), BuildError> {
        let hz = u64::from(self.board.timebase_hz);
        match placed.kind {
            DeviceKind::BootRom => {
                let size = placed.size.next_multiple_of(PAGE);
                self.builder.ram(placed.name, placed.base, size, *rom_at, false)?;
                *rom_at += size;
            }
            DeviceKind::TestFinisher => {
                let slot = self.add(placed, Finisher::new())?;
                self.may_end(slot, Finisher::outcome);
            }
            DeviceKind::GoldfishRtc => {
                self.add(placed, GoldfishRtc::new(spec.wall_start_ns))?;
            }
            DeviceKind::CfiFlash { banks } => self.plug_flash(placed, spec, banks, rom_at)?,
            DeviceKind::FwCfg => self.plug_fw_cfg(placed, spec)?,
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
                self.add(placed, Prci::new())?;
            }
            DeviceKind::SifiveGpio { restart_pin } => {
                let slot = self.add(placed, Gpio::new(restart_pin))?;
                self.may_end(slot, |gpio| gpio.restart().then_some(Outcome::Reset));
            }
            DeviceKind::SifiveSpi { selects, flash, slot } => {
                self.plug_spi(placed, spec, SpiConfig { selects, flash }, slot)?;
            }
            DeviceKind::Fu540Gem { .. } => self.plug_gem(placed, spec)?,
            DeviceKind::Fu540Otp { serial } => {
                self.add(placed, Otp::new(serial))?;
            }
            DeviceKind::VirtioMmio { place } => self.plug_virtio(placed, spec, place)?,
            DeviceKind::Htif { words, .. } => {
                let device = Htif::new(words.tohost - placed.base, words.fromhost - placed.base);
                let slot = self.add(placed, device)?;
                slot.connect(self.notice());
                self.devices.htif = Some(slot);
            }
            DeviceKind::PcieHost { ref functions } => self.plug_pci(placed, functions, spec)?,
            DeviceKind::I8259
            | DeviceKind::IoApic
            | DeviceKind::LocalApic { .. }
            | DeviceKind::I8254
            | DeviceKind::Cmos
            | DeviceKind::I8042
            | DeviceKind::DebugExit
            | DeviceKind::PowerControl
            | DeviceKind::ResetControl => self.plug_pc(placed, spec)?,
        }
        Ok(())
    }

    /// A device that may end the machine.
    pub(crate) fn may_end<D: Device>(&mut self, slot: Arc<Slot<D>>, outcome: fn(&D) -> Option<Outcome>) {
        slot.connect(self.notice());
        self.devices.endings.push(Box::new(move || slot.with(|d, _| outcome(d))));
    }
}
