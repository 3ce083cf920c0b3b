//! Virtqueues of both kinds, driven as a driver should.

use crate::test_driver::{Ring, Rules};
use crate::testkit::{Echo, Guest, QUEUE_SIZE, reg};
use crate::{Backend, Broken, Desk, When};
use dev_core::Plugged;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

#[test]
fn requests_go_through_every_kind_of_queue() {
    Guest::echo().0.works();
}

#[test]
fn rings_go_round() {
    for rules in Rules::all() {
        let (guest, seen) = Guest::echo();
        let mut ring = guest.start(rules, 1).remove(0);
        for n in 0..100u8 {
            let id = guest.send(&mut ring, &[&[n], &[n, 1, 2]], &[2, 9]);
            assert_eq!(ring.collect(), [(id, 4, [&[2, 1, n, n][..], &[0; 7]].concat())], "{rules:?}");
        }
        assert_eq!(seen.lock().unwrap().served, 100);
    }
}

/// With 16 bits of index, which the kind of ring without event index does not need to compare.
#[test]
fn indices_go_round() {
    let rules = Rules { packed: false, events: true, indirect: true };
    let (guest, seen) = Guest::echo();
    let mut ring = guest.start(rules, 1).remove(0);
    for _ in 0..(0x1_0010 / u32::from(QUEUE_SIZE)) {
        for _ in 0..QUEUE_SIZE {
            ring.add(&[&[1]], &[1]);
        }
        assert!(ring.rings());
        guest.write(reg::QUEUE_NOTIFY, 0);
        assert_eq!(ring.collect().len(), usize::from(QUEUE_SIZE));
    }
    assert!(seen.lock().unwrap().served > 0x1_0000);
}

#[test]
fn a_driver_that_wants_no_interrupts_gets_none_and_the_others_one_each() {
    for rules in Rules::all() {
        let (guest, _) = Guest::echo();
        let mut ring = guest.start(rules, 1).remove(0);
        let ask = |ring: &mut Ring, yes| {
            guest.write(reg::INTERRUPT_ACK, 3);
            assert!(!guest.line());
            ring.want_interrupts(yes);
            guest.send(ring, &[b"x"], &[1]);
            ring.collect();
            guest.line()
        };
        // So often that the ring goes round between two questions.
        for _ in 0..40 {
            assert!(ask(&mut ring, true), "{rules:?}");
            // A packed ring that has gone round since may say one too many.
            let (wrapped, quiet) = (rules.packed && rules.events, !ask(&mut ring, false));
            assert!(quiet || wrapped, "{rules:?}");
        }
    }
}

#[test]
fn requests_that_are_kept_come_back_later_and_out_of_order() {
    for rules in Rules::all() {
        let (guest, seen) = Guest::echo();
        let mut rings = guest.start(rules, 2);
        seen.lock().unwrap().hold = true;
        let first = guest.send(&mut rings[0], &[b"first"], &[5]);
        let second = guest.send(&mut rings[1], &[b"second"], &[6]);
        assert!(rings[0].collect().is_empty() && !guest.line());
        seen.lock().unwrap().hold = false;
        let third = guest.send(&mut rings[0], &[b"third"], &[5]);
        let expected = vec![(third, 5, b"driht".to_vec()), (first, 5, b"tsrif".to_vec())];
        let mut came = rings[0].collect();
        came.sort_by_key(|answer| answer.0 != third);
        assert_eq!(came, expected);
        assert_eq!(rings[1].collect(), [(second, 6, b"dnoces".to_vec())]);
    }
}

#[test]
fn a_reset_in_the_middle_of_a_request_forgets_it() {
    for rules in Rules::all() {
        let (guest, seen) = Guest::echo();
        let mut rings = guest.start(rules, 1);
        seen.lock().unwrap().hold = true;
        guest.send(&mut rings[0], &[b"lost"], &[5]);
        guest.write(reg::STATUS, 0);
        assert_eq!(guest.read(reg::STATUS), 0);
        assert!(seen.lock().unwrap().stops > 0 && seen.lock().unwrap().resets == 1);
        seen.lock().unwrap().hold = false;
        guest.attendant.attend_all();
        assert!(rings[0].collect().is_empty() && !guest.line());
        guest.works();
    }
}

#[test]
fn a_machine_that_is_reset_leaves_nothing_at_work() {
    let (guest, seen) = Guest::echo();
    let mut rings = guest.start(Rules { packed: false, events: false, indirect: false }, 1);
    seen.lock().unwrap().hold = true;
    guest.send(&mut rings[0], &[b"lost"], &[5]);
    Plugged::reset(&*guest.slot);
    seen.lock().unwrap().hold = false;
    guest.attendant.attend_all();
    assert!(rings[0].collect().is_empty());
    assert_eq!(guest.read(reg::STATUS), 0);
    guest.works();
}

#[test]
fn a_device_that_stands_still_is_not_reset() {
    let (guest, seen) = Guest::echo();
    let mut rings = guest.start(Rules { packed: true, events: true, indirect: false }, 1);
    guest.attendant.quiesce();
    let id = guest.send(&mut rings[0], &[b"on"], &[2]);
    assert_eq!(rings[0].collect(), [(id, 2, b"no".to_vec())]);
    assert_eq!(seen.lock().unwrap().resets_and_starts(), (0, 2));
    // A machine that is reset while it stands still is another matter.
    guest.attendant.quiesce();
    Plugged::reset(&*guest.slot);
    guest.attendant.attend_all();
    assert_eq!(seen.lock().unwrap().resets, 1);
}

#[test]
fn a_queue_that_the_driver_takes_back_is_let_go_of_at_once() {
    for rules in Rules::all() {
        let (guest, seen) = Guest::echo();
        let mut rings = guest.start(rules, 2);
        seen.lock().unwrap().hold = true;
        let id = guest.send(&mut rings[0], &[b"kept"], &[4]);
        guest.write(reg::QUEUE_SEL, 0);
        guest.write(reg::QUEUE_READY, 0);
        assert_eq!(guest.read(reg::QUEUE_READY), 0);
        seen.lock().unwrap().hold = false;
        assert_eq!(rings[0].collect(), [(id, 4, b"tpek".to_vec())], "what was begun is finished");
        guest.send(&mut rings[0], &[b"late"], &[4]);
        guest.write(reg::QUEUE_NOTIFY, 0);
        assert!(rings[0].collect().is_empty());
        guest.write(reg::QUEUE_READY, 1);
        assert_eq!(guest.read(reg::QUEUE_READY), 0, "not before a reset");
        guest.send(&mut rings[1], &[b"others"], &[6]);
        assert_eq!(rings[1].collect().len(), 1);
        guest.works();
    }
}

/// What was begun is finished before a machine is kept; another device goes on from there.
#[test]
fn saved_and_restored_in_the_middle() {
    for rules in Rules::all() {
        let (guest, seen) = Guest::echo();
        let mut ring = guest.start(rules, 1).remove(0);
        // So that the ring's places are no zeroes, and a packed one has gone round.
        for _ in 0..21 {
            guest.send(&mut ring, &[b"a", b"b"], &[2]);
            ring.collect();
        }
        seen.lock().unwrap().hold = true;
        let begun = guest.send(&mut ring, &[b"begun"], &[5]);
        guest.attendant.quiesce();
        // The driver comes to this before anyone looks again.
        let new = ring.add(&[b"new"], &[3]);
        let saved = guest.slot.save();
        let other_seen = Arc::default();
        let other = Guest::on(Arc::clone(&guest.bus), Echo::identity(), Box::new(Echo::new(&other_seen)));
        other.slot.restore(&saved).unwrap();
        assert!(other.line(), "the interrupt of what was finished");
        other.attendant.attend_all();
        let expected = [(begun, 5, b"nugeb".to_vec()), (new, 3, b"wen".to_vec())];
        assert_eq!(ring.collect(), expected, "{rules:?}");
        let last = other.send(&mut ring, &[b"last"], &[4]);
        assert_eq!(ring.collect(), [(last, 4, b"tsal".to_vec())]);
        other.works();
    }
}

/// Begins something, and never comes to what would end it.
struct Faulty;

impl Backend for Faulty {
    fn serve(&mut self, _: &mut Desk<'_>, _: u64) -> Result<(), Broken> {
        panic!("as this test wants it")
    }

    fn finish(&mut self, _: &mut Desk<'_>) -> Result<(), Broken> {
        panic!("it would not return")
    }
}

#[test]
fn what_a_panic_has_left_is_not_finished() {
    let guest = Guest::new(Echo::identity(), Box::new(Faulty));
    let rules = Rules { packed: false, events: false, indirect: false };
    let start = std::panic::AssertUnwindSafe(|| guest.start(rules, 1));
    assert!(std::panic::catch_unwind(start).is_err());
    guest.attendant.quiesce();
}

/// Tells when it serves, and goes on when it may.
struct Slow(Sender<u64>, Receiver<()>);

impl Backend for Slow {
    fn serve(&mut self, desk: &mut Desk<'_>, rung: u64) -> Result<(), Broken> {
        self.0.send(rung).unwrap();
        self.1.recv().unwrap();
        desk.leave_rest();
        desk.drain(0, |desk, chain| desk.push(0, &chain, 0))
    }
}

#[test]
fn who_rings_serves_unless_somebody_is_at_work() {
    let (told, tells) = channel();
    let (goes, go_on) = channel();
    let (left, bells) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (more, rung) = (Arc::clone(&left), Arc::clone(&bells));
    let when = When::Eagerly(Box::new(move || {
        more.fetch_add(1, Ordering::SeqCst);
    }));
    let bus = Guest::echo().0.bus;
    let guest = Guest::attended(bus, Echo::identity(), Box::new(Slow(told, go_on)), when);
    guest.slot.connect(Arc::new(move |_| {
        rung.fetch_add(1, Ordering::SeqCst);
    }));
    goes.send(()).unwrap();
    let mut ring = guest.start(Rules { packed: false, events: false, indirect: false }, 1).remove(0);
    assert_eq!(tells.try_recv(), Ok(u64::MAX), "served by this thread");
    // What it has left for the device's thread is told, and the doorbell was not needed.
    assert_eq!((left.load(Ordering::SeqCst), bells.load(Ordering::SeqCst)), (1, 0));
    let attendant = Arc::clone(&guest.attendant);
    let other = std::thread::spawn(move || attendant.attend());
    tells.recv().unwrap();
    guest.send(&mut ring, &[b"x"], &[1]);
    assert_eq!(tells.try_recv(), Err(TryRecvError::Empty), "this thread does not wait for the other");
    assert_eq!((left.load(Ordering::SeqCst), bells.load(Ordering::SeqCst) > 0), (1, true));
    goes.send(()).unwrap();
    assert!(other.join().unwrap(), "there is more to do");
    goes.send(()).unwrap();
    guest.attendant.attend();
    assert_eq!(ring.collect().len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Add { readable: Vec<Vec<u8>>, writable: Vec<usize> },
    Ring,
    Hold(bool),
    Collect,
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    let part = proptest::collection::vec(any::<u8>(), 0..40);
    let add = (proptest::collection::vec(part, 0..4), proptest::collection::vec(0usize..50, 0..4));
    prop_oneof![
        8 => add.prop_map(|(readable, writable)| Step::Add { readable, writable }),
        4 => Just(Step::Ring),
        2 => any::<bool>().prop_map(Step::Hold),
        3 => Just(Step::Collect),
        1 => Just(Step::Move),
    ]
}

/// Plays steps; what came back, by the number of the request.
fn play(rules: Rules, steps: &[Step]) -> Result<BTreeMap<usize, (u32, Vec<u8>)>, TestCaseError> {
    let (mut guest, mut seen) = Guest::echo();
    let mut ring = guest.start(rules, 1).remove(0);
    let mut numbers = BTreeMap::new();
    let mut came = BTreeMap::new();
    let mut collect = |ring: &mut Ring, numbers: &mut BTreeMap<u16, usize>| {
        for (id, written, bytes) in ring.collect() {
            came.insert(numbers.remove(&id).unwrap(), (written, bytes));
        }
    };
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Add { readable, writable } if readable.len() + writable.len() > 0 => {
                // Full without indirect tables: then everything is brought home first, whatever the rules.
                if !ring.has_room(8) || ring.outstanding() >= usize::from(QUEUE_SIZE) / 8 {
                    seen.lock().unwrap().hold = false;
                    guest.write(reg::QUEUE_NOTIFY, 0);
                    collect(&mut ring, &mut numbers);
                }
                let parts: Vec<&[u8]> = readable.iter().map(Vec::as_slice).collect();
                numbers.insert(ring.add(&parts, writable), number);
            }
            Step::Add { .. } => {}
            Step::Ring => {
                if ring.rings() {
                    guest.write(reg::QUEUE_NOTIFY, 0);
                }
            }
            Step::Hold(hold) => seen.lock().unwrap().hold = *hold,
            Step::Collect => collect(&mut ring, &mut numbers),
            Step::Move => {
                guest.attendant.quiesce();
                let saved = guest.slot.save();
                let other_seen = Arc::default();
                let backend = Box::new(Echo::new(&other_seen));
                guest = Guest::on(Arc::clone(&guest.bus), Echo::identity(), backend);
                guest.slot.restore(&saved).unwrap();
                guest.attendant.attend_all();
                seen = other_seen;
            }
        }
    }
    seen.lock().unwrap().hold = false;
    guest.write(reg::QUEUE_NOTIFY, 0);
    collect(&mut ring, &mut numbers);
    prop_assert!(numbers.is_empty(), "requests {numbers:?} did not come back");
    prop_assert!(guest.complaints.lock().unwrap().is_empty());
    Ok(came)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn all_kinds_of_queues_give_the_same(steps in proptest::collection::vec(step(), 1..120)) {
        let mut expected = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            let Step::Add { readable, writable } = step else { continue };
            let room: usize = writable.iter().sum();
            let mut bytes: Vec<u8> = readable.concat();
            bytes.reverse();
            bytes.truncate(room);
            let written = bytes.len() as u32;
            bytes.resize(room, 0);
            if readable.len() + writable.len() > 0 {
                expected.insert(number, (written, bytes));
            }
        }
        for rules in Rules::all() {
            prop_assert_eq!(&play(rules, &steps)?, &expected, "{:?}", rules);
        }
    }
}
