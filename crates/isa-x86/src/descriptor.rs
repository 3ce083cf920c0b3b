//! Descriptors in the GDT and LDT (SDM volume 3, "Segment Descriptors", "System Descriptor Types").

use crate::{Access, Env, Fault, Mode, Segment, State, seg, vector};
use isa_core::Width;

/// Accesses of the processor's own to descriptor tables and the TSS.
pub(crate) const SYSTEM: Access = Access { write: false, fetch: false, user: false, implicit: true };
/// The same, storing.
pub(crate) const SYSTEM_WRITE: Access = Access { write: true, ..SYSTEM };

/// Types of system descriptors.
pub mod kind {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const TSS16: u8 = 1;
    pub const LDT: u8 = 2;
    pub const TSS16_BUSY: u8 = 3;
    pub const CALL16: u8 = 4;
    pub const TASK_GATE: u8 = 5;
    pub const INTERRUPT16: u8 = 6;
    pub const TRAP16: u8 = 7;
    pub const TSS: u8 = 9;
    pub const TSS_BUSY: u8 = 0xb;
    pub const CALL: u8 = 0xc;
    pub const INTERRUPT: u8 = 0xe;
    pub const TRAP: u8 = 0xf;
}

/// The error code that names a selector.
pub(crate) const fn code_of(selector: u16) -> u32 {
    (selector & !3) as u32
}

/// Whether a selector is null: it names the first entry of the GDT.
pub(crate) const fn is_null(selector: u16) -> bool {
    selector & !3 == 0
}

/// Requested privilege level.
pub(crate) const fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// A descriptor as it stands in its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    /// Its (first) eight bytes.
    pub raw: u64,
    /// Its linear address.
    pub at: u64,
    /// The selector that named it.
    pub selector: u16,
}

impl Descriptor {
    /// As a segment register would hold it.
    pub fn segment(self) -> Segment {
        let raw = self.raw;
        let bit = |n: u32| raw >> n & 1 != 0;
        let limit = (raw & 0xffff | raw >> 32 & 0xf_0000) as u32;
        Segment {
            selector: self.selector,
            base: raw >> 16 & 0xff_ffff | raw >> 56 << 24,
            limit: if bit(55) { limit << 12 | 0xfff } else { limit },
            kind: (raw >> 40 & 0xf) as u8,
            dpl: (raw >> 45 & 3) as u8,
            s: bit(44),
            present: bit(47),
            available: bit(52),
            long: bit(53),
            big: bit(54),
            granular: bit(55),
            unusable: false,
        }
    }

    /// Sets the accessed bit in memory if it is not set, and gives the segment with it.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn accessed<E: Env>(self, env: &mut E) -> Result<Segment, Fault> {
        let segment = self.segment();
        if segment.kind & 1 == 0 {
            let byte = (self.raw >> 40 & 0xff) | 1;
            env.write(self.at.wrapping_add(5), Width::B1, byte, SYSTEM_WRITE)?;
        }
        Ok(Segment { kind: segment.kind | 1, ..segment })
    }
}

/// Reads the descriptor that `selector` (not null) names.
///
/// # Errors
/// Exception `vector` with the selector if it is outside its table; a fault of the access.
pub(crate) fn read<E: Env>(env: &mut E, selector: u16, vector: u8) -> Result<Descriptor, Fault> {
    let (base, limit) = match selector & 4 {
        0 => (env.state_ref().gdtr.base, u64::from(env.state_ref().gdtr.limit)),
        _ => match env.state_ref().ldtr {
            Segment { unusable: true, .. } => return Err(Fault::coded(vector, code_of(selector))),
            Segment { base, limit, .. } => (base, u64::from(limit)),
        },
    };
    let offset = u64::from(selector & !7);
    if offset + 7 > limit {
        return Err(Fault::coded(vector, code_of(selector)));
    }
    let at = table_address(env.state_ref(), base, offset);
    let raw = env.read(at, Width::B8, SYSTEM)?;
    Ok(Descriptor { raw, at, selector })
}

/// Reads the second half of a 16-byte system descriptor: bits 63:32 of its base or offset.
///
/// # Errors
/// `vector` with the selector if it is outside the table, or its type field there is not 0.
pub(crate) fn read_high<E: Env>(env: &mut E, descriptor: Descriptor, vector: u8) -> Result<u64, Fault> {
    let Descriptor { selector, at, .. } = descriptor;
    let state = env.state_ref();
    let limit = if selector & 4 == 0 { u64::from(state.gdtr.limit) } else { u64::from(state.ldtr.limit) };
    let refused = Fault::coded(vector, code_of(selector));
    if u64::from(selector & !7) + 15 > limit {
        return Err(refused);
    }
    let high = env.read(at.wrapping_add(8), Width::B8, SYSTEM)?;
    if high >> 40 & 0x1f != 0 { Err(refused) } else { Ok(high & 0xffff_ffff) }
}

/// Linear address `offset` bytes into a table: 32 bits outside long mode.
pub(crate) fn table_address(state: &State, base: u64, offset: u64) -> u64 {
    let at = base.wrapping_add(offset);
    if state.long_mode() { at } else { at & 0xffff_ffff }
}

/// Loads SS, DS, ES, FS or GS as `mov` and `pop` do (SDM volume 2, "MOV"); CS is loaded by far transfers only.
///
/// # Errors
/// #GP, #SS, #NP with the selector.
pub(crate) fn load_data<E: Env>(env: &mut E, register: u8, selector: u16) -> Result<(), Fault> {
    if !env.state_ref().protected() {
        let old = *env.state_ref().segment(register);
        let limit = if old.unusable { 0xffff } else { old.limit };
        let real = Segment { limit, big: old.big && !old.unusable, ..Segment::real(selector) };
        *env.state().segment_mut(register) = real;
        return Ok(());
    }
    let state = env.state_ref();
    let cpl = state.cpl();
    let refused = Fault::gp(code_of(selector));
    if is_null(selector) {
        let allowed = state.mode() == Mode::Bits64 && cpl < 3 && rpl(selector) == cpl;
        if register == seg::SS && !allowed {
            return Err(Fault::gp(0));
        }
        let dpl = if register == seg::SS { cpl } else { 0 };
        *env.state().segment_mut(register) = Segment { selector, base: 0, dpl, ..Segment::null() };
        return Ok(());
    }
    let descriptor = read(env, selector, vector::GP)?;
    let s = descriptor.segment();
    if register == seg::SS {
        if rpl(selector) != cpl || !s.is_writable() || s.dpl != cpl {
            return Err(refused);
        }
        if !s.present {
            return Err(Fault::coded(vector::SS, code_of(selector)));
        }
    } else {
        let guarded = !s.is_conforming() && (rpl(selector) > s.dpl || cpl > s.dpl);
        if !s.is_readable() || guarded {
            return Err(refused);
        }
        if !s.present {
            return Err(Fault::coded(vector::NP, code_of(selector)));
        }
    }
    let loaded = descriptor.accessed(env)?;
    *env.state().segment_mut(register) = loaded;
    Ok(())
}

/// Checks a stack segment for level `cpl` as a change of level takes it from a TSS or a stack (SDM volume 2, "CALL",
/// "IRET"): faults are `vector` with the selector, #SS if it is not present.
///
/// # Errors
/// See above.
pub(crate) fn stack_segment<E: Env>(
    env: &mut E,
    selector: u16,
    cpl: u8,
    vector: u8,
) -> Result<Descriptor, Fault> {
    if is_null(selector) {
        return Err(Fault::coded(vector, 0));
    }
    let descriptor = read(env, selector, vector)?;
    let s = descriptor.segment();
    if rpl(selector) != cpl || s.dpl != cpl || !s.is_writable() {
        return Err(Fault::coded(vector, code_of(selector)));
    }
    if !s.present {
        return Err(Fault::coded(vector::SS, code_of(selector)));
    }
    Ok(descriptor)
}

/// After a return to an outer level: data segments that it may not use become null (SDM volume 2, "RET").
pub(crate) fn drop_inner_segments<E: Env>(env: &mut E) {
    let cpl = env.state_ref().cpl();
    for n in [seg::ES, seg::FS, seg::GS, seg::DS] {
        let s = env.state().segment_mut(n);
        if !s.unusable && !s.is_conforming() && s.dpl < cpl {
            *s = Segment::null();
        }
    }
}
