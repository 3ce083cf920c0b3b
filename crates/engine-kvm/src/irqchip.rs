//! Reading and setting the interrupt controllers that a machine's KVM has.

use crate::{IOAPIC_PINS, Ioapic, Irqchip, KvmError, Pic, Vm};
use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_ioapic_state, kvm_irqchip,
    kvm_pic_state,
};

/// Where the kernel's I/O APIC lies.
const IOAPIC_ADDRESS: u64 = 0xfec0_0000;
/// Bits of a chip's edge/level control register that can be set: those of the master, and of the slave.
const LEVELS: [u8; 2] = [0xf8, 0xde];

impl Vm {
    /// The 8259s: master, slave.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn pics(&self) -> Result<[Pic; 2], KvmError> {
        Ok([self.pic(KVM_IRQCHIP_PIC_MASTER)?, self.pic(KVM_IRQCHIP_PIC_SLAVE)?])
    }

    fn pic(&self, chip: u32) -> Result<Pic, KvmError> {
        let chip = self.get_chip(chip)?;
        // SAFETY: the kernel has filled the member that belongs to the chip's number; it is plain numbers in any case.
        let pic = unsafe { chip.chip.pic };
        Ok(from_kvm(&pic))
    }

    /// Sets the 8259s.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn set_pics(&self, pics: &[Pic; 2]) -> Result<(), KvmError> {
        // The master's output is worked out anew each time, so that the slave's request must be there first.
        let [master, slave] = pics;
        let numbers =
            [(KVM_IRQCHIP_PIC_SLAVE, slave, LEVELS[1]), (KVM_IRQCHIP_PIC_MASTER, master, LEVELS[0])];
        for (chip_id, pic, levels) in numbers {
            let mut chip = kvm_irqchip { chip_id, ..Default::default() };
            chip.chip.pic = to_kvm(pic, levels);
            self.set_chip(&chip)?;
        }
        Ok(())
    }

    /// The I/O APIC.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn ioapic(&self) -> Result<Ioapic, KvmError> {
        let chip = self.get_chip(KVM_IRQCHIP_IOAPIC)?;
        // SAFETY: as in `pic`.
        let state = unsafe { chip.chip.ioapic };
        // SAFETY: both members of the union are the same 64 bits.
        let entries = state.redirtbl.map(|entry| unsafe { entry.bits });
        Ok(Ioapic { select: state.ioregsel, id: state.id as u8 & 15, irr: state.irr, entries })
    }

    /// Sets the I/O APIC, which sends what it has to. The processors it sends to must be there, with their local APICs.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn set_ioapic(&self, ioapic: &Ioapic) -> Result<(), KvmError> {
        let Ioapic { select, id, irr, entries } = *ioapic;
        let mut state = kvm_ioapic_state {
            base_address: IOAPIC_ADDRESS,
            ioregsel: select,
            id: id.into(),
            irr: irr & ((1 << IOAPIC_PINS) - 1),
            ..Default::default()
        };
        for (to, bits) in state.redirtbl.iter_mut().zip(entries) {
            to.bits = bits;
        }
        let mut chip = kvm_irqchip { chip_id: KVM_IRQCHIP_IOAPIC, ..Default::default() };
        chip.chip.ioapic = state;
        self.set_chip(&chip)
    }

    fn get_chip(&self, chip_id: u32) -> Result<kvm_irqchip, KvmError> {
        self.has_irqchip()?;
        let mut chip = kvm_irqchip { chip_id, ..Default::default() };
        self.fd.get_irqchip(&mut chip).map_err(KvmError::refused("the interrupt controllers' state"))?;
        Ok(chip)
    }

    fn set_chip(&self, chip: &kvm_irqchip) -> Result<(), KvmError> {
        self.has_irqchip()?;
        self.fd.set_irqchip(chip).map_err(KvmError::refused("a state of the interrupt controllers"))
    }

    fn has_irqchip(&self) -> Result<(), KvmError> {
        match self.irqchip() {
            Irqchip::Kernel => Ok(()),
            Irqchip::User => Err(KvmError::Lacks("interrupt controllers of this machine")),
        }
    }
}

fn from_kvm(pic: &kvm_pic_state) -> Pic {
    Pic {
        lines: pic.last_irr,
        irr: pic.irr,
        imr: pic.imr,
        isr: pic.isr,
        highest: pic.priority_add & 7,
        base: pic.irq_base,
        read_isr: pic.read_reg_select != 0,
        poll: pic.poll != 0,
        special_mask: pic.special_mask != 0,
        expect: pic.init_state,
        auto_eoi: pic.auto_eoi != 0,
        rotate: pic.rotate_on_auto_eoi != 0,
        nested: pic.special_fully_nested_mode != 0,
        ic4: pic.init4 != 0,
        level: pic.elcr,
    }
}

fn to_kvm(pic: &Pic, levels: u8) -> kvm_pic_state {
    let &Pic { lines, irr, imr, isr, highest, base, read_isr, poll, special_mask, .. } = pic;
    let &Pic { expect, auto_eoi, rotate, nested, ic4, level, .. } = pic;
    kvm_pic_state {
        last_irr: lines,
        irr,
        imr,
        isr,
        priority_add: highest & 7,
        irq_base: base & 0xf8,
        read_reg_select: read_isr.into(),
        poll: poll.into(),
        special_mask: special_mask.into(),
        init_state: expect & 3,
        auto_eoi: auto_eoi.into(),
        rotate_on_auto_eoi: rotate.into(),
        special_fully_nested_mode: nested.into(),
        init4: ic4.into(),
        elcr: level & levels,
        elcr_mask: levels,
    }
}
