//! Packs parts of packages into an archive that a kernel unpacks behind an initramfs.
use crate::catalog::Overlay;
use crate::cpio::Newc;
use crate::deb::{Stop, matches, read};
use crate::error::Error;
use crate::progress::Progress;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;

/// The largest file that is believed, in bytes.
const FILE_LIMIT: u64 = 64 << 20;
/// The most that an archive may hold, in bytes.
const LIMIT: u64 = 256 << 20;

/// An archive being packed.
pub(crate) struct Packer<W: Write> {
    archive: Newc<W>,
    directories: BTreeSet<String>,
    room: u64,
}

impl<W: Write> Packer<W> {
    /// Starts an archive on `out`.
    pub fn new(out: W) -> Packer<W> {
        Packer { archive: Newc::new(out), directories: BTreeSet::new(), room: LIMIT }
    }

    /// Adds the files of the package file `deb` of the package `name` that are `wanted`.
    pub fn add(
        &mut self,
        deb: &Path,
        name: &str,
        wanted: &[&str],
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let count = read(deb, name, |archive| Ok((self.add_all(archive, wanted, progress)?, false)))?;
        if count == 0 {
            let reason = format!("has no file {}", wanted.first().unwrap_or(&""));
            return Err(Error::Package { package: name.to_owned(), reason });
        }
        Ok(())
    }

    fn add_all<R: Read>(
        &mut self,
        archive: &mut tar::Archive<R>,
        wanted: &[&str],
        progress: &mut dyn Progress,
    ) -> Result<usize, Stop> {
        let mut count = 0;
        for entry in archive.entries().map_err(Stop::Broken)? {
            let mut entry = entry.map_err(Stop::Broken)?;
            progress.bytes(entry.raw_file_position(), None);
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.strip_prefix("./").unwrap_or(&path);
            if !wanted.iter().any(|pattern| below(pattern, path)) || path.split('/').any(|part| part == "..")
            {
                continue;
            }
            let kind = entry.header().entry_type();
            if kind == tar::EntryType::Regular {
                if entry.size() > FILE_LIMIT.min(self.room) {
                    return Err(Stop::TooLarge(path.to_owned()));
                }
                self.room -= entry.size();
                let mode = entry.header().mode().map_err(Stop::Broken)? & 0o777;
                let mut data = Vec::new();
                entry.read_to_end(&mut data).map_err(Stop::Broken)?;
                self.parents(path).map_err(Stop::Broken)?;
                self.archive.file(path, mode, &data).map_err(Stop::Broken)?;
                count += 1;
            } else if kind == tar::EntryType::Symlink {
                let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
                self.parents(path).map_err(Stop::Broken)?;
                self.archive.symlink(path, &target.unwrap_or_default()).map_err(Stop::Broken)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// The kernel needs a directory before what is in it.
    fn parents(&mut self, path: &str) -> io::Result<()> {
        for (at, _) in path.match_indices('/') {
            let directory = path.get(..at).unwrap_or_default();
            if self.directories.insert(directory.to_owned()) {
                self.archive.directory(directory, 0o755)?;
            }
        }
        Ok(())
    }

    /// Adds the links of the overlay that no package has and ends the archive.
    pub fn finish(self, overlay: &Overlay) -> io::Result<W> {
        self.linked(overlay.links)?.finish()
    }

    /// Adds links, name and target, that no package has, and gives the archive for more to be added.
    pub fn linked(mut self, links: &[(&str, &str)]) -> io::Result<Newc<W>> {
        for (name, target) in links {
            self.archive.symlink(name, target)?;
        }
        Ok(self.archive)
    }
}

/// Whether `path` is what the pattern says, or below the directory that it names with a final `/`.
fn below(pattern: &str, path: &str) -> bool {
    if pattern.ends_with('/') { path.starts_with(pattern) } else { matches(pattern, path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_pattern_is_a_path_or_the_start_of_a_name_or_a_directory() {
        assert!(below("usr/lib/p/", "usr/lib/p/a/b") && !below("usr/lib/p/", "usr/lib/pq"));
        assert!(below("usr/lib/l*", "usr/lib/libm.so.6") && !below("usr/lib/l*", "usr/lib/l/x"));
        assert!(below("a", "a") && !below("a", "a/b"));
    }

    fn tar(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, data) in entries {
            let mut header = tar::Header::new_gnu();
            // By hand: the crate refuses to write the paths that must be left out.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            if *kind == tar::EntryType::Symlink {
                header.set_link_name("target").unwrap();
            }
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, *data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_and_links_come_behind_their_directories_and_nothing_else_comes() {
        use tar::EntryType::{Char, Regular, Symlink};
        let bytes = tar(&[
            ("./d/e/file", Regular, b"text"),
            ("./d/link", Symlink, b""),
            ("./d/../escape", Regular, b"no"),
            ("./d/device", Char, b""),
            ("./other", Regular, b"no"),
        ]);
        let mut packer = Packer::new(Vec::new());
        let count = packer.add_all(&mut tar::Archive::new(&*bytes), &["d/"], &mut Silent);
        assert!(matches!(count, Ok(2)));
        let overlay = Overlay { to: "x", packages: &[], links: &[("lib", "d")] };
        let out = String::from_utf8(packer.finish(&overlay).unwrap()).unwrap();
        let at = |name: &str| out.find(&format!("{name}\0"));
        let places = [at("d"), at("d/e"), at("d/e/file"), at("d/link"), at("lib")];
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
        assert!(at("escape").is_none() && at("d/device").is_none() && at("other").is_none());
        assert!(out.contains("text") && out.contains("target"));
        // A set-user-ID bit does not come along: 0o755 on a regular file.
        assert!(out.contains("000081ed") && !out.contains("000089ed"));
    }

    #[test]
    fn more_than_believable_is_refused() {
        let bytes = tar(&[("./d/file", tar::EntryType::Regular, b"0123456789")]);
        let mut packer = Packer::new(Vec::new());
        packer.room = 9;
        let count = packer.add_all(&mut tar::Archive::new(&*bytes), &["d/"], &mut Silent);
        assert!(matches!(count, Err(Stop::TooLarge(_))));
    }
}
