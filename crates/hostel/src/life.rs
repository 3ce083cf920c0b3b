//! The life of a machine from power-on to power-off: resets, signals, the console, the end.

use crate::choice::Console;
use crate::console::{Joined, LineName};
use crate::description::Description;
use crate::say;
use crate::status::{self, Why};
use anyhow::{Context, anyhow};
use host_char::{Command, Door, Source, terminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vm_board::size::Size;
use vm_machine::{BuildError, End, Final, Machine, PowerButton, Spec, Stopper};

/// How long a guest that a signal has asked to power off may take: less than the 90 seconds after which service managers kill.
const GRACE: Duration = Duration::from_secs(60);
/// The signal that asks for no courtesy, on every Linux that Hostel runs on.
const SIGQUIT: i32 = 3;

/// What others want of the machine that runs now.
#[derive(Clone, Default)]
pub struct Wish(Arc<Mutex<Wished>>);

#[derive(Default)]
struct Wished {
    /// There is a machine, or there soon will be.
    begun: bool,
    stopper: Option<Stopper>,
    button: Option<PowerButton>,
    /// The guest was asked to power off by this signal.
    asked: Option<i32>,
    why: Option<Why>,
}

/// What came of asking a guest to power off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A driver of the guest's has heard it.
    Heard,
    /// There is no power button, or nobody listens to it.
    Deaf,
    /// The machine is being stopped already.
    Ending,
}

impl Wish {
    /// Has signals end the machine once it begins; until then they end the process.
    ///
    /// # Errors
    /// If they cannot be watched for.
    pub fn watch() -> anyhow::Result<Wish> {
        let wish = Wish::default();
        let signalled = wish.clone();
        terminal::watch_signals(move |number| {
            if signalled.with(|wished| wished.begun) {
                return signalled.signal(number);
            }
            host_image::leave_bars();
            false
        })
        .context("cannot watch for signals")?;
        Ok(wish)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Wished) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The process was sent a signal. The first asks the guest to power off, if it listens; the next stops the machine; one more
    /// does what it does by default (false), should the machine not stop.
    fn signal(&self, number: i32) -> bool {
        let first = self.with(|wished| wished.asked.is_none());
        if number == SIGQUIT || !first || self.ask() != Asked::Heard {
            return self.stop(Why::Signal(number));
        }
        self.with(|wished| wished.asked = Some(number));
        say::note("the guest was asked to power off; a second signal ends it at once");
        let late = self.clone();
        let watch = std::thread::Builder::new().name("grace".into()).spawn(move || {
            std::thread::sleep(GRACE);
            if late.with(|wished| wished.why.is_none()) {
                say::note(&format!(
                    "the guest has not powered off within {} s; it is ended now",
                    GRACE.as_secs()
                ));
                late.stop(Why::Signal(number));
            }
        });
        // Without the thread there is no second chance but a second signal.
        drop(watch);
        true
    }

    /// Presses the power button.
    pub fn ask(&self) -> Asked {
        self.with(|wished| match &wished.button {
            _ if wished.why.is_some() => Asked::Ending,
            Some(button) if button.press() => Asked::Heard,
            _ => Asked::Deaf,
        })
    }

    /// An escape key was typed.
    fn key(&self, command: Command) {
        match command {
            Command::Quit => {
                self.stop(Why::Quit);
            }
            Command::Power if self.ask() == Asked::Deaf => {
                say::note("the guest does not listen to its power button; Ctrl-A x ends it at once");
            }
            Command::Power | Command::Help | Command::Break | Command::Detach | Command::Monitor => {}
        }
    }

    /// Stops the machine, and every later one; the first reason stands. False if that was wished already.
    pub fn stop(&self, why: Why) -> bool {
        self.with(|wished| {
            let first = wished.why.is_none();
            wished.why.get_or_insert(why);
            if let Some(stopper) = &wished.stopper {
                stopper.stop();
            }
            first
        })
    }

    /// The machine that runs now.
    fn aim(&self, machine: &Machine) {
        let stopper = machine.stopper();
        self.with(|wished| {
            if wished.why.is_some() {
                stopper.stop();
            }
            (wished.stopper, wished.button) = (Some(stopper), machine.power_button());
        });
    }

    /// The machine has ended with a reset. Whoever was told to end by a signal does not begin anew.
    fn reset(&self) {
        self.with(|wished| {
            if let Some(number) = wished.asked {
                wished.why.get_or_insert(Why::Signal(number));
            }
        });
    }

    fn why(&self) -> Option<Why> {
        self.with(|wished| wished.why)
    }
}

/// Builds a machine.
fn build(spec: Spec) -> anyhow::Result<Machine> {
    Machine::build(spec).map_err(|error| match error {
        BuildError::Memory { bytes, source } => {
            let why = source.map_or_else(String::new, |why| format!(" ({why})"));
            anyhow!("this host does not give a guest {} of memory{why}; try a smaller --memory", Size(bytes))
        }
        error => error.into(),
    })
}

/// Opens the consoles of these lines.
fn open<'a>(
    wish: &Wish,
    lines: impl Iterator<Item = (LineName<'a>, &'a Console)>,
    door: Option<&Door>,
) -> anyhow::Result<Vec<Joined>> {
    let open = |(line, console)| {
        let (keys, quit) = (wish.clone(), wish.clone());
        let key = move |command| keys.key(command);
        let stop = move |why| {
            quit.stop(why);
        };
        Ok(Joined::open(line, console, door.cloned(), key, stop, say::note)?)
    };
    lines.map(open).collect()
}

/// Who is told that the machine is about to run, and of the line that its user is at.
pub type Begun<'a> = Box<dyn FnOnce(Option<Arc<dyn Source>>) -> anyhow::Result<()> + 'a>;

/// Runs machines built from `spec`, a new one after each reset, until one ends otherwise or as `wish` says. Gives the
/// exit status. Standard input and output are those who come through `door`, if there is one.
///
/// # Errors
/// If a machine or the console cannot be had, or the machine ends by no wish of the guest's or the user's.
pub fn live(
    wish: &Wish,
    spec: impl Fn() -> anyhow::Result<Spec>,
    description: &Description,
    door: Option<Door>,
    begun: Begun<'_>,
) -> anyhow::Result<u8> {
    // Before the console: what is wrong with the machine is said on a terminal that is as it was.
    let mut machine = build(spec()?)?;
    wish.with(|wished| wished.begun = true);
    let serial = open(wish, (0..).map(LineName::Serial).zip(description.consoles.iter()), door.as_ref())?;
    let hvcs = (0..).map(LineName::Hvc).zip(&description.hvcs);
    let ports = description.ports.iter().map(|port| (LineName::Port(&port.name), &port.to));
    let virtio = open(wish, hvcs.chain(ports), door.as_ref())?;
    let users = serial.iter().chain(&virtio).find(|line| line.is_users()).or(serial.first());
    begun(users.map(Joined::line))?;
    let end = loop {
        let lines = serial.iter().zip(machine.consoles());
        for (line, port) in lines.chain(virtio.iter().zip(machine.virtio_ports())) {
            line.attach(Arc::clone(port));
        }
        wish.aim(&machine);
        let Final { end, compared, .. } = machine.run_in_slices(u64::MAX)?;
        if let Some(compared) = compared.filter(|_| !matches!(end, End::Failed(_) | End::Broken(_))) {
            say::note(&format!("translator and interpreter did the same over {compared} instructions"));
        }
        if end != End::Reset {
            break end;
        }
        wish.reset();
        if wish.why().is_some() {
            break end;
        }
        machine = build(spec()?)?;
    };
    serial.into_iter().chain(virtio).for_each(Joined::close);
    status::of(&end, wish.why())
}
