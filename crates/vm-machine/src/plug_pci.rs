//! A root complex and its functions.

use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::spec::Spec;
use dev_pci::{
    ComplexBuilder, FunctionId, FunctionSlot, HostBridge, PciDevice, Placement, PlugError, RootPort, Space,
};
use dev_uart::PciSerial;
use dev_virtio::Pci;
use std::collections::HashMap;
use std::sync::Arc;
use vm_board::board::{PciKind, PciPlaced, Placed};

/// The functions of a root complex on their way into it.
struct Cards<'a> {
    builder: ComplexBuilder,
    ids: HashMap<&'static str, FunctionId>,
    all: &'a [PciPlaced],
}

impl Cards<'_> {
    /// How a function's place shows in its configuration space.
    fn placement(&self, placed: &PciPlaced) -> Placement {
        let same_device = |other: &&PciPlaced| (other.port, other.device) == (placed.port, placed.device);
        let later = self.all.iter().filter(same_device).map(|other| other.function);
        Placement {
            devfn: placed.device << 3 | placed.function,
            multi_function: self.all.iter().filter(same_device).count() > 1,
            below_port: placed.port.is_some(),
            next_function: later.filter(|number| *number > placed.function).min().unwrap_or(0),
            occupied: self.all.iter().any(|other| other.port == Some(placed.name)),
        }
    }
}

impl Plugging<'_> {
    /// Puts a function into its place.
    fn plug_function<D: PciDevice>(
        &self,
        cards: &mut Cards<'_>,
        placed: &PciPlaced,
        device: D,
    ) -> Result<FunctionSlot<D>, BuildError> {
        let port =
            placed.port.map(|name| cards.ids.get(name).copied().ok_or(PlugError::NoPort)).transpose()?;
        let (id, slot) = cards.builder.plug(port, &cards.placement(placed), device, self.timers)?;
        cards.ids.insert(placed.name, id);
        Ok(slot)
    }

    /// Puts what is attached to a place for virtio devices into it, if anything is.
    fn plug_virtio_card(
        &mut self,
        cards: &mut Cards<'_>,
        placed: &PciPlaced,
        spec: &Spec,
        place: u32,
    ) -> Result<(), BuildError> {
        let Some((identity, joint)) = self.joint_on_pci(spec, placed, place)? else { return Ok(()) };
        self.keep_outlets(&joint);
        let (placement, device) = (cards.placement(placed), Pci::new(identity));
        let mut attached = None;
        let (id, _) = cards.builder.plug_behind(None, &placement, device, self.timers, |slot| {
            let (window, kept) = joint.join(slot);
            attached = Some(kept);
            Arc::new(window)
        })?;
        cards.ids.insert(placed.name, id);
        self.devices.virtio.extend(attached);
        Ok(())
    }

    /// Plugs in a root complex with its functions and maps its windows.
    pub fn plug_pci(
        &mut self,
        placed: &Placed,
        functions: &[PciPlaced],
        spec: &Spec,
    ) -> Result<(), BuildError> {
        let lines = self.wires(placed);
        let lines = std::array::from_fn(|n| lines.get(n).cloned().flatten());
        let mut cards = Cards { builder: ComplexBuilder::new(lines), ids: HashMap::new(), all: functions };
        for function in functions {
            match function.kind {
                PciKind::HostBridge => drop(self.plug_function(&mut cards, function, HostBridge)?),
                PciKind::RootPort { slot } => {
                    self.plug_function(&mut cards, function, RootPort { slot })?;
                }
                PciKind::Serial => {
                    let slot = self.plug_function(&mut cards, function, PciSerial::new())?;
                    self.uarts.insert(function.name, slot);
                }
                PciKind::Virtio { place } => self.plug_virtio_card(&mut cards, function, spec, place)?,
            }
        }
        let Cards { builder, ids, .. } = cards;
        let complex = builder.build();
        for function in functions {
            if let Some(plugged) = ids.get(function.name).and_then(|id| complex.plugged(*id)) {
                self.devices.slots.push((function.name, plugged));
            }
        }
        let ecam = self.observed(placed.name, 0, complex.ecam());
        self.builder.device(placed.name, placed.base, placed.size, ecam)?;
        for (n, window) in placed.more.iter().enumerate() {
            let space = if n == 0 { Space::Io } else { Space::Memory };
            let target = self.observed(placed.name, window.offset, complex.window(space, window.offset));
            self.builder.device(placed.name, window.base, window.size, target)?;
        }
        Ok(())
    }
}
