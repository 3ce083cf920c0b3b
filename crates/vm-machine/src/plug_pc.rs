//! The devices of a PC, and how its interrupt controllers hang together.

use crate::devices::Devices;
use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::spec::{Engine, Spec};
use crate::x86_start::identity;
use dev_core::Slot;
use dev_irq::{ApicBus, I8259, Ioapic, Lapic, LapicConfig, LocalApic};
use dev_time::{Cmos, DebugExit, I8042, I8254, Pm1Control, ResetControl};
use engine_kvm::Irqchip;
use fabric_wire::{Sink, Wire};
use std::sync::Arc;
use vm_board::board::{DeviceKind, Placed};

/// Who the I/O APIC's messages are from.
const IOAPIC_REQUESTER: u32 = 0xff00;

/// Interrupt controllers that must know each other.
#[derive(Default)]
pub(crate) struct Pc {
    pic: Option<Arc<Slot<I8259>>>,
    ioapics: Vec<Arc<Slot<Ioapic>>>,
    apics: Vec<Arc<Slot<Lapic>>>,
}

/// An interrupt of the ISA bus: both controllers get it.
struct Isa {
    pic: Option<Arc<Slot<I8259>>>,
    ioapics: Vec<Arc<Slot<Ioapic>>>,
}

/// The I/O APIC's pin of an ISA interrupt: the timer is soldered to pin 2, as pin 0 is for the 8259 (MultiProcessor
/// Specification 1.4, appendix D).
pub(crate) fn ioapic_pin(irq: u32) -> u32 {
    if irq == 0 { 2 } else { irq }
}

impl Sink for Isa {
    fn set(&self, irq: u32, high: bool) {
        if let Some(pic) = &self.pic {
            Sink::set(&**pic, irq, high);
        }
        for ioapic in &self.ioapics {
            Sink::set(&**ioapic, ioapic_pin(irq), high);
        }
    }
}

impl Plugging<'_> {
    /// The wire of an ISA interrupt.
    pub fn isa_wire(&self, irq: u32) -> Wire {
        match &self.devices.kvm {
            Some(vm) if vm.irqchip() == Irqchip::Kernel => Wire::new(Arc::clone(vm) as _, irq),
            _ => {
                let Pc { pic, ioapics, .. } = &self.pc;
                Wire::new(Arc::new(Isa { pic: pic.clone(), ioapics: ioapics.clone() }), irq)
            }
        }
    }

    pub fn plug_pc(&mut self, placed: &Placed, spec: &Spec) -> Result<(), BuildError> {
        match placed.kind {
            DeviceKind::I8259 | DeviceKind::IoApic | DeviceKind::LocalApic { .. }
                if kernel_has_irqchip(&self.devices) =>
            {
                self.stand_in_for(placed, spec);
            }
            DeviceKind::I8259 => self.pc.pic = Some(self.add(placed, I8259::new())?),
            DeviceKind::IoApic => {
                let slot = self.add(placed, Ioapic::new(IOAPIC_REQUESTER))?;
                self.pc.ioapics.push(slot);
            }
            DeviceKind::LocalApic { cpu } => {
                let slot = self.add(placed, local_apic(spec, cpu))?;
                self.pc.apics.push(slot);
            }
            DeviceKind::I8254 => {
                self.add(placed, I8254::new())?;
            }
            DeviceKind::Cmos => {
                self.add(placed, Cmos::new(spec.wall_start_ns))?;
            }
            DeviceKind::I8042 => {
                let slot = self.add(placed, I8042::new())?;
                self.may_end(slot, I8042::outcome);
            }
            DeviceKind::DebugExit => {
                let slot = self.add(placed, DebugExit::new())?;
                self.may_end(slot, DebugExit::outcome);
            }
            DeviceKind::PowerControl => {
                let slot = self.add(placed, Pm1Control::new())?;
                self.may_end(slot, Pm1Control::outcome);
            }
            DeviceKind::ResetControl => {
                let slot = self.add(placed, ResetControl::new())?;
                self.may_end(slot, ResetControl::outcome);
            }
            _ => {}
        }
        Ok(())
    }

    /// Interrupt controllers that the kernel has are here only to be saved.
    fn stand_in_for(&mut self, placed: &Placed, spec: &Spec) {
        match placed.kind {
            DeviceKind::I8259 => self.devices.stand_ins.pic = Some(self.stand_in(placed, I8259::new())),
            DeviceKind::IoApic => {
                self.devices.stand_ins.ioapic = Some(self.stand_in(placed, Ioapic::new(IOAPIC_REQUESTER)));
            }
            DeviceKind::LocalApic { cpu } => {
                let slot = self.stand_in(placed, local_apic(spec, cpu));
                self.devices.stand_ins.apics.push(slot);
            }
            _ => {}
        }
    }

    /// Makes the interrupt controllers known to each other, when all are there.
    pub fn join_apics(&mut self) {
        let Pc { pic, ioapics, apics } = &self.pc;
        let bus = Arc::new(ApicBus::new(apics.clone()));
        for ioapic in ioapics {
            ioapic.send_to(Arc::clone(&bus) as _);
        }
        self.devices.locals = apics
            .iter()
            .map(|apic| {
                let (pic, ioapics) = (pic.clone(), ioapics.clone());
                Arc::new(LocalApic { apic: Arc::clone(apic), bus: Arc::clone(&bus), pic, ioapics }) as _
            })
            .collect();
    }
}

/// A processor's local APIC as firmware leaves it: there is none that would.
fn local_apic(spec: &Spec, cpu: u32) -> Lapic {
    let identity = identity(spec, cpu);
    let (timer_hz, tsc_hz) = (identity.crystal_hz, identity.tsc_hz);
    let config = LapicConfig { id: cpu, bsp: cpu == 0, timer_hz, tsc_hz, ..LapicConfig::default() };
    let mut apic = Lapic::new(config);
    apic.virtual_wire();
    apic
}

/// Whether the kernel has the interrupt controllers.
pub(crate) fn kernel_has_irqchip(devices: &Devices) -> bool {
    devices.kvm.as_ref().is_some_and(|vm| vm.irqchip() == Irqchip::Kernel)
}

/// Whether a machine runs on KVM.
pub(crate) fn on_kvm(spec: &Spec) -> bool {
    matches!(spec.engine, Engine::Kvm(_))
}
