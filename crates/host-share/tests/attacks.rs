//! What a hostile guest, or a host that changes the folder meanwhile, may try. Each test is named after its attack.

mod guest;

use guest::{Guest, Place, ROOT, Set, body, errno, place, unharmed};
use host_share::{Options, opcode};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

const READ: u32 = 0;
const WRITE: u32 = 1;
const BOTH: u32 = 2;

fn guest(place: &Place) -> Guest {
    Guest::new(&place.shared, Options::default())
}

#[test]
fn symlink_out_of_the_folder() {
    let place = place();
    symlink(place.outside.join("secret"), place.shared.join("file")).unwrap();
    symlink(&place.outside, place.shared.join("dir")).unwrap();
    symlink("../outside", place.shared.join("relative")).unwrap();
    let guest = guest(&place);
    for name in ["file", "dir", "relative"] {
        let entry = guest.lookup(ROOT, name).unwrap();
        assert_eq!(entry.attr.mode & 0o170_000, 0o120_000, "the link itself");
        assert_eq!(guest.open(entry.node, READ), Err(errno::LOOP));
        assert_eq!(guest.opendir(entry.node), Err(errno::NOTDIR));
        assert_eq!(guest.lookup(entry.node, "secret"), Err(errno::NOTDIR));
        assert_eq!(guest.mkdir(entry.node, "new"), Err(errno::NOTDIR));
        assert_eq!(guest.setattr(entry.node, &Set::size(0)), Err(errno::INVAL));
        assert_eq!(guest.setattr(entry.node, &Set::mode(0o777)), Err(errno::OPNOTSUPP));
    }
    // CREATE on the name of a link opens nothing, and makes nothing where it points.
    assert_eq!(guest.create(ROOT, "file", WRITE | 0o1000, 0o644).map(drop), Err(errno::LOOP));
    symlink(place.outside.join("made"), place.shared.join("dangling")).unwrap();
    assert_eq!(guest.create(ROOT, "dangling", WRITE, 0o644).map(drop), Err(errno::LOOP));
    unharmed(&place);
}

#[test]
fn names_with_dots_and_slashes() {
    let place = place();
    fs::create_dir(place.shared.join("dir")).unwrap();
    fs::write(place.shared.join("file"), "").unwrap();
    let guest = guest(&place);
    let dir = guest.lookup(ROOT, "dir").unwrap().node;
    let file = guest.lookup(ROOT, "file").unwrap().node;
    assert_eq!(guest.lookup(ROOT, "..").unwrap().node, ROOT, "the folder is its own parent");
    assert_eq!(guest.lookup(dir, "..").unwrap().node, ROOT);
    let long = "x".repeat(256);
    for (name, error) in [
        ("../outside/secret", errno::INVAL),
        ("dir/../../outside", errno::INVAL),
        ("/etc", errno::INVAL),
        ("dir/", errno::INVAL),
        ("", errno::NOENT),
        (&long, errno::NAMETOOLONG),
    ] {
        for node in [ROOT, dir] {
            assert_eq!(guest.lookup(node, name), Err(error), "{name}");
            assert_eq!(guest.create(node, name, BOTH, 0o644).map(drop), Err(error), "{name}");
            assert_eq!(guest.mkdir(node, name), Err(error), "{name}");
            assert_eq!(guest.mknod(node, name, 0o100_644), Err(error), "{name}");
            assert_eq!(guest.symlink(node, name, "x"), Err(error), "{name}");
            assert_eq!(guest.link(file, node, name), Err(error), "{name}");
            assert_eq!(guest.unlink(node, name), Err(error), "{name}");
            assert_eq!(guest.rename((ROOT, "file"), (node, name), 0), Err(error), "{name}");
            assert_eq!(guest.rename((node, name), (ROOT, "new"), 0), Err(error), "{name}");
        }
    }
    for dots in [".", ".."] {
        assert_eq!(guest.create(dir, dots, BOTH, 0o644).map(drop), Err(errno::INVAL));
        assert_eq!(guest.mkdir(dir, dots), Err(errno::INVAL));
        assert_eq!(guest.unlink(dir, dots), Err(errno::INVAL));
        assert_eq!(guest.ask(opcode::RMDIR, dir, &body().text(dots)), Err(errno::INVAL));
        assert_eq!(guest.rename((ROOT, "file"), (dir, dots), 0), Err(errno::INVAL));
    }
    unharmed(&place);
}

#[test]
fn directory_moved_out_from_under_a_known_node() {
    let place = place();
    fs::create_dir_all(place.shared.join("a/b")).unwrap();
    fs::write(place.shared.join("a/b/file"), "mine").unwrap();
    // Few descriptors: the nodes are found by name.
    let guest = Guest::with_limits(&place.shared, 100, 8, 8);
    let b = guest.walk("a/b").unwrap().node;
    let file = guest.walk("a/b/file").unwrap().node;
    // A fresh server knows them by name only.
    let fresh = Guest::with_limits(&place.shared, 100, 8, 8);
    let fresh_a = fresh.walk("a").unwrap().node;
    fs::rename(place.shared.join("a"), place.outside.join("a")).unwrap();
    assert_eq!(fresh.getattr(fresh_a), Err(errno::STALE));
    assert_eq!(fresh.lookup(fresh_a, "b"), Err(errno::STALE));
    // Whose descriptor is kept is reached still (Landlock ends that in the process that serves), but nothing above it.
    assert!(guest.getattr(file).is_ok());
    assert_eq!(guest.lookup(b, "../../secret"), Err(errno::INVAL));
    // `..` is where it was found, by the number that the guest knew, never what the host has there now.
    let up = guest.lookup(b, "..").unwrap();
    assert_eq!(guest.lookup(up.node, "..").unwrap().node, ROOT);
    fs::rename(place.outside.join("a"), place.shared.join("a")).unwrap();
    unharmed(&place);
}

#[test]
fn directory_swapped_with_a_symlink_between_lookup_and_open() {
    let place = place();
    fs::create_dir(place.shared.join("dir")).unwrap();
    fs::write(place.shared.join("dir/secret"), "mine").unwrap();
    let guest = guest(&place);
    let dir = guest.lookup(ROOT, "dir").unwrap().node;
    fs::rename(place.shared.join("dir"), place.shared.join("moved")).unwrap();
    symlink(&place.outside, place.shared.join("dir")).unwrap();
    assert_eq!(guest.lookup(dir, "secret"), Err(errno::STALE));
    assert_eq!(guest.opendir(dir), Err(errno::STALE));
    assert_eq!(guest.create(dir, "new", BOTH, 0o644).map(drop), Err(errno::STALE));
    unharmed(&place);
}

#[test]
fn file_swapped_with_a_symlink_between_lookup_and_open() {
    let place = place();
    fs::write(place.shared.join("file"), "mine").unwrap();
    let guest = guest(&place);
    let file = guest.lookup(ROOT, "file").unwrap().node;
    fs::remove_file(place.shared.join("file")).unwrap();
    symlink(place.outside.join("secret"), place.shared.join("file")).unwrap();
    assert_eq!(guest.open(file, BOTH), Err(errno::STALE));
    assert_eq!(guest.setattr(file, &Set::size(0)), Err(errno::STALE));
    unharmed(&place);
}

#[test]
fn race_of_a_folder_and_a_symlink() {
    let place = place();
    let (dir, spare) = (place.shared.join("dir"), place.shared.join("spare"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("secret"), "mine").unwrap();
    symlink(&place.outside, &spare).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(rustix::fs::CWD, &dir, rustix::fs::CWD, &spare, flags).unwrap();
            }
        });
        let (start, mut reached) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(500) {
            let guest = guest(&place);
            let Ok(found) = guest.walk("dir/secret") else { continue };
            let Ok(handle) = guest.open(found.node, READ) else { continue };
            assert_eq!(guest.read(found.node, handle, 0, 100).unwrap(), b"mine");
            reached += 1;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reached > 0, "the race was never won, so nothing was tested");
    });
    unharmed(&place);
}

#[test]
fn hard_link_games() {
    let place = place();
    fs::create_dir(place.shared.join("dir")).unwrap();
    symlink(place.outside.join("secret"), place.shared.join("link")).unwrap();
    let guest = guest(&place);
    let dir = guest.lookup(ROOT, "dir").unwrap().node;
    let link = guest.lookup(ROOT, "link").unwrap().node;
    // A link to a symbolic link is one to the link, not to the secret.
    let linked = guest.link(link, dir, "hard").unwrap();
    assert_eq!(linked.attr.mode & 0o170_000, 0o120_000);
    assert_eq!(
        fs::metadata(place.outside.join("secret"))
            .map(|m| std::os::unix::fs::MetadataExt::nlink(&m))
            .unwrap(),
        1
    );
    assert_eq!(guest.link(dir, dir, "loop"), Err(errno::PERM));
    assert_eq!(guest.link(ROOT, dir, "loop"), Err(errno::PERM));
    assert_eq!(guest.link(99_999, dir, "new"), Err(errno::STALE));
    // One file by two names: removing the one under which it is known leaves it reachable.
    let (file, handle) = guest.create(ROOT, "file", BOTH, 0o600).unwrap();
    guest.release(file.node, handle).unwrap();
    guest.link(file.node, dir, "second").unwrap();
    guest.unlink(dir, "second").unwrap();
    assert_eq!(guest.getattr(file.node).unwrap().nlink, 1);
    unharmed(&place);
}

#[test]
fn magic_links() {
    // Not even if what is shared is full of them.
    let guest =
        Guest::new(std::path::Path::new("/proc/self"), Options { read_only: true, ..Options::default() });
    for name in ["root", "cwd", "exe"] {
        let entry = guest.lookup(ROOT, name).unwrap();
        assert_eq!(entry.attr.mode & 0o170_000, 0o120_000);
        assert_eq!(guest.lookup(entry.node, "etc"), Err(errno::NOTDIR));
        assert_eq!(guest.opendir(entry.node), Err(errno::NOTDIR));
        assert_eq!(guest.open(entry.node, READ), Err(errno::LOOP));
    }
    let descriptors = guest.lookup(ROOT, "fd").unwrap().node;
    let first = guest.lookup(descriptors, "0").unwrap().node;
    assert_eq!(guest.open(first, READ), Err(errno::LOOP));
}

#[test]
fn fifo_and_device_opens_that_would_block() {
    let place = place();
    let guest = guest(&place);
    let fifo = guest.mknod(ROOT, "fifo", 0o010_600).unwrap();
    let start = Instant::now();
    for flags in [READ, WRITE, BOTH] {
        assert_eq!(guest.open(fifo.node, flags), Err(errno::NXIO));
        assert_eq!(guest.create(ROOT, "fifo", flags, 0o600).map(drop), Err(errno::NXIO));
    }
    assert_eq!(guest.setattr(fifo.node, &Set::size(1)), Err(errno::INVAL));
    assert!(start.elapsed() < Duration::from_secs(5));
    for device in [0o020_600, 0o060_600] {
        assert_eq!(guest.mknod(ROOT, "device", device), Err(errno::PERM));
    }
    assert!(!place.shared.join("device").exists());
    for nonsense in [0o040_755, 0o120_777, 0o170_000, u32::MAX] {
        assert!(guest.mknod(ROOT, "x", nonsense).is_err());
    }
    // A file that the host has put a fifo in the place of.
    fs::write(place.shared.join("file"), "").unwrap();
    let file = guest.lookup(ROOT, "file").unwrap().node;
    fs::rename(place.shared.join("fifo"), place.shared.join("file")).unwrap();
    assert_eq!(guest.open(file, READ), Err(errno::STALE));
}

#[test]
fn devices_of_the_host_are_not_opened() {
    let guest = Guest::new(std::path::Path::new("/dev"), Options::default());
    for name in ["null", "zero", "full", "tty"] {
        let Ok(entry) = guest.lookup(ROOT, name) else { continue };
        assert_eq!(entry.attr.mode & 0o170_000, 0o020_000);
        assert_eq!(guest.open(entry.node, BOTH), Err(errno::NXIO), "{name}");
    }
}

#[test]
fn mount_points_inside_the_folder_are_not_entered() {
    // Every host has /proc mounted on its root.
    let guest = Guest::new(std::path::Path::new("/"), Options { read_only: true, ..Options::default() });
    assert_eq!(guest.lookup(ROOT, "proc"), Err(errno::XDEV));
    let listed = guest.list(ROOT, 131_072, true);
    let proc = listed.iter().find(|l| l.name == "proc").unwrap();
    assert_eq!(proc.entry.as_ref().map(|e| e.node), Some(0), "listed, and not known");
}

#[test]
fn huge_sizes_and_offsets() {
    let place = place();
    let guest = guest(&place);
    let (entry, handle) = guest.create(ROOT, "file", BOTH, 0o600).unwrap();
    let node = entry.node;
    for huge in [1 << 63, u64::MAX, u64::MAX - 1, i64::MAX as u64] {
        assert!(guest.write(node, handle, huge, b"data").is_err(), "{huge:x}");
        assert!(
            guest.read(node, handle, huge, 4096).is_ok_and(|d| d.is_empty())
                || huge > i64::MAX as u64
                || huge + 4096 > i64::MAX as u64
        );
        assert!(guest.setattr(node, &Set::size(huge)).is_err(), "{huge:x}");
        let allocate = body().u64(handle).u64(huge).u64(huge).u32(0).u32(0);
        assert!(guest.ask(opcode::FALLOCATE, node, &allocate).is_err(), "{huge:x}");
        let seek = body().u64(handle).u64(huge).u32(3).u32(0);
        assert!(guest.ask(opcode::LSEEK, node, &seek).is_err(), "{huge:x}");
        let copy = body().u64(handle).u64(huge).u64(node).u64(handle).u64(huge).u64(huge).u64(0);
        assert!(guest.ask(opcode::COPY_FILE_RANGE, node, &copy).is_err(), "{huge:x}");
    }
    assert_eq!(guest.read(node, handle, 0, u32::MAX), Err(errno::INVAL));
    // A write that says that it has more data than it has, or less.
    let write = |size: u32, data: &[u8]| {
        let body = body().u64(handle).u64(0).u32(size).u32(0).u64(0).u32(0).u32(0).bytes(data);
        guest.ask(opcode::WRITE, node, &body).map(|reply| reply[0])
    };
    assert_eq!(write(u32::MAX, b"data"), Err(errno::INVAL));
    assert_eq!(write(5, b"data"), Err(errno::INVAL));
    assert_eq!(write(3, b"data"), Ok(3));
    assert_eq!(fs::read(place.shared.join("file")).unwrap(), b"dat");
    let attribute = body().u32(u32::MAX).u32(0).text("user.x").bytes("v");
    assert_eq!(guest.ask(opcode::SETXATTR, node, &attribute), Err(errno::INVAL));
    let listing = guest.opendir(ROOT).unwrap();
    for offset in [u64::MAX, 1 << 63, 12_345_678_901] {
        // An error or some entries; the server goes on.
        let _ = guest.piece(ROOT, listing, offset, 4096, true);
    }
    assert!(guest.piece(ROOT, listing, 0, 4096, false).is_ok_and(|l| l.len() == 3));
    assert!(guest.piece(ROOT, listing, 0, 0, false).is_ok_and(|l| l.is_empty()));
}

#[test]
fn wild_nodes_and_handles() {
    let place = place();
    fs::write(place.shared.join("file"), "x").unwrap();
    fs::write(place.shared.join("other"), "y").unwrap();
    let guest = guest(&place);
    let file = guest.lookup(ROOT, "file").unwrap().node;
    let other = guest.lookup(ROOT, "other").unwrap().node;
    let handle = guest.open(file, BOTH).unwrap();
    for wild in [0, other + 1, 1 << 32, u64::MAX] {
        assert_eq!(guest.getattr(wild), Err(errno::STALE));
        assert_eq!(guest.lookup(wild, "file"), Err(errno::STALE));
        assert_eq!(guest.lookup(wild, "."), Err(errno::STALE));
        assert_eq!(guest.lookup(wild, ".."), Err(errno::STALE));
        assert_eq!(guest.open(wild, READ), Err(errno::STALE));
        assert_eq!(guest.link(wild, ROOT, "new"), Err(errno::STALE));
        assert_eq!(guest.rename((ROOT, "file"), (wild, "new"), 0), Err(errno::STALE));
        assert_eq!(guest.read(file, wild, 0, 1), Err(errno::BADF));
        assert_eq!(guest.write(file, wild, 0, b"z"), Err(errno::BADF));
        assert_eq!(guest.read(wild, handle, 0, 1), Err(errno::BADF));
    }
    assert_eq!(guest.write(other, handle, 0, b"z"), Err(errno::BADF), "another file's handle");
    assert_eq!(guest.release(other, handle), Err(errno::BADF));
    assert_eq!(guest.read(file, handle, 0, 1).unwrap(), b"x", "and it is open still");
}

#[test]
fn forget_underflow() {
    let place = place();
    fs::write(place.shared.join("file"), "x").unwrap();
    let guest = guest(&place);
    let file = guest.lookup(ROOT, "file").unwrap().node;
    guest.forget(file, u64::MAX);
    assert_eq!(guest.getattr(file), Err(errno::STALE));
    guest.forget(file, 1);
    guest.forget(ROOT, u64::MAX);
    assert!(guest.getattr(ROOT).is_ok(), "the folder itself is never forgotten");
    guest.forget(99_999, 1);
    let again = guest.lookup(ROOT, "file").unwrap().node;
    // More entries announced than there are.
    guest.tell(opcode::BATCH_FORGET, 0, &body().u32(u32::MAX).u32(0).u64(again).u64(1).u64(7));
    assert_eq!(guest.getattr(again), Err(errno::STALE));
    guest.tell(opcode::FORGET, again, &body().bytes([1, 2]));
    assert_eq!(guest.server.tree().counts().nodes, 1);
}

#[test]
fn double_release() {
    let place = place();
    let guest = guest(&place);
    let (entry, handle) = guest.create(ROOT, "file", BOTH, 0o600).unwrap();
    guest.release(entry.node, handle).unwrap();
    assert_eq!(guest.release(entry.node, handle), Err(errno::BADF));
    let (_, second) = guest.create(ROOT, "file", BOTH, 0o600).unwrap();
    assert_ne!(second, handle, "numbers are not used twice");
    assert_eq!(guest.release(entry.node, handle), Err(errno::BADF));
    assert_eq!(guest.server.tree().counts().open, 1);
}

#[test]
fn everything_opened_and_nothing_closed() {
    let place = place();
    let guest = Guest::with_limits(&place.shared, 20, 4, 10);
    for n in 0..30 {
        let result = guest.create(ROOT, format!("{n}"), BOTH, 0o600);
        assert_eq!(result.is_ok(), n < 10, "{n}");
    }
    assert_eq!(guest.opendir(ROOT), Err(errno::NFILE));
    let mut known = 11;
    for n in 0..30 {
        let made = guest.mknod(ROOT, format!("m{n}"), 0o100_600);
        known += usize::from(made.is_ok());
        assert_eq!(made.is_ok(), n < 9, "{n}: {made:?}");
    }
    assert_eq!(guest.server.tree().counts().nodes, known);
    // Removed and never forgotten: their descriptors are limited, too.
    for n in 0..10 {
        guest.unlink(ROOT, format!("{n}")).unwrap();
    }
    assert!(guest.server.tree().counts().descriptors <= 8);
}

#[test]
fn malformed_messages() {
    let place = place();
    fs::write(place.shared.join("file"), "x").unwrap();
    let guest = guest(&place);
    let mut reply = Vec::new();
    for length in 0..40 {
        guest.server.handle(&vec![0; length], &mut reply);
        assert_eq!(guest::open_reply(&reply, 0).unwrap_err(), errno::INVAL);
    }
    // Every request, cut off anywhere: an error, or none if what is missing was not needed. A name needs its end.
    for opcode in 0..64 {
        for length in 0..100 {
            let whole = guest::request(opcode, 9, ROOT, &body().bytes(vec![0xff; length]));
            guest.server.handle(&whole, &mut reply);
            let mut longer = whole.clone();
            longer[0..4].copy_from_slice(&(whole.len() as u32 + 1).to_le_bytes());
            guest.server.handle(&longer, &mut reply);
            assert_eq!(
                guest::open_reply(&reply, 9).unwrap_err(),
                errno::INVAL,
                "{opcode}: says more than there is"
            );
        }
    }
    assert_eq!(guest.ask(opcode::LOOKUP, ROOT, &body().bytes("file")), Err(errno::INVAL), "no end");
    assert_eq!(guest.ask(opcode::RENAME2, ROOT, &body().u64(1).u64(0).text("file")), Err(errno::INVAL));
    assert!(place.shared.join("file").exists());
}

#[test]
fn removals_that_fail_keep_nothing() {
    let place = place();
    for n in 0..20 {
        fs::create_dir_all(place.shared.join(format!("d{n}/inner"))).unwrap();
    }
    let guest = Guest::with_limits(&place.shared, 100, 4, 10);
    for n in 0..20 {
        let name = format!("d{n}");
        guest.lookup(ROOT, &name).unwrap();
        assert_eq!(guest.ask(opcode::RMDIR, ROOT, &body().text(&name)), Err(errno::NOTEMPTY));
        assert_eq!(
            guest.rename((ROOT, &format!("d{}", (n + 1) % 20)), (ROOT, &name), 0),
            Err(errno::NOTEMPTY)
        );
    }
    assert!(guest.server.tree().counts().descriptors <= 4);
    // So that there is room for one that succeeds.
    let node = guest.mknod(ROOT, "file", 0o100_600).unwrap().node;
    guest.unlink(ROOT, "file").unwrap();
    assert_eq!(guest.getattr(node).unwrap().nlink, 0);
}

#[test]
fn folders_opened_and_never_closed() {
    let place = place();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let guest = Guest::with_limits(&place.shared, 10, 4, 5000);
    let opened = (0..3000).take_while(|_| guest.opendir(ROOT).is_ok()).count();
    assert_eq!(opened, 2048);
    assert!(guest.create(ROOT, "file", BOTH, 0o600).is_ok(), "files may be opened still");
}
