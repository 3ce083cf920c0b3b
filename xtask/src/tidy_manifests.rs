//! Rules about manifests: folder = crate name, licence, lints, and every dependency by way of
//! `[workspace.dependencies]`.

use crate::tidy::Finding;
use crate::tree::{Package, Tree};
use toml::{Table, Value};

/// What a dependency is for. Build scripts count as the product: they can do anything to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The crate itself or its build script.
    Normal,
    /// Its tests.
    Dev,
}

/// One dependency of a manifest.
pub struct Dependency {
    /// The package's real name, whatever it is called here.
    pub package: String,
    /// The name it has in this manifest.
    pub key: String,
    /// What for.
    pub kind: Kind,
    /// Whether version or path come from the workspace.
    pub inherited: bool,
}

/// Every dependency of `package`, also those of single targets.
pub fn dependencies(package: &Package, workspace: &Table) -> Vec<Dependency> {
    let shared = workspace.get("workspace").and_then(|w| w.get("dependencies"));
    let mut all = Vec::new();
    tables(&package.manifest, shared, &mut all);
    let targets = package.manifest.get("target").and_then(Value::as_table);
    for table in targets.into_iter().flat_map(Table::values).filter_map(Value::as_table) {
        tables(table, shared, &mut all);
    }
    all
}

fn tables(of: &Table, shared: Option<&Value>, all: &mut Vec<Dependency>) {
    let kinds = [
        ("dependencies", Kind::Normal),
        ("build-dependencies", Kind::Normal),
        ("dev-dependencies", Kind::Dev),
    ];
    for (name, kind) in kinds {
        for (key, value) in of.get(name).and_then(Value::as_table).into_iter().flatten() {
            let renamed = |v: &Value| v.get("package").and_then(Value::as_str).map(str::to_owned);
            // A crate may switch on features of its own for its tests; there is no version to choose.
            let itself = value.get("path").and_then(Value::as_str) == Some(".");
            let inherited = itself || value.get("workspace").and_then(Value::as_bool) == Some(true);
            let from_workspace = || shared.and_then(|s| s.get(key)).and_then(renamed);
            let package = renamed(value).or_else(from_workspace).unwrap_or_else(|| key.clone());
            all.push(Dependency { package, key: key.clone(), kind, inherited });
        }
    }
}

/// Checks every manifest.
pub fn check(tree: &Tree, found: &mut Vec<Finding>) {
    let licence =
        tree.workspace.get("workspace").and_then(|w| w.get("package")).and_then(|p| p.get("license"));
    if licence.and_then(Value::as_str) != Some("MIT OR Apache-2.0") {
        let message = "workspace.package.license must be \"MIT OR Apache-2.0\"";
        found.push(Finding::error("Cargo.toml", "licence", message));
    }
    for text in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if tree.file(text).is_none() {
            found.push(Finding::error(text, "licence", "the text of the licence is missing"));
        }
    }
    for package in &tree.packages {
        manifest(package, tree, found);
    }
}

fn manifest(package: &Package, tree: &Tree, found: &mut Vec<Finding>) {
    let place = format!("{}/Cargo.toml", package.folder);
    let mut error = |rule, message: String| found.push(Finding::error(place.as_str(), rule, message));
    let folder = package.folder.rsplit('/').next().unwrap_or_default();
    if package.folder.starts_with("crates/") && folder != package.name {
        error(
            "folder",
            format!("folder `{folder}` holds crate `{}`; they must be called the same", package.name),
        );
    }
    let inherits =
        |table: Option<&Value>| table.and_then(|t| t.get("workspace")).and_then(Value::as_bool) == Some(true);
    for (field, rule) in [("license", "licence"), ("edition", "manifest"), ("rust-version", "manifest")] {
        if !inherits(package.manifest.get("package").and_then(|p| p.get(field))) {
            error(rule, format!("say `{field}.workspace = true` in [package]"));
        }
    }
    if !inherits(package.manifest.get("lints")) {
        error("manifest", "say `workspace = true` in [lints]".to_owned());
    }
    for dependency in dependencies(package, &tree.workspace) {
        if !dependency.inherited {
            let key = &dependency.key;
            error(
                "one list",
                format!("`{key}` must come from [workspace.dependencies]: `{key}.workspace = true`"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::samples::{accepted, manifest, refused};

    const PATH: &str = "crates/support-bits/Cargo.toml";

    #[test]
    fn the_folder_is_called_as_the_crate() {
        let text = manifest("support-words", "");
        refused(&[(PATH, &text)], "folder", PATH, "they must be called the same");
    }

    #[test]
    fn every_crate_has_the_licence() {
        let text = manifest("support-bits", "").replace("license.workspace = true\n", "");
        refused(&[(PATH, &text)], "licence", PATH, "license.workspace");
        let text =
            manifest("support-bits", "").replace("license.workspace = true", "license = \"GPL-2.0-only\"");
        refused(&[(PATH, &text)], "licence", PATH, "license.workspace");
        let text = "[workspace]\n[workspace.package]\nlicense = \"MIT\"\n";
        refused(&[("Cargo.toml", text)], "licence", "Cargo.toml", "MIT OR Apache-2.0");
    }

    #[test]
    fn every_crate_has_the_lints() {
        let text = manifest("support-bits", "").replace("[lints]\nworkspace = true\n", "");
        refused(&[(PATH, &text)], "manifest", PATH, "[lints]");
    }

    #[test]
    fn a_crates_own_features_are_its_own_affair() {
        let line = "[dev-dependencies]\nsupport-bits = { path = \".\", features = [\"testkit\"] }";
        accepted(&[(PATH, &manifest("support-bits", line))]);
    }

    #[test]
    fn versions_are_chosen_in_one_place() {
        let list = ("xtask/allowed-dependencies.txt", "support libc # system calls\n");
        for line in ["libc = \"0.2\"", "libc = { version = \"0.2\" }", "[build-dependencies]\nlibc = \"0.2\""]
        {
            let text = manifest("support-bits", line);
            refused(&[(PATH, &text), list], "one list", PATH, "`libc` must come from");
        }
    }
}
