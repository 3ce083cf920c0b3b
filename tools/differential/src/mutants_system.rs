//! Mistakes planted in the privileged architecture.

use crate::mutants::{Mutant, field, set_rd};
use fabric_bus::Bus;
use isa_riscv::disasm::row_of;
use isa_riscv::{
    AccessFault, AccessKind, Csrs, Exception, Hart, Mode, PteMemory, WalkContext, take_trap, walk,
};

/// Loads of integer registers.
const LOADS: &[&str] = &["lb", "lh", "lw", "ld", "lbu", "lhu", "lwu"];

/// Mistakes in the privileged architecture.
#[rustfmt::skip]
pub const SYSTEM: &[Mutant] = &[
    Mutant { about: "a trap to M-mode keeps MIE", rows: &[], with: &[], change: |before, after, _, _| {
        let kept = trapped(before, after) && after.mode == Mode::M && before.csr.mstatus >> 3 & 1 != 0;
        after.csr.mstatus |= if kept { 8 } else { 0 };
        kept
    } },
    Mutant { about: "a trap to S-mode leaves stval alone", rows: &[], with: &[], change: |before, after, _, _| {
        let meddled = trapped(before, after) && after.mode == Mode::S && after.csr.stval != before.csr.stval;
        if meddled {
            after.csr.stval = before.csr.stval;
        }
        meddled
    } },
    Mutant { about: "a trap saves no privilege in MPP", rows: &[], with: &[], change: |before, after, _, _| {
        let meddled = trapped(before, after) && after.mode == Mode::M && before.mode != Mode::M;
        after.csr.mstatus |= if meddled { 3 << 11 } else { 0 };
        meddled
    } },
    Mutant { about: "sret keeps SPP", rows: &["sret"], with: &[], change: |before, after, _, _| {
        let kept = !trapped(before, after) && before.csr.mstatus >> 8 & 1 != 0;
        after.csr.mstatus |= if kept { 1 << 8 } else { 0 };
        kept
    } },
    Mutant { about: "mret keeps MPRV", rows: &["mret"], with: &[], change: |before, after, _, _| {
        let kept = !trapped(before, after) && before.csr.mstatus & !after.csr.mstatus & 1 << 17 != 0;
        after.csr.mstatus |= if kept { 1 << 17 } else { 0 };
        kept
    } },
    Mutant { about: "csrrs writes nothing", rows: &["csrrs"], with: &[], change: |before, after, _, _| {
        let meddled = !trapped(before, after) && before.csr != after.csr;
        if meddled {
            after.csr.clone_from(&before.csr);
        }
        meddled
    } },
    Mutant { about: "csrrci reads the new value", rows: &["csrrci"], with: &[], change: |before, after, word, _| {
        let rd = field(word, "rd");
        let meddled = !trapped(before, after) && rd != 0 && field(word, "zimm") as u64 & after.x[rd] != 0;
        if meddled {
            after.x[rd] &= !(field(word, "zimm") as u64);
        }
        meddled
    } },
    Mutant { about: "page faults leave mtval alone", rows: &[], with: &[], change: |before, after, _, _| {
        let meddled = trapped(before, after) && after.mode == Mode::M && matches!(after.csr.mcause, 12 | 13 | 15);
        after.csr.mtval = if meddled { before.csr.mtval } else { after.csr.mtval };
        meddled && before.csr.mtval != before.pc
    } },
    Mutant { about: "mepc is that of the next instruction", rows: &["ebreak"], with: &[], change: |before, after, _, _| {
        let meddled = trapped(before, after) && after.mode == Mode::M;
        after.csr.mepc += if meddled { 4 } else { 0 };
        meddled
    } },
    Mutant { about: "calls from U-mode are never delegated", rows: &["ecall"], with: &[], change: |before, after, _, _| {
        let delegated = trapped(before, after) && after.mode == Mode::S && after.csr.scause == 8;
        if delegated {
            after.clone_from(before);
            after.csr.medeleg = 0;
            take_trap(after, Exception::EcallU, before.pc, 0);
            after.csr.medeleg = before.csr.medeleg;
        }
        delegated
    } },
    Mutant { about: "vectored interrupts go to the base", rows: &[], with: &[], change: |before, after, _, _| {
        let vectored = trapped(before, after) && after.mode == Mode::M && after.csr.mcause >> 63 == 1
            && after.csr.mtvec & 1 == 1;
        after.pc = if vectored { after.csr.mtvec & !3 } else { after.pc };
        vectored
    } },
    Mutant { about: "the timer interrupt of S-mode goes before software's", rows: &[], with: &[], change: |before, after, _, _| {
        let mut meddled = false;
        let (software, timer) = (1 << 63 | 1, 1 << 63 | 5);
        let waits = |csr: &Csrs, delegated: u64| {
            csr.mip & csr.mie & 1 << 5 != 0 && csr.mideleg >> 5 & 1 == delegated && csr.mideleg >> 1 & 1 == delegated
        };
        if trapped(before, after) && after.mode == Mode::M && after.csr.mcause == software && waits(&before.csr, 0) {
            after.csr.mcause = timer;
            after.pc += if after.csr.mtvec & 1 == 1 { 16 } else { 0 };
            meddled = true;
        }
        if trapped(before, after) && after.mode == Mode::S && after.csr.scause == software && waits(&before.csr, 1) {
            after.csr.scause = timer;
            after.pc += if after.csr.stvec & 1 == 1 { 16 } else { 0 };
            meddled = true;
        }
        meddled
    } },
    Mutant { about: "loads ignore SUM", rows: LOADS, with: &[], change: |before, after, word, bus| {
        load_as_if(before, after, word, bus, |context| WalkContext { sum: true, ..context })
    } },
    Mutant { about: "loads ignore that MXR is off", rows: LOADS, with: &[], change: |before, after, word, bus| {
        load_as_if(before, after, word, bus, |context| WalkContext { mxr: true, ..context })
    } },
    Mutant { about: "loads ignore that a page is not U-mode's", rows: LOADS, with: &[], change: |before, after, word, bus| {
        let other = |context: WalkContext| if context.mode == Mode::U { Mode::S } else { context.mode };
        load_as_if(before, after, word, bus, |context| WalkContext { mode: other(context), ..context })
    } },
    Mutant { about: "a walk for a load sets D", rows: LOADS, with: &[], change: |before, after, word, bus| {
        let Some(bus) = bus.filter(|_| !trapped(before, after)) else { return false };
        let context = WalkContext::of(before, AccessKind::Load);
        let Ok(found) = walk(&mut Tables(bus), &context, before.x[field(word, "rs1")], AccessKind::Load) else { return false };
        let Some(leaf) = found.pte_addresses().last() else { return false };
        let pte = bus.read(*leaf, 8).unwrap_or(0x80);
        pte & 0x80 == 0 && bus.write(*leaf, 8, pte | 0x80).is_ok()
    } },
];

/// Whether the instruction between the two states was a trap: nothing else writes all of xcause,
/// xepc and the program counter so.
fn trapped(before: &Hart, after: &Hart) -> bool {
    let at = |epc: u64, vector: u64| epc == before.pc && after.pc & !0x7f == vector & !0x7f;
    match after.mode {
        Mode::M => at(after.csr.mepc, after.csr.mtvec) && after.pc != before.pc.wrapping_add(4),
        Mode::S => at(after.csr.sepc, after.csr.stvec) && after.pc != before.pc.wrapping_add(4),
        Mode::U => false,
    }
}

/// Page tables as they are; nothing is marked.
struct Tables<'a>(&'a Bus);

impl PteMemory for Tables<'_> {
    fn read_pte(&mut self, pa: u64) -> Result<u64, AccessFault> {
        self.0.read(pa, 8).map_err(|_| AccessFault)
    }
    fn compare_exchange_pte(&mut self, _: u64, _: u64, _: u64) -> Result<bool, AccessFault> {
        Ok(true)
    }
}

/// Does a load that ended in a page fault after all, if it can be translated in another context.
fn load_as_if(
    before: &Hart,
    after: &mut Hart,
    word: u32,
    bus: Option<&Bus>,
    other: impl Fn(WalkContext) -> WalkContext,
) -> bool {
    let cause = if after.mode == Mode::M { after.csr.mcause } else { after.csr.scause };
    let Some(bus) = bus.filter(|_| trapped(before, after) && cause == 13) else { return false };
    let context = other(WalkContext::of(before, AccessKind::Load));
    let address = before.x[field(word, "rs1")];
    let Ok(found) = walk(&mut Tables(bus), &context, address, AccessKind::Load) else { return false };
    let name = row_of(word).map_or("", |row| row.name);
    let size = match name.as_bytes().get(1) {
        Some(b'b') => 1,
        Some(b'h') => 2,
        Some(b'w') => 4,
        _ => 8,
    };
    let Ok(value) = bus.read(found.pa, size) else { return false };
    let unused = if name.ends_with('u') { 0 } else { 64 - 8 * u32::from(size) };
    after.clone_from(before);
    after.pc = before.pc.wrapping_add(4);
    set_rd(
        after,
        word,
        (value << unused) as i64 as u64 >> unused | ((value << unused) as i64 >> unused) as u64,
    );
    true
}
