//! The parser of the text form.

use crate::names::{amo_named, bin_named, flag_named, kind_named, order_named, un_named, width_named};
use crate::node::Pool;
use crate::{Block, Fault, Isa, Limits, Node, Type, Value, verify};
use isa_core::Shape;

/// Why a text is no block, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// Why.
    pub reason: Reason,
}

/// What is wrong with a line or with the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No node begins with this word.
    UnknownNode,
    /// A word is missing.
    Missing,
    /// A word is not one of those that can stand here.
    BadWord,
    /// There is more on the line than the node takes.
    TooMuch,
    /// `%n =` does not say the node's place, or stands before a node that gives no value, or lacks.
    BadResult,
    /// The nodes do not make a well-formed block.
    Malformed(Fault),
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.reason {
            Reason::UnknownNode => "no node has this name",
            Reason::Missing => "a word is missing",
            Reason::BadWord => "a word is not one of those that can stand there",
            Reason::TooMuch => "there is more than the node takes",
            Reason::BadResult => "the result must be given as % and the node's place, if it has one",
            Reason::Malformed(fault) => return write!(f, "not a well-formed block: {fault}"),
        };
        write!(f, "line {}: {what}", self.line)
    }
}

impl std::error::Error for ParseError {}

/// Reads a block of `isa` from its text form and verifies it. What follows `;` on a line is comment.
///
/// # Errors
/// The first fault of the text, or of the block.
pub fn parse(text: &str, isa: &'static Isa, limits: &Limits) -> Result<Block, ParseError> {
    let mut block = Block::new(isa);
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.split(';').next().unwrap_or("");
        if content.trim().is_empty() {
            continue;
        }
        if block.nodes.len() >= limits.nodes as usize || block.pool.len() >= limits.pool as usize {
            return Err(ParseError { line, reason: Reason::Malformed(Fault::TooLarge) });
        }
        parse_line(content, &mut block).map_err(|reason| ParseError { line, reason })?;
    }
    let lines = text.lines().count();
    verify(&block, limits).map_err(|fault| ParseError { line: lines, reason: Reason::Malformed(fault) })?;
    Ok(block)
}

fn parse_line(content: &str, block: &mut Block) -> Result<(), Reason> {
    let (result, content) = match content.split_once('=') {
        Some((result, rest)) => (Some(result.trim()), rest),
        None => (None, content),
    };
    let words = content.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty());
    let mut line = Line { words, isa: block.isa };
    let name = line.word()?;
    let node = line.node(name, &mut block.pool)?;
    if line.words.next().is_some() {
        return Err(Reason::TooMuch);
    }
    let wanted = match block.type_of(&node) {
        Type::Nothing => None,
        _ => Some(Value(block.nodes.len() as u32)),
    };
    if result.map(value).transpose()? != wanted {
        return Err(Reason::BadResult);
    }
    block.nodes.push(node);
    Ok(())
}

fn value(word: &str) -> Result<Value, Reason> {
    word.strip_prefix('%').and_then(|n| n.parse().ok()).map(Value).ok_or(Reason::BadWord)
}

/// A number, decimal or hexadecimal.
fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The rest of a line.
struct Line<I> {
    words: I,
    isa: &'static Isa,
}

impl<'a, I: Iterator<Item = &'a str>> Line<I> {
    fn word(&mut self) -> Result<&'a str, Reason> {
        self.words.next().ok_or(Reason::Missing)
    }

    /// The next word, as what `meaning` makes of it.
    fn take<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Result<T, Reason> {
        meaning(self.word()?).ok_or(Reason::BadWord)
    }

    fn value(&mut self) -> Result<Value, Reason> {
        value(self.word()?)
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, Reason> {
        self.take(|w| w.parse().ok())
    }

    /// A register: class and number.
    fn register(&mut self) -> Result<(u8, u8), Reason> {
        let classes = self.isa.classes;
        self.take(|word| {
            let digits = word.find(|c: char| c.is_ascii_digit())?;
            let (name, index) = word.split_at_checked(digits)?;
            let class = classes.iter().position(|c| c.name == name)?;
            Some((u8::try_from(class).ok()?, index.parse().ok()?))
        })
    }

    /// All values that are left, at most four, into the pool.
    fn pooled(&mut self, pool: &mut Vec<Value>) -> Result<(Pool, u8), Reason> {
        let at = Pool(pool.len() as u32);
        let mut count = 0;
        for word in self.words.by_ref() {
            pool.push(value(word)?);
            count += 1;
            if count > 4 {
                return Err(Reason::TooMuch);
            }
        }
        Ok((at, count))
    }

    fn node(&mut self, name: &str, pool: &mut Vec<Value>) -> Result<Node, Reason> {
        Ok(match name {
            "nop" => Node::Nop,
            "insn" => Node::Insn { offset: self.parsed()?, length: self.parsed()? },
            "const" => Node::Const(self.take(number)?),
            "pc" => Node::Pc(self.parsed()?),
            "select" => Node::Select { c: self.value()?, a: self.value()?, b: self.value()? },
            "get" => {
                let (class, index) = self.register()?;
                Node::Get { class, index }
            }
            "set" => {
                let (class, index) = self.register()?;
                Node::Set { class, index, v: self.value()? }
            }
            "get_vector" => {
                let (class, index) = self.register()?;
                Node::GetVector { class, index, bytes: self.parsed()? }
            }
            "set_vector" => {
                let (class, index) = self.register()?;
                Node::SetVector { class, index, v: self.value()? }
            }
            "flags" => Node::Flags {
                kind: self.take(kind_named)?,
                width: self.take(width_named)?,
                a: self.value()?,
                b: self.value()?,
                c: self.value()?,
            },
            "flag" => Node::Flag { flag: self.take(flag_named)?, flags: self.value()? },
            "lanes" => {
                let (op, shape) = (self.take(bin_named)?, self.take(shape)?);
                let (operands, count) = self.pooled(pool)?;
                if count != 2 && count != 4 {
                    return Err(Reason::Missing);
                }
                Node::Lanes { op, shape, operands, masked: count == 4 }
            }
            "range" => Node::Range { bytes: self.parsed()?, start: self.value()?, end: self.value()? },
            "call" => self.call(pool)?,
            "exit_if" => Node::ExitIf { taken: self.value()?, target: self.value()? },
            "skip" => Node::Skip { over: self.value()?, insns: self.parsed()? },
            "jump" => Node::Jump { target: self.value()? },
            "next" => Node::Next { offset: self.parsed()? },
            "trap" => Node::Trap { code: self.parsed()?, arg: self.value()? },
            _ => return self.access(name),
        })
    }

    /// A call: number, name, arguments. The effects are the instruction set's.
    fn call(&mut self, pool: &mut Vec<Value>) -> Result<Node, Reason> {
        let id = self.take(number).and_then(|id| u32::try_from(id).map_err(|_| Reason::BadWord))?;
        let effects = (self.isa.effects)(id).ok_or(Reason::BadWord)?;
        if self.word()? != (self.isa.operation_name)(id) {
            return Err(Reason::BadWord);
        }
        let (args, count) = self.pooled(pool)?;
        Ok(Node::Call { id, effects, args, count })
    }

    /// Nodes about memory; and those called after what they compute.
    fn access(&mut self, name: &str) -> Result<Node, Reason> {
        if let Some(op) = bin_named(name) {
            return Ok(Node::Bin { op, a: self.value()?, b: self.value()? });
        }
        if let Some(op) = un_named(name) {
            return Ok(Node::Un { op, a: self.value()? });
        }
        match name {
            "fence" => return Ok(Node::Fence(self.take(order_named)?)),
            "amo" => {
                return Ok(Node::Amo {
                    op: self.take(amo_named)?,
                    width: self.take(width_named)?,
                    order: self.take(order_named)?,
                    va: self.value()?,
                    v: self.value()?,
                });
            }
            "load" | "store" | "load_reserved" | "store_conditional" => {}
            _ => return Err(Reason::UnknownNode),
        }
        let (width, order, va) = (self.take(width_named)?, self.take(order_named)?, self.value()?);
        Ok(match name {
            "load" => Node::Load { width, order, va },
            "store" => Node::Store { width, order, va, v: self.value()? },
            "load_reserved" => Node::LoadReserved { width, order, va },
            _ => Node::StoreConditional { width, order, va, v: self.value()? },
        })
    }
}

/// Elements and lanes, as `b4x8`.
fn shape(word: &str) -> Option<Shape> {
    let (element, lanes) = word.split_once('x')?;
    Some(Shape { element: width_named(element)?, lanes: lanes.parse().ok()? })
}
