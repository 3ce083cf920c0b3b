//! `cargo xtask boot`: connections between the guest `debian` and its host, without a network.

use crate::boot_images::cached;
use crate::boot_tests::Setup;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Perl that connects to a port of the host's, says a line, prints one and sends zeroes until the 8 MiB are full.
const CALLS: &str = "socket(S,40,1,0)&&connect(S,pack(q(SSLLx4),40,0,$ARGV[0],2))||die \"no: $!\\n\";\
    syswrite(S,\"from the guest\\n\");print scalar <S>;print S \"\\0\"x8388608;close(S)";
/// Perl that takes a connection to its port 77 and sends back what comes, when all of it has come.
const ANSWERS: &str = "socket(L,40,1,0)&&bind(L,pack(q(SSLLx4),40,0,77,0xffffffff))&&listen(L,1)||die;\
    print \"listens\\n\";accept(S,L);local $/;my $x=<S>;print S $x;close(S)";

/// A user of the host's port: hears a line, says one, and gives the number of bytes that come then.
fn serves(listener: UnixListener) -> JoinHandle<Result<(String, usize)>> {
    std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        lines.get_mut().write_all(b"from the host\n")?;
        let mut rest = Vec::new();
        lines.read_to_end(&mut rest)?;
        ensure!(rest.iter().all(|&byte| byte == 0), "what came is not what was sent");
        Ok((line, rest.len()))
    })
}

/// Calls a port of the guest's, which may not be listened at yet.
fn calls(path: &Path, patience: Duration) -> Result<UnixStream> {
    let begun = Instant::now();
    loop {
        let mut stream = UnixStream::connect(path).context("the socket device")?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"CONNECT 77\n")?;
        let mut said = [0; 3];
        // One that nobody takes is closed.
        if stream.read_exact(&mut said).is_ok() {
            ensure!(&said == b"OK ", "the device said {said:?}");
            let mut byte = [0];
            while byte != *b"\n" {
                stream.read_exact(&mut byte)?;
            }
            return Ok(stream);
        }
        ensure!(begun.elapsed() < patience, "nobody listens at the guest's port");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Both directions, megabytes each way, and ports that nobody listens at.
pub fn both(setup: &Setup) -> Result<()> {
    cached(&setup.hostel, "debian")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("v");
    let served = serves(UnixListener::bind(folder.path().join("v_1234"))?);
    let option = format!("{},host=allow", path.display());
    let mut guest = setup.starts("# ", &["debian", "--offline", "--vsock", &option])?;
    guest.waits_for("login: ")?;
    guest.typed("root\n")?;
    guest.prompts()?;
    guest.says("modprobe vmw_vsock_virtio_transport")?;
    guest.answers(&format!("perl -e '{CALLS}' 1234"), &["from the host"])?;
    let (line, rest) = served.join().map_err(|_| anyhow::anyhow!("the host's user panicked"))??;
    ensure!((line.as_str(), rest) == ("from the guest\n", 8 << 20), "{line:?} and {rest} bytes came");
    guest.answers(&format!("perl -e '{CALLS}' 1235"), &["no: Connection reset by peer"])?;
    guest.says(&format!("perl -e '{ANSWERS}' &"))?;
    let mut stream = calls(&path, setup.patience)?;
    let sent: Vec<u8> = (0..4u32 << 20).map(|n| (n * 7 + n / 65_536) as u8).collect();
    stream.write_all(&sent)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut came = Vec::new();
    stream.read_to_end(&mut came)?;
    ensure!(came == sent, "{} of {} bytes came back, or others", came.len(), sent.len());
    guest.ends_after("poweroff")
}
