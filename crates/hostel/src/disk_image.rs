//! `hostel image` with the files of disk images: info, check, convert, create, resize.

use crate::choice::Memory;
use crate::command_image::{
    CheckOptions, ConvertOptions, CreateOptions, DiskSource, NewOptions, RepairChoice, ResizeOptions,
};
use crate::{disk, say, status};
use anyhow::{Context, bail};
use host_char::terminal;
use host_disk::{
    Access, Backing, Cache, Disk, Format, Guard, Header, HostFile, Medium, NewQcow2, OpenOptions, Qcow2, Raw,
    Repair, Report, SECTOR,
};
use host_image::{Bars, IMAGES, Progress, leave_bars};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use vm_board::size::Size;

/// A size on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskSize {
    /// So many bytes.
    Bytes(u64),
    /// So many more than now.
    More(u64),
}

/// A size that is none.
#[derive(Debug, thiserror::Error)]
#[error("a size is a number of bytes or a number with K, M, G or T behind it, such as 20G")]
pub struct NoSize;

impl FromStr for DiskSize {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let number = text.strip_prefix('+').unwrap_or(text);
        let Memory(bytes) = number.parse().map_err(|_| NoSize)?;
        Ok(if number.len() == text.len() { DiskSize::Bytes(bytes) } else { DiskSize::More(bytes) })
    }
}

/// Whether a name is that of a guest image. A file of that name is meant by `./NAME`.
pub fn is_guest(name: &Path) -> bool {
    let known = IMAGES.iter().any(|image| Path::new(image.name) == name);
    known || (name.components().count() == 1 && name.extension().is_none() && !name.exists())
}

fn options(source: &DiskSource, read_only: bool) -> OpenOptions {
    let backing = disk::backing(&source.backing);
    OpenOptions { format: source.from, read_only, backing, ..OpenOptions::default() }
}

/// What an image says goes to a terminal: what is no letter there is shown as a question mark.
fn shown(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Says what the image at `path` is, by its beginning or `from`.
///
/// # Errors
/// If it cannot be read.
pub fn info(path: &Path, from: Option<Format>) -> anyhow::Result<u8> {
    let file = HostFile::open(path, false, Cache::Writeback).with_context(|| cannot("open", path))?;
    let format = match from {
        Some(format) => format,
        None => host_disk::probe(&file).with_context(|| cannot("read", path))?,
    };
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:10} {value}");
    };
    line("file", path.display().to_string());
    line("format", format.to_string());
    let data = file.as_file().metadata().with_context(|| cannot("read", path))?;
    let taken = std::os::unix::fs::MetadataExt::blocks(&data) * 512;
    match format {
        Format::Raw => line("disk", Size(file.len()?.next_multiple_of(SECTOR)).to_string()),
        Format::Qcow2 => {
            let header = Header::read(&file).with_context(|| cannot("read", path))?;
            qcow2_lines(&header, &mut line);
        }
    }
    line("on host", Size(taken).to_string());
    say::answer(&text)?;
    Ok(status::SUCCESS)
}

fn qcow2_lines(header: &Header, line: &mut dyn FnMut(&str, String)) {
    let geometry = header.geometry;
    line("disk", Size(header.size).to_string());
    line("version", format!("{} (clusters of {})", geometry.version, Size(geometry.cluster())));
    line("refcounts", format!("{} bits", 1 << geometry.refcount_order));
    if geometry.extended {
        line("L2", "extended (subclusters)".to_owned());
    }
    if let Some(base) = &header.backing {
        let format = header.backing_format.as_deref().unwrap_or("format not said");
        line("base", format!("{} ({})", shown(base), shown(format)));
    }
    if header.snapshots > 0 {
        line("snapshots", header.snapshots.to_string());
    }
    if header.incompatible & 1 != 0 {
        line("state", "not closed: in use, or to be recovered when it is next written".to_owned());
    }
    if header.incompatible & 2 != 0 {
        line("state", "marked corrupt".to_owned());
    }
}

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display())
}

/// Looks for errors, and repairs what it is told to.
///
/// # Errors
/// If the image cannot be read, written or understood.
pub fn check(options: &CheckOptions) -> anyhow::Result<u8> {
    let path = &options.file;
    let write = options.repair.is_some();
    let file = HostFile::open(path, write, Cache::Writeback).with_context(|| cannot("open", path))?;
    Guard::new(&file, path, if write { Access::Write } else { Access::Read })?;
    if host_disk::probe(&file).with_context(|| cannot("read", path))? == Format::Raw {
        bail!("{} is a raw image: there is nothing in it that could be checked", path.display());
    }
    let header = Header::read(&file).with_context(|| cannot("check", path))?;
    let before = host_disk::check(&file, &header).with_context(|| cannot("check", path))?;
    let mut text = findings(&before);
    let mut after = None;
    if let Some(choice) = options.repair {
        let what = match choice {
            RepairChoice::Leaks => Repair::Leaks,
            RepairChoice::Counts => Repair::Counts,
            RepairChoice::All => Repair::All,
        };
        let left = host_disk::repair(&file, &header, what).with_context(|| cannot("repair", path))?;
        let (leaks, errors) =
            (before.leaks.saturating_sub(left.leaks), before.corruptions.saturating_sub(left.corruptions));
        if !before.is_clean() {
            let _ = writeln!(text, "repaired: {leaks} leaks and {errors} errors; left:");
        }
        after = Some(left);
    }
    let end = after.as_ref().unwrap_or(&before);
    text += &summary(end);
    if !options.quiet {
        say::answer(&text)?;
    }
    Ok(match (end.corruptions, end.leaks) {
        (0, 0) => status::SUCCESS,
        (0, _) => status::LEAKS,
        _ => status::CORRUPT,
    })
}

/// Problems that are shown.
const MOST_LINES: usize = 100;

fn findings(report: &Report) -> String {
    let mut text = String::new();
    for problem in report.problems.iter().take(MOST_LINES) {
        let _ = writeln!(text, "{problem}");
    }
    let more = (report.leaks + report.corruptions).saturating_sub(MOST_LINES as u64);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    text
}

fn summary(report: &Report) -> String {
    let percent = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
    let mut text = String::new();
    let _ = match (report.corruptions, report.leaks) {
        (0, 0) => writeln!(text, "no errors were found"),
        (errors, leaks) => writeln!(text, "{errors} errors, {leaks} clusters lost"),
    };
    let share = percent(report.allocated, report.clusters);
    let packed = percent(report.compressed, report.allocated);
    let (allocated, clusters) = (report.allocated, report.clusters);
    let _ = writeln!(
        text,
        "{allocated} of {clusters} clusters are in the image ({share:.1}%), {packed:.1}% of them compressed"
    );
    let _ = writeln!(text, "it ends at {}", Size(report.end));
    text
}

/// Makes an image and opens it for writing; nobody else has seen it.
fn new_disk(
    path: &Path,
    size: u64,
    new: &NewOptions,
    base: Option<(String, String)>,
) -> anyhow::Result<Arc<dyn Disk>> {
    if new.format == Format::Raw && (new.cluster.is_some() || base.is_some()) {
        bail!("a raw image has neither clusters nor a base; leave the option out, or say --format qcow2");
    }
    let cluster = match new.cluster {
        None => 65536,
        Some(DiskSize::Bytes(bytes)) => bytes,
        Some(DiskSize::More(_)) => bail!("the size of a cluster has no plus sign"),
    };
    let size = size.checked_next_multiple_of(SECTOR).context("a disk cannot be that large")?;
    let medium = Arc::new(HostFile::create(path).with_context(|| cannot("make", path))?);
    let made = || -> anyhow::Result<Arc<dyn Disk>> {
        Guard::new(&medium, path, Access::Write)?;
        Ok(match new.format {
            Format::Raw => {
                medium.set_len(size)?;
                Arc::new(Raw::new(medium.clone(), false)?)
            }
            Format::Qcow2 => {
                let header = NewQcow2 { cluster, backing: base, ..NewQcow2::new(size) }.create(&*medium)?;
                Arc::new(Qcow2::open(medium.clone(), header, None, false)?)
            }
        })
    };
    made().inspect_err(|_| remove(path)).with_context(|| cannot("make", path))
}

/// Removes what was begun and not finished.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Copies an image.
///
/// # Errors
/// If one of the two cannot be opened, read or written; then there is no new one.
pub fn convert(options: &ConvertOptions) -> anyhow::Result<u8> {
    let source = host_disk::open(&options.source, &self::options(&options.disk, true))?;
    let target = options.target.clone();
    let to = new_disk(&target, source.disk.size(), &options.new, None)?;
    let mut bars = Bars::new();
    bars.step(&format!("copying to {}", target.display()));
    let unfinished: PathBuf = target.clone();
    terminal::watch_signals(move |_| {
        leave_bars();
        remove(&unfinished);
        false
    })
    .context("cannot watch for signals")?;
    let total = source.disk.size();
    let copied = host_disk::copy(&*source.disk, &*to, &mut |done| {
        bars.bytes(done, Some(total));
        true
    });
    copied.inspect_err(|_| remove(&target)).with_context(|| cannot("copy to", &target))?;
    Ok(status::SUCCESS)
}

/// Makes an image.
///
/// # Errors
/// If there cannot be such a one; then there is none.
pub fn create(options: &CreateOptions) -> anyhow::Result<u8> {
    let path = &options.file;
    let base = match (&options.base, options.base_format) {
        (Some(name), Some(format)) => Some((name.clone(), format)),
        _ => None,
    };
    let mut size = match options.size {
        Some(DiskSize::Bytes(bytes)) => Some(bytes),
        Some(DiskSize::More(_)) => {
            bail!("there is nothing yet that the size could be added to; leave out the plus sign")
        }
        None => None,
    };
    if let Some((name, format)) = &base {
        // The user named it, so it may be anywhere; but it must be there.
        let file = host_disk::backing_path(path, name, &Backing::Any)?;
        let open = OpenOptions {
            format: Some(*format),
            read_only: true,
            backing: Backing::Any,
            ..OpenOptions::default()
        };
        let base = host_disk::open(&file, &open)?;
        size = size.or(Some(base.disk.size()));
    }
    let size = size.context("say how large the image is to be")?;
    let base = base.map(|(name, format)| (name, format.to_string()));
    new_disk(path, size, &options.new, base)?.close().with_context(|| cannot("write", path))?;
    Ok(status::SUCCESS)
}

/// Makes a qcow2 image at `path` that shows what `base` has, a file beside it of that size and format.
///
/// # Errors
/// If it cannot be made.
pub fn overlay(path: &Path, size: u64, base: &str, format: Format) -> anyhow::Result<()> {
    let new = NewOptions { format: Format::Qcow2, cluster: None };
    let disk = new_disk(path, size, &new, Some((base.to_owned(), format.to_string())))?;
    disk.close().with_context(|| cannot("write", path))
}

/// Makes an image larger or smaller.
///
/// # Errors
/// If it cannot be, or would lose something that was not said to be lost.
pub fn resize(options: &ResizeOptions) -> anyhow::Result<u8> {
    let path = &options.file;
    let opened = host_disk::open(path, &self::options(&options.disk, false))?;
    if options.disk.from.is_none() && opened.format == Format::Raw {
        say::note("the image has no format's beginning, so it is taken for a raw one");
    }
    let now = opened.disk.size();
    let size = match options.size {
        DiskSize::Bytes(bytes) => Some(bytes),
        DiskSize::More(bytes) => now.checked_add(bytes),
    };
    let size =
        size.and_then(|size| size.checked_next_multiple_of(SECTOR)).context("a disk cannot be that large")?;
    if size < now && !options.shrink {
        bail!(
            "{} has {}, and {} would be smaller: what is cut off is lost; say --shrink if that is meant",
            path.display(),
            Size(now),
            Size(size)
        );
    }
    opened.disk.resize(size).and_then(|()| opened.disk.close()).with_context(|| cannot("resize", path))?;
    Ok(status::SUCCESS)
}
