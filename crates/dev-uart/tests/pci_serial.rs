//! The serial card in a root port: its headers against QEMU's, doubleword by doubleword, and its pin and ports through the
//! root complex.

use dev_pci::{ComplexBuilder, HostBridge, Placement, RootComplex, RootPort, Space};
use dev_uart::PciSerial;
use fabric_clock::{Clock, Timers};
use fabric_wire::{Sink, Wire};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
struct Line(AtomicBool);

impl Sink for Line {
    fn set(&self, input: u32, high: bool) {
        assert_eq!(input, 1, "INTA of device 1 is INTB");
        self.0.store(high, Ordering::Relaxed);
    }
}

fn machine() -> (Arc<RootComplex>, Arc<Line>) {
    let timers = Timers::new(Arc::new(Clock::virtual_()));
    let line = Arc::new(Line::default());
    let wires = std::array::from_fn(|n| Some(Wire::new(Arc::clone(&line) as _, n as u32)));
    let mut builder = ComplexBuilder::new(wires);
    builder.plug(None, &Placement::default(), HostBridge, &timers).unwrap();
    let at = Placement { devfn: 8, occupied: true, ..Placement::default() };
    let (port, _) = builder.plug(None, &at, RootPort { slot: 1 }, &timers).unwrap();
    let below = Placement { below_port: true, ..Placement::default() };
    builder.plug(Some(port), &below, PciSerial::new(), &timers).unwrap();
    (builder.build(), line)
}

/// Offsets of the functions in the ECAM window.
const FUNCTIONS: [(&str, u64); 3] = [("host", 0), ("port", 1 << 15), ("serial", 1 << 20)];
const BUSES: u64 = 0x18;

/// The rows of the golden file for our functions.
fn rows(complex: &Arc<RootComplex>) -> BTreeSet<String> {
    let ecam = complex.ecam();
    ecam.write(FUNCTIONS[1].1 + BUSES, 4, 0x0001_0100).unwrap();
    let mut rows = BTreeSet::new();
    for (name, base) in FUNCTIONS {
        for at in (0..0x40).step_by(4).filter(|at| (name, *at) != ("port", BUSES)) {
            let before = ecam.read(base + at, 4).unwrap();
            let after = |value| {
                ecam.write(base + at, 4, value).unwrap();
                ecam.read(base + at, 4).unwrap()
            };
            let (ones, zeroes) = (after(0xffff_ffff), after(0));
            ecam.write(base + at, 4, before).unwrap();
            rows.insert(format!("{name} {at:02x} {before:08x} {ones:08x} {zeroes:08x}"));
        }
    }
    rows
}

#[test]
fn headers_differ_from_qemus_only_where_a_reason_is_given() {
    let ours = rows(&machine().0);
    let qemu = include_str!("golden/qemu-pci.txt").lines().filter(|line| !line.starts_with('#'));
    let qemu: BTreeSet<String> = qemu.map(str::to_owned).collect();
    let found = qemu.difference(&ours).map(|row| format!("- {row}"));
    let found: BTreeSet<String> = found.chain(ours.difference(&qemu).map(|row| format!("+ {row}"))).collect();
    let mut known = BTreeSet::new();
    for paragraph in include_str!("golden/pci-differences.txt").split("\n\n").skip(1) {
        assert!(paragraph.starts_with("# "), "no reason is given for:\n{paragraph}");
        known.extend(paragraph.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    assert_eq!(found, known);
}

#[test]
fn the_card_talks_through_its_ports_and_its_pin() {
    let (complex, line) = machine();
    let ecam = complex.ecam();
    ecam.write(FUNCTIONS[1].1 + BUSES, 4, 0x0001_0100).unwrap();
    ecam.write(FUNCTIONS[1].1 + 0x1c, 2, 0x1010).unwrap();
    ecam.write(FUNCTIONS[1].1 + 4, 2, 1).unwrap();
    ecam.write(FUNCTIONS[2].1 + 0x10, 4, 0x1008).unwrap();
    let ports = complex.window(Space::Io, 0);
    assert_eq!(ports.read(0x100d, 1), Ok(0xff), "its ports are off");
    ecam.write(FUNCTIONS[2].1 + 4, 2, 1).unwrap();
    assert_eq!(ports.read(0x100d, 1), Ok(0x60), "LSR: nothing to send");
    let high = || line.0.load(Ordering::Relaxed);
    assert!(!high());
    // IER: the transmitter's interrupt, which is due at once; reading IIR takes it away.
    ports.write(0x1009, 1, 2).unwrap();
    assert!(high());
    assert_eq!(ports.read(0x100a, 1), Ok(2));
    assert!(!high());
    ports.write(0x1008, 1, u64::from(b'x')).unwrap();
    assert!(high());
    // The command register's disable bit.
    ecam.write(FUNCTIONS[2].1 + 4, 2, 0x401).unwrap();
    assert!(!high());
    assert_eq!(ecam.read(FUNCTIONS[2].1 + 6, 2), Ok(0x18));
}
