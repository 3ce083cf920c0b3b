//! Who keeps a named guest that runs: answers those who come by its control socket.

use crate::life::{Asked, Wish};
use crate::named::Named;
use crate::status::Why;
use anyhow::Context;
use host_char::{Door, Source};
use host_guest::{Control, Name, Reply, Request};
use std::sync::Arc;

/// What a named guest has beside its machine.
pub struct Keeper {
    name: Name,
    folder: std::path::PathBuf,
    door: Option<Door>,
}

impl Keeper {
    /// That of a guest, whose console is in the background if `detached`.
    ///
    /// # Errors
    /// If the host gives no descriptors.
    pub fn new(named: &Named, detached: bool) -> anyhow::Result<Keeper> {
        let door = detached.then(Door::new).transpose().context("cannot make the console")?;
        Ok(Keeper { name: named.name.clone(), folder: named.folder(), door })
    }

    /// Where users of the console come in, if it is in the background.
    pub fn door(&self) -> Option<Door> {
        self.door.clone()
    }

    /// Listens, until what this gives is dropped.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn listen(&self, wish: Wish, line: Option<Arc<dyn Source>>) -> anyhow::Result<Control> {
        let (name, door) = (self.name.clone(), self.door.clone());
        let reply = move |request| match request {
            Request::Attach => attach(&name, door.as_ref()),
            Request::Stop => match wish.ask() {
                Asked::Heard => Reply::Stay("it was asked to power off".to_owned()),
                Asked::Ending => Reply::Stay("it is about to end".to_owned()),
                Asked::Deaf => {
                    Reply::Words(Err(format!("the guest {name} does not listen to its power button")))
                }
            },
            Request::Kill => {
                wish.stop(Why::Killed);
                Reply::Stay("it is about to end".to_owned())
            }
            Request::Break => {
                if let Some(line) = &line {
                    line.send_break();
                }
                Reply::Words(Ok("sent".to_owned()))
            }
            Request::Status => Reply::Words(Ok(format!("running as process {}", std::process::id()))),
        };
        Ok(Control::listen(&self.folder, reply)?)
    }
}

fn attach(name: &Name, door: Option<&Door>) -> Reply {
    let Some(door) = door else {
        let pid = std::process::id();
        return Reply::Words(Err(format!(
            "the guest {name} was not started with --detach: its console is where process {pid} was started"
        )));
    };
    if !door.reserve() {
        return Reply::Words(Err(format!("somebody is attached to the guest {name} already")));
    }
    let door = door.clone();
    Reply::Over("attached".to_owned(), Box::new(move |user| door.enter(user)))
}
