//! A guest's process: what it says, with the moment at which each piece arrived.

use anyhow::{Context, Result, bail};
use host_image::child::{self, Running};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Bytes of what was said last that an error shows.
const SHOWN: usize = 800;

/// What was said up to a place, and when that arrived.
pub struct Heard {
    /// When the piece with the end of it arrived.
    pub at: Instant,
    /// Without its end.
    pub text: String,
}

/// A running process.
pub struct Session {
    running: Running,
    pieces: Receiver<(Instant, Vec<u8>)>,
    /// What was heard and not yet given out. Bytes: a piece may end within a character.
    left: Vec<u8>,
    /// When the piece that ended `left` arrived.
    latest: Instant,
    name: String,
    patience: Duration,
    /// When it was started.
    pub started: Instant,
}

impl Session {
    /// Starts the program of `command` with its arguments, to be ended when this process ends, however it does. Nothing
    /// is waited for longer than `patience`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &Command, patience: Duration) -> Result<Session> {
        let mut guarded = child::command(command.get_program());
        guarded.args(command.get_args());
        Session::spawn(guarded, command.get_program().display().to_string(), patience)
    }

    /// The same of a guest that ends by itself at once: nothing outlives this process for long, and the start takes no
    /// longer for what would prevent it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_short(mut command: Command, patience: Duration) -> Result<Session> {
        let name = command.get_program().display().to_string();
        command.process_group(0);
        Session::spawn(command, name, patience)
    }

    fn spawn(mut command: Command, name: String, patience: Duration) -> Result<Session> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut running = Running::spawn(&mut command).with_context(|| format!("cannot start {name}"))?;
        let mut out = running.child.stdout.take().context("no pipe")?;
        let (send, pieces) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            // The end, an error and a session that nobody holds any more all end the thread.
            while let Ok(len) = out.read(&mut buffer) {
                let piece = buffer.get(..len).unwrap_or_default();
                if piece.is_empty() || send.send((Instant::now(), piece.to_vec())).is_err() {
                    break;
                }
            }
        });
        Ok(Session { running, pieces, left: Vec::new(), latest: started, name, patience, started })
    }

    /// The number of its process. What starts a program so that it ends with this process becomes it.
    pub fn id(&self) -> u32 {
        self.running.child.id()
    }

    /// Waits for `text`. `None` if it has closed its output instead.
    ///
    /// # Errors
    /// If neither comes in time.
    pub fn hears(&mut self, text: &str) -> Result<Option<Heard>> {
        let deadline = Instant::now() + self.patience;
        let mut from = 0;
        loop {
            if let Some(at) = find(&self.left, text.as_bytes(), from) {
                let rest = self.left.split_off(at + text.len());
                let mut said = std::mem::replace(&mut self.left, rest);
                said.truncate(at);
                let text = String::from_utf8_lossy(&said).into_owned();
                return Ok(Some(Heard { at: self.latest, text }));
            }
            from = self.left.len().saturating_sub(text.len());
            match self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((at, piece)) => {
                    self.latest = at;
                    self.left.extend(piece);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = self.patience.as_secs();
                    bail!("{}: {text:?} did not come within {seconds} s; {}", self.name, self.tail());
                }
            }
        }
    }

    fn tail(&self) -> String {
        let from = self.left.len().saturating_sub(SHOWN);
        format!("the last it said: {:?}", String::from_utf8_lossy(self.left.get(from..).unwrap_or_default()))
    }

    /// Types `text`.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn types(&mut self, text: &str) -> Result<()> {
        let stdin = self.running.child.stdin.as_mut().context("no pipe")?;
        stdin.write_all(text.as_bytes()).with_context(|| format!("cannot type to {}", self.name))
    }

    /// Waits for its end, which must be with status 0, and gives the time since the start.
    ///
    /// # Errors
    /// If it ends otherwise, or not in time.
    pub fn ends(mut self) -> Result<Duration> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((_, piece)) => self.left.extend(piece),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not end within {} s; {}", self.name, self.patience.as_secs(), self.tail());
                }
            }
        }
        // The output is closed; what is left to do takes no time, or the process is stuck.
        let status = loop {
            if let Some(status) = self.running.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("{} closed its output but did not end; {}", self.name, self.tail());
            }
            std::thread::sleep(Duration::from_micros(50));
        };
        let age = self.started.elapsed();
        if !status.success() {
            bail!("{} ended with {status}; {}", self.name, self.tail());
        }
        Ok(age)
    }
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let bytes = bytes.get(from..)?;
    bytes.windows(wanted.len()).position(|window| window == wanted).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: u64) -> Session {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Session::start(&command, Duration::from_millis(patience)).unwrap()
    }

    #[test]
    fn its_number_is_that_of_the_program_itself() {
        let mut session = shell("echo $$; read x", 5000);
        let number = session.hears("\n").unwrap().unwrap().text;
        assert_eq!(number, session.id().to_string());
    }

    #[test]
    fn what_is_heard_has_its_moment_and_what_is_typed_arrives() {
        let mut session = shell("echo a; read x; sleep 0.05; printf 'got %s. ' $x", 5000);
        let first = session.hears("\n").unwrap().unwrap();
        assert_eq!(first.text, "a");
        session.types("b\n").unwrap();
        let second = session.hears(". ").unwrap().unwrap();
        assert_eq!(second.text, "got b");
        assert!(second.at - first.at >= Duration::from_millis(50));
        assert!(session.hears("more").unwrap().is_none());
        assert!(session.ends().unwrap() >= Duration::from_millis(50));
    }

    #[test]
    fn a_bad_end_and_silence_are_errors() {
        let why = |session: Session| session.ends().unwrap_err().to_string();
        assert!(why(shell("echo lost; exit 3", 5000)).contains("exit status: 3"));
        assert!(why(shell("exec sleep 30", 50)).contains("did not end"));
        assert!(why(shell("exec sleep 30 >/dev/null", 50)).contains("did not end"));
        let mut silent = shell("exec sleep 30", 50);
        assert!(silent.hears("x").err().unwrap().to_string().contains("did not come"));
    }
}
