//! Shared folders: what the user says of one, and the processes that serve them.

use crate::disk::parts;
use host_share::{Cache, Options, Owner, Protocol, Share, ShareLink};
use serde::Deserialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Most bytes of a tag: as many as virtio-fs has room for.
const MOST_TAG: usize = 36;
/// The tag of a folder that has none: the first one's, and what the others' begin with.
const TAG: &str = "share";

/// A folder of the host's that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareChoice {
    /// The folder.
    pub folder: PathBuf,
    /// What the guest mounts it by.
    #[serde(default)]
    pub tag: Option<String>,
    /// The guest can change nothing.
    #[serde(default)]
    pub ro: bool,
    /// What carries it.
    #[serde(default)]
    pub protocol: ProtocolChoice,
    /// How long the guest may believe what it was told; as long as is usual, if it does not say.
    #[serde(default, deserialize_with = "cache")]
    pub cache: Option<Cache>,
    /// Whose the host user's files are in the guest.
    #[serde(default, deserialize_with = "owner")]
    pub owner: Option<Owner>,
}

/// What carries a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProtocolChoice {
    /// FUSE on virtio-fs.
    #[default]
    #[serde(rename = "virtiofs")]
    Virtiofs,
    /// 9P2000.L on virtio-9p.
    #[serde(rename = "9p")]
    Nine,
}

/// A shared folder that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShareMistake {
    /// No folder.
    #[error("the shared folder's name is empty; write --share DIR")]
    NoFolder,
    /// An option that there is not.
    #[error(
        "there is no option {0:?} of a shared folder; they are ro, 9p, cache=auto|always|none and owner=UID:GID; a comma in a \
         folder's name is written twice"
    )]
    Option(String),
    /// Said twice.
    #[error("the option {0} of a shared folder is given twice")]
    Twice(String),
}

fn cache<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Cache>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || serde::de::Error::custom(format!("the cache {text:?} is none of auto, always and none"));
    Cache::of_word(&text).map(Some).ok_or_else(wrong)
}

fn owner<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Owner>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || serde::de::Error::custom(format!("the owner {text:?} is not UID:GID, such as 1000:1000"));
    owner_of(&text).map(Some).ok_or_else(wrong)
}

fn owner_of(text: &str) -> Option<Owner> {
    let (uid, gid) = text.split_once(':')?;
    Some(Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
}

impl FromStr for ShareChoice {
    type Err = ShareMistake;

    fn from_str(text: &str) -> Result<Self, ShareMistake> {
        let mut parts = parts(text).into_iter();
        let first = parts.next().unwrap_or_default();
        // No tag has a slash: a colon before one belongs to the folder's name.
        let (folder, tag) = match first.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((folder, tag)) => (folder.to_owned(), Some(tag.to_owned())),
            None => (first, None),
        };
        if folder.is_empty() {
            return Err(ShareMistake::NoFolder);
        }
        let protocol = ProtocolChoice::default();
        let mut share =
            ShareChoice { folder: folder.into(), tag, ro: false, protocol, cache: None, owner: None };
        let mut seen = Vec::new();
        for part in parts {
            let wrong = || ShareMistake::Option(part.clone());
            let (key, value) = part.split_once('=').map_or((part.as_str(), None), |(k, v)| (k, Some(v)));
            match (key, value) {
                ("ro", None) => share.ro = true,
                ("9p", None) => share.protocol = ProtocolChoice::Nine,
                ("cache", Some(word)) => share.cache = Some(Cache::of_word(word).ok_or_else(wrong)?),
                ("owner", Some(text)) => share.owner = Some(owner_of(text).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            }
            if seen.contains(&key.to_owned()) {
                return Err(ShareMistake::Twice(key.to_owned()));
            }
            seen.push(key.to_owned());
        }
        Ok(share)
    }
}

impl ShareChoice {
    /// The same with a relative path counted from `directory`.
    pub fn relative_to(mut self, directory: &Path) -> ShareChoice {
        self.folder = directory.join(self.folder);
        self
    }

    /// What the guest mounts it by, if it is number `at`, from 0.
    pub fn tag(&self, at: usize) -> String {
        match (&self.tag, at) {
            (Some(tag), _) => tag.clone(),
            (None, 0) => TAG.to_owned(),
            (None, _) => format!("{TAG}{}", at + 1),
        }
    }

    /// Starts the process that serves it.
    ///
    /// # Errors
    /// What is wrong with the folder, by its name.
    pub fn serve(&self) -> anyhow::Result<Arc<ShareLink>> {
        let options = Options {
            read_only: self.ro,
            cache: self.cache.unwrap_or_default(),
            owner: self.owner.unwrap_or_default(),
            ..Options::default()
        };
        let protocol = match self.protocol {
            ProtocolChoice::Virtiofs => Protocol::Fuse,
            ProtocolChoice::Nine => Protocol::Nine,
        };
        Ok(Arc::new(Share { folder: self.folder.clone(), protocol, options }.spawn()?))
    }

    /// The lines that describe it in TOML; `path` makes text of a path, `quoted` of other text.
    ///
    /// # Errors
    /// If a path cannot be written.
    pub fn to_toml(
        &self,
        path: impl Fn(&Path) -> anyhow::Result<String>,
        quoted: impl Fn(&str) -> String,
    ) -> anyhow::Result<String> {
        let ShareChoice { folder, tag, ro, protocol, cache, owner } = self;
        let mut text = format!("\n[[share]]\nfolder = {}\n", path(folder)?);
        if let Some(tag) = tag {
            let _ = writeln!(text, "tag = {}", quoted(tag));
        }
        if *ro {
            text.push_str("ro = true\n");
        }
        if *protocol == ProtocolChoice::Nine {
            text.push_str("protocol = \"9p\"\n");
        }
        if let Some(cache) = cache {
            let _ = writeln!(text, "cache = \"{}\"", cache.word());
        }
        if let Some(Owner { uid, gid }) = owner {
            let _ = writeln!(text, "owner = \"{uid}:{gid}\"");
        }
        Ok(text)
    }

    /// What is wrong with it under that tag, if anything, besides what it is on the host.
    fn problem(&self, tag: &str) -> Option<String> {
        let name = self.folder.display();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.folder.as_os_str().is_empty() {
            return Some(ShareMistake::NoFolder.to_string());
        }
        if tag.is_empty() || !tag.chars().all(plain) || tag.starts_with('.') {
            return Some(format!(
                "{tag:?} cannot be the tag of the shared folder {name}: a tag has letters, digits, dots, hyphens and \
                 underscores, and does not begin with a dot; write --share DIR:TAG"
            ));
        }
        if tag.len() > MOST_TAG {
            return Some(format!(
                "the tag {tag} of the shared folder {name} is too long; choose one of at most {MOST_TAG} characters"
            ));
        }
        (self.protocol == ProtocolChoice::Nine && self.cache.is_some()).then(|| {
            format!(
                "for the shared folder {name}, cache has no effect with 9p: there the guest chooses when it mounts; leave one \
                 out"
            )
        })
    }
}

/// What is wrong with these folders, if anything, besides what they are on the host.
pub fn problem(shares: &[ShareChoice]) -> Option<String> {
    let tags: Vec<String> = shares.iter().enumerate().map(|(at, share)| share.tag(at)).collect();
    shares.iter().zip(&tags).enumerate().find_map(|(at, (share, tag))| {
        let twice = tags.iter().take(at).any(|other| other == tag);
        share.problem(tag).or_else(|| {
            let name = share.folder.display();
            let text = format!(
                "two shared folders have the tag {tag}; give {name} another one, as in --share DIR:TAG"
            );
            twice.then_some(text)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(text: &str) -> ShareChoice {
        text.parse().unwrap()
    }

    #[test]
    fn a_share_is_a_folder_a_tag_and_options() {
        let expected = ShareChoice {
            folder: "a,b".into(),
            tag: Some("t".into()),
            ro: true,
            protocol: ProtocolChoice::Virtiofs,
            cache: Some(Cache::None),
            owner: Some(Owner { uid: 1000, gid: 100 }),
        };
        assert_eq!(share("a,,b:t,ro,cache=none,owner=1000:100"), expected);
        assert_eq!(share("/a:b/c").folder, Path::new("/a:b/c"));
        assert_eq!((share("/a:b:c").folder, share("/a:b:c").tag), ("/a:b".into(), Some("c".into())));
        assert_eq!(share(".,9p").protocol, ProtocolChoice::Nine);
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for wrong in
            ["x,", "x,rw", "x,ro=1", "x,cache", "x,cache=some", "x,owner=me", "x,owner=1", "x,owner=1:-1"]
        {
            assert!(matches!(wrong.parse::<ShareChoice>(), Err(ShareMistake::Option(_))), "{wrong}");
        }
        for wrong in ["", ",ro", ":tag"] {
            assert_eq!(wrong.parse::<ShareChoice>(), Err(ShareMistake::NoFolder));
        }
        assert_eq!("x,ro,ro".parse::<ShareChoice>(), Err(ShareMistake::Twice("ro".into())));
    }

    #[test]
    fn tags_are_told_apart_and_fit() {
        let problem = |texts: &[&str]| problem(&texts.iter().map(|text| share(text)).collect::<Vec<_>>());
        assert_eq!(problem(&["a", "b", "c:x"]), None);
        assert_eq!(share("b").tag(1), "share2");
        assert!(problem(&["a", "b:share"]).unwrap().contains("give b another one"));
        assert!(
            problem(&["a:x", "b", "c:share2"]).unwrap().contains("two shared folders have the tag share2")
        );
        assert_eq!(problem(&[&format!("a:{}", "t".repeat(36))]), None);
        assert!(problem(&[&format!("a:{}", "t".repeat(37))]).unwrap().contains("at most 36"));
        for odd in ["a:", "a:.", "a:..", "a:b c", "a:ü", "a:.x"] {
            assert!(problem(&[odd]).unwrap().contains("cannot be the tag"), "{odd}");
        }
        assert!(problem(&["a,9p,cache=auto"]).unwrap().contains("no effect"));
    }

    #[test]
    fn what_it_writes_it_reads() {
        #[derive(Deserialize)]
        struct File {
            share: Vec<ShareChoice>,
        }
        let quoted = |text: &str| format!("{text:?}");
        for text in ["/a", "/a:t,ro", "/a:t,9p,owner=1:2", "/a,cache=always"] {
            let toml = share(text).to_toml(|path| Ok(quoted(&path.display().to_string())), quoted).unwrap();
            assert_eq!(toml::from_str::<File>(&toml).unwrap().share, [share(text)], "{toml}");
        }
        for wrong in ["cache = \"x\"", "owner = \"1\"", "protocol = \"nfs\"", "color = 1"] {
            let toml = format!("[[share]]\nfolder = \"a\"\n{wrong}\n");
            assert!(toml::from_str::<File>(&toml).is_err(), "{toml}");
        }
    }
}
