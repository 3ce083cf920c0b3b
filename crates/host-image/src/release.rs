//! Reads what a verified `InRelease` file says of the release.

/// The head of a Release file (Debian repository format, "Release" files).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    pub origin: String,
    pub codename: String,
    pub version: String,
    pub date: String,
}

impl Release {
    /// Parses an `InRelease` or `Release` file whose signature apt has checked. Only what stands between
    /// the armour lines is read, which is the signed text (RFC 9580, 7: cleartext signature framework).
    pub fn parse(text: &str) -> Release {
        let mut release = Release::default();
        let body = match text.split_once("-----BEGIN PGP SIGNED MESSAGE-----\n") {
            // The armour's own headers ("Hash: …") end at an empty line.
            Some((_, signed)) => signed.split_once("\n\n").map_or("", |(_, body)| body),
            None => text,
        };
        let body = body.split("-----BEGIN PGP SIGNATURE-----").next().unwrap_or("");
        for line in body.lines() {
            let Some((field, value)) = line.split_once(": ") else { continue };
            let value = value.trim();
            match field {
                "Origin" => release.origin = value.to_owned(),
                "Codename" => release.codename = value.to_owned(),
                "Version" => release.version = value.to_owned(),
                "Date" => release.date = value.to_owned(),
                _ => {}
            }
        }
        release
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signed_text_counts() {
        let text = "Codename: before\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\nCodename: armour\n\n\
                    Origin: Debian\nSuite: stable\nVersion: 13.8\nCodename: trixie\nDate: Sat, 21 Nov 2026 09:15:44 UTC\n\
                    SHA256:\n 00 1 main/Packages\n-----BEGIN PGP SIGNATURE-----\n\nCodename: after\n";
        let release = Release::parse(text);
        assert_eq!(release.origin, "Debian");
        assert_eq!(release.codename, "trixie");
        assert_eq!(release.version, "13.8");
        assert_eq!(release.date, "Sat, 21 Nov 2026 09:15:44 UTC");
    }

    #[test]
    fn a_release_without_armour_is_read_whole() {
        assert_eq!(Release::parse("Origin: Debian\nCodename: trixie\n").codename, "trixie");
    }
}
