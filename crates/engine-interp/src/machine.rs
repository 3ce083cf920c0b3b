//! The hart as a machine: values are numbers.

use crate::cpu::{Cpu, Stop};
use isa_core::{AmoOp, Bin, Machine, Order, Un, Width};
use isa_riscv::{Exception, Op, RiscvMachine, Trap, ops};

impl Machine for Cpu {
    type V = u64;
    type Stop = Stop;

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
        self.pc_now()
    }
    /// Only asked for at the end of a block, where it is what `next_pc` was set to.
    #[inline(always)]
    fn next_pc(&mut self) -> u64 {
        self.next_pc
    }
    #[inline(always)]
    fn jump(&mut self, target: u64) -> Result<(), Stop> {
        if target & self.unaligned != 0 {
            return Err(misaligned(target));
        }
        self.next_pc = target;
        Ok(())
    }
    #[inline(always)]
    fn jump_if(&mut self, taken: u64, target: u64) -> Result<(), Stop> {
        if taken != 0 {
            return self.jump(target);
        }
        Ok(())
    }
    #[inline(always)]
    fn load(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Stop> {
        let value = self.load_fast(va, width)?;
        acquire(order);
        Ok(value)
    }
    #[inline(always)]
    fn store(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<(), Stop> {
        release(order);
        self.store_fast(va, width, v)
    }
    #[inline(always)]
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, _order: Order) -> Result<u64, Stop> {
        self.atomic(op, va, width, v)
    }
    #[inline(always)]
    fn load_reserved(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Stop> {
        // A release annotation puts it behind earlier stores too, in all harts' eyes (RVWMO, rule 6).
        if matches!(order, Order::Both | Order::Release) {
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        }
        let value = self.reserve(va, width)?;
        acquire(order);
        Ok(value)
    }
    #[inline(always)]
    fn store_conditional(&mut self, va: u64, width: Width, v: u64, _order: Order) -> Result<u64, Stop> {
        self.conditional(va, width, v)
    }
    #[inline(always)]
    fn fence(&mut self, order: Order) {
        order.fence();
    }
}

/// The trap of a jump to where no instruction can be: it is the jump's own, before rd is written
/// (Unprivileged ISA, "Control Transfer Instructions").
#[cold]
fn misaligned(target: u64) -> Stop {
    Trap { cause: Exception::InsnMisaligned, tval: target }.into()
}

/// What an acquiring load needs after its relaxed host load.
#[inline(always)]
fn acquire(order: Order) {
    use std::sync::atomic::{Ordering, fence};
    match order {
        Order::Acquire | Order::Tso => fence(Ordering::Acquire),
        Order::Both => fence(Ordering::SeqCst),
        Order::Plain | Order::Release => {}
    }
}

/// What a releasing store needs before its relaxed host store.
#[inline(always)]
fn release(order: Order) {
    use std::sync::atomic::{Ordering, fence};
    match order {
        Order::Release | Order::Tso => fence(Ordering::Release),
        Order::Both => fence(Ordering::SeqCst),
        Order::Plain | Order::Acquire => {}
    }
}

impl RiscvMachine for Cpu {
    #[inline(always)]
    fn x(&mut self, r: u8) -> u64 {
        self.hart.x[usize::from(r & 31)]
    }
    /// Writes the register, then zeroes register 0: cheaper than asking which it was.
    #[inline(always)]
    fn set_x(&mut self, r: u8, v: u64) {
        self.hart.x[usize::from(r & 31)] = v;
        self.hart.x[0] = 0;
    }
    #[inline(always)]
    fn f(&mut self, r: u8) -> u64 {
        self.hart.f[usize::from(r & 31)]
    }
    #[inline(always)]
    fn set_f(&mut self, r: u8, v: u64) {
        self.hart.f[usize::from(r & 31)] = v;
        self.hart.csr.set_fp_dirty();
    }
    #[inline(always)]
    fn call(&mut self, op: Op, args: [u64; 4]) -> Result<u64, Stop> {
        ops::run(self, op, args).map_err(Stop::Trap)
    }
}
