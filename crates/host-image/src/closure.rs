//! What a whole system is made of: packages with everything they depend on, as apt resolves it.
use crate::apt::{Archive, Deb, planned};
use crate::child::ask;
use crate::error::Error;

impl Archive {
    /// What installing `wanted` (names, or patterns of apt-patterns(7)) on an empty system takes, without what is only
    /// recommended, in the order in which apt would unpack it.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<Deb>, Error> {
        let mut uris = self.command("apt-get");
        uris.args(["-qq", "--yes", "--print-uris", "--no-install-recommends", "install"]).args(wanted);
        let finished = ask("apt-get", uris)?;
        self.succeeded("resolving what packages depend on", &finished)?;
        Ok(finished.stdout.lines().filter_map(planned).collect())
    }
}
