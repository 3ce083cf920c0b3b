//! The control socket, by clients of all kinds.

use crate::{Control, Ended, GuestError, Held, Home, MACHINE, Name, Reply, Request, ask, ended};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

struct Kept {
    _folder: tempfile::TempDir,
    home: Home,
    name: Name,
    held: Held,
    control: Option<Control>,
    attached: Receiver<UnixStream>,
}

fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    // Longer than what the kernel takes as a socket's path.
    let home = Home::at(folder.path().join("x".repeat(120)).join("y".repeat(120)));
    let name: Name = "work".parse().unwrap();
    let held = home.lock(&name).unwrap();
    let fill = |folder: &std::path::Path| -> Result<(), GuestError> {
        fs::write(folder.join(MACHINE), "").unwrap();
        Ok(())
    };
    let guest = home.make(&name, &held, fill).unwrap();
    let (sender, attached) = channel();
    let control = Control::listen(&guest, move |request| {
        let sender = sender.clone();
        match request {
            Request::Attach => {
                Reply::Over("here".into(), Box::new(move |fd| sender.send(fd.into()).unwrap()))
            }
            Request::Stop => Reply::Stay("asked".into()),
            Request::Kill => Reply::Stay("ended".into()),
            Request::Break => Reply::Words(Err("no line".into())),
            Request::Status => Reply::Words(Ok("there".into())),
        }
    });
    Kept { _folder: folder, home, name, held, control: Some(control.unwrap()), attached }
}

impl Kept {
    fn ask(&self, request: Request) -> Result<(String, UnixStream), GuestError> {
        ask(&self.home, &self.name, request)
    }

    fn raw(&self) -> UnixStream {
        let (_folder, path) = crate::control::short_path(&self.home.folder(&self.name)).unwrap();
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn works(&self) {
        assert_eq!(self.ask(Request::Status).unwrap().0, "there");
    }
}

#[test]
fn each_request_has_its_answer() {
    let kept = kept();
    kept.works();
    assert!(matches!(kept.ask(Request::Break), Err(GuestError::Refused(why)) if why == "no line"));
    let (words, mut mine) = kept.ask(Request::Attach).unwrap();
    assert_eq!(words, "here");
    let mut theirs = kept.attached.recv_timeout(Duration::from_secs(20)).unwrap();
    mine.write_all(b"typed").unwrap();
    theirs.set_nonblocking(false).unwrap();
    theirs.write_all(b"shown").unwrap();
    let mut bytes = [0; 5];
    theirs.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"typed");
    mine.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"shown");
}

#[test]
fn who_stops_it_hears_of_the_end() {
    let mut kept = kept();
    let (words, stream) = kept.ask(Request::Stop).unwrap();
    assert_eq!((words.as_str(), ended(&stream, Duration::from_millis(50))), ("asked", Ended::NotYet));
    kept.control = None;
    assert_eq!(ended(&stream, Duration::from_secs(20)), Ended::Yes);
    assert!(!kept.home.folder(&kept.name).join("control").exists());
}

#[test]
fn attack_the_socket_is_for_its_owner_only() {
    let kept = kept();
    let socket = kept.home.folder(&kept.name).join("control");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn attack_a_socket_left_behind_is_nobody() {
    let mut kept = kept();
    kept.control = None;
    // As after SIGKILL: the name is there, and behind it nobody; or somebody who is not the keeper.
    let guest = kept.home.folder(&kept.name);
    let stranger = {
        let (_folder, path) = crate::control::short_path(&guest).unwrap();
        UnixListener::bind(path).unwrap()
    };
    let Kept { home, name, held, .. } = kept;
    drop(held);
    assert!(matches!(ask(&home, &name, Request::Stop), Err(GuestError::NotRunning(_))));
    let _held = home.lock(&name).unwrap();
    let control = Control::listen(&guest, |_| Reply::Words(Ok("mine".into()))).unwrap();
    assert_eq!(ask(&home, &name, Request::Status).unwrap().0, "mine");
    drop((control, stranger));
}

#[test]
fn attack_clients_that_say_nothing_hold_nobody_up() {
    let kept = kept();
    // As many as are let in, then some; half of them begin a line.
    let mut silent: Vec<UnixStream> = (0..40).map(|_| kept.raw()).collect();
    silent.iter_mut().step_by(2).for_each(|stream| drop(stream.write_all(b"hostel 1 ")));
    let start = Instant::now();
    while kept.ask(Request::Status).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "nobody is served any more");
        std::thread::sleep(Duration::from_millis(20));
    }
    for stream in &mut silent {
        assert!(!matches!(stream.read(&mut [0; 100]), Ok(1..)), "it was answered");
    }
    kept.works();
}

#[test]
fn attack_clients_that_say_too_much_or_the_wrong_thing() {
    let kept = kept();
    for wrong in [&[b'x'; 5000][..], b"GET / HTTP/1.1\r\n\r\n", b"hostel 1 attach\nls\n", b"\n", &[0; 256]] {
        let mut stream = kept.raw();
        let _ = stream.write_all(wrong);
        let mut answer = String::new();
        // It may be closed with bytes of ours unread.
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer == "no that is no request of this version's\n", "{answer:?}");
    }
    assert!(kept.attached.try_recv().is_err());
    kept.works();
}

#[test]
fn attack_many_who_wait_for_the_end() {
    let kept = kept();
    let waiting: Vec<UnixStream> = (0..100).map(|_| kept.ask(Request::Stop).unwrap().1).collect();
    kept.works();
    let gone = waiting.iter().filter(|stream| ended(stream, Duration::ZERO) == Ended::Yes).count();
    assert_eq!(gone, 100 - 32);
}

#[test]
fn attack_clients_that_come_and_go() {
    let kept = kept();
    for n in 0..300 {
        let mut stream = kept.raw();
        let line = Request::Attach.line();
        let _ = stream.write_all(&line.as_bytes()[..n % line.len()]);
    }
    kept.works();
}
