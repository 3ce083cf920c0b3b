//! The built-in SBI in this machine: what the firmware asks of it.

use crate::console::ConsolePort;
use crate::control::{Control, Request};
use fabric_bus::Bus;
use isa_riscv::AccessKind;
use std::sync::Arc;
use vm_sbi::{ConsoleError, Fence, HartSet, NoMemory, Pages, Platform, Sbi};

/// Bit of the pending word that posts a supervisor software interrupt.
pub(crate) const POST_SSIP: u64 = 1 << 1;

/// The built-in firmware as one hart's thread holds it.
pub(crate) struct BuiltIn {
    pub sbi: Arc<Sbi>,
    pub control: Arc<Control>,
    pub bus: Arc<Bus>,
    pub console: Option<Arc<dyn ConsolePort>>,
}

/// The machine during one call.
pub(crate) struct Call<'a> {
    pub built_in: &'a BuiltIn,
    /// The calling hart.
    pub hart: u32,
    /// Instructions it has retired.
    pub retired: u64,
}

impl Platform for Call<'_> {
    fn has_memory(&self, start: u64, size: u64, access: AccessKind) -> bool {
        let write = access == AccessKind::Store;
        self.built_in.bus.ram_range(start, size.max(1), write).is_some()
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), NoMemory> {
        if bytes.is_empty() {
            return Ok(());
        }
        let bus = &self.built_in.bus;
        let offset = bus.ram_range(address, bytes.len() as u64, false).ok_or(NoMemory)?;
        bus.ram().copy_out(offset, bytes).ok_or(NoMemory)
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), NoMemory> {
        if bytes.is_empty() {
            return Ok(());
        }
        let bus = &self.built_in.bus;
        let offset = bus.ram_range(address, bytes.len() as u64, true).ok_or(NoMemory)?;
        bus.ram().copy_in(offset, bytes).ok_or(NoMemory)
    }

    fn send_ipi(&mut self, harts: &HartSet) {
        for hart in harts.iter() {
            if let Some(port) = self.built_in.control.ports.get(hart as usize) {
                port.pending.raise(POST_SSIP);
            }
        }
    }

    fn clear_ipi(&mut self) -> bool {
        let port = self.built_in.control.ports.get(self.hart as usize);
        port.is_some_and(|port| port.pending.lower(POST_SSIP) != 0)
    }

    fn remote_fence(&mut self, harts: &HartSet, fence: Fence) {
        let request = match fence {
            Fence::Code => Request::FenceCode,
            Fence::Vma { pages, asid } => {
                Request::FenceVma { range: pages.map(|Pages { start, size }| (start, size)), asid }
            }
        };
        self.built_in.control.ask(harts.iter(), request);
    }

    fn wake(&mut self, hart: u32) {
        if let Some(port) = self.built_in.control.ports.get(hart as usize) {
            port.pending.raise(fabric_wire::PendingWord::WORK);
        }
    }

    fn console_write(&mut self, bytes: &[u8]) -> Result<usize, ConsoleError> {
        Ok(self.built_in.console.as_ref().map_or(bytes.len(), |console| console.print(bytes)))
    }

    fn console_read(&mut self, bytes: &mut [u8]) -> Result<usize, ConsoleError> {
        let Some(console) = &self.built_in.console else { return Ok(0) };
        let mut taken = 0;
        for slot in bytes {
            let Some(byte) = console.take() else { break };
            *slot = byte;
            taken += 1;
        }
        Ok(taken)
    }

    fn retired(&self) -> u64 {
        self.retired
    }
}
