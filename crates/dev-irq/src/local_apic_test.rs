//! Tests of the whole of a small machine's interrupts: two processors, an I/O APIC and an 8259 pair.

use super::*;
use crate::LapicConfig;
use dev_core::Plugged;
use fabric_bus::Target;
use fabric_clock::{Clock, Timers};
use fabric_wire::local::line;
use fabric_wire::{PendingWord, Sink, Wire};

struct Machine {
    cpus: Vec<LocalApic>,
    pending: Vec<Arc<PendingWord>>,
    pic: Arc<Slot<I8259>>,
    ioapic: Arc<Slot<Ioapic>>,
    clock: Arc<Clock>,
    timers: Arc<Timers>,
}

fn machine() -> Machine {
    let clock = Arc::new(Clock::virtual_());
    let timers = Timers::new(Arc::clone(&clock));
    let pending: Vec<_> = (0..2).map(|_| Arc::new(PendingWord::new())).collect();
    let apics: Vec<_> = (0..2)
        .map(|id| {
            let wires =
                (0..4).map(|n| Some(Wire::new(Arc::clone(&pending[id as usize]) as Arc<dyn Sink>, n)));
            let config = LapicConfig { id, bsp: id == 0, ..LapicConfig::default() };
            let slot = Slot::new(Lapic::new(config), wires.collect(), &timers);
            slot.with(|d, _| d.virtual_wire());
            slot
        })
        .collect();
    let intr = Wire::new(Arc::clone(&apics[0]) as Arc<dyn Sink>, 0);
    let pic = Slot::new(I8259::new(), vec![Some(intr)], &timers);
    let ioapic = Slot::new(Ioapic::new(0), vec![], &timers);
    let bus = Arc::new(ApicBus::new(apics.clone()));
    ioapic.send_to(Arc::clone(&bus) as _);
    let cpus = apics.into_iter().map(|apic| LocalApic {
        apic,
        bus: Arc::clone(&bus),
        pic: Some(Arc::clone(&pic)),
        ioapics: vec![Arc::clone(&ioapic)],
    });
    Machine { cpus: cpus.collect(), pending, pic, ioapic, clock, timers }
}

const INTR: u64 = 1 << line::INTR;

#[test]
fn an_8259_interrupts_the_bootstrap_processor() {
    let m = machine();
    for (at, byte) in [(0, 0x11), (1, 0x20), (1, 4), (1, 1), (1, 0)] {
        m.pic.write(at, 1, byte).unwrap();
    }
    assert_eq!(m.cpus[0].acknowledge(), None);
    m.pic.set(0, true);
    assert_eq!((m.pending[0].load(), m.pending[1].load()), (INTR, 0));
    assert_eq!(m.cpus[0].acknowledge(), Some(0x20));
    assert_eq!(m.pending[0].load(), 0, "in service");
    m.pic.write(0, 1, 0x20).unwrap();
    m.pic.set(0, false);
    m.pic.set(0, true);
    assert_eq!(m.pending[0].load(), INTR);
}

#[test]
fn a_level_goes_through_the_io_apic_until_its_eoi_finds_it_low() {
    let m = machine();
    for (index, value) in [(0x15, 0x0100_0000), (0x14, 0x8041)] {
        m.ioapic.write(0, 4, index).unwrap();
        m.ioapic.write(0x10, 4, value).unwrap();
    }
    m.ioapic.set(2, true);
    assert_eq!((m.pending[0].load(), m.pending[1].load()), (0, INTR));
    for high in [true, false] {
        assert_eq!(m.cpus[1].acknowledge(), Some(0x41));
        m.ioapic.set(2, high);
        m.cpus[1].write(0xb0, 4, 0);
        assert_eq!(m.pending[1].load(), if high { INTR } else { 0 });
    }
    // A restored I/O APIC does not send again what is under way.
    m.ioapic.set(2, true);
    let saved = m.ioapic.save();
    m.ioapic.restore(&saved).unwrap();
    assert_eq!((m.cpus[1].acknowledge(), m.cpus[1].acknowledge()), (Some(0x41), None));
}

#[test]
fn processors_start_and_interrupt_each_other() {
    let m = machine();
    m.cpus[0].write(0x310, 4, 0x0100_0000);
    m.cpus[0].write(0x300, 4, 0x4500);
    assert_eq!(m.pending[1].load(), 1 << line::INIT);
    m.cpus[0].write(0x300, 4, 0x4609);
    assert_eq!(m.pending[1].load(), 1 << line::INIT | 1 << line::SIPI);
    assert_eq!((m.cpus[1].take_event(), m.cpus[1].take_event()), (Some(Event::Init), Some(Event::Sipi(9))));
    assert_eq!(m.pending[1].load(), 0);
    m.cpus[1].write(0xf0, 4, 0x1ff);
    m.cpus[1].write(0x300, 4, 0xc_4050);
    assert_eq!((m.cpus[0].acknowledge(), m.cpus[1].acknowledge()), (Some(0x50), None));
    m.cpus[1].write(0x300, 4, 0x8_4060);
    assert_eq!((m.cpus[0].acknowledge(), m.cpus[1].acknowledge()), (Some(0x60), Some(0x60)));
    m.cpus[1].write(0x300, 4, 0x8_4400);
    assert_eq!((m.cpus[0].take_event(), m.cpus[1].take_event()), (Some(Event::Nmi), Some(Event::Nmi)));
}

#[test]
fn lowest_priority_goes_to_who_does_the_least_important_work() {
    let m = machine();
    for cpu in &m.cpus {
        cpu.write(0xd0, 4, 0x0300_0000);
    }
    let send = |vector| {
        m.cpus[0].bus.send(
            &crate::Interrupt {
                destination: 3,
                logical: true,
                delivery: crate::Delivery::LowestPriority,
                vector,
                level: false,
            },
            None,
        )
    };
    m.cpus[0].set_cr8(4);
    send(0x55);
    assert_eq!((m.cpus[0].acknowledge(), m.cpus[1].acknowledge()), (None, Some(0x55)));
    send(0x66);
    assert_eq!((m.cpus[0].acknowledge(), m.cpus[1].acknowledge()), (Some(0x66), None), "0x40 is below 0x55");
    assert_eq!(m.cpus[0].cr8(), 4);
}

#[test]
fn the_timer_runs_on_guest_time() {
    let m = machine();
    m.cpus[0].write(0x320, 4, 0x40);
    m.cpus[0].write(0x3e0, 4, 0b1011);
    m.cpus[0].write(0x380, 4, 5000);
    assert_eq!(m.timers.next_deadline(), Some(5000));
    m.clock.advance_to(5000);
    m.timers.run_due(5000);
    assert_eq!((m.pending[0].load(), m.cpus[0].acknowledge()), (INTR, Some(0x40)));
    let state = m.cpus[0].state();
    assert_eq!(state.registers[0x12], 1, "vector 0x40 is in service");
    m.cpus[0].write(0xb0, 4, 0);
    m.cpus[0].set_state(&state).unwrap();
    assert_eq!(m.cpus[0].read(0x120, 4), 1);
}

#[test]
fn processors_that_interrupt_each_other_at_once_do_not_wait_for_each_other() {
    let m = Arc::new(machine());
    let threads: Vec<_> = (0..2)
        .map(|n| {
            let m = Arc::clone(&m);
            std::thread::spawn(move || {
                for round in 0..2000u64 {
                    m.cpus[n].write(0x300, 4, 0x8_4000 | (0x30 + (round & 0x7f)));
                    m.ioapic.set(2, round & 1 == 0);
                    m.pic.set(3, round & 1 == 0);
                    while m.cpus[n].acknowledge().is_some() {
                        m.cpus[n].write(0xb0, 4, 0);
                        m.pic.write(0, 1, 0x20).unwrap();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}
