//! A guest that wants to reach what it must not, or to harm the network's process.

mod peer;

use peer::{Guest, MAC, noise};
use proptest::prelude::*;
use smoltcp::wire::{IpAddress, Ipv4Packet, TcpPacket};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

/// A frame with a SYN, or a datagram of one byte.
fn frame(from: IpAddr, to: SocketAddr, tcp: bool) -> Vec<u8> {
    let mut transport = [4444u16.to_be_bytes(), to.port().to_be_bytes()].concat();
    if tcp {
        transport.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    } else {
        transport.extend([0, 9, 0, 0, b'x']);
    }
    let (source, destination) = (IpAddress::from(from), IpAddress::from(to.ip()));
    if tcp {
        TcpPacket::new_unchecked(&mut transport).fill_checksum(&source, &destination);
    } else {
        smoltcp::wire::UdpPacket::new_unchecked(&mut transport).fill_checksum(&source, &destination);
    }
    let protocol = if tcp { 6 } else { 17 };
    let length = transport.len() as u16;
    let mut frame = [&[0x52, 0x55, 10, 0, 2, 2], &MAC[..]].concat();
    match (from, to.ip()) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            let mut header = vec![0x45, 0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            header.extend(s.octets());
            header.extend(d.octets());
            Ipv4Packet::new_unchecked(&mut header).fill_checksum();
            frame.extend([8, 0]);
            frame.extend(header);
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(s.octets());
            frame.extend(d.octets());
        }
        _ => panic!(),
    }
    frame.extend(transport);
    frame
}

fn own(v6: bool) -> IpAddr {
    if v6 { "fd48:6f73:7465:6c::15".parse().unwrap() } else { "10.0.2.15".parse().unwrap() }
}

/// Addresses of this host, besides loopback: the one that a packet to the world would come from.
fn host_addresses() -> Vec<IpAddr> {
    let mut found = Vec::new();
    for (bind, to) in [("0.0.0.0:0", "203.0.113.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        if let Ok(socket) = UdpSocket::bind(bind)
            && socket.connect(to).is_ok()
        {
            found.push(socket.local_addr().unwrap().ip());
        }
    }
    found
}

#[test]
fn attack_the_host_by_every_name_it_has() {
    // Whatever reaches the host on these ports is heard.
    let tcp4 = TcpListener::bind("0.0.0.0:0").unwrap();
    let tcp6 = TcpListener::bind("[::1]:0").unwrap();
    let udp4 = UdpSocket::bind("0.0.0.0:0").unwrap();
    let udp6 = UdpSocket::bind("[::1]:0").unwrap();
    let (ports4, ports6) = (
        [tcp4.local_addr().unwrap().port(), udp4.local_addr().unwrap().port()],
        [tcp6.local_addr().unwrap().port(), udp6.local_addr().unwrap().port()],
    );
    let mut targets: Vec<IpAddr> = [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "10.0.2.2",
        "10.0.2.3",
        "169.254.169.254",
        "255.255.255.255",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "fd48:6f73:7465:6c::2",
        "fe80::2",
        "ff02::1",
        "224.0.0.1",
        "10.0.2.255",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    targets.extend(host_addresses());
    for config in ["", "host=deny,mtu=9000"] {
        let mut guest = Guest::new(config);
        for &ip in &targets {
            let [tcp, udp] = if ip.is_ipv4() { ports4 } else { ports6 };
            for source in [own(ip.is_ipv6()), ip] {
                guest.wire.send(&frame(source, SocketAddr::new(ip, tcp), true));
                guest.wire.send(&frame(source, SocketAddr::new(ip, udp), false));
            }
        }
        // Answers to the guest, such as "prohibited", show that all has been looked at; there must be no SYN and ACK.
        let mut refusals = 0;
        while let Some(answer) = guest.wire.next(Duration::from_millis(300)) {
            if answer[12..14] == [8, 0] {
                let packet = Ipv4Packet::new_checked(&answer[14..]).unwrap();
                let payload = packet.payload();
                refusals += usize::from(packet.next_header() == smoltcp::wire::IpProtocol::Icmp);
                assert!(
                    packet.next_header() != smoltcp::wire::IpProtocol::Tcp || payload[13] & 4 != 0,
                    "no reset"
                );
            }
        }
        assert!(refusals >= 8, "{refusals} refusals");
    }
    for listener in [&tcp4, &tcp6] {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    for socket in [&udp4, &udp6] {
        socket.set_nonblocking(true).unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn attack_with_the_addresses_of_others() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)), listener.local_addr().unwrap().port());
    let mut guest = Guest::new("host=allow");
    for source in
        ["127.0.0.1", "10.0.2.2", "10.0.2.3", "10.0.2.255", "10.0.2.0", "10.0.3.15", "8.8.8.8", "0.0.0.0"]
    {
        guest.wire.send(&frame(source.parse().unwrap(), to, true));
    }
    assert_eq!(guest.wire.next(Duration::from_millis(300)), None, "nobody is answered");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    // From its own address the same is heard.
    guest.wire.send(&frame(own(false), to, true));
    assert!(guest.wire.next(Duration::from_secs(10)).is_some());
    assert!(listener.accept().is_ok());
}

#[test]
fn attack_with_more_udp_flows_than_there_are() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)), server.local_addr().unwrap().port());
    let mut guest = Guest::new("host=allow,datagrams=8");
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    for port in 1..=2000u16 {
        let mut frame = frame(own(false), to, false);
        // Another source port, and no checksum.
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        frame[40..42].fill(0);
        guest.wire.send(&frame);
    }
    // The last is through when all are.
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut count = 0;
    while count < 200 {
        server.recv(&mut [0; 16]).unwrap();
        count += 1;
    }
    guest.run_for(Duration::from_millis(300));
    assert!(files() <= before + 12, "{} files more", files() - before);
}

/// Of an administrator's network, nothing is left that an administrator may.
#[test]
fn attack_with_capabilities() {
    fn value<'a>(status: &'a str, key: &str) -> Option<&'a str> {
        status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
    }
    let filters = |status: &str| value(status, "Seccomp_filters:").map_or(0, |n| n.parse::<u32>().unwrap());
    let guest = Guest::new("");
    // A container may have confined all of this already.
    let own = filters(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
    let mut confined = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        if filters(&status) > own {
            confined += 1;
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                assert_eq!(value(&status, set), Some("0000000000000000"), "{set}");
            }
        }
    }
    assert!(confined > 0, "the network's thread");
    drop(guest);
}

/// A valid frame to spoil: SYN, datagram, or one of IPv6.
fn good() -> impl Strategy<Value = Vec<u8>> {
    let far4: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let far6: SocketAddr = "[::1]:9".parse().unwrap();
    prop_oneof![
        Just(frame(own(false), far4, true)),
        Just(frame(own(false), far4, false)),
        Just(frame(own(true), far6, true)),
        Just(frame(own(true), far6, false)),
        Just(frame("10.0.2.15".parse().unwrap(), "10.0.2.2:67".parse().unwrap(), false)),
        Just(
            [
                &[0xff; 6][..],
                &MAC,
                &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
                &MAC,
                &[10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]
            ]
            .concat()
        ),
    ]
}

#[test]
fn attack_with_frames_of_every_malformation() {
    let mut guest = Guest::new("");
    let spoil = (
        good(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        0usize..200,
        any::<[u8; 12]>(),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4000));
    let port = &guest.wire.port;
    runner
        .run(&spoil, |(mut frame, changes, length, header)| {
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            frame.truncate(length.max(1));
            let message = [&header[..], &frame].concat();
            while host_net::NetPort::send(port, &message) == Err(host_net::SendError::Full) {
                let mut bytes = vec![0; host_net::LONGEST_FRAME];
                while host_net::NetPort::receive(port, &mut bytes).is_some() {}
            }
            Ok(())
        })
        .unwrap();
    // Too short for anything, and as long as can be.
    for length in [0, 1, 11, 12, 13, 25, 26, 65_550, host_net::LONGEST_FRAME] {
        let _ = host_net::NetPort::send(&guest.wire.port, &noise(length, 1));
    }
    // It still works.
    while guest.wire.next(Duration::from_millis(50)).is_some() {}
    guest.wire.send(&frame(own(false), "10.0.2.2:9".parse().unwrap(), true));
    assert!(guest.wire.next(Duration::from_secs(10)).is_some());
}
