//! What is attached to a board's places for virtio devices, and the threads that do their I/O.

use crate::control::{Control, End};
use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::spec::{ClockKind, Note, Spec, Virtio};
use dev_virtio::{Attend, Attendant, Attended, Backend, Identity, Mmio, Rng, When};
use dev_virtio_blk::Blk;
use dev_virtio_share::{Carrier, Patience};
use fabric_bus::Dma;
use host_loop::{Bell, Thread, Wait, Work};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use vm_board::board::{Board, DeviceKind, Placed};

/// Linux shows so many bytes of a thread's name.
const NAME: usize = 15;
/// How often a device's mistakes are told: a driver that makes them for ever fills no disk with them.
const MOST_COMPLAINTS: u32 = 10;

/// A virtio device, and how its thread is woken.
pub(crate) struct Attached {
    name: String,
    attendant: Arc<dyn Attend>,
    bell: Bell,
}

/// Refuses more devices than the board has places for.
pub(crate) fn check_places(board: &Board, devices: &[Virtio]) -> Result<(), BuildError> {
    let is_place = |placed: &&Placed| matches!(placed.kind, DeviceKind::VirtioMmio { .. });
    let places = board.devices.iter().filter(is_place).count();
    match devices.len() > places {
        true => Err(BuildError::VirtioPlaces { board: board.name, places, wanted: devices.len() }),
        false => Ok(()),
    }
}

impl Plugging<'_> {
    /// Plugs in what is attached to place `place`, or the empty place.
    pub(crate) fn plug_virtio(&mut self, placed: &Placed, spec: &Spec, place: u32) -> Result<(), BuildError> {
        let at = place as usize;
        let Some(virtio) = spec.virtio.get(at) else {
            self.add(placed, Mmio::new(Identity::absent()))?;
            return Ok(());
        };
        let same = |other: &&Virtio| other.model() == virtio.model();
        let name = format!("{} {}", virtio.model(), spec.virtio.iter().take(at).filter(same).count());
        let bell = Bell::new().map_err(BuildError::Thread)?;
        let dma = Dma::new(Arc::clone(&self.memory), place);
        let at_once = spec.clock == ClockKind::Virtual;
        let host = Host { name: &name, note: &spec.note, bell: &bell, at_once, cpus: self.board.cpus };
        let (identity, backend) = host.backend(virtio)?;
        let complain = host.complain();
        let when = host.when();
        let mut attached = None;
        let slot = self.add_behind(placed, Mmio::new(identity), |slot| {
            let attendant = Attendant::new(Arc::clone(slot), dma, backend, complain);
            attached = Some(Arc::clone(&attendant));
            Arc::new(Attended::new(Arc::clone(slot), attendant, when))
        })?;
        if let Some(attendant) = attached {
            if !at_once {
                let bell = bell.clone();
                slot.connect(Arc::new(move |_| bell.ring()));
            }
            self.devices.virtio.push(Attached { name, attendant, bell });
        }
        Ok(())
    }
}

/// The host's side of a device.
struct Host<'a> {
    name: &'a str,
    note: &'a Option<Note>,
    bell: &'a Bell,
    /// Whether the harts do all I/O.
    at_once: bool,
    cpus: u32,
}

impl Host<'_> {
    /// What a device is and does.
    fn backend(&self, virtio: &Virtio) -> Result<(Identity, Box<dyn Backend>), BuildError> {
        Ok(match virtio {
            Virtio::Entropy(source) => {
                let source = Arc::clone(source);
                let fill = move |bytes: &mut [u8]| {
                    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                    source(bytes)
                };
                (Rng::identity(), Box::new(Rng::new(fill)))
            }
            Virtio::Disk { disk, id } => {
                let identity = dev_virtio_blk::identity(&**disk, self.cpus);
                let (disk, queues) = (Arc::clone(disk), identity.queues.len());
                let tell = self.teller();
                let trouble = Box::new(move |error: &host_disk::DiskError| tell(&error.to_string()));
                let blk = match self.at_once {
                    true => Blk::straight(disk, id, queues, trouble),
                    false => {
                        let bell = self.bell.clone();
                        Blk::queued(disk, id, queues, trouble, move || bell.ring())
                            .map_err(BuildError::Thread)?
                    }
                };
                (identity, Box::new(blk))
            }
            Virtio::Share { server, tag } => {
                let protocol = server.protocol();
                let identity = dev_virtio_share::identity(protocol, tag, self.cpus);
                let patience = if self.at_once { Patience::AT_ONCE } else { Patience::THREAD };
                let (server, queues, tell) = (Arc::clone(server), identity.queues.len(), self.teller());
                let trouble = Box::new(move |text: &str| tell(text));
                (identity, Box::new(Carrier::new(server, protocol, queues, patience, trouble)))
            }
        })
    }

    fn when(&self) -> When {
        if self.at_once {
            return When::AtOnce;
        }
        let bell = self.bell.clone();
        When::Eagerly(Box::new(move || bell.ring()))
    }

    /// Tells somebody what happened to this device, so often and no more.
    fn teller(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let (name, note, told) = (self.name.to_owned(), self.note.clone(), AtomicU32::new(0));
        move |text| {
            let before = told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
            let (Some(note), Ok(before)) = (&note, before) else { return };
            let more = if before + 1 == MOST_COMPLAINTS { " (told for the last time)" } else { "" };
            if before < MOST_COMPLAINTS {
                note(&format!("{name}: {text}{more}"));
            }
        }
    }

    /// Tells why a device gave up.
    fn complain(&self) -> impl Fn(dev_virtio::Broken) + Send + Sync + use<> {
        let tell = self.teller();
        move |broken| tell(&format!("its driver gave it {}; it waits for a reset", broken.0))
    }
}

/// What a device's thread does. A panic ends the machine, not just the thread, for whose device the guest would wait.
struct Attending {
    name: String,
    attendant: Arc<dyn Attend>,
    control: Arc<Control>,
}

impl Work for Attending {
    fn work(&mut self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.attendant.attend())).unwrap_or_else(|_| {
            self.control.finish(End::Broken(format!("the thread of {} panicked", self.name)));
            false
        })
    }

    fn waits(&mut self) -> Vec<Wait> {
        let watched = self.attendant.watched().into_iter();
        watched.map(|watched| Wait { fd: watched.fd, read: watched.read, write: watched.write }).collect()
    }
}

/// Starts the threads of these devices. They end when they are dropped.
pub(crate) fn spawn(devices: &[Attached], control: &Arc<Control>) -> io::Result<Vec<Thread>> {
    let spawn = |device: &Attached| {
        let thread: String = device.name.replace(' ', "-").chars().take(NAME).collect();
        let (name, attendant) = (device.name.clone(), Arc::clone(&device.attendant));
        let work = Attending { name, attendant, control: Arc::clone(control) };
        Thread::spawn(&thread, device.bell.clone(), work)
    };
    devices.iter().map(spawn).collect()
}

/// Returns once no device touches memory any more, with everything finished that was begun.
pub(crate) fn quiesce(devices: &[Attached]) {
    devices.iter().for_each(|device| device.attendant.quiesce());
}

#[cfg(test)]
mod tests {
    use super::*;
    use dev_virtio::Watched;

    struct Faulty;

    impl Attend for Faulty {
        fn attend(&self) -> bool {
            panic!("as this test wants it")
        }

        fn quiesce(&self) {}

        fn watched(&self) -> Vec<Watched> {
            Vec::new()
        }
    }

    #[test]
    fn a_panic_in_a_devices_thread_ends_the_machine() {
        let control = Control::new(1);
        let device =
            Attached { name: "disk 0".into(), attendant: Arc::new(Faulty), bell: Bell::new().unwrap() };
        let threads = spawn(&[device], &control).unwrap();
        assert_eq!(control.wait(|| ()), End::Broken("the thread of disk 0 panicked".into()));
        drop(threads);
    }
}
