//! A function: a device's model with its configuration space, BARs and interrupts, as one device in a slot.
//!
//! Its offsets: configuration space from 0 on, BAR `n` from `(n + 1) << 40` on. Nobody but the root complex looks there.
//!
//! Interrupts are messages if the driver has enabled MSI-X or MSI, else the level of output 0, which is the function's pin
//! (PCI Express Base Specification, 6.1: a function uses one of them at a time). A vector waits in its pending bit while it
//! is masked, and also while the function is no bus master or not in D0, as it may then send nothing (7.5.1.1.3, 5.3.1.4).

use crate::bar::Bar;
use crate::capabilities::{DeviceStatus, PowerControl};
use crate::decode::{Decode, STRIDE_LOG2, decode, is_awake};
use crate::device::{Description, PciDevice};
use crate::fields::Bits;
use crate::header::{Command, Status};
use crate::layout::{Placement, Places, lay_out};
use crate::space::{ConfigSpace, SIZE, lanes};
use crate::vectors::{Msix, msi_enabled, msix_enabled, msix_masked, raise_msi, take_msi};
use dev_core::{Device, NoRegister, RestoreError};
use fabric_clock::Nanos;
use fabric_wire::Message;

/// A function.
pub struct PciFunction<D> {
    device: D,
    description: Description,
    devfn: u8,
    places: Places,
    state: State,
}

/// What a guest can change, but for the device.
struct State {
    space: ConfigSpace,
    /// The bus that the last configuration write came on (2.2.6.2: requester ids are captured).
    bus: u8,
    msix: Option<Msix>,
    /// Whether the bridges above pass this function's requests on. The root complex tells.
    reachable: bool,
    /// What the device was last told: [`PciDevice::bus_master`].
    master: bool,
    /// The same: [`PciDevice::sends_messages`].
    messages: bool,
}

/// Where an access goes.
enum Place {
    Config(u16),
    Bar(u8, u64),
}

/// Bit 15 of Device Control: reads as zero, and writing a one resets the function (7.5.3.4).
const INITIATE_RESET: Bits = Bits { offset: 8, high: 15, low: 15 };

impl<D: PciDevice> PciFunction<D> {
    /// A function after reset.
    ///
    /// # Panics
    /// If the device's description contradicts itself.
    pub fn new(device: D, placement: &Placement) -> Self {
        let description = device.description();
        let (space, places) = lay_out(&description, placement);
        let msix = description.msix.map(Msix::new);
        let state = State { space, bus: 0, msix, reachable: false, master: false, messages: false };
        PciFunction { device, description, devfn: placement.devfn, places, state }
    }

    /// The model.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The model, for the host's side.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Its requester id: bus, device and function.
    pub fn requester(&self) -> u32 {
        u32::from(self.state.bus) << 8 | u32::from(self.devfn)
    }

    /// What it decodes now.
    pub(crate) fn decode(&self) -> Decode {
        decode(&self.state.space, &self.places, &self.description.bars)
    }

    /// A configuration write that came on bus `bus`.
    pub fn configure(&mut self, bus: u8, offset: u16, size: u8, value: u32, now: Nanos) {
        self.state.bus = bus;
        let _ = self.write_config(offset, size, value, now);
    }

    /// The bridges above pass requests on, or no longer.
    pub fn set_reachable(&mut self, reachable: bool) {
        self.state.reachable = reachable;
        self.tell();
    }

    /// Tells the device what its function's registers have come to say.
    fn tell(&mut self) {
        let uses_messages = self.uses_messages();
        let State { space, reachable, master, messages, .. } = &mut self.state;
        let now = *reachable && space.is_set(Command::bus_master) && is_awake(space, &self.places);
        if now != *master {
            *master = now;
            self.device.bus_master(now);
        }
        if uses_messages != *messages {
            *messages = uses_messages;
            self.device.sends_messages(uses_messages);
        }
    }

    /// Whether the driver has enabled MSI or MSI-X.
    fn uses_messages(&self) -> bool {
        let State { space, .. } = &self.state;
        msi_enabled(space, self.places.msi) || msix_enabled(space, self.places.msix)
    }

    fn place(&self, offset: u64, size: u8) -> Option<Place> {
        let at = offset & ((1 << STRIDE_LOG2) - 1);
        let Some(bar) = (offset >> STRIDE_LOG2).checked_sub(1) else {
            let inside = size <= 4 && at % 4 + u64::from(size) <= 4 && at < SIZE;
            return inside.then_some(Place::Config(at as u16));
        };
        let Bar { number, size: bytes, .. } = self.bar(bar)?;
        (at.checked_add(u64::from(size))? <= *bytes).then_some(Place::Bar(*number, at))
    }

    fn bar(&self, number: u64) -> Option<&Bar> {
        self.description.bars.iter().find(|bar| u64::from(bar.number) == number)
    }

    /// The vendor-specific capability whose window an access at `at` meets: its number, its place, the offset in the
    /// window.
    fn window(&self, at: u16) -> Option<(usize, u16, u8)> {
        let all = self.places.vendor.iter().zip(&self.description.vendor).enumerate();
        all.into_iter().find_map(|(number, (&place, capability))| {
            let first = place + 3 + u16::from(capability.window?);
            let offset = at.checked_sub(first).filter(|offset| *offset < 4)?;
            Some((number, place, offset as u8))
        })
    }

    /// The body of a vendor-specific capability as it is now.
    fn body(&self, number: usize, place: u16) -> Vec<u8> {
        let length = self.description.vendor.get(number).map_or(0, |capability| capability.body.len());
        (0..length as u16).map(|n| self.state.space.read(place + 3 + n, 1) as u8).collect()
    }

    fn read_config(&mut self, at: u16, size: u8, now: Nanos) -> u32 {
        if let Some((number, place, offset)) = self.window(at) {
            let body = self.body(number, place);
            return self.device.window_read(number, &body, offset, size, now) & lanes(size);
        }
        let value = self.state.space.read(at, size);
        if at & !3 != Command::WHOLE.offset {
            return value;
        }
        // The status of the pin, whether disabled or not, in the doubleword that this is part of.
        let status = u32::from(self.wants_pin(now)) << Status::interrupt_status.low << 16;
        value | status >> (8 * (at & 3)) & lanes(size)
    }

    fn write_config(&mut self, at: u16, size: u8, value: u32, now: Nanos) -> Result<(), NoRegister> {
        let old_power = self.places.power.map(|at| self.state.space.get(PowerControl::power_state.at(at)));
        self.state.space.write(at, size, value);
        if let (Some(at), Some(old)) = (self.places.power, old_power) {
            // D1 and D2 do not exist: a write of them is dropped (7.5.2.2).
            let power = PowerControl::power_state.at(at);
            if matches!(self.state.space.get(power), 1 | 2) {
                self.state.space.set(power, old);
            }
        }
        if let Some((number, place, offset)) = self.window(at) {
            let body = self.body(number, place);
            self.device.window_write(number, &body, offset, size, value & lanes(size), now);
        }
        if self.resets(at, size, value) {
            let bus = self.state.bus;
            self.reset(now);
            self.state.bus = bus;
        }
        self.tell();
        Ok(())
    }

    /// Whether a write is a function-level reset.
    fn resets(&self, at: u16, size: u8, value: u32) -> bool {
        let Some(express) = self.places.express else { return false };
        let bit = INITIATE_RESET.at(express);
        let byte = bit.offset + 1;
        let device = matches!(self.description.header, crate::device::Header::Device);
        let hit = at <= byte && byte - at < u16::from(size);
        device && hit && value.checked_shr(8 * u32::from(byte.wrapping_sub(at)) + 7).unwrap_or(0) & 1 != 0
    }

    /// Whether the device wants attention and has a pin for it that it uses.
    fn wants_pin(&self, now: Nanos) -> bool {
        self.description.pin.is_some() && !self.uses_messages() && self.device.interrupt(now)
    }

    /// Takes note of a request that nothing answers (6.2.3.2.4.1: an advisory non-fatal error, which is correctable).
    fn unsupported(&mut self) -> NoRegister {
        if let Some(at) = self.places.express {
            self.state.space.set(DeviceStatus::unsupported_request.at(at), 1);
            self.state.space.set(DeviceStatus::correctable.at(at), 1);
        }
        NoRegister
    }
}

impl<D: PciDevice> Device for PciFunction<D> {
    const NAME: &'static str = D::NAME;
    /// The function's version above the device's.
    const VERSION: u32 = 1 << 16 | D::VERSION;
    type Saved = saved::FunctionV1<D::Saved>;

    fn read(&mut self, offset: u64, size: u8, now: Nanos) -> Result<u64, NoRegister> {
        match self.place(offset, size).ok_or(NoRegister)? {
            Place::Config(at) => Ok(u64::from(self.read_config(at, size, now))),
            Place::Bar(bar, at) => {
                let vectors = self.state.msix.as_ref().and_then(|msix| msix.read(bar, at, size));
                match vectors {
                    Some(value) => Ok(value),
                    None => self.device.bar_read(bar, at, size, now).map_err(|_| self.unsupported()),
                }
            }
        }
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, now: Nanos) -> Result<(), NoRegister> {
        match self.place(offset, size).ok_or(NoRegister)? {
            Place::Config(at) => self.write_config(at, size, value as u32, now),
            Place::Bar(bar, at) => {
                let vectors = self.state.msix.as_mut().and_then(|msix| msix.write(bar, at, size, value));
                match vectors {
                    Some(()) => Ok(()),
                    None => self.device.bar_write(bar, at, size, value, now).map_err(|_| self.unsupported()),
                }
            }
        }
    }

    fn lines(&self, _word: usize, now: Nanos) -> u64 {
        let State { space, .. } = &self.state;
        let free = !space.is_set(Command::interrupt_disable) && is_awake(space, &self.places);
        u64::from(free && self.wants_pin(now))
    }

    fn outputs(&self) -> usize {
        1
    }

    fn deadline(&self, now: Nanos) -> Option<Nanos> {
        self.device.deadline(now)
    }

    fn tick(&mut self, now: Nanos) {
        self.device.tick(now);
    }

    fn message(&mut self) -> Option<Message> {
        let State { space, msix, master, .. } = &mut self.state;
        let by_msix = msix_enabled(space, self.places.msix);
        let by_msi = !by_msix && msi_enabled(space, self.places.msi);
        while let Some(vector) = self.device.take_vector() {
            match (msix.as_mut(), self.places.msi) {
                (Some(msix), _) if by_msix => msix.raise(vector),
                (_, Some(at)) if by_msi => raise_msi(space, at, vector),
                _ => {}
            }
        }
        if !*master {
            return None;
        }
        let (address, data) = match (msix.as_mut(), self.places.msi) {
            (Some(_), _) if by_msix && msix_masked(space, self.places.msix) => return None,
            (Some(msix), _) if by_msix => msix.take()?,
            (_, Some(at)) if by_msi => take_msi(space, at)?,
            _ => return None,
        };
        Some(Message { address, data, requester: self.requester() })
    }

    fn wants_host(&self) -> bool {
        self.device.wants_host()
    }

    fn takes_more(&self) -> bool {
        self.device.takes_more()
    }

    fn reset(&mut self, now: Nanos) {
        self.state.space.reset();
        if let Some(msix) = &mut self.state.msix {
            msix.reset();
        }
        self.device.reset(now);
        (self.state.bus, self.state.master, self.state.messages) = (0, false, false);
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state, self.device.save())
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        let damaged = RestoreError::Damaged { device: D::NAME };
        let (state, device) = saved::into_state(&self.state, saved).ok_or(damaged)?;
        self.device.restore(device)?;
        self.state = state;
        // The device's own state says nothing of this: it is told anew.
        self.device.bus_master(false);
        self.device.sends_messages(false);
        self.tell();
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::State;
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct FunctionV1<D> {
        /// Doublewords of configuration space that are not as after reset: offset and value.
        pub config: Vec<(u16, u32)>,
        /// The bus it is on, as far as it knows.
        pub bus: u8,
        /// MSI-X: entries of the table; none without MSI-X.
        pub table: Vec<[u32; 4]>,
        /// MSI-X: pending bits.
        pub pending: Vec<u64>,
        /// The device.
        pub device: D,
    }

    pub(super) fn from_state<D>(state: &State, device: D) -> FunctionV1<D> {
        // Reachable, master and messages follow from the bridges' states and this one's.
        let State { space, bus, msix, reachable: _, master: _, messages: _ } = state;
        let (table, pending) =
            msix.as_ref().map_or((Vec::new(), Vec::new()), |m| (m.table.clone(), m.pending.clone()));
        FunctionV1 { config: space.changes(), bus: *bus, table, pending, device }
    }

    pub(super) fn into_state<D>(now: &State, saved: FunctionV1<D>) -> Option<(State, D)> {
        let FunctionV1 { config, bus, table, pending, device } = saved;
        let space = now.space.changed(&config)?;
        let mut msix = now.msix.clone();
        match &mut msix {
            Some(msix) if msix.fits(&table, &pending) => (msix.table, msix.pending) = (table, pending),
            None if table.is_empty() && pending.is_empty() => {}
            _ => return None,
        }
        let reachable = now.reachable;
        Some((State { space, bus, msix, reachable, master: false, messages: false }, device))
    }
}
