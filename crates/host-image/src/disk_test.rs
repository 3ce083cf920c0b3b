//! The first stage with packages made here, and a machine that only looks at what it is given.
use super::*;
use crate::progress::Silent;
use crate::runner::Job;
use std::io::Read;
use std::process::Command;

/// Makes a package file at its place in the archive: files, and members of the control archive, by path.
fn package(archive: &Archive, name: &str, files: &[(&str, &str)], control: &[(&str, &str)]) -> Deb {
    let deb = Deb {
        name: name.into(),
        version: "1".into(),
        file: format!("{name}_1_riscv64.deb"),
        size: 0,
        hash: String::new(),
    };
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str, mode: u32| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&path, mode).unwrap();
    };
    let stanza = format!(
        "Package: {name}\nVersion: 1\nArchitecture: riscv64\nMaintainer: a <a@b.example>\nDescription: {name}\n"
    );
    write("DEBIAN/control", &stanza, 0o644);
    files.iter().for_each(|(path, text)| write(path, text, 0o644));
    control.iter().for_each(|(member, text)| {
        write(&format!("DEBIAN/{member}"), text, if text.starts_with("#!") { 0o755 } else { 0o644 });
    });
    let mut build = Command::new("dpkg-deb");
    build.args(["--build", "--root-owner-group"]).arg(root.path()).arg(archive.path(&deb));
    assert!(build.output().unwrap().status.success(), "{name}");
    deb
}

const DISK: RootDisk =
    RootDisk { raw: "r", packed: "p", initramfs: "i", packages: &["e2fsprogs", "?essential"], size: 1 << 30 };
const KERNEL: &[(&str, &str)] = &[
    ("boot/vmlinux-6.1", "kernel"),
    ("usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko.xz", "blk"),
    ("usr/lib/modules/6.1/kernel/fs/ext4/ext4.ko.xz", "ext4"),
    ("usr/lib/modules/6.1/kernel/sound/virtio_snd.ko.xz", "no"),
    ("usr/lib/modules/6.1/modules.order", "order"),
];

/// A machine that remembers what it was given and says this.
struct Machine {
    says: &'static str,
    job: Option<Job>,
    tar: Vec<u8>,
    initrd: Vec<u8>,
    disk_size: u64,
}

impl Runner for Machine {
    fn run(&mut self, job: &Job, serial: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        self.disk_size = fs::metadata(&job.disks[0].path).unwrap().len();
        self.tar = fs::read(&job.disks[1].path).unwrap();
        self.initrd = fs::read(&job.initrd).unwrap();
        self.job = Some(job.clone());
        serial(self.says.as_bytes());
        Ok(())
    }
}

/// What came of it: the result of `make`, the machine, and the log.
fn made(kernel: &[(&str, &str)], says: &'static str) -> (Result<Vec<u8>, Error>, Machine, String) {
    let work = tempfile::tempdir().unwrap();
    let apt = work.path().join("apt");
    fs::create_dir(&apt).unwrap();
    let archive = Archive::open(&apt, "file:///nowhere", "trixie", Architecture::Riscv64).unwrap();
    let mut debs = Vec::new();
    for (name, parts) in TOOLS {
        let path = |part: &&str| part.replace('*', "x.so");
        let files: Vec<String> = parts.iter().map(path).filter(|path| !path.starts_with("etc/")).collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|path| (path.as_str(), "elf"))
            // As in Debian, each has files of its own.
            .filter(|(path, _)| *name == "libc6" || !path.contains("/l"))
            .collect();
        let own = format!("usr/lib/riscv64-linux-gnu/{name}.so");
        let files = [&files[..], &[(own.as_str(), "elf")]].concat();
        let control: &[(&str, &str)] = match *name {
            "libc6" => &[("preinst", "#!/bin/sh\n"), ("triggers", "interest-noawait ldconfig\n")],
            _ => &[],
        };
        let conffile = [("etc/mke2fs.conf", "conf")];
        let (files, control) = match *name {
            "e2fsprogs" => ([&files[..], &conffile].concat(), &[("conffiles", "/etc/mke2fs.conf\n")] as &[_]),
            _ => (files, control),
        };
        debs.push(package(&archive, name, &files, control));
    }
    let kernel_deb = package(&archive, "linux-image-6.1", kernel, &[]);
    let log = work.path().join("log");
    let making = Making {
        disk: &DISK,
        architecture: Architecture::Riscv64,
        archive: &archive,
        debs: &debs,
        kernel_deb: &kernel_deb,
        kernel: Path::new("vmlinux"),
        busybox: b"busybox",
        network: &Network::default(),
        work: work.path(),
        log: &log,
    };
    let mut machine = Machine { says, job: None, tar: Vec::new(), initrd: Vec::new(), disk_size: 0 };
    let result = make(&making, &work.path().join("disk"), &mut machine, &mut Silent);
    (result, machine, fs::read_to_string(log).unwrap_or_default())
}

/// A file of a tar archive.
fn file(tar: &[u8], path: &str) -> Option<(u32, String)> {
    let mut archive = tar::Archive::new(tar);
    let mut entries = archive.entries().unwrap().map(|entry| entry.unwrap());
    let mut entry = entries.find(|entry| entry.path().unwrap() == Path::new(path))?;
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    Some((entry.header().mode().unwrap(), text))
}

fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn the_machine_gets_a_new_disk_and_a_system_to_unpack() {
    let (result, machine, log) = made(KERNEL, "words\nhostel-build: done\n");
    let initramfs = result.unwrap();
    assert_eq!(log, "words\nhostel-build: done\n");
    let job = machine.job.as_ref().unwrap();
    assert_eq!(job.disks.iter().map(|disk| disk.read_only).collect::<Vec<_>>(), [false, true]);
    assert_eq!(machine.disk_size, DISK.size);
    let text = |path: &str| file(&machine.tar, path).unwrap_or_else(|| panic!("no {path}"));
    let (_, status) = text("var/lib/dpkg/status");
    assert_eq!(status.matches("Status: install ok unpacked\n").count(), TOOLS.len());
    assert!(status.contains("\nConffiles:\n /etc/mke2fs.conf newconffile\n"), "{status}");
    assert_eq!(text("etc/mke2fs.conf.dpkg-new").1, "conf");
    assert_eq!(text("var/lib/dpkg/info/libc6.preinst"), (0o755, "#!/bin/sh\n".into()));
    assert!(text("var/lib/dpkg/info/e2fsprogs.list").1.contains("/usr/sbin/mke2fs\n"));
    // The package that was named is nobody's dependency, the others are.
    let (_, states) = text("var/lib/apt/extended_states");
    assert!(states.contains("Package: libc6\n") && !states.contains("Package: e2fsprogs\n"), "{states}");
    assert_eq!(text("usr/lib/modules/6.1/modules.order").1, "order");
    assert_eq!(file(&machine.tar, "usr/lib/modules/6.1/kernel/sound/virtio_snd.ko.xz"), None);
    assert!(text("etc/fstab").1.contains("LABEL="));
    for initrd in [&machine.initrd, &initramfs] {
        assert!(holds(initrd, "modules/6-virtio_blk.ko.xz\0") && holds(initrd, "load_modules()"));
        assert!(!holds(initrd, "@LABEL@"), "a value stands in place of its name");
    }
    assert!(holds(&machine.initrd, "usr/sbin/mke2fs\0") && holds(&machine.initrd, "release=6.1\n"));
    assert!(!holds(&initramfs, "mke2fs"), "what only the making needs stays behind");
}

#[test]
fn a_machine_that_fails_is_told_with_its_last_words() {
    let (result, _, log) = made(KERNEL, "tar: short read\nhostel-build: failed unpacking: tar ended\n");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("unpacking: tar ended") && error.contains("\n  | tar: short read"), "{error}");
    assert!(log.contains("short read"));
}

#[test]
fn a_kernel_without_the_driver_of_the_disk_is_refused() {
    let kernel = [("usr/lib/modules/6.1/kernel/fs/ext4/ext4.ko", "ext4")];
    let (result, machine, _) = made(&kernel, "");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("virtio_blk") && machine.job.is_none(), "{error}");
}

#[test]
fn a_release_that_a_script_could_take_for_something_else_is_refused() {
    let kernel = [
        ("usr/lib/modules/$(x)/kernel/virtio_blk.ko", "blk"),
        ("usr/lib/modules/$(x)/kernel/ext4.ko", "ext4"),
    ];
    let (result, machine, _) = made(&kernel, "");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("odd name") && machine.job.is_none(), "{error}");
}
