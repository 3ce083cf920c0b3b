//! The files and folders that a guest knows by number: what it may name, and nothing else.
//!
//! A node is a file or folder of the host, told apart by device, inode, time of birth and kind, and where it was seen last: a
//! name in another node. Numbers are never used twice. A node has no descriptor of its own until one is wanted; then it
//! is found by its name, step by step from the nearest node that has one, and every step must lead to the file that the
//! guest means: if the host has moved it or put something else there, the answer is `ESTALE`, upon which Linux looks the
//! name up again. The descriptors used least are closed when there are too many, so that a checkout of any size can be
//! known while descriptors are few.
//!
//! A file that the guest removes and still knows has no name to be found by: its descriptor is kept ([`Nodes::pin`]).

use crate::folder::Folder;
use crate::name::Name;
use crate::options::Limits;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Statx};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of the shared folder itself (fuse.h, `FUSE_ROOT_ID`).
pub const ROOT: u64 = 1;

/// How many steps down a node is looked for; deeper ones are `ESTALE` once their descriptor is gone.
const DEEPEST: usize = 4096;

/// What tells one file from another, also from a later one with the same inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    device: (u32, u32),
    inode: u64,
    born: (i64, u32),
    kind: u16,
}

impl Key {
    /// The key of what was looked at. File systems without a time of birth say 0.
    pub fn of(stat: &Statx) -> Self {
        Key {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
            kind: stat.stx_mode & 0o170_000,
        }
    }
}

/// A file's state when it was last opened: while it stays so, the guest may keep the contents that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of contents, in seconds and nanoseconds.
    pub modified: (i64, u32),
    /// Time of the last change of anything.
    pub changed: (i64, u32),
}

#[derive(Debug)]
struct Node {
    key: Key,
    kind: FileType,
    lookups: u64,
    /// Nodes whose parent it is: it stays for these, as they are found by way of it.
    children: usize,
    parent: u64,
    name: Box<[u8]>,
    descriptor: Option<Arc<OwnedFd>>,
    /// Since the clock's hand came by (second chance).
    used: bool,
    pinned: bool,
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Table {
    nodes: HashMap<u64, Node>,
    numbers: HashMap<Key, u64>,
    next: u64,
    /// Nodes that have a descriptor which may be closed, some of them twice; and some that had one.
    clock: VecDeque<u64>,
    closable: usize,
    pinned: usize,
}

/// All nodes that a guest knows.
#[derive(Debug)]
pub struct Nodes {
    table: Mutex<Table>,
    limits: Limits,
}

impl Nodes {
    /// Only the shared folder itself is known.
    ///
    /// # Errors
    /// What the host says of the folder.
    pub fn new(folder: &Folder, limits: Limits) -> Result<Self, Errno> {
        let stat = folder.look_at(folder.root())?;
        let root = Node {
            key: Key::of(&stat),
            kind: FileType::Directory,
            lookups: 1,
            children: 0,
            parent: ROOT,
            name: Box::default(),
            descriptor: Some(Arc::new(rustix::io::fcntl_dupfd_cloexec(folder.root(), 0)?)),
            used: true,
            pinned: true,
            seen: None,
        };
        let numbers = HashMap::from([(root.key, ROOT)]);
        let nodes = HashMap::from([(ROOT, root)]);
        let table = Table { nodes, numbers, next: ROOT + 1, clock: VecDeque::new(), closable: 0, pinned: 0 };
        Ok(Nodes { table: Mutex::new(table), limits })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is complete before anything in it can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the guest was told once more of an entry; returns its number.
    ///
    /// # Errors
    /// `ENFILE` if the guest knows too many.
    pub fn enter(&self, stat: &Statx, parent: u64, name: &[u8]) -> Result<u64, Errno> {
        let key = Key::of(stat);
        let mut guard = self.lock();
        let table = &mut *guard;
        if let Some(number) = table.numbers.get(&key).copied() {
            if let Some(node) = table.nodes.get_mut(&number) {
                node.lookups = node.lookups.saturating_add(1);
            }
            table.place(number, parent, name);
            return Ok(number);
        }
        if table.nodes.len() >= self.limits.nodes {
            return Err(Errno::NFILE);
        }
        let number = table.next;
        table.next += 1;
        let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
        let name = name.into();
        let node = Node {
            key,
            kind,
            lookups: 1,
            children: 0,
            parent,
            name,
            descriptor: None,
            used: false,
            pinned: false,
            seen: None,
        };
        table.nodes.insert(number, node);
        table.numbers.insert(key, number);
        if let Some(parent) = table.nodes.get_mut(&parent) {
            parent.children += 1;
        }
        Ok(number)
    }

    /// Notes that the guest was told once more of a node that it knows.
    ///
    /// # Errors
    /// `ESTALE` if it does not know it any more.
    pub fn again(&self, number: u64) -> Result<(), Errno> {
        let mut table = self.lock();
        let node = table.nodes.get_mut(&number).ok_or(Errno::STALE)?;
        node.lookups = node.lookups.saturating_add(1);
        Ok(())
    }

    /// The guest drops `count` of what [`Nodes::enter`] has counted. More than there is, is all; what is not known is
    /// nothing.
    pub fn forget(&self, number: u64, count: u64) {
        let mut table = self.lock();
        if number == ROOT {
            return;
        }
        let Some(node) = table.nodes.get_mut(&number) else { return };
        node.lookups = node.lookups.saturating_sub(count);
        table.drop_unused(number);
    }

    /// The guest knows nothing any more but the folder itself.
    pub fn clear(&self) {
        let mut guard = self.lock();
        let table = &mut *guard;
        table.nodes.retain(|number, _| *number == ROOT);
        if let Some(root) = table.nodes.get_mut(&ROOT) {
            root.children = 0;
        }
        table.numbers.retain(|_, number| *number == ROOT);
        table.clock.clear();
        (table.closable, table.pinned) = (0, 0);
    }

    /// What kind of file it is.
    ///
    /// # Errors
    /// `ESTALE` if the guest does not know it.
    pub fn kind(&self, number: u64) -> Result<FileType, Errno> {
        self.lock().nodes.get(&number).map(|node| node.kind).ok_or(Errno::STALE)
    }

    /// The node in which it was seen last.
    ///
    /// # Errors
    /// `ESTALE` if the guest does not know it.
    pub fn parent(&self, number: u64) -> Result<u64, Errno> {
        self.lock().nodes.get(&number).map(|node| node.parent).ok_or(Errno::STALE)
    }

    /// How many are known.
    pub fn known(&self) -> usize {
        self.lock().nodes.len()
    }

    /// How many have a descriptor, the folder itself aside.
    pub fn descriptors(&self) -> usize {
        let table = self.lock();
        table.closable + table.pinned
    }

    /// Puts the state of a file that is being opened in the place of the one before, and returns that.
    pub fn see(&self, number: u64, seen: Option<Seen>) -> Option<Seen> {
        let mut table = self.lock();
        let node = table.nodes.get_mut(&number)?;
        std::mem::replace(&mut node.seen, seen)
    }

    /// An `O_PATH` descriptor of the node.
    ///
    /// # Errors
    /// `ESTALE` if the guest does not know it, or it is no longer where it was; else what the host says.
    pub fn descriptor(&self, folder: &Folder, number: u64) -> Result<Arc<OwnedFd>, Errno> {
        let (mut at, way) = self.way(number)?;
        for (number, key, name) in way.into_iter().rev() {
            let next = Name::new(&name).and_then(|name| folder.step(&at, name)).map_err(stale)?;
            if Key::of(&folder.look_at(&next)?) != key {
                return Err(Errno::STALE);
            }
            at = self.remember(number, next);
        }
        Ok(at)
    }

    /// What the node is now.
    ///
    /// # Errors
    /// As [`Nodes::descriptor`].
    pub fn status(&self, folder: &Folder, number: u64) -> Result<Statx, Errno> {
        let (parent, key, name) = {
            let mut table = self.lock();
            let node = table.nodes.get_mut(&number).ok_or(Errno::STALE)?;
            if let Some(descriptor) = &node.descriptor {
                let descriptor = Arc::clone(descriptor);
                node.used = true;
                drop(table);
                return folder.look_at(descriptor);
            }
            (node.parent, node.key, node.name.clone())
        };
        // One system call, where finding a descriptor first would be three.
        let parent = self.descriptor(folder, parent)?;
        let stat = Name::new(&name).and_then(|name| folder.look(&parent, name)).map_err(stale)?;
        if Key::of(&stat) == key { Ok(stat) } else { Err(Errno::STALE) }
    }

    /// Keeps the descriptor of what is there, if the guest knows it, for as long as it does: its name is about to go.
    /// Returns its number if that is new. A guest that knows too many such files loses those that it has not open.
    pub fn pin(&self, folder: &Folder, stat: &Statx) -> Option<u64> {
        let number = self.number(&Key::of(stat))?;
        let descriptor = self.descriptor(folder, number).ok()?;
        self.keep(number, descriptor).then_some(number)
    }

    /// Keeps a descriptor for as long as the guest knows the node; false if one is kept already, or too many are.
    pub fn keep(&self, number: u64, descriptor: Arc<OwnedFd>) -> bool {
        let mut guard = self.lock();
        let table = &mut *guard;
        let Some(node) = table.nodes.get_mut(&number) else { return false };
        if node.pinned || table.pinned >= self.limits.descriptors {
            return false;
        }
        if node.descriptor.replace(descriptor).is_some() {
            table.closable -= 1;
        }
        node.pinned = true;
        table.pinned += 1;
        true
    }

    /// The name has stayed after all: the descriptor need not.
    pub fn unpin(&self, number: u64) {
        let mut guard = self.lock();
        let table = &mut *guard;
        let Some(node) = table.nodes.get_mut(&number).filter(|node| node.pinned && number != ROOT) else {
            return;
        };
        node.pinned = false;
        table.pinned -= 1;
        table.closable += 1;
        table.clock.push_back(number);
        table.make_room(self.limits.descriptors);
    }

    /// The guest has moved something: if it knows it, this is where it is now.
    pub fn moved(&self, stat: &Statx, parent: u64, name: &[u8]) {
        let Some(number) = self.number(&Key::of(stat)).filter(|n| *n != ROOT) else { return };
        self.lock().place(number, parent, name);
    }

    fn number(&self, key: &Key) -> Option<u64> {
        self.lock().numbers.get(key).copied()
    }

    /// The nearest node upwards that has a descriptor, and the steps from there, last one first.
    #[allow(clippy::type_complexity, reason = "used once")]
    fn way(&self, number: u64) -> Result<(Arc<OwnedFd>, Vec<(u64, Key, Box<[u8]>)>), Errno> {
        let mut table = self.lock();
        let (mut at, mut way) = (number, Vec::new());
        loop {
            let node = table.nodes.get_mut(&at).ok_or(Errno::STALE)?;
            if let Some(descriptor) = &node.descriptor {
                node.used = true;
                return Ok((Arc::clone(descriptor), way));
            }
            // The host may have moved folders into each other, so that names go round in a circle.
            if way.len() == DEEPEST {
                return Err(Errno::STALE);
            }
            way.push((at, node.key, node.name.clone()));
            at = node.parent;
        }
    }

    /// Keeps a descriptor until there are too many; returns the one that is kept.
    fn remember(&self, number: u64, descriptor: OwnedFd) -> Arc<OwnedFd> {
        let descriptor = Arc::new(descriptor);
        let mut guard = self.lock();
        let table = &mut *guard;
        let Some(node) = table.nodes.get_mut(&number) else { return descriptor };
        if let Some(other) = &node.descriptor {
            return Arc::clone(other);
        }
        node.descriptor = Some(Arc::clone(&descriptor));
        node.used = false;
        table.closable += 1;
        table.clock.push_back(number);
        table.make_room(self.limits.descriptors);
        descriptor
    }
}

impl Table {
    /// Notes where a node is now.
    fn place(&mut self, number: u64, parent: u64, name: &[u8]) {
        let Some(node) = self.nodes.get_mut(&number).filter(|_| number != ROOT) else { return };
        if *node.name != *name {
            node.name = name.into();
        }
        let before = std::mem::replace(&mut node.parent, parent);
        if before != parent {
            if let Some(parent) = self.nodes.get_mut(&parent) {
                parent.children += 1;
            }
            self.drop_child(before);
        }
    }

    fn drop_child(&mut self, parent: u64) {
        if let Some(parent) = self.nodes.get_mut(&parent) {
            parent.children = parent.children.saturating_sub(1);
        }
        self.drop_unused(parent);
    }

    /// Removes a node that nobody knows and nothing is found by, and its parents if that was the last.
    fn drop_unused(&mut self, mut number: u64) {
        while number != ROOT
            && self.nodes.get(&number).is_some_and(|node| node.lookups == 0 && node.children == 0)
            && let Some(node) = self.nodes.remove(&number)
        {
            if self.numbers.get(&node.key) == Some(&number) {
                self.numbers.remove(&node.key);
            }
            match (node.pinned, node.descriptor.is_some()) {
                (true, _) => self.pinned -= 1,
                (false, true) => self.closable -= 1,
                (false, false) => {}
            }
            number = node.parent;
            if let Some(parent) = self.nodes.get_mut(&number) {
                parent.children = parent.children.saturating_sub(1);
            }
        }
    }

    /// Closes descriptors until there are at most so many: those that were not used since the last time round.
    fn make_room(&mut self, most: usize) {
        let Table { nodes, clock, closable, .. } = self;
        while *closable > most {
            let Some(number) = clock.pop_front() else { return };
            let Some(node) = nodes.get_mut(&number).filter(|n| !n.pinned && n.descriptor.is_some()) else {
                continue;
            };
            if std::mem::take(&mut node.used) {
                clock.push_back(number);
            } else {
                node.descriptor = None;
                *closable -= 1;
            }
        }
        if clock.len() > 2 * most + 16 {
            let mut kept = HashSet::new();
            clock.retain(|number| {
                nodes.get(number).is_some_and(|n| !n.pinned && n.descriptor.is_some()) && kept.insert(*number)
            });
        }
    }
}

/// What is not where it was seen last.
fn stale(errno: Errno) -> Errno {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::INVAL => Errno::STALE,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::options::{Limits, Options};
    use crate::tree::Tree;
    use rustix::io::Errno;

    #[test]
    fn removals_that_fail_leave_the_clock_short() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("dir/inner")).unwrap();
        let root = std::fs::File::open(place.path()).unwrap().into();
        let limits = Limits { nodes: 10, descriptors: 8, open: 8 };
        let tree = Tree::new(root, Options { limits, ..Options::default() }).unwrap();
        tree.lookup(tree.root(), b"dir").unwrap();
        for _ in 0..1000 {
            assert_eq!(tree.remove(tree.root(), b"dir", true), Err(Errno::NOTEMPTY));
        }
        let length = tree.nodes.lock().clock.len();
        assert!(length <= 2 * limits.descriptors + 16, "{length}");
    }
}
