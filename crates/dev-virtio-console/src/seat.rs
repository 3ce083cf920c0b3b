//! A port as the device has it: what the driver knows of it, and its bytes on their way.

use crate::config::receive_queue;
use crate::control::{Heard, Message, event};
use crate::port::{Port, Role, Size};
use dev_virtio::{Broken, Chain, Desk};

/// What the driver is to be told, apart from what follows from the port's state.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    add: bool,
    role: bool,
}

/// A place for a port.
pub(crate) struct Seat {
    number: usize,
    port: Option<Port>,
    due: Due,
    /// The driver has said that it knows the port.
    known: bool,
    /// Somebody has opened it in the guest.
    open: bool,
    /// What the driver was told: that somebody is connected, and the size.
    connected: bool,
    size: Size,
    /// What it sends and there was no room for yet, and how much of that is done.
    held: Option<(Chain, u64)>,
}

impl Seat {
    /// The place of that number, with a port or without.
    pub fn new(number: usize, port: Option<Port>) -> Seat {
        Seat {
            number,
            port,
            due: Due::default(),
            known: false,
            open: false,
            connected: false,
            size: Size::default(),
            held: None,
        }
    }

    /// The port.
    pub fn port(&self) -> Option<&Port> {
        self.port.as_ref()
    }

    /// The driver is there: it is to hear of the port.
    pub fn announce(&mut self) {
        self.due.add = self.port.is_some();
    }

    /// The driver says something of the port.
    pub fn hear(&mut self, heard: Heard) {
        match (heard.event, heard.value) {
            (event::PORT_READY, 1) => {
                // It may have forgotten what it knew.
                (self.known, self.connected, self.size) = (true, false, Size::default());
                self.due.role = true;
            }
            (event::PORT_READY, _) => self.known = false,
            (event::PORT_OPEN, value) => self.open = value != 0,
            _ => {}
        }
    }

    /// The next message for the driver; `sized` if it wants to know how large terminals are.
    pub fn message(&self, sized: bool) -> Option<Message> {
        let port = self.port.as_ref()?;
        if self.due.add {
            return Some(Message::Add);
        }
        if !self.known {
            return None;
        }
        if self.due.role {
            return Some(match port.role() {
                Role::Console => Message::Console,
                Role::Named(name) => Message::Name(name.clone()),
            });
        }
        let connected = self.shows_connected(port);
        if connected != self.connected {
            return Some(Message::Open(connected));
        }
        let size = port.size();
        (sized && *port.role() == Role::Console && size != self.size).then_some(Message::Resize(size))
    }

    /// A console is there for whoever comes, so that no program of the guest's waits for them.
    fn shows_connected(&self, port: &Port) -> bool {
        *port.role() == Role::Console || port.is_connected()
    }

    /// That message was given.
    pub fn told(&mut self, message: &Message) {
        match *message {
            Message::Add => self.due.add = false,
            Message::Console | Message::Name(_) => self.due.role = false,
            Message::Open(connected) => self.connected = connected,
            Message::Resize(size) => self.size = size,
        }
    }

    /// Whether the driver takes input, if there are several ports or not.
    fn takes(&self, several: bool) -> bool {
        if several { self.open } else { self.number == 0 }
    }

    /// Moves what there is, both ways.
    pub fn work(&mut self, desk: &mut Desk<'_>, several: bool) -> Result<(), Broken> {
        let takes = self.takes(several);
        let sent = self.transmit(desk)?;
        let Some(port) = &self.port else { return Ok(()) };
        port.set_takes(takes);
        if takes {
            receive(desk, receive_queue(self.number), port)?;
        }
        port.ring(sent);
        Ok(())
    }

    /// Takes what the driver sends; true if anything came.
    fn transmit(&mut self, desk: &mut Desk<'_>) -> Result<bool, Broken> {
        let queue = receive_queue(self.number) + 1;
        let mut any = false;
        loop {
            let heard = self.port.as_ref().filter(|port| self.shows_connected(port));
            if heard.is_some_and(|port| !port.has_room()) {
                return Ok(any);
            }
            let (chain, mut at) = match self.held.take() {
                Some(held) => held,
                None => match desk.pop(queue)? {
                    Some(chain) => (chain, 0),
                    None if desk.sleep(queue)? => continue,
                    None => return Ok(any),
                },
            };
            if let Some(port) = heard {
                let read = port.absorb(desk.dma, &chain, at)?;
                any |= read > 0;
                at += read;
                if at < chain.readable_len() {
                    self.held = Some((chain, at));
                    continue;
                }
            }
            desk.push(queue, &chain, 0)?;
        }
    }

    /// Gives back what is held. Its rest is lost: of what a driver sends at a time, no more is held than what no driver sends.
    pub fn finish(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        match self.held.take() {
            Some((chain, _)) => desk.push(receive_queue(self.number) + 1, &chain, 0),
            None => Ok(()),
        }
    }

    /// The device stands still.
    pub fn stop(&mut self) {
        self.held = None;
        if let Some(port) = &self.port {
            port.set_takes(false);
        }
    }

    /// The driver is gone.
    pub fn reset(&mut self) {
        let port = self.port.take();
        if let Some(port) = &port {
            port.forget();
        }
        *self = Seat::new(self.number, port);
    }
}

/// Gives the driver what has come for it.
fn receive(desk: &mut Desk<'_>, queue: usize, port: &Port) -> Result<(), Broken> {
    while port.has_input() {
        match desk.pop(queue)? {
            Some(chain) => {
                let written = port.fill(desk.dma, &chain)?;
                desk.push(queue, &chain, written as u32)?;
            }
            None if desk.sleep(queue)? => {}
            None => return Ok(()),
        }
    }
    Ok(())
}
