//! The kernel's local APIC, to and from the form that all engines share.
//!
//! KVM's form is the register page (Linux, Documentation/virt/kvm/api.rst, "KVM_GET_LAPIC"), in which the identification
//! register has the number in its upper byte even in x2APIC mode, unless KVM_CAP_X2APIC_API says otherwise.

use crate::{KvmCpu, KvmError, msrs};
use fabric_wire::LapicState;
use fabric_wire::local::apic_base;
use kvm_bindings::{kvm_lapic_state, kvm_mp_state};

/// The identification register's place.
const ID: usize = 2;

impl KvmCpu {
    /// The kernel's local APIC as it is now. Its timer is told by the current count; an NMI that has not been delivered
    /// is in it, too. Wants a processor that is parked.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn lapic(&self) -> Result<LapicState, KvmError> {
        let page = self.fd.get_lapic().map_err(KvmError::refused("the local APIC"))?;
        let sregs = self.fd.get_sregs().map_err(KvmError::refused("the system registers"))?;
        let mp = self.fd.get_mp_state().map_err(KvmError::refused("the activity"))?;
        let events = self.fd.get_vcpu_events().map_err(KvmError::refused("pending events"))?;
        let mut bytes = [0u8; 1024];
        for (to, from) in bytes.iter_mut().zip(page.regs) {
            *to = from as u8;
        }
        let mut registers = LapicState::registers_of(&bytes);
        if sregs.apic_base & apic_base::X2APIC != 0
            && let Some(id) = registers.get_mut(ID)
        {
            *id >>= 24;
        }
        let started = mp.mp_state == kvm_bindings::KVM_MP_STATE_SIPI_RECEIVED;
        Ok(LapicState {
            registers,
            apic_base: sregs.apic_base,
            tsc_deadline: msrs::tsc_deadline(&self.fd)?,
            tsc_offset: self.state.msrs.tsc_offset,
            timer_expiry: None,
            errors: 0,
            lint: [false; 2],
            nmi: events.nmi.pending != 0,
            init: false,
            sipi: started.then_some(events.sipi_vector as u8),
        })
    }

    /// Sets the kernel's local APIC. What the kernel has no place for is left out: the levels at the pins, which its
    /// 8259s know, an INIT that waits, and errors that were not read.
    ///
    /// # Errors
    /// Where the kernel has none, or refuses the state.
    pub fn set_lapic(&mut self, state: &LapicState) -> Result<(), KvmError> {
        let mut sregs = self.fd.get_sregs().map_err(KvmError::refused("the system registers"))?;
        sregs.apic_base = state.apic_base;
        self.fd.set_sregs(&sregs).map_err(KvmError::refused("the system registers"))?;
        let mut state = state.clone();
        if state.apic_base & apic_base::X2APIC != 0
            && let Some(id) = state.registers.get_mut(ID)
        {
            *id <<= 24;
        }
        let mut page = kvm_lapic_state::default();
        for (to, from) in page.regs.iter_mut().zip(state.to_page()) {
            *to = from as _;
        }
        self.fd.set_lapic(&page).map_err(KvmError::refused("the local APIC"))?;
        msrs::set_tsc_deadline(&self.fd, state.tsc_deadline)?;
        if state.nmi {
            self.fd.nmi().map_err(KvmError::refused("an NMI"))?;
            self.nmi = true;
        }
        if let Some(vector) = state.sipi {
            self.start_later(vector)?;
        }
        Ok(())
    }

    /// A start-up IPI that has come and has not been taken.
    fn start_later(&mut self, vector: u8) -> Result<(), KvmError> {
        let mut events = self.fd.get_vcpu_events().map_err(KvmError::refused("pending events"))?;
        events.sipi_vector = vector.into();
        events.flags |= kvm_bindings::KVM_VCPUEVENT_VALID_SIPI_VECTOR;
        self.fd.set_vcpu_events(&events).map_err(KvmError::refused("pending events"))?;
        let mp_state = kvm_mp_state { mp_state: kvm_bindings::KVM_MP_STATE_SIPI_RECEIVED };
        self.fd.set_mp_state(mp_state).map_err(KvmError::refused("the activity"))
    }
}
