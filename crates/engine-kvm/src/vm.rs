//! One virtual machine of the kernel's: guest memory, and the interrupt controller if the kernel has it.

use crate::{IOAPIC_PINS, Irqchip, KvmError, Offer, Space, kick, probe};
use fabric_bus::{Block, Bus};
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::Sink;
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
    KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, KvmIrqRouting, kvm_ioeventfd, kvm_irq_routing_entry,
    kvm_irq_routing_irqchip, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// Three pages that KVM wants for itself on some Intel hosts, where no board has anything.
const TSS_ADDRESS: usize = 0xfffb_d000;
/// And one more.
const IDENTITY_MAP: u64 = 0xfffb_c000;

/// The 8259s' cascade: no interrupt of its own; the I/O APIC's pin of that number has the timer.
const CASCADE: u32 = 2;

/// `KVM_IOEVENTFD`: _IOW(KVMIO, 0x79, struct kvm_ioeventfd). `kvm-ioctls` derives the access's size from the value's type.
const KVM_IOEVENTFD: libc::c_ulong = 0x4040_ae79;
/// The bits of its flags.
const DATAMATCH: u32 = 1;
const PORTS: u32 = 1 << 1;

/// A machine's share of KVM.
pub struct Vm {
    pub(crate) kvm: Kvm,
    pub(crate) fd: VmFd,
    offer: Offer,
    irqchip: Irqchip,
    /// Keeps what the kernel maps.
    ram: Arc<GuestRam>,
    blocks: Vec<Block>,
    /// Whether the kernel logs which pages the guest writes.
    logging: Mutex<bool>,
}

impl Vm {
    /// A machine with the memory of `bus`.
    ///
    /// # Errors
    /// See [`KvmError`].
    pub fn new(bus: &Bus, irqchip: Irqchip) -> Result<Arc<Vm>, KvmError> {
        let kvm = Kvm::new().map_err(|error| KvmError::Open(error.into()))?;
        let offer = probe::of(&kvm);
        if let Some(what) = offer.lacks() {
            return Err(KvmError::Lacks(what));
        }
        if irqchip == Irqchip::Kernel && !offer.irqchip {
            return Err(KvmError::Lacks("an interrupt controller in the kernel"));
        }
        kick::install().map_err(|source| KvmError::Refused { what: "a signal of our own", source })?;
        let fd = kvm.create_vm().map_err(KvmError::refused("a new machine"))?;
        // Must come before the first processor; refused where no host needs it, which is as good.
        let _ = fd.set_identity_map_address(IDENTITY_MAP);
        let _ = fd.set_tss_address(TSS_ADDRESS);
        if irqchip == Irqchip::Kernel {
            fd.create_irq_chip().map_err(KvmError::refused("an interrupt controller"))?;
            route(&fd)?;
        }
        // Not where a device lies over memory: its accesses must leave the guest.
        let blocks = bus.bare();
        let ram = Arc::clone(bus.ram());
        let vm = Vm { kvm, fd, offer, irqchip, ram, blocks, logging: Mutex::new(false) };
        vm.map(false)?;
        Ok(Arc::new(vm))
    }

    /// Who has the interrupt controllers.
    pub fn irqchip(&self) -> Irqchip {
        self.irqchip
    }

    /// What this host's KVM offers.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Gives the kernel all memory, or changes how it has it.
    fn map(&self, logging: bool) -> Result<(), KvmError> {
        for (slot, block) in (0..).zip(&self.blocks) {
            let flags = match (block.writable, logging) {
                (false, _) => KVM_MEM_READONLY,
                (true, true) => KVM_MEM_LOG_DIRTY_PAGES,
                (true, false) => 0,
            };
            let region = kvm_userspace_memory_region {
                slot,
                flags,
                guest_phys_addr: block.base,
                memory_size: block.size,
                userspace_addr: self.ram.map().address().as_ptr() as u64 + block.offset,
            };
            // SAFETY: the block lies in the arena (the bus has checked that), the arena stays mapped at this address as
            // long as `ram` lives, which is at least as long as `fd`; nobody forms references into guest memory.
            let mapped = unsafe { self.fd.set_user_memory_region(region) };
            mapped.map_err(KvmError::refused("guest memory"))?;
        }
        Ok(())
    }

    /// Begins or ends the logging of written pages. While it is off, pages that the guest writes are in no log.
    ///
    /// # Errors
    /// What the host says.
    pub fn log_dirty(&self, on: bool) -> Result<(), KvmError> {
        let mut logging = self.logging.lock().unwrap_or_else(PoisonError::into_inner);
        if *logging != on {
            self.map(on)?;
            *logging = on;
        }
        Ok(())
    }

    /// Marks in the RAM's own dirty log what the guest has written since the last time.
    ///
    /// # Errors
    /// What the host says.
    pub fn collect_dirty(&self) -> Result<(), KvmError> {
        let logging = self.logging.lock().unwrap_or_else(PoisonError::into_inner);
        if !*logging {
            return Ok(());
        }
        for (slot, block) in (0..).zip(&self.blocks).filter(|(_, block)| block.writable) {
            let words = self.fd.get_dirty_log(slot, block.size as usize);
            let words = words.map_err(KvmError::refused("the log of written pages"))?;
            for (i, word) in words.iter().enumerate() {
                let mut bits = *word;
                while bits != 0 {
                    let page = 64 * i as u64 + u64::from(bits.trailing_zeros());
                    self.ram.dirty().mark(block.offset + page * PAGE);
                    bits &= bits - 1;
                }
            }
        }
        Ok(())
    }

    /// An event descriptor that pulses interrupt input `input` (as the I/O APIC counts them) of the kernel's controller.
    ///
    /// # Errors
    /// Without such a controller, or if the host refuses.
    pub fn irqfd(&self, input: u32) -> Result<OwnedFd, KvmError> {
        if self.irqchip == Irqchip::User || !self.offer.irqfd {
            return Err(KvmError::Lacks("interrupts raised by event descriptors"));
        }
        let event = event()?;
        self.fd.register_irqfd(&event, input).map_err(KvmError::refused("an irqfd"))?;
        Ok(owned(event))
    }

    /// An event descriptor that is signalled when the guest writes `size` bytes (1, 2, 4 or 8) at `address` of `space` (of
    /// `value`, if that is given), without an exit. The guest is listened to as long as the machine is there, whether the
    /// descriptor is or not.
    ///
    /// # Errors
    /// What the host says.
    pub fn ioeventfd(
        &self,
        space: Space,
        address: u64,
        size: u8,
        value: Option<u64>,
    ) -> Result<OwnedFd, KvmError> {
        if !self.offer.ioeventfd {
            return Err(KvmError::Lacks("accesses that signal event descriptors"));
        }
        let event = event()?;
        let flags =
            if value.is_some() { DATAMATCH } else { 0 } | if space == Space::Ports { PORTS } else { 0 };
        let request = kvm_ioeventfd {
            datamatch: value.unwrap_or(0),
            addr: address,
            len: size.into(),
            fd: event.as_raw_fd(),
            flags,
            ..Default::default()
        };
        // SAFETY: the descriptor is a machine's, the structure is what the request wants, and is only read.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), KVM_IOEVENTFD, &raw const request) };
        if done != 0 {
            let source = std::io::Error::last_os_error();
            return Err(KvmError::Refused { what: "an ioeventfd", source });
        }
        Ok(owned(event))
    }

    pub(crate) fn vcpu(&self, id: u32) -> Result<VcpuFd, KvmError> {
        self.fd.create_vcpu(id.into()).map_err(KvmError::refused("a processor"))
    }
}

/// The inputs of the kernel's interrupt controller: a wire may end here.
impl Sink for Vm {
    fn set(&self, input: u32, high: bool) {
        let _ = self.fd.set_irq_line(input, high);
    }
}

/// Solders the inputs of the kernel's controllers together as on a PC: ISA interrupt n leads to the 8259s and to the I/O
/// APIC's pin n, but the timer's to pin 2; the pins behind are the I/O APIC's alone.
fn route(fd: &VmFd) -> Result<(), KvmError> {
    let entry = |gsi, irqchip, pin| {
        let mut entry = kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_IRQCHIP, ..Default::default() };
        entry.u.irqchip = kvm_irq_routing_irqchip { irqchip, pin };
        entry
    };
    let isa = (0..16).filter(|&irq| irq != CASCADE).flat_map(|irq| {
        let chip = if irq < 8 { KVM_IRQCHIP_PIC_MASTER } else { KVM_IRQCHIP_PIC_SLAVE };
        let pin = if irq == 0 { CASCADE } else { irq };
        [entry(irq, chip, irq % 8), entry(irq, KVM_IRQCHIP_IOAPIC, pin)]
    });
    let others = (16..IOAPIC_PINS as u32).map(|pin| entry(pin, KVM_IRQCHIP_IOAPIC, pin));
    let entries: Vec<_> = isa.chain(others).collect();
    let table = KvmIrqRouting::from_entries(&entries);
    let table = table.map_err(|_| KvmError::Lacks("room for the routes of interrupts"))?;
    fd.set_gsi_routing(&table).map_err(KvmError::refused("the routes of interrupts"))
}

fn event() -> Result<EventFd, KvmError> {
    EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)
        .map_err(|source| KvmError::Refused { what: "an event descriptor", source })
}

fn owned(event: EventFd) -> OwnedFd {
    // SAFETY: the descriptor is open, and nobody else owns it any more.
    unsafe { OwnedFd::from_raw_fd(event.into_raw_fd()) }
}
