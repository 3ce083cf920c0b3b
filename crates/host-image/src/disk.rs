//! Makes a root disk: packages merged on the host, formatted, unpacked and configured in a machine.
//!
//! The first stage runs here and needs no privilege: what the packages hold goes into one archive, with dpkg's database
//! as if dpkg had unpacked them. The second needs the packages' own processor, and root: a machine with an initramfs of
//! busybox, mke2fs and a script does it (`guest/build-init`).
use crate::apt::{Archive, Deb};
use crate::catalog::{Architecture, RootDisk};
use crate::control::Control;
use crate::cpio::Newc;
use crate::database::{ORDER, Unpacked, files};
use crate::debian::{EXCLUDED, LABEL, TOOLS, add_files, script};
use crate::error::Error;
use crate::initramfs::base;
use crate::modules::Modules;
use crate::network::Network;
use crate::overlay::Packer;
use crate::progress::Progress;
use crate::rootfs::Tree;
use crate::runner::{Drive, Listener, Runner, job};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a root disk is made from and where.
pub(crate) struct Making<'a> {
    pub disk: &'a RootDisk,
    pub architecture: Architecture,
    pub archive: &'a Archive,
    /// The packages, downloaded, in the order to unpack them in.
    pub debs: &'a [Deb],
    /// The kernel's package, downloaded.
    pub kernel_deb: &'a Deb,
    /// The kernel itself, and busybox.
    pub kernel: &'a Path,
    pub busybox: &'a [u8],
    /// How the guest reaches the archive.
    pub network: &'a Network,
    /// An empty directory to work in.
    pub work: &'a Path,
    /// Where the machine's log goes.
    pub log: &'a Path,
}

/// Makes the root disk at `disk`, a new file, and gives the initramfs that it is booted with.
pub(crate) fn make(
    making: &Making<'_>,
    disk: &Path,
    runner: &mut dyn Runner,
    progress: &mut dyn Progress,
) -> Result<Vec<u8>, Error> {
    let archive = making.work.join("system.tar");
    let modules = merge(making, &archive, progress)?;
    progress.step("packing what the machine starts with");
    let initrd = making.work.join("build.cpio");
    let bytes = build_initramfs(making, &modules, progress)?;
    fs::write(&initrd, bytes).map_err(Error::cache("write", &initrd))?;
    let written = File::create_new(disk).and_then(|file| file.set_len(making.disk.size));
    written.map_err(Error::cache("write", disk))?;
    let disks = vec![
        Drive { path: disk.to_owned(), read_only: false },
        Drive { path: archive.clone(), read_only: true },
    ];
    progress.step("starting the machine that makes the disk");
    let log = File::create(making.log).map_err(Error::cache("write", making.log))?;
    let mut listener = Listener::new(BufWriter::new(log), making.debs.len(), progress);
    let ran = runner.run(&job(making.kernel, &initrd, disks), &mut |bytes| listener.hear(bytes));
    listener.outcome(ran).map_err(|(reason, last)| Error::SecondStage {
        reason,
        last,
        log: making.log.to_owned(),
    })?;
    // The archive is as large as the system, and no longer of use.
    fs::remove_file(&archive).map_err(Error::cache("remove", &archive))?;
    root_initramfs(making, &modules).map_err(Error::cache("write", making.work))
}

/// Merges everything into the archive at `path`.
fn merge(making: &Making<'_>, path: &Path, progress: &mut dyn Progress) -> Result<Modules, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let file = File::create(path).map_err(Error::cache("write", path))?;
    let mut tree = Tree::new(BufWriter::with_capacity(1 << 20, file), now);
    let mut packages: Vec<(Control, Vec<String>)> = Vec::new();
    for (number, deb) in making.debs.iter().enumerate() {
        progress.step(&format!("unpacking {} ({} of {})", deb.name, number + 1, making.debs.len()));
        let from = making.archive.path(deb);
        let control = Control::read(&from, &deb.name)?;
        let list = tree.add_package(&from, &deb.name, &control.conffiles(), &EXCLUDED, progress)?;
        packages.push((control, list));
    }
    progress.step(&format!("unpacking {}", making.kernel_deb.name));
    let kernel_deb = making.archive.path(making.kernel_deb);
    let modules = Modules::take(&kernel_deb, &making.kernel_deb.name, &mut tree, progress)?;
    let unpacked: Vec<Unpacked<'_>> = packages
        .iter()
        .map(|(control, list)| Unpacked { control, list, automatic: automatic(making.disk, control) })
        .collect();
    let write = Error::cache("write", path);
    let mut finish = || {
        for (path, mode, data) in files(&unpacked) {
            tree.file(&path, mode, &data)?;
        }
        add_files(&mut tree, making.network)
    };
    match finish().and_then(|()| tree.finish()) {
        Ok(_) => Ok(modules),
        Err(error) => Err(write(error)),
    }
}

/// Whether a package is there only because others depend on it.
fn automatic(disk: &RootDisk, control: &Control) -> bool {
    let named = control.field("Package").is_some_and(|name| disk.packages.contains(&name));
    !named && control.field("Essential") != Some("yes")
}

/// The initramfs of the machine that makes the disk.
fn build_initramfs(
    making: &Making<'_>,
    modules: &Modules,
    progress: &mut dyn Progress,
) -> Result<Vec<u8>, Error> {
    let values = [
        ("LABEL", LABEL),
        ("RELEASE", modules.release.as_str()),
        ("ARCHITECTURE", making.architecture.debian()),
        ("ORDER", ORDER),
    ];
    let init = script(include_str!("../guest/build-init"), &values)?;
    let mut packer = Packer::new(Vec::new());
    for (name, wanted) in TOOLS {
        let deb = making.debs.iter().find(|deb| deb.name == *name).ok_or_else(|| Error::Package {
            package: (*name).to_owned(),
            reason: "is not among what the system depends on".to_owned(),
        })?;
        packer.add(&making.archive.path(deb), name, wanted, progress)?;
    }
    let write = || {
        let mut archive = base(packer.linked(&[("lib", "usr/lib")])?, making.busybox)?;
        modules.add_to(&mut archive)?;
        archive.file("init", 0o755, init.as_bytes())?;
        archive.finish()
    };
    write().map_err(Error::cache("write", making.work))
}

/// The initramfs that the disk is booted with.
fn root_initramfs(making: &Making<'_>, modules: &Modules) -> std::io::Result<Vec<u8>> {
    let init = include_str!("../guest/root-init").replace("@LABEL@", LABEL);
    let mut archive = base(Newc::new(Vec::new()), making.busybox)?;
    modules.add_to(&mut archive)?;
    archive.file("init", 0o755, init.as_bytes())?;
    archive.finish()
}

/// Where the log of the machine that made an image's disk goes.
pub(crate) fn log_path(root: &Path, image: &str) -> PathBuf {
    root.join("logs").join(format!("{image}.log"))
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod tests;
