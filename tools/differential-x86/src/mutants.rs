//! Wrong meanings planted on purpose: a comparison that does not notice them proves nothing.
//!
//! A mutant meddles with what an instruction has left, as if the meaning had been written wrong. Each stands for a kind of
//! mistake.

use crate::batch::{Bench, Seen};
use crate::explained;
use hostcpu::{DATA, RAX, RCX, RDI, RDX, RSI, RSP, Regs};
use iced_x86::Mnemonic;
use isa_core::Width;
use isa_x86::{Fault, Insn, Operand, rflags, vector};

use isa_x86::testkit::TestMachine;

/// The machine after an instruction that has completed, and what there was before.
struct After<'a> {
    before: &'a Regs,
    machine: &'a mut TestMachine,
    insn: &'a Insn,
}

/// What is done wrong.
enum Wrong {
    /// After an instruction that has completed.
    Left(fn(&mut After<'_>)),
    /// In an exception.
    Exception(fn(&mut Fault)),
}

/// One planted mistake.
struct Mutant {
    about: &'static str,
    mnemonics: &'static [Mnemonic],
    wrong: Wrong,
}

/// The most batches for each row that a mutant may survive.
const BATCHES: u64 = 200;

impl After<'_> {
    fn clear(&mut self, flags: u64) {
        let now = self.machine.state.rflags();
        self.machine.state.set_rflags(now & !flags);
    }

    fn set(&mut self, flags: u64) {
        let now = self.machine.state.rflags();
        self.machine.state.set_rflags(now | flags);
    }

    /// The destination, if it is a register: what it was, and its place.
    fn destination(&mut self) -> Option<(u64, &mut u64)> {
        match self.insn.operands[0] {
            Operand::Reg(reg) => {
                let n = usize::from(reg.n);
                Some((self.before.gpr[n], &mut self.machine.state.gpr[n]))
            }
            _ => None,
        }
    }

    fn keep_upper_half(&mut self) {
        if self.insn.width == Width::B4
            && let Some((before, now)) = self.destination()
        {
            *now |= before & !0xffff_ffff;
        }
    }
}

use Mnemonic as M;
use Wrong::{Exception, Left};

#[rustfmt::skip]
const ALL: &[Mutant] = &[
    Mutant { about: "add loses OF", mnemonics: &[M::Add], wrong: Left(|a| a.clear(rflags::OF)) },
    Mutant { about: "adc forgets the carry", mnemonics: &[M::Adc], wrong: Left(|a| {
        let carry = a.before.rflags & 1;
        if let Some((_, now)) = a.destination() { *now = now.wrapping_sub(carry) }
    }) },
    Mutant { about: "sbb loses AF", mnemonics: &[M::Sbb], wrong: Left(|a| a.clear(rflags::AF)) },
    Mutant { about: "cmp has PF of all bits", mnemonics: &[M::Cmp], wrong: Left(|a| a.clear(rflags::PF)) },
    Mutant { about: "inc clears CF", mnemonics: &[M::Inc], wrong: Left(|a| a.clear(rflags::CF)) },
    Mutant { about: "neg of 0 sets CF", mnemonics: &[M::Neg], wrong: Left(|a| a.set(rflags::CF)) },
    Mutant { about: "xor does not clear OF", mnemonics: &[M::Xor], wrong: Left(|a| {
        let before = a.before.rflags & rflags::OF;
        a.set(before);
    }) },
    Mutant { about: "mov of 32 bits keeps the upper half", mnemonics: &[M::Mov], wrong: Left(|a| a.keep_upper_half()) },
    Mutant { about: "cmov that does not move keeps the upper half", mnemonics: &[M::Cmove, M::Cmovl], wrong: Left(|a| a.keep_upper_half()) },
    Mutant { about: "movsx extends with zeroes", mnemonics: &[M::Movsx], wrong: Left(|a| {
        let mask = a.insn.source.mask();
        if let Some((_, now)) = a.destination() { *now &= mask }
    }) },
    Mutant { about: "lea forgets the address size", mnemonics: &[M::Lea], wrong: Left(|a| {
        let wide = a.insn.mem.address == Width::B4 && a.insn.width == Width::B8;
        if let Some((_, now)) = a.destination().filter(|_| wide) { *now |= 1 << 32 }
    }) },
    Mutant { about: "shl by 0 changes the flags", mnemonics: &[M::Shl], wrong: Left(|a| {
        if a.before.gpr[RCX] & 0x1f == 0 { a.clear(rflags::ZF | rflags::CF) }
    }) },
    Mutant { about: "sar shifts in zeroes", mnemonics: &[M::Sar], wrong: Left(|a| {
        let top = 1 << (8 * a.insn.width.bytes() - 1);
        if let Some((_, now)) = a.destination().filter(|(before, now)| before != *now && before & top != 0) { *now &= !top }
    }) },
    Mutant { about: "rcr loses the carry", mnemonics: &[M::Rcr], wrong: Left(|a| a.clear(rflags::CF)) },
    Mutant { about: "rol by the width leaves CF", mnemonics: &[M::Rol], wrong: Left(|a| {
        let count = match a.insn.operands[1] { Operand::Imm => a.insn.imm, _ => a.before.gpr[RCX] } & 31;
        if count != 0 && count % (8 * a.insn.width.bytes()) == 0 {
            let before = a.before.rflags & rflags::CF;
            a.clear(rflags::CF);
            a.set(before);
        }
    }) },
    Mutant { about: "shld takes the wrong bits", mnemonics: &[M::Shld], wrong: Left(|a| {
        let fine = a.before.gpr[RCX] & 31 > 1 && a.before.gpr[RCX] & 31 < 16;
        if let Some((before, now)) = a.destination().filter(|_| fine) { *now ^= u64::from(before != *now) }
    }) },
    Mutant { about: "imul does not set OF", mnemonics: &[M::Imul], wrong: Left(|a| a.clear(rflags::OF)) },
    Mutant { about: "idiv has a positive remainder", mnemonics: &[M::Idiv], wrong: Left(|a| {
        let rdx = &mut a.machine.state.gpr[RDX];
        if a.insn.width == Width::B8 && (*rdx as i64) < 0 { *rdx = rdx.wrapping_neg() }
    }) },
    Mutant { about: "bts finds the bit clear", mnemonics: &[M::Bts], wrong: Left(|a| a.clear(rflags::CF)) },
    Mutant { about: "bsf of 0 gives 0", mnemonics: &[M::Bsf], wrong: Left(|a| {
        let none = a.machine.state.rflags() & rflags::ZF != 0;
        if let Some((_, now)) = a.destination().filter(|_| none) { *now = 0 }
    }) },
    Mutant { about: "tzcnt of 0 is one too few", mnemonics: &[M::Tzcnt], wrong: Left(|a| {
        let none = a.machine.state.rflags() & rflags::CF != 0;
        if let Some((_, now)) = a.destination().filter(|_| none) { *now -= 1 }
    }) },
    Mutant { about: "popcnt leaves PF", mnemonics: &[M::Popcnt], wrong: Left(|a| {
        let before = a.before.rflags & rflags::PF;
        a.set(before);
    }) },
    Mutant { about: "pext fills from the top", mnemonics: &[M::Pext], wrong: Left(|a| {
        if let Some((_, now)) = a.destination() { *now = now.reverse_bits() }
    }) },
    Mutant { about: "bzhi loses CF", mnemonics: &[M::Bzhi], wrong: Left(|a| a.clear(rflags::CF)) },
    Mutant { about: "adox changes CF", mnemonics: &[M::Adox], wrong: Left(|a| a.clear(rflags::CF)) },
    Mutant { about: "cmpxchg leaves RAX", mnemonics: &[M::Cmpxchg], wrong: Left(|a| a.machine.state.gpr[RAX] = a.before.gpr[RAX]) },
    Mutant { about: "cmpxchg16b leaves ZF", mnemonics: &[M::Cmpxchg16b], wrong: Left(|a| a.clear(rflags::ZF)) },
    Mutant { about: "setl is sets", mnemonics: &[M::Setl], wrong: Left(|a| {
        let sign = a.before.rflags >> 7 & 1;
        if let Some((_, now)) = a.destination() { *now = *now & !1 | sign }
    }) },
    Mutant { about: "jle ignores ZF", mnemonics: &[M::Jle], wrong: Left(|a| {
        if a.before.rflags & rflags::ZF != 0 { a.machine.state.rip = a.before.rip + u64::from(a.insn.length) }
    }) },
    Mutant { about: "loop counts CX", mnemonics: &[M::Loop], wrong: Left(|a| {
        let before = a.before.gpr[RCX];
        a.machine.state.gpr[RCX] = before & !0xffff | before.wrapping_sub(1) & 0xffff;
    }) },
    Mutant { about: "push rsp pushes what RSP becomes", mnemonics: &[M::Push], wrong: Left(|a| {
        let own = matches!(a.insn.operands[0], Operand::Reg(reg) if usize::from(reg.n) == RSP);
        let rsp = a.machine.state.gpr[RSP];
        let at = rsp.wrapping_sub(DATA) as usize;
        if let Some(bytes) = a.machine.data.get_mut(at..at + 8).filter(|_| own) { bytes.copy_from_slice(&rsp.to_le_bytes()) }
    }) },
    Mutant { about: "call pushes its own address", mnemonics: &[M::Call], wrong: Left(|a| {
        let at = a.machine.state.gpr[RSP].wrapping_sub(DATA) as usize;
        if let Some(byte) = a.machine.data.get_mut(at) { *byte = byte.wrapping_sub(a.insn.length) }
    }) },
    Mutant { about: "movs goes up with DF set", mnemonics: &[M::Movsb, M::Movsq], wrong: Left(|a| {
        if a.before.rflags & rflags::DF != 0 {
            for n in [RSI, RDI] {
                let before = a.before.gpr[n];
                a.machine.state.gpr[n] = before.wrapping_add(before).wrapping_sub(a.machine.state.gpr[n]);
            }
        }
    }) },
    Mutant { about: "scas stops one too late", mnemonics: &[M::Scasb], wrong: Left(|a| {
        let rcx = &mut a.machine.state.gpr[RCX];
        if *rcx != a.before.gpr[RCX] && *rcx != 0 { *rcx -= 1 }
    }) },
    Mutant { about: "cmps compares the other way round", mnemonics: &[M::Cmpsd], wrong: Left(|a| {
        if a.before.gpr[RCX] != a.machine.state.gpr[RCX] { a.machine.state.set_rflags(a.machine.state.rflags() ^ rflags::CF) }
    }) },
    Mutant { about: "crc32 takes the ordinary polynomial", mnemonics: &[M::Crc32], wrong: Left(|a| {
        if let Some((_, now)) = a.destination() { *now ^= 0x82f6_3b78 ^ 0xedb8_8320 }
    }) },
    Mutant { about: "a fault of read-modify-write says read", mnemonics: &[M::Add, M::Shl, M::Bts], wrong: Exception(|fault| {
        if let (vector::PF, Some(error)) = (fault.vector, &mut fault.error) { *error &= !2 }
    }) },
    Mutant { about: "an address in SS raises #GP", mnemonics: &[M::Mov, M::Push], wrong: Exception(|fault| {
        if fault.vector == vector::SS { fault.vector = vector::GP }
    }) },
    Mutant { about: "CR2 is the page", mnemonics: &[M::Movzx], wrong: Exception(|fault| {
        fault.address = fault.address.map(|address| address & !0xfff);
    }) },
];

impl Mutant {
    fn meddle(&self, before: &Regs, machine: &mut TestMachine, insn: &Insn, ours: &mut Result<(), Fault>) {
        match (&self.wrong, ours) {
            (Left(wrong), Ok(())) => wrong(&mut After { before, machine, insn }),
            (Exception(wrong), Err(fault)) => wrong(fault),
            _ => {}
        }
    }
}

/// Plants every mistake that the rows can have; true if there was one, each was caught, and nothing is wrong without.
pub fn run(mut bench: Bench, seed: u64) -> bool {
    let templates = std::mem::take(&mut bench.templates);
    let (mut planted, mut survivors) = (0, 0);
    for mutant in ALL {
        let own = |t: &&crate::bytes::Template| mutant.mnemonics.contains(&t.row.code.mnemonic());
        bench.templates = templates.iter().filter(own).cloned().collect();
        if bench.templates.is_empty() {
            println!("skipped: {}: no such row here", mutant.about);
            continue;
        }
        planted += 1;
        if cases(&mut bench, seed, None).is_some() {
            println!("WRONG WITHOUT IT: {}", mutant.about);
            survivors += 1;
            continue;
        }
        match cases(&mut bench, seed, Some(mutant)) {
            Some(cases) => println!("caught after {cases:>6} cases: {}", mutant.about),
            None => {
                survivors += 1;
                println!("NOT CAUGHT: {}", mutant.about);
            }
        }
    }
    println!("mutants: {planted} planted, {survivors} not caught, seed {seed}");
    planted != 0 && survivors == 0
}

/// After how many cases there is a difference, if there is one.
fn cases(bench: &mut Bench, seed: u64, mutant: Option<&Mutant>) -> Option<u64> {
    let mut seen = vec![Seen::default(); bench.templates.len()];
    let (mut cases, mut caught) = (0, false);
    let meddler = |before: &Regs, machine: &mut TestMachine, insn: &Insn, ours: &mut Result<(), Fault>| {
        if let Some(mutant) = mutant {
            mutant.meddle(before, machine, insn, ours);
        }
    };
    for number in 0..BATCHES {
        bench.run(seed, number, &mut seen, Some(&meddler), |case, sides, _| {
            cases += 1;
            caught = !sides.agree() && explained::explain(case, sides).is_none();
            !caught
        });
        if caught {
            return Some(cases);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_are_of_rows_that_exist() {
        for mutant in ALL {
            for mnemonic in mutant.mnemonics {
                assert!(isa_x86::Meaning::of_mnemonic(*mnemonic).is_some(), "{}", mutant.about);
            }
        }
    }
}
