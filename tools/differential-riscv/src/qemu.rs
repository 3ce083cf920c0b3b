//! QEMU as the other side: which programs, which processor, and a machine whose RAM is a file.

use anyhow::{Context, Result, bail};
use differential_core::Peer;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// User-mode emulation.
pub const USER: &str = "qemu-riscv64";
/// Whole machines.
pub const SYSTEM: &str = "qemu-system-riscv64";

/// The processor: what Hostel's rows and CSRs are, neither more nor less. QEMU's `rv64` has RV64GC, Zba,
/// Zbb, Zbc, Zbs, Zicbom, Zicbop, Zicboz, Sstc and Svadu on its own.
pub const CPU: &str = "rv64,zfh=true,zicond=true,svinval=true,svnapot=true,svpbmt=true,\
                       h=false,zawrs=false,zfa=false,debug=false,pmu-mask=0xfffffff8";

/// Why `program` cannot be asked, if it cannot.
pub fn missing(program: &str) -> Option<String> {
    let package = if program == USER { "qemu-user" } else { "qemu-system-misc (trixie: qemu-system-riscv)" };
    differential_core::missing(program, package)
}

/// A QEMU under way: the board `virt` with RAM at 0x8000_0000, where it starts.
pub struct Machine {
    run: Peer,
    file: tempfile::NamedTempFile,
}

/// A machine that has ended.
pub struct Ended {
    /// Its RAM.
    pub ram: File,
    /// Why it did not end by itself, if so: its time was over.
    pub stuck: Option<String>,
}

impl Machine {
    /// Starts one with `bytes` of RAM, a multiple of 1024, that begins as `pieces` (offset, contents) and zeroes. `cpu`
    /// is added to the processor's options.
    ///
    /// # Errors
    /// What the host says.
    pub fn start(bytes: u64, pieces: &[(u64, Vec<u8>)], cpu: &str) -> Result<Machine> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("differential-").suffix(".ram");
        // Memory, where there is such a folder: a file of a disk might be written there.
        let file = builder.tempfile_in("/dev/shm").or_else(|_| builder.tempfile())?;
        file.as_file().set_len(bytes)?;
        for (offset, contents) in pieces {
            file.as_file().write_all_at(contents, *offset)?;
        }
        let path = file.path().to_str().context("the name of a temporary file")?;
        let backend = format!("memory-backend-file,id=ram,size={bytes},share=on,mem-path={path}");
        let (size, cpu) = (format!("{}K", bytes >> 10), format!("{CPU}{cpu}"));
        let mut arguments =
            vec!["-M", "virt,memory-backend=ram", "-object", &backend, "-m", &size, "-cpu", &cpu];
        arguments.extend(["-bios", "none", "-display", "none", "-serial", "none", "-monitor", "none"]);
        arguments.push("-no-reboot");
        Ok(Machine { run: Peer::start(SYSTEM, &arguments, None)?, file })
    }

    /// Waits for its end, at most `limit`.
    ///
    /// # Errors
    /// If it fails otherwise than by not ending.
    pub fn finish(self, limit: Duration) -> Result<Ended> {
        let output = self.run.finish(limit)?;
        if !output.success() && !output.killed {
            bail!("{SYSTEM}: {}", output.end);
        }
        let stuck = (!output.success()).then_some(output.end);
        Ok(Ended { ram: self.file.into_file(), stuck })
    }
}
