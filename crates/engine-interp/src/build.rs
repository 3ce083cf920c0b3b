//! Finding a block by physical address, and decoding it if it is not there.

use crate::blocks::{Block, Blocks, Op, Place, Span};
use crate::cpu::Cpu;
use crate::handlers;
use isa_riscv::{AccessKind, Exception, Insn, Legal, ROWS, Trap, args, rows::flag};

/// The most ops in a block.
pub(crate) const LONGEST: usize = 64;

const PAGE: u64 = engine_mmu::PAGE_MASK + 1;

/// Where code comes from: a page of memory.
#[derive(Clone, Copy)]
struct Source {
    /// Offset in the arena.
    arena: u64,
    /// Guest-physical address, if a device overlays part of the page or PMP allows only part of it:
    /// then every halfword must be asked for.
    parts: Option<u64>,
}

impl Source {
    /// Where fetches of `va` go.
    fn of(cpu: &mut Cpu, va: u64) -> Result<Source, Trap> {
        if let Some(arena) = cpu.fetch.find(cpu.code, va) {
            return Ok(Source { arena, parts: None });
        }
        let place = cpu.translate(va, 2, AccessKind::Fetch)?;
        let arena = place.ram.ok_or(fault(va))?;
        Ok(Source { arena, parts: (!place.whole).then_some(place.address) })
    }

    /// The halfword `offset` bytes on, in the same page.
    #[inline]
    fn halfword(&self, cpu: &Cpu, offset: u64) -> Option<u16> {
        if let Some(address) = self.parts {
            let address = address + offset;
            if !cpu.bus.fetchable(address, 2) {
                return None;
            }
            if !cpu.hart.csr.pmp.check(address, 2, AccessKind::Fetch, cpu.hart.mode) {
                return None;
            }
        }
        cpu.ram.load::<u16>(self.arena + offset)
    }
}

/// The access fault of a fetch whose part at `va` cannot be had.
fn fault(va: u64) -> Trap {
    Trap { cause: Exception::InsnAccess, tval: va }
}

/// What decoding one instruction gave.
struct Decoded {
    insn: Option<Insn>,
    halfwords: [u16; 2],
    bytes: u32,
}

impl Decoded {
    fn of(legal: &Legal, low: u16, high: impl FnOnce() -> Option<u16>) -> Option<Decoded> {
        if low & 3 != 3 {
            return Some(Decoded { insn: legal.decode16(low), halfwords: [low, 0], bytes: 2 });
        }
        let high = high()?;
        let insn = legal.decode32(u32::from(low) | u32::from(high) << 16);
        Some(Decoded { insn, halfwords: [low, high], bytes: 4 })
    }

    /// Whether a block ends behind it.
    fn ends(&self) -> bool {
        self.insn.is_none_or(|insn| flags(insn) & flag::ENDS != 0)
    }
}

fn flags(insn: Insn) -> u8 {
    ROWS.get(insn.index()).map_or(0, |row| row.flags)
}

impl Blocks {
    /// The block at virtual address `pc` in the CPU's code context, not found by [`Blocks::find`].
    ///
    /// # Errors
    /// The fetch's fault.
    #[cold]
    pub fn build(&mut self, cpu: &mut Cpu, pc: u64) -> Result<Span, Trap> {
        let source = Source::of(cpu, pc)?;
        let place = Place { arena: source.arena, fp: cpu.fp_on() };
        // What PMP lets this context execute of a page, another may not execute: a block of such a
        // page is only found by virtual address.
        let shared = source.parts.is_none();
        if shared && let Some(block) = self.at(place) {
            let fresh = block.checked == cpu.code_fence || {
                let code = self.code_of(block.span);
                code.iter().enumerate().all(|(i, &h)| source.halfword(cpu, 2 * i as u64) == Some(h))
            };
            if fresh {
                self.checked(place, cpu.code_fence);
                self.remember(cpu.code, pc, cpu.code_fence, block.span);
                return Ok(block.span);
            }
        }
        self.make_room();
        let span = match self.decode_page(cpu, source, pc, place.fp)? {
            Some(span) => {
                if shared {
                    self.add(place, Block { span, checked: cpu.code_fence });
                }
                span
            }
            // The first instruction crosses into the next page: such a block depends on two
            // translations and is only found by virtual address.
            None => self.decode_crossing(cpu, source, pc, place.fp)?,
        };
        self.remember(cpu.code, pc, cpu.code_fence, span);
        Ok(span)
    }

    /// Decodes from `source` to the end of the block or page; `None` if the first instruction
    /// crosses the end of the page.
    fn decode_page(&mut self, cpu: &Cpu, source: Source, pc: u64, fp: bool) -> Result<Option<Span>, Trap> {
        let left = PAGE - (pc & engine_mmu::PAGE_MASK);
        let (start, code) = (self.ops.len() as u32, self.code.len() as u32);
        let mut at = 0u64;
        while at < left && self.ops.len() - (start as usize) < LONGEST {
            let Some(low) = source.halfword(cpu, at) else {
                if at == 0 {
                    return Err(fault(pc));
                }
                break;
            };
            if low & 3 == 3 && at + 2 >= left {
                if at == 0 {
                    return Ok(None);
                }
                break;
            }
            let Some(decoded) = Decoded::of(&cpu.legal, low, || source.halfword(cpu, at + 2)) else {
                if at == 0 {
                    return Err(fault(pc.wrapping_add(2)));
                }
                break;
            };
            self.push(&decoded, start, at, fp);
            at += u64::from(decoded.bytes);
            if decoded.ends() {
                break;
            }
        }
        Ok(Some(Span { start, len: self.ops.len() as u32 - start, bytes: at as u32, code }))
    }

    /// Decodes the one instruction whose second half is in the next page.
    fn decode_crossing(&mut self, cpu: &mut Cpu, source: Source, pc: u64, fp: bool) -> Result<Span, Trap> {
        let low = source.halfword(cpu, 0).ok_or(fault(pc))?;
        // A fault of the second half names that half ("stval": the portion that faulted).
        let second = pc.wrapping_add(2);
        let next = Source::of(cpu, second)?;
        let high = next.halfword(cpu, 0).ok_or(fault(second))?;
        let (start, code) = (self.ops.len() as u32, self.code.len() as u32);
        if let Some(decoded) = Decoded::of(&cpu.legal, low, || Some(high)) {
            self.push(&decoded, start, 0, fp);
        }
        Ok(Span { start, len: 1, bytes: 4, code })
    }

    fn push(&mut self, decoded: &Decoded, start: u32, at: u64, fp: bool) {
        let index = self.ops.len() as u32 - start;
        let legal = decoded.insn.filter(|&insn| fp || flags(insn) & flag::FP == 0);
        // What stands in for an illegal instruction is never run: its handler takes the trap.
        let filler = Insn::Ecall(args::Ecall {});
        self.ops.push(Op {
            run: legal.map_or(handlers::illegal as handlers::Handler, handlers::handler_of),
            insn: legal.unwrap_or(filler),
            position: index << 16 | at as u32,
            bytes: decoded.bytes,
        });
        let halfwords = decoded.halfwords.iter().take(decoded.bytes as usize / 2);
        self.code.extend(halfwords);
    }
}
