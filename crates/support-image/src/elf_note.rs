//! Notes of an ELF file, and the one that says where a PVH kernel is entered.
//!
//! Sources: System V ABI, chapter 5, "Note Section": length of name, length of description, type, then both, each
//! padded to the segment's alignment; Xen, `xen/include/public/elfnote.h`, for what notes of "Xen" mean.

use crate::bytes::{le32, le64};
use thiserror::Error;

/// Type of the note that holds the physical address of a 32-bit entry point.
pub const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
const HEADER: u64 = 12;

/// Why notes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// The segment is not wholly in the file.
    #[error("this ELF is truncated: its notes would end at byte {needed}, but the file has {actual} bytes")]
    Truncated {
        /// Length in bytes that the file would need.
        needed: u64,
        /// Length in bytes that it has.
        actual: u64,
    },
    /// A note reaches past its segment.
    #[error("this ELF is malformed: the note at byte {0} reaches past its segment")]
    PastSegment(u64),
    /// The entry note's description is no address.
    #[error("this ELF is malformed: its PVH entry note has {0} bytes, not 4 or 8")]
    EntrySize(u64),
    /// The entry is entered in 32-bit mode, so it has to lie below 4 GiB.
    #[error("this ELF is malformed: its PVH entry {0:#x} is not below 4 GiB")]
    EntryHigh(u64),
}

/// A `PT_NOTE` segment as its program header has it, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteSegment {
    /// `p_offset`.
    pub offset: u64,
    /// `p_filesz`.
    pub size: u64,
    /// `p_align`; 8 pads to eight bytes, everything else to four.
    pub align: u64,
}

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'data> {
    /// Whose types these are, without the final zero.
    pub name: &'data [u8],
    /// Type.
    pub kind: u32,
    /// Description.
    pub description: &'data [u8],
}

/// The notes of one segment, in order. Ends after the first error.
pub struct Notes<'data> {
    data: &'data [u8],
    at: u64,
    end: u64,
    align: u64,
}

impl<'data> Notes<'data> {
    /// Of `segment` in the file `data`.
    ///
    /// # Errors
    /// [`NoteError::Truncated`].
    pub fn new(data: &'data [u8], segment: &NoteSegment) -> Result<Self, NoteError> {
        let needed = segment.offset.saturating_add(segment.size);
        let actual = data.len() as u64;
        if needed > actual {
            return Err(NoteError::Truncated { needed, actual });
        }
        Ok(Notes { data, at: segment.offset, end: needed, align: if segment.align == 8 { 8 } else { 4 } })
    }

    fn note(&self) -> Result<(Note<'data>, u64), NoteError> {
        let past = NoteError::PastSegment(self.at);
        let slice = |start: u64, len: u64| {
            let end = start.saturating_add(len);
            if end > self.end { None } else { self.data.get(start as usize..end as usize) }
        };
        let header = slice(self.at, HEADER).ok_or(past.clone())?;
        let field = |at| le32(header, at).unwrap_or(0);
        let (name_len, len) = (u64::from(field(0)), u64::from(field(4)));
        let name_at = self.at + HEADER;
        let name = slice(name_at, name_len).ok_or(past.clone())?;
        // Padding counts from the segment's start, which is aligned itself.
        let padded = |n: u64| n.next_multiple_of(self.align);
        let description_at = self.at + padded(HEADER + name_len);
        let description = slice(description_at, len).ok_or(past)?;
        let note = Note { name: name.strip_suffix(b"\0").unwrap_or(name), kind: field(8), description };
        Ok((note, description_at + padded(len)))
    }
}

impl<'data> Iterator for Notes<'data> {
    type Item = Result<Note<'data>, NoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        Some(match self.note() {
            Ok((note, next)) => {
                self.at = next;
                Ok(note)
            }
            Err(error) => {
                self.at = self.end;
                Err(error)
            }
        })
    }
}

/// The PVH entry point among the notes of `segments`, if there is one.
///
/// # Errors
/// [`NoteError`], also for a note before or after it that cannot be read.
pub fn pvh_entry(data: &[u8], segments: &[NoteSegment]) -> Result<Option<u32>, NoteError> {
    let mut entry = None;
    for segment in segments {
        for note in Notes::new(data, segment)? {
            let note = note?;
            if note.name == b"Xen" && note.kind == XEN_ELFNOTE_PHYS32_ENTRY && entry.is_none() {
                let address = match note.description.len() {
                    4 => le32(note.description, 0).map(u64::from),
                    8 => le64(note.description, 0),
                    _ => None,
                };
                let address = address.ok_or(NoteError::EntrySize(note.description.len() as u64))?;
                entry = Some(u32::try_from(address).map_err(|_| NoteError::EntryHigh(address))?);
            }
        }
    }
    Ok(entry)
}
