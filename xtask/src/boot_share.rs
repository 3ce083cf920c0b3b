//! `cargo xtask boot`: folders of the host's in the guest `debian`, and what must not lead out of them.

use crate::boot_images::cached;
use crate::boot_tests::Setup;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;

/// Where the guest must not get.
const SECRET: &str = "what no guest may read";

/// A folder with ways that seem to lead out of it, and a secret beside it.
fn place() -> Result<tempfile::TempDir> {
    let place = tempfile::tempdir()?;
    fs::create_dir(place.path().join("shared"))?;
    fs::create_dir(place.path().join("readable"))?;
    fs::write(place.path().join("secret"), SECRET)?;
    let shared = place.path().join("shared");
    fs::write(shared.join("file"), "from the host\n")?;
    symlink("../secret", shared.join("up"))?;
    symlink(place.path().join("secret"), shared.join("absolute"))?;
    symlink("/proc/self/root", shared.join("magic"))?;
    Ok(place)
}

/// Both devices: mounted by themselves, read, written, and nothing beyond.
pub fn folders(setup: &Setup) -> Result<()> {
    cached(&setup.hostel, "debian")?;
    let place = place()?;
    let path = |name: &str| place.path().join(name).display().to_string();
    let (shared, readable) = (path("shared"), format!("{}:other,ro", path("readable")));
    let nine = format!("{}:nine,9p", path("shared"));
    let arguments = ["debian", "--offline", "--share", &shared, "--share", &readable, "--share", &nine];
    let mut guest = setup.starts("# ", &arguments)?;
    guest.waits_for("login: ")?;
    guest.typed("root\n")?;
    guest.prompts()?;
    guest.answers("cat /mnt/share/file", &["from the host"])?;
    guest.says("echo from the guest >/mnt/share/new")?;
    guest.answers("echo x >/mnt/other/x", &["Read-only file system"])?;
    guest.says("modprobe 9pnet_virtio; modprobe 9p; mkdir /mnt/nine")?;
    guest.says("mount -t 9p -o trans=virtio,version=9p2000.L nine /mnt/nine")?;
    guest.answers("cat /mnt/nine/new", &["from the guest"])?;
    for folder in ["share", "nine"] {
        let up = format!("cd /mnt/{folder}; cat up absolute ../secret ../../secret magic/../secret; cd");
        let said = guest.says(&up)?;
        ensure!(!said.contains(SECRET), "the secret was read:\n{said}");
        guest.answers(&format!("mknod /mnt/{folder}/null c 1 3"), &["Operation not permitted"])?;
        guest.answers(&format!("ln /etc/passwd /mnt/{folder}/passwd"), &["Invalid cross-device link"])?;
        guest.says(&format!("mv /mnt/{folder} /mnt/x; rm -rf /mnt/{folder}/../secret"))?;
    }
    guest.ends_after("poweroff")?;
    let new = fs::read_to_string(place.path().join("shared/new")).context("what the guest wrote")?;
    ensure!(new == "from the guest\n", "the guest wrote {new:?}");
    ensure!(fs::read_to_string(place.path().join("secret"))? == SECRET, "the secret was written");
    let names = fs::read_dir(place.path())?.count();
    ensure!(names == 3, "{names} names are beside the folder, not 3");
    Ok(())
}
