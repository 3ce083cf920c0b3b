//! The device at work.

use crate::config::{WRITEBACK, bit};
use crate::flight::{Flight, Flights};
use crate::request::{Ask, Trim, parse, status};
use dev_virtio::{Backend, Broken, Chain, Desk};
use fabric_ram::GuestRam;
use host_disk::{Disk, DiskError, DiskQueue, Kind, QueueOptions, Request};
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes of a disk's name (section 5.2.6: VIRTIO_BLK_T_GET_ID).
const ID: usize = 20;
/// Bytes moved in one go by who has other things to do, before the rest is left to the device's own thread.
const EAGER: u64 = 256 << 10;
/// How long a wait for the disk lasts until it looks again by itself.
const LOOK: Duration = Duration::from_millis(100);

/// Told of what the host's disk could not do.
pub type Trouble = Box<dyn Fn(&DiskError) + Send>;

/// Who waits for the disk, and must be woken.
#[derive(Default)]
struct Waiter {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Waiter {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(rung, LOOK, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// How the disk is asked.
enum Way {
    /// And waited for.
    Straight(Arc<dyn Disk>),
    /// By a queue, whose ends a bell tells of.
    Queue(DiskQueue, Arc<Waiter>),
}

/// The block device.
pub struct Blk {
    way: Way,
    id: Vec<u8>,
    trouble: Trouble,
    flights: Flights,
    queues: usize,
    /// What the configuration space says of the write-back cache, and whether the driver has taken that and flushes.
    config_writeback: bool,
    features: u64,
    /// The driver's memory, once there is a driver.
    ram: Option<Arc<GuestRam>>,
}

impl Blk {
    fn new(way: Way, id: &str, queues: usize, trouble: Trouble) -> Blk {
        let id = id.bytes().take(ID).collect();
        let flights = Flights::default();
        Blk { way, id, trouble, flights, queues, config_writeback: true, features: 0, ram: None }
    }

    /// One that waits for `disk`. It is called `id`, of which 20 bytes count, and has so many queues.
    pub fn straight(disk: Arc<dyn Disk>, id: &str, queues: usize, trouble: Trouble) -> Blk {
        Blk::new(Way::Straight(disk), id, queues, trouble)
    }

    /// One that waits for nothing; `bell` is rung, from any thread, when it has something to serve by itself.
    ///
    /// # Errors
    /// If the host gives no threads.
    pub fn queued(
        disk: Arc<dyn Disk>,
        id: &str,
        queues: usize,
        trouble: Trouble,
        bell: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Blk> {
        let waiter = Arc::new(Waiter::default());
        let woken = Arc::clone(&waiter);
        let ring = Arc::new(move || {
            woken.ring();
            bell();
        });
        let queue = DiskQueue::new(disk, QueueOptions::default(), ring)?;
        Ok(Blk::new(Way::Queue(queue, waiter), id, queues, trouble))
    }

    fn disk(&self) -> Arc<dyn Disk> {
        match &self.way {
            Way::Straight(disk) => Arc::clone(disk),
            Way::Queue(queue, _) => Arc::clone(queue.disk()),
        }
    }

    /// Whether writes may stay in the host's cache until a flush (section 5.2.5.2): not without a driver that flushes.
    fn writeback(&self) -> bool {
        let has = |bit| self.features & bit != 0;
        has(bit::FLUSH) && (!has(bit::CONFIG_WCE) || self.config_writeback)
    }

    /// Asks the disk; its answer, if it has come.
    fn ask(&self, kind: Kind, token: u64) -> Option<Result<(), DiskError>> {
        match &self.way {
            Way::Queue(queue, _) => queue.submit(Request { kind, token }).map(|done| done.result),
            Way::Straight(disk) => Some(match &kind {
                Kind::Read(at, into) => disk.read(*at, into),
                Kind::Write(at, from) => disk.write(*at, from),
                Kind::Flush => disk.flush(),
                Kind::Discard(at, len) => disk.discard(*at, *len),
                Kind::WriteZeroes { at, len, may_unmap } => disk.write_zeroes(*at, *len, *may_unmap),
            }),
        }
    }

    /// Begins a request. Gives the bytes that it moves.
    fn begin(&mut self, desk: &mut Desk<'_>, queue: usize, chain: Chain) -> Result<u64, Broken> {
        let asked = parse(&chain, desk.dma, &*self.disk())?;
        self.ram.get_or_insert_with(|| Arc::clone(desk.dma.ram()));
        let (mut data, mut places, mut changes, mut moved) = (0, Vec::new(), false, 0);
        let trims = |all: Vec<Trim>, kind: fn(Trim) -> Kind| all.into_iter().map(kind).collect();
        let parts: Vec<Kind> = match asked {
            Err(code) => return self.end(desk, queue, &chain, 0, code).map(|()| 0),
            Ok(Ask::Id) => {
                // Ended by a zero where it is shorter, and cut where the driver has less room.
                let mut id = self.id.clone();
                id.resize(ID, 0);
                let room = usize::try_from(chain.writable_len() - 1).map_or(ID, |room| room.min(ID));
                let written = chain.write(desk.dma, 0, id.get(..room).unwrap_or_default())?;
                return self.end(desk, queue, &chain, written as u32, status::OK).map(|()| 0);
            }
            Ok(Ask::Read { at, pieces, places: to }) => {
                moved = pieces.len() as u64;
                (data, places) = (u32::try_from(moved).unwrap_or(u32::MAX - 1), to);
                vec![Kind::Read(at, pieces)]
            }
            Ok(Ask::Write { at, pieces }) => {
                (changes, moved) = (true, pieces.len() as u64);
                vec![Kind::Write(at, pieces)]
            }
            Ok(Ask::Flush) => vec![Kind::Flush],
            Ok(Ask::Discard(all)) => trims(all, |trim| Kind::Discard(trim.at, trim.len)),
            Ok(Ask::WriteZeroes(all)) => {
                changes = true;
                trims(all, |Trim { at, len, may_unmap }| Kind::WriteZeroes { at, len, may_unmap })
            }
        };
        let through = changes && !self.writeback();
        let left = parts.len();
        let flight = Flight { queue, chain, left, status: status::OK, data, places, through };
        let token = self.flights.insert(flight);
        for part in parts {
            if let Some(result) = self.ask(part, token) {
                self.part_done(desk, token, result)?;
            }
        }
        Ok(moved)
    }

    /// The disk has done its part of a request, or one of several.
    fn part_done(
        &mut self,
        desk: &mut Desk<'_>,
        token: u64,
        result: Result<(), DiskError>,
    ) -> Result<(), Broken> {
        let mut result = Some(result);
        while let Some(done) = result.take() {
            let Some(flight) = self.flights.get(token) else { return Ok(()) };
            if let Err(error) = done {
                let unsupported = matches!(error, DiskError::Unsupported(_));
                flight.status = if unsupported { status::UNSUPP } else { status::IOERR };
                (self.trouble)(&error);
            }
            flight.left -= 1;
            if flight.left > 0 {
                return Ok(());
            }
            if flight.through && flight.status == status::OK {
                (flight.through, flight.left) = (false, 1);
                result = self.ask(Kind::Flush, token);
                if result.is_none() {
                    return Ok(());
                }
            }
        }
        let Some(flight) = self.flights.remove(token) else { return Ok(()) };
        self.mark(&flight);
        let data = if flight.status == status::OK { flight.data } else { 0 };
        self.end(desk, flight.queue, &flight.chain, data, flight.status)
    }

    /// Takes note of what the disk may have written to memory.
    fn mark(&self, flight: &Flight) {
        if let Some(ram) = &self.ram {
            flight.places.iter().for_each(|place| ram.written_range(place.start, place.end - place.start));
        }
    }

    /// Gives a request back with its status, where there is room for one.
    fn end(
        &self,
        desk: &mut Desk<'_>,
        queue: usize,
        chain: &Chain,
        data: u32,
        code: u8,
    ) -> Result<(), Broken> {
        let Some(last) = chain.writable_len().checked_sub(1) else { return desk.push(queue, chain, 0) };
        chain.write(desk.dma, last, &[code])?;
        desk.push(queue, chain, data + 1)
    }

    /// Gives back what has ended meanwhile.
    fn take_ends(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        let mut ends = Vec::new();
        if let Way::Queue(queue, _) = &self.way {
            queue.take(&mut ends);
        }
        for done in ends {
            self.part_done(desk, done.token, done.result)?;
        }
        self.kick();
        Ok(())
    }

    fn kick(&self) {
        if let Way::Queue(queue, _) = &self.way {
            queue.kick();
        }
    }
}

impl Backend for Blk {
    fn start(&mut self, features: u64) {
        self.features = features;
    }

    fn configured(&mut self, config: &[u8]) {
        self.config_writeback = config.get(WRITEBACK).is_none_or(|&byte| byte & 1 != 0);
    }

    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        self.take_ends(desk)?;
        let mut moved = 0;
        for queue in 0..self.queues {
            let served = desk.drain(queue, |desk, chain| {
                moved += self.begin(desk, queue, chain)?;
                if moved >= EAGER {
                    desk.leave_rest();
                }
                Ok(())
            });
            if let Err(broken) = served {
                self.kick();
                return Err(broken);
            }
        }
        self.kick();
        Ok(())
    }

    fn finish(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        while !self.flights.is_empty() {
            self.take_ends(desk)?;
            if let Way::Queue(_, waiter) = &self.way
                && !self.flights.is_empty()
            {
                waiter.wait();
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Way::Queue(queue, waiter) = &self.way {
            queue.kick();
            while queue.pending() > 0 {
                waiter.wait();
            }
            // Of requests that are forgotten.
            queue.take(&mut Vec::new());
        }
        for flight in self.flights.take() {
            self.mark(&flight);
        }
    }
}
