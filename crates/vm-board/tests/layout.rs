//! Where boot files go, and the message where they cannot.

use proptest::prelude::*;
use std::ops::Range;
use vm_board::board::Config;
use vm_board::layout::{FDT_GROWTH, Firmware, Layout, LayoutError, Payload, Request, place};
use vm_board::plan::{PlanError, Start};
use vm_board::reset::Mode;
use vm_board::virt::virt;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const RAM: u64 = 0x8000_0000;

fn flat(len: u64) -> Payload {
    Payload::Floating { len, text_offset: 0, entry: 0, linked_at: 0 }
}

fn image(len: u64) -> Payload {
    Payload::Floating { len, text_offset: 2 * MIB, entry: 0, linked_at: 0 }
}

fn fixed(segment: Range<u64>) -> Payload {
    Payload::Fixed { entry: segment.start, segments: vec![segment] }
}

fn request(memory: u64, firmware: Firmware, kernel: Option<Payload>, initrd: Option<u64>) -> Request {
    Request { ram: RAM..RAM + memory, firmware, kernel, initrd, fdt: 8 * KIB }
}

fn opensbi() -> Firmware {
    Firmware::Loaded(flat(268 * KIB))
}

fn check_error(request: &Request, message: &str) {
    assert_eq!(place(request).expect_err("it cannot be placed").to_string(), message);
}

#[test]
fn linux_under_opensbi_lies_where_qemu_puts_it() {
    let layout = place(&request(2 * GIB, opensbi(), Some(image(31 * MIB)), Some(2 * MIB))).unwrap();
    assert_eq!(layout.firmware.unwrap().entry, 0x8000_0000);
    assert_eq!(layout.kernel.unwrap().extent, 0x8020_0000..0x8210_0000);
    assert_eq!(layout.fdt, 0xbfe0_0000..0xbfe0_2000, "below 3 GiB");
    assert_eq!(layout.initrd, Some(0xa020_0000..0xa040_0000), "512 MiB behind the kernel");
}

#[test]
fn the_kernel_keeps_its_place_under_a_builtin_sbi() {
    let layout = place(&request(128 * MIB, Firmware::Builtin, Some(flat(MIB)), None)).unwrap();
    assert_eq!(layout.kernel.unwrap().entry, 0x8020_0000);
    assert_eq!(layout.fdt.start, 0x87e0_0000);
}

#[test]
fn the_kernel_moves_behind_large_firmware() {
    let firmware = Firmware::Loaded(flat(3 * MIB));
    let layout = place(&request(128 * MIB, firmware, Some(image(MIB)), None)).unwrap();
    assert_eq!(layout.kernel.unwrap().entry, 0x8040_0000);
}

#[test]
fn without_firmware_flat_code_starts_at_the_first_byte() {
    let layout = place(&request(MIB, Firmware::None, Some(flat(4 * KIB)), None)).unwrap();
    assert_eq!(layout.kernel.unwrap().entry, RAM);
    assert_eq!(layout.fdt.start, RAM + MIB - 8 * KIB - FDT_GROWTH, "no room for 2 MiB pages");
}

#[test]
fn an_elf_runs_at_its_own_addresses() {
    let kernel = fixed(0x8123_4000..0x8133_4000);
    let layout = place(&request(128 * MIB, opensbi(), Some(kernel), None)).unwrap();
    let placed = layout.kernel.unwrap();
    assert_eq!((placed.entry, placed.bias), (0x8123_4000, 0));
}

#[test]
fn a_position_independent_elf_moves_with_its_entry() {
    let elf = Payload::Floating { len: MIB, text_offset: 0, entry: 0x10, linked_at: 0x1000 };
    let placed = place(&request(128 * MIB, Firmware::Loaded(elf), None, None)).unwrap().firmware.unwrap();
    assert_eq!((placed.entry, placed.bias), (0x8000_0010, 0x7fff_f000));
}

#[test]
fn a_large_initrd_goes_right_behind_the_kernel() {
    let layout = place(&request(128 * MIB, opensbi(), Some(image(20 * MIB)), Some(90 * MIB))).unwrap();
    assert_eq!(layout.initrd, Some(0x8160_0000..0x8700_0000));
}

#[test]
fn what_does_not_fit_names_sizes_and_enough_memory() {
    check_error(
        &request(128 * MIB, opensbi(), Some(image(20 * MIB)), Some(300 * MIB)),
        "the initrd (300 MiB) does not fit in 128 MiB of memory; try --memory 512M",
    );
    check_error(
        &request(128 * MIB, opensbi(), Some(image(20 * MIB)), Some(600 * MIB)),
        "the initrd (600 MiB) does not fit in 128 MiB of memory; try --memory 1G",
    );
    check_error(
        &request(16 * MIB, opensbi(), Some(image(31 * MIB)), None),
        "the kernel (31 MiB) does not fit in 16 MiB of memory; try --memory 64M",
    );
    check_error(
        &request(MIB, Firmware::Loaded(flat(3 * MIB / 2)), None, None),
        "the firmware (1.5 MiB) does not fit in 1 MiB of memory; try --memory 2M",
    );
    check_error(
        &request(MIB, Firmware::None, Some(flat(MIB)), None),
        "the devicetree (8 KiB) does not fit beside the other boot files in 1 MiB of memory; try --memory 2M",
    );
    let image_of_nonsense = Payload::Floating { len: 1, text_offset: u64::MAX, entry: 0, linked_at: 0 };
    check_error(
        &request(MIB, Firmware::None, Some(image_of_nonsense), None),
        "the kernel (1 byte) does not fit beside the other boot files in 1 MiB of memory",
    );
}

#[test]
fn addresses_that_are_no_memory_are_named() {
    check_error(
        &request(128 * MIB, opensbi(), Some(fixed(0..0x1000)), None),
        "the kernel is linked to run at 0x0..0x1000, but memory is at 0x80000000..0x88000000",
    );
    check_error(
        &request(128 * MIB, opensbi(), Some(fixed(0x9000_0000..0x9000_1000)), None),
        "the kernel is linked to run at 0x90000000..0x90001000, but memory is at 0x80000000..0x88000000; \
         try --memory 512M",
    );
}

#[test]
fn a_kernel_over_the_firmware_is_refused() {
    check_error(
        &request(128 * MIB, opensbi(), Some(fixed(0x8000_0000..0x8001_0000)), None),
        "the kernel, linked to run at 0x80000000..0x80010000, would overwrite the firmware at \
         0x80000000..0x80043000; link it behind the firmware, or start it without one (--bios none)",
    );
}

#[test]
fn empty_pieces_are_refused() {
    check_error(&request(MIB, Firmware::None, Some(flat(0)), None), "the kernel is empty");
    check_error(&request(MIB, Firmware::None, Some(flat(1)), Some(0)), "the initrd is empty");
}

#[test]
fn the_devicetree_avoids_a_kernel_at_the_top_of_memory() {
    let kernel = fixed(0x87f0_0000..0x8800_0000);
    let layout = place(&request(128 * MIB, Firmware::None, Some(kernel), None)).unwrap();
    assert_eq!(layout.fdt.start, 0x87e0_0000);
}

#[test]
fn very_many_segments_are_placed_in_time() {
    let segments = (0..200_000).map(|n| RAM + n * 512..RAM + n * 512 + 8).collect();
    let kernel = Payload::Fixed { segments, entry: RAM };
    let begin = std::time::Instant::now();
    let layout = place(&request(128 * MIB, Firmware::None, Some(kernel), Some(MIB))).unwrap();
    assert_eq!(layout.initrd.unwrap().start, RAM + 102_400_000_u64.next_multiple_of(4096));
    assert!(begin.elapsed().as_secs() < 2);
}

fn start(firmware: Firmware, kernel: Option<Payload>, initrd: Option<u64>) -> Start {
    let bootargs = Some("console=ttyS0".into());
    Start { firmware, kernel, resident: None, initrd, bootargs, rng_seed: vec![1; 32], boot_hart: 1 }
}

#[test]
fn a_plan_agrees_with_itself() {
    let board = virt(&Config::new(2, 256 * MIB)).unwrap();
    let plan = board.plan(&start(opensbi(), Some(image(31 * MIB)), Some(5 * MIB + 3))).unwrap();
    let tree = support_image::fdt::Tree::parse(&plan.fdt).unwrap();
    let chosen = tree.node("/chosen").unwrap();
    let address = |name| u64::from_be_bytes(chosen.property(name).unwrap().try_into().unwrap());
    let initrd = plan.layout.initrd.clone().unwrap();
    assert_eq!(address("linux,initrd-start")..address("linux,initrd-end"), initrd);
    assert_eq!(initrd.end - initrd.start, 5 * MIB + 3);
    assert_eq!(plan.layout.fdt.end - plan.layout.fdt.start, plan.fdt.len() as u64);
    // It says that it is as long as it is, and its end is free.
    assert_eq!(plan.fdt[4..8], (plan.fdt.len() as u32).to_be_bytes());
    assert_eq!(plan.fdt[plan.fdt.len() - 4096..], [0; 4096]);
    assert_eq!((plan.handover.start, plan.mode), (RAM, Mode::Machine));
    let info = plan.handover.info.unwrap();
    assert_eq!((info.next_addr, info.next_mode, info.boot_hart), (0x8020_0000, Mode::Supervisor, 1));
    assert!(plan.boot_rom.len() as u64 <= board.device("boot-rom").unwrap().size);
}

#[test]
fn modes_follow_the_firmware() {
    let board = virt(&Config::new(2, 256 * MIB)).unwrap();
    let plan = board.plan(&start(Firmware::Builtin, Some(image(MIB)), None)).unwrap();
    assert_eq!((plan.handover.start, plan.mode, plan.handover.info), (0x8020_0000, Mode::Supervisor, None));
    let plan = board.plan(&start(Firmware::None, Some(fixed(RAM + 64..RAM + 128)), None)).unwrap();
    assert_eq!((plan.handover.start, plan.mode, plan.handover.info), (RAM + 64, Mode::Machine, None));
}

#[test]
fn a_start_needs_something_to_run() {
    let board = virt(&Config::new(2, 256 * MIB)).unwrap();
    assert_eq!(board.plan(&start(Firmware::Builtin, None, None)), Err(PlanError::NothingToRun));
    assert_eq!(board.plan(&start(Firmware::None, None, None)), Err(PlanError::NothingToRun));
    assert_eq!(board.plan(&start(opensbi(), None, Some(5))), Err(PlanError::InitrdWithoutKernel));
    assert!(board.plan(&start(opensbi(), None, None)).is_ok());
}

fn pieces(layout: &Layout) -> Vec<Range<u64>> {
    let programs = [&layout.firmware, &layout.kernel].into_iter().flatten();
    let mut pieces: Vec<_> = programs.map(|placed| placed.extent.clone()).collect();
    pieces.extend(layout.initrd.clone());
    pieces.push(layout.fdt.start..layout.fdt.end + FDT_GROWTH);
    pieces.sort_by_key(|piece| piece.start);
    pieces
}

fn advised(error: &LayoutError) -> Option<u64> {
    match error {
        LayoutError::DoesNotFit { enough, .. } | LayoutError::OutsideMemory { enough, .. } => *enough,
        LayoutError::Overlap { .. } | LayoutError::Empty(_) => None,
    }
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        1 => (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
            |(len, text_offset, entry, linked_at)| Payload::Floating { len, text_offset, entry, linked_at }
        ),
        8 => (0..64 * MIB, 0..64 * MIB).prop_map(|(len, text_offset)| Payload::Floating {
            len,
            text_offset,
            entry: 0,
            linked_at: 0
        }),
        8 => (RAM..RAM + 64 * MIB, 1..64 * MIB).prop_map(|(at, len)| fixed(at..at + len)),
        1 => (0..u64::MAX - MIB, 1..MIB).prop_map(|(at, len)| fixed(at..at + len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_lie_in_memory_and_apart(
        memory in (1..65536_u64).prop_map(|pages| MIB + pages * 4 * KIB),
        firmware in prop_oneof![
            Just(Firmware::None),
            Just(Firmware::Builtin),
            any_payload().prop_map(Firmware::Loaded),
        ],
        kernel in proptest::option::of(any_payload()),
        initrd in proptest::option::of(prop_oneof![8 => 0..128 * MIB, 1 => any::<u64>()]),
        fdt in prop_oneof![8 => 0..MIB, 1 => any::<u64>()],
    ) {
        let request = Request { ram: RAM..RAM + memory, firmware, kernel, initrd, fdt };
        match place(&request) {
            Ok(layout) => {
                let pieces = pieces(&layout);
                for piece in &pieces {
                    prop_assert!(piece.start < piece.end);
                    prop_assert!(request.ram.start <= piece.start && piece.end <= request.ram.end);
                }
                for (first, second) in pieces.iter().zip(pieces.iter().skip(1)) {
                    prop_assert!(first.end <= second.start, "{pieces:x?}");
                }
            }
            // The advice must be good.
            Err(error) => {
                if let Some(enough) = advised(&error) {
                    prop_assert!(enough > memory);
                    let larger = Request { ram: RAM..RAM + enough, ..request };
                    prop_assert!(place(&larger).is_ok(), "advice that does not help");
                }
            }
        }
    }
}
