//! Programs for `cargo xtask bench`: loops in S-mode under Sv39 with 4 KiB pages, as instruction words.
//!
//! A program is a flat image that is entered in M-mode at 0x8000_0000 and powers the machine off at
//! its end (the `virt` board's test finisher). Page by page: code, three levels of page tables that
//! map the image onto itself, data.

/// One kind of loop.
pub struct Loop {
    /// What it is made of.
    pub name: &'static str,
    /// Its instructions: `a0` counts rounds down to 0, then it returns.
    words: &'static [u32],
    /// Instructions of a round.
    pub per_round: u64,
}

/// The loops.
pub const LOOPS: &[Loop] = &[
    Loop { name: "integer", words: INTEGER, per_round: 12 },
    Loop { name: "loads and stores", words: MEMORY, per_round: 12 },
    Loop { name: "calls and returns", words: CALLS, per_round: 11 },
];

/// Where the image runs.
const START: u64 = 0x8000_0000;
const PAGE: usize = 4096;
/// Pages of the image: code, root table, second level, third level, data.
const PAGES: usize = 5;
/// Rounds come in multiples of this: the number is the operand of a `lui`.
pub const ROUNDS: u64 = 4096;
/// The word of [`ENTRY`] that gets the number of rounds.
const ROUNDS_AT: usize = 23;
/// A page-table entry that points on (Privileged ISA, "Sv39"): V.
const TABLE: u64 = 1;
/// A leaf: D, A, X, W, R, V.
const LEAF: u64 = 0xcf;

/// From M-mode to the loop in S-mode, with all of memory granted (PMP) and paging on; an `ecall` then
/// powers off. The loop follows.
const ENTRY: &[u32] = &[
    0x00000417, // auipc s0,0x0
    0x06840293, // addi t0,s0,104
    0x30529073, // csrrw zero,mtvec,t0
    0xfff00293, // addi t0,zero,-1
    0x3b029073, // csrrw zero,pmpaddr0,t0
    0x01f00293, // addi t0,zero,31
    0x3a029073, // csrrw zero,pmpcfg0,t0
    0x00800293, // addi t0,zero,8
    0x03c29293, // slli t0,t0,0x3c
    0x00080337, // lui t1,0x80
    0x00130313, // addi t1,t1,1
    0x0062e2b3, // or t0,t0,t1
    0x18029073, // csrrw zero,satp,t0
    0x12000073, // sfence.vma zero,zero
    0x00100293, // addi t0,zero,1
    0x00b29293, // slli t0,t0,0xb
    0x30029073, // csrrw zero,mstatus,t0
    0x05c40293, // addi t0,s0,92
    0x34129073, // csrrw zero,mepc,t0
    0x000042b7, // lui t0,0x4
    0x00540433, // add s0,s0,t0
    0x04040493, // addi s1,s0,64
    0x30200073, // mret
    0x12345537, // lui a0,0x12345
    0x01c000ef, // jal ra,loop
    0x00000073, // ecall
    0x001002b7, // lui t0,0x100
    0x00005337, // lui t1,0x5
    0x55530313, // addi t1,t1,1365
    0x0062a023, // sw t1,0(t0)
    0x0000006f, // jal zero,handler+0x10
];

const INTEGER: &[u32] = &[
    0x006282b3, // add t0,t0,t1
    0x00534333, // xor t1,t1,t0
    0x00329393, // slli t2,t0,0x3
    0x40638e33, // sub t3,t2,t1
    0x007e5e93, // srli t4,t3,0x7
    0x005eef33, // or t5,t4,t0
    0x01cf7fb3, // and t6,t5,t3
    0x011f8293, // addi t0,t6,17
    0x0073033b, // addw t1,t1,t2
    0x01de33b3, // sltu t2,t3,t4
    0xfff50513, // addi a0,a0,-1
    0xfc051ae3, // bne a0,zero,alu
    0x00008067, // jalr zero,0(ra)
];

const MEMORY: &[u32] = &[
    0x00043283, // ld t0,0(s0)
    0x00128293, // addi t0,t0,1
    0x00543023, // sd t0,0(s0)
    0x00842303, // lw t1,8(s0)
    0x00530333, // add t1,t1,t0
    0x00642623, // sw t1,12(s0)
    0x01044383, // lbu t2,16(s0)
    0x006408a3, // sb t1,17(s0)
    0x0184be03, // ld t3,24(s1)
    0x03c4b023, // sd t3,32(s1)
    0xfff50513, // addi a0,a0,-1
    0xfc051ae3, // bne a0,zero,mem
    0x00008067, // jalr zero,0(ra)
];

const CALLS: &[u32] = &[
    0x00008913, // addi s2,ra,0
    0x018000ef, // jal ra,leaf
    0x014000ef, // jal ra,leaf
    0x010000ef, // jal ra,leaf
    0xfff50513, // addi a0,a0,-1
    0xfe0518e3, // bne a0,zero,call+0x4
    0x00090067, // jalr zero,0(s2)
    0x00328293, // addi t0,t0,3
    0x00008067, // jalr zero,0(ra)
];

/// The image that goes `rounds` (a multiple of [`ROUNDS`], below 2^31) times round `which`.
pub fn image(which: &Loop, rounds: u64) -> Vec<u8> {
    let mut words = ENTRY.to_vec();
    words.extend(which.words);
    if let Some(lui) = words.get_mut(ROUNDS_AT) {
        // lui a0, rounds >> 12
        *lui = rounds as u32 & 0x7fff_f000 | 10 << 7 | 0x37;
    }
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(PAGES * PAGE, 0);
    let mut entry = |page: usize, index: u64, target: u64, flags: u64| {
        let at = page * PAGE + 8 * index as usize;
        let value = target >> 12 << 10 | flags;
        if let Some(slot) = bytes.get_mut(at..at + 8) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
    };
    let page = |number: usize| START + (number * PAGE) as u64;
    entry(1, START >> 30 & 511, page(2), TABLE);
    entry(2, START >> 21 & 511, page(3), TABLE);
    for number in 0..PAGES {
        entry(3, number as u64, page(number), LEAF);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_its_rounds_and_its_tables() {
        for which in LOOPS {
            let image = image(which, 3 * ROUNDS);
            assert_eq!(image.len(), PAGES * PAGE);
            let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
            // lui a0, 3
            assert_eq!(word(4 * ROUNDS_AT), 0x0000_3537);
            let entry = |page: usize, index: usize| {
                let at = page * PAGE + 8 * index;
                u64::from_le_bytes(image[at..at + 8].try_into().unwrap())
            };
            // Privileged ISA, "Sv39": the physical page number stands at bit 10.
            assert_eq!(entry(1, 2), 0x8000_2000 >> 2 | 1);
            assert_eq!(entry(2, 0), 0x8000_3000 >> 2 | 1);
            assert_eq!(entry(3, 4), 0x8000_4000 >> 2 | 0xcf);
        }
    }
}
