//! Which images there are and which files of which Debian packages they are made of.
use crate::debian;
use crate::manifest::Role;

/// The Debian release that every image is made from.
pub const SUITE: &str = "trixie";
/// The other name under which mirrors serve [`SUITE`] while it is the stable release.
pub(crate) const ALIAS: &str = "stable";

/// The image that `hostel run` boots when it is given no guest.
pub const DEFAULT_GUEST: &str = "debian-busybox";

/// Bumped when an image made by an older Hostel must be made again (other files, another init).
pub(crate) const RECIPE: u32 = 1;

/// What processor an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// RV64GC.
    Riscv64,
    /// x86-64.
    Amd64,
}

impl Architecture {
    /// Debian's name of it, as in its index and in `dpkg --print-architecture`.
    pub fn debian(self) -> &'static str {
        match self {
            Architecture::Riscv64 => "riscv64",
            Architecture::Amd64 => "amd64",
        }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.debian())
    }
}

/// A known image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageName {
    /// The name as typed.
    pub name: &'static str,
    /// The processor that it is for.
    pub architecture: Architecture,
    /// What it is, in half a line.
    pub about: &'static str,
    /// Whether it has a kernel; else it is firmware, or files for a guest.
    pub boots: bool,
    /// Whether it has a root disk, which takes a place for a disk of the machine that it boots in.
    pub disk: bool,
}

/// Every image, the default guest first.
pub const IMAGES: &[ImageName] = &[
    ImageName {
        name: DEFAULT_GUEST,
        architecture: Architecture::Riscv64,
        about: "Debian 13 kernel with a busybox shell (the default guest)",
        boots: true,
        disk: false,
    },
    ImageName {
        name: "debian",
        architecture: Architecture::Riscv64,
        about: "Debian 13 with systemd and apt on a root disk",
        boots: true,
        disk: true,
    },
    ImageName {
        name: "debian-cloud-amd64",
        architecture: Architecture::Amd64,
        about: "Debian 13 cloud kernel with busybox; dies in user space, which needs SSE2",
        boots: true,
        disk: false,
    },
    ImageName {
        name: "debian-python",
        architecture: Architecture::Riscv64,
        about: "Python 3.13 as a second initramfs, for `hostel bench`: python.cpio",
        boots: false,
        disk: false,
    },
    ImageName {
        name: "debian-installer",
        architecture: Architecture::Riscv64,
        about: "Debian 13's installer, in text mode; it installs on a disk of yours",
        boots: true,
        disk: false,
    },
    ImageName {
        name: "edk2",
        architecture: Architecture::Riscv64,
        about: "EDK2 (UEFI) for the virt machine's flash memory; it boots from a disk of yours",
        boots: false,
        disk: false,
    },
    ImageName {
        name: "opensbi",
        architecture: Architecture::Riscv64,
        about: "OpenSBI firmware, generic platform: fw_dynamic.bin, fw_jump.bin",
        boots: false,
        disk: false,
    },
    ImageName {
        name: "systemd-boot",
        architecture: Architecture::Riscv64,
        about: "systemd-boot, for an EFI system partition: systemd-bootriscv64.efi",
        boots: false,
        disk: false,
    },
    ImageName {
        name: "u-boot",
        architecture: Architecture::Riscv64,
        about: "U-Boot for supervisor mode on the virt machine; it boots from a disk of yours",
        boots: false,
        disk: false,
    },
];

/// How a machine starts a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// This file of the image takes a kernel's place in memory.
    Program(&'static str),
    /// It is in flash memory.
    Flash {
        /// The file that the first bank holds, which nobody writes to.
        code: &'static str,
        /// What the second bank begins with: variables without values, 32 MiB.
        variables: &'static str,
    },
}

/// How the image of that name starts, if it is a boot loader: such an image has no kernel, but it starts one from a disk.
pub fn loader(name: &str) -> Option<Loader> {
    match name {
        "edk2" => Some(Loader::Flash { code: EDK2_CODE, variables: EDK2_VARIABLES }),
        "u-boot" => Some(Loader::Program(U_BOOT)),
        _ => None,
    }
}

const U_BOOT: &str = "u-boot.bin";
const EDK2_CODE: &str = "RISCV_VIRT_CODE.fd";
const EDK2_VARIABLES: &str = "RISCV_VIRT_VARS.fd";

const MIB: u64 = 1 << 20;

/// How a package's name is found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Package {
    /// It is this one.
    Named(&'static str),
    /// It is what `meta` depends on under a name that begins with `prefix`.
    DependencyOf { meta: &'static str, prefix: &'static str },
}

/// One file to take out of a package.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    /// Paths in the package, the first that occurs is taken; a final `*` stands for any file name's end.
    pub paths: &'static [&'static str],
    /// The file's name in the image.
    pub to: &'static str,
    /// What it is for; `None` for an ingredient that does not stay.
    pub role: Option<Role>,
    /// The largest size that is believed, in bytes.
    pub limit: u64,
}

/// A package and what is taken from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub package: Package,
    pub picks: &'static [Pick],
}

/// Files of packages at the places where the packages have them, in an archive that a kernel unpacks behind an
/// initramfs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overlay {
    /// The archive's name in the image.
    pub to: &'static str,
    /// Packages, and which files of each: patterns as in [`Pick::paths`], or a directory with a final `/` for all
    /// below it.
    pub packages: &'static [(&'static str, &'static [&'static str])],
    /// Symbolic links, name and target, that no package has.
    pub links: &'static [(&'static str, &'static str)],
}

/// A root disk that is made from packages, with the kernel that the recipe picks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RootDisk {
    /// The disk's name in the image, as it is and packed, and that of the initramfs that it is booted with.
    pub raw: &'static str,
    pub packed: &'static str,
    pub initramfs: &'static str,
    /// What is installed, with all that it depends on: names, and patterns of apt-patterns(7).
    pub packages: &'static [&'static str],
    /// Its size, in bytes.
    pub size: u64,
}

/// What an image is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub name: &'static str,
    /// The architecture that its packages are of.
    pub architecture: Architecture,
    pub sources: &'static [Source],
    /// The ingredient that an initramfs is built around, and the name that it gets.
    pub initramfs: Option<(&'static str, &'static str)>,
    /// An archive of whole parts of packages.
    pub overlay: Option<Overlay>,
    /// A root disk.
    pub disk: Option<&'static RootDisk>,
    /// What it wants on the kernel command line.
    pub append: &'static str,
}

/// What an initramfs is built around.
const BUSYBOX: Source = Source {
    package: Package::Named("busybox-static"),
    picks: &[Pick { paths: &["usr/bin/busybox", "bin/busybox"], to: "busybox", role: None, limit: 16 * MIB }],
};

/// Debian's kernel for RISC-V.
const KERNEL: Source = Source {
    package: Package::DependencyOf { meta: "linux-image-riscv64", prefix: "linux-image-" },
    picks: &[Pick {
        paths: &["boot/vmlinux-*", "boot/vmlinuz-*"],
        to: "vmlinux",
        role: Some(Role::Kernel),
        limit: 256 * MIB,
    }],
};

const RECIPES: &[Recipe] = &[
    Recipe {
        name: DEFAULT_GUEST,
        architecture: Architecture::Riscv64,
        sources: &[KERNEL, BUSYBOX],
        initramfs: Some(("busybox", "initramfs.cpio")),
        overlay: None,
        disk: None,
        append: "",
    },
    Recipe {
        name: "debian",
        architecture: Architecture::Riscv64,
        // The machine that makes the disk is booted with the first and built around the second.
        sources: &[KERNEL, BUSYBOX],
        initramfs: None,
        overlay: None,
        disk: Some(&RootDisk {
            raw: "root.raw",
            packed: "root.qcow2",
            initramfs: "initramfs.cpio",
            packages: debian::PACKAGES,
            size: debian::SIZE,
        }),
        // Of the kernel only what is worth a look; what starts is told by the system itself.
        append: "loglevel=4",
    },
    Recipe {
        name: "debian-cloud-amd64",
        architecture: Architecture::Amd64,
        sources: &[
            Source {
                package: Package::DependencyOf { meta: "linux-image-cloud-amd64", prefix: "linux-image-" },
                picks: &[Pick {
                    paths: &["boot/vmlinuz-*"],
                    to: "vmlinuz",
                    role: Some(Role::Kernel),
                    limit: 256 * MIB,
                }],
            },
            BUSYBOX,
        ],
        initramfs: Some(("busybox", "initramfs-amd64.cpio")),
        overlay: None,
        disk: None,
        // Tests of its cryptography, a third of an interpreted start.
        append: "cryptomgr.notests",
    },
    Recipe {
        name: "debian-python",
        architecture: Architecture::Riscv64,
        sources: &[],
        initramfs: None,
        overlay: Some(Overlay {
            to: "python.cpio",
            packages: &[
                ("python3.13-minimal", &["usr/bin/python3.13"]),
                ("libpython3.13-minimal", &["usr/lib/python3.13/"]),
                ("libpython3.13-stdlib", &["usr/lib/python3.13/"]),
                ("libc6", &["usr/lib/ld-linux-*", "usr/lib/riscv64-linux-gnu/l*"]),
                ("libexpat1", &["usr/lib/riscv64-linux-gnu/l*"]),
                ("zlib1g", &["usr/lib/riscv64-linux-gnu/l*"]),
            ],
            // Programs name their loader below /lib, which Debian has as a link.
            links: &[("lib", "usr/lib")],
        }),
        disk: None,
        append: "",
    },
    Recipe {
        name: "debian-installer",
        architecture: Architecture::Riscv64,
        sources: &[Source {
            package: Package::Named("debian-installer-13-netboot-riscv64"),
            picks: &[
                Pick {
                    paths: &[
                        "usr/lib/debian-installer/images/13/riscv64/text/debian-installer/riscv64/linux",
                    ],
                    to: "linux",
                    role: Some(Role::Kernel),
                    limit: 256 * MIB,
                },
                Pick {
                    paths: &[
                        "usr/lib/debian-installer/images/13/riscv64/text/debian-installer/riscv64/initrd.gz",
                    ],
                    to: "initrd.gz",
                    role: Some(Role::Initrd),
                    limit: 256 * MIB,
                },
            ],
        }],
        initramfs: None,
        overlay: None,
        disk: None,
        append: "",
    },
    Recipe {
        name: "edk2",
        architecture: Architecture::Riscv64,
        sources: &[Source {
            package: Package::Named("qemu-efi-riscv64"),
            picks: &[
                Pick {
                    paths: &["usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd"],
                    to: EDK2_CODE,
                    role: Some(Role::Firmware),
                    limit: 32 * MIB,
                },
                Pick {
                    paths: &["usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd"],
                    to: EDK2_VARIABLES,
                    role: Some(Role::Firmware),
                    limit: 32 * MIB,
                },
            ],
        }],
        initramfs: None,
        overlay: None,
        disk: None,
        append: "",
    },
    Recipe {
        name: "opensbi",
        architecture: Architecture::Riscv64,
        sources: &[Source {
            package: Package::Named("opensbi"),
            picks: &[
                Pick {
                    paths: &["usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"],
                    to: "fw_dynamic.bin",
                    role: Some(Role::Firmware),
                    limit: 16 * MIB,
                },
                Pick {
                    paths: &["usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin"],
                    to: "fw_jump.bin",
                    role: Some(Role::Firmware),
                    limit: 16 * MIB,
                },
            ],
        }],
        initramfs: None,
        overlay: None,
        disk: None,
        append: "",
    },
    Recipe {
        name: "systemd-boot",
        architecture: Architecture::Riscv64,
        sources: &[Source {
            package: Package::Named("systemd-boot-efi"),
            picks: &[Pick {
                paths: &["usr/lib/systemd/boot/efi/systemd-bootriscv64.efi"],
                to: "systemd-bootriscv64.efi",
                role: Some(Role::Firmware),
                limit: 4 * MIB,
            }],
        }],
        initramfs: None,
        overlay: None,
        disk: None,
        append: "",
    },
    Recipe {
        name: "u-boot",
        architecture: Architecture::Riscv64,
        sources: &[Source {
            package: Package::Named("u-boot-qemu"),
            picks: &[Pick {
                paths: &["usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"],
                to: U_BOOT,
                role: Some(Role::Firmware),
                limit: 16 * MIB,
            }],
        }],
        initramfs: None,
        overlay: None,
        disk: None,
        append: "",
    },
];

pub(crate) fn recipe(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}

/// The names of all images, for a message.
pub(crate) fn known_names() -> String {
    IMAGES.iter().map(|image| image.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_that_is_listed_can_be_made() {
        assert_eq!(IMAGES[0].name, DEFAULT_GUEST);
        let listed: Vec<_> = IMAGES.iter().map(|image| image.name).collect();
        let made: Vec<_> = RECIPES.iter().map(|recipe| recipe.name).collect();
        assert_eq!(listed, made);
        for (image, recipe) in IMAGES.iter().zip(RECIPES) {
            let mut picks = recipe.sources.iter().flat_map(|source| source.picks);
            assert_eq!(image.boots, picks.any(|pick| pick.role == Some(Role::Kernel)), "{}", image.name);
            assert_eq!(image.architecture, recipe.architecture, "{}", image.name);
            assert_eq!(image.disk, recipe.disk.is_some(), "{}", image.name);
            let files: Vec<_> =
                recipe.sources.iter().flat_map(|source| source.picks).map(|pick| pick.to).collect();
            match loader(image.name) {
                Some(Loader::Program(file)) => assert!(files.contains(&file)),
                Some(Loader::Flash { code, variables }) => assert_eq!(files, [code, variables]),
                None => {}
            }
        }
    }
}
