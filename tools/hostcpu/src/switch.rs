//! Changes between the host's registers and the instruction's.

use crate::Signal;
use std::cell::UnsafeCell;
use std::mem::offset_of;

/// What the code below loads and stores.
#[repr(C)]
pub struct Context {
    /// The instruction's general registers.
    pub gpr: [u64; 16],
    /// Its flags.
    pub rflags: u64,
    /// Where it stands.
    pub target: u64,
    /// The stack pointer of [`enter`], with its caller's registers on the stack.
    pub host_rsp: u64,
    /// Not 0 if the instruction went to [`taken`].
    pub taken: u64,
    /// Not 0 if a signal ended the instruction, not the jump behind it; written by the handler.
    pub signalled: u64,
    /// What it said.
    pub signal: Signal,
}

/// A place for a [`Context`] that the code below finds by name.
pub struct Place(UnsafeCell<Context>);

// SAFETY: there is one oracle in a process, bound to its thread; it and the signal handler, which runs
// on the same thread while the oracle waits, are the only users.
unsafe impl Sync for Place {}

impl Place {
    /// The context.
    pub fn get(&self) -> *mut Context {
        self.0.get()
    }
}

/// The context.
pub static CONTEXT: Place = Place(UnsafeCell::new(Context {
    gpr: [0; 16],
    rflags: 0,
    target: 0,
    host_rsp: 0,
    taken: 0,
    signalled: 0,
    signal: Signal { number: 0, code: 0, address: 0, trap: 0, error: 0, cr2: 0, rip: 0, rflags: 0 },
}));

// `mov` changes no flags, and a RIP-relative one needs no register: so everything can be loaded and
// stored without losing anything. Flags pass over the host's stack.
//
// `iretq` loads RIP, flags and RSP at once: the trap flag then takes effect on the instruction that it
// goes to, and not before (SDM volume 3, "Single-Step Exception Condition").
//
// The kernel's return from a handler restores most flags, but not NT (Linux, FIX_EFLAGS), with which the
// next `iretq` would fault; so this is done here after signals too. The flags may hold TF, DF, NT and AC, with which the host's code
// cannot live.
std::arch::global_asm!(
    ".p2align 6",
    ".globl hostcpu_enter",
    "hostcpu_enter:",
    "    push rbx",
    "    push rbp",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov [rip + {context} + {host_rsp}], rsp",
    "    push qword ptr [rip + {context} + {rflags}]",
    "    popfq",
    "    call 5f",
    "    mov rsp, [rip + {context} + 32]",
    "    jmp qword ptr [rip + {context} + {target}]",
    ".p2align 6",
    ".globl hostcpu_step",
    "hostcpu_step:",
    "    push rbx",
    "    push rbp",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov [rip + {context} + {host_rsp}], rsp",
    "    mov eax, ss",
    "    push rax",
    "    push qword ptr [rip + {context} + 32]",
    "    push qword ptr [rip + {context} + {rflags}]",
    "    mov eax, cs",
    "    push rax",
    "    push qword ptr [rip + {context} + {target}]",
    "    call 5f",
    "    iretq",
    ".p2align 6",
    "5:",
    "    mov rax, [rip + {context}]",
    "    mov rcx, [rip + {context} + 8]",
    "    mov rdx, [rip + {context} + 16]",
    "    mov rbx, [rip + {context} + 24]",
    "    mov rbp, [rip + {context} + 40]",
    "    mov rsi, [rip + {context} + 48]",
    "    mov rdi, [rip + {context} + 56]",
    "    mov r8, [rip + {context} + 64]",
    "    mov r9, [rip + {context} + 72]",
    "    mov r10, [rip + {context} + 80]",
    "    mov r11, [rip + {context} + 88]",
    "    mov r12, [rip + {context} + 96]",
    "    mov r13, [rip + {context} + 104]",
    "    mov r14, [rip + {context} + 112]",
    "    mov r15, [rip + {context} + 120]",
    "    ret",
    ".p2align 6",
    ".globl hostcpu_taken",
    "hostcpu_taken:",
    "    mov qword ptr [rip + {context} + {taken}], 1",
    ".globl hostcpu_exit",
    "hostcpu_exit:",
    "    mov [rip + {context}], rax",
    "    mov [rip + {context} + 8], rcx",
    "    mov [rip + {context} + 16], rdx",
    "    mov [rip + {context} + 24], rbx",
    "    mov [rip + {context} + 32], rsp",
    "    mov [rip + {context} + 40], rbp",
    "    mov [rip + {context} + 48], rsi",
    "    mov [rip + {context} + 56], rdi",
    "    mov [rip + {context} + 64], r8",
    "    mov [rip + {context} + 72], r9",
    "    mov [rip + {context} + 80], r10",
    "    mov [rip + {context} + 88], r11",
    "    mov [rip + {context} + 96], r12",
    "    mov [rip + {context} + 104], r13",
    "    mov [rip + {context} + 112], r14",
    "    mov [rip + {context} + 120], r15",
    "    mov rsp, [rip + {context} + {host_rsp}]",
    "    pushfq",
    "    pop qword ptr [rip + {context} + {rflags}]",
    "    test dword ptr [rip + {context} + {rflags}], 0x44500",
    "    jz 6f",
    ".globl hostcpu_resume",
    "hostcpu_resume:",
    "    mov rsp, [rip + {context} + {host_rsp}]",
    "    push 0x202",
    "    popfq",
    "6:",
    "    pop r15",
    "    pop r14",
    "    pop r13",
    "    pop r12",
    "    pop rbp",
    "    pop rbx",
    "    ret",
    context = sym CONTEXT,
    rflags = const offset_of!(Context, rflags),
    target = const offset_of!(Context, target),
    taken = const offset_of!(Context, taken),
    host_rsp = const offset_of!(Context, host_rsp),
);

unsafe extern "sysv64" {
    /// Loads the registers of `context`, which is [`CONTEXT`], and jumps to its target. Returns when
    /// something jumps to [`exit`] or [`resume`].
    #[link_name = "hostcpu_enter"]
    pub unsafe fn enter(context: *mut Context);
    /// The same through `iretq`.
    #[link_name = "hostcpu_step"]
    pub unsafe fn step(context: *mut Context);
    #[link_name = "hostcpu_exit"]
    unsafe fn exit_code();
    #[link_name = "hostcpu_taken"]
    unsafe fn taken_code();
    #[link_name = "hostcpu_resume"]
    unsafe fn resume_code();
}

/// Where to jump to store all registers and return from [`enter`].
pub fn exit() -> u64 {
    exit_code as *const () as u64
}

/// Where to jump to note that it was jumped to, and then as [`exit`].
pub fn taken() -> u64 {
    taken_code as *const () as u64
}

/// Whether an address is in the code here.
pub fn ours(address: u64) -> bool {
    (enter as *const () as u64..resume()).contains(&address)
}

/// Where to go on after a signal to return from [`enter`], with any registers and flags.
pub fn resume() -> u64 {
    resume_code as *const () as u64
}
