//! Joining the user's consoles to the guest's serial lines and virtio ports, which are new ones after every reset.

use crate::choice;
use crate::status::Why;
use host_char::{
    Backend, Bell, Command, Console, Door, OnCommand, OnLost, OpenError, Port, Sink, Source, terminal,
};
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use vm_machine::ConsolePort;

/// The guest's end: the serial line or port of the machine that runs now.
#[derive(Default)]
struct Line(Mutex<Plug>);

#[derive(Default)]
struct Plug {
    port: Option<Arc<dyn ConsolePort>>,
    /// What machines that have ended had left to say.
    rest: Vec<u8>,
    /// Somebody is at the host's end, with a terminal of this size.
    connected: bool,
    size: Option<(u16, u16)>,
}

impl Line {
    fn plug<R>(&self, f: impl FnOnce(&mut Plug) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Source for Line {
    fn offer(&self, bytes: &[u8]) -> usize {
        let port = self.plug(|plug| plug.port.clone());
        port.map_or(0, |port| port.feed(bytes))
    }

    fn send_break(&self) {
        if let Some(port) = self.plug(|plug| plug.port.clone()) {
            port.send_break();
        }
    }

    fn connected(&self, there: bool) {
        let port = self.plug(|plug| {
            plug.connected = there;
            plug.port.clone()
        });
        if let Some(port) = port {
            port.set_connected(there);
        }
    }

    fn resized(&self, columns: u16, rows: u16) {
        let port = self.plug(|plug| {
            plug.size = Some((columns, rows));
            plug.port.clone()
        });
        if let Some(port) = port {
            port.set_size(columns, rows);
        }
    }
}

impl Sink for Line {
    fn take(&self, into: &mut Vec<u8>) {
        self.plug(|plug| {
            into.append(&mut plug.rest);
            if let Some(port) = &plug.port {
                port.drain(into);
            }
        });
    }
}

/// SIGPIPE's number, on every Linux that Hostel runs on.
const SIGPIPE: i32 = 13;

/// What is done when the output cannot be written: `hostel run | head -1` ends as a pipeline does, and a full disk
/// is said, but does not take the machine with it.
fn on_lost(stop: impl Fn(Why) + Send + 'static, say: impl Fn(&str) + Send + 'static) -> OnLost {
    Box::new(move |error| {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return stop(Why::Signal(SIGPIPE));
        }
        let error = error.to_string();
        let why = error.split(" (os error").next().unwrap_or_default();
        say(&format!("cannot write the console's output ({why}); the rest is thrown away"));
    })
}

/// A line or a port of the guest's.
#[derive(Clone, Copy, Debug)]
pub enum LineName<'a> {
    /// A serial line, by number from 0.
    Serial(usize),
    /// A console on virtio, likewise.
    Hvc(usize),
    /// A port of that name.
    Port(&'a str),
}

impl fmt::Display for LineName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineName::Serial(0) => f.write_str("the console"),
            LineName::Serial(number) => write!(f, "console {}", number + 1),
            LineName::Hvc(number) => write!(f, "hvc{number}"),
            LineName::Port(name) => write!(f, "the port {name}"),
        }
    }
}

/// A console that stays while machines come and go.
pub struct Joined {
    line: Arc<Line>,
    users: bool,
    console: Console,
}

impl Joined {
    /// Opens the console of a line and puts a terminal into raw mode; standard input and output are those who
    /// come through `door`, if there is one. `on_key` is called for the escape keys, `stop` when whoever read the output is gone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        name: LineName<'_>,
        choice: &choice::Console,
        door: Option<Door>,
        on_key: impl Fn(Command) + Send + 'static,
        stop: impl Fn(Why) + Clone + Send + 'static,
        say: impl Fn(&str) + Send + 'static + Copy,
    ) -> Result<Joined, OpenError> {
        let background = door.is_some() && *choice == choice::Console::Stdio;
        let keys = *choice == choice::Console::Stdio && !background && std::io::stdin().is_terminal();
        let backend = match (choice, door) {
            (choice::Console::Stdio, Some(door)) => Backend::Door(door),
            (choice::Console::Stdio, None) => Backend::Stdio,
            (choice::Console::None, _) => Backend::None,
            (choice::Console::Pty, _) => Backend::Pty,
            (choice::Console::Unix(path), _) => Backend::Unix(path.clone()),
        };
        let port = Port::open(backend)?;
        let port = if let LineName::Port(_) = name { port.keeping_nothing() } else { port };
        // Started in the background, there is nobody at the keys.
        if keys && terminal::is_raw() && std::io::stderr().is_terminal() {
            say("Ctrl-A x quits, Ctrl-A h lists the keys");
        }
        let on_lost = on_lost(stop, say);
        let on_command: Option<OnCommand> = if keys { Some(Box::new(on_key)) } else { None };
        let line = Arc::new(Line::default());
        let console =
            Console::start(port, Arc::clone(&line) as _, Arc::clone(&line) as _, on_command, on_lost)?;
        if let Some(path) = console.path() {
            say(&format!("{name} is at {}", path.display()));
        }
        Ok(Joined { line, users: *choice == choice::Console::Stdio, console })
    }

    /// Whether it is the user's own, on standard input and output or by a door.
    pub fn is_users(&self) -> bool {
        self.users
    }

    /// The guest's end, for who has something to send there.
    pub fn line(&self) -> Arc<dyn Source> {
        Arc::clone(&self.line) as _
    }

    /// Joins the console to this machine's serial line from now on.
    pub fn attach(&self, port: Arc<dyn ConsolePort>) {
        let bell: Bell = self.console.bell();
        let ring = bell.clone();
        // Connected before it is taken into use, so that nothing it says goes unheard.
        port.connect(Arc::new(move |work| {
            if work.fetch {
                ring.output();
            }
            if work.room {
                ring.room();
            }
        }));
        let (connected, size) = self.line.plug(|plug| {
            if let Some(old) = plug.port.replace(Arc::clone(&port)) {
                old.drain(&mut plug.rest);
            }
            (plug.connected, plug.size)
        });
        port.set_connected(connected);
        if let Some((columns, rows)) = size {
            port.set_size(columns, rows);
        }
        bell.output();
        bell.room();
    }

    /// Writes the last output and gives the terminal its modes back.
    pub fn close(self) {
        self.console.close();
    }
}
