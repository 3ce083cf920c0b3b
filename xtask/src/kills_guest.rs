//! The guests of `cargo xtask kills`: built with the cross compiler, started, and killed at a random moment.

use crate::kills_plan::Model;
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Debian's cross compiler.
const COMPILER: &str = "riscv64-linux-gnu-gcc";
const COMMON: &[&str] = &["-O2", "-std=gnu17", "-Wall", "-static"];
const METAL: &[&str] = &[
    "-ffreestanding",
    "-fno-stack-protector",
    "-nostdlib",
    "-march=rv64gc",
    "-mabi=lp64d",
    "-mcmodel=medany",
    "-fno-pic",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,--no-warn-rwx-segments",
    "-T",
    "metal.ld",
    "metal.S",
    "metal.c",
    "writer.c",
];
const LINUX: &[&str] = &["linux.c", "writer.c"];
/// How long a guest may take to write at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which guest writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// One without an operating system, with many requests at a time
    Metal,
    /// Linux, of the image `debian`, whose initramfs has the driver
    Linux,
}

/// A guest that can be started.
pub struct Guest {
    hostel: PathBuf,
    kernel: PathBuf,
    initrd: Option<PathBuf>,
}

/// What a killed guest had said.
pub struct Killed {
    /// The last batch of which it said that it was flushed.
    pub flushed: Option<u64>,
    /// How many batches that were.
    pub batches: u64,
}

/// What this machine lacks for such guests.
pub fn lacking() -> Option<String> {
    let missing = !process::present(COMPILER);
    missing.then(|| format!("no {COMPILER} here: apt install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"))
}

impl Guest {
    /// Builds it in `folder`.
    ///
    /// # Errors
    /// [`NoTool`](crate::boot::NoTool) if there is no image `debian` for Linux; or it does not build.
    pub fn build(kind: Kind, hostel: &Path, folder: &Path) -> Result<Guest> {
        let hostel = hostel.to_owned();
        match kind {
            Kind::Metal => {
                let kernel = folder.join("metal");
                compile(METAL, &kernel)?;
                Ok(Guest { hostel, kernel, initrd: None })
            }
            Kind::Linux => {
                crate::boot_images::cached(&hostel, "debian")?;
                let program = folder.join("linux");
                compile(LINUX, &program)?;
                let image = image_folder(&hostel)?;
                let initrd = folder.join("initrd.cpio");
                let mut bytes = std::fs::read(image.join("initramfs.cpio"))?;
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                bytes.extend(archive(&std::fs::read(&program)?));
                std::fs::write(&initrd, bytes)?;
                Ok(Guest { hostel, kernel: image.join("vmlinux"), initrd: Some(initrd) })
            }
        }
    }

    /// Starts it on the disk `disk` and kills its machine `after` it has said something, or after it was started.
    ///
    /// # Errors
    /// If it cannot be started, says that something failed, or ends by itself.
    pub fn run(&self, disk: &str, model: &Model, after: Duration, at_once: bool) -> Result<Killed> {
        let mut command = Command::new(&self.hostel);
        command.args(["run", "--disk", disk, "--kernel"]).arg(&self.kernel);
        let parameters = model.parameters();
        match &self.initrd {
            None => command.args(["--bios", "none", "--memory", "64M", "--append", &parameters]),
            Some(initrd) => command
                .args(["--memory", "256M", "--initrd"])
                .arg(initrd)
                .args(["--append", &format!("console=ttyS0 loglevel=1 rdinit=/kills/init {parameters}")]),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.hostel.display()))?;
        let (heard, first) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        let reader = std::thread::spawn(move || listen(lines, &heard));
        if !at_once {
            // Whoever ends the reader before it hears a thing is told of below.
            let _ = first.recv_timeout(PATIENCE);
        }
        let moment = Instant::now() + after;
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        let ended = child.try_wait()?;
        child.kill()?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let Ok((killed, failure)) = reader.join() else { bail!("the reader panicked") };
        ensure!(ended.is_none(), "the machine ended by itself, {:?}: {said}{failure}", ended);
        ensure!(failure.is_empty(), "the guest says: {failure}");
        ensure!(at_once || killed.flushed.is_some(), "the guest flushed nothing in {PATIENCE:?}: {said}");
        Ok(killed)
    }
}

/// Reads what a guest says until it is killed; a line that is cut off was not said.
fn listen(mut lines: impl BufRead, heard: &std::sync::mpsc::Sender<()>) -> (Killed, String) {
    let (mut killed, mut failure, mut line) =
        (Killed { flushed: None, batches: 0 }, String::new(), Vec::new());
    while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) && line.ends_with(b"\n") {
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if let Some(batch) = text.strip_prefix("flushed ").and_then(|number| number.parse().ok()) {
            killed.flushed = Some(batch);
            killed.batches += 1;
        } else if text.contains("failed") || text.contains("Kernel panic") {
            failure = text;
        }
        let _ = heard.send(());
        line.clear();
    }
    (killed, failure)
}

fn compile(arguments: &[&str], into: &Path) -> Result<()> {
    let mut command = Command::new(COMPILER);
    command.current_dir(crate::tree::root().join("guests/kills"));
    command.args(COMMON).args(arguments).arg("-o").arg(into);
    let done = process::run(&mut command, false)?;
    ensure!(done.ok, "{COMPILER} {}:\n{}", arguments.join(" "), done.output);
    Ok(())
}

fn image_folder(hostel: &Path) -> Result<PathBuf> {
    let output = Command::new(hostel).args(["image", "path", "debian"]).output()?;
    ensure!(output.status.success(), "hostel image path debian: {}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Process 1: the image's own modules but those for file systems, then the writer.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
rm -f /modules/*ext4* /modules/*jbd2* /modules/*mbcache* /modules/*crc*
. /load-modules
load_modules
/kills/writer
echo failed: the writer ended
poweroff -f
";

/// What comes behind the image's initramfs (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).
fn archive(program: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let files: [(&str, u32, &[u8]); 4] = [
        ("kills", 0o040_755, b""),
        ("kills/init", 0o100_755, INIT.as_bytes()),
        ("kills/writer", 0o100_755, program),
        ("TRAILER!!!", 0, b""),
    ];
    for (number, (name, mode, data)) in (1u32..).zip(files) {
        let fields = [number, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        bytes.extend(b"070701");
        fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").into_bytes()));
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_off_was_not_said() {
        let (heard, first) = std::sync::mpsc::channel();
        let (killed, failure) = listen(&b"flushed 7\r\nflushed 8\nflushed 9"[..], &heard);
        assert_eq!((killed.flushed, killed.batches, failure.as_str()), (Some(8), 2, ""));
        assert!(first.try_recv().is_ok());
        let (killed, failure) = listen(&b"failed: request 1\n"[..], &heard);
        assert_eq!((killed.flushed, failure.as_str()), (None, "failed: request 1"));
    }
}
