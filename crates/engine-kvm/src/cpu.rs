//! One processor: the contract of `engine-core` on KVM_RUN.

use crate::exit::{self, Left};
use crate::inject::{self, Started};
use crate::kick::Kicker;
use crate::{Irqchip, KvmError, Vm, cpuid, fpu, msrs, regs};
use engine_core::{Exit, Vcpu};
use fabric_bus::Bus;
use fabric_clock::Clock;
use fabric_wire::PendingWord;
use fabric_wire::local::{LapicState, LocalController, apic_base, line};
use isa_x86::{Activity, State, rflags};
use kvm_bindings::{kvm_lapic_state, kvm_mp_state, kvm_xcrs};
use kvm_ioctls::VcpuFd;
use std::sync::Arc;

/// What a processor is made of.
pub struct Config {
    /// Its number.
    pub id: u32,
    /// Initial state.
    pub state: State,
    /// The machine.
    pub vm: Arc<Vm>,
    /// Guest-physical memory: where accesses go that are none to RAM.
    pub memory: Arc<Bus>,
    /// The I/O ports.
    pub ports: Arc<Bus>,
    /// The local APIC, where the kernel has none ([`Irqchip::User`]).
    pub local: Option<Arc<dyn LocalController>>,
    /// The machine's clock, which the time-stamp counter follows.
    pub clock: Arc<Clock>,
    /// Interrupt lines and requests.
    pub pending: Arc<PendingWord>,
}

/// A processor of KVM's.
pub struct KvmCpu {
    fd: VcpuFd,
    /// As of the last [`Vcpu::park`].
    state: State,
    /// The kernel's state is newer than `state`.
    away: bool,
    /// The last exit was an access that KVM finishes when it runs again.
    unfinished: bool,
    /// Why it can run no more.
    failed: Option<String>,
    kicker: Arc<Kicker>,
    vm: Arc<Vm>,
    memory: Arc<Bus>,
    ports: Arc<Bus>,
    local: Option<Arc<dyn LocalController>>,
    clock: Arc<Clock>,
    pending: Arc<PendingWord>,
}

/// Requests that end a run.
const REQUESTS: u64 = PendingWord::KICK | PendingWord::WORK;

impl KvmCpu {
    /// A processor in the state given.
    ///
    /// # Errors
    /// What the host refuses.
    pub fn new(config: Config) -> Result<KvmCpu, KvmError> {
        let Config { id, state, vm, memory, ports, local, clock, pending } = config;
        let fd = vm.vcpu(id)?;
        let kicker = Arc::new(Kicker::default());
        let caller = Arc::clone(&kicker);
        pending.call_with(Box::new(move || caller.kick()));
        fd.set_cpuid2(&cpuid::model(&vm, &state)?).map_err(KvmError::refused("its processor features"))?;
        let mut cpu = KvmCpu {
            fd,
            state,
            away: false,
            unfinished: false,
            failed: None,
            kicker,
            vm,
            memory,
            ports,
            local,
            clock,
            pending,
        };
        cpu.put()?;
        Ok(cpu)
    }

    fn user_local(&self) -> Option<&Arc<dyn LocalController>> {
        self.local.as_ref().filter(|_| self.vm.irqchip() == Irqchip::User)
    }

    /// The machine's own time-stamp count, to which the processor's offset is added.
    fn count(&self) -> u64 {
        let hz = u128::from(self.state.identity.tsc_hz);
        (u128::from(self.clock.now()) * hz / 1_000_000_000) as u64
    }

    /// Gives the kernel the whole state.
    fn put(&mut self) -> Result<(), KvmError> {
        let (cr8, base) = match self.user_local() {
            Some(local) => (local.cr8(), local.apic_base()),
            None => match self.fd.get_sregs() {
                Ok(sregs) => (sregs.cr8 as u8, sregs.apic_base),
                Err(_) => (0, apic_base::DEFAULT_ADDRESS | apic_base::ENABLE | apic_base::BSP),
            },
        };
        let state = &self.state;
        let refused = KvmError::refused;
        self.fd.set_sregs(&regs::system(state, cr8, base)).map_err(refused("the system registers"))?;
        self.fd.set_regs(&regs::general(state)).map_err(refused("the registers"))?;
        self.fd.set_fpu(&fpu::to_kvm(&state.fpu)).map_err(refused("the floating-point state"))?;
        if self.vm.offer().xcrs {
            let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
            if let Some(first) = xcrs.xcrs.first_mut() {
                first.value = state.xcr0;
            }
            // A host without XSAVE refuses even what is there after reset.
            let _ = self.fd.set_xcrs(&xcrs);
        }
        if self.vm.offer().debug_registers {
            self.fd.set_debug_regs(&regs::debug(state)).map_err(refused("the debug registers"))?;
        }
        msrs::put(&self.fd, state)?;
        msrs::set_tsc(&self.fd, self.count().wrapping_add(state.msrs.tsc_offset))?;
        self.fd.set_vcpu_events(&regs::events(state, false)).map_err(refused("pending events"))?;
        if self.vm.irqchip() == Irqchip::Kernel {
            let mp_state = kvm_mp_state { mp_state: regs::mp_state(state.activity) };
            self.fd.set_mp_state(mp_state).map_err(refused("the activity"))?;
        }
        // What KVM has said last is of another state.
        let takes_interrupts = (self.state.system_flags & rflags::IF != 0).into();
        let run = self.fd.get_kvm_run();
        (run.cr8, run.if_flag, run.ready_for_interrupt_injection) = (cr8.into(), takes_interrupts, 0);
        (self.away, self.unfinished) = (false, false);
        Ok(())
    }

    /// Brings the whole state home.
    fn take(&mut self) -> Result<(), KvmError> {
        let refused = KvmError::refused;
        while self.unfinished {
            // With the flag up, KVM finishes the access and comes back: at once, or with the rest of a long one.
            self.fd.set_kvm_immediate_exit(1);
            let left = exit::run(&mut self.fd);
            if let Some(Exit::Broken(_)) = self.handle(left) {
                return Err(KvmError::Lacks("a way to finish an access"));
            }
        }
        let regs = self.fd.get_regs().map_err(refused("the registers"))?;
        let sregs = self.fd.get_sregs().map_err(refused("the system registers"))?;
        let events = self.fd.get_vcpu_events().map_err(refused("pending events"))?;
        let fpu = self.fd.get_fpu().map_err(refused("the floating-point state"))?;
        let state = &mut self.state;
        regs::take_general(state, &regs);
        regs::take_system(state, &sregs);
        regs::take_events(state, &events);
        state.fpu = fpu::from_kvm(&fpu);
        if self.vm.offer().debug_registers {
            let debug = self.fd.get_debug_regs().map_err(refused("the debug registers"))?;
            regs::take_debug(state, &debug);
        }
        if self.vm.irqchip() == Irqchip::Kernel {
            let mp = self.fd.get_mp_state().map_err(refused("the activity"))?;
            state.activity = regs::take_mp_state(mp.mp_state);
        }
        msrs::take(&self.fd, state)?;
        let tsc = msrs::tsc(&self.fd)?;
        self.state.msrs.tsc_offset = tsc.wrapping_sub(self.count());
        self.away = false;
        Ok(())
    }

    /// The kernel's local APIC.
    ///
    /// # Errors
    /// Where the kernel has none.
    pub fn lapic(&self) -> Result<LapicState, KvmError> {
        let page = self.fd.get_lapic().map_err(KvmError::refused("the local APIC"))?;
        let sregs = self.fd.get_sregs().map_err(KvmError::refused("the system registers"))?;
        let mut bytes = [0u8; 1024];
        for (to, from) in bytes.iter_mut().zip(page.regs) {
            *to = from as u8;
        }
        Ok(LapicState {
            registers: LapicState::registers_of(&bytes),
            apic_base: sregs.apic_base,
            tsc_deadline: msrs::tsc_deadline(&self.fd)?,
            tsc_offset: self.state.msrs.tsc_offset,
            timer_expiry: None,
            errors: 0,
            lint: [false; 2],
            nmi: false,
            init: false,
            sipi: None,
        })
    }

    /// Sets the kernel's local APIC.
    ///
    /// # Errors
    /// Where the kernel has none, or refuses the state.
    pub fn set_lapic(&self, state: &LapicState) -> Result<(), KvmError> {
        let mut sregs = self.fd.get_sregs().map_err(KvmError::refused("the system registers"))?;
        sregs.apic_base = state.apic_base;
        self.fd.set_sregs(&sregs).map_err(KvmError::refused("the system registers"))?;
        let mut page = kvm_lapic_state::default();
        for (to, from) in page.regs.iter_mut().zip(state.to_page()) {
            *to = from as _;
        }
        self.fd.set_lapic(&page).map_err(KvmError::refused("the local APIC"))?;
        msrs::set_tsc_deadline(&self.fd, state.tsc_deadline)
    }

    /// Answers an access to memory that is none.
    fn read_memory(&self, address: u64, buffer: &mut [u8]) {
        let size = buffer.len() as u8;
        let value = match self.local_page(address) {
            Some((local, offset)) => local.read(offset, size),
            None => read(&self.memory, address, size),
        };
        for (to, from) in buffer.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
    }

    fn write_memory(&self, address: u64, data: &[u8]) {
        let value = data.iter().take(8).rev().fold(0, |v, &byte| v << 8 | u64::from(byte));
        match self.local_page(address) {
            Some((local, offset)) => local.write(offset, data.len() as u8, value),
            None => write(&self.memory, address, data.len() as u8, value),
        }
    }

    /// The local APIC and the offset in its page, if `address` is there.
    fn local_page(&self, address: u64) -> Option<(&Arc<dyn LocalController>, u64)> {
        let local = self.user_local()?;
        let base = local.apic_base();
        let page = base & !0xfff;
        (base & apic_base::ENABLE != 0 && address & !0xfff == page).then_some((local, address & 0xfff))
    }

    /// Does what an exit wants. `Some` ends the run.
    fn handle(&mut self, left: Left) -> Option<Exit> {
        self.unfinished =
            matches!(left, Left::In { .. } | Left::Out { .. } | Left::Read { .. } | Left::Write { .. });
        match left {
            Left::In { port, size, buffer } => {
                // SAFETY: it lies in the structure shared with the kernel, which lives as long as `fd`, and which the
                // kernel leaves alone until the processor runs again.
                let buffer = unsafe { &mut *buffer };
                for element in buffer.chunks_mut(size.into()) {
                    let value = read(&self.ports, port.into(), size);
                    for (to, from) in element.iter_mut().zip(value.to_le_bytes()) {
                        *to = from;
                    }
                }
            }
            Left::Out { port, size, data } => {
                for element in data.chunks(size.into()) {
                    let value = element.iter().rev().fold(0, |v, &byte| v << 8 | u64::from(byte));
                    write(&self.ports, port.into(), size, value);
                }
            }
            Left::Read { address, buffer } => {
                // SAFETY: as above.
                self.read_memory(address, unsafe { &mut *buffer });
            }
            Left::Write { address, data } => self.write_memory(address, &data),
            Left::Halted => self.state.activity = Activity::Halted,
            Left::Window | Left::TaskPriority | Left::Interrupted => {}
            Left::Shutdown => {
                self.state.activity = Activity::Shutdown;
                return Some(Exit::Shutdown(None));
            }
            Left::Failed(why) => return Some(Exit::Broken(why)),
        }
        None
    }

    /// What keeps a processor from running: `hlt`, or never having been started. `None` once it may run.
    fn resting(&mut self, word: u64) -> Option<Exit> {
        let wake = match self.state.activity {
            Activity::Running => return None,
            Activity::Halted if self.fd.get_kvm_run().if_flag != 0 => 1 << line::INTR | line::EVENTS,
            Activity::Halted => line::EVENTS,
            Activity::WaitForSipi => line::EVENTS,
            Activity::Shutdown => return Some(Exit::Shutdown(None)),
        };
        if word & wake == 0 {
            return Some(Exit::Idle { until: None, wake: wake | REQUESTS });
        }
        if self.state.activity == Activity::Halted {
            self.state.activity = Activity::Running;
        }
        None
    }

    /// Interrupts and CR8, before the guest runs. `Some` ends the run.
    fn prepare(&mut self, word: u64) -> Option<Exit> {
        let local = Arc::clone(self.user_local()?);
        if let Some(exit) = self.resting(word) {
            return Some(exit);
        }
        let started = match inject::inject(&mut self.fd, &*local, word) {
            Ok(started) => started,
            Err(error) => return Some(Exit::Broken(error.to_string())),
        };
        match started {
            None => {}
            Some(Started::Init) => {
                self.with_state(&mut |state| {
                    state.init();
                    state.activity = Activity::WaitForSipi;
                });
                return self.resting(self.pending.load());
            }
            Some(Started::Sipi(vector)) if self.state.activity == Activity::WaitForSipi => {
                self.with_state(&mut |state| state.start_up(vector));
            }
            Some(Started::Sipi(_)) => {}
        }
        self.fd.get_kvm_run().cr8 = local.cr8().into();
        None
    }

    /// What the guest did to CR8 and the APIC's base.
    fn follow(&mut self) {
        let Some(local) = self.user_local().cloned() else { return };
        let run = self.fd.get_kvm_run();
        let (cr8, base) = (run.cr8 as u8 & 15, run.apic_base);
        if cr8 != local.cr8() {
            local.set_cr8(cr8);
        }
        if base != local.apic_base() && base != 0 {
            let _ = local.set_apic_base(base);
        }
    }
}

/// Reads a device; nothing there gives all ones, as on a PC.
fn read(bus: &Bus, address: u64, size: u8) -> u64 {
    let ones = u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)));
    match size {
        1 | 2 | 4 | 8 if address.is_multiple_of(size.into()) || bus_takes_odd(address) => {
            bus.read(address, size).unwrap_or(ones)
        }
        _ => (0..u64::from(size))
            .fold(0, |v, i| v | (bus.read(address + i, 1).unwrap_or(0xff) & 0xff) << (8 * i)),
    }
}

/// I/O ports need no alignment: a device sees the access as it is.
fn bus_takes_odd(address: u64) -> bool {
    address < 1 << 16
}

/// Writes a device; nothing there ignores it.
fn write(bus: &Bus, address: u64, size: u8, value: u64) {
    match size {
        1 | 2 | 4 | 8 if address.is_multiple_of(size.into()) || bus_takes_odd(address) => {
            let _ = bus.write(address, size, value);
        }
        _ => {
            for i in 0..u64::from(size) {
                let _ = bus.write(address + i, 1, value >> (8 * i) & 0xff);
            }
        }
    }
}

impl Vcpu for KvmCpu {
    type State = State;

    fn run(&mut self, _budget: u64) -> Exit {
        if let Some(why) = &self.failed {
            return Exit::Broken(why.clone());
        }
        let flag = &raw mut self.fd.get_kvm_run().immediate_exit;
        let kicker = Arc::clone(&self.kicker);
        let _inside = kicker.enter(flag);
        self.away = true;
        loop {
            // Before the look at the word: a kick from here on raises the flag again.
            self.fd.set_kvm_immediate_exit(0);
            let word = self.pending.load();
            if word & REQUESTS != 0 {
                return Exit::Kick;
            }
            if let Some(exit) = self.prepare(word) {
                return exit;
            }
            let left = exit::run(&mut self.fd);
            self.follow();
            if let Some(exit) = self.handle(left) {
                return exit;
            }
        }
    }

    fn counts(&self) -> bool {
        false
    }

    fn retired(&self) -> u64 {
        0
    }

    fn pending(&self) -> &Arc<PendingWord> {
        &self.pending
    }

    fn park(&mut self) {
        if self.away {
            // What the kernel does not tell stays as it was; nothing will run from it.
            if let Err(error) = self.take() {
                self.failed = Some(error.to_string());
            }
        }
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn with_state(&mut self, f: &mut dyn FnMut(&mut State)) {
        self.park();
        f(&mut self.state);
        if let Err(error) = self.put() {
            self.failed = Some(error.to_string());
        }
    }

    /// The processor has its own.
    fn flush_translations(&mut self, _: Option<u64>, _: Option<u16>) {}

    /// The processor sees to it.
    fn flush_code(&mut self) {}

    fn flush_pages(&mut self) {}
}
