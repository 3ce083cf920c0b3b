//! Routes against a plain model that asks every function for every address, and buses with wild numbers.

use crate::decode::{Bridge, Claim, Decode, Space};
use crate::routes::{Bus, Position, Routes};
use proptest::prelude::*;

/// A tree of functions: some ports on the root bus and below each other, devices anywhere.
fn positions() -> Vec<Position> {
    let at = |port, devfn| Position { port, devfn };
    vec![
        at(None, 0x08),
        at(None, 0x10),
        at(Some(0), 0x00),
        at(Some(2), 0x00),
        at(Some(0), 0x08),
        at(Some(1), 0x00),
        at(None, 0x00),
        at(Some(3), 0x01),
        at(Some(3), 0x00),
    ]
}

/// Which of them are ports.
const PORTS: [usize; 4] = [0, 1, 2, 3];

/// Who has `address`, by going down the tree from `port` with the address in hand.
fn owner(
    positions: &[Position],
    decodes: &[Decode],
    port: Option<usize>,
    space: Space,
    address: u64,
) -> Option<(usize, u64)> {
    let mut below: Vec<usize> = (0..positions.len()).filter(|n| positions[*n].port == port).collect();
    below.sort_by_key(|n| positions[*n].devfn);
    for n in below {
        let claims = |c: &&Claim| c.space == space && (c.base..=c.last).contains(&address);
        if let Some(claim) = decodes[n].claims.iter().find(claims) {
            return Some((n, claim.at + (address - claim.base)));
        }
        let Some(bridge) = decodes[n].bridge else { continue };
        let within = |range: (u64, u64)| range.0 <= address && address <= range.1;
        let passes = match space {
            Space::Memory => bridge.memory.is_some_and(|windows| windows.into_iter().any(within)),
            Space::Io => {
                let blocked = bridge.isa && address < 0x1_0000 && address & 0x300 != 0;
                bridge.io.is_some_and(within) && !blocked
            }
        };
        if passes
            && !bridge.reset
            && let Some(found) = owner(positions, decodes, Some(n), space, address)
        {
            return Some(found);
        }
    }
    None
}

/// Addresses are few, so that ranges meet.
fn range(unit: u64) -> impl Strategy<Value = (u64, u64)> {
    (0..12u64, 0..12u64).prop_map(move |(base, last)| (base * unit, last * unit + unit - 1))
}

prop_compose! {
    fn bridge()(
        numbers in (0..6u8, 0..8u8), io in proptest::option::of(range(0x1000)), isa in any::<bool>(),
        memory in proptest::option::of((range(0x1000), range(0x1000))), flags in 0..64u8,
    ) -> Bridge {
        Bridge {
            secondary: numbers.0, subordinate: numbers.1, io, isa, memory: memory.map(|(a, b)| [a, b]),
            master: flags & 1 != 0, ari: flags & 2 != 0, reset: flags & 0x3c == 0, asleep: flags & 0x3c == 4,
        }
    }
}

prop_compose! {
    fn claim()(memory in any::<bool>(), base in 0..48u64, log2 in 0..4u32, number in 1..7u64) -> Claim {
        let size = 0x100u64 << (2 * log2);
        let base = (base * 0x400) & !(size - 1);
        Claim { space: if memory { Space::Memory } else { Space::Io }, base, last: base + size - 1, at: number << 40 }
    }
}

prop_compose! {
    fn decodes()(
        claims in proptest::collection::vec(proptest::collection::vec(claim(), 0..3), 9),
        bridges in proptest::collection::vec(bridge(), 4),
    ) -> Vec<Decode> {
        let bridge = |n: usize| PORTS.iter().position(|port| *port == n).map(|n| bridges[n]);
        claims.iter().enumerate().map(|(n, claims)| Decode { claims: claims.clone(), bridge: bridge(n) }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn routes_are_what_the_tree_says(decodes in decodes()) {
        let positions = positions();
        let routes = Routes::new(&positions, &decodes);
        for space in [Space::Memory, Space::Io] {
            for address in (0..0xe000).step_by(0x100) {
                for address in [address, address + 0xff] {
                    let expected = owner(&positions, &decodes, None, space, address);
                    prop_assert_eq!(routes.find(space, address, 1), expected, "{:#x}", address);
                }
            }
        }
        for list in [&routes.memory, &routes.io] {
            prop_assert!(list.iter().all(|route| route.base <= route.last));
            prop_assert!(list.windows(2).all(|two| two[0].last < two[1].base));
        }
    }

    #[test]
    fn any_bus_numbers_lead_down_or_nowhere(decodes in decodes()) {
        let positions = positions();
        let routes = Routes::new(&positions, &decodes);
        prop_assert_eq!(routes.buses[0], Bus::Root);
        for (number, bus) in routes.buses.iter().enumerate().skip(1) {
            if let Bus::Below { port, .. } = *bus {
                // Every bridge on the way holds the number, and the last one's secondary bus it is.
                prop_assert_eq!(usize::from(decodes[port].bridge.unwrap().secondary), number);
                let mut at = Some(port);
                while let Some(port) = at {
                    let bridge = decodes[port].bridge.unwrap();
                    prop_assert!(!bridge.reset && !bridge.asleep);
                    prop_assert!((bridge.secondary..=bridge.subordinate).contains(&(number as u8)));
                    at = positions[port].port;
                }
            }
        }
    }

    #[test]
    fn requests_go_up_through_masters_only(decodes in decodes()) {
        let positions = positions();
        let routes = Routes::new(&positions, &decodes);
        for (n, position) in positions.iter().enumerate() {
            let mut expected = true;
            let mut at = position.port;
            while let Some(port) = at {
                let bridge = decodes[port].bridge.unwrap();
                expected &= bridge.master && !bridge.reset;
                at = positions[port].port;
            }
            prop_assert_eq!(routes.reachable[n], expected);
        }
    }
}

#[test]
fn an_access_over_the_end_of_a_range_has_no_owner() {
    let claim = Claim { space: Space::Io, base: 0x100, last: 0x103, at: 1 << 40 };
    let high = Claim { space: Space::Memory, base: u64::MAX - 15, last: u64::MAX, at: 2 << 40 };
    let decodes = [Decode { claims: vec![claim, high], bridge: None }];
    let routes = Routes::new(&[Position { port: None, devfn: 0 }], &decodes);
    assert_eq!(routes.find(Space::Io, 0x100, 4), Some((0, 1 << 40)));
    assert_eq!(routes.find(Space::Io, 0x100, 8), None);
    assert_eq!(routes.find(Space::Memory, u64::MAX - 7, 8), Some((0, (2 << 40) + 8)));
    assert_eq!(routes.find(Space::Memory, u64::MAX, 2), None);
    assert_eq!(routes.find(Space::Memory, 0, 1), None);
}
