//! `cargo xtask bench`: how long the default guest takes to boot and how fast loops run, next to QEMU.
//!
//! Runs of the two alternate, so that what else the host does hits both; medians are compared. CPU
//! time stands next to wall time, as a busy host stretches the latter.

use crate::bench_code::{LOOPS, Loop, ROUNDS, image};
use crate::boot_images::{Images, Where};
use crate::guest::Guest;
use crate::process;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Measures boots and loops, next to QEMU if asked
#[derive(clap::Parser)]
#[command(after_help = "Examples:\n  \
    cargo xtask bench                          Hostel alone\n  \
    cargo xtask bench --against qemu --runs 5  next to qemu-system-riscv64, medians of five runs")]
struct Options {
    /// Measure this too
    #[arg(long, value_name = "PEER", value_parser = ["qemu"])]
    against: Option<String>,
    /// Runs of each, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    images: Where,
}

const QEMU: &str = "qemu-system-riscv64";
const PATIENCE: Duration = Duration::from_secs(180);
/// Rounds of a loop that is timed: a second or two on Hostel's interpreter.
const MANY: u64 = 40_000_000 / ROUNDS * ROUNDS;

/// What runs the guests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Hostel,
    Qemu,
}

/// One measurement, in seconds.
#[derive(Clone, Copy, Default)]
struct Time {
    wall: f64,
    user: f64,
}

/// The tool, ready to measure.
struct Bench {
    hostel: std::path::PathBuf,
    images: Images,
    folder: tempfile::TempDir,
    who: Vec<Who>,
    runs: u32,
}

/// The verb.
///
/// # Errors
/// If a guest does not run, or the peer is not there.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let options: Options = crate::parse("bench", arguments);
    let mut who = vec![Who::Hostel];
    if options.against.is_some() {
        if !process::present(QEMU) {
            bail!("there is no {QEMU} here: apt install qemu-system-riscv, or leave --against away");
        }
        who.push(Who::Qemu);
    }
    let hostel = crate::boot::hostel()?;
    let images = Images::get(&hostel, &options.images)?;
    let bench = Bench { hostel, images, folder: tempfile::tempdir()?, who, runs: options.runs };
    println!("medians of {}; wall (and user CPU) seconds\n", count(options.runs, "run"));
    bench.boots()?;
    bench.loops()?;
    Ok(ExitCode::SUCCESS)
}

fn count(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(low), Some(high)) if values.len().is_multiple_of(2) => (low + high) / 2.0,
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

fn medians(times: &[Time]) -> Time {
    Time {
        wall: median(times.iter().map(|t| t.wall).collect()),
        user: median(times.iter().map(|t| t.user).collect()),
    }
}

/// A line of the table of times.
fn time_line(what: &str, times: &[Time]) {
    let mut line = format!("{what:<26}");
    for time in times {
        line += &format!("{:8.2} ({:6.2})", time.wall, time.user);
    }
    if let [ours, theirs] = times {
        line += &format!("   {:5.2} ({:5.2})", ours.wall / theirs.wall, ours.user / theirs.user);
    }
    println!("{line}");
}

impl Bench {
    fn head(&self, what: &str) {
        let peer = if self.who.len() > 1 {
            format!("{:>17}   {:>13}", "qemu", "hostel / qemu")
        } else {
            String::new()
        };
        println!("{what:<26}{:>17}{peer}", "hostel");
    }

    /// Time to the shell and to the end, of the default guest with one hart.
    fn boots(&self) -> Result<()> {
        let files = ["vmlinux", "initramfs.cpio", "fw_dynamic.bin"].map(|name| self.images.file(name));
        let [Some(kernel), Some(initrd), Some(firmware)] = files else {
            println!("boot: skipped, as its files are not there: {}\n", self.images.missing.join("; "));
            return Ok(());
        };
        // OpenSBI under both is the same work; then ours with what it does by default.
        self.head("boot, one hart");
        let opensbi = |who| match who {
            Who::Hostel => self.hostel_boot(Some(firmware), kernel, initrd),
            Who::Qemu => qemu_boot(firmware, kernel, initrd),
        };
        self.boot_lines("OpenSBI", opensbi)?;
        let default = |who| match who {
            Who::Hostel => self.hostel_boot(None, kernel, initrd),
            Who::Qemu => qemu_boot(firmware, kernel, initrd),
        };
        self.boot_lines("built-in SBI", default)?;
        println!();
        Ok(())
    }

    fn boot_lines(&self, name: &str, command: impl Fn(Who) -> Command) -> Result<()> {
        let mut shell = vec![Vec::new(); self.who.len()];
        let mut whole = vec![Vec::new(); self.who.len()];
        for _ in 0..self.runs {
            for (index, &who) in self.who.iter().enumerate() {
                let mut guest = Guest::start(command(who), "~ # ", PATIENCE)?;
                guest.prompts()?;
                let at_shell =
                    Time { wall: guest.age().as_secs_f64(), user: guest.user_time()?.as_secs_f64() };
                guest.typed("poweroff -f\n")?;
                let ended = guest.ends()?;
                let at_end = Time { wall: guest.age().as_secs_f64(), user: ended.user.as_secs_f64() };
                for (list, time) in [(&mut shell, at_shell), (&mut whole, at_end)] {
                    list.get_mut(index).context("a list for each")?.push(time);
                }
            }
        }
        let all = |lists: &[Vec<Time>]| lists.iter().map(|times| medians(times)).collect::<Vec<_>>();
        time_line(&format!("{name}, to the shell"), &all(&shell));
        time_line(&format!("{name}, to power-off"), &all(&whole));
        Ok(())
    }

    fn hostel_boot(&self, firmware: Option<&Path>, kernel: &Path, initrd: &Path) -> Command {
        let mut command = Command::new(&self.hostel);
        command.args(["run", "--memory", "1G", "--append", "console=ttyS0", "--kernel"]).arg(kernel);
        command.arg("--initrd").arg(initrd);
        if let Some(firmware) = firmware {
            command.arg("--bios").arg(firmware);
        }
        command
    }

    /// Speed of each loop.
    fn loops(&self) -> Result<()> {
        self.head("loops, Sv39, 4 KiB pages");
        println!("{:<26}{:>17}", "", "million insns/s");
        for which in LOOPS {
            let speeds = self.speed(which)?;
            time_line_of_speed(which.name, &speeds);
        }
        Ok(())
    }

    /// Million instructions a second of wall and of user time, of each. What it takes to start and end
    /// is measured with a short run and subtracted.
    fn speed(&self, which: &Loop) -> Result<Vec<Time>> {
        let write = |name: &str, rounds| -> Result<std::path::PathBuf> {
            let path = self.folder.path().join(name);
            std::fs::write(&path, image(which, rounds))?;
            Ok(path)
        };
        let (short, long) = (write("short.bin", ROUNDS)?, write("long.bin", MANY)?);
        let mut speeds = vec![Vec::new(); self.who.len()];
        for _ in 0..self.runs {
            for (index, &who) in self.who.iter().enumerate() {
                let (less, more) = (self.timed(who, &short)?, self.timed(who, &long)?);
                let millions = ((MANY - ROUNDS) * which.per_round) as f64 / 1e6;
                let wall = millions / (more.wall - less.wall);
                let user = millions / (more.user - less.user);
                speeds.get_mut(index).context("a list for each")?.push(Time { wall, user });
            }
        }
        Ok(speeds.iter().map(|list| medians(list)).collect())
    }

    fn timed(&self, who: Who, image: &Path) -> Result<Time> {
        let command = match who {
            Who::Hostel => {
                let mut command = Command::new(&self.hostel);
                command.args(["run", "--memory", "128M", "--bios"]).arg(image);
                command
            }
            Who::Qemu => {
                let mut command = qemu("128M");
                command.arg("-bios").arg(image);
                command
            }
        };
        let mut guest = Guest::start(command, "no prompt", PATIENCE)?;
        let ended = guest.ends()?;
        Ok(Time { wall: guest.age().as_secs_f64(), user: ended.user.as_secs_f64() })
    }
}

/// A line of the table of speeds.
fn time_line_of_speed(what: &str, speeds: &[Time]) {
    let mut line = format!("{what:<26}");
    for speed in speeds {
        line += &format!("{:8.0} ({:6.0})", speed.wall, speed.user);
    }
    if let [ours, theirs] = speeds {
        line += &format!("   {:5.2} ({:5.2})", ours.wall / theirs.wall, ours.user / theirs.user);
    }
    println!("{line}");
}

/// QEMU's machine with one hart.
fn qemu(memory: &str) -> Command {
    let mut command = Command::new(QEMU);
    command.args(["-M", "virt", "-smp", "1", "-nographic", "-net", "none", "-m", memory]);
    command
}

fn qemu_boot(firmware: &Path, kernel: &Path, initrd: &Path) -> Command {
    let mut command = qemu("1G");
    command.arg("-bios").arg(firmware).arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    command.args(["-append", "console=ttyS0"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_there() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
