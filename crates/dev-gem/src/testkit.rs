//! A network that is played, and a machine with the card in it: for tests, and for the fuzz target.

use crate::{Front, Gem, Station};
use dev_core::Slot;
use fabric_bus::{Bus, BusBuilder, Dma, Target};
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use host_net::{NetPort, Offloads, SendError, VNET};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use support_hostmap::Pieces;

/// Where memory is.
pub const RAM: u64 = 0x8000_0000;
/// How much of it there is.
pub const SIZE: u64 = 16 * PAGE;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The other side.
pub struct Wire {
    sent: Mutex<Vec<Vec<u8>>>,
    coming: Mutex<VecDeque<Vec<u8>>>,
    /// It takes nothing.
    pub full: AtomicBool,
    /// There is another end.
    pub up: AtomicBool,
    socket: UnixDatagram,
}

impl Wire {
    /// A frame comes.
    pub fn comes(&self, frame: &[u8]) {
        locked(&self.coming).push_back([&[0; VNET], frame].concat());
    }

    /// What was sent, without what is in front of it.
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        let all = std::mem::take(&mut *locked(&self.sent));
        all.into_iter().map(|frame| frame.get(VNET..).unwrap_or_default().to_vec()).collect()
    }
}

impl NetPort for Wire {
    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        match (self.up.load(Ordering::SeqCst), self.full.load(Ordering::SeqCst)) {
            (false, _) => Err(SendError::Down),
            (true, true) => Err(SendError::Full),
            (true, false) => {
                assert!(frame.len() >= VNET + 14, "{} bytes are no frame", frame.len());
                locked(&self.sent).push(frame.to_vec());
                Ok(())
            }
        }
    }

    fn send_from(&self, frame: &Pieces) -> Result<(), SendError> {
        self.send(&frame.to_vec())
    }

    fn receive(&self, into: &mut [u8]) -> Option<usize> {
        let frame = locked(&self.coming).pop_front()?;
        let len = frame.len().min(into.len());
        into.get_mut(..len)?.copy_from_slice(frame.get(..len)?);
        Some(len)
    }

    fn receive_into(&self, _into: &Pieces) -> Option<usize> {
        None
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn supports(&self) -> Offloads {
        Offloads::default()
    }

    fn set_offloads(&self, offloads: Offloads) {
        assert_eq!(offloads, Offloads::default());
    }

    fn mtu(&self) -> u16 {
        1500
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }
}

/// A machine with nothing but memory and the card.
pub struct Guest {
    /// The other side of the cable.
    pub wire: Arc<Wire>,
    /// The card.
    pub slot: Arc<Slot<Gem>>,
    /// Who moves its frames.
    pub station: Arc<Station>,
    /// Its registers.
    pub front: Front,
    /// Memory.
    pub bus: Arc<Bus>,
    /// Guest time.
    pub clock: Arc<Clock>,
    timers: Arc<Timers>,
    rung: Arc<AtomicUsize>,
}

impl Guest {
    /// A machine that has just been switched on; `None` if the host gives too little.
    pub fn new() -> Option<Guest> {
        let mut builder = BusBuilder::new(Arc::new(GuestRam::new(SIZE).ok()?));
        builder.ram("ram", RAM, SIZE, 0, true).ok()?;
        let bus = Arc::new(builder.build());
        let clock = Arc::new(Clock::virtual_());
        let timers = Timers::new(Arc::clone(&clock));
        let slot = Slot::new(Gem::default(), Vec::new(), &timers);
        let wire = Arc::new(Wire {
            sent: Mutex::default(),
            coming: Mutex::default(),
            full: AtomicBool::new(false),
            up: AtomicBool::new(true),
            socket: UnixDatagram::unbound().ok()?,
        });
        let dma = Dma::new(Arc::clone(&bus), 0);
        let station = Station::new(Arc::clone(&slot), dma, Arc::clone(&wire) as _).ok()?;
        let rung = Arc::new(AtomicUsize::new(0));
        let rings = Arc::clone(&rung);
        let front = Front::new(Arc::clone(&station), move || _ = rings.fetch_add(1, Ordering::SeqCst));
        Some(Guest { wire, slot, station, front, bus, clock, timers, rung })
    }

    /// Reads a register.
    pub fn get(&self, offset: u64) -> u32 {
        self.front.read(offset, 4).map_or(0, |value| value as u32)
    }

    /// Writes one.
    pub fn set(&self, offset: u64, value: u32) {
        assert!(self.front.write(offset, 4, value.into()).is_ok());
    }

    /// Writes memory, as far as there is some.
    pub fn store(&self, at: u64, bytes: &[u8]) {
        if let Some(offset) = self.bus.ram_range(at, bytes.len() as u64, true) {
            let _ = self.bus.ram().copy_in(offset, bytes);
        }
    }

    /// Reads memory.
    pub fn load(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        if let Some(offset) = self.bus.ram_range(at, len as u64, false) {
            let _ = self.bus.ram().copy_out(offset, &mut bytes);
        }
        bytes
    }

    /// Writes words.
    pub fn words(&self, at: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.store(at, &bytes);
    }

    /// Reads a word.
    pub fn word(&self, at: u64) -> u32 {
        let bytes = self.load(at, 4);
        bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
    }

    /// Time goes by.
    pub fn passes(&self, nanoseconds: u64) {
        self.clock.advance_to(self.clock.now().saturating_add(nanoseconds));
        self.timers.run_due(self.clock.now());
    }

    /// How often the thread was woken.
    pub fn rung(&self) -> usize {
        self.rung.load(Ordering::SeqCst)
    }

    /// How often [`Station::attend`] says that there may be more, up to `most`.
    pub fn attends(&self, most: usize) -> usize {
        (0..most).take_while(|_| self.station.attend()).count()
    }
}
