//! The device at work: requests go out as they come, replies come back as they are ready.

use crate::failure::{self, Failure, HEAD};
use crate::server::Server;
use dev_virtio::{Backend, Broken, Chain, Desk, Watched, ranges};
use host_share::{LONGEST_MESSAGE, LONGEST_REPLY, LONGEST_REQUEST, Protocol};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support_hostmap::Pieces;

/// How long a server may be silent that has requests, where somebody waits for it: the machine stops, or its one processor does
/// all I/O. Long enough for a slow disk.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a processor that has sent the only request waits for its reply itself. Most come within this; then neither the
/// device's thread nor the processor has to be woken, which would take longer than the server does.
const MOMENT: Duration = Duration::from_micros(100);

/// Told of what the server could not do.
pub type Trouble = Box<dyn Fn(&str) + Send>;

/// A request that the server has.
#[derive(Debug)]
struct Flight {
    queue: usize,
    chain: Chain,
}

/// How the device treats its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Whether each request is answered before the next is taken, by whoever rang.
    pub at_once: bool,
    /// How long a server may be silent that somebody waits for.
    pub longest: Duration,
}

impl Patience {
    /// For a device that has a thread of its own, which waits for replies.
    pub const THREAD: Patience = Patience { at_once: false, longest: PATIENCE };
    /// For a device whose processor does all I/O.
    pub const AT_ONCE: Patience = Patience { at_once: true, longest: PATIENCE };
}

/// The file system device, or the 9P transport.
pub struct Carrier<S> {
    server: Arc<S>,
    protocol: Protocol,
    queues: usize,
    patience: Patience,
    trouble: Trouble,
    /// Requests that the server has, by their token.
    flights: HashMap<u64, Flight>,
    /// A request that it has no room for yet. Until it has, no other is taken.
    held: Option<Flight>,
    /// Whether a driver drives.
    live: bool,
    /// Whether there is no server any more.
    dead: bool,
    /// The reply at hand, kept for its memory.
    reply: Vec<u8>,
    /// Counts what was sent and what came back.
    moved: u64,
}

impl<S: Server> Carrier<S> {
    /// One of so many queues, for a server of that protocol. `trouble` is told if the server is no more.
    pub fn new(
        server: Arc<S>,
        protocol: Protocol,
        queues: usize,
        patience: Patience,
        trouble: Trouble,
    ) -> Self {
        let (flights, held, reply, moved) = (HashMap::new(), None, Vec::new(), 0);
        let (live, dead) = (false, false);
        Carrier { server, protocol, queues, patience, trouble, flights, held, live, dead, reply, moved }
    }

    /// The longest request that the server takes.
    fn longest(&self) -> usize {
        match self.protocol {
            Protocol::Fuse => LONGEST_REQUEST,
            Protocol::Nine => LONGEST_MESSAGE,
        }
    }

    /// Takes a request from the driver.
    fn begin(&mut self, desk: &mut Desk<'_>, flight: Flight) -> Result<(), Broken> {
        if self.dead {
            return self.refuse(desk, &flight, Failure::Io);
        }
        if flight.chain.readable_len() > self.longest() as u64 {
            return self.refuse(desk, &flight, Failure::Invalid);
        }
        let places = ranges(desk.dma, flight.chain.readable.iter().copied(), false)?;
        // An arena is no larger than what can be addressed, and the places lie in it.
        let places = places.iter().map(|place| place.start as usize..place.end as usize);
        let request = Pieces::new(desk.dma.ram().map(), places).ok_or(Broken("memory that is not there"))?;
        let token = self.server.token();
        match self.server.send(token, &request) {
            Ok(()) => {
                self.moved += 1;
                self.flights.insert(token, flight);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.held = Some(flight);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.refuse(desk, &flight, Failure::Invalid)
            }
            Err(_) => {
                self.held = Some(flight);
                self.bury(desk, "the process that serves the folder has ended")
            }
        }
    }

    /// Gives a request back with an error, where there is room for one.
    fn refuse(&self, desk: &mut Desk<'_>, flight: &Flight, failure: Failure) -> Result<(), Broken> {
        let mut head = [0; HEAD];
        flight.chain.read(desk.dma, 0, &mut head)?;
        let reply = failure::reply(self.protocol, &head, failure);
        let fits = flight.chain.writable_len() >= reply.len() as u64;
        let written = if fits { flight.chain.write(desk.dma, 0, &reply)? } else { 0 };
        desk.push(flight.queue, &flight.chain, written as u32)
    }

    /// There is no server any more: all that it had, and all that comes, fails.
    fn bury(&mut self, desk: &mut Desk<'_>, why: &str) -> Result<(), Broken> {
        self.dead = true;
        (self.trouble)(&format!(
            "{why}: whatever the guest asks of it fails until the machine is started anew"
        ));
        let all: Vec<Flight> =
            self.flights.drain().map(|(_, flight)| flight).chain(self.held.take()).collect();
        all.iter().try_for_each(|flight| self.refuse(desk, flight, Failure::Io))
    }

    /// Gives back what was answered meanwhile.
    fn take_replies(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        // As many as the server has, and one for a request that was forgotten: a server that says more has to wait.
        for _ in 0..=self.flights.len() {
            if self.dead {
                return Ok(());
            }
            match self.server.receive(&mut self.reply) {
                Ok(None) => return Ok(()),
                Ok(Some(token)) => self.give_back(desk, token)?,
                Err(_) => self.bury(desk, "the process that serves the folder has ended")?,
            }
        }
        Ok(())
    }

    /// Gives back the request of that token with the reply at hand. Of a driver before this one, it is forgotten.
    fn give_back(&mut self, desk: &mut Desk<'_>, token: u64) -> Result<(), Broken> {
        self.moved += 1;
        let Some(flight) = self.flights.remove(&token) else { return Ok(()) };
        if self.reply.len() as u64 > flight.chain.writable_len() {
            return self.refuse(desk, &flight, Failure::Io);
        }
        let written = flight.chain.write(desk.dma, 0, &self.reply)?;
        desk.push(flight.queue, &flight.chain, written as u32)
    }

    /// Sends what there was no room for.
    fn send_held(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        match self.held.take() {
            Some(flight) => self.begin(desk, flight),
            None => Ok(()),
        }
    }

    /// Takes requests of a queue as long as the server has room for them.
    fn take_requests(&mut self, desk: &mut Desk<'_>, queue: usize) -> Result<(), Broken> {
        while self.held.is_none() {
            match desk.pop(queue)? {
                Some(chain) => self.begin(desk, Flight { queue, chain })?,
                None if desk.sleep(queue)? => {}
                None => return Ok(()),
            }
            if self.patience.at_once {
                self.await_all(desk)?;
            }
        }
        Ok(())
    }

    /// Waits a moment for the reply to the only request, if there is only one and its processor can do nothing better: most
    /// programs wait for each reply.
    fn linger(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        if desk.is_eager() && self.flights.len() == 1 && self.held.is_none() {
            self.server.wait(false, MOMENT);
            self.take_replies(desk)?;
        }
        Ok(())
    }

    /// Waits until the server has no request.
    fn await_all(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        let (mut heard, mut moved) = (Instant::now(), self.moved);
        while !self.flights.is_empty() || self.held.is_some() {
            self.take_replies(desk)?;
            self.send_held(desk)?;
            if self.moved != moved {
                (heard, moved) = (Instant::now(), self.moved);
                continue;
            }
            match self.patience.longest.checked_sub(heard.elapsed()) {
                Some(left) => self.server.wait(self.held.is_some(), left),
                None => self.bury(desk, "the process that serves the folder does not answer")?,
            }
        }
        Ok(())
    }
}

impl<S: Server> Backend for Carrier<S> {
    fn start(&mut self, _features: u64) {
        self.live = true;
        self.reply.reserve(LONGEST_REPLY);
    }

    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        self.take_replies(desk)?;
        self.send_held(desk)?;
        (0..self.queues).try_for_each(|queue| self.take_requests(desk, queue))?;
        self.linger(desk)
    }

    fn finish(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        self.await_all(desk)
    }

    fn stop(&mut self) {
        // What the server still does touches the host's files, but no memory of the driver's: replies come through here.
        self.flights.clear();
        self.held = None;
        self.live = false;
    }

    fn watched(&self) -> Vec<Watched> {
        // Nobody to wait for: that the server is no more is noticed with the next request.
        let idle = self.flights.is_empty() && self.held.is_none();
        if !self.live || self.dead || self.patience.at_once || idle {
            return Vec::new();
        }
        vec![Watched { fd: self.server.descriptor(), read: true, write: self.held.is_some() }]
    }
}
