//! The threads.

use crate::Bell;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread sleeps whose descriptors cannot be waited for, or are bad: it looks now and then, and never spins.
const BAD: Duration = Duration::from_millis(10);

/// A descriptor to wait for.
#[derive(Clone, Debug)]
pub struct Wait {
    /// It.
    pub fd: Arc<OwnedFd>,
    /// Until something can be read from it, or it ends.
    pub read: bool,
    /// Until something can be written to it, or it ends.
    pub write: bool,
}

/// What a thread does.
pub trait Work: Send + 'static {
    /// The bell rang, or a descriptor is ready. True to be called again at once.
    fn work(&mut self) -> bool;

    /// What to wait for besides the bell, from now on.
    fn waits(&mut self) -> Vec<Wait> {
        Vec::new()
    }
}

/// A thread that works. When this is dropped, it ends what it does and no more: it is gone then.
#[derive(Debug)]
pub struct Thread {
    bell: Bell,
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Starts a thread called `name` that does `work` whenever `bell` rings; once at first.
    ///
    /// # Errors
    /// If the host gives no thread.
    pub fn spawn(name: &str, bell: Bell, work: impl Work) -> io::Result<Thread> {
        let stop = Arc::new(AtomicBool::new(false));
        let (its_bell, its_stop) = (bell.clone(), Arc::clone(&stop));
        // Linux shows fifteen bytes of it.
        let thread = std::thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(move || run(&its_bell, &its_stop, work))?;
        Ok(Thread { bell, stop, handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.bell.ring();
        if let Some(handle) = self.handle.take() {
            // A panic has been printed where it happened.
            let _ = handle.join();
        }
    }
}

fn run(bell: &Bell, stop: &AtomicBool, mut work: impl Work) {
    while !stop.load(Ordering::SeqCst) {
        let again = work.work();
        // Heard before the next look: what rang meanwhile is work for the next round.
        if !bell.heard() && !again {
            sleep(bell, &work.waits());
            bell.clear();
        }
    }
}

/// Sleeps until the bell rings or a descriptor is ready.
fn sleep(bell: &Bell, waits: &[Wait]) {
    let flags = |wait: &Wait| {
        let read = if wait.read { PollFlags::IN } else { PollFlags::empty() };
        let write = if wait.write { PollFlags::OUT } else { PollFlags::empty() };
        read | write
    };
    let ring = PollFd::from_borrowed_fd(bell.fd(), PollFlags::IN);
    // One that nobody waits for would be ready all the time once its other end has gone.
    let wanted = waits.iter().filter(|wait| wait.read || wait.write);
    let others = wanted.map(|wait| PollFd::from_borrowed_fd(wait.fd.as_fd(), flags(wait)));
    let mut all: Vec<PollFd<'_>> = std::iter::once(ring).chain(others).collect();
    match poll(&mut all, None) {
        Ok(_) if all.iter().any(|fd| fd.revents().intersects(PollFlags::NVAL | PollFlags::ERR)) => {
            std::thread::sleep(BAD);
        }
        Ok(_) | Err(Errno::INTR) => {}
        Err(_) => std::thread::sleep(BAD),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use rustix::pipe::pipe;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Tells of each call; reads a byte of what it waits for, if it may.
    struct Teller {
        calls: Sender<Option<u8>>,
        wait: Option<Wait>,
        again: usize,
    }

    impl Work for Teller {
        fn work(&mut self) -> bool {
            let mut byte = [0];
            let read = self.wait.as_ref().and_then(|wait| rustix::io::read(&wait.fd, &mut byte).ok());
            if read == Some(0) {
                self.wait = None;
            }
            self.calls.send(read.filter(|&n| n > 0).map(|_| byte[0])).unwrap();
            self.again = self.again.saturating_sub(1);
            self.again > 0
        }

        fn waits(&mut self) -> Vec<Wait> {
            self.wait.clone().into_iter().collect()
        }
    }

    const SOON: Duration = Duration::from_secs(20);
    const NEVER: Duration = Duration::from_millis(50);

    fn teller(wait: Option<Wait>, again: usize) -> (Thread, Bell, Receiver<Option<u8>>) {
        let (calls, told) = channel();
        let bell = Bell::new().unwrap();
        let thread = Thread::spawn("teller", bell.clone(), Teller { calls, wait, again }).unwrap();
        (thread, bell, told)
    }

    #[test]
    fn it_works_at_first_and_when_the_bell_rings() {
        let (thread, bell, told) = teller(None, 0);
        told.recv_timeout(SOON).unwrap();
        assert!(told.recv_timeout(NEVER).is_err(), "nobody rang");
        for _ in 0..100 {
            bell.ring();
            told.recv_timeout(SOON).unwrap();
        }
        drop(thread);
        assert!(told.iter().count() <= 2);
    }

    #[test]
    fn no_ring_is_lost_and_many_are_one() {
        let (_thread, bell, told) = teller(None, 0);
        let ringers: Vec<_> = (0..4)
            .map(|_| {
                let bell = bell.clone();
                std::thread::spawn(move || (0..10_000).for_each(|_| bell.ring()))
            })
            .collect();
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
        while told.recv_timeout(NEVER).is_ok() {}
        bell.ring();
        told.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn it_is_called_again_as_often_as_it_likes() {
        let (_thread, _bell, told) = teller(None, 5);
        for _ in 0..5 {
            told.recv_timeout(SOON).unwrap();
        }
        assert!(told.recv_timeout(NEVER).is_err());
    }

    #[test]
    fn descriptors_wake_it_until_they_end() {
        let (from, to) = pipe().unwrap();
        let wait = Wait { fd: Arc::new(from), read: true, write: false };
        // The first look is at an empty pipe, and waits for its first byte.
        rustix::io::write(&to, b"a").unwrap();
        let (_thread, _bell, told) = teller(Some(wait), 0);
        assert_eq!(told.recv_timeout(SOON), Ok(Some(b'a')));
        rustix::io::write(&to, b"b").unwrap();
        assert_eq!(told.recv_timeout(SOON), Ok(Some(b'b')));
        drop(to);
        assert_eq!(told.recv_timeout(SOON), Ok(None));
        assert!(told.recv_timeout(NEVER).is_err(), "what has ended is not waited for");
    }

    /// Its work does not take the error away; it is called now and then, not all the time.
    #[test]
    fn a_descriptor_in_error_does_not_make_it_spin() {
        let (from, to) = pipe().unwrap();
        drop(from);
        let (calls, told) = channel();
        struct Stubborn(Sender<()>, Wait);
        impl Work for Stubborn {
            fn work(&mut self) -> bool {
                self.0.send(()).unwrap();
                false
            }
            fn waits(&mut self) -> Vec<Wait> {
                vec![self.1.clone()]
            }
        }
        // Writing to a pipe that nobody reads is an error for ever.
        let wait = Wait { fd: Arc::new(to), read: false, write: true };
        let thread = Thread::spawn("stubborn", Bell::new().unwrap(), Stubborn(calls, wait)).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        drop(thread);
        assert!(told.iter().count() <= 25);
    }
}
