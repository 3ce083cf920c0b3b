//! The two cascaded 8259A of a PC, with the ELCR of its chipset.
//!
//! Sources: Intel 8259A datasheet (231468-003, 1988) for the chips (`i8259_chip.rs`); Intel 82371SB
//! (PIIX3) datasheet, "Edge/Level Control Registers" for ports 0x4d0 and 0x4d1. The slave's INT is
//! soldered to the master's IR2.
//!
//! Registers lie at three places of the port space, which are windows on these offsets: 0 and 1 at
//! ports 0x20 and 0x21, 2 and 3 at 0xa0 and 0xa1, 4 and 5 at 0x4d0 and 0x4d1.

use crate::i8259_chip::Chip;
use dev_core::{Device, NoRegister, RestoreError, read_bytes, registers, write_bytes};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets in the windows. What is behind the ports of each chip, see the datasheet.
    pub enum Reg {
        0 MasterA0Low RW {}
        1 MasterA0High RW {}
        2 SlaveA0Low RW {}
        3 SlaveA0High RW {}
        4 Elcr1 RW { level: 7..3 }
        5 Elcr2 RW { level_10_9: 2..1, level_12_11: 4..3, level_15_14: 7..6 }
    }
}

/// The master's window.
pub const MASTER: u64 = 0;
/// The slave's window.
pub const SLAVE: u64 = 2;
/// The window of the edge/level control registers.
pub const ELCR: u64 = 4;
/// The master's input that the slave's INT is soldered to.
const CASCADE: u8 = 2;

// ---- state ----

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    master: Chip,
    slave: Chip,
}

impl State {
    /// The slave's INT goes to IR2 of the master.
    fn cascade(&mut self) {
        self.master.input(CASCADE, self.slave.request(0).is_some());
    }

    /// INT falls in every acknowledge, so that a further request of the slave is another edge.
    fn drop_int(&mut self) {
        self.master.input(CASCADE, false);
    }

    fn read_slave(&mut self, a0: bool) -> u8 {
        if self.slave.poll {
            self.drop_int();
        }
        self.slave.read(a0, 0)
    }
}

/// The pair. Inputs 0 to 15 are IRQ 0 to 15 (2 is the cascade, so not there); output 0 is INTR.
#[derive(Debug, Default)]
pub struct I8259 {
    state: State,
}

// ---- processor side ----

impl I8259 {
    /// As after power-on.
    pub fn new() -> Self {
        let mut device = I8259::default();
        device.reset(0);
        device
    }

    /// The interrupt acknowledge cycles of the processor: the vector. A request that is gone in the
    /// meantime gives the spurious IR7 of the chip that should have answered.
    pub fn acknowledge(&mut self) -> u8 {
        let s = &mut self.state;
        let line = s.master.acknowledge(1 << CASCADE);
        let vector = if line == CASCADE {
            let line = s.slave.acknowledge(0);
            s.drop_int();
            s.slave.base | line
        } else {
            s.master.base | line
        };
        s.cascade();
        vector
    }
}

impl Device for I8259 {
    const NAME: &'static str = "i8259";
    const VERSION: u32 = 1;
    type Saved = saved::I8259V1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        let s = &mut self.state;
        read_bytes(offset, size, |at| {
            let value = match Reg::at(at).ok_or(NoRegister)? {
                Reg::MasterA0Low => s.master.read(false, 1 << CASCADE),
                Reg::MasterA0High => s.master.read(true, 1 << CASCADE),
                Reg::SlaveA0Low => s.read_slave(false),
                Reg::SlaveA0High => s.read_slave(true),
                Reg::Elcr1 => s.master.level,
                Reg::Elcr2 => s.slave.level,
            };
            s.cascade();
            Ok(value)
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        let s = &mut self.state;
        write_bytes(offset, size, value, |at, byte| {
            match Reg::at(at).ok_or(NoRegister)? {
                Reg::MasterA0Low => s.master.write(false, byte),
                Reg::MasterA0High => s.master.write(true, byte),
                Reg::SlaveA0Low => s.slave.write(false, byte),
                Reg::SlaveA0High => s.slave.write(true, byte),
                Reg::Elcr1 => s.master.set_level(byte & Elcr1::FIELDS as u8),
                Reg::Elcr2 => s.slave.set_level(byte & Elcr2::FIELDS as u8),
            }
            s.cascade();
            Ok(())
        })
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.master.request(1 << CASCADE).is_some())
    }

    fn outputs(&self) -> usize {
        1
    }

    fn input(&mut self, input: u32, high: bool) {
        let line = input as u8 & 7;
        match input {
            2 => {}
            0..8 => self.state.master.input(line, high),
            8..16 => self.state.slave.input(line, high),
            _ => {}
        }
        self.state.cascade();
    }

    fn reset(&mut self, _now: Nanos) {
        // The levels are driven from outside.
        let fresh = |chip: Chip| Chip { lines: chip.lines, lowest: 7, ..Chip::default() };
        self.state = State { master: fresh(self.state.master), slave: fresh(self.state.slave) };
        self.state.cascade();
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: Self::NAME };
        self.state = saved::into_state(saved).ok_or(damaged)?;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{CASCADE, Elcr1, Elcr2, State};
    use crate::i8259_chip::{Chip, Expect};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct I8259V1 {
        /// IRQ 0 to 7.
        pub master: ChipV1,
        /// IRQ 8 to 15.
        pub slave: ChipV1,
    }

    /// One chip.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ChipV1 {
        /// Levels at the inputs.
        pub lines: u8,
        /// Latched edges.
        pub edges: u8,
        /// ELCR.
        pub level: u8,
        /// ISR.
        pub isr: u8,
        /// IMR.
        pub imr: u8,
        /// Vector of IR0.
        pub base: u8,
        /// Input of lowest priority.
        pub lowest: u8,
        /// What a write with A0 = 1 is: 0 OCW1, 1 ICW2, 2 ICW3, 3 ICW4.
        pub expect: u8,
        /// ICW4 comes.
        pub ic4: bool,
        /// No ICW3 comes.
        pub single: bool,
        /// Automatic end of interrupt.
        pub aeoi: bool,
        /// Rotation with it.
        pub rotate: bool,
        /// Special fully nested mode.
        pub nested: bool,
        /// Special mask mode.
        pub special_mask: bool,
        /// The next read is a poll.
        pub poll: bool,
        /// Reads give ISR.
        pub read_isr: bool,
    }

    impl I8259V1 {
        /// Sets the master's input 2 to what the slave drives there, for states of implementations that keep no level of
        /// it. `None` if the slave is in no state that one could be in.
        pub fn settle_cascade(&mut self) -> Option<()> {
            let requests = into_chip(self.slave.clone(), Elcr2::FIELDS)?.request(0).is_some();
            for latch in [&mut self.master.lines, &mut self.master.edges] {
                *latch = *latch & !(1 << CASCADE) | u8::from(requests) << CASCADE;
            }
            Some(())
        }
    }

    fn from_chip(chip: &Chip) -> ChipV1 {
        let &Chip { lines, edges, level, isr, imr, base, lowest, expect, .. } = chip;
        let &Chip { ic4, single, aeoi, rotate, nested, special_mask, poll, read_isr, .. } = chip;
        let expect = match expect {
            Expect::Mask => 0,
            Expect::Vector => 1,
            Expect::Cascade => 2,
            Expect::Mode => 3,
        };
        ChipV1 {
            lines,
            edges,
            level,
            isr,
            imr,
            base,
            lowest,
            expect,
            ic4,
            single,
            aeoi,
            rotate,
            nested,
            special_mask,
            poll,
            read_isr,
        }
    }

    fn into_chip(saved: ChipV1, writable: u64) -> Option<Chip> {
        let ChipV1 {
            lines,
            edges,
            level,
            isr,
            imr,
            base,
            lowest,
            expect,
            ic4,
            single,
            aeoi,
            rotate,
            nested,
            special_mask,
            poll,
            read_isr,
        } = saved;
        let expect = match expect {
            0 => Expect::Mask,
            1 => Expect::Vector,
            2 => Expect::Cascade,
            3 => Expect::Mode,
            _ => return None,
        };
        // An edge may be latched though its line has fallen: here that does not come about, but in KVM's 8259s.
        let good = edges & level == 0 && u64::from(level) & !writable == 0 && base & 7 == 0 && lowest < 8;
        good.then_some(Chip {
            lines,
            edges,
            level,
            isr,
            imr,
            base,
            lowest,
            expect,
            ic4,
            single,
            aeoi,
            rotate,
            nested,
            special_mask,
            poll,
            read_isr,
        })
    }

    pub(super) fn from_state(state: &State) -> I8259V1 {
        let State { master, slave } = state;
        I8259V1 { master: from_chip(master), slave: from_chip(slave) }
    }

    /// `None` if no pair could be in such a state.
    pub(super) fn into_state(saved: I8259V1) -> Option<State> {
        let I8259V1 { master, slave } = saved;
        let state =
            State { master: into_chip(master, Elcr1::FIELDS)?, slave: into_chip(slave, Elcr2::FIELDS)? };
        let cascade = state.master.lines >> CASCADE & 1 != 0;
        (cascade == state.slave.request(0).is_some()).then_some(state)
    }
}

#[cfg(test)]
#[path = "i8259_test.rs"]
mod tests;
