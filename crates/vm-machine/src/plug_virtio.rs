//! What is attached to a board's places for virtio devices, and the threads that do their I/O.

use crate::control::{Control, End};
use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::spec::{ClockKind, Note, Spec, Virtio};
use dev_core::Slot;
use dev_virtio::{Attend, Attendant, Attended, Backend, Identity, Mmio, Rng, Transport, When};
use dev_virtio_balloon::Balloon;
use dev_virtio_blk::Blk;
use dev_virtio_console::{Console, Port, Role};
use dev_virtio_input::{Button, Keys};
use dev_virtio_net::Net;
use dev_virtio_share::{Carrier, Patience};
use dev_virtio_vsock::Vsock;
use fabric_bus::Dma;
use host_loop::{Bell, Thread, Wait, Work};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use vm_board::board::{DeviceKind, PciKind, PciPlaced, Placed};

/// Linux shows so many bytes of a thread's name.
const NAME: usize = 15;
/// How often a device's mistakes are told: a driver that makes them for ever fills no disk with them.
const MOST_COMPLAINTS: u32 = 10;

/// A device that is attended to, a virtio device or another, and how its thread is woken.
pub(crate) struct Attached {
    pub name: String,
    pub attendant: Arc<dyn Attend>,
    pub bell: Bell,
}

/// The power button of a machine, for who presses it from outside.
#[derive(Clone)]
pub struct PowerButton {
    key: Button,
    bell: Bell,
}

impl PowerButton {
    /// Presses it. False if no driver of the guest's has it: nothing comes of that then. What the guest does about it is
    /// its own affair.
    pub fn press(&self) -> bool {
        let heard = self.key.press();
        self.bell.ring();
        heard
    }
}

/// Refuses more devices than the board has places for.
pub(crate) fn check_places(spec: &Spec) -> Result<(), BuildError> {
    let board = &spec.board;
    let is_place = |placed: &&Placed| matches!(placed.kind, DeviceKind::VirtioMmio { .. });
    let is_card = |card: &&PciPlaced| matches!(card.kind, PciKind::Virtio { .. });
    let mmio = board.devices.iter().filter(is_place).count();
    let pci = board.pci_functions().filter(is_card).count();
    for (at, places, wanted) in
        [("over memory-mapped registers", mmio, spec.virtio.len()), ("on PCI", pci, spec.virtio_pci.len())]
    {
        if wanted > places {
            return Err(BuildError::VirtioPlaces { board: board.name, at, places, wanted });
        }
    }
    Ok(())
}

/// A device that is not yet behind a transport.
pub(crate) struct Joint {
    name: String,
    backend: Box<dyn Backend>,
    dma: Dma,
    bell: Bell,
    complain: Box<dyn Fn(dev_virtio::Broken) + Send + Sync>,
    when: When,
    outlets: Outlets,
}

/// What of a device is reached from outside.
#[derive(Default)]
struct Outlets {
    button: Option<PowerButton>,
    ports: Vec<Port>,
}

impl Joint {
    /// Joins it to the transport in `slot`: the window behind which it is attended to, and what is kept of it.
    pub fn join<T: Transport>(self, slot: &Arc<Slot<T>>) -> (Attended<T>, Attached) {
        let Joint { name, backend, dma, bell, complain, when, outlets: _ } = self;
        if let When::Eagerly(_) = when {
            let bell = bell.clone();
            slot.connect(Arc::new(move |_| bell.ring()));
        }
        let attendant = Attendant::new(Arc::clone(slot), dma, backend, complain);
        let window = Attended::new(Arc::clone(slot), Arc::clone(&attendant), when);
        (window, Attached { name, attendant, bell })
    }
}

impl Plugging<'_> {
    /// Plugs in what is attached to place `place`, or the empty place.
    pub(crate) fn plug_virtio(&mut self, placed: &Placed, spec: &Spec, place: u32) -> Result<(), BuildError> {
        let Some(virtio) = spec.virtio.get(place as usize) else {
            self.add(placed, Mmio::new(Identity::absent()))?;
            return Ok(());
        };
        let (identity, joint) = self.joint(spec, virtio, place as usize, place)?;
        self.keep_outlets(&joint);
        let mut attached = None;
        self.add_behind(placed, Mmio::new(identity).answering(virtio.answer()), |slot| {
            let (window, kept) = joint.join(slot);
            attached = Some(kept);
            Arc::new(window)
        })?;
        self.devices.virtio.extend(attached);
        Ok(())
    }

    /// Keeps what of a device is reached from outside.
    pub(crate) fn keep_outlets(&mut self, joint: &Joint) {
        let Outlets { button, ports } = &joint.outlets;
        if button.is_some() {
            self.devices.button.clone_from(button);
        }
        let ports = ports.iter().map(|port| Arc::new(port.clone()) as _);
        self.devices.virtio_ports.extend(ports);
    }

    /// What is attached to place `place` on PCI.
    pub(crate) fn joint_on_pci(
        &self,
        spec: &Spec,
        card: &PciPlaced,
        place: u32,
    ) -> Result<Option<(Identity, Joint)>, BuildError> {
        let Some(virtio) = spec.virtio_pci.get(place as usize) else { return Ok(None) };
        // On the root bus, which is bus 0.
        let requester = u32::from(card.device) << 3 | u32::from(card.function);
        self.joint(spec, virtio, spec.virtio.len() + place as usize, requester).map(Some)
    }

    /// A device, the `at`-th of all, which reaches memory as `requester`.
    fn joint(
        &self,
        spec: &Spec,
        virtio: &Virtio,
        at: usize,
        requester: u32,
    ) -> Result<(Identity, Joint), BuildError> {
        let earlier = spec.virtio.iter().chain(&spec.virtio_pci).take(at);
        let alike = earlier.filter(|other| other.model() == virtio.model()).count();
        let name = format!("{} {alike}", virtio.model());
        let bell = Bell::new().map_err(BuildError::Thread)?;
        let dma = Dma::new(Arc::clone(&self.memory), requester);
        let at_once = spec.clock == ClockKind::Virtual;
        let host = Host { name: &name, note: &spec.note, bell: &bell, at_once, cpus: self.board.cpus };
        let mut outlets = Outlets::default();
        let (identity, backend) = host.backend(virtio, &mut outlets)?;
        let (complain, when) = (Box::new(host.complain()), host.when());
        Ok((identity, Joint { name, backend, dma, bell, complain, when, outlets }))
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
    fn backend(
        &self,
        virtio: &Virtio,
        outlets: &mut Outlets,
    ) -> Result<(Identity, Box<dyn Backend>), BuildError> {
        Ok(match virtio {
            Virtio::PowerButton => {
                let key = Button::default();
                // Without a thread there is nobody to hear of it.
                outlets.button =
                    (!self.at_once).then(|| PowerButton { key: key.clone(), bell: self.bell.clone() });
                (dev_virtio_input::identity(), Box::new(Keys::new(key)))
            }
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
            Virtio::Net { ports, mac } => {
                let Some(port) = ports.first() else { return Err(BuildError::NoPort) };
                if self.at_once {
                    return Err(BuildError::OutsideAndVirtualClock("network card"));
                }
                let identity = dev_virtio_net::identity(*mac, &**port, ports.len());
                (identity, Box::new(Net::new(ports).map_err(BuildError::Thread)?))
            }
            Virtio::Console { consoles, ports } => self.console(*consoles, ports, outlets)?,
            Virtio::Vsock { cid, host } => {
                if self.at_once {
                    return Err(BuildError::OutsideAndVirtualClock("socket device"));
                }
                let vsock = Vsock::new(*cid, Arc::clone(host));
                (dev_virtio_vsock::identity(*cid), Box::new(vsock))
            }
            Virtio::Balloon { bytes } => {
                let tell = self.teller();
                let refused = move |error: &io::Error| {
                    tell(&format!("this host does not take the guest's memory back: {error}"));
                };
                (dev_virtio_balloon::identity(*bytes), Box::new(Balloon::new(refused)))
            }
        })
    }

    /// Consoles and named ports.
    fn console(
        &self,
        consoles: usize,
        ports: &[String],
        outlets: &mut Outlets,
    ) -> Result<(Identity, Box<dyn Backend>), BuildError> {
        if self.at_once {
            return Err(BuildError::OutsideAndVirtualClock("virtio console"));
        }
        let port = |role| {
            let bell = self.bell.clone();
            Port::new(role, move || bell.ring())
        };
        // Port 0 is a console's or nobody's: drivers of one port take it for one.
        let consoles = (0..consoles.max(1)).map(|number| (number < consoles).then_some(Role::Console));
        let named = ports.iter().map(|name| Some(Role::Named(name.clone())));
        let all: Vec<Option<Port>> = consoles.chain(named).map(|role| role.map(port)).collect();
        outlets.ports = all.iter().flatten().cloned().collect();
        Ok((dev_virtio_console::identity(all.len()), Box::new(Console::new(all))))
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
        teller(self.name, self.note)
    }

    /// Tells why a device gave up.
    fn complain(&self) -> impl Fn(dev_virtio::Broken) + Send + Sync + use<> {
        let tell = self.teller();
        move |broken| tell(&format!("its driver gave it {}; it waits for a reset", broken.0))
    }
}

/// Tells somebody what happened to the device of that name, so often and no more.
pub(crate) fn teller(name: &str, note: &Option<Note>) -> impl Fn(&str) + Send + Sync + use<> {
    let (name, note, told) = (name.to_owned(), note.clone(), AtomicU32::new(0));
    move |text| {
        let before = told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
        let (Some(note), Ok(before)) = (&note, before) else { return };
        let more = if before + 1 == MOST_COMPLAINTS { " (told for the last time)" } else { "" };
        if before < MOST_COMPLAINTS {
            note(&format!("{name}: {text}{more}"));
        }
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
