//! The code that all blocks share: the way in, the ways out, and the ways to the host's functions.
//!
//! Where floating-point instructions are not legal, no guest register lives in a vector register and MXCSR is the host's.
//! Such code has ways of its own, which are shorter. Where the two kinds of code meet (the jump table leads from one to
//! the other when an instruction has changed what is legal), [`Writer::elsewhere`] makes good for it.

use crate::asm::{Alu, Asm, Cc, Rmi};
use crate::layout::{Layout, Leave, Shared, Ways};
use crate::reg::{BUDGET, F_HOMES, RAX, RCX, RDX, Reg, X_HOMES};

/// Addresses of the host's functions. Each takes the processor's state, then what is named, and gives a value and a status:
/// 0 to go on; at most [`crate::Leave::LAST`] to leave with a reason, which is one less; else the host's address of the
/// code for the program counter.
#[derive(Clone, Copy, Debug)]
pub struct Helpers {
    /// Address, [`crate::Info`].
    pub load: u64,
    /// Address, info, value.
    pub store: u64,
    /// A floating-point operation, info.
    pub float: u64,
    /// Any other operation, info.
    pub system: u64,
    /// The same for one that depends on the state of floating point, or changes it.
    pub status: u64,
    /// Cause, info, value.
    pub trap: u64,
    /// Address, info, operand.
    pub amo: u64,
    /// Address, info.
    pub reserve: u64,
    /// Address, info, value.
    pub conditional: u64,
}

/// The shared code, and where its parts are.
pub struct SharedCode {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where to enter: with the processor's state as first and the address of a block as second argument, as a C function
    /// that returns the reason for leaving.
    pub enter: u64,
    /// The rest, for blocks.
    pub shared: Shared,
}

const RBP: Reg = Reg(5);
const RSI: Reg = Reg(6);
const RDI: Reg = Reg(7);
/// Registers that a C function may change and that are homes.
const LOST: [Reg; 6] = [RSI, RDI, Reg(8), Reg(9), Reg(10), Reg(11)];
const SAVED: [Reg; 6] = [Reg(3), RBP, Reg(12), Reg(13), Reg(14), Reg(15)];

/// What a way to a function keeps for the code that calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// General registers.
    General,
    /// Vector registers too.
    Vectors,
    /// And the function sees MXCSR in the processor's state, and may change it there.
    Mxcsr,
}

/// The shared code for address `base`. `rbp` is how far the register rbp points into the state.
pub fn shared(layout: &Layout, helpers: &Helpers, base: u64, rbp: i32) -> SharedCode {
    let mut s = Writer { asm: Asm::default(), layout: *layout, rbp };
    let enter = base + s.enter();
    let mut ways = |floats: bool| {
        let keeps = if floats { Keeps::Vectors } else { Keeps::General };
        let status = if floats { Keeps::Mxcsr } else { Keeps::General };
        let (leave, failed) = s.leave(floats);
        let find = base + s.find(leave, false);
        let find_far = base + s.find(leave, true);
        let mut way = |helper, keeps| base + s.call(helper, keeps);
        Ways {
            load: way(helpers.load, keeps),
            store: way(helpers.store, keeps),
            system: way(helpers.system, keeps),
            status: way(helpers.status, status),
            float: way(helpers.float, Keeps::Mxcsr),
            trap: way(helpers.trap, keeps),
            amo: way(helpers.amo, keeps),
            reserve: way(helpers.reserve, keeps),
            conditional: way(helpers.conditional, keeps),
            leave: base + leave as u64,
            find,
            find_far,
            failed: base + failed as u64,
        }
    };
    let shared = Shared { plain: ways(false), floats: ways(true) };
    SharedCode { bytes: s.asm.bytes().to_vec(), enter, shared }
}

struct Writer {
    asm: Asm,
    layout: Layout,
    rbp: i32,
}

impl Writer {
    fn enter(&mut self) -> u64 {
        let at = self.asm.len() as u64;
        SAVED.into_iter().for_each(|r| self.asm.push(r));
        // Six registers and the return address: this aligns the stack, as calls want it.
        self.asm.push(RAX);
        self.asm.lea(RBP, RDI, self.rbp);
        self.asm.mov(RDX, RSI);
        for (guest, home) in X_HOMES {
            self.asm.load(home, self.layout.x + 8 * i32::from(guest));
        }
        self.asm.load(BUDGET, self.layout.budget);
        self.asm.test_mem32(self.layout.floats, self.layout.floats_bit);
        let plain = self.asm.jcc(Cc::E);
        self.fetch_floats();
        let here = self.asm.len();
        self.asm.patch(plain, here);
        self.asm.load(RAX, self.layout.pc);
        self.asm.jmp_reg(RDX);
        at
    }

    /// Puts guest registers into their vector homes.
    fn fetch_floats(&mut self) {
        for (guest, home) in F_HOMES {
            self.asm.load_f(home, self.layout.f + 8 * i32::from(guest));
        }
        self.asm.load_mxcsr(self.layout.mxcsr);
    }

    /// Puts them where the host's code looks for them.
    fn put_floats(&mut self) {
        for (guest, home) in F_HOMES {
            self.asm.save_f(self.layout.f + 8 * i32::from(guest), home);
        }
        self.asm.save_mxcsr(self.layout.mxcsr);
        self.asm.load_mxcsr(self.layout.host_mxcsr);
    }

    /// Where blocks leave with a reason in eax, and where they go with the status of a call in rdx.
    fn leave(&mut self, floats: bool) -> (usize, usize) {
        let failed = self.asm.len();
        self.asm.alu(Alu::Cmp, RDX, Rmi::I(Leave::LAST as i32));
        let elsewhere = self.asm.jcc(Cc::A);
        self.asm.lea(RAX, RDX, -1);
        let leave = self.asm.len();
        if floats {
            self.put_floats();
        }
        for (guest, home) in X_HOMES {
            self.asm.save(self.layout.x + 8 * i32::from(guest), home);
        }
        self.asm.save(self.layout.budget, BUDGET);
        self.asm.pop(RCX);
        SAVED.into_iter().rev().for_each(|r| self.asm.pop(r));
        self.asm.ret();
        let here = self.asm.len();
        self.asm.patch(elsewhere, here);
        self.elsewhere(floats);
        (leave, failed)
    }

    /// Goes to the code for the program counter in rax, which the entry at rcx of the jump table does not have, if one of the
    /// other three that are in line with it has it, else leaves: to look it up, or if it is `far` for the reason in the
    /// layout's place. rdx is the number of the context.
    fn find(&mut self, leave: usize, far: bool) -> u64 {
        let at = self.asm.len() as u64;
        for entry in [1, 3, 1] {
            self.asm.alu(Alu::Xor, RCX, Rmi::I(32 * entry));
            self.asm.cmp_at(RAX, RCX, 0);
            let other = self.asm.jcc(Cc::Ne);
            self.asm.cmp_at(RDX, RCX, 8);
            let stale = self.asm.jcc(Cc::Ne);
            self.asm.jmp_at(RCX, 16);
            let here = self.asm.len();
            self.asm.patch(other, here);
            self.asm.patch(stale, here);
        }
        self.asm.save(self.layout.pc, RAX);
        if far {
            self.asm.load(RAX, self.layout.reason);
        } else {
            self.asm.mov_imm(RAX, u64::from(Leave::Lookup as u32));
        }
        let to = self.asm.jmp();
        self.asm.patch(to, leave);
        at
    }

    /// Goes to the code at rdx, which is that for the program counter.
    fn elsewhere(&mut self, floats: bool) {
        self.asm.test_mem32(self.layout.floats, self.layout.floats_bit);
        let same = self.asm.jcc(if floats { Cc::Ne } else { Cc::E });
        if floats {
            for (guest, home) in F_HOMES {
                self.asm.save_f(self.layout.f + 8 * i32::from(guest), home);
            }
            self.asm.load_mxcsr(self.layout.host_mxcsr);
        } else {
            self.fetch_floats();
        }
        let here = self.asm.len();
        self.asm.patch(same, here);
        self.asm.load(RAX, self.layout.pc);
        self.asm.jmp_reg(RDX);
    }

    /// A way to a function: its second argument is in rdx, its third in eax, its fourth in rcx. Registers are kept, but for
    /// the scratch ones; rax is the value, and the zero flag says whether to go on, else rdx is what `failed` wants.
    fn call(&mut self, helper: u64, keeps: Keeps) -> u64 {
        let at = self.asm.len() as u64;
        let floats = if keeps == Keeps::General { 0 } else { 8 * F_HOMES.len() as i32 };
        LOST.into_iter().for_each(|r| self.asm.push(r));
        // With the return address and six registers this keeps the stack in line.
        self.asm.move_stack(-(floats + 8));
        if floats != 0 {
            for (n, (_, home)) in (0..).zip(F_HOMES) {
                self.asm.save_stack_f(8 * n, home);
            }
        }
        self.asm.save(self.layout.budget, BUDGET);
        if keeps == Keeps::Mxcsr {
            self.asm.save_mxcsr(self.layout.mxcsr);
            self.asm.load_mxcsr(self.layout.host_mxcsr);
        }
        self.asm.lea(RDI, RBP, -self.rbp);
        self.asm.mov(RSI, RDX);
        self.asm.mov32(RDX, RAX);
        self.asm.mov_imm(RAX, helper);
        self.asm.call_reg(RAX);
        if floats != 0 {
            for (n, (_, home)) in (0..).zip(F_HOMES) {
                self.asm.load_stack_f(home, 8 * n);
            }
        }
        self.asm.move_stack(floats + 8);
        LOST.into_iter().rev().for_each(|r| self.asm.pop(r));
        self.asm.load(BUDGET, self.layout.budget);
        if keeps == Keeps::Mxcsr {
            self.asm.load_mxcsr(self.layout.mxcsr);
        }
        self.asm.test(RDX);
        self.asm.ret();
        at
    }
}
