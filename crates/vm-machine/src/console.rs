//! The machine's end of a console: a UART, HTIF or both by what they give and take.

use dev_core::{Doorbell, Slot};
use dev_time::Htif;
use dev_uart::{Ns16550, SifiveUart};
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

impl ConsolePort for Slot<SifiveUart> {
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
        self.with(|d, _| d.take())
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

/// A UART and HTIF on one console, as Spike has them on its terminal. What both say is shown. What is
/// typed goes to the UART, until a program waits for a character of HTIF: from then on, to HTIF alone,
/// as a program that has just not asked yet must not lose what was typed ahead.
pub struct Both {
    uart: Arc<dyn ConsolePort>,
    htif: Arc<Slot<Htif>>,
    reads_htif: AtomicBool,
}

impl Both {
    pub fn new(uart: Arc<dyn ConsolePort>, htif: Arc<Slot<Htif>>) -> Self {
        Both { uart, htif, reads_htif: AtomicBool::new(false) }
    }
}

impl ConsolePort for Both {
    fn feed(&self, bytes: &[u8]) -> usize {
        // Asked in any case: having turned it away, HTIF rings when it wants a character.
        let taken = ConsolePort::feed(&*self.htif, bytes);
        if taken > 0 {
            self.reads_htif.store(true, Ordering::Relaxed);
        }
        if self.reads_htif.load(Ordering::Relaxed) { taken } else { self.uart.feed(bytes) }
    }
    fn drain(&self, into: &mut Vec<u8>) {
        self.uart.drain(into);
        ConsolePort::drain(&*self.htif, into);
    }
    fn send_break(&self) {
        self.uart.send_break();
    }
    fn connect(&self, bell: Doorbell) {
        self.uart.connect(Arc::clone(&bell));
        ConsolePort::connect(&*self.htif, bell);
    }
    fn print(&self, text: &[u8]) -> usize {
        self.uart.print(text)
    }
    fn take(&self) -> Option<u8> {
        self.uart.take()
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
        let uart = Slot::new(SifiveUart::new(), Vec::new(), &timers);
        let htif = Slot::new(Htif::new(0, 8), Vec::new(), &timers);
        let both = Both::new(Arc::clone(&uart) as _, Arc::clone(&htif));
        // Transmit enable and a character; putchar.
        uart.write(8, 4, 1).unwrap();
        uart.write(0, 4, u64::from(b'u')).unwrap();
        htif.write(0, 8, 0x0101_0000_0000_0000 | u64::from(b'h')).unwrap();
        let mut said = Vec::new();
        both.drain(&mut said);
        assert_eq!(said, b"uh");
        // Receive enable; the UART has the input until a program asks HTIF.
        uart.write(0xc, 4, 1).unwrap();
        assert_eq!(both.feed(b"a"), 1);
        assert_eq!(uart.read(4, 4), Ok(u64::from(b'a')));
        htif.write(0, 8, 0x0100_0000_0000_0000).unwrap();
        assert_eq!(both.feed(b"bc"), 1);
        assert_eq!(htif.read(8, 8), Ok(0x0100_0000_0000_0162));
        assert_eq!(both.feed(b"c"), 0);
    }
}
