//! Unix sockets at a path.

use crate::caller::Callers;
use crate::{Call, Host, Kind, Stream};
use host_char::{OpenError, Socket};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, shutdown, socket_with,
};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long to wait where the host gives no descriptors.
const SHORT_OF: Duration = Duration::from_millis(10);

/// The sockets at a path and, if the guest may connect to them, those named after it.
pub struct UnixHost {
    socket: Socket,
    listener: UnixListener,
    ready: Arc<OwnedFd>,
    /// Whether the guest may connect to PATH_PORT.
    out: bool,
    callers: Mutex<Callers>,
}

impl UnixHost {
    /// Listens at `path`. `out` if the guest may connect to what listens at PATH_PORT.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, out: bool) -> Result<UnixHost, OpenError> {
        let (listener, socket) = Socket::listen(path)?;
        let ready = listener.try_clone().map_err(OpenError::Resources)?;
        let callers = Mutex::default();
        Ok(UnixHost { socket, listener, ready: Arc::new(ready.into()), out, callers })
    }

    fn callers<R>(&self, f: impl FnOnce(&mut Callers) -> R) -> R {
        f(&mut self.callers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the guest's connections to that port go.
    fn out_path(&self, port: u32) -> PathBuf {
        let mut path = OsString::from(self.socket.path());
        path.push(format!("_{port}"));
        path.into()
    }
}

impl Host for UnixHost {
    fn accept(&self) -> Option<Call> {
        self.callers(|callers| {
            loop {
                // Whoever has said something by now makes room before somebody else needs it.
                if let Some(call) = callers.next() {
                    return Some(call);
                }
                match self.listener.accept() {
                    Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                        callers.came(UnixEnd::new(stream.into(), Kind::Stream));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                    // They went away again. If the host is out of descriptors this must not spin.
                    _ => {
                        std::thread::sleep(SHORT_OF);
                        return None;
                    }
                }
            }
        })
    }

    fn descriptors(&self) -> Vec<Arc<OwnedFd>> {
        let listener = std::iter::once(Arc::clone(&self.ready));
        self.callers(|callers| listener.chain(callers.descriptors()).collect())
    }

    fn connect(&self, port: u32, kind: Kind) -> io::Result<Box<dyn Stream>> {
        if !self.out {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let of_socket = match kind {
            Kind::Stream => SocketType::STREAM,
            Kind::SeqPacket => SocketType::SEQPACKET,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let end = socket_with(AddressFamily::UNIX, of_socket, flags, None)?;
        // Of a Unix socket this is done at once, or not at all.
        connect(&end, &SocketAddrUnix::new(self.out_path(port))?)?;
        Ok(Box::new(UnixEnd::new(end, kind)))
    }

    fn forget(&self) {
        self.callers(|callers| *callers = Callers::default());
    }
}

/// An end of such a connection.
pub(crate) struct UnixEnd {
    fd: Arc<OwnedFd>,
    kind: Kind,
}

impl UnixEnd {
    fn new(fd: OwnedFd, kind: Kind) -> UnixEnd {
        UnixEnd { fd: Arc::new(fd), kind }
    }
}

impl Stream for UnixEnd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // How long a message was is told only so; of a stream it would mean something else.
        let whole = if self.kind == Kind::SeqPacket { RecvFlags::TRUNC } else { RecvFlags::empty() };
        let (_, len) = recv(&*self.fd, into, whole | RecvFlags::DONTWAIT)?;
        Ok(len)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match send(&*self.fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other?),
        }
    }

    fn close_writing(&mut self) {
        let _ = shutdown(&*self.fd, Shutdown::Write);
    }

    fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }
}
