//! Small guests that find out what no capability says: whether KVM runs kernel code on the processor or emulates it,
//! and whether `syscall` does what the manuals say. There are KVMs without hardware support that differ in both.

use crate::exit::{self, Left};
use crate::kick::Kicker;
use crate::{Irqchip, KvmError, Vm};
use fabric_bus::{Bus, BusBuilder};
use fabric_ram::{GuestRam, PAGE};
use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
use std::time::{Duration, Instant};

/// How code at privilege level 0 is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernel {
    /// By the processor.
    Native,
    /// By KVM's instruction emulator, which lacks many instructions.
    Emulated {
        /// Nanoseconds a turn of a loop of two instructions.
        turn: f64,
    },
}

/// What the small guests found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// How kernel code is run.
    pub kernel: Kernel,
    /// Whether `syscall` in 64-bit user code arrives at privilege level 0 (SDM vol. 2, SYSCALL).
    pub syscall: bool,
}

/// Bytes of memory of the small guest.
const SIZE: u64 = 16 * PAGE;
const CODE: u64 = 0x1000;
const HANDLER: u64 = 0x2000;
/// Page tables, one page each: PML4, PDPT, page directory.
const TABLES: u64 = 0x4000;
/// Turns of the loop: 20 ms in an emulator of a microsecond an instruction.
const TURNS: u64 = 10_000;
/// Nanoseconds a turn above which nobody would say that a processor runs it (two instructions and 100 microseconds for
/// going in and out).
const EMULATED: f64 = 50.0;
/// How long a guest may take before it is kicked out.
const LIMIT: Duration = Duration::from_secs(2);

/// 1: dec rdi; jnz 1b; hlt
const LOOP: [u8; 6] = [0x48, 0xff, 0xcf, 0x75, 0xfb, 0xf4];
/// syscall; hlt (never reached)
const CALL: [u8; 3] = [0x0f, 0x05, 0xf4];
/// mov rax, cr3 (privileged); hlt
const ANSWER: [u8; 4] = [0x0f, 0x20, 0xd8, 0xf4];

/// Page-table entry bits (SDM vol. 3, §4.5): present, writable, user; a 2 MiB page.
const TABLE: u64 = 7;
const LARGE: u64 = 0x87;

impl Trial {
    /// Whether an operating system made for the bare machine runs, and at the processor's speed.
    pub fn runs_systems(&self) -> bool {
        self.kernel == Kernel::Native && self.syscall
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kernel {
            Kernel::Native => write!(f, "kernel code runs on the processor")?,
            Kernel::Emulated { turn } => {
                write!(
                    f,
                    "without hardware support: kernel code is emulated, {turn:.0} ns a turn of a short loop"
                )?;
            }
        }
        if self.syscall { Ok(()) } else { write!(f, "; syscall does not arrive in the kernel") }
    }
}

/// Runs the small guests: some milliseconds, or tens of them in an emulator, and [`LIMIT`] each at worst.
///
/// # Errors
/// If the host refuses to make or run them.
pub fn trial() -> Result<Trial, KvmError> {
    let mut loops = Guest::new(&LOOP)?;
    // The second time is the one that counts: the first faults the memory in.
    let mut turn = 0.0;
    for _ in 0..2 {
        let time = Instant::now();
        if !matches!(loops.run(0, TURNS)?, Left::Halted) {
            return Err(KvmError::Lacks("an end to a short loop in 64-bit kernel code"));
        }
        turn = time.elapsed().as_nanos() as f64 / TURNS as f64;
    }
    let kernel = if turn > EMULATED { Kernel::Emulated { turn } } else { Kernel::Native };
    let mut calls = Guest::new(&CALL)?;
    let halted = matches!(calls.run(3, 0)?, Left::Halted);
    let rax = calls.fd.get_regs().map_err(KvmError::refused("the registers"))?.rax;
    Ok(Trial { kernel, syscall: halted && rax == TABLES })
}

struct Guest {
    // Goes before the machine that keeps its memory.
    fd: VcpuFd,
    _vm: Arc<Vm>,
}

impl Guest {
    fn new(code: &[u8]) -> Result<Self, KvmError> {
        let (ram, map) = memory(code).ok_or(KvmError::Lacks("a place for a small guest"))?;
        Guest::on(&{ map }.build(), &ram)
    }

    /// On this bus, with the page tables in `ram`.
    fn on(bus: &Bus, ram: &GuestRam) -> Result<Self, KvmError> {
        let tables = [(TABLES, TABLES + PAGE), (TABLES + PAGE, TABLES + 2 * PAGE)];
        let tables = tables.iter().try_for_each(|(at, next)| ram.store(*at, next | TABLE));
        let tables = tables.and_then(|()| ram.store(TABLES + 2 * PAGE, LARGE));
        tables.ok_or(KvmError::Lacks("a place for page tables"))?;
        let vm = Vm::new(bus, Irqchip::User)?;
        let fd = vm.vcpu(0)?;
        let known = vm.kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES);
        let known = known.map_err(KvmError::refused("the list of processor features"))?;
        fd.set_cpuid2(&known).map_err(KvmError::refused("its processor features"))?;
        Ok(Guest { fd, _vm: vm })
    }

    /// Runs the code at privilege level `level` with `rdi`, up to its first exit. There are no descriptor tables: any
    /// exception is a triple fault.
    fn run(&mut self, level: u8, rdi: u64) -> Result<Left, KvmError> {
        let refused = KvmError::refused;
        let mut s = self.fd.get_sregs().map_err(refused("the system registers"))?;
        s.cs = segment(0x08 | level, 11, true);
        s.ss = segment(0x10 | level, 3, false);
        (s.ds, s.es, s.fs, s.gs) = (s.ss, s.ss, s.ss, s.ss);
        (s.gdt.limit, s.idt.limit) = (0, 0);
        // CR0: PG, WP, NE, ET, MP, PE. CR4: PAE, OSFXSR, OSXMMEXCPT. EFER: LMA, LME, SCE.
        (s.cr0, s.cr3, s.cr4, s.efer) = (0x8001_0033, TABLES, 0x620, 0x501);
        self.fd.set_sregs(&s).map_err(refused("the system registers"))?;
        // STAR, LSTAR, FMASK (SDM vol. 4, table 2-2).
        let msrs = [(0xc000_0081, 0x0013_0008 << 32), (0xc000_0082, HANDLER), (0xc000_0084, 0x200)];
        let msrs = msrs.map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() });
        let msrs = Msrs::from_entries(&msrs).map_err(|_| KvmError::Lacks("room for the MSRs of syscall"))?;
        self.fd.set_msrs(&msrs).map_err(refused("the MSRs of syscall"))?;
        let regs = kvm_regs { rip: CODE, rflags: 2, rsp: CODE, rdi, ..Default::default() };
        self.fd.set_regs(&regs).map_err(refused("the registers"))?;
        Ok(self.in_time())
    }

    /// Runs until an exit or the limit: another thread kicks then, for a KVM may never come back by itself.
    fn in_time(&mut self) -> Left {
        let kicker = Kicker::default();
        let over = AtomicBool::new(false);
        let (done, wait) = channel::<()>();
        self.fd.set_kvm_immediate_exit(0);
        std::thread::scope(|scope| {
            let (kicker, over) = (&kicker, &over);
            scope.spawn(move || {
                let mut patience = LIMIT;
                while wait.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                    over.store(true, Ordering::SeqCst);
                    kicker.kick();
                    patience = Duration::from_millis(10);
                }
            });
            let inside = kicker.enter(&raw mut self.fd.get_kvm_run().immediate_exit);
            let mut left = exit::run(&mut self.fd);
            // A signal may be somebody else's.
            while matches!(left, Left::Interrupted) && !over.load(Ordering::SeqCst) {
                left = exit::run(&mut self.fd);
            }
            drop(inside);
            drop(done);
            left
        })
    }
}

/// The small guest's memory, with its code; `None` if that is too long.
fn memory(code: &[u8]) -> Option<(Arc<GuestRam>, BusBuilder)> {
    let ram = Arc::new(GuestRam::new(SIZE).ok()?);
    let mut map = BusBuilder::new(Arc::clone(&ram));
    map.ram("ram", 0, SIZE, 0, true).ok()?;
    ram.copy_in(CODE, code)?;
    ram.copy_in(HANDLER, &ANSWER)?;
    Some((ram, map))
}

/// A flat segment (SDM vol. 3, §3.4.5) whose selector has its level in the low bits.
fn segment(selector: u8, type_: u8, code: bool) -> kvm_segment {
    kvm_segment {
        limit: u32::MAX,
        selector: u16::from(selector),
        type_,
        present: 1,
        dpl: selector & 3,
        db: u8::from(!code),
        s: 1,
        l: u8::from(code),
        g: 1,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_bus::{BusFault, Target};

    /// Whether the test can do something; says so if not.
    fn skipped() -> bool {
        let error = crate::probe().err();
        if let Some(error) = &error {
            eprintln!("skipped: {error}");
        }
        error.is_some()
    }

    #[test]
    fn the_trial_comes_to_the_same_answer_twice() {
        if skipped() {
            return;
        }
        let (first, second) = (trial().unwrap(), trial().unwrap());
        eprintln!("this host: {first}");
        let kind = |trial: &Trial| (trial.kernel == Kernel::Native, trial.syscall);
        assert_eq!(kind(&first), kind(&second));
        assert_eq!(first.runs_systems(), kind(&first) == (true, true));
    }

    #[test]
    fn faults_and_endless_loops_are_told_from_halts() {
        if skipped() {
            return;
        }
        // ud2, with no table of handlers; then a privileged instruction of user code.
        assert!(matches!(Guest::new(&[0x0f, 0x0b]).unwrap().run(0, 0), Ok(Left::Shutdown)));
        assert!(matches!(Guest::new(&ANSWER).unwrap().run(3, 0), Ok(Left::Shutdown)));
        // 1: jmp 1b, in kernel code and in user code.
        for level in [0, 3] {
            let time = Instant::now();
            assert!(matches!(Guest::new(&[0xeb, 0xfe]).unwrap().run(level, 0), Ok(Left::Interrupted)));
            assert!(time.elapsed() >= LIMIT, "level {level}");
        }
    }

    #[test]
    fn a_hypercall_cannot_keep_the_vmm() {
        if skipped() {
            return;
        }
        // vmcall, vmmcall; hlt. What comes of them is the host's affair; that something does, is ours.
        for code in [[0x0f, 0x01, 0xc1, 0xf4], [0x0f, 0x01, 0xd9, 0xf4]] {
            for level in [0, 3] {
                let time = Instant::now();
                let left = Guest::new(&code).unwrap().run(level, 0).unwrap();
                let time = time.elapsed();
                eprintln!("{code:02x?} at level {level}: {} after {time:?}", name(&left));
                assert!(time < LIMIT + Duration::from_secs(5));
            }
        }
    }

    fn name(left: &Left) -> &'static str {
        match left {
            Left::Halted => "went on",
            Left::Shutdown => "an exception",
            Left::Interrupted => "kicked out",
            _ => "another exit",
        }
    }

    struct Nothing;
    impl Target for Nothing {
        fn read(&self, _: u64, _: u8) -> Result<u64, BusFault> {
            Err(BusFault)
        }
        fn write(&self, _: u64, _: u8, _: u64) -> Result<(), BusFault> {
            Err(BusFault)
        }
    }

    #[test]
    fn a_device_over_memory_is_reached_and_its_neighbours_stay_memory() {
        if skipped() {
            return;
        }
        // mov [0xa008], edi (a SIB byte with neither base nor index); hlt. Then the same one page further.
        for (at, device) in [(0xa008u64, true), (0xb008, false), (0x9ff8, false)] {
            let [low, high, ..] = at.to_le_bytes();
            let (ram, mut map) = memory(&[0x89, 0x3c, 0x25, low, high, 0, 0, 0xf4]).unwrap();
            map.overlay("spot", 0xa008, 8, Arc::new(Nothing)).unwrap();
            let left = Guest::on(&map.build(), &ram).unwrap().run(0, 0x1234_5678).unwrap();
            let left_for = match left {
                Left::Write { address, data } => Some((address, data)),
                Left::Halted => None,
                _ => panic!("another exit"),
            };
            let expected = device.then(|| (at, vec![0x78, 0x56, 0x34, 0x12]));
            assert_eq!(left_for, expected, "{at:#x}");
            assert_eq!(ram.load::<u32>(at), Some(if device { 0 } else { 0x1234_5678 }), "{at:#x}");
        }
    }
}
