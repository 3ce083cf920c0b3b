//! The manifest of a cached image: what it was made from and what its files must look like.
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// The version of the manifest's own form.
pub(crate) const FORMAT: u32 = 1;

/// What a file of an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// The kernel to boot.
    Kernel,
    /// The initramfs that goes with it.
    Initrd,
    /// Firmware, told apart by name.
    Firmware,
    /// The root disk, raw and sparse or packed. Guests write to overlays over it, never to it.
    Disk,
}

/// The archive that the packages came from, as its signed `Release` file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// The mirror, without any user name or password.
    pub mirror: String,
    /// The suite that was asked for: the name under `dists/`.
    pub suite: String,
    /// The release's code name ("trixie").
    pub codename: String,
    /// The point release ("13.8"); empty where the archive names none.
    pub version: String,
    /// When the index was signed, in the archive's own form.
    pub date: String,
}

/// A package that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its hash as in the signed index, "SHA256:…".
    pub hash: String,
}

/// A file of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name, without a directory.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// Everything that is known of a cached image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub(crate) format: u32,
    /// The version of the recipe that the image was made by.
    pub(crate) recipe: u32,
    /// The image's name.
    pub name: String,
    /// The directory of the files, below the image's own.
    pub(crate) directory: String,
    /// When the image was fetched: RFC 3339, UTC.
    pub fetched: String,
    /// What the image itself wants on the kernel command line. The console is the machine's business.
    pub append: String,
    /// Where the packages came from.
    pub archive: ArchiveRecord,
    /// The packages.
    #[serde(rename = "package")]
    pub packages: Vec<PackageRecord>,
    /// The files.
    #[serde(rename = "file")]
    pub files: Vec<FileRecord>,
}

impl Manifest {
    /// Reads a manifest. `None` for anything that is not one in this form, or that names files outside
    /// its directory: such a cache entry is made again.
    pub(crate) fn parse(text: &str) -> Option<Manifest> {
        let manifest: Manifest = toml::from_str(text).ok()?;
        let plain =
            plain_name(&manifest.directory) && manifest.files.iter().all(|file| plain_name(&file.name));
        (manifest.format == FORMAT && plain).then_some(manifest)
    }

    /// The manifest as TOML.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Bytes that the image takes on disk.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }
}

/// Whether `name` is one plain path component.
fn plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// `time` as RFC 3339 in UTC, to the second.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    // 400 years are 146,097 days; the rest is few enough to count.
    let (mut year, mut left) = (1970 + days / 146_097 * 400, days % 146_097);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    pub(crate) fn sample() -> Manifest {
        Manifest {
            format: FORMAT,
            recipe: 1,
            name: "debian-busybox".into(),
            directory: "0123456789abcdef".into(),
            fetched: "2026-01-02T03:04:05Z".into(),
            append: String::new(),
            archive: ArchiveRecord {
                mirror: "file:///mirror \"quoted\"\n".into(),
                suite: "trixie".into(),
                codename: "trixie".into(),
                version: "13.2".into(),
                date: "Sat, 15 Nov 2025 09:00:00 UTC".into(),
            },
            packages: vec![PackageRecord {
                name: "a".into(),
                version: "1:2~3".into(),
                hash: "SHA256:00".into(),
            }],
            files: vec![FileRecord {
                name: "vmlinux".into(),
                role: Role::Kernel,
                size: 7,
                sha256: "00".into(),
            }],
        }
    }

    #[test]
    fn a_manifest_survives_the_round_trip() {
        assert_eq!(Manifest::parse(&sample().to_toml().unwrap()), Some(sample()));
    }

    #[test]
    fn what_points_outside_the_cache_is_refused() {
        for bad in ["..", ".", "", "a/b", "/etc/passwd", ".hidden"] {
            let mut manifest = sample();
            manifest.files[0].name = bad.into();
            assert_eq!(Manifest::parse(&manifest.to_toml().unwrap()), None, "file {bad:?}");
            let mut manifest = sample();
            manifest.directory = bad.into();
            assert_eq!(Manifest::parse(&manifest.to_toml().unwrap()), None, "directory {bad:?}");
        }
    }

    #[test]
    fn another_form_and_half_a_file_are_refused() {
        let mut manifest = sample();
        manifest.format = FORMAT + 1;
        assert_eq!(Manifest::parse(&manifest.to_toml().unwrap()), None);
        let text = sample().to_toml().unwrap();
        assert_eq!(Manifest::parse(&text[..text.len() / 2]), None);
        assert_eq!(Manifest::parse(""), None);
    }

    /// Known points of Unix time: the epoch, a leap day, the end of a century leap year, 2^31.
    #[test]
    fn dates_are_gregorian() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(978_307_199), "2000-12-31T23:59:59Z");
        assert_eq!(at(2_147_483_648), "2038-01-19T03:14:08Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
