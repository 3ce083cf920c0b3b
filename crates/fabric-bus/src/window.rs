//! A part of a target, to be mapped on its own.

use crate::{BusFault, Target};
use std::sync::Arc;

/// A target seen from one of its offsets on. A device whose registers lie at several places is one
/// target with one map of offsets, and as many windows (the 8259 pair at ports 0x20, 0xa0, 0x4d0).
pub struct Window {
    target: Arc<dyn Target>,
    first: u64,
}

impl Window {
    /// `target` from its offset `first` on; how far, the map entry says.
    pub fn new(target: Arc<dyn Target>, first: u64) -> Self {
        Window { target, first }
    }

    fn at(&self, offset: u64) -> Result<u64, BusFault> {
        self.first.checked_add(offset).ok_or(BusFault)
    }
}

impl Target for Window {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.target.read(self.at(offset)?, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        self.target.write(self.at(offset)?, size, value)
    }

    fn update(&self, offset: u64, size: u8, change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
        self.target.update(self.at(offset)?, size, change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Log(Mutex<Vec<u64>>);

    impl Target for Log {
        fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
            Ok(offset << 8 | u64::from(size))
        }

        fn write(&self, offset: u64, _size: u8, _value: u64) -> Result<(), BusFault> {
            self.0.lock().unwrap().push(offset);
            Ok(())
        }

        fn update(&self, offset: u64, _size: u8, change: &dyn Fn(u64) -> u64) -> Result<u64, BusFault> {
            Ok(change(offset))
        }
    }

    #[test]
    fn a_window_starts_at_its_offset_of_the_target() {
        let log = Arc::new(Log(Mutex::default()));
        let target: Arc<dyn Target> = Arc::clone(&log) as _;
        let window = Window::new(Arc::clone(&target), 4);
        assert_eq!(window.read(1, 2), Ok(0x502));
        assert_eq!(window.update(2, 4, &|v| v + 1), Ok(7));
        window.write(0, 1, 9).unwrap();
        assert_eq!(*log.0.lock().unwrap(), [4]);
        assert_eq!(Window::new(target, u64::MAX).read(1, 1), Err(BusFault));
    }
}
