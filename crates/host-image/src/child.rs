//! Runs a program of the host's: watched, killed with everything it started when it must end early.
use crate::error::Error;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The most output that is read of any program, in bytes.
const OUTPUT_LIMIT: u64 = 4 << 20;
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(50);
/// util-linux's way to have a process signalled when its parent ends; without it a killed Hostel would
/// leave apt running to its end.
const SETPRIV: &str = "/usr/bin/setpriv";

/// A running program; dropping it kills its process group and reaps it.
#[derive(Debug)]
pub struct Running {
    /// Its process, for its pipes and its number; it is waited for by this struct's functions.
    pub child: Child,
    ended: bool,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A command for `program` with a fixed locale and no standard input. It gets its own process group, so
/// that its own children can be killed with it, and is told to end when the thread that starts it ends.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let program = program.as_ref();
    let mut command = if Path::new(SETPRIV).exists() {
        let mut command = Command::new(SETPRIV);
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("LC_ALL", "C").env_remove("LANGUAGE").stdin(Stdio::null()).process_group(0);
    command
}

/// Whether `program` is somewhere in the PATH; asked first because a wrapper hides the error.
fn find(program: &'static str) -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return Ok(());
    }
    Err(Error::NoProgram { program, source: io::ErrorKind::NotFound.into() })
}

/// Starts `command`, which runs `program`.
pub(crate) fn start(program: &'static str, mut command: Command) -> Result<Running, Error> {
    find(program)?;
    Running::spawn(&mut command).map_err(|source| Error::NoProgram { program, source })
}

impl Running {
    /// Starts `command`, which leads a process group of its own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Running> {
        Ok(Running { child: command.spawn()?, ended: false })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the host does not say.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// Waits for the end, however long that takes.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.ended = true;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Not reaped yet, so the process group's number is still its own.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end. `watch` is called many times a second and returns any measure of progress;
/// `Ok(None)` means that it has not moved for `patience`, and that the program was killed for it.
pub(crate) fn run(
    program: &'static str,
    mut command: Command,
    patience: Duration,
    mut watch: impl FnMut() -> u64,
) -> Result<Option<Finished>, Error> {
    // Files and not pipes: a program that writes much cannot block on us, and nothing must be read meanwhile.
    let scratch = std::env::temp_dir();
    let mut stdout = tempfile::tempfile().map_err(Error::cache("make a temporary file in", &scratch))?;
    let mut stderr = tempfile::tempfile().map_err(Error::cache("make a temporary file in", &scratch))?;
    let clone = |file: &File| file.try_clone().map_err(Error::cache("use a temporary file in", &scratch));
    command.stdout(clone(&stdout)?).stderr(clone(&stderr)?);
    let mut running = start(program, command)?;
    let (mut last, mut moved) = (0, Instant::now());
    let status = loop {
        let ended = running.try_wait().map_err(|source| Error::NoProgram { program, source })?;
        if let Some(status) = ended {
            break status;
        }
        let now = watch();
        if now != last {
            (last, moved) = (now, Instant::now());
        } else if moved.elapsed() > patience {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    };
    Ok(Some(Finished { status, stdout: text(&mut stdout), stderr: text(&mut stderr) }))
}

/// Runs a short `command` that reads only this host's files.
pub(crate) fn ask(program: &'static str, command: Command) -> Result<Finished, Error> {
    let patience = Duration::from_secs(30);
    let finished = run(program, command, patience, || 0)?;
    finished.ok_or(Error::NoProgram { program, source: io::ErrorKind::TimedOut.into() })
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    if file.rewind().is_ok() {
        let _ = file.take(OUTPUT_LIMIT).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let mut command = command("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let finished = ask("sh", command).unwrap();
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(finished.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let mut command = command("sh");
        command.args(["-c", "sleep 1000 & echo $! >\"$0\"; wait"]).arg(&pid_file);
        let patience = Duration::from_millis(300);
        let waits_for_pid = || u64::from(std::fs::read_to_string(&pid_file).is_ok_and(|s| s.ends_with('\n')));
        assert!(run("sh", command, patience, waits_for_pid).unwrap().is_none());
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let stat = std::path::PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        // Gone, or a zombie that its new parent has not reaped yet.
        let gone = || std::fs::read_to_string(&stat).map_or(true, |s| s.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(5);
        while !gone() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(gone());
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = ask("no-such-program-here", command("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }
}
