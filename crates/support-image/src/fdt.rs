//! A devicetree in memory: nodes and properties, built by calls, written as a flattened blob, read back from one.
//!
//! Source: Devicetree Specification v0.4, chapter 2 (structure and standard properties) and chapter 5 (the flattened
//! format). Writing goes through the `vm-fdt` crate; reading is in `fdt_read`, the text form in `fdt_text`.

use thiserror::Error;
use vm_fdt::{FdtReserveEntry, FdtWriter};

/// The magic number of a blob, big-endian (5.2).
pub const MAGIC: u32 = 0xd00d_feed;

/// How deep nodes may nest; the specification names no limit, readers in the field stop at 64.
pub const MAX_DEPTH: usize = 64;

/// Why a blob cannot be read or written.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum FdtError {
    /// The magic number is absent.
    #[error("this is not a devicetree blob")]
    NotFdt,
    /// A version that readers of version 17 cannot read (5.2, `last_comp_version`).
    #[error(
        "this devicetree blob is of version {version}, readable from version {compatible} on; 16 or 17 is needed"
    )]
    Version {
        /// `version`.
        version: u32,
        /// `last_comp_version`.
        compatible: u32,
    },
    /// The header places a block outside the blob.
    #[error("this devicetree blob is truncated or damaged: its {0} does not lie inside it")]
    OutOfBounds(&'static str),
    /// The structure block breaks the grammar of 5.4.2.
    #[error("this devicetree blob is damaged at byte {offset} of its structure block: {problem}")]
    Structure {
        /// Offset into the structure block.
        offset: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The tree cannot be expressed as a blob.
    #[error("this devicetree cannot be written: {0}")]
    Write(#[from] vm_fdt::Error),
}

/// A memory range that the operating system must not use (5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

/// A property: a name and bytes whose meaning the name gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Name, for instance `reg`.
    pub name: String,
    /// Value; empty for one that is true by being there.
    pub value: Vec<u8>,
}

/// A node: its properties and its children, both in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name with unit address, for instance `serial@10000000`; empty for the root.
    pub name: String,
    /// Properties.
    pub properties: Vec<Property>,
    /// Children.
    pub children: Vec<Node>,
}

/// A whole devicetree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The root node.
    pub root: Node,
    /// The memory reservation block.
    pub reservations: Vec<Reservation>,
    /// `boot_cpuid_phys`: the hart that starts.
    pub boot_cpu: u32,
}

impl Tree {
    /// Writes the flattened form, version 17.
    pub fn to_blob(&self) -> Result<Vec<u8>, FdtError> {
        let mut reserved = Vec::with_capacity(self.reservations.len());
        for range in &self.reservations {
            reserved.push(FdtReserveEntry::new(range.address, range.size)?);
        }
        let mut writer = FdtWriter::new_with_mem_reserv(&reserved)?;
        writer.set_boot_cpuid_phys(self.boot_cpu);
        write_node(&mut writer, &self.root)?;
        Ok(writer.finish()?)
    }

    /// The same with `room` free bytes behind its strings that count as its own (Devicetree Specification, "Flattened
    /// Devicetree (DTB) Format": `totalsize` may be more than the blocks take), so that it can grow in place.
    pub fn to_blob_with_room(&self, room: u32) -> Result<Vec<u8>, FdtError> {
        let mut blob = self.to_blob()?;
        blob.resize(blob.len() + room as usize, 0);
        let total = (blob.len() as u32).to_be_bytes();
        // The header's second word is `totalsize`.
        blob.iter_mut().skip(4).zip(total).for_each(|(to, from)| *to = from);
        Ok(blob)
    }

    /// Reads a flattened tree. Bytes after `totalsize` are ignored.
    pub fn parse(blob: &[u8]) -> Result<Tree, FdtError> {
        crate::fdt_read::parse(blob)
    }

    /// The tree as devicetree source text. Values are shown as strings where they can be, else as 32-bit cells, else
    /// as bytes.
    pub fn to_dts(&self) -> String {
        crate::fdt_text::dts(self)
    }

    /// The tree as one line for each property, `PATH NAME = VALUE`, in order. References by phandle are shown as paths
    /// and the phandles themselves are left out, so that two trees can be compared line by line whatever their order
    /// and numbering. Every line repeats its node's path, so this is for trees of one's own, not for strangers' blobs,
    /// which can make it thousands of times as long as they are.
    pub fn to_lines(&self) -> Vec<String> {
        crate::fdt_text::lines(self)
    }

    /// The node at an absolute path such as `/soc/serial@10000000`.
    pub fn node(&self, path: &str) -> Option<&Node> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(&self.root, |node, part| node.child(part))
    }
}

// The nesting of the call is the nesting of the tree, which `begin_node` limits to 64.
fn write_node(writer: &mut FdtWriter, node: &Node) -> Result<(), vm_fdt::Error> {
    let open = writer.begin_node(&node.name)?;
    for property in &node.properties {
        writer.property(&property.name, &property.value)?;
    }
    for child in &node.children {
        write_node(writer, child)?;
    }
    writer.end_node(open)
}

impl Node {
    /// An empty node.
    pub fn new(name: impl Into<String>) -> Node {
        Node { name: name.into(), ..Node::default() }
    }

    /// Adds a property with the given bytes.
    #[must_use]
    pub fn bytes(mut self, name: &str, value: &[u8]) -> Node {
        self.properties.push(Property { name: name.to_owned(), value: value.to_vec() });
        self
    }

    /// Adds an empty property (2.2.4, `<empty>`).
    #[must_use]
    pub fn flag(self, name: &str) -> Node {
        self.bytes(name, &[])
    }

    /// Adds a `<prop-encoded-array>` of 32-bit cells.
    #[must_use]
    pub fn cells(self, name: &str, cells: &[u32]) -> Node {
        let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.bytes(name, &value)
    }

    /// Adds a property of 64-bit values, two cells each.
    #[must_use]
    pub fn cells64(self, name: &str, values: &[u64]) -> Node {
        let value: Vec<u8> = values.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.bytes(name, &value)
    }

    /// Adds a `<string>`.
    #[must_use]
    pub fn string(self, name: &str, text: &str) -> Node {
        self.strings(name, &[text])
    }

    /// Adds a `<stringlist>`.
    #[must_use]
    pub fn strings<S: AsRef<str>>(self, name: &str, texts: &[S]) -> Node {
        let value: Vec<u8> = texts.iter().flat_map(|text| text.as_ref().bytes().chain([0])).collect();
        self.bytes(name, &value)
    }

    /// Adds a child.
    #[must_use]
    pub fn with(mut self, child: Node) -> Node {
        self.children.push(child);
        self
    }

    /// Adds children.
    #[must_use]
    pub fn with_all(mut self, children: impl IntoIterator<Item = Node>) -> Node {
        self.children.extend(children);
        self
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        self.properties.iter().find(|p| p.name == name).map(|p| p.value.as_slice())
    }

    /// A property's value as 32-bit cells, where its length is a multiple of four.
    pub fn property_cells(&self, name: &str) -> Option<Vec<u32>> {
        let value = self.property(name)?;
        if value.len() % 4 != 0 {
            return None;
        }
        Some(value.as_chunks::<4>().0.iter().map(|cell| u32::from_be_bytes(*cell)).collect())
    }

    /// A property's value as one string, without its terminator.
    pub fn property_string(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.property(name)?.strip_suffix(b"\0")?).ok()
    }

    /// The child of that full name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }
}
