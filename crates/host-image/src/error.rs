//! What can go wrong with a guest image; each message is one line that says what to do.
use crate::catalog::{ALIAS, SUITE};
use std::io;
use std::path::PathBuf;

/// An error of the image store. `Display` is one line for the user, with the remedy in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image of that name is known.
    #[error("there is no guest image \"{name}\"; known images: {known}")]
    UnknownImage {
        /// The name that was asked for.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// The image is not cached and the caller forbade the network.
    #[error(
        "guest image \"{name}\" is not in the cache ({}) and may not be fetched offline: \
         run `hostel image get {name}` once while online, or name files of your own with --kernel and --initrd",
        dir.display()
    )]
    NotCached {
        /// The image.
        name: String,
        /// The cache directory that was looked in.
        dir: PathBuf,
    },
    /// The image is not cached, and the caller only looked.
    #[error("{name} is not in the cache; `hostel image get {name}` fetches it")]
    Absent {
        /// The image.
        name: String,
    },
    /// The cached copy is damaged, and the caller forbade the network or only looked.
    #[error(
        "{name} in the cache is damaged ({reason}); `hostel image get {name} --refresh` fetches it anew, while online"
    )]
    Damaged {
        /// The image.
        name: String,
        /// Which file, and in what way.
        reason: String,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` names a place for the cache.
    #[error("there is no place for the image cache: set HOME or XDG_CACHE_HOME to an absolute path")]
    NoCacheDir,
    /// The cache's path cannot be written into an apt configuration file.
    #[error(
        "the cache path {} contains a quote or a control character, which apt's configuration cannot hold: \
         set XDG_CACHE_HOME to a plainer path",
        path.display()
    )]
    OddCachePath {
        /// The path.
        path: PathBuf,
    },
    /// A file operation in the cache failed.
    #[error("cannot {action} {}: {source}; {}", path.display(), advice(source))]
    Cache {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// There is too little room for what is about to be fetched.
    #[error(
        "{} has {} MB free and fetching needs {} MB for a while: free some, or set XDG_CACHE_HOME to a directory \
         on another disk",
        path.display(), free / 1_000_000, needed.div_ceil(1_000_000)
    )]
    NoSpace {
        /// The cache.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// A program that every Debian host has is missing here.
    #[error(
        "cannot run {program} ({source}): guest images are fetched and unpacked with apt and dpkg, which this \
         host does not seem to have; name files of your own with --kernel and --initrd"
    )]
    NoProgram {
        /// The program.
        program: &'static str,
        /// Why it could not be started.
        source: io::Error,
    },
    /// The host's apt names no mirror of Debian's archive.
    #[error("apt on this host names no mirror of the Debian archive: name one with --mirror URL")]
    NoDebianMirror,
    /// The mirror's URL is not one that can be handed to apt.
    #[error(
        "\"{url}\" is no archive URL ({reason}): --mirror wants something like http://HOST/debian or file:///DIRECTORY"
    )]
    BadMirror {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The suite's name is not one that can be handed to apt.
    #[error("\"{suite}\" is no name of an archive suite: --suite wants something like {SUITE} or {ALIAS}")]
    BadSuite {
        /// The suite as given.
        suite: String,
    },
    /// The host has no keyring to check Debian's signatures with.
    #[error("this host has no keyring for the Debian archive: install the package debian-archive-keyring")]
    NoKeyring,
    /// The archive's signature did not verify.
    #[error(
        "the signature of {suite} at {url} does not verify ({detail}): nothing was taken from there; try another \
         mirror with --mirror URL, or update the package debian-archive-keyring"
    )]
    Signature {
        /// The mirror.
        url: String,
        /// The suite.
        suite: String,
        /// What apt said.
        detail: String,
    },
    /// Files on the mirror differ from what its signed index says.
    #[error(
        "{url} serves files that do not match its signed index of {suite} ({detail}): nothing was taken from \
         there; a mirror in the middle of an update does this, so try later or another one with --mirror URL"
    )]
    Mismatch {
        /// The mirror.
        url: String,
        /// The suite.
        suite: String,
        /// What apt said.
        detail: String,
    },
    /// The mirror could not be reached or has no such suite.
    #[error(
        "cannot fetch {suite} from {url} ({detail}): check {}the network, or try another mirror with --mirror URL",
        if suite == SUITE { "" } else { "what --suite names, and " }
    )]
    Unreachable {
        /// The mirror.
        url: String,
        /// The suite.
        suite: String,
        /// What apt said.
        detail: String,
    },
    /// The mirror stopped sending.
    #[error("{url} has sent nothing for {seconds} s: try again later, or another mirror with --mirror URL")]
    Stalled {
        /// The mirror.
        url: String,
        /// How long nothing came.
        seconds: u64,
    },
    /// The signed index is of another release than the images are made from.
    #[error(
        "{suite} at {url} is {found}, not Debian's {wanted}: {}try another mirror with --mirror URL",
        if suite == SUITE { "" } else { "leave --suite out, or " }
    )]
    WrongRelease {
        /// The mirror.
        url: String,
        /// The suite.
        suite: String,
        /// What the signed index calls itself.
        found: String,
        /// What it had to be.
        wanted: &'static str,
    },
    /// apt failed in a way that has no variant of its own.
    #[error("apt failed while {during}: {detail}")]
    Apt {
        /// What was being done.
        during: &'static str,
        /// What apt said.
        detail: String,
    },
    /// The machine in which an image is finished failed.
    #[error(
        "the root disk cannot be made; {reason}: the machine's words are in {}{}", log.display(), indented(last)
    )]
    SecondStage {
        /// In which step, and why.
        reason: String,
        /// The last lines that the machine wrote.
        last: Vec<String>,
        /// Where everything is that it wrote.
        log: PathBuf,
    },
    /// A package is not what it should be.
    #[error("the package {package} {reason}: this version of Hostel does not know its layout")]
    Package {
        /// The package.
        package: String,
        /// In what way it differs.
        reason: String,
    },
}

impl Error {
    /// Wraps an I/O error; `action` is the verb of the sentence "cannot … PATH".
    pub(crate) fn cache(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Cache { action, path, source }
    }
}

/// Lines of a log, each on a line of its own.
fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  | {line}")).collect()
}

/// The remedy that belongs to an I/O error in the cache.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space there, or set XDG_CACHE_HOME to a directory on another disk"
        }
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory => "set XDG_CACHE_HOME to a directory that you can write",
        _ => "the image cache is there; XDG_CACHE_HOME moves it",
    }
}
