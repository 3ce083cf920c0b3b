//! Callers, the guest's connections, and those who may not.

use crate::caller::MOST;
use crate::{Call, Host, Kind, UnixHost};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

struct Place {
    folder: tempfile::TempDir,
    host: UnixHost,
}

impl Place {
    fn new(out: bool) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let host = UnixHost::open(&folder.path().join("v"), out).unwrap();
        Place { folder, host }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn calls(&self, words: &[u8]) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("v")).unwrap();
        stream.write_all(words).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

fn gone(mut stream: &UnixStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(len) => len == 0,
        // What it had said was not all read.
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_caller_says_a_port_and_the_rest_is_the_guests() {
    let place = Place::new(false);
    assert!(place.host.accept().is_none());
    let mut caller = place.calls(b"CONNECT 22\nhello");
    let Some(Call { port, mut stream }) = place.host.accept() else { panic!("nobody came") };
    assert_eq!(port, 22);
    let mut bytes = [0; 64];
    let len = stream.read(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"hello");
    assert_eq!(stream.read(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(stream.write(b"OK 1\n").unwrap(), 5);
    caller.read_exact(&mut bytes[..5]).unwrap();
    stream.close_writing();
    assert_eq!(caller.read(&mut bytes).unwrap(), 0);
    caller.write_all(b"more").unwrap();
    assert_eq!(stream.read(&mut bytes).unwrap(), 4);
    drop(caller);
    assert_eq!(stream.read(&mut bytes).unwrap(), 0);
    assert!(stream.write(b"x").is_err());
}

#[test]
fn a_line_may_come_in_pieces_and_callers_at_the_same_time() {
    let place = Place::new(false);
    let mut slow = place.calls(b"CONN");
    assert!(place.host.accept().is_none());
    assert_eq!(place.host.descriptors().len(), 2);
    let _quick = place.calls(b"CONNECT 2\n");
    assert_eq!(place.host.accept().map(|call| call.port), Some(2));
    slow.write_all(b"ECT 1\n").unwrap();
    assert_eq!(place.host.accept().map(|call| call.port), Some(1));
    let left = place.calls(b"CON");
    assert!(place.host.accept().is_none());
    place.host.forget();
    assert!(gone(&left));
}

#[test]
fn the_guest_connects_to_what_is_named_after_its_port() {
    let place = Place::new(true);
    assert!(place.host.connect(80, Kind::Stream).is_err());
    let server = UnixListener::bind(place.path("v_80")).unwrap();
    let mut stream = place.host.connect(80, Kind::Stream).unwrap();
    let (mut other, _) = server.accept().unwrap();
    stream.write(b"GET").unwrap();
    let mut bytes = [0; 3];
    other.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"GET");
    // One of another kind is not there.
    assert!(place.host.connect(80, Kind::SeqPacket).is_err());
}

#[test]
fn messages_are_read_whole_or_with_their_length() {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, recv, send, socket_with,
    };
    let place = Place::new(true);
    let server = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&server, &SocketAddrUnix::new(place.path("v_7")).unwrap()).unwrap();
    listen(&server, 1).unwrap();
    let mut stream = place.host.connect(7, Kind::SeqPacket).unwrap();
    let other = accept(&server).unwrap();
    for message in [&b"one"[..], b"two and more"] {
        send(&other, message, rustix::net::SendFlags::empty()).unwrap();
    }
    let mut bytes = [0; 4];
    assert_eq!((stream.read(&mut bytes).unwrap(), &bytes[..3]), (3, &b"one"[..]));
    assert_eq!(stream.read(&mut bytes).unwrap(), 12, "longer than there was room for");
    stream.write(b"whole").unwrap();
    let mut bytes = [0; 16];
    assert_eq!(recv(&other, &mut bytes, rustix::net::RecvFlags::empty()).unwrap().1, 5);
}

#[test]
fn attack_the_host_by_a_guest_that_was_not_let_out() {
    let place = Place::new(false);
    let server = UnixListener::bind(place.path("v_80")).unwrap();
    server.set_nonblocking(true).unwrap();
    for kind in [Kind::Stream, Kind::SeqPacket] {
        let error = place.host.connect(80, kind).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn attack_a_guest_that_is_let_out_reaches_nothing_else() {
    let place = Place::new(true);
    // The socket that it is called by, a file, a folder of the right beginning.
    std::fs::write(place.path("v_1"), "").unwrap();
    std::fs::create_dir(place.path("v_2")).unwrap();
    let _other = UnixListener::bind(place.path("w_3")).unwrap();
    for port in [0, 1, 2, 3, u32::MAX] {
        assert!(place.host.connect(port, Kind::Stream).is_err(), "{port}");
    }
    assert!(place.host.accept().is_none());
}

#[test]
fn attack_by_others_users() {
    let place = Place::new(false);
    let mode = std::fs::metadata(place.path("v")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn attack_with_callers_who_say_nothing() {
    let place = Place::new(false);
    let silent: Vec<UnixStream> = (0..200)
        .map(|_| {
            let caller = place.calls(b"");
            assert!(place.host.accept().is_none());
            caller
        })
        .collect();
    assert_eq!(place.host.descriptors().len(), 1 + MOST);
    assert!(gone(&silent[0]));
    let begun = Instant::now();
    let _caller = place.calls(b"CONNECT 5\n");
    assert_eq!(place.host.accept().map(|call| call.port), Some(5));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn attack_with_callers_who_say_nonsense() {
    let place = Place::new(false);
    for words in
        [&b"\n"[..], b"GET / HTTP/1.1\r\n", b"CONNECT -1\n", b"CONNECT 4294967296\n", &[b'C'; 100_000]]
    {
        let caller = place.calls(words);
        assert!(place.host.accept().is_none());
        assert!(gone(&caller), "{:?}", &words[..words.len().min(20)]);
    }
    assert_eq!(place.host.descriptors().len(), 1);
}

#[test]
fn callers_who_come_together_are_all_heard() {
    let place = Place::new(false);
    // The backlog holds as many.
    let callers: Vec<UnixStream> =
        (0..100).map(|n| place.calls(format!("CONNECT {n}\n").as_bytes())).collect();
    let ports: Vec<u32> = std::iter::from_fn(|| place.host.accept()).map(|call| call.port).collect();
    assert_eq!(ports, (0..100).collect::<Vec<_>>());
    drop(callers);
}
