//! The state of an x86 machine that stands still, to go on from in another: on another engine, too.
//!
//! What is kept is what each part calls its saved state, numbered and versioned; nothing depends on the engine that ran
//! last. Interrupt controllers in the kernel are kept in the form of our models (`kernel_chips.rs`).

use crate::kernel_chips::KernelLapic;
use crate::machine::{BuildError, Final, Machine, Start};
use crate::plug_pc::kernel_has_irqchip;
use crate::spec::Spec;
use dev_core::RestoreError;
use fabric_clock::Nanos;
use fabric_ram::PAGE;
use isa_x86::saved::{LoadError, SavedState};

/// A machine that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Guest time.
    now: Nanos,
    /// Processor 0.
    processor: Box<SavedState>,
    /// Devices by name.
    devices: Vec<(&'static str, Vec<u8>)>,
    /// Pages that are not all zeroes, by their offset in the arena.
    pages: Vec<(u64, Box<[u8]>)>,
}

/// Why a snapshot cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Only x86 machines can be kept so far.
    #[error("machines of RISC-V harts cannot be kept yet")]
    NoProcessor,
    /// The kernel does not tell the state of its interrupt controllers.
    #[error("{0}")]
    Kernel(String),
    /// The kernel's interrupt controllers are in a state that ours cannot be in.
    #[error("the kernel's interrupt controllers are in a state that no other engine knows; use irqchip=user")]
    KernelIrqchip,
}

/// Why a machine cannot go on from a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The machine cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A device does not take its state.
    #[error(transparent)]
    Device(#[from] RestoreError),
    /// The processor's state is none.
    #[error(transparent)]
    Processor(#[from] LoadError),
    /// The board has other devices, or less memory.
    #[error("the snapshot is of a machine with another board: {0}")]
    OtherBoard(&'static str),
}

impl Final {
    /// Keeps the machine as it stands.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        self.take_kernel_chips()?;
        let processor = self.processors.first().ok_or(SnapshotError::NoProcessor)?;
        // Guest time stands still. What it has changed since a device was last looked at (a timer that has run out) takes
        // its way along the wires first, so that all parts are kept as of one moment.
        self.devices.slots.iter().rev().for_each(|(_, slot)| drop(slot.save()));
        let ram = self.devices.bus.ram();
        let mut pages = Vec::new();
        let mut page = vec![0; PAGE as usize];
        for offset in (0..ram.size()).step_by(PAGE as usize) {
            if ram.copy_out(offset, &mut page).is_some() && page.iter().any(|&byte| byte != 0) {
                pages.push((offset, page.clone().into_boxed_slice()));
            }
        }
        Ok(Snapshot {
            now: self.timers.clock().now(),
            processor: Box::new(SavedState::of(&processor.state)),
            devices: self.devices.slots.iter().map(|(name, slot)| (*name, slot.save())).collect(),
            pages,
        })
    }

    /// Brings the kernel's interrupt controllers home.
    fn take_kernel_chips(&self) -> Result<(), SnapshotError> {
        let Some(vm) = self.devices.kvm.as_ref().filter(|_| kernel_has_irqchip(&self.devices)) else {
            return Ok(());
        };
        let told = |error: &dyn std::fmt::Display| SnapshotError::Kernel(error.to_string());
        let mut lapics = Vec::new();
        for left in &self.left {
            let (Some((stopped_at, stopped)), Some(last)) = (&left.lapic, left.cpu.kernel_lapic()) else {
                continue;
            };
            let stopped = stopped.as_ref().map_err(|error| told(error))?.clone();
            lapics.push(KernelLapic {
                stopped_at: *stopped_at,
                stopped,
                last: last.map_err(|error| told(&error))?,
            });
        }
        match self.devices.stand_ins.take(vm, &lapics) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SnapshotError::KernelIrqchip),
            Err(error) => Err(told(&error)),
        }
    }
}

impl Machine {
    /// A machine of `spec` that goes on where another stood. Its kernel, command line and initial RAM disk do not matter;
    /// its engine may be another.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn resume(spec: Spec, snapshot: &Snapshot) -> Result<Machine, ResumeError> {
        let mut machine = Machine::empty(spec, snapshot.now)?;
        let ram = machine.devices.bus.ram();
        for (offset, page) in &snapshot.pages {
            ram.copy_in(*offset, page).ok_or(ResumeError::OtherBoard("less memory"))?;
        }
        if snapshot.devices.len() != machine.devices.slots.len() {
            return Err(ResumeError::OtherBoard("other devices"));
        }
        // Those that drive come before those that are driven, whose own state then stands, whatever edges and messages have
        // come meanwhile.
        for ((name, bytes), (own, slot)) in snapshot.devices.iter().zip(&machine.devices.slots).rev() {
            if name != own {
                return Err(ResumeError::OtherBoard("other devices"));
            }
            slot.restore(bytes)?;
        }
        // The kernel's interrupt controllers come last: what devices have driven meanwhile is in their state already.
        machine.start = Some(Start::X86(machine.processor(snapshot.processor.load()?, true)?));
        Ok(machine)
    }
}
