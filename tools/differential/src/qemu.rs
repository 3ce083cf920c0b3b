//! QEMU as the other side: whether it is there, which processor it shall be, running it.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// User-mode emulation.
pub const USER: &str = "qemu-riscv64";
/// Whole machines.
pub const SYSTEM: &str = "qemu-system-riscv64";

/// The processor: what Hostel's rows and CSRs are, neither more nor less. QEMU's `rv64` has RV64GC, Zba,
/// Zbb, Zbc, Zbs, Zicbom, Zicbop, Zicboz, Sstc and Svadu on its own.
pub const CPU: &str = "rv64,zfh=true,zicond=true,svinval=true,svnapot=true,svpbmt=true,\
                       h=false,zawrs=false,zfa=false,debug=false,pmu-mask=0xfffffff8";

/// Why the other side cannot be asked, if it cannot.
pub fn missing(program: &str) -> Option<String> {
    let package = if program == USER { "qemu-user" } else { "qemu-system-misc (trixie: qemu-system-riscv)" };
    let advice = format!("apt install {package}, version 10 or later (bookworm: -t bookworm-backports)");
    let Ok(output) = Command::new(program).arg("--version").output() else {
        return Some(format!("no {program} on PATH ({advice})"));
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let major =
        text.split("version ").nth(1).and_then(|v| v.split('.').next()).and_then(|v| v.parse::<u32>().ok());
    match major {
        Some(10..) => None,
        _ => Some(format!("{program} is too old: {} ({advice})", text.lines().next().unwrap_or("?"))),
    }
}

/// A run of QEMU under way.
pub struct Run {
    child: std::process::Child,
    output: std::thread::JoinHandle<std::io::Result<Vec<u8>>>,
    errors: std::thread::JoinHandle<std::io::Result<Vec<u8>>>,
}

/// What a run gave.
pub struct Output {
    /// Standard output.
    pub bytes: Vec<u8>,
    /// How it ended, and what it had to say.
    pub end: String,
    /// Whether it ended by itself and was content.
    pub success: bool,
}

impl Run {
    /// Starts `program`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(program: &str, arguments: &[&str], file: Option<&Path>) -> Result<Run> {
        let mut command = Command::new(program);
        command.args(arguments).args(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("{program} has no standard streams");
        };
        let read_out = move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).map(|_| bytes)
        };
        let read_err = move || {
            let mut bytes = Vec::new();
            err.read_to_end(&mut bytes).map(|_| bytes)
        };
        Ok(Run { child, output: std::thread::spawn(read_out), errors: std::thread::spawn(read_err) })
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
                let _ = self.child.kill();
                self.child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let bytes = self.output.join().map_err(|_| anyhow::anyhow!("a reader died"))??;
        let errors = self.errors.join().map_err(|_| anyhow::anyhow!("a reader died"))??;
        let errors = String::from_utf8_lossy(&errors).trim().to_string();
        Ok(match status {
            Some(status) => Output { bytes, end: format!("{status} {errors}"), success: status.success() },
            None => {
                Output { bytes, end: format!("killed after {} s {errors}", limit.as_secs()), success: false }
            }
        })
    }
}
