//! The machine's end of a console: a UART, HTIF or both by what they give and take.

use dev_core::{Doorbell, HostWork, Slot};
use dev_pci::PciFunction;
use dev_time::Htif;
use dev_uart::{Ns16550, PciSerial, SifiveUart};
use dev_virtio_console::{Port, Size};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a console device gives and takes.
pub trait ConsolePort: Send + Sync {
    /// Gives the guest characters; returns how many it took.
    fn feed(&self, bytes: &[u8]) -> usize;
    /// Appends to `into` what the guest has sent.
    fn drain(&self, into: &mut Vec<u8>);
    /// Puts a break on the line; nothing where the device knows none.
    fn send_break(&self) {}
    /// Has `bell` rung whenever there may be something to drain or room to feed.
    fn connect(&self, bell: Doorbell);
    /// Puts text on the line as if the guest had sent it; returns how much found room.
    fn print(&self, text: &[u8]) -> usize;
    /// Takes a received character as if the guest had read it.
    fn take(&self) -> Option<u8>;
    /// Somebody came to the line's other end, or went; of no interest to most.
    fn set_connected(&self, _connected: bool) {}
    /// The terminal at the other end has so many characters in a line and so many lines; likewise.
    fn set_size(&self, _columns: u16, _rows: u16) {}
    /// The machine has ended: what is on its way out of the device is out. Nothing where that takes no time.
    fn finish(&self) {}
}

impl ConsolePort for Slot<Ns16550> {
    fn feed(&self, bytes: &[u8]) -> usize {
        self.with(|d, now| d.feed(bytes, now))
    }
    fn drain(&self, into: &mut Vec<u8>) {
        self.with(|d, _| d.drain(into));
    }
    fn send_break(&self) {
        self.with(|d, now| d.send_break(now));
    }
    fn connect(&self, bell: Doorbell) {
        Slot::connect(self, bell);
    }
    fn print(&self, text: &[u8]) -> usize {
        self.with(|d, _| d.print(text))
    }
    fn take(&self) -> Option<u8> {
        self.with(|d, now| d.take(now))
    }
}

impl ConsolePort for Slot<PciFunction<PciSerial>> {
    fn feed(&self, bytes: &[u8]) -> usize {
        self.with(|d, now| d.device_mut().uart().feed(bytes, now))
    }
    fn drain(&self, into: &mut Vec<u8>) {
        self.with(|d, _| d.device_mut().uart().drain(into));
    }
    fn send_break(&self) {
        self.with(|d, now| d.device_mut().uart().send_break(now));
    }
    fn connect(&self, bell: Doorbell) {
        Slot::connect(self, bell);
    }
    fn print(&self, text: &[u8]) -> usize {
        self.with(|d, _| d.device_mut().uart().print(text))
    }
    fn take(&self) -> Option<u8> {
        self.with(|d, now| d.device_mut().uart().take(now))
    }
}

impl ConsolePort for Slot<SifiveUart> {
    fn feed(&self, bytes: &[u8]) -> usize {
        self.with(|d, now| d.feed(bytes, now))
    }
    fn drain(&self, into: &mut Vec<u8>) {
        self.with(|d, now| d.drain(into, now));
    }
    fn send_break(&self) {
        self.with(|d, now| d.send_break(now));
    }
    fn connect(&self, bell: Doorbell) {
        Slot::connect(self, bell);
    }
    fn print(&self, text: &[u8]) -> usize {
        self.with(|d, _| d.print(text))
    }
    fn take(&self) -> Option<u8> {
        self.with(|d, now| d.take(now))
    }
    fn finish(&self) {
        self.with(|d, _| d.finish());
    }
}

/// HTIF gives a character only to a program that waits for one: there is none to take.
impl ConsolePort for Slot<Htif> {
    fn feed(&self, bytes: &[u8]) -> usize {
        self.with(|d, _| d.feed(bytes))
    }
    fn drain(&self, into: &mut Vec<u8>) {
        self.with(|d, _| d.drain(into));
    }
    fn connect(&self, bell: Doorbell) {
        Slot::connect(self, bell);
    }
    fn print(&self, text: &[u8]) -> usize {
        self.with(|d, _| d.print(text))
    }
    fn take(&self) -> Option<u8> {
        None
    }
}

/// A port of a virtio console.
impl ConsolePort for Port {
    fn feed(&self, bytes: &[u8]) -> usize {
        Port::feed(self, bytes)
    }
    fn drain(&self, into: &mut Vec<u8>) {
        Port::drain(self, into);
    }
    fn connect(&self, bell: Doorbell) {
        Port::connect(self, bell);
    }
    fn print(&self, text: &[u8]) -> usize {
        Port::print(self, text)
    }
    fn take(&self) -> Option<u8> {
        Port::take(self)
    }
    fn set_connected(&self, connected: bool) {
        Port::set_connected(self, connected);
    }
    fn set_size(&self, columns: u16, rows: u16) {
        Port::set_size(self, Size { columns, rows });
    }
}

/// A UART and HTIF on one line, for boards that have both. What either sends comes out; what is typed goes
/// to the one that the guest last used, so that the other does not swallow it.
pub(crate) struct Joined {
    uart: Arc<dyn ConsolePort>,
    htif: Arc<Slot<Htif>>,
    /// HTIF was used last.
    by_htif: AtomicBool,
}

impl Joined {
    pub fn new(uart: Arc<dyn ConsolePort>, htif: Arc<Slot<Htif>>) -> Joined {
        htif.with(|d, _| d.ring_when_asked());
        Joined { uart, htif, by_htif: AtomicBool::new(false) }
    }

    /// What was typed before the guest first asked HTIF for it waits in the UART: to be moved.
    fn move_over(&self) {
        while self.htif.with(|d, _| d.room()) > 0 {
            self.by_htif.store(true, Ordering::Relaxed);
            let Some(byte) = self.uart.take() else { break };
            self.htif.feed(&[byte]);
        }
        self.htif.with(|d, _| d.ring_when_asked());
    }
}

impl ConsolePort for Joined {
    fn feed(&self, bytes: &[u8]) -> usize {
        if self.htif.with(|d, _| d.room()) > 0 {
            self.by_htif.store(true, Ordering::Relaxed);
        }
        // Also where HTIF takes nothing now: it rings when the guest asks.
        if self.by_htif.load(Ordering::Relaxed) { self.htif.feed(bytes) } else { self.uart.feed(bytes) }
    }
    fn drain(&self, into: &mut Vec<u8>) {
        let before = into.len();
        self.uart.drain(into);
        let between = into.len();
        ConsolePort::drain(&*self.htif, into);
        if into.len() > between {
            self.by_htif.store(true, Ordering::Relaxed);
        } else if between > before {
            self.by_htif.store(false, Ordering::Relaxed);
        }
        self.move_over();
    }
    fn send_break(&self) {
        self.uart.send_break();
    }
    fn connect(&self, bell: Doorbell) {
        self.uart.connect(Arc::clone(&bell));
        // A question of HTIF's is answered where output is fetched: see `move_over`.
        Slot::connect(&self.htif, Arc::new(move |work| bell(HostWork { fetch: true, room: work.room })));
    }
    fn print(&self, text: &[u8]) -> usize {
        self.uart.print(text)
    }
    fn take(&self) -> Option<u8> {
        self.uart.take()
    }
    fn finish(&self) {
        self.uart.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_bus::Target;
    use fabric_clock::{Clock, Timers};

    #[test]
    fn uart_and_htif_share_a_console() {
        let timers = Timers::new(Arc::new(Clock::virtual_()));
        let uart = Slot::new(SifiveUart::default(), Vec::new(), &timers);
        let htif = Slot::new(Htif::new(0, 8), Vec::new(), &timers);
        let both = Joined::new(Arc::clone(&uart) as _, Arc::clone(&htif));
        // Transmit enable and a character; the UART then has the input, with receive enable.
        uart.write(8, 4, 1).unwrap();
        uart.write(0, 4, u64::from(b'u')).unwrap();
        let mut said = Vec::new();
        both.drain(&mut said);
        uart.write(0xc, 4, 1).unwrap();
        assert_eq!(both.feed(b"ab"), 2);
        assert_eq!(uart.read(4, 4), Ok(u64::from(b'a')));
        // putchar: from now on HTIF has it, once it asks, and what the UART has kept of it.
        htif.write(0, 8, 0x0101_0000_0000_0000 | u64::from(b'h')).unwrap();
        both.drain(&mut said);
        assert_eq!(said, b"uh");
        assert_eq!(both.feed(b"c"), 0);
        for typed in *b"bc" {
            htif.write(0, 8, 0x0100_0000_0000_0000).unwrap();
            both.drain(&mut said);
            if typed == b'c' {
                assert_eq!(both.feed(b"cd"), 1);
            }
            assert_eq!(htif.read(8, 8), Ok(0x0100_0000_0000_0100 | u64::from(typed)));
            htif.write(8, 8, 0).unwrap();
        }
    }
}
