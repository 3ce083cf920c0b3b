//! Network cards: what the user says of one, and what is behind it.

use crate::choice::Machine;
use anyhow::{Context, bail};
use host_net::{Config, NetPort, Publish, UserNet};
use host_tap::Tap;
use serde::Deserialize;
use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// What a guest is told that it can send where the administrator's network does not say.
const MTU: u16 = 1500;
/// Most queues of a tap device.
const MOST_QUEUES: usize = dev_virtio_net::MOST_PAIRS;
/// What all link-layer addresses made here begin with: locally administered (IEEE 802), as other virtual machines' do.
const OWN: [u8; 3] = [0x52, 0x54, 0x00];

/// A link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&parts.join(":"))
    }
}

impl FromStr for Mac {
    type Err = NetMistake;

    fn from_str(text: &str) -> Result<Self, NetMistake> {
        let wrong = || NetMistake::Mac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            // `from_str_radix` would take a plus sign.
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(wrong)?;
        }
        let [first, ..] = bytes;
        let one = first & 1 == 0 && bytes != [0; 6] && parts.next().is_none();
        one.then_some(Mac(bytes)).ok_or_else(wrong)
    }
}

/// What a network card is joined to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A NAT in a process of its own.
    User(Box<Config>),
    /// A tap device of the host's.
    Tap {
        /// Its name.
        name: String,
        /// How many queues it has.
        queues: usize,
        /// Bytes of the longest packet.
        mtu: u16,
    },
}

/// A network card of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct NetChoice {
    /// What it is joined to.
    pub side: Side,
    /// Its link-layer address; without, one is made up.
    pub mac: Option<Mac>,
}

/// What `--net` is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetGiven {
    /// No card at all.
    None,
    /// This one.
    Card(NetChoice),
}

/// A network card that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetMistake {
    /// No such kind.
    #[error("there is no network {0:?}; networks are user, tap=NAME and none")]
    Kind(String),
    /// No key or value of a tap device's.
    #[error(
        "there is no option {0:?} of a tap device; they are mac=XX:XX:XX:XX:XX:XX, queues=1 to {MOST_QUEUES} and mtu=68 to 65520"
    )]
    Tap(String),
    /// No key or value of the user network's.
    #[error("{0}")]
    User(String),
    /// No address.
    #[error("{0:?} is no address of one network card; write it as 52:54:00:12:34:56")]
    Mac(String),
    /// Neither text nor number.
    #[error("the value of {0:?} is neither a text, a number nor a list of those")]
    Value(String),
}

impl FromStr for NetGiven {
    type Err = NetMistake;

    fn from_str(text: &str) -> Result<Self, NetMistake> {
        if text == "none" { Ok(NetGiven::None) } else { text.parse().map(NetGiven::Card) }
    }
}

impl FromStr for NetChoice {
    type Err = NetMistake;

    fn from_str(text: &str) -> Result<Self, NetMistake> {
        let (kind, rest) = text.split_once(',').unwrap_or((text, ""));
        let mut mac = None;
        let mut options = Vec::new();
        for part in rest.split(',').filter(|_| !rest.is_empty()) {
            match part.strip_prefix("mac=") {
                Some(address) => mac = Some(address.parse()?),
                None => options.push(part),
            }
        }
        let side = match kind.split_once('=') {
            None if kind == "user" => {
                let config = options.join(",").parse::<Config>();
                Side::User(Box::new(config.map_err(|error| NetMistake::User(error.to_string()))?))
            }
            Some(("tap", name)) if !name.is_empty() => tap(name, &options)?,
            _ => return Err(NetMistake::Kind(kind.to_owned())),
        };
        Ok(NetChoice { side, mac })
    }
}

fn tap(name: &str, options: &[&str]) -> Result<Side, NetMistake> {
    let (mut queues, mut mtu) = (1, MTU);
    for option in options {
        let value = |key| option.strip_prefix(key).filter(|digits| !digits.starts_with('+'));
        let wrong = || NetMistake::Tap((*option).to_owned());
        if let Some(number) = value("queues=") {
            queues = number.parse().ok().filter(|n| (1..=MOST_QUEUES).contains(n)).ok_or_else(wrong)?;
        } else if let Some(number) = value("mtu=") {
            mtu = number.parse().ok().filter(|n| (68..=65_520).contains(n)).ok_or_else(wrong)?;
        } else {
            return Err(wrong());
        }
    }
    Ok(Side::Tap { name: name.to_owned(), queues, mtu })
}

impl TryFrom<toml::Table> for NetChoice {
    type Error = NetMistake;

    /// By way of the text: the keys are those of the command line, and `kind` (and `name`) what that begins with.
    fn try_from(mut table: toml::Table) -> Result<Self, NetMistake> {
        let mut text = |key: &str| match table.remove(key) {
            None => Ok(String::new()),
            Some(toml::Value::String(text)) => Ok(text),
            Some(_) => Err(NetMistake::Value(key.to_owned())),
        };
        let (kind, name) = (text("kind")?, text("name")?);
        let mut all = if name.is_empty() { kind } else { format!("{kind}={name}") };
        for (key, value) in &table {
            let wrong = || NetMistake::Value(key.clone());
            let values = match value {
                toml::Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            for value in values {
                let value = match value {
                    toml::Value::String(text) if !text.contains(',') => text.clone(),
                    toml::Value::Integer(number) => number.to_string(),
                    _ => return Err(wrong()),
                };
                // Writing to a text does not fail.
                let _ = write!(all, ",{key}={value}");
            }
        }
        all.parse()
    }
}

/// An open network card.
pub struct Card {
    /// What it is joined to.
    pub ports: Vec<Arc<dyn NetPort>>,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// The user network, if it is one.
    pub user: Option<Arc<UserNet>>,
}

impl NetChoice {
    /// The user network as it is by itself.
    pub fn user() -> NetChoice {
        NetChoice { side: Side::User(Box::default()), mac: None }
    }

    /// The link-layer address of a machine's card number `n`. Each user network has its own, and may have the same as
    /// another machine's; those of tap devices meet on the host's networks, so that host and device are in them.
    pub fn address(&self, n: usize) -> [u8; 6] {
        let [a, b, c] = OWN;
        match (&self.side, self.mac) {
            (_, Some(Mac(bytes))) => bytes,
            (Side::User(_), None) => [a, b, c, 0x48, 0x6f, n as u8],
            (Side::Tap { name, .. }, None) => {
                let host = std::fs::read("/etc/machine-id").unwrap_or_default();
                // FNV-1a.
                let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                let hash = host.iter().chain(name.as_bytes()).fold(0xcbf2_9ce4_8422_2325, step);
                let [x, y, z, ..] = hash.to_be_bytes();
                [a, b, c, x, y, z]
            }
        }
    }

    /// Joins card number `n` of a machine to it.
    ///
    /// # Errors
    /// What to do about it.
    pub fn open(&self, n: usize) -> anyhow::Result<Card> {
        let mac = self.address(n);
        match &self.side {
            Side::User(config) => {
                let user = Arc::new(UserNet::spawn(config)?);
                Ok(Card { ports: vec![Arc::clone(&user) as _], mac, user: Some(user) })
            }
            Side::Tap { name, queues, mtu } => {
                let taps = Tap::open_queues(name, *mtu, *queues)?;
                let ports = taps.into_iter().map(|tap| Arc::new(tap) as _).collect();
                Ok(Card { ports, mac, user: None })
            }
        }
    }

    /// The lines that describe it in TOML.
    pub fn to_toml(&self) -> String {
        let mut keys: Vec<(String, Vec<String>)> = Vec::new();
        let mut add = |key: &str, value: String| match keys.iter_mut().find(|(other, _)| other == key) {
            Some((_, values)) => values.push(value),
            None => keys.push((key.to_owned(), vec![value])),
        };
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        match &self.side {
            Side::User(config) => {
                add("kind", quoted("user"));
                let usual = Config::default().to_string();
                for part in config.to_string().split(',').filter(|part| !usual.split(',').any(|u| u == *part))
                {
                    let (key, value) = part.split_once('=').unwrap_or((part, ""));
                    add(key, value.parse::<u64>().map_or_else(|_| quoted(value), |n| n.to_string()));
                }
            }
            Side::Tap { name, queues, mtu } => {
                add("kind", quoted("tap"));
                add("name", quoted(name));
                if *queues != 1 {
                    add("queues", queues.to_string());
                }
                if *mtu != MTU {
                    add("mtu", mtu.to_string());
                }
            }
        }
        if let Some(mac) = self.mac {
            add("mac", quoted(&mac.to_string()));
        }
        let line = |(key, values): (String, Vec<String>)| match values.as_slice() {
            [one] => format!("{key} = {one}\n"),
            more => format!("{key} = [{}]\n", more.join(", ")),
        };
        format!("\n[[net]]\n{}", keys.into_iter().map(line).collect::<String>())
    }
}

/// The cards of a machine: those given on the command line, or those of a file, or what the guest has by itself; with the
/// ports to publish.
///
/// # Errors
/// If these contradict each other.
pub fn cards(
    given: &[NetGiven],
    file: Option<Vec<NetChoice>>,
    usual: Vec<NetChoice>,
    publish: &[Publish],
) -> anyhow::Result<Vec<NetChoice>> {
    let wanted = given.iter().filter_map(|given| match given {
        NetGiven::None => None,
        NetGiven::Card(card) => Some(card.clone()),
    });
    let wanted: Vec<NetChoice> = wanted.collect();
    if !wanted.is_empty() && wanted.len() < given.len() {
        bail!("--net none means that there is no network card, and others are given; leave one out");
    }
    let chosen = !given.is_empty() || file.is_some();
    let mut cards = if given.is_empty() { file.unwrap_or(usual) } else { wanted };
    // Who publishes a port wants a network for it.
    if !publish.is_empty() && cards.is_empty() && !chosen {
        cards.push(NetChoice::user());
    }
    let user = cards.iter_mut().find_map(|card| match &mut card.side {
        Side::User(config) => Some(config),
        Side::Tap { .. } => None,
    });
    match user {
        Some(config) => {
            // What is published already is not published again: who repeats how a guest was made asks for nothing new.
            for one in publish {
                if one.bind.port() == 0 || !config.publish.contains(one) {
                    config.publish.push(*one);
                }
            }
        }
        None if publish.is_empty() => {}
        None => bail!("--publish has no effect without a user network; add --net user"),
    }
    Ok(cards)
}

/// Refuses what contradicts itself.
///
/// # Errors
/// What to do about it.
pub fn check(cards: &[NetChoice], machine: Machine) -> anyhow::Result<()> {
    if !cards.is_empty() && machine.virtio_room() + machine.ethernet() == 0 {
        bail!("the board {machine} has no place for a network card; use --machine virt, or --net none");
    }
    if machine.ethernet() > 0 {
        // Which is not virtio: it is one, and has one pair of rings.
        if cards.len() > machine.ethernet() {
            bail!(
                "the board {machine} has one network card, and {} are given; leave the others out",
                cards.len()
            );
        }
        if cards.iter().any(|card| matches!(card.side, Side::Tap { queues, .. } if queues > 1)) {
            bail!("the network card of the board {machine} has one pair of queues; leave queues out");
        }
    }
    let addresses: Vec<[u8; 6]> = cards.iter().enumerate().map(|(n, card)| card.address(n)).collect();
    for (n, address) in addresses.iter().enumerate() {
        if addresses.iter().skip(n + 1).any(|other| other == address) {
            bail!("two network cards have the address {}; give one another mac", Mac(*address));
        }
    }
    Ok(())
}

/// Opens the cards of a machine, and says which ports are published where.
///
/// # Errors
/// If the host has not what they need.
pub fn open(cards: &[NetChoice], tell: impl Fn(&str)) -> anyhow::Result<Vec<Card>> {
    let mut all = Vec::new();
    for (n, choice) in cards.iter().enumerate() {
        let card = choice.open(n).context("cannot join the guest to its network")?;
        if let (Side::User(config), Some(user)) = (&choice.side, &card.user) {
            for (publish, at) in config.publish.iter().zip(user.published()) {
                tell(&format!("{at} is the guest's port {}", publish.guest));
            }
        }
        all.push(card);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str) -> NetChoice {
        text.parse().unwrap()
    }

    #[test]
    fn a_card_is_what_it_is_joined_to_and_options() {
        assert_eq!(card("user"), NetChoice::user());
        let Side::User(config) = card("user,host=allow,mac=52:54:00:12:34:56,mtu=9000").side else {
            panic!()
        };
        assert_eq!(*config, Config { host: true, mtu: 9000, ..Config::default() });
        let tap = card("tap=tap0,queues=4,mac=02:00:00:00:00:01");
        assert_eq!(tap.side, Side::Tap { name: "tap0".into(), queues: 4, mtu: 1500 });
        assert_eq!(tap.mac, Some(Mac([2, 0, 0, 0, 0, 1])));
        assert_eq!("none".parse(), Ok(NetGiven::None));
    }

    #[test]
    fn what_is_no_card_is_refused() {
        for (text, why) in [
            ("", NetMistake::Kind(String::new())),
            ("tap", NetMistake::Kind("tap".into())),
            ("tap=", NetMistake::Kind("tap=".into())),
            ("bridge", NetMistake::Kind("bridge".into())),
            ("tap=a,queues=0", NetMistake::Tap("queues=0".into())),
            ("tap=a,queues=17", NetMistake::Tap("queues=17".into())),
            ("tap=a,host=allow", NetMistake::Tap("host=allow".into())),
            ("user,mac=1:2:3:4:5:6", NetMistake::Mac("1:2:3:4:5:6".into())),
            ("user,mac=01:00:00:00:00:01", NetMistake::Mac("01:00:00:00:00:01".into())),
            ("user,mac=00:00:00:00:00:00", NetMistake::Mac("00:00:00:00:00:00".into())),
            ("user,mac=02:00:00:00:00:00:00", NetMistake::Mac("02:00:00:00:00:00:00".into())),
        ] {
            assert_eq!(text.parse::<NetChoice>(), Err(why));
        }
        assert!(matches!("user,speed=1".parse::<NetChoice>(), Err(NetMistake::User(_))));
    }

    #[test]
    fn what_it_writes_it_reads() {
        #[derive(Deserialize)]
        struct File {
            net: Vec<NetChoice>,
        }
        for text in [
            "user",
            "user,host=allow,mtu=9000,dns=9.9.9.9:53,publish=127.0.0.1:2222:22,publish=0.0.0.0:53:53/udp",
            "user,net6=off,mac=52:54:00:12:34:56",
            "tap=tap0,queues=2,mtu=9000,mac=52:54:00:12:34:56",
            "tap=tap0",
        ] {
            let toml = card(text).to_toml();
            assert_eq!(toml::from_str::<File>(&toml).unwrap().net, [card(text)], "{toml}");
        }
        for wrong in ["kind = \"none\"", "kind = \"user\"\nmtu = true", "name = \"x\"", "kind = 1"] {
            assert!(toml::from_str::<File>(&format!("[[net]]\n{wrong}\n")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_differ_by_number_and_by_device() {
        assert_ne!(NetChoice::user().address(0), NetChoice::user().address(1));
        assert_ne!(card("tap=a").address(0), card("tap=b").address(0));
        assert_eq!(card("tap=a").address(0), card("tap=a").address(1));
        assert!(check(&[card("tap=a"), card("tap=a")], Machine::Virt).is_err());
        assert!(check(&[card("user"), card("user")], Machine::Virt).is_ok());
        assert!(check(&[card("user")], Machine::Spike).is_err() && check(&[], Machine::Spike).is_ok());
        assert!(check(&[card("user")], Machine::SifiveU).is_ok());
        assert!(check(&[card("user"), card("user")], Machine::SifiveU).is_err());
        assert!(check(&[card("tap=a,queues=2")], Machine::SifiveU).is_err());
    }

    #[test]
    fn the_command_line_comes_before_the_file_and_that_before_what_is_usual() {
        let port = || ["2222:22".parse::<Publish>().unwrap()];
        let (user, tap) = (NetChoice::user(), card("tap=a"));
        let of =
            |given: &[NetGiven], file, publish: &[Publish]| cards(given, file, vec![user.clone()], publish);
        assert_eq!(of(&[], None, &[]).unwrap(), std::slice::from_ref(&user));
        assert_eq!(of(&[], Some(vec![tap.clone()]), &[]).unwrap(), std::slice::from_ref(&tap));
        assert_eq!(of(&[NetGiven::None], Some(vec![tap.clone()]), &[]).unwrap(), []);
        let both = [NetGiven::Card(tap.clone()), NetGiven::Card(user.clone())];
        let published = card("user,publish=2222:22");
        assert_eq!(of(&both, None, &port()).unwrap(), [tap, published.clone()]);
        assert!(of(&[NetGiven::None, NetGiven::Card(user.clone())], None, &[]).is_err());
        assert!(of(&[NetGiven::None], None, &port()).is_err() && of(&[], Some(vec![]), &port()).is_err());
        assert_eq!(
            cards(&[], Some(vec![published.clone()]), vec![], &port()).unwrap(),
            std::slice::from_ref(&published)
        );
        assert_eq!(cards(&[], None, vec![], &port()).unwrap(), [published], "a port wants a network");
    }
}
