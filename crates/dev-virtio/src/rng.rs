//! The entropy device (section 5.4): fills what it is given with random bytes.

use crate::attendant::{Backend, Desk};
use crate::identity::Identity;
use crate::{Broken, feature};

/// Most bytes for one request: a driver that wants more asks again.
const MOST: usize = 4096;

/// Where random bytes come from: fills what it is given, and says how many bytes it had.
type Source = Box<dyn FnMut(&mut [u8]) -> usize + Send>;

/// The entropy device, whose bytes come from a source that the machine's owner chooses.
pub struct Rng {
    source: Source,
}

impl Rng {
    /// One that `source` fills.
    pub fn new(source: impl FnMut(&mut [u8]) -> usize + Send + 'static) -> Self {
        Rng { source: Box::new(source) }
    }

    /// What it is.
    pub fn identity() -> Identity {
        let (features, queues) = (feature::USUAL, vec![64]);
        Identity { id: 4, features, queues, ..Identity::absent() }
    }
}

impl Backend for Rng {
    fn serve(&mut self, desk: &mut Desk<'_>, _rung: u64) -> Result<(), Broken> {
        desk.drain(0, |desk, chain| {
            let mut bytes = [0; MOST];
            let len = usize::try_from(chain.writable_len()).map_or(MOST, |len| len.min(MOST));
            let bytes = bytes.get_mut(..len).unwrap_or_default();
            let had = (self.source)(bytes);
            let written = chain.write(desk.dma, 0, bytes.get(..had).unwrap_or_default())?;
            desk.push(0, &chain, written as u32)
        })
    }
}
