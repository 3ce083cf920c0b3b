//! Who works on a device's queues: takes the news from the transport, serves, and tells it what to signal.

use crate::common::Transport;
use crate::news::News;
use crate::queue::{Position, Queue};
use crate::{Broken, Chain};
use dev_core::Slot;
use fabric_bus::{BusFault, Dma};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Rounds of all that its queues hold, within which every driver that does nothing meanwhile is done: one, and one to see that
/// there is no more. What goes on is a queue whose requests write new ones.
const MOST_ROUNDS: usize = 4;

/// A descriptor to wait for.
#[derive(Clone, Debug)]
pub struct Watched {
    /// It.
    pub fd: Arc<OwnedFd>,
    /// Until something can be read from it.
    pub read: bool,
    /// Until something can be written to it.
    pub write: bool,
}

/// What a device does with its queues.
pub trait Backend: Send {
    /// The driver is ready, having taken these features. Every queue is served once behind this.
    fn start(&mut self, _features: u64) {}

    /// The driver wrote to the configuration space, which now is this.
    fn configured(&mut self, _config: &[u8]) {}

    /// The driver wrote these bytes there, from byte `offset` of what it may write on: before [`Backend::configured`], and once for
    /// each time. There need not have been a start.
    fn wrote(&mut self, _offset: usize, _bytes: &[u8]) {}

    /// Serves: `rung` has a bit for each queue that the driver rang for. Also called when a descriptor it watches is ready, or
    /// what it started is done. Takes what it can from the queues and asks to be rung for more ([`Desk::sleep`]).
    ///
    /// # Errors
    /// [`Broken`] if a queue is; the device then asks for a reset.
    fn serve(&mut self, desk: &mut Desk<'_>, rung: u64) -> Result<(), Broken>;

    /// Finishes what it has started and gives it back: the driver takes a queue back, or the machine stands still and may
    /// be kept.
    ///
    /// # Errors
    /// As [`Backend::serve`].
    fn finish(&mut self, _desk: &mut Desk<'_>) -> Result<(), Broken> {
        Ok(())
    }

    /// Returns once nothing that it has started touches the driver's memory, and forgets all of it. The driver may not know: the
    /// machine stands still, or the device may not reach memory for a while. Behind the next [`Backend::start`] it goes on as if
    /// nothing had been, unless there was a [`Backend::reset`] between.
    fn stop(&mut self) {}

    /// Forgets what it has agreed on with the driver, who begins anew. It has been stopped.
    fn reset(&mut self) {}

    /// What to wait for besides the driver.
    fn watched(&self) -> Vec<Watched> {
        Vec::new()
    }
}

/// What a [`Backend`] works on: the queues, and the driver's memory.
pub struct Desk<'a> {
    queues: &'a mut [Option<Queue>],
    /// The driver's memory.
    pub dma: &'a Dma,
    signals: u64,
    config: Vec<(usize, Vec<u8>)>,
    /// Requests that may still be taken before others have their turn.
    left: usize,
    /// Whether there may be more.
    more: bool,
    /// Whether who serves has other things to do.
    eager: bool,
}

impl<'a> Desk<'a> {
    fn new(queues: &'a mut [Option<Queue>], dma: &'a Dma, eager: bool) -> Self {
        let left = queues.iter().flatten().map(|queue| usize::from(queue.size())).sum();
        Desk { queues, dma, signals: 0, config: Vec::new(), left, more: false, eager }
    }

    /// Enough was done for who has other things to do: the rest is for the device's own thread.
    pub fn leave_rest(&mut self) {
        if self.eager {
            self.left = 0;
        }
    }

    /// Whether who serves has other things to do, such as running the guest.
    pub fn is_eager(&self) -> bool {
        self.eager
    }

    /// Takes the next request of a queue; none if the driver has not set it up. A driver that has its own work to do meanwhile
    /// cannot have made more than the queues hold: behind these, others have their turn, and there is none before that.
    ///
    /// # Errors
    /// As [`Queue::pop`].
    pub fn pop(&mut self, queue: usize) -> Result<Option<Chain>, Broken> {
        let Some(Some(queue)) = self.queues.get_mut(queue) else { return Ok(None) };
        if self.left == 0 {
            self.more = true;
            return Ok(None);
        }
        let chain = queue.pop(self.dma)?;
        self.left -= usize::from(chain.is_some());
        Ok(chain)
    }

    /// Gives a request back.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub fn push(&mut self, queue: usize, chain: &Chain, written: u32) -> Result<(), Broken> {
        self.push_all(queue, &[(chain, written)])
    }

    /// Gives requests back together: a driver that sees the first sees all.
    ///
    /// # Errors
    /// As [`Queue::push_all`].
    pub fn push_all(&mut self, queue: usize, all: &[(&Chain, u32)]) -> Result<(), Broken> {
        match self.queues.get_mut(queue) {
            Some(Some(ring)) => {
                self.signals |= 1 << queue;
                ring.push_all(self.dma, all)
            }
            _ => Ok(()),
        }
    }

    /// Lets a request be as if it had never been taken ([`Queue::put_back`]).
    pub fn put_back(&mut self, queue: usize, chain: &Chain) {
        if let Some(Some(ring)) = self.queues.get_mut(queue) {
            ring.put_back(chain);
        }
    }

    /// Descriptors that a queue holds; none that is not there.
    pub fn size(&self, queue: usize) -> usize {
        self.queues.get(queue).and_then(Option::as_ref).map_or(0, |queue| usize::from(queue.size()))
    }

    /// Whether a queue is there to be used.
    pub fn has(&self, queue: usize) -> bool {
        matches!(self.queues.get(queue), Some(Some(_)))
    }

    /// Asks to be rung; true if there is a request already.
    ///
    /// # Errors
    /// As [`Queue::sleep`].
    pub fn sleep(&mut self, queue: usize) -> Result<bool, Broken> {
        match self.queues.get_mut(queue) {
            Some(Some(queue)) if !self.more => queue.sleep(self.dma),
            _ => Ok(false),
        }
    }

    /// Takes every request of a queue, one after the other, until there is none and the driver will ring for the next.
    ///
    /// # Errors
    /// As [`Queue::pop`], or what `f` says.
    pub fn drain(
        &mut self,
        queue: usize,
        mut f: impl FnMut(&mut Self, Chain) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        loop {
            while let Some(chain) = self.pop(queue)? {
                f(self, chain)?;
            }
            if !self.sleep(queue)? {
                return Ok(());
            }
        }
    }

    /// Changes bytes of the configuration space, which the driver is told of.
    pub fn change_config(&mut self, offset: usize, bytes: &[u8]) {
        self.config.push((offset, bytes.to_vec()));
    }
}

/// Told why a device gives up.
type Complain = Box<dyn Fn(Broken) + Send + Sync>;

struct Work {
    queues: Vec<Option<Queue>>,
    features: u64,
    backend: Box<dyn Backend>,
    /// Whether the driver drives and the device has not given up.
    live: bool,
    /// What its thread was last told to wait for.
    told: Vec<(RawFd, bool, bool)>,
}

impl Work {
    /// What there is to wait for, to be compared.
    fn waits(watched: &[Watched]) -> Vec<(RawFd, bool, bool)> {
        watched.iter().map(|one| (one.fd.as_raw_fd(), one.read, one.write)).collect()
    }

    fn stop(&mut self) {
        self.backend.stop();
        self.queues.clear();
        self.live = false;
    }
}

/// The one who works on a device's queues.
pub struct Attendant<T: Transport> {
    slot: Arc<Slot<T>>,
    dma: Dma,
    work: Mutex<Work>,
    complain: Complain,
}

impl<T: Transport> Attendant<T> {
    /// One for the device in `slot`, which reaches memory by `dma`; `complain` is told why a device gives up.
    pub fn new(
        slot: Arc<Slot<T>>,
        dma: Dma,
        backend: Box<dyn Backend>,
        complain: impl Fn(Broken) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let work =
            Mutex::new(Work { queues: Vec::new(), features: 0, backend, live: false, told: Vec::new() });
        Arc::new(Attendant { slot, dma, work, complain: Box::new(complain) })
    }

    /// Does what there is to do. True if there may be more, for which the caller comes back soon, but not at once: others may
    /// want to come between.
    pub fn attend(&self) -> bool {
        let mut work = self.work();
        let news = self.slot.with(|device, _| device.common().news());
        self.attend_to(&mut work, news, false)
    }

    fn attend_to(&self, work: &mut Work, news: News, eager: bool) -> bool {
        match self.take(work, news, eager) {
            Ok(more) => more || self.slot.with(|device, _| device.common().has_news()),
            Err(broken) => {
                self.give_up(work, broken);
                false
            }
        }
    }

    /// The driver writes to a register, and what it rings for with that is done at once, unless somebody is at work already.
    /// Gives the answer, and whether there may be more to do.
    pub(crate) fn write(&self, offset: u64, size: u8, value: u64) -> (Result<(), BusFault>, bool) {
        let work = match self.work.try_lock() {
            Ok(work) => Some(work),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let mut news = None;
        let done = self.slot.with(|device, now| {
            let done = device.write(offset, size, value, now).map_err(|_| BusFault);
            // Taken before the slot looks whether to ring for the thread.
            if work.is_some() && device.common().has_news() {
                news = Some(device.common().news());
            }
            (done, device.common().urgent())
        });
        match (work, news, done) {
            (Some(mut work), Some(news), (done, _)) => {
                let more = self.attend_to(&mut work, news, true);
                // Its thread sleeps by what it was told before.
                (done, more || Work::waits(&work.backend.watched()) != work.told)
            }
            (_, _, (done, true)) => (done, self.attend()),
            (_, _, (done, false)) => (done, false),
        }
    }

    /// Does all there is to do, for a driver that does nothing meanwhile.
    pub fn attend_all(&self) {
        for _ in 0..MOST_ROUNDS {
            if !self.attend() {
                return;
            }
        }
        self.give_up(&mut self.work(), Broken("a virtqueue that feeds itself"));
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self, work: &mut Work, broken: Broken) {
        work.stop();
        (self.complain)(broken);
        self.slot.with(|device, _| {
            if device.common().needs_reset() {
                device.signal_config();
            }
        });
    }

    fn take(&self, work: &mut Work, news: News, eager: bool) -> Result<bool, Broken> {
        let News { reset, paused, closed, started, opened, mut rung, config, writes } = news;
        if reset {
            work.stop();
            work.backend.reset();
            self.slot.with(|device, _| device.common().reset_done());
        }
        if paused {
            let finished = self.finish(work);
            work.stop();
            self.slot.with(|device, _| device.common().forget());
            finished?;
        }
        if closed != 0 {
            self.close(work, closed)?;
        }
        writes.iter().for_each(|write| work.backend.wrote(write.offset, &write.bytes));
        if let Some(config) = config {
            work.backend.configured(&config);
        }
        if let Some((features, setups)) = started {
            work.stop();
            let queue = |(setup, position)| match setup {
                crate::Setup { ready: true, .. } => Queue::new(&setup, features, position).map(Some),
                _ => Ok(None),
            };
            work.queues = setups.into_iter().map(queue).collect::<Result<_, _>>()?;
            work.features = features;
            work.backend.start(features);
            (work.live, rung) = (true, u64::MAX);
        }
        if !work.live {
            return Ok(false);
        }
        for (at, setup) in opened {
            if let Some(queue) = work.queues.get_mut(at) {
                *queue = Some(Queue::new(&setup, work.features, Position::default())?);
                rung |= 1 << at;
            }
        }
        let mut desk = Desk::new(&mut work.queues, &self.dma, eager);
        let served = work.backend.serve(&mut desk, rung);
        let more = desk.more;
        // What was done before a mistake was found is told all the same.
        self.tell(desk)?;
        served.map(|()| more)
    }

    /// Lets go of queues.
    fn close(&self, work: &mut Work, closed: u64) -> Result<(), Broken> {
        let finished = self.finish(work);
        for (at, queue) in work.queues.iter_mut().enumerate() {
            if closed >> at & 1 != 0 {
                *queue = None;
            }
        }
        self.slot.with(|device, _| device.common().close_done(closed));
        finished
    }

    fn finish(&self, work: &mut Work) -> Result<(), Broken> {
        if !work.live {
            return Ok(());
        }
        let mut desk = Desk::new(&mut work.queues, &self.dma, false);
        let finished = work.backend.finish(&mut desk);
        self.tell(desk)?;
        finished
    }

    /// Signals what is due, and notes how far the queues have come.
    fn tell(&self, desk: Desk<'_>) -> Result<(), Broken> {
        let Desk { queues, dma, signals, config, .. } = desk;
        let mut due = Vec::new();
        let mut come = Vec::new();
        for (at, queue) in queues.iter_mut().enumerate() {
            let Some(queue) = queue else { continue };
            come.push((at, queue.position()));
            if signals >> at & 1 != 0 && queue.signal_due(dma)? {
                due.push(at);
            }
        }
        self.slot.with(|device, _| {
            come.iter().for_each(|&(at, position)| device.common().came_to(at, position));
            for at in due {
                if device.common().raise_queue() {
                    device.signal(at);
                }
            }
            for (offset, bytes) in &config {
                if device.common().change_config(*offset, bytes) {
                    device.signal_config();
                }
            }
        });
        Ok(())
    }

    /// Finishes what was begun, and returns once nothing touches the driver's memory any more: the machine has stopped. The
    /// device's state is then complete, and whoever attends goes on from there.
    pub fn quiesce(&self) {
        let mut work = self.work();
        // Who has panicked in the middle has left something that may never be finished.
        let sound = !self.work.is_poisoned();
        if sound && let Err(broken) = self.finish(&mut work) {
            self.give_up(&mut work, broken);
        }
        work.stop();
        self.slot.with(|device, _| device.common().forget());
    }

    /// What to wait for besides the driver.
    pub fn watched(&self) -> Vec<Watched> {
        let mut work = self.work();
        let watched = work.backend.watched();
        work.told = Work::waits(&watched);
        watched
    }
}
