//! Near pages: in a region each place of an access remembers the page that it met last.
//!
//! To compare with one page takes less than to look the page up, and where it is in the host does not depend on the address,
//! so accesses that follow one another's results do not wait for the table. What is remembered is what the table had when the
//! place missed. It lies in one of a few banks, which several regions may have; whoever enters a region empties its bank if the
//! context is another than when that was last emptied, or if any page was forgotten since. So nothing inside the region may
//! change either: one that calls operations of the system has no near pages.
//!
//! A miss costs much more than a look into the table. They are counted, so that places that miss often can be spared when the
//! region is made anew.

use crate::asm::{Alu, Cc, Patch, Rmi};
use crate::emit::{Cold, Emitter};
use crate::float::Operation;
use crate::layout::{NEAR_BANKS, NEAR_PAGES};
use crate::reg::{RAX, RCX, RDX, Reg};
use crate::region::goes_round;
use crate::value::X;
use isa_ir::{Block, Node, Value};

/// Pages of a bank that loads have; the others are those of stores.
const LOADS: usize = 10;
/// What stands for a page in an empty place: no address with the bits in a page masked out, but for those that must be 0 in an
/// aligned one.
const EMPTY: i32 = 0x800;

/// The bank of the region being emitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bank {
    pub number: usize,
    /// A bit for each place that accesses do without.
    spared: u16,
    /// How many places loads and stores have taken.
    taken: [usize; 2],
}

/// What an access does that does not meet its near page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Near {
    /// It has none.
    No,
    /// Its page is remembered in this place.
    Page(i32),
    /// That of its group is.
    Group(NearGroup),
}

/// A group whose page is near.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearGroup {
    pub register: u8,
    /// The first and the last word of the group's width, from the base.
    pub first: i32,
    pub last: i32,
    /// Bits of the base that must be 0.
    pub low: i32,
    /// Where the place is, and the group's slot.
    pub place: i32,
    pub slot: i32,
    pub table: i32,
    /// The other jump that is taken if the page is not near.
    pub also: Option<Patch>,
    /// Where to go on once the slot is filled.
    pub resume: usize,
}

/// Whether a block ends with a call: it writes a link register, x1 or x5, and jumps. One that calls itself is no loop.
fn calls(block: &Block) -> bool {
    let nodes = block.nodes();
    let place = |v: Value| matches!(nodes.get(v.index()), Some(Node::Pc(_)));
    let link = |node: &Node| matches!(*node, Node::Set { class: X, index: 1 | 5, v } if place(v));
    matches!(nodes.last(), Some(Node::Jump { .. })) && nodes.iter().rev().take(8).any(link)
}

impl Emitter {
    /// Gives the region of these blocks a bank if nothing in it can change what is remembered, and emits what empties that.
    pub(crate) fn begin_near(&mut self, blocks: &[Block], spared: u16) {
        let operations = self.operations;
        let modes = self.modes;
        let quiet = |node: &Node| match *node {
            // A toggle of the status register may be a call, which changes what loads and stores are allowed.
            Node::Call { id, .. } => matches!(
                operations(id, modes),
                Operation::Call | Operation::Float { .. } | Operation::Register(..)
            ),
            _ => true,
        };
        self.near = None;
        // What empties the bank has a price too, which only a loop repays.
        let access = |node: &Node| matches!(node, Node::Load { .. } | Node::Store { .. });
        let pays = |block: &&Block| goes_round(block) && !calls(block) && block.nodes().iter().any(access);
        if spared == u16::MAX
            || !blocks.iter().any(|block| pays(&block))
            || !blocks.iter().flat_map(Block::nodes).all(quiet)
        {
            return;
        }
        self.banks = (self.banks + 1) % NEAR_BANKS;
        self.near = Some(Bank { number: self.banks, spared, taken: [0; 2] });
        let l = self.layout;
        let owner = l.near_owners + 16 * self.banks as i32;
        self.asm.load(RAX, l.read_version);
        self.asm.alu(Alu::Add, RAX, Rmi::M(l.write_version));
        self.asm.alu(Alu::Cmp, RAX, Rmi::M(owner));
        let forgotten = self.asm.jcc(Cc::Ne);
        self.asm.load(RCX, l.data_number);
        self.asm.alu(Alu::Cmp, RCX, Rmi::M(owner + 8));
        let other = self.asm.jcc(Cc::Ne);
        let back = self.asm.len();
        self.cold.push(Cold::Bank { from: [forgotten, other], back, number: self.banks });
    }

    /// Empties a bank; rax says what was forgotten so far.
    pub(crate) fn empty_bank(&mut self, number: usize) {
        let l = self.layout;
        let owner = l.near_owners + 16 * number as i32;
        self.asm.save(owner, RAX);
        self.asm.load(RCX, l.data_number);
        self.asm.save(owner + 8, RCX);
        self.asm.mov_imm(RCX, EMPTY as u64);
        for page in 0..NEAR_PAGES {
            self.asm.save(self.near_place(number, page), RCX);
        }
    }

    fn near_place(&self, number: usize, page: usize) -> i32 {
        self.layout.near + 16 * (number * NEAR_PAGES + page) as i32
    }

    /// A place for an access, if the region has any.
    pub(crate) fn take_near(&mut self, store: bool) -> Option<i32> {
        let bank = self.near.as_mut()?;
        let taken = bank.taken.get_mut(usize::from(store))?;
        let (from, pages) = if store { (LOADS, NEAR_PAGES - LOADS) } else { (0, LOADS) };
        let page = from + *taken % pages;
        *taken += 1;
        let Bank { number, spared, .. } = *bank;
        (spared >> page & 1 == 0).then(|| self.near_place(number, page))
    }

    /// Compares the page of `va` with a near one: where that is in rcx, and the jump that is taken if it is another.
    pub(crate) fn near_page(&mut self, place: i32, va: Reg, log: u32) -> Patch {
        self.asm.mov(RAX, va);
        self.asm.alu(Alu::And, RAX, Rmi::I(!0xfff | ((1 << log) - 1)));
        self.asm.alu(Alu::Cmp, RAX, Rmi::M(place));
        let miss = self.asm.jcc(Cc::Ne);
        self.asm.load(RCX, place + 8);
        miss
    }

    /// The same for a group, whose base is in a register; the group's slot is filled.
    pub(crate) fn near_group(&mut self, group: &mut NearGroup, base: Reg) -> Patch {
        self.asm.lea(RAX, base, group.first);
        self.asm.alu(Alu::And, RAX, Rmi::I(!0xfff | group.low));
        self.asm.alu(Alu::Cmp, RAX, Rmi::M(group.place));
        let miss = self.asm.jcc(Cc::Ne);
        if group.last != group.first {
            self.asm.lea(RAX, base, group.last);
            self.asm.alu(Alu::And, RAX, Rmi::I(!0xfff));
            self.asm.alu(Alu::Cmp, RAX, Rmi::M(group.place));
            group.also = Some(self.asm.jcc(Cc::Ne));
        }
        self.asm.load(RCX, group.place + 8);
        self.asm.lea_sum(RCX, RCX, base);
        self.asm.save(group.slot, RCX);
        group.resume = self.asm.len();
        miss
    }

    /// Looks up the page of a group that is not the near one, and makes it that; falls through if it is not remembered.
    pub(crate) fn renew_group(&mut self, group: &NearGroup) {
        let here = self.asm.len();
        if let Some(also) = group.also {
            self.asm.patch(also, here);
        }
        let p = self.place();
        let base = p.home(X, group.register).unwrap_or_else(|| {
            p.asm.load(RDX, p.guest(X, group.register));
            RDX
        });
        let miss = self.look_up_group(base, (group.first, group.last), group.low, group.table);
        self.asm.lea(RAX, base, group.first);
        self.note_near(group.place, RAX);
        self.asm.lea_sum(RCX, RCX, base);
        self.asm.save(group.slot, RCX);
        self.back(group.resume);
        let here = self.asm.len();
        self.asm.patch(miss, here);
    }

    /// Remembers the page of an address, which rcx leads to in the host.
    pub(crate) fn note_near(&mut self, place: i32, va: Reg) {
        self.asm.mov(RAX, va);
        self.asm.alu(Alu::And, RAX, Rmi::I(!0xfff));
        self.asm.save(place, RAX);
        self.asm.save(place + 8, RCX);
        self.asm.count_up(self.layout.near_misses + (place - self.layout.near) / 2);
    }
}
