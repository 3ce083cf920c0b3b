//! The signals by which the kernel reports faults and single steps.

use crate::switch::{CONTEXT, resume};
use crate::{Outcome, Signal, Unavailable};
use libc::{c_int, c_void, siginfo_t, sigset_t, stack_t, ucontext_t};
use std::cell::UnsafeCell;
use std::io;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

const SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];

/// Bytes of the handler's stack: the frame has the vector registers, which may take 11 KiB.
const STACK_BYTES: usize = 128 << 10;

/// Registers in the order of encodings.
const GREGS: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// The thread that is running an instruction now; 0: none is. Signals of others are not ours.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// Says that an instruction is being run, until it is dropped.
pub struct Running;

impl Running {
    /// From now on.
    pub fn new() -> Running {
        // SAFETY: has no preconditions.
        RUNNING.store(unsafe { libc::pthread_self() }, Ordering::Relaxed);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.store(0, Ordering::Relaxed);
    }
}

struct Previous(UnsafeCell<Option<[libc::sigaction; SIGNALS.len()]>>);

// SAFETY: written before the handler is installed, and by nobody after that.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(UnsafeCell::new(None));

/// The handler in place, on a stack of its own; what was there before comes back when it is dropped.
pub struct Handler {
    old_stack: stack_t,
    _stack: Vec<u8>,
}

impl Handler {
    /// Installs it, for the calling thread. There must be no other.
    ///
    /// # Errors
    /// If the kernel does not let us.
    pub fn new() -> Result<Handler, Unavailable> {
        let refused = |what| move || Unavailable::Kernel(what, io::Error::last_os_error());
        let mut stack = vec![0; STACK_BYTES];
        let new = stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_BYTES };
        // SAFETY: all zeroes is a valid value of this plain structure.
        let mut old_stack: stack_t = unsafe { zeroed() };
        // SAFETY: the stack lives as long as the handler, which puts the old one back.
        if unsafe { libc::sigaltstack(&new, &mut old_stack) } != 0 {
            return Err(refused("a signal stack")());
        }
        let handler = Handler { old_stack, _stack: stack };
        // SAFETY: all zeroes is a valid value of this plain structure: an empty mask, no flags.
        let mut action: libc::sigaction = unsafe { zeroed() };
        action.sa_sigaction = handle_safely as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut previous = [action; SIGNALS.len()];
        for (n, old) in SIGNALS.into_iter().zip(&mut previous) {
            // SAFETY: asks only.
            unsafe { libc::sigaction(n, null(), old) };
        }
        // SAFETY: no handler of ours is installed, so nobody else uses this.
        unsafe { *PREVIOUS.0.get() = Some(previous) };
        for n in SIGNALS {
            // SAFETY: the handler lets the previous one have what is not ours.
            if unsafe { libc::sigaction(n, &action, null_mut()) } != 0 {
                return Err(refused("a signal handler")());
            }
        }
        unblock().ok_or_else(refused("to unblock signals"))?;
        Ok(handler)
    }
}

/// A blocked signal of a fault would end the process.
fn unblock() -> Option<()> {
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut set: sigset_t = unsafe { zeroed() };
    for n in SIGNALS {
        // SAFETY: the set is ours.
        unsafe { libc::sigaddset(&mut set, n) };
    }
    // SAFETY: unblocking these lets nothing happen but what a fault does.
    (unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, null_mut()) } == 0).then_some(())
}

impl Drop for Handler {
    fn drop(&mut self) {
        for n in SIGNALS {
            give_back(n);
        }
        // SAFETY: the stack was that of this thread before; nothing runs on ours now.
        unsafe { libc::sigaltstack(&self.old_stack, null_mut()) };
    }
}

/// Puts the previous handler of a signal back.
fn give_back(number: c_int) {
    // SAFETY: written before any handler of ours was installed, and only read since.
    let Some(previous) = (unsafe { &*PREVIOUS.0.get() }) else { return };
    for (n, old) in SIGNALS.into_iter().zip(previous) {
        if n == number {
            // SAFETY: it was in place before.
            unsafe { libc::sigaction(n, old, null_mut()) };
        }
    }
}

// Linux clears DF and TF for a handler, but not AC, which an instruction may have set.
std::arch::global_asm!(
    "hostcpu_handle:",
    "    pushfq",
    "    and dword ptr [rsp], ~0x40000",
    "    popfq",
    "    jmp {handle}",
    ".globl hostcpu_handle",
    handle = sym handle,
);

unsafe extern "C" {
    #[link_name = "hostcpu_handle"]
    unsafe fn handle_safely(number: c_int, info: *mut siginfo_t, context: *mut c_void);
}

extern "C" fn handle(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: has no preconditions.
    if RUNNING.load(Ordering::Relaxed) != unsafe { libc::pthread_self() } {
        // Somebody else's: when the handler returns, the fault happens again and finds its own.
        return give_back(number);
    }
    // SAFETY: the kernel gives both to a handler with SA_SIGINFO, and nobody else uses them.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<ucontext_t>()) };
    // SAFETY: the thread that uses the context is this one, and stopped while it runs the instruction.
    let ours = unsafe { &mut *CONTEXT.get() };
    let gregs = &mut context.uc_mcontext.gregs;
    let of = |n: c_int| gregs[n as usize].cast_unsigned();
    for (value, n) in ours.gpr.iter_mut().zip(GREGS) {
        *value = of(n);
    }
    ours.signalled = 1;
    ours.signal = Signal {
        number,
        code: info.si_code,
        // SAFETY: the five signals that we handle have this field.
        address: unsafe { info.si_addr() } as u64,
        trap: of(libc::REG_TRAPNO),
        error: of(libc::REG_ERR),
        cr2: of(libc::REG_CR2),
        rip: of(libc::REG_RIP),
        rflags: of(libc::REG_EFL),
    };
    // TF would trace the code that it goes on with.
    gregs[libc::REG_EFL as usize] = 0x202;
    gregs[libc::REG_RIP as usize] = resume().cast_signed();
}

/// The exception that a signal reports.
///
/// A kernel that says a vector which its signal does not go with reports none; then the vector follows
/// from the signal and its code, and the error code is unknown.
pub fn exception(signal: &Signal) -> Outcome {
    let known = match signal.number {
        libc::SIGFPE => matches!(signal.trap, 0 | 16 | 19),
        libc::SIGILL => matches!(signal.trap, 6 | 21),
        libc::SIGTRAP => matches!(signal.trap, 1 | 3),
        libc::SIGBUS => matches!(signal.trap, 11 | 12 | 14 | 17),
        _ => matches!(signal.trap, 4 | 5 | 10..=14),
    };
    // `si_code` values of Linux: <asm-generic/siginfo.h>.
    let vector = match signal.number {
        _ if known => signal.trap as u8,
        libc::SIGFPE => 0,
        libc::SIGILL => 6,
        libc::SIGTRAP if signal.code == libc::TRAP_TRACE => 1,
        libc::SIGTRAP => 3,
        libc::SIGBUS if signal.code == libc::BUS_ADRALN => 17,
        libc::SIGBUS => 12,
        _ if matches!(signal.code, 1 | 2) => 14, // SEGV_MAPERR, SEGV_ACCERR
        _ => 13,
    };
    let address = (vector == 14).then_some(if known { signal.cr2 } else { signal.address });
    // Linux sets the bit "present" from TASK_SIZE_MAX on: arch/x86/mm/fault.c, set_signal_archinfo().
    let hidden = address.is_some_and(|a| a >= (1 << 47) - 4096);
    let error = (known && !hidden).then_some(signal.error);
    Outcome::Fault { vector, error, address }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(number: c_int, code: c_int, trap: u64) -> (u8, Option<u64>, Option<u64>) {
        let signal =
            Signal { number, code, trap, error: 6, cr2: 0x1000, address: 0x2000, ..Signal::default() };
        match exception(&signal) {
            Outcome::Fault { vector, error, address } => (vector, error, address),
            Outcome::Done => unreachable!("a signal is a fault"),
        }
    }

    #[test]
    fn the_kernel_says_the_vector() {
        assert_eq!(fault(libc::SIGSEGV, 1, 14), (14, Some(6), Some(0x1000)));
        assert_eq!(fault(libc::SIGSEGV, 128, 13), (13, Some(6), None));
        assert_eq!(fault(libc::SIGBUS, 128, 12), (12, Some(6), None));
        assert_eq!(fault(libc::SIGTRAP, 128, 3), (3, Some(6), None));
    }

    #[test]
    fn or_it_follows_from_the_signal() {
        assert_eq!(fault(libc::SIGSEGV, 1, 0), (14, None, Some(0x2000)));
        assert_eq!(fault(libc::SIGSEGV, 2, 0), (14, None, Some(0x2000)));
        assert_eq!(fault(libc::SIGSEGV, 128, 0), (13, None, None));
        assert_eq!(fault(libc::SIGFPE, 1, 14), (0, None, None));
        assert_eq!(fault(libc::SIGILL, 2, 0), (6, None, None));
        assert_eq!(fault(libc::SIGTRAP, 2, 0), (1, None, None));
        assert_eq!(fault(libc::SIGTRAP, 1, 0), (3, None, None));
        assert_eq!(fault(libc::SIGBUS, 1, 0), (17, None, None));
        assert_eq!(fault(libc::SIGBUS, 128, 0), (12, None, None));
    }

    #[test]
    fn what_the_kernel_hides_is_unknown() {
        let signal = Signal {
            number: libc::SIGSEGV,
            code: 1,
            trap: 14,
            error: 7,
            cr2: 0xffff_8000_0000_0000,
            ..Signal::default()
        };
        let address = Some(signal.cr2);
        assert_eq!(exception(&signal), Outcome::Fault { vector: 14, error: None, address });
    }
}
