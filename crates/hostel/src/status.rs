//! Exit statuses, and how the end of a machine becomes one.

use crate::say;
use anyhow::bail;
use vm_machine::{End, Fault};

/// Nothing went wrong: help was shown, the guest powered off, or the user quit.
pub const SUCCESS: u8 = 0;
/// `hostel bench` found that two did not compute the same.
pub const DISAGREED: u8 = 1;
/// `hostel image check` found errors (as `qemu-img check` says it).
pub const CORRUPT: u8 = 2;
/// `hostel image check` found nothing but lost space.
pub const LEAKS: u8 = 3;
/// An error of Hostel's: usage, set-up or internal.
pub const HOSTEL: u8 = 125;
/// A machine ended by signal n gives this plus n, as shells do.
const SIGNAL: u8 = 128;
/// What ends a process that is told to end, on every Linux that Hostel runs on.
const SIGTERM: u8 = 15;

/// Why a machine was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The user typed the key that quits.
    Quit,
    /// The process was sent this signal.
    Signal(i32),
    /// `hostel stop` ended it.
    Killed,
}

/// The exit status for a machine that ended so.
///
/// # Errors
/// If it ended by no wish of the guest's or the user's.
pub fn of(end: &End, why: Option<Why>) -> anyhow::Result<u8> {
    match (end, why) {
        // A guest that powers off while it is being stopped has still powered off.
        (End::Exit(code), _) => Ok(code_of(*code)),
        (_, Some(Why::Quit)) => Ok(SUCCESS),
        (_, Some(Why::Killed)) => Ok(SIGNAL + SIGTERM),
        (_, Some(Why::Signal(number))) => Ok(SIGNAL.saturating_add(u8::try_from(number).unwrap_or(0))),
        (End::Wedged { hart, first, last }, None) => bail!("hart {hart}: {}", wedged(first, last)),
        (End::Shutdown { cpu, fault }, None) => {
            bail!("processor {cpu} has shut down: {}", shut_down(fault.as_ref()))
        }
        (End::Failed(what), None) if what.contains('\n') => {
            say::report(what);
            Ok(HOSTEL)
        }
        (End::Failed(what), None) => bail!("{what}"),
        (End::Broken(what), None) => bail!("internal error: {what}; please report this"),
        (End::Reset | End::Stopped | End::Budget, None) => {
            bail!("internal error: the machine stopped and nobody asked it to; please report this")
        }
    }
}

/// What a hart that traps for ever has come to. Where a handler's address has never been set, it is 0.
fn wedged(first: &Fault, last: &Fault) -> String {
    let what = |fault: &Fault| {
        let Fault { pc, cause, value } = fault;
        format!("{} (cause {cause}) at pc {pc:#x}, value {value:#x}", cause_name(*cause))
    };
    let handler = match last.pc {
        0 => "no trap handler is installed: traps lead to address 0".to_owned(),
        pc => format!("the trap handler at {pc:#x} takes a trap itself"),
    };
    if first == last {
        return format!("{}, for ever; {handler}", what(last));
    }
    format!("{}; {handler}, for ever: {}", what(first), what(last))
}

/// What a triple fault has begun with.
fn shut_down(fault: Option<&Fault>) -> String {
    match fault {
        None => "a triple fault".to_owned(),
        Some(Fault { pc, cause, value }) => format!(
            "a triple fault, which began with exception {cause} at rip {pc:#x}, error code {value:#x}; \
             the guest's handlers for it fault, too"
        ),
    }
}

/// A guest's status as the host can pass it on: one byte. A larger one must not look like another, least of all
/// like success.
fn code_of(code: u64) -> u8 {
    u8::try_from(code).unwrap_or_else(|_| {
        say::note(&format!("the guest's exit status is {code}; a process can only say {}", u8::MAX));
        u8::MAX
    })
}

/// The name of an exception (Privileged Architecture, "Machine Cause Register", table of `mcause` values).
fn cause_name(cause: u64) -> &'static str {
    match cause {
        0 => "instruction address misaligned",
        1 => "instruction access fault",
        2 => "illegal instruction",
        3 => "breakpoint",
        4 => "load address misaligned",
        5 => "load access fault",
        6 => "store/AMO address misaligned",
        7 => "store/AMO access fault",
        8 => "environment call from U-mode",
        9 => "environment call from S-mode",
        11 => "environment call from M-mode",
        12 => "instruction page fault",
        13 => "load page fault",
        15 => "store/AMO page fault",
        _ => "unnamed cause",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_does_not_fit_is_not_success() {
        assert_eq!(of(&End::Exit(0), None).unwrap(), 0);
        assert_eq!(of(&End::Exit(255), None).unwrap(), 255);
        assert_eq!(of(&End::Exit(256), None).unwrap(), 255);
    }

    #[test]
    fn signals_count_from_128_and_the_key_is_success() {
        assert_eq!(of(&End::Stopped, Some(Why::Signal(15))).unwrap(), 143);
        assert_eq!(of(&End::Stopped, Some(Why::Quit)).unwrap(), 0);
        assert_eq!(of(&End::Stopped, Some(Why::Killed)).unwrap(), 143);
        assert_eq!(of(&End::Exit(3), Some(Why::Signal(15))).unwrap(), 3);
    }

    #[test]
    fn a_report_of_several_lines_is_an_error_of_ours() {
        assert_eq!(of(&End::Failed("one\ntwo".into()), None).unwrap(), HOSTEL);
        assert!(of(&End::Failed("one".into()), None).is_err());
    }

    #[test]
    fn what_nobody_wished_for_is_an_error() {
        for end in [End::Stopped, End::Broken("x".into()), End::Reset] {
            assert!(of(&end, None).is_err(), "{end:?}");
        }
    }
}
