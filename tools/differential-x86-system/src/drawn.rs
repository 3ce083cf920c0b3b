//! Random descriptors, selectors and gates.

use crate::layout::*;
pub use differential_core::Random;

/// What a case's tables and registers hold.
pub trait Drawn {
    /// A descriptor of any kind; mostly present, mostly flat.
    fn descriptor(&mut self) -> u64;
    /// A selector: of the fixed ones, of the drawn ones, with any RPL; sometimes null, in the LDT, or beyond.
    fn selector(&mut self) -> u16;
    /// One for SS: not null, which QEMU takes with any RPL and for compatibility mode.
    fn stack_selector(&mut self) -> u16;
    /// A gate of the interrupt table.
    fn gate(&mut self) -> [u64; 2];
}

impl Drawn for Random {
    fn descriptor(&mut self) -> u64 {
        let kind = match self.below(32) {
            // Types of 16-bit code, which long mode does not have; QEMU's LAR and LSL still know them.
            1 | 3 | 4 | 5 => 8,
            kind => kind,
        };
        let dpl = self.pick(&[0, 0, 3, 3, 1, 2]);
        // Not L and D at once: that is #GP, which QEMU leaves out.
        let flags = self.pick(&[0xa, 0xc, 0x8, 0x2, 0x4, 0]);
        // Which comes first for a gate to code that is neither present nor of 64 bits, the manual does not say.
        let always = kind >= 0x18 && flags & 2 == 0;
        let present = u64::from(always || self.chance(90));
        let access = kind | dpl << 5 | present << 7;
        if kind == 0xc {
            // A call gate, to the case's own second half or thereabouts.
            let selector = self.selector();
            return 0x80 | u64::from(selector) << 16 | access << 40 | (CASES >> 16) << 48;
        }
        // Code is as long as can be: QEMU does not check the limit where far returns lead.
        let limit = if kind >= 0x18 { 0xf_ffff } else { self.pick(&[0xf_ffffu64, 0xf_ffff, 0x67, 0xfff]) };
        let flags = if kind >= 0x18 { flags | 8 } else { flags };
        limit & 0xffff | access << 40 | (limit >> 16 | flags << 4) << 48
    }

    fn selector(&mut self) -> u16 {
        let rpl = self.pick(&[0, 0, 3, 3, 1, 2]);
        let index = match self.below(10) {
            0 => 0,
            1 => 0x100,
            2 => return self.below(8) as u16 * 8 + 4 + rpl,
            3..=5 => {
                self.pick(&[KERNEL_CODE, KERNEL_DATA, USER_CODE32, USER_DATA, USER_CODE, CODE32, TASK]) & !7
            }
            _ => RANDOM + 8 * self.below(23) as u16,
        };
        index | rpl
    }

    fn stack_selector(&mut self) -> u16 {
        loop {
            let selector = self.selector();
            if selector > 3 {
                return selector;
            }
        }
    }

    fn gate(&mut self) -> [u64; 2] {
        let kind = self.pick(&[0xe, 0xf, 0xe, 0xf, 0xe, 0xf, 5, 6, 0xc, 0]);
        let dpl = self.pick(&[0, 3, 3, 3]);
        let present = u64::from(self.chance(85));
        let ist = self.pick(&[0, 0, 1]);
        let selector = if self.chance(40) { KERNEL_CODE } else { self.selector() };
        let offset = HANDLERS + 32 * u64::from(DONE);
        [
            offset & 0xffff | u64::from(selector) << 16 | (ist | (kind | dpl << 5 | present << 7) << 8) << 32,
            // Not an address that is not canonical: there QEMU faults only when it has switched stacks.
            0,
        ]
    }
}
