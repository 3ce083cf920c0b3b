//! x87 and SSE state, to and from KVM's form, which is FXSAVE's.

use isa_x86::Fpu;
use kvm_bindings::kvm_fpu;

pub(crate) fn to_kvm(fpu: &Fpu) -> kvm_fpu {
    let Fpu { control, status, tags, opcode, instruction, data, st, xmm, mxcsr } = fpu;
    kvm_fpu {
        fpr: st.map(u128::to_le_bytes),
        fcw: *control,
        fsw: *status,
        ftwx: *tags,
        last_opcode: *opcode,
        last_ip: *instruction,
        last_dp: *data,
        xmm: xmm.map(u128::to_le_bytes),
        mxcsr: *mxcsr,
        ..Default::default()
    }
}

pub(crate) fn from_kvm(fpu: &kvm_fpu) -> Fpu {
    Fpu {
        control: fpu.fcw,
        status: fpu.fsw,
        tags: fpu.ftwx,
        opcode: fpu.last_opcode,
        instruction: fpu.last_ip,
        data: fpu.last_dp,
        // The upper six bytes of each are reserved.
        st: fpu.fpr.map(|bytes| u128::from_le_bytes(bytes) & ((1 << 80) - 1)),
        xmm: fpu.xmm.map(u128::from_le_bytes),
        mxcsr: fpu.mxcsr,
    }
}
