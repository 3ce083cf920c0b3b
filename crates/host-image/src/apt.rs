//! Drives the host's apt with a private configuration: own lists, own cache, one source, no root.
//!
//! apt does all verification: `InRelease` against the keyring, the index against `InRelease`, packages
//! against the index. So the configuration here starts from apt's built-in defaults, which are strict,
//! and not from the host's, which may have been loosened; only what is needed to reach the network
//! (proxies, certificates) is taken over from there.
use crate::catalog::Architecture;
use crate::child::{self, Finished, ask, command};
use crate::error::Error;
use crate::mirror::{loops_back, printable};
use crate::progress::Progress;
use crate::release::Release;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Seconds after which apt gives up on a connection that is not made or sends nothing.
const NETWORK_TIMEOUT_S: u32 = 15;
/// How long apt may make no progress at all: longer than its own time-outs and retries together.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where a Debian host, or one with the package debian-archive-keyring, keeps the archive's keys.
const KEYRINGS: &[&str] =
    &["/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"];
/// Where older hosts keep them, one file per key; files of third parties lie beside them.
const TRUSTED_PARTS: &str = "/etc/apt/trusted.gpg.d";

/// A package as the signed index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deb {
    pub name: String,
    pub version: String,
    /// The file's name once downloaded.
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// "SHA256:…".
    pub hash: String,
}

/// One archive, with everything apt keeps of it under a directory of ours.
#[derive(Debug)]
pub(crate) struct Archive {
    root: PathBuf,
    url: String,
    suite: String,
}

impl Archive {
    /// Writes the private configuration under `root`, an empty directory, for packages of one architecture:
    /// apt takes a foreign one's for others only if it is told of several.
    pub fn open(root: &Path, url: &str, suite: &str, architecture: Architecture) -> Result<Archive, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if suite.is_empty() || suite.starts_with('.') || !suite.chars().all(plain) {
            return Err(Error::BadSuite { suite: printable(suite) });
        }
        let text =
            root.to_str().filter(|path| !path.contains(['"', '\\']) && !path.contains(char::is_control));
        let text = text.ok_or_else(|| Error::OddCachePath { path: root.to_owned() })?;
        for directory in ["lists/partial", "cache/archives/partial", "sources", "keys", "debs"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(Error::cache("make the directory", &path))?;
        }
        let signed_by = keyring(&root.join("keys"))?;
        let source = format!("Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: main\n{signed_by}");
        write(&root.join("sources/debian.sources"), &source)?;
        write(&root.join("status"), "")?;
        let mut dump = command("apt-config");
        dump.arg("dump");
        let network = network_settings(&ask("apt-config", dump)?.stdout);
        write(&root.join("apt.conf"), &configuration(text, &network, architecture))?;
        Ok(Archive { root: root.to_owned(), url: printable(url), suite: suite.to_owned() })
    }

    /// Fetches and verifies the index.
    pub fn update(&self, progress: &mut dyn Progress) -> Result<Release, Error> {
        let mut update = self.command("apt-get");
        update.args(["-qq", "update"]);
        let lists = self.root.join("lists");
        let finished = self.run("apt-get", update, &mut || progress.bytes(size_below(&lists), None))?;
        self.succeeded("reading the index", &finished)?;
        let mut files = fs::read_dir(&lists).map_err(Error::cache("read", &lists))?.flatten();
        let path = files.find(|entry| entry.file_name().to_string_lossy().ends_with("Release"));
        let path = path.map_or_else(|| lists.join("InRelease"), |entry| entry.path());
        let bytes = fs::read(&path).map_err(Error::cache("read", &path))?;
        Ok(Release::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// The name of the package that `meta` depends on under a name that begins with `prefix`.
    pub fn dependency(&self, meta: &str, prefix: &str) -> Result<String, Error> {
        let mut show = self.command("apt-cache");
        show.args(["--no-all-versions", "show", meta]);
        let finished = ask("apt-cache", show)?;
        self.succeeded("looking a package up", &finished)?;
        dependency(&finished.stdout, prefix).ok_or_else(|| Error::Package {
            package: meta.to_owned(),
            reason: format!("depends on nothing named {prefix}…"),
        })
    }

    /// What would be downloaded for `names`, in their order.
    pub fn plan(&self, names: &[String]) -> Result<Vec<Deb>, Error> {
        let mut uris = self.command("apt-get");
        uris.args(["--print-uris", "download"]).args(names).current_dir(self.debs());
        let finished = ask("apt-get", uris)?;
        self.succeeded("looking packages up", &finished)?;
        let debs: Vec<Deb> = finished.stdout.lines().filter_map(planned).collect();
        let find = |name: &String| {
            debs.iter().find(|deb| deb.name == *name).cloned().ok_or_else(|| Error::Package {
                package: name.clone(),
                reason: format!("is not in {} at {}", self.suite, self.url),
            })
        };
        names.iter().map(find).collect()
    }

    /// Downloads and verifies the packages; each is then at [`Archive::path`].
    pub fn download(&self, debs: &[Deb], progress: &mut dyn Progress) -> Result<(), Error> {
        let total = debs.iter().map(|deb| deb.size).fold(0, u64::saturating_add);
        let mut download = self.command("apt-get");
        download.args(["-qq", "download"]).current_dir(self.debs());
        download.args(debs.iter().map(|deb| format!("{}={}", deb.name, deb.version)));
        let debs = self.debs();
        let finished = self.run("apt-get", download, &mut || {
            progress.bytes(size_below(&debs).min(total), Some(total));
        })?;
        self.succeeded("downloading packages", &finished)
    }

    /// Where a downloaded package is.
    pub fn path(&self, deb: &Deb) -> PathBuf {
        self.debs().join(&deb.file)
    }

    fn debs(&self) -> PathBuf {
        self.root.join("debs")
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = command(program);
        command.env("APT_CONFIG", self.root.join("apt.conf"));
        command
    }

    /// Runs apt, calling `tick` many times a second. The bytes below the private directory change as long as
    /// apt gets anywhere.
    fn run(
        &self,
        program: &'static str,
        command: Command,
        tick: &mut dyn FnMut(),
    ) -> Result<Finished, Error> {
        let finished = child::run(program, command, PATIENCE, || {
            tick();
            size_below(&self.root)
        })?;
        finished.ok_or_else(|| Error::Stalled { url: self.url.clone(), seconds: PATIENCE.as_secs() })
    }

    pub(crate) fn succeeded(&self, during: &'static str, finished: &Finished) -> Result<(), Error> {
        if finished.status.success() {
            return Ok(());
        }
        let (url, suite) = (self.url.clone(), self.suite.clone());
        let (fault, detail) = diagnose(&finished.stderr);
        let detail = if detail.is_empty() { finished.status.to_string() } else { detail };
        Err(match fault {
            Fault::Signature => Error::Signature { url, suite, detail },
            Fault::Mismatch => Error::Mismatch { url, suite, detail },
            Fault::DiskFull => Error::Cache {
                action: "write to",
                path: self.root.clone(),
                source: std::io::ErrorKind::StorageFull.into(),
            },
            Fault::Network => Error::Unreachable { url, suite, detail },
            Fault::Other => Error::Apt { during, detail },
        })
    }
}

/// The private apt.conf(5). `root` is quoted by the caller's promise that it holds no quote.
fn configuration(root: &str, network: &str, architecture: Architecture) -> String {
    format!(
        r#"Dir::Etc::parts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "{root}/keys";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
// Started by root, apt would drop to a user who cannot write here.
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "1";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
{network}Acquire::http::Timeout "{NETWORK_TIMEOUT_S}";
Acquire::https::Timeout "{NETWORK_TIMEOUT_S}";
"#
    )
}

/// What of the host's configuration (the output of `apt-config dump`) says how to reach the network.
fn network_settings(dump: &str) -> String {
    let wanted = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        ["acquire::http::", "acquire::https::", "acquire::forceipv", "acquire::socks"]
            .iter()
            .any(|prefix| lower.starts_with(prefix))
            && !lower.contains("::timeout ")
            && line.ends_with("\";")
    };
    dump.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

/// The proxies of this host's apt that are proxies for others too, as lines of apt.conf(5): none on the host itself,
/// which a guest does not reach, and none with a password, which is not for it.
pub(crate) fn proxies() -> Result<String, Error> {
    let mut dump = command("apt-config");
    dump.arg("dump");
    Ok(shared_proxies(&ask("apt-config", dump)?.stdout))
}

fn shared_proxies(dump: &str) -> String {
    let shared = |line: &&str| {
        let (key, value) = line.split_once(' ').unwrap_or_default();
        let key = key.to_ascii_lowercase();
        let proxy = key.contains("::proxy") && !key.contains("detect");
        proxy && value != "\"\";" && !value.contains('@') && !loops_back(value)
    };
    let settings = network_settings(dump);
    settings.lines().filter(shared).map(|line| format!("{line}\n")).collect()
}

/// The `Signed-By` line for Debian's keys, or links to them in `keys`, apt's private trust directory.
fn keyring(keys: &Path) -> Result<String, Error> {
    if let Some(keyring) = KEYRINGS.iter().find(|path| Path::new(path).is_file()) {
        return Ok(format!("Signed-By: {keyring}\n"));
    }
    let mut found = false;
    for (path, name) in trusted_parts() {
        let link = keys.join(name);
        std::os::unix::fs::symlink(path, &link).map_err(Error::cache("make the link", &link))?;
        found = true;
    }
    if found { Ok(String::new()) } else { Err(Error::NoKeyring) }
}

/// Debian's keys where older hosts keep them: paths and file names.
fn trusted_parts() -> impl Iterator<Item = (PathBuf, std::ffi::OsString)> {
    let entries = fs::read_dir(TRUSTED_PARTS).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("debian-archive-"));
    ours.map(|entry| (entry.path(), entry.file_name()))
}

/// Where this host keeps the keys that Debian's archive is signed with: a keyring, or the directory of several.
///
/// # Errors
/// [`Error::NoKeyring`] where there are none, so that no image can be fetched.
pub fn archive_keys() -> Result<PathBuf, Error> {
    if let Some(keyring) = KEYRINGS.iter().find(|path| Path::new(path).is_file()) {
        return Ok(PathBuf::from(keyring));
    }
    trusted_parts().next().map(|_| PathBuf::from(TRUSTED_PARTS)).ok_or(Error::NoKeyring)
}

/// Finds a name with `prefix` in the `Depends` field of a package's record.
fn dependency(record: &str, prefix: &str) -> Option<String> {
    let depends = record.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    let mut names = depends.split([',', '|']).filter_map(|term| term.split_whitespace().next());
    names.find(|name| name.starts_with(prefix)).map(str::to_owned)
}

/// Reads a line of `apt-get --print-uris` for packages: `'URI' NAME_VERSION_ARCH.deb SIZE HASH`.
pub(crate) fn planned(line: &str) -> Option<Deb> {
    let mut words = line.strip_prefix('\'')?.split_once("' ")?.1.split_whitespace();
    let (file, size, hash) = (words.next()?, words.next()?, words.next()?);
    if file.contains('/') || file.starts_with('.') {
        return None;
    }
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(Deb {
        name: name.to_owned(),
        // The epoch's colon is the only thing that apt escapes in a file name (and a percent sign).
        version: version.replace("%3a", ":").replace("%25", "%"),
        file: file.to_owned(),
        size: size.parse().ok()?,
        hash: hash.to_owned(),
    })
}

/// Whose fault a failure of apt's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Signature,
    Mismatch,
    DiskFull,
    Network,
    Other,
}

/// What apt's messages say, in the order in which one of them explains the others.
const SIGNS: &[(Fault, &[&str])] = &[
    (Fault::DiskFull, &["No space left on device", "Disk quota exceeded"]),
    (
        Fault::Signature,
        &[
            "GPG error",
            "signature verification",
            "BADSIG",
            "NO_PUBKEY",
            "EXPKEYSIG",
            "REVKEYSIG",
            "NOSPLIT",
            "NODATA",
            "nvalid signature",
            "learsigned file",
            "is not signed",
            "gpgv",
            "sqv",
        ],
    ),
    (
        Fault::Mismatch,
        &["Hash Sum mismatch", "unexpected size", "sync in progress", "is not valid yet", "is expired"],
    ),
    (
        Fault::Network,
        &[
            "Could not",
            "Failed to fetch",
            "timed out",
            "Unable to connect",
            "does not have a Release file",
            "Connection",
        ],
    ),
];

/// Finds the message that explains a failure.
fn diagnose(stderr: &str) -> (Fault, String) {
    let messages: Vec<&str> = stderr.lines().filter_map(|line| line.get(..3).map(|_| line)).collect();
    for (fault, signs) in SIGNS {
        let found = messages.iter().find(|line| signs.iter().any(|sign| line.contains(sign)));
        if let Some(line) = found {
            return (*fault, detail(line));
        }
    }
    let first = messages.iter().find(|line| line.starts_with("E: ")).or(messages.first());
    (Fault::Other, first.map(|line| detail(line)).unwrap_or_default())
}

fn detail(line: &str) -> String {
    printable(line.trim_start_matches(['E', 'W']).trim_start_matches(": "))
}

/// Bytes in the files below `directory`; what disappears meanwhile does not count.
fn size_below(directory: &Path) -> u64 {
    let mut size = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        size += if metadata.is_dir() { size_below(&entry.path()) } else { metadata.len() };
    }
    size
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::cache("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_found_through_its_meta_package() {
        let record = "Package: linux-image-riscv64\nProvides: linux-image-generic\n\
                      Depends: foo (>= 1) | bar, linux-image-6.12.9+deb13-riscv64 (= 6.12.9-1)\n";
        assert_eq!(dependency(record, "linux-image-").as_deref(), Some("linux-image-6.12.9+deb13-riscv64"));
        assert_eq!(dependency(record, "linux-headers-"), None);
    }

    #[test]
    fn a_planned_download_is_read() {
        let line = "'file:/m/pool/b%2bb.deb' busybox-static_1%3a1.37.0-6+b9_riscv64.deb 941532 SHA256:4add";
        let deb = planned(line).unwrap();
        assert_eq!((deb.name.as_str(), deb.version.as_str()), ("busybox-static", "1:1.37.0-6+b9"));
        assert_eq!((deb.size, deb.hash.as_str()), (941_532, "SHA256:4add"));
        assert_eq!(planned("'x' ../a_1_b.deb 1 SHA256:0"), None);
        assert_eq!(planned("WARNING"), None);
    }

    #[test]
    fn apt_is_told_of_the_images_architecture_and_no_other() {
        for (architecture, other) in [("riscv64", "amd64"), ("amd64", "riscv64")] {
            let image = [Architecture::Riscv64, Architecture::Amd64];
            let image = image.into_iter().find(|image| image.debian() == architecture).unwrap();
            let text = configuration("/r", "", image);
            assert!(text.contains(&format!("APT::Architecture \"{architecture}\";\n")), "{text}");
            assert!(text.contains(&format!("APT::Architectures {{ \"{architecture}\"; }};\n")), "{text}");
            assert!(!text.contains(other), "{text}");
        }
    }

    #[test]
    fn proxies_are_inherited_and_leniency_is_not() {
        let dump = "Acquire \"\";\nAcquire::AllowInsecureRepositories \"1\";\nAcquire::Check-Date \"false\";\n\
                    Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::http::Timeout \"600\";\n\
                    Acquire::HTTPS::Proxy::mirror.example \"DIRECT\";\nDir \"/\";\n";
        assert_eq!(
            network_settings(dump),
            "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::HTTPS::Proxy::mirror.example \"DIRECT\";\n"
        );
    }

    #[test]
    fn a_guest_gets_proxies_without_passwords_and_none_of_the_host_itself() {
        let dump = "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::https::Proxy \"http://localhost:3128\";\n\
                    Acquire::http::Proxy::a.example \"http://user:word@proxy.example\";\n\
                    Acquire::http::Proxy::c.example \"http://127.0.0.1:3128\";\nAcquire::http::Proxy::d.example \"\";\n\
                    Acquire::http::Proxy::e.example \"http://[::1]:3128\";\n\
                    Acquire::http::Proxy-Auto-Detect \"/usr/bin/x\";\nAcquire::http::Pipeline-Depth \"0\";\n\
                    Acquire::http::Proxy::b.example \"DIRECT\";\n";
        assert_eq!(
            shared_proxies(dump),
            "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::http::Proxy::b.example \"DIRECT\";\n"
        );
    }

    #[test]
    fn messages_of_apt_are_understood() {
        let check = |stderr: &str, fault, part: &str| {
            let (found, detail) = diagnose(stderr);
            assert_eq!(found, fault, "{stderr}");
            assert!(detail.contains(part), "{detail}");
        };
        check(
            "W: GPG error: file:/m trixie InRelease: The following signatures were invalid: BADSIG 00 Debian\n\
             E: The repository 'file:/m trixie InRelease' is not signed.\n",
            Fault::Signature,
            "BADSIG",
        );
        check(
            "W: OpenPGP signature verification failed: http://m trixie InRelease: Sub-process /usr/bin/sqv returned an error code (1)\n\
             E: The repository 'http://m trixie InRelease' is not signed.\n",
            Fault::Signature,
            "sqv",
        );
        check(
            "E: Failed to fetch http://m/Packages.xz  File has unexpected size (1 != 2). Mirror sync in progress?\n",
            Fault::Mismatch,
            "unexpected size",
        );
        check(
            "E: Failed to fetch file:/m/a.deb  Hash Sum mismatch\n   Hashes of expected file:\n",
            Fault::Mismatch,
            "a.deb",
        );
        check("E: Failed to fetch http://m/InRelease  Could not resolve 'm'\n", Fault::Network, "resolve");
        check(
            "E: The repository 'file:/m trixie Release' does not have a Release file.\n",
            Fault::Network,
            "Release",
        );
        check("E: Write error - write (28: No space left on device)\n", Fault::DiskFull, "space");
        check("E: Unable to locate package x\n", Fault::Other, "Unable to locate package x");
    }
}
