//! Host registers, and which guest registers live in them.
//!
//! The map is the same in all code of the first tier, so that nothing moves where one block goes on into another. The
//! guest registers in it are those that compilers use most; the others live in the hart's memory.

/// A general register by its number in an encoding: 0 is rax, 4 rsp, 15 r15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

/// A vector register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xmm(pub u8);

/// Scratch, also the target of an indirect jump.
pub const RAX: Reg = Reg(0);
/// Scratch.
pub const RCX: Reg = Reg(1);
/// Scratch, also the address of an access.
pub const RDX: Reg = Reg(2);
/// What is left of the instruction budget.
pub const BUDGET: Reg = Reg(15);
/// Scratch registers, which hold values inside a block only.
pub const TEMPS: [Reg; 3] = [RAX, RCX, RDX];

/// Guest integer registers that live in host registers: (guest, host). a5, a4, a3, a0, s0, sp, a2, a1, s1, ra.
pub const X_HOMES: [(u8, Reg); 10] = [
    (15, Reg(3)),
    (14, Reg(6)),
    (13, Reg(7)),
    (10, Reg(8)),
    (8, Reg(9)),
    (2, Reg(10)),
    (12, Reg(11)),
    (11, Reg(12)),
    (9, Reg(13)),
    (1, Reg(14)),
];

/// Vector registers that hold values inside a block only: 0 to 3.
pub const TEMPS_F: usize = 4;

/// Guest floating-point registers that live in vector registers: fa0 to fa7, ft0 to ft3.
pub const F_HOMES: [(u8, Xmm); 12] = [
    (10, Xmm(4)),
    (11, Xmm(5)),
    (12, Xmm(6)),
    (13, Xmm(7)),
    (14, Xmm(8)),
    (15, Xmm(9)),
    (16, Xmm(10)),
    (17, Xmm(11)),
    (0, Xmm(12)),
    (1, Xmm(13)),
    (2, Xmm(14)),
    (3, Xmm(15)),
];

/// Where each guest register lives.
#[derive(Clone, Debug)]
pub struct Homes {
    /// Integer registers.
    pub x: [Option<Reg>; 32],
    /// Floating-point registers.
    pub f: [Option<Xmm>; 32],
}

impl Default for Homes {
    fn default() -> Self {
        let mut homes = Homes { x: [None; 32], f: [None; 32] };
        for (guest, host) in X_HOMES {
            homes.x[usize::from(guest & 31)] = Some(host);
        }
        for (guest, host) in F_HOMES {
            homes.f[usize::from(guest & 31)] = Some(host);
        }
        homes
    }
}
