//! Another program as the other side: whether it is there, and running it for at most so long.

use anyhow::{Context, Result, anyhow, bail};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The oldest major version of QEMU that is asked.
pub const OLDEST: u32 = 10;

/// Why QEMU's `program` cannot be asked, if it cannot; `package` is the one of Debian's that has it.
pub fn missing(program: &str, package: &str) -> Option<String> {
    let advice =
        format!("apt install {package}, version {OLDEST} or later (bookworm: -t bookworm-backports)");
    let Ok(output) = Command::new(program).arg("--version").output() else {
        return Some(format!("no {program} on PATH ({advice})"));
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let major =
        text.split("version ").nth(1).and_then(|v| v.split('.').next()).and_then(|v| v.parse::<u32>().ok());
    match major {
        Some(OLDEST..) => None,
        _ => Some(format!("{program} is too old: {} ({advice})", text.lines().next().unwrap_or("?"))),
    }
}

/// A program under way. Dropped before its end, it is killed.
pub struct Peer {
    child: Child,
    output: Option<Reader>,
    errors: Option<Reader>,
}

type Reader = JoinHandle<std::io::Result<Vec<u8>>>;

/// What a run gave.
pub struct Output {
    /// Standard output.
    pub bytes: Vec<u8>,
    /// How it ended, and what it had to say.
    pub end: String,
    /// Its exit status; `None` if a signal ended it, ours for one.
    pub code: Option<i32>,
    /// Whether it was killed because its time was over.
    pub killed: bool,
}

impl Output {
    /// Whether it ended by itself and was content.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl Peer {
    /// Starts `program`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(program: &str, arguments: &[&str], file: Option<&Path>) -> Result<Peer> {
        let mut command = Command::new(program);
        command.args(arguments).args(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("{program} has no standard streams");
        };
        Ok(Peer { child, output: Some(reader(out)), errors: Some(reader(err)) })
    }

    /// Waits for its end, at most `limit`, after which it is killed.
    ///
    /// # Errors
    /// If its output cannot be read.
    pub fn finish(mut self, limit: Duration) -> Result<Output> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break Some(status);
            }
            if start.elapsed() > limit {
                self.child.kill()?;
                self.child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let bytes = read(self.output.take())?;
        let errors = String::from_utf8_lossy(&read(self.errors.take())?).trim().to_string();
        let (end, code) = match status {
            Some(status) => (format!("{status} {errors}"), status.code()),
            None => (format!("killed after {} s {errors}", limit.as_secs()), None),
        };
        Ok(Output { bytes, end, code, killed: status.is_none() })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // What has ended cannot be killed, which is no matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads on a thread of its own, so that a full pipe stops nobody.
fn reader(mut from: impl Read + Send + 'static) -> Reader {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map(|_| bytes)
    })
}

fn read(reader: Option<Reader>) -> Result<Vec<u8>> {
    let reader = reader.context("read already")?;
    Ok(reader.join().map_err(|_| anyhow!("a reader died"))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told() {
        let peer = Peer::start("sh", &["-c", "echo out; echo err >&2; exit 3"], None).unwrap();
        let output = peer.finish(Duration::from_secs(20)).unwrap();
        assert_eq!((&*output.bytes, output.code, output.killed), (&b"out\n"[..], Some(3), false));
        assert!(output.end.ends_with("err") && !output.success(), "{}", output.end);
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let start = Instant::now();
        let output = Peer::start("sleep", &["60"], None).unwrap().finish(Duration::from_millis(50)).unwrap();
        assert!(output.killed && !output.success() && output.code.is_none());
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_is_not_there_or_old_is_said() {
        let why = missing("no-such-program", "such-package").unwrap();
        assert!(why.starts_with("no no-such-program on PATH (apt install such-package, version 10"), "{why}");
        // `echo` says `--version` or its own version, neither of which is QEMU's.
        assert!(missing("echo", "such-package").unwrap().starts_with("echo is too old"));
    }
}
