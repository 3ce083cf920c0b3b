//! The host's name servers: what `/etc/resolv.conf` lists (resolv.conf(5)), and which of them is asked now.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// More are never asked (resolv.conf(5): MAXNS).
const MOST: usize = 3;

/// A list of name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    servers: Vec<SocketAddr>,
    current: usize,
}

impl Resolvers {
    /// These.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Resolvers { servers, current: 0 }
    }

    /// Those of a text in the format of `/etc/resolv.conf`. A host that names none has one of its own (resolv.conf(5)).
    pub fn of_text(text: &str) -> Self {
        let mut servers = Vec::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next() == Some("nameserver")
                && let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok())
                && servers.len() < MOST
            {
                servers.push(SocketAddr::new(ip, 53));
            }
        }
        if servers.is_empty() {
            servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53));
        }
        Resolvers::new(servers)
    }

    /// Whom to ask.
    pub fn current(&self) -> Option<SocketAddr> {
        self.servers.get(self.current).copied()
    }

    /// `server` has not answered: the next one is asked from now on.
    pub fn failed(&mut self, server: SocketAddr) {
        if self.current() == Some(server) {
            self.current = (self.current + 1) % self.servers.len().max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_that_the_file_names() {
        let text = "# comment\nsearch a b\nnameserver 9.9.9.9\nnameserver  2620:fe::fe # x\nnameserver fe80::1%eth0\n\
                    ;nameserver 1.1.1.1\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n";
        let mut resolvers = Resolvers::of_text(text);
        let mut seen = Vec::new();
        for _ in 0..4 {
            let server = resolvers.current().unwrap();
            seen.push(server.to_string());
            resolvers.failed(server);
            resolvers.failed(server);
        }
        assert_eq!(seen, ["9.9.9.9:53", "[2620:fe::fe]:53", "8.8.8.8:53", "9.9.9.9:53"]);
        assert_eq!(Resolvers::of_text("").current(), Some("127.0.0.1:53".parse().unwrap()));
    }
}
