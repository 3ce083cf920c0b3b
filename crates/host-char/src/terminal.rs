//! The user's terminal: raw mode, and back again however the process ends.
//!
//! Raw means raw: Ctrl-C goes to the guest, and output is not touched either (so that a full-screen
//! program of the guest draws what it means). Whoever else writes to the terminal meanwhile ends lines
//! with `\r\n`, or calls [`restore`] first.

use crate::Source;
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, QueueSelector, Termios};
use rustix::termios::{isatty, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// The terminal that is in raw mode, or will be once this process is in its foreground.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

#[derive(Debug)]
struct Held {
    terminal: OwnedFd,
    /// The modes before; `None` until it has been raw.
    before: Option<Termios>,
}

impl Held {
    fn make_raw(&mut self) -> io::Result<()> {
        let before = match &self.before {
            Some(before) => before.clone(),
            None => tcgetattr(&self.terminal)?,
        };
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&self.terminal, OptionalActions::Now, &raw)?;
        self.before = Some(before);
        Ok(())
    }
}

/// Whether the kernel lets this process change the terminal's modes; from the background it would be
/// stopped (`SIGTTOU`).
fn in_foreground(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == getpgrp())
}

/// While this lives, a terminal is in raw mode whenever this process is in its foreground.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Puts `terminal` into raw mode. From its background that has to wait: until [`watch_signals`]
    /// sees the process go on in the foreground, or a console has read a key. `None`, and nothing done,
    /// if it is no terminal, or if one is held already.
    ///
    /// # Errors
    /// If the terminal refuses.
    pub fn enter(terminal: impl AsFd) -> io::Result<Option<Self>> {
        let terminal = terminal.as_fd();
        if !isatty(terminal) {
            return Ok(None);
        }
        let mut slot = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Ok(None);
        }
        let mut held = Held { terminal: terminal.try_clone_to_owned()?, before: None };
        if in_foreground(terminal) {
            held.make_raw()?;
        }
        *slot = Some(held);
        drop(slot);
        restore_on_panic();
        Ok(Some(RawMode(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether a terminal is in raw mode.
pub fn is_raw() -> bool {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|held| held.before.is_some())
}

/// Gives the terminal its modes back, if one is in raw mode. Keys that nobody has read are dropped:
/// they were meant for the guest, not for the shell. To be called before any `exit`.
pub fn restore() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Held { terminal, before: Some(before) }) = held
        // In the background the modes are the shell's by now.
        && in_foreground(&terminal)
    {
        let _ = tcflush(&terminal, QueueSelector::IFlush);
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

/// After a stop: the shell has given the terminal modes of its own meanwhile.
fn resume() {
    if let Some(held) = HELD.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        && in_foreground(&held.terminal)
    {
        let _ = held.make_raw();
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

/// A key was read, so this process is in the foreground by now: `fg` sends no SIGCONT to what was not stopped.
pub(crate) fn key_read() {
    if HELD.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|held| held.before.is_none())
    {
        resume();
    }
}

/// Starts a thread that answers SIGHUP, SIGINT, SIGQUIT and SIGTERM: it asks `handle` with the
/// signal's number. True: the caller ends the process in its own good time. False: the terminal is
/// restored and the signal does what it does by default. Those that whoever started this process had it
/// ignore (`nohup`, a shell's `&`) stay ignored. After SIGCONT the terminal is raw again if it was.
/// To be called once in a process.
///
/// # Errors
/// If the handlers or the thread cannot be set up.
pub fn watch_signals(handle: impl Fn(i32) -> bool + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let ignored = ignored();
    let wanted = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter();
    let wanted = wanted.filter(|signal| ignored & 1 << (signal - 1) == 0).chain([SIGCONT]);
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                resume();
            } else if !handle(signal) {
                restore();
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

/// How many characters a line of this terminal has, and how many lines there are; none of what is no terminal, or says nothing.
pub(crate) fn size(terminal: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Tells a guest, until it is dropped, when the user's terminal gets another size.
pub(crate) struct SizeWatch(signal_hook::iterator::Handle);

impl SizeWatch {
    /// Starts a thread for it.
    pub fn start(terminal: Arc<OwnedFd>, source: Arc<dyn Source>) -> io::Result<SizeWatch> {
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGWINCH])?;
        let handle = signals.handle();
        std::thread::Builder::new().name("terminal size".into()).spawn(move || {
            for _ in signals.forever() {
                if let Some((columns, rows)) = size(&terminal) {
                    source.resized(columns, rows);
                }
            }
        })?;
        Ok(SizeWatch(handle))
    }
}

impl Drop for SizeWatch {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The signals that this process ignores, n in bit n - 1. `sigaction` would say so too, but not without
/// `unsafe`. Without /proc: none.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
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
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("terminal::tests::{test}")]);
        start(command, role, terminal)
    }

    fn start(mut command: Command, role: &str, terminal: &OwnedFd) -> Child {
        let child = command
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
    fn after_a_stop_the_terminal_is_raw_again() {
        if std::env::var_os(ROLE).is_some() {
            watch_signals(|_| false).unwrap();
            return play(|| ());
        }
        let (master, slave) = pty();
        let before = tcgetattr(&slave).unwrap();
        let child = spawn("after_a_stop_the_terminal_is_raw_again", "stopped", &slave);
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::STOP).unwrap();
        // What a shell does when a job of its stops.
        tcsetattr(&slave, OptionalActions::Now, &before).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !is_raw(&slave) {
            assert!(Instant::now() < end, "the terminal stays as the shell had it");
            kill_process(pid, Signal::CONT).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        rustix::io::write(&master, b"k").unwrap();
        assert!(wait(child).success());
        assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), format!("{before:?}"));
    }

    #[test]
    fn what_was_ignored_at_the_start_stays_ignored() {
        if std::env::var_os(ROLE).is_some() {
            watch_signals(|_| false).unwrap();
            return play(|| ());
        }
        let (_master, slave) = pty();
        let test = "terminal::tests::what_was_ignored_at_the_start_stays_ignored";
        let mut shell = Command::new("sh");
        let script = "trap '' HUP INT; exec \"$0\" --exact \"$1\"";
        shell.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(test);
        let mut child = start(shell, "ignored", &slave);
        for signal in [Signal::HUP, Signal::INT] {
            kill_process(Pid::from_child(&child), signal).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(child.try_wait().unwrap(), None);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(wait(child).signal(), Some(15));
    }

    #[test]
    fn what_is_no_terminal_is_left_alone() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(RawMode::enter(&reader).unwrap().is_none());
        assert!(RawMode::enter(std::fs::File::open("/dev/null").unwrap()).unwrap().is_none());
    }
}
