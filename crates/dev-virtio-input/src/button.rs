//! The button, from the side of who presses it and from the driver's.

use crate::config::{EV_KEY, KEY_POWER};
use dev_virtio::{Backend, Broken, Desk};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The queues: events to the driver, and what the driver has to say to the device (section 5.8.2).
const EVENTS: usize = 0;
const STATUS: usize = 1;
/// Bytes of an event (section 5.8.6): type, code and value.
const EVENT: usize = 8;
/// What belongs together ends here (`EV_SYN`, `SYN_REPORT`).
const SYN: [u8; EVENT] = [0; EVENT];

/// The button, for who presses it. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Button(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A driver has the device.
    driven: AtomicBool,
    pressed: AtomicBool,
}

impl Button {
    /// Whether a driver has the device. What it does about the button is another matter.
    pub fn is_driven(&self) -> bool {
        self.0.driven.load(Ordering::SeqCst)
    }

    /// Presses and releases it; the driver hears of it when the device is next served. Pressed again before that, it was
    /// pressed once. False, and nothing done, if no driver has the device.
    pub fn press(&self) -> bool {
        let driven = self.is_driven();
        if driven {
            self.0.pressed.store(true, Ordering::SeqCst);
        }
        driven
    }
}

/// The device behind the button.
pub struct Keys {
    button: Button,
    /// Events that the driver has had no buffers for: those of one press at most.
    waiting: VecDeque<[u8; EVENT]>,
}

impl Keys {
    /// The one of `button`.
    pub fn new(button: Button) -> Keys {
        Keys { button, waiting: VecDeque::new() }
    }
}

fn key(value: u8) -> [u8; EVENT] {
    let [code, high] = KEY_POWER.to_le_bytes();
    [EV_KEY, 0, code, high, value, 0, 0, 0]
}

impl Backend for Keys {
    fn start(&mut self, _features: u64) {
        self.button.0.driven.store(true, Ordering::SeqCst);
    }

    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        // There are no lights here that the driver could switch.
        desk.drain(STATUS, |desk, chain| desk.push(STATUS, &chain, 0))?;
        if self.button.0.pressed.swap(false, Ordering::SeqCst) && self.waiting.is_empty() {
            self.waiting.extend([key(1), SYN, key(0), SYN]);
        }
        while let Some(event) = self.waiting.front() {
            let Some(chain) = desk.pop(EVENTS)? else {
                // For more buffers it rings.
                if desk.sleep(EVENTS)? {
                    continue;
                }
                return Ok(());
            };
            if chain.write(desk.dma, 0, event)? < EVENT {
                return Err(Broken("a buffer with no room for an event"));
            }
            desk.push(EVENTS, &chain, EVENT as u32)?;
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.button.0.driven.store(false, Ordering::SeqCst);
        self.button.0.pressed.store(false, Ordering::SeqCst);
        self.waiting.clear();
    }
}
