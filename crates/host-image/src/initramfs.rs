//! The root file system of the guests with a shell: busybox, a few files, and an init of thirty lines.
use crate::cpio::Newc;
use std::io::{self, Write};

/// Process 1 of those guests.
///
/// `busybox --install` makes the applet links at boot, because the list of applets is in a program for
/// another processor; it is some 270 `symlink` calls. `cttyhack` finds the terminal behind the kernel's
/// console, whatever its name (ttyS0, hvc0, ttySIF0), so that the shell has job control. Process 1 stays
/// behind the shell, since a kernel whose process 1 ends panics.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM="${TERM:-linux}"
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
read -r name </etc/hostname && hostname "$name"
read -r release </proc/sys/kernel/osrelease
ip link set lo up
cd /root
echo
echo "Linux $release with busybox. To leave: poweroff -f, or Ctrl-A x."
setsid cttyhack sh -l
poweroff -f
"#;

/// Starts an initramfs: directories, busybox, and what a program finds in any of them.
pub(crate) fn base<W: Write>(mut archive: Newc<W>, busybox: &[u8]) -> io::Result<Newc<W>> {
    for directory in ["bin", "dev", "etc", "proc", "run", "sys"] {
        archive.directory(directory, 0o755)?;
    }
    archive.directory("root", 0o700)?;
    archive.directory("tmp", 0o1777)?;
    // The kernel opens /dev/console for process 1 before anything is mounted.
    archive.character_device("dev/console", 0o600, 5, 1)?;
    archive.character_device("dev/null", 0o666, 1, 3)?;
    archive.file("bin/busybox", 0o755, busybox)?;
    archive.symlink("bin/sh", "busybox")?;
    archive.file("etc/passwd", 0o644, b"root::0:0:root:/root:/bin/sh\n")?;
    archive.file("etc/group", 0o644, b"root:x:0:\n")?;
    Ok(archive)
}

/// Writes the initramfs: uncompressed, because inflating costs a guest more than the copy saves.
///
/// The same `busybox` gives the same bytes.
pub fn write_initramfs<W: Write>(busybox: &[u8], out: W) -> io::Result<W> {
    let mut archive = base(Newc::new(out), busybox)?;
    archive.file("etc/hostname", 0o644, b"hostel\n")?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_busybox_same_bytes() {
        let first = write_initramfs(b"elf", Vec::new()).unwrap();
        assert_eq!(first, write_initramfs(b"elf", Vec::new()).unwrap());
        assert_ne!(first, write_initramfs(b"ELF", Vec::new()).unwrap());
    }

    #[test]
    fn init_comes_with_an_interpreter_that_is_in_the_archive() {
        let bytes = write_initramfs(b"elf", Vec::new()).unwrap();
        let find = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
        let directory = find(b"bin\0").unwrap();
        assert!(directory < find(b"bin/busybox\0").unwrap(), "the kernel needs a directory before its files");
        assert!(find(b"#!/bin/busybox sh\n").is_some());
    }
}
