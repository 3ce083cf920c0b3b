//! The socket device: where the host finds the guest's ports, and the guest the host's.

use crate::description::Description;
use crate::disk::parts;
use anyhow::{Context, anyhow};
use host_vsock::UnixHost;
use serde::Deserialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;
use vm_machine::ClockKind;

/// What was said of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsockChoice {
    /// The socket by which the host calls the guest, and what the names of those begin with that the guest calls.
    pub path: PathBuf,
    /// The guest's context id.
    #[serde(default)]
    pub cid: Option<u32>,
    /// Whether the guest may call the host.
    #[serde(default, deserialize_with = "out")]
    pub host: bool,
}

/// One that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VsockMistake {
    /// No path.
    #[error("the socket's path is empty; write --vsock PATH")]
    NoPath,
    /// An option that there is not.
    #[error(
        "there is no option {0:?} of a socket device; they are cid=N and host=allow; a comma in a path is written twice"
    )]
    Option(String),
    /// Said twice.
    #[error("the option {0} of a socket device is given twice")]
    Twice(String),
}

fn out<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "allow" => Ok(true),
        "refuse" => Ok(false),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither allow nor refuse"))),
    }
}

impl FromStr for VsockChoice {
    type Err = VsockMistake;

    fn from_str(text: &str) -> Result<Self, VsockMistake> {
        let mut parts = parts(text).into_iter();
        let path = parts.next().filter(|path| !path.is_empty()).ok_or(VsockMistake::NoPath)?;
        let mut vsock = VsockChoice { path: path.into(), cid: None, host: false };
        let mut seen = Vec::new();
        for part in parts {
            let wrong = || VsockMistake::Option(part.clone());
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            match (key, value) {
                // `parse` would take a plus sign.
                ("cid", number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    vsock.cid = Some(number.parse().map_err(|_| wrong())?);
                }
                ("host", "allow") => vsock.host = true,
                ("host", "refuse") => vsock.host = false,
                _ => return Err(wrong()),
            }
            if seen.contains(&key.to_owned()) {
                return Err(VsockMistake::Twice(key.to_owned()));
            }
            seen.push(key.to_owned());
        }
        Ok(vsock)
    }
}

impl VsockChoice {
    /// The same with a relative path counted from `directory`.
    pub fn relative_to(self, directory: &Path) -> VsockChoice {
        VsockChoice { path: directory.join(self.path), ..self }
    }

    /// The guest's context id.
    pub fn cid(&self) -> u32 {
        self.cid.unwrap_or(vm_machine::FIRST_CID)
    }

    /// Makes the socket, and says where it is.
    ///
    /// # Errors
    /// What is wrong with the path.
    pub fn open(&self, say: impl Fn(&str)) -> anyhow::Result<Arc<UnixHost>> {
        let host = UnixHost::open(&self.path, self.host).context("cannot make the guest's socket device")?;
        let path = self.path.display();
        let out =
            if self.host { format!(", and its connections to port N go to {path}_N") } else { String::new() };
        say(&format!("the guest's ports are at {path}{out}"));
        Ok(Arc::new(host))
    }

    /// The lines that describe it in TOML; `path` makes text of a path.
    ///
    /// # Errors
    /// If the path cannot be written.
    pub fn to_toml(&self, path: impl Fn(&Path) -> anyhow::Result<String>) -> anyhow::Result<String> {
        let VsockChoice { path: socket, cid, host } = self;
        let mut text = format!("\n[vsock]\npath = {}\n", path(socket)?);
        if let Some(cid) = cid {
            let _ = writeln!(text, "cid = {cid}");
        }
        if *host {
            text.push_str("host = \"allow\"\n");
        }
        Ok(text)
    }
}

/// Refuses a socket device that the machine cannot have; with the keys that are to blame.
///
/// # Errors
/// What to do instead.
pub fn check(machine: &Description) -> Result<(), (&'static [&'static str], anyhow::Error)> {
    let Some(vsock) = &machine.vsock else { return Ok(()) };
    let (board, cid) = (machine.machine, vsock.cid());
    let (keys, error): (&[_], _) = match () {
        () if vsock.path.as_os_str().is_empty() => (&["vsock"], anyhow!(VsockMistake::NoPath)),
        () if board.disks() == 0 => (
            &["vsock", "machine"],
            anyhow!("the board {board} has no place for a socket device; use --machine virt"),
        ),
        () if machine.clock.0 == ClockKind::Virtual => (
            &["vsock", "clock"],
            anyhow!(
                "connections come when the host makes them, which no virtual clock can repeat; leave --vsock out, or use \
                 --clock real"
            ),
        ),
        // The lower ones and the highest mean others (section 5.10.4 of the VIRTIO specification).
        () if cid < vm_machine::FIRST_CID || cid == u32::MAX => (
            &["vsock"],
            anyhow!(
                "{cid} cannot be a guest's context id; choose one from {} to {}",
                vm_machine::FIRST_CID,
                u32::MAX - 1
            ),
        ),
        () => return Ok(()),
    };
    Err((keys, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vsock(text: &str) -> VsockChoice {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_a_path_and_options() {
        let expected = VsockChoice { path: "/a,b".into(), cid: Some(42), host: true };
        assert_eq!(vsock("/a,,b,cid=42,host=allow"), expected);
        assert_eq!((vsock("v").cid(), vsock("v").host, vsock("v,host=refuse").host), (3, false, false));
        for wrong in ["v,", "v,cid", "v,cid=+3", "v,cid=-1", "v,cid=4294967296", "v,host=yes", "v,ro"] {
            assert!(matches!(wrong.parse::<VsockChoice>(), Err(VsockMistake::Option(_))), "{wrong}");
        }
        assert_eq!("".parse::<VsockChoice>(), Err(VsockMistake::NoPath));
        assert_eq!("v,cid=3,cid=4".parse::<VsockChoice>(), Err(VsockMistake::Twice("cid".into())));
    }

    #[test]
    fn what_it_writes_it_reads() {
        #[derive(Deserialize)]
        struct File {
            vsock: VsockChoice,
        }
        for text in ["/v", "/v,cid=7", "/v,host=allow"] {
            let toml = vsock(text).to_toml(|path| Ok(format!("{:?}", path.display().to_string()))).unwrap();
            assert_eq!(toml::from_str::<File>(&toml).unwrap().vsock, vsock(text), "{toml}");
        }
        for wrong in ["host = \"yes\"", "host = true", "cid = \"3\"", "cid = -1", "color = 1"] {
            let toml = format!("[vsock]\npath = \"/v\"\n{wrong}\n");
            assert!(toml::from_str::<File>(&toml).is_err(), "{toml}");
        }
    }
}
