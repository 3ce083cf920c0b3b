//! SiFive's SPI controllers, and the SD card behind one, whose storage is a host's disk.

use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::plug_virtio::{Attached, teller};
use crate::spec::{ClockKind, Spec};
use dev_core::Slot;
use dev_sd::{Card, Identity, Storage, Wanted};
use dev_sifive::{Spi, SpiConfig};
use dev_virtio::{Attend, Watched};
use fabric_bus::{BusFault, Target};
use host_loop::Bell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vm_board::board::{DeviceKind, Placed};

/// What the card is called where something is told of it.
const NAME: &str = "SD card";

/// Refuses a card that the board has no slot for.
pub(crate) fn check_slot(spec: &Spec) -> Result<(), BuildError> {
    let is_slot = |placed: &Placed| matches!(placed.kind, DeviceKind::SifiveSpi { slot: true, .. });
    match spec.sd {
        Some(_) if !spec.board.devices.iter().any(is_slot) => Err(BuildError::NoSlot(spec.board.name)),
        _ => Ok(()),
    }
}

/// Who does the card's jobs.
struct Keeper {
    slot: Arc<Slot<Spi>>,
    storage: Mutex<Storage>,
}

impl Keeper {
    fn storage(&self) -> MutexGuard<'_, Storage> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job, and what its end makes of it.
    fn begin(&self, wanted: Option<Wanted>) {
        let mut wanted = wanted;
        while let Some(job) = wanted.take() {
            // Not while the slot is locked: a disk may take its time.
            let Some((number, done)) = self.storage().begin(job) else { return };
            wanted = self.finish(number, done);
        }
    }

    /// Tells the card of the end of a job; gives the next one.
    fn finish(&self, number: u64, done: Option<Vec<u8>>) -> Option<Wanted> {
        self.slot.with(|spi, _| {
            let card = spi.card()?;
            card.finish(number, done);
            card.take_job()
        })
    }

    /// Takes the ends that have come.
    fn take(&self) {
        let ends = self.storage().take();
        for (number, done) in ends {
            let next = self.finish(number, done);
            self.begin(next);
        }
    }
}

impl Attend for Keeper {
    fn attend(&self) -> bool {
        // After a snapshot was taken back, there may be a job that nobody is at.
        let job = self.slot.with(|spi, _| spi.card().and_then(Card::take_job));
        self.begin(job);
        self.take();
        false
    }

    fn quiesce(&self) {
        // Also what a job's end asks for; a card alone asks for nothing for ever.
        loop {
            self.attend();
            let storage = self.storage();
            if storage.is_quiet() {
                return;
            }
            storage.wait();
        }
    }

    fn watched(&self) -> Vec<Watched> {
        Vec::new()
    }
}

/// The controller's window: what the card wants behind an access is begun at once.
struct Front(Arc<Keeper>);

impl Target for Front {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.0.slot.read(offset, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        let (done, job) = self.0.slot.with(|spi, now| {
            let done = dev_core::Device::write(spi, offset, size, value, now).map_err(|_| BusFault);
            (done, spi.card().and_then(Card::take_job))
        });
        self.0.begin(job);
        done
    }
}

impl Plugging<'_> {
    /// Plugs in a controller, with the machine's card if the slot is behind it.
    pub(crate) fn plug_spi(
        &mut self,
        placed: &Placed,
        spec: &Spec,
        config: SpiConfig,
        slot: bool,
    ) -> Result<(), BuildError> {
        let Some(disk) = spec.sd.as_ref().filter(|_| slot) else {
            self.add(placed, Spi::new(config, None))?;
            return Ok(());
        };
        let card = Card::new(Identity::new(disk.size(), disk.read_only())?);
        let bell = Bell::new().map_err(BuildError::Thread)?;
        let tell = teller(NAME, &spec.note);
        let trouble = Box::new(move |error: &host_disk::DiskError| tell(&error.to_string()));
        let storage = match spec.clock {
            // With a virtual clock, the hart does all I/O at once.
            ClockKind::Virtual => Storage::straight(Arc::clone(disk), trouble),
            ClockKind::Real => {
                let bell = bell.clone();
                Storage::queued(Arc::clone(disk), trouble, move || bell.ring()).map_err(BuildError::Thread)?
            }
        };
        let storage = Mutex::new(storage);
        let mut keeper = None;
        self.add_behind(placed, Spi::new(config, Some(card)), |slot| {
            let new = Arc::new(Keeper { slot: Arc::clone(slot), storage });
            keeper = Some(Arc::clone(&new));
            Arc::new(Front(new))
        })?;
        let attached = keeper.map(|keeper| Attached { name: NAME.to_owned(), attendant: keeper, bell });
        self.devices.virtio.extend(attached);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use dev_sd::checksum;
    use fabric_clock::{Clock, Timers};
    use host_disk::{Disk, HostFile, Raw};
    use std::io::Write;

    const TXDATA: u64 = 0x48;
    const RXDATA: u64 = 0x4c;

    /// A card of 512 KiB, each of whose blocks is full of its number, behind a controller that keeps it selected.
    fn front() -> (Front, Bell) {
        let mut file = tempfile::tempfile().unwrap();
        (0..1024_u32).for_each(|block| file.write_all(&[block as u8; 512]).unwrap());
        let medium = HostFile::new(file, true, host_disk::Cache::Writeback).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(Raw::new(Arc::new(medium), false).unwrap());
        let card = Card::new(Identity::new(disk.size(), false).unwrap());
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let slot =
            Slot::new(Spi::new(SpiConfig { selects: 1, flash: false }, Some(card)), Vec::new(), &timers);
        let bell = Bell::new().unwrap();
        let ring = bell.clone();
        let storage = Storage::queued(disk, Box::new(|_| ()), move || ring.ring()).unwrap();
        let front = Front(Arc::new(Keeper { slot, storage: Mutex::new(storage) }));
        front.write(0x18, 4, 2).unwrap();
        (front, bell)
    }

    fn exchange(front: &Front, byte: u8) -> u8 {
        front.write(TXDATA, 4, byte.into()).unwrap();
        front.read(RXDATA, 4).unwrap() as u8
    }

    fn command(front: &Front, number: u8, argument: u32) -> u8 {
        let [a, b, c, d] = argument.to_be_bytes();
        let frame = [0x40 | number, a, b, c, d];
        frame.iter().chain([checksum(&frame), 0xff].iter()).for_each(|&byte| _ = exchange(front, byte));
        exchange(front, 0xff)
    }

    #[test]
    fn a_card_reads_and_writes_its_disk_and_is_quiet_when_the_machine_stands_still() {
        let (front, _bell) = front();
        assert_eq!([command(&front, 0, 0), command(&front, 8, 0x1aa)], [1, 1]);
        (0..4).for_each(|_| _ = exchange(&front, 0xff));
        assert_eq!([command(&front, 55, 0), command(&front, 41, 1 << 30)], [1, 0]);
        assert_eq!(command(&front, 24, 7), 0);
        exchange(&front, 0xfe);
        (0..514).for_each(|_| _ = exchange(&front, 0xa5));
        assert_eq!(exchange(&front, 0xff), 5);
        // Nobody but this takes the end of the flush.
        front.0.quiesce();
        assert_eq!(exchange(&front, 0xff), 0xff, "it is not busy any more");
        for (block, byte) in [(6, 6), (7, 0xa5), (1023, 255)] {
            assert_eq!(command(&front, 17, block), 0);
            front.0.quiesce();
            while exchange(&front, 0xff) != 0xfe {}
            assert!((0..512).all(|_| exchange(&front, 0xff) == byte));
            (0..2).for_each(|_| _ = exchange(&front, 0xff));
        }
    }
}
