//! Images that go between us and qemu-img, both ways. Where qemu-img is missing, the tests say that they skipped.

use host_disk::{Disk, Header, HostFile, NewQcow2, OpenError, OpenOptions, Repair, check, open, repair};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support_hostmap::Pieces;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

const SIZE: u64 = 8 << 20;

/// A folder for a test; `None`, said aloud, if there is no qemu-img.
fn folder() -> Option<tempfile::TempDir> {
    match Command::new("qemu-img").arg("--version").output() {
        Ok(_) => Some(tempfile::tempdir().unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: no qemu-img on this host: {error}");
            None
        }
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("qemu-img").current_dir(folder).args(arguments).output().unwrap()
}

/// Runs qemu-img, which must succeed.
fn qemu(folder: &Path, line: &str) {
    let arguments: Vec<&str> = line.split(' ').collect();
    let output = run(folder, &arguments);
    assert!(output.status.success(), "qemu-img {line}: {output:?}");
}

/// Bytes with runs of zeroes, of what compresses, and of what does not.
fn contents(seed: u64, len: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = vec![0; len as usize];
    for _ in 0..60 {
        let at = random.below(len) as usize;
        let end = (at + random.below(200_000) as usize).min(bytes.len());
        let kind = random.below(3);
        for byte in &mut bytes[at..end] {
            *byte = match kind {
                0 => 0,
                1 => 7,
                _ => random.next() as u8,
            };
        }
    }
    bytes
}

fn options(format: &str) -> OpenOptions {
    OpenOptions { format: Some(format.parse().unwrap()), ..OpenOptions::default() }
}

fn read_all(disk: &dyn Disk) -> Vec<u8> {
    let pieces = Pieces::scratch(disk.size() as usize).unwrap();
    disk.read(0, &pieces).unwrap();
    pieces.to_vec()
}

/// Random writes, zeroes, discards and flushes, done to `bytes` too.
fn work(disk: &dyn Disk, bytes: &mut [u8], random: &mut Random) {
    for _ in 0..60 {
        let at = random.below(SIZE);
        let len = (1 + random.below(150_000)).min(SIZE - at);
        let range = at as usize..(at + len) as usize;
        match random.below(8) {
            0 => disk.flush().unwrap(),
            1 => {
                disk.write_zeroes(at, len, random.below(2) == 0).unwrap();
                bytes[range].fill(0);
            }
            2 => {
                disk.discard(at, len).unwrap();
                let now = Pieces::scratch(len as usize).unwrap();
                disk.read(at, &now).unwrap();
                for (place, new) in bytes[range].iter_mut().zip(now.to_vec()) {
                    assert!(new == 0 || new == *place);
                    *place = new;
                }
            }
            _ => {
                let data = Pieces::scratch(len as usize).unwrap();
                let new: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
                data.copy_in(0, &new).unwrap();
                disk.write(at, &data).unwrap();
                bytes[range].copy_from_slice(&new);
            }
        }
    }
}

fn our_check(path: &Path) -> host_disk::Report {
    let file = HostFile::open(path, false, host_disk::Cache::Writeback).unwrap();
    check(&file, &Header::read(&file).unwrap()).unwrap()
}

/// Both find the image clean, and QEMU reads from it what it should.
fn both_agree(folder: &Path, image: &str, bytes: &[u8], what: &str) {
    let report = our_check(&folder.join(image));
    assert!(report.is_clean(), "{what}: {report:?}");
    let output = run(folder, &["check", image]);
    assert!(output.status.success(), "{what}: {output:?}");
    fs::write(folder.join("expected.raw"), bytes).unwrap();
    let output = run(folder, &["compare", "-f", "raw", "-F", "qcow2", "expected.raw", image]);
    assert!(output.status.success(), "{what}: {output:?}");
}

/// What can be said of a new image, in combinations that make sense.
const FLAVOURS: &[&str] = &[
    "cluster_size=64k",
    "cluster_size=512",
    "cluster_size=512,refcount_bits=64",
    "cluster_size=1k,refcount_bits=1",
    "cluster_size=4k,refcount_bits=2",
    "cluster_size=8k,refcount_bits=4",
    "cluster_size=32k,refcount_bits=8",
    "cluster_size=2M,refcount_bits=32",
    "compat=0.10",
    "compat=0.10,cluster_size=4k",
    "compat=1.1,lazy_refcounts=on",
    "preallocation=metadata",
    "preallocation=falloc",
    "preallocation=full,cluster_size=128k",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "extended_l2=on,preallocation=metadata",
    "compression_type=zstd",
];

#[test]
fn images_of_qemu_are_read_and_written() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    for (n, flavour) in FLAVOURS.iter().enumerate() {
        for compressed in [false, true] {
            if compressed && flavour.contains("preallocation") {
                continue;
            }
            let what = format!("{flavour}, compressed: {compressed}");
            let mut bytes = contents(n as u64, SIZE);
            fs::write(folder.join("source.raw"), &bytes).unwrap();
            let _ = fs::remove_file(folder.join("a.qcow2"));
            let c = if compressed { "-c " } else { "" };
            qemu(folder, &format!("convert -f raw -O qcow2 {c}-o {flavour} source.raw a.qcow2"));
            both_agree(folder, "a.qcow2", &bytes, &what);
            let path = folder.join("a.qcow2");
            let read_only = OpenOptions { read_only: true, ..options("qcow2") };
            assert!(read_all(&*open(&path, &read_only).unwrap().disk) == bytes, "{what}");
            let opened = open(&path, &options("qcow2")).unwrap();
            work(&*opened.disk, &mut bytes, &mut Random(n as u64));
            assert!(read_all(&*opened.disk) == bytes, "{what}");
            opened.disk.close().unwrap();
            drop(opened);
            both_agree(folder, "a.qcow2", &bytes, &what);
        }
    }
}

#[test]
fn our_images_are_read_and_written_by_qemu() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    let new = NewQcow2::new(SIZE);
    let kinds = [
        new.clone(),
        NewQcow2 { cluster: 512, refcount_bits: 1, ..new.clone() },
        NewQcow2 { cluster: 4096, version: 2, ..new.clone() },
        NewQcow2 { cluster: 2 << 20, refcount_bits: 64, ..new.clone() },
        NewQcow2 { cluster: 16384, extended: true, ..new },
    ];
    for (n, kind) in kinds.into_iter().enumerate() {
        let what = format!("{kind:?}");
        let path = folder.join("b.qcow2");
        let _ = fs::remove_file(&path);
        kind.create(&HostFile::create(&path).unwrap()).unwrap();
        let mut bytes = vec![0; SIZE as usize];
        both_agree(folder, "b.qcow2", &bytes, &what);
        let opened = open(&path, &options("qcow2")).unwrap();
        work(&*opened.disk, &mut bytes, &mut Random(n as u64));
        opened.disk.close().unwrap();
        drop(opened);
        both_agree(folder, "b.qcow2", &bytes, &what);
        // QEMU writes to it, and we read that.
        let output = Command::new("qemu-io")
            .current_dir(folder)
            .args(["-f", "qcow2", "-c", "write -P 0x5a 100k 300k", "-c", "write -z 1M 200k", "b.qcow2"])
            .output();
        let Ok(output) = output else {
            eprintln!("SKIPPED: writing with QEMU: no qemu-io on this host");
            continue;
        };
        assert!(output.status.success(), "{what}: {output:?}");
        bytes[100 << 10..400 << 10].fill(0x5a);
        bytes[1 << 20..(1 << 20) + (200 << 10)].fill(0);
        both_agree(folder, "b.qcow2", &bytes, &what);
        assert!(read_all(&*open(&path, &options("qcow2")).unwrap().disk) == bytes, "{what}");
    }
}

#[test]
fn chains_are_read_and_their_top_is_written() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    let mut bytes = contents(1, SIZE);
    fs::write(folder.join("base.raw"), &bytes[..5_000_192]).unwrap();
    bytes[5_000_192..].fill(0);
    qemu(folder, "create -q -f qcow2 -b base.raw -F raw -o cluster_size=4k middle.qcow2 8M");
    qemu(folder, "create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2 8M");
    for name in ["middle.qcow2", "top.qcow2"] {
        let opened = open(&folder.join(name), &options("qcow2")).unwrap();
        assert!(read_all(&*opened.disk) == bytes, "{name}");
        work(&*opened.disk, &mut bytes, &mut Random(3));
        opened.disk.close().unwrap();
        drop(opened);
        both_agree(folder, name, &bytes, name);
    }
    let opened = open(&folder.join("top.qcow2"), &options("qcow2")).unwrap();
    assert_eq!(opened.files.len(), 3);
    // And one that we make over a file of QEMU's.
    drop(opened);
    let backing = Some(("top.qcow2".to_owned(), "qcow2".to_owned()));
    let new = NewQcow2 { backing, ..NewQcow2::new(SIZE) };
    new.create(&HostFile::create(&folder.join("ours.qcow2")).unwrap()).unwrap();
    both_agree(folder, "ours.qcow2", &bytes, "ours over QEMU's");
}

#[test]
fn internal_snapshots_survive_our_writing() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    for flavour in ["cluster_size=64k", "cluster_size=4k,refcount_bits=8", "compat=0.10", "extended_l2=on"] {
        let first = contents(5, SIZE);
        fs::write(folder.join("source.raw"), &first).unwrap();
        let _ = fs::remove_file(folder.join("s.qcow2"));
        qemu(folder, &format!("convert -f raw -O qcow2 -o {flavour} source.raw s.qcow2"));
        qemu(folder, "snapshot -c one s.qcow2");
        let mut bytes = first.clone();
        for round in 0..2 {
            let opened = open(&folder.join("s.qcow2"), &options("qcow2")).unwrap();
            work(&*opened.disk, &mut bytes, &mut Random(round));
            opened.disk.close().unwrap();
            drop(opened);
            both_agree(folder, "s.qcow2", &bytes, flavour);
            qemu(folder, "snapshot -c two s.qcow2");
        }
        qemu(folder, "snapshot -a one s.qcow2");
        both_agree(folder, "s.qcow2", &first, flavour);
        let opened = open(&folder.join("s.qcow2"), &options("qcow2")).unwrap();
        assert!(read_all(&*opened.disk) == first, "{flavour}");
    }
}

#[test]
fn what_is_not_supported_is_refused_in_words() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    qemu(folder, "create -q -f qcow2 -o data_file=data.raw,data_file_raw=on d.qcow2 8M");
    qemu(
        folder,
        "create -q -f qcow2 --object secret,id=s,data=x -o encrypt.format=luks,encrypt.key-secret=s e.qcow2 8M",
    );
    qemu(folder, "create -q -f qcow2 m.qcow2 8M");
    qemu(folder, "bitmap --add m.qcow2 b");
    for (name, words) in [("d.qcow2", "another file"), ("e.qcow2", "encrypted"), ("m.qcow2", "dirty bitmaps")]
    {
        let error = open(&folder.join(name), &options("qcow2")).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let read_only = OpenOptions { read_only: true, ..options("qcow2") };
    open(&folder.join("m.qcow2"), &read_only).unwrap();
    assert!(our_check(&folder.join("m.qcow2")).is_clean());
}

#[test]
fn an_image_in_use_is_refused_by_both() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    qemu(folder, "create -q -f qcow2 l.qcow2 8M");
    let opened = open(&folder.join("l.qcow2"), &options("qcow2")).unwrap();
    let output = run(folder, &["check", "l.qcow2"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("lock"), "{words}");
    drop(opened);
    qemu(folder, "check l.qcow2");
    // QEMU has it, as long as its input is open.
    let child = Command::new("qemu-io")
        .current_dir(folder)
        .args(["-f", "qcow2", "l.qcow2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: being refused by us: no qemu-io on this host");
        return;
    };
    child.stdin.as_mut().unwrap().write_all(b"length\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"MiB") {
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let error = open(&folder.join("l.qcow2"), &options("qcow2")).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(error.to_string().contains("l.qcow2"), "{error}");
    drop(child.stdin.take());
    child.wait().unwrap();
    open(&folder.join("l.qcow2"), &options("qcow2")).unwrap();
}

/// Damages that are done to a sound image: what, and whether guest data can be lost by it.
type Damage = (&'static str, fn(&Header, &mut Vec<u8>));

fn be(bytes: &[u8], at: u64) -> u64 {
    u64::from_be_bytes(bytes[at as usize..at as usize + 8].try_into().unwrap())
}

fn set(bytes: &mut [u8], at: u64, value: u64) {
    bytes[at as usize..at as usize + 8].copy_from_slice(&value.to_be_bytes());
}

const MASK: u64 = 0x00ff_ffff_ffff_fe00;

fn first_l2(header: &Header, bytes: &[u8]) -> u64 {
    be(bytes, header.l1_offset) & MASK
}

const DAMAGES: &[Damage] = &[
    ("a refcount that is too high", |h, b| {
        let block = be(b, h.reftable_offset);
        b[block as usize + 9] = 5;
    }),
    ("all refcounts gone", |h, b| {
        let block = be(b, h.reftable_offset) as usize;
        b[block..block + 65536].fill(0);
    }),
    ("no refcount block", |h, b| set(b, h.reftable_offset, 0)),
    ("a refcount block that is the L1 table", |h, b| set(b, h.reftable_offset, h.l1_offset)),
    ("a refcount block twice", |h, b| {
        let block = be(b, h.reftable_offset);
        set(b, h.reftable_offset + 8, block);
    }),
    ("a refcount block in nowhere", |h, b| set(b, h.reftable_offset, 1 << 50)),
    ("an L2 table that is the L1 table", |h, b| set(b, h.l1_offset, h.l1_offset | 1 << 63)),
    ("an L2 table in nowhere", |h, b| set(b, h.l1_offset, (1 << 50) | 1 << 63)),
    ("an L2 table at no cluster", |h, b| set(b, h.l1_offset, (5 << 16) + 512)),
    ("data in the header", |h, b| {
        let l2 = first_l2(h, b);
        set(b, l2, 1 << 63);
        set(b, l2 + 8, h.reftable_offset | 1 << 63);
    }),
    ("data in its own L2 table", |h, b| {
        let l2 = first_l2(h, b);
        set(b, l2 + 16, l2 | 1 << 63);
    }),
    ("two entries with one cluster", |h, b| {
        let l2 = first_l2(h, b);
        let entry = (0..64).map(|n| be(b, l2 + n * 8)).find(|entry| entry & MASK != 0).unwrap();
        set(b, l2 + 8, entry);
        set(b, l2 + 80, entry);
    }),
    ("compressed data in nowhere", |h, b| {
        let l2 = first_l2(h, b);
        set(b, l2 + 24, 1 << 62 | 1 << 50);
    }),
    ("no COPIED flags", |h, b| {
        let l2 = first_l2(h, b);
        for n in 0..8192 {
            let entry = be(b, l2 + n * 8);
            set(b, l2 + n * 8, entry & !(1 << 63));
        }
    }),
    ("marked corrupt", |_, b| set(b, 72, 2)),
    ("marked dirty", |_, b| set(b, 72, 1)),
];

#[test]
fn damaged_images_are_found_and_repaired_so_that_qemu_agrees() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    fs::write(folder.join("source.raw"), contents(8, SIZE)).unwrap();
    qemu(folder, "convert -f raw -O qcow2 source.raw sound.qcow2");
    let sound = fs::read(folder.join("sound.qcow2")).unwrap();
    let path = folder.join("damaged.qcow2");
    for (what, damage) in DAMAGES {
        let mut bytes = sound.clone();
        let header = Header::read(
            &HostFile::open(&folder.join("sound.qcow2"), false, host_disk::Cache::Writeback).unwrap(),
        );
        damage(&header.unwrap(), &mut bytes);
        fs::write(&path, &bytes).unwrap();
        let marked = what.starts_with("marked");
        let report = our_check(&path);
        let theirs = run(folder, &["check", "damaged.qcow2"]);
        assert_eq!(report.is_clean(), marked, "{what}: {report:?}");
        // 0: clean, 2: corrupt, 3: leaks only.
        let expected = if report.corruptions > 0 {
            2
        } else if report.leaks > 0 {
            3
        } else {
            0
        };
        // QEMU gives up (1) where it cannot read the refcounts, and repairs what is marked dirty even so.
        let code = theirs.status.code().unwrap();
        assert!(code == expected || code == 1, "{what}: we say {report:?}, QEMU {theirs:?}");
        let file = HostFile::open(&path, true, host_disk::Cache::Writeback).unwrap();
        let report = repair(&file, &Header::read(&file).unwrap(), Repair::All).unwrap();
        assert!(report.is_clean(), "{what}: {report:?}");
        drop(file);
        let output = run(folder, &["check", "damaged.qcow2"]);
        assert!(output.status.success(), "{what}: {output:?}");
        let opened = open(&path, &options("qcow2")).unwrap();
        let mut now = read_all(&*opened.disk);
        work(&*opened.disk, &mut now, &mut Random(1));
        opened.disk.close().unwrap();
        drop(opened);
        both_agree(folder, "damaged.qcow2", &now, what);
    }
}

#[test]
fn only_leaks_are_repaired_if_that_is_asked_for() {
    let Some(folder) = folder() else { return };
    let folder = folder.path();
    fs::write(folder.join("source.raw"), contents(8, SIZE)).unwrap();
    qemu(folder, "convert -f raw -O qcow2 source.raw a.qcow2");
    let path = folder.join("a.qcow2");
    let mut bytes = fs::read(&path).unwrap();
    let file = HostFile::open(&path, true, host_disk::Cache::Writeback).unwrap();
    let header = Header::read(&file).unwrap();
    let block = be(&bytes, header.reftable_offset) as usize;
    (bytes[block + 9], bytes[block + 11]) = (2, 0);
    fs::write(&path, &bytes).unwrap();
    let before = check(&file, &header).unwrap();
    assert!(before.leaks == 1 && before.corruptions >= 1, "{before:?}");
    let after = repair(&file, &header, Repair::Leaks).unwrap();
    assert_eq!((after.leaks, after.corruptions >= 1), (0, true), "{after:?}");
}
