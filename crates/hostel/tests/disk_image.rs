//! `hostel image` with files of disk images.

mod guest;

use guest::Files;
use snapbox::str;
use std::fs;
use std::os::unix::fs::FileExt;

/// Runs `hostel image` with these words; FOLDER in them is the folder of the files.
fn image(files: &Files, words: &str) -> snapbox::cmd::OutputAssert {
    let words = words.replace("FOLDER", files.path().to_str().unwrap());
    let words: Vec<&str> = ["image"].into_iter().chain(words.split(' ')).collect();
    files.hostel(&words).assert()
}

/// What went wrong, in one line.
fn refused(files: &Files, words: &str, expected: &str) {
    let assert = image(files, words).code(125).stdout_eq("");
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains(expected) && said.matches('\n').count() == 1, "{said}");
}

#[test]
fn an_image_is_made_looked_at_and_resized() {
    let files = Files::new();
    image(&files, "create FOLDER/a.qcow2 10M").code(0).stdout_eq("").stderr_eq("");
    image(&files, "info FOLDER/a.qcow2").code(0).stderr_eq("").stdout_eq(str![[r#"
file       [..]/a.qcow2
format     qcow2
disk       10 MiB
version    3 (clusters of 64 KiB)
refcounts  16 bits
on host    [..]

"#]]);
    let raw = image(&files, "info FOLDER/a.qcow2 --from raw").code(0);
    assert!(String::from_utf8_lossy(&raw.get_output().stdout).contains("format     raw"));
    refused(
        &files,
        "info debian-busybox --from raw",
        "--from has no effect with the guest image debian-busybox",
    );
    image(&files, "check FOLDER/a.qcow2").code(0).stderr_eq("").stdout_eq(str![[r#"
no errors were found
0 of 160 clusters are in the image (0.0%), 0.0% of them compressed
it ends at 256 KiB

"#]]);
    refused(&files, "create FOLDER/a.qcow2 10M", "File exists");
    refused(&files, "resize FOLDER/a.qcow2 5M", "say --shrink if that is meant");
    image(&files, "resize FOLDER/a.qcow2 5M --shrink").code(0);
    image(&files, "resize FOLDER/a.qcow2 +1G").code(0);
    let info = image(&files, "info FOLDER/a.qcow2");
    assert!(String::from_utf8_lossy(&info.get_output().stdout).contains("1.1 GiB"));
}

#[test]
fn an_image_is_converted_there_and_back() {
    let files = Files::new();
    let mut bytes = vec![0_u8; 3 << 20];
    bytes[100_000..200_000].fill(7);
    fs::write(files.path().join("a.raw"), &bytes).unwrap();
    image(&files, "convert FOLDER/a.raw FOLDER/b.qcow2 --cluster 4K").code(0).stdout_eq("").stderr_eq("");
    image(&files, "convert FOLDER/b.qcow2 FOLDER/c.raw --format raw").code(0).stdout_eq("").stderr_eq("");
    assert!(fs::read(files.path().join("c.raw")).unwrap() == bytes);
    image(&files, "check FOLDER/b.qcow2").code(0);
    refused(
        &files,
        "convert FOLDER/b.qcow2 FOLDER/d.raw --format raw --cluster 4K",
        "neither clusters nor a base",
    );
    assert!(!files.path().join("d.raw").exists());
    refused(&files, "convert FOLDER/none FOLDER/e.qcow2", "No such file");
    assert!(!files.path().join("e.qcow2").exists());
    refused(&files, "create FOLDER/f.qcow2 1M --cluster 5K", "a power of two");
    assert!(!files.path().join("f.qcow2").exists());
}

#[test]
fn a_check_tells_leaks_from_errors_and_repairs_what_it_is_told_to() {
    let files = Files::new();
    let path = files.path().join("a.qcow2");
    let damage = |at: u64, bytes: &[u8]| {
        fs::File::options().write(true).open(&path).unwrap().write_all_at(bytes, at).unwrap();
    };
    image(&files, "create FOLDER/a.qcow2 10M").code(0);
    // The refcounts of clusters 9 and 2, the block itself.
    damage(2 * 65536 + 18, &[0, 1]);
    image(&files, "check FOLDER/a.qcow2").code(3).stdout_eq(str![[r#"
leak: the cluster at 0x90000 has refcount 1 and 0 references
0 errors, 1 clusters lost
0 of 160 clusters are in the image (0.0%), 0.0% of them compressed
it ends at 256 KiB

"#]]);
    damage(2 * 65536 + 4, &[0, 0]);
    image(&files, "check FOLDER/a.qcow2 --quiet").code(2).stdout_eq("");
    image(&files, "check FOLDER/a.qcow2 --repair leaks").code(2);
    image(&files, "check FOLDER/a.qcow2 --repair all").code(0).stdout_eq(str![[r#"
error: the cluster at 0x20000 has refcount 0 and 1 references
repaired: 0 leaks and 1 errors; left:
no errors were found
0 of 160 clusters are in the image (0.0%), 0.0% of them compressed
it ends at 256 KiB

"#]]);
    files.add("raw", "just bytes");
    refused(&files, "check FOLDER/raw", "nothing in it that could be checked");
    damage(4, &[9]);
    refused(&files, "check FOLDER/a.qcow2", "version");
}

#[test]
fn an_image_over_another_one_shows_it() {
    let files = Files::new();
    fs::write(files.path().join("base.raw"), vec![5_u8; 1 << 20]).unwrap();
    image(&files, "create FOLDER/top.qcow2 --base base.raw --base-format raw").code(0);
    image(&files, "convert FOLDER/top.qcow2 FOLDER/flat.raw --format raw").code(0);
    assert!(fs::read(files.path().join("flat.raw")).unwrap() == vec![5_u8; 1 << 20]);
    // Elsewhere, only if it is said.
    fs::create_dir(files.path().join("sub")).unwrap();
    image(&files, "create FOLDER/sub/top.qcow2 --base ../base.raw --base-format raw").code(0);
    refused(
        &files,
        "convert FOLDER/sub/top.qcow2 FOLDER/no.raw --format raw",
        "which is not below its folder",
    );
    image(&files, "convert FOLDER/sub/top.qcow2 FOLDER/x.raw --format raw --backing FOLDER/base.raw").code(0);
    image(&files, "convert FOLDER/sub/top.qcow2 FOLDER/y.raw --format raw --backing any").code(0);
}

#[test]
fn sizes_that_are_none_are_refused() {
    let files = Files::new();
    for size in ["20X", "-5", "1.5G", "99999999999999T", "G"] {
        let assert = image(&files, &format!("create FOLDER/a.qcow2 {size}"));
        assert.code(125);
    }
    refused(&files, "create FOLDER/a.qcow2 +5G", "plus sign");
    refused(&files, "create FOLDER/a.qcow2 8000000T", "needs larger clusters");
}
