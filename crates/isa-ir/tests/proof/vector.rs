//! As `isa-riscv` would have it: a machine with vector registers, the meaning of `vadd.vv`, and the two
//! machines that it runs on.

use isa_core::lanes::{self, MAX_VECTOR_BYTES};
use isa_core::{AmoOp, Bin, Machine, Order, Shape, Un, Width};
use isa_ir::{Builder, Class, Holds, Isa, Stop, Target, Value};

/// VLEN in bytes.
pub const VLENB: u16 = 16;

/// `vtype` and `vl`, which are constants of a block's key.
#[derive(Clone, Copy, Debug)]
pub struct VectorKey {
    /// SEW.
    pub element: Width,
    /// LMUL as a power of two: -3 to 3.
    pub lmul: i8,
    /// Elements to compute, at most VLMAX.
    pub vl: u16,
}

impl VectorKey {
    /// Registers of a group.
    pub fn registers(self) -> u8 {
        1 << self.lmul.max(0)
    }

    /// All elements of a group, those behind VLMAX of a fractional one included.
    pub fn shape(self) -> Shape {
        let bytes = VLENB * u16::from(self.registers());
        Shape { element: self.element, lanes: bytes / self.element as u16 }
    }

    /// VLMAX.
    pub fn most(self) -> u16 {
        let bytes = if self.lmul < 0 { VLENB >> -self.lmul } else { VLENB << self.lmul };
        bytes / self.element as u16
    }
}

/// What a vector instruction may ask beyond [`Machine`].
pub trait VectorMachine: Machine {
    /// A vector value.
    type Vector: Copy;
    /// The key: plain data in both forms.
    fn key(&mut self) -> VectorKey;
    /// Illegal instruction.
    fn illegal(&mut self) -> Self::Stop;
    /// `vstart`: a value, as it is 0 nearly always and may be anything.
    fn vstart(&mut self) -> Self::V;
    /// Writes `vstart`.
    fn set_vstart(&mut self, v: Self::V);
    /// `bytes` bytes of registers, from register `r` on.
    fn v(&mut self, r: u8, bytes: u16) -> Self::Vector;
    /// Writes registers from `r` on.
    fn set_v(&mut self, r: u8, v: Self::Vector);
    /// `op` lane by lane; under a mask, else the old lane, if these two are given.
    fn lanes(
        &mut self,
        op: Bin,
        shape: Shape,
        operands: [Self::Vector; 2],
        masked: Option<[Self::Vector; 2]>,
    ) -> Self::Vector;
    /// A mask with bits `start..end`.
    fn range(&mut self, bytes: u16, start: Self::V, end: Self::V) -> Self::Vector;
}

/// Operands of `vadd.vv vd, vs2, vs1, vm`.
#[derive(Clone, Copy, Debug)]
pub struct VaddVv {
    pub vd: u8,
    pub vs2: u8,
    pub vs1: u8,
    /// Not masked.
    pub vm: bool,
}

/// `vd[i] = vs2[i] + vs1[i]` for `vstart <= i < vl` where `v0` allows (Unprivileged ISA, "V", sections
/// "Vector Single-Width Integer Add and Subtract", "Prestart, Active, Inactive, Body, and Tail Element
/// Definitions"). Inactive and tail elements stay: undisturbed is right under either policy.
pub fn vadd_vv<M: VectorMachine>(m: &mut M, i: VaddVv) -> Result<(), M::Stop> {
    let key = m.key();
    let (group, shape) = (key.registers(), key.shape());
    // Groups are aligned; a masked destination is not v0.
    if !(i.vd | i.vs1 | i.vs2).is_multiple_of(group) || !i.vm && i.vd == 0 {
        return Err(m.illegal());
    }
    let bytes = VLENB * u16::from(group);
    let (a, b, old) = (m.v(i.vs2, bytes), m.v(i.vs1, bytes), m.v(i.vd, bytes));
    let (start, end) = (m.vstart(), m.imm(key.vl.into()));
    let body = m.range(VLENB, start, end);
    let mask = if i.vm {
        body
    } else {
        let v0 = m.v(0, VLENB);
        let bits = Shape { element: Width::B8, lanes: VLENB / 8 };
        m.lanes(Bin::And, bits, [body, v0], None)
    };
    let v = m.lanes(Bin::Add, shape, [a, b], Some([mask, old]));
    m.set_v(i.vd, v);
    let zero = m.imm(0);
    m.set_vstart(zero);
    Ok(())
}

pub const V: u8 = 0;
pub const VSTART: u8 = 1;

pub static ISA: Isa = Isa {
    classes: &[
        Class { name: "v", count: 32, holds: Holds::Vector(VLENB) },
        Class { name: "vstart", count: 1, holds: Holds::I64 },
    ],
    effects: |_| None,
    operation_name: |_| String::new(),
};

/// The IR form: a builder with the block's key.
pub struct Lifter {
    pub builder: Builder,
    pub key: VectorKey,
}

/// The interpreter form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hart {
    pub v: Vec<u8>,
    pub vstart: u64,
}

/// The interpreter form with its key; what a vector value is here.
pub struct Plain {
    pub hart: Hart,
    pub key: VectorKey,
}

/// An illegal instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal;

#[derive(Clone, Copy)]
pub struct Bytes([u8; MAX_VECTOR_BYTES as usize], u16);

impl Bytes {
    fn get(&self) -> &[u8] {
        &self.0[..usize::from(self.1)]
    }

    fn filled(bytes: u16, fill: impl FnOnce(&mut [u8])) -> Bytes {
        let mut new = Bytes([0; MAX_VECTOR_BYTES as usize], bytes);
        fill(&mut new.0[..usize::from(bytes)]);
        new
    }
}

/// A machine that only adds vectors: the rest of [`Machine`] is out of its reach.
macro_rules! only_values {
    () => {
        fn pc(&mut self) -> Self::V {
            unreachable!("vadd.vv does not ask for pc")
        }
        fn next_pc(&mut self) -> Self::V {
            unreachable!("vadd.vv does not ask for pc")
        }
        fn jump(&mut self, _: Self::V) -> Result<(), Self::Stop> {
            unreachable!("vadd.vv does not jump")
        }
        fn jump_if(&mut self, _: Self::V, _: Self::V) -> Result<(), Self::Stop> {
            unreachable!("vadd.vv does not jump")
        }
        fn load(&mut self, _: Self::V, _: Width, _: Order) -> Result<Self::V, Self::Stop> {
            unreachable!("vadd.vv does not touch memory")
        }
        fn store(&mut self, _: Self::V, _: Width, _: Self::V, _: Order) -> Result<(), Self::Stop> {
            unreachable!("vadd.vv does not touch memory")
        }
        fn amo(
            &mut self,
            _: AmoOp,
            _: Self::V,
            _: Width,
            _: Self::V,
            _: Order,
        ) -> Result<Self::V, Self::Stop> {
            unreachable!("vadd.vv does not touch memory")
        }
        fn load_reserved(&mut self, _: Self::V, _: Width, _: Order) -> Result<Self::V, Self::Stop> {
            unreachable!("vadd.vv does not touch memory")
        }
        fn store_conditional(
            &mut self,
            _: Self::V,
            _: Width,
            _: Self::V,
            _: Order,
        ) -> Result<Self::V, Self::Stop> {
            unreachable!("vadd.vv does not touch memory")
        }
        fn fence(&mut self, _: Order) {}
    };
}

impl Machine for Plain {
    type V = u64;
    type Stop = Illegal;
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
    only_values!();
}

impl VectorMachine for Plain {
    type Vector = Bytes;
    fn key(&mut self) -> VectorKey {
        self.key
    }
    fn illegal(&mut self) -> Illegal {
        Illegal
    }
    fn vstart(&mut self) -> u64 {
        self.hart.vstart
    }
    fn set_vstart(&mut self, v: u64) {
        self.hart.vstart = v;
    }
    fn v(&mut self, r: u8, bytes: u16) -> Bytes {
        let at = usize::from(r) * usize::from(VLENB);
        Bytes::filled(bytes, |out| out.copy_from_slice(&self.hart.v[at..at + usize::from(bytes)]))
    }
    fn set_v(&mut self, r: u8, v: Bytes) {
        let at = usize::from(r) * usize::from(VLENB);
        self.hart.v[at..at + v.get().len()].copy_from_slice(v.get());
    }
    fn lanes(&mut self, op: Bin, shape: Shape, [a, b]: [Bytes; 2], masked: Option<[Bytes; 2]>) -> Bytes {
        let mut new = masked.map_or(a, |[_, old]| old);
        let out = &mut new.0[..usize::from(a.1)];
        let mask = masked.as_ref().map(|[mask, _]| mask.get());
        lanes::compute(|a, b| op.apply(a, b), shape.element, a.get(), b.get(), mask, out);
        new
    }
    fn range(&mut self, bytes: u16, start: u64, end: u64) -> Bytes {
        Bytes::filled(bytes, |out| lanes::range(start, end, out))
    }
}

impl Machine for Lifter {
    type V = Value;
    type Stop = Stop;
    fn imm(&mut self, k: u64) -> Value {
        self.builder.imm(k)
    }
    fn bin(&mut self, op: Bin, a: Value, b: Value) -> Value {
        self.builder.bin(op, a, b)
    }
    fn un(&mut self, op: Un, a: Value) -> Value {
        self.builder.un(op, a)
    }
    fn select(&mut self, c: Value, a: Value, b: Value) -> Value {
        self.builder.select(c, a, b)
    }
    only_values!();
}

impl VectorMachine for Lifter {
    type Vector = Value;
    fn key(&mut self) -> VectorKey {
        self.key
    }
    fn illegal(&mut self) -> Stop {
        let zero = self.builder.imm(0);
        self.builder.trap(2, zero)
    }
    fn vstart(&mut self) -> Value {
        self.builder.get(VSTART, 0)
    }
    fn set_vstart(&mut self, v: Value) {
        self.builder.set(VSTART, 0, v);
    }
    fn v(&mut self, r: u8, bytes: u16) -> Value {
        self.builder.get_vector(V, r, bytes)
    }
    fn set_v(&mut self, r: u8, v: Value) {
        self.builder.set_vector(V, r, v);
    }
    fn lanes(&mut self, op: Bin, shape: Shape, ab: [Value; 2], masked: Option<[Value; 2]>) -> Value {
        self.builder.lanes(op, shape, ab, masked)
    }
    fn range(&mut self, bytes: u16, start: Value, end: Value) -> Value {
        self.builder.range(bytes, start, end)
    }
}

/// The same registers, run by the IR's evaluator.
impl Target for Hart {
    type Stop = Illegal;
    fn begin(&mut self, _: u64, _: u8) {}
    fn get(&mut self, _: u8, _: u8) -> u64 {
        self.vstart
    }
    fn set(&mut self, _: u8, _: u8, v: u64) {
        self.vstart = v;
    }
    fn get_vector(&mut self, _: u8, index: u8, out: &mut [u8]) {
        let at = usize::from(index) * usize::from(VLENB);
        out.copy_from_slice(&self.v[at..at + out.len()]);
    }
    fn set_vector(&mut self, _: u8, index: u8, v: &[u8]) {
        let at = usize::from(index) * usize::from(VLENB);
        self.v[at..at + v.len()].copy_from_slice(v);
    }
    fn load(&mut self, _: u64, _: Width, _: Order) -> Result<u64, Illegal> {
        unreachable!("vadd.vv does not touch memory")
    }
    fn store(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<(), Illegal> {
        unreachable!("vadd.vv does not touch memory")
    }
    fn amo(&mut self, _: AmoOp, _: u64, _: Width, _: u64, _: Order) -> Result<u64, Illegal> {
        unreachable!("vadd.vv does not touch memory")
    }
    fn load_reserved(&mut self, _: u64, _: Width, _: Order) -> Result<u64, Illegal> {
        unreachable!("vadd.vv does not touch memory")
    }
    fn store_conditional(&mut self, _: u64, _: Width, _: u64, _: Order) -> Result<u64, Illegal> {
        unreachable!("vadd.vv does not touch memory")
    }
    fn fence(&mut self, _: Order) {}
    fn call(&mut self, _: u32, _: [u64; 4]) -> Result<u64, Illegal> {
        unreachable!("there are no operations")
    }
}
