//! One start of a machine: the layout, the devicetree with its addresses filled in, and the boot ROM that leads there.

use crate::board::Board;
use crate::layout::{self, Firmware, Layout, LayoutError, Payload, Request};
use crate::reset::{FwDynamicInfo, Handover, Mode, reset_vector};
use crate::tree::{Chosen, TreeError};
use thiserror::Error;

/// What a user starts a machine with.
#[derive(Clone, Debug)]
pub struct Start {
    /// What runs first.
    pub firmware: Firmware,
    /// The kernel, or a boot loader in its place.
    pub kernel: Option<Payload>,
    /// Physical address of a program that is in flash memory already and is entered in the kernel's place.
    pub resident: Option<u64>,
    /// Bytes of the initial RAM disk.
    pub initrd: Option<u64>,
    /// The kernel's command line.
    pub bootargs: Option<String>,
    /// Bytes that seed the kernel's random numbers.
    pub rng_seed: Vec<u8>,
    /// The hart that boots.
    pub boot_hart: u32,
}

/// Everything that has to be in memory, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where the files go.
    pub layout: Layout,
    /// The devicetree, for `layout.fdt`.
    pub fdt: Vec<u8>,
    /// The boot ROM's contents, for the board's `reset_pc`.
    pub boot_rom: Vec<u8>,
    /// Where the boot ROM jumps to, and in which mode; with a built-in SBI there is no ROM program to run, and harts
    /// start here.
    pub handover: Handover,
    /// The mode in which `handover.start` is meant to run.
    pub mode: Mode,
}

/// Why a machine cannot be started so.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Neither firmware nor kernel was given.
    #[error("there is nothing to run: give a kernel with --kernel or firmware with --bios")]
    NothingToRun,
    /// An initial RAM disk without a kernel that would use it.
    #[error("an initrd was given, but no kernel; add --kernel")]
    InitrdWithoutKernel,
    /// The files cannot be placed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The devicetree cannot be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Free bytes inside the devicetree. U-Boot gives the kernel the copy that it made for itself, adds the command line and
/// more to it where it lies, and has its own data right behind: a blob without room would grow into them.
const FDT_ROOM: u32 = 4096;

impl Board {
    fn roomy_fdt(&self, chosen: &Chosen) -> Result<Vec<u8>, TreeError> {
        Ok(self.tree(chosen)?.to_blob_with_room(FDT_ROOM)?)
    }

    /// Plans a start.
    pub fn plan(&self, start: &Start) -> Result<Plan, PlanError> {
        if start.kernel.is_none()
            && start.resident.is_none()
            && !matches!(start.firmware, Firmware::Loaded(_))
        {
            return Err(PlanError::NothingToRun);
        }
        if start.initrd.is_some() && start.kernel.is_none() {
            return Err(PlanError::InitrdWithoutKernel);
        }
        let mut chosen = Chosen {
            bootargs: start.bootargs.clone(),
            // Addresses take the same room whatever they are, so the length is right before they are known.
            initrd: start.initrd.map(|len| 0..len),
            rng_seed: start.rng_seed.clone(),
            boot_hart: start.boot_hart,
        };
        let layout = layout::place(&Request {
            ram: self.ram.clone(),
            firmware: start.firmware.clone(),
            kernel: start.kernel.clone(),
            initrd: start.initrd,
            fdt: self.roomy_fdt(&chosen)?.len() as u64,
        })?;
        chosen.initrd = layout.initrd.clone();
        let fdt = self.roomy_fdt(&chosen)?;
        let kernel_entry = start.resident.or(layout.kernel.as_ref().map(|kernel| kernel.entry));
        let (first, mode) = match (&start.firmware, &layout.firmware) {
            (Firmware::None, _) => (kernel_entry, Mode::Machine),
            (Firmware::Builtin, _) => (kernel_entry, Mode::Supervisor),
            (Firmware::Loaded(_), firmware) => {
                (firmware.as_ref().map(|firmware| firmware.entry), Mode::Machine)
            }
        };
        let info = layout.firmware.as_ref().map(|_| FwDynamicInfo {
            // A firmware with nothing to start is told address 0, as it would be without a kernel on QEMU.
            next_addr: kernel_entry.unwrap_or(0),
            next_mode: Mode::Supervisor,
            options: 0,
            boot_hart: u64::from(start.boot_hart),
        });
        let handover = Handover { start: first.ok_or(PlanError::NothingToRun)?, fdt: layout.fdt.start, info };
        Ok(Plan { boot_rom: reset_vector(&handover), layout, fdt, handover, mode })
    }
}
