//! The machine in which the second stage of an image happens: what it is given, who runs it, what it says.
use crate::child::Running;
use crate::mirror::printable;
use crate::progress::Progress;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long such a machine may say nothing. The longest step, the list of what kernel modules need, takes a minute or
/// two on a slow machine.
const PATIENCE: Duration = Duration::from_secs(900);
/// What the machine's own words begin with.
const MARK: &str = "hostel-build: ";
/// How many lines of the log a failure is told with, and how long they may be, in bytes.
const LAST: usize = 12;
const LINE: usize = 400;
/// How much of what the machine says goes to the log, in bytes: what packages' scripts write, nothing else bounds.
const LOG: usize = 16 << 20;
/// How much is kept of what a program says when it fails, in bytes.
const MESSAGE: u64 = 4096;

/// A disk of the machine: a raw file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// The file.
    pub path: PathBuf,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// A machine to run: a virt board with virtio disks and one serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The kernel, to be booted directly.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
    /// The kernel's command line but for the console, which is the machine's business.
    pub append: String,
    /// Its disks.
    pub disks: Vec<Drive>,
    /// Its memory, in bytes.
    pub memory: u64,
}

/// Who runs machines.
pub trait Runner {
    /// Runs the machine until its guest powers it off, and hands on what it writes to its serial line.
    ///
    /// # Errors
    /// Why the machine could not be had, or ended otherwise: half a sentence, in one line.
    fn run(&mut self, job: &Job, serial: &mut dyn FnMut(&[u8])) -> Result<(), String>;

    /// Writes what is on the disk `raw`, which is new and mostly empty, to the new file `packed`, in whatever form the
    /// runner's machines take best, and says that it did; otherwise the image has the disk as it is.
    ///
    /// # Errors
    /// Why that could not be done: half a sentence, in one line.
    fn pack(&mut self, raw: &Path, packed: &Path) -> Result<bool, String> {
        let _ = (raw, packed);
        Ok(false)
    }
}

/// Nobody: for images that are made without a machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRunner;

impl Runner for NoRunner {
    fn run(&mut self, _job: &Job, _serial: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        Err("there is nothing here to run it with".to_owned())
    }
}

/// A program that runs the machine of a job, with the serial line on its standard output, and exits with status 0 when
/// the guest powers off.
#[derive(Debug)]
pub struct Program<F: FnMut(&Job) -> Command> {
    command: F,
    patience: Duration,
}

impl<F: FnMut(&Job) -> Command> Program<F> {
    /// A program that `command` gives the command of, best made by [`crate::child::command`].
    pub fn new(command: F) -> Program<F> {
        Program { command, patience: PATIENCE }
    }
}

impl<F: FnMut(&Job) -> Command> Runner for Program<F> {
    fn run(&mut self, job: &Job, serial: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let mut command = (self.command)(job);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running =
            Running::spawn(&mut command).map_err(|error| format!("it cannot be started: {error}"))?;
        let (Some(mut stdout), Some(stderr)) = (running.child.stdout.take(), running.child.stderr.take())
        else {
            return Err("it cannot be listened to".to_owned());
        };
        let (sender, receiver) = channel();
        // Both end when the program and what it started have ended, which dropping `running` sees to.
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 14];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let message = std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut kept = stderr.take(MESSAGE);
            let _ = kept.read_to_end(&mut text);
            let _ = std::io::copy(&mut kept.into_inner(), &mut std::io::sink());
            String::from_utf8_lossy(&text).into_owned()
        });
        loop {
            match receiver.recv_timeout(self.patience) {
                Ok(bytes) => serial(&bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it has said nothing for {} s", self.patience.as_secs()));
                }
            }
        }
        let status = running.wait().map_err(|error| format!("its end is unknown: {error}"))?;
        if status.success() {
            return Ok(());
        }
        let message = message.join().unwrap_or_default();
        let last = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(printable(&format!("{status} {last}")))
    }
}

/// Whether a machine did its work; if not, the reason and the last lines that it wrote.
pub(crate) type Outcome = Result<(), (String, Vec<String>)>;

/// What a machine says, read line by line: shown as progress, written to a log, and its end kept.
pub(crate) struct Listener<'a, W: Write> {
    log: W,
    /// How many bytes the log still takes.
    room: usize,
    /// Whether it has been said that there is more.
    full: bool,
    progress: &'a mut dyn Progress,
    /// How many packages are configured.
    packages: usize,
    line: Vec<u8>,
    done: usize,
    step: String,
    failed: Option<String>,
    finished: bool,
    last: VecDeque<String>,
}

impl<'a, W: Write> Listener<'a, W> {
    /// Listens to a machine that configures so many packages. `log` gets what it says, up to [`LOG`] bytes.
    pub fn new(log: W, packages: usize, progress: &'a mut dyn Progress) -> Listener<'a, W> {
        Listener {
            log,
            room: LOG,
            full: false,
            progress,
            packages,
            line: Vec::new(),
            done: 0,
            step: "starting the machine".to_owned(),
            failed: None,
            finished: false,
            last: VecDeque::new(),
        }
    }

    /// Hears some bytes.
    pub fn hear(&mut self, bytes: &[u8]) {
        // A log that cannot be written is not worth failing for.
        let kept = bytes.get(..self.room).unwrap_or(bytes);
        let _ = self.log.write_all(kept);
        self.room -= kept.len();
        if kept.len() < bytes.len() && !std::mem::replace(&mut self.full, true) {
            let _ = self.log.write_all(b"\nThe log ends here: it is full.\n");
        }
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.read(&String::from_utf8_lossy(&line));
            } else if self.line.len() < LINE {
                self.line.push(*byte);
            }
        }
    }

    fn read(&mut self, line: &str) {
        let line = printable(line);
        if let Some(word) = line.find(MARK).and_then(|at| line.get(at + MARK.len()..)) {
            match word.split_once(' ') {
                Some(("step", what)) => {
                    self.step = what.to_owned();
                    self.progress.step(what);
                }
                Some(("failed", why)) => self.failed = Some(why.to_owned()),
                _ => self.finished |= word == "done",
            }
            return;
        }
        if let Some(package) = line.strip_prefix("Setting up ") {
            self.done += 1;
            let name = package.split(' ').next().unwrap_or_default();
            self.progress.step(&format!("configuring {name} ({} of {})", self.done, self.packages));
        }
        if !line.is_empty() {
            self.last.push_back(line);
            if self.last.len() > LAST {
                self.last.pop_front();
            }
        }
    }

    /// What became of it: `Err` has the reason and the last lines. `ran` is what its runner says.
    pub fn outcome(mut self, ran: Result<(), String>) -> Outcome {
        let _ = self.log.flush();
        let reason = match (self.failed, ran) {
            (Some(why), _) => why,
            (None, Err(why)) => format!("{}: {why}", self.step),
            (None, Ok(())) if self.finished => return Ok(()),
            (None, Ok(())) => format!("{}: the machine ended before it was done", self.step),
        };
        Err((reason, self.last.into()))
    }
}

/// The machine of a second stage: memory for what the packages' own programs need, and for the disk's blocks.
pub(crate) fn job(kernel: &Path, initrd: &Path, disks: Vec<Drive>) -> Job {
    // Lines of the kernel about things that are as they should be are no part of the log.
    let append = "loglevel=4 cryptomgr.notests".to_owned();
    Job { kernel: kernel.to_owned(), initrd: initrd.to_owned(), append, disks, memory: 2 << 30 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::command;
    use crate::progress::Silent;

    #[derive(Default)]
    struct Steps(Vec<String>);

    impl Progress for Steps {
        fn step(&mut self, what: &str) {
            self.0.push(what.to_owned());
        }
        fn bytes(&mut self, _done: u64, _total: Option<u64>) {}
    }

    fn told(text: &str) -> (Outcome, Vec<String>, Vec<u8>) {
        let (mut steps, mut log) = (Steps::default(), Vec::new());
        let mut listener = Listener::new(&mut log, 2, &mut steps);
        // In pieces, as a serial line gives them.
        text.as_bytes().chunks(3).for_each(|bytes| listener.hear(bytes));
        let outcome = listener.outcome(Ok(()));
        (outcome, steps.0, log)
    }

    #[test]
    fn what_the_machine_says_is_shown_and_logged() {
        let text =
            "boot\r\nhostel-build: step unpacking\r\nSetting up a:riscv64 (1) ...\r\nhostel-build: done\r\n";
        let (outcome, steps, log) = told(text);
        assert_eq!(outcome, Ok(()));
        assert_eq!(steps, ["unpacking", "configuring a:riscv64 (1 of 2)"]);
        assert_eq!(log, text.as_bytes());
    }

    #[test]
    fn a_failure_comes_with_the_last_lines() {
        let noise: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let (outcome, _, _) =
            told(&format!("{noise}\u{1b}[31mred\nhostel-build: failed unpacking: tar ended\n"));
        let (reason, last) = outcome.unwrap_err();
        assert_eq!(reason, "unpacking: tar ended");
        assert_eq!(last.len(), LAST);
        assert_eq!(last.last().map(String::as_str), Some("[31mred"), "no escape reaches a terminal");
    }

    #[test]
    fn a_machine_that_just_ends_has_failed() {
        let (outcome, _, _) = told("hostel-build: step unpacking\nKernel panic\n");
        assert_eq!(
            outcome,
            Err(("unpacking: the machine ended before it was done".into(), vec!["Kernel panic".into()]))
        );
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut silent = Silent;
        let mut listener = Listener::new(Vec::new(), 0, &mut silent);
        for _ in 0..1000 {
            listener.hear(&[b'x'; 1000]);
        }
        assert_eq!(listener.line.len(), LINE);
    }

    #[test]
    fn a_log_does_not_grow_for_ever() {
        let (mut silent, mut log) = (Silent, Vec::new());
        let mut listener = Listener::new(&mut log, 0, &mut silent);
        for _ in 0..18 {
            listener.hear(&[b'x'; 1_000_000]);
        }
        listener.hear(b"\nhostel-build: done\n");
        assert_eq!(listener.outcome(Ok(())), Ok(()), "it is still heard");
        let end = b"x\nThe log ends here: it is full.\n";
        assert!(log.ends_with(end) && log.len() == LOG + end.len() - 1);
    }

    fn run(script: &str, patience: Duration) -> (Result<(), String>, String) {
        let mut program = Program::new(|_: &Job| {
            let mut command = command("sh");
            command.args(["-c", script]);
            command
        });
        program.patience = patience;
        let mut heard = Vec::new();
        let job = job(Path::new("k"), Path::new("i"), Vec::new());
        let ran = program.run(&job, &mut |bytes| heard.extend_from_slice(bytes));
        (ran, String::from_utf8(heard).unwrap())
    }

    #[test]
    fn a_program_is_heard_and_its_status_counts() {
        let long = Duration::from_secs(60);
        assert_eq!(run("echo hello", long), (Ok(()), "hello\n".into()));
        let (ran, heard) = run("echo hello; echo no disk >&2; exit 3", long);
        assert_eq!(heard, "hello\n");
        assert!(ran.as_ref().unwrap_err().contains('3') && ran.unwrap_err().ends_with("no disk"));
    }

    #[test]
    fn a_program_that_says_nothing_is_ended() {
        let (ran, _) = run("echo hello; sleep 1000", Duration::from_millis(200));
        assert!(ran.unwrap_err().contains("said nothing"));
    }
}
