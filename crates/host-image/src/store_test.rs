//! The cache without a network: what is believed, what is not, and what is left after a failure.
use super::*;
use crate::catalog::DEFAULT_GUEST;
use crate::manifest::{ArchiveRecord, FORMAT};
use crate::progress::Silent;

fn store() -> (Store, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Store::open(Some(directory.path().to_owned())).unwrap(), directory)
}

fn manifest(directory: &str, kernel: &[u8]) -> Manifest {
    Manifest {
        format: FORMAT,
        recipe: RECIPE,
        name: DEFAULT_GUEST.into(),
        directory: directory.into(),
        fetched: "2026-01-01T00:00:00Z".into(),
        append: String::new(),
        archive: ArchiveRecord {
            mirror: "file:///m".into(),
            suite: SUITE.into(),
            codename: SUITE.into(),
            version: "13.0".into(),
            date: String::new(),
        },
        packages: Vec::new(),
        files: vec![FileRecord {
            name: "vmlinux".into(),
            role: Role::Kernel,
            size: kernel.len() as u64,
            sha256: hex(&Sha256::digest(kernel)),
        }],
    }
}

/// Puts an image with this kernel into the cache the way `make` does.
fn put(store: &Store, directory: &str, kernel: &[u8]) -> Image {
    let work = store.root().join("tmp").join(DEFAULT_GUEST).join("x");
    let out = make_directory(&work.join("out")).unwrap();
    fs::write(out.join("vmlinux"), kernel).unwrap();
    store.commit(manifest(directory, kernel), &out, &work).unwrap()
}

const OFFLINE: Options =
    Options { mirror: Mirror::Configured, suite: None, refresh: false, offline: true, check: false };

#[test]
fn an_empty_cache_offline_says_what_to_do_in_one_line() {
    let (store, _directory) = store();
    let error = store.get(DEFAULT_GUEST, &OFFLINE, &mut Silent).unwrap_err();
    let line = error.to_string();
    assert!(matches!(error, Error::NotCached { .. }));
    assert!(line.contains("hostel image get debian-busybox") && !line.contains('\n'), "{line}");
    assert!(store.list().unwrap().iter().all(|image| image.state == State::Absent));
    assert!(!store.root().exists(), "looking writes nothing");
}

#[test]
fn a_cache_that_cannot_be_looked_into_is_not_damage() {
    let (store, directory) = store();
    fs::write(directory.path().join(LAYOUT), "a file where a directory should be").unwrap();
    for error in [
        store.list().unwrap_err(),
        store.get_cached(DEFAULT_GUEST).unwrap_err(),
        store.get(DEFAULT_GUEST, &OFFLINE, &mut Silent).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Cache { .. }), "{error}");
        assert!(error.to_string().contains("set XDG_CACHE_HOME"), "{error}");
    }
}

#[test]
fn advice_names_what_the_user_may_have_got_wrong() {
    let cannot = |suite: &str| {
        let (url, suite, detail) = ("u".into(), suite.into(), "d".into());
        Error::Unreachable { url, suite, detail }.to_string()
    };
    assert!(cannot("nosuch").contains("check what --suite names, and the network"), "{}", cannot("nosuch"));
    assert!(!cannot(SUITE).contains("--suite"), "{}", cannot(SUITE));
    let (store, _directory) = store();
    let line = store.get_cached(DEFAULT_GUEST).unwrap_err().to_string();
    assert_eq!(line, "debian-busybox is not in the cache; `hostel image get debian-busybox` fetches it");
}

#[test]
fn what_was_stored_is_found_again() {
    let (store, _directory) = store();
    let stored = put(&store, "d1", b"kernel");
    let found = store.get(DEFAULT_GUEST, &OFFLINE, &mut Silent).unwrap();
    assert_eq!(found, stored);
    assert_eq!(fs::read(found.kernel().unwrap()).unwrap(), b"kernel");
    assert_eq!(found.file("vmlinux"), found.kernel());
    assert_eq!(found.initrd(), None);
    assert_eq!(found.file("../x"), None);
}

#[test]
fn a_truncated_file_is_noticed_at_once_and_a_changed_one_by_a_check() {
    let (store, _directory) = store();
    let kernel = put(&store, "d1", b"kernel").kernel().unwrap();
    fs::write(&kernel, b"kernex").unwrap();
    assert!(store.get(DEFAULT_GUEST, &OFFLINE, &mut Silent).is_ok(), "the cheap check does not read files");
    let thorough = Options { check: true, ..OFFLINE };
    assert!(matches!(store.get(DEFAULT_GUEST, &thorough, &mut Silent), Err(Error::Damaged { .. })));
    assert!(matches!(store.info(DEFAULT_GUEST).unwrap().state, State::Damaged(_)));
    fs::write(&kernel, b"kern").unwrap();
    assert!(matches!(store.get_cached(DEFAULT_GUEST), Err(Error::Damaged { .. })));
    fs::remove_file(&kernel).unwrap();
    assert!(matches!(store.get_cached(DEFAULT_GUEST), Err(Error::Damaged { .. })));
    // Making it again repairs it under the same directory.
    put(&store, "d1", b"kernel");
    assert!(store.get(DEFAULT_GUEST, &thorough, &mut Silent).is_ok());
}

#[test]
fn a_broken_manifest_is_not_believed() {
    let (store, _directory) = store();
    put(&store, "d1", b"kernel");
    let path = store.manifest_path(DEFAULT_GUEST);
    let text = fs::read_to_string(&path).unwrap();
    for bad in [
        &text[..text.len() / 2],
        "",
        "\0",
        &text.replace("recipe = ", "recipe = 9"),
        &text.replace("\"d1\"", "\"..\""),
    ] {
        fs::write(&path, bad).unwrap();
        assert!(matches!(store.get_cached(DEFAULT_GUEST), Err(Error::Damaged { .. })), "{bad:?}");
    }
    fs::write(&path, text).unwrap();
    assert!(store.get_cached(DEFAULT_GUEST).is_ok());
}

#[test]
fn a_replaced_image_stays_for_one_generation() {
    let (store, _directory) = store();
    let first = put(&store, "d1", b"one").kernel().unwrap();
    let second = put(&store, "d2", b"two").kernel().unwrap();
    assert!(first.exists() && second.exists());
    put(&store, "d3", b"three");
    assert!(!first.exists() && second.exists());
}

#[test]
fn a_failed_refresh_leaves_the_cached_image_and_no_leftovers() {
    let (store, directory) = store();
    let image = put(&store, "d1", b"kernel");
    let leftover = make_directory(&store.root().join("tmp").join(DEFAULT_GUEST).join("killed")).unwrap();
    let nowhere = Options { mirror: Mirror::Url("nowhere".into()), refresh: true, ..Options::default() };
    let error = store.get(DEFAULT_GUEST, &nowhere, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::BadMirror { .. }), "{error}");
    assert_eq!(store.get_cached(DEFAULT_GUEST).unwrap(), image);
    assert!(!leftover.exists());
    let scratch = directory.path().join(LAYOUT).join("tmp").join(DEFAULT_GUEST);
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
}

#[test]
fn the_second_of_two_makers_waits_and_takes_what_the_first_made() {
    let (store, _directory) = store();
    let lock = store.lock(DEFAULT_GUEST, &mut Silent).unwrap();
    let other = store.clone();
    let waiter = std::thread::spawn(move || {
        let nowhere = Options { mirror: Mirror::Url("nowhere".into()), ..Options::default() };
        other.get(DEFAULT_GUEST, &nowhere, &mut Silent)
    });
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!waiter.is_finished());
    let image = put(&store, "d1", b"kernel");
    drop(lock);
    assert_eq!(waiter.join().unwrap().unwrap(), image);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    // A file where a directory must be fails for root too.
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = Store::open(Some(file.path().to_owned())).unwrap();
    let line = store.get(DEFAULT_GUEST, &Options::default(), &mut Silent).unwrap_err().to_string();
    assert!(line.contains(file.path().to_str().unwrap()) && line.contains("XDG_CACHE_HOME"), "{line}");
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let (store, _directory) = store();
    let line = store.get_cached("debain").unwrap_err().to_string();
    assert!(
        line.contains("debian-busybox, debian, debian-cloud-amd64, debian-python, debian-installer, edk2, opensbi, systemd-boot, u-boot"),
        "{line}"
    );
}
