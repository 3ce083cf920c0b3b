//! Where a guest's packets may go: to the world, but not to the host it runs on, unless that was asked for.
//!
//! What a destination is decides, before any socket is made. The host's own addresses are asked of the host each time,
//! because they change. What no router forwards (RFC 1122 §3.2.1.3, RFC 6890) is refused whatever the host would do.

use crate::config::Config;
use crate::stack::is_for_many;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To this address of the host's world.
    To(SocketAddr),
    /// To one of the host's name servers.
    Resolver,
    /// For the gateway itself.
    Gateway,
    /// Not allowed; the guest is told.
    Refused,
    /// Dropped without a word: answers to broadcasts and multicasts would be wrong (RFC 1122 §3.2.2).
    Dropped,
}

/// Where a packet to `destination` goes; `is_hosts` says whether an address is one of the host's.
pub fn judge(config: &Config, destination: SocketAddr, mut is_hosts: impl FnMut(IpAddr) -> bool) -> Verdict {
    let (ip, port) = (destination.ip(), destination.port());
    let (gateway, server, loopback) = match ip {
        IpAddr::V4(v4) => {
            (v4 == config.gateway(), v4 == config.name_server(), IpAddr::V4(Ipv4Addr::LOCALHOST))
        }
        IpAddr::V6(v6) => {
            let of = |address: Option<Ipv6Addr>| address == Some(v6);
            (of(config.gateway6()), of(config.name_server6()), IpAddr::V6(Ipv6Addr::LOCALHOST))
        }
    };
    if server {
        return if port == 53 { Verdict::Resolver } else { Verdict::Gateway };
    }
    if gateway {
        return if config.host { Verdict::To(SocketAddr::new(loopback, port)) } else { Verdict::Gateway };
    }
    // Other addresses of the guest's own network are on its link, not behind the gateway.
    if is_for_many(ip) || config.is_inside(ip) {
        return Verdict::Dropped;
    }
    let never = match ip {
        IpAddr::V4(v4) => is_never_forwarded(v4),
        IpAddr::V6(v6) => is_never_forwarded6(v6),
    };
    let mut inside = || embedded(ip).is_some_and(|v4| is_never_forwarded(v4) || is_hosts(IpAddr::V4(v4)));
    if never || port == 0 || inside() || is_hosts(ip) {
        return Verdict::Refused;
    }
    Verdict::To(destination)
}

/// "This network", loopback, link-local (where clouds keep their metadata service), class E and what is above.
fn is_never_forwarded(ip: Ipv4Addr) -> bool {
    let [a, ..] = ip.octets();
    a == 0 || a >= 224 || ip.is_loopback() || ip.is_link_local()
}

/// All of ::/8 (unspecified, loopback, IPv4-mapped and -compatible), link-local, site-local, multicast.
fn is_never_forwarded6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let translated = matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _]);
    (a == 0 && !translated)
        || ip.is_unicast_link_local()
        || (a == 0xfe && b & 0xc0 == 0xc0)
        || ip.is_multicast()
}

/// The IPv4 address that an IPv6 address stands for: 64:ff9b::/96 (RFC 6052) and 2002::/16 (RFC 3056).
fn embedded(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else { return None };
    match v6.segments() {
        [0x64, 0xff9b, .., high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(config: &Config, destination: &str) -> Verdict {
        let own: [IpAddr; 2] = ["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
        judge(config, destination.parse().unwrap(), |ip| own.contains(&ip))
    }

    /// The host must not be reachable under any of its names.
    #[test]
    fn attack_the_host_by_every_name_it_has() {
        for destination in [
            "127.0.0.1:22",
            "127.255.255.254:22",
            "0.0.0.0:22",
            "0.1.2.3:22",
            "169.254.169.254:80",
            "192.0.2.2:22",
            "240.0.0.1:1",
            "[::]:22",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
            "[::127.0.0.1]:22",
            "[fe80::1]:22",
            "[2001:db8::2]:22",
            "[64:ff9b::7f00:1]:22",
            "[64:ff9b::a9fe:a9fe]:80",
            "[64:ff9b::c000:202]:22",
            "[2002:7f00:1::]:22",
            "[2002:c000:202::]:22",
            "[fec0::1]:22",
            "[::ffff:192.0.2.2]:22",
            "203.0.113.1:0",
            "[64:ff9b:1::7f00:1]:22",
        ] {
            assert_eq!(verdict(&Config::default(), destination), Verdict::Refused, "{destination}");
        }
    }

    #[test]
    fn attack_with_broadcast_and_multicast() {
        for destination in
            ["255.255.255.255:67", "224.0.0.251:5353", "10.0.2.255:137", "10.0.2.9:1", "[ff02::fb]:5353"]
        {
            assert_eq!(verdict(&Config::default(), destination), Verdict::Dropped, "{destination}");
        }
    }

    #[test]
    fn the_gateway_is_the_host_only_when_asked_for() {
        let config = Config::default();
        assert_eq!(verdict(&config, "10.0.2.2:22"), Verdict::Gateway);
        assert_eq!(verdict(&config, "[fd48:6f73:7465:6c::2]:22"), Verdict::Gateway);
        let config = Config { host: true, ..config };
        assert_eq!(verdict(&config, "10.0.2.2:22"), Verdict::To("127.0.0.1:22".parse().unwrap()));
        assert_eq!(verdict(&config, "[fd48:6f73:7465:6c::2]:22"), Verdict::To("[::1]:22".parse().unwrap()));
        assert_eq!(verdict(&config, "127.0.0.1:22"), Verdict::Refused, "by no other name");
    }

    #[test]
    fn the_rest_is_the_world() {
        let config = Config::default();
        for destination in
            ["203.0.113.1:80", "192.168.1.1:53", "[2001:db8::3]:443", "[64:ff9b::cb00:7101]:80"]
        {
            assert_eq!(verdict(&config, destination), Verdict::To(destination.parse().unwrap()));
        }
        assert_eq!(verdict(&config, "10.0.2.3:53"), Verdict::Resolver);
        assert_eq!(verdict(&config, "[fd48:6f73:7465:6c::3]:53"), Verdict::Resolver);
        assert_eq!(verdict(&config, "10.0.2.3:80"), Verdict::Gateway);
    }
}
