//! Physical memory protection (Privileged Architecture, "Physical Memory Protection"): 4-byte grain.

use crate::Mode;

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessKind {
    /// Instruction fetch.
    Fetch,
    /// Load or load-reserved.
    Load,
    /// Store, store-conditional, atomic operation, `cbo.zero`.
    Store,
}

/// What PMP says about every access to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageVerdict {
    /// All are allowed.
    All,
    /// None is allowed.
    None,
    /// It depends on the bytes: ask [`Pmp::check`] each time.
    Mixed,
}

const R: u8 = 1;
const W: u8 = 2;
const X: u8 = 4;
const A: u8 = 3 << 3;
const A_TOR: u8 = 1 << 3;
const A_NA4: u8 = 2 << 3;
const L: u8 = 1 << 7;

/// Bits of `pmpaddr`: address bits 55:2.
const ADDR: u64 = (1 << 54) - 1;

/// An entry that matches something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    cfg: u8,
}

const NOWHERE: Range = Range { first: u64::MAX, last: 0, cfg: 0 };

/// A stretch of addresses about all of which PMP says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmpStretch {
    range: Range,
}

impl PmpStretch {
    /// No address at all: what to remember before the first question, and whenever an entry has changed.
    pub const NONE: PmpStretch = PmpStretch { range: NOWHERE };

    /// Whether the 4 KiB page that holds `pa` lies inside.
    #[inline(always)]
    pub fn holds_page(&self, pa: u64) -> bool {
        self.range.first <= pa & !0xfff && pa | 0xfff <= self.range.last
    }

    /// What [`Pmp::check`] says about accesses inside.
    #[inline(always)]
    pub fn allows(&self, access: AccessKind, mode: Mode) -> bool {
        allows(self.range.cfg, access, mode)
    }
}

/// The PMP entries of a hart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmp {
    entries: u8,
    cfg: [u8; 64],
    addr: [u64; 64],
    /// The entries that match something, by priority: computed from the above.
    ranges: [Range; 64],
    active: u8,
}

impl Pmp {
    /// `entries` entries (at most 64), all off and unlocked.
    pub fn new(entries: u8) -> Pmp {
        Pmp { entries: entries.min(64), cfg: [0; 64], addr: [0; 64], ranges: [NOWHERE; 64], active: 0 }
    }

    /// How many entries there are.
    pub fn entries(&self) -> u8 {
        self.entries
    }

    /// Configuration of `entry`, as in its byte of `pmpcfg`; 0 if there is none.
    pub fn cfg(&self, entry: u8) -> u8 {
        self.cfg.get(usize::from(entry)).copied().unwrap_or(0)
    }

    /// `pmpaddr` of `entry`; 0 if there is none.
    pub fn addr(&self, entry: u8) -> u64 {
        self.addr.get(usize::from(entry)).copied().unwrap_or(0)
    }

    /// `pmpcfgN` with an even N: eight entries from 4N on.
    pub fn cfg_register(&self, register: u8) -> u64 {
        let byte = |i: u8| self.cfg(register.saturating_mul(4).saturating_add(i));
        u64::from_le_bytes(core::array::from_fn(|i| byte(i as u8)))
    }

    /// Writes `pmpcfgN`; locked entries keep what they have. Returns whether anything changed.
    ///
    /// Bits 6:5 stay 0. W without R is reserved: such a write leaves W clear.
    pub fn set_cfg_register(&mut self, register: u8, value: u64) -> bool {
        let mut changed = false;
        for (i, byte) in (0u8..).zip(value.to_le_bytes()) {
            let entry = register.saturating_mul(4).saturating_add(i);
            if entry >= self.entries || self.cfg(entry) & L != 0 {
                continue;
            }
            if let Some(cfg) = self.cfg.get_mut(usize::from(entry)) {
                let new = legal_cfg(byte);
                changed |= new != *cfg;
                *cfg = new;
            }
        }
        if changed {
            self.compute_ranges();
        }
        changed
    }

    /// Writes `pmpaddr` of `entry`, unless it is locked or is the lower bound of a locked TOR entry.
    /// Returns whether anything changed.
    pub fn set_addr(&mut self, entry: u8, value: u64) -> bool {
        let next = self.cfg(entry.saturating_add(1));
        let locked = self.cfg(entry) & L != 0 || next & L != 0 && next & A == A_TOR;
        if entry >= self.entries || locked {
            return false;
        }
        let Some(addr) = self.addr.get_mut(usize::from(entry)) else {
            return false;
        };
        let changed = *addr != value & ADDR;
        *addr = value & ADDR;
        if changed {
            self.compute_ranges();
        }
        changed
    }

    /// Sets all entries whatever is locked, as after loading a saved state.
    pub(crate) fn restore(&mut self, cfg: &[u8; 64], addr: &[u64; 64]) {
        let entries = usize::from(self.entries);
        for (i, (to, from)) in self.cfg.iter_mut().zip(cfg).enumerate() {
            *to = if i < entries { legal_cfg(*from) } else { 0 };
        }
        for (i, (to, from)) in self.addr.iter_mut().zip(addr).enumerate() {
            *to = if i < entries { *from & ADDR } else { 0 };
        }
        self.compute_ranges();
    }

    fn compute_ranges(&mut self) {
        let mut ranges = [NOWHERE; 64];
        let mut free = ranges.iter_mut();
        let mut active = 0;
        let mut below = 0;
        for (&cfg, &addr) in self.cfg.iter().zip(&self.addr) {
            if let Some((first, last)) = matched(cfg, below, addr)
                && let Some(range) = free.next()
            {
                *range = Range { first, last, cfg };
                active += 1;
            }
            below = addr;
        }
        self.ranges = ranges;
        self.active = active;
    }

    fn active(&self) -> &[Range] {
        self.ranges.get(..usize::from(self.active)).unwrap_or_default()
    }

    /// Whether an access of `size` bytes at `pa` is allowed in `mode` ("Priority and Matching Logic").
    #[inline]
    pub fn check(&self, pa: u64, size: u64, access: AccessKind, mode: Mode) -> bool {
        let Some(last) = pa.checked_add(size.saturating_sub(1)) else {
            return false;
        };
        for range in self.active() {
            if last < range.first || range.last < pa {
                continue;
            }
            let all = range.first <= pa && last <= range.last;
            return all && allows(range.cfg, access, mode);
        }
        self.allowed_without_match(mode)
    }

    /// What [`Pmp::check`] says about all accesses inside the 4 KiB page at `page`.
    pub fn page_verdict(&self, page: u64, access: AccessKind, mode: Mode) -> PageVerdict {
        self.region_verdict(page & !0xfff, 0x1000, access, mode)
    }

    /// What [`Pmp::check`] says about all accesses inside the `size` bytes at `first`.
    pub fn region_verdict(&self, first: u64, size: u64, access: AccessKind, mode: Mode) -> PageVerdict {
        let last = first.saturating_add(size.saturating_sub(1));
        let mut allowed = self.allowed_without_match(mode);
        for range in self.active() {
            if last < range.first || range.last < first {
                continue;
            }
            if first < range.first || range.last < last {
                return PageVerdict::Mixed;
            }
            allowed = allows(range.cfg, access, mode);
            break;
        }
        if allowed { PageVerdict::All } else { PageVerdict::None }
    }

    /// The longest stretch of addresses around `pa` of which each is matched by the same entry, or none.
    pub fn stretch(&self, pa: u64) -> PmpStretch {
        // What no entry matches, M-mode may touch, as if an entry without rights matched it that is not locked; and
        // everybody where there are no entries.
        let unmatched = if self.entries == 0 { R | W | X } else { 0 };
        let mut found = Range { first: 0, last: u64::MAX, cfg: unmatched };
        for range in self.active() {
            if range.last < pa {
                found.first = found.first.max(range.last + 1);
            } else if pa < range.first {
                found.last = found.last.min(range.first - 1);
            } else {
                found.first = found.first.max(range.first);
                found.last = found.last.min(range.last);
                found.cfg = range.cfg;
                break;
            }
        }
        PmpStretch { range: found }
    }

    fn allowed_without_match(&self, mode: Mode) -> bool {
        mode == Mode::M || self.entries == 0
    }
}

fn legal_cfg(byte: u8) -> u8 {
    let byte = byte & (L | A | X | W | R);
    if byte & R == 0 { byte & !W } else { byte }
}

#[inline(always)]
fn allows(cfg: u8, access: AccessKind, mode: Mode) -> bool {
    let bit = match access {
        AccessKind::Fetch => X,
        AccessKind::Load => R,
        AccessKind::Store => W,
    };
    mode == Mode::M && cfg & L == 0 || cfg & bit != 0
}

/// First and last address that an entry matches; `below` is `pmpaddr` of the entry before.
fn matched(cfg: u8, below: u64, addr: u64) -> Option<(u64, u64)> {
    match cfg & A {
        0 => None,
        A_TOR => (below < addr).then(|| (below << 2, (addr << 2) - 1)),
        A_NA4 => Some((addr << 2, (addr << 2) + 3)),
        _ => {
            // With k trailing ones: 2^(k+3) bytes.
            let ones = addr ^ (addr + 1);
            let first = (addr & !ones) << 2;
            Some((first, first + (ones << 2 | 3)))
        }
    }
}
