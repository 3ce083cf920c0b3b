//! Numbers of named operations, by which the IR knows them. Operations of the system architecture have none: a translator
//! leaves their instructions to the interpreter.

use crate::{ArithmeticOp, Form, MemoryOp, Op, Repeat, StringOp};
use isa_core::Width;

/// Two bits.
const fn of_width(width: Width) -> u32 {
    match width {
        Width::B1 => 0,
        Width::B2 => 1,
        Width::B4 => 2,
        Width::B8 => 3,
    }
}

const fn to_width(bits: u32) -> Width {
    match bits & 3 {
        0 => Width::B1,
        1 => Width::B2,
        2 => Width::B4,
        _ => Width::B8,
    }
}

/// Nine bits.
const fn of_form(form: Form) -> u32 {
    let repeat = match form.repeat {
        Repeat::Once => 0,
        Repeat::Count => 1,
        Repeat::WhileEqual => 2,
        Repeat::WhileNotEqual => 3,
    };
    of_width(form.width) | of_width(form.address) << 2 | repeat << 4 | (form.segment as u32 & 7) << 6
}

const fn to_form(bits: u32) -> Form {
    let repeat = match bits >> 4 & 3 {
        0 => Repeat::Once,
        1 => Repeat::Count,
        2 => Repeat::WhileEqual,
        _ => Repeat::WhileNotEqual,
    };
    Form { width: to_width(bits), address: to_width(bits >> 2), segment: (bits >> 6 & 7) as u8, repeat }
}

impl Op {
    /// Its number: bits 15:10 say which, the others its parameters. `None` for an operation of the system architecture.
    pub const fn number(self) -> Option<u32> {
        let (which, parameters) = match self {
            Op::Arithmetic(ArithmeticOp::DivU(width)) => (0, of_width(width)),
            Op::Arithmetic(ArithmeticOp::DivS(width)) => (1, of_width(width)),
            Op::Arithmetic(ArithmeticOp::Crc32(width)) => (2, of_width(width)),
            Op::Arithmetic(ArithmeticOp::Deposit) => (3, 0),
            Op::Arithmetic(ArithmeticOp::Extract) => (4, 0),
            Op::Memory(MemoryOp::CompareExchange16) => (5, 0),
            Op::Memory(MemoryOp::Probe) => (6, 0),
            Op::Memory(MemoryOp::Pause) => (7, 0),
            Op::Memory(MemoryOp::Linear { segment, width, write }) => {
                (8, of_width(width) | (write as u32) << 2 | (segment as u32 & 7) << 3)
            }
            Op::Memory(MemoryOp::LoadForUpdate(width)) => (9, of_width(width)),
            Op::Memory(MemoryOp::CompareExchange(width)) => (10, of_width(width)),
            Op::Memory(MemoryOp::CheckTarget) => (11, 0),
            Op::Memory(MemoryOp::FaultIf) => (12, 0),
            Op::String(StringOp::Movs(form)) => (16, of_form(form)),
            Op::String(StringOp::Cmps(form)) => (17, of_form(form)),
            Op::String(StringOp::Scas(form)) => (18, of_form(form)),
            Op::String(StringOp::Lods(form)) => (19, of_form(form)),
            Op::String(StringOp::Stos(form)) => (20, of_form(form)),
            Op::System(_) => return None,
        };
        Some(which << 10 | parameters)
    }

    /// The operation with this number.
    pub const fn from_number(number: u32) -> Option<Op> {
        let (p, form) = (number & 0x3ff, to_form(number & 0x3ff));
        let op = match number >> 10 {
            0 => Op::Arithmetic(ArithmeticOp::DivU(to_width(p))),
            1 => Op::Arithmetic(ArithmeticOp::DivS(to_width(p))),
            2 => Op::Arithmetic(ArithmeticOp::Crc32(to_width(p))),
            3 => Op::Arithmetic(ArithmeticOp::Deposit),
            4 => Op::Arithmetic(ArithmeticOp::Extract),
            5 => Op::Memory(MemoryOp::CompareExchange16),
            6 => Op::Memory(MemoryOp::Probe),
            7 => Op::Memory(MemoryOp::Pause),
            8 => {
                let (segment, width, write) = ((p >> 3 & 7) as u8, to_width(p), p >> 2 & 1 != 0);
                Op::Memory(MemoryOp::Linear { segment, width, write })
            }
            9 => Op::Memory(MemoryOp::LoadForUpdate(to_width(p))),
            10 => Op::Memory(MemoryOp::CompareExchange(to_width(p))),
            11 => Op::Memory(MemoryOp::CheckTarget),
            12 => Op::Memory(MemoryOp::FaultIf),
            16 => Op::String(StringOp::Movs(form)),
            17 => Op::String(StringOp::Cmps(form)),
            18 => Op::String(StringOp::Scas(form)),
            19 => Op::String(StringOp::Lods(form)),
            20 => Op::String(StringOp::Stos(form)),
            _ => return None,
        };
        Some(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_there_and_back() {
        let mut there = 0;
        for number in 0..1 << 16 {
            let Some(op) = Op::from_number(number) else { continue };
            let canonical = op.number().expect("it has one");
            assert_eq!(Op::from_number(canonical), Some(op), "{number:#x}");
            there += usize::from(canonical == number);
        }
        // Divisions, CRCs; six without parameters and two more; segments; updates and exchanges; strings.
        assert_eq!(there, 3 * 4 + 7 + 64 + 2 * 4 + 5 * 512);
    }
}
