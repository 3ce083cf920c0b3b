//! Each operation's result, compared with the host's own view of the folder.

mod guest;

use guest::{Guest, ROOT, Reader, Set, body, errno};
use host_share::{Cache, Options, Owner, opcode};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

const READ: u32 = 0;
const WRITE: u32 = 1;
const BOTH: u32 = 2;
const EXCLUSIVE: u32 = 0o200;
const TRUNCATE: u32 = 0o1000;
const APPEND: u32 = 0o2000;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn guest(folder: &TempDir) -> Guest {
    Guest::new(folder.path(), Options::default())
}

/// What the guest is told of a file is what the host says of it.
fn same(attr: &guest::Attr, path: &Path) {
    let host = fs::symlink_metadata(path).unwrap();
    assert_eq!((attr.ino, attr.size, attr.blocks), (host.ino(), host.size(), host.blocks()));
    assert_eq!((attr.mode, u64::from(attr.nlink)), (host.mode(), host.nlink()));
    let times = [
        (host.atime(), host.atime_nsec()),
        (host.mtime(), host.mtime_nsec()),
        (host.ctime(), host.ctime_nsec()),
    ];
    assert_eq!(attr.times.map(|(s, ns)| (s, i64::from(ns))), times);
}

#[test]
fn a_session_starts_with_what_both_sides_can() {
    let folder = folder();
    let offered = body().u32(7).u32(41).u32(131_072).u32(u32::MAX).u32(u32::MAX).bytes([0; 44]);
    for (cache, inval, mmap) in
        [(Cache::Auto, true, false), (Cache::Always, false, false), (Cache::None, false, true)]
    {
        let guest = Guest::new(folder.path(), Options { cache, ..Options::default() });
        let reply = guest.ask(opcode::INIT, 0, &offered).unwrap();
        assert_eq!(reply.len(), 64);
        let mut reader = Reader(&reply);
        assert_eq!([reader.u32(), reader.u32(), reader.u32()], [7, 39, 131_072]);
        let low = reader.u32();
        for (name, bit, wanted) in [
            ("ASYNC_READ", 0, true),
            ("POSIX_LOCKS", 1, false),
            ("ATOMIC_O_TRUNC", 3, true),
            ("EXPORT_SUPPORT", 4, true),
            ("BIG_WRITES", 5, true),
            ("DONT_MASK", 6, false),
            ("AUTO_INVAL_DATA", 12, inval),
            ("DO_READDIRPLUS", 13, true),
            ("READDIRPLUS_AUTO", 14, true),
            ("WRITEBACK_CACHE", 16, false),
            ("PARALLEL_DIROPS", 18, true),
            ("MAX_PAGES", 22, true),
            ("SETXATTR_EXT", 29, false),
        ] {
            assert_eq!(low & (1 << bit) != 0, wanted, "{name} with {cache:?}");
        }
        reader.u32();
        assert_eq!(reader.u32(), 128 << 10, "max_write");
        reader.u32();
        assert_eq!(reader.u16(), 32, "max_pages");
        reader.u16();
        assert_eq!(reader.u32() & (1 << 4) != 0, mmap, "DIRECT_IO_ALLOW_MMAP with {cache:?}");
    }
}

#[test]
fn only_what_is_offered_is_taken_and_old_guests_are_refused() {
    let folder = folder();
    let guest = guest(&folder);
    let reply = guest.ask(opcode::INIT, 0, &body().u32(7).u32(31).u32(0).u32(1 << 3)).unwrap();
    assert_eq!(Reader(&reply[12..]).u32(), 1 << 3);
    assert_eq!(guest.ask(opcode::INIT, 0, &body().u32(7).u32(30).u32(0).u32(0)), Err(errno::PROTO));
    assert_eq!(guest.ask(opcode::INIT, 0, &body().u32(6).u32(99).u32(0).u32(0)), Err(errno::PROTO));
    let newer = guest.ask(opcode::INIT, 0, &body().u32(8).u32(0).u32(0).u32(0)).unwrap();
    assert_eq!(Reader(&newer).u32(), 7, "it may ask again with that");
}

#[test]
fn a_guest_that_starts_again_knows_nothing() {
    let folder = folder();
    fs::write(folder.path().join("file"), "x").unwrap();
    let guest = guest(&folder);
    let file = guest.lookup(ROOT, "file").unwrap();
    let handle = guest.open(file.node, READ).unwrap();
    guest.ask(opcode::INIT, 0, &body().u32(7).u32(41).u32(0).u32(0)).unwrap();
    assert_eq!(guest.getattr(file.node), Err(errno::STALE));
    assert_eq!(guest.read(file.node, handle, 0, 1), Err(errno::BADF));
    assert!(guest.getattr(ROOT).is_ok());
    let again = guest.lookup(ROOT, "file").unwrap();
    assert_ne!(again.node, file.node, "numbers are not used twice");
    guest.ask(opcode::DESTROY, 0, &body()).unwrap();
    assert_eq!(guest.server.tree().counts().nodes, 1);
}

#[test]
fn looking_up_says_what_the_host_says() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("file"), "hello").unwrap();
    fs::create_dir(path.join("dir")).unwrap();
    fs::write(path.join("dir/inner"), "").unwrap();
    symlink("dir/inner", path.join("link")).unwrap();
    let guest = guest(&folder);
    for name in ["file", "dir", "dir/inner", "link"] {
        let entry = guest.walk(name).unwrap();
        same(&entry.attr, &path.join(name));
        same(&guest.getattr(entry.node).unwrap(), &path.join(name));
    }
    same(&guest.getattr(ROOT).unwrap(), path);
    assert_eq!(guest.lookup(ROOT, "none"), Err(errno::NOENT));
    let file = guest.lookup(ROOT, "file").unwrap().node;
    assert_eq!(guest.lookup(file, "x"), Err(errno::NOTDIR));
    let link = guest.lookup(ROOT, "link").unwrap().node;
    assert_eq!(guest.ask(opcode::READLINK, link, &body()).unwrap(), b"dir/inner");
    assert_eq!(guest.ask(opcode::READLINK, file, &body()), Err(errno::INVAL));
}

#[test]
fn a_name_that_is_not_there_is_so_for_a_while() {
    let folder = folder();
    let reply = guest(&folder).ask(opcode::LOOKUP, ROOT, &body().text("none")).unwrap();
    let mut reader = Reader(&reply);
    assert_eq!((reply.len(), reader.u64(), reader.u64(), reader.u64()), (128, 0, 0, 1));
    let uncached = Guest::new(folder.path(), Options { cache: Cache::None, ..Options::default() });
    assert_eq!(uncached.ask(opcode::LOOKUP, ROOT, &body().text("none")), Err(errno::NOENT));
}

#[test]
fn dot_and_dot_dot_are_served_for_handles_of_files() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    let guest = guest(&folder);
    let (a, b) = (guest.walk("a").unwrap(), guest.walk("a/b").unwrap());
    assert_eq!(guest.lookup(b.node, "..").unwrap().node, a.node);
    assert_eq!(guest.lookup(b.node, ".").unwrap().node, b.node);
    assert_eq!(guest.lookup(a.node, "..").unwrap().node, ROOT);
    guest.forget(b.node, 1);
    assert!(guest.getattr(b.node).is_ok(), "looked up twice, forgotten once");
    guest.forget(b.node, 1);
    assert_eq!(guest.getattr(b.node), Err(errno::STALE));
}

#[test]
fn files_are_made_written_and_read() {
    let folder = folder();
    let guest = guest(&folder);
    let (entry, handle) = guest.create(ROOT, "new", BOTH | EXCLUSIVE, 0o640).unwrap();
    assert_eq!(entry.attr.mode, 0o100_640);
    let data: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    for (n, piece) in data.chunks(100_000).enumerate() {
        assert_eq!(guest.write(entry.node, handle, n as u64 * 100_000, piece), Ok(100_000));
    }
    assert!(fs::read(folder.path().join("new")).unwrap() == data);
    assert!(guest.read(entry.node, handle, 1000, 131_072).unwrap() == data[1000..132_072]);
    assert_eq!(guest.read(entry.node, handle, 199_998, 100), Ok(data[199_998..].to_vec()));
    assert_eq!(guest.read(entry.node, handle, 200_000, 100), Ok(Vec::new()));
    assert_eq!(guest.read(entry.node, handle, 0, 131_073), Err(errno::INVAL));
    for only_data in [0, 1] {
        guest.ask(opcode::FSYNC, entry.node, &body().u64(handle).u32(only_data).u32(0)).unwrap();
    }
    guest.release(entry.node, handle).unwrap();
    assert_eq!(guest.create(ROOT, "new", BOTH | EXCLUSIVE, 0o600).map(drop), Err(errno::EXIST));
    let (again, handle) = guest.create(ROOT, "new", WRITE | TRUNCATE, 0o600).unwrap();
    assert_eq!((again.node, again.attr.mode, again.attr.size), (entry.node, 0o100_640, 0));
    assert_eq!(guest.read(again.node, handle, 0, 1), Err(errno::BADF), "opened for writing");
    assert_eq!(fs::read(folder.path().join("new")).unwrap(), b"");
    let reader = guest.open(again.node, READ).unwrap();
    assert_eq!(guest.write(again.node, reader, 0, b"x"), Err(errno::BADF), "opened for reading");
}

#[test]
fn appending_is_at_the_end_wherever_the_guest_thinks_that_is() {
    let folder = folder();
    let path = folder.path().join("log");
    fs::write(&path, "one ").unwrap();
    let guest = guest(&folder);
    let node = guest.lookup(ROOT, "log").unwrap().node;
    let handle = guest.open(node, WRITE | APPEND).unwrap();
    fs::write(&path, "one two ").unwrap();
    assert_eq!(guest.write_with(node, handle, 4, b"three", WRITE | APPEND), Ok(5));
    assert_eq!(fs::read_to_string(&path).unwrap(), "one two three");
    // Without the flag (it may be taken off an open file), it is where it says.
    assert_eq!(guest.write_with(node, handle, 0, b"ONE", WRITE), Ok(3));
    assert_eq!(fs::read_to_string(&path).unwrap(), "ONE two three");
}

#[test]
fn folders_and_special_files_are_made() {
    let folder = folder();
    let guest = guest(&folder);
    let dir = guest.mkdir(ROOT, "dir").unwrap();
    same(&dir.attr, &folder.path().join("dir"));
    assert_eq!(guest.mkdir(ROOT, "dir"), Err(errno::EXIST));
    let fifo = guest.mknod(dir.node, "fifo", 0o010_644).unwrap();
    same(&fifo.attr, &folder.path().join("dir/fifo"));
    assert!(fs::metadata(folder.path().join("dir/fifo")).unwrap().file_type().is_fifo());
    guest.mknod(dir.node, "socket", 0o140_600).unwrap();
    assert!(fs::metadata(folder.path().join("dir/socket")).unwrap().file_type().is_socket());
    let file = guest.mknod(dir.node, "file", 0o100_600).unwrap();
    same(&file.attr, &folder.path().join("dir/file"));
    guest.symlink(dir.node, "link", "/etc/passwd").unwrap();
    assert_eq!(fs::read_link(folder.path().join("dir/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(guest.ask(opcode::RMDIR, ROOT, &body().text("dir")), Err(errno::NOTEMPTY));
    for name in ["fifo", "socket", "file", "link"] {
        guest.unlink(dir.node, name).unwrap();
    }
    assert_eq!(guest.unlink(ROOT, "dir"), Err(errno::ISDIR));
    guest.ask(opcode::RMDIR, ROOT, &body().text("dir")).unwrap();
    assert!(!folder.path().join("dir").exists());
}

#[test]
fn entries_are_moved_replaced_and_exchanged() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir_all(path.join("a")).unwrap();
    fs::create_dir_all(path.join("b/inner")).unwrap();
    for name in ["one", "two"] {
        fs::write(path.join("a").join(name), name).unwrap();
    }
    let guest = guest(&folder);
    let (a, b) = (guest.walk("a").unwrap().node, guest.walk("b").unwrap().node);
    let (one, two) = (guest.walk("a/one").unwrap().node, guest.walk("a/two").unwrap().node);
    assert_eq!(guest.rename((a, "one"), (a, "two"), 1), Err(errno::EXIST), "NOREPLACE");
    guest.rename((a, "one"), (a, "two"), 2).unwrap();
    assert_eq!(fs::read_to_string(path.join("a/two")).unwrap(), "one", "EXCHANGE");
    // Found by their new names: neither has a descriptor yet.
    assert_eq!(guest.getattr(one).unwrap().ino, fs::metadata(path.join("a/two")).unwrap().ino());
    assert_eq!(guest.getattr(two).unwrap().ino, fs::metadata(path.join("a/one")).unwrap().ino());
    let body = body().u64(b).text("two").text("moved");
    guest.ask(opcode::RENAME, a, &body).unwrap();
    assert_eq!(fs::read_to_string(path.join("b/moved")).unwrap(), "one");
    assert!(guest.getattr(one).is_ok());
    guest.rename((a, "one"), (b, "moved"), 0).unwrap();
    assert_eq!(guest.getattr(one).unwrap().nlink, 0, "replaced, and known still");
    assert_eq!(guest.getattr(two).unwrap().nlink, 1);
    assert_eq!(guest.rename((b, "moved"), (b, "x"), 4), Err(errno::INVAL), "WHITEOUT");
    assert_eq!(guest.rename((ROOT, "b"), (b, "x"), 0), Err(errno::INVAL), "into itself");
    guest.rename((ROOT, "b"), (a, "b"), 0).unwrap();
    assert!(guest.getattr(guest.walk("a/b/inner").unwrap().node).is_ok());
}

#[test]
fn a_removed_file_lives_until_it_is_forgotten() {
    let folder = folder();
    fs::write(folder.path().join("file"), "still here").unwrap();
    let guest = guest(&folder);
    let node = guest.lookup(ROOT, "file").unwrap().node;
    let handle = guest.open(node, BOTH).unwrap();
    guest.unlink(ROOT, "file").unwrap();
    assert_eq!(guest.getattr(node).unwrap().nlink, 0);
    assert_eq!(guest.read(node, handle, 0, 100).unwrap(), b"still here");
    guest.setattr(node, &Set::size(5)).unwrap();
    let second = guest.open(node, READ).unwrap();
    assert_eq!(guest.read(node, second, 0, 100).unwrap(), b"still");
    guest.release(node, handle).unwrap();
    guest.release(node, second).unwrap();
    guest.forget(node, 1);
    assert_eq!(guest.getattr(node), Err(errno::STALE));
    let counts = guest.server.tree().counts();
    assert_eq!((counts.nodes, counts.descriptors, counts.open), (1, 0, 0));
}

#[test]
fn links_are_one_file() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("file"), "x").unwrap();
    symlink("nowhere", path.join("symlink")).unwrap();
    fs::create_dir(path.join("dir")).unwrap();
    let guest = guest(&folder);
    let node = guest.lookup(ROOT, "file").unwrap().node;
    let dir = guest.lookup(ROOT, "dir").unwrap().node;
    let other = guest.link(node, dir, "other").unwrap();
    assert_eq!((other.node, other.attr.nlink), (node, 2));
    assert_eq!(
        fs::metadata(path.join("dir/other")).unwrap().ino(),
        fs::metadata(path.join("file")).unwrap().ino()
    );
    let symlink = guest.lookup(ROOT, "symlink").unwrap().node;
    guest.link(symlink, dir, "again").unwrap();
    assert_eq!(fs::read_link(path.join("dir/again")).unwrap(), Path::new("nowhere"), "the link itself");
    assert_eq!(guest.link(dir, ROOT, "no"), Err(errno::PERM), "a folder has one name");
}

#[test]
fn attributes_are_set() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "0123456789").unwrap();
    let guest = guest(&folder);
    let node = guest.lookup(ROOT, "file").unwrap().node;
    same(&guest.setattr(node, &Set::mode(0o100_751)).unwrap(), &path);
    assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100_751);
    guest.setattr(node, &Set::size(3)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"012");
    let handle = guest.open(node, WRITE).unwrap();
    guest.setattr(node, &Set { valid: 1 << 3 | 1 << 6, handle, size: 5, ..Set::default() }).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"012\0\0");
    let times = Set { valid: 0x30, atime: (1_000, 5), mtime: (u64::MAX - 99, 999_999_999), ..Set::default() };
    let attr = guest.setattr(node, &times).unwrap();
    assert_eq!(attr.times[..2], [(1_000, 5), (-100, 999_999_999)]);
    same(&attr, &path);
    let only_one = Set { valid: 0x20 | 1 << 8, ..Set::default() };
    let attr = guest.setattr(node, &only_one).unwrap();
    assert_eq!(attr.times[0], (1_000, 5), "kept");
    assert!(attr.times[1].0 > 1_700_000_000, "now");
    let link = guest.symlink(ROOT, "link", "file").unwrap().node;
    let attr = guest.setattr(link, &Set { valid: 0x30, mtime: (77, 0), ..Set::default() }).unwrap();
    assert_eq!(attr.times[1], (77, 0), "the link's own");
    assert_ne!(fs::metadata(&path).unwrap().mtime(), 77);
    assert_eq!(guest.setattr(ROOT, &Set::size(0)), Err(errno::ISDIR));
    assert_eq!(guest.setattr(link, &Set::size(0)), Err(errno::INVAL));
}

#[test]
fn the_guests_main_user_owns_what_the_host_user_owns() {
    let folder = folder();
    fs::write(folder.path().join("file"), "").unwrap();
    let guest =
        Guest::new(folder.path(), Options { owner: Owner { uid: 1000, gid: 100 }, ..Options::default() });
    let entry = guest.lookup(ROOT, "file").unwrap();
    assert_eq!((entry.attr.uid, entry.attr.gid), (1000, 100));
    let owner = |uid, gid| Set { valid: 6, uid, gid, ..Set::default() };
    assert!(guest.setattr(entry.node, &owner(1000, 100)).is_ok(), "no change");
    assert_eq!(guest.setattr(entry.node, &owner(0, 100)), Err(errno::PERM));
    assert_eq!(guest.setattr(entry.node, &owner(1000, 0)), Err(errno::PERM));
    assert_eq!(guest.create(ROOT, "new", BOTH, 0o600).unwrap().0.attr.uid, 1000);
}

#[test]
fn nobody_gets_rights_by_a_file_of_the_guests() {
    let folder = folder();
    let guest = guest(&folder);
    for lending in [0o4755, 0o2755, 0o6755] {
        assert_eq!(guest.create(ROOT, "x", BOTH, lending).map(drop), Err(errno::PERM));
        assert_eq!(guest.mknod(ROOT, "x", 0o100_000 | lending), Err(errno::PERM));
    }
    let (file, _) = guest.create(ROOT, "x", BOTH, 0o755).unwrap();
    assert_eq!(guest.setattr(file.node, &Set::mode(0o4755)), Err(errno::PERM));
    assert_eq!(fs::metadata(folder.path().join("x")).unwrap().mode(), 0o100_755);
    // One that lends already is not changed but to one that does not: the guest may have written it.
    let path = folder.path().join("x");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o2644)).unwrap();
    for lending in [0o2755, 0o2600, 0o4644, 0o6644] {
        assert_eq!(guest.setattr(file.node, &Set::mode(lending)), Err(errno::PERM), "{lending:o}");
    }
    let before = fs::metadata(&path).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    guest.setattr(file.node, &Set::mode(0o102_644)).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.mode(), 0o102_644);
    assert_eq!((after.ctime(), after.ctime_nsec()), (before.ctime(), before.ctime_nsec()), "no call is made");
    guest.setattr(file.node, &Set::mode(0o755)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100_755);
    // On a folder it means that files in it have its group.
    assert!(guest.setattr(ROOT, &Set::mode(0o2755)).is_ok());
}

#[test]
fn a_read_only_folder_stays_as_it_is() {
    let folder = folder();
    fs::write(folder.path().join("file"), "x").unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    let guest = Guest::new(folder.path(), Options { read_only: true, ..Options::default() });
    let node = guest.lookup(ROOT, "file").unwrap().node;
    let handle = guest.open(node, READ).unwrap();
    let copy = body().u64(handle).u64(0).u64(node).u64(handle).u64(0).u64(1).u64(0);
    for (what, result) in [
        ("open", guest.open(node, WRITE).map(drop)),
        ("truncate", guest.open(node, READ | TRUNCATE).map(drop)),
        ("create", guest.create(ROOT, "new", BOTH, 0o644).map(drop)),
        ("write", guest.write(node, handle, 0, b"y").map(drop)),
        ("mkdir", guest.mkdir(ROOT, "new").map(drop)),
        ("mknod", guest.mknod(ROOT, "new", 0o100_644).map(drop)),
        ("symlink", guest.symlink(ROOT, "new", "x").map(drop)),
        ("link", guest.link(node, ROOT, "new").map(drop)),
        ("unlink", guest.unlink(ROOT, "file")),
        ("rmdir", guest.ask(opcode::RMDIR, ROOT, &body().text("dir")).map(drop)),
        ("rename", guest.rename((ROOT, "file"), (ROOT, "new"), 0)),
        ("setattr", guest.setattr(node, &Set::mode(0o600)).map(drop)),
        (
            "setxattr",
            guest.ask(opcode::SETXATTR, node, &body().u32(1).u32(0).text("user.a").bytes("b")).map(drop),
        ),
        ("removexattr", guest.ask(opcode::REMOVEXATTR, node, &body().text("user.a")).map(drop)),
        ("fallocate", guest.ask(opcode::FALLOCATE, node, &body().u64(handle).u64(0).u64(9).u64(0)).map(drop)),
        ("copy", guest.ask(opcode::COPY_FILE_RANGE, node, &copy).map(drop)),
        ("tmpfile", guest.ask(opcode::TMPFILE, ROOT, &body().u32(BOTH).u32(0o600).u64(0).text("")).map(drop)),
    ] {
        assert_eq!(result, Err(errno::ROFS), "{what}");
    }
    assert_eq!(guest.read(node, handle, 0, 10).unwrap(), b"x");
    let names: BTreeSet<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2);
}

#[test]
fn folders_are_listed_in_pieces_of_any_size() {
    let folder = folder();
    let mut names: BTreeSet<String> = (0..300).map(|n| format!("file-{n}-{}", "x".repeat(n % 200))).collect();
    for name in &names {
        fs::write(folder.path().join(name), "").unwrap();
    }
    names.extend([".".to_owned(), "..".to_owned()]);
    let guest = guest(&folder);
    for (size, plus) in
        [(300, false), (4096, false), (131_072, false), (420, true), (4096, true), (1 << 30, true)]
    {
        let listed = guest.list(ROOT, size, plus);
        assert_eq!(listed.len(), names.len(), "{size}");
        assert_eq!(listed.iter().map(|l| l.name.clone()).collect::<BTreeSet<_>>(), names);
        for one in listed.iter().filter(|l| l.name.starts_with('f')) {
            let host = fs::metadata(folder.path().join(&one.name)).unwrap();
            assert_eq!((one.ino, one.kind), (host.ino(), 8));
            if let Some(entry) = &one.entry {
                same(&entry.attr, &folder.path().join(&one.name));
                assert_eq!(guest.getattr(entry.node).unwrap(), entry.attr);
                guest.forget(entry.node, 1);
            }
        }
    }
    assert_eq!(guest.server.tree().counts().nodes, 1, "each entry counted once, the dots not at all");
}

#[test]
fn a_listing_goes_on_where_it_is_told_to() {
    let folder = folder();
    for n in 0..100 {
        fs::write(folder.path().join(format!("{n}")), "").unwrap();
    }
    let guest = guest(&folder);
    let handle = guest.opendir(ROOT).unwrap();
    let all = guest.piece(ROOT, handle, 0, 131_072, false).unwrap();
    let from = guest.piece(ROOT, handle, all[49].next, 131_072, false).unwrap();
    let names = |listed: &[guest::Listed]| listed.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&from), names(&all[50..]));
    assert_eq!(names(&guest.piece(ROOT, handle, 0, 131_072, false).unwrap()), names(&all));
    guest.ask(opcode::FSYNCDIR, ROOT, &body().u64(handle).u32(0).u32(0)).unwrap();
    assert_eq!(guest.read(ROOT, handle, 0, 10), Err(errno::BADF), "a folder is no file");
}

#[test]
fn extended_attributes_are_the_users() {
    let folder = folder();
    fs::write(folder.path().join("file"), "").unwrap();
    let guest = guest(&folder);
    let node = guest.lookup(ROOT, "file").unwrap().node;
    let set = |name: &str, value: &[u8], flags| {
        guest
            .ask(opcode::SETXATTR, node, &body().u32(value.len() as u32).u32(flags).text(name).bytes(value))
            .map(drop)
    };
    let get = |name: &str, size| guest.ask(opcode::GETXATTR, node, &body().u32(size).u32(0).text(name));
    set("user.one", b"value", 0).unwrap();
    set("user.two", &[7; 300], 1).unwrap();
    assert_eq!(set("user.one", b"x", 1), Err(errno::EXIST), "CREATE");
    assert_eq!(set("user.three", b"x", 2), Err(errno::NODATA), "REPLACE");
    assert_eq!(get("user.one", 100).unwrap(), b"value");
    assert_eq!(get("user.one", 0).unwrap(), [5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(get("user.two", 299), Err(errno::RANGE));
    assert_eq!(get("user.none", 100), Err(errno::NODATA));
    let list = |size| guest.ask(opcode::LISTXATTR, node, &body().u32(size).u32(0));
    let names = list(100).unwrap();
    let names: BTreeSet<_> = names.split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
    assert_eq!(names, BTreeSet::from([&b"user.one"[..], b"user.two"]));
    assert_eq!(list(0).unwrap()[..4], [18, 0, 0, 0]);
    assert_eq!(list(17), Err(errno::RANGE));
    guest.ask(opcode::REMOVEXATTR, node, &body().text("user.one")).unwrap();
    assert_eq!(get("user.one", 100), Err(errno::NODATA));
    for other in ["security.capability", "trusted.overlay.opaque", "system.posix_acl_access", "other"] {
        assert_eq!(set(other, b"x", 0), Err(errno::OPNOTSUPP), "{other}");
        assert_eq!(get(other, 100), Err(errno::OPNOTSUPP), "{other}");
        assert_eq!(
            guest.ask(opcode::REMOVEXATTR, node, &body().text(other)),
            Err(errno::OPNOTSUPP),
            "{other}"
        );
    }
    let link = guest.symlink(ROOT, "link", "file").unwrap().node;
    assert_eq!(guest.ask(opcode::GETXATTR, link, &body().u32(9).u32(0).text("user.two")), Err(errno::NODATA));
    assert_eq!(guest.ask(opcode::SETXATTR, link, &body().u32(0).u32(0).text("user.x")), Err(errno::PERM));
    assert_eq!(guest.ask(opcode::LISTXATTR, link, &body().u32(9).u32(0)), Ok(Vec::new()));
}

#[test]
fn space_is_allocated_freed_found_and_copied() {
    let folder = folder();
    let path = folder.path().join("file");
    let guest = guest(&folder);
    let (entry, handle) = guest.create(ROOT, "file", BOTH, 0o600).unwrap();
    let node = entry.node;
    let allocate = |mode, offset, length| {
        guest
            .ask(opcode::FALLOCATE, node, &body().u64(handle).u64(offset).u64(length).u32(mode).u32(0))
            .map(drop)
    };
    allocate(0, 0, 1 << 20).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    allocate(1, 1 << 20, 1 << 20).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20, "the size is kept");
    guest.write(node, handle, 0, &[1; 131_072]).unwrap();
    allocate(3, 4096, 8192).unwrap();
    let now = fs::read(&path).unwrap();
    assert!(now[..4096] == [1; 4096] && now[4096..12_288] == [0; 8192] && now[12_288] == 1);
    assert_eq!(allocate(0x20, 0, 4096), Err(errno::OPNOTSUPP), "inserting moves data");
    let seek = |offset, whence| {
        let reply = guest.ask(opcode::LSEEK, node, &body().u64(handle).u64(offset).u32(whence).u32(0))?;
        Ok::<_, i32>(Reader(&reply).u64())
    };
    assert_eq!(seek(0, 4), Ok(4096), "SEEK_HOLE");
    assert_eq!(seek(4096, 3), Ok(12_288), "SEEK_DATA");
    assert_eq!(seek(1 << 21, 3), Err(errno::NXIO));
    assert_eq!(seek(0, 0), Err(errno::INVAL), "SEEK_SET is the guest's own");
    let (other, other_handle) = guest.create(ROOT, "other", BOTH, 0o600).unwrap();
    let copy = |length, flags| {
        let body =
            body().u64(handle).u64(12_288).u64(other.node).u64(other_handle).u64(10).u64(length).u64(flags);
        guest.ask(opcode::COPY_FILE_RANGE, node, &body).map(|reply| Reader(&reply).u32())
    };
    assert_eq!(copy(5000, 0), Ok(5000));
    let copied = fs::read(folder.path().join("other")).unwrap();
    assert!(copied.len() == 5010 && copied[..10] == [0; 10] && copied[10..] == [1; 5000]);
    assert_eq!(copy(5000, 1), Err(errno::INVAL));
}

#[test]
fn a_nameless_file_can_be_given_a_name() {
    let folder = folder();
    let guest = guest(&folder);
    let reply = guest.ask(opcode::TMPFILE, ROOT, &body().u32(BOTH).u32(0o600).u64(0).text("#1")).unwrap();
    let mut reader = Reader(&reply);
    let (entry, handle) = (reader.entry(), reader.u64());
    assert_eq!(entry.attr.nlink, 0);
    guest.write(entry.node, handle, 0, b"made whole").unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(guest.getattr(entry.node).unwrap().size, 10);
    let named = guest.link(entry.node, ROOT, "named").unwrap();
    assert_eq!((named.node, named.attr.nlink), (entry.node, 1));
    assert_eq!(fs::read(folder.path().join("named")).unwrap(), b"made whole");
}

#[test]
fn the_rest_is_answered() {
    let folder = folder();
    fs::write(folder.path().join("file"), "").unwrap();
    let guest = guest(&folder);
    let node = guest.lookup(ROOT, "file").unwrap().node;
    let stat = guest.ask(opcode::STATFS, ROOT, &body()).unwrap();
    let host = rustix::fs::statvfs(folder.path()).unwrap();
    let mut reader = Reader(&stat);
    assert_eq!((stat.len(), reader.u64()), (80, host.f_blocks));
    assert_eq!(u64::from(Reader(&stat[44..]).u32()), host.f_namemax);
    guest.ask(opcode::SYNCFS, ROOT, &body().u64(0)).unwrap();
    guest.tell(opcode::INTERRUPT, 0, &body().u64(5));
    let reply = guest.ask(opcode::STATX, node, &body().u32(0).u32(0).u64(0).u32(0).u32(0xfff)).unwrap();
    assert_eq!(reply.len(), 32 + 256);
    let host = fs::metadata(folder.path().join("file")).unwrap();
    let born = host.created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(Reader(&reply[32 + 80..]).u64(), born.as_secs(), "stx_btime");
    assert_eq!(Reader(&reply[32 + 32..]).u64(), host.ino());
    // FLUSH, ACCESS, GETLK, BMAP, IOCTL, POLL, SETUPMAPPING, nonsense.
    for unserved in [25, 34, 31, 37, 39, 40, 48, 0, 7, 99, u32::MAX] {
        assert_eq!(guest.ask(unserved, node, &body().bytes([0; 64])), Err(errno::NOSYS), "{unserved}");
    }
}

#[test]
fn contents_are_kept_while_a_file_stays_as_it_was() {
    const KEEP: u32 = 2;
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    let old =
        fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
    fs::File::open(&path).unwrap().set_times(old).unwrap();
    let guest = guest(&folder);
    let node = guest.lookup(ROOT, "file").unwrap().node;
    std::thread::sleep(std::time::Duration::from_millis(40));
    assert_eq!(guest.open_flags(node), 0, "nothing is known of it yet");
    assert_eq!(guest.open_flags(node), KEEP);
    assert_eq!(guest.open_flags(node), KEEP);
    fs::write(&path, "y").unwrap();
    assert_eq!(guest.open_flags(node), 0, "the host has changed it");
    assert_eq!(guest.open_flags(node), 0, "and may change it again within the same tick");
    std::thread::sleep(std::time::Duration::from_millis(40));
    guest.open_flags(node);
    assert_eq!(guest.open_flags(node), KEEP);
    let flags = |cache| {
        let guest = Guest::new(folder.path(), Options { cache, ..Options::default() });
        guest.open_flags(guest.lookup(ROOT, "file").unwrap().node)
    };
    assert_eq!((flags(Cache::Always), flags(Cache::None)), (KEEP, 1));
    assert!(fs::metadata(&path).unwrap().permissions().mode() != 0);
}

#[test]
fn more_files_are_known_than_there_are_descriptors() {
    let folder = folder();
    let guest = Guest::with_limits(folder.path(), 10_000, 8, 16);
    for n in 0..200 {
        let dir = folder.path().join(format!("d{}/e{}", n % 20, n % 7));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(n.to_string()), n.to_string()).unwrap();
    }
    let name = |n: usize| format!("d{}/e{}/{n}", n % 20, n % 7);
    let nodes: Vec<u64> = (0..200).map(|n| guest.walk(&name(n)).unwrap().node).collect();
    for round in 0..3 {
        for (n, node) in nodes.iter().enumerate().map(|(n, _)| (n * 37 + round) % 200).map(|n| (n, nodes[n]))
        {
            let handle = guest.open(node, READ).unwrap();
            assert_eq!(guest.read(node, handle, 0, 10).unwrap(), n.to_string().as_bytes());
            guest.release(node, handle).unwrap();
            assert!(guest.server.tree().counts().descriptors <= 8);
        }
    }
    // A folder that is moved takes its files along.
    let (d3, d4) = (guest.walk("d3").unwrap(), guest.walk("d4").unwrap());
    guest.rename((ROOT, "d3"), (d4.node, "moved"), 0).unwrap();
    assert_eq!(guest.getattr(nodes[3]).unwrap().size, 1);
    assert_eq!(guest.lookup(d4.node, "moved").unwrap().node, d3.node);
}
