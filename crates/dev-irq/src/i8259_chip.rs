//! One 8259A: its command words, priorities and interrupt acknowledge. Two of them make the device.
//!
//! Source: Intel 8259A datasheet (231468-003, 1988); its headings are cited below.

use dev_core::registers;

registers! {
    /// Initialization and operation command words (figures 7 and 8); which one a write is depends on
    /// A0, on D4 and D3, and on what was written before.
    pub enum Word {
        0 Icw1 WO { ic4: 0..0, single: 1..1, adi: 2..2, ltim: 3..3, icw1: 4..4 }
        1 Icw2 WO { vector: 7..3 }
        2 Icw4 WO { upm: 0..0, aeoi: 1..1, buffered: 3..2, sfnm: 4..4 }
        3 Ocw2 WO { level: 2..0, command: 7..5 }
        4 Ocw3 WO { read: 1..0, poll: 2..2, ocw3: 3..3, special_mask: 6..5 }
    }
}

/// Which word a write with A0 = 1 is ("Initialization Command Words").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// OCW1, the mask.
    #[default]
    Mask,
    /// ICW2.
    Vector,
    /// ICW3.
    Cascade,
    /// ICW4.
    Mode,
}

/// A chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chip {
    /// Levels at IR7 to IR0.
    pub lines: u8,
    /// Requests of edge-triggered inputs: the line has risen, and is still high.
    pub edges: u8,
    /// ELCR: inputs that are level-triggered. On PC boards this stands in place of LTIM.
    pub level: u8,
    /// In-service register.
    pub isr: u8,
    /// Interrupt mask register.
    pub imr: u8,
    /// Vector of IR0.
    pub base: u8,
    /// The input of lowest priority.
    pub lowest: u8,
    /// What the next write with A0 = 1 is.
    pub expect: Expect,
    /// ICW1 said that ICW4 comes.
    pub ic4: bool,
    /// ICW1 said that there is no ICW3.
    pub single: bool,
    /// Automatic end of interrupt.
    pub aeoi: bool,
    /// Rotation in automatic end of interrupt mode.
    pub rotate: bool,
    /// Special fully nested mode.
    pub nested: bool,
    /// Special mask mode.
    pub special_mask: bool,
    /// The next read is a poll.
    pub poll: bool,
    /// Reads with A0 = 0 give ISR rather than IRR.
    pub read_isr: bool,
}

impl Chip {
    /// IRR: level-triggered inputs as they are, edge-triggered ones as latched.
    pub fn irr(&self) -> u8 {
        self.edges & !self.level | self.lines & self.level
    }

    /// Drives input `line`. A request whose line falls before it is acknowledged is gone
    /// ("Edge and Level Triggered Modes").
    pub fn input(&mut self, line: u8, high: bool) {
        let bit = 1u8.checked_shl(u32::from(line)).unwrap_or(0);
        if !high {
            self.lines &= !bit;
            self.edges &= !bit;
        } else if self.lines & bit == 0 {
            self.lines |= bit;
            self.edges |= bit & !self.level;
        }
    }

    /// Sets ELCR. An input that becomes edge-triggered waits for its next edge.
    pub fn set_level(&mut self, level: u8) {
        self.edges &= !(level | self.level);
        self.level = level;
    }

    /// The input of highest priority in `set`, and how far from the highest it is (0 to 7).
    fn highest(&self, set: u8) -> Option<(u8, u8)> {
        let first = (self.lowest + 1) & 7;
        let rank = set.rotate_right(u32::from(first)).trailing_zeros() as u8;
        (rank < 8).then_some(((first + rank) & 7, rank))
    }

    /// The request to serve, if INT is high: the highest one that is not masked and above what is in
    /// service. `cascade` are the inputs from slaves: in special fully nested mode, a slave's
    /// further requests are let through.
    pub fn request(&self, cascade: u8) -> Option<u8> {
        let (line, rank) = self.highest(self.irr() & !self.imr)?;
        let mut blocking = self.isr;
        if self.special_mask {
            blocking &= !self.imr;
        }
        if self.nested {
            blocking &= !cascade;
        }
        self.highest(blocking).is_none_or(|(_, served)| rank < served).then_some(line)
    }

    /// The interrupt acknowledge cycles: the input served. Without a request it is IR7, and nothing
    /// is in service ("the 8259A will issue an interrupt level 7").
    pub fn acknowledge(&mut self, cascade: u8) -> u8 {
        let Some(line) = self.request(cascade) else { return 7 };
        let bit = 1u8 << (line & 7);
        self.edges &= !bit;
        if self.aeoi {
            if self.rotate {
                self.lowest = line;
            }
        } else {
            self.isr |= bit;
        }
        line
    }

    /// Reads with this A0.
    pub fn read(&mut self, a0: bool, cascade: u8) -> u8 {
        if std::mem::take(&mut self.poll) {
            // "Poll Command": the read is the acknowledge; bit 7 tells whether there was a request.
            return match self.request(cascade) {
                Some(_) => 0x80 | self.acknowledge(cascade),
                None => 0,
            };
        }
        match (a0, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr(),
        }
    }

    /// Writes with this A0.
    pub fn write(&mut self, a0: bool, value: u8) {
        let word = u64::from(value);
        if a0 {
            self.write_a0(value);
        } else if Icw1::icw1(word) != 0 {
            self.initialize(value);
        } else if Ocw3::ocw3(word) != 0 {
            self.write_ocw3(word);
        } else {
            self.write_ocw2(word);
        }
    }

    /// ICW1: what "Initialization Command Words" lists under "a" to "f", and nothing in service.
    fn initialize(&mut self, value: u8) {
        let word = u64::from(value);
        let Chip { lines, level, .. } = *self;
        *self = Chip {
            lines,
            level,
            lowest: 7,
            expect: Expect::Vector,
            ic4: Icw1::ic4(word) != 0,
            single: Icw1::single(word) != 0,
            ..Chip::default()
        };
    }

    fn write_a0(&mut self, value: u8) {
        let word = u64::from(value);
        let last = if self.ic4 { Expect::Mode } else { Expect::Mask };
        self.expect = match self.expect {
            Expect::Mask => {
                self.imr = value;
                Expect::Mask
            }
            Expect::Vector => {
                self.base = value & Icw2::FIELDS as u8;
                if self.single { last } else { Expect::Cascade }
            }
            // Which inputs have slaves is how the board is wired.
            Expect::Cascade => last,
            // Without bit 0, an 8259A speaks to an MCS-80; no PC has one, so that changes nothing.
            Expect::Mode => {
                self.aeoi = Icw4::aeoi(word) != 0;
                self.nested = Icw4::sfnm(word) != 0;
                Expect::Mask
            }
        };
    }

    fn write_ocw3(&mut self, word: u64) {
        match Ocw3::special_mask(word) {
            2 => self.special_mask = false,
            3 => self.special_mask = true,
            _ => {}
        }
        self.poll = Ocw3::poll(word) != 0;
        // "If P = 1 and RR = 1, the poll command overrides."
        match Ocw3::read(word) {
            _ if self.poll => {}
            2 => self.read_isr = false,
            3 => self.read_isr = true,
            _ => {}
        }
    }

    fn write_ocw2(&mut self, word: u64) {
        let level = Ocw2::level(word) as u8;
        let bit = 1u8 << level;
        match Ocw2::command(word) {
            0b000 => self.rotate = false,
            0b100 => self.rotate = true,
            command @ (0b001 | 0b101) => {
                // "An IS bit that is masked by an IMR bit will not be cleared by a non-specific EOI
                // if the 8259A is in the Special Mask Mode."
                let candidates = if self.special_mask { self.isr & !self.imr } else { self.isr };
                if let Some((line, _)) = self.highest(candidates) {
                    self.isr &= !(1 << (line & 7));
                    if command == 0b101 {
                        self.lowest = line;
                    }
                }
            }
            0b011 => self.isr &= !bit,
            0b111 => {
                self.isr &= !bit;
                self.lowest = level;
            }
            0b110 => self.lowest = level,
            _ => {}
        }
    }
}
