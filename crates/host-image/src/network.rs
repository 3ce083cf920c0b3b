//! How a guest reaches the archive of packages: as the host does, as far as that is for others to know.
use crate::apt::{Archive, proxies};
use crate::catalog::{Architecture, SUITE};
use crate::error::Error;
use crate::mirror::{Mirror, loops_back, pockets, printable};
use crate::progress::Progress;
use std::path::Path;

/// An archive in the guest's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    /// The archive, without a user name or password.
    url: String,
    suite: String,
    /// Why it is switched off, if it is.
    off: Option<&'static str>,
}

impl Source {
    /// The archive at `url`; a place on the host is switched off, others for the reason given.
    fn new(url: &str, suite: &str, off: Option<&'static str>) -> Source {
        let url = printable(url);
        let off = local(&url).or(off);
        Source { url, suite: suite.to_owned(), off }
    }
}

/// Archives and proxies.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    sources: Vec<Source>,
    /// Lines of apt.conf(5).
    pub proxies: String,
}

/// Of an archive that is a directory of the host's, or a server on it that only the host reaches.
const LOCAL: &str = "This is a place on the host: name one that can be reached from here.";
/// Of one that this host could not read.
const UNREAD: &str = "This could not be read when the disk was made; to try it, remove the next line.";

impl Network {
    /// What the host is set up with, its Debian archive at `url`, which calls [`SUITE`] `suite`. Besides that the host
    /// may take updates and security updates from Debian; then the guest does, too, but for what cannot be read: one
    /// such list, and every `apt update` fails. `work` is a directory for trying that.
    pub fn of_host(
        mirror: &Mirror,
        url: &str,
        suite: &str,
        architecture: Architecture,
        work: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Network, Error> {
        let (updates, security) = pockets(mirror, url)?;
        let mut sources = vec![Source::new(url, suite, None)];
        for (url, suite) in more(url, suite, updates, security) {
            progress.step(&format!("trying {suite}"));
            let archive = Archive::open(&work.join(&suite), &url, &suite, architecture)?;
            let read = archive.update(progress).is_ok();
            sources.push(Source::new(&url, &suite, (!read).then_some(UNREAD)));
        }
        Ok(Network { sources, proxies: proxies()? })
    }

    /// Whether the guest lacks something that the host has.
    pub fn lacks(&self) -> bool {
        self.sources.iter().any(|source| source.off.is_some())
    }

    /// The guest's sources.list(5), deb822 style.
    pub fn sources(&self) -> String {
        let stanza = |Source { url, suite, off }: &Source| {
            let off = off.map_or_else(String::new, |why| format!("# {why}\nEnabled: no\n"));
            format!(
                "Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp\n{off}"
            )
        };
        self.sources.iter().map(stanza).collect::<Vec<_>>().join("\n")
    }
}

/// The archives and suites that come to the one at `url`.
fn more(url: &str, suite: &str, updates: bool, security: Option<String>) -> Vec<(String, String)> {
    let updates = updates.then(|| (url.to_owned(), format!("{suite}-updates")));
    // Another archive, which may not know that name.
    let security = security.map(|url| (url, format!("{SUITE}-security")));
    updates.into_iter().chain(security).collect()
}

/// Why an archive is none of the guest's; `url` is without a user name.
fn local(url: &str) -> Option<&'static str> {
    (url.starts_with("file:") || url.starts_with("mirror+file:") || loops_back(url)).then_some(LOCAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_calls_the_release_what_its_archive_does() {
        let more = more("http://m.example/debian", "stable", true, Some("http://s.example/security".into()));
        let expected =
            [("http://m.example/debian", "stable-updates"), ("http://s.example/security", "trixie-security")];
        assert_eq!(more, expected.map(|(url, suite)| (url.to_owned(), suite.to_owned())));
    }

    #[test]
    fn what_could_not_be_read_is_switched_off_and_says_so() {
        let sources = vec![
            Source::new("http://m.example/debian", "trixie", None),
            Source::new("http://s.example/security", "trixie-security", Some(UNREAD)),
        ];
        let network = Network { sources, proxies: String::new() };
        let text = network.sources();
        let (first, second) = text.split_once("\n\n").unwrap();
        assert!(
            first.contains("URIs: http://m.example/debian\nSuites: trixie\n") && !first.contains("Enabled")
        );
        assert!(second.ends_with(&format!("# {UNREAD}\nEnabled: no\n")), "{second}");
        assert!(network.lacks());
    }

    #[test]
    fn what_is_on_the_host_is_none_of_the_guests() {
        let off = |url: &str| Source::new(url, "trixie", Some(UNREAD)).off;
        for url in [
            "file:///srv/debian",
            "http://localhost:3142/debian",
            "http://LOCALHOST/debian",
            "https://user:word@127.0.0.1:8080/debian",
            "http://[::1]/debian",
        ] {
            assert_eq!(off(url), Some(LOCAL), "{url}");
        }
        for url in
            ["http://m.example/file:", "http://mirror.localhost.example/debian", "http://10.127.0.1/debian"]
        {
            assert_eq!(off(url), Some(UNREAD), "{url}");
        }
        assert!(!Network::default().lacks());
    }
}
