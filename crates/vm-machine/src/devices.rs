//! The devices of a machine: made from its board, and asked how it shall end.

use crate::console::{ConsolePort, Joined};
use crate::control::{Control, End};
use crate::kernel_chips::StandIns;
use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::plug_firmware::program_bytes;
use crate::plug_virtio::{Attached, PowerButton};
use crate::spec::{Engine, Spec};
use dev_core::{Plugged, Slot};
use dev_time::{Htif, Outcome};
use engine_kvm::Vm;
use fabric_bus::{Bus, BusBuilder};
use fabric_clock::Timers;
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::LocalController;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use vm_board::board::{DeviceKind, Processor};

/// How a device says that the machine shall end.
pub(crate) type Ending = Box<dyn Fn() -> Option<Outcome> + Send + Sync>;

/// The devices of a machine, plugged in.
pub(crate) struct Devices {
    pub bus: Arc<Bus>,
    /// The I/O ports of x86 processors.
    pub ports: Arc<Bus>,
    pub slots: Vec<(&'static str, Arc<dyn Plugged>)>,
    /// What there is to talk to the guest, in the order of the board's devices, then of its PCI functions; HTIF is joined
    /// to the first.
    pub consoles: Vec<Arc<dyn ConsolePort>>,
    /// Those that may end the machine.
    pub endings: Vec<Ending>,
    /// The virtio devices.
    pub virtio: Vec<Attached>,
    /// Ports of virtio consoles among them, in their order, those on PCI after those at memory-mapped registers.
    pub virtio_ports: Vec<Arc<dyn ConsolePort>>,
    /// The power button among them.
    pub button: Option<PowerButton>,
    pub htif: Option<Arc<Slot<Htif>>>,
    /// What MTIME shows beyond the ticks of guest time, for the harts' `time`.
    pub mtime_offset: Arc<AtomicU64>,
    /// The local APICs, by number of the processor; none where the kernel has them.
    pub locals: Vec<Arc<dyn LocalController>>,
    /// What the kernel's interrupt controllers are saved through.
    pub stand_ins: StandIns,
    /// The machine's share of KVM.
    pub kvm: Option<Arc<Vm>>,
}

impl Devices {
    /// Makes RAM, buses and every device of the board.
    ///
    /// # Errors
    /// What the host says about memory or KVM, or a board that contradicts itself.
    pub fn new(spec: &Spec, control: &Arc<Control>, timers: &Arc<Timers>) -> Result<Devices, BuildError> {
        let board = &spec.board;
        let roms = board.devices.iter().filter(|d| d.kind == DeviceKind::BootRom);
        let rom: u64 = roms.map(|d| d.size.next_multiple_of(PAGE)).sum();
        let rom = rom + program_bytes(&spec.flash);
        let memory = board.memory();
        let total = memory.checked_add(rom).ok_or(BuildError::Memory { bytes: memory, source: None })?;
        let ram = GuestRam::new(total).map_err(|e| BuildError::Memory { bytes: memory, source: Some(e) })?;
        let ram = Arc::new(ram);
        let mut builder = BusBuilder::new(Arc::clone(&ram));
        builder.ram("ram", board.ram.start, memory, 0, true)?;
        let mut only_ram = BusBuilder::new(Arc::clone(&ram));
        only_ram.ram("ram", board.ram.start, memory, 0, true)?;
        let only_ram = Arc::new(only_ram.build());
        let kvm = match spec.engine {
            Engine::Interp | Engine::Jit(_) | Engine::Check(_) => None,
            // A board with KVM has no ROM, so that this is all its memory.
            Engine::Kvm(irqchip) => Some(Vm::new(&only_ram, irqchip)?),
        };
        let nothing = Arc::new(BusBuilder::new(Arc::clone(&ram)).build());
        let devices = Devices {
            bus: Arc::clone(&nothing),
            ports: nothing,
            slots: Vec::new(),
            consoles: Vec::new(),
            endings: Vec::new(),
            virtio: Vec::new(),
            virtio_ports: Vec::new(),
            button: None,
            htif: None,
            mtime_offset: Arc::default(),
            locals: Vec::new(),
            stand_ins: StandIns::default(),
            kvm,
        };
        let mut plugging = Plugging {
            board,
            control,
            timers,
            trace: spec.trace.clone(),
            sinks: HashMap::new(),
            uarts: HashMap::new(),
            memory: only_ram,
            builder,
            ports: BusBuilder::new(ram),
            pc: Default::default(),
            devices,
        };
        let mut rom_at = memory;
        // A device is plugged in after everything its outputs drive.
        for index in board.wire_order()?.into_iter().rev() {
            if let Some(placed) = board.devices.get(index) {
                plugging.plug(placed, spec, &mut rom_at)?;
            }
        }
        if board.processor == Processor::X86 {
            plugging.join_apics();
        }
        let Plugging { builder, ports, mut devices, mut uarts, .. } = plugging;
        let lines = board.uarts().map(|uart| uart.name).chain(board.pci_functions().map(|card| card.name));
        devices.consoles = lines.filter_map(|name| uarts.remove(name)).collect();
        if let Some(htif) = &devices.htif {
            match devices.consoles.first_mut() {
                Some(uart) => *uart = Arc::new(Joined::new(Arc::clone(uart), Arc::clone(htif))),
                None => devices.consoles.push(Arc::clone(htif) as _),
            }
        }
        devices.bus = Arc::new(builder.build());
        devices.ports = Arc::new(ports.build());
        Ok(devices)
    }
}

impl Devices {
    /// How a device says the machine shall end, if one does.
    pub fn wanted_end(&self) -> Option<End> {
        if let Some(outcome) = self.endings.iter().find_map(|ending| ending()) {
            return Some(match outcome {
                Outcome::Exit(code) => End::Exit(u64::from(code)),
                Outcome::Reset => End::Reset,
            });
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
