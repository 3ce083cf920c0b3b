//! A file or block device of the host as a medium.

use crate::Medium;
use crate::disk::locked;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support_hostmap::{Pieces, read_at, release_byte, write_at};

/// Whether data goes through the host's page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// It does: writes are done when they are in the cache, and stable when they were flushed.
    #[default]
    Writeback,
    /// It does not, where addresses and lengths allow that (`O_DIRECT`). An image's tables do.
    None,
}

/// What `O_DIRECT` wants addresses, lengths and offsets to be multiples of: no device has larger sectors.
const DIRECT_ALIGN: u64 = 4096;
/// A write that waits longer makes the next ones go elsewhere.
const PATIENCE: Duration = Duration::from_millis(1);
/// How many do.
const PENANCE: u32 = 64;
/// A write to the page cache that is longer is not made by who must not wait.
const SHORT: usize = 256 << 10;

/// A file or block device.
#[derive(Debug)]
pub struct HostFile {
    file: Arc<File>,
    /// The same file, opened with `O_DIRECT`.
    direct: Option<Arc<File>>,
    block: bool,
    /// Whether nobody needs what is in it after a power cut.
    fleeting: bool,
    /// Bytes that are locked, to be released in the end.
    pub(crate) guarded: Mutex<Vec<u64>>,
    /// Whether the file system knows `RWF_NOWAIT`, for reads and for writes.
    nowait: [AtomicBool; 2],
    /// How many of the next writes are not tried in place.
    penance: AtomicU32,
}

impl HostFile {
    /// Opens what is at `path`.
    ///
    /// # Errors
    /// What the host says; `InvalidInput` for what is neither a file nor a block device.
    pub fn open(path: &Path, write: bool, cache: Cache) -> io::Result<Self> {
        // Without O_NONBLOCK, opening a FIFO would wait for its other end.
        let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32;
        let file = File::options().read(true).write(write).custom_flags(flags).open(path)?;
        HostFile::new(file, write, cache)
    }

    /// Makes a new file of no bytes; fails if there is one.
    ///
    /// # Errors
    /// What the host says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        HostFile::new(file, true, Cache::Writeback)
    }

    /// A new file in `folder` that has no name, and is gone when it is closed. Syncing it does nothing.
    ///
    /// # Errors
    /// What the host says.
    pub fn nameless(folder: &Path) -> io::Result<Self> {
        let flags = (OFlags::TMPFILE | OFlags::CLOEXEC).bits() as i32;
        let file = File::options().read(true).write(true).custom_flags(flags).open(folder)?;
        let mut file = HostFile::new(file, true, Cache::Writeback)?;
        file.fleeting = true;
        Ok(file)
    }

    /// A file that is already open for reading, and for writing if `write`.
    ///
    /// # Errors
    /// As for [`HostFile::open`].
    pub fn new(file: File, write: bool, cache: Cache) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        let block = kind.is_block_device();
        if !block && !kind.is_file() {
            let message = "it is neither a file nor a block device";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let direct = match cache {
            Cache::Writeback => None,
            Cache::None => Some(Arc::new(reopen_direct(&file, write)?)),
        };
        let nowait = [AtomicBool::new(true), AtomicBool::new(true)];
        Ok(HostFile {
            file: Arc::new(file),
            direct,
            block,
            fleeting: false,
            guarded: Mutex::default(),
            nowait,
            penance: AtomicU32::new(0),
        })
    }

    /// The open file, for locks and for what is asked of it.
    pub fn as_file(&self) -> &Arc<File> {
        &self.file
    }

    /// The file that a transfer goes through: with `O_DIRECT` what is aligned for it. The kernel keeps both coherent:
    /// direct writes drop what is cached of their range, direct reads write it back first.
    fn through(&self, at: u64, pieces: &Pieces) -> &Arc<File> {
        match &self.direct {
            Some(direct) if at.is_multiple_of(DIRECT_ALIGN) && pieces.is_aligned(DIRECT_ALIGN as usize) => {
                direct
            }
            _ => &self.file,
        }
    }

    /// Transfers without waiting what can be: `None` if any of it cannot.
    fn try_transfer(
        &self,
        way: usize,
        transfer: impl FnOnce() -> io::Result<usize>,
        len: usize,
    ) -> Option<io::Result<()>> {
        let known = self.nowait.get(way)?;
        if !known.load(Ordering::Relaxed) {
            return None;
        }
        match transfer() {
            Ok(count) if count == len => Some(Ok(())),
            // Some of it would wait, or the end came: the caller does all of it again, which changes nothing.
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                known.store(false, Ordering::Relaxed);
                None
            }
            // EAGAIN, or an error that the way that may wait will meet again.
            Err(_) => None,
        }
    }
}

impl Drop for HostFile {
    /// Locks would end with the last copy of the descriptor; but a process that was just forked may have one until it execs.
    fn drop(&mut self) {
        for byte in std::mem::take(&mut *locked(&self.guarded)) {
            let _ = release_byte(&self.file, byte);
        }
    }
}

/// The same file with `O_DIRECT`; by its descriptor, as its name may be another file's by now.
fn reopen_direct(file: &File, write: bool) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = (OFlags::DIRECT | OFlags::CLOEXEC).bits() as i32;
    File::options().read(true).write(write).custom_flags(flags).open(name).map_err(|error| {
        match error.kind() {
            io::ErrorKind::InvalidInput => io::Error::new(
                io::ErrorKind::Unsupported,
                "its file system has no way around the page cache; leave out cache=none",
            ),
            _ => error,
        }
    })
}

impl Medium for HostFile {
    fn len(&self) -> io::Result<u64> {
        // A block device's metadata has no length; seeking to its end tells it.
        if self.block {
            Ok(rustix::fs::seek(&self.file, SeekFrom::End(0))?)
        } else {
            Ok(self.file.metadata()?.len())
        }
    }

    fn read_bytes(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at.saturating_add(done as u64)) {
                Ok(0) => {
                    rest.fill(0);
                    break;
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_bytes(&self, at: u64, from: &[u8]) -> io::Result<()> {
        self.file.write_all_at(from, at)
    }

    fn read(&self, at: u64, into: &Pieces) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = into.slice(done..into.len()).filter(|rest| !rest.is_empty()) {
            let at = at.saturating_add(done as u64);
            match read_at(self.through(at, &rest), at, &rest, false)? {
                0 => return rest.fill(0, rest.len(), 0).ok_or(io::ErrorKind::InvalidInput.into()),
                count => done += count,
            }
        }
        Ok(())
    }

    fn write(&self, at: u64, from: &Pieces) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = from.slice(done..from.len()).filter(|rest| !rest.is_empty()) {
            let at = at.saturating_add(done as u64);
            match write_at(self.through(at, &rest), at, &rest, false)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => done += count,
            }
        }
        Ok(())
    }

    fn try_read(&self, at: u64, into: &Pieces) -> Option<io::Result<()>> {
        self.try_transfer(0, || read_at(self.through(at, into), at, into, true), into.len())
    }

    /// Where the file system cannot say whether a write to the page cache would wait (few can), a short one is simply made:
    /// it is a copy, and waits only when too much in the cache is not written yet. Once one did wait, others go the long way
    /// for a while.
    fn try_write(&self, at: u64, from: &Pieces) -> Option<io::Result<()>> {
        let through = self.through(at, from);
        if let Some(done) = self.try_transfer(1, || write_at(through, at, from, true), from.len()) {
            return Some(done);
        }
        let direct = self.direct.as_ref().is_some_and(|direct| Arc::ptr_eq(direct, through));
        let known = self.nowait.get(1).is_some_and(|known| known.load(Ordering::Relaxed));
        if known || direct || from.len() > SHORT {
            return None;
        }
        let waited = self.penance.load(Ordering::Relaxed);
        if waited > 0 {
            self.penance.store(waited - 1, Ordering::Relaxed);
            return None;
        }
        let begin = Instant::now();
        let result = self.write(at, from);
        if begin.elapsed() > PATIENCE {
            self.penance.store(PENANCE, Ordering::Relaxed);
        }
        Some(result)
    }

    fn file(&self, at: u64, len: u64) -> Option<Arc<File>> {
        // Whether addresses are aligned for O_DIRECT is not known here.
        let _ = (at, len);
        self.direct.is_none().then(|| Arc::clone(&self.file))
    }

    fn zero(&self, at: u64, len: u64, unmap: bool) -> io::Result<bool> {
        if len == 0 {
            return Ok(true);
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let zero = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        let ways: &[FallocateFlags] = if unmap { &[punch, zero] } else { &[zero] };
        for way in ways {
            match rustix::fs::fallocate(&self.file, *way, at, len) {
                Ok(()) => return Ok(true),
                // What is behind the end of a file is zero already, but KEEP_SIZE does not move the end; that is the caller's.
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL | rustix::io::Errno::NODEV) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.block {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a block device has the size it has"));
        }
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.fleeting { Ok(()) } else { self.file.sync_data() }
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) => Ok(Some(data)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            Err(rustix::io::Errno::INVAL) => Ok((at < self.len()?).then_some(at)),
            Err(error) => Err(error.into()),
        }
    }

    fn next_hole(&self, at: u64) -> io::Result<u64> {
        match rustix::fs::seek(&self.file, SeekFrom::Hole(at)) {
            Ok(hole) => Ok(hole),
            Err(rustix::io::Errno::NXIO | rustix::io::Errno::INVAL) => self.len(),
            Err(error) => Err(error.into()),
        }
    }
}
