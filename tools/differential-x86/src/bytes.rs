//! Random encodings of a row: a template from the decoder's table, filled with random bits and kept if the decoder finds
//! the row in it.

use crate::random::Random;
use crate::rows::Row;
use iced_x86::{EncodingKind, MandatoryPrefix, OpCodeInfo, OpCodeOperandKind as Kind, OpCodeTableKind};
use isa_x86::{Insn, LONGEST, Meaning, Mode, decode};

/// How an encoding of a row looks.
#[derive(Clone)]
pub struct Template {
    /// The row.
    pub row: Row,
    /// Whether the manual allows LOCK, with a destination in memory.
    pub lockable: bool,
    mandatory: Option<u8>,
    /// Bytes of the opcode, with its escapes (none for VEX).
    opcode: Vec<u8>,
    vex: Option<Vex>,
    /// The low three bits of the opcode are a register.
    register_in_opcode: bool,
    /// Bits 5:3 of the ModRM byte.
    group: Option<u8>,
    operand_size: u32,
    address_size: u32,
    /// REX.W makes no difference.
    any_w: bool,
    string: bool,
}

#[derive(Clone, Copy)]
struct Vex {
    map: u8,
    w: u8,
    prefix: u8,
}

/// Bytes one after the other; what does not fit is dropped.
struct Writer {
    bytes: [u8; 16],
    at: usize,
}

impl Writer {
    fn put(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.at) {
            *place = byte;
            self.at += 1;
        }
    }
}

/// An instruction.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    /// Its bytes, and more.
    pub bytes: [u8; 16],
    /// How many are its own.
    pub len: usize,
    /// Where an opcode ends, and the ModRM byte is if there is one.
    pub modrm: usize,
    /// Its meaning and operands.
    pub insn: (Meaning, Insn),
}

impl Encoded {
    /// Decodes the bytes again after a change.
    pub fn again(&mut self) {
        if let Ok(insn) = decode(&self.bytes[..LONGEST], Mode::Bits64) {
            self.insn = insn;
        }
    }
}

impl Template {
    /// The template of a row.
    pub fn new(row: Row) -> Template {
        let op = row.code.op_code();
        let legacy = op.encoding() == EncodingKind::Legacy;
        let map: &[u8] = match op.table() {
            OpCodeTableKind::T0F => &[0x0f],
            OpCodeTableKind::T0F38 => &[0x0f, 0x38],
            OpCodeTableKind::T0F3A => &[0x0f, 0x3a],
            _ => &[],
        };
        let mandatory = match op.mandatory_prefix() {
            MandatoryPrefix::P66 => Some(0x66),
            MandatoryPrefix::PF3 => Some(0xf3),
            MandatoryPrefix::PF2 => Some(0xf2),
            _ => None,
        };
        let vex = (!legacy).then(|| Vex {
            w: op.w() as u8,
            map: map.len() as u8 + u8::from(op.table() == OpCodeTableKind::T0F3A),
            prefix: match mandatory {
                Some(0x66) => 1,
                Some(0xf3) => 2,
                Some(_) => 3,
                None => 0,
            },
        });
        let own = op.op_code().to_be_bytes();
        let own = &own[4 - op.op_code_len().max(1) as usize..];
        let opcode = if legacy { [map, own].concat() } else { own.to_vec() };
        let is = |kinds: &[Kind]| op.op_kinds().iter().any(|kind| kinds.contains(kind));
        Template {
            row,
            lockable: op.can_use_lock_prefix(),
            mandatory: mandatory.filter(|_| legacy),
            opcode,
            vex,
            register_in_opcode: is(&[Kind::r8_opcode, Kind::r16_opcode, Kind::r32_opcode, Kind::r64_opcode]),
            group: u8::try_from(op.group_index()).ok(),
            operand_size: op.operand_size(),
            address_size: op.address_size(),
            any_w: any_w(op),
            string: is(&[Kind::seg_rSI, Kind::es_rDI, Kind::seg_rDI]),
        }
    }

    /// A random instruction of the row, with or without what is redundant. `None` if the dice are against it.
    pub fn instruction(&self, random: &mut Random) -> Option<Encoded> {
        (0..1000).find_map(|_| {
            let (bytes, modrm) = self.fill(random);
            let (meaning, insn) = decode(&bytes[..LONGEST], Mode::Bits64).ok()?;
            let len = usize::from(insn.length);
            (insn.code == self.row.code).then_some(Encoded { bytes, len, modrm, insn: (meaning, insn) })
        })
    }

    fn fill(&self, random: &mut Random) -> ([u8; 16], usize) {
        let mut to = Writer { bytes: [0; 16], at: 0 };
        self.prefixes(random, &mut to);
        let dice = random.bits();
        if let Some(vex) = &self.vex {
            to.put(0xc4);
            to.put((dice as u8 & 0xe0) | vex.map);
            to.put((dice >> 8) as u8 & 0x78 | vex.prefix | vex.w << 7);
        } else {
            let w = if self.any_w { dice as u8 & 8 } else { u8::from(self.operand_size == 64) << 3 };
            let rex = 0x40 | (dice >> 8) as u8 & 7 | w;
            if w != 0 && !self.any_w || dice >> 16 & 1 != 0 {
                to.put(rex);
            }
        }
        let (last, escapes) = self.opcode.split_last().unwrap_or((&0, &[]));
        escapes.iter().for_each(|&byte| to.put(byte));
        to.put(if self.register_in_opcode { last + (dice >> 24) as u8 % 8 } else { *last });
        let mut modrm = (dice >> 32) as u8;
        if dice >> 40 & 3 == 0 {
            modrm |= 0xc0;
        }
        if let Some(group) = self.group {
            modrm = modrm & !0x38 | group << 3;
        }
        let modrm_at = to.at;
        to.put(modrm);
        // SIB, displacement, immediate: sometimes all zeroes or ones.
        let rest = match dice >> 48 & 15 {
            0 => 0,
            1 => u64::MAX,
            _ => random.bits(),
        };
        rest.to_le_bytes().into_iter().for_each(|byte| to.put(byte));
        (to.bytes, modrm_at)
    }

    fn prefixes(&self, random: &mut Random, to: &mut Writer) {
        let dice = random.bits();
        let once_in = |n: u64, at: u32| (dice >> at).is_multiple_of(n);
        if once_in(16, 0) {
            // FS has a base of its own here; GS has base 0.
            to.put(random.pick(&[0x26, 0x2e, 0x36, 0x3e, 0x65]));
        }
        if self.operand_size == 16 && self.vex.is_none() || once_in(32, 5) && self.vex.is_none() {
            to.put(0x66);
        }
        if self.address_size == 32 || once_in(32, 12) {
            to.put(0x67);
        }
        if self.lockable && once_in(3, 20) {
            to.put(0xf0);
        }
        match self.mandatory {
            Some(prefix) => to.put(prefix),
            None if self.string && once_in(2, 30) => to.put(if once_in(2, 31) { 0xf2 } else { 0xf3 }),
            None if once_in(32, 40) && self.vex.is_none() => to.put(if once_in(2, 50) { 0xf2 } else { 0xf3 }),
            None => {}
        }
    }
}

/// Whether REX.W may be anything: where the operand size is always 8 bits, or 64.
fn any_w(op: &OpCodeInfo) -> bool {
    op.operand_size() == 0 || op.default_op_size64() || op.force_op_size64()
}
