//! What can be chosen for a shared folder.

/// How a folder is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The guest may change nothing.
    pub read_only: bool,
    /// How long the guest may believe what it was told.
    pub cache: Cache,
    /// Whose the host user's files are in the guest.
    pub owner: Owner,
    /// How much the guest may have open and known.
    pub limits: Limits,
}

/// How long a guest may believe what it was told of a file, and keep its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cache {
    /// One second for names and attributes; contents until a file's size, modification or change time differ. What the
    /// host does to a file, the guest sees a second later at most.
    #[default]
    Auto,
    /// For a day: for folders that only the guest changes.
    Always,
    /// Not at all: every look is a request.
    None,
}

impl Cache {
    /// How long names and attributes are good for, in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Cache::Auto => 1,
            Cache::Always => 86_400,
            Cache::None => 0,
        }
    }

    /// The word for it on a command line.
    pub fn word(self) -> &'static str {
        match self {
            Cache::Auto => "auto",
            Cache::Always => "always",
            Cache::None => "none",
        }
    }

    /// The choice of that name.
    pub fn of_word(word: &str) -> Option<Self> {
        [Cache::Auto, Cache::Always, Cache::None].into_iter().find(|c| c.word() == word)
    }
}

/// Whose the files of the user who shares a folder are in the guest: root's, unless somebody else is the guest's main user.
///
/// Files of other host users keep their numbers, except that nobody else's appear to be the owner's: those become nobody's
/// (65534). Whoever makes a file in the guest, on the host it is the sharing user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User id in the guest.
    pub uid: u32,
    /// Group id in the guest.
    pub gid: u32,
}

/// How much a guest may make the server remember. All of it is given back when the guest forgets and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders known by number. Beyond that a look-up fails with `ENFILE`.
    pub nodes: usize,
    /// Descriptors kept for known files and folders; the least used are closed and found again by name. As many again
    /// for files that are removed and known still.
    pub descriptors: usize,
    /// Open files and folders, of these 2048 folders. Beyond that an opening fails with `ENFILE`.
    pub open: usize,
}

impl Limits {
    /// What fits into a process that may have so many descriptors.
    pub fn for_descriptors(most: usize) -> Self {
        Limits {
            descriptors: (most / 8).clamp(8, 32_768),
            open: (most / 2).clamp(8, 131_072),
            ..Limits::default()
        }
    }
}

impl Default for Limits {
    /// For a process that may have 1024 descriptors.
    fn default() -> Self {
        Limits { nodes: 1 << 20, descriptors: 128, open: 512 }
    }
}
