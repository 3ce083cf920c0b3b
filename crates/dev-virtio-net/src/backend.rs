//! The device at work.

use crate::config::{LINK_UP, MAC, MOST_PAIRS, STATUS, bit, offloads};
use crate::control::{Controls, command};
use crate::filter::Filter;
use crate::receive::{Inlet, Manner, Receiver};
use crate::transmit::Transmitter;
use dev_virtio::{Backend, Broken, Desk, Watched};
use host_net::{NetPort, Offloads};
use std::io;
use std::sync::Arc;

/// Frames that may have come for a driver that is gone, and are given away before the next one starts. More than a port keeps.
pub(crate) const MOST_STALE: usize = 16_384;

/// The network device.
pub struct Net {
    inlets: Vec<Inlet>,
    receivers: Vec<Receiver>,
    transmitters: Vec<Transmitter>,
    filter: Filter,
    features: u64,
    /// Pairs of queues that frames are given to.
    active: usize,
    /// Whether the driver has been told that there is a cable.
    up: bool,
    running: bool,
    /// What the ports were told that the driver takes.
    agreed: Offloads,
}

impl Net {
    /// One with a pair of queues for each of these ports, as [`crate::identity`] says it of so many.
    ///
    /// # Errors
    /// If the host has no descriptor or no memory for them.
    pub fn new(ports: &[Arc<dyn NetPort>]) -> io::Result<Net> {
        let inlets: Vec<Inlet> = ports
            .iter()
            .take(MOST_PAIRS)
            .map(|port| Inlet::new(Arc::clone(port)))
            .collect::<Result<_, _>>()?;
        Ok(Net {
            receivers: (0..inlets.len()).map(|pair| Receiver::new(2 * pair)).collect(),
            transmitters: (0..inlets.len()).map(|pair| Transmitter::new(2 * pair + 1)).collect(),
            inlets,
            filter: Filter::default(),
            features: 0,
            active: 1,
            up: true,
            running: false,
            agreed: Offloads::default(),
        })
    }

    /// Behind the pairs that there are; a driver that knows nothing of several knows one (section 5.1.2).
    fn control_queue(&self) -> usize {
        if self.features & bit::MQ != 0 { 2 * self.inlets.len() } else { 2 }
    }

    fn agree(&mut self, offloads: Offloads) {
        if self.agreed != offloads {
            self.inlets.iter().for_each(|inlet| inlet.port.set_offloads(offloads));
            self.agreed = offloads;
        }
    }

    fn control(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        if self.features & bit::CTRL_VQ == 0 {
            return Ok(());
        }
        let (queue, pairs, features) = (self.control_queue(), self.inlets.len(), self.features);
        let mut controls = Controls { filter: &mut self.filter, active: &mut self.active, pairs, features };
        desk.drain(queue, |desk, chain| {
            let answer = command(&mut controls, desk, &chain)?;
            let written = chain.write(desk.dma, 0, &[answer])?;
            desk.push(queue, &chain, written as u32)
        })
    }

    fn transmit(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        let pairs = self.transmitters.iter_mut().zip(&self.inlets);
        for (transmitter, inlet) in pairs {
            transmitter.work(desk, &*inlet.port)?;
        }
        Ok(())
    }

    fn receive(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        let mergeable = self.features & bit::MRG_RXBUF != 0;
        for (at, inlet) in self.inlets.iter_mut().enumerate() {
            let manner = Manner::new(mergeable, &self.filter, inlet.port.mtu());
            // What a port without a pair of its own receives goes to one of the others.
            if let Some(receiver) = self.receivers.get_mut(at % self.active) {
                receiver.work(desk, inlet, &manner, &self.filter)?;
            }
        }
        Ok(())
    }

    /// Tells the driver of a cable that was pulled out.
    fn look_at_link(&mut self, desk: &mut Desk<'_>) {
        let up = self.inlets.iter().any(|inlet| inlet.port.is_up());
        if up != self.up {
            self.up = up;
            desk.change_config(STATUS, &[if up { LINK_UP } else { 0 }, 0]);
        }
    }
}

impl Backend for Net {
    fn start(&mut self, features: u64) {
        self.features = features;
        self.filter.offloads = offloads(features);
        self.agree(self.filter.offloads);
        self.inlets.iter_mut().for_each(Inlet::drain);
        self.running = true;
    }

    fn configured(&mut self, config: &[u8]) {
        if let Some(mac) = config.get(MAC..).and_then(|rest| rest.first_chunk()) {
            self.filter.mac = *mac;
        }
        self.up = config.get(STATUS).is_some_and(|status| status & LINK_UP != 0);
    }

    fn serve(&mut self, desk: &mut Desk<'_>, rung: u64) -> Result<(), Broken> {
        self.control(desk)?;
        self.transmit(desk)?;
        if desk.is_eager() {
            // Frames come to the device's own thread, which waits for them; for buffers, it waits for this.
            let fed = |receiver: &&mut Receiver| rung >> receiver.queue() & 1 != 0;
            self.receivers.iter_mut().filter(fed).for_each(|receiver| receiver.starved = false);
        } else {
            self.receive(desk)?;
        }
        self.look_at_link(desk);
        Ok(())
    }

    fn finish(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        self.transmitters.iter_mut().for_each(|transmitter| transmitter.put_back(desk));
        self.receivers.iter_mut().for_each(|receiver| receiver.put_back(desk));
        Ok(())
    }

    fn stop(&mut self) {
        self.running = false;
        self.transmitters.iter_mut().for_each(Transmitter::forget);
        self.receivers.iter_mut().for_each(Receiver::forget);
        self.inlets.iter_mut().for_each(Inlet::forget);
        self.agree(Offloads::default());
    }

    fn reset(&mut self) {
        self.active = 1;
        self.filter = Filter { mac: self.filter.mac, ..Filter::default() };
    }

    /// For frames to come, as long as there are buffers for them, and for room for those that were refused.
    fn watched(&self) -> Vec<Watched> {
        let watch = |(at, inlet): (usize, &Inlet)| {
            let ready = self.running && inlet.port.is_up();
            let takes = self.receivers.get(at % self.active).is_some_and(|receiver| !receiver.starved);
            let waits = self.transmitters.get(at).is_some_and(Transmitter::waits);
            Watched { fd: Arc::clone(&inlet.fd), read: ready && takes, write: ready && waits }
        };
        self.inlets.iter().enumerate().map(watch).collect()
    }
}
