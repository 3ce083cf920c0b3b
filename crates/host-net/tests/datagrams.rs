//! UDP, DHCP, DNS, ICMP and neighbour discovery on the user network.

mod peer;

use peer::{Guest, MAC, gateway, noise};
use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{dhcpv4, icmp, tcp};
use smoltcp::wire::{
    EthernetFrame, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, Ipv4Packet, Ipv6Packet,
    NdiscRepr,
};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

/// A server that sends back what it gets, twice as long.
fn doubling() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let answer = [&bytes[..length], &bytes[..length]].concat();
            let _ = socket.send_to(&answer, from);
        }
    });
    at
}

#[test]
fn dhcp_gives_the_guest_what_the_configuration_says() {
    let mut guest = Guest::without_address("net=192.168.50.0/24,lease=900,hostname=work,mtu=1400");
    let mut socket = dhcpv4::Socket::new();
    socket.set_outgoing_options(&[]);
    // smoltcp keeps the whole answer if it is given room for it.
    socket.set_receive_packet_buffer(vec![0; 1024].leak());
    let handle = guest.sockets.add(socket);
    let mut found = None;
    guest.until("a lease", |g| {
        if let Some(dhcpv4::Event::Configured(config)) =
            g.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll()
        {
            let packet = config.packet.unwrap();
            let option = |kind| packet.options().find(|o| o.kind == kind).map(|o| o.data.to_vec());
            found = Some((
                config.address.to_string(),
                config.router.unwrap().to_string(),
                config.dns_servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
                [option(26), option(12), option(51)],
            ));
        }
        found.is_some()
    });
    let (address, router, servers, options) = found.unwrap();
    assert_eq!(address, "192.168.50.15/24");
    assert_eq!(router, "192.168.50.2");
    assert_eq!(servers, ["192.168.50.3"]);
    assert_eq!(options[0], Some(1400u16.to_be_bytes().to_vec()));
    assert_eq!(options[1], Some(b"work".to_vec()));
    assert_eq!(options[2], Some(900u32.to_be_bytes().to_vec()));
}

#[test]
fn datagrams_go_there_and_back() {
    let server = doubling();
    let mut guest = Guest::new("host=allow");
    let handle = guest.udp(5000);
    for length in [0, 1, 700] {
        let bytes = noise(length, 1);
        let (answer, from) = guest.ask(handle, gateway(server.port()), &bytes);
        assert_eq!(from, gateway(server.port()));
        assert!(answer == [bytes.clone(), bytes].concat(), "{length} bytes");
    }
}

/// The bytes of an IPv4 packet with one UDP datagram, cut into fragments, as Ethernet frames.
fn fragments(to: SocketAddr, payload: &[u8]) -> Vec<Vec<u8>> {
    let SocketAddr::V4(to) = to else { panic!() };
    let mut datagram = [5001u16.to_be_bytes(), to.port().to_be_bytes()].concat();
    datagram.extend((payload.len() as u16 + 8).to_be_bytes());
    // No checksum (RFC 768).
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let chunks: Vec<&[u8]> = datagram.chunks(1400).collect();
    let frame = |(n, data): (usize, &&[u8])| {
        let mut frame = [&[0x52, 0x55, 10, 0, 2, 2], &MAC[..], &[8, 0]].concat();
        let mut header = vec![0x45, 0];
        header.extend((data.len() as u16 + 20).to_be_bytes());
        header.extend([0x12, 0x34]);
        let more = if n + 1 < chunks.len() { 0x2000 } else { 0 };
        header.extend((more | (n * 175) as u16).to_be_bytes());
        header.extend([64, 17, 0, 0, 10, 0, 2, 15]);
        header.extend(to.ip().octets());
        Ipv4Packet::new_unchecked(&mut header).fill_checksum();
        frame.extend(header);
        frame.extend(*data);
        frame
    };
    chunks.iter().enumerate().map(frame).collect()
}

#[test]
fn datagrams_longer_than_the_link_go_in_fragments() {
    let server = doubling();
    let mut guest = Guest::new("host=allow");
    // The network has to know the guest's address on the link.
    let handle = guest.udp(5000);
    guest.ask(handle, gateway(server.port()), b"hello");
    let bytes = noise(5000, 2);
    let mut frames = fragments(gateway(server.port()), &bytes);
    frames.reverse();
    for frame in frames {
        guest.wire.send(&frame);
    }
    let mut parts = Vec::new();
    while parts.iter().map(|(_, data): &(u16, Vec<u8>)| data.len()).sum::<usize>() < 10_008 {
        let frame = guest.wire.next(Duration::from_secs(10)).expect("a fragment");
        assert!(frame.len() <= 1514, "no longer than the link takes");
        let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert!(packet.verify_checksum());
        parts.push((packet.frag_offset(), packet.payload().to_vec()));
    }
    parts.sort();
    let whole: Vec<u8> = parts.into_iter().flat_map(|(_, data)| data).collect();
    assert!(whole[8..] == [bytes.clone(), bytes].concat());
    let mut udp = whole.clone();
    let udp = smoltcp::wire::UdpPacket::new_unchecked(&mut udp);
    let address = |text: &str| text.parse::<IpAddress>().unwrap();
    assert!(udp.verify_checksum(&address("10.0.2.2"), &address("10.0.2.15")));
}

/// An ICMP socket that hears errors about UDP from this port.
fn errors(guest: &mut Guest, port: u16) -> SocketHandle {
    let ring = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
    let mut socket = icmp::Socket::new(ring(), ring());
    socket.bind(icmp::Endpoint::Udp(port.into())).unwrap();
    guest.sockets.add(socket)
}

#[test]
fn a_port_where_nobody_listens_is_unreachable() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut guest = Guest::new("host=allow");
    let handle = guest.udp(5000);
    let errors = errors(&mut guest, 5000);
    let to = smoltcp::wire::IpEndpoint::from(gateway(free));
    guest.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle).send_slice(b"x", to).unwrap();
    let mut reason = None;
    guest.until("the error", |g| {
        let socket = g.sockets.get_mut::<icmp::Socket<'_>>(errors);
        if let Ok((bytes, _)) = socket.recv() {
            let packet = Icmpv4Packet::new_checked(bytes).unwrap();
            if let Ok(Icmpv4Repr::DstUnreachable { reason: r, header, .. }) =
                Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default())
            {
                reason = Some((r, header.src_addr.to_string(), header.dst_addr.to_string()));
            }
        }
        reason.is_some()
    });
    let expected = smoltcp::wire::Icmpv4DstUnreachable::PortUnreachable;
    assert_eq!(reason.unwrap(), (expected, "10.0.2.15".to_owned(), "10.0.2.2".to_owned()));
}

#[test]
fn published_udp_ports_lead_into_the_guest() {
    let mut guest = Guest::new("publish=0:53/udp");
    let at = guest.wire.port.published()[0];
    // It has to be known: datagrams are not repeated.
    let other = guest.udp(5000);
    let to = smoltcp::wire::IpEndpoint::from(gateway(9));
    guest.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(other).send_slice(b"x", to).unwrap();
    guest.run_for(Duration::from_millis(50));
    let handle = guest.udp(53);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.send_to(b"question", at).unwrap();
    guest.until("the question", |g| {
        let socket = g.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
        let Ok((bytes, meta)) = socket.recv() else { return false };
        assert_eq!((bytes, meta.endpoint.addr.to_string().as_str()), (&b"question"[..], "10.0.2.2"));
        let from = meta.endpoint;
        socket.send_slice(b"answer", from).unwrap();
        true
    });
    let mut bytes = [0; 64];
    let (length, from) = client.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..length], from), (&b"answer"[..], at));
}

#[test]
fn who_looks_like_another_to_the_guest_is_not_heard() {
    let mut guest = Guest::new("publish=0:53/udp,publish=0:53/udp");
    let [first, second] = guest.wire.port.published() else { panic!() };
    let (first, second) = (*first, *second);
    let other = guest.udp(5000);
    let to = smoltcp::wire::IpEndpoint::from(gateway(9));
    guest.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(other).send_slice(b"x", to).unwrap();
    guest.run_for(Duration::from_millis(50));
    let handle = guest.udp(53);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    // By loopback, each is with the network before the next.
    for (to, bytes) in [(first, b"one"), (second, b"two"), (first, b"end")] {
        client.send_to(bytes, to).unwrap();
        guest.run_for(Duration::from_millis(50));
    }
    let mut heard = Vec::new();
    guest.until("the last", |g| {
        let socket = g.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
        while let Ok((bytes, _)) = socket.recv() {
            heard.push(bytes.to_vec());
        }
        heard.last().is_some_and(|bytes| bytes == b"end")
    });
    assert_eq!(heard, [b"one", b"end"]);
}

#[test]
fn questions_go_to_the_hosts_name_server() {
    let server = doubling();
    let listener = TcpListener::bind(server).unwrap();
    let mut guest = Guest::new(&format!("dns={server}"));
    let handle = guest.udp(5000);
    let name_server: SocketAddr = "10.0.2.3:53".parse().unwrap();
    let (answer, from) = guest.ask(handle, name_server, b"who?");
    assert_eq!((&answer[..], from), (&b"who?who?"[..], name_server));
    let name_server6: SocketAddr = "[fd48:6f73:7465:6c::3]:53".parse().unwrap();
    let (answer, from) = guest.ask(handle, name_server6, b"who?");
    assert_eq!((&answer[..], from), (&b"who?who?"[..], name_server6));
    let stream = guest.connected(name_server, 40_000);
    listener.accept().unwrap();
    guest.socket(stream).abort();
    guest.run_for(Duration::from_millis(20));
    // It answers nothing else.
    let stream = guest.connect("10.0.2.3:54".parse().unwrap(), 40_001);
    guest.until("a refusal", |g| g.socket(stream).state() == tcp::State::Closed);
}

#[test]
fn a_name_server_that_is_silent_is_replaced_by_the_next() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = doubling();
    let mut guest = Guest::new(&format!("dns={},dns={server}", silent.local_addr().unwrap()));
    let handle = guest.udp(5000);
    let name_server: SocketAddr = "10.0.2.3:53".parse().unwrap();
    let send = |g: &mut Guest| {
        let socket = g.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
        socket.send_slice(b"who?", smoltcp::wire::IpEndpoint::from(name_server)).unwrap();
    };
    send(&mut guest);
    guest.run_for(Duration::from_millis(2200));
    let (answer, _) = guest.ask(handle, name_server, b"who?");
    assert_eq!(answer, b"who?who?");
}

#[test]
fn name_servers_change_when_the_network_is_told() {
    // Nobody serves names on this loopback address, but it can be told apart from silence.
    let Ok(server) = UdpSocket::bind("127.0.0.77:53") else {
        println!("SKIPPED: this user may not listen on port 53");
        return;
    };
    let mut guest = Guest::new("");
    guest.wire.port.set_resolvers("nameserver 127.0.0.77\n").unwrap();
    let handle = guest.udp(5000);
    let socket = guest.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
    socket
        .send_slice(b"who?", smoltcp::wire::IpEndpoint::from("10.0.2.3:53".parse::<SocketAddr>().unwrap()))
        .unwrap();
    guest.run_for(Duration::from_millis(100));
    server.set_nonblocking(true).unwrap();
    let mut bytes = [0; 16];
    assert_eq!(server.recv(&mut bytes).unwrap(), 4);
}

/// Asks for an echo, and whether it came.
fn ping(guest: &mut Guest, to: &str) -> bool {
    let ring = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 4096]);
    let mut socket = icmp::Socket::new(ring(), ring());
    socket.bind(icmp::Endpoint::Ident(77)).unwrap();
    let handle = guest.sockets.add(socket);
    let message = Icmpv4Repr::EchoRequest { ident: 77, seq_no: 3, data: b"0123456789" };
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes[..]), &ChecksumCapabilities::default());
    guest.sockets.get_mut::<icmp::Socket<'_>>(handle).send_slice(&bytes, to.parse().unwrap()).unwrap();
    let mut answer = false;
    // smoltcp asks for an address on the link once a second.
    for _ in 0..1000 {
        guest.run_for(Duration::from_millis(5));
        if let Ok((bytes, from)) = guest.sockets.get_mut::<icmp::Socket<'_>>(handle).recv() {
            let packet = Icmpv4Packet::new_checked(bytes).unwrap();
            let reply = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).unwrap();
            assert_eq!(reply, Icmpv4Repr::EchoReply { ident: 77, seq_no: 3, data: b"0123456789" });
            assert_eq!(from.to_string(), to);
            answer = true;
            break;
        }
    }
    guest.sockets.remove(handle);
    answer
}

#[test]
fn the_gateway_answers_echo_requests_itself() {
    let mut guest = Guest::new("");
    assert!(ping(&mut guest, "10.0.2.2"));
    assert!(ping(&mut guest, "10.0.2.3"));
}

#[test]
fn a_router_solicitation_is_answered_with_prefix_and_name_server() {
    let mut guest = Guest::without_address("mtu=9000");
    let source: Ipv6Addr = "fe80::5054:ff:fe12:3456".parse().unwrap();
    let all_routers: Ipv6Addr = "ff02::2".parse().unwrap();
    let message = Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit { lladdr: None });
    let mut frame =
        [&[0x33, 0x33, 0, 0, 0, 2], &MAC[..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 255]].concat();
    frame.extend(source.octets());
    frame.extend(all_routers.octets());
    let mut icmp = vec![0; message.buffer_len()];
    let caps = ChecksumCapabilities::default();
    message.emit(&source, &all_routers, &mut Icmpv6Packet::new_unchecked(&mut icmp[..]), &caps);
    frame.extend(icmp);
    guest.wire.send(&frame);
    let answer = guest.wire.next(Duration::from_secs(10)).expect("an advertisement");
    let ethernet = EthernetFrame::new_checked(&answer[..]).unwrap();
    let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
    assert_eq!((ip.hop_limit(), ip.src_addr().to_string().as_str()), (255, "fe80::2"));
    let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
    let Ok(Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
        mtu,
        prefix_info: Some(prefix),
        router_lifetime,
        ..
    })) = Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &caps)
    else {
        panic!("{answer:02x?}");
    };
    assert_eq!((mtu, prefix.prefix.to_string().as_str()), (Some(9000), "fd48:6f73:7465:6c::"));
    assert!(router_lifetime.secs() > 0);
    let server: Ipv6Addr = "fd48:6f73:7465:6c::3".parse().unwrap();
    assert!(ip.payload().windows(16).any(|bytes| bytes == server.octets()), "the name server (RFC 8106)");
}
