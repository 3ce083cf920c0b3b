//! The configuration space of a function, laid out from its description: header, BARs, and two lists of capabilities.
//!
//! Capabilities are packed, each at the next doubleword, so that any of them may be left out or come to it. All of PCI's
//! own (44 bytes of them with MSI and MSI-X), PCI Express's 60 and 88 bytes of vendor-specific ones, as many as virtio has,
//! fill the 192 bytes that there are; extended capabilities have 3840 bytes.

use crate::bar::{Bar, BarKind};
use crate::capabilities::*;
use crate::device::{Description, Header, Identity, VendorCapability};
use crate::fields::{Bits, Register};
use crate::header::*;
use crate::space::{ConfigSpace, SIZE};

/// Where a function is plugged in, as far as it shows in its configuration space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Device number (bits 7 to 3) and function number (2 to 0); below a port with ARI, all is the function number.
    pub devfn: u8,
    /// The device has more functions. (Only function 0 must say so.)
    pub multi_function: bool,
    /// It is below a port, at a link, and no part of the root complex.
    pub below_port: bool,
    /// The next function of the same device, for ARI; 0 if there is none.
    pub next_function: u8,
    /// Of a port: something is plugged in.
    pub occupied: bool,
}

/// Where capabilities have come to lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub power: Option<u16>,
    pub express: Option<u16>,
    pub msi: Option<u16>,
    pub msix: Option<u16>,
    pub vendor: Vec<u16>,
}

/// A configuration space with its two lists.
pub(crate) struct Layout {
    pub space: ConfigSpace,
    /// The pointer that leads to the next capability, and where that will be.
    link: Bits,
    free: u16,
    /// The same for extended capabilities; the first has no pointer to it.
    extended_link: Option<Bits>,
    extended_free: u16,
}

/// The identifier and the pointer of a capability.
const CAPABILITY_ID: Bits = Bits { offset: 0, high: 7, low: 0 };
const CAPABILITY_NEXT: Bits = Bits { offset: 1, high: 7, low: 0 };
const VENDOR_LENGTH: Bits = Bits { offset: 2, high: 7, low: 0 };
/// Those of an extended one (PCI Express Base Specification, 7.6.3).
const EXTENDED_ID: Bits = Bits { offset: 0, high: 15, low: 0 };
const EXTENDED_VERSION: Bits = Bits { offset: 0, high: 19, low: 16 };
const EXTENDED_NEXT: Bits = Bits { offset: 0, high: 31, low: 20 };

impl Layout {
    /// Without capabilities.
    pub fn new() -> Layout {
        let mut space = ConfigSpace::new();
        space.add(0, COMMON);
        Layout {
            space,
            link: CapabilitiesPointer::pointer,
            free: CAPABILITIES,
            extended_link: None,
            extended_free: EXTENDED,
        }
    }

    /// Adds a capability of `size` bytes with these registers; gives its place.
    ///
    /// # Panics
    /// If there is no room: the description asks for what no function can have.
    pub fn capability(&mut self, id: u8, size: u16, tables: &[&[Register]]) -> u16 {
        let at = self.free;
        let end = (at + size).next_multiple_of(4);
        assert!(end <= EXTENDED, "capability {id:#x} of {size} bytes does not fit at {at:#x}");
        self.space.preset(Status::capabilities_list, 1);
        self.space.preset(self.link, u32::from(at));
        self.space.preset(CAPABILITY_ID.at(at), u32::from(id));
        tables.iter().for_each(|table| self.space.add(at, table));
        (self.link, self.free) = (CAPABILITY_NEXT.at(at), end);
        at
    }

    /// Adds an extended capability, as [`Layout::capability`] does.
    ///
    /// # Panics
    /// If there is no room.
    pub fn extended(&mut self, id: u16, version: u32, size: u16, tables: &[&[Register]]) -> u16 {
        let at = self.extended_free;
        let end = (at + size).next_multiple_of(4);
        assert!(
            u64::from(end) <= SIZE,
            "extended capability {id:#x} of {size} bytes does not fit at {at:#x}"
        );
        if let Some(link) = self.extended_link {
            self.space.preset(link, u32::from(at));
        }
        self.space.preset(EXTENDED_ID.at(at), u32::from(id));
        self.space.preset(EXTENDED_VERSION.at(at), version);
        tables.iter().for_each(|table| self.space.add(at, table));
        (self.extended_link, self.extended_free) = (Some(EXTENDED_NEXT.at(at)), end);
        at
    }

    fn identity(&mut self, identity: &Identity, header: Header) {
        let Identity { vendor, device, revision, class, subsystem_vendor, subsystem } = *identity;
        let space = &mut self.space;
        space.preset(VendorId::vendor_id, vendor.into());
        space.preset(DeviceId::device_id, device.into());
        space.preset(RevisionId::revision, revision.into());
        space.preset(ProgrammingInterface::interface, class & 0xff);
        space.preset(SubClass::sub_class, class >> 8 & 0xff);
        space.preset(BaseClass::base_class, class >> 16 & 0xff);
        match header {
            Header::Device => {
                space.add(0, TYPE_0);
                space.preset(SubsystemVendorId::id, subsystem_vendor.into());
                space.preset(SubsystemId::id, subsystem.into());
            }
            Header::RootPort { .. } => {
                space.add(0, TYPE_1);
                space.preset(HeaderType::layout, 1);
            }
        }
    }

    fn bar(&mut self, bar: &Bar) {
        let at = |register: u8| Bits { offset: BARS + 4 * u16::from(register), high: 31, low: 0 };
        let address = bar.address_bits();
        self.space.preset(at(bar.number), bar.type_bits());
        self.space.make_writable(at(bar.number), address as u32);
        if bar.registers() == 2 {
            self.space.make_writable(at(bar.number + 1), (address >> 32) as u32);
        }
    }

    fn msi(&mut self, vectors: u8) -> u16 {
        assert!(vectors.is_power_of_two() && vectors <= 32, "MSI has 1, 2, 4, 8, 16 or 32 vectors");
        let at = self.capability(id::MSI, MSI_SIZE, &[MSI]);
        self.space.preset(MsiControl::multiple_message_capable.at(at), vectors.trailing_zeros());
        self.space.make_writable(MsiMask::mask.at(at), u32::MAX >> (32 - u32::from(vectors)));
        at
    }

    fn express(&mut self, header: Header, legacy: bool, placement: &Placement) -> u16 {
        let is_port = matches!(header, Header::RootPort { .. });
        let link: &[Register] = if is_port || placement.below_port { EXPRESS_LINK } else { &[] };
        let port: &[Register] = if is_port { EXPRESS_PORT } else { &[] };
        let at = self.capability(id::EXPRESS, EXPRESS_SIZE, &[EXPRESS, link, port]);
        let space = &mut self.space;
        let kind = match header {
            Header::RootPort { slot } => {
                space.preset(ExpressCapabilities::slot_implemented.at(at), 1);
                space.preset(SlotCapabilities::physical_slot.at(at), slot.into());
                space.preset(LinkCapabilities::port_number.at(at), u32::from(slot) & 0xff);
                space.preset(LinkCapabilities::link_active_reporting.at(at), 1);
                space.preset(DeviceCapabilities2::ari_forwarding.at(at), 1);
                space.preset(SlotStatus::presence_detect.at(at), placement.occupied.into());
                space.preset(LinkStatus::link_active.at(at), placement.occupied.into());
                port_type::ROOT_PORT
            }
            Header::Device if placement.below_port && legacy => port_type::LEGACY_ENDPOINT,
            Header::Device if placement.below_port => port_type::ENDPOINT,
            Header::Device => port_type::INTEGRATED_ENDPOINT,
        };
        space.preset(ExpressCapabilities::port_type.at(at), kind);
        if header == Header::Device {
            // Initiating a reset reads as zero always, so it is no field of the table: `PciFunction` looks at writes.
            space.preset(DeviceCapabilities::function_level_reset.at(at), 1);
        }
        at
    }

    fn vendor(&mut self, capability: &VendorCapability) -> u16 {
        let size = 3 + capability.body.len() as u16;
        let at = self.capability(id::VENDOR, size, &[]);
        let aligned =
            |window: u8| (3 + u16::from(window)).is_multiple_of(4) && 3 + u16::from(window) + 4 <= size;
        assert!(capability.window.is_none_or(aligned), "a window is a doubleword of its capability");
        self.space.preset(VENDOR_LENGTH.at(at), size.into());
        for (n, byte) in capability.body.iter().enumerate() {
            let bits = Bits { offset: at + 3 + n as u16, high: 7, low: 0 };
            self.space.preset(bits, u32::from(*byte));
            self.space.make_writable(bits, capability.writable.get(n).copied().unwrap_or(0).into());
        }
        at
    }
}

/// Lays out a function.
///
/// # Panics
/// If the description contradicts itself.
pub(crate) fn lay_out(description: &Description, placement: &Placement) -> (ConfigSpace, Places) {
    let Description { identity, header, pin, bars, msi_vectors, msix, vendor, plain } = description;
    let mut layout = Layout::new();
    layout.identity(identity, *header);
    layout.space.preset(HeaderType::multi_function, placement.multi_function.into());
    layout.space.preset(InterruptPin::pin, pin.map_or(0, |pin| pin as u32));
    let registers = if *header == Header::Device { 6 } else { 2 };
    for (n, bar) in bars.iter().enumerate() {
        let earlier = bars.iter().take(n);
        let clear =
            |e: &Bar| e.number + e.registers() <= bar.number || bar.number + bar.registers() <= e.number;
        assert!(bar.is_sound(registers) && earlier.clone().all(clear), "there can be no {bar:?}");
        layout.bar(bar);
    }
    let mut places = Places::default();
    if !plain {
        places.power = Some(layout.capability(id::POWER, POWER_SIZE, &[POWER]));
        let legacy = bars.iter().any(|bar| bar.kind == BarKind::Io);
        places.express = Some(layout.express(*header, legacy, placement));
    }
    places.msi = (*msi_vectors > 0).then(|| layout.msi(*msi_vectors));
    places.msix = msix.map(|place| {
        let bar = bars.iter().find(|bar| bar.number == place.bar);
        assert!(bar.is_some_and(|bar| place.is_sound(bar)), "there can be no {place:?} in {bar:?}");
        let at = layout.capability(id::MSIX, MSIX_SIZE, &[MSIX]);
        layout.space.preset(MsixControl::table_size.at(at), u32::from(place.vectors) - 1);
        for (bir, offset, value) in [
            (MsixTable::bir, MsixTable::offset, place.table),
            (MsixPending::bir, MsixPending::offset, place.pending),
        ] {
            layout.space.preset(bir.at(at), place.bar.into());
            layout.space.preset(offset.at(at), value >> 3);
        }
        at
    });
    places.vendor = vendor.iter().map(|capability| layout.vendor(capability)).collect();
    if matches!(header, Header::RootPort { .. }) {
        layout.extended(extended_id::ACS, 1, ACS_SIZE, &[ACS]);
    } else if !plain && placement.below_port {
        let at = layout.extended(extended_id::ARI, 1, ARI_SIZE, &[ARI]);
        layout.space.preset(AriCapability::next_function.at(at), placement.next_function.into());
    }
    (layout.space, places)
}
