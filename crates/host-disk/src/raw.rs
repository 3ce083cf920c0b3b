//! Raw images: the disk is the file, byte for byte.

use crate::disk::{check_range, locked};
use crate::{Disk, DiskError, Medium, Plan, SECTOR, Span};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support_hostmap::Pieces;

/// A raw image.
#[derive(Debug)]
pub struct Raw {
    medium: Arc<dyn Medium>,
    size: AtomicU64,
    read_only: bool,
    /// Whether nothing may be written to its beginning that looks like another format.
    guarded: bool,
    /// Held while a guarded beginning is looked at and written.
    begin: Mutex<()>,
    /// Whether a sync failed, so that nobody knows what the file has.
    broken: AtomicBool,
}

/// What the formats that a reader might guess begin with.
const MAGICS: [&[u8]; 4] = [b"QFI\xfb", b"KDMV", b"COWD", b"vhdxfile"];

impl Raw {
    /// All of `medium` as a disk. A length that is no multiple of a sector is rounded up: the rest reads as zeroes.
    ///
    /// # Errors
    /// What the host says of the length.
    pub fn new(medium: Arc<dyn Medium>, read_only: bool) -> Result<Self, DiskError> {
        let size = medium.len()?.checked_next_multiple_of(SECTOR).unwrap_or(!(SECTOR - 1));
        Ok(Raw {
            medium,
            size: AtomicU64::new(size),
            read_only,
            guarded: false,
            begin: Mutex::default(),
            broken: AtomicBool::new(false),
        })
    }

    /// Refuses writes that would make the image look like one of another format. For images whose format was guessed: the
    /// guest could else choose what the next guess finds, and with a backing file's name read what it was not given.
    #[must_use]
    pub fn guarded(self) -> Self {
        Raw { guarded: true, ..self }
    }

    fn writable(&self, at: u64, len: u64) -> Result<(), DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        self.whole()?;
        check_range(at, len, self.size())
    }

    /// Refuses whatever relies on what was written, once a sync failed.
    fn whole(&self) -> Result<(), DiskError> {
        if self.broken.load(Ordering::Acquire) { Err(DiskError::Broken) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.whole()?;
        Ok(self.medium.sync().inspect_err(|_| self.broken.store(true, Ordering::Release))?)
    }

    /// Whether a write there may make the image look like one of another format.
    fn is_begin(&self, at: u64) -> bool {
        self.guarded && at < SECTOR
    }

    /// Writes what begins in a guarded first sector, of which a copy is looked at and written: the guest can change its
    /// memory at any time. One at a time, as several together may be what each is not.
    fn write_begin(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        let len = (SECTOR - at).min(from.len() as u64) as usize;
        let mut bytes = vec![0; len];
        from.copy_out(0, &mut bytes).ok_or(DiskError::Broken)?;
        let one = locked(&self.begin);
        self.guard(at, &bytes)?;
        self.medium.write_bytes(at, &bytes)?;
        drop(one);
        let rest = from.slice(len..from.len()).ok_or(DiskError::Broken)?;
        if rest.is_empty() { Ok(()) } else { Ok(self.medium.write(at + len as u64, &rest)?) }
    }

    fn guard(&self, at: u64, new: &[u8]) -> Result<(), DiskError> {
        // What the beginning will be, of which this write may be a part.
        let mut begin = [0; 8];
        self.medium.read_bytes(0, &mut begin)?;
        for (place, byte) in begin.iter_mut().skip(at as usize).zip(new) {
            *place = *byte;
        }
        if MAGICS.iter().any(|magic| begin.starts_with(magic)) {
            return Err(DiskError::Unsupported(
                "the guest wrote the beginning of another image format to a disk whose format was guessed to be raw; \
                 say format=raw if that is meant",
            ));
        }
        Ok(())
    }

    fn zero_slowly(&self, at: u64, len: u64) -> Result<(), DiskError> {
        let zeroes = vec![0; len.min(1 << 20) as usize];
        let mut done = 0;
        while done < len {
            let now = (len - done).min(zeroes.len() as u64);
            self.medium.write_bytes(at + done, zeroes.get(..now as usize).unwrap_or_default())?;
            done += now;
        }
        Ok(())
    }
}

impl Disk for Raw {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, at: u64, into: &Pieces) -> Result<(), DiskError> {
        check_range(at, into.len() as u64, self.size())?;
        Ok(self.medium.read(at, into)?)
    }

    fn write(&self, at: u64, from: &Pieces) -> Result<(), DiskError> {
        self.writable(at, from.len() as u64)?;
        if self.is_begin(at) { self.write_begin(at, from) } else { Ok(self.medium.write(at, from)?) }
    }

    fn try_read(&self, at: u64, into: &Pieces) -> Option<Result<(), DiskError>> {
        if let Err(error) = check_range(at, into.len() as u64, self.size()) {
            return Some(Err(error));
        }
        Some(self.medium.try_read(at, into)?.map_err(DiskError::Io))
    }

    fn try_write(&self, at: u64, from: &Pieces) -> Option<Result<(), DiskError>> {
        if let Err(error) = self.writable(at, from.len() as u64) {
            return Some(Err(error));
        }
        if self.is_begin(at) {
            return None;
        }
        Some(self.medium.try_write(at, from)?.map_err(DiskError::Io))
    }

    fn plan(&self, write: bool, at: u64, len: u64) -> Option<Plan> {
        check_range(at, len, self.size()).ok()?;
        if write && (self.read_only || self.is_begin(at) || self.whole().is_err()) {
            return None;
        }
        let file = self.medium.file(at, len)?;
        Some(Plan { file, offset: at, lease: None })
    }

    fn flush(&self) -> Result<(), DiskError> {
        if self.read_only { Ok(()) } else { self.sync() }
    }

    fn discard(&self, at: u64, len: u64) -> Result<(), DiskError> {
        self.writable(at, len)?;
        // Where holes cannot be made, the contents stay: that is allowed.
        self.medium.zero(at, len, true)?;
        Ok(())
    }

    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> Result<(), DiskError> {
        self.writable(at, len)?;
        if self.medium.zero(at, len, may_unmap)? { Ok(()) } else { self.zero_slowly(at, len) }
    }

    fn resize(&self, size: u64) -> Result<(), DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        self.whole()?;
        if !size.is_multiple_of(SECTOR) {
            return Err(DiskError::Unsupported("a disk's size is a multiple of 512 bytes"));
        }
        self.medium.set_len(size)?;
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    fn span(&self, at: u64) -> Result<Span, DiskError> {
        let left = self.size().saturating_sub(at);
        Ok(match self.medium.next_data(at)? {
            None => Span { len: left, zero: true },
            Some(data) if data > at => Span { len: left.min(data - at), zero: true },
            Some(_) => {
                Span { len: left.min(self.medium.next_hole(at)?.saturating_sub(at).max(1)), zero: false }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, HostFile, Memory};
    use std::io::Write;

    fn raw(contents: &[u8], read_only: bool) -> Raw {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(contents).unwrap();
        Raw::new(Arc::new(HostFile::new(file, true, Cache::Writeback).unwrap()), read_only).unwrap()
    }

    fn bytes(disk: &Raw, at: u64, len: usize) -> Vec<u8> {
        let into = Pieces::scratch(len).unwrap();
        into.fill(0, len, 0xee).unwrap();
        disk.read(at, &into).unwrap();
        into.to_vec()
    }

    fn of(bytes: &[u8]) -> Pieces {
        let pieces = Pieces::scratch(bytes.len()).unwrap();
        pieces.copy_in(0, bytes).unwrap();
        pieces
    }

    #[test]
    fn what_is_written_is_read() {
        let disk = raw(&[1; 4096], false);
        disk.write(1000, &of(b"hello")).unwrap();
        assert_eq!(bytes(&disk, 998, 9), b"\x01\x01hello\x01\x01");
        disk.write_zeroes(1001, 2, true).unwrap();
        disk.flush().unwrap();
        assert_eq!(bytes(&disk, 1000, 5), b"h\0\0lo");
        assert_eq!(disk.size(), 4096);
    }

    #[test]
    fn a_request_beyond_the_end_is_refused() {
        let disk = raw(&[1; 1024], false);
        let two = of(b"xy");
        for at in [1023, 1024, u64::MAX, u64::MAX - 1] {
            assert!(matches!(disk.read(at, &two), Err(DiskError::OutOfRange { .. })), "{at}");
            assert!(matches!(disk.write(at, &two), Err(DiskError::OutOfRange { .. })), "{at}");
            assert!(matches!(disk.try_write(at, &two), Some(Err(DiskError::OutOfRange { .. }))), "{at}");
            assert!(matches!(disk.try_read(at, &two), Some(Err(DiskError::OutOfRange { .. }))), "{at}");
            assert!(matches!(disk.discard(at, 2), Err(DiskError::OutOfRange { .. })), "{at}");
            assert!(matches!(disk.write_zeroes(at, 2, false), Err(DiskError::OutOfRange { .. })), "{at}");
            assert!(disk.plan(false, at, 2).is_none());
        }
    }

    #[test]
    fn an_odd_length_is_rounded_up_and_the_rest_is_zero() {
        let disk = raw(&[7; 700], false);
        assert_eq!(disk.size(), 1024);
        assert_eq!(bytes(&disk, 698, 4), [7, 7, 0, 0]);
        assert_eq!(bytes(&disk, 1020, 4), [0; 4]);
    }

    #[test]
    fn a_read_only_disk_keeps_what_it_has() {
        let disk = raw(&[7; 512], true);
        assert!(matches!(disk.write(0, &of(b"x")), Err(DiskError::ReadOnly)));
        assert!(matches!(disk.try_write(0, &of(b"x")), Some(Err(DiskError::ReadOnly))));
        assert!(matches!(disk.write_zeroes(0, 1, true), Err(DiskError::ReadOnly)));
        assert!(matches!(disk.discard(0, 1), Err(DiskError::ReadOnly)));
        assert!(matches!(disk.resize(1024), Err(DiskError::ReadOnly)));
        assert!(disk.plan(true, 0, 1).is_none() && disk.plan(false, 0, 1).is_some());
        assert_eq!(bytes(&disk, 0, 4), [7; 4]);
    }

    #[test]
    fn attack_a_guest_turns_its_guessed_raw_disk_into_qcow2() {
        let disk = raw(&[0; 1024], false).guarded();
        let refused = |result| assert!(matches!(result, Err(DiskError::Unsupported(_))));
        refused(disk.write(0, &of(b"QFI\xfb and more")));
        disk.write(0, &of(b"QF")).unwrap();
        // In pieces.
        refused(disk.write(2, &of(b"I\xfb")));
        disk.write(2, &of(b"I")).unwrap();
        refused(disk.write(3, &of(b"\xfb")));
        // What does not wait cannot look.
        assert!(disk.try_write(3, &of(b"\xfb")).is_none() && disk.plan(true, 3, 1).is_none());
        disk.write(512, &of(b"QFI\xfb")).unwrap();
        assert_eq!(bytes(&disk, 0, 4), b"QFI\0");
    }

    /// A medium that sees guest memory change whenever it is used.
    #[derive(Debug)]
    struct Racing(Memory, Pieces);

    impl Racing {
        fn change(&self) {
            self.1.copy_in(0, b"QFI\xfb").unwrap();
        }
    }

    impl Medium for Racing {
        fn len(&self) -> std::io::Result<u64> {
            self.0.len()
        }
        fn read_bytes(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
            self.0.read_bytes(at, into)
        }
        fn write_bytes(&self, at: u64, from: &[u8]) -> std::io::Result<()> {
            self.change();
            self.0.write_bytes(at, from)
        }
        fn read(&self, at: u64, into: &Pieces) -> std::io::Result<()> {
            self.0.read(at, into)
        }
        fn write(&self, at: u64, from: &Pieces) -> std::io::Result<()> {
            self.change();
            self.0.write(at, from)
        }
        fn try_write(&self, at: u64, from: &Pieces) -> Option<std::io::Result<()>> {
            Some(self.write(at, from))
        }
        fn zero(&self, at: u64, len: u64, unmap: bool) -> std::io::Result<bool> {
            self.0.zero(at, len, unmap)
        }
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.0.set_len(len)
        }
        fn sync(&self) -> std::io::Result<()> {
            self.0.sync()
        }
    }

    #[test]
    fn attack_a_guest_changes_its_memory_between_the_look_and_the_write() {
        let memory = of(&[b'-'; 1024]);
        let medium = Arc::new(Racing(Memory::new(&[0; 2048]), memory.clone()));
        let disk = Raw::new(medium.clone(), false).unwrap().guarded();
        let result = disk.try_write(0, &memory).unwrap_or_else(|| disk.write(0, &memory));
        result.unwrap();
        assert_eq!(memory.to_vec()[..4], *b"QFI\xfb", "it did change");
        assert_eq!(bytes(&disk, 0, 1025), [&[b'-'; 1024][..], &[0]].concat());
    }

    #[test]
    fn after_a_failed_sync_nothing_is_said_to_be_stable() {
        let medium = Arc::new(Memory::logging(&[0; 2048]));
        let disk = Raw::new(medium.clone(), false).unwrap();
        disk.write(0, &of(b"lost")).unwrap();
        medium.fail_sync_after(0);
        assert!(matches!(disk.flush(), Err(DiskError::Io(_))));
        assert!(matches!(disk.flush(), Err(DiskError::Broken)));
        assert!(matches!(disk.write(0, &of(b"x")), Err(DiskError::Broken)));
        assert!(matches!(disk.try_write(0, &of(b"x")), Some(Err(DiskError::Broken))));
        assert!(matches!(disk.write_zeroes(0, 512, true), Err(DiskError::Broken)));
        assert!(matches!(disk.resize(4096), Err(DiskError::Broken)));
        assert!(disk.plan(true, 0, 512).is_none());
    }

    #[test]
    fn holes_are_known_to_be_zero() {
        let disk = raw(&[], false);
        disk.resize(1 << 20).unwrap();
        assert_eq!(disk.span(0).unwrap(), Span { len: 1 << 20, zero: true });
        disk.write(512 << 10, &of(&[1; 4096])).unwrap();
        let span = disk.span(0).unwrap();
        assert!(span.zero && span.len <= 512 << 10);
        assert!(!disk.span(512 << 10).unwrap().zero);
    }
}
