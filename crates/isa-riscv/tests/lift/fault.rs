//! Rule 9: an instruction commits nothing before its last fault. A machine whose n-th access faults,
//! over all rows. Jumps count as accesses, for a target may be refused.

use crate::random::{BASE, Random};
use crate::target::{Access, IrMachine, blocks};
use isa_core::{AmoOp, Bin, Machine, Order, Un, Width};
use isa_riscv::disasm::length;
use isa_riscv::random::rows;
use isa_riscv::rows::flag;
use isa_riscv::testkit::TestMachine;
use isa_riscv::{Change, Env, Exception, Hart, Op, RiscvMachine, Trap, decode16, decode32, execute, ops};

/// A test machine whose accesses fault from the n-th on.
struct Faulty {
    m: TestMachine,
    good: u32,
    /// What has been accessed, and how.
    log: Vec<Access>,
}

const PLANTED: Trap = Trap::new(Exception::StorePage, 0x5eed);

impl Faulty {
    fn ordered(&mut self, access: Access) -> Result<(), Trap> {
        self.log.push(access);
        self.access()
    }

    fn access(&mut self) -> Result<(), Trap> {
        self.good = self.good.checked_sub(1).ok_or(PLANTED)?;
        Ok(())
    }
}

impl Machine for Faulty {
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
        self.m.select(c, a, b)
    }
    fn pc(&mut self) -> u64 {
        self.m.pc()
    }
    fn next_pc(&mut self) -> u64 {
        self.m.next_pc()
    }
    fn jump(&mut self, target: u64) -> Result<(), Trap> {
        self.access()?;
        self.m.jump(target)
    }
    fn jump_if(&mut self, taken: u64, target: u64) -> Result<(), Trap> {
        if taken != 0 {
            self.access()?;
        }
        self.m.jump_if(taken, target)
    }
    fn load(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Trap> {
        self.ordered((va, width, order))?;
        self.m.load(va, width, order)
    }
    fn store(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<(), Trap> {
        self.ordered((va, width, order))?;
        self.m.store(va, width, v, order)
    }
    fn amo(&mut self, op: AmoOp, va: u64, width: Width, v: u64, order: Order) -> Result<u64, Trap> {
        self.ordered((va, width, order))?;
        self.m.amo(op, va, width, v, order)
    }
    fn load_reserved(&mut self, va: u64, width: Width, order: Order) -> Result<u64, Trap> {
        self.ordered((va, width, order))?;
        self.m.load_reserved(va, width, order)
    }
    fn store_conditional(&mut self, va: u64, width: Width, v: u64, order: Order) -> Result<u64, Trap> {
        self.ordered((va, width, order))?;
        self.m.store_conditional(va, width, v, order)
    }
    fn fence(&mut self, order: Order) {
        Machine::fence(&mut self.m, order);
    }
}

impl RiscvMachine for Faulty {
    fn x(&mut self, r: u8) -> u64 {
        self.m.x(r)
    }
    fn set_x(&mut self, r: u8, v: u64) {
        self.m.set_x(r, v);
    }
    fn f(&mut self, r: u8) -> u64 {
        self.m.f(r)
    }
    fn set_f(&mut self, r: u8, v: u64) {
        self.m.set_f(r, v);
    }
    fn call(&mut self, op: Op, args: [u64; 4]) -> Result<u64, Trap> {
        ops::run(self, op, args)
    }
}

impl Env for Faulty {
    fn hart(&mut self) -> &mut Hart {
        self.m.hart()
    }
    fn hart_ref(&self) -> &Hart {
        self.m.hart_ref()
    }
    fn insn_pc(&self) -> u64 {
        self.m.insn_pc()
    }
    fn time(&mut self) -> u64 {
        self.m.time()
    }
    fn retired(&mut self) -> u64 {
        self.m.retired()
    }
    fn lines(&mut self) -> u64 {
        self.m.lines()
    }
    fn changed(&mut self, what: Change) {
        self.m.changed(what);
    }
    fn wait_for_interrupt(&mut self) {
        self.m.wait_for_interrupt();
    }
    fn jump_to(&mut self, pc: u64) {
        self.m.jump_to(pc);
    }
    fn zero_block(&mut self, va: u64) -> Result<(), Trap> {
        self.access()?;
        self.m.zero_block(va)
    }
    fn manage_block(&mut self, va: u64) -> Result<(), Trap> {
        self.access()?;
        self.m.manage_block(va)
    }
}

#[test]
fn no_row_has_changed_anything_when_its_nth_access_faults() {
    let mut random = Random::new(4);
    for row in rows() {
        let mut faults = 0;
        for _ in 0..200 {
            let mut m = random.machine();
            let word = random.insn(row);
            random.reserve(&mut m, row, word);
            let decoded = if length(word) == 2 { decode16(word as u16) } else { decode32(word) };
            let insn = decoded.expect("an instruction");
            m.begin_at(m.hart.pc, length(word).into());
            for good in 0..8 {
                let mut faulty = Faulty { m: m.clone(), good, log: Vec::new() };
                let result = execute(&mut faulty, insn);
                if result != Err(PLANTED) {
                    break;
                }
                faults += 1;
                assert!(faulty.m == m, "{} {word:#010x}: changed before access {good}", row.name);
            }
        }
        let accesses = row.flags & (flag::LOAD | flag::STORE) != 0
            || row.name.starts_with("cbo.")
            || ["jal", "jalr", "beq", "bgeu", "c.j", "c.jr", "c.beqz"].contains(&row.name);
        assert!(!accesses || faults > 0, "{} never faulted", row.name);
    }
}

/// No state shows the ordering of an access, so it is compared itself.
#[test]
fn accesses_are_the_same_in_both_forms() {
    let mut random = Random::new(6);
    let mut compared = 0;
    for row in rows() {
        for _ in 0..100 {
            let mut m = random.machine();
            m.hart.csr.mstatus |= isa_riscv::csr_fields::mstatus::FS;
            let word = random.insn(row);
            let decoded = if length(word) == 2 { decode16(word as u16) } else { decode32(word) };
            m.begin_at(BASE, length(word).into());
            let mut plain = Faulty { m: m.clone(), good: u32::MAX, log: Vec::new() };
            let _ = execute(&mut plain, decoded.expect("an instruction"));
            for block in &blocks(&[word], true) {
                let mut ir = IrMachine::new(m.clone());
                let _ = ir.run(block);
                assert_eq!(ir.log, plain.log, "{block}");
            }
            compared += plain.log.len();
        }
    }
    assert!(compared > 5000, "{compared}");
}
