//! The processor as a machine: values are numbers.

use crate::cpu::{Cpu, Stopped};
use isa_core::{AmoOp, Bin, Condition, Flag, FlagKind, LazyFlags, Machine, Order, Un, Width};
use isa_x86::{Fault, Mode, Op, X86Machine, ops, rflags, seg, vector};

impl Machine for Cpu {
    type V = u64;
    type Stop = Stopped;

    #[inline(always)]
    fn imm(&mut self, k: u64) -> u64 {
        k
    }
    #[inline(always)]
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        op.apply(a, b)
    }
    #[inline(always)]
    fn un(&mut self, op: Un, a: u64) -> u64 {
        op.apply(a)
    }
    #[inline(always)]
    fn select(&mut self, c: u64, a: u64, b: u64) -> u64 {
        if c != 0 { a } else { b }
    }
    #[inline(always)]
    fn pc(&mut self) -> u64 {
        self.rip_now()
    }
    #[inline(always)]
    fn next_pc(&mut self) -> u64 {
        self.rip_behind()
    }
    #[inline(always)]
    fn jump(&mut self, target: u64) -> Result<(), Stopped> {
        let allowed = match self.mode {
            Mode::Bits64 => self.canonical(target),
            _ => target <= u64::from(self.state.segment(seg::CS).limit),
        };
        if !allowed {
            return Err(self.stop(Fault::gp(0)));
        }
        self.next_rip = target;
        Ok(())
    }
    #[inline(always)]
    fn jump_if(&mut self, taken: u64, target: u64) -> Result<(), Stopped> {
        if taken != 0 {
            return self.jump(target);
        }
        Ok(())
    }
    #[inline(always)]
    fn load(&mut self, va: u64, width: Width, _order: Order) -> Result<u64, Stopped> {
        let value = self.load_fast(va, width, false)?;
        // Total store order: loads are acquires, stores are releases.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        Ok(value)
    }
    #[inline(always)]
    fn store(&mut self, va: u64, width: Width, v: u64, _order: Order) -> Result<(), Stopped> {
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        self.store_fast(va, width, v)
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, _order: Order) -> Result<u64, Stopped> {
        self.atomic(op, va, width, v).map_err(|fault| self.stop(fault))
    }
    /// No x86 instruction reserves.
    fn load_reserved(&mut self, _va: u64, _width: Width, _order: Order) -> Result<u64, Stopped> {
        Err(self.stop(Fault::ud()))
    }
    fn store_conditional(&mut self, _va: u64, _width: Width, _v: u64, _order: Order) -> Result<u64, Stopped> {
        Err(self.stop(Fault::ud()))
    }
    #[inline(always)]
    fn fence(&mut self, order: Order) {
        order.fence();
    }
}

impl Cpu {
    #[inline(always)]
    fn canonical(&self, la: u64) -> bool {
        ((la << self.unused_bits) as i64 >> self.unused_bits) as u64 == la
    }

    /// The fault of an address that is not canonical.
    #[cold]
    fn stray(&mut self, segment: u8) -> Stopped {
        let vector = if segment == seg::SS { vector::SS } else { vector::GP };
        self.stop(Fault::coded(vector, 0))
    }
}

impl X86Machine for Cpu {
    #[inline(always)]
    fn r(&mut self, r: u8) -> u64 {
        self.state.gpr[usize::from(r & 15)]
    }
    #[inline(always)]
    fn set_r(&mut self, r: u8, v: u64) {
        self.state.gpr[usize::from(r & 15)] = v;
    }
    #[inline(always)]
    fn flag(&mut self, flag: Flag) -> u64 {
        self.state.status.flag(flag).into()
    }
    #[inline(always)]
    fn status(&mut self) -> u64 {
        self.state.status.bits()
    }
    /// In one step: the shortcuts of a comparison need no single flag.
    #[inline(always)]
    fn condition(&mut self, condition: Condition) -> u64 {
        self.state.status.condition(condition).into()
    }
    #[inline(always)]
    fn set_flags(&mut self, kind: FlagKind, width: Width, [a, b, c]: [u64; 3]) {
        self.state.status = LazyFlags { kind, width, a, b, c };
    }
    #[inline(always)]
    fn set_flags_if(&mut self, condition: u64, kind: FlagKind, width: Width, operands: [u64; 3]) {
        if condition != 0 {
            self.set_flags(kind, width, operands);
        }
    }
    #[inline(always)]
    fn direction(&mut self) -> u64 {
        u64::from(self.state.system_flags & rflags::DF != 0)
    }
    #[inline(always)]
    fn set_direction(&mut self, v: u64) {
        let flags = &mut self.state.system_flags;
        *flags = if v != 0 { *flags | rflags::DF } else { *flags & !rflags::DF };
    }
    #[inline(always)]
    fn mode(&mut self) -> Mode {
        self.mode
    }
    #[inline(always)]
    fn stack_width(&mut self) -> Width {
        self.stack_width
    }
    #[inline(always)]
    fn linear(&mut self, segment: u8, offset: u64, width: Width, write: bool) -> Result<u64, Stopped> {
        if self.mode == Mode::Bits64 {
            let base = if segment >= seg::FS { self.state.segment(segment).base } else { 0 };
            let la = base.wrapping_add(offset);
            return if self.canonical(la) { Ok(la) } else { Err(self.stray(segment)) };
        }
        self.state.linear(segment, offset, width.bytes(), write).map_err(|fault| self.stop(fault))
    }
    #[inline(always)]
    fn load_for_update(&mut self, va: u64, width: Width) -> Result<u64, Stopped> {
        self.load_fast(va, width, true)
    }
    fn compare_exchange(&mut self, va: u64, width: Width, expected: u64, new: u64) -> Result<u64, Stopped> {
        self.exchange_if(va, width, expected, new).map_err(|fault| self.stop(fault))
    }
    fn fault(&mut self, fault: Fault) -> Stopped {
        self.stop(fault)
    }
    #[inline(always)]
    fn fault_if(&mut self, condition: u64, fault: Fault) -> Result<(), Stopped> {
        if condition != 0 { Err(self.stop(fault)) } else { Ok(()) }
    }
    #[inline]
    fn call(&mut self, op: Op, args: [u64; 4]) -> Result<u64, Stopped> {
        ops::run(self, op, args).map_err(|fault| self.stop(fault))
    }
}
