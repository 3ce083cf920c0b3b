//! The tree as tidy sees it: every text file below a root, and the manifests of its packages.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the workspace of this xtask is.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// One text file.
pub struct File {
    /// Path from the root, with `/` between the parts.
    pub path: String,
    /// Its contents.
    pub text: String,
}

impl File {
    /// The name without folders.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// One package: its folder and its manifest.
pub struct Package {
    /// Folder from the root.
    pub folder: String,
    /// `package.name`, empty if there is none.
    pub name: String,
    /// The parsed `Cargo.toml`.
    pub manifest: toml::Table,
}

/// A tree, read once.
pub struct Tree {
    /// Every UTF-8 file outside `target/`, version control and `exempt` build output, by path.
    pub files: Vec<File>,
    /// Every package below `crates/`, then the other ones.
    pub packages: Vec<Package>,
    /// The workspace's own manifest.
    pub workspace: toml::Table,
}

/// Bigger files are data, not text anybody reads.
const BIGGEST_TEXT: u64 = 4 << 20;

impl Tree {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// If a folder cannot be read or a manifest is not TOML.
    pub fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        walk(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut packages = Vec::new();
        let mut workspace = toml::Table::new();
        for file in files.iter().filter(|f| f.name() == "Cargo.toml") {
            let manifest: toml::Table =
                file.text.parse().with_context(|| format!("{} is not a manifest", file.path))?;
            match file.path.strip_suffix("/Cargo.toml") {
                None => workspace = manifest,
                Some(folder) => {
                    let name =
                        manifest.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str);
                    let name = name.unwrap_or_default().to_owned();
                    packages.push(Package { folder: folder.to_owned(), name, manifest });
                }
            }
        }
        Ok(Tree { files, packages, workspace })
    }

    /// The file at exactly this path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    /// All Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }
}

fn walk(root: &Path, folder: &str, files: &mut Vec<File>) -> Result<()> {
    let here = root.join(folder);
    for entry in fs::read_dir(&here).with_context(|| format!("cannot list {}", here.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), "target" | ".git" | "Cargo.lock") {
            continue;
        }
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &path, files)?;
        } else if kind.is_file() && entry.metadata()?.len() <= BIGGEST_TEXT {
            // What is not UTF-8 is a binary test input, and no rule here is about those.
            if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                files.push(File { path, text });
            }
        }
    }
    Ok(())
}
