//! Which mirror of the Debian archive to use: the one that the host's apt is configured with.
use crate::child::{ask, command};
use crate::error::Error;

/// Where packages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mirror {
    /// The mirror that apt on this host takes Debian itself from.
    #[default]
    Configured,
    /// This archive: the URL that `dists/` stands under. `file:///DIRECTORY` works too.
    Url(String),
}

impl Mirror {
    /// The archive's URL, fit to be shown: without a user name or password that it may carry.
    ///
    /// # Errors
    /// If it is no URL, or apt is missing here or set up with no Debian archive.
    pub fn url(&self) -> Result<String, Error> {
        resolve(self).map(|url| printable(&url))
    }
}

/// The schemes that apt has methods for and that hold a whole archive.
const SCHEMES: &[&str] = &[
    "http",
    "https",
    "file",
    "mirror",
    "mirror+file",
    "mirror+http",
    "mirror+https",
    "tor+http",
    "tor+https",
];

/// Names under `dists/` that Debian's own archive uses, besides the host's release.
const SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// One index that apt is configured to fetch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Target {
    url: String,
    /// The name under `dists/`.
    release: String,
    /// From the archive's Release file; empty where apt has fetched none yet.
    origin: String,
    label: String,
    component: String,
}

/// The URL that `mirror` stands for.
pub(crate) fn resolve(mirror: &Mirror) -> Result<String, Error> {
    match mirror {
        Mirror::Url(url) => check(url).map(|()| url.clone()),
        Mirror::Configured => {
            let host = host_release(&std::fs::read_to_string("/etc/os-release").unwrap_or_default());
            // With the archive's own words about itself, if the host has lists; many containers have none.
            let mut known = command("apt-get");
            known.args(["indextargets", "Created-By: Packages"]);
            if let Some(url) = choose(&from_stanzas(&ask("apt-get", known)?.stdout), host.as_deref()) {
                return Ok(url);
            }
            let mut configured = command("apt-get");
            configured.args(["--print-uris", "update"]);
            let targets = from_uris(&ask("apt-get", configured)?.stdout);
            choose(&targets, host.as_deref()).ok_or(Error::NoDebianMirror)
        }
    }
}

/// What else the host takes from Debian: whether `-updates` of the archive at `url`, and the archive of its security
/// updates.
pub(crate) fn pockets(mirror: &Mirror, url: &str) -> Result<(bool, Option<String>), Error> {
    if *mirror != Mirror::Configured {
        return Ok((false, None));
    }
    let mut known = command("apt-get");
    known.args(["indextargets", "Created-By: Packages"]);
    let mut targets = from_stanzas(&ask("apt-get", known)?.stdout);
    let mut configured = command("apt-get");
    configured.args(["--print-uris", "update"]);
    targets.extend(from_uris(&ask("apt-get", configured)?.stdout));
    Ok(pockets_of(&targets, url))
}

fn pockets_of(targets: &[Target], url: &str) -> (bool, Option<String>) {
    let updates = targets.iter().any(|target| {
        target.url == url
            && target.release.ends_with("-updates")
            && !target.release.ends_with("-proposed-updates")
    });
    let security = targets.iter().find(|target| {
        let debian = matches!(target.origin.as_str(), "Debian" | "");
        let host = target.release.strip_suffix("-security").is_some_and(|base| SUITES.contains(&base));
        debian && host && check(&target.url).is_ok()
    });
    (updates, security.map(|target| target.url.clone()))
}

/// How the host of a URL begins that is the machine itself.
const LOOPBACK: [&str; 3] = ["//localhost", "//127.", "//[::1]"];

/// Whether a URL, or a text with one, names the machine itself, which is another one in a guest. It must be without a
/// user name.
pub(crate) fn loops_back(url: &str) -> bool {
    let url = url.to_ascii_lowercase();
    LOOPBACK.iter().any(|host| url.contains(host))
}

/// The code name of the host's release if the host is Debian (os-release(5)).
fn host_release(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME").unwrap_or_default())
}

/// Reads the stanzas that `apt-get indextargets` prints.
fn from_stanzas(text: &str) -> Vec<Target> {
    let mut targets = Vec::new();
    for stanza in text.split("\n\n") {
        let mut target = Target::default();
        for line in stanza.lines() {
            let Some((field, value)) = line.split_once(": ") else { continue };
            match field {
                "Repo-URI" => target.url = value.to_owned(),
                "Release" => target.release = value.to_owned(),
                "Origin" => target.origin = value.to_owned(),
                "Label" => target.label = value.to_owned(),
                "Component" => target.component = value.to_owned(),
                _ => {}
            }
        }
        if !target.url.is_empty() {
            targets.push(target);
        }
    }
    targets
}

/// Reads the lines of `apt-get --print-uris update`: `'URL/dists/RELEASE/InRelease' FILE SIZE`.
fn from_uris(text: &str) -> Vec<Target> {
    let target = |line: &str| {
        let uri = line.strip_prefix('\'')?.split('\'').next()?;
        let (url, release) = uri.strip_suffix("/InRelease")?.rsplit_once("/dists/")?;
        Some(Target { url: format!("{url}/"), release: release.to_owned(), ..Target::default() })
    };
    text.lines().filter_map(target).collect()
}

/// The URL to use; `host` is the host's own release if the host is Debian.
fn choose(targets: &[Target], host: Option<&str>) -> Option<String> {
    let ranked = targets.iter().filter_map(|target| Some((rank(target, host)?, target)));
    // min_by_key keeps the first of equals: the order of the sources is the user's.
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, target)| target.url.clone())
}

/// How well a target tells where the Debian archive is; lower is better, `None` is not at all.
fn rank(target: &Target, host: Option<&str>) -> Option<u8> {
    check(&target.url).ok()?;
    if target.release.contains("security")
        || target.release.contains('/')
        || target.label.contains("Security")
    {
        return None;
    }
    let base = ["-proposed-updates", "-updates", "-backports", "-backports-sloppy"]
        .iter()
        .find_map(|pocket| target.release.strip_suffix(pocket));
    let name = base.unwrap_or(&target.release);
    match target.origin.as_str() {
        "Debian" | "Debian Backports" => {}
        // No word from the archive: the name must do. A third party can use Debian's names, but then the
        // keyring does not fit and apt refuses it.
        "" if host.is_some() && (SUITES.contains(&name) || host == Some(name)) => {}
        _ => return None,
    }
    if !matches!(target.component.as_str(), "" | "main") {
        return None;
    }
    Some(match base {
        None if host == Some(name) => 0,
        None if name == crate::catalog::SUITE => 1,
        None => 2,
        Some(_) => 3,
    })
}

/// Refuses what is no archive URL or could break out of a line of a sources file.
fn check(url: &str) -> Result<(), Error> {
    let bad = |reason| Err(Error::BadMirror { url: printable(url), reason });
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad("it contains a space or a control character");
    }
    let Some((scheme, rest)) = url.split_once(':') else {
        return bad("it has no scheme");
    };
    if !SCHEMES.contains(&scheme) {
        return bad("apt knows no archive under such a scheme");
    }
    match scheme {
        "file" | "mirror+file" if !rest.starts_with('/') => bad("the path is not absolute"),
        "file" | "mirror+file" => Ok(()),
        _ if rest.strip_prefix("//").is_none_or(|host| host.is_empty() || host.starts_with('/')) => {
            bad("it names no host")
        }
        _ => Ok(()),
    }
}

/// `text` in one line fit for a terminal, without the user name and password that a URL may carry.
pub(crate) fn printable(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        words.push(match word.split_once("://") {
            Some((scheme, rest)) => {
                let authority = rest.split('/').next().unwrap_or(rest);
                let host = authority.rfind('@').map_or(0, |at| at + 1);
                format!("{scheme}://{}", &rest[host..])
            }
            None => word.to_owned(),
        });
    }
    words.join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(url: &str, release: &str, origin: &str, label: &str) -> String {
        format!(
            "MetaKey: main/binary-amd64/Packages\nOrigin: {origin}\nLabel: {label}\nComponent: main\n\
             Created-By: Packages\nFallback-Of: \nRelease: {release}\nRepo-URI: {url}\nTarget-Of: deb\n"
        )
    }

    #[test]
    fn the_host_release_wins_over_third_parties_security_and_backports() {
        let text = [
            stanza("https://third.example/debian/", "bookworm", "Vendor", "Vendor"),
            stanza(
                "http://security.example/debian-security/",
                "bookworm-security",
                "Debian",
                "Debian-Security",
            ),
            stanza(
                "http://other.example/debian/",
                "bookworm-backports",
                "Debian Backports",
                "Debian Backports",
            ),
            stanza("http://mirror.example/debian/", "bookworm", "Debian", "Debian"),
            stanza("http://later.example/debian/", "bookworm", "Debian", "Debian"),
        ]
        .join("\n");
        let targets = from_stanzas(&text);
        assert_eq!(targets.len(), 5);
        assert_eq!(choose(&targets, Some("bookworm")).as_deref(), Some("http://mirror.example/debian/"));
        // A pocket of the same archive is better than nothing.
        assert_eq!(choose(&targets[..3], Some("bookworm")).as_deref(), Some("http://other.example/debian/"));
        assert_eq!(choose(&targets[..2], Some("bookworm")), None);
    }

    #[test]
    fn without_lists_the_names_decide() {
        let text = "'https://third.example/apt/dists/cloud-sdk-bookworm/InRelease' f 0 \n\
                    'http://m.example/debian-security/dists/bookworm-security/InRelease' f 0 \n\
                    'http://m.example/debian/dists/bookworm-updates/InRelease' f 0 \n\
                    'http://n.example/debian/dists/bookworm/InRelease' f 0 \n\
                    'http://n.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' f 0 \n";
        let targets = from_uris(text);
        assert_eq!(targets.len(), 4);
        assert_eq!(choose(&targets, Some("bookworm")).as_deref(), Some("http://n.example/debian/"));
        assert_eq!(choose(&targets, None), None, "a host that is not Debian");
    }

    #[test]
    fn the_host_says_whether_there_are_updates() {
        let text = "'http://m.example/debian-security/dists/bookworm-security/InRelease' f 0 \n\
                    'http://m.example/debian/dists/bookworm-updates/InRelease' f 0 \n\
                    'http://x.example/odd/dists/odd-security/InRelease' f 0 \n\
                    'http://n.example/debian/dists/bookworm-proposed-updates/InRelease' f 0 \n";
        let targets = from_uris(text);
        let security = Some("http://m.example/debian-security/".to_owned());
        assert_eq!(pockets_of(&targets, "http://m.example/debian/"), (true, security.clone()));
        assert_eq!(pockets_of(&targets, "http://n.example/debian/"), (false, security));
        assert_eq!(pockets_of(&targets[2..], "http://m.example/debian/"), (false, None));
    }

    #[test]
    fn ubuntu_has_no_debian_mirror() {
        let text = stanza("http://archive.example/ubuntu/", "noble", "Ubuntu", "Ubuntu");
        assert_eq!(choose(&from_stanzas(&text), None), None);
        assert_eq!(host_release("NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_CODENAME=noble\n"), None);
        assert_eq!(host_release("ID=debian\nVERSION_CODENAME=\"trixie\"\n").as_deref(), Some("trixie"));
    }

    #[test]
    fn a_url_cannot_break_out_of_its_line() {
        for bad in ["", "debian", "/srv/debian", "http:/x", "http:///debian", "cdrom:[x]/", "file:relative"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for bad in ["http://x/debian\nTrusted: yes", "http://x/debian stable", "http://x/\u{1b}[2J"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in
            ["http://x/debian", "https://u:p@x:1/debian/", "file:///srv", "file:/srv", "mirror+file:/etc/m"]
        {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn passwords_and_escapes_are_not_shown() {
        assert_eq!(printable("http://user:p@ss@host/debian/x@y"), "http://host/debian/x@y");
        assert_eq!(printable("bad \u{1b}[31mred\n\tnext"), "bad [31mred next");
    }
}
