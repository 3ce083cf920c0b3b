//! The system calls that the process which serves a folder may still make: those of its server, of its memory and of its
//! end. Anything else ends it at once.
//!
//! It cannot start programs or threads, make sockets, signal others, or have memory that is executable. What the allowed
//! calls on paths may reach is Landlock's part and `openat2`'s; that this filter has `openat` too is for opening what is
//! known already, by `/proc/self/fd`.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Calls that may be made with any arguments.
const ALLOWED: &[i64] = &[
    // The link.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    // Files and folders.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_statx,
    libc::SYS_pread64,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_copy_file_range,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_fstatfs,
    // Names and attributes.
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_getxattr,
    libc::SYS_setxattr,
    libc::SYS_listxattr,
    libc::SYS_removexattr,
    // Memory, locks, time. To free memory, glibc reads /proc/sys/vm/overcommit_memory where it may open it: without
    // Landlock.
    libc::SYS_read,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    // A message on standard error, and the end. A panic may look at its environment.
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_getcwd,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls of which the argument of that number must have none of these bits.
const WITHOUT: &[(i64, u8, u64)] = &[
    (libc::SYS_mmap, 2, libc::PROT_EXEC as u64),
    (libc::SYS_mprotect, 2, libc::PROT_EXEC as u64),
    // Regular files, fifos and sockets: neither character (0o020000) nor block devices (0o060000).
    (libc::SYS_mknodat, 2, 0o020_000),
];

/// The filter for the process of that number, for this host's instruction set.
///
/// # Errors
/// If the host's is one that the filter's compiler does not know.
pub fn program(process: u32) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    for (call, argument, bits) in WITHOUT {
        let clear =
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(*bits), 0)?;
        rules.insert(*call, vec![SeccompRule::new(vec![clear])?]);
    }
    // A process that fails ends itself by a signal.
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(process))?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![own])?]);
    // A debug build asks before it closes a descriptor whether it is open.
    let asks = u64::from(libc::F_GETFD.cast_unsigned());
    let asks = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, asks)?;
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(vec![asks])?]);
    let target = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, target)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CHILD: &str = "HOSTEL_TEST_FILTER";

    #[test]
    fn a_process_ends_itself_by_a_signal_but_no_other() {
        if let Ok(other) = std::env::var(CHILD) {
            // A filter that takes it for another process sees a signal to another.
            let process = std::process::id() + other.parse::<u32>().unwrap();
            seccompiler::apply_filter(&program(process).unwrap()).unwrap();
            std::process::abort();
        }
        for (other, signal) in [("0", libc::SIGABRT), ("1", libc::SIGSYS)] {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "filter::tests::a_process_ends_itself_by_a_signal_but_no_other"])
                .env(CHILD, other)
                .output()
                .unwrap()
                .status;
            assert_eq!(status.signal(), Some(signal), "{status}");
        }
    }
}
