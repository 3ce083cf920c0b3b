//! TCP through the user network, between smoltcp and sockets of the host.

mod peer;

use peer::{Guest, Trouble, gateway, noise};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A server that sends back what it gets, and at its end closes.
fn echo(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = vec![0; 100_000];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    at
}

/// Sends `sent` while receiving until the other side closes; then closes itself if it has not.
#[track_caller]
fn exchange(guest: &mut Guest, handle: SocketHandle, sent: &[u8]) -> Vec<u8> {
    let (mut at, mut received) = (0, Vec::new());
    guest.until("all bytes and the end", |g| {
        let socket = g.socket(handle);
        if at < sent.len() && socket.can_send() {
            at += socket.send_slice(&sent[at..]).unwrap();
            if at == sent.len() {
                socket.close();
            }
        }
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    received.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .unwrap();
        }
        at == sent.len() && !socket.may_recv()
    });
    received
}

#[test]
fn bytes_come_back_as_they_were_sent() {
    let port = echo("127.0.0.1:0").port();
    let mut guest = Guest::new("host=allow");
    for (n, length) in [1, 1460, 100_000, 5_000_000].into_iter().enumerate() {
        let bytes = noise(length, n as u64);
        let handle = guest.connected(gateway(port), 40_000 + n as u16);
        assert!(exchange(&mut guest, handle, &bytes) == bytes, "{length} bytes");
    }
}

#[test]
fn bytes_come_back_over_ipv6() {
    let port = echo("[::1]:0").port();
    let mut guest = Guest::new("host=allow");
    let bytes = noise(1_000_000, 9);
    let handle = guest.connected(SocketAddr::new("fd48:6f73:7465:6c::2".parse().unwrap(), port), 40_000);
    assert!(exchange(&mut guest, handle, &bytes) == bytes);
}

#[test]
fn a_guest_that_loses_frames_gets_them_again() {
    let port = echo("127.0.0.1:0").port();
    for trouble in
        [Trouble { lose: 20, swap: 0 }, Trouble { lose: 0, swap: 10 }, Trouble { lose: 50, swap: 50 }]
    {
        let mut guest = Guest::new("host=allow").trouble(trouble);
        let bytes = noise(500_000, 3);
        let handle = guest.connected(gateway(port), 40_000);
        assert!(exchange(&mut guest, handle, &bytes) == bytes, "one in {} lost", trouble.lose);
    }
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut guest = Guest::new("host=allow");
    let begin = Instant::now();
    let handle = guest.connect(gateway(free), 40_000);
    guest.until("the refusal", |g| g.socket(handle).state() == tcp::State::Closed);
    assert!(begin.elapsed() < Duration::from_secs(2), "a refusal is not a time-out");
}

#[test]
fn each_side_may_finish_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("host=allow");
    // The host says all it has to say, and hears the rest after that.
    let host = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"first and last").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    let handle = guest.connected(gateway(port), 40_000);
    guest.until("the host's end", |g| g.socket(handle).state() == tcp::State::CloseWait);
    let mut got = [0; 64];
    assert_eq!(guest.socket(handle).recv_slice(&mut got).unwrap(), 14);
    let bytes = noise(200_000, 4);
    let mut at = 0;
    guest.until("the guest's end", |g| {
        let socket = g.socket(handle);
        if at < bytes.len() {
            at += socket.send_slice(&bytes[at..]).unwrap();
        } else {
            socket.close();
        }
        socket.state() == tcp::State::Closed
    });
    assert!(host.join().unwrap() == bytes);
}

#[test]
fn resets_go_through_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("host=allow");
    let handle = guest.connected(gateway(port), 40_000);
    let (stream, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    guest.until("the host's reset", |g| g.socket(handle).state() == tcp::State::Closed);

    let handle = guest.connected(gateway(port), 40_001);
    let (mut stream, _) = listener.accept().unwrap();
    guest.socket(handle).abort();
    guest.poll();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn who_does_not_read_stops_who_writes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("host=allow");
    // The host does not read: the guest may send what kernel and ring hold, and no more.
    let handle = guest.connected(gateway(port), 40_000);
    let (mut stream, _) = listener.accept().unwrap();
    let (bytes, mut at, mut last) = (noise(64 << 20, 5), 0, Instant::now());
    guest.until("the guest to be stopped", |g| {
        let now = g.socket(handle).send_slice(&bytes[at..]).unwrap();
        if now > 0 {
            (at, last) = (at + now, Instant::now());
        }
        last.elapsed() > Duration::from_millis(700)
    });
    assert!(at < 24 << 20, "{at} bytes are on their way");
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    guest.until("the rest to be sent", |g| {
        if at < (32 << 20) {
            at += g.socket(handle).send_slice(&bytes[at..32 << 20]).unwrap();
        } else {
            g.socket(handle).close();
        }
        g.socket(handle).state() == tcp::State::TimeWait || g.socket(handle).state() == tcp::State::Closed
    });
    assert!(reader.join().unwrap() == bytes[..32 << 20]);

    // The guest does not read: the host's writer is stopped.
    let handle = guest.connected(gateway(port), 40_001);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let (mut at, mut last) = (0, Instant::now());
    guest.until("the host to be stopped", |_| {
        if let Ok(count) = stream.write(&bytes[at..]) {
            (at, last) = (at + count, Instant::now());
        }
        last.elapsed() > Duration::from_millis(700)
    });
    assert!(at < 24 << 20, "{at} bytes are on their way");
    stream.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    guest.until("all that was written", |g| {
        let socket = g.socket(handle);
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    received.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .unwrap();
        }
        !socket.may_recv()
    });
    assert!(received == bytes[..at]);
}

#[test]
fn a_guest_that_takes_no_frames_for_a_while_gets_them_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("host=allow");
    // More windows together than the link has room.
    let handles: Vec<_> = (0..24).map(|n| guest.connected(gateway(port), 40_000 + n)).collect();
    let bytes = noise(200_000, 8);
    let writers: Vec<_> = handles
        .iter()
        .map(|_| {
            let (mut stream, _) = listener.accept().unwrap();
            let bytes = bytes.clone();
            thread::spawn(move || stream.write_all(&bytes).unwrap())
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let mut received = vec![Vec::new(); handles.len()];
    guest.until("all of it", |g| {
        for (handle, received) in handles.iter().zip(&mut received) {
            let socket = g.socket(*handle);
            while socket.can_recv() {
                socket
                    .recv(|bytes| {
                        received.extend_from_slice(bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
        }
        handles.iter().all(|&handle| !g.socket(handle).may_recv())
    });
    assert!(received.iter().all(|received| *received == bytes));
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn published_ports_lead_into_the_guest() {
    let mut guest = Guest::new("publish=0:22");
    let at = guest.wire.port.published()[0];
    assert!(at.ip().is_loopback());
    let handle = guest.tcp(65_536);
    guest.socket(handle).listen(22).unwrap();
    // Nobody has heard of the guest yet: the network has to ask for it.
    let host = thread::spawn(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(b"knock").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let mut bytes = [0; 16];
    guest.until("a connection", |g| g.socket(handle).can_recv());
    assert_eq!(guest.socket(handle).remote_endpoint().unwrap().addr.to_string(), "10.0.2.2");
    let count = guest.socket(handle).recv_slice(&mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"knock");
    guest.socket(handle).send_slice(b"who is there").unwrap();
    guest.socket(handle).close();
    guest.until("the end", |g| !g.socket(handle).is_open());
    assert_eq!(host.join().unwrap(), "who is there");

    // A port where the guest does not listen is reset.
    let host = thread::spawn(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read(&mut [0; 1]).map_err(|error| error.kind())
    });
    guest.until("the reset", |_| host.is_finished());
    assert_eq!(host.join().unwrap(), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn attack_by_opening_more_connections_than_there_are() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut guest = Guest::new("host=allow,flows=4");
    let handles: Vec<_> = (0..6).map(|n| guest.connect(gateway(port), 40_000 + n)).collect();
    let open =
        |g: &mut Guest| handles.iter().filter(|&&h| g.socket(h).state() == tcp::State::Established).count();
    guest.until("four connections", |g| open(g) == 4);
    guest.run_for(Duration::from_millis(1500));
    assert_eq!(open(&mut guest), 4);
    // What is given up makes room.
    for &handle in &handles {
        if guest.socket(handle).state() == tcp::State::Established {
            guest.socket(handle).abort();
        }
    }
    guest.until("the others", |g| open(g) == 2);
}
