//! Capability structures.
//!
//! Sources: PCI Express Base Specification, 7.5.2 (power management), 7.5.3 (PCI Express), 7.7.1 (MSI), 7.7.2 (MSI-X),
//! 7.7.8 (ACS), 7.8.8 (ARI); PCI Local Bus Specification 3.0, 6.7 (the list of capabilities) and 6.8.
//!
//! The first two bytes (identifier and next) of each are the layout's.

use crate::fields::config_registers;

/// Identifiers of capabilities.
pub(crate) mod id {
    pub const POWER: u8 = 0x01;
    pub const MSI: u8 = 0x05;
    pub const VENDOR: u8 = 0x09;
    pub const EXPRESS: u8 = 0x10;
    pub const MSIX: u8 = 0x11;
}

/// Identifiers of extended capabilities.
pub(crate) mod extended_id {
    pub const ACS: u16 = 0x000d;
    pub const ARI: u16 = 0x000e;
}

config_registers! {
    /// Power management: D0 and D3hot, nothing lost between them, no PME.
    pub(crate) const POWER = {
        0x02 2 PowerCapabilities { version: 2..0 RO = 3 }
        0x04 2 PowerControl { power_state: 1..0 RW, no_soft_reset: 3..3 RO = 1 }
    }
}
/// Bytes of the power management capability.
pub(crate) const POWER_SIZE: u16 = 8;

config_registers! {
    /// MSI with 64-bit addresses and masks.
    pub(crate) const MSI = {
        0x02 2 MsiControl {
            enable: 0..0 RW, multiple_message_capable: 3..1 RO, multiple_message_enable: 6..4 RW,
            wide_address: 7..7 RO = 1, per_vector_masking: 8..8 RO = 1,
        }
        0x04 4 MsiAddress { address: 31..2 RW }
        0x08 4 MsiAddressUpper { address: 31..0 RW }
        0x0c 2 MsiData { data: 15..0 RW }
        /// Only as many bits as there are vectors are writable: the layout's.
        0x10 4 MsiMask { mask: 31..0 RO }
        0x14 4 MsiPending { pending: 31..0 Status }
    }
}
/// Bytes of the MSI capability.
pub(crate) const MSI_SIZE: u16 = 0x18;

config_registers! {
    /// MSI-X; the table and the pending bits are behind a base address register.
    pub(crate) const MSIX = {
        0x02 2 MsixControl { table_size: 10..0 RO, function_mask: 14..14 RW, enable: 15..15 RW }
        0x04 4 MsixTable { bir: 2..0 RO, offset: 31..3 RO }
        0x08 4 MsixPending { bir: 2..0 RO, offset: 31..3 RO }
    }
}
/// Bytes of the MSI-X capability.
pub(crate) const MSIX_SIZE: u16 = 12;

config_registers! {
    /// PCI Express: what every function has. 128-byte payloads.
    pub(crate) const EXPRESS = {
        0x02 2 ExpressCapabilities { version: 3..0 RO = 2, port_type: 7..4 RO, slot_implemented: 8..8 RO }
        0x04 4 DeviceCapabilities { max_payload: 2..0 RO, extended_tag: 5..5 RO = 1, role_based_errors: 15..15 RO = 1, function_level_reset: 28..28 RO }
        0x08 2 DeviceControl {
            correctable: 0..0 RW, non_fatal: 1..1 RW, fatal: 2..2 RW, unsupported_request: 3..3 RW,
            relaxed_ordering: 4..4 RW = 1, max_payload: 7..5 RW, extended_tag: 8..8 RW,
            no_snoop: 11..11 RW = 1, max_read_request: 14..12 RW = 2,
        }
        0x0a 2 DeviceStatus {
            correctable: 0..0 RW1C, non_fatal: 1..1 RW1C, fatal: 2..2 RW1C, unsupported_request: 3..3 RW1C,
        }
        0x24 4 DeviceCapabilities2 { completion_timeout_disable: 4..4 RO = 1, ari_forwarding: 5..5 RO }
        0x28 2 DeviceControl2 { completion_timeout_disable: 4..4 RW }
    }
}
config_registers! {
    /// PCI Express: the link of what is no part of the root complex. 16 GT/s, 16 lanes, always up.
    pub(crate) const EXPRESS_LINK = {
        0x0c 4 LinkCapabilities { max_speed: 3..0 RO = 4, max_width: 9..4 RO = 16, link_active_reporting: 20..20 RO, aspm_optional: 22..22 RO = 1, port_number: 31..24 RO }
        0x10 2 LinkControl { read_completion_boundary: 3..3 RO, common_clock: 6..6 RW, extended_synch: 7..7 RW }
        0x12 2 LinkStatus { speed: 3..0 RO = 4, width: 9..4 RO = 16, slot_clock: 12..12 RO = 1, link_active: 13..13 RO }
        0x2c 4 LinkCapabilities2 { speeds: 7..1 RO = 15 }
        0x30 2 LinkControl2 { target_speed: 3..0 RW = 4 }
    }
}
config_registers! {
    /// PCI Express: a root port and its slot, without hot-plug.
    pub(crate) const EXPRESS_PORT = {
        0x14 4 SlotCapabilities { no_command_completed: 18..18 RO = 1, physical_slot: 31..19 RO }
        0x1a 2 SlotStatus { presence_detect: 6..6 RO }
        0x1c 2 RootControl { correctable: 0..0 RW, non_fatal: 1..1 RW, fatal: 2..2 RW, pme_interrupt: 3..3 RW }
        0x1e 2 RootCapabilities { crs_visibility: 0..0 RO }
        0x20 4 RootStatus { pme_requester: 15..0 RO, pme_status: 16..16 RW1C }
        0x28 2 PortControl2 { ari_forwarding: 5..5 RW }
    }
}
/// Bytes of the PCI Express capability.
pub(crate) const EXPRESS_SIZE: u16 = 0x3c;

/// What a function is in the fabric: the values of `port_type`.
pub(crate) mod port_type {
    pub const ENDPOINT: u32 = 0;
    /// One that needs I/O ports.
    pub const LEGACY_ENDPOINT: u32 = 1;
    pub const ROOT_PORT: u32 = 4;
    pub const INTEGRATED_ENDPOINT: u32 = 9;
}

config_registers! {
    /// Access control services of a root port. Functions below reach memory only and never each other, so that all of it
    /// holds whether enabled or not.
    pub(crate) const ACS = {
        0x04 2 AcsCapability { source_validation: 0..0 RO = 1, translation_blocking: 1..1 RO = 1, request_redirect: 2..2 RO = 1, completion_redirect: 3..3 RO = 1, upstream_forwarding: 4..4 RO = 1 }
        0x06 2 AcsControl { source_validation: 0..0 RW, translation_blocking: 1..1 RW, request_redirect: 2..2 RW, completion_redirect: 3..3 RW, upstream_forwarding: 4..4 RW }
    }
}
/// Bytes of the ACS capability without an egress control vector.
pub(crate) const ACS_SIZE: u16 = 8;

config_registers! {
    /// Alternative routing-ID interpretation: functions beyond the eighth.
    pub(crate) const ARI = {
        0x04 2 AriCapability { next_function: 15..8 RO }
    }
}
/// Bytes of the ARI capability.
pub(crate) const ARI_SIZE: u16 = 8;
