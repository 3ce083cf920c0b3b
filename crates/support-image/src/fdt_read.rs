//! Reads a flattened devicetree blob into a tree, checking every offset.
//!
//! Source: Devicetree Specification v0.4, 5.2 (header), 5.3 (memory reservation block), 5.4 (structure block),
//! 5.5 (strings block).

use crate::bytes::{be32, be64};
use crate::fdt::{FdtError, MAGIC, MAX_DEPTH, Node, Property, Reservation, Tree};

const HEADER_LEN: usize = 40;
/// The version that this reader knows.
const VERSION: u32 = 17;
/// The version from which `size_dt_struct` is in the header.
const VERSION_WITH_STRUCT_SIZE: u32 = 17;
const OLDEST_VERSION: u32 = 16;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Property names are stored once and referred to by offset, so a small blob could name a long one very often. The
/// specification asks for at most 31 characters (2.2.4.1); names in the field are a little longer.
const MAX_NAME_LEN: usize = 255;

pub(crate) fn parse(blob: &[u8]) -> Result<Tree, FdtError> {
    if be32(blob, 0) != Some(MAGIC) {
        return Err(FdtError::NotFdt);
    }
    let field = |offset| be32(blob, offset).ok_or(FdtError::OutOfBounds("header"));
    let total = field(4)? as usize;
    let (version, compatible) = (field(20)?, field(24)?);
    if version < OLDEST_VERSION || compatible > VERSION {
        return Err(FdtError::Version { version, compatible });
    }
    let boot_cpu = field(28)?;
    let blob =
        blob.get(..total).filter(|b| b.len() >= HEADER_LEN).ok_or(FdtError::OutOfBounds("total size"))?;
    let structure = if version >= VERSION_WITH_STRUCT_SIZE {
        block(blob, field(8)?, Some(field(36)?), "structure block")?
    } else {
        block(blob, field(8)?, None, "structure block")?
    };
    let strings = block(blob, field(12)?, Some(field(32)?), "strings block")?;
    let reservations = reservations(blob, field(16)?)?;
    let root = Reader { structure, strings, offset: 0 }.root()?;
    Ok(Tree { root, reservations, boot_cpu })
}

fn block<'a>(
    blob: &'a [u8],
    offset: u32,
    size: Option<u32>,
    what: &'static str,
) -> Result<&'a [u8], FdtError> {
    let rest = blob.get(offset as usize..);
    let block = match size {
        Some(size) => rest.and_then(|rest| rest.get(..size as usize)),
        None => rest,
    };
    block.ok_or(FdtError::OutOfBounds(what))
}

fn reservations(blob: &[u8], offset: u32) -> Result<Vec<Reservation>, FdtError> {
    let mut reservations = Vec::new();
    let mut offset = offset as usize;
    loop {
        let entry = (be64(blob, offset), be64(blob, offset.saturating_add(8)));
        let (Some(address), Some(size)) = entry else {
            return Err(FdtError::OutOfBounds("memory reservation block"));
        };
        if (address, size) == (0, 0) {
            return Ok(reservations);
        }
        reservations.push(Reservation { address, size });
        offset = offset.saturating_add(16);
    }
}

/// A cursor over the structure block.
struct Reader<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    offset: usize,
}

impl Reader<'_> {
    /// The whole structure block: one node, then the end token.
    fn root(mut self) -> Result<Node, FdtError> {
        if self.token()? != BEGIN_NODE {
            return Err(self.fault("it does not start with a node"));
        }
        let root = self.node(1)?;
        if self.token()? != END {
            return Err(self.fault("something follows the root node"));
        }
        Ok(root)
    }

    /// A node whose begin token has been read, up to and with its end token.
    fn node(&mut self, depth: usize) -> Result<Node, FdtError> {
        if depth > MAX_DEPTH {
            return Err(self.fault("nodes nest deeper than 64"));
        }
        let mut node = Node::new(self.node_name()?);
        loop {
            match self.token()? {
                END_NODE => return Ok(node),
                BEGIN_NODE => node.children.push(self.node(depth + 1)?),
                PROP if node.children.is_empty() => node.properties.push(self.property()?),
                PROP => return Err(self.fault("a property follows a child node")),
                _ => return Err(self.fault("a token is unknown or out of place")),
            }
        }
    }

    fn property(&mut self) -> Result<Property, FdtError> {
        let len = self.word()? as usize;
        let name_offset = self.word()? as usize;
        let end = self.offset.saturating_add(len);
        let value = self.structure.get(self.offset..end);
        let value = value.ok_or_else(|| self.fault("a property's value runs past the end"))?.to_vec();
        let name = self.strings.get(name_offset..).and_then(terminated);
        let name = name.ok_or_else(|| self.fault("a property's name is not a short printable string"))?;
        self.advance(len);
        Ok(Property { name, value })
    }

    fn node_name(&mut self) -> Result<String, FdtError> {
        let name = self.structure.get(self.offset..).and_then(terminated);
        let name = name.ok_or_else(|| self.fault("a node's name is not a short printable string"))?;
        self.advance(name.len() + 1);
        Ok(name)
    }

    /// The next token that is not a no-operation.
    fn token(&mut self) -> Result<u32, FdtError> {
        loop {
            let word = self.word()?;
            if word != NOP {
                return Ok(word);
            }
        }
    }

    fn word(&mut self) -> Result<u32, FdtError> {
        let word = be32(self.structure, self.offset).ok_or_else(|| self.fault("it ends early"))?;
        self.offset += 4;
        Ok(word)
    }

    /// Steps over `len` bytes and the padding to the next token, which is aligned to four (5.4.1).
    fn advance(&mut self, len: usize) {
        self.offset = self.offset.saturating_add(len).checked_next_multiple_of(4).unwrap_or(usize::MAX);
    }

    fn fault(&self, problem: &'static str) -> FdtError {
        FdtError::Structure { offset: self.offset, problem }
    }
}

/// The printable ASCII string up to the first zero byte, if one ends within the limit.
fn terminated(bytes: &[u8]) -> Option<String> {
    let window = bytes.get(..bytes.len().min(MAX_NAME_LEN + 1))?;
    let len = window.iter().position(|&byte| byte == 0)?;
    let text = std::str::from_utf8(window.get(..len)?).ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| text.to_owned())
}
