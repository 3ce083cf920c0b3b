//! Programs inside a Linux guest: one boot runs all of them, and says when each begins and ends.

use crate::Bench;
use crate::catalog::{Choice, Kind, Program};
use crate::compile::Target;
use crate::contestant::{Contestant, Firmware, Machine};
use crate::options::Form;
use crate::parts::{self, Part};
use crate::programs::{PATIENCE, native_too, runs};
use crate::results::{Collector, Row};
use crate::session::Session;
use crate::sources;
use anyhow::{Context, Result};
use host_image::{DEFAULT_GUEST, Image, Newc, Silent};
use std::path::{Path, PathBuf};

/// The memory of a Linux guest, in MiB.
pub const MEMORY: u64 = 1024;
/// Process 1 of the guest: it has the console, so what it runs says its lines there. A kernel that has just started its first
/// program still verifies certificates and frees memory for half a second, which is not what is measured.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox sleep 1
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

/// Measures the chosen programs as Linux programs. `rows` keep what was measured before an error.
///
/// # Errors
/// If one cannot be built, a guest does not run to its end, or is not there and was asked for.
pub fn measure(bench: &Bench, choice: &Choice, rows: &mut Vec<Row>) -> Result<()> {
    let chosen: Vec<&Program> = choice.programs(Form::Linux).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let insists = choice.insists_on(Form::Linux);
    let Some(guest) = bench.unless(insists, Guest::get(bench), "nothing runs inside a Linux guest")? else {
        return Ok(());
    };
    let programs: Vec<&Program> = chosen.iter().copied().filter(|program| program.portable()).collect();
    bench.compiler.build(&programs, Target::Linux, bench.check)?;
    native_too(bench, &programs)?;
    let scripts: Vec<&Program> =
        chosen.iter().copied().filter(|program| program.kind == Kind::Python).collect();
    let folder = tempfile::tempdir().context("cannot make a folder for the guest's initial RAM disk")?;
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
        boot.measure(bench, rows)?;
    }
    if !scripts.is_empty()
        && let Some(python) = bench.unless(insists, image(bench, "debian-python"), "no Python is measured")?
    {
        let initrd = folder.path().join("python.cpio");
        let python = image_file(&python, "python.cpio")?;
        let bytes = python_archive(&guest.initrd, &python, &scripts, bench.check)?;
        std::fs::write(&initrd, bytes).context("cannot write the initial RAM disk")?;
        Boot { guest: &guest, initrd, cpus: 1, programs: scripts }.measure(bench, rows)?;
    }
    Ok(())
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
        "{INIT}/usr/bin/python3.13 -I /bench/python.py {} {least} || echo failed python $?\n/bin/busybox poweroff -f\n",
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
        init += &format!("/bench/{0} || echo failed {0} $?\n", program.name);
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
    fn measure(&self, bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
        let names: Vec<&str> = self.programs.iter().map(|program| program.name).collect();
        bench.progress(&format!("linux: {}", names.join(", ")));
        Collector::fill(Form::Linux, rows, |collector| {
            for _ in 0..bench.rounds {
                for contestant in bench.contestants.iter().filter(|c| c.takes_part(Form::Linux)) {
                    let parts = self
                        .one(bench, contestant)
                        .with_context(|| format!("linux on {}", contestant.name))?;
                    collector.add(&contestant.name, &parts);
                }
            }
            Ok(())
        })
    }

    /// All parts, of one contestant in one round.
    fn one(&self, bench: &Bench, contestant: &Contestant) -> Result<Vec<Part>> {
        let machine = Machine {
            cpus: self.cpus,
            memory: MEMORY,
            firmware: Firmware::Own(&self.guest.firmware),
            kernel: Some(&self.guest.kernel),
            initrd: Some(&self.initrd),
            append: "console=ttyS0 loglevel=1 rdinit=/bench/init",
        };
        if let Some(command) = contestant.machine(machine) {
            let wanted: Vec<String> = self.programs.iter().flat_map(|p| p.parts(Form::Linux)).collect();
            return parts::of(Session::start(&command, PATIENCE)?, &wanted);
        }
        let mut parts = Vec::new();
        for program in self.programs.iter().filter(|program| runs(bench, contestant, program)) {
            let path = |target| bench.compiler.path(program.name, target, bench.check);
            if let Some(command) = contestant.program(&path(Target::Native), &path(Target::Linux)) {
                parts.extend(parts::of(Session::start(&command, PATIENCE)?, &program.parts(Form::Linux))?);
            }
        }
        Ok(parts)
    }
}
