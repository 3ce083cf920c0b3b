//! The database of dpkg for a system whose packages are unpacked and not yet configured.
//!
//! Sources: dpkg(1), deb-triggers(5), and the files of dpkg's own database (`/var/lib/dpkg`). A package is there as dpkg
//! itself leaves it between `--unpack` and `--configure`: its configuration files lie beside their places under a name
//! that ends in `.dpkg-new`, and the status file calls them new. So `dpkg --configure` does the rest, and a system that
//! was unpacked elsewhere, by a program that can do so without the packages' own processor, is no different from one that
//! dpkg unpacked. What is left to do are the scripts that dpkg would have run before ("preinst"); [`ORDER`] names them.
use crate::control::Control;
use std::collections::BTreeMap;

/// Where the names of the packages' files in the database are listed, in the order in which they were unpacked: for
/// who runs their scripts.
pub(crate) const ORDER: &str = "var/lib/dpkg/hostel-order";

/// A package as the database has it.
pub(crate) struct Unpacked<'a> {
    pub control: &'a Control,
    /// Its files in the order of the archive, as dpkg lists them ("/.", "/usr", "/usr/bin/a").
    pub list: &'a [String],
    /// Whether it is there only because others depend on it.
    pub automatic: bool,
}

/// A file of the database: a relative path, permission bits and contents.
pub(crate) type DatabaseFile = (String, u32, Vec<u8>);

/// The database's files.
pub(crate) fn files(packages: &[Unpacked<'_>]) -> Vec<DatabaseFile> {
    let mut files: Vec<DatabaseFile> = Vec::new();
    let (mut status, mut automatic, mut order) = (String::new(), String::new(), String::new());
    let mut triggers: BTreeMap<String, String> = BTreeMap::new();
    for package in packages {
        let control = package.control;
        let name = control.database_name();
        let info = |member: &str| format!("var/lib/dpkg/info/{name}.{member}");
        status.push_str(&stanza(control));
        order.push_str(&format!("{name}\n"));
        if package.automatic {
            let field = |name| control.field(name).unwrap_or_default();
            let (name, architecture) = (field("Package"), field("Architecture"));
            automatic
                .push_str(&format!("Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n"));
        }
        let list: String = package.list.iter().map(|path| format!("{path}\n")).collect();
        files.push((info("list"), 0o644, list.into_bytes()));
        for (member, contents) in &control.members {
            files.push((info(member), contents.mode, contents.data.clone()));
        }
        for (trigger, silent) in control.interests() {
            let suffix = if silent { "/noawait" } else { "" };
            // Those of paths share a file, the others have one each, which is called like the trigger.
            let (file, line) = match trigger.starts_with('/') {
                true => ("File".to_owned(), format!("{trigger} {name}{suffix}\n")),
                false => (trigger, format!("{name}{suffix}\n")),
            };
            triggers.entry(file).or_default().push_str(&line);
        }
    }
    for (name, text) in triggers {
        files.push((format!("var/lib/dpkg/triggers/{name}"), 0o644, text.into_bytes()));
    }
    files.push(("var/lib/dpkg/info/format".to_owned(), 0o644, b"1\n".to_vec()));
    files.push(("var/lib/dpkg/available".to_owned(), 0o644, Vec::new()));
    files.push((ORDER.to_owned(), 0o644, order.into_bytes()));
    files.push(("var/lib/dpkg/status".to_owned(), 0o644, status.into_bytes()));
    files.push(("var/lib/apt/extended_states".to_owned(), 0o644, automatic.into_bytes()));
    files
}

/// The package's stanza in the status file.
fn stanza(control: &Control) -> String {
    let mut text = String::new();
    for line in control.stanza.lines() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with("Package:") {
            text.push_str("Status: install ok unpacked\n");
        }
    }
    let conffiles = control.conffiles();
    if !conffiles.is_empty() {
        text.push_str("Conffiles:\n");
        for path in conffiles {
            text.push_str(&format!(" {path} newconffile\n"));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::samples::control;

    fn text(files: &[DatabaseFile], name: &str) -> String {
        let file = files.iter().find(|(path, _, _)| path == name);
        String::from_utf8(file.unwrap_or_else(|| panic!("no {name}")).2.clone()).unwrap()
    }

    #[test]
    fn a_package_is_unpacked_and_its_conffiles_are_new() {
        let control = control(
            "Package: a\nArchitecture: all\nVersion: 1\nDescription: short\n long\n",
            &[("conffiles", "/etc/a\n"), ("postinst", "#!/bin/sh\n")],
        );
        let list = ["/.".to_owned(), "/etc".to_owned()];
        let files = files(&[Unpacked { control: &control, list: &list, automatic: true }]);
        assert_eq!(
            text(&files, "var/lib/dpkg/status"),
            "Package: a\nStatus: install ok unpacked\nArchitecture: all\nVersion: 1\nDescription: short\n long\n\
             Conffiles:\n /etc/a newconffile\n\n"
        );
        assert_eq!(text(&files, "var/lib/dpkg/info/a.list"), "/.\n/etc\n");
        assert_eq!(text(&files, "var/lib/dpkg/info/a.postinst"), "#!/bin/sh\n");
        assert_eq!(text(&files, ORDER), "a\n");
        let states = "Package: a\nArchitecture: all\nAuto-Installed: 1\n\n";
        assert_eq!(text(&files, "var/lib/apt/extended_states"), states);
    }

    #[test]
    fn triggers_on_paths_share_a_file_and_named_ones_do_not() {
        let first = control(
            "Package: libc-bin\nArchitecture: riscv64\n",
            &[("triggers", "interest-noawait ldconfig\ninterest /usr/a\n")],
        );
        let second = control(
            "Package: l\nArchitecture: riscv64\nMulti-Arch: same\n",
            &[("triggers", "interest ldconfig\n")],
        );
        let unpacked = |control| Unpacked { control, list: &[], automatic: false };
        let files = files(&[unpacked(&first), unpacked(&second)]);
        assert_eq!(text(&files, "var/lib/dpkg/triggers/ldconfig"), "libc-bin/noawait\nl:riscv64\n");
        assert_eq!(text(&files, "var/lib/dpkg/triggers/File"), "/usr/a libc-bin\n");
        assert_eq!(text(&files, "var/lib/apt/extended_states"), "");
    }
}
