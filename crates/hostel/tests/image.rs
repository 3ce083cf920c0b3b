//! `hostel image` and `hostel doctor`, without a network.

mod guest;

use guest::*;
use snapbox::str;

#[test]
fn the_list_tells_what_is_there() {
    let files = Files::new();
    files.cache("debian-busybox", OFF);
    files.hostel(&["image", "list"]).assert().code(0).stderr_eq("").stdout_eq(str![[r#"
debian-busybox      riscv64  26 bytes in the cache    Debian 13 kernel with a busybox shell (the default guest)
debian              riscv64  not fetched              Debian 13 with systemd and apt on a root disk
debian-cloud-amd64  amd64    not fetched              Debian 13 cloud kernel with busybox; dies in user space, which needs SSE2
debian-python       riscv64  not fetched              Python 3.13 as a second initramfs, for `hostel bench`: python.cpio
debian-installer    riscv64  not fetched              Debian 13's installer, in text mode; it installs on a disk of yours
edk2                riscv64  not fetched              EDK2 (UEFI) for the virt machine's flash memory; it boots from a disk of yours
opensbi             riscv64  not fetched              OpenSBI firmware, generic platform: fw_dynamic.bin, fw_jump.bin
systemd-boot        riscv64  not fetched              systemd-boot, for an EFI system partition: systemd-bootriscv64.efi
u-boot              riscv64  not fetched              U-Boot for supervisor mode on the virt machine; it boots from a disk of yours

"#]]);
}

#[test]
fn paths_lead_to_the_files() {
    let files = Files::new();
    files.cache("debian-busybox", OFF);
    let directory = files.path().join("cache/hostel");
    let line = |path: &std::path::Path| format!("{}\n", path.display());
    files.hostel(&["image", "path"]).assert().code(0).stdout_eq(line(&directory));
    let inside = directory.join("v1/files/debian-busybox/d");
    files.hostel(&["image", "path", "debian-busybox"]).assert().code(0).stdout_eq(line(&inside));
    let both = [line(&inside.join("vmlinux")), line(&inside.join("initramfs.cpio"))].concat();
    files.hostel(&["image", "get", "debian-busybox", "--offline"]).assert().code(0).stdout_eq(both);
}

#[test]
fn damage_is_found_by_who_looks() {
    let files = Files::new();
    files.cache("debian-busybox", OFF);
    // The manifest that the test wrote knows no hashes.
    for arguments in [
        &["image", "info", "debian-busybox"][..],
        &["image", "get", "debian-busybox", "--offline", "--check"],
    ] {
        let assert = files.hostel(arguments).assert().code(125).stdout_eq("");
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains("vmlinux has other contents than were stored"), "{said}");
        assert!(said.contains("`hostel image get debian-busybox --refresh`"), "{said}");
    }
}

#[test]
fn a_cache_that_is_no_directory_is_said_once() {
    let files = Files::new();
    files.add("cache", "a file where the directory should be");
    for arguments in [&["image", "list"][..], &["image", "path", "opensbi"], &["run", "--offline"]] {
        let assert = files.hostel(arguments).assert().code(125).stdout_eq("");
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(said.matches('\n').count(), 1, "{said}");
        assert!(said.contains("Not a directory") && said.contains("set XDG_CACHE_HOME"), "{said}");
    }
}

#[test]
fn an_image_that_is_not_there_has_no_path() {
    let files = Files::new();
    files.hostel(&["image", "path", "opensbi"]).assert().code(125).stdout_eq("").stderr_eq(str![[r#"
hostel: opensbi is not in the cache; `hostel image get opensbi` fetches it

"#]]);
}

#[test]
fn doctor_finds_what_is_missing() {
    let files = Files::new();
    // No program can be found: images cannot be fetched, and none is there.
    let assert = files.hostel(&["doctor"]).env("PATH", "").assert().code(1).stderr_eq("");
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for line in ["missing  apt-get              not found; the package apt has it", "OK       mappings"] {
        assert!(said.contains(line), "{said}");
    }
    let works = if engine_jit::trial().is_ok() { "OK" } else { "note" };
    assert!(said.contains(&format!("\n{works:8} translator  ")), "{said}");
    // With the default guest in the cache, `hostel run` needs none of that.
    files.cache("debian-busybox", OFF);
    let assert = files.hostel(&["doctor"]).env("PATH", "").assert().code(0);
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(said.contains("note     apt-get ") && said.contains("debian-busybox in the cache"), "{said}");
}

#[test]
fn doctor_says_why_the_cache_cannot_be_used() {
    let files = Files::new();
    files.add("cache", "a file where the directory should be");
    let assert = files.hostel(&["doctor"]).assert().code(1);
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(said.contains("missing  image cache") && said.contains("set XDG_CACHE_HOME"), "{said}");
    // Where nobody can make anything, whatever the permissions say.
    let assert = files.hostel(&["doctor"]).env("XDG_CACHE_HOME", "/proc/x").assert().code(1);
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(said.contains("missing  image cache          /proc/x/hostel cannot be written"), "{said}");
}

#[test]
fn an_answer_nobody_reads_is_no_error_and_one_that_cannot_be_written_is() {
    let files = Files::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut list = files.process(&["image", "list"]);
    let output = list.stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut list = files.process(&["image", "list"]);
    let output = list.stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("hostel: cannot write to standard output: "), "{said}");
}
