//! x87 and SSE state as a whole: what kernels need to keep it (SDM volume 1, "FXSAVE Area"; volume 2, each
//! instruction). There is no arithmetic on it yet, so that no x87 exception can be pending.

use crate::{Access, Env, Fault, Fpu, Mode, cr0, cr4, vector};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FpuOp {
    /// `fninit`
    Init,
    /// `fnclex`
    ClearExceptions,
    /// `fnstcw`: the control word.
    StoreControl,
    /// `fldcw` of `[word]`
    LoadControl,
    /// `fnstsw`: the status word.
    StoreStatus,
    /// `wait`
    Wait,
    /// `fxsave` to linear address `[la]`, with 64-bit pointers or without.
    Save(bool),
    /// `fxrstor` from linear address `[la]`.
    Restore(bool),
    /// Whether `ldmxcsr` and `stmxcsr` may be executed, before they touch memory.
    CheckMxcsr,
    /// `ldmxcsr` of `[value]`
    LoadMxcsr,
    /// `stmxcsr`
    StoreMxcsr,
}

/// Bits of MXCSR that exist.
const MXCSR_MASK: u32 = 0xffff;

/// Runs one.
///
/// # Errors
/// #UD and #NM by CR0 and CR4; #GP(0) for a bad address or MXCSR; the access's fault.
pub fn run<E: Env>(env: &mut E, op: FpuOp, [a, ..]: [u64; 4]) -> Result<u64, Fault> {
    available(env, op)?;
    let fpu = &mut env.state().fpu;
    match op {
        FpuOp::Init => {
            let (xmm, mxcsr) = (fpu.xmm, fpu.mxcsr);
            let st = fpu.st;
            *fpu = Fpu { control: 0x37f, xmm, mxcsr, st, ..Fpu::default() };
        }
        FpuOp::ClearExceptions => fpu.status &= 0x7f00,
        FpuOp::StoreControl => return Ok(fpu.control.into()),
        // Bit 6 is always 1.
        FpuOp::LoadControl => fpu.control = a as u16 & 0x1f7f | 0x40,
        FpuOp::StoreStatus => return Ok(fpu.status.into()),
        FpuOp::Wait | FpuOp::CheckMxcsr => {}
        FpuOp::Save(wide) => save(env, a, wide)?,
        FpuOp::Restore(wide) => restore(env, a, wide)?,
        FpuOp::LoadMxcsr => {
            let value = a as u32;
            if value & !MXCSR_MASK != 0 {
                return Err(Fault::gp(0));
            }
            fpu.mxcsr = value;
        }
        FpuOp::StoreMxcsr => return Ok(fpu.mxcsr.into()),
    }
    Ok(0)
}

/// SDM volume 3, "x87 FPU and SSE Interactions with CR0": EM, TS, MP.
fn available<E: Env>(env: &E, op: FpuOp) -> Result<(), Fault> {
    let state = env.state_ref();
    let on = |bit| state.cr0 & bit != 0;
    let (undefined, unavailable) = match op {
        FpuOp::Wait => (false, on(cr0::MP) && on(cr0::TS)),
        FpuOp::Save(_) | FpuOp::Restore(_) => (on(cr0::EM), on(cr0::TS)),
        FpuOp::CheckMxcsr | FpuOp::LoadMxcsr | FpuOp::StoreMxcsr => {
            (on(cr0::EM) || state.cr4 & cr4::OSFXSR == 0, on(cr0::TS))
        }
        _ => (false, on(cr0::EM) || on(cr0::TS)),
    };
    match (undefined, unavailable) {
        (true, _) => Err(Fault::ud()),
        (_, true) => Err(Fault::plain(vector::NM)),
        _ => Ok(()),
    }
}

/// Eight bytes of the area.
type Words = [u64; 64];

/// How many of the XMM registers an area has: eight outside 64-bit mode.
fn registers<E: Env>(env: &E) -> usize {
    if env.state_ref().mode() == Mode::Bits64 { 16 } else { 8 }
}

fn aligned(la: u64) -> Result<(), Fault> {
    if la.is_multiple_of(16) { Ok(()) } else { Err(Fault::gp(0)) }
}

fn save<E: Env>(env: &mut E, la: u64, wide: bool) -> Result<(), Fault> {
    aligned(la)?;
    let access = Access::data(env.state_ref().cpl(), true);
    env.probe(la, 512, access)?;
    let fpu = &env.state_ref().fpu;
    let pointer_mask = if wide { u64::MAX } else { 0xffff_ffff };
    let mut words: Words = [0; 64];
    let head = [
        u64::from(fpu.control)
            | u64::from(fpu.status) << 16
            | u64::from(fpu.tags) << 32
            | u64::from(fpu.opcode) << 48,
        fpu.instruction & pointer_mask,
        fpu.data & pointer_mask,
        u64::from(fpu.mxcsr) | u64::from(MXCSR_MASK) << 32,
    ];
    let st = fpu.st.iter().map(|st| st & ((1 << 80) - 1));
    let xmm = fpu.xmm.iter().copied().take(registers(env));
    let pairs = st.chain(xmm).flat_map(|v| [v as u64, (v >> 64) as u64]);
    let all = head.into_iter().chain(pairs);
    let mut used = 0;
    for (slot, word) in words.iter_mut().zip(all) {
        *slot = word;
        used += 1;
    }
    // What lies behind the registers is not written.
    for (n, word) in (0u64..).zip(words.into_iter().take(used)) {
        env.write(la.wrapping_add(8 * n), Width::B8, word, access)?;
    }
    Ok(())
}

fn restore<E: Env>(env: &mut E, la: u64, wide: bool) -> Result<(), Fault> {
    aligned(la)?;
    let access = Access::data(env.state_ref().cpl(), false);
    let count = 4 + 16 + 2 * registers(env);
    let mut words: Words = [0; 64];
    for (n, word) in (0u64..).zip(words.iter_mut().take(count)) {
        *word = env.read(la.wrapping_add(8 * n), Width::B8, access)?;
    }
    let [head, instruction, data, mxcsr, rest @ ..] = words;
    if mxcsr as u32 & !MXCSR_MASK != 0 {
        return Err(Fault::gp(0));
    }
    let xmm_count = registers(env);
    let pointer_mask = if wide { u64::MAX } else { 0xffff_ffff };
    let fpu = &mut env.state().fpu;
    fpu.control = head as u16 & 0x1f7f | 0x40;
    fpu.status = (head >> 16) as u16;
    fpu.tags = (head >> 32) as u8;
    fpu.opcode = (head >> 48) as u16 & 0x7ff;
    fpu.instruction = instruction & pointer_mask;
    fpu.data = data & pointer_mask;
    fpu.mxcsr = mxcsr as u32;
    let (pairs, _) = rest.as_chunks::<2>();
    let value = |&[low, high]: &[u64; 2]| u128::from(high) << 64 | u128::from(low);
    for (st, pair) in fpu.st.iter_mut().zip(pairs) {
        *st = value(pair) & ((1 << 80) - 1);
    }
    for (xmm, pair) in fpu.xmm.iter_mut().take(xmm_count).zip(pairs.iter().skip(8)) {
        *xmm = value(pair);
    }
    Ok(())
}
