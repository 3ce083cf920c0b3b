//! Consoles on pipes, sockets and pseudo-terminals, with a serial line of sixteen bytes as guest.

use super::*;
use crate::Backend;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, channel};

/// A guest's serial line: a receiver of sixteen bytes and an unbounded transmitter.
#[derive(Default)]
struct Guest {
    rx: Mutex<VecDeque<u8>>,
    refused: AtomicBool,
    tx: Mutex<Vec<u8>>,
    offers: AtomicUsize,
    breaks: AtomicUsize,
    lost: Mutex<Vec<io::ErrorKind>>,
    /// Who came and went, and the sizes of terminals.
    came: Mutex<Vec<bool>>,
    sizes: Mutex<Vec<(u16, u16)>>,
    bell: OnceLock<Bell>,
}

impl Guest {
    /// The guest reads what it has received.
    fn read(&self) -> Vec<u8> {
        let bytes = self.rx.lock().unwrap().drain(..).collect();
        if self.refused.load(Ordering::SeqCst) {
            self.bell.get().unwrap().room();
        }
        bytes
    }

    fn read_exactly(&self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let patience = Duration::from_secs(20);
        let mut end = Instant::now() + patience;
        while bytes.len() < n {
            assert!(Instant::now() < end, "after {} of {n} bytes nothing came", bytes.len());
            let more = self.read();
            if !more.is_empty() {
                // Two threads take turns sixteen bytes at a time, which on a busy host takes as long as it takes.
                end = Instant::now() + patience;
            }
            bytes.extend(more);
            std::thread::yield_now();
        }
        assert_eq!(bytes.len(), n);
        bytes
    }

    fn send(&self, bytes: &[u8]) {
        self.tx.lock().unwrap().extend_from_slice(bytes);
        self.bell.get().unwrap().output();
    }
}

impl Source for Guest {
    fn offer(&self, bytes: &[u8]) -> usize {
        self.offers.fetch_add(1, Ordering::SeqCst);
        let mut rx = self.rx.lock().unwrap();
        let n = bytes.len().min(16 - rx.len());
        rx.extend(&bytes[..n]);
        self.refused.store(n < bytes.len(), Ordering::SeqCst);
        n
    }

    fn send_break(&self) {
        self.breaks.fetch_add(1, Ordering::SeqCst);
    }

    fn connected(&self, there: bool) {
        self.came.lock().unwrap().push(there);
    }

    fn resized(&self, columns: u16, rows: u16) {
        self.sizes.lock().unwrap().push((columns, rows));
    }
}

impl Sink for Guest {
    fn take(&self, into: &mut Vec<u8>) {
        into.append(&mut self.tx.lock().unwrap());
    }
}

fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "it never came");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Bytes in which a loss, a repetition or an exchange would show.
fn pattern(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn start(backend: Backend, on_command: Option<OnCommand>) -> (Console, Arc<Guest>) {
    start_on(Port::open(backend).unwrap(), on_command)
}

fn start_on(port: Port, on_command: Option<OnCommand>) -> (Console, Arc<Guest>) {
    let guest = Arc::new(Guest::default());
    let told = Arc::clone(&guest);
    let on_lost: OnLost = Box::new(move |error| told.lost.lock().unwrap().push(error.kind()));
    let console =
        Console::start(port, Arc::clone(&guest) as _, Arc::clone(&guest) as _, on_command, on_lost).unwrap();
    assert!(guest.bell.set(console.bell()).is_ok());
    (console, guest)
}

/// A console on two pipes, with escape keys.
struct Pipes {
    console: Console,
    guest: Arc<Guest>,
    keyboard: PipeWriter,
    screen: PipeReader,
    commands: Receiver<Command>,
}

fn pipes() -> Pipes {
    let (input, keyboard) = io::pipe().unwrap();
    let (screen, output) = io::pipe().unwrap();
    let (sender, commands) = channel();
    let on_command: OnCommand = Box::new(move |command| sender.send(command).unwrap());
    let backend = Backend::Files { input: input.into(), output: output.into() };
    let (console, guest) = start(backend, Some(on_command));
    Pipes { console, guest, keyboard, screen, commands }
}

fn read_exactly(mut from: impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_big_paste_arrives_intact() {
    let mut p = pipes();
    // Larger than what waits in the console, so that reading stops and goes on.
    let paste: Vec<u8> = pattern(TYPED + TYPED / 4).into_iter().filter(|&b| b != 1).collect();
    let typed = paste.clone();
    let writer = std::thread::spawn(move || p.keyboard.write_all(&typed).unwrap());
    assert!(p.guest.read_exactly(paste.len()) == paste);
    writer.join().unwrap();
}

#[test]
fn a_guest_that_reads_nothing_costs_nothing() {
    let mut p = pipes();
    p.keyboard.write_all(&pattern(40).iter().map(|b| b | 2).collect::<Vec<_>>()).unwrap();
    until(|| p.guest.rx.lock().unwrap().len() == 16);
    std::thread::sleep(Duration::from_millis(20));
    let before = p.guest.offers.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(p.guest.offers.load(Ordering::SeqCst), before, "the reader does not sleep");
    assert_eq!(p.guest.read_exactly(40).len(), 40);
}

#[test]
fn escape_keys_are_seen_while_the_guest_reads_nothing() {
    let mut p = pipes();
    p.keyboard.write_all(&[b'.'; 50_000]).unwrap();
    p.keyboard.write_all(b"\x01c\x01bmore\x01x").unwrap();
    let timeout = Duration::from_secs(10);
    assert_eq!(p.commands.recv_timeout(timeout), Ok(Command::Monitor));
    assert_eq!(p.commands.recv_timeout(timeout), Ok(Command::Quit));
    assert_eq!(p.guest.breaks.load(Ordering::SeqCst), 0, "the break waits for its turn");
    assert_eq!(p.guest.read_exactly(50_004)[50_000..], *b"more");
    assert_eq!(p.guest.breaks.load(Ordering::SeqCst), 1);
}

#[test]
fn a_break_comes_after_what_was_typed_before_it() {
    let mut p = pipes();
    // Sixteen bytes are taken at once, the break waits behind the seventeenth.
    p.keyboard.write_all(b"0123456789abcdefg\x01b\x01bh").unwrap();
    until(|| p.guest.rx.lock().unwrap().len() == 16);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(p.guest.breaks.load(Ordering::SeqCst), 0);
    assert_eq!(p.guest.read_exactly(18), b"0123456789abcdefgh");
    assert_eq!(p.guest.breaks.load(Ordering::SeqCst), 2);
    p.keyboard.write_all(b"\x01b").unwrap();
    until(|| p.guest.breaks.load(Ordering::SeqCst) == 3);
}

#[test]
fn help_is_shown_and_not_sent() {
    let mut p = pipes();
    p.keyboard.write_all(b"\x01h\x01a").unwrap();
    assert_eq!(read_exactly(&p.screen, HELP.len()), HELP.as_bytes());
    assert_eq!(p.guest.read_exactly(1), b"\x01");
}

#[test]
fn without_escape_keys_every_byte_is_the_guests() {
    let (input, mut keyboard) = io::pipe().unwrap();
    let (_screen, output) = io::pipe().unwrap();
    let (_console, guest) = start(Backend::Files { input: input.into(), output: output.into() }, None);
    let all: Vec<u8> = (0..=255).chain(*b"\x01x\x01h").collect();
    keyboard.write_all(&all).unwrap();
    assert_eq!(guest.read_exactly(all.len()), all);
}

#[test]
fn the_last_output_is_written_at_the_end() {
    let p = pipes();
    let text = pattern(1 << 20);
    p.guest.send(&text);
    let mut screen = p.screen;
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        screen.read_to_end(&mut all).unwrap();
        all
    });
    p.console.close();
    assert!(reader.join().unwrap() == text);
}

#[test]
fn output_comes_soon_and_in_order() {
    let p = pipes();
    for n in 0..200u8 {
        let before = Instant::now();
        p.guest.send(&[n, n]);
        assert_eq!(read_exactly(&p.screen, 2), [n, n]);
        assert!(before.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn end_of_file_on_the_input_ends_nothing_else() {
    let p = pipes();
    drop(p.keyboard);
    std::thread::sleep(Duration::from_millis(20));
    p.guest.send(b"alive");
    assert_eq!(read_exactly(&p.screen, 5), b"alive");
    assert!(p.commands.try_recv().is_err());
}

#[test]
fn an_output_nobody_reads_any_more_does_not_stop_the_guest() {
    let p = pipes();
    drop(p.screen);
    for _ in 0..100 {
        p.guest.send(&pattern(10_000));
    }
    until(|| p.guest.tx.lock().unwrap().is_empty());
    drop(p.console);
    assert_eq!(*p.guest.lost.lock().unwrap(), [io::ErrorKind::BrokenPipe], "told once");
}

#[test]
fn output_that_cannot_be_written_is_told_of_once() {
    let (input, _keyboard) = io::pipe().unwrap();
    let output = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (console, guest) = start(Backend::Files { input: input.into(), output: output.into() }, None);
    for _ in 0..10 {
        guest.send(b"lost");
        until(|| guest.tx.lock().unwrap().is_empty());
    }
    console.close();
    assert_eq!(*guest.lost.lock().unwrap(), [io::ErrorKind::StorageFull]);
}

#[test]
fn an_output_nobody_reads_at_the_end_is_given_up() {
    let p = pipes();
    p.guest.send(&pattern(1 << 20));
    std::thread::sleep(Duration::from_millis(20));
    let before = Instant::now();
    p.console.close();
    assert!(before.elapsed() < 3 * PATIENCE);
    drop(p.screen);
}

#[test]
fn no_backend_takes_and_forgets_output() {
    let (console, guest) = start(Backend::None, None);
    guest.send(b"anything");
    until(|| guest.tx.lock().unwrap().is_empty());
    console.close();
}

#[test]
fn a_socket_serves_one_client_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    let (console, guest) = start(Backend::Unix(path.clone()), None);
    assert_eq!(console.path(), Some(&*path));
    guest.send(b"early");
    let mut first = UnixStream::connect(&path).unwrap();
    assert_eq!(read_exactly(&first, 5), b"early", "what came before anybody did is not lost");
    first.write_all(b"one").unwrap();
    assert_eq!(guest.read_exactly(3), b"one");
    let mut second = UnixStream::connect(&path).unwrap();
    second.write_all(b"two").unwrap();
    guest.send(b"to the first");
    assert_eq!(read_exactly(&first, 12), b"to the first");
    assert!(guest.read().is_empty(), "the second waits for the first to go");
    drop(first);
    assert_eq!(guest.read_exactly(3), b"two");
    guest.send(b"to the second");
    assert_eq!(read_exactly(&second, 13), b"to the second");
    console.close();
    assert!(!path.exists());
    assert!(guest.lost.lock().unwrap().is_empty(), "who goes may come back");
}

#[test]
fn what_others_put_where_the_socket_was_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    let (console, _guest) = start(Backend::Unix(path.clone()), None);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    console.close();
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_path_too_long_for_a_socket_is_said_to_be() {
    let open = |bytes| Port::open(Backend::Unix("x".repeat(bytes).into())).unwrap_err().to_string();
    assert!(open(108).ends_with("has 108 bytes; choose one shorter than 108 bytes"), "{}", open(108));
}

#[test]
fn a_client_may_end_its_input_and_go_on_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    let (_console, guest) = start(Backend::Unix(path.clone()), None);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"last").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(guest.read_exactly(4), b"last");
    guest.send(b"answer");
    assert_eq!(read_exactly(&client, 6), b"answer");
    drop(client);
    let mut next = UnixStream::connect(&path).unwrap();
    next.write_all(b"next").unwrap();
    assert_eq!(guest.read_exactly(4), b"next");
}

#[test]
fn only_a_dead_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let port = Port::open(Backend::Unix(path.clone())).unwrap();
    assert!(matches!(Port::open(Backend::Unix(path)), Err(OpenError::InUse { .. })));
    drop(port);
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(Port::open(Backend::Unix(file.clone())), Err(OpenError::NotSocket { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    let nowhere = folder.path().join("no/where");
    assert!(matches!(Port::open(Backend::Unix(nowhere)), Err(OpenError::Socket { .. })));
}

#[test]
fn a_pseudo_terminal_can_be_opened_closed_and_opened_again() {
    let (console, guest) = start(Backend::Pty, None);
    let path = console.path().unwrap().to_owned();
    let open = || {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        std::fs::File::from(rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap())
    };
    guest.send(b"early");
    for typed in [b"one\r\x03", b"two\n\x04"] {
        let mut user = open();
        if typed == b"one\r\x03" {
            assert_eq!(read_exactly(&user, 5), b"early");
        }
        user.write_all(typed).unwrap();
        assert_eq!(guest.read_exactly(5), typed, "raw: no key is the line discipline's");
        guest.send(b"line\nline");
        assert_eq!(read_exactly(&user, 9), b"line\nline", "raw: no echo, no translation");
    }
}

#[test]
fn the_guest_hears_who_comes_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (console, guest) = start(Backend::Unix(path.clone()), None);
    for round in 0..3 {
        assert_eq!(guest.came.lock().unwrap().len(), 2 * round);
        let client = UnixStream::connect(&path).unwrap();
        until(|| guest.came.lock().unwrap().len() == 2 * round + 1);
        drop(client);
        until(|| guest.came.lock().unwrap().len() == 2 * round + 2);
    }
    assert_eq!(*guest.came.lock().unwrap(), [true, false, true, false, true, false]);
    drop(console);
    // Who is there from the start is, and nobody comes to none.
    let Pipes { console, guest, .. } = pipes();
    until(|| *guest.came.lock().unwrap() == [true]);
    drop(console);
    let (console, guest) = start(Backend::None, None);
    drop(console);
    assert!(guest.came.lock().unwrap().is_empty());
}

#[test]
fn a_stream_begins_with_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let port = Port::open(Backend::Unix(path.clone())).unwrap().keeping_nothing();
    let (_console, guest) = start_on(port, None);
    guest.send(b"for nobody");
    until(|| guest.tx.lock().unwrap().is_empty());
    let client = UnixStream::connect(&path).unwrap();
    until(|| *guest.came.lock().unwrap() == [true]);
    guest.send(b"for you");
    assert_eq!(read_exactly(&client, 7), b"for you");
}

#[test]
fn a_pseudo_terminals_size_is_told_to_the_guest() {
    let (console, guest) = start(Backend::Pty, None);
    let user = std::fs::File::options().read(true).write(true).open(console.path().unwrap()).unwrap();
    let size = rustix::termios::Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&user, size).unwrap();
    drop(user);
    until(|| guest.came.lock().unwrap().last() != Some(&true));
    let user = std::fs::File::options().read(true).write(true).open(console.path().unwrap()).unwrap();
    until(|| guest.sizes.lock().unwrap().last() == Some(&(132, 50)));
    drop(user);
}
