//! Guests' folders and locks.

use crate::{GuestError, Home, MACHINE, Name};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path().join("hostel"));
    (folder, home)
}

fn fill(folder: &Path) -> Result<(), GuestError> {
    fs::write(folder.join(MACHINE), "x").unwrap();
    Ok(())
}

#[test]
fn a_guest_is_made_listed_and_removed() {
    let (folder, home) = home();
    assert_eq!(home.list().unwrap(), []);
    for text in ["work", "a-1"] {
        let held = home.lock(&name(text)).unwrap();
        assert!(!home.has(&name(text)));
        home.make(&name(text), &held, fill).unwrap();
        assert!(home.has(&name(text)));
    }
    assert_eq!(home.list().unwrap(), [name("a-1"), name("work")]);
    home.remove(&name("work")).unwrap();
    assert_eq!(home.list().unwrap(), [name("a-1")]);
    assert!(matches!(home.remove(&name("work")), Err(GuestError::Absent(_))));
    // Nothing is left of it.
    for part in ["guests", "locks"] {
        let left: Vec<_> = fs::read_dir(folder.path().join("hostel").join(part)).unwrap().collect();
        assert_eq!(left.len(), 1, "{part}: {left:?}");
    }
}

#[test]
fn what_could_not_be_made_whole_is_not_there() {
    let (_folder, home) = home();
    let held = home.lock(&name("x")).unwrap();
    let failed = home.make(&name("x"), &held, |folder| {
        fill(folder)?;
        Err(GuestError::NoHome)
    });
    assert!(matches!(failed, Err(GuestError::NoHome)));
    assert!(!home.has(&name("x")) && home.list().unwrap().is_empty());
    // Nor what a maker that was killed has left.
    let left = home.folder(&name("x")).with_file_name(".new-x");
    fs::create_dir_all(left.join("deep")).unwrap();
    home.make(&name("x"), &held, fill).unwrap();
    assert!(home.has(&name("x")) && !left.exists());
}

#[test]
fn attack_others_may_not_look_into_guests() {
    let (folder, home) = home();
    let held = home.lock(&name("x")).unwrap();
    let guest = home.make(&name("x"), &held, fill).unwrap();
    for path in [&guest, &folder.path().join("hostel"), &folder.path().join("hostel/locks")] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{path:?}");
    }
    let lock = fs::metadata(folder.path().join("hostel/locks/x")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_has_a_guest_and_the_other_is_told_who() {
    let (_folder, home) = home();
    let held = home.lock(&name("x")).unwrap();
    home.make(&name("x"), &held, fill).unwrap();
    let holder = home.holder(&name("x")).unwrap().unwrap().unwrap();
    assert_eq!(holder.pid, std::process::id());
    let error = home.lock(&name("x")).unwrap_err();
    assert_eq!(error.to_string(), format!("the guest x is in use by process {}", std::process::id()));
    assert!(matches!(home.remove(&name("x")), Err(GuestError::InUse { .. })));
    drop(held);
    assert_eq!(home.holder(&name("x")).unwrap(), None);
    drop(home.lock(&name("x")).unwrap());
}

#[test]
fn attack_a_lock_file_of_anything_locks_nobody_out() {
    let (folder, home) = home();
    drop(home.lock(&name("x")).unwrap());
    let path = folder.path().join("hostel/locks/x");
    for text in ["", "1 2", "99999999999999999999 x", "\u{1b}[2J", &"7".repeat(100_000)] {
        // As a process that was killed leaves it, or worse: it is the lock that counts.
        fs::write(&path, text).unwrap();
        assert_eq!(home.holder(&name("x")).unwrap(), None);
        let held = home.lock(&name("x")).unwrap();
        fs::write(&path, text).unwrap();
        assert!(home.holder(&name("x")).unwrap().is_some());
        assert!(home.lock(&name("x")).unwrap_err().to_string().len() < 100);
        drop(held);
    }
}

#[test]
fn who_looks_and_who_removes_do_not_keep_others_from_the_lock() {
    let (_folder, home) = home();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let _ = home.holder(&name("x"));
                let _ = home.remove(&name("x"));
            }
        });
        for _ in 0..50 {
            let held = home.lock(&name("x")).unwrap();
            if !home.has(&name("x")) {
                home.make(&name("x"), &held, fill).unwrap();
            }
            // The lock that is held is the one that others see.
            assert!(home.holder(&name("x")).unwrap().is_some());
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
}

#[test]
fn what_is_elsewhere_as_well_is_not_counted() {
    let (folder, home) = home();
    let base = folder.path().join("base");
    fs::write(&base, vec![1; 1 << 20]).unwrap();
    let held = home.lock(&name("x")).unwrap();
    let guest = home.make(&name("x"), &held, fill).unwrap();
    fs::write(guest.join("disk"), vec![1; 1 << 16]).unwrap();
    let before = home.disk_use(&name("x"));
    assert!((1 << 16..1 << 18).contains(&before), "{before}");
    fs::hard_link(&base, guest.join("base")).unwrap();
    assert_eq!(home.disk_use(&name("x")), before);
    fs::remove_file(&base).unwrap();
    let alone = fs::metadata(guest.join("base")).unwrap().blocks() * 512;
    assert_eq!(home.disk_use(&name("x")), before + alone);
}
