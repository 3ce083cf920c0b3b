//! What disks and virtio devices are attached to: the board's places at memory-mapped registers, PCI, or a slot for an SD
//! card.

use crate::balloon::Balloon;
use crate::choice::{ChoiceError, Machine, one_of};
use crate::description::{Description, image};
use crate::text::from_text;
use anyhow::bail;
use std::fmt;
use std::str::FromStr;
use vm_board::size::Size;
use vm_machine::ClockKind;

/// A bus that virtio devices are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtioBus {
    /// The board's places at memory-mapped registers.
    Mmio,
    /// PCI.
    Pci,
}

impl fmt::Display for VirtioBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VirtioBus::Mmio => "mmio",
            VirtioBus::Pci => "pci",
        })
    }
}

impl FromStr for VirtioBus {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        one_of("bus of virtio device", text, &VirtioBus::ALL)
    }
}

impl VirtioBus {
    /// Both.
    pub const ALL: [VirtioBus; 2] = [VirtioBus::Mmio, VirtioBus::Pci];
}

from_text! {
    VirtioBus: "\"mmio\" or \"pci\"";
    DiskBus: "\"mmio\", \"pci\" or \"sd\"";
}

/// A virtio device that is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    /// Where the user wants it.
    bus: Option<VirtioBus>,
    /// Guests count disks, and expect them in the order in which they were given.
    counted: bool,
}

/// What a disk is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskBus {
    /// Virtio, over this.
    Virtio(VirtioBus),
    /// The board's slot for an SD card.
    Sd,
}

impl fmt::Display for DiskBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskBus::Virtio(bus) => bus.fmt(f),
            DiskBus::Sd => f.write_str("sd"),
        }
    }
}

impl FromStr for DiskBus {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let all = [DiskBus::Virtio(VirtioBus::Mmio), DiskBus::Virtio(VirtioBus::Pci), DiskBus::Sd];
        one_of("bus of disk", text, &all)
    }
}

/// What devices a machine has, in this order: the guest's own disk, the disks, network cards, shared folders, the console,
/// the socket device, entropy.
fn wishes(machine: &Description) -> Vec<Wish> {
    let own = machine.guest.as_deref().and_then(image).filter(|image| image.disk);
    let own = own.map(|_| Wish { bus: machine.virtio, counted: true });
    let disks = machine.disks.iter().map(|disk| match disk.bus {
        Some(DiskBus::Virtio(bus)) => Wish { bus: Some(bus), counted: true },
        // Refused where there is virtio.
        Some(DiskBus::Sd) | None => Wish { bus: machine.virtio, counted: true },
    });
    let few = [machine.has_virtio_console(), machine.vsock.is_some(), true];
    let few = few.into_iter().filter(|there| *there).count();
    let others = machine.nets.len() + machine.shares.len() + few;
    let others = std::iter::repeat_n(Wish { bus: machine.virtio, counted: false }, others);
    own.into_iter().chain(disks).chain(others).collect()
}

/// Where each is attached, if there are `mmio` places at memory-mapped registers. Devices for which nothing is said are there if
/// there is room for all of them; else the disks among them are all on PCI, so that they stay in their order, and the
/// others as well from where there is no room on.
fn buses(wishes: &[Wish], mmio: usize) -> Vec<VirtioBus> {
    let fixed = wishes.iter().filter(|wish| wish.bus == Some(VirtioBus::Mmio)).count();
    let mut left = mmio.saturating_sub(fixed);
    let all_fit = wishes.iter().filter(|wish| wish.bus.is_none()).count() <= left;
    let place = |wish: &Wish| {
        wish.bus.unwrap_or_else(|| {
            if left == 0 || wish.counted && !all_fit {
                return VirtioBus::Pci;
            }
            left -= 1;
            VirtioBus::Mmio
        })
    };
    wishes.iter().map(place).collect()
}

/// Where the virtio devices of a machine are attached, in their order; none are on a board without places.
pub fn of(machine: &Description) -> Vec<VirtioBus> {
    match machine.machine.virtio_places() {
        (0, 0) => Vec::new(),
        (mmio, _) => buses(&wishes(machine), mmio),
    }
}

/// Where the memory balloon is attached, if the machine has one: behind all others, where a place is left, as nobody asks for
/// it. At memory-mapped registers the power button takes one before it.
pub fn of_balloon(machine: &Description) -> Option<VirtioBus> {
    if machine.balloon == Some(Balloon::None) {
        return None;
    }
    let (mmio, pci) = machine.machine.virtio_places();
    let all = of(machine);
    let used = |bus| all.iter().filter(|it| **it == bus).count();
    let button = usize::from(machine.clock.0 == ClockKind::Real);
    let free = |bus| match bus {
        VirtioBus::Mmio => used(bus) + button < mmio,
        VirtioBus::Pci => used(bus) < pci,
    };
    let wanted = machine.virtio.map_or([VirtioBus::Mmio, VirtioBus::Pci], |bus| [bus, bus]);
    wanted.into_iter().find(|bus| free(*bus))
}

/// Refuses more devices on a bus than the board has room for.
///
/// # Errors
/// What to do about it.
pub fn check(machine: &Description) -> anyhow::Result<()> {
    let slots = machine.machine.sd_slots();
    for bus in machine.disks.iter().filter_map(|disk| disk.bus) {
        match bus {
            DiskBus::Sd if slots == 0 => {
                bail!("the board {} has no slot for an SD card; leave bus=sd out", machine.machine)
            }
            DiskBus::Virtio(_) if slots > 0 => bail!(
                "the board {} has no virtio devices to put on bus {bus}; its disk is an SD card: leave bus={bus} out",
                machine.machine
            ),
            _ => {}
        }
    }
    let (mmio, pci) = machine.machine.virtio_places();
    let all = of(machine);
    for (bus, room, other) in
        [(VirtioBus::Mmio, mmio, VirtioBus::Pci), (VirtioBus::Pci, pci, VirtioBus::Mmio)]
    {
        let given = all.iter().filter(|it| **it == bus).count();
        if given > room {
            bail!(
                "the board {} has room for {room} virtio devices with bus {bus}, not {given}; put some on \
                 bus {other}",
                machine.machine
            );
        }
    }
    match (machine.balloon, of_balloon(machine)) {
        (Some(_), _) if mmio + pci == 0 => {
            bail!("the board {} has no place for a memory balloon; leave --balloon out", machine.machine)
        }
        (Some(Balloon::Bytes(bytes)), _) if bytes >= machine.memory.0 => bail!(
            "a memory balloon of {} leaves nothing of the guest's {}; choose a smaller --balloon",
            Size(bytes),
            Size(machine.memory.0)
        ),
        (Some(Balloon::Bytes(_)), None) => bail!(
            "the board {} has no place left for a memory balloon; leave --balloon out, or a disk",
            machine.machine
        ),
        _ => {}
    }
    if let (Some(bus), true) = (machine.virtio, all.is_empty()) {
        bail!("the board {} has no virtio devices to put on bus {bus}; leave --virtio out", machine.machine);
    }
    Ok(())
}

impl Machine {
    /// How many virtio devices there is room for: at memory-mapped registers, and on PCI.
    pub fn virtio_places(self) -> (usize, usize) {
        match self {
            Machine::Virt => (vm_board::virt::VIRTIO_PLACES, vm_board::virt::MAX_VIRTIO_CARDS as usize),
            Machine::Spike | Machine::SifiveU | Machine::Microvm => (0, 0),
        }
    }

    /// How many SD cards there is room for.
    pub fn sd_slots(self) -> usize {
        match self {
            Machine::SifiveU => 1,
            Machine::Virt | Machine::Spike | Machine::Microvm => 0,
        }
    }

    /// How many network cards there are on the board itself.
    pub fn ethernet(self) -> usize {
        match self {
            Machine::SifiveU => 1,
            Machine::Virt | Machine::Spike | Machine::Microvm => 0,
        }
    }

    /// How many virtio devices there is room for besides the entropy device.
    pub fn virtio_room(self) -> usize {
        let (mmio, pci) = self.virtio_places();
        (mmio + pci).saturating_sub(1)
    }

    /// How many disks there is room for.
    pub fn disks(self) -> usize {
        self.virtio_room() + self.sd_slots()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, Verb};
    use VirtioBus::{Mmio, Pci};
    use clap::Parser;

    /// Disks with these wishes, and an entropy device with none.
    fn placed(disks: &[Option<VirtioBus>], mmio: usize) -> Vec<VirtioBus> {
        let disks = disks.iter().map(|&bus| Wish { bus, counted: true });
        let all: Vec<_> = disks.chain([Wish { bus: None, counted: false }]).collect();
        buses(&all, mmio)
    }

    #[test]
    fn what_fits_is_at_registers_and_disks_stay_together() {
        assert_eq!(placed(&[None; 2], 3), [Mmio, Mmio, Mmio]);
        assert_eq!(placed(&[None; 3], 3), [Pci, Pci, Pci, Mmio]);
        assert_eq!(placed(&[None; 1], 0), [Pci, Pci]);
    }

    #[test]
    fn what_is_said_is_done() {
        assert_eq!(placed(&[Some(Pci), None], 2), [Pci, Mmio, Mmio]);
        assert_eq!(placed(&[Some(Mmio), None, None], 3), [Mmio, Pci, Pci, Mmio]);
        assert_eq!(placed(&[Some(Mmio); 2], 1), [Mmio, Mmio, Pci]);
    }

    /// Where a machine of these options has its balloon.
    fn balloon(arguments: &[&str]) -> Option<VirtioBus> {
        let all = ["hostel", "run", "--kernel", "k"].iter().chain(arguments);
        let Some(Verb::Run(options)) = Command::parse_from(all).verb else { panic!("it is run") };
        of_balloon(&crate::description::resolve(&options).unwrap().0)
    }

    #[test]
    fn a_balloon_is_where_a_place_is_left() {
        assert_eq!(balloon(&[]), Some(Mmio));
        assert_eq!(balloon(&["--balloon", "none"]), None);
        assert_eq!(balloon(&["--virtio", "pci"]), Some(Pci));
        // Seven places are those of disks and entropy, and the last one is the power button's.
        let disks = ["--disk", "d"].repeat(6);
        assert_eq!(balloon(&disks), Some(Pci));
        let virtual_clock = [&disks[..], &["--clock", "virtual"]].concat();
        assert_eq!(balloon(&virtual_clock), Some(Mmio));
        assert_eq!(balloon(&[&disks[..], &["--virtio", "mmio"]].concat()), None);
    }
}
