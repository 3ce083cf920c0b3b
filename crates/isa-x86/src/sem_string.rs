//! String instructions: each is one named operation. SDM volume 2, each under its mnemonic.

use crate::ops_string::{Form, Repeat, StringOp};
use crate::sem::Done;
use crate::{Insn, Op, X86Machine};
use isa_core::Width;

fn string<M: X86Machine>(
    m: &mut M,
    i: &Insn,
    width: Width,
    compares: bool,
    op: fn(Form) -> StringOp,
) -> Done<M> {
    let repeat = match (i.prefixes.rep, i.prefixes.repne, compares) {
        (false, false, _) => Repeat::Once,
        (_, _, false) => Repeat::Count,
        (true, _, true) => Repeat::WhileEqual,
        (false, true, true) => Repeat::WhileNotEqual,
    };
    let form = Form { width, address: i.address, segment: i.mem.segment, repeat };
    let none = m.imm(0);
    m.call(Op::String(op(form)), [none; 4])?;
    Ok(())
}

macro_rules! strings {
    ($( $op:ident $compares:literal: $( $name:ident $width:ident )* ; )*) => {
        $( $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub fn $name<M: X86Machine>(m: &mut M, i: &Insn) -> Done<M> {
                string(m, i, Width::$width, $compares, StringOp::$op)
            }
        )* )*
    };
}

strings! {
    Movs false: movsb B1 movsw B2 movsd B4 movsq B8;
    Cmps true: cmpsb B1 cmpsw B2 cmpsd B4 cmpsq B8;
    Scas true: scasb B1 scasw B2 scasd B4 scasq B8;
    Lods false: lodsb B1 lodsw B2 lodsd B4 lodsq B8;
    Stos false: stosb B1 stosw B2 stosd B4 stosq B8;
}
