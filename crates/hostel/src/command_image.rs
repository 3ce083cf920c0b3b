//! The command line of `hostel image`.

use crate::command::FetchOptions;
use crate::complete;
use crate::disk_image::DiskSize;
use clap::{Args, Subcommand, ValueHint};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use std::path::PathBuf;

const IMAGE_EXAMPLES: &str = "\
Examples:
  hostel image list
  hostel image get debian-busybox                  fetch it, or say that it is there
  hostel image get debian-busybox --refresh        fetch it anew
  hostel image info opensbi                        what it was made from
  hostel image create disk.qcow2 20G               a disk for a guest
  hostel image check disk.qcow2                    whether it is sound
  hostel image convert disk.qcow2 disk.raw --format raw
  hostel run --bios $(hostel image path opensbi)/fw_dynamic.bin --kernel Image";

/// Options of `hostel image`.
#[derive(Debug, Args)]
#[command(after_help = IMAGE_EXAMPLES, disable_help_subcommand = true)]
pub struct ImageOptions {
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<ImageVerb>,
}

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// List every image and whether it is in the cache
    #[command(after_help = "Examples:\n  hostel image list")]
    List,
    /// Fetch an image if it is not in the cache, and print the paths of its files
    #[command(after_help = "Examples:\n  hostel image get debian-busybox\n  \
                            hostel image get debian-busybox --refresh --mirror http://HOST/debian")]
    Get {
        /// The image
        #[arg(add = ArgValueCandidates::new(complete::images))]
        name: String,
        #[command(flatten)]
        fetch: FetchOptions,
        /// Fetch it even if it is in the cache; if that fails, the old one stays
        #[arg(long, conflicts_with = "offline")]
        refresh: bool,
        /// Check the contents of cached files too, not only their sizes
        #[arg(long, conflicts_with = "refresh")]
        check: bool,
    },
    /// Say what a disk image is, or check a guest image's files and say what it was made from
    #[command(after_help = "Examples:\n  hostel image info debian-busybox\n  hostel image info disk.qcow2")]
    Info {
        /// A guest image of `hostel image list`, or the file of a disk image
        #[arg(value_name = "NAME | FILE", add = ArgValueCompleter::new(complete::image_or_file))]
        name: PathBuf,
        /// The disk image's format: raw or qcow2 [default: what it looks like]
        #[arg(long, value_name = "FORMAT", add = ArgValueCandidates::new(complete::formats))]
        from: Option<host_disk::Format>,
    },
    /// Print the directory of the cache, or of an image's files in it
    #[command(after_help = "Examples:\n  hostel image path\n  ls -l $(hostel image path debian-busybox)")]
    Path {
        /// The image
        #[arg(add = ArgValueCandidates::new(complete::images))]
        name: Option<String>,
    },
    /// Look for errors in a disk image, and repair them
    #[command(after_help = CHECK_NOTES)]
    Check(CheckOptions),
    /// Copy a disk image to another one, without what is zero
    #[command(after_help = "Examples:\n  hostel image convert disk.raw disk.qcow2\n  \
                            hostel image convert top.qcow2 flat.raw --format raw")]
    Convert(ConvertOptions),
    /// Make an empty disk image
    #[command(after_help = "Examples:\n  hostel image create disk.qcow2 20G\n  \
                            hostel image create top.qcow2 --base disk.qcow2 --base-format qcow2")]
    Create(CreateOptions),
    /// Make a disk image larger or smaller
    #[command(after_help = "Examples:\n  hostel image resize disk.qcow2 40G\n  \
                            hostel image resize disk.qcow2 +10G")]
    Resize(ResizeOptions),
}

/// How to read a disk image.
#[derive(Clone, Debug, Args)]
pub struct DiskSource {
    /// The image's format: raw or qcow2 [default: what it looks like]
    #[arg(long, value_name = "FORMAT", add = ArgValueCandidates::new(complete::formats))]
    pub from: Option<host_disk::Format>,
    /// A file outside the image's folder that it may be built on, or `any`; may be given again
    #[arg(long, value_name = "FILE | any")]
    pub backing: Vec<PathBuf>,
}

const CHECK_NOTES: &str = "\
Examples:
  hostel image check disk.qcow2
  hostel image check disk.qcow2 --repair leaks   only give back lost space
  hostel image check disk.qcow2 --repair all     entries that lead nowhere are removed

The image must not be in use.

Exit status, after repairs:
  0 if it is clean, 2 if it is corrupt, 3 if only space is lost, 125 if it cannot be checked";

/// Options of `hostel image check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// The disk image
    pub file: PathBuf,
    /// Repair what can be: leaks, counts (what is counted and nothing else) or all
    #[arg(long, value_name = "WHAT", value_enum)]
    pub repair: Option<RepairChoice>,
    /// Say nothing but the exit status
    #[arg(long)]
    pub quiet: bool,
}

/// What to repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RepairChoice {
    /// Lost space
    Leaks,
    /// Lost space, reference counts and flags
    Counts,
    /// Everything
    All,
}

/// Options of `hostel image convert`.
#[derive(Debug, Args)]
pub struct ConvertOptions {
    /// The image to copy
    pub source: PathBuf,
    /// The image to make; there must be none
    pub target: PathBuf,
    #[command(flatten)]
    pub disk: DiskSource,
    #[command(flatten)]
    pub new: NewOptions,
}

/// What a new disk image is to be.
#[derive(Debug, Args)]
pub struct NewOptions {
    /// The new image's format: raw or qcow2
    #[arg(long, value_name = "FORMAT", add = ArgValueCandidates::new(complete::formats), default_value = "qcow2")]
    pub format: host_disk::Format,
    /// Bytes of a cluster of a qcow2 image: 512 to 2M [default: 64K]
    #[arg(long, value_name = "SIZE")]
    pub cluster: Option<DiskSize>,
}

/// Options of `hostel image create`.
#[derive(Debug, Args)]
pub struct CreateOptions {
    /// The image to make; there must be none
    pub file: PathBuf,
    /// Its size, such as 20G [default: that of its base]
    #[arg(required_unless_present = "base")]
    pub size: Option<DiskSize>,
    #[command(flatten)]
    pub new: NewOptions,
    /// What the image shows where it was not written: another image's name, as seen from the new one's folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "base_format")]
    pub base: Option<String>,
    /// The base's format: raw or qcow2
    #[arg(long, value_name = "FORMAT", add = ArgValueCandidates::new(complete::formats), requires = "base")]
    pub base_format: Option<host_disk::Format>,
}

/// Options of `hostel image resize`.
#[derive(Debug, Args)]
pub struct ResizeOptions {
    /// The disk image
    pub file: PathBuf,
    /// Its new size, such as 40G, or what comes to it, such as +10G
    pub size: DiskSize,
    /// Allow that it becomes smaller; what is cut off is lost
    #[arg(long)]
    pub shrink: bool,
    #[command(flatten)]
    pub disk: DiskSource,
}
