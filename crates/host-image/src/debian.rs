//! The guest `debian`: what its root disk is made of, and what on it is not of a package.
use crate::error::Error;
use crate::network::Network;
use crate::rootfs::{Excluded, Tree};
use std::io::{self, Write};

/// The root disk's size, in bytes. What is never written takes no room on the host.
pub(crate) const SIZE: u64 = 16 << 30;
/// The label by which the root disk is found.
pub(crate) const LABEL: &str = "debian";
/// What is installed, with all that it depends on: names, and patterns of apt-patterns(7).
///
/// A base for daily work that starts fast: no log rotation, no mail, no manual pages' index, no Python; `apt install`
/// brings what is wanted. The kernel is none of it: it is booted from outside, so an upgrade inside must not take its
/// modules away.
pub(crate) const PACKAGES: &[&str] = &[
    "?essential",
    "apt",
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "init",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "login",
    "mount",
    "nano",
    "netbase",
    "passwd",
    "procps",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "tzdata",
    "udev",
];
/// What the machine that makes the disk has of packages among these, besides busybox.
pub(crate) const TOOLS: &[(&str, &[&str])] = &[
    ("e2fsprogs", &["usr/sbin/mke2fs", "etc/mke2fs.conf"]),
    ("libc6", &["usr/lib/ld-linux-*", "usr/lib/riscv64-linux-gnu/l*"]),
    ("libext2fs2t64", &["usr/lib/riscv64-linux-gnu/l*"]),
    ("libcom-err2", &["usr/lib/riscv64-linux-gnu/l*"]),
    ("libblkid1", &["usr/lib/riscv64-linux-gnu/l*"]),
    ("libuuid1", &["usr/lib/riscv64-linux-gnu/l*"]),
];
/// Translations: the only locale is C.UTF-8. dpkg is told the same ([`FILES`]).
pub(crate) const EXCLUDED: Excluded<'static> =
    Excluded { below: &["usr/share/locale/"], except: &["usr/share/locale/locale.alias"] };

/// Files of no package: path, permission bits, contents.
const FILES: &[(&str, u32, &str)] = &[
    ("etc/hostname", 0o644, "debian\n"),
    (
        "etc/hosts",
        0o644,
        "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost ip6-loopback\n\
         ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n",
    ),
    (
        "etc/fstab",
        0o644,
        "# Folders that the host shares are mounted below /mnt by a generator of systemd, each under its tag.\n\
         LABEL=debian / ext4 errors=remount-ro,noatime 0 1\n",
    ),
    ("etc/locale.conf", 0o644, "LANG=C.UTF-8\n"),
    (
        "etc/systemd/network/80-ethernet.network",
        0o644,
        "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n",
    ),
    (
        "etc/dpkg/dpkg.cfg.d/hostel",
        0o644,
        "# The only locale is C.UTF-8. Without these lines packages that are installed from now on have translations.\n\
         path-exclude=/usr/share/locale/*\npath-include=/usr/share/locale/locale.alias\n",
    ),
    ("usr/lib/systemd/system-generators/hostel-mount-shares", 0o755, include_str!("../guest/mount-shares")),
];
/// Symbolic links of no package: path and target.
///
/// The timers would fetch package lists and hold apt's lock when someone has just logged in to use it.
const LINKS: &[(&str, &str)] = &[
    ("etc/default/locale", "../locale.conf"),
    ("etc/systemd/system/apt-daily.timer", "/dev/null"),
    ("etc/systemd/system/apt-daily-upgrade.timer", "/dev/null"),
];

/// Adds what is of no package.
pub(crate) fn add_files<W: Write>(tree: &mut Tree<W>, network: &Network) -> io::Result<()> {
    for (path, mode, text) in FILES {
        tree.file(path, *mode, text.as_bytes())?;
    }
    for (path, target) in LINKS {
        tree.symlink(path, target)?;
    }
    tree.file("etc/apt/sources.list.d/debian.sources", 0o644, network.sources().as_bytes())?;
    tree.file("etc/issue.d/hostel.issue", 0o644, issue(network).as_bytes())?;
    if !network.proxies.is_empty() {
        tree.file("etc/apt/apt.conf.d/50hostel-proxy", 0o644, network.proxies.as_bytes())?;
    }
    Ok(())
}

/// What stands above the login prompt.
fn issue(network: &Network) -> String {
    let mut text = "Log in as root: there is no password until passwd sets one.\n".to_owned();
    if network.lacks() {
        text.push_str("Some package lists are switched off: see /etc/apt/sources.list.d/debian.sources\n");
    }
    text.push('\n');
    text
}

/// A script of the guest's with its values in place of their names between `@`.
///
/// # Errors
/// [`Error::Package`] if a value is no plain word, which a script could take for something else.
pub(crate) fn script(text: &str, values: &[(&str, &str)]) -> Result<String, Error> {
    let mut text = text.to_owned();
    for (name, value) in values {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._+/~".contains(c);
        if value.is_empty() || !value.chars().all(plain) {
            let reason = format!("has an odd name of a release, {}", crate::mirror::printable(value));
            return Err(Error::Package { package: "linux-image".to_owned(), reason });
        }
        text = text.replace(&format!("@{name}@"), value);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_scripts_are_plain_words() {
        assert_eq!(script("a @X@ b @X@", &[("X", "6.12.1+deb13")]).unwrap(), "a 6.12.1+deb13 b 6.12.1+deb13");
        for bad in ["", "a b", "$(x)", "a;b", "a\nb", "`x`"] {
            assert!(script("@X@", &[("X", bad)]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_label_is_one() {
        assert!(
            FILES
                .iter()
                .any(|(path, _, text)| *path == "etc/fstab" && text.contains(&format!("\nLABEL={LABEL} /")))
        );
        assert!(LABEL.len() <= 16, "ext4 takes no more");
    }
}
