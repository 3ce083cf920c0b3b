//! The modules of a kernel: those that a machine of ours can want for a disk, and the few that it takes to reach that
//! disk.
use crate::cpio::Newc;
use crate::deb::{Stop, read};
use crate::error::Error;
use crate::progress::Progress;
use crate::rootfs::Tree;
use std::io::{self, Read, Write};
use std::path::Path;

/// Where a kernel package has them, and where the disk has them.
const FROM: [&str; 2] = ["usr/lib/modules/", "lib/modules/"];
const TO: &str = "usr/lib/modules/";
/// The largest module that is believed, in bytes; compressed, the largest there are have some 3 MiB.
const LIMIT: u64 = 64 << 20;
/// What a root disk needs before there is one, in an order that suits; Debian's kernel has none of it built in.
const NEEDED: &[&str] = &["crc16", "crc32c_generic", "mbcache", "jbd2", "ext4", "virtio_mmio", "virtio_blk"];
/// The same where the disk is an SD card behind an SPI controller of SiFive's, as on `sifive_u`. They are loaded only there.
const NEEDED_ON_SD: &[&str] =
    &["crc7", "crc-itu-t", "mmc_core", "mmc_block", "of_mmc_spi", "mmc_spi", "spi-sifive"];
/// What is left out, below `kernel/`: drivers of hardware that is in no board of ours and on no bus of one, and what
/// serves only those. They are half of all modules, and a minute or two of the making of a disk; and what is not there
/// is not loaded by a program that asks about radios at every start.
const LEFT_OUT: &[&str] = &[
    "drivers/bluetooth/",
    "drivers/gpu/drm/amd/",
    "drivers/gpu/drm/nouveau/",
    "drivers/gpu/drm/radeon/",
    "drivers/gpu/drm/xe/",
    "drivers/hwmon/",
    "drivers/iio/",
    "drivers/infiniband/",
    "drivers/media/",
    "drivers/net/can/",
    "drivers/net/wireless/",
    "drivers/net/wwan/",
    "drivers/staging/",
    "net/bluetooth/",
    "net/can/",
    "net/mac80211/",
    "net/nfc/",
    "net/wireless/",
    "sound/",
];
/// Without these there is no disk.
const REQUIRED: &[&str] = &["virtio_blk", "ext4"];

/// A kernel's modules.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// The kernel's own name, as `uname -r` says it.
    pub release: String,
    /// The modules of [`NEEDED`] and [`NEEDED_ON_SD`]: file names and contents.
    needed: Vec<(String, Vec<u8>)>,
}

impl Modules {
    /// Copies the modules, but for [`LEFT_OUT`], out of the kernel package file `deb` of the package `name` into `tree`,
    /// and keeps those that an initramfs needs.
    pub fn take<W: Write>(
        deb: &Path,
        name: &str,
        tree: &mut Tree<W>,
        progress: &mut dyn Progress,
    ) -> Result<Modules, Error> {
        let modules = read(deb, name, |archive| {
            let mut modules = Modules::default();
            for entry in archive.entries().map_err(Stop::Broken)? {
                let mut entry = entry.map_err(Stop::Broken)?;
                progress.bytes(entry.raw_file_position(), None);
                let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                let path = path.strip_prefix("./").unwrap_or(&path);
                let Some(inner) = FROM.iter().find_map(|from| path.strip_prefix(from)) else { continue };
                if entry.header().entry_type() != tar::EntryType::Regular || left_out(inner) {
                    continue;
                }
                if entry.size() > LIMIT {
                    return Err(Stop::TooLarge(path.to_owned()));
                }
                let mut data = Vec::new();
                entry.read_to_end(&mut data).map_err(Stop::Broken)?;
                tree.file(&format!("{TO}{inner}"), 0o644, &data).map_err(Stop::Broken)?;
                modules.keep(inner, data);
            }
            Ok((modules, false))
        })?;
        let missing = REQUIRED.iter().find(|module| !modules.needed.iter().any(|(name, _)| is(name, module)));
        match missing {
            None => Ok(modules),
            Some(module) => {
                let reason = format!("has no module {module}");
                Err(Error::Package { package: name.to_owned(), reason })
            }
        }
    }

    /// Keeps a file, at RELEASE/PLACE/NAME, if an initramfs needs it.
    fn keep(&mut self, path: &str, data: Vec<u8>) {
        let Some((release, place)) = path.split_once('/') else { return };
        self.release = release.to_owned();
        let name = place.rsplit('/').next().unwrap_or_default();
        if NEEDED.iter().chain(NEEDED_ON_SD).any(|module| is(name, module)) {
            self.needed.push((name.to_owned(), data));
        }
    }

    /// Adds what [`LOAD_MODULES`] loads to an initramfs.
    pub fn add_to<W: Write>(&self, archive: &mut Newc<W>) -> io::Result<()> {
        for (folder, modules) in [("modules", NEEDED), ("modules/sd", NEEDED_ON_SD)] {
            archive.directory(folder, 0o755)?;
            for (place, module) in modules.iter().enumerate() {
                for (name, data) in self.needed.iter().filter(|(name, _)| is(name, module)) {
                    archive.file(&format!("{folder}/{place}-{name}"), 0o644, data)?;
                }
            }
        }
        archive.file("load-modules", 0o644, LOAD_MODULES.as_bytes())
    }
}

/// A shell's function that loads the modules of an initramfs.
const LOAD_MODULES: &str = include_str!("../guest/load-modules");

/// Whether a file, at RELEASE/PLACE, is not wanted.
fn left_out(path: &str) -> bool {
    let place = path.split_once("/kernel/").map_or("", |(_, place)| place);
    LEFT_OUT.iter().any(|directory| place.starts_with(directory))
}

/// Whether a file of this name is that module, compressed or not.
fn is(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.starts_with(".ko"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radios_are_left_out_and_lists_are_not() {
        assert!(left_out("6.1/kernel/net/wireless/cfg80211.ko.xz"));
        assert!(!left_out("6.1/kernel/net/ipv6/ip6_tables.ko.xz"));
        assert!(!left_out("6.1/kernel/drivers/net/virtio_net.ko.xz"));
        assert!(!left_out("6.1/modules.order"));
    }

    #[test]
    fn only_what_reaches_a_disk_is_kept() {
        let mut modules = Modules::default();
        for path in
            ["6.1/kernel/fs/ext4/ext4.ko.xz", "6.1/kernel/x/ext4_other.ko", "6.1/modules.order", "odd"]
        {
            modules.keep(path, b"elf".to_vec());
        }
        assert_eq!(modules.release, "6.1");
        assert_eq!(modules.needed, [("ext4.ko.xz".to_owned(), b"elf".to_vec())]);
        modules.keep("6.1/kernel/drivers/mmc/host/mmc_spi.ko.xz", b"elf".to_vec());
        let mut archive = Newc::new(Vec::new());
        modules.add_to(&mut archive).unwrap();
        let bytes = String::from_utf8(archive.finish().unwrap()).unwrap();
        assert!(bytes.contains("modules/4-ext4.ko.xz\0") && bytes.contains("load_modules()"));
        assert!(bytes.contains("modules/sd/5-mmc_spi.ko.xz\0"));
    }
}
