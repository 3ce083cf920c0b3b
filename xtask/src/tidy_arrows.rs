//! Rule: dependencies point down. Which layer may use which is a table; third-party crates are listed
//! per layer in `xtask/allowed-dependencies.txt`; `isa` and `fabric` have none but the x86 decoder.

use crate::tidy::Finding;
use crate::tidy_lists::List;
use crate::tidy_manifests::{Dependency, Kind, dependencies};
use crate::tree::{Package, Tree};

/// Layers, bottom first, with what each may use: whole layers, or single crates. A layer's row of
/// the table says so too where crates of one layer may use each other.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("support", 0, &["support"]),
    ("isa", 1, &["support", "isa"]),
    ("fabric", 1, &["support", "fabric"]),
    ("host", 1, &["support", "host"]),
    ("engine", 2, &["support", "isa", "fabric", "engine-core", "engine-mmu", "engine-emit"]),
    ("dev", 2, &["support", "fabric", "host", "dev-core", "dev-pci", "dev-virtio", "dev-sd"]),
    ("vm", 3, &["support", "isa", "fabric", "host", "engine", "dev", "vm"]),
    ("user", 3, &["support", "isa", "fabric", "engine", "user"]),
    ("app", 4, &["support", "isa", "fabric", "host", "engine", "dev", "vm", "user", "app"]),
];

/// The exceptions among engines: what the translator does not translate, the interpreter runs; and one engine runs those two
/// side by side.
const AMONG_ENGINES: [(&str, &str); 3] =
    [("engine-jit", "engine-interp"), ("engine-check", "engine-interp"), ("engine-check", "engine-jit")];

/// Layers that use nobody else's code.
const PURE: [&str; 2] = ["isa", "fabric"];

/// The exception: x86's rows are a decoder library's, only the meanings are ours.
const DECODER: (&str, &str) = ("isa-x86", "iced-x86");

/// Build tools: only xtask uses them, they are never linked into the product.
const BUILD_TOOLS: [&str; 1] = ["isa-table"];

const LIST: &str = "xtask/allowed-dependencies.txt";

/// The layer of a crate is the first word of its name.
pub fn layer(name: &str) -> &str {
    if name == "hostel" { "app" } else { name.split('-').next().unwrap_or(name) }
}

/// Checks every manifest below `crates/`.
pub fn check(tree: &Tree, found: &mut Vec<Finding>) {
    let list = List::read(tree, LIST, 2, found);
    for package in &tree.packages {
        if !package.folder.starts_with("crates/") {
            continue;
        }
        let Some(row) = LAYERS.iter().find(|row| row.0 == layer(&package.name)) else {
            let layers: Vec<&str> = LAYERS.iter().map(|row| row.0).collect();
            let message = format!("`{}` names no layer; the layers are {}", package.name, layers.join(", "));
            found.push(Finding::error(place(package), "arrow", message));
            continue;
        };
        for dependency in dependencies(package, &tree.workspace) {
            let ours = tree.packages.iter().find(|p| p.name == dependency.package);
            match ours {
                Some(other) => internal(package, row, &dependency, other, &list, found),
                None => foreign(package, row.0, &dependency, &list, found),
            }
        }
    }
    list.complain_of_unused(found);
}

fn place(package: &Package) -> String {
    format!("{}/Cargo.toml", package.folder)
}

/// Whether the list lets `package` have this dependency. A dev-dependency is written `dev:NAME`.
fn listed(list: &List<'_>, package: &str, dependency: &Dependency) -> bool {
    let item = match dependency.kind {
        Kind::Dev => format!("dev:{}", dependency.package),
        Kind::Normal => dependency.package.clone(),
    };
    list.find(|words| match words {
        [subject, what] => {
            *what == item && (*subject == "*" || *subject == package || *subject == layer(package))
        }
        _ => false,
    })
    .is_some()
}

fn internal(
    package: &Package,
    (layer_name, rank, may): &(&str, u8, &[&str]),
    dependency: &Dependency,
    other: &Package,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    let target = other.name.as_str();
    let error = |message: String| Finding::error(place(package), "arrow", message);
    if !other.folder.starts_with("crates/") {
        found.push(error(format!(
            "{} → {target}   nothing in crates/ may use {}",
            package.name, other.folder
        )));
        return;
    }
    if BUILD_TOOLS.contains(&target) && !listed(list, &package.name, dependency) {
        found.push(error(format!("{} → {target}   a build tool; only xtask may use it", package.name)));
        return;
    }
    let by_table = may.contains(&layer(target))
        || may.contains(&target)
        || AMONG_ENGINES.contains(&(package.name.as_str(), target));
    // A test may look further down than the product does, never sideways or up.
    let rank_of = LAYERS.iter().find(|row| row.0 == layer(target)).map_or(u8::MAX, |row| row.1);
    let by_test =
        dependency.kind == Kind::Dev && (rank_of < *rank || listed(list, &package.name, dependency));
    if !by_table && !by_test {
        let kind = if dependency.kind == Kind::Dev { " (for tests)" } else { "" };
        found.push(error(format!(
            "{} → {target}{kind}   {layer_name} may use: {}",
            package.name,
            may.join(", ")
        )));
    }
}

fn foreign(
    package: &Package,
    layer_name: &str,
    dependency: &Dependency,
    list: &List<'_>,
    found: &mut Vec<Finding>,
) {
    let name = &dependency.package;
    // Build tools run on the host that builds, so purity is not theirs.
    let pure = PURE.contains(&layer_name)
        && !BUILD_TOOLS.contains(&package.name.as_str())
        && (package.name.as_str(), name.as_str()) != DECODER;
    if pure && dependency.kind == Kind::Normal {
        let message = format!("{} → {name}   {layer_name} uses no third-party crates", package.name);
        found.push(Finding::error(place(package), "arrow", message));
    } else if !listed(list, &package.name, dependency) {
        let dev = if dependency.kind == Kind::Dev { "dev:" } else { "" };
        let message = format!("{0} → {name}   not in {LIST}; add `{0} {dev}{name} # why`", package.name);
        found.push(Finding::error(place(package), "arrow", message));
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::samples::{STRICT, accepted, manifest, refused};

    const DEV: &str = "crates/dev-uart/Cargo.toml";
    const ISA: &str = "crates/isa-core/Cargo.toml";

    #[test]
    fn a_device_cannot_say_isa() {
        let text = manifest("dev-uart", "isa-core.workspace = true");
        refused(&[(DEV, &text)], "arrow", DEV, "dev-uart → isa-core   dev may use: support, fabric, host");
    }

    #[test]
    fn arrows_point_down() {
        let text = manifest("dev-uart", "support-bits.workspace = true");
        accepted(&[(DEV, &text)]);
        let text = manifest("support-bits", "hostel.workspace = true");
        let path = "crates/support-bits/Cargo.toml";
        refused(&[(path, &text)], "arrow", path, "support-bits → hostel");
    }

    #[test]
    fn only_the_core_of_ones_own_layer() {
        let other = manifest("dev-irq", "");
        let text = manifest("dev-uart", "dev-irq.workspace = true");
        let changes =
            [("crates/dev-irq/Cargo.toml", &*other), ("crates/dev-irq/src/lib.rs", STRICT), (DEV, &text)];
        refused(&changes, "arrow", DEV, "dev-uart → dev-irq");
    }

    #[test]
    fn the_translator_falls_back_on_the_interpreter_and_not_the_other_way_round() {
        let (jit, interp) = ("crates/engine-jit/Cargo.toml", "crates/engine-interp/Cargo.toml");
        let sources = [("crates/engine-jit/src/lib.rs", STRICT), ("crates/engine-interp/src/lib.rs", STRICT)];
        let (with, without) =
            (manifest("engine-jit", "engine-interp.workspace = true"), manifest("engine-interp", ""));
        accepted(&[(jit, &with), (interp, &without), sources[0], sources[1]]);
        let (with, without) =
            (manifest("engine-interp", "engine-jit.workspace = true"), manifest("engine-jit", ""));
        let changes = [(interp, &*with), (jit, &*without), sources[0], sources[1]];
        refused(&changes, "arrow", interp, "engine-interp → engine-jit");
    }

    #[test]
    fn a_rename_hides_nothing() {
        let text = manifest("dev-uart", "meaning = { package = \"isa-core\", workspace = true }");
        refused(&[(DEV, &text)], "arrow", DEV, "dev-uart → isa-core");
        let root = "[workspace]\n[workspace.package]\nlicense = \"MIT OR Apache-2.0\"\n\
                    [workspace.dependencies]\nmeaning = { package = \"isa-core\", path = \"crates/isa-core\" }\n";
        let text = manifest("dev-uart", "meaning.workspace = true");
        refused(&[("Cargo.toml", root), (DEV, &text)], "arrow", DEV, "dev-uart → isa-core");
    }

    #[test]
    fn a_target_table_hides_nothing() {
        let text = manifest("dev-uart", "[target.'cfg(unix)'.dependencies]\nisa-core.workspace = true");
        refused(&[(DEV, &text)], "arrow", DEV, "dev-uart → isa-core");
    }

    #[test]
    fn tests_may_look_down_but_not_sideways() {
        let text = manifest("dev-uart", "[dev-dependencies]\nisa-core.workspace = true");
        accepted(&[(DEV, &text)]);
        let text = manifest("isa-core", "[dev-dependencies]\ndev-uart.workspace = true");
        refused(&[(ISA, &text)], "arrow", ISA, "(for tests)");
        let list = "isa-core dev:dev-uart # the sample needs a device\n";
        accepted(&[(ISA, &text), ("xtask/allowed-dependencies.txt", list)]);
    }

    #[test]
    fn third_party_crates_are_listed() {
        let text = manifest("dev-uart", "serde.workspace = true");
        refused(&[(DEV, &text)], "arrow", DEV, "dev-uart → serde   not in");
        accepted(&[(DEV, &text), ("xtask/allowed-dependencies.txt", "dev serde # saved state is encoded\n")]);
        accepted(&[(DEV, &text), ("xtask/allowed-dependencies.txt", "dev-uart serde # saved state\n")]);
    }

    #[test]
    fn isa_and_fabric_have_none_whatever_the_list_says() {
        let text = manifest("isa-core", "serde.workspace = true");
        let list = ("xtask/allowed-dependencies.txt", "* serde # everybody wants it\n");
        let uart = manifest("dev-uart", "serde.workspace = true");
        refused(&[(ISA, &text), (DEV, &uart), list], "arrow", ISA, "isa uses no third-party crates");
        let text = manifest("isa-core", "[dev-dependencies]\nproptest.workspace = true");
        accepted(&[(ISA, &text), ("xtask/allowed-dependencies.txt", "* dev:proptest # random tests\n")]);
    }

    #[test]
    fn a_name_without_a_layer_is_refused() {
        let (path, text) = ("crates/util/Cargo.toml", manifest("util", ""));
        let source = ("crates/util/src/lib.rs", "//! Odds.\n//! Ends.\n#![forbid(unsafe_code)]\n");
        refused(&[(path, &text), source], "arrow", path, "`util` names no layer");
    }

    #[test]
    fn build_tools_are_not_linked_in() {
        let table = manifest("isa-table", "");
        let text = manifest("isa-core", "isa-table.workspace = true");
        let source =
            ("crates/isa-table/src/lib.rs", "//! Tables.\n//! No machine.\n#![forbid(unsafe_code)]\n");
        let changes = [("crates/isa-table/Cargo.toml", &*table), source, (ISA, &text)];
        refused(&changes, "arrow", ISA, "a build tool");
    }

    #[test]
    fn the_list_wants_reasons_and_no_leftovers() {
        let list = "xtask/allowed-dependencies.txt";
        refused(&[(list, "dev serde # saved state\n")], "list", list, "nothing needs `dev serde`");
        refused(&[(list, "dev serde\n")], "list", "xtask/allowed-dependencies.txt:1", "the reason");
    }
}
