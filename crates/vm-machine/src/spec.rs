//! What a machine is built from.

use crate::trace::Trace;
use dev_virtio::Answer;
use engine_kvm::Irqchip;
use host_disk::Disk;
use host_net::NetPort;
use host_share::{Protocol, ShareLink};
use host_vsock::Host;
use std::sync::{Arc, Mutex};

/// A file to be run, by its bytes.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name for messages.
    pub name: String,
    /// Contents.
    pub bytes: Arc<[u8]>,
}

/// What runs first.
#[derive(Clone, Debug)]
pub enum Bios {
    /// The VMM's own SBI; the kernel starts in S-mode.
    BuiltIn,
    /// Nothing: the kernel starts in M-mode.
    None,
    /// A firmware in M-mode.
    Program(Program),
}

/// Where guest time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockKind {
    /// The host's monotonic clock.
    #[default]
    Real,
    /// The instruction count: runs are repeatable. One hart only.
    Virtual,
}

/// How the translator works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitOptions {
    /// How often code is interpreted before it is translated.
    pub threshold: u8,
    /// The tiers of translation there are.
    pub tiers: engine_jit::Tiers,
}

impl Default for JitOptions {
    fn default() -> Self {
        JitOptions { threshold: 16, tiers: engine_jit::Tiers::default() }
    }
}

/// What executes the instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter of the board's instruction set.
    #[default]
    Interp,
    /// The translator, for RISC-V boards on x86-64 hosts.
    Jit(JitOptions),
    /// The translator and the interpreter in lock-step, up to the first difference: one hart and a virtual clock.
    Check(JitOptions),
    /// KVM, for x86-64 boards on x86-64 hosts; interrupt controllers in the kernel or of ours.
    Kvm(Irqchip),
}

/// Where random bytes come from, for as many machines as there are after each other: fills what it is given, and says how many
/// bytes it had.
pub type RandomSource = Arc<Mutex<dyn FnMut(&mut [u8]) -> usize + Send>>;

/// Who is told, in a line, what somebody at the machine's side should know.
pub type Note = Arc<dyn Fn(&str) + Send + Sync>;

/// A virtio device, with what it is joined to on the host's side.
#[derive(Clone)]
pub enum Virtio {
    /// A source of entropy.
    Entropy(RandomSource),
    /// A disk.
    Disk {
        /// It. Whoever has it, too, closes it behind the machine.
        disk: Arc<dyn Disk>,
        /// What the guest is told that it is called; 20 bytes of it.
        id: String,
    },
    /// A folder of the host's.
    Share {
        /// The process that serves it. Machines after each other may have the same, as each driver begins anew.
        server: Arc<ShareLink>,
        /// What the guest mounts it by; 36 bytes of it.
        tag: String,
    },
    /// A network card; not with a virtual clock, because frames come when they come.
    Net {
        /// What it is joined to: a pair of queues for each, at least one.
        ports: Vec<Arc<dyn NetPort>>,
        /// Its link-layer address.
        mac: [u8; 6],
    },
    /// A power button, which [`crate::Machine::power_button`] presses; over memory-mapped registers only.
    PowerButton,
    /// Consoles and named ports ([`crate::Machine::virtio_ports`]); not with a virtual clock, because what is typed comes when it
    /// comes.
    Console {
        /// How many consoles there are: the first is that of drivers that know nothing of several ports.
        consoles: usize,
        /// The names of the ports behind them. At most [`dev_virtio_console::MOST_PORTS`] of all, one of which is a console's even
        /// if there is none.
        ports: Vec<String>,
    },
    /// A socket device; not with a virtual clock, likewise.
    Vsock {
        /// The guest's context id, at least [`dev_virtio_vsock::FIRST_CID`].
        cid: u32,
        /// Who is on the host. Machines after each other may have the same.
        host: Arc<dyn Host>,
    },
    /// A memory balloon.
    Balloon {
        /// Bytes that the guest is asked to put into it at its start.
        bytes: u64,
    },
}

impl Virtio {
    /// What its model is called.
    pub fn model(&self) -> &'static str {
        match self {
            Virtio::Entropy(_) => "virtio-rng",
            Virtio::Disk { .. } => "virtio-blk",
            Virtio::Share { server, .. } => match server.protocol() {
                Protocol::Fuse => "virtio-fs",
                Protocol::Nine => "virtio-9p",
            },
            Virtio::Net { .. } => "virtio-net",
            Virtio::PowerButton => "virtio-input",
            Virtio::Console { .. } => "virtio-console",
            Virtio::Vsock { .. } => "virtio-vsock",
            Virtio::Balloon { .. } => "virtio-balloon",
        }
    }

    /// How its configuration space answers the driver, if it does.
    pub(crate) fn answer(&self) -> Option<Answer> {
        match self {
            Virtio::PowerButton => Some(Answer(dev_virtio_input::answer)),
            _ => None,
        }
    }
}

/// Everything that makes a machine what it is.
#[derive(Clone)]
pub struct Spec {
    /// The board with its harts, memory and devices.
    pub board: vm_board::board::Board,
    /// What runs first.
    pub bios: Bios,
    /// What the banks of the board's flash memory hold, the first ones. Where there is one, its program starts in the
    /// kernel's place, and finds kernel, initial RAM disk and command line by fw_cfg. Whoever has the disks, too, closes
    /// them behind the machine.
    pub flash: Vec<Arc<dyn Disk>>,
    /// The kernel, or a boot loader in its place.
    pub kernel: Option<Program>,
    /// The initial RAM disk.
    pub initrd: Option<Program>,
    /// The kernel's command line.
    pub append: Option<String>,
    /// Where guest time comes from.
    pub clock: ClockKind,
    /// The wall clock at the start, in nanoseconds since 1970.
    pub wall_start_ns: u64,
    /// Bytes that seed the kernel's random numbers.
    pub rng_seed: Vec<u8>,
    /// Stop after so many instructions of the hart that boots.
    pub budget: Option<u64>,
    /// What executes the instructions.
    pub engine: Engine,
    /// Whether translated code is named for Linux `perf`, in /tmp/perf-PID.map.
    pub perf_map: bool,
    /// Who is told of every access to a device.
    pub trace: Option<Arc<dyn Trace>>,
    /// The virtio devices over memory-mapped registers, by number of their place on the board.
    pub virtio: Vec<Virtio>,
    /// Those on PCI, likewise.
    pub virtio_pci: Vec<Virtio>,
    /// The SD card in the board's slot. Whoever has it, too, closes it behind the machine.
    pub sd: Option<Arc<dyn Disk>>,
    /// What the board's own network card is joined to; not with a virtual clock, because frames come when they come.
    pub ethernet: Option<Arc<dyn NetPort>>,
    /// Who is told of devices that give up.
    pub note: Option<Note>,
    /// Frequency of the time-stamp counter of x86 processors in Hz; `None` for 1 GHz, or what KVM gives.
    pub tsc_hz: Option<u64>,
}
