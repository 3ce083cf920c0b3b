//! A guest that has a name: what it is made from once, and started from ever after.
//!
//! What it takes from the image cache is in its folder by a second name of the same file (a hard link), or by a copy where the
//! folder is on another file system: whatever becomes of the cache, a guest keeps the base that its disk was made on, and the
//! kernel whose modules are on it.

use crate::command::{FetchOptions, RunOptions};
use crate::description::{Description, guest_append};
use crate::disk::DiskChoice;
use crate::disk_image;
use crate::flash::loader;
use anyhow::{Context, bail};
use host_disk::{Format, OpenOptions};
use host_guest::{GuestError, Held, Home, MACHINE, Name};
use host_image::Image;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of a guest's folder.
const KERNEL: &str = "kernel";
const INITRD: &str = "initrd";
const BASE: &str = "base";
const DISK: &str = "disk.qcow2";
/// The name of the image that it was made from; empty if it was made from files.
const ORIGIN: &str = "made-from";
/// What a guest in the background says beside its console.
pub const LOG: &str = "log";

/// A named guest that is to run.
pub struct Named {
    /// Its name.
    pub name: Name,
    home: Home,
    held: Option<Held>,
    there: bool,
}

/// The image that a guest was made from; empty for none.
pub fn origin(home: &Home, name: &Name) -> String {
    let text = fs::read_to_string(home.folder(name).join(ORIGIN)).unwrap_or_default();
    text.trim().replace(char::is_control, "?")
}

/// Takes the guest that `options` name, if they name one; from then on they mean the machine that it has, if it is there.
///
/// # Errors
/// If somebody else has it, or it was made from something else.
pub fn open(options: &mut RunOptions) -> anyhow::Result<Option<Named>> {
    let Some(name) = options.name.clone() else { return Ok(None) };
    let home = Home::open()?;
    // Whoever only looks at the machine disturbs nobody.
    let held = if options.print_config { None } else { Some(home.lock(&name)?) };
    let there = home.has(&name);
    if there {
        let from = origin(&home, &name);
        if let Some(what) = options.what.as_ref().filter(|what| what.as_os_str() != from.as_str()) {
            let made = if from.is_empty() {
                "with a machine of its own".to_owned()
            } else {
                format!("made from {from}")
            };
            bail!(
                "there is a guest {name} already, {made}; leave {} out, or choose another name",
                Path::new(what).display()
            );
        }
        options.what = Some(home.folder(&name).join(MACHINE).into());
        // It has all its files: who repeats how it was made wants it, and no image.
        options.fetch = FetchOptions::default();
    }
    let files = options.kernel.is_some() || options.bios.is_some() || !options.pflash.is_empty();
    if !there && options.what.is_none() && !files {
        // A name that was mistyped makes no guest.
        bail!("there is no guest {name}; say what to make it of, as in `hostel run debian --name {name}`");
    }
    Ok(Some(Named { name, home, held, there }))
}

impl Named {
    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.home.folder(&self.name)
    }

    /// Whether it has been made.
    pub fn is_there(&self) -> bool {
        self.there
    }

    /// Makes it, of this machine, whose guest is `image`; gives the machine as it is started from now on.
    ///
    /// # Errors
    /// If its files cannot be made; then there is none of it.
    pub fn make(&self, machine: &Description, image: Option<&Image>) -> anyhow::Result<Description> {
        let held = self.held.as_ref().context("internal error: a guest is made that nobody has")?;
        if let (Some(guest), Some(_)) = (&machine.guest, loader(machine)) {
            bail!(
                "{guest} is a firmware, which a guest with a name must have as files: give --pflash or --kernel in its place"
            );
        }
        let folder = self.folder();
        let machine = self.machine(machine, image, &folder);
        self.home.make(&self.name, held, |new| -> Result<(), Making> {
            if let Some(image) = image {
                fill(new, image)?;
            }
            let origin = image.map_or("", |image| &image.manifest.name);
            write(&new.join(ORIGIN), &format!("{origin}\n"))?;
            write(&new.join(MACHINE), &machine.to_toml_in(&folder)?)?;
            Ok(())
        })?;
        Ok(machine)
    }

    /// The machine with the files of its folder in place of the image's.
    fn machine(&self, machine: &Description, image: Option<&Image>, folder: &Path) -> Description {
        let mut machine = machine.clone();
        let Some(image) = image else { return machine };
        let mut append = machine.append.take().unwrap_or_else(|| {
            let usual = guest_append(&machine, Some(image));
            // A system of its own is called by its own name.
            if image.disk().is_some() { format!("{usual} systemd.hostname={}", self.name) } else { usual }
        });
        machine.guest = None;
        machine.kernel = Some(folder.join(KERNEL));
        if machine.initrd.is_none() {
            machine.initrd = image.initrd().map(|_| folder.join(INITRD));
        }
        if image.disk().is_some() {
            let format = Some(Format::Qcow2);
            let disk = DiskChoice { file: folder.join(DISK), format, ..DiskChoice::default() };
            machine.disks.insert(0, disk);
        }
        machine.append = Some(std::mem::take(&mut append));
        machine
    }
}

/// What goes wrong while a guest is made.
struct Making(anyhow::Error);

impl From<GuestError> for Making {
    fn from(error: GuestError) -> Making {
        Making(error.into())
    }
}

impl From<anyhow::Error> for Making {
    fn from(error: anyhow::Error) -> Making {
        Making(error)
    }
}

impl From<Making> for anyhow::Error {
    fn from(Making(error): Making) -> anyhow::Error {
        error
    }
}

/// Takes what an image has into a guest's new folder, and makes its disk.
fn fill(folder: &Path, image: &Image) -> anyhow::Result<()> {
    for (file, name) in [(image.kernel(), KERNEL), (image.initrd(), INITRD), (image.disk(), BASE)] {
        if let Some(file) = file {
            take(&file, &folder.join(name))?;
        }
    }
    if image.disk().is_some() {
        let base = folder.join(BASE);
        let opened = host_disk::open(&base, &OpenOptions { read_only: true, ..OpenOptions::default() })?;
        disk_image::overlay(&folder.join(DISK), opened.disk.size(), BASE, opened.format)?;
    }
    Ok(())
}

/// Gives a file a second name, or copies it.
fn take(from: &Path, to: &Path) -> anyhow::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copied = fs::copy(from, to).and_then(|_| fs::File::open(to)?.sync_all());
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = fs::write(path, text).and_then(|()| fs::File::open(path)?.sync_all());
    written.with_context(|| format!("cannot write {}", path.display()))
}
