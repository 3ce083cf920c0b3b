//! A few instructions by hand (Unprivileged ISA, "RV32/64G Instruction Set Listings"), for programs whose every bit matters.

/// `fence.i`
pub const FENCE_I: u32 = 0x100f;
/// `ret`
pub const RET: u32 = 0x8067;
/// `ecall`
pub const ECALL: u32 = 0x73;
/// `mret`
pub const MRET: u32 = 0x3020_0073;

pub const RA: u32 = 1;
pub const T0: u32 = 5;
pub const T1: u32 = 6;
pub const T2: u32 = 7;
pub const S0: u32 = 8;
pub const S1: u32 = 9;
pub const A0: u32 = 10;
pub const A1: u32 = 11;
pub const A2: u32 = 12;
pub const A3: u32 = 13;
pub const A4: u32 = 14;
pub const A5: u32 = 15;
pub const S2: u32 = 18;
pub const S3: u32 = 19;
pub const S4: u32 = 20;

fn i(imm: i32, rs1: u32, funct3: u32, rd: u32, opcode: u32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

pub fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i(imm, rs1, 0, rd, 0x13)
}

pub fn andi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i(imm, rs1, 7, rd, 0x13)
}

/// `rori`, by less than 32 bits.
pub fn rori(rd: u32, rs1: u32, by: i32) -> u32 {
    i(0x600 | by, rs1, 5, rd, 0x13)
}

pub fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | i(0, rs1, 0, rd, 0x33)
}

pub fn xor(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | i(0, rs1, 4, rd, 0x33)
}

/// `lb`, `lh`, `lw`, `ld` by the logarithm of their width.
pub fn load(log: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    i(imm, rs1, log, rd, 0x03)
}

/// `sb`, `sh`, `sw`, `sd`.
pub fn store(log: u32, rs2: u32, rs1: u32, imm: i32) -> u32 {
    let imm = imm as u32;
    (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | log << 12 | (imm & 31) << 7 | 0x23
}

pub fn jalr(rd: u32, rs1: u32, imm: i32) -> u32 {
    i(imm, rs1, 0, rd, 0x67)
}

/// `jal rd` over `distance` bytes.
pub fn jal(rd: u32, distance: i32) -> u32 {
    let d = distance as u32;
    (d >> 20 & 1) << 31
        | (d >> 1 & 0x3ff) << 21
        | (d >> 11 & 1) << 20
        | (d >> 12 & 0xff) << 12
        | rd << 7
        | 0x6f
}

/// A conditional branch: `beq` 0, `bne` 1, `blt` 4, `bge` 5, `bltu` 6, `bgeu` 7.
pub fn branch(condition: u32, rs1: u32, rs2: u32, distance: i32) -> u32 {
    let d = distance as u32;
    (d >> 12 & 1) << 31
        | (d >> 5 & 63) << 25
        | rs2 << 20
        | rs1 << 15
        | condition << 12
        | (d >> 1 & 15) << 8
        | (d >> 11 & 1) << 7
        | 0x63
}

/// `csrr rd, csr`
pub fn csrr(rd: u32, csr: u32) -> u32 {
    csr << 20 | 2 << 12 | rd << 7 | 0x73
}

/// `csrw csr, rs1`
pub fn csrw(csr: u32, rs1: u32) -> u32 {
    csr << 20 | rs1 << 15 | 1 << 12 | 0x73
}

/// `sfence.vma` of an address and an address space, either of which may be x0: all.
pub fn sfence_vma(address: u32, asid: u32) -> u32 {
    9 << 25 | asid << 20 | address << 15 | 0x73
}

/// The halves of an instruction.
pub fn halves(word: u32) -> [u16; 2] {
    [word as u16, (word >> 16) as u16]
}

/// A trap handler that remembers in x30 all traps there were, by cause, value and program counter, with `then` what it does
/// before it returns. It passes over what trapped, but what could not be fetched: there it goes on at x28. It uses x31.
pub fn handler(then: &[u32]) -> Vec<u32> {
    const CAUSE: u32 = 0x342;
    const EPC: u32 = 0x341;
    let mut code = Vec::new();
    for csr in [0x343, EPC, CAUSE] {
        code.extend([csrr(31, csr), add(30, 30, 31), rori(30, 30, 7)]);
    }
    code.extend(then);
    code.extend([
        // Instruction page fault, and any access fault of an instruction.
        csrr(31, CAUSE),
        addi(31, 31, -12),
        branch(0, 31, 0, 28),
        addi(31, 31, 11),
        branch(0, 31, 0, 20),
        csrr(31, EPC),
        addi(31, 31, 4),
        csrw(EPC, 31),
        MRET,
        csrw(EPC, 28),
        MRET,
    ]);
    code
}
