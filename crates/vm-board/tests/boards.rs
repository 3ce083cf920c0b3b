//! Boards as data: addresses of QEMU's and Spike's machines, what a user cannot choose, and what a board's author
//! cannot get wrong unnoticed.

use vm_board::board::{
    Board, Config, DeviceKind, HartInterrupt, HtifWords, PciKind, PciPlaced, Placed, Serial, Target,
    clint_outputs,
};
use vm_board::check::BoardError;
use vm_board::{microvm::microvm, sifive_u::sifive_u, spike::spike, virt::virt};

const MIB: u64 = 1 << 20;

fn small(cpus: u32) -> Board {
    virt(&Config::new(cpus, 128 * MIB)).unwrap()
}

fn map(board: &Board) -> String {
    let line = |(name, range): &(&str, std::ops::Range<u64>)| {
        format!("{:#x} {:#x} {name}\n", range.start, range.end - range.start)
    };
    board.address_map().iter().map(line).collect()
}

#[test]
fn the_address_map_of_virt_is_qemus() {
    let expected = "0x1000 0xf000 boot-rom\n\
                    0x100000 0x1000 test\n\
                    0x101000 0x1000 rtc0\n\
                    0x2000000 0x10000 clint\n\
                    0x3000000 0x10000 pcie\n\
                    0xc000000 0x600000 plic\n\
                    0x10000000 0x100 uart0\n\
                    0x10001000 0x1000 virtio0\n\
                    0x10002000 0x1000 virtio1\n\
                    0x10003000 0x1000 virtio2\n\
                    0x10004000 0x1000 virtio3\n\
                    0x10005000 0x1000 virtio4\n\
                    0x10006000 0x1000 virtio5\n\
                    0x10007000 0x1000 virtio6\n\
                    0x10008000 0x1000 virtio7\n\
                    0x10100000 0x18 fw-cfg\n\
                    0x20000000 0x4000000 flash\n\
                    0x30000000 0x10000000 pcie\n\
                    0x40000000 0x40000000 pcie\n\
                    0x80000000 0x8000000 ram\n\
                    0x400000000 0x400000000 pcie\n";
    assert_eq!(map(&small(1)), expected);
}

/// As QEMU places it: at a multiple of 16 GiB behind RAM, where there is room.
#[test]
fn the_large_window_of_virt_is_behind_memory() {
    let wide = |memory: u64| {
        let board = virt(&Config::new(1, memory)).unwrap();
        board.device("pcie").unwrap().more.get(2).map(|window| (window.base, window.offset))
    };
    let gib = 1024 * MIB;
    assert_eq!(wide(14 * gib), Some((16 * gib, 16 * gib)));
    assert_eq!(wide(14 * gib + MIB), Some((32 * gib, 32 * gib)));
    assert_eq!(wide((1 << 56) - 0x8000_0000), None);
}

#[test]
fn functions_keep_to_the_specification() {
    fn functions(change: impl FnOnce(&mut Vec<PciPlaced>)) -> impl FnOnce(&mut Board) {
        move |board| match &mut device(board, "pcie").kind {
            DeviceKind::PcieHost { functions } => change(functions),
            _ => panic!("no root complex"),
        }
    }
    let port = |name, slot, device| PciPlaced::on_root(name, PciKind::RootPort { slot }, device, 0);
    let twice = "device pcie: two PCI functions have one name or one place";
    check_change(functions(|all| all.push(port("a", 1, 0))), twice);
    check_change(functions(|all| all.push(port("pci-host", 1, 1))), twice);
    check_change(
        functions(|all| all.push(port("a", 0x2000, 1))),
        "device pcie: slots have numbers below 8192",
    );
    check_change(
        functions(|all| all.push(port("a", 1, 32))),
        "device pcie: a PCI function has a device number below 32 and a function number below 8",
    );
    for below in ["nothing", "pci-host"] {
        check_change(
            functions(|all| all.push(PciPlaced::below("card", PciKind::Serial, below))),
            "device pcie: a PCI function is below a port that does not come before it",
        );
    }
    check_change(functions(|all| all.push(port("uart0", 1, 1))), "two devices are called uart0");
    check_change(
        |board| device(board, "pcie").size = 0x1008_0000,
        "device pcie: an ECAM window has 1 MiB for each of at most 256 buses",
    );
    check_change(
        |board| device(board, "pcie").outputs.truncate(3),
        "device pcie: a root complex has four outputs, or none that is connected",
    );
    let cards = |serial_cards| virt(&Config { serial_cards, ..Config::new(1, 128 * MIB) });
    assert_eq!(cards(3).unwrap().pci_functions().count(), 7);
    assert_eq!(
        cards(4).unwrap_err().to_string(),
        "4 serial cards are too many; the virt board has room for 3"
    );
    assert!(spike(&Config { serial_cards: 1, ..Config::new(1, 128 * MIB) }).is_err());
    assert!(spike(&Config { virtio_cards: 1, ..Config::new(1, 128 * MIB) }).is_err());
}

#[test]
fn the_address_map_of_spike_is_spikes() {
    let expected = "0x1000 0xf000 boot-rom\n\
                    0x1000000 0x1000 htif\n\
                    0x2000000 0xc0000 clint\n\
                    0xc000000 0x1000000 plic\n\
                    0x10000000 0x100 uart0\n\
                    0x80000000 0x8000000 ram\n";
    assert_eq!(map(&spike(&Config::new(1, 128 * MIB)).unwrap()), expected);
}

#[test]
fn the_console_raises_source_10_the_clock_11_and_virtio_devices_1_to_8() {
    let board = small(2);
    let to_plic = |input| vec![Target::Input { device: "plic", input }];
    assert_eq!(board.device("virtio0").unwrap().outputs, to_plic(1));
    assert_eq!(board.device("virtio7").unwrap().outputs, to_plic(8));
    assert_eq!(board.device("uart0").unwrap().outputs, to_plic(10));
    assert_eq!(board.device("rtc0").unwrap().outputs, to_plic(11));
    let plic = board.device("plic").unwrap();
    assert_eq!(plic.outputs[3], Target::Hart { hart: 1, interrupt: HartInterrupt::SupervisorExternal });
    let clint = board.device("clint").unwrap();
    assert_eq!(clint.outputs[2], Target::Hart { hart: 1, interrupt: HartInterrupt::MachineSoftware });
}

#[test]
fn wires_lead_forward_in_wire_order() {
    let board = small(2);
    let order = board.wire_order().unwrap();
    let place = |name| order.iter().position(|&index| board.devices[index].name == name).unwrap();
    assert_eq!(order.len(), board.devices.len());
    assert!(place("uart0") < place("plic") && place("rtc0") < place("plic"));
}

fn check_choice(cpus: u32, memory: u64, message: &str) {
    assert_eq!(virt(&Config::new(cpus, memory)).unwrap_err().to_string(), message);
}

#[test]
fn impossible_choices_say_what_to_do() {
    check_choice(0, MIB, "a machine needs at least one CPU; try --cpus 1");
    check_choice(513, MIB, "513 CPUs are too many; the virt board has room for 512");
    check_choice(
        1,
        3,
        "3 bytes of memory is too little; a machine needs at least 1 MiB, Linux about 128 MiB: try --memory 128M",
    );
    check_choice(
        1,
        MIB + 3,
        "1048579 bytes of memory are not a whole number of 4096-byte pages; try --memory 2M",
    );
    check_choice(
        1,
        1 << 56,
        "65536 TiB of memory are too much; physical addresses have 56 bits: try a smaller --memory",
    );
    // Not a whole number of pages either, but the next one is no better.
    for most in [u64::MAX, u64::MAX - 4095] {
        check_choice(
            1,
            most,
            "16777216.0 TiB of memory are too much; physical addresses have 56 bits: try a smaller --memory",
        );
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    assert!(virt(&Config::new(512, MIB)).is_ok());
    assert!(virt(&Config::new(1, (1 << 56) - 0x8000_0000)).is_ok());
    assert!(spike(&Config { serial: Serial::Sifive, ..Config::new(512, MIB) }).is_ok());
}

#[test]
fn htif_lies_over_the_programs_words() {
    let board = |tohost, fromhost| {
        spike(&Config { htif: Some(HtifWords { tohost, fromhost }), ..Config::new(1, 128 * MIB) })
    };
    let good = board(0x8000_1000, 0x8000_1040).unwrap();
    assert_eq!(good.device("htif").unwrap().window(), 0x8000_1000..0x8000_1048);
    assert_eq!(board(0x87ff_fff8, 0x87ff_fff0).unwrap().device("htif").unwrap().base, 0x87ff_fff0);

    let problem = |tohost, fromhost| board(tohost, fromhost).unwrap_err().to_string();
    assert_eq!(
        problem(0x1000, 0x1040),
        "the program's tohost (0x1000) and fromhost (0x1040) words lie outside the machine's memory"
    );
    assert!(problem(0x8000_1000, 0x87ff_fffc).ends_with("outside the machine's memory"));
    assert!(problem(0x8000_1000, u64::MAX).ends_with("outside the machine's memory"));
    assert!(problem(0x8000_1004, 0x8000_1040).ends_with("are not aligned to 8 bytes"));
    assert!(problem(0x8000_1000, 0x8000_1000).ends_with("are the same word"));
    assert!(problem(0x8000_1000, 0x8000_2000).ends_with("are more than 4 KiB apart"));
}

fn check_change(change: impl FnOnce(&mut Board), message: &str) {
    let mut board = small(1);
    change(&mut board);
    assert_eq!(board.check().unwrap_err().to_string(), message);
}

fn device<'a>(board: &'a mut Board, name: &str) -> &'a mut Placed {
    board.devices.iter_mut().find(|device| device.name == name).unwrap()
}

fn plic(name: &'static str, base: u64, outputs: Vec<Target>) -> Placed {
    let kind = DeviceKind::Plic { sources: 8, contexts: outputs.len() as u32, max_priority: 7 };
    Placed::new(name, kind, base, 0x60_0000).drives(outputs)
}

#[test]
fn windows_must_not_overlap() {
    check_change(
        |board| device(board, "rtc0").base = 0x10_0ff0,
        "test at 0x100000..0x101000 overlaps rtc0 at 0x100ff0..0x101ff0",
    );
    check_change(
        |board| device(board, "uart0").base = 0x87ff_ffff,
        "ram at 0x80000000..0x88000000 overlaps uart0 at 0x87ffffff..0x880000ff",
    );
    // The middle one ends before the last begins; the first reaches over both.
    check_change(
        |board| device(board, "test").size = 0x200_0000,
        "test at 0x100000..0x2100000 overlaps rtc0 at 0x101000..0x102000",
    );
    let far = "device uart0 has an empty window, or one that reaches past the last physical address";
    check_change(|board| device(board, "uart0").size = 0, far);
    check_change(|board| device(board, "uart0").base = u64::MAX - 1, far);
    check_change(|board| device(board, "uart0").base = (1 << 56) - 1, far);
}

#[test]
fn names_are_unique() {
    check_change(|board| device(board, "test").name = "rtc0", "two devices are called rtc0");
}

#[test]
fn wires_must_end_somewhere() {
    let rewire = |to: Target| {
        let mut board = small(1);
        device(&mut board, "uart0").outputs = vec![to];
        board.check()
    };
    for target in [
        Target::Input { device: "nothing", input: 1 },
        Target::Input { device: "clint", input: 1 },
        Target::Input { device: "plic", input: 0 },
        Target::Input { device: "plic", input: 96 },
        Target::Hart { hart: 1, interrupt: HartInterrupt::MachineExternal },
    ] {
        assert_eq!(rewire(target), Err(BoardError::NoTarget { device: "uart0", output: 0, target }));
    }
    let shared = Target::Input { device: "plic", input: 11 };
    assert_eq!(rewire(shared), Err(BoardError::TwoDrivers("rtc0", "uart0", shared)));
    assert_eq!(rewire(Target::Input { device: "plic", input: 95 }), Ok(()));
}

#[test]
fn wires_of_a_pc_must_have_an_end() {
    let good = microvm(&Config::new(1, 64 * MIB)).unwrap();
    let uart = good.devices.iter().position(|device| device.name == "uart0").unwrap();
    let rewire = |target| {
        let mut board = good.clone();
        board.devices[uart].outputs = vec![target];
        board.check()
    };
    assert_eq!(rewire(Target::Isa(15)), Ok(()));
    for target in [
        Target::Isa(16),
        Target::Processor { cpu: 0, line: 4 },
        Target::Processor { cpu: 1, line: 0 },
        Target::Input { device: "lapic0", input: 2 },
        Target::Hart { hart: 0, interrupt: HartInterrupt::MachineExternal },
    ] {
        assert_eq!(rewire(target), Err(BoardError::NoTarget { device: "uart0", output: 0, target }));
    }
    // Two 8259 and no I/O APIC.
    let mut board = good.clone();
    let ioapic = board.devices.iter_mut().find(|device| device.name == "ioapic").unwrap();
    ioapic.kind = DeviceKind::I8259;
    assert!(matches!(board.check(), Err(BoardError::NoTarget { target: Target::Isa(_), .. })));
}

#[test]
fn wires_must_not_come_back() {
    let to = |device, input| vec![Target::Input { device, input }];
    let mut board = small(1);
    board.devices.push(plic("second", 0x500_0000, to("plic", 20)));
    assert_eq!(board.check(), Ok(()), "a controller may drive another");
    board.devices.push(plic("third", 0x600_0000, to("second", 1)));
    device(&mut board, "second").outputs = to("third", 1);
    assert_eq!(board.check(), Err(BoardError::Loop("second")));
    let mut board = small(1);
    board.devices.push(plic("second", 0x500_0000, to("second", 1)));
    assert_eq!(board.check(), Err(BoardError::Loop("second")));
}

#[test]
fn devices_keep_to_their_specifications() {
    let plic_of = |sources, contexts, max_priority| {
        move |board: &mut Board| {
            device(board, "plic").kind = DeviceKind::Plic { sources, contexts, max_priority };
        }
    };
    check_change(plic_of(1024, 2, 7), "device plic: a PLIC has 1 to 1023 sources");
    check_change(plic_of(95, 3, 7), "device plic: a PLIC has one output for each context");
    check_change(
        |board| device(board, "plic").size = 0x20_1fff,
        "device plic: the window is too small for the contexts",
    );
    check_change(
        |board| {
            board.cpus = 2;
            device(board, "plic").outputs.clear();
            plic_of(95, 0, 7)(board);
        },
        "device clint: a CLINT has two outputs for each hart",
    );
    check_change(
        |board| {
            board.cpus = 4096;
            device(board, "clint").outputs = clint_outputs(4096).collect();
        },
        "device clint: the window is too small for the harts",
    );
    let uart = |clock_hz, reg_shift| {
        move |board: &mut Board| {
            device(board, "uart0").kind = DeviceKind::Ns16550 { clock_hz, reg_shift };
        }
    };
    check_change(uart(0, 0), "device uart0: a UART needs a clock");
    check_change(uart(1, 3), "device uart0: the window is too small for eight registers");
}

fn unleashed(cpus: u32, memory: u64) -> Result<Board, BoardError> {
    let (isa, mmu) = vm_board::sifive_u::u54_isa().unwrap();
    sifive_u(&Config { isa, mmu, ..Config::new(cpus, memory) })
}

#[test]
fn the_address_map_of_sifive_u_is_the_manuals() {
    let expected = "0x1000 0x1000 boot-rom\n\
                    0x100000 0x1000 test\n\
                    0x2000000 0x10000 clint\n\
                    0x2010000 0x1000 ccache\n\
                    0xc000000 0x4000000 plic\n\
                    0x10000000 0x1000 prci\n\
                    0x10010000 0x1000 uart0\n\
                    0x10011000 0x1000 uart1\n\
                    0x10040000 0x1000 qspi0\n\
                    0x10041000 0x1000 qspi1\n\
                    0x10050000 0x1000 qspi2\n\
                    0x10060000 0x1000 gpio\n\
                    0x10070000 0x1000 otp\n\
                    0x10090000 0x2000 gem\n\
                    0x100a0000 0x1000 gem\n\
                    0x80000000 0x8000000 ram\n";
    assert_eq!(map(&unleashed(1, 128 * MIB).unwrap()), expected);
}

#[test]
fn harts_of_sifive_u_differ() {
    let board = unleashed(4, 128 * MIB).unwrap();
    assert_eq!((board.cpus, board.boot_hart()), (5, 1));
    assert_eq!(board.application_harts().collect::<Vec<_>>(), [1, 2, 3, 4]);
    let (monitor, u54) = (board.core(0), board.core(4));
    assert_eq!(monitor.isa.to_string(), "rv64imac_zicntr_zicsr_zifencei_zihpm");
    assert!(!monitor.supervisor && u54.supervisor && u54.isa.has("d") && !u54.time_csr);
    assert_eq!(board.core(1), u54);
    // Another CPU takes the place of the U54s, not of the monitor.
    let other = sifive_u(&Config::new(2, 128 * MIB)).unwrap();
    assert_eq!(other.core(0), monitor);
    assert!(other.core(1).isa.has("zba") && other.core(1).time_csr && other.core(1).compatible == ["riscv"]);
    let uniform = small(2);
    assert_eq!((uniform.boot_hart(), uniform.application_harts().count()), (0, 2));
}

/// Contexts 0 to 4: M-mode of hart 0, then M-mode and S-mode of each other hart.
#[test]
fn the_monitor_has_one_context_at_the_plic() {
    let board = unleashed(2, 128 * MIB).unwrap();
    let pin = |hart, interrupt| Target::Hart { hart, interrupt };
    use HartInterrupt::{MachineExternal, SupervisorExternal};
    let expected = [
        pin(0, MachineExternal),
        pin(1, MachineExternal),
        pin(1, SupervisorExternal),
        pin(2, MachineExternal),
        pin(2, SupervisorExternal),
    ];
    assert_eq!(board.device("plic").unwrap().outputs, expected);
    let to_plic = |input| Target::Input { device: "plic", input };
    assert_eq!(board.device("uart0").unwrap().outputs, [to_plic(4)]);
    assert_eq!(board.device("uart1").unwrap().outputs, [to_plic(5)]);
    assert_eq!(board.device("ccache").unwrap().outputs, [1, 2, 3].map(to_plic));
    let gpio: Vec<_> = (7..=22).map(to_plic).collect();
    assert_eq!(board.device("gpio").unwrap().outputs, gpio);
    assert_eq!(board.uarts().map(|uart| uart.name).collect::<Vec<_>>(), ["uart0", "uart1"]);
}

#[test]
fn sifive_u_has_room_for_four_u54_and_126_gib() {
    let error = |cpus, memory| unleashed(cpus, memory).unwrap_err().to_string();
    assert_eq!(error(5, 128 * MIB), "5 CPUs are too many; the sifive_u board has room for 4");
    assert_eq!(error(0, 128 * MIB), "a machine needs at least one CPU; try --cpus 1");
    assert_eq!(
        error(1, 127 << 30),
        "127 GiB of memory are too much; the sifive_u board has room for 126 GiB: try a smaller --memory"
    );
    assert!(unleashed(4, 126 << 30).is_ok());
}

#[test]
fn devices_of_the_fu540_keep_to_their_specifications() {
    let check = |change: fn(&mut Board), message: &str| {
        let mut board = unleashed(1, 128 * MIB).unwrap();
        change(&mut board);
        assert_eq!(board.check().unwrap_err().to_string(), message);
    };
    check(
        |board| device(board, "gpio").outputs.truncate(3),
        "device gpio: a GPIO controller has one output for each pin",
    );
    check(
        |board| device(board, "gpio").kind = DeviceKind::SifiveGpio { restart_pin: 16 },
        "device gpio: the pin that restarts is none of the controller's",
    );
    check(
        |board| device(board, "ccache").outputs.clear(),
        "device ccache: an L2 cache controller has three outputs",
    );
    check(
        |board| device(board, "prci").kind = DeviceKind::Fu540Prci { hfclk_hz: 0, rtcclk_hz: 1 },
        "device prci: a clock controller needs its crystals",
    );
}
