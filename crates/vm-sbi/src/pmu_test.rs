//! What the specification says of the performance counters.

use crate::call_test::{Bench, INVALID_ADDRESS, INVALID_PARAM, NOT_SUPPORTED, SUCCESS};
use crate::fake::{RAM, RAM_SIZE, ROM};
use isa_riscv::Features;

const PMU: u64 = 0x50_4d55;
const FAILED: i64 = -1;
const ALREADY_STARTED: i64 = -7;
const ALREADY_STOPPED: i64 = -8;
const NO_SHMEM: i64 = -9;

const CLEAR_VALUE: u64 = 2;
const AUTO_START: u64 = 4;
const SET_INIT: u64 = 1;
const RESET: u64 = 1;
const CYCLES: u64 = 1;
const INSTRUCTIONS: u64 = 2;
const SET_TIMER: u64 = 0xf_0005;

/// All counters that exist.
const ALL: u64 = 0x7_fffd;

fn set_timer(bench: &mut Bench) {
    bench.ecall(0x5449_4d45, 0, &[u64::MAX]);
}

fn read(bench: &mut Bench, counter: u64) -> u64 {
    let (error, value) = bench.ecall(PMU, 5, &[counter]);
    assert_eq!(error, SUCCESS);
    value
}

#[test]
fn counters_0_and_2_are_csrs_of_64_bits_and_16_are_firmware_counters() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 0, &[]), (SUCCESS, 19));
    assert_eq!(bench.ecall(PMU, 1, &[0]), (SUCCESS, 63 << 12 | 0xc00));
    assert_eq!(bench.ecall(PMU, 1, &[2]), (SUCCESS, 63 << 12 | 0xc02));
    for counter in 3..19 {
        assert_eq!(bench.ecall(PMU, 1, &[counter]), (SUCCESS, 1 << 63));
    }
    for counter in [1, 19, 1 << 32, u64::MAX] {
        assert_eq!(bench.ecall(PMU, 1, &[counter]).0, INVALID_PARAM);
    }
}

#[test]
fn a_hart_without_these_counters_offers_only_the_firmwares() {
    let no_zicntr = Features {
        extensions: Features::RV64GC
            .extensions
            .without(isa_riscv::Extension::Zihpm)
            .without(isa_riscv::Extension::Zicntr),
        ..Features::RV64GC
    };
    for features in [no_zicntr, Features { counter_mask: 0, ..Features::FULL }] {
        let mut bench = Bench::with(1, 1, features);
        assert_eq!(bench.ecall(PMU, 1, &[0]).0, INVALID_PARAM);
        assert_eq!(bench.ecall(PMU, 2, &[3, 0xffff, 0, CYCLES, 0]).0, NOT_SUPPORTED);
        assert_eq!(bench.ecall(PMU, 2, &[3, 0xffff, 0, SET_TIMER, 0]), (SUCCESS, 3));
    }
}

#[test]
fn events_go_to_the_counters_that_can_monitor_them() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 0, CYCLES, 0]), (SUCCESS, 0));
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 0, INSTRUCTIONS, 0]), (SUCCESS, 2));
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 0, SET_TIMER, 0]), (SUCCESS, 3));
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 0, SET_TIMER, 0]), (SUCCESS, 4));
    assert_eq!(bench.ecall(PMU, 2, &[10, 0b100, 0, SET_TIMER, 0]), (SUCCESS, 12));
    for (event, data) in [
        (0, 0),
        (3, 0),
        (10, 0),
        (CYCLES, 1),
        (0x1_0000, 0),
        (0x2_0000, 0),
        (0x3_0000, 0),
        (0xf_0000, 0),
        (0xf_000e, 0),
        (0xf_0016, 0),
        (0xf_ffff, 0),
        (SET_TIMER, 1),
        (1 << 20 | CYCLES, 0),
    ] {
        assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 0, event, data]).0, NOT_SUPPORTED, "{event:#x}");
    }
}

#[test]
fn sets_and_flags_must_be_valid() {
    let mut bench = Bench::new(1, 1);
    for fid in 2..=4 {
        for (base, mask) in [(0, 0b10), (0, 1 << 19), (18, 0b11), (u64::MAX, 1), (u64::MAX, 2), (1 << 32, 1)]
        {
            assert_eq!(bench.ecall(PMU, fid, &[base, mask, 0, CYCLES, 0]).0, INVALID_PARAM);
        }
    }
    for (fid, flag) in [(2, 1 << 8), (2, 1 << 63), (3, 4), (3, 1 << 63), (4, 4), (4, 1 << 63)] {
        assert_eq!(bench.ecall(PMU, fid, &[0, 1, flag, CYCLES, 0]).0, INVALID_PARAM);
    }
    assert_eq!(bench.ecall(PMU, 2, &[0, 1, 0xf8, CYCLES, 0]), (SUCCESS, 0), "filters are hints");
}

#[test]
fn skip_match_takes_the_first_counter_of_the_set() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 1, CYCLES, 0]), (SUCCESS, 0));
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 1, CYCLES, 0]), (SUCCESS, 0), "unconditionally");
    assert_eq!(bench.ecall(PMU, 2, &[0, 1 << 2, 1, INSTRUCTIONS, 0]), (SUCCESS, 2));
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 1, INSTRUCTIONS, 0]).0, NOT_SUPPORTED);
    assert_eq!(bench.ecall(PMU, 2, &[0, 0, 1, CYCLES, 0]).0, NOT_SUPPORTED);
}

#[test]
fn hardware_counters_run_from_reset_and_stop_and_start() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 3, &[0, 0b101, 0, 0]).0, ALREADY_STARTED);
    assert_eq!(bench.ecall(PMU, 4, &[0, 0b101, 0]).0, SUCCESS);
    assert_eq!(bench.ecall(PMU, 4, &[0, 0b101, 0]).0, ALREADY_STOPPED);
    let stopped = bench.harts[0].csr.minstret(bench.fake.retired);
    bench.fake.retired += 500;
    assert_eq!(bench.harts[0].csr.minstret(bench.fake.retired), stopped);
    assert_eq!(bench.ecall(PMU, 3, &[2, 1, SET_INIT, 70]).0, SUCCESS);
    assert_eq!(bench.ecall(PMU, 3, &[0, 1, 0, 70]).0, SUCCESS);
    bench.fake.retired += 30;
    let csr = &bench.harts[0].csr;
    assert_eq!((csr.minstret(bench.fake.retired), csr.mcycle(bench.fake.retired)), (100, stopped + 30));
}

#[test]
fn a_configured_counter_counts_only_once_started() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 2, &[0, 1, CLEAR_VALUE, CYCLES, 0]), (SUCCESS, 0));
    bench.fake.retired += 100;
    assert_eq!(bench.harts[0].csr.mcycle(bench.fake.retired), 0);
    assert_eq!(bench.ecall(PMU, 3, &[0, 1, 0, 0]).0, SUCCESS);
    assert_eq!(bench.ecall(PMU, 2, &[0, 4, CLEAR_VALUE | AUTO_START, INSTRUCTIONS, 0]), (SUCCESS, 2));
    bench.fake.retired += 100;
    let csr = &bench.harts[0].csr;
    assert_eq!((csr.mcycle(bench.fake.retired), csr.minstret(bench.fake.retired)), (100, 100));
}

#[test]
fn a_counter_is_taken_until_it_is_stopped_with_reset() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 2, &[0, 1, AUTO_START, CYCLES, 0]), (SUCCESS, 0));
    assert_eq!(bench.ecall(PMU, 2, &[0, 1, 0, CYCLES, 0]).0, NOT_SUPPORTED);
    assert_eq!(bench.ecall(PMU, 4, &[0, 1, RESET]).0, SUCCESS);
    assert_eq!(bench.ecall(PMU, 2, &[0, 1, 0, CYCLES, 0]), (SUCCESS, 0));
    for counter in 3..19 {
        assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 0, SET_TIMER, 0]), (SUCCESS, counter));
    }
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, 0, SET_TIMER, 0]).0, NOT_SUPPORTED);
}

#[test]
fn stopping_all_stops_all_whatever_some_were() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 4, &[0, ALL, RESET]).0, ALREADY_STOPPED);
    assert_eq!(bench.harts[0].csr.mcountinhibit & 5, 5);
}

#[test]
fn a_firmware_counter_counts_its_event_between_start_and_stop() {
    let mut bench = Bench::new(1, 1);
    set_timer(&mut bench);
    assert_eq!(bench.ecall(PMU, 3, &[3, 1, 0, 0]).0, INVALID_PARAM, "no event");
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, CLEAR_VALUE, SET_TIMER, 0]), (SUCCESS, 3));
    set_timer(&mut bench);
    assert_eq!(read(&mut bench, 3), 0);
    assert_eq!(bench.ecall(PMU, 3, &[3, 1, SET_INIT, u64::MAX]).0, SUCCESS);
    assert_eq!(bench.ecall(PMU, 3, &[3, 1, SET_INIT, 7]).0, ALREADY_STARTED);
    set_timer(&mut bench);
    set_timer(&mut bench);
    assert_eq!(read(&mut bench, 3), 1, "64 bits wide");
    assert_eq!(bench.ecall(PMU, 6, &[3]), (SUCCESS, 0));
    assert_eq!(bench.ecall(PMU, 4, &[3, 1, 0]).0, SUCCESS);
    set_timer(&mut bench);
    assert_eq!(read(&mut bench, 3), 1);
    assert_eq!(bench.ecall(PMU, 3, &[3, 1, 0, 0]).0, SUCCESS);
    set_timer(&mut bench);
    assert_eq!(read(&mut bench, 3), 2);
    for fid in [5, 6] {
        for counter in [0, 1, 2, 19, u64::MAX] {
            assert_eq!(bench.ecall(PMU, fid, &[counter]).0, INVALID_PARAM);
        }
    }
}

#[test]
fn sent_and_received_count_other_harts() {
    let mut bench = Bench::new(3, 3);
    for (n, code) in (6..=13).enumerate() {
        let config = [3, 0xffff, AUTO_START | CLEAR_VALUE, 0xf_0000 | code, 0];
        assert_eq!(bench.ecall(PMU, 2, &config), (SUCCESS, 3 + n as u64));
    }
    let calls: [(u64, u64); 4] = [(0x73_5049, 0), (0x5246_4e43, 0), (0x5246_4e43, 1), (0x5246_4e43, 2)];
    for (eid, fid) in calls {
        bench.ecall(eid, fid, &[0b111, 0, 0, 0, 0]);
        for sender in [1, 2] {
            bench.after(sender, eid, fid, &[0b001, 0, 0, 0, 0]);
            bench.after(sender, eid, fid, &[0b110, 0, 0, 0, 0]);
        }
    }
    let values: Vec<u64> = (3..11).map(|counter| read(&mut bench, counter)).collect();
    assert_eq!(values, [2; 8]);
}

#[test]
fn counters_are_each_harts_own() {
    let mut bench = Bench::new(2, 2);
    assert_eq!(bench.ecall(PMU, 2, &[0, ALL, AUTO_START, SET_TIMER, 0]), (SUCCESS, 3));
    bench.after(1, 0x5449_4d45, 0, &[0]);
    bench.after(1, PMU, 2, &[0, ALL, AUTO_START, SET_TIMER, 0]);
    assert_eq!(bench.harts[1].x[11], 3);
    assert_eq!(read(&mut bench, 3), 0);
}

#[test]
fn there_is_no_snapshot_memory() {
    let mut bench = Bench::new(1, 1);
    assert_eq!(bench.ecall(PMU, 7, &[RAM, 0, 0]).0, NOT_SUPPORTED);
    assert_eq!(bench.ecall(PMU, 7, &[u64::MAX, u64::MAX, 0]).0, NOT_SUPPORTED);
    assert_eq!(bench.ecall(PMU, 3, &[0, 1, 2, 0]).0, NO_SHMEM);
    assert_eq!(bench.ecall(PMU, 4, &[0, 1, 2]).0, NO_SHMEM);
    assert_eq!(bench.harts[0].csr.mcountinhibit, 0);
}

fn entry(event: u32, data: u64) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[..4].copy_from_slice(&event.to_le_bytes());
    entry[4..8].copy_from_slice(&0xaaaa_aaaa_u32.to_le_bytes());
    entry[8..].copy_from_slice(&data.to_le_bytes());
    entry
}

#[test]
fn event_info_writes_whether_each_event_is_supported() {
    let mut bench = Bench::new(1, 1);
    let events = [(1, 0, 1), (2, 0, 1), (3, 0, 0), (0xf_0005, 0, 1), (0xf_0005, 9, 0), (0x1_0000, 0, 0)];
    let bytes: Vec<u8> = events.iter().flat_map(|&(event, data, _)| entry(event, data)).collect();
    bench.fake.bytes(RAM + 0x10, bytes.len()).copy_from_slice(&bytes);
    assert_eq!(bench.ecall(PMU, 8, &[RAM + 0x10, 0, events.len() as u64, 0]).0, SUCCESS);
    for (n, (event, data, supported)) in events.into_iter().enumerate() {
        let mut expected = entry(event, data);
        expected[4..8].copy_from_slice(&u32::to_le_bytes(supported));
        assert_eq!(bench.fake.bytes(RAM + 0x10 + 16 * n as u64, 16), expected, "{event:#x}");
    }
    assert_eq!(bench.ecall(PMU, 8, &[RAM, 0, 0, 0]).0, SUCCESS);
}

#[test]
fn event_info_refuses_and_then_writes_nothing() {
    let mut bench = Bench::new(1, 1);
    let bytes: Vec<u8> = [entry(1, 0), entry(1 << 20 | 1, 0)].concat();
    bench.fake.bytes(RAM, 32).copy_from_slice(&bytes);
    for (low, high, entries, flags, error) in [
        (RAM, 0, 2, 0, INVALID_PARAM),
        (RAM, 0, 1, 1, INVALID_PARAM),
        (RAM + 8, 0, 1, 0, INVALID_PARAM),
        (RAM, 1, 1, 0, INVALID_ADDRESS),
        (ROM, 0, 1, 0, INVALID_ADDRESS),
        (RAM + RAM_SIZE - 16, 0, 2, 0, INVALID_ADDRESS),
        (RAM, 0, 1 << 60, 0, INVALID_ADDRESS),
        (RAM, 0, u64::MAX, 0, INVALID_ADDRESS),
        (RAM, 0, RAM_SIZE / 16, 0, FAILED),
    ] {
        assert_eq!(bench.ecall(PMU, 8, &[low, high, entries, flags]).0, error);
    }
    assert_eq!(bench.fake.bytes(RAM, 32), bytes);
}

#[test]
fn a_hart_that_is_started_or_reset_has_no_counter_configured() {
    let config = [0, ALL, AUTO_START | CLEAR_VALUE, SET_TIMER, 0];
    let mut bench = Bench::new(2, 2);
    bench.after(1, PMU, 2, &config);
    bench.after(1, 0x48_534d, 1, &[]);
    bench.sbi.resume(&mut bench.harts[1], false);
    assert_eq!(bench.ecall(0x48_534d, 0, &[1, RAM, 0]).0, SUCCESS);
    bench.sbi.resume(&mut bench.harts[1], false);
    bench.after(1, PMU, 2, &config);
    assert_eq!(bench.harts[1].x[11], 3, "the first firmware counter is free again");
    assert_eq!(bench.ecall(PMU, 2, &config), (SUCCESS, 3));
    bench.sbi.power_on(0, RAM, 0);
    let fresh = bench.sbi.save();
    assert!(fresh.harts.iter().all(|hart| hart.firmware.iter().all(|counter| *counter == (None, false, 0))));
}
