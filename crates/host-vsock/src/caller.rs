//! Those who have come and not yet said what port they want.

use crate::unix::UnixEnd;
use crate::{Call, Stream};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How many wait to be asked. Whoever comes then takes the place of the one who has said nothing for longest.
pub(crate) const MOST: usize = 128;
/// Bytes of the longest line that says something: `CONNECT 4294967295`, and what ends it.
const LINE: usize = 20;

/// One of them.
struct Caller {
    end: UnixEnd,
    said: Vec<u8>,
}

/// What a caller has said.
enum Said {
    /// Not all of it yet.
    Part,
    /// What port they want.
    Port(u32),
    /// Nothing that makes sense, or they are gone.
    Nonsense,
}

impl Caller {
    /// Reads no byte beyond the line: what is behind it is the guest's.
    fn listen(&mut self) -> Said {
        let mut byte = [0];
        while self.said.len() < LINE {
            match self.end.read(&mut byte) {
                Ok(1) if byte == *b"\n" => return wanted(&self.said).map_or(Said::Nonsense, Said::Port),
                Ok(1) => self.said.extend(byte),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Said::Part,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return Said::Nonsense,
            }
        }
        Said::Nonsense
    }
}

/// The port of a line without its end.
fn wanted(line: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(line).ok()?;
    let number = line.strip_suffix('\r').unwrap_or(line).strip_prefix("CONNECT ")?;
    // `parse` would take a plus sign.
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()
}

/// All of them, in the order in which they came.
#[derive(Default)]
pub(crate) struct Callers(VecDeque<Caller>);

impl Callers {
    /// One more.
    pub fn came(&mut self, end: UnixEnd) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Caller { end, said: Vec::new() });
    }

    /// The first who has said what port they want.
    pub fn next(&mut self) -> Option<Call> {
        let mut found = None;
        let mut waiting = VecDeque::new();
        for mut caller in std::mem::take(&mut self.0) {
            let said = if found.is_none() { caller.listen() } else { Said::Part };
            match said {
                Said::Part => waiting.push_back(caller),
                Said::Port(port) => found = Some(Call { port, stream: Box::new(caller.end) }),
                Said::Nonsense => {}
            }
        }
        self.0 = waiting;
        found
    }

    /// To be waited for.
    pub fn descriptors(&self) -> impl Iterator<Item = Arc<OwnedFd>> {
        self.0.iter().map(|caller| caller.end.descriptor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_port() {
        assert_eq!(wanted(b"CONNECT 52"), Some(52));
        assert_eq!(wanted(b"CONNECT 4294967295\r"), Some(u32::MAX));
        for wrong in [
            &b""[..],
            b"CONNECT",
            b"CONNECT ",
            b"CONNECT  1",
            b"CONNECT +1",
            b"CONNECT -1",
            b"CONNECT 4294967296",
            b"connect 1",
            b"CONNECT 1 ",
            b"CONNECT \xff",
        ] {
            assert_eq!(wanted(wrong), None, "{wrong:?}");
        }
    }
}
