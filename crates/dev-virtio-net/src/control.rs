//! The control queue (section 5.1.6.5): commands with an answer of one byte.

use crate::config::{MAC, bit};
use crate::filter::{Filter, MOST_ADDRESSES, Mac};
use dev_virtio::{Broken, Chain, Desk};

/// Answers.
pub(crate) const OK: u8 = 0;
pub(crate) const ERR: u8 = 1;

/// Classes, and their commands.
mod class {
    pub const RX: u8 = 0;
    pub const MAC: u8 = 1;
    pub const MQ: u8 = 4;
}
mod rx {
    pub const PROMISC: u8 = 0;
    pub const ALLMULTI: u8 = 1;
    pub const ALLUNI: u8 = 2;
    pub const NOMULTI: u8 = 3;
    pub const NOUNI: u8 = 4;
    pub const NOBCAST: u8 = 5;
}
mod mac {
    pub const TABLE_SET: u8 = 0;
    pub const ADDR_SET: u8 = 1;
}
/// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET.
const VQ_PAIRS_SET: u8 = 0;

/// What commands change.
pub(crate) struct Controls<'a> {
    pub filter: &'a mut Filter,
    /// Pairs of queues that frames are given to.
    pub active: &'a mut usize,
    /// Pairs there are.
    pub pairs: usize,
    /// What was negotiated.
    pub features: u64,
}

/// Does a command; the answer. One that is refused changes nothing.
pub(crate) fn command(controls: &mut Controls<'_>, desk: &mut Desk<'_>, chain: &Chain) -> Result<u8, Broken> {
    let mut head = [0; 2];
    if chain.read(desk.dma, 0, &mut head)? != head.len() {
        return Ok(ERR);
    }
    let [class, command] = head;
    let has = |bit: u64| controls.features & bit != 0;
    let done = match (class, command) {
        (class::RX, rx::PROMISC | rx::ALLMULTI) if has(bit::CTRL_RX) => mode(controls, desk, chain, command)?,
        (class::RX, rx::ALLUNI..=rx::NOBCAST) if has(bit::CTRL_RX_EXTRA) => {
            mode(controls, desk, chain, command)?
        }
        (class::MAC, mac::TABLE_SET) if has(bit::CTRL_RX) => table(controls, desk, chain)?,
        (class::MAC, mac::ADDR_SET) if has(bit::CTRL_MAC_ADDR) => address(controls, desk, chain)?,
        (class::MQ, VQ_PAIRS_SET) if has(bit::MQ) => pairs(controls, desk, chain)?,
        _ => None,
    };
    Ok(if done.is_some() { OK } else { ERR })
}

/// The command's data, of exactly that many bytes.
fn data<const N: usize>(desk: &Desk<'_>, chain: &Chain) -> Result<Option<[u8; N]>, Broken> {
    let mut bytes = [0; N];
    let read = chain.read(desk.dma, 2, &mut bytes)?;
    Ok((read == N && chain.readable_len() == 2 + N as u64).then_some(bytes))
}

fn mode(
    controls: &mut Controls<'_>,
    desk: &Desk<'_>,
    chain: &Chain,
    command: u8,
) -> Result<Option<()>, Broken> {
    let filter = &mut *controls.filter;
    let place = match command {
        rx::PROMISC => &mut filter.promiscuous,
        rx::ALLMULTI => &mut filter.all_multicast,
        rx::ALLUNI => &mut filter.all_unicast,
        rx::NOMULTI => &mut filter.no_multicast,
        rx::NOUNI => &mut filter.no_unicast,
        _ => &mut filter.no_broadcast,
    };
    Ok(data(desk, chain)?.map(|[on]| *place = on != 0))
}

fn table(controls: &mut Controls<'_>, desk: &Desk<'_>, chain: &Chain) -> Result<Option<()>, Broken> {
    let mut at = 2;
    let Some(unicast) = addresses(desk, chain, &mut at)? else { return Ok(None) };
    let Some(multicast) = addresses(desk, chain, &mut at)? else { return Ok(None) };
    if at != chain.readable_len() {
        return Ok(None);
    }
    (controls.filter.unicast, controls.filter.multicast) = (unicast, multicast);
    Ok(Some(()))
}

/// A counted list of addresses at `at`; the inner `None` for so many that all are meant.
#[allow(clippy::option_option, reason = "no list, or one of all")]
fn addresses(desk: &Desk<'_>, chain: &Chain, at: &mut u64) -> Result<Option<Option<Vec<Mac>>>, Broken> {
    let mut count = [0; 4];
    if chain.read(desk.dma, *at, &mut count)? != count.len() {
        return Ok(None);
    }
    let count = u32::from_le_bytes(count);
    let first = *at + 4;
    *at = first + 6 * u64::from(count);
    if *at > chain.readable_len() {
        return Ok(None);
    }
    if count > MOST_ADDRESSES {
        return Ok(Some(None));
    }
    let mut all = Vec::new();
    for n in 0..u64::from(count) {
        let mut mac = [0; 6];
        chain.read(desk.dma, first + 6 * n, &mut mac)?;
        all.push(mac);
    }
    Ok(Some(Some(all)))
}

fn address(controls: &mut Controls<'_>, desk: &mut Desk<'_>, chain: &Chain) -> Result<Option<()>, Broken> {
    let Some(mac) = data::<6>(desk, chain)? else { return Ok(None) };
    controls.filter.mac = mac;
    desk.change_config(MAC, &mac);
    Ok(Some(()))
}

fn pairs(controls: &mut Controls<'_>, desk: &Desk<'_>, chain: &Chain) -> Result<Option<()>, Broken> {
    let Some(count) = data(desk, chain)? else { return Ok(None) };
    let count = usize::from(u16::from_le_bytes(count));
    Ok((1..=controls.pairs).contains(&count).then(|| *controls.active = count))
}
