//! Fuzz entries: a guest that says anything, to either server, over a folder made for it. Beside the folder lies what must
//! stay as it is.

use crate::fuse::{FuseServer, HEADER_IN, LONGEST_REPLY, opcode};
use crate::nine::{NineServer, message};
use crate::options::{Limits, Options};
use crate::wire::{Input, Output};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const SECRET: &str = "what no guest may read or write";

/// The most requests of one input.
const MOST: usize = 64;

/// The host's side: a folder to share, a secret beside it, and ways that seem to lead there.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> std::io::Result<Self> {
        let place = std::env::temp_dir().join(format!("hostel-fuzz-{name}-{}", std::process::id()));
        let shared = place.join("shared");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(shared.join("d"))?;
        fs::create_dir(place.join("outside"))?;
        fs::write(place.join("outside/secret"), SECRET)?;
        fs::write(shared.join("f"), "contents")?;
        symlink("../outside/secret", shared.join("l"))?;
        symlink(place.join("outside"), shared.join("d/l"))?;
        Ok(Place(place))
    }

    fn shared(&self) -> std::io::Result<fs::File> {
        fs::File::open(self.0.join("shared"))
    }

    /// Nothing outside has been read, changed or made.
    fn check(&self, reply: &[u8]) {
        assert!(!reply.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()), "the secret was read");
    }

    fn check_outside(&self) {
        let names = |path: &Path| fs::read_dir(path).map(Iterator::count).unwrap_or(0);
        assert_eq!(names(&self.0), 2, "something was made beside the folder");
        assert_eq!(names(&self.0.join("outside")), 1, "something was made outside");
        let secret = fs::read_to_string(self.0.join("outside/secret")).unwrap_or_default();
        assert_eq!(secret, SECRET, "the secret was written");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn options(first: u8) -> Options {
    let limits = Limits { nodes: 40, descriptors: usize::from(first & 7), open: 8 };
    Options { read_only: first & 8 != 0, limits, ..Options::default() }
}

/// The next request of an input: which, and its own part. Kinds that only keep the host's disk busy are passed over.
fn next<'a>(input: &mut Input<'a>) -> Option<(u8, u8, &'a [u8])> {
    let (kind, node, length) = (input.u8().ok()?, input.u8().ok()?, input.u8().ok()?);
    Some((kind, node, input.bytes(length.into()).ok()?))
}

/// Plays `bytes` as FUSE requests: kind, node, length, own part. Handles and nodes are small numbers, so that requests meet.
pub fn fuse(bytes: &[u8]) {
    let Ok(place) = Place::new("fuse") else { return };
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let Some(server) =
        place.shared().ok().and_then(|root| FuseServer::new(root.into(), options(*first)).ok())
    else {
        return;
    };
    let (mut input, mut reply) = (Input::new(rest), Vec::new());
    for _ in 0..MOST {
        let Some((kind, node, own)) = next(&mut input) else { break };
        let kind = u32::from(kind) % 64;
        if matches!(kind, opcode::SYNCFS | opcode::FSYNC | opcode::FSYNCDIR) {
            continue;
        }
        let mut request = Vec::new();
        request.u32((HEADER_IN + own.len()) as u32);
        request.u32(kind);
        request.u64(1);
        request.u64(u64::from(node) % 24);
        request.bytes(&[0; 16]);
        request.bytes(own);
        if kind == opcode::FALLOCATE {
            // The host's disk is not to fill up.
            for high in [51..56, 59..64] {
                request.get_mut(high).into_iter().flatten().for_each(|byte| *byte = 0);
            }
        }
        server.handle(&request, &mut reply);
        assert!(reply.len() <= LONGEST_REPLY);
        if let Some(length) = reply.first_chunk() {
            assert_eq!(u32::from_le_bytes(*length) as usize, reply.len());
        }
        place.check(&reply);
    }
    // Cut off and joined as they come, too.
    server.handle(rest, &mut reply);
    place.check(&reply);
    place.check_outside();
    server.tree().clear();
    let counts = server.tree().counts();
    assert_eq!((counts.nodes, counts.descriptors, counts.open), (1, 0, 0));
}

/// Plays `bytes` as 9P messages: kind, tag, length, own part; the guest has attached as fid 0.
pub fn nine(bytes: &[u8]) {
    let Ok(place) = Place::new("nine") else { return };
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let Some(server) =
        place.shared().ok().and_then(|root| NineServer::new(root.into(), options(*first)).ok())
    else {
        return;
    };
    let (mut input, mut reply) = (Input::new(rest), Vec::new());
    let mut say = |kind: u8, tag: u8, own: &[u8]| {
        let mut request = Vec::new();
        request.u32((crate::nine::HEADER + own.len()) as u32);
        request.u8(kind);
        request.u16(tag.into());
        request.bytes(own);
        server.handle(&request, &mut reply);
        let length = reply.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        assert!(length as usize == reply.len() && reply.len() <= crate::nine::LONGEST_MESSAGE);
        place.check(&reply);
    };
    say(message::ATTACH, 0, &[0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..MOST {
        let Some((kind, tag, own)) = next(&mut input) else { break };
        if kind != message::FSYNC {
            say(kind, tag, own);
        }
    }
    place.check_outside();
    server.tree().clear();
    assert_eq!(server.tree().counts().open, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Requests of the right shape: names that exist, handles and nodes that may.
    fn own_part() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![0u64..20, Just(u64::MAX), Just(1 << 63), any::<u64>()];
        let name = prop_oneof![
            Just("f"),
            Just("d"),
            Just("l"),
            Just("n"),
            Just(".."),
            Just("."),
            Just("../outside/secret"),
            Just("")
        ];
        let names = prop::collection::vec(name, 0..3);
        (prop::collection::vec(number, 0..9), names, any::<bool>()).prop_map(|(numbers, names, counted)| {
            let mut own: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            for name in names {
                if counted {
                    own.u16(name.len() as u16);
                    own.bytes(name.as_bytes());
                } else {
                    own.bytes(name.as_bytes());
                    own.u8(0);
                }
            }
            own
        })
    }

    fn requests() -> impl Strategy<Value = Vec<u8>> {
        let request = (any::<u8>(), 0u8..24, own_part());
        (any::<u8>(), prop::collection::vec(request, 1..40)).prop_map(|(first, requests)| {
            let mut bytes = vec![first];
            for (kind, node, own) in requests {
                bytes.extend([kind, node, own.len() as u8]);
                bytes.extend(own);
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_fuse_requests_lead_out_of_the_folder(bytes in requests()) {
            fuse(&bytes);
        }

        #[test]
        fn no_nine_messages_lead_out_of_the_folder(bytes in requests()) {
            nine(&bytes);
        }
    }

    #[test]
    #[should_panic(expected = "the secret was read")]
    fn a_secret_that_is_read_is_noticed() {
        Place::new("read").unwrap().check(format!("...{SECRET}").as_bytes());
    }

    #[test]
    #[should_panic(expected = "the secret was written")]
    fn a_secret_that_is_written_is_noticed() {
        let place = Place::new("written").unwrap();
        fs::write(place.0.join("outside/secret"), "").unwrap();
        place.check_outside();
    }
}
