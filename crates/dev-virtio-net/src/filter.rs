//! Which frames the driver wants: by what they are to have done to them, and by whom they are for (sections 5.1.6.4 and
//! 5.1.6.5).

use host_net::{Offloads, VNET};

/// What a frame begins with that is looked at: virtio-net header, both addresses, the type.
pub(crate) const HEAD: usize = VNET + 14;
/// Most addresses of each kind that a driver can name; who names more is given all of that kind.
pub(crate) const MOST_ADDRESSES: u32 = 64;

/// A link-layer address.
pub(crate) type Mac = [u8; 6];

/// VIRTIO_NET_HDR_F_NEEDS_CSUM.
const NEEDS_CSUM: u8 = 1;
/// VIRTIO_NET_HDR_GSO_*.
mod gso {
    pub const NONE: u8 = 0;
    pub const TCPV4: u8 = 1;
    pub const TCPV6: u8 = 4;
    pub const UDP_L4: u8 = 5;
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The driver does not want it.
    Dropped,
    /// It does.
    Taken,
    /// It does, with no flags in the header.
    Plain,
}

/// The driver's wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub mac: Mac,
    pub offloads: Offloads,
    pub promiscuous: bool,
    pub all_multicast: bool,
    pub all_unicast: bool,
    pub no_multicast: bool,
    pub no_unicast: bool,
    pub no_broadcast: bool,
    /// `None` for all.
    pub unicast: Option<Vec<Mac>>,
    pub multicast: Option<Vec<Mac>>,
}

impl Default for Filter {
    /// Everything, until the driver says what it wants: one that cannot say it wants everything.
    fn default() -> Self {
        Filter {
            mac: [0; 6],
            offloads: Offloads::default(),
            promiscuous: true,
            all_multicast: false,
            all_unicast: false,
            no_multicast: false,
            no_unicast: false,
            no_broadcast: false,
            unicast: Some(Vec::new()),
            multicast: Some(Vec::new()),
        }
    }
}

impl Filter {
    /// What becomes of a frame that begins so.
    pub fn judge(&self, head: &[u8; HEAD]) -> Verdict {
        let [flags, gso, rest @ ..] = head;
        let fits = match *gso {
            gso::NONE => true,
            gso::TCPV4 => self.offloads.tso4,
            gso::TCPV6 => self.offloads.tso6,
            gso::UDP_L4 => self.offloads.uso4 || self.offloads.uso6,
            _ => false,
        };
        let unfinished = flags & NEEDS_CSUM != 0 && !self.offloads.checksum;
        let to = rest.get(VNET - 2..).and_then(|rest| rest.first_chunk::<6>());
        if !fits || unfinished || !to.is_some_and(|to| self.wants(to)) {
            return Verdict::Dropped;
        }
        if *flags != 0 && !self.offloads.checksum { Verdict::Plain } else { Verdict::Taken }
    }

    fn wants(&self, to: &Mac) -> bool {
        let [first, ..] = to;
        let among = |all: &Option<Vec<Mac>>| all.as_ref().is_none_or(|all| all.contains(to));
        if self.promiscuous {
            return true;
        }
        if *to == [0xff; 6] {
            return !self.no_broadcast;
        }
        if first & 1 != 0 {
            return !self.no_multicast && (self.all_multicast || among(&self.multicast));
        }
        !self.no_unicast && (self.all_unicast || *to == self.mac || among(&self.unicast))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 2];
    const MANY: Mac = [0x33, 0x33, 0, 0, 0, 1];

    fn head(flags: u8, gso: u8, to: Mac) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        (head[0], head[1]) = (flags, gso);
        head[12..18].copy_from_slice(&to);
        head
    }

    #[test]
    fn frames_are_wanted_by_whom_they_are_for() {
        let none = Filter { mac: OWN, promiscuous: false, ..Filter::default() };
        let wants = |filter: &Filter| [OWN, OTHER, MANY, [0xff; 6]].map(|to| filter.wants(&to));
        assert_eq!(wants(&Filter::default()), [true; 4]);
        assert_eq!(wants(&none), [true, false, false, true]);
        assert_eq!(wants(&Filter { all_unicast: true, ..none.clone() }), [true, true, false, true]);
        assert_eq!(wants(&Filter { all_multicast: true, ..none.clone() }), [true, false, true, true]);
        assert_eq!(wants(&Filter { unicast: Some(vec![OTHER]), ..none.clone() }), [true, true, false, true]);
        assert_eq!(wants(&Filter { unicast: None, ..none.clone() }), [true, true, false, true]);
        assert_eq!(wants(&Filter { multicast: Some(vec![MANY]), ..none.clone() }), [true, false, true, true]);
        let not = Filter { no_unicast: true, no_broadcast: true, all_multicast: true, ..none.clone() };
        assert_eq!(wants(&not), [false, false, true, false]);
        let no_many = Filter { no_multicast: true, all_multicast: true, ..none };
        assert_eq!(wants(&no_many), [true, false, false, true]);
    }

    #[test]
    fn frames_are_given_as_the_driver_takes_them() {
        let with = |bits| Filter { offloads: Offloads::from_bits(bits), ..Filter::default() };
        for (bits, flags, gso, verdict) in [
            (0, 0, 0, Verdict::Taken),
            (0, 1, 0, Verdict::Dropped),
            (0, 2, 0, Verdict::Plain),
            (1, 1, 0, Verdict::Taken),
            (1, 1, 1, Verdict::Dropped),
            (3, 1, 1, Verdict::Taken),
            (3, 1, 4, Verdict::Dropped),
            (5, 1, 4, Verdict::Taken),
            (7, 1, 5, Verdict::Dropped),
            (9, 1, 5, Verdict::Taken),
            (31, 1, 3, Verdict::Dropped),
            // With the ECN bit, which is not offered.
            (31, 1, 0x81, Verdict::Dropped),
        ] {
            assert_eq!(with(bits).judge(&head(flags, gso, OWN)), verdict, "{bits} {flags} {gso}");
        }
    }
}
