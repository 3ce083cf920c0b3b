//! The cache of images: looked up without a lock or the network, changed atomically under a lock.
//!
//! Layout below the cache directory, whose number is that of the layout:
//!
//! ```text
//! v1/NAME.toml             the manifest; renaming it into place is what makes an image exist
//! v1/files/NAME/DIGEST/    the files that a manifest names; DIGEST is that of their contents
//! v1/locks/NAME.lock       held (flock) by whoever makes that image
//! v1/logs/NAME.log         what the machine wrote in which that image was made, if it took one
//! v1/tmp/NAME/RANDOM/      where it is being made; leftovers are removed by the next maker
//! ```
//!
//! A reader therefore sees an old image or a new one, never half of one, and a maker that is killed at any
//! point leaves nothing that is believed.
use crate::build::{Workshop, build};
use crate::catalog::{ALIAS, Architecture, IMAGES, RECIPE, Recipe, SUITE, known_names, recipe};
use crate::deb::hex;
use crate::disk::log_path;
use crate::error::Error;
use crate::manifest::{FileRecord, Manifest, Role};
use crate::mirror::Mirror;
use crate::progress::Progress;
use crate::runner::{NoRunner, Runner};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The version of the cache's layout.
const LAYOUT: &str = "v1";
/// A manifest is a few hundred bytes; more is not one of ours.
const MANIFEST_LIMIT: u64 = 1 << 16;

/// What [`Store::get`] may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Where packages come from.
    pub mirror: Mirror,
    /// The suite to take them from: a name under `dists/` whose signed index is [`SUITE`]'s, such as its
    /// alias "stable". `None` is [`SUITE`] itself or, while a mirror's copy of that is being updated and
    /// so contradicts itself, the alias: the same signature, origin and codename are demanded of it.
    pub suite: Option<String>,
    /// Fetch even if the image is cached. If that fails, the cached image stays.
    pub refresh: bool,
    /// Never use the network; `refresh` is then ignored, so a command line should refuse the two together.
    pub offline: bool,
    /// Check the cached files' hashes, not only their sizes.
    pub check: bool,
}

/// An image that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it was made from.
    pub manifest: Manifest,
    directory: PathBuf,
}

impl Image {
    /// The kernel, if this is an image that boots.
    pub fn kernel(&self) -> Option<PathBuf> {
        self.by_role(Role::Kernel)
    }

    /// The initramfs, if it has one.
    pub fn initrd(&self) -> Option<PathBuf> {
        self.by_role(Role::Initrd)
    }

    /// The root disk, if it has one: never to be written to, since later guests start from it too.
    pub fn disk(&self) -> Option<PathBuf> {
        self.by_role(Role::Disk)
    }

    /// What the image itself wants on the kernel command line.
    pub fn append(&self) -> &str {
        &self.manifest.append
    }

    /// The path of a file by its name in the image, such as "fw_dynamic.bin".
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        let file = self.manifest.files.iter().find(|file| file.name == name)?;
        Some(self.directory.join(&file.name))
    }

    fn by_role(&self, role: Role) -> Option<PathBuf> {
        let file = self.manifest.files.iter().find(|file| file.role == role)?;
        Some(self.directory.join(&file.name))
    }

    /// In what way a file differs from the manifest; hashes are read only if `thorough`.
    fn damage(&self, thorough: bool) -> Option<String> {
        self.manifest.files.iter().find_map(|file| damage(&self.directory, file, thorough))
    }
}

/// How a known image stands in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Never fetched.
    Absent,
    /// There, with files of the right sizes.
    Cached(Box<Image>),
    /// There, but to be made again: which file, and why.
    Damaged(String),
}

/// A known image and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its name.
    pub name: &'static str,
    /// The processor that it is for.
    pub architecture: Architecture,
    /// What it is.
    pub about: &'static str,
    /// How it stands in the cache.
    pub state: State,
}

/// A cache of images on disk.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The cache in `directory`, or else in `$XDG_CACHE_HOME/hostel`, or else in `~/.cache/hostel`
    /// (XDG Base Directory Specification: a relative path in the variable is ignored). Makes nothing.
    pub fn open(directory: Option<PathBuf>) -> Result<Store, Error> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let directory = match directory {
            Some(directory) => {
                std::path::absolute(&directory).map_err(Error::cache("find the directory", &directory))?
            }
            None => absolute("XDG_CACHE_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
                .ok_or(Error::NoCacheDir)?
                .join("hostel"),
        };
        Ok(Store { directory })
    }

    /// The cache directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every known image and its state, after a look at file sizes. [`Error::Cache`] if the cache cannot be
    /// looked into.
    pub fn list(&self) -> Result<Vec<ImageInfo>, Error> {
        let info = |image: &crate::ImageName| {
            let state = self.state(image.name, false)?;
            Ok(ImageInfo { name: image.name, architecture: image.architecture, about: image.about, state })
        };
        IMAGES.iter().map(info).collect()
    }

    /// One image and its state, after reading and hashing its files.
    pub fn info(&self, name: &str) -> Result<ImageInfo, Error> {
        let image = IMAGES.iter().find(|image| image.name == name).ok_or_else(|| unknown(name))?;
        let state = self.state(name, true)?;
        Ok(ImageInfo { name: image.name, architecture: image.architecture, about: image.about, state })
    }

    /// The image if it is cached and its files have the right sizes. No lock, no network, no writing.
    pub fn get_cached(&self, name: &str) -> Result<Image, Error> {
        recipe(name).ok_or_else(|| unknown(name))?;
        match self.state(name, false)? {
            State::Cached(image) => Ok(*image),
            State::Absent => Err(Error::Absent { name: name.to_owned() }),
            State::Damaged(reason) => Err(Error::Damaged { name: name.to_owned(), reason }),
        }
    }

    /// The image, fetched and made if it is not cached. [`Error::SecondStage`] if it takes a machine to make it.
    pub fn get(&self, name: &str, options: &Options, progress: &mut dyn Progress) -> Result<Image, Error> {
        self.get_with(name, options, &mut NoRunner, progress)
    }

    /// The same, with somebody who runs machines.
    pub fn get_with(
        &self,
        name: &str,
        options: &Options,
        runner: &mut dyn Runner,
        progress: &mut dyn Progress,
    ) -> Result<Image, Error> {
        let recipe = recipe(name).ok_or_else(|| unknown(name))?;
        if !options.refresh || options.offline {
            match self.state(name, options.check)? {
                State::Cached(image) => return Ok(*image),
                State::Absent if options.offline => {
                    return Err(Error::NotCached { name: name.to_owned(), dir: self.directory.clone() });
                }
                State::Damaged(reason) if options.offline => {
                    return Err(Error::Damaged { name: name.to_owned(), reason });
                }
                State::Damaged(reason) => progress.step(&format!("{reason}: fetching {name} again")),
                State::Absent => {}
            }
        }
        let _lock = self.lock(name, progress)?;
        if !options.refresh
            && let State::Cached(image) = self.state(name, options.check)?
        {
            return Ok(*image); // made by another process while this one waited
        }
        self.make(recipe, options, runner, progress)
    }

    fn root(&self) -> PathBuf {
        self.directory.join(LAYOUT)
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.root().join(format!("{name}.toml"))
    }

    fn files(&self, name: &str) -> PathBuf {
        self.root().join("files").join(name)
    }

    fn state(&self, name: &str, thorough: bool) -> Result<State, Error> {
        let path = self.manifest_path(name);
        let text = match read_limited(&path) {
            Ok(text) => text,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound => Ok(State::Absent),
                    io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => {
                        Ok(State::Damaged(format!("its manifest cannot be read: {error}")))
                    }
                    // Nothing is known of the image: a directory above it is none, or is not for this user.
                    _ => Err(Error::cache("read", path)(error)),
                };
            }
        };
        let Some(manifest) = Manifest::parse(&text).filter(|manifest| manifest.name == name) else {
            return Ok(State::Damaged("its manifest is not one of this version".to_owned()));
        };
        if manifest.recipe != RECIPE {
            return Ok(State::Damaged("it was made by another version of Hostel".to_owned()));
        }
        let image = Image { directory: self.files(name).join(&manifest.directory), manifest };
        Ok(match image.damage(thorough) {
            Some(reason) => State::Damaged(reason),
            None => State::Cached(Box::new(image)),
        })
    }

    /// Waits for the lock of `name`; dropping the file releases it, and so does the process's end.
    fn lock(&self, name: &str, progress: &mut dyn Progress) -> Result<File, Error> {
        let locks = make_directory(&self.root().join("locks"))?;
        let path = locks.join(format!("{name}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::cache("write", &path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            progress.step(&format!("waiting for another process that is fetching {name}"));
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| Error::cache("lock", &path)(error.into()))?;
        }
        Ok(file)
    }

    /// Makes the image; the caller holds its lock.
    fn make(
        &self,
        recipe: &Recipe,
        options: &Options,
        runner: &mut dyn Runner,
        progress: &mut dyn Progress,
    ) -> Result<Image, Error> {
        let log = log_path(&self.root(), recipe.name);
        let scratch = make_directory(&self.root().join("tmp").join(recipe.name))?;
        for entry in fs::read_dir(&scratch).map_err(Error::cache("read", &scratch))?.flatten() {
            let _ = fs::remove_dir_all(entry.path());
        }
        let new_work =
            || tempfile::tempdir_in(&scratch).map_err(Error::cache("make a directory in", &scratch));
        let mut work = new_work()?;
        let suite = options.suite.as_deref().unwrap_or(SUITE);
        let mut workshop = Workshop { work: work.path(), log: &log, runner };
        let mut made = build(recipe, options, suite, &mut workshop, progress);
        if options.suite.is_none() && matches!(made, Err(Error::Mismatch { .. })) {
            progress.step(&format!(
                "the mirror is in the middle of an update of {SUITE}: trying {ALIAS}, its other name"
            ));
            work = new_work()?;
            let mut workshop = Workshop { work: work.path(), log: &log, runner };
            // The first error is the one worth telling: it names the suite that should be there.
            if let Ok(manifest) = build(recipe, options, ALIAS, &mut workshop, progress) {
                made = Ok(manifest);
            }
        }
        let manifest = made?;
        progress.step(&format!("storing {}", recipe.name));
        self.commit(manifest, &work.path().join("out"), work.path())
    }

    /// Moves the files from `out` to their place and then, as the last act, the manifest.
    fn commit(&self, manifest: Manifest, out: &Path, work: &Path) -> Result<Image, Error> {
        let before =
            read_limited(&self.manifest_path(&manifest.name)).ok().and_then(|text| Manifest::parse(&text));
        let files = self.files(&manifest.name);
        let directory = make_directory(&files.join(&manifest.directory))?;
        for file in &manifest.files {
            let (from, to) = (out.join(&file.name), directory.join(&file.name));
            sync(&from)?;
            fs::rename(&from, &to).map_err(Error::cache("write", &to))?;
        }
        sync(&directory)?;
        sync(&files)?;
        let (from, to) = (work.join("manifest"), self.manifest_path(&manifest.name));
        let text = manifest.to_toml().map_err(|error| Error::cache("write", &to)(io::Error::other(error)))?;
        fs::write(&from, text).map_err(Error::cache("write", &from))?;
        sync(&from)?;
        fs::rename(&from, &to).map_err(Error::cache("write", &to))?;
        sync(&self.root())?;
        // The image that was replaced stays for whoever has just been given its paths; older ones go.
        for entry in fs::read_dir(&files).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let kept = [Some(&manifest), before.as_ref()];
            if !kept.iter().flatten().any(|kept| name == kept.directory.as_str()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Image { manifest, directory })
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownImage { name: crate::mirror::printable(name), known: known_names() }
}

fn make_directory(path: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(path).map_err(Error::cache("make the directory", path))?;
    Ok(path.to_owned())
}

/// Has the file's or directory's contents on the disk before what follows.
fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::cache("write", path))
}

fn read_limited(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MANIFEST_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// In what way a file differs from its record.
fn damage(directory: &Path, file: &FileRecord, thorough: bool) -> Option<String> {
    let path = directory.join(&file.name);
    let name = &file.name;
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    if !metadata.is_file() || metadata.len() != file.size {
        return Some(format!("{name} has {} bytes and not {}", metadata.len(), file.size));
    }
    if thorough {
        let mut hash = Sha256::new();
        match File::open(&path).and_then(|mut file| io::copy(&mut file, &mut hash)) {
            Ok(_) if hex(&hash.finalize()) == file.sha256 => {}
            Ok(_) => return Some(format!("{name} has other contents than were stored")),
            Err(error) => return Some(format!("{name}: {error}")),
        }
    }
    None
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
