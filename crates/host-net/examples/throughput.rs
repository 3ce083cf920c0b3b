//! How fast the user network is: a guest that does nothing but TCP with 64 KiB frames, against a socket of the host that
//! throws away or makes up what goes over it. `cargo run --release -p host-net --example throughput [SECONDS [MTU]]`
//!
//! Network and guest are a thread each, so that on two processors there is a third for neither kernel nor the host's end.

use host_net::{Config, LONGEST_FRAME, NetPort, Offloads, SendError, UserNet, VNET, Vnet, pair, serve};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

const GUEST: [u8; 4] = [10, 0, 2, 15];
const GATEWAY: [u8; 4] = [10, 0, 2, 2];
const IP: usize = VNET + 14;
const DATA: usize = IP + 40;

/// One's complement sum, as RFC 1071 has it.
fn sum(bytes: &[u8]) -> u16 {
    let mut total: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

/// The guest's side of one connection.
struct Peer {
    port: UserNet,
    ports: (u16, u16),
    sequence: u32,
    expected: u32,
    acknowledged: u32,
    window: u32,
    mss: usize,
    frame: Vec<u8>,
}

impl Peer {
    fn send(&mut self, flags: u8, options: &[u8], length: usize) {
        let mut header = vec![0; VNET];
        let vnet = Vnet { flags: 1, sum_start: 34, sum_offset: 16, ..Vnet::default() };
        let cut = Vnet { gso_type: 1, gso_size: self.mss as u16, header: 54, ..vnet };
        header.copy_from_slice(&if length > self.mss { cut } else { vnet }.bytes());
        header.extend([0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0, 0, 1, 8, 0]);
        let total = (40 + options.len() + length) as u16;
        let mut ip =
            [&[0x45, 0][..], &total.to_be_bytes(), &[0, 0, 0x40, 0, 64, 6, 0, 0], &GUEST, &GATEWAY].concat();
        let check = !sum(&ip);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
        header.extend(ip);
        header.extend(self.ports.0.to_be_bytes());
        header.extend(self.ports.1.to_be_bytes());
        header.extend(self.sequence.to_be_bytes());
        header.extend(self.expected.to_be_bytes());
        header.extend([((20 + options.len()) as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        header.extend(options);
        self.frame[..header.len()].copy_from_slice(&header);
        let end = header.len() + length;
        while self.port.send(&self.frame[..end]) == Err(SendError::Full) {
            wait(&self.port, PollFlags::OUT | PollFlags::IN);
            self.receive_some();
        }
        self.sequence = self.sequence.wrapping_add(length as u32 + u32::from(flags & 2 != 0));
    }

    /// Takes one frame; the data in it.
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let length = self.port.receive(into)?;
        let tcp = &into[IP + 20..length];
        if into[VNET + 12..VNET + 14] != [8, 0] || into[IP + 9] != 6 {
            return Some(0);
        }
        let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
        let (sequence, acknowledged, flags) = (word(4), word(8), tcp[13]);
        let data = tcp.len() - usize::from(tcp[12] >> 4) * 4;
        if flags & 4 != 0 {
            // The host's end closes when its time is over.
            return Some(0);
        }
        if flags & 2 != 0 {
            self.expected = sequence.wrapping_add(1);
            self.window = u32::from(u16::from_be_bytes([tcp[14], tcp[15]]));
        } else {
            assert!(data == 0 || sequence == self.expected, "out of order");
            self.expected = self.expected.wrapping_add(data as u32);
            self.window = u32::from(u16::from_be_bytes([tcp[14], tcp[15]])) << 4;
        }
        self.acknowledged = acknowledged;
        Some(data)
    }

    fn receive_some(&mut self) {
        let mut into = vec![0; LONGEST_FRAME];
        while self.receive(&mut into).is_some() {}
    }

    fn open(&mut self) {
        self.send(2, &[2, 4, ((self.mss + 40) >> 8) as u8, 0, 1, 3, 3, 8], 0);
        let begin = Instant::now();
        while self.expected == 0 {
            assert!(begin.elapsed() < Duration::from_secs(5), "no connection");
            wait(&self.port, PollFlags::IN);
            self.receive_some();
        }
        self.send(16, &[], 0);
    }
}

fn wait(port: &UserNet, flags: PollFlags) {
    let fd = port.descriptor();
    let _ = poll(&mut [PollFd::new(&fd, flags)], None);
}

/// For a frame, or for the end, which is none.
fn wait_briefly(port: &UserNet) {
    let (fd, patience) = (port.descriptor(), Timespec { tv_sec: 0, tv_nsec: 50_000_000 });
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&patience));
}

fn connect(mtu: u16, tso: bool) -> (Peer, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config: Config = format!("host=allow,mtu={mtu}").parse().unwrap();
    let (ours, theirs) = pair().unwrap();
    let mut port = UserNet::new(ours, mtu);
    thread::spawn(move || serve(theirs, config).unwrap());
    port.wait_until_ready().unwrap();
    port.set_offloads(Offloads { checksum: true, tso4: tso, ..Offloads::default() });
    let ports = (40_000, listener.local_addr().unwrap().port());
    let mss = usize::from(mtu) - 40;
    let frame = vec![7; LONGEST_FRAME];
    let mut peer = Peer { port, ports, sequence: 1, expected: 0, acknowledged: 0, window: 0, mss, frame };
    peer.open();
    (peer, listener)
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 * 8.0 / time.as_secs_f64() / 1e9
}

/// Guest to host, in Gbit/s.
fn up(mtu: u16, length: usize, time: Duration) -> f64 {
    let (mut peer, listener) = connect(mtu, true);
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 256 * 1024];
        let (begin, mut total) = (Instant::now(), 0);
        while begin.elapsed() < time {
            total += stream.read(&mut bytes).unwrap() as u64;
        }
        rate(total, begin.elapsed())
    });
    while !reader.is_finished() {
        peer.receive_some();
        let flight = peer.sequence.wrapping_sub(peer.acknowledged);
        if flight as usize + length <= peer.window as usize {
            peer.send(16, &[], length);
        } else {
            wait_briefly(&peer.port);
        }
    }
    reader.join().unwrap()
}

/// Host to guest.
fn down(mtu: u16, tso: bool, time: Duration) -> f64 {
    let (mut peer, listener) = connect(mtu, tso);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let bytes = vec![7; 256 * 1024];
        while stream.write_all(&bytes).is_ok() {}
    });
    let mut into = vec![0; LONGEST_FRAME];
    let (begin, mut total, mut owed) = (Instant::now(), 0, 0);
    while begin.elapsed() < time {
        match peer.receive(&mut into) {
            Some(count) => {
                total += count as u64;
                owed += count;
                // As Linux does: every other segment.
                if owed >= 2 * peer.mss {
                    peer.send(16, &[], 0);
                    owed = 0;
                }
            }
            None => wait(&peer.port, PollFlags::IN),
        }
    }
    rate(total, begin.elapsed())
}

/// Datagrams a second from guest to host, as many as arrive.
fn datagrams(time: Duration) -> f64 {
    let (peer, _) = connect(1500, true);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut frame = vec![0; VNET];
    frame[0] = 1;
    frame.extend([0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0, 0, 1, 8, 0]);
    let mut ip = [&[0x45, 0, 0, 92, 0, 0, 0x40, 0, 64, 17, 0, 0][..], &GUEST, &GATEWAY].concat();
    let check = !sum(&ip);
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    frame.extend(ip);
    frame.extend(5000u16.to_be_bytes());
    frame.extend(socket.local_addr().unwrap().port().to_be_bytes());
    frame.extend([0, 72, 0, 0]);
    frame.resize(DATA - 12 + 64, 1);
    let reader = thread::spawn(move || {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (begin, mut count) = (Instant::now(), 0);
        while begin.elapsed() < time {
            count += u32::from(socket.recv(&mut [0; 128]).is_ok());
        }
        f64::from(count) / begin.elapsed().as_secs_f64()
    });
    while !reader.is_finished() {
        if peer.port.send(&frame) == Err(SendError::Full) {
            wait(&peer.port, PollFlags::OUT);
        }
    }
    reader.join().unwrap()
}

fn main() {
    let argument =
        |n: usize, default: u64| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (time, mtu) = (Duration::from_secs(argument(1, 3)), argument(2, 1500) as u16);
    let mss = usize::from(mtu) - 40;
    println!("guest to host, 64 KiB frames:      {:6.2} Gbit/s", up(mtu, 64_000 / mss * mss, time));
    println!("guest to host, frames of the MTU:  {:6.2} Gbit/s", up(mtu, mss, time));
    println!("host to guest, 64 KiB frames:      {:6.2} Gbit/s", down(mtu, true, time));
    println!("host to guest, frames of the MTU:  {:6.2} Gbit/s", down(mtu, false, time));
    println!("guest to host, 64-byte datagrams:  {:6.0} /s", datagrams(time));
}
