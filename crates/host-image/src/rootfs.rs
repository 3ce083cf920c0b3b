//! Merges packages into one tar archive: a whole system, for a guest that unpacks it onto its disk.
//!
//! The archive is plain tar with GNU's long names, which the `tar` of busybox reads; owners are numbers, as Debian's
//! packages have them.
use crate::deb::{Stop, read};
use crate::error::Error;
use crate::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::Path;

/// The most that a system may hold, in bytes.
const LIMIT: u64 = 8 << 30;
/// Top-level names that are links into `/usr` (Debian policy, 9.1: merged /usr). A package that still has files below
/// one of them has them where the link leads.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64"];
/// dpkg's ending of a configuration file that is not in its place yet.
const NEW: &str = ".dpkg-new";

/// Files that are left out, though dpkg lists them: what `path-exclude` of dpkg.cfg(5) does.
pub(crate) struct Excluded<'a> {
    /// Everything below these directories, which end with `/`, …
    pub below: &'a [&'a str],
    /// … but these.
    pub except: &'a [&'a str],
}

impl Excluded<'_> {
    fn has(&self, path: &str) -> bool {
        let below = |directory: &&str| path.starts_with(directory) && path.len() > directory.len();
        self.below.iter().any(below) && !self.except.contains(&path)
    }
}

/// A system being merged.
pub(crate) struct Tree<W: Write> {
    tar: tar::Builder<W>,
    /// What is there: path, and whether it is a directory.
    seen: BTreeMap<String, bool>,
    room: u64,
    /// Seconds since 1970, for what no package dates.
    time: u64,
}

/// What an entry of a package becomes.
struct Entry {
    path: String,
    kind: tar::EntryType,
    link: Option<String>,
    header: tar::Header,
}

impl<W: Write> Tree<W> {
    /// Starts an archive on `out`, which should be buffered. `time`, in seconds since 1970, is when it is made.
    pub fn new(out: W, time: u64) -> Tree<W> {
        Tree { tar: tar::Builder::new(out), seen: BTreeMap::new(), room: LIMIT, time }
    }

    /// Adds the files of the package file `deb` of the package `name` and gives dpkg's list of them. Those among
    /// `conffiles` get the name that they have until the package is configured.
    pub fn add_package(
        &mut self,
        deb: &Path,
        name: &str,
        conffiles: &[String],
        excluded: &Excluded<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<String>, Error> {
        let conffiles: BTreeSet<&str> = conffiles.iter().filter_map(|path| path.strip_prefix('/')).collect();
        let mut clash = None;
        let list = read(deb, name, |archive| {
            let mut list = Vec::new();
            for entry in archive.entries().map_err(Stop::Broken)? {
                let mut entry = entry.map_err(Stop::Broken)?;
                progress.bytes(entry.raw_file_position(), None);
                let path = plain(&entry.path_bytes());
                list.push(if path.is_empty() { "/.".to_owned() } else { format!("/{path}") });
                if path.is_empty() || excluded.has(&path) {
                    continue;
                }
                let kind = entry.header().entry_type();
                let link = entry.link_name_bytes().map(|name| name.into_owned());
                let link = link.map(|name| match kind {
                    tar::EntryType::Link => merged(&plain(&name), false),
                    _ => String::from_utf8_lossy(&name).into_owned(),
                });
                let to = if conffiles.contains(path.as_str()) { format!("{path}{NEW}") } else { path };
                let header = entry.header().clone();
                let what = Entry { path: merged(&to, kind == tar::EntryType::Directory), kind, link, header };
                if !self.add(&what, &mut entry)? {
                    clash = Some(what.path);
                    return Ok((list, true));
                }
            }
            Ok((list, false))
        })?;
        match clash {
            None => Ok(list),
            Some(path) => {
                let reason = format!("has a file /{path} that another package of the system has");
                Err(Error::Package { package: name.to_owned(), reason })
            }
        }
    }

    /// Adds one entry; `false` if there is something in its place already.
    fn add(&mut self, entry: &Entry, data: &mut impl Read) -> Result<bool, Stop> {
        let Entry { path, kind, link, header: from } = entry;
        let directory = *kind == tar::EntryType::Directory;
        if let Some(there) = self.seen.get(path) {
            // Directories are shared; the first package's mode stands.
            return Ok(*there && directory);
        }
        let size = if *kind == tar::EntryType::Regular { from.size().map_err(Stop::Broken)? } else { 0 };
        self.room = self.room.checked_sub(size).ok_or_else(|| Stop::TooLarge(path.clone()))?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(from.mode().map_err(Stop::Broken)? & 0o7777);
        header.set_uid(from.uid().map_err(Stop::Broken)?);
        header.set_gid(from.gid().map_err(Stop::Broken)?);
        header.set_mtime(from.mtime().map_err(Stop::Broken)?);
        header.set_size(size);
        self.parents(path).map_err(Stop::Broken)?;
        let written = match (kind, link) {
            (tar::EntryType::Regular | tar::EntryType::Directory, _) => {
                self.tar.append_data(&mut header, path, data.take(size))
            }
            (tar::EntryType::Symlink | tar::EntryType::Link, Some(link)) => {
                self.tar.append_link(&mut header, path, link)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("/{path} is a special file"))),
        };
        written.map_err(Stop::Broken)?;
        // A link may lead to a directory, and another package may have that directory under the link's name.
        self.seen.insert(path.clone(), directory || *kind == tar::EntryType::Symlink);
        Ok(true)
    }

    /// Adds a file of no package. An earlier one in its place is unpacked first and lost.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        let mut header = self.header(tar::EntryType::Regular, mode);
        header.set_size(data.len() as u64);
        self.seen.insert(path.to_owned(), false);
        self.tar.append_data(&mut header, path, data)
    }

    /// Adds a symbolic link of no package.
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parents(path)?;
        let mut header = self.header(tar::EntryType::Symlink, 0o777);
        self.seen.insert(path.to_owned(), false);
        self.tar.append_link(&mut header, path, target)
    }

    /// Adds the directories above `path` that no package has.
    fn parents(&mut self, path: &str) -> io::Result<()> {
        for (at, _) in path.match_indices('/') {
            let directory = path.get(..at).unwrap_or_default();
            if !self.seen.contains_key(directory) {
                let mut header = self.header(tar::EntryType::Directory, 0o755);
                self.tar.append_data(&mut header, directory, io::empty())?;
                self.seen.insert(directory.to_owned(), true);
            }
        }
        Ok(())
    }

    fn header(&self, kind: tar::EntryType, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(self.time);
        header.set_size(0);
        header
    }

    /// Ends the archive.
    pub fn finish(self) -> io::Result<W> {
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok(out)
    }
}

/// A path of a package without its `./` and final `/`; empty for the root.
fn plain(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/');
    if path == "." { String::new() } else { path.to_owned() }
}

/// Where the links of a merged /usr put a path. The links themselves are files of a package, and stay.
fn merged(path: &str, directory: bool) -> String {
    let first = match path.split_once('/') {
        Some((first, _)) => first,
        None if directory => path,
        None => return path.to_owned(),
    };
    if MERGED.contains(&first) { format!("usr/{path}") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use std::path::PathBuf;
    use std::process::Command;

    /// A package file made of this directory's contents by dpkg-deb(1).
    fn package(directory: &Path, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
        let root = directory.join(name);
        std::fs::create_dir_all(root.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.example>\nDescription: x\n"
        );
        std::fs::write(root.join("DEBIAN/control"), control).unwrap();
        fill(&root);
        let deb = directory.join(format!("{name}.deb"));
        let build =
            Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(&root).arg(&deb).output();
        assert!(build.unwrap().status.success());
        deb
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    const NONE: Excluded<'static> = Excluded { below: &[], except: &[] };

    /// The names in an archive with their kinds, and the links' targets.
    fn names(archive: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let link = entry.link_name().unwrap().map(|link| format!(" -> {}", link.display()));
            names.push(format!("{path}{}", link.unwrap_or_default()));
        }
        names
    }

    #[test]
    fn packages_share_directories_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let long = format!("usr/share/{}/", "long".repeat(40));
        let first = package(scratch.path(), "first", |root| {
            write(root, "etc/a.conf", "new");
            write(root, "usr/bin/a", "elf");
            std::os::unix::fs::symlink("a", root.join("usr/bin/link")).unwrap();
            std::fs::hard_link(root.join("usr/bin/a"), root.join("usr/bin/hard")).unwrap();
            write(root, &format!("{long}file"), "deep");
        });
        let second = package(scratch.path(), "second", |root| {
            write(root, "bin/b", "elf");
            std::os::unix::fs::symlink("usr/lib", root.join("lib")).unwrap();
            write(root, "usr/share/locale/de/a.mo", "no");
            write(root, "usr/share/locale/alias", "yes");
        });
        let third = package(scratch.path(), "third", |root| write(root, "usr/bin/a", "another"));
        let mut tree = Tree::new(Vec::new(), 0);
        let conffiles = ["/etc/a.conf".to_owned()];
        let list = tree.add_package(&first, "first", &conffiles, &NONE, &mut Silent).unwrap();
        assert_eq!(list.first().map(String::as_str), Some("/."));
        assert!(
            list.contains(&"/etc/a.conf".to_owned()) && list.contains(&format!("/{long}file")),
            "{list:?}"
        );
        let excluded = Excluded { below: &["usr/share/locale/"], except: &["usr/share/locale/alias"] };
        let list = tree.add_package(&second, "second", &[], &excluded, &mut Silent).unwrap();
        assert!(
            list.contains(&"/usr/share/locale/de/a.mo".to_owned()),
            "dpkg lists what is left out: {list:?}"
        );
        assert!(list.contains(&"/bin/b".to_owned()), "{list:?}");
        let error = tree.add_package(&third, "third", &[], &NONE, &mut Silent).unwrap_err().to_string();
        assert!(error.contains("third") && error.contains("/usr/bin/a"), "{error}");
        let names = names(&tree.finish().unwrap());
        for wanted in [
            "etc/a.conf.dpkg-new",
            "usr/bin/a",
            "usr/bin/link -> a",
            "usr/bin/b",
            "lib -> usr/lib",
            "usr/share/locale/alias",
        ] {
            assert_eq!(names.iter().filter(|name| *name == wanted).count(), 1, "{wanted} in {names:?}");
        }
        // Which of two names is the link is up to the packer.
        assert!(
            names.iter().any(|name| name == "usr/bin/hard" || name == "usr/bin/hard -> usr/bin/a"),
            "{names:?}"
        );
        assert!(names.contains(&format!("{long}file")));
        assert_eq!(names.iter().filter(|name| name.trim_end_matches('/') == "usr").count(), 1, "{names:?}");
        assert!(!names.iter().any(|name| name.contains("/de") || name.starts_with("bin")), "{names:?}");
    }

    #[test]
    fn what_no_package_has_comes_behind_its_directories() {
        let mut tree = Tree::new(Vec::new(), 7);
        tree.file("a/b/c", 0o755, b"x").unwrap();
        tree.symlink("a/l", "/dev/null").unwrap();
        let bytes = tree.finish().unwrap();
        assert_eq!(names(&bytes), ["a", "a/b", "a/b/c", "a/l -> /dev/null"]);
        let mut archive = tar::Archive::new(&*bytes);
        let file = archive.entries().unwrap().nth(2).unwrap().unwrap();
        assert_eq!((file.header().mode().unwrap(), file.header().mtime().unwrap()), (0o755, 7));
    }

    #[test]
    fn a_system_beyond_its_limit_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let deb = package(scratch.path(), "big", |root| write(root, "usr/big", "0123456789"));
        let mut tree = Tree::new(Vec::new(), 0);
        tree.room = 9;
        let error = tree.add_package(&deb, "big", &[], &NONE, &mut Silent).unwrap_err().to_string();
        assert!(error.contains("usr/big") && error.contains("larger than believable"), "{error}");
    }
}
