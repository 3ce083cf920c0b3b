//! How long work is shown: a trait, nothing, or bars on the terminal.
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether a bar stands on the terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Ends the line of a bar that nobody will erase any more. To be called when a signal is about to end the process.
pub fn leave_bars() {
    if SHOWN.swap(false, Ordering::SeqCst) {
        let _ = std::io::stderr().lock().write_all(b"\n");
    }
}

/// Receives what a long operation is doing.
pub trait Progress {
    /// A new step begins; `what` says which, for people ("downloading 2 packages").
    fn step(&mut self, what: &str);
    /// `done` bytes of the current step are done, of `total` where that is known.
    fn bytes(&mut self, done: u64, total: Option<u64>);
}

/// Shows nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _what: &str) {}
    fn bytes(&mut self, _done: u64, _total: Option<u64>) {}
}

/// Bars on standard error where that is a terminal; nothing in a pipe or a file.
///
/// The bar is erased when the value is dropped, so an error line stands alone.
#[derive(Debug)]
pub struct Bars {
    bar: ProgressBar,
    total: Option<u64>,
}

impl Bars {
    /// Shows nothing until the first step.
    pub fn new() -> Bars {
        Bars { bar: ProgressBar::hidden(), total: None }
    }

    fn spinner() -> ProgressStyle {
        ProgressStyle::with_template("{spinner} {msg} {bytes}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
    }

    fn bar() -> ProgressStyle {
        ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .map(|style| style.progress_chars("=> "))
            .unwrap_or_else(|_| ProgressStyle::default_bar())
    }
}

impl Default for Bars {
    fn default() -> Bars {
        Bars::new()
    }
}

impl Progress for Bars {
    fn step(&mut self, what: &str) {
        self.bar.finish_and_clear();
        // indicatif draws only where standard error is a terminal that can move its cursor.
        self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        self.total = None;
        self.bar.set_style(
            ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        SHOWN.store(!self.bar.is_hidden(), Ordering::SeqCst);
        self.bar.set_message(what.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn bytes(&mut self, done: u64, total: Option<u64>) {
        if self.bar.position() == 0 || total != self.total {
            self.total = total;
            match total {
                Some(length) => {
                    self.bar.set_length(length);
                    self.bar.set_style(Bars::bar());
                }
                None => self.bar.set_style(Bars::spinner()),
            }
        }
        self.bar.set_position(done);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        SHOWN.store(false, Ordering::SeqCst);
    }
}
