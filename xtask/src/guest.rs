//! A guest under test: a program on a pseudo-terminal that is typed to and read.
//!
//! Everything waits for a text with a time limit; what came instead is in the error.

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Bytes of what the guest said last that an error shows.
const SHOWN: usize = 1500;
/// Bytes written to the terminal at a time: less than its buffer holds.
const CHUNK: usize = 1024;

/// A running guest.
pub struct Guest {
    child: Child,
    terminal: OwnedFd,
    /// Everything that it has said, but for carriage returns.
    said: String,
    /// How far `said` has been looked at.
    seen: usize,
    closed: bool,
    /// Whether what it says is printed.
    pub show: bool,
    prompt: &'static str,
    patience: Duration,
}

impl Guest {
    /// Starts `command` on a terminal of its own. Nothing is waited for longer than `patience`.
    ///
    /// # Errors
    /// If there is no terminal to be had, or the program cannot be started.
    pub fn start(mut command: Command, prompt: &'static str, patience: Duration) -> Result<Guest> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo-terminal")?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let name = ptsname(&terminal, Vec::new())?;
        let other = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        command.stdin(other.try_clone()?).stdout(other.try_clone()?).stderr(other);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        // `command` holds the other end open; the guest alone shall.
        drop(command);
        let said = String::new();
        Ok(Guest { child, terminal, said, seen: 0, closed: false, show: false, prompt, patience })
    }

    /// Makes the terminal so large, as its user would.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn resizes(&self, columns: u16, rows: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.terminal, size)?;
        // The kernel tells those whose controlling terminal it is, which this one is nobody's.
        Ok(kill_process(Pid::from_child(&self.child), Signal::WINCH)?)
    }

    /// Reads what there is, waiting at most `wait` for it to come. False once there will be no more.
    fn read(&mut self, wait: Duration) -> Result<bool> {
        if self.closed {
            return Ok(false);
        }
        let limit = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        let mut ready = [PollFd::new(&self.terminal, PollFlags::IN)];
        if poll(&mut ready, Some(&limit)).context("poll")? == 0 {
            return Ok(true);
        }
        let mut bytes = [0; 65536];
        // A terminal whose other end is closed gives EIO.
        let len = rustix::io::read(&self.terminal, &mut bytes).unwrap_or(0);
        self.closed = len == 0;
        let text = String::from_utf8_lossy(bytes.get(..len).unwrap_or_default());
        if self.show {
            print!("{text}");
        }
        self.said.extend(text.chars().filter(|&c| c != '\r'));
        Ok(!self.closed)
    }

    /// Waits for `text`; gives what came before it.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn waits_for(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let new = self.said.get(self.seen..).unwrap_or_default();
            if let Some(at) = new.find(text) {
                let before = new.get(..at).unwrap_or_default().to_owned();
                self.seen += at + text.len();
                return Ok(before);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{text:?} did not come within {} s; {}", self.patience.as_secs(), self.tail());
            }
            if !self.read(left.min(Duration::from_millis(200)))? && !self.said_since().contains(text) {
                bail!("it ended before {text:?} came; {}", self.tail());
            }
        }
    }

    fn said_since(&self) -> &str {
        self.said.get(self.seen..).unwrap_or_default()
    }

    fn tail(&self) -> String {
        let mut at = self.said.len().saturating_sub(SHOWN);
        while !self.said.is_char_boundary(at) {
            at += 1;
        }
        format!("the last it said:\n{}", self.said.get(at..).unwrap_or_default())
    }

    /// Waits for the prompt; gives what came before it.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn prompts(&mut self) -> Result<String> {
        self.waits_for(self.prompt)
    }

    /// Types `text`, reading meanwhile what the guest says.
    ///
    /// # Errors
    /// If the guest takes nothing for too long.
    pub fn typed(&mut self, text: &str) -> Result<()> {
        let mut left = text.as_bytes();
        let mut deadline = Instant::now() + self.patience;
        while !left.is_empty() {
            let mut ready = [PollFd::new(&self.terminal, PollFlags::OUT)];
            let moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            poll(&mut ready, Some(&moment)).context("poll")?;
            if ready.iter().any(|fd| fd.revents().contains(PollFlags::OUT)) {
                let chunk = left.get(..left.len().min(CHUNK)).unwrap_or_default();
                let taken = rustix::io::write(&self.terminal, chunk).context("typing")?;
                left = left.get(taken..).unwrap_or_default();
                deadline = Instant::now() + self.patience;
            }
            self.read(Duration::ZERO)?;
            if Instant::now() > deadline {
                bail!("{} bytes could not be typed; {}", left.len(), self.tail());
            }
        }
        Ok(())
    }

    /// Types a command and waits for the next prompt; gives what the command said.
    ///
    /// # Errors
    /// If the prompt does not come in time.
    pub fn says(&mut self, command: &str) -> Result<String> {
        self.typed(command)?;
        self.typed("\n")?;
        let answer = self.prompts().with_context(|| format!("after `{command}`"))?;
        // The first line is what was typed.
        Ok(answer.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default())
    }

    /// Types a command, whose answer must contain every one of `texts`.
    ///
    /// # Errors
    /// If it does not, or no prompt comes in time.
    pub fn answers(&mut self, command: &str, texts: &[&str]) -> Result<()> {
        let answer = self.says(command)?;
        match texts.iter().find(|text| !answer.contains(**text)) {
            None => Ok(()),
            Some(text) => Err(anyhow!("`{command}` did not say {text:?} but:\n{answer}")),
        }
    }

    /// The process that runs it.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Types a command that ends the guest, whose program must then end with status 0.
    ///
    /// # Errors
    /// If it does not, or not in time.
    pub fn ends_after(mut self, command: &str) -> Result<()> {
        self.typed(command)?;
        self.typed("\n")?;
        self.ends()
    }

    /// Waits for the end of the guest's program, which must be with status 0.
    ///
    /// # Errors
    /// If it is not, or does not come in time.
    pub fn ends(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        while self.read(Duration::from_millis(10))? {
            if Instant::now() > deadline {
                bail!("it did not end within {} s; {}", self.patience.as_secs(), self.tail());
            }
        }
        let status = self.reap(deadline)?;
        if !status.success() {
            bail!("it ended with {status}; {}", self.tail());
        }
        Ok(())
    }

    /// Waits for the process.
    fn reap(&mut self, deadline: Instant) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("it closed its terminal but did not end; {}", self.tail());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn shell(script: &str) -> Guest {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Guest::start(command, "$ ", Duration::from_secs(5)).unwrap()
    }

    #[test]
    fn what_is_typed_arrives_and_the_answer_is_told_from_the_echo() {
        let mut guest = shell("printf '$ '; read x; echo got $x; printf '$ '; read y; exit 0");
        assert_eq!(guest.prompts().unwrap(), "");
        guest.answers("hello", &["got hello"]).unwrap();
        guest.ends_after("").unwrap();
    }

    #[test]
    fn a_wrong_answer_a_wrong_status_and_silence_are_errors() {
        let mut guest = shell("printf '$ '; read x; echo no; printf '$ '; read y; exit 3");
        guest.prompts().unwrap();
        assert!(guest.answers("hello", &["hello"]).is_err());
        assert!(guest.ends_after("").unwrap_err().to_string().contains("exit status: 3"));
        let mut guest = shell("exec sleep 30");
        guest.patience = Duration::from_millis(50);
        assert!(guest.prompts().unwrap_err().to_string().contains("did not come"));
        let mut guest = shell("kill -9 $$");
        assert!(guest.prompts().unwrap_err().to_string().contains("ended before"));
        assert_eq!(guest.reap(Instant::now() + guest.patience).unwrap().signal(), Some(9));
    }
}
