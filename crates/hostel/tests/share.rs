//! The process that serves a shared folder: how it starts, what it has given up, and how it ends.

use host_share::{Cache, Options, Owner, Protocol, Share, ShareLink, opcode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hostel");
const ROOT: u64 = 1;

fn spawn(folder: &Path, read_only: bool) -> ShareLink {
    let options = Options { read_only, cache: Cache::Auto, owner: Owner::default(), ..Options::default() };
    let share = Share { folder: folder.into(), protocol: Protocol::Fuse, options };
    share.spawn_program(Path::new(PROGRAM)).unwrap()
}

fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    all.extend((40 + body.len() as u32).to_le_bytes());
    all.extend(opcode.to_le_bytes());
    all.extend(99u64.to_le_bytes());
    all.extend(node.to_le_bytes());
    all.extend([0; 16]);
    all.extend(body);
    all
}

fn wait(link: &ShareLink, what: PollFlags) {
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(link, what)], Some(&patience)), Ok(1), "nothing for ten seconds");
}

/// The reply to a request: its error, and what is behind its header.
fn ask(link: &ShareLink, opcode: u32, node: u64, body: &[u8]) -> (i32, Vec<u8>) {
    link.send(5, &request(opcode, node, body)).unwrap();
    let mut reply = Vec::new();
    wait(link, PollFlags::IN);
    assert_eq!(link.receive(&mut reply).unwrap(), Some(5));
    (i32::from_le_bytes(reply[4..8].try_into().unwrap()), reply[16..].to_vec())
}

fn lookup(link: &ShareLink, node: u64, name: &str) -> u64 {
    let (error, entry) = ask(link, opcode::LOOKUP, node, format!("{name}\0").as_bytes());
    assert_eq!(error, 0, "{name}");
    u64::from_le_bytes(entry[..8].try_into().unwrap())
}

fn open(link: &ShareLink, node: u64, flags: u32) -> (i32, u64) {
    let (error, opened) = ask(link, opcode::OPEN, node, &[flags.to_le_bytes(), [0; 4]].concat());
    (error, opened.first_chunk().map_or(0, |handle| u64::from_le_bytes(*handle)))
}

fn write(link: &ShareLink, node: u64, handle: u64, offset: u64, data: &[u8]) -> i32 {
    let mut body = Vec::new();
    body.extend(handle.to_le_bytes());
    body.extend(offset.to_le_bytes());
    body.extend((data.len() as u32).to_le_bytes());
    body.extend([0; 20]);
    body.extend(data);
    ask(link, opcode::WRITE, node, &body).0
}

/// A line of what the kernel says of the process.
fn status(link: &ShareLink, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", link.process())).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().to_owned()
}

#[test]
fn a_folder_is_served() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "hello").unwrap();
    let link = spawn(folder.path(), false);
    let node = lookup(&link, ROOT, "file");
    let (error, handle) = open(&link, node, 2);
    assert_eq!(error, 0);
    let body = [handle.to_le_bytes(), [0; 8], 100u64.to_le_bytes(), [0; 8], [0; 8]].concat();
    assert_eq!(ask(&link, opcode::READ, node, &body), (0, b"hello".to_vec()));
    assert_eq!(write(&link, node, handle, 5, &[b'!'; 131_072]), 0);
    assert_eq!(fs::metadata(folder.path().join("file")).unwrap().len(), 131_077);
    let (error, _) =
        ask(&link, opcode::MKDIR, ROOT, &[&0o777u32.to_le_bytes()[..], &[0; 4], b"dir\0"].concat());
    assert_eq!(error, 0);
    assert_eq!(
        fs::metadata(folder.path().join("dir")).unwrap().mode(),
        0o40_777,
        "the mask is the guest's own"
    );
}

#[test]
fn everything_that_serving_needs_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "hello").unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    let link = spawn(folder.path(), false);
    let words = |values: &[u64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let text = |front: &[u64], names: &str| [words(front), names.as_bytes().to_vec()].concat();
    let setattr = |valid: u64, mode: u64| words(&[valid, 0, 3, 0, 5, 5, 0, 0, mode << 32, 0, 0]);
    assert_eq!(ask(&link, opcode::INIT, 0, &words(&[0x29_0000_0007, 0, 0])).0, 0);
    let node = lookup(&link, ROOT, "file");
    let (_, handle) = open(&link, node, 2);
    let (_, opened) = ask(&link, opcode::OPENDIR, ROOT, &[0; 8]);
    let listing = u64::from_le_bytes(opened[..8].try_into().unwrap());
    let dir = lookup(&link, ROOT, "dir");
    for (opcode, node, body) in [
        (opcode::GETATTR, node, words(&[0, 0])),
        (opcode::STATX, node, words(&[0, 0, 0xfff << 32])),
        (opcode::SETATTR, node, setattr(0b11_1001, 0o644)),
        (opcode::STATFS, ROOT, vec![]),
        (opcode::READDIR, ROOT, words(&[listing, 0, 4096, 0, 0])),
        (opcode::READDIRPLUS, ROOT, words(&[listing, 0, 4096, 0, 0])),
        (opcode::FSYNCDIR, ROOT, words(&[listing, 0])),
        (opcode::RELEASEDIR, ROOT, words(&[listing, 0, 0])),
        (opcode::FSYNC, node, words(&[handle, 0])),
        (opcode::FSYNC, node, words(&[handle, 1])),
        (opcode::FALLOCATE, node, words(&[handle, 0, 8192, 0])),
        (opcode::LSEEK, node, words(&[handle, 0, 4])),
        (opcode::COPY_FILE_RANGE, node, words(&[handle, 0, node, handle, 4096, 10, 0])),
        (opcode::SETXATTR, node, text(&[1], "user.x\0v")),
        (opcode::GETXATTR, node, text(&[10], "user.x\0")),
        (opcode::LISTXATTR, node, words(&[100])),
        (opcode::REMOVEXATTR, node, text(&[], "user.x\0")),
        (opcode::SYMLINK, ROOT, text(&[], "link\0/etc/passwd\0")),
        (opcode::MKNOD, ROOT, text(&[0o010_644, 0], "fifo\0")),
        (opcode::MKNOD, ROOT, text(&[0o140_644, 0], "socket\0")),
        (opcode::MKNOD, ROOT, text(&[0o100_644, 0], "plain\0")),
        (opcode::LINK, dir, text(&[node], "hard\0")),
        (opcode::RENAME, ROOT, text(&[dir], "fifo\0moved\0")),
        (opcode::RENAME2, dir, text(&[ROOT, 2], "moved\0plain\0")),
        (opcode::UNLINK, dir, text(&[], "moved\0")),
        (opcode::UNLINK, dir, text(&[], "hard\0")),
        (opcode::RMDIR, ROOT, text(&[], "dir\0")),
        (opcode::CREATE, ROOT, text(&[0o600 << 32 | 0o1202, 0], "made\0")),
        (opcode::SYNCFS, ROOT, words(&[0])),
        (opcode::RELEASE, node, words(&[handle, 0, 0])),
        (opcode::DESTROY, 0, vec![]),
    ] {
        assert_eq!(ask(&link, opcode, node, &body).0, 0, "{opcode}");
    }
    let tmpfile = ask(&link, opcode::TMPFILE, ROOT, &text(&[0o600 << 32 | 2, 0], "\0")).0;
    assert!(matches!(tmpfile, 0 | -95), "{tmpfile}");
    let link_node = lookup(&link, ROOT, "link");
    assert_eq!(ask(&link, opcode::READLINK, link_node, &[]), (0, b"/etc/passwd".to_vec()));
}

#[test]
fn the_process_has_given_up_what_it_does_not_need() {
    let folder = tempfile::tempdir().unwrap();
    let link = spawn(folder.path(), false);
    assert_eq!(status(&link, "NoNewPrivs"), "1");
    assert_eq!(status(&link, "Seccomp"), "2");
    let kept = u64::from_str_radix(&status(&link, "CapPrm"), 16).unwrap();
    assert_eq!(kept & !(1 << 1 | 1 << 3), 0, "CAP_DAC_OVERRIDE and CAP_FOWNER at most");
    // Each of its threads has the filter.
    for thread in fs::read_dir(format!("/proc/{}/task", link.process())).unwrap() {
        let text = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"), "{text}");
    }
    assert_eq!(link.landlock().is_some(), support_hostmap::landlock::version().is_some());
}

/// Descriptors that this process leaves open to programs that it starts, behind the three standard ones.
fn left_open() -> HashSet<(u32, PathBuf)> {
    let inherited = |number: u32| {
        let said = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        let flags = said.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
        let path = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
        (number > 2 && flags & OFlags::CLOEXEC.bits() == 0).then_some((number, path))
    };
    numbers("/proc/self/fd").into_iter().filter_map(inherited).collect()
}

fn numbers(folder: &str) -> Vec<u32> {
    let all = fs::read_dir(folder).unwrap();
    all.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_process_has_no_descriptors_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().canonicalize().unwrap();
    let inherited = left_open();
    let link = spawn(folder.path(), false);
    let own = format!("/proc/{}/fd", link.process());
    let (mut sockets, mut folders, mut nulls) = (0, 0, 0);
    for number in numbers(&own) {
        let path = fs::read_link(format!("{own}/{number}")).unwrap();
        // The link is standard input, the folder standard output.
        match path.to_string_lossy() {
            _ if number == 2 || inherited.contains(&(number, path.clone())) => {}
            text if text.starts_with("socket:") => sockets += 1,
            _ if path == shared => folders += 1,
            // Rust's runtime does so for a standard output that cannot be polled, which it takes for none.
            text if text == "/dev/null" => nulls += 1,
            text => assert_eq!(text, own, "{number}"),
        }
    }
    assert_eq!(sockets, 2, "the link, twice");
    assert!(folders >= 1 && nulls <= 1, "{folders} of the folder, {nulls} of nothing");
}

#[test]
fn folder_moved_out_of_the_shared_one() {
    let all = tempfile::tempdir().unwrap();
    let shared = all.path().join("shared");
    fs::create_dir_all(shared.join("dir")).unwrap();
    fs::write(shared.join("dir/file"), "mine").unwrap();
    let link = spawn(&shared, false);
    if link.landlock().is_none() {
        assert!(support_hostmap::landlock::version().is_none());
        return;
    }
    let dir = lookup(&link, ROOT, "dir");
    let file = lookup(&link, dir, "file");
    assert_eq!(open(&link, file, 2).0, 0, "the folder's descriptor is kept now");
    fs::rename(shared.join("dir"), all.path().join("dir")).unwrap();
    fs::write(all.path().join("dir/new"), "not shared").unwrap();
    assert_eq!(open(&link, file, 0).0, -13, "EACCES: it is not beneath the shared folder");
    let new = lookup(&link, dir, "new");
    assert_eq!(open(&link, new, 0).0, -13);
    let create = [&0o600_0000_0002u64.to_le_bytes()[..], &[0; 8], b"made\0"].concat();
    assert!(ask(&link, opcode::CREATE, dir, &create).0 < 0);
    assert!(!all.path().join("dir/made").exists());
}

#[test]
fn a_read_only_folder_cannot_be_opened_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let link = spawn(folder.path(), true);
    let node = lookup(&link, ROOT, "file");
    assert_eq!(open(&link, node, 1).0, -30);
    assert_eq!(open(&link, node, 0).0, 0);
}

#[test]
fn writes_past_the_limit_of_file_sizes() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let link = spawn(folder.path(), false);
    let node = lookup(&link, ROOT, "file");
    let (_, handle) = open(&link, node, 2);
    let limit = Rlimit { current: Some(1000), maximum: Some(1000) };
    prlimit(Pid::from_raw(link.process() as i32), Resource::Fsize, limit).unwrap();
    assert_eq!(write(&link, node, handle, 0, &[1; 500]), 0);
    assert_eq!(write(&link, node, handle, 1000, &[1; 500]), -27, "EFBIG");
    let truncate = [8u64, 0, 5000, 0, 0, 0, 0, 0, 0, 0, 0].map(u64::to_le_bytes).concat();
    assert_eq!(ask(&link, opcode::SETATTR, node, &truncate).0, -27);
    assert_eq!(write(&link, node, handle, 0, &[1; 500]), 0, "and it goes on");
}

#[test]
fn every_request_is_answered_once_in_any_order_and_a_full_link_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), vec![7; 131_072]).unwrap();
    let link = spawn(folder.path(), false);
    let node = lookup(&link, ROOT, "file");
    let (_, handle) = open(&link, node, 0);
    let read = [handle, 0, 131_072, 0, 0].map(u64::to_le_bytes).concat();
    let read = request(opcode::READ, node, &read);
    let forget = request(opcode::FORGET, node, &0u64.to_le_bytes());
    let (mut sent, mut full) = (0u64, false);
    while sent < 100_000 {
        match link.send(sent, if sent.is_multiple_of(10) { &forget } else { &read }) {
            Ok(()) => sent += 1,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                full = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(full, "a process that cannot reply takes no more requests");
    let (mut tokens, mut reply) = (HashSet::new(), Vec::new());
    while (tokens.len() as u64) < sent {
        wait(&link, PollFlags::IN);
        let token = link.receive(&mut reply).unwrap().unwrap();
        assert!(token < sent && tokens.insert(token), "answered twice: {token}");
        let length = if token.is_multiple_of(10) { 0 } else { 16 + 131_072 };
        assert_eq!(reply.len(), length, "{token}");
    }
    assert_eq!(link.receive(&mut reply).unwrap(), None);
    let too_long = vec![0; host_share::LONGEST_REQUEST + 1];
    assert_eq!(link.send(1, &too_long).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn nine_is_served_in_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let options = Options { owner: Owner { uid: 1000, gid: 1000 }, ..Options::default() };
    let share = Share { folder: folder.path().into(), protocol: Protocol::Nine, options };
    let link = share.spawn_program(Path::new(PROGRAM)).unwrap();
    let message = |kind: u8, own: &[u8]| {
        let size = (7 + own.len() as u32).to_le_bytes();
        [&size[..], &[kind, 1, 0], own].concat()
    };
    let messages = [
        message(100, b"\0\0\x02\0\x08\x009P2000.L"),
        message(104, &[&[0; 4][..], &[255; 4], &[0; 8]].concat()),
        message(110, b"\0\0\0\0\x01\0\0\0\x01\0\x04\0file"),
        message(24, &[1, 0, 0, 0, 0xff, 7, 0, 0, 0, 0, 0, 0]),
        message(12, &[1, 0, 0, 0, 2, 0, 0, 0]),
        message(118, b"\x01\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0new"),
        message(120, &[1, 0, 0, 0]),
    ];
    for (token, message) in messages.iter().enumerate() {
        link.send(token as u64, message).unwrap();
    }
    let mut reply = Vec::new();
    for (token, message) in messages.iter().enumerate() {
        wait(&link, PollFlags::IN);
        assert_eq!(link.receive(&mut reply).unwrap(), Some(token as u64), "in order");
        assert_eq!(reply[4], message[4] + 1, "{token}");
        if message[4] == 24 {
            assert_eq!(reply[7 + 8 + 13 + 4..][..4], 1000u32.to_le_bytes(), "the guest's user");
        }
    }
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "new");
}

#[test]
fn it_ends_when_nobody_asks_any_more_and_says_so_if_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let link = spawn(folder.path(), false);
    let process = link.process();
    let start = Instant::now();
    drop(link);
    assert!(start.elapsed() < Duration::from_secs(1), "by itself");
    assert!(!Path::new(&format!("/proc/{process}")).exists());

    let link = spawn(folder.path(), false);
    let pid = rustix::process::Pid::from_raw(link.process() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait(&link, PollFlags::IN);
    let error = link.receive(&mut Vec::new()).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset));
}

#[test]
fn by_hand_it_says_that_it_is_not_for_people() {
    let output = Command::new(PROGRAM).arg("serve-folder").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not for people"));
}
