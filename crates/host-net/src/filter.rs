//! The system calls that the user network's process may still make once it is set up: sockets of the internet families,
//! events, time and memory. No file, no process, no other kind of socket. Anything else ends it.

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
    SeccompCondition as When, SeccompFilter, SeccompRule as Rule,
};
use std::collections::BTreeMap;

/// Calls that are allowed whatever their arguments are.
const PLAIN: &[libc::c_long] = &[
    // data
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    // sockets
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_close,
    // events and time
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    // memory and the end
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_gettid,
    libc::SYS_getpid,
    // fails: see `no_files`
    libc::SYS_openat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rseq,
];

fn rule(conditions: Vec<When>) -> Result<Rule, Error> {
    Ok(Rule::new(conditions)?)
}

fn when(argument: u8, is: Is, value: u64) -> Result<When, Error> {
    Ok(When::new(argument, Length::Dword, is, value)?)
}

/// The filter of the process of that number as a program for the kernel.
///
/// # Errors
/// If there is none for this processor.
fn program(process: u32) -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = PLAIN.iter().map(|&call| (call, Vec::new())).collect();
    // The internet's families; streams and datagrams, not raw sockets.
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            sockets.push(rule(vec![when(0, Is::Eq, family as u64)?, when(1, Is::Eq, kind as u64)?])?);
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    // Memory that is not code.
    let not_code = || rule(vec![when(2, Is::MaskedEq(libc::PROT_EXEC as u64), 0)?]);
    rules.insert(libc::SYS_mmap, vec![not_code()?]);
    rules.insert(libc::SYS_mprotect, vec![not_code()?]);
    // The last words of a process that fails go to standard error.
    rules.insert(libc::SYS_write, vec![rule(vec![when(0, Is::Eq, 2)?])?]);
    rules.insert(libc::SYS_writev, vec![rule(vec![when(0, Is::Eq, 2)?])?]);
    // A process that fails ends itself by a signal, which is to reach nobody else.
    rules.insert(libc::SYS_tgkill, vec![rule(vec![when(0, Is::Eq, u64::from(process))?])?]);
    // A descriptor's flags may be read.
    let fcntl = |command: libc::c_int| rule(vec![when(1, Is::Eq, command as u64)?]);
    rules.insert(libc::SYS_fcntl, vec![fcntl(libc::F_GETFD)?, fcntl(libc::F_GETFL)?]);
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture)?
        .try_into()?)
}

/// A filter under which opening a file fails: the C library's allocator may try to read a setting, and does without.
fn no_files() -> Result<BpfProgram, Error> {
    let rules = [(libc::SYS_openat, Vec::new())].into_iter().collect();
    let (others, this) = (SeccompAction::Allow, SeccompAction::Errno(libc::EACCES as u32));
    Ok(SeccompFilter::new(rules, others, this, std::env::consts::ARCH.try_into()?)?.try_into()?)
}

/// Confines the calling thread for good. Of two filters, the stricter wins (seccomp(2)).
///
/// # Errors
/// If the kernel does not take the filters.
pub fn confine() -> Result<(), Error> {
    confine_as(std::process::id())
}

fn confine_as(process: u32) -> Result<(), Error> {
    // Its own installation is a call that the second does not allow, so that it is first.
    seccompiler::apply_filter(&no_files()?)?;
    seccompiler::apply_filter(&program(process)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CHILD: &str = "HOSTEL_TEST_FILTER";

    /// What a confined process does on this test's behalf.
    fn attempt(what: &str) {
        // A filter that takes it for another process sees a signal to another.
        let process = std::process::id() + u32::from(what == "signal to another");
        confine_as(process).unwrap();
        let socket =
            |family, kind| rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, None);
        let cloexec = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        use rustix::net::{AddressFamily, SocketType};
        match what {
            "file" => assert!(std::fs::read("/etc/passwd").is_err()),
            "udp" => {
                drop(rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, cloexec, None).unwrap())
            }
            "unix" => drop(socket(AddressFamily::UNIX, SocketType::STREAM)),
            "raw" => drop(socket(AddressFamily::INET, SocketType::RAW)),
            "process" => drop(Command::new("/bin/true").status()),
            "write" => drop(rustix::io::write(rustix::stdio::stdin(), b"x")),
            "listen" => {
                let socket =
                    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, cloexec, None).unwrap();
                let _ = rustix::net::listen(&socket, 1);
            }
            "signal" | "signal to another" => std::process::abort(),
            _ => panic!("{what}?"),
        }
    }

    #[test]
    fn what_is_no_networks_business_ends_it() {
        if let Ok(what) = std::env::var(CHILD) {
            attempt(&what);
            std::process::exit(0);
        }
        for (what, signal) in [
            ("file", None),
            ("udp", None),
            ("unix", Some(libc::SIGSYS)),
            ("raw", Some(libc::SIGSYS)),
            ("process", Some(libc::SIGSYS)),
            ("write", Some(libc::SIGSYS)),
            ("listen", Some(libc::SIGSYS)),
            ("signal", Some(libc::SIGABRT)),
            ("signal to another", Some(libc::SIGSYS)),
        ] {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "filter::tests::what_is_no_networks_business_ends_it"])
                .env(CHILD, what)
                .output()
                .unwrap()
                .status;
            assert_eq!(status.signal(), signal, "{what}: {status}");
            assert!(signal.is_some() || status.success(), "{what}: {status}");
        }
    }
}
