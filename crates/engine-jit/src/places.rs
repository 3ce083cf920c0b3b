//! What is known of values that are places in the code: where jumps go whose target was put together by several
//! instructions, and where calls come back to.

use isa_core::Bin;
use isa_ir::{Node, Value};
use isa_riscv::lift::X;

/// Which values and registers of a block hold a place in the code.
#[derive(Default)]
pub(crate) struct Places {
    values: Vec<Option<i64>>,
    registers: [Option<i64>; 32],
}

impl Places {
    /// How far from where offsets count a value is.
    pub fn at(&self, v: Value) -> Option<i64> {
        self.values.get(v.index()).copied().flatten()
    }

    pub fn clear(&mut self) {
        self.values.clear();
        self.registers = [None; 32];
    }

    /// Looks at the nodes that are new.
    pub fn look(&mut self, nodes: &[Node]) {
        for node in nodes.iter().skip(self.values.len()) {
            let constant = |v: Value| match nodes.get(v.index()) {
                Some(Node::Const(k)) => Some(*k as i64),
                _ => None,
            };
            let place = match *node {
                Node::Pc(k) => Some(k),
                Node::Get { class: X, index } => self.registers.get(usize::from(index)).copied().flatten(),
                Node::Bin { op: Bin::Add, a, b } => {
                    self.at(a).zip(constant(b)).map(|(a, b)| a.wrapping_add(b))
                }
                // The page begins at an even address.
                Node::Bin { op: Bin::And, a, b } if constant(b) == Some(!1) => self.at(a).map(|a| a & !1),
                _ => None,
            };
            match *node {
                Node::Set { class: X, index, v } => {
                    let place = self.at(v);
                    if let Some(register) = self.registers.get_mut(usize::from(index)) {
                        *register = place;
                    }
                }
                Node::Call { .. } => self.registers = [None; 32],
                _ => {}
            }
            self.values.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isa_core::Machine;
    use isa_ir::{Builder, Going, Limits, Parts};
    use isa_riscv::lift::{ISA, lift};
    use isa_riscv::{Features, Legal};

    /// Where the last of these instructions goes, if that is known.
    fn target(words: &[u32]) -> Option<i64> {
        let mut builder = Builder::new(&ISA, Limits::default());
        builder.begin_at(0x100);
        for word in words {
            lift(&mut builder, *word, &Legal::of(&Features::FULL), false).unwrap();
            if let Going::To(to) = builder.going()
                && word != words.last().unwrap()
            {
                let mut places = Places::default();
                places.look(builder.nodes());
                builder.follow(places.at(to).unwrap() as u32);
            }
        }
        let mut places = Places::default();
        places.look(builder.nodes());
        match builder.going() {
            Going::To(to) => places.at(to),
            _ => None,
        }
    }

    #[test]
    fn jumps_that_several_instructions_make_are_known() {
        // jal x0, 0x20
        assert_eq!(target(&[0x0200_006f]), Some(0x120));
        // auipc ra, 0; jalr ra, 0x41(ra): bit 0 does not count.
        assert_eq!(target(&[0x0000_0097, 0x0410_80e7]), Some(0x140));
        // jal ra, 0x20; ret
        assert_eq!(target(&[0x0200_00ef, 0x0000_8067]), Some(0x104));
        // jal ra, 0x20; ld ra, 0(sp); ret
        assert_eq!(target(&[0x0200_00ef, 0x0001_3083, 0x0000_8067]), None);
        // jalr ra, 0(ra): where it goes is what ra was before.
        assert_eq!(target(&[0x0000_80e7]), None);
    }

    #[test]
    fn an_operation_may_change_registers() {
        let mut builder = Builder::new(&ISA, Limits::default());
        builder.insn(4).unwrap();
        let pc = builder.pc();
        builder.set(X, 1, pc);
        let known = builder.get(X, 1);
        builder.operation(0, isa_ir::Effects::new(Parts::NONE, Parts::NONE, false), &[]);
        let unknown = builder.get(X, 1);
        let mut places = Places::default();
        places.look(builder.nodes());
        assert_eq!((places.at(known), places.at(unknown)), (Some(0), None));
    }
}
