//! The life of a machine from power-on to power-off: resets, signals, the console, the end.

use crate::console::Joined;
use crate::consoles::Consoles;
use crate::say;
use crate::status::{self, Why};
use anyhow::{Context, anyhow};
use host_char::terminal;
use std::sync::{Arc, Mutex, PoisonError};
use vm_board::size::Size;
use vm_machine::{BuildError, End, Final, Machine, Spec, Stopper};

/// What others want of the machine that runs now.
#[derive(Clone, Default)]
pub struct Wish(Arc<Mutex<Wished>>);

#[derive(Default)]
struct Wished {
    /// There is a machine, or there soon will be.
    begun: bool,
    stopper: Option<Stopper>,
    why: Option<Why>,
}

impl Wish {
    /// Has signals stop the machine once it begins; until then they end the process.
    ///
    /// # Errors
    /// If they cannot be watched for.
    pub fn watch() -> anyhow::Result<Wish> {
        let wish = Wish::default();
        let signalled = wish.clone();
        // A second signal does what it does by default, should the machine not stop.
        terminal::watch_signals(move |number| {
            if signalled.with(|wished| wished.begun) {
                return signalled.stop(Why::Signal(number));
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

    /// Stops the machine, and every later one; the first reason stands. False if that was wished already.
    fn stop(&self, why: Why) -> bool {
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
    fn aim(&self, stopper: Stopper) {
        self.with(|wished| {
            if wished.why.is_some() {
                stopper.stop();
            }
            wished.stopper = Some(stopper);
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

/// Runs machines built from `spec`, a new one after each reset, until one ends otherwise or as `wish` says. Gives the
/// exit status.
///
/// # Errors
/// If a machine or the console cannot be had, or the machine ends by no wish of the guest's or the user's.
pub fn live(wish: Wish, spec: impl Fn() -> anyhow::Result<Spec>, consoles: &Consoles) -> anyhow::Result<u8> {
    // Before the console: what is wrong with the machine is said on a terminal that is as it was.
    let mut machine = build(spec()?)?;
    wish.with(|wished| wished.begun = true);
    let quit = wish.clone();
    let stop = move |why| {
        quit.stop(why);
    };
    let mut joined = Vec::new();
    for (line, console) in consoles.iter().enumerate() {
        joined.push(Joined::open(line, console, stop.clone(), say::note)?);
    }
    let end = loop {
        for (line, port) in joined.iter().zip(machine.consoles()) {
            line.attach(Arc::clone(port));
        }
        wish.aim(machine.stopper());
        let Final { end, compared, .. } = machine.run_in_slices(u64::MAX)?;
        if let Some(compared) = compared.filter(|_| !matches!(end, End::Failed(_) | End::Broken(_))) {
            say::note(&format!("translator and interpreter did the same over {compared} instructions"));
        }
        if end != End::Reset || wish.why().is_some() {
            break end;
        }
        machine = build(spec()?)?;
    };
    joined.into_iter().for_each(Joined::close);
    status::of(&end, wish.why())
}
