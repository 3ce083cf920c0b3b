//! What `cpuid` says (SDM volume 2, "CPUID").
//!
//! The model names what the instructions and the system architecture here have, derived from the list that the decoder
//! is filtered by, and no more, with one exception: FPU, SSE and SSE2 are named because no x86-64 kernel starts without
//! them, though of their instructions only those exist that keep their state.
//!
//! The vendor is Intel's, since the frequencies of leaves 15H and 16H, which spare a kernel its calibration, are
//! believed on such processors only, and SYSCALL and the MSRs are as theirs. The signature is one that exists.

use crate::State;
use crate::rows::FEATURES;
use crate::walk::PHYSICAL_BITS;
use iced_x86::CpuidFeature;

/// What distinguishes one processor of the model from another: fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its APIC identifier.
    pub apic_id: u32,
    /// Processors in the machine.
    pub processors: u32,
    /// Frequency of the time-stamp counter.
    pub tsc_hz: u64,
    /// Frequency of the core crystal clock, by which the local APIC's timer counts.
    pub crystal_hz: u64,
    /// Whether it has 57-bit linear addresses.
    pub la57: bool,
}

impl Default for Identity {
    /// The only processor of a machine; 1 GHz both.
    fn default() -> Identity {
        let hz = 1_000_000_000;
        Identity { apic_id: 0, processors: 1, tsc_hz: hz, crystal_hz: hz, la57: false }
    }
}

/// What `cpuid` leaves in the registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the registers'")]
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// Family 6, model 5EH, stepping 3; also in EDX after reset.
pub const SIGNATURE: u32 = 0x506e3;
/// Highest basic leaf.
const LAST: u32 = 0x16;
/// Highest extended leaf.
const LAST_EXTENDED: u32 = 0x8000_0008;
/// The leaf of the hypervisor.
const HYPERVISOR: u32 = 0x4000_0000;
/// Bytes of a cache line, as `clflush` has it.
const LINE: u32 = 64;

/// Bits of the numbers given.
const fn bits(numbers: &[u32]) -> u32 {
    let (mut all, mut left) = (0, numbers);
    while let [number, rest @ ..] = left {
        all |= 1 << *number;
        left = rest;
    }
    all
}

/// Bit `number` if the decoder's rows have `feature`.
fn when(feature: CpuidFeature, number: u32) -> u32 {
    if FEATURES.contains(&feature) { 1 << number } else { 0 }
}

/// Leaf `leaf`, sub-leaf `subleaf`. A leaf beyond the last gives what the last basic one gives.
pub fn leaf(state: &State, leaf: u32, subleaf: u32) -> Leaf {
    let identity = &state.identity;
    match leaf {
        0 => text(LAST, b"GenuntelineI"),
        1 => features(state),
        // One descriptor each: "see leaf 4", "see leaf 18H".
        2 => Leaf { eax: 0x00fe_ff01, ..Leaf::default() },
        4 => cache(identity, subleaf),
        // The APIC's timer runs always.
        6 => Leaf { eax: 1 << 2, ..Leaf::default() },
        7 if subleaf == 0 => extended_features(identity),
        0xb => topology(identity, subleaf),
        0x15 => clock(identity),
        LAST => frequencies(identity),
        3..LAST => Leaf::default(),
        HYPERVISOR => text(HYPERVISOR, b"HostelHostel"),
        0x4000_0001..=0x4000_00ff => Leaf::default(),
        0x8000_0000 => Leaf { eax: LAST_EXTENDED, ..Leaf::default() },
        0x8000_0001 => Leaf {
            // LAHF and SAHF in 64-bit mode, PREFETCHW (which does nothing)
            ecx: bits(&[0, 8]) | when(CpuidFeature::LZCNT, 5),
            edx: bits(&[11, 20, 26, 27, 29]), // SYSCALL, XD, 1 GiB pages, RDTSCP, 64-bit mode
            ..Leaf::default()
        },
        0x8000_0002..=0x8000_0004 => brand(leaf - 0x8000_0002),
        0x8000_0006 => Leaf { ecx: 256 << 16 | 6 << 12 | LINE, ..Leaf::default() },
        0x8000_0007 => Leaf { edx: 1 << 8, ..Leaf::default() }, // invariant TSC
        LAST_EXTENDED => {
            let linear = if identity.la57 { 57 } else { 48 };
            Leaf { eax: PHYSICAL_BITS | linear << 8, ..Leaf::default() }
        }
        0x8000_0005 => Leaf::default(),
        _ => frequencies(identity),
    }
}

/// A signature of twelve letters: those of EBX, ECX and EDX.
fn text(eax: u32, letters: &[u8; 12]) -> Leaf {
    let (words, _) = letters.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
    let mut next = || words.next().unwrap_or(0);
    let (ebx, ecx, edx) = (next(), next(), next());
    Leaf { eax, ebx, ecx, edx }
}

fn features(state: &State) -> Leaf {
    let identity = &state.identity;
    let several = if identity.processors > 1 { 1 << 28 } else { 0 };
    // Not in one step to other processors (`Env::compare_exchange_16`), so not offered where there are any.
    let cx16 = if identity.processors > 1 { 0 } else { when(CpuidFeature::CMPXCHG16B, 13) };
    Leaf {
        eax: SIGNATURE,
        ebx: (LINE / 8) << 8 | (identity.processors & 0xff) << 16 | identity.apic_id << 24,
        // PCID, x2APIC, TSC deadline, hypervisor
        ecx: bits(&[17, 21, 24, 31]) | cx16 | when(CpuidFeature::MOVBE, 22) | when(CpuidFeature::POPCNT, 23),
        // FPU, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE-36, FXSR, SSE, SSE2
        edx: bits(&[0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 24, 25, 26])
            | when(CpuidFeature::CLFSH, 19)
            | several,
    }
}

fn extended_features(identity: &Identity) -> Leaf {
    Leaf {
        eax: 0,
        // FSGSBASE, SMEP, fast strings, INVPCID, SMAP
        ebx: bits(&[0, 7, 9, 10, 20])
            | when(CpuidFeature::BMI1, 3)
            | when(CpuidFeature::BMI2, 8)
            | when(CpuidFeature::ADX, 19)
            | when(CpuidFeature::CLFLUSHOPT, 23)
            | when(CpuidFeature::CLWB, 24),
        // UMIP, RDPID
        ecx: bits(&[2, 22]) | when(CpuidFeature::MOVDIRI, 27) | if identity.la57 { 1 << 16 } else { 0 },
        // SERIALIZE, ARCH_CAPABILITIES
        edx: bits(&[14, 29]),
    }
}

/// Leaf 4: what caches a kernel would like to hear of; there are none to see.
fn cache(identity: &Identity, subleaf: u32) -> Leaf {
    // Type, level, ways, sets, and whether all processors share it.
    let (kind, level, ways, sets, shared) = match subleaf {
        0 => (1, 1, 8, 64, false),
        1 => (2, 1, 8, 64, false),
        2 => (3, 2, 8, 512, false),
        3 => (3, 3, 16, 8192, true),
        _ => return Leaf::default(),
    };
    let sharing = if shared { identity.processors.max(1) - 1 } else { 0 };
    let cores = identity.processors.clamp(1, 64) - 1;
    Leaf {
        eax: kind | level << 5 | 1 << 8 | (sharing & 0xfff) << 14 | cores << 26,
        ebx: (LINE - 1) | ((ways - 1) << 22),
        ecx: sets - 1,
        edx: 0,
    }
}

/// Leaf 0BH: one thread a core, all cores in one package.
fn topology(identity: &Identity, subleaf: u32) -> Leaf {
    let processors = identity.processors.max(1);
    let (shift, count, kind) = match subleaf {
        0 => (0, 1, 1),
        1 => (u32::BITS - (processors - 1).leading_zeros(), processors & 0xffff, 2),
        _ => (0, 0, 0),
    };
    Leaf { eax: shift, ebx: count, ecx: subleaf & 0xff | kind << 8, edx: identity.apic_id }
}

/// Leaf 15H: the TSC's ratio to the crystal, in lowest terms.
fn clock(identity: &Identity) -> Leaf {
    let (mut a, mut b) = (identity.tsc_hz, identity.crystal_hz);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let unit = a.max(1);
    let (numerator, denominator) = (identity.tsc_hz / unit, identity.crystal_hz / unit);
    Leaf { eax: denominator as u32, ebx: numerator as u32, ecx: identity.crystal_hz as u32, edx: 0 }
}

/// Leaf 16H, in MHz: base, highest, bus.
fn frequencies(identity: &Identity) -> Leaf {
    let mhz = (identity.tsc_hz / 1_000_000) as u32 & 0xffff;
    Leaf { eax: mhz, ebx: mhz, ecx: 100, edx: 0 }
}

fn brand(part: u32) -> Leaf {
    const BRAND: &[u8; 48] = b"Hostel virtual processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let (words, _) = BRAND.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word)).skip(4 * part as usize);
    let mut next = || words.next().unwrap_or(0);
    Leaf { eax: next(), ebx: next(), ecx: next(), edx: next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendor_reads_ebx_edx_ecx() {
        let vendor = leaf(&State::reset(), 0, 0);
        let letters: Vec<u8> =
            [vendor.ebx, vendor.edx, vendor.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(letters, b"GenuineIntel");
    }

    #[test]
    fn a_kernel_finds_its_clock_without_calibration() {
        let mut state = State::reset();
        (state.identity.tsc_hz, state.identity.crystal_hz) = (2_400_000_000, 25_000_000);
        let clock = leaf(&state, 0x15, 0);
        assert_eq!((clock.eax, clock.ebx, clock.ecx), (1, 96, 25_000_000));
        assert_eq!(leaf(&state, 0x16, 0).eax, 2400);
    }

    /// Also a number that no board has must not stop the VMM.
    #[test]
    fn the_topology_has_room_for_any_number_of_processors() {
        let mut state = State::reset();
        for (processors, bits) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (255, 8), (u32::MAX, 32)] {
            state.identity.processors = processors;
            assert_eq!(leaf(&state, 0xb, 1).eax, bits, "{processors}");
        }
    }

    #[test]
    fn cmpxchg16b_is_offered_to_a_single_processor() {
        let mut state = State::reset();
        assert_eq!(leaf(&state, 1, 0).ecx >> 13 & 1, 1);
        state.identity.processors = 2;
        assert_eq!(leaf(&state, 1, 0).ecx >> 13 & 1, 0);
    }

    #[test]
    fn leaves_beyond_the_last_are_the_last() {
        let state = State::reset();
        assert_eq!(leaf(&state, 0x1234, 0), leaf(&state, LAST, 0));
        assert_eq!(leaf(&state, 0x8000_0009, 0), leaf(&state, LAST, 0));
    }
}
