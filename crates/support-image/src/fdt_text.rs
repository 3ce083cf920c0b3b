//! A devicetree as text, in the syntax of devicetree source (Devicetree Specification v0.4, chapter 6).

use crate::fdt::{Node, Property, Tree};
use std::collections::HashMap;
use std::fmt::Write;

pub(crate) fn dts(tree: &Tree) -> String {
    let mut text = String::from("/dts-v1/;\n\n");
    for range in &tree.reservations {
        line(&mut text, 0, &format!("/memreserve/ {:#x} {:#x};", range.address, range.size));
    }
    node(&mut text, 0, &tree.root);
    text
}

fn node(text: &mut String, depth: usize, node_: &Node) {
    let name = if node_.name.is_empty() { "/" } else { &node_.name };
    line(text, depth, &format!("{name} {{"));
    for property in &node_.properties {
        let Property { name, value } = property;
        match value.as_slice() {
            [] => line(text, depth + 1, &format!("{name};")),
            value => line(text, depth + 1, &format!("{name} = {};", value_text(value))),
        }
    }
    for child in &node_.children {
        node(text, depth + 1, child);
    }
    line(text, depth, "};");
}

fn line(text: &mut String, depth: usize, content: &str) {
    for _ in 0..depth {
        text.push('\t');
    }
    text.push_str(content);
    text.push('\n');
}

/// A non-empty value as strings, cells or bytes: the blob does not say which it is, so the first that fits is taken.
pub(crate) fn value_text(value: &[u8]) -> String {
    if let Some(strings) = strings(value) {
        return strings;
    }
    let mut text = String::new();
    let (cells, rest) = value.as_chunks::<4>();
    if rest.is_empty() {
        for cell in cells {
            let gap = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{gap}{:#x}", u32::from_be_bytes(*cell));
        }
        return format!("<{text}>");
    }
    for byte in value {
        let gap = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{gap}{byte:02x}");
    }
    format!("[{text}]")
}

/// The value as a list of quoted strings, where it is one: printable, non-empty, each with its terminator.
fn strings(value: &[u8]) -> Option<String> {
    let body = value.strip_suffix(b"\0")?;
    let mut quoted = Vec::new();
    for part in body.split(|&byte| byte == 0) {
        if part.is_empty() || !part.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            return None;
        }
        let part = std::str::from_utf8(part).ok()?;
        quoted.push(format!("\"{}\"", part.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    Some(quoted.join(", "))
}

/// Properties whose value contains references, and after how many other cells the next reference comes. Those with
/// more than a reference each have the specifier length that interrupt controllers of RISC-V machines use.
const REFERENCES: &[(&str, usize)] =
    &[("interrupt-parent", 0), ("interrupts-extended", 1), ("regmap", 0), ("cpu", 0), ("clocks", 0)];

pub(crate) fn lines(tree: &Tree) -> Vec<String> {
    let mut paths = HashMap::new();
    collect_paths("", &tree.root, &mut paths);
    let mut lines = Vec::new();
    node_lines("", &tree.root, &paths, &mut lines);
    lines
}

/// Paths by phandle.
fn collect_paths(path: &str, node: &Node, paths: &mut HashMap<u32, String>) {
    if let Some([phandle]) = node.property_cells("phandle").as_deref() {
        paths.insert(*phandle, shown(path).to_owned());
    }
    for child in &node.children {
        collect_paths(&format!("{path}/{}", child.name), child, paths);
    }
}

fn node_lines(path: &str, node: &Node, paths: &HashMap<u32, String>, lines: &mut Vec<String>) {
    let at = shown(path);
    if node.properties.is_empty() && node.children.is_empty() {
        lines.push(at.to_owned());
    }
    for Property { name, value } in node.properties.iter().filter(|property| property.name != "phandle") {
        if value.is_empty() {
            lines.push(format!("{at} {name}"));
            continue;
        }
        let stride = REFERENCES.iter().find(|(known, _)| known == name).map(|(_, others)| others + 1);
        let value = match (stride, node.property_cells(name)) {
            (Some(stride), Some(cells)) => resolved(&cells, stride, paths),
            _ => value_text(value),
        };
        lines.push(format!("{at} {name} = {value}"));
    }
    for child in &node.children {
        node_lines(&format!("{path}/{}", child.name), child, paths, lines);
    }
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// Cells of which every `stride`-th is a reference.
fn resolved(cells: &[u32], stride: usize, paths: &HashMap<u32, String>) -> String {
    let shown = cells.iter().enumerate().map(|(index, cell)| match paths.get(cell) {
        Some(path) if index % stride == 0 => format!("&{path}"),
        _ => format!("{cell:#x}"),
    });
    format!("<{}>", shown.collect::<Vec<_>>().join(" "))
}
