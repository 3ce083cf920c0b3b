//! What is said on a control socket: one line each way.
//!
//! A client writes `hostel 1 WORD` and a line feed, and nothing behind it; the number is that of this protocol. The answer is
//! `ok` or `no`, a space, some words for people, and a line feed. What follows depends on the request.

/// What a client wants of a guest's keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The console: behind the answer, both ways are the guest's serial line.
    Attach,
    /// That the guest is asked to power off. Behind the answer the connection stays until the machine ends.
    Stop,
    /// That the machine is ended at once; behind the answer likewise.
    Kill,
    /// A break on the serial line.
    Break,
    /// To know whether somebody is there.
    Status,
}

/// Most bytes of a line either way.
pub const LONGEST: usize = 256;
const GREETING: &str = "hostel 1 ";
const WORDS: [(Request, &str); 5] = [
    (Request::Attach, "attach"),
    (Request::Stop, "stop"),
    (Request::Kill, "kill"),
    (Request::Break, "break"),
    (Request::Status, "status"),
];

/// How a line that is being received stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail<T> {
    /// It may still become one.
    Open,
    /// It is one.
    Whole(T),
    /// It is none.
    Wrong,
}

impl Request {
    /// As a line.
    pub fn line(self) -> String {
        let word = WORDS.iter().find(|(request, _)| *request == self).map_or("", |(_, word)| word);
        format!("{GREETING}{word}\n")
    }

    /// What these first bytes from a client are.
    pub fn read(bytes: &[u8]) -> Tail<Request> {
        let request = |line: &[u8]| {
            let word = std::str::from_utf8(line).ok()?.strip_prefix(GREETING)?;
            WORDS.iter().find(|(_, known)| *known == word).map(|(request, _)| *request)
        };
        whole(bytes, request)
    }
}

/// What these first bytes from a keeper are: its consent or refusal, in words.
pub(crate) fn answer(bytes: &[u8]) -> Tail<Result<String, String>> {
    whole(bytes, |line| {
        let (word, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let text = text.replace(char::is_control, "?");
        match word {
            "ok" => Some(Ok(text)),
            "no" => Some(Err(text)),
            _ => None,
        }
    })
}

/// An answer as a line.
pub(crate) fn answer_line(answer: &Result<String, String>) -> String {
    let (word, text) = match answer {
        Ok(text) => ("ok", text),
        Err(text) => ("no", text),
    };
    let mut text = text.replace(char::is_control, "?");
    let most = LONGEST - word.len() - 2;
    while text.len() > most {
        text.pop();
    }
    format!("{word} {text}\n")
}

fn whole<T>(bytes: &[u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Tail<T> {
    match bytes.iter().position(|&byte| byte == b'\n') {
        None if bytes.len() < LONGEST => Tail::Open,
        Some(at) if at + 1 == bytes.len() && at < LONGEST => {
            bytes.get(..at).and_then(read).map_or(Tail::Wrong, Tail::Whole)
        }
        _ => Tail::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_back_and_no_part_of_it() {
        for (request, _) in WORDS {
            let line = request.line();
            assert_eq!(Request::read(line.as_bytes()), Tail::Whole(request));
            for part in 0..line.len() {
                assert_eq!(Request::read(&line.as_bytes()[..part]), Tail::Open);
            }
        }
    }

    #[test]
    fn attack_lines_that_are_none() {
        let long = [b'x'; LONGEST];
        for wrong in [
            &b"\n"[..],
            b"attach\n",
            b"hostel 2 attach\n",
            b"hostel 1 attach\nx",
            b"hostel 1 ATTACH\n",
            b"hostel 1 attach \n",
            b"hostel 1 \n",
            b"hostel 1 attach\r\n",
            b"\xff\xfe\n",
            b"hostel 1 attach\0\n",
            &long,
        ] {
            assert_eq!(Request::read(wrong), Tail::Wrong, "{wrong:?}");
        }
    }

    #[test]
    fn answers_are_short_and_harmless() {
        let all = [
            Ok("done".to_owned()),
            Err("no \x1b[2J".to_owned()),
            Ok("ä".repeat(LONGEST)),
            Err(String::new()),
        ];
        for given in all {
            let line = answer_line(&given);
            assert!(line.len() <= LONGEST);
            let Tail::Whole(read) = answer(line.as_bytes()) else { panic!("{line:?}") };
            assert_eq!(read.is_ok(), given.is_ok());
            let (Ok(text) | Err(text)) = read;
            assert!(!text.contains(char::is_control));
        }
        assert_eq!(answer(b"maybe so\n"), Tail::Wrong);
    }
}
