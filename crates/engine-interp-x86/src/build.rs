//! Finding a block by physical address, and decoding it if it is not there.

use crate::blocks::{Block, Blocks, Op, Place as CodePlace, Span};
use crate::cpu::Cpu;
use crate::handlers::{self, Handler};
use crate::place::Place;
use engine_mmu::PAGE_MASK;
use isa_core::Width;
use isa_x86::{
    Access, Code, Fault, Insn, LONGEST as BYTES, Mem, Mode, Operand, Prefixes, Undecoded, decode, seg,
};

/// The most ops in a block.
pub(crate) const LONGEST: usize = 64;
/// The most bytes of them.
const WINDOW: usize = LONGEST * BYTES;

/// What stands in for what is no instruction.
const NOTHING: Insn = Insn {
    code: Code::INVALID,
    operands: [Operand::None; 4],
    mem: Mem {
        segment: seg::DS,
        base: Mem::NONE,
        index: Mem::NONE,
        scale: 0,
        address: Width::B8,
        displacement: 0,
    },
    imm: 0,
    imm2: 0,
    width: Width::B1,
    source: Width::B1,
    address: Width::B8,
    prefixes: Prefixes { lock: false, rep: false, repne: false },
    length: 1,
};

/// Where the code at `la` is.
///
/// # Errors
/// The fetch's fault.
fn locate(cpu: &mut Cpu, la: u64) -> Result<Place, Fault> {
    match cpu.fetch.find(cpu.code, la) {
        Some(offset) if cpu.state.canonical(la) => Ok(Place::Ram(offset)),
        _ => cpu.translate(la, 1, Access { write: false, fetch: true, user: cpu.user, implicit: false }),
    }
}

/// Its offset in the arena, if it is in a page that is all RAM or ROM.
fn kept(cpu: &Cpu, la: u64, place: Place) -> Option<u64> {
    match place {
        Place::Ram(arena) if cpu.fetch.find(cpu.code, la).is_some() => Some(arena),
        _ => None,
    }
}

/// Whether memory holds `code` at `arena`.
fn holds(cpu: &Cpu, arena: u64, code: &[u8]) -> bool {
    (arena..).step_by(64).zip(code.chunks(64)).all(|(at, chunk)| {
        let mut bytes = [0; 64];
        let now = bytes.get_mut(..chunk.len()).unwrap_or_default();
        cpu.ram.copy_out(at, now).is_some() && now == chunk
    })
}

/// Code of one page as it is now.
struct Bytes {
    /// Offset in the arena of the first, if it is RAM.
    arena: Option<u64>,
    bytes: [u8; WINDOW],
    len: usize,
}

impl Bytes {
    /// Up to `most` bytes from `la`, which is at `place`, to the end of its page.
    ///
    /// # Errors
    /// The fetch's fault.
    fn fetch(cpu: &mut Cpu, la: u64, place: Place, most: usize) -> Result<Bytes, Fault> {
        let left = (PAGE_MASK + 1 - (la & PAGE_MASK)) as usize;
        let len = left.min(most).min(WINDOW);
        let mut bytes = [0; WINDOW];
        let used = bytes.get_mut(..len).unwrap_or_default();
        if let Some(arena) = kept(cpu, la, place)
            && cpu.ram.copy_out(arena, used).is_some()
        {
            return Ok(Bytes { arena: Some(arena), bytes, len });
        }
        // A device, or a page of which a device has a part: byte by byte, and nothing of it is kept.
        let stop_at = cpu.stop_at;
        for (n, byte) in (0u64..).zip(used.iter_mut().take(BYTES)) {
            let place = if n == 0 { place } else { locate(cpu, la.wrapping_add(n))? };
            *byte = cpu.read_place(place, Width::B1) as u8;
        }
        // The look around that a device wants comes behind the instruction, else it would never be run.
        cpu.stop_at = stop_at.min(cpu.retired + 1);
        Ok(Bytes { arena: None, bytes, len: len.min(BYTES) })
    }

    fn from(&self, at: usize) -> &[u8] {
        self.bytes.get(at..self.len).unwrap_or_default()
    }
}

/// What decoding one instruction gave.
struct Decoded {
    run: Handler,
    insn: Insn,
    ends: bool,
}

impl Decoded {
    /// `None` if the instruction goes on behind the bytes given.
    fn of(bytes: &[u8], mode: Mode) -> Option<Decoded> {
        let refused = |run| Some(Decoded { run, insn: NOTHING, ends: true });
        match decode(bytes, mode) {
            Ok((meaning, insn)) => {
                Some(Decoded { run: handlers::handler_of(meaning), insn, ends: insn.ends_block() })
            }
            Err(Undecoded::Short) => None,
            Err(Undecoded::TooLong) => refused(handlers::too_long),
            Err(Undecoded::Invalid) => refused(handlers::undefined),
        }
    }
}

impl Blocks {
    /// The block at offset `rip` in CS, linear address `la`, not found by [`Blocks::find`].
    ///
    /// # Errors
    /// The fetch's fault.
    #[cold]
    pub fn build(&mut self, cpu: &mut Cpu, rip: u64, la: u64) -> Result<Span, Fault> {
        let place = locate(cpu, la)?;
        let mode = cpu.mode;
        if let Some(arena) = kept(cpu, la, place)
            && let Some((number, block)) =
                self.at(CodePlace { arena, mode }, None, |code| holds(cpu, arena, code))
        {
            cpu.code_filter.insert(la);
            self.remember(cpu.code, la, number);
            return Ok(block.span);
        }
        let source = Bytes::fetch(cpu, la, place, WINDOW)?;
        self.make_room();
        let span = self.decode_page(&source, mode);
        if span.len == 0 {
            // The first instruction crosses into the next page.
            return self.decode_crossing(cpu, &source, rip, la);
        }
        if let Some(arena) = source.arena {
            let place = CodePlace { arena, mode };
            self.keep(cpu, la, Block { span, place, first: span.bytes, second: None });
        }
        Ok(span)
    }

    /// Makes a new block be found, and its pages be watched.
    fn keep(&mut self, cpu: &mut Cpu, la: u64, block: Block) {
        cpu.set_code(block.place.arena);
        if let Some(second) = block.second {
            cpu.set_code(second);
            cpu.code_filter.insert(la.wrapping_add(block.first.into()));
        }
        cpu.code_filter.insert(la);
        let number = self.add(block);
        self.remember(cpu.code, la, number);
    }

    /// Decodes to the end of the block or of the bytes; an empty span if not even one instruction is in them.
    fn decode_page(&mut self, source: &Bytes, mode: Mode) -> Span {
        let (start, code) = (self.ops.len() as u32, self.code.len() as u32);
        let mut at = 0;
        while at < source.len && self.ops.len() - (start as usize) < LONGEST {
            let Some(decoded) = Decoded::of(source.from(at), mode) else { break };
            self.push(&decoded, start, at as u64);
            at += usize::from(decoded.insn.length);
            if decoded.ends {
                break;
            }
        }
        self.code.extend(source.bytes.iter().take(at));
        Span { start, len: self.ops.len() as u32 - start, bytes: at as u32, code }
    }

    /// Decodes the one instruction whose rest is in the next page.
    fn decode_crossing(&mut self, cpu: &mut Cpu, source: &Bytes, rip: u64, la: u64) -> Result<Span, Fault> {
        let first = source.len.min(BYTES);
        let limit = u64::from(cpu.state.segment(seg::CS).limit);
        let mut next = la.wrapping_add(first as u64);
        if cpu.mode != Mode::Bits64 {
            // What is beyond the limit is not fetched.
            if rip.saturating_add(first as u64) > limit {
                return Err(Fault::gp(0));
            }
            next &= 0xffff_ffff;
        }
        let rest = locate(cpu, next)?;
        let rest = Bytes::fetch(cpu, next, rest, BYTES)?;
        let mut bytes = [0; 2 * BYTES];
        let all = source.from(0).iter().take(first).chain(rest.from(0));
        let mut len = 0;
        for (slot, byte) in bytes.iter_mut().zip(all) {
            *slot = *byte;
            len += 1;
        }
        let used = bytes.get(..len).unwrap_or_default();
        let place = source.arena.map(|arena| CodePlace { arena, mode: cpu.mode });
        if let Some(place) = place
            && rest.arena.is_some()
            && let Some((number, block)) = self.at(place, rest.arena, |code| used.starts_with(code))
        {
            cpu.code_filter.insert(la);
            cpu.code_filter.insert(next);
            self.remember(cpu.code, la, number);
            return Ok(block.span);
        }
        let (start, code) = (self.ops.len() as u32, self.code.len() as u32);
        let refused = Decoded { run: handlers::undefined, insn: NOTHING, ends: true };
        let decoded = Decoded::of(used, cpu.mode).unwrap_or(refused);
        self.push(&decoded, start, 0);
        let length = u32::from(decoded.insn.length);
        self.code.extend(used.iter().take(length as usize));
        let span = Span { start, len: 1, bytes: length, code };
        if let (Some(place), Some(second)) = (place, rest.arena) {
            let first = length.min(first as u32);
            let second = (length > first).then_some(second);
            self.keep(cpu, la, Block { span, place, first, second });
        }
        Ok(span)
    }

    fn push(&mut self, decoded: &Decoded, start: u32, at: u64) {
        let index = (self.ops.len() as u32 - start) as u64;
        let end = at + u64::from(decoded.insn.length);
        self.ops.push(Op { run: decoded.run, position: index << 32 | end << 16 | at, insn: decoded.insn });
    }
}
