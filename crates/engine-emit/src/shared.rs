//! The code that all blocks share: the way in, the way out, and the ways to the host's functions.

use crate::asm::Asm;
use crate::layout::{Layout, Shared};
use crate::reg::{BUDGET, F_HOMES, RAX, RCX, RDX, Reg, X_HOMES};

/// Addresses of the host's functions. Each takes the processor's state, then what is named, and gives a value and a status:
/// 0 to go on, else one more than the reason to leave with.
#[derive(Clone, Copy, Debug)]
pub struct Helpers {
    /// Address, [`crate::Info`].
    pub load: u64,
    /// Address, info, value.
    pub store: u64,
    /// Operation, info.
    pub call: u64,
    /// Address, info, operand.
    pub amo: u64,
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

/// The shared code for address `base`. `rbp` is how far the register rbp points into the state.
pub fn shared(layout: &Layout, helpers: &Helpers, base: u64, rbp: i32) -> SharedCode {
    let mut s = Writer { asm: Asm::default(), layout: *layout, rbp };
    let enter = base + s.enter();
    let (leave, failed) = s.leave();
    let mut way = |helper, first| base + s.call(helper, first);
    let shared = Shared {
        load: way(helpers.load, RDX),
        store: way(helpers.store, RDX),
        call: way(helpers.call, RDX),
        amo: way(helpers.amo, RDX),
        leave: base + leave as u64,
        failed: base + failed as u64,
    };
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
        self.fetch();
        self.asm.load(RAX, self.layout.pc);
        self.asm.jmp_reg(RDX);
        at
    }

    /// Puts guest registers into their homes.
    fn fetch(&mut self) {
        for (guest, home) in X_HOMES {
            self.asm.load(home, self.layout.x + 8 * i32::from(guest));
        }
        for (guest, home) in F_HOMES {
            self.asm.load_f(home, self.layout.f + 8 * i32::from(guest));
        }
        self.asm.load(BUDGET, self.layout.budget);
        self.asm.load_mxcsr(self.layout.mxcsr);
    }

    /// Puts them where the host's code looks for them.
    fn put(&mut self) {
        for (guest, home) in X_HOMES {
            self.asm.save(self.layout.x + 8 * i32::from(guest), home);
        }
        for (guest, home) in F_HOMES {
            self.asm.save_f(self.layout.f + 8 * i32::from(guest), home);
        }
        self.asm.save(self.layout.budget, BUDGET);
        self.asm.save_mxcsr(self.layout.mxcsr);
        self.asm.load_mxcsr(self.layout.host_mxcsr);
    }

    /// Where blocks leave with a reason in eax, and with one more than it in edx.
    fn leave(&mut self) -> (usize, usize) {
        let failed = self.asm.len();
        self.asm.lea(RAX, RDX, -1);
        let leave = self.asm.len();
        self.put();
        self.asm.pop(RCX);
        SAVED.into_iter().rev().for_each(|r| self.asm.pop(r));
        self.asm.ret();
        (leave, failed)
    }

    /// A way to a function: its second argument is in `second`, its third in eax, its fourth in rcx. Registers are kept,
    /// but for the scratch ones; the zero flag says whether to go on, else rdx is one more than the reason to leave.
    fn call(&mut self, helper: u64, second: Reg) -> u64 {
        let at = self.asm.len() as u64;
        let floats = 8 * F_HOMES.len() as i32;
        LOST.into_iter().for_each(|r| self.asm.push(r));
        // With the return address and six registers this keeps the stack in line.
        self.asm.move_stack(-(floats + 8));
        for (n, (_, home)) in (0..).zip(F_HOMES) {
            self.asm.save_stack_f(8 * n, home);
        }
        self.asm.save(self.layout.budget, BUDGET);
        self.asm.save_mxcsr(self.layout.mxcsr);
        self.asm.load_mxcsr(self.layout.host_mxcsr);
        self.asm.lea(RDI, RBP, -self.rbp);
        self.asm.mov(RSI, second);
        self.asm.mov32(RDX, RAX);
        self.asm.mov_imm(RAX, helper);
        self.asm.call_reg(RAX);
        for (n, (_, home)) in (0..).zip(F_HOMES) {
            self.asm.load_stack_f(home, 8 * n);
        }
        self.asm.move_stack(floats + 8);
        LOST.into_iter().rev().for_each(|r| self.asm.pop(r));
        self.asm.load(BUDGET, self.layout.budget);
        self.asm.load_mxcsr(self.layout.mxcsr);
        self.asm.test32(RDX);
        self.asm.ret();
        at
    }
}
