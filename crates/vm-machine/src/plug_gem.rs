//! The network card of SiFive's FU540, and the thread that moves its frames.

use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::plug_virtio::Attached;
use crate::spec::{ClockKind, Spec};
use dev_core::Slot;
use dev_gem::{Front, Gem, Station};
use dev_virtio::{Attend, Watched};
use fabric_bus::Dma;
use host_loop::Bell;
use std::sync::Arc;
use vm_board::board::{DeviceKind, Placed};

/// What it is called where something is told of it.
const NAME: &str = "gem";
/// As what it reaches memory: no number of a place for virtio devices, nor of a PCI function.
const REQUESTER: u32 = u32::MAX - 1;

/// Refuses a network that the board has no card for.
pub(crate) fn check_ethernet(spec: &Spec) -> Result<(), BuildError> {
    let is_card = |placed: &Placed| matches!(placed.kind, DeviceKind::Fu540Gem { .. });
    match spec.ethernet {
        Some(_) if !spec.board.devices.iter().any(is_card) => Err(BuildError::NoEthernet(spec.board.name)),
        Some(_) if spec.clock == ClockKind::Virtual => {
            Err(BuildError::OutsideAndVirtualClock("network card"))
        }
        _ => Ok(()),
    }
}

/// The card's station, as a thread attends it.
struct Attended(Arc<Station>);

impl Attend for Attended {
    fn attend(&self) -> bool {
        self.0.attend()
    }

    fn quiesce(&self) {
        self.0.quiesce();
    }

    fn watched(&self) -> Vec<Watched> {
        let (fd, (read, write)) = self.0.waits();
        vec![Watched { fd, read, write }]
    }
}

impl Plugging<'_> {
    /// Plugs in the card, joined to the machine's network if there is one; else its cable is pulled out.
    pub(crate) fn plug_gem(&mut self, placed: &Placed, spec: &Spec) -> Result<(), BuildError> {
        let Some(port) = &spec.ethernet else {
            self.add(placed, Gem::default())?;
            return Ok(());
        };
        let bell = Bell::new().map_err(BuildError::Thread)?;
        // The station has a slot before there is a window, which needs the station.
        let slot = Slot::new(Gem::default(), self.wires(placed), self.timers);
        let dma = Dma::new(Arc::clone(&self.memory), REQUESTER);
        let station = Station::new(Arc::clone(&slot), dma, Arc::clone(port)).map_err(BuildError::Thread)?;
        let (by_slot, by_window) = (bell.clone(), bell.clone());
        slot.connect(Arc::new(move |_| by_slot.ring()));
        let front = Front::new(Arc::clone(&station), move || by_window.ring());
        self.add_slot(placed, &slot, Arc::new(front))?;
        let attendant = Arc::new(Attended(station));
        self.devices.virtio.push(Attached { name: NAME.to_owned(), attendant, bell });
        Ok(())
    }
}
