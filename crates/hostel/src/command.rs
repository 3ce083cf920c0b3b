//! The command line: verbs and options. Only what works is here.

use crate::balloon::Balloon;
use crate::choice::{Bios, Clock, Console, Cpus, Machine, Memory};
use crate::command_docs::{CompletionsOptions, ManOptions};
use crate::command_guest::{AttachOptions, ListOptions, RemoveOptions, StopOptions};
use crate::command_image::ImageOptions;
use crate::complete;
use crate::cpu::Cpu;
use crate::disk::DiskChoice;
use crate::engine::Engine;
use crate::isa::InstructionSet;
use crate::net::NetGiven;
use crate::port::PortChoice;
use crate::share::ShareChoice;
use crate::virtio_bus::VirtioBus;
use crate::vsock::VsockChoice;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use host_guest::Name;
use std::ffi::OsString;
use std::path::PathBuf;

const HOSTEL_EXAMPLES: &str = "\
Examples:
  hostel run               boot the default guest to a shell
  hostel run --help        every verb explains itself
  hostel image list        guests there are
  hostel list              guests that were given a name
  hostel bench             how fast they run

Exit status:
  the guest's own; 125 if Hostel fails; 128+n after signal n";

/// Runs machines built for another processor
#[derive(Debug, Parser)]
#[command(name = "hostel", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = HOSTEL_EXAMPLES)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a machine
    Run(Box<RunOptions>),
    /// List the guests that have names, and whether they run
    List(ListOptions),
    /// Use the console of a guest that runs in the background
    Attach(AttachOptions),
    /// Have a guest power off, or end it
    Stop(StopOptions),
    /// Delete a guest and its disk
    Remove(RemoveOptions),
    /// Fetch guest images and look at them
    Image(ImageOptions),
    /// Say what this host offers and what Hostel can use of it
    Doctor(DoctorOptions),
    /// Measure how fast guests run, next to QEMU and to the host's own processor
    Bench(Box<MeasureOptions>),
    /// Say which instructions a virtual machine monitor must see, and whether they trap
    Isa(IsaOptions),
    /// Print what makes a shell complete the words of a `hostel` command line
    Completions(CompletionsOptions),
    /// Print a manual page, or write all of them
    Man(ManOptions),
    /// Serve a virtual machine's network on the socket that is standard input
    // Hidden: virtual machines start it.
    #[command(hide = true)]
    ServeNetwork {
        /// The configuration
        config: String,
    },
    /// Print the help of a verb
    // Hidden: `--help` is the way that works everywhere.
    #[command(hide = true)]
    Help {
        /// The verb, and a verb of its own
        verb: Vec<String>,
    },
    /// Serve a shared folder to the machine that started this
    // Hidden: its arguments and descriptors are made by `host_share::Share`.
    #[command(hide = true, name = host_share::VERB)]
    ServeFolder {
        /// As `host_share` made them
        words: Vec<String>,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  hostel run                                 boot the default guest to a shell
  hostel run --cpus 2 --memory 1G            the same with two harts and less memory
  hostel run --kernel Image --initrd root.cpio --append console=ttyS0
  hostel run --bios fw_dynamic.bin --kernel u-boot.bin
  hostel run --disk root.img --disk data.qcow2,ro   the same with two disks
  hostel run debian --share .                with this folder at /mnt/share
  hostel run debian --publish 2222:22        port 2222 of the host is the guest's port 22
  hostel run debian --hvc stdio              with a console on virtio
  hostel run debian --port agent.0,unix=a.sock
                                             /dev/virtio-ports/agent.0 is the host's socket a.sock
  hostel run --pflash CODE.fd,ro --pflash VARS.fd --disk disk.img
                                             EDK2, which boots from the disk
  hostel run --bios none --kernel test.elf   bare metal, entered in M-mode
  hostel run --machine sifive_u --console stdio --console pty
                                             SiFive's board with both its serial lines
  hostel run --machine microvm --kernel bzImage --initrd root.cpio --append console=ttyS0
                                             x86-64, in the interpreter
  hostel run --machine microvm --engine kvm --kernel vmlinux
                                             the same on this host's processor
  hostel run debian --name work              a guest that lasts: again with `hostel run --name work`
  hostel run debian --name work --detach     the same in the background
  hostel run --print-config >my.toml         write a machine down,
  hostel run my.toml                         and run it again

Keys, where standard input is a terminal:
  Ctrl-A x quits, Ctrl-A p presses the guest's power button, Ctrl-A h lists the others; Ctrl-C goes
  to the guest

SIGTERM, SIGINT and SIGHUP have the guest power off; one that does not listen is stopped at once, and
so is one that has not powered off after a minute or at a second signal.

Exit status:
  0 if the guest powered off or Ctrl-A x was typed, or else what the guest ended with (255 if it is
  more than that); 125 if Hostel failed; 128+n if signal n stopped it";

/// Options of `hostel run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunOptions {
    /// A guest of `hostel image list`, or a machine description [default: the first guest there, if
    /// neither a kernel nor a firmware file is given]
    #[arg(value_name = "GUEST | FILE.toml", add = ArgValueCompleter::new(complete::machine_or_guest))]
    pub what: Option<OsString>,
    /// What executes the instructions: interp; for RISC-V boards jit, or check, which compares both
    /// on one hart, with a virtual clock; for microvm kvm, or kvm,irqchip=user, which keeps the
    /// interrupt controllers in Hostel; jit,threshold=N and check,threshold=N interpret code N
    /// times (0 to 255) before it is translated, jit,tier=N and check,tier=N have the first or the
    /// second tier of translation only [default: jit for RISC-V boards where this host can, else
    /// interp]
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::engine))]
    pub engine: Option<Engine>,
    /// The board: virt, spike, sifive_u, microvm [default: virt, or what the guest is for]
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::machines))]
    pub machine: Option<Machine>,
    /// The CPU: max, or an instruction set such as rv64gc_zba_sv39; on microvm only max [default:
    /// max; on sifive_u the U54's]
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::cpus))]
    pub cpu: Option<Cpu>,
    /// Number of harts: at most 512; on sifive_u 4, on microvm 1 [default: 1; on sifive_u 4]
    #[arg(long, value_name = "N")]
    pub cpus: Option<Cpus>,
    /// Amount of memory: bytes, or a number with K, M, G or T [default: 2G]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// What runs first in M-mode: builtin, none, or a firmware file [default: builtin; on microvm
    /// none, as it has no firmware]
    #[arg(long, value_name = "NAME | FILE", value_parser = OsStringValueParser::new().try_map(Bios::try_from), add = ArgValueCompleter::new(complete::bios))]
    pub bios: Option<Bios>,
    /// The kernel, or a boot loader in its place: ELF, Linux Image or flat binary; on microvm a
    /// bzImage, or ELF with a PVH entry
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// The kernel's command line; replaces that of a guest image
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Guest time: real, or virtual, which counts instructions [default: real; virtual
    /// with --engine check]
    #[arg(long, value_name = "KIND", add = ArgValueCandidates::new(complete::clocks))]
    pub clock: Option<Clock>,
    /// The serial line: stdio, none, pty or unix=PATH; given again, the next line [default: stdio,
    /// the others none]
    #[arg(long, value_name = "WHERE", add = ArgValueCandidates::new(complete::consoles))]
    pub console: Vec<Console>,
    /// A console of the board virt on virtio, in Linux /dev/hvc0, and what it is joined to, as with
    /// --console, whose default then is none if this is stdio; given again, the next one
    #[arg(long, value_name = "WHERE")]
    pub hvc: Vec<Console>,
    /// A port of the virtio console that the guest knows by a name, in Linux
    /// /dev/virtio-ports/NAME, and what it is joined to, as with --console; given again, the next one
    #[arg(long, value_name = "NAME,WHERE")]
    pub port: Vec<PortChoice>,
    /// A disk of the board virt, or the SD card of sifive_u: a file, and ,ro for one that cannot be written, ,overlay for one
    /// whose changes are forgotten, ,format=raw or qcow2 [default: as its beginning tells],
    /// ,cache=none to go past the host's cache, ,backing=FILE (or any) for a file elsewhere that
    /// the image may be built on, ,bus=mmio or pci [default: as --virtio says] or, on sifive_u, sd;
    /// given again, the next disk
    #[arg(long, value_name = "FILE[,...]", add = ArgValueCompleter::new(complete::disk))]
    pub disk: Vec<DiskChoice>,
    /// A folder that the guest on the board virt sees, by the tag TAG [default: share, then share2
    /// and so on], which the guest debian has at /mnt/TAG: ,ro for one that it cannot change, ,9p to
    /// carry it by 9P instead of virtio-fs, ,cache=always for one that nobody else changes,
    /// ,cache=none to ask the host each time [default: auto, at most a second old], ,owner=UID:GID
    /// for whose your files are in the guest [default: root's]; given again, the next folder
    #[arg(long, value_name = "DIR[:TAG][,...]", add = ArgValueCompleter::new(complete::share))]
    pub share: Vec<ShareChoice>,
    /// What virtio devices are attached to: mmio, the eight places of the board virt, or pci
    /// [default: mmio if there is room for all, else pci for the disks]
    #[arg(long, value_name = "BUS", add = ArgValueCandidates::new(complete::buses))]
    pub virtio: Option<VirtioBus>,
    /// A memory balloon on the board virt, by which the guest reports what is free of its memory, and
    /// the host has it back: how much the guest is to give up beside that at its start, until it needs
    /// it; none for no balloon [default: 0 where a place is left]
    #[arg(long, value_name = "SIZE | none", add = ArgValueCandidates::new(complete::balloons))]
    pub balloon: Option<Balloon>,
    /// A network card of the board virt, or that of sifive_u: user, a NAT in a process of its own,
    /// and ,host=allow for one whose gateway is the host's loopback, ,mtu=N and others; tap=NAME, a
    /// tap device, and ,queues=N or ,mtu=N; both with ,mac=ADDRESS; none for no card; given again, the next one
    /// [default: user for a guest with a root disk, else none]
    #[arg(long, value_name = "NAME[,...]", add = ArgValueCompleter::new(complete::net))]
    pub net: Vec<NetGiven>,
    /// Offer a port of the guest's on the host's 127.0.0.1, or at ADDR, by the user network; may be
    /// given again
    #[arg(long, value_name = "[ADDR:]HOST:GUEST[/udp]")]
    pub publish: Vec<host_net::Publish>,
    /// A socket device of the board virt (virtio-vsock): who connects to the socket at PATH and says
    /// "CONNECT PORT" has that port of the guest's; ,host=allow for a guest whose connections to port
    /// N of the host go to the socket PATH_N, ,cid=N for its context id [default: 3]
    #[arg(long, value_name = "PATH[,...]")]
    pub vsock: Option<VsockChoice>,
    /// Flash memory of the board virt: a file of 32 MiB, with what --disk takes behind it; the first
    /// bank, which must be ,ro, has the program that starts in the kernel's place, such as EDK2; given
    /// again, the second bank, which keeps what is written
    #[arg(long, value_name = "FILE,...", add = ArgValueCompleter::new(complete::disk))]
    pub pflash: Vec<DiskChoice>,
    /// Keep the guest by this name: its machine and its disk. Given again, goes on with them; other
    /// options then hold for this run only
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::guests))]
    pub name: Option<Name>,
    /// Run the guest in the background once it has started; `hostel attach NAME` is its console
    #[arg(long, short = 'd', requires = "name", conflicts_with = "print_config")]
    pub detach: bool,
    // The process that `--detach` starts.
    #[arg(long, hide = true, requires = "detach")]
    pub in_background: bool,
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// Name translated code for Linux `perf`, in /tmp/perf-PID.map
    #[arg(long, conflicts_with = "print_config")]
    pub perf_map: bool,
    /// Print the machine as TOML, for `hostel run FILE.toml`, and do not run it
    #[arg(long, conflicts_with_all = ["mirror", "suite", "offline"])]
    pub print_config: bool,
}

/// Options of `hostel bench`.
#[derive(Debug, Args)]
pub struct MeasureOptions {
    #[command(flatten)]
    pub bench: app_bench::BenchOptions,
    #[command(flatten)]
    pub fetch: FetchOptions,
}

/// Options of `hostel doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel doctor

Exit status:
  0, or 1 if something is missing that `hostel run` needs")]
pub struct DoctorOptions {}

/// Options of `hostel isa`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel isa                             sensitive instructions of both
  hostel isa x86-64 | grep VIOLATION     what x86 shows without a trap
  hostel isa riscv64 --all

Words:
  privileged   sensitive, and always traps in user mode
  by control   sensitive, and traps in user mode where the control in brackets says so
  VIOLATION    sensitive, and never traps: trap and emulate cannot see it
  innocuous    neither reads nor changes what belongs to the machine")]
pub struct IsaOptions {
    /// The instruction set: riscv64 or x86-64 [default: both]
    #[arg(add = ArgValueCandidates::new(complete::instruction_sets))]
    pub set: Option<InstructionSet>,
    /// Print the innocuous instructions, too
    #[arg(long)]
    pub all: bool,
}

/// Where guest images come from.
#[derive(Debug, Default, Args)]
pub struct FetchOptions {
    /// Fetch a missing image from this Debian archive [default: the one apt is set up with]
    #[arg(long, value_name = "URL", conflicts_with = "offline")]
    pub mirror: Option<String>,
    /// What that archive calls Debian's release [default: trixie]
    #[arg(long, value_name = "NAME", conflicts_with = "offline")]
    pub suite: Option<String>,
    /// Never use the network
    #[arg(long)]
    pub offline: bool,
}

impl FetchOptions {
    /// The first that was given, as it was given.
    pub fn given(&self) -> Option<&'static str> {
        let FetchOptions { mirror, suite, offline } = self;
        let all = [(mirror.is_some(), "--mirror"), (suite.is_some(), "--suite"), (*offline, "--offline")];
        all.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }

    /// As the image store takes them.
    pub fn options(self) -> host_image::Options {
        let mirror = self.mirror.map_or_else(Default::default, host_image::Mirror::Url);
        host_image::Options { mirror, suite: self.suite, offline: self.offline, ..Default::default() }
    }
}
