//! A function: BARs, interrupts, messages, resets, its state.

use crate::decode::{Claim, STRIDE_LOG2, Space};
use crate::device::PciDevice;
use crate::function::PciFunction;
use crate::layout::Placement;
use crate::specimen::{Specimen, WINDOW};
use dev_core::{Device, NoRegister};
use fabric_wire::Message;

type Function = PciFunction<Specimen>;

/// Below a port, on a bus that requests come through.
fn function() -> Function {
    let placement = Placement { devfn: 0, below_port: true, ..Placement::default() };
    let mut f = PciFunction::new(Specimen::new(), &placement);
    f.set_reachable(true);
    f
}

fn read(f: &mut Function, at: u16, size: u8) -> u32 {
    f.read(at.into(), size, 0).unwrap() as u32
}

fn write(f: &mut Function, at: u16, size: u8, value: u32) {
    f.configure(7, at, size, value, 0);
}

fn bar(number: u64, offset: u64) -> u64 {
    (number + 1) << STRIDE_LOG2 | offset
}

/// The place of the capability `id` (the `n`th of that kind).
fn capability(f: &mut Function, id: u32, n: usize) -> u16 {
    let mut places = Vec::new();
    let mut at = read(f, 0x34, 1) as u16;
    while at != 0 {
        if read(f, at, 1) == id {
            places.push(at);
        }
        at = read(f, at + 1, 1) as u16;
    }
    places[n]
}

const MEMORY: u32 = 2;
const IO: u32 = 1;
const MASTER: u32 = 4;
const NO_PIN: u32 = 1 << 10;

#[test]
fn sizes_are_found_by_writing_ones() {
    let mut f = function();
    let expected = [0xffff_ffe1, 0xffff_e000, 0, 0, 0xffff_c00c, 0xffff_ffff];
    for (n, expected) in (0u16..).zip(expected) {
        write(&mut f, 0x10 + 4 * n, 4, u32::MAX);
        assert_eq!(read(&mut f, 0x10 + 4 * n, 4), expected, "BAR {n}");
    }
    // Byte by byte it is the same.
    for n in 0..4 {
        write(&mut f, 0x14 + n, 1, 0);
    }
    assert_eq!(read(&mut f, 0x14, 4), 0);
    write(&mut f, 0x15, 1, 0xff);
    assert_eq!(read(&mut f, 0x14, 4), 0xe000);
    write(&mut f, 0x30, 4, u32::MAX);
    assert_eq!(read(&mut f, 0x30, 4), 0, "no expansion ROM");
}

#[test]
fn bars_decode_what_is_enabled() {
    let mut f = function();
    for (at, value) in [(0x10, 0x1000), (0x14, 0x4000_0000), (0x20, 0x10_0000), (0x24, 4)] {
        write(&mut f, at, 4, value);
    }
    assert_eq!(f.decode().claims, []);
    let claim =
        |space, base: u64, size: u64, n| Claim { space, base, last: base + (size - 1), at: bar(n, 0) };
    write(&mut f, 4, 2, IO);
    assert_eq!(f.decode().claims, [claim(Space::Io, 0x1000, 32, 0)]);
    write(&mut f, 4, 2, MEMORY);
    let memory =
        [claim(Space::Memory, 0x4000_0000, 0x2000, 1), claim(Space::Memory, 0x4_0010_0000, 0x4000, 4)];
    assert_eq!(f.decode().claims, memory);
    // The highest place there is.
    write(&mut f, 0x20, 4, u32::MAX);
    write(&mut f, 0x24, 4, u32::MAX);
    assert_eq!(f.decode().claims[1], claim(Space::Memory, u64::MAX - 0x3fff, 0x4000, 4));
    // Not while it sleeps; and the states between do not exist.
    let power = capability(&mut f, 1, 0) + 4;
    write(&mut f, power, 2, 3);
    assert_eq!((read(&mut f, power, 2), f.decode().claims.len()), (0x000b, 0));
    for none in [1, 2] {
        write(&mut f, power, 2, none);
        assert_eq!(read(&mut f, power, 2), 0x000b);
    }
    write(&mut f, power, 1, 0);
    assert_eq!(f.decode().claims.len(), 2);
}

#[test]
fn what_no_register_answers_is_an_unsupported_request() {
    let mut f = function();
    assert_eq!(f.read(bar(4, 8), 4, 0), Ok(0x1234_5678));
    let status = capability(&mut f, 0x10, 0) + 10;
    assert_eq!(read(&mut f, status, 2), 0);
    assert_eq!(f.read(bar(4, 0x100), 4, 0), Err(NoRegister));
    assert_eq!(read(&mut f, status, 2), 0x9);
    write(&mut f, status, 2, 0x8);
    assert_eq!(read(&mut f, status, 2), 0x1);
    // Outside BARs, between them, over their ends, over the end of a doubleword.
    for (at, size) in [
        (bar(0, 32), 1),
        (bar(4, 0x3ffc), 8),
        (bar(2, 0), 4),
        (bar(6, 0), 4),
        (4096, 4),
        (2, 4),
        (8, 8),
        (3, 2),
    ] {
        assert_eq!(f.read(at, size, 0), Err(NoRegister), "{at:#x}");
        assert_eq!(f.write(at, size, 0, 0), Err(NoRegister), "{at:#x}");
    }
    assert_eq!(f.read(u64::MAX, 8, 0), Err(NoRegister));
}

#[test]
fn the_pin_is_a_level_that_can_be_disabled() {
    let mut f = function();
    f.device_mut().raise(true);
    assert_eq!((f.lines(0, 0), read(&mut f, 6, 2)), (1, 0x18));
    assert_eq!((read(&mut f, 4, 4), read(&mut f, 6, 1), read(&mut f, 7, 1)), (0x18_0000, 0x18, 0));
    write(&mut f, 4, 2, NO_PIN);
    assert_eq!((f.lines(0, 0), read(&mut f, 6, 2)), (0, 0x18), "the status tells all the same");
    write(&mut f, 4, 2, 0);
    assert_eq!(f.lines(0, 0), 1);
    let msix = capability(&mut f, 0x11, 0) + 2;
    write(&mut f, msix, 2, 0x8000);
    assert_eq!((f.lines(0, 0), read(&mut f, 6, 2)), (0, 0x10), "messages come instead");
    assert!(f.device().messages);
    let saved = f.save();
    f.restore(saved).unwrap();
    assert!(f.device().messages, "a restored device is told");
    Device::reset(&mut f, 0);
    assert!(!f.device().messages);
    f.device_mut().raise(true);
    write(&mut f, msix, 2, 0x8000);
    assert!(f.device().messages);
    write(&mut f, msix, 2, 0);
    assert!(!f.device().messages);
    assert_eq!(f.lines(0, 0), 1);
    f.device_mut().raise(false);
    assert_eq!(f.lines(0, 0), 0);
}

/// Sends vector `n`, and gives the messages that come.
fn send(f: &mut Function, n: u64) -> Vec<Message> {
    f.write(bar(4, 4), 4, n, 0).unwrap();
    messages(f)
}

fn messages(f: &mut Function) -> Vec<Message> {
    std::iter::from_fn(|| f.message()).collect()
}

fn message(address: u64, data: u32) -> Message {
    Message { address, data, requester: 0x700 }
}

#[test]
fn msi_has_as_many_vectors_as_are_allowed() {
    let mut f = function();
    let at = capability(&mut f, 5, 0);
    assert_eq!(read(&mut f, at + 2, 2), 0x0184, "four vectors, 64 bits, masks");
    write(&mut f, at + 4, 4, 0xfee0_0003);
    write(&mut f, at + 8, 4, 1);
    write(&mut f, at + 12, 2, 0x4567);
    assert_eq!(send(&mut f, 0), [], "not enabled: it is gone");
    write(&mut f, at + 2, 2, 0x0021);
    assert_eq!(send(&mut f, 1), [], "enabled, but no bus master: it waits");
    write(&mut f, 4, 2, MASTER);
    assert_eq!(messages(&mut f), [message(0x1_fee0_0000, 0x4565)], "two low bits vary, as four are allowed");
    write(&mut f, at + 2, 2, 0x0011);
    assert_eq!(send(&mut f, 3), [message(0x1_fee0_0000, 0x4567)], "the last of two");
    write(&mut f, at + 2, 2, 0x0071);
    assert_eq!(send(&mut f, 9), [message(0x1_fee0_0000, 0x4567)], "a reserved number allows four");
    // Masks: only four exist.
    write(&mut f, at + 16, 4, u32::MAX);
    assert_eq!(read(&mut f, at + 16, 4), 0xf);
    assert_eq!(send(&mut f, 2), []);
    assert_eq!(read(&mut f, at + 20, 4), 4);
    write(&mut f, at + 20, 4, 0xf);
    assert_eq!(read(&mut f, at + 20, 4), 4, "pending bits are read-only");
    write(&mut f, at + 16, 1, 0xb);
    assert_eq!((messages(&mut f), read(&mut f, at + 20, 4)), (vec![message(0x1_fee0_0000, 0x4566)], 0));
}

#[test]
fn msix_vectors_wait_while_they_are_masked() {
    let mut f = function();
    let control = capability(&mut f, 0x11, 0) + 2;
    write(&mut f, 4, 2, MASTER);
    write(&mut f, control, 2, 0xffff);
    assert_eq!(read(&mut f, control, 2), 0xc040, "65 vectors, enabled, all masked");
    let entry = |n: u64| bar(1, 16 * n);
    assert_eq!(f.read(entry(64) + 12, 4, 0), Ok(1), "each is masked after reset");
    f.write(entry(64), 8, 0x1_0000_1003, 0).unwrap();
    f.write(entry(64) + 8, 4, 0xabcd, 0).unwrap();
    assert_eq!(send(&mut f, 64), []);
    assert_eq!(f.read(bar(1, 0x1008), 8, 0), Ok(1));
    assert_eq!(f.read(bar(1, 0x1008), 4, 0), Ok(1));
    f.write(bar(1, 0x1008), 8, 0, 0).unwrap();
    f.write(entry(64) + 12, 4, 0, 0).unwrap();
    assert_eq!(messages(&mut f), [], "the function is masked still");
    write(&mut f, control + 1, 1, 0x80);
    assert_eq!(messages(&mut f), [message(0x1_0000_1000, 0xabcd)]);
    assert_eq!(f.read(bar(1, 0x1008), 8, 0), Ok(0));
    assert_eq!(send(&mut f, 65), [], "there is no such vector");
    // Both are enabled: MSI-X it is (7.7.1 leaves it to the function).
    let msi = capability(&mut f, 5, 0) + 2;
    write(&mut f, msi, 2, 1);
    assert_eq!(send(&mut f, 64), [message(0x1_0000_1000, 0xabcd)]);
    write(&mut f, control, 2, 0);
    f.set_reachable(false);
    assert_eq!(send(&mut f, 0), []);
    f.set_reachable(true);
    assert_eq!(messages(&mut f).len(), 1, "MSI now, when the bridges pass it on");
}

#[test]
fn table_entries_take_writes_of_every_width() {
    let mut f = function();
    for size in [1u8, 2, 4, 8] {
        for at in (0..16u64).step_by(size.into()) {
            let before: Vec<u64> = (0..16).map(|n| f.read(bar(1, 32 + n), 1, 0).unwrap()).collect();
            f.write(bar(1, 32 + at), size, u64::MAX, 0).unwrap();
            let all = f.read(bar(1, 32 + at), size, 0).unwrap();
            for n in 0..16 {
                let byte = f.read(bar(1, 32 + n), 1, 0).unwrap();
                // What software cannot set: the two low bits of the address, and all of the control word but the mask.
                let expected = match n {
                    _ if !(at..at + u64::from(size)).contains(&n) => before[n as usize],
                    0 => 0xfc,
                    12 => 1,
                    13.. => 0,
                    _ => 0xff,
                };
                assert_eq!(byte, expected, "byte {n} after {size} bytes at {at}");
                if (at..at + u64::from(size)).contains(&n) {
                    assert_eq!(all >> (8 * (n - at)) & 0xff, byte);
                }
            }
            f.write(bar(1, 32), 8, 0, 0).unwrap();
            f.write(bar(1, 40), 8, 0, 0).unwrap();
        }
    }
    // Behind the table the device answers.
    assert_eq!(f.read(bar(1, 65 * 16), 4, 0), Err(NoRegister));
}

#[test]
fn a_window_reaches_into_the_device() {
    let mut f = function();
    let at = capability(&mut f, 9, 4);
    let data = at + 3 + u16::from(WINDOW);
    // The offset is a writable part of the capability, its kind is not.
    write(&mut f, at + 8, 4, 8);
    write(&mut f, at + 2, 2, 0);
    assert_eq!((read(&mut f, at + 8, 4), read(&mut f, at + 2, 2)), (8, 0x0514));
    assert_eq!(read(&mut f, data, 4), 0x1234_5678);
    write(&mut f, data, 4, 77);
    assert_eq!((f.read(bar(4, 8), 4, 0), read(&mut f, data, 4)), (Ok(77), 77));
    assert_eq!(read(&mut f, data, 2), 0, "the device has no register of two bytes");
}

#[test]
fn a_function_can_be_reset_alone() {
    let mut f = function();
    write(&mut f, 4, 2, MASTER | MEMORY);
    assert!(f.device().master);
    f.device_mut().raise(true);
    f.write(bar(1, 12), 4, 0, 0).unwrap();
    let control = capability(&mut f, 0x10, 0) + 8;
    write(&mut f, control, 2, 0x7fff);
    assert_eq!((read(&mut f, 4, 2), f.lines(0, 0)), (MASTER | MEMORY, 1));
    write(&mut f, control + 1, 1, 0x80);
    assert_eq!((read(&mut f, 4, 2), f.lines(0, 0), read(&mut f, control, 2)), (0, 0, 0x2810));
    assert!(!f.device().master);
    assert_eq!(f.read(bar(1, 12), 4, 0), Ok(1));
    assert_eq!(f.requester(), 0x700, "its number stays");
    Device::reset(&mut f, 0);
    assert_eq!(f.requester(), 0);
}

#[test]
fn bus_mastering_needs_the_bridges_too() {
    let mut f = function();
    f.set_reachable(false);
    write(&mut f, 4, 2, MASTER);
    assert!(!f.device().master);
    f.set_reachable(true);
    assert!(f.device().master);
    let power = capability(&mut f, 1, 0) + 4;
    write(&mut f, power, 2, 3);
    assert!(!f.device().master);
}

#[test]
fn a_state_comes_back() {
    let mut f = function();
    write(&mut f, 4, 2, MASTER | MEMORY | IO);
    write(&mut f, 0x24, 4, 4);
    f.device_mut().raise(true);
    f.write(bar(1, 16), 8, 0xfee0_0000, 0).unwrap();
    let msix = capability(&mut f, 0x11, 0) + 2;
    write(&mut f, msix, 2, 0xc000);
    assert_eq!(send(&mut f, 1), []);
    let saved = f.save();
    let mut twin = function();
    twin.restore(saved.clone()).unwrap();
    assert_eq!((twin.save(), twin.decode(), twin.requester()), (saved.clone(), f.decode(), 0x700));
    assert!(twin.device().master);
    for f in [&mut f, &mut twin] {
        write(f, msix, 2, 0x8000);
        f.write(bar(1, 28), 4, 0, 0).unwrap();
        assert_eq!(messages(f), [message(0xfee0_0000, 0)]);
    }
    // States that cannot be: read-only bits, tables of another length, bits that are always zero.
    let good = saved;
    let mut bad = Vec::new();
    let mut change = |with: &dyn Fn(&mut crate::saved::FunctionV1<[u32; 4]>)| {
        let mut state = good.clone();
        with(&mut state);
        bad.push(state);
    };
    change(&|state| state.config.push((0, 0x1234_5678)));
    change(&|state| state.config.push((4096, 0)));
    change(&|state| state.table.truncate(64));
    change(&|state| state.table[3][0] = 1);
    change(&|state| state.table[3][3] = 2);
    change(&|state| state.pending[1] = 2);
    change(&|state| state.pending.push(0));
    for state in bad {
        assert!(twin.restore(state.clone()).is_err(), "{state:x?}");
        assert_eq!(twin.requester(), 0x700);
    }
    assert_eq!(<Function as Device>::VERSION, 0x1_0003);
    assert_eq!(Specimen::NAME, <Function as Device>::NAME);
}
