//! What a guest has open, by numbers that are never used twice.

use crate::listing::Listing;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open regular file.
#[derive(Debug)]
pub struct OpenFile {
    /// The file, opened as the guest asked.
    pub descriptor: OwnedFd,
    /// The node that it is.
    pub node: u64,
    /// Whether it may be written through this opening.
    pub writable: bool,
}

/// An open folder.
#[derive(Debug)]
pub struct OpenFolder {
    /// The node that it is.
    pub node: u64,
    /// The folder, and how far it has been listed.
    pub listing: Mutex<Listing>,
}

#[derive(Debug, Clone)]
enum Open {
    File(Arc<OpenFile>),
    Folder(Arc<OpenFolder>),
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Open>,
    folders: usize,
    last: u64,
}

/// The most folders that are open: each may have a piece of its listing waiting.
const MOST_FOLDERS: usize = 2048;

/// All that a guest has open.
#[derive(Debug)]
pub struct Handles {
    table: Mutex<Table>,
    most: usize,
}

impl Handles {
    /// Nothing is open; at most so many will be.
    pub fn new(most: usize) -> Self {
        Handles { table: Mutex::default(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A map with a number beside it: whole at any time.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more may be opened.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn room(&self) -> Result<(), Errno> {
        if self.lock().open.len() < self.most { Ok(()) } else { Err(Errno::NFILE) }
    }

    fn add(&self, what: Open) -> Result<u64, Errno> {
        let mut table = self.lock();
        let is_folder = matches!(what, Open::Folder(_));
        if table.open.len() >= self.most || (is_folder && table.folders >= MOST_FOLDERS) {
            return Err(Errno::NFILE);
        }
        table.folders += usize::from(is_folder);
        table.last += 1;
        let number = table.last;
        table.open.insert(number, what);
        Ok(number)
    }

    /// Adds a file; returns its number.
    ///
    /// # Errors
    /// `ENFILE` if the guest has too many open.
    pub fn add_file(&self, file: OpenFile) -> Result<u64, Errno> {
        self.add(Open::File(Arc::new(file)))
    }

    /// Adds a folder; returns its number.
    ///
    /// # Errors
    /// `ENFILE` if the guest has too many open.
    pub fn add_folder(&self, folder: OpenFolder) -> Result<u64, Errno> {
        self.add(Open::Folder(Arc::new(folder)))
    }

    /// The open file of that number, if it is one of that node.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn file(&self, number: u64, node: u64) -> Result<Arc<OpenFile>, Errno> {
        match self.lock().open.get(&number) {
            Some(Open::File(file)) if file.node == node => Ok(Arc::clone(file)),
            _ => Err(Errno::BADF),
        }
    }

    /// The open folder of that number, if it is one of that node.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn folder(&self, number: u64, node: u64) -> Result<Arc<OpenFolder>, Errno> {
        match self.lock().open.get(&number) {
            Some(Open::Folder(folder)) if folder.node == node => Ok(Arc::clone(folder)),
            _ => Err(Errno::BADF),
        }
    }

    /// Closes a file or folder of that node; requests that are under way with it still finish.
    ///
    /// # Errors
    /// `EBADF` if there is none, or no more.
    pub fn close(&self, number: u64, node: u64) -> Result<(), Errno> {
        let mut table = self.lock();
        let open = table.open.remove(&number).ok_or(Errno::BADF)?;
        let its = match &open {
            Open::File(file) => file.node,
            Open::Folder(folder) => folder.node,
        };
        if its != node {
            table.open.insert(number, open);
            return Err(Errno::BADF);
        }
        table.folders -= usize::from(matches!(open, Open::Folder(_)));
        drop(table);
        drop(open);
        Ok(())
    }

    /// Closes everything.
    pub fn clear(&self) {
        let mut table = self.lock();
        let open = std::mem::take(&mut table.open);
        table.folders = 0;
        drop(table);
        drop(open);
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.lock().open.len()
    }
}
