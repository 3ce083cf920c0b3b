//! The user network behind QEMU's network card, to see what a real guest makes of it. QEMU's `stream` back end sends
//! frames without a virtio-net header, each after its length (four bytes, big-endian), so that nothing is offloaded:
//!
//! ```text
//! cargo run --release -p host-net --example qemu /tmp/net.sock host=allow
//! qemu-system-riscv64 … -netdev stream,id=n,server=off,addr.type=unix,addr.path=/tmp/net.sock -device virtio-net-pci,netdev=n
//! ```

use host_net::{Config, LONGEST_FRAME, NetPort, SendError, UserNet, VNET, pair, serve};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;

fn wait(port: &UserNet, flags: PollFlags) {
    let fd = port.descriptor();
    let _ = poll(&mut [PollFd::new(&fd, flags)], None);
}

/// From QEMU to the network.
fn out(mut stream: UnixStream, port: &UserNet) -> std::io::Result<()> {
    let mut frame = vec![0; LONGEST_FRAME];
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let end = VNET + u32::from_be_bytes(length) as usize;
        let Some(bytes) = frame.get_mut(..end) else { return Ok(()) };
        stream.read_exact(&mut bytes[VNET..])?;
        while port.send(bytes) == Err(SendError::Full) {
            wait(port, PollFlags::OUT);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("the path of a socket");
    let config: Config = arguments.next().unwrap_or_default().parse().expect("a configuration");
    let (ours, theirs) = pair().expect("sockets");
    let mut port = UserNet::new(ours, config.mtu);
    thread::spawn(move || serve(theirs, config).expect("a network"));
    port.wait_until_ready().expect("a network");
    for address in port.published() {
        println!("published at {address}");
    }
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("the socket");
    let (stream, _) = listener.accept().expect("QEMU");
    let port = Arc::new(port);
    let (reader, other) = (stream.try_clone().expect("a descriptor"), Arc::clone(&port));
    thread::spawn(move || {
        let _ = out(reader, &other);
        std::process::exit(0);
    });
    let mut writer = stream;
    let mut frame = vec![0; LONGEST_FRAME];
    loop {
        let Some(length) = port.receive(&mut frame) else {
            wait(&port, PollFlags::IN);
            continue;
        };
        let bytes = &frame[VNET..length];
        let sent =
            writer.write_all(&(bytes.len() as u32).to_be_bytes()).and_then(|()| writer.write_all(bytes));
        if sent.is_err() {
            return;
        }
    }
}
