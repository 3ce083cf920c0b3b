//! Putting files, devicetree and boot ROM into memory.

use crate::spec::{Bios, Program, Spec};
use crate::x86_start::StartError;
use fabric_bus::Bus;
use support_image::kernel::{Kernel, KernelError};
use vm_board::layout::{Firmware, Payload, Placement};
use vm_board::plan::{Plan, PlanError, Start};

/// Why a machine's files cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is not what it should be.
    #[error("{name}: {source}")]
    File {
        /// Its name.
        name: String,
        /// What is wrong.
        source: KernelError,
    },
    /// The pieces do not fit together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An x86 kernel cannot be started.
    #[error(transparent)]
    X86(#[from] StartError),
    /// A piece was placed where no memory is.
    #[error("the {what} would lie outside the machine's memory")]
    Outside {
        /// Which piece.
        what: &'static str,
    },
}

fn parse(program: &Program) -> Result<Kernel<'_>, LoadError> {
    Kernel::parse(&program.bytes).map_err(|source| LoadError::File { name: program.name.clone(), source })
}

fn payload(program: &Program) -> Result<Payload, LoadError> {
    Ok(Payload::of(&parse(program)?, program.bytes.len() as u64))
}

/// Where everything goes, for this spec.
///
/// # Errors
/// See [`LoadError`].
pub(crate) fn plan(spec: &Spec) -> Result<Plan, LoadError> {
    let firmware = match &spec.bios {
        Bios::None => Firmware::None,
        Bios::BuiltIn => Firmware::Builtin,
        Bios::Program(program) => Firmware::Loaded(payload(program)?),
    };
    // A program in flash gets what is for the kernel by fw_cfg.
    let resident = spec.board.flash().filter(|_| !spec.flash.is_empty()).map(|(flash, _)| flash.base);
    let direct = resident.is_none();
    let start = Start {
        firmware,
        kernel: spec.kernel.as_ref().filter(|_| direct).map(payload).transpose()?,
        resident,
        initrd: spec.initrd.as_ref().filter(|_| direct).map(|i| i.bytes.len() as u64),
        bootargs: spec.append.clone().filter(|_| direct),
        rng_seed: spec.rng_seed.clone(),
        boot_hart: spec.board.boot_hart(),
    };
    Ok(spec.board.plan(&start)?)
}

/// Copies bytes to guest-physical memory, ROM included.
pub(crate) fn put(bus: &Bus, what: &'static str, address: u64, bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let offset = bus.backing(address, bytes.len() as u64).ok_or(LoadError::Outside { what })?;
    bus.ram().copy_in(offset, bytes).ok_or(LoadError::Outside { what })
}

fn put_program(bus: &Bus, what: &'static str, program: &Program, at: &Placement) -> Result<(), LoadError> {
    match parse(program)? {
        Kernel::Elf(elf) => {
            for segment in elf.segments() {
                let address = segment.paddr.wrapping_add(at.bias);
                put(bus, what, address, elf.contents(segment))?;
            }
            Ok(())
        }
        Kernel::Image(_) | Kernel::Flat => put(bus, what, at.extent.start, &program.bytes),
    }
}

/// Loads everything of `plan`.
///
/// # Errors
/// See [`LoadError`].
pub(crate) fn load(bus: &Bus, spec: &Spec, plan: &Plan) -> Result<(), LoadError> {
    if let (Bios::Program(program), Some(at)) = (&spec.bios, &plan.layout.firmware) {
        put_program(bus, "firmware", program, at)?;
    }
    if let (Some(program), Some(at)) = (&spec.kernel, &plan.layout.kernel) {
        put_program(bus, "kernel", program, at)?;
    }
    if let (Some(program), Some(at)) = (&spec.initrd, &plan.layout.initrd) {
        put(bus, "initrd", at.start, &program.bytes)?;
    }
    put(bus, "devicetree", plan.layout.fdt.start, &plan.fdt)?;
    put(bus, "boot ROM", spec.board.reset_pc, &plan.boot_rom)
}
