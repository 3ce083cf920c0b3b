//! Takes single files out of a Debian package, with `dpkg-deb` to open it and `tar` to read it.
//!
//! Nothing is extracted by a path out of the package: the caller names what it wants and where it goes.
use crate::catalog::Pick;
use crate::child::{command, start};
use crate::error::Error;
use crate::progress::Progress;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdout, Stdio};

/// The most that is read of an unpacked package, in bytes.
const PACKAGE_LIMIT: u64 = 4 << 30;
/// dpkg-deb's messages are short; this bounds what is kept of them.
const MESSAGE_LIMIT: u64 = 4096;

/// A file that was taken out.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub pick: Pick,
    /// In bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Takes `picks` out of the package file `deb` of the package `name`, into the directory `out`.
pub(crate) fn take(
    deb: &Path,
    name: &str,
    picks: &[Pick],
    out: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<Taken>, Error> {
    let read = read(deb, name, |archive| {
        let taken = pick_files(archive, picks, out, progress)?;
        // Once all are there, the rest of the package need not be unpacked.
        let early = taken.len() == picks.len();
        Ok((taken, early))
    })?;
    match picks.iter().find(|pick| !read.iter().any(|taken| taken.pick.to == pick.to)) {
        None => Ok(read),
        Some(pick) => Err(Error::Package {
            package: name.to_owned(),
            reason: format!("has no file {}", pick.paths.first().unwrap_or(&"")),
        }),
    }
}

/// The unpacked contents of a package.
pub(crate) type Contents = tar::Archive<std::io::Take<ChildStdout>>;

/// Has `reader` read the files of the package file `deb` of the package `name`. It says whether it stopped before the
/// end.
pub(crate) fn read<T: Default>(
    deb: &Path,
    name: &str,
    reader: impl FnOnce(&mut Contents) -> Result<(T, bool), Stop>,
) -> Result<T, Error> {
    read_part("--fsys-tarfile", deb, name, reader)
}

/// The same for what the package says of itself: its control file, its scripts (deb(5)).
pub(crate) fn read_control<T: Default>(
    deb: &Path,
    name: &str,
    reader: impl FnOnce(&mut Contents) -> Result<(T, bool), Stop>,
) -> Result<T, Error> {
    read_part("--ctrl-tarfile", deb, name, reader)
}

/// Has `reader` read one of a package's two archives, which dpkg-deb(1) unpacks for this option.
fn read_part<T: Default>(
    option: &str,
    deb: &Path,
    name: &str,
    reader: impl FnOnce(&mut Contents) -> Result<(T, bool), Stop>,
) -> Result<T, Error> {
    let wrong = |reason: String| Error::Package { package: name.to_owned(), reason };
    let mut unpack = command("dpkg-deb");
    unpack.arg(option).arg(deb).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = start("dpkg-deb", unpack)?;
    let Some(stdout) = running.child.stdout.take() else {
        return Err(wrong("cannot be unpacked (no pipe)".to_owned()));
    };
    let mut archive = tar::Archive::new(stdout.take(PACKAGE_LIMIT));
    let mut broken = String::new();
    let read = match reader(&mut archive) {
        // Dropping `running` ends it.
        Ok((read, true)) => return Ok(read),
        Ok((read, false)) => read,
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::TooLarge(path)) => {
            return Err(wrong(format!("has a {path} that is larger than believable")));
        }
        Err(Stop::Broken(error)) => {
            broken = error.to_string();
            T::default()
        }
    };
    // Behind the end of the archive there may be padding, and a writer that is not read from would be ended by it.
    let _ = std::io::copy(&mut archive.into_inner(), &mut std::io::sink());
    let mut message = String::new();
    if let Some(stderr) = running.child.stderr.take() {
        let _ = stderr.take(MESSAGE_LIMIT).read_to_string(&mut message);
    }
    let status = running.wait().map_err(Error::cache("unpack", deb))?;
    if !status.success() {
        return Err(wrong(format!("cannot be unpacked ({})", crate::mirror::printable(&message))));
    }
    if !broken.is_empty() {
        return Err(wrong(format!("cannot be unpacked ({broken})")));
    }
    Ok(read)
}

/// Why reading a package ended early.
pub(crate) enum Stop {
    /// What was read could not be kept.
    Error(Error),
    /// This file of the package is larger than believable.
    TooLarge(String),
    /// The package cannot be read.
    Broken(std::io::Error),
}

fn pick_files<R: Read>(
    archive: &mut tar::Archive<R>,
    picks: &[Pick],
    out: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<Taken>, Stop> {
    let mut found: Vec<Taken> = Vec::new();
    for entry in archive.entries().map_err(Stop::Broken)? {
        let mut entry = entry.map_err(Stop::Broken)?;
        progress.bytes(entry.raw_file_position(), None);
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        let pick = picks.iter().find(|pick| pick.paths.iter().any(|pattern| matches(pattern, path)));
        let Some(pick) = pick.filter(|pick| !found.iter().any(|taken| taken.pick.to == pick.to)) else {
            continue;
        };
        if entry.size() > pick.limit {
            return Err(Stop::TooLarge(path.to_owned()));
        }
        found.push(copy(&mut entry, pick, out)?);
        if found.len() == picks.len() {
            break;
        }
    }
    Ok(found)
}

/// Copies one file and hashes it on the way.
fn copy(from: &mut impl Read, pick: &Pick, out: &Path) -> Result<Taken, Stop> {
    let path = out.join(pick.to);
    let mut file = File::create(&path).map_err(|error| Stop::Error(Error::cache("write", &path)(error)))?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 16]);
    loop {
        let length = from.read(&mut buffer).map_err(Stop::Broken)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        file.write_all(&buffer[..length])
            .map_err(|error| Stop::Error(Error::cache("write", &path)(error)))?;
        size += length as u64;
    }
    Ok(Taken { pick: *pick, size, sha256: hex(&hash.finalize()) })
}

/// Whether `path` is `pattern`, in which a final `*` stands for the rest of a file name.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.strip_prefix(start).is_some_and(|rest| !rest.contains('/')),
        None => pattern == path,
    }
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    const PICK: Pick = Pick { paths: &["boot/vmlinux-*"], to: "vmlinux", role: None, limit: 10 };

    fn entry(tar: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, data: &[u8]) {
        let mut header = tar::Header::new_gnu();
        // Written by hand, since the crate refuses to write the paths that a test of refusals needs.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.append(&header, data).unwrap();
    }

    fn picked(tar: tar::Builder<Vec<u8>>) -> (Result<Vec<Taken>, Stop>, tempfile::TempDir) {
        let out = tempfile::tempdir().unwrap();
        let bytes = tar.into_inner().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        (pick_files(&mut archive, &[PICK], out.path(), &mut Silent), out)
    }

    #[test]
    fn only_the_file_that_was_asked_for_is_taken() {
        let mut tar = tar::Builder::new(Vec::new());
        entry(&mut tar, tar::EntryType::Regular, "../../escape", b"no");
        entry(&mut tar, tar::EntryType::Symlink, "./boot/vmlinux-link", b"");
        entry(&mut tar, tar::EntryType::Regular, "./boot/vmlinux-6/x", b"no");
        entry(&mut tar, tar::EntryType::Regular, "./boot/vmlinux-6.12", b"abc");
        let (taken, out) = picked(tar);
        let taken = taken.unwrap_or_default();
        assert_eq!(taken.len(), 1);
        // FIPS 180-2, appendix B.1: SHA-256 of "abc".
        assert_eq!(taken[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(std::fs::read(out.path().join("vmlinux")).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_beyond_its_limit_is_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        entry(&mut tar, tar::EntryType::Regular, "./boot/vmlinux-6.12", b"0123456789a");
        assert!(matches!(picked(tar).0, Err(Stop::TooLarge(_))));
    }
}
