//! Opens images by name: their format, their locks, the files they are built on.

use crate::{
    Access, Cache, Disk, DiskError, Guard, GuardError, Header, HostFile, Medium, NewQcow2, Qcow2, Qcow2Error,
    Raw,
};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// How a disk is kept in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        })
    }
}

/// A format that is not known here.
#[derive(Debug, thiserror::Error)]
#[error("the formats are raw and qcow2")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "raw" => Ok(Format::Raw),
            "qcow2" => Ok(Format::Qcow2),
            _ => Err(UnknownFormat),
        }
    }
}

/// Which files an image may name as what it is built on. The image may come from anywhere, so by itself it may name little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// Files in the image's own folder and below it.
    #[default]
    Beside,
    /// These files too.
    Also(Vec<PathBuf>),
    /// Any file.
    Any,
}

/// How to open an image.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Its format; `None`: a look at its beginning tells.
    pub format: Option<Format>,
    /// Whether it is only read.
    pub read_only: bool,
    /// The host's page cache.
    pub cache: Cache,
    /// Which backing files are opened.
    pub backing: Backing,
    /// A folder: the image is only read, and what is written goes to a file there that has no name and ends with the disk.
    pub overlay: Option<PathBuf>,
    /// Does without locks, for looking at an image that is in use; what is read may be torn.
    pub unlocked: bool,
}

/// An open image.
#[derive(Debug)]
pub struct Opened {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The image's format.
    pub format: Format,
    /// The image and what it is built on, in order.
    pub files: Vec<PathBuf>,
}

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host.
    #[error("cannot open {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the host says.
        error: io::Error,
    },
    /// Somebody else uses it.
    #[error(transparent)]
    InUse(#[from] GuardError),
    /// Its contents.
    #[error("cannot open {}: {error}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Qcow2Error,
    },
    /// It names a file that it may not.
    #[error(
        "{} is built on the file {name:?}, which is not below its folder; an image may come from anywhere and name any file, so \
         say backing=FILE (or backing=any) if that is meant", path.display()
    )]
    Forbidden {
        /// The image.
        path: PathBuf,
        /// What it names.
        name: String,
    },
    /// It names something else than a file.
    #[error("{} is built on {name:?}, which is not the name of a file", path.display())]
    NoFile {
        /// The image.
        path: PathBuf,
        /// What it names.
        name: String,
    },
    /// It says that its backing file has a format we do not have.
    #[error("{} is built on a file of format {format:?}, which is not supported", path.display())]
    Format {
        /// The image.
        path: PathBuf,
        /// The format.
        format: String,
    },
    /// It is built on itself.
    #[error("{} is built on itself, by way of its backing files", path.display())]
    Loop {
        /// The file that comes twice.
        path: PathBuf,
    },
    /// It is built on too many.
    #[error("{} is built on more than {MOST_FILES} files", path.display())]
    Long {
        /// The image.
        path: PathBuf,
    },
}

/// Files of a chain.
const MOST_FILES: usize = 64;

fn failed(path: &Path, error: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), error }
}

/// Opens an image and what it is built on.
///
/// # Errors
/// As [`OpenError`] says; then nothing stays open or locked.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    let base_only = options.read_only || options.overlay.is_some();
    let mut chain = Chain { options, files: Vec::new(), seen: Vec::new() };
    let (disk, format) = chain.open(path, options.format, base_only)?;
    let files = chain.files;
    let disk = match &options.overlay {
        Some(folder) if !options.read_only => overlay(disk, folder)?,
        _ => disk,
    };
    Ok(Opened { disk, format, files })
}

/// The format that a file's beginning tells.
///
/// # Errors
/// What the host says.
pub fn probe(medium: &dyn Medium) -> io::Result<Format> {
    let mut magic = [0; 4];
    medium.read_bytes(0, &mut magic)?;
    Ok(if magic == crate::qcow2_header::MAGIC { Format::Qcow2 } else { Format::Raw })
}

struct Chain<'o> {
    options: &'o OpenOptions,
    files: Vec<PathBuf>,
    /// Device and number of each file.
    seen: Vec<(u64, u64)>,
}

impl Chain<'_> {
    fn open(
        &mut self,
        path: &Path,
        format: Option<Format>,
        read_only: bool,
    ) -> Result<(Arc<dyn Disk>, Format), OpenError> {
        if self.files.len() >= MOST_FILES {
            return Err(OpenError::Long { path: path.to_owned() });
        }
        let file =
            HostFile::open(path, !read_only, self.options.cache).map_err(|error| failed(path, error))?;
        let data = file.as_file().metadata().map_err(|error| failed(path, error))?;
        if self.seen.contains(&(data.dev(), data.ino())) {
            return Err(OpenError::Loop { path: path.to_owned() });
        }
        self.seen.push((data.dev(), data.ino()));
        self.files.push(path.to_owned());
        if !self.options.unlocked {
            Guard::new(&file, path, if read_only { Access::Read } else { Access::Write })?;
        }
        let medium: Arc<dyn Medium> = Arc::new(file);
        let found = match format {
            Some(format) => format,
            None => probe(&*medium).map_err(|error| failed(path, error))?,
        };
        let disk: Arc<dyn Disk> = match found {
            Format::Raw => {
                let error =
                    |error: DiskError| OpenError::Image { path: path.to_owned(), error: error.into() };
                let raw = Raw::new(medium, read_only).map_err(error)?;
                if format.is_none() { Arc::new(raw.guarded()) } else { Arc::new(raw) }
            }
            Format::Qcow2 => self.qcow2(path, medium, read_only)?,
        };
        Ok((disk, found))
    }

    fn qcow2(
        &mut self,
        path: &Path,
        medium: Arc<dyn Medium>,
        read_only: bool,
    ) -> Result<Arc<dyn Disk>, OpenError> {
        let wrong = |error: Qcow2Error| OpenError::Image { path: path.to_owned(), error };
        let header = Header::read(&*medium).map_err(|error| wrong(error.into()))?;
        let backing = match &header.backing {
            None => None,
            Some(name) => {
                let file = backing_path(path, name, &self.options.backing)?;
                let format = match header.backing_format.as_deref() {
                    None => None,
                    // What QEMU calls a raw image on a host's block device.
                    Some("host_device" | "file") => Some(Format::Raw),
                    Some(text) => Some(text.parse().map_err(|_| {
                        // The image's words go to a terminal.
                        let format = text.chars().take(40).collect();
                        OpenError::Format { path: path.to_owned(), format }
                    })?),
                };
                Some(self.open(&file, format, true)?.0)
            }
        };
        Ok(Arc::new(Qcow2::open(medium, header, backing, read_only).map_err(wrong)?))
    }
}

/// The file that an image means by the name of its backing file, if it may be opened.
///
/// # Errors
/// If it may not, is no file's name, or is not there.
pub fn backing_path(image: &Path, name: &str, allowed: &Backing) -> Result<PathBuf, OpenError> {
    let path = image.to_owned();
    let name_owned = name.to_owned();
    // QEMU's own names for what is not a plain file: json:{…}, nbd:…, and so on.
    if name.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err(OpenError::NoFile { path, name: name_owned });
    }
    let folder = match image.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let file = folder.join(name);
    if *allowed == Backing::Any {
        return Ok(file);
    }
    let forbidden = || OpenError::Forbidden { path: path.clone(), name: name_owned.clone() };
    if let Backing::Also(files) = allowed {
        let same =
            |other: &PathBuf| matches!((file.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if files.iter().any(same) {
            return Ok(file);
        }
    }
    // Whether a forbidden file exists is nothing that an image should find out.
    let home = folder.canonicalize().map_err(|error| failed(folder, error))?;
    let real = match file.canonicalize() {
        Ok(real) => real,
        Err(error) if Path::new(name).is_relative() && !name.split('/').any(|part| part == "..") => {
            return Err(failed(&file, error));
        }
        Err(_) => return Err(forbidden()),
    };
    if real.starts_with(&home) { Ok(real) } else { Err(forbidden()) }
}

/// A disk that keeps what is written in a file without a name in `folder`.
fn overlay(base: Arc<dyn Disk>, folder: &Path) -> Result<Arc<dyn Disk>, OpenError> {
    let io = |error| failed(folder, error);
    let wrong = |error: Qcow2Error| OpenError::Image { path: folder.to_owned(), error };
    let medium = Arc::new(HostFile::nameless(folder).map_err(io)?);
    let size = base.size();
    let header = NewQcow2::new(size).create(&*medium).map_err(|error| wrong(error.into()))?;
    let disk = Qcow2::open(medium, header, Some(base), false).map_err(wrong)?;
    Ok(Arc::new(disk))
}
