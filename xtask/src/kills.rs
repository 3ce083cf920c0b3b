//! `cargo xtask kills`: the machine is killed (SIGKILL) while its guest writes; its disk must be sound, and have all that
//! the guest was told is flushed.

use crate::boot::{NoTool, hostel};
use crate::kills_guest::{Guest, Kind, lacking};
use crate::kills_plan::{BLOCK, BLOCKS, Model, chance};
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Kills the machine while its guest writes, and checks its disk
#[derive(clap::Parser)]
#[command(after_help = "Examples:\n  \
    cargo xtask kills --count 500 --seed 7\n  \
    cargo xtask kills --guest linux --count 100\n  \
    cargo xtask kills --seed 7 --first 35 --count 5   those of a report, on the image that they are about\n\n\
    When a kill comes is random, so one that failed may take several tries; the disk that it left is kept, and the\n\
    report says where. Images of qcow2 are looked at by `qemu-img check` too, where there is one.")]
pub struct Options {
    /// How many kills
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// Where the random numbers start
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The first kill; the image that it is about is made anew
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    first: u64,
    /// Which guest writes
    #[arg(long, value_enum, default_value_t = Kind::Metal)]
    guest: Kind,
    /// A few kills of the first guest, which take seconds
    #[arg(long, conflicts_with_all = ["count", "first", "guest"])]
    sample: bool,
}

/// Kills of one image, one after the other.
const LIVES: u64 = 5;
/// Kills of a sample: of one image of each form.
const SAMPLE: u64 = LIVES * FORMS.len() as u64;
/// Most milliseconds from a guest's first word to its end.
const LATEST: u64 = 600;
/// What the words of a base hold, with their block's number.
const MARK: u64 = 1 << 63;

/// A form of a disk.
struct Form {
    name: &'static str,
    /// What `hostel image create` is told; nothing for a raw file.
    create: &'static [&'static str],
    /// What is said behind the file's name.
    options: &'static str,
    /// Whether it is built on a base.
    based: bool,
}

const QCOW2: &str = ",format=qcow2";
const FORMS: &[Form] = &[
    Form { name: "qcow2", create: &["SIZE"], options: QCOW2, based: false },
    Form {
        name: "qcow2 on a base",
        create: &["--base", "base.raw", "--base-format", "raw"],
        options: QCOW2,
        based: true,
    },
    Form {
        name: "qcow2, 4 KiB clusters, no cache",
        create: &["SIZE", "--cluster", "4K"],
        options: ",format=qcow2,cache=none",
        based: false,
    },
    Form { name: "raw", create: &[], options: ",format=raw", based: false },
];

/// What was seen.
#[derive(Default)]
struct Seen {
    kills: u64,
    batches: u64,
    events: u64,
    /// Kills that left a qcow2 image unclosed, and such as had lost space.
    unclosed: u64,
    lossy: u64,
    failures: u64,
}

/// The verb.
///
/// # Errors
/// If the binary or the guest does not build.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let options: Options = crate::parse("kills", arguments);
    if let Some(what) = lacking() {
        println!("skipped: {what}");
        return Ok(ExitCode::SUCCESS);
    }
    let hostel = hostel()?;
    // Not in /tmp, which may be memory and then has no way past the cache.
    let folder = tempfile::Builder::new().prefix("kills-").tempdir_in(process::target_folder())?;
    let guest = match Guest::build(options.guest, &hostel, folder.path()) {
        Err(error) if error.is::<NoTool>() => {
            println!("skipped: {error} here: `hostel image get debian` makes it");
            return Ok(ExitCode::SUCCESS);
        }
        guest => guest?,
    };
    let count = if options.sample { SAMPLE } else { options.count };
    let images = Images { hostel, folder: folder.path().to_owned(), seed: options.seed };
    let (mut seen, start) = (Seen::default(), Instant::now());
    // From the beginning of the image that the first one is about.
    let mut number = options.first - options.first % LIVES;
    while number < options.first + count {
        let last = (number + LIVES).min(options.first + count);
        if let Err((number, error)) = images.one(&guest, number..last, &mut seen) {
            seen.failures += 1;
            let kept = process::target_folder().join(format!("kills-failed-{}-{number}", options.seed));
            let _ = std::fs::remove_dir_all(&kept);
            std::fs::rename(images.place(), &kept)?;
            println!(
                "FAILED, seed {} number {number}: {error:#}\nits files are in {}",
                options.seed,
                kept.display()
            );
        }
        number = last;
        if !options.sample {
            eprintln!(
                "{} kills, {} failures, {:.0} s",
                seen.kills,
                seen.failures,
                start.elapsed().as_secs_f64()
            );
        }
    }
    let fine = seen.failures == 0 && seen.proves_something();
    println!(
        "{} kills, {} batches flushed with {} events, {} images unclosed, {} of them with lost space, {} failures, seed {}: {:.0} s",
        seen.kills,
        seen.batches,
        seen.events,
        seen.unclosed,
        seen.lossy,
        seen.failures,
        options.seed,
        start.elapsed().as_secs_f64()
    );
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Seen {
    /// A run in which nothing was flushed, or in which no kill met a disk at work, says nothing.
    fn proves_something(&self) -> bool {
        let enough = self.batches > 0 && self.events > 0 && (self.unclosed > 0 || self.kills < LIVES);
        if !enough {
            println!("that proves nothing: too little was written");
        }
        enough
    }
}

/// Where images are made and checked.
struct Images {
    hostel: PathBuf,
    folder: PathBuf,
    seed: u64,
}

impl Images {
    /// The folder of the image that is at work.
    fn place(&self) -> PathBuf {
        self.folder.join("image")
    }

    /// The kills of one image; the number of the one that failed, and why.
    fn one(
        &self,
        guest: &Guest,
        numbers: std::ops::Range<u64>,
        seen: &mut Seen,
    ) -> Result<(), (u64, anyhow::Error)> {
        let first = numbers.start;
        let (form, mut model) = self.create(first / LIVES).map_err(|error| (first, error))?;
        for number in numbers.clone() {
            let last = number + 1 == numbers.end;
            self.kill(guest, form, &mut model, number, last, seen)
                .with_context(|| format!("{}, kill {} of it", form.name, number - first + 1))
                .map_err(|error| (number, error))?;
        }
        seen.events += model.events;
        Ok(())
    }

    /// Makes the image with this number.
    fn create(&self, number: u64) -> Result<(&'static Form, Model)> {
        let place = self.place();
        if place.exists() {
            std::fs::remove_dir_all(&place)?;
        }
        std::fs::create_dir(&place)?;
        let form = &FORMS[(number % FORMS.len() as u64) as usize];
        let model = Model::new(chance(self.seed, number) >> 32, form.based.then_some(MARK));
        if form.based {
            let blocks =
                (0..BLOCKS).flat_map(|block| model.at_first(block).to_le_bytes().repeat(BLOCK as usize / 8));
            std::fs::write(place.join("base.raw"), blocks.collect::<Vec<u8>>())?;
        }
        if form.create.is_empty() {
            std::fs::File::create(place.join("disk"))?.set_len(BLOCKS * BLOCK)?;
            return Ok((form, model));
        }
        let size = (BLOCKS * BLOCK).to_string();
        let create = form.create.iter().map(|word| if *word == "SIZE" { &size } else { *word });
        let arguments: Vec<&str> = ["image", "create", "disk"].into_iter().chain(create).collect();
        self.hostel(&arguments, &[0])?;
        Ok((form, model))
    }

    /// `hostel` in the image's folder, which must end with one of these statuses.
    fn hostel(&self, arguments: &[&str], statuses: &[i32]) -> Result<i32> {
        checked(Command::new(&self.hostel).args(arguments).current_dir(self.place()), statuses)
    }

    fn kill(
        &self,
        guest: &Guest,
        form: &Form,
        model: &mut Model,
        number: u64,
        last: bool,
        seen: &mut Seen,
    ) -> Result<()> {
        let random = chance(self.seed ^ 0x6b69_6c6c, number);
        // One in eight comes while it starts, whatever that is at.
        let at_once = random.is_multiple_of(8);
        let after = Duration::from_millis((random >> 8) % LATEST);
        let disk = format!("{}{}", self.place().join("disk").display(), form.options);
        let killed = guest.run(&disk, model, after, at_once)?;
        model.killed(killed.flushed);
        seen.kills += 1;
        seen.batches += killed.batches;
        if form.create.is_empty() {
            return model.verify(&std::fs::read(self.place().join("disk"))?);
        }
        let unclosed = is_unclosed(&self.place().join("disk"))?;
        seen.unclosed += u64::from(unclosed);
        // 0: clean, 3: only space is lost, which whoever opens it next gives back.
        seen.lossy += u64::from(self.hostel(&["image", "check", "disk"], &[0, 3])? == 3);
        self.qemu(&[0, 3])?;
        self.hostel(&["image", "convert", "disk", "plain", "--format", "raw"], &[0])?;
        model
            .verify(&std::fs::read(self.place().join("plain"))?)
            .context("as `hostel image convert` reads it")?;
        std::fs::remove_file(self.place().join("plain"))?;
        // The others are opened as they are by the next machine.
        if last || random >> 32 & 3 == 0 {
            self.hostel(&["image", "check", "disk", "--repair", "counts"], &[0])?;
            self.hostel(&["image", "check", "disk"], &[0])?;
            ensure!(!is_unclosed(&self.place().join("disk"))?, "it is not closed after a repair");
            self.qemu(&[0])?;
        }
        Ok(())
    }

    /// `qemu-img check`, where there is one.
    fn qemu(&self, statuses: &[i32]) -> Result<()> {
        if process::present("qemu-img") {
            let mut command = Command::new("qemu-img");
            checked(command.args(["check", "-f", "qcow2", "disk"]).current_dir(self.place()), statuses)?;
        }
        Ok(())
    }
}

/// Runs a command, which must end with one of these statuses; gives which.
fn checked(command: &mut Command, statuses: &[i32]) -> Result<i32> {
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    match output.status.code() {
        Some(status) if statuses.contains(&status) => Ok(status),
        _ => bail!(
            "{command:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// Whether a qcow2 image's header says that it was not closed: "incompatible features", bit 0 (QEMU,
/// `docs/interop/qcow2.rst`).
fn is_unclosed(image: &Path) -> Result<bool> {
    let mut features = [0; 8];
    std::fs::File::open(image)?.read_exact_at(&mut features, 72)?;
    Ok(u64::from_be_bytes(features) & 1 != 0)
}
