//! Conditional jumps, moves and bytes: SDM volume 2, "Jcc", "CMOVcc", "SETcc".

use crate::sem::{Done, place, read, read_reg, write, write_reg};
use crate::sem_branch::target;
use crate::{Insn, Operand, X86Machine};
use isa_core::{Condition, Width};

#[inline(always)]
fn jump<M: X86Machine>(m: &mut M, i: &Insn, condition: Condition) -> Done<M> {
    let taken = m.condition(condition);
    let target = target(m, i)?;
    m.jump_if(taken, target)
}

/// The operand is read, and the destination written, in either case.
#[inline(always)]
fn copy<M: X86Machine>(m: &mut M, i: &Insn, condition: Condition) -> Done<M> {
    let [Operand::Reg(to), from, ..] = i.operands else { return Ok(()) };
    let new = read(m, i, from, i.width)?;
    let (old, holds) = (read_reg(m, i.width, to), m.condition(condition));
    let v = m.select(holds, new, old);
    write_reg(m, i.width, to, v);
    Ok(())
}

#[inline(always)]
fn byte<M: X86Machine>(m: &mut M, i: &Insn, condition: Condition) -> Done<M> {
    let [to, ..] = i.operands;
    let holds = m.condition(condition);
    let to = place(m, i, to, Width::B1)?;
    write(m, Width::B1, to, holds)
}

macro_rules! conditional {
    ($( $condition:ident: $jump:ident $copy:ident $byte:ident )*) => {
        $(
            #[doc = concat!("`", stringify!($jump), "`")]
            pub fn $jump<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
                jump(m, i, Condition::$condition)
            }

            #[doc = concat!("`", stringify!($copy), "`")]
            pub fn $copy<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
                copy(m, i, Condition::$condition)
            }

            #[doc = concat!("`", stringify!($byte), "`")]
            pub fn $byte<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
                byte(m, i, Condition::$condition)
            }
        )*
    };
}

conditional! {
    Overflow: jo cmovo seto
    NoOverflow: jno cmovno setno
    Below: jb cmovb setb
    AboveOrEqual: jae cmovae setae
    Equal: je cmove sete
    NotEqual: jne cmovne setne
    BelowOrEqual: jbe cmovbe setbe
    Above: ja cmova seta
    Sign: js cmovs sets
    NoSign: jns cmovns setns
    Parity: jp cmovp setp
    NoParity: jnp cmovnp setnp
    Less: jl cmovl setl
    GreaterOrEqual: jge cmovge setge
    LessOrEqual: jle cmovle setle
    Greater: jg cmovg setg
}
