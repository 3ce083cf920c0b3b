//! Qcow2 images as disks: clusters that come into being when they are written, over a backing file.
//!
//! Source: "Qcow2 Image File Format" (docs/interop/qcow2.txt of QEMU). Data is transferred without any lock; one lock covers the
//! tables ([`Meta`]). A cluster that moves is marked busy meanwhile, and a cluster that was left is used again only when nobody can
//! still be reading or writing it (leases). How tables get into the file is [`crate::qcow2_commit`]'s.

use crate::disk::{check_range, locked};
use crate::qcow2_commit::{Batch, commit, unmark};
use crate::qcow2_header::{BITMAPS, CORRUPT, Header, HeaderError};
use crate::qcow2_meta::{Lease, Meta, Place};
use crate::qcow2_write::Turn;
use crate::{Disk, DiskError, Medium, Plan, SECTOR, Span};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use support_hostmap::Pieces;

/// The cluster that was decompressed last: its entry's offset, and its bytes.
type Unpacked = Option<(u64, Arc<Vec<u8>>)>;

/// An open qcow2 image.
#[derive(Debug)]
pub struct Qcow2 {
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) backing: Option<Arc<dyn Disk>>,
    pub(crate) read_only: bool,
    pub(crate) size: AtomicU64,
    pub(crate) meta: Mutex<Meta>,
    /// Told when a cluster is not busy any more.
    pub(crate) idle: Condvar,
    pending: Mutex<Option<Batch>>,
    unpacked: Mutex<Unpacked>,
}

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Error {
    /// Its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Its tables.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It says of itself that it is corrupt.
    #[error(
        "the image is marked corrupt: it can only be read, until `hostel image check --repair` has found nothing left to repair"
    )]
    MarkedCorrupt,
    /// Others rely on knowing each change.
    #[error(
        "the image has persistent dirty bitmaps, which writing here would make wrong; remove them \
         (qemu-img bitmap --remove) or open the image read-only"
    )]
    Bitmaps,
}

impl Qcow2 {
    /// Opens an image whose header was read, over the disk that it names as its backing file.
    ///
    /// # Errors
    /// If the tables are wrong, or it must not be written.
    pub fn open(
        medium: Arc<dyn Medium>,
        header: Header,
        backing: Option<Arc<dyn Disk>>,
        read_only: bool,
    ) -> Result<Self, Qcow2Error> {
        let mut header = header;
        if !read_only {
            if header.incompatible & CORRUPT != 0 {
                return Err(Qcow2Error::MarkedCorrupt);
            }
            if header.bitmaps.is_some() && header.autoclear & BITMAPS != 0 {
                return Err(Qcow2Error::Bitmaps);
            }
            if header.autoclear != 0 {
                // "Software that does not know a feature must clear its bit" before it writes.
                medium.write_bytes(88, &0_u64.to_be_bytes()).map_err(DiskError::Io)?;
                header.autoclear = 0;
            }
            header = crate::qcow2_repair::recover(&*medium, header)?;
        }
        let size = header.size.next_multiple_of(SECTOR);
        let meta = Meta::load(&*medium, header, !read_only)?;
        Ok(Qcow2 {
            medium,
            backing,
            read_only,
            size: AtomicU64::new(size),
            meta: Mutex::new(meta),
            idle: Condvar::new(),
            pending: Mutex::new(None),
            unpacked: Mutex::new(None),
        })
    }

    /// Brings data and tables to stable storage.
    pub(crate) fn commit(&self) -> Result<(), DiskError> {
        *locked(&self.unpacked) = None;
        commit(&*self.medium, &self.meta, &self.pending)
    }

    /// Finds a run of guest bytes, reading tables if it must.
    fn find(&self, at: u64, want: u64) -> Result<(Place, u64, Lease), DiskError> {
        let mut meta = locked(&self.meta);
        let found = meta.find(&*self.medium, at, want, true)?;
        let (place, len) = found.ok_or(DiskError::Broken)?;
        Ok((place, len, Arc::clone(&meta.lease)))
    }

    /// Reads guest bytes; the range was checked.
    pub(crate) fn read_range(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        let mut done = 0;
        while done < into.len() {
            let here = at + done as u64;
            let (place, len, _lease) = self.find(here, (into.len() - done) as u64)?;
            let end = done + (len as usize).clamp(1, into.len() - done);
            let part = into.slice(done..end).ok_or(DiskError::Broken)?;
            match place {
                Place::Data(offset) => self.medium.read(offset, &part)?,
                Place::Zero => zero(&part)?,
                Place::Hole => self.read_backing(here, &part)?,
                Place::Packed(offset, len) => self.read_packed(here, (offset, len), &part)?,
            }
            done = end;
        }
        Ok(())
    }

    fn read_backing(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        let Some(backing) = &self.backing else { return zero(into) };
        let there = backing.size().saturating_sub(at).min(into.len() as u64) as usize;
        if there > 0 {
            backing.read(at, &into.slice(0..there).ok_or(DiskError::Broken)?)?;
        }
        into.fill(there, into.len() - there, 0).ok_or(DiskError::Broken)
    }

    fn read_packed(&self, at: u64, (offset, len): (u64, u64), into: &Pieces) -> Result<(), DiskError> {
        let geometry = locked(&self.meta).geometry();
        let known =
            locked(&self.unpacked).as_ref().filter(|(of, _)| *of == offset).map(|(_, b)| Arc::clone(b));
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                let mut packed = vec![0; len as usize];
                self.medium.read_bytes(offset, &mut packed)?;
                let bytes =
                    crate::qcow2_packed::unpack(&packed, geometry.cluster() as usize, geometry.compression);
                let what = "a compressed cluster cannot be decompressed";
                let bytes = Arc::new(bytes.ok_or(DiskError::Corrupt { what, offset })?);
                *locked(&self.unpacked) = Some((offset, Arc::clone(&bytes)));
                bytes
            }
        };
        let within = (at & (geometry.cluster() - 1)) as usize;
        let part = bytes.get(within..within + into.len()).ok_or(DiskError::Broken)?;
        into.copy_in(0, part).ok_or(DiskError::Broken)
    }

    /// The tables, for who must not wait.
    fn try_meta(&self) -> Option<MutexGuard<'_, Meta>> {
        match self.meta.try_lock() {
            Ok(meta) => Some(meta),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Where these guest bytes are in the file, if they are in one run, and it is known without waiting. For writing, that is
    /// only what may be written there.
    fn known(&self, write: bool, at: u64, len: u64) -> Option<(u64, Lease)> {
        let mut meta = self.try_meta()?;
        if write {
            let Turn::InPlace { offset, len: here, lease } = self.turn(&mut meta, at, len, false).ok()??
            else {
                return None;
            };
            return (here == len).then_some((offset, lease));
        }
        match meta.find(&*self.medium, at, len, false).ok()?? {
            (Place::Data(offset), here) if here == len => Some((offset, Arc::clone(&meta.lease))),
            _ => None,
        }
    }

    /// What is known of at most `want` bytes from `at` on.
    pub(crate) fn span_of(&self, at: u64, want: u64) -> Result<Span, DiskError> {
        let left = self.size().saturating_sub(at).min(want);
        if left == 0 {
            return Ok(Span { len: 0, zero: true });
        }
        let (place, len, _lease) = self.find(at, left)?;
        Ok(match (place, &self.backing) {
            (Place::Zero, _) | (Place::Hole, None) => Span { len, zero: true },
            (Place::Hole, Some(backing)) => match backing.size().saturating_sub(at) {
                0 => Span { len, zero: true },
                there => {
                    let span = backing.span(at)?;
                    Span { len: span.len.min(len).min(there).max(1), zero: span.zero }
                }
            },
            _ => Span { len, zero: false },
        })
    }

    pub(crate) fn writable(&self, at: u64, len: u64) -> Result<(), DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        check_range(at, len, self.size())
    }

    /// Waits until a cluster may not be busy any more.
    pub(crate) fn wait_idle<'m>(&self, meta: MutexGuard<'m, Meta>) -> MutexGuard<'m, Meta> {
        self.idle.wait(meta).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets all of `into` to zero.
fn zero(into: &Pieces) -> Result<(), DiskError> {
    into.fill(0, into.len(), 0).ok_or(DiskError::Broken)
}

impl Disk for Qcow2 {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        check_range(at, into.len() as u64, self.size())?;
        self.read_range(at, into)
    }

    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        self.writable(at, from.len() as u64)?;
        self.write_range(at, from)
    }

    fn try_read(&self, at: u64, into: &Pieces) -> Option<Result<(), DiskError>> {
        if let Err(error) = check_range(at, into.len() as u64, self.size()) {
            return Some(Err(error));
        }
        let (offset, _lease) = self.known(false, at, into.len() as u64)?;
        Some(self.medium.try_read(offset, into)?.map_err(DiskError::Io))
    }

    fn try_write(&self, at: u64, from: &Pieces) -> Option<Result<(), DiskError>> {
        if let Err(error) = self.writable(at, from.len() as u64) {
            return Some(Err(error));
        }
        let (offset, _lease) = self.known(true, at, from.len() as u64)?;
        Some(self.medium.try_write(offset, from)?.map_err(DiskError::Io))
    }

    fn plan(&self, write: bool, at: u64, len: u64) -> Option<Plan> {
        check_range(at, len, self.size()).ok()?;
        if write && self.read_only {
            return None;
        }
        let (offset, lease) = self.known(write, at, len)?;
        let file = self.medium.file(offset, len)?;
        Some(Plan { file, offset, lease: Some(lease) })
    }

    fn flush(&self) -> Result<(), DiskError> {
        if self.read_only { Ok(()) } else { self.commit() }
    }

    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError> {
        self.writable(at, len)?;
        self.discard_range(at, len)
    }

    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError> {
        self.writable(at, len)?;
        self.zero_range(at, len, may_unmap)
    }

    fn resize(&self, size: u64) -> Result<(), DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        crate::qcow2_resize::resize(self, size)
    }

    fn span(&self, at: u64) -> Result<Span, DiskError> {
        self.span_of(at, u64::MAX)
    }

    fn close(&self) -> Result<(), DiskError> {
        if self.read_only {
            return Ok(());
        }
        self.commit()?;
        // What the first one freed is only now to be written.
        while locked(&self.meta).is_dirty() {
            self.commit()?;
        }
        unmark(&*self.medium, &self.meta, &self.pending)
    }
}

impl Drop for Qcow2 {
    fn drop(&mut self) {
        // There is nobody left to tell; who wants to know calls `close`.
        let _ = self.close();
    }
}
