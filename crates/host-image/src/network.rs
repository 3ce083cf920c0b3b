//! How a guest reaches the archive of packages: as the host does, as far as that is for others to know.
use crate::apt::{Archive, proxies};
use crate::catalog::{Architecture, SUITE};
use crate::error::Error;
use crate::mirror::{Mirror, pockets, printable};
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

/// Archives and proxies.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    sources: Vec<Source>,
    /// Lines of apt.conf(5).
    pub proxies: String,
}

/// Of an archive that is a directory of the host's.
const LOCAL: &str = "This is a place on the host: name one that can be reached from here.";
/// Of one that this host could not read.
const UNREAD: &str = "This could not be read when the disk was made; to try it, remove the next line.";

impl Network {
    /// What the host is set up with, its Debian archive at `url`. Besides [`SUITE`] the host may take updates and
    /// security updates from Debian; then the guest does, too, but for what cannot be read: one such list, and every
    /// `apt update` fails. `work` is a directory for trying that.
    pub fn of_host(
        mirror: &Mirror,
        url: &str,
        architecture: Architecture,
        work: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Network, Error> {
        let (updates, security) = pockets(mirror, url)?;
        let more = [
            updates.then(|| (url.to_owned(), format!("{SUITE}-updates"))),
            security.map(|url| (url, format!("{SUITE}-security"))),
        ];
        let mut sources = vec![Source { url: printable(url), suite: SUITE.to_owned(), off: local(url) }];
        for (url, suite) in more.into_iter().flatten() {
            progress.step(&format!("trying {suite}"));
            let archive = Archive::open(&work.join(&suite), &url, &suite, architecture)?;
            let read = archive.update(progress).is_ok();
            let off = local(&url).or((!read).then_some(UNREAD));
            sources.push(Source { url: printable(&url), suite, off });
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

fn local(url: &str) -> Option<&'static str> {
    (url.starts_with("file:") || url.starts_with("mirror+file:")).then_some(LOCAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(url: &str, suite: &str, off: Option<&'static str>) -> Source {
        Source { url: url.into(), suite: suite.into(), off }
    }

    #[test]
    fn what_could_not_be_read_is_switched_off_and_says_so() {
        let sources = vec![
            source("http://m.example/debian", "trixie", None),
            source("http://s.example/security", "trixie-security", Some(UNREAD)),
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
    fn a_directory_of_the_host_is_none_of_the_guests() {
        assert_eq!(local("file:///srv/debian"), Some(LOCAL));
        assert_eq!(local("http://m.example/file:"), None);
        assert!(!Network::default().lacks());
    }
}
