//! CSR fields against the Privileged Architecture, section by section.

use crate::csr::CsrAction::{Clear, Read, Set, Write};
use crate::test_env::TestEnv;
use crate::{Change, Extension, Features, Mode, csr_table};

/// "CSR Address Mapping Conventions": too low a mode, a write to a read-only CSR and a CSR that is
/// not there are illegal instructions.
#[test]
fn access_is_checked_for_every_number() {
    for mode in [Mode::U, Mode::S, Mode::M] {
        for number in 0..4096u16 {
            let mut env = TestEnv::new();
            env.set("mstatus", 1 << 13);
            env.set("mcounteren", !0);
            env.set("scounteren", !0);
            env.set("menvcfg", !0);
            env.hart.mode = mode;
            let exists = csr_table::find(number).is_some();
            let may = mode as u16 >= number >> 8 & 3;
            let in_mask = !(0xc13..0xc20).contains(&number) || mode == Mode::M;
            let read = crate::csr::read(&mut env, number);
            assert_eq!(read.is_ok(), exists && may && in_mask, "{mode:?} {number:#x}");
            let write = crate::csr::access(&mut env, number, Set(0));
            let writable = number >> 10 != 3;
            assert_eq!(write.is_ok(), read.is_ok() && writable, "{mode:?} {number:#x}");
        }
    }
}

/// "Machine Status (mstatus and mstatush) Registers".
#[test]
fn mstatus_fields() {
    let mut env = TestEnv::new();
    assert_eq!(env.get("mstatus"), 0xa_0000_0000); // SXL = UXL = 2; MIE = MPRV = 0 after reset
    assert_eq!(env.after("mstatus", !0), 0x8000_000a_007e_79aa);
    assert_eq!(env.after("mstatus", 0), 0xa_0000_0000);
    // MPP holds only modes that exist; 2 leaves it.
    for (v, mpp) in [(1, 1), (2, 1), (3, 3), (2, 3), (0, 0), (2, 0)] {
        assert_eq!(env.after("mstatus", v << 11) >> 11 & 3, mpp);
    }
    // SD says that FS is dirty.
    for fs in 0..4 {
        assert_eq!(env.after("mstatus", fs << 13) >> 63 == 1, fs == 3);
    }
}

/// "Supervisor Status (sstatus) Register": a view of mstatus.
#[test]
fn sstatus_is_a_view() {
    let mut env = TestEnv::new();
    env.set("mstatus", !0);
    assert_eq!(env.get("sstatus"), 0x8000_0002_000c_6122);
    env.set("sstatus", 0);
    assert_eq!(env.get("mstatus"), 0xa_0072_1888);
}

/// "Extension Context Status": FS off makes fcsr illegal, a write makes FS dirty; without F, FS is 0.
#[test]
fn floating_point_csrs() {
    let mut env = TestEnv::new();
    assert!(env.illegal("fcsr", Read) && env.illegal("frm", Write(0)));
    env.set("mstatus", 1 << 13);
    assert_eq!(env.after("fcsr", !0), 0xff);
    assert_eq!((env.get("fflags"), env.get("frm")), (0x1f, 7));
    assert_eq!(env.get("mstatus") >> 13 & 3, 3);
    assert_eq!(env.after("fflags", 0), 0);
    assert_eq!(env.get("fcsr"), 0xe0);
    assert_eq!(env.after("frm", 1), 1);
    assert_eq!(env.get("fcsr"), 0x20);
    let mut env = TestEnv::with(&Features {
        extensions: Features::FULL.extensions.without(Extension::F),
        ..Features::FULL
    });
    assert_eq!(env.after("mstatus", 3 << 13) >> 13 & 3, 0);
    assert!(env.illegal("fcsr", Read));
}

/// "Machine Trap Delegation": medeleg[11] (environment call from M-mode) is read-only 0; so are
/// reserved causes and machine interrupts.
#[test]
fn delegation_masks() {
    let mut env = TestEnv::new();
    assert_eq!(env.after("medeleg", !0), 0xb3ff);
    assert_eq!(env.after("mideleg", !0), 0x222);
    assert_eq!(env.after("mie", !0), 0xaaa);
    env.set("mideleg", 0x20);
    assert_eq!(env.get("sie"), 0x20);
    env.set("sie", 0);
    assert_eq!(env.get("mie"), 0xa8a);
    env.set("sie", !0);
    assert_eq!(env.get("mie"), 0xaaa);
}

/// "Machine Interrupt (mip and mie) Registers": MEIP, MTIP, MSIP are read-only; SEIP reads as the
/// software bit or the line, and only the software bit takes part in a read-modify-write.
#[test]
fn mip_bits() {
    let mut env = TestEnv::new();
    assert_eq!(env.after("mip", !0), 0x222);
    env.set("mip", 0);
    env.lines = 0xa88;
    assert_eq!(env.get("mip"), 0xa88);
    assert_eq!(env.act("mip", Set(2)), Ok(0xa88));
    env.lines = 0;
    assert_eq!(env.get("mip"), 2);
    env.set("mip", 0x200);
    env.lines = 0x200;
    assert_eq!(env.act("mip", Clear(0x20)), Ok(0x200));
    env.lines = 0;
    assert_eq!(env.get("mip"), 0x200);
    // "Supervisor Interrupt Registers": only delegated bits show; of them only SSIP is writable.
    env.set("mip", 0x222);
    assert_eq!(env.get("sip"), 0);
    env.set("sip", 0);
    env.set("mideleg", 0x222);
    env.set("sip", 0);
    assert_eq!(env.get("sip"), 0x220);
    assert_eq!(env.after("sip", 2), 0x222);
}

/// "Sstc": with STCE, STIP is read-only and says time >= stimecmp; without, it is as before, and only
/// M-mode reaches stimecmp. mcounteren.TM guards stimecmp too.
#[test]
fn stimecmp_and_stip() {
    let mut env = TestEnv::new();
    env.set("stimecmp", 100);
    env.time = 100;
    assert_eq!(env.get("mip"), 0);
    env.hart.mode = Mode::S;
    assert!(env.illegal("stimecmp", Read));
    env.hart.mode = Mode::M;
    env.set("menvcfg", 1 << 63);
    assert!(env.changes.contains(&Change::Timer));
    assert_eq!(env.after("mip", 0), 0x20);
    env.time = 99;
    assert_eq!(env.after("mip", 0x20), 0);
    env.hart.mode = Mode::S;
    assert!(env.illegal("stimecmp", Read));
    env.hart.csr.mcounteren = 2;
    assert!(!env.illegal("stimecmp", Write(7)));
    let mut env = TestEnv::with(&Features::RV64GC);
    assert!(env.illegal("stimecmp", Read));
    assert_eq!(env.after("menvcfg", !0), 1); // only FIOM is left
}

/// "Machine Counter-Enable" and "Supervisor Counter-Enable": S-mode needs the bit in mcounteren,
/// U-mode in both.
#[test]
fn counter_enables() {
    for (bit, name) in [(0, "cycle"), (1, "time"), (2, "instret"), (5, "hpmcounter5")] {
        for (m, s, mode, legal) in [
            (0, 0, Mode::M, true),
            (0, 1, Mode::S, false),
            (1, 0, Mode::S, true),
            (1, 0, Mode::U, false),
            (0, 1, Mode::U, false),
            (1, 1, Mode::U, true),
        ] {
            let mut env = TestEnv::new();
            env.set("mcounteren", m << bit);
            env.set("scounteren", s << bit);
            env.hart.mode = mode;
            assert_eq!(!env.illegal(name, Read), legal, "{name} {m} {s} {mode:?}");
            assert!(env.illegal(name, Write(0)));
        }
    }
}

/// "Hardware Performance Monitor": the value written is what the next instruction reads;
/// mcountinhibit stops each counter, and the instruction that writes it counts by the old value.
#[test]
fn counters_count_retired_instructions() {
    let mut env = TestEnv::new();
    env.retired = 10;
    assert_eq!((env.get("mcycle"), env.get("minstret")), (10, 10));
    env.set("minstret", !0);
    env.retired = 11;
    assert_eq!((env.get("instret"), env.get("cycle")), (!0, 11));
    env.retired = 12;
    assert_eq!(env.get("minstret"), 0);
    assert_eq!(env.after("mcountinhibit", !0), 0x7_fffd);
    env.retired = 50;
    assert_eq!((env.get("minstret"), env.get("mcycle")), (1, 13));
    env.set("mcycle", 7);
    env.set("mcountinhibit", 4);
    env.retired = 51;
    assert_eq!((env.get("minstret"), env.get("mcycle")), (1, 7));
    env.retired = 52;
    assert_eq!((env.get("minstret"), env.get("mcycle")), (1, 8));
    for name in ["mhpmcounter3", "mhpmevent31"] {
        assert_eq!(env.after(name, !0), 0);
    }
}

/// "satp": a write with a mode that is not there has no effect; TVM traps S-mode.
#[test]
fn satp_modes() {
    let mut env = TestEnv::new();
    for mode in 0..16u64 {
        env.set("satp", 8 << 60 | 1);
        let v = mode << 60 | 0x0fff_ffff_ffff_fff0;
        let there = matches!(mode, 0 | 8 | 9 | 10);
        assert_eq!(env.after("satp", v) == v, there, "{mode}");
        assert!(there || env.get("satp") == 8 << 60 | 1);
    }
    env.set("mstatus", 1 << 20);
    env.hart.mode = Mode::S;
    assert!(env.illegal("satp", Read) && env.illegal("satp", Write(0)));
    let mut env = TestEnv::with(&Features { asid_bits: 9, ..Features::RV64GC });
    assert_eq!(env.after("satp", 9 << 60), 0);
    assert_eq!(env.after("satp", 8 << 60 | 0xffff << 44), 8 << 60 | 0x1ff << 44);
}

/// "xtvec", "xepc", "xcause", "xtval", "xscratch".
#[test]
fn trap_registers() {
    let mut env = TestEnv::new();
    for x in ["m", "s"] {
        let tvec = format!("{x}tvec");
        assert_eq!(env.after(&tvec, 0x1001), 0x1001);
        assert_eq!(env.after(&tvec, 0x2002), 0x1001); // reserved mode: no effect
        assert_eq!(env.after(&tvec, 0x3003), 0x1001);
        assert_eq!(env.after(&tvec, 0x4004), 0x4004);
        assert_eq!(env.after(&format!("{x}epc"), !0), !1);
        for full in ["cause", "tval", "scratch"] {
            assert_eq!(env.after(&format!("{x}{full}"), !0), !0);
        }
    }
    // IALIGN = 32 without C.
    let mut env = TestEnv::with(&Features {
        extensions: Features::FULL.extensions.without(Extension::C),
        ..Features::FULL
    });
    assert_eq!(env.after("mepc", !0), !3);
}

/// "Machine Environment Configuration": fields of absent extensions are read-only 0; CBIE 2 is
/// reserved.
#[test]
fn envcfg_fields() {
    let mut env = TestEnv::new();
    assert_eq!(env.get("menvcfg"), 1 << 62);
    assert_eq!(env.after("menvcfg", !0), 0xe000_0000_0000_00f1);
    assert_eq!(env.after("menvcfg", 2 << 4), 3 << 4);
    assert_eq!(env.after("menvcfg", 1 << 4), 1 << 4);
    assert_eq!(env.after("menvcfg", 2 << 4), 1 << 4);
    assert_eq!(env.after("senvcfg", !0), 0xf1);
    let svadu_only =
        Features { extensions: Features::FULL.extensions.without(Extension::Svade), ..Features::FULL };
    assert_eq!(TestEnv::with(&svadu_only).get("menvcfg"), 3 << 61);
}

/// "Machine ISA", "Machine Vendor ID" and so on: constants.
#[test]
fn constants() {
    let mut env = TestEnv::with(&Features { mvendorid: 1, marchid: 2, mimpid: 3, ..Features::FULL });
    env.hart.hartid = 4;
    let names = ["mvendorid", "marchid", "mimpid", "mhartid", "mconfigptr"];
    assert_eq!(names.map(|name| env.get(name)), [1, 2, 3, 4, 0]);
    assert_eq!(env.after("misa", 0), 0x8000_0000_0014_112d);
    assert_eq!(env.after("tselect", 1), 0);
    assert_eq!((env.after("tdata1", !0), env.get("tinfo")), (0, 1));
}

/// What an engine must hear of.
#[test]
fn changes_are_told() {
    let cases: [(&str, u64, &[Change]); 8] = [
        ("mstatus", 1 << 18, &[Change::Translation]),
        ("mstatus", 2, &[Change::Interrupts]),
        ("mstatus", 1 << 13, &[Change::Legality]),
        ("satp", 8 << 60, &[Change::Translation]),
        ("mie", 2, &[Change::Interrupts]),
        ("pmpaddr0", 1, &[Change::Pmp]),
        ("pmpcfg0", 0x1f, &[Change::Pmp]),
        ("mscratch", 1, &[]),
    ];
    for (name, v, expected) in cases {
        let mut env = TestEnv::new();
        env.set(name, v);
        assert_eq!(env.changes, expected, "{name}");
        env.changes.clear();
        if !name.starts_with("mie") {
            env.set(name, v);
            assert_eq!(env.changes, [], "{name} again");
        }
    }
}

/// "Privilege Levels": a hart may have M and U only. Then S-mode's CSRs and delegation do not exist, and its fields
/// elsewhere are read-only 0 ("Machine Status Registers", "Machine Trap Delegation Registers").
#[test]
fn without_s_mode_nothing_of_it_is_there() {
    let mut env = TestEnv::with(&Features { supervisor: false, ..Features::FULL });
    let names =
        ["sstatus", "satp", "stvec", "sip", "sie", "scounteren", "senvcfg", "stimecmp", "medeleg", "mideleg"];
    for name in names {
        assert!(env.illegal(name, Read), "{name}");
    }
    // FIOM, CBIE, CBCFE, CBZE are of U-mode too; ADUE, PBMTE and STCE are not.
    assert_eq!((env.hart.csr.menvcfg, env.after("menvcfg", !0)), (0, 0xf1));
    // MPP takes M and U only; SIE, SPIE, SPP, SUM, MXR, TVM, TSR and SXL stay 0.
    assert_eq!(env.after("mstatus", !0), 0x8000_0002_0022_7888);
    assert_eq!(env.after("mstatus", 1 << 11) >> 11 & 3, 3, "S is no mode: MPP stays");
    assert_eq!(env.after("mstatus", 0) >> 11 & 3, 0);
    assert_eq!((env.after("mie", !0), env.after("mip", !0)), (0x888, 0));
    // U-mode's counters are for mcounteren alone.
    env.hart.mode = Mode::U;
    assert!(env.illegal("cycle", Read));
    env.hart.csr.mcounteren = 1;
    assert!(env.act("cycle", Read).is_ok());
    env.hart.csr.mstatus = 0;
    assert!(crate::priv_ops::wfi(&mut env).is_ok());
    env.hart.csr.mstatus = 1 << 21;
    assert_eq!(crate::priv_ops::wfi(&mut env), Err(crate::Trap::illegal()));
}

/// "Hardware Performance Monitor": `time` may be left to firmware.
#[test]
fn time_can_be_left_out_alone() {
    let mut env = TestEnv::with(&Features { time_csr: false, ..Features::RV64GC });
    assert!(env.illegal("time", Read));
    assert!(env.act("cycle", Read).is_ok() && env.act("instret", Read).is_ok());
}
