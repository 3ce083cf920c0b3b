//! The code cache: memory in two parts that are filled from one end, one with what is usually run and one with the rest, and
//! emptied as a whole; and what is in it.

use engine_emit::{Code, Layout, Link, Room, Shared, Whither, shared};
use engine_mmu::AddressMap;
use std::io;
use support_hostmap::{CodeMap, HUGE};

/// Bytes of host code that the caches of a machine may hold together, if each then holds as much as it should: what a Debian runs
/// until it asks who logs in is 110 MiB.
const MACHINE: usize = 512 << 20;
/// The least and the most that one should hold. What is not filled is no memory of the host's.
const ONE: [usize; 2] = [64 << 20, 256 << 20];
/// The least: the shared code and a few blocks.
const LEAST: usize = 4 * ROOM;
/// Bytes of the cache for each block that it may know: those that must be interpreted take no room there.
const SPARSE: usize = 64;
/// Bytes of a huge page from which on it pays to have one.
const GATHERED: usize = 256 << 10;
/// Room that a block finds at least in each part.
const ROOM: usize = 32 << 10;

/// Bytes of host code that the cache of each of so many harts holds, if nobody wants it otherwise.
pub fn cache_size(harts: u64) -> usize {
    let [least, most] = ONE;
    MACHINE.checked_div(harts as usize).unwrap_or(most).clamp(least, most)
}

/// Where the second part of a cache begins: what is seldom run takes five bytes for three of what is usually run.
fn middle(size: usize) -> usize {
    let page = if size < 16 * HUGE { 4096 } else { HUGE };
    (size / 8 * 3).next_multiple_of(page)
}

/// Binary logarithm of a page's size.
const PAGE_BITS: u32 = engine_mmu::PAGE_MASK.count_ones();

/// Where a block is in guest memory, and the modes that its meaning depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Offset in the RAM arena.
    pub arena: u64,
    /// The number of the page in which its only instruction goes on, and 1; 0 if it does not.
    second: u32,
    /// The modes, as [`crate::operations::modes`] has them.
    pub modes: u32,
}

impl Place {
    /// Where a block is; `second` is where the second half of its only instruction is, if that goes on in the next page. `None`
    /// for places far outside any memory.
    pub fn new(arena: u64, second: Option<u64>, modes: u32) -> Option<Place> {
        let second = second.map_or(Ok(0), |at| u32::try_from((at >> PAGE_BITS) + 1)).ok()?;
        Some(Place { arena, second, modes })
    }

    /// The same place in another page, `arena`, which it does not leave.
    pub fn elsewhere(self, arena: u64) -> Place {
        Place { arena, second: 0, ..self }
    }

    /// Where the second half of its only instruction is, if that goes on in the next page.
    pub fn second(self) -> Option<u64> {
        self.second.checked_sub(1).map(|page| u64::from(page) << PAGE_BITS)
    }

    /// The pages it is in.
    pub fn pages(self) -> impl Iterator<Item = u64> {
        [Some(self.arena), self.second()].into_iter().flatten().map(page_of)
    }

    /// Where its halfword number `n` is.
    pub fn halfword(self, n: u64) -> u64 {
        self.second().filter(|_| n > 0).unwrap_or(self.arena + 2 * n)
    }
}

/// A translated block.
#[derive(Clone, Debug)]
pub(crate) struct Translation {
    pub place: Place,
    /// The guest's code, as it was.
    pub code: Vec<u16>,
    /// Where an indirect jump enters, in offsets of the cache; `None` if it begins with what must be interpreted.
    pub indirect: Option<usize>,
    /// Where a direct jump goes to.
    pub link: usize,
    /// Where it begins once its page is known.
    pub direct: usize,
    /// Where to go instead once it no longer holds.
    pub stale: usize,
    /// Direct jumps, in bytes from the start of the page.
    pub targets: Vec<i64>,
    /// It ends with a call: writes a link register and jumps.
    pub call: bool,
    /// It ends with an indirect jump.
    pub returns: bool,
    /// How often time was found to be spent there.
    pub samples: u8,
    /// The blocks of the region that is entered in its place; none if there is none.
    pub region: Vec<Member>,
    /// The address of the page that the region was made for.
    pub page_va: u64,
    /// The bank of near pages that the region has, and a bit for each of them that is not used because it missed often.
    pub bank: Option<usize>,
    /// See [`Translation::bank`].
    pub spared: u16,
    /// How many regions were made for it.
    pub made: u8,
    /// The first blocks of the regions that it is in.
    pub regions: Vec<u32>,
}

impl Translation {
    /// A block that must be interpreted.
    pub fn interpreted(place: Place, code: Vec<u16>) -> Translation {
        Translation {
            place,
            code,
            indirect: None,
            link: 0,
            direct: 0,
            stale: 0,
            targets: Vec::new(),
            call: false,
            returns: false,
            samples: 0,
            region: Vec::new(),
            page_va: 0,
            bank: None,
            spared: 0,
            made: 0,
            regions: Vec::new(),
        }
    }
}

/// What is looked up by the place of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The block's number.
    pub number: u32,
    /// [`Translation::indirect`], 0 for `None`: the cache begins with the shared code.
    indirect: u32,
}

impl Known {
    /// Where an indirect jump enters, in offsets of the cache, unless it begins with what must be interpreted.
    pub fn indirect(self) -> Option<usize> {
        (self.indirect != 0).then_some(self.indirect as usize)
    }
}

/// A block of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its number.
    pub number: u32,
    /// Where it begins, in bytes from the start of the first page of the region.
    pub at: i64,
}

/// A direct jump that leaves until it is linked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Where it is, in bytes of the cache.
    pub at: usize,
    /// The block that it is in, or the first one of the region.
    pub of: u32,
    /// If it leads to another page, where the words are that say when.
    pub words: Option<usize>,
    /// If it stays in its region, the block that it leads to: then there is nothing to patch but the words.
    pub within: Option<u32>,
}

/// A page of guest memory that blocks were translated from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub blocks: Vec<u32>,
    /// Its version when they were last found equal to memory; `None` if it must be looked at each time.
    pub version: Option<u32>,
    /// The epoch that all harts must have acknowledged for that version to mean something.
    pub epoch: u64,
    /// They have.
    pub settled: bool,
}

/// All translations of one processor.
pub(crate) struct Cache {
    map: CodeMap,
    /// How far the parts are filled.
    filled: [usize; 2],
    begin: [usize; 2],
    /// How far they are made of huge pages.
    gathered: [usize; 2],
    pub enter: u64,
    pub shared: Shared,
    pub blocks: Vec<Translation>,
    pub by_place: AddressMap<Place, Known>,
    pub pages: AddressMap<u64, Page>,
    /// Links by their numbers.
    pub sites: Vec<Site>,
    /// How many blocks no longer held.
    pub killed: u64,
    /// Where the blocks begin that held last at these places: what jumped to them goes on to their successors.
    before: AddressMap<Place, usize>,
    /// How often it was emptied: numbers of blocks and links from before mean nothing.
    pub emptied: u64,
}

impl Cache {
    /// An empty cache of `size` bytes, but for the code that all blocks share.
    ///
    /// # Errors
    /// What the host says to a mapping.
    pub fn new(layout: &Layout, size: usize) -> io::Result<Cache> {
        let mut map = CodeMap::new(size.max(LEAST))?;
        let base = map.code().as_ptr() as u64;
        let code = shared(layout, &crate::helpers::helpers(), base, crate::layout::RBP);
        if !map.write(0, &code.bytes) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let middle = middle(map.len());
        let begin = [code.bytes.len().next_multiple_of(64), middle];
        Ok(Cache {
            map,
            filled: begin,
            begin,
            gathered: [0, middle],
            enter: code.enter,
            shared: code.shared,
            blocks: Vec::new(),
            by_place: AddressMap::default(),
            pages: AddressMap::default(),
            sites: Vec::new(),
            killed: 0,
            before: AddressMap::default(),
            emptied: 0,
        })
    }

    /// Address of an offset in the host.
    pub fn address(&self, offset: usize) -> u64 {
        self.map.code().as_ptr() as u64 + offset as u64
    }

    /// Where the next unit goes.
    pub fn next(&self) -> Room {
        let [usual, seldom] = self.filled.map(|filled| self.address(filled));
        Room { usual, seldom }
    }

    /// Bytes of the code that all blocks share.
    pub fn shared_size(&self) -> usize {
        self.begin[0]
    }

    /// Where the parts end.
    fn ends(&self) -> [usize; 2] {
        [middle(self.map.len()), self.map.len()]
    }

    /// Whether a block may not fit any more: then the cache must be emptied.
    pub fn full(&self) -> bool {
        let full = self.filled.iter().zip(self.ends()).any(|(filled, end)| filled + ROOM > end);
        full || self.blocks.len() > self.map.len() / SPARSE
    }

    /// Puts a unit at [`Cache::next`]; gives where that is.
    fn put(&mut self, parts: [&[u8]; 2]) -> Option<usize> {
        let at = self.filled;
        let fits = parts.iter().zip(at).zip(self.ends()).all(|((part, at), end)| at + part.len() <= end);
        if !fits || !parts.iter().zip(at).all(|(part, at)| self.map.write(at, part)) {
            return None;
        }
        for (filled, part) in self.filled.iter_mut().zip(parts) {
            *filled = (*filled + part.len()).next_multiple_of(16);
        }
        self.gather();
        let [usual, _] = at;
        Some(usual)
    }

    /// Makes huge pages of what is filled.
    fn gather(&mut self) {
        for (gathered, filled) in self.gathered.iter_mut().zip(self.filled) {
            if filled >= *gathered + GATHERED {
                self.map.gather(*gathered);
                *gathered += HUGE;
            }
        }
    }

    /// Forgets all blocks.
    pub fn clear(&mut self) {
        self.filled = self.begin;
        self.emptied += 1;
        self.blocks.clear();
        self.by_place.clear();
        self.pages.clear();
        self.sites.clear();
        self.before.clear();
    }

    /// Puts a block at [`Cache::next`]; gives its number.
    pub fn add(
        &mut self,
        place: Place,
        guest: Vec<u16>,
        code: Code,
        parts: [&[u8]; 2],
        links: &[Link],
    ) -> Option<u32> {
        let at = self.put(parts)?;
        let place_of = |distance: i64| (at as i64 + distance) as usize;
        let indirect = Some(place_of(code.indirect));
        let (link, direct, stale) = (place_of(code.link), place_of(code.direct), place_of(code.stale));
        let target = |link: &Link| match link.to {
            Whither::Near(target) | Whither::Within { target, .. } => i64::from(target),
            Whither::Far { target, .. } => target,
        };
        let targets = links.iter().map(target).collect();
        let blank = Translation::interpreted(place, guest);
        let number = self.remember(Translation { indirect, link, direct, stale, targets, ..blank });
        self.note_links(at, number, links, &[]);
        if let Some(before) = self.before.remove(&place) {
            self.patch(before + 1, direct);
        }
        Some(number)
    }

    /// Puts a region at [`Cache::next`], which is entered in place of the first of its blocks.
    pub fn add_region(&mut self, members: &[Member], parts: [&[u8]; 2], links: &[Link], bank: Option<usize>) {
        let Some(&Member { number: first, .. }) = members.first() else { return };
        let Some(at) = self.put(parts) else { return };
        self.note_links(at, first, links, members);
        for member in members {
            if let Some(block) = self.blocks.get_mut(member.number as usize)
                && !block.regions.contains(&first)
            {
                block.regions.push(first);
            }
        }
        if let Some(block) = self.blocks.get_mut(first as usize) {
            block.region = members.to_vec();
            block.bank = bank;
            block.made += 1;
            let direct = block.direct;
            self.map.write(direct, &[0xe9]);
            self.patch(direct + 1, at);
        }
    }

    /// Takes note of the links of a unit.
    fn note_links(&mut self, unit: usize, of: u32, links: &[Link], members: &[Member]) {
        let place_of = |distance: i64| (unit as i64 + distance) as usize;
        let member = |target| members.iter().find(|member| member.at == i64::from(target)).map(|m| m.number);
        self.sites.extend(links.iter().map(|link| {
            let (words, within) = match link.to {
                Whither::Near(_) => (None, None),
                Whither::Far { words, .. } => (Some(place_of(words)), None),
                Whither::Within { words, target } => (Some(place_of(words)), member(target)),
            };
            Site { at: place_of(link.at), of, words, within }
        }));
    }

    /// Makes a link to another page lead to `host`, an address of the cache, for a program counter and context.
    pub fn link_far(&mut self, at: usize, words: usize, for_which: (u64, u64), host: u64) {
        let target = (host - self.address(0)) as usize;
        self.patch(at, target);
        self.link_within(words, for_which);
    }

    /// Makes a link inside a region hold for a program counter and context.
    pub fn link_within(&mut self, words: usize, (pc, context): (u64, u64)) {
        self.map.write(words, &pc.to_le_bytes());
        self.map.write(words + 8, &context.to_le_bytes());
    }

    /// Takes note of a block.
    pub fn remember(&mut self, block: Translation) -> u32 {
        let (number, place) = (self.blocks.len() as u32, block.place);
        let indirect = block.indirect.map_or(0, |at| at as u32);
        self.blocks.push(block);
        self.by_place.insert(place, Known { number, indirect });
        for page in place.pages() {
            self.pages.entry(page).or_default().blocks.push(number);
        }
        number
    }

    /// Makes the rel32 at `at` go to `target`, both offsets of the cache.
    pub fn patch(&mut self, at: usize, target: usize) {
        let distance = (target as i64 - (at as i64 + 4)) as i32;
        self.map.write(at, &distance.to_le_bytes());
    }

    /// Whether block `number` was not killed.
    pub fn holds(&self, number: u32) -> bool {
        let place = self.blocks.get(number as usize).map(|block| block.place);
        place.and_then(|place| self.by_place.get(&place)).is_some_and(|known| known.number == number)
    }

    /// Makes everything that jumps to block `number` leave instead, and forgets it.
    pub fn kill(&mut self, number: u32) {
        let Some(block) = self.blocks.get(number as usize).filter(|_| self.holds(number)) else { return };
        let (place, direct, stale) = (block.place, block.direct, block.stale);
        let regions = block.regions.clone();
        self.killed += 1;
        if block.indirect.is_some() {
            self.map.write(direct, &[0xe9]);
            self.patch(direct + 1, stale);
            self.before.insert(place, direct);
        }
        self.by_place.remove(&place);
        // A region with a part that no longer holds is gone as a whole.
        regions.into_iter().for_each(|first| self.kill(first));
    }
}

/// The page of an offset in the arena.
pub(crate) fn page_of(arena: u64) -> u64 {
    arena & !engine_mmu::PAGE_MASK
}
