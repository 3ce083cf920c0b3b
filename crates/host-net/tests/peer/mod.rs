//! A guest for tests: smoltcp's whole TCP/IP stack, which is not ours, on the other side of a user network's link.
#![allow(dead_code, reason = "each test uses some of it")]

use host_net::{Config, NetPort, UserNet, VNET, pair, serve};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, IpEndpoint};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// What happens to frames on the guest's side of the link.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    /// One in so many is lost, both ways; 0: none.
    pub lose: u32,
    /// One in so many is overtaken by the next.
    pub swap: u32,
}

pub struct Wire {
    pub port: UserNet,
    trouble: Trouble,
    seed: u32,
    held: Option<Vec<u8>>,
    arrived: VecDeque<Vec<u8>>,
}

impl Wire {
    fn chance(&mut self, one_in: u32) -> bool {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        one_in > 0 && (self.seed >> 8).is_multiple_of(one_in)
    }

    fn pass(&mut self, frame: Vec<u8>) -> Vec<Vec<u8>> {
        if self.chance(self.trouble.lose) {
            return Vec::new();
        }
        if self.held.is_none() && self.chance(self.trouble.swap) {
            self.held = Some(frame);
            return Vec::new();
        }
        let mut out = vec![frame];
        out.extend(self.held.take());
        out
    }

    fn fetch(&mut self) {
        let mut bytes = vec![0; host_net::LONGEST_FRAME];
        while let Some(length) = self.port.receive(&mut bytes) {
            let frame = bytes[VNET..length].to_vec();
            let passed = self.pass(frame);
            self.arrived.extend(passed);
        }
    }

    /// Sends a frame without its virtio-net header.
    pub fn send(&mut self, frame: &[u8]) {
        let mut bytes = vec![0; VNET];
        bytes.extend(frame);
        while self.port.send(&bytes) == Err(host_net::SendError::Full) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// The next frame from the network, waited for that long.
    pub fn next(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + patience;
        loop {
            self.fetch();
            if let Some(frame) = self.arrived.pop_front() {
                return Some(frame);
            }
            if Instant::now() >= end {
                return None;
            }
            wait(&self.port, Duration::from_millis(5));
        }
    }
}

fn wait(port: &UserNet, patience: Duration) {
    let span = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
    let fd = port.descriptor();
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&span));
}

pub struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub struct Sending<'a>(&'a mut Wire);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        for frame in self.0.pass(frame) {
            self.0.send(&frame);
        }
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Moment) -> Option<(Received, Sending<'_>)> {
        self.fetch();
        let frame = self.arrived.pop_front()?;
        Some((Received(frame), Sending(self)))
    }

    fn transmit(&mut self, _: Moment) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(self.port.mtu()) + 14;
        capabilities
    }
}

/// A guest on a user network that runs in a thread, confined as its process would be.
pub struct Guest {
    pub wire: Wire,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    begin: Instant,
    network: Option<JoinHandle<()>>,
}

impl Guest {
    /// A guest with an address, on a network of this configuration.
    pub fn new(config: &str) -> Guest {
        let mut guest = Guest::without_address(config);
        let config: Config = config.parse().unwrap();
        let v6 = std::net::Ipv6Addr::from(u128::from(config.network6.unwrap()) | 0x15);
        guest.interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddr::V4(config.guest()).into(), config.prefix)).unwrap();
            addresses.push(IpCidr::new(IpAddr::V6(v6).into(), 64)).unwrap();
        });
        guest.interface.routes_mut().add_default_ipv4_route(config.gateway()).unwrap();
        guest.interface.routes_mut().add_default_ipv6_route(config.gateway6().unwrap()).unwrap();
        guest
    }

    pub fn without_address(config: &str) -> Guest {
        let config: Config = config.parse().unwrap();
        let (ours, theirs) = pair().unwrap();
        let mut port = UserNet::new(ours, config.mtu);
        let network = std::thread::spawn(move || serve(theirs, config).unwrap());
        port.wait_until_ready().unwrap();
        let mut wire =
            Wire { port, trouble: Trouble::default(), seed: 1, held: None, arrived: VecDeque::new() };
        let mut setup = smoltcp::iface::Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        setup.random_seed = u64::from(std::process::id());
        let interface = Interface::new(setup, &mut wire, Moment::from_micros(0));
        let sockets = SocketSet::new(Vec::new());
        Guest { wire, interface, sockets, begin: Instant::now(), network: Some(network) }
    }

    pub fn trouble(mut self, trouble: Trouble) -> Guest {
        self.wire.trouble = trouble;
        self
    }

    pub fn poll(&mut self) {
        let now = Moment::from_micros(self.begin.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
    }

    /// Runs the guest until `done` says so; panics after a time that only a fault needs.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Guest) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            self.poll();
            if done(self) {
                self.poll();
                return;
            }
            assert!(Instant::now() < end, "waited in vain for: {what}");
            wait(&self.wire.port, Duration::from_millis(1));
        }
    }

    /// Runs the guest for a time.
    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.poll();
            wait(&self.wire.port, Duration::from_millis(1));
        }
    }

    pub fn tcp(&mut self, buffer: usize) -> SocketHandle {
        let ring = || tcp::SocketBuffer::new(vec![0; buffer]);
        self.sockets.add(tcp::Socket::new(ring(), ring()))
    }

    pub fn udp(&mut self, port: u16) -> SocketHandle {
        let ring = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 65_536]);
        let mut socket = udp::Socket::new(ring(), ring());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Begins a connection.
    pub fn connect(&mut self, to: SocketAddr, own: u16) -> SocketHandle {
        let handle = self.tcp(65_536);
        let socket: &mut tcp::Socket<'_> = self.sockets.get_mut(handle);
        socket.set_nagle_enabled(false);
        socket.connect(self.interface.context(), IpEndpoint::from(to), own).unwrap();
        handle
    }

    /// Connects.
    #[track_caller]
    pub fn connected(&mut self, to: SocketAddr, own: u16) -> SocketHandle {
        let handle = self.connect(to, own);
        self.until("a connection", |g| g.socket(handle).state() != tcp::State::SynSent);
        // The other side may have said all that it has to say meanwhile.
        let state = self.socket(handle).state();
        assert!(matches!(state, tcp::State::Established | tcp::State::CloseWait), "{state} to {to}");
        handle
    }

    /// Sends a datagram and waits for one.
    #[track_caller]
    pub fn ask(&mut self, handle: SocketHandle, to: SocketAddr, bytes: &[u8]) -> (Vec<u8>, SocketAddr) {
        self.sockets.get_mut::<udp::Socket<'_>>(handle).send_slice(bytes, IpEndpoint::from(to)).unwrap();
        let mut answer = None;
        self.until("an answer", |g| {
            if let Ok((bytes, meta)) = g.sockets.get_mut::<udp::Socket<'_>>(handle).recv() {
                answer =
                    Some((bytes.to_vec(), SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port)));
            }
            answer.is_some()
        });
        answer.unwrap()
    }
}

impl Drop for Guest {
    /// The network ends when the VMM's end is closed; that it does is part of every test.
    fn drop(&mut self) {
        let (other, _) = pair().unwrap();
        self.wire.port = UserNet::new(other, 1500);
        let network = self.network.take().unwrap();
        if !std::thread::panicking() {
            network.join().unwrap();
        }
    }
}

/// Bytes that are like no others.
pub fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((seed >> 16).to_le_bytes().iter().take(6));
    }
    bytes.truncate(length);
    bytes
}

/// The gateway with a port, which is the host's loopback if the configuration allows it.
pub fn gateway(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 2)), port)
}
