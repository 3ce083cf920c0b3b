//! Who uses which integer register in a program: every program has its own order. The handler in S-mode has x28 to
//! x30, which a program may read; the stack pointer is x2 and the return address x1, as compressed instructions have it.

use crate::random::Random;

/// Loops in loops.
pub const LEVELS: usize = 3;

/// What registers are for.
#[derive(Clone, Debug)]
pub struct Registers {
    /// Points into the data.
    pub base: i64,
    /// Points to the slot, where it is mapped as a whole.
    pub linear: i64,
    /// What is left of the loop passes and calls that the program may do.
    pub fuel: i64,
    /// Not 0 between a change of code or page tables and the fence for it, and where the context must not be switched.
    pub busy: i64,
    /// Counters of loops, by level.
    pub counters: [i64; LEVELS],
    /// How often a function may call itself.
    pub depth: i64,
    /// For addresses; random instructions may use them in between.
    pub address: [i64; 3],
    /// What random instructions may write: those above, and all that are left.
    pub free: Vec<i64>,
}

impl Registers {
    /// A random order.
    pub fn new(random: &mut Random) -> Registers {
        // The handler in M-mode keeps x27 to x31 as they are, so that a switch of context cannot change them.
        let mut order: Vec<i64> = (3..27).collect();
        random.shuffle(&mut order);
        let mut next = || order.pop().unwrap_or(0);
        let (base, linear, fuel, busy) = (next(), next(), next(), next());
        let counters = std::array::from_fn(|_| next());
        let depth = next();
        let address = std::array::from_fn(|_| next());
        let mut free = order;
        free.extend(address);
        free.extend([27, 31]);
        Registers { base, linear, fuel, busy, counters, depth, address, free }
    }

    /// One that random instructions may write.
    pub fn free(&self, random: &mut Random) -> i64 {
        random.pick(&self.free)
    }

    /// One to read: any, mostly one that random instructions write.
    pub fn any(&self, random: &mut Random) -> i64 {
        if random.one_in(8) { random.below(32) as i64 } else { self.free(random) }
    }
}
