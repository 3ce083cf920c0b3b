//! The common configuration on PCI against QEMU's, access by access.

use dev_core::Device;
use dev_pci::{PciFunction, Placement};
use dev_virtio::{Identity, Pci, Transport};

/// The fields of the common configuration (VIRTIO 1.2, 4.1.4.3): name, offset, bytes.
const FIELDS: [(&str, u64, u8); 21] = [
    ("device_feature_select", 0x00, 4),
    ("device_feature", 0x04, 4),
    ("driver_feature_select", 0x08, 4),
    ("driver_feature", 0x0c, 4),
    ("config_msix_vector", 0x10, 2),
    ("num_queues", 0x12, 2),
    ("device_status", 0x14, 1),
    ("config_generation", 0x15, 1),
    ("queue_select", 0x16, 2),
    ("queue_size", 0x18, 2),
    ("queue_msix_vector", 0x1a, 2),
    ("queue_enable", 0x1c, 2),
    ("queue_notify_off", 0x1e, 2),
    ("queue_desc", 0x20, 4),
    ("queue_desc_high", 0x24, 4),
    ("queue_driver", 0x28, 4),
    ("queue_driver_high", 0x2c, 4),
    ("queue_device", 0x30, 4),
    ("queue_device_high", 0x34, 4),
    ("queue_notify_data", 0x38, 2),
    ("queue_reset", 0x3a, 2),
];
/// Where the slot of a function has BAR 4.
const BAR: u64 = 5 << 40;

/// A device with the features and queues that QEMU's had, and nobody who attends but for what a driver waits for.
fn device() -> PciFunction<Pci> {
    let features = 0x1_3000_7e54 | 1 << 34 | 1 << 40;
    let identity =
        Identity { id: 2, features, queues: vec![256; 2], config: vec![0; 96], writable: Vec::new() };
    let mut function = PciFunction::new(Pci::new(identity), &Placement::default());
    function.set_reachable(true);
    function.write(4, 2, 6, 0).unwrap();
    function
}

#[test]
fn the_common_configuration_differs_from_qemus_only_where_a_reason_is_given() {
    let mut device = device();
    let mut found = Vec::new();
    let mut section = "";
    for line in include_str!("golden/qemu-virtio-pci.txt").lines().skip(2) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name;
            continue;
        }
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap();
        let (what, name, value) = (next(), next(), next());
        let (_, offset, size) = FIELDS.into_iter().find(|field| field.0 == name).unwrap();
        let value = u64::from_str_radix(value.strip_prefix("0x").unwrap(), 16).unwrap();
        if what == "write" {
            device.write(BAR + offset, size, value, 0).unwrap();
            let news = device.common().news();
            if news.reset {
                device.common().reset_done();
            }
            device.common().close_done(news.closed);
            continue;
        }
        let ours = device.read(BAR + offset, size, 0).unwrap();
        if ours != value {
            found.push(format!("{section}: {name} {value:#x}, ours {ours:#x}"));
        }
    }
    let mut known = Vec::new();
    for paragraph in include_str!("golden/virtio-pci-differences.txt").split("\n\n").skip(1) {
        assert!(paragraph.starts_with("# "), "no reason is given for:\n{paragraph}");
        known.extend(paragraph.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    found.sort();
    known.sort();
    assert_eq!(found, known, "{}", found.join("\n"));
}
