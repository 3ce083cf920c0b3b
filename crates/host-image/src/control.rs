//! What a package says of itself (deb-control(5)): its control file, its scripts, its conffiles, its triggers.
use crate::deb::{Contents, Stop, read_control};
use crate::error::Error;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The largest member that is believed, in bytes; the largest there are are lists of symbols, of some 100 KiB.
const LIMIT: u64 = 16 << 20;

/// A member of the control archive besides the control file: a script, or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Permission bits.
    pub mode: u32,
    /// Contents.
    pub data: Vec<u8>,
}

/// The control archive of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// The control file: one stanza, which ends with a line feed.
    pub stanza: String,
    /// The other members by name.
    pub members: BTreeMap<String, Member>,
}

impl Control {
    /// Reads it from the package file `deb` of the package `name`.
    pub fn read(deb: &Path, name: &str) -> Result<Control, Error> {
        let control = read_control(deb, name, |archive| Ok((members(archive)?, false)))?;
        let wrong = |reason: &str| Error::Package { package: name.to_owned(), reason: reason.to_owned() };
        if control.field("Package") != Some(name) {
            return Err(wrong("has a control file of another package, or none"));
        }
        if control.field("Architecture").is_none_or(|value| value.is_empty()) {
            return Err(wrong("does not say what architecture it is for"));
        }
        Ok(control)
    }

    /// A field of the stanza that fits one line.
    pub fn field(&self, name: &str) -> Option<&str> {
        let of_field = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        let line = self.stanza.lines().find(of_field)?;
        Some(line.get(name.len() + 1..)?.trim())
    }

    /// What dpkg calls the package's files in its database: with the architecture where several may be installed at
    /// once.
    pub fn database_name(&self) -> String {
        let name = self.field("Package").unwrap_or_default();
        match (self.field("Multi-Arch"), self.field("Architecture")) {
            (Some("same"), Some(architecture)) => format!("{name}:{architecture}"),
            _ => name.to_owned(),
        }
    }

    /// The configuration files: absolute paths.
    pub fn conffiles(&self) -> Vec<String> {
        // A line may begin with a flag, which today is only that of a file that is no longer there.
        self.lines("conffiles").into_iter().filter(|line| line.starts_with('/')).collect()
    }

    /// What it wants to be told of (deb-triggers(5)): names, and whether nobody waits for that.
    pub fn interests(&self) -> Vec<(String, bool)> {
        let interest = |line: String| {
            let (directive, name) = line.split_once(char::is_whitespace)?;
            let silent = match directive {
                "interest" | "interest-await" => false,
                "interest-noawait" => true,
                _ => return None,
            };
            Some((name.trim().to_owned(), silent))
        };
        self.lines("triggers").into_iter().filter_map(interest).collect()
    }

    /// The lines of a member, without comments and empty ones.
    fn lines(&self, member: &str) -> Vec<String> {
        let data = self.members.get(member).map_or(&[][..], |member| &member.data);
        let text = String::from_utf8_lossy(data);
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// Reads a control archive.
fn members(archive: &mut Contents) -> Result<Control, Stop> {
    let mut control = Control::default();
    for entry in archive.entries().map_err(Stop::Broken)? {
        let mut entry = entry.map_err(Stop::Broken)?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.strip_prefix("./").unwrap_or(&path).to_owned();
        if entry.size() > LIMIT {
            return Err(Stop::TooLarge(name));
        }
        let mode = entry.header().mode().map_err(Stop::Broken)? & 0o777;
        let mut data = Vec::new();
        entry.read_to_end(&mut data).map_err(Stop::Broken)?;
        if name == "control" {
            control.stanza = format!("{}\n", String::from_utf8_lossy(&data).trim_end());
        } else if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            control.members.insert(name, Member { mode, data });
        }
    }
    Ok(control)
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// The control archive with these members.
    pub fn control(stanza: &str, members: &[(&str, &str)]) -> Control {
        let member = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), Member { mode: 0o644, data: text.as_bytes().to_vec() })
        };
        Control { stanza: stanza.to_owned(), members: members.iter().map(member).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::control;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let control =
            control("Package: a\nVersion-Odd: 0\nVersion: 1:2\nDescription: b\n Version: no\n", &[]);
        assert_eq!(control.field("Version"), Some("1:2"));
        assert_eq!(control.field("Architecture"), None);
    }

    #[test]
    fn the_database_tells_architectures_apart_where_several_may_be() {
        let same = control("Package: libc6\nArchitecture: riscv64\nMulti-Arch: same\n", &[]);
        assert_eq!(same.database_name(), "libc6:riscv64");
        let foreign = control("Package: dpkg\nArchitecture: riscv64\nMulti-Arch: foreign\n", &[]);
        assert_eq!(foreign.database_name(), "dpkg");
    }

    #[test]
    fn lists_are_read_without_comments_and_flags() {
        let control = control(
            "Package: a\n",
            &[
                ("conffiles", "/etc/a\nremove-on-upgrade /etc/b\n\n/etc/c d\n"),
                (
                    "triggers",
                    "# Triggers\n\ninterest /usr/share/man # files\ninterest-noawait ldconfig\nactivate-noawait x\n",
                ),
            ],
        );
        assert_eq!(control.conffiles(), ["/etc/a", "/etc/c d"]);
        let wanted = [("/usr/share/man".to_owned(), false), ("ldconfig".to_owned(), true)];
        assert_eq!(control.interests(), wanted);
    }
}
