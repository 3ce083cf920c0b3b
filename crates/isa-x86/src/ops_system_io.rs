//! Ports (SDM volume 1, "Input/Output"; volume 2, "IN", "OUT", "INS", "OUTS").

use crate::descriptor::{self, SYSTEM, kind};
use crate::ops_string::put;
use crate::{Access, Env, Fault, rflags, seg};
use isa_core::Width;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoOp {
    /// `in`: so many bytes from port `[port]`.
    In(Width),
    /// `out`: so many bytes of `[port, value]`.
    Out(Width),
    /// `ins`
    Ins(PortString),
    /// `outs`
    Outs(PortString),
}

/// What is fixed at decoding of `ins` or `outs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortString {
    /// Element.
    pub width: Width,
    /// Address size.
    pub address: Width,
    /// Segment of the source of `outs`; `ins` stores to ES.
    pub segment: u8,
    /// With REP.
    pub rep: bool,
}

/// Runs one.
///
/// # Errors
/// #GP(0) for a port that may not be accessed; the access's fault.
pub fn run<E: Env>(env: &mut E, op: IoOp, [port, value, ..]: [u64; 4]) -> Result<u64, Fault> {
    match op {
        IoOp::In(width) => {
            permitted(env, port as u16, width)?;
            Ok(env.port_in(port as u16, width))
        }
        IoOp::Out(width) => {
            permitted(env, port as u16, width)?;
            env.port_out(port as u16, width, value & width.mask());
            Ok(0)
        }
        IoOp::Ins(form) => string(env, form, true),
        IoOp::Outs(form) => string(env, form, false),
    }
}

/// Checks I/O privilege level and permission bit map (SDM volume 1, "I/O Permission Bit Map").
fn permitted<E: Env>(env: &mut E, port: u16, width: Width) -> Result<(), Fault> {
    let state = env.state_ref();
    if state.within_iopl() {
        return Ok(());
    }
    let refused = Err(Fault::gp(0));
    let (tr, limit) = (state.tr, u64::from(state.tr.limit));
    if tr.unusable || !matches!(tr.kind, kind::TSS | kind::TSS_BUSY) || limit < 0x67 {
        return refused;
    }
    let at = descriptor::table_address(state, tr.base, 0x66);
    let map = env.read(at, Width::B2, SYSTEM)?;
    let byte = map + u64::from(port / 8);
    if byte + 1 > limit {
        return refused;
    }
    let at = descriptor::table_address(env.state_ref(), tr.base, byte);
    let bits = env.read(at, Width::B2, SYSTEM)?;
    let mask = (1 << width.bytes()) - 1;
    if bits >> (port % 8) & mask == 0 { Ok(()) } else { refused }
}

fn string<E: Env>(env: &mut E, form: PortString, input: bool) -> Result<u64, Fault> {
    let [_, rcx, rdx, ..] = env.state_ref().gpr;
    permitted(env, rdx as u16, form.width)?;
    if !form.rep {
        element(env, form, rdx as u16, input)?;
        return Ok(0);
    }
    let mut left = rcx & form.address.mask();
    let mut may = env.elements().max(1);
    while left != 0 {
        if may == 0 {
            env.again();
            return Ok(0);
        }
        element(env, form, rdx as u16, input)?;
        (left, may) = (left - 1, may - 1);
        let [_, rcx, ..] = &mut env.state().gpr;
        *rcx = put(*rcx, form.address, left);
    }
    Ok(0)
}

/// One element. What `ins` is going to store to is checked before the port is read.
fn element<E: Env>(env: &mut E, form: PortString, port: u16, input: bool) -> Result<(), Fault> {
    let PortString { width, address, segment, .. } = form;
    let state = env.state_ref();
    let back = state.system_flags & rflags::DF != 0;
    let access = Access::data(state.cpl(), input);
    let [.., rsi, rdi, _, _, _, _, _, _, _, _] = state.gpr;
    let offset = if input { rdi } else { rsi } & address.mask();
    let segment = if input { seg::ES } else { segment };
    let la = state.linear(segment, offset, width.bytes(), input)?;
    if input {
        env.probe(la, width.bytes(), access)?;
        let value = env.port_in(port, width);
        env.write(la, width, value, access)?;
    } else {
        let value = env.read(la, width, access)?;
        env.port_out(port, width, value);
    }
    let step = if back { width.bytes().wrapping_neg() } else { width.bytes() };
    let [.., rsi, rdi, _, _, _, _, _, _, _, _] = &mut env.state().gpr;
    let register = if input { rdi } else { rsi };
    *register = put(*register, address, offset.wrapping_add(step));
    Ok(())
}
