//! Programs inside a Linux guest: one boot runs all of them, and says when each begins and ends.

use crate::Bench;
use crate::catalog::{Choice, Kind, Program};
use crate::compile::Target;
use crate::contestant::{Contestant, Firmware, Machine, What};
use crate::options::Form;
use crate::parts::{self, Part};
use crate::programs::{PATIENCE, native_too, portable};
use crate::results::{Collector, Row};
use crate::session::Session;
use crate::sources;
use anyhow::{Context, Result};
use host_image::{DEFAULT_GUEST, Image, Newc, Silent};
use std::path::{Path, PathBuf};

/// Process 1 of the guest: it has the console, so what it runs says its lines there.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
";

/// What the guest is started from.
pub struct Guest {
    /// The kernel.
    pub kernel: PathBuf,
    /// The default guest's initial RAM disk.
    pub initrd: PathBuf,
    /// Firmware for who has none of its own.
    pub firmware: PathBuf,
}

impl Guest {
    /// Out of the cache or, if they are not there, the network.
    ///
    /// # Errors
    /// If an image cannot be fetched.
    pub fn get(bench: &Bench) -> Result<Guest> {
        let guest = image(bench, DEFAULT_GUEST)?;
        let firmware = image_file(&image(bench, "opensbi")?, "fw_dynamic.bin")?;
        let kernel = guest.kernel().context("the default guest has no kernel")?;
        let initrd = guest.initrd().context("the default guest has no initial RAM disk")?;
        Ok(Guest { kernel, initrd, firmware })
    }
}

fn image(bench: &Bench, name: &str) -> Result<Image> {
    Ok(bench.store.get(name, &bench.fetch, &mut Silent)?)
}

fn image_file(image: &Image, name: &str) -> Result<PathBuf> {
    image.file(name).with_context(|| format!("the image {} has no {name}", image.manifest.name))
}

/// Measures the chosen programs as Linux programs.
///
/// # Errors
/// If one cannot be built, or a guest does not run to its end.
pub fn measure(bench: &Bench, choice: &Choice) -> Result<Vec<Row>> {
    let chosen: Vec<&Program> = choice.programs(Form::Linux).collect();
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let guest = match Guest::get(bench) {
        Ok(guest) => guest,
        Err(why) => {
            (bench.note)(&format!("nothing runs inside a Linux guest: {why:#}"));
            return Ok(Vec::new());
        }
    };
    let programs: Vec<&Program> = chosen.iter().copied().filter(|program| portable(program)).collect();
    bench.compiler.build(&programs, Target::Linux, bench.check)?;
    native_too(bench, &programs)?;
    let scripts: Vec<&Program> =
        chosen.iter().copied().filter(|program| program.kind == Kind::Python).collect();
    let folder = tempfile::tempdir().context("cannot make a folder for the guest's initial RAM disk")?;
    let mut rows = Vec::new();
    // One boot with one hart for most, and one with two for those that want two.
    let parallel = |program: &&Program| program.kind == Kind::Parallel;
    let (two, one): (Vec<&Program>, Vec<&Program>) = programs.into_iter().partition(parallel);
    for (cpus, programs) in [(1, one), (2, two)] {
        if programs.is_empty() {
            continue;
        }
        let initrd = folder.path().join(format!("{cpus}.cpio"));
        std::fs::write(&initrd, archive(bench, &guest.initrd, &programs)?)
            .context("cannot write the initial RAM disk")?;
        let boot = Boot { guest: &guest, initrd, cpus, programs };
        rows.extend(boot.measure(bench)?);
    }
    if !scripts.is_empty() {
        match image(bench, "debian-python") {
            Ok(python) => {
                let initrd = folder.path().join("python.cpio");
                let python = image_file(&python, "python.cpio")?;
                let bytes = python_archive(&guest.initrd, &python, &scripts, bench.check)?;
                std::fs::write(&initrd, bytes).context("cannot write the initial RAM disk")?;
                let boot = Boot { guest: &guest, initrd, cpus: 1, programs: scripts };
                rows.extend(boot.measure(bench)?);
            }
            Err(why) => (bench.note)(&format!("no Python is measured: {why:#}")),
        }
    }
    Ok(rows)
}

/// The default guest's files, Python's behind them, and an init that runs the chosen parts of the script.
fn python_archive(initrd: &Path, python: &Path, scripts: &[&Program], check: bool) -> Result<Vec<u8>> {
    let mut archive = Newc::new(padded(&[initrd, python])?);
    let script = sources::text("python.py").context("the script is not here")?;
    archive.directory("bench", 0o755)?;
    archive.file("bench/python.py", 0o644, script.as_bytes())?;
    let parts: Vec<&str> = scripts.iter().map(|program| program.name).collect();
    let least = if check { "least" } else { "" };
    let init = format!(
        "{INIT}/usr/bin/python3.13 -I /bench/python.py {} {least}\n/bin/busybox poweroff -f\n",
        parts.join(" ")
    );
    archive.file("bench/init", 0o755, init.as_bytes())?;
    Ok(archive.finish()?)
}

/// Archives one behind another, each at a multiple of four bytes: the kernel unpacks them in their order.
fn padded(files: &[&Path]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for path in files {
        bytes.extend(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    Ok(bytes)
}

/// The default guest's files, and behind them the programs and an init that runs them.
fn archive(bench: &Bench, initrd: &Path, programs: &[&Program]) -> Result<Vec<u8>> {
    let mut archive = Newc::new(padded(&[initrd])?);
    let mut init = INIT.to_owned();
    archive.directory("bench", 0o755)?;
    for program in programs {
        let path = bench.compiler.path(program.name, Target::Linux, bench.check);
        let program_bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        archive.file(&format!("bench/{}", program.name), 0o755, &program_bytes)?;
        init += &format!("/bench/{}\n", program.name);
    }
    init += "/bin/busybox poweroff -f\n";
    archive.file("bench/init", 0o755, init.as_bytes())?;
    Ok(archive.finish()?)
}

/// A guest with the programs that it runs.
struct Boot<'a> {
    guest: &'a Guest,
    initrd: PathBuf,
    cpus: u32,
    programs: Vec<&'a Program>,
}

impl Boot<'_> {
    fn measure(&self, bench: &Bench) -> Result<Vec<Row>> {
        let names: Vec<&str> = self.programs.iter().map(|program| program.name).collect();
        bench.progress(&format!("linux: {}", names.join(", ")));
        let mut collector = Collector::new(Form::Linux);
        for _ in 0..bench.rounds {
            for contestant in bench.contestants.iter().filter(|c| c.takes_part(Form::Linux)) {
                let parts =
                    self.one(bench, contestant).with_context(|| format!("linux on {}", contestant.name))?;
                collector.add(&contestant.name, &parts);
            }
        }
        Ok(collector.rows())
    }

    /// All parts, of one contestant in one round.
    fn one(&self, bench: &Bench, contestant: &Contestant) -> Result<Vec<Part>> {
        let machine = Machine {
            cpus: self.cpus,
            memory: "1G",
            firmware: Firmware::Own(&self.guest.firmware),
            kernel: Some(&self.guest.kernel),
            initrd: Some(&self.initrd),
            append: "console=ttyS0 loglevel=1 rdinit=/bench/init",
        };
        if let Some(command) = contestant.machine(machine) {
            return parts::of(Session::start(command, PATIENCE)?);
        }
        if contestant.what == What::Native && !bench.compiler.native() {
            return Ok(Vec::new());
        }
        let mut parts = Vec::new();
        for program in self.programs.iter().filter(|program| portable(program)) {
            let path = |target| bench.compiler.path(program.name, target, bench.check);
            if let Some(command) = contestant.program(&path(Target::Native), &path(Target::Linux)) {
                parts.extend(parts::of(Session::start(command, PATIENCE)?)?);
            }
        }
        Ok(parts)
    }
}
