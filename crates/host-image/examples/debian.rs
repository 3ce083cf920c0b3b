//! Makes the image `debian` with QEMU as its machine, for comparison: `debian [--cache DIR] [--refresh] [--keep DIR]`.
//! Prints what is done and when, in seconds, and then the image's files. `--keep` leaves there what the machine is given
//! (kernel, initramfs, archive; its other disk is a new file of 16 GiB), so that others can be given the same.
use host_image::{Job, Options, Program, Progress, Runner, Store, child};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Prints each step and the time since the beginning.
struct Steps(Instant);

impl Progress for Steps {
    fn step(&mut self, what: &str) {
        println!("{:7.2} {what}", self.0.elapsed().as_secs_f64());
    }
    fn bytes(&mut self, _done: u64, _total: Option<u64>) {}
}

/// QEMU's virt board with two harts.
fn qemu(job: &Job) -> Command {
    let mut command = child::command("qemu-system-riscv64");
    command.args(["-M", "virt", "-smp", "2", "-nographic", "-no-reboot", "-m"]);
    command.arg(format!("{}M", job.memory >> 20));
    command.arg("-kernel").arg(&job.kernel).arg("-initrd").arg(&job.initrd);
    command.args(["-append", &format!("console=ttyS0 {}", job.append)]);
    for (number, disk) in job.disks.iter().enumerate() {
        let read_only = if disk.read_only { "on" } else { "off" };
        let path = disk.path.display();
        command
            .args(["-drive", &format!("file={path},format=raw,if=none,id=d{number},readonly={read_only}")]);
        command.args(["-device", &format!("virtio-blk-device,drive=d{number}")]);
    }
    println!("{command:?}");
    command
}

/// QEMU, and its tool for the disk.
struct Qemu {
    program: Program<fn(&Job) -> Command>,
    keep: Option<PathBuf>,
}

impl Runner for Qemu {
    fn run(&mut self, job: &Job, serial: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        if let Some(keep) = &self.keep {
            let archive = job.disks.iter().find(|disk| disk.read_only).map(|disk| &disk.path);
            for from in [Some(&job.kernel), Some(&job.initrd), archive].into_iter().flatten() {
                let to = keep.join(from.file_name().unwrap_or_default());
                std::fs::copy(from, to).map_err(|error| error.to_string())?;
            }
        }
        self.program.run(job, serial)
    }
    fn pack(&mut self, raw: &Path, packed: &Path) -> Result<bool, String> {
        let mut convert = child::command("qemu-img");
        convert.args(["convert", "-q", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(packed);
        let status = convert.status().map_err(|error| error.to_string())?;
        if status.success() { Ok(true) } else { Err(status.to_string()) }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut cache, mut keep, mut options) = (None, None, Options::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--cache" => cache = arguments.next().map(Into::into),
            "--keep" => keep = arguments.next().map(Into::into),
            "--refresh" => options.refresh = true,
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    let begin = Instant::now();
    let mut machine = Qemu { program: Program::new(qemu), keep };
    let image = Store::open(cache)?.get_with("debian", &options, &mut machine, &mut Steps(begin))?;
    println!("{:7.2} done", begin.elapsed().as_secs_f64());
    for file in &image.manifest.files {
        println!("{}", image.file(&file.name).unwrap_or_default().display());
    }
    Ok(())
}
