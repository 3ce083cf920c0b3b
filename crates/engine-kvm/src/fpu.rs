//! x87 and SSE state, to and from KVM's form: the area of XSAVE, whose first part is that of FXSAVE (SDM volume 1, "FXSAVE
//! Area" and "XSAVE Area"). KVM_GET_FPU would be simpler, but does not move MXCSR.

use crate::KvmError;
use isa_x86::Fpu;
use kvm_bindings::kvm_xsave;
use kvm_ioctls::VcpuFd;

/// Offsets in the area.
const OPCODE: usize = 6;
const INSTRUCTION: usize = 8;
const DATA: usize = 16;
const MXCSR: usize = 24;
const ST: usize = 32;
const XMM: usize = 160;
/// XSTATE_BV, the first field of the header.
const COMPONENTS: usize = 512;
/// x87 and SSE.
const X87_SSE: u64 = 3;
/// Bytes in which the area is handed over.
const SIZE: usize = 4096;

/// Gives KVM the state.
pub(crate) fn put(vcpu: &VcpuFd, fpu: &Fpu) -> Result<(), KvmError> {
    let mut xsave = kvm_xsave::default();
    for (to, from) in xsave.region.iter_mut().zip(encode(fpu).as_chunks::<4>().0) {
        *to = u32::from_le_bytes(*from);
    }
    // SAFETY: an area that needs more than these bytes has components that a process must ask for (such as AMX), which
    // this one does not; so the kernel reads no more.
    let done = unsafe { vcpu.set_xsave(&xsave) };
    done.map_err(KvmError::refused("the floating-point state"))
}

/// Takes it from KVM.
pub(crate) fn take(vcpu: &VcpuFd) -> Result<Fpu, KvmError> {
    let xsave = vcpu.get_xsave().map_err(KvmError::refused("the floating-point state"))?;
    let mut bytes = [0; SIZE];
    for (to, from) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(xsave.region) {
        *to = from.to_le_bytes();
    }
    Ok(decode(&bytes))
}

fn store(area: &mut [u8; SIZE], at: usize, bytes: &[u8]) {
    for (to, from) in area.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

fn load<const N: usize>(area: &[u8; SIZE], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(area.iter().skip(at)) {
        *to = *from;
    }
    bytes
}

fn encode(fpu: &Fpu) -> [u8; SIZE] {
    let Fpu { control, status, tags, opcode, instruction, data, st, xmm, mxcsr } = fpu;
    let mut area = [0; SIZE];
    store(&mut area, 0, &control.to_le_bytes());
    store(&mut area, 2, &status.to_le_bytes());
    store(&mut area, 4, &[*tags]);
    store(&mut area, OPCODE, &opcode.to_le_bytes());
    store(&mut area, INSTRUCTION, &instruction.to_le_bytes());
    store(&mut area, DATA, &data.to_le_bytes());
    store(&mut area, MXCSR, &mxcsr.to_le_bytes());
    for (n, value) in st.iter().enumerate() {
        store(&mut area, ST + 16 * n, &value.to_le_bytes());
    }
    for (n, value) in xmm.iter().enumerate() {
        store(&mut area, XMM + 16 * n, &value.to_le_bytes());
    }
    store(&mut area, COMPONENTS, &X87_SSE.to_le_bytes());
    area
}

fn decode(area: &[u8; SIZE]) -> Fpu {
    let [tags] = load(area, 4);
    Fpu {
        control: u16::from_le_bytes(load(area, 0)),
        status: u16::from_le_bytes(load(area, 2)),
        tags,
        opcode: u16::from_le_bytes(load(area, OPCODE)),
        instruction: u64::from_le_bytes(load(area, INSTRUCTION)),
        data: u64::from_le_bytes(load(area, DATA)),
        // The upper six bytes of each are reserved.
        st: std::array::from_fn(|n| u128::from_le_bytes(load(area, ST + 16 * n)) & ((1 << 80) - 1)),
        xmm: std::array::from_fn(|n| u128::from_le_bytes(load(area, XMM + 16 * n))),
        mxcsr: u32::from_le_bytes(load(area, MXCSR)),
    }
}
