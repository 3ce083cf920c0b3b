//! The configuration space of a function: what is where, and what writes do to it.

use crate::capabilities::*;
use crate::device::{Description, PciDevice};
use crate::fields::{Access, Register};
use crate::header::{COMMON, TYPE_0, TYPE_1};
use crate::layout::{Layout, Placement, lay_out};
use crate::ports::{HostBridge, RootPort};
use crate::space::{ConfigSpace, SIZE};
use crate::specimen::Specimen;
use proptest::prelude::*;

const BELOW: Placement =
    Placement { devfn: 0, multi_function: false, below_port: true, next_function: 0, occupied: false };

/// Identifier and place of each capability, by the pointers.
fn list(space: &ConfigSpace) -> Vec<(u8, u16)> {
    let byte = |at: u16| space.read(at, 1) as u8;
    let mut found = Vec::new();
    let mut at = byte(0x34);
    while at != 0 {
        found.push((byte(at.into()), at.into()));
        assert!(found.len() <= 48, "the list has no end");
        at = byte(u16::from(at) + 1);
    }
    found
}

/// The same of extended ones.
fn extended_list(space: &ConfigSpace) -> Vec<(u16, u16)> {
    let mut found = Vec::new();
    let mut at = 0x100;
    while at != 0 && space.read(at, 4) != 0 {
        found.push((space.read(at, 2) as u16, at));
        assert!(found.len() <= 960, "the list has no end");
        at = (space.read(at, 4) >> 20) as u16;
    }
    found
}

#[test]
fn a_device_with_everything_has_two_lists() {
    let (space, places) = lay_out(&Specimen::new().description(), &BELOW);
    let ids: Vec<u8> = list(&space).iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 0x10, 5, 0x11, 9, 9, 9, 9, 9]);
    assert_eq!(space.read(6, 2), 0x10, "Status says that there is a list");
    assert_eq!(extended_list(&space), [(0x000e, 0x100)]);
    // Each vendor-specific one has its length, and the last has all the room there is.
    let lengths: Vec<u32> = places.vendor.iter().map(|at| space.read(at + 2, 1)).collect();
    assert_eq!(lengths, [16, 20, 16, 16, 20]);
    assert_eq!(places.vendor.last(), Some(&(0x100 - 20)));
    // Endpoint, version 2; 65 vectors; the table in BAR 1.
    let express = places.express.unwrap();
    assert_eq!(space.read(express + 2, 2), 0x0012, "a legacy endpoint: it has ports");
    assert_eq!(space.read(places.msix.unwrap() + 2, 2), 64);
    assert_eq!(
        (space.read(places.msix.unwrap() + 4, 4), space.read(places.msix.unwrap() + 8, 4)),
        (1, 0x1001)
    );
}

#[test]
fn a_host_bridge_has_none() {
    let (space, _) = lay_out(&HostBridge.description(), &Placement::default());
    assert_eq!((list(&space), extended_list(&space)), (vec![], vec![]));
    assert_eq!((space.read(0, 4), space.read(8, 4)), (0x0008_1b36, 0x0600_0000));
    assert_eq!((space.read(6, 2), space.read(0x3c, 2)), (0, 0));
}

#[test]
fn a_root_port_says_what_is_in_it() {
    let port = RootPort { slot: 5 }.description();
    let (space, places) = lay_out(&port, &Placement { occupied: true, devfn: 8, ..Placement::default() });
    let at = places.express.unwrap();
    assert_eq!((space.read(0xe, 1), space.read(0x3d, 1)), (1, 1), "type 1, INTA");
    assert_eq!(space.read(at + 2, 2), 0x0142, "a root port with a slot");
    assert_eq!(space.read(at + 0x14, 4) >> 19, 5);
    assert_eq!((space.read(at + 0x1a, 2), space.read(at + 0x12, 2) >> 13 & 1), (0x40, 1), "present, link up");
    assert_eq!(extended_list(&space), [(0x000d, 0x100)]);
    let (space, _) = lay_out(&port, &Placement::default());
    assert_eq!((space.read(at + 0x1a, 2), space.read(at + 0x12, 2) >> 13 & 1), (0, 0), "empty, no link");
}

#[test]
fn on_the_root_bus_there_is_no_link() {
    let description = Description { bars: vec![], msix: None, ..Specimen::new().description() };
    let (space, places) = lay_out(&description, &Placement { multi_function: true, ..Placement::default() });
    let at = places.express.unwrap();
    assert_eq!(space.read(at + 2, 2), 0x0092, "an integrated endpoint");
    assert_eq!((space.read(at + 0xc, 4), space.read(at + 0x12, 2), space.read(0xe, 1)), (0, 0, 0x80));
    assert_eq!(extended_list(&space), []);
}

/// Extended capabilities that are to come have room beside all that there are: identifier and bytes.
const TO_COME: [(u16, u16); 6] =
    [(0x000d, 8), (0x000e, 8), (0x000f, 8), (0x0010, 0x40), (0x0001, 0x48), (0x001b, 0x10)];

#[test]
fn capabilities_come_in_any_combination() {
    let own: [(u8, u16, &[Register]); 4] = [
        (id::POWER, POWER_SIZE, POWER),
        (id::EXPRESS, EXPRESS_SIZE, EXPRESS),
        (id::MSI, MSI_SIZE, MSI),
        (id::MSIX, MSIX_SIZE, MSIX),
    ];
    for choice in 0..1u32 << 10 {
        let chosen = |n: usize| choice >> n & 1 != 0;
        let mut layout = Layout::new();
        let (mut ids, mut extended_ids) = (Vec::new(), Vec::new());
        for (_, (id, size, table)) in own.iter().enumerate().filter(|(n, _)| chosen(*n)) {
            ids.push((*id, layout.capability(*id, *size, &[table])));
        }
        for (_, (id, size)) in TO_COME.iter().enumerate().filter(|(n, _)| chosen(n + 4)) {
            extended_ids.push((*id, layout.extended(*id, 1, *size, &[])));
        }
        assert_eq!((list(&layout.space), extended_list(&layout.space)), (ids, extended_ids));
    }
}

#[test]
#[should_panic(expected = "does not fit")]
fn what_has_no_room_is_refused() {
    let mut layout = Layout::new();
    for _ in 0..4 {
        layout.capability(id::EXPRESS, EXPRESS_SIZE, &[EXPRESS]);
    }
}

/// A table as software may think of it: the access and the reset value of each bit, by a walk over all rows.
fn bit(tables: &[(u16, &[Register])], byte: u16, bit: u32) -> (Access, bool) {
    for (base, table) in tables {
        for register in *table {
            for field in register.fields {
                let first = 8 * u32::from(base + register.offset) + field.low;
                let number = 8 * u32::from(byte) + bit;
                if (first..=first + field.high - field.low).contains(&number) {
                    return (field.access, field.reset >> (number - first) & 1 != 0);
                }
            }
        }
    }
    (Access::RO, false)
}

/// What the function sets by itself before each write, and the write.
type Step = (u16, u8, u32, u32);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..0x80u16, 0..3u8, any::<u32>(), any::<u32>());
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn writes_do_to_each_bit_what_its_row_says(steps in steps(), bridge in any::<bool>()) {
        let tables: &[(u16, &[Register])] = &[
            (0, COMMON), (0, if bridge { TYPE_1 } else { TYPE_0 }), (0x40, EXPRESS), (0x40, EXPRESS_LINK), (0x40, EXPRESS_PORT),
        ];
        let mut space = ConfigSpace::new();
        tables.iter().for_each(|(base, table)| space.add(*base, table));
        let mut model: Vec<bool> = (0..0x400).map(|n| bit(tables, n / 8, u32::from(n % 8)).1).collect();
        for (at, log2, value, happened) in steps {
            let size = 1u8 << log2;
            let at = at & !(u16::from(size) - 1);
            // Something has happened that a write-1-to-clear bit tells of.
            for n in 0..32 {
                let byte = (at & !3) + n / 8;
                if bit(tables, byte, u32::from(n % 8)).0 == Access::RW1C && happened >> n & 1 != 0 {
                    model[usize::from(8 * byte + n % 8)] = true;
                    space.set(crate::fields::Bits { offset: byte, high: u32::from(n % 8), low: u32::from(n % 8) }, 1);
                }
            }
            space.write(at, size, value);
            for n in 0..8 * u16::from(size) {
                let byte = at + n / 8;
                let one = value >> n & 1 != 0;
                let now = &mut model[usize::from(8 * byte + n % 8)];
                match bit(tables, byte, u32::from(n % 8)).0 {
                    Access::RW => *now = one,
                    Access::RW1C => *now &= !one,
                    Access::RO | Access::Status => {}
                }
            }
            for byte in 0..0x80u16 {
                let expected = (0..8).fold(0, |sum, n| sum | u32::from(model[usize::from(8 * byte + n)]) << n);
                prop_assert_eq!(space.read(byte, 1), expected, "byte {:#x}", byte);
            }
            prop_assert_eq!(space.read(at & !3, 4), (0..4).fold(0, |sum, n| sum | space.read((at & !3) + n, 1) << (8 * n)));
        }
        let again = space.changed(&space.changes()).unwrap();
        prop_assert_eq!(again.changes(), space.changes());
    }
}

#[test]
fn a_state_that_cannot_be_is_refused() {
    let (space, _) = lay_out(&Specimen::new().description(), &BELOW);
    assert!(space.changed(&[(4, 0x0010_0407)]).is_some());
    for bad in [(0, 0), (4, 0x407), (6, 0), (2, 0), (SIZE as u16, 0), (0xffff, 1)] {
        assert!(space.changed(&[bad]).is_none(), "{bad:x?}");
    }
}

#[test]
fn every_row_stays_in_its_register() {
    for table in [COMMON, TYPE_0, TYPE_1, POWER, MSI, MSIX, EXPRESS, EXPRESS_LINK, EXPRESS_PORT, ACS, ARI] {
        for register in table {
            assert!(register.offset.is_multiple_of(register.width.into()), "{register:?}");
            let mut claimed = 0u64;
            for field in register.fields {
                let mask = (u64::MAX >> (63 - (field.high - field.low))) << field.low;
                assert!(field.high < 8 * u32::from(register.width) && field.low <= field.high, "{field:?}");
                assert_eq!(claimed & mask, 0, "{field:?} overlaps another");
                claimed |= mask;
            }
        }
    }
}
