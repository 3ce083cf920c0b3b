//! Counters for harts without Zicntr, or with all of it but the CSR `time`: supervisors read `time` all the same, and firmware is expected to
//! stand in (SBI specification, "Introduction": the supervisor relies on its execution environment;
//! Unprivileged ISA, "Zicntr": reads may trap and be emulated).

use crate::boot::set_x;
use isa_riscv::{Extension, Features, Hart, Mode, csr_number};

/// `csrrs` and `csrrc`, with a register or an immediate: with 0 as operand they only read.
const READING: [u64; 4] = [0b010, 0b011, 0b110, 0b111];

/// Whether illegal instructions go to the firmware: on a hart that lacks what it emulates.
pub(crate) fn wanted(features: &Features) -> bool {
    !features.has(Extension::Zicntr) || !features.time_csr
}

/// Does the read of `cycle`, `time` or `instret` that the illegal instruction with these `bits`, at
/// `hart.pc`, would be on a hart with Zicntr, and moves behind it. False if it is none.
pub fn emulate_counter(hart: &mut Hart, bits: u64, time: u64, retired: u64) -> bool {
    let (csr, operand, kind) = (bits >> 20 & 0xfff, bits >> 15 & 31, bits >> 12 & 7);
    let reads = bits >> 32 == 0 && bits & 0x7f == 0x73 && operand == 0 && READING.contains(&kind);
    if !reads {
        return false;
    }
    let counters = hart.features.has(Extension::Zicntr);
    let is = |name| csr_number(name).is_some_and(|number| u64::from(number) == csr);
    let (enable, value) = match () {
        () if is("cycle") && !counters => (0, hart.csr.mcycle(retired)),
        () if is("time") && !(counters && hart.features.time_csr) => (1, time),
        () if is("instret") && !counters => (2, hart.csr.minstret(retired)),
        () => return false,
    };
    if hart.mode == Mode::U && hart.csr.scounteren >> enable & 1 == 0 {
        return false;
    }
    let rd = (bits >> 7 & 31) as usize;
    set_x(hart, rd, if rd == 0 { 0 } else { value });
    hart.pc = hart.pc.wrapping_add(4);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hart() -> Hart {
        let extensions = Features::FULL.extensions.without(Extension::Zihpm).without(Extension::Zicntr);
        let mut hart = Hart::new(0, &Features { extensions, ..Features::FULL });
        (hart.mode, hart.pc) = (Mode::S, 0x8000_0000);
        hart
    }

    const RDTIME_A0: u64 = 0xc010_2573;

    #[test]
    fn reads_are_done_and_passed() {
        let mut hart = hart();
        assert!(emulate_counter(&mut hart, RDTIME_A0, 77, 0));
        assert_eq!((hart.x[10], hart.pc), (77, 0x8000_0004));
        // rdinstret a1
        assert!(emulate_counter(&mut hart, 0xc020_25f3, 77, 5));
        assert_eq!(hart.x[11], hart.csr.minstret(5));
        // rdtime zero
        assert!(emulate_counter(&mut hart, 0xc010_2073, 77, 5));
        assert_eq!(hart.x[0], 0);
    }

    #[test]
    fn writes_other_registers_and_other_harts_are_left_alone() {
        let mut plain = hart();
        // csrrw a0, time, zero; csrrs a0, time, a0; csrrs a0, hpmcounter3, zero; no instruction
        for bits in [0xc010_1573, 0xc015_2573, 0xc030_2573, 0, RDTIME_A0 | 1 << 40] {
            assert!(!emulate_counter(&mut plain, bits, 77, 0), "{bits:#x}");
        }
        let mut full = Hart::new(0, &Features::FULL);
        assert!(!emulate_counter(&mut full, RDTIME_A0, 77, 0), "its counters are its own");
    }

    #[test]
    fn of_zicntr_time_may_be_missing_alone() {
        let mut hart = Hart::new(1, &Features { time_csr: false, ..Features::RV64GC });
        (hart.mode, hart.pc) = (Mode::S, 0x8000_0000);
        assert!(wanted(&hart.features));
        // rdcycle a0; rdinstret a1
        assert!(
            !emulate_counter(&mut hart, 0xc000_2573, 77, 0)
                && !emulate_counter(&mut hart, 0xc020_25f3, 77, 0)
        );
        assert!(emulate_counter(&mut hart, RDTIME_A0, 77, 0));
        assert_eq!(hart.x[10], 77);
    }

    #[test]
    fn user_mode_needs_scounteren() {
        let mut hart = hart();
        hart.mode = Mode::U;
        hart.csr.scounteren = 0b101;
        assert!(!emulate_counter(&mut hart, RDTIME_A0, 77, 0));
        hart.csr.scounteren = 0b010;
        assert!(emulate_counter(&mut hart, RDTIME_A0, 77, 0));
    }
}
