//! Random bytes as instructions, run both ways, directly and single-stepped: the two share no more than the
//! loading of registers.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use common::with_oracle;
use hostcpu::*;
use iced_x86::{Decoder, FlowControl, Instruction, Mnemonic, OpKind};

/// How many are tried. A single step may take 15 µs.
const TRIES: u32 = 20_000;

/// xorshift64*
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number, an address in the data or near it, or one in the code: for those that only jump there.
    fn value(&mut self, code: bool) -> u64 {
        let bits = self.bits();
        match bits >> 61 {
            4 if !code => bits & 0xffff,
            0..4 => DATA - 64 + bits % (DATA_BYTES as u64 + 128),
            4 => CODE + bits % CODE_BYTES as u64,
            5 => bits & 0xff,
            6 => bits as i32 as u64 & 0xffff_ffff,
            _ => bits,
        }
    }

    fn code(&mut self) -> Vec<u8> {
        let mut code = [self.bits(), self.bits()].map(u64::to_le_bytes).concat();
        code.pop();
        match self.bits() % 4 {
            0 => code.insert(0, 0x48),
            1 => code.insert(0, 0x0f),
            2 => code.insert(0, 0x66),
            _ => {}
        }
        code.truncate(15);
        code
    }
}

/// Whether two runs may differ: single steps show, or the processor answers as it likes.
fn varies(insn: &Instruction) -> bool {
    let repeated = (insn.has_rep_prefix() || insn.has_repne_prefix()) && insn.is_string_instruction();
    let often = matches!(
        insn.mnemonic(),
        Mnemonic::Rdtsc | Mnemonic::Rdtscp | Mnemonic::Rdpmc | Mnemonic::Rdrand | Mnemonic::Rdseed
    );
    let flags = matches!(
        insn.mnemonic(),
        Mnemonic::Pushf
            | Mnemonic::Pushfd
            | Mnemonic::Pushfq
            | Mnemonic::Popf
            | Mnemonic::Popfd
            | Mnemonic::Popfq
    );
    repeated
        || often
        || flags
        || matches!(insn.mnemonic(), Mnemonic::Cpuid | Mnemonic::Rdpid | Mnemonic::Int1)
}

/// Whether an operand is in the code, or not far from it: the one instruction that a store there may change
/// is itself.
fn in_code(insn: &Instruction, regs: &Regs) -> bool {
    (0..insn.op_count()).any(|n| {
        let address = insn.virtual_address(n, 0, |register, _, _| match register {
            r if r.is_segment_register() => Some(0),
            r if r.is_gpr64() => Some(regs.gpr[r.number()]),
            r if r.is_gpr32() => Some(regs.gpr[r.number()] & 0xffff_ffff),
            _ => None,
        });
        // Bit tests reach far, by 64 bits of a register.
        address.is_some_and(|a| (CODE - (1 << 16)..CODE + CODE_BYTES as u64 + (1 << 16)).contains(&a))
    })
}

#[test]
fn both_ways_agree() {
    with_oracle(|oracle| {
        let mut random = Random(0x1234_5678_9abc_def1);
        for word in oracle.data().chunks_exact_mut(8) {
            word.copy_from_slice(&random.value(true).to_le_bytes());
        }
        oracle.remember();
        let (mut ran, mut faulted, mut branched) = (0, 0, 0);
        for _ in 0..TRIES {
            let code = random.code();
            let rip = CODE + random.bits() % (CODE_BYTES as u64 - 64);
            let insn = Decoder::with_ip(64, &code, rip, 0).decode();
            let Ok(loaded) = oracle.load(&code, rip) else { continue };
            if insn.is_invalid() || varies(&insn) {
                continue;
            }
            let jumps = insn.flow_control() != FlowControl::Next && insn.op0_kind() == OpKind::Register;
            let gpr = std::array::from_fn(|_| random.value(jumps));
            let before = Regs { gpr, rip, rflags: random.bits() & SETTABLE };
            if in_code(&insn, &before) {
                continue;
            }
            let mut direct = before.clone();
            let outcome = oracle.go(&loaded, &mut direct);
            let data = oracle.data().to_vec();
            oracle.restore();
            let mut stepped = before.clone();
            let again = oracle.go(&loaded.stepped(), &mut stepped);
            assert_eq!(outcome, again, "{:?} {code:x?}\n{before:x?}", insn.code());
            assert!(direct == stepped, "{:?} {code:x?}\n{before:x?}\n{direct:x?}\n{stepped:x?}", insn.code());
            assert!(data == oracle.data(), "{:?} {code:x?}\n{before:x?}", insn.code());
            oracle.restore();
            ran += 1;
            faulted += u32::from(outcome != Outcome::Done);
            branched += u32::from(outcome == Outcome::Done && direct.rip != insn.next_ip());
        }
        assert!(
            ran > TRIES / 3 && faulted > TRIES / 10 && branched > TRIES / 50,
            "{ran} {faulted} {branched}"
        );
    });
}
