//! One processor: the contract of `engine-core` on KVM_RUN.

use crate::exit::{self, Left};
use crate::kick::{Inside, Kicker};
use crate::outside::Outside;
use crate::{Config, Irqchip, KvmError, Vm, cpuid, fpu, inject, msrs, regs};
use engine_core::{Exit, Vcpu};
use fabric_clock::Clock;
use fabric_wire::PendingWord;
use fabric_wire::local::{Event, LocalController, apic_base, line};
use isa_x86::{Activity, Shadow, State, rflags};
use kvm_bindings::{
    KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, kvm_mp_state, kvm_vcpu_events, kvm_xcrs,
};
use kvm_ioctls::VcpuFd;
use std::sync::Arc;

/// A processor of KVM's.
pub struct KvmCpu {
    pub(crate) fd: VcpuFd,
    /// As of the last [`Vcpu::park`].
    pub(crate) state: State,
    /// The kernel's state is newer than `state`.
    away: bool,
    /// The last exit was an access that KVM finishes when it runs again.
    unfinished: bool,
    /// It has shut down, which KVM does not remember.
    shut_down: bool,
    /// An NMI that the kernel is to deliver, as of the last [`Vcpu::park`].
    pub(crate) nmi: bool,
    /// What the guest's time-stamp counter is ahead of the machine's, as the kernel has it.
    tsc_offset: Option<u64>,
    /// Why it can run no more.
    failed: Option<String>,
    kicker: Arc<Kicker>,
    vm: Arc<Vm>,
    outside: Outside,
    clock: Arc<Clock>,
    pending: Arc<PendingWord>,
}

/// Requests that end a run.
const REQUESTS: u64 = PendingWord::KICK | PendingWord::WORK;
/// INIT and start-up IPIs.
const START: u64 = 1 << line::INIT | 1 << line::SIPI;
/// Time between two reads of clocks within which a counter counts as unchanged: a thousandth of a second.
const TSC_SLACK: u64 = 1000;

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
        let local = local.filter(|_| vm.irqchip() == Irqchip::User);
        let mut cpu = KvmCpu {
            fd,
            state,
            away: false,
            unfinished: false,
            shut_down: false,
            nmi: false,
            tsc_offset: None,
            failed: None,
            kicker,
            vm,
            outside: Outside { memory, ports, local },
            clock,
            pending,
        };
        cpu.put()?;
        Ok(cpu)
    }

    /// Who has the interrupt controllers.
    pub fn irqchip(&self) -> Irqchip {
        self.vm.irqchip()
    }

    /// The machine's own time-stamp count, to which the processor's offset is added.
    fn count(&self) -> u64 {
        let hz = u128::from(self.state.identity.tsc_hz);
        (u128::from(self.clock.now()) * hz / 1_000_000_000) as u64
    }

    /// Gives the kernel the whole state.
    fn put(&mut self) -> Result<(), KvmError> {
        let (cr8, base) = match self.outside.local.as_ref() {
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
        fpu::put(&self.fd, &state.fpu)?;
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
        let (offset, nmi) = (state.msrs.tsc_offset, self.nmi && self.vm.irqchip() == Irqchip::Kernel);
        // Every write moves it a little; what has not changed stays as it is.
        if self.tsc_offset != Some(offset) {
            msrs::set_tsc(&self.fd, self.count().wrapping_add(offset))?;
            self.tsc_offset = Some(offset);
        }
        let state = &self.state;
        self.fd.set_vcpu_events(&regs::events(state, nmi)).map_err(refused("pending events"))?;
        if self.vm.irqchip() == Irqchip::Kernel {
            let mp_state = kvm_mp_state { mp_state: regs::mp_state(state.activity) };
            self.fd.set_mp_state(mp_state).map_err(refused("the activity"))?;
        }
        // What KVM has said last is of another state.
        let takes_interrupts = state.system_flags & rflags::IF != 0;
        let ready = takes_interrupts && state.shadow == Shadow::None && state.event.is_none();
        self.shut_down = state.activity == Activity::Shutdown;
        let run = self.fd.get_kvm_run();
        (run.cr8, run.if_flag) = (cr8.into(), takes_interrupts.into());
        run.ready_for_interrupt_injection = ready.into();
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
        let fpu = fpu::take(&self.fd)?;
        let state = &mut self.state;
        regs::take_general(state, &regs);
        regs::take_system(state, &sregs);
        regs::take_events(state, &events);
        state.fpu = fpu;
        if self.vm.offer().debug_registers {
            let debug = self.fd.get_debug_regs().map_err(refused("the debug registers"))?;
            regs::take_debug(state, &debug);
        }
        if self.vm.irqchip() == Irqchip::Kernel {
            let mp = self.fd.get_mp_state().map_err(refused("the activity"))?;
            state.activity = regs::take_mp_state(mp.mp_state);
        }
        if self.shut_down {
            state.activity = Activity::Shutdown;
        }
        msrs::take(&self.fd, state)?;
        let before = self.count();
        let offset = msrs::tsc(&self.fd)?.wrapping_sub(before);
        let slack = self.state.identity.tsc_hz / TSC_SLACK;
        self.tsc_offset = Some(match self.tsc_offset {
            Some(known) if known.wrapping_sub(offset).wrapping_add(slack) <= 2 * slack => known,
            _ => offset,
        });
        self.state.msrs.tsc_offset = self.tsc_offset.unwrap_or(offset);
        self.take_nmi(events)?;
        self.away = false;
        Ok(())
    }

    /// An NMI that the kernel has and the guest has not had: it goes back to where it came from.
    fn take_nmi(&mut self, mut events: kvm_vcpu_events) -> Result<(), KvmError> {
        self.nmi = events.nmi.pending != 0;
        let Some(local) = self.outside.local.as_ref().filter(|_| self.nmi) else { return Ok(()) };
        let mut state = local.state();
        state.nmi = true;
        local.set_state(&state).map_err(|_| KvmError::Lacks("a place for an NMI"))?;
        events.nmi.pending = 0;
        events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
        self.fd.set_vcpu_events(&events).map_err(KvmError::refused("pending events"))?;
        self.nmi = false;
        Ok(())
    }

    /// Does what an exit wants. `Some` ends the run.
    fn handle(&mut self, left: Left) -> Option<Exit> {
        self.unfinished =
            matches!(left, Left::In { .. } | Left::Out { .. } | Left::Read { .. } | Left::Write { .. });
        match left {
            Left::In { port, size, buffer } => {
                // SAFETY: it lies in the structure shared with the kernel, which lives as long as `fd`, and which the
                // kernel leaves alone until the processor runs again.
                self.outside.port_in(port, size, unsafe { &mut *buffer });
            }
            Left::Out { port, size, data } => self.outside.port_out(port, size, &data),
            // SAFETY: as above.
            Left::Read { address, buffer } => self.outside.read(address, unsafe { &mut *buffer }),
            Left::Write { address, data } => self.outside.write(address, &data),
            Left::Halted => self.state.activity = Activity::Halted,
            Left::Window | Left::TaskPriority | Left::Interrupted => {}
            Left::Shutdown => {
                (self.state.activity, self.shut_down) = (Activity::Shutdown, true);
                return Some(Exit::Shutdown(None));
            }
            Left::Failed(why) => return Some(Exit::Broken(why)),
        }
        None
    }

    /// INIT and start-up IPIs.
    fn start(&mut self, local: &dyn LocalController) -> Result<(), KvmError> {
        while self.pending.load() & START != 0 {
            match local.take_event() {
                Some(Event::Init) => {
                    let bootstrap = local.apic_base() & apic_base::BSP != 0;
                    self.with_state(&mut |state| {
                        state.init();
                        if !bootstrap {
                            state.activity = Activity::WaitForSipi;
                        }
                    });
                }
                Some(Event::Sipi(vector)) if self.state.activity == Activity::WaitForSipi => {
                    self.with_state(&mut |state| state.start_up(vector));
                }
                Some(Event::Sipi(_)) => {}
                // Not while one of the others is there.
                Some(Event::Nmi) => self.fd.nmi().map_err(KvmError::refused("an NMI"))?,
                None => break,
            }
        }
        Ok(())
    }

    /// What keeps a processor from running: `hlt`, or never having been started. `None` if nothing does, or something has
    /// come that may end it.
    fn resting(&mut self, word: u64) -> Result<Option<Exit>, KvmError> {
        let wake = match self.state.activity {
            Activity::Running => return Ok(None),
            Activity::Shutdown => return Ok(Some(Exit::Shutdown(None))),
            Activity::WaitForSipi => START,
            Activity::Halted => {
                let interrupt = if self.fd.get_kvm_run().if_flag != 0 { 1 << line::INTR } else { 0 };
                let nmi = if word & 1 << line::NMI != 0 && self.nmi_masked()? { 0 } else { 1 << line::NMI };
                START | interrupt | nmi
            }
        };
        let waits = self.state.activity == Activity::WaitForSipi || word & wake == 0;
        Ok(waits.then_some(Exit::Idle { until: None, wake: wake | REQUESTS }))
    }

    fn nmi_masked(&self) -> Result<bool, KvmError> {
        let events = self.fd.get_vcpu_events().map_err(KvmError::refused("pending events"))?;
        Ok(events.nmi.masked != 0)
    }

    /// Interrupts and CR8, before the guest runs. `Some` ends the run.
    fn prepare(&mut self) -> Result<Option<Exit>, KvmError> {
        if self.shut_down {
            return Ok(Some(Exit::Shutdown(None)));
        }
        let Some(local) = self.outside.local.clone() else { return Ok(None) };
        self.start(&*local)?;
        let word = self.pending.load();
        if let Some(exit) = self.resting(word)? {
            return Ok(Some(exit));
        }
        let comes = inject::inject(&mut self.fd, &*local, word)?;
        if self.state.activity == Activity::Halted {
            if !comes {
                // It was gone when it was looked for: back to sleep.
                return Ok(Some(Exit::Idle {
                    until: None,
                    wake: word & line::EVENTS | START | REQUESTS | 1 << line::INTR,
                }));
            }
            self.state.activity = Activity::Running;
        }
        self.fd.get_kvm_run().cr8 = local.cr8().into();
        Ok(None)
    }

    /// What the guest did to CR8 and the APIC's base.
    fn follow(&mut self) {
        let Some(local) = &self.outside.local else { return };
        let run = self.fd.get_kvm_run();
        let (cr8, base) = (run.cr8 as u8 & 15, run.apic_base);
        if cr8 != local.cr8() {
            local.set_cr8(cr8);
        }
        if base != local.apic_base() && base != 0 {
            let _ = local.set_apic_base(base);
        }
    }

    /// One look around and one stay in the guest. `Some` ends the run.
    fn step(&mut self, inside: &Inside<'_>) -> Option<Exit> {
        // Before the look at the word: a kick from here on raises the flag again.
        inside.forget();
        if self.pending.load() & REQUESTS != 0 {
            return Some(Exit::Kick);
        }
        match self.prepare() {
            Ok(None) => {}
            Ok(exit) => return exit,
            Err(error) => return Some(Exit::Broken(error.to_string())),
        }
        if let Some(why) = &self.failed {
            return Some(Exit::Broken(why.clone()));
        }
        let left = exit::run(&mut self.fd);
        self.follow();
        self.handle(left)
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
        let inside = kicker.enter(flag);
        self.away = true;
        loop {
            if let Some(exit) = self.step(&inside) {
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
