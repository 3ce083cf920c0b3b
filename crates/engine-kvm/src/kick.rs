//! The kick: brings a processor out of the guest, from any thread.
//!
//! A signal ends KVM_RUN, but one that comes just before it would be lost. Its handler therefore also raises the flag
//! `immediate_exit` in the structure that the processor's thread shares with the kernel, which makes KVM_RUN return at
//! once (Linux, Documentation/virt/kvm/api.rst, "The kvm_run structure").

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, compiler_fence, fence};

thread_local! {
    /// `immediate_exit` of the processor that this thread runs; null between runs.
    static FLAG: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// The signal: one that nobody else uses (the C library keeps the first real-time signals for itself).
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 5
}

extern "C" fn kicked(_: libc::c_int) {
    // Only this thread changes the cell, and a thread-local of a plain pointer needs no set-up.
    let flag = FLAG.with(Cell::get);
    if !flag.is_null() {
        // SAFETY: `Kicker::enter` has put the address there, and takes it away before the structure goes.
        unsafe { flag.write_volatile(1) };
    }
}

/// Installs the handler, once for the process.
pub(crate) fn install() -> io::Result<()> {
    static ONCE: Once = Once::new();
    static FAILED: AtomicI32 = AtomicI32::new(0);
    ONCE.call_once(|| {
        // SAFETY: an all-zero `sigaction` is a valid one; the handler is async-signal-safe.
        let done = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = kicked as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(signal(), &raw const action, ptr::null_mut())
        };
        if done != 0 {
            FAILED.store(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL), Ordering::SeqCst);
        }
    });
    match FAILED.load(Ordering::SeqCst) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// How others reach a processor.
#[derive(Default)]
pub(crate) struct Kicker {
    inside: AtomicBool,
    thread: AtomicI32,
}

impl Kicker {
    /// Brings the processor out of the guest if it is, or is about to be, in it.
    pub fn kick(&self) {
        if self.inside.load(Ordering::SeqCst) {
            let thread = self.thread.load(Ordering::SeqCst);
            // SAFETY: plain numbers; a thread that is gone gives an error and nothing else.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal()) };
        }
    }

    /// From here on the thread can be kicked, until the guard goes. Whoever asks for something first, and kicks then, is
    /// seen by a look that comes after this call, or kicks.
    pub fn enter(&self, immediate_exit: *mut u8) -> Inside<'_> {
        FLAG.with(|flag| flag.set(immediate_exit));
        unblock();
        // SAFETY: asks for a number.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
        self.thread.store(thread, Ordering::SeqCst);
        self.inside.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Inside { kicker: self, flag: immediate_exit }
    }
}

/// Lets the signal through: whoever started the process, or the thread, may have blocked all.
fn unblock() {
    // SAFETY: an all-zero set is storage for `sigemptyset`, which makes an empty one of it; this thread's mask only.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
    }
}

/// A thread that can be kicked.
pub(crate) struct Inside<'a> {
    kicker: &'a Kicker,
    flag: *mut u8,
}

impl Inside<'_> {
    /// Forgets kicks so far: look for what they were about after this.
    pub fn forget(&self) {
        // SAFETY: whoever called `enter` holds the structure as long as this guard.
        unsafe { self.flag.write_volatile(0) };
        // The handler runs on this thread, so that order in the program is all there is to keep.
        compiler_fence(Ordering::SeqCst);
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.kicker.inside.store(false, Ordering::SeqCst);
        FLAG.with(|flag| flag.set(ptr::null_mut()));
    }
}
