//! The device at work.

use crate::config::{
    CONTROL_RECEIVE, CONTROL_TRANSMIT, EMERG_WR, MOST_PORTS, SIZE, bit, size_bytes, size_of,
};
use crate::control::{HEAD, event, heard};
use crate::port::{Port, Size};
use crate::seat::Seat;
use dev_virtio::{Backend, Broken, Desk};

/// The console device.
pub struct Console {
    seats: Vec<Seat>,
    features: u64,
    /// The size of port 0 in the configuration space.
    size: Size,
}

impl Console {
    /// One with these ports, by number; there may be numbers without a port. Up to [`MOST_PORTS`] of them.
    pub fn new(ports: Vec<Option<Port>>) -> Console {
        let seats = ports.into_iter().take(MOST_PORTS).enumerate();
        let seats = seats.map(|(number, port)| Seat::new(number, port)).collect();
        Console { seats, features: 0, size: Size::default() }
    }

    fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// Takes what the driver says of ports.
    fn hear(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        desk.drain(CONTROL_TRANSMIT, |desk, chain| {
            let mut head = [0; HEAD];
            // What is shorter says nothing.
            if chain.read(desk.dma, 0, &mut head)? == HEAD {
                let heard = heard(head);
                if heard.event == event::DEVICE_READY {
                    // A driver that has failed stays away.
                    if heard.value == 1 {
                        self.seats.iter_mut().for_each(Seat::announce);
                    }
                } else if let Some(seat) = self.seats.get_mut(heard.port) {
                    seat.hear(heard);
                }
            }
            desk.push(CONTROL_TRANSMIT, &chain, 0)
        })
    }

    /// Tells the driver of ports what it does not know yet, as long as it has buffers for messages.
    fn tell(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        let sized = self.has(bit::SIZE);
        for (number, seat) in self.seats.iter_mut().enumerate() {
            while let Some(message) = seat.message(sized) {
                let Some(chain) = desk.pop(CONTROL_RECEIVE)? else {
                    if desk.sleep(CONTROL_RECEIVE)? {
                        continue;
                    }
                    return Ok(());
                };
                let bytes = message.bytes(number);
                if chain.write(desk.dma, 0, &bytes)? < bytes.len() {
                    return Err(Broken("a buffer with no room for a message about a port"));
                }
                desk.push(CONTROL_RECEIVE, &chain, bytes.len() as u32)?;
                seat.told(&message);
            }
        }
        Ok(())
    }

    /// Shows the size of port 0 in the configuration space, where drivers of one port look for it.
    fn show_size(&mut self, desk: &mut Desk<'_>) {
        let Some(port) = self.seats.first().and_then(Seat::port) else { return };
        let size = port.size();
        if size != self.size {
            self.size = size;
            desk.change_config(SIZE, &size_bytes(size));
        }
    }
}

impl Backend for Console {
    fn start(&mut self, features: u64) {
        self.features = features;
    }

    fn configured(&mut self, config: &[u8]) {
        self.size = size_of(config);
    }

    /// The emergency write (section 5.3.4): a character of a driver that has set nothing up.
    fn wrote(&mut self, offset: usize, bytes: &[u8]) {
        if let (EMERG_WR, Some(byte), Some(port)) =
            (offset, bytes.first(), self.seats.first().and_then(Seat::port))
        {
            // Without room it is lost, as on a serial line.
            port.print(&[*byte]);
        }
    }

    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        let several = self.has(bit::MULTIPORT);
        if several {
            self.hear(desk)?;
            self.tell(desk)?;
        }
        if self.has(bit::SIZE) {
            self.show_size(desk);
        }
        let seats = if several { self.seats.len() } else { 1 };
        self.seats.iter_mut().take(seats).try_for_each(|seat| seat.work(desk, several))
    }

    fn finish(&mut self, desk: &mut Desk<'_>) -> Result<(), Broken> {
        self.seats.iter_mut().try_for_each(|seat| seat.finish(desk))
    }

    fn stop(&mut self) {
        self.seats.iter_mut().for_each(Seat::stop);
    }

    fn reset(&mut self) {
        self.seats.iter_mut().for_each(Seat::reset);
        self.features = 0;
    }
}
