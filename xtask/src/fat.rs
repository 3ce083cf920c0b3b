//! A disk image with one FAT16 partition that holds some files: what firmware boots from.
//!
//! Sources: Microsoft, "FAT32 File System Specification" 1.03 (boot sector, table, directory entries, long names); UEFI
//! Specification 2.10, "Legacy Master Boot Record (MBR)" (partition type 0xef: EFI system partition).

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

const SECTOR: usize = 512;
/// Where the partition starts, and how long it is, in sectors.
const START: usize = 2048;
const SECTORS: usize = 192 << 10;
/// Sectors of a cluster, of a table, of the root directory.
const CLUSTER: usize = 8;
const TABLE: usize = 96;
const ROOT: usize = 32;
const CLUSTER_BYTES: usize = CLUSTER * SECTOR;
/// The first sector of cluster 2, in the partition.
const DATA: usize = 1 + 2 * TABLE + ROOT;
const ENTRY: usize = 32;
const DIRECTORY: u8 = 0x10;
const FILE: u8 = 0x20;

/// A directory: what is in it, by name.
#[derive(Default)]
struct Folder<'a> {
    folders: BTreeMap<&'a str, Folder<'a>>,
    files: BTreeMap<&'a str, &'a [u8]>,
}

/// What has been allocated.
struct Volume {
    table: Vec<u16>,
    data: Vec<u8>,
    /// How many short names there are.
    names: u32,
}

/// The image of a disk with these files, by their paths.
///
/// # Errors
/// If they do not fit.
pub fn disk(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut root = Folder::default();
    for (path, bytes) in files {
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let folder = parts.into_iter().fold(&mut root, |at, part| at.folders.entry(part).or_default());
        folder.files.insert(name, bytes);
    }
    let mut volume = Volume { table: vec![0xfff8, 0xffff], data: Vec::new(), names: 0 };
    let entries = volume.folder(&root, None)?;
    ensure!(entries.len() <= ROOT * SECTOR, "too many files in the root directory");
    let mut image = vec![0; (START + SECTORS) * SECTOR];
    let mut put = |at: usize, bytes: &[u8]| -> Result<()> {
        let to = image.get_mut(at..at + bytes.len()).context("the files do not fit on the disk")?;
        to.copy_from_slice(bytes);
        Ok(())
    };
    put(0, &master_boot_record())?;
    let base = START * SECTOR;
    put(base, &boot_sector())?;
    let table: Vec<u8> = volume.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    ensure!(table.len() <= TABLE * SECTOR, "the files do not fit on the disk");
    put(base + SECTOR, &table)?;
    put(base + (1 + TABLE) * SECTOR, &table)?;
    put(base + (1 + 2 * TABLE) * SECTOR, &entries)?;
    put(base + DATA * SECTOR, &volume.data)?;
    Ok(image)
}

fn master_boot_record() -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    let mut entry = vec![0x80, 0xfe, 0xff, 0xff, 0xef, 0xfe, 0xff, 0xff];
    entry.extend((START as u32).to_le_bytes());
    entry.extend((SECTORS as u32).to_le_bytes());
    sector.splice(446..462, entry);
    sector.splice(510..512, [0x55, 0xaa]);
    sector
}

fn boot_sector() -> Vec<u8> {
    let mut sector = vec![0xeb, 0x3c, 0x90];
    sector.extend(b"HOSTEL  ");
    sector.extend((SECTOR as u16).to_le_bytes());
    sector.push(CLUSTER as u8);
    // One sector before the tables; two tables.
    sector.extend([1, 0, 2]);
    sector.extend(((ROOT * SECTOR / ENTRY) as u16).to_le_bytes());
    // The number of sectors is in the wide field; a fixed disk.
    sector.extend([0, 0, 0xf8]);
    sector.extend((TABLE as u16).to_le_bytes());
    sector.extend([63, 0, 255, 0]);
    sector.extend((START as u32).to_le_bytes());
    sector.extend((SECTORS as u32).to_le_bytes());
    sector.extend([0x80, 0, 0x29, 1, 2, 3, 4]);
    sector.extend(b"BOOT       FAT16   ");
    sector.resize(SECTOR, 0);
    sector.splice(510..512, [0x55, 0xaa]);
    sector
}

impl Volume {
    /// Stores bytes; gives their first cluster, which is 0 for none.
    fn store(&mut self, bytes: &[u8]) -> Result<u16> {
        let clusters = bytes.len().div_ceil(CLUSTER_BYTES);
        let first = self.table.len();
        ensure!(first + clusters < 0xfff0, "the files do not fit on the disk");
        self.data.extend(bytes);
        self.data.resize((first + clusters - 2) * CLUSTER_BYTES, 0);
        self.table.extend((1..=clusters).map(|n| if n == clusters { 0xffff } else { (first + n) as u16 }));
        Ok(if clusters == 0 { 0 } else { first as u16 })
    }

    /// The entries of a folder, with all that is in it stored; `parent` has the clusters of itself and its parent.
    fn folder(&mut self, folder: &Folder<'_>, parent: Option<(u16, u16)>) -> Result<Vec<u8>> {
        let mut entries = Vec::new();
        if let Some((own, parent)) = parent {
            entries.extend(entry(*b".          ", DIRECTORY, own, 0));
            entries.extend(entry(*b"..         ", DIRECTORY, parent, 0));
        }
        for (name, bytes) in &folder.files {
            let first = self.store(bytes)?;
            entries.extend(self.named(name, FILE, first, bytes.len() as u32));
        }
        for (name, inner) in &folder.folders {
            // Its own cluster comes first, so that what is in it knows it: one is enough for these tests.
            let first = self.store(&[0; CLUSTER_BYTES])?;
            let contents = self.folder(inner, Some((first, parent.map_or(0, |(own, _)| own))))?;
            ensure!(contents.len() <= CLUSTER_BYTES, "too many files in {name}");
            let at = (usize::from(first) - 2) * CLUSTER_BYTES;
            self.data.splice(at..at + contents.len(), contents);
            entries.extend(self.named(name, DIRECTORY, first, 0));
        }
        Ok(entries)
    }

    /// An entry with a long name before it.
    fn named(&mut self, name: &str, kind: u8, first: u16, len: u32) -> Vec<u8> {
        self.names += 1;
        let mut short = *b"HOSTEL     ";
        short
            .iter_mut()
            .skip(6)
            .zip(format!("{:05}", self.names).bytes())
            .for_each(|(to, digit)| *to = digit);
        let sum = short.iter().fold(0_u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte));
        let mut units: Vec<u16> = name.encode_utf16().collect();
        if !units.len().is_multiple_of(13) {
            units.push(0);
        }
        let parts = units.chunks(13).count();
        let mut bytes = Vec::new();
        for (number, part) in units.chunks(13).enumerate().rev() {
            let last = if number + 1 == parts { 0x40 } else { 0 };
            let unit = |at: usize| part.get(at).copied().unwrap_or(0xffff).to_le_bytes();
            bytes.push((number + 1) as u8 | last);
            bytes.extend((0..5).flat_map(unit));
            bytes.extend([0x0f, 0, sum]);
            bytes.extend((5..11).flat_map(unit));
            bytes.extend([0, 0]);
            bytes.extend((11..13).flat_map(unit));
        }
        bytes.extend(entry(short, kind, first, len));
        bytes
    }
}

fn entry(short: [u8; 11], kind: u8, first: u16, len: u32) -> Vec<u8> {
    let mut bytes = short.to_vec();
    bytes.push(kind);
    bytes.resize(24, 0);
    // 2026-01-01.
    bytes.extend((46_u16 << 9 | 1 << 5 | 1).to_le_bytes());
    bytes.extend(first.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_its_files_where_the_specification_says() {
        let large = vec![7; CLUSTER_BYTES + 1];
        let image = disk(&[("a.txt", b"hello"), ("EFI/BOOT/BOOTRISCV64.EFI", &large)]).unwrap();
        let volume = &image[START * SECTOR..];
        let root = &volume[(1 + 2 * TABLE) * SECTOR..];
        assert_eq!((root[0], root[11], root[1], root[3]), (0x41, 0x0f, b'a', b'.'));
        assert_eq!((&root[32..43], root[43]), (&b"HOSTEL00001"[..], FILE));
        assert_eq!(root[58..64], [2, 0, 5, 0, 0, 0]);
        assert_eq!(volume[DATA * SECTOR..][..6], *b"hello\0");
        let table = &volume[SECTOR..];
        // The file of one cluster, two folders, the file of two.
        assert_eq!(table[4..14], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 6, 0, 0xff, 0xff]);
        assert_eq!(table[..TABLE * SECTOR], volume[(1 + TABLE) * SECTOR..][..TABLE * SECTOR]);
        let boot = &volume[(DATA + 2 * CLUSTER) * SECTOR..];
        assert_eq!((&boot[..2], boot[26], &boot[32..34], boot[58]), (&b". "[..], 4, &b".."[..], 3));
        assert_eq!((boot[64], boot[64 + 11], boot[96]), (0x42, 0x0f, 1), "a name of two parts");
        assert!(disk(&[("x", &vec![0; SECTORS * SECTOR])]).is_err());
    }
}
