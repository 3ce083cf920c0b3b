//! `hostel run`.

use crate::balloon::Balloon;
use crate::choice::{Bios, Machine};
use crate::command::RunOptions;
use crate::description::{Description, guest_append, no_kernel, resolve};
use crate::flash::{loader, own_banks};
use crate::keeper::Keeper;
use crate::net::{self, Card};
use crate::origin::Origin;
use crate::virtio_bus::VirtioBus;
use crate::{detach, disk, file, life, named, random, resolv, say, second_stage, status, virtio_bus};
use anyhow::Context;
use host_disk::Disk;
use host_image::{Bars, Image, Loader, Store};
use host_share::ShareLink;
use host_vsock::UnixHost;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use support_image::elf::Elf;
use vm_board::board::{Board, Config, HtifWords, Serial};
use vm_board::check::BoardError;
use vm_machine::{ClockKind, Program, RandomSource, Spec, Virtio};

/// When a machine with a virtual clock starts, as its real-time clock says: 2026-01-01, in nanoseconds since 1970.
/// Its runs repeat only if they all start at the same time.
const VIRTUAL_START_NS: u64 = 1_767_225_600_000_000_000;
/// Bytes that seed the kernel's random numbers.
const SEED: usize = 32;
const NO_RANDOM: &str = "cannot read random numbers from /dev/urandom";

/// Does what `hostel run` was asked to and gives the exit status.
///
/// # Errors
/// If the machine cannot be described, built or run.
pub fn run(mut options: RunOptions) -> anyhow::Result<u8> {
    if options.detach && !options.in_background {
        return detach::start(&options);
    }
    let named = named::open(&mut options)?;
    let (mut machine, origin) = resolve(&options)?;
    // Mistakes in the machine itself are told before anything is fetched.
    board(&machine, None).map_err(|error| origin.blame(keys(&error), error))?;
    let unknown = |error| match error {
        error @ host_image::Error::UnknownImage { .. } => origin.blame(&["guest"], error),
        error => error.into(),
    };
    if options.print_config {
        let image = match &machine.guest {
            Some(name) => cached(name).map_err(unknown)?,
            None => None,
        };
        say::answer(&machine.to_toml(image.as_ref())?)?;
        return Ok(status::SUCCESS);
    }
    let wish = life::Wish::watch()?;
    let image = match &machine.guest {
        Some(name) => {
            let options = options.fetch.options();
            let mut runner = second_stage::runner();
            let store = Store::open(None)?;
            Some(store.get_with(name, &options, &mut runner, &mut Bars::new()).map_err(unknown)?)
        }
        None => None,
    };
    let image = match &named {
        Some(named) if !named.is_there() => {
            machine = named.make(&machine, image.as_ref())?;
            None
        }
        _ => image,
    };
    if options.in_background {
        detach::session()?;
    }
    let mut files = Files::read(&machine, &origin, image.as_ref())?;
    files.perf_map = options.perf_map;
    let board = board(&machine, files.htif())?;
    if let Some(disk) = image.as_ref().and_then(Image::disk) {
        // The image's own comes first: it is the one that its initial RAM disk looks for.
        let choice = disk::DiskChoice { file: disk, overlay: true, ..disk::DiskChoice::default() };
        files.disks.push((choice.file.clone(), choice.open()?));
        say::note("what this guest writes to its disk is gone when it ends; --name NAME keeps it");
    }
    for choice in &machine.disks {
        let disk = choice.open().map_err(|error| origin.blame(&["disk"], error))?;
        files.disks.push((choice.file.clone(), disk));
    }
    for (at, choice) in machine.shares.iter().enumerate() {
        let server = choice.serve().map_err(|error| origin.blame(&["share"], error))?;
        files.shares.push((server, choice.tag(at)));
    }
    files.cards = net::open(&machine.nets, say::note).map_err(|error| origin.blame(&["net"], error))?;
    if let Some(choice) = &machine.vsock {
        let host = choice.open(say::note).map_err(|error| origin.blame(&["vsock"], error))?;
        files.vsock = Some((host, choice.cid()));
    }
    let users: Vec<_> = files.cards.iter().filter_map(|card| card.user.clone()).collect();
    let resolv = if users.is_empty() { None } else { Some(resolv::watch(users)) };
    if let Some(Err(error)) = &resolv {
        say::note(&format!(
            "cannot watch /etc/resolv.conf: {error}; the guest keeps the name servers of now"
        ));
    }
    for choice in own_banks(&machine, image.as_ref()).iter().chain(&machine.flash) {
        let bank = choice.open().map_err(|error| origin.blame(&["pflash"], error))?;
        files.flash.push((choice.file.clone(), bank));
    }
    let keeper = named.as_ref().map(|named| Keeper::new(named, options.in_background)).transpose()?;
    let mut control = None;
    let begun = Box::new(|line| {
        if let (Some(keeper), Some(named)) = (&keeper, &named) {
            control = Some(keeper.listen(wish.clone(), line)?);
            if options.in_background {
                detach::leave(named)?;
            }
        }
        Ok(())
    });
    let door = keeper.as_ref().and_then(Keeper::door);
    let ended = life::live(&wish, || files.spec(&machine, &board), &machine, door, begun);
    drop(resolv);
    let closed = disk::close(&files.disks);
    let word = last_word(ended, closed.and(disk::close(&files.flash)));
    // Who waits for the end of the guest may have its disk from here on.
    drop(control);
    word
}

/// What is to be told of a machine that ended thus and whose disks were closed thus: the machine's own error first, the
/// disks' in passing.
fn last_word(ended: anyhow::Result<u8>, closed: anyhow::Result<()>) -> anyhow::Result<u8> {
    match (&ended, closed) {
        (Ok(_), Err(error)) => return Err(error),
        (Err(_), Err(error)) => say::note(&format!("{error:#}")),
        (_, Ok(())) => {}
    }
    ended
}

/// The image of a guest that may not be fetched yet, as long as there is a guest of that name.
fn cached(name: &str) -> Result<Option<Image>, host_image::Error> {
    match Store::open(None)?.get_cached(name) {
        Ok(image) => Ok(Some(image)),
        Err(error @ host_image::Error::UnknownImage { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The keys of a machine description that such an error is about.
fn keys(error: &BoardError) -> &'static [&'static str] {
    match error {
        BoardError::NoCpus | BoardError::TooManyCpus(..) => &["cpus"],
        BoardError::MemoryTooSmall(_)
        | BoardError::MemoryNotPages(_)
        | BoardError::MemoryTooLarge(_)
        | BoardError::NoRoomForMemory(..) => &["memory"],
        _ => &[],
    }
}

/// The board of that machine.
fn board(machine: &Description, htif: Option<HtifWords>) -> Result<Board, BoardError> {
    let config = Config {
        cpus: machine.cpus.0,
        memory: machine.memory.0,
        isa: machine.cpu.isa.clone(),
        mmu: machine.cpu.mmu,
        serial: Serial::default(),
        htif,
        serial_cards: machine.consoles.len().saturating_sub(machine.machine.serial_lines()) as u32,
        virtio_cards: virtio_bus::of(machine)
            .into_iter()
            .chain(virtio_bus::of_balloon(machine))
            .filter(|bus| *bus == VirtioBus::Pci)
            .count() as u32,
        ethernet: machine.nets.first().filter(|_| machine.machine.ethernet() > 0).map(|card| card.address(0)),
    };
    match machine.machine {
        Machine::Virt => vm_board::virt::virt(&config),
        Machine::Spike => vm_board::spike::spike(&config),
        Machine::SifiveU => vm_board::sifive_u::sifive_u(&config),
        Machine::Microvm => vm_board::microvm::microvm(&config),
    }
}

/// What a machine is started from.
struct Files {
    bios: vm_machine::Bios,
    kernel: Option<Program>,
    initrd: Option<Program>,
    append: Option<String>,
    spike: bool,
    perf_map: bool,
    /// The disks, and what their files are called.
    disks: Vec<(PathBuf, Arc<dyn Disk>)>,
    /// Who serves the shared folders, and their tags.
    shares: Vec<(Arc<ShareLink>, String)>,
    /// The network cards, which outlive a reset.
    cards: Vec<Card>,
    /// Who is on the host's side of the socket device, and the guest's context id.
    vsock: Option<(Arc<UnixHost>, u32)>,
    /// The same for the banks of the flash memory.
    flash: Vec<(PathBuf, Arc<dyn Disk>)>,
}

impl Files {
    fn read(machine: &Description, origin: &Origin, image: Option<&Image>) -> anyhow::Result<Files> {
        let read = |what: &str, path: &Path| {
            let key = if what == "firmware" { "bios" } else { what };
            file::program(what, path, machine.memory.0).map_err(|error| origin.blame(&[key], error))
        };
        let bios = match &machine.bios {
            Bios::Builtin => vm_machine::Bios::BuiltIn,
            Bios::None => vm_machine::Bios::None,
            Bios::File(path) => vm_machine::Bios::Program(read("firmware", path)?),
        };
        let kernel = match image {
            None => machine.kernel.clone(),
            Some(image) => match loader(machine) {
                None => Some(image.kernel().ok_or_else(|| no_kernel(&image.manifest.name))?),
                Some(Loader::Program(file)) => image.file(file),
                Some(Loader::Flash { .. }) => None,
            },
        };
        let kernels = image.filter(|_| loader(machine).is_none());
        let append = kernels.map(|image| guest_append(machine, Some(image)));
        let append = machine.append.clone().or(append);
        let initrd = machine.initrd.clone().or_else(|| image.and_then(Image::initrd));
        Ok(Files {
            bios,
            kernel: kernel.map(|path| read("kernel", &path)).transpose()?,
            initrd: initrd.map(|path| read("initrd", &path)).transpose()?,
            append,
            spike: machine.machine == Machine::Spike,
            perf_map: false,
            disks: Vec::new(),
            shares: Vec::new(),
            cards: Vec::new(),
            vsock: None,
            flash: Vec::new(),
        })
    }

    /// Where the program keeps its host-target interface words, on a board that has them. What is wrong with a file
    /// is said when the machine is built.
    fn htif(&self) -> Option<HtifWords> {
        let firmware = match &self.bios {
            vm_machine::Bios::Program(program) => Some(program),
            _ => None,
        };
        let programs = self.kernel.iter().chain(firmware).filter(|_| self.spike);
        programs.into_iter().find_map(|program| {
            let elf = Elf::parse(&program.bytes).ok()?;
            let word = |name| elf.symbol(name).map(|symbol| symbol.address);
            Some(HtifWords { tohost: word("tohost")?, fromhost: word("fromhost")? })
        })
    }

    /// What one machine is built from.
    fn spec(&self, machine: &Description, board: &Board) -> anyhow::Result<Spec> {
        let mut rng_seed = vec![0; SEED];
        let (wall_start_ns, source) = match machine.clock.0 {
            ClockKind::Real => {
                let mut host = random::Host::open().context(NO_RANDOM)?;
                host.fill(&mut rng_seed).context(NO_RANDOM)?;
                (now_ns(), host.source())
            }
            ClockKind::Virtual => (VIRTUAL_START_NS, random::repeatable(&rng_seed)),
        };
        let (virtio, virtio_pci) = self.virtio(machine, source);
        Ok(Spec {
            board: board.clone(),
            bios: self.bios.clone(),
            flash: self.flash.iter().map(|(_, bank)| Arc::clone(bank)).collect(),
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            append: self.append.clone(),
            clock: machine.clock.0,
            wall_start_ns,
            rng_seed,
            budget: None,
            engine: machine.engine.of_machine(),
            trace: None,
            perf_map: self.perf_map,
            virtio,
            virtio_pci,
            sd: self
                .disks
                .first()
                .filter(|_| machine.machine.sd_slots() > 0)
                .map(|(_, disk)| Arc::clone(disk)),
            ethernet: self
                .cards
                .first()
                .filter(|_| machine.machine.ethernet() > 0)
                .and_then(|card| card.ports.first())
                .cloned(),
            note: Some(Arc::new(say::note)),
            tsc_hz: None,
        })
    }

    /// The virtio devices, at memory-mapped registers and on PCI: the disks, network cards, shared folders, the
    /// console, the socket device, entropy, and a power button and a memory balloon where places are left for them.
    fn virtio(&self, machine: &Description, source: RandomSource) -> (Vec<Virtio>, Vec<Virtio>) {
        let disks = self.disks.iter().enumerate();
        let disks =
            disks.map(|(n, (_, disk))| Virtio::Disk { disk: Arc::clone(disk), id: format!("disk{n}") });
        let cards = self.cards.iter().map(|card| Virtio::Net { ports: card.ports.clone(), mac: card.mac });
        let shares = self.shares.iter();
        let shares =
            shares.map(|(server, tag)| Virtio::Share { server: Arc::clone(server), tag: tag.clone() });
        let console = machine.has_virtio_console().then(|| Virtio::Console {
            consoles: machine.hvcs.len(),
            ports: machine.ports.iter().map(|port| port.name.clone()).collect(),
        });
        let vsock =
            self.vsock.iter().map(|(host, cid)| Virtio::Vsock { cid: *cid, host: Arc::clone(host) as _ });
        let all = disks.chain(cards).chain(shares).chain(console).chain(vsock);
        let all = all.chain([Virtio::Entropy(source)]);
        let all = all.zip(virtio_bus::of(machine));
        let (mmio, pci): (Vec<_>, Vec<_>) = all.partition(|(_, bus)| *bus == VirtioBus::Mmio);
        let devices = |all: Vec<(Virtio, VirtioBus)>| all.into_iter().map(|(device, _)| device).collect();
        let (mut mmio, mut pci): (Vec<Virtio>, Vec<Virtio>) = (devices(mmio), devices(pci));
        // With a virtual clock nobody could press it.
        if machine.clock.0 == ClockKind::Real && mmio.len() < machine.machine.virtio_places().0 {
            mmio.push(Virtio::PowerButton);
        }
        let balloon = Virtio::Balloon { bytes: machine.balloon.map_or(0, Balloon::bytes) };
        match virtio_bus::of_balloon(machine) {
            Some(VirtioBus::Mmio) => mmio.push(balloon),
            Some(VirtioBus::Pci) => pci.push(balloon),
            None => {}
        }
        (mmio, pci)
    }
}

/// The wall clock, in nanoseconds since 1970.
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn the_machines_own_error_comes_before_that_of_its_disks() {
        let word = |ended, closed| last_word(ended, closed).map_err(|error| error.to_string());
        assert_eq!(word(Ok(3), Ok(())), Ok(3));
        assert_eq!(word(Ok(3), Err(anyhow!("disk"))), Err("disk".into()));
        assert_eq!(word(Err(anyhow!("machine")), Ok(())), Err("machine".into()));
        assert_eq!(word(Err(anyhow!("machine")), Err(anyhow!("disk"))), Err("machine".into()));
    }
}
