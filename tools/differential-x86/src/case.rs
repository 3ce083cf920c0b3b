//! A case: an instruction, where it stands, what it starts with.

use crate::bytes::{Encoded, Template};
use crate::explained_amd;
use crate::random::{Random, Values};
use hostcpu::{CODE, CODE_BYTES, DATA, DATA_BYTES, PAGE, READ_ONLY, Regs};
use isa_core::Width;
use isa_x86::{Insn, Meaning, Mem, Operand, Reg};

/// A case.
pub struct Case {
    /// The instruction.
    pub encoded: Encoded,
    /// The processor must refuse it: it has LOCK where none may be.
    pub refused: bool,
    /// What it starts with.
    pub regs: Regs,
    /// Bytes put into the data first: where, and which.
    pub poke: Option<(usize, u128)>,
    /// How many elements of a string we do at a time.
    pub slice: u64,
}

const RAX: usize = hostcpu::RAX;
const RCX: usize = hostcpu::RCX;
const RDX: usize = hostcpu::RDX;
const RBX: usize = hostcpu::RBX;
const RSP: usize = hostcpu::RSP;
const RBP: usize = hostcpu::RBP;

impl Case {
    /// A random instruction of a row, to stand at `rip`.
    pub fn new(random: &mut Random, template: &Template, rip: u64) -> Option<Case> {
        let fits = |encoded: &Encoded| {
            !explained_amd::taken_otherwise(encoded.insn.1.code, &encoded.bytes[..encoded.len])
        };
        let mut encoded = (0..20).find_map(|_| template.instruction(random).filter(fits))?;
        let mut regs = Regs { gpr: std::array::from_fn(|_| random.integer()), rip, rflags: random.bits() };
        if random.one_in(2) {
            // CF matters most.
            regs.rflags &= !0x8d4;
        }
        // A refused LOCK must not be one that belongs there.
        let refused = !template.lockable && random.one_in(256) && encoded.len < 15;
        let mut shaper = Shaper { random, encoded: &mut encoded, regs: &mut regs, poke: None };
        shaper.shape();
        let poke = shaper.poke;
        if refused {
            encoded.bytes.copy_within(..15, 1);
            encoded.bytes[0] = 0xf0;
            encoded.len += 1;
        }
        let slice = if random.one_in(2) { u64::MAX } else { 1 + random.below(5) };
        Some(Case { encoded, refused, regs, poke, slice })
    }

    /// The bytes of the instruction.
    pub fn code(&self) -> &[u8] {
        &self.encoded.bytes[..self.encoded.len]
    }
}

/// Makes a case of random numbers one that does something.
struct Shaper<'a> {
    random: &'a mut Random,
    encoded: &'a mut Encoded,
    regs: &'a mut Regs,
    poke: Option<(usize, u128)>,
}

/// Where the operand in memory is wanted.
fn place(random: &mut Random) -> u64 {
    let page = PAGE as u64;
    let end = DATA + DATA_BYTES as u64;
    let near = |random: &mut Random, edge: u64| edge.wrapping_add(random.below(40)).wrapping_sub(20);
    match random.below(128) {
        0..80 => DATA + random.below(2 * page - 16),
        80..92 => near(random, DATA + page),
        92..98 => near(random, READ_ONLY),
        98..106 => READ_ONLY + random.below(page - 16),
        106..110 => near(random, end),
        110..112 => near(random, DATA),
        112..118 => 0x0000_8000_0000_0000 | random.bits() >> 1 & !(0x7fff << 47),
        118..120 => random.bits() | 0x8000_0000_0000_0000 & !(1 << 62),
        120..122 => random.below(1 << 32),
        122 => 0xffff_8000_0000_0000 + random.below(1 << 30),
        _ => (DATA + random.below(2 * page - 16)) & !15,
    }
}

impl Shaper<'_> {
    fn insn(&self) -> &Insn {
        &self.encoded.insn.1
    }

    fn shape(&mut self) {
        use Meaning as M;
        let (meaning, insn) = self.encoded.insn;
        self.values(meaning, &insn);
        let touches = !matches!(meaning, M::Lea | M::Nop | M::Reservednop | M::Ud0 | M::Ud1);
        let stack = matches!(meaning, M::Push | M::Pop | M::Call | M::Ret | M::Enter | M::Leave);
        if stack {
            self.regs.gpr[RSP] = place(self.random);
            if self.random.one_in(4) || meaning == M::Leave || meaning == M::Enter {
                self.regs.gpr[RBP] = place(self.random);
            }
        }
        if meaning == M::Enter && !self.random.one_in(4) {
            // A frame that fits.
            let at = self.encoded.modrm;
            self.encoded.bytes[at + 1] = 0;
            self.encoded.again();
        }
        let mut at = None;
        if meaning == M::Xlatb {
            let al = self.regs.gpr[RAX] & 0xff;
            self.regs.gpr[RBX] = place(self.random).wrapping_sub(al);
        } else if is_string(meaning) {
            self.string();
        } else if touches && insn.operands.contains(&Operand::Mem) {
            at = self.aim(&insn);
        }
        match meaning {
            M::Jmp | M::Call => self.branch(at),
            M::Ret => self.branch(Some(self.regs.gpr[RSP])),
            M::Cmpxchg | M::Cmpxchg8b | M::Cmpxchg16b if self.random.one_in(2) => self.equal(at),
            _ => {}
        }
    }

    /// Values that the instruction can do something with.
    fn values(&mut self, meaning: Meaning, insn: &Insn) {
        use Meaning as M;
        let gpr = &mut self.regs.gpr;
        match meaning {
            M::Div | M::Idiv if !self.random.one_in(3) => {
                // A dividend that is not much wider than the divisor.
                let keep = self.random.below(8 * insn.width.bytes());
                let small = |v: u64| if keep == 0 { 0 } else { v & (u64::MAX >> (64 - keep)) };
                match insn.width {
                    Width::B1 => gpr[RAX] = gpr[RAX] & !0xffff | small(gpr[RAX]) & 0x7ff,
                    _ if meaning == M::Idiv && gpr[RAX] & (1 << (8 * insn.width.bytes() - 1)) != 0 => {
                        gpr[RDX] = u64::MAX;
                    }
                    _ => gpr[RDX] = if self.random.one_in(4) { small(gpr[RDX]) } else { 0 },
                }
            }
            M::Bextr | M::Bzhi if self.random.one_in(2) => {
                if let Operand::Reg(reg) = insn.operands[2] {
                    gpr[usize::from(reg.n)] = self.random.below(72) | self.random.below(72) << 8;
                }
            }
            M::Bt | M::Bts | M::Btr | M::Btc if !self.random.one_in(16) => {
                if let Operand::Reg(reg) = insn.operands[1] {
                    let near = self.random.below(1 << 13).wrapping_sub(1 << 12);
                    gpr[usize::from(reg.n)] = near;
                }
            }
            M::Loop | M::Loope | M::Loopne | M::Jecxz | M::Jrcxz if self.random.one_in(2) => {
                gpr[RCX] = self.random.pick(&[0, 1, 2, 1 << 32, 1 << 32 | 1]);
            }
            _ if self.random.one_in(2) => gpr[RCX] = gpr[RCX] & !0xff | self.random.below(72),
            _ => {}
        }
    }

    fn string(&mut self) {
        for n in [hostcpu::RSI, hostcpu::RDI] {
            self.regs.gpr[n] = place(self.random);
        }
        self.regs.gpr[RCX] = match self.random.below(64) {
            0 => self.random.below(5000),
            1 => self.random.below(20) | 1 << 32,
            2..10 => self.random.below(300),
            10..16 => 0,
            _ => self.random.below(20),
        };
        if self.random.one_in(4) {
            // The source near the destination.
            self.regs.gpr[hostcpu::RSI] =
                self.regs.gpr[hostcpu::RDI].wrapping_add(self.random.below(32)).wrapping_sub(16);
        }
    }

    /// Makes the operand in memory be somewhere interesting; gives where.
    fn aim(&mut self, insn: &Insn) -> Option<u64> {
        let mem = insn.mem;
        let mut wanted = place(self.random);
        if self.encoded.insn.0 == Meaning::Cmpxchg16b && !self.random.one_in(8) {
            wanted &= !15;
        }
        let left = wanted.wrapping_sub(mem.displacement as u64);
        let gpr = &mut self.regs.gpr;
        let scaled = |v: u64| v << mem.scale;
        match (mem.base, mem.index) {
            (Mem::RIP, _) => return self.patch_relative(wanted),
            (Mem::NONE, Mem::NONE) => return self.patch_absolute(wanted, insn),
            (Mem::NONE, index) => gpr[usize::from(index)] = left >> mem.scale,
            // A bit string that begins at its own index.
            (base, Mem::NONE)
                if is_bit_string(insn) && insn.operands[1] == Operand::Reg(Reg { n: base, high: false }) =>
            {
                gpr[usize::from(base)] = left / 9 * 8;
            }
            (base, Mem::NONE) => gpr[usize::from(base)] = left,
            (base, index) if base == index => gpr[usize::from(base)] = left / (1 + (1 << mem.scale)),
            (base, index) => gpr[usize::from(base)] = left.wrapping_sub(scaled(gpr[usize::from(index)])),
        }
        Some(wanted)
    }

    /// A displacement that reaches the data.
    fn patch_relative(&mut self, wanted: u64) -> Option<u64> {
        let wanted = if wanted.wrapping_sub(DATA) < DATA_BYTES as u64 {
            wanted
        } else {
            DATA + self.random.below(8000)
        };
        let next = self.regs.rip + self.encoded.len as u64;
        let distance = i32::try_from(wanted.wrapping_sub(next) as i64).ok()?;
        let at = self.encoded.modrm + 1;
        self.encoded.bytes.get_mut(at..at + 4)?.copy_from_slice(&distance.to_le_bytes());
        self.encoded.again();
        Some(wanted)
    }

    /// The 64-bit address of `mov` with the accumulator; others reach nothing that is mapped.
    fn patch_absolute(&mut self, wanted: u64, insn: &Insn) -> Option<u64> {
        let at = self.encoded.modrm;
        let moffs =
            matches!(self.encoded.bytes.get(at - 1), Some(0xa0..=0xa3)) && insn.length as usize >= at + 8;
        if !moffs || self.encoded.insn.0 != Meaning::Mov {
            return None;
        }
        self.encoded.bytes.get_mut(at..at + 8)?.copy_from_slice(&wanted.to_le_bytes());
        self.encoded.again();
        Some(wanted)
    }

    /// Puts a target where an indirect branch looks for it.
    fn branch(&mut self, at: Option<u64>) {
        let target = match self.random.below(16) {
            0..9 => CODE + self.random.below(CODE_BYTES as u64 - 64),
            9 => DATA + self.random.below(3 * PAGE as u64),
            10..12 => self.random.below(1 << 32),
            12 => 0xffff_8000_0000_0000 | self.random.bits() >> 24,
            _ => 0x0000_8000_0000_0000 | self.random.bits() >> 8,
        };
        match self.insn().operands[0] {
            // It pushes there first, and the code is not for it to write.
            Operand::Reg(reg) if self.encoded.insn.0 == Meaning::Call && usize::from(reg.n) == RSP => {}
            Operand::Reg(reg) => self.regs.gpr[usize::from(reg.n)] = target,
            Operand::Imm if self.encoded.insn.0 != Meaning::Ret => {}
            _ => self.put(at, target.into(), 8),
        }
    }

    /// Makes the comparison of a compare-and-exchange succeed.
    fn equal(&mut self, at: Option<u64>) {
        let gpr = &mut self.regs.gpr;
        match self.encoded.insn {
            (Meaning::Cmpxchg, Insn { operands: [Operand::Reg(to), ..], .. }) => {
                let shift = if to.high { 8 } else { 0 };
                let own = gpr[usize::from(to.n)] >> shift;
                gpr[RAX] = if usize::from(to.n) == RAX { gpr[RAX] } else { own };
            }
            (Meaning::Cmpxchg, _) => {
                let expected = gpr[RAX];
                self.put(at, expected.into(), 8);
            }
            (Meaning::Cmpxchg8b, _) => {
                let expected = gpr[RDX] << 32 | gpr[RAX] & 0xffff_ffff;
                self.put(at, expected.into(), 8);
            }
            _ => {
                let expected = u128::from(gpr[RDX]) << 64 | u128::from(gpr[RAX]);
                self.put(at, expected, 16);
            }
        }
    }

    fn put(&mut self, at: Option<u64>, value: u128, bytes: usize) {
        let Some(at) = at.map(|at| at.wrapping_sub(DATA) as usize) else { return };
        if at <= DATA_BYTES - 16 && (bytes == 16 || bytes == 8) {
            self.poke = Some((at, value));
        }
    }
}

fn is_bit_string(insn: &Insn) -> bool {
    use iced_x86::Mnemonic as M;
    matches!(insn.code.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc)
}

/// Whether it is a string instruction.
pub fn is_string(meaning: Meaning) -> bool {
    (Meaning::Movsb..=Meaning::Stosq).contains(&meaning)
}
