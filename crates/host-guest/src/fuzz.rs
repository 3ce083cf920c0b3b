//! Fuzz entry: what comes on a control socket, in any pieces, from both sides.

use crate::request::{LONGEST, Tail, answer, answer_line};
use crate::{Name, Request};

/// Bytes as a client's request, as a keeper's answer, and as a name.
pub fn control(bytes: &[u8]) {
    for end in 0..=bytes.len().min(2 * LONGEST) {
        let part = bytes.get(..end).unwrap_or_default();
        let (request, answer) = (Request::read(part), answer(part));
        if let Tail::Whole(request) = &request {
            assert_eq!(request.line().as_bytes(), part, "a request by two lines");
        }
        if let Tail::Whole(answer) = &answer {
            let (Ok(text) | Err(text)) = answer;
            assert!(!text.contains(char::is_control), "an answer that moves the cursor");
        }
        // Whoever has sent so much is answered.
        assert!(end < LONGEST || (request != Tail::Open && answer != Tail::Open), "it is waited for ever");
    }
    let text = String::from_utf8_lossy(bytes);
    let line = answer_line(&Err(text.clone().into_owned()));
    assert!(line.len() <= LONGEST && matches!(answer(line.as_bytes()), Tail::Whole(Err(_))), "{line:?}");
    if let Ok(name) = text.parse::<Name>() {
        let plain = name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        assert!(plain && !name.as_str().starts_with('-') && name.as_str().len() < 64);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_bytes() {
        let mut state = 1u64;
        for _ in 0..300 {
            let mut bytes = Vec::new();
            for _ in 0..state % 300 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push(if state >> 40 & 7 == 0 { b'\n' } else { (state >> 33) as u8 });
            }
            super::control(&bytes);
            super::control(&[b"hostel 1 attach", &bytes[..]].concat());
            state = state.wrapping_add(0x9e37_79b9);
        }
    }
}
