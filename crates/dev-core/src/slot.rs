//! The slot: a device in a machine, with its lock, wires, deadline and host-side doorbell.

use crate::{Device, NoRegister, RestoreError};
use fabric_bus::{BusFault, Target};
use fabric_clock::{Nanos, Timed, TimerId, Timers};
use fabric_wire::{MessageSink, Sink, Wire};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Why a doorbell rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostWork {
    /// [`Device::wants_host`].
    pub fetch: bool,
    /// [`Device::takes_more`].
    pub room: bool,
}

/// Rung after every change that leaves work for the host side, so often for the same. Must not call
/// back into the slot: it only wakes somebody who will.
pub type Doorbell = Arc<dyn Fn(HostWork) + Send + Sync>;

/// One device and everything it must not know.
///
/// [`Slot::with`] is the only way to the device, so no change can forget the wires. Wires are driven
/// while the slot is locked: two threads that change the device in some order drive its wires in
/// that order. The wiring is acyclic, so this cannot deadlock.
pub struct Slot<D: Device> {
    inner: Mutex<Inner<D>>,
    timers: Arc<Timers>,
    timer: OnceLock<TimerId>,
    bells: Mutex<Vec<Doorbell>>,
    messages: OnceLock<Arc<dyn MessageSink>>,
}

struct Inner<D> {
    device: D,
    wires: Vec<Option<Wire>>,
    /// Levels as last driven, 64 outputs a word.
    driven: Vec<u64>,
    deadline: Option<Nanos>,
}

impl<D: Device> Slot<D> {
    /// Plugs `device` in. `wires[n]` is what output `n` drives; missing ones are not connected.
    pub fn new(device: D, wires: Vec<Option<Wire>>, timers: &Arc<Timers>) -> Arc<Self> {
        let driven = vec![0; device.outputs().div_ceil(64)];
        let slot = Arc::new(Slot {
            inner: Mutex::new(Inner { device, wires, driven, deadline: None }),
            timers: Arc::clone(timers),
            timer: OnceLock::new(),
            bells: Mutex::default(),
            messages: OnceLock::new(),
        });
        let timed: Arc<dyn Timed> = Arc::clone(&slot) as _;
        let _ = slot.timer.set(timers.register(Arc::downgrade(&timed)));
        slot.with(|_, _| ());
        slot
    }

    /// Adds a doorbell.
    pub fn connect(&self, bell: Doorbell) {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).push(bell);
    }

    /// Says where the device's messages go, once; until then they go nowhere. Whatever takes them
    /// must not call back into the slot: the path of messages is acyclic, as that of wires.
    pub fn send_to(&self, sink: Arc<dyn MessageSink>) {
        let _ = self.messages.set(sink);
    }

    /// Runs `f` on the device at the current guest time; then delivers its messages, drives its wires,
    /// moves its deadline and, after unlocking, rings its doorbell if there is work for the host side.
    pub fn with<R>(&self, f: impl FnOnce(&mut D, Nanos) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.timers.clock().now();
        let result = f(&mut inner.device, now);
        while let Some(message) = inner.device.message() {
            if let Some(sink) = self.messages.get() {
                sink.deliver(message);
            }
        }
        inner.drive(now);
        let deadline = inner.device.deadline(now);
        if deadline != inner.deadline {
            inner.deadline = deadline;
            if let Some(&id) = self.timer.get() {
                self.timers.arm(id, deadline);
            }
        }
        let work = HostWork { fetch: inner.device.wants_host(), room: inner.device.takes_more() };
        drop(inner);
        if work.fetch || work.room {
            self.bells.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|bell| bell(work));
        }
        result
    }
}

impl<D: Device> Inner<D> {
    fn drive(&mut self, now: Nanos) {
        for (word, driven) in self.driven.iter_mut().enumerate() {
            let levels = self.device.lines(word, now);
            let mut changed = levels ^ *driven;
            *driven = levels;
            while changed != 0 {
                let bit = changed.trailing_zeros();
                changed &= changed - 1;
                if let Some(Some(wire)) = self.wires.get(word * 64 + bit as usize) {
                    wire.set(levels >> bit & 1 != 0);
                }
            }
        }
    }
}

impl<D: Device> Target for Slot<D> {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.with(|d, now| d.read(offset, size, now)).map_err(|_| BusFault)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        self.with(|d, now| d.write(offset, size, value, now)).map_err(|_| BusFault)
    }

    fn update(&self, offset: u64, size: u8, change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
        if !D::ATOMICS {
            return Err(BusFault);
        }
        self.with(|d, now| {
            let old = d.read(offset, size, now)?;
            d.write(offset, size, change(old), now)?;
            Ok(old)
        })
        .map_err(|_: NoRegister| BusFault)
    }
}

impl<D: Device> Timed for Slot<D> {
    fn expired(&self, _now: Nanos) {
        {
            // The queue has dropped this deadline: forget it, so that the same one can be armed again.
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).deadline = None;
        }
        self.with(|d, now| d.tick(now));
    }
}

impl<D: Device> Sink for Slot<D> {
    fn set(&self, input: u32, high: bool) {
        self.with(|d, _| d.input(input, high));
    }
}

/// A slot whose device type is not known: what a machine keeps of every device.
pub trait Plugged: Target {
    /// Device type.
    fn name(&self) -> &'static str;
    /// Back to the state after power-on.
    fn reset(&self);
    /// The state as bytes: version, then the encoded [`Device::Saved`].
    fn save(&self) -> Vec<u8>;
    /// Takes a state back and drives the wires to match.
    ///
    /// # Errors
    /// See [`RestoreError`].
    fn restore(&self, bytes: &[u8]) -> Result<(), RestoreError>;
    /// The same slot as something that can be mapped on a bus.
    fn target(self: Arc<Self>) -> Arc<dyn Target>;
}

impl<D: Device> Plugged for Slot<D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn reset(&self) {
        self.with(|d, now| d.reset(now));
    }

    fn save(&self) -> Vec<u8> {
        let saved = self.with(|d, _| d.save());
        // Encoding into a growing vector fails only for types postcard cannot encode at all
        // (sequences of unknown length); a state of that kind would fail its first test.
        postcard::to_stdvec(&(D::VERSION, saved)).unwrap_or_default()
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: D::NAME };
        let Ok((found, rest)) = postcard::take_from_bytes::<u32>(bytes) else { return Err(damaged) };
        if found != D::VERSION {
            return Err(RestoreError::Version { device: D::NAME, found, known: D::VERSION });
        }
        let Ok((saved, [])) = postcard::take_from_bytes::<D::Saved>(rest) else { return Err(damaged) };
        self.with(|d, _| d.restore(saved))
    }

    fn target(self: Arc<Self>) -> Arc<dyn Target> {
        self
    }
}

/// A slot that does not keep its device alive, for adapters.
pub type WeakSlot<D> = Weak<Slot<D>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoRegister;
    use fabric_clock::Clock;
    use fabric_wire::Message;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A latch: offset 0 is its level and output, offset 8 the time at which the level turns.
    #[derive(Default)]
    struct Latch {
        level: bool,
        at: Nanos,
        /// Messages to send, which offset 16 sets.
        says: u32,
    }

    impl Device for Latch {
        const NAME: &'static str = "latch";
        const VERSION: u32 = 3;
        type Saved = (bool, u64);

        fn read(&mut self, offset: u64, _size: u8, _now: Nanos) -> Result<u64, NoRegister> {
            if offset == 0 { Ok(u64::from(self.level)) } else { Err(NoRegister) }
        }

        fn write(&mut self, offset: u64, _size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
            match offset {
                0 => self.level = value != 0,
                8 => self.at = value,
                16 => self.says = value as u32,
                _ => return Err(NoRegister),
            }
            Ok(())
        }

        fn lines(&self, _word: usize, _now: Nanos) -> u64 {
            u64::from(self.level)
        }

        fn outputs(&self) -> usize {
            1
        }

        fn deadline(&self, _now: Nanos) -> Option<Nanos> {
            (self.at != 0).then_some(self.at)
        }

        fn message(&mut self) -> Option<Message> {
            self.says = self.says.checked_sub(1)?;
            Some(Message { address: 0xfee0_0000, data: self.says, requester: u32::from(self.level) })
        }

        fn tick(&mut self, _now: Nanos) {
            self.level = !self.level;
            self.at = 0;
        }

        fn wants_host(&self) -> bool {
            self.level
        }

        fn reset(&mut self, _now: Nanos) {
            *self = Latch::default();
        }

        fn save(&self) -> (bool, u64) {
            (self.level, self.at)
        }

        fn restore(&mut self, (level, at): (bool, u64)) -> Result<(), RestoreError> {
            *self = Latch { level, at, says: 0 };
            Ok(())
        }
    }

    /// Counts the changes of a wire: rises in the high half, falls in the low half.
    #[derive(Default)]
    struct Edges(AtomicU64);

    impl Sink for Edges {
        fn set(&self, _input: u32, high: bool) {
            self.0.fetch_add(if high { 1 << 32 } else { 1 }, Ordering::SeqCst);
        }
    }

    fn latch() -> (Arc<Slot<Latch>>, Arc<Edges>, Arc<Timers>) {
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let edges = Arc::new(Edges::default());
        let wire = Wire::new(Arc::clone(&edges) as _, 0);
        (Slot::new(Latch::default(), vec![Some(wire)], &timers), edges, timers)
    }

    #[test]
    fn the_wire_is_driven_on_changes_only() {
        let (slot, edges, _) = latch();
        for value in [1, 1, 0, 0, 1] {
            slot.write(0, 4, value).unwrap();
        }
        assert_eq!(edges.0.load(Ordering::SeqCst), 2 << 32 | 1);
        assert_eq!(slot.read(4, 4), Err(BusFault));
        Plugged::reset(&*slot);
        assert_eq!(edges.0.load(Ordering::SeqCst), 2 << 32 | 2);
    }

    #[test]
    fn a_deadline_is_served_and_the_same_one_can_be_set_again() {
        let (slot, edges, timers) = latch();
        slot.write(8, 8, 50).unwrap();
        assert_eq!(timers.next_deadline(), Some(50));
        timers.run_due(50);
        assert_eq!((edges.0.load(Ordering::SeqCst), timers.next_deadline()), (1 << 32, None));
        slot.write(8, 8, 50).unwrap();
        timers.run_due(60);
        assert_eq!(edges.0.load(Ordering::SeqCst), 1 << 32 | 1);
    }

    #[test]
    fn messages_are_delivered_until_there_is_none() {
        struct Log(Mutex<Vec<(u32, u32)>>);
        impl MessageSink for Log {
            fn deliver(&self, message: Message) {
                self.0.lock().unwrap().push((message.data, message.requester));
            }
        }
        let (slot, _, _) = latch();
        slot.write(16, 4, 2).unwrap();
        let log = Arc::new(Log(Mutex::default()));
        slot.send_to(Arc::clone(&log) as _);
        slot.write(0, 4, 1).unwrap();
        assert_eq!(*log.0.lock().unwrap(), [], "what was sent before is lost");
        slot.write(16, 4, 2).unwrap();
        assert_eq!(*log.0.lock().unwrap(), [(1, 1), (0, 1)]);
    }

    #[test]
    fn the_doorbell_tells_what_for() {
        let (slot, _, _) = latch();
        let rung = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&rung);
        slot.connect(Arc::new(move |work| log.lock().unwrap().push(work)));
        slot.write(0, 4, 0).unwrap();
        slot.write(0, 4, 1).unwrap();
        assert_eq!(*rung.lock().unwrap(), [HostWork { fetch: true, room: false }]);
    }

    #[test]
    fn saved_state_comes_back_with_its_wire_and_nothing_else_does() {
        let (slot, edges, _) = latch();
        slot.write(0, 4, 1).unwrap();
        let saved = slot.save();
        slot.write(0, 4, 0).unwrap();
        assert!(matches!(slot.restore(&[]), Err(RestoreError::Damaged { .. })));
        assert!(matches!(slot.restore(&[4, 0, 0]), Err(RestoreError::Version { found: 4, known: 3, .. })));
        assert!(matches!(slot.restore(&[&saved[..], &[0]].concat()), Err(RestoreError::Damaged { .. })));
        assert!(matches!(slot.restore(&saved[..saved.len() - 1]), Err(RestoreError::Damaged { .. })));
        assert_eq!(slot.read(0, 4), Ok(0));
        slot.restore(&saved).unwrap();
        assert_eq!(slot.read(0, 4), Ok(1));
        assert_eq!(edges.0.load(Ordering::SeqCst), 2 << 32 | 1);
    }
}
