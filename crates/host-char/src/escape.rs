//! The escape keys: a state machine between the keyboard and the guest.

/// What `Ctrl-A h` shows; lines end as a raw terminal needs them.
pub const HELP: &str = "\r\n\
    Ctrl-A h    this help\r\n\
    Ctrl-A x    quit\r\n\
    Ctrl-A p    press the power button\r\n\
    Ctrl-A b    send a break\r\n\
    Ctrl-A a    send Ctrl-A (so does Ctrl-A Ctrl-A)\r\n";

/// The prefix of all escape keys.
const CTRL_A: u8 = 0x01;

/// What the user asks for by an escape key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the machine.
    Quit,
    /// Show [`HELP`].
    Help,
    /// Press the power button.
    Power,
    /// Leave a guest that goes on.
    Detach,
    /// Send a break on the line.
    Break,
    /// `c`: kept for a monitor prompt.
    Monitor,
}

/// What became of one byte from the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It, or the Ctrl-A that it stands for, goes to the guest.
    Byte(u8),
    /// It may be the start of an escape key.
    Prefix,
    /// It was an escape key.
    Command(Command),
    /// It followed Ctrl-A and means nothing; neither goes to the guest.
    Unknown(u8),
}

/// The filter.
#[derive(Clone, Debug, Default)]
pub struct Escape {
    prefixed: bool,
}

impl Escape {
    /// A filter that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next byte from the keyboard.
    pub fn feed(&mut self, byte: u8) -> Key {
        if !std::mem::take(&mut self.prefixed) {
            self.prefixed = byte == CTRL_A;
            return if self.prefixed { Key::Prefix } else { Key::Byte(byte) };
        }
        match byte {
            b'x' => Key::Command(Command::Quit),
            b'h' | b'?' => Key::Command(Command::Help),
            b'p' => Key::Command(Command::Power),
            b'd' => Key::Command(Command::Detach),
            b'b' => Key::Command(Command::Break),
            b'c' => Key::Command(Command::Monitor),
            b'a' | CTRL_A => Key::Byte(CTRL_A),
            other => Key::Unknown(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &[u8], expected: &[Key]) {
        let mut escape = Escape::new();
        let keys: Vec<Key> = typed.iter().map(|&b| escape.feed(b)).collect();
        assert_eq!(keys, expected, "{typed:?}");
    }

    #[test]
    fn every_byte_but_ctrl_a_passes() {
        let mut escape = Escape::new();
        for byte in (0..=255).filter(|&b| b != CTRL_A) {
            assert_eq!(escape.feed(byte), Key::Byte(byte));
        }
    }

    #[test]
    fn each_escape_key_has_its_meaning() {
        use Key::Prefix;
        check(b"\x01x", &[Prefix, Key::Command(Command::Quit)]);
        check(b"\x01h", &[Prefix, Key::Command(Command::Help)]);
        check(b"\x01?", &[Prefix, Key::Command(Command::Help)]);
        check(b"\x01b", &[Prefix, Key::Command(Command::Break)]);
        check(b"\x01p", &[Prefix, Key::Command(Command::Power)]);
        check(b"\x01d", &[Prefix, Key::Command(Command::Detach)]);
        check(b"\x01c", &[Prefix, Key::Command(Command::Monitor)]);
        check(b"\x01a", &[Prefix, Key::Byte(1)]);
        check(b"\x01\x01", &[Prefix, Key::Byte(1)]);
        check(b"\x01q", &[Prefix, Key::Unknown(b'q')]);
    }

    #[test]
    fn a_prefix_counts_for_one_byte_only() {
        check(b"\x01ax", &[Key::Prefix, Key::Byte(1), Key::Byte(b'x')]);
        check(b"\x01\x01x", &[Key::Prefix, Key::Byte(1), Key::Byte(b'x')]);
        check(b"\x01zx", &[Key::Prefix, Key::Unknown(b'z'), Key::Byte(b'x')]);
    }

    #[test]
    fn control_c_and_control_z_are_the_guests() {
        check(b"\x03\x1a\x1c", &[Key::Byte(3), Key::Byte(0x1a), Key::Byte(0x1c)]);
    }
}
