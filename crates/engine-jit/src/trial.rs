//! A trial: a few instructions of a guest, translated and run, to find out whether this host lets them.

use crate::jit::{Jit, Options};
use engine_core::{TimeSource, Vcpu};
use engine_interp::Config;
use fabric_bus::BusBuilder;
use fabric_clock::{Clock, Timers};
use fabric_ram::{GuestRam, PAGE};
use fabric_wire::PendingWord;
use isa_riscv::{Features, Hart};
use std::io;
use std::sync::Arc;

/// Where the trial's memory is.
const RAM: u64 = 0x8000_0000;
/// `c.addi a0, 1` four times, then `c.j` back to the first.
const CODE: [u16; 5] = [0x0505, 0x0505, 0x0505, 0x0505, 0xbfe5];
/// Instructions to run: four of five add one.
const BUDGET: u64 = 1000;

/// Translates and runs a small guest.
///
/// # Errors
/// What the host lacks or refuses, or that the guest did not compute what it should.
pub fn trial() -> io::Result<()> {
    let ram = Arc::new(GuestRam::new(PAGE)?);
    let code: Vec<u8> = CODE.iter().flat_map(|half| half.to_le_bytes()).collect();
    let mut builder = BusBuilder::new(Arc::clone(&ram));
    builder.ram("ram", RAM, PAGE, 0, true).map_err(io::Error::other)?;
    if ram.copy_in(0, &code).is_none() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let mut hart = Hart::new(0, &Features::RV64GC);
    hart.pc = RAM;
    let config = Config {
        hart,
        bus: Arc::new(builder.build()),
        time: TimeSource::new(Timers::new(Arc::new(Clock::virtual_())), 10_000_000),
        pending: Arc::new(PendingWord::new()),
    };
    let mut jit = Jit::new(config, Options { threshold: 0, ..Options::default() })?;
    let exit = jit.run(BUDGET);
    let sum = jit.state().x[10];
    if sum != BUDGET / 5 * 4 {
        return Err(io::Error::other(format!("translated code gave {sum} ({exit:?})")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_succeeds_where_nothing_is_missing() {
        assert_eq!(super::trial().is_ok(), crate::Jit::missing().is_none());
    }
}
