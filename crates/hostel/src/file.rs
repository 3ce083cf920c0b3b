//! Reading the files that a machine is started from.

use anyhow::{anyhow, bail};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use vm_board::size::{Argument, MIB, Size};
use vm_machine::Program;

/// Reads the whole of `path`, which is the machine's `what`. A file that the guest's `memory` cannot hold whole is
/// not read, unless it is ELF, which holds more than is loaded.
///
/// # Errors
/// If it cannot be read, with the reason and what to do.
pub fn program(what: &str, path: &Path, memory: u64) -> anyhow::Result<Program> {
    let name = path.display().to_string();
    let cannot = |error| anyhow!("cannot read the {what} {name} ({error}); name a file that can be read");
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    refuse(what, &name, &metadata)?;
    let bytes = read(file, &metadata, memory).map_err(cannot)?;
    let Some(bytes) = bytes else {
        let needed = if metadata.is_file() { metadata.len() } else { memory };
        let enough = needed.saturating_add(needed / 8).saturating_add(64 * MIB).checked_next_power_of_two();
        let advice = enough.map_or_else(String::new, |bytes| format!("; try --memory {}", Argument(bytes)));
        let more = if metadata.is_file() { "" } else { "more than " };
        bail!(
            "the {what} {name} ({more}{}) does not fit in {} of memory{advice}",
            Size(needed),
            Size(memory)
        );
    };
    Ok(Program { name, bytes: bytes.into() })
}

/// Refuses what can be opened but is not a file.
fn refuse(what: &str, name: &str, metadata: &Metadata) -> anyhow::Result<()> {
    let kind = metadata.file_type();
    let is = if kind.is_dir() {
        "directory"
    } else if kind.is_char_device() || kind.is_block_device() {
        "device"
    } else {
        return Ok(());
    };
    bail!("{name} is a {is}; the {what} must be a file")
}

/// The contents, or `None` if there are more than fit.
fn read(mut file: File, metadata: &Metadata, memory: u64) -> io::Result<Option<Vec<u8>>> {
    const ELF: &[u8; 4] = b"\x7fELF";
    let mut bytes = Vec::new();
    file.by_ref().take(ELF.len() as u64).read_to_end(&mut bytes)?;
    let limit = if metadata.is_file() && bytes == ELF { metadata.len() } else { memory };
    if metadata.is_file() && metadata.len() > limit {
        return Ok(None);
    }
    let room = if metadata.is_file() { metadata.len() } else { 0 };
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(room).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let left = limit.saturating_add(1).saturating_sub(bytes.len() as u64);
    file.take(left).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}
