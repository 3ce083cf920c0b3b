//! The smallest machine that the meanings run on, for tests: registers, one stretch of memory, user mode.

use crate::{
    Access, Change, Env, Fault, Insn, Meaning, Mode, Op, State, X86Machine, cr0, efer, execute, ops, rflags,
    seg,
};
use isa_core::{AmoOp, Bin, Condition, Flag, FlagKind, LazyFlags, Machine, Order, Un, Width};
use std::ops::Range;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// The machine.
pub struct TestMachine {
    /// The processor.
    pub state: State,
    /// What is at [`TestMachine::base`].
    pub data: Vec<u8>,
    /// Linear address of the data, a multiple of 4096. Nothing else is mapped.
    pub base: u64,
    /// How many bytes of the data may be written: whole pages.
    pub writable: u64,
    /// How many elements a string instruction does before it is run again.
    pub slice: u64,
    next: u64,
    target: Option<u64>,
    again: bool,
}

impl TestMachine {
    /// A machine in user mode, with code of this size and flat segments, or real-address mode with 16-bit code; the data
    /// is zero.
    pub fn new(mode: Mode, base: u64, bytes: usize, writable: u64) -> TestMachine {
        let mut state = State::reset();
        state.rip = 0;
        for n in seg::ES..=seg::GS {
            let segment = state.segment_mut(n);
            segment.base = 0;
            if mode != Mode::Bits16 {
                (segment.dpl, segment.big, segment.limit) = (3, true, u32::MAX);
            }
        }
        state.cr0 |= if mode == Mode::Bits16 { 0 } else { cr0::PE | cr0::PG };
        if mode == Mode::Bits64 {
            state.msrs.efer = efer::LMA | efer::LME;
            let code = state.segment_mut(seg::CS);
            (code.long, code.big) = (true, false);
        }
        let data = vec![0; bytes];
        TestMachine { state, data, base, writable, slice: u64::MAX, next: 0, target: None, again: false }
    }

    /// Runs one instruction, as often as a string instruction asks.
    ///
    /// # Errors
    /// Its fault; RIP is where it was.
    pub fn run(&mut self, meaning: Meaning, insn: &Insn) -> Result<(), Fault> {
        self.begin(insn.length);
        loop {
            execute(self, meaning, insn)?;
            if !self.takes_again() {
                break;
            }
        }
        self.end();
        Ok(())
    }

    /// An instruction of `length` bytes begins at RIP.
    pub fn begin(&mut self, length: u8) {
        self.next = self.state.rip.wrapping_add(length.into());
        (self.target, self.again) = (None, false);
    }

    /// Whether a string instruction has asked to be run again. It is no longer asking.
    pub fn takes_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// The instruction is done.
    pub fn end(&mut self) {
        self.state.rip = self.target.unwrap_or(self.next);
    }

    /// What the page at `la` answers to an access.
    fn page(&self, la: u64, write: bool) -> Result<(), Fault> {
        let at = la.wrapping_sub(self.base);
        let user = u32::from(self.state.cpl() == 3) << 2 | u32::from(write) << 1;
        match at {
            at if at < self.writable => Ok(()),
            at if at < self.data.len() as u64 && !write => Ok(()),
            at if at < self.data.len() as u64 => Err(Fault::page(user | 1, la)),
            _ => Err(Fault::page(user, la)),
        }
    }

    /// Where `bytes` bytes at `la` are in the data.
    fn place(&self, la: u64, bytes: u64, write: bool) -> Result<Range<usize>, Fault> {
        self.page(la, write)?;
        let last = la.wrapping_add(bytes - 1);
        if (la ^ last) / PAGE != 0 {
            self.page(last & !(PAGE - 1), write)?;
        }
        let at = la.wrapping_sub(self.base) as usize;
        Ok(at..at + bytes as usize)
    }

    fn get_bytes(&mut self, la: u64, width: Width, write: bool) -> Result<u64, Fault> {
        let place = self.place(la, width.bytes(), write)?;
        let bytes = self.data.get(place).unwrap_or_default();
        Ok(match bytes {
            [a] => (*a).into(),
            [a, b] => u16::from_le_bytes([*a, *b]).into(),
            [a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]).into(),
            _ => bytes.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b)),
        })
    }

    fn put_bytes(&mut self, la: u64, width: Width, v: u64) -> Result<(), Fault> {
        let place = self.place(la, width.bytes(), true)?;
        let to = self.data.get_mut(place).unwrap_or_default();
        to.iter_mut().zip(v.to_le_bytes()).for_each(|(to, from)| *to = from);
        Ok(())
    }
}

impl Machine for TestMachine {
    type V = u64;
    type Stop = Fault;

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
        self.state.rip
    }
    fn next_pc(&mut self) -> u64 {
        self.next
    }
    fn jump(&mut self, target: u64) -> Result<(), Fault> {
        self.state.check_target(target)?;
        self.target = Some(target);
        Ok(())
    }
    fn jump_if(&mut self, taken: u64, target: u64) -> Result<(), Fault> {
        if taken != 0 { self.jump(target) } else { Ok(()) }
    }
    fn load(&mut self, va: u64, width: Width, _: Order) -> Result<u64, Fault> {
        self.get_bytes(va, width, false)
    }
    fn store(&mut self, va: u64, width: Width, v: u64, _: Order) -> Result<(), Fault> {
        self.put_bytes(va, width, v)
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, _: Order) -> Result<u64, Fault> {
        let old = width.sign_extend(self.get_bytes(va, width, true)?);
        self.put_bytes(va, width, op.apply(old, width.sign_extend(v)))?;
        Ok(old)
    }
    fn load_reserved(&mut self, _: u64, _: Width, _: Order) -> Result<u64, Fault> {
        unreachable!("x86 has no reservations")
    }
    fn store_conditional(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<u64, Fault> {
        unreachable!("x86 has no reservations")
    }
    fn fence(&mut self, _: Order) {}
}

impl X86Machine for TestMachine {
    fn r(&mut self, r: u8) -> u64 {
        self.state.gpr.get(usize::from(r)).copied().unwrap_or(0)
    }
    fn set_r(&mut self, r: u8, v: u64) {
        if let Some(register) = self.state.gpr.get_mut(usize::from(r)) {
            *register = v;
        }
    }
    fn flag(&mut self, flag: Flag) -> u64 {
        self.state.status.flag(flag).into()
    }
    fn status(&mut self) -> u64 {
        self.state.status.bits()
    }
    fn condition(&mut self, condition: Condition) -> u64 {
        self.state.status.condition(condition).into()
    }
    fn set_flags(&mut self, kind: FlagKind, width: Width, [a, b, c]: [u64; 3]) {
        self.state.status = LazyFlags { kind, width, a, b, c };
    }
    fn set_flags_if(&mut self, condition: u64, kind: FlagKind, width: Width, operands: [u64; 3]) {
        if condition != 0 {
            self.set_flags(kind, width, operands);
        }
    }
    fn direction(&mut self) -> u64 {
        u64::from(self.state.system_flags & rflags::DF != 0)
    }
    fn set_direction(&mut self, v: u64) {
        self.state.system_flags &= !rflags::DF;
        self.state.system_flags |= if v != 0 { rflags::DF } else { 0 };
    }
    fn mode(&mut self) -> Mode {
        self.state.mode()
    }
    fn stack_width(&mut self) -> Width {
        self.state.stack_width()
    }
    fn linear(&mut self, segment: u8, offset: u64, width: Width, write: bool) -> Result<u64, Fault> {
        Env::linear(self, segment, offset, width.bytes(), write)
    }
    fn load_for_update(&mut self, va: u64, width: Width) -> Result<u64, Fault> {
        self.get_bytes(va, width, true)
    }
    fn compare_exchange(&mut self, va: u64, width: Width, expected: u64, new: u64) -> Result<u64, Fault> {
        let old = self.get_bytes(va, width, true)?;
        if old == expected {
            self.put_bytes(va, width, new)?;
        }
        Ok(old)
    }
    fn fault(&mut self, fault: Fault) -> Fault {
        fault
    }
    fn fault_if(&mut self, condition: u64, fault: Fault) -> Result<(), Fault> {
        if condition != 0 { Err(fault) } else { Ok(()) }
    }
    fn call(&mut self, op: Op, args: [u64; 4]) -> Result<u64, Fault> {
        ops::run(self, op, args)
    }
}

impl Env for TestMachine {
    fn state(&mut self) -> &mut State {
        &mut self.state
    }
    fn state_ref(&self) -> &State {
        &self.state
    }
    fn next_rip(&self) -> u64 {
        self.next
    }
    fn linear(&mut self, segment: u8, offset: u64, bytes: u64, write: bool) -> Result<u64, Fault> {
        self.state.linear(segment, offset, bytes, write)
    }
    fn read(&mut self, la: u64, width: Width, access: Access) -> Result<u64, Fault> {
        self.get_bytes(la, width, access.write)
    }
    fn write(&mut self, la: u64, width: Width, value: u64, _: Access) -> Result<(), Fault> {
        self.put_bytes(la, width, value)
    }
    fn probe(&mut self, la: u64, bytes: u64, access: Access) -> Result<(), Fault> {
        self.place(la, bytes, access.write).map(|_| ())
    }
    fn compare_exchange(
        &mut self,
        la: u64,
        width: Width,
        expected: u64,
        new: u64,
        _: Access,
    ) -> Result<u64, Fault> {
        X86Machine::compare_exchange(self, la, width, expected, new)
    }
    fn compare_exchange_16(&mut self, la: u64, expected: u128, new: u128, _: Access) -> Result<u128, Fault> {
        let (low, high) = (self.get_bytes(la, Width::B8, true)?, self.get_bytes(la + 8, Width::B8, true)?);
        let old = u128::from(high) << 64 | u128::from(low);
        if old == expected {
            self.put_bytes(la, Width::B8, new as u64)?;
            self.put_bytes(la + 8, Width::B8, (new >> 64) as u64)?;
        }
        Ok(old)
    }
    fn port_in(&mut self, _: u16, _: Width) -> u64 {
        u64::MAX
    }
    fn port_out(&mut self, _: u16, _: Width, _: u64) {}
    fn tsc(&mut self) -> u64 {
        0
    }
    fn set_tsc_offset(&mut self, offset: u64) {
        self.state.msrs.tsc_offset = offset;
    }
    fn cr8(&mut self) -> u64 {
        0
    }
    fn set_cr8(&mut self, _: u64) {}
    fn outer_msr(&mut self, _: u32) -> Option<u64> {
        None
    }
    fn set_outer_msr(&mut self, _: u32, _: u64) -> Option<()> {
        None
    }
    fn changed(&mut self, _: Change) {}
    fn jump_to(&mut self, rip: u64) {
        self.target = Some(rip);
    }
    fn again(&mut self) {
        self.again = true;
    }
    fn elements(&mut self) -> u64 {
        self.slice
    }
    fn halt(&mut self) {}
    fn pause(&mut self) {}
}
