//! The machine in which a guest image is finished: this program again, as a process of its own.
//!
//! A process, and not a machine beside whatever else is here: it ends with everything that it has opened, a fault of its
//! guest's ends nobody else, and its console is its standard output.

use host_image::{Job, Program, Runner, child};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};
use vm_board::size::Argument;

/// Harts that the work can use: most of it is one thing after another, the list of what kernel modules need goes beside
/// that.
const CPUS: usize = 2;

/// Who runs the machine of an image's second stage.
pub fn runner() -> impl Runner {
    Finisher(Program::new(command))
}

struct Finisher(Program<fn(&Job) -> Command>);

impl Runner for Finisher {
    fn run(&mut self, job: &Job, serial: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        self.0.run(job, serial)
    }

    /// As a qcow2 image, which has what is not zero.
    fn pack(&mut self, raw: &Path, packed: &Path) -> Result<bool, String> {
        let mut convert = this();
        convert.args(["image", "convert", "--from", "raw", "--format", "qcow2"]).arg(raw).arg(packed);
        let out = convert.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        if out.status.success() {
            return Ok(true);
        }
        let said = String::from_utf8_lossy(&out.stderr);
        Err(said.lines().last().unwrap_or("it ended without a word").to_owned())
    }
}

/// This program. Not `self`: it is another program, which watches over that, that starts it.
fn this() -> Command {
    child::command(format!("/proc/{}/exe", std::process::id()))
}

fn command(job: &Job) -> Command {
    let mut command = this();
    command.args(arguments(job, std::thread::available_parallelism().map_or(1, usize::from)));
    command
}

fn arguments(job: &Job, processors: usize) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["run", "--machine", "virt", "--console", "stdio", "--cpus"].map(OsString::from).into();
    arguments.push(processors.min(CPUS).to_string().into());
    arguments.extend(["--memory".into(), Argument(job.memory).to_string().into()]);
    arguments.extend(["--kernel".into(), job.kernel.clone().into()]);
    arguments.extend(["--initrd".into(), job.initrd.clone().into()]);
    arguments.extend(["--append".into(), format!("console=ttyS0 {}", job.append).into()]);
    for disk in &job.disks {
        let mut value = doubled(disk.path.as_os_str());
        value.push(if disk.read_only { ",format=raw,ro" } else { ",format=raw" });
        arguments.extend(["--disk".into(), value]);
    }
    arguments
}

/// A file's name for `--disk`, where a comma is written twice.
fn doubled(name: &OsStr) -> OsString {
    let bytes = name.as_bytes().iter();
    OsString::from_vec(
        bytes.flat_map(|&byte| std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 })).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_image::Drive;

    #[test]
    fn the_machine_is_what_the_job_says() {
        let job = Job {
            kernel: "/c/vmlinux".into(),
            initrd: "/c/i".into(),
            append: "loglevel=4".into(),
            disks: vec![
                Drive { path: "/c,d/root.raw".into(), read_only: false },
                Drive { path: "/c/system.tar".into(), read_only: true },
            ],
            memory: 2 << 30,
        };
        let line = arguments(&job, 8).join(&OsString::from(" "));
        assert_eq!(
            line.to_str(),
            Some(
                "run --machine virt --console stdio --cpus 2 --memory 2G --kernel /c/vmlinux --initrd /c/i --append \
                 console=ttyS0 loglevel=4 --disk /c,,d/root.raw,format=raw --disk /c/system.tar,format=raw,ro"
            )
        );
        assert!(arguments(&job, 1).contains(&OsString::from("1")));
    }
}
