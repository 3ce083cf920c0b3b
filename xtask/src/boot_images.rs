//! The files that guests are started from: `hostel image get` fetches them, or a folder has them.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Images by name, as `hostel image` knows them.
const NAMES: [&str; 7] =
    ["debian-busybox", "opensbi", "u-boot", "debian-cloud-amd64", "edk2", "systemd-boot", "debian-installer"];

/// How to come by the images.
#[derive(clap::Args, Debug)]
pub struct Where {
    /// Take the guests' files (vmlinux, initramfs.cpio, fw_dynamic.bin …) from this folder
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// What the archive calls Debian's release, for `hostel image get`
    #[arg(long, value_name = "NAME", conflicts_with = "images")]
    suite: Option<String>,
    /// Never use the network
    #[arg(long, conflicts_with_all = ["images", "suite"])]
    offline: bool,
}

/// Files that are there, and why others are not.
pub struct Images {
    files: Vec<PathBuf>,
    /// One line for each image that could not be had.
    pub missing: Vec<String>,
}

/// Makes sure that an image is in the cache, for a guest that is started by its name: one that takes minutes to make is not made
/// for a test.
///
/// # Errors
/// [`NoTool`](crate::boot::NoTool) if it is not.
pub fn cached(hostel: &Path, name: &'static str) -> Result<()> {
    cached_files(hostel, name).map(drop)
}

/// The same; gives its files.
///
/// # Errors
/// [`NoTool`](crate::boot::NoTool) if it is not.
pub fn cached_files(hostel: &Path, name: &'static str) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(hostel);
    command.args(["image", "get", name, "--offline"]).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", hostel.display()))?;
    if !output.status.success() {
        return Err(crate::boot::NoTool(name).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect())
}

impl Images {
    /// Gets every image, with `hostel` for what must be fetched.
    ///
    /// # Errors
    /// If `hostel` cannot be run, or the folder that was named cannot be read.
    pub fn get(hostel: &Path, places: &Where) -> Result<Images> {
        let mut images = Images { files: Vec::new(), missing: Vec::new() };
        if let Some(folder) = &places.images {
            let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
            for entry in entries {
                images.files.push(entry?.path());
            }
            return Ok(images);
        }
        for name in NAMES {
            let mut command = Command::new(hostel);
            command.args(["image", "get", name]).stdin(Stdio::null());
            if let Some(suite) = &places.suite {
                command.args(["--suite", suite]);
            }
            if places.offline {
                command.arg("--offline");
            }
            let output = command.output().with_context(|| format!("cannot run {}", hostel.display()))?;
            if output.status.success() {
                images.files.extend(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from));
            } else {
                let why = String::from_utf8_lossy(&output.stderr);
                images.missing.push(format!("{name}: {}", why.lines().last().unwrap_or("no reason given")));
            }
        }
        Ok(images)
    }

    /// The file of that name, if it could be had.
    pub fn file(&self, name: &str) -> Option<&Path> {
        self.files.iter().find(|path| path.file_name().is_some_and(|n| n == name)).map(PathBuf::as_path)
    }
}
