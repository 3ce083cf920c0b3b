//! Groups of accesses off one base register: their page is looked up once.
//!
//! The first access of a group checks that all of them lie in one page, and puts the base's address in the host into a slot
//! of memory. The others take it from there. If the first one fails, the slot is 0 and each goes the slow way by itself.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::emit::{Address, Emitter};
use crate::layout::GROUPS;
use crate::near::{Near, NearGroup};
use crate::reg::{RAX, RCX, RDX, Reg};
use crate::value::X;
use isa_core::{Bin, Width};
use isa_ir::{Node, Value};

/// How far apart the accesses of a group may be, in bytes.
const SPAN: i32 = 1024;

/// A group.
#[derive(Clone, Copy, Debug)]
struct Group {
    register: u8,
    /// The least distance from the base, and one more than the greatest.
    from: i32,
    to: i32,
    /// Logarithm of the greatest width.
    log: u32,
    members: u32,
    slot: Option<u8>,
}

/// An access as a group's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    group: u32,
    first: bool,
    k: i32,
}

/// The groups of a block.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: Vec<Group>,
    members: Vec<Option<Member>>,
    /// The slot of the group whose access is being emitted.
    pub held: Option<u8>,
}

/// The base register of an address, with the distance from it.
fn base(nodes: &[Node], va: Value, written: &[u32; 32]) -> Option<(u8, i32)> {
    let register = |v: Value| match nodes.get(v.index()) {
        Some(&Node::Get { class: X, index })
            if written.get(usize::from(index)) <= Some(&(v.index() as u32)) =>
        {
            Some(index)
        }
        _ => None,
    };
    match nodes.get(va.index()) {
        Some(&Node::Bin { op: Bin::Add, a, b }) => match nodes.get(b.index()) {
            Some(&Node::Const(k)) => Some((register(a)?, i32::try_from(k as i64).ok()?)),
            _ => None,
        },
        _ => Some((register(va)?, 0)),
    }
}

impl Groups {
    /// Finds the groups of a block; loads are no members if they need no table.
    pub fn find(&mut self, nodes: &[Node], loads: bool) {
        self.groups.clear();
        self.members.clear();
        self.members.resize(nodes.len(), None);
        let mut open: [[Option<u32>; 32]; 2] = [[None; 32]; 2];
        let mut written = [0u32; 32];
        for (at, node) in nodes.iter().enumerate() {
            match *node {
                Node::Set { class: X, index, .. } => {
                    let index = usize::from(index & 31);
                    written[index] = at as u32;
                    (open[0][index], open[1][index]) = (None, None);
                }
                Node::Load { width, va, .. } if loads => {
                    self.join(nodes, at, va, width, &mut open[0], &written)
                }
                Node::Store { width, va, .. } => self.join(nodes, at, va, width, &mut open[1], &written),
                _ => {}
            }
        }
        let mut slots = 0..GROUPS as u8;
        for group in self.groups.iter_mut().filter(|group| group.members > 1) {
            group.slot = slots.next();
        }
    }

    fn join(
        &mut self,
        nodes: &[Node],
        at: usize,
        va: Value,
        width: Width,
        open: &mut [Option<u32>; 32],
        written: &[u32; 32],
    ) {
        let Some((register, k)) = base(nodes, va, written) else { return };
        let bytes = width.bytes() as i32;
        // Of accesses that are aligned to one another, one alignment says all.
        if k & (bytes - 1) != 0 || !(-0x10_0000..0x10_0000).contains(&k) {
            return;
        }
        let log = bytes.trailing_zeros();
        let Some(open) = open.get_mut(usize::from(register & 31)) else { return };
        let number = match *open {
            Some(number) => number,
            None => {
                let number = self.groups.len() as u32;
                self.groups.push(Group { register, from: k, to: k + bytes, log, members: 0, slot: None });
                *open = Some(number);
                number
            }
        };
        let Some(group) = self.groups.get_mut(number as usize) else { return };
        let (from, to) = (group.from.min(k), group.to.max(k + bytes));
        if to - from > SPAN {
            return;
        }
        (group.from, group.to, group.log) = (from, to, group.log.max(log));
        group.members += 1;
        if let Some(member) = self.members.get_mut(at) {
            *member = Some(Member { group: number, first: group.members == 1, k });
        }
    }

    /// The node's place in a group that has more than one.
    pub fn member(&self, at: Value) -> Option<Member> {
        let member = self.members.get(at.index()).copied().flatten()?;
        self.groups.get(member.group as usize)?.slot?;
        Some(member)
    }
}

impl Emitter {
    /// Gets ready for a group's access: rcx is the base's address in the host, from which the access is at the distance
    /// given. Also gives the jump that is taken if it is not known, and the access's address for them. The scratch
    /// registers must be empty.
    pub(crate) fn grouped(&mut self, member: Member, table: i32) -> Option<(i32, Patch, Address, Near)> {
        let group = *self.groups.groups.get(member.group as usize)?;
        let number = group.slot?;
        let slot = self.layout.groups + 8 * i32::from(number);
        let k = member.k;
        self.groups.held = Some(number);
        if !member.first {
            if self.values.group != Some(number) {
                self.asm.load(RCX, slot);
            }
            self.asm.test(RCX);
            let from = self.asm.jcc(Cc::E);
            return Some((k, from, Address::Guest { register: group.register, k, clear: None }, Near::No));
        }
        let p = self.place();
        let base = p.home(X, group.register).unwrap_or_else(|| {
            p.asm.load(RDX, p.guest(X, group.register));
            RDX
        });
        // The first and the last word of the group's width; the base must be aligned to that.
        let low = (1 << group.log) - 1;
        let (first, last) = (group.from & !low, (group.to - 1) & !low);
        let address = Address::Guest { register: group.register, k, clear: Some(slot) };
        if let Some(place) = self.take_near(table == self.layout.write) {
            let register = group.register;
            let mut near =
                NearGroup { register, first, last, low, place, slot, table, also: None, resume: 0 };
            let miss = self.near_group(&mut near, base);
            return Some((k, miss, address, Near::Group(near)));
        }
        let miss = self.look_up_group(base, (first, last), low, table);
        self.asm.lea_sum(RCX, RCX, base);
        self.asm.save(slot, RCX);
        Some((k, miss, address, Near::No))
    }

    /// Looks up the page of a group, as [`Emitter::look_up`] does.
    pub(crate) fn look_up_group(
        &mut self,
        base: Reg,
        (first, last): (i32, i32),
        low: i32,
        table: i32,
    ) -> Patch {
        let l = self.layout;
        // The entry is that of the first word's page and its tag is compared with the last one's: were they two pages, the
        // entry could not have that tag, as pages next to each other have different entries.
        let from = if first == 0 {
            base
        } else {
            self.asm.lea(RAX, base, first);
            RAX
        };
        self.asm.rorx32(RCX, from, 8);
        match (last == first, last) {
            (true, _) if first != 0 => {}
            (_, 0) => self.asm.mov(RAX, base),
            _ => self.asm.lea(RAX, base, last),
        }
        self.asm.and32(RCX, l.entry_mask);
        self.asm.alu(Alu::And, RAX, Rmi::I(!0xfff | low));
        self.asm.alu(Alu::Or, RAX, Rmi::M(l.data_tag));
        self.asm.cmp_entry(RAX, RCX, table + l.entry_tag);
        let miss = self.asm.jcc(Cc::Ne);
        self.asm.load_entry(RCX, RCX, table + l.entry_addend);
        miss
    }
}
