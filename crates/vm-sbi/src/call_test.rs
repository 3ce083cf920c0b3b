//! What the specification says of each function, but for the counters and the legacy ones.

use crate::fake::{Fake, RAM, RAM_SIZE, ROM};
use crate::*;
use isa_riscv::csr_fields::{irq, mstatus};
use isa_riscv::{Features, Hart, Mode};

pub(crate) const SUCCESS: i64 = 0;
pub(crate) const FAILED: i64 = -1;
pub(crate) const NOT_SUPPORTED: i64 = -2;
pub(crate) const INVALID_PARAM: i64 = -3;
pub(crate) const DENIED: i64 = -4;
pub(crate) const INVALID_ADDRESS: i64 = -5;
pub(crate) const ALREADY_AVAILABLE: i64 = -6;

const BASE: u64 = 0x10;
const TIME: u64 = 0x5449_4d45;
const IPI: u64 = 0x73_5049;
const RFENCE: u64 = 0x5246_4e43;
const HSM: u64 = 0x48_534d;
const SRST: u64 = 0x5352_5354;
const DBCN: u64 = 0x4442_434e;
const SUSP: u64 = 0x5355_5350;

/// The place of the `ecall`.
pub(crate) const PC: u64 = RAM + 0x100;

/// A machine whose first `started` harts execute.
pub(crate) struct Bench {
    pub sbi: Sbi,
    pub harts: Vec<Hart>,
    pub fake: Fake,
}

impl Bench {
    pub fn new(harts: u32, started: u32) -> Bench {
        Bench::with(harts, started, Features::FULL)
    }

    pub fn with(count: u32, started: u32, features: Features) -> Bench {
        let sbi = Sbi::new(count);
        sbi.power_on(0, PC, 0);
        let mut harts: Vec<Hart> = (0..count).map(|id| Hart::new(id.into(), &features)).collect();
        for id in 0..started {
            if id > 0 {
                sbi.harts[id as usize].hsm.start(crate::hsm::Entry { address: PC, opaque: 0 }).unwrap();
            }
            assert_eq!(sbi.resume(&mut harts[id as usize], false), Parked::Run);
        }
        Bench { sbi, harts, fake: Fake::default() }
    }

    /// Puts `hart` on an `ecall` with these arguments.
    fn prepare(&mut self, hart: usize, eid: u64, fid: u64, args: &[u64]) {
        let hart = &mut self.harts[hart];
        hart.pc = PC;
        hart.x[10..10 + args.len()].copy_from_slice(args);
        (hart.x[16], hart.x[17]) = (fid, eid);
    }

    /// A call by `hart`.
    pub fn after(&mut self, hart: usize, eid: u64, fid: u64, args: &[u64]) -> After {
        self.prepare(hart, eid, fid, args);
        self.sbi.call(&mut self.harts[hart], &mut self.fake)
    }

    /// Error and value of a call by hart 0 that returns.
    pub fn ecall(&mut self, eid: u64, fid: u64, args: &[u64]) -> (i64, u64) {
        self.prepare(0, eid, fid, args);
        let before = self.harts[0].x;
        assert_eq!(self.sbi.call(&mut self.harts[0], &mut self.fake), After::Continue);
        let hart = &self.harts[0];
        assert_eq!(hart.pc, PC + 4, "the call returns behind the ecall");
        let preserved = |x: &[u64; 32]| (x[..10].to_vec(), x[12..].to_vec());
        assert_eq!(preserved(&hart.x), preserved(&before), "all registers but a0 and a1 are preserved");
        (hart.x[10] as i64, hart.x[11])
    }
}

#[test]
fn what_is_in_the_table_and_nothing_else_is_answered() {
    for row in EXTENSIONS.iter().filter(|row| !row.legacy) {
        for (fid, function) in (0..).zip(row.functions) {
            let mut bench = Bench::new(1, 1);
            let after = bench.after(0, row.eid, fid, &[0; 6]);
            let refused = after == After::Continue && bench.harts[0].x[10] as i64 == NOT_SUPPORTED;
            // Event index 0 is no event: config_matching has to refuse it with that very code.
            let no_event = function.name == "sbi_pmu_counter_config_matching";
            assert_eq!(refused, function.function.is_none() || no_event, "{}", function.name);
        }
        for fid in [row.functions.len() as u64, 1 << 32, u64::MAX] {
            assert_eq!(Bench::new(1, 1).ecall(row.eid, fid, &[]).0, NOT_SUPPORTED);
        }
    }
    for eid in [9, 0xf, 0x11, 0x0a00_0000, 0x0900_0000, 1 << 32 | 0x10, u64::MAX] {
        assert_eq!(Bench::new(1, 1).ecall(eid, 0, &[]).0, NOT_SUPPORTED, "{eid:#x}");
    }
}

#[test]
fn base_reports_version_3_0_and_probes_by_the_table() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(BASE, 0, &[]), (SUCCESS, 0x0300_0000));
    assert_eq!(bench.ecall(BASE, 1, &[]).0, SUCCESS);
    assert_eq!(bench.ecall(BASE, 2, &[]).0, SUCCESS);
    for (eid, there) in [
        (BASE, 1),
        (TIME, 1),
        (IPI, 1),
        (RFENCE, 1),
        (HSM, 1),
        (SRST, 1),
        (DBCN, 1),
        (SUSP, 1),
        (0x50_4d55, 1),
        (0, 1),
        (8, 1),
        (9, 0),
        (0x4350_5043, 0),
        (0x53_5441, 0),
        (0x4657_4654, 0),
        (u64::MAX, 0),
    ] {
        assert_eq!(bench.ecall(BASE, 3, &[eid]), (SUCCESS, there), "{eid:#x}");
    }
}

#[test]
fn base_reports_the_machine_ids_of_the_hart() {
    let features = Features { mvendorid: 0x489, marchid: 1 << 63 | 7, mimpid: 0x2024, ..Features::FULL };
    let mut bench = Bench::with(1, 1, features);
    assert_eq!(bench.ecall(BASE, 4, &[]), (SUCCESS, 0x489));
    assert_eq!(bench.ecall(BASE, 5, &[]), (SUCCESS, 1 << 63 | 7));
    assert_eq!(bench.ecall(BASE, 6, &[]), (SUCCESS, 0x2024));
}

#[test]
fn the_timer_interrupt_is_pending_from_the_time_set_and_cleared_by_a_later_one() {
    for features in [Features::FULL, Features::RV64GC] {
        let mut bench = Bench::with(1, 1, features);
        assert_eq!(bench.ecall(TIME, 0, &[1000]).0, SUCCESS);
        let stip = |bench: &Bench, time| bench.harts[0].csr.pending(0, time) & irq::STI;
        assert_eq!((stip(&bench, 999), stip(&bench, 1000)), (0, irq::STI));
        bench.ecall(TIME, 0, &[2000]);
        assert_eq!(stip(&bench, 1500), 0);
        bench.ecall(TIME, 0, &[u64::MAX]);
        assert_eq!(stip(&bench, u64::MAX - 1), 0);
    }
}

#[test]
fn an_ipi_goes_to_the_harts_of_the_mask() {
    let mut bench = Bench::new(4, 4);
    assert_eq!(bench.ecall(IPI, 0, &[0b11, 1]).0, SUCCESS);
    assert_eq!(bench.ecall(IPI, 0, &[0, u64::MAX]).0, SUCCESS);
    assert_eq!(bench.fake.ipis, [vec![1, 2], vec![0, 1, 2, 3]]);
    assert_eq!(bench.ecall(IPI, 0, &[0b11, 3]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(IPI, 0, &[1, 1 << 40]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(IPI, 0, &[0, 99]).0, SUCCESS);
    assert_eq!(bench.fake.ipis.len(), 2, "nobody was sent anything else");
}

#[test]
fn a_stopped_hart_gets_neither_interrupts_nor_fences() {
    let mut bench = Bench::new(3, 2);
    assert_eq!(bench.ecall(IPI, 0, &[0b111, 0]).0, SUCCESS);
    assert_eq!(bench.ecall(RFENCE, 0, &[0, u64::MAX]).0, SUCCESS);
    assert_eq!(bench.ecall(RFENCE, 0, &[0b100, 0]).0, SUCCESS);
    assert_eq!(bench.fake.ipis, [vec![0, 1]]);
    assert_eq!(bench.fake.fences, [(vec![0, 1], Fence::Code)]);
}

#[test]
fn remote_fences_carry_range_and_address_space() {
    let mut bench = Bench::new(2, 2);
    let pages = Some(Pages { start: 0x4000, size: 0x2000 });
    assert_eq!(bench.ecall(RFENCE, 1, &[0b10, 0, 0x4000, 0x2000]).0, SUCCESS);
    assert_eq!(bench.ecall(RFENCE, 2, &[0b01, 1, 0x4000, 0x2000, 77]).0, SUCCESS);
    assert_eq!(bench.ecall(RFENCE, 1, &[0b10, 0, 0, 0]).0, SUCCESS);
    assert_eq!(bench.ecall(RFENCE, 2, &[0b10, 0, 0x1000, u64::MAX, 0]).0, SUCCESS);
    let fences: Vec<Fence> = bench.fake.fences.iter().map(|(_, fence)| *fence).collect();
    assert_eq!(
        fences,
        [
            Fence::Vma { pages, asid: None },
            Fence::Vma { pages, asid: Some(77) },
            Fence::Vma { pages: None, asid: None },
            Fence::Vma { pages: None, asid: Some(0) },
        ]
    );
    assert!(bench.fake.fences.iter().all(|(harts, _)| *harts == [1]));
}

#[test]
fn remote_fences_refuse_what_is_not_valid() {
    let mut bench = Bench::with(2, 2, Features { asid_bits: 9, ..Features::FULL });
    assert_eq!(bench.ecall(RFENCE, 1, &[0b100, 0, 0, 0]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(RFENCE, 2, &[1, 0, 0, 0, 511]).0, SUCCESS);
    assert_eq!(bench.ecall(RFENCE, 2, &[1, 0, 0, 0, 512]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(RFENCE, 2, &[1, 0, 0, 0, 1 << 32]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(RFENCE, 1, &[1, 0, 1 << 63, 1 << 63 | 1]).0, INVALID_ADDRESS);
    for fid in 3..=6 {
        assert_eq!(bench.ecall(RFENCE, fid, &[1, 0, 0, 0, 0]).0, NOT_SUPPORTED);
    }
    assert_eq!(bench.fake.fences.len(), 1);
}

#[test]
fn a_started_hart_begins_at_its_address_with_id_and_opaque() {
    let mut bench = Bench::new(2, 1);
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::Stopped as u64));
    assert_eq!(bench.ecall(HSM, 0, &[1, RAM + 0x2000, 0xabcd]).0, SUCCESS);
    assert_eq!(bench.fake.woken, [1]);
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::StartPending as u64));
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], false), Parked::Run);
    let hart = &bench.harts[1];
    assert_eq!((hart.mode, hart.pc, hart.x[10], hart.x[11]), (Mode::S, RAM + 0x2000, 1, 0xabcd));
    assert_eq!((hart.csr.satp, hart.csr.mstatus & mstatus::SIE), (0, 0));
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::Started as u64));
    assert_eq!(bench.ecall(HSM, 0, &[1, RAM, 0]).0, ALREADY_AVAILABLE);
    assert_eq!(bench.ecall(HSM, 0, &[0, RAM, 0]).0, ALREADY_AVAILABLE);
}

#[test]
fn a_hart_is_not_started_where_it_cannot_execute() {
    let mut bench = Bench::new(2, 1);
    for address in [0, RAM - 2, RAM + RAM_SIZE, RAM + 1, u64::MAX, u64::MAX - 1] {
        assert_eq!(bench.ecall(HSM, 0, &[1, address, 0]).0, INVALID_ADDRESS, "{address:#x}");
    }
    for hartid in [2, 1 << 32, u64::MAX] {
        assert_eq!(bench.ecall(HSM, 0, &[hartid, RAM, 0]).0, INVALID_PARAM);
        assert_eq!(bench.ecall(HSM, 2, &[hartid]).0, INVALID_PARAM);
    }
    assert_eq!(bench.fake.woken, []);
    assert_eq!(bench.ecall(HSM, 0, &[1, ROM, 0]).0, SUCCESS);
    let mut no_c = Bench::with(
        2,
        1,
        Features { extensions: Features::FULL.extensions.without(isa_riscv::Extension::C), ..Features::FULL },
    );
    assert_eq!(no_c.ecall(HSM, 0, &[1, RAM + 2, 0]).0, INVALID_ADDRESS);
}

#[test]
fn a_hart_stops_itself_and_can_be_started_again() {
    let mut bench = Bench::new(2, 2);
    bench.fake.ipi_on_its_way = true;
    assert_eq!(bench.after(1, HSM, 1, &[]), After::Stop);
    assert!(!bench.fake.ipi_on_its_way);
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::StopPending as u64));
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], true), Parked::Stopped);
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::Stopped as u64));
    assert_eq!(bench.ecall(HSM, 0, &[1, RAM, 5]).0, SUCCESS);
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], false), Parked::Run);
    assert_eq!(bench.harts[1].x[11], 5);
}

#[test]
fn a_retentive_suspend_returns_success_and_keeps_everything() {
    let mut bench = Bench::new(2, 2);
    bench.harts[1].csr.satp = 8 << 60 | 0x80000;
    bench.harts[1].x[5] = 55;
    // The resume address does not matter, nor do the upper halves of 32-bit parameters.
    assert_eq!(bench.after(1, HSM, 3, &[1 << 32, 3, 4]), After::Suspend { system: false });
    let mut expected = bench.harts[1].clone();
    (expected.x[10], expected.x[11], expected.pc) = (0, 0, PC + 4);
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::SuspendPending as u64));
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], false), Parked::Suspended);
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::Suspended as u64));
    assert_eq!(bench.ecall(IPI, 0, &[0b10, 0]).0, SUCCESS);
    assert_eq!(bench.fake.ipis, [vec![1]]);
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], true), Parked::Run);
    assert_eq!(bench.harts[1], expected);
    assert_eq!(bench.ecall(HSM, 2, &[1]), (SUCCESS, HartState::Started as u64));
}

#[test]
fn a_non_retentive_suspend_resumes_at_its_address() {
    let mut bench = Bench::new(2, 2);
    bench.harts[1].csr.satp = 8 << 60 | 0x80000;
    bench.harts[1].csr.mstatus |= mstatus::SIE;
    let suspend = After::Suspend { system: false };
    assert_eq!(bench.after(1, HSM, 3, &[0x8000_0000, RAM + 0x3000, 9]), suspend);
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], false), Parked::Suspended);
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], true), Parked::Run);
    let hart = &bench.harts[1];
    assert_eq!((hart.mode, hart.pc, hart.x[10], hart.x[11]), (Mode::S, RAM + 0x3000, 1, 9));
    assert_eq!((hart.csr.satp, hart.csr.mstatus & mstatus::SIE), (0, 0));
}

#[test]
fn suspend_refuses_reserved_types_and_bad_addresses() {
    let mut bench = Bench::new(1, 1);
    for kind in [1, 0x0fff_ffff, 0x1000_0000, 0x7fff_ffff, 0x8000_0001, 0x9000_0000, 0xffff_ffff] {
        assert_eq!(bench.ecall(HSM, 3, &[kind, RAM, 0]).0, INVALID_PARAM, "{kind:#x}");
    }
    assert_eq!(bench.ecall(HSM, 3, &[0x8000_0000, RAM + RAM_SIZE, 0]).0, INVALID_ADDRESS);
    assert_eq!(bench.sbi.state(0), Some(HartState::Started));
}

#[test]
fn reset_has_three_types_and_two_reasons() {
    use ResetKind::*;
    let mut bench = Bench::new(1, 1);
    for (kind, expected) in [(0, Shutdown), (1, ColdReboot), (2, WarmReboot)] {
        for (reason, why) in [(0, ResetReason::None), (1, ResetReason::SystemFailure)] {
            let after = bench.after(0, SRST, 0, &[kind | 7 << 32, reason | 7 << 32]);
            assert_eq!(after, After::Reset { kind: expected, reason: why });
        }
    }
    for kind in [3, 0xefff_ffff, 0xf000_0000, 0xffff_ffff] {
        assert_eq!(bench.ecall(SRST, 0, &[kind, 0]).0, INVALID_PARAM);
    }
    for reason in [2, 0xdfff_ffff, 0xe000_0000, 0xf000_0000] {
        assert_eq!(bench.ecall(SRST, 0, &[0, reason]).0, INVALID_PARAM);
    }
}

#[test]
fn system_suspend_wants_all_other_harts_stopped() {
    let mut bench = Bench::new(2, 2);
    assert_eq!(bench.ecall(SUSP, 0, &[0, RAM, 1]).0, DENIED);
    assert_eq!(bench.after(1, HSM, 1, &[]), After::Stop);
    assert_eq!(bench.ecall(SUSP, 0, &[0, RAM, 1]).0, DENIED, "stop-pending is not stopped");
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], false), Parked::Stopped);
    for kind in [1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        assert_eq!(bench.ecall(SUSP, 0, &[kind, RAM, 1]).0, INVALID_PARAM);
    }
    assert_eq!(bench.ecall(SUSP, 0, &[0, RAM + RAM_SIZE, 1]).0, INVALID_ADDRESS);
    assert_eq!(bench.after(0, SUSP, 0, &[1 << 32, RAM + 0x40, 6]), After::Suspend { system: true });
    assert_eq!(bench.sbi.resume(&mut bench.harts[0], false), Parked::Suspended);
    assert_eq!(bench.sbi.resume(&mut bench.harts[0], true), Parked::Run);
    let hart = &bench.harts[0];
    assert_eq!((hart.pc, hart.x[10], hart.x[11], hart.csr.satp), (RAM + 0x40, 0, 6, 0));
}

#[test]
fn the_console_writes_bytes_of_physical_memory() {
    let mut bench = Bench::new(1, 1);
    bench.fake.bytes(RAM + 0x500, 5).copy_from_slice(b"hello");
    assert_eq!(bench.ecall(DBCN, 0, &[5, RAM + 0x500, 0]), (SUCCESS, 5));
    assert_eq!(bench.ecall(DBCN, 0, &[0, 0, 0]), (SUCCESS, 0));
    assert_eq!(bench.ecall(DBCN, 0, &[4, ROM, 0]), (SUCCESS, 4));
    assert_eq!(bench.fake.output, b"hello\0\0\0\0");
}

#[test]
fn a_console_write_may_be_partial_and_is_bounded() {
    let mut bench = Bench::new(1, 1);
    bench.fake.room = 1500;
    assert_eq!(bench.ecall(DBCN, 0, &[4000, RAM, 0]), (SUCCESS, 1500));
    assert_eq!(bench.ecall(DBCN, 0, &[4000, RAM, 0]), (SUCCESS, 0));
    bench.fake.room = usize::MAX;
    let (error, written) = bench.ecall(DBCN, 0, &[RAM_SIZE, RAM, 0]);
    assert!(error == SUCCESS && (1..RAM_SIZE).contains(&written));
}

#[test]
fn the_console_wants_every_byte_of_the_range_to_be_memory() {
    let mut bench = Bench::new(1, 1);
    for (size, low, high) in [
        (RAM_SIZE + 1, RAM, 0),
        (1 << 60, RAM, 0),
        (u64::MAX, RAM, 0),
        (1, RAM - 1, 0),
        (1, RAM, 1),
        (1, RAM, u64::MAX),
        (2, u64::MAX, 0),
    ] {
        for fid in [0, 1] {
            let answer = bench.ecall(DBCN, fid, &[size, low, high]).0;
            assert_eq!(answer, INVALID_PARAM, "{size:#x} {low:#x} {high:#x}");
        }
    }
    bench.fake.input.extend(b"x");
    assert_eq!(bench.ecall(DBCN, 1, &[1, ROM, 0]).0, INVALID_PARAM, "read only");
    assert_eq!((bench.fake.output.len(), bench.fake.input.len()), (0, 1));
}

#[test]
fn the_console_reads_what_has_come() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(DBCN, 1, &[8, RAM, 0]), (SUCCESS, 0));
    bench.fake.input.extend(b"abcdefghij");
    assert_eq!(bench.ecall(DBCN, 1, &[8, RAM + 1, 0]), (SUCCESS, 8));
    assert_eq!(bench.fake.bytes(RAM, 10), b"\0abcdefgh\0");
    assert_eq!(bench.ecall(DBCN, 1, &[8, RAM, 0]), (SUCCESS, 2));
}

#[test]
fn write_byte_blocks_until_the_console_takes_it() {
    let mut bench = Bench::new(1, 1);
    bench.fake.room = 0;
    assert_eq!(bench.after(0, DBCN, 2, &[0x141, 7]), After::Retry);
    let hart = &bench.harts[0];
    assert_eq!((hart.pc, hart.x[10], hart.x[11]), (PC, 0x141, 7));
    bench.fake.room = 1;
    assert_eq!(bench.ecall(DBCN, 2, &[0x141]), (SUCCESS, 0));
    assert_eq!(bench.fake.output, b"A");
}

#[test]
fn console_errors_are_denied_and_failed() {
    let mut bench = Bench::new(1, 1);
    for (error, code) in [(ConsoleError::Denied, DENIED), (ConsoleError::Io, FAILED)] {
        bench.fake.console = Some(error);
        for fid in 0..3 {
            assert_eq!(bench.ecall(DBCN, fid, &[1, RAM, 0]).0, code);
        }
    }
}

#[test]
fn power_on_starts_one_hart_and_stops_the_others() {
    let mut bench = Bench::new(3, 3);
    bench.sbi.power_on(2, RAM + 8, 0xfd7);
    let parked: Vec<Parked> = bench.harts.iter_mut().map(|h| bench.sbi.resume(h, true)).collect();
    assert_eq!(parked, [Parked::Stopped, Parked::Stopped, Parked::Run]);
    assert_eq!((bench.harts[2].pc, bench.harts[2].x[11]), (RAM + 8, 0xfd7));
}

#[test]
fn a_saved_firmware_is_taken_back_only_by_one_that_could_have_written_it() {
    let mut bench = Bench::new(3, 1);
    bench.ecall(HSM, 0, &[1, RAM + 0x80, 77]);
    bench.ecall(IPI, 0, &[1, 0]);
    let saved = bench.sbi.save();
    let other = Sbi::new(3);
    assert_eq!(other.load(&saved), Ok(()));
    assert_eq!(other.save(), saved);
    assert_eq!(other.resume(&mut bench.harts[1], false), Parked::Run);
    assert_eq!((bench.harts[1].pc, bench.harts[1].x[11]), (RAM + 0x80, 77));
    let count = Sbi::new(2).load(&saved);
    assert_eq!(count, Err(saved::LoadError::Harts { found: 3, expected: 2 }));
    let damage: [fn(&mut saved::HartV1); 4] = [
        |hart| hart.state = 7,
        |hart| (hart.state, hart.entry) = (HartState::StartPending as u8, None),
        |hart| hart.firmware[0] = (Some(4), false, 0),
        |hart| hart.firmware[0] = (None, true, 0),
    ];
    for damage in damage {
        let mut bad = saved.clone();
        damage(&mut bad.harts[0]);
        assert_eq!(Sbi::new(3).load(&bad), Err(saved::LoadError::Damaged));
    }
}

/// A hart without S-mode is "not available to S-mode": it cannot be started, asked for, interrupted or fenced, and it
/// does not keep the system from sleeping ("Hart State Management", "Binary Encoding").
#[test]
fn a_hart_without_s_mode_does_not_exist() {
    let mut bench = Bench::new(3, 0);
    bench.sbi = Sbi::serving(3, [0, 2].into_iter().collect());
    bench.sbi.power_on(0, PC, 0);
    assert_eq!(bench.sbi.resume(&mut bench.harts[0], false), Parked::Run);
    assert_eq!(bench.ecall(HSM, 0, &[1, RAM + 0x80, 0]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(HSM, 2, &[1]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(HSM, 2, &[2]), (SUCCESS, HartState::Stopped as u64));
    assert_eq!(bench.ecall(IPI, 0, &[0b010, 0]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(RFENCE, 0, &[0b111, 0]).0, INVALID_PARAM);
    assert_eq!(bench.ecall(IPI, 0, &[0, u64::MAX]).0, SUCCESS);
    assert_eq!(bench.fake.ipis, [vec![0]]);
    assert_eq!(bench.sbi.resume(&mut bench.harts[1], true), Parked::Stopped);
    assert!(matches!(bench.after(0, SUSP, 0, &[0, RAM + 0x80, 0]), After::Suspend { system: true }));
    // A state in which it runs is none that this firmware could have saved.
    let all = Sbi::new(3);
    all.power_on(1, PC, 0);
    assert_eq!(bench.sbi.load(&all.save()), Err(saved::LoadError::Damaged));
}
