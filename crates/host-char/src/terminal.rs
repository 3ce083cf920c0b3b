//! The user's terminal: raw mode, and back again however the process ends.
//!
//! Raw means raw: Ctrl-C goes to the guest, and output is not touched either (so that a full-screen
//! program of the guest draws what it means). Whoever else writes to the terminal meanwhile ends lines
//! with `\r\n`, or calls [`restore`] first.

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, QueueSelector, Termios};
use rustix::termios::{isatty, tcflush, tcgetattr, tcgetpgrp, tcsetattr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

/// The terminal that is in raw mode, and its modes before.
static SAVED: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// While this lives, a terminal is in raw mode.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Puts `terminal` into raw mode. `None`, and nothing done, if it is no terminal, if this process
    /// is not in its foreground (changing the modes would stop it), or if one is in raw mode already.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn enter(terminal: impl AsFd) -> io::Result<Option<Self>> {
        let terminal = terminal.as_fd();
        let background = tcgetpgrp(terminal).is_ok_and(|group| group != getpgrp());
        if !isatty(terminal) || background {
            return Ok(None);
        }
        let mut saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
        if saved.is_some() {
            return Ok(None);
        }
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        *saved = Some((terminal.try_clone_to_owned()?, before));
        drop(saved);
        restore_on_panic();
        Ok(Some(RawMode(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal its modes back, if one is in raw mode. Keys that nobody has read are dropped:
/// they were meant for the guest, not for the shell. To be called before any `exit`.
pub fn restore() {
    if let Some((terminal, before)) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcflush(&terminal, QueueSelector::IFlush);
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

/// Makes a panic's message readable, and the terminal usable if the process ends of it.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            previous(info);
        }));
    });
}

/// Starts a thread that answers SIGHUP, SIGINT, SIGQUIT and SIGTERM: it asks `handle` with the
/// signal's number. True: the caller ends the process in its own good time. False: the terminal is
/// restored and the signal does what it does by default. To be called once in a process.
///
/// # Errors
/// If the handlers or the thread cannot be set up.
pub fn watch_signals(handle: impl Fn(i32) -> bool + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if !handle(signal) {
                restore();
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::LocalModes;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, ExitStatus};
    use std::time::{Duration, Instant};

    /// Both ends of a pseudo-terminal.
    fn pty() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        (master, slave)
    }

    fn is_raw(terminal: &OwnedFd) -> bool {
        !tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    const ROLE: &str = "HOST_CHAR_TERMINAL_TEST";

    /// Runs this test binary again as `test`, with `role`, on a terminal; waits until that is raw.
    fn spawn(test: &str, role: &str, terminal: &OwnedFd) -> Child {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("terminal::tests::{test}")])
            .env(ROLE, role)
            .stdin(terminal.try_clone().unwrap())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !is_raw(terminal) {
            assert!(Instant::now() < end, "the child never made its terminal raw");
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }

    fn wait(mut child: Child) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("the child does not end");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the child does: raw mode on its standard input, then `end` once a key comes.
    fn play(end: impl FnOnce()) {
        let _raw = RawMode::enter(std::io::stdin()).unwrap().unwrap();
        rustix::io::read(std::io::stdin(), &mut [0u8; 1]).unwrap();
        end();
    }

    #[test]
    fn the_modes_come_back_with_drop() {
        if std::env::var_os(ROLE).is_some() {
            return play(|| ());
        }
        let (master, slave) = pty();
        let before = format!("{:?}", tcgetattr(&slave).unwrap());
        let child = spawn("the_modes_come_back_with_drop", "drop", &slave);
        let modes = tcgetattr(&slave).unwrap().local_modes;
        assert!(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        rustix::io::write(&master, b"kx\n").unwrap();
        assert!(wait(child).success());
        assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), before);
    }

    #[test]
    fn the_modes_come_back_with_a_panic() {
        if std::env::var_os(ROLE).is_some() {
            // The process ends without unwinding to the guard.
            return play(|| {
                let _ = std::thread::spawn(|| panic!("told to")).join();
                std::process::exit(7);
            });
        }
        let (master, slave) = pty();
        let before = format!("{:?}", tcgetattr(&slave).unwrap());
        let child = spawn("the_modes_come_back_with_a_panic", "panic", &slave);
        rustix::io::write(&master, b"k").unwrap();
        assert_eq!(wait(child).code(), Some(7));
        assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), before);
    }

    #[test]
    fn the_modes_come_back_with_a_signal() {
        if let Ok(role) = std::env::var(ROLE) {
            watch_signals(move |_| {
                role == "handled" && {
                    restore();
                    std::process::exit(9)
                }
            })
            .unwrap();
            return play(|| ());
        }
        for (role, code, signal) in [("default", None, Some(15)), ("handled", Some(9), None)] {
            let (_master, slave) = pty();
            let before = format!("{:?}", tcgetattr(&slave).unwrap());
            let child = spawn("the_modes_come_back_with_a_signal", role, &slave);
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            let status = wait(child);
            assert_eq!((status.code(), status.signal()), (code, signal), "{role}");
            assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), before, "{role}");
        }
    }

    #[test]
    fn what_is_no_terminal_is_left_alone() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(RawMode::enter(&reader).unwrap().is_none());
        assert!(RawMode::enter(std::fs::File::open("/dev/null").unwrap()).unwrap().is_none());
    }
}
