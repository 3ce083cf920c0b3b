//! What named operations ask of the processor's surroundings.

use crate::cpu::Cpu;
use isa_core::Width;
use isa_x86::{Access, Activity, Change, Env, Fault, State, msr, rflags};

/// Elements of a string instruction between two looks around.
const ELEMENTS: u64 = 4096;

/// The most bytes of a string instruction done at once: a page.
const RUN: usize = 4096;

impl Cpu {
    /// The arena offset of `bytes` bytes at `la`, in one page, if that page is remembered for loads or stores, and they
    /// are worth it.
    fn run(&self, load: bool, la: u64, bytes: u64) -> Option<u64> {
        let inside = bytes >= 64 && (la & engine_mmu::PAGE_MASK) + bytes <= RUN as u64;
        if !inside || self.align_check {
            return None;
        }
        self.remembered(la, !load)
    }

    fn port_read(&mut self, port: u16, width: Width) -> u64 {
        self.ports.read(port.into(), width as u8).unwrap_or(u64::MAX) & width.mask()
    }
}

impl Env for Cpu {
    #[inline(always)]
    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    #[inline(always)]
    fn state_ref(&self) -> &State {
        &self.state
    }

    fn next_rip(&self) -> u64 {
        self.rip_behind()
    }

    #[inline]
    fn linear(&mut self, segment: u8, offset: u64, bytes: u64, write: bool) -> Result<u64, Fault> {
        self.state.linear(segment, offset, bytes, write)
    }

    #[inline]
    fn read(&mut self, la: u64, width: Width, access: Access) -> Result<u64, Fault> {
        if self.is_plain(access)
            && let Some(offset) = self.remembered(la, access.write)
            && let Some(value) = self.ram.load_sized(offset, width as u8)
        {
            return Ok(value);
        }
        self.load_slow(la, width, access)
    }

    #[inline]
    fn write(&mut self, la: u64, width: Width, value: u64, access: Access) -> Result<(), Fault> {
        if self.is_plain(access)
            && let Some(offset) = self.remembered(la, true)
            && self.ram.store_sized(offset, width as u8, value).is_some()
        {
            return Ok(());
        }
        self.store_slow(la, width, value, access)
    }

    fn probe(&mut self, la: u64, bytes: u64, access: Access) -> Result<(), Fault> {
        self.probe_range(la, bytes, access)
    }

    fn compare_exchange(
        &mut self,
        la: u64,
        width: Width,
        expected: u64,
        new: u64,
        _access: Access,
    ) -> Result<u64, Fault> {
        self.exchange_if(la, width, expected, new)
    }

    fn compare_exchange_16(
        &mut self,
        la: u64,
        expected: u128,
        new: u128,
        access: Access,
    ) -> Result<u128, Fault> {
        self.exchange_if_16(la, expected, new, access)
    }

    fn port_in(&mut self, port: u16, width: Width) -> u64 {
        self.before_device();
        if u64::from(port) & (width.bytes() - 1) == 0 {
            return self.port_read(port, width);
        }
        // A word at an odd port is two cycles on the bus.
        (0..width.bytes())
            .fold(0, |v, n| v | self.port_read(port.wrapping_add(n as u16), Width::B1) << (8 * n))
    }

    fn port_out(&mut self, port: u16, width: Width, value: u64) {
        self.before_device();
        if u64::from(port) & (width.bytes() - 1) == 0 {
            let _ = self.ports.write(port.into(), width as u8, value & width.mask());
            return;
        }
        for n in 0..width.bytes() {
            let _ = self.ports.write(port.wrapping_add(n as u16).into(), 1, value >> (8 * n) & 0xff);
        }
    }

    fn tsc(&mut self) -> u64 {
        let now = self.time.now(self.retired_now());
        (u128::from(now) * u128::from(self.state.identity.tsc_hz) / 1_000_000_000) as u64
    }

    fn set_tsc_offset(&mut self, offset: u64) {
        self.state.msrs.tsc_offset = offset;
        self.before_device();
        self.local.set_tsc_offset(offset);
    }

    fn cr8(&mut self) -> u64 {
        self.local.cr8().into()
    }

    fn set_cr8(&mut self, value: u64) {
        self.before_device();
        self.local.set_cr8(value as u8);
    }

    fn outer_msr(&mut self, number: u32) -> Option<u64> {
        self.before_device();
        match number {
            msr::number::APIC_BASE => Some(self.local.apic_base()),
            msr::number::TSC_DEADLINE => Some(self.local.tsc_deadline()),
            0x800..=0x8ff => self.local.read_msr(number).ok(),
            _ => None,
        }
    }

    fn set_outer_msr(&mut self, number: u32, value: u64) -> Option<()> {
        self.before_device();
        match number {
            msr::number::APIC_BASE => {
                self.local.set_apic_base(value).ok()?;
                self.find_apic_page();
            }
            msr::number::TSC_DEADLINE => self.local.set_tsc_deadline(value),
            0x800..=0x8ff => self.local.write_msr(number, value).ok()?,
            _ => return None,
        }
        Some(())
    }

    fn changed(&mut self, what: Change) {
        match what {
            Change::Context => {
                self.enter_context();
                self.leave = true;
            }
            Change::FlushAll { global } => {
                self.flush(global);
                self.leave = true;
            }
            Change::FlushPage(la) => {
                self.flush_page(la);
                self.leave = true;
            }
            Change::Interrupts => self.note_interrupts(),
            Change::Serialize => {
                self.renew_code();
                self.leave = true;
            }
            Change::Delivered => self.events += 1,
        }
    }

    fn jump_to(&mut self, rip: u64) {
        self.next_rip = rip;
    }

    fn again(&mut self) {
        self.again = true;
        self.leave = true;
    }

    fn elements(&mut self) -> u64 {
        if self.state.system_flags & rflags::TF != 0 { 1 } else { ELEMENTS }
    }

    fn fill(&mut self, la: u64, width: Width, value: u64, elements: u64) -> u64 {
        let bytes = elements * width.bytes();
        let Some(offset) = self.run(false, la, bytes) else { return 0 };
        let word = value.to_le_bytes();
        let pattern = word.split_at(width as usize).0;
        let [first, ..] = word;
        let done = if pattern.iter().all(|&byte| byte == first) {
            self.ram.fill(offset, bytes, first)
        } else {
            let mut buffer = [0; RUN];
            let Some(buffer) = buffer.get_mut(..bytes as usize) else { return 0 };
            buffer.chunks_exact_mut(width as usize).for_each(|chunk| chunk.copy_from_slice(pattern));
            self.ram.copy_in(offset, buffer)
        };
        if done.is_some() { elements } else { 0 }
    }

    fn copy(&mut self, from: u64, to: u64, width: Width, elements: u64) -> u64 {
        let bytes = elements * width.bytes();
        let (Some(from), Some(to)) = (self.run(true, from, bytes), self.run(false, to, bytes)) else {
            return 0;
        };
        // What is stored would be read again: then element by element, it repeats a pattern.
        if from < to && to < from + bytes {
            return 0;
        }
        let mut buffer = [0; RUN];
        let Some(buffer) = buffer.get_mut(..bytes as usize) else { return 0 };
        let done = self.ram.copy_out(from, buffer).and_then(|()| self.ram.copy_in(to, buffer));
        if done.is_some() { elements } else { 0 }
    }

    fn halt(&mut self) {
        self.state.activity = Activity::Halted;
        self.look_around();
    }

    fn pause(&mut self) {
        self.time.pause();
    }
}
