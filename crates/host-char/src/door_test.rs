//! Consoles behind a door, with users who do not behave.

use super::*;
use crate::{Backend, Door};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

/// A guest's serial line that takes nothing unless told to.
#[derive(Default)]
struct Guest {
    takes: AtomicBool,
    rx: Mutex<Vec<u8>>,
    tx: Mutex<Vec<u8>>,
    bell: OnceLock<Bell>,
}

impl Source for Guest {
    fn offer(&self, bytes: &[u8]) -> usize {
        if !self.takes.load(Ordering::SeqCst) {
            return 0;
        }
        self.rx.lock().unwrap().extend(bytes);
        bytes.len()
    }
}

impl Sink for Guest {
    fn take(&self, into: &mut Vec<u8>) {
        into.append(&mut self.tx.lock().unwrap());
    }
}

impl Guest {
    /// Sends, and waits until the console has taken it.
    fn send(&self, bytes: &[u8]) {
        self.tx.lock().unwrap().extend_from_slice(bytes);
        self.bell.get().unwrap().output();
        until("the console takes nothing", || self.tx.lock().unwrap().is_empty());
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn start() -> (Console, Door, Arc<Guest>) {
    let (door, guest) = (Door::new().unwrap(), Arc::new(Guest::default()));
    let port = Port::open(Backend::Door(door.clone())).unwrap();
    let on_lost: OnLost = Box::new(|error| panic!("{error}"));
    let (source, sink) = (Arc::clone(&guest) as _, Arc::clone(&guest) as _);
    let console = Console::start(port, source, sink, None, on_lost).unwrap();
    assert!(guest.bell.set(console.bell()).is_ok());
    (console, door, guest)
}

fn enter(door: &Door) -> UnixStream {
    until("the door stays shut", || door.reserve());
    let (mine, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    door.enter(theirs.into());
    mine.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    mine
}

fn numbered(n: u32) -> Vec<u8> {
    (0..n).flat_map(|n| format!("{n:07}\n").into_bytes()).collect()
}

#[test]
fn the_newest_output_is_kept_for_who_comes() {
    let (_console, door, guest) = start();
    let text = numbered(100_000);
    guest.send(&text);
    let mut user = enter(&door);
    let mut seen = vec![0; KEPT];
    user.read_exact(&mut seen).unwrap();
    assert!(seen == text[text.len() - KEPT..]);
    guest.send(b"more");
    let mut more = [0; 4];
    user.read_exact(&mut more).unwrap();
    assert_eq!(&more, b"more");
    guest.takes.store(true, Ordering::SeqCst);
    user.write_all(b"typed").unwrap();
    until("nothing comes", || *guest.rx.lock().unwrap() == b"typed");
}

#[test]
fn one_is_in_at_a_time_and_the_next_comes_when_they_are_gone() {
    let (_console, door, guest) = start();
    for _ in 0..20 {
        let mut user = enter(&door);
        assert!(!door.reserve());
        guest.send(b"x");
        assert_eq!(user.read(&mut [0; 9]).unwrap(), 1);
    }
}

#[test]
fn attack_a_user_who_reads_nothing_does_not_stall_the_guest() {
    let (_console, door, guest) = start();
    let mut user = enter(&door);
    let text = numbered(1 << 20);
    // Eight megabytes: far more than a socket holds. Each piece is taken within moments.
    for piece in text.chunks(1 << 16) {
        guest.send(piece);
    }
    // What they then read are whole stretches of it, the last of which is the end.
    guest.send(b"END");
    let mut seen = Vec::new();
    let mut bytes = [0; 4096];
    while !seen.ends_with(b"END") {
        let n = user.read(&mut bytes).unwrap();
        assert!(n > 0);
        seen.extend(&bytes[..n]);
    }
    assert!(seen.len() < text.len() / 2, "{}", seen.len());
    let tail = &seen[seen.len() - KEPT / 2..];
    let whole = [&text[..], b"END"].concat();
    assert!(whole.ends_with(tail));
}

#[test]
fn attack_a_user_who_types_without_end_and_leaves() {
    let (_console, door, guest) = start();
    let mut user = enter(&door);
    user.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let flood = vec![b'.'; 1 << 16];
    while user.write_all(&flood).is_ok() {}
    drop(user);
    // The guest has read nothing, and the next one is let in.
    let mut next = enter(&door);
    guest.send(b"hello");
    let mut hello = [0; 5];
    next.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    guest.takes.store(true, Ordering::SeqCst);
    guest.bell.get().unwrap().room();
    until("what was typed is lost", || guest.rx.lock().unwrap().len() >= TYPED);
    let most = TYPED + READ + (1 << 20);
    assert!(guest.rx.lock().unwrap().len() < most);
}

#[test]
fn attack_a_user_who_reads_a_little_holds_the_end_up_for_moments_only() {
    let (console, door, guest) = start();
    let mut user = enter(&door);
    for _ in 0..64 {
        guest.send(&[b'x'; 1 << 16]);
    }
    let reader = std::thread::spawn(move || {
        let mut read = 0;
        while user.read(&mut [0; 512]).is_ok_and(|n| n > 0) {
            read += 1;
            std::thread::sleep(Duration::from_millis(100));
            if read > 300 {
                return;
            }
        }
    });
    let start = Instant::now();
    console.close();
    assert!(start.elapsed() < 2 * PATIENCE, "{:?}", start.elapsed());
    drop(reader);
}
