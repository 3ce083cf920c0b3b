//! Disks: what the user says of one, and the files behind them.

use crate::virtio_bus::DiskBus;
use anyhow::Context;
use host_disk::{Backing, Cache, Disk, Format, OpenOptions};
use serde::Deserialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Where what is written to an overlay goes, if `TMPDIR` does not say: /tmp may be memory.
const TEMPORARY: &str = "/var/tmp";

/// A disk of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskChoice {
    /// The image, or a block device.
    pub file: PathBuf,
    /// The guest cannot write.
    #[serde(default)]
    pub ro: bool,
    /// The image's format; without, its beginning tells.
    #[serde(default, deserialize_with = "format")]
    pub format: Option<Format>,
    /// What the guest writes is gone when the machine is.
    #[serde(default)]
    pub overlay: bool,
    /// Whether the host's cache is used.
    #[serde(default)]
    pub cache: CacheChoice,
    /// Files elsewhere that the image may be built on; `any` for all.
    #[serde(default)]
    pub backing: Vec<PathBuf>,
    /// What it is attached to.
    #[serde(default)]
    pub bus: Option<DiskBus>,
}

/// Whether the host's cache is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheChoice {
    /// It is.
    #[default]
    Writeback,
    /// It is not.
    None,
}

/// A disk that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DiskMistake {
    /// No file.
    #[error("the disk's file name is empty; write --disk FILE")]
    NoFile,
    /// An option that there is not.
    #[error(
        "there is no disk option {0:?}; they are ro, overlay, format=raw|qcow2, cache=writeback|none, bus=mmio|pci|sd and \
         backing=FILE; a comma in a file's name is written twice"
    )]
    Option(String),
    /// Said twice.
    #[error("the disk option {0} is given twice")]
    Twice(&'static str),
}

fn format<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Format>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Splits at commas, of which two are one that belongs to the text.
pub fn parts(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match all.last_mut() {
            _ if char == ',' && chars.peek() != Some(&',') => all.push(String::new()),
            Some(last) => {
                if char == ',' {
                    chars.next();
                }
                last.push(char);
            }
            None => {}
        }
    }
    all
}

impl FromStr for DiskChoice {
    type Err = DiskMistake;

    fn from_str(text: &str) -> Result<Self, DiskMistake> {
        let mut parts = parts(text).into_iter();
        let file = parts.next().filter(|file| !file.is_empty()).ok_or(DiskMistake::NoFile)?;
        let mut disk = DiskChoice { file: file.into(), ..DiskChoice::default() };
        let mut seen = Vec::new();
        for part in parts {
            let wrong = || DiskMistake::Option(part.clone());
            let (key, value) = part.split_once('=').map_or((part.as_str(), None), |(k, v)| (k, Some(v)));
            let key = match (key, value) {
                ("ro", None) => {
                    disk.ro = true;
                    "ro"
                }
                ("overlay", None) => {
                    disk.overlay = true;
                    "overlay"
                }
                ("format", Some(name)) => {
                    disk.format = Some(name.parse().map_err(|_| wrong())?);
                    "format"
                }
                ("cache", Some("writeback")) => "cache",
                ("cache", Some("none")) => {
                    disk.cache = CacheChoice::None;
                    "cache"
                }
                ("bus", Some(name)) => {
                    disk.bus = Some(name.parse().map_err(|_| wrong())?);
                    "bus"
                }
                ("backing", Some(file)) if !file.is_empty() => {
                    disk.backing.push(file.into());
                    continue;
                }
                _ => return Err(wrong()),
            };
            if seen.contains(&key) {
                return Err(DiskMistake::Twice(key));
            }
            seen.push(key);
        }
        Ok(disk)
    }
}

/// Whether that means every file.
fn is_any(path: &Path) -> bool {
    path.as_os_str() == "any"
}

/// What an image may be built on where the user says these files.
pub fn backing(files: &[PathBuf]) -> Backing {
    match files {
        [] => Backing::Beside,
        all if all.iter().any(|path| is_any(path)) => Backing::Any,
        all => Backing::Also(all.to_vec()),
    }
}

impl DiskChoice {
    /// The same with relative paths counted from `directory`.
    pub fn relative_to(mut self, directory: &Path) -> DiskChoice {
        self.file = directory.join(self.file);
        for path in self.backing.iter_mut().filter(|path| !is_any(path)) {
            *path = directory.join(&*path);
        }
        self
    }

    /// What is wrong with it, if anything, besides what its file is.
    pub fn problem(&self) -> Option<String> {
        let name = self.file.display();
        if self.file.as_os_str().is_empty() {
            return Some(DiskMistake::NoFile.to_string());
        }
        (self.ro && self.overlay)
            .then(|| format!("the disk {name} is read-only, so that an overlay has no effect; leave one out"))
    }

    /// Opens it.
    ///
    /// # Errors
    /// What is wrong with the file, by its name.
    pub fn open(&self) -> anyhow::Result<Arc<dyn Disk>> {
        let folder = || std::env::var_os("TMPDIR").map_or_else(|| TEMPORARY.into(), PathBuf::from);
        let options = OpenOptions {
            format: self.format,
            read_only: self.ro,
            cache: match self.cache {
                CacheChoice::Writeback => Cache::Writeback,
                CacheChoice::None => Cache::None,
            },
            backing: backing(&self.backing),
            overlay: self.overlay.then(folder),
            unlocked: false,
        };
        Ok(host_disk::open(&self.file, &options)?.disk)
    }

    /// The lines that describe it in TOML, as one of the array `key`; `path` makes text of a path.
    ///
    /// # Errors
    /// If a path cannot be written.
    pub fn to_toml(
        &self,
        key: &str,
        path: impl Fn(&Path) -> anyhow::Result<String>,
    ) -> anyhow::Result<String> {
        let DiskChoice { file, ro, format, overlay, cache, backing, bus } = self;
        let mut text = format!(
            "
[[{key}]]
file = {}
",
            path(file)?
        );
        for (key, yes) in [("ro", ro), ("overlay", overlay)] {
            if *yes {
                let _ = writeln!(text, "{key} = true");
            }
        }
        if let Some(format) = format {
            let _ = writeln!(text, "format = \"{format}\"");
        }
        if *cache == CacheChoice::None {
            text.push_str("cache = \"none\"\n");
        }
        if let Some(bus) = bus {
            let _ = writeln!(text, "bus = \"{bus}\"");
        }
        if !backing.is_empty() {
            let name = |file: &PathBuf| if is_any(file) { Ok("\"any\"".to_owned()) } else { path(file) };
            let names = backing.iter().map(name).collect::<anyhow::Result<Vec<_>>>()?;
            let _ = writeln!(text, "backing = [{}]", names.join(", "));
        }
        Ok(text)
    }
}

/// Leaves disks as ones that were closed in order.
///
/// # Errors
/// If the host cannot promise that everything written is there; each is tried.
pub fn close(disks: &[(PathBuf, Arc<dyn Disk>)]) -> anyhow::Result<()> {
    let mut all = Ok(());
    for (file, disk) in disks {
        let closed = disk.close();
        let name = file.display();
        all = all
            .and(closed.with_context(|| {
                format!("cannot finish the disk {name}: it may lack what was written last")
            }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_file_and_options() {
        let disk: DiskChoice = "a,,b.img,ro,format=raw,cache=none,backing=x,backing=any".parse().unwrap();
        let expected = DiskChoice {
            file: "a,b.img".into(),
            ro: true,
            format: Some(Format::Raw),
            overlay: false,
            cache: CacheChoice::None,
            backing: vec!["x".into(), "any".into()],
            bus: None,
        };
        assert_eq!(disk, expected);
        assert_eq!("x".parse(), Ok(DiskChoice { file: "x".into(), ..DiskChoice::default() }));
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for wrong in [
            "x,",
            "x,r",
            "x,ro=1",
            "x,format=vmdk",
            "x,format",
            "x,cache=",
            "x,backing=",
            "x,bus=isa",
            "x,bus",
        ] {
            assert!(matches!(wrong.parse::<DiskChoice>(), Err(DiskMistake::Option(_))), "{wrong}");
        }
        for wrong in ["", ",ro"] {
            assert_eq!(wrong.parse::<DiskChoice>(), Err(DiskMistake::NoFile));
        }
        assert_eq!("x,ro,ro".parse::<DiskChoice>(), Err(DiskMistake::Twice("ro")));
    }

    #[test]
    fn what_it_writes_it_reads() {
        let quoted = |path: &Path| Ok(format!("{:?}", path.display().to_string()));
        for text in [
            "/a",
            "/a,ro",
            "/a,bus=mmio",
            "/a,bus=sd",
            "/a,overlay,format=qcow2,cache=none,bus=pci,backing=/b,backing=any",
        ] {
            let disk: DiskChoice = text.parse().unwrap();
            let toml = disk.to_toml("disk", quoted).unwrap();
            #[derive(Deserialize)]
            struct File {
                disk: Vec<DiskChoice>,
            }
            assert_eq!(toml::from_str::<File>(&toml).unwrap().disk, [disk], "{toml}");
        }
    }
}
