//! Makes an image: fetches the packages of its recipe and leaves its files in a directory.
use crate::apt::{Archive, Deb};
use crate::catalog::{Overlay, Package, RECIPE, Recipe, RootDisk, SUITE};
use crate::deb::{Taken, hex, take};
use crate::disk::{Making, make};
use crate::error::Error;
use crate::initramfs::write_initramfs;
use crate::manifest::{ArchiveRecord, FORMAT, FileRecord, Manifest, PackageRecord, Role, rfc3339};
use crate::mirror::{Mirror, printable, resolve};
use crate::network::Network;
use crate::overlay::Packer;
use crate::progress::Progress;
use crate::release::Release;
use crate::runner::Runner;
use crate::store::Options;
use rustix::fs::statvfs;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Room for an index while apt reads it, compressed and not, and for apt's own cache of it, in bytes.
const INDEX_SPACE: u64 = 150_000_000;
/// Room for the files of any one image, in bytes, besides its packages.
const IMAGE_SPACE: u64 = 50_000_000;
/// The same for one with a root disk: the disk and, while it is made, the archive that it is unpacked from.
const DISK_SPACE: u64 = 1_500_000_000;

/// Where an image is made, and with what.
pub(crate) struct Workshop<'a> {
    /// An empty directory; the image's files, and nothing else, are in its `out` afterwards.
    pub work: &'a Path,
    /// Where the words go of a machine that is run.
    pub log: &'a Path,
    /// Who runs it.
    pub runner: &'a mut dyn Runner,
}

/// Fetches and makes the image of `recipe`, from what the mirror serves as `suite` at the moment.
pub(crate) fn build(
    recipe: &Recipe,
    options: &Options,
    suite: &str,
    workshop: &mut Workshop<'_>,
    progress: &mut dyn Progress,
) -> Result<Manifest, Error> {
    let (work, mirror) = (workshop.work, &options.mirror);
    let url = resolve(mirror)?;
    let (out, apt) = (work.join("out"), work.join("apt"));
    for directory in [&out, &apt] {
        fs::create_dir(directory).map_err(Error::cache("make the directory", directory))?;
    }
    expect_space(work, INDEX_SPACE)?;
    progress.step(&format!("reading the signed index of {suite} from {}", printable(&url)));
    let archive = Archive::open(&apt, &url, suite, recipe.architecture)?;
    let release = archive.update(progress)?;
    expect_debian(&release, &url, suite)?;

    let names = names(recipe, &archive)?;
    let debs = archive.plan(&names)?;
    let system = recipe.disk.map_or(Ok(Vec::new()), |disk| archive.closure(disk.packages))?;
    let room = if recipe.disk.is_some() { DISK_SPACE } else { IMAGE_SPACE };
    let all: Vec<Deb> = debs.iter().chain(&system).cloned().collect();
    expect_space(work, all.iter().map(|deb| deb.size).fold(room, u64::saturating_add))?;
    progress.step(&match system.len() {
        0 => format!("downloading {}", names.join(", ")),
        count => format!("downloading {} and {count} packages", names.join(", ")),
    });
    archive.download(&all, progress)?;

    let mut files = picked(recipe, &archive, &debs, &out, progress)?;
    if let Some(disk) = recipe.disk {
        // A name that is only a way out for now is none that a guest should keep.
        let known_as = options.suite.as_deref().unwrap_or(SUITE);
        let source = Sources { archive: &archive, url: &url, mirror, known_as, debs: &debs, system: &system };
        files.extend(root_disk(recipe, disk, &source, workshop, progress)?);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let packages = all
        .iter()
        .map(|deb| PackageRecord {
            name: deb.name.clone(),
            version: deb.version.clone(),
            hash: deb.hash.clone(),
        })
        .collect();
    Ok(Manifest {
        format: FORMAT,
        recipe: RECIPE,
        name: recipe.name.to_owned(),
        directory: digest(&files),
        fetched: rfc3339(SystemTime::now()),
        append: recipe.append.to_owned(),
        archive: ArchiveRecord {
            mirror: printable(&url),
            suite: suite.to_owned(),
            codename: release.codename,
            version: release.version,
            date: release.date,
        },
        packages,
        files,
    })
}

/// Makes the files of `out` that are picked from packages or packed from their parts.
fn picked(
    recipe: &Recipe,
    archive: &Archive,
    debs: &[Deb],
    out: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<FileRecord>, Error> {
    let mut taken = Vec::new();
    for (source, deb) in recipe.sources.iter().zip(debs) {
        progress.step(&format!("unpacking {}", deb.name));
        taken.extend(take(&archive.path(deb), &deb.name, source.picks, out, progress)?);
    }
    let mut files = Vec::new();
    if let Some(overlay) = &recipe.overlay {
        let debs = debs.iter().skip(recipe.sources.len());
        let paths = debs.map(|deb| (archive.path(deb), deb.name.as_str()));
        files.push(pack(overlay, paths, out, progress)?);
    }
    if let Some((ingredient, name)) = recipe.initramfs {
        progress.step("building the initramfs");
        files.push(initramfs(out, ingredient, name)?);
    }
    files.extend(taken.iter().filter_map(record));
    Ok(files)
}

/// What a root disk comes from.
struct Sources<'a> {
    archive: &'a Archive,
    url: &'a str,
    mirror: &'a Mirror,
    /// What the mirror calls the release.
    known_as: &'a str,
    /// The packages that files are picked from, the kernel's first.
    debs: &'a [Deb],
    /// The packages that the system consists of.
    system: &'a [Deb],
}

/// Makes a root disk and its initramfs in `out`, where the kernel and busybox are.
fn root_disk(
    recipe: &Recipe,
    disk: &RootDisk,
    sources: &Sources<'_>,
    workshop: &mut Workshop<'_>,
    progress: &mut dyn Progress,
) -> Result<Vec<FileRecord>, Error> {
    let out = workshop.work.join("out");
    let kernel_deb = sources.debs.first().ok_or_else(|| Error::Package {
        package: recipe.name.to_owned(),
        reason: "has no kernel".to_owned(),
    })?;
    let busybox = out.join("busybox");
    let bytes = fs::read(&busybox).map_err(Error::cache("read", &busybox))?;
    if let Some(logs) = workshop.log.parent() {
        fs::create_dir_all(logs).map_err(Error::cache("make the directory", logs))?;
    }
    let (mirror, url, suite) = (sources.mirror, sources.url, sources.known_as);
    let network = Network::of_host(mirror, url, suite, recipe.architecture, workshop.work, progress)?;
    let making = Making {
        disk,
        architecture: recipe.architecture,
        archive: sources.archive,
        debs: sources.system,
        kernel_deb,
        kernel: &out.join("vmlinux"),
        busybox: &bytes,
        network: &network,
        work: workshop.work,
        log: workshop.log,
    };
    let (raw, packed) = (out.join(disk.raw), out.join(disk.packed));
    let initramfs = make(&making, &raw, workshop.runner, progress)?;
    fs::remove_file(&busybox).map_err(Error::cache("remove", &busybox))?;
    progress.step("packing the disk");
    let done = workshop.runner.pack(&raw, &packed).map_err(|why| Error::SecondStage {
        reason: format!("packing the disk: {}", printable(&why)),
        last: Vec::new(),
        log: workshop.log.to_owned(),
    })?;
    let (name, path) = if done { (disk.packed, packed) } else { (disk.raw, raw.clone()) };
    if done {
        fs::remove_file(&raw).map_err(Error::cache("remove", &raw))?;
    }
    progress.step("hashing the disk");
    let (size, sha256) = hash(&path, progress)?;
    let record = FileRecord { name: name.to_owned(), role: Role::Disk, size, sha256 };
    Ok(vec![record, store(Ok(initramfs), &out, disk.initramfs)?])
}

/// The size and the SHA-256 of a large file.
fn hash(path: &Path, progress: &mut dyn Progress) -> Result<(u64, String), Error> {
    let failed = || Error::cache("read", path);
    let mut file = fs::File::open(path).map_err(failed())?;
    let total = file.metadata().map_err(failed())?.len();
    let (mut hash, mut done, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let length = file.read(&mut buffer).map_err(failed())?;
        if length == 0 {
            return Ok((done, hex(&hash.finalize())));
        }
        hash.update(&buffer[..length]);
        done += length as u64;
        progress.bytes(done, Some(total));
    }
}

/// The packages of a recipe, those of its overlay last.
fn names(recipe: &Recipe, archive: &Archive) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for source in recipe.sources {
        names.push(match source.package {
            Package::Named(name) => name.to_owned(),
            Package::DependencyOf { meta, prefix } => archive.dependency(meta, prefix)?,
        });
    }
    let parts = recipe.overlay.map_or(&[][..], |overlay| overlay.packages);
    names.extend(parts.iter().map(|(name, _)| (*name).to_owned()));
    Ok(names)
}

/// The signature proves who wrote the index, not that it is the one asked for: a mirror may serve another
/// suite's, and Debian's keys sign several.
fn expect_debian(release: &Release, url: &str, suite: &str) -> Result<(), Error> {
    if release.origin == "Debian" && release.codename == SUITE {
        return Ok(());
    }
    Err(Error::WrongRelease {
        url: printable(url),
        suite: suite.to_owned(),
        found: printable(&format!("{} {}", release.origin, release.codename)),
        wanted: SUITE,
    })
}

/// Asks beforehand, because what apt says on a full disk does not always name the disk.
fn expect_space(path: &Path, needed: u64) -> Result<(), Error> {
    let disk = statvfs(path).map_err(|error| Error::cache("look at the disk of", path)(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < needed { Err(Error::NoSpace { path: path.to_owned(), free, needed }) } else { Ok(()) }
}

/// Builds the initramfs around a file in `out` and removes that file.
fn initramfs(out: &Path, ingredient: &str, name: &str) -> Result<FileRecord, Error> {
    let from = out.join(ingredient);
    let busybox = fs::read(&from).map_err(Error::cache("read", &from))?;
    let file = store(write_initramfs(&busybox, Vec::new()), out, name)?;
    fs::remove_file(&from).map_err(Error::cache("remove", &from))?;
    Ok(file)
}

/// Packs an overlay out of its packages, which come in its order, into `out`.
fn pack<'a>(
    overlay: &Overlay,
    debs: impl Iterator<Item = (PathBuf, &'a str)>,
    out: &Path,
    progress: &mut dyn Progress,
) -> Result<FileRecord, Error> {
    let mut packer = Packer::new(Vec::new());
    for ((path, name), (_, wanted)) in debs.zip(overlay.packages) {
        progress.step(&format!("unpacking {name}"));
        packer.add(&path, name, wanted, progress)?;
    }
    store(packer.finish(overlay), out, overlay.to)
}

/// Writes an archive that is complete.
fn store(archive: std::io::Result<Vec<u8>>, out: &Path, name: &str) -> Result<FileRecord, Error> {
    let path = out.join(name);
    let bytes = archive.map_err(Error::cache("write", &path))?;
    fs::write(&path, &bytes).map_err(Error::cache("write", &path))?;
    let (size, sha256) = (bytes.len() as u64, hex(&Sha256::digest(&bytes)));
    Ok(FileRecord { name: name.to_owned(), role: Role::Initrd, size, sha256 })
}

fn record(taken: &Taken) -> Option<FileRecord> {
    let role = taken.pick.role?;
    Some(FileRecord { name: taken.pick.to.to_owned(), role, size: taken.size, sha256: taken.sha256.clone() })
}

/// A directory name for these contents: 16 hexadecimal digits.
fn digest(files: &[FileRecord]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(format!("{} {}\n", file.sha256, file.name));
    }
    hex(&hash.finalize()).chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_said_beforehand() {
        let directory = tempfile::tempdir().unwrap();
        let line = expect_space(directory.path(), u64::MAX).unwrap_err().to_string();
        assert!(line.contains("MB free") && line.contains("XDG_CACHE_HOME"), "{line}");
        assert!(expect_space(directory.path(), 0).is_ok());
    }

    #[test]
    fn a_signed_index_of_another_release_is_refused() {
        let release = |origin: &str, codename: &str| Release {
            origin: origin.into(),
            codename: codename.into(),
            ..Release::default()
        };
        assert!(expect_debian(&release("Debian", "trixie"), "u", "stable").is_ok());
        for (origin, codename) in [("Debian", "bookworm"), ("Debian Backports", "trixie-backports"), ("", "")]
        {
            let error = expect_debian(&release(origin, codename), "u", "trixie").unwrap_err();
            assert!(error.to_string().contains("--mirror"), "{error}");
        }
    }
}
