//! What machine is to run: the options of the command line over those of a file over the defaults.

use crate::balloon::Balloon;
use crate::choice::{Bios, Clock, Console, Cpus, Machine, Memory};
use crate::command::RunOptions;
use crate::consoles::{self, Consoles};
use crate::cpu::Cpu;
use crate::disk::DiskChoice;
use crate::engine::Engine;
use crate::flash::{self, loader};
use crate::net::{self, NetChoice};
use crate::origin::{Origin, position};
use crate::port::{self, PortChoice};
use crate::share::{self, ShareChoice};
use crate::virtio_bus::{self, VirtioBus};
use crate::vsock::{self, VsockChoice};
use anyhow::{Context, anyhow, bail};
use host_image::{DEFAULT_GUEST, Image, ImageName};
use serde::Deserialize;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use vm_machine::ClockKind;

/// More is no machine description.
const FILE_LIMIT: u64 = 1 << 20;

/// A machine, with every value that a run uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What executes the instructions.
    pub engine: Engine,
    /// The board.
    pub machine: Machine,
    /// What every hart implements that an operating system can use.
    pub cpu: Cpu,
    /// Number of harts.
    pub cpus: Cpus,
    /// Bytes of memory.
    pub memory: Memory,
    /// Where guest time comes from.
    pub clock: Clock,
    /// What the serial lines are joined to.
    pub consoles: Consoles,
    /// What the consoles on virtio are joined to.
    pub hvcs: Vec<Console>,
    /// Named ports beside them.
    pub ports: Vec<PortChoice>,
    /// What runs first.
    pub bios: Bios,
    /// The guest image that kernel and initial RAM disk come from.
    pub guest: Option<String>,
    /// The kernel; never with a guest.
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk; with a guest, in place of its own.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line; with a guest, `None` means its usual one.
    pub append: Option<String>,
    /// The disks.
    pub disks: Vec<DiskChoice>,
    /// The shared folders.
    pub shares: Vec<ShareChoice>,
    /// Where virtio devices are attached that do not say it themselves; without, where there is room.
    pub virtio: Option<VirtioBus>,
    /// The memory balloon; without, one that asks for nothing, where a place is left.
    pub balloon: Option<Balloon>,
    /// The network cards.
    pub nets: Vec<NetChoice>,
    /// The socket device.
    pub vsock: Option<VsockChoice>,
    /// What the banks of the flash memory hold.
    pub flash: Vec<DiskChoice>,
}

/// What a file says of a machine.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    engine: Option<Engine>,
    machine: Option<Machine>,
    cpu: Option<Cpu>,
    cpus: Option<Cpus>,
    memory: Option<Memory>,
    clock: Option<Clock>,
    console: Option<Consoles>,
    hvc: Option<Consoles>,
    bios: Option<Bios>,
    guest: Option<String>,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
    append: Option<String>,
    virtio: Option<VirtioBus>,
    balloon: Option<Balloon>,
    disk: Option<Vec<DiskChoice>>,
    port: Option<Vec<PortChoice>>,
    share: Option<Vec<ShareChoice>>,
    net: Option<Vec<NetChoice>>,
    vsock: Option<VsockChoice>,
    pflash: Option<Vec<DiskChoice>>,
}

/// What the positional argument names.
enum What<'a> {
    Guest(&'a str),
    File(&'a Path),
}

/// A guest's name has no slash and no dot; all else is a file.
fn what(argument: &OsStr) -> anyhow::Result<What<'_>> {
    let path = Path::new(argument);
    match path.extension() {
        Some(extension) if extension == "toml" => return Ok(What::File(path)),
        Some(extension) if extension.eq_ignore_ascii_case("toml") => {
            bail!("{}: the name of a machine description ends in .toml, in small letters", path.display())
        }
        _ => {}
    }
    match argument.to_str() {
        Some(name) if !name.contains('/') && !path.exists() => Ok(What::Guest(name)),
        Some(name) if image(name).is_some() => Ok(What::Guest(name)),
        _ => bail!(
            "{} is neither a guest nor a machine description (FILE.toml); a kernel is given with --kernel FILE",
            path.display()
        ),
    }
}

/// The machine that `options` ask for, and which of its values are a file's.
///
/// # Errors
/// If its file cannot be read, or options contradict each other or would have no effect.
pub fn resolve(options: &RunOptions) -> anyhow::Result<(Description, Origin)> {
    let (mut file, mut origin) = Default::default();
    let mut named = None;
    match options.what.as_deref().map(what).transpose()? {
        None => {}
        Some(What::Guest(name)) => named = Some(name.to_owned()),
        Some(What::File(path)) => (file, origin) = read(path)?,
    }
    override_by(options, &mut file, &mut origin);
    let guest = named.or(file.guest);
    let kind = options.machine.or(file.machine).unwrap_or_else(|| Machine::default_for(guest.as_deref()));
    let engine = options.engine.or(file.engine).unwrap_or_else(|| Engine::default_for(kind));
    let clock = options.clock.or(file.clock).unwrap_or_else(|| engine.default_clock());
    let hvcs = Consoles::given(&options.hvc).or(file.hvc);
    // Standard input and output are one console's, and it was said which.
    let usual =
        if hvcs.as_ref().is_some_and(Consoles::on_stdio) { Consoles::none() } else { Consoles::default() };
    let consoles = Consoles::given(&options.console).or(file.console).unwrap_or(usual);
    let mut machine = Description {
        engine,
        machine: kind,
        cpu: options.cpu.clone().or(file.cpu).unwrap_or_else(|| Cpu::default_of(kind)),
        cpus: options.cpus.or(file.cpus).unwrap_or_else(|| kind.default_cpus(clock)),
        memory: options.memory.or(file.memory).unwrap_or_default(),
        clock,
        consoles: consoles.filled(kind),
        hvcs: hvcs.iter().flat_map(Consoles::iter).cloned().collect(),
        ports: Some(options.port.clone()).filter(|all| !all.is_empty()).or(file.port).unwrap_or_default(),
        bios: options.bios.clone().or(file.bios).unwrap_or_else(|| kind.default_bios()),
        guest,
        kernel: options.kernel.clone().or(file.kernel),
        initrd: options.initrd.clone().or(file.initrd),
        append: options.append.clone().or(file.append),
        disks: Some(options.disk.clone()).filter(|all| !all.is_empty()).or(file.disk).unwrap_or_default(),
        shares: Some(options.share.clone()).filter(|all| !all.is_empty()).or(file.share).unwrap_or_default(),
        virtio: options.virtio.or(file.virtio),
        balloon: options.balloon.or(file.balloon),
        nets: Vec::new(),
        vsock: options.vsock.clone().or(file.vsock),
        flash: Some(options.pflash.clone()).filter(|all| !all.is_empty()).or(file.pflash).unwrap_or_default(),
    };
    let nothing = machine.guest.is_none() && machine.kernel.is_none() && machine.flash.is_empty();
    if nothing && machine.bios == Bios::Builtin {
        machine.guest = Some(DEFAULT_GUEST.to_owned());
    }
    let usual = usual_nets(&machine);
    machine.nets = net::cards(&options.net, file.net, usual, &options.publish)
        .map_err(|error| origin.blame(&["net"], error))?;
    check(&machine).map_err(|(keys, error)| origin.blame(keys, error))?;
    if options.perf_map && !matches!(machine.engine, Engine::Jit(_)) {
        bail!(
            "--perf-map has no effect with --engine {}: only the translator has code to name",
            machine.engine
        );
    }
    if let (None, Some(option)) = (&machine.guest, options.fetch.given()) {
        bail!("{option} has no effect: this machine starts from files of your own, so no image is fetched");
    }
    Ok((machine, origin))
}

/// Takes out of the file what options replace: the kernel of a guest together with the rest of that guest.
fn override_by(options: &RunOptions, file: &mut Partial, origin: &mut Origin) {
    let given = [
        ("engine", options.engine.is_some()),
        ("machine", options.machine.is_some()),
        ("cpu", options.cpu.is_some()),
        ("cpus", options.cpus.is_some()),
        ("memory", options.memory.is_some()),
        ("clock", options.clock.is_some()),
        ("console", !options.console.is_empty()),
        ("hvc", !options.hvc.is_empty()),
        ("port", !options.port.is_empty()),
        ("bios", options.bios.is_some()),
        ("kernel", options.kernel.is_some()),
        ("initrd", options.initrd.is_some()),
        ("append", options.append.is_some()),
        ("virtio", options.virtio.is_some()),
        ("balloon", options.balloon.is_some()),
        ("disk", !options.disk.is_empty()),
        ("share", !options.share.is_empty()),
        ("net", !options.net.is_empty()),
        ("vsock", options.vsock.is_some()),
        ("pflash", !options.pflash.is_empty()),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        origin.forget(key);
    }
    if options.kernel.is_some() && file.guest.take().is_some() {
        // It was written for the guest's kernel.
        file.append = None;
    }
}

/// Refuses what contradicts itself or would have no effect; with the keys that are to blame.
fn check(machine: &Description) -> Result<(), (&'static [&'static str], anyhow::Error)> {
    port::check(machine)?;
    vsock::check(machine)?;
    if let (Some(guest), Some(kernel)) = (&machine.guest, &machine.kernel) {
        let kernel = kernel.display();
        let error = anyhow!("both a guest ({guest}) and a kernel ({kernel}) are given; leave one out");
        return Err((&["kernel", "guest"], error));
    }
    if let Some(guest) = machine.guest.as_deref().filter(|guest| cannot_boot(guest)) {
        return Err((&["guest"], no_kernel(guest)));
    }
    let other = |image: &&ImageName| image.architecture != machine.machine.architecture();
    if let Some(image) = machine.guest.as_deref().and_then(image).filter(other) {
        return Err((&["machine", "guest"], misfit(image, machine.machine)));
    }
    if let (Bios::None, Some(guest), false) = (&machine.bios, &machine.guest, machine.machine.x86()) {
        let error = anyhow!("the guest {guest} needs firmware; use --bios builtin, or --bios FILE");
        return Err((&["bios", "guest"], error));
    }
    check_disks(machine).map_err(|error| (&["disk", "machine", "guest"] as &[_], error))?;
    check_shares(machine).map_err(|error| (&["share", "machine"] as &[_], error))?;
    check_nets(machine).map_err(|error| (&["net", "clock", "machine"] as &[_], error))?;
    virtio_bus::check(machine)
        .map_err(|error| (&["virtio", "balloon", "disk", "net", "machine"] as &[_], error))?;
    flash::check_loader(machine)?;
    flash::check(machine).map_err(|error| (&["pflash", "machine"] as &[_], error))?;
    if machine.machine.x86() {
        return check_x86(machine);
    }
    if let Engine::Kvm(_) = machine.engine {
        let error = anyhow!(
            "KVM runs what this host's processor is, and the board {} has RISC-V harts; use --engine interp, \
             or --machine microvm",
            machine.machine
        );
        return Err((&["engine", "machine"], error));
    }
    if let (Engine::Jit(_) | Engine::Check(_), Some(missing)) = (machine.engine, engine_jit::Jit::missing()) {
        let error = anyhow!("translated code needs {missing}, which this host lacks; use --engine interp");
        return Err((&["engine"], error));
    }
    let alone = machine.guest.is_none() && (machine.bios != Bios::Builtin || !machine.flash.is_empty());
    let (keys, error): (&[_], _) = match (&machine.bios, &machine.kernel) {
        (Bios::None, None) if machine.flash.is_empty() => (
            &["bios"],
            "there is nothing to run: with --bios none, give a program for M-mode with --kernel FILE",
        ),
        (_, None) if alone && machine.initrd.is_some() => {
            (&["initrd", "bios"], "an initrd has no effect without a kernel; add --kernel FILE")
        }
        (_, None) if alone && machine.append.is_some() => (
            &["append", "bios"],
            "a command line (--append) has no effect without a kernel; add --kernel FILE",
        ),
        _ if machine.append.as_ref().is_some_and(|append| append.contains('\0')) => {
            (&["append"], "the kernel's command line contains a NUL character; remove it from --append")
        }
        _ if machine.engine.checks() && machine.clock.0 == ClockKind::Real => (
            &["clock", "engine"],
            "two engines can be compared only where time counts instructions; use --clock virtual, or leave --clock out",
        ),
        _ if machine.engine.checks() && machine.cpus.0 > 1 => {
            (&["cpus", "engine"], "two engines are compared on one hart; use --cpus 1")
        }
        _ if machine.clock.0 == ClockKind::Virtual && machine.cpus.0 > 1 => (
            &["cpus", "clock"],
            "a virtual clock follows the instructions of one hart; use --cpus 1, or --clock real",
        ),
        _ => return Ok(()),
    };
    Err((keys, anyhow!(error)))
}

/// Refuses disks that the board has no room for, or that contradict themselves.
fn check_disks(machine: &Description) -> anyhow::Result<()> {
    let (board, room, given) = (machine.machine, machine.machine.disks(), machine.disks.len());
    // A guest's own disk comes first, and takes a place, too.
    let owner = machine.guest.as_deref().and_then(image).filter(|image| image.disk);
    match (owner, room.checked_sub(usize::from(owner.is_some()))) {
        (Some(guest), None) => bail!(
            "the board {board} has no place for a disk, and the guest {} has one; use --machine virt",
            guest.name
        ),
        (None, Some(0)) if given > 0 => {
            bail!("the board {board} has no place for a disk; use --machine virt")
        }
        (Some(guest), Some(left)) if given > left => bail!(
            "the board {board} has room for {left} disks beside that of the guest {}, not {given}",
            guest.name
        ),
        (None, Some(room)) if given > room => {
            bail!("the board {board} has room for {room} disks, not {given}")
        }
        _ => {}
    }
    match machine.disks.iter().find_map(DiskChoice::problem) {
        Some(problem) => bail!("{problem}"),
        None => Ok(()),
    }
}

/// Refuses shared folders that the board has no room for beside the disks, or that contradict themselves.
fn check_shares(machine: &Description) -> anyhow::Result<()> {
    let (board, shares) = (machine.machine, machine.shares.len());
    let own = machine.guest.as_deref().and_then(image).is_some_and(|image| image.disk);
    let disks = machine.disks.len() + usize::from(own);
    match board.virtio_room() {
        0 if shares > 0 => bail!("the board {board} has no place for a shared folder; use --machine virt"),
        room if shares > 0 && disks + shares > room => bail!(
            "the board {board} has room for {room} disks and shared folders together, not for {disks} and {shares}; leave \
             some out"
        ),
        _ => {}
    }
    match share::problem(&machine.shares) {
        Some(problem) => bail!("{problem}"),
        None => Ok(()),
    }
}

/// What network cards a machine has of whose user nobody has said: a guest with a root disk, which is a whole system, has the
/// user network, where there can be one.
fn usual_nets(machine: &Description) -> Vec<NetChoice> {
    let whole = machine.guest.as_deref().and_then(image).is_some_and(|image| image.disk);
    let can =
        machine.machine.virtio_room() + machine.machine.ethernet() > 0 && machine.clock.0 == ClockKind::Real;
    if whole && can { vec![NetChoice::user()] } else { Vec::new() }
}

/// Refuses network cards that the machine cannot have.
fn check_nets(machine: &Description) -> anyhow::Result<()> {
    net::check(&machine.nets, machine.machine)?;
    if !machine.nets.is_empty() && machine.clock.0 == ClockKind::Virtual {
        bail!(
            "a network's frames come when the host sends them, which no virtual clock can repeat; use --net none, or \
             --clock real"
        );
    }
    Ok(())
}

/// The same for a board of x86-64 processors.
fn check_x86(machine: &Description) -> Result<(), (&'static [&'static str], anyhow::Error)> {
    let (keys, error): (&[_], _) = match () {
        () if machine.bios != Bios::None => {
            (&["bios"], "the board microvm has no firmware, kernels start by themselves; leave --bios out")
        }
        () if machine.guest.is_none() && machine.kernel.is_none() => (
            &["machine"],
            "there is nothing to run: name a guest, such as debian-cloud-amd64, or give a bzImage, or an ELF executable \
             with a PVH entry, with --kernel FILE",
        ),
        () if matches!(machine.engine, Engine::Jit(_) | Engine::Check(_)) => (
            &["engine", "machine"],
            "the translator is for boards of RISC-V harts, and the board microvm has x86-64 processors; use \
             --engine interp, or --engine kvm",
        ),
        () if machine.cpu != Cpu::default() => {
            (&["cpu"], "the CPU of the board microvm cannot be chosen yet; leave --cpu out")
        }
        () if machine.append.as_ref().is_some_and(|append| append.contains('\0')) => {
            (&["append"], "the kernel's command line contains a NUL character; remove it from --append")
        }
        () if machine.clock.0 == ClockKind::Virtual && machine.engine != Engine::Interp => (
            &["clock", "engine"],
            "a virtual clock counts instructions, which KVM does not; use --engine interp, or --clock real",
        ),
        () => return Ok(()),
    };
    Err((keys, anyhow!(error)))
}

/// The known image of that name.
pub fn image(guest: &str) -> Option<&'static ImageName> {
    host_image::IMAGES.iter().find(|image| image.name == guest)
}

/// Whether that is an image that has only firmware.
fn cannot_boot(guest: &str) -> bool {
    image(guest).is_some_and(|image| !image.boots && host_image::loader(image.name).is_none())
}

/// What to say of a guest for another processor than the board's.
fn misfit(image: &ImageName, machine: Machine) -> anyhow::Error {
    let fitting = Machine::default_for(Some(image.name));
    anyhow!(
        "the guest {} is for {}, and the board {machine} has {} processors; leave --machine out, or use \
         --machine {fitting}",
        image.name,
        image.architecture,
        machine.architecture()
    )
}

/// What to say of an image without a kernel.
pub fn no_kernel(name: &str) -> anyhow::Error {
    anyhow!(
        "the image {name} has no kernel to boot; `hostel image path {name}` says where its files are, \
         for --bios, --kernel or --initrd"
    )
}

/// Reads a machine description. Its paths count from its directory.
fn read(path: &Path) -> anyhow::Result<(Partial, Origin)> {
    let name = path.display();
    let cannot = || format!("cannot read the machine description {name}");
    let mut text = String::new();
    // Asked first, because opening a named pipe waits for its writer.
    if !std::fs::metadata(path).with_context(cannot)?.is_file() {
        bail!("{name} is not a file; a machine description must be one");
    }
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(FILE_LIMIT).read_to_string(&mut text).with_context(cannot)?;
    if text.len() as u64 == FILE_LIMIT {
        bail!("{name} is no machine description: it is larger than {FILE_LIMIT} bytes");
    }
    let machine: Partial = toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let (line, column) = position(&text, at);
        anyhow::anyhow!("{name}:{line}:{column}: {}", error.message())
    })?;
    let origin = Origin::of(&name.to_string(), &text);
    for (key, value) in [("kernel", &machine.kernel), ("initrd", &machine.initrd)] {
        if value.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(origin.blame(&[key], anyhow!("the path is empty; name a file, or leave {key} out")));
        }
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    let join = |path: PathBuf| directory.join(path);
    let machine = Partial {
        console: machine.console.map(|console| console.relative_to(directory)),
        hvc: machine.hvc.map(|consoles| consoles.relative_to(directory)),
        port: machine.port.map(|all| all.into_iter().map(|port| port.relative_to(directory)).collect()),
        bios: machine.bios.map(|bios| bios.relative_to(directory)),
        kernel: machine.kernel.map(join),
        initrd: machine.initrd.map(join),
        disk: machine.disk.map(|all| all.into_iter().map(|disk| disk.relative_to(directory)).collect()),
        vsock: machine.vsock.map(|vsock| vsock.relative_to(directory)),
        share: machine.share.map(|all| all.into_iter().map(|share| share.relative_to(directory)).collect()),
        pflash: machine.pflash.map(|all| all.into_iter().map(|bank| bank.relative_to(directory)).collect()),
        ..machine
    };
    Ok((machine, origin))
}

/// The command line of a guest whose user gave none: messages from "notice" up, on the serial line, or on the virtio console if
/// that is where the user is. What the image itself wants is known once it is fetched.
pub fn guest_append(machine: &Description, image: Option<&Image>) -> String {
    let console = match machine.hvcs.iter().position(|console| *console == Console::Stdio) {
        Some(number) => format!("hvc{number}"),
        None => machine.machine.linux_console().to_owned(),
    };
    let usual = format!("console={console} loglevel=6");
    match image.map(Image::append) {
        None | Some("") => usual,
        Some(own) => format!("{usual} {own}"),
    }
}

/// A string in TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A path as text, counted from the root: the file that it is written to may be moved.
fn absolute(path: &Path) -> anyhow::Result<String> {
    path_text(std::path::absolute(path).context("cannot find the current directory")?, path)
}

/// The text of a path, that of `path` as it is to be written.
fn path_text(written: PathBuf, path: &Path) -> anyhow::Result<String> {
    match written.into_os_string().into_string() {
        Ok(text) => Ok(text),
        Err(_) => bail!("the path {} is not UTF-8, which a TOML file must be; rename it", path.display()),
    }
}

impl Description {
    /// Whether it has a virtio console.
    pub fn has_virtio_console(&self) -> bool {
        !self.hvcs.is_empty() || !self.ports.is_empty()
    }

    /// The machine as TOML. `image` is the guest's, if it is known.
    ///
    /// # Errors
    /// If a path cannot be written.
    pub fn to_toml(&self, image: Option<&Image>) -> anyhow::Result<String> {
        self.written(image, None)
    }

    /// The same for a file in `folder`, from which what is in it is counted.
    ///
    /// # Errors
    /// If a path cannot be written.
    pub fn to_toml_in(&self, folder: &Path) -> anyhow::Result<String> {
        self.written(None, Some(folder))
    }

    fn written(&self, image: Option<&Image>, folder: Option<&Path>) -> anyhow::Result<String> {
        let absolute = |path: &Path| match folder.and_then(|folder| path.strip_prefix(folder).ok()) {
            Some(inside) => path_text(inside.to_owned(), path),
            None => absolute(path),
        };
        let Description {
            engine,
            machine,
            cpu,
            cpus,
            memory,
            clock,
            consoles,
            hvcs,
            ports,
            bios,
            guest,
            kernel,
            initrd,
            append,
            disks,
            shares,
            virtio,
            balloon,
            nets,
            vsock,
            flash,
        } = self;
        let append = match guest {
            Some(_) if loader(self).is_some() => None,
            Some(_) => Some(append.clone().unwrap_or_else(|| guest_append(self, image))),
            None => append.clone(),
        };
        let bios = match bios {
            Bios::Builtin => quoted("builtin"),
            Bios::None => quoted("none"),
            Bios::File(file) => quoted(&absolute(file)?),
        };
        let end = |console: &Console| console.to_toml(absolute).map(|text| quoted(&text));
        let console = consoles::to_toml(consoles.iter(), end)?;
        let hvc = if hvcs.is_empty() { None } else { Some(consoles::to_toml(hvcs.iter(), end)?) };
        let mut lines = vec![
            "# A machine, as `hostel run FILE.toml` takes it. Options on the command line override what is here;"
                .to_owned(),
            "# relative paths count from this file's directory.".to_owned(),
            format!("engine = {}", quoted(&engine.to_string())),
            format!("machine = {}", quoted(&machine.to_string())),
        ];
        // There is one x86 processor, which has no name that would stay true.
        lines.extend((!machine.x86()).then(|| format!("cpu = {}", quoted(&cpu.to_string()))));
        lines.extend([
            format!("cpus = {cpus}"),
            format!("memory = {}", quoted(&memory.to_string())),
            format!("clock = {}", quoted(&clock.to_string())),
            format!("console = {console}"),
        ]);
        lines.extend(hvc.map(|hvc| format!("hvc = {hvc}")));
        lines.push(format!("bios = {bios}"));
        lines.extend(guest.as_ref().map(|guest| format!("guest = {}", quoted(guest))));
        for (key, value) in [("kernel", kernel), ("initrd", initrd)] {
            if let Some(value) = value {
                lines.push(format!("{key} = {}", quoted(&absolute(value)?)));
            }
        }
        lines.extend(append.map(|append| format!("append = {}", quoted(&append))));
        lines.extend(virtio.map(|bus| format!("virtio = {}", quoted(&bus.to_string()))));
        lines.extend(balloon.map(|balloon| format!("balloon = {}", quoted(&balloon.to_string()))));
        // Where a card would be a guest's by itself, that there is none is said.
        let unlike = nets.is_empty() && !usual_nets(self).is_empty();
        lines.extend(unlike.then(|| "net = []".to_owned()));
        lines.push(String::new());
        let mut text = lines.join("\n");
        let disks = disks.iter().map(|disk| ("disk", disk));
        for (key, disk) in disks.chain(flash.iter().map(|bank| ("pflash", bank))) {
            text.push_str(&disk.to_toml(key, |path| Ok(quoted(&absolute(path)?)))?);
        }
        for port in ports {
            text.push_str(&port.to_toml(end, quoted)?);
        }
        for share in shares {
            text.push_str(&share.to_toml(|path| Ok(quoted(&absolute(path)?)), quoted)?);
        }
        nets.iter().for_each(|net| text.push_str(&net.to_toml()));
        if let Some(vsock) = vsock {
            text.push_str(&vsock.to_toml(|path| Ok(quoted(&absolute(path)?)))?);
        }
        Ok(text)
    }
}
