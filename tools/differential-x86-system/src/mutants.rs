//! Mistakes planted on purpose: a comparison that does not notice them proves nothing.
//!
//! A mutant meddles with what an instruction or an exception of a case has left, as if it were done wrong. Each stands
//! for a kind of mistake.

use crate::layout::*;
use crate::record::{self, SIZE};
use crate::rom::Rom;
use crate::run::{self, Ours};
use anyhow::Result;
use fabric_ram::GuestRam;
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use isa_x86::{State, rflags, seg, vector};

/// After what a mistake is made.
enum Where {
    /// Instructions that have completed: that have not led to a handler, but for the one that ends a case.
    Behind(&'static [Mnemonic]),
    /// Exceptions, once delivered.
    Delivered(u8),
}

/// A step: the state before and after it, and memory.
struct Step<'a> {
    before: &'a State,
    after: &'a mut State,
    ram: &'a GuestRam,
}

/// One planted mistake.
struct Mutant {
    about: &'static str,
    after: Where,
    wrong: fn(&mut Step<'_>),
}

/// ROMs that a mutant may survive.
const ROMS: u64 = 2;

impl Step<'_> {
    fn change_flags(&mut self, f: impl FnOnce(u64) -> u64) {
        let now = self.after.rflags();
        self.after.set_rflags(f(now));
    }

    fn change_word(&mut self, at: u64, f: impl FnOnce(u64) -> u64) {
        let mut bytes = [0; 8];
        // What is no memory is left alone: then nothing is wrong.
        if self.ram.copy_out(at, &mut bytes).is_some() {
            let _ = self.ram.copy_in(at, &f(u64::from_le_bytes(bytes)).to_le_bytes());
        }
    }

    /// The error code of an exception that has just been delivered.
    fn change_error(&mut self, f: impl FnOnce(u64) -> u64) {
        self.change_word(self.after.gpr[4], f);
    }
}

use Mnemonic as M;
use Where::{Behind, Delivered};

#[rustfmt::skip]
const ALL: &[Mutant] = &[
    Mutant { about: "a segment load does not mark its descriptor", after: Behind(&[M::Mov]), wrong: |s| {
        let loaded = (0..6).find(|&n| s.before.segments[n].selector != s.after.segments[n].selector);
        let selector = loaded.map_or(0, |n| s.after.segments[n].selector);
        if selector & 4 == 0 && selector >= RANDOM { s.change_word(GDT + u64::from(selector & !7), |d| d & !(1 << 40)) }
    } },
    Mutant { about: "verr and verw leave ZF", after: Behind(&[M::Verr, M::Verw]), wrong: |s| {
        let before = s.before.rflags() & rflags::ZF;
        s.change_flags(|flags| flags & !rflags::ZF | before);
    } },
    Mutant { about: "lsl forgets the granularity", after: Behind(&[M::Lsl]), wrong: |s| {
        if s.after.gpr[3] as u32 == u32::MAX { s.after.gpr[3] = 0xf_ffff }
    } },
    Mutant { about: "syscall leaves the flags that the mask names", after: Behind(&[M::Syscall]), wrong: |s| {
        let before = s.before.rflags() & rflags::IF;
        s.change_flags(|flags| flags | before);
    } },
    Mutant { about: "syscall leaves RCX", after: Behind(&[M::Syscall]), wrong: |s| s.after.gpr[1] = s.before.gpr[1] },
    Mutant { about: "sysexit leaves RSP", after: Behind(&[M::Sysexit, M::Sysexitq]), wrong: |s| s.after.gpr[4] = s.before.gpr[4] },
    Mutant { about: "swapgs exchanges nothing", after: Behind(&[M::Swapgs]), wrong: |s| {
        (s.after.segments[5].base, s.after.msrs.kernel_gs_base) = (s.before.segments[5].base, s.before.msrs.kernel_gs_base);
    } },
    Mutant { about: "popf changes IF beyond IOPL", after: Behind(&[M::Popfq]), wrong: |s| {
        if s.after.segments[usize::from(seg::CS)].selector & 3 == 3 && s.before.rflags() >> 12 & 3 != 3 { s.change_flags(|flags| flags ^ rflags::IF) }
    } },
    Mutant { about: "lmsw changes WP", after: Behind(&[M::Lmsw]), wrong: |s| s.after.cr0 ^= 1 << 16 },
    Mutant { about: "a far return of 32 bits keeps RSP", after: Behind(&[M::Retf]), wrong: |s| s.after.gpr[4] = s.before.gpr[4] },
    Mutant { about: "iret leaves SS", after: Behind(&[M::Iretd]), wrong: |s| {
        s.after.segments[2].selector = s.before.segments[2].selector;
    } },
    Mutant { about: "an interrupt gate leaves IF", after: Behind(&[M::Int]), wrong: |s| {
        let before = s.before.rflags() & rflags::IF;
        s.change_flags(|flags| flags | before);
    } },
    Mutant { about: "a load sets D", after: Behind(&[M::Mov]), wrong: |s| {
        let loaded = s.before.gpr[3] != s.after.gpr[3] && s.after.gpr[3] == 0xcccc_cccc_cccc_cccc;
        if loaded { s.change_word(PT + (PAGE >> 12) * 8, |entry| entry | 0x40) }
    } },
    Mutant { about: "CR2 is the page", after: Delivered(vector::PF), wrong: |s| s.after.cr2 &= !0xfff },
    Mutant { about: "a page fault does not say user", after: Delivered(vector::PF), wrong: |s| s.change_error(|error| error & !4) },
    Mutant { about: "#GP does not name the selector", after: Delivered(vector::GP), wrong: |s| s.change_error(|_| 0) },
    Mutant { about: "#NP is #GP", after: Delivered(vector::NP), wrong: |s| s.after.rip = HANDLERS + 32 * u64::from(vector::GP) },
];

impl Mutant {
    fn meddle(&self, before: &State, after: &mut State, ram: &GuestRam) {
        let handler = (HANDLERS..DRIVER).contains(&after.rip).then(|| (after.rip - HANDLERS) / 32);
        let its_own = match self.after {
            Delivered(vector) => handler == Some(vector.into()),
            Behind(mnemonics) => {
                let mut code = [0; 15];
                let there = ram.copy_out(before.rip, &mut code).is_some();
                let insn = Decoder::new(64, &code, DecoderOptions::NONE).decode();
                let completed = handler.is_none_or(|n| n == u64::from(DONE) && insn.mnemonic() == M::Int);
                there && completed && mnemonics.contains(&insn.mnemonic())
            }
        };
        if its_own {
            (self.wrong)(&mut Step { before, after, ram });
        }
    }
}

/// Plants every mistake; true if each was caught, and nothing is wrong without one.
///
/// # Errors
/// If a side cannot be run.
pub fn run(seed: u64) -> Result<bool> {
    let mut roms = Vec::new();
    for number in 0..ROMS {
        let rom = Rom::new(seed.wrapping_add(number))?;
        let theirs = run::qemu(&rom.bytes, rom.cases.len())?;
        roms.push((rom, theirs));
    }
    if let Some(cases) = caught(&roms, &|_, _, _| {})? {
        println!("WRONG WITHOUT A MISTAKE: case {cases}");
        return Ok(false);
    }
    let mut survivors = 0;
    for mutant in ALL {
        match caught(&roms, &|before, after, ram| mutant.meddle(before, after, ram))? {
            Some(cases) => println!("caught after {cases:>6} cases: {}", mutant.about),
            None => {
                survivors += 1;
                println!("NOT CAUGHT: {}", mutant.about);
            }
        }
    }
    println!("mutants: {} planted, {survivors} not caught, seed {seed}", ALL.len());
    Ok(survivors == 0)
}

/// After how many cases there is a difference, if there is one. A case that does not get to its end is one.
fn caught(roms: &[(Rom, Vec<u8>)], meddler: run::Meddler<'_>) -> Result<Option<usize>> {
    let mut before = 0;
    for (rom, theirs) in roms {
        let mut ours = Ours::new(&rom.bytes)?;
        for (n, (case, theirs)) in rom.cases.iter().zip(theirs.chunks_exact(SIZE)).enumerate() {
            let same = ours.step_to(n, meddler).is_some_and(|ours| record::agree(case, &ours, theirs));
            if !same {
                return Ok(Some(before + n + 1));
            }
        }
        before += rom.cases.len();
    }
    Ok(None)
}
