//! The program in the boot ROM: it gives every hart what the RISC-V boot convention asks for and jumps to the first
//! stage.
//!
//! Sources: RISC-V Unprivileged ISA, "RV64I" and "Zicsr" (instruction formats); OpenSBI,
//! `docs/firmware/fw_dynamic.md` and `include/sbi/fw_dynamic.h` (version 2 of `struct fw_dynamic_info`); Linux,
//! `Documentation/arch/riscv/boot.rst` ("Register state": hart id in a0, address of the devicetree in a1).

/// The mode in which the stage after the firmware is entered; the value is the privilege level's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Supervisor mode.
    Supervisor = 1,
    /// Machine mode.
    Machine = 3,
}

/// What a dynamic firmware is told in `struct fw_dynamic_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FwDynamicInfo {
    /// Physical address of the next stage.
    pub next_addr: u64,
    /// Mode in which it is entered.
    pub next_mode: Mode,
    /// Options of OpenSBI's library; bit 0 keeps its boot messages off.
    pub options: u64,
    /// The hart that boots the firmware; `u64::MAX` leaves it to a lottery.
    pub boot_hart: u64,
}

/// "OSBI", read as a little-endian number.
const INFO_MAGIC: u64 = 0x4942_534f;
const INFO_VERSION: u64 = 2;

impl FwDynamicInfo {
    /// The structure as it lies in memory: six 64-bit words.
    pub fn words(&self) -> [u64; 6] {
        let FwDynamicInfo { next_addr, next_mode, options, boot_hart } = *self;
        [INFO_MAGIC, INFO_VERSION, next_addr, next_mode as u64, options, boot_hart]
    }
}

/// Where the boot ROM leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Physical address of the first stage's first instruction.
    pub start: u64,
    /// Physical address of the devicetree.
    pub fdt: u64,
    /// What the first stage is told, where it is a dynamic firmware.
    pub info: Option<FwDynamicInfo>,
}

// Registers by their numbers in the calling convention.
const ZERO: u32 = 0;
const T0: u32 = 5;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
/// Address of the CSR that holds the hart's id.
const MHARTID: u32 = 0xf14;

/// An I-type instruction: immediate, source, function, destination, opcode.
const fn i_type(imm: u32, rs1: u32, funct3: u32, rd: u32, opcode: u32) -> u32 {
    imm << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

const fn ld(rd: u32, offset: u32, rs1: u32) -> u32 {
    i_type(offset, rs1, 0b011, rd, 0b000_0011)
}

const fn addi(rd: u32, rs1: u32, imm: u32) -> u32 {
    i_type(imm, rs1, 0b000, rd, 0b001_0011)
}

const fn jr(rs1: u32) -> u32 {
    i_type(0, rs1, 0b000, ZERO, 0b110_0111)
}

/// `csrrs rd, csr, x0`
const fn csrr(rd: u32, csr: u32) -> u32 {
    i_type(csr, ZERO, 0b010, rd, 0b111_0011)
}

/// `auipc rd, 0`
const fn auipc_here(rd: u32) -> u32 {
    rd << 7 | 0b001_0111
}

// Offsets in the ROM. Data follow the six instructions, aligned to eight.
const ANCHOR: u32 = 0x04;
const START: u32 = 0x18;
const FDT: u32 = 0x20;
const INFO: u32 = 0x28;

/// The contents of the boot ROM, to be placed at the board's `reset_pc`. Position-independent, all harts run it:
///
/// ```text
/// 00  csrr  a0, mhartid
/// 04  auipc t0, 0            t0 = address of this instruction
/// 08  ld    a1, fdt
/// 0c  addi  a2, info         or 0, where there is none
/// 10  ld    t0, start
/// 14  jr    t0
/// 18  start: .dword
/// 20  fdt:   .dword
/// 28  info:  .dword × 6
/// ```
pub fn reset_vector(handover: &Handover) -> Vec<u8> {
    let info = match handover.info {
        Some(_) => addi(A2, T0, INFO - ANCHOR),
        None => addi(A2, ZERO, 0),
    };
    let code = [
        csrr(A0, MHARTID),
        auipc_here(T0),
        ld(A1, FDT - ANCHOR, T0),
        info,
        ld(T0, START - ANCHOR, T0),
        jr(T0),
    ];
    let mut rom: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    rom.extend(handover.start.to_le_bytes());
    rom.extend(handover.fdt.to_le_bytes());
    if let Some(info) = handover.info {
        rom.extend(info.words().iter().flat_map(|word| word.to_le_bytes()));
    }
    rom
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words32(bytes: &[u8]) -> Vec<u32> {
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    fn words64(bytes: &[u8]) -> Vec<u64> {
        bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
    }

    /// The words are what GNU as makes of the listing above.
    #[test]
    fn the_program_is_the_assemblers() {
        let info =
            FwDynamicInfo { next_addr: 0x8020_0000, next_mode: Mode::Supervisor, options: 0, boot_hart: 1 };
        let rom = reset_vector(&Handover { start: 0x8000_0000, fdt: 0x8fe0_0000, info: Some(info) });
        assert_eq!(
            words32(&rom[..0x18]),
            [0xf140_2573, 0x0000_0297, 0x01c2_b583, 0x0242_8613, 0x0142_b283, 0x0002_8067]
        );
        assert_eq!(words64(&rom[0x18..]), [0x8000_0000, 0x8fe0_0000, 0x4942_534f, 2, 0x8020_0000, 1, 0, 1]);
    }

    #[test]
    fn without_dynamic_firmware_a2_is_zero() {
        let rom = reset_vector(&Handover { start: 0x8000_0000, fdt: 0, info: None });
        assert_eq!(words32(&rom[..0x18])[3], 0x0000_0613, "li a2, 0");
        assert_eq!(rom.len(), 0x28);
    }
}
