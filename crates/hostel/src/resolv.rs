//! Tells user networks of the host's name servers when these change: their processes open no file.

use host_loop::{Bell, Thread, Wait, Work};
use host_net::UserNet;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the host's name servers are listed (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long until somebody who could not listen is told again.
const AGAIN: Duration = Duration::from_millis(20);
/// A longer file is none.
const MOST: u64 = 1 << 16;

/// Watches the file for these networks until it is dropped.
///
/// # Errors
/// If the host has nothing to watch files with.
pub fn watch(networks: Vec<Arc<UserNet>>) -> io::Result<Thread> {
    let tell = move |text: &str| {
        networks.iter().all(|network| {
            // One that is gone needs no name server.
            network.set_resolvers(text) != Err(host_net::SendError::Full)
        })
    };
    Thread::spawn("resolv.conf", Bell::new()?, Watch::new(RESOLV_CONF.into(), tell)?)
}

/// Tells `tell` what the file contains whenever that has changed, again if it could not listen.
struct Watch<T> {
    file: PathBuf,
    events: Arc<OwnedFd>,
    known: String,
    tell: T,
}

impl<T: FnMut(&str) -> bool> Watch<T> {
    fn new(file: PathBuf, tell: T) -> io::Result<Self> {
        let events = Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
        let known = read(&file);
        let watch = Watch { file, events, known, tell };
        watch.look();
        Ok(watch)
    }

    /// Watches the folder that it is in, since files are replaced rather than changed, and that of the file that it leads to.
    fn look(&self) {
        let target = self.file.canonicalize().unwrap_or_else(|_| self.file.clone());
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE;
        for folder in [self.file.parent(), target.parent()].into_iter().flatten() {
            // What cannot be watched is not heard of.
            let _ = inotify::add_watch(&self.events, folder, what);
        }
    }
}

fn read(file: &Path) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    let _ = opened.and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

impl<T: FnMut(&str) -> bool + Send + 'static> Work for Watch<T> {
    fn work(&mut self) -> bool {
        let mut bytes = [0; 4096];
        while rustix::io::read(&self.events, &mut bytes).is_ok_and(|count| count > 0) {}
        self.look();
        let text = read(&self.file);
        // While it is being replaced, there is none, and nothing to be told.
        if text == self.known || text.is_empty() {
            return false;
        }
        if !(self.tell)(&text) {
            std::thread::sleep(AGAIN);
            return true;
        }
        self.known = text;
        false
    }

    fn waits(&mut self) -> Vec<Wait> {
        vec![Wait { fd: Arc::clone(&self.events), read: true, write: false }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_file_that_is_written_replaced_or_led_to_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        std::fs::write(&file, "first").unwrap();
        let (sender, told) = channel();
        let mut deaf = true;
        let tell = move |text: &str| {
            // Who cannot listen at first is told again.
            deaf = !deaf;
            deaf && sender.send(text.to_owned()).is_ok()
        };
        let watch = Watch::new(file.clone(), tell).unwrap();
        let thread = Thread::spawn("test", Bell::new().unwrap(), watch).unwrap();
        let next = || told.recv_timeout(Duration::from_secs(20)).unwrap();
        std::fs::write(&file, "written").unwrap();
        // Half of it may be seen on the way.
        while next() != "written" {}
        let other = folder.path().join("other");
        std::fs::write(&other, "replaced").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_eq!(next(), "replaced");
        let elsewhere = folder.path().join("run");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("stub"), "led to").unwrap();
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("stub"), &file).unwrap();
        assert_eq!(next(), "led to");
        std::fs::write(elsewhere.join("new"), "there").unwrap();
        std::fs::rename(elsewhere.join("new"), elsewhere.join("stub")).unwrap();
        assert_eq!(next(), "there");
        drop(thread);
        assert!(told.try_recv().is_err());
    }
}
