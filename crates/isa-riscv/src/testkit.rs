//! A small machine for tests: one hart and flat memory, nothing translated, nothing protected.
//!
//! It runs the meanings on plain numbers, one instruction at a time, and records what operations tell
//! their surroundings. It is no engine: the conformance lines run on it, and so can whatever wants to
//! be compared with the plainest reading of a row.

use crate::{
    Change, Env, Exception, Features, Hart, Insn, Op, RiscvMachine, Trap, decode16, decode32, disasm,
    execute, ops,
};
use isa_core::{AmoOp, Bin, Machine, Order, Un, Width};

/// One hart and its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestMachine {
    /// The hart.
    pub hart: Hart,
    /// Address of the first byte of memory.
    pub base: u64,
    /// Memory, from `base`.
    pub memory: Vec<u8>,
    /// What `time` reads as.
    pub time: u64,
    /// Interrupt lines driven from outside.
    pub lines: u64,
    /// Instructions that retired.
    pub retired: u64,
    /// The address and width reserved by `lr`.
    pub reservation: Option<(u64, Width)>,
    /// What operations said may be stale.
    pub changes: Vec<Change>,
    /// Fences executed.
    pub fences: Vec<Order>,
    /// Whether `wfi` found nothing pending.
    pub waiting: bool,
    insn_pc: u64,
    next_pc: u64,
    /// Where the current instruction goes on, if not after itself.
    pub target: Option<u64>,
}

impl TestMachine {
    /// A machine with `size` bytes of zeroes at `base`, whose hart starts there.
    pub fn new(features: &Features, base: u64, size: usize) -> TestMachine {
        let mut hart = Hart::new(0, features);
        hart.pc = base;
        TestMachine {
            hart,
            base,
            memory: vec![0; size],
            time: 0,
            lines: 0,
            retired: 0,
            reservation: None,
            changes: Vec::new(),
            fences: Vec::new(),
            waiting: false,
            insn_pc: base,
            next_pc: base,
            target: None,
        }
    }

    /// The `bytes` bytes at `address`, if they are all memory.
    pub fn slice(&mut self, address: u64, bytes: u64) -> Option<&mut [u8]> {
        let start = usize::try_from(address.checked_sub(self.base)?).ok()?;
        self.memory.get_mut(start..start.checked_add(usize::try_from(bytes).ok()?)?)
    }

    /// Reads a little-endian number.
    pub fn read(&mut self, address: u64, width: Width) -> Option<u64> {
        let bytes = self.slice(address, width.bytes())?;
        Some(bytes.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b)))
    }

    /// Writes a little-endian number; `None` if that is not all memory.
    pub fn write(&mut self, address: u64, width: Width, v: u64) -> Option<()> {
        let bytes = self.slice(address, width.bytes())?;
        bytes.iter_mut().zip(v.to_le_bytes()).for_each(|(to, from)| *to = from);
        Some(())
    }

    /// The instruction at `pc`, with its bits.
    ///
    /// # Errors
    /// An access fault, or an illegal instruction, which a floating-point one is while FS is Off.
    pub fn fetch(&mut self) -> Result<(u32, Insn), Trap> {
        let pc = self.hart.pc;
        let fault = Trap::new(Exception::InsnAccess, pc);
        let low = self.read(pc, Width::B2).ok_or(fault)? as u32;
        let word = if disasm::length(low) == 2 {
            low
        } else {
            low | (self.read(pc.wrapping_add(2), Width::B2).ok_or(fault)? as u32) << 16
        };
        let insn = if disasm::length(word) == 2 { decode16(word as u16) } else { decode32(word) };
        let fp = |insn: Insn| {
            crate::ROWS.get(insn.index()).is_some_and(|row| row.flags & crate::rows::flag::FP != 0)
        };
        match insn {
            Some(insn) if !fp(insn) || self.hart.csr.fp_on() => Ok((word, insn)),
            _ => Err(Trap::new(Exception::IllegalInsn, u64::from(word))),
        }
    }

    /// Forgets the last instruction: what is noted from here on is about the one at `pc`.
    pub fn begin(&mut self) {
        (self.insn_pc, self.next_pc, self.target) = (self.hart.pc, self.hart.pc, None);
    }

    /// Goes to the instruction of `length` bytes at `pc`, for who runs it by other means than
    /// [`TestMachine::step`].
    pub fn begin_at(&mut self, pc: u64, length: u64) {
        self.hart.pc = pc;
        self.begin();
        self.next_pc = pc.wrapping_add(length);
    }

    /// Runs the instruction at `pc`. A trap is not taken: the hart stays where it was.
    ///
    /// # Errors
    /// The trap.
    pub fn step(&mut self) -> Result<(), Trap> {
        let (word, insn) = self.fetch()?;
        self.begin();
        self.next_pc = self.insn_pc.wrapping_add(u64::from(disasm::length(word)));
        execute(self, insn).map_err(|trap| match trap {
            Trap { cause: Exception::IllegalInsn, tval: 0 } => Trap::new(trap.cause, u64::from(word)),
            other => other,
        })?;
        self.hart.pc = self.target.unwrap_or(self.next_pc);
        self.retired += 1;
        Ok(())
    }

    /// Whether an atomic access of `width` at `va` is aligned; else the trap is `cause`.
    fn aligned(va: u64, width: Width, cause: Exception) -> Result<(), Trap> {
        if va & (width.bytes() - 1) == 0 { Ok(()) } else { Err(Trap::new(cause, va)) }
    }
}

impl Machine for TestMachine {
    type V = u64;
    type Stop = Trap;

    fn imm(&mut self, k: u64) -> u64 {
        k
    }
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        op.apply(a, b)
    }
    fn un(&mut self, op: Un, a: u64) -> u64 {
        op.apply(a)
    }
    fn select(&mut self, c: u64, a: u64, b: u64) -> u64 {
        if c != 0 { a } else { b }
    }
    fn pc(&mut self) -> u64 {
        self.insn_pc
    }
    fn next_pc(&mut self) -> u64 {
        self.next_pc
    }
    fn jump(&mut self, target: u64) -> Result<(), Trap> {
        self.target = Some(target);
        Ok(())
    }
    fn jump_if(&mut self, taken: u64, target: u64) -> Result<(), Trap> {
        if taken != 0 { self.jump(target) } else { Ok(()) }
    }
    fn load(&mut self, va: u64, width: Width, _: Order) -> Result<u64, Trap> {
        self.read(va, width).ok_or(Trap::new(Exception::LoadAccess, va))
    }
    fn store(&mut self, va: u64, width: Width, v: u64, _: Order) -> Result<(), Trap> {
        self.write(va, width, v).ok_or(Trap::new(Exception::StoreAccess, va))
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, _: Order) -> Result<u64, Trap> {
        Self::aligned(va, width, Exception::StoreMisaligned)?;
        let fault = Trap::new(Exception::StoreAccess, va);
        let old = width.sign_extend(self.read(va, width).ok_or(fault)?);
        self.write(va, width, op.apply(old, v)).ok_or(fault)?;
        Ok(old)
    }
    fn load_reserved(&mut self, va: u64, width: Width, _: Order) -> Result<u64, Trap> {
        Self::aligned(va, width, Exception::LoadMisaligned)?;
        let v = self.read(va, width).ok_or(Trap::new(Exception::LoadAccess, va))?;
        self.reservation = Some((va, width));
        Ok(width.sign_extend(v))
    }
    fn store_conditional(&mut self, va: u64, width: Width, v: u64, _: Order) -> Result<u64, Trap> {
        Self::aligned(va, width, Exception::StoreMisaligned)?;
        if self.reservation.take() != Some((va, width)) {
            return Ok(1);
        }
        self.write(va, width, v).ok_or(Trap::new(Exception::StoreAccess, va))?;
        Ok(0)
    }
    fn fence(&mut self, order: Order) {
        self.fences.push(order);
    }
}

impl RiscvMachine for TestMachine {
    fn x(&mut self, r: u8) -> u64 {
        self.hart.x.get(usize::from(r)).copied().unwrap_or(0)
    }
    fn set_x(&mut self, r: u8, v: u64) {
        if let Some(x) = self.hart.x.get_mut(usize::from(r)).filter(|_| r != 0) {
            *x = v;
        }
    }
    fn f(&mut self, r: u8) -> u64 {
        self.hart.f.get(usize::from(r)).copied().unwrap_or(0)
    }
    fn set_f(&mut self, r: u8, v: u64) {
        if let Some(f) = self.hart.f.get_mut(usize::from(r)) {
            *f = v;
        }
        self.hart.csr.set_fp_dirty();
    }
    fn call(&mut self, op: Op, args: [u64; 4]) -> Result<u64, Trap> {
        ops::run(self, op, args)
    }
}

impl Env for TestMachine {
    fn hart(&mut self) -> &mut Hart {
        &mut self.hart
    }
    fn hart_ref(&self) -> &Hart {
        &self.hart
    }
    fn insn_pc(&self) -> u64 {
        self.insn_pc
    }
    fn time(&mut self) -> u64 {
        self.time
    }
    fn retired(&mut self) -> u64 {
        self.retired
    }
    fn lines(&mut self) -> u64 {
        self.lines
    }
    fn changed(&mut self, what: Change) {
        self.changes.push(what);
    }
    fn wait_for_interrupt(&mut self) {
        self.waiting = true;
    }
    fn jump_to(&mut self, pc: u64) {
        self.target = Some(pc);
    }
    fn zero_block(&mut self, va: u64) -> Result<(), Trap> {
        let block = self.slice(va & !63, 64).ok_or(Trap::new(Exception::StoreAccess, va))?;
        block.fill(0);
        Ok(())
    }
    fn manage_block(&mut self, va: u64) -> Result<(), Trap> {
        self.slice(va & !63, 64).map(|_| ()).ok_or(Trap::new(Exception::StoreAccess, va))
    }
}
