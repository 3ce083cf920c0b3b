//! What a user network is like: addresses, limits, published ports; and its text form, one grammar for people and for
//! the helper process: `KEY=VALUE,…`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port of the guest that the host offers: `[BIND:]HOST:GUEST[/udp]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// TCP or UDP.
    pub transport: Transport,
    /// Where the host listens; 127.0.0.1 unless said otherwise. Port 0 lets the host choose.
    pub bind: SocketAddr,
    /// The guest's port.
    pub guest: u16,
}

/// The configuration of a user network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The guest's IPv4 network; in it, `.2` is the gateway, `.3` the name server, `.15` the guest.
    pub network: Ipv4Addr,
    /// Its prefix length, 8 to 27: number 15 is a host's.
    pub prefix: u8,
    /// The guest's IPv6 network, a /64: in it, `::2` is the gateway and `::3` the name server. `None`: no IPv6.
    pub network6: Option<Ipv6Addr>,
    /// Whether the gateway's addresses mean the host's loopback.
    pub host: bool,
    /// Bytes of an IP packet on the link that is not to be segmented, 1280 to 65520.
    pub mtu: u16,
    /// The guest's name, told by DHCP; empty: none.
    pub hostname: String,
    /// DHCP lease in seconds.
    pub lease: u32,
    /// Name servers; empty: the host's, from `/etc/resolv.conf`.
    pub dns: Vec<SocketAddr>,
    /// TCP flows at a time.
    pub flows: u32,
    /// UDP flows at a time, and as many of ICMP echo at most.
    pub datagrams: u32,
    /// Bytes that all TCP flows together may keep on their way.
    pub memory: u64,
    /// Ports of the guest that the host offers.
    pub publish: Vec<Publish>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            network: Ipv4Addr::new(10, 0, 2, 0),
            prefix: 24,
            // Unique local (RFC 4193), the same on every host, because nothing beyond the helper ever sees it.
            network6: Some(Ipv6Addr::new(0xfd48, 0x6f73, 0x7465, 0x6c, 0, 0, 0, 0)),
            host: false,
            mtu: 1500,
            hostname: String::new(),
            lease: 86_400,
            dns: Vec::new(),
            flows: 4096,
            datagrams: 1024,
            memory: 64 << 20,
            publish: Vec::new(),
        }
    }
}

impl Config {
    fn in_network(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).wrapping_add(number))
    }

    fn in_network6(&self, number: u16) -> Option<Ipv6Addr> {
        self.network6.map(|net| Ipv6Addr::from(u128::from(net) | u128::from(number)))
    }

    /// The gateway as the guest sees it.
    pub fn gateway(&self) -> Ipv4Addr {
        self.in_network(2)
    }

    /// The name server as the guest sees it.
    pub fn name_server(&self) -> Ipv4Addr {
        self.in_network(3)
    }

    /// What DHCP gives the guest.
    pub fn guest(&self) -> Ipv4Addr {
        self.in_network(15)
    }

    /// The gateway in the IPv6 network.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.in_network6(2)
    }

    /// The name server in the IPv6 network.
    pub fn name_server6(&self) -> Option<Ipv6Addr> {
        self.in_network6(3)
    }

    /// The IPv4 netmask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(!(u32::MAX >> self.prefix.min(31)))
    }

    /// Whether `address` belongs to the guest's networks.
    pub fn is_inside(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => u32::from(v4) & u32::from(self.mask()) == u32::from(self.network),
            IpAddr::V6(v6) => self.network6.is_some_and(|net| u128::from(net) >> 64 == u128::from(v6) >> 64),
        }
    }

    /// Whether a guest may send from `address`: it is inside, a host's address, and neither gateway nor name server.
    pub fn may_be_guest(&self, address: IpAddr) -> bool {
        let ours = match address {
            IpAddr::V4(v4) => {
                let number = u32::from(v4) & !u32::from(self.mask());
                number == 0
                    || number == !u32::from(self.mask())
                    || v4 == self.gateway()
                    || v4 == self.name_server()
            }
            IpAddr::V6(v6) => {
                u128::from(v6) & u128::from(u64::MAX) == 0
                    || Some(v6) == self.gateway6()
                    || Some(v6) == self.name_server6()
            }
        };
        self.is_inside(address) && !ours
    }
}

/// A configuration or a published port that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// No such key.
    #[error(
        "the user network has no option {0:?}; it has net, net6, host, mtu, hostname, lease, dns, flows, \
         datagrams, memory and publish"
    )]
    Key(String),
    /// The key's value is not one.
    #[error("{key}={value} of the user network: expected {expected}")]
    Value {
        /// Which option.
        key: String,
        /// What stood there.
        value: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// A published port that is not one.
    #[error("cannot publish {0:?}: write [BIND:]HOST:GUEST[/udp], such as 2222:22 or 0.0.0.0:8080:80")]
    Publish(String),
}

impl FromStr for Publish {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Publish(text.to_owned());
        let (ports, transport) = match text.rsplit_once('/') {
            None | Some((_, "tcp")) => (text.strip_suffix("/tcp").unwrap_or(text), Transport::Tcp),
            Some((ports, "udp")) => (ports, Transport::Udp),
            Some(_) => return Err(wrong()),
        };
        let (front, guest) = ports.rsplit_once(':').ok_or_else(wrong)?;
        let guest: u16 = guest.parse().map_err(|_| wrong())?;
        let (bind, host) = match front.rsplit_once(':') {
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), front),
            Some((bind, host)) => {
                let bare = bind.strip_prefix('[').and_then(|b| b.strip_suffix(']'));
                (bare.unwrap_or(bind).parse().map_err(|_| wrong())?, host)
            }
        };
        let host: u16 = host.parse().map_err(|_| wrong())?;
        if guest == 0 {
            return Err(wrong());
        }
        Ok(Publish { transport, bind: SocketAddr::new(bind, host), guest })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.transport == Transport::Udp { "/udp" } else { "" };
        write!(f, "{}:{}{kind}", self.bind, self.guest)
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net={}/{}", self.network, self.prefix)?;
        match self.network6 {
            Some(net) => write!(f, ",net6={net}/64")?,
            None => f.write_str(",net6=off")?,
        }
        write!(f, ",host={},mtu={}", if self.host { "allow" } else { "deny" }, self.mtu)?;
        if !self.hostname.is_empty() {
            write!(f, ",hostname={}", self.hostname)?;
        }
        write!(f, ",lease={}", self.lease)?;
        for server in &self.dns {
            write!(f, ",dns={server}")?;
        }
        write!(f, ",flows={},datagrams={},memory={}", self.flows, self.datagrams, self.memory)?;
        for port in &self.publish {
            write!(f, ",publish={port}")?;
        }
        Ok(())
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut config = Config::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            config.set(key, value)?;
        }
        Ok(config)
    }
}

impl Config {
    /// Sets one option from its text.
    ///
    /// # Errors
    /// If there is no such option, or the value is not one of its.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let expected = match self.set_quietly(key, value) {
            Some(Ok(())) => return Ok(()),
            Some(Err(expected)) => expected,
            None if key == "publish" => {
                self.publish.push(value.parse()?);
                return Ok(());
            }
            None => return Err(ConfigError::Key(key.to_owned())),
        };
        Err(ConfigError::Value { key: key.to_owned(), value: value.to_owned(), expected })
    }

    fn set_quietly(&mut self, key: &str, value: &str) -> Option<Result<(), &'static str>> {
        fn number<T: FromStr + PartialOrd>(place: &mut T, value: &str, least: T, most: T) -> Option<()> {
            let number = value.parse().ok()?;
            (least <= number && number <= most).then(|| *place = number)
        }
        let (done, expected) = match key {
            "net" => (self.set_network(value), "a network as 10.0.2.0/24, its prefix from 8 to 27"),
            "net6" => (self.set_network6(value), "a network as fd00::/64, or off"),
            "host" => {
                self.host = value == "allow";
                (matches!(value, "allow" | "deny").then_some(()), "allow or deny")
            }
            "mtu" => (number(&mut self.mtu, value, 1280, 65520), "a number from 1280 to 65520"),
            "hostname" => {
                let fine =
                    value.len() <= 63 && value.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
                value.clone_into(&mut self.hostname);
                (fine.then_some(()), "at most 63 letters, digits, dots and dashes")
            }
            "lease" => (number(&mut self.lease, value, 60, u32::MAX), "seconds, at least 60"),
            "dns" => {
                let one = value.parse().or_else(|_| value.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
                (
                    one.map(|server| self.dns.push(server)).ok(),
                    "an address of a name server, with or without a port",
                )
            }
            "flows" => (number(&mut self.flows, value, 1, 60_000), "a number from 1 to 60000"),
            "datagrams" => (number(&mut self.datagrams, value, 1, 20_000), "a number from 1 to 20000"),
            "memory" => (number(&mut self.memory, value, 1 << 20, 1 << 40), "bytes, at least 1048576"),
            _ => return None,
        };
        Some(done.ok_or(expected))
    }

    fn set_network(&mut self, value: &str) -> Option<()> {
        let (network, prefix) = value.split_once('/')?;
        let (network, prefix): (Ipv4Addr, u8) = (network.parse().ok()?, prefix.parse().ok()?);
        let next = Config { network, prefix, ..Config::default() };
        let usable = (8..=27).contains(&prefix) && next.is_inside(IpAddr::V4(network));
        if !usable || network.is_loopback() || network.is_multicast() || network.is_unspecified() {
            return None;
        }
        (self.network, self.prefix) = (network, prefix);
        Some(())
    }

    fn set_network6(&mut self, value: &str) -> Option<()> {
        if value == "off" {
            self.network6 = None;
            return Some(());
        }
        let net: Ipv6Addr = value.strip_suffix("/64")?.parse().ok()?;
        let usable =
            u128::from(net) & u128::from(u64::MAX) == 0 && !net.is_multicast() && !net.is_unspecified();
        usable.then(|| self.network6 = Some(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let text = "net=192.168.7.0/27,net6=off,host=allow,mtu=9000,hostname=work,lease=600,dns=9.9.9.9:53,\
                    flows=5,datagrams=6,memory=2097152,publish=127.0.0.1:2222:22,publish=[::1]:53:5353/udp";
        let config: Config = text.parse().unwrap();
        assert_eq!(config.to_string(), text);
        assert_eq!(config.to_string().parse::<Config>().unwrap(), config);
        let default = Config::default();
        assert_eq!(default.to_string().parse::<Config>().unwrap(), default);
        assert_eq!("".parse::<Config>().unwrap(), default);
    }

    #[test]
    fn published_ports_are_the_loopbacks_unless_asked_for() {
        for (text, bind, guest, transport) in [
            ("2222:22", "127.0.0.1:2222", 22, Transport::Tcp),
            ("0:80", "127.0.0.1:0", 80, Transport::Tcp),
            ("0.0.0.0:8080:80", "0.0.0.0:8080", 80, Transport::Tcp),
            ("[::1]:8080:80/tcp", "[::1]:8080", 80, Transport::Tcp),
            ("5353:53/udp", "127.0.0.1:5353", 53, Transport::Udp),
        ] {
            let publish: Publish = text.parse().unwrap();
            assert_eq!(publish, Publish { transport, bind: bind.parse().unwrap(), guest }, "{text}");
        }
        for text in ["", "22", "a:22", "22:a", "22:0", "70000:22", "x:1:2", "1:2/sctp", "1:2:3:4:5"] {
            assert!(text.parse::<Publish>().is_err(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_what_was_expected() {
        for text in [
            "net=10.0.2.1/24",
            "net=10.0.2.0/28",
            "net=127.0.0.0/8",
            "net6=fd00::1/64",
            "net6=fd00::/48",
            "mtu=1279",
            "host=maybe",
            "hostname=a_b",
            "dns=x",
            "flows=0",
            "speed=1",
            "publish=1",
        ] {
            assert!(text.parse::<Config>().is_err(), "{text}");
        }
        assert_eq!(
            "mtu=9".parse::<Config>().unwrap_err().to_string(),
            "mtu=9 of the user network: expected a number from 1280 to 65520"
        );
    }

    #[test]
    fn addresses_are_as_in_qemus_user_network() {
        let config = Config::default();
        assert_eq!(config.gateway().to_string(), "10.0.2.2");
        assert_eq!(config.name_server().to_string(), "10.0.2.3");
        assert_eq!(config.guest().to_string(), "10.0.2.15");
        assert_eq!(config.mask().to_string(), "255.255.255.0");
        for (address, may) in [
            ("10.0.2.15", true),
            ("10.0.2.77", true),
            ("10.0.2.2", false),
            ("10.0.2.3", false),
            ("10.0.2.0", false),
            ("10.0.2.255", false),
            ("10.0.3.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("fd48:6f73:7465:6c::5", true),
            ("fd48:6f73:7465:6c::2", false),
            ("fd48:6f73:7465:6c::", false),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(config.may_be_guest(address.parse().unwrap()), may, "{address}");
        }
    }
}
