//! The first 64 bytes of configuration space.
//!
//! Sources: PCI Local Bus Specification 3.0, 6.1 and 6.2; PCI Express Base Specification, 7.5.1 (what of it PCI Express
//! leaves without a meaning is read-only zero); PCI-to-PCI Bridge Architecture Specification 1.2, 3.2.

use crate::fields::config_registers;

config_registers! {
    /// What both types of header begin and end with.
    pub(crate) const COMMON = {
        0x00 2 VendorId { vendor_id: 15..0 RO }
        0x02 2 DeviceId { device_id: 15..0 RO }
        0x04 2 Command {
            io_space: 0..0 RW, memory_space: 1..1 RW, bus_master: 2..2 RW, parity_error_response: 6..6 RW,
            serr_enable: 8..8 RW, interrupt_disable: 10..10 RW,
        }
        /// `interrupt_status` is computed when it is read.
        0x06 2 Status {
            interrupt_status: 3..3 RO, capabilities_list: 4..4 RO, master_data_parity_error: 8..8 RW1C,
            signaled_target_abort: 11..11 RW1C, received_target_abort: 12..12 RW1C,
            received_master_abort: 13..13 RW1C, signaled_system_error: 14..14 RW1C,
            detected_parity_error: 15..15 RW1C,
        }
        0x08 1 RevisionId { revision: 7..0 RO }
        0x09 1 ProgrammingInterface { interface: 7..0 RO }
        0x0a 1 SubClass { sub_class: 7..0 RO }
        0x0b 1 BaseClass { base_class: 7..0 RO }
        /// Read-write for the sake of old software; PCI Express gives it no effect.
        0x0c 1 CacheLineSize { size: 7..0 RW }
        0x0e 1 HeaderType { layout: 6..0 RO, multi_function: 7..7 RO }
        0x34 1 CapabilitiesPointer { pointer: 7..0 RO }
        0x3c 1 InterruptLine { line: 7..0 RW }
        0x3d 1 InterruptPin { pin: 7..0 RO }
    }
}

config_registers! {
    /// Type 0: devices. Base address registers are added by their kinds.
    pub(crate) const TYPE_0 = {
        0x2c 2 SubsystemVendorId { id: 15..0 RO }
        0x2e 2 SubsystemId { id: 15..0 RO }
    }
}

config_registers! {
    /// Type 1: bridges. Both I/O fields say 32 bits, the prefetchable ones 64. After reset all windows are closed, which the
    /// specification leaves open.
    pub(crate) const TYPE_1 = {
        0x18 1 PrimaryBus { number: 7..0 RW }
        0x19 1 SecondaryBus { number: 7..0 RW }
        0x1a 1 SubordinateBus { number: 7..0 RW }
        0x1c 1 IoBase { width: 3..0 RO = 1, address: 7..4 RW = 15 }
        0x1d 1 IoLimit { width: 3..0 RO = 1, address: 7..4 RW }
        0x1e 2 SecondaryStatus {
            master_data_parity_error: 8..8 RW1C, signaled_target_abort: 11..11 RW1C,
            received_target_abort: 12..12 RW1C, received_master_abort: 13..13 RW1C,
            received_system_error: 14..14 RW1C, detected_parity_error: 15..15 RW1C,
        }
        0x20 2 MemoryBase { address: 15..4 RW = 0xfff }
        0x22 2 MemoryLimit { address: 15..4 RW }
        0x24 2 PrefetchableBase { width: 3..0 RO = 1, address: 15..4 RW = 0xfff }
        0x26 2 PrefetchableLimit { width: 3..0 RO = 1, address: 15..4 RW }
        0x28 4 PrefetchableBaseUpper { address: 31..0 RW }
        0x2c 4 PrefetchableLimitUpper { address: 31..0 RW }
        0x30 2 IoBaseUpper { address: 15..0 RW }
        0x32 2 IoLimitUpper { address: 15..0 RW }
        /// There is no VGA to enable.
        0x3e 2 BridgeControl {
            parity_error_response: 0..0 RW, serr_enable: 1..1 RW, isa_enable: 2..2 RW,
            secondary_bus_reset: 6..6 RW,
        }
    }
}

/// Offset of the first base address register.
pub(crate) const BARS: u16 = 0x10;
/// Where capabilities begin.
pub(crate) const CAPABILITIES: u16 = 0x40;
/// Where extended capabilities begin, and those before end.
pub(crate) const EXTENDED: u16 = 0x100;
