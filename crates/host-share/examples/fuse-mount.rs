//! Mounts a folder on this host through `/dev/fuse`, served as a guest's would be, so that real programs and Linux's own
//! FUSE driver can be tried on it: `fuse-mount [--process PROGRAM] [--cache KIND] FOLDER MOUNTPOINT`.
//!
//! With `--process`, requests go to the process that a virtual machine would start (PROGRAM is `hostel`); without, the
//! server runs here. Needs the rights to mount. It ends when the mount point is unmounted.

use host_share::{
    Cache, FuseServer, LONGEST_REPLY, LONGEST_REQUEST, Limits, Options, Protocol, Share, ShareLink,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const THREADS: usize = 4;

fn main() {
    let (mut program, mut options, mut paths) = (None, Options::default(), Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--process" => program = words.next().map(PathBuf::from),
            "--cache" => {
                options.cache = words.next().and_then(|w| Cache::of_word(&w)).expect("a kind of cache")
            }
            _ => paths.push(PathBuf::from(word)),
        }
    }
    let [folder, at] = &paths[..] else { panic!("a folder and a mount point") };
    let device = File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let data = std::ffi::CString::new(data).expect("no zero byte");
    let link = program.map(|program| link(&program, folder, options));
    rustix::mount::mount(c"hostel", at, c"fuse", rustix::mount::MountFlags::empty(), Some(data.as_c_str()))
        .expect("mount");
    match link {
        Some(link) => by_link(device, link),
        None => here(&device, folder, options),
    }
}

fn link(program: &Path, folder: &Path, options: Options) -> ShareLink {
    let share = Share { folder: folder.into(), protocol: Protocol::Fuse, options };
    share.spawn_program(program).expect("the process starts")
}

/// One request at a time; none once it is unmounted.
fn next(device: &File, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match rustix::io::read(device, &mut *buffer) {
            Ok(length) => return Some(length),
            Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
            Err(_) => return None,
        }
    }
}

fn here(device: &File, folder: &Path, options: Options) {
    let limits = Limits::for_descriptors(
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1024) as usize,
    );
    rustix::process::umask(rustix::fs::Mode::empty());
    let server =
        FuseServer::new(File::open(folder).expect("the folder").into(), Options { limits, ..options });
    let server = server.expect("the folder can be served");
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let (mut request, mut reply) = (vec![0; LONGEST_REQUEST], Vec::new());
                let mut device = device;
                while let Some(length) = next(device, &mut request) {
                    server.handle(&request[..length], &mut reply);
                    if !reply.is_empty() {
                        let _ = device.write(&reply);
                    }
                }
            });
        }
    });
}

fn by_link(device: File, link: ShareLink) {
    let (device, link) = (Arc::new(device), Arc::new(link));
    let replies = std::thread::spawn({
        let (device, link) = (Arc::clone(&device), Arc::clone(&link));
        move || {
            let mut reply = vec![0; LONGEST_REPLY];
            loop {
                match link.receive_into(&mut reply) {
                    Ok(None) => drop(poll(&mut [PollFd::new(&*link, PollFlags::IN)], None)),
                    Ok(Some((_, 0))) => {}
                    Ok(Some((_, length))) => drop((&*device).write(&reply[..length])),
                    Err(_) => std::process::exit(1),
                }
            }
        }
    });
    let mut request = vec![0; LONGEST_REQUEST];
    while let Some(length) = next(&device, &mut request) {
        while let Err(error) = link.send(1, &request[..length]) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "the process has ended");
            let _ = poll(&mut [PollFd::new(&*link, PollFlags::OUT)], None);
        }
    }
    drop(replies);
    std::process::exit(0);
}
