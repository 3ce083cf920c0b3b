//! Where requests go, computed from what all functions decode.
//!
//! Buses and windows are what bridges' registers say, whatever that is; the tree of bridges is fixed. A look-up goes down
//! that tree, so that no bus numbers can make a loop: the first bridge of a bus whose range holds a number leads to it, and
//! below it the search goes on among the bridges there. Where BARs overlap, the first in the order of the tree has the
//! address: functions of a bus by device and function number, a bridge's own BARs before what is below it.

use crate::decode::{Bridge, Claim, Decode, Range, Space};

/// A function's place in the tree: the index of the port it is below (none on the root bus), device and function number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub port: Option<usize>,
    pub devfn: u8,
}

/// A range of addresses and who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub base: u64,
    pub last: u64,
    /// Index of the function.
    pub member: usize,
    /// What offset of its slot `base` is.
    pub at: u64,
}

/// Who is on a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bus {
    /// Nobody.
    #[default]
    Nobody,
    /// The functions of the root complex.
    Root,
    /// What is below a port.
    Below {
        /// Index of the port.
        port: usize,
        /// Functions beyond the eighth can be reached.
        ari: bool,
    },
}

/// All routes; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    /// By bus number.
    pub buses: Vec<Bus>,
    /// By address, disjoint.
    pub memory: Vec<Route>,
    /// By port, disjoint.
    pub io: Vec<Route>,
    /// Of each function: every bridge above it passes its requests on.
    pub reachable: Vec<bool>,
}

impl Routes {
    /// The routes through functions at these positions which decode this, in the same order.
    pub fn new(positions: &[Position], decodes: &[Decode]) -> Routes {
        let mut order: Vec<usize> = (0..positions.len()).collect();
        order.sort_by_key(|&n| positions.get(n).map(|p| p.devfn));
        let tree = Tree { positions, decodes, order };
        let mut routes = Routes {
            buses: (0..=u8::MAX).map(|number| tree.bus(number)).collect(),
            memory: Vec::new(),
            io: Vec::new(),
            reachable: vec![false; positions.len()],
        };
        tree.walk(None, true, &[(0, u64::MAX)], &[(0, u64::MAX)], &mut routes);
        routes
    }

    /// Who has an access of `size` bytes at `address`: index and offset of its slot.
    pub fn find(&self, space: Space, address: u64, size: u8) -> Option<(usize, u64)> {
        let routes = match space {
            Space::Memory => &self.memory,
            Space::Io => &self.io,
        };
        let route = routes.get(routes.partition_point(|route| route.base <= address).checked_sub(1)?)?;
        let end = address.checked_add(u64::from(size) - 1)?;
        (end <= route.last).then_some((route.member, route.at + (address - route.base)))
    }
}

struct Tree<'a> {
    positions: &'a [Position],
    decodes: &'a [Decode],
    /// Indices by device and function number.
    order: Vec<usize>,
}

impl Tree<'_> {
    /// The functions on a bus, with what they decode.
    fn below(&self, port: Option<usize>) -> impl Iterator<Item = (usize, &Decode)> {
        let on_bus = move |n: &&usize| self.positions.get(**n).is_some_and(|p| p.port == port);
        self.order.iter().filter(on_bus).filter_map(|&n| Some((n, self.decodes.get(n)?)))
    }

    /// Who is on bus `number`.
    fn bus(&self, number: u8) -> Bus {
        if number == 0 {
            return Bus::Root;
        }
        let mut port = None;
        // Each turn goes down one bridge of a tree that is finite.
        loop {
            let leads = |bridge: &Bridge| {
                (bridge.secondary..=bridge.subordinate).contains(&number) && bridge.passes_configuration()
            };
            let next = self
                .below(port)
                .find_map(|(n, decode)| Some((n, decode.bridge.as_ref().filter(|b| leads(b))?)));
            match next {
                None => return Bus::Nobody,
                Some((n, bridge)) if bridge.secondary == number => {
                    return Bus::Below { port: n, ari: bridge.ari };
                }
                Some((n, _)) => port = Some(n),
            }
        }
    }

    /// Adds the routes to what is below `port`, to which only these ranges lead.
    fn walk(
        &self,
        port: Option<usize>,
        reachable: bool,
        memory: &[Range],
        io: &[Range],
        routes: &mut Routes,
    ) {
        for (n, decode) in self.below(port) {
            if let Some(entry) = routes.reachable.get_mut(n) {
                *entry = reachable;
            }
            for claim in &decode.claims {
                let (windows, list) = match claim.space {
                    Space::Memory => (memory, &mut routes.memory),
                    Space::Io => (io, &mut routes.io),
                };
                for window in windows {
                    insert(list, n, claim, *window);
                }
            }
            if let Some(bridge) = &decode.bridge {
                let open = !bridge.reset;
                let below = bridge.memory.filter(|_| open);
                let below_memory =
                    below.iter().flatten().flat_map(|window| common(memory, *window)).collect::<Vec<_>>();
                let below_io: Vec<Range> = bridge
                    .io_windows()
                    .into_iter()
                    .filter(|_| open)
                    .flat_map(|window| common(io, window))
                    .collect();
                let passes = reachable && open && bridge.master;
                self.walk(Some(n), passes, &below_memory, &below_io, routes);
            }
        }
    }
}

impl Bridge {
    fn passes_configuration(&self) -> bool {
        !self.reset && !self.asleep
    }

    /// The I/O window in the pieces that the ISA enable leaves of it.
    fn io_windows(&self) -> Vec<Range> {
        const ISA_END: u64 = 0xffff;
        let Some((base, last)) = self.io else { return Vec::new() };
        if !self.isa || base > last {
            return vec![(base, last)];
        }
        // Bases and limits are multiples of 4096 (minus one), so that whole blocks of 1024 are inside.
        let mut windows: Vec<Range> =
            (base..=last.min(ISA_END)).step_by(0x400).map(|block| (block, block + 0xff)).collect();
        if last > ISA_END {
            windows.push((base.max(ISA_END + 1), last));
        }
        windows
    }
}

/// What `window` has in common with each of `ranges`.
fn common(ranges: &[Range], window: Range) -> Vec<Range> {
    let both = ranges.iter().map(|range| (range.0.max(window.0), range.1.min(window.1)));
    both.filter(|(base, last)| base <= last).collect()
}

/// Adds what of `claim` lies in `window` and is nobody's yet.
fn insert(list: &mut Vec<Route>, member: usize, claim: &Claim, window: Range) {
    let last = claim.last.min(window.1);
    let mut next = Some(claim.base.max(window.0)).filter(|base| *base <= last);
    while let Some(base) = next {
        // The first taken range that ends at or after `base`.
        let place = list.partition_point(|route| route.last < base);
        let taken = list.get(place).filter(|route| route.base <= last).map(|route| (route.base, route.last));
        let end = match taken {
            Some((from, _)) if from <= base => None,
            Some((from, _)) => Some(from - 1),
            None => Some(last),
        };
        if let Some(end) = end {
            list.insert(place, Route { base, last: end, member, at: claim.at + (base - claim.base) });
        }
        next = taken.and_then(|(_, until)| until.checked_add(1)).filter(|next| *next <= last);
    }
}
