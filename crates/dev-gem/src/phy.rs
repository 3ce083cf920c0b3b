//! The PHY at address 0: a gigabit one with nothing that clause 22 of IEEE 802.3 does not name, so that any driver for those
//! has it.

/// Registers of clause 22 (table 22-6).
mod reg {
    pub const CONTROL: u8 = 0;
    pub const STATUS: u8 = 1;
    pub const ID_1: u8 = 2;
    pub const ID_2: u8 = 3;
    pub const ADVERTISEMENT: u8 = 4;
    pub const PARTNER: u8 = 5;
    pub const EXPANSION: u8 = 6;
    pub const CONTROL_1000: u8 = 9;
    pub const STATUS_1000: u8 = 10;
    pub const EXTENDED_STATUS: u8 = 15;
}

const RESET: u16 = 1 << 15;
const NEGOTIATES: u16 = 1 << 12;
const POWER_DOWN: u16 = 1 << 11;
const ISOLATE: u16 = 1 << 10;
const RESTART: u16 = 1 << 9;
/// Auto-negotiation, 1000 Mbit/s, full duplex.
const CONTROL_RESET: u16 = 0x1140;
/// 100 and 10 Mbit/s in both duplexes, extended status, preambles may be left out, auto-negotiation, extended registers.
const STATUS: u16 = 0x7949;
const NEGOTIATED: u16 = 1 << 5;
const LINK: u16 = 1 << 2;
/// No manufacturer's that is known.
const ID: [u16; 2] = [0x4853, 0x5401];

/// Its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phy {
    pub control: u16,
    pub advertisement: u16,
    pub control_1000: u16,
}

impl Phy {
    /// As after its reset.
    pub const NEW: Phy = Phy { control: CONTROL_RESET, advertisement: 0x01e1, control_1000: 0x0300 };

    /// Whether it has a link, if there is a cable.
    fn link(self, cable: bool) -> bool {
        cable && self.control & (POWER_DOWN | ISOLATE) == 0
    }

    /// Reads a register; `cable`: there is another end.
    pub fn read(self, register: u8, cable: bool) -> u16 {
        let link = self.link(cable);
        let negotiated = link && self.control & NEGOTIATES != 0;
        let if_negotiated = |value| if negotiated { value } else { 0 };
        match register {
            reg::CONTROL => self.control,
            reg::STATUS => STATUS | if_negotiated(NEGOTIATED) | if link { LINK } else { 0 },
            reg::ID_1 => ID[0],
            reg::ID_2 => ID[1],
            reg::ADVERTISEMENT => self.advertisement,
            // All that there is, and what was sent has come.
            reg::PARTNER => if_negotiated(0xcde1),
            reg::EXPANSION => if_negotiated(0x000f),
            reg::CONTROL_1000 => self.control_1000,
            reg::STATUS_1000 => if_negotiated(0x3c00),
            reg::EXTENDED_STATUS => 0x3000,
            _ => 0,
        }
    }

    /// Writes a register.
    pub fn write(&mut self, register: u8, value: u16) {
        match register {
            reg::CONTROL if value & RESET != 0 => *self = Phy::NEW,
            reg::CONTROL => self.control = value & !(RESET | RESTART) & 0xffc0,
            reg::ADVERTISEMENT => self.advertisement = value,
            reg::CONTROL_1000 => self.control_1000 = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_link_is_the_cable() {
        let mut phy = Phy::NEW;
        assert_eq!((phy.read(1, true), phy.read(1, false)), (0x796d, 0x7949));
        assert_eq!((phy.read(10, true), phy.read(10, false)), (0x3c00, 0));
        phy.write(0, 0x1940);
        assert_eq!((phy.read(0, true), phy.read(1, true)), (0x1940, 0x7949), "powered down");
        phy.write(0, 0x9000);
        assert_eq!(phy, Phy::NEW);
        phy.write(0, 0x1340);
        assert_eq!(phy.read(0, true), 0x1140, "negotiation is over at once");
    }
}
