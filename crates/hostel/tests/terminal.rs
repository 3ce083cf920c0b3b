//! The console on a terminal: raw mode, the keys, and the terminal as it was afterwards.

mod guest;

use guest::*;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A user at a terminal at which `hostel` runs [`ECHO`].
struct User {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    slave: OwnedFd,
    modes: String,
    hostel: Running,
    _files: Files,
}

impl User {
    fn new() -> User {
        let files = Files::new();
        files.add("k", flat(ECHO));
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let modes = format!("{:?}", tcgetattr(&slave).unwrap());
        let terminal = || slave.try_clone().unwrap();
        let mut hostel = files.process(&["run", "--bios", "none", "--kernel", "k"]);
        let hostel =
            hostel.stdin(terminal()).stdout(terminal()).stderr(terminal()).spawn().map(Running).unwrap();
        let mut output = File::from(master.try_clone().unwrap());
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        User { keyboard: master.into(), screen, seen: String::new(), slave, modes, hostel, _files: files }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown, and forgets what was shown up to it.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            match self.screen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} is not shown, but {:?}", self.seen),
            }
        }
    }

    /// Waits for the end: the exit status, and the terminal's modes as they were.
    #[track_caller]
    fn ends(mut self, code: i32) {
        let status = self.hostel.ends();
        assert_eq!(status.code(), Some(code));
        assert_eq!(format!("{:?}", tcgetattr(&self.slave).unwrap()), self.modes);
    }
}

#[test]
fn keys_go_to_the_guest_and_control_a_x_quits() {
    let mut user = User::new();
    user.expect("hostel: Ctrl-A x quits, Ctrl-A h lists the keys");
    user.expect(">");
    assert!(!tcgetattr(&user.slave).unwrap().local_modes.contains(LocalModes::ICANON));
    // Control-C and Control-D are the guest's own.
    user.type_in("hello\x03\x04!");
    user.expect("hello\x03\x04!");
    user.type_in("\x01x");
    user.ends(0);
}

#[test]
fn control_a_h_lists_the_keys_and_control_a_twice_is_one_for_the_guest() {
    let mut user = User::new();
    user.expect(">");
    user.type_in("\x01h");
    user.expect("Ctrl-A x    quit");
    user.type_in("(\x01\x01)");
    user.expect("(\x01)");
    user.type_in("x");
    user.ends(0);
}

#[test]
fn a_reset_keeps_the_terminal_raw_and_a_signal_gives_it_back() {
    let mut user = User::new();
    user.expect(">");
    user.type_in("r");
    user.expect("r>");
    assert!(!tcgetattr(&user.slave).unwrap().local_modes.contains(LocalModes::ICANON));
    user.hostel.signal(Signal::TERM);
    user.ends(143);
}
