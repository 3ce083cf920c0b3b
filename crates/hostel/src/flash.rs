//! Flash memory, and guests that are boot loaders: what contradicts itself, and what the banks hold.

use crate::description::Description;
use crate::disk::DiskChoice;
use crate::say;
use anyhow::{anyhow, bail};
use host_image::{Image, Loader};

/// The keys of a machine description that are to blame, and what for.
type Mistake = (&'static [&'static str], anyhow::Error);

/// How the machine's guest starts, if it is a boot loader.
pub fn loader(machine: &Description) -> Option<Loader> {
    machine.guest.as_deref().and_then(host_image::loader)
}

/// Refuses what only a kernel would see, where there is a boot loader in its place.
pub fn check_loader(machine: &Description) -> Result<(), Mistake> {
    let Some((guest, _)) = machine.guest.as_ref().zip(loader(machine)) else { return Ok(()) };
    for (key, given) in [("initrd", machine.initrd.is_some()), ("append", machine.append.is_some())] {
        if given {
            let error = anyhow!(
                "--{key} has no effect: {guest} is a boot loader, which gives a kernel what its disk says; leave it out"
            );
            return Err((&["initrd", "append"], error));
        }
    }
    if loader(machine).is_some_and(|loader| matches!(loader, Loader::Flash { .. }))
        && machine.machine.flash_banks() == 0
    {
        let error = anyhow!(
            "the guest {guest} is in flash memory, and the board {} has none; use --machine virt",
            machine.machine
        );
        return Err((&["machine", "guest"], error));
    }
    Ok(())
}

/// Refuses flash memory that the board does not have, or that contradicts itself.
pub fn check(machine: &Description) -> anyhow::Result<()> {
    let (board, banks, given) = (machine.machine, machine.machine.flash_banks(), machine.flash.len());
    if let Some(bank) = machine.flash.iter().find(|bank| bank.bus.is_some()) {
        bail!(
            "{} is flash memory, which is on no bus for virtio devices; leave ,bus out",
            bank.file.display()
        );
    }
    // A guest's own comes first.
    if let (Some(Loader::Flash { .. }), Some(guest)) = (loader(machine), &machine.guest) {
        if given >= banks {
            bail!(
                "the guest {guest} is in the first bank of the flash memory; give one file, for the second, not {given}"
            );
        }
        return match machine.flash.iter().find_map(DiskChoice::problem) {
            Some(problem) => bail!("{problem}"),
            None => Ok(()),
        };
    }
    match machine.flash.first() {
        Some(_) if banks == 0 => bail!("the board {board} has no flash memory; use --machine virt"),
        Some(_) if given > banks => bail!("the board {board} has {banks} banks of flash memory, not {given}"),
        Some(first) if !first.ro => bail!(
            "the machine starts from the first bank of its flash memory, so {name} must not change; write {name},ro",
            name = first.file.display()
        ),
        _ => {}
    }
    match machine.flash.iter().find_map(DiskChoice::problem) {
        Some(problem) => bail!("{problem}"),
        None => Ok(()),
    }
}

/// What a guest's own flash memory holds, before what the user gives.
pub fn own_banks(machine: &Description, image: Option<&Image>) -> Vec<DiskChoice> {
    let (Some(Loader::Flash { code, variables }), Some(image)) = (loader(machine), image) else {
        return Vec::new();
    };
    let own = |name: &str| DiskChoice {
        file: image.file(name).unwrap_or_default(),
        format: Some(host_disk::Format::Raw),
        ..DiskChoice::default()
    };
    let mut banks = vec![DiskChoice { ro: true, ..own(code) }];
    if machine.flash.is_empty() {
        say::note("what this firmware stores in its variables is gone when it ends; --pflash FILE keeps it");
        banks.push(DiskChoice { overlay: true, ..own(variables) });
    }
    banks
}
