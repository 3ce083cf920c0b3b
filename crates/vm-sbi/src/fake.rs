//! A machine of plain data that notes what the firmware asks of it, for tests and fuzzing.

use crate::{ConsoleError, Fence, HartSet, NoMemory, Platform};
use isa_riscv::AccessKind;
use std::collections::VecDeque;

/// Where RAM begins.
pub const RAM: u64 = 0x8000_0000;
/// Bytes of RAM.
pub const RAM_SIZE: u64 = 0x4_0000;
/// Where ROM begins: 4 KiB that cannot be stored to.
pub const ROM: u64 = 0x1000;
const ROM_SIZE: u64 = 0x1000;

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fake {
    /// RAM.
    pub ram: Vec<u8>,
    /// Harts to which interrupts were sent, a set for each call.
    pub ipis: Vec<Vec<u32>>,
    /// Whether an interrupt sent to the calling hart is still on its way.
    pub ipi_on_its_way: bool,
    /// Fences, a set of harts for each.
    pub fences: Vec<(Vec<u32>, Fence)>,
    /// Harts woken.
    pub woken: Vec<u32>,
    /// What the console got.
    pub output: Vec<u8>,
    /// How many bytes the console still takes.
    pub room: usize,
    /// What the console gives.
    pub input: VecDeque<u8>,
    /// What the console fails with.
    pub console: Option<ConsoleError>,
    /// Retired instructions.
    pub retired: u64,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            ram: vec![0; RAM_SIZE as usize],
            ipis: Vec::new(),
            ipi_on_its_way: false,
            fences: Vec::new(),
            woken: Vec::new(),
            output: Vec::new(),
            room: usize::MAX,
            input: VecDeque::new(),
            console: None,
            retired: 1000,
        }
    }
}

fn inside(start: u64, size: u64, first: u64, bytes: u64) -> bool {
    start >= first && start - first <= bytes && size <= bytes - (start - first)
}

impl Fake {
    /// The bytes of RAM at `address`; none outside.
    pub fn bytes(&mut self, address: u64, size: usize) -> &mut [u8] {
        let start = address.wrapping_sub(RAM) as usize;
        self.ram.get_mut(start..start.saturating_add(size)).unwrap_or_default()
    }
}

impl Platform for Fake {
    fn has_memory(&self, start: u64, size: u64, access: AccessKind) -> bool {
        let rom = access != AccessKind::Store && inside(start, size, ROM, ROM_SIZE);
        rom || inside(start, size, RAM, RAM_SIZE)
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), NoMemory> {
        let size = bytes.len();
        if inside(address, size as u64, ROM, ROM_SIZE) {
            bytes.fill(0);
            return Ok(());
        }
        let from = self.bytes(address, size);
        if from.len() != size {
            return Err(NoMemory);
        }
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), NoMemory> {
        let to = self.bytes(address, bytes.len());
        if to.len() != bytes.len() {
            return Err(NoMemory);
        }
        to.copy_from_slice(bytes);
        Ok(())
    }

    fn send_ipi(&mut self, harts: &HartSet) {
        self.ipis.push(harts.iter().collect());
    }

    fn clear_ipi(&mut self) -> bool {
        std::mem::take(&mut self.ipi_on_its_way)
    }

    fn remote_fence(&mut self, harts: &HartSet, fence: Fence) {
        self.fences.push((harts.iter().collect(), fence));
    }

    fn wake(&mut self, hart: u32) {
        self.woken.push(hart);
    }

    fn console_write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
        if let Some(error) = self.console {
            return Err(error);
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        self.output.extend(bytes.iter().take(count));
        Ok(count)
    }

    fn console_read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        if let Some(error) = self.console {
            return Err(error);
        }
        let count = bytes.len().min(self.input.len());
        for (to, from) in bytes.iter_mut().zip(self.input.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn retired(&self) -> u64 {
        self.retired
    }
}
