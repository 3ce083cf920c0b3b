//! `cargo xtask boot`: boot loaders that start Linux from a disk by themselves, and Debian's installer.

use crate::boot_tests::{SHELL, Setup};
use crate::fat;
use crate::guest::Guest;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// A folder with the image of a disk.
struct Disk {
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Disk {
    /// A disk with Linux and its initial RAM disk, and with what starts them.
    fn with(setup: &Setup, files: &[(&str, &[u8])]) -> Result<Disk> {
        let (kernel, initrd) =
            (std::fs::read(setup.file("vmlinux")?)?, std::fs::read(setup.file("initramfs.cpio")?)?);
        let linux = [("vmlinux", &kernel[..]), ("initrd", &initrd[..])];
        let image = fat::disk(&[&linux[..], files].concat())?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("disk.img");
        std::fs::write(&file, image)?;
        Ok(Disk { file, folder })
    }

    /// One that U-Boot boots from.
    fn extlinux(setup: &Setup) -> Result<Disk> {
        let text =
            "default l\nlabel l\n  kernel /vmlinux\n  initrd /initrd\n  append console=ttyS0 by=extlinux\n";
        Disk::with(setup, &[("extlinux/extlinux.conf", text.as_bytes())])
    }

    /// One that UEFI firmware boots from, by systemd-boot.
    fn efi(setup: &Setup) -> Result<Disk> {
        let loader = std::fs::read(setup.file("systemd-bootriscv64.efi")?)?;
        let text = "title Linux\nlinux /vmlinux\ninitrd /initrd\noptions console=ttyS0 by=efi\n";
        let files: [(&str, &[u8]); 3] = [
            ("EFI/BOOT/BOOTRISCV64.EFI", &loader),
            ("loader/entries/linux.conf", text.as_bytes()),
            ("loader/loader.conf", b"timeout 0\n"),
        ];
        Disk::with(setup, &files)
    }

    fn argument(&self) -> Result<&str> {
        self.file.to_str().context("a temporary folder's name is not UTF-8")
    }
}

/// Starts with that disk, and is in the kernel with that command line then.
fn boots(setup: &Setup, disk: &Disk, arguments: &[&str], by: &str) -> Result<Guest> {
    let mut guest = setup.boots(SHELL, &[arguments, &["--disk", disk.argument()?]].concat())?;
    guest.answers("cat /proc/cmdline", &[by])?;
    Ok(guest)
}

pub fn u_boot_extlinux(setup: &Setup) -> Result<()> {
    let disk = Disk::extlinux(setup)?;
    boots(setup, &disk, &["--kernel", "@u-boot.bin"], "by=extlinux")?.ends_after("poweroff -f")
}

pub fn u_boot_opensbi(setup: &Setup) -> Result<()> {
    let disk = Disk::extlinux(setup)?;
    let arguments = ["--bios", "@fw_dynamic.bin", "--kernel", "@u-boot.bin"];
    boots(setup, &disk, &arguments, "by=extlinux")?.ends_after("poweroff -f")
}

pub fn u_boot_efi(setup: &Setup) -> Result<()> {
    let disk = Disk::efi(setup)?;
    let mut guest = boots(setup, &disk, &["--kernel", "@u-boot.bin"], "by=efi")?;
    guest.answers("dmesg | grep -i 'efi:'", &["EFI v2.", "by Das U-Boot"])?;
    guest.ends_after("poweroff -f")
}

/// EDK2's two files, the second in the disk's folder, so that it can be written.
fn variables(setup: &Setup, disk: &Disk) -> Result<PathBuf> {
    let file = disk.folder.path().join("vars.fd");
    std::fs::copy(setup.file("RISCV_VIRT_VARS.fd")?, &file)?;
    Ok(file)
}

fn edk2(setup: &Setup, more: &[&str]) -> Result<()> {
    let disk = Disk::efi(setup)?;
    let file = variables(setup, &disk)?;
    let code = format!("{},ro", setup.file("RISCV_VIRT_CODE.fd")?.display());
    let flash = ["--pflash", &code, "--pflash", file.to_str().context("name")?];
    // The first time, EDK2 writes down what it has found to boot; the second time it reads that.
    for _ in 0..2 {
        let mut guest = boots(setup, &disk, &[&flash[..], more].concat(), "by=efi")?;
        guest.answers("dmesg | grep -i 'efi:'", &["EFI v2.", "EDK II"])?;
        guest.ends_after("poweroff -f")?;
        keeps(setup, &file)?;
    }
    Ok(())
}

/// The file of variables is another than what it was copied from.
fn keeps(setup: &Setup, file: &Path) -> Result<()> {
    let (before, after) = (std::fs::read(setup.file("RISCV_VIRT_VARS.fd")?)?, std::fs::read(file)?);
    ensure!(before.len() == after.len() && before != after, "nothing was kept of the variables");
    // "BootOrder", as UEFI has it.
    let name: Vec<u8> = "BootOrder".encode_utf16().flat_map(u16::to_le_bytes).collect();
    ensure!(after.windows(name.len()).any(|part| part == name), "no order of boot entries was kept");
    Ok(())
}

pub fn edk2_built_in(setup: &Setup) -> Result<()> {
    edk2(setup, &[])
}

pub fn edk2_opensbi(setup: &Setup) -> Result<()> {
    edk2(setup, &["--bios", "@fw_dynamic.bin", "--cpus", "2"])
}

/// The kernel comes by fw_cfg.
pub fn edk2_kernel(setup: &Setup) -> Result<()> {
    let code = format!("{},ro", setup.file("RISCV_VIRT_CODE.fd")?.display());
    let variables = format!("{},overlay", setup.file("RISCV_VIRT_VARS.fd")?.display());
    let kernel =
        ["--kernel", "@vmlinux", "--initrd", "@initramfs.cpio", "--append", "console=ttyS0 by=fw_cfg"];
    let flash = ["--pflash", &code, "--pflash", &variables];
    let mut guest = setup.boots(SHELL, &[&flash[..], &kernel].concat())?;
    guest.answers("cat /proc/cmdline", &["by=fw_cfg"])?;
    guest.answers("dmesg | grep -i 'efi:'", &["EDK II"])?;
    guest.ends_after("poweroff -f")
}

/// Up to its first question. Its driver for disks comes from the network, so that there is no more to see without one.
pub fn installer(setup: &Setup) -> Result<()> {
    let append = "console=ttyS0 DEBIAN_FRONTEND=text";
    let mut guest =
        setup.starts(SHELL, &["--kernel", "@linux", "--initrd", "@initrd.gz", "--append", append])?;
    guest.waits_for("Select a language")?;
    guest.waits_for("Prompt:").map(drop)
}
