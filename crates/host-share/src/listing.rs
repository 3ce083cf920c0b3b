//! Listing a folder in pieces, as the guest's buffers take them.
//!
//! A position is the host's own cookie of the entry that follows (getdents(2), `d_off`), so that a guest may go on
//! anywhere, also after entries have come and gone. What the host returned and the guest's buffer did not take is kept for
//! the next piece.

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, RawDir, SeekFrom};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::mem::MaybeUninit;

/// How much is asked of the host at a time, in bytes.
const PIECE: usize = 16 << 10;

/// An entry of a folder.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Inode on the host.
    pub inode: u64,
    /// The position behind it.
    pub next: u64,
    /// What it is, as far as the host's file system says in a listing.
    pub kind: FileType,
    /// Its name; `.` and `..` among them.
    pub name: Vec<u8>,
}

impl Entry {
    /// What it is, as listings say: the kind's bits of a mode, moved down (`DT_*` of dirent.h); 0 if that is not known.
    pub fn kind_number(&self) -> u8 {
        match self.kind {
            FileType::Unknown => 0,
            kind => (kind.as_raw_mode() >> 12) as u8,
        }
    }
}

/// An open folder that is being listed.
#[derive(Debug)]
pub struct Listing {
    descriptor: OwnedFd,
    ahead: VecDeque<Entry>,
    /// The position of the first entry in `ahead`, or where the host goes on if there is none.
    position: u64,
}

impl Listing {
    /// Of a folder opened for reading, not listed yet.
    pub fn new(descriptor: OwnedFd) -> Self {
        Listing { descriptor, ahead: VecDeque::new(), position: 0 }
    }

    /// The open folder.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// The entry at that position, which stays the next one until [`Listing::advance`]; none at the end.
    ///
    /// # Errors
    /// What getdents(2) and lseek(2) say: `EINVAL` for a position that the host's file system cannot have.
    pub fn peek(&mut self, position: u64) -> Result<Option<Entry>, Errno> {
        if position != self.position {
            self.ahead.clear();
            rustix::fs::seek(&self.descriptor, SeekFrom::Start(position))?;
            self.position = position;
        }
        if self.ahead.is_empty() {
            self.fill()?;
        }
        Ok(self.ahead.front().cloned())
    }

    /// Goes behind the entry that [`Listing::peek`] returned last.
    pub fn advance(&mut self) {
        if let Some(entry) = self.ahead.pop_front() {
            self.position = entry.next;
        }
    }

    fn fill(&mut self) -> Result<(), Errno> {
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); PIECE];
        let mut entries = RawDir::new(&self.descriptor, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            self.ahead.push_back(Entry {
                inode: entry.ino(),
                next: entry.next_entry_cookie(),
                kind: entry.file_type(),
                name: entry.file_name().to_bytes().to_vec(),
            });
            if entries.is_buffer_empty() {
                break;
            }
        }
        Ok(())
    }
}
