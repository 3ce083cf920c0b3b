//! Where guests are.
//!
//! ```text
//! guests/NAME/     what a guest keeps; renaming it into place is what makes it exist
//! locks/NAME       held (flock) by whoever runs it, makes it or removes it
//! guests/.new-NAME, guests/.gone-NAME   one that is being made, or removed; leftovers go with the next
//! ```

use crate::lock::look;
use crate::{GuestError, Held, Holder, Name};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A guest's machine, as a description: a folder without it is no guest.
pub const MACHINE: &str = "machine.toml";
/// Bytes of a block, as the host counts them (`st_blocks`).
const BLOCK: u64 = 512;

/// The folder of all guests.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// That of the user's: `$XDG_DATA_HOME/hostel`, or else `~/.local/share/hostel` (XDG Base Directory Specification: a relative
    /// path in the variable is ignored). Makes nothing.
    ///
    /// # Errors
    /// [`GuestError::NoHome`].
    pub fn open() -> Result<Home, GuestError> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data =
            absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        Ok(Home::at(data.ok_or(GuestError::NoHome)?.join("hostel")))
    }

    /// That in `folder`.
    pub fn at(folder: PathBuf) -> Home {
        Home(folder)
    }

    fn guests(&self) -> PathBuf {
        self.0.join("guests")
    }

    fn lock_path(&self, name: &Name) -> PathBuf {
        self.0.join("locks").join(name.as_str())
    }

    /// The folder of a guest, whether it is there or not.
    pub fn folder(&self, name: &Name) -> PathBuf {
        self.guests().join(name.as_str())
    }

    /// Whether there is that guest.
    pub fn has(&self, name: &Name) -> bool {
        self.folder(name).join(MACHINE).is_file()
    }

    /// All guests, by name.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Name>, GuestError> {
        let guests = self.guests();
        let entries = match fs::read_dir(&guests) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(GuestError::host("read", &guests)(error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut names: Vec<Name> = names.filter(|name| self.has(name)).collect();
        names.sort();
        Ok(names)
    }

    /// Takes the lock of a guest, which need not be there yet.
    ///
    /// # Errors
    /// [`GuestError::InUse`] if somebody has it.
    pub fn lock(&self, name: &Name) -> Result<Held, GuestError> {
        private(&self.0.join("locks"))?;
        Held::take(&self.lock_path(name), name)
    }

    /// Whether somebody has a guest, and who.
    ///
    /// # Errors
    /// If the lock cannot be looked at.
    pub fn holder(&self, name: &Name) -> Result<Option<Option<Holder>>, GuestError> {
        look(&self.lock_path(name))
    }

    /// Makes a guest whose folder `fill` fills; the caller holds its lock. It is there whole or not at all.
    ///
    /// # Errors
    /// What `fill` says, or the host.
    pub fn make<E: From<GuestError>>(
        &self,
        name: &Name,
        _held: &Held,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        private(&self.guests())?;
        let new = self.guests().join(format!(".new-{name}"));
        clear(&new)?;
        private(&new)?;
        let filled = fill(&new);
        let folder = self.folder(name);
        let placed = filled.and_then(|()| {
            sync(&new)?;
            fs::rename(&new, &folder).map_err(GuestError::host("make", &folder))?;
            Ok(sync(&self.guests())?)
        });
        if placed.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        placed.map(|()| folder)
    }

    /// Removes a guest that nobody has, whose folder it gives away: there is no other copy of what is in it.
    ///
    /// # Errors
    /// [`GuestError::Absent`], [`GuestError::InUse`], or what the host says.
    pub fn remove(&self, name: &Name) -> Result<(), GuestError> {
        if !self.has(name) {
            return Err(GuestError::Absent(name.clone()));
        }
        let held = self.lock(name)?;
        let (folder, gone) = (self.folder(name), self.guests().join(format!(".gone-{name}")));
        clear(&gone)?;
        fs::rename(&folder, &gone).map_err(GuestError::host("remove", &folder))?;
        clear(&gone)?;
        held.discard()
    }

    /// Bytes of the host's disk that a guest takes for itself. A file that is elsewhere as well, such as the base of its disk in the
    /// image cache, is not counted.
    pub fn disk_use(&self, name: &Name) -> u64 {
        let files = fs::read_dir(self.folder(name)).into_iter().flatten().flatten();
        let own = files.filter_map(|entry| entry.metadata().ok()).filter(|file| file.nlink() == 1);
        own.map(|file| file.blocks().saturating_mul(BLOCK)).sum()
    }
}

/// Makes a folder that is nobody else's business.
fn private(path: &Path) -> Result<(), GuestError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(GuestError::host("make the folder", path))
}

fn clear(path: &Path) -> Result<(), GuestError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(GuestError::host("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), GuestError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(GuestError::host("write", path))
}
