//! General, segment and control registers and pending events, to and from KVM's form.

use isa_x86::{Activity, Event, Segment, Shadow, State, TableRegister};
use kvm_bindings::{
    KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, KVM_X86_SHADOW_INT_MOV_SS,
    KVM_X86_SHADOW_INT_STI, kvm_debugregs, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs, kvm_vcpu_events,
};

pub(crate) fn general(state: &State) -> kvm_regs {
    let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15] = state.gpr;
    let (rip, rflags) = (state.rip, state.rflags());
    kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
}

pub(crate) fn take_general(state: &mut State, regs: &kvm_regs) {
    let kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
    } = *regs;
    state.gpr = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
    state.rip = rip;
    state.set_rflags(rflags);
}

fn segment(segment: &Segment) -> kvm_segment {
    let Segment { selector, base, limit, kind, dpl, s, present, available, long, big, granular, unusable } =
        *segment;
    kvm_segment {
        base,
        limit,
        selector,
        type_: kind,
        present: present.into(),
        dpl,
        db: big.into(),
        s: s.into(),
        l: long.into(),
        g: granular.into(),
        avl: available.into(),
        unusable: unusable.into(),
        padding: 0,
    }
}

fn take_segment(from: &kvm_segment) -> Segment {
    Segment {
        selector: from.selector,
        base: from.base,
        limit: from.limit,
        kind: from.type_ & 15,
        dpl: from.dpl & 3,
        s: from.s != 0,
        present: from.present != 0,
        available: from.avl != 0,
        long: from.l != 0,
        big: from.db != 0,
        granular: from.g != 0,
        unusable: from.unusable != 0,
    }
}

fn table(table: TableRegister) -> kvm_dtable {
    kvm_dtable { base: table.base, limit: table.limit, padding: [0; 3] }
}

fn take_table(from: &kvm_dtable) -> TableRegister {
    TableRegister { base: from.base, limit: from.limit }
}

pub(crate) fn system(state: &State, cr8: u8, apic_base: u64) -> kvm_sregs {
    let [es, cs, ss, ds, fs, gs] = state.segments.each_ref().map(segment);
    kvm_sregs {
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        tr: segment(&state.tr),
        ldt: segment(&state.ldtr),
        gdt: table(state.gdtr),
        idt: table(state.idtr),
        cr0: state.cr0,
        cr2: state.cr2,
        cr3: state.cr3,
        cr4: state.cr4,
        cr8: cr8.into(),
        efer: state.msrs.efer,
        apic_base,
        // The vector being delivered is in the events.
        interrupt_bitmap: [0; 4],
    }
}

pub(crate) fn take_system(state: &mut State, sregs: &kvm_sregs) {
    let kvm_sregs { cs, ds, es, fs, gs, ss, tr, ldt, gdt, idt, .. } = sregs;
    state.segments = [es, cs, ss, ds, fs, gs].map(take_segment);
    (state.tr, state.ldtr) = (take_segment(tr), take_segment(ldt));
    (state.gdtr, state.idtr) = (take_table(gdt), take_table(idt));
    (state.cr0, state.cr2, state.cr3, state.cr4) = (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4);
    state.msrs.efer = sregs.efer;
}

/// Events and what holds them off. `nmi` says whether one is pending besides.
pub(crate) fn events(state: &State, nmi: bool) -> kvm_vcpu_events {
    let mut events = kvm_vcpu_events::default();
    match state.event {
        None => {}
        Some(Event::Exception { vector, error }) => {
            events.exception.injected = 1;
            events.exception.nr = vector;
            events.exception.has_error_code = error.is_some().into();
            events.exception.error_code = error.unwrap_or(0);
        }
        Some(Event::Interrupt { vector }) => {
            (events.interrupt.injected, events.interrupt.nr) = (1, vector);
        }
        // RIP stands on the instruction, which is simply begun anew: KVM has no place for its length.
        Some(Event::Software { .. }) => {}
        Some(Event::Nmi) => events.nmi.injected = 1,
    }
    events.interrupt.shadow = match state.shadow {
        Shadow::None => 0,
        Shadow::Sti => KVM_X86_SHADOW_INT_STI as u8,
        Shadow::MovSs => KVM_X86_SHADOW_INT_MOV_SS as u8,
    };
    events.nmi.masked = state.nmi_blocked.into();
    events.nmi.pending = nmi.into();
    events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    events
}

pub(crate) fn take_events(state: &mut State, events: &kvm_vcpu_events) {
    let exception = &events.exception;
    let raised = exception.injected != 0 || exception.pending != 0;
    // `int3` and `into`, like `int n` below, are begun anew: RIP stands on them still.
    let software = raised && matches!(exception.nr, 3 | 4);
    state.event = if raised && !software {
        let error = (exception.has_error_code != 0).then_some(exception.error_code);
        Some(Event::Exception { vector: exception.nr, error })
    } else if events.nmi.injected != 0 {
        Some(Event::Nmi)
    } else if events.interrupt.injected != 0 && events.interrupt.soft == 0 {
        Some(Event::Interrupt { vector: events.interrupt.nr })
    } else {
        None
    };
    let shadow = u32::from(events.interrupt.shadow);
    state.shadow = if shadow & KVM_X86_SHADOW_INT_MOV_SS != 0 {
        Shadow::MovSs
    } else if shadow & KVM_X86_SHADOW_INT_STI != 0 {
        Shadow::Sti
    } else {
        Shadow::None
    };
    state.nmi_blocked = events.nmi.masked != 0;
}

pub(crate) fn debug(state: &State) -> kvm_debugregs {
    kvm_debugregs { db: state.dr, dr6: state.dr6, dr7: state.dr7, ..Default::default() }
}

pub(crate) fn take_debug(state: &mut State, regs: &kvm_debugregs) {
    (state.dr, state.dr6, state.dr7) = (regs.db, regs.dr6, regs.dr7);
}

/// KVM's number of an activity.
pub(crate) fn mp_state(activity: Activity) -> u32 {
    match activity {
        Activity::Running | Activity::Shutdown => kvm_bindings::KVM_MP_STATE_RUNNABLE,
        Activity::Halted => kvm_bindings::KVM_MP_STATE_HALTED,
        Activity::WaitForSipi => kvm_bindings::KVM_MP_STATE_INIT_RECEIVED,
    }
}

pub(crate) fn take_mp_state(number: u32) -> Activity {
    match number {
        kvm_bindings::KVM_MP_STATE_HALTED => Activity::Halted,
        kvm_bindings::KVM_MP_STATE_INIT_RECEIVED
        | kvm_bindings::KVM_MP_STATE_UNINITIALIZED
        | kvm_bindings::KVM_MP_STATE_SIPI_RECEIVED => Activity::WaitForSipi,
        _ => Activity::Running,
    }
}
