//! Pushes and pops of far transfers and events: on a stack that is not committed until they are over.

use crate::{Access, Env, Fault, Segment, State, seg, vector};
use isa_core::Width;

/// A stack in use: SS and the stack pointer, not yet in the registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    pub ss: Segment,
    pub sp: u64,
    /// Width of the stack pointer.
    pub width: Width,
    /// Whether its accesses are user-mode accesses.
    pub user: bool,
    /// Error code of #SS for a limit violation.
    pub error: u32,
}

impl Stack {
    /// The present one.
    pub fn current(state: &State) -> Stack {
        let [_, _, _, _, rsp, ..] = state.gpr;
        let ss = *state.segment(seg::SS);
        Stack { ss, sp: rsp, width: state.stack_width(), user: state.cpl() == 3, error: 0 }
    }

    /// The present one, if it has to be addressed as 64-bit mode does.
    pub fn current64(state: &State) -> Stack {
        Stack { width: Width::B8, ..Stack::current(state) }
    }

    /// The linear address of `bytes` bytes at `offset`, which has the width of the stack pointer.
    fn linear<E: Env>(&self, env: &E, offset: u64, bytes: u64, write: bool) -> Result<u64, Fault> {
        let refused = Err(Fault::coded(vector::SS, self.error));
        if self.width == Width::B8 {
            return if env.state_ref().canonical(offset) { Ok(offset) } else { refused };
        }
        let protected = env.state_ref().protected();
        let allowed = !protected || !self.ss.unusable && (!write || self.ss.is_writable());
        if allowed && self.ss.holds(offset, bytes) {
            return Ok(self.ss.base.wrapping_add(offset) & 0xffff_ffff);
        }
        refused
    }

    fn access(&self, write: bool) -> Access {
        Access { write, fetch: false, user: self.user, implicit: false }
    }

    /// Pushes `width` bytes.
    ///
    /// # Errors
    /// #SS, or the store's.
    pub fn push<E: Env>(&mut self, env: &mut E, width: Width, value: u64) -> Result<(), Fault> {
        let sp = self.sp.wrapping_sub(width.bytes()) & self.width.mask();
        let la = self.linear(env, sp, width.bytes(), true)?;
        env.write(la, width, value & width.mask(), self.access(true))?;
        self.sp = sp;
        Ok(())
    }

    /// Reads `width` bytes, `ahead` bytes above the stack pointer.
    ///
    /// # Errors
    /// #SS, or the load's.
    pub fn peek<E: Env>(&self, env: &mut E, width: Width, ahead: u64) -> Result<u64, Fault> {
        let offset = self.sp.wrapping_add(ahead) & self.width.mask();
        let la = self.linear(env, offset, width.bytes(), false)?;
        env.read(la, width, self.access(false))
    }

    /// Pops `width` bytes.
    ///
    /// # Errors
    /// #SS, or the load's.
    pub fn pop<E: Env>(&mut self, env: &mut E, width: Width) -> Result<u64, Fault> {
        let value = self.peek(env, width, 0)?;
        self.skip(width.bytes());
        Ok(value)
    }

    /// Drops `bytes` bytes.
    pub fn skip(&mut self, bytes: u64) {
        self.sp = self.sp.wrapping_add(bytes) & self.width.mask();
    }

    /// Puts the stack pointer into RSP, ESP or SP.
    pub fn commit(&self, state: &mut State) {
        let [_, _, _, _, rsp, ..] = &mut state.gpr;
        *rsp = match self.width {
            Width::B8 => self.sp,
            Width::B4 => self.sp & 0xffff_ffff,
            _ => *rsp & !0xffff | self.sp & 0xffff,
        };
    }
}
