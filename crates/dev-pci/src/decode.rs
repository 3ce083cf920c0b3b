//! What a function decodes now, as its configuration space says.
//!
//! Sources: PCI Local Bus Specification 3.0, 6.2.2 (enables), 6.2.5.1 (BARs); PCI-to-PCI Bridge Architecture Specification
//! 1.2, 3.2.5 (windows: a base above its limit is an empty one), 4.2.2 (ISA enable); PCI Express Base Specification,
//! 5.3.1.4.1 (in D3hot, configuration space only, and nothing through a bridge).

use crate::bar::{Bar, BarKind};
use crate::capabilities::{PortControl2, PowerControl};
use crate::fields::Bits;
use crate::header::*;
use crate::layout::Places;
use crate::space::ConfigSpace;

/// Bytes of a function's slot for configuration space and for each BAR: BAR `n` begins at `n + 1` times this.
pub(crate) const STRIDE_LOG2: u32 = 40;

/// The address spaces of PCI besides configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Io,
}

/// A range that a function claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Of which space.
    pub space: Space,
    /// First address.
    pub base: u64,
    /// Last address.
    pub last: u64,
    /// What offset of the function's slot the first is.
    pub at: u64,
}

/// A bridge's window: first and last address. Empty if the last is less.
pub(crate) type Range = (u64, u64);

/// What a bridge does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    /// Secondary Bus Number.
    pub secondary: u8,
    /// Subordinate Bus Number.
    pub subordinate: u8,
    /// The I/O window, unless it is off.
    pub io: Option<Range>,
    /// Within the first 64 KiB of ports, only the first 256 of each 1024 pass.
    pub isa: bool,
    /// The memory window and the prefetchable one, unless they are off.
    pub memory: Option<[Range; 2]>,
    /// Passes requests from below on.
    pub master: bool,
    /// Passes requests for functions beyond the eighth on.
    pub ari: bool,
    /// Holds what is below in reset.
    pub reset: bool,
    /// In a power state in which nothing passes.
    pub asleep: bool,
}

/// What a function claims and passes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decode {
    /// What its BARs claim.
    pub claims: Vec<Claim>,
    /// What it passes on, if it is a bridge.
    pub bridge: Option<Bridge>,
}

/// Whether a function is in D0.
pub(crate) fn is_awake(space: &ConfigSpace, places: &Places) -> bool {
    places.power.is_none_or(|at| !space.is_set(PowerControl::power_state.at(at)))
}

/// What a function with these BARs decodes.
pub(crate) fn decode(space: &ConfigSpace, places: &Places, bars: &[Bar]) -> Decode {
    let awake = is_awake(space, places);
    let enabled = |kind: BarKind| match kind {
        BarKind::Io => awake && space.is_set(Command::io_space),
        _ => awake && space.is_set(Command::memory_space),
    };
    let claims = bars.iter().filter(|bar| enabled(bar.kind)).map(|bar| claim(space, bar)).collect();
    let bridge = (space.get(HeaderType::layout) == 1).then(|| bridge(space, places, awake));
    Decode { claims, bridge }
}

fn claim(space: &ConfigSpace, bar: &Bar) -> Claim {
    let register = |n: u8| u64::from(space.get(Bits { offset: BARS + 4 * u16::from(n), high: 31, low: 0 }));
    let high = if bar.registers() == 2 { register(bar.number + 1) } else { 0 };
    let base = (high << 32 | register(bar.number)) & bar.address_bits();
    let kind = if bar.kind == BarKind::Io { Space::Io } else { Space::Memory };
    Claim { space: kind, base, last: base | (bar.size - 1), at: u64::from(bar.number + 1) << STRIDE_LOG2 }
}

fn bridge(space: &ConfigSpace, places: &Places, awake: bool) -> Bridge {
    let word = |bits: Bits| u64::from(space.get(bits));
    let io = (
        word(IoBaseUpper::address) << 16 | word(IoBase::address) << 12,
        word(IoLimitUpper::address) << 16 | word(IoLimit::address) << 12 | 0xfff,
    );
    let memory = (word(MemoryBase::address) << 20, word(MemoryLimit::address) << 20 | 0xf_ffff);
    let prefetchable = (
        word(PrefetchableBaseUpper::address) << 32 | word(PrefetchableBase::address) << 20,
        word(PrefetchableLimitUpper::address) << 32 | word(PrefetchableLimit::address) << 20 | 0xf_ffff,
    );
    Bridge {
        secondary: space.get(SecondaryBus::number) as u8,
        subordinate: space.get(SubordinateBus::number) as u8,
        io: (awake && space.is_set(Command::io_space)).then_some(io),
        isa: space.is_set(BridgeControl::isa_enable),
        memory: (awake && space.is_set(Command::memory_space)).then_some([memory, prefetchable]),
        master: awake && space.is_set(Command::bus_master),
        ari: places.express.is_some_and(|at| space.is_set(PortControl2::ari_forwarding.at(at))),
        reset: space.is_set(BridgeControl::secondary_bus_reset),
        asleep: !awake,
    }
}
