//! Interrupt controllers that the kernel has, to and from the saved forms of our models.
//!
//! A machine keeps stand-ins for them among its devices, which no guest and no wire reaches: the kernel's state goes into
//! the kernel out of them when a machine begins, and into them when it is saved. So what is saved does not tell who had
//! the controllers.
//!
//! What the two do not share: the kernel's 8259 keeps an edge whose line has fallen again (ours takes it over); it knows
//! no single mode; its I/O APIC forgets the level of an edge-triggered input once it has sent the edge, which the 8259s'
//! levels replace for the ISA interrupts.

use dev_core::{Device, Slot};
use dev_irq::i8259_saved::{ChipV1, I8259V1};
use dev_irq::ioapic_saved::IoapicV1;
use dev_irq::{I8259, Ioapic, Lapic};
use engine_kvm::{KvmCpu, KvmError, Pic, Vm};
use fabric_clock::Nanos;
use fabric_wire::LapicState;
use fabric_wire::local::apic_base;
use std::sync::Arc;

/// The 8259s' input that the slave is at.
const CASCADE: u8 = 1 << 2;
/// Bits of a redirection entry, but the delivery status: 82093AA datasheet, 3.2.4.
const ENTRY: u64 = 0xff00_0000_0001_efff;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
/// Delivery modes 2 and up, which are edges always.
const EDGE_ONLY: u64 = 6 << 8;
/// Numbers of the local APIC's registers: its ID, the first of in service, trigger mode and requests, LINT1, current count.
const ID: usize = 0x02;
const VECTORS: [usize; 3] = [0x10, 0x18, 0x20];
const LINT1: usize = 0x36;
const COUNT: usize = 0x39;

/// What the kernel's interrupt controllers are saved through.
#[derive(Default)]
pub(crate) struct StandIns {
    pub pic: Option<Arc<Slot<I8259>>>,
    pub ioapic: Option<Arc<Slot<Ioapic>>>,
    /// By number of the processor.
    pub apics: Vec<Arc<Slot<Lapic>>>,
}

/// A processor's local APIC in the kernel: when the processor stopped, and when all of the machine had.
pub(crate) struct KernelLapic {
    pub stopped_at: Nanos,
    pub stopped: LapicState,
    pub last: LapicState,
}

impl StandIns {
    /// Gives a processor's local APIC to the kernel.
    pub fn give_lapic(&self, cpu: &mut KvmCpu, id: usize) -> Result<(), KvmError> {
        match self.apics.get(id) {
            Some(apic) => cpu.set_lapic(&apic.with(|d, now| d.export(now))),
            None => Ok(()),
        }
    }

    /// Gives the others to the kernel, whose processors are all there.
    pub fn give(&self, vm: &Vm) -> Result<(), KvmError> {
        if let Some(pic) = &self.pic {
            let I8259V1 { master, slave } = pic.with(|d, _| d.save());
            vm.set_pics(&[to_kernel(&master, CASCADE), to_kernel(&slave, 0)])?;
        }
        if let Some(ioapic) = &self.ioapic {
            vm.set_ioapic(&ioapic_to_kernel(&ioapic.with(|d, _| d.save())))?;
        }
        Ok(())
    }

    /// Takes all from the kernel. `Ok(false)` if it is a state that ours cannot be in.
    pub fn take(&self, vm: &Vm, lapics: &[KernelLapic]) -> Result<bool, KvmError> {
        let (mut intr, mut levels) = (false, 0);
        if let Some(pic) = &self.pic {
            let [master, slave] = vm.pics()?;
            levels = u32::from(master.lines & !CASCADE) | u32::from(slave.lines) << 8;
            let mut saved = I8259V1 { master: from_kernel(&master, CASCADE), slave: from_kernel(&slave, 0) };
            if saved.settle_cascade().is_none() || pic.with(|d, _| d.restore(saved)).is_err() {
                return Ok(false);
            }
            intr = pic.with(|d, now| d.lines(0, now)) & 1 != 0;
        }
        if let Some(ioapic) = &self.ioapic {
            let saved = ioapic_from_kernel(&vm.ioapic()?, levels);
            if ioapic.with(|d, _| d.restore(saved)).is_err() {
                return Ok(false);
            }
        }
        for (cpu, (apic, from)) in (0u32..).zip(self.apics.iter().zip(lapics)) {
            let state = lapic_from_kernel(from, cpu, intr && cpu == 0);
            if apic.with(|d, _| d.import(&state, from.stopped_at)).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One 8259. What the cascade is on must be settled after.
fn from_kernel(pic: &Pic, cascade: u8) -> ChipV1 {
    let &Pic { lines, irr, imr, isr, highest, base, read_isr, poll, special_mask, .. } = pic;
    let &Pic { expect, auto_eoi, rotate, nested, ic4, level, .. } = pic;
    ChipV1 {
        lines: lines & !cascade,
        edges: irr & !level & !cascade,
        level,
        isr,
        imr,
        base,
        lowest: highest.wrapping_sub(1) & 7,
        expect,
        ic4,
        single: false,
        aeoi: auto_eoi,
        rotate,
        nested,
        special_mask,
        poll,
        read_isr,
    }
}

fn to_kernel(chip: &ChipV1, cascade: u8) -> Pic {
    let &ChipV1 { lines, edges, level, isr, imr, base, lowest, expect, ic4, single: _, .. } = chip;
    let &ChipV1 { aeoi, rotate, nested, special_mask, poll, read_isr, .. } = chip;
    Pic {
        lines: lines & !cascade,
        irr: edges & !level | lines & level,
        imr,
        isr,
        highest: lowest.wrapping_add(1) & 7,
        base,
        read_isr,
        poll,
        special_mask,
        expect,
        auto_eoi: aeoi,
        rotate,
        nested,
        ic4,
        level,
    }
}

fn is_level(entry: u64) -> bool {
    entry & LEVEL != 0 && entry & EDGE_ONLY == 0
}

/// `isa` are the levels of the ISA interrupts.
fn ioapic_from_kernel(ioapic: &engine_kvm::Ioapic, isa: u32) -> IoapicV1 {
    let entries = ioapic.entries.map(|entry| {
        let entry = entry & ENTRY;
        if is_level(entry) { entry } else { entry & !REMOTE_IRR }
    });
    // The timer's interrupt is at pin 2.
    let pins = isa & !(CASCADE as u32 | 1) | (isa & 1) << 2;
    IoapicV1 {
        id: u32::from(ioapic.id) << 24,
        select: ioapic.select as u8,
        entries,
        lines: (ioapic.irr | pins) & ((1 << ioapic.entries.len()) - 1),
    }
}

fn ioapic_to_kernel(saved: &IoapicV1) -> engine_kvm::Ioapic {
    let level = |pin: &usize| saved.entries.get(*pin).is_some_and(|&entry| is_level(entry));
    // Edges have been sent already, and must not be again.
    let levels = (0..saved.entries.len()).filter(level).fold(0u32, |all, pin| all | 1 << pin);
    engine_kvm::Ioapic {
        select: saved.select.into(),
        id: (saved.id >> 24) as u8 & 15,
        irr: saved.lines & levels,
        entries: saved.entries,
    }
}

/// Interrupts that came after the processor had stopped are in its last state; its timer's count is as of when it stopped,
/// as a timer that has run out since then is in neither.
fn lapic_from_kernel(from: &KernelLapic, cpu: u32, intr: bool) -> LapicState {
    let mut state = from.last.clone();
    let x2apic = state.apic_base & apic_base::X2APIC != 0;
    let registers = &mut state.registers;
    if let (Some(count), Some(then)) = (registers.get_mut(COUNT), from.stopped.registers.get(COUNT)) {
        *count = *then;
    }
    // Here the number is the processor's, whatever the guest has written.
    if let Some(id) = registers.get_mut(ID) {
        *id = if x2apic { cpu } else { cpu << 24 };
    }
    if let Some(entry) = registers.get_mut(LINT1) {
        *entry &= !(REMOTE_IRR as u32);
    }
    for first in VECTORS {
        if let Some(word) = registers.get_mut(first) {
            *word &= !0xffff;
        }
    }
    state.tsc_deadline = from.stopped.tsc_deadline;
    state.lint = [intr, false];
    state
}
